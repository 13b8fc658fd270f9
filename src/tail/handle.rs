//! A way to the bytes of a file that stays open: of a log itself, or of the archive that it became.
//!
//! Everything that reads goes through here, so nothing else needs to know that a generation was compressed. An
//! archive does not change: what it holds is read once, to its end.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::archive::{Archive, Ended, packing};
use super::identity::{self, Bytes, Look};
use super::reading::open;

/// An open file.
#[derive(Debug)]
pub(super) enum Handle {
    Plain(File),
    Packed(Box<Archive>),
}

impl Handle {
    /// Opens what a generation may be: a log, or an archive of one.
    pub(super) fn open(path: &Path) -> io::Result<Handle> {
        Handle::of(open(path)?, path)
    }

    /// What was opened at `path`.
    fn of(file: File, path: &Path) -> io::Result<Handle> {
        match packing(path, &file) {
            Some(packing) => Ok(Handle::Packed(Box::new(Archive::new(file, packing)?))),
            None => Ok(Handle::Plain(file)),
        }
    }

    /// What it is now. The size of an archive is that of its text, or as large as can be until that is known.
    pub(super) fn look(&self) -> io::Result<Look> {
        match self {
            Handle::Plain(file) => identity::look_at(file),
            Handle::Packed(archive) => {
                let look = identity::look_at(archive.file())?;
                let size = archive.ended().map_or(i64::MAX as u64, |(size, _)| size);
                Ok(Look { size, ..look })
            }
        }
    }

    /// Where data begins at or after `at`: behind a hole, as far as the filesystem can tell.
    pub(super) fn data_from(&self, at: u64) -> u64 {
        match self {
            Handle::Plain(file) => {
                rustix::fs::seek(file, rustix::fs::SeekFrom::Data(at)).map_or(at, |d| d.max(at))
            }
            Handle::Packed(_) => at,
        }
    }

    pub(super) fn is_packed(&self) -> bool {
        matches!(self, Handle::Packed(_))
    }

    /// For an archive that was read to its end: its text's size, and whether it ended in damage.
    pub(super) fn ended(&self) -> Option<(u64, Ended)> {
        match self {
            Handle::Plain(_) => None,
            Handle::Packed(archive) => archive.ended(),
        }
    }
}

impl Bytes for Handle {
    fn some_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            Handle::Plain(file) => file.some_at(buf, offset),
            Handle::Packed(archive) => archive.some_at(buf, offset),
        }
    }
}

impl Bytes for File {
    fn some_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match self.read_at(buf, offset) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Taken for a log, its bytes would be no lines that any rule knows, and nothing would tell.
    #[test]
    fn what_was_opened_is_an_archive_wherever_its_name_leads_by_now() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log.1.zst");
        std::fs::write(&path, zstd::encode_all(&b"a line\n"[..], 1).unwrap()).unwrap();
        let file = open(&path).unwrap();
        std::fs::rename(&path, dir.path().join("a.log.2.zst")).unwrap();
        let handle = Handle::of(file, &path).unwrap();
        assert!(handle.is_packed());
        assert_eq!(identity::bytes_before(&handle, 7, 7).unwrap(), b"a line\n");
    }
}
