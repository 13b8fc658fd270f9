//! Bytes that come one after another, with no place to go back to, made into lines or records.
//!
//! Standard input is one such flow, a log of the past that is read once is another, and the lines of a scenario are a
//! third. What is not complete stays in the buffer and is looked at again with what follows; a record to which more may
//! come waits for its next line, or for a second without one.
//!
//! The surprising part: there are two sorts of NULs. In a file they are holes where a line would begin, and none of
//! its text; in a pipe, which nobody truncates, they are bytes like any others.

use std::sync::Arc;

use super::SourceSpec;
use super::assemble::{Assembly, Part, Recipe};
use super::decode::Script;
use super::lines::{self, Split};
use super::reading::{IDLE, QUANTUM};
use super::streams::Take;
use super::wrap::Stream;
use super::{Encoding, join::Joiner};
use crate::line::{Block, BlockEnd, SourceNo};
use crate::time::{Now, Tick};

/// Records that wait for more hold so much at most, in bytes of the input; then they end.
const HELD: usize = 4 * QUANTUM;

/// A flow of bytes.
#[derive(Debug)]
pub(super) struct Flow {
    no: SourceNo,
    file: Arc<str>,
    max_line: usize,
    encoding: Encoding,
    /// NULs where a line would begin are none.
    holes: bool,
    /// What came in and was not given out: the beginning of a line, shorter than the longest, and records that wait.
    pub(super) buf: Vec<u8>,
    /// What it is written in, once its first bytes have said so.
    script: Option<Script>,
    assembly: Assembly,
    /// Records that wait for their next line: how far they go, counted from the input's start, and since when.
    waits: Vec<(Stream, u64, Tick)>,
    /// So much was given out.
    passed: u64,
    /// What follows is the rest of an over-long line.
    skipping: bool,
}

/// Where what is given out now comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    pub(super) file_no: u64,
    /// It lay unread when the agent started or came back.
    pub(super) backlog: bool,
    pub(super) now: Now,
}

/// What was given out.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Given {
    pub(super) lines: u64,
    pub(super) bytes: u64,
}

impl Recipe {
    /// As the source says.
    pub(super) fn of(spec: &SourceSpec) -> Recipe {
        Recipe { joiner: Joiner::new(&spec.join), format: spec.format, max_line: spec.max_line }
    }
}

impl Flow {
    /// Nothing has come yet. `holes`: it is the text of a file.
    pub(super) fn new(spec: &SourceSpec, file: Arc<str>, holes: bool) -> Flow {
        Flow {
            no: spec.no,
            file,
            max_line: spec.max_line,
            encoding: spec.encoding,
            holes,
            buf: vec![],
            script: None,
            assembly: Assembly::default(),
            waits: vec![],
            passed: 0,
            skipping: false,
        }
    }

    /// The source has another number, or other limits, in a new set.
    pub(super) fn adjust(&mut self, spec: &SourceSpec) {
        self.no = spec.no;
        self.max_line = spec.max_line;
        self.encoding = spec.encoding;
    }

    /// When a record that waits has waited long enough.
    pub(super) fn due(&self) -> Option<Tick> {
        self.waits.iter().map(|(.., since)| *since + IDLE).min()
    }

    /// Gives out what is complete. At the end of the input the last line is whole without its newline.
    pub(super) fn give(&mut self, recipe: &Recipe, at_end: bool, from: Origin, take: Take<'_>) -> Given {
        let Some(script) = self.script.or_else(|| Script::of(&self.buf, self.encoding.0)) else {
            // its first byte may be half of a mark
            return if at_end { self.lines(at_end, from, take) } else { Given::default() };
        };
        if self.script.is_none() && !self.buf.is_empty() {
            self.script = Some(script);
            self.buf.drain(..usize::from(script.mark));
        }
        if recipe.is_plain() && script.is_utf8() {
            self.lines(at_end, from, take)
        } else {
            self.records(recipe, script, at_end, from, take)
        }
    }

    /// Records that are not simply its lines.
    fn records(
        &mut self,
        recipe: &Recipe,
        script: Script,
        at_end: bool,
        from: Origin,
        take: Take<'_>,
    ) -> Given {
        // a record that waits for more may have its last newline already, and no line stands behind it
        if at_end && !self.buf.is_empty() && !self.buf.ends_with(script.line_end()) {
            self.buf.extend_from_slice(script.line_end());
        }
        let now = from.now;
        let mut given = Given::default();
        self.assembly.clear();
        let part = Part { data: &self.buf, base: 0, script, skipping: self.skipping };
        let found = self.assembly.feed(part, recipe);
        let (passed, known) = (self.passed, &self.waits);
        let since = |stream: Stream, byte: usize| {
            let end = passed + byte as u64;
            let known = known.iter().find(|(s, e, _)| *s == stream && *e == end);
            (stream, end, known.map_or(now.tick, |(.., since)| *since))
        };
        let all = at_end || self.buf.len() > HELD;
        self.assembly.finish_if(|stream, at| all || since(stream, at.byte).2 + IDLE <= now.tick);
        let (n, next) = self.assembly.ready();
        let waits = self.assembly.waiting().map(|(stream, at)| since(stream, at.byte)).collect();
        let (source, file) = (self.no, &self.file);
        self.assembly.give(n, |bytes, records, fields, end, _| {
            given.bytes += bytes.len() as u64;
            given.lines += records.len() as u64;
            take(&Block {
                source,
                file,
                file_no: from.file_no,
                offset: 0,
                bytes,
                end,
                hit_early: &[],
                read: now,
                backlog: from.backlog,
                records,
                fields,
                earlier: None,
            });
        });
        self.skipping = found.skipping && next.is_none();
        // NULs where a line would begin are none, and there may be no end of them.
        let done = if found.nuls && next.is_none() { self.buf.len() } else { found.end };
        let done = next.map_or(done, |at| at.byte);
        self.buf.drain(..done);
        self.passed += done as u64;
        self.waits = waits;
        given
    }

    /// Lines as they stand.
    fn lines(&mut self, at_end: bool, from: Origin, take: Take<'_>) -> Given {
        if at_end && !self.buf.is_empty() {
            self.buf.push(b'\n');
        }
        let (source, file) = (self.no, &self.file);
        let mut bytes_out = 0;
        let emit = |_: usize, bytes: &[u8], end: BlockEnd| {
            debug_assert!(end != BlockEnd::Idle, "a flow has no idle lines");
            bytes_out += bytes.len() as u64;
            take(&Block {
                source,
                file,
                file_no: from.file_no,
                offset: 0,
                bytes,
                end,
                hit_early: &[],
                read: from.now,
                backlog: from.backlog,
                records: &[],
                fields: &[],
                earlier: None,
            });
        };
        let split = if self.holes { lines::split } else { lines::split_stream };
        let Split { consumed, skipping, lines, nuls, .. } =
            split(&self.buf, self.max_line, self.skipping, emit);
        self.skipping = skipping;
        // nobody fills in a hole of what is read once
        let done = if nuls { self.buf.len() } else { consumed };
        self.buf.drain(..done);
        self.passed += done as u64;
        Given { lines, bytes: bytes_out }
    }
}
