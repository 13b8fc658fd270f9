//! Cuts text at a place a reader would cut it: a line's end, else a word's, else between two characters.
//!
//! A cut is made on clean text *before* it is escaped, so that none ever falls inside an entity.

use std::borrow::Cow;
use std::fmt::Write as _;

/// `text`, or its head with `…`, together at most `max` characters.
///
/// The cut falls at the last line break of the last half, else at the last space there, else anywhere.
pub(super) fn cut(text: &str, max: usize) -> Cow<'_, str> {
    let Some(room) = max.checked_sub(1) else { return Cow::Borrowed("") };
    let Some((limit, _)) = text.char_indices().nth(room) else { return Cow::Borrowed(text) };
    if text[limit..].chars().nth(1).is_none() {
        return Cow::Borrowed(text);
    }
    let head = &text[..limit];
    let half = head.char_indices().nth(room / 2).map_or(0, |(i, _)| i);
    let tail = &head[half..];
    let at = tail.rfind('\n').or_else(|| tail.rfind(' ')).map_or(limit, |i| half + i);
    Cow::Owned(format!("{}…", text[..at].trim_end()))
}

/// At most `max` lines of `text`; what is left out is counted in a last line of its own.
pub(super) fn first_lines(text: &str, max: usize) -> Cow<'_, str> {
    let lines = text.lines().count();
    if lines <= max {
        return Cow::Borrowed(text);
    }
    let mut out: String = text.lines().take(max).flat_map(|l| [l, "\n"]).collect();
    let more = lines - max;
    // writing to a `String` cannot fail
    _ = write!(out, "… {more} more {}", if more == 1 { "line" } else { "lines" });
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn short_text_is_left_alone() {
        assert_eq!(cut("four", 4), "four");
        assert_eq!(cut("", 4), "");
    }

    #[test]
    fn a_cut_prefers_a_line_then_a_word_then_anything() {
        assert_eq!(cut("first line\nsecond line", 16), "first line…");
        assert_eq!(cut("one two three four", 12), "one two…");
        assert_eq!(cut("abcdefghijkl", 5), "abcd…");
        assert_eq!(cut("a🔴🔴🔴🔴", 3), "a🔴…");
    }

    #[test]
    fn lines_left_out_are_counted() {
        assert_eq!(first_lines("a\nb\nc", 3), "a\nb\nc");
        assert_eq!(first_lines("a\nb\nc\nd", 2), "a\nb\n… 2 more lines");
    }

    proptest! {
        #[test]
        fn a_cut_keeps_its_bound(text in any::<String>(), max in 0usize..50) {
            let out = cut(&text, max);
            prop_assert!(out.chars().count() <= max);
            let head = out.strip_suffix('…').unwrap_or(&out);
            prop_assert!(text.starts_with(head));
        }
    }
}
