//! Novelty: `new = { learn = "48h" }` speaks of keys that were never seen before, and of no others.
//!
//! A known key is a keyed hash and the hour in which it was last hit, so ten thousand of them are a quarter of a megabyte,
//! and a storm of a known kind writes nothing to the disk but once an hour. What was hit while the rule learned, and what is
//! known, is told once a day with its count. The surprise: a new mask makes every kind look new, so with it the rule
//! learns again, without a word.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Judge;
use super::batch::Lane;
use super::ledger::Term;
use super::rows::RowKey;
use super::rule::{KeyState, Rid};
use super::wording::count;
use crate::alert::{Alert, Severity, What};
use crate::time::{Now, Tick, Wall};

/// Known keys of one rule; beyond it the least recently hit ones are forgotten.
const KNOWN: usize = 10_000;

/// So much of them is forgotten at once, so that its cost is spread over many hits.
const FORGOTTEN: usize = 16;

/// They are kept on disk in so many rows a rule: one that changes is a few kilobytes.
const SHELVES: u64 = 64;

/// Digits of a key's hash in a row, and of the hour of its last hit behind it.
const HASH: usize = 16;
const ROW: usize = HASH + 6;

/// The age of a kind is known to the hour, in milliseconds.
const HOUR: u64 = 3_600_000;

/// How often what is known is told.
const DAILY: Duration = Duration::from_secs(86_400);

/// What a rule that asks for what is new needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Novelty {
    /// For so long nothing is new, and everything is learned.
    pub learn: Duration,
    /// Changes when the same line has another kind: then the rule learns again.
    pub version: u64,
}

/// What one rule knows.
#[derive(Default)]
pub(super) struct Known {
    /// By hash of the key: the hour, by the agent's clock, in which it was last hit.
    keys: BTreeMap<u64, u32>,
    pub(super) state: Learning,
}

/// What of it is kept with the rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Learning {
    version: u64,
    /// It learns until then.
    pub(super) until: Tick,
    /// Hits of known keys, and of keys that were learned, that nobody has been told of.
    pub(super) hits: u64,
    /// How many of them came while it learned.
    learned: u64,
    first: Wall,
    last: Wall,
    /// They are told then.
    pub(super) due: Option<Tick>,
}

/// What a kind is to a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meets {
    /// Whatever it is, it is learned.
    Learning,
    Known,
    New,
}

impl Known {
    /// Begins to learn, unless it has with this version.
    pub(super) fn begin(&mut self, novelty: Novelty, now: Now) -> bool {
        if self.state.version == novelty.version {
            return false;
        }
        self.keys.clear();
        (self.state.version, self.state.until) = (novelty.version, now.tick + novelty.learn);
        true
    }

    /// One hit: is its key new, and has its row changed?
    fn meet(&mut self, hash: u64, now: Now) -> (bool, bool) {
        let hour = u32::try_from(now.tick.0 / HOUR).unwrap_or(u32::MAX);
        let before = self.keys.insert(hash, hour);
        (before.is_none() && now.tick >= self.state.until, before != Some(hour))
    }

    /// What a hit of this key would be to it, were it to come now.
    pub(super) fn meets(&self, hash: u64, now: Now) -> Meets {
        match (now.tick < self.state.until, self.keys.contains_key(&hash)) {
            (true, _) => Meets::Learning,
            (false, true) => Meets::Known,
            (false, false) => Meets::New,
        }
    }

    /// Forgets some where there are too many; says which rows have changed.
    fn forget(&mut self) -> Vec<u64> {
        if self.keys.len() <= KNOWN { Vec::new() } else { self.forget_some() }
    }

    /// Forgets the least recently hit ones; says which rows have changed.
    fn forget_some(&mut self) -> Vec<u64> {
        let mut ages: Vec<(u32, u64)> = self.keys.iter().map(|(hash, hour)| (*hour, *hash)).collect();
        ages.sort_unstable();
        let some = ages.len().div_ceil(FORGOTTEN);
        let gone = ages.iter().take(some).map(|(_, hash)| *hash);
        let mut shelves: Vec<u64> = gone.inspect(|hash| _ = self.keys.remove(hash)).map(shelf).collect();
        shelves.sort_unstable();
        shelves.dedup();
        shelves
    }

    /// How many.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// One row: sixteen digits of a hash and six of its hour, for each key; `None` where it is empty.
    pub(super) fn row(&self, shelf: u64) -> Option<String> {
        let each = u64::MAX / SHELVES;
        let from = shelf * (each + 1);
        let mut row = String::new();
        for (hash, hour) in self.keys.range(from..=from.saturating_add(each)) {
            // writing to a `String` cannot fail
            _ = write!(row, "{hash:016x}{:06x}", hour & 0xff_ffff);
        }
        (!row.is_empty()).then_some(row)
    }

    /// Puts a row back; `None` where it cannot be understood.
    pub(super) fn restore(&mut self, row: &str) -> Option<()> {
        let bytes = row.as_bytes();
        if !bytes.len().is_multiple_of(ROW) || bytes.len() / ROW > KNOWN {
            return None;
        }
        for one in bytes.chunks(ROW) {
            let one = std::str::from_utf8(one).ok()?;
            let hash = u64::from_str_radix(one.get(..HASH)?, 16).ok()?;
            self.keys.insert(hash, u32::from_str_radix(one.get(HASH..)?, 16).ok()?);
        }
        Some(())
    }

    /// Every row that there may be.
    pub(super) fn shelves() -> impl Iterator<Item = u64> {
        0..SHELVES
    }
}

fn shelf(hash: u64) -> u64 {
    hash / (u64::MAX / SHELVES + 1)
}

impl Judge {
    /// Begins to learn what a rule is to know, where it does not yet.
    pub(super) fn begin_to_learn(&mut self, rid: Rid, now: Now) {
        let rule = &mut self.rules[rid.0];
        let Some(novelty) = rule.policy.as_ref().and_then(|p| p.new) else { return };
        if rule.known.begin(novelty, now) {
            self.dirty.extend(Known::shelves().map(|shelf| RowKey::Known(rid, shelf)));
            self.mark_rule(rid);
        }
    }

    /// A hit of a rule that speaks of what is new: `false` where it is, or where an incident of it is open.
    pub(super) fn is_known(&mut self, rid: Rid, hash: u64, at: Wall, now: Now) -> bool {
        let rule = &mut self.rules[rid.0];
        if rule.policy.as_ref().is_none_or(|p| p.new.is_none()) {
            return false;
        }
        let before = rule.known.len();
        let (new, changed) = rule.known.meet(hash, now);
        let gone = rule.known.forget();
        let after = rule.known.len();
        let open = matches!(rule.keys.get(hash).map(|s| &s.state), Some(KeyState::Open(_)));
        let rows = changed.then(|| shelf(hash)).into_iter().chain(gone);
        self.dirty.extend(rows.map(|shelf| RowKey::Known(rid, shelf)));
        self.weigh_kinds(before, after);
        if new || open {
            return false;
        }
        let rule = &mut self.rules[rid.0];
        let state = &mut rule.known.state;
        if state.hits == 0 {
            (state.first, state.last) = (at, at);
        }
        (state.first, state.last) = (state.first.min(at), state.last.max(at));
        state.hits += 1;
        state.learned += u64::from(now.tick < state.until);
        if state.due.is_none() {
            state.due = Some(now.tick + DAILY);
            self.knowing.insert(rid);
        }
        rule.ledger.hits += 1;
        rule.last_hit = rule.last_hit.max(Some(at));
        self.mark_rule(rid);
        true
    }

    /// Forgets a part of what a rule knows, the least recently hit; `false` where it knows nothing.
    pub(super) fn forget_kinds(&mut self, rid: Rid) -> bool {
        let known = &mut self.rules[rid.0].known;
        let before = known.len();
        let shelves = known.forget_some();
        let after = known.len();
        self.dirty.extend(shelves.into_iter().map(|shelf| RowKey::Known(rid, shelf)));
        self.weigh_kinds(before, after);
        after < before
    }

    /// Tells what was counted of what is known, where a day is over.
    pub(super) fn known_timers(&mut self, now: Now) {
        let due = |rid: &&Rid| self.rules[rid.0].known.state.due.is_some_and(|t| t <= now.tick);
        let due: Vec<Rid> = self.knowing.iter().filter(due).copied().collect();
        for rid in due {
            self.tell_known(rid, now);
        }
    }

    /// Tells what was counted of what is known.
    pub(super) fn tell_known(&mut self, rid: Rid, now: Now) {
        self.knowing.remove(&rid);
        self.mark_rule(rid);
        let no = self.next_alert();
        let to = self.spaces_of(rid).into_iter().map(|s| (s, None)).collect();
        let rule = &mut self.rules[rid.0];
        let kinds = rule.known.len() as u64;
        let state = &mut rule.known.state;
        let Learning { hits, learned, first, last, .. } = *state;
        (state.hits, state.learned, state.due) = (0, 0, None);
        if hits == 0 {
            return;
        }
        let mut text =
            format!("{} of what is known ({})", count(hits - learned.min(hits), "hit"), count(kinds, "kind"));
        if learned > 0 {
            _ = write!(text, ", and {} while it learned", count(learned, "hit"));
        }
        let alert = Alert {
            no,
            what: What::Known,
            rule: Arc::clone(&rule.name),
            severity: Severity::Info,
            key: Vec::new(),
            text,
            hits,
            total: hits,
            incidents: 1,
            first,
            last,
            samples: Vec::new(),
            runbook: None,
            held: Vec::new(),
            hint: None,
        };
        self.enqueue(&alert, to, Lane::Batch, None, Term::Told, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: u64) -> Now {
        Now { wall: Wall(0), tick: Tick(hours * 3_600_000) }
    }

    #[test]
    fn what_is_written_down_reads_back_and_a_storm_of_the_known_writes_once_an_hour() {
        let mut known = Known::default();
        let hashes = [0, 1, u64::MAX / 2, u64::MAX];
        assert!(hashes.iter().all(|h| known.meet(*h, at(7)) == (true, true)));
        assert_eq!(known.meet(1, at(7)), (false, false));
        assert_eq!(known.meet(1, at(8)), (false, true));
        let mut other = Known::default();
        Known::shelves().filter_map(|s| known.row(s)).for_each(|row| other.restore(&row).unwrap());
        assert_eq!(other.keys, known.keys);
        assert_eq!((shelf(0), shelf(u64::MAX)), (0, SHELVES - 1));
        assert!(other.restore("00").is_none() && other.restore(&"x".repeat(22)).is_none());
    }

    #[test]
    fn beyond_the_bound_the_least_recently_hit_are_forgotten() {
        let mut known = Known::default();
        for n in 0..=KNOWN as u64 {
            known.meet(n << 40, at(if n < 700 { 9 } else { 5 }));
        }
        assert!(!known.forget().is_empty());
        assert!(known.len() < KNOWN && (0..700u64).all(|n| known.keys.contains_key(&(n << 40))));
    }
}
