//! What `tail` is asked to read. Built by `config`, which has validated every part.

use std::sync::Arc;

use crate::line::SourceNo;

/// One source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceSpec {
    /// Its number in this set.
    pub no: SourceNo,
    /// Its name: positions are kept by it. Rule-level `files` form the source named `files`, rule-level
    /// `journal` the source `journal` or `journal:UNIT`.
    pub name: Arc<str>,
    /// Where its lines come from.
    pub input: Input,
    /// Where a file that is there at first start is begun; a file that appears later is always read from its start.
    pub from: From,
    /// Longest line that is matched whole, in bytes; of a longer one the head is.
    pub max_line: usize,
}

/// Where lines come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Files.
    Files {
        /// Absolute paths or globs (`globset` syntax, `*` does not cross `/`).
        globs: Vec<String>,
        /// Globs on the whole path or, without a `/`, on the file name.
        exclude: Vec<String>,
    },
    /// The systemd journal.
    Journal {
        /// Only this unit, as `journalctl --unit` takes it.
        unit: Option<String>,
    },
}

/// Where to begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum From {
    /// At the end: only what is written from now on.
    #[default]
    End,
    /// At the first byte.
    Start,
}
