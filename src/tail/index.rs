//! Ways from an identity or a name to a file that is held.
//!
//! One file may be known by several names at once: the glob's, that of a symlink's target, a hard link's, the
//! name it was rotated to. A hint at any of them must lead to it, and a forgotten file must leave none behind.
//! Nearly all files have one name and nearly all names one file, and there may be very many of both: so one is kept in
//! place, and a name's text lies in memory once, shared with the file.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::identity::FileId;

/// At most so many names lead to one file; more hard links than that are found by the sweep.
const NAMES: usize = 8;

/// Names and identities of the files that are held, by their numbers.
#[derive(Debug, Default)]
pub(super) struct Index {
    by_id: HashMap<(usize, FileId), u64>,
    by_path: HashMap<Arc<Path>, Few<u64>>,
    names: HashMap<u64, Few<Arc<Path>>>,
}

/// One, mostly.
#[derive(Debug)]
enum Few<T> {
    One(T),
    /// Not empty once it is in the index.
    More(Vec<T>),
}

impl<T> Few<T> {
    fn all(&self) -> &[T] {
        match self {
            Few::One(one) => std::slice::from_ref(one),
            Few::More(all) => all,
        }
    }

    fn push(&mut self, more: T) {
        *self = match std::mem::replace(self, Few::More(vec![])) {
            Few::One(one) => Few::More(vec![one, more]),
            Few::More(mut all) => {
                all.push(more);
                Few::More(all)
            }
        };
    }

    /// Takes some out; `true` if nothing is left.
    fn remove(&mut self, which: impl Fn(&T) -> bool) -> bool {
        match self {
            Few::One(one) => which(one),
            Few::More(all) => {
                all.retain(|one| !which(one));
                all.is_empty()
            }
        }
    }
}

impl Index {
    pub(super) fn file(&self, source: usize, id: FileId) -> Option<u64> {
        self.by_id.get(&(source, id)).copied()
    }

    /// The files that `path` may mean.
    pub(super) fn at(&self, path: &Path) -> &[u64] {
        self.by_path.get(path).map_or(&[], Few::all)
    }

    /// The names that lead to the file, as far as they are known.
    pub(super) fn names(&self, no: u64) -> impl Iterator<Item = &Arc<Path>> {
        self.names.get(&no).into_iter().flat_map(Few::all)
    }

    pub(super) fn add(&mut self, source: usize, id: FileId, no: u64) {
        self.by_id.insert((source, id), no);
    }

    pub(super) fn name(&mut self, no: u64, path: impl Into<Arc<Path>>) {
        let path = path.into();
        match self.names.get_mut(&no) {
            Some(names) if names.all().len() >= NAMES || names.all().contains(&path) => return,
            Some(names) => names.push(Arc::clone(&path)),
            None => _ = self.names.insert(no, Few::One(Arc::clone(&path))),
        }
        match self.by_path.get_mut(&path) {
            Some(files) => files.push(no),
            None => _ = self.by_path.insert(path, Few::One(no)),
        }
    }

    pub(super) fn unname(&mut self, no: u64, path: &Path) {
        if self.names.get_mut(&no).is_some_and(|names| names.remove(|p| **p == *path)) {
            self.names.remove(&no);
        }
        self.forget(no, path);
    }

    /// The name no longer leads to the file.
    fn forget(&mut self, no: u64, path: &Path) {
        if self.by_path.get_mut(path).is_some_and(|files| files.remove(|&n| n == no)) {
            self.by_path.remove(path);
        }
    }

    /// The file is found under another identity from now on.
    pub(super) fn replace(&mut self, source: usize, old: FileId, new: FileId, no: u64) {
        if self.by_id.get(&(source, old)) == Some(&no) {
            self.by_id.remove(&(source, old));
        }
        self.by_id.insert((source, new), no);
    }

    pub(super) fn remove(&mut self, source: usize, id: FileId, no: u64) {
        if self.by_id.get(&(source, id)) == Some(&no) {
            self.by_id.remove(&(source, id));
        }
        for path in self.names.remove(&no).iter().flat_map(Few::all) {
            self.forget(no, path);
        }
    }

    /// Source numbers changed: `to[old]` is the new one.
    pub(super) fn renumber(&mut self, to: &HashMap<usize, usize>) {
        self.by_id = std::mem::take(&mut self.by_id)
            .into_iter()
            .filter_map(|((source, id), no)| Some(((*to.get(&source)?, id), no)))
            .collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_files_are_many_to_many_and_leave_nothing_behind() {
        let mut index = Index::default();
        let names =
            |index: &Index, no: u64| index.names(no).map(|p| p.display().to_string()).collect::<Vec<_>>();
        for _ in 0..2 {
            index.name(1, Path::new("/a"));
            index.name(1, Path::new("/b"));
            index.name(2, Path::new("/a"));
        }
        assert_eq!((names(&index, 1), names(&index, 2)), (vec!["/a".into(), "/b".into()], vec!["/a".into()]));
        assert_eq!(index.at(Path::new("/a")), [1, 2]);
        index.unname(1, Path::new("/a"));
        index.unname(1, Path::new("/nobody's"));
        assert_eq!((index.at(Path::new("/a")), index.at(Path::new("/b"))), (&[2][..], &[1][..]));
        for n in 0..2 * NAMES {
            index.name(1, Path::new(&format!("/{n}")));
        }
        assert_eq!(index.names(1).count(), NAMES);
        for no in [1, 2] {
            index.remove(0, FileId { dev: 0, ino: no, born: None }, no);
        }
        assert!(index.names.is_empty() && index.by_path.is_empty(), "{index:?}");
    }
}
