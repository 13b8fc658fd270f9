//! Has somebody edited the rules? A look at names, sizes and times each second; no event is needed, none is missed.
//!
//! An editor writes a file in several steps, so a change counts once everything has been calm for one whole look.

use std::fs;
use std::hash::{Hash as _, Hasher as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use siphasher::sip::SipHasher13;

/// The files and folders of a set of rules, as they were and as they are.
#[derive(Debug)]
pub(super) struct FilesWatch {
    paths: Vec<PathBuf>,
    judged: Vec<Look>,
    last: Vec<Look>,
}

/// What a look at one path saw; `None` when nothing is there.
type Look = Option<Seen>;

#[derive(Clone, Copy, Debug)]
struct Seen {
    inode: u64,
    /// In bytes.
    size: u64,
    /// Nanoseconds.
    changed: i128,
    /// For a folder: hash of the names of its `.toml` files.
    names: Option<u64>,
}

/// Many things may come and go in a folder that are no rules: there, only the names count.
impl PartialEq for Seen {
    fn eq(&self, other: &Seen) -> bool {
        let file = |s: &Seen| s.names.is_none().then_some((s.size, s.changed));
        (self.inode, self.names, file(self)) == (other.inode, other.names, file(other))
    }
}

impl FilesWatch {
    /// Between two looks; also how long a change must have been calm.
    pub(super) const EVERY: Duration = Duration::from_secs(1);

    /// Watches these from now on.
    pub(super) fn new(paths: Vec<PathBuf>) -> FilesWatch {
        let now = look(&paths, &[]);
        FilesWatch { paths, judged: now.clone(), last: now }
    }

    /// What lies there now is about to be judged.
    pub(super) fn judged(&mut self) {
        self.judged = look(&self.paths, &self.last);
        self.last.clone_from(&self.judged);
    }

    /// From now on these are watched. A path that was watched before keeps what was judged of it, so that an edit
    /// since then is still seen.
    pub(super) fn change_to(&mut self, paths: Vec<PathBuf>) {
        let fresh = look(&paths, &[]);
        let old = |p: &PathBuf| self.paths.iter().position(|q| q == p).map(|at| self.judged[at]);
        self.judged = paths.iter().zip(&fresh).map(|(p, now)| old(p).unwrap_or(*now)).collect();
        self.last = fresh;
        self.paths = paths;
    }

    /// Something differs from what was judged, and nothing moved since the last look. Says so once a change.
    pub(super) fn changed_and_calm(&mut self) -> bool {
        let now = look(&self.paths, &self.last);
        let calm = now == self.last;
        self.last.clone_from(&now);
        if !calm || now == self.judged {
            return false;
        }
        self.judged = now;
        true
    }
}

/// Looks at all, given what the last look saw: a folder that has not changed is not listed again.
fn look(paths: &[PathBuf], last: &[Look]) -> Vec<Look> {
    let before = |i: usize| last.get(i).copied().flatten();
    paths.iter().enumerate().map(|(i, path)| one(path, before(i))).collect()
}

fn one(path: &Path, before: Look) -> Look {
    let meta = fs::metadata(path).ok()?;
    let changed = i128::from(meta.ctime()) * 1_000_000_000 + i128::from(meta.ctime_nsec());
    let names = meta.is_dir().then(|| match before {
        Some(Seen { changed: c, names: Some(n), .. }) if c == changed => n,
        _ => names(path),
    });
    Some(Seen { inode: meta.ino(), size: meta.size(), changed, names })
}

fn names(dir: &Path) -> u64 {
    let toml = |e: fs::DirEntry| {
        Path::new(&e.file_name()).extension().is_some_and(|x| x == "toml").then(|| e.file_name())
    };
    let mut names: Vec<_> = fs::read_dir(dir).into_iter().flatten().flatten().filter_map(toml).collect();
    names.sort();
    let mut hash = SipHasher13::new();
    names.hash(&mut hash);
    hash.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_once_and_only_when_calm() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rules.toml");
        fs::write(&path, "a").unwrap();
        let mut watch = FilesWatch::new(vec![path.clone()]);
        assert!(!watch.changed_and_calm(), "nothing changed");
        fs::write(&path, "ab").unwrap();
        assert!(!watch.changed_and_calm(), "it may still be being written");
        fs::write(&path, "abc").unwrap();
        assert!(!watch.changed_and_calm(), "and it was");
        assert!(watch.changed_and_calm());
        assert!(!watch.changed_and_calm(), "once");
        fs::remove_file(&path).unwrap();
        assert!(!watch.changed_and_calm());
        assert!(watch.changed_and_calm(), "a file that is gone is a change");
    }

    #[test]
    fn of_a_folder_only_the_names_of_rules_files_count() {
        let dir = tempfile::tempdir().unwrap();
        let mut watch = FilesWatch::new(vec![dir.path().to_owned()]);
        fs::write(dir.path().join("app.log"), "x").unwrap();
        assert!(!watch.changed_and_calm() && !watch.changed_and_calm());
        fs::write(dir.path().join("more.toml"), "x").unwrap();
        assert!(!watch.changed_and_calm());
        assert!(watch.changed_and_calm());
    }
}
