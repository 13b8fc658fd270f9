//! Limits: how many openings and reminders a rule may make, how many messages a space may be sent.
//!
//! governor does the arithmetic (GCRA: one number, the *theoretical arrival time*, holds the whole state of a
//! limiter); the clock and the place where that number lives are ours. So a limiter is saved as one integer and goes
//! on after a restart where it stood. It never decides a threshold: a quota of ten a minute lets nineteen through in
//! the first one, which is fine for shaping and wrong for counting.

use std::num::NonZeroU32;
use std::ops::Add;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::{Clock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{NotKeyed, StateStore};
use governor::{Quota, RateLimiter};

use super::silence::By;
use crate::time::Tick;

/// The sixth part of an hour's number may come at once: thirty an hour are five.
const BURST: u32 = 6;

/// A reading further ahead than this is taken as this: keeps nanosecond sums inside 64 bits (292 years).
const FAR: u64 = u64::MAX / 2 / 1_000_000;

/// What a limit says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Say it.
    Show,
    /// Not now.
    Hold(Reason),
}

/// Why something is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// Its rule, or its space, has said enough for this hour; from this instant on it may speak again.
    Until(Tick),
    /// Its lines were written while nobody was reading.
    Away,
    /// A silence or a mute is in force over it.
    Muted(By),
}

impl Reason {
    /// The instant that ends it, where it is known by now.
    pub(super) fn until(self) -> Option<Tick> {
        match self {
            Reason::Until(at) => Some(at),
            Reason::Away | Reason::Muted(_) => None,
        }
    }
}

/// One limiter: so many an hour, in bursts of a sixth of that.
pub(super) struct Limit {
    inner: RateLimiter<NotKeyed, Arrival, Hand, NoOpMiddleware<Tick>>,
    arrival: Arrival,
    quota: Quota,
}

impl Limit {
    /// A limiter that has let nothing through yet. Zero an hour counts as one.
    pub(super) fn new(per_hour: u32) -> Limit {
        Limit::going_on(per_hour, 0)
    }

    fn going_on(per_hour: u32, saved: u64) -> Limit {
        let per_hour = NonZeroU32::new(per_hour).unwrap_or(NonZeroU32::MIN);
        let burst = NonZeroU32::new(per_hour.get() / BURST).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_hour(per_hour).allow_burst(burst);
        let arrival = Arrival(Arc::new(AtomicU64::new(saved)));
        Limit { inner: RateLimiter::new(quota, arrival.clone(), Hand::default()), arrival, quota }
    }

    /// The same past under a new quota. What a state file claims of the far future is not believed.
    pub(super) fn set(&mut self, per_hour: u32, now: Tick) {
        let saved = self.saved();
        *self = Limit::going_on(per_hour, 0);
        let most = nanos(now).saturating_add(self.cell().saturating_mul(self.burst()));
        *self = Limit::going_on(per_hour, saved.min(most));
    }

    /// Puts back what [`Limit::saved`] gave.
    pub(super) fn restore(&mut self, saved: u64) {
        self.arrival.0.store(saved, Ordering::Relaxed);
    }

    /// Takes one cell if there is one.
    pub(super) fn ask(&mut self, now: Tick) -> Verdict {
        self.inner.clock().0.store(now.0.min(FAR), Ordering::Relaxed);
        match self.inner.check() {
            Ok(()) => Verdict::Show,
            Err(not) => {
                Verdict::Hold(Reason::Until(not.earliest_possible().max(now + Duration::from_millis(1))))
            }
        }
    }

    /// How many cells could be taken now.
    pub(super) fn left(&self, now: Tick) -> u64 {
        let whole = self.cell().saturating_mul(self.burst());
        whole.saturating_sub(self.saved().saturating_sub(nanos(now))) / self.cell()
    }

    /// What to save: the theoretical arrival time in nanoseconds of the agent's clock; 0 before the first cell.
    pub(super) fn saved(&self) -> u64 {
        self.arrival.0.load(Ordering::Relaxed)
    }

    fn cell(&self) -> u64 {
        u64::try_from(self.quota.replenish_interval().as_nanos()).unwrap_or(u64::MAX).max(1)
    }

    fn burst(&self) -> u64 {
        u64::from(self.quota.burst_size().get())
    }
}

/// The clock's hand: where the judge's `now` was put before it asked.
#[derive(Debug, Default)]
struct Hand(AtomicU64);

impl Clock for Hand {
    type Instant = Tick;
    fn now(&self) -> Tick {
        Tick(self.0.load(Ordering::Relaxed))
    }
}

impl Reference for Tick {
    fn duration_since(&self, earlier: Tick) -> Nanos {
        Nanos::from(nanos(*self).saturating_sub(nanos(earlier)))
    }

    fn saturating_sub(&self, duration: Nanos) -> Tick {
        Tick(self.0.saturating_sub(duration.as_u64() / 1_000_000))
    }
}

impl Add<Nanos> for Tick {
    type Output = Tick;
    /// Rounds up to whole milliseconds: an "earliest instant" that came too early would ask again for nothing.
    fn add(self, d: Nanos) -> Tick {
        Tick(self.0.saturating_add(d.as_u64().div_ceil(1_000_000)))
    }
}

/// Where a limiter's one number lives; 0 before the first cell.
#[derive(Clone, Debug, Default)]
struct Arrival(Arc<AtomicU64>);

impl StateStore for Arrival {
    type Key = NotKeyed;

    fn measure_and_replace<T, F, E>(&self, _: &NotKeyed, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        // no loop: the judge is the only one who asks, and it asks through `&mut`
        let seen = self.0.load(Ordering::Relaxed);
        let (answer, next) = f((seen != 0).then(|| Nanos::from(seen)))?;
        self.0.store(next.as_u64(), Ordering::Relaxed);
        Ok(answer)
    }
}

fn nanos(t: Tick) -> u64 {
    t.0.min(FAR) * 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn thirty_an_hour_are_five_at_once_and_then_one_in_two_minutes() {
        let mut limit = Limit::new(30);
        let shown = (0..10).filter(|_| limit.ask(Tick(7)) == Verdict::Show).count();
        assert_eq!((shown, limit.left(Tick(7))), (5, 0));
        assert_eq!(limit.ask(Tick(7)), Verdict::Hold(Reason::Until(Tick(120_007))));
        assert_eq!(limit.ask(Tick(120_006)), Verdict::Hold(Reason::Until(Tick(120_007))));
        assert_eq!(limit.ask(Tick(120_007)), Verdict::Show);
    }

    #[test]
    fn a_limiter_goes_on_where_it_was_saved() {
        let mut before = Limit::new(30);
        for _ in 0..5 {
            assert_eq!(before.ask(Tick(1000)), Verdict::Show);
        }
        let mut after = Limit::new(1);
        after.restore(before.saved());
        after.set(30, Tick(1000));
        assert_eq!(after.ask(Tick(1000)), before.ask(Tick(1000)));
    }

    #[test]
    fn a_state_file_cannot_hold_a_limit_shut_for_ever() {
        let mut limit = Limit::new(60);
        limit.restore(u64::MAX - 1);
        limit.set(60, Tick(0));
        assert_eq!(limit.ask(Tick(600_000)), Verdict::Show);
    }

    proptest! {
        #[test]
        fn no_hour_sees_more_than_its_number_and_one_burst(
            per_hour in 1u32..100, steps in prop::collection::vec(0u64..400_000, 1..400)
        ) {
            let (mut limit, mut now, mut shown) = (Limit::new(per_hour), 0, Vec::new());
            for step in steps {
                now += step;
                if limit.ask(Tick(now)) == Verdict::Show {
                    shown.push(now);
                    let hour = shown.iter().filter(|t| **t + 3_600_000 > now).count() as u32;
                    prop_assert!(hour <= per_hour + (per_hour / 6).max(1), "{hour} in an hour");
                }
            }
        }
    }
}
