//! What does the agent cost while nothing happens: CPU, memory, descriptors?
//!
//! `cargo bench --bench idle [-- --quick] [--json]`. All of the program is measured, as a child process with one rule,
//! beside files that nobody writes to: at its first start, which meets them, and at its second, which knows where it
//! left each. The window begins when the start is over, the folding of the state's log included, and is as long as it
//! must be to hold what comes seldom: a full pass over the globs.
#![allow(missing_docs, clippy::unwrap_used, reason = "a program, not an interface")]

mod common;

use std::time::Duration;

use common::{Agent, Figure, Told, now};

/// The start is over: the store folds its log in when nothing was asked of it for five seconds.
const SETTLED: Duration = Duration::from_secs(7);

/// CPU seconds are told for so long.
const SPAN: Duration = Duration::from_secs(20);

/// What was asked for.
struct Target {
    files: usize,
    cpu: f64,
    rss: f64,
}

const TARGETS: [Target; 2] =
    [Target { files: 1_000, cpu: 0.02, rss: 12.0 }, Target { files: 20_000, cpu: 0.1, rss: 40.0 }];

const DESCRIPTORS: f64 = 64.0;

fn main() {
    let told = Told::by("idle");
    let short = Duration::from_secs(5);
    let sizes: &[(usize, Duration)] = if told.quick {
        &[(1_000, short), (20_000, short)]
    } else {
        // of 20,000 names a pass is made each 40 seconds
        &[(1_000, SPAN), (2_000, SPAN), (4_000, SPAN), (8_000, SPAN), (16_000, 2 * SPAN), (20_000, 2 * SPAN)]
    };
    told.say("idle files: the whole program, one rule, nothing is written");
    told.say(&format!(
        "{:>7} {:<7} {:>8} {:>16} {:>8} {:>8} {:>14} {:>12}",
        "files", "start", "up in s", "CPU-s in 20 s", "RSS MB", "peak MB", "bytes a file", "descriptors"
    ));
    let mut first_of = None;
    for &(files, time) in sizes {
        let dir = tempfile::tempdir().unwrap();
        common::logs(dir.path(), files);
        for start in ["first", "second"] {
            let cost = watch(dir.path(), files, time);
            // what one file more costs, by the smallest number of files
            let (few, least) = *first_of.get_or_insert((files, cost.rss));
            let each = if files > few { (cost.rss - least) * 1e6 / (files - few) as f64 } else { 0.0 };
            told.say(&format!(
                "{files:>7} {start:<7} {:>8.2} {:>16.4} {:>8.1} {:>8.1} {each:>14.0} {:>12}",
                cost.up_in, cost.cpu, cost.rss, cost.peak, cost.descriptors
            ));
            let target = TARGETS.iter().find(|t| t.files == files);
            let figure =
                |name, value, unit, at_most| Figure { name, value, unit, at_most: target.and(at_most) };
            let case = format!("{files} files, {start} start, over {} s", time.as_secs());
            let figures = [
                figure("CPU", cost.cpu, "s in 20 s", target.map(|t| t.cpu)),
                figure("RSS", cost.rss, "MB", target.map(|t| t.rss)),
                figure("peak RSS", cost.peak, "MB", None),
                figure("descriptors", cost.descriptors as f64, "open", Some(DESCRIPTORS)),
                figure("up in", cost.up_in, "s", None),
            ];
            told.tell(&case, &figures);
        }
    }
}

struct Cost {
    up_in: f64,
    /// Seconds in 20.
    cpu: f64,
    rss: f64,
    peak: f64,
    descriptors: usize,
}

fn watch(dir: &std::path::Path, files: usize, time: Duration) -> Cost {
    let agent = Agent::start(dir);
    assert!(agent.watches.contains(&format!("watching {files} files")), "{}", agent.watches);
    std::thread::sleep(SETTLED);
    let (before, begun) = (agent.cpu(), now());
    std::thread::sleep(time);
    let used = agent.cpu().saturating_sub(before).as_secs_f64();
    let cpu = used / begun.elapsed().as_secs_f64() * SPAN.as_secs_f64();
    let (rss, peak, descriptors) = (agent.rss(), agent.peak(), agent.descriptors());
    let up_in = agent.up_in.as_secs_f64();
    agent.stop();
    Cost { up_in, cpu, rss, peak, descriptors }
}
