//! What each rule costs: how many places were looked at for it, how many lines it hit, how long that took.
//!
//! Off by default, and then one test of a pointer a candidate. While it is on, every look at a candidate is timed,
//! which costs about as much as the look itself: shares are to be believed, sums are not.

use crate::hit::RuleNo;
use crate::time::Stopwatch;

/// What one rule has cost since it was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// The rule.
    pub rule: RuleNo,
    /// How often a line was looked at for it: a literal of it stood there, or it has none and is tried on each line.
    pub candidates: u64,
    /// Lines that it accepted.
    pub hits: u64,
    /// Nanoseconds that were spent on its candidates and hits; the search for its literals is shared by all rules and
    /// not in it.
    pub nanos: u64,
}

/// Counts by rule index; or nothing, which costs nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally(Option<Box<[Cost]>>);

impl Tally {
    pub(super) fn on(rules: impl Iterator<Item = RuleNo>) -> Tally {
        Tally(Some(rules.map(|rule| Cost { rule, candidates: 0, hits: 0, nanos: 0 }).collect()))
    }

    /// Of each rule, in the order of their indices.
    pub(super) fn costs(&self) -> Vec<Cost> {
        let mut all: Vec<Cost> = Vec::new();
        for cost in self.0.iter().flatten() {
            match all.last_mut().filter(|last| last.rule == cost.rule) {
                Some(last) => {
                    last.candidates += cost.candidates;
                    last.hits += cost.hits;
                    last.nanos += cost.nanos;
                }
                None => all.push(*cost),
            }
        }
        all
    }

    /// A look begins.
    #[inline]
    pub(super) fn begin(&self) -> Option<Stopwatch> {
        self.0.is_some().then(Stopwatch::start)
    }

    /// A look at a rule, begun at `since`, has ended.
    #[inline]
    pub(super) fn end(&mut self, rule: u32, since: Option<Stopwatch>, candidate: bool, hit: bool) {
        if let (Some(all), Some(since)) = (&mut self.0, since) {
            let cost = &mut all[rule as usize];
            cost.candidates += u64::from(candidate);
            cost.hits += u64::from(hit);
            cost.nanos += since.nanos();
        }
    }
}
