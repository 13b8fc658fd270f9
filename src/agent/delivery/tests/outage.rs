//! Nothing arrives for hours, in which many lines hit: how soon is all of it told when that is over, in how many messages,
//! and is the number exact?
//!
//! Judge, desk, store and worker are the agent's own; the clock is moved by hand, so that the hours take no time. Each outage
//! ends at the worst of moments: a try has failed right before, and the next is as far away as it can be.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::chat::Outcome;
use crate::deliver::{Pace, Transport, worker};

const HOUR: Duration = Duration::from_secs(3600);
/// The last lines come so long before the end: by then every incident has ended, and there is all to tell.
const CALM: Duration = Duration::from_secs(240);
/// The clock is moved in steps of this when no lines come.
const STEP: Duration = Duration::from_millis(200);
/// All must have been told so long after the outage.
const DRAINED: Duration = Duration::from_secs(120);
/// A key is hit for so long; then another is.
const KEY_LIVES: u64 = 600;

/// What is away, for how long, and what comes meanwhile.
struct Outage {
    name: &'static str,
    /// What a try comes to.
    tries: Outcome,
    lasts: Duration,
    lines: u64,
    /// Lines come so often, as many as it takes.
    every: Duration,
}

/// A way to the space that may be cut.
struct Wire<'a> {
    cut: Outcome,
    up: &'a AtomicBool,
    failed: &'a AtomicUsize,
    clock: Clock,
    taken: &'a Mutex<Vec<(Now, OutboxRow)>>,
}

impl Transport for Wire<'_> {
    async fn post(&self, row: &OutboxRow) -> Outcome {
        if !self.up.load(Ordering::Relaxed) {
            self.failed.fetch_add(1, Ordering::Relaxed);
            return self.cut.clone();
        }
        self.taken.lock().unwrap().push((self.clock.now(), row.clone()));
        Outcome::Delivered { name: None, thread: None }
    }
}

/// Lines that came so long after the begin.
fn hits(count: u64, after: Duration, now: Now) -> Vec<Hit> {
    let key = |n: u64| format!("{}-{}", n % 5, after.as_secs() / KEY_LIVES);
    (0..count).map(|n| hit((n % 8) as u32, Some(key(n / 8)), now)).collect()
}

async fn is_told_within_two_minutes(outage: Outage) {
    let Outage { name, tries, lasts, lines, every } = outage;
    let mut office = office(&[]);
    let clock = Clock::by_hand(office.desk.clock.now());
    office.desk.clock = clock.clone();
    let mut policy = policy(&["boss", "ops"]);
    let space = &mut policy.spaces[1];
    (space.wait, space.wait_at_most) = (Duration::from_secs(5), Duration::from_secs(30));
    let rule = |n: u32| RulePolicy {
        by: vec!["part".into()],
        spaces: vec!["ops".into()],
        quiet: Duration::from_secs(120),
        max_per_hour: 3600,
        ..RulePolicy::named(&format!("rule{n}"))
    };
    policy.rules = (0..8).map(rule).collect();
    office.input(Input::Policy(Box::new(policy)), 0).await;

    let (up, failed, taken) = (AtomicBool::new(false), AtomicUsize::new(0), Mutex::default());
    let (reports_out, mut reports) = mpsc::channel(64);
    let wire = Wire { cut: tries, up: &up, failed: &failed, clock: clock.clone(), taken: &taken };
    let now = || clock.now();
    // about the longest that jitter makes of half a minute, and of one
    let longest = || 300_000;
    let pace = Pace::chat(Tick(0));
    let hand = office.hands.pop().unwrap();
    let work = worker(wire, now, hand, reports_out, CancellationToken::new(), pace, longest);
    let begun = clock.now();
    let steps = (lasts.as_secs() - CALM.as_secs()) / every.as_secs();
    let story = async {
        let (mut came, mut n, mut most) = (0, 0, 0);
        let waiting = loop {
            n += 1;
            let after = clock.now().tick.since(begun.tick);
            let due = (lines * n / steps).min(lines);
            let now = clock.now();
            let input =
                if due > came { Input::Hits(hits(due - came, after, now).into()) } else { Input::Timer };
            came = due;
            let before = failed.load(Ordering::Relaxed);
            office.turns(input, &mut reports).await;
            let waiting = office.waiting("ops").await.len();
            most = most.max(waiting);
            if after >= lasts && failed.load(Ordering::Relaxed) > before {
                up.store(true, Ordering::Relaxed);
                break waiting;
            }
            clock.pass(if after < lasts { every } else { STEP });
        };
        assert_eq!(came, lines);
        let back = clock.now();
        loop {
            office.turns(Input::Timer, &mut reports).await;
            let ledger = office.desk.judge.report(clock.now());
            let pending: u64 = ledger.rules.values().map(|r| r.pending).sum();
            let took = clock.now().tick.since(back.tick);
            if pending == 0 && office.waiting("ops").await.is_empty() {
                break (waiting, most, took, ledger);
            }
            assert!(took <= DRAINED, "{pending} hits have not been told");
            clock.pass(STEP);
        }
    };
    let (waiting, most, took, ledger) = tokio::select! {
        told = story => told,
        _ = work => panic!("the worker has ended"),
    };
    let taken = taken.lock().unwrap();
    let told = taken.iter().flat_map(|(_, row)| &row.draft.alerts).map(|alert| alert.hits).sum::<u64>();
    assert_eq!(told, lines, "what is told is exactly what came");
    let of =
        |term: fn(&crate::judge::Ledger) -> u64| ledger.rules.values().map(|r| term(&r.ledger)).sum::<u64>();
    assert_eq!((of(|l| l.hits), of(|l| l.shown + l.told), of(|l| l.lost)), (lines, lines, 0));
    assert!(
        taken.windows(2).all(|w| w[1].0.tick.since(w[0].0.tick) >= Duration::from_secs(1)),
        "one a second"
    );
    assert!(most <= MOST_WAIT, "{most} messages waited at a time");
    println!(
        "measured: {name}: {lines} hits, {waiting} messages waited, all told by {} messages within {:.1} s",
        taken.len(),
        took.as_secs_f64()
    );
}

/// Never more messages wait, however long it lasts: more than twenty that were never tried are told as one.
const MOST_WAIT: usize = 25;

#[tokio::test(start_paused = true)]
async fn what_a_network_that_was_away_for_hours_has_kept_is_told_within_two_minutes_and_to_the_hit() {
    let tries = Outcome::Unanswered { why: "no connection".into() };
    let every = Duration::from_secs(4);
    let name = "outage of 2 h, nobody answers";
    is_told_within_two_minutes(Outage { name, tries, lasts: 2 * HOUR, lines: 1_000_000, every }).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_server_in_trouble_for_hours_has_kept_is_told_within_two_minutes_and_to_the_hit() {
    let tries = Outcome::Retry { why: "503".into(), after: None };
    let every = Duration::from_secs(4);
    let name = "outage of 2 h, Chat answers 503";
    is_told_within_two_minutes(Outage { name, tries, lasts: 2 * HOUR, lines: 1_000_000, every }).await;
}

/// Longer than any message is news.
#[tokio::test(start_paused = true)]
async fn what_a_server_in_trouble_for_more_than_a_day_has_kept_is_told_within_two_minutes_and_to_the_hit() {
    let tries = Outcome::Retry { why: "503".into(), after: None };
    let every = Duration::from_secs(60);
    let name = "outage of 26 h, Chat answers 503";
    is_told_within_two_minutes(Outage { name, tries, lasts: 26 * HOUR, lines: 100_000, every }).await;
}

impl Office {
    /// The judge is told this, what it says is committed, and whoever waits for the clock looks at it.
    async fn turns(&mut self, input: Input, reports: &mut mpsc::Receiver<Report>) {
        self.input(input, 0).await;
        // longer than a worker sleeps before it looks at the clock again
        tokio::time::sleep(Duration::from_secs(31)).await;
        while let Ok(report) = reports.try_recv() {
            self.desk.outcome(report).await.unwrap();
        }
        self.input(Input::Timer, 0).await;
    }
}
