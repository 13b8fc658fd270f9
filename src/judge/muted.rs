//! What silences, mutes and other rules hold, and what is told of it when they end.
//!
//! Held is an *incident*, not a line: it opens, counts and ends as always and says nothing of it. Its untold hits are
//! the ledger's `muted`, or `inhibited`, for as long as somebody holds it; when it ends meanwhile they are kept with whoever held it, in
//! the shape of a fold. When the silence or mute is over, one alert a rule tells all that, and what is still going on
//! goes on as if that alert had opened it.
//!
//! The surprise: an incident whose opening was told before the silence began still tells its end. To hear that
//! something broke and never that it was mended is worse than the noise.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use super::Judge;
use super::batch::{Entry, Lane};
use super::fold::{Fold, names};
use super::incident::{Incident, IncidentRef};
use super::key::Key;
use super::ledger::Term;
use super::phase::Phase;
use super::rows::RowKey;
use super::rule::{KeyState, Rid, Rule, Slot};
use super::silence::{By, Silence};
use super::standing::Standing;
use super::why::held_by;
use super::wording::{count, key_text, list_line};
use crate::alert::{Alert, Held, What};
use crate::time::Now;

/// Open incidents that one alert makes visible as its own; of more, the rule's fold tells.
const MADE_VISIBLE: usize = 100;

/// Open incidents that it names.
const NAMED: usize = 5;

impl Judge {
    /// Silences or mutes have changed, or the rules have: each open incident is held by whoever holds it now, and what
    /// nobody holds any more is told.
    pub(super) fn hold_anew(&mut self, now: Now) {
        let over: BTreeMap<u64, Silence> = self.quiet_rules(now).into_iter().collect();
        for n in 0..self.rules.len() {
            self.hold_rule_anew(Rid(n), &over, now);
        }
    }

    /// The same for one rule; `over` are the silences that have just ended.
    pub(super) fn hold_rule_anew(&mut self, rid: Rid, over: &BTreeMap<u64, Silence>, now: Now) {
        let mut freed: BTreeMap<By, Vec<u64>> = BTreeMap::new();
        let n = rid.0;
        let is_open = |s: &Slot| matches!(&s.state, KeyState::Open(incident) if incident.is_open());
        let open = self.rules[n].keys.hashes(is_open);
        let whole = self.rules[n].quieted.iter().find(|f| f.is_whole()).map(|f| f.by.clone());
        let in_fold = self.rules[n].fold.this_telling();
        for hash in open {
            let by = self.rules[n].quieted_by(hash);
            let Some(incident) = self.rules[n].incident_mut(hash) else { continue };
            if incident.held_by == by {
                continue;
            }
            let unfold = by.is_some() && std::mem::take(&mut incident.folded);
            // the fold that counts it already goes to whoever holds the whole rule
            if by.is_some() {
                let counted = incident.counted_in == in_fold && incident.held_by.is_none() && by == whole;
                incident.counted_in = if counted { Fold::default().this_telling() } else { 0 };
            }
            if unfold {
                // its opening is not on its way
                incident.standing.clear();
            }
            match (std::mem::replace(&mut incident.held_by, by.clone()), by) {
                (Some(before), None) => freed.entry(before).or_default().push(hash),
                (None, Some(by)) => {
                    let rule = &mut self.rules[n];
                    rule.held.hold(&by);
                    if let Some(slot) = rule.keys.get(hash) {
                        rule.decisions.held(now.wall, &slot.key, 0, held_by("what goes on is", &by));
                    }
                }
                _ => {}
            }
            if unfold {
                let fold = &mut self.rules[n].fold;
                fold.open = fold.open.saturating_sub(1);
            }
            self.mark_rule(rid);
            self.mark_key(rid, hash);
            self.reschedule(rid, hash);
        }
        self.hold_fold(rid);
        let held =
            self.muted.range((rid, By::Silence(0))..).map_while(|((r, by), _)| (*r == rid).then_some(by));
        let over_for = |by: &&By| !self.rules[n].quieted.iter().any(|f| f.by == **by);
        let ended: BTreeSet<By> = held.filter(over_for).chain(freed.keys()).cloned().collect();
        for by in ended {
            match &whole {
                // a rule lets go of what another, or a silence, holds as well
                Some(other) if matches!(by, By::Rule(_)) => self.hand_over(rid, by, other.clone()),
                _ => {
                    let open = freed.remove(&by).unwrap_or_default();
                    self.tell_muted(rid, &by, &open, over, now);
                }
            }
        }
    }

    fn hand_over(&mut self, rid: Rid, from: By, to: By) {
        let from = (rid, from);
        if let Some(fold) = self.muted.remove(&from) {
            self.muted_fold(rid, to).absorb(fold);
            self.dirty.insert(RowKey::Muted(rid, from.1));
            self.mark_rule(rid);
        }
    }

    /// An incident has news again: it may have been over when the silence began.
    pub(super) fn hold_if_quieted(&mut self, rid: Rid, hash: u64) {
        let rule = &mut self.rules[rid.0];
        let Some(by) = rule.quieted_by(hash) else { return };
        let Some(incident) = rule.incident_mut(hash) else { return };
        if incident.is_open() && incident.held_by.is_none() {
            (incident.held_by, incident.counted_in) = (Some(by.clone()), 0);
            let unfold = std::mem::take(&mut incident.folded);
            if unfold {
                incident.standing.clear();
            }
            rule.held.hold(&by);
            rule.fold.open = rule.fold.open.saturating_sub(u64::from(unfold));
        }
    }

    /// A whole rule is held: what its fold has gathered is not told either.
    pub(super) fn hold_fold(&mut self, rid: Rid) {
        let rule = &mut self.rules[rid.0];
        let Some(whole) = rule.quieted.iter().find(|f| f.is_whole()) else { return };
        if !rule.fold.has_news() || rule.fold.open > 0 {
            return;
        }
        let by = whole.by.clone();
        let gathered = std::mem::take(&mut rule.fold);
        rule.fold.go_on_after(&gathered);
        self.folding.remove(&rid);
        self.mark_rule(rid);
        self.muted_fold(rid, by).absorb(gathered);
    }

    fn muted_fold(&mut self, rid: Rid, by: By) -> &mut Fold {
        self.dirty.insert(RowKey::Muted(rid, by.clone()));
        self.muted.entry((rid, by)).or_default()
    }

    /// A held incident is over and out of the map: what it has not told stays with whoever holds it.
    pub(super) fn close_muted(&mut self, rid: Rid, hash: u64, mut incident: Incident, key: &Key, by: By) {
        incident.newest.tidy(&self.policy.redactor, names(self.rules[rid.0].policy.as_ref()));
        let sample = incident.newest.sample();
        let fold = self.muted_fold(rid, by);
        fold.add(hash, key, &mut incident);
        fold.keep_sample(sample);
        self.mark_rule(rid);
    }

    /// What is held for a rule that has left the file goes to its fold, which tells it for the last time.
    pub(super) fn unmute_retired(&mut self, rid: Rid) {
        let held: Vec<By> = self.muted.keys().filter(|(r, _)| *r == rid).map(|(_, by)| by.clone()).collect();
        for by in held {
            let key = (rid, by);
            if let Some(fold) = self.muted.remove(&key) {
                self.rules[rid.0].fold.absorb(fold);
                self.dirty.insert(RowKey::Muted(rid, key.1));
            }
        }
    }

    /// The silence or mute is over for this rule: one alert tells what it held, in closed incidents and in `open` ones,
    /// and makes those visible whose opening nobody was told of.
    fn tell_muted(&mut self, rid: Rid, by: &By, open: &[u64], over: &BTreeMap<u64, Silence>, now: Now) {
        let mut fold = self.muted.remove(&(rid, by.clone())).unwrap_or_default();
        self.dirty.insert(RowKey::Muted(rid, by.clone()));
        let spaces = self.spaces_of(rid);
        let Judge { rules, policy, .. } = self;
        let rule = &mut rules[rid.0];
        // where nothing was held that could be told, nothing opens what the rule's fold had: it goes back there
        let untold = |hash: &u64| matches!(rule.keys.get(*hash).map(|s| &s.state), Some(KeyState::Open(i)) if i.since_last > 0);
        // what did not come in time, and has come since, has no hits either
        let came = fold.hits == 0 && fold.incidents() > 0;
        let room = if fold.hits > 0 || open.iter().any(untold) { MADE_VISIBLE } else { 0 };
        let (mut going, mut visible, mut missing, mut too_many) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for hash in open {
            let Some(slot) = rule.keys.get_mut(*hash) else { continue };
            let KeyState::Open(incident) = &mut slot.state else { continue };
            if slot.expected.is_some() && incident.is_untold() {
                // what is missing has no hits that could be told: it opens now
                let (fired, samples) = (incident.last, Vec::new());
                incident.phase = Phase::Holding { until: now.tick, fired, late: false, samples };
                missing.push(*hash);
                continue;
            }
            incident.newest.tidy(&policy.redactor, names(rule.policy.as_ref()));
            going.push((incident.since_last, key_text(&slot.key)));
            fold.keep_sample(incident.newest.sample());
            fold.add(*hash, &slot.key, incident);
            incident.counted_in = 0;
            if !incident.is_untold() {
                continue;
            }
            if visible.len() < room {
                incident.standing = spaces.iter().map(|s| (Arc::clone(s), Standing::Waiting)).collect();
                visible.push(IncidentRef { rule: Arc::clone(&rule.name), hash: *hash, no: incident.no });
            } else {
                incident.folded = true;
                too_many += 1;
            }
        }
        for _ in 0..too_many {
            self.fold_adopts(rid, now);
        }
        self.mark_rule(rid);
        if fold.hits > 0 || came {
            let alert = self.muted_alert(rid, by, fold, going, over, now);
            let to = spaces.into_iter().map(|s| (s, None)).collect();
            self.enqueue(&alert, to, Lane::Batch, &visible, Term::Told, now);
        }
        for hash in missing {
            self.open(rid, hash, now);
        }
        for hash in open {
            self.mark_key(rid, *hash);
            self.reschedule(rid, *hash);
        }
    }

    fn muted_alert(
        &mut self,
        rid: Rid,
        by: &By,
        mut fold: Fold,
        mut going: Vec<(u64, String)>,
        over: &BTreeMap<u64, Silence>,
        now: Now,
    ) -> Alert {
        let who = match by {
            By::Silence(no) => match over.get(no).or_else(|| self.silences.get(no)) {
                Some(silence) => silence.words(*no),
                None => format!("the silence {by}"),
            },
            By::Mute(_) => format!("the mute {by}"),
            By::Rule(_) => by.to_string(),
        };
        let over = if matches!(by, By::Rule(_)) { "no longer inhibits this" } else { "is over" };
        let incidents = fold.incidents();
        let held = if fold.hits > 0 {
            format!("held {} in {}", count(fold.hits, "hit"), count(incidents, "incident"))
        } else {
            format!("held that {} did not come in time", count(incidents, "expected line"))
        };
        let mut text = format!("{who} {over}: {held}");
        going.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        text.push_str("; still going: ");
        match going.iter().filter(|g| !g.1.is_empty()).take(NAMED).collect::<Vec<_>>().as_slice() {
            [] if going.is_empty() => text.push_str("none"),
            [] => text.push_str(&going.len().to_string()),
            named => {
                text.push_str(&going.len().to_string());
                for (hits, key) in named {
                    let news = if *hits > 0 { format!("{}, ", count(*hits, "hit")) } else { String::new() };
                    // writing to a `String` cannot fail
                    _ = write!(text, "\n{}: {news}goes on", list_line(key));
                }
                if going.len() > named.len() {
                    _ = write!(text, "\nand {} more that go on", going.len() - named.len());
                }
            }
        }
        let no = self.next_alert();
        let rule = &self.rules[rid.0];
        let (first, last) = fold.span(now);
        Alert {
            no,
            what: if matches!(by, By::Rule(_)) { What::Uninhibited } else { What::Unmuted },
            rule: Arc::clone(&rule.name),
            severity: rule.policy.as_ref().map(|p| p.severity).unwrap_or_default(),
            key: Vec::new(),
            text,
            hits: fold.hits,
            total: fold.hits,
            incidents,
            first,
            last,
            samples: fold.take_sample().into_iter().collect(),
            runbook: rule.policy.as_ref().and_then(|p| p.runbook.clone()),
            held: fold.held(),
            hint: None,
        }
    }

    /// How many incidents, and hits, this silence or mute holds.
    pub(super) fn held_by(&self, by: &By) -> (u64, u64) {
        let closed = self.muted.iter().filter(|((_, b), _)| b == by).map(|(_, f)| (f.incidents(), f.hits));
        let open = self.rules.iter().flat_map(Rule::incidents).filter(|i| i.held_by.as_ref() == Some(by));
        closed.chain(open.map(|i| (1, i.since_last))).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1))
    }

    /// The hits of a rule that are held, by whom.
    pub(super) fn held_of(&self, rid: Rid) -> BTreeMap<By, u64> {
        let mut sums: BTreeMap<By, u64> = BTreeMap::new();
        for ((_, by), fold) in self.muted.iter().filter(|((r, _), _)| *r == rid) {
            *sums.entry(by.clone()).or_default() += fold.hits;
        }
        for incident in self.rules[rid.0].incidents() {
            if let Some(by) = &incident.held_by {
                *sums.entry(by.clone()).or_default() += incident.since_last;
            }
        }
        sums.retain(|_, hits| *hits > 0);
        sums
    }

    /// The last alert of each rule in a message says what of the rule is held as the message leaves.
    pub(super) fn say_what_is_muted(&self, entries: &mut [Entry]) {
        let mut said: BTreeSet<Rid> = BTreeSet::new();
        for entry in entries.iter_mut().rev() {
            let Some(rid) = self.names.get(&entry.alert.rule).filter(|rid| said.insert(**rid)) else {
                continue;
            };
            let term = |by: &By| if matches!(by, By::Rule(_)) { "inhibited" } else { "muted" };
            let held = self.held_of(*rid).into_iter();
            let held = held.map(|(by, count)| Held { count, reason: format!("hits {} by {by}", term(&by)) });
            entry.alert.held.extend(held);
        }
    }
}
