//! Rules without a usable literal: one search for all of them over the block, then each on the lines it found.
//!
//! The search is a superset by construction: its regexes are rewritten so that they stay within a line of a block
//! (`^` is any line's start, a class loses its newline) and may only find more than the rules do. One such rule
//! costs more than a thousand with a literal, which is why `check` names them.

use regex::bytes::{RegexSet, RegexSetBuilder};
use regex_automata::nfa::thompson::WhichCaptures;
use regex_automata::{Input, meta};
use regex_syntax::hir::{
    Class, ClassBytes, ClassBytesRange, ClassUnicode, ClassUnicodeRange, Hir, HirKind, Look, Repetition,
};

/// Size of the lazily built automaton's cache, in bytes: at the regex crate's 2 MiB it thrashes with many rules.
const CACHE: usize = 16 << 20;

/// Compiled size of the search over the block and of the set, in bytes; beyond it each line is asked instead.
const SIZE: usize = 64 << 20;

/// From this many rules on, a set says which of them a line matches before each is run.
const SET_FROM: usize = 4;

/// The shared search of some rules.
#[derive(Clone, Debug)]
pub(super) struct Wide {
    /// Finds a line that at least one of the rules may match; without it, every line is such a line.
    search: Option<meta::Regex>,
    /// Which of them.
    set: Option<RegexSet>,
    rules: Box<[u32]>,
}

impl Wide {
    /// A search for these rules: number, parsed regex, text.
    pub(super) fn new(rules: &[(u32, Hir, &str)]) -> Wide {
        let hirs: Vec<Hir> = rules.iter().map(|(_, hir, _)| within_lines(hir, true)).collect();
        let config = meta::Config::new()
            .utf8_empty(false)
            // with none at all, a search for the end alone finds nothing
            .which_captures(WhichCaptures::Implicit)
            .nfa_size_limit(Some(SIZE))
            .hybrid_cache_capacity(CACHE);
        let search = meta::Builder::new().configure(config).build_many_from_hir(&hirs).ok();
        let set = (rules.len() >= SET_FROM)
            .then(|| {
                RegexSetBuilder::new(rules.iter().map(|r| r.2)).size_limit(SIZE).dfa_size_limit(CACHE).build()
            })
            .and_then(Result::ok);
        Wide { search, set, rules: rules.iter().map(|r| r.0).collect() }
    }

    /// The first line of `text` from the line start `at` on that one of the rules may match: where it begins.
    ///
    /// `text` is a block without its last newline; `at` may be one past its end, where no line begins.
    pub(super) fn next(&self, text: &[u8], at: usize) -> Option<usize> {
        if at > text.len() {
            return None;
        }
        let Some(search) = &self.search else { return Some(at) };
        let end = search.search_half(&Input::new(text).range(at..).earliest(true))?.offset();
        Some(memchr::memrchr(b'\n', &text[..end]).map_or(0, |n| n + 1))
    }

    /// The rules that may match this line, in order, and whether it is sure that they do.
    pub(super) fn on_line(&self, line: &[u8], mut put_down: impl FnMut(u32, bool)) {
        match &self.set {
            None => self.rules.iter().for_each(|rule| put_down(*rule, false)),
            Some(set) => set.matches(line).into_iter().for_each(|i| put_down(self.rules[i], true)),
        }
    }
}

/// `hir`, so that in a block it matches within a line wherever it matches that line alone. `last`: nothing of its rule
/// stands behind it.
fn within_lines(hir: &Hir, last: bool) -> Hir {
    match hir.kind() {
        HirKind::Empty => Hir::empty(),
        HirKind::Literal(l) if l.0.contains(&b'\n') => Hir::fail(),
        HirKind::Literal(l) => Hir::literal(l.0.clone()),
        HirKind::Class(Class::Unicode(class)) => {
            let mut class = class.clone();
            class.difference(&ClassUnicode::new([ClassUnicodeRange::new('\n', '\n')]));
            Hir::class(Class::Unicode(class))
        }
        HirKind::Class(Class::Bytes(class)) => {
            let mut class = class.clone();
            class.difference(&ClassBytes::new([ClassBytesRange::new(b'\n', b'\n')]));
            Hir::class(Class::Bytes(class))
        }
        HirKind::Look(Look::Start | Look::StartLF) => Hir::look(Look::StartLF),
        // the line's own end may have a `\r` before it
        HirKind::Look(Look::End | Look::EndLF) if last => Hir::concat(vec![
            Hir::repetition(Repetition {
                min: 0,
                max: Some(1),
                greedy: true,
                sub: Box::new(Hir::literal(*b"\r")),
            }),
            Hir::look(Look::EndLF),
        ]),
        // behind that `\r`, what comes next would see another place than the line's end: `$^` is an empty line
        HirKind::Look(Look::End | Look::EndLF) => Hir::empty(),
        HirKind::Look(look) => Hir::look(*look),
        HirKind::Repetition(r) => Hir::repetition(r.with(within_lines(&r.sub, last && r.max == Some(1)))),
        HirKind::Capture(c) => within_lines(&c.sub, last),
        HirKind::Concat(parts) => {
            let end = parts.len() - 1;
            let part = |(n, part)| within_lines(part, last && n == end);
            Hir::concat(parts.iter().enumerate().map(part).collect())
        }
        HirKind::Alternation(parts) => {
            Hir::alternation(parts.iter().map(|part| within_lines(part, last)).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Pattern;

    /// The lines that a search for `patterns` stops at.
    fn stops(patterns: &[&str], text: &str) -> Vec<usize> {
        let patterns: Vec<Pattern> = patterns.iter().map(|p| Pattern::new(p).unwrap()).collect();
        let rules: Vec<(u32, Hir, &str)> =
            patterns.iter().enumerate().map(|(i, p)| (i as u32, p.hir().unwrap(), &*p.expanded)).collect();
        let wide = Wide::new(&rules);
        let (mut at, mut out) = (0, Vec::new());
        while let Some(start) = wide.next(text.as_bytes(), at) {
            out.push(start);
            at = text[start..].find('\n').map_or(text.len() + 1, |n| start + n + 1);
        }
        out
    }

    #[test]
    fn anchors_are_those_of_each_line() {
        assert_eq!(stops(&["^b$"], "a\nb\nb\r\nbb\nb"), [2, 4, 10]);
        assert_eq!(stops(&[r"\Ab.\z"], "b\nbb\nbbb\nb"), [2]);
    }

    #[test]
    fn an_empty_line_is_a_line() {
        assert_eq!(stops(&["^$"], "a\n\n\r\nb\n"), [2, 3, 7]);
        let turned = stops(&[r"\z^"], "\n\r\nb\n");
        assert!([0, 1, 5].iter().all(|line| turned.contains(line)), "{turned:?}");
    }

    #[test]
    fn nothing_crosses_a_line() {
        assert!(stops(&[r"a\sb", r"a[^x]b", r"(?s)a.b", r"a\nb"], "a\nb").is_empty());
    }
}
