//! The lines around a hit: those before it and those behind it, where its rule asks for them.
//!
//! `pass` asks when it makes a hit in full. Most of them lie in the block in hand. What stands before the block is read
//! from its file, once and only then; a stream has no way back, so of one whose rules ask, the last lines are kept. What
//! stands behind the block is told later, when the next block of that file comes.
//!
//! The surprise: nobody waits here. A line that never comes is waited for by the judge, which has a clock.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::cut::cut;
use crate::hit::{CONTEXT_BYTES, Context, Hits, Later};
use crate::line::{Block, BlockEnd, SourceNo};

/// Hits of one block that get the lines around them. More of them at once are one story, and each line is copied for each.
const A_BLOCK: usize = 256;

/// Hits of one file whose last lines are still to come; further ones have what the block holds.
const A_FILE: usize = 64;

/// Files with such hits; beyond it those of all are given up.
const FILES: usize = 256;

/// Streams whose last lines are kept; beyond it those of all are forgotten.
const STREAMS: usize = 64;

/// How many lines a rule asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Before a hit, at most [`crate::hit::CONTEXT_LINES`].
    pub before: u8,
    /// Behind it, at most as many.
    pub after: u8,
}

type FileKey = (SourceNo, u64);

/// What is known of the lines around hits.
#[derive(Clone, Debug, Default)]
pub(super) struct Around {
    /// The most that any rule asks for, by source; a source that is not here has no rule that asks.
    most: HashMap<SourceNo, Asked>,
    waits: HashMap<FileKey, Vec<Wait>>,
    kept: HashMap<FileKey, VecDeque<Box<str>>>,
    /// The last lines of the block in hand, of a stream.
    last: Option<(FileKey, Vec<Box<str>>)>,
    /// Grows with each hit that waits.
    next: u64,
    /// Hits of the block in hand that have their lines.
    made: usize,
    /// The lines before the block in hand, once they were asked for.
    before: Option<Vec<Box<str>>>,
}

/// A hit whose last lines are still to come.
#[derive(Clone, Debug)]
struct Wait {
    no: u64,
    left: u8,
    /// Its own line stood at this offset without a newline, and comes once more.
    again: Option<u64>,
}

impl Around {
    /// A rule of this source asks for so many.
    pub(super) fn asks(&mut self, source: SourceNo, asked: Asked) {
        if asked != Asked::default() {
            let most = self.most.entry(source).or_default();
            *most = Asked { before: most.before.max(asked.before), after: most.after.max(asked.after) };
        }
    }

    /// The most that rules of this source ask for.
    pub(super) fn most(&self, source: SourceNo) -> Asked {
        self.most.get(&source).copied().unwrap_or_default()
    }

    /// A block begins: its first lines are those that hits before it wait for.
    pub(super) fn begin(&mut self, block: &Block<'_>, hits: &mut Hits) {
        self.settle();
        if !self.most.contains_key(&block.source) {
            return;
        }
        (self.made, self.before) = (0, None);
        // an idle line comes once more when it is whole
        if block.end != BlockEnd::Idle {
            self.follow(block, hits);
            if block.earlier.is_none() {
                self.last = Some(((block.source, block.file_no), self.last_of(block)));
            }
        }
    }

    fn follow(&mut self, block: &Block<'_>, hits: &mut Hits) {
        let Some(waits) = self.waits.get_mut(&(block.source, block.file_no)) else { return };
        waits.retain_mut(|wait| {
            let skip = usize::from(wait.again.take().is_some_and(|at| at == block.offset));
            let lines = behind(block, None, skip, wait.left.into());
            wait.left -= lines.len() as u8;
            let over = wait.left == 0;
            if !lines.is_empty() {
                hits.follow(Later { file_no: block.file_no, no: wait.no, lines, over });
            }
            !over
        });
        if waits.is_empty() {
            self.waits.remove(&(block.source, block.file_no));
        }
    }

    /// The block in hand is over: of a stream its last lines are kept.
    fn settle(&mut self) {
        if let Some((file, lines)) = self.last.take() {
            self.keep(file, lines);
        }
    }

    /// The last lines of a block, as many as the rules of its source ask for before a hit.
    pub(super) fn last_of(&self, block: &Block<'_>) -> Vec<Box<str>> {
        ahead(block, None, self.most(block.source).before.into())
    }

    /// Lines of a stream went by.
    pub(super) fn passed(&mut self, file: FileKey, lines: Vec<Box<str>>) {
        self.settle();
        self.keep(file, lines);
    }

    fn keep(&mut self, file: FileKey, lines: Vec<Box<str>>) {
        if lines.is_empty() {
            return;
        }
        if self.kept.len() >= STREAMS && !self.kept.contains_key(&file) {
            self.kept.clear();
        }
        let most = usize::from(self.most(file.0).before);
        let kept = self.kept.entry(file).or_default();
        kept.extend(lines);
        kept.drain(..kept.len().saturating_sub(most));
    }

    /// The lines around the one that lies at `at` in the block.
    pub(super) fn of(&mut self, block: &Block<'_>, at: usize, asked: Asked) -> Option<Arc<Context>> {
        if asked == Asked::default() || self.made >= A_BLOCK {
            return None;
        }
        self.made += 1;
        let most = usize::from(asked.before);
        let mut before = ahead(block, Some(at), most);
        if before.len() < most {
            let missing = most - before.len();
            let all = self.before_block(block);
            before.splice(..0, all[all.len().saturating_sub(missing)..].iter().cloned());
        }
        let after = if block.end == BlockEnd::Idle {
            Vec::new()
        } else {
            behind(block, Some(at), 1, asked.after.into())
        };
        let left = asked.after - after.len() as u8;
        let more = (left > 0).then(|| self.wait(block, left)).flatten();
        Some(Arc::new(Context { before, after, more }))
    }

    fn before_block(&mut self, block: &Block<'_>) -> &[Box<str>] {
        let most = self.most(block.source).before.into();
        let kept = self.kept.get(&(block.source, block.file_no));
        self.before.get_or_insert_with(|| match block.earlier {
            Some(earlier) => {
                let lines = earlier.before(block.offset, most, CONTEXT_BYTES + 1);
                lines.iter().map(|line| cut(line, CONTEXT_BYTES)).collect()
            }
            None => kept.into_iter().flatten().cloned().collect(),
        })
    }

    fn wait(&mut self, block: &Block<'_>, left: u8) -> Option<u64> {
        let key = (block.source, block.file_no);
        if self.waits.len() >= FILES && !self.waits.contains_key(&key) {
            self.waits.clear();
        }
        let waits = self.waits.entry(key).or_default();
        if waits.len() >= A_FILE {
            return None;
        }
        let no = self.next;
        self.next += 1;
        waits.push(Wait { no, left, again: (block.end == BlockEnd::Idle).then_some(block.offset) });
        Some(no)
    }
}

/// The lines before the one at `at`, or the last ones of the block: at most `most`, oldest first.
fn ahead(block: &Block<'_>, at: Option<usize>, most: usize) -> Vec<Box<str>> {
    if most == 0 {
        return Vec::new();
    }
    let mut lines: Vec<Box<str>> = if block.records.is_empty() {
        let head = &block.bytes[..at.unwrap_or(block.bytes.len())];
        let lines = (!head.is_empty()).then(|| head.strip_suffix(b"\n").unwrap_or(head));
        lines.into_iter().flat_map(|l| l.rsplit(|b| *b == b'\n')).take(most).map(plain).collect()
    } else {
        let until =
            at.map_or(block.records.len(), |at| block.records.partition_point(|r| (r.start as usize) < at));
        block.records[..until].iter().rev().take(most).map(|r| record(block, r)).collect()
    };
    lines.reverse();
    lines
}

/// The lines from the one at `at` on, or from the block's first, without `skip` of them: at most `most`.
fn behind(block: &Block<'_>, at: Option<usize>, skip: usize, most: usize) -> Vec<Box<str>> {
    let at = at.unwrap_or(0);
    if block.records.is_empty() {
        let rest = &block.bytes[at..];
        let rest = rest.strip_suffix(b"\n").unwrap_or(rest);
        return rest.split(|b| *b == b'\n').skip(skip).take(most).map(plain).collect();
    }
    let from = block.records.partition_point(|r| (r.start as usize) < at);
    block.records[from..].iter().skip(skip).take(most).map(|r| record(block, r)).collect()
}

fn plain(line: &[u8]) -> Box<str> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    cut(line, CONTEXT_BYTES)
}

fn record(block: &Block<'_>, record: &crate::line::Record) -> Box<str> {
    let text = block.bytes.get(record.start as usize..record.end as usize);
    cut(text.unwrap_or_default(), CONTEXT_BYTES)
}
