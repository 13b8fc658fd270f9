//! What must not leave the machine is taken out here: passwords, tokens, keys, card numbers, credentials in URLs.
//!
//! The regexes of rules see the raw line; everything that is kept or sent went through a [`Redactor`] first.
//! `telltale` knows the words that secrets come with, `issued` the prefixes of vendors, `card` the numbers that need no word, `extra` what the
//! operator adds. Nearly every line is spared all of it: one pass of an automaton finds no word, one look at each
//! twelfth byte no number. The surprise: what stands in a secret's place is itself never searched, which is why
//! redacting twice is redacting once, also by a pattern of the operator's that would accept the word `redacted`.

mod card;
mod extra;
mod issued;
mod lines;
mod telltale;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use regex::Regex;

pub use self::extra::{Extra, ExtraFault, KEEP};
use self::telltale::Telltales;

/// What stands in the place of a secret.
pub const REDACTED: &str = "[redacted]";

static TELLTALES: LazyLock<Telltales> = LazyLock::new(Telltales::new);

/// An address as people write it; `ssh git@host` looks the same and goes too.
static EMAIL: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\b[A-Za-z0-9][A-Za-z0-9._%+-]*@(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,24}\b").expect("it is tested")
});

/// What one secret left behind may make another stand out: a text is gone through until nothing more is found, and
/// this often at most, so that its cost stays in proportion to its length. Two are the rule, three were seen.
const ROUNDS: usize = 8;

/// The built-in list, which is compiled once, and what `[redact]` adds to it.
#[derive(Clone, Default)]
pub struct Redactor {
    extra: Arc<[Extra]>,
    emails: bool,
}

/// Without a pattern: an operator's may show what a secret looks like.
impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redactor")
    }
}

/// A text without its secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clean<'a> {
    /// Borrowed where there was none.
    pub text: Cow<'a, str>,
    /// How many were taken out.
    pub secrets: u32,
}

impl Redactor {
    /// The built-in list.
    pub fn new() -> Redactor {
        Redactor::default()
    }

    /// The built-in list, e-mail addresses if asked for, and the operator's own patterns.
    pub fn with(emails: bool, extra: Vec<Extra>) -> Redactor {
        Redactor { extra: extra.into(), emails }
    }

    /// `text` with every secret replaced; borrowed where there is none.
    ///
    /// Linear in the text: each byte of it is looked at by each pattern a bounded number of times. What comes out is at
    /// most eleven times as long as what went in.
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.clean(text).text
    }

    /// [`Redactor::redact`], with the number of secrets.
    pub fn clean<'a>(&self, text: &'a str) -> Clean<'a> {
        let mut clean = Clean { text: Cow::Borrowed(text), secrets: 0 };
        for _ in 0..ROUNDS {
            if !self.round(&mut clean) {
                break;
            }
        }
        clean
    }

    /// Looks for everything once; whether it found anything.
    fn round(&self, clean: &mut Clean<'_>) -> bool {
        let mut found = false;
        for extra in self.extra.iter() {
            let (ranges, matches) = extra.find(&clean.text);
            let before = clean.secrets;
            found |= clean.pass(ranges);
            // what is kept may stand in the middle: two places, one secret
            clean.secrets = clean.secrets.min(before + matches);
        }
        let numbers = card::find(&clean.text);
        found |= clean.pass(numbers);
        if self.emails && memchr::memchr(b'@', clean.text.as_bytes()).is_some() {
            let addresses = EMAIL.find_iter(&clean.text).map(|m| m.range()).collect();
            found |= clean.pass(addresses);
        }
        let told = TELLTALES.find(&clean.text);
        clean.pass(told) || found
    }

    /// A value that stood beside its name, clean: `hunter2` alone looks like any word, under `password` it does not.
    pub fn value<'a>(&self, name: &str, value: &'a str) -> Cow<'a, str> {
        if telltale::names_a_secret(name) && !value.is_empty() {
            return Cow::Borrowed(REDACTED);
        }
        self.redact(value)
    }
}

impl Clean<'_> {
    /// Takes these ranges out, in their order. Where one touches what was taken out before, that goes with it whole. Whether
    /// anything changed.
    fn pass(&mut self, ranges: Vec<Range<usize>>) -> bool {
        if ranges.is_empty() {
            return false;
        }
        let (Some(text), secrets) = cut_out(&self.text, ranges) else { return false };
        self.text = Cow::Owned(text);
        self.secrets = self.secrets.saturating_add(secrets);
        true
    }
}

/// `text` with these ascending ranges replaced, and how many of them were not replaced already; `None` where nothing
/// changes.
fn cut_out(text: &str, ranges: Vec<Range<usize>>) -> (Option<String>, u32) {
    let mut gone: Vec<Range<usize>> = Vec::with_capacity(ranges.len());
    let mut known = text.match_indices(REDACTED).map(|(at, _)| at..at + REDACTED.len()).peekable();
    let mut secrets = 0;
    for mut range in ranges {
        let inside = known_at(text, &range);
        while known.next_if(|k| k.end <= range.start).is_some() {}
        while let Some(k) = known.next_if(|k| k.start < range.end) {
            range = range.start.min(k.start)..range.end.max(k.end);
        }
        if !inside {
            secrets += 1;
        }
        match gone.last_mut() {
            Some(last) if range.start < last.end => last.end = last.end.max(range.end),
            _ => gone.push(range),
        }
    }
    if gone.iter().all(|g| &text[g.clone()] == REDACTED) {
        return (None, 0);
    }
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for range in gone {
        out.push_str(&text[at..range.start]);
        out.push_str(REDACTED);
        at = range.end;
    }
    out.push_str(&text[at..]);
    (Some(out), secrets)
}

/// This range is within what was taken out before.
fn known_at(text: &str, range: &Range<usize>) -> bool {
    let from = text.floor_char_boundary(range.start.saturating_sub(REDACTED.len()));
    let to = text.ceil_char_boundary((range.end + REDACTED.len()).min(text.len()));
    let around = &text[from..to];
    around
        .match_indices(REDACTED)
        .any(|(at, _)| from + at <= range.start && range.end <= from + at + REDACTED.len())
}

#[cfg(test)]
mod tests;
