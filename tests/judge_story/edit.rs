//! Spaces with `update = "edit"`: what an opening's message says as its incidents go on.

use logherald::judge::{Input, SilenceOrder, SpacePolicy};
use logherald::message::{Fate, RowId};

use super::{Story, policy, rule, secs, space};

fn edited(name: &str) -> SpacePolicy {
    SpacePolicy { edit: true, ..space(name) }
}

/// One rule that speaks to these spaces.
fn story(spaces: &[SpacePolicy]) -> Story {
    let mut one = rule("ssh");
    one.spaces = spaces.iter().map(|s| s.name.clone()).collect();
    let mut policy = policy(&[one]);
    policy.spaces = spaces.to_vec();
    Story::of(policy)
}

impl Story {
    /// Two hits a second for so long.
    fn storm(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.wait(secs(1));
            self.hits(0, "a", 2);
        }
    }
}

#[test]
fn an_opening_counts_live_every_ten_seconds_and_says_its_end() {
    let mut s = story(&[edited("ops")]);
    s.hits(0, "a", 1);
    s.storm(25);
    s.wait(secs(3600));
    s.says(
        "\
        00:00:00 ops thread 1
            opening ssh [warning]: 1 from a (+1, 1 in all)
        00:00:10 ops thread 1 edit
            reminder ssh [warning]: 19 from a (+19, 19 in all)
        00:00:20 ops thread 1 edit
            reminder ssh [warning]: 39 from a (+39, 39 in all)
        00:00:30 ops thread 1 edit
            reminder ssh [warning]: 51 from a (+51, 51 in all)
        00:10:25 ops thread 1 edit
            end ssh [warning]: 51 from a / ended after 25s, 51 hits (+51, 51 in all)",
    );
    assert_eq!(s.judge.report(s.now).rules["ssh"].ledger.told, 50);
}

#[test]
fn the_message_of_a_flush_is_rendered_anew_with_all_that_it_holds() {
    let mut s = story(&[edited("ops")]);
    s.hits(0, "z", 1);
    s.hits(0, "a", 1);
    s.hits(0, "b", 1);
    s.wait(secs(6));
    s.note("the second message holds two");
    s.said.clear();
    s.hits(0, "b", 4);
    s.wait(secs(20));
    s.hits(0, "a", 1);
    s.wait(secs(20));
    s.says(
        "\
        00:00:15 ops thread 2 edit
            opening ssh [warning]: 1 from a (+1, 1 in all)
            reminder ssh [warning]: 5 from b (+5, 5 in all)
        00:00:26 ops thread 2 edit
            reminder ssh [warning]: 2 from a (+2, 2 in all)
            reminder ssh [warning]: 5 from b (+5, 5 in all)",
    );
}

#[test]
fn what_is_resolved_and_comes_again_is_one_message() {
    let mut s = story(&[edited("ops")]);
    s.hits(0, "a", 1);
    s.wait(secs(20));
    s.over("a");
    s.wait(secs(20));
    s.hits(0, "a", 3);
    s.wait(secs(20));
    s.over("a");
    s.wait(secs(3600));
    s.says(
        "\
        00:00:00 ops thread 1
            opening ssh [warning]: 1 from a (+1, 1 in all)
        00:00:20 ops thread 1 edit
            resolved ssh [warning]: 1 from a / resolved after 20s, 1 hit (+1, 1 in all)
        00:00:40 ops thread 1 edit
            reminder ssh [warning]: 4 from a (+4, 4 in all)
        00:01:00 ops thread 1 edit
            resolved ssh [warning]: 4 from a / resolved after 1m, 4 hits (+4, 4 in all)",
    );
}

#[test]
fn who_reads_it_in_a_thread_and_who_reads_the_message_are_told_the_same() {
    let mut s = story(&[space("ops"), edited("boss")]);
    s.hits(0, "a", 1);
    s.storm(12);
    s.wait(secs(500));
    s.hits(0, "a", 1);
    s.wait(secs(3600));
    s.says(
        "\
        00:00:00 boss thread 1
            opening ssh [warning]: 1 from a (+1, 1 in all)
        00:00:00 ops thread 2
            opening ssh [warning]: 1 from a (+1, 1 in all)
        00:00:10 boss thread 1 edit
            reminder ssh [warning]: 19 from a (+1, 19 in all)
        00:00:20 boss thread 1 edit
            reminder ssh [warning]: 25 from a (+1, 25 in all)
        00:08:32 boss thread 1 edit
            reminder ssh [warning]: 26 from a (+1, 26 in all)
        00:18:32 ops thread 2
            end ssh [warning]: 25 from a (+25, 26 in all) · held: 25 repeats
        00:18:32 boss thread 1 edit
            end ssh [warning]: 26 from a / ended after 8m 32s, 26 hits (+26, 26 in all)",
    );
    let ledger = s.judge.report(s.now).rules["ssh"].ledger;
    assert_eq!((ledger.hits, ledger.shown, ledger.told), (26, 1, 25));
}

#[test]
fn an_edit_that_waits_gives_its_place_and_its_hits_to_a_newer_one() {
    let mut s = story(&[edited("ops")]);
    s.hits(0, "a", 1);
    s.chat_is_down = true;
    s.storm(35);
    s.says(
        "\
        00:00:00 ops thread 1
            opening ssh [warning]: 1 from a (+1, 1 in all)
        00:00:10 ops thread 1 edit
            reminder ssh [warning]: 19 from a (+19, 19 in all)
        00:00:20 ops thread 1 edit
            reminder ssh [warning]: 39 from a (+39, 39 in all)
        00:00:30 ops thread 1 edit
            reminder ssh [warning]: 59 from a (+59, 59 in all)",
    );
    let pending = s.judge.report(s.now).rules["ssh"].pending;
    assert_eq!(pending, 70);
    let waiting: Vec<_> = s.judge.unsettled().collect();
    assert_eq!(waiting, [s.waiting.last().unwrap().no], "one edit waits, whatever was made before it");
    s.chat_is_down = false;
    s.fates(Fate::Delivered);
    s.wait(secs(15));
    let report = s.judge.report(s.now);
    assert_eq!((report.rules["ssh"].ledger.told, report.rules["ssh"].pending), (70, 0));
    assert_eq!(report.spaces["ops"].in_flight, 0);
}

#[test]
fn a_message_that_is_gone_is_made_anew_and_edited_from_then_on() {
    let mut s = story(&[edited("ops")]);
    s.hits(0, "a", 1);
    s.chat_is_down = true;
    s.storm(11);
    let edit = s.waiting.pop().unwrap();
    assert_eq!(edit.edits, Some(RowId(format!("{:032x}", 1).into())));
    s.apply(Input::Stands { message: edit.no, row: None });
    s.storm(60);
    assert!(s.waiting.is_empty(), "nothing edits what is not there");
    s.said.clear();
    s.apply(Input::Stands { message: edit.no, row: Some(RowId("anew".into())) });
    s.fate(edit.no, Fate::Delivered);
    s.storm(15);
    s.says(
        "\
        00:01:21 ops thread 1 edit
            reminder ssh [warning]: 161 from a (+161, 161 in all)",
    );
    assert!(s.waiting.iter().all(|m| m.edits == Some(RowId("anew".into()))));
}

#[test]
fn where_an_edit_is_refused_its_thread_tells_what_follows() {
    let mut s = story(&[edited("ops")]);
    s.hits(0, "a", 1);
    s.chat_is_down = true;
    s.storm(11);
    s.fates(Fate::DeadLettered);
    s.chat_is_down = false;
    s.said.clear();
    s.hits(0, "a", 1);
    s.wait(secs(3700));
    s.says(
        "\
        00:10:11 ops thread 1
            end ssh [warning]: 5 from a (+5, 24 in all) · held: 5 repeats",
    );
    let report = &s.judge.report(s.now).rules["ssh"];
    assert_eq!(report.ledger.hits, report.ledger.settled() + report.pending);
    assert_eq!(report.pending, 18, "what the dead letter says is told when it is sent again");
}

#[test]
fn a_restart_goes_on_editing_and_a_reload_may_end_it() {
    let mut s = story(&[edited("ops")]);
    s.hits(0, "a", 1);
    s.wait(secs(2));
    s.hits(0, "a", 2);
    s.restart(secs(3));
    s.wait(secs(20));
    s.hits(0, "a", 5);
    s.wait(secs(1));
    s.hits(0, "a", 2);
    s.note("update = \"thread\"");
    s.policy.spaces = vec![space("ops")];
    let policy = Box::new(s.policy.clone());
    s.apply(Input::Policy(policy));
    s.wait(secs(3600));
    s.says(
        "\
        00:00:00 ops thread 1
            opening ssh [warning]: 1 from a (+1, 1 in all)
        00:00:10 ops thread 1 edit
            reminder ssh [warning]: 3 from a (+3, 3 in all)
        00:00:25 ops thread 1 edit
            reminder ssh [warning]: 8 from a (+8, 8 in all)
        00:00:26 -- update = \"thread\"
        00:10:26 ops thread 1
            end ssh [warning]: 2 from a (+2, 10 in all) · held: 2 repeats",
    );
}

#[test]
fn a_silence_holds_edits_too() {
    let mut s = story(&[edited("ops")]);
    s.hits(0, "a", 1);
    s.wait(secs(20));
    let order = SilenceOrder {
        rule: "ssh".into(),
        key: Vec::new(),
        length: secs(60),
        author: "ana".into(),
        why: "upgrade".into(),
    };
    s.apply(Input::Silence(Box::new(order)));
    s.hits(0, "a", 7);
    s.wait(secs(50));
    s.note("not a word so far");
    s.wait(secs(20));
    s.hits(0, "a", 1);
    s.wait(secs(3600));
    s.says(
        "\
        00:00:00 ops thread 1
            opening ssh [warning]: 1 from a (+1, 1 in all)
        00:01:10 -- not a word so far
        00:01:20 ops thread 2
            unmuted ssh [warning]: the silence s1 of ana (upgrade) is over: held 7 hits in 1 incident; still going: 1 / ip=a: 7 hits, goes on (+7, 7 in all)
        00:01:30 ops thread 1 edit
            reminder ssh [warning]: 9 from a (+2, 9 in all)
        00:11:30 ops thread 1 edit
            end ssh [warning]: 9 from a / ended after 1m 30s, 9 hits (+2, 9 in all)",
    );
}
