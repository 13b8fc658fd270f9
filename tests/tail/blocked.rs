//! Does reading wait for delivery?
//!
//! The stories of the other files block the reader by hand, as if it did. This is the proof that it never does: Chat
//! accepts the connection, takes the message, and never answers, while a log is rotated and cut under the program.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};

use crate::harness::fake_chat::{FakeChat, Fault};
use crate::harness::program::{Place, term};

#[test]
fn every_hit_is_counted_while_the_space_never_answers() {
    const LINES: u64 = 2000;
    let chat = FakeChat::start();
    for _ in 0..1000 {
        chat.next(Fault::Stall);
    }
    let place = Place::new().env("HOOK", &chat.webhook_url("OPS"));
    place.rules(
        "[space.ops]\nwebhook = { env = 'HOOK' }\nwait = '10ms'\nwait_at_most = '50ms'\nmax_per_hour = 3600\n\
         [[rule]]\nname = 'trouble'\nfiles = ['DIR/app.log']\nmatch = 'trouble {ip}'\nby = ['ip']\n",
    );
    place.append("app.log", "a quiet start\n");
    let agent = place.start();
    let mut seq = 0;
    let mut write = |n: u64| {
        let mut text = String::new();
        for _ in 0..n {
            seq += 1;
            writeln!(text, "2026-11-22T05:26:00Z h app: trouble 192.0.2.{} seq={seq}", seq % 200).unwrap();
        }
        place.append("app.log", &text);
    };
    write(LINES);
    chat.wait_for_attempts(1, crate::harness::program::DEADLINE);
    // Delivery stands still from here on. What is written is read all the same, wherever it goes.
    write(LINES);
    fs::rename(place.path("app.log"), place.path("app.log.1")).unwrap();
    write(LINES);
    agent.wait_for_status("the lines to be read before they are cut", |s| {
        term(s, "trouble", "hits") == 3 * LINES
    });
    fs::copy(place.path("app.log"), place.path("app.log.2")).unwrap();
    OpenOptions::new().write(true).open(place.path("app.log")).unwrap().set_len(0).unwrap();
    write(LINES);
    let status =
        agent.wait_for_status("every hit to be counted", |s| term(s, "trouble", "hits") == 4 * LINES);
    assert_eq!(term(&status, "trouble", "told"), 0, "{status:#}");
    assert_eq!(term(&status, "trouble", "lost"), 0, "{status:#}");
    assert!(status["gaps"].as_array().is_none_or(Vec::is_empty), "{status:#}");
    assert_eq!(chat.attempts().iter().filter(|a| a.status == 200).count(), 0, "nothing was ever answered");
}
