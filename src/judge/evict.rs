//! Keys that go for want of room: a rule's own bound, that of all rules, and what the budget of bytes asks for.
//!
//! Those that were not hit for the longest time go first, a part of a rule at once, counts first: of a window they are
//! `below`, of an incident they go to the rule's fold. Under a flood each hit brings a key that drives out another, so
//! finding out which one must cost next to nothing: they are looked for half a rule at a time. The surprise is that this
//! is exact. Whatever is hit after the look is younger than all that it found.

use super::Judge;
use super::rule::{KeyState, Rid, Rule, Slot};
use crate::time::Now;

/// Keys of one rule; beyond it the least recently hit ones go, counts first.
pub const KEYS_A_RULE: usize = 10_000;

/// Keys of all rules together; beyond it the largest rule gives.
pub(super) const KEYS: usize = 100_000;

/// So many keys that are gone may be noted as changed, beside as many as there are twice over.
const CHANGED: usize = 1024;

/// For want of bytes, eviction takes this part of a rule's keys at once, so that its cost is spread over many hits.
const EVICTED: usize = 16;

/// For want of places it takes so many at once: few enough that their memory is still warm when the next keys want it.
const PLACES: usize = 8;

impl Rule {
    /// The keys that may go for want of room.
    fn may_go(&self) -> impl Iterator<Item = (u64, &Slot)> {
        self.keys.unordered().filter(|(_, slot)| slot.expected.as_ref().is_none_or(|e| !e.listed))
    }

    fn how_many_may_go(&self) -> usize {
        let expects = self.policy.as_ref().is_some_and(|p| p.expect.is_some());
        if expects { self.may_go().count() } else { self.keys.len() }
    }

    /// Looks for the older half of the keys that may go. Whatever is hit from now on is younger than all of them, so the
    /// order holds until the last of them is gone.
    fn find_oldest(&mut self) {
        let mut ages = std::mem::take(&mut self.oldest);
        ages.extend(self.may_go().map(|(hash, slot)| (slot.used, hash)));
        let half = ages.len().div_ceil(2);
        if half < ages.len() {
            ages.select_nth_unstable(half);
            ages.truncate(half);
        }
        ages.sort_unstable_by(|a, b| b.cmp(a));
        self.oldest = ages;
    }

    /// A key that had changed is gone before it was written: where too many are, they are looked through.
    fn forget_changed(&mut self) {
        if self.changed.len() > 2 * self.keys.len() + CHANGED {
            let keys = &self.keys;
            self.changed.sort_unstable();
            self.changed.dedup();
            self.changed.retain(|hash| keys.has(*hash));
        }
    }
}

impl Judge {
    /// Keeps the number of keys in bounds, after one was added to `rid`.
    pub(super) fn evict(&mut self, rid: Rid, now: Now) {
        let victim = if self.rules[rid.0].keys.len() > KEYS_A_RULE {
            rid
        } else if self.key_count > KEYS {
            let largest = (0..self.rules.len()).max_by_key(|n| self.rules[*n].keys.len());
            Rid(largest.unwrap_or(rid.0))
        } else {
            return;
        };
        self.let_go_of(victim, PLACES, now);
    }

    /// Lets go of a part of a rule's keys, the least recently hit ones; of how many. What the rules file expects by name is
    /// kept: nothing would begin to expect it again.
    pub(super) fn let_go(&mut self, rid: Rid, now: Now) -> usize {
        let some = self.rules[rid.0].how_many_may_go().div_ceil(EVICTED);
        self.let_go_of(rid, some, now)
    }

    fn let_go_of(&mut self, rid: Rid, some: usize, now: Now) -> usize {
        let mut went = 0;
        while went < some {
            let rule = &mut self.rules[rid.0];
            let Some((used, hash)) = rule.oldest.pop() else {
                rule.find_oldest();
                if rule.oldest.is_empty() {
                    break;
                }
                continue;
            };
            if rule.keys.get(hash).is_some_and(|slot| slot.used == used) {
                self.evict_key(rid, hash, now);
                went += 1;
            }
        }
        let rule = &mut self.rules[rid.0];
        rule.held.evicted += went as u64;
        if went > 0 {
            rule.decisions.held(now.wall, &[], 0, format!("{went} keys let go for want of room"));
        }
        went
    }

    /// Takes a key away, counts first: of a window they are `below`, of an incident they go to the rule's fold.
    pub(super) fn evict_key(&mut self, rid: Rid, hash: u64, now: Now) {
        match self.remove_slot(rid, hash) {
            Some(Slot { state: KeyState::Counting(window), .. }) => {
                self.rules[rid.0].ledger.below += window.len();
            }
            Some(Slot { state: KeyState::Open(incident), key, .. }) => {
                self.close_into_fold(rid, hash, *incident, &key, now);
            }
            None => {}
        }
    }

    /// Takes a key and its timer out.
    pub(super) fn remove_slot(&mut self, rid: Rid, hash: u64) -> Option<Slot> {
        let slot = *self.rules[rid.0].keys.remove(hash)?;
        if let Some(t) = slot.timer {
            self.forget_timer(t);
        }
        if let Some(by) = slot.expected.as_ref().and_then(|e| e.unread) {
            self.watch.forget(by, rid, hash);
        }
        self.key_count -= 1;
        self.memory.add(&mut self.rules[rid.0].bytes, -i64::from(slot.weight));
        if slot.counted_open {
            self.count_open(rid, false);
        }
        if let KeyState::Open(incident) = &slot.state {
            self.edit_last(&incident.standing);
        }
        let rule = &mut self.rules[rid.0];
        if slot.saved {
            rule.gone.push(hash);
        } else {
            // nobody has heard of it: a flood of new keys leaves nothing to write
            rule.forget_changed();
        }
        self.mark_rule(rid);
        Some(slot)
    }
}
