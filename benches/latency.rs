//! From the write of a line to the arrival of its alert over HTTP, with the real binary: how long?
//!
//! `cargo bench --bench latency [-- --quick]`. Every sample is the first alert of a space that was silent, so no
//! batch and no pace is in the way: what is measured is notify, scan, judge, commit with its sync, and HTTP. Beside it,
//! in the same run and on the same disk, stands what cannot be saved: a synced write and a loopback round trip.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "a program, not an interface")]

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

#[expect(clippy::disallowed_methods, reason = "a stopwatch")]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "a bench's own server")]
fn spawn(work: impl FnOnce() + Send + 'static) {
    std::thread::spawn(work);
}

fn main() {
    let quick = std::env::args().any(|a| a == "--quick");
    let samples = if quick { 20 } else { 300 };
    let dir = tempfile::tempdir().unwrap();
    let (url, arrivals) = server();

    let mut rules = String::new();
    for i in 0..samples {
        write!(
            rules,
            "[space.s{i}]\nwebhook = {{ env = \"HOOK_{i}\" }}\n\n[[rule]]\nname = \"r{i}\"\nfiles = [\"{}/a.log\"]\n\
             match = 'trouble number {i} happened'\nspace = \"s{i}\"\n\n",
            dir.path().display()
        )
        .unwrap();
    }
    fs::write(dir.path().join("rules.toml"), rules).unwrap();
    let log = dir.path().join("a.log");
    fs::write(&log, "the first line\n").unwrap();
    let _agent = start(dir.path(), &url, samples);

    let mut file = OpenOptions::new().append(true).open(&log).unwrap();
    let mut took = Vec::new();
    for i in 0..samples {
        let line = format!("2026-11-22T05:26:00Z host app[7]: trouble number {i} happened\n");
        let written = now();
        file.write_all(line.as_bytes()).unwrap();
        let arrived = arrivals.recv_timeout(Duration::from_secs(10)).expect("an alert within 10 s");
        took.push(arrived - written);
    }

    let syncs = synced_writes(dir.path(), samples);
    let trips = round_trips(&url, samples);
    println!("latency, {samples} samples, release binary, webhook on loopback");
    println!("{:<44} {:>10} {:>10} {:>10}", "", "p50 ms", "p99 ms", "max ms");
    let alert = row("line written → alert arrives", took);
    let floor = row("floor: one synced write of 4 KiB", syncs) + row("floor: one HTTP round trip", trips);
    println!("{:<44} {:>10.1}", "ratio of the medians, alert / floors", alert / floor);
}

/// Prints p50, p99 and the greatest; returns the median in milliseconds.
fn row(name: &str, mut took: Vec<Duration>) -> f64 {
    took.sort();
    let at = |q: f64| took[((took.len() - 1) as f64 * q).round() as usize].as_secs_f64() * 1e3;
    println!("{name:<44} {:>10.2} {:>10.2} {:>10.2}", at(0.5), at(0.99), at(1.0));
    println!("measured: latency, {name}: p50 {:.2} ms, p99 {:.2} ms", at(0.5), at(0.99));
    at(0.5)
}

struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        // it may be gone already
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

fn start(dir: &Path, url: &str, spaces: usize) -> Agent {
    let mut command = Command::new(env!("CARGO_BIN_EXE_logherald"));
    command.args(["run", "rules.toml", "--state", "state"]).current_dir(dir).stderr(Stdio::piped());
    for i in 0..spaces {
        command.env(format!("HOOK_{i}"), format!("{url}/v1/spaces/S{i}/messages?key=k&token=t"));
    }
    let mut child = command.spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("watching ") {
        line.clear();
        assert_ne!(log.read_line(&mut line).unwrap(), 0, "the agent did not start");
    }
    spawn(move || drop(std::io::copy(&mut log, &mut std::io::sink())));
    Agent(child)
}

/// A server that accepts every message and says when it came.
fn server() -> (String, mpsc::Receiver<Instant>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (tx, rx) = mpsc::channel();
    spawn(move || {
        for stream in listener.incoming().flatten() {
            let tx = tx.clone();
            spawn(move || serve(stream, &tx));
        }
    });
    (url, rx)
}

fn serve(stream: TcpStream, arrivals: &mpsc::Sender<Instant>) {
    let mut out = stream.try_clone().unwrap();
    let mut input = BufReader::new(stream);
    loop {
        let (mut first, mut length) = (String::new(), 0);
        if input.read_line(&mut first).unwrap_or(0) == 0 {
            return;
        }
        loop {
            let mut header = String::new();
            if input.read_line(&mut header).unwrap_or(0) == 0 {
                return;
            }
            if let Some(n) = header.to_ascii_lowercase().strip_prefix("content-length:") {
                length = n.trim().parse().unwrap();
            }
            if header == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        input.read_exact(&mut body).unwrap();
        let arrived = now();
        let space = first.split('/').nth(3).unwrap_or("?").to_owned();
        let answer = format!(
            "{{\"name\":\"spaces/{space}/messages/M\",\"thread\":{{\"name\":\"spaces/{space}/threads/T\"}}}}"
        );
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json; charset=UTF-8\r\ncontent-length";
        if write!(out, "{head}: {}\r\n\r\n{answer}", answer.len()).is_err() {
            return;
        }
        if !first.contains("/floor") && arrivals.send(arrived).is_err() {
            return;
        }
    }
}

fn synced_writes(dir: &Path, samples: usize) -> Vec<Duration> {
    let mut file = File::create(dir.join("floor")).unwrap();
    let one = |_| {
        let begun = now();
        file.write_all(&[7; 4096]).unwrap();
        file.sync_data().unwrap();
        begun.elapsed()
    };
    (0..samples).map(one).collect()
}

fn round_trips(url: &str, samples: usize) -> Vec<Duration> {
    let mut stream = TcpStream::connect(url.trim_start_matches("http://")).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut answer = [0; 4096];
    let one = |_| {
        let begun = now();
        stream.write_all(b"POST /v1/spaces/floor/messages HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}").unwrap();
        assert_ne!(stream.read(&mut answer).unwrap(), 0);
        begun.elapsed()
    };
    (0..samples).map(one).collect()
}
