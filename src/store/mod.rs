//! The one transaction.
