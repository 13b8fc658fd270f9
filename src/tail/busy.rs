//! What a file has only while something is unfinished about it.
//!
//! Of twenty thousand watched files nearly all are at rest: read to the end of their last line and closed. All of this is
//! then as it was at first, and nothing is kept of it; it comes into being when something is written to it.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use super::decode::Script;
use super::wrap::Stream;
use crate::time::Tick;

/// See the module's essay: reads as [`Unfinished`], and takes no room while that is as at first.
#[derive(Debug, Default)]
pub(super) struct Busy(Option<Box<Unfinished>>);

/// What is under way with a file.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Unfinished {
    pub(super) hit_early: Vec<Arc<str>>,
    /// Length of the line without newline at the end, and when it counts as idle.
    pub(super) partial: usize,
    pub(super) idle_at: Option<Tick>,
    /// So much of that line has been matched already.
    pub(super) idle_told: usize,
    /// NULs lie from `offset` to here, as far as is known.
    pub(super) nuls_to: u64,
    /// It may be a copy of that file in the making: not read until that is known.
    pub(super) copy_of: Option<u64>,
    /// The size at which it was found to equal that file's part that was read.
    pub(super) equalled: Option<u64>,
    /// An old file's bytes below this are read before anything else, in this order among old files.
    pub(super) drain_to: u64,
    pub(super) drain_order: u64,
    /// What it is written in, once its first bytes have said so.
    pub(super) script: Option<Script>,
    /// Records to which more may come.
    pub(super) waits: Vec<Wait>,
    /// The bytes of those: should the file be cut, they are all there is of them.
    pub(super) held: Vec<u8>,
}

/// A record that waits for its next line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wait {
    /// The file it ends in, of its stream; how far; and how much of a line stands behind that.
    pub(super) grown: (u64, Stream, u64, usize),
    /// Since when it has not grown.
    pub(super) since: Tick,
}

static NOTHING: Unfinished = Unfinished {
    hit_early: vec![],
    partial: 0,
    idle_at: None,
    idle_told: 0,
    nuls_to: 0,
    copy_of: None,
    equalled: None,
    drain_to: 0,
    drain_order: 0,
    script: None,
    waits: vec![],
    held: vec![],
};

impl Busy {
    /// The file is closed. What it is written in is told by its first bytes when it is opened again, unless a mark
    /// before its text says where that begins.
    pub(super) fn settle(&mut self) {
        let Some(all) = &mut self.0 else { return };
        if all.held.is_empty() && all.script.is_some_and(|s| s.mark == 0) {
            all.script = None;
        }
        if **all == NOTHING {
            self.0 = None;
        }
    }
}

impl Deref for Busy {
    type Target = Unfinished;

    fn deref(&self) -> &Unfinished {
        self.0.as_deref().unwrap_or(&NOTHING)
    }
}

impl DerefMut for Busy {
    fn deref_mut(&mut self) -> &mut Unfinished {
        self.0.get_or_insert_default()
    }
}
