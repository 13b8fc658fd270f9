//! Incidents: one opening, reminders while there is news, one end.
//!
//! An incident speaks where its opening was heard and nowhere else, and it waits to learn where that is: until the
//! opening's fate is known it neither reminds nor ends (unless nothing has happened since), it only counts. A hit that
//! comes meanwhile simply goes on counting. Where no space took the opening, or a limit held it, the incident
//! is *folded*: its counts are told by its rule's fold, for as long as it lives.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::batch::{Lane, Space};
use super::evidence::Evidence;
use super::ledger::Term;
use super::limit::{Reason, Verdict};
use super::rows::RowKey;
use super::rule::{KeyState, Rid, Slot};
use super::window::Firing;
use super::wording::Facts;
use super::{Judge, RulePolicy};
use crate::alert::{Alert, AlertNo, Held, Sample, What};
use crate::hit::Hit;
use crate::time::{Now, Tick, Wall};

/// Reminders are at most this far apart.
const REMIND_AT_MOST: Duration = Duration::from_secs(24 * 3600);

/// Which incident, across restarts and reloads.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct IncidentRef {
    pub(super) rule: Arc<str>,
    pub(super) hash: u64,
    pub(super) no: AlertNo,
}

/// What became of an opening in one space.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Standing {
    /// Not known yet.
    Waiting,
    /// Delivered, in this thread.
    Heard(String),
    /// A dead letter, or dropped.
    Refused,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Incident {
    pub(super) no: AlertNo,
    /// Event times: of its first hit, its last, and the first that nobody has been told of.
    pub(super) first: Wall,
    pub(super) last: Wall,
    pub(super) news: Wall,
    /// Hits that no alert speaks of yet.
    pub(super) since_last: u64,
    pub(super) total: u64,
    pub(super) newest: Evidence,
    pub(super) standing: Vec<(Arc<str>, Standing)>,
    /// It is told by its rule's fold.
    pub(super) folded: bool,
    /// The telling of the fold in which it was last counted.
    pub(super) counted_in: u64,
    remind_at: Tick,
    remind_every: Duration,
}

/// Where an incident may speak.
enum Voice {
    /// In these spaces and threads.
    Own(Vec<(Arc<str>, String)>),
    /// Not known yet.
    Wait,
    /// In its rule's fold.
    Fold,
}

impl Incident {
    /// One more hit. Says whether it is the first since the last alert.
    pub(super) fn hit(&mut self, hit: Hit, at: Wall) -> bool {
        self.newest.replace(hit, at);
        self.first = self.first.min(at);
        self.last = self.last.max(at);
        self.news = if self.since_last == 0 { at } else { self.news.min(at) };
        self.since_last += 1;
        self.total += 1;
        self.since_last == 1
    }

    /// Takes out what nobody has been told of.
    pub(super) fn take_news(&mut self) -> u64 {
        std::mem::take(&mut self.since_last)
    }

    fn voice(&self, spaces: &BTreeMap<Arc<str>, Space>) -> Voice {
        if self.folded {
            return Voice::Fold;
        }
        let heard = self.standing.iter().filter_map(|(space, standing)| match standing {
            Standing::Heard(thread) if spaces.contains_key(space) => {
                Some((Arc::clone(space), thread.clone()))
            }
            _ => None,
        });
        let heard: Vec<_> = heard.collect();
        if heard.is_empty() { Voice::Wait } else { Voice::Own(heard) }
    }

    /// When it must be looked at; `None`: when its opening's fate is known.
    pub(super) fn deadline(&self, quiet: Tick, spaces: &BTreeMap<Arc<str>, Space>) -> Option<Tick> {
        if self.since_last == 0 {
            return Some(quiet);
        }
        match self.voice(spaces) {
            Voice::Own(_) => Some(quiet.min(self.remind_at)),
            Voice::Wait => None,
            Voice::Fold => Some(quiet),
        }
    }
}

impl Judge {
    /// The threshold is reached: an incident opens. The caller reschedules its key.
    pub(super) fn fire(&mut self, rid: Rid, hash: u64, firing: Firing, late: bool, now: Now) {
        let no = self.next_alert();
        let spaces = self.spaces_of(rid);
        let rule = &mut self.rules[rid.0];
        // the one place where a rule's limit is asked about an opening, and acted upon
        let verdict = if late { Verdict::Hold(Reason::Away) } else { rule.limit.ask(now.tick) };
        let (Some(policy), Some(slot)) = (&rule.policy, rule.keys.get_mut(&hash)) else { return };
        let KeyState::Counting(window) = &mut slot.state else { return };
        let mut evidence = std::mem::take(&mut window.samples);
        for line in &mut evidence {
            line.tidy(&self.policy.redactor);
        }
        let samples: Vec<Sample> = evidence.iter().map(Evidence::sample).collect();
        let mut incident = Incident {
            no,
            first: firing.first,
            last: firing.last,
            news: firing.first,
            since_last: firing.hits,
            total: firing.hits,
            newest: evidence.pop_back().unwrap_or_default(),
            standing: spaces.iter().map(|s| (Arc::clone(s), Standing::Waiting)).collect(),
            folded: false,
            counted_in: 0,
            remind_at: now.tick + policy.remind,
            remind_every: policy.remind,
        };
        let lane = match verdict {
            Verdict::Show => Lane::Batch,
            Verdict::Hold(Reason::Away) => {
                rule.held.while_away += 1;
                Lane::Away
            }
            Verdict::Hold(Reason::Until(until)) => {
                rule.held.rule_limit += 1;
                let key = slot.key.clone();
                slot.state = KeyState::Open(Box::new(incident));
                self.fold_opening(rid, hash, &key, samples.into_iter().next_back(), until, now);
                return;
            }
        };
        incident.since_last = 0;
        let mut alert = say(policy, &self.policy.host, What::Opening, no, &slot.key, &incident, firing.hits);
        alert.samples = samples;
        slot.state = KeyState::Open(Box::new(incident));
        let incident = IncidentRef { rule: Arc::clone(&policy.name), hash, no };
        let to = spaces.into_iter().map(|s| (s, None)).collect();
        self.enqueue(&alert, to, lane, Some(&incident), Term::Shown, now);
    }

    /// Its deadline has come: it is quiet, or there is news to remind of.
    pub(super) fn incident_timer(&mut self, rid: Rid, hash: u64, now: Now) {
        let rule = &mut self.rules[rid.0];
        let (Some(policy), Some(slot)) = (&rule.policy, rule.keys.get_mut(&hash)) else { return };
        let quiet = slot.hit_at + policy.quiet <= now.tick;
        let KeyState::Open(incident) = &mut slot.state else { return };
        let voice = incident.voice(&self.spaces);
        if incident.since_last == 0 || quiet {
            if let Some(slot) = self.remove_slot(rid, hash) {
                self.end(rid, hash, slot, voice, now);
            }
            return;
        }
        if let Voice::Own(to) = voice {
            let doubled = incident.remind_every.saturating_mul(2);
            incident.remind_every = doubled.min(REMIND_AT_MOST.max(policy.remind));
            incident.remind_at = now.tick + incident.remind_every;
            // the one place where a rule's limit is asked about a reminder, and acted upon
            match rule.limit.ask(now.tick) {
                Verdict::Show => self.remind(rid, hash, to, now),
                Verdict::Hold(reason) => {
                    rule.held.rule_limit += 1;
                    self.fold_reminder(rid, hash, reason, now);
                }
            }
        }
        self.mark_rule(rid);
        self.mark_key(rid, hash);
        self.reschedule(rid, hash);
    }

    fn remind(&mut self, rid: Rid, hash: u64, to: Vec<(Arc<str>, String)>, now: Now) {
        let no = self.next_alert();
        let rule = &mut self.rules[rid.0];
        let (Some(policy), Some(slot)) = (&rule.policy, rule.keys.get_mut(&hash)) else { return };
        let KeyState::Open(incident) = &mut slot.state else { return };
        incident.newest.tidy(&self.policy.redactor);
        let hits = incident.since_last;
        let alert = say(policy, &self.policy.host, What::Reminder, no, &slot.key, incident, hits);
        incident.take_news();
        self.enqueue(&alert, threads(to), Lane::Batch, None, Term::Told, now);
    }

    /// The incident is over and out of the map.
    fn end(&mut self, rid: Rid, hash: u64, slot: Slot, voice: Voice, now: Now) {
        let Slot { key, state: KeyState::Open(mut incident), .. } = slot else { return };
        let to = match voice {
            Voice::Own(to) if incident.since_last > 0 => to,
            _ if incident.since_last == 0 && !incident.folded => return,
            _ => return self.close_into_fold(rid, hash, *incident, &key, now),
        };
        let no = self.next_alert();
        let Some(policy) = &self.rules[rid.0].policy else { return };
        incident.newest.tidy(&self.policy.redactor);
        let hits = incident.since_last;
        let alert = say(policy, &self.policy.host, What::End, no, &key, &incident, hits);
        self.enqueue(&alert, threads(to), Lane::Batch, None, Term::Told, now);
    }

    /// Learns what became of an incident's opening in one space.
    pub(super) fn set_standing(&mut self, of: &IncidentRef, space: &Arc<str>, standing: Standing, now: Now) {
        let Some(&rid) = self.names.get(&of.rule) else { return };
        let Some(incident) = self.rules[rid.0].incident_mut(of.hash) else { return };
        if incident.no != of.no {
            return;
        }
        // a space that has left the file since: its threads are of no use
        let standing = if self.spaces.contains_key(space) { standing } else { Standing::Refused };
        match incident.standing.iter_mut().find(|(name, _)| name == space) {
            Some((_, old)) => *old = standing,
            None => incident.standing.push((Arc::clone(space), standing)),
        }
        self.fold_if_refused(rid, of.hash, now);
        self.mark_key(rid, of.hash);
        self.reschedule(rid, of.hash);
    }

    /// No space took the opening, and none still may: from now on the fold tells.
    pub(super) fn fold_if_refused(&mut self, rid: Rid, hash: u64, now: Now) {
        let Some(incident) = self.rules[rid.0].incident_mut(hash) else { return };
        let hopeless = incident.standing.iter().all(|(_, s)| *s == Standing::Refused);
        if hopeless && !incident.folded {
            incident.folded = true;
            self.fold_adopts(rid, now);
        }
    }

    /// Its row is to be written.
    pub(super) fn mark_key(&mut self, rid: Rid, hash: u64) {
        if let Some(slot) = self.rules[rid.0].keys.get_mut(&hash)
            && !slot.dirty
        {
            slot.dirty = true;
            self.dirty.insert(RowKey::Key(rid, hash));
        }
    }
}

fn threads(to: Vec<(Arc<str>, String)>) -> Vec<(Arc<str>, Option<String>)> {
    to.into_iter().map(|(space, thread)| (space, Some(thread))).collect()
}

/// The alert of one moment of one incident. What is tidied already is all that it reads.
fn say(
    policy: &RulePolicy,
    host: &str,
    what: What,
    no: AlertNo,
    key: &[(String, String)],
    incident: &Incident,
    hits: u64,
) -> Alert {
    let opening = what == What::Opening;
    let first = if opening { incident.first } else { incident.news };
    let facts = Facts {
        rule: policy,
        host,
        key,
        hits,
        total: incident.total,
        since_last: if opening { 0 } else { hits },
        first,
        last: incident.last,
        evidence: &incident.newest,
    };
    Alert {
        no,
        what,
        rule: Arc::clone(&policy.name),
        severity: policy.severity,
        key: key.to_vec(),
        text: facts.text(),
        hits,
        total: incident.total,
        incidents: 1,
        first,
        last: incident.last,
        samples: vec![incident.newest.sample()],
        runbook: policy.runbook.clone(),
        held: if opening { Vec::new() } else { vec![Held { count: hits, reason: "repeats".into() }] },
        hint: None,
    }
}
