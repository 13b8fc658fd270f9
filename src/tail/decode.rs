//! What the bytes of a file mean: its encoding, and where its lines end in it.
//!
//! In every encoding but UTF-16 a newline is the byte `\n` and nothing else holds that byte, so lines are cut before
//! they are decoded and positions stay those of the bytes. In UTF-16 a newline is a unit of two bytes at an even place,
//! and the byte `\n` is half of many characters.
//!
//! UTF-8 is never decoded: what is not valid is matched as the bytes that it is.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};

/// The longest byte order mark.
const MARK: usize = 3;

/// What a file is written in, and how long its byte order mark is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Script {
    pub(super) encoding: &'static Encoding,
    pub(super) mark: u8,
}

impl Script {
    /// From the first bytes of a file (at least three, or all that there are) and what its source says. `None`: they
    /// may yet become a byte order mark.
    pub(super) fn of(head: &[u8], declared: &'static Encoding) -> Option<Script> {
        if let Some((encoding, mark)) = Encoding::for_bom(head) {
            return Some(Script { encoding, mark: mark as u8 });
        }
        let begun = head.len() < MARK
            && [b"\xef\xbb".as_slice(), b"\xff", b"\xfe"].iter().any(|m| m.starts_with(head));
        (!begun || head.is_empty()).then_some(Script { encoding: declared, mark: 0 })
    }

    /// Its lines can be searched as they stand.
    pub(super) fn is_utf8(self) -> bool {
        self.encoding == UTF_8
    }

    /// Its units are two bytes.
    pub(super) fn is_wide(self) -> bool {
        self.encoding == UTF_16LE || self.encoding == UTF_16BE
    }

    /// How many bytes a unit of it has.
    pub(super) fn unit(self) -> usize {
        if self.is_wide() { 2 } else { 1 }
    }

    /// How many of `bytes` bytes are whole units.
    pub(super) fn whole(self, bytes: usize) -> usize {
        bytes - bytes % self.unit()
    }

    /// Where the first newline at or after `at` begins, and where the next line does. `data` begins at an even place.
    pub(super) fn newline(self, data: &[u8], at: usize) -> Option<(usize, usize)> {
        if !self.is_wide() {
            let found = at + memchr::memchr(b'\n', data.get(at..)?)?;
            return Some((found, found + 1));
        }
        let low = usize::from(self.encoding == UTF_16BE);
        memchr::memchr_iter(b'\n', data.get(at..)?).map(|n| at + n).find_map(|n| {
            let unit = n.checked_sub(low)?;
            (unit % 2 == 0 && unit >= at && data.get(unit + 1 - low) == Some(&0)).then_some((unit, unit + 2))
        })
    }

    /// What ends a line.
    pub(super) fn line_end(self) -> &'static [u8] {
        match self.is_wide() {
            true if self.encoding == UTF_16BE => b"\0\n",
            true => b"\n\0",
            false => b"\n",
        }
    }

    /// Where the last line of `data` begins; `None` without a newline. `data` begins at the file's `offset`.
    pub(super) fn last_line(self, data: &[u8], offset: u64) -> Option<usize> {
        if !self.is_wide() {
            return memchr::memrchr(b'\n', data).map(|n| n + 1);
        }
        let odd = (offset % 2) as usize;
        let data = data.get(odd..)?;
        let (mut last, mut at) = (None, 0);
        while let Some((_, next)) = self.newline(data, at) {
            last = Some(next + odd);
            at = next;
        }
        last
    }

    /// How many of the first bytes of `data` are NULs that stand where a line would begin: a hole, no text.
    pub(super) fn nuls(self, data: &[u8]) -> usize {
        let nuls = data.iter().position(|&b| b != 0).unwrap_or(data.len());
        if self.is_wide() { nuls & !1 } else { nuls }
    }

    /// The line as UTF-8, or as it is if that is what it should be.
    pub(super) fn text(self, line: &[u8]) -> Cow<'_, [u8]> {
        if self.is_utf8() {
            return Cow::Borrowed(line);
        }
        match self.encoding.decode_without_bom_handling(line).0 {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf16(text: &str, big: bool) -> Vec<u8> {
        text.encode_utf16().flat_map(|u| if big { u.to_be_bytes() } else { u.to_le_bytes() }).collect()
    }

    #[test]
    fn a_mark_says_it_louder_than_the_source_and_half_of_one_says_nothing_yet() {
        let of =
            |head: &[u8]| Script::of(head, encoding_rs::WINDOWS_1252).map(|s| (s.encoding.name(), s.mark));
        assert_eq!(of(b"\xef\xbb\xbfx"), Some(("UTF-8", 3)));
        assert_eq!(of(b"\xff\xfea\0"), Some(("UTF-16LE", 2)));
        assert_eq!(of(b"\xfe\xff\0a"), Some(("UTF-16BE", 2)));
        assert_eq!(of(b"abc"), Some(("windows-1252", 0)));
        assert_eq!(of(b"\xffx"), Some(("windows-1252", 0)));
        assert_eq!(of(b""), Some(("windows-1252", 0)));
        assert_eq!((of(b"\xff"), of(b"\xef\xbb")), (None, None));
    }

    #[test]
    fn a_wide_newline_is_a_unit_and_not_a_byte() {
        for (encoding, big) in [(UTF_16LE, false), (UTF_16BE, true)] {
            let script = Script { encoding, mark: 0 };
            // ੁ is U+0A41, ਊ is U+0A0A: both hold the byte of a newline.
            let data = utf16("aੁ\u{a0a}\nb\n\u{a00}c", big);
            assert_eq!(script.newline(&data, 0), Some((6, 8)), "{big}");
            assert_eq!(script.newline(&data, 8), Some((10, 12)), "{big}");
            assert_eq!(script.newline(&data, 12), None, "{big}");
            assert_eq!(script.last_line(&data, 0), Some(12), "{big}");
            assert_eq!(script.last_line(&data[1..], 1), Some(11), "{big}");
            assert_eq!(script.text(&data[..6]), "aੁ\u{a0a}".as_bytes());
        }
    }

    #[test]
    fn other_encodings_are_cut_by_bytes_and_read_as_text() {
        let latin = Script { encoding: encoding_rs::WINDOWS_1252, mark: 0 };
        assert_eq!(latin.text(b"caf\xe9"), "café".as_bytes());
        let sjis = Script { encoding: encoding_rs::SHIFT_JIS, mark: 0 };
        assert_eq!(sjis.text(b"\x83\x47\x83\x89\x81\x5b"), "エラー".as_bytes());
        let utf8 = Script { encoding: UTF_8, mark: 0 };
        assert_eq!(utf8.text(b"caf\xe9"), b"caf\xe9".as_slice());
    }
}
