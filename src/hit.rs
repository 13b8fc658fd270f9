//! A hit: a line that a rule's `match` accepts and none of its `exclude` does; and many of them, told briefly.
//!
//! Made by `rules`, taken by `judge`. A hit owns its text, because the block it came from is gone when it is judged.
//! The text is *raw*: the judge redacts what it keeps, and nothing else may keep a hit.
//!
//! The surprise: of a storm, hardly any hit is made. Of the hits of one rule and key in a block only the first and the
//! last come in full; between them a turn of some bytes says that there was one more, and when. So nothing is
//! counted in another order, or by another time, than if each had come in full.

use std::sync::Arc;

use crate::time::{Now, Wall};

/// Index of a rule in the loaded set; valid for one set only. State is kept by the rule's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleNo(pub u32);

/// At most this much of a line travels with a hit, in bytes; the rule has matched the whole of it.
pub const LINE_BYTES: usize = 2048;

/// At most this much of one capture or key value travels with a hit, in bytes.
pub const CAPTURE_BYTES: usize = 512;

/// Parts of a key, at most: a hit names those that a `resolve` captures by the bits of a byte.
pub const KEY_PARTS: usize = 8;

/// The value of a capture that took no part.
pub const NONE: &str = "(none)";

/// At most this much of a line beside a hit's own travels with it, in bytes: it shows what was going on, no more.
pub const CONTEXT_BYTES: usize = 512;

/// At most so many lines before a hit, and as many behind it: more of them is a log, and no message.
pub const CONTEXT_LINES: usize = 20;

/// The lines around a hit's own, in their order: raw, each without its end, at most [`CONTEXT_BYTES`] long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// Those before it, of the same file.
    pub before: Vec<Box<str>>,
    /// Those behind it that have been read.
    pub after: Vec<Box<str>>,
    /// More of those behind it are asked for: they come as [`Later`] under this number.
    pub more: Option<u64>,
}

/// Lines that stand behind a hit that was handed on before they were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Later {
    /// The file of the hit.
    pub file_no: u64,
    /// As its [`Context::more`] has it.
    pub no: u64,
    /// The lines, as in [`Context::after`].
    pub lines: Vec<Box<str>>,
    /// No more of them will come.
    pub over: bool,
}

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
    pub captures: Arc<[Option<Box<str>>]>,
    /// The line's own timestamp, where one parses.
    pub stamp: Option<Wall>,
    /// When it was read.
    pub read: Now,
    /// The line without its line end, invalid UTF-8 replaced, at most [`LINE_BYTES`], `…` at a cut.
    pub line: Arc<str>,
    /// The file as people call it.
    pub file: Arc<str>,
    /// Which file, for as long as the agent runs.
    pub file_no: u64,
    /// It lay unread when the agent started or came back.
    pub backlog: bool,
    /// The lines around it, where its rule asks for any.
    pub context: Option<Arc<Context>>,
}

/// Hits in the order in which their lines were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hits {
    full: Vec<Hit>,
    turns: Vec<Turn>,
    later: Vec<Later>,
}

/// One hit, in its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Turn {
    /// Which of those in full it is, or is like.
    like: u32,
    /// Its own timestamp.
    stamp: Option<Wall>,
    /// It is that one, and not only like it.
    full: bool,
}

/// One of [`Hits`].
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// The hit, or one of the same rule, key, file and reading.
    pub hit: &'a Hit,
    /// Its own timestamp.
    pub stamp: Option<Wall>,
    /// `hit` is this very one. Otherwise its line and captures are not known: a later one of the same rule and key, among
    /// the same hits, comes in full.
    pub full: bool,
}

impl Hits {
    /// There is none, nor anything that belongs to one of before.
    pub fn is_empty(&self) -> bool {
        self.turns.is_empty() && self.later.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.turns.len()
    }

    /// Those that came in full, in the order in which they were made.
    pub fn in_full(&self) -> &[Hit] {
        &self.full
    }

    /// Lines behind hits that were handed on before.
    pub fn later(&self) -> &[Later] {
        &self.later
    }

    /// More of those.
    pub fn follow(&mut self, later: Later) {
        self.later.push(later);
    }

    /// These come behind what is there.
    pub fn append(&mut self, more: Hits) {
        let before = self.full.len() as u32;
        self.full.extend(more.full);
        self.turns.extend(more.turns.into_iter().map(|t| Turn { like: t.like + before, ..t }));
        self.later.extend(more.later);
    }

    /// All were read at this instant.
    pub fn read_at(&mut self, now: Now) {
        self.full.iter_mut().for_each(|hit| hit.read = now);
    }

    /// Those that came in full; of the others nothing is left.
    pub fn into_full(self) -> Vec<Hit> {
        self.full
    }

    /// Each of them, in reading order.
    pub fn iter(&self) -> impl Iterator<Item = Told<'_>> {
        self.turns.iter().filter_map(|t| {
            let hit = self.full.get(t.like as usize)?;
            Some(Told { hit, stamp: t.stamp, full: t.full })
        })
    }

    /// One more, in full. Returns the number by which others may be [`Hits::again`].
    pub fn push(&mut self, hit: Hit) -> u32 {
        let no = self.full.len() as u32;
        self.turns.push(Turn { like: no, stamp: hit.stamp, full: true });
        self.full.push(hit);
        no
    }

    /// One more of the rule, key, file and reading of number `like`. The last one of each number must be filled in.
    pub fn again(&mut self, like: u32, stamp: Option<Wall>) {
        self.turns.push(Turn { like, stamp, full: false });
    }

    /// The hit of this turn, from 0, comes in full after all; its stamp is known already.
    pub fn fill_in(&mut self, turn: usize, hit: Hit) {
        if let Some(t) = self.turns.get_mut(turn) {
            (t.like, t.full) = (self.full.len() as u32, true);
            self.full.push(Hit { stamp: t.stamp, ..hit });
        }
    }
}

impl FromIterator<Hit> for Hits {
    fn from_iter<I: IntoIterator<Item = Hit>>(hits: I) -> Hits {
        let mut all = Hits::default();
        for hit in hits {
            all.push(hit);
        }
        all
    }
}

impl From<Vec<Hit>> for Hits {
    fn from(hits: Vec<Hit>) -> Hits {
        hits.into_iter().collect()
    }
}
