//! Private keys that lie across lines: one alone of them looks like any base64.
//!
//! A record that was joined holds its key whole, and `telltale` finds both ends of it. The lines around a hit are
//! lines by themselves; there the key may begin above the first or end below the last.

use super::{REDACTED, Redactor};

/// A line of a key has at least so many characters, but for its last.
const LINE: usize = 16;

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const KEY: &str = "PRIVATE KEY";

/// Where the lines of a key begin that end just before the end of `text`; `None` where there are none.
pub(super) fn keys_before(text: &str) -> Option<usize> {
    let mut from = text.len();
    let mut last = true;
    let mut rest = text.strip_suffix('\n').unwrap_or(text);
    loop {
        let start = rest.rfind('\n').map_or(0, |n| n + 1);
        let line = rest[start..].trim_end_matches('\r');
        let least = if last { 1 } else { LINE };
        if line.len() < least || !line.bytes().all(base64) {
            break;
        }
        (from, last) = (start, false);
        match start.checked_sub(1) {
            Some(before) => rest = &rest[..before],
            None => break,
        }
    }
    let taken = text[from..].trim_end();
    (taken.len() >= LINE).then_some(from)
}

fn base64(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=')
}

impl Redactor {
    /// Lines that follow each other, each clean, and how many secrets were taken out. A key that lies across them
    /// is one.
    pub fn lines<'a>(&self, lines: impl IntoIterator<Item = &'a str>) -> (Vec<String>, u32) {
        let lines: Vec<&str> = lines.into_iter().collect();
        let opens =
            |l: &str| l.rfind(BEGIN).is_some_and(|at| l[at..].contains(KEY) && !l[at..].contains(END));
        let closes = |l: &str| l.find(END).is_some_and(|at| l[at..].contains(KEY));
        let mut inside = vec![false; lines.len()];
        let mut secrets = 0;
        let mut open = false;
        for (n, line) in lines.iter().enumerate() {
            if open && closes(line) {
                open = false;
            } else if open {
                inside[n] = true;
            } else if closes(line) && !line.contains(BEGIN) {
                // it began above the first line
                let whole = |l: &&str| l.len() >= LINE && l.bytes().all(base64);
                let above = lines[..n].iter().rev().skip(1).take_while(|l| whole(l)).count();
                let last =
                    n.checked_sub(1).is_some_and(|n| !lines[n].is_empty() && lines[n].bytes().all(base64));
                let first = n - if last { above + 1 } else { 0 };
                inside[first..n].fill(true);
                secrets += u32::from(first < n);
            }
            if opens(line) {
                open = true;
                secrets += u32::from(n + 1 < lines.len() && !closes(lines[n + 1]));
            }
        }
        let clean = lines.iter().zip(inside).map(|(line, inside)| {
            if inside {
                return REDACTED.to_owned();
            }
            let clean = self.clean(line);
            secrets += clean.secrets;
            clean.text.into_owned()
        });
        (clean.collect(), secrets)
    }
}
