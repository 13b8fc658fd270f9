//! Batches: what waits for a space, when it leaves, and what its budget says to that.
//!
//! Three queues a space. *Batch*: the next messages; the first alert of a space that was silent leaves at once, what
//! follows waits for company. *Digest*: what the hourly budget held, told as one. *Away*: openings from lines
//! written while nobody was reading, told as one when they have stopped coming. An alert that goes to several spaces waits
//! in each under the same number.

use std::collections::BTreeMap;
use std::hash::Hasher as _;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;

use super::context::{Awaited, CONTEXT_WAIT};
use super::incident::IncidentRef;
use super::ledger::{Claim, Flight, Term};
use super::limit::Limit;
use super::merge::worst_first;
use super::report::SpaceCounts;
use super::rows::RowKey;
use super::{Judge, SpacePolicy};
use crate::alert::{Alert, AlertNo, Held, Severity, What};
use crate::message::{Message, MessageNo};
use crate::time::{Now, Tick};

/// Alerts in one message; the rest is merged into its last one, counts and all.
pub(super) const MESSAGE_ALERTS: usize = 20;

/// Alerts that wait in one queue of a space; beyond it the mildest half is merged into one.
pub(super) const QUEUE: usize = 200;

/// Critical messages an hour beside a space's budget.
const RESERVE: u32 = 20;

/// "While away" is told when so long no further opening came…
const AWAY_CALM: Duration = Duration::from_secs(5);

/// …but not later than this after the first.
const AWAY_AT_MOST: Duration = Duration::from_secs(60);

/// Which queue an alert waits in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Lane {
    Batch,
    Digest,
    Away,
}

impl Lane {
    pub(super) const ALL: [Lane; 3] = [Lane::Batch, Lane::Digest, Lane::Away];
}

/// An alert that waits for one space.
#[derive(Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) lane: Lane,
    pub(super) alert: Alert,
    /// Whose hits it carries: its own, or of all that were merged into it.
    pub(super) claims: Vec<AlertNo>,
    /// Incidents that it opens.
    pub(super) incidents: Vec<IncidentRef>,
    /// The thread it belongs to; `None`: the one that its flush starts.
    pub(super) thread: Option<String>,
    /// Since when it waits.
    pub(super) at: Tick,
    /// Lines behind its hit are still to come, and until when it waits for them.
    #[serde(skip)]
    pub(super) awaits: Option<(Awaited, Tick)>,
}

/// One queue.
#[derive(Default)]
pub(super) struct Queue {
    pub(super) entries: BTreeMap<AlertNo, Entry>,
    first: Tick,
    newest: Tick,
    urgent: bool,
}

/// A space with what waits for it.
pub(super) struct Space {
    pub(super) policy: SpacePolicy,
    pub(super) budget: Limit,
    pub(super) reserve: Limit,
    pub(super) batch: Queue,
    pub(super) digest: Queue,
    pub(super) away: Queue,
    /// When the batch was last let go.
    pub(super) flushed: Option<Tick>,
    pub(super) digest_due: Option<Tick>,
    pub(super) counts: SpaceCounts,
}

impl Queue {
    pub(super) fn push(&mut self, entry: Entry) {
        if self.entries.is_empty() {
            (self.first, self.newest) = (entry.at, entry.at);
        }
        (self.first, self.newest) = (self.first.min(entry.at), self.newest.max(entry.at));
        let over = matches!(entry.alert.what, What::End | What::Resolved | What::Seen);
        self.urgent |= entry.alert.severity == Severity::Critical && !over;
        self.entries.insert(entry.alert.no, entry);
    }

    fn take(&mut self) -> Vec<Entry> {
        std::mem::take(self).entries.into_values().collect()
    }
}

impl Space {
    pub(super) fn new(policy: SpacePolicy) -> Space {
        Space {
            budget: Limit::new(policy.max_per_hour),
            reserve: Limit::new(RESERVE),
            policy,
            batch: Queue::default(),
            digest: Queue::default(),
            away: Queue::default(),
            flushed: None,
            digest_due: None,
            counts: SpaceCounts::default(),
        }
    }

    /// The policy that counts from now on; limits go on where they were, and a digest that waits is due by the new
    /// distance from when its waiting began.
    pub(super) fn set_policy(&mut self, policy: SpacePolicy, now: Tick) {
        let (old, new) = (self.policy.digest_every, policy.digest_every);
        // nothing is known of what a row without it was counted by
        if old != new && !old.is_zero() {
            self.digest_due = self.digest_due.map(|due| due.counted_anew(old, new).max(now));
        }
        self.budget.set(policy.max_per_hour, now);
        self.reserve.set(RESERVE, now);
        self.policy = policy;
    }

    pub(super) fn queue_mut(&mut self, lane: Lane) -> &mut Queue {
        match lane {
            Lane::Batch => &mut self.batch,
            Lane::Digest => &mut self.digest,
            Lane::Away => &mut self.away,
        }
    }

    pub(super) fn queue(&self, lane: Lane) -> &Queue {
        match lane {
            Lane::Batch => &self.batch,
            Lane::Digest => &self.digest,
            Lane::Away => &self.away,
        }
    }

    fn batch_due(&self) -> Option<Tick> {
        let Queue { entries, first, newest, urgent } = &self.batch;
        if entries.is_empty() {
            return None;
        }
        let silent = self.flushed.is_none_or(|f| *first >= f + self.policy.wait);
        if *urgent {
            return Some(*first);
        }
        let due = (*newest + self.policy.wait).min(*first + self.policy.wait_at_most);
        let due = if silent { *first } else { due };
        let awaited = entries.values().filter_map(|e| Some(e.awaits?.1)).max();
        Some(due.max(awaited.map_or(due, |until| until.min(*first + CONTEXT_WAIT))))
    }

    fn away_due(&self) -> Option<Tick> {
        let Queue { entries, first, newest, .. } = &self.away;
        (!entries.is_empty()).then(|| (*newest + AWAY_CALM).min(*first + AWAY_AT_MOST))
    }

    /// When something leaves next.
    pub(super) fn due(&self) -> Option<Tick> {
        [self.batch_due(), self.away_due(), self.digest_due].into_iter().flatten().min()
    }
}

impl Judge {
    /// Puts an alert into the queues of its spaces; its hits become a claim. Where no space is left to hear of it,
    /// its hits are lost.
    pub(super) fn enqueue<'a>(
        &mut self,
        alert: &Alert,
        to: Vec<(Arc<str>, Option<String>)>,
        lane: Lane,
        opens: impl IntoIterator<Item = &'a IncidentRef>,
        term: Term,
        now: Now,
    ) {
        let (no, hits) = (alert.no, alert.hits);
        if to.is_empty() {
            if let Some(rule) = self.rule_mut(&alert.rule) {
                rule.ledger.lost += hits;
            }
            return;
        }
        // an edit that only counts on is nothing that was decided
        let edits = |thread: &Option<String>| thread.as_ref().is_some_and(|t| self.edited.contains_key(t));
        if alert.what != What::Reminder || !to.iter().all(|(_, thread)| edits(thread)) {
            self.decided_to_say(alert, now.wall, &to);
        }
        let copies = to.len() as u32;
        let opens: Vec<IncidentRef> = opens.into_iter().cloned().collect();
        if hits > 0 {
            self.claims.insert(no, Claim { rule: Arc::clone(&alert.rule), term, hits, copies });
            self.dirty.insert(RowKey::Claim(no));
        }
        for (space, thread) in to {
            if thread.as_ref().is_some_and(|thread| self.absorb(thread, alert, now)) {
                continue;
            }
            let claims = if hits > 0 { vec![no] } else { Vec::new() };
            let incidents = opens.clone();
            let entry =
                Entry { lane, alert: alert.clone(), claims, incidents, thread, at: now.tick, awaits: None };
            self.push(&space, entry);
        }
    }

    /// Puts an entry into its queue, and keeps the queue in bounds.
    pub(super) fn push(&mut self, name: &Arc<str>, entry: Entry) {
        let Some(space) = self.spaces.get_mut(name) else { return };
        let (lane, no) = (entry.lane, entry.alert.no);
        let queue = space.queue_mut(lane);
        queue.push(entry);
        self.dirty.insert(RowKey::Wait(Arc::clone(name), no));
        if queue.entries.len() <= QUEUE {
            return;
        }
        let mut entries = queue.take();
        worst_first(&mut entries);
        let mild = entries.split_off(QUEUE / 2);
        for entry in &mild {
            self.dirty.insert(RowKey::Wait(Arc::clone(name), entry.alert.no));
        }
        let mut merged = self.merge(mild, if lane == Lane::Away { What::WhileAway } else { What::Fold });
        self.join_claims(&mut merged.claims);
        // one that went for want of room, or is over, needs no word of where its opening came to
        merged.incidents.retain(|of| self.is_open(of));
        merged.lane = lane;
        self.dirty.insert(RowKey::Wait(Arc::clone(name), merged.alert.no));
        entries.push(merged);
        if let Some(space) = self.spaces.get_mut(name) {
            let queue = space.queue_mut(lane);
            for entry in entries {
                queue.push(entry);
            }
        }
    }

    /// Lets everything go whose time has come.
    pub(super) fn flush(&mut self, now: Now) -> Vec<Message> {
        let due = |s: &Space| s.due().is_some_and(|t| t <= now.tick);
        let names: Vec<Arc<str>> =
            self.spaces.iter().filter(|(_, s)| due(s)).map(|(name, _)| Arc::clone(name)).collect();
        let mut out = Vec::new();
        for name in names {
            self.dirty.insert(RowKey::Space(Arc::clone(&name)));
            self.flush_batch(&name, now, &mut out);
            self.flush_digest(&name, now, &mut out);
        }
        self.flush_edits(now, &mut out);
        out
    }

    /// The batch, and what was written while nobody read: one message a thread.
    fn flush_batch(&mut self, name: &Arc<str>, now: Now, out: &mut Vec<Message>) {
        let Some(space) = self.spaces.get(name) else { return };
        let away = space.away_due().is_some_and(|t| t <= now.tick);
        if !away && space.batch_due().is_none_or(|t| t > now.tick) {
            return;
        }
        let mut going = Vec::new();
        if away {
            let late = self.take(name, Lane::Away);
            going.push(self.merge(late, What::WhileAway));
        }
        going.extend(self.take(name, Lane::Batch));
        let mut threads: BTreeMap<Option<String>, Vec<Entry>> = BTreeMap::new();
        for entry in going {
            threads.entry(entry.thread.clone()).or_default().push(entry);
        }
        let mut threads: Vec<(Option<String>, Vec<Entry>)> = threads.into_iter().collect();
        // Where only one may go, it is the one that waits longest, not the one whose thread has the smaller name.
        let oldest = |entries: &[Entry]| entries.iter().map(|e| e.alert.no).min();
        threads.sort_by_key(|(_, entries)| (std::cmp::Reverse(worst(entries)), oldest(entries)));
        for (thread, entries) in threads {
            let Some(space) = self.spaces.get_mut(name) else { return };
            space.flushed = Some(now.tick);
            if let Some(entries) = self.may_send(name, entries, now) {
                out.push(self.send(name, thread, entries, now));
            }
        }
    }

    fn flush_digest(&mut self, name: &Arc<str>, now: Now, out: &mut Vec<Message>) {
        let Some(space) = self.spaces.get_mut(name) else { return };
        if space.digest_due.is_none_or(|t| t > now.tick) {
            return;
        }
        let severity = space.digest.entries.values().map(|e| e.alert.severity).max();
        let Some(severity) = severity else {
            space.digest_due = None;
            return;
        };
        if !self.digest_may_go(name, severity, now) {
            return;
        }
        let held = self.take(name, Lane::Digest);
        let over = held.len() as u64;
        let mut digest = self.merge(held, What::Digest);
        if over > 1 {
            let reason = "alerts over the space's budget".into();
            digest.alert.held.push(Held { count: over, reason });
        }
        out.push(self.send(name, digest.thread.clone(), vec![digest], now));
    }

    fn take(&mut self, name: &Arc<str>, lane: Lane) -> Vec<Entry> {
        let Some(space) = self.spaces.get_mut(name) else { return Vec::new() };
        let entries = space.queue_mut(lane).take();
        for entry in &entries {
            self.dirty.insert(RowKey::Wait(Arc::clone(name), entry.alert.no));
        }
        entries
    }

    /// Makes the message, and remembers what hangs on its fate.
    pub(super) fn send(
        &mut self,
        name: &Arc<str>,
        thread: Option<String>,
        mut entries: Vec<Entry>,
        now: Now,
    ) -> Message {
        worst_first(&mut entries);
        if entries.len() > MESSAGE_ALERTS {
            let rest = entries.split_off(MESSAGE_ALERTS - 1);
            entries.push(self.merge(rest, What::Fold));
        }
        self.say_what_is_muted(&mut entries);
        let no = MessageNo(self.head.next_message);
        self.head.next_message += 1;
        let thread = thread.unwrap_or_else(|| self.new_thread());
        let message = Message {
            no,
            space: Arc::clone(name),
            thread: thread.clone(),
            host: Arc::clone(&self.policy.host),
            severity: worst(&entries),
            mention: self.mentions(name, entries.iter().map(|e| &e.alert)),
            alerts: entries.iter().map(|e| e.alert.clone()).collect(),
            at: now.wall,
            edits: None,
        };
        self.begin_edited(name, &thread, &entries, now);
        let flight = Flight {
            space: Arc::clone(name),
            thread,
            claims: entries.iter().flat_map(|e| e.claims.iter().copied()).collect(),
            incidents: entries.iter().flat_map(|e| e.incidents.iter().cloned()).collect(),
            hits: entries.iter().map(|e| e.alert.hits).sum(),
            dead: false,
            copied: false,
            edit: false,
        };
        self.flights.insert(no, flight);
        self.dirty.insert(RowKey::Flight(no));
        if let Some(space) = self.spaces.get_mut(name) {
            space.counts.sent += 1;
            self.dirty.insert(RowKey::Space(Arc::clone(name)));
        }
        message
    }

    /// Who is notified of these alerts in this space: those that it names for what opens, by the worst that does.
    pub(super) fn mentions<'a>(
        &self,
        name: &Arc<str>,
        alerts: impl Iterator<Item = &'a Alert>,
    ) -> Vec<Arc<str>> {
        let opens = |a: &&Alert| matches!(a.what, What::Opening | What::Missing);
        let worst = alerts.filter(opens).map(|a| a.severity).max();
        let named = worst.and_then(|s| self.spaces.get(name)?.policy.mention.get(&s));
        named.cloned().unwrap_or_default()
    }

    /// Opaque, and different on every installation: two agents in one space never share a thread.
    fn new_thread(&mut self) -> String {
        let mut hasher = SipHasher13::new_with_key(&self.install);
        hasher.write(&self.head.next_thread.to_le_bytes());
        self.head.next_thread += 1;
        format!("lh-{:016x}", hasher.finish())
    }
}

fn worst(entries: &[Entry]) -> Severity {
    entries.iter().map(|e| e.alert.severity).max().unwrap_or_default()
}
