//! The real binary, real files, real logrotate, real HTTP: is every line counted, whatever happens?

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::process::Command;

use crate::harness::fake_chat::{FakeChat, Received};
use crate::harness::program::{Place, have, term};

/// How often the agent is killed where each kill is followed by a wait for a server; `.ci/long` asks for more.
pub(crate) fn kills() -> u32 {
    std::env::var("LOGHERALD_KILLS").ok().and_then(|n| n.parse::<u32>().ok()).map_or(10, |n| n.div_ceil(10))
}

/// The sum of what the messages say: each alert states its hits once.
pub(crate) fn hits_told(messages: &[Received]) -> u64 {
    messages.iter().map(Received::hits).sum()
}

fn logrotate(place: &Place, config: &str) {
    let file = place.path("logrotate.conf");
    let config = config.replace("LOG", &place.path("app.log").display().to_string());
    fs::write(&file, config).unwrap();
    let state = place.path("logrotate.state");
    let out =
        Command::new("logrotate").arg("--force").arg("--state").arg(&state).arg(&file).output().unwrap();
    assert!(out.status.success(), "{out:?}");
}

/// Writes, rotates and kills; at the end every matching line is a hit, and every hit is told or pending.
fn rotated_and_killed(chat: &FakeChat, space: &str, rotation: &str) {
    let place = Place::new().env("HOOK", &chat.webhook_url("HOOKS"));
    let key = chat.key_file(&place.path(""));
    place.rules(&format!(
        "{}\n[chat]\napi_url = '{}'\n[[rule]]\nname = 'trouble'\nfiles = ['DIR/app.log']\n\
         match = 'trouble (?<part>\\w+) seq=\\d+'\nby = ['part']\nquiet = '2s'\nremind = '1s'\nmax_per_hour = 3600\n",
        space.replace("KEY", &key.display().to_string()),
        chat.base_url(),
    ));
    place.append("app.log", "this line was there before\n");
    let mut agent = Some(place.start());
    let (mut matching, mut seq) = (0u64, 0u64);
    let rounds = kills() * 3;
    for round in 0..rounds {
        let mut text = String::new();
        for _ in 0..40 {
            seq += 1;
            if seq % 3 == 0 {
                matching += 1;
                writeln!(text, "2026-11-22T05:26:00Z host app: trouble p{} seq={seq}", seq % 4).unwrap();
            } else {
                writeln!(text, "2026-11-22T05:26:00Z host app: all is well seq={seq}").unwrap();
            }
        }
        // in two writes, so that a kill or a rotation may meet half a line's file
        let (a, b) = text.split_at(text.len() / 2 + (round as usize % 7));
        let mut file = crate::harness::program::open_to_append(&place.path("app.log"));
        file.write_all(a.as_bytes()).unwrap();
        if round % 3 == 1 && rotation.contains("create") {
            logrotate(&place, rotation); // the rest goes to the old inode, late
        }
        file.write_all(b.as_bytes()).unwrap();
        if round % 3 == 1 && rotation.contains("copytruncate") {
            // what copytruncate may lose by its own design is kept out: it copies what has been read
            if let Some(agent) = &agent {
                agent.wait_for_status("every line to be read", |s| term(s, "trouble", "hits") == matching);
            }
            logrotate(&place, rotation);
        }
        if round % 3 == 2 {
            agent.take().unwrap().kill();
            agent = Some(place.start());
        }
    }
    let agent = agent.unwrap();
    let status = agent.wait_for_status("every hit to be told", |s| {
        term(s, "trouble", "hits") >= matching && term(s, "trouble", "pending") == 0
    });
    let told = hits_told(&chat.messages("HOOKS")) + hits_told(&chat.messages("APP"));
    assert_eq!(term(&status, "trouble", "hits"), matching, "hits are the matching lines: {status:#}");
    assert_eq!(
        told + term(&status, "trouble", "pending"),
        matching,
        "messages and pending add up: {status:#}"
    );
    assert_eq!(chat.violations(), Vec::<String>::new(), "one id has one body, for ever");
    assert_eq!(agent.stop(), 0);
}

const WEBHOOK: &str =
    "[space.ops]\nwebhook = { env = 'HOOK' }\nwait = '200ms'\nwait_at_most = '1s'\nmax_per_hour = 600\n";
const REST: &str = "[space.app]\nname = 'spaces/APP'\nservice_account = { file = 'KEY' }\nwait = '200ms'\n\
                    wait_at_most = '1s'\nmax_per_hour = 600\n";
const CREATE: &str = "LOG {\n create 0644\n rotate 60\n missingok\n}\n";
const COPYTRUNCATE: &str = "LOG {\n copytruncate\n rotate 60\n missingok\n}\n";

#[test]
fn a_webhook_hears_of_every_line_through_create_and_kill_9() {
    if have("logrotate") {
        rotated_and_killed(&FakeChat::start(), WEBHOOK, CREATE);
    }
}

#[test]
fn the_rest_api_hears_of_every_line_through_copytruncate_and_kill_9() {
    if !have("logrotate") {
        return;
    }
    let chat = FakeChat::start();
    chat.add_space("APP");
    chat.refuse_self_signed();
    rotated_and_killed(&chat, REST, COPYTRUNCATE);
    assert!(chat.tokens_granted() > 0, "self-signed tokens were refused, so one must have been exchanged");
}

#[test]
fn the_shipped_rules_show_a_card_in_the_terminal() {
    let place = Place::new();
    let shipped = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/rules.toml")).unwrap();
    fs::create_dir(place.path("log")).unwrap();
    place.rules(&shipped.replace("/var/log/", "DIR/log/"));
    place.append("log/syslog", "Nov 22 05:26:00 web1 systemd[1]: Started nothing of note.\n");
    let mut agent = place.start();
    place.append("log/syslog", "Nov 22 05:26:01 web1 kernel: EXT4-fs error (device sda1): ext4_find_entry:1455: inode #2: comm ls: reading directory lblock 0\n");
    agent.wait_for_output("EXT4-fs error");
    assert_eq!(agent.stop(), 0);
}

#[test]
fn a_line_that_does_not_come_is_missing_and_is_told_when_it_comes() {
    let place = Place::new();
    place.append("jobs.log", "begin\n");
    place.rules(
        r#"
[[rule]]
name = "heartbeat"
files = ["DIR/jobs.log"]
match = 'job (?<job>\w+) is alive'
expect = { every = "1s" }
"#,
    );
    let mut agent = place.start();
    agent.wait_for_output("heartbeat · missing");
    agent.wait_for_output("nothing for 1s; never seen");
    place.append("jobs.log", "job backup is alive\n");
    agent.wait_for_output("heartbeat · seen");
    agent.wait_for_output("job backup is alive");
    assert_eq!(agent.stop(), 0);
}
