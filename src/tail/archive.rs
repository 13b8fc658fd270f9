//! A compressed generation, read as if it were the log that it was.
//!
//! Offsets are those of the text, so a position that was taken in the log holds in its archive, and the bytes before
//! it prove which archive that is. Reading goes forward only; what was decoded last is kept, because a read begins
//! before the position. Damage ends the text where it stands, and is told as a gap: the rest of the logs is not
//! behind it.
//!
//! The surprising fact: an archive that still has its original beside it is not finished. Every program that
//! compresses a log unlinks the log last.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bzip2::read::MultiBzDecoder;
use flate2::read::MultiGzDecoder;
use liblzma::read::XzDecoder;
use liblzma::stream::Stream;

use super::identity::Bytes;

/// So much of the text is kept behind the place decoded to: a read goes back by its proof, and by a record that was
/// not complete.
const KEPT: usize = 2 << 20;

/// How much is decoded at once.
const PIECE: usize = 64 << 10;

/// A decoder of xz may take so much memory: `xz -9` needs 65 MiB.
const XZ_MEMORY: u64 = 256 << 20;

/// The longest magic number.
const MAGIC: usize = 6;

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    Gzip,
    Zstd,
    Xz,
    Bzip2,
}

impl Packing {
    /// By the suffix of a name.
    pub(super) fn of_name(name: &[u8]) -> Option<Packing> {
        let (_, packing) = SUFFIXES.iter().find(|(suffix, _)| name.ends_with(suffix))?;
        Some(*packing)
    }

    fn magic(self) -> &'static [u8] {
        match self {
            Packing::Gzip => b"\x1f\x8b",
            Packing::Zstd => b"\x28\xb5\x2f\xfd",
            Packing::Xz => b"\xfd7zXZ\0",
            Packing::Bzip2 => b"BZh",
        }
    }
}

/// Suffixes of archives.
const SUFFIXES: [(&[u8], Packing); 6] = [
    (b".gz", Packing::Gzip),
    (b".zst", Packing::Zstd),
    (b".zstd", Packing::Zstd),
    (b".xz", Packing::Xz),
    (b".bz2", Packing::Bzip2),
    (b".bz", Packing::Bzip2),
];

/// `name` without the suffix of an archive, if it has one.
pub(super) fn unpacked_name(name: &[u8]) -> Option<&[u8]> {
    SUFFIXES.iter().find_map(|(suffix, _)| name.strip_suffix(*suffix))
}

/// Whether the file at `path` is an archive, or is about to become one: its name says so, and its first bytes do not
/// say otherwise.
pub(super) fn is_packed(path: &Path) -> bool {
    // most names are no archive's, and need not be opened
    named(path).is_some() && super::reading::open(path).is_ok_and(|file| packing(path, &file).is_some())
}

/// The same of a file that was opened there. The name may lead to another one by now, or nowhere: whoever rotates
/// many archives renames one after the other.
pub(super) fn packing(path: &Path, file: &File) -> Option<Packing> {
    let packing = named(path)?;
    let mut head = [0; MAGIC];
    let n = super::identity::read_full(file, &mut head, 0).unwrap_or(0);
    head[..n].iter().zip(packing.magic()).all(|(a, b)| a == b).then_some(packing)
}

fn named(path: &Path) -> Option<Packing> {
    use std::os::unix::ffi::OsStrExt;
    path.file_name().and_then(|n| Packing::of_name(n.as_bytes()))
}

/// An open archive.
pub(super) struct Archive {
    file: Arc<File>,
    packing: Packing,
    unpacked: RefCell<Unpacked>,
}

impl std::fmt::Debug for Archive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Archive").field("packing", &self.packing).finish_non_exhaustive()
    }
}

struct Unpacked {
    decoder: Box<dyn Read + Send>,
    /// The last of what was decoded.
    recent: Vec<u8>,
    /// How far the text was decoded.
    upto: u64,
    ended: Option<Ended>,
}

/// How the text of an archive ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// As it should.
    Well,
    /// In bytes that are no archive, or in none.
    Damaged,
}

impl Archive {
    pub(super) fn new(file: File, packing: Packing) -> io::Result<Archive> {
        let file = Arc::new(file);
        let unpacked = RefCell::new(Unpacked::new(Arc::clone(&file), packing)?);
        Ok(Archive { file, packing, unpacked })
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// The text's length and how it ended, once it was read to its end.
    pub(super) fn ended(&self) -> Option<(u64, Ended)> {
        let unpacked = self.unpacked.borrow();
        unpacked.ended.map(|ended| (unpacked.upto, ended))
    }
}

impl Unpacked {
    fn new(file: Arc<File>, packing: Packing) -> io::Result<Unpacked> {
        let packed = io::BufReader::with_capacity(PIECE, From { file, at: 0 });
        let decoder: Box<dyn Read + Send> = match packing {
            Packing::Gzip => Box::new(MultiGzDecoder::new(packed)),
            Packing::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(packed)?),
            Packing::Bzip2 => Box::new(MultiBzDecoder::new(packed)),
            Packing::Xz => {
                let stream = Stream::new_stream_decoder(XZ_MEMORY, liblzma::stream::CONCATENATED)?;
                Box::new(XzDecoder::new_stream(packed, stream))
            }
        };
        Ok(Unpacked { decoder, recent: vec![], upto: 0, ended: None })
    }

    fn advance(&mut self) {
        let old = self.recent.len();
        self.recent.resize(old + PIECE, 0);
        let n = loop {
            match self.decoder.read(&mut self.recent[old..]) {
                Ok(0) => {
                    self.ended = Some(Ended::Well);
                    break 0;
                }
                Ok(n) => break n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.ended = Some(Ended::Damaged);
                    break 0;
                }
            }
        };
        self.recent.truncate(old + n);
        self.upto += n as u64;
        if self.recent.len() > 2 * KEPT {
            self.recent.drain(..self.recent.len() - KEPT);
        }
    }
}

impl Bytes for Archive {
    fn some_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut unpacked = self.unpacked.borrow_mut();
        if offset < unpacked.upto - unpacked.recent.len() as u64 {
            *unpacked = Unpacked::new(Arc::clone(&self.file), self.packing)?;
        }
        while unpacked.ended.is_none() && unpacked.upto <= offset {
            unpacked.advance();
        }
        let begins = unpacked.upto - unpacked.recent.len() as u64;
        let known = usize::try_from(offset - begins).ok().and_then(|at| unpacked.recent.get(at..));
        let known = known.unwrap_or_default();
        let n = known.len().min(buf.len());
        buf[..n].copy_from_slice(&known[..n]);
        Ok(n)
    }
}

/// A file from some place on.
struct From {
    file: Arc<File>,
    at: u64,
}

impl Read for From {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read_at(buf, self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::tail::identity::{bytes_before, read_full};

    fn text() -> Vec<u8> {
        (0..400_000u32).flat_map(|n| format!("line {n:07}\n").into_bytes()).collect()
    }

    fn packed(packing: Packing, text: &[u8]) -> Vec<u8> {
        match packing {
            Packing::Gzip => {
                let mut to = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
                to.write_all(text).unwrap();
                to.finish().unwrap()
            }
            Packing::Zstd => zstd::encode_all(text, 1).unwrap(),
            Packing::Xz => {
                let mut to = liblzma::write::XzEncoder::new(vec![], 0);
                to.write_all(text).unwrap();
                to.finish().unwrap()
            }
            Packing::Bzip2 => {
                let mut to = bzip2::write::BzEncoder::new(vec![], bzip2::Compression::fast());
                to.write_all(text).unwrap();
                to.finish().unwrap()
            }
        }
    }

    fn archive(packing: Packing, bytes: &[u8]) -> Archive {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        Archive::new(file, packing).unwrap()
    }

    #[test]
    fn any_place_of_any_archive_reads_as_the_text_does() {
        let text = text();
        for packing in [Packing::Gzip, Packing::Zstd, Packing::Xz, Packing::Bzip2] {
            // Two archives behind each other are one, as `cat a.gz b.gz` makes them.
            let (a, b) = text.split_at(text.len() / 3);
            let archive = archive(packing, &[packed(packing, a), packed(packing, b)].concat());
            for at in [0, 1, 4_000_000, 70_000, 4_799_990, 2_000_000] {
                let mut buf = vec![0; 300_000];
                let n = read_full(&archive, &mut buf, at as u64).unwrap();
                assert_eq!(&buf[..n], &text[at..(at + 300_000).min(text.len())], "{packing:?} at {at}");
            }
            assert_eq!(bytes_before(&archive, text.len() as u64, 8).unwrap(), b"0399999\n");
            assert_eq!(read_full(&archive, &mut [0; 9], text.len() as u64).unwrap(), 0);
            assert_eq!(archive.ended(), Some((text.len() as u64, Ended::Well)));
        }
    }

    #[test]
    fn damage_ends_the_text_and_is_known() {
        let text = text();
        for packing in [Packing::Gzip, Packing::Zstd, Packing::Xz, Packing::Bzip2] {
            let mut bytes = packed(packing, &text);
            bytes.truncate(bytes.len() / 2);
            let archive = archive(packing, &bytes);
            let mut buf = vec![0; text.len()];
            let n = read_full(&archive, &mut buf, 0).unwrap();
            assert!(n < text.len() && buf[..n] == text[..n], "{packing:?}");
            assert_eq!(archive.ended(), Some((n as u64, Ended::Damaged)), "{packing:?}");
        }
    }

    #[test]
    fn an_archive_is_known_by_its_name_and_its_first_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let is = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            is_packed(&path)
        };
        assert!(is("a.log.1.gz", &packed(Packing::Gzip, b"x\n")));
        assert!(is("a.log.1.gz", b""), "it is about to become one");
        assert!(is("a.log.1.zst", &packed(Packing::Zstd, b"x\n")));
        assert!(!is("notes.gz", b"words\n"));
        assert!(!is("a.log", &packed(Packing::Gzip, b"x\n")));
    }
}
