//! Hits a second through the judge, on one core: where keys repeat, as in a storm, and where each key is new, as under an
//! attack. With each figure the bytes that it holds at the end by its own count, and by what the process has grown.
//!
//! `cargo bench --bench judge`, or with `-- --quick` or `-- --json`; with a word behind `--`, the cases whose names hold
//! it. Hits come as the reader hands them on, a thousand at a time; in full, and folded, as of one block they are. What has changed is asked for each simulated second, as the agent
//! commits it; the bytes of its rows are part of the time.
#![allow(missing_docs, reason = "a bench has no callers")]
#![allow(clippy::unwrap_used, reason = "it stops at the first fault")]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use logherald::hit::{Hit, Hits, RuleNo};
use logherald::judge::{Input, Judge, Policy, RulePolicy, SpacePolicy};
use logherald::message::Fate;
use logherald::redact::Redactor;
use logherald::time::{Now, Tick, Wall};

use common::{Figure, Told};

/// Hits that are given at once.
const BATCH: usize = 1000;

/// Batches where each key is new: two seconds, so that what goes between two commits and what stays both count.
const NEW: usize = 2 * A_SECOND;

/// Batches of one simulated second.
const A_SECOND: usize = 500;

/// Keys where they repeat.
const REPEATED: usize = 1000;

/// Hits a second that are asked for where keys repeat, and where each is new.
const ASKED_REPEATED: f64 = 3e6;
const ASKED_NEW: f64 = 5e5;

const START: Now = Now { wall: Wall(1_795_325_160_000), tick: Tick(1_000) };

fn main() {
    let told = Told::by("judge");
    let batches = if told.quick { 1_000 } else { 10_000 };
    let repeat = |case, batches, make: &dyn Fn(usize) -> Hits, threshold| {
        measure(&told, case, batches, make, threshold, ASKED_REPEATED);
    };
    repeat("keys that repeat, in full", batches, &|n| hits(n, |n| n % REPEATED, false), 0);
    repeat("keys that repeat, folded", batches, &|n| hits(n, |n| n % 10, true), 0);
    repeat("keys that repeat, five in two minutes", batches, &|n| hits(n, |n| n % REPEATED, false), 5);
    measure(&told, "each key new", NEW, |n| hits(n, |n| n, false), 0, ASKED_NEW);
    measure(&told, "each key new, five in two minutes", NEW, |n| hits(n, |n| n, false), 5, ASKED_NEW);
}

/// One batch. `folded`: of each key the first comes in full, and the last.
fn hits(batch: usize, key: impl Fn(usize) -> usize, folded: bool) -> Hits {
    let at = START.wall + Duration::from_millis(((batch * 1000) / A_SECOND) as u64);
    let full = |n: usize| hit(key(n), at);
    if !folded {
        return (0..BATCH).map(|n| full(batch * BATCH + n)).collect();
    }
    let mut all = Hits::default();
    let keys: Vec<u32> = (0..10).map(|n| all.push(full(n))).collect();
    (10..BATCH).for_each(|n| all.again(keys[n % 10], Some(at)));
    (BATCH - 10..BATCH).for_each(|turn| all.fill_in(turn, full(turn)));
    all
}

fn hit(key: usize, at: Wall) -> Hit {
    let ip: Box<str> = format!("10.{}.{}.{}", key >> 16, key >> 8 & 255, key & 255).into();
    let line = format!("Nov 22 05:26:00 web1 sshd[1571]: Failed password for root from {ip} port 56502 ssh2");
    Hit {
        rule: RuleNo(0),
        resolves: None,
        key: Box::new([ip.clone()]),
        captures: [Some(ip)].into(),
        stamp: Some(at),
        read: Now { wall: at, tick: START.tick + at.since(START.wall) },
        line: line.into(),
        file: "/var/log/auth.log".into(),
        file_no: 1,
        backlog: false,
        context: None,
    }
}

fn policy(threshold: u32) -> Policy {
    let within = Duration::from_secs(if threshold > 1 { 120 } else { 0 });
    let ops: Arc<str> = "ops".into();
    Policy {
        rules: vec![RulePolicy {
            fingerprint: 1,
            by: vec!["ip".into()],
            captures: vec!["ip".into()],
            threshold: threshold.max(1),
            within,
            spaces: vec![ops.clone()],
            ..RulePolicy::named("sshd")
        }],
        spaces: vec![SpacePolicy {
            name: ops.clone(),
            wait: Duration::from_secs(5),
            wait_at_most: Duration::from_secs(30),
            max_per_hour: 60,
            digest_every: Duration::from_secs(600),
            mention: BTreeMap::new(),
            edit: false,
        }],
        admin: ops,
        host: "web1".into(),
        redactor: Redactor::new(),
        late_after: Duration::from_secs(3600),
        memory: logherald::judge::MEMORY,
        alive: None,
        mutes: Vec::new(),
    }
}

fn measure(
    told: &Told,
    case: &str,
    batches: usize,
    make: impl Fn(usize) -> Hits,
    threshold: u32,
    asked: f64,
) {
    if !told.wants(case) {
        return;
    }
    let before = resident();
    let (mut judge, _) = Judge::new(policy(threshold), Vec::new(), [7; 16], START);
    let (mut busy, mut messages, mut written, mut count) = (Duration::ZERO, 0, 0, 0);
    for n in 0..batches {
        let hits = make(n);
        count += hits.len();
        let now = START.plus(Duration::from_millis(((n * 1000) / A_SECOND) as u64));
        let begun = common::now();
        let mut said = judge.apply(Input::Hits(hits), now);
        while let Some(message) = said.pop() {
            messages += 1;
            said.extend(judge.apply(Input::Fate { message: message.no, fate: Fate::Delivered }, now));
        }
        if n % A_SECOND == A_SECOND - 1 {
            let rows = judge.changes();
            written +=
                rows.iter().map(|r| r.name.len() + r.value.as_ref().map_or(0, String::len)).sum::<usize>();
        }
        busy += begun.elapsed();
    }
    let grown = resident().saturating_sub(before);
    let report = judge.report(START.plus(Duration::from_secs((batches / A_SECOND) as u64)));
    let rule = &report.rules["sshd"];
    assert_eq!(rule.ledger.hits, count as u64, "every hit is counted");
    assert_eq!(rule.ledger.hits, rule.ledger.settled() + rule.pending, "and is in one term");
    let figure = |name, value, unit| Figure { name, value, unit, at_most: None };
    told.tell(
        case,
        &[
            figure("hits a second", (count as f64 / busy.as_secs_f64()).round(), ""),
            figure("asked for", asked, ""),
            figure("a hit", busy.as_nanos() as f64 / count as f64, "ns"),
            figure("messages", f64::from(messages), ""),
            figure("held", report.bytes as f64 / 1e6, "MB"),
            figure("grown", grown as f64 / 1e6, "MB"),
            figure("written a hit", written as f64 / count as f64, "bytes"),
        ],
    );
}

/// Bytes of the process that are in memory.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}
