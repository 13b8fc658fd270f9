//! The network is away for two hours, in which a million lines hit: how soon is all of it told when it is back, in how many
//! messages, and is the number exact?
//!
//! Judge, desk, store and worker are the agent's own; the clock is moved by hand, so that the hours take no time.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::chat::Outcome;
use crate::deliver::{Pace, Transport, worker};

const LINES: u64 = 1_000_000;
const OUTAGE: Duration = Duration::from_secs(2 * 3600);
/// Lines come so often, as many as it takes.
const EVERY: Duration = Duration::from_secs(4);
/// The last of them come so long before the network does: by then every incident has ended, and there is all to tell.
const CALM: Duration = Duration::from_secs(240);
/// After the outage the clock is moved in steps of this.
const STEP: Duration = Duration::from_millis(200);
/// All must have been told so long after the outage.
const DRAINED: Duration = Duration::from_secs(120);
/// A key is hit for so long; then another is.
const KEY_LIVES: u64 = 600;

/// A way to the space that may be cut.
struct Wire<'a> {
    up: &'a AtomicBool,
    clock: Clock,
    taken: &'a Mutex<Vec<(Now, OutboxRow)>>,
}

impl Transport for Wire<'_> {
    async fn post(&self, row: &OutboxRow) -> Outcome {
        if !self.up.load(Ordering::Relaxed) {
            return Outcome::Unanswered { why: "no connection".into() };
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

#[tokio::test(start_paused = true)]
async fn what_a_network_that_was_away_for_hours_has_kept_is_told_within_two_minutes_and_to_the_hit() {
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

    let (up, taken) = (AtomicBool::new(false), Mutex::default());
    let (reports_out, mut reports) = mpsc::channel(64);
    let wire = Wire { up: &up, clock: clock.clone(), taken: &taken };
    let now = || clock.now();
    // about the longest that jitter makes of half a minute, and of five
    let longest = || 300_000;
    let pace = Pace::chat(Tick(0));
    let hand = office.hands.pop().unwrap();
    let work = worker(wire, now, hand, reports_out, CancellationToken::new(), pace, longest);
    let begun = clock.now();
    let steps = (OUTAGE.as_secs() - CALM.as_secs()) / EVERY.as_secs();
    let story = async {
        let mut came = 0;
        let mut n = 0;
        let waiting = loop {
            n += 1;
            let after = clock.now().tick.since(begun.tick);
            if after >= OUTAGE {
                up.store(true, Ordering::Relaxed);
                break office.waiting("ops").await.len();
            }
            let due = (LINES * n / steps).min(LINES);
            let now = clock.now();
            let input =
                if due > came { Input::Hits(hits(due - came, after, now).into()) } else { Input::Timer };
            came = due;
            office.turns(input, &mut reports).await;
            clock.pass(EVERY);
        };
        assert_eq!(came, LINES);
        let back = clock.now();
        loop {
            office.turns(Input::Timer, &mut reports).await;
            let ledger = office.desk.judge.report(clock.now());
            let pending: u64 = ledger.rules.values().map(|r| r.pending).sum();
            let took = clock.now().tick.since(back.tick);
            if pending == 0 && office.waiting("ops").await.is_empty() {
                break (waiting, took, ledger);
            }
            assert!(took <= DRAINED, "{pending} hits have not been told");
            clock.pass(STEP);
        }
    };
    let (waiting, took, ledger) = tokio::select! {
        told = story => told,
        _ = work => panic!("the worker has ended"),
    };
    let taken = taken.lock().unwrap();
    let told = taken.iter().flat_map(|(_, row)| &row.draft.alerts).map(|alert| alert.hits).sum::<u64>();
    assert_eq!(told, LINES, "what is told is exactly what came");
    let of =
        |term: fn(&crate::judge::Ledger) -> u64| ledger.rules.values().map(|r| term(&r.ledger)).sum::<u64>();
    assert_eq!((of(|l| l.hits), of(|l| l.shown + l.told), of(|l| l.lost)), (LINES, LINES, 0));
    assert!(
        taken.windows(2).all(|w| w[1].0.tick.since(w[0].0.tick) >= Duration::from_secs(1)),
        "one a second"
    );
    println!(
        "measured: outage of 2 h: {LINES} hits, {waiting} messages waited, all told by {} messages within {:.1} s",
        taken.len(),
        took.as_secs_f64()
    );
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
