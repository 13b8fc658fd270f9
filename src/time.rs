//! The two clocks, and the only place that reads them.
//!
//! Durations run on the *agent's clock*, a count of milliseconds that follows `CLOCK_BOOTTIME` (so it goes on
//! while the machine sleeps and no clock step moves it) and that **continues across restarts**: a restart adds
//! the wall time that passed meanwhile, never less than zero. A deadline can therefore be written into the
//! store as a plain number and still mean the same instant after a reboot. Event times and what people read
//! are wall time. Every core takes a [`Now`]; nothing below `agent` and `cli` asks for one.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// Wall time: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Wall(pub i64);

/// A reading of the agent's clock: milliseconds, monotonic, continued across restarts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tick(pub u64);

/// One reading of both clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Now {
    /// What a calendar says.
    pub wall: Wall,
    /// What durations and deadlines are measured by.
    pub tick: Tick,
}

impl Wall {
    /// `self − earlier`, or zero where `earlier` is the later of the two.
    pub fn since(self, earlier: Wall) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0).max(0) as u64)
    }
}

impl Add<Duration> for Wall {
    type Output = Wall;
    fn add(self, d: Duration) -> Wall {
        Wall(self.0.saturating_add(i64::try_from(d.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl Sub<Duration> for Wall {
    type Output = Wall;
    fn sub(self, d: Duration) -> Wall {
        Wall(self.0.saturating_sub(i64::try_from(d.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl Tick {
    /// `self − earlier`, or zero where `earlier` is the later of the two.
    pub fn since(self, earlier: Tick) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// The end of a wait of `old` as one of `new` that began at the same instant.
    #[must_use]
    pub fn counted_anew(self, old: Duration, new: Duration) -> Tick {
        Tick(self.0.saturating_sub(u64::try_from(old.as_millis()).unwrap_or(u64::MAX))) + new
    }
}

impl Add<Duration> for Tick {
    type Output = Tick;
    fn add(self, d: Duration) -> Tick {
        Tick(self.0.saturating_add(u64::try_from(d.as_millis()).unwrap_or(u64::MAX)))
    }
}

impl Now {
    /// Both clocks moved on by `d`; what tests and backtests step with.
    #[must_use]
    pub fn plus(self, d: Duration) -> Now {
        Now { wall: self.wall + d, tick: self.tick + d }
    }
}

/// RFC 3339 in UTC with milliseconds: for logs, JSON and error texts.
impl fmt::Display for Wall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(t) => write!(f, "{t:.3}"),
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

/// The machine's clocks, seen as a [`Now`].
#[derive(Clone, Debug)]
pub struct Clock {
    /// Added to boot milliseconds to give ticks; may be negative after a reboot.
    shift: i64,
    /// What a test has set it to.
    #[cfg(test)]
    hand: Option<std::sync::Arc<std::sync::Mutex<Now>>>,
}

#[cfg(test)]
impl Clock {
    /// A clock that stands still until it is moved; clones move with it.
    pub(crate) fn by_hand(now: Now) -> Clock {
        Clock { shift: 0, hand: Some(std::sync::Arc::new(now.into())) }
    }

    /// Moves a clock by hand.
    pub(crate) fn pass(&self, time: Duration) {
        let mut now = self.hand.as_ref().expect("a clock by hand").lock().expect("nobody panics here");
        *now = now.plus(time);
    }
}

impl Clock {
    /// A clock that goes on from `last`, the newest reading the store holds, or starts at 0.
    ///
    /// The time between is the wall difference, never below zero: a wall clock that was set back costs
    /// waiting, never a deadline that fires early.
    pub fn continuing(last: Option<Now>) -> Clock {
        let (boot, wall) = (boot_ms(), wall_ms());
        let tick = last.map_or(0, |n| n.tick.0 as i64 + (wall - n.wall.0).max(0));
        let shift = tick - boot;
        #[cfg(test)]
        return Clock { shift, hand: None };
        #[cfg(not(test))]
        Clock { shift }
    }

    /// Reads both clocks.
    pub fn now(&self) -> Now {
        #[cfg(test)]
        if let Some(hand) = &self.hand {
            return *hand.lock().expect("nobody panics here");
        }
        Now { wall: Wall(wall_ms()), tick: Tick((boot_ms() + self.shift).max(0) as u64) }
    }
}

fn boot_ms() -> i64 {
    ms(rustix::time::clock_gettime(rustix::time::ClockId::Boottime))
}

fn wall_ms() -> i64 {
    ms(rustix::time::clock_gettime(rustix::time::ClockId::Realtime))
}

fn ms(t: rustix::time::Timespec) -> i64 {
    t.tv_sec * 1000 + t.tv_nsec / 1_000_000
}

/// Tells how long something short took.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Begins now.
    #[expect(clippy::disallowed_methods, reason = "this file is where time is read")]
    pub fn start() -> Stopwatch {
        Stopwatch(Instant::now())
    }

    /// Nanoseconds since.
    pub fn nanos(self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_continues_the_clock_and_adds_the_time_away() {
        let wall = Clock::continuing(None).now().wall;
        let saved = Now { wall: wall - Duration::from_secs(60), tick: Tick(5_000) };
        let now = Clock::continuing(Some(saved)).now();
        assert!((65_000..125_000).contains(&now.tick.0), "{now:?}");
    }

    #[test]
    fn a_wall_clock_set_back_never_takes_time_away() {
        let wall = Clock::continuing(None).now().wall;
        let saved = Now { wall: wall + Duration::from_secs(3600), tick: Tick(5_000) };
        let now = Clock::continuing(Some(saved)).now();
        assert!((5_000..65_000).contains(&now.tick.0), "{now:?}");
    }
}
