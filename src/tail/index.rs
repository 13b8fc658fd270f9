//! Ways from an identity or a name to a file that is held.
//!
//! One file may be known by several names at once: the glob's, that of a symlink's target, a hard link's, the
//! name it was rotated to. A hint at any of them must lead to it, and a forgotten file must leave none behind.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::identity::FileId;

/// At most so many names lead to one file; more hard links than that are found by the sweep.
const NAMES: usize = 8;

/// Names and identities of the files that are held, by their numbers.
#[derive(Debug, Default)]
pub(super) struct Index {
    by_id: HashMap<(usize, FileId), u64>,
    by_path: HashMap<Arc<Path>, Vec<u64>>,
    names: HashMap<u64, Vec<Arc<Path>>>,
}

impl Index {
    pub(super) fn file(&self, source: usize, id: FileId) -> Option<u64> {
        self.by_id.get(&(source, id)).copied()
    }

    /// The files that `path` may mean.
    pub(super) fn at(&self, path: &Path) -> &[u64] {
        self.by_path.get(path).map_or(&[], Vec::as_slice)
    }

    /// The names that lead to the file, as far as they are known.
    pub(super) fn names(&self, no: u64) -> impl Iterator<Item = PathBuf> {
        self.names.get(&no).into_iter().flatten().map(|p| p.to_path_buf())
    }

    pub(super) fn add(&mut self, source: usize, id: FileId, no: u64) {
        self.by_id.insert((source, id), no);
    }

    pub(super) fn name(&mut self, no: u64, path: &Path) {
        // Nearly all files have one name, and nearly all names one file.
        let names = self.names.entry(no).or_insert_with(|| Vec::with_capacity(1));
        if names.len() < NAMES && !names.iter().any(|p| **p == *path) {
            let path: Arc<Path> = path.into();
            names.push(Arc::clone(&path));
            self.by_path.entry(path).or_insert_with(|| Vec::with_capacity(1)).push(no);
        }
    }

    pub(super) fn unname(&mut self, no: u64, path: &Path) {
        if let Some(names) = self.names.get_mut(&no) {
            names.retain(|p| **p != *path);
        }
        if let Some(files) = self.by_path.get_mut(path) {
            files.retain(|&n| n != no);
            if files.is_empty() {
                self.by_path.remove(path);
            }
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
        for path in self.names.remove(&no).unwrap_or_default() {
            if let Some(files) = self.by_path.get_mut(&path) {
                files.retain(|&n| n != no);
                if files.is_empty() {
                    self.by_path.remove(&path);
                }
            }
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
