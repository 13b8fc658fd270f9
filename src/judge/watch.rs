//! Was somebody there? What was not watched, and up to when all that was written has been read.
//!
//! What is missing can only be judged for time that was watched and caught up with (`expect`). What is due while reading is
//! behind waits here, in the order in which reading will reach it: a thousand keys that wait cost no more than one.
//!
//! The surprise: of times away only the last few are known. What was missed longer ago has been judged by then, or is
//! forgotten.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Judge;
use super::rows::RowKey;
use super::rule::Rid;
use crate::time::{Now, Tick};

/// Times away that are remembered.
const AWAYS: usize = 8;

/// While something waits for the logs to be read, it is asked so often how far they have been.
const AGAIN: Duration = Duration::from_secs(1);

/// What is known of the agent's own presence.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Watch {
    /// Everything that was written before has been read. Not kept: a new run has read nothing yet.
    #[serde(skip)]
    up_to: Tick,
    /// What waits until everything that was written before an instant has been read: of each key that is expected one
    /// instant at most, which goes with its key.
    #[serde(skip)]
    unread: BTreeSet<(Tick, Rid, u64)>,
    /// It is asked again then, while something waits.
    #[serde(skip)]
    again: Option<Tick>,
    /// Nobody was there, from and to; the last few, oldest first.
    aways: VecDeque<(Tick, Tick)>,
}

impl Watch {
    fn add(&mut self, from: Tick, to: Tick) {
        if self.aways.len() == AWAYS {
            self.aways.pop_front();
        }
        self.aways.push_back((from, to));
    }

    /// Everything that was written before `up_to` has been read.
    pub(super) fn read(&mut self, up_to: Tick) {
        self.up_to = self.up_to.max(up_to);
    }

    /// Everything that was written before `by` has been read.
    pub(super) fn has_read(&self, by: Tick) -> bool {
        self.up_to >= by
    }

    /// This key waits until everything that was written before `by` has been read.
    pub(super) fn wait(&mut self, by: Tick, rid: Rid, hash: u64, now: Now) {
        self.unread.insert((by, rid, hash));
        self.again.get_or_insert(now.tick + AGAIN);
    }

    /// This key waits no longer.
    pub(super) fn forget(&mut self, by: Tick, rid: Rid, hash: u64) {
        self.unread.remove(&(by, rid, hash));
    }

    /// Takes out the first that waits no longer, for that has been read.
    pub(super) fn next_read(&mut self) -> Option<(Tick, Rid, u64)> {
        self.unread.first().filter(|(by, ..)| self.has_read(*by))?;
        self.unread.pop_first()
    }

    /// When [`super::Input::Watched`] must come, for something waits for it.
    pub(super) fn due(&self) -> Option<Tick> {
        self.again
    }

    /// What could be taken out was.
    pub(super) fn looked(&mut self, now: Now) {
        if self.unread.is_empty() {
            self.again = None;
        } else if self.again.is_none_or(|again| again <= now.tick) {
            self.again = Some(now.tick + AGAIN);
        }
    }

    /// Nobody was there from one instant to another, without a moment between.
    pub(super) fn was_away(&self, mut from: Tick, to: Tick) -> bool {
        for (gone, back) in &self.aways {
            if *gone <= from && from < *back {
                from = *back;
            }
        }
        from >= to
    }
}

impl Judge {
    /// Nobody was there since `from`.
    pub(super) fn away(&mut self, from: Tick, now: Now) {
        self.watch.add(from, now.tick);
        self.dirty.insert(RowKey::Watch);
        self.say_away(from, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_reading_is_one_deadline_and_comes_out_as_far_as_has_been_read() {
        let at = |tick| Now { wall: crate::time::Wall(0), tick: Tick(tick) };
        let mut watch = Watch::default();
        for (by, hash) in [(30, 1), (10, 2), (20, 3), (20, 4)] {
            watch.wait(Tick(by), Rid(0), hash, at(100));
        }
        assert_eq!((watch.due(), watch.next_read()), (Some(Tick(1100)), None));
        watch.looked(at(1100));
        assert_eq!(watch.due(), Some(Tick(2100)), "it is asked again");
        watch.read(Tick(20));
        watch.forget(Tick(20), Rid(0), 3);
        assert_eq!(watch.next_read(), Some((Tick(10), Rid(0), 2)));
        assert_eq!(watch.next_read(), Some((Tick(20), Rid(0), 4)));
        assert_eq!(watch.next_read(), None);
        watch.looked(at(1500));
        assert_eq!(watch.due(), Some(Tick(2100)), "one still waits");
        watch.read(Tick(10));
        watch.read(Tick(30));
        assert_eq!(watch.next_read(), Some((Tick(30), Rid(0), 1)), "what has been read stays read");
        watch.looked(at(1600));
        assert_eq!(watch.due(), None);
    }

    #[test]
    fn two_times_away_with_nothing_between_are_one() {
        let mut watch = Watch::default();
        watch.add(Tick(10), Tick(20));
        watch.add(Tick(20), Tick(30));
        watch.add(Tick(31), Tick(40));
        assert!(watch.was_away(Tick(12), Tick(30)) && watch.was_away(Tick(10), Tick(15)));
        assert!(!watch.was_away(Tick(12), Tick(31)) && !watch.was_away(Tick(9), Tick(15)));
    }
}
