//! Inhibition: while an incident of one rule is open, another rule says nothing.
//!
//! To the rule that is held this is one more kind of silence, and `muted` does all that follows. What is here is only
//! *when*: each rule that inhibits counts its open incidents, with the first of them those that it inhibits are held, and with
//! the end of the last they are told. It happens between two hits, so that the order of the lines decides and not how many
//! were read at once.
//!
//! The surprise: it goes one level deep. An incident that is itself held, by whomever, still inhibits; it is open.

use super::Judge;
use super::rule::{KeyState, Rid, Slot};
use super::silence::{By, InForce};
use crate::time::Now;

impl Slot {
    /// Its incident has opened or is over since it was last asked: which of the two.
    pub(super) fn has_turned(&mut self) -> Option<bool> {
        let open = matches!(&self.state, KeyState::Open(incident) if incident.is_open());
        (std::mem::replace(&mut self.counted_open, open) != open).then_some(open)
    }
}

impl Judge {
    /// Works out whom each rule inhibits, and counts what is open: after the rules were loaded.
    pub(super) fn set_inhibitors(&mut self) {
        for n in 0..self.rules.len() {
            let rule = &mut self.rules[n];
            rule.inhibits.clear();
            rule.keys.unordered_mut().for_each(|(_, slot)| _ = slot.has_turned());
            rule.open = rule.keys.unordered().filter(|(_, slot)| slot.counted_open).count();
        }
        for n in 0..self.rules.len() {
            for by in self.inhibitors(Rid(n)) {
                self.rules[by.0].inhibits.push(Rid(n));
            }
        }
    }

    /// The rules that this one names in `inhibited_by`, in its order, without those that are not loaded.
    fn inhibitors(&self, rid: Rid) -> Vec<Rid> {
        let named = self.rules[rid.0].policy.iter().flat_map(|p| &p.inhibited_by);
        let known = named.filter_map(|name| self.names.get(name).copied());
        known.filter(|by| *by != rid && self.rules[by.0].policy.is_some()).collect()
    }

    /// One more incident of this rule is open, or one less.
    pub(super) fn count_open(&mut self, rid: Rid, opened: bool) {
        let rule = &mut self.rules[rid.0];
        rule.open = if opened { rule.open + 1 } else { rule.open.saturating_sub(1) };
        if rule.open != usize::from(opened) || rule.inhibits.is_empty() {
            return;
        }
        for held in rule.inhibits.clone() {
            self.rules[held.0].quieted.retain(|f| !matches!(f.by, By::Rule(_)));
            self.inhibit(held);
            self.turned.insert(held);
        }
    }

    /// Puts the rules that inhibit this one now behind the silences and mutes that hold it.
    pub(super) fn inhibit(&mut self, rid: Rid) {
        for by in self.inhibitors(rid) {
            let Judge { rules, .. } = self;
            if rules[by.0].open > 0 {
                let by = By::Rule(rules[by.0].name.clone());
                rules[rid.0].quieted.push(InForce::whole(by));
            }
        }
    }

    /// What has opened or is over since begins or ends to inhibit.
    pub(super) fn hold_inhibited(&mut self, now: Now) {
        while let Some(rid) = self.turned.pop_first() {
            self.hold_rule_anew(rid, &[].into(), now);
        }
    }
}
