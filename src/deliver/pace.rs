//! When a space may be written to next: one write each 1.2 s, counted from the answer to the last.
//!
//! A space takes one write a second from *all* apps and webhooks together, so a burst is never allowed (a quota of
//! 60 a minute would let 60 through at once). governor decides, on the agent's clock and over a
//! store of ours that is one number: so the next write survives a restart. What governor cannot do is slow down at run
//! time; that is the additive-increase, multiplicative-decrease beside it, which a 429 sets off.
//!
//! All spaces of one Cloud project share a second quota. It is far above what a few spaces can use, and it is the one
//! place where spaces meet: so it only ever delays a write by milliseconds, and a space that fails holds nothing of it.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed, StateStore};
use governor::{Quota, RateLimiter};

use crate::time::Tick;

/// Between two writes at full speed: Chat's one a second, and some room for other apps.
const PERIOD: Duration = Duration::from_millis(1200);
/// However often Chat says 429, it is not slower than this.
const SLOWEST: Duration = Duration::from_secs(60);
/// Each delivery takes this off a period that a 429 made longer.
const RECOVER: Duration = Duration::from_millis(200);

/// Between two writes of one project when it uses all it has: Chat's 3,000 a minute, and some room.
const PROJECT_PERIOD: Duration = Duration::from_millis(21);
/// So many writes of one project may come together; with them it still makes fewer than 3,000 in any minute.
const PROJECT_BURST: NonZeroU32 = NonZeroU32::new(50).expect("50 is not zero");

/// The pace of one space.
#[derive(Debug)]
pub struct Pace {
    /// `None`: as fast as it goes, for a terminal.
    limit: Option<Limit>,
    project: Option<ProjectPace>,
}

/// The pace of all spaces of one Cloud project; a clone is the same.
#[derive(Clone, Debug)]
pub struct ProjectPace(Arc<Project>);

#[derive(Debug)]
struct Project {
    governor: RateLimiter<NotKeyed, InMemoryState, Hand, NoOpMiddleware<Duration>>,
    hand: Hand,
}

impl ProjectPace {
    /// A project that has written nothing yet.
    pub fn new() -> ProjectPace {
        let hand = Hand::default();
        let quota = Quota::with_period(PROJECT_PERIOD).expect("the period is not zero");
        let governor = RateLimiter::direct_with_clock(quota.allow_burst(PROJECT_BURST), hand.clone());
        ProjectPace(Arc::new(Project { governor, hand }))
    }

    fn admit(&self, now: Tick) -> Result<(), Tick> {
        // two workers may ask in the same instant, on two threads: the clock never goes back
        self.0.hand.0.fetch_max(now.0, Ordering::Relaxed);
        let later = |d: Duration| Tick(u64::try_from(d.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX));
        self.0.governor.check().map_err(|not| later(not.earliest_possible()))
    }
}

impl Default for ProjectPace {
    fn default() -> ProjectPace {
        ProjectPace::new()
    }
}

#[derive(Debug)]
struct Limit {
    governor: RateLimiter<NotKeyed, NextWrite, Hand, NoOpMiddleware<Duration>>,
    next: NextWrite,
    hand: Hand,
    period: Duration,
}

/// The store: the instant of the next write, nanoseconds of the agent's clock.
#[derive(Clone, Debug, Default)]
struct NextWrite(Arc<AtomicU64>);

impl StateStore for NextWrite {
    type Key = NotKeyed;

    fn measure_and_replace<T, F, E>(&self, _: &NotKeyed, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let before = self.0.load(Ordering::Relaxed);
        let (given, after) = f(Some(before.into()))?;
        self.0.store(after.into(), Ordering::Relaxed);
        Ok(given)
    }
}

/// The clock: shows what it was last set to.
#[derive(Clone, Debug, Default)]
struct Hand(Arc<AtomicU64>);

impl Clock for Hand {
    type Instant = Duration;

    fn now(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

impl Pace {
    /// For a Chat space; `next_write` is what [`Pace::next_write`] said before the restart, or zero.
    pub fn chat(next_write: Tick) -> Pace {
        let (next, hand) = (NextWrite::default(), Hand::default());
        next.0.store(nanos(next_write), Ordering::Relaxed);
        let quota = Quota::with_period(PERIOD).expect("the period is not zero");
        let governor = RateLimiter::new(quota, next.clone(), hand.clone());
        Pace { limit: Some(Limit { governor, next, hand, period: PERIOD }), project: None }
    }

    /// The same, for a space that shares its project's quota with others.
    #[must_use]
    pub fn of(self, project: ProjectPace) -> Pace {
        Pace { project: Some(project), ..self }
    }

    /// No pace at all.
    pub fn console() -> Pace {
        Pace { limit: None, project: None }
    }

    /// Not before this instant may the next write begin.
    pub fn next_write(&self) -> Tick {
        self.limit.as_ref().map_or(Tick(0), |l| Tick(l.next.0.load(Ordering::Relaxed).div_ceil(1_000_000)))
    }

    /// Asks for a write at `now`; an `Err` says from when on it is allowed.
    pub fn admit(&mut self, now: Tick) -> Result<(), Tick> {
        let Some(limit) = &self.limit else { return Ok(()) };
        if self.next_write() > now {
            return Err(self.next_write());
        }
        if let Some(project) = &self.project {
            project.admit(now)?;
        }
        limit.hand.0.store(now.0, Ordering::Relaxed);
        limit.governor.check().map_err(|_| self.next_write())
    }

    /// The write was answered, or given up, at `now`: the period begins here.
    pub fn answered(&mut self, now: Tick) {
        if let Some(limit) = &self.limit {
            limit.next.0.fetch_max(nanos(now + limit.period), Ordering::Relaxed);
        }
    }

    /// Nothing is written to the space before `due`, whatever it is: so Chat has asked.
    pub fn hold_until(&mut self, due: Tick) {
        if let Some(limit) = &self.limit {
            limit.next.0.fetch_max(nanos(due), Ordering::Relaxed);
        }
    }

    /// Chat said that this was too fast: half the speed from here on.
    pub fn slow_down(&mut self) {
        if let Some(limit) = &mut self.limit {
            limit.period = (limit.period * 2).min(SLOWEST);
        }
    }

    /// A delivery: a little faster again.
    pub fn speed_up(&mut self) {
        if let Some(limit) = &mut self.limit {
            limit.period = limit.period.saturating_sub(RECOVER).max(PERIOD);
        }
    }
}

fn nanos(tick: Tick) -> u64 {
    tick.0.saturating_mul(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_period_is_counted_from_the_answer() {
        let mut pace = Pace::chat(Tick(0));
        assert_eq!(pace.admit(Tick(10_000)), Ok(()));
        pace.answered(Tick(13_000));
        assert_eq!(pace.admit(Tick(14_199)), Err(Tick(14_200)));
        assert_eq!(pace.admit(Tick(14_200)), Ok(()));
    }

    #[test]
    fn a_write_that_was_never_answered_counts_from_its_start() {
        let mut pace = Pace::chat(Tick(0));
        assert_eq!(pace.admit(Tick(10_000)), Ok(()));
        assert_eq!(pace.admit(Tick(10_100)), Err(Tick(11_200)));
    }

    #[test]
    fn the_next_write_survives_a_restart() {
        let mut pace = Pace::chat(Tick(0));
        pace.admit(Tick(5_000)).unwrap();
        pace.answered(Tick(5_300));
        let mut restored = Pace::chat(pace.next_write());
        assert_eq!(restored.admit(Tick(6_000)), Err(Tick(6_500)));
    }

    #[test]
    fn a_429_halves_the_speed_and_deliveries_bring_it_back() {
        let mut pace = Pace::chat(Tick(0));
        pace.slow_down();
        pace.answered(Tick(1_000));
        assert_eq!(pace.next_write(), Tick(3_400));
        for _ in 0..6 {
            pace.speed_up();
        }
        pace.answered(Tick(10_000));
        assert_eq!(pace.next_write(), Tick(11_200));
        for _ in 0..40 {
            pace.slow_down();
        }
        pace.answered(Tick(20_000));
        assert_eq!(pace.next_write(), Tick(80_000));
    }

    #[test]
    fn the_spaces_of_a_project_share_its_quota_and_nothing_else() {
        let project = ProjectPace::new();
        let mut spaces: Vec<Pace> = (0..200).map(|_| Pace::chat(Tick(0)).of(project.clone())).collect();
        let (mut writes, mut now) = (Vec::new(), Tick(5_000));
        // every space writes as often as it may, for two minutes
        while now < Tick(125_000) {
            for space in &mut spaces {
                if space.admit(now).is_ok() {
                    space.answered(now);
                    writes.push(now);
                }
            }
            now = now + Duration::from_millis(1);
        }
        let busiest = writes.iter().enumerate().map(|(i, t)| {
            let minute = *t + Duration::from_secs(60);
            writes[i..].iter().take_while(|u| **u < minute).count()
        });
        let busiest = busiest.max().unwrap();
        assert!((2_800..3_000).contains(&busiest), "{busiest} writes in one minute");
        // another project has its own
        let mut other = Pace::chat(Tick(0)).of(ProjectPace::new());
        assert_eq!(other.admit(now), Ok(()));
    }

    #[test]
    fn a_space_that_waits_for_its_own_turn_takes_nothing_of_its_projects() {
        let project = ProjectPace::new();
        let mut slow = Pace::chat(Tick(1_000_000)).of(project.clone());
        for _ in 0..1000 {
            assert_eq!(slow.admit(Tick(5)), Err(Tick(1_000_000)));
        }
        let mut others = (0..50).map(|_| Pace::chat(Tick(0)).of(project.clone()));
        assert!(others.all(|mut space| space.admit(Tick(5)).is_ok()));
    }

    #[test]
    fn a_terminal_has_no_pace() {
        let mut pace = Pace::console();
        pace.answered(Tick(1));
        assert_eq!((pace.admit(Tick(1)), pace.next_write()), (Ok(()), Tick(0)));
    }

    proptest! {
        #[test]
        fn two_writes_are_never_nearer_than_the_period(steps in proptest::collection::vec((0u64..3000, 0u64..2000), 1..60)) {
            let mut pace = Pace::chat(Tick(0));
            let (mut now, mut last) = (Tick(0), None::<Tick>);
            for (wait, answer) in steps {
                now = now + Duration::from_millis(wait);
                if pace.admit(now).is_ok() {
                    if let Some(last) = last {
                        prop_assert!(now.since(last) >= PERIOD);
                    }
                    now = now + Duration::from_millis(answer);
                    pace.answered(now);
                    last = Some(now);
                }
            }
        }
    }
}
