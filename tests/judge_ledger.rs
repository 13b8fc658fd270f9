//! Whatever happens, and in whatever order: every hit is in exactly one term, and a restart changes nothing.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use logherald::alert::{Alert, AlertNo, Severity, What};
use logherald::hit::{Hit, RuleNo};
use logherald::judge::{
    EVERY_DAY, Expect, Input, Judge, MEMORY, MutePolicy, Notice, Novelty, Policy, Recall, Report, RuleGlob,
    RulePolicy, SilenceOrder, SpacePolicy, When, Window,
};
use logherald::message::{Fate, Message, MessageNo, RowId};
use logherald::redact::Redactor;
use logherald::state::StateRow;
use logherald::template::Template;
use logherald::time::{Now, Tick, Wall};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

const INSTALL: [u8; 16] = [7; 16];
const START: Now = Now { wall: Wall(1_795_325_160_000), tick: Tick(1_000) };

/// A policy in a few numbers, so that a failing case can be read.
#[derive(Clone, Debug)]
struct Setup {
    rules: Vec<RuleSetup>,
    /// `wait`, `wait_at_most` (seconds), `max_per_hour`, `digest_every` (seconds).
    spaces: Vec<(u64, u64, u32, u64)>,
    /// Bit n: space n has its messages edited.
    edit: u8,
    /// A mute a day: minutes from and to, of one rule or of all.
    mute: Option<(u16, u16, bool)>,
    /// Bytes that the judge may hold.
    memory: u64,
}

#[derive(Clone, Debug)]
struct RuleSetup {
    threshold: u32,
    within: u64,
    quiet: u64,
    remind: u64,
    max_per_hour: u32,
    critical: bool,
    hold: u64,
    say_end: bool,
    distinct: bool,
    top: bool,
    expect: Option<u64>,
    learn: Option<u64>,
    /// Bit n: speaks to space n.
    spaces: u8,
    /// Bit n: rule n, which stands before it, inhibits it.
    inhibited_by: u8,
}

impl Setup {
    fn policy(&self, version: u64) -> Policy {
        // an odd version has lost its last rule, one of four its last space
        let rules = self.rules.len() - usize::from(version % 2 == 1 && self.rules.len() > 1);
        let spaces = self.spaces.len() - usize::from(version % 4 == 1 && self.spaces.len() > 1);
        let name = |n: usize| -> Arc<str> { format!("space{n}").into() };
        let rule = |(n, r): (usize, &RuleSetup)| {
            let named = (0..self.spaces.len()).filter(|s| r.spaces & (1 << s) != 0).map(name);
            let mut named: Vec<Arc<str>> = named.collect();
            if named.is_empty() {
                named.push(name(0));
            }
            RulePolicy {
                name: format!("rule{n}").into(),
                fingerprint: version / 3,
                by: vec!["k".into()],
                captures: vec!["k".into(), "v".into()],
                threshold: r.threshold,
                within: if r.threshold > 1 { Duration::from_secs(r.within) } else { Duration::ZERO },
                severity: if r.critical { Severity::Critical } else { Severity::Warning },
                spaces: named,
                message: Template::parse("{hits} of {total} by {k}: {line}", &["k".into()])
                    .expect("a good template"),
                runbook: None,
                remind: Duration::from_secs(r.remind),
                quiet: Duration::from_secs(r.quiet),
                max_per_hour: r.max_per_hour,
                hold: Duration::from_secs(r.hold),
                say_end: r.say_end,
                distinct: (r.distinct && r.threshold > 1).then_some(1),
                expect: r
                    .expect
                    .map(|every| Expect { when: When::Every(Duration::from_secs(every)), keys: Vec::new() }),
                new: r
                    .learn
                    .filter(|_| r.threshold == 1 && r.expect.is_none())
                    .map(|learn| Novelty { learn: Duration::from_secs(learn), version: 1 }),
                top: if r.top { vec![1] } else { Vec::new() },
                inhibited_by: (0..n)
                    .filter(|by| r.inhibited_by & (1 << by) != 0)
                    .map(|by| format!("rule{by}").into())
                    .collect(),
            }
        };
        let space = |(n, s): (usize, &(u64, u64, u32, u64))| SpacePolicy {
            name: name(n),
            wait: Duration::from_secs(s.0),
            wait_at_most: Duration::from_secs(s.1),
            max_per_hour: s.2,
            digest_every: Duration::from_secs(s.3),
            mention: BTreeMap::new(),
            // what a reload may change
            edit: self.edit & (1 << n) != 0 && version % 5 < 3,
        };
        Policy {
            rules: self.rules.iter().take(rules).enumerate().map(rule).collect(),
            spaces: self.spaces.iter().take(spaces).enumerate().map(space).collect(),
            admin: "space0".into(),
            host: "web1".into(),
            redactor: Redactor::new(),
            late_after: Duration::from_secs(3600),
            memory: self.memory,
            alive: None,
            mutes: self.mute.iter().map(|(from, to, all)| mute(*from, *to, *all)).collect(),
        }
    }
}

fn mute(from: u16, to: u16, all: bool) -> MutePolicy {
    MutePolicy {
        name: "nightly".into(),
        when: Window { days: EVERY_DAY, from, to, tz: jiff::tz::TimeZone::UTC },
        rules: vec![RuleGlob::new(if all { "*" } else { "rule1" }).expect("a good glob")],
        even_critical: all,
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// Hits of a rule: how many, from how many keys, how old (seconds; of the future where that is negative), in the
    /// backlog.
    Hits {
        rule: usize,
        count: usize,
        keys: u8,
        old: i64,
        backlog: bool,
    },
    /// A line that the rule's `resolve` accepts; of no key: it ends all incidents.
    Resolve {
        rule: usize,
        key: Option<u8>,
        old: i64,
    },
    /// Time passes, in milliseconds.
    Wait(u64),
    /// Somebody sets the clock by so many milliseconds.
    SetClock(i64),
    /// Reading falls behind, or has caught up.
    Behind(bool),
    /// What waits in a space is told as one, because it is much or because it is old.
    Recall {
        space: usize,
        late: bool,
    },
    /// What waits in a space is told in another too.
    Detour {
        space: usize,
        to: usize,
    },
    /// The nth unsettled message meets its fate.
    Fate {
        nth: usize,
        fate: Fate,
    },
    /// All messages in flight are delivered.
    DeliverAll,
    /// What the nth edit was to edit is gone; it is said in a message of its own.
    Gone(usize),
    Reload,
    /// The agent was away for so many milliseconds.
    Restart(u64),
    Notice(u8),
    /// A rule, or all, or one key of it, is silenced for so many seconds.
    Silence {
        rule: u8,
        key: Option<u8>,
        length: u64,
    },
    /// The nth silence ends.
    Unsilence(usize),
}

fn setup() -> impl Strategy<Value = Setup> {
    let when = (1u32..4, 1u64..100, 1u64..900, 1u64..4000, 1u32..20);
    let hold = prop_oneof![2 => Just(0u64), 1 => 1u64..300];
    let flags = prop::array::uniform4(any::<bool>());
    let expect = prop::option::weighted(0.2, 1u64..3000);
    let expect = (expect, prop::option::weighted(0.4, 0u64..3000));
    let rule =
        (when, (0u8..8, 0u8..4), hold, flags, expect).prop_map(|(when, of, hold, flags, (expect, learn))| {
            let (spaces, inhibited_by) = of;
            let (threshold, within, quiet, remind, max_per_hour) = when;
            let [critical, say_end, distinct, top] = flags;
            RuleSetup {
                threshold,
                within,
                quiet,
                remind,
                max_per_hour,
                critical,
                hold,
                say_end,
                distinct,
                top,
                expect,
                learn,
                spaces,
                inhibited_by,
            }
        });
    let space = (0u64..10, 10u64..40, 1u32..30, 60u64..900);
    let mute = prop::option::of((0u16..1440, 1u16..=1440, any::<bool>()));
    let edit = prop_oneof![Just(0u8), 0u8..8];
    // with so little, keys are let go all the time
    let memory = prop_oneof![3 => Just(MEMORY), 1 => 4_000u64..100_000];
    (prop::collection::vec(rule, 1..4), prop::collection::vec(space, 1..4), mute, (edit, memory)).prop_map(
        |(rules, spaces, mute, (edit, memory))| Setup {
            rules,
            spaces,
            edit,
            memory,
            mute: mute.filter(|(from, to, _)| from != to && to - 1 != 1439 + from),
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => (0usize..4, 1usize..30, 1u8..60, 0i64..20, Just(false))
            .prop_map(|(rule, count, keys, old, backlog)| Step::Hits { rule, count, keys, old, backlog }),
        1 => (0usize..4, 1usize..30, 1u8..60, -31_536_000i64..172_800, any::<bool>())
            .prop_map(|(rule, count, keys, old, backlog)| Step::Hits { rule, count, keys, old, backlog }),
        1 => (0usize..4, 1usize..400, 1u8..60, 0i64..20, Just(false))
            .prop_map(|(rule, count, keys, old, backlog)| Step::Hits { rule, count, keys, old, backlog }),
        1 => (0usize..4, 1usize..30, 1u8..60, 0i64..20_000, Just(true))
            .prop_map(|(rule, count, keys, old, backlog)| Step::Hits { rule, count, keys, old, backlog }),
        4 => (0usize..4, prop::option::weighted(0.8, 0u8..6), 0i64..20)
            .prop_map(|(rule, key, old)| Step::Resolve { rule, key, old }),
        4 => (0u64..5_000).prop_map(Step::Wait),
        3 => (0u64..1_000_000).prop_map(Step::Wait),
        1 => (0u64..40_000_000).prop_map(Step::Wait),
        6 => (any::<usize>(), prop_oneof![
            6 => Just(Fate::Delivered), 2 => Just(Fate::DeadLettered), 1 => Just(Fate::Dropped)
        ]).prop_map(|(nth, fate)| Step::Fate { nth, fate }),
        2 => Just(Step::DeliverAll),
        1 => any::<usize>().prop_map(Step::Gone),
        1 => Just(Step::Reload),
        2 => prop_oneof![Just(0u64), 0u64..10_000_000].prop_map(Step::Restart),
        1 => (-90_000_000i64..90_000_000).prop_map(Step::SetClock),
        1 => any::<bool>().prop_map(Step::Behind),
        2 => (0usize..3, any::<bool>()).prop_map(|(space, late)| Step::Recall { space, late }),
        1 => (0usize..3, 0usize..3).prop_map(|(space, to)| Step::Detour { space, to }),
        1 => (0u8..3).prop_map(Step::Notice),
        2 => (0u8..5, prop::option::of(0u8..20), 1u64..30_000)
            .prop_map(|(rule, key, length)| Step::Silence { rule, key, length }),
        1 => any::<usize>().prop_map(Step::Unsilence),
    ]
}

/// The agent around the judge, as small as it can be: a store, an outbox, a clock.
struct World {
    setup: Setup,
    version: u64,
    judge: Judge,
    rows: BTreeMap<String, StateRow>,
    now: Now,
    /// Not settled, in the order of their numbers.
    outbox: BTreeMap<MessageNo, Message>,
    /// By space and by id: the alerts of the messages that stand there.
    heard: BTreeMap<Arc<str>, BTreeMap<RowId, Vec<Alert>>>,
    /// Messages that are made anew, and what they stand for.
    anew: BTreeMap<MessageNo, RowId>,
    seen: BTreeSet<MessageNo>,
    /// Of them those that are dead letters.
    dead: BTreeSet<MessageNo>,
    hits: u64,
    /// What a space had heard, and somebody deleted there, was said anew as part of a digest: no sum over what was heard
    /// tells the two apart.
    told_twice: bool,
    /// All that was written has been read.
    caught_up: bool,
    file_no: u64,
    /// When messages left, by space: to see that the budget holds.
    sent: Vec<(Arc<str>, u64)>,
}

impl World {
    fn new(setup: Setup) -> World {
        let (judge, first) = Judge::new(setup.policy(0), Vec::new(), INSTALL, START);
        assert!(first.is_empty());
        let mut world = World {
            setup,
            version: 0,
            judge,
            rows: BTreeMap::new(),
            now: START,
            outbox: BTreeMap::new(),
            heard: BTreeMap::new(),
            anew: BTreeMap::new(),
            seen: BTreeSet::new(),
            dead: BTreeSet::new(),
            hits: 0,
            told_twice: false,
            caught_up: true,
            file_no: 1,
            sent: Vec::new(),
        };
        world.save();
        world
    }

    fn apply(&mut self, input: Input) {
        let messages = self.judge.apply(input, self.now);
        self.take(messages);
    }

    fn take(&mut self, messages: Vec<Message>) {
        for m in messages {
            assert!(self.seen.insert(m.no), "message {:?} twice", m.no);
            assert!(!m.alerts.is_empty() && m.alerts.len() <= 20, "{} alerts", m.alerts.len());
            assert_eq!(m.severity, m.alerts.iter().map(|a| a.severity).max().unwrap_or_default());
            match &m.edits {
                // an edit takes the place of the one that waits for the same message
                Some(_) => self.outbox.retain(|_, other| other.edits != m.edits || other.space != m.space),
                None => self.sent.push((Arc::clone(&m.space), self.now.tick.0)),
            }
            self.outbox.insert(m.no, m);
        }
        self.save();
        self.check();
    }

    fn save(&mut self) {
        for row in self.judge.changes() {
            match row.value {
                Some(_) => _ = self.rows.insert(row.name.clone(), row),
                None => _ = self.rows.remove(&row.name),
            }
        }
    }

    fn saved(&self) -> Vec<StateRow> {
        self.rows.values().cloned().collect()
    }

    fn check(&self) -> Report {
        let report = self.judge.report(self.now);
        for (name, rule) in &report.rules {
            let sum = rule.ledger.settled() + rule.pending;
            assert_eq!(rule.ledger.hits, sum, "{name}: {rule:?}");
        }
        assert_eq!(report.rules.values().map(|r| r.ledger.hits).sum::<u64>(), self.hits);
        report
    }

    /// What the judge is told when a message meets its fate, and what the world remembers of it.
    fn fate(&mut self, no: MessageNo, fate: Fate) -> Vec<Input> {
        let Some(m) = self.outbox.get(&no) else { return Vec::new() };
        let mut inputs = Vec::new();
        if fate == Fate::Delivered {
            let there = self.heard.entry(Arc::clone(&m.space)).or_default();
            if let Some(gone) = self.anew.remove(&no) {
                there.remove(&gone);
            }
            let stands = m.edits.clone().unwrap_or_else(|| id(no));
            there.insert(stands, m.alerts.clone());
            inputs.push(Input::Stands { message: no, row: Some(id(no)) });
        }
        if fate == Fate::DeadLettered {
            self.dead.insert(no);
        } else {
            self.outbox.remove(&no);
            self.dead.remove(&no);
        }
        inputs.push(Input::Fate { message: no, fate });
        inputs
    }

    fn deliver_all(&mut self) {
        for no in self.outbox.keys().copied().collect::<Vec<_>>() {
            for input in self.fate(no, Fate::Delivered) {
                self.apply(input);
            }
        }
    }

    /// Messages of a space that wait and may still change: neither dead letters nor edits.
    fn waiting(&self, space: usize) -> Vec<Arc<Message>> {
        let space = format!("space{space}");
        let waits = |m: &&Message| *m.space == *space && m.edits.is_none() && !self.dead.contains(&m.no);
        self.outbox.values().filter(waits).cloned().map(Arc::new).collect()
    }

    fn wait(&mut self, ms: u64) {
        self.now = self.now.plus(Duration::from_millis(ms));
        self.apply(self.turn());
    }

    /// What comes of its own accord.
    fn turn(&self) -> Input {
        if self.caught_up { Input::Watched { up_to: self.now.tick } } else { Input::Timer }
    }

    fn hits(&self, rule: usize, count: usize, keys: u8, old: i64, backlog: bool) -> Vec<Hit> {
        let hit = |n: usize| {
            let key = format!("k{}", n % usize::from(keys));
            Hit {
                rule: RuleNo((rule % self.judge_rules()) as u32),
                resolves: None,
                key: Box::new([key.as_str().into()]),
                captures: [Some(key.as_str().into()), (n % 7 != 6).then(|| format!("v{}", n % 4).into())]
                    .into(),
                stamp: (n % 5 != 4).then(|| Wall(self.now.wall.0 - old * 1000)),
                read: self.now,
                line: format!("line {n} of {key}").into(),
                file: "/var/log/x.log".into(),
                file_no: self.file_no,
                backlog,
                context: None,
            }
        };
        (0..count).map(hit).collect()
    }

    fn resolve(&self, rule: usize, key: Option<u8>, old: i64) -> Vec<Hit> {
        let mut hit = self.hits(rule, 1, 1, old, false).remove(0);
        hit.resolves = Some(u8::from(key.is_some()));
        hit.key = Box::new([key.map_or_else(Box::default, |k| format!("k{k}").into())]);
        hit.captures = [].into();
        vec![hit]
    }

    /// What the judge is given in a step.
    fn inputs(&mut self, step: &Step) -> Vec<Input> {
        match step {
            Step::Hits { rule, count, keys, old, backlog } => {
                let hits = self.hits(*rule, *count, *keys, *old, *backlog);
                self.hits += hits.len() as u64;
                vec![Input::Hits(hits.into())]
            }
            Step::Resolve { rule, key, old } => vec![Input::Hits(self.resolve(*rule, *key, *old).into())],
            Step::Wait(ms) => {
                self.now = self.now.plus(Duration::from_millis(*ms));
                vec![self.turn()]
            }
            Step::SetClock(ms) => {
                self.now.wall = Wall(self.now.wall.0 + ms);
                vec![self.turn()]
            }
            Step::Behind(behind) => {
                self.caught_up = !behind;
                vec![self.turn()]
            }
            Step::Fate { nth, fate } => {
                let no = self.outbox.keys().nth(nth % self.outbox.len().max(1)).copied();
                no.map(|no| self.fate(no, *fate)).unwrap_or_default()
            }
            Step::Recall { space, late } => {
                let messages = self.waiting(*space);
                self.outbox.retain(|no, _| !messages.iter().any(|m| m.no == *no));
                self.told_twice |= messages.iter().any(|m| self.anew.contains_key(&m.no));
                let why = if *late { Recall::Late } else { Recall::Crowded };
                vec![Input::Recall { messages, why }]
            }
            Step::Detour { space, to } if space != to => {
                let messages = self.waiting(*space);
                vec![Input::Detour { messages, to: format!("space{to}").into() }]
            }
            Step::Gone(nth) => {
                let edits: Vec<MessageNo> =
                    self.outbox.values().filter(|m| m.edits.is_some()).map(|m| m.no).collect();
                let Some(no) = edits.get(nth % edits.len().max(1)) else { return Vec::new() };
                let Some(m) = self.outbox.get_mut(no) else { return Vec::new() };
                self.anew.extend(m.edits.take().map(|gone| (*no, gone)));
                vec![Input::Stands { message: *no, row: None }]
            }
            Step::Reload => {
                self.version += 1;
                vec![Input::Policy(Box::new(self.setup.policy(self.version)))]
            }
            Step::Notice(n) => vec![Input::Notice(Notice {
                about: format!("gap{n}"),
                severity: Severity::Error,
                text: "bytes were lost".into(),
                hint: None,
                space: None,
            })],
            Step::Silence { rule, key, length } => {
                let order = SilenceOrder {
                    rule: if *rule == 4 { "rule*".into() } else { format!("rule{rule}") },
                    key: key.iter().map(|k| ("k".to_owned(), format!("k{k}"))).collect(),
                    length: Duration::from_secs(*length),
                    author: "ana".into(),
                    why: "quiet".into(),
                };
                vec![Input::Silence(Box::new(order))]
            }
            Step::Unsilence(nth) => {
                let ids: Vec<String> = self.judge.silences(self.now).into_iter().map(|s| s.id).collect();
                let id = ids.get(nth % ids.len().max(1)).cloned();
                id.map(Input::Unsilence).into_iter().collect()
            }
            Step::DeliverAll | Step::Restart(_) | Step::Detour { .. } => Vec::new(),
        }
    }

    fn judge_rules(&self) -> usize {
        self.setup.policy(self.version).rules.len()
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::DeliverAll => self.deliver_all(),
            Step::Restart(ms) => {
                let from = self.now.tick;
                self.now = self.now.plus(Duration::from_millis(*ms));
                let policy = self.setup.policy(self.version);
                let (judge, messages) = Judge::new(policy, self.saved(), INSTALL, self.now);
                assert!(judge.left_out().is_empty(), "{:?}", judge.left_out());
                self.judge = judge;
                self.file_no += 1;
                self.take(messages);
                self.apply(Input::Away { from });
            }
            _ => {
                for input in self.inputs(step) {
                    self.apply(input);
                }
            }
        }
    }

    /// Delivers, and lets time run, until nothing is left to say.
    fn run_out(&mut self) {
        self.caught_up = true;
        for _ in 0..20_000 {
            while !self.outbox.is_empty() {
                self.deliver_all();
            }
            // a mute comes again every day, for ever
            let Some(due) = self.judge.due().filter(|_| self.setup.mute.is_none() || !self.is_quiet()) else {
                return;
            };
            let ms = due.0.saturating_sub(self.now.tick.0);
            self.wait(ms);
        }
        panic!("still something to say: {:?}", self.judge.report(self.now));
    }

    /// Nothing is held, waits or is open.
    fn is_quiet(&self) -> bool {
        let report = self.judge.report(self.now);
        report.rules.values().all(|r| r.pending + r.ledger.muted + r.ledger.inhibited + r.open_incidents == 0)
            && report.spaces.values().all(|s| s.waiting + s.in_flight == 0)
    }

    /// Hits that a space has heard of.
    fn heard_by(&self, space: &str) -> u64 {
        self.heard.get(space).map_or(0, |all| all.values().flatten().map(|a| a.hits).sum())
    }

    /// No hour saw more messages than a space's number and burst, critical's reserve aside.
    fn check_budget(&self) {
        for (n, (_, _, per_hour, _)) in self.setup.spaces.iter().enumerate() {
            let most = per_hour + (per_hour / 6).max(1) + 20 + 3;
            let times: Vec<u64> =
                self.sent.iter().filter(|(s, _)| **s == *format!("space{n}")).map(|(_, t)| *t).collect();
            for (i, t) in times.iter().enumerate() {
                let hour = times[i..].iter().take_while(|u| **u < t + 3_600_000).count();
                assert!(hour <= most as usize, "space{n}: {hour} messages in an hour, {per_hour} allowed");
            }
        }
    }
}

/// The id of a message's row.
fn id(no: MessageNo) -> RowId {
    RowId(format!("{:032x}", no.0).into())
}

/// All that is not the weight of what is held, which a restart may lessen.
fn books(judge: &Judge, now: Now) -> Report {
    Report { bytes: 0, ..judge.report(now) }
}

/// Some hundred hits each.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(128)
}

fn assert_balanced(world: &World) {
    for (name, rule) in world.judge.report(world.now).rules {
        assert_eq!(rule.ledger.hits, rule.ledger.settled() + rule.pending, "{name}: {rule:?}");
    }
}

/// One of the numbers in a row's JSON becomes another.
fn with_number(json: &str, which: prop::sample::Index, number: u64) -> String {
    let digit = |i: usize| json.as_bytes().get(i).is_some_and(u8::is_ascii_digit);
    let starts: Vec<usize> = (0..json.len()).filter(|i| digit(*i) && (*i == 0 || !digit(i - 1))).collect();
    if starts.is_empty() {
        return json.to_owned();
    }
    let start = *which.get(&starts);
    let end = (start..json.len()).find(|i| !digit(*i)).unwrap_or(json.len());
    format!("{}{number}{}", &json[..start], &json[end..])
}

/// A saved distance of reminders was doubled beyond what a duration can be.
#[test]
fn a_state_that_reminds_once_in_an_eternity_does_not_stop_the_judge() {
    let rule = RuleSetup {
        threshold: 1,
        within: 1,
        quiet: 7200,
        remind: 60,
        max_per_hour: 60,
        critical: false,
        hold: 0,
        say_end: false,
        distinct: false,
        top: false,
        expect: None,
        learn: None,
        spaces: 1,
        inhibited_by: 0,
    };
    let mut world = World::new(Setup {
        rules: vec![rule],
        spaces: vec![(0, 1, 60, 60)],
        edit: 0,
        mute: None,
        memory: MEMORY,
    });
    let hits = |count| Step::Hits { rule: 0, count, keys: 1, old: 0, backlog: false };
    world.step(&hits(1));
    world.deliver_all();
    world.step(&hits(3));
    let rows = world.saved().into_iter().map(|mut row| {
        row.value = row.value.map(|v| {
            v.replace("\"remind_every\":{\"secs\":60", &format!("\"remind_every\":{{\"secs\":{}", u64::MAX))
        });
        row
    });
    let rows: Vec<StateRow> = rows.collect();
    assert!(rows.iter().any(|r| r.value.as_ref().is_some_and(|v| v.contains("18446744073709551615"))));
    world.judge = Judge::new(world.setup.policy(0), rows, INSTALL, world.now).0;
    world.wait(60_000);
    assert_eq!(world.outbox.len(), 1, "the reminder");
}

/// The identity holds after every step; when all is delivered and nothing is due, nothing is pending, and what is
/// shown and told is what the spaces heard. Returns how many hits were made.
fn plays_out(setup: Setup, steps: &[Step]) -> Result<u64, TestCaseError> {
    // a space that comes and goes loses its limits with its state: its budget is judged in the test below
    let reloads = steps.iter().any(|s| matches!(s, Step::Reload));
    let mut world = World::new(setup);
    for s in steps {
        world.step(s);
    }
    world.run_out();
    let report = world.check();
    let mut accounted = 0;
    for (name, rule) in &report.rules {
        prop_assert_eq!(rule.pending + rule.ledger.muted + rule.ledger.inhibited, 0, "{}: {:?}", name, rule);
        prop_assert_eq!(rule.open_incidents, 0);
        accounted += rule.ledger.shown + rule.ledger.told;
    }
    let spaces: Vec<&str> = world.heard.keys().map(|s| &**s).collect();
    let heard: Vec<u64> = spaces.iter().map(|s| world.heard_by(s)).collect();
    if world.told_twice {
        return Ok(world.hits);
    }
    // each hit was heard by somebody, and by each at most once; with one space that is equality
    let detours = steps.iter().any(|s| matches!(s, Step::Detour { .. }));
    // one that stands in for another may have heard it already as what it is, and so may the admin space, to which a space
    // that leaves the file hands alerts that were merged: all of one, unless all of it is known there
    let handed_on = reloads && world.setup.spaces.len() > 1;
    prop_assert!(
        detours || handed_on || heard.iter().all(|h| *h <= accounted),
        "{:?} heard, {} accounted",
        heard,
        accounted
    );
    prop_assert!(heard.iter().sum::<u64>() >= accounted, "{:?} heard, {} accounted", heard, accounted);
    if world.setup.spaces.len() == 1 {
        prop_assert_eq!(heard.iter().sum::<u64>(), accounted);
    }
    // what stands in for messages that were sent is no more than they were, and counted beside them
    let again = steps.iter().any(|s| matches!(s, Step::Recall { .. } | Step::Detour { .. }));
    if !reloads && !again {
        world.check_budget();
    }
    Ok(world.hits)
}

/// So many hits at least go through the judge; `.ci/long` asks for a million.
fn least_hits() -> u64 {
    std::env::var("LOGHERALD_LEDGER_HITS").ok().and_then(|n| n.parse().ok()).unwrap_or(100_000)
}

#[test]
fn every_hit_is_in_exactly_one_term() {
    let (made, played) = (Cell::new(0), Cell::new(0u64));
    let config = ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() };
    let story = (setup(), prop::collection::vec(step(), 1..60));
    while made.get() < least_hits() {
        // a runner plays its stories once
        let mut runner = TestRunner::new(config.clone());
        let run = runner.run(&story, |(setup, steps)| {
            made.set(made.get() + plays_out(setup, &steps)?);
            played.set(played.get() + 1);
            Ok(())
        });
        run.unwrap_or_else(|e| panic!("{e}\n{runner}"));
    }
    println!("measured: the ledger balances: {} hits in {} stories", made.get(), played.get());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    /// The same, with alerts told apart by their number: where no message was merged, the numbers add up over spaces.
    #[test]
    fn alerts_add_up_over_spaces(setup in setup(), steps in prop::collection::vec(step(), 1..60)) {
        let mut setup = setup;
        // with room for everything there is no digest; and no "while away", no queue to move
        setup.spaces.iter_mut().for_each(|s| s.2 = 100_000);
        setup.rules.iter_mut().for_each(|r| r.max_per_hour = r.max_per_hour.min(3));
        // an edit counts on under its opening's number
        (setup.edit, setup.memory) = (0, MEMORY);
        let steps = steps.into_iter().filter(|s| {
            let merges = matches!(s, Step::Recall { .. } | Step::Detour { .. });
            !merges && !matches!(s, Step::Hits { backlog: true, .. } | Step::Reload)
        });
        let mut world = World::new(setup);
        steps.for_each(|s| world.step(&s));
        world.run_out();
        let report = world.check();
        let mut by_no: BTreeMap<AlertNo, u64> = BTreeMap::new();
        let heard = || world.heard.values().flat_map(BTreeMap::values).flatten();
        for alert in heard() {
            prop_assert!(!matches!(alert.what, What::Digest | What::WhileAway));
            by_no.insert(alert.no, alert.hits);
        }
        // a message of more than twenty alerts ends in a merged one; then only the test above can count
        let merged = heard().any(|a| &*a.rule == "more alerts");
        let many = |all: &BTreeMap<RowId, Vec<Alert>>| all.values().flatten().count() >= 20;
        let full = world.heard.values().any(many) && world.setup.spaces.len() > 1;
        if !merged && !full {
            let accounted: u64 = report.rules.values().map(|r| r.ledger.shown + r.ledger.told).sum();
            prop_assert_eq!(by_no.values().sum::<u64>(), accounted);
        }
    }

    /// A judge put back from its rows says, from then on, what the one that went on says.
    #[test]
    fn a_restart_changes_nothing(
        setup in setup(),
        before in prop::collection::vec(step(), 1..40),
        away in 0u64..2_000_000,
        after in prop::collection::vec(step(), 1..30),
    ) {
        // A new run has read nothing yet, so it judges what is missing later than one that went on: told as stories.
        let mut setup = setup;
        setup.rules.iter_mut().for_each(|r| r.expect = None);
        // and it holds less
        setup.memory = MEMORY;
        let mut world = World::new(setup);
        for s in &before {
            world.step(s);
        }
        let rows = world.saved();
        world.now = world.now.plus(Duration::from_millis(away));
        let policy = world.setup.policy(world.version);
        let (mut other, first) = Judge::new(policy, rows, INSTALL, world.now);
        let same = world.judge.apply(Input::Timer, world.now);
        prop_assert_eq!(&first, &same);
        prop_assert_eq!(books(&world.judge, world.now), books(&other, world.now));
        world.take(same);
        world.file_no += 1;
        for step in &after {
            for input in world.inputs(step) {
                let messages = world.judge.apply(input.clone(), world.now);
                prop_assert_eq!(&messages, &other.apply(input, world.now));
                world.take(messages);
            }
            prop_assert_eq!(books(&world.judge, world.now), books(&other, world.now));
        }
    }

    /// Rows that are torn, lost or foreign are left out one by one; the books balance all the same.
    #[test]
    fn a_damaged_state_never_panics(
        setup in setup(),
        steps in prop::collection::vec(step(), 1..40),
        harm in prop::collection::vec((any::<prop::sample::Index>(), 0u8..3), 1..6),
    ) {
        let mut world = World::new(setup);
        for s in &steps {
            world.step(s);
        }
        let mut rows = world.saved();
        prop_assume!(!rows.is_empty());
        for (index, how) in harm {
            let row = index.get(&rows).clone();
            let value = row.value.unwrap_or_default();
            let value = match how {
                0 => value[..value.len() / 2].to_owned(),
                1 => "[]".to_owned(),
                _ => value.replace(':', ";"),
            };
            let at = index.index(rows.len());
            rows[at].value = Some(value);
        }
        let policy = world.setup.policy(world.version);
        let (mut judge, _) = Judge::new(policy, rows, INSTALL, world.now);
        prop_assert!(!judge.left_out().is_empty());
        judge.apply(Input::Hits(world.hits(0, 20, 7, 0, false).into()), world.now);
        for (name, rule) in judge.report(world.now).rules {
            prop_assert_eq!(rule.ledger.hits, rule.ledger.settled() + rule.pending, "{}: {:?}", name, rule);
        }
    }

    /// A row that is gone takes its hits along, and one may count whatever it likes: nothing panics, and the books
    /// balance at once and ever after.
    #[test]
    fn rows_that_are_gone_or_lie_leave_the_books_balanced(
        setup in setup(),
        steps in prop::collection::vec(step(), 1..40),
        harm in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0u8..6), 1..6),
        after in prop::collection::vec(step(), 1..20),
    ) {
        let mut world = World::new(setup);
        for s in &steps {
            world.step(s);
        }
        let mut rows = world.saved();
        for (index, digit, how) in harm {
            prop_assume!(!rows.is_empty());
            let at = index.index(rows.len());
            let number = match how {
                0 => {
                    rows.remove(at);
                    continue;
                }
                1 => 0,
                2 => 99,
                3 => 1 << 48,
                4 => (1 << 48) + 1,
                _ => u64::MAX,
            };
            let value = rows[at].value.take().unwrap_or_default();
            rows[at].value = Some(with_number(&value, digit, number));
        }
        let policy = world.setup.policy(world.version);
        let (judge, _) = Judge::new(policy, rows, INSTALL, world.now);
        world.judge = judge;
        assert_balanced(&world);
        for step in &after {
            for input in world.inputs(step) {
                world.judge.apply(input, world.now);
            }
            if let Step::Fate { nth, fate } = step {
                    let message = MessageNo(*nth as u64 % 50);
                    world.judge.apply(Input::Fate { message, fate: *fate }, world.now);
            }
            assert_balanced(&world);
        }
    }
}

/// Somebody sets the clock back while a mute is to come: it comes by the new time, and until then there is nothing to do.
#[test]
fn a_clock_that_is_set_back_leaves_nothing_that_is_due_for_ever() {
    let mute = Some((974, 975, false));
    let mut world =
        World::new(Setup { rules: Vec::new(), spaces: vec![(0, 10, 1, 60)], edit: 0, mute, memory: MEMORY });
    let hour = 3_600_000;
    for step in [Step::Wait(1), Step::SetClock(-5 * hour), Step::Wait(20 * hour as u64)] {
        world.step(&step);
    }
    for _ in 0..50 {
        let due = world.judge.due().expect("the mute comes again every day");
        assert!(due > world.now.tick, "{due:?} at {:?}", world.now);
        world.wait(due.since(world.now.tick).as_millis() as u64);
    }
}
