//! Was somebody there? What was not watched, and up to when all that was written has been read.
//!
//! What is missing can only be judged for time that was watched and caught up with (`expect`). The surprise: of times away
//! only the last few are known. What was missed longer ago has been judged by then, or is forgotten.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::Judge;
use super::rows::RowKey;
use crate::time::{Now, Tick};

/// Times away that are remembered.
const AWAYS: usize = 8;

/// What is known of the agent's own presence.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Watch {
    /// Everything that was written before has been read. Not kept: a new run has read nothing yet.
    #[serde(skip)]
    pub(super) up_to: Tick,
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
    fn two_times_away_with_nothing_between_are_one() {
        let mut watch = Watch::default();
        watch.add(Tick(10), Tick(20));
        watch.add(Tick(20), Tick(30));
        watch.add(Tick(31), Tick(40));
        assert!(watch.was_away(Tick(12), Tick(30)) && watch.was_away(Tick(10), Tick(15)));
        assert!(!watch.was_away(Tick(12), Tick(31)) && !watch.was_away(Tick(9), Tick(15)));
    }
}
