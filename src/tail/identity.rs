//! Which file is this, and is it still the one whose bytes were read?
//!
//! Two questions, because ext4 hands a freed inode to the very next file (57 of 59 rotations of a stock
//! logrotate), and because a file can be cut and rewritten under the same inode. The first is answered by
//! device, inode and birth time; the second by [`Proof`]: a hash of the bytes just before the position. The hash
//! has fixed keys and is written to disk: changing it makes every saved position unprovable.

use std::fs::File;
use std::hash::Hasher;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Statx, StatxFlags, makedev, statx};
use siphasher::sip::SipHasher13;

pub(super) use crate::line::FileId;
use crate::line::{Mark, Proof};

/// How many bytes before a position prove it. Repeated heartbeat lines make fewer weak.
pub(super) const PROOF: usize = 256;

/// How much of the head is hashed for a file without a birth time, in bytes.
pub(super) const HEAD: usize = 1024;

/// Earlier offsets are marked at multiples of this, in bytes, and never below it: many logs begin with the same
/// header after each truncation, so the head of a file proves nothing about the rest.
const MARK_EVERY: u64 = 4096;

/// How many marks are kept: enough for the last 64 KiB densely and for megabytes before it thinly.
const MARKS: usize = 32;

/// What one look at a file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) id: FileId,
    pub(super) size: u64,
    /// Modification time in nanoseconds since the epoch.
    pub(super) mtime: i64,
    /// How many names it has; 0 when it is deleted and only held open.
    pub(super) links: u32,
    pub(super) kind: FileType,
}

impl Look {
    /// A file that has lines: not a directory, FIFO, socket or device.
    pub(super) fn is_file(&self) -> bool {
        self.kind == FileType::RegularFile
    }
}

const WANTED: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::BTIME);

/// Looks at what `path` names, symlinks followed.
pub(super) fn look(path: &Path) -> io::Result<Look> {
    Ok(from_statx(&statx(CWD, path, AtFlags::empty(), WANTED)?))
}

/// Looks at an open file.
pub(super) fn look_at(file: &File) -> io::Result<Look> {
    Ok(from_statx(&statx(file.as_fd(), c"", AtFlags::EMPTY_PATH, WANTED)?))
}

fn from_statx(s: &Statx) -> Look {
    let ns = |sec: i64, ns: u32| sec.saturating_mul(1_000_000_000).saturating_add(i64::from(ns));
    let born = StatxFlags::from_bits_retain(s.stx_mask).contains(StatxFlags::BTIME);
    Look {
        id: FileId {
            dev: makedev(s.stx_dev_major, s.stx_dev_minor),
            ino: s.stx_ino,
            born: born.then(|| ns(s.stx_btime.tv_sec, s.stx_btime.tv_nsec)),
        },
        size: s.stx_size,
        mtime: ns(s.stx_mtime.tv_sec, s.stx_mtime.tv_nsec),
        links: s.stx_nlink,
        kind: FileType::from_raw_mode(s.stx_mode.into()),
    }
}

/// The proof that `bytes` are.
pub(super) fn prove(bytes: &[u8]) -> Proof {
    // SipHash-1-3 with fixed keys: nobody can choose log bytes that pass for others without knowing them, and
    // knowing them gains nothing but a re-read.
    let mut hasher = SipHasher13::new_with_keys(0x6c6f_6768_6572_616c, 0x6420_7072_6f6f_6673);
    hasher.write(bytes);
    Proof { len: bytes.len() as u32, hash: hasher.finish() }
}

/// No bytes, which prove nothing.
pub(super) fn no_proof() -> Proof {
    prove(b"")
}

/// The bytes just before `offset`, at most [`PROOF`]; fewer where the file is shorter.
pub(super) fn bytes_before(file: &File, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let len = (len as u64).min(offset);
    let mut bytes = vec![0; len as usize];
    let n = read_full(file, &mut bytes, offset - len)?;
    bytes.truncate(n);
    Ok(bytes)
}

/// Whether the bytes of `file` just before `offset` are what `proof` was made of. No bytes prove nothing.
pub(super) fn holds(file: &File, offset: u64, proof: Proof) -> bool {
    let len = proof.len as usize;
    len > 0
        && len <= PROOF.max(HEAD)
        && offset >= len as u64
        && bytes_before(file, offset, len).is_ok_and(|b| prove(&b) == proof)
}

/// `pread` until `buf` is full or the file ends.
pub(super) fn read_full(file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut n = 0;
    while n < buf.len() {
        match file.read_at(&mut buf[n..], offset + n as u64) {
            Ok(0) => break,
            Ok(more) => n += more,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(n)
}

/// Earlier offsets of a file with their proofs, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks(Vec<Mark>);

impl Marks {
    /// As they were saved, bounded.
    pub(super) fn saved(mut marks: Vec<Mark>) -> Marks {
        marks.drain(..marks.len().saturating_sub(MARKS));
        Marks(marks)
    }

    pub(super) fn to_vec(&self) -> Vec<Mark> {
        self.0.clone()
    }

    /// Marks what was just read: `bytes` begin at `offset`. Only the last few multiples are hashed, so that
    /// catching up on a large file does not spend its time on marks.
    pub(super) fn add(&mut self, offset: u64, bytes: &[u8]) {
        let end = offset + bytes.len() as u64;
        let last = end - end % MARK_EVERY;
        let first = last.saturating_sub(7 * MARK_EVERY).max(MARK_EVERY);
        let mut at = first;
        while at <= last {
            let newest = self.0.last().map_or(0, |m| m.offset);
            if at > newest && at > offset && at - offset >= PROOF as u64 {
                let upto = (at - offset) as usize;
                self.0.push(Mark { offset: at, proof: prove(&bytes[upto - PROOF..upto]) });
            }
            at += MARK_EVERY;
        }
        if self.0.len() > MARKS {
            self.thin();
        }
    }

    /// Drops every other mark of the older half: dense near the end, sparse far from it.
    fn thin(&mut self) {
        let half = self.0.len() / 2;
        let mut n = 0;
        self.0.retain(|_| {
            n += 1;
            n > half || n % 2 == 1
        });
    }

    /// Where to go on in a file that is now `size` bytes long and was read further: at its end if the newest
    /// mark below it holds and is near; at that mark, in the middle of a line (`true`), if it holds and is far,
    /// for then the bytes between are not known to be the old ones.
    pub(super) fn resume(&self, file: &File, size: u64) -> Option<(u64, bool)> {
        let mark = self.0.iter().rev().find(|m| m.offset <= size)?;
        if !holds(file, mark.offset, mark.proof) {
            return None;
        }
        if size - mark.offset < 2 * MARK_EVERY { Some((size, false)) } else { Some((mark.offset, true)) }
    }

    /// Forgets the marks beyond `offset`.
    pub(super) fn cut(&mut self, offset: u64) {
        self.0.retain(|m| m.offset <= offset);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn the_hash_is_the_one_that_saved_positions_were_written_with() {
        assert_eq!(prove(b"the same in every version\n").hash, HASH);
    }
    const HASH: u64 = 16_145_205_739_942_180_985;

    #[test]
    fn marks_stay_few_dense_at_the_end_and_true() {
        let mut file = tempfile::tempfile().unwrap();
        let mut marks = Marks::default();
        let mut offset = 0;
        for n in 0..400u64 {
            let block: Vec<u8> = (0..9_000).map(|i| (n * 31 + i % 251) as u8).collect();
            file.write_all(&block).unwrap();
            marks.add(offset, &block);
            offset += block.len() as u64;
        }
        assert!(marks.0.len() <= MARKS, "{}", marks.0.len());
        assert!(marks.0.iter().all(|m| holds(&file, m.offset, m.proof)));
        assert!(marks.0.windows(2).all(|w| w[0].offset < w[1].offset));
        assert!(offset - marks.0.last().unwrap().offset < 2 * MARK_EVERY);
        assert_eq!(marks.resume(&file, offset - 100), Some((offset - 100, false)));
        let (far, inside) = marks.resume(&file, offset / 2).unwrap();
        assert!(inside || far == offset / 2);
        assert_eq!(marks.resume(&file, 100), None, "the head proves nothing");
    }

    #[test]
    fn a_proof_of_no_bytes_never_holds() {
        let file = tempfile::tempfile().unwrap();
        assert!(!holds(&file, 0, no_proof()));
    }
}
