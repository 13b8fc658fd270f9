//! The files that are held, by their numbers.
//!
//! Each lies in a box of its own: numbers only ever grow, so the nodes of the tree fill half, and with the files in
//! them twenty thousand would cost twice what they hold.

use std::collections::BTreeMap;
use std::ops::{Index, RangeFrom};

use super::file::Tailed;

/// See the module's essay.
#[derive(Debug, Default)]
pub(super) struct Files(BTreeMap<u64, Box<Tailed>>);

impl Files {
    pub(super) fn get(&self, no: u64) -> Option<&Tailed> {
        self.0.get(&no).map(AsRef::as_ref)
    }

    pub(super) fn get_mut(&mut self, no: u64) -> Option<&mut Tailed> {
        self.0.get_mut(&no).map(AsMut::as_mut)
    }

    pub(super) fn insert(&mut self, file: Tailed) {
        self.0.insert(file.no, Box::new(file));
    }

    pub(super) fn remove(&mut self, no: u64) -> Option<Box<Tailed>> {
        self.0.remove(&no)
    }

    pub(super) fn contains_key(&self, no: u64) -> bool {
        self.0.contains_key(&no)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = u64> {
        self.0.keys().copied()
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Tailed> {
        self.0.values().map(AsRef::as_ref)
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut Tailed> {
        self.0.values_mut().map(AsMut::as_mut)
    }

    /// Those from a number on, in the order of their numbers.
    pub(super) fn range(&self, from: RangeFrom<u64>) -> impl Iterator<Item = (&u64, &Tailed)> {
        self.0.range(from).map(|(no, file)| (no, file.as_ref()))
    }
}

impl Index<u64> for Files {
    type Output = Tailed;

    fn index(&self, no: u64) -> &Tailed {
        &self.0[&no]
    }
}
