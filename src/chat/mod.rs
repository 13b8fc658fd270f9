//! Google Chat, and the terminal as a stand-in for it.
mod target;
pub use target::*;
