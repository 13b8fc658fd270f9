//! The gate: the one place where a limit is asked, and where somebody acts on `Show` or `Hold(reason)`.
//!
//! What an incident wants to say is shown, or it is held: by a silence, because its lines were written while nobody was
//! reading, or because its rule has said enough for this hour. What is held is counted by its reason, written down for `why`,
//! and given to whoever tells it later: the silence's end, "while away", the rule's fold. Messages of a space pass the same
//! way, and what is over its budget is the digest's. What may surprise: nothing that is held is ever forgotten, so a verdict
//! needs no third answer; and a fold asks the limit as an incident does, for it is a message too.

use std::sync::Arc;

use super::Judge;
use super::batch::{Entry, Lane, Space};
use super::limit::{Reason, Verdict};
use super::phase::Phase;
use super::rule::{KeyState, Rid};
use super::why::{AWAY, OVER_LIMIT, held_by};
use crate::alert::{Sample, Severity};
use crate::time::{Now, Tick};

/// For `why`.
const REMINDER: &str = "reminder held: over the rule's limit, for its fold";
const AGAIN: &str = "opening again held: over the rule's limit, for its fold";
const ONE_MORE_DAY: &str = "one more day held: over the rule's limit, for its fold";

/// What an incident wants to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// That it is there; `late`: of lines that lay unread.
    Opening { late: bool },
    /// That it is there again, soon after its end.
    Again,
    /// That it goes on.
    Reminder,
    /// That what is expected has not come on another day either.
    OneMoreDay,
}

impl Judge {
    /// May this incident say so now? A silence is asked first, and the limit last: what is held anyway uses up nothing.
    pub(super) fn may_say(&mut self, rid: Rid, hash: u64, wish: Wish, now: Now) -> Verdict {
        let rule = &mut self.rules[rid.0];
        // an incident that was told of before it was silenced is held when it has news, not when it speaks
        let by = match wish {
            Wish::Opening { .. } | Wish::Again => rule.quieted_by(hash),
            Wish::Reminder | Wish::OneMoreDay => None,
        };
        match by {
            Some(by) => Verdict::Hold(Reason::Muted(by)),
            None if wish == (Wish::Opening { late: true }) => Verdict::Hold(Reason::Away),
            None => rule.limit.ask(now.tick),
        }
    }

    /// It may not: whoever tells it later has it from now on. Gives the queue of what is told all the same, in company.
    pub(super) fn hold(
        &mut self,
        rid: Rid,
        hash: u64,
        (wish, reason): (Wish, Reason),
        sample: Option<Sample>,
        now: Now,
    ) -> Option<Lane> {
        self.mark_rule(rid);
        let rule = &mut self.rules[rid.0];
        let slot = rule.keys.get_mut(hash)?;
        let key = Arc::clone(&slot.key);
        let KeyState::Open(incident) = &mut slot.state else { return None };
        let hits = incident.since_last;
        let until = match reason {
            Reason::Away => {
                rule.held.while_away += 1;
                rule.decisions.held(now.wall, &key, hits, AWAY);
                return Some(Lane::Away);
            }
            Reason::Muted(by) => {
                // nobody is told: there is no opening that a space could hear or refuse
                incident.held_by = Some(by.clone());
                rule.held.hold(&by);
                let what = if wish == Wish::Again { "opening again" } else { "opening" };
                rule.decisions.held(now.wall, &key, hits, held_by(what, &by));
                return None;
            }
            Reason::Until(until) => until,
        };
        rule.held.rule_limit += 1;
        match wish {
            Wish::Opening { .. } => {
                rule.decisions.held_often(now.wall, &key, hits, OVER_LIMIT);
                self.fold_opening(rid, hash, &key, sample, until, now);
            }
            Wish::Again => {
                incident.phase = Phase::Quietly;
                rule.decisions.held(now.wall, &key, hits, AGAIN);
                self.fold_reminder(rid, hash, until);
            }
            Wish::Reminder => {
                rule.decisions.held(now.wall, &key, hits, REMINDER);
                self.fold_reminder(rid, hash, until);
            }
            // on the next day it would come after the same ones again
            Wish::OneMoreDay => {
                rule.decisions.held(now.wall, &key, hits, ONE_MORE_DAY);
                self.fold_reminder(rid, hash, until);
            }
        }
        None
    }

    /// May the rule's fold speak now? Where it may not, it is due when it may.
    pub(super) fn fold_may_speak(&mut self, rid: Rid, now: Now) -> bool {
        let rule = &mut self.rules[rid.0];
        match rule.limit.ask(now.tick) {
            Verdict::Show => true,
            Verdict::Hold(reason) => {
                rule.fold.due = reason.until().or(rule.fold.due);
                false
            }
        }
    }

    /// What of these alerts may go to the space now; what may not waits for its digest.
    pub(super) fn may_send(&mut self, name: &Arc<str>, entries: Vec<Entry>, now: Now) -> Option<Vec<Entry>> {
        let space = self.spaces.get_mut(name)?;
        let worst = entries.iter().map(|e| e.alert.severity).max().unwrap_or_default();
        match space.ask(worst, now.tick) {
            Verdict::Show => return Some(entries),
            Verdict::Hold(_) => {
                let due = now.tick + space.policy.digest_every;
                space.digest_due.get_or_insert(due);
            }
        }
        for mut entry in entries {
            if let Some(rule) = self.rule_mut(&entry.alert.rule) {
                rule.held.space_budget += 1;
                let what = format!("held for the digest: over the budget of {name}");
                rule.decisions.held(now.wall, &entry.alert.key, entry.alert.hits, what);
            }
            entry.lane = Lane::Digest;
            self.push(name, entry);
        }
        None
    }

    /// May the digest go, whose time has come? Where it may not, it is due when it may.
    pub(super) fn digest_may_go(&mut self, name: &Arc<str>, severity: Severity, now: Now) -> bool {
        let Some(space) = self.spaces.get_mut(name) else { return false };
        match space.ask(severity, now.tick) {
            Verdict::Show => {
                space.digest_due = None;
                true
            }
            Verdict::Hold(reason) => {
                space.digest_due = reason.until().or(space.digest_due);
                false
            }
        }
    }
}

impl Space {
    /// What the budget says to one more message; critical ones have a reserve beside it.
    fn ask(&mut self, severity: Severity, now: Tick) -> Verdict {
        match self.budget.ask(now) {
            Verdict::Hold(_) if severity == Severity::Critical => self.reserve.ask(now),
            verdict => verdict,
        }
    }
}
