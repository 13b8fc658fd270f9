//! The generations of a log: which files beside it were once written under its name, and in which order.
//!
//! A name only says that a file may be one. Which bytes of it are news is proved by the bytes before a position, and
//! the order of the rest by when each was last written: a program that compresses a log hands its time on to the archive,
//! while the archive itself is younger than the log's next generation. That time may be older than the last line:
//! logrotate looks at a log, renames it, tells its program to reopen it, and hands on what it saw first.
//!
//! Generations lie beside the log, or in a directory near it (logrotate's `olddir`), which nobody tells us of.

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::archive;
use super::handle::Handle;
use super::identity::{FileId, Look};
use super::listing::Listing;
use super::tailer::Tailer;

/// At most so many generations are looked at in one directory.
const GENERATIONS: usize = 256;

/// At most so many directories near a log's own are searched for what was rotated out of it.
const NEAR: usize = 64;

/// What directories for old logs are called.
const OLD: [&str; 9] =
    ["old", "archive", "archives", "archived", "backup", "backups", "rotated", "history", "logs.old"];

/// What is renamed while it is looked for is looked for at most so often.
const LOOKS: usize = 5;

/// For at most so many directories is remembered where their rotated files lie.
const DIRECTORIES: usize = 1024;

/// At most so many directories are remembered for the rotated files of one.
const ELSEWHERE: usize = 4;

/// How a generation's name is made from the log's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// `app.log.1`, `app.log-20260101`, `app.log.old`.
    Behind,
    /// `app.1.log`, `app-20260101.log`.
    Before,
}

/// A file whose name says that it may be a generation.
#[derive(Clone, Debug)]
pub(super) struct Generation {
    pub(super) path: PathBuf,
    pub(super) look: Look,
    pub(super) style: Style,
    pub(super) packed: bool,
}

impl Generation {
    /// The order in which generations were written. Where two were last written in one tick of the clock, the names
    /// decide: `.2` is older than `.1`, one date older than the next.
    pub(super) fn order(&self, other: &Generation) -> Ordering {
        self.look.mtime.cmp(&other.look.mtime).then_with(|| self.by_name(other))
    }

    /// The same as far as the names say it.
    pub(super) fn by_name(&self, other: &Generation) -> Ordering {
        let (a, b) = (number(&self.path), number(&other.path));
        // A date has at least six digits; what is shorter counts backwards.
        match (a, b) {
            (Some(a), Some(b)) if a < 100_000 && b < 100_000 => b.cmp(&a),
            (a, b) => a.cmp(&b),
        }
    }
}

/// The digits of a generation's suffix, as a number.
fn number(path: &Path) -> Option<u128> {
    let name = path.file_name()?.as_bytes();
    let name = archive::unpacked_name(name).unwrap_or(name);
    let tail =
        name.iter().rposition(|b| !b.is_ascii_digit() && !b".-_:TZ+".contains(b)).map_or(0, |at| at + 1);
    let digits: Vec<u8> = name[tail..].iter().copied().filter(u8::is_ascii_digit).take(30).collect();
    std::str::from_utf8(&digits).ok()?.parse().ok()
}

/// How `name` may be a generation of the log `base` in the same directory, compressed or not; `None` if it is none.
pub(super) fn style(name: &OsStr, base: &OsStr) -> Option<Style> {
    let (name, base) = (name.as_bytes(), base.as_bytes());
    let plain = archive::unpacked_name(name).unwrap_or(name);
    if let Some(rest) = plain.strip_prefix(base) {
        let bare = rest.is_empty() && plain.len() < name.len();
        return (bare || matches!(rest, b".old" | b".bak" | b".prev" | b"~") || numbered(rest))
            .then_some(Style::Behind);
    }
    let dot = base.iter().rposition(|&b| b == b'.').filter(|&at| at > 0)?;
    let (stem, extension) = base.split_at(dot);
    let middle = plain.strip_prefix(stem)?.strip_suffix(extension)?;
    (middle.first().is_some_and(|b| b".-_".contains(b)) && numbered(middle)).then_some(Style::Before)
}

/// What the names of all generations of `base` begin with.
fn stem(base: &OsStr) -> &[u8] {
    let base = base.as_bytes();
    base.iter().rposition(|&b| b == b'.').filter(|&at| at > 0).map_or(base, |at| &base[..at])
}

fn numbered(suffix: &[u8]) -> bool {
    suffix.iter().any(u8::is_ascii_digit)
        && suffix.iter().all(|b| b.is_ascii_digit() || b".-_:TZ+".contains(b))
}

impl Tailer {
    /// The generations of the log at `path` that lie in `dir`, the oldest first. An archive in the making is none.
    ///
    /// What is renamed while we look may be seen under no name at all: then only what is the same twice is believed.
    pub(super) fn generations(&self, dir: &Path, path: &Path) -> Vec<Generation> {
        let (mut known, mut sure) = self.generations_in(&self.listings.of(dir), dir, path);
        for _ in 0..LOOKS {
            if sure {
                break;
            }
            let (again, settled) = self.generations_in(&self.listings.anew(dir), dir, path);
            let same = known.len() == again.len()
                && known.iter().zip(&again).all(|(a, b)| a.look.id == b.look.id && a.path == b.path);
            (known, sure) = (again, settled || same);
        }
        known
    }

    /// Those that are listed, and whether these are all.
    fn generations_in(&self, listing: &Listing, dir: &Path, path: &Path) -> (Vec<Generation>, bool) {
        let Some(base) = path.file_name() else { return (vec![], true) };
        let mut all = vec![];
        let mut sure = listing.settled;
        let named =
            listing.beginning(stem(base)).filter_map(|name| Some((dir.join(name), style(name, base)?)));
        for (at, style) in named.take(GENERATIONS).filter(|(at, _)| at != path) {
            let packed = archive::is_packed(&at);
            match self.see(&at) {
                Ok(look) => {
                    // Another file has the name by now, and this one another name, which may have been passed already.
                    sure &= !at.file_name().is_some_and(|name| listing.is_outdated(name, look.id.ino));
                    if look.is_file() && (!packed || is_finished(&at)) {
                        all.push(Generation { path: at, look, style, packed });
                    }
                }
                Err(_) => sure = false,
            }
        }
        all.sort_by(Generation::order);
        (all, sure)
    }

    /// Where the file of identity `id` is now: in the directory it was in, or near it.
    pub(super) fn find(&self, path: &Path, id: FileId) -> Option<PathBuf> {
        let (own, name) = (path.parent()?, path.file_name()?);
        let among = |listing: &Listing, dir: &Path| {
            let same = |p: &PathBuf| self.see(p).is_ok_and(|l| l.id == id && l.is_file());
            listing.names_of(id.ino).map(|n| dir.join(n)).find(same)
        };
        let within = |dir: &Path| {
            let listing = self.listings.of(dir);
            // Where it has still its name, the listing is from before; and it may be renamed while we list.
            let past = dir == own && listing.inode(name) == Some(id.ino);
            let known = if past { None } else { among(&listing, dir) };
            let sure = listing.settled && !past;
            known.or_else(|| if sure { None } else { among(&self.listings.anew(dir), dir) })
        };
        within(own).or_else(|| self.near(own).iter().find_map(|dir| within(dir)))
    }

    /// Opens the file of this identity that was seen at `path` just now, wherever it was moved to since.
    pub(super) fn open_the(&self, path: &Path, id: FileId) -> Option<(PathBuf, Look, Handle)> {
        let mut path = path.to_path_buf();
        for _ in 0..LOOKS {
            if let Some((look, handle)) = self.open_as(&path)
                && look.id == id
            {
                return Some((path, look, handle));
            }
            path = self.find(&path, id)?;
        }
        None
    }

    /// Rotated files of the logs in the directory of `path` lie in `other`, too.
    pub(super) fn learn_directory(&mut self, path: &Path, other: Option<&Path>) {
        let (Some(own), Some(other)) = (path.parent(), other) else { return };
        if own == other || (self.elsewhere.len() >= DIRECTORIES && !self.elsewhere.contains_key(own)) {
            return;
        }
        let known = self.elsewhere.entry(own.to_path_buf()).or_default();
        if known.len() < ELSEWHERE && !known.iter().any(|d| d == other) {
            known.push(other.to_path_buf());
        }
    }

    /// All generations of the log, wherever such are known to lie: beside it, and where its `found` one does.
    pub(super) fn all_generations(&self, path: &Path, found: Option<&Path>) -> Vec<Generation> {
        let own = path.parent().unwrap_or(Path::new("/"));
        let elsewhere = self.elsewhere.get(own).into_iter().flatten().map(PathBuf::as_path);
        let mut dirs: Vec<&Path> = std::iter::once(own).chain(elsewhere).chain(found).collect();
        dirs.sort_unstable();
        dirs.dedup();
        let mut all: Vec<Generation> = dirs.into_iter().flat_map(|dir| self.generations(dir, path)).collect();
        all.sort_by(Generation::order);
        all
    }

    /// Directories in which rotated files of a log in `own` may lie, apart from itself: any in it, and those beside it
    /// that have such a name. Other neighbours hold logs of their own, which may be twins of this one.
    pub(super) fn near(&self, own: &Path) -> Vec<PathBuf> {
        let within = |dir: &Path, all: bool| -> Vec<PathBuf> {
            let listing = self.listings.of(dir);
            let named = |n: &&OsStr| all || OLD.iter().any(|old| n.eq_ignore_ascii_case(old));
            listing.directories().filter(named).map(|n| dir.join(n)).take(NEAR).collect()
        };
        let mut all = within(own, true);
        all.extend(own.parent().map(|above| within(above, false)).unwrap_or_default());
        all.retain(|d| d != own);
        all
    }
}

/// Nothing is left of what the archive is made from.
fn is_finished(path: &Path) -> bool {
    let plain = path.file_name().and_then(|n| archive::unpacked_name(n.as_bytes()));
    plain.is_none_or(|n| fs::symlink_metadata(path.with_file_name(OsStr::from_bytes(n))).is_err())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tail::{Bell, TailOptions};
    use crate::time::Now;

    #[test]
    fn generations_are_told_from_neighbours_by_their_names() {
        let is = |name: &str| style(OsStr::new(name), OsStr::new("app.log"));
        for name in [
            "app.log.1",
            "app.log-20260101",
            "app.log.old",
            "app.log.2026-01-01T10:00",
            "app.log.1.gz",
            "app.log.zst",
        ] {
            assert_eq!(is(name), Some(Style::Behind), "{name}");
        }
        for name in ["app.1.log", "app-20260101.log", "app-20260101.log.xz"] {
            assert_eq!(is(name), Some(Style::Before), "{name}");
        }
        for name in ["app.log", "app.log.err", "other.log.1", "app1.log", "app-x.log", "app.log.gz.txt"] {
            assert_eq!(is(name), None, "{name}");
        }
    }

    /// Who rotates renames the oldest first: each name leads to a file all the while, and one file is met twice or not at
    /// all.
    #[test]
    fn what_was_renamed_between_its_listing_and_the_look_at_it_is_looked_for_again() {
        let dir = tempfile::tempdir().unwrap();
        let at = |n: u32| dir.path().join(format!("a.log.{n}"));
        (1..=3).for_each(|n| fs::write(at(n), "x").unwrap());
        let options = TailOptions { inotify: false, ..TailOptions::default() };
        let tailer = Tailer::new(vec![], vec![], Bell::new(), options, Now::default());
        let listing = tailer.listings.of(dir.path());
        let log = dir.path().join("a.log");
        let found = |listing: &Listing| {
            let (all, sure) = tailer.generations_in(listing, dir.path(), &log);
            (all.len(), sure)
        };
        assert_eq!(found(&listing), (3, true));
        (1..=3).rev().for_each(|n| fs::rename(at(n), at(n + 1)).unwrap());
        fs::write(at(1), "x").unwrap();
        assert_eq!(found(&listing), (3, false), "one of four was not met");
        assert_eq!(found(&tailer.listings.anew(dir.path())), (4, true));
    }

    #[test]
    fn one_tick_of_the_clock_leaves_the_order_to_the_names() {
        let look = crate::tail::identity::look(Path::new("/")).unwrap();
        let of = |path: &str| Generation { path: path.into(), look, style: Style::Behind, packed: false };
        let sorted = |paths: &[&str]| {
            let mut all: Vec<Generation> = paths.iter().map(|p| of(p)).collect();
            all.sort_by(Generation::order);
            all.iter().map(|g| g.path.display().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(
            sorted(&["/a.log.1", "/a.log.10.gz", "/a.log.2.gz"]),
            ["/a.log.10.gz", "/a.log.2.gz", "/a.log.1"]
        );
        assert_eq!(
            sorted(&["/a.log-20260102", "/a.log-20251231.gz", "/a.log-20260101.gz"]),
            ["/a.log-20251231.gz", "/a.log-20260101.gz", "/a.log-20260102"]
        );
    }
}
