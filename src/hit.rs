//! A hit: a line that a rule's `match` accepts and none of its `exclude` does.
//!
//! Made by `rules`, taken by `judge`. It owns its text, because the block it came from is gone when it is judged.
//! The text is *raw*: the judge redacts what it keeps, and nothing else may keep a hit.

use std::sync::Arc;

use crate::time::{Now, Wall};

/// Index of a rule in the loaded set; valid for one set only. State is kept by the rule's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleNo(pub u32);

/// At most this much of a line travels with a hit, in bytes; the rule has matched the whole of it.
pub const LINE_BYTES: usize = 2048;

/// At most this much of one capture or key value travels with a hit, in bytes.
pub const CAPTURE_BYTES: usize = 512;

/// One hit, or a line that a rule's `resolve` accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The rule.
    pub rule: RuleNo,
    /// It is no hit: it ends the incidents whose key has these parts. Bit n: [`Hit::key`] holds the nth value of `by`;
    /// where the bit is not set, that value is empty, and any will do.
    pub resolves: Option<u8>,
    /// The values of the rule's `by`, in its order; a capture that took no part is `(none)`.
    pub key: Box<[Box<str>]>,
    /// The rule's captures, in the order of its `captures`; `None` where one took no part.
    pub captures: Box<[Option<Box<str>>]>,
    /// The line's own timestamp, where one parses.
    pub stamp: Option<Wall>,
    /// When it was read.
    pub read: Now,
    /// The line without its line end, invalid UTF-8 replaced, at most [`LINE_BYTES`], `…` at a cut.
    pub line: Box<str>,
    /// The file as people call it.
    pub file: Arc<str>,
    /// Which file, for as long as the agent runs.
    pub file_no: u64,
    /// It lay unread when the agent started or came back.
    pub backlog: bool,
}
