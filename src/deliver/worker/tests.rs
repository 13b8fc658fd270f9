//! A worker under tokio's paused clock: hours pass in no time, to the millisecond.

use super::*;
use crate::alert::Severity;
use crate::message::Message;
use crate::time::Wall;
use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

/// Answers with what the script says, then delivers; notes when it was asked and for what.
struct Script {
    outcomes: Mutex<VecDeque<Outcome>>,
    asked: Mutex<Vec<(u64, String, Arc<str>)>>,
    begin: tokio::time::Instant,
    takes: Duration,
    mended: AtomicBool,
}

impl Transport for Script {
    async fn is_mended(&self) -> bool {
        self.mended.swap(false, Ordering::Relaxed)
    }

    async fn post(&self, row: &OutboxRow) -> Outcome {
        let at = self.begin.elapsed().as_millis() as u64;
        self.asked.lock().unwrap().push((at, row.id.0.to_string(), row.body.clone()));
        tokio::time::sleep(self.takes).await;
        self.outcomes.lock().unwrap().pop_front().unwrap_or(Outcome::Delivered { name: None, thread: None })
    }
}

struct Bench {
    script: Arc<Script>,
    hand: watch::Sender<Option<OutboxRow>>,
    reports: mpsc::Receiver<Report>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<Tick>,
    /// So many milliseconds the machine has slept: the agent's clock went on, tokio's stood still.
    slept: Arc<AtomicU64>,
    /// By so many milliseconds the calendar was set.
    set: Arc<AtomicI64>,
}

/// A worker whose jitter is always at its longest below `bits`; must be called under a paused clock.
fn bench(outcomes: impl Into<VecDeque<Outcome>>, takes_ms: u64) -> Bench {
    let begin = tokio::time::Instant::now();
    let script = Arc::new(Script {
        outcomes: Mutex::new(outcomes.into()),
        asked: Mutex::default(),
        begin,
        takes: Duration::from_millis(takes_ms),
        mended: AtomicBool::new(false),
    });
    let (hand, in_hand) = watch::channel(None);
    let (reports_out, reports) = mpsc::channel(64);
    let stop = CancellationToken::new();
    let (slept, set) = (Arc::<AtomicU64>::default(), Arc::<AtomicI64>::default());
    let (asleep, calendar) = (slept.clone(), set.clone());
    let now = move || {
        let passed = begin.elapsed() + Duration::from_millis(asleep.load(Ordering::Relaxed));
        Now { wall: Wall(calendar.load(Ordering::Relaxed)), tick: Tick(0) }.plus(passed)
    };
    let work = worker(script.clone(), now, in_hand, reports_out, stop.clone(), Pace::chat(Tick(0)), || 1000);
    #[expect(clippy::disallowed_methods, reason = "a test is its own pipeline")]
    let task = tokio::task::spawn(work);
    Bench { script, hand, reports, stop, task, slept, set }
}

fn row(n: u8) -> OutboxRow {
    let draft = Message {
        no: MessageNo(u64::from(n)),
        space: "ops".into(),
        thread: "t".into(),
        host: "h".into(),
        severity: Severity::Info,
        alerts: vec![],
        at: Wall(0),
        mention: Vec::new(),
        edits: None,
    };
    OutboxRow {
        id: RowId::from_random([n; 16]),
        space: "ops".into(),
        message: draft.no,
        severity: Severity::Info,
        body: format!("{{\"text\":\"{n}\"}}").into(),
        draft: Arc::new(draft),
        plain: false,
        born: Wall(0),
        tries: 0,
        due: Tick(0),
        last_error: None,
    }
}

fn retry() -> Outcome {
    Outcome::Retry { why: "503".into(), after: None }
}

fn slow(seconds: u64) -> Outcome {
    Outcome::Slow { why: "429".into(), after: Some(Duration::from_secs(seconds)) }
}

fn pause() -> Outcome {
    Outcome::Pause { why: "403".into(), hint: "mend it".into(), again: Duration::from_secs(300), chance: 0 }
}

impl Bench {
    /// Puts a row into the worker's hand.
    fn give(&self, row: OutboxRow) {
        self.hand.send(Some(row)).unwrap();
    }

    async fn event(&mut self) -> (MessageNo, Event) {
        let report = tokio::time::timeout(Duration::from_secs(200_000), self.reports.recv()).await;
        let report = report.expect("an event in time").expect("the worker lives");
        (report.message, report.event)
    }

    async fn end_of(&mut self, n: u64) -> Event {
        loop {
            let (no, event) = self.event().await;
            if no.0 == n && matches!(event, Event::Delivered | Event::Refused { .. } | Event::Expired { .. })
            {
                return event;
            }
        }
    }

    fn asked_at(&self) -> Vec<u64> {
        self.script.asked.lock().unwrap().iter().map(|(at, ..)| *at).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn rows_keep_their_order_and_the_pace_counts_from_the_answer() {
    let mut b = bench([], 300);
    for n in 1..=3 {
        b.give(row(n));
        assert_eq!(b.event().await, (MessageNo(n.into()), Event::Delivered));
    }
    assert_eq!(b.asked_at(), [0, 1500, 3000]);
}

#[tokio::test(start_paused = true)]
async fn every_try_sends_the_same_body_under_the_same_id() {
    let mut b = bench([retry(), slow(3), retry()], 10);
    b.give(row(1));
    assert_eq!(b.end_of(1).await, Event::Delivered);
    let asked = b.script.asked.lock().unwrap();
    assert_eq!(asked.len(), 4);
    assert!(asked.iter().all(|(_, id, body)| (id, body) == (&asked[0].1, &asked[0].2)));
}

#[tokio::test(start_paused = true)]
async fn a_429_waits_as_told_slows_the_space_and_counts_as_no_try() {
    let mut b = bench([slow(7)], 0);
    b.give(row(1));
    assert_eq!(b.event().await.1, Event::Retrying { tries: 0, due: Tick(7000), why: "429".into() });
    assert_eq!(b.end_of(1).await, Event::Delivered);
    b.give(row(2));
    assert_eq!(b.end_of(2).await, Event::Delivered);
    // after the 429 the period is 2.4 s, and each delivery takes 0.2 s off it
    assert_eq!(b.asked_at(), [0, 7000, 9200]);
}

#[tokio::test(start_paused = true)]
async fn a_paused_space_keeps_its_rows_and_probes_with_the_first() {
    let mut b = bench([pause(), pause()], 0);
    b.give(row(1));
    let paused =
        |tries, due| Event::Paused { tries, due: Tick(due), why: "403".into(), hint: "mend it".into() };
    assert_eq!(b.event().await, (MessageNo(1), paused(1, 300_000)));
    assert_eq!(b.event().await, (MessageNo(1), paused(2, 900_000)));
    assert_eq!(b.event().await, (MessageNo(1), Event::Resumed));
    assert_eq!(b.event().await, (MessageNo(1), Event::Delivered));
    b.give(row(2));
    assert_eq!(b.event().await, (MessageNo(2), Event::Delivered));
    assert_eq!(b.asked_at(), [0, 300_000, 900_000, 901_200]);
}

#[tokio::test(start_paused = true)]
async fn a_poisoned_message_holds_up_nobody() {
    let refused = Outcome::Refused { why: "400".into(), resend_plain: true };
    let mut b = bench([refused], 0);
    b.give(row(1));
    assert_eq!(b.event().await, (MessageNo(1), Event::Refused { why: "400".into(), resend_plain: true }));
    b.give(row(2));
    assert_eq!(b.event().await, (MessageNo(2), Event::Delivered));
}

#[tokio::test(start_paused = true)]
async fn a_message_ends_by_age_and_not_by_tries() {
    let mut b = bench(vec![retry(); 100_000], 0);
    b.give(row(1));
    let mut tries = 0;
    let end = loop {
        match b.event().await.1 {
            Event::Retrying { tries: t, .. } => tries = t,
            end => break end,
        }
    };
    assert_eq!(end, Event::Expired { why: "503".into() });
    assert!(tries > 1000, "{tries}");
    assert_eq!(b.script.begin.elapsed().as_secs(), 24 * 3600);
}

#[tokio::test(start_paused = true)]
async fn a_restored_row_waits_for_its_time_and_an_old_one_is_not_sent() {
    let mut b = bench([], 0);
    b.give(OutboxRow { due: Tick(60_000), tries: 4, ..row(1) });
    assert_eq!(b.end_of(1).await, Event::Delivered);
    assert_eq!(b.asked_at(), [60_000]);
    let old = OutboxRow { born: Wall(-25 * 3_600_000), last_error: Some("503".into()), ..row(2) };
    b.give(old);
    assert_eq!(b.end_of(2).await, Event::Expired { why: "503".into() });
    assert_eq!(b.asked_at().len(), 1);
}

/// Row `n`, which edits a message.
fn edit(n: u8) -> OutboxRow {
    let row = row(n);
    let draft = Message { edits: Some(RowId::from_random([9; 16])), ..Message::clone(&row.draft) };
    OutboxRow { draft: Arc::new(draft), ..row }
}

#[tokio::test(start_paused = true)]
async fn an_edit_is_never_too_old_and_ends_where_there_is_nothing_to_edit() {
    let gone = || Outcome::Gone { why: "404".into() };
    let mut b = bench([pause(), gone(), gone()], 0);
    b.give(OutboxRow { born: Wall(-25 * 3_600_000), ..edit(1) });
    assert!(matches!(b.event().await.1, Event::Paused { .. }));
    assert_eq!(b.event().await, (MessageNo(1), Event::Gone { why: "404".into() }));
    b.give(edit(2));
    assert_eq!(b.event().await, (MessageNo(2), Event::Gone { why: "404".into() }));
    b.give(row(3));
    assert_eq!(b.event().await, (MessageNo(3), Event::Resumed), "until then nobody knew that it is over");
    assert_eq!(b.event().await, (MessageNo(3), Event::Delivered));
}

#[tokio::test(start_paused = true)]
async fn stopping_ends_a_wait_at_once() {
    let mut b = bench([pause()], 0);
    b.give(row(1));
    b.event().await;
    b.stop.cancel();
    b.task.await.unwrap();
    assert_eq!(b.script.begin.elapsed(), Duration::ZERO);
    assert!(b.reports.recv().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn stopping_lets_a_request_finish_within_its_bound() {
    let mut b = bench([], 3000);
    b.give(row(1));
    tokio::time::advance(Duration::from_millis(1)).await;
    tokio::task::yield_now().await;
    b.stop.cancel();
    assert_eq!(b.event().await, (MessageNo(1), Event::Delivered));
    b.task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn stopping_gives_up_a_request_that_takes_too_long() {
    let mut b = bench([], 20_000);
    b.give(row(1));
    tokio::time::advance(Duration::from_millis(1)).await;
    tokio::task::yield_now().await;
    b.stop.cancel();
    b.task.await.unwrap();
    assert!(b.reports.recv().await.is_none());
    assert_eq!(b.script.begin.elapsed().as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_chat_asks_for_with_a_429_holds_for_whatever_is_in_hand() {
    let mut b = bench([slow(600)], 0);
    b.give(row(1));
    let (_, event) = b.event().await;
    assert_eq!(event, Event::Retrying { tries: 0, due: Tick(600_000), why: "429".into() });
    b.give(OutboxRow { severity: Severity::Critical, ..row(2) });
    assert_eq!(b.event().await, (MessageNo(2), Event::Delivered));
    assert_eq!(b.asked_at(), [0, 600_000]);
}

#[tokio::test(start_paused = true)]
async fn while_a_row_waits_another_takes_its_place_and_the_first_comes_back_when_it_is_given_again() {
    let mut b = bench([retry()], 0);
    b.give(row(1));
    let first = b.event().await;
    assert_eq!(first, (MessageNo(1), Event::Retrying { tries: 1, due: Tick(1000), why: "503".into() }));
    b.give(OutboxRow { severity: Severity::Critical, ..row(2) });
    assert_eq!(b.event().await, (MessageNo(2), Event::Delivered));
    b.give(OutboxRow { tries: 1, due: Tick(1000), ..row(1) });
    assert_eq!(b.event().await, (MessageNo(1), Event::Delivered));
    // the pace is the space's, whatever is in hand
    assert_eq!(b.asked_at(), [0, 1200, 2400]);
}

#[tokio::test(start_paused = true)]
async fn what_is_taken_out_of_the_hand_is_not_sent() {
    let mut b = bench([pause()], 0);
    b.give(row(1));
    assert!(matches!(b.event().await.1, Event::Paused { .. }));
    b.hand.send(None).unwrap();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(b.asked_at().len(), 1);
    // the pause is the space's, and over by now
    b.give(row(2));
    assert_eq!(b.event().await, (MessageNo(2), Event::Resumed));
    assert_eq!(b.event().await, (MessageNo(2), Event::Delivered));
}

#[tokio::test(start_paused = true)]
async fn a_request_in_flight_comes_to_its_end_before_another_row_is_taken() {
    let mut b = bench([], 3000);
    b.give(row(1));
    tokio::time::sleep(Duration::from_millis(10)).await;
    b.give(OutboxRow { severity: Severity::Critical, ..row(2) });
    assert_eq!(b.event().await, (MessageNo(1), Event::Delivered));
    assert_eq!(b.event().await, (MessageNo(2), Event::Delivered));
    assert_eq!(b.asked_at(), [0, 4200], "one request in flight, and the pace counts from its answer");
}

#[tokio::test(start_paused = true)]
async fn who_can_give_nothing_any_more_ends_the_worker() {
    let b = bench([pause()], 0);
    b.give(row(1));
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(b.hand);
    assert_eq!(b.task.await.unwrap(), Tick(1200));
}

#[tokio::test(start_paused = true)]
async fn a_pause_whose_cause_was_mended_ends_at_the_next_look() {
    let mut b = bench([pause(), pause()], 0);
    b.give(row(1));
    assert!(matches!(b.event().await.1, Event::Paused { .. }));
    tokio::time::sleep(Duration::from_secs(100)).await;
    b.script.mended.store(true, Ordering::Relaxed);
    assert!(matches!(b.event().await.1, Event::Paused { tries: 2, .. }), "it was not what was wrong");
    b.script.mended.store(true, Ordering::Relaxed);
    assert_eq!(b.event().await, (MessageNo(1), Event::Resumed));
    assert_eq!(b.asked_at(), [0, 120_000, 150_000]);
}

const DAY: i64 = 24 * 3_600_000;

#[tokio::test(start_paused = true)]
async fn a_machine_that_has_slept_for_hours_goes_on_at_the_next_look() {
    let mut b = bench([pause()], 0);
    b.give(row(1));
    assert!(matches!(b.event().await.1, Event::Paused { due: Tick(300_000), .. }));
    b.slept.store(2 * 3_600_000, Ordering::Relaxed);
    assert_eq!(b.event().await, (MessageNo(1), Event::Resumed));
    assert_eq!(b.event().await, (MessageNo(1), Event::Delivered));
    assert_eq!(b.asked_at(), [0, 30_000]);
}

#[tokio::test(start_paused = true)]
async fn a_calendar_that_is_set_a_day_forward_or_back_changes_nothing_for_a_message_in_hand() {
    for set in [2 * DAY, -2 * DAY] {
        let mut b = bench(vec![retry(); 20], 0);
        b.give(row(1));
        assert!(matches!(b.event().await.1, Event::Retrying { tries: 1, .. }));
        b.set.store(set, Ordering::Relaxed);
        assert_eq!(b.end_of(1).await, Event::Delivered);
        assert_eq!(b.asked_at().len(), 21);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_committed_before_the_calendar_was_set_a_day_back_is_young_and_sent() {
    let mut b = bench([], 0);
    b.set.store(-2 * DAY, Ordering::Relaxed);
    b.give(row(1));
    assert_eq!(b.end_of(1).await, Event::Delivered);
}

#[tokio::test(start_paused = true)]
async fn a_webhook_that_answers_401_now_and_then_is_never_paused() {
    let chance =
        || Outcome::Pause { why: "401".into(), hint: "h".into(), again: Duration::from_secs(300), chance: 5 };
    let delivered = || Outcome::Delivered { name: None, thread: None };
    // one in two, and up to five in a row
    let runs = (1..=5).chain((1..=5).rev()).chain([1; 40]);
    let script: Vec<Outcome> =
        runs.flat_map(|n| vec![chance(); n].into_iter().chain([delivered()])).collect();
    let mut b = bench(script, 0);
    for n in 1..=50 {
        b.give(row(n));
        loop {
            match b.event().await.1 {
                Event::Retrying { .. } => {}
                end => break assert_eq!(end, Event::Delivered),
            }
        }
    }
}

/// Says 429 for ten minutes, then takes one write a second, and 429 to any that comes sooner.
struct Window {
    begin: tokio::time::Instant,
    taken: Mutex<Vec<u64>>,
    too_soon: AtomicU64,
}

impl Transport for Window {
    async fn post(&self, _: &OutboxRow) -> Outcome {
        let at = self.begin.elapsed().as_millis() as u64;
        let mut taken = self.taken.lock().unwrap();
        if at < 600_000 {
            return Outcome::Slow { why: "429".into(), after: None };
        }
        if taken.last().is_some_and(|last| at - last < 1000) {
            self.too_soon.fetch_add(1, Ordering::Relaxed);
            return Outcome::Slow { why: "429".into(), after: None };
        }
        taken.push(at);
        Outcome::Delivered { name: None, thread: None }
    }
}

#[tokio::test(start_paused = true)]
async fn after_ten_minutes_of_429_a_space_is_written_to_at_half_the_speed_and_soon_at_all_of_it() {
    let begin = tokio::time::Instant::now();
    let window = Arc::new(Window { begin, taken: Mutex::default(), too_soon: AtomicU64::new(0) });
    let (hand, in_hand) = watch::channel(None);
    let (tell, mut reports) = mpsc::channel(64);
    let now = move || Now { wall: Wall(0), tick: Tick(0) }.plus(begin.elapsed());
    // about the longest that jitter makes of a wait, whatever that is
    let longest = || 300_000;
    let work =
        worker(window.clone(), now, in_hand, tell, CancellationToken::new(), Pace::chat(Tick(0)), longest);
    let story = async {
        for n in 1..=20 {
            hand.send(Some(row(n))).unwrap();
            loop {
                match reports.recv().await.unwrap().event {
                    Event::Retrying { tries, .. } => assert_eq!(tries, 0, "a 429 is no failed try"),
                    end => break assert_eq!(end, Event::Delivered),
                }
            }
        }
    };
    tokio::select! {
        () = story => {}
        _ = work => panic!("the worker has ended"),
    }
    let taken = window.taken.lock().unwrap();
    let apart: Vec<u64> = taken.windows(2).map(|w| w[1] - w[0]).collect();
    assert_eq!(window.too_soon.load(Ordering::Relaxed), 0);
    assert!(taken[0] <= 900_000, "the first wait after it is the longest: {} ms", taken[0]);
    assert_eq!(apart[..7], [2200, 2000, 1800, 1600, 1400, 1200, 1200]);
}

/// When each of a hundred good spaces is written to, while others fail in four ways.
async fn written_beside(broken: usize) -> Vec<Vec<u64>> {
    let mut good: Vec<Bench> = (0..100).map(|_| bench([], 300)).collect();
    let bad: Vec<Bench> = (0..broken)
        .map(|n| match n % 4 {
            0 => bench(vec![retry(); 1000], 30_000),
            1 => bench(vec![slow(1); 1000], 10),
            2 => bench(vec![pause(); 1000], 10),
            _ => bench(vec![Outcome::Refused { why: "400".into(), resend_plain: false }; 1000], 1),
        })
        .collect();
    for b in &bad {
        b.give(row(1));
    }
    for n in 1..=20 {
        for b in &good {
            b.give(row(n));
        }
        for b in &mut good {
            assert_eq!(b.end_of(n.into()).await, Event::Delivered);
        }
    }
    good.iter().map(Bench::asked_at).collect()
}

#[tokio::test(start_paused = true)]
async fn a_hundred_broken_spaces_move_no_write_of_the_good_ones_by_a_millisecond() {
    let alone = written_beside(0).await;
    assert!(alone.iter().all(|at| *at == (0..20).map(|n| n * 1500).collect::<Vec<_>>()), "{:?}", alone[0]);
    assert_eq!(written_beside(100).await, alone);
}
