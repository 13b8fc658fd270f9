//! One `match` or `exclude`: named pieces such as `{ip}` written out, then compiled as a linear-time regex.
//!
//! `{ip}` can never be valid in a Rust regex, so the spelling is free. Faults are reported in the operator's own
//! text: an offset behind a piece is mapped back. A pattern is always searched in one line alone, without its line
//! end, so `^ $ \A \z` are the line's ends and no match crosses into the next line.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::ast;
use regex_syntax::hir::{self, Hir, HirKind};

pub use super::piece::PIECES;
use super::piece::piece;
use super::size;

/// Compiled size limit of one regex, in bytes: a hostile or careless repetition is refused, not tried.
const SIZE_LIMIT: usize = 4 << 20;

/// Longest text of one pattern, in bytes: far beyond what a person writes, and it bounds every later step.
pub const PATTERN_BYTES: usize = 16 << 10;

/// How deep groups may be nested: the compiler of the regex crate recurses.
const NEST_LIMIT: u32 = 100;

/// A sound pattern.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// As the operator wrote it.
    pub text: Arc<str>,
    /// With its pieces written out.
    pub expanded: Arc<str>,
    /// Of each of its groups; the first is the whole match.
    groups: Arc<[Option<Box<str>>]>,
    /// Once it was asked for; clones share it.
    regex: Arc<OnceLock<Regex>>,
    /// Bytes that it takes at most.
    bound: usize,
    /// It may match the empty string.
    may_be_empty: bool,
}

/// Why a pattern was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct PatternFault {
    /// Lower case, one line.
    pub what: String,
    /// Byte range in the operator's text.
    pub span: Range<usize>,
    /// What to write instead.
    pub hint: Option<String>,
}

impl Pattern {
    /// Reads the operator's text. The regex is compiled when it is first asked for; one that may be too large is tried
    /// at once, and not kept: most rules never meet a line that asks for it.
    pub fn new(text: &str) -> Result<Pattern, PatternFault> {
        if text.len() > PATTERN_BYTES {
            let what = format!("the pattern has {} bytes, at most {PATTERN_BYTES} are allowed", text.len());
            return Err(fault(what, 0..text.len(), None));
        }
        if let Some(at) = text.find('\u{8}') {
            let hint = r"write it in single quotes, as in match = '\bERROR\b'";
            let what = r"it contains a backspace character: in double quotes TOML reads `\b` as one";
            return Err(fault(what.into(), at..at + 1, Some(hint.into())));
        }
        let written = expand(text)?;
        let hir = parse(&written.text).map_err(|e| explain(*e, text, &written))?;
        let bound = size::bound(&hir);
        if bound > SIZE_LIMIT / 2 {
            compile(&written.text).map_err(|e| too_big(&e, text.len()))?;
        }
        Ok(Pattern {
            text: text.into(),
            expanded: written.text.into(),
            groups: groups(&hir),
            regex: Arc::default(),
            bound,
            may_be_empty: hir.properties().minimum_len() == Some(0),
        })
    }

    /// Compiled, matching on bytes; `^ $` are the line's ends when searched line by line.
    #[inline]
    pub fn regex(&self) -> &Regex {
        self.regex.get_or_init(|| {
            compile(&self.expanded)
                .expect("what was parsed, and is bounded to half of the limit or was tried, compiles")
        })
    }

    /// Bytes that its compiled form takes at most.
    pub fn memory(&self) -> usize {
        self.bound
    }

    /// The number of the group of this name.
    pub(super) fn group(&self, name: &str) -> Option<usize> {
        self.groups.iter().position(|group| group.as_deref() == Some(name))
    }

    /// Names of its captures, in order.
    pub fn capture_names(&self) -> Vec<String> {
        self.groups.iter().flatten().map(ToString::to_string).collect()
    }

    /// It matches the empty string, and so every line.
    ///
    /// `^$` and its like accept the empty *line* alone, and do not count.
    pub fn accepts_everything(&self) -> bool {
        self.may_be_empty && self.regex().is_match(b"") && self.regex().is_match(b"\x01")
    }

    /// As the scanner sees it. Parsed anew: needed once a load, and large.
    pub(super) fn hir(&self) -> Option<Hir> {
        parse(&self.expanded).ok()
    }
}

fn fault(what: String, span: Range<usize>, hint: Option<String>) -> PatternFault {
    PatternFault { what, span, hint }
}

fn parse(expanded: &str) -> Result<Hir, Box<regex_syntax::Error>> {
    // `utf8(false)`: patterns search bytes, and `(?-u:\xff)` is a fair wish
    let mut parser = regex_syntax::ParserBuilder::new().utf8(false).nest_limit(NEST_LIMIT).build();
    parser.parse(expanded).map_err(Box::new)
}

fn compile(expanded: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(expanded).size_limit(SIZE_LIMIT).nest_limit(NEST_LIMIT).build()
}

/// The names of all groups, by their numbers.
fn groups(hir: &Hir) -> Arc<[Option<Box<str>>]> {
    fn collect(hir: &Hir, into: &mut Vec<Option<Box<str>>>) {
        match hir.kind() {
            HirKind::Capture(c) => {
                let number = c.index as usize;
                into.resize(into.len().max(number + 1), None);
                into[number].clone_from(&c.name);
                collect(&c.sub, into);
            }
            HirKind::Repetition(r) => collect(&r.sub, into),
            HirKind::Concat(parts) | HirKind::Alternation(parts) => {
                for part in parts {
                    collect(part, into);
                }
            }
            _ => {}
        }
    }
    let mut all = vec![None];
    collect(hir, &mut all);
    all.into()
}

fn too_big(e: &regex::Error, len: usize) -> PatternFault {
    let hint = "make counted repetitions such as `{1,1000}` smaller, or write `+`";
    match e {
        regex::Error::CompiledTooBig(limit) => {
            fault(format!("the compiled regex is larger than {} MiB", limit >> 20), 0..len, Some(hint.into()))
        }
        // unreachable in practice: the text has been parsed by the same parser
        _ => fault("it is not a regex".into(), 0..len, None),
    }
}

/// A pattern with its pieces written out, and where each one went.
struct Written {
    text: String,
    /// (range in `text`, range in the operator's text), ascending.
    pieces: Vec<(Range<usize>, Range<usize>)>,
}

impl Written {
    /// The operator's range for a range of the written-out text; a place inside a piece is the whole piece.
    fn back(&self, span: Range<usize>) -> Range<usize> {
        let place = |at: usize, end: bool| {
            let mut shift = 0isize;
            for (new, old) in &self.pieces {
                if at < new.start || (end && at == new.start) {
                    break;
                }
                if at < new.end || (end && at == new.end) {
                    return if end { old.end } else { old.start };
                }
                shift = old.end as isize - new.end as isize;
            }
            at.saturating_add_signed(shift)
        };
        let start = place(span.start, false);
        start..place(span.end, true).max(start)
    }
}

/// Writes the pieces out; knows just enough of the regex syntax to leave quantifiers, classes and escapes alone.
fn expand(text: &str) -> Result<Written, PatternFault> {
    let bytes = text.as_bytes();
    let mut out = Written { text: String::with_capacity(text.len()), pieces: Vec::new() };
    let mut captured = named_groups(text);
    let mut classes = 0usize;
    let (mut at, mut copied) = (0, 0);
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => {
                at = escape_end(text, at);
                continue;
            }
            b'[' => {
                classes += 1;
                // a `]` that stands first is a member
                at += 1 + usize::from(bytes.get(at + 1) == Some(&b'^'));
                at += usize::from(bytes.get(at) == Some(&b']'));
                continue;
            }
            b']' => classes = classes.saturating_sub(1),
            b'{' if classes == 0 => {
                if let Some(name) = piece_name(text, at) {
                    let span = at..at + name.len() + 2;
                    let Some(regex) = piece(name) else {
                        return Err(unknown_piece(name, span));
                    };
                    out.text.push_str(&text[copied..at]);
                    let from = out.text.len();
                    if captured.iter().any(|c| c == name) {
                        out.text.push_str("(?:");
                    } else {
                        captured.push(name.to_owned());
                        out.text.push_str("(?P<");
                        out.text.push_str(name);
                        out.text.push('>');
                    }
                    out.text.push_str("(?-imsUx:");
                    out.text.push_str(&regex);
                    out.text.push_str("))");
                    out.pieces.push((from..out.text.len(), span.clone()));
                    at = span.end;
                    copied = at;
                    continue;
                }
            }
            _ => {}
        }
        at += 1;
    }
    out.text.push_str(&text[copied..]);
    Ok(out)
}

/// Where the escape that begins at `at` ends, its braces included.
fn escape_end(text: &str, at: usize) -> usize {
    let rest = &text[at + 1..];
    let Some(c) = rest.chars().next() else { return text.len() };
    let after = at + 1 + c.len_utf8();
    let takes_braces = match c {
        'x' | 'u' | 'U' | 'p' | 'P' => text[after..].starts_with('{'),
        'b' => {
            ["{start}", "{end}", "{start-half}", "{end-half}"].iter().any(|b| text[after..].starts_with(b))
        }
        _ => false,
    };
    if takes_braces { text[after..].find('}').map_or(text.len(), |n| after + n + 1) } else { after }
}

/// The name in the braces at `at`, where they hold one: `{2,3}` and a lone `{` do not.
fn piece_name(text: &str, at: usize) -> Option<&str> {
    let rest = &text[at + 1..];
    let name = &rest[..rest.find('}')?];
    let named = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    named.then_some(name)
}

/// Names of the operator's own groups: a piece of that name does not capture.
fn named_groups(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut at = 0;
    while let Some(n) = text[at..].find(['\\', '(']) {
        at += n;
        if text.as_bytes()[at] == b'\\' {
            at = escape_end(text, at);
            continue;
        }
        let rest = &text[at + 1..];
        if let Some(name) = rest.strip_prefix("?<").or_else(|| rest.strip_prefix("?P<"))
            && let Some(len) = name.find('>')
        {
            names.push(name[..len].to_owned());
        }
        at += 1;
    }
    names
}

fn unknown_piece(name: &str, span: Range<usize>) -> PatternFault {
    let near = PIECES
        .iter()
        .map(|p| (strsim::damerau_levenshtein(p, &name.to_ascii_lowercase()), p))
        .filter(|(d, p)| *d <= 2 && *d < p.len())
        .min();
    let hint = if let Some((_, p)) = near {
        format!("did you mean `{{{p}}}`?")
    } else {
        let all: Vec<String> = PIECES.iter().map(|p| format!("`{{{p}}}`")).collect();
        format!("the pieces are {}; a brace itself is written `\\{{`", all.join(", "))
    };
    fault(format!("unknown piece `{{{name}}}`"), span, Some(hint))
}

/// The parser's fault in our words, at the operator's place.
fn explain(e: regex_syntax::Error, text: &str, written: &Written) -> PatternFault {
    match e {
        regex_syntax::Error::Parse(e) => {
            let span = written.back(e.span().start.offset..e.span().end.offset);
            syntax(e.kind(), span, text)
        }
        regex_syntax::Error::Translate(e) => {
            let span = written.back(e.span().start.offset..e.span().end.offset);
            let found = text.get(span.clone()).unwrap_or_default().to_owned();
            let what = match e.kind() {
                hir::ErrorKind::UnicodePropertyNotFound | hir::ErrorKind::UnicodePropertyValueNotFound => {
                    format!("unknown Unicode class `{found}`")
                }
                hir::ErrorKind::UnicodeNotAllowed => {
                    format!("`{found}` needs Unicode, which `(?-u)` switched off")
                }
                _ => format!("`{found}` is not supported"),
            };
            fault(what, span, None)
        }
        _ => fault("it is not a regex".into(), 0..text.len(), None),
    }
}

fn syntax(kind: &ast::ErrorKind, span: Range<usize>, text: &str) -> PatternFault {
    use ast::ErrorKind as K;
    // some faults are a place between two characters: show the one behind it
    let next = text[span.start..].chars().next().map_or(0, char::len_utf8);
    let span = span.start..span.end.max(span.start + next);
    let found = text.get(span.clone()).unwrap_or_default();
    let plain = |what: &str| fault(what.to_owned(), span.clone(), None);
    let hinted = |what: &str, hint: &str| fault(what.to_owned(), span.clone(), Some(hint.to_owned()));
    match kind {
        K::UnsupportedLookAround => look_around(span, text),
        K::UnsupportedBackreference => hinted(
            &format!("the back-reference `{found}` is not supported (every rule runs in linear time)"),
            "write the text out, or capture both places and compare them by eye in the message",
        ),
        K::GroupUnclosed => hinted("unclosed group: it is opened here", r"close it with `)`, or write `\(`"),
        K::GroupUnopened => hinted("a `)` without its `(`", r"write `\)` for a bracket in the line"),
        K::ClassUnclosed => hinted("unclosed class: it is opened here", r"close it with `]`, or write `\[`"),
        K::ClassRangeInvalid => plain(&format!("the range `{found}` runs backwards")),
        K::ClassRangeLiteral | K::ClassEscapeInvalid => {
            plain(&format!("`{found}` cannot stand in a class like this"))
        }
        K::RepetitionMissing => hinted(
            &format!("`{found}` repeats nothing"),
            r"something must stand before it; write it with a `\` for the character itself",
        ),
        K::RepetitionCountUnclosed | K::RepetitionCountDecimalEmpty | K::DecimalInvalid => hinted(
            &format!("`{found}` is not a repetition such as `{{2,3}}`"),
            r"a brace in the line is written `\{`",
        ),
        K::RepetitionCountInvalid => {
            plain(&format!("the repetition `{found}` has its bounds the wrong way round"))
        }
        K::EscapeUnexpectedEof => hinted(r"a `\` at the end escapes nothing", r"write `\\` for a backslash"),
        K::EscapeUnrecognized => hinted(
            &format!("unknown escape `{found}`"),
            "letters and digits take no backslash unless they mean a class or a boundary",
        ),
        K::EscapeHexEmpty | K::EscapeHexInvalid | K::EscapeHexInvalidDigit => {
            plain(&format!("`{found}` is not a character's number in hex"))
        }
        K::SpecialWordBoundaryUnclosed
        | K::SpecialWordBoundaryUnrecognized
        | K::SpecialWordOrRepetitionUnexpectedEof => hinted(
            r"an unknown sort of word boundary",
            r"known are `\b{start}`, `\b{end}`, `\b{start-half}` and `\b{end-half}`",
        ),
        K::GroupNameDuplicate { .. } => plain(&format!("the capture `{found}` is named twice")),
        K::GroupNameEmpty => plain("a capture without a name"),
        K::GroupNameInvalid => hinted(
            &format!("`{found}` cannot be part of a capture's name"),
            "letters, digits and `_`, not beginning with a digit",
        ),
        K::GroupNameUnexpectedEof => hinted("a capture's name that is never closed", "write `(?<name>…)`"),
        K::FlagUnrecognized => {
            hinted(&format!("unknown flag `{found}`"), "known are `i m s R U u x`, as in `(?i)`")
        }
        K::FlagDanglingNegation
        | K::FlagDuplicate { .. }
        | K::FlagRepeatedNegation { .. }
        | K::FlagUnexpectedEof => {
            hinted(&format!("bad flags `{found}`"), "flags are written `(?i)` or `(?i-s:…)`")
        }
        K::UnicodeClassInvalid => plain(&format!("`{found}` is not a Unicode class such as `\\p{{Greek}}`")),
        K::NestLimitExceeded(n) => plain(&format!("groups are nested deeper than {n}")),
        K::CaptureLimitExceeded => plain("too many groups"),
        // the parser's own words are lower case and one line
        other => plain(&other.to_string()),
    }
}

/// The parser stops at `(?!`; the operator is shown the whole group and what to write instead.
fn look_around(span: Range<usize>, text: &str) -> PatternFault {
    let end = group_end(text, span.start).unwrap_or(text.len());
    let whole = span.start..end.max(span.end);
    let found = &text[whole.clone()];
    let negative = found.starts_with("(?!") || found.starts_with("(?<!");
    let inner = found.trim_start_matches(['(', '?', '<', '!', '=']);
    let inner = inner.strip_suffix(')').unwrap_or(inner);
    let hint = if negative {
        format!("leave it out of `match` and add exclude = ['{inner}']")
    } else {
        "match the text itself, and capture the part that is wanted".to_owned()
    };
    let what = format!("look-around `{found}` is not supported (every rule runs in linear time)");
    fault(what, whole, Some(hint))
}

/// Where the group that opens at `at` closes.
fn group_end(text: &str, mut at: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut depth = 0usize;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => {
                at = escape_end(text, at);
                continue;
            }
            b'(' => depth += 1,
            b')' if depth <= 1 => return Some(at + 1),
            b')' => depth -= 1,
            _ => {}
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> (String, String, String) {
        let f = Pattern::new(text).unwrap_err();
        (f.what, text[f.span].to_owned(), f.hint.unwrap_or_default())
    }

    fn found(text: &str, line: &str) -> bool {
        Pattern::new(text).unwrap().regex().is_match(line.as_bytes())
    }

    #[test]
    fn a_piece_captures_under_its_name_once() {
        let p = Pattern::new(r"from {ip} to {ip} as (?<user>\S+) or {user}").unwrap();
        assert_eq!(p.capture_names(), ["ip", "user"]);
        let caps = p.regex().captures(b"from 10.0.0.1 to 10.0.0.2 as bob or eve").unwrap();
        assert_eq!(&caps["ip"], b"10.0.0.1");
        assert_eq!(&caps["user"], b"bob");
    }

    #[test]
    fn quantifiers_classes_and_escapes_are_left_alone() {
        assert!(found(r"^a{2,3}b{2}c{1,}$", "aabbc"));
        assert!(found(r"^\{ip\}[{]ip[}][]{ip}]+$", "{ip}{ip}]p{i"));
        assert!(found(r"^\x{41}\u{42}\p{Greek}\b{end}$", "ABλ"));
        assert!(found(r"^[^]{num}]+$", "abc"));
    }

    #[test]
    fn a_repeated_piece_repeats_as_a_whole() {
        assert!(found(r"^(?:{num},?){3}$", "1,2,3"));
        assert!(found(r"^x{ip}?$", "x"));
    }

    #[test]
    fn an_unknown_piece_is_a_fault_with_the_nearest_name() {
        assert_eq!(
            refused("from {ipp} port"),
            ("unknown piece `{ipp}`".into(), "{ipp}".into(), "did you mean `{ip}`?".into())
        );
        let (_, _, hint) = refused("{timestamp}");
        assert_eq!(
            hint,
            r"the pieces are `{ip}`, `{host}`, `{num}`, `{uuid}`, `{word}`, `{path}`, `{user}`; a brace itself is written `\{`"
        );
    }

    #[test]
    fn look_around_is_refused_with_exclude_as_the_way() {
        assert_eq!(
            refused(r"foo(?!bar (x|y))z"),
            (
                "look-around `(?!bar (x|y))` is not supported (every rule runs in linear time)".into(),
                "(?!bar (x|y))".into(),
                "leave it out of `match` and add exclude = ['bar (x|y)']".into()
            )
        );
        let (what, at, _) = refused("{ip} (?<=a)b");
        assert_eq!(
            (what.as_str(), at.as_str()),
            ("look-around `(?<=a)` is not supported (every rule runs in linear time)", "(?<=a)")
        );
    }

    #[test]
    fn faults_behind_a_piece_point_into_the_operators_text() {
        assert_eq!(refused(r"{ip} {user} (a").1, "(");
        assert_eq!(refused(r"{ip} a)").1, ")");
        assert_eq!(refused(r"{ip} \y").1, r"\y");
        assert_eq!(refused(r"{ip}** {num}[b-a]").1, "b-a");
    }

    #[test]
    fn each_fault_has_its_own_words() {
        let what = |t: &str| refused(t).0;
        assert_eq!(what("Failed (password"), "unclosed group: it is opened here");
        assert_eq!(what("a)"), "a `)` without its `(`");
        assert_eq!(what("[a"), "unclosed class: it is opened here");
        assert_eq!(what("*a"), "`*` repeats nothing");
        assert_eq!(
            what(r"(a)\1"),
            r"the back-reference `\1` is not supported (every rule runs in linear time)"
        );
        assert_eq!(what("a{3,2}"), "the repetition `{3,2}` has its bounds the wrong way round");
        assert_eq!(what("(?<a>x)(?<a>y)"), "the capture `a` is named twice");
        assert_eq!(what(r"\p{Klingon}"), r"unknown Unicode class `\p{Klingon}`");
        assert_eq!(what("a\\"), r"a `\` at the end escapes nothing");
        assert_eq!(what("((a{1,1000}){1,1000}){1,1000}"), "the compiled regex is larger than 4 MiB");
        let (what, _, hint) = refused("\u{8}ERROR\u{8}");
        assert_eq!(what, r"it contains a backspace character: in double quotes TOML reads `\b` as one");
        assert_eq!(hint, r"write it in single quotes, as in match = '\bERROR\b'");
    }

    #[test]
    fn only_what_accepts_every_line_accepts_everything() {
        let all = |t: &str| Pattern::new(t).unwrap().accepts_everything();
        assert!(all("") && all(".*") && all("a*") && !all("^$") && !all(".+") && !all("x"));
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics_and_every_fault_lies_in_the_text(text in r"[a-z0-9\\(){}\[\]?<>!=^$*+|. é,]{0,30}") {
            if let Err(f) = Pattern::new(&text) {
                assert!(text.get(f.span.clone()).is_some(), "{f:?}");
                assert!(!f.what.contains('\n'));
            }
        }

        #[test]
        fn pieces_anywhere_never_panic(parts in proptest::collection::vec(
            proptest::sample::select(vec!["{ip}", "{user}", "(", ")", "a", "[", "]", "{2}", "\\", "|", "{x}", "*", "é"]), 0..10)) {
            let text = parts.concat();
            if let Err(f) = Pattern::new(&text) {
                assert!(text.get(f.span.clone()).is_some(), "{f:?}");
            }
        }
    }
}
