//! Scenario T36: the state cannot be written. Does the agent go on to read, to tell, and to let deleted files go?

use std::cell::Cell;
use std::fs;

use rustix::io::Errno;

use crate::harness::disk::{FaultyDisk, SmallDisk};
use crate::harness::fake_chat::FakeChat;
use crate::harness::power::Power;
use crate::harness::program::{Agent, DEADLINE, Place, term};

const RULES: &str = "[space.ops]\nwebhook = { env = 'HOOK' }\nwait = '100ms'\nmax_per_hour = 3600\n\
                     [[rule]]\nname = 'trouble'\nfiles = ['DIR/app.log']\nspace = 'ops'\n\
                     match = 'trouble (?<part>\\w+)'\nby = ['part']\nquiet = '2s'\nremind = '1s'\nmax_per_hour = 3600\n";

fn place(chat: &FakeChat) -> Place {
    let place = Place::new().env("HOOK", &chat.webhook_url("OPS"));
    place.rules(&format!("{RULES}\n[chat]\napi_url = '{}'\n", chat.base_url()));
    place.append("app.log", "this line was there before\n");
    place
}

/// How the agent learns of lines, and whether it is heard.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reader {
    ToldByEvents,
    Looks,
    /// Nothing that it says arrives until the disk is well again.
    Blocked,
}

impl Reader {
    fn start(self, place: &Place) -> Agent<'_> {
        place.start_with(if self == Reader::Looks { &["--no-inotify"] } else { &[] })
    }

    /// A line that hits is written, and told; or, as long as nothing can be, counted.
    fn hears_of(self, chat: &FakeChat, place: &Place, agent: &Agent<'_>, part: &str) {
        let hits = |s: &serde_json::Value| term(s, "trouble", "hits");
        let before = hits(&agent.status());
        place.append("app.log", &format!("trouble {part}\n"));
        if self == Reader::Blocked {
            agent.wait_for_status(part, |s| hits(s) > before);
        } else {
            is_told(chat, part);
        }
    }
}

/// The message comes that tells of it.
fn is_told(chat: &FakeChat, part: &str) {
    chat.wait_until(DEADLINE, part, |all| all.iter().any(|m| m.shown().contains(part)));
}

/// Deleted files that the agent still holds.
fn held(agent: &Agent<'_>) -> usize {
    let open = fs::read_dir(format!("/proc/{}/fd", agent.pid())).unwrap().map(Result::unwrap);
    // one may be closed while we look
    let to = open.filter_map(|fd| fs::read_link(fd.path()).ok());
    to.filter(|to| to.to_string_lossy().contains("app.log") && to.to_string_lossy().ends_with(" (deleted)"))
        .count()
}

/// What is told, read and let go while `refuse` holds, and what is left of it when the disk is well again.
fn life_goes_on(reader: Reader, chat: &FakeChat, place: &Place, refuse: impl Fn(), mend: impl FnOnce()) {
    chat.outage(reader == Reader::Blocked);
    let mut agent = reader.start(place);
    reader.hears_of(chat, place, &agent, "before");
    let n = Cell::new(0);
    agent.wait_for_status("the disk to be full", |status| {
        // again and again: the agent gives its ballast up, and whoever fills the disk takes that too
        refuse();
        n.set(n.get() + 1);
        // some are other incidents, for which there is no room yet: one that goes on needs no more than it has
        place.append("app.log", &format!("trouble flood{}\n", n.get() / 25));
        status["durable"] == false
    });
    // the last of those lines are read by now
    agent.wait_for_status("what was written so far", |s| term(s, "trouble", "hits") == n.get() + 1);
    reader.hears_of(chat, place, &agent, "meanwhile");
    assert!(
        place.says(&["status", "--state", "state"]).contains("cannot be written to the disk"),
        "it is said first of all"
    );

    // a log that is rotated and deleted gives its room back
    fs::rename(place.path("app.log"), place.path("app.log.1")).unwrap();
    reader.hears_of(chat, place, &agent, "rotated");
    fs::remove_file(place.path("app.log.1")).unwrap();
    agent.wait_for_status("the deleted file to be let go", |_| held(&agent) == 0);

    mend();
    // as it says itself, and as often as it changes: once
    agent.wait_for_log("the state is written to the disk again");
    reader.hears_of(chat, place, &agent, "after");
    let hits = n.get() + 4;
    let blocked = reader == Reader::Blocked;
    let settled = |s: &serde_json::Value| {
        term(s, "trouble", "hits") == hits && (blocked || term(s, "trouble", "pending") == 0)
    };
    agent.wait_for_status("all to be told", |s| s["durable"] == true && settled(s));
    let told = agent.story().iter().filter(|line| line.contains("cannot be written to the disk")).count();
    assert_eq!(told, 1, "{:#?}", agent.story());
    agent.kill();

    chat.outage(false);
    let agent = reader.start(place);
    place.append("app.log", "trouble anew\n");
    is_told(chat, "anew");
    let status = agent.wait_for_status("the last to be told", |s| {
        term(s, "trouble", "hits") > hits && term(s, "trouble", "pending") == 0
    });
    assert_eq!(term(&status, "trouble", "hits"), hits + 1, "{status:#}");
    assert_eq!(term(&status, "trouble", "lost"), 0, "{status:#}");
    assert_eq!(status["read"]["lost_bytes"], 0, "{status:#}");
    assert_eq!(agent.stop(), 0);
}

fn without_space(reader: Reader) {
    let chat = FakeChat::start();
    let place = place(&chat);
    let Some(disk) = SmallDisk::mount_at(&place.path("state"), 12) else { return };
    life_goes_on(reader, &chat, &place, || disk.fill("other"), || disk.free("other"));
}

fn refusing(why: Errno, reader: Reader) {
    let chat = FakeChat::start();
    let Some((place, power)) = Power::over(place(&chat)) else { return };
    life_goes_on(reader, &chat, &place, || power.refuses(Some(why)), || power.refuses(None));
}

#[test]
fn t36_no_space_left_told_by_events() {
    without_space(Reader::ToldByEvents);
}

#[test]
fn t36_no_space_left_found_by_looking() {
    without_space(Reader::Looks);
}

#[test]
fn t36_no_space_left_while_delivery_is_blocked() {
    without_space(Reader::Blocked);
}

#[test]
fn t36_a_read_only_file_system_told_by_events() {
    refusing(Errno::ROFS, Reader::ToldByEvents);
}

#[test]
fn t36_a_read_only_file_system_found_by_looking() {
    refusing(Errno::ROFS, Reader::Looks);
}

#[test]
fn t36_a_read_only_file_system_while_delivery_is_blocked() {
    refusing(Errno::ROFS, Reader::Blocked);
}

/// As where blocks are given out only when they are written: the write was taken, and its sync finds no room.
#[test]
fn no_space_left_for_what_was_written_already() {
    refusing(Errno::NOSPC, Reader::ToldByEvents);
}

#[test]
fn an_input_output_error() {
    refusing(Errno::IO, Reader::ToldByEvents);
}

#[test]
fn a_file_system_that_makes_itself_read_only() {
    let chat = FakeChat::start();
    let place = place(&chat);
    let Some(mut disk) = FaultyDisk::mount_at(&place.path("state"), &place.path("disk.img")) else { return };
    let agent = place.start_with(&[]);
    place.append("app.log", "trouble before\n");
    is_told(&chat, "before");
    disk.fails();
    let n = Cell::new(0);
    agent.wait_for_status("the disk to be refused", |status| {
        n.set(n.get() + 1);
        place.append("app.log", "trouble flood\n");
        status["durable"] == false
    });
    place.append("app.log", "trouble meanwhile\n");
    is_told(&chat, "meanwhile");
    let hits = n.get() + 2;
    agent.wait_for_status("all to be told", |s| {
        term(s, "trouble", "hits") == hits && term(s, "trouble", "pending") == 0
    });
    assert_eq!(agent.stop(), 0, "it ends as it should");

    // it knows what was on the disk: the lines behind that are read again, and none is missing
    disk.is_mended();
    let agent = place.start_with(&[]);
    place.append("app.log", "trouble anew\n");
    is_told(&chat, "anew");
    let status = agent.wait_for_status("the last to be told", |s| {
        term(s, "trouble", "hits") > hits && term(s, "trouble", "pending") == 0
    });
    assert_eq!(term(&status, "trouble", "hits"), hits + 1, "{status:#}");
    assert_eq!(term(&status, "trouble", "lost"), 0, "{status:#}");
    assert_eq!(status["read"]["lost_bytes"], 0, "{status:#}");
    assert_eq!(status["durable"], true);
    assert_eq!(agent.stop(), 0);
}

#[test]
fn a_start_where_the_state_may_only_be_read() {
    let chat = FakeChat::start();
    let place = place(&chat);
    let Some(disk) = SmallDisk::mount_at(&place.path("state"), 32) else { return };
    let agent = place.start_with(&[]);
    place.append("app.log", "trouble before\n");
    is_told(&chat, "before");
    // as a machine does that finds its disk at fault: what was committed last is in the log beside the file
    agent.kill();
    disk.may_be_written(false);
    place.append("app.log", "trouble away\n");

    let mut agent = place.start_with(&[]);
    agent.has_logged("the state cannot be written to the disk; alerts go on from memory");
    place.append("app.log", "trouble meanwhile\n");
    is_told(&chat, "meanwhile");
    is_told(&chat, "the state cannot be written to the disk: alerts go on from memory");
    disk.may_be_written(true);
    agent.wait_for_log("the state is written to the disk again");
    is_told(&chat, "the state is written to the disk again");
    place.append("app.log", "trouble after\n");
    is_told(&chat, "after");
    agent.kill();
    let agent = place.start_with(&[]);
    place.append("app.log", "trouble anew\n");
    is_told(&chat, "anew");
    let status = agent.wait_for_status("all to be told", |s| {
        term(s, "trouble", "hits") == 5 && term(s, "trouble", "pending") == 0
    });
    assert_eq!((&status["durable"], term(&status, "trouble", "lost")), (&true.into(), 0), "{status:#}");
    for part in ["before", "away", "meanwhile", "after", "anew"] {
        is_told(&chat, &format!("part={part}"));
    }
    assert_eq!(agent.stop(), 0);
}
