//! Earlier places of a file, to recognise it when it is shorter than it was.
//!
//! A power cut takes the last blocks of a log, an editor its last line, an operator half of it. Where an earlier
//! place still holds, what is before it was read. Two kinds of places are kept: proofs at round offsets, which reach
//! far back, and the lengths and hashes of the last lines, which tell to the line what is old and what was written
//! since.
//!
//! No place near the start of a file is one: many logs begin with the same header after each truncation, so the head
//! of a file proves nothing about the rest.

use std::collections::VecDeque;

use super::identity::{Bytes, PROOF, holds, prove, read_full};
use crate::line::{Mark, Recent};

/// Proofs are made at multiples of this behind the end of a read, in bytes; nothing below it is a place.
const NEAR: u64 = 4096;

/// And at multiples of this in the rest of it.
const FAR: u64 = 16 << 10;

/// So many of the last multiples of [`NEAR`] are marked in one read.
const NEARLY: u64 = 8;

/// How many marks are kept: the older ones ever more thinly.
const MARKS: usize = 32;

/// The last lines are remembered up to so many bytes...
const RECENT: usize = 16 << 10;

/// ...and so many lines.
const LINES: usize = 256;

/// Earlier offsets of a file with their proofs, oldest first, and its last lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    proofs: Vec<Mark>,
    /// Length and hash of each of the last lines; they end at `end`.
    lines: VecDeque<(u16, u16)>,
    bytes: usize,
    end: u64,
}

/// Where to go on in a file that is not what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Resume {
    pub(super) offset: u64,
    /// It lies inside a line.
    pub(super) inside: bool,
    /// What is before it was read, and what is behind it was not: to the line.
    pub(super) sure: bool,
}

impl Marks {
    /// As they were saved, bounded; the lines end at `end`.
    pub(super) fn saved(mut marks: Vec<Mark>, recent: &Recent, end: u64) -> Marks {
        marks.drain(..marks.len().saturating_sub(MARKS));
        let lines: VecDeque<_> = recent.0.iter().copied().take(LINES).collect();
        let bytes = lines.iter().map(|l| usize::from(l.0)).sum();
        if (bytes as u64) > end {
            return Marks { proofs: marks, end, ..Marks::default() };
        }
        Marks { proofs: marks, lines, bytes, end }
    }

    pub(super) fn to_vec(&self) -> Vec<Mark> {
        self.proofs.clone()
    }

    /// The last lines as they are saved.
    pub(super) fn recent(&self) -> Recent {
        Recent(self.lines.iter().copied().collect())
    }

    /// Marks what was just read: `bytes` begin at `offset`. Little of it is hashed, so that catching up on a large file
    /// does not spend its time on marks.
    pub(super) fn add(&mut self, offset: u64, bytes: &[u8]) {
        let end = offset + bytes.len() as u64;
        let dense = (end - end % NEAR).saturating_sub((NEARLY - 1) * NEAR);
        let mut at = FAR * (offset / FAR);
        while at <= end {
            self.mark(at, offset, bytes);
            at += FAR;
            if at > dense {
                break;
            }
        }
        let mut at = dense.max(NEAR);
        while at <= end {
            self.mark(at, offset, bytes);
            at += NEAR;
        }
        while self.proofs.len() > MARKS {
            self.thin();
        }
        self.remember(offset, bytes);
    }

    fn mark(&mut self, at: u64, offset: u64, bytes: &[u8]) {
        let newest = self.proofs.last().map_or(0, |m| m.offset);
        if at > newest && at > offset && at - offset >= PROOF as u64 {
            let upto = (at - offset) as usize;
            self.proofs.push(Mark { offset: at, proof: prove(&bytes[upto - PROOF..upto]) });
        }
    }

    fn remember(&mut self, offset: u64, bytes: &[u8]) {
        let mut last = bytes;
        if bytes.len() > RECENT {
            last = &bytes[bytes.len() - RECENT..];
            last = memchr::memchr(b'\n', last).map_or(&[], |n| &last[n + 1..]);
        }
        if last.len() < bytes.len() || offset != self.end {
            self.lines.clear();
            self.bytes = 0;
        }
        for line in last.split_inclusive(|&b| b == b'\n') {
            self.lines.push_back((line.len() as u16, prove(line).hash as u16));
            self.bytes += line.len();
        }
        while self.lines.len() > LINES || self.bytes > RECENT {
            let Some((len, _)) = self.lines.pop_front() else { break };
            self.bytes -= usize::from(len);
        }
        self.end = offset + bytes.len() as u64;
    }

    /// Drops every other mark of the older half: dense near the end, sparse far from it.
    fn thin(&mut self) {
        let half = self.proofs.len() / 2;
        let mut n = 0;
        self.proofs.retain(|_| {
            n += 1;
            n > half || n % 2 == 1
        });
    }

    /// Where to go on in a file that is `size` bytes long by now and no longer has the bytes before the position: behind
    /// the last of the lines that are still there. Where all of those are gone, at its end, if it was cut not far
    /// behind a mark that holds; or at that mark, inside a line, where too much of it is not known to be old.
    pub(super) fn resume(&self, file: &impl Bytes, size: u64) -> Option<Resume> {
        if let Some(offset) = self.behind_old_lines(file, size) {
            return Some(Resume { offset, inside: false, sure: true });
        }
        let mark = self.proofs.iter().rev().find(|m| m.offset <= size)?;
        if size >= self.end || !holds(file, mark.offset, mark.proof) {
            return None;
        }
        let near = size - mark.offset <= FAR;
        Some(Resume { offset: if near { size } else { mark.offset }, inside: !near, sure: false })
    }

    fn behind_old_lines(&self, file: &impl Bytes, size: u64) -> Option<u64> {
        let begin = self.end - self.bytes as u64;
        let mut bytes = vec![0; self.bytes.min(size.checked_sub(begin)? as usize)];
        let n = read_full(file, &mut bytes, begin).ok()?;
        let mut rest = &bytes[..n];
        for &(len, hash) in &self.lines {
            match rest.split_at_checked(len.into()) {
                Some((line, behind)) if prove(line).hash as u16 == hash => rest = behind,
                _ => break,
            }
        }
        let offset = begin + (n - rest.len()) as u64;
        (rest.len() < n && offset >= NEAR).then_some(offset)
    }

    /// Forgets what is beyond `offset`.
    pub(super) fn cut(&mut self, offset: u64) {
        self.proofs.retain(|m| m.offset <= offset);
        while self.end > offset
            && let Some((len, _)) = self.lines.pop_back()
        {
            self.bytes -= usize::from(len);
            self.end -= u64::from(len);
        }
        if self.end != offset {
            self.lines.clear();
            (self.bytes, self.end) = (0, offset);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn text(lines: std::ops::Range<u32>) -> Vec<u8> {
        lines.flat_map(|n| format!("line {n:06} {}\n", "x".repeat(n as usize % 60)).into_bytes()).collect()
    }

    fn file(bytes: &[u8]) -> std::fs::File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[test]
    fn marks_stay_few_and_true_however_much_is_read() {
        let all = text(0..60_000);
        let mut marks = Marks::default();
        for block in all.chunks(9_000) {
            let offset = block.as_ptr() as usize - all.as_ptr() as usize;
            marks.add(offset as u64, block);
        }
        let file = file(&all);
        assert!(marks.proofs.len() <= MARKS, "{}", marks.proofs.len());
        assert!(marks.proofs.iter().all(|m| holds(&file, m.offset, m.proof)));
        assert!(marks.proofs.windows(2).all(|w| w[0].offset < w[1].offset));
        assert!(all.len() as u64 - marks.proofs.last().unwrap().offset < 2 * NEAR);
    }

    #[test]
    fn a_shorter_file_goes_on_behind_the_last_line_that_is_left() {
        let all = text(0..1000);
        let mut marks = Marks::default();
        marks.add(0, &all);
        let marks = Marks::saved(marks.to_vec(), &marks.recent(), all.len() as u64);
        let upto = memchr::memrchr(b'\n', &all[..all.len() - 9_000]).unwrap() + 1;
        // As it was cut, cut inside a line, and with new lines behind the cut.
        let there = |offset: usize, sure| Some(Resume { offset: offset as u64, inside: false, sure });
        assert_eq!(marks.resume(&file(&all[..upto]), upto as u64), there(upto, true));
        let inside = upto + 5;
        assert_eq!(marks.resume(&file(&all[..inside]), inside as u64), there(upto, true));
        let grown = [&all[..upto], &text(5000..6000)].concat();
        assert_eq!(marks.resume(&file(&grown), grown.len() as u64), there(upto, true));
        // Far before: near a mark, at its end.
        let half = all.len() / 2;
        assert_eq!(marks.resume(&file(&all[..half]), half as u64), there(half, false));
        // Another text, and the same header.
        assert_eq!(marks.resume(&file(&text(2000..4000)), 50_000), None);
        assert_eq!(marks.resume(&file(&all[..3000]), 3000), None, "the head proves nothing");
    }

    #[test]
    fn a_cut_takes_the_lines_behind_it() {
        let all = text(0..1000);
        let mut marks = Marks::default();
        marks.add(0, &all);
        let whole = marks.clone();
        marks.cut(all.len() as u64);
        assert_eq!(marks, whole);
        let last = memchr::memrchr(b'\n', &all[..all.len() - 1]).unwrap() as u64 + 1;
        marks.cut(last);
        assert_eq!((marks.end, marks.lines.len()), (last, whole.lines.len() - 1));
        marks.cut(last - 3);
        assert!(marks.lines.is_empty());
        assert_eq!(Marks::saved(vec![], &String::from("zz").into(), 5), Marks { end: 5, ..Marks::default() });
        assert_eq!(
            Marks::saved(vec![], &String::from("00ff0001").into(), 5).lines.len(),
            0,
            "longer than the file"
        );
    }
}
