//! Edits: where a space has `update = "edit"`, what follows an opening is told in the opening's own message.
//!
//! An alert that belongs to the thread of such a message goes into the message and not behind it: `enqueue` hands it over
//! here. Beside that, hits are told live: as long as an incident has news its message is due, at most every
//! [`EDIT_EVERY`]. So an edit is no reminder and no limit is asked about it; what bounds it is that a message has one edit
//! on its way at a time. A newer one takes its place, and the hits that it carries.
//!
//! The surprise: an edit says all of its message again, but it accounts only for the hits that no edit before it did. What
//! stands in the message as hits is what it has accounted for; what it says "in all" is the incident's total.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::batch::{Entry, Lane};
use super::incident::{IncidentRef, Voice, say, threads};
use super::ledger::{Flight, Term};
use super::phase::Phase;
use super::rows::RowKey;
use super::rule::{KeyState, Rid};
use super::standing::Standing;
use super::wording::over_text;
use super::{Incident, Judge};
use crate::alert::{Alert, AlertNo, What};
use crate::message::{Message, MessageNo, RowId};
use crate::time::{Now, Tick};

/// A message is edited no more often: a space takes one write a second from everybody together.
pub const EDIT_EVERY: Duration = Duration::from_secs(10);

/// One edit carries the hits of so many alerts at the most; those of one space alone are added up anyway.
const CLAIMS: usize = 64;

/// A message that opened incidents and says how they go on. There are no more of them than open incidents.
#[derive(Serialize, Deserialize)]
pub(super) struct Edited {
    pub(super) space: Arc<str>,
    /// What it says by now.
    pub(super) alerts: Vec<Alert>,
    /// The incidents that it opened and that are not known to be over.
    incidents: Vec<IncidentRef>,
    /// Under which id it stands in the space; `None`: not there yet, or not any more.
    row: Option<RowId>,
    /// The edit that is on its way.
    flight: Option<MessageNo>,
    /// Whose hits it says that no edit has carried yet.
    pub(super) claims: Vec<AlertNo>,
    /// It says something that no edit has said yet.
    changed: bool,
    /// It has been made anew, for what was to be edited was not there.
    #[serde(default)]
    anew: bool,
    /// Not edited before then.
    next: Tick,
    /// When it is looked at.
    pub(super) due: Option<Tick>,
}

impl Edited {
    /// Takes in what would have followed it in its thread.
    fn absorb(&mut self, alert: &Alert) {
        let own = |a: &&mut Alert| a.incidents == 1 && a.rule == alert.rule && a.key == alert.key;
        let Some(said) = self.alerts.iter_mut().rev().find(own) else {
            // it opened among many that were told as one: there it is counted
            let merged = self.alerts.iter().position(|a| a.incidents != 1).unwrap_or(0);
            if let Some(said) = self.alerts.get_mut(merged) {
                self.changed |= alert.hits > 0;
                said.hits += alert.hits;
                (said.total, said.last) = (said.hits, said.last.max(alert.last));
            }
            return;
        };
        self.changed |= alert.hits > 0 || said.what != alert.what || said.total != alert.total;
        said.what = alert.what;
        said.hits += alert.hits;
        (said.total, said.last) = (alert.total, said.last.max(alert.last));
        match alert.what {
            What::Reminder | What::Again => said.text.clone_from(&alert.text),
            What::End => {
                let over = over_text("ended", said.last.since(said.first), alert.total);
                said.text = format!("{}\n{over}", said.text);
            }
            _ => said.text = format!("{}\n{}", said.text, alert.text),
        }
        // the first line that was met, and the newest
        said.samples.truncate(1);
        if let Some(newest) = alert.samples.last().filter(|s| !s.line.is_empty() && !said.samples.contains(s))
        {
            said.samples.push(newest.clone());
        }
    }

    /// It says something that no edit has said yet, and can be edited.
    pub(super) fn is_unsaid(&self) -> bool {
        self.changed && self.row.is_some()
    }

    /// All that it has to tell is on its way or told, and nothing will follow.
    fn is_over(&self) -> bool {
        self.incidents.is_empty() && self.flight.is_none() && !self.changed && self.claims.is_empty()
    }
}

impl Judge {
    /// A message leaves for its space: where it opens incidents and the space wants that, it is the one to be edited.
    pub(super) fn begin_edited(&mut self, name: &Arc<str>, thread: &str, entries: &[Entry], now: Now) {
        if !self.spaces.get(name).is_some_and(|s| s.policy.edit) {
            return;
        }
        let incidents: Vec<IncidentRef> = entries.iter().flat_map(|e| e.incidents.iter().cloned()).collect();
        if incidents.is_empty() {
            return;
        }
        let edited = Edited {
            space: Arc::clone(name),
            alerts: entries.iter().map(|e| e.alert.clone()).collect(),
            incidents,
            row: None,
            flight: None,
            claims: Vec::new(),
            changed: false,
            anew: false,
            next: now.tick,
            due: None,
        };
        self.edited.insert(thread.to_owned(), edited);
        self.dirty.insert(RowKey::Edited(thread.to_owned()));
    }

    /// A message stands in its space under this id; without one, it does not any more, and is made anew.
    pub(super) fn stands(&mut self, message: MessageNo, row: Option<RowId>, now: Now) {
        let Some(flight) = self.flights.get(&message) else { return };
        let (space, thread) = (Arc::clone(&flight.space), flight.thread.clone());
        // a copy for a space that stands in goes by the same thread
        let Some(edited) = self.edited.get_mut(&thread).filter(|e| e.space == space) else { return };
        if flight.edit && edited.row.is_some() && row.is_some() {
            // an edit leaves it where it is
            return;
        }
        if row.is_none() && std::mem::replace(&mut edited.anew, true) {
            // whoever takes messages and no edits of them would be sent a new one for each
            return self.edit_no_more(&thread);
        }
        let news = row.is_some() && (edited.changed || flight.edit);
        edited.row = row;
        edited.next = now.tick + EDIT_EVERY;
        self.dirty.insert(RowKey::Edited(thread.clone()));
        if news {
            self.look_at_edited(&thread, now.tick);
        }
    }

    /// An alert for this thread goes into the message that began it, where that is edited.
    pub(super) fn absorb(&mut self, thread: &str, alert: &Alert, now: Now) -> bool {
        let Some(edited) = self.edited.get_mut(thread) else { return false };
        edited.absorb(alert);
        if alert.hits > 0 {
            edited.claims.push(alert.no);
        }
        self.dirty.insert(RowKey::Edited(thread.to_owned()));
        self.look_at_edited(thread, now.tick);
        true
    }

    /// An incident has news, or has ended: the messages that hold it are due.
    pub(super) fn edit_soon(&mut self, rid: Rid, hash: u64, now: Now) {
        if self.edited.is_empty() {
            return;
        }
        let Judge { rules, edited, edits_due, dirty, .. } = self;
        if let Some(incident) = rules[rid.0].incident_mut(hash) {
            look_at_all(&incident.standing, edited, edits_due, dirty, now.tick);
        }
    }

    /// An incident is out of the map.
    pub(super) fn edit_last(&mut self, standing: &[(Arc<str>, Standing)]) {
        let Judge { edited, edits_due, dirty, now, .. } = self;
        look_at_all(standing, edited, edits_due, dirty, *now);
    }

    /// It is looked at as soon as it may be edited.
    fn look_at_edited(&mut self, thread: &str, now: Tick) {
        let Judge { edited, edits_due, dirty, .. } = self;
        look_at(thread, edited, edits_due, dirty, now);
    }

    /// Lets every edit go whose time has come.
    pub(super) fn flush_edits(&mut self, now: Now, out: &mut Vec<Message>) {
        while self.edits_due.first().is_some_and(|(at, _)| *at <= now.tick) {
            let Some((_, thread)) = self.edits_due.pop_first() else { return };
            if let Some(edited) = self.edited.get_mut(&thread) {
                edited.due = None;
            }
            self.dirty.insert(RowKey::Edited(thread.clone()));
            out.extend(self.edit(&thread, now));
        }
    }

    fn edit(&mut self, thread: &str, now: Now) -> Option<Message> {
        let edited = self.edited.get(thread)?;
        if edited.row.is_some() {
            for incident in edited.incidents.clone() {
                self.tell_live(thread, &incident, now);
            }
        }
        self.forget_ended(thread);
        let message = self.send_edit(thread, now);
        self.forget_if_over(thread);
        message
    }

    /// The news of one incident goes into the messages that hold it.
    fn tell_live(&mut self, thread: &str, of: &IncidentRef, now: Now) {
        let Some(&rid) = self.names.get(&of.rule) else { return };
        let no = AlertNo(self.head.next_alert);
        let rule = &mut self.rules[rid.0];
        let (Some(policy), Some(slot)) = (&rule.policy, rule.keys.get_mut(of.hash)) else { return };
        let KeyState::Open(incident) = &mut slot.state else { return };
        let speaks = incident.no == of.no && incident.is_open() && incident.held_by.is_none();
        if !speaks || incident.since_last == 0 || slot.expected.is_some() {
            return;
        }
        let Voice::Own(to) = incident.voice(&self.spaces) else { return };
        let Some(edited) = self.edited.get_mut(thread) else { return };
        incident.newest.tidy(&self.policy.redactor, &policy.captures);
        let mut alert = live(policy, &self.policy.host, no, &slot.key, incident);
        let carried = edited.flight.and_then(|no| self.flights.get(&no)).map_or(0, |f| f.claims.len());
        let full = edited.claims.len() + carried >= CLAIMS;
        if full || !to.iter().all(|(_, thread)| self.edited.contains_key(thread)) {
            // whoever reads of it in a thread is told of these hits there: here stands only how many there are in all
            alert.hits = 0;
            if let Some(edited) = self.edited.get_mut(thread) {
                edited.absorb(&alert);
            }
            return;
        }
        alert.hits = incident.take_news();
        incident.phase = Phase::Open;
        self.next_alert();
        self.mark_rule(rid);
        self.mark_key(rid, of.hash);
        self.enqueue(&alert, threads(to), Lane::Batch, None, Term::Told, now);
        self.reschedule(rid, of.hash);
    }

    /// What has ended is not looked at again.
    fn forget_ended(&mut self, thread: &str) {
        let Judge { names, rules, edited, .. } = self;
        let Some(edited) = edited.get_mut(thread) else { return };
        edited.incidents.retain(|of| {
            let incident = names.get(&of.rule).and_then(|rid| rules[rid.0].incident_mut(of.hash));
            incident.is_some_and(|incident| incident.no == of.no)
        });
    }

    fn send_edit(&mut self, thread: &str, now: Now) -> Option<Message> {
        let no = MessageNo(self.head.next_message);
        let edited = self.edited.get_mut(thread).filter(|e| e.changed)?;
        let row = edited.row.clone()?;
        self.head.next_message += 1;
        edited.changed = false;
        edited.next = now.tick + EDIT_EVERY;
        let before = edited.flight.replace(no);
        let mut claims = std::mem::take(&mut edited.claims);
        let message = Message {
            no,
            space: Arc::clone(&edited.space),
            thread: thread.to_owned(),
            host: Arc::clone(&self.policy.host),
            severity: edited.alerts.iter().map(|a| a.severity).max().unwrap_or_default(),
            alerts: edited.alerts.clone(),
            at: now.wall,
            edits: Some(row),
            // nobody is called twice
            mention: Vec::new(),
        };
        if let Some(before) = before {
            self.dirty.insert(RowKey::Flight(before));
            claims.extend(self.flights.remove(&before).map(|f| f.claims).unwrap_or_default());
        }
        self.join_claims(&mut claims);
        let hits = claims.iter().filter_map(|no| self.claims.get(no)).map(|c| c.hits).sum();
        let (space, thread) = (Arc::clone(&message.space), thread.to_owned());
        let incidents = Vec::new();
        // another space that stands in would be told every few seconds: it hears of openings
        let flight = Flight { space, thread, claims, incidents, hits, dead: false, copied: true, edit: true };
        self.flights.insert(no, flight);
        self.dirty.insert(RowKey::Flight(no));
        Some(message)
    }

    /// An edit has arrived.
    pub(super) fn edit_arrived(&mut self, no: MessageNo, thread: &str, now: Now) {
        let Some(edited) = self.edited.get_mut(thread).filter(|e| e.flight == Some(no)) else { return };
        edited.flight = None;
        edited.next = now.tick + EDIT_EVERY;
        self.dirty.insert(RowKey::Edited(thread.to_owned()));
        let waits = edited.changed || edited.due.is_some();
        if let Some(due) = edited.due.take() {
            self.edits_due.remove(&(due, thread.to_owned()));
        }
        if waits {
            self.look_at_edited(thread, now.tick);
        }
        self.forget_if_over(thread);
    }

    fn forget_if_over(&mut self, thread: &str) {
        if self.edited.get(thread).is_some_and(Edited::is_over) {
            self.edit_no_more(thread);
        }
    }

    /// The space will not have the message, or not this edit of it.
    pub(super) fn edit_refused(&mut self, space: &Arc<str>, thread: &str) {
        if self.edited.get(thread).is_some_and(|e| e.space == *space) {
            self.edit_no_more(thread);
        }
    }

    /// What follows goes into its thread from now on. Hits that no edit has carried are told by their rules' folds.
    pub(super) fn edit_no_more(&mut self, thread: &str) {
        let Some(edited) = self.edited.remove(thread) else { return };
        self.dirty.insert(RowKey::Edited(thread.to_owned()));
        if let Some(due) = edited.due {
            self.edits_due.remove(&(due, thread.to_owned()));
        }
        for no in edited.claims {
            self.fold_claim(no);
        }
    }

    /// The policy has changed: messages of spaces that do not want to be edited any more, or are gone, are let be.
    pub(super) fn edit_by_policy(&mut self) {
        let all: Vec<String> = self.edited.keys().cloned().collect();
        for thread in all {
            self.forget_ended(&thread);
            let Some(edited) = self.edited.get_mut(&thread) else { continue };
            edited.next = edited.next.min(self.now + EDIT_EVERY);
            // one of which no row was left
            edited.flight = edited.flight.filter(|no| self.flights.contains_key(no));
            if !self.spaces.get(&edited.space).is_some_and(|s| s.policy.edit) {
                self.edit_no_more(&thread);
            }
            self.forget_if_over(&thread);
        }
    }
}

/// When to look at which message.
type Due = BTreeSet<(Tick, String)>;

fn look_at_all(
    standing: &[(Arc<str>, Standing)],
    edited: &mut BTreeMap<String, Edited>,
    due: &mut Due,
    dirty: &mut BTreeSet<RowKey>,
    now: Tick,
) {
    for (_, standing) in standing {
        if let Standing::Heard(thread) = standing {
            look_at(thread, edited, due, dirty, now);
        }
    }
}

/// Called for every hit of an incident: nothing is to be done for most.
fn look_at(
    thread: &str,
    edited: &mut BTreeMap<String, Edited>,
    due: &mut Due,
    dirty: &mut BTreeSet<RowKey>,
    now: Tick,
) {
    let Some(edited) = edited.get_mut(thread) else { return };
    let at = edited.next.max(now);
    if edited.due.is_some_and(|due| due <= at) {
        return;
    }
    dirty.insert(RowKey::Edited(thread.to_owned()));
    if let Some(old) = edited.due.replace(at) {
        due.remove(&(old, thread.to_owned()));
    }
    due.insert((at, thread.to_owned()));
}

/// How an incident goes on, told by all of it: its counts are to be filled in.
fn live(
    policy: &super::RulePolicy,
    host: &str,
    no: AlertNo,
    key: &[(String, String)],
    incident: &Incident,
) -> Alert {
    let whole = say(policy, host, What::Opening, no, key, incident, incident.total);
    Alert { what: What::Reminder, ..whole }
}
