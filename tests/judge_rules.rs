//! What each key of a rule means, as a conversation: lines on the left, what is said and when, to the character.

use std::sync::Arc;
use std::time::Duration;

use logherald::alert::{Severity, What};
use logherald::hit::Hit;
use logherald::judge::{Expect, Input, Novelty, RulePolicy, SilenceOrder, When};
use logherald::message::Fate;
use logherald::template::Template;
use logherald::time::Wall;

use crate::judge_story::{START, Story, policy, rule, secs, space};

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
        Hit { resolves: Some(bits), key, captures: [].into(), line, ..self.make(0, "-") }
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

fn every(seconds: u64, by: &[&str], keys: &[&str]) -> Story {
    let expect =
        Expect { when: When::Every(secs(seconds)), keys: keys.iter().map(ToString::to_string).collect() };
    story(|r| {
        (r.expect, r.message) = (Some(expect), Template::line());
        r.by = by.iter().map(ToString::to_string).collect();
    })
}

/// Between 01:00 and 03:30 in Paris; it is 06:26 there when the story begins.
fn nightly() -> Story {
    let tz = jiff::tz::TimeZone::get("Europe/Paris").expect("a zone that is known");
    let expect = Expect { when: When::Daily { by: 210, from: 60, tz }, keys: Vec::new() };
    story(|r| {
        (r.expect, r.message) = (Some(expect), Template::line());
        r.by.clear();
    })
}

impl Story {
    fn comes(&mut self) {
        let hit = Hit { key: Box::default(), ..self.make(0, "-") };
        self.give(vec![hit]);
    }

    fn until(&mut self, text: &str) {
        let at = Wall(text.parse::<jiff::Timestamp>().expect("a time").as_millisecond());
        self.wait(at.since(self.now.wall));
    }
}

#[test]
fn what_is_expected_and_does_not_come_opens_and_what_comes_ends_it() {
    let mut s = every(600, &[], &[]);
    s.note("never seen");
    s.wait(secs(650));
    s.comes();
    for _ in 0..10 {
        s.wait(secs(599));
        s.comes();
    }
    s.restart(secs(1));
    s.wait(secs(1200));
    s.comes();
    s.says(
        "00:00:00 -- never seen
        00:10:00 ops thread 1
            missing raid [warning]: nothing for 10m; never seen (+0, 0 in all)
        00:10:50 ops thread 1
            seen raid [warning]: seen at 2026-11-22T05:36:50Z, 50s late (+0, 0 in all)
        02:00:40 ops thread 2
            missing raid [warning]: nothing for 10m; last seen 2026-11-22T07:16:40Z (+0, 0 in all)
        02:10:41 ops thread 2
            seen raid [warning]: seen at 2026-11-22T07:36:41Z, 10m 1s late (+0, 0 in all)",
    );
    let ledger = s.ledger().ledger;
    assert_eq!((ledger.hits, ledger.seen), (12, 12));
}

#[test]
fn nothing_is_said_to_be_missing_while_lines_lie_unread() {
    let mut s = every(600, &[], &[]);
    s.behind = true;
    s.wait(secs(630));
    s.note("a line of minute nine is read in minute ten");
    let hit = Hit { key: Box::default(), stamp: Some(s.now.wall - secs(90)), ..s.make(0, "-") };
    s.give(vec![hit]);
    s.behind = false;
    s.wait(secs(509));
    s.says("00:10:30 -- a line of minute nine is read in minute ten");
    s.wait(secs(1));
    s.says(
        "00:19:00 ops thread 1
            missing raid [warning]: nothing for 10m; last seen 2026-11-22T05:35:00Z (+0, 0 in all)",
    );
}

#[test]
fn a_clock_that_is_set_back_hides_nothing_that_is_missing() {
    let mut s = every(600, &[], &[]);
    s.comes();
    s.note("the wall's clock is set back by an hour");
    s.now.wall = s.now.wall - secs(3600);
    s.wait(secs(1800));
    s.comes();
    s.says(
        "00:00:00 -- the wall's clock is set back by an hour
        00:10:00 ops thread 1
            missing raid [warning]: nothing for 10m; last seen 2026-11-22T05:26:00Z (+0, 0 in all)
        00:30:00 ops thread 1
            seen raid [warning]: seen at 2026-11-22T04:56:00Z, 20m late (+0, 0 in all)",
    );
}

#[test]
fn a_time_that_nobody_watched_is_not_judged() {
    let mut s = every(600, &[], &[]);
    s.comes();
    s.restart(secs(3600));
    s.note("back after an hour: the ten minutes begin anew when all is read, a second later");
    s.wait(secs(600));
    s.says("01:00:00 -- back after an hour: the ten minutes begin anew when all is read, a second later");
    s.wait(secs(1));
    s.says(
        "01:10:01 ops thread 1
            missing raid [warning]: nothing for 10m; last seen 2026-11-22T05:26:00Z (+0, 0 in all)",
    );
}

#[test]
fn with_by_the_keys_of_the_last_seven_days_are_expected_or_those_that_are_listed() {
    let mut s = every(600, &["job"], &[]);
    s.hits(0, "a", 1);
    s.wait(secs(300));
    s.hits(0, "b", 1);
    s.wait(secs(900));
    s.says(
        "00:10:00 ops thread 1
            missing raid [warning]: nothing for 10m; last seen 2026-11-22T05:26:00Z (+0, 0 in all)
        00:15:00 ops thread 2
            missing raid [warning]: nothing for 10m; last seen 2026-11-22T05:31:00Z (+0, 0 in all)",
    );
    s.wait(secs(8 * 86_400));
    s.says(
        "168:00:00 ops thread 1
            end raid [warning]: not seen for 7d; no longer expected (+0, 0 in all)
        168:05:00 ops thread 2
            end raid [warning]: not seen for 7d; no longer expected (+0, 0 in all)",
    );
    let mut s = every(600, &["job"], &["a"]);
    s.hits(0, "b", 1);
    s.wait(secs(600));
    s.says(
        "00:10:00 ops thread 1
            missing raid [warning]: nothing for 10m; never seen (+0, 0 in all)",
    );
    assert_eq!((s.ledger().ledger.hits, s.ledger().ledger.seen), (1, 1));
}

#[test]
fn more_that_is_missing_than_the_rule_may_say_is_told_by_its_fold() {
    let mut s = every(600, &["job"], &["a", "b", "c", "d"]);
    s.policy.rules[0].max_per_hour = 6;
    s.apply(Input::Policy(Box::new(s.policy.clone())));
    s.wait(secs(601));
    s.hits(0, "c", 1);
    s.wait(secs(1200));
    let said = std::mem::take(&mut s.said);
    assert!(said.contains("3 expected lines did not come / job="), "{said}");
    assert_eq!(said.matches(" missing ").count(), 1, "{said}");
}

#[test]
fn a_line_a_day_is_judged_at_its_minute_and_every_day_anew() {
    let mut s = nightly();
    s.until("2026-11-23T01:00:00Z");
    s.comes();
    s.until("2026-11-24T04:00:00Z");
    s.comes();
    s.until("2026-11-26T12:00:00Z");
    s.says(
        "45:04:00 ops thread 1
            missing raid [warning]: nothing between 01:00 and 03:30 (Europe/Paris); last seen 2026-11-23T01:00:00Z (+0, 0 in all)
        46:34:00 ops thread 1
            seen raid [warning]: seen at 2026-11-24T04:00:00Z, 1h 30m late (+0, 0 in all)
        69:04:00 ops thread 2
            missing raid [warning]: nothing between 01:00 and 03:30 (Europe/Paris); last seen 2026-11-24T04:00:00Z (+0, 0 in all)
        93:04:00 ops thread 2
            reminder raid [warning]: nothing between 01:00 and 03:30 (Europe/Paris); last seen 2026-11-24T04:00:00Z (+0, 0 in all)",
    );
}

/// Two backups are missing since this night, and were told of; from now on their rule may say less.
fn two_that_are_missing() -> Story {
    let mut s = nightly();
    let rule = &mut s.policy.rules[0];
    rule.by = vec!["job".into()];
    (rule.fingerprint, rule.max_per_hour) = (2, 12);
    rule.expect.as_mut().expect("a time of the day").keys = vec!["backup".into(), "vacuum".into()];
    s.apply(Input::Policy(Box::new(s.policy.clone())));
    s.until("2026-11-23T02:31:00Z");
    s.policy.rules[0].max_per_hour = 6;
    s.apply(Input::Policy(Box::new(s.policy.clone())));
    s.says(
        "21:04:00 ops thread 1
            missing raid [warning]: nothing between 01:00 and 03:30 (Europe/Paris); never seen (+0, 0 in all)
            missing raid [warning]: nothing between 01:00 and 03:30 (Europe/Paris); never seen (+0, 0 in all)",
    );
    s
}

#[test]
fn another_day_that_the_rule_may_not_say_is_told_by_its_fold() {
    let mut s = two_that_are_missing();
    s.until("2026-11-24T03:00:00Z");
    s.says(
        "45:04:00 ops thread 1
            reminder raid [warning]: nothing between 01:00 and 03:30 (Europe/Paris); never seen (+0, 0 in all)
        45:14:00 ops thread 2
            fold raid [warning]: 1 expected line did not come / job=vacuum (+0, 0 in all) · held: 1 reminders over the rule's limit",
    );
    let why = s.judge.why("raid").expect("a rule that is there");
    assert!(format!("{why:?}").contains("one more day held: over the rule's limit, for its fold"), "{why:?}");
}

#[test]
fn a_silence_holds_what_the_fold_would_have_said_of_another_day() {
    let mut s = two_that_are_missing();
    s.until("2026-11-24T02:35:00Z");
    s.note("five minutes after the one, and before the other");
    s.apply(Input::Silence(Box::new(SilenceOrder {
        rule: "raid".into(),
        key: Vec::new(),
        length: secs(3600),
        author: "ana".into(),
        why: "moving house".into(),
    })));
    s.until("2026-11-24T05:00:00Z");
    s.says(
        "45:04:00 ops thread 1
            reminder raid [warning]: nothing between 01:00 and 03:30 (Europe/Paris); never seen (+0, 0 in all)
        45:09:00 -- five minutes after the one, and before the other
        46:09:00 ops thread 2
            unmuted raid [warning]: the silence s1 of ana (moving house) is over: held that 2 expected lines did not come in time; still going: 2 / job=backup: goes on / job=vacuum: goes on (+0, 0 in all) · held: 1 reminders over the rule's limit",
    );
}

#[test]
fn a_day_that_nobody_watched_is_told_as_one_and_what_came_meanwhile_counts() {
    let mut s = nightly();
    s.until("2026-11-22T23:00:00Z");
    s.restart(secs(4 * 3600));
    s.behind = true;
    s.wait(secs(2));
    s.note("the backlog is read; nothing of that night is in it");
    s.behind = false;
    s.wait(secs(10));
    s.until("2026-11-23T23:00:00Z");
    s.restart(secs(4 * 3600));
    s.behind = true;
    s.wait(secs(2));
    s.note("this time it is");
    let stamp = Some(s.now.wall - secs(2 * 3600));
    let hit = Hit { key: Box::default(), stamp, backlog: true, ..s.make(0, "-") };
    s.give(vec![hit]);
    s.behind = false;
    s.wait(secs(3600));
    s.note("away for a part of the night: the rest was watched");
    s.until("2026-11-25T00:30:00Z");
    s.restart(secs(60));
    s.until("2026-11-25T03:00:00Z");
    s.says(
        "21:34:02 -- the backlog is read; nothing of that night is in it
        21:34:03 ops thread 1
            cannot tell raid [warning]: nothing between 01:00 and 03:30 (Europe/Paris) has been found by 2026-11-23T02:30:00Z, but nobody was watching (+0, 0 in all)
        45:34:02 -- this time it is
        46:34:02 -- away for a part of the night: the rest was watched
        69:04:00 ops thread 2
            missing raid [warning]: nothing between 01:00 and 03:30 (Europe/Paris); last seen 2026-11-24T01:00:02Z (+0, 0 in all)",
    );
}

#[test]
fn an_absence_whose_end_comes_while_chat_is_down_is_told_when_it_is_back() {
    let mut s = every(600, &[], &[]);
    s.chat_is_down = true;
    s.wait(secs(700));
    s.comes();
    s.wait(secs(300));
    s.restart(secs(1));
    s.chat_is_down = false;
    s.fates(Fate::Delivered);
    s.wait(secs(1));
    s.says(
        "00:10:00 ops thread 1
            missing raid [warning]: nothing for 10m; never seen (+0, 0 in all)
        00:16:41 ops thread 1
            seen raid [warning]: seen at 2026-11-22T05:37:40Z, 1m 40s late (+0, 0 in all)",
    );
}

#[test]
fn a_rule_that_expects_something_else_begins_anew() {
    let mut s = every(600, &[], &[]);
    s.wait(secs(700));
    s.policy.rules[0].fingerprint = 2;
    s.policy.rules[0].expect = Some(Expect { when: When::Every(secs(60)), keys: Vec::new() });
    s.apply(Input::Policy(Box::new(s.policy.clone())));
    s.wait(secs(60));
    s.policy.rules[0].expect = None;
    s.policy.rules[0].fingerprint = 3;
    s.apply(Input::Policy(Box::new(s.policy.clone())));
    s.wait(secs(86_400));
    s.says(
        "00:10:00 ops thread 1
            missing raid [warning]: nothing for 10m; never seen (+0, 0 in all)
        00:12:40 ops thread 2
            missing raid [warning]: nothing for 1m; never seen (+0, 0 in all)",
    );
    assert_eq!(s.judge.due(), None);
}

fn novelty(learn: u64, version: u64) -> Novelty {
    Novelty { learn: secs(learn), version }
}

#[test]
fn what_is_new_opens_once_it_has_learned_and_what_is_known_is_told_once_a_day() {
    let mut s = story(|r| r.new = Some(novelty(3600, 1)));
    s.hits(0, "a", 3);
    s.wait(secs(3601));
    s.hits(0, "a", 2);
    s.hits(0, "b", 1);
    s.restart(secs(1));
    s.note("while its incident is open a hit is one of it; afterwards it is known");
    s.hits(0, "b", 4);
    s.wait(secs(700));
    s.hits(0, "b", 5);
    s.wait(secs(86_400));
    s.says(
        "01:00:01 ops thread 1
            opening raid [warning]: 1 from b (+1, 1 in all)
        01:00:02 -- while its incident is open a hit is one of it; afterwards it is known
        01:10:02 ops thread 1
            end raid [warning]: 4 from b (+4, 5 in all) · held: 4 repeats
        24:00:00 ops thread 2
            known raid [info]: 7 hits of what is known (2 kinds), and 3 hits while it learned (+10, 10 in all)",
    );
    let rule = s.ledger();
    assert_eq!((rule.ledger.hits, rule.ledger.shown, rule.ledger.told, rule.pending), (15, 1, 14, 0));
    assert_eq!(s.judge.due(), None);
}

#[test]
fn a_new_mask_has_the_rule_learn_again_without_a_word() {
    let mut s = story(|r| r.new = Some(novelty(60, 1)));
    s.wait(secs(61));
    s.policy.rules[0].new = Some(novelty(60, 2));
    s.apply(Input::Policy(Box::new(s.policy.clone())));
    s.hits(0, "a", 1);
    s.wait(secs(61));
    s.hits(0, "b", 1);
    s.says(
        "00:02:02 ops thread 1
            opening raid [warning]: 1 from b (+1, 1 in all)",
    );
}

#[test]
fn a_flood_of_new_kinds_is_one_story_and_memory_stays_bounded() {
    let mut s = story(|r| (r.new, r.max_per_hour) = (Some(novelty(0, 1)), 10));
    for n in 0..30_000 {
        s.hits(0, &format!("kind {n}"), 1);
    }
    s.wait(secs(3600));
    let said = std::mem::take(&mut s.said);
    assert!(said.contains("fold raid [warning]: "), "{said}");
    assert!(s.messages < 20, "{said}");
    let rows: usize = s
        .rows
        .iter()
        .filter(|(n, _)| n.starts_with("judge/known/"))
        .map(|(_, r)| r.value.as_ref().map_or(0, String::len))
        .sum();
    assert!(rows > 0 && rows < 300_000, "{rows} bytes");
}

#[test]
fn who_is_named_for_a_severity_is_notified_of_its_openings_and_of_nothing_else() {
    let mut down = rule("down");
    (down.remind, down.quiet, down.severity) = (secs(60), secs(300), Severity::Error);
    let mut policy = policy(&[down, rule("mild")]);
    policy.spaces.push(space("night"));
    policy.spaces[0].mention = [(Severity::Error, vec!["users/all".into()])].into();
    policy.spaces[1].mention = [(Severity::Error, vec!["users/1".into()])].into();
    let mut s = Story::of(policy);
    s.chat_is_down = true;
    let told = |s: &mut Story| {
        let all: Vec<(What, Vec<Arc<str>>)> =
            s.waiting.iter().map(|m| (m.alerts[0].what, m.mention.clone())).collect();
        s.fates(Fate::Delivered);
        all
    };
    s.hits(1, "192.0.2.1", 1);
    assert_eq!(told(&mut s), [(What::Opening, vec![])], "nobody is named for a warning");
    s.wait(secs(30));
    s.hits(0, "192.0.2.1", 1);
    let detour = Input::Detour { messages: vec![Arc::new(s.waiting[0].clone())], to: "night".into() };
    s.apply(detour);
    let named = |who: &str| (What::Opening, vec![who.into()]);
    assert_eq!(told(&mut s), [named("users/all"), named("users/1")], "the other space names its own");
    s.hits(0, "192.0.2.1", 1);
    s.wait(secs(60));
    assert_eq!(told(&mut s), [(What::Reminder, vec![])]);
    s.hits(0, "192.0.2.1", 1);
    s.wait(secs(600));
    assert!(told(&mut s).iter().all(|(what, named)| *what != What::Opening && named.is_empty()));
}
