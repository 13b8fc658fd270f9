//! All wiring.
