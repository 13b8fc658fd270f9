//! What `status` shows of the judge: every term of every rule's ledger, and what waits for each space.
//!
//! `pending` is counted here, thing by thing, and nowhere stored; a test compares the sum with `hits` after every step.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::batch::Lane;
use super::ledger::{HeldCounts, Ledger, Resolves};
use super::rule::KeyState;
use super::silence::{By, MuteReport, SilenceReport};
use super::{Judge, Rid};
use crate::time::{Now, Wall};

/// The judge, seen from outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// By name; rules that have left the file are here as long as their books are kept.
    pub rules: BTreeMap<String, RuleReport>,
    /// Who holds the muted hits of a rule, by the rule's name: silences as `s7`, mutes by name. Without the rules that
    /// have none.
    pub muted_by: BTreeMap<String, BTreeMap<String, u64>>,
    /// The same for inhibited hits: the rules whose open incidents hold them.
    pub inhibited_by: BTreeMap<String, BTreeMap<String, u64>>,
    /// By name.
    pub spaces: BTreeMap<String, SpaceReport>,
    /// Silences in force.
    pub silences: Vec<SilenceReport>,
    /// Every mute of the file.
    pub mutes: Vec<MuteReport>,
    /// Bytes that it holds by its own count.
    pub bytes: u64,
    /// Hits whose timestamp was not believed.
    pub clock_odd: u64,
    /// Rows of the saved state that could not be understood and were left out.
    pub left_out: u64,
}

/// One rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RuleReport {
    /// `hits = shown + told + below + seen + lost + pending + muted + inhibited`.
    #[serde(flatten)]
    pub ledger: Ledger,
    /// Hits that are in no final term yet.
    pub pending: u64,
    /// Where they are.
    pub pending_in: PendingIn,
    /// How much was held, ever, and why; not part of the sum.
    pub held: HeldCounts,
    /// Lines that ended incidents, and lines that would have.
    pub resolves: Resolves,
    /// Incidents that are open: neither resolved nor held back by `hold`.
    pub open_incidents: u64,
    /// Keys that are counted towards a threshold.
    pub counting_keys: u64,
    /// Since when it has been in the rules.
    pub since: Option<Wall>,
    /// Event time of the newest hit.
    pub last_hit: Option<Wall>,
    /// When a message of this rule was last delivered.
    pub last_message: Option<Wall>,
    /// It is in the file.
    pub loaded: bool,
}

/// The things that hold hits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PendingIn {
    /// Windows that have not fired.
    pub windows: u64,
    /// Open incidents, since their last alert.
    pub incidents: u64,
    /// The rule's fold.
    pub folds: u64,
    /// What is known, until the day's end.
    pub known: u64,
    /// Alerts that wait or are on their way, dead letters too.
    pub alerts: u64,
}

/// One space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SpaceReport {
    /// Alerts that wait in a batch, in the digest, and in "while away"; messages that are to be edited.
    pub waiting: u64,
    /// Messages handed out and not settled.
    pub in_flight: u64,
    /// Messages that Chat refused for good.
    pub dead_letters: u64,
    /// Messages that its budget would let go now.
    pub budget_left: u64,
    /// Since ever.
    #[serde(flatten)]
    pub counts: SpaceCounts,
}

/// What happened to a space's messages, since ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SpaceCounts {
    /// Messages handed out.
    pub sent: u64,
    /// Accepted.
    pub delivered: u64,
    /// Refused for good, each time it happened.
    pub dead_lettered: u64,
    /// Given up.
    pub dropped: u64,
    /// Hits in the counts of what was accepted.
    pub hits: u64,
    /// When one was last accepted.
    pub last_delivered: Option<Wall>,
}

impl Judge {
    /// The books, and what waits. Costs time by the number of keys: for people, not for every line.
    pub fn report(&self, now: Now) -> Report {
        let mut rules: BTreeMap<String, RuleReport> = BTreeMap::new();
        let (mut muted_by, mut inhibited_by) = (BTreeMap::new(), BTreeMap::new());
        for (name, rid) in &self.names {
            let (mut muted, mut inhibited) = (BTreeMap::new(), BTreeMap::new());
            for (by, hits) in self.held_of(*rid) {
                let holder = by.to_string();
                if matches!(by, By::Rule(_)) { &mut inhibited } else { &mut muted }.insert(holder, hits);
            }
            let held = (muted.values().sum(), inhibited.values().sum());
            rules.insert(name.to_string(), self.rule_report(*rid, held));
            let of = |by: BTreeMap<String, u64>| (!by.is_empty()).then(|| (name.to_string(), by));
            muted_by.extend(of(muted));
            inhibited_by.extend(of(inhibited));
        }
        for claim in self.claims.values() {
            if let Some(rule) = rules.get_mut(&*claim.rule) {
                rule.pending_in.alerts += claim.hits;
                rule.pending += claim.hits;
            }
        }
        let mut spaces: BTreeMap<String, SpaceReport> = BTreeMap::new();
        for (name, space) in &self.spaces {
            let report = SpaceReport {
                waiting: Lane::ALL.iter().map(|l| space.queue(*l).entries.len() as u64).sum(),
                in_flight: 0,
                dead_letters: 0,
                budget_left: space.budget.left(now.tick),
                counts: space.counts,
            };
            spaces.insert(name.to_string(), report);
        }
        for edited in self.edited.values().filter(|e| e.is_unsaid()) {
            if let Some(space) = spaces.get_mut(&*edited.space) {
                space.waiting += 1;
            }
        }
        for flight in self.flights.values() {
            if let Some(space) = spaces.get_mut(&*flight.space) {
                *(if flight.dead { &mut space.dead_letters } else { &mut space.in_flight }) += 1;
            }
        }
        let (silences, mutes) = (self.silences(now), self.mutes(now));
        Report {
            rules,
            muted_by,
            inhibited_by,
            spaces,
            silences,
            mutes,
            bytes: self.bytes().0,
            clock_odd: self.clock.odd,
            left_out: self.left_out.len() as u64,
        }
    }

    fn rule_report(&self, rid: Rid, (muted, inhibited): (u64, u64)) -> RuleReport {
        let rule = &self.rules[rid.0];
        let mut pending_in =
            PendingIn { folds: rule.fold.hits, known: rule.known.state.hits, ..PendingIn::default() };
        let (mut open_incidents, mut counting_keys) = (0, 0);
        for (_, slot) in rule.keys.unordered() {
            match &slot.state {
                KeyState::Counting(window) => {
                    counting_keys += 1;
                    pending_in.windows += window.len();
                }
                KeyState::Open(incident) => {
                    open_incidents += u64::from(incident.is_open());
                    if incident.held_by.is_none() {
                        pending_in.incidents += incident.since_last;
                    }
                }
            }
        }
        debug_assert_eq!(open_incidents, rule.open as u64, "open incidents of {}", rule.name);
        RuleReport {
            ledger: Ledger { muted, inhibited, ..rule.ledger },
            pending: pending_in.windows + pending_in.incidents + pending_in.folds + pending_in.known,
            pending_in,
            held: rule.held,
            resolves: rule.resolves,
            open_incidents,
            counting_keys,
            since: rule.pace.and_then(|p| p.since),
            last_hit: rule.last_hit,
            last_message: rule.last_message,
            loaded: rule.policy.is_some(),
        }
    }

    /// Names of saved rows that could not be understood and were left out, for the pipeline to tell.
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }
}
