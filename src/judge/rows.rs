//! State on disk: one row a thing, written when it changed, put back in any order.
//!
//! A row says in its value whose it is; its name only has to be unique. A row that cannot be understood, or counts
//! beyond belief, is left out and named, the rest goes on, and the books are balanced: what a row held that is not
//! there is lost, and says so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::batch::{Entry, Lane, Space};
use super::edit::Edited;
use super::fold::Fold;
use super::ledger::{Claim, Flight, HeldCounts, Ledger, Resolves};
use super::notice::Recent;
use super::novelty::Learning;
use super::report::SpaceCounts;
use super::rule::{KeyState, Pace, Rid, Slot};
use super::silence::{By, Silence};
use super::{Head, Judge, SpacePolicy};
use crate::alert::AlertNo;
use crate::message::MessageNo;
use crate::state::StateRow;
use crate::time::{Now, Tick, Wall};

/// Names of rows left out that are kept to be told.
const LEFT_OUT: usize = 100;

/// No count of an agent gets here: a million hits a second take nine years. A row that says more is torn, and would take
/// sums out of their 64 bits.
const MOST: u64 = 1 << 48;

/// Which row is to be written anew.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum RowKey {
    Rule(Rid),
    Space(Arc<str>),
    Wait(Arc<str>, AlertNo),
    Claim(AlertNo),
    Flight(MessageNo),
    Edited(String),
    Notice(String),
    Watch,
    Silence(u64),
    Muted(Rid, By),
    Known(Rid, u64),
    Alive,
}

#[derive(Serialize, Deserialize)]
struct RuleRow<F> {
    name: Arc<str>,
    /// Its place among the rules: what is due at the same instant is done in this order, before and after a restart.
    place: usize,
    fingerprint: u64,
    #[serde(default)]
    pace: Option<Pace>,
    ledger: Ledger,
    held: HeldCounts,
    #[serde(default)]
    resolves: Resolves,
    #[serde(default)]
    known: Learning,
    fold: F,
    limit: u64,
    last_hit: Option<Wall>,
    last_message: Option<Wall>,
}

/// As much of a [`RuleRow`] as puts the rules in order.
#[derive(Deserialize)]
struct Place {
    name: Arc<str>,
    place: usize,
}

#[derive(Serialize, Deserialize)]
struct KeyRow<S> {
    rule: Arc<str>,
    hash: u64,
    slot: S,
}

#[derive(Serialize, Deserialize)]
struct KnownRow {
    rule: Arc<str>,
    keys: String,
}

#[derive(Serialize, Deserialize)]
struct SpaceRow {
    name: Arc<str>,
    budget: u64,
    reserve: u64,
    flushed: Option<Tick>,
    digest_due: Option<Tick>,
    /// What `digest_due` was counted by.
    #[serde(default)]
    digest_every: Duration,
    counts: SpaceCounts,
}

#[derive(Serialize, Deserialize)]
struct WaitRow<E> {
    space: Arc<str>,
    entry: E,
}

#[derive(Serialize, Deserialize)]
struct Numbered<N, T> {
    no: N,
    is: T,
}

impl Judge {
    /// The rows that have changed since the last call. Putting back all rows ever written gives the same judge.
    pub fn changes(&mut self) -> Vec<StateRow> {
        self.weigh_beside();
        let mut rows = Vec::new();
        self.head.clock_odd = self.clock.odd;
        if self.head != self.saved_head {
            self.saved_head = self.head;
            rows.push(StateRow { name: "judge/head".into(), value: Some(json(&self.head)) });
        }
        for key in std::mem::take(&mut self.dirty) {
            let (name, value) = match &key {
                RowKey::Rule(rid) => (format!("judge/rule/{}", self.rules[rid.0].name), self.rule_row(*rid)),
                RowKey::Space(name) => (format!("judge/space/{name}"), self.space_row(name)),
                RowKey::Wait(space, no) => {
                    (format!("judge/wait/{space}/{}", no.0), self.wait_row(space, *no))
                }
                RowKey::Claim(no) => (
                    format!("judge/claim/{}", no.0),
                    self.claims.get(no).map(|is| json(&Numbered { no, is })),
                ),
                RowKey::Flight(no) => (
                    format!("judge/flight/{}", no.0),
                    self.flights.get(no).map(|is| json(&Numbered { no, is })),
                ),
                RowKey::Edited(thread) => (
                    format!("judge/edited/{thread}"),
                    self.edited.get(thread).map(|is| json(&Numbered { no: thread, is })),
                ),
                RowKey::Known(rid, shelf) => {
                    let rule = &self.rules[rid.0];
                    let is = rule
                        .known
                        .row(*shelf)
                        .map(|keys| json(&KnownRow { rule: Arc::clone(&rule.name), keys }));
                    (format!("judge/known/{}/{shelf}", rule.name), is)
                }
                RowKey::Watch => ("judge/watch".to_owned(), Some(json(&self.watch))),
                RowKey::Alive => ("judge/alive".to_owned(), Some(json(&self.alive))),
                RowKey::Notice(about) => (
                    format!("judge/notice/{about}"),
                    self.notices.get(about).map(|is| json(&Numbered { no: about, is })),
                ),
                RowKey::Silence(no) => (
                    format!("judge/silence/{no}"),
                    self.silences.get(no).map(|is| json(&Numbered { no, is })),
                ),
                RowKey::Muted(rid, by) => {
                    let rule = &self.rules[rid.0].name;
                    let is = self.muted.get(&(*rid, by.clone()));
                    (
                        format!(
                            "judge/{}/{by}/{rule}",
                            if matches!(by, By::Rule(_)) { "inhibited" } else { "muted" }
                        ),
                        is.map(|is| json(&Numbered { no: (rule, by), is })),
                    )
                }
            };
            rows.push(StateRow { name, value });
        }
        for n in 0..self.rules.len() {
            self.key_rows(Rid(n), &mut rows);
        }
        rows
    }

    /// The keys of a rule that have changed, and those that were written and are gone.
    fn key_rows(&mut self, rid: Rid, rows: &mut Vec<StateRow>) {
        let rule = &mut self.rules[rid.0];
        rule.decisions.tidy();
        let (mut changed, mut gone) = (std::mem::take(&mut rule.changed), std::mem::take(&mut rule.gone));
        for hashes in [&mut changed, &mut gone] {
            hashes.sort_unstable();
            hashes.dedup();
        }
        let name = Arc::clone(&rule.name);
        let name = |hash: u64| format!("judge/key/{name}/{hash:016x}");
        let left = |hash: &u64| !rule.keys.has(*hash);
        rows.extend(gone.into_iter().filter(left).map(|hash| StateRow { name: name(hash), value: None }));
        for hash in changed {
            if let Some(value) = self.key_row(rid, hash) {
                rows.push(StateRow { name: name(hash), value: Some(value) });
            }
        }
    }

    fn rule_row(&mut self, rid: Rid) -> Option<String> {
        let rule = &mut self.rules[rid.0];
        rule.dirty = false;
        if self.names.get(&rule.name) != Some(&rid) {
            return None;
        }
        Some(json(&RuleRow {
            name: Arc::clone(&rule.name),
            place: rid.0,
            fingerprint: rule.fingerprint,
            pace: rule.pace,
            ledger: rule.ledger,
            held: rule.held,
            resolves: rule.resolves,
            known: rule.known.state,
            fold: &rule.fold,
            limit: rule.limit.saved(),
            last_hit: rule.last_hit,
            last_message: rule.last_message,
        }))
    }

    fn key_row(&mut self, rid: Rid, hash: u64) -> Option<String> {
        let rule = &mut self.rules[rid.0];
        let slot = rule.keys.get_mut(hash)?;
        (slot.dirty, slot.saved) = (false, true);
        slot.key.tidy();
        let names = rule.policy.as_ref().map_or(&[][..], |p| &p.captures);
        if let Some(expected) = &mut slot.expected {
            expected.tidy(&self.policy.redactor, names);
        }
        match &mut slot.state {
            KeyState::Counting(window) => {
                window.samples.iter_mut().for_each(|e| e.tidy(&self.policy.redactor, names));
            }
            KeyState::Open(incident) => incident.newest.tidy(&self.policy.redactor, names),
        }
        let change = slot.weigh();
        self.memory.add(&mut rule.bytes, change);
        Some(json(&KeyRow { rule: Arc::clone(&rule.name), hash, slot: &*slot }))
    }

    fn space_row(&self, name: &Arc<str>) -> Option<String> {
        let space = self.spaces.get(name)?;
        Some(json(&SpaceRow {
            name: Arc::clone(name),
            budget: space.budget.saved(),
            reserve: space.reserve.saved(),
            flushed: space.flushed,
            digest_due: space.digest_due,
            digest_every: space.policy.digest_every,
            counts: space.counts,
        }))
    }

    fn wait_row(&self, space: &Arc<str>, no: AlertNo) -> Option<String> {
        let queues = self.spaces.get(space)?;
        let entry = Lane::ALL.iter().find_map(|lane| queues.queue(*lane).entries.get(&no))?;
        Some(json(&WaitRow { space: Arc::clone(space), entry }))
    }

    /// Puts saved rows back. The policy comes after.
    pub(super) fn restore(&mut self, saved: Vec<StateRow>, now: Now) {
        let rows: BTreeMap<String, Option<String>> = saved.into_iter().map(|r| (r.name, r.value)).collect();
        let texts = rows.iter().filter(|(name, _)| name.starts_with("judge/rule/")).map(|(_, value)| value);
        let mut places: Vec<Place> = texts.flatten().filter_map(|text| parse(text)).collect();
        places.sort_by_key(|p| p.place);
        for place in places {
            self.ensure_rule(&place.name);
        }
        for (name, value) in rows {
            let Some(value) = value else { continue };
            let understood = !name.starts_with("judge/") || self.restore_row(&name, &value).is_some();
            if !understood && self.left_out.len() < LEFT_OUT {
                self.left_out.push(name);
            }
        }
        (self.clock.odd, self.saved_head) = (self.head.clock_odd, self.head);
        let flying = self.flights.keys().next_back().map_or(0, |n| n.0 + 1);
        self.head.next_message = self.head.next_message.max(flying);
        let waiting = self.spaces.values().flat_map(|s| Lane::ALL.iter().map(|l| s.queue(*l)));
        let waiting = waiting.filter_map(|q| q.entries.keys().next_back()).max().map_or(0, |n| n.0 + 1);
        let claimed = self.claims.keys().next_back().map_or(0, |n| n.0 + 1);
        let opened = self.rules.iter().flat_map(|r| r.incidents().map(|i| i.no.0 + 1)).max().unwrap_or(0);
        self.head.next_alert = self.head.next_alert.max(waiting).max(claimed).max(opened);
        let silenced = self.silences.keys().next_back().map_or(0, |n| n + 1);
        self.head.next_silence = self.head.next_silence.max(silenced);
        if self.head.next_thread == 0 {
            // a number that no earlier run can have used, should it have been forgotten
            self.head.next_thread = u64::try_from(now.wall.0).unwrap_or(0);
        }
        self.set_inhibitors();
        self.rules.iter_mut().flat_map(|r| r.keys.unordered_mut()).for_each(|(_, slot)| slot.saved = true);
        self.weigh_all();
        for n in 0..self.rules.len() {
            let rule = &mut self.rules[n];
            let (open, holds) = (rule.incidents().filter(|i| i.folded).count() as u64, rule.fold.has_news());
            rule.fold.open = open;
            if (open > 0 || holds) && rule.fold.due.is_none() {
                rule.fold.due = Some(now.tick);
            }
            if rule.known.state.hits > 0 {
                rule.known.state.due.get_or_insert(now.tick);
                self.knowing.insert(Rid(n));
            }
            if rule.fold.due.is_some() {
                self.folding.insert(Rid(n));
            }
        }
    }

    fn restore_row(&mut self, name: &str, value: &str) -> Option<()> {
        let (part, _) =
            name.strip_prefix("judge/")?.split_once('/').unwrap_or((name.trim_start_matches("judge/"), ""));
        match part {
            "head" => {
                let head: Head = parse(value)?;
                counted([head.next_alert, head.next_message, head.next_thread, head.used, head.clock_odd])?;
                counted([head.next_silence])?;
                self.head = head;
            }
            "rule" => {
                let row: RuleRow<Fold> = parse(value)?;
                counted(row.ledger.terms())?;
                counted([row.held.repeats, row.held.rule_limit, row.held.space_budget, row.held.while_away])?;
                counted([row.held.muted, row.held.inhibited, row.held.evicted])?;
                counted([row.resolves.ended, row.resolves.idle, row.known.hits])?;
                counted(row.fold.counts())?;
                let rid = self.ensure_rule(&row.name);
                let rule = &mut self.rules[rid.0];
                (rule.fingerprint, rule.pace) = (row.fingerprint, row.pace);
                (rule.ledger, rule.held) = (row.ledger, row.held);
                // counted where it is held
                (rule.ledger.muted, rule.ledger.inhibited) = (0, 0);
                (rule.resolves, rule.known.state) = (row.resolves, row.known);
                (rule.fold, rule.last_hit, rule.last_message) = (row.fold, row.last_hit, row.last_message);
                rule.limit.restore(row.limit);
            }
            "key" => {
                let row: KeyRow<Slot> = parse(value)?;
                match &row.slot.state {
                    KeyState::Open(incident) => {
                        counted([incident.no.0, incident.since_last, incident.total])?;
                        counted(incident.top.counts())?;
                    }
                    KeyState::Counting(window) => {
                        counted(window.asked.iter().flat_map(|a| a.values.counts()))?;
                    }
                }
                let rid = self.ensure_rule(&row.rule);
                if !self.rules[rid.0].keys.insert(row.hash, row.slot) {
                    self.key_count += 1;
                }
            }
            "space" => {
                let row: SpaceRow = parse(value)?;
                let SpaceCounts { sent, delivered, dead_lettered, dropped, hits, .. } = row.counts;
                counted([sent, delivered, dead_lettered, dropped, hits])?;
                let space = self.ensure_space(&row.name);
                space.budget.restore(row.budget);
                space.reserve.restore(row.reserve);
                (space.flushed, space.digest_due, space.counts) = (row.flushed, row.digest_due, row.counts);
                space.policy.digest_every = row.digest_every;
            }
            "wait" => {
                let row: WaitRow<Entry> = parse(value)?;
                let alert = &row.entry.alert;
                counted([alert.no.0, alert.hits, alert.incidents])?;
                counted(alert.held.iter().map(|h| h.count))?;
                self.ensure_space(&row.space).queue_mut(row.entry.lane).push(row.entry);
            }
            "claim" => {
                let row: Numbered<AlertNo, Claim> = parse(value)?;
                counted([row.no.0, row.is.hits])?;
                self.ensure_rule(&row.is.rule);
                self.claims.insert(row.no, row.is);
            }
            "flight" => {
                let row: Numbered<MessageNo, Flight> = parse(value)?;
                counted([row.no.0, row.is.hits])?;
                self.flights.insert(row.no, row.is);
            }
            "edited" => {
                let row: Numbered<String, Edited> = parse(value)?;
                counted(row.is.alerts.iter().flat_map(|a| [a.no.0, a.hits, a.total, a.incidents]))?;
                if let Some(due) = row.is.due {
                    self.edits_due.insert((due, row.no.clone()));
                }
                self.edited.insert(row.no, row.is);
            }
            "known" => {
                let row: KnownRow = parse(value)?;
                let rid = self.ensure_rule(&row.rule);
                self.rules[rid.0].known.restore(&row.keys)?;
            }
            "watch" => self.watch = parse(value)?,
            "alive" => self.alive = parse(value)?,
            "silence" => {
                let row: Numbered<u64, Silence> = parse(value)?;
                counted([row.no])?;
                self.silences.insert(row.no, row.is);
            }
            "muted" | "inhibited" => {
                let row: Numbered<(Arc<str>, By), Fold> = parse(value)?;
                counted(row.is.counts())?;
                let rid = self.ensure_rule(&row.no.0);
                self.muted.insert((rid, row.no.1), row.is);
            }
            "notice" => {
                let row: Numbered<String, Recent> = parse(value)?;
                counted([row.is.again])?;
                self.notices.insert(row.no, row.is);
            }
            _ => return None,
        }
        Some(())
    }

    /// A space as long as its policy is not known.
    fn ensure_space(&mut self, name: &Arc<str>) -> &mut Space {
        self.spaces.entry(Arc::clone(name)).or_insert_with(|| {
            Space::new(SpacePolicy {
                name: Arc::clone(name),
                wait: Duration::ZERO,
                wait_at_most: Duration::ZERO,
                max_per_hour: 1,
                digest_every: Duration::ZERO,
                mention: BTreeMap::new(),
                edit: false,
            })
        })
    }

    /// Balances the books: hits that only a row knew of that is left out or gone are lost. It finds nothing to do where
    /// every row is there.
    pub(super) fn balance(&mut self, now: Now) {
        let mut copies: BTreeMap<AlertNo, u32> = BTreeMap::new();
        for no in self.carried().flatten() {
            *copies.entry(*no).or_default() += 1;
        }
        let stray: Vec<AlertNo> = self.claims.keys().copied().filter(|no| !copies.contains_key(no)).collect();
        for no in stray {
            self.claims.remove(&no);
            self.dirty.insert(RowKey::Claim(no));
        }
        for (no, claim) in &mut self.claims {
            let known = copies.get(no).copied().unwrap_or(1);
            if claim.copies != known {
                claim.copies = known;
                self.dirty.insert(RowKey::Claim(*no));
            }
        }
        let unsure: BTreeSet<Rid> = self.names.values().copied().collect();
        let report = self.report(now);
        for rid in unsure {
            let Some(books) = report.rules.get(&*self.rules[rid.0].name) else { continue };
            let known = books.ledger.settled() + books.pending;
            let ledger = &mut self.rules[rid.0].ledger;
            if ledger.hits != known {
                ledger.lost += ledger.hits.saturating_sub(known);
                ledger.hits = ledger.hits.max(known);
                self.mark_rule(rid);
            }
        }
    }
}

/// What each space has accepted, of saved rows: for whoever looks at a state that is not open.
pub fn counts_of_spaces(saved: &[StateRow]) -> BTreeMap<Arc<str>, SpaceCounts> {
    let of_space = |row: &&StateRow| row.name.starts_with("judge/space/");
    let read = |row: &StateRow| parse::<SpaceRow>(row.value.as_deref()?);
    saved.iter().filter(of_space).filter_map(read).map(|row| (row.name, row.counts)).collect()
}

fn parse<T: DeserializeOwned>(value: &str) -> Option<T> {
    serde_json::from_str(value).ok()
}

/// These are counts that an agent can have made.
fn counted(counts: impl IntoIterator<Item = u64>) -> Option<()> {
    counts.into_iter().all(|n| n <= MOST).then_some(())
}

fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("plain data with text keys can always be written as JSON")
}

impl Head {
    /// Of an installation that has said nothing yet.
    pub(super) fn first() -> Head {
        Head { next_alert: 1, next_message: 1, next_thread: 0, next_silence: 1, used: 0, clock_odd: 0 }
    }
}
