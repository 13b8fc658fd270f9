//! Incidents: one opening, reminders while there is news, one end.
//!
//! An incident speaks where its opening was heard and nowhere else, and it waits to learn where that is: until the
//! opening's fate is known it neither reminds nor ends (unless nothing has happened since), it only counts. A hit that
//! comes meanwhile simply goes on counting. Where no space took the opening, or a limit held it, the incident
//! is *folded*: its counts are told by its rule's fold, for as long as it lives.
//!
//! A rule's `hold` keeps it back before it opens, and a `resolve` ends it before it is quiet: its [`Phase`].

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::batch::{Lane, Space};
use super::distinct::Different;
use super::evidence::{Evidence, samples};
use super::gate::Wish;
use super::ledger::Term;
use super::limit::{Reason, Verdict};
use super::phase::{News, Phase};
use super::rule::{KeyState, Rid, Slot};
use super::silence::By;
use super::standing::Standing;
use super::top::Top;
use super::window::Firing;
use super::wording::{Facts, over_text};
use super::{Judge, RulePolicy};
use crate::alert::{Alert, AlertNo, Held, Sample, What};
use crate::hit::Told;
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
    /// A silence or a mute holds it: it says nothing, and what it has not told is muted. Never folded then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) held_by: Option<By>,
    /// The telling of the fold in which it was last counted.
    pub(super) counted_in: u64,
    pub(super) remind_at: Tick,
    pub(super) remind_every: Duration,
    #[serde(default, skip_serializing_if = "Phase::is_open")]
    pub(super) phase: Phase,
    #[serde(default, skip_serializing_if = "Different::is_empty")]
    pub(super) different: Different,
    #[serde(default, skip_serializing_if = "Top::is_empty")]
    pub(super) top: Top,
}

/// Where an incident may speak.
#[derive(PartialEq, Eq)]
pub(super) enum Voice {
    /// In these spaces and threads.
    Own(Vec<(Arc<str>, String)>),
    /// Not known yet.
    Wait,
    /// In its rule's fold.
    Fold,
}

impl Incident {
    /// One more hit.
    pub(super) fn hit(&mut self, told: Told<'_>, at: Wall, hold: Duration) -> News {
        if told.full {
            self.newest.replace(told.hit, at);
        }
        self.first = self.first.min(at);
        self.last = self.last.max(at);
        self.news = if self.since_last == 0 { at } else { self.news.min(at) };
        self.since_last += 1;
        self.total += 1;
        match self.phase {
            Phase::Holding { fired, .. } if at.since(fired) >= hold => News::Due,
            Phase::Holding { .. } => News::Held,
            Phase::Resolved { said: true, .. } => News::Again,
            Phase::Resolved { quietly, .. } => {
                // nobody has heard that it was over
                self.phase = if quietly { Phase::Quietly } else { Phase::Open };
                News::First
            }
            Phase::Open | Phase::Quietly if self.since_last == 1 => News::First,
            Phase::Open | Phase::Quietly => News::More,
        }
    }

    /// It has opened, and no line has ended it.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Quietly)
    }

    /// No space has heard of it, and none still may.
    pub(super) fn is_untold(&self) -> bool {
        self.standing.iter().all(|(_, s)| *s == Standing::Refused)
    }

    /// A line ended it so long before `at` that a hit then begins a new one.
    pub(super) fn is_over(&self, at: Wall, quiet: Duration) -> bool {
        matches!(self.phase, Phase::Resolved { at: resolved, said: true, .. } if at.since(resolved) >= quiet)
    }

    /// Takes out what nobody has been told of.
    pub(super) fn take_news(&mut self) -> u64 {
        std::mem::take(&mut self.since_last)
    }

    /// Of what was expected by `at` and did not come.
    pub(super) fn missing(no: AlertNo, at: Wall, newest: Evidence, remind: Duration, now: Now) -> Incident {
        Incident {
            no,
            first: at,
            last: at,
            news: at,
            since_last: 0,
            total: 0,
            newest,
            standing: Vec::new(),
            folded: false,
            held_by: None,
            counted_in: 0,
            remind_at: now.tick,
            remind_every: remind,
            phase: Phase::Holding { until: now.tick, fired: at, late: false, samples: Vec::new() },
            different: Different::default(),
            top: Top::default(),
        }
    }

    /// It is over, and that has not been said although it is known where.
    pub(super) fn may_say_its_end(&self, spaces: &BTreeMap<Arc<str>, Space>) -> bool {
        matches!(self.phase, Phase::Resolved { said: false, .. }) && self.voice(spaces) != Voice::Wait
    }

    pub(super) fn voice(&self, spaces: &BTreeMap<Arc<str>, Space>) -> Voice {
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
    pub(super) fn deadline(
        &self,
        hit_at: Tick,
        policy: &RulePolicy,
        spaces: &BTreeMap<Arc<str>, Space>,
    ) -> Option<Tick> {
        let quiet = hit_at + policy.quiet;
        let voice = || self.voice(spaces);
        match self.phase {
            Phase::Holding { until, .. } => Some(until),
            Phase::Resolved { since, said: true, .. } => Some(since + policy.quiet),
            Phase::Resolved { since, .. } => (voice() != Voice::Wait).then_some(since),
            Phase::Open | Phase::Quietly if self.held_by.is_some() => Some(quiet),
            Phase::Open | Phase::Quietly if self.since_last == 0 && !policy.say_end => Some(quiet),
            Phase::Open | Phase::Quietly => match voice() {
                Voice::Own(_) if self.since_last > 0 => Some(quiet.min(self.remind_at)),
                Voice::Own(_) | Voice::Fold => Some(quiet),
                Voice::Wait => None,
            },
        }
    }
}

impl Judge {
    /// The threshold is reached: an incident opens, or is held first. The caller reschedules its key.
    pub(super) fn fire(
        &mut self,
        rid: Rid,
        hash: u64,
        firing: Firing,
        newest: Evidence,
        late: bool,
        now: Now,
    ) {
        let no = self.next_alert();
        let rule = &mut self.rules[rid.0];
        let (Some(policy), Some(slot)) = (&rule.policy, rule.keys.get_mut(hash)) else { return };
        let KeyState::Counting(window) = &mut slot.state else { return };
        // most rules fire on the first hit: that there are no others to show should cost nothing
        let (mut lines, mut newest) = (window.older(), newest);
        let held = !policy.hold.is_zero();
        let mut samples = if held { samples(&mut lines, &self.policy.redactor, policy) } else { Vec::new() };
        if held {
            newest.tidy(&self.policy.redactor, &policy.captures);
            samples.push(newest.sample());
        }
        let (different, top) = window.asked.take().map(|asked| asked.fired(firing)).unwrap_or_default();
        slot.state = KeyState::Open(Box::new(Incident {
            no,
            first: firing.first,
            last: firing.last,
            news: firing.first,
            since_last: firing.hits,
            total: firing.hits,
            newest,
            standing: Vec::new(),
            folded: false,
            held_by: None,
            counted_in: 0,
            remind_at: now.tick,
            remind_every: policy.remind,
            different,
            top,
            phase: Phase::Holding { until: now.tick + policy.hold, fired: firing.last, late, samples },
        }));
        if !held {
            self.open_with(rid, hash, lines, now);
        }
    }

    /// Opens an incident that has fired. The caller reschedules its key.
    pub(super) fn open(&mut self, rid: Rid, hash: u64, now: Now) {
        self.open_with(rid, hash, VecDeque::new(), now);
    }

    /// The same, with lines that are shown before its newest.
    fn open_with(&mut self, rid: Rid, hash: u64, mut older: VecDeque<Evidence>, now: Now) {
        let Some(incident) = self.rules[rid.0].incident_mut(hash) else { return };
        let Phase::Holding { late, samples: mut shown, .. } = std::mem::take(&mut incident.phase) else {
            return;
        };
        let wish = Wish::Opening { late };
        let verdict = self.may_say(rid, hash, wish, now);
        self.mark_rule(rid);
        let rule = &mut self.rules[rid.0];
        let (Some(policy), Some(slot)) = (&rule.policy, rule.keys.get_mut(hash)) else { return };
        let KeyState::Open(incident) = &mut slot.state else { return };
        // of a flood over the limit one line is shown, and the others are not even made clean
        if rule.fold.wants_sample() || !matches!(verdict, Verdict::Hold(Reason::Until(_))) {
            incident.newest.tidy(&self.policy.redactor, &policy.captures);
            let newest = incident.newest.sample();
            let same = |s: &Sample| (&s.line, &s.file, s.at) == (&newest.line, &newest.file, newest.at);
            let known = shown.last().is_some_and(same);
            if known {
                shown.pop();
            }
            shown.extend(samples(&mut older, &self.policy.redactor, policy));
            // around the one that is newest, and no other, is shown what stands there
            shown.iter_mut().for_each(Sample::alone);
            if known || !newest.line.is_empty() {
                shown.push(newest);
            }
        }
        let awaits = incident.newest.awaits();
        incident.remind_at = now.tick + policy.remind;
        let lane = match verdict {
            Verdict::Show => Lane::Batch,
            Verdict::Hold(reason) => {
                let sample = if matches!(reason, Reason::Until(_)) { shown.pop() } else { None };
                let Some(lane) = self.hold(rid, hash, (wish, reason), sample, now) else { return };
                lane
            }
        };
        let rule = &mut self.rules[rid.0];
        let (Some(policy), Some(slot)) = (&rule.policy, rule.keys.get_mut(hash)) else { return };
        let KeyState::Open(incident) = &mut slot.state else { return };
        let hits = incident.take_news();
        let mut alert = say(policy, &self.policy.host, What::Opening, incident.no, &slot.key, incident, hits);
        alert.samples = shown;
        if let Some(expected) = &slot.expected {
            alert.what = What::Missing;
            alert.text = expected.text(policy, alert.text);
        }
        let opened = IncidentRef { rule: Arc::clone(&policy.name), hash, no: incident.no };
        let spaces = self.spaces_of(rid);
        if let Some(incident) = self.rules[rid.0].incident_mut(hash) {
            incident.standing = spaces.iter().map(|s| (Arc::clone(s), Standing::Waiting)).collect();
        }
        let to = spaces.into_iter().map(|s| (s, None)).collect();
        self.enqueue(&alert, to, lane, Some(&opened), Term::Shown, now);
        if let Some(awaited) = awaits {
            self.let_wait(alert.no, awaited, now);
        }
    }

    /// Its deadline has come: it is quiet, or there is news to remind of.
    pub(super) fn incident_timer(&mut self, rid: Rid, hash: u64, now: Now) {
        let rule = &mut self.rules[rid.0];
        let (Some(policy), Some(slot)) = (&rule.policy, rule.keys.get_mut(hash)) else { return };
        let quiet = slot.hit_at + policy.quiet <= now.tick;
        let KeyState::Open(incident) = &mut slot.state else { return };
        let voice = incident.voice(&self.spaces);
        match incident.phase {
            Phase::Holding { .. } => {
                self.open(rid, hash, now);
                self.mark_rule(rid);
                self.mark_key(rid, hash);
                return self.reschedule(rid, hash);
            }
            Phase::Resolved { said: true, .. } => {
                self.remove_slot(rid, hash);
                return;
            }
            Phase::Resolved { .. } => return self.say_resolved(rid, hash, now),
            Phase::Open | Phase::Quietly => {}
        }
        if incident.since_last == 0 || quiet {
            if let Some(slot) = self.remove_slot(rid, hash) {
                self.end(rid, hash, slot, voice, now);
            }
            return;
        }
        if let Voice::Own(to) = voice
            && incident.held_by.is_none()
        {
            let doubled = incident.remind_every.saturating_mul(2);
            incident.remind_every = doubled.min(REMIND_AT_MOST.max(policy.remind));
            incident.remind_at = now.tick + incident.remind_every;
            let edited = to.iter().all(|(_, thread)| self.edited.contains_key(thread));
            if edited {
                self.edit_soon(rid, hash, now);
            } else if let Verdict::Hold(reason) = self.may_say(rid, hash, Wish::Reminder, now) {
                self.hold(rid, hash, (Wish::Reminder, reason), None, now);
            } else {
                self.remind(rid, hash, to, now);
            }
        }
        self.mark_rule(rid);
        self.mark_key(rid, hash);
        self.reschedule(rid, hash);
    }

    fn remind(&mut self, rid: Rid, hash: u64, to: Vec<(Arc<str>, String)>, now: Now) {
        let no = self.next_alert();
        let rule = &mut self.rules[rid.0];
        let (Some(policy), Some(slot)) = (&rule.policy, rule.keys.get_mut(hash)) else { return };
        let KeyState::Open(incident) = &mut slot.state else { return };
        incident.newest.tidy(&self.policy.redactor, &policy.captures);
        let hits = incident.since_last;
        let alert = say(policy, &self.policy.host, What::Reminder, no, &slot.key, incident, hits);
        incident.take_news();
        incident.phase = Phase::Open;
        self.enqueue(&alert, threads(to), Lane::Batch, None, Term::Told, now);
    }

    /// The incident is over and out of the map.
    fn end(&mut self, rid: Rid, hash: u64, slot: Slot, voice: Voice, now: Now) {
        let Slot { key, state: KeyState::Open(mut incident), .. } = slot else { return };
        let said = incident.since_last > 0 || self.rules[rid.0].policy.as_ref().is_some_and(|p| p.say_end);
        let to = match voice {
            Voice::Own(to) if said && !matches!(incident.phase, Phase::Quietly) => to,
            // where it can be read in place, the end is always to be read
            Voice::Own(mut to) if !said => {
                to.retain(|(_, thread)| self.edited.contains_key(thread));
                if to.is_empty() {
                    return;
                }
                to
            }
            _ if incident.since_last == 0 && !incident.folded => return,
            _ => return self.close_into_fold(rid, hash, *incident, &key, now),
        };
        let no = self.next_alert();
        let Some(policy) = &self.rules[rid.0].policy else { return };
        incident.newest.tidy(&self.policy.redactor, &policy.captures);
        let hits = incident.since_last;
        let mut alert = say(policy, &self.policy.host, What::End, no, &key, &incident, hits);
        if hits == 0 {
            alert.text = over_text("ended", incident.last.since(incident.first), incident.total);
            alert.text.push_str(&incident.top_text(policy));
            alert.samples.clear();
        }
        self.enqueue(&alert, threads(to), Lane::Batch, None, Term::Told, now);
    }

    /// It is there, and not over.
    pub(super) fn is_open(&self, of: &IncidentRef) -> bool {
        let slot = self.names.get(&of.rule).and_then(|rid| self.rules[rid.0].keys.get(of.hash));
        slot.is_some_and(|slot| matches!(&slot.state, KeyState::Open(incident) if incident.no == of.no))
    }
}

pub(super) fn threads(to: Vec<(Arc<str>, String)>) -> Vec<(Arc<str>, Option<String>)> {
    to.into_iter().map(|(space, thread)| (space, Some(thread))).collect()
}

/// The alert of one moment of one incident. What is tidied already is all that it reads.
pub(super) fn say(
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
        different: &incident.different,
    };
    Alert {
        no,
        what,
        rule: Arc::clone(&policy.name),
        severity: policy.severity,
        key: key.to_vec(),
        text: facts.text() + &incident.top_text(policy),
        hits,
        total: incident.total,
        incidents: 1,
        first,
        last: incident.last,
        samples: vec![incident.newest.sample()],
        runbook: policy.runbook.clone(),
        held: if opening || hits == 0 {
            Vec::new()
        } else {
            vec![Held { count: hits, reason: "repeats".into() }]
        },
        hint: None,
    }
}
