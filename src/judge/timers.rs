//! When to look at which key.
//!
//! Hits that are read together have one `now`, so most deadlines come in bunches: those of one instant lie in one list,
//! unordered until its time has come. A key that goes, or whose deadline moves, is not looked for in there; it is only
//! counted, and skipped later. Whether a deadline is still meant, its key alone knows.
//!
//! The surprise: what is skipped takes room, so a list that has become mostly that is swept. That keeps the room in
//! proportion to the keys that are there, however many have been.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::rule::Rid;
use crate::time::Tick;

/// A list may hold so many times as many as are meant…
const SWEPT: usize = 4;

/// …and so many beside: sweeping a short one saves nothing.
const SHORT: usize = 64;

/// What one deadline takes at most, in bytes, while many are kept.
pub(super) const TIMER: usize = SWEPT * size_of::<(Rid, u64)>();

/// Deadlines of keys.
#[derive(Default)]
pub(super) struct Timers(BTreeMap<Tick, Bunch>);

/// Those of one instant.
#[derive(Default)]
struct Bunch {
    /// Least first from the end, once it is sorted.
    keys: Vec<(Rid, u64)>,
    sorted: bool,
    /// So many of them are meant: never none.
    meant: usize,
}

impl Timers {
    /// One more is meant.
    pub(super) fn set(&mut self, at: Tick, rid: Rid, hash: u64) {
        let bunch = self.0.entry(at).or_default();
        bunch.keys.push((rid, hash));
        (bunch.sorted, bunch.meant) = (false, bunch.meant + 1);
    }

    /// One of this instant is no longer meant; `is_set` says which still are.
    pub(super) fn forget(&mut self, at: Tick, is_set: impl Fn(Rid, u64) -> bool) {
        let Entry::Occupied(mut of) = self.0.entry(at) else { return };
        let bunch = of.get_mut();
        bunch.meant = bunch.meant.saturating_sub(1);
        if bunch.meant == 0 {
            of.remove();
        } else if bunch.keys.len() > SWEPT * bunch.meant + SHORT {
            bunch.keys.retain(|(rid, hash)| is_set(*rid, *hash));
            bunch.keys.sort_unstable_by(|a, b| b.cmp(a));
            bunch.keys.dedup();
            (bunch.sorted, bunch.meant) = (true, bunch.keys.len());
        }
    }

    /// The first instant at which one is meant.
    pub(super) fn first(&self) -> Option<Tick> {
        self.0.first_key_value().map(|(at, _)| *at)
    }

    /// Takes the first out that is due; of one instant, in the order of rules and hashes.
    pub(super) fn pop(
        &mut self,
        now: Tick,
        is_set: impl Fn(Tick, Rid, u64) -> bool,
    ) -> Option<(Tick, Rid, u64)> {
        while let Some(mut first) = self.0.first_entry().filter(|first| *first.key() <= now) {
            let at = *first.key();
            let bunch = first.get_mut();
            if !bunch.sorted {
                bunch.keys.sort_unstable_by(|a, b| b.cmp(a));
                bunch.sorted = true;
            }
            while let Some((rid, hash)) = bunch.keys.pop() {
                if is_set(at, rid, hash) {
                    bunch.meant = bunch.meant.saturating_sub(1);
                    if bunch.meant == 0 {
                        first.remove();
                    }
                    return Some((at, rid, hash));
                }
            }
            first.remove();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        /// The same as an ordered set of what is meant, and never much larger than it.
        #[test]
        fn equals_an_ordered_set(steps in prop::collection::vec((0u64..6, 0u64..40, 0u8..10), 1..600)) {
            let (mut timers, mut set) = (Timers::default(), BTreeSet::new());
            for (at, hash, what) in steps {
                let one = (Tick(at), Rid(0), hash);
                match what {
                    0 => {
                        let due = set.first().filter(|t: &&(Tick, Rid, u64)| t.0.0 <= at).copied();
                        due.map(|due| set.remove(&due));
                        let mut meant = set.clone();
                        meant.extend(due);
                        prop_assert_eq!(timers.pop(Tick(at), |at, rid, h| meant.contains(&(at, rid, h))), due);
                    }
                    1..=5 if set.insert(one) => timers.set(one.0, one.1, one.2),
                    6.. if set.remove(&one) => {
                        timers.forget(one.0, |rid, h| set.contains(&(one.0, rid, h)));
                    }
                    _ => {}
                }
                prop_assert_eq!(timers.first(), set.first().map(|t| t.0));
                let kept: usize = timers.0.values().map(|b| b.keys.len()).sum();
                prop_assert!(kept <= SWEPT * set.len() + (SHORT + 1) * timers.0.len(), "{kept} of {}", set.len());
            }
        }
    }
}
