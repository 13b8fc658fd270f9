//! One pass over one block: the places that the filter points at become lines, and lines become hits.
//!
//! The [`Desk`] is where one line lies under the eyes of the rules that were put down for it; [`Lines`] brings it the
//! lines of a block that is simply lines, as `records` does for one that comes with a table. A line's time and its
//! fields are made when the first rule asks, and kept for the others.

use std::ops::Range;
use std::sync::Arc;

use jiff::tz::TimeZone;

use super::around::Around;
use super::confirm::{Pool, Says, Spot};
use super::cut::cut;
use super::engine::{Engine, Owner};
use super::fields::Fields;
use super::filter::Place;
use super::fold::{Folding, Group, Last, Like};
use super::rule::{Fate, Groups, Origin, Rule};
use super::stamp::Memo;
use super::tally::Tally;
use super::wide::Wide;
use crate::hit::{Hit, Hits, LINE_BYTES, RuleNo};
use crate::line::{Block, Record};
use crate::time::Wall;

/// What is reused from block to block.
#[derive(Clone, Debug)]
pub(super) struct Scratch {
    /// Groups, by rule index.
    locs: Vec<Groups>,
    /// How far each rule got with the last line that its literal was in, by rule index.
    marks: Vec<Mark>,
    /// Number of the current line among the lines looked at.
    serial: u64,
    /// Rules to look at the current line.
    pending: Vec<PutDown>,
    pub(super) tally: Tally,
    /// What is folded in this block.
    folding: Folding,
    /// Stamps of this block.
    memo: Memo,
    pub(super) around: Around,
}

/// How far a rule got with a line.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    /// The line's number.
    serial: u64,
    /// Places that did not confirm it.
    failed: u32,
    put_down: bool,
}

/// A rule to look at the current line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct PutDown {
    rule: u32,
    /// It is known to match.
    sure: bool,
}

/// So many places of a line are confirmed one by one; then the rule's regex reads the line once. Who writes a literal a
/// thousand times into a line gains nothing by it.
const PLACES: u32 = 4;

impl Scratch {
    pub(super) fn new(rules: &[Rule]) -> Scratch {
        Scratch {
            locs: vec![Groups::default(); rules.len()],
            marks: vec![Mark::default(); rules.len()],
            serial: 0,
            pending: Vec::new(),
            tally: Tally::default(),
            folding: Folding::new(rules.len()),
            memo: Memo::default(),
            around: Around::default(),
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
    /// Where it begins in the block.
    at: usize,
    /// It is the first of the block.
    first: bool,
    /// Its record, where the block has a table.
    record: Option<&'a Record>,
    /// Its time, once it has been looked for.
    stamp: Stamp,
    /// Its fields, once a rule has been asked.
    fields: Option<Fields<'a>>,
    out: Out<'a>,
}

/// What becomes of a line that a rule accepts.
pub(super) enum Out<'a> {
    /// It is a hit.
    Hits(&'a mut Hits),
    /// It is a hit, with the lines around it.
    Around(&'a mut Hits),
    /// The same, and it may be folded.
    Folded(&'a mut Hits),
    /// It is told, by rule and place in the block; nothing is made of it.
    Found(&'a mut dyn FnMut(RuleNo, Range<usize>)),
}

impl<'a> Desk<'a> {
    pub(super) fn new(
        rules: &'a [Rule],
        host: &'a str,
        tz: &'a TimeZone,
        scratch: &'a mut Scratch,
        block: &'a Block<'a>,
        out: Out<'a>,
    ) -> Desk<'a> {
        // what a block before this one marked is of another line
        scratch.serial += 1;
        scratch.pending.clear();
        scratch.memo = Memo::default();
        let (text, at, first, record, stamp, fields) = (&[][..], 0, false, None, Stamp::Unknown, None);
        Desk { rules, host, tz, scratch, block, text, at, first, record, stamp, fields, out }
    }

    /// Another line is the current one; rules are put down for it anew.
    #[inline]
    pub(super) fn turn(&mut self) {
        self.scratch.serial += 1;
    }

    /// A literal of a rule stands in `line`, the current one, at `at`: puts the rule down where that confirms it.
    #[inline]
    pub(super) fn point(&mut self, owner: &mut Owner, pool: &mut Pool, line: &[u8], at: usize) {
        let mark = &mut self.scratch.marks[owner.rule as usize];
        if mark.serial != self.scratch.serial {
            *mark = Mark { serial: self.scratch.serial, failed: 0, put_down: false };
        } else if mark.put_down {
            return;
        }
        let since = self.scratch.tally.begin();
        let says = {
            let spot = Spot { line, serial: self.scratch.serial, at };
            owner.confirm.ask(&self.rules[owner.rule as usize].spec.pattern, pool, spot)
        };
        self.scratch.tally.end(owner.rule, since, true, false);
        if says == Says::No && mark.failed < PLACES {
            mark.failed += 1;
            return;
        }
        mark.put_down = true;
        self.scratch.pending.push(PutDown { rule: owner.rule, sure: says == Says::Yes });
    }

    /// Puts the wide rules down that may match this text.
    pub(super) fn put_down_wide(&mut self, wide: &Wide, text: &[u8]) {
        let Scratch { pending, tally, .. } = &mut *self.scratch;
        wide.on_line(text, |rule, sure| {
            tally.end(rule, tally.begin(), true, false);
            pending.push(PutDown { rule, sure });
        });
    }

    /// No rule is put down.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.scratch.pending.is_empty()
    }

    /// Has the rules that were put down judge this line, in their order; then none is put down.
    pub(super) fn judge(&mut self, text: &'a [u8], at: usize, first: bool, record: Option<&'a Record>) {
        (self.text, self.at, self.first, self.record) = (text, at, first, record);
        (self.stamp, self.fields) = (Stamp::Unknown, None);
        let mut pending = std::mem::take(&mut self.scratch.pending);
        if pending.len() > 1 {
            pending.sort_unstable();
        }
        for PutDown { rule, sure } in pending.drain(..) {
            let since = self.scratch.tally.begin();
            let hit = self.judge_by(rule, sure);
            self.scratch.tally.end(rule, since, false, hit);
        }
        self.scratch.pending = pending;
    }

    /// Tells whether it was a hit.
    fn judge_by(&mut self, index: u32, sure: bool) -> bool {
        let block = self.block;
        let rule = &self.rules[index as usize];
        if self.first && block.hit_early.contains(&rule.early) {
            return false;
        }
        if self.scratch.folding.is_full() {
            self.close_groups();
        }
        let (line, record) = (self.text, self.record);
        let locs = &mut self.scratch.locs[index as usize];
        let fields = self.fields.get_or_insert_with(|| Fields::new(wrapping(block, record), line));
        if let Out::Found(found) = &mut self.out {
            let accepts = !rule.resolves && rule.accepts(line, sure, fields);
            if accepts {
                found(rule.spec.no, self.at..self.at + line.len());
            }
            return accepts;
        }
        if rule.fate(line, sure, locs, fields) != Fate::Hit {
            return false;
        }
        if rule.spec.fold
            && let Out::Folded(hits) = &self.out
        {
            if let Like::Known(group) = self.scratch.folding.find(index, rule, line, locs, fields) {
                let (like, place) = (group.like, self.at..self.at + line.len());
                group.last = Some(Last { turn: hits.len(), place });
                let stamp = self.stamp();
                self.hits(|hits| hits.again(like, stamp));
                return true;
            }
            let no = self.add(index, line, record);
            self.scratch.folding.open(index, rule, no);
            return true;
        }
        self.add(index, line, record);
        true
    }

    /// The current line is a hit in full. Returns its number among those.
    fn add(&mut self, index: u32, line: &[u8], record: Option<&Record>) -> u32 {
        let hit = self.make(index, line, self.at, record, true);
        let stamp = self.stamp();
        self.hits(|hits| hits.push(Hit { stamp, ..hit })).unwrap_or_default()
    }

    fn hits<T>(&mut self, work: impl FnOnce(&mut Hits) -> T) -> Option<T> {
        match &mut self.out {
            Out::Hits(hits) | Out::Around(hits) | Out::Folded(hits) => Some(work(hits)),
            Out::Found(_) => None,
        }
    }

    /// Makes the last hit of each group, once every hit of the block has been met; groups begin anew.
    pub(super) fn close_groups(&mut self) {
        let block = self.block;
        while let Some(Group { rule, last, .. }) = self.scratch.folding.pop() {
            let Some(Last { turn, place }) = last else { continue };
            let record = block.records.binary_search_by_key(&(place.start as u32), |r| r.start);
            let record = record.ok().and_then(|n| block.records.get(n));
            let at = place.start;
            let hit = self.make(rule, &block.bytes[place], at, record, false);
            self.hits(|hits| hits.fill_in(turn, hit));
        }
    }

    /// Makes a hit of the line at `at` in the block, without its stamp. `judged`: it is the line that its rule has looked
    /// at last.
    fn make(&mut self, index: u32, line: &[u8], at: usize, record: Option<&Record>, judged: bool) -> Hit {
        let (block, rule) = (self.block, &self.rules[index as usize]);
        let locs = &mut self.scratch.locs[index as usize];
        let mut fields = Fields::new(wrapping(block, record), line);
        rule.locate(line, locs, judged);
        let origin = Origin { file: block.file, host: self.host };
        let (resolves, key) = if rule.resolves {
            let (bits, key) = rule.named(line, locs, &mut fields);
            (Some(bits), key)
        } else {
            (None, rule.key(line, locs, &mut fields, origin))
        };
        let context = match self.out {
            Out::Around(_) | Out::Folded(_) => self.scratch.around.of(block, at, rule.spec.context),
            Out::Hits(_) | Out::Found(_) => None,
        };
        Hit {
            rule: rule.spec.no,
            resolves,
            key,
            captures: rule.captured(line, locs, &mut fields),
            stamp: None,
            read: block.read,
            line: cut(line, LINE_BYTES).into(),
            file: Arc::clone(block.file),
            file_no: block.file_no,
            backlog: block.backlog,
            context,
        }
    }

    /// The current line's time: the record's own where it brings one.
    fn stamp(&mut self) -> Option<Wall> {
        if let Stamp::Known(known) = self.stamp {
            return known;
        }
        let own = self.record.and_then(|r| r.stamp);
        let stamp = own.or_else(|| self.scratch.memo.stamp(self.text, self.block.read.wall, self.tz));
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
    pub(super) fn scan(desk: Desk<'a>, engine: &'a mut Engine) {
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
        let (owners, pool) = (&mut engine.owners, &mut engine.pool);
        engine.filter.each(bytes, |place| pass.point(place, &mut owners[place.owner as usize], pool));
        pass.flush();
        pass.wide_before(usize::MAX);
        pass.desk.close_groups();
    }

    /// A rule's literal stands here, or seems to.
    #[inline]
    fn point(&mut self, place: Place, owner: &mut Owner, pool: &mut Pool) {
        let inside = place.inside;
        if !self.begun || inside > self.line.1 {
            self.flush();
            let floor = if self.begun { self.line.1 + 1 } else { 0 };
            let start = memchr::memrchr(b'\n', &self.text[floor..inside]).map_or(floor, |n| floor + n + 1);
            self.begin(start, inside);
        }
        // what begins in the line before is no literal
        if let Some(at) = place.start.and_then(|start| start.checked_sub(self.line.0)) {
            self.desk.point(owner, pool, self.current(), at);
        }
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
        self.desk.judge(self.current(), self.line.0, self.line.0 == 0, None);
    }
}
