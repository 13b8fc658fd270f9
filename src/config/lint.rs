//! What a regex cannot say of itself: look-around, back-references, a backspace, an empty match, a forgeable key.
//!
//! Patterns are read once, left to right, with just enough understanding of escapes and classes to know where a
//! group begins. Look-around is found here and not left to the compiler, because only here is it known that
//! `exclude` would say the same.

use std::ops::Range;

use super::walk::{Text, shown};
use crate::rules::Pattern;

/// What a pattern of `[redact]` is for.
pub(super) const KEEP: &str =
    r"write what is secret, with what stands before it in a group that stays: '(?<keep>session=)\S+'";

/// A longer look-around is not repeated in the hint, in bytes.
const QUOTED: usize = 60;

/// What `start` is for.
const BEGINS: &str = r"write how a record begins, such as '^\d{4}-'";

/// What a scan of a pattern passes by.
#[derive(Debug, PartialEq, Eq)]
enum Token<'p> {
    /// `.*`, `.+` or `.{`.
    Wild(Range<usize>),
    /// `(?<name>`.
    Capture(&'p str),
    /// `{ip}`.
    Piece(&'p str),
    /// `(?=`, `(?!`, `(?<=`, `(?<!`, with what they enclose.
    Look(Range<usize>),
    /// `\1`, `\k`.
    BackReference(Range<usize>),
}

/// Compiles a `match`, an `exclude`, a `resolve`, a source's `start` or what `redact` adds; reports every fault that
/// can be told without the rest of the rule.
pub(super) fn pattern(text: &Text<'_>) -> Option<Pattern> {
    let key = text.key.as_str();
    let scope = &text.scope;
    if text.value.contains('\u{8}') {
        let message =
            format!("`{key}` holds a BACKSPACE character: in double quotes TOML reads `\\b` as a backspace");
        scope.error_hint(text.span.clone(), message, meant(text));
        return None;
    }
    let mut refused = false;
    for token in tokens(text.value) {
        match token {
            Token::Look(range) => {
                refused = true;
                let look = &text.value[range.clone()];
                let message =
                    format!("look-around `{}` is not supported: every rule runs in linear time", shown(look));
                scope.error_hint(text.inner(&range), message, instead_of(key, look));
            }
            Token::BackReference(range) => {
                refused = true;
                let reference = shown(&text.value[range.clone()]);
                let message =
                    format!("back-reference `{reference}` is not supported: every rule runs in linear time");
                let hint = if key == "start" {
                    BEGINS
                } else if key == "extra" {
                    KEEP
                } else {
                    "capture both places under names of their own, or use `exclude`"
                };
                scope.error_hint(text.inner(&range), message, hint);
            }
            _ => {}
        }
    }
    if refused {
        return None;
    }
    let pattern = match Pattern::new(text.value) {
        Ok(pattern) => pattern,
        Err(fault) => {
            let (span, message) =
                (text.inner(&fault.span), format!("`{key}` is not a pattern: {}", fault.what));
            match fault.hint {
                Some(hint) => scope.error_hint(span, message, hint),
                None => scope.error(span, message),
            }
            return None;
        }
    };
    if pattern.accepts_everything() {
        if key == "exclude" {
            let message =
                "`exclude` accepts every line (it matches the empty string), so the rule never hits";
            scope.error_hint(text.span.clone(), message, "write what must not be told, or leave it out");
        } else if key == "extra" {
            let message = "`extra` accepts every text (it matches the empty string)";
            scope.error_hint(text.span.clone(), message, KEEP);
        } else if key == "start" {
            let message = "`start` accepts every line (it matches the empty string), so it joins none";
            scope.error_hint(text.span.clone(), message, BEGINS);
        } else {
            let message = format!("`{key}` accepts every line (it matches the empty string)");
            scope.error_hint(text.span.clone(), message, "if every line is meant, write '.+'");
        }
        return None;
    }
    Some(pattern)
}

/// Warns of a wildcard before a key that nothing ties to the end of the line.
pub(super) fn forgeable_key(text: &Text<'_>, by: &[&str]) {
    let bare = text.value.trim_end_matches(')');
    if (bare.ends_with('$') && !bare.ends_with(r"\$")) || bare.ends_with(r"\z") {
        return;
    }
    let mut wild = None;
    for token in tokens(text.value) {
        let (name, drawn) = match token {
            Token::Wild(range) => {
                wild.get_or_insert(range);
                continue;
            }
            Token::Capture(name) => (name, format!("(?<{name}>")),
            Token::Piece(name) => (name, format!("{{{name}}}")),
            Token::Look(_) | Token::BackReference(_) => continue,
        };
        if let Some(range) = wild.as_ref().filter(|_| by.contains(&name)) {
            let (what, name) = (&text.value[range.clone()], shown(name));
            let message = format!(
                "`{what}` before `{}` and no `$` at the end: who controls that text can choose `{name}`",
                shown(&drawn)
            );
            let hint = format!("anchor the end with `$`, or write what `{what}` may be, such as `\\S+`");
            text.scope.warn(text.inner(range), message, hint);
            return;
        }
    }
}

/// The whole of a short pattern as it was meant, in single quotes.
fn meant(text: &Text<'_>) -> String {
    let as_meant = text.value.replace('\u{8}', r"\b");
    if as_meant.len() > QUOTED || as_meant.contains('\'') || as_meant.contains(char::is_control) {
        return "write it in single quotes, where nothing is escaped".to_owned();
    }
    format!("write it in single quotes: '{as_meant}'")
}

fn instead_of(key: &str, look: &str) -> String {
    let inner = look.trim_start_matches("(?").trim_start_matches(['<', '=', '!']);
    let inner = inner.strip_suffix(')').unwrap_or(inner);
    let negative = look.starts_with("(?!") || look.starts_with("(?<!");
    if matches!(key, "start" | "extra") {
        return if key == "start" { BEGINS } else { KEEP }.to_owned();
    }
    if key == "match" && negative && inner.len() <= QUOTED && !inner.contains(['\'', '\n']) {
        return format!("use exclude = ['{inner}']");
    }
    if key == "resolve" {
        return "match the text itself: `exclude` says nothing of `resolve`".to_owned();
    }
    if negative {
        return "say what must not match in `exclude`".to_owned();
    }
    "match that text itself, and say what must not match in `exclude`".to_owned()
}

fn tokens(pattern: &str) -> Vec<Token<'_>> {
    let bytes = pattern.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &pattern[at..];
        let mut step = rest.chars().next().map_or(1, char::len_utf8);
        match bytes[at] {
            b'\\' => {
                let next = rest[1..].chars().next();
                step = 1 + next.map_or(0, char::len_utf8);
                if next.is_some_and(|c| matches!(c, '1'..='9' | 'k')) {
                    let len =
                        if next == Some('k') { rest.find(['>', '}']).map_or(step, |i| i + 1) } else { step };
                    out.push(Token::BackReference(at..at + len));
                }
            }
            b'[' => step = class_length(rest),
            b'.' if rest[1..].starts_with(['*', '+', '{']) => {
                step = 2;
                out.push(Token::Wild(at..at + 2));
            }
            b'(' => {
                if ["(?=", "(?!", "(?<=", "(?<!"].iter().any(|l| rest.starts_with(l)) {
                    out.push(Token::Look(at..at + group_length(rest)));
                } else if let Some(name) = rest.strip_prefix("(?<").or_else(|| rest.strip_prefix("(?P<")) {
                    out.push(Token::Capture(name.split('>').next().unwrap_or_default()));
                }
            }
            b'{' => {
                let name = rest[1..].split('}').next().unwrap_or_default();
                if !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase()) {
                    out.push(Token::Piece(name));
                }
            }
            _ => {}
        }
        at += step;
    }
    out
}

/// Length of the class at the start of `text`, with classes in it; of `[` where it is never closed.
fn class_length(text: &str) -> usize {
    let mut depth = 0;
    let mut escaped = false;
    let mut opened_at = 0;
    for (at, c) in text.char_indices() {
        let first = at == opened_at + 1 || (at == opened_at + 2 && text[opened_at + 1..].starts_with('^'));
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '[' => {
                depth += 1;
                opened_at = at;
            }
            ']' if !first => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    1
}

/// Length of the group at the start of `text`; of all of it where it is never closed.
fn group_length(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let mut step = c.len_utf8();
        match c {
            '\\' => step += text[at + 1..].chars().next().map_or(0, char::len_utf8),
            '[' => step = class_length(&text[at..]),
            '(' => depth += 1,
            ')' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
        at += step;
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn groups_and_classes_are_told_apart() {
        assert_eq!(tokens(r"a\.* [.*(?=x)] \(?=x"), []);
        assert_eq!(tokens(r"(?<a>.*)"), [Token::Capture("a"), Token::Wild(5..7)]);
        assert_eq!(tokens(r"(?!a(b)[)])c"), [Token::Look(0..11)]);
        assert_eq!(tokens(r"(\w)\1 \k<n>"), [Token::BackReference(4..6), Token::BackReference(7..12)]);
        assert_eq!(tokens(r"x{2} {ip}"), [Token::Piece("ip")]);
        assert_eq!(tokens(r"[]*(?=a)]"), []);
    }

    proptest! {
        #[test]
        fn no_text_panics_and_every_range_is_inside(text in r"(?s)[\[\](){}\\?<=!.*+k1a-cé^$|]{0,60}") {
            for token in tokens(&text) {
                if let Token::Wild(r) | Token::Look(r) | Token::BackReference(r) = token {
                    prop_assert!(text.get(r.clone()).is_some(), "{r:?}");
                }
            }
        }
    }
}
