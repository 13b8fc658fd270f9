//! More than a space can take, more spaces than anybody has, and more waiting than can be sent: what does it cost?

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use crate::crash::each_once;
use crate::end_to_end::hits_told;
use crate::harness::fake_chat::FakeChat;
use crate::harness::program::{Place, open_to_append, stopwatch, term};

const LINES_A_SECOND: u64 = 10_000;

/// Never more memory than this, in KiB: 48 MB.
const MEMORY: u64 = 46_875;

/// And so much more at the end than after the first third, in KiB: nothing grows with the lines.
const GROWTH: u64 = 4 * 1024;

/// How long lines come; `.ci/long` has ten minutes of it.
fn seconds() -> u64 {
    std::env::var("LOGHERALD_LOAD_SECONDS").ok().and_then(|n| n.parse().ok()).unwrap_or(30)
}

#[test]
fn ten_thousand_hits_a_second_into_a_space_of_one_write_a_second_provoke_no_429_and_are_counted_to_the_hit() {
    let chat = FakeChat::start();
    let place = Place::new().env("HOOK", &chat.webhook_url("OPS"));
    // short-lived incidents, so that there is something to say all the while
    place.rules(
        "[space.ops]\nwebhook = { env = 'HOOK' }\nwait = '100ms'\nwait_at_most = '500ms'\nmax_per_hour = 3600\n\
         [[rule]]\nname = 'load'\nfiles = ['DIR/app.log']\nmatch = 'storm from {ip}'\nby = ['ip']\nquiet = '5s'\n\
         remind = '2s'\nmax_per_hour = 3600\n",
    );
    place.append("app.log", "a quiet start\n");
    let mut agent = place.start();
    let mut file = open_to_append(&place.path("app.log"));
    let (total, third) = (seconds() * LINES_A_SECOND, seconds() * LINES_A_SECOND / 3);
    let begun = stopwatch();
    let (mut text, mut seq) = (Vec::with_capacity(1 << 18), 0);
    let mut early = 0;
    while seq < total {
        for _ in 0..LINES_A_SECOND / 10 {
            // two hundred addresses at a time, and others from minute to minute
            let (a, b) = (seq / (LINES_A_SECOND * 60) % 256, seq % 200);
            writeln!(text, "Nov 22 05:26:00 h app[1]: storm from 192.0.{a}.{b} seq={seq}").unwrap();
            seq += 1;
        }
        file.write_all(&text).unwrap();
        text.clear();
        agent.live(Duration::from_millis(seq * 1000 / LINES_A_SECOND).saturating_sub(begun.elapsed()));
        if seq == third / 1000 * 1000 {
            early = agent.peak_rss_kib();
        }
    }
    let status = agent.wait_for_status("every hit to be told", |s| {
        term(s, "load", "hits") == total && term(s, "load", "pending") == 0
    });
    let (messages, peak) = (chat.messages("OPS"), agent.peak_rss_kib());
    println!(
        "measured: load: {total} hits in {} s, {} messages, memory {:.1} MiB after a third, {:.1} MiB at most",
        seconds(),
        messages.len(),
        early as f64 / 1024.0,
        peak as f64 / 1024.0
    );
    assert_eq!(hits_told(&messages), total, "{status:#}");
    assert!(chat.attempts().iter().all(|a| a.status == 200), "a 429 was provoked");
    assert_eq!(chat.pace_violations("OPS"), 0);
    assert!(peak <= MEMORY, "{peak} KiB");
    assert!(early > 0 && peak <= early + GROWTH, "{early} KiB after a third, {peak} KiB at the end");
    each_once(&chat);
    assert_eq!(agent.stop(), 0);
}

/// Stopping takes no longer than this with thousands of messages waiting; a debug build beside other tests is given more.
const STOPS_WITHIN: Duration = Duration::from_secs(if cfg!(debug_assertions) { 60 } else { 5 });

#[test]
fn five_thousand_waiting_messages_do_not_hold_up_the_end_and_are_all_there_after_it() {
    // a queue of more than twenty is told as one: so it takes many spaces for so many to wait
    const SPACES: u64 = 260;
    const EACH: u64 = 20;
    let chat = FakeChat::start();
    chat.outage(true);
    let place = Place::new().env("BOSS", &chat.webhook_url("BOSS"));
    // what is told of the outage itself goes elsewhere, or it would be counted
    let mut rules = format!(
        "admin = 'boss'\n[chat]\napi_url = '{}'\n[space.boss]\nwebhook = {{ env = 'BOSS' }}\n",
        chat.base_url()
    );
    let mut names = String::new();
    let key = chat.key_file(&place.path(""));
    for n in 0..SPACES {
        let name = chat.add_space(&format!("S{n}"));
        write!(
            rules,
            "[space.s{n}]\nname = '{name}'\nservice_account = {{ file = '{}' }}\nwait = '0s'\nmax_per_hour = 3600\n",
            key.display()
        )
        .unwrap();
        write!(names, "'s{n}',").unwrap();
    }
    place.rules(&format!(
        "{rules}[route]\nwarning = [{names}]\n[[rule]]\nname = 'trouble'\nspace = 's0'\nfiles = ['DIR/app.log']\nmatch = 'trouble (?<n>\\d+)'\n\
         by = ['n']\nmax_per_hour = 3600\n"
    ));
    place.append("app.log", "this line was there before\n");
    let agent = place.start();
    let waiting = |s: &serde_json::Value| -> u64 {
        let spaces = s["spaces"].as_object().unwrap().iter().filter(|(name, _)| *name != "boss");
        spaces.map(|(_, s)| s["outbox"].as_u64().unwrap()).sum()
    };
    for n in 0..EACH {
        place.append("app.log", &format!("trouble {n}\n"));
        agent.wait_for_status("the messages to wait", |s| waiting(s) == SPACES * (n + 1));
    }
    let before = letters(&place);
    assert_eq!(before.len() as u64, SPACES * EACH);
    let begun = stopwatch();
    assert_eq!(agent.stop(), 0);
    let took = begun.elapsed();
    println!("measured: load: stopped with {} messages waiting in {:.2} s", before.len(), took.as_secs_f64());
    assert!(took < STOPS_WITHIN, "stopping took {took:?}");

    // nobody is there yet
    let agent = place.start();
    assert!(letters(&place) == before, "not all of them are there, or not as they were");
    assert_eq!(chat.all_messages().len(), 0);
    assert_eq!(agent.stop(), 0);
}

/// Every message that waits for the spaces of the test: its id, its space, and the size of its body.
fn letters(place: &Place) -> BTreeSet<(String, String, u64)> {
    let all: Vec<serde_json::Value> =
        serde_json::from_str(&place.says(&["outbox", "--json", "--state", "state"])).unwrap();
    let ours = all.iter().filter(|letter| letter["space"] != "boss");
    let text = |v: &serde_json::Value| v.as_str().unwrap().to_owned();
    ours.map(|l| (text(&l["id"]), text(&l["space"]), l["bytes"].as_u64().unwrap())).collect()
}
