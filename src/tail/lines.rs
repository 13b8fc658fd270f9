//! Bytes of a file to complete lines, without looking at each line.
//!
//! The cost is one backward search for a newline per longest-line window (usually: per quantum), and one
//! search for the start of a NUL hole. A hole is what a writer leaves that was not told of a truncation, or a
//! filesystem after a power cut; it stands where a line would begin, and is no part of one. NULs at the very
//! end are left unread: a program that writes into a preallocated file fills them in later.

use memchr::{memchr, memmem, memrchr};

use crate::line::BlockEnd;

/// What became of a window of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Split {
    /// So many bytes are done with; what follows is read again next time.
    pub(super) consumed: usize,
    /// What follows is the rest of an over-long line.
    pub(super) skipping: bool,
    /// So many bytes after `consumed` are a line without its newline.
    pub(super) partial: usize,
    /// What follows is NULs to the end of the window.
    pub(super) nuls: bool,
    /// How many newlines ended a line, over-long ones counted when cut.
    pub(super) lines: u64,
}

/// Gives every complete line of `data` to `emit`, in as few pieces as there are interruptions: where the piece
/// begins, its bytes, and why it ends. `skipping` says that `data` begins inside an over-long line.
///
/// A line of exactly `max` bytes (its `\n` not counted) is whole; one of more is cut.
pub(super) fn split(
    data: &[u8],
    max: usize,
    skipping: bool,
    emit: impl FnMut(usize, &[u8], BlockEnd),
) -> Split {
    cut_up(data, max, skipping, true, emit)
}

/// The same of a stream, where a NUL is a byte like any other: nobody truncates a pipe.
pub(super) fn split_stream(
    data: &[u8],
    max: usize,
    skipping: bool,
    emit: impl FnMut(usize, &[u8], BlockEnd),
) -> Split {
    cut_up(data, max, skipping, false, emit)
}

fn cut_up(
    data: &[u8],
    max: usize,
    skipping: bool,
    may_have_holes: bool,
    mut emit: impl FnMut(usize, &[u8], BlockEnd),
) -> Split {
    let mut out = Split::default();
    let mut at = 0;
    if skipping {
        match memchr(b'\n', data) {
            Some(end) => at = end + 1,
            None => return Split { consumed: data.len(), skipping: true, ..out },
        }
    }
    let holes = memmem::Finder::new(b"\n\0");
    'line: while at < data.len() {
        if may_have_holes && data[at] == 0 {
            match data[at..].iter().position(|&b| b != 0) {
                Some(nuls) => at += nuls,
                None => return Split { consumed: at, nuls: true, ..out },
            }
        }
        let hole = if may_have_holes { holes.find(&data[at..]) } else { None };
        let segment = hole.map_or(data.len(), |hole| at + hole + 1);
        let start = at;
        while at < segment {
            let window = &data[at..segment.min(at.saturating_add(max).saturating_add(1))];
            if let Some(newline) = memrchr(b'\n', window) {
                at += newline + 1;
                continue;
            }
            whole(&data[start..at], start, &mut out, &mut emit);
            if window.len() <= max {
                return Split { consumed: at, partial: data.len() - at, ..out };
            }
            emit(at, &data[at..at + cut_at(&data[at..=at + max], max)], BlockEnd::Cut);
            out.lines += 1;
            match memchr(b'\n', &data[at + max..]) {
                Some(end) => at += max + end + 1,
                None => return Split { consumed: data.len(), skipping: true, ..out },
            }
            continue 'line;
        }
        whole(&data[start..at], start, &mut out, &mut emit);
    }
    Split { consumed: at, ..out }
}

fn whole(bytes: &[u8], start: usize, out: &mut Split, emit: &mut impl FnMut(usize, &[u8], BlockEnd)) {
    if !bytes.is_empty() {
        // Counting newlines runs at memory speed; it is the only pass that touches every line.
        out.lines += memchr::memchr_iter(b'\n', bytes).count() as u64;
        emit(start, bytes, BlockEnd::Whole);
    }
}

/// Where to cut a line of more than `max` bytes: not inside a UTF-8 character. `line` is `max + 1` bytes.
pub(super) fn cut_at(line: &[u8], max: usize) -> usize {
    let continues = |b: u8| b & 0xC0 == 0x80;
    let back = (0..4usize.min(max)).find(|back| !continues(line[max - back]));
    max - back.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pieces(data: &[u8], max: usize, skipping: bool) -> (Vec<(usize, String, BlockEnd)>, Split) {
        let mut got = vec![];
        let split = split(data, max, skipping, |at, bytes, end| {
            got.push((at, String::from_utf8_lossy(bytes).into_owned(), end));
        });
        (got, split)
    }

    #[test]
    fn whole_lines_leave_together_and_the_last_waits_for_its_newline() {
        let (got, split) = pieces(b"a\n\nb\r\nc", 10, false);
        assert_eq!(got, [(0, "a\n\nb\r\n".into(), BlockEnd::Whole)]);
        assert_eq!(split, Split { consumed: 6, partial: 1, lines: 3, ..Split::default() });
    }

    #[test]
    fn a_line_of_the_longest_length_is_whole_and_one_byte_more_is_cut() {
        let (got, split) = pieces(b"12345\n123456\n1\n", 5, false);
        assert_eq!(
            got,
            [
                (0, "12345\n".into(), BlockEnd::Whole),
                (6, "12345".into(), BlockEnd::Cut),
                (13, "1\n".into(), BlockEnd::Whole)
            ]
        );
        assert_eq!((split.consumed, split.lines), (15, 3));
    }

    #[test]
    fn an_over_long_line_without_end_is_cut_once_and_then_skipped() {
        let (got, split) = pieces(b"a\n1234567", 5, false);
        assert_eq!(got, [(0, "a\n".into(), BlockEnd::Whole), (2, "12345".into(), BlockEnd::Cut)]);
        assert_eq!((split.consumed, split.skipping), (9, true));
        let (got, split) = pieces(b"89", 5, true);
        assert!(got.is_empty() && split.skipping && split.consumed == 2);
        let (got, _) = pieces(b"0\nb\n", 5, true);
        assert_eq!(got, [(2, "b\n".into(), BlockEnd::Whole)]);
    }

    #[test]
    fn a_cut_does_not_split_a_character() {
        let (got, _) = pieces("aé€x\n".as_bytes(), 5, false);
        assert_eq!(got[0], (0, "aé".into(), BlockEnd::Cut));
    }

    #[test]
    fn a_hole_is_no_line_wherever_one_begins_but_a_nul_inside_a_line_is_kept() {
        let (got, split) = pieces(b"\0\0\0a\nb\0b\n\0\0c\n\0\0", 10, false);
        assert_eq!(got, [(3, "a\nb\0b\n".into(), BlockEnd::Whole), (11, "c\n".into(), BlockEnd::Whole)]);
        assert_eq!(split, Split { consumed: 13, nuls: true, lines: 3, ..Split::default() });
    }

    #[test]
    fn in_a_stream_nuls_are_bytes_of_their_line_wherever_they_stand() {
        let mut got = vec![];
        let split =
            split_stream(b"\0\0a\n\0\nb\n\0", 10, false, |at, b, end| got.push((at, b.to_vec(), end)));
        assert_eq!(got, [(0, b"\0\0a\n\0\nb\n".to_vec(), BlockEnd::Whole)]);
        assert_eq!(split, Split { consumed: 8, partial: 1, lines: 3, ..Split::default() });
    }

    proptest! {
        #[test]
        fn any_way_of_cutting_the_bytes_into_reads_gives_the_same_lines(
            text in proptest::collection::vec(prop_oneof![6 => b'a'..=b'c', 2 => Just(b'\n'), 1 => Just(0u8)], 0..300),
            max in 1usize..20,
            steps in proptest::collection::vec(1usize..40, 1..20),
        ) {
            let mut got = vec![];
            let (mut at, mut end, mut skipping, mut step) = (0, 0, false, 0);
            while end < text.len() {
                end = (end + steps[step % steps.len()]).min(text.len());
                step += 1;
                let s = split(&text[at..end], max, skipping, |_, b, e| got.push((b.to_vec(), e)));
                at += s.consumed;
                skipping = s.skipping;
            }
            let mut joined: Vec<(Vec<u8>, BlockEnd)> = vec![];
            for (bytes, e) in got {
                for line in bytes.split_inclusive(|&b| b == b'\n') {
                    joined.push((line.to_vec(), e));
                }
            }
            let mut whole = vec![];
            let all = split(&text, max, false, |_, b, e| {
                for line in b.split_inclusive(|&b| b == b'\n') {
                    whole.push((line.to_vec(), e));
                }
            });
            prop_assert_eq!(&joined, &whole);
            prop_assert_eq!(at, all.consumed);
            prop_assert!(whole.iter().all(|(l, e)| l.len() <= max + usize::from(*e == BlockEnd::Whole)));
        }
    }
}
