//! One entry of the journal to one line, as syslog would have written it, and its fields beside it.
//!
//! An entry's message may hold newlines and need not be text: `journalctl` then writes a list of bytes, four
//! characters a byte. A message cannot forge the head of its line, for its newlines become spaces. What journald
//! knows of an entry better than its text does (who wrote it, how bad it is) goes along as fields, each value of a
//! field that was given several times as one of its own.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::Value;

use super::lines::cut_at;
use crate::line::{BlockEnd, Field, Record};
use crate::time::Wall;

/// An entry's JSON may be so long; a message of 1 MiB as a list of bytes fits.
const ENTRY: usize = 8 * 1024 * 1024;

/// A message is cut at this, whatever the source's longest line.
const MESSAGE: usize = 1024 * 1024;

/// How much is read at once.
const READ: usize = 64 * 1024;

/// A field's value is cut at this many bytes: names, numbers and paths of units fit.
const VALUE: usize = 1024;

/// Of a field that was given several times, so many values are looked at.
const VALUES: usize = 16;

/// What `journalctl` is asked for.
pub(super) const OUTPUT_FIELDS: &str = "MESSAGE,PRIORITY,SYSLOG_IDENTIFIER,SYSLOG_FACILITY,SYSLOG_PID,_COMM,_PID,\
                                        _UID,_HOSTNAME,_TRANSPORT,_SYSTEMD_UNIT";

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
    #[serde(rename = "PRIORITY", default)]
    priority: Value,
    #[serde(rename = "_TRANSPORT", default)]
    transport: Value,
    #[serde(rename = "SYSLOG_FACILITY", default)]
    facility: Value,
    #[serde(rename = "_UID", default)]
    uid: Value,
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
    fields: Vec<Field>,
    zone: Option<TimeZone>,
    /// The child was started at the entry with this cursor, which was given out before.
    resume: Option<String>,
}

/// What some output was, apart from lines.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Parsed {
    /// The cursor of the last entry.
    pub(super) cursor: Option<String>,
    /// The first entry of a child that goes on has come: it is the one at which it was told to (or it is not, for that
    /// one is no longer there).
    pub(super) resumed: Option<bool>,
    /// Bytes of entries that were too long, or no entries at all, and thrown away.
    pub(super) lost: u64,
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

    /// Forgets an unfinished entry: another child begins. It was told to go on at `resume`, and gives that entry again
    /// if it is still there.
    pub(super) fn begin(&mut self, resume: Option<String>) {
        (self.len, self.dropped, self.resume) = (0, None, resume);
    }

    /// Gives out all whole entries as blocks of lines with their stamps and fields.
    pub(super) fn parse(
        &mut self,
        max_line: usize,
        as_lines: bool,
        mut emit: impl FnMut(&[u8], &[Record], &[Field], BlockEnd),
    ) -> Parsed {
        let zone = self.zone.get_or_insert_with(TimeZone::system).clone();
        let mut parsed = Parsed::default();
        let mut at = 0;
        while let Some(end) = memchr::memchr(b'\n', &self.buf[at..self.len]) {
            let json = &self.buf[at..at + end];
            at += end + 1;
            if let Some(dropped) = self.dropped.take() {
                parsed.lost += dropped + end as u64;
                continue;
            }
            let Ok(entry) = serde_json::from_slice::<Entry>(json) else {
                parsed.lost += end as u64;
                continue;
            };
            let resumed = self.resume.take().map(|resume| same_entry(&resume, &entry.cursor));
            parsed.resumed = parsed.resumed.or(resumed);
            if resumed != Some(true) && as_lines && !entry.is_own() {
                let (before, fields) = (self.lines.len(), self.fields.len());
                let stamp = Some(entry.write(&zone, &mut self.lines));
                if self.lines.len() - before > max_line {
                    flush(&self.lines[..before], &self.records, &self.fields, &mut emit);
                    let cut = cut_at(&self.lines[before..=before + max_line], max_line);
                    self.fields.clear();
                    entry.add_fields(&mut self.fields);
                    let all = (0, self.fields.len() as u32);
                    let record = Record { end: cut as u32, stamp, fields: all, ..Record::default() };
                    emit(&self.lines[before..before + cut], &[record], &self.fields, BlockEnd::Cut);
                    self.clear();
                } else {
                    entry.add_fields(&mut self.fields);
                    self.records.push(Record {
                        start: before as u32,
                        end: self.lines.len() as u32,
                        stamp,
                        fields: (fields as u32, self.fields.len() as u32),
                        ..Record::default()
                    });
                    self.lines.push(b'\n');
                }
            }
            parsed.cursor = Some(entry.cursor);
        }
        flush(&self.lines, &self.records, &self.fields, &mut emit);
        self.clear();
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
        parsed
    }

    /// What is in there has been given out.
    fn clear(&mut self) {
        self.lines.clear();
        self.records.clear();
        self.fields.clear();
    }
}

/// Whether two cursors are of one entry. An entry that lies in two files has a number in each; what it is (boot,
/// clocks, hash of its content) is the same, and is what systemd itself goes by.
fn same_entry(a: &str, b: &str) -> bool {
    let part = |cursor: &str, key: &str| -> Option<String> {
        cursor.split(';').find_map(|p| p.strip_prefix(key)).map(str::to_owned)
    };
    a == b || ["b=", "m=", "t=", "x="].iter().all(|key| part(a, key).is_some_and(|v| Some(v) == part(b, key)))
}

/// Takes a block: its bytes, its lines in them, their fields, and how it ends.
type Emit<'a> = dyn FnMut(&[u8], &[Record], &[Field], BlockEnd) + 'a;

/// The blocks that a child's output gives when it is read in pieces of at most `piece` bytes, and the last cursor:
/// the door of the fuzz target.
pub fn journal_blocks(json: &[u8], piece: usize, max_line: usize, emit: &mut Emit<'_>) -> Option<String> {
    let mut entries = Entries { zone: Some(TimeZone::UTC), ..Entries::default() };
    let mut cursor = None;
    for piece in json.chunks(piece.clamp(1, READ)) {
        entries.room()[..piece.len()].copy_from_slice(piece);
        entries.filled(piece.len());
        cursor = entries.parse(max_line, true, &mut *emit).cursor.or(cursor);
    }
    cursor
}

fn flush(
    lines: &[u8],
    records: &[Record],
    fields: &[Field],
    emit: &mut impl FnMut(&[u8], &[Record], &[Field], BlockEnd),
) {
    if !lines.is_empty() {
        emit(lines, records, fields, BlockEnd::Whole);
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

    /// Appends what is known of it beside its text.
    fn add_fields(&self, out: &mut Vec<Field>) {
        let all: [(&'static str, &Value); 9] = [
            ("PRIORITY", &self.priority),
            ("_SYSTEMD_UNIT", &self.unit),
            ("SYSLOG_IDENTIFIER", &self.identifier),
            ("_PID", &self.pid),
            ("_COMM", &self.comm),
            ("_HOSTNAME", &self.host),
            ("_TRANSPORT", &self.transport),
            ("SYSLOG_FACILITY", &self.facility),
            ("_UID", &self.uid),
        ];
        for (name, value) in all {
            for value in values(value) {
                if let Some(word) = severity(&value).filter(|_| name == "PRIORITY") {
                    out.push(Field { name: "severity".into(), value: word.into() });
                }
                out.push(Field { name: name.into(), value: shown(&value).into() });
            }
        }
    }
}

/// The agent's word for a priority of syslog.
fn severity(priority: &[u8]) -> Option<&'static str> {
    match priority {
        b"0" | b"1" | b"2" => Some("critical"),
        b"3" => Some("error"),
        b"4" => Some("warning"),
        b"5" | b"6" | b"7" => Some("info"),
        _ => None,
    }
}

/// A field's value as text, cut.
fn shown(value: &[u8]) -> String {
    let end = if value.len() > VALUE { cut_at(&value[..=VALUE], VALUE) } else { value.len() };
    String::from_utf8_lossy(&value[..end]).into_owned()
}

/// Appends `bytes`, their newlines made spaces: a line is one line. Trailing ones are left out.
fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    let end = bytes.iter().rposition(|&b| b != b'\n').map_or(0, |last| last + 1);
    out.extend(bytes[..end].iter().map(|&b| if b == b'\n' { b' ' } else { b }));
}

fn first<'v>(values: &[&'v Value]) -> Option<Cow<'v, [u8]>> {
    values.iter().map(|v| text(v)).find(|t| !t.is_empty())
}

/// All values of a field as one text.
fn text(value: &Value) -> Cow<'_, [u8]> {
    let mut all = values(value);
    match all.len() {
        0 => Cow::Borrowed(b""),
        1 => all.remove(0),
        _ => all.join(&b' ').into(),
    }
}

/// A field's values: a text, a list of bytes, or (a field that was given several times) a list of these. Empty ones
/// are none.
fn values(value: &Value) -> Vec<Cow<'_, [u8]>> {
    let mut all = match value {
        Value::Array(items) if !items.iter().all(Value::is_u64) => {
            items.iter().take(VALUES).filter_map(one).collect()
        }
        one_value => Vec::from_iter(one(one_value)),
    };
    all.retain(|v| !v.is_empty());
    all
}

fn one(value: &Value) -> Option<Cow<'_, [u8]>> {
    match value {
        Value::String(s) => Some(Cow::Borrowed(s.as_bytes())),
        Value::Array(bytes) => {
            let byte = |v: &Value| u8::try_from(v.as_u64()?).ok();
            Some(Cow::Owned(bytes.iter().filter_map(byte).collect()))
        }
        _ => None,
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
            let parsed = entries.parse(max, true, |b, s, _, e| {
                got.push((
                    String::from_utf8_lossy(b).into_owned(),
                    s.iter().filter_map(|r| r.stamp).map(|w| w.0).collect(),
                    e,
                ));
            });
            cursor = parsed.cursor.or(cursor);
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

    /// The fields of each line, as `name=value`.
    fn fields(json: &str) -> Vec<Vec<String>> {
        let mut all = vec![];
        journal_blocks(json.as_bytes(), READ, 1000, &mut |_, records, fields, _| {
            for record in records {
                let own = &fields[record.fields.0 as usize..record.fields.1 as usize];
                all.push(own.iter().map(|f| format!("{}={}", f.name, f.value)).collect());
            }
        });
        all
    }

    #[test]
    fn what_the_journal_knows_goes_along_as_fields_of_its_own_line() {
        let got = fields(
            "{\"__CURSOR\":\"a\",\"MESSAGE\":\"x\",\"PRIORITY\":\"3\",\"_SYSTEMD_UNIT\":\"ssh.service\",\"_PID\":\"7\",\
             \"_COMM\":\"sshd\",\"_UID\":\"0\",\"_HOSTNAME\":\"h\",\"_TRANSPORT\":\"syslog\",\"SYSLOG_FACILITY\":\"4\",\
             \"SYSLOG_IDENTIFIER\":\"sshd\"}\n\
             {\"__CURSOR\":\"b\",\"MESSAGE\":\"y\"}\n\
             {\"__CURSOR\":\"c\",\"MESSAGE\":\"z\",\"_COMM\":[\"one\",[116,255]],\"PRIORITY\":\"9\"}\n",
        );
        assert_eq!(
            got[0],
            [
                "severity=error",
                "PRIORITY=3",
                "_SYSTEMD_UNIT=ssh.service",
                "SYSLOG_IDENTIFIER=sshd",
                "_PID=7",
                "_COMM=sshd",
                "_HOSTNAME=h",
                "_TRANSPORT=syslog",
                "SYSLOG_FACILITY=4",
                "_UID=0"
            ]
        );
        assert_eq!(got[1], [""; 0]);
        assert_eq!(
            got[2],
            ["PRIORITY=9", "_COMM=one", "_COMM=t\u{fffd}"],
            "no such priority; a field given twice"
        );
    }

    #[test]
    fn every_priority_is_one_of_the_agents_severities() {
        let words = (0..=8).map(|n: u8| severity(&[b'0' + n]).unwrap_or("none"));
        let all: Vec<&str> = words.collect();
        assert_eq!(
            all,
            ["critical", "critical", "critical", "error", "warning", "info", "info", "info", "none"]
        );
    }

    #[test]
    fn the_entry_at_which_a_child_goes_on_is_not_given_twice_and_missed_when_it_is_gone() {
        let json = b"{\"__CURSOR\":\"s=2;i=9;b=b;m=1;t=2;x=3\",\"MESSAGE\":\"old\"}\n\
                     {\"__CURSOR\":\"c2\",\"MESSAGE\":\"new\"}\n";
        for (resume, resumed, lines) in [
            (Some("s=1;i=1;b=b;m=1;t=2;x=3"), Some(true), 1),
            (Some("s=2;i=9;b=b;m=1;t=2;x=4"), Some(false), 2),
            (None, None, 2),
        ] {
            let mut entries = Entries::default();
            entries.begin(resume.map(str::to_owned));
            entries.room()[..json.len()].copy_from_slice(json);
            entries.filled(json.len());
            let mut got = 0;
            let parsed = entries.parse(1000, true, |_, records, _, _| got += records.len());
            assert_eq!((parsed.resumed, got), (resumed, lines));
            assert_eq!(parsed.cursor.as_deref(), Some("c2"));
        }
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
                lost += entries.parse(1000, true, |_, s, _, _| lines += s.len()).lost;
            }
            assert!(entries.buf.len() <= ENTRY + 2 * READ);
        };
        feed(&vec![b'x'; ENTRY + 3 * READ]);
        feed(b"\n{\"__CURSOR\":\"a\",\"MESSAGE\":\"hello\"}\n");
        assert_eq!((lines, lost), (1, (ENTRY + 3 * READ) as u64));
    }
}
