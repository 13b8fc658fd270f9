//! Rules that are silent while another has an open incident, as conversations.

use logherald::alert::Severity;
use logherald::hit::Hit;
use logherald::judge::{Expect, Input, Judge, RulePolicy, SilenceOrder, When};
use logherald::template::Template;

use super::{Story, policy, rule, secs};

fn calm(name: &str) -> RulePolicy {
    RulePolicy { remind: secs(7200), quiet: secs(300), ..rule(name) }
}

/// `down` inhibits `slow`.
fn two() -> Story {
    let slow = RulePolicy { inhibited_by: vec!["down".into()], ..calm("slow") };
    Story::of(policy(&[calm("down"), slow]))
}

impl Story {
    fn resolved(&mut self, rule: u32, ip: &str) {
        let line = Hit { resolves: Some(1), ..self.make(rule, ip) };
        self.give(vec![line]);
    }

    fn books(&self, rule: &str) -> (u64, u64) {
        let report = self.judge.report(self.now);
        let rule = &report.rules[rule];
        assert_eq!(rule.ledger.hits, rule.ledger.settled() + rule.pending, "{rule:?}");
        (rule.pending, rule.ledger.inhibited)
    }
}

#[test]
fn what_is_held_is_told_when_the_last_incident_is_over() {
    let mut s = two();
    s.hits(0, "10.0.0.1", 1);
    s.hits(0, "10.0.0.2", 1);
    s.hits(1, "192.0.2.1", 12);
    assert_eq!(s.books("slow"), (0, 12));
    assert_eq!(s.judge.report(s.now).inhibited_by["slow"], [("down".to_owned(), 12)].into());
    s.note("one of the two is over");
    s.resolved(0, "10.0.0.1");
    s.wait(secs(100));
    assert_eq!(s.books("slow"), (0, 12));
    s.hits(1, "192.0.2.1", 1);
    s.resolved(0, "10.0.0.2");
    assert_eq!(s.books("slow").1, 0);
    s.wait(secs(1000));
    s.says(
        "00:00:00 ops thread 1
            opening down [warning]: 1 from 10.0.0.1 (+1, 1 in all)
        00:00:00 -- one of the two is over
        00:00:05 ops thread 2
            opening down [warning]: 1 from 10.0.0.2 (+1, 1 in all)
        00:00:05 ops thread 1
            resolved down [warning]: resolved after 0s, 1 hit (+0, 1 in all)
        00:01:40 ops thread 2
            resolved down [warning]: resolved after 1m 40s, 1 hit (+0, 1 in all)
        00:01:40 ops thread 3
            uninhibited slow [warning]: down no longer inhibits this: held 13 hits in 1 incident; still going: 1 / ip=192.0.2.1: 13 hits, goes on (+13, 13 in all)",
    );
    assert_eq!(s.delivered_hits, 15);
}

#[test]
fn what_was_told_before_goes_on_in_silence_and_its_end_is_told() {
    let mut s = two();
    s.hits(1, "192.0.2.1", 1);
    s.wait(secs(10));
    s.hits(0, "10.0.0.1", 1);
    s.hits(1, "192.0.2.1", 4);
    assert_eq!(s.books("slow"), (0, 4));
    s.resolved(1, "192.0.2.1");
    assert_eq!(s.books("slow").1, 0);
    s.wait(secs(10));
    s.says(
        "00:00:00 ops thread 1
            opening slow [warning]: 1 from 192.0.2.1 (+1, 1 in all)
        00:00:10 ops thread 2
            opening down [warning]: 1 from 10.0.0.1 (+1, 1 in all)
        00:00:15 ops thread 1
            resolved slow [warning]: resolved after 10s, 5 hits (+4, 5 in all) · held: 4 repeats",
    );
}

/// The order of the lines decides, not how many were read at once.
#[test]
fn it_begins_and_ends_between_two_lines() {
    let (mut one_by_one, mut at_once) = (two(), two());
    for s in [&mut one_by_one, &mut at_once] {
        s.chat_is_down = true;
    }
    let over = |s: &Story| Hit { resolves: Some(1), ..s.make(0, "10.0.0.1") };
    let lines = |s: &Story| {
        let (down, slow) = (s.make(0, "10.0.0.1"), |ip: &str| s.make(1, ip));
        vec![
            slow("192.0.2.1"),
            down.clone(),
            slow("192.0.2.2"),
            over(s),
            slow("192.0.2.3"),
            down,
            slow("192.0.2.4"),
        ]
    };
    for hit in lines(&one_by_one) {
        one_by_one.give(vec![hit]);
    }
    at_once.give(lines(&at_once));
    assert_eq!(at_once.books("slow"), one_by_one.books("slow"));
    let (once, one) = (at_once.judge.report(at_once.now), one_by_one.judge.report(one_by_one.now));
    assert_eq!((once.rules, once.inhibited_by), (one.rules, one.inhibited_by));
}

#[test]
fn a_silence_goes_before_it_and_what_one_lets_go_the_other_holds() {
    let slow = RulePolicy { inhibited_by: vec!["down".into(), "gone".into()], ..calm("slow") };
    let mut s = Story::of(policy(&[calm("down"), slow, calm("gone")]));
    s.hits(0, "10.0.0.1", 1);
    s.hits(2, "10.0.0.1", 1);
    s.wait(secs(5));
    s.hits(1, "192.0.2.1", 3);
    assert_eq!(s.judge.report(s.now).inhibited_by["slow"], [("down".to_owned(), 3)].into());
    s.wait(secs(290));
    s.hits(2, "10.0.0.1", 1);
    s.said.clear();
    s.wait(secs(200));
    assert_eq!(s.judge.report(s.now).inhibited_by["slow"], [("gone".to_owned(), 3)].into());
    let order = SilenceOrder {
        rule: "slow".into(),
        key: Vec::new(),
        length: secs(60),
        author: "ana".into(),
        why: "pentest".into(),
    };
    s.apply(Input::Silence(Box::new(order)));
    s.hits(1, "192.0.2.2", 1);
    s.wait(secs(30));
    assert_eq!(s.books("slow"), (0, 3), "the silence has the newer one");
    s.said.clear();
    s.wait(secs(1000));
    assert_eq!(s.books("slow"), (0, 0));
    assert_eq!(s.delivered_hits, 7);
}

#[test]
fn what_is_missing_opens_when_nothing_inhibits_it_any_more() {
    let expect = Some(Expect { when: When::Every(secs(60)), keys: Vec::new() });
    let beat = RulePolicy {
        expect,
        by: Vec::new(),
        message: Template::line(),
        inhibited_by: vec!["down".into()],
        ..calm("beat")
    };
    let mut s = Story::of(policy(&[calm("down"), beat]));
    s.hits(0, "10.0.0.1", 1);
    s.wait(secs(100));
    s.resolved(0, "10.0.0.1");
    s.wait(secs(1));
    s.says(
        "00:00:00 ops thread 1
            opening down [warning]: 1 from 10.0.0.1 (+1, 1 in all)
        00:01:40 ops thread 2
            missing beat [warning]: nothing for 1m; never seen (+0, 0 in all)
        00:01:40 ops thread 1
            resolved down [warning]: resolved after 1m 40s, 1 hit (+0, 1 in all)",
    );
}

#[test]
fn critical_ones_are_held_too_and_a_restart_or_a_reload_changes_nothing_of_that() {
    let slow = RulePolicy { inhibited_by: vec!["down".into()], severity: Severity::Critical, ..calm("slow") };
    let mut s = Story::of(policy(&[calm("down"), slow]));
    s.hits(0, "10.0.0.1", 1);
    s.hits(1, "192.0.2.1", 2);
    let rows = s.rows.values().cloned().collect();
    let (judge, first) = Judge::new(s.policy.clone(), rows, [1; 16], s.now);
    assert!(first.is_empty() && judge.left_out().is_empty());
    s.judge = judge;
    s.hits(1, "192.0.2.1", 1);
    assert_eq!(s.books("slow"), (0, 3));
    s.apply(Input::Policy(Box::new(s.policy.clone())));
    assert_eq!(s.books("slow"), (0, 3));
    let mut policy = s.policy.clone();
    policy.rules.remove(0);
    s.said.clear();
    s.apply(Input::Policy(Box::new(policy)));
    assert_eq!(s.books("slow").1, 0);
    assert!(
        s.said.contains("uninhibited slow [critical]: down no longer inhibits this: held 3 hits"),
        "{}",
        s.said
    );
}
