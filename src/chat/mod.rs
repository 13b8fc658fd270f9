//! Google Chat, and the terminal as a stand-in for it.
mod card;
mod client;
mod command;
mod console;
mod credential;
mod escape;
mod http;
mod keyring;
mod outcome;
mod ping;
mod probe;
mod sheet;
mod split;
mod target;
mod text;
mod token;

pub use card::*;
pub use client::*;
pub use console::{COLUMNS, draw};
pub use credential::{this_user, user_name, why_denied};
pub use keyring::Keyring;
pub use outcome::*;
pub use ping::Ping;
pub use probe::*;
pub use target::*;
pub use token::Watch;

#[cfg(test)]
pub(crate) mod faults;
#[cfg(test)]
pub(crate) mod samples;
