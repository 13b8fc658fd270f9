//! What directories hold: one listing for all who ask in a step.
//!
//! When a thousand logs of one directory are rotated together, each of them asks where its file is now and which
//! generations lie beside it. Listing the directory for each would take a million names to tell what a thousand say. So
//! a listing is kept for the step in which it was made, and believed as long as the directory's own time says that no
//! name came or went.
//!
//! The surprising fact: a file that is there all the while may be in no listing. A program that rotates renames one file
//! after the other while we list them, and one that was not reached yet may go to a name that was passed already. Only
//! what is the same twice is believed.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirEntryExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The listings of at most so many directories are kept.
const KEPT: usize = 8;

/// What a name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Plain,
    Directory,
    /// A link, or what is no log.
    Other,
}

/// The names in a directory.
#[derive(Debug)]
pub(super) struct Listing {
    /// By name: its inode, and what it is.
    names: Vec<(OsString, u64, Kind)>,
    /// Inodes, and where among the names.
    inodes: Vec<(u64, u32)>,
    /// It was the same twice, and no name came or went meanwhile.
    pub(super) settled: bool,
}

impl Listing {
    /// Lists a directory twice.
    fn of(dir: &Path) -> Listing {
        let (before, names) = (names_in(dir), names_in(dir));
        let mut inodes: Vec<(u64, u32)> = names.iter().zip(0..).map(|((_, ino, _), at)| (*ino, at)).collect();
        inodes.sort_unstable();
        Listing { settled: before == names, names, inodes }
    }

    /// The inode of a name.
    pub(super) fn inode(&self, name: &OsStr) -> Option<u64> {
        let at = self.names.binary_search_by(|(n, ..)| n.as_os_str().cmp(name)).ok()?;
        Some(self.names[at].1)
    }

    /// The name leads to another file than it did when it was listed. Of a link nothing is said: it has an inode of its own.
    pub(super) fn is_outdated(&self, name: &OsStr, ino: u64) -> bool {
        let at = self.names.binary_search_by(|(n, ..)| n.as_os_str().cmp(name));
        at.map_or(true, |at| self.names[at].2 == Kind::Plain && self.names[at].1 != ino)
    }

    /// The names of an inode.
    pub(super) fn names_of(&self, ino: u64) -> impl Iterator<Item = &OsStr> {
        let from = self.inodes.partition_point(|(i, _)| *i < ino);
        let of = self.inodes[from..].iter().take_while(move |(i, _)| *i == ino);
        of.map(|(_, at)| self.names[*at as usize].0.as_os_str())
    }

    /// The names that begin so.
    pub(super) fn beginning(&self, with: &[u8]) -> impl Iterator<Item = &OsStr> {
        let from = self.names.partition_point(|(n, ..)| n.as_bytes() < with);
        self.names[from..]
            .iter()
            .map(|(n, ..)| n.as_os_str())
            .take_while(move |n| n.as_bytes().starts_with(with))
    }

    /// The names of directories.
    pub(super) fn directories(&self) -> impl Iterator<Item = &OsStr> {
        self.names.iter().filter(|(.., kind)| *kind == Kind::Directory).map(|(n, ..)| n.as_os_str())
    }
}

/// What is in a directory, by name; one that cannot be listed holds nothing.
fn names_in(dir: &Path) -> Vec<(OsString, u64, Kind)> {
    let entries = fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    let kind = |e: &fs::DirEntry| match e.file_type() {
        Ok(t) if t.is_dir() => Kind::Directory,
        Ok(t) if t.is_file() => Kind::Plain,
        _ => Kind::Other,
    };
    let entry = |e: fs::DirEntry| (e.file_name(), e.ino(), kind(&e));
    let mut names: Vec<(OsString, u64, Kind)> = entries.map(entry).collect();
    names.sort_unstable();
    names
}

/// The listings of a step, with the time in nanoseconds that each directory had.
#[derive(Debug, Default)]
pub(super) struct Listings(RefCell<HashMap<PathBuf, (i64, Arc<Listing>)>>);

impl Listings {
    /// Another step begins.
    pub(super) fn clear(&mut self) {
        self.0.get_mut().clear();
    }

    /// What is in the directory.
    pub(super) fn of(&self, dir: &Path) -> Arc<Listing> {
        let before = changed(dir);
        if let Some((then, listing)) = self.0.borrow().get(dir)
            && Some(*then) == before
        {
            return Arc::clone(listing);
        }
        let mut listing = Listing::of(dir);
        listing.settled &= changed(dir) == before;
        let listing = Arc::new(listing);
        let mut kept = self.0.borrow_mut();
        kept.remove(dir);
        if let Some(time) = before.filter(|_| listing.settled) {
            if kept.len() >= KEPT {
                kept.clear();
            }
            kept.insert(dir.to_path_buf(), (time, Arc::clone(&listing)));
        }
        listing
    }

    /// The same, as it is at this moment.
    pub(super) fn anew(&self, dir: &Path) -> Arc<Listing> {
        self.0.borrow_mut().remove(dir);
        self.of(dir)
    }
}

/// When a name last came or went, in nanoseconds.
fn changed(dir: &Path) -> Option<i64> {
    let dir = fs::metadata(dir).ok()?;
    dir.mtime().checked_mul(1_000_000_000)?.checked_add(dir.mtime_nsec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(names: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for name in names {
            fs::write(dir.path().join(name), name).unwrap();
        }
        dir
    }

    #[test]
    fn a_listing_is_asked_by_name_by_inode_and_by_beginning() {
        let dir = made(&["a.log", "a.log.1", "a.log.2.gz", "b.log"]);
        fs::create_dir(dir.path().join("old")).unwrap();
        fs::hard_link(dir.path().join("b.log"), dir.path().join("b.same")).unwrap();
        let listing = Listing::of(dir.path());
        let ino = |name: &str| fs::metadata(dir.path().join(name)).unwrap().ino();
        assert_eq!(listing.inode(OsStr::new("a.log.1")), Some(ino("a.log.1")));
        assert_eq!(listing.inode(OsStr::new("a.log.3")), None);
        std::os::unix::fs::symlink("b.log", dir.path().join("link")).unwrap();
        let with_link = Listing::of(dir.path());
        let outdated = |name: &str, of: &str| with_link.is_outdated(OsStr::new(name), ino(of));
        assert!(!outdated("b.log", "b.log") && outdated("b.log", "a.log") && outdated("a.log.3", "a.log"));
        assert!(!outdated("link", "b.log"), "it has an inode of its own");
        assert_eq!(listing.names_of(ino("b.log")).collect::<Vec<_>>(), ["b.log", "b.same"]);
        assert_eq!(listing.beginning(b"a.").collect::<Vec<_>>(), ["a.log", "a.log.1", "a.log.2.gz"]);
        assert_eq!(listing.directories().collect::<Vec<_>>(), ["old"]);
        let none = Listing::of(&dir.path().join("none"));
        assert!(none.names.is_empty() && none.settled);
    }

    #[test]
    fn one_listing_serves_a_step_until_a_name_comes_or_goes() {
        let dir = made(&["a", "b"]);
        let mut listings = Listings::default();
        let first = listings.of(dir.path());
        assert!(first.settled && Arc::ptr_eq(&first, &listings.of(dir.path())));
        assert!(!Arc::ptr_eq(&first, &listings.anew(dir.path())));
        fs::rename(dir.path().join("b"), dir.path().join("c")).unwrap();
        // whatever the tick of this machine is
        let long_ago = fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH);
        fs::File::open(dir.path()).unwrap().set_times(long_ago).unwrap();
        let second = listings.of(dir.path());
        assert!(second.inode(OsStr::new("c")).is_some() && second.inode(OsStr::new("b")).is_none());
        listings.clear();
        assert!(!Arc::ptr_eq(&second, &listings.of(dir.path())), "another step");
    }
}
