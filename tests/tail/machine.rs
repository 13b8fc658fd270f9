//! What only the whole program on a real machine can show: the kernel's limits, other filesystems, other users.
//!
//! A kernel or a user that does not allow a scenario skips it out loud. NFS is not among these: a stale handle needs a
//! server whose export is taken away; to the reader it is an error of `pread` and of `statx`, as an unreadable file's.
//!
//! Each story runs three times, as those of the reader do, except where it is about inotify itself: told by events,
//! found by looking, and with a space whose server refuses every connection.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use super::rig::Reader;
use crate::harness::program::{Agent, Place, open_to_append, term};

const RULE: &str = "[[rule]]\nname = 'trouble'\nfiles = ['DIR/GLOB']\nmatch = 'trouble'\n";

/// Where nobody listens.
const NOWHERE: &str = "http://127.0.0.1:1";

/// A place with rules, whose agent learns of what is written in this way.
fn place(reader: Reader, rules: &str) -> Place {
    let place = Place::new();
    let space = format!(
        "[space.ops]\nwebhook = {{ env = 'HOOK' }}\n[defaults]\nspace = 'ops'\n[chat]\napi_url = '{NOWHERE}'\n"
    );
    let told = reader == Reader::Blocked;
    place.rules(&format!("{}{rules}", if told { &space } else { "" }));
    let place = place.env("HOOK", &format!("{NOWHERE}/v1/spaces/OPS/messages?key=k&token=t"));
    if reader == Reader::Looks { place.run_with("--no-inotify") } else { place }
}

/// A place with one rule that counts lines with `trouble`.
fn watching(reader: Reader, glob: &str) -> Place {
    place(reader, &RULE.replace("GLOB", glob))
}

/// Stories of the whole program, each told three times.
macro_rules! program_stories {
    ($($(#[$note:meta])* fn $name:ident($reader:ident) $body:block)*) => {$(
        $(#[$note])*
        mod $name {
            use super::*;
            fn story($reader: Reader) $body
            #[test]
            fn told_by_events() { story(Reader::Told) }
            #[test]
            fn found_by_looking() { story(Reader::Looks) }
            #[test]
            fn while_delivery_is_blocked() { story(Reader::Blocked) }
        }
    )*};
}

fn hits(agent: &Agent<'_>, n: u64) -> serde_json::Value {
    let status = agent.wait_for_status(&format!("{n} hits"), |s| term(s, "trouble", "hits") >= n);
    assert_eq!(term(&status, "trouble", "hits"), n, "{status:#}");
    status
}

/// Whether a command that asks the kernel for something gets it.
fn allowed(what: &str, command: &[&str]) -> bool {
    let done = Command::new(command[0]).args(&command[1..]).output();
    let allowed = done.as_ref().is_ok_and(|out| out.status.success());
    if !allowed {
        println!("SKIPPED: {what} is not allowed here: {done:?}");
    }
    allowed
}

fn told(status: &serde_json::Value, part: &str) -> bool {
    status["troubles"].to_string().contains(part)
}

/// Descriptors that lead into this place. The agent shows them to root alone.
fn open_files(agent: &Agent<'_>, place: &Place) -> Option<usize> {
    let dir = place.path("");
    let all = match fs::read_dir(format!("/proc/{}/fd", agent.pid())) {
        Err(e) if e.kind() == ErrorKind::PermissionDenied => {
            println!("SKIPPED: this user may not see the descriptors of the agent");
            return None;
        }
        all => all.unwrap(),
    };
    let ours = |fd: &fs::DirEntry| fs::read_link(fd.path()).is_ok_and(|to| to.starts_with(&dir));
    Some(all.map(Result::unwrap).filter(ours).count())
}

program_stories! {
fn t50_a_line_of_two_hundred_megabytes_in_bounded_memory(reader) {
    let place = watching(reader, "*.log");
    place.append("app.log", "a quiet start\n");
    let agent = place.start();
    let piece = vec![b'z'; 1 << 20];
    let mut file = open_to_append(&place.path("app.log"));
    file.write_all(b"trouble ").unwrap();
    for _ in 0..200 {
        file.write_all(&piece).unwrap();
    }
    file.write_all(b" trouble\ntrouble\n").unwrap();
    hits(&agent, 2);
    let rss_mib = agent.peak_rss_kib() / 1024;
    println!("measured: a line of 200 MB: peak RSS {rss_mib} MiB");
    assert!(rss_mib < 64, "peak RSS {rss_mib} MiB");
    assert_eq!(agent.stop(), 0);
}
}

program_stories! {
fn t70_twenty_thousand_files_on_a_thousand_descriptors(reader) {
    const HOT: usize = 20;
    const FILES: usize = 20_000;
    let place = watching(reader, "many/*.log");
    fs::create_dir(place.path("many")).unwrap();
    for n in 0..FILES {
        File::create(place.path(&format!("many/{n}.log"))).unwrap();
    }
    let agent = place.start_by(&["prlimit", "--nofile=1024:1024"]);
    let mut written = 0;
    for round in 0..5 {
        for n in 0..HOT {
            let text = "trouble in a hot one\n".repeat(100);
            place.append(&format!("many/{n}.log"), &text);
            written += 100;
            if round == 2 {
                let (from, to) = (format!("many/{n}.log"), format!("many/{n}.log.1"));
                fs::rename(place.path(&from), place.path(&to)).unwrap();
            }
        }
        // quiet ones that speak once, more of them than there are descriptors
        for n in (HOT + round..FILES).step_by(150) {
            place.append(&format!("many/{n}.log"), "trouble in a quiet one\n");
            written += 1;
        }
        hits(&agent, written);
    }
    let open = open_files(&agent, &place);
    println!("measured: {FILES} files: {open:?} open, peak RSS {} MiB", agent.peak_rss_kib() / 1024);
    assert!(open.is_none_or(|open| open < 900), "{open:?} descriptors");
    assert!(!told(&agent.status(), "open files"), "{:#}", agent.status());
    assert_eq!(agent.stop(), 0);
}
}

/// In a user namespace of its own, whose limits are its own.
fn with_few(limit: &str, few: u32, trouble: &str) {
    let set = |n: u32| format!("echo {n} > /proc/sys/user/{limit}");
    if !allowed("a user namespace", &["unshare", "-r", "sh", "-c", &set(few)]) {
        return;
    }
    let place = watching(Reader::Told, "*/*.log");
    for dir in ["a", "b", "c", "d"] {
        fs::create_dir(place.path(dir)).unwrap();
        place.append(&format!("{dir}/x.log"), "a quiet start\n");
    }
    let script = format!("{} && exec \"$@\"", set(few));
    let mut agent = place.launch_by(&["unshare", "-r", "sh", "-c", &script, "sh"]);
    agent.wait_for_log(trouble);
    agent.wait_for_log("watching ");
    let all = |text: &str| {
        for dir in ["a", "b", "c", "d"] {
            place.append(&format!("{dir}/x.log"), text);
            fs::rename(place.path(&format!("{dir}/x.log")), place.path(&format!("{dir}/x.log.1"))).unwrap();
            place.append(&format!("{dir}/x.log"), text);
        }
    };
    all("trouble\n");
    hits(&agent, 8);
    // Raised, as an operator would who was told how.
    let inside = format!("--target={}", agent.pid());
    let raise = set(10_000);
    if allowed(
        "entering a user namespace",
        &["nsenter", &inside, "--user", "--preserve-credentials", "sh", "-c", &raise],
    ) {
        fs::create_dir(place.path("e")).unwrap();
        place.append("e/x.log", "trouble\n");
        all("trouble\n");
        hits(&agent, 17);
    }
    assert_eq!(agent.stop(), 0);
}

#[test]
fn t71_no_inotify_watch_is_left() {
    with_few("max_inotify_watches", 2, "no inotify watch left");
}

#[test]
fn t71_no_inotify_instance_is_left() {
    with_few("max_inotify_instances", 0, "no inotify instance left");
}

/// The kernel's own queue: so small that nearly every event is dropped. The limit is the machine's, and read when a
/// queue is made, so it is small for that moment only.
#[test]
fn t72_the_queue_of_events_overflows() {
    const LIMIT: &str = "/proc/sys/fs/inotify/max_queued_events";
    struct Restore(String);
    impl Drop for Restore {
        fn drop(&mut self) {
            fs::write(LIMIT, &self.0).unwrap();
        }
    }
    let place = watching(Reader::Told, "*.log");
    for n in 0..10 {
        place.append(&format!("{n}.log"), "a quiet start\n");
    }
    let restore = Restore(fs::read_to_string(LIMIT).unwrap());
    if fs::write(LIMIT, "64").is_err() {
        println!("SKIPPED: only root may make the queue of events small");
        return;
    }
    let agent = place.start();
    drop(restore);
    let mut files: Vec<File> = (0..10).map(|n| open_to_append(&place.path(&format!("{n}.log")))).collect();
    // Alternating, so that no two events are one.
    for _ in 0..1000 {
        for file in &mut files {
            file.write_all(b"trouble\n").unwrap();
        }
    }
    for n in 0..200 {
        place.append(&format!("new{n}.log"), "trouble\n");
    }
    hits(&agent, 10_200);
    assert_eq!(agent.stop(), 0);
}

/// Starts in a mount namespace of its own, after `script` has mounted what it wants in there.
fn mounted<'p>(place: &'p Place, script: &str) -> Option<Agent<'p>> {
    let script = script.replace("DIR", &place.path("").display().to_string());
    if !allowed("a mount namespace", &["unshare", "-m", "sh", "-c", &script]) {
        return None;
    }
    let script = format!("{script} && exec \"$@\"");
    Some(place.start_by(&["unshare", "-m", "sh", "-c", &script, "sh"]))
}

program_stories! {
/// Not one event tells of what is written to the layer below.
fn t74_a_file_in_the_lower_layer_of_an_overlay(reader) {
    let place = watching(reader, "merged/*.log");
    for dir in ["lower", "upper", "work", "merged"] {
        fs::create_dir(place.path(dir)).unwrap();
    }
    place.append("lower/app.log", "a quiet start\n");
    let mount =
        "mount -t overlay overlay -o lowerdir=DIR/lower,upperdir=DIR/upper,workdir=DIR/work DIR/merged";
    let Some(agent) = mounted(&place, mount) else { return };
    for n in 1..8 {
        place.append("lower/app.log", "trouble\n");
        hits(&agent, n);
    }
    // As an image's own processes write: this copies the file up, and the next is made in the upper layer.
    let root = format!("/proc/{}/root{}", agent.pid(), place.path("merged").display());
    place.append("lower/app.log", "trouble\n");
    fs::rename(format!("{root}/app.log"), format!("{root}/app.log.1")).unwrap();
    fs::write(format!("{root}/app.log"), "trouble\n").unwrap();
    hits(&agent, 9);
    assert_eq!(agent.stop(), 0);
}
}

program_stories! {
fn t74_a_bind_mount_of_a_single_file(reader) {
    let place = watching(reader, "inside/app.log");
    fs::create_dir(place.path("inside")).unwrap();
    fs::create_dir(place.path("outside")).unwrap();
    File::create(place.path("inside/app.log")).unwrap();
    place.append("outside/app.log", "a quiet start\n");
    let Some(agent) = mounted(&place, "mount --bind DIR/outside/app.log DIR/inside/app.log") else { return };
    let mut file = open_to_append(&place.path("outside/app.log"));
    for n in 1..8 {
        file.write_all(b"trouble\n").unwrap();
        hits(&agent, n);
    }
    // Renamed outside, it is still the file that is mounted; what is made anew outside is not.
    fs::rename(place.path("outside/app.log"), place.path("outside/app.log.1")).unwrap();
    place.append("outside/app.log", "trouble that nobody in here can see\n");
    file.write_all(b"trouble\n").unwrap();
    hits(&agent, 8);
    // Copied and cut it is the same file, as everywhere.
    file.set_len(0).unwrap();
    file.write_all(b"trouble\n").unwrap();
    hits(&agent, 9);
    assert_eq!(agent.stop(), 0);
}
}

program_stories! {
/// Not one event tells of what is written below it.
fn t74_a_file_behind_fuse(reader) {
    if Command::new("bindfs").arg("--version").output().is_err() {
        println!("SKIPPED: `bindfs` is not installed");
        return;
    }
    let place = watching(reader, "merged/*.log");
    fs::create_dir(place.path("lower")).unwrap();
    fs::create_dir(place.path("merged")).unwrap();
    place.append("lower/app.log", "a quiet start\n");
    let Some(agent) = mounted(&place, "bindfs --no-allow-other DIR/lower DIR/merged") else { return };
    for n in 1..8 {
        place.append("lower/app.log", "trouble\n");
        hits(&agent, n);
    }
    // Rotated through the mount, as its own programs do: who renames below it leaves the kernel with pages of another
    // file for whoever holds the old one.
    let root = format!("/proc/{}/root{}", agent.pid(), place.path("merged").display());
    fs::rename(format!("{root}/app.log"), format!("{root}/app.log.1")).unwrap();
    fs::write(format!("{root}/app.log"), "trouble\n").unwrap();
    hits(&agent, 8);
    place.append("lower/app.log", "trouble\n");
    hits(&agent, 9);
    assert_eq!(agent.stop(), 0);
}
}

program_stories! {
/// As logrotate makes it: nobody may read the new file until its mode is set.
fn t76_a_log_that_may_not_be_read_until_later(reader) {
    let place = watching(reader, "*.log");
    fs::set_permissions(place.path(""), fs::Permissions::from_mode(0o777)).unwrap();
    let root = rustix::process::geteuid().is_root();
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    if root
        && !allowed("another user", &[&nobody[..], &[env!("CARGO_BIN_EXE_logherald"), "--version"]].concat())
    {
        return;
    }
    let mode = |name: &str, mode: u32| {
        fs::set_permissions(place.path(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    place.append("app.log", "a quiet start\n");
    let agent = if root { place.start_by(&nobody) } else { place.start() };
    let mut hit = 0;
    for round in 0..5 {
        place.append("app.log", "trouble\n");
        fs::rename(place.path("app.log"), place.path(&format!("app.log.{round}"))).unwrap();
        let mut file = open_to_append(&place.path("app.log"));
        mode("app.log", 0o000);
        file.write_all(b"trouble\ntrouble\n").unwrap();
        // what the reader and what the judge say of it are not of one moment
        let both = |s: &serde_json::Value| told(s, "permission denied") && term(s, "trouble", "hits") > hit;
        let status = agent.wait_for_status("it to be told", both);
        assert_eq!(term(&status, "trouble", "hits"), hit + 1, "{status:#}");
        file.write_all(b"trouble\n").unwrap();
        mode("app.log", 0o644);
        hit += 4;
        let status = hits(&agent, hit);
        assert!(!told(&status, "permission denied"), "{status:#}");
    }
    assert_eq!(agent.stop(), 0);
}
}

program_stories! {
/// What the agent says goes into a file that it watches, and every line hits.
fn t80_the_agents_own_log_is_watched(reader) {
    let place = place(reader, "[[rule]]\nname = 'trouble'\nfiles = ['DIR/*.log']\nmatch = '.'\n");
    place.append("app.log", "a quiet start\n");
    let agent = place.launch_by(&["sh", "-c", "exec \"$@\" 2>>own.log >>own.log", "sh"]);
    // It has not answered before it listens.
    let socket = place.path("state");
    let begun = crate::harness::program::stopwatch();
    while !fs::read_to_string(place.path("own.log")).is_ok_and(|log| log.contains("watching ")) {
        assert!(begun.elapsed() < crate::harness::program::DEADLINE, "{}", socket.display());
    }
    let mut last = 0;
    for round in 0..20 {
        let mut text = String::new();
        writeln!(text, "line {round} that hits").unwrap();
        writeln!(text, "Nov 22 05:26:00 web1 logherald[77]: a line of the agent by syslog").unwrap();
        place.append("app.log", &text);
        let status = agent.wait_for_status("a hit", |s| term(s, "trouble", "hits") > last);
        last = term(&status, "trouble", "hits");
    }
    // Its own lines may hit where no tag tells whose they are, but no hit of theirs makes another.
    let own = fs::read_to_string(place.path("own.log")).unwrap().lines().count() as u64;
    let bound = 20 + own;
    assert!(last <= bound, "{last} hits of {bound} lines");
    let size = fs::metadata(place.path("own.log")).unwrap().len();
    for round in 20..40 {
        place.append("app.log", &format!("line {round} that hits\n"));
        let status = agent.wait_for_status("a hit", |s| term(s, "trouble", "hits") > last);
        last = term(&status, "trouble", "hits");
    }
    let grown = fs::metadata(place.path("own.log")).unwrap().len() - size;
    assert!(grown < 64 * 1024, "the log grew by {grown} bytes for 20 lines");
    assert!(last <= 40 + fs::read_to_string(place.path("own.log")).unwrap().lines().count() as u64);
    assert_eq!(agent.stop(), 0);
}
}

program_stories! {
fn a_stamp_far_in_the_future_stops_nothing(reader) {
    let place = place(
        reader,
        "[[rule]]\nname = 'trouble'\nfiles = ['DIR/*.log']\nmatch = 'trouble'\n\
         [[rule]]\nname = 'many'\nfiles = ['DIR/*.log']\nmatch = 'trouble'\nthreshold = 4\nwithin = '1m'\n",
    );
    place.append("app.log", "a quiet start\n");
    let agent = place.start();
    place.append("app.log", "2099-01-01T00:00:00Z h app: trouble from the future\n");
    hits(&agent, 1);
    for n in 2..8 {
        place.append("app.log", "Nov 22 05:26:00 h app: trouble of now\n");
        hits(&agent, n);
    }
    let told = if reader == Reader::Blocked { "pending" } else { "shown" };
    let status = agent.wait_for_status("the window to fill", |s| term(s, "many", told) > 0);
    assert_eq!(term(&status, "many", "hits"), 7, "{status:#}");
    assert_eq!(agent.stop(), 0);
}
}
