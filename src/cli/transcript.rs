//! What was said, line by line, and how that differs from what was expected.
//!
//! The short form holds what the judge decided; the others are what a terminal or a plain message shows, to the
//! character. At the end stand the books of each rule that was hit: a hit that is in no term would be seen there.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::brief;
use super::tally::counts;
use crate::chat::{self, Surface};
use crate::judge::Report;
use crate::message::Message;
use crate::time::Wall;

/// So many lines are shown around one that differs.
const AROUND: usize = 3;

/// Beyond so many pairs of lines, differences are looked for in one place only: between the first and the last.
const PAIRS: usize = 4_000_000;

/// How messages are written down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Form {
    /// In few words.
    #[default]
    Short,
    /// As the terminal shows them.
    Console,
    /// As they are sent when a card is refused.
    Plain,
}

/// What was said so far.
#[derive(Debug)]
pub(super) struct Transcript {
    form: Form,
    start: Wall,
    threads: Vec<Arc<str>>,
    text: String,
}

impl Transcript {
    pub(super) fn new(form: Form, start: Wall) -> Transcript {
        Transcript { form, start, threads: Vec::new(), text: String::new() }
    }

    /// Writes a message down; writing to a `String` cannot fail.
    pub(super) fn message(&mut self, message: &Message) {
        let known = self.threads.iter().position(|t| **t == *message.thread);
        let thread = known.unwrap_or_else(|| {
            self.threads.push(message.thread.as_str().into());
            self.threads.len() - 1
        });
        let (at, space) = (offset(message.at.since(self.start)), brief::shown(&message.space));
        let edit = if message.edits.is_some() { " · edit" } else { "" };
        _ = writeln!(self.text, "{at} {space} · {} · thread {}{edit}", message.severity, thread + 1);
        match self.form {
            Form::Short => self.text.push_str(&brief::alerts(message, "   ", self.start)),
            Form::Console => self.text.push_str(&chat::draw(message, false)),
            Form::Plain => {
                let body = chat::render(message, Surface::Plain);
                let body: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
                for line in body["text"].as_str().unwrap_or_default().lines() {
                    _ = writeln!(self.text, "   {}", brief::shown(line));
                }
            }
        }
    }

    /// The books at the end, and all that was written.
    pub(super) fn end(mut self, report: &Report) -> String {
        for (name, rule) in &report.rules {
            if rule.ledger.hits == 0 {
                continue;
            }
            let terms = counts(&serde_json::to_value(rule.ledger).unwrap_or_default());
            let mut terms: Vec<String> =
                terms.iter().filter(|(t, _)| t != "hits").map(|(t, n)| format!("{n} {t}")).collect();
            if rule.pending > 0 {
                terms.push(format!("{} pending", rule.pending));
            }
            let (name, hits) = (brief::shown(name), brief::count(rule.ledger.hits, "hit"));
            _ = writeln!(self.text, "ledger {name}: {hits} = {}", terms.join(" + "));
        }
        if report.clock_odd > 0 {
            _ = writeln!(self.text, "times that were not believed: {}", report.clock_odd);
        }
        self.text
    }
}

const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// `+1h5s`.
fn offset(since: Duration) -> String {
    let mut left = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    let mut out = String::from("+");
    for (unit, millis) in UNITS {
        if left >= millis {
            _ = write!(out, "{}{unit}", left / millis);
            left %= millis;
        }
    }
    if out.len() == 1 { "+0s".to_owned() } else { out }
}

/// What [`offset`] writes, without its `+`: `1h5s`, `90s`, `200ms`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let (mut rest, mut millis) = (text, 0u64);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, behind) = rest.split_at(digits);
        let letters = behind.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(behind.len());
        let (unit, next) = behind.split_at(letters);
        let (_, each) = UNITS.iter().find(|(name, _)| *name == unit)?;
        millis = millis.checked_add(number.parse::<u64>().ok()?.checked_mul(*each)?)?;
        rest = next;
    }
    (!text.is_empty()).then(|| Duration::from_millis(millis))
}

/// A line of a scenario: `{n}` counts from 1, `{time}` and `{syslog}` are the time, in UTC.
pub(super) fn filled(text: &str, n: u32, at: Wall) -> String {
    let mut out = text.replace("{n}", &n.to_string());
    if out.contains("{time}") {
        out = out.replace("{time}", &at.to_string());
    }
    if out.contains("{syslog}")
        && let Ok(time) = jiff::Timestamp::from_millisecond(at.0)
    {
        out = out.replace("{syslog}", &time.strftime("%b %e %H:%M:%S").to_string());
    }
    out
}

/// The lines that differ, with some around them: `-` expected, `+` said. `first` is the number of the first expected
/// line in its file.
pub(super) fn difference(expected: &str, said: &str, first: usize) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), said.lines().collect());
    let steps = steps(&old, &new);
    let differs: Vec<usize> =
        steps.iter().enumerate().filter(|(_, s)| !matches!(s, Step::Same(..))).map(|(n, _)| n).collect();
    let near = |n: usize| {
        let after = differs.partition_point(|d| *d < n);
        let around = [after.checked_sub(1), Some(after)].into_iter().flatten().filter_map(|i| differs.get(i));
        around.into_iter().any(|d| d.abs_diff(n) <= AROUND)
    };
    let (mut out, mut shown) = (String::new(), 0);
    for (n, step) in steps.iter().enumerate().filter(|(n, _)| near(*n)) {
        if n > shown {
            out.push_str("        …\n");
        }
        shown = n + 1;
        _ = match step {
            Step::Same(i) => writeln!(out, "  {:>5}   {}", first + i, old[*i]),
            Step::Gone(i) => writeln!(out, "  {:>5} - {}", first + i, old[*i]),
            Step::Come(j) => writeln!(out, "        + {}", new[*j]),
        };
    }
    out
}

enum Step {
    Same(usize),
    Gone(usize),
    Come(usize),
}

/// From one text to the other in the fewest lines.
fn steps(old: &[&str], new: &[&str]) -> Vec<Step> {
    let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let tail = old[head..].iter().rev().zip(new[head..].iter().rev()).take_while(|(a, b)| a == b).count();
    let (a, b) = (&old[head..old.len() - tail], &new[head..new.len() - tail]);
    let mut all: Vec<Step> = (0..head).map(Step::Same).collect();
    if a.len().saturating_mul(b.len()) > PAIRS {
        all.extend((0..a.len()).map(|i| Step::Gone(head + i)));
        all.extend((0..b.len()).map(|j| Step::Come(head + j)));
    } else {
        // how many lines can be kept of what begins at each pair
        let width = b.len() + 1;
        let mut kept = vec![0u32; (a.len() + 1) * width];
        for i in (0..a.len()).rev() {
            for j in (0..b.len()).rev() {
                let at = i * width + j;
                kept[at] =
                    if a[i] == b[j] { kept[at + width + 1] + 1 } else { kept[at + width].max(kept[at + 1]) };
            }
        }
        let (mut i, mut j) = (0, 0);
        while i < a.len() || j < b.len() {
            if i < a.len() && j < b.len() && a[i] == b[j] {
                all.push(Step::Same(head + i));
                (i, j) = (i + 1, j + 1);
            } else if i < a.len() && (j == b.len() || kept[(i + 1) * width + j] >= kept[i * width + j + 1]) {
                all.push(Step::Gone(head + i));
                i += 1;
            } else {
                all.push(Step::Come(head + j));
                j += 1;
            }
        }
    }
    all.extend((old.len() - tail..old.len()).map(Step::Same));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_they_are_read() {
        for text in ["0s", "5s", "1h5s", "2d", "1m200ms", "1d1h1m1s1ms"] {
            assert_eq!(offset(duration(text).unwrap()), format!("+{text}"));
        }
        assert_eq!(offset(duration("90s").unwrap()), "+1m30s");
        for text in ["", "5", "s", "5x", "-5s", "5 s", "99999999999999999999s"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn a_difference_shows_what_was_expected_what_was_said_and_where() {
        let expected = "a\nb\nc\nd\ne\nf\ng\nh\ni\n";
        let said = "a\nb\nc\nd\nE\nf\ng\nh\ni\nj\n";
        let want = "        …\n     11   b\n     12   c\n     13   d\n     14 - e\n        + E\n     15   f\n     16   g\n     17   h\n     18   i\n        + j\n";
        assert_eq!(difference(expected, said, 10), want);
        assert_eq!(difference("a\n", "a\n", 1), "");
    }

    #[test]
    fn a_line_is_filled_with_its_number_and_its_time() {
        let at = Wall(1_795_325_160_000);
        assert_eq!(filled("{syslog} h {n} {time}", 7, at), "Nov 22 05:26:00 h 7 2026-11-22T05:26:00.000Z");
    }
}
