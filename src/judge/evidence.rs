//! What is kept of a hit: raw in memory until somebody needs it, redacted before it goes anywhere.
//!
//! A storm replaces an incident's newest line a million times; redacting each would cost more than finding it. So the
//! raw line is kept *beside* the clean one, where no serialiser and no message can see it, and cleaned on the way out.
//! A capture is cleaned with its line and under its name: where redaction took the place it came from out of the line,
//! or where it is called `password`, the capture is a secret too, though alone it looks like any word.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::RulePolicy;
use super::context::Awaited;
use super::memory::PIECE;
use crate::alert::Sample;
use crate::hit::{CONTEXT_BYTES, Context, Hit, Later};
use crate::redact::{Clean, REDACTED, Redactor};
use crate::time::Wall;

/// At most this much of a line is kept, in bytes.
pub(super) const KEPT_LINE: usize = 1024;

/// At most this much of a capture or of a part of a key is kept, in bytes.
pub(super) const KEPT_VALUE: usize = 200;

/// The part of a key that is the line itself, masked.
const KIND: &str = "kind";

/// One line with its captures.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Evidence {
    line: String,
    captures: Vec<Option<String>>,
    file: Arc<str>,
    at: Wall,
    /// Secrets that were taken out of the line.
    #[serde(default, skip_serializing_if = "is_zero")]
    secrets: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    before: Vec<Box<str>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    after: Vec<Box<str>>,
    /// Lines behind it are still to come, under this name.
    #[serde(skip)]
    more: Option<Awaited>,
    #[serde(skip)]
    raw: Option<Raw>,
}

struct Raw {
    line: Arc<str>,
    captures: Arc<[Option<Box<str>>]>,
    file: Arc<str>,
    at: Wall,
    context: Option<Arc<Context>>,
}

impl Evidence {
    /// Of a hit that happened at `at`.
    pub(super) fn of(hit: &Hit, at: Wall) -> Evidence {
        let mut evidence = Evidence::default();
        evidence.replace(hit, at);
        evidence
    }

    /// The newer hit takes the older's place; nothing is copied.
    pub(super) fn replace(&mut self, hit: &Hit, at: Wall) {
        let (line, captures) = (Arc::clone(&hit.line), Arc::clone(&hit.captures));
        let context = hit.context.clone();
        self.more = Awaited::of(hit);
        self.raw = Some(Raw { line, captures, file: Arc::clone(&hit.file), at, context });
    }

    /// Cleans what is raw; `names` are those of its captures. Everything below needs it first.
    pub(super) fn tidy(&mut self, redactor: &Redactor, names: &[String]) {
        let Some(raw) = self.raw.take() else { return };
        let (clean, before, after) = clean_around(redactor, &raw.line, raw.context.as_deref());
        let names = names.iter().map(String::as_str).chain(std::iter::repeat(""));
        let value = |(v, name): (&Option<Box<str>>, &str)| {
            v.as_ref().map(|v| clean_value(redactor, &raw.line, &clean.text, name, v))
        };
        self.captures = raw.captures.iter().zip(names).map(value).collect();
        self.line = cut(&clean.text, KEPT_LINE);
        (self.file, self.at, self.secrets) = (raw.file, raw.at, clean.secrets);
        (self.before, self.after) = (before, after);
    }

    /// Lines that stand behind it have been read. Whether it waits for these.
    pub(super) fn follow(&mut self, later: &Later, redactor: &Redactor) -> bool {
        if self.more != Some(Awaited::by(later)) {
            return false;
        }
        if later.over {
            self.more = None;
        }
        if let Some(context) = self.raw.as_mut().and_then(|raw| raw.context.as_mut()) {
            Arc::make_mut(context).after.extend(later.lines.iter().cloned());
        } else {
            let around = (&self.before[..], &*self.line, &mut self.after);
            self.secrets += clean_later(redactor, around, &later.lines);
        }
        true
    }

    /// It shows no line but its own: a newer one does.
    pub(super) fn alone(&mut self) {
        (self.before, self.after, self.more) = (Vec::new(), Vec::new(), None);
        if let Some(raw) = &mut self.raw {
            raw.context = None;
        }
    }

    /// What it still waits for.
    pub(super) fn awaits(&self) -> Option<Awaited> {
        self.more
    }

    /// What it holds beside itself, in bytes.
    pub(super) fn heap(&self) -> usize {
        let clean =
            self.captures.iter().map(|c| size_of_val(c) + c.as_ref().map_or(0, String::len)).sum::<usize>();
        let raw = self.raw.as_ref().map_or(0, |raw| {
            let captures = raw.captures.iter().map(|c| size_of_val(c) + c.as_ref().map_or(0, |c| c.len()));
            let around = raw.context.as_ref().map_or(0, |c| texts(&c.before) + texts(&c.after));
            2 * PIECE + raw.line.len() + captures.sum::<usize>() + around
        });
        PIECE + self.line.len() + clean + raw + texts(&self.before) + texts(&self.after)
    }

    /// As a sample for an alert.
    pub(super) fn sample(&self) -> Sample {
        let (line, file) = (self.line.as_str().into(), Arc::clone(&self.file));
        let (before, after) = (self.before.clone(), self.after.clone());
        Sample { line, file, at: self.at, secrets: self.secrets, before, after }
    }

    /// The same without the lines around it, where it is one of several.
    pub(super) fn line_alone(&self) -> Sample {
        self.sample().into_alone()
    }

    /// The clean line.
    pub(super) fn line(&self) -> &str {
        &self.line
    }

    /// Its file.
    pub(super) fn file(&self) -> &str {
        &self.file
    }

    /// The clean value of the nth capture.
    pub(super) fn capture(&self, n: usize) -> Option<&str> {
        self.captures.get(n)?.as_deref()
    }

    /// The rule's captures have changed: the old ones mean nothing now.
    pub(super) fn forget_captures(&mut self) {
        self.captures.clear();
        if let Some(raw) = &mut self.raw {
            raw.captures = Arc::default();
        }
    }
}

/// These lines as samples, made clean.
pub(super) fn samples(
    lines: &mut VecDeque<Evidence>,
    redactor: &Redactor,
    policy: &RulePolicy,
) -> Vec<Sample> {
    for line in lines.iter_mut() {
        line.tidy(redactor, &policy.captures);
    }
    lines.iter().map(Evidence::sample).collect()
}

/// A line and those around it, clean. The secrets of all are counted with the line.
fn clean_around<'a>(
    redactor: &Redactor,
    line: &'a str,
    context: Option<&Context>,
) -> (Clean<'a>, Vec<Box<str>>, Vec<Box<str>>) {
    let Some(Context { before, after, .. }) = context else {
        return (redactor.clean(line), Vec::new(), Vec::new());
    };
    let all = before.iter().map(|l| &**l).chain([line]).chain(after.iter().map(|l| &**l));
    let (texts, secrets) = redactor.lines(all);
    let mut texts = texts.into_iter();
    let before = texts.by_ref().take(before.len()).map(|l| kept(&l)).collect();
    let text = Cow::Owned(texts.next().unwrap_or_default());
    (Clean { text, secrets }, before, texts.map(|l| kept(&l)).collect())
}

/// More lines behind a line that is clean already, with those around it. Returns how many secrets they held.
pub(super) fn clean_later(
    redactor: &Redactor,
    (before, line, after): (&[Box<str>], &str, &mut Vec<Box<str>>),
    later: &[Box<str>],
) -> u32 {
    let known: Vec<&str> =
        before.iter().map(|l| &**l).chain([line]).chain(after.iter().map(|l| &**l)).collect();
    let (_, old) = redactor.lines(known.iter().copied());
    let (texts, all) = redactor.lines(known.iter().copied().chain(later.iter().map(|l| &**l)));
    let new: Vec<Box<str>> = texts[known.len()..].iter().map(|l| kept(l)).collect();
    after.extend(new);
    all.saturating_sub(old)
}

fn kept(line: &str) -> Box<str> {
    cut(line, CONTEXT_BYTES).into()
}

/// What some lines hold, in bytes.
pub(super) fn texts(lines: &[Box<str>]) -> usize {
    lines.iter().map(|l| size_of::<Box<str>>() + PIECE + l.len()).sum()
}

/// The parts of a hit's key, clean, each under its name.
pub(super) fn clean_key(redactor: &Redactor, by: &[String], hit: &Hit) -> Vec<(String, String)> {
    clean_parts(redactor, by, &hit.key, &hit.line)
}

/// These parts of the key of this line, clean, each under its name.
pub(super) fn clean_parts(
    redactor: &Redactor,
    by: &[String],
    parts: &[Box<str>],
    raw_line: &str,
) -> Vec<(String, String)> {
    if parts.is_empty() {
        return Vec::new();
    }
    let line = redactor.redact(raw_line);
    let names = by.iter().map(String::as_str).chain(std::iter::repeat("key"));
    let value = |name: &str, v: &str| match name {
        // masking the line may have broken a secret into pieces that look like none
        KIND if matches!(line, Cow::Owned(_)) => cut(&line, KEPT_VALUE),
        _ => clean_value(redactor, raw_line, &line, name, v),
    };
    names.zip(parts).map(|(n, v)| (n.to_owned(), value(n, v))).collect()
}

/// A capture of a hit, clean.
pub(super) fn clean_capture(redactor: &Redactor, hit: &Hit, name: &str, value: &str) -> String {
    clean_value(redactor, &hit.line, &redactor.redact(&hit.line), name, value)
}

fn clean_value(redactor: &Redactor, raw_line: &str, clean_line: &str, name: &str, value: &str) -> String {
    let hidden = !value.is_empty() && raw_line.contains(value) && !clean_line.contains(value);
    if hidden { REDACTED.to_owned() } else { cut(&redactor.value(name, value), KEPT_VALUE) }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// At most `max` bytes of `text`, `…` at a cut.
pub(super) fn cut(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(max.saturating_sub('…'.len_utf8()));
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_falls_between_characters_and_is_marked() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abcdef", 5), "ab…");
        assert_eq!(cut("ééé", 5), "é…");
    }

    #[test]
    fn a_capture_that_was_cut_out_of_its_line_is_hidden_too() {
        let clean = "login password=*** from 10.0.0.7";
        let raw = "login password=hunter2 from 10.0.0.7";
        let redactor = Redactor::new();
        assert_eq!(clean_value(&redactor, raw, clean, "what", "hunter2"), "[redacted]");
        assert_eq!(clean_value(&redactor, raw, clean, "what", "10.0.0.7"), "10.0.0.7");
    }

    #[test]
    fn a_capture_that_its_name_gives_away_is_hidden_wherever_it_stood() {
        let redactor = Redactor::new();
        let line = r#"{"password":"a\"b"} and far behind the cut token=t1"#;
        let clean = redactor.redact(line);
        for (name, value, shown) in
            [("password", "a\"b", "[redacted]"), ("token", "behind", "[redacted]"), ("user", "bob", "bob")]
        {
            assert_eq!(clean_value(&redactor, line, &clean, name, value), shown, "{name}");
        }
    }

    #[test]
    fn the_kind_of_a_line_with_a_secret_is_shown_as_the_clean_line() {
        let line = "used AKIAIOSFODNN7EXAMPLE twice";
        let hit =
            |line: &str| Hit { key: Box::new(["k1:used AKIAIOSFODNN<n>EXAMPLE twice".into()]), ..hit(line) };
        let key = |line: &str| clean_key(&Redactor::new(), &["kind".to_owned()], &hit(line)).remove(0).1;
        assert_eq!(key(line), "used [redacted] twice");
        assert_eq!(key("a clean line"), "k1:used AKIAIOSFODNN<n>EXAMPLE twice");
    }

    fn hit(line: &str) -> Hit {
        Hit {
            rule: crate::hit::RuleNo(0),
            resolves: None,
            key: Box::new([]),
            captures: [Some("raw".into())].into(),
            stamp: None,
            read: crate::time::Now::default(),
            line: line.into(),
            file: "f".into(),
            file_no: 0,
            backlog: false,
            context: None,
        }
    }

    #[test]
    fn what_is_written_down_never_holds_the_raw_line() {
        let text = serde_json::to_string(&Evidence::of(&hit("a raw line"), Wall(5))).unwrap();
        assert_eq!(text, r#"{"line":"","captures":[],"file":"","at":0}"#);
    }
}
