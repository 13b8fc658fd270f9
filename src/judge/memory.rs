//! One budget of bytes for the judge (`[judge] memory`): what it holds is counted, and what is too much is let go.
//!
//! Each key knows its own weight, and is weighed whenever a hit changes it. Over the budget the rule that holds most lets
//! go of a part of its least recently hit keys, counts first: a window's hits are `below`, an incident's go to the rule's
//! fold. So whoever makes a new key with each line drives out keys of that very rule, and changes no other rule's and
//! nothing but counts. What is held beside keys (folds, alerts that wait) has bounds of its own; it is counted when
//! changes are saved, and keys have what it leaves them.
//!
//! The surprise: a weight is an estimate, and errs upwards. What an allocator really takes nobody can say; a bench holds
//! the two beside each other.

use std::mem::size_of;

use super::batch::{Entry, Lane};
use super::edit::Edited;
use super::evidence::{Evidence, texts};
use super::expect::Expected;
use super::fold::Fold;
use super::incident::IncidentRef;
use super::key::Key;
use super::ledger::{Claim, Flight};
use super::phase::Phase;
use super::rule::{KeyState, Rid, Slot};
use super::standing::Standing;
use super::timers::TIMER;
use super::{Incident, Judge};
use crate::alert::{Alert, Sample};
use crate::time::{Now, Tick, Wall};

/// The budget where nothing is said.
pub const MEMORY: u64 = 64 << 20;

/// What an allocator takes beside each piece of memory.
pub(super) const PIECE: usize = 16;

/// An ordered map's nodes are two thirds full.
const fn in_map(bytes: usize) -> usize {
    bytes * 3 / 2
}

/// That its row is to be written, or gone, and when it may be let go: a hash for each, and room to grow.
const NOTES: usize = 6 * size_of::<u64>();

/// A key, its timer, and the note that its row is to be written.
const KEY: usize = in_map(16) + size_of::<Slot>() + PIECE + TIMER + NOTES;

/// A known kind: its hash and the hour of its last hit.
const KIND: usize = in_map(16);

/// A message that is edited, without its alerts: in a map and in the order of what is due.
const EDITED: usize =
    in_map(size_of::<Edited>() + 24 + PIECE * 4) + in_map(size_of::<(Tick, String)>() + PIECE * 3);

/// What a key of a rule with this threshold may hold while it is counted, without its lines.
pub fn window_bytes(threshold: u32, distinct: bool) -> u64 {
    let each = if distinct { super::distinct::VALUE } else { size_of::<Wall>() };
    KEY as u64 + u64::from(threshold) * each as u64
}

/// What is held, and how much may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory {
    pub(super) budget: u64,
    /// By keys.
    keys: u64,
    /// By known kinds.
    kinds: u64,
    /// Beside both, when changes were last saved.
    beside: u64,
}

impl Memory {
    pub(super) fn new(budget: u64) -> Memory {
        Memory { budget, keys: 0, kinds: 0, beside: 0 }
    }

    /// More than may be. What is held beside keys takes half of it at the most.
    fn is_over(&self) -> bool {
        self.keys + self.kinds > self.budget - self.beside.min(self.budget / 2)
    }

    /// A key of a rule weighs more now, or less.
    pub(super) fn add(&mut self, of_rule: &mut u64, change: i64) {
        self.keys = self.keys.saturating_add_signed(change);
        *of_rule = of_rule.saturating_add_signed(change);
    }
}

impl Slot {
    /// Weighs it anew, and says by how much that has changed.
    pub(super) fn weigh(&mut self) -> i64 {
        let bytes = u32::try_from(self.bytes()).unwrap_or(u32::MAX);
        let before = std::mem::replace(&mut self.weight, bytes);
        i64::from(bytes) - i64::from(before)
    }

    fn bytes(&self) -> usize {
        let expected = self.expected.as_ref().map_or(0, |e| size_of::<Expected>() + PIECE + e.heap());
        let state = match &self.state {
            KeyState::Counting(window) => window.heap(),
            KeyState::Open(incident) => size_of::<Incident>() + PIECE + incident.heap(),
        };
        KEY + size_of::<Key>() + PIECE + self.key.heap() + self.parts.len() * 8 + expected + state
    }
}

impl Incident {
    fn heap(&self) -> usize {
        let samples = match &self.phase {
            Phase::Holding { samples, .. } => samples.iter().map(sample).sum(),
            _ => 0,
        };
        // a thread's name is 19 bytes long
        let standing = self.standing.len() * (size_of::<Standing>() + PIECE * 4);
        self.newest.heap() + samples + standing + self.different.heap() + self.top.heap()
    }
}

/// What some lines hold.
pub(super) fn lines<'a>(all: impl IntoIterator<Item = &'a Evidence>) -> usize {
    all.into_iter().map(|e| size_of::<Evidence>() + e.heap()).sum()
}

fn pairs(pairs: &[(String, String)]) -> usize {
    let one = |(name, value): &(String, String)| {
        size_of::<(String, String)>() + name.len() + value.len() + 2 * PIECE
    };
    pairs.iter().map(one).sum()
}

fn sample(sample: &Sample) -> usize {
    size_of::<Sample>() + sample.line.len() + PIECE + texts(&sample.before) + texts(&sample.after)
}

fn alert(alert: &Alert) -> usize {
    let held: usize = alert.held.iter().map(|h| h.reason.len() + 2 * PIECE).sum();
    let samples: usize = alert.samples.iter().map(sample).sum();
    size_of::<Alert>() + pairs(&alert.key) + alert.text.len() + samples + held
}

fn entry(entry: &Entry) -> usize {
    let (claims, incidents) = (entry.claims.len() * 8, entry.incidents.len() * size_of::<IncidentRef>());
    in_map(size_of::<Entry>()) + alert(&entry.alert) + claims + incidents
}

fn flight(flight: &Flight) -> usize {
    let (claims, incidents) = (flight.claims.len() * 8, flight.incidents.len() * size_of::<IncidentRef>());
    in_map(size_of::<Flight>()) + 2 * PIECE + claims + incidents
}

impl Judge {
    /// The bytes that it holds by its own count, and those that it may.
    pub fn bytes(&self) -> (u64, u64) {
        (self.memory.keys + self.memory.kinds + self.beside(), self.memory.budget)
    }

    fn beside(&self) -> u64 {
        let folds: usize = self.folding.iter().map(|rid| self.rules[rid.0].fold.heap()).sum();
        let muted: usize = self.muted.values().map(|f| in_map(size_of::<Fold>()) + f.heap()).sum();
        let queues = self.spaces.values().flat_map(|s| Lane::ALL.iter().map(|l| s.queue(*l)));
        let decisions: usize = self.rules.iter().map(|r| r.decisions.heap()).sum();
        let waiting: usize = queues.flat_map(|q| q.entries.values()).map(entry).sum();
        let flying: usize = self.flights.values().map(flight).sum();
        let edited: usize =
            self.edited.values().map(|e| e.alerts.iter().map(alert).sum::<usize>() + EDITED).sum();
        (folds
            + muted
            + decisions
            + waiting
            + flying
            + edited
            + self.claims.len() * in_map(size_of::<Claim>() + 8)) as u64
    }

    /// Counts what is held beside keys: as often as changes are saved.
    pub(super) fn weigh_beside(&mut self) {
        self.memory.beside = self.beside();
    }

    /// Weighs one key anew.
    pub(super) fn weigh(&mut self, rid: Rid, hash: u64) {
        let rule = &mut self.rules[rid.0];
        if let Some(slot) = rule.keys.get_mut(hash) {
            let change = slot.weigh();
            self.memory.add(&mut rule.bytes, change);
        }
    }

    /// Weighs everything: after rows were put back, or rules were loaded.
    pub(super) fn weigh_all(&mut self) {
        let Judge { rules, memory, .. } = self;
        for rule in rules.iter_mut() {
            for (_, slot) in rule.keys.unordered_mut() {
                let change = slot.weigh();
                memory.add(&mut rule.bytes, change);
            }
        }
        memory.kinds = rules.iter().map(|r| (r.known.len() * KIND) as u64).sum();
    }

    /// This rule knows more kinds than before, or fewer.
    pub(super) fn weigh_kinds(&mut self, before: usize, after: usize) {
        self.memory.kinds =
            (self.memory.kinds + (after * KIND) as u64).saturating_sub((before * KIND) as u64);
    }

    /// Lets go of keys, the least recently hit of the rule that holds most, until the budget is kept.
    pub(super) fn keep_in_budget(&mut self, now: Now) {
        while self.memory.is_over() {
            let kinds = |rid: usize| (self.rules[rid].known.len() * KIND) as u64;
            let mut most: Vec<(u64, bool, usize)> = (0..self.rules.len())
                .flat_map(|n| [(self.rules[n].bytes, false, n), (kinds(n), true, n)])
                .filter(|m| m.0 > 0)
                .collect();
            most.sort_unstable_by_key(|m| (std::cmp::Reverse(m.0), m.2));
            let went = most.into_iter().any(|(_, kinds, n)| {
                if kinds { self.forget_kinds(Rid(n)) } else { self.let_go(Rid(n), now) > 0 }
            });
            if !went {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_shared_with_what_is_beside_keys_but_never_taken_away() {
        let mut memory = Memory { budget: 1000, keys: 700, kinds: 0, beside: 0 };
        let over = |memory: &Memory| memory.is_over();
        assert!(!over(&memory));
        memory.beside = 301;
        assert!(over(&memory));
        memory.keys = 500;
        memory.beside = 10_000;
        assert!(!over(&memory));
    }

    #[test]
    fn a_window_of_many_times_is_known_to_cost() {
        assert_eq!(window_bytes(1001, false) - window_bytes(1, false), 8000);
        assert!(window_bytes(10, true) > window_bytes(10, false));
    }
}
