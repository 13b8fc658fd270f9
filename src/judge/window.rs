//! Thresholds: exact, inclusive, sliding, on event time.
//!
//! A key fires on the hit that makes `threshold` hits in (t − within, t]. What was counted and aged out is handed
//! back, so that the ledger can say `below`. A leaky bucket would need less memory and would be wrong: slow
//! attacks drain from it. Hits of several files may come out of order; when room is short, the entry farthest in
//! time from the hit just made goes first, so that a burst inside one file is seen whatever the others do.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::evidence::Evidence;
use super::memory::lines;
use super::values::Asked;
use crate::time::Wall;

/// Lines kept as evidence while a key is counted, and shown when it fires.
pub(super) const SAMPLES: usize = 3;

/// The hits of one key that may still add up. At most `threshold` entries.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Window {
    /// Event times, ascending.
    times: VecDeque<Wall>,
    /// The newest lines, oldest first, at most [`SAMPLES`].
    pub(super) samples: VecDeque<Evidence>,
    /// Of a rule with `distinct` or `top`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) asked: Option<Box<Asked>>,
}

/// What one more hit did.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pushed {
    /// So many hits left without firing.
    pub(super) below: u64,
    /// The threshold is reached, by these hits.
    pub(super) fired: Option<Firing>,
}

/// Hits that fire together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Firing {
    /// How many.
    pub(super) hits: u64,
    /// Event time of the first.
    pub(super) first: Wall,
    /// Event time of the last.
    pub(super) last: Wall,
}

impl Pushed {
    /// One hit fires alone.
    pub(super) fn fired(at: Wall) -> Pushed {
        Pushed { below: 0, fired: Some(Firing { hits: 1, first: at, last: at }) }
    }
}

impl Window {
    /// Hits held now.
    pub(super) fn len(&self) -> u64 {
        self.times.len() as u64 + self.asked.as_ref().map_or(0, |a| a.values.hits())
    }

    /// How far it is towards the threshold: hits, or different values.
    pub(super) fn counted(&self, distinct: bool) -> usize {
        if distinct { self.asked.as_ref().map_or(0, |a| a.values.len()) } else { self.times.len() }
    }

    /// What it holds beside itself, in bytes.
    pub(super) fn heap(&self) -> usize {
        let asked = self.asked.as_ref().map_or(0, |a| a.heap());
        self.times.capacity() * size_of::<Wall>() + lines(&self.samples) + asked
    }

    /// Takes out the lines to show before the one that fires.
    pub(super) fn older(&mut self) -> VecDeque<Evidence> {
        self.make_older();
        std::mem::take(&mut self.samples)
    }

    /// Keeps a line as evidence.
    pub(super) fn keep(&mut self, evidence: Evidence) {
        self.make_older();
        // most keys are hit once; room for three would weigh more than all else of theirs
        if self.samples.is_empty() {
            self.samples.reserve_exact(1);
        }
        self.samples.push_back(evidence);
    }

    /// Another line comes behind those that are kept.
    fn make_older(&mut self) {
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        if let Some(last) = self.samples.back_mut() {
            last.alone();
        }
    }

    /// Counts a hit at `at`. After firing the window is spent: all its hits are in the firing or in `below`.
    pub(super) fn push(&mut self, at: Wall, threshold: u32, within: Duration) -> Pushed {
        let n = (threshold as usize).max(1);
        let aged = self.times.partition_point(|t| *t <= at - within);
        self.times.drain(..aged);
        let place = self.times.partition_point(|t| *t <= at);
        self.times.insert(place, at);
        let mut below = aged as u64;
        let starts = place.saturating_sub(n - 1)..=place;
        let full = |from: &usize| {
            let last = self.times.get(from + n - 1)?;
            let first = self.times[*from];
            (n == 1 || last.since(first) < within).then_some(Firing { hits: n as u64, first, last: *last })
        };
        // newest first: of two runs that fire, the one that is nearer to now is the one to tell
        if let Some(fired) = starts.rev().find_map(|from| full(&from)) {
            below += self.times.len() as u64 - fired.hits;
            self.times.clear();
            return Pushed { below, fired: Some(fired) };
        }
        while self.times.len() >= n.max(2) {
            let (Some(first), Some(last)) = (self.times.front(), self.times.back()) else { break };
            if at.since(*first) >= last.since(at) {
                self.times.pop_front();
            } else {
                self.times.pop_back();
            }
            below += 1;
        }
        Pushed { below, fired: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const W: Duration = Duration::from_millis(10);

    /// Event times at which a window fires (it begins anew then), and how many hits went below.
    fn run(times: &[i64], threshold: u32) -> (Vec<i64>, u64) {
        let (mut w, mut fired, mut below) = (Window::default(), Vec::new(), 0);
        for t in times {
            let pushed = w.push(Wall(*t), threshold, W);
            below += pushed.below;
            if pushed.fired.is_some() {
                fired.push(*t);
            }
            assert!(w.times.len() <= threshold as usize);
        }
        (fired, below + w.len())
    }

    #[test]
    fn the_nth_fires_and_the_edge_is_out() {
        assert_eq!(run(&[0, 5, 9], 3), (vec![9], 0));
        assert_eq!(run(&[0, 5, 10], 3), (vec![], 3));
        assert_eq!(run(&[0, 1, 10, 11], 3), (vec![], 4));
        assert_eq!(run(&[7], 1), (vec![7], 0));
    }

    #[test]
    fn lines_of_two_files_are_sorted_by_their_time() {
        assert_eq!(run(&[8, 15, 6], 3), (vec![6], 0));
    }

    #[test]
    fn a_burst_in_one_file_is_seen_though_another_file_is_hours_ahead() {
        assert_eq!(run(&[1000, 1020, 1, 2, 3], 3), (vec![3], 2));
    }

    proptest! {
        /// Against the definition, with every event time kept since the last firing.
        #[test]
        fn equals_the_definition(steps in prop::collection::vec(0i64..8, 0..200), threshold in 1u32..6) {
            let (mut t, mut since, mut expected, mut times) = (0, Vec::new(), Vec::new(), Vec::new());
            for step in steps {
                t += step;
                times.push(t);
                since.push(t);
                if since.iter().filter(|e| **e > t - 10).count() >= threshold as usize {
                    expected.push(t);
                    since.clear();
                }
            }
            let (fired, below) = run(&times, threshold);
            prop_assert_eq!(below, times.len() as u64 - fired.len() as u64 * u64::from(threshold));
            prop_assert_eq!(fired, expected);
        }

        /// Whatever the order, no hit is counted twice or forgotten.
        #[test]
        fn every_hit_is_somewhere(times in prop::collection::vec(0i64..60, 0..200), threshold in 1u32..6) {
            let (fired, below) = run(&times, threshold);
            prop_assert_eq!(times.len() as u64, fired.len() as u64 * u64::from(threshold) + below);
        }
    }
}
