//! One rule, ready to judge a line and to make a hit of it.
//!
//! What a rule does not ask for is not made: captures only by the names that its key or its message uses, the kind
//! only where it is in the key. A storm is a million calls of [`Rule::fate`].

use std::path::Path;
use std::sync::{Arc, OnceLock};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use regex::bytes::CaptureLocations;

use super::literal::{self, ByStride};
use super::mask;
use super::own::is_own;
use super::spec::{By, RuleSpec};
use crate::hit::{CAPTURE_BYTES, LINE_BYTES};

/// A key's value where its capture took no part.
pub(super) const NONE: &str = "(none)";

/// One rule.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) spec: RuleSpec,
    pub(super) literals: ByStride,
    only: Option<Only>,
    /// Group numbers of `spec.captures`; `None` for a name that the pattern lacks.
    captures: Box<[Option<usize>]>,
    /// What makes the key.
    by: Box<[Part]>,
    /// No group is asked for: whether it matches is enough.
    plain: bool,
    /// What its literals read like, once somebody asked.
    pub(super) texts: OnceLock<Arc<[String]>>,
}

#[derive(Debug)]
enum Part {
    Group(Option<usize>),
    File,
    Host,
    Kind,
}

/// The files of a rule with files of its own.
#[derive(Debug)]
struct Only {
    globs: GlobSet,
    /// Those that are no glob are taken by the letter.
    plain: Vec<String>,
}

/// How a line fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    NoMatch,
    /// It matches, but the agent wrote the line itself.
    Own,
    /// By the exclude of this index.
    Excluded(usize),
    Hit,
}

/// Where a line comes from, as keys tell it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin<'a> {
    pub(super) file: &'a str,
    pub(super) host: &'a str,
}

impl Rule {
    pub(super) fn new(spec: RuleSpec) -> Rule {
        let group = |name: &str| spec.pattern.regex.capture_names().position(|n| n == Some(name));
        let captures: Box<[_]> = spec.captures.iter().map(|c| group(c)).collect();
        let by: Box<[Part]> = spec
            .by
            .iter()
            .map(|by| match by {
                By::Capture(name) => Part::Group(group(name)),
                By::File => Part::File,
                By::Host => Part::Host,
                By::Kind => Part::Kind,
            })
            .collect();
        let plain = captures.is_empty() && !by.iter().any(|p| matches!(p, Part::Group(_)));
        let literals = spec.pattern.hir().map_or_else(ByStride::default, |hir| literal::literals(&hir));
        let only = (!spec.only_files.is_empty()).then(|| Only::new(&spec.only_files));
        Rule { spec, literals, only, captures, by, plain, texts: OnceLock::new() }
    }

    /// It reads this file of its sources.
    pub(super) fn reads(&self, file: &str) -> bool {
        self.only
            .as_ref()
            .is_none_or(|o| o.globs.is_match(Path::new(file)) || o.plain.iter().any(|p| p == file))
    }

    /// Judges a line without its line end; after [`Fate::Hit`], `locs` holds the groups, where any are asked for.
    #[inline]
    pub(super) fn fate(&self, line: &[u8], locs: &mut CaptureLocations) -> Fate {
        let regex = &self.spec.pattern.regex;
        let matched =
            if self.plain { regex.is_match(line) } else { regex.captures_read(locs, line).is_some() };
        if !matched {
            return Fate::NoMatch;
        }
        if is_own(line) {
            return Fate::Own;
        }
        match self.spec.exclude.iter().position(|e| e.regex.is_match(line)) {
            Some(n) => Fate::Excluded(n),
            None => Fate::Hit,
        }
    }

    /// The values of the key.
    pub(super) fn key(&self, line: &[u8], locs: &CaptureLocations, origin: Origin<'_>) -> Box<[Box<str>]> {
        self.by
            .iter()
            .map(|part| match part {
                Part::Group(g) => g.and_then(|g| value(line, locs, g)).unwrap_or_else(|| NONE.into()),
                Part::File => cut(origin.file.as_bytes(), CAPTURE_BYTES),
                Part::Host => cut(origin.host.as_bytes(), CAPTURE_BYTES),
                Part::Kind => mask::kind(&line[..line.len().min(LINE_BYTES)]).into(),
            })
            .collect()
    }

    /// The captures that travel with a hit.
    pub(super) fn captured(&self, line: &[u8], locs: &CaptureLocations) -> Box<[Option<Box<str>>]> {
        self.captures.iter().map(|g| g.and_then(|g| value(line, locs, g))).collect()
    }
}

impl Only {
    fn new(files: &[String]) -> Only {
        let mut globs = GlobSetBuilder::new();
        let mut plain = Vec::new();
        for file in files {
            match GlobBuilder::new(file).literal_separator(true).build() {
                Ok(glob) => _ = globs.add(glob),
                Err(_) => plain.push(file.clone()),
            }
        }
        let globs = globs.build().unwrap_or_else(|_| {
            plain = files.to_vec();
            GlobSet::empty()
        });
        Only { globs, plain }
    }
}

fn value(line: &[u8], locs: &CaptureLocations, group: usize) -> Option<Box<str>> {
    let (start, end) = locs.get(group)?;
    Some(cut(&line[start..end], CAPTURE_BYTES))
}

/// Text of at most `most` bytes, invalid UTF-8 replaced, `…` at a cut.
pub(super) fn cut(bytes: &[u8], most: usize) -> Box<str> {
    // a replaced byte takes three; what is behind `most` bytes is never needed
    let head = &bytes[..bytes.len().min(most)];
    if let Ok(text) = std::str::from_utf8(head)
        && head.len() == bytes.len()
    {
        return text.into();
    }
    let whole = bytes.len() <= most;
    let text = String::from_utf8_lossy(if whole { bytes } else { char_end(head) });
    if whole && text.len() <= most {
        return text.into_owned().into();
    }
    let mut end = text.len().min(most - '…'.len_utf8());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let mut out = String::with_capacity(end + '…'.len_utf8());
    out.push_str(&text[..end]);
    out.push('…');
    out.into()
}

/// `bytes` without a character that the cut split.
fn char_end(bytes: &[u8]) -> &[u8] {
    match std::str::from_utf8(bytes) {
        Err(e) if e.error_len().is_none() => &bytes[..e.valid_up_to()],
        _ => bytes,
    }
}

/// What happens to a line of an inline test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LineVerdict {
    /// `match` does not match it.
    Nothing,
    /// It would be a hit but for the `exclude` of this index, from 0.
    Excluded(usize),
    /// A hit, with every named capture of the pattern in its order; `None` where one took no part.
    Hit {
        /// Name and value.
        captures: Vec<(String, Option<String>)>,
    },
}

/// Judges one line, without its line end, by one rule: what an inline test asks.
pub fn test_line(spec: &RuleSpec, line: &[u8]) -> LineVerdict {
    let regex = &spec.pattern.regex;
    let Some(caps) = regex.captures(line) else { return LineVerdict::Nothing };
    if let Some(n) = spec.exclude.iter().position(|e| e.regex.is_match(line)) {
        return LineVerdict::Excluded(n);
    }
    let named = regex.capture_names().flatten();
    let captures = named
        .map(|name| {
            let value = caps.name(name).map(|m| cut(m.as_bytes(), CAPTURE_BYTES).into_string());
            (name.to_owned(), value)
        })
        .collect();
    LineVerdict::Hit { captures }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_falls_between_characters_and_shows() {
        assert_eq!(&*cut(b"abc", 3), "abc");
        assert_eq!(&*cut("aäöüß".as_bytes(), 7), "aä…");
        assert_eq!(&*cut(b"a\xffb", 10), "a\u{fffd}b");
        for n in 4..40 {
            for text in ["ä".repeat(30).into_bytes(), vec![0xff; 50], b"x\xe2\x84".repeat(9)] {
                let c = cut(&text, n);
                assert!(c.len() <= n, "{n}: {c}");
            }
        }
    }
}
