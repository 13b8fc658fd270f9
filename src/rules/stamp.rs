//! Event time: when a line says that it was written.
//!
//! One pass over the first `REACH` bytes, by hand, since this runs for every hit of a storm. The first place that
//! reads as a timestamp wins: whoever writes the text of a line cannot get before the writer of its head. A stamp
//! without a year (syslog) is in the year that brings it nearest to the time of reading without lying in the future
//! by more than a day; so is one of 29 February. `[  81.2]` of the kernel counts from boot and is no stamp.

use std::ops::Range;

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};

use crate::time::Wall;

/// A stamp begins and ends within this many bytes of its line.
const REACH: usize = 128;

/// How far in the future a stamp without a year may lie: clocks and zones differ.
const AHEAD_MS: i64 = 86_400_000;

/// Epoch times from 2001 to 2099, in seconds, are taken for such; other numbers of ten digits are not.
const EPOCH: Range<i64> = 978_307_200..4_070_908_800;

/// The line's own time, in milliseconds; `None` where none parses.
///
/// `read` is when the line was read; a stamp that names no zone is in `tz`.
pub fn stamp(line: &[u8], read: Wall, tz: &TimeZone) -> Option<Wall> {
    let (_, when) = locate(line)?;
    when.wall(read, tz)
}

/// A time as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    Epoch(Wall),
    Civil(Civil),
}

/// A time as a calendar writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Civil {
    year: Option<i16>,
    month: i8,
    day: i8,
    hour: i8,
    minute: i8,
    second: i8,
    millis: i16,
    /// Seconds east of Greenwich.
    offset: Option<i32>,
}

impl When {
    fn wall(self, read: Wall, tz: &TimeZone) -> Option<Wall> {
        match self {
            When::Epoch(wall) => Some(wall),
            When::Civil(civil) => civil.wall(read, tz),
        }
    }
}

impl Civil {
    fn wall(self, read: Wall, tz: &TimeZone) -> Option<Wall> {
        if let Some(year) = self.year {
            return self.in_year(year, read, tz);
        }
        let now = jiff::Timestamp::from_millisecond(read.0).ok()?;
        let year = tz.to_datetime(now).year();
        // from next year (a stamp of 1 January, read on 31 December) back to the last leap year but one
        (0..10).find_map(|back| {
            let wall = self.in_year(year.checked_add(1)?.checked_sub(back)?, read, tz)?;
            (wall.0 <= read.0.saturating_add(AHEAD_MS)).then_some(wall)
        })
    }

    fn in_year(self, year: i16, read: Wall, tz: &TimeZone) -> Option<Wall> {
        // a leap second is the second before it
        let second = self.second.min(59);
        let nanos = i32::from(self.millis) * 1_000_000;
        let civil = DateTime::new(year, self.month, self.day, self.hour, self.minute, second, nanos).ok()?;
        let at = |offset: Offset| offset.to_timestamp(civil).ok().map(|t| Wall(t.as_millisecond()));
        if let Some(seconds) = self.offset {
            return at(Offset::from_seconds(seconds).ok()?);
        }
        match tz.to_ambiguous_timestamp(civil).offset() {
            AmbiguousOffset::Unambiguous { offset } => at(offset),
            // a time that the clocks skipped: as if they had not yet been set
            AmbiguousOffset::Gap { before, .. } => at(before),
            // an hour that came twice: the later one, unless that is still to come
            AmbiguousOffset::Fold { before, after } => {
                let later = at(after)?;
                if later.0 > read.0.saturating_add(60_000) { at(before) } else { Some(later) }
            }
        }
    }
}

/// Remembers minutes: hits of a storm come in the same few, and a minute has one offset from Greenwich.
#[derive(Clone, Debug, Default)]
pub(super) struct Memo {
    /// Where they begin, each at the place that its figures give.
    minutes: [Option<(Civil, Wall)>; MINUTES],
    /// For which reading they hold: it may decide the year, and which of an hour that came twice.
    read: Wall,
}

/// One of a minute's logs may be mixed with those of a dozen others.
const MINUTES: usize = 16;

impl Memo {
    /// [`stamp`]. A memo belongs to one zone.
    pub(super) fn stamp(&mut self, line: &[u8], read: Wall, tz: &TimeZone) -> Option<Wall> {
        let civil = match locate(line)?.1 {
            When::Epoch(wall) => return Some(wall),
            When::Civil(civil) => civil,
        };
        if self.read != read {
            *self = Memo { read, ..Memo::default() };
        }
        let minute = Civil { second: 0, millis: 0, ..civil };
        let within = i64::from(civil.second.min(59)) * 1000 + i64::from(civil.millis);
        let place = (civil.minute as usize + civil.hour as usize * 7 + civil.day as usize * 3) % MINUTES;
        if let Some((_, at)) = self.minutes[place].filter(|(known, _)| *known == minute) {
            return Some(Wall(at.0 + within));
        }
        let wall = civil.wall(read, tz)?;
        let at = wall.0 - within;
        // one that lies too far ahead in part, or came twice, has not the same offset in all its seconds
        let end = Civil { second: 59, millis: 999, ..civil }.wall(read, tz);
        if minute.wall(read, tz) == Some(Wall(at)) && end == Some(Wall(at + 59_999)) {
            self.minutes[place] = Some((minute, Wall(at)));
        }
        Some(wall)
    }
}

/// Where the line's stamp stands, and what it says.
pub(super) fn locate(line: &[u8]) -> Option<(Range<usize>, When)> {
    let head = &line[..line.len().min(REACH)];
    let mut before = b' ';
    for (at, &b) in head.iter().enumerate() {
        let opens =
            !before.is_ascii_alphanumeric() && !matches!(before, b'.' | b'-' | b'_' | b'/' | b':' | b'+');
        before = b;
        if !opens {
            continue;
        }
        let mut r = Reader { bytes: head, at };
        let when = if b.is_ascii_digit() {
            iso(&mut r)
                .or_else(|| r.again(at, day_first))
                .or_else(|| epoch_allowed(head, at).then(|| r.again(at, epoch)).flatten())
        } else if b.is_ascii_uppercase() {
            month_first(&mut r)
        } else {
            None
        };
        if let Some(when) = when {
            return Some((at..r.at, when));
        }
    }
    None
}

/// A bare number is a time only where nothing but a bracket, a label or `audit(` stands before it.
fn epoch_allowed(head: &[u8], at: usize) -> bool {
    matches!(&head[..at], b"" | b"[" | b"(" | b"- " | b"@") || head[..at].ends_with(b"audit(")
}

/// Reads forward; a failed read leaves it anywhere.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn again<T>(&mut self, at: usize, read: impl Fn(&mut Self) -> Option<T>) -> Option<T> {
        self.at = at;
        read(self)
    }

    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn byte(&mut self, any: &[u8]) -> Option<u8> {
        let b = self.peek(0);
        any.contains(&b).then(|| {
            self.at += 1;
            b
        })
    }

    /// Exactly `n` digits, `n` ≤ 9.
    fn digits(&mut self, n: usize) -> Option<i32> {
        let mut value = 0;
        for _ in 0..n {
            let b = self.peek(0);
            if !b.is_ascii_digit() {
                return None;
            }
            value = value * 10 + i32::from(b - b'0');
            self.at += 1;
        }
        Some(value)
    }

    fn two(&mut self) -> Option<i8> {
        self.digits(2).map(|n| n as i8)
    }

    /// One or two digits, the first of them perhaps a space.
    fn day(&mut self) -> Option<i8> {
        if self.byte(b" ").is_some() || !self.peek(1).is_ascii_digit() {
            return self.digits(1).map(|n| n as i8);
        }
        self.two()
    }

    /// `.123456` or `,123`, as milliseconds; nothing is zero.
    fn fraction(&mut self, marks: &[u8]) -> i16 {
        if !marks.contains(&self.peek(0)) || !self.peek(1).is_ascii_digit() {
            return 0;
        }
        self.at += 1;
        let (mut millis, mut weight) = (0, 100);
        while self.peek(0).is_ascii_digit() {
            millis += i16::from(self.peek(0) - b'0') * weight;
            weight /= 10;
            self.at += 1;
        }
        millis
    }

    /// `05:26:00.123`.
    fn clock(&mut self) -> Option<(i8, i8, i8, i16)> {
        let hour = self.two()?;
        self.byte(b":")?;
        let minute = self.two()?;
        self.byte(b":")?;
        let second = self.two()?;
        if hour > 23 || minute > 59 || second > 60 || self.peek(0).is_ascii_digit() {
            return None;
        }
        Some((hour, minute, second, self.fraction(b".,")))
    }

    /// `Z`, `+01:00`, `-0700`, ` +0000`, ` UTC`; leaves what is none of these.
    fn zone(&mut self) -> Option<i32> {
        let start = self.at;
        let spaced = self.byte(b" ").is_some();
        for name in [b"UTC".as_slice(), b"GMT", b"Z"] {
            if self.bytes[self.at..].starts_with(name) && !self.peek(name.len()).is_ascii_alphanumeric() {
                if name == b"Z" && spaced {
                    break;
                }
                self.at += name.len();
                return Some(0);
            }
        }
        let offset = self.offset(spaced);
        if offset.is_none() {
            self.at = start;
        }
        offset
    }

    fn offset(&mut self, spaced: bool) -> Option<i32> {
        let sign = if self.byte(b"+-")? == b'-' { -1 } else { 1 };
        let hours = self.digits(2)?;
        let colon = self.byte(b":").is_some();
        let minutes = match self.digits(2) {
            Some(minutes) => minutes,
            None if colon || spaced => return None,
            None => 0,
        };
        let ends = !self.peek(0).is_ascii_alphanumeric();
        (ends && hours <= 14 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
    }

    /// `Jan` to `Dec`.
    fn month(&mut self) -> Option<i8> {
        const NAMES: [&[u8; 3]; 12] =
            [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
        let name = self.bytes.get(self.at..self.at + 3)?;
        let month = NAMES.iter().position(|n| *n == name)?;
        self.at += 3;
        Some(month as i8 + 1)
    }
}

/// `2026-11-22T05:26:00.123+01:00` and its many relatives; `2026/11/22 05:26:00` of nginx.
fn iso(r: &mut Reader<'_>) -> Option<When> {
    let year = r.digits(4)? as i16;
    let mark = r.byte(b"-/.")?;
    let month = r.two()?;
    r.byte(&[mark])?;
    let day = r.two()?;
    r.byte(b"T t_")?;
    let (hour, minute, second, millis) = r.clock()?;
    let offset = r.zone();
    civil(Civil { year: Some(year), month, day, hour, minute, second, millis, offset })
}

/// `10/Oct/2000:13:55:36 -0700`, `22-Nov-2026 05:26:00.123`.
fn day_first(r: &mut Reader<'_>) -> Option<When> {
    let day = r.day()?;
    let mark = r.byte(b"/- ")?;
    let month = r.month()?;
    r.byte(&[mark])?;
    let year = r.digits(4)? as i16;
    r.byte(b": ")?;
    let (hour, minute, second, millis) = r.clock()?;
    let offset = r.zone();
    civil(Civil { year: Some(year), month, day, hour, minute, second, millis, offset })
}

/// `Nov 22 05:26:00`, `Nov 22 2026 05:26:00`, `Sun Nov 22 05:26:00.123456 2026`.
fn month_first(r: &mut Reader<'_>) -> Option<When> {
    const WEEKDAYS: [&[u8; 4]; 7] = [b"Mon ", b"Tue ", b"Wed ", b"Thu ", b"Fri ", b"Sat ", b"Sun "];
    if WEEKDAYS.iter().any(|d| r.bytes[r.at..].starts_with(*d)) {
        r.at += 4;
    }
    let month = r.month()?;
    r.byte(b" ")?;
    let day = r.day()?;
    r.byte(b" ")?;
    let mut year = None;
    if r.peek(2) != b':' {
        year = Some(r.digits(4)? as i16);
        r.byte(b" ")?;
    }
    let (hour, minute, second, millis) = r.clock()?;
    let end = r.at;
    let offset = r.zone();
    if year.is_none() {
        let before = r.at;
        let written = r.byte(b" ").and_then(|_| r.digits(4)).filter(|y| (1990..2100).contains(y));
        match written
            .filter(|_| !r.peek(0).is_ascii_alphanumeric() && !matches!(r.peek(0), b':' | b'.' | b'-'))
        {
            Some(y) => year = Some(y as i16),
            None => r.at = before,
        }
    }
    // without a year it is syslog, where a host's name follows, and not a zone
    let offset = if year.is_some() { offset } else { None };
    if year.is_none() {
        r.at = end;
    }
    civil(Civil { year, month, day, hour, minute, second, millis, offset })
}

/// `1700000000`, `1700000000.123`, `1700000000123`, and so with µs and ns.
fn epoch(r: &mut Reader<'_>) -> Option<When> {
    let start = r.at;
    while r.peek(0).is_ascii_digit() {
        r.at += 1;
    }
    let text = std::str::from_utf8(&r.bytes[start..r.at]).ok()?;
    let number: i64 = text.parse().ok()?;
    let millis = match text.len() {
        10 => number.checked_mul(1000)? + i64::from(r.fraction(b".")),
        13 => number,
        16 => number / 1000,
        19 => number / 1_000_000,
        _ => return None,
    };
    let ends = !r.peek(0).is_ascii_alphanumeric() && r.peek(0) != b'-';
    (ends && EPOCH.contains(&(millis / 1000))).then_some(When::Epoch(Wall(millis)))
}

fn civil(c: Civil) -> Option<When> {
    let days = match c.month {
        2 => 29,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    let year = c.year.is_none_or(|y| (1970..2200).contains(&y));
    ((1..=days).contains(&c.day) && year).then_some(When::Civil(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-22T06:26:00Z
    const READ: Wall = Wall(1_795_328_760_000);

    fn at(line: &str, read: Wall, tz: &TimeZone) -> Option<String> {
        stamp(line.as_bytes(), read, tz).map(|w| w.to_string())
    }

    fn utc(line: &str) -> String {
        at(line, READ, &TimeZone::UTC).unwrap_or_default()
    }

    fn wall(text: &str) -> Wall {
        Wall(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
    }

    #[test]
    fn each_way_to_write_a_time_is_read() {
        for (line, time) in [
            ("2026-11-22T05:26:00Z x", "2026-11-22T05:26:00.000Z"),
            ("2026-11-22T05:26:00.123456789+01:00 x", "2026-11-22T04:26:00.123Z"),
            ("2026-11-22T05:26:00,5-0730 x", "2026-11-22T12:56:00.500Z"),
            ("2026-11-22T05:26:00+01 x", "2026-11-22T04:26:00.000Z"),
            ("2026-11-22 05:26:00,123 - root - INFO - x", "2026-11-22T05:26:00.123Z"),
            ("2026-11-22 05:26:00.123  INFO 1 --- [main] c.e.App : x", "2026-11-22T05:26:00.123Z"),
            ("2026-11-22 05:26:00.123 UTC [77] app@shop FATAL:  x", "2026-11-22T05:26:00.123Z"),
            ("2026-11-22 05:26:00 +0100 x", "2026-11-22T04:26:00.000Z"),
            ("2026-11-22 05:26:00 -12 x", "2026-11-22T05:26:00.000Z"),
            ("2016-09-28 04:30:30, Info  CBS  x", "2016-09-28T04:30:30.000Z"),
            ("INFO 2026-11-22 05:26:00,123 x", "2026-11-22T05:26:00.123Z"),
            ("[http-7] 2026-11-22 05:26:00 x", "2026-11-22T05:26:00.000Z"),
            ("[2026-11-22 05:26:00] x", "2026-11-22T05:26:00.000Z"),
            ("[2026-11-22T05:26:00.5Z] x", "2026-11-22T05:26:00.500Z"),
            ("time=\"2026-11-22T05:26:00Z\" level=info", "2026-11-22T05:26:00.000Z"),
            ("{\"ts\":\"2026-11-22T05:26:00Z\"}", "2026-11-22T05:26:00.000Z"),
            ("<34>1 2003-10-11T22:14:15.003Z host app - x", "2003-10-11T22:14:15.003Z"),
            ("2026/11/22 05:26:00 [error] 7#7: *1 x", "2026-11-22T05:26:00.000Z"),
            ("[Sun Nov 22 05:26:00.123456 2026] [core:error] x", "2026-11-22T05:26:00.123Z"),
            ("[Sun Dec 04 04:47:44 2005] [notice] x", "2005-12-04T04:47:44.000Z"),
            ("Sun Dec  4 04:47:44 UTC 2005 x", "2005-12-04T04:47:44.000Z"),
            ("192.0.2.1 - - [10/Oct/2000:13:55:36 -0700] \"GET /\" 200", "2000-10-10T20:55:36.000Z"),
            ("[22-Nov-2026 05:26:00 UTC] PHP Warning: x", "2026-11-22T05:26:00.000Z"),
            ("22-Nov-2026 05:26:00.123 INFO [main] x", "2026-11-22T05:26:00.123Z"),
            ("Nov 22 05:26:00 host app[1]: x", "2026-11-22T05:26:00.000Z"),
            ("Nov  2 05:26:00 host app[1]: x", "2026-11-02T05:26:00.000Z"),
            ("Nov 2 05:26:00.5 host app[1]: x", "2026-11-02T05:26:00.500Z"),
            ("<13>Nov 22 05:26:00 host app[1]: x", "2026-11-22T05:26:00.000Z"),
            ("Nov 22 2025 05:26:00: %ASA-6: x", "2025-11-22T05:26:00.000Z"),
            ("Jun 30 23:59:60 host app: x", "2026-06-30T23:59:59.000Z"),
            ("1700000000 x", "2023-11-14T22:13:20.000Z"),
            ("1700000000.25 x", "2023-11-14T22:13:20.250Z"),
            ("1700000000123 x", "2023-11-14T22:13:20.123Z"),
            ("[1700000000] x", "2023-11-14T22:13:20.000Z"),
            ("type=AVC msg=audit(1700000000.123:45): x", "2023-11-14T22:13:20.123Z"),
            ("Jul  3 14:59:17 h a: 2001-01-01 00:00:00 x", "2026-07-03T14:59:17.000Z"),
        ] {
            assert_eq!(utc(line), time, "{line}");
        }
    }

    #[test]
    fn what_is_no_time_is_none() {
        for line in [
            "",
            "x",
            "[   81.234567] usb 1-1: new device",
            "kernel: [1700000.123456] x",
            "2026-13-22 05:26:00",
            "2026-11-31 05:26:00",
            "2026-11-22 25:26:00",
            "2026-11-22",
            "id 1700000000 done",
            "9999999999 x",
            "17000000001 x",
            "1700000000-7 x",
            "node-2026-11-22 05:26:00",
            "Nov 31 05:26:00 x",
            "Nov 22 5:26 x",
            "12:34:56 x",
        ] {
            assert_eq!(utc(line), "", "{line}");
        }
        let far = format!("{} 2026-11-22T05:26:00Z", "x".repeat(REACH));
        assert_eq!(utc(&far), "");
    }

    #[test]
    fn a_missing_year_is_the_nearest_that_is_not_to_come() {
        let read = wall("2026-01-01T00:00:05Z");
        let t = |line: &str| at(line, read, &TimeZone::UTC).unwrap();
        assert_eq!(t("Dec 31 23:59:59 h x"), "2025-12-31T23:59:59.000Z");
        assert_eq!(t("Jan  1 12:00:00 h x"), "2026-01-01T12:00:00.000Z");
        assert_eq!(t("Jan  3 12:00:00 h x"), "2025-01-03T12:00:00.000Z");
        let eve = wall("2025-12-31T23:59:59Z");
        assert_eq!(at("Jan  1 00:00:01 h x", eve, &TimeZone::UTC).unwrap(), "2026-01-01T00:00:01.000Z");
    }

    /// A stamp of syslog names neither a year nor a zone, and the clocks of its writer may just have been set.
    #[test]
    fn odd_hours_of_a_writer_without_year_and_zone() {
        let paris = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        for (line, read, when) in [
            // midnight of the new year comes an hour earlier there
            ("Jan  1 00:00:01 h x", "2025-12-31T23:00:02Z", "2025-12-31T23:00:01.000Z"),
            ("Dec 31 23:59:59 h x", "2025-12-31T23:00:02Z", "2025-12-31T22:59:59.000Z"),
            // read after a year of silence
            ("Jan  2 00:00:00 h x", "2026-01-01T12:00:00Z", "2026-01-01T23:00:00.000Z"),
            ("Jan  3 00:00:00 h x", "2026-01-01T12:00:00Z", "2025-01-02T23:00:00.000Z"),
            // the hour that came twice, read in its first and in its second pass, and a day later
            ("Oct 25 02:30:00 h x", "2026-10-25T00:30:01Z", "2026-10-25T00:30:00.000Z"),
            ("Oct 25 02:30:00 h x", "2026-10-25T01:30:01Z", "2026-10-25T01:30:00.000Z"),
            ("Oct 25 02:30:00 h x", "2026-10-26T01:30:01Z", "2026-10-25T01:30:00.000Z"),
            // the hour that was skipped
            ("Mar 29 02:30:00 h x", "2026-03-29T01:30:01Z", "2026-03-29T01:30:00.000Z"),
            // a leap day, at its end and on the next
            ("Feb 29 23:59:59 h x", "2028-02-29T23:00:01Z", "2028-02-29T22:59:59.000Z"),
            ("Feb 29 23:59:59 h x", "2028-03-01T06:00:00Z", "2028-02-29T22:59:59.000Z"),
        ] {
            assert_eq!(at(line, wall(read), &paris).as_deref(), Some(when), "{line} read {read}");
        }
    }

    #[test]
    fn a_leap_day_is_in_a_leap_year() {
        assert_eq!(utc("Feb 29 12:00:00 h x"), "2024-02-29T12:00:00.000Z");
        let read = wall("2028-02-29T12:00:01Z");
        assert_eq!(at("Feb 29 12:00:00 h x", read, &TimeZone::UTC).unwrap(), "2028-02-29T12:00:00.000Z");
        let read = wall("2104-02-28T12:00:01Z");
        assert_eq!(at("Feb 29 12:00:00 h x", read, &TimeZone::UTC).unwrap(), "2104-02-29T12:00:00.000Z");
    }

    #[test]
    fn a_stamp_without_a_zone_is_in_the_sources() {
        let paris = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let t = |line: &str, read: &str| at(line, wall(read), &paris).unwrap();
        assert_eq!(t("2026-07-01 12:00:00 x", "2026-07-01T10:00:01Z"), "2026-07-01T10:00:00.000Z");
        assert_eq!(t("Nov 22 12:00:00 h x", "2026-11-22T11:00:01Z"), "2026-11-22T11:00:00.000Z");
        // 02:30 came twice on 2026-10-25, and not at all on 2026-03-29
        assert_eq!(t("2026-10-25 02:30:00 x", "2026-10-25T00:30:01Z"), "2026-10-25T00:30:00.000Z");
        assert_eq!(t("2026-10-25 02:30:00 x", "2026-10-25T01:30:01Z"), "2026-10-25T01:30:00.000Z");
        assert_eq!(t("2026-03-29 02:30:00 x", "2026-03-29T01:30:01Z"), "2026-03-29T01:30:00.000Z");
    }

    proptest::proptest! {
        #[test]
        fn no_line_panics(line: Vec<u8>, read: i64) {
            stamp(&line, Wall(read), &TimeZone::UTC);
        }

        #[test]
        fn nothing_that_looks_like_a_time_panics(line in "[0-9:/ TZ.,+NovSun-]{0,40}", read in 0..4_000_000_000_000i64) {
            if let Some((range, _)) = locate(line.as_bytes()) {
                assert!(range.start < range.end && range.end <= line.len());
            }
            stamp(line.as_bytes(), Wall(read), &TimeZone::UTC);
        }

        #[test]
        fn a_memo_changes_nothing(
            from in 1_792_880_000_000..1_792_895_000_000i64,
            steps in proptest::collection::vec((0..200_000i64, 0..3u8), 1..60),
            reads in 0..90_000_000i64,
        ) {
            // with the hour that comes twice in it, and stamps that begin to lie too far ahead
            let tz = TimeZone::get("Europe/Paris").unwrap();
            let (mut memo, mut at) = (Memo::default(), from);
            for (step, form) in steps {
                at += step;
                let form = ["%Y-%m-%d %H:%M:%S%.3f", "%b %d %H:%M:%S h", "%Y-%m-%dT%H:%M:%SZ"][usize::from(form)];
                let zoned = jiff::Timestamp::from_millisecond(at).unwrap().to_zoned(tz.clone());
                let line = format!("{} x", zoned.strftime(form));
                let read = Wall(from + 1_800_000 - 86_400_000 * (reads % 2) + reads / 30_000_000);
                assert_eq!(memo.stamp(line.as_bytes(), read, &tz), stamp(line.as_bytes(), read, &tz), "{line}");
            }
        }

        #[test]
        fn an_instant_reads_back(ms in 0..4_000_000_000_000i64, minutes in -14 * 60..14 * 60i32) {
            let zone = TimeZone::fixed(Offset::from_seconds(minutes * 60).unwrap());
            let zoned = jiff::Timestamp::from_millisecond(ms).unwrap().to_zoned(zone);
            let line = format!("{} x", zoned.strftime("%Y-%m-%d %H:%M:%S%.3f%:z"));
            assert_eq!(stamp(line.as_bytes(), READ, &TimeZone::UTC), Some(Wall(ms)), "{line}");
        }
    }
}
