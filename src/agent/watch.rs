//! Has somebody edited the rules? A look at names, sizes and times twice a second; no event is needed, none is missed.
//!
//! An editor writes a file in several steps, so a change counts once everything has been calm for one whole look.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Duration;

/// The files and folders of a set of rules, as they were and as they are.
#[derive(Debug)]
pub(super) struct FilesWatch {
    paths: Vec<PathBuf>,
    judged: Vec<Look>,
    last: Vec<Look>,
}

/// Inode, size, modification and change time; `None` when it is not there. For a folder a new name in it shows too.
type Look = Option<(u64, u64, i64, i64, i64)>;

impl FilesWatch {
    /// Between two looks; also how long a change must have been calm.
    pub(super) const EVERY: Duration = Duration::from_millis(500);

    /// Watches these from now on.
    pub(super) fn new(paths: Vec<PathBuf>) -> FilesWatch {
        let now = look(&paths);
        FilesWatch { paths, judged: now.clone(), last: now }
    }

    /// What lies there now is about to be judged.
    pub(super) fn judged(&mut self) {
        self.judged = look(&self.paths);
        self.last.clone_from(&self.judged);
    }

    /// From now on these are watched. A path that was watched before keeps what was judged of it, so that an edit
    /// since then is still seen.
    pub(super) fn change_to(&mut self, paths: Vec<PathBuf>) {
        let fresh = look(&paths);
        let old = |p: &PathBuf| self.paths.iter().position(|q| q == p).map(|at| self.judged[at]);
        self.judged = paths.iter().zip(&fresh).map(|(p, now)| old(p).unwrap_or(*now)).collect();
        self.last = fresh;
        self.paths = paths;
    }

    /// Something differs from what was judged, and nothing moved since the last look. Says so once a change.
    pub(super) fn changed_and_calm(&mut self) -> bool {
        let now = look(&self.paths);
        let calm = now == self.last;
        self.last.clone_from(&now);
        if !calm || now == self.judged {
            return false;
        }
        self.judged = now;
        true
    }
}

fn look(paths: &[PathBuf]) -> Vec<Look> {
    let one = |m: fs::Metadata| {
        (m.ino(), m.size(), m.mtime_nsec() + m.mtime() * 1_000_000_000, m.ctime(), m.ctime_nsec())
    };
    paths.iter().map(|p| fs::metadata(p).ok().map(one)).collect()
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
}
