//! Does the judge stay within its budget, whatever the keys, and does whoever fills it change nothing but counts?

use std::sync::Arc;
use std::time::Duration;

use logherald::hit::{Context, Hit, RuleNo};
use logherald::judge::{Expect, Input, Judge, Novelty, Policy, RulePolicy, SilenceOrder, SpacePolicy, When};
use logherald::message::{Fate, Message, MessageNo};
use logherald::redact::Redactor;
use logherald::state::StateRow;
use logherald::template::Template;
use logherald::time::{Now, Tick, Wall};

const START: Now = Now { wall: Wall(1_795_325_160_000), tick: Tick(50_000) };
const BUDGET: u64 = 1 << 20;

fn rule(name: &str) -> RulePolicy {
    RulePolicy {
        fingerprint: 1,
        by: vec!["k".into()],
        captures: vec!["k".into()],
        spaces: vec!["ops".into()],
        message: Template::parse("{hits} of {k}", &["k".into()]).expect("a good template"),
        ..RulePolicy::named(name)
    }
}

fn policy(rules: &[RulePolicy]) -> Policy {
    let ops: Arc<str> = "ops".into();
    let space = SpacePolicy {
        name: ops.clone(),
        wait: Duration::ZERO,
        wait_at_most: Duration::from_secs(30),
        max_per_hour: 3600,
        digest_every: Duration::from_secs(600),
        mention: std::collections::BTreeMap::new(),
        edit: false,
    };
    Policy {
        rules: rules.to_vec(),
        spaces: vec![space],
        admin: ops,
        host: "web1".into(),
        redactor: Redactor::new(),
        late_after: Duration::from_secs(3600),
        memory: BUDGET,
        alive: None,
        mutes: Vec::new(),
    }
}

/// A judge, its clock, and what it said.
struct Desk {
    judge: Judge,
    now: Now,
    said: Vec<Message>,
    /// The most that it held.
    most: u64,
    chat_is_down: bool,
    /// Messages that Chat has not answered.
    waiting: Vec<MessageNo>,
}

impl Desk {
    fn new(rules: &[RulePolicy]) -> Desk {
        let judge = Judge::new(policy(rules), Vec::new(), [3; 16], START).0;
        Desk { judge, now: START, said: Vec::new(), most: 0, chat_is_down: false, waiting: Vec::new() }
    }

    fn apply(&mut self, input: Input) {
        let said = self.judge.apply(input, self.now);
        self.most = self.most.max(self.judge.bytes().0);
        for message in said {
            self.waiting.push(message.no);
            self.said.push(message);
        }
        if !self.chat_is_down {
            self.answer();
        }
    }

    /// Chat takes what waits, one after the other.
    fn answer(&mut self) {
        for message in std::mem::take(&mut self.waiting) {
            self.apply(Input::Fate { message, fate: Fate::Delivered });
        }
    }

    fn hit(&mut self, rule: u32, key: &str, line: &str) {
        self.apply(Input::Hits(vec![self.make(rule, key, line)].into()));
    }

    fn make(&self, rule: u32, key: &str, line: &str) -> Hit {
        Hit {
            rule: RuleNo(rule),
            resolves: None,
            key: Box::new([key.into()]),
            captures: [Some(key.into())].into(),
            stamp: Some(self.now.wall),
            read: self.now,
            line: line.into(),
            file: "/var/log/x.log".into(),
            file_no: 1,
            backlog: false,
            context: None,
        }
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now.plus(time);
        while let Some(due) = self.judge.due().filter(|due| *due <= end.tick) {
            self.now = self.now.plus(due.since(self.now.tick));
            self.apply(Input::Watched { up_to: self.now.tick });
        }
        self.now = self.now.plus(end.tick.since(self.now.tick));
    }

    fn balances(&self) {
        for (name, rule) in self.judge.report(self.now).rules {
            assert_eq!(rule.ledger.hits, rule.ledger.settled() + rule.pending, "{name}: {rule:?}");
        }
    }

    /// What it said of one rule: when, and what.
    fn of(&self, rule: &str) -> Vec<(Wall, String, u64)> {
        let alerts = self.said.iter().flat_map(|m| m.alerts.iter().map(|a| (m.at, a)));
        alerts.filter(|(_, a)| &*a.rule == rule).map(|(at, a)| (at, a.text.clone(), a.hits)).collect()
    }
}

/// Windows, incidents and lines of every length: what is held stays within the budget at every instant.
#[test]
fn keys_without_end_stay_within_the_budget() {
    let long = "x".repeat(1900);
    for (threshold, line) in [(1, "short"), (1, long.as_str()), (50, "short"), (50, long.as_str())] {
        let within = Duration::from_secs(600);
        let mut desk = Desk::new(&[RulePolicy { threshold, within, ..rule("flood") }]);
        for n in 0..8_000 {
            desk.hit(0, &format!("key {n}"), line);
            if n % 1000 == 0 {
                desk.balances();
                desk.judge.changes();
                desk.wait(Duration::from_secs(1));
            }
        }
        let held = desk.judge.report(desk.now).rules["flood"].held;
        assert!(held.evicted > 5_000, "{held:?}");
        // what is beside keys was last counted a second before
        assert!(desk.most <= BUDGET + BUDGET / 10, "{} bytes", desk.most);
        assert!(desk.most >= BUDGET * 3 / 4, "{} bytes: it lets go of more than it must", desk.most);
        desk.wait(Duration::from_secs(48 * 3600));
        desk.balances();
        let rule = desk.judge.report(desk.now).rules["flood"];
        assert_eq!((rule.ledger.hits, rule.pending), (8_000, 0));
        assert!(desk.judge.bytes().0 < 20_000, "{} bytes when all is over", desk.judge.bytes().0);
    }
}

/// Whatever a rule keeps of its hits beside their count, and whoever holds them back, each key being new.
#[test]
fn what_is_kept_of_each_new_key_and_held_of_it_stays_within_the_budget() {
    const KEYS: u64 = 4_000;
    const HITS: u64 = 3;
    let flood = || RulePolicy { captures: vec!["k".into(), "user".into()], ..rule("flood") };
    let within = Duration::from_secs(600);
    let minute = Duration::from_secs(60);
    let long = Context {
        before: vec!["x".repeat(500).into(); 20],
        after: vec!["y".repeat(500).into(); 20],
        more: None,
    };
    let silence = SilenceOrder {
        rule: "*".into(),
        key: Vec::new(),
        length: Duration::from_secs(12 * 3600),
        author: "ana".into(),
        why: "a flood".into(),
    };
    let distinct = RulePolicy { distinct: Some(1), ..flood() };
    for (what, rule, context, silence, chat_is_down) in [
        ("distinct, counted", RulePolicy { threshold: 50, within, ..distinct.clone() }, None, None, false),
        ("distinct, open", distinct, None, None, false),
        ("top", RulePolicy { top: vec![1], ..flood() }, None, None, false),
        ("hold", RulePolicy { hold: minute, ..flood() }, None, None, false),
        ("context", flood(), Some(&long), None, false),
        ("context, held", RulePolicy { hold: minute, ..flood() }, Some(&long), None, false),
        ("a silence on everything", flood(), None, Some(&silence), false),
        ("Chat is down", flood(), Some(&long), None, true),
        ("Chat is down, no limit", RulePolicy { max_per_hour: 3600, ..flood() }, Some(&long), None, true),
    ] {
        let mut desk = Desk::new(&[rule]);
        desk.chat_is_down = chat_is_down;
        if let Some(order) = silence {
            desk.apply(Input::Silence(Box::new(order.clone())));
        }
        for n in 0..KEYS {
            let hit = |hit: u64| Hit {
                captures: [Some(n.to_string().into()), Some(format!("user {hit}").into())].into(),
                context: context.cloned().map(Arc::new),
                ..desk.make(0, &n.to_string(), "made up by somebody")
            };
            let hits: Vec<Hit> = (0..HITS).map(hit).collect();
            desk.apply(Input::Hits(hits.into()));
            if n % 100 == 0 {
                desk.balances();
                desk.judge.changes();
                desk.wait(Duration::from_millis(100));
            }
        }
        println!("measured: {what}: {} of {BUDGET} bytes at most", desk.most);
        let held = desk.judge.report(desk.now).rules["flood"].held;
        assert!(held.evicted > 0, "{what}: {held:?}");
        assert!(desk.most <= BUDGET + BUDGET / 10, "{what}: {} bytes", desk.most);
        desk.chat_is_down = false;
        desk.answer();
        desk.wait(Duration::from_secs(48 * 3600));
        desk.balances();
        let rule = desk.judge.report(desk.now).rules["flood"];
        assert_eq!((rule.ledger.hits, rule.pending, rule.ledger.muted), (KEYS * HITS, 0, 0), "{what}");
        assert!(desk.judge.bytes().0 < 20_000, "{what}: {} bytes when all is over", desk.judge.bytes().0);
    }
}

/// Of another rule, the same messages at the same times, and the same terms, whether somebody floods his own or not.
#[test]
fn whoever_makes_a_new_key_with_each_line_changes_nothing_but_counts() {
    let story = |flood: bool| {
        let watched = RulePolicy {
            threshold: 3,
            within: Duration::from_secs(600),
            remind: Duration::from_secs(300),
            ..rule("watched")
        };
        let mut desk = Desk::new(&[watched, rule("flood")]);
        for round in 0..60u64 {
            desk.hit(0, "a", "a line");
            if round % 7 == 0 {
                desk.hit(0, &format!("b{}", round % 3), "another");
            }
            if flood {
                let hits: Vec<Hit> =
                    (0..1000).map(|n| desk.make(1, &format!("{round} {n}"), "made up by somebody")).collect();
                desk.apply(Input::Hits(hits.into()));
            }
            desk.judge.changes();
            desk.wait(Duration::from_secs(30));
        }
        desk.wait(Duration::from_secs(3600));
        desk.balances();
        desk
    };
    let (calm, flooded) = (story(false), story(true));
    assert_eq!(calm.of("watched"), flooded.of("watched"));
    assert!(calm.of("watched").len() >= 3, "{:?}", calm.of("watched"));
    let books = |desk: &Desk| desk.judge.report(desk.now).rules["watched"];
    assert_eq!(books(&calm).ledger, books(&flooded).ledger);
    assert_eq!(books(&flooded).held.evicted, 0);
    let flood = flooded.judge.report(flooded.now).rules["flood"];
    assert_eq!((flood.ledger.hits, flood.pending), (60_000, 0));
    assert!(flood.held.evicted > 40_000, "{:?}", flood.held);
    let told: u64 = flooded.of("flood").iter().map(|a| a.2).sum();
    assert_eq!(told, 60_000, "nothing but counts, and all of them");
    assert!(flooded.of("flood").len() < 60, "{} messages", flooded.of("flood").len());
}

/// A flood of keys that are gone before they are saved leaves nothing to write, and none of the rows of those that were.
/// The rows that are left of these changes.
fn keep(rows: &mut std::collections::BTreeMap<String, StateRow>, changes: Vec<StateRow>) {
    for row in changes {
        match row.value {
            Some(_) => _ = rows.insert(row.name.clone(), row),
            None => _ = rows.remove(&row.name),
        }
    }
}

/// There is a row for each key that is held, and no other; and what is put back from them is the same.
fn are_all(rows: std::collections::BTreeMap<String, StateRow>, desk: &Desk) {
    let keys = rows.keys().filter(|name| name.starts_with("judge/key/")).count();
    let report = desk.judge.report(desk.now).rules["flood"];
    assert_eq!(keys as u64, report.open_incidents, "a row for each key that is held, and no other");
    let again = Judge::new(policy(&[rule("flood")]), rows.into_values().collect(), [3; 16], desk.now).0;
    assert_eq!(again.report(desk.now).rules["flood"], report);
}

#[test]
fn what_came_and_went_between_two_saves_is_not_written() {
    let mut desk = Desk::new(&[rule("flood")]);
    let (mut rows, mut most) = (std::collections::BTreeMap::new(), 0);
    for round in 0..10 {
        let hits: Vec<Hit> = (0..10_000).map(|n| desk.make(0, &format!("{round} {n}"), "line")).collect();
        desk.apply(Input::Hits(hits.into()));
        let changes = desk.judge.changes();
        most = most.max(changes.len());
        keep(&mut rows, changes);
        desk.wait(Duration::from_secs(1));
    }
    assert!(most < 5000, "{most} rows in one save");
    are_all(rows, &desk);
}

#[test]
fn a_key_that_was_written_and_comes_and_goes_again_before_the_next_save_leaves_no_row() {
    let mut desk = Desk::new(&[rule("flood")]);
    let mut rows = std::collections::BTreeMap::new();
    for forth in [true, false, true] {
        // those that are held, and written, at one end are the first to come and to go from the other
        for _ in 0..2 {
            let key = |n: usize| if forth { n } else { 9_999 - n };
            let hits: Vec<Hit> = (0..10_000).map(|n| desk.make(0, &key(n).to_string(), "line")).collect();
            desk.apply(Input::Hits(hits.into()));
        }
        keep(&mut rows, desk.judge.changes());
    }
    are_all(rows, &desk);
}

#[test]
fn a_smaller_budget_counts_at_once_and_a_larger_one_gives_room() {
    let mut desk = Desk::new(&[rule("flood")]);
    let with = |memory| Input::Policy(Box::new(Policy { memory, ..policy(&[rule("flood")]) }));
    desk.apply(with(64 << 20));
    for n in 0..8000 {
        desk.hit(0, &format!("key {n}"), "line");
    }
    assert!(desk.judge.bytes().0 > 2 * BUDGET, "{:?}", desk.judge.bytes());
    assert_eq!(desk.judge.report(desk.now).rules["flood"].held.evicted, 0);
    desk.apply(with(BUDGET));
    assert!(desk.judge.bytes().0 <= BUDGET, "{:?}", desk.judge.bytes());
    desk.balances();
}

#[test]
fn kinds_that_are_known_are_within_it_too() {
    let new = Some(Novelty { learn: Duration::from_secs(3600), version: 1 });
    let rules: Vec<RulePolicy> = (0..8).map(|n| RulePolicy { new, ..rule(&format!("new{n}")) }).collect();
    let mut desk = Desk::new(&rules);
    for n in 0..6000 {
        for no in 0..8 {
            desk.hit(no, &format!("kind {n}"), "line");
        }
    }
    // 48,000 kinds of at least 16 bytes
    assert!(desk.most > BUDGET * 3 / 4 && desk.most <= BUDGET + BUDGET / 10, "{} bytes", desk.most);
    desk.balances();
}

/// What the rules file expects by name is not let go, for nothing would begin to expect it again.
#[test]
fn what_is_expected_by_name_outlives_a_flood() {
    let expect = Some(Expect { when: When::Every(Duration::from_secs(600)), keys: vec!["mail".into()] });
    let mut desk = Desk::new(&[RulePolicy { expect, ..rule("beat") }, rule("flood")]);
    for n in 0..5_000 {
        desk.hit(1, &format!("key {n}"), "line");
    }
    desk.wait(Duration::from_secs(700));
    assert_eq!(desk.of("beat").len(), 1, "{:?}", desk.of("beat"));
}
