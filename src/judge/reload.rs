//! Taking a policy: at the start and at every reload, by one way.
//!
//! State follows names. A restart is a reload from nothing: the saved rows are put back first, without asking whether
//! their rules and spaces still exist, and then the policy of the day is taken like any other.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::batch::{Lane, Space};
use super::ledger::Term;
use super::novelty::Known;
use super::rows::RowKey;
use super::rule::{KeyState, Pace, Rid, Rule};
use super::standing::Standing;
use super::{Judge, Policy, RulePolicy};
use crate::alert::{AlertNo, What};
use crate::time::Now;

/// Books of rules that have left the file; beyond it some that are settled are closed.
const GONE_RULES: usize = 1000;

impl Judge {
    /// From now on this policy counts.
    pub(super) fn adopt(&mut self, mut policy: Policy, now: Now) {
        let rules = std::mem::take(&mut policy.rules);
        let spaces = std::mem::take(&mut policy.spaces);
        self.memory.budget = policy.memory;
        self.policy = policy;
        self.await_nothing();
        let mut kept = BTreeSet::new();
        for space in spaces {
            kept.insert(Arc::clone(&space.name));
            self.dirty.insert(RowKey::Space(Arc::clone(&space.name)));
            match self.spaces.get_mut(&space.name) {
                Some(known) => known.set_policy(space, now.tick),
                None => _ = self.spaces.insert(Arc::clone(&space.name), Space::new(space)),
            }
        }
        let gone: Vec<Space> =
            self.spaces.extract_if(.., |name, _| !kept.contains(name)).map(|(_, s)| s).collect();
        let mut live = BTreeSet::new();
        self.by_no.clear();
        for rule in rules {
            let fresh = !self.names.contains_key(&rule.name);
            let rid = self.ensure_rule(&rule.name);
            if fresh {
                self.mark_rule(rid);
            }
            live.insert(rid);
            self.by_no.push(rid);
            self.set_rule(rid, rule, now);
            self.begin_to_expect(rid, now);
            self.begin_to_learn(rid, now);
        }
        let left: Vec<Rid> = self.names.values().copied().filter(|rid| !live.contains(rid)).collect();
        for rid in &left {
            self.retire_rule(*rid, now);
        }
        self.forget_rules(left);
        self.forget_standings();
        for space in gone {
            self.retire_space(space);
        }
        self.edit_by_policy();
        self.plan_alive(now);
        self.set_inhibitors();
        self.weigh_all();
        self.keep_in_budget(now);
        self.hold_anew(now);
        for rid in live {
            for hash in self.rules[rid.0].keys.hashes(|_| true) {
                self.fold_if_refused(rid, hash, now);
                self.reschedule(rid, hash);
            }
        }
    }

    /// The rule of this name, made when it is new.
    pub(super) fn ensure_rule(&mut self, name: &Arc<str>) -> Rid {
        if let Some(rid) = self.names.get(name) {
            return *rid;
        }
        let rid = Rid(self.rules.len());
        self.rules.push(Rule::new(Arc::clone(name), &self.install));
        self.names.insert(Arc::clone(name), rid);
        rid
    }

    fn set_rule(&mut self, rid: Rid, policy: RulePolicy, now: Now) {
        let rule = &mut self.rules[rid.0];
        rule.limit.set(policy.max_per_hour, now.tick);
        let changed = rule.fingerprint != policy.fingerprint;
        rule.fingerprint = policy.fingerprint;
        let since = rule.pace.and_then(|p| p.since).or(Some(now.wall));
        let pace = Pace { since, remind: policy.remind, max_per_hour: policy.max_per_hour };
        let before = rule.pace.replace(pace);
        (rule.by, rule.oldest) = (policy.by.clone().into(), Vec::new());
        rule.policy = Some(policy);
        if changed {
            self.drop_windows(rid);
            for hash in self.rules[rid.0].keys.hashes(|s| s.expected.is_some()) {
                self.evict_key(rid, hash, now);
            }
            let rule = &mut self.rules[rid.0];
            for (hash, slot) in rule.keys.unordered_mut() {
                if let KeyState::Open(incident) = &mut slot.state {
                    incident.newest.forget_captures();
                    (incident.different, incident.top) = Default::default();
                    if !std::mem::replace(&mut slot.dirty, true) {
                        rule.changed.push(hash);
                    }
                }
            }
            self.mark_rule(rid);
        }
        if before != Some(pace) {
            self.mark_rule(rid);
            if let Some(before) = before {
                self.count_waits_anew(rid, before, pace, now);
            }
        }
    }

    /// What waits is due by the rule as it is now, counted from when the waiting began: a reminder that was a day away is
    /// not waited for once somebody asks for one an hour, and nor is the limit that was.
    fn count_waits_anew(&mut self, rid: Rid, before: Pace, pace: Pace, now: Now) {
        let rule = &mut self.rules[rid.0];
        rule.fold.count_anew(before.max_per_hour != pace.max_per_hour, pace.remind, now.tick);
        if before.remind != pace.remind {
            for (hash, slot) in rule.keys.unordered_mut() {
                let KeyState::Open(incident) = &mut slot.state else { continue };
                incident.remind_at = incident.remind_at.counted_anew(incident.remind_every, pace.remind);
                incident.remind_every = pace.remind;
                if !std::mem::replace(&mut slot.dirty, true) {
                    rule.changed.push(hash);
                }
            }
        }
    }

    /// What was counted under another meaning of the rule will never fire.
    fn drop_windows(&mut self, rid: Rid) {
        for hash in self.rules[rid.0].keys.hashes(|s| matches!(s.state, KeyState::Counting(_))) {
            if let Some(KeyState::Counting(window)) = self.remove_slot(rid, hash).map(|s| s.state) {
                self.rules[rid.0].ledger.below += window.len();
            }
        }
    }

    /// The rule has left the file: its incidents end, and the admin space hears what they had not told.
    fn retire_rule(&mut self, rid: Rid, now: Now) {
        if self.rules[rid.0].known.state.hits > 0 {
            self.tell_known(rid, now);
        }
        self.drop_windows(rid);
        for hash in self.rules[rid.0].keys.hashes(|_| true) {
            let Some(slot) = self.remove_slot(rid, hash) else { continue };
            if let KeyState::Open(mut incident) = slot.state {
                incident.held_by = None;
                self.close_into_fold(rid, hash, *incident, &slot.key, now);
            }
        }
        self.unmute_retired(rid);
        if self.rules[rid.0].fold.hits > 0 {
            let mut alert = self.fold_alert(rid, What::End, now);
            alert.text = format!("the rule is no longer loaded; until then: {}", alert.text);
            let to = self.admin().map(|s| (s, None)).into_iter().collect();
            self.enqueue(&alert, to, Lane::Batch, None, Term::Told, now);
        }
        self.folding.remove(&rid);
        let rule = &mut self.rules[rid.0];
        rule.fold.rest();
        if rule.policy.take().is_some() {
            self.mark_rule(rid);
        }
    }

    /// Closes the books of rules that left long ago. Not of those with hits on their way.
    fn forget_rules(&mut self, gone: Vec<Rid>) {
        let some = gone.len().saturating_sub(GONE_RULES);
        if some == 0 {
            return;
        }
        let waiting: BTreeSet<Arc<str>> = self.claims.values().map(|c| Arc::clone(&c.rule)).collect();
        let settled = gone.into_iter().filter(|rid| !waiting.contains(&self.rules[rid.0].name));
        let settled: Vec<Rid> = settled.take(some).collect();
        for rid in settled {
            self.rules[rid.0].known = Known::default();
            self.dirty.extend(Known::shelves().map(|shelf| RowKey::Known(rid, shelf)));
            self.mark_rule(rid);
            self.names.remove(&self.rules[rid.0].name);
        }
    }

    /// What incidents know of spaces that exist no more.
    fn forget_standings(&mut self) {
        for rule in &mut self.rules {
            for (hash, slot) in rule.keys.unordered_mut() {
                let KeyState::Open(incident) = &mut slot.state else { continue };
                let before = incident.standing.len();
                incident.standing.retain(|(space, _)| self.spaces.contains_key(space));
                if incident.standing.len() != before && !std::mem::replace(&mut slot.dirty, true) {
                    rule.changed.push(hash);
                }
            }
        }
    }

    /// The space has left the file: what waits for it goes to the admin space, unless it waits there already or
    /// another space was told.
    fn retire_space(&mut self, mut space: Space) {
        let name = Arc::clone(&space.policy.name);
        self.dirty.insert(RowKey::Space(Arc::clone(&name)));
        let admin = self.admin();
        for lane in Lane::ALL {
            for (no, mut entry) in std::mem::take(&mut space.queue_mut(lane).entries) {
                self.dirty.insert(RowKey::Wait(Arc::clone(&name), no));
                let to = admin.clone().filter(|admin| !self.knows(admin, &entry.claims, no));
                let Some(to) = to else {
                    entry.claims.iter().for_each(|c| self.drop_copy(*c));
                    continue;
                };
                for of in &entry.incidents {
                    if let Some(&rid) = self.names.get(&of.rule)
                        && let Some(incident) = self.rules[rid.0].incident_mut(of.hash)
                        && incident.no == of.no
                        && !incident.standing.iter().any(|(s, _)| *s == to)
                    {
                        incident.standing.push((Arc::clone(&to), Standing::Waiting));
                        self.mark_key(rid, of.hash);
                    }
                }
                if entry.lane == Lane::Digest {
                    entry.lane = Lane::Batch;
                }
                entry.thread = None;
                self.push(&to, entry);
            }
        }
    }

    /// An alert need not go to this space: all it carries was told elsewhere, waits here already, or is on its way.
    fn knows(&self, space: &Arc<str>, claims: &[AlertNo], no: AlertNo) -> bool {
        let queues =
            || self.spaces.get(space).into_iter().flat_map(|s| Lane::ALL.iter().map(|l| s.queue(*l)));
        if claims.is_empty() {
            return queues().any(|q| q.entries.contains_key(&no));
        }
        let waiting = queues().flat_map(|q| q.entries.values()).flat_map(|e| &e.claims);
        let flying = self.flights.values().filter(|f| f.space == *space).flat_map(|f| &f.claims);
        let here: BTreeSet<AlertNo> = waiting.chain(flying).copied().collect();
        claims.iter().all(|c| here.contains(c) || !self.claims.contains_key(c))
    }
}
