//! The systemd journal, as `systemd-journal-remote` writes it and the real `journalctl` reads it: every entry once,
//! in order, with its fields, across boots, restarts, kills, rotations and vacuums.
//!
//! What stands for the machine's own `journalctl` is a script that points the real one at a folder of the test. The
//! entries are those of machines that booted several times: `_BOOT_ID` says so. What this cannot prove, for want of a
//! booted systemd, is a living journald: its own rotation, its "Bad message" under load (a child that is killed stands
//! for that here), and `/run` flushed to `/var`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use logherald::line::{BlockEnd, Gap, Place as Spot, Position, PositionKey, SourceNo};
use logherald::tail::{
    Bell, Encoding, Format, From, Input, Join, Rung, SourceSpec, Step, TailOptions, Tailer, Trouble,
};
use logherald::time::{Clock, Now, Wall};

use crate::harness::program::{DEADLINE, Place, have, stopwatch, term};

/// From the package of that name.
const REMOTE: &str = "/lib/systemd/systemd-journal-remote";

/// When the first entry was written: microseconds since the epoch.
const BEGIN: u64 = 1_700_000_000_000_000;

/// Whether a real journal can be written and read here; out loud where not, and a failure in CI.
fn tools() -> bool {
    have("journalctl") && have(REMOTE)
}

/// One entry to be written.
#[derive(Clone)]
struct Entry {
    boot: char,
    /// Microseconds since the epoch.
    at: u64,
    message: Vec<u8>,
    fields: Vec<(&'static str, &'static str)>,
}

fn entry(boot: char, second: u64, message: impl Into<Vec<u8>>) -> Entry {
    let fields = vec![("_SYSTEMD_UNIT", "app.service"), ("SYSLOG_IDENTIFIER", "app"), ("_PID", "7")];
    Entry { boot, at: BEGIN + second * 1_000_000, message: message.into(), fields }
}

/// One that was written just now: nothing that the agent would tell as old news.
fn fresh(boot: char, message: &str) -> Entry {
    Entry { at: Clock::continuing(None).now().wall.0 as u64 * 1000, ..entry(boot, 0, message) }
}

impl Entry {
    fn with(mut self, fields: &[(&'static str, &'static str)]) -> Entry {
        self.fields.retain(|(name, _)| fields.iter().all(|(other, _)| other != name));
        self.fields.extend_from_slice(fields);
        self
    }

    /// In the export format: <https://systemd.io/JOURNAL_EXPORT_FORMATS/>.
    fn export(&self) -> Vec<u8> {
        let mut out = String::new();
        writeln!(out, "__REALTIME_TIMESTAMP={}", self.at).unwrap();
        writeln!(out, "__MONOTONIC_TIMESTAMP={}", 1 + (self.at - BEGIN) % 3_600_000_000).unwrap();
        writeln!(out, "_BOOT_ID={}", self.boot.to_string().repeat(32)).unwrap();
        writeln!(out, "_MACHINE_ID={}\n_HOSTNAME=web1", "ab".repeat(16)).unwrap();
        for (name, value) in &self.fields {
            writeln!(out, "{name}={value}").unwrap();
        }
        let mut out = out.into_bytes();
        out.extend_from_slice(b"MESSAGE\n");
        out.extend_from_slice(&(self.message.len() as u64).to_le_bytes());
        out.extend_from_slice(&self.message);
        out.extend_from_slice(b"\n\n");
        out
    }
}

/// A folder with a journal in it, and a `journalctl` that reads it.
struct Store {
    dir: tempfile::TempDir,
}

impl Store {
    fn new() -> Store {
        let store = Store { dir: tempfile::tempdir().unwrap() };
        fs::create_dir(store.path("journal")).unwrap();
        fs::create_dir(store.path("bin")).unwrap();
        let real = Command::new("sh").args(["-c", "command -v journalctl"]).output().unwrap().stdout;
        let script = format!(
            "#!/bin/sh\n\
             # every child's number, and what happens just before the one that follows\n\
             echo $$ >> '{dir}/children'\n\
             case \"$*\" in *--follow*) [ ! -x '{dir}/hook' ] || '{dir}/hook' ;; esac\n\
             exec {} --directory='{dir}/journal' \"$@\"\n",
            String::from_utf8(real).unwrap().trim(),
            dir = store.dir.path().display(),
        );
        store.script("bin/journalctl", &script);
        store
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn script(&self, name: &str, text: &str) {
        crate::harness::script(&self.path(name), text);
    }

    /// Appends to a file of the journal, made when it is not there.
    fn write(&self, file: &str, entries: &[Entry]) {
        let mut child = Command::new(REMOTE)
            .arg(format!("--output={}", self.path("journal").join(file).display()))
            .arg("-")
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut pipe = child.stdin.take().unwrap();
        for entry in entries {
            pipe.write_all(&entry.export()).unwrap();
        }
        drop(pipe);
        assert!(child.wait().unwrap().success());
    }

    /// The next child that follows comes too late for these.
    fn write_before_following(&self, file: &str, entries: &[Entry]) {
        let export: Vec<u8> = entries.iter().flat_map(Entry::export).collect();
        fs::write(self.path("late"), export).unwrap();
        let hook = format!(
            "#!/bin/sh\n[ -e '{dir}/late' ] || exit 0\n\
             {REMOTE} --output='{dir}/journal/{file}' - < '{dir}/late' 2> /dev/null\nrm '{dir}/late'\n",
            dir = self.dir.path().display(),
        );
        self.script("hook", &hook);
    }

    /// The processes that read it or have read it, in the order in which they were started.
    fn children(&self) -> Vec<Pid> {
        let text = fs::read_to_string(self.path("children")).unwrap_or_default();
        text.lines().filter_map(|l| Pid::from_raw(l.parse().ok()?)).collect()
    }
}

/// A tailer on such a journal, and what it gave.
struct Rig {
    store: Store,
    spec: SourceSpec,
    tailer: Option<Tailer>,
    now: Now,
    saved: BTreeMap<PositionKey, Position>,
    /// Without their heads, which hold the time in the zone of this machine.
    got: Vec<String>,
    stamps: Vec<i64>,
    fields: Vec<Vec<String>>,
    cut: usize,
    gaps: Vec<Gap>,
    troubles: Vec<Trouble>,
    expected: Vec<String>,
}

impl Rig {
    fn new(from: From, unit: Option<&str>) -> Rig {
        Rig {
            store: Store::new(),
            spec: SourceSpec {
                no: SourceNo(3),
                name: "journal".into(),
                input: Input::Journal { unit: unit.map(str::to_owned) },
                from,
                max_line: 256 * 1024,
                join: Join::None,
                format: Format::Plain,
                encoding: Encoding::default(),
            },
            tailer: None,
            now: Clock::continuing(None).now(),
            saved: BTreeMap::new(),
            got: vec![],
            stamps: vec![],
            fields: vec![],
            cut: 0,
            gaps: vec![],
            troubles: vec![],
            expected: vec![],
        }
    }

    /// Writes entries that are to come out.
    fn write(&mut self, file: &str, entries: &[Entry]) {
        self.expect(entries);
        self.store.write(file, entries);
    }

    fn expect(&mut self, entries: &[Entry]) {
        self.expected.extend(entries.iter().map(|e| line(&e.message)));
    }

    fn start(&mut self) {
        let options = TailOptions {
            journalctl: self.store.path("bin/journalctl"),
            inotify: false,
            ..TailOptions::default()
        };
        let saved = self.saved.values().cloned().collect();
        self.tailer = Some(Tailer::new(vec![self.spec.clone()], saved, Bell::new(), options, self.now));
    }

    /// Killed: what the last steps told is not kept.
    fn stop(&mut self) {
        self.tailer = None;
    }

    fn step(&mut self) -> Step {
        let Rig { tailer, got, stamps, fields, cut, now, .. } = self;
        let mut step = tailer.as_mut().unwrap().step(*now, &mut |block| {
            assert_eq!((block.source, &**block.file), (SourceNo(3), "journal"));
            *cut += usize::from(block.end == BlockEnd::Cut);
            for record in block.records {
                let text = &block.bytes[record.start as usize..record.end as usize];
                got.push(String::from_utf8_lossy(&text[16..]).into_owned());
                stamps.push(record.stamp.unwrap().0);
                let own = &block.fields[record.fields.0 as usize..record.fields.1 as usize];
                fields.push(own.iter().map(|f| format!("{}={}", f.name, f.value)).collect());
            }
            vec![]
        });
        for position in &step.positions {
            // what the store does: to JSON and back
            let json = serde_json::to_string(position).unwrap();
            self.saved.insert(position.key.clone(), serde_json::from_str(&json).unwrap());
        }
        self.gaps.append(&mut step.gaps);
        self.troubles.append(&mut step.troubles);
        step
    }

    /// Steps and waits, for its pipe alone while time stands still, until `done`.
    fn until(&mut self, what: &str, done: impl Fn(&Rig) -> bool) {
        let begun = stopwatch();
        while !done(self) {
            assert!(begun.elapsed() < DEADLINE, "waited for {what}; it gave {:#?}", self.got);
            if !self.step().more {
                self.tailer.as_ref().unwrap().wait_for(Duration::from_secs(1));
            }
        }
    }

    /// Until all came that was expected, and nothing else.
    fn heard(&mut self) {
        self.until("every entry", |rig| rig.got.len() >= rig.expected.len());
        self.quiet();
        assert_eq!(self.got, self.expected);
    }

    /// Until the child that follows has started and has nothing more to say: it sleeps.
    fn quiet(&mut self) {
        self.until("a child that follows", |rig| rig.following().is_some());
        let begun = stopwatch();
        loop {
            while self.step().more {}
            if self.following().is_some_and(sleeps) {
                break;
            }
            assert!(begun.elapsed() < DEADLINE, "the child never sleeps");
        }
        while self.step().more {}
    }

    /// The child that follows, when the newest one is that.
    fn following(&self) -> Option<Pid> {
        let pid = *self.store.children().last()?;
        let line = fs::read(format!("/proc/{}/cmdline", pid.as_raw_pid())).ok()?;
        let line = String::from_utf8_lossy(&line).into_owned();
        (line.contains("--directory=") && line.contains("--follow")).then_some(pid)
    }

    fn cursor(&self) -> String {
        match self.saved.values().next().map(|p| &p.place) {
            Some(Spot::Journal { cursor }) => cursor.clone(),
            other => panic!("{other:?}"),
        }
    }

    /// What was saved becomes this cursor.
    fn save(&mut self, cursor: &str, at: Wall) {
        let key = PositionKey { source: "journal".into(), file: None };
        let place = Spot::Journal { cursor: cursor.to_owned() };
        self.saved.insert(key.clone(), Position { key, place, at });
    }

    fn no_complaint(&self) {
        assert!(self.gaps.is_empty() && self.troubles.is_empty(), "{:?} {:?}", self.gaps, self.troubles);
    }
}

/// As it comes out, without time.
fn line(message: &[u8]) -> String {
    format!("web1 app[7]: {}", String::from_utf8_lossy(message))
}

/// It waits in `poll`, with everything it had to say said.
fn sleeps(pid: Pid) -> bool {
    let read =
        |name: &str| fs::read_to_string(format!("/proc/{}/{name}", pid.as_raw_pid())).unwrap_or_default();
    read("stat").rsplit(')').next().is_some_and(|s| s.trim_start().starts_with('S'))
        && read("wchan").contains("poll")
}

/// Waits until a process is gone.
fn gone(pid: Pid) {
    // no such process: gone already
    let Ok(fd) = pidfd_open(pid, PidfdFlags::empty()) else { return };
    let deadline = Timespec { tv_sec: DEADLINE.as_secs() as i64, tv_nsec: 0 };
    let ended = poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&deadline)).unwrap();
    assert_eq!(ended, 1, "{pid:?} lives on");
}

/// Three boots, an hour each, three entries in each.
fn three_boots() -> Vec<Entry> {
    let of = |(n, boot): (u64, char)| (0..3).map(move |i| entry(boot, n * 3600 + i, format!("{boot}{i}")));
    (0..).zip("abc".chars()).flat_map(of).collect()
}

#[test]
fn entries_of_all_boots_come_once_and_in_order_and_later_ones_by_the_pipe_alone() {
    if !tools() {
        return;
    }
    let mut rig = Rig::new(From::Start, None);
    rig.write("a.journal", &three_boots());
    rig.start();
    rig.heard();
    assert_eq!(rig.stamps[0], (BEGIN / 1000) as i64);
    assert!(rig.tailer.as_ref().unwrap().begun());
    // time stands still: nothing but the pipe can wake the reader now
    for n in 0..3 {
        rig.write("a.journal", &[entry('c', 7300 + n, format!("later {n}"))]);
        assert_eq!(rig.tailer.as_ref().unwrap().wait_for(DEADLINE), Rung::Readable);
        rig.heard();
    }
    rig.stop();
    // another boot while the agent was away
    rig.write("a.journal", &[entry('c', 7400, "c last"), entry('d', 10_800, "d0"), entry('d', 10_801, "d1")]);
    rig.start();
    rig.heard();
    // and nothing at all
    rig.stop();
    rig.start();
    rig.heard();
    rig.no_complaint();
}

#[test]
fn a_journal_that_is_there_at_first_start_is_begun_at_its_end() {
    if !tools() {
        return;
    }
    let mut rig = Rig::new(From::End, None);
    rig.store.write("a.journal", &three_boots());
    rig.start();
    rig.heard();
    let begun_at = rig.cursor();
    // killed before the first entry came
    rig.stop();
    rig.write("a.journal", &[entry('d', 10_800, "d0")]);
    rig.start();
    rig.heard();
    assert_ne!(rig.cursor(), begun_at);
    rig.no_complaint();
}

#[test]
fn an_empty_journal_is_read_from_its_first_entry() {
    if !tools() {
        return;
    }
    let mut rig = Rig::new(From::End, Some("app.service"));
    rig.store.write("a.journal", &[entry('a', 0, "x").with(&[("_SYSTEMD_UNIT", "other.service")])]);
    rig.start();
    rig.quiet();
    rig.write("a.journal", &[entry('a', 1, "first")]);
    rig.heard();
    rig.no_complaint();
}

/// The trap of `--after-cursor`: the first entry of a boot, found by a child that follows and was told to begin behind
/// an entry of the boot before.
#[test]
fn nothing_is_lost_or_doubled_between_the_child_that_catches_up_and_the_one_that_follows() {
    if !tools() {
        return;
    }
    for from in [From::Start, From::End] {
        let mut rig = Rig::new(from, None);
        let old = [entry('a', 0, "a0"), entry('a', 1, "a1")];
        rig.store.write("a.journal", &old);
        if from == From::Start {
            rig.expect(&old);
        }
        let late = [entry('b', 3600, "b0"), entry('b', 3601, "b1"), entry('b', 3602, "b2")];
        rig.store.write_before_following("a.journal", &late);
        rig.expect(&late);
        rig.start();
        rig.heard();
        rig.no_complaint();
    }
}

#[test]
fn only_the_unit_that_is_asked_for_is_read_wherever_reading_goes_on() {
    if !tools() {
        return;
    }
    let mut rig = Rig::new(From::Start, Some("app.service"));
    let other = |second, boot| entry(boot, second, "no").with(&[("_SYSTEMD_UNIT", "other.service")]);
    rig.store.write("a.journal", &[other(0, 'a')]);
    rig.write("a.journal", &[entry('a', 1, "a1")]);
    rig.store.write("a.journal", &[other(2, 'a'), other(3600, 'b')]);
    rig.start();
    rig.heard();
    rig.write("a.journal", &[entry('b', 3601, "b1")]);
    rig.heard();
    rig.stop();
    rig.store.write("a.journal", &[other(3602, 'b'), other(7200, 'c')]);
    rig.write("a.journal", &[entry('c', 7201, "c1")]);
    rig.start();
    rig.heard();
    rig.no_complaint();
}

#[test]
fn a_change_of_the_unit_goes_on_behind_the_place_and_is_no_gap() {
    if !tools() {
        return;
    }
    let mut rig = Rig::new(From::Start, Some("app.service"));
    rig.write("a.journal", &[entry('a', 1, "a1")]);
    rig.store.write("a.journal", &[entry('a', 2, "no").with(&[("_SYSTEMD_UNIT", "other.service")])]);
    rig.start();
    rig.heard();
    let now = rig.now;
    let input = Input::Journal { unit: Some("other.service".into()) };
    let spec = SourceSpec { input, from: From::End, ..rig.spec.clone() };
    rig.tailer.as_mut().unwrap().reload(vec![spec], now);
    rig.expected.push(line(b"no"));
    rig.heard();
    rig.no_complaint();
}

#[test]
fn what_the_journal_knows_of_an_entry_is_asked_for_and_comes_as_fields() {
    if !tools() {
        return;
    }
    let mut rig = Rig::new(From::Start, None);
    for (n, priority) in (0..).zip(["0", "1", "2", "3", "4", "5", "6", "7"]) {
        rig.write("a.journal", &[entry('a', n, format!("m{n}")).with(&[("PRIORITY", priority)])]);
    }
    let known = [
        ("_COMM", "sshd"),
        ("_TRANSPORT", "syslog"),
        ("SYSLOG_FACILITY", "4"),
        ("_UID", "0"),
        ("_CMDLINE", "not asked for"),
    ];
    rig.write("a.journal", &[entry('a', 9, "all").with(&known)]);
    rig.start();
    rig.heard();
    let words: Vec<&str> =
        rig.fields.iter().take(8).map(|f| f[0].strip_prefix("severity=").unwrap()).collect();
    assert_eq!(words, ["critical", "critical", "critical", "error", "warning", "info", "info", "info"]);
    assert_eq!(
        rig.fields[8],
        [
            "_SYSTEMD_UNIT=app.service",
            "SYSLOG_IDENTIFIER=app",
            "_PID=7",
            "_COMM=sshd",
            "_HOSTNAME=web1",
            "_TRANSPORT=syslog",
            "SYSLOG_FACILITY=4",
            "_UID=0"
        ]
    );
}

#[test]
fn odd_messages_are_lines_all_the_same() {
    if !tools() {
        return;
    }
    let mut rig = Rig::new(From::Start, None);
    let long = "x".repeat(100 * 1024);
    let bytes = b"caf\xe9 \x00\x1b[31m".to_vec();
    rig.store.write(
        "a.journal",
        &[
            entry('a', 0, "two\nlines\n"),
            entry('a', 1, bytes.clone()),
            entry('a', 2, long.clone()),
            entry('a', 3, "y".repeat(300 * 1024)),
            entry('a', 4, "twice").with(&[("_COMM", "one"), ("_COMM", "two")]),
            entry('a', 5, ""),
            entry('a', 6, "the last"),
        ],
    );
    rig.start();
    rig.until("every entry", |rig| rig.got.len() >= 7);
    rig.quiet();
    assert_eq!(rig.got[..3], [line(b"two lines"), line(&bytes), line(long.as_bytes())]);
    assert_eq!((rig.cut, rig.got[3].len()), (1, 256 * 1024 - 16));
    assert!(rig.got[3].ends_with("yyy"));
    assert_eq!(rig.got[4..], [line(b"twice"), line(b""), line(b"the last")]);
    let twice: Vec<&String> = rig.fields[4].iter().filter(|f| f.starts_with("_COMM=")).collect();
    assert_eq!(twice.len(), 2, "{twice:?}");
    assert!(twice.iter().any(|f| *f == "_COMM=one") && twice.iter().any(|f| *f == "_COMM=two"));
    rig.no_complaint();
}

#[test]
fn a_place_that_is_no_cursor_is_left_for_its_instant_with_a_gap() {
    if !tools() {
        return;
    }
    let gap = "the journal does not know the place it was read to";
    let microseconds = BEGIN + 3600 * 1_000_000;
    for (cursor, at) in [
        (format!("s=zz;i=1;b=??;m=1;t={microseconds:x};x=1"), Wall(0)),
        ("nonsense".into(), Wall((microseconds / 1000) as i64 + 500)),
    ] {
        let mut rig = Rig::new(From::End, None);
        rig.store.write("a.journal", &three_boots());
        rig.save(&cursor, at);
        // what was written at that very instant was given out, or is nearest to what was
        rig.expect(&three_boots()[4..]);
        rig.start();
        rig.heard();
        assert_eq!(rig.gaps.len(), 1, "{:?}", rig.gaps);
        assert_eq!((rig.gaps[0].bytes, rig.gaps[0].why.as_str()), (None, gap));
        rig.write("a.journal", &[entry('c', 7300, "later")]);
        rig.heard();
        assert!(rig.troubles.is_empty(), "{:?}", rig.troubles);
        // from here on its place is good
        rig.stop();
        rig.start();
        rig.heard();
        assert_eq!(rig.gaps.len(), 1);
    }
}

#[test]
fn where_the_entry_is_gone_reading_goes_on_with_the_next_one_and_says_so() {
    if !tools() {
        return;
    }
    let mut rig = Rig::new(From::Start, None);
    rig.write("old.journal", &three_boots()[..3]);
    rig.start();
    rig.heard();
    rig.stop();
    // vacuumed while the agent was away
    fs::remove_file(rig.store.path("journal/old.journal")).unwrap();
    rig.write("new.journal", &three_boots()[3..]);
    rig.start();
    rig.heard();
    let gone: Vec<&str> = rig.gaps.iter().map(|g| g.why.as_str()).collect();
    assert_eq!(
        gone,
        ["the journal no longer holds the entry it was read to; what followed may be gone as well"]
    );
    assert!(rig.troubles.is_empty());
}

#[test]
fn files_may_be_rotated_and_vacuumed_while_they_are_followed() {
    if !tools() {
        return;
    }
    let mut rig = Rig::new(From::Start, None);
    rig.write("system.journal", &[entry('a', 0, "r0")]);
    rig.start();
    rig.heard();
    for n in 1..6u64 {
        rig.write("system.journal", &[entry('a', 10 * n, format!("old {n}"))]);
        let old = rig.store.path("journal").join(format!("system@{n}.journal"));
        fs::rename(rig.store.path("journal/system.journal"), old).unwrap();
        rig.write("system.journal", &[entry('a', 10 * n + 1, format!("new {n}"))]);
        rig.heard();
        if n > 2 {
            fs::remove_file(rig.store.path("journal").join(format!("system@{}.journal", n - 2))).unwrap();
        }
        rig.write("system.journal", &[entry('a', 10 * n + 2, format!("newer {n}"))]);
        rig.heard();
    }
    rig.stop();
    rig.start();
    rig.heard();
    rig.no_complaint();
}

#[test]
fn a_child_that_is_killed_under_load_is_started_again_behind_what_it_gave() {
    if !tools() {
        return;
    }
    let mut rig = Rig::new(From::Start, None);
    let many: Vec<Entry> =
        (0..6000).map(|n| entry('a', n, format!("entry {n} {}", "x".repeat(200)))).collect();
    rig.write("a.journal", &many);
    rig.start();
    for target in [500, 2500, 4500] {
        rig.until("some entries", |rig| rig.got.len() > target);
        let child = *rig.store.children().last().unwrap();
        kill_process(child, Signal::KILL).unwrap();
        // the next one is started after a second of the agent's clock
        let (before, begun) = (rig.store.children().len(), stopwatch());
        while rig.store.children().len() == before {
            assert!(begun.elapsed() < DEADLINE, "no other child is started");
            rig.now = rig.now.plus(Duration::from_secs(1));
            rig.step();
            rig.tailer.as_ref().unwrap().wait_for(Duration::from_millis(10));
        }
    }
    rig.heard();
    rig.no_complaint();
}

/// The rules of the program's tests; each entry is an incident of its own.
const RULES: &str = r#"
    [space.screen]
    console = true
    [[source]]
    name = "journal-all"
    journal = true
    from = "start"
    [[rule]]
    name = "boom"
    source = "journal-all"
    match = 'boom (?<what>\w+)'
    by = ["what"]
    message = "it went {what}"
    max_per_hour = 600
"#;

/// The program, with the journal of a store; `more` is where it finds other programs.
fn place(store: &Store, more: &str) -> Place {
    let bin = store.path("bin");
    let path = if more.is_empty() { bin.display().to_string() } else { format!("{}:{more}", bin.display()) };
    let place = Place::new().env("PATH", &path);
    place.rules(RULES);
    place
}

fn path_of_all() -> String {
    std::env::var("PATH").unwrap()
}

#[test]
fn an_agent_that_is_killed_goes_on_at_its_place_and_takes_its_child_along() {
    if !tools() || !have("setpriv") {
        return;
    }
    // with the kernel's help and without: a child whose output is closed ends by itself
    for more in [path_of_all(), String::new()] {
        let store = Store::new();
        let place = place(&store, &more);
        store.write("a.journal", &[fresh('a', "boom a0")]);
        store.write("a.journal", &[fresh('b', "boom b0")]);
        let mut said = 0;
        // a child that follows sees the boot in which it was started: the machine's own
        for (round, boot, next_boot) in [(0, 'b', 'c'), (1, 'c', 'd'), (2, 'd', 'e')] {
            let mut agent = place.start();
            if round == 0 {
                agent.wait_for_output("it went a0");
                agent.wait_for_output("it went b0");
                said += 2;
            } else {
                // written while there was no agent
                agent.wait_for_output(&format!("it went away{round}"));
                said += 1;
            }
            store.write("a.journal", &[fresh(boot, &format!("boom live{round}"))]);
            agent.wait_for_output(&format!("it went live{round}"));
            said += 1;
            let status = agent.wait_for_status("every hit", |s| term(s, "boom", "hits") >= said);
            assert_eq!(term(&status, "boom", "hits"), said, "none twice");
            let children = store.children();
            agent.kill();
            children.into_iter().for_each(gone);
            store.write("a.journal", &[fresh(next_boot, &format!("boom away{}", round + 1))]);
        }
    }
}

/// A `setpriv` that knows no such option, as some small systems have one, is done without.
#[test]
fn a_journal_is_read_without_a_leash_where_there_is_none() {
    if !tools() {
        return;
    }
    let store = Store::new();
    store.script(
        "bin/setpriv",
        "#!/bin/sh\necho \"setpriv: unrecognized option '--pdeathsig'\" >&2\nexit 1\n",
    );
    let place = place(&store, &path_of_all());
    store.write("a.journal", &[fresh('a', "boom a0")]);
    let mut agent = place.start();
    agent.wait_for_output("it went a0");
    assert_eq!(agent.status()["troubles"].as_array().unwrap().len(), 0);
    assert_eq!(agent.stop(), 0);
    store.children().into_iter().for_each(gone);
}

/// Looks at the folder itself, so that a test of it cannot pass for want of one.
#[test]
fn the_store_holds_what_was_written() {
    if !tools() {
        return;
    }
    let store = Store::new();
    store.write("a.journal", &three_boots());
    let dir: &Path = &store.path("journal");
    let out = Command::new("journalctl").arg("--list-boots").arg("--directory").arg(dir).output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&out.stdout).lines().filter(|l| l.contains("2023")).count(),
        3,
        "{out:?}"
    );
}
