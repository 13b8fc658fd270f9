//! The books: per rule every hit is in exactly one place, and what a message's fate does to them.
//!
//! A hit that is on its way is *held by a thing*: a window, an incident, a fold, or the claim of an alert. `pending`
//! is never stored; it is the sum over those things, so that `hits = shown + told + … + pending` can fail, and the tests
//! are worth something. An alert that goes to three spaces is one claim with three copies: the first delivery
//! settles it, and only the last drop loses it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Judge;
use super::incident::IncidentRef;
use super::rows::RowKey;
use super::silence::By;
use super::standing::Standing;
use crate::alert::AlertNo;
use crate::message::{Fate, MessageNo};
use crate::time::Now;

/// The terms of one rule that are stored. `pending` is not among them: it is counted where hits are held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ledger {
    /// All hits, ever.
    pub hits: u64,
    /// In the counts of a delivered opening.
    pub shown: u64,
    /// In the counts of a later delivered message.
    pub told: u64,
    /// Aged out, evicted or begun anew without firing; or resolved within `hold`.
    pub below: u64,
    /// Satisfied an expectation.
    pub seen: u64,
    /// Dropped for want of room, or by an operator.
    pub lost: u64,
    /// Held by a silence or a mute. Not stored either: counted where it is held.
    pub muted: u64,
    /// Held because another rule's incident is open. The same.
    pub inhibited: u64,
}

impl Ledger {
    /// Every term but `hits` and `pending`, added up.
    pub fn settled(&self) -> u64 {
        self.shown + self.told + self.below + self.seen + self.lost + self.muted + self.inhibited
    }

    /// `hits`, and all that [`Ledger::settled`] adds up.
    pub(super) fn terms(&self) -> [u64; 8] {
        let Ledger { hits, shown, told, below, seen, lost, muted, inhibited } = *self;
        [hits, shown, told, below, seen, lost, muted, inhibited]
    }
}

/// How much was held, ever, by reason; beside the ledger, not part of its sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HeldCounts {
    /// Hits of an incident that was open already.
    pub repeats: u64,
    /// Openings and reminders over the rule's limit.
    pub rule_limit: u64,
    /// Alerts over a space's budget, counted for each space.
    pub space_budget: u64,
    /// Openings of lines written while nobody was reading.
    pub while_away: u64,
    /// Incidents that a silence or a mute held.
    pub muted: u64,
    /// Incidents that an open incident of another rule held.
    pub inhibited: u64,
    /// Keys that were let go for want of room.
    pub evicted: u64,
}

impl HeldCounts {
    /// One more incident is held.
    pub(super) fn hold(&mut self, by: &By) {
        *(if matches!(by, By::Rule(_)) { &mut self.inhibited } else { &mut self.muted }) += 1;
    }
}

/// What became of the lines that a rule's `resolve` accepted, ever; they are no hits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resolves {
    /// Incidents that they ended.
    pub ended: u64,
    /// Lines that ended none.
    pub idle: u64,
}

/// The term a claim's hits go to when it is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Term {
    Shown,
    Told,
}

/// The hits of one alert, until its fate is known.
#[derive(Serialize, Deserialize)]
pub(super) struct Claim {
    pub(super) rule: Arc<str>,
    pub(super) term: Term,
    pub(super) hits: u64,
    /// Spaces that may still hear of it: waiting, in flight, or dead letters.
    pub(super) copies: u32,
}

/// A message that was handed out and is not settled: in flight, or a dead letter. As many as the outbox holds,
/// which bounds itself.
#[derive(Serialize, Deserialize)]
pub(super) struct Flight {
    pub(super) space: Arc<str>,
    pub(super) thread: String,
    pub(super) claims: Vec<AlertNo>,
    /// Incidents that it opens.
    pub(super) incidents: Vec<IncidentRef>,
    pub(super) hits: u64,
    /// It is a dead letter.
    pub(super) dead: bool,
    /// Another space was told as well, because this one cannot be reached.
    #[serde(default)]
    pub(super) copied: bool,
    /// It changes a message that the space has.
    #[serde(default)]
    pub(super) edit: bool,
}

impl Judge {
    /// Messages that were handed out and are not settled: in flight, or dead letters.
    pub fn unsettled(&self) -> impl Iterator<Item = MessageNo> {
        self.flights.keys().copied()
    }

    /// What became of a message. Said twice, or of a message nobody knows: nothing happens.
    pub(super) fn fate(&mut self, no: MessageNo, fate: Fate, now: Now) {
        let Some(mut flight) = self.flights.remove(&no) else { return };
        if flight.dead && fate == Fate::DeadLettered {
            self.flights.insert(no, flight);
            return;
        }
        self.dirty.insert(RowKey::Flight(no));
        if let Some(space) = self.spaces.get_mut(&flight.space) {
            match fate {
                Fate::Delivered => {
                    space.counts.delivered += u64::from(!flight.edit);
                    space.counts.hits += flight.hits;
                    space.counts.last_delivered = Some(now.wall);
                }
                Fate::DeadLettered => space.counts.dead_lettered += 1,
                Fate::Dropped => space.counts.dropped += 1,
            }
            self.dirty.insert(RowKey::Space(Arc::clone(&flight.space)));
        }
        let standing = match fate {
            Fate::Delivered => Standing::Heard(flight.thread.clone()),
            Fate::DeadLettered | Fate::Dropped => Standing::Refused,
        };
        match fate {
            Fate::Delivered => flight.claims.iter().for_each(|c| self.settle_claim(*c, now)),
            Fate::Dropped => flight.claims.iter().for_each(|c| self.drop_copy(*c)),
            Fate::DeadLettered => {}
        }
        match fate {
            Fate::Delivered if flight.edit => self.edit_arrived(no, &flight.thread, now),
            Fate::Delivered => {}
            // what cannot be said in its place is said in its thread
            Fate::DeadLettered | Fate::Dropped => self.edit_refused(&flight.space, &flight.thread),
        }
        let incidents = std::mem::take(&mut flight.incidents);
        for incident in &incidents {
            self.set_standing(incident, &flight.space, standing.clone(), now);
        }
        if fate == Fate::DeadLettered {
            (flight.incidents, flight.dead) = (incidents, true);
            self.flights.insert(no, flight);
        }
    }

    /// The first space has it: its hits are shown, or told.
    fn settle_claim(&mut self, no: AlertNo, now: Now) {
        let Some(claim) = self.claims.remove(&no) else { return };
        self.dirty.insert(RowKey::Claim(no));
        let Some(rule) = self.rule_mut(&claim.rule) else { return };
        match claim.term {
            Term::Shown => rule.ledger.shown += claim.hits,
            Term::Told => rule.ledger.told += claim.hits,
        }
        rule.last_message = Some(now.wall);
    }

    /// One space will never hear of it; if it was the last, its hits are lost.
    pub(super) fn drop_copy(&mut self, no: AlertNo) {
        let Some(claim) = self.claims.get_mut(&no) else { return };
        claim.copies = claim.copies.saturating_sub(1);
        self.dirty.insert(RowKey::Claim(no));
        if claim.copies == 0
            && let Some(claim) = self.claims.remove(&no)
            && let Some(rule) = self.rule_mut(&claim.rule)
        {
            rule.ledger.lost += claim.hits;
        }
    }

    /// An alert will not be told by the edit that was to tell it: its rule's fold does so, unless another space hears it.
    pub(super) fn fold_claim(&mut self, no: AlertNo) {
        let Some(claim) = self.claims.get_mut(&no) else { return };
        self.dirty.insert(RowKey::Claim(no));
        claim.copies = claim.copies.saturating_sub(1);
        if claim.copies > 0 {
            return;
        }
        let Some(claim) = self.claims.remove(&no) else { return };
        if let Some(&rid) = self.names.get(&claim.rule) {
            self.rules[rid.0].fold.take_back(claim.hits, self.now);
            self.folding.insert(rid);
            self.mark_rule(rid);
        }
    }
}
