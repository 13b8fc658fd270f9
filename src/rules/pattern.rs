//! One `match` or `exclude`: named pieces such as `{ip}` written out, then compiled as a linear-time regex.
//!
//! `{ip}` can never be valid in a Rust regex, so the spelling is free. Faults are reported in the operator's own
//! text: an offset behind a piece is mapped back.

use std::sync::Arc;

use regex::bytes::Regex;

/// Named pieces. Each captures under its own name (once a pattern; a second use does not capture).
pub const PIECES: [(&str, &str); 7] = [
    (
        "ip",
        r"(?:\d{1,3}\.){3}\d{1,3}|(?:[0-9A-Fa-f]{1,4}:){1,7}(?::|(?::?[0-9A-Fa-f]{1,4}){1,7})|::(?:[0-9A-Fa-f]{1,4}:){0,6}[0-9A-Fa-f]{1,4}",
    ),
    ("host", r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"),
    ("num", r"[+-]?\d+(?:\.\d+)?"),
    ("uuid", r"[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}"),
    ("word", r"\w+"),
    ("path", r"/[^\s\x22'<>|]*"),
    ("user", r"[A-Za-z0-9_][A-Za-z0-9_.@\\-]*\$?"),
];

/// Compiled size limit of one regex, in bytes: a hostile or careless repetition is refused, not tried.
const SIZE_LIMIT: usize = 4 << 20;

/// A compiled pattern.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// As the operator wrote it.
    pub text: Arc<str>,
    /// With its pieces written out.
    pub expanded: Arc<str>,
    /// Compiled, matching on bytes; `^ $` are the line's ends when searched line by line.
    pub regex: Regex,
}

/// Why a pattern was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternFault {
    /// Lower case, one line.
    pub what: String,
    /// Byte range in the operator's text.
    pub span: std::ops::Range<usize>,
    /// What to write instead.
    pub hint: Option<String>,
}

impl Pattern {
    /// Compiles the operator's text.
    pub fn new(text: &str) -> Result<Pattern, PatternFault> {
        let (expanded, regex) = compile(text)?;
        Ok(Pattern { text: text.into(), expanded: expanded.into(), regex })
    }

    /// Names of its captures, in order.
    pub fn capture_names(&self) -> Vec<String> {
        self.regex.capture_names().flatten().map(str::to_owned).collect()
    }

    /// It matches the empty string, and so every line.
    pub fn accepts_everything(&self) -> bool {
        self.regex.is_match(b"")
    }
}

fn compile(text: &str) -> Result<(String, Regex), PatternFault> {
    let regex = regex::bytes::RegexBuilder::new(text)
        .size_limit(SIZE_LIMIT)
        .build()
        .map_err(|e| PatternFault { what: e.to_string(), span: 0..text.len(), hint: None })?;
    Ok((text.to_owned(), regex))
}
