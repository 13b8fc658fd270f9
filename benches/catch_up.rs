//! From the first byte of a log to its last, with the real binary: how much of it for a second of one core?
//!
//! `cargo bench --bench catch_up [-- --quick] [-- --json]`. The agent starts on a log that is there already, with a
//! webhook on loopback; counted is what all of its threads use, from their start to a second after the last line: tail,
//! scan, captures, judge, ledger, store, delivery. Beside it, on the same text in the same run, stand `rg -c -f` and,
//! where it understands the patterns, `grep -E -c -f`: they count lines and do nothing else. The second table doubles
//! the keys of one rule that hits every line.
//!
//! The log is made by the generators beside the real logs (`LOGHERALD_SHARED`, or `shared` beside the checkout), the
//! large set of rules is fetched by `benches/logcheck-rules`; what is not at hand is left out, and said.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "a program, not an interface")]

mod common;

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use common::chat::Chat;
use common::{Agent, Figure, Told};

/// What is asked of a set of rules: megabytes for a second of one core.
const TARGETS: [(&str, f64); 3] = [("r10", 800.0), ("r100", 350.0), ("r1500", 350.0)];

/// Another tool that takes so many seconds of a core is not asked again.
const LONG: f64 = 20.0;

/// Peak memory, in MB.
const MEMORY: f64 = 64.0;

fn main() {
    let told = Told::by("catch_up");
    let (mib, rounds) = if told.quick { (64, 1) } else { (1024, 5) };
    let Some(log) = mixed(mib) else {
        return println!("SKIPPED: the real logs are not beside the repository");
    };
    told.say(&format!("a log of {mib} MiB, mixed from real ones; medians of {rounds}"));
    told.say(&format!("{:<28} {:>9} {:>12} {:>9} {:>9}", "", "CPU s", "MB/CPU-s", "peak MB", "of rg"));
    for (name, patterns) in sets() {
        let rg = || Some((counted(&["rg", "-c", "-a", "-f"], &patterns, &log)?, 0.0));
        let rg = rg().and_then(|once| if once.0 > LONG { Some(once) } else { middle(rounds, rg) });
        let grep = middle(1, || Some((counted(&["grep", "-E", "-a", "-c", "-f"], &patterns, &log)?, 0.0)));
        let ours = middle(rounds, || Some(catch_up(&rules(&patterns), &log))).unwrap();
        let target = TARGETS.iter().find(|t| t.0 == name).map(|t| t.1);
        row(&told, name, "agent", size(&log), ours, rg, target);
        for (tool, took) in [("rg -c -f", rg), ("grep -E -c -f", grep)] {
            if let Some(took) = took {
                row(&told, name, tool, size(&log), took, rg, None);
            }
        }
    }
    keys(&told);
}

/// One rule with a key that hits every line, the number of keys doubled: below the judge's bound and beyond it.
fn keys(told: &Told) {
    let (lines, counts) = if told.quick { (200_000, 500..=1_000) } else { (4_000_000, 500..=16_000) };
    told.say(&format!("one rule with a key, {lines} lines, each a hit"));
    told.say(&format!("{:<28} {:>9} {:>12} {:>9} {:>9}", "keys", "CPU s", "MB/CPU-s", "peak MB", "ns a hit"));
    let mut count = *counts.start();
    while counts.contains(&count) {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let log = dir.path().join("keys.log");
        let mut out = BufWriter::new(File::create(&log).unwrap());
        for n in 0..lines {
            // every key again and again, in an order that is not theirs
            let key = n * 7919 % count;
            let second = n / 10_000 % 60;
            writeln!(
                out,
                "2026-11-22T05:26:{second:02}Z host app[7]: refused 10.1.{}.{}",
                key / 250,
                key % 250
            )
            .unwrap();
        }
        out.flush().unwrap();
        let rule = "[[rule]]\nname = 'keys'\nmatch = 'refused {ip}$'\nby = ['ip']\n";
        let (cpu, peak) = middle(1, || Some(catch_up(rule, &log))).unwrap();
        let (speed, each) = (size(&log) / 1e6 / cpu, cpu * 1e9 / f64::from(lines));
        told.say(&format!("{count:<28} {cpu:>9.2} {speed:>12.0} {peak:>9.1} {each:>9.0}"));
        let figure = |name, value: f64, unit| Figure { name, value: value.round(), unit, at_most: None };
        let figures = [figure("a hit", each, "ns"), figure("peak", peak, "MB")];
        told.tell(&format!("{count} keys"), &figures);
        count *= 2;
    }
}

type Took = (f64, f64);

fn row(told: &Told, set: &str, who: &str, bytes: f64, took: Took, rg: Option<Took>, target: Option<f64>) {
    let (cpu, peak) = took;
    let speed = bytes / 1e6 / cpu;
    let ratio = rg.map(|(theirs, _)| theirs / cpu);
    let told_ratio = ratio.map_or_else(|| "-".to_owned(), |r| format!("{r:.2}"));
    told.say(&format!(
        "{:<28} {cpu:>9.2} {speed:>12.0} {peak:>9.1} {told_ratio:>9}",
        format!("{set}, {who}")
    ));
    let figure = |name, value: f64, unit, at_most| Figure { name, value, unit, at_most };
    let mut figures = vec![figure("speed", speed.round(), "MB/CPU-s", None)];
    if who == "agent" {
        figures.push(figure("speed asked for", target.unwrap_or_default(), "MB/CPU-s", None));
        figures.push(figure("peak", peak.round(), "MB", Some(MEMORY)));
    }
    figures.extend(ratio.map(|r| figure("of rg", r, "times", None)));
    told.tell(&format!("{set}, {who}"), &figures);
}

/// CPU seconds and peak memory of an agent that reads `log` from its start.
fn catch_up(rules: &str, log: &Path) -> Took {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let chat = Chat::start();
    let head =
        format!("[space.ops]\nwebhook = {{ env = \"HOOK\" }}\n[defaults]\nfiles = ['{}']\n", log.display());
    fs::write(dir.path().join("rules.toml"), head + rules).unwrap();
    let hook = ("HOOK".to_owned(), chat.webhook("OPS"));
    let agent = Agent::start_with(dir.path(), &["--from-start"], &[hook]);
    while (agent.has_read() as f64) < size(log) {
        sleep(Duration::from_millis(20));
    }
    // what is read of the state counts there too
    let mut looks = 0;
    while agent.status()["read"]["bytes"].as_f64() != Some(size(log)) {
        assert!(looks < 600, "all of it is read");
        looks += 1;
        sleep(Duration::from_millis(200));
    }
    // the last lines' commit comes within a second
    sleep(Duration::from_millis(1500));
    let took = (agent.cpu().as_secs_f64(), agent.peak());
    agent.stop();
    took
}

/// User and system seconds of a tool that reads patterns from a file; `None` where it is missing or refuses them.
fn seconds(tool: &[&str], patterns: &Path, log: &Path) -> Option<f64> {
    let line = "TIMEFORMAT='%U %S'; time \"$@\" > /dev/null";
    let mut command = Command::new("bash");
    command.args(["-c", line, "bash"]).args(tool).arg(patterns).arg(log);
    let out = command.env("LC_ALL", "C.UTF-8").stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    let times = said.lines().last()?.split(' ').map(str::parse::<f64>);
    out.status.success().then(|| times.sum::<Result<f64, _>>().ok()).flatten()
}

fn counted(tool: &[&str], patterns: &str, log: &Path) -> Option<f64> {
    // grep reads a set of Perl's patterns as something else
    if tool[0] == "grep" && (patterns.contains("(?") || patterns.contains(r"\d")) {
        return None;
    }
    let mut file = tempfile::NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    file.write_all(patterns.as_bytes()).unwrap();
    seconds(tool, file.path(), log)
}

/// The run in the middle, by CPU time.
fn middle(rounds: usize, mut run: impl FnMut() -> Option<Took>) -> Option<Took> {
    let mut all = (0..rounds).map(|_| run()).collect::<Option<Vec<Took>>>()?;
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    all.get(all.len() / 2).copied()
}

fn rules(patterns: &str) -> String {
    let mut rules = String::new();
    for (n, pattern) in patterns.lines().enumerate() {
        write!(rules, "[[rule]]\nname = 'r{n}'\nmatch = '''{pattern}'''\n").unwrap();
    }
    rules
}

/// The sets of rules that are at hand, one pattern a line.
fn sets() -> Vec<(&'static str, String)> {
    let shared = shared().unwrap();
    let of = |name: &str| fs::read_to_string(shared.join("data/rules").join(name)).unwrap();
    let mut sets = vec![("r10", of("r10.txt")), ("r100", of("r100.txt"))];
    match logcheck() {
        Some(text) => sets.push(("r1500", text)),
        None => println!("SKIPPED: r1500; benches/logcheck-rules could not fetch logcheck-database"),
    }
    sets
}

/// The patterns of logcheck-database that are patterns here, fetched once.
fn logcheck() -> Option<String> {
    let kept = tmp().join("logcheck.txt");
    if !kept.is_file() {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/logcheck-rules");
        let out = Command::new(script).output().ok().filter(|o| o.status.success())?;
        fs::write(&kept, out.stdout).ok()?;
    }
    let text = fs::read_to_string(kept).ok()?;
    let good = |p: &&str| logherald::rules::Pattern::new(p).is_ok() && !p.contains("'''");
    Some(text.lines().filter(good).fold(String::new(), |all, p| all + p + "\n"))
}

/// The log, made once and kept.
fn mixed(mib: u32) -> Option<PathBuf> {
    let log = tmp().join(format!("mixed-{mib}.log"));
    if !log.is_file() {
        // under another name until it is whole
        let part = log.with_extension("part");
        let script = shared()?.join("bench/mix.py");
        let made = Command::new("python3").arg(script).arg(&part).arg(mib.to_string()).status().ok()?;
        if !made.success() {
            return None;
        }
        fs::rename(&part, &log).ok()?;
    }
    shared().map(|_| log)
}

fn shared() -> Option<PathBuf> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let dir = std::env::var_os("LOGHERALD_SHARED").map_or_else(beside, PathBuf::from);
    dir.join("data/loghub").is_dir().then_some(dir)
}

fn tmp() -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(&dir).unwrap();
    dir
}

fn size(log: &Path) -> f64 {
    fs::metadata(log).unwrap().len() as f64
}
