//! From the write of a line to the arrival of its alert over HTTP, with the real binary: how long?
//!
//! `cargo bench --bench latency [-- --quick] [-- --json]`. Each sample is the opening of an incident in a space that was
//! silent for longer than its pace, with a batch window of zero: what is measured is notify, scan, judge, commit with its
//! sync, and HTTP. Two paces: lines 200 ms apart, in turn for eight spaces, and a rare line, 4.3 s after the last, by
//! when every thread sleeps and the disk rests. The first of these also while each line is told in a space that fails, too. After each sample, while the agent rests, what cannot be saved is
//! measured on the same disk, processor and server: one synced write of 4 KiB, as many threads woken in turn as an alert
//! wakes, as many pages of memory touched once as an alert touches, and a bare HTTP round trip. At last two hundred
//! spaces, of which half work, and half work or fail: whether those that work are any slower for it.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "a program, not an interface")]

mod common;

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::sync::mpsc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::chat::{Bare, Broken, Chat};
use common::{Agent, Figure, Told, now};

/// In turn, so that each is written to more seldom than its pace allows.
const SPACES: usize = 8;

/// Between an alert and the floors that are measured beside it: what follows a delivery is over by then.
const REST: Duration = Duration::from_millis(60);

/// So much over one sync, at the median and at p99.
const TARGETS: [f64; 2] = [0.8, 3.0];

fn main() {
    let told = Told::by("latency");
    told.say("latency, release binary, webhook on loopback");
    told.say(&format!("{:<48} {:>8} {:>10} {:>10} {:>10}", "", "samples", "p50 ms", "p99 ms", "max ms"));
    let (many, few) = if told.quick { (25, 2) } else { (300, 70) };
    for (samples, apart, fails) in [(many, 200, false), (few, 4300, false), (many, 200, true)] {
        run(&told, samples, Duration::from_millis(apart), fails);
    }
    let samples = if told.quick { 40 } else { 400 };
    let works = beside(&told, samples, false);
    let fails = beside(&told, samples, true);
    let [p50, p99] = [fails[0] / works[0], fails[1] / works[1]];
    told.say(&format!("{:<48} {:>8} {p50:>10.2} {p99:>10.2}", "the second of these by the first", ""));
    let figure = |name, value| Figure { name, value, unit: "times", at_most: None };
    told.tell("beside 100 spaces that fail, by those that work", &[figure("p50", p50), figure("p99", p99)]);
}

/// Of two hundred spaces every line is told in two: in one of a hundred that work, which is measured, and in one of the
/// other hundred, which work too or do not.
fn beside(told: &Told, samples: usize, fails: bool) -> [f64; 2] {
    const HALF: usize = 100;
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (chat, others, broken) = (Chat::start(), Chat::start(), Broken::start());
    let (mut rules, mut hooks) = (String::new(), Vec::new());
    for i in 0..HALF {
        let other = if fails { broken.webhook(i) } else { others.webhook(&format!("B{i}")) };
        for (name, url) in [(format!("s{i}"), chat.webhook(&format!("S{i}"))), (format!("b{i}"), other)] {
            write!(
                rules,
                "[space.{name}]\nwebhook = {{ env = \"HOOK_{name}\" }}\nwait = \"0s\"\nmax_per_hour = 3600\n\n\
                 [[rule]]\nname = \"{name}\"\nfiles = ['{}/a.log']\nmatch = 'trouble (?<n>\\d+) in part {i} '\n\
                 by = [\"n\"]\nspace = \"{name}\"\nmax_per_hour = 3600\n\n",
                dir.path().display()
            )
            .unwrap();
            hooks.push((format!("HOOK_{name}"), url));
        }
    }
    // what is told of the spaces that fail is no part of the measurement
    rules.insert_str(0, "admin = \"boss\"\n[space.boss]\nconsole = true\n\n");
    fs::write(dir.path().join("rules.toml"), rules).unwrap();
    let log = dir.path().join("a.log");
    fs::write(&log, "the first line\n").unwrap();
    let agent = Agent::start_with(dir.path(), &[], &hooks);
    let mut file = OpenOptions::new().append(true).open(&log).unwrap();
    let mut took = Vec::new();
    // a first round makes the connections of those that work, and has those that do not fail
    for n in 0..HALF + samples {
        let line = format!("2026-11-22T05:26:00Z host app[7]: trouble {n} in part {} of it\n", n % HALF);
        let written = now();
        file.write_all(line.as_bytes()).unwrap();
        let arrived = chat.arrivals.recv_timeout(Duration::from_secs(10)).expect("an alert within 10 s");
        if n >= HALF {
            took.push(arrived - written);
        }
        sleep(REST);
    }
    agent.stop();
    let what = if fails { "beside 100 spaces that fail" } else { "beside 100 spaces that work" };
    row(told, what, took, None)
}

/// `fails`: every line is told in another space too, which takes none of it.
fn run(told: &Told, samples: usize, apart: Duration, fails: bool) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (chat, broken) = (Chat::start(), Broken::start());
    let mut rules = String::new();
    let mut hooks = Vec::new();
    if fails {
        write!(
            rules,
            "admin = \"boss\"\n[space.boss]\nconsole = true\n\n[space.f]\nwebhook = {{ env = \"HOOK_F\" }}\nwait = \"0s\"\n\
             max_per_hour = 3600\n\n[[rule]]\nname = \"f\"\nfiles = ['{}/a.log']\nmatch = 'trouble (?<n>\\d+) in part'\n\
             by = [\"n\"]\nspace = \"f\"\nmax_per_hour = 3600\n\n",
            dir.path().display()
        )
        .unwrap();
        hooks.push(("HOOK_F".to_owned(), broken.webhook(0)));
    }
    for i in 0..SPACES {
        write!(
            rules,
            "[space.s{i}]\nwebhook = {{ env = \"HOOK_{i}\" }}\nwait = \"0s\"\nmax_per_hour = 3600\n\n\
             [[rule]]\nname = \"r{i}\"\nfiles = ['{}/a.log']\nmatch = 'trouble (?<n>\\d+) in part {i}'\nby = [\"n\"]\n\
             space = \"s{i}\"\nmax_per_hour = 3600\n\n",
            dir.path().display()
        )
        .unwrap();
        hooks.push((format!("HOOK_{i}"), chat.webhook(&format!("S{i}"))));
    }
    fs::write(dir.path().join("rules.toml"), rules).unwrap();
    let log = dir.path().join("a.log");
    fs::write(&log, "the first line\n").unwrap();
    let agent = Agent::start_with(dir.path(), &[], &hooks);

    let mut file = OpenOptions::new().append(true).open(&log).unwrap();
    let mut n = 0;
    let mut alert = |part: usize| {
        n += 1;
        let line = format!("2026-11-22T05:26:00Z host app[7]: trouble {n} in part {part} of the machine\n");
        let written = now();
        file.write_all(line.as_bytes()).unwrap();
        let arrived = chat.arrivals.recv_timeout(Duration::from_secs(10)).expect("an alert within 10 s");
        arrived - written
    };
    let first: Vec<Duration> = (0..SPACES).map(&mut alert).collect();
    sleep(Duration::from_millis(1500));

    let mut floor = Floor::new(dir.path(), chat.connect());
    let (mut took, mut syncs, mut wakes, mut pages, mut trips) = (vec![], vec![], vec![], vec![], vec![]);
    for i in 0..samples {
        let begun = now();
        took.push(alert(i % SPACES));
        sleep(REST);
        syncs.push(floor.sync());
        sleep(REST);
        wakes.push(floor.relay.run());
        pages.push(floor.memory.touch());
        trips.push(floor.bare.trip());
        sleep(apart.saturating_sub(begun.elapsed()));
    }
    agent.stop();
    let beside = if fails { ", beside one that fails" } else { "" };
    let case = |what: &str| format!("{what}, {:.1} s apart{beside}", apart.as_secs_f64());
    row(told, &case("line written → alert arrives"), took.clone(), None);
    let sync = row(told, &case("floor: one synced write of 4 KiB"), syncs, None);
    row(told, &case("floor: five threads woken in turn"), wakes, None);
    row(told, &case(&format!("floor: {} pages touched", Memory::PAGES)), pages, None);
    row(told, &case("floor: one HTTP round trip"), trips, None);
    row(told, &case("alert less the sync of the same quantile"), took, Some(sync));
    row(told, &case("first alert of a space, with its connection"), first, None);
}

struct Floor {
    file: File,
    bare: Bare,
    relay: Relay,
    memory: Memory,
}

impl Floor {
    fn new(dir: &Path, bare: Bare) -> Floor {
        let file = File::create(dir.join("floor")).unwrap();
        Floor { file, bare, relay: Relay::start(), memory: Memory::new() }
    }

    fn sync(&mut self) -> Duration {
        let begun = now();
        self.file.write_all(&[7; 4096]).unwrap();
        self.file.sync_data().unwrap();
        begun.elapsed()
    }
}

/// Memory that is left alone between two looks at it. After a pause a page is in no cache, and on some virtual machines not
/// even in the tables of the host: there, this is most of what an alert costs.
struct Memory(Vec<u8>);

impl Memory {
    /// Pages of program and data that an alert touches: what `/proc/PID/smaps` calls `Referenced` after one alert, once
    /// `/proc/PID/clear_refs` was written to.
    const PAGES: usize = 1250;
    const PAGE: usize = 4096;
    /// Far enough from one to the next that nothing is fetched ahead; has no divisor in common with their number.
    const STEP: usize = 389;

    fn new() -> Memory {
        Memory(vec![1; Memory::PAGES * Memory::PAGE])
    }

    fn touch(&self) -> Duration {
        let begun = now();
        let page = |n: usize| usize::from(self.0[n * Memory::STEP % Memory::PAGES * Memory::PAGE]);
        assert_eq!((0..Memory::PAGES).map(page).sum::<usize>(), Memory::PAGES);
        begun.elapsed()
    }
}

/// Threads that sleep until the one before wakes them, as an alert's do: `notify`, reader, runtime, store, runtime. They
/// do nothing else, so what they take is the system's alone.
struct Relay {
    first: mpsc::SyncSender<()>,
    last: mpsc::Receiver<Instant>,
}

impl Relay {
    const WAKES: usize = 5;

    #[expect(clippy::disallowed_methods, reason = "a bench's own threads")]
    fn start() -> Relay {
        let (first, mut before) = mpsc::sync_channel(1);
        for _ in 1..Relay::WAKES {
            let (next, after) = mpsc::sync_channel(1);
            let woken = std::mem::replace(&mut before, after);
            std::thread::spawn(move || while woken.recv().is_ok_and(|()| next.send(()).is_ok()) {});
        }
        let (tell, last) = mpsc::sync_channel(1);
        std::thread::spawn(move || while before.recv().is_ok_and(|()| tell.send(now()).is_ok()) {});
        Relay { first, last }
    }

    fn run(&self) -> Duration {
        let begun = now();
        self.first.send(()).unwrap();
        self.last.recv().unwrap() - begun
    }
}

/// Tells p50, p99 and the greatest, in milliseconds, less `floor`; returns the first two.
fn row(told: &Told, name: &str, mut took: Vec<Duration>, floor: Option<[f64; 2]>) -> [f64; 2] {
    took.sort();
    let at = |q: f64| took[((took.len() - 1) as f64 * q).round() as usize].as_secs_f64() * 1e3;
    let less = floor.unwrap_or_default();
    let [p50, p99, max] = [at(0.5) - less[0], at(0.99) - less[1], at(1.0) - less[1]];
    told.say(&format!("{name:<48} {:>8} {p50:>10.2} {p99:>10.2} {max:>10.2}", took.len()));
    let figure = |name, value, target| Figure { name, value, unit: "ms", at_most: floor.map(|_| target) };
    told.tell(name, &[figure("p50", p50, TARGETS[0]), figure("p99", p99, TARGETS[1])]);
    [p50, p99]
}
