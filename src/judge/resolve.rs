//! Resolves: lines that say that it is over.
//!
//! A rule's `resolve` is no hit: it counts in no term. It ends the incidents whose key has the values that it names. The
//! end is said as soon as the opening has been heard, and the incident then rests for `quiet`: a hit in that time opens
//! the same one again, in its thread, its total going on, so that what flaps is one story. While it is held back by
//! `hold`, a resolve is all that ever becomes of it: its hits are `below`.

use super::Judge;
use super::batch::Lane;
use super::gate::Wish;
use super::incident::{Voice, say, threads};
use super::ledger::Term;
use super::limit::Verdict;
use super::phase::{News, Phase};
use super::rule::{KeyState, Rid, Rule};
use super::window::Window;
use super::wording::{over_text, seen_text};
use crate::alert::What;
use crate::hit::{Hit, KEY_PARTS};
use crate::time::{Now, Wall};

impl Judge {
    /// One line that the rule's `resolve` accepts; bit n of `named`: it names the nth part of the key.
    pub(super) fn take_resolve(&mut self, rid: Rid, hit: &Hit, named: u8, at: Wall, now: Now) {
        self.mark_rule(rid);
        let rule = &self.rules[rid.0];
        let ends = |hash: &u64| {
            let state = rule.keys.get(*hash).map(|slot| &slot.state);
            matches!(state, Some(KeyState::Open(i)) if !matches!(i.phase, Phase::Resolved { .. }))
        };
        let over: Vec<u64> = match named.count_ones() as usize {
            whole if whole == hit.key.len() => [rule.hash(&hit.key)].into_iter().filter(ends).collect(),
            _ => {
                let parts = named_parts(rule, hit, named);
                rule.keys.hashes(|slot| has(&slot.parts, &parts)).into_iter().filter(ends).collect()
            }
        };
        let rule = &mut self.rules[rid.0];
        rule.resolves.ended += over.len() as u64;
        rule.resolves.idle += u64::from(over.is_empty());
        for hash in over {
            self.resolve(rid, hash, hit, at, now);
        }
    }

    fn resolve(&mut self, rid: Rid, hash: u64, hit: &Hit, at: Wall, now: Now) {
        let rule = &mut self.rules[rid.0];
        let hold = rule.policy.as_ref().map(|p| p.hold).unwrap_or_default();
        let Some(incident) = rule.incident_mut(hash) else { return };
        if let Phase::Holding { fired, .. } = incident.phase {
            if at.since(fired) < hold {
                let hits = incident.since_last;
                rule.ledger.below += hits;
                let key = rule.keys.get(hash).map(|slot| slot.key.clone()).unwrap_or_default();
                rule.decisions.held(now.wall, &key, hits, "resolved within `hold`: nothing to say");
                self.remove_slot(rid, hash);
                return;
            }
            // by the time of the lines it was open long before this one came
            self.open(rid, hash, now);
        }
        let Some(incident) = self.rules[rid.0].incident_mut(hash) else { return };
        incident.newest.replace(hit, at);
        let quietly = matches!(incident.phase, Phase::Quietly);
        incident.phase = Phase::Resolved { at, since: now.tick, said: false, quietly };
        self.say_resolved(rid, hash, now);
    }

    /// Says that an incident is over, where its opening was heard; waits where that is not known yet.
    pub(super) fn say_resolved(&mut self, rid: Rid, hash: u64, now: Now) {
        self.mark_rule(rid);
        self.mark_key(rid, hash);
        let no = self.next_alert();
        let rule = &mut self.rules[rid.0];
        let (Some(policy), Some(slot)) = (&rule.policy, rule.keys.get_mut(hash)) else { return };
        let KeyState::Open(incident) = &mut slot.state else { return };
        if incident.held_by.is_some() && incident.is_untold() {
            self.close_quietly(rid, hash, now);
            return self.reschedule(rid, hash);
        }
        // whoever was told that it began is told that it is over, silence or not
        incident.held_by = None;
        let Phase::Resolved { at, said, quietly, .. } = &mut incident.phase else { return };
        let (at, quietly) = (*at, *quietly);
        *said = true;
        match incident.voice(&self.spaces) {
            Voice::Own(to) if !quietly => {
                incident.newest.tidy(&self.policy.redactor, &policy.captures);
                let hits = incident.since_last;
                let mut alert = say(policy, &self.policy.host, What::Resolved, no, &slot.key, incident, hits);
                alert.text = over_text("resolved", at.since(incident.first), incident.total);
                alert.text.push_str(&incident.top_text(policy));
                incident.take_news();
                if let Some(expected) = &mut slot.expected {
                    alert.what = What::Seen;
                    alert.text = seen_text(incident.last, incident.last.since(incident.first));
                    alert.samples = expected.sample(&self.policy.redactor, &policy.captures);
                    slot.state = KeyState::Counting(Window::default());
                }
                self.enqueue(&alert, threads(to), Lane::Batch, None, Term::Told, now);
            }
            Voice::Own(_) => self.fold_rest(rid, hash, now),
            Voice::Wait => {
                if let Phase::Resolved { said, .. } = &mut incident.phase {
                    *said = false;
                }
            }
            Voice::Fold => self.close_quietly(rid, hash, now),
        }
        self.reschedule(rid, hash);
    }

    /// An incident that cannot speak for itself is over: its key is let go, unless that is expected.
    fn close_quietly(&mut self, rid: Rid, hash: u64, now: Now) {
        let Some(slot) = self.rules[rid.0].keys.get_mut(hash) else { return };
        let (key, state) = if slot.expected.is_some() {
            let counting = KeyState::Counting(Window::default());
            (slot.key.clone(), std::mem::replace(&mut slot.state, counting))
        } else if let Some(slot) = self.remove_slot(rid, hash) {
            (slot.key, slot.state)
        } else {
            return;
        };
        if let KeyState::Open(incident) = state {
            self.close_into_fold(rid, hash, *incident, &key, now);
        }
    }

    /// What a hit to an incident comes to.
    pub(super) fn news(&mut self, rid: Rid, hash: u64, news: News, now: Now) {
        match news {
            News::More => return self.edit_soon(rid, hash, now),
            News::Held => return,
            News::First => {
                self.hold_if_quieted(rid, hash);
                self.edit_soon(rid, hash, now);
            }
            News::Due => self.open(rid, hash, now),
            News::Again => self.open_again(rid, hash, now),
        }
        self.reschedule(rid, hash);
    }

    /// A hit soon after the end was said: the same incident goes on.
    fn open_again(&mut self, rid: Rid, hash: u64, now: Now) {
        let no = self.next_alert();
        let rule = &mut self.rules[rid.0];
        let quieted = rule.quieted_by(hash).is_some();
        let (Some(policy), Some(slot)) = (&rule.policy, rule.keys.get_mut(hash)) else { return };
        let KeyState::Open(incident) = &mut slot.state else { return };
        incident.phase = Phase::Open;
        (incident.remind_at, incident.remind_every) = (now.tick + policy.remind, policy.remind);
        let to = match incident.voice(&self.spaces) {
            Voice::Own(to) => to,
            // the space that heard of it has left the file
            _ if !quieted => return self.fold_if_refused(rid, hash, now),
            _ => Vec::new(),
        };
        let edited = to.iter().all(|(_, thread)| self.edited.contains_key(thread));
        if (quieted || !edited)
            && let Verdict::Hold(reason) = self.may_say(rid, hash, Wish::Again, now)
        {
            self.hold(rid, hash, (Wish::Again, reason), None, now);
            return;
        }
        let rule = &mut self.rules[rid.0];
        let (Some(policy), Some(slot)) = (&rule.policy, rule.keys.get_mut(hash)) else { return };
        let KeyState::Open(incident) = &mut slot.state else { return };
        incident.newest.tidy(&self.policy.redactor, &policy.captures);
        let hits = incident.since_last;
        let alert = say(policy, &self.policy.host, What::Again, no, &slot.key, incident, hits);
        incident.take_news();
        self.enqueue(&alert, threads(to), Lane::Batch, None, Term::Told, now);
    }
}

/// The hashes of the parts that a line names, by their place.
fn named_parts(rule: &Rule, hit: &Hit, named: u8) -> Vec<(usize, u64)> {
    let is_named = |n: &usize| named & (1 << n) != 0;
    (0..hit.key.len().min(KEY_PARTS)).filter(is_named).map(|n| (n, rule.part(&hit.key[n]))).collect()
}

fn has(parts: &[u64], named: &[(usize, u64)]) -> bool {
    named.iter().all(|(n, hash)| parts.get(*n) == Some(hash))
}
