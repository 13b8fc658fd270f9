//! What to do after a try, as a pure function of the outcome: wait how long, pause, or end.
//!
//! Random bits come in as an argument, so a test can hold the jitter at either end. There is no limit of tries: a
//! message ends by its age, because Chat may be away for a night and its messages still matter in the morning.

use std::time::Duration;

use crate::chat::Outcome;
use crate::time::Tick;

/// The first retry waits up to this; each further one up to twice as long…
const FIRST: Duration = Duration::from_secs(1);
/// …but never longer than this: Chat in trouble is asked by one message a space, a minute apart at most and half of one in
/// the mean, so that whatever it kept waiting is on its way within a minute of its end.
const LONGEST: Duration = Duration::from_secs(60);
/// …and never longer than this where nobody answered: asking costs Chat nothing.
const UNANSWERED_LONGEST: Duration = Duration::from_secs(30);
/// After a 429 without `Retry-After`: up to this, doubling…
const SLOW_FIRST: Duration = Duration::from_secs(5);
/// …up to this.
const SLOW_LONGEST: Duration = Duration::from_secs(5 * 60);
/// Between the tries of what may be chance: five of them take two minutes.
const CHANCE: Duration = Duration::from_secs(24);
/// A paused space is tried at least this often.
const PAUSE_LONGEST: Duration = Duration::from_secs(60 * 60);

/// What the worker does next with the row in hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The space has it.
    Delivered,
    /// It will never be accepted.
    Refused { why: String, resend_plain: bool },
    /// What it was to edit is not there.
    Gone { why: String },
    /// The same again, not before then.
    Again { due: Tick, why: String },
    /// Somebody must mend something; the same again, not before then.
    Paused { due: Tick, why: String, hint: String },
}

/// The state of one space between tries. It outlives rows, because a pause and a slowness belong to the space.
#[derive(Debug, Default)]
pub(super) struct Course {
    /// Bad outcomes in a row that are still taken for chance.
    chance: u32,
    /// 429s in a row.
    slow: u32,
    /// Pauses in a row; 0: open.
    pauses: u32,
    /// While it is paused nothing is sent before then.
    pub(super) hold: Tick,
}

impl Course {
    /// The space is paused.
    pub(super) fn is_paused(&self) -> bool {
        self.pauses > 0
    }

    /// The last outcome was a 429.
    pub(super) fn is_slowed(&self) -> bool {
        self.slow > 0
    }

    /// What follows from `outcome` at `now`; `tries` counts the tries that failed.
    pub(super) fn step(&mut self, outcome: Outcome, tries: &mut u32, now: Tick, bits: u64) -> Step {
        if !matches!(outcome, Outcome::Slow { .. }) {
            self.slow = 0;
        }
        if !matches!(outcome, Outcome::Pause { .. }) {
            self.chance = 0;
        }
        match outcome {
            Outcome::Delivered { .. } => {
                self.open();
                Step::Delivered
            }
            Outcome::Refused { why, resend_plain } => {
                self.open();
                *tries = tries.saturating_add(1);
                Step::Refused { why, resend_plain }
            }
            // of the space it says nothing
            Outcome::Gone { why } => Step::Gone { why },
            Outcome::Slow { why, after } => {
                self.open();
                self.slow = self.slow.saturating_add(1);
                let wait =
                    after.unwrap_or_else(|| jitter(doubled(SLOW_FIRST, self.slow, SLOW_LONGEST), bits));
                Step::Again { due: now + wait, why }
            }
            Outcome::Retry { why, after } => {
                *tries = tries.saturating_add(1);
                let wait = after.unwrap_or_else(|| jitter(doubled(FIRST, *tries, LONGEST), bits));
                Step::Again { due: now + wait, why }
            }
            Outcome::Unanswered { why } => {
                *tries = tries.saturating_add(1);
                Step::Again { due: now + jitter(doubled(FIRST, *tries, UNANSWERED_LONGEST), bits), why }
            }
            Outcome::Pause { why, chance, .. } if self.pauses == 0 && self.chance < chance => {
                self.chance += 1;
                *tries = tries.saturating_add(1);
                Step::Again { due: now + CHANCE, why }
            }
            Outcome::Pause { why, hint, again, .. } => {
                self.pauses = self.pauses.saturating_add(1);
                *tries = tries.saturating_add(1);
                self.hold = now + doubled(again, self.pauses, PAUSE_LONGEST);
                Step::Paused { due: self.hold, why, hint }
            }
        }
    }

    fn open(&mut self) {
        self.pauses = 0;
        self.hold = Tick(0);
    }
}

/// From a second on that is more than half a day: every wait has come to its longest.
const DOUBLINGS: u32 = 16;

/// `first`, doubled with each of `times` after the first, at most `longest`.
fn doubled(first: Duration, times: u32, longest: Duration) -> Duration {
    let factor = 1u32 << times.saturating_sub(1).min(DOUBLINGS);
    first.saturating_mul(factor).min(longest)
}

/// Anywhere between nothing and `most`, to the millisecond: what many agents do after one outage spreads out.
fn jitter(most: Duration, bits: u64) -> Duration {
    Duration::from_millis(bits % (most.as_millis() as u64 + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Tick = Tick(1_000_000);

    fn retry() -> Outcome {
        Outcome::Retry { why: "503".into(), after: None }
    }

    fn slow(after: Option<u64>) -> Outcome {
        Outcome::Slow { why: "429".into(), after: after.map(Duration::from_secs) }
    }

    fn pause(chance: u32) -> Outcome {
        Outcome::Pause { why: "401".into(), hint: "mend".into(), again: Duration::from_secs(300), chance }
    }

    /// Milliseconds from now to when it is due; the jitter is at its longest.
    fn wait(course: &mut Course, outcome: Outcome, tries: &mut u32, most: u64) -> (char, u64) {
        match course.step(outcome, tries, NOW, most) {
            Step::Again { due, .. } => ('a', due.0 - NOW.0),
            Step::Paused { due, .. } => ('p', due.0 - NOW.0),
            Step::Delivered => ('d', 0),
            Step::Refused { .. } => ('x', 0),
            Step::Gone { .. } => ('g', 0),
        }
    }

    #[test]
    fn retries_wait_up_to_twice_as_long_each_time_and_at_most_a_minute() {
        let (mut course, mut tries) = (Course::default(), 0);
        for most in [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000] {
            assert_eq!(wait(&mut course, retry(), &mut tries, most), ('a', most));
        }
        assert_eq!(wait(&mut course, retry(), &mut tries, 0), ('a', 0));
        assert_eq!(wait(&mut course, retry(), &mut tries, 60_001), ('a', 0));
        assert_eq!(tries, 10);
    }

    #[test]
    fn where_nobody_answers_the_next_try_is_at_most_half_a_minute_away() {
        let (mut course, mut tries) = (Course::default(), 0);
        let silence = || Outcome::Unanswered { why: "no connection".into() };
        for most in [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000] {
            assert_eq!(wait(&mut course, silence(), &mut tries, most), ('a', most));
        }
        tries = 1000;
        assert_eq!(wait(&mut course, silence(), &mut tries, 30_001), ('a', 0));
    }

    #[test]
    fn a_429_is_no_failed_try_and_its_retry_after_is_kept() {
        let (mut course, mut tries) = (Course::default(), 0);
        for most in [5000, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000] {
            assert_eq!(wait(&mut course, slow(None), &mut tries, most), ('a', most));
        }
        assert_eq!(wait(&mut course, slow(Some(7)), &mut tries, 0), ('a', 7000));
        assert_eq!(tries, 0);
    }

    #[test]
    fn five_401s_are_chance_and_the_sixth_pauses() {
        let (mut course, mut tries) = (Course::default(), 0);
        for _ in 0..5 {
            assert_eq!(wait(&mut course, pause(5), &mut tries, 0), ('a', 24_000));
        }
        assert_eq!(wait(&mut course, pause(5), &mut tries, 0), ('p', 300_000));
        assert_eq!(wait(&mut course, pause(5), &mut tries, 0), ('p', 600_000));
    }

    #[test]
    fn a_pause_doubles_to_an_hour_and_ends_with_the_first_answer_that_is_none() {
        let (mut course, mut tries) = (Course::default(), 0);
        for most in [300_000, 600_000, 1_200_000, 2_400_000, 3_600_000, 3_600_000] {
            assert_eq!(wait(&mut course, pause(0), &mut tries, 0), ('p', most));
        }
        assert_eq!(wait(&mut course, retry(), &mut tries, 0).0, 'a');
        assert!(course.is_paused(), "no answer is no sign of an open space");
        assert_eq!(wait(&mut course, Outcome::Delivered { name: None, thread: None }, &mut tries, 0).0, 'd');
        assert!(!course.is_paused());
        assert_eq!(course.hold, Tick(0));
    }

    proptest! {
        #[test]
        fn no_wait_is_longer_than_an_hour(outcomes in proptest::collection::vec(0..4u8, 1..80), bits in any::<u64>()) {
            let (mut course, mut tries) = (Course::default(), u32::MAX - 5);
            for o in outcomes {
                let outcome = [retry(), slow(None), pause(2), Outcome::Unanswered { why: "reset".into() }][o as usize].clone();
                prop_assert!(wait(&mut course, outcome, &mut tries, bits).1 <= 3_600_000);
            }
        }
    }
}
