//! Different values: `distinct = "user"` fires on the hit that brings the `threshold`th value in (t − within, t].
//!
//! Of a value its latest time is kept, and how many hits brought it; when that time has aged, all of them go. A value is
//! known by a keyed hash alone, so that neither memory nor the state file holds what people type into password
//! prompts. What this cannot tell apart is nothing: two values of one hash are as likely as a bit that flips by itself.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::window::{Firing, Pushed};
use crate::time::Wall;

/// An open incident knows at least this many of its values apart; of more it says that there are more.
const KNOWN: usize = 256;

/// The values of one key that may still add up: at most `threshold`, by their latest time.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Values(VecDeque<Value>);

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Value {
    hash: u64,
    first: Wall,
    latest: Wall,
    hits: u64,
}

/// What one value takes, in bytes.
pub(super) const VALUE: usize = size_of::<Value>();

impl Values {
    /// What they take, in bytes.
    pub(super) fn heap(&self) -> usize {
        self.0.capacity() * VALUE
    }

    /// There is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many different ones it holds.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Every count in it.
    pub(super) fn counts(&self) -> impl Iterator<Item = u64> {
        self.0.iter().map(|v| v.hits)
    }

    /// Hits that brought them.
    pub(super) fn hits(&self) -> u64 {
        self.0.iter().map(|v| v.hits).sum()
    }

    /// One more hit, at `at`, with this value. After firing, those that fired are left.
    pub(super) fn push(&mut self, at: Wall, hash: u64, threshold: u32, within: Duration) -> Pushed {
        let n = (threshold as usize).max(1);
        let aged = self.0.partition_point(|v| v.latest <= at - within);
        let mut below: u64 = self.0.drain(..aged).map(|v| v.hits).sum();
        let known = self.0.iter().position(|v| v.hash == hash).and_then(|i| self.0.remove(i));
        let mut value = known.unwrap_or(Value { hash, first: at, latest: at, hits: 0 });
        (value.first, value.latest, value.hits) = (value.first.min(at), value.latest.max(at), value.hits + 1);
        let place = self.0.partition_point(|v| v.latest <= value.latest);
        self.0.insert(place, value);
        let full = |from: &usize| {
            let last = self.0.get(from + n - 1)?;
            (last.latest.since(self.0[*from].latest) < within).then_some(*from)
        };
        // newest first, as in a window of times
        let starts = place.saturating_sub(n - 1)..=place;
        if let Some(from) = starts.rev().find_map(|from| full(&from)) {
            let fired = self.0.drain(from..from + n).collect();
            below += self.hits();
            self.0 = fired;
            let first = self.0.iter().map(|v| v.first).min().unwrap_or(at);
            let last = self.0.back().map_or(at, |v| v.latest);
            return Pushed { below, fired: Some(Firing { hits: self.hits(), first, last }) };
        }
        while self.0.len() >= n.max(2) {
            let (Some(first), Some(last)) = (self.0.front(), self.0.back()) else { break };
            let oldest = at.since(first.latest) >= last.latest.since(at);
            let gone = if oldest { self.0.pop_front() } else { self.0.pop_back() };
            below += gone.map_or(0, |v| v.hits);
        }
        Pushed { below, fired: None }
    }
}

/// The values that an incident has seen, as far as it knows them apart.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Different {
    /// Ascending.
    hashes: Vec<u64>,
    /// How many at the most.
    room: usize,
    more: bool,
}

impl Different {
    /// Those that fired.
    pub(super) fn of(values: &Values) -> Different {
        let mut hashes: Vec<u64> = values.0.iter().map(|v| v.hash).collect();
        hashes.sort_unstable();
        Different { room: hashes.len().max(KNOWN), hashes, more: false }
    }

    /// Nobody asks.
    pub(super) fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// What it holds beside itself, in bytes.
    pub(super) fn heap(&self) -> usize {
        self.hashes.capacity() * 8
    }

    /// One more hit.
    pub(super) fn add(&mut self, hash: u64) {
        let Err(place) = self.hashes.binary_search(&hash) else { return };
        if self.hashes.len() < self.room.max(KNOWN) {
            self.hashes.insert(place, hash);
        } else {
            self.more = true;
        }
    }

    /// `17`, or `256+` where there are more than are known apart.
    pub(super) fn text(&self) -> String {
        format!("{}{}", self.hashes.len(), if self.more { "+" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const W: Duration = Duration::from_millis(10);

    /// Times at which it fires (it begins anew then), hits that fired, hits below.
    fn run(hits: &[(i64, u64)], threshold: u32) -> (Vec<i64>, u64, u64) {
        let (mut values, mut times, mut fired, mut below) = (Values::default(), Vec::new(), 0, 0);
        for (at, hash) in hits {
            let pushed = values.push(Wall(*at), *hash, threshold, W);
            below += pushed.below;
            assert!(values.0.len() <= threshold as usize);
            if let Some(firing) = pushed.fired {
                assert_eq!(values.0.len(), threshold as usize);
                (fired, values) = (fired + firing.hits, Values::default());
                times.push(*at);
            }
        }
        (times, fired, below + values.hits())
    }

    #[test]
    fn the_same_value_again_counts_for_nothing_but_its_time() {
        assert_eq!(run(&[(0, 1), (1, 1), (2, 1), (3, 2), (4, 3)], 3), (vec![4], 5, 0));
        assert_eq!(run(&[(0, 1), (9, 1), (9, 2), (18, 3)], 3), (vec![18], 4, 0), "its latest time is within");
        assert_eq!(run(&[(0, 1), (5, 2), (10, 3)], 3), (vec![], 0, 3), "the edge is out");
    }

    #[test]
    fn values_beyond_what_is_known_apart_are_said_to_be_more() {
        let mut different = Different::default();
        (0..KNOWN as u64).for_each(|n| different.add(n));
        assert_eq!(different.text(), "256");
        different.add(7);
        assert_eq!(different.text(), "256");
        different.add(1 << 40);
        assert_eq!(different.text(), "256+");
    }

    proptest! {
        /// Against the definition, with every hit kept since the last firing.
        #[test]
        fn equals_the_definition(steps in prop::collection::vec((0i64..6, 0u64..5), 0..200), threshold in 2u32..5) {
            let (mut t, mut since, mut expected, mut hits) = (0, Vec::new(), Vec::new(), Vec::new());
            for (step, value) in steps {
                t += step;
                hits.push((t, value));
                since.push((t, value));
                let mut seen: Vec<u64> = since.iter().filter(|(e, _)| *e > t - 10).map(|(_, v)| *v).collect();
                seen.sort_unstable();
                seen.dedup();
                if seen.len() >= threshold as usize {
                    expected.push(t);
                    since.clear();
                }
            }
            let (fired, counted, below) = run(&hits, threshold);
            prop_assert_eq!(fired, expected);
            prop_assert_eq!(counted + below, hits.len() as u64);
        }

        /// Whatever the order, no hit is counted twice or forgotten.
        #[test]
        fn every_hit_is_somewhere(hits in prop::collection::vec((0i64..60, 0u64..6), 0..200), threshold in 2u32..6) {
            let (_, counted, below) = run(&hits, threshold);
            prop_assert_eq!(counted + below, hits.len() as u64);
        }
    }
}
