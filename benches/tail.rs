//! From the write of a line to the block that holds it: how long, and how much a second?
//!
//! `cargo bench --bench tail [-- --quick]`. What is driven is the tail stage itself, in the loop in which the agent's
//! reader drives it: a step, and a wait on the bell for as long as the step said. Beside the throughput stands, in the
//! same run, what the machine needs to copy the same file into memory with plain `read(2)`. What the whole program costs
//! while nothing happens is `idle`'s question; the peers' figures are made by `benches/peers`.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "a program, not an interface")]

mod common;

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use common::{line, now};
use logherald::line::SourceNo;
use logherald::tail::{Bell, Encoding, Format, From, Input, Join, Rung, SourceSpec, TailOptions, Tailer};
use logherald::time::Clock;

#[expect(clippy::disallowed_methods, reason = "the reader and the writers of a bench")]
fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    std::thread::spawn(work)
}

fn main() {
    let quick = std::env::args().any(|a| a == "--quick");
    let size = |small, full| if quick { small } else { full };
    println!("the tail stage: append → block");
    println!("{:<52} {:>8} {:>9} {:>9} {:>9}", "", "samples", "p50 ms", "p99 ms", "max ms");
    floor(size(300, 2000));
    active(size(300, 2000));
    idle(size(300, 2000));
    made(size(100, 300), true);
    made(size(100, 300), false);
    beside_a_hot_one(Duration::from_secs(size(3, 10)));
    for logs in [size(250, 2000), size(500, 4000), size(1000, 8000)] {
        rotated_together(logs);
    }
    throughput(size(128, 512), size(3, 5) as usize);
}

/// Prints a row of the table, and the same as a line that is collected.
fn row(name: &str, mut took: Vec<Duration>, target: &str) {
    took.sort();
    let at = |q: f64| took[((took.len() - 1) as f64 * q).round() as usize].as_secs_f64() * 1e3;
    println!("{name:<52} {:>8} {:>9.3} {:>9.3} {:>9.3}", took.len(), at(0.5), at(0.99), at(1.0));
    println!(
        "measured: tail, {name}: p50 {:.3} ms, p99 {:.3} ms, max {:.3} ms of {} (target {target})",
        at(0.5),
        at(0.99),
        at(1.0),
        took.len()
    );
}

/// The reader's loop on a directory.
struct Reader {
    bell: Bell,
    stop: Arc<AtomicBool>,
    /// Milliseconds that the reader's clock is ahead: time that need not be waited for.
    ahead: Arc<AtomicU64>,
    /// Bytes given out, of all files.
    bytes: Arc<AtomicU64>,
    /// When each line that is not of a file called `hot` was given out: its number, and the instant.
    arrivals: mpsc::Receiver<(u64, Instant)>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    fn start(dir: &Path, inotify: bool) -> Reader {
        let spec = SourceSpec {
            no: SourceNo(0),
            name: Arc::from("files"),
            input: Input::Files { globs: vec![format!("{}/*.log", dir.display())], exclude: vec![] },
            from: From::End,
            max_line: 256 << 10,
            join: Join::None,
            format: Format::Plain,
            encoding: Encoding::default(),
        };
        let (bell, stop, ahead, bytes) = (Bell::new(), Arc::default(), Arc::default(), Arc::default());
        let options = TailOptions { inotify, ..TailOptions::default() };
        let (tx, arrivals) = mpsc::channel();
        let (ready, begun) = mpsc::channel();
        let shared = (bell.clone(), Arc::clone(&stop), Arc::clone(&ahead), Arc::clone(&bytes));
        let thread = spawn(move || {
            let (bell, stop, ahead, bytes): (Bell, Arc<AtomicBool>, Arc<AtomicU64>, Arc<AtomicU64>) = shared;
            let clock = Clock::continuing(None);
            let mut tailer = Tailer::new(vec![spec], vec![], bell, options, clock.now());
            ready.send(()).unwrap();
            while !stop.load(Ordering::Relaxed) {
                let now_ = clock.now().plus(Duration::from_millis(ahead.load(Ordering::Relaxed)));
                let step = tailer.step(now_, &mut |block| {
                    let at = now();
                    bytes.fetch_add(block.bytes.len() as u64, Ordering::Relaxed);
                    if !block.file.ends_with("hot.log") {
                        for line in block.bytes.split_inclusive(|&b| b == b'\n') {
                            let text = String::from_utf8_lossy(line);
                            let n = text.split_once("n=").and_then(|(_, rest)| rest.get(..12)?.parse().ok());
                            // nobody listens any more when a bench is at its end
                            _ = n.map(|n| tx.send((n, at)));
                        }
                    }
                    vec![]
                });
                if !step.more {
                    tailer.wait_for(step.wait.min(Duration::from_secs(5)));
                }
            }
        });
        begun.recv().unwrap();
        Reader { bell, stop, ahead, bytes, arrivals, thread: Some(thread) }
    }

    fn hear(&self) -> (u64, Instant) {
        self.arrivals.recv_timeout(Duration::from_secs(20)).expect("a line within 20 s")
    }

    /// Nothing happens for so long.
    fn rest(&self, time: Duration) {
        assert!(self.arrivals.recv_timeout(time).is_err(), "a line that nobody wrote");
    }

    /// Time passes for the reader alone, in steps that it does not take for a standstill of the machine.
    fn fast_forward(&self, time: Duration) {
        let step = Duration::from_secs(5);
        for _ in 0..time.as_secs() / step.as_secs() {
            self.ahead.fetch_add(step.as_millis() as u64, Ordering::Relaxed);
            self.bell.ring();
            self.rest(Duration::from_millis(2));
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.bell.ring();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn append(path: &Path, n: u64) -> Instant {
    let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
    let text = line(n);
    let written = now();
    file.write_all(text.as_bytes()).unwrap();
    written
}

/// A pause that differs from sample to sample, so that no period of anything is met in step.
fn pause(n: u64) -> Duration {
    Duration::from_micros(500 + n * 7919 % 4000)
}

/// What the machine needs to wake a thread, with whatever else runs on it: no tailer is faster.
fn floor(samples: u64) {
    let (bell, stop) = (Bell::new(), Arc::new(AtomicBool::new(false)));
    let (tx, woken) = mpsc::channel();
    let (other, stopped) = (bell.clone(), Arc::clone(&stop));
    let thread = spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            if other.wait(Duration::from_secs(5)) == Rung::Rang {
                tx.send(now()).unwrap();
            }
        }
    });
    let took = (0..samples).map(|n| {
        std::thread::sleep(pause(n));
        let rung = now();
        bell.ring();
        woken.recv().unwrap() - rung
    });
    row("floor: a bell rung → its thread awake", took.collect(), "none");
    stop.store(true, Ordering::Relaxed);
    bell.ring();
    thread.join().unwrap();
}

fn active(samples: u64) {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("a.log");
    append(&log, 0);
    let reader = Reader::start(dir.path(), true);
    let took = (0..samples).map(|n| {
        reader.rest(pause(n));
        let written = append(&log, n);
        reader.hear().1 - written
    });
    row("an active file", took.collect(), "0.3, 5");
}

/// Each sample is a file of its own that nobody touched for a minute, or so long that its handle is closed.
fn idle(samples: u64) {
    let dir = tempfile::tempdir().unwrap();
    let log = |n: u64| dir.path().join(format!("{n}.log"));
    for (name, time) in [
        ("a file idle for a minute", Duration::from_secs(65)),
        ("a file idle for 11 minutes, its handle closed", Duration::from_secs(660)),
    ] {
        for n in 0..samples {
            append(&log(n), 0);
        }
        let reader = Reader::start(dir.path(), true);
        for n in 0..samples {
            append(&log(n), n);
            reader.hear();
        }
        reader.fast_forward(time);
        let took = (0..samples).map(|n| {
            reader.rest(pause(n));
            let written = append(&log(n), n);
            reader.hear().1 - written
        });
        row(name, took.collect(), "0.3, 5");
    }
}

/// A file is made, with its first line in it, beside up to 1,000 others.
fn made(samples: u64, inotify: bool) {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..1000 - samples {
        append(&dir.path().join(format!("old-{n}.log")), 0);
    }
    let reader = Reader::start(dir.path(), inotify);
    reader.rest(Duration::from_millis(500));
    let mut written = Vec::new();
    let mut took = Vec::new();
    for n in 0..samples {
        // one after the other where events tell, at any instant of the period of looking where they do not
        let made = append(&dir.path().join(format!("new-{n}.log")), n);
        written.push(made);
        if inotify {
            took.push(reader.hear().1 - made);
            reader.rest(pause(n));
        } else {
            std::thread::sleep(10 * pause(n));
        }
    }
    while took.len() < written.len() {
        let (n, at) = reader.hear();
        took.push(at - written[n as usize]);
    }
    if inotify {
        row("a new file → its first line", took, "50");
    } else {
        row("a new file → its first line, without inotify", took, "1000");
    }
}

/// All logs of a directory are renamed at once, each with a line that nobody has read. Twice as many must not take much
/// more than twice the time.
fn rotated_together(logs: u64) {
    let dir = tempfile::tempdir().unwrap();
    let log = |n: u64| dir.path().join(format!("log-{n:05}.log"));
    (0..logs).for_each(|n| _ = append(&log(n), n));
    let reader = Reader::start(dir.path(), false);
    for n in 0..logs {
        append(&log(n), n);
        std::fs::rename(log(n), log(n).with_extension("log.1")).unwrap();
    }
    let begun = now();
    let mut last = begun;
    for _ in 0..logs {
        last = reader.hear().1;
    }
    println!(
        "measured: tail, {logs} logs of one directory rotated together, without inotify: the last line read {:.0} ms later",
        last.saturating_duration_since(begun).as_secs_f64() * 1e3
    );
}

/// One file grows by 200 MB/s, 99 others by a line now and then.
fn beside_a_hot_one(time: Duration) {
    const RATE: u64 = 200_000_000;
    let dir = tempfile::tempdir().unwrap();
    let hot = dir.path().join("hot.log");
    File::create(&hot).unwrap();
    let quiet = |n: u64| dir.path().join(format!("quiet-{}.log", n % 99));
    for n in 0..99 {
        append(&quiet(n), 0);
    }
    let reader = Reader::start(dir.path(), true);
    let text: String = (0..8192).map(line).collect();
    let begun = now();
    let writer = spawn(move || {
        let mut file = OpenOptions::new().append(true).open(hot).unwrap();
        let mut written = 0u64;
        while begun.elapsed() < time {
            let due = begun.elapsed().as_secs_f64() * RATE as f64;
            if (written as f64) < due {
                file.write_all(text.as_bytes()).unwrap();
                written += text.len() as u64;
            } else {
                std::thread::sleep(Duration::from_micros(200));
            }
        }
        (written, begun.elapsed())
    });
    let (mut written, mut took) = (Vec::new(), Vec::new());
    while begun.elapsed() < time {
        let n = written.len() as u64;
        written.push(append(&quiet(n * 31), n));
        std::thread::sleep(pause(n));
        took.extend(reader.arrivals.try_iter().map(|(n, at)| at - written[n as usize]));
    }
    let read = reader.bytes.load(Ordering::Relaxed);
    while took.len() < written.len() {
        let (n, at) = reader.hear();
        took.push(at - written[n as usize]);
    }
    let (hot, wrote) = writer.join().unwrap();
    let rate = |bytes: u64| bytes as f64 / wrote.as_secs_f64() / 1e6;
    row("a quiet file of 99, beside a hot one", took, "10 at p99");
    println!(
        "measured: tail, the hot file: {:.0} MB/s written, {:.0} MB/s read meanwhile (asked for 200)",
        rate(hot),
        rate(read)
    );
}

/// One file from its first byte to its last, and the same bytes by `read(2)` alone.
fn throughput(mib: u64, rounds: usize) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("big.log");
    let text: String = (0..8192).map(line).collect();
    let mut file = File::create(&path).unwrap();
    let mut size = 0;
    while size < mib << 20 {
        file.write_all(text.as_bytes()).unwrap();
        size += text.len() as u64;
    }
    let (mut tail, mut plain) = (Duration::MAX, Duration::MAX);
    for _ in 0..rounds {
        tail = tail.min(by_tail(&path, size));
        plain = plain.min(by_read(&path, size));
    }
    let rate = |time: Duration| size as f64 / time.as_secs_f64() / 1e6;
    println!(
        "{:<52} {:>8.0} MB/s; read(2) alone {:.0} MB/s",
        "one file, split into lines",
        rate(tail),
        rate(plain)
    );
    println!(
        "measured: tail, one file of {mib} MiB: {:.0} MB/s, read(2) alone {:.0} MB/s (target 300)",
        rate(tail),
        rate(plain)
    );
}

fn by_tail(path: &Path, size: u64) -> Duration {
    let input = Input::Files { globs: vec![path.display().to_string()], exclude: vec![] };
    let (name, encoding) = (Arc::from("files"), Encoding::default());
    let (join, format) = (Join::None, Format::Plain);
    let spec = SourceSpec {
        no: SourceNo(0),
        name,
        input,
        from: From::Start,
        max_line: 256 << 10,
        join,
        format,
        encoding,
    };
    let clock = Clock::continuing(None);
    let begun = now();
    let mut tailer = Tailer::new(vec![spec], vec![], Bell::new(), TailOptions::default(), clock.now());
    let mut read = 0;
    while read < size {
        read += tailer.step(clock.now(), &mut |_| vec![]).bytes;
    }
    begun.elapsed()
}

fn by_read(path: &Path, size: u64) -> Duration {
    let begun = now();
    let mut file = File::open(path).unwrap();
    let mut buf = vec![0; 256 << 10];
    let mut read = 0;
    while read < size {
        read += file.read(&mut buf).unwrap() as u64;
    }
    begun.elapsed()
}
