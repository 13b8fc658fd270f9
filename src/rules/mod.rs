//! From blocks to hits.
pub mod pattern;
mod spec;
pub use pattern::{Pattern, PatternFault};
pub use spec::*;
