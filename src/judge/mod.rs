//! What to say, when, and to whom: a pure state machine.
//!
//! Hits come in, messages go out, and between the two every hit is in exactly one place. No I/O and no clock: each
//! input comes with its `now`, so a backtest and a test run the very engine that runs live. Its neighbours are
//! `rules`, which finds the hits, and `chat`, which draws the messages; it knows neither.
//!
//! The way of a hit: `clock` says when it happened; its key's `window` counts it; the window fires and an
//! `incident` opens; the rule's limit (`limit`) lets the opening pass into a space's `batch` or into the rule's
//! `fold`; the space's budget lets the batch go or keeps it for a digest (`merge`); and the message's fate, told by
//! `deliver`, moves the hits in the `ledger`. Everything survives a restart as `rows`, and a restart is
//! a `reload` from nothing.
//!
//! The surprise: an alert's hits do not count as told when it is sent, nor when it is due, but when the first space has
//! accepted it. So an incident waits for news of its own opening before it says another word.

mod alive;
mod backlog;
mod batch;
mod claims;
mod clock;
mod context;
mod distinct;
mod edit;
mod evict;
mod evidence;
mod expect;
mod fold;
mod gate;
mod incident;
mod inhibit;
mod input;
mod key;
mod keys;
mod ledger;
mod limit;
mod memory;
mod merge;
mod mute;
mod muted;
mod notice;
mod novelty;
mod outlook;
mod phase;
mod policy;
mod reload;
mod report;
mod resolve;
mod rows;
mod rule;
mod silence;
mod standing;
mod tap;
mod timers;
mod top;
mod values;
mod watch;
mod why;
mod window;
mod wording;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use self::alive::Alive;
use self::batch::Space;
use self::clock::EventClock;
use self::context::{Awaited, Whose};
use self::edit::Edited;
use self::fold::Fold;
use self::incident::Incident;
use self::ledger::{Claim, Flight};
use self::memory::Memory;
use self::notice::Recent;
use self::rows::RowKey;
use self::rule::{Rid, Rule};
use self::silence::{By, MutesUntil, Silence};
use self::tap::Tap;
use self::timers::Timers;
use self::watch::Watch;
use crate::alert::AlertNo;
use crate::message::{Message, MessageNo};
use crate::redact::Redactor;
use crate::state::StateRow;
use crate::time::{Now, Tick};

pub use self::alive::AlivePolicy;
pub use self::clock::{AHEAD, BEHIND};
pub use self::edit::EDIT_EVERY;
pub use self::evict::KEYS_A_RULE;
pub use self::expect::{Expect, When};
pub use self::input::{Input, Notice, Recall};
pub use self::ledger::{HeldCounts, Ledger, Resolves};
pub use self::memory::{MEMORY, window_bytes};
pub use self::mute::{DAY, EVERY_DAY, MutePolicy, RuleGlob, Window};
pub use self::novelty::Novelty;
pub use self::outlook::Outlook;
pub use self::policy::*;
pub use self::report::{PendingIn, Report, RuleReport, SpaceCounts, SpaceReport};
pub use self::rows::counts_of_spaces;
pub use self::silence::{LONGEST, MuteReport, SILENCES, SilenceFault, SilenceOrder, SilenceReport};
pub use self::tap::{A_SECOND as TAPPED_A_SECOND, TAPS, TapNo, Tapped};
pub use self::why::Decision;

/// The judge.
pub struct Judge {
    /// Without its rules and spaces, which live below.
    policy: Policy,
    install: [u8; 16],
    /// By [`Rid`]; never shrinks while the judge lives.
    rules: Vec<Rule>,
    names: BTreeMap<Arc<str>, Rid>,
    /// By [`crate::hit::RuleNo`] of the loaded set.
    by_no: Vec<Rid>,
    spaces: BTreeMap<Arc<str>, Space>,
    claims: BTreeMap<AlertNo, Claim>,
    /// With so many claims, those that can only be settled together are joined.
    join_at: usize,
    flights: BTreeMap<MessageNo, Flight>,
    /// Messages that are edited, by their thread.
    edited: BTreeMap<String, Edited>,
    /// When to look at which of them.
    edits_due: BTreeSet<(Tick, String)>,
    notices: BTreeMap<String, Recent>,
    alive: Alive,
    clock: EventClock,
    watch: Watch,
    /// When to look at which key. Set behind the true deadline is never; before it often, and then in vain.
    timers: Timers,
    /// Rules whose fold holds something.
    folding: BTreeSet<Rid>,
    /// By number.
    silences: BTreeMap<u64, Silence>,
    /// What a silence or a mute holds of incidents that have ended.
    muted: BTreeMap<(Rid, By), Fold>,
    mutes_until: Option<MutesUntil>,
    /// Rules over which an inhibition began or ended a moment ago.
    turned: BTreeSet<Rid>,
    /// Rules that have counted what they know.
    knowing: BTreeSet<Rid>,
    /// Hits of a moment ago, the lines behind which are still to come.
    awaited: BTreeMap<Awaited, Whose>,
    /// Those who look on.
    taps: Vec<Tap>,
    next_tap: u64,
    key_count: usize,
    memory: Memory,
    head: Head,
    saved_head: Head,
    dirty: BTreeSet<RowKey>,
    left_out: Vec<String>,
    /// The latest instant it was told.
    now: Tick,
}

/// The counters that never go back.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    next_alert: u64,
    next_message: u64,
    next_thread: u64,
    #[serde(default = "first_silence")]
    next_silence: u64,
    /// Hits so far: the age of keys.
    used: u64,
    clock_odd: u64,
}

fn first_silence() -> u64 {
    1
}

impl Judge {
    /// A judge that goes on from `saved`, or begins. `install` is random, made once and kept by the store: it keys the
    /// hashes of keys and threads. The messages are what was due while nobody was there.
    pub fn new(policy: Policy, saved: Vec<StateRow>, install: [u8; 16], now: Now) -> (Judge, Vec<Message>) {
        let mut judge = Judge {
            policy: Policy {
                rules: Vec::new(),
                spaces: Vec::new(),
                admin: "".into(),
                host: "".into(),
                redactor: Redactor::default(),
                late_after: policy.late_after,
                memory: policy.memory,
                mutes: Vec::new(),
                alive: None,
            },
            install,
            rules: Vec::new(),
            names: BTreeMap::new(),
            by_no: Vec::new(),
            spaces: BTreeMap::new(),
            claims: BTreeMap::new(),
            join_at: claims::APART,
            flights: BTreeMap::new(),
            edited: BTreeMap::new(),
            edits_due: BTreeSet::new(),
            notices: BTreeMap::new(),
            alive: Alive::default(),
            clock: EventClock::default(),
            watch: Watch::default(),
            timers: Timers::default(),
            folding: BTreeSet::new(),
            silences: BTreeMap::new(),
            muted: BTreeMap::new(),
            mutes_until: None,
            turned: BTreeSet::new(),
            knowing: BTreeSet::new(),
            awaited: BTreeMap::new(),
            taps: Vec::new(),
            next_tap: 1,
            key_count: 0,
            memory: Memory::new(policy.memory),
            head: Head::first(),
            saved_head: Head::first(),
            dirty: BTreeSet::new(),
            left_out: Vec::new(),
            now: now.tick,
        };
        judge.restore(saved, now);
        judge.balance(now);
        judge.adopt(policy, now);
        let messages = judge.settle(now);
        (judge, messages)
    }

    /// Takes one input and says what is to be said. A `now` that runs backwards is taken as the latest one.
    pub fn apply(&mut self, input: Input, now: Now) -> Vec<Message> {
        let now = Now { tick: now.tick.max(self.now), ..now };
        self.now = now.tick;
        if let Input::Watched { up_to } = input {
            self.watch.read(up_to);
        }
        // what was due before this input happened before it: a fold takes its turn ahead of a new opening
        self.run_timers(now);
        let mut said = Vec::new();
        match input {
            Input::Hits(hits) => {
                for told in hits.iter() {
                    let judged = self.take_hit(told, now);
                    if !self.taps.is_empty() {
                        self.tap_hit(told, judged, now);
                    }
                    self.keep_in_budget(now);
                    self.hold_inhibited(now);
                }
                hits.later().iter().for_each(|later| self.take_later(later, now));
            }
            Input::Timer | Input::Watched { .. } => {}
            Input::Away { from } => self.away(from, now),
            Input::Policy(policy) => self.adopt(*policy, now),
            Input::Fate { message, fate } => self.fate(message, fate, now),
            Input::Stands { message, row } => self.stands(message, row, now),
            Input::Recall { messages, why } => said.extend(self.recall(&messages, why, now)),
            Input::Detour { messages, to } => said = self.detour(&messages, &to, now),
            Input::Notice(notice) => self.notice(notice, now),
            Input::Silence(order) => self.silence(&order, now),
            Input::Unsilence(id) => _ = self.unsilence(&id, now),
        }
        said.extend(self.settle(now));
        said
    }

    /// When [`Input::Timer`] must come, at the latest, if nothing else does. It may be in the past, and it may turn out
    /// that nothing is to be said then.
    pub fn due(&self) -> Option<Tick> {
        let keys = self.timers.first();
        let folds = self.folding.iter().filter_map(|rid| self.rules[rid.0].fold.due).min();
        let spaces = self.spaces.values().filter_map(Space::due).min();
        let known = self.knowing.iter().filter_map(|rid| self.rules[rid.0].known.state.due).min();
        let edits = self.edits_due.first().map(|(at, _)| *at);
        let beside = [edits, self.watch.due(), self.notices_due(), self.silences_due(), self.alive_due()];
        [keys, folds, known, spaces].into_iter().chain(beside).flatten().min()
    }

    fn settle(&mut self, now: Now) -> Vec<Message> {
        self.hold_inhibited(now);
        self.run_timers(now);
        let messages = self.flush(now);
        self.join_when_many();
        messages
    }

    fn run_timers(&mut self, now: Now) {
        self.silence_timers(now);
        self.fold_timers(now);
        self.read_timers(now);
        while let Some((at, rid, hash)) = self.next_timer(now.tick) {
            self.key_timer(at, rid, hash, now);
            self.hold_inhibited(now);
        }
        self.fold_timers(now);
        self.known_timers(now);
        self.alive_timers(now);
        self.notice_timers(now);
    }

    fn next_timer(&mut self, now: Tick) -> Option<(Tick, Rid, u64)> {
        let Judge { timers, rules, .. } = self;
        timers.pop(now, |at, rid, hash| rules[rid.0].timer(hash) == Some(at))
    }

    fn next_alert(&mut self) -> AlertNo {
        let no = AlertNo(self.head.next_alert);
        self.head.next_alert += 1;
        no
    }

    fn rule_mut(&mut self, name: &Arc<str>) -> Option<&mut Rule> {
        let rid = *self.names.get(name)?;
        self.mark_rule(rid);
        Some(&mut self.rules[rid.0])
    }

    fn mark_rule(&mut self, rid: Rid) {
        let rule = &mut self.rules[rid.0];
        if !rule.dirty {
            rule.dirty = true;
            self.dirty.insert(RowKey::Rule(rid));
        }
    }

    /// Its row is to be written.
    fn mark_key(&mut self, rid: Rid, hash: u64) {
        if let Some(slot) = self.rules[rid.0].keys.get_mut(hash)
            && !slot.dirty
        {
            slot.dirty = true;
            self.rules[rid.0].changed.push(hash);
        }
    }

    /// Where a rule speaks: its spaces that exist, else the admin space.
    fn spaces_of(&self, rid: Rid) -> Vec<Arc<str>> {
        let named = self.rules[rid.0].policy.iter().flat_map(|p| &p.spaces);
        let mut known: Vec<Arc<str>> = named.filter(|s| self.spaces.contains_key(*s)).cloned().collect();
        if known.is_empty() {
            known.extend(self.admin());
        }
        known
    }

    /// Who hears of the agent's own troubles; any space rather than none.
    fn admin(&self) -> Option<Arc<str>> {
        let named = self.spaces.get_key_value(&self.policy.admin).map(|(name, _)| name);
        named.or_else(|| self.spaces.keys().next()).cloned()
    }
}

/// Without a byte of any log.
impl fmt::Debug for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Judge")
            .field("rules", &self.rules.len())
            .field("spaces", &self.spaces.len())
            .field("keys", &self.key_count)
            .field("claims", &self.claims.len())
            .field("flights", &self.flights.len())
            .finish_non_exhaustive()
    }
}
