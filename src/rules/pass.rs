//! One pass over one block: the places that the filter points at become lines, and lines become hits.
//!
//! The [`Desk`] is where one line lies under the eyes of the rules that were put down for it; [`Lines`] brings it the
//! lines of a block that is simply lines, as `records` does for one that comes with a table. A line's time and its
//! fields are made when the first rule asks, and kept for the others.

use std::sync::Arc;

use jiff::tz::TimeZone;
use regex::bytes::CaptureLocations;

use super::engine::Engine;
use super::fields::Fields;
use super::rule::{Fate, Origin, Rule, cut};
use super::stamp;
use super::wide::Wide;
use crate::hit::{Hit, LINE_BYTES};
use crate::line::{Block, Record};
use crate::time::Wall;

/// What is reused from block to block.
#[derive(Clone, Debug)]
pub(super) struct Scratch {
    /// Groups, by rule index.
    locs: Vec<CaptureLocations>,
    /// The last line that a rule was put down for, by rule index.
    marks: Vec<u64>,
    /// Number of the current line among the lines looked at.
    serial: u64,
    /// Rules to look at the current line.
    pending: Vec<u32>,
}

impl Scratch {
    pub(super) fn new(rules: &[Rule]) -> Scratch {
        Scratch {
            locs: rules.iter().map(|r| r.spec.pattern.regex.capture_locations()).collect(),
            marks: vec![0; rules.len()],
            serial: 0,
            pending: Vec::new(),
        }
    }
}

/// The time of a line, which several rules may ask for.
#[derive(Clone, Copy)]
enum Stamp {
    Unknown,
    Known(Option<Wall>),
}

/// Where the current line lies, and what is made of it.
pub(super) struct Desk<'a> {
    rules: &'a [Rule],
    host: &'a str,
    tz: &'a TimeZone,
    scratch: &'a mut Scratch,
    pub(super) block: &'a Block<'a>,
    /// The current line without its line end.
    text: &'a [u8],
    /// It is the first of the block.
    first: bool,
    /// Its record, where the block has a table.
    record: Option<&'a Record>,
    /// Its time, once it has been looked for.
    stamp: Stamp,
    /// Its fields, once a rule has been asked.
    fields: Option<Fields<'a>>,
    out: &'a mut Vec<Hit>,
}

impl<'a> Desk<'a> {
    pub(super) fn new(
        rules: &'a [Rule],
        host: &'a str,
        tz: &'a TimeZone,
        scratch: &'a mut Scratch,
        block: &'a Block<'a>,
        out: &'a mut Vec<Hit>,
    ) -> Desk<'a> {
        // what a block before this one marked is of another line
        scratch.serial += 1;
        scratch.pending.clear();
        let (text, first, record, stamp, fields) = (&[][..], false, None, Stamp::Unknown, None);
        Desk { rules, host, tz, scratch, block, text, first, record, stamp, fields, out }
    }

    /// Another line is the current one; rules are put down for it anew.
    #[inline]
    pub(super) fn turn(&mut self) {
        self.scratch.serial += 1;
    }

    /// Puts a rule down for the current line, once.
    #[inline]
    pub(super) fn put_down(&mut self, rule: u32) {
        let mark = &mut self.scratch.marks[rule as usize];
        if *mark != self.scratch.serial {
            *mark = self.scratch.serial;
            self.scratch.pending.push(rule);
        }
    }

    /// Puts the wide rules down that may match this text.
    pub(super) fn put_down_wide(&mut self, wide: &Wide, text: &[u8]) {
        wide.on_line(text, &mut self.scratch.pending);
    }

    /// No rule is put down.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.scratch.pending.is_empty()
    }

    /// Has the rules that were put down judge this line, in their order; then none is put down.
    pub(super) fn judge(&mut self, text: &'a [u8], first: bool, record: Option<&'a Record>) {
        (self.text, self.first, self.record) = (text, first, record);
        (self.stamp, self.fields) = (Stamp::Unknown, None);
        let mut pending = std::mem::take(&mut self.scratch.pending);
        if pending.len() > 1 {
            pending.sort_unstable();
        }
        for rule in pending.drain(..) {
            self.judge_by(rule);
        }
        self.scratch.pending = pending;
    }

    fn judge_by(&mut self, index: u32) {
        let block = self.block;
        let rule = &self.rules[index as usize];
        if self.first && block.hit_early.contains(&rule.early) {
            return;
        }
        let line = self.text;
        let locs = &mut self.scratch.locs[index as usize];
        let record = self.record;
        let fields = self.fields.get_or_insert_with(|| Fields::new(wrapping(block, record), line));
        if rule.fate(line, locs, fields) != Fate::Hit {
            return;
        }
        let origin = Origin { file: block.file, host: self.host };
        let (resolves, key) = if rule.resolves {
            let (bits, key) = rule.named(line, locs, fields);
            (Some(bits), key)
        } else {
            (None, rule.key(line, locs, fields, origin))
        };
        let captures = rule.captured(line, locs, fields);
        let stamp = self.stamp();
        self.out.push(Hit {
            rule: rule.spec.no,
            resolves,
            key,
            captures,
            stamp,
            read: block.read,
            line: cut(line, LINE_BYTES),
            file: Arc::clone(block.file),
            file_no: block.file_no,
            backlog: block.backlog,
        });
    }

    /// The current line's time: the record's own where it brings one.
    fn stamp(&mut self) -> Option<Wall> {
        if let Stamp::Known(known) = self.stamp {
            return known;
        }
        let own = self.record.and_then(|r| r.stamp);
        let stamp = own.or_else(|| stamp::stamp(self.text, self.block.read.wall, self.tz));
        self.stamp = Stamp::Known(stamp);
        stamp
    }
}

/// What the wrapping of a record says.
fn wrapping<'a>(block: &'a Block<'a>, record: Option<&Record>) -> &'a [crate::line::Field] {
    let (from, to) = record.map_or((0, 0), |r| r.fields);
    block.fields.get(from as usize..to as usize).unwrap_or_default()
}

/// A pass over a block whose lines are simply its lines.
pub(super) struct Lines<'a> {
    desk: Desk<'a>,
    wide: Option<&'a Wide>,
    /// Start of the next line that the wide rules must look at.
    wide_next: Option<usize>,
    /// The block without its last newline.
    text: &'a [u8],
    /// Start and end of the current line, without its newline.
    line: (usize, usize),
    /// There is a current line.
    begun: bool,
}

impl<'a> Lines<'a> {
    pub(super) fn scan(desk: Desk<'a>, engine: &'a Engine) {
        let bytes = desk.block.bytes;
        let mut pass = Lines {
            desk,
            wide: engine.wide.as_deref(),
            wide_next: None,
            text: bytes.strip_suffix(b"\n").unwrap_or(bytes),
            line: (0, 0),
            begun: false,
        };
        pass.seek_wide(0);
        engine.filter.each(bytes, |place, rule| pass.point(place, rule));
        pass.flush();
        pass.wide_before(usize::MAX);
    }

    /// A rule's literal stands at `place`, or seems to.
    #[inline]
    fn point(&mut self, place: usize, rule: u32) {
        if !self.begun || place > self.line.1 {
            self.flush();
            let floor = if self.begun { self.line.1 + 1 } else { 0 };
            let start = memchr::memrchr(b'\n', &self.text[floor..place]).map_or(floor, |n| floor + n + 1);
            self.begin(start, place);
        }
        self.desk.put_down(rule);
    }

    /// Makes the line from `start` on the current one; it does not end before `place`.
    fn begin(&mut self, start: usize, place: usize) {
        let end = memchr::memchr(b'\n', &self.text[place..]).map_or(self.text.len(), |n| place + n);
        self.line = (start, end);
        self.begun = true;
        self.desk.turn();
    }

    /// Judges the current line by the rules put down for it, and all wide lines before it.
    fn flush(&mut self) {
        if self.desk.is_empty() {
            return;
        }
        if self.wide_next.is_some() {
            let line = self.line;
            let pending = std::mem::take(&mut self.desk.scratch.pending);
            self.wide_before(line.0);
            self.desk.scratch.pending = pending;
            self.line = line;
            if self.wide_next == Some(line.0) {
                self.add_wide();
            }
        }
        self.judge();
    }

    /// Judges the lines that only wide rules look at, up to the line that begins at `limit`.
    fn wide_before(&mut self, limit: usize) {
        while let Some(start) = self.wide_next.filter(|s| *s < limit) {
            self.begin(start, start);
            self.add_wide();
            self.judge();
        }
    }

    /// Puts the wide rules down for the current line, and looks for their next one.
    fn add_wide(&mut self) {
        if let Some(wide) = self.wide {
            self.desk.put_down_wide(wide, self.current());
        }
        self.seek_wide(self.line.1 + 1);
    }

    fn seek_wide(&mut self, at: usize) {
        self.wide_next = self.wide.and_then(|w| w.next(self.text, at));
    }

    /// The current line without its line end.
    fn current(&self) -> &'a [u8] {
        let (start, end) = self.line;
        let line = &self.text[start..end];
        // only a newline makes the `\r` before it part of the line end
        if end < self.desk.block.bytes.len() { line.strip_suffix(b"\r").unwrap_or(line) } else { line }
    }

    fn judge(&mut self) {
        self.desk.judge(self.current(), self.line.0 == 0, None);
    }
}
