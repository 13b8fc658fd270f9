//! What does the agent cost while many files grow slowly?
//!
//! `cargo bench --bench busy [-- --quick] [--json]`. 2,000 files get ten lines a second each, every line by a write of
//! its own: nothing is large here, so what is measured is all that is paid per event, per read and per position, in the
//! whole program as a child process with one rule. One line of a thousand hits. Every line is accounted for at the end:
//! a figure reached by reading less would be none.
#![allow(missing_docs, clippy::unwrap_used, reason = "a program, not an interface")]

mod common;

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::time::Duration;

use common::{Agent, Figure, Told, line, now};

/// Lines that each file gets in a second.
const RATE: usize = 10;

/// One line of so many hits.
const HIT: u64 = 1000;

/// In it everything is read and committed after the last write: a second between commits, and a look or two.
const BEHIND: Duration = Duration::from_secs(2);

fn main() {
    let told = Told::by("busy");
    // each file is held open while it is written to
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = limit.maximum;
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();

    let long = Duration::from_secs(if told.quick { 3 } else { 10 });
    let short = Duration::from_secs(3);
    let sizes: &[(usize, Duration)] = if told.quick {
        &[(2_000, long)]
    } else {
        &[(500, short), (1_000, short), (2_000, long), (4_000, short)]
    };
    told.say("busy files: the whole program, one rule, ten lines a second to each file");
    told.say(&format!(
        "{:>7} {:>8} {:>10} {:>10} {:>18} {:>10} {:>8}",
        "files", "seconds", "lines", "CPU-s", "µs of CPU a line", "core %", "peak MB"
    ));
    for &(files, time) in sizes {
        let dir = tempfile::tempdir().unwrap();
        let mut logs: Vec<File> = common::logs(dir.path(), files)
            .into_iter()
            .map(|path| OpenOptions::new().append(true).open(path).unwrap())
            .collect();
        let agent = Agent::start(dir.path());
        std::thread::sleep(BEHIND);
        let before = agent.cpu();
        let lines = write(&mut logs, time);
        std::thread::sleep(BEHIND);
        let cpu = agent.cpu().saturating_sub(before).as_secs_f64();
        let status = agent.status();
        assert_eq!(status["read"]["lines"], lines, "{:#}", status["read"]);
        assert_eq!(status["rules"]["r"]["hits"], lines.div_ceil(HIT), "{:#}", status["rules"]);
        let (each, share) = (cpu * 1e6 / lines as f64, cpu / time.as_secs_f64() * 100.0);
        told.say(&format!(
            "{files:>7} {:>8} {lines:>10} {cpu:>10.3} {each:>18.2} {share:>10.1} {:>8.1}",
            time.as_secs(),
            agent.peak()
        ));
        let asked = files == 2_000;
        let at_most = asked.then_some(0.2 * time.as_secs_f64());
        let case = format!("{files} files, {RATE} lines/s each, for {} s", time.as_secs());
        let figures = [
            Figure { name: "CPU", value: cpu, unit: "s", at_most },
            Figure { name: "CPU a line", value: each, unit: "µs", at_most: None },
            Figure { name: "peak RSS", value: agent.peak(), unit: "MB", at_most: None },
        ];
        told.tell(&case, &figures);
        agent.stop();
    }
}

/// Writes to one file after the other, evenly, as long as asked: how many lines.
fn write(logs: &mut [File], time: Duration) -> u64 {
    let all = (logs.len() * RATE) as u64 * time.as_secs();
    let rate = (logs.len() * RATE) as f64;
    let (begun, mut written, files) = (now(), 0, logs.len() as u64);
    while written < all {
        let due = ((begun.elapsed().as_secs_f64() * rate) as u64).min(all);
        for n in written..due {
            let text = if n.is_multiple_of(HIT) { "a panic of the thousandth\n".to_owned() } else { line(n) };
            logs[(n % files) as usize].write_all(text.as_bytes()).unwrap();
        }
        written = due;
        std::thread::sleep(Duration::from_millis(1));
    }
    written
}
