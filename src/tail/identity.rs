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
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Statx, StatxFlags, makedev, statx};
use siphasher::sip::SipHasher13;

pub(super) use crate::line::FileId;
use crate::line::Proof;

/// How many bytes before a position prove it. Repeated heartbeat lines make fewer weak.
pub(super) const PROOF: usize = 256;

/// How much of the head is hashed for a file without a birth time, in bytes.
pub(super) const HEAD: usize = 1024;

/// What can be read at any place.
pub(super) trait Bytes {
    /// Some of the bytes at `offset`; none only at the end.
    fn some_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
}

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

/// Why what stands at `path` has no lines to read, in words; `None` for a file.
pub(super) fn no_log(path: &Path, look: &Look) -> Option<&'static str> {
    match look.kind {
        FileType::RegularFile => {
            // Files of these have no size and other bytes at each read; nothing is ever appended to them.
            let made_up = look.size == 0
                && rustix::fs::statfs(path).is_ok_and(|fs| MADE_UP.contains(&(fs.f_type as u32)));
            made_up.then_some("is made up by the kernel at each read, and no log")
        }
        FileType::Directory => Some("is a directory, and no log"),
        FileType::Fifo => Some("is a FIFO, and no log"),
        FileType::Socket => Some("is a socket, and no log"),
        _ => Some("is a device, and no log"),
    }
}

/// The magic numbers of procfs, sysfs and cgroup2.
const MADE_UP: [u32; 3] = [0x9FA0, 0x6265_6572, 0x6367_7270];

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
pub(super) fn bytes_before(file: &impl Bytes, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let len = (len as u64).min(offset);
    let mut bytes = vec![0; len as usize];
    let n = read_full(file, &mut bytes, offset - len)?;
    bytes.truncate(n);
    Ok(bytes)
}

/// Whether the bytes of `file` just before `offset` are what `proof` was made of. No bytes prove nothing.
pub(super) fn holds(file: &impl Bytes, offset: u64, proof: Proof) -> bool {
    let len = proof.len as usize;
    len > 0
        && len <= PROOF.max(HEAD)
        && offset >= len as u64
        && bytes_before(file, offset, len).is_ok_and(|b| prove(&b) == proof)
}

/// `pread` until `buf` is full or the file ends.
pub(super) fn read_full(file: &impl Bytes, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut n = 0;
    while n < buf.len() {
        match file.some_at(&mut buf[n..], offset + n as u64)? {
            0 => break,
            more => n += more,
        }
    }
    Ok(n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_one_that_saved_positions_were_written_with() {
        assert_eq!(prove(b"the same in every version\n").hash, HASH);
    }
    const HASH: u64 = 16_145_205_739_942_180_985;

    #[test]
    fn a_proof_of_no_bytes_never_holds() {
        let file = tempfile::tempfile().unwrap();
        assert!(!holds(&file, 0, no_proof()));
    }
}
