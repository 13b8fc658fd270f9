//! A program that writes numbered lines and reopens its log on SIGHUP, and rules that count those lines.
//!
//! Every line hits one rule for each of the last three digits of its number, so the thirty counts of a run say which
//! lines were hit how often: a line lost and another hit twice cancel only where their numbers are equal modulo 1,000,
//! and then a run of losses and a run of doubles would have to be the same lines.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::program::{Agent, DEADLINE, Place, stopwatch, term};

/// The digits that rules look at, by the place that they have counted from the right.
const PLACES: [&str; 3] = ["ones", "tens", "hundreds"];

/// What was written in a whole run is read again at most, and each commit waits for a disk that others may use.
const PATIENCE: Duration = DEADLINE.saturating_mul(2);

/// Rules that count the lines of all writers below `DIR` that match `glob`.
pub(crate) fn rules(globs: &[&str]) -> String {
    let files: Vec<String> = globs.iter().map(|glob| format!("'DIR/{glob}'")).collect();
    let mut text = format!("[defaults]\nfiles = [{}]\n", files.join(", "));
    for (at, place) in PLACES.iter().enumerate() {
        for digit in 0..10 {
            let rest = r"\d".repeat(at);
            write!(text, "[[rule]]\nname = '{place}-{digit}'\nmatch = 'n=\\d*{digit}{rest} end$'\n").unwrap();
        }
    }
    text
}

/// What the thirty rules must have counted when each of these writers' lines was hit once.
fn expected(writers: &[&Writer]) -> Vec<(String, u64)> {
    let mut all = Vec::new();
    for (at, place) in PLACES.iter().enumerate() {
        for digit in 0..10 {
            let one = |n: &u64| n / 10u64.pow(at as u32) % 10 == digit;
            let count = writers.iter().map(|w| (0..w.written()).filter(one).count() as u64).sum();
            all.push((format!("{place}-{digit}"), count));
        }
    }
    all
}

/// Waits until every line of the writers was hit, and fails unless each was once and no bytes are missing. Then the
/// agent is stopped and started again, which must not change it.
pub(crate) fn each_line_was_hit_once<'a>(place: &'a Place, agent: Agent<'a>, writers: &[&Writer]) {
    let lines: u64 = writers.iter().map(|w| w.written()).sum();
    let hits =
        |s: &Value, place: &str| (0..10).map(|d| term(s, &format!("{place}-{d}"), "hits")).sum::<u64>();
    let begun = stopwatch();
    // what did not come by then is told by number
    let all = |s: &Value| begun.elapsed() > PATIENCE || PLACES.iter().all(|place| hits(s, place) >= lines);
    let exact = |status: &Value| {
        let told =
            expected(writers).into_iter().map(|(rule, count)| (term(status, &rule, "hits"), count, rule));
        let wrong: Vec<String> = told
            .filter(|(hits, count, _)| hits != count)
            .map(|(hits, count, rule)| format!("{rule}: {hits} hits of {count} lines"))
            .collect();
        assert_eq!(wrong, Vec::<String>::new(), "of {lines} lines; {}", status["read"]);
    };
    exact(&agent.wait_for_status_within(2 * PATIENCE, &format!("{lines} lines to be hit"), all));
    assert_eq!(agent.stop(), 0);
    let mut agent = place.launch(&[]);
    agent.wait_for_log("watching ");
    exact(&agent.status());
    assert_eq!(agent.stop(), 0);
}

/// Bash, because it runs everywhere where logrotate does. `ack` is a FIFO that hears when the log was reopened, for who
/// asks with SIGUSR1 in place of SIGHUP. A signal that comes just before `read` sleeps is heard when it comes back, and who
/// rotates waits for that: so it never sleeps for long.
const WRITER: &str = r#"
exec 3>>"$1"
trap 'exec 3>>"$1"' HUP
trap 'exec 3>>"$1"; echo > "$1.ack"' USR1
n=0
echo ready
while read -r -t 1 count || (($? > 128)); do
  [ -n "$count" ] || continue
  for ((i = 0; i < count; i++)); do
    printf '2026-11-22T05:26:00Z host app[7]: a line of a program at work n=%07d end\n' "$n" >&3
    n=$((n + 1))
  done
  echo "$n"
done
"#;

/// A program at work.
#[derive(Debug)]
pub(crate) struct Writer {
    child: Child,
    asks: ChildStdin,
    says: BufReader<ChildStdout>,
    asked: u64,
    done: u64,
}

impl Writer {
    /// Begins to write to `log`; knows its signals when this returns. The log is made.
    pub(crate) fn start(log: &Path) -> Writer {
        // Bash cannot trap a signal that was ignored when it began, and under `nohup` SIGHUP is.
        let mut child = Command::new("env")
            .args(["--default-signal=HUP,USR1", "bash", "-c", WRITER, "writer"])
            .arg(log)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // a signal that is meant for one writer is not meant for the test
            .process_group(0)
            .spawn()
            .unwrap();
        let asks = child.stdin.take().unwrap();
        let mut says = BufReader::new(child.stdout.take().unwrap());
        let mut ready = String::new();
        says.read_line(&mut ready).unwrap();
        assert_eq!(ready, "ready\n");
        Writer { child, asks, says, asked: 0, done: 0 }
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Lines that it was asked for.
    pub(crate) fn written(&self) -> u64 {
        self.asked
    }

    /// Asks for so many lines more and does not wait for them.
    pub(crate) fn write(&mut self, lines: u64) {
        writeln!(self.asks, "{lines}").unwrap();
        self.asked += lines;
    }

    /// Waits until it has written everything that it was asked for.
    pub(crate) fn wait(&mut self) {
        while self.done < self.asked {
            let mut line = String::new();
            assert_ne!(self.says.read_line(&mut line).unwrap(), 0, "the writer is gone");
            self.done = line.trim().parse().unwrap();
        }
    }

    /// Has it reopen its log, some time soon.
    pub(crate) fn hang_up(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // it may be gone already
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
