//! From inodes to blocks of complete lines.
mod spec;
pub use spec::*;
