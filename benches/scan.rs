//! How fast blocks are searched: MB/s of one core for 1, 10 and 100 rules, beside what a plain `RegexSet` and one
//! regex a rule make of the same lines.
//!
//! `cargo bench --bench scan`, or with `-- --quick` (or `LOGHERALD_BENCH_QUICK=1`) over less text. The text is made
//! from real logs where a folder of them is found (`LOGHERALD_SHARED`, or `shared` beside the checkout): runs of
//! lines from randomly chosen logs, with their numbers, ids and names changed, so that no cache of states profits
//! from repetition. Elsewhere it is made from a few invented lines, and says so.
#![allow(missing_docs, reason = "a bench has no callers")]
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "it prints, and stops at the first fault")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use logherald::hit::RuleNo;
use logherald::line::{Block, BlockEnd, SourceNo};
use logherald::rules::{Pattern, RuleSet, RuleSpec, SourceClock};
use logherald::time::{Now, Tick, Wall};

/// What one read of a file gives.
const QUANTUM: usize = 256 << 10;

const INVENTED: &str = include_str!("scan_lines.txt");

const TEN: [&str; 10] = [
    r"sshd\[\d+\]: Failed password for (?:invalid user )?\S+ from \S+ port \d+",
    r"(?i)out of memory: kill(?:ed)? process \d+",
    r"segfault at [0-9a-f]+ ip",
    r"(?i)\bI/O error,? (?:on )?dev(?:ice)? \w+",
    r"(?:[a-z_]\w*\.)+[A-Z]\w*(?:Exception|Error)\b",
    r#""(?:GET|POST|PUT|DELETE|HEAD) [^"]*" (?:status: )?5\d\d\b"#,
    r"(?i)(?:kernel )?panic(?:ked)?[: ]",
    r"authentication failure;.*rhost=\S+",
    r"(?i)connection (?:refused|timed out|reset by peer)",
    r"\b(?:FATAL|CRITICAL|EMERG)\b",
];

fn main() {
    let quick =
        std::env::args().any(|a| a == "--quick") || std::env::var_os("LOGHERALD_BENCH_QUICK").is_some();
    let size = if quick { 4 << 20 } else { 64 << 20 };
    let shared = shared();
    let samples = samples(shared.as_ref());
    let mut random = Random(1);
    let mixed = mutated(&mixed(&samples, size, &mut random), &mut random);
    let sets = rule_sets(shared.as_ref());
    println!(
        "{} of {} per text, {}",
        mib(mixed.len()),
        if samples.len() > 1 { "real logs, mutated" } else { "invented lines, mutated" },
        if cfg!(debug_assertions) { "NOT optimised" } else { "optimised" }
    );
    println!(
        "{:<8} {:>5} {:>9} {:>9} {:>9} {:>9} {:>7}",
        "text", "rules", "hits", "ours", "RegexSet", "each", "ratio"
    );
    for (name, patterns) in &sets {
        let quiet = quiet(&mixed, patterns);
        for (text, bytes) in [("mixed", &mixed), ("quiet", &quiet)] {
            row(text, name, patterns, bytes, if quick { 1 } else { 3 });
        }
    }
    storm(if quick { 100_000 } else { 1_000_000 });
}

fn row(text: &str, name: &str, patterns: &[Pattern], bytes: &[u8], rounds: usize) {
    let mut set = rule_set(patterns, &[]);
    let mut hits = Vec::new();
    let (found, ours) = best(rounds, || {
        let mut found = 0;
        blocks(bytes, |block| {
            set.scan(&block, &mut hits);
            found += hits.len();
            hits.clear();
        });
        found
    });
    // the slow ways see a part: they are linear, and a bench should end
    let part = &bytes[..bytes.len().min(16 << 20)];
    let part = &part[..=memchr::memrchr(b'\n', part).unwrap_or(0)];
    let regex_set = regex::bytes::RegexSet::new(patterns.iter().map(|p| &*p.expanded)).unwrap();
    let (_, by_set) = best(1, || lines(part).map(|l| regex_set.matches(l).iter().count()).sum());
    let (_, by_each) =
        best(1, || lines(part).map(|l| patterns.iter().filter(|p| p.regex.is_match(l)).count()).sum());
    let speed = |n: usize, t: Duration| n as f64 / t.as_secs_f64() / 1e6;
    let (ours, by_set, by_each) =
        (speed(bytes.len(), ours), speed(part.len(), by_set), speed(part.len(), by_each));
    println!(
        "{text:<8} {name:>5} {found:>9} {ours:>9.0} {by_set:>9.0} {by_each:>9.0} {:>6.1}x",
        ours / by_set
    );
    println!(
        "measured: scan, {text}, {name} rules: {ours:.0} MB/s, {:.1} times RegexSet a line",
        ours / by_set
    );
}

/// A million hits of one rule: what a hit costs beside its regex.
fn storm(lines: usize) {
    let pattern = Pattern::new(r"worker (?<worker>\d+) failed on {ip}").unwrap();
    let mut text = Vec::new();
    for n in 0..lines {
        let line =
            format!("2026-11-22T05:26:00.{:03}Z app[7]: worker {n} failed on 10.0.0.{}\n", n % 1000, n % 200);
        text.extend_from_slice(line.as_bytes());
    }
    let patterns = [pattern];
    let mut set = rule_set(&patterns, &["worker", "ip"]);
    let mut hits = Vec::new();
    let (found, whole) = best(2, || {
        let mut found = 0;
        blocks(&text, |block| {
            set.scan(&block, &mut hits);
            found += hits.len();
            hits.clear();
        });
        found
    });
    let mut locs = patterns[0].regex.capture_locations();
    let (_, regex) = best(2, || {
        self::lines(&text).filter(|l| patterns[0].regex.captures_read(&mut locs, l).is_some()).count()
    });
    let each = |t: Duration| t.as_nanos() / lines as u128;
    println!(
        "storm: {found} hits, {} ns a hit, of which the regex's captures are {} ns",
        each(whole),
        each(regex)
    );
}

fn rule_set(patterns: &[Pattern], captures: &[&str]) -> RuleSet {
    let specs = patterns
        .iter()
        .enumerate()
        .map(|(i, p)| RuleSpec {
            no: RuleNo(i as u32),
            name: format!("rule-{i}").into(),
            sources: vec![SourceNo(0)],
            only_files: Vec::new(),
            pattern: p.clone(),
            exclude: Vec::new(),
            resolve: None,
            fields: Vec::new(),
            by: Vec::new(),
            captures: captures.iter().map(|c| (*c).to_owned()).collect(),
        })
        .collect();
    RuleSet::new(specs, vec![SourceClock { no: SourceNo(0), tz: TimeZone::UTC }], "host".into())
}

fn blocks(bytes: &[u8], mut each: impl FnMut(Block<'_>)) {
    let file: Arc<str> = "/var/log/x".into();
    let mut at = 0;
    while at < bytes.len() {
        let window = &bytes[at..bytes.len().min(at + QUANTUM)];
        let Some(end) = memchr::memrchr(b'\n', window) else { break };
        each(Block {
            source: SourceNo(0),
            file: &file,
            file_no: 1,
            offset: at as u64,
            bytes: &window[..=end],
            end: BlockEnd::Whole,
            hit_early: &[],
            read: Now { wall: Wall(1_795_325_160_000), tick: Tick(0) },
            backlog: false,
            records: &[],
            fields: &[],
        });
        at += end + 1;
    }
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split_inclusive(|b| *b == b'\n').map(|l| l.strip_suffix(b"\n").unwrap_or(l))
}

/// The result, and the shortest of the times.
fn best(rounds: usize, mut run: impl FnMut() -> usize) -> (usize, Duration) {
    let mut least = (0, Duration::MAX);
    for _ in 0..rounds {
        #[expect(clippy::disallowed_methods, reason = "a stopwatch")]
        let start = std::time::Instant::now();
        let result = std::hint::black_box(run());
        least = (result, least.1.min(start.elapsed()));
    }
    least
}

fn rule_sets(shared: Option<&PathBuf>) -> Vec<(&'static str, Vec<Pattern>)> {
    let ten: Vec<Pattern> = TEN.iter().map(|p| Pattern::new(p).unwrap()).collect();
    let hundred = if let Some(dir) = shared {
        std::fs::read_to_string(dir.join("data/rules/r100.txt")).unwrap()
    } else {
        let all: Vec<String> = (0..100).map(|i| format!("{}|unseen{i:03} by anyone", TEN[i % 10])).collect();
        all.join("\n")
    };
    let hundred = hundred.lines().map(|p| Pattern::new(p).unwrap()).collect();
    vec![("1", ten[..1].to_vec()), ("10", ten), ("100", hundred)]
}

fn shared() -> Option<PathBuf> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let dir = std::env::var_os("LOGHERALD_SHARED").map_or_else(beside, PathBuf::from);
    dir.join("data/loghub").is_dir().then_some(dir)
}

/// Lines of each log.
fn samples(shared: Option<&PathBuf>) -> Vec<Vec<Vec<u8>>> {
    let Some(dir) = shared else {
        return vec![INVENTED.lines().map(|l| l.as_bytes().to_vec()).collect()];
    };
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(dir.join("data/loghub")).unwrap().map(|f| f.unwrap().path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "log"));
    files.sort();
    let read = |file: &PathBuf| {
        let text = std::fs::read(file).unwrap();
        let lines = text.split(|b| *b == b'\n').map(|l| l.strip_suffix(b"\r").unwrap_or(l));
        lines.filter(|l| !l.is_empty()).map(<[u8]>::to_vec).collect()
    };
    files.iter().map(read).collect()
}

/// Runs of 1 to 64 lines, each from a log chosen at random; each log goes on where it was left.
fn mixed(samples: &[Vec<Vec<u8>>], size: usize, random: &mut Random) -> Vec<u8> {
    let mut at = vec![0; samples.len()];
    let mut out = Vec::with_capacity(size + 4096);
    while out.len() < size {
        let which = random.below(samples.len());
        for _ in 0..=random.below(64) {
            let sample = &samples[which];
            out.extend_from_slice(&sample[at[which] % sample.len()]);
            out.push(b'\n');
            at[which] += 1;
        }
    }
    out
}

/// Other digits, addresses, hex ids, and names after `user` and `for`.
fn mutated(text: &[u8], random: &mut Random) -> Vec<u8> {
    let varies = regex::bytes::Regex::new(
        r"(?-u)\b(\d{1,3}\.\d{1,3})\.\d{1,3}\.\d{1,3}|\d{4,}|\b[0-9a-f]{6,}\b|( user | for )[a-z]{2,}",
    );
    let mut out = Vec::with_capacity(text.len() + text.len() / 16);
    let mut at = 0;
    for caps in varies.unwrap().captures_iter(text) {
        let whole = caps.get(0).unwrap();
        out.extend_from_slice(&text[at..whole.start()]);
        at = whole.end();
        if let Some(net) = caps.get(1) {
            out.extend_from_slice(net.as_bytes());
            out.extend_from_slice(format!(".{}.{}", random.below(256), random.below(256)).as_bytes());
        } else if caps.get(2).is_some() {
            out.extend_from_slice(whole.as_bytes());
            out.extend((0..3).map(|_| b'a' + random.below(26) as u8));
        } else {
            let digits = whole.as_bytes().iter().all(u8::is_ascii_digit);
            let of: &[u8] = if digits { b"0123456789" } else { b"0123456789abcdef" };
            out.extend(whole.as_bytes().iter().map(|_| of[random.below(of.len())]));
        }
    }
    out.extend_from_slice(&text[at..]);
    out
}

/// Only one line in a thousand is a hit.
fn quiet(text: &[u8], patterns: &[Pattern]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let (mut silent, mut kept) = (0usize, 0usize);
    for line in lines(text) {
        if patterns.iter().any(|p| p.regex.is_match(line)) {
            if silent < kept * 1000 {
                continue;
            }
            kept += 1;
        }
        silent += 1;
        out.extend_from_slice(line);
        out.push(b'\n');
    }
    out
}

fn mib(bytes: usize) -> String {
    format!("{} MiB", bytes >> 20)
}

/// Numbers that are the same in each run (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % n as u64) as usize
    }
}
