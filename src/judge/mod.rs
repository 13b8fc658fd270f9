//! What to say, when, and to whom: a pure state machine.
mod policy;
pub use policy::*;
