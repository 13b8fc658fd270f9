//! Folds: one alert of a rule that stands for many openings its limit held back.
//!
//! A fold speaks by timer, at the very instant at which the limiter would let an opening through: no further hit is
//! needed. It tells everything since its last telling: the openings, what the incidents behind them have gathered,
//! and reminders that were over the limit. Incidents that are folded stay so; while they live the fold comes back
//! as a reminder would, and once more when the last of them has closed.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::batch::Lane;
use super::incident::Incident;
use super::key::Key;
use super::ledger::Term;
use super::memory::PIECE;
use super::rule::{KeyState, Rid, Rule, Slot};
use super::wording::{count, key_text, list_line};
use super::{Judge, RulePolicy};
use crate::alert::{Alert, Held, Sample, What};
use crate::time::{Now, Tick, Wall};

/// Keys that a fold names, those with the most hits.
const TOP: usize = 5;

/// Keys that are counted on the way to that; beyond it the smallest gives way. Only a ranking: the hits stay counted.
const RANKED: usize = 64;

/// Folds are at most this far apart while their incidents go on.
const AT_MOST: Duration = Duration::from_secs(24 * 3600);

/// What a rule's fold has gathered since it last spoke.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Fold {
    /// Hits to tell that no incident holds any more.
    pub(super) hits: u64,
    openings: u64,
    reminders: u64,
    /// Incidents that the hits come from.
    incidents: u64,
    first: Option<Wall>,
    last: Option<Wall>,
    sample: Option<Sample>,
    /// Key by hash, its text, its hits.
    ranked: Vec<(u64, String, u64)>,
    /// Hits told so far, until the last folded incident has closed.
    told: u64,
    /// Open incidents that are folded.
    pub(super) open: u64,
    /// Number of this telling.
    telling: u64,
    /// When it speaks next. `Some` while it holds a hit or an incident.
    pub(super) due: Option<Tick>,
    every: Option<Duration>,
}

impl Fold {
    /// What it holds beside itself, in bytes.
    pub(super) fn heap(&self) -> usize {
        let ranked = self.ranked.iter().map(|k| size_of_val(k) + PIECE + k.1.len()).sum::<usize>();
        ranked + self.sample.as_ref().map_or(0, |s| s.line.len() + PIECE)
    }

    /// Adds what one incident has not told.
    pub(super) fn add(&mut self, hash: u64, key: &Key, incident: &mut Incident) {
        let hits = incident.take_news();
        // an absence has no hits, and is told when it opens
        let absent = incident.total == 0 && incident.counted_in == 0;
        if hits == 0 && !absent {
            return;
        }
        self.hits += hits;
        if incident.counted_in != self.this_telling() {
            incident.counted_in = self.this_telling();
            self.incidents += 1;
        }
        self.first = Some(self.first.map_or(incident.news, |t| t.min(incident.news)));
        self.last = self.last.max(Some(incident.last));
        self.rank(hash, || key_text(key), hits);
    }

    fn rank(&mut self, hash: u64, text: impl FnOnce() -> String, hits: u64) {
        if let Some(known) = self.ranked.iter_mut().find(|k| k.0 == hash) {
            known.2 += hits;
            return;
        }
        if self.ranked.len() == RANKED {
            let least = (0..RANKED).min_by_key(|n| self.ranked[*n].2);
            match least {
                Some(n) if self.ranked[n].2 < hits => _ = self.ranked.swap_remove(n),
                _ => return,
            }
        }
        self.ranked.push((hash, list_line(&text()), hits));
    }

    /// Hits that were to be told otherwise are its own to tell.
    pub(super) fn take_back(&mut self, hits: u64, now: Tick) {
        self.hits += hits;
        self.incidents = self.incidents.max(1);
        self.due_by(now);
    }

    /// Everything in it that is counted on.
    pub(super) fn counts(&self) -> impl Iterator<Item = u64> {
        let sums = [self.hits, self.openings, self.reminders, self.incidents, self.told, self.telling];
        sums.into_iter().chain(self.ranked.iter().map(|k| k.2))
    }

    /// Nothing is left to tell. The number of its tellings goes on: incidents remember it.
    pub(super) fn rest(&mut self) {
        *self = Fold { telling: self.telling, ..Fold::default() };
    }

    /// Takes over what another has gathered.
    pub(super) fn absorb(&mut self, other: Fold) {
        self.hits += other.hits;
        self.openings += other.openings;
        self.reminders += other.reminders;
        self.incidents += other.incidents;
        self.first = [self.first, other.first].into_iter().flatten().min();
        self.last = self.last.max(other.last);
        self.sample = self.sample.take().or(other.sample);
        for (hash, text, hits) in other.ranked {
            self.rank(hash, || text, hits);
        }
    }

    /// Begins anew behind one that was taken over elsewhere.
    pub(super) fn go_on_after(&mut self, other: &Fold) {
        self.telling = other.telling + 1;
    }

    /// The number of what it tells next: incidents remember it.
    pub(super) fn this_telling(&self) -> u64 {
        self.telling + 1
    }

    /// The incidents that its hits come from.
    pub(super) fn incidents(&self) -> u64 {
        self.incidents
    }

    /// Event times of its first hit and its last.
    pub(super) fn span(&self, now: Now) -> (Wall, Wall) {
        (self.first.unwrap_or(now.wall), self.last.unwrap_or(now.wall))
    }

    /// It has something to tell: hits, or what did not come and could not say so itself.
    pub(super) fn has_news(&self) -> bool {
        self.hits > 0 || self.openings > 0 || (self.reminders > 0 && self.incidents > 0)
    }

    /// It shows no line yet.
    pub(super) fn wants_sample(&self) -> bool {
        self.sample.is_none()
    }

    /// Keeps a line as evidence, unless it has one.
    pub(super) fn keep_sample(&mut self, sample: Sample) {
        self.sample.get_or_insert(sample);
    }

    pub(super) fn take_sample(&mut self) -> Option<Sample> {
        self.sample.take()
    }

    /// What the rule's limit has held of it.
    pub(super) fn held(&self) -> Vec<Held> {
        let held = [
            (self.openings, "openings over the rule's limit"),
            (self.reminders, "reminders over the rule's limit"),
        ];
        held.iter().filter(|h| h.0 > 0).map(|h| Held { count: h.0, reason: h.1.into() }).collect()
    }

    fn due_by(&mut self, at: Tick) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// The rule's limit or its `remind` is another now. Whether the limit lets it speak is asked when it is due.
    pub(super) fn count_anew(&mut self, limit: bool, remind: Duration, now: Tick) {
        if self.due.is_some() {
            self.every = None;
            self.due_by(now + remind);
            if limit && (self.hits > 0 || self.openings > 0) {
                self.due_by(now);
            }
        }
    }

    fn text(&mut self) -> String {
        self.ranked.sort_by(|a, b| b.2.cmp(&a.2).then_with(|| a.1.cmp(&b.1)));
        let absent = self.hits == 0;
        let mut text = if absent {
            format!("{} did not come", count(self.incidents, "expected line"))
        } else {
            format!("{}, {}", count(self.incidents, "incident"), count(self.hits, "hit"))
        };
        let named = self.ranked.iter().filter(|k| !k.1.is_empty()).take(TOP);
        let mut shown = 0;
        for (_, key, hits) in named {
            // writing to a `String` cannot fail
            _ = write!(text, "\n{}", list_line(key));
            if !absent {
                _ = write!(text, ": {}", count(*hits, "hit"));
            }
            shown += 1;
        }
        if shown > 0 && self.incidents > shown {
            _ = write!(text, "\nand {}", count(self.incidents - shown, "more incident"));
        }
        text
    }
}

/// Names of a rule's captures.
pub(super) fn names(policy: Option<&RulePolicy>) -> &[String] {
    policy.map_or(&[], |p| &p.captures)
}

impl Judge {
    /// The opening of this incident is over its rule's limit: its hits, and all that follow, are the fold's.
    pub(super) fn fold_opening(
        &mut self,
        rid: Rid,
        hash: u64,
        key: &Key,
        sample: Option<Sample>,
        until: Tick,
        now: Now,
    ) {
        self.fold_adopts(rid, now);
        let rule = &mut self.rules[rid.0];
        let Some(KeyState::Open(incident)) = rule.keys.get_mut(hash).map(|s| &mut s.state) else { return };
        incident.folded = true;
        rule.fold.add(hash, key, incident);
        rule.fold.openings += 1;
        if rule.fold.sample.is_none() {
            rule.fold.sample = sample.map(Sample::into_alone);
        }
        rule.fold.due_by(until);
    }

    /// A reminder is over the limit: what it would have told is the fold's; the incident itself is not folded.
    pub(super) fn fold_reminder(&mut self, rid: Rid, hash: u64, until: Tick) {
        let rule = &mut self.rules[rid.0];
        let Some(slot) = rule.keys.get_mut(hash) else { return };
        let KeyState::Open(incident) = &mut slot.state else { return };
        incident.newest.tidy(&self.policy.redactor, names(rule.policy.as_ref()));
        if rule.fold.sample.is_none() {
            rule.fold.sample = Some(incident.newest.line_alone());
        }
        rule.fold.add(hash, &slot.key, incident);
        rule.fold.reminders += 1;
        rule.fold.due_by(until);
        self.folding.insert(rid);
        self.mark_rule(rid);
    }

    /// What an incident of which no more is said has not told is the fold's.
    pub(super) fn fold_rest(&mut self, rid: Rid, hash: u64, now: Now) {
        let rule = &mut self.rules[rid.0];
        let Some(slot) = rule.keys.get_mut(hash) else { return };
        let KeyState::Open(incident) = &mut slot.state else { return };
        if incident.since_last > 0 {
            rule.fold.add(hash, &slot.key, incident);
            rule.fold.due_by(now.tick);
            self.folding.insert(rid);
        }
    }

    /// One more open incident is the fold's to tell.
    pub(super) fn fold_adopts(&mut self, rid: Rid, now: Now) {
        let rule = &mut self.rules[rid.0];
        let remind = rule.policy.as_ref().map_or(AT_MOST, |p| p.remind);
        rule.fold.open += 1;
        let every = *rule.fold.every.get_or_insert(remind);
        if rule.fold.due.is_none() {
            rule.fold.due = Some(now.tick + every);
        }
        self.folding.insert(rid);
        self.mark_rule(rid);
    }

    /// An incident that cannot speak for itself is over and out of the map. What it has not told is told when the
    /// last of its kind has closed, or at the fold's next time, whichever is first.
    pub(super) fn close_into_fold(
        &mut self,
        rid: Rid,
        hash: u64,
        mut incident: Incident,
        key: &Key,
        now: Now,
    ) {
        if let Some(by) = incident.held_by.take() {
            return self.close_muted(rid, hash, incident, key, by);
        }
        let Rule { fold, policy, .. } = &mut self.rules[rid.0];
        fold.add(hash, key, &mut incident);
        if incident.folded {
            fold.open = fold.open.saturating_sub(1);
        }
        if fold.sample.is_none() && fold.hits > 0 {
            incident.newest.tidy(&self.policy.redactor, names(policy.as_ref()));
            fold.sample = Some(incident.newest.line_alone());
        }
        if fold.open == 0 && fold.openings + fold.reminders == 0 {
            fold.due_by(now.tick);
        }
        if fold.due.is_some() {
            self.folding.insert(rid);
        }
        self.mark_rule(rid);
    }

    /// Lets every fold speak whose time has come.
    pub(super) fn fold_timers(&mut self, now: Now) {
        let quieted = |rid: &&Rid| !self.rules[rid.0].quieted.is_empty();
        for rid in self.folding.iter().filter(quieted).copied().collect::<Vec<_>>() {
            self.hold_fold(rid);
        }
        let due = |rid: &&Rid| self.rules[rid.0].fold.due.is_some_and(|t| t <= now.tick);
        let due: BTreeSet<Rid> = self.folding.iter().filter(due).copied().collect();
        for rid in due {
            self.tell_fold(rid, now);
        }
    }

    fn tell_fold(&mut self, rid: Rid, now: Now) {
        let Judge { rules, policy, .. } = self;
        let rule = &mut rules[rid.0];
        let untold = |s: &Slot| matches!(&s.state, KeyState::Open(i) if i.folded && i.since_last > 0);
        for hash in rule.keys.hashes(untold) {
            let Some(slot) = rule.keys.get_mut(hash) else { continue };
            if let KeyState::Open(incident) = &mut slot.state {
                if rule.fold.sample.is_none() {
                    incident.newest.tidy(&policy.redactor, names(rule.policy.as_ref()));
                    rule.fold.sample = Some(incident.newest.line_alone());
                }
                rule.fold.add(hash, &slot.key, incident);
                if !std::mem::replace(&mut slot.dirty, true) {
                    rule.changed.push(hash);
                }
            }
        }
        self.mark_rule(rid);
        let rule = &mut self.rules[rid.0];
        if !rule.fold.has_news() {
            return self.rest_fold(rid, now);
        }
        if !self.fold_may_speak(rid, now) {
            return;
        }
        let to = self.spaces_of(rid).into_iter().map(|s| (s, None)).collect();
        let alert = self.fold_alert(rid, What::Fold, now);
        self.enqueue(&alert, to, Lane::Batch, None, Term::Told, now);
        self.rest_fold(rid, now);
    }

    /// The alert that tells all that the fold holds, which is then empty.
    pub(super) fn fold_alert(&mut self, rid: Rid, what: What, now: Now) -> Alert {
        let no = self.next_alert();
        let rule = &mut self.rules[rid.0];
        let fold = &mut rule.fold;
        let text = fold.text();
        fold.told += fold.hits;
        let alert = Alert {
            no,
            what,
            rule: Arc::clone(&rule.name),
            severity: rule.policy.as_ref().map(|p| p.severity).unwrap_or_default(),
            key: Vec::new(),
            text,
            hits: fold.hits,
            total: fold.told,
            incidents: fold.incidents,
            first: fold.first.unwrap_or(now.wall),
            last: fold.last.unwrap_or(now.wall),
            samples: fold.sample.take().into_iter().collect(),
            runbook: rule.policy.as_ref().and_then(|p| p.runbook.clone()),
            held: fold.held(),
            hint: None,
        };
        let Fold { told, open, telling, due, every, .. } = std::mem::take(fold);
        *fold = Fold { told, open, telling: telling + 1, due, every, ..Fold::default() };
        alert
    }

    /// After speaking, or having nothing to say: again later while folded incidents are open, else never.
    fn rest_fold(&mut self, rid: Rid, now: Now) {
        let rule = &mut self.rules[rid.0];
        let remind = rule.policy.as_ref().map_or(AT_MOST, |p| p.remind);
        if rule.fold.open == 0 {
            rule.decisions.tidy();
            rule.fold.rest();
            self.folding.remove(&rid);
            return;
        }
        let every = rule.fold.every.unwrap_or(remind);
        rule.fold.due = Some(now.tick + every.max(Duration::from_millis(1)));
        rule.fold.every = Some(every.saturating_mul(2).min(AT_MOST.max(remind)));
    }
}
