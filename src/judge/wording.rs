//! The words of an alert: the rule's template filled in, keys and numbers written for people.
//!
//! Everything that goes in is redacted already, and a filled template is never looked at again.

use std::fmt::Write as _;
use std::time::Duration;

use super::RulePolicy;
use super::distinct::Different;
use super::evidence::{Evidence, cut};
use crate::alert::What;
use crate::template::{DISTINCT, in_line, in_lines, span_text};
use crate::time::Wall;

/// A filled `message` is at most this long, in characters.
pub(super) const TEXT_CHARS: usize = 1000;

/// What a template may speak of.
pub(super) struct Facts<'a> {
    pub(super) rule: &'a RulePolicy,
    pub(super) host: &'a str,
    pub(super) key: &'a [(String, String)],
    pub(super) hits: u64,
    pub(super) total: u64,
    pub(super) since_last: u64,
    pub(super) first: Wall,
    pub(super) last: Wall,
    pub(super) evidence: &'a Evidence,
    pub(super) different: &'a Different,
}

impl Facts<'_> {
    /// The rule's message.
    pub(super) fn text(&self) -> String {
        let text = self.rule.message.fill(|name, out| self.write(name, out));
        cut_chars(text, TEXT_CHARS)
    }

    fn write(&self, name: &str, out: &mut String) {
        // a rule may name a capture like a built-in name (`host`, `file`): what the line says is what it meant
        if let Some(n) = self.rule.captures.iter().position(|c| c == name) {
            out.push_str(&in_lines(self.evidence.capture(n).unwrap_or("")));
            return;
        }
        // writing to a `String` cannot fail
        match name {
            "hits" => _ = write!(out, "{}", self.hits),
            "total" => _ = write!(out, "{}", self.total),
            "since_last" => _ = write!(out, "{}", self.since_last),
            "first" => out.push_str(&time_text(self.first)),
            "last" => out.push_str(&time_text(self.last)),
            "span" => out.push_str(&span_text(self.last.since(self.first))),
            "rule" => out.push_str(&self.rule.name),
            "key" => out.push_str(&in_lines(&key_text(self.key))),
            "host" => out.push_str(self.host),
            "file" => out.push_str(&in_line(self.evidence.file())),
            "line" => out.push_str(&in_lines(self.evidence.line())),
            _ if name.starts_with(DISTINCT) => out.push_str(&self.different.text()),
            _ => {}
        }
    }
}

/// `ip=192.0.2.1, user=root`; empty without a key.
pub(super) fn key_text(key: &[(String, String)]) -> String {
    let mut out = String::new();
    for (name, value) in key {
        let comma = if out.is_empty() { "" } else { ", " };
        _ = write!(out, "{comma}{name}={value}");
    }
    out
}

/// `2026-11-22T05:26:00Z`.
pub(super) fn time_text(at: Wall) -> String {
    let mut text = at.to_string();
    if text.ends_with('Z')
        && let Some(dot) = text.rfind('.')
    {
        text.replace_range(dot..text.len() - 1, "");
    }
    text
}

/// `1,234 hits`, `1 hit`.
pub(super) fn count(n: u64, what: &str) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, d) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(d);
    }
    _ = write!(out, " {what}{}", if n == 1 { "" } else { "s" });
    out
}

/// `resolved after 31m, 630 hits`.
pub(super) fn over_text(how: &str, after: Duration, hits: u64) -> String {
    format!("{how} after {}, {}", span_text(after), count(hits, "hit"))
}

/// `seen at 2026-11-22T04:10:00Z, 40m late`.
pub(super) fn seen_text(at: Wall, late: Duration) -> String {
    format!("seen at {}, {} late", time_text(at), span_text(late))
}

/// At most `max` characters, `…` at a cut.
pub(super) fn cut_chars(text: String, max: usize) -> String {
    match text.char_indices().nth(max) {
        None => text,
        // the character before the last place makes room for the mark
        Some(_) => text.chars().take(max.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// A line of a list, and what a notice is about, in bytes: what an eye takes in at once.
pub(super) const SHORT: usize = 200;

/// One line of a list, at most [`SHORT`].
pub(super) fn list_line(text: &str) -> String {
    cut(&in_line(text), SHORT)
}

/// What has happened to an incident, in a word or three; `None` for what is about several, or about none.
pub(super) fn verb(what: What) -> Option<&'static str> {
    Some(match what {
        What::Opening | What::WhileAway => "opened",
        What::Reminder => "goes on",
        What::End => "ended",
        What::Resolved => "resolved",
        What::Again => "opened again",
        What::Missing => "missing",
        What::Seen => "seen again",
        What::CannotTell => "cannot tell",
        What::Unmuted => "no longer muted",
        What::Uninhibited => "no longer inhibited",
        What::Known => "nothing new",
        What::Fold | What::Digest | What::Notice => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_are_for_people() {
        assert_eq!(
            [count(1, "hit"), count(999, "hit"), count(1_234_567, "hit")],
            ["1 hit", "999 hits", "1,234,567 hits"]
        );
        assert_eq!(time_text(Wall(1_795_325_160_250)), "2026-11-22T05:26:00Z");
    }

    #[test]
    fn a_long_text_is_cut_by_characters() {
        assert_eq!(cut_chars("ééééé".into(), 5), "ééééé");
        assert_eq!(cut_chars("éééééé".into(), 5), "éééé…");
    }
}
