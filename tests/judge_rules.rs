//! What each key of a rule means, as a conversation: lines on the left, what is said and when, to the character.

use std::time::Duration;

use logherald::hit::Hit;
use logherald::judge::{Input, RulePolicy};
use logherald::message::Fate;
use logherald::template::Template;

use crate::judge_story::{START, Story, policy, rule, secs};

impl Story {
    /// A line that the first rule's `resolve` accepts; it names these parts of the key.
    fn resolve(&mut self, parts: &[Option<&str>]) {
        let hit = self.resolving(parts);
        self.give(vec![hit]);
    }

    fn resolving(&self, parts: &[Option<&str>]) -> Hit {
        let bits = parts.iter().enumerate().map(|(n, p)| u8::from(p.is_some()) << n).sum();
        let key = parts.iter().map(|p| p.unwrap_or_default().into()).collect();
        let line = "recovery done".into();
        Hit { resolves: Some(bits), key, captures: Box::default(), line, ..self.make(0, "-") }
    }

    fn ledger(&self) -> logherald::judge::RuleReport {
        let name = &self.policy.rules[0].name;
        self.judge.report(self.now).rules[&**name]
    }
}

fn story(change: impl FnOnce(&mut RulePolicy)) -> Story {
    let mut r = rule("raid");
    change(&mut r);
    Story::of(policy(&[r]))
}

#[test]
fn a_line_that_says_it_is_over_ends_the_incident_in_its_thread() {
    let mut s = story(|_| {});
    s.hits(0, "md0", 1);
    s.hits(0, "md1", 1);
    for _ in 0..31 {
        s.wait(secs(60));
        s.hits(0, "md0", 20);
    }
    s.resolve(&[Some("md0")]);
    s.wait(secs(3600));
    s.says(
        "00:00:00 ops thread 1
            opening raid [warning]: 1 from md0 (+1, 1 in all)
        00:00:05 ops thread 2
            opening raid [warning]: 1 from md1 (+1, 1 in all)
        00:31:00 ops thread 1
            resolved raid [warning]: resolved after 31m, 621 hits (+620, 621 in all) · held: 620 repeats",
    );
    assert_eq!(s.judge.due(), None);
    assert_eq!((s.ledger().resolves.ended, s.ledger().resolves.idle), (1, 0));
}

#[test]
fn a_hit_soon_after_the_end_opens_the_same_incident_again() {
    let mut s = story(|_| {});
    s.hits(0, "md0", 3);
    s.wait(secs(60));
    s.resolve(&[Some("md0")]);
    s.wait(secs(300));
    s.note("within `quiet`, across a restart: the same incident, one word, and its total goes on");
    s.restart(secs(60));
    s.hits(0, "md0", 4);
    s.wait(secs(60));
    s.note("ten minutes of calm after this end: a new one");
    s.resolve(&[Some("md0")]);
    s.wait(secs(600));
    s.hits(0, "md0", 1);
    s.says(
        "00:00:00 ops thread 1
            opening raid [warning]: 1 from md0 (+1, 1 in all)
        00:01:00 ops thread 1
            resolved raid [warning]: resolved after 1m, 3 hits (+2, 3 in all) · held: 2 repeats
        00:06:00 -- within `quiet`, across a restart: the same incident, one word, and its total goes on
        00:07:00 ops thread 1
            again raid [warning]: 1 from md0 (+1, 4 in all) · held: 1 repeats
        00:08:00 -- ten minutes of calm after this end: a new one
        00:08:00 ops thread 1
            resolved raid [warning]: resolved after 8m, 7 hits (+3, 7 in all) · held: 3 repeats
        00:18:00 ops thread 2
            opening raid [warning]: 1 from md0 (+1, 1 in all)",
    );
}

#[test]
fn what_flaps_is_held_by_the_rules_limit_and_told_by_its_fold() {
    let mut s = story(|r| r.max_per_hour = 6);
    for _ in 0..20 {
        s.hits(0, "md0", 1);
        s.wait(secs(10));
        s.resolve(&[Some("md0")]);
        s.wait(secs(10));
    }
    s.wait(secs(3600));
    s.says(
        "00:00:00 ops thread 1
            opening raid [warning]: 1 from md0 (+1, 1 in all)
        00:00:10 ops thread 1
            resolved raid [warning]: resolved after 10s, 1 hit (+0, 1 in all)
        00:10:00 ops thread 2
            fold raid [warning]: 1 incident, 19 hits / ip=md0: 19 hits (+19, 19 in all) · held: 19 reminders over the rule's limit",
    );
    assert_eq!((s.ledger().ledger.hits, s.ledger().pending, s.ledger().open_incidents), (20, 0, 0));
}

#[test]
fn a_resolve_names_some_parts_of_the_key_or_none() {
    let mut s = story(|r| {
        r.by = vec!["host".into(), "unit".into()];
        r.max_per_hour = 6000;
    });
    let of = |s: &Story, host: &str, unit: &str| Hit {
        key: [host, unit].map(Into::into).into(),
        ..s.make(0, unit)
    };
    let hits = vec![of(&s, "a", "x"), of(&s, "a", "y"), of(&s, "b", "x"), of(&s, "x", "a")];
    s.give(hits);
    s.wait(secs(60));
    s.said.clear();
    s.resolve(&[Some("a"), Some("y")]);
    s.wait(secs(60));
    s.note("every unit of host a that is still open");
    s.resolve(&[Some("a"), None]);
    s.wait(secs(60));
    s.note("all");
    s.resolve(&[None, None]);
    s.wait(secs(60));
    s.note("nothing is open: counted, not sent");
    s.resolve(&[Some("a"), Some("y")]);
    let said = std::mem::take(&mut s.said);
    let told: Vec<&str> = said.lines().map(|l| l.split(" (").next().unwrap_or(l)).collect();
    assert_eq!(
        told,
        [
            "00:01:00 ops thread 1",
            "    resolved raid [warning]: resolved after 1m, 1 hit",
            "00:02:00 -- every unit of host a that is still open",
            "00:02:00 ops thread 1",
            "    resolved raid [warning]: resolved after 2m, 1 hit",
            "00:03:00 -- all",
            "00:03:00 ops thread 1",
            "    resolved raid [warning]: resolved after 3m, 1 hit",
            "    resolved raid [warning]: resolved after 3m, 1 hit",
            "00:04:00 -- nothing is open: counted, not sent",
        ],
        "{said}"
    );
    assert_eq!((s.ledger().resolves.ended, s.ledger().resolves.idle), (4, 1));
}

#[test]
fn an_end_by_a_line_waits_for_its_opening_and_a_hit_meanwhile_takes_it_back() {
    let mut s = story(|_| {});
    s.chat_is_down = true;
    s.hits(0, "md0", 1);
    s.hits(0, "md1", 1);
    s.wait(secs(60));
    s.resolve(&[None]);
    s.wait(secs(60));
    s.hits(0, "md1", 1);
    s.wait(secs(1200));
    s.restart(secs(1));
    s.note("Chat is back");
    s.chat_is_down = false;
    s.fates(Fate::Delivered);
    s.wait(secs(60));
    s.says(
        "00:00:00 ops thread 1
            opening raid [warning]: 1 from md0 (+1, 1 in all)
        00:00:05 ops thread 2
            opening raid [warning]: 1 from md1 (+1, 1 in all)
        00:22:01 -- Chat is back
        00:22:01 ops thread 1
            resolved raid [warning]: resolved after 1m, 1 hit (+0, 1 in all)
        00:22:06 ops thread 2
            end raid [warning]: 1 from md1 (+1, 2 in all) · held: 1 repeats",
    );
}

#[test]
fn what_is_over_within_hold_is_never_heard_of() {
    let mut s = story(|r| r.hold = secs(60));
    s.hits(0, "md0", 5);
    s.hits(0, "md1", 1);
    s.wait(secs(59));
    s.restart(Duration::ZERO);
    s.resolve(&[Some("md0")]);
    s.hits(0, "md1", 2);
    s.wait(secs(600));
    s.says(
        "00:01:00 ops thread 1
            opening raid [warning]: 3 from md1 (+3, 3 in all)",
    );
    let rule = s.ledger();
    assert_eq!((rule.ledger.hits, rule.ledger.below, rule.ledger.shown), (8, 5, 3));
}

#[test]
fn hold_is_measured_by_the_time_of_the_lines() {
    let mut s = story(|r| r.hold = secs(60));
    let ago =
        |s: &Story, hit: Hit, seconds| Hit { stamp: Some(s.now.wall - secs(seconds)), backlog: true, ..hit };
    let hits = vec![
        ago(&s, s.make(0, "md0"), 1000),
        ago(&s, s.resolving(&[Some("md0")]), 970),
        ago(&s, s.make(0, "md1"), 900),
        ago(&s, s.resolving(&[Some("md1")]), 800),
    ];
    s.note("read at once: md0 was over after 30 seconds, md1 after 100");
    s.give(hits);
    s.wait(secs(60));
    s.says(
        "00:00:00 -- read at once: md0 was over after 30 seconds, md1 after 100
        00:00:00 ops thread 1
            opening raid [warning]: 1 from md1 (+1, 1 in all)
        00:00:05 ops thread 1
            resolved raid [warning]: resolved after 1m 40s, 1 hit (+0, 1 in all)",
    );
    assert_eq!(s.ledger().ledger.below, 1);
}

#[test]
fn a_rule_may_say_every_end() {
    let mut s = story(|r| r.say_end = true);
    s.hits(0, "md0", 1);
    s.wait(secs(3600));
    s.says(
        "00:00:00 ops thread 1
            opening raid [warning]: 1 from md0 (+1, 1 in all)
        00:10:00 ops thread 1
            end raid [warning]: ended after 0s, 1 hit (+0, 1 in all)",
    );
}

#[test]
fn a_rule_that_leaves_while_it_holds_tells_what_it_held() {
    let mut s = story(|r| r.hold = secs(60));
    s.hits(0, "md0", 2);
    s.apply(Input::Policy(Box::new(policy(&[rule("other")]))));
    s.says(
        "00:00:00 ops thread 1
            end raid [warning]: the rule is no longer loaded; until then: 1 incident, 2 hits / ip=md0: 2 hits (+2, 2 in all)",
    );
    assert_eq!(START.wall, s.now.wall);
}

/// A rule that counts the users of an address.
fn users() -> Story {
    story(|r| {
        r.captures = vec!["ip".into(), "user".into()];
        (r.threshold, r.within, r.distinct) = (3, secs(60), Some(1));
        let names = ["ip", "user", "distinct.user"].map(str::to_owned);
        r.message =
            Template::parse("{hits} as {distinct.user} users from {ip}", &names).expect("a good template");
    })
}

impl Story {
    fn login(&mut self, user: Option<&str>) {
        let captures = [Some("192.0.2.1"), user].map(|v| v.map(Into::into)).into();
        let hit = Hit { captures, ..self.make(0, "192.0.2.1") };
        self.give(vec![hit]);
    }
}

#[test]
fn distinct_counts_values_and_not_lines() {
    let mut s = users();
    for user in ["root", "root", "admin", "root", "admin"] {
        s.login(Some(user));
        s.wait(secs(10));
    }
    s.restart(secs(1));
    s.note("the third user; one that took no part is a value too");
    s.login(None);
    s.wait(secs(10));
    s.login(Some("eve"));
    s.login(Some("root"));
    s.wait(secs(600));
    s.says(
        "00:00:51 -- the third user; one that took no part is a value too
        00:00:51 ops thread 1
            opening raid [warning]: 6 as 3 users from 192.0.2.1 (+6, 6 in all)
        00:11:01 ops thread 1
            end raid [warning]: 2 as 4 users from 192.0.2.1 (+2, 8 in all) · held: 2 repeats",
    );
}

#[test]
fn a_value_that_is_not_seen_again_in_time_takes_its_hits_along() {
    let mut s = users();
    s.login(Some("root"));
    s.wait(secs(30));
    s.login(Some("admin"));
    s.wait(secs(30));
    s.note("root is sixty seconds old: out");
    s.login(Some("eve"));
    s.wait(secs(29));
    s.login(Some("root"));
    s.says(
        "00:01:00 -- root is sixty seconds old: out
        00:01:29 ops thread 1
            opening raid [warning]: 3 as 3 users from 192.0.2.1 (+3, 3 in all)",
    );
    assert_eq!((s.ledger().ledger.below, s.ledger().ledger.shown), (1, 3));
}

#[test]
fn the_top_values_of_an_incident_are_told_with_their_counts() {
    let mut s = story(|r| {
        r.captures = vec!["ip".into(), "user".into()];
        (r.threshold, r.within, r.top) = (4, secs(10), vec![1]);
    });
    s.login(Some("old"));
    s.wait(secs(12));
    for user in ["root", "root", "admin", "root"] {
        s.login(Some(user));
        s.wait(secs(3));
    }
    s.restart(secs(1));
    for n in 0..9 {
        s.login(Some(&format!("user{n}")));
        s.login(Some("root"));
    }
    s.wait(secs(600));
    s.says(
        "00:00:21 ops thread 1
            opening raid [warning]: 4 from 192.0.2.1 / top user: root 3, admin 1 (+4, 4 in all)
        00:10:25 ops thread 1
            end raid [warning]: 18 from 192.0.2.1 / top user: root 12, admin 1, user0 1, user1 1, user2 1 and 6 more (+18, 22 in all) · held: 18 repeats",
    );
}

#[test]
fn a_secret_is_no_top_value() {
    let mut s = story(|r| {
        r.captures = vec!["ip".into(), "word".into()];
        r.top = vec![1];
    });
    let hit = Hit {
        captures: [Some("192.0.2.1".into()), Some("hunter2".into())].into(),
        line: "login password=hunter2".into(),
        ..s.make(0, "192.0.2.1")
    };
    s.give(vec![hit; 2]);
    s.wait(secs(600));
    assert!(s.said.contains("top word: [redacted] 2"), "{}", s.said);
    assert!(!s.rows.values().any(|r| r.value.as_ref().is_some_and(|v| v.contains("hunter2"))));
}
