//! How fast blocks are searched, beside a well-tuned `RegexSet` on the same lines in the same run.
//!
//! Rules: r10 and r100 as operators write them, r1500 every pattern of Debian's logcheck-database that compiles
//! (`benches/logcheck-rules` fetches it). Texts: `mixed` real logs of 16 systems, `mut` the same with other numbers,
//! ids and names (no cache of states profits from repetition), `quiet` one line in a thousand a hit, `syslog`
//! nearly every second line one. The main figure is what it costs to say which rules accept which lines; what it costs
//! with the hits made of them stands beside it. Each scan is held to what `RegexSet` counts for each rule.
//!
//! `cargo bench --bench scan`, with `-- --quick` over less text, `--json` for one object a line, `--set r10` and
//! `--text mut` for some rows only. The texts are made by the generators in the folder that `LOGHERALD_SHARED` names,
//! or `shared` beside the checkout; elsewhere a few lines are invented, and it says so.
#![allow(missing_docs, reason = "a bench has no callers")]
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "it prints, and stops at the first fault")]

use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use logherald::hit::RuleNo;
use logherald::line::{Block, BlockEnd, SourceNo};
use logherald::rules::{Asked, Pattern, RuleSet, RuleSpec, SourceClock};
use logherald::time::{Now, Tick, Wall};
use regex::bytes::{RegexSet, RegexSetBuilder};
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

/// What one read of a file gives.
const QUANTUM: usize = 256 << 10;

/// Cache of the `RegexSet`, in bytes: at the regex crate's 2 MiB it thrashes with a hundred rules.
const TUNED: usize = 64 << 20;

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

/// Sizes of a run.
struct Size {
    /// MiB of each text.
    text: usize,
    /// Bytes of it that `RegexSet` sees, after as many that warm it up.
    part: usize,
    /// Times that each figure is taken; the middle one counts.
    rounds: usize,
    /// Hits of the storm.
    storm: usize,
}

const FULL: Size = Size { text: 64, part: 16 << 20, rounds: 5, storm: 1_000_000 };
const QUICK: Size = Size { text: 8, part: 2 << 20, rounds: 3, storm: 100_000 };

struct Bench {
    size: Size,
    json: bool,
    texts: Vec<(&'static str, Vec<u8>)>,
    sets: Vec<(&'static str, Vec<Pattern>)>,
    wanted: Vec<String>,
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let Some(at) = args.iter().position(|a| a == "--footprint") {
        return footprint_of(&args[at + 1], args.get(at + 2).map(String::as_str).unwrap_or_default());
    }
    let quick = args.iter().any(|a| a == "--quick") || std::env::var_os("LOGHERALD_BENCH_QUICK").is_some();
    let size = if quick { QUICK } else { FULL };
    let (texts, real) = texts(&size);
    let after = |name: &str| {
        let pairs = args.windows(2).filter(move |w| w[0] == name);
        pairs.map(|w| w[1].clone()).collect::<Vec<String>>()
    };
    let wanted = [after("--set"), after("--text")].concat();
    let bench = Bench { json: args.iter().any(|a| a == "--json"), texts, sets: sets(), size, wanted };
    bench.say(&format!(
        "{} MiB a text, {}, {}, medians of {}",
        bench.size.text,
        if real { "real logs" } else { "invented lines" },
        if cfg!(debug_assertions) { "NOT optimised" } else { "optimised" },
        bench.size.rounds,
    ));
    bench.table();
    if bench.wanted.is_empty() {
        bench.growth();
        bench.footprints();
        bench.storm();
    }
}

impl Bench {
    /// A line for people.
    fn say(&self, line: &str) {
        if !self.json {
            println!("{line}");
        }
    }

    fn wants(&self, set: &str, text: &str) -> bool {
        let named = |all: &[&str]| self.wanted.iter().any(|w| all.contains(&w.as_str()));
        let (sets, texts) = (["r10", "r100", "r1500"], ["mixed", "mut", "quiet", "syslog"]);
        (!named(&sets) || named(&[set])) && (!named(&texts) || named(&[text]))
    }

    fn table(&self) {
        self.say(&format!(
            "{:<6} {:<7} {:>9} {:>9} {:>11} {:>11} {:>7}",
            "rules", "text", "hits", "GB/s", "with hits", "RegexSet", "ratio"
        ));
        for (set, patterns) in &self.sets {
            for (text, bytes) in &self.texts {
                if self.wants(set, text) {
                    self.row(set, patterns, text, bytes);
                }
            }
            if self.wants(set, "quiet") {
                self.row(set, patterns, "quiet", &quiet(&self.texts[0].1, patterns));
            }
        }
    }

    fn row(&self, name: &str, patterns: &[Pattern], text: &str, bytes: &[u8]) {
        let part = &*ascii_lines(bytes, self.size.part);
        let tuned = tuned(patterns);
        let warm = counted(&tuned, part);
        let (_, by_set) = middle(self.size.rounds.min(3), || counted(&tuned, part));
        let mut set = rule_set(patterns, &[]);
        let mut found = vec![0u64; patterns.len()];
        blocks(part, |block| set.find(&block, |rule, _| found[rule.0 as usize] += 1));
        assert_eq!(found, warm, "{name} on {text}: each rule hits what its regex matches");
        let (hits, ours) = middle(self.size.rounds, || {
            let mut hits = 0;
            blocks(bytes, |block| set.find(&block, |_, _| hits += 1));
            hits
        });
        let mut made = Vec::new();
        let (_, with_hits) = middle(self.size.rounds.min(3), || {
            blocks(bytes, |block| {
                made.clear();
                set.scan(&block, &mut made);
            });
            0
        });
        let (ours, with_hits) = (speed(bytes, ours), speed(bytes, with_hits));
        let by_set = speed(part, by_set);
        let ratio = ours / by_set;
        self.say(&format!(
            "{name:<6} {text:<7} {hits:>9} {ours:>9.2} {with_hits:>11.2} {by_set:>11.3} {ratio:>6.1}x"
        ));
        if self.json {
            let row = json!({
                "bench": "scan", "rules": name, "text": text, "hits": hits, "gb_per_s": ours,
                "with_hits_gb_per_s": with_hits, "regex_set_gb_per_s": by_set, "ratio": ratio,
            });
            println!("{row}");
        }
        self.say(&format!(
            "measured: scan, {name} on {text}: {ours:.2} GB/s, {ratio:.1} times a tuned RegexSet, {with_hits:.2} with hits"
        ));
    }

    /// How the cost grows with the number of rules: every so many of the largest set.
    fn growth(&self) {
        let Some((name, all)) = self.sets.last() else { return };
        let bytes = whole_lines(&self.texts[0].1, self.size.part);
        self.say(&format!(
            "\n{:>6} {:>9} {:>9} {:>9}   of {name}, on mixed",
            "rules", "hits", "GB/s", "ready ms"
        ));
        let mut count = 10;
        loop {
            let count_now = count.min(all.len());
            let some: Vec<Pattern> = (0..count_now).map(|i| all[i * all.len() / count_now].clone()).collect();
            let (_, ready) = middle(1, || {
                let mut set = rule_set(&some, &[]);
                blocks(b"\n", |block| set.find(&block, |_, _| ()));
                0
            });
            let mut set = rule_set(&some, &[]);
            let (hits, time) = middle(self.size.rounds, || {
                let mut hits = 0;
                blocks(bytes, |block| set.find(&block, |_, _| hits += 1));
                hits
            });
            let (speed, ready) = (speed(bytes, time), ready.as_secs_f64() * 1e3);
            self.say(&format!("{count_now:>6} {hits:>9} {speed:>9.2} {ready:>9.1}"));
            if self.json {
                let row = json!({
                    "bench": "growth", "of": name, "rules": count_now, "hits": hits, "gb_per_s": speed,
                    "ready_ms": ready,
                });
                println!("{row}");
            }
            if count_now == all.len() {
                break;
            }
            count *= 2;
        }
    }

    /// What each set takes in a process of its own: time until it is ready, and memory after a scan.
    fn footprints(&self) {
        self.say(&format!(
            "\n{:<6} {:>11} {:>11}   in a process of its own",
            "rules", "ready ms", "peak MiB"
        ));
        let text = dir().join("footprint.log");
        fs::write(&text, &self.texts[0].1).unwrap();
        for (set, patterns) in &self.sets {
            let list = dir().join("footprint.txt");
            let lines: Vec<&str> = patterns.iter().map(|p| &*p.text).collect();
            fs::write(&list, lines.join("\n")).unwrap();
            let this = std::env::current_exe().unwrap();
            let out = Command::new(this).arg("--footprint").args([&list, &text]).output().unwrap();
            let out = String::from_utf8(out.stdout).unwrap();
            let figures: Vec<f64> = out.split_whitespace().map(|n| n.parse().unwrap()).collect();
            let (ready, peak) = (figures[0], figures[1]);
            self.say(&format!("{set:<6} {ready:>11.0} {peak:>11.1}"));
            if self.json {
                println!(
                    "{}",
                    json!({ "bench": "footprint", "rules": set, "ready_ms": ready, "peak_mib": peak })
                );
            }
            self.say(&format!("measured: scan, {set}: ready in {ready:.0} ms, {peak:.1} MiB at most"));
        }
    }

    /// Hits of one rule and nothing else: what a hit costs beside its regex.
    fn storm(&self) {
        let lines = self.size.storm;
        let mut text = String::new();
        for n in 0..lines {
            let (ms, host) = (n % 1000, n % 200);
            _ = writeln!(text, "2026-11-22T05:26:00.{ms:03}Z app[7]: worker {n} failed on 10.0.0.{host}");
        }
        let text = text.into_bytes();
        let patterns = [Pattern::new(r"worker (?<worker>\d+) failed on {ip}").unwrap()];
        let mut set = rule_set(&patterns, &["worker", "ip"]);
        let mut made = Vec::new();
        let (hits, whole) = middle(self.size.rounds.min(3), || {
            let mut hits = 0;
            blocks(&text, |block| {
                made.clear();
                set.scan(&block, &mut made);
                hits += made.len();
            });
            hits
        });
        let mut locs = patterns[0].regex().capture_locations();
        let (_, regex) = middle(self.size.rounds.min(3), || {
            self::lines(&text).filter(|l| patterns[0].regex().captures_read(&mut locs, l).is_some()).count()
        });
        let each = |t: Duration| t.as_nanos() as u64 / lines as u64;
        let (whole, regex) = (each(whole), each(regex));
        self.say(&format!(
            "\nstorm: {hits} hits, {whole} ns a hit, of which the regex's captures are {regex} ns"
        ));
        if self.json {
            println!(
                "{}",
                json!({ "bench": "storm", "hits": hits, "ns_a_hit": whole, "of_which_captures_ns": regex })
            );
        }
    }
}

/// In a process of its own: prints the milliseconds until the patterns of a file are ready, and the peak of its memory
/// in MiB after it has scanned a text.
fn footprint_of(list: &str, text: &str) {
    let list = fs::read_to_string(list).unwrap();
    let mut ready = Duration::ZERO;
    let mut set = None;
    let (_, time) = middle(1, || {
        let patterns: Vec<Pattern> = list.lines().map(|p| Pattern::new(p).unwrap()).collect();
        let mut made = rule_set(&patterns, &[]);
        blocks(b"\n", |block| made.find(&block, |_, _| ()));
        set = Some(made);
        0
    });
    ready += time;
    let mut set = set.unwrap();
    let mut file = fs::File::open(text).unwrap();
    let mut buffer = vec![0; QUANTUM];
    let mut kept = 0;
    loop {
        let read = file.read(&mut buffer[kept..]).unwrap();
        if read == 0 {
            break;
        }
        let filled = kept + read;
        let end = memchr::memrchr(b'\n', &buffer[..filled]).map_or(0, |n| n + 1);
        blocks(&buffer[..end], |block| set.find(&block, |_, _| ()));
        buffer.copy_within(end..filled, 0);
        kept = filled - end;
    }
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
    let kib: f64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    println!("{:.1} {:.1}", ready.as_secs_f64() * 1e3, kib / 1024.0);
}

/// What `RegexSet` counts for each rule, line by line.
fn counted(set: &RegexSet, bytes: &[u8]) -> Vec<u64> {
    let mut found = vec![0; set.len()];
    for line in lines(bytes) {
        for rule in set.matches(line) {
            found[rule] += 1;
        }
    }
    found
}

/// `RegexSet` at its best: without Unicode's classes, which make 1,500 rules so large that it falls back to its slowest
/// engine, and with room for its states. It sees lines of ASCII alone, where this changes nothing.
fn tuned(patterns: &[Pattern]) -> RegexSet {
    let ascii = |p: &Pattern| format!("(?-u){}", p.expanded);
    let texts = patterns.iter().map(|p| match regex::bytes::Regex::new(&ascii(p)) {
        Ok(_) => ascii(p),
        Err(_) => p.expanded.to_string(),
    });
    RegexSetBuilder::new(texts).size_limit(1 << 30).dfa_size_limit(TUNED).build().unwrap()
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
            fields: Vec::new(),
            context: Asked::default(),
            by: Vec::new(),
            resolve: None,
            mask: Vec::new(),
            captures: captures.iter().map(|c| (*c).to_owned()).collect(),
            fold: false,
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
            earlier: None,
        });
        at += end + 1;
    }
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split_inclusive(|b| *b == b'\n').map(|l| {
        let line = l.strip_suffix(b"\n").unwrap_or(l);
        line.strip_suffix(b"\r").unwrap_or(line)
    })
}

/// The lines of ASCII among the first `size` bytes.
fn ascii_lines(bytes: &[u8], size: usize) -> Vec<u8> {
    let lines = whole_lines(bytes, size).split_inclusive(|b| *b == b'\n');
    lines.filter(|l| l.is_ascii()).collect::<Vec<_>>().concat()
}

/// The first `size` bytes, up to the end of a line.
fn whole_lines(bytes: &[u8], size: usize) -> &[u8] {
    let part = &bytes[..bytes.len().min(size)];
    &part[..memchr::memrchr(b'\n', part).map_or(0, |n| n + 1)]
}

fn speed(bytes: &[u8], time: Duration) -> f64 {
    bytes.len() as f64 / time.as_secs_f64() / 1e9
}

/// The result, and the middle one of the times: of this thread on a core, whatever else the machine does.
fn middle<T>(rounds: usize, mut run: impl FnMut() -> T) -> (T, Duration) {
    let on_core = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap();
    let mut times = Vec::new();
    loop {
        let start = on_core();
        let result = std::hint::black_box(run());
        times.push(on_core().saturating_sub(start));
        if times.len() >= rounds {
            times.sort_unstable();
            return (result, times[times.len() / 2]);
        }
    }
}

/// The sets of rules that are at hand.
fn sets() -> Vec<(&'static str, Vec<Pattern>)> {
    let compiled = |text: &str| text.lines().filter_map(|p| Pattern::new(p).ok()).collect::<Vec<_>>();
    let mut sets = vec![("r10", compiled(&TEN.join("\n")))];
    let invented = || {
        let all: Vec<String> = (0..100).map(|i| format!("{}|unseen{i:03} by anyone", TEN[i % 10])).collect();
        all.join("\n")
    };
    let hundred = shared().map(|dir| fs::read_to_string(dir.join("data/rules/r100.txt")).unwrap());
    sets.push(("r100", compiled(&hundred.unwrap_or_else(invented))));
    match logcheck() {
        Some(text) => sets.push(("r1500", compiled(&text))),
        None => println!("SKIPPED: r1500; benches/logcheck-rules could not fetch logcheck-database"),
    }
    sets
}

/// The patterns of logcheck-database, fetched once.
fn logcheck() -> Option<String> {
    let kept = dir().join("logcheck.txt");
    if let Ok(text) = fs::read_to_string(&kept) {
        return Some(text);
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/logcheck-rules");
    let out = Command::new(script).output().ok().filter(|o| o.status.success())?;
    let text = String::from_utf8(out.stdout).ok()?;
    fs::write(&kept, &text).ok()?;
    Some(text)
}

/// Where what was made is kept.
fn dir() -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(&dir).unwrap();
    dir
}

fn shared() -> Option<PathBuf> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let dir = std::env::var_os("LOGHERALD_SHARED").map_or_else(beside, PathBuf::from);
    dir.join("data/loghub").is_dir().then_some(dir)
}

/// The texts, and whether they are of real logs.
fn texts(size: &Size) -> (Vec<(&'static str, Vec<u8>)>, bool) {
    if let Some(texts) = shared().and_then(|dir| generated(&dir.join("bench"), size)) {
        return (texts, true);
    }
    let lines: Vec<&str> = INVENTED.lines().collect();
    let mut random = Random(1);
    let mut mixed = Vec::new();
    while mixed.len() < size.text << 20 {
        mixed.extend_from_slice(lines[random.below(lines.len())].as_bytes());
        mixed.push(b'\n');
    }
    let mutated = mutated(&mixed, &mut random);
    (vec![("mixed", mixed), ("mut", mutated)], false)
}

/// What the generators beside the real logs make; each text is made once and kept.
fn generated(bench: &Path, size: &Size) -> Option<Vec<(&'static str, Vec<u8>)>> {
    let mib = size.text.to_string();
    let path = |name: &str| dir().join(format!("{name}-{mib}.log"));
    let make = |name: &str, script: &str, args: &[&str]| {
        let path = path(name);
        if path.is_file() {
            return Some(());
        }
        // under another name until it is whole
        let part = path.with_extension("part");
        let args: Vec<&std::ffi::OsStr> =
            args.iter().map(|a| if *a == "OUT" { part.as_os_str() } else { a.as_ref() }).collect();
        let status = Command::new("python3").arg(bench.join(script)).args(args).status().ok()?;
        (status.success() && fs::rename(&part, &path).is_ok()).then_some(())
    };
    make("mixed", "mix.py", &["OUT", &mib, "--kind", "mixed"])?;
    make("syslog", "mix.py", &["OUT", &mib, "--kind", "syslog"])?;
    make("mut", "mutate.py", &[path("mixed").to_str()?, "OUT"])?;
    ["mixed", "mut", "syslog"].into_iter().map(|name| Some((name, fs::read(path(name)).ok()?))).collect()
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
    let tuned = tuned(patterns);
    let mut out = Vec::with_capacity(text.len());
    let (mut silent, mut kept) = (0usize, 0usize);
    for line in lines(text) {
        if !line.is_ascii() || tuned.is_match(line) {
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
