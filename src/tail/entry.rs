//! One entry of the journal to one line, as syslog would have written it.
//!
//! An entry's message may hold newlines and need not be text: `journalctl` then writes a list of bytes, four
//! characters a byte. A message cannot forge the head of its line, for its newlines become spaces.

use std::borrow::Cow;
use std::io::Write;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::Value;

use crate::line::{BlockEnd, Record};
use crate::time::Wall;

/// An entry's JSON may be so long; a message of 1 MiB as a list of bytes fits.
const ENTRY: usize = 8 * 1024 * 1024;

/// A message is cut at this, whatever the source's longest line.
const MESSAGE: usize = 1024 * 1024;

/// How much is read at once.
const READ: usize = 64 * 1024;

/// The agent's own unit and syslog tag: what it says is never a line.
const OWN_UNIT: &str = "logherald.service";
const OWN_TAG: &str = "logherald";

#[derive(Debug, Deserialize)]
struct Entry {
    #[serde(rename = "__CURSOR")]
    cursor: String,
    #[serde(rename = "__REALTIME_TIMESTAMP", default)]
    realtime: Value,
    #[serde(rename = "MESSAGE", default)]
    message: Value,
    #[serde(rename = "SYSLOG_IDENTIFIER", default)]
    identifier: Value,
    #[serde(rename = "SYSLOG_PID", default)]
    syslog_pid: Value,
    #[serde(rename = "_COMM", default)]
    comm: Value,
    #[serde(rename = "_PID", default)]
    pid: Value,
    #[serde(rename = "_HOSTNAME", default)]
    host: Value,
    #[serde(rename = "_SYSTEMD_UNIT", default)]
    unit: Value,
}

/// Bytes of a child's output on their way to lines.
#[derive(Debug, Default)]
pub(super) struct Entries {
    buf: Vec<u8>,
    len: usize,
    /// The rest of an entry beyond all bounds is thrown away; so much of it was.
    dropped: Option<u64>,
    lines: Vec<u8>,
    records: Vec<Record>,
    zone: Option<TimeZone>,
}

impl Entries {
    /// Room to read into.
    pub(super) fn room(&mut self) -> &mut [u8] {
        self.buf.resize(self.len + READ, 0);
        &mut self.buf[self.len..]
    }

    /// So many bytes were read; how many are waiting now.
    pub(super) fn filled(&mut self, n: usize) -> usize {
        self.len += n;
        self.len
    }

    /// Forgets an unfinished entry: another child begins.
    pub(super) fn clear(&mut self) {
        (self.len, self.dropped) = (0, None);
    }

    /// Gives out all whole entries as blocks of lines with their stamps, and the last one's cursor. Answers how
    /// many bytes of entries too long to read were thrown away.
    pub(super) fn parse(
        &mut self,
        max_line: usize,
        as_lines: bool,
        mut cursor: impl FnMut(String),
        mut emit: impl FnMut(&[u8], &[Record], BlockEnd),
    ) -> u64 {
        let zone = self.zone.get_or_insert_with(TimeZone::system).clone();
        let mut lost = 0;
        let mut at = 0;
        let mut last = None;
        while let Some(end) = memchr::memchr(b'\n', &self.buf[at..self.len]) {
            let json = &self.buf[at..at + end];
            at += end + 1;
            if let Some(dropped) = self.dropped.take() {
                lost += dropped + end as u64;
                continue;
            }
            let Ok(entry) = serde_json::from_slice::<Entry>(json) else { continue };
            if as_lines && !entry.is_own() {
                let before = self.lines.len();
                let stamp = Some(entry.write(&zone, &mut self.lines));
                if self.lines.len() - before > max_line {
                    flush(&self.lines[..before], &self.records, &mut emit);
                    let cut = Record { end: max_line as u32, stamp, ..Record::default() };
                    emit(&self.lines[before..before + max_line], &[cut], BlockEnd::Cut);
                    self.lines.clear();
                    self.records.clear();
                } else {
                    let (start, end) = (before as u32, self.lines.len() as u32);
                    self.records.push(Record { start, end, stamp, ..Record::default() });
                    self.lines.push(b'\n');
                }
            }
            last = Some(entry.cursor);
        }
        flush(&self.lines, &self.records, &mut emit);
        self.lines.clear();
        self.records.clear();
        self.buf.copy_within(at..self.len, 0);
        self.len -= at;
        if self.dropped.is_some() || self.len > ENTRY {
            *self.dropped.get_or_insert(0) += self.len as u64;
            self.len = 0;
        }
        if self.buf.len() > 4 * READ && self.len < READ {
            self.buf.truncate(READ);
            self.buf.shrink_to_fit();
        }
        last.into_iter().for_each(&mut cursor);
        lost
    }
}

/// Takes a block: its bytes, its lines in them, and how it ends.
type Emit<'a> = dyn FnMut(&[u8], &[Record], BlockEnd) + 'a;

/// The blocks that a child's output gives when it is read in pieces of at most `piece` bytes, and the last cursor:
/// the door of the fuzz target.
pub fn journal_blocks(json: &[u8], piece: usize, max_line: usize, emit: &mut Emit<'_>) -> Option<String> {
    let mut entries = Entries { zone: Some(TimeZone::UTC), ..Entries::default() };
    let mut cursor = None;
    for piece in json.chunks(piece.clamp(1, READ)) {
        entries.room()[..piece.len()].copy_from_slice(piece);
        entries.filled(piece.len());
        entries.parse(max_line, true, |c| cursor = Some(c), &mut *emit);
    }
    cursor
}

fn flush(lines: &[u8], records: &[Record], emit: &mut impl FnMut(&[u8], &[Record], BlockEnd)) {
    if !lines.is_empty() {
        emit(lines, records, BlockEnd::Whole);
    }
}

impl Entry {
    fn is_own(&self) -> bool {
        self.unit.as_str() == Some(OWN_UNIT) || self.identifier.as_str() == Some(OWN_TAG)
    }

    /// Appends the line, without newline; answers its time.
    fn write(&self, zone: &TimeZone, out: &mut Vec<u8>) -> Wall {
        let us = match &self.realtime {
            Value::String(digits) => digits.parse().unwrap_or(0),
            other => other.as_i64().unwrap_or(0),
        };
        let stamp = Timestamp::from_microsecond(us).unwrap_or_default();
        let head = stamp.to_zoned(zone.clone()).strftime("%b %e %H:%M:%S ").to_string();
        out.extend_from_slice(head.as_bytes());
        put(out, first(&[&self.host]).unwrap_or(Cow::Borrowed(b"-")).as_ref());
        out.push(b' ');
        put(out, first(&[&self.identifier, &self.comm]).unwrap_or(Cow::Borrowed(b"unknown")).as_ref());
        if let Some(pid) = first(&[&self.syslog_pid, &self.pid]) {
            out.push(b'[');
            put(out, &pid);
            out.push(b']');
        }
        out.extend_from_slice(b": ");
        let message = text(&self.message);
        put(out, &message[..message.len().min(MESSAGE)]);
        Wall(us / 1000)
    }
}

/// Appends `bytes`, their newlines made spaces: a line is one line. Trailing ones are left out.
fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    let end = bytes.iter().rposition(|&b| b != b'\n').map_or(0, |last| last + 1);
    out.extend(bytes[..end].iter().map(|&b| if b == b'\n' { b' ' } else { b }));
}

fn first<'v>(values: &[&'v Value]) -> Option<Cow<'v, [u8]>> {
    values.iter().map(|v| text(v)).find(|t| !t.is_empty())
}

/// A field's value: text, a list of bytes, or (a field that was given twice) a list of these.
fn text(value: &Value) -> Cow<'_, [u8]> {
    match value {
        Value::String(s) => Cow::Borrowed(s.as_bytes()),
        Value::Array(items) if items.iter().all(Value::is_u64) => {
            items.iter().filter_map(|v| u8::try_from(v.as_u64()?).ok()).collect::<Vec<u8>>().into()
        }
        Value::Array(items) => {
            let mut all = vec![];
            for item in items.iter().filter(|i| i.is_string() || i.is_array()).take(16) {
                if !all.is_empty() {
                    all.push(b' ');
                }
                if let Value::Array(bytes) = item {
                    let byte = |v: &Value| u8::try_from(v.as_u64()?).ok();
                    all.extend(bytes.iter().filter_map(byte));
                } else if let Some(s) = item.as_str() {
                    let written = all.write_all(s.as_bytes());
                    debug_assert!(written.is_ok(), "a Vec takes everything");
                }
            }
            all.into()
        }
        _ => Cow::Borrowed(b""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Piece = (String, Vec<i64>, BlockEnd);

    fn parse(json: &str, max: usize) -> (Vec<Piece>, Option<String>) {
        let mut entries = Entries { zone: Some(TimeZone::UTC), ..Entries::default() };
        let (mut got, mut cursor) = (vec![], None);
        for chunk in json.as_bytes().chunks(17) {
            entries.room()[..chunk.len()].copy_from_slice(chunk);
            entries.filled(chunk.len());
            let lost = entries.parse(
                max,
                true,
                |c| cursor = Some(c),
                |b, s, e| {
                    got.push((
                        String::from_utf8_lossy(b).into_owned(),
                        s.iter().filter_map(|r| r.stamp).map(|w| w.0).collect(),
                        e,
                    ));
                },
            );
            assert_eq!(lost, 0);
        }
        (got, cursor)
    }

    #[test]
    fn an_entry_is_one_syslog_line_with_its_own_time() {
        let (got, cursor) = parse(
            "{\"__CURSOR\":\"c1\",\"__REALTIME_TIMESTAMP\":\"1767323045000123\",\"_HOSTNAME\":\"web1\",\
             \"SYSLOG_IDENTIFIER\":\"sshd\",\"_PID\":\"42\",\"MESSAGE\":\"two\\nlines\\n\"}\n",
            1000,
        );
        let line = "Jan  2 03:04:05 web1 sshd[42]: two lines\n".to_owned();
        assert_eq!(got, [(line, vec![1_767_323_045_000], BlockEnd::Whole)]);
        assert_eq!(cursor.as_deref(), Some("c1"));
    }

    #[test]
    fn a_message_may_be_bytes_or_null_or_many_and_a_torn_entry_is_no_line() {
        let (got, cursor) = parse(
            "{\"__CURSOR\":\"a\",\"MESSAGE\":[104,105,255]}\n{\"__CURSOR\":\"b\",\"MESSAGE\":null,\"_COMM\":\"x\"}\n\
             {\"__CURSOR\":\"c\",\"MESSAGE\":[\"one\",[116,119,111]]}\nnot json\n{\"__CURSOR\":\"d\"",
            1000,
        );
        let all: Vec<&str> = got.iter().map(|(l, ..)| &l[16..]).collect();
        assert_eq!(all, ["- unknown: hi\u{fffd}\n", "- x: \n", "- unknown: one two\n"]);
        assert_eq!(cursor.as_deref(), Some("c"));
    }

    #[test]
    fn what_the_agent_itself_says_moves_the_cursor_and_is_no_line() {
        let (got, cursor) = parse(
            "{\"__CURSOR\":\"a\",\"MESSAGE\":\"x\",\"SYSLOG_IDENTIFIER\":\"logherald\"}\n\
             {\"__CURSOR\":\"b\",\"MESSAGE\":\"x\",\"_SYSTEMD_UNIT\":\"logherald.service\"}\n",
            1000,
        );
        assert!(got.is_empty());
        assert_eq!(cursor.as_deref(), Some("b"));
    }

    #[test]
    fn a_long_entry_is_cut_to_the_longest_line() {
        let (got, _) = parse("{\"__CURSOR\":\"a\",\"MESSAGE\":\"0123456789\"}\n", 30);
        assert_eq!(got[0].2, BlockEnd::Cut);
        assert_eq!(got[0].0.len(), 30);
    }

    #[test]
    fn an_entry_beyond_all_bounds_is_dropped_with_its_size_and_the_next_is_read() {
        let mut entries = Entries::default();
        let (mut lines, mut lost) = (0, 0);
        let mut feed = |bytes: &[u8]| {
            for chunk in bytes.chunks(READ) {
                entries.room()[..chunk.len()].copy_from_slice(chunk);
                entries.filled(chunk.len());
                lost += entries.parse(1000, true, drop, |_, s, _| lines += s.len());
            }
            assert!(entries.buf.len() <= ENTRY + 2 * READ);
        };
        feed(&vec![b'x'; ENTRY + 3 * READ]);
        feed(b"\n{\"__CURSOR\":\"a\",\"MESSAGE\":\"hello\"}\n");
        assert_eq!((lines, lost), (1, (ENTRY + 3 * READ) as u64));
    }
}
