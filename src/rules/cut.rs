//! How much of a line or a capture travels with a hit, and how a cut looks.
//!
//! A line may be of any length and need not be text; what is kept of it for `rule` and `pass` is both. The surprise: a
//! byte that is no UTF-8 grows to three when it is replaced, so the bound is held after that.

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
