//! One log of the past: its hits, each with the time at which its line is taken to have been read.
//!
//! A line was read when its stamp says that it was written; one without a stamp, when the one before it was. A stamp
//! counts as the judge would have it count: never later than the file was last written, not where the next line is ten
//! minutes older, and a step back by more than a day is none.
//!
//! The surprising part: most of a log is never looked at line by line. Where a block holds no hit, its first and its
//! last stamp are all that is asked of it; where it holds one, its lines are searched again, one at a time, so that
//! each hit has its own line's neighbours to be dated by.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::tz::TimeZone;

use super::history::{Progress, Remark};
use crate::hit::Hits;
use crate::judge::{AHEAD, BEHIND};
use crate::line::{Block, BlockEnd, Field, Record};
use crate::rules::{RuleSet, stamp};
use crate::tail::{Past, SourceSpec};
use crate::time::{Now, Tick, Wall};

/// In a block without a hit, so many lines at either end are asked for a stamp.
const ASKED: usize = 64;

/// One file of the past, and how it is to be read.
#[derive(Clone, Debug)]
pub struct LogFile {
    /// Where it lies.
    pub path: PathBuf,
    /// How its lines' file is called.
    pub name: Arc<str>,
    /// The source that it belongs to.
    pub spec: SourceSpec,
    /// The zone of its stamps that name none.
    pub tz: TimeZone,
    /// Which of the sets of rules is asked.
    pub set: usize,
}

/// A file that is being read.
#[derive(Debug)]
pub(super) struct Open {
    past: Past,
    file: LogFile,
    file_no: u64,
    size: u64,
    more: bool,
    /// So many lines behind a hit are asked for and were not read yet.
    owed: usize,
    pieces: VecDeque<Piece>,
    /// When its first line was read that says so.
    begun: Wall,
    /// Its time so far.
    clock: Option<Wall>,
    /// A line, until it is known what the next one says.
    held: Option<Line>,
    /// The next hits, where they have been looked for.
    next: Option<(Wall, Hits)>,
    looked: bool,
}

/// A part of what was read.
#[derive(Debug)]
enum Piece {
    /// A block that holds a hit, or lines that one before it asks for: its lines are searched from this one on, or from
    /// this byte.
    Kept { bytes: Vec<u8>, records: Vec<Record>, fields: Vec<Field>, end: BlockEnd, at: usize },
    /// Nothing hit between these times; its last lines, where a hit behind it may ask for them.
    Quiet(Line, Vec<Box<str>>),
}

/// A line, or many without a hit.
#[derive(Debug, Default)]
struct Line {
    first: Option<Wall>,
    last: Option<Wall>,
    hits: Hits,
}

impl Open {
    /// The time of the file's first line that has one.
    pub(super) fn begins(file: &LogFile, window: usize) -> io::Result<Wall> {
        let mut past = Past::open(&file.path, &file.spec, Arc::clone(&file.name), 0)?;
        let (written, mut found) = (past.written(), None);
        past.read(window, read_at(written), &mut |block| {
            let mut times = lines(block).map(|(text, record)| time(text, record, written, &file.tz));
            found = found.or_else(|| times.find_map(|t| t));
        })?;
        Ok(found.unwrap_or(written).min(written))
    }

    /// Begins with the first line; `begun` is what [`Open::begins`] has said.
    pub(super) fn new(file: &LogFile, file_no: u64, begun: Wall) -> io::Result<Open> {
        Ok(Open {
            past: Past::open(&file.path, &file.spec, Arc::clone(&file.name), file_no)?,
            file: file.clone(),
            file_no,
            size: std::fs::metadata(&file.path)?.len(),
            more: true,
            owed: 0,
            pieces: VecDeque::new(),
            begun,
            clock: None,
            held: None,
            next: None,
            looked: false,
        })
    }

    /// When the next hits are.
    pub(super) fn peek(
        &mut self,
        rules: &mut RuleSet,
        window: usize,
        progress: &mut Progress,
    ) -> io::Result<Option<Wall>> {
        if !self.looked {
            self.next = self.find(rules, window, progress)?;
            self.looked = true;
        }
        Ok(self.next.as_ref().map(|(at, _)| *at))
    }

    /// The hits that are no later than `at`.
    pub(super) fn take_until(
        &mut self,
        at: Wall,
        rules: &mut RuleSet,
        window: usize,
        progress: &mut Progress,
    ) -> io::Result<Hits> {
        let mut all = Hits::default();
        while self.peek(rules, window, progress)?.is_some_and(|next| next <= at) {
            self.looked = false;
            if let Some((_, hits)) = self.next.take() {
                all.append(hits);
            }
        }
        Ok(all)
    }

    /// Bytes on the disk that were not counted while it was read: those of an archive, whose text is longer.
    pub(super) fn unseen_bytes(&self) -> u64 {
        if self.past.is_packed() { self.size } else { 0 }
    }

    /// What is to be known of a file that was read to its end.
    pub(super) fn remark(&self, path: &Path) -> Option<Remark> {
        let remark = |what: &str, unread| Remark { path: path.to_owned(), what: what.to_owned(), unread };
        if self.past.is_damaged() {
            return Some(remark("the archive is damaged; what it held behind that is not known", true));
        }
        let timeless = self.clock.is_none() && self.past.offset() > 0;
        timeless.then(|| remark("no line has a time; all count as read when it was last written", false))
    }

    /// The next line that has hits.
    fn find(
        &mut self,
        rules: &mut RuleSet,
        window: usize,
        progress: &mut Progress,
    ) -> io::Result<Option<(Wall, Hits)>> {
        loop {
            let line = self.line(rules, window, progress)?;
            let next = line.as_ref().and_then(|l| l.first);
            let over = line.is_none();
            if let Some(before) = std::mem::replace(&mut self.held, line)
                && let Some(found) = self.date(before, next, progress)
            {
                return Ok(Some(found));
            }
            if over {
                return Ok(None);
            }
        }
    }

    /// When a line was read, if it has hits; `next` is the stamp of what follows.
    fn date(&mut self, line: Line, next: Option<Wall>, progress: &mut Progress) -> Option<(Wall, Hits)> {
        let written = self.past.written();
        let believed = |s: Wall| {
            let ahead = next.is_some_and(|next| s.since(next) > AHEAD);
            let behind = self.clock.is_some_and(|last| last.since(s) > BEHIND);
            (!ahead && !behind).then(|| s.min(written).max(self.clock.unwrap_or(s.min(written))))
        };
        let at = line.first.and_then(believed);
        if let Some(at) = at {
            let last = line.last.and_then(believed).unwrap_or(at).max(at);
            self.clock = Some(last);
            progress.saw(at);
            progress.saw(last);
        }
        let at = at.or(self.clock).unwrap_or(self.begun);
        // a record is complete when the next one begins, or has waited long enough for more
        let waits = at + self.past.record_waits();
        let at = next.map_or(waits, |next| next.clamp(at, waits));
        (!line.hits.is_empty()).then_some((at, line.hits))
    }

    /// The next line, or the next lines without a hit.
    fn line(
        &mut self,
        rules: &mut RuleSet,
        window: usize,
        progress: &mut Progress,
    ) -> io::Result<Option<Line>> {
        loop {
            match self.pieces.pop_front() {
                Some(Piece::Quiet(line, last)) => {
                    rules.passed(self.file.spec.no, self.file_no, last);
                    return Ok(Some(line));
                }
                Some(Piece::Kept { bytes, records, fields, end, mut at }) => {
                    let found = next_line(&bytes, &records, &mut at).map(|(text, record)| {
                        let own = record.is_some();
                        let records = record.as_slice();
                        self.search(&self.view(text, records, if own { &fields } else { &[] }, end), rules)
                    });
                    if let Some(line) = found {
                        self.pieces.push_front(Piece::Kept { bytes, records, fields, end, at });
                        return Ok(Some(line));
                    }
                }
                None if self.more => self.read(rules, window, progress)?,
                None => return Ok(None),
            }
        }
    }

    fn search(&self, block: &Block<'_>, rules: &mut RuleSet) -> Line {
        let mut hits = Hits::default();
        rules.scan_again(block, &mut hits);
        let written = self.past.written();
        let stamp = lines(block).next().and_then(|(text, r)| time(text, r, written, &self.file.tz));
        Line { first: stamp, last: stamp, hits }
    }

    fn view<'a>(
        &'a self,
        bytes: &'a [u8],
        records: &'a [Record],
        fields: &'a [Field],
        end: BlockEnd,
    ) -> Block<'a> {
        Block {
            source: self.file.spec.no,
            file: &self.file.name,
            file_no: self.file_no,
            offset: 0,
            bytes,
            end,
            hit_early: &[],
            read: read_at(self.past.written()),
            backlog: false,
            records,
            fields,
            earlier: None,
        }
    }

    /// Reads on, and keeps what holds a hit.
    fn read(&mut self, rules: &mut RuleSet, window: usize, progress: &mut Progress) -> io::Result<()> {
        let Open { past, pieces, file, owed, .. } = self;
        let after = usize::from(rules.context(file.spec.no).after);
        let (before, written) = (past.offset(), past.written());
        let mut hits = Vec::new();
        self.more = past.read(window, read_at(written), &mut |block| {
            let lines_in = match block.records.len() {
                0 => memchr::memchr_iter(b'\n', block.bytes).count().max(1),
                n => n,
            };
            progress.lines += lines_in as u64;
            hits.clear();
            rules.scan(block, &mut hits);
            let (bytes, end) = (block.bytes, block.end);
            let quiet = hits.is_empty() && *owed == 0;
            *owed = if hits.is_empty() { owed.saturating_sub(lines_in) } else { after };
            pieces.push_back(if quiet {
                let stamp = |(text, record)| time(text, record, written, &file.tz);
                let line = Line {
                    first: lines(block).take(ASKED).find_map(stamp),
                    last: lines_back(block).take(ASKED).find_map(stamp),
                    hits: Hits::default(),
                };
                Piece::Quiet(line, rules.last_of(block))
            } else {
                let (records, fields) = (block.records.to_vec(), block.fields.to_vec());
                Piece::Kept { bytes: bytes.to_vec(), records, fields, end, at: 0 }
            });
        })?;
        let read = past.offset() - before;
        progress.bytes += read;
        progress.disk += if past.is_packed() { 0 } else { read };
        Ok(())
    }
}

/// Stamps without a year are near the time at which the file was last written.
fn read_at(written: Wall) -> Now {
    Now { wall: written, tick: Tick(0) }
}

fn time(text: &[u8], record: Option<&Record>, written: Wall, tz: &TimeZone) -> Option<Wall> {
    record.and_then(|r| r.stamp).or_else(|| stamp::stamp(text, written, tz))
}

type Text<'a> = (&'a [u8], Option<&'a Record>);

/// The lines of a block, without their ends.
fn lines<'a>(block: &Block<'a>) -> Box<dyn Iterator<Item = Text<'a>> + 'a> {
    let (bytes, records) = (block.bytes, block.records);
    if records.is_empty() {
        let text = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        return Box::new(text.split(|b| *b == b'\n').map(|line| (line, None)));
    }
    Box::new(records.iter().map(move |r| (text_of(bytes, r), Some(r))))
}

/// The same from the last to the first.
fn lines_back<'a>(block: &Block<'a>) -> Box<dyn Iterator<Item = Text<'a>> + 'a> {
    let (bytes, records) = (block.bytes, block.records);
    if records.is_empty() {
        let text = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        return Box::new(text.rsplit(|b| *b == b'\n').map(|line| (line, None)));
    }
    Box::new(records.iter().rev().map(move |r| (text_of(bytes, r), Some(r))))
}

fn text_of<'a>(bytes: &'a [u8], record: &Record) -> &'a [u8] {
    bytes.get(record.start as usize..record.end as usize).unwrap_or_default()
}

/// The line at `at` (a record's number, or a byte), with its end and its record; moves `at` on.
fn next_line<'a>(bytes: &'a [u8], records: &[Record], at: &mut usize) -> Option<(&'a [u8], Option<Record>)> {
    let begin = *at;
    if records.is_empty() {
        let rest = bytes.get(begin..).filter(|rest| !rest.is_empty())?;
        let len = memchr::memchr(b'\n', rest).map_or(rest.len(), |n| n + 1);
        *at += len;
        return Some((&rest[..len], None));
    }
    let record = records.get(begin)?;
    *at += 1;
    let (start, end) = (record.start as usize, record.end as usize);
    // a block is not empty, though a record may be
    let text = bytes.get(start..(end + 1).min(bytes.len()))?;
    Some((text, Some(Record { start: 0, end: record.end - record.start, ..record.clone() })))
}
