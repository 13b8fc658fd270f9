//! The judge as a conversation: what happens on the left, what it says and when, to the character.

mod edit;
mod inhibit;
mod silence;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use logherald::alert::{Alert, Severity, What};
use logherald::hit::{Hit, RuleNo};
use logherald::judge::{Input, Judge, Notice, Policy, RulePolicy, SpacePolicy};
use logherald::message::{Fate, Message, MessageNo, RowId};
use logherald::redact::Redactor;
use logherald::state::StateRow;
use logherald::template::Template;
use logherald::time::{Now, Tick, Wall};

/// 2026-11-22T05:26:00Z
pub(crate) const START: Now = Now { wall: Wall(1_795_325_160_000), tick: Tick(50_000) };

pub(crate) fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}

/// A rule that fires at once, with the defaults of `rules.toml`.
pub(crate) fn rule(name: &str) -> RulePolicy {
    RulePolicy {
        fingerprint: 1,
        by: vec!["ip".into()],
        captures: vec!["ip".into()],
        spaces: vec!["ops".into()],
        message: Template::parse("{hits} from {ip}", &["ip".into()]).expect("a good template"),
        ..RulePolicy::named(name)
    }
}

pub(crate) fn space(name: &str) -> SpacePolicy {
    SpacePolicy {
        name: name.into(),
        wait: secs(5),
        wait_at_most: secs(30),
        max_per_hour: 60,
        digest_every: secs(600),
        mention: BTreeMap::new(),
        edit: false,
    }
}

pub(crate) fn policy(rules: &[RulePolicy]) -> Policy {
    Policy {
        rules: rules.to_vec(),
        spaces: vec![space("ops")],
        admin: "ops".into(),
        host: "web1".into(),
        redactor: Redactor::new(),
        late_after: secs(3600),
        memory: logherald::judge::MEMORY,
        alive: None,
        mutes: Vec::new(),
    }
}

/// One judge, one clock, and what was said so far.
pub(crate) struct Story {
    pub(crate) policy: Policy,
    pub(crate) judge: Judge,
    pub(crate) now: Now,
    pub(crate) rows: BTreeMap<String, StateRow>,
    pub(crate) said: String,
    pub(crate) threads: Vec<String>,
    /// Not delivered at once, but when told.
    pub(crate) chat_is_down: bool,
    pub(crate) waiting: Vec<Message>,
    pub(crate) delivered_hits: u64,
    pub(crate) messages: usize,
    /// Lines lie unread.
    pub(crate) behind: bool,
}

impl Story {
    pub(crate) fn of(policy: Policy) -> Story {
        let (judge, _) = Judge::new(policy.clone(), Vec::new(), [1; 16], START);
        Story {
            policy,
            judge,
            now: START,
            rows: BTreeMap::new(),
            said: String::new(),
            threads: Vec::new(),
            chat_is_down: false,
            waiting: Vec::new(),
            delivered_hits: 0,
            messages: 0,
            behind: false,
        }
    }

    /// Writes a heading into the conversation.
    pub(crate) fn note(&mut self, text: &str) {
        _ = writeln!(self.said, "{} -- {text}", self.clock());
    }

    pub(crate) fn clock(&self) -> String {
        let ms = self.now.tick.0 - START.tick.0;
        let (s, ms) = (ms / 1000, ms % 1000);
        let ms = if ms == 0 { String::new() } else { format!(".{ms:03}") };
        format!("{:02}:{:02}:{:02}{ms}", s / 3600, s / 60 % 60, s % 60)
    }

    pub(crate) fn make(&self, rule: u32, ip: &str) -> Hit {
        Hit {
            rule: RuleNo(rule),
            resolves: None,
            key: Box::new([ip.into()]),
            captures: [Some(ip.into())].into(),
            stamp: Some(self.now.wall),
            read: self.now,
            line: format!("refused {ip}").into(),
            file: "/var/log/x.log".into(),
            file_no: 1,
            backlog: false,
            context: None,
        }
    }

    pub(crate) fn hits(&mut self, rule: u32, ip: &str, count: usize) {
        let hits = vec![self.make(rule, ip); count];
        self.give(hits);
    }

    pub(crate) fn give(&mut self, hits: Vec<Hit>) {
        self.apply(Input::Hits(hits.into()));
    }

    pub(crate) fn apply(&mut self, input: Input) {
        let messages = self.judge.apply(input, self.now);
        self.take(messages);
    }

    pub(crate) fn take(&mut self, messages: Vec<Message>) {
        for row in self.judge.changes() {
            match row.value {
                Some(_) => _ = self.rows.insert(row.name.clone(), row),
                None => _ = self.rows.remove(&row.name),
            }
        }
        for message in messages {
            self.messages += 1;
            self.print(&message);
            self.waiting.push(message);
        }
        if !self.chat_is_down {
            self.fates(Fate::Delivered);
        }
    }

    /// Everything that is under way meets this fate.
    pub(crate) fn fates(&mut self, fate: Fate) {
        for message in std::mem::take(&mut self.waiting) {
            if fate == Fate::Delivered {
                self.delivered_hits += message.alerts.iter().map(|a| a.hits).sum::<u64>();
            }
            if fate == Fate::Delivered {
                self.stands(&message);
            }
            self.fate(message.no, fate);
        }
    }

    /// A message that was delivered can be edited under an id that is its number.
    pub(crate) fn stands(&mut self, message: &Message) {
        if self.policy.spaces.iter().any(|s| s.edit) {
            let row = Some(RowId(format!("{:032x}", message.no.0).into()));
            self.apply(Input::Stands { message: message.no, row });
        }
    }

    pub(crate) fn fate(&mut self, message: MessageNo, fate: Fate) {
        self.apply(Input::Fate { message, fate });
    }

    pub(crate) fn print(&mut self, message: &Message) {
        if !self.threads.contains(&message.thread) {
            self.threads.push(message.thread.clone());
        }
        let thread = self.threads.iter().take_while(|t| **t != message.thread).count() + 1;
        let edit = if message.edits.is_some() { " edit" } else { "" };
        _ = writeln!(self.said, "{} {} thread {thread}{edit}", self.clock(), message.space);
        for alert in &message.alerts {
            _ = writeln!(self.said, "    {}", alert_line(alert));
        }
    }

    /// Lets time pass, with a timer at each instant that the judge asks for.
    pub(crate) fn wait(&mut self, d: Duration) {
        let end = self.now.plus(d);
        while let Some(due) = self.judge.due().filter(|t| *t <= end.tick) {
            self.now = self.now.plus(due.since(self.now.tick));
            let up_to = if self.behind { Tick(0) } else { self.now.tick };
            self.apply(Input::Watched { up_to });
            assert!(self.judge.due().is_none_or(|next| next > due), "asks for the same instant for ever");
        }
        self.now = self.now.plus(end.tick.since(self.now.tick));
    }

    /// The agent is stopped, and started again after a while.
    pub(crate) fn restart(&mut self, away: Duration) {
        let from = self.now.tick;
        self.now = self.now.plus(away);
        let rows = self.rows.values().cloned().collect();
        let (judge, messages) = Judge::new(self.policy.clone(), rows, [1; 16], self.now);
        self.judge = judge;
        self.take(messages);
        self.apply(Input::Away { from });
    }

    #[track_caller]
    pub(crate) fn says(&mut self, expected: &str) {
        let expected: Vec<&str> = expected.lines().map(|l| l.strip_prefix("        ").unwrap_or(l)).collect();
        assert_eq!(self.said.trim_end(), expected.join("\n").trim(), "\n{}", self.said);
        self.said.clear();
    }
}

fn alert_line(a: &Alert) -> String {
    let what = match a.what {
        What::Opening => "opening",
        What::Reminder => "reminder",
        What::End => "end",
        What::Resolved => "resolved",
        What::Again => "again",
        What::Missing => "missing",
        What::Seen => "seen",
        What::CannotTell => "cannot tell",
        What::Known => "known",
        What::Fold => "fold",
        What::WhileAway => "while away",
        What::Digest => "digest",
        What::Unmuted => "unmuted",
        What::Uninhibited => "uninhibited",
        What::Notice => "notice",
    };
    let mut out = format!("{what} {} [{}]: {} (+{}, {} in all)", a.rule, a.severity, a.text, a.hits, a.total);
    for held in &a.held {
        _ = write!(out, " · held: {} {}", held.count, held.reason);
    }
    out.replace('\n', " / ")
}

#[test]
fn an_incident_opens_reminds_at_doubling_distances_and_ends() {
    let mut r = rule("sshd");
    (r.remind, r.quiet) = (secs(60), secs(300));
    let mut s = Story::of(policy(&[r]));
    s.hits(0, "192.0.2.1", 1);
    for _ in 0..50 {
        s.wait(secs(10));
        s.hits(0, "192.0.2.1", 2);
    }
    s.wait(secs(3600));
    s.says(
        "00:00:00 ops thread 1
            opening sshd [warning]: 1 from 192.0.2.1 (+1, 1 in all)
        00:01:00 ops thread 1
            reminder sshd [warning]: 10 from 192.0.2.1 (+10, 11 in all) · held: 10 repeats
        00:03:00 ops thread 1
            reminder sshd [warning]: 24 from 192.0.2.1 (+24, 35 in all) · held: 24 repeats
        00:07:00 ops thread 1
            reminder sshd [warning]: 48 from 192.0.2.1 (+48, 83 in all) · held: 48 repeats
        00:13:20 ops thread 1
            end sshd [warning]: 18 from 192.0.2.1 (+18, 101 in all) · held: 18 repeats",
    );
    assert_eq!(s.judge.due(), None);
}

#[test]
fn an_incident_without_news_ends_in_silence_and_the_next_hit_opens_a_new_one() {
    let mut s = Story::of(policy(&[rule("sshd")]));
    s.hits(0, "192.0.2.1", 1);
    s.wait(secs(601));
    s.hits(0, "192.0.2.1", 1);
    s.says(
        "00:00:00 ops thread 1
            opening sshd [warning]: 1 from 192.0.2.1 (+1, 1 in all)
        00:10:01 ops thread 2
            opening sshd [warning]: 1 from 192.0.2.1 (+1, 1 in all)",
    );
}

#[test]
fn the_nth_hit_fires_and_one_at_the_edge_of_the_window_is_out() {
    let mut r = rule("brute");
    (r.threshold, r.within) = (3, secs(10));
    let mut s = Story::of(policy(&[r]));
    for ip in ["192.0.2.1", "192.0.2.1", "192.0.2.2"] {
        s.hits(0, ip, 1);
        s.wait(secs(5));
    }
    s.note("the first is ten seconds old when the third comes at 15: out. The other key has one");
    s.hits(0, "192.0.2.1", 1);
    s.wait(Duration::from_millis(9_999));
    s.hits(0, "192.0.2.1", 1);
    s.note("two within less than ten seconds; the third fires");
    s.hits(0, "192.0.2.1", 1);
    s.wait(secs(60));
    s.says(
        "00:00:15 -- the first is ten seconds old when the third comes at 15: out. The other key has one
        00:00:24.999 -- two within less than ten seconds; the third fires
        00:00:24.999 ops thread 1
            opening brute [warning]: 3 from 192.0.2.1 (+3, 3 in all)",
    );
    let ledger = s.judge.report(s.now).rules["brute"].ledger;
    assert_eq!((ledger.hits, ledger.shown, ledger.below), (6, 3, 3));
}

#[test]
fn the_first_leaves_at_once_and_what_follows_waits_for_company() {
    let mut disk = rule("disk");
    disk.max_per_hour = 600;
    let mut s = Story::of(policy(&[rule("sshd"), disk]));
    s.hits(0, "192.0.2.1", 1);
    s.wait(secs(1));
    s.hits(0, "192.0.2.2", 1);
    s.wait(secs(3));
    s.hits(1, "192.0.2.3", 1);
    s.wait(secs(20));
    s.note("silent for longer than `wait`: at once again");
    s.hits(1, "192.0.2.4", 1);
    s.note("one more each four seconds: `wait` never passes, `wait_at_most` does");
    for n in 0..12 {
        s.wait(secs(4));
        s.hits(1, &format!("192.0.2.{}", 10 + n), 1);
    }
    let said = std::mem::take(&mut s.said);
    let times: Vec<&str> = said.lines().filter(|l| l.contains("thread") || l.contains("--")).collect();
    assert_eq!(
        times,
        [
            "00:00:00 ops thread 1",
            "00:00:09 ops thread 2",
            "00:00:24 -- silent for longer than `wait`: at once again",
            "00:00:24 ops thread 3",
            "00:00:24 -- one more each four seconds: `wait` never passes, `wait_at_most` does",
            "00:00:58 ops thread 4",
        ]
    );
}

#[test]
fn critical_leaves_at_once_and_takes_along_what_waits() {
    let mut raid = rule("raid");
    raid.severity = Severity::Critical;
    let mut s = Story::of(policy(&[rule("sshd"), raid]));
    s.hits(0, "192.0.2.1", 1);
    s.wait(secs(1));
    s.hits(0, "192.0.2.2", 1);
    s.wait(secs(1));
    s.hits(1, "192.0.2.3", 1);
    s.says(
        "00:00:00 ops thread 1
            opening sshd [warning]: 1 from 192.0.2.1 (+1, 1 in all)
        00:00:02 ops thread 2
            opening raid [critical]: 1 from 192.0.2.3 (+1, 1 in all)
            opening sshd [warning]: 1 from 192.0.2.2 (+1, 1 in all)",
    );
}

#[test]
fn over_a_rules_limit_openings_fold_and_the_fold_speaks_by_timer() {
    let mut r = rule("sshd");
    r.max_per_hour = 12;
    let mut s = Story::of(policy(&[r]));
    for n in 1..=9 {
        s.hits(0, &format!("192.0.2.{n}"), n);
    }
    s.wait(secs(200));
    s.hits(0, "192.0.2.9", 100);
    s.wait(secs(3600));
    s.says(
        "00:00:00 ops thread 1
            opening sshd [warning]: 1 from 192.0.2.1 (+1, 1 in all)
        00:00:05 ops thread 2
            opening sshd [warning]: 1 from 192.0.2.2 (+1, 1 in all)
        00:05:00 ops thread 3
            fold sshd [warning]: 7 incidents, 142 hits / ip=192.0.2.9: 109 hits / ip=192.0.2.8: 8 hits / ip=192.0.2.7: 7 hits / ip=192.0.2.6: 6 hits / ip=192.0.2.5: 5 hits / and 2 more incidents (+142, 142 in all) · held: 7 openings over the rule's limit
        00:10:00 ops thread 2
            end sshd [warning]: 1 from 192.0.2.2 (+1, 2 in all) · held: 1 repeats",
    );
    let rule = s.judge.report(s.now).rules["sshd"];
    assert_eq!((rule.ledger.shown, rule.ledger.told, rule.pending), (2, 143, 0));
}

#[test]
fn a_rules_limit_survives_a_restart() {
    let mut r = rule("sshd");
    r.max_per_hour = 6;
    let mut s = Story::of(policy(&[r]));
    s.hits(0, "192.0.2.1", 1);
    s.restart(secs(60));
    s.hits(0, "192.0.2.2", 1);
    s.wait(secs(3600));
    s.says(
        "00:00:00 ops thread 1
            opening sshd [warning]: 1 from 192.0.2.1 (+1, 1 in all)
        00:10:00 ops thread 2
            fold sshd [warning]: 1 incident, 1 hit / ip=192.0.2.2: 1 hit (+1, 1 in all) · held: 1 openings over the rule's limit",
    );
}

#[test]
fn over_a_spaces_budget_alerts_become_a_digest_but_critical_has_a_reserve() {
    let mut raid = rule("raid");
    raid.severity = Severity::Critical;
    let mut p = policy(&[rule("sshd"), raid]);
    p.spaces[0].max_per_hour = 6;
    let mut s = Story::of(p);
    for n in 1..=3 {
        s.hits(0, &format!("192.0.2.{n}"), 1);
        s.wait(secs(20));
    }
    s.hits(1, "192.0.2.9", 1);
    s.wait(secs(540));
    s.restart(secs(1));
    s.wait(secs(100));
    s.says(
        "00:00:00 ops thread 1
            opening sshd [warning]: 1 from 192.0.2.1 (+1, 1 in all)
        00:01:00 ops thread 2
            opening raid [critical]: 1 from 192.0.2.9 (+1, 1 in all)
        00:10:20 ops thread 3
            digest sshd [warning]: 2 alerts, 2 hits / warning sshd (ip=192.0.2.2): opened, 1 hit, last 2026-11-22T05:26:20Z / warning sshd (ip=192.0.2.3): opened, 1 hit, last 2026-11-22T05:26:40Z (+2, 2 in all) · held: 2 alerts over the space's budget",
    );
}

#[test]
fn what_was_written_while_nobody_read_is_one_message_critical_first() {
    let mut raid = rule("raid");
    raid.severity = Severity::Critical;
    let mut s = Story::of(policy(&[rule("sshd"), raid]));
    let backlog = |s: &Story, rule, ip: &str, ago| {
        let mut hit = s.make(rule, ip);
        (hit.stamp, hit.backlog) = (Some(s.now.wall - secs(ago)), true);
        hit
    };
    let hits = vec![
        backlog(&s, 0, "192.0.2.1", 9000),
        backlog(&s, 0, "192.0.2.1", 8990),
        backlog(&s, 0, "192.0.2.2", 8000),
        backlog(&s, 1, "192.0.2.3", 7000),
        backlog(&s, 0, "192.0.2.4", 60),
    ];
    s.give(hits);
    s.wait(secs(60));
    s.says(
        "00:00:00 ops thread 1
            opening sshd [warning]: 1 from 192.0.2.4 (+1, 1 in all)
        00:00:05 ops thread 2
            while away while away [critical]: 3 incidents opened while nobody was reading, 3 hits / critical raid (ip=192.0.2.3): opened, 1 hit, last 2026-11-22T03:29:20Z / warning sshd (ip=192.0.2.1): opened, 1 hit, last 2026-11-22T02:56:00Z / warning sshd (ip=192.0.2.2): opened, 1 hit, last 2026-11-22T03:12:40Z (+3, 3 in all)",
    );
    s.note("the incidents go on like any others: the one with news ends in the thread that opened it");
    s.wait(secs(600));
    s.says(
        "00:01:00 -- the incidents go on like any others: the one with news ends in the thread that opened it
        00:10:00 ops thread 2
            end sshd [warning]: 1 from 192.0.2.1 (+1, 2 in all) · held: 1 repeats",
    );
}

#[test]
fn a_backlog_of_two_hours_makes_no_false_burst() {
    let mut r = rule("brute");
    (r.threshold, r.within) = (5, secs(120));
    let mut s = Story::of(policy(&[r]));
    let hits = (0..60).map(|n| {
        let mut hit = s.make(0, "192.0.2.1");
        (hit.stamp, hit.backlog) = (Some(s.now.wall - secs(7200 - n * 100)), true);
        hit
    });
    let hits = hits.collect();
    s.give(hits);
    s.wait(secs(600));
    s.says("");
    assert_eq!(s.judge.report(s.now).rules["brute"].ledger.below, 60);
}

#[test]
fn an_end_waits_until_its_opening_is_delivered() {
    let mut r = rule("sshd");
    r.remind = secs(60);
    let mut s = Story::of(policy(&[r]));
    s.chat_is_down = true;
    s.hits(0, "192.0.2.1", 1);
    s.wait(secs(1));
    s.hits(0, "192.0.2.1", 9);
    s.wait(secs(3600));
    s.note("Chat is back");
    s.fates(Fate::Delivered);
    s.wait(secs(60));
    s.says(
        "00:00:00 ops thread 1
            opening sshd [warning]: 1 from 192.0.2.1 (+1, 1 in all)
        01:00:01 -- Chat is back
        01:00:01 ops thread 1
            end sshd [warning]: 9 from 192.0.2.1 (+9, 10 in all) · held: 9 repeats",
    );
}

#[test]
fn what_a_refused_opening_cannot_tell_its_fold_tells() {
    let mut s = Story::of(policy(&[rule("sshd")]));
    s.chat_is_down = true;
    s.hits(0, "192.0.2.1", 1);
    s.wait(secs(1));
    s.hits(0, "192.0.2.1", 9);
    s.note("Chat refuses the opening for good");
    s.fates(Fate::DeadLettered);
    s.chat_is_down = false;
    s.wait(secs(3600));
    s.says(
        "00:00:00 ops thread 1
            opening sshd [warning]: 1 from 192.0.2.1 (+1, 1 in all)
        00:00:01 -- Chat refuses the opening for good
        00:10:01 ops thread 2
            fold sshd [warning]: 1 incident, 9 hits / ip=192.0.2.1: 9 hits (+9, 9 in all)",
    );
    let rule = s.judge.report(s.now).rules["sshd"];
    assert_eq!((rule.ledger.told, rule.pending), (9, 1), "the dead letter's hit waits for an operator");
    s.fate(MessageNo(1), Fate::Dropped);
    let rule = s.judge.report(s.now).rules["sshd"];
    assert_eq!((rule.ledger.lost, rule.pending), (1, 0));
}

#[test]
fn reminders_and_ends_go_only_where_the_opening_was_heard() {
    let mut r = rule("sshd");
    r.spaces = vec!["ops".into(), "oncall".into()];
    let mut p = policy(&[r]);
    p.spaces.push(space("oncall"));
    let mut s = Story::of(p);
    s.chat_is_down = true;
    s.hits(0, "192.0.2.1", 1);
    s.fate(MessageNo(1), Fate::DeadLettered);
    s.fate(MessageNo(2), Fate::Delivered);
    s.hits(0, "192.0.2.1", 4);
    s.wait(secs(601));
    s.says(
        "00:00:00 oncall thread 1
            opening sshd [warning]: 1 from 192.0.2.1 (+1, 1 in all)
        00:00:00 ops thread 2
            opening sshd [warning]: 1 from 192.0.2.1 (+1, 1 in all)
        00:10:00 ops thread 2
            end sshd [warning]: 4 from 192.0.2.1 (+4, 5 in all) · held: 4 repeats",
    );
}

#[test]
fn a_removed_rule_tells_what_it_held_and_a_changed_one_counts_anew() {
    let mut brute = rule("brute");
    (brute.threshold, brute.within) = (5, secs(60));
    let mut s = Story::of(policy(&[brute.clone(), rule("sshd")]));
    s.hits(0, "192.0.2.1", 4);
    s.hits(1, "192.0.2.1", 8);
    brute.fingerprint = 2;
    s.wait(secs(10));
    s.policy = policy(&[brute]);
    s.apply(Input::Policy(Box::new(s.policy.clone())));
    s.hits(0, "192.0.2.1", 4);
    s.wait(secs(120));
    s.says(
        "00:00:00 ops thread 1
            opening sshd [warning]: 1 from 192.0.2.1 (+1, 1 in all)
        00:00:10 ops thread 2
            end sshd [warning]: the rule is no longer loaded; until then: 1 incident, 7 hits / ip=192.0.2.1: 7 hits (+7, 7 in all)",
    );
    let report = s.judge.report(s.now);
    assert_eq!((report.rules["brute"].ledger.below, report.rules["sshd"].ledger.told), (8, 7));
}

#[test]
fn a_removed_spaces_alerts_go_to_the_admin_space() {
    let mut r = rule("sshd");
    r.spaces = vec!["oncall".into()];
    let mut p = policy(&[r.clone()]);
    p.spaces.push(space("oncall"));
    let mut s = Story::of(p);
    s.hits(0, "192.0.2.1", 1);
    s.wait(secs(1));
    s.hits(0, "192.0.2.2", 1);
    r.spaces = vec!["ops".into()];
    s.apply(Input::Policy(Box::new(policy(&[r]))));
    s.wait(secs(1));
    s.says(
        "00:00:00 oncall thread 1
            opening sshd [warning]: 1 from 192.0.2.1 (+1, 1 in all)
        00:00:01 ops thread 2
            opening sshd [warning]: 1 from 192.0.2.2 (+1, 1 in all)",
    );
}

#[test]
fn the_same_notice_is_told_once_in_ten_minutes_and_counted() {
    let mut s = Story::of(policy(&[]));
    let notice = |text: &str| {
        Input::Notice(Notice {
            about: "gap".into(),
            severity: Severity::Error,
            text: text.into(),
            hint: None,
            space: None,
        })
    };
    s.apply(notice("x.log lost 10 bytes"));
    for _ in 0..5 {
        s.wait(secs(30));
        s.apply(notice("x.log lost 10 bytes"));
    }
    s.apply(notice("x.log lost 99 bytes"));
    s.wait(secs(3600));
    s.says(
        "00:00:00 ops thread 1
            notice gap [error]: x.log lost 10 bytes (+0, 0 in all)
        00:02:30 ops thread 2
            notice gap [error]: x.log lost 10 bytes (+0, 0 in all) · held: 5 repeats of this notice
            notice gap [error]: x.log lost 99 bytes (+0, 0 in all)",
    );
    assert_eq!(s.judge.due(), None);
}

#[test]
fn a_message_holds_at_most_twenty_alerts_and_every_count() {
    let mut r = rule("sshd");
    r.max_per_hour = 6000;
    let mut s = Story::of(policy(&[r]));
    let hits = (0..50).map(|n| s.make(0, &format!("192.0.2.{n}"))).collect();
    s.chat_is_down = true;
    s.give(hits);
    let message = &s.waiting[0];
    assert_eq!(message.alerts.len(), 20);
    let rest = message.alerts.iter().find(|a| a.what == What::Fold).unwrap();
    assert_eq!((rest.hits, rest.incidents), (31, 31));
    assert!(rest.text.starts_with("31 alerts, 31 hits\n"), "{}", rest.text);
    assert!(rest.text.ends_with("\nand 11 more (11 hits)"), "{}", rest.text);
}

#[test]
fn keys_beyond_the_bound_are_let_go_counts_first() {
    let mut r = rule("brute");
    (r.threshold, r.within) = (3, secs(60));
    let mut s = Story::of(policy(&[r]));
    let hits = (0..12_000).map(|n| s.make(0, &format!("10.0.{}.{}", n / 250, n % 250))).collect();
    s.give(hits);
    let rule = s.judge.report(s.now).rules["brute"];
    assert!(rule.counting_keys <= 10_000, "{rule:?}");
    assert_eq!(rule.ledger.below + rule.pending, 12_000);
    assert_eq!(rule.pending, rule.counting_keys);
}

#[test]
fn what_is_written_down_is_what_changed() {
    let mut s = Story::of(policy(&[rule("sshd")]));
    let hits = (0..200).map(|n| s.make(0, &format!("192.0.2.{n}"))).collect();
    s.give(hits);
    assert!(s.judge.changes().is_empty());
    s.judge.apply(Input::Hits(vec![s.make(0, "192.0.2.7"); 1000].into()), s.now);
    let names: Vec<String> = s.judge.changes().into_iter().map(|r| r.name).collect();
    assert_eq!(names.len(), 3, "{names:?}");
    assert_eq!((names[0].as_str(), names[1].as_str()), ("judge/head", "judge/rule/sshd"));
    assert!(names[2].starts_with("judge/key/sshd/"));
}

/// The promise of a storm: a million lines, a handful of messages, the exact million.
#[test]
fn a_storm_of_a_million_hits_costs_a_handful_of_messages() {
    let mut r = rule("storm");
    (r.quiet, r.remind) = (secs(2), secs(1));
    let mut s = Story::of(policy(&[r]));
    let keys: Vec<Arc<str>> = (0..200).map(|n| format!("192.0.2.{n}").into()).collect();
    for chunk in 0..200 {
        let hits = (0..5_000).map(|n| s.make(0, &keys[(chunk * 7 + n) % 200])).collect();
        s.give(hits);
        s.wait(Duration::from_millis(50));
    }
    s.wait(secs(3600));
    let rule = s.judge.report(s.now).rules["storm"];
    assert_eq!((rule.ledger.hits, rule.pending, rule.open_incidents), (1_000_000, 0, 0));
    assert_eq!(rule.ledger.shown + rule.ledger.told, 1_000_000);
    assert_eq!(s.delivered_hits, 1_000_000);
    assert!(s.messages <= 20, "{} messages:\n{}", s.messages, s.said);
}
