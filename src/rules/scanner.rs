//! Blocks in, hits out.
//!
//! The filter walks the block and points at places; a place gives a line, and each rule that owns a literal there
//! looks at that line once, with its own regex. Lines that nothing points at are never looked at, nor even counted.
//! The surprise: there is no loop over lines anywhere in here.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::tz::TimeZone;
use regex::bytes::CaptureLocations;

use super::engine::Engine;
use super::rule::{Fate, Origin, Rule, cut};
use super::spec::{RuleSpec, SourceClock};
use super::stamp;
use super::wide::Wide;
use crate::hit::{Hit, LINE_BYTES, RuleNo};
use crate::line::{Block, SourceNo};
use crate::time::Wall;

/// Files whose set of rules is remembered; beyond it all are forgotten and found again. Twice what one agent watches.
const FILES: usize = 40_000;

/// Compiled sets kept; a host has a handful. Beyond it all are dropped and compiled again as they are needed.
const ENGINES: usize = 64;

/// All rules of a loaded file, ready to search blocks.
///
/// One thread scans with one `RuleSet`; a clone shares the compiled rules and costs little.
#[derive(Clone, Debug)]
pub struct RuleSet {
    pub(super) rules: Arc<[Rule]>,
    pub(super) host: Arc<str>,
    sources: HashMap<SourceNo, Source>,
    without_literal: Arc<[RuleNo]>,
    engines: Vec<Engine>,
    /// Sorted rule indices → index in `engines`.
    sets: HashMap<Box<[u32]>, usize>,
    files: HashMap<(SourceNo, u64), usize>,
    scratch: Scratch,
}

#[derive(Clone, Debug)]
struct Source {
    tz: TimeZone,
    rules: Vec<u32>,
    /// Some of its rules read some of its files only.
    split: bool,
    /// Its engine, where it is not split.
    engine: Option<usize>,
}

/// What is reused from block to block.
#[derive(Clone, Debug, Default)]
struct Scratch {
    /// Groups, by rule index.
    locs: Vec<CaptureLocations>,
    /// The last line that a rule was put down for, by rule index.
    marks: Vec<u64>,
    /// Number of the current line among the lines looked at.
    serial: u64,
    /// Rules to look at the current line.
    pending: Vec<u32>,
}

impl RuleSet {
    /// Makes ready to scan for `rules`; `clocks` has each source once, `host` is this host's name.
    ///
    /// Sets of rules are compiled when the first block that needs one comes, and kept.
    pub fn new(mut rules: Vec<RuleSpec>, clocks: Vec<SourceClock>, host: Arc<str>) -> RuleSet {
        rules.sort_by_key(|r| r.no);
        let rules: Arc<[Rule]> = rules.into_iter().map(Rule::new).collect();
        let mut sources: HashMap<SourceNo, Source> = clocks
            .into_iter()
            .map(|c| (c.no, Source { tz: c.tz, rules: Vec::new(), split: false, engine: None }))
            .collect();
        for (i, rule) in rules.iter().enumerate() {
            for no in &rule.spec.sources {
                if let Some(source) = sources.get_mut(no)
                    && source.rules.last() != Some(&(i as u32))
                {
                    source.rules.push(i as u32);
                    source.split |= !rule.spec.only_files.is_empty();
                }
            }
        }
        let without_literal = rules.iter().filter(|r| r.literals[0].is_none()).map(|r| r.spec.no).collect();
        let scratch = Scratch {
            locs: rules.iter().map(|r| r.spec.pattern.regex.capture_locations()).collect(),
            marks: vec![0; rules.len()],
            ..Scratch::default()
        };
        RuleSet {
            rules,
            host,
            sources,
            without_literal,
            engines: Vec::new(),
            sets: HashMap::new(),
            files: HashMap::new(),
            scratch,
        }
    }

    /// The name of a rule of this set; empty for a number that is not in it.
    pub fn rule_name(&self, no: RuleNo) -> Arc<str> {
        let found = self.rules.binary_search_by_key(&no, |r| r.spec.no);
        found.map_or_else(|_| Arc::from(""), |i| Arc::clone(&self.rules[i].spec.name))
    }

    /// How many rules it has.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// It has none.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Rules in which no text of four bytes or more must occur: they are searched the slow way.
    pub fn without_literal(&self) -> &[RuleNo] {
        &self.without_literal
    }

    /// The zone of a source's stamps that name none.
    pub(super) fn zone(&self, source: Option<SourceNo>) -> TimeZone {
        source.and_then(|no| self.sources.get(&no)).map_or(TimeZone::UTC, |s| s.tz.clone())
    }

    /// Appends the hits of a block to `out`: in the order of its lines, and within a line in that of the rules.
    pub fn scan(&mut self, block: &Block<'_>, out: &mut Vec<Hit>) {
        let Some(engine) = self.engine(block) else { return };
        let Some(source) = self.sources.get(&block.source) else { return };
        let engine = &self.engines[engine];
        let bytes = block.bytes;
        let mut pass = Pass {
            rules: &self.rules,
            host: &self.host,
            tz: &source.tz,
            scratch: &mut self.scratch,
            wide: engine.wide.as_deref(),
            wide_next: None,
            text: bytes.strip_suffix(b"\n").unwrap_or(bytes),
            block,
            line: (0, 0),
            begun: false,
            stamp: Stamp::Unknown,
            counted: (0, 0),
            out,
        };
        pass.seek_wide(0);
        engine.filter.each(bytes, |place, rule| pass.point(place, rule));
        pass.flush();
        pass.wide_before(usize::MAX);
    }

    /// The index of the engine for a block's file; `None` where no rule reads it.
    fn engine(&mut self, block: &Block<'_>) -> Option<usize> {
        let source = self.sources.get(&block.source)?;
        if source.rules.is_empty() {
            return None;
        }
        let known = if source.split {
            self.files.get(&(block.source, block.file_no)).copied()
        } else {
            source.engine
        };
        let engine = known.unwrap_or_else(|| self.build(block));
        (engine != usize::MAX).then_some(engine)
    }

    /// Finds or compiles the engine for a block's file; `usize::MAX` stands for none.
    #[cold]
    fn build(&mut self, block: &Block<'_>) -> usize {
        let Some(source) = self.sources.get(&block.source) else { return usize::MAX };
        let reads = |r: &&u32| self.rules[**r as usize].reads(block.file);
        let split = source.split;
        let set: Box<[u32]> = source.rules.iter().filter(reads).copied().collect();
        let engine = if set.is_empty() {
            usize::MAX
        } else if let Some(known) = self.sets.get(&set) {
            *known
        } else {
            if self.engines.len() >= ENGINES {
                self.engines.clear();
                self.sets.clear();
                self.files.clear();
                self.sources.values_mut().for_each(|s| s.engine = None);
            }
            self.engines.push(Engine::new(&self.rules, &set));
            self.sets.insert(set, self.engines.len() - 1);
            self.engines.len() - 1
        };
        if split {
            if self.files.len() >= FILES {
                self.files.clear();
            }
            self.files.insert((block.source, block.file_no), engine);
        } else if let Some(source) = self.sources.get_mut(&block.source) {
            source.engine = Some(engine);
        }
        engine
    }
}

/// The time of a line, which several rules may ask for.
#[derive(Clone, Copy)]
enum Stamp {
    Unknown,
    Known(Option<Wall>),
}

/// One pass over one block.
struct Pass<'a> {
    rules: &'a [Rule],
    host: &'a str,
    tz: &'a TimeZone,
    scratch: &'a mut Scratch,
    wide: Option<&'a Wide>,
    /// Start of the next line that the wide rules must look at.
    wide_next: Option<usize>,
    /// The block without its last newline.
    text: &'a [u8],
    block: &'a Block<'a>,
    /// Start and end of the current line, without its newline.
    line: (usize, usize),
    /// There is a current line.
    begun: bool,
    /// The stamp of the current line, once it has been looked for.
    stamp: Stamp,
    /// How many lines lie before which offset: for sources whose records bring their own time.
    counted: (usize, usize),
    out: &'a mut Vec<Hit>,
}

impl<'a> Pass<'a> {
    /// A rule's literal stands at `place`, or seems to.
    #[inline]
    fn point(&mut self, place: usize, rule: u32) {
        if !self.begun || place > self.line.1 {
            self.flush();
            let floor = if self.begun { self.line.1 + 1 } else { 0 };
            let start = memchr::memrchr(b'\n', &self.text[floor..place]).map_or(floor, |n| floor + n + 1);
            self.begin(start, place);
        }
        let mark = &mut self.scratch.marks[rule as usize];
        if *mark != self.scratch.serial {
            *mark = self.scratch.serial;
            self.scratch.pending.push(rule);
        }
    }

    /// Makes the line from `start` on the current one; it does not end before `place`.
    fn begin(&mut self, start: usize, place: usize) {
        let end = memchr::memchr(b'\n', &self.text[place..]).map_or(self.text.len(), |n| place + n);
        self.line = (start, end);
        self.begun = true;
        self.stamp = Stamp::Unknown;
        self.scratch.serial += 1;
    }

    /// Judges the current line by the rules put down for it, and all wide lines before it.
    fn flush(&mut self) {
        if self.scratch.pending.is_empty() {
            return;
        }
        if self.wide_next.is_some() {
            let (line, stamp) = (self.line, self.stamp);
            let pending = std::mem::take(&mut self.scratch.pending);
            self.wide_before(line.0);
            self.scratch.pending = pending;
            (self.line, self.stamp) = (line, stamp);
            if self.wide_next == Some(line.0) {
                self.add_wide();
            }
        }
        self.judge_line();
    }

    /// Judges the lines that only wide rules look at, up to the line that begins at `limit`.
    fn wide_before(&mut self, limit: usize) {
        while let Some(start) = self.wide_next.filter(|s| *s < limit) {
            self.begin(start, start);
            self.add_wide();
            self.judge_line();
        }
    }

    /// Puts the wide rules down for the current line, and looks for their next one.
    fn add_wide(&mut self) {
        if let Some(wide) = self.wide {
            let line = self.current();
            wide.on_line(line, &mut self.scratch.pending);
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
        if end < self.block.bytes.len() { line.strip_suffix(b"\r").unwrap_or(line) } else { line }
    }

    fn judge_line(&mut self) {
        let mut pending = std::mem::take(&mut self.scratch.pending);
        if pending.len() > 1 {
            pending.sort_unstable();
        }
        for rule in pending.drain(..) {
            self.judge(rule);
        }
        self.scratch.pending = pending;
    }

    fn judge(&mut self, index: u32) {
        let block = self.block;
        let rule = &self.rules[index as usize];
        if self.line.0 == 0 && block.hit_early.contains(&rule.spec.name) {
            return;
        }
        let line = self.current();
        let locs = &mut self.scratch.locs[index as usize];
        if rule.fate(line, locs) != Fate::Hit {
            return;
        }
        let origin = Origin { file: block.file, host: self.host };
        let (key, captures) = (rule.key(line, locs, origin), rule.captured(line, locs));
        let stamp = self.stamp(line);
        self.out.push(Hit {
            rule: rule.spec.no,
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
    fn stamp(&mut self, line: &[u8]) -> Option<Wall> {
        if let Stamp::Known(known) = self.stamp {
            return known;
        }
        let stamp = if self.block.records.is_empty() {
            stamp::stamp(line, self.block.read.wall, self.tz)
        } else {
            let (lines, upto) = self.counted;
            let lines = lines + memchr::memchr_iter(b'\n', &self.block.bytes[upto..self.line.0]).count();
            self.counted = (lines, self.line.0);
            self.block.records.get(lines).and_then(|r| r.stamp)
        };
        self.stamp = Stamp::Known(stamp);
        stamp
    }
}
