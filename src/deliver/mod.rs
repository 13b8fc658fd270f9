//! One worker a space.
