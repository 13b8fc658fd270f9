//! From blocks to hits: which lines a rule accepts, with their captures, their time and their kind.
//!
//! `tail` hands over a block, `judge` takes the hits. The cost of a line that matches nothing decides everything, so
//! a block is searched as a whole for what the rules require, and only a line where that stands meets a regex.
//! Each rule's result is exactly that of its own regex on each line alone; everything else in here is a detour
//! around doing that.

mod around;
mod ascii;
mod confirm;
mod cut;
mod engine;
mod explain;
pub mod fields;
mod filter;
mod fold;
mod literal;
pub mod mask;
mod own;
mod pass;
pub mod pattern;
pub mod piece;
mod rarity;
mod records;
mod rule;
mod sample;
mod scanner;
mod share;
mod size;
mod spec;
pub mod stamp;
mod tally;
mod vector;
mod walk;
mod wide;

pub use around::Asked;
pub use explain::{Explained, Step};
pub use fields::Fields;
pub use pattern::{Pattern, PatternFault};
pub use rule::{LineVerdict, test_line, test_resolve};
pub use scanner::RuleSet;
pub use share::Share;
pub use spec::*;
pub use tally::Cost;
pub use walk::both_walks;
