//! Silences and mutes, as conversations.

use std::sync::Arc;
use std::time::Duration;

use logherald::alert::Severity;
use logherald::hit::Hit;
use logherald::judge::{
    EVERY_DAY, Expect, Input, MutePolicy, RuleGlob, RulePolicy, SilenceOrder, When, Window,
};
use logherald::message::Fate;

use super::{Story, policy, rule, secs};

fn order(rule: &str, key: &[(&str, &str)], length: Duration) -> SilenceOrder {
    let key = key.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    SilenceOrder { rule: rule.into(), key, length, author: "ana".into(), why: "pentest".into() }
}

/// The minutes of each day, in UTC; the stories begin at 05:26.
fn mute(rules: &str, from: u16, to: u16) -> MutePolicy {
    MutePolicy {
        name: "patching".into(),
        when: Window { days: EVERY_DAY, from, to, tz: jiff::tz::TimeZone::UTC },
        rules: vec![RuleGlob::new(rules).expect("a good glob")],
        even_critical: false,
    }
}

impl Story {
    fn silence(&mut self, order: SilenceOrder) {
        self.judge.may_silence(&order).expect("an order that is followed");
        self.apply(Input::Silence(Box::new(order)));
    }

    /// A line says that it is over.
    pub(super) fn over(&mut self, ip: &str) {
        let line = Hit { resolves: Some(1), ..self.make(0, ip) };
        self.give(vec![line]);
    }

    fn term(&self, rule: &str) -> (u64, u64) {
        let report = self.judge.report(self.now);
        let rule = &report.rules[rule];
        assert_eq!(rule.ledger.hits, rule.ledger.settled() + rule.pending, "{rule:?}");
        (rule.pending, rule.ledger.muted)
    }
}

/// One whose reminders do not get in the way.
fn calm(name: &str) -> RulePolicy {
    RulePolicy { remind: secs(7200), quiet: secs(300), ..rule(name) }
}

#[test]
fn what_a_silence_holds_is_told_once_when_it_expires() {
    let mut s = Story::of(policy(&[calm("sshd")]));
    s.silence(order("sshd", &[], secs(1200)));
    s.hits(0, "192.0.2.1", 3);
    s.hits(0, "192.0.2.2", 10);
    s.wait(secs(1100));
    assert_eq!(s.term("sshd"), (0, 13), "both have ended, quietly");
    s.hits(0, "192.0.2.3", 201);
    assert_eq!(s.term("sshd"), (0, 214));
    s.note("the silence expires");
    s.wait(secs(200));
    assert_eq!(s.term("sshd"), (0, 0));
    s.note("what goes on has its thread there");
    s.hits(0, "192.0.2.3", 2);
    s.wait(secs(7200));
    s.says(
        "00:18:20 -- the silence expires
        00:20:00 ops thread 1
            unmuted sshd [warning]: the silence s1 of ana (pentest) is over: held 214 hits in 3 incidents; still going: 1 / ip=192.0.2.3: 201 hits, goes on (+214, 214 in all)
        00:21:40 -- what goes on has its thread there
        00:26:40 ops thread 1
            end sshd [warning]: 2 from 192.0.2.3 (+2, 203 in all) · held: 2 repeats",
    );
    assert_eq!(s.delivered_hits, 216);
}

#[test]
fn a_silence_that_is_ended_by_hand_and_held_nothing_says_nothing() {
    let mut s = Story::of(policy(&[calm("sshd")]));
    s.silence(order("sshd", &[], secs(1200)));
    let listed = s.judge.silences(s.now);
    assert_eq!(
        (listed[0].id.as_str(), listed[0].author.as_str(), listed[0].why.as_str()),
        ("s1", "ana", "pentest")
    );
    assert_eq!(listed[0].until, s.now.wall + secs(1200));
    assert!(s.judge.is_silence("s1") && !s.judge.is_silence("s2") && !s.judge.is_silence("1"));
    s.apply(Input::Unsilence("s1".into()));
    assert!(s.judge.silences(s.now).is_empty());
    s.hits(0, "192.0.2.1", 1);
    s.says(
        "00:00:00 ops thread 1
            opening sshd [warning]: 1 from 192.0.2.1 (+1, 1 in all)",
    );
}

#[test]
fn a_key_is_silenced_and_the_others_speak_and_say_what_is_held() {
    let mut s = Story::of(policy(&[calm("sshd")]));
    s.silence(order("sshd", &[("ip", "192.0.2.1")], secs(1200)));
    s.hits(0, "192.0.2.1", 12);
    s.hits(0, "192.0.2.2", 1);
    s.says(
        "00:00:00 ops thread 1
            opening sshd [warning]: 1 from 192.0.2.2 (+1, 1 in all) · held: 12 hits muted by s1",
    );
    let report = s.judge.report(s.now);
    assert_eq!(report.muted_by["sshd"], [("s1".to_owned(), 12)].into());
}

#[test]
fn a_silence_names_some_parts_of_a_key() {
    let mut r = calm("login");
    r.by = vec!["ip".into(), "user".into()];
    let mut s = Story::of(policy(&[r]));
    s.silence(order("log*", &[("user", "bob")], secs(600)));
    let hit =
        |s: &Story, ip: &str, user: &str| Hit { key: Box::new([ip.into(), user.into()]), ..s.make(0, ip) };
    for (ip, user) in [("192.0.2.1", "bob"), ("bob", "eve"), ("192.0.2.2", "bob"), ("192.0.2.2", "eve")] {
        s.give(vec![hit(&s, ip, user)]);
    }
    s.says(
        "00:00:00 ops thread 1
            opening login [warning]: 1 from bob (+1, 1 in all) · held: 1 hits muted by s1",
    );
    s.wait(secs(10));
    s.says(
        "00:00:05 ops thread 1
            opening login [warning]: 1 from 192.0.2.2 (+1, 1 in all) · held: 2 hits muted by s1"
            .replace("thread 1", "thread 2")
            .as_str(),
    );
    assert_eq!(s.term("login"), (0, 2));
}

#[test]
fn an_end_is_told_during_a_silence_if_the_opening_was() {
    let mut s = Story::of(policy(&[RulePolicy { remind: secs(60), ..calm("sshd") }]));
    s.hits(0, "192.0.2.1", 1);
    s.silence(order("sshd", &[], secs(3600)));
    s.hits(0, "192.0.2.1", 5);
    s.note("no reminder comes");
    s.wait(secs(200));
    assert_eq!(s.term("sshd"), (0, 5));
    s.wait(secs(4000));
    s.says(
        "00:00:00 ops thread 1
            opening sshd [warning]: 1 from 192.0.2.1 (+1, 1 in all)
        00:00:00 -- no reminder comes
        00:05:00 ops thread 1
            end sshd [warning]: 5 from 192.0.2.1 (+5, 6 in all) · held: 5 repeats",
    );
}

#[test]
fn a_silence_and_what_it_holds_survive_a_restart_and_a_reload() {
    let mut s = Story::of(policy(&[calm("sshd")]));
    s.silence(order("ssh*", &[], secs(1200)));
    s.hits(0, "192.0.2.1", 3);
    s.wait(secs(400));
    s.hits(0, "192.0.2.2", 4);
    s.restart(secs(60));
    s.apply(Input::Policy(Box::new(s.policy.clone())));
    assert_eq!(s.term("sshd"), (0, 7));
    s.hits(0, "192.0.2.2", 1);
    assert_eq!(s.judge.silences(s.now)[0].holds, 8);
    s.note("nobody watches when it expires");
    s.restart(secs(2000));
    s.says(
        "00:07:40 -- nobody watches when it expires
        00:41:00 ops thread 1
            unmuted sshd [warning]: the silence s1 of ana (pentest) is over: held 8 hits in 2 incidents; still going: 1 / ip=192.0.2.2: 5 hits, goes on (+8, 8 in all)",
    );
}

#[test]
fn what_the_rules_fold_holds_is_held_by_a_silence_of_the_whole_rule() {
    let mut r = calm("sshd");
    r.max_per_hour = 1;
    let mut s = Story::of(policy(&[r]));
    for ip in ["192.0.2.1", "192.0.2.2", "192.0.2.3"] {
        s.hits(0, ip, 2);
    }
    s.silence(order("sshd", &[], secs(7200)));
    s.wait(secs(7100));
    s.note("it expires");
    s.wait(secs(200));
    s.says(
        "00:00:00 ops thread 1
            opening sshd [warning]: 1 from 192.0.2.1 (+1, 1 in all)
        00:05:00 ops thread 1
            end sshd [warning]: 1 from 192.0.2.1 (+1, 2 in all) · held: 1 repeats · held: 4 hits muted by s1
        01:58:20 -- it expires
        02:00:00 ops thread 2
            unmuted sshd [warning]: the silence s1 of ana (pentest) is over: held 4 hits in 2 incidents; still going: none (+4, 4 in all) · held: 2 openings over the rule's limit",
    );
}

#[test]
fn a_mute_holds_while_its_window_is_open_and_critical_passes() {
    let mut loud = calm("nginx-down");
    loud.severity = Severity::Critical;
    let mut p = policy(&[calm("nginx-5xx"), loud, calm("sshd")]);
    // 05:30 to 06:00
    p.mutes = vec![mute("nginx-*", 330, 360)];
    let mut s = Story::of(p);
    s.wait(secs(300));
    s.hits(0, "192.0.2.1", 7);
    s.hits(1, "192.0.2.1", 1);
    s.hits(2, "192.0.2.1", 1);
    assert_eq!(s.term("nginx-5xx"), (0, 7));
    s.wait(secs(7200));
    s.says(
        "00:05:00 ops thread 1
            opening nginx-down [critical]: 1 from 192.0.2.1 (+1, 1 in all)
        00:05:05 ops thread 2
            opening sshd [warning]: 1 from 192.0.2.1 (+1, 1 in all)
        00:34:00 ops thread 3
            unmuted nginx-5xx [warning]: the mute patching is over: held 7 hits in 1 incident; still going: none (+7, 7 in all)",
    );
}

#[test]
fn a_mute_may_hold_critical_too_and_a_reload_that_takes_it_away_tells_what_it_held() {
    let mut loud = calm("nginx-down");
    loud.severity = Severity::Critical;
    let mut p = policy(&[loud]);
    p.mutes = vec![MutePolicy { even_critical: true, ..mute("*", 0, 720) }];
    let mut s = Story::of(p.clone());
    s.hits(0, "192.0.2.1", 2);
    p.mutes.clear();
    s.apply(Input::Policy(Box::new(p)));
    s.says(
        "00:00:00 ops thread 1
            unmuted nginx-down [critical]: the mute patching is over: held 2 hits in 1 incident; still going: 1 / ip=192.0.2.1: 2 hits, goes on (+2, 2 in all)",
    );
}

#[test]
fn one_silence_after_another_tells_each_hit_once() {
    let mut s = Story::of(policy(&[calm("sshd")]));
    s.silence(order("sshd", &[], secs(100)));
    s.silence(order("sshd", &[("ip", "192.0.2.1")], secs(200)));
    s.hits(0, "192.0.2.1", 2);
    s.hits(0, "192.0.2.2", 3);
    s.wait(secs(150));
    assert_eq!(s.term("sshd"), (0, 2), "the other silence holds it now");
    s.wait(secs(100));
    s.says(
        "00:01:40 ops thread 1
            unmuted sshd [warning]: the silence s1 of ana (pentest) is over: held 3 hits in 1 incident; still going: 1 / ip=192.0.2.2: 3 hits, goes on (+3, 3 in all) · held: 2 hits muted by s2
        00:03:20 ops thread 2
            unmuted sshd [warning]: the silence s2 of ana (pentest) is over: held 2 hits in 1 incident; still going: 1 / ip=192.0.2.1: 2 hits, goes on (+2, 2 in all)",
    );
}

#[test]
fn what_was_held_and_is_refused_is_told_by_the_fold() {
    let mut s = Story::of(policy(&[calm("sshd")]));
    s.silence(order("sshd", &[], secs(100)));
    s.hits(0, "192.0.2.1", 2);
    s.chat_is_down = true;
    s.wait(secs(101));
    s.fates(Fate::Dropped);
    s.chat_is_down = false;
    s.hits(0, "192.0.2.1", 1);
    s.wait(secs(8000));
    s.says(
        "00:01:40 ops thread 1
            unmuted sshd [warning]: the silence s1 of ana (pentest) is over: held 2 hits in 1 incident; still going: 1 / ip=192.0.2.1: 2 hits, goes on (+2, 2 in all)
        00:06:41 ops thread 2
            fold sshd [warning]: 1 incident, 1 hit / ip=192.0.2.1: 1 hit (+1, 1 in all)",
    );
}

#[test]
fn orders_that_cannot_be_followed_are_answered() {
    let mut bare = calm("disk-full");
    bare.by.clear();
    let s = Story::of(policy(&[calm("sshd"), bare]));
    let said = |order: SilenceOrder| match s.judge.may_silence(&order) {
        Ok(()) => "followed".to_owned(),
        Err(fault) => format!("{fault}; hint: {}", fault.hint),
    };
    let day = secs(86_400);
    assert_eq!(said(order("*", &[], 30 * day)), "followed");
    assert_eq!(
        [
            said(order("sshd", &[], 30 * day + secs(1))),
            said(SilenceOrder { why: "  ".into(), ..order("sshd", &[], day) }),
            said(order("shd", &[], day)),
            said(order("[", &[], day)),
            said(order("sshd", &[("user", "x")], day)),
            said(order("disk-full", &[("ip", "x")], day)),
        ],
        [
            "a silence lasts up to 30d; hint: what is to be silent for longer belongs into the rules file: \
             `enabled = false`, `exclude`, or a [[mute]]",
            "a silence needs a reason; hint: say it: --why 'pentest until noon'",
            "no loaded rule is called `shd`; hint: did you mean `sshd`?",
            "this is neither the name of a rule nor a pattern for names; hint: write it like `disk-full` or `nginx-*`",
            "no key of `sshd` has the parts `user`; hint: its incidents are told apart by: ip",
            "no key of `disk-full` has the parts `ip`; hint: it has no `by`: silence it without a key",
        ]
    );
}

#[test]
fn a_silence_keeps_no_secret() {
    let mut s = Story::of(policy(&[calm("sshd")]));
    let secret = "password=hunter2 x";
    s.hits(0, "hunter2", 1);
    let hit =
        Hit { key: Box::new(["hunter3".into()]), line: "login password=hunter3".into(), ..s.make(0, "x") };
    s.give(vec![hit]);
    s.silence(SilenceOrder {
        why: secret.into(),
        author: secret.into(),
        ..order("sshd", &[("ip", "hunter3")], secs(60))
    });
    s.silence(order("sshd", &[("ip", "token=hunter4")], secs(60)));
    let kept: Vec<String> = s
        .rows
        .values()
        .filter(|r| r.name.starts_with("judge/silence/"))
        .filter_map(|r| r.value.clone())
        .collect();
    assert_eq!(kept.len(), 2);
    assert!(!kept.concat().contains("hunter"), "{kept:?}");
    let listed: Vec<Arc<str>> = s.judge.silences(s.now).iter().map(|l| l.key[0].1.as_str().into()).collect();
    assert_eq!(listed, ["[redacted]".into(), "token=[redacted]".into()]);
}

#[test]
fn what_is_resolved_during_a_silence_is_told_if_its_opening_was() {
    let mut s = Story::of(policy(&[calm("raid")]));
    s.hits(0, "md0", 1);
    s.silence(order("raid", &[], secs(3600)));
    s.hits(0, "md0", 2);
    s.hits(0, "md1", 5);
    s.wait(secs(60));
    s.over("md0");
    s.over("md1");
    assert_eq!(s.term("raid"), (0, 5), "md1 opened in silence, and its end is not news yet");
    s.note("it begins again, and is silent");
    s.hits(0, "md0", 1);
    assert_eq!(s.term("raid"), (0, 6));
    s.wait(secs(60));
    s.apply(Input::Unsilence("s1".into()));
    s.wait(secs(60));
    s.says(
        "00:00:00 ops thread 1
            opening raid [warning]: 1 from md0 (+1, 1 in all)
        00:01:00 ops thread 1
            resolved raid [warning]: resolved after 1m, 3 hits (+2, 3 in all) · held: 2 repeats · held: 5 hits muted by s1
        00:01:00 -- it begins again, and is silent
        00:02:00 ops thread 2
            unmuted raid [warning]: the silence s1 of ana (pentest) is over: held 6 hits in 2 incidents; still going: 1 / ip=md0: 1 hit, goes on (+6, 6 in all)",
    );
}

#[test]
fn what_is_resolved_while_it_is_held_before_it_opens_is_below_in_a_silence_too() {
    let mut r = calm("link");
    r.hold = secs(60);
    let mut s = Story::of(policy(&[r]));
    s.silence(order("link", &[], secs(3600)));
    s.hits(0, "eth0", 1);
    assert_eq!(s.term("link"), (1, 0), "it has not opened yet");
    s.wait(secs(10));
    s.over("eth0");
    s.hits(0, "eth1", 1);
    s.wait(secs(100));
    assert_eq!(s.term("link"), (0, 1));
    assert_eq!(s.judge.report(s.now).rules["link"].ledger.below, 1);
    s.says("");
}

#[test]
fn what_goes_missing_during_a_silence_opens_when_it_is_over() {
    let mut r = calm("backup");
    r.by.clear();
    r.expect = Some(Expect { when: When::Every(secs(60)), keys: Vec::new() });
    let mut s = Story::of(policy(&[r]));
    s.silence(order("backup", &[], secs(300)));
    s.wait(secs(200));
    s.says("");
    s.wait(secs(200));
    s.says(
        "00:05:00 ops thread 1
            missing backup [warning]: 0 from  / nothing for 1m; never seen (+0, 0 in all)",
    );
}
