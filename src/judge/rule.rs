//! One rule at work: its keys, and the way of a hit through them.
//!
//! A key is found by a keyed hash of its raw values, so that nobody who writes into a log can choose two that
//! collide, and so that the state file need not hold a raw value. A hit of a key that is there already costs a look at
//! it and no more: no text is made, and its timer is moved only when it has come.

use std::hash::Hasher as _;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;

use super::context::Awaited;
use super::evidence::Evidence;
use super::expect::Expected;
use super::fold::Fold;
use super::incident::Incident;
use super::key::Key;
use super::keys::Keys;
use super::ledger::{HeldCounts, Ledger, Resolves};
use super::limit::Limit;
use super::novelty::Known;
use super::phase::News;
use super::rows::RowKey;
use super::silence::InForce;
use super::tap::Became;
use super::values::Asking;
use super::why::Decisions;
use super::window::{Pushed, Window};
use super::{Judge, RulePolicy};
use crate::hit::Told;
use crate::time::{Now, Tick, Wall};

/// A key that is being counted is let go this long after its window ended, by the agent's clock: lines may come
/// a little late.
pub(super) const WINDOW_GRACE: Duration = Duration::from_secs(5);

/// Index of a rule for as long as this judge lives, across reloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Rid(pub(super) usize);

/// What the waits of a rule are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pace {
    /// The rule is there since then.
    #[serde(default)]
    pub(super) since: Option<Wall>,
    pub(super) remind: Duration,
    pub(super) max_per_hour: u32,
}

/// A rule with everything that is known of it.
pub(super) struct Rule {
    pub(super) name: Arc<str>,
    /// `None`: it is no longer in the file, and only its books are kept.
    pub(super) policy: Option<RulePolicy>,
    pub(super) fingerprint: u64,
    /// What its waits were counted by; nothing before its first policy.
    pub(super) pace: Option<Pace>,
    pub(super) ledger: Ledger,
    pub(super) held: HeldCounts,
    pub(super) resolves: Resolves,
    pub(super) keys: Keys,
    pub(super) fold: Fold,
    pub(super) known: Known,
    pub(super) limit: Limit,
    /// Event time of the newest hit.
    pub(super) last_hit: Option<Wall>,
    /// When a message of this rule was last delivered.
    pub(super) last_message: Option<Wall>,
    /// Its row is marked already.
    pub(super) dirty: bool,
    pub(super) decisions: Decisions,
    /// What its keys weigh.
    pub(super) bytes: u64,
    /// Its open incidents.
    pub(super) open: usize,
    /// The rules that say nothing while there are some.
    pub(super) inhibits: Vec<Rid>,
    /// The silences, mutes and rules that hold it now.
    pub(super) quieted: Vec<InForce>,
    /// The names of its keys' parts.
    pub(super) by: Arc<[String]>,
    /// Keys that have changed and are still to be written: a key may be here twice, or be gone.
    pub(super) changed: Vec<u64>,
    /// Keys that were written, and are gone.
    pub(super) gone: Vec<u64>,
    /// The keys that go first: by when they were hit, and their hashes, the least recently hit one last. One that was hit
    /// since is skipped.
    pub(super) oldest: Vec<(u64, u64)>,
    hasher: SipHasher13,
}

/// One key of a rule.
#[derive(Serialize, Deserialize)]
pub(super) struct Slot {
    pub(super) key: Arc<Key>,
    /// Keyed hashes of its raw values, where there are several: a line may name some of them only.
    #[serde(default, skip_serializing_if = "<[u64]>::is_empty")]
    pub(super) parts: Box<[u64]>,
    /// Grows with every hit of any rule: the smallest is the least recently hit.
    pub(super) used: u64,
    /// When it was last hit, by the agent's clock.
    pub(super) hit_at: Tick,
    pub(super) state: KeyState,
    /// Of a rule with `expect`; its incident is an absence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) expected: Option<Box<Expected>>,
    /// When the judge looks at it again; it may look in vain.
    #[serde(skip)]
    pub(super) timer: Option<Tick>,
    /// Its row is marked already.
    #[serde(skip)]
    pub(super) dirty: bool,
    /// A row of it has been saved.
    #[serde(skip)]
    pub(super) saved: bool,
    /// The bytes that it counts for.
    #[serde(skip)]
    pub(super) weight: u32,
    /// It counts among its rule's open incidents.
    #[serde(skip)]
    pub(super) counted_open: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum KeyState {
    Counting(Window),
    Open(Box<Incident>),
}

impl Slot {
    /// One that counts from now on.
    pub(super) fn counting(key: Key, parts: Box<[u64]>, now: Now) -> Slot {
        Slot {
            key: Arc::new(key),
            parts,
            used: 0,
            hit_at: now.tick,
            state: KeyState::Counting(Window::default()),
            expected: None,
            timer: None,
            dirty: false,
            saved: false,
            weight: 0,
            counted_open: false,
        }
    }

    /// One of a key that this rule has not met, to be looked at.
    pub(super) fn of_parts(rule: &Rule, key: &[Box<str>], now: Now) -> Slot {
        Slot::counting(Key::default(), rule.parts(key), now)
    }

    /// A hit at `at` comes too late to open the resolved incident again: it is over, and a new one begins.
    fn forget_resolved(&mut self, at: Wall, quiet: Duration) -> Option<Box<Incident>> {
        if !matches!(&self.state, KeyState::Open(incident) if incident.is_over(at, quiet)) {
            return None;
        }
        match std::mem::replace(&mut self.state, KeyState::Counting(Window::default())) {
            KeyState::Open(incident) => Some(incident),
            KeyState::Counting(_) => None,
        }
    }
}

impl Rule {
    pub(super) fn new(name: Arc<str>, install: &[u8; 16]) -> Rule {
        let mut hasher = SipHasher13::new_with_key(install);
        write_part(&mut hasher, &name);
        Rule {
            name,
            policy: None,
            fingerprint: 0,
            pace: None,
            ledger: Ledger::default(),
            held: HeldCounts::default(),
            resolves: Resolves::default(),
            keys: Keys::default(),
            fold: Fold::default(),
            known: Known::default(),
            limit: Limit::new(1),
            last_hit: None,
            last_message: None,
            dirty: false,
            decisions: Decisions::default(),
            bytes: 0,
            open: 0,
            inhibits: Vec::new(),
            quieted: Vec::new(),
            by: [].into(),
            changed: Vec::new(),
            gone: Vec::new(),
            oldest: Vec::new(),
            hasher,
        }
    }

    pub(super) fn hash(&self, key: &[Box<str>]) -> u64 {
        let mut hasher = self.hasher;
        for part in key {
            write_part(&mut hasher, part);
        }
        hasher.finish()
    }

    /// The hashes of the parts of a key that has several: a silence may name some of them only.
    pub(super) fn parts(&self, key: &[Box<str>]) -> Box<[u64]> {
        parts(self.hasher, key)
    }

    /// The hash of one part of a key.
    pub(super) fn part(&self, value: &str) -> u64 {
        part_hash(self.hasher, value)
    }

    /// When a key is to be looked at.
    pub(super) fn timer(&self, hash: u64) -> Option<Tick> {
        self.keys.get(hash)?.timer
    }

    /// The incident of a key.
    pub(super) fn incident_mut(&mut self, hash: u64) -> Option<&mut Incident> {
        match &mut self.keys.get_mut(hash)?.state {
            KeyState::Open(incident) => Some(incident),
            KeyState::Counting(_) => None,
        }
    }

    /// All incidents, in no order: for sums.
    pub(super) fn incidents(&self) -> impl Iterator<Item = &Incident> {
        self.keys.unordered().filter_map(|(_, s)| match &s.state {
            KeyState::Open(incident) => Some(&**incident),
            KeyState::Counting(_) => None,
        })
    }
}

/// The hashes of the parts of a key that has several.
fn parts(hasher: SipHasher13, key: &[Box<str>]) -> Box<[u64]> {
    if key.len() < 2 { Box::default() } else { key.iter().map(|part| part_hash(hasher, part)).collect() }
}

pub(super) fn part_hash(mut hasher: SipHasher13, value: &str) -> u64 {
    write_part(&mut hasher, value);
    hasher.finish()
}

/// Length first: `["a", "bc"]` and `["ab", "c"]` are two keys.
fn write_part(hasher: &mut SipHasher13, part: &str) {
    hasher.write(&(part.len() as u64).to_le_bytes());
    hasher.write(part.as_bytes());
}

impl Judge {
    /// One hit. The way that a storm takes a million times: no text is made here, and nothing is redacted.
    /// Returns when it happened and what became of it.
    pub(super) fn take_hit(&mut self, told: Told<'_>, now: Now) -> (Wall, Became) {
        let hit = told.hit;
        // a number of another set can only come from a reader that has not heard of a reload yet
        let Some(&rid) = self.by_no.get(hit.rule.0 as usize) else { return (hit.read.wall, Became::NoHit) };
        let at = self.clock.event_time(told);
        let late = hit.backlog && hit.read.wall.since(at) > self.policy.late_after;
        if let Some(named) = hit.resolves {
            self.take_resolve(rid, hit, named, at, now);
            return (at, Became::NoHit);
        }
        if self.rules[rid.0].policy.as_ref().is_some_and(|p| p.expect.is_some()) {
            self.take_expected(rid, hit, at, now);
            return (at, Became::Seen);
        }
        let hash = self.rules[rid.0].hash(&hit.key);
        if self.is_known(rid, hash, at, now) {
            return (at, Became::Known);
        }
        let rule = &mut self.rules[rid.0];
        let Some(policy) = &rule.policy else { return (at, Became::NoHit) };
        self.head.used += 1;
        rule.ledger.hits += 1;
        rule.last_hit = rule.last_hit.max(Some(at));
        if !rule.dirty {
            rule.dirty = true;
            self.dirty.insert(RowKey::Rule(rid));
        }
        let hasher = rule.hasher;
        let (slot, fresh) = rule.keys.get_or_insert(hash, || {
            let key = Key::of(&self.policy.redactor, &rule.by, hit);
            Slot::counting(key, parts(hasher, &hit.key), now)
        });
        (slot.used, slot.hit_at) = (self.head.used, now.tick);
        if !slot.dirty {
            slot.dirty = true;
            rule.changed.push(hash);
        }
        let over = slot.forget_resolved(at, policy.quiet);
        let begun = fresh || over.is_some();
        let asking = Asking::of(policy, hit, hasher, &self.policy.redactor);
        let became = match &mut slot.state {
            KeyState::Open(incident) => {
                if let Some(asking) = &asking {
                    incident.ask(asking);
                }
                let news = incident.hit(told, at, policy.hold);
                rule.held.repeats += u64::from(news != News::Held);
                let change = slot.weigh();
                self.memory.add(&mut rule.bytes, change);
                self.news(rid, hash, news, now);
                Became::Repeated(news)
            }
            KeyState::Counting(window) => {
                let pushed = match &asking {
                    Some(asking) => window.ask(at, asking),
                    None if policy.threshold <= 1 => Pushed::fired(at),
                    None => window.push(at, policy.threshold, policy.within),
                };
                rule.ledger.below += pushed.below;
                let fired = pushed.fired;
                let evidence = Evidence::of(hit, at);
                if let Some(firing) = fired {
                    self.fire(rid, hash, firing, evidence, late, now);
                    self.reschedule(rid, hash);
                    self.weigh(rid, hash);
                } else {
                    window.keep(evidence);
                    let change = slot.weigh();
                    self.memory.add(&mut rule.bytes, change);
                    if begun {
                        self.reschedule(rid, hash);
                    }
                }
                if fired.is_some() { Became::Fired { late } } else { Became::Counted }
            }
        };
        if let Some(awaited) = Awaited::of(hit).filter(|_| told.full) {
            self.await_lines(awaited, rid, hash, now);
        }
        if let Some(over) = over {
            self.edit_last(&over.standing);
        }
        if fresh {
            self.key_count += 1;
            self.evict(rid, now);
        }
        (at, became)
    }

    /// Looks at a key whose timer has come.
    pub(super) fn key_timer(&mut self, at: Tick, rid: Rid, hash: u64, now: Now) {
        let Some(slot) = self.rules[rid.0].keys.get_mut(hash) else { return };
        slot.timer = None;
        let due = self.deadline(rid, hash);
        if due != Some(at) {
            // hits have moved the deadline since; the set is only told now, which is why a hit costs nothing there
            self.reschedule(rid, hash);
            return;
        }
        match self.rules[rid.0].keys.get(hash).map(|s| &s.state) {
            Some(_) if self.rules[rid.0].keys.get(hash).is_some_and(|s| s.expected.is_some()) => {
                self.expect_timer(rid, hash, now);
            }
            Some(KeyState::Counting(_)) => self.evict_key(rid, hash, now),
            Some(KeyState::Open(_)) => self.incident_timer(rid, hash, now),
            None => {}
        }
    }

    /// A key is no longer to be looked at then.
    pub(super) fn forget_timer(&mut self, at: Tick) {
        let Judge { timers, rules, .. } = self;
        timers.forget(at, |rid, hash| rules[rid.0].timer(hash) == Some(at));
    }

    /// When this key must be looked at, were nothing more to happen.
    fn deadline(&self, rid: Rid, hash: u64) -> Option<Tick> {
        let rule = &self.rules[rid.0];
        let (slot, policy) = (rule.keys.get(hash)?, rule.policy.as_ref()?);
        if let Some(expected) = &slot.expected {
            let over = matches!(&slot.state, KeyState::Open(i) if i.may_say_its_end(&self.spaces));
            let due = expected.unread.is_none().then_some(expected.due);
            return if over { Some(due.map_or(slot.hit_at, |due| due.min(slot.hit_at))) } else { due };
        }
        match &slot.state {
            KeyState::Counting(_) => Some(slot.hit_at + policy.within + WINDOW_GRACE),
            KeyState::Open(incident) => incident.deadline(slot.hit_at, policy, &self.spaces),
        }
    }

    /// Puts a key's timer where its deadline is. Whatever changes how far an incident is ends here, or takes its key out.
    pub(super) fn reschedule(&mut self, rid: Rid, hash: u64) {
        let due = self.deadline(rid, hash);
        let Some(slot) = self.rules[rid.0].keys.get_mut(hash) else { return };
        let turned = slot.has_turned();
        if slot.timer != due {
            let old = std::mem::replace(&mut slot.timer, due);
            if let Some(old) = old {
                self.forget_timer(old);
            }
            if let Some(new) = due {
                self.timers.set(new, rid, hash);
            }
        }
        if let Some(opened) = turned {
            self.count_open(rid, opened);
        }
    }
}
