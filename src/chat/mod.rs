//! Google Chat, and the terminal as a stand-in for it.
mod card;
mod console;
mod escape;
mod outcome;
mod sheet;
mod split;
mod target;
mod text;

pub use card::*;
pub use console::{COLUMNS, draw};
pub use outcome::*;
pub use target::*;

#[cfg(test)]
pub(crate) mod samples;
