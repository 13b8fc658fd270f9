//! The keys of one rule, by their hashes.
//!
//! A hit asks for its key some ten times, and of a flood each hit brings one that no cache has seen: so they are found in
//! one step, without a search. Going through them is rare, and where what is said depends on their order they are put in
//! order first: going through them in the same order before and after a restart is what makes the two runs say the same.
//!
//! The surprise: nothing is hashed here. What a key is found by is a keyed hash already, so nobody who writes into a log
//! can choose two that fall into one place.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hasher};

use super::rule::Slot;

/// By the keyed hashes of their raw values.
#[derive(Default)]
pub(super) struct Keys(HashMap<u64, Box<Slot>, BuildHasherDefault<Hashed>>);

/// What is hashed already.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, bytes: &[u8]) {
        // never asked: a key is a `u64`
        self.0 = bytes.iter().fold(self.0, |all, byte| all.rotate_left(8) ^ u64::from(*byte));
    }
}

impl Keys {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn has(&self, hash: u64) -> bool {
        self.0.contains_key(&hash)
    }

    pub(super) fn get(&self, hash: u64) -> Option<&Slot> {
        self.0.get(&hash).map(|slot| &**slot)
    }

    pub(super) fn get_mut(&mut self, hash: u64) -> Option<&mut Slot> {
        self.0.get_mut(&hash).map(|slot| &mut **slot)
    }

    /// The one of this hash, made when it is not there; whether it was made.
    pub(super) fn get_or_insert(&mut self, hash: u64, make: impl FnOnce() -> Slot) -> (&mut Slot, bool) {
        match self.0.entry(hash) {
            Entry::Occupied(known) => (known.into_mut(), false),
            Entry::Vacant(place) => (place.insert(Box::new(make())), true),
        }
    }

    /// Takes the place of one of the same hash; whether there was one.
    pub(super) fn insert(&mut self, hash: u64, slot: Slot) -> bool {
        self.0.insert(hash, Box::new(slot)).is_some()
    }

    pub(super) fn remove(&mut self, hash: u64) -> Option<Box<Slot>> {
        self.0.remove(&hash)
    }

    /// All, in no order: for sums.
    pub(super) fn unordered(&self) -> impl Iterator<Item = (u64, &Slot)> {
        self.0.iter().map(|(hash, slot)| (*hash, &**slot))
    }

    /// The same, to be changed.
    pub(super) fn unordered_mut(&mut self) -> impl Iterator<Item = (u64, &mut Slot)> {
        self.0.iter_mut().map(|(hash, slot)| (*hash, &mut **slot))
    }

    /// The hashes of those that `which` says, in order.
    pub(super) fn hashes(&self, which: impl Fn(&Slot) -> bool) -> Vec<u64> {
        let mut found: Vec<u64> = self.unordered().filter(|(_, slot)| which(slot)).map(|k| k.0).collect();
        found.sort_unstable();
        found
    }
}
