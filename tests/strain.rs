//! A machine that is short of something: a disk that takes seconds for each sync, few descriptors, little memory. Is every hit
//! still told once?

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use crate::crash::each_once;
use crate::end_to_end::hits_told;
use crate::harness::fake_chat::FakeChat;
use crate::harness::power::Power;
use crate::harness::program::{Place, term};

/// How much longer each sync takes.
const SLOW: Duration = Duration::from_secs(5);

#[test]
fn a_disk_that_takes_five_seconds_for_each_sync_delays_and_loses_nothing_nor_does_a_kill_meanwhile() {
    let chat = FakeChat::start();
    let place = Place::new().env("HOOK", &chat.webhook_url("OPS"));
    place.rules(
        "[space.ops]\nwebhook = { env = 'HOOK' }\nwait = '100ms'\nmax_per_hour = 3600\n[[rule]]\nname = 'trouble'\n\
         files = ['DIR/app.log']\nmatch = 'trouble (?<n>\\d+)'\nby = ['n']\nmax_per_hour = 3600\n",
    );
    place.append("app.log", "this line was there before\n");
    let Some((place, power)) = Power::over(place) else { return };
    let mut agent = place.start();
    power.slows(Some(SLOW));
    for n in 0..5 {
        place.append("app.log", &format!("trouble {n}\n"));
        agent.live(Duration::from_millis(300));
    }
    let status = agent.wait_for_status("the lines to be told", |s| term(s, "trouble", "shown") == 5);
    assert_eq!(status["durable"], true, "slow is not broken");
    for n in 5..10 {
        place.append("app.log", &format!("trouble {n}\n"));
        agent.live(Duration::from_millis(300));
    }
    // whatever of them is written, or is being written
    agent.kill();
    let agent = place.start();
    let status = agent.wait_for_status("all lines to be told", |s| term(s, "trouble", "shown") == 10);
    assert_eq!((term(&status, "trouble", "hits"), term(&status, "trouble", "lost")), (10, 0), "{status:#}");
    assert_eq!(hits_told(&chat.messages("OPS")), 10);
    each_once(&chat);
    power.slows(None);
    assert_eq!(agent.stop(), 0);
}

#[test]
fn eight_spaces_and_three_hundred_logs_live_on_sixty_four_descriptors() {
    const SPACES: u64 = 8;
    const LOGS: u64 = 300;
    let chat = FakeChat::start();
    let mut place = Place::new();
    let mut rules = String::new();
    for n in 0..SPACES {
        place = place.env(&format!("HOOK_{n}"), &chat.webhook_url(&format!("S{n}")));
        write!(
            rules,
            "[space.s{n}]\nwebhook = {{ env = 'HOOK_{n}' }}\nwait = '100ms'\nmax_per_hour = 3600\n[[rule]]\nname = 's{n}'\n\
             space = 's{n}'\nfiles = ['DIR/many/*.log']\nmatch = 'trouble in s{n}: (?<no>\\d+)'\nby = ['no']\n\
             max_per_hour = 3600\n"
        )
        .unwrap();
    }
    place.rules(&rules);
    fs::create_dir(place.path("many")).unwrap();
    for log in 0..LOGS {
        place.append(&format!("many/{log}.log"), "this line was there before\n");
    }
    let agent = place.start_by(&["prlimit", "--nofile=64:64"]);
    for log in 0..LOGS {
        place.append(&format!("many/{log}.log"), &format!("trouble in s{}: {log}\n", log % SPACES));
    }
    let sum =
        |s: &serde_json::Value, what: &str| (0..SPACES).map(|n| term(s, &format!("s{n}"), what)).sum::<u64>();
    let status =
        agent.wait_for_status("every hit to be told", |s| sum(s, "hits") == LOGS && sum(s, "pending") == 0);
    assert_eq!(sum(&status, "lost"), 0, "{status:#}");
    assert_eq!(hits_told(&chat.all_messages()), LOGS);
    each_once(&chat);
    assert_eq!(agent.stop(), 0);
}

/// So much memory of its own the agent may have in all, with its threads' stacks.
const MEMORY: u64 = 96 << 20;

#[test]
fn twenty_thousand_keys_and_a_chat_that_is_away_fit_into_little_memory() {
    const KEYS: u64 = 20_000;
    let chat = FakeChat::start();
    let place = Place::new().env("HOOK", &chat.webhook_url("OPS"));
    place.rules(
        "[judge]\nmemory = '4MiB'\n[space.ops]\nwebhook = { env = 'HOOK' }\nwait = '100ms'\nmax_per_hour = 3600\n[[rule]]\n\
         name = 'trouble'\nfiles = ['DIR/app.log']\nmatch = 'trouble of (?<whom>\\w+)'\nby = ['whom']\nquiet = '2s'\nremind = '1s'\nmax_per_hour = 3600\n",
    );
    place.append("app.log", "this line was there before\n");
    chat.outage(true);
    let agent = place.start_by(&["prlimit", &format!("--data={MEMORY}:{MEMORY}")]);
    let mut text = String::new();
    for n in 0..KEYS {
        writeln!(text, "trouble of user{n} at work").unwrap();
        if n % 1000 == 999 {
            place.append("app.log", &text);
            text.clear();
        }
    }
    agent.wait_for_status("every line to be read", |s| term(s, "trouble", "hits") == KEYS);
    chat.outage(false);
    let status = agent.wait_for_status("every hit to be told", |s| {
        s["spaces"]["ops"]["outbox"] == 0 && term(s, "trouble", "pending") == 0
    });
    assert_eq!((term(&status, "trouble", "hits"), term(&status, "trouble", "lost")), (KEYS, 0), "{status:#}");
    assert_eq!(hits_told(&chat.messages("OPS")), KEYS, "{status:#}");
    let own = fs::read_to_string(format!("/proc/{}/status", agent.pid())).unwrap();
    let own = own.lines().find_map(|l| l.strip_prefix("VmData:")).unwrap().trim();
    println!("measured: strain: {own} of its own memory, of {} MiB allowed", MEMORY >> 20);
    each_once(&chat);
    assert_eq!(agent.stop(), 0);
}
