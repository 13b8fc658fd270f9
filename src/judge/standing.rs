//! Where an incident's opening was heard: what its messages' fates teach it, space by space.
//!
//! `ledger` hears of a message's fate and says it here; `incident` then speaks where its opening stands, and nowhere
//! else. The surprise: what a limit or a silence holds stands nowhere, which is no refusal. Nothing is on its way that a
//! space could still accept, and under a flood that is nearly all there is.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Judge;
use super::incident::IncidentRef;
use super::phase::Phase;
use super::rule::Rid;
use crate::time::Now;

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

impl Judge {
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
        if incident.since_last > 0 {
            self.edit_soon(rid, of.hash, now);
        }
        self.fold_if_refused(rid, of.hash, now);
        self.mark_key(rid, of.hash);
        self.reschedule(rid, of.hash);
    }

    /// No space took the opening, and none still may: from now on the fold tells.
    pub(super) fn fold_if_refused(&mut self, rid: Rid, hash: u64, now: Now) {
        let Some(incident) = self.rules[rid.0].incident_mut(hash) else { return };
        let told = !matches!(incident.phase, Phase::Holding { .. } | Phase::Resolved { said: true, .. });
        if told && incident.is_untold() && !incident.folded && incident.held_by.is_none() {
            incident.folded = true;
            self.fold_adopts(rid, now);
        }
    }
}
