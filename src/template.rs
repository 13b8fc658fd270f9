//! `message = "{hits} failed SSH logins from {ip}"`: parsed once against the names a rule knows, filled in one pass.
//!
//! One pass is the point: a value is never looked at again, so a line that holds `{user}` stays as it is.
//! `{{` and `}}` are a brace.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Names every template knows, besides the captures of its rule.
pub const BUILT_IN: [&str; 10] =
    ["hits", "total", "since_last", "first", "last", "span", "rule", "key", "host", "file"];

/// What the name for the number of different values begins with: `{distinct.user}`.
pub const DISTINCT: &str = "distinct.";

/// A parsed template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Name(String),
}

/// What is wrong with a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct TemplateFault {
    /// Lower case, names in backticks.
    pub what: String,
    /// Byte range in the template.
    pub span: std::ops::Range<usize>,
    /// The unknown name, where that is the fault: for a did-you-mean.
    pub unknown: Option<String>,
}

impl Template {
    /// The default: the line itself.
    pub fn line() -> Template {
        Template { parts: vec![Part::Name("line".into())] }
    }

    /// Parses `text`; every name must be built in, `line`, or one of `captures`.
    pub fn parse(text: &str, captures: &[String]) -> Result<Template, TemplateFault> {
        let fault = |what: String, span| Err(TemplateFault { what, span, unknown: None });
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut at = 0;
        while let Some(c) = text[at..].chars().next() {
            let rest = &text[at + c.len_utf8()..];
            match c {
                '{' | '}' if rest.starts_with(c) => {
                    plain.push(c);
                    at += 2;
                }
                '}' => return fault("a `}` without its `{`".into(), at..at + 1),
                '{' => {
                    let Some(len) = rest.find('}') else {
                        return fault("a `{` that is never closed".into(), at..at + 1);
                    };
                    let name = &rest[..len];
                    let span = at..at + len + 2;
                    if !(name == "line" || BUILT_IN.contains(&name) || captures.iter().any(|c| c == name)) {
                        let what = format!("unknown name `{{{name}}}` in the message");
                        return Err(TemplateFault { what, span, unknown: Some(name.to_owned()) });
                    }
                    if !plain.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut plain)));
                    }
                    parts.push(Part::Name(name.to_owned()));
                    at = span.end;
                }
                _ => {
                    plain.push(c);
                    at += c.len_utf8();
                }
            }
        }
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Template { parts })
    }

    /// The names it uses, in order, with repeats.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|p| match p {
            Part::Name(n) => Some(n.as_str()),
            Part::Text(_) => None,
        })
    }

    /// The text with every name replaced by what `value` writes for it; a name it writes nothing for is empty.
    pub fn fill(&self, mut value: impl FnMut(&str, &mut String)) -> String {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Text(t) => out.push_str(t),
                Part::Name(n) => value(n, &mut out),
            }
        }
        out
    }
}

/// Where a line ends, on whatever surface: what Unicode calls a mandatory break and is not shown as a control.
const LINE_ENDS: [char; 4] = ['\n', '\u{85}', '\u{2028}', '\u{2029}'];

/// A value within a text that has lines of its own, such as a list: it stays on the line on which it begins.
pub fn in_line(value: &str) -> Cow<'_, str> {
    ended_by(value, " ⏎ ")
}

/// A value that may have several lines, as a stack trace has: each but the first begins with a sign, so that none can
/// pass for a line of the text around it, such as the hint or the command below.
pub fn in_lines(value: &str) -> Cow<'_, str> {
    ended_by(value, "\n⏎ ")
}

fn ended_by<'a>(value: &'a str, mark: &str) -> Cow<'a, str> {
    let value = value.trim_end_matches(['\r', '\n']);
    if !value.contains(LINE_ENDS) {
        return Cow::Borrowed(value);
    }
    Cow::Owned(value.replace("\r\n", "\n").replace(LINE_ENDS, mark))
}

/// `95s` as `1m 35s`: two units at most, the smallest a second; for `{span}` and cards.
pub fn span_text(d: std::time::Duration) -> String {
    let s = d.as_secs();
    let (days, hours, minutes, seconds) = (s / 86_400, s / 3600 % 24, s / 60 % 60, s % 60);
    let mut out = String::new();
    let pair = |out: &mut String, a: u64, au: char, b: u64, bu: char| {
        // writing to a `String` cannot fail
        _ = if b == 0 { write!(out, "{a}{au}") } else { write!(out, "{a}{au} {b}{bu}") };
    };
    match (days, hours, minutes) {
        (0, 0, 0) => _ = write!(out, "{seconds}s"),
        (0, 0, _) => pair(&mut out, minutes, 'm', seconds, 's'),
        (0, _, _) => pair(&mut out, hours, 'h', minutes, 'm'),
        _ => pair(&mut out, days, 'd', hours, 'h'),
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(text: &str) -> String {
        let t = Template::parse(text, &["user".into()]).unwrap();
        t.fill(|name, out| out.push_str(if name == "user" { "{hits}" } else { "7" }))
    }

    #[test]
    fn a_value_is_never_looked_at_again() {
        assert_eq!(fill("{hits} by {user}"), "7 by {hits}");
    }

    #[test]
    fn doubled_braces_are_braces() {
        assert_eq!(fill("{{hits}} {hits}"), "{hits} 7");
    }

    #[test]
    fn faults_say_what_and_where() {
        let f = |t| Template::parse(t, &[]).unwrap_err();
        assert_eq!(
            (f("a {usr} b").what.as_str(), f("a {usr} b").span),
            ("unknown name `{usr}` in the message", 2..7)
        );
        assert_eq!(f("a {b").what, "a `{` that is never closed");
        assert_eq!(f("a } b").what, "a `}` without its `{`");
    }

    #[test]
    fn no_line_of_a_value_passes_for_one_of_the_text() {
        let ends = "a\nhint: b\r\nhint: c\u{2028}hint: d\u{85}hint: e\u{2029}hint: f\r\n";
        assert_eq!(in_line(ends), "a ⏎ hint: b ⏎ hint: c ⏎ hint: d ⏎ hint: e ⏎ hint: f");
        assert_eq!(in_lines(ends), "a\n⏎ hint: b\n⏎ hint: c\n⏎ hint: d\n⏎ hint: e\n⏎ hint: f");
        assert!(matches!(in_lines("one line\n"), Cow::Borrowed("one line")));
    }

    #[test]
    fn spans_have_two_units() {
        let t = |s| span_text(std::time::Duration::from_secs(s));
        assert_eq!([t(0), t(95), t(3600), t(90_061)], ["0s", "1m 35s", "1h", "1d 1h"]);
    }
}
