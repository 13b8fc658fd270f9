//! What the benches of the whole program share: the agent as a child process, what it costs the machine, and how a
//! figure is told.
//!
//! A figure is told twice over: to people, in a table with `measured: ` lines that `.ci/run` collects, and with
//! `--json` to programs, one object a line. `--quick` is for a first look. Each bench compiles this for itself.
#![allow(dead_code, reason = "each bench uses its part")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a program, not an interface")]

pub(crate) mod chat;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

#[expect(clippy::disallowed_methods, reason = "a stopwatch")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Its memory is its own, and much that the kernel tells of it.
const TO_ROOT: &str = "root: the agent shows this to nobody else";

/// A line of a usual length; its number makes it unique.
pub(crate) fn line(n: u64) -> String {
    format!("2026-11-22T05:26:00Z host app[7]: n={n:012} {:-<78}\n", "and what it has to say")
}

/// What a bench was asked, and how it tells what it found.
pub(crate) struct Told {
    bench: &'static str,
    pub(crate) quick: bool,
    json: bool,
    /// Words that stand in the names of the cases that are asked for; none: all.
    words: Vec<String>,
}

/// One number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    /// What it must not exceed, where something was asked for.
    pub(crate) at_most: Option<f64>,
}

impl Told {
    pub(crate) fn by(bench: &'static str) -> Told {
        let asked = |what: &str| std::env::args().any(|a| a == what);
        let words = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
        Told { bench, quick: asked("--quick"), json: asked("--json"), words }
    }

    /// This case is asked for: where words were given, its name holds one of them.
    pub(crate) fn wants(&self, case: &str) -> bool {
        self.words.is_empty() || self.words.iter().any(|word| case.contains(word.as_str()))
    }

    /// A line for people alone.
    pub(crate) fn say(&self, text: &str) {
        if !self.json {
            println!("{text}");
        }
    }

    /// The figures of one case.
    pub(crate) fn tell(&self, case: &str, figures: &[Figure]) {
        let number = |v: f64| if v.fract() == 0.0 { format!("{v}") } else { format!("{v:.3}") };
        if self.json {
            for f in figures {
                let (bench, name, unit, target) = (self.bench, f.name, f.unit, f.at_most);
                let one = serde_json::json!({
                    "bench": bench, "case": case, "figure": name, "value": f.value, "unit": unit, "at_most": target,
                });
                println!("{one}");
            }
            return;
        }
        let one = |f: &Figure| {
            let target = f.at_most.map(|t| format!(" (target {})", number(t))).unwrap_or_default();
            format!("{} {} {}{target}", f.name, number(f.value), f.unit)
        };
        println!(
            "measured: {}, {case}: {}",
            self.bench,
            figures.iter().map(one).collect::<Vec<_>>().join(", ")
        );
    }
}

/// The release binary at work in a folder that holds its `rules.toml`; killed when it is dropped.
pub(crate) struct Agent {
    child: Child,
    log: BufReader<ChildStderr>,
    dir: PathBuf,
    /// What it said that it watches.
    pub(crate) watches: String,
    /// How long it took until it said so.
    pub(crate) up_in: Duration,
}

impl Agent {
    /// Starts it with the soft limit of descriptors that systemd sets, and waits until it says what it watches.
    pub(crate) fn start(dir: &Path) -> Agent {
        Agent::start_with(dir, &[], &[])
    }

    /// The same with more arguments and variables.
    pub(crate) fn start_with(dir: &Path, args: &[&str], env: &[(String, String)]) -> Agent {
        let begun = now();
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -S -n 1024; exec \"$0\" run rules.toml --state state \"$@\""]);
        command.arg(env!("CARGO_BIN_EXE_logherald")).args(args).current_dir(dir).stdout(Stdio::null());
        command.envs(env.iter().map(|(name, value)| (name, value)));
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let (dir, watches) = (dir.to_path_buf(), String::new());
        let mut agent = Agent { child, log, dir, watches, up_in: Duration::ZERO };
        while !agent.watches.contains("watching ") {
            agent.watches.clear();
            assert_ne!(agent.log.read_line(&mut agent.watches).unwrap(), 0, "the agent did not start");
        }
        agent.up_in = begun.elapsed();
        agent
    }

    /// What all its threads have used so far.
    pub(crate) fn cpu(&self) -> Duration {
        let threads = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let one = |dir: PathBuf| {
            let text = fs::read_to_string(dir.join("schedstat")).unwrap_or_default();
            text.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0)
        };
        Duration::from_nanos(threads.map(|t| one(t.unwrap().path())).sum())
    }

    /// The memory that it holds now, in MB.
    pub(crate) fn rss(&self) -> f64 {
        self.memory("VmRSS:")
    }

    /// The most that it ever held, in MB.
    pub(crate) fn peak(&self) -> f64 {
        self.memory("VmHWM:")
    }

    fn memory(&self, what: &str) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|l| l.starts_with(what)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() * 1024.0 / 1e6
    }

    /// Bytes that it has asked the system for.
    pub(crate) fn has_read(&self) -> u64 {
        let io = fs::read_to_string(format!("/proc/{}/io", self.child.id())).expect(TO_ROOT);
        io.lines().find_map(|l| l.strip_prefix("rchar: ")?.parse().ok()).unwrap()
    }

    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect(TO_ROOT).count()
    }

    /// What `status --json` says.
    pub(crate) fn status(&self) -> serde_json::Value {
        let mut command = Command::new(env!("CARGO_BIN_EXE_logherald"));
        let out =
            command.args(["status", "--json", "--state", "state"]).current_dir(&self.dir).output().unwrap();
        assert!(out.status.success(), "{out:?}");
        serde_json::from_slice(&out.stdout).unwrap()
    }

    /// Stops it with everything kept.
    pub(crate) fn stop(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success(), "the agent did not end well");
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // it may be gone already
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// Makes so many logs of one line, a hundred a folder, and a rule for them: where each is.
pub(crate) fn logs(dir: &Path, files: usize) -> Vec<PathBuf> {
    let rule = "[[rule]]\nname = 'r'\nfiles = ['DIR/logs/*/*.log']\nmatch = 'panic'\n";
    fs::write(dir.join("rules.toml"), rule.replace("DIR", &dir.display().to_string())).unwrap();
    let one = |n: usize| {
        let folder = dir.join(format!("logs/{:03}", n / 100));
        if n.is_multiple_of(100) {
            fs::create_dir_all(&folder).unwrap();
        }
        let path = folder.join(format!("{n}.log"));
        fs::write(&path, line(0)).unwrap();
        path
    };
    (0..files).map(one).collect()
}
