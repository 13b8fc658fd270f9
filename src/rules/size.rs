//! How large a regex may become when it is compiled: a bound that is cheap to know.
//!
//! Most rules never meet a line that makes them needed, so a regex is compiled when it is first asked. Only one that
//! might be too large must be compiled at once, to be refused with its place; this bound says which. It counts the
//! states of a Thompson automaton, as the regex crate builds it, and errs on the high side: Unicode classes share more
//! than is assumed here.

use regex_syntax::hir::{Class, Hir, HirKind};

/// Bytes of one state with its transitions, at most.
const STATE: f64 = 64.0;

/// Bytes that the compiled `hir` takes, at most; saturating.
pub(super) fn bound(hir: &Hir) -> usize {
    (states(hir) * STATE) as usize
}

fn states(hir: &Hir) -> f64 {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => 1.0,
        HirKind::Literal(l) => l.0.len() as f64,
        HirKind::Class(Class::Bytes(_)) => 1.0,
        HirKind::Class(Class::Unicode(class)) => {
            2.0 + class.iter().map(|r| range(r.start(), r.end())).sum::<f64>()
        }
        HirKind::Capture(c) => 2.0 + states(&c.sub),
        HirKind::Repetition(r) => {
            let copies = f64::from(r.max.unwrap_or(r.min).max(r.min).max(1)) + 1.0;
            copies * (states(&r.sub) + 2.0)
        }
        HirKind::Concat(parts) => parts.iter().map(states).sum(),
        HirKind::Alternation(parts) => 1.0 + parts.iter().map(|p| 1.0 + states(p)).sum::<f64>(),
    }
}

/// States for the characters from `start` to `end`, by their bytes.
fn range(start: char, end: char) -> f64 {
    let (short, long) = (start.len_utf8(), end.len_utf8());
    // all but the last byte are the same
    if short == long && (short == 1 || u32::from(start) >> 6 == u32::from(end) >> 6) {
        return long as f64;
    }
    // per length, what is left of the first and of the last leading byte at each level, and what is between
    (short..=long).map(|len| (2 * len - 1) * len).sum::<usize>() as f64
}

#[cfg(test)]
mod tests {
    use regex_automata::nfa::thompson::{self, WhichCaptures};

    use super::*;

    /// The bound, and the bytes that it bounds: forwards and backwards.
    fn sizes(pattern: &str) -> (usize, usize) {
        let hir = regex_syntax::ParserBuilder::new().utf8(false).build().parse(pattern).unwrap();
        let compiled = |reverse| {
            let config =
                thompson::Config::new().utf8(false).reverse(reverse).which_captures(WhichCaptures::None);
            let nfa = thompson::Compiler::new().configure(config).build_from_hir(&hir);
            nfa.unwrap().memory_usage()
        };
        (bound(&hir), compiled(false).max(compiled(true)))
    }

    #[test]
    fn it_is_never_below_what_is_compiled() {
        let patterns = [
            "a",
            "",
            "^$",
            r"\w",
            r"\w{3}",
            r"\W+",
            r"\d*",
            r"\s",
            r"\S",
            ".",
            "(?s).",
            "(?i)kiosk",
            "[^a]",
            r"\p{Greek}",
            r"\p{L}{2,9}",
            r"[\x{80}-\x{10ffff}]",
            "[a-z0-9]+@[a-z]+",
            r"(?-u:\xff|[\x00-\x7f])",
            "(?:a|b|c|d{3,})*",
            r"(?<a>x)(?:(?<b>y)|z)?",
            r"(?:\S+ ){0,40}x",
            r"((a{1,20}){1,20}){1,20}",
            r"\b(?:FATAL|CRITICAL)\b",
            r"[\w&&[^a-z]]",
            r"\PL",
        ];
        for pattern in patterns {
            let (bound, is) = sizes(pattern);
            // what every automaton has beside its states
            assert!(bound + 2048 >= is, "{pattern}: {bound} for {is}");
            assert!(bound <= 40 * is + 4096, "{pattern}: {bound} for {is}, and too much is compiled at once");
        }
    }
}
