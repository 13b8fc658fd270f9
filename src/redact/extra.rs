//! One of the operator's own patterns: what it matches goes, but for the group `keep`.
//!
//! `(?<keep>session=)\S+` leaves `session=[redacted]`. A pattern that accepts the empty text is refused: it would
//! take out nothing everywhere, and say so at every character.

use std::ops::Range;

use regex::{Regex, RegexBuilder};

/// Name of the group that stays.
pub const KEEP: &str = "keep";

/// Compiled size limit of one pattern, in bytes: the same as a rule's.
const SIZE_LIMIT: usize = 4 << 20;

/// One pattern.
#[derive(Clone, Debug)]
pub struct Extra {
    regex: Regex,
    /// Index of the group that stays.
    keep: Option<usize>,
}

/// Why a pattern was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExtraFault {
    /// It accepts the empty text.
    #[error("it accepts every text (it matches the empty string)")]
    Empty,
    /// It can match in the middle of a character, or is too large.
    #[error("it can match half a character, or is too large")]
    Unusable,
}

impl Extra {
    /// Compiles a pattern whose named pieces are written out.
    pub fn new(pattern: &str) -> Result<Extra, ExtraFault> {
        let regex =
            RegexBuilder::new(pattern).size_limit(SIZE_LIMIT).build().map_err(|_| ExtraFault::Unusable)?;
        if regex.is_match("") {
            return Err(ExtraFault::Empty);
        }
        let keep = regex.capture_names().position(|n| n == Some(KEEP));
        Ok(Extra { regex, keep })
    }

    /// What is to go, and in how many matches.
    pub(super) fn find(&self, text: &str) -> (Vec<Range<usize>>, u32) {
        let Some(keep) = self.keep else {
            let all: Vec<_> =
                self.regex.find_iter(text).map(|m| m.range()).filter(|r| !r.is_empty()).collect();
            let matches = all.len() as u32;
            return (all, matches);
        };
        let (mut out, mut matches) = (Vec::new(), 0);
        for caps in self.regex.captures_iter(text) {
            let Some(whole) = caps.get(0) else { continue };
            let kept = caps.get(keep).map_or(whole.end()..whole.end(), |k| k.range());
            let gone = [whole.start()..kept.start, kept.end..whole.end()];
            let before = out.len();
            out.extend(gone.into_iter().filter(|r| !r.is_empty()));
            matches += u32::from(out.len() > before);
        }
        (out, matches)
    }
}
