//! Messages that cannot go out as they are: told as one, or told elsewhere too.
//!
//! A space takes a write a second, and for a night none at all. What waits behind that and was never tried is taken back
//! and told as one digest; what has waited for too long is told as what it is, old. Hits do not notice: the claims
//! of what is taken back hang on the fate of what stands for it. A space with a `fallback` that cannot be reached keeps
//! its messages, and the other is sent a copy: two messages with the same claims, of which the first that arrives
//! settles the books.

use std::fmt::Write as _;
use std::sync::Arc;

use super::batch::{Entry, Lane};
use super::incident::IncidentRef;
use super::ledger::Flight;
use super::rows::RowKey;
use super::wording::{count, time_text};
use super::{Judge, Recall};
use crate::alert::{Alert, AlertNo, Held, What};
use crate::message::{Message, MessageNo};
use crate::time::{Now, Wall};

impl Judge {
    /// One message that stands for all of these, which are of one space and will not go out. Nothing where there are none.
    pub(super) fn recall(&mut self, messages: &[Arc<Message>], why: Recall, now: Now) -> Option<Message> {
        let space = Arc::clone(&messages.first()?.space);
        let mut entries = Vec::new();
        // whoever stands in has been told all of it
        let mut copied = true;
        for message in messages {
            self.dirty.insert(RowKey::Flight(message.no));
            let flight = self.flights.remove(&message.no);
            copied &= flight.as_ref().is_none_or(|f| f.copied);
            self.edit_no_more(&message.thread);
            // what hangs on a message hangs on all of it: which of its alerts carries it does not matter
            let mut hanging = flight.map(|f| (f.claims, f.incidents)).unwrap_or_default();
            for alert in &message.alerts {
                let (claims, incidents): (Vec<AlertNo>, Vec<IncidentRef>) = std::mem::take(&mut hanging);
                let thread = Some(message.thread.clone());
                let alert = alert.clone();
                entries.push(Entry {
                    lane: Lane::Batch,
                    alert,
                    claims,
                    incidents,
                    thread,
                    at: now.tick,
                    awaits: None,
                });
            }
        }
        let alerts = entries.len() as u64;
        let mut whole = self.merge(entries, What::Digest);
        let reason = match why {
            Recall::Crowded => "alerts that waited for the space",
            Recall::Late => "alerts not sent in time",
        };
        if alerts > 1 || why == Recall::Late {
            whole.alert.held.push(Held { count: alerts, reason: reason.into() });
        }
        if why == Recall::Late {
            late(&mut whole.alert, alerts, messages);
        }
        self.join_claims(&mut whole.claims);
        whole.incidents.retain(|of| self.is_open(of));
        let said = self.send(&space, whole.thread.clone(), vec![whole], now);
        if let Some(flight) = self.flights.get_mut(&said.no) {
            flight.copied = copied;
        }
        Some(said)
    }

    /// Copies for the space `to` of those of `messages` that have none yet.
    pub(super) fn detour(&mut self, messages: &[Arc<Message>], to: &Arc<str>, now: Now) -> Vec<Message> {
        if !self.spaces.contains_key(to) {
            return Vec::new();
        }
        let mut out = Vec::new();
        for message in messages {
            let Some(flight) = self.flights.get_mut(&message.no).filter(|f| !f.copied && f.space != *to)
            else {
                continue;
            };
            flight.copied = true;
            // an incident goes on where it opened: the copy opens nothing
            let Flight { claims, hits, .. } = flight;
            let (claims, hits) = (claims.clone(), *hits);
            for claim in &claims {
                if let Some(claim) = self.claims.get_mut(claim) {
                    claim.copies += 1;
                }
                self.dirty.insert(RowKey::Claim(*claim));
            }
            let no = MessageNo(self.head.next_message);
            self.head.next_message += 1;
            // who is in the other space is not who is in this one
            let mention = self.mentions(to, message.alerts.iter());
            let space = Arc::clone(to);
            let mut copy = Message { no, space, at: now.wall, mention, ..Message::clone(message) };
            for alert in &mut copy.alerts {
                // writing to a `String` cannot fail
                _ = write!(alert.text, "\nfor the space `{}`, which cannot be reached", message.space);
            }
            let thread = copy.thread.clone();
            // a copy is not copied on: two spaces that stand in for each other would never end
            let space = Arc::clone(to);
            let flight = Flight {
                space,
                thread,
                claims,
                incidents: Vec::new(),
                hits,
                dead: false,
                copied: true,
                edit: false,
            };
            self.flights.insert(no, flight);
            self.dirty.extend([RowKey::Flight(no), RowKey::Flight(message.no)]);
            if let Some(space) = self.spaces.get_mut(to) {
                space.counts.sent += 1;
                self.dirty.insert(RowKey::Space(Arc::clone(to)));
            }
            out.push(copy);
        }
        out
    }
}

/// Says first that this is no news, and of when it is.
fn late(alert: &mut Alert, alerts: u64, messages: &[Arc<Message>]) {
    let from = messages.iter().map(|m| m.at).min().unwrap_or(Wall(0));
    let to = messages.iter().map(|m| m.at).max().unwrap_or(Wall(0));
    let between = if from == to {
        format!("of {}", time_text(from))
    } else {
        format!("of {} to {}", time_text(from), time_text(to))
    };
    alert.what = What::Digest;
    alert.text = format!("{} {between} not sent in time\n{}", count(alerts, "alert"), alert.text);
}
