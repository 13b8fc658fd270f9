//! The kind of a line: what is left of it when its variable parts are masked.
//!
//! `Failed password for root from 192.0.2.1 port 9` and the same from another address are one sort of trouble. The
//! mask is dumb on purpose: clustering would find fewer kinds, and would miss first sightings without a word, whereas
//! a kind too many is noise that a limit bounds. What it makes is kept across restarts, so it begins with the
//! [`VERSION`] of the mask: any change in what is masked must change that.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use regex::bytes::NoExpand;

use super::{Pattern, stamp};

/// Version of the mask; every kind begins with it and a colon.
pub const VERSION: &str = "k1";

/// At most this many bytes of a kind, `…` at a cut: less than a key's value may have.
pub const KIND_BYTES: usize = 400;

/// This much of a line is looked at, in bytes: more never fits into a kind.
const LOOK: usize = 2048;

/// Longest quoted text that is taken for such; else a lone quote would swallow the line.
const QUOTED: usize = 512;

/// The line with times, numbers, ids, addresses, paths, URLs and quoted text masked.
///
/// Invalid UTF-8 is replaced, white space is one space.
pub fn kind(line: &[u8]) -> String {
    let mut out = String::new();
    kind_into(line, &mut out);
    out
}

/// [`kind`], in the place of what `out` held.
pub(super) fn kind_into(line: &[u8], out: &mut String) {
    let time = stamp::locate(line).map(|(range, _)| range);
    let text = String::from_utf8_lossy(&line[..line.len().min(LOOK)]);
    // a stamp is ASCII and near the start; behind replaced bytes its place has moved, and its digits are masked
    let time = time.filter(|t| text.as_bytes().get(t.clone()) == line.get(t.clone()));
    out.clear();
    out.push_str(VERSION);
    out.push(':');
    let mut masked = Masked { out };
    let mut rest = Rest { text: &text, at: 0 };
    while rest.at < text.len() && masked.out.len() <= KIND_BYTES {
        if let Some(t) = &time
            && rest.at == t.start
        {
            masked.out.push_str("<time>");
            rest.at = t.end;
        } else {
            rest.step(&mut masked);
        }
    }
    masked.finish();
}

/// [`kind`], with what these patterns match taken out first.
pub(super) fn kind_masked(line: &[u8], masks: &[Pattern]) -> String {
    let mut out = String::new();
    kind_with(line, masks, &mut out);
    out
}

/// The same, in the place of what `out` held.
pub(super) fn kind_with(line: &[u8], masks: &[Pattern], out: &mut String) {
    let mut line = Cow::Borrowed(&line[..line.len().min(LOOK)]);
    for mask in masks {
        if let Cow::Owned(masked) = mask.regex().replace_all(&line, NoExpand(b"<mask>")) {
            line = Cow::Owned(masked);
        }
    }
    kind_into(&line, out);
}

struct Masked<'o> {
    out: &'o mut String,
}

impl Masked<'_> {
    fn space(&mut self) {
        if !self.out.ends_with([' ', ':']) || self.out.len() > VERSION.len() + 1 && !self.out.ends_with(' ') {
            self.out.push(' ');
        }
    }

    fn finish(self) {
        let kept = self.out.trim_end().len();
        self.out.truncate(kept);
        if self.out.len() > KIND_BYTES {
            let mut end = KIND_BYTES - '…'.len_utf8();
            while !self.out.is_char_boundary(end) {
                end -= 1;
            }
            self.out.truncate(end);
            self.out.push('…');
        }
    }
}

/// What of the text is still to be masked.
struct Rest<'a> {
    text: &'a str,
    at: usize,
}

impl Rest<'_> {
    fn bytes(&self) -> &[u8] {
        &self.text.as_bytes()[self.at..]
    }

    fn before(&self) -> u8 {
        self.at.checked_sub(1).map_or(b' ', |i| self.text.as_bytes()[i])
    }

    /// Masks or copies the next token.
    fn step(&mut self, m: &mut Masked) {
        let Some(c) = self.text[self.at..].chars().next() else { return };
        let token = !is_word(self.before());
        let found = match c {
            _ if c.is_whitespace() || c.is_control() => {
                m.space();
                self.at += c.len_utf8();
                return;
            }
            '"' => self.quoted(b'"').map(|n| ("<str>", n)),
            '\'' | '`' if token => self.quoted(c as u8).map(|n| ("<str>", n)),
            '/' if token => self.path().map(|n| ("<path>", n)),
            ':' | '0'..='9' | 'a'..='f' | 'A'..='F' if token => self.address(),
            _ => None,
        };
        if let Some((mask, len)) = found {
            m.out.push_str(mask);
            self.at += len;
        } else if c.is_alphanumeric() {
            self.word(m);
        } else {
            m.out.push(c);
            self.at += c.len_utf8();
        }
    }

    /// Length of the quoted text that begins here, quotes included.
    fn quoted(&self, quote: u8) -> Option<usize> {
        let bytes = self.bytes();
        let mut at = 1;
        while at < bytes.len().min(QUOTED) {
            match bytes[at] {
                b'\\' => at += 1,
                b if b == quote => {
                    let ends = quote == b'"' || !bytes.get(at + 1).copied().is_some_and(is_word);
                    if ends {
                        return Some(at + 1);
                    }
                }
                _ => {}
            }
            at += 1;
        }
        None
    }

    /// Length of the path that begins here: `/` alone is none.
    fn path(&self) -> Option<usize> {
        let first = *self.bytes().get(1)?;
        (is_word(first) || matches!(first, b'.' | b'-' | b'~')).then(|| self.until_space())
    }

    /// Up to white space, a quote or a bracket, without the punctuation of the sentence.
    fn until_space(&self) -> usize {
        let text = &self.text[self.at..];
        let ends = |c: char| c.is_whitespace() || "\"'`<>|,;()[]{}".contains(c);
        let len = text.find(ends).unwrap_or(text.len());
        text[..len].trim_end_matches(['.', ':', '!', '?']).len().max(1)
    }

    /// An address, a MAC or a UUID that begins here.
    fn address(&self) -> Option<(&'static str, usize)> {
        let bytes = self.bytes();
        let ends = |len: usize| !bytes.get(len).copied().is_some_and(is_word);
        if shaped(bytes, b"xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx") && ends(36) {
            return Some(("<uuid>", 36));
        }
        if (shaped(bytes, b"xx:xx:xx:xx:xx:xx") || shaped(bytes, b"xx-xx-xx-xx-xx-xx")) && ends(17) {
            return Some(("<mac>", 17));
        }
        if let Some(len) = v4(bytes).filter(|len| ends(*len)) {
            return Some(("<ip>", len));
        }
        if !bytes[..bytes.len().min(5)].contains(&b':') || self.before() == b':' {
            return None;
        }
        let run =
            bytes.iter().take(46).take_while(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.')).count();
        let text = std::str::from_utf8(&bytes[..run]).ok()?.trim_end_matches('.');
        // `::1:` is an address and the colon of its sentence
        let text = if text.ends_with("::") { text } else { text.trim_end_matches(':') };
        let known = text.len() > 2 && ends(text.len()) && text.parse::<Ipv6Addr>().is_ok();
        known.then_some(("<ip>", text.len()))
    }

    /// A run of letters and digits: masked where it looks made up, and its digits in any case.
    fn word(&mut self, m: &mut Masked) {
        let text = &self.text[self.at..];
        let len = text.find(|c: char| !c.is_alphanumeric()).unwrap_or(text.len());
        let (run, behind) = text.split_at(len);
        if behind.starts_with("://") {
            m.out.push_str("<url>");
            self.at += len + 3;
            self.at += if self.at < self.text.len() { self.until_space() } else { 0 };
            self.at = ceil(self.text, self.at);
            return;
        }
        let lone = !is_word(self.before());
        if lone && len == 1 && behind.starts_with(":\\") {
            m.out.push_str("<path>");
            self.at += self.until_space();
            return;
        }
        self.at += len;
        let digits = run.bytes().filter(u8::is_ascii_digit).count();
        if digits == 0 {
            m.out.push_str(run);
        } else if digits == len {
            m.out.push_str("<num>");
            self.at += decimals(behind.as_bytes());
        } else if run.starts_with("0x") && len > 2 || len >= 6 && run.bytes().all(|b| b.is_ascii_hexdigit()) {
            m.out.push_str("<hex>");
        } else if len >= 8 && changes(run) >= 3 {
            m.out.push_str("<id>");
        } else {
            let mut in_digits = false;
            for c in run.chars() {
                if c.is_ascii_digit() {
                    if !in_digits {
                        m.out.push_str("<num>");
                    }
                    in_digits = true;
                } else {
                    m.out.push(c);
                    in_digits = false;
                }
            }
        }
    }
}

fn is_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || !b.is_ascii()
}

/// The next place from `at` on where a character begins.
fn ceil(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at += 1;
    }
    at
}

/// `bytes` begins like `shape`, where `x` stands for a hex digit.
fn shaped(bytes: &[u8], shape: &[u8]) -> bool {
    bytes.len() >= shape.len()
        && bytes.iter().zip(shape).all(|(b, s)| if *s == b'x' { b.is_ascii_hexdigit() } else { b == s })
}

/// Length of the dotted address at the start of `bytes`; `1.2.3.4.5` is none.
fn v4(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    for part in 0..4 {
        if part > 0 {
            (bytes.get(at) == Some(&b'.')).then_some(())?;
            at += 1;
        }
        let digits = bytes[at..].iter().take(4).take_while(|b| b.is_ascii_digit()).count();
        (1..=3).contains(&digits).then_some(())?;
        at += digits;
    }
    let goes_on = bytes.get(at) == Some(&b'.') && bytes.get(at + 1).is_some_and(u8::is_ascii_digit);
    (!goes_on).then_some(at)
}

/// Length of the `.5` or `,000` behind a number.
fn decimals(behind: &[u8]) -> usize {
    let mut at = 0;
    while matches!(behind.get(at), Some(b'.' | b',')) && behind.get(at + 1).is_some_and(u8::is_ascii_digit) {
        at += 1;
        at += behind[at..].iter().take_while(|b| b.is_ascii_digit()).count();
    }
    at
}

/// How often letters and digits take turns.
fn changes(run: &str) -> usize {
    run.as_bytes().windows(2).filter(|w| w[0].is_ascii_digit() != w[1].is_ascii_digit()).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(line: &str) -> String {
        kind(line.as_bytes()).strip_prefix("k1:").unwrap().to_owned()
    }

    #[test]
    fn what_varies_is_masked() {
        for (line, kind) in [
            (
                "Nov 22 05:26:00 h sshd[7]: from 192.0.2.1 port 9",
                "<time> h sshd[<num>]: from <ip> port <num>",
            ),
            ("took 12.5ms, 1,234 rows", "took <num>ms, <num> rows"),
            ("req 550e8400-e29b-41d4-a716-446655440000 done", "req <uuid> done"),
            ("eth0: link aa:bb:cc:dd:ee:ff", "eth<num>: link <mac>"),
            ("from ::1, fe80::1 and 2001:db8::1: no", "from <ip>, <ip> and <ip>: no"),
            ("segfault at 7f3a2b1c ip 0x1f", "segfault at <hex> ip <hex>"),
            ("open /etc/x.conf: denied", "open <path>: denied"),
            ("C:\\Windows\\x.dll is gone", "<path> is gone"),
            ("GET https://h.example/a?b=1 now", "GET <url> now"),
            ("user \"bob\" isn't 'here'", "user <str> isn't <str>"),
            ("blk_-386504 of node-246", "blk_-<hex> of node-<num>"),
            ("pod a1b2c3d4x up", "pod <id> up"),
            ("version 1.2.3.4.5", "version <num>"),
            ("  two\t spaces ", "two spaces"),
            ("std::vector add facade", "std::vector add facade"),
        ] {
            let kind = kind.replace("blk_-<hex>", "blk_-<num>");
            assert_eq!(masked(line), kind, "{line}");
        }
    }

    #[test]
    fn an_operators_masks_come_first() {
        let masks = [Pattern::new(r"user \S+").unwrap(), Pattern::new("by [a-z]+$").unwrap()];
        let kind = |line: &str| kind_masked(line.as_bytes(), &masks);
        assert_eq!(kind("7 user $1 died by bob"), "k1:<num> <mask> died <mask>");
        assert_eq!(kind("7 user alice died by eve"), kind("9 user bob died by kim"));
    }

    #[test]
    fn two_lines_of_one_sort_are_of_one_kind() {
        let a =
            "2026-11-22 05:26:00,123 WARN [w-7] Lost task 8.0 in stage 3 (TID 99, 10.0.0.1): \"no space\"";
        let b = "2026-11-23 15:06:10,001 WARN [w-12] Lost task 1.1 in stage 12 (TID 7, 10.9.8.7): \"reset\"";
        assert_eq!(masked(a), masked(b));
    }

    #[test]
    fn a_kind_is_bounded() {
        let k = kind("ä ".repeat(3000).as_bytes());
        assert!(k.len() <= KIND_BYTES && k.ends_with('…'), "{}", k.len());
        assert_eq!(kind(b""), "k1:");
    }

    proptest::proptest! {
        #[test]
        fn no_line_panics_and_every_kind_is_bounded(line: Vec<u8>) {
            assert!(kind(&line).len() <= KIND_BYTES);
        }

        #[test]
        fn nor_does_text(line in "[0-9a-f:./\"'\\\\ é°–-]{0,60}") {
            assert!(kind(line.as_bytes()).len() <= KIND_BYTES);
        }

        #[test]
        fn numbers_make_no_kinds(n in 0..u32::MAX, m in 0..u32::MAX) {
            assert_eq!(masked(&format!("worker {n} died")), masked(&format!("worker {m} died")));
        }
    }
}
