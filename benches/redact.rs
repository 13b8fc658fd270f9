//! What it costs to take the secrets out of a line, in nanoseconds a line: lines of real logs, of which few hold one,
//! and lines that hold one each.
//!
//! `cargo bench --bench redact`, or with `-- --quick`. The real lines come from a folder of logs where one is found
//! (`LOGHERALD_SHARED`, or `shared` beside the checkout); elsewhere from a few invented ones, and it says so.
#![allow(missing_docs, reason = "a bench has no callers")]
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "it prints, and stops at the first fault")]

use std::hint::black_box;
use std::path::PathBuf;
use std::time::Duration;

use logherald::redact::{Extra, Redactor};

const INVENTED: &str = include_str!("scan_lines.txt");

const SECRETS: [&str; 6] = [
    "Nov 22 05:26:00 web1 app[7]: login failed user=bob password=hunter2 from 192.0.2.1",
    "2026-11-22T05:26:00Z POST https://chat.googleapis.com/v1/spaces/A/messages?key=AIzaSyAbCdEfGh&token=y%3D 403",
    "{\"level\":\"error\",\"msg\":\"no\",\"headers\":{\"Authorization\":\"Bearer eyJhbGciOi.eyJzdWIiOi.c2lnbmF0\"}}",
    "connect to postgres://app:s3cret@db.example:5432/shop failed: timeout",
    "pushed with ghp_a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8 to origin",
    "charged card 4111 1111 1111 1111 for 100 EUR",
];

fn main() {
    let quick =
        std::env::args().any(|a| a == "--quick") || std::env::var_os("LOGHERALD_BENCH_QUICK").is_some();
    let rounds = if quick { 1 } else { 15 };
    let real = lines();
    let about = if real.len() > 1000 { "real logs" } else { "invented lines" };
    let extra = || vec![Extra::new(r"(?<keep>session=)\S+").unwrap()];
    let secrets: Vec<String> = SECRETS.iter().map(|s| (*s).to_owned()).cycle().take(30_000).collect();
    println!("{:<44} {:>8} {:>10} {:>9} {:>9}", "lines", "number", "bytes each", "secrets", "ns each");
    for (name, redactor) in [
        ("built-in", Redactor::new()),
        ("with e-mail addresses and one pattern", Redactor::with(true, extra())),
    ] {
        for (about, lines) in [(about, &real), ("each with a secret", &secrets)] {
            let (mut best, mut found) = (Duration::MAX, 0);
            for _ in 0..rounds {
                #[expect(clippy::disallowed_methods, reason = "a bench reads the clock")]
                let began = std::time::Instant::now();
                found =
                    lines.iter().map(|l| u64::from(black_box(redactor.clean(black_box(l))).secrets)).sum();
                best = best.min(began.elapsed());
            }
            let bytes: usize = lines.iter().map(String::len).sum();
            println!(
                "{:<44} {:>8} {:>10} {found:>9} {:>9.0}",
                format!("{about}, {name}"),
                lines.len(),
                bytes / lines.len(),
                best.as_nanos() as f64 / lines.len() as f64
            );
        }
    }
}

fn lines() -> Vec<String> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let dir = std::env::var_os("LOGHERALD_SHARED").map_or_else(beside, PathBuf::from).join("data/loghub");
    let Ok(files) = std::fs::read_dir(dir) else { return INVENTED.lines().map(str::to_owned).collect() };
    let logs = files.map(|f| f.unwrap().path()).filter(|f| f.extension().is_some_and(|e| e == "log"));
    let text = |f: PathBuf| String::from_utf8_lossy(&std::fs::read(f).unwrap()).into_owned();
    logs.map(text).flat_map(|t| t.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}
