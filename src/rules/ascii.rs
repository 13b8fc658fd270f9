//! What is left of a regex where the text is ASCII alone, as most lines of most logs are.
//!
//! There, a class of characters matches what it has of ASCII and nothing else, so the rest may as well not be in it. That
//! changes no answer, and a lot of size: `\w` knows some 140,000 characters, in 700 ranges, and an automaton that takes
//! them byte by byte is twenty to fifty times as large as one for the 63 of them that are ASCII. `confirm` therefore
//! makes its automata of what this gives, and those of the whole regex when a line comes that needs them.

use regex_syntax::hir::{
    Class, ClassBytes, ClassBytesRange, ClassUnicode, ClassUnicodeRange, Hir, HirKind, Repetition,
};

/// A regex that matches in ASCII where `hir` does, and possibly nowhere else. Its captures are gone.
pub(super) fn ascii(hir: &Hir) -> Hir {
    match hir.kind() {
        HirKind::Empty | HirKind::Literal(_) | HirKind::Look(_) => hir.clone(),
        HirKind::Class(Class::Unicode(class)) => {
            let mut class = class.clone();
            class.intersect(&ClassUnicode::new([ClassUnicodeRange::new('\0', '\x7f')]));
            Hir::class(Class::Unicode(class))
        }
        HirKind::Class(Class::Bytes(class)) => {
            let mut class = class.clone();
            class.intersect(&ClassBytes::new([ClassBytesRange::new(0, 0x7f)]));
            Hir::class(Class::Bytes(class))
        }
        HirKind::Repetition(r) => Hir::repetition(Repetition { sub: Box::new(ascii(&r.sub)), ..r.clone() }),
        HirKind::Capture(c) => ascii(&c.sub),
        HirKind::Concat(parts) => Hir::concat(parts.iter().map(ascii).collect()),
        HirKind::Alternation(branches) => Hir::alternation(branches.iter().map(ascii).collect()),
    }
}

#[cfg(test)]
mod tests {
    use regex_automata::meta::Regex;

    use super::*;

    #[test]
    fn it_matches_in_ascii_what_the_whole_does() {
        let patterns = [
            r"\w{3} [^:]+",
            r"(?i)kiss",
            r"[^\x00-\x7f]",
            r"[^\x00-\x7f]*x",
            r"(?-u:[\x80-\xff])|b",
            r"\bé|e\b",
            r"(?<user>\p{Greek}|\S+)$",
            r"(?s).\D?",
        ];
        let texts = ["", "x", "abc def", "KISS", "kiss me", "b", "e", "1\n2", "a:b", "\0", "~ ~", "\u{7f}e"];
        for pattern in patterns {
            let hir = regex_syntax::ParserBuilder::new().utf8(false).build().parse(pattern).unwrap();
            let regex = |hir: &Hir| Regex::builder().build_from_hir(hir).unwrap();
            let (whole, left) = (regex(&hir), regex(&ascii(&hir)));
            for text in texts {
                let ends = |regex: &Regex| regex.find(text).map(|m| m.range());
                assert_eq!(ends(&left), ends(&whole), "{pattern:?} in {text:?}");
            }
        }
    }
}
