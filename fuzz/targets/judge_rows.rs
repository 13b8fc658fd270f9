//! Any rows as the judge's saved state, then inputs: no panic, and every hit in exactly one term of the ledger.
//!
//! A short story makes true rows; the input then edits them, takes some away and adds its own. Only a broken disk or
//! another hand does that, and then the books still balance.

#![no_main]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use logherald::alert::Severity;
use logherald::hit::{Hit, RuleNo};
use logherald::judge::{Input, Judge, Notice, Policy, RulePolicy, SpacePolicy};
use logherald::message::{Fate, Message, MessageNo, RowId};
use logherald::redact::Redactor;
use logherald::state::StateRow;
use logherald::template::Template;
use logherald::time::{Now, Tick, Wall};

const INSTALL: [u8; 16] = [7; 16];
const START: Now = Now { wall: Wall(1_795_325_160_000), tick: Tick(1_000_000) };

#[derive(Arbitrary, Debug)]
struct Story<'a> {
    /// Bits: how many rules and spaces there are, and how tight their limits.
    shape: u8,
    before: Vec<Act>,
    harm: Vec<Harm<'a>>,
    after: Vec<Act>,
}

#[derive(Arbitrary, Debug)]
enum Act {
    Hits { rule: u8, count: u8, keys: u8, old: u16, backlog: bool },
    Wait(u32),
    Fate { nth: u8, fate: u8 },
    Reload(u8),
    Notice(u8),
}

#[derive(Arbitrary, Debug)]
enum Harm<'a> {
    /// The nth row is taken away.
    Lose(u8),
    /// A number in the nth row becomes another.
    Number { row: u8, at: u8, to: u64 },
    /// The nth row's text is cut, or continued.
    Tear { row: u8, at: u8, with: &'a str },
    /// A row that nobody wrote.
    Add { name: &'a str, value: &'a str },
    /// The nth row is there again under another name.
    Twice { row: u8, as_part: u8 },
}

fn policy(shape: u8) -> Policy {
    let name = |n: u8| -> Arc<str> { format!("space{n}").into() };
    let tight = shape & 0x80 != 0;
    let rule = |n: u8| RulePolicy {
        name: format!("rule{n}").into(),
        fingerprint: u64::from(shape >> 5 & 1),
        by: vec!["k".into()],
        captures: vec!["k".into()],
        threshold: 1 + u32::from(n),
        within: Duration::from_secs(60 * u64::from(n)),
        severity: Severity::ALL[usize::from(n) % 4],
        spaces: (0..=n % 3).map(name).collect(),
        message: Template::parse("{hits} of {total} by {k}: {line}", &["k".into()]).expect("a good template"),
        runbook: None,
        remind: Duration::from_secs(30),
        quiet: Duration::from_secs(90),
        max_per_hour: if tight { 2 } else { 30 },
        inhibited_by: (0..n % 2).map(|by| format!("rule{by}").into()).collect(),
        hold: Duration::ZERO,
        say_end: shape & 0x40 != 0,
        distinct: None,
        new: None,
        expect: None,
        top: Vec::new(),
    };
    let space = |n: u8| SpacePolicy {
        name: name(n),
        wait: Duration::from_secs(u64::from(n)),
        wait_at_most: Duration::from_secs(10),
        max_per_hour: if tight { 2 } else { 60 },
        digest_every: Duration::from_secs(60),
        mention: Default::default(),
        edit: shape & 0x10 != 0,
    };
    Policy {
        rules: (0..1 + (shape & 3)).map(rule).collect(),
        spaces: (0..1 + (shape >> 2 & 3)).map(space).collect(),
        admin: "space0".into(),
        host: "web1".into(),
        redactor: Redactor::new(),
        late_after: Duration::from_secs(3600),
        memory: logherald::judge::MEMORY,
        alive: None,
        mutes: Vec::new(),
    }
}

struct World {
    judge: Judge,
    now: Now,
    rows: BTreeMap<String, String>,
    outbox: Vec<MessageNo>,
}

impl World {
    fn new(shape: u8, rows: BTreeMap<String, String>, now: Now, outbox: Vec<MessageNo>) -> World {
        let saved = rows.iter().map(|(n, v)| StateRow { name: n.clone(), value: Some(v.clone()) }).collect();
        let (judge, messages) = Judge::new(policy(shape), saved, INSTALL, now);
        let mut world = World { judge, now, rows, outbox };
        world.take(&messages);
        world
    }

    fn take(&mut self, messages: &[Message]) {
        for message in messages {
            assert!(!message.alerts.is_empty());
            self.outbox.push(message.no);
        }
        for row in self.judge.changes() {
            match row.value {
                Some(value) => _ = self.rows.insert(row.name, value),
                None => _ = self.rows.remove(&row.name),
            }
        }
        for (name, rule) in self.judge.report(self.now).rules {
            let sum = u128::from(rule.ledger.settled()) + u128::from(rule.pending);
            assert_eq!(u128::from(rule.ledger.hits), sum, "{name}: {rule:?}");
        }
    }

    fn apply(&mut self, input: Input) {
        let messages = self.judge.apply(input, self.now);
        self.take(&messages);
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Hits { rule, count, keys, old, backlog } => {
                let hit = |n: u8| {
                    let key: Box<str> = format!("k{}", n % (keys % 8 + 1)).into();
                    Hit {
                        rule: RuleNo(u32::from(rule % 4)),
                        resolves: None,
                        key: Box::new([key.clone()]),
                        captures: [Some(key)].into(),
                        stamp: Some(self.now.wall - Duration::from_secs(u64::from(*old))),
                        read: self.now,
                        line: format!("line {n}").into(),
                        file: "/var/log/x.log".into(),
                        file_no: 1,
                        backlog: *backlog,
                        context: None,
                    }
                };
                let hits = (0..count % 16).map(hit).collect();
                self.apply(Input::Hits(hits));
            }
            Act::Wait(ms) => {
                self.now = self.now.plus(Duration::from_millis(u64::from(*ms >> 4)));
                self.apply(Input::Timer);
            }
            Act::Fate { nth, fate } => {
                let fate = [Fate::Delivered, Fate::DeadLettered, Fate::Dropped][usize::from(fate % 3)];
                let unknown = MessageNo(u64::from(*nth));
                let message = self.outbox.get(usize::from(*nth)).copied().unwrap_or(unknown);
                let stands = fate == Fate::Delivered || nth % 7 == 6;
                let row = (nth % 5 != 4).then(|| RowId(format!("{:032x}", message.0).into()));
                if stands {
                    self.apply(Input::Stands { message, row });
                }
                self.apply(Input::Fate { message, fate });
            }
            Act::Reload(shape) => self.apply(Input::Policy(Box::new(policy(*shape)))),
            Act::Notice(n) => self.apply(Input::Notice(Notice {
                about: format!("gap{}", n % 3),
                severity: Severity::Error,
                text: format!("{n} bytes were lost"),
                hint: None,
                space: None,
            })),
        }
    }

    /// Edits the rows as a broken disk would.
    fn harm(&mut self, harm: &Harm<'_>) {
        let nth = |rows: &BTreeMap<String, String>, n: u8| {
            rows.iter().nth(usize::from(n) % rows.len().max(1)).map(|(n, v)| (n.clone(), v.clone()))
        };
        match harm {
            Harm::Lose(n) => {
                if let Some((name, _)) = nth(&self.rows, *n) {
                    self.rows.remove(&name);
                }
            }
            Harm::Number { row, at, to } => {
                let Some((name, value)) = nth(&self.rows, *row) else { return };
                let is_digit = |c: char| c.is_ascii_digit();
                let starts: Vec<usize> = value
                    .match_indices(is_digit)
                    .map(|(i, _)| i)
                    .filter(|i| !value[..*i].ends_with(is_digit))
                    .collect();
                let Some(start) = starts.get(usize::from(*at) % starts.len().max(1)) else { return };
                let end = value[*start..].find(|c| !is_digit(c)).map_or(value.len(), |n| start + n);
                self.rows.insert(name, format!("{}{to}{}", &value[..*start], &value[end..]));
            }
            Harm::Tear { row, at, with } => {
                let Some((name, value)) = nth(&self.rows, *row) else { return };
                let at = value.floor_char_boundary(usize::from(*at) % (value.len() + 1));
                self.rows.insert(name, format!("{}{with}", &value[..at]));
            }
            Harm::Add { name, value } => _ = self.rows.insert(format!("judge/{name}"), (*value).to_owned()),
            Harm::Twice { row, as_part } => {
                let Some((name, value)) = nth(&self.rows, *row) else { return };
                let parts = ["rule", "key", "space", "wait", "claim", "flight", "notice", "head"];
                let part = name.split('/').nth(1).unwrap_or_default().to_owned();
                let part = if as_part & 0x80 == 0 { part.as_str() } else { parts[usize::from(as_part % 8)] };
                self.rows.insert(format!("judge/{part}/again"), value);
            }
        }
    }
}

fuzz_target!(|story: Story<'_>| {
    let mut world = World::new(story.shape, BTreeMap::new(), START, Vec::new());
    story.before.iter().take(32).for_each(|act| world.act(act));
    story.harm.iter().take(8).for_each(|harm| world.harm(harm));
    let World { now, rows, outbox, .. } = world;
    let mut world = World::new(story.shape, rows, now, outbox);
    story.after.iter().take(32).for_each(|act| world.act(act));
    // and once more from what it then kept
    let World { now, rows, outbox, .. } = world;
    World::new(story.shape, rows, now, outbox);
});
