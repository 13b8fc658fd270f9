//! Event time: when a line says that it happened, believed as far as that is safe.
//!
//! A line may lie, so its stamp can only ever put it *earlier* than its arrival, and within a file time never runs
//! backwards. The surprise: a line without a stamp does not move its file's clock. Were it to, one stack trace
//! in a log that is written with an hour's delay would pull every stamp behind it up to "now", and two hours of
//! calm would look like one burst.

use std::collections::HashMap;
use std::time::Duration;

use crate::hit::Told;
use crate::time::Wall;

/// Files whose last event time is remembered; the least recently hit half is forgotten beyond.
const FILES: usize = 20_000;

/// A stamp this far ahead of its arrival is counted as odd.
pub const AHEAD: Duration = Duration::from_secs(600);

/// A stamp this far behind its file's last is no stamp.
pub const BEHIND: Duration = Duration::from_secs(86_400);

/// Zones differ from each other by multiples of this, in milliseconds.
const ZONE_STEP: i64 = 15 * 60 * 1000;

/// A fresh line's stamp is this near to its arrival, zone apart, in milliseconds.
const ZONE_SLACK: i64 = 5_000;

/// So many fresh lines in a row with the same offset make a zone fault.
const ZONE_PROOF: u32 = 3;

/// What is known of each file's clock. Not saved: a file's number means nothing after a restart.
#[derive(Default)]
pub(super) struct EventClock {
    files: HashMap<u64, FileClock>,
    used: u64,
    /// Hits whose stamp was not believed.
    pub(super) odd: u64,
}

#[derive(Default)]
struct FileClock {
    last: Option<Wall>,
    /// Steps of [`ZONE_STEP`] between stamp and arrival of the last fresh line, and how many agreed in a row.
    zone: i64,
    agreed: u32,
    used: u64,
}

impl EventClock {
    /// When this hit happened; never later than it was read.
    pub(super) fn event_time(&mut self, told: Told<'_>) -> Wall {
        let hit = told.hit;
        self.used += 1;
        if self.files.len() >= FILES && !self.files.contains_key(&hit.file_no) {
            self.forget_half();
        }
        let file = self.files.entry(hit.file_no).or_default();
        file.used = self.used;
        let arrival = hit.read.wall;
        // of the backlog nothing is known but that it is not new: an unstamped line happened about when the stamped
        // one before it did
        let fallback = if hit.backlog { file.last.unwrap_or(arrival).min(arrival) } else { arrival };
        let Some(stamp) = told.stamp else { return fallback };
        let stale = file.last.is_some_and(|last| last.since(stamp) > BEHIND);
        if stale || stamp.since(arrival) > AHEAD || (!hit.backlog && file.wrong_zone(stamp, arrival)) {
            self.odd += 1;
            return fallback;
        }
        let at = stamp.min(arrival).max(file.last.unwrap_or(stamp).min(arrival));
        file.last = Some(at);
        at
    }

    fn forget_half(&mut self) {
        let mut ages: Vec<u64> = self.files.values().map(|f| f.used).collect();
        let middle = ages.len() / 2;
        let (_, &mut middle, _) = ages.select_nth_unstable(middle);
        self.files.retain(|_, f| f.used > middle);
    }
}

impl FileClock {
    /// A constant offset of whole zone steps on lines that were read as they were written.
    fn wrong_zone(&mut self, stamp: Wall, arrival: Wall) -> bool {
        let offset = stamp.0.saturating_sub(arrival.0);
        let steps = offset.saturating_add(ZONE_STEP / 2).div_euclid(ZONE_STEP);
        let near = offset.saturating_sub(steps.saturating_mul(ZONE_STEP)).abs() <= ZONE_SLACK;
        if steps == 0 || !near {
            (self.zone, self.agreed) = (0, 0);
        } else if steps == self.zone {
            self.agreed = self.agreed.saturating_add(1);
        } else {
            (self.zone, self.agreed) = (steps, 1);
        }
        self.agreed >= ZONE_PROOF
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hit::{Hit, RuleNo};
    use crate::time::{Now, Tick};

    const MINUTE: i64 = 60_000;

    fn hit(stamp: Option<i64>, read: i64, backlog: bool) -> Hit {
        Hit {
            rule: RuleNo(0),
            resolves: None,
            key: Box::new([]),
            captures: [].into(),
            stamp: stamp.map(Wall),
            read: Now { wall: Wall(read), tick: Tick(0) },
            line: "x".into(),
            file: "f".into(),
            file_no: 1,
            backlog,
            context: None,
        }
    }

    fn time(clock: &mut EventClock, hit: &Hit) -> Wall {
        clock.event_time(Told { hit, stamp: hit.stamp, full: true })
    }

    fn times(hits: &[(Option<i64>, i64, bool)]) -> (Vec<i64>, u64) {
        let mut clock = EventClock::default();
        let times = hits.iter().map(|h| time(&mut clock, &hit(h.0, h.1, h.2)).0).collect();
        (times, clock.odd)
    }

    #[test]
    fn the_stamp_counts_but_never_runs_ahead_of_arrival_nor_backwards() {
        let given =
            [(Some(100), 110, false), (Some(90), 120, false), (Some(500), 130, false), (None, 140, false)];
        assert_eq!(times(&given), (vec![100, 100, 130, 140], 0));
    }

    #[test]
    fn an_unstamped_line_does_not_pull_the_stamps_behind_it_up_to_now() {
        let hour = 60 * MINUTE;
        let late = [(Some(10), hour, false), (None, hour, false), (Some(20), hour + 1, false)];
        assert_eq!(times(&late).0, [10, hour, 20]);
    }

    #[test]
    fn backlog_without_a_stamp_happened_when_its_neighbour_did() {
        assert_eq!(times(&[(Some(10), 9 * MINUTE, true), (None, 9 * MINUTE, true)]).0, [10, 10]);
    }

    #[test]
    fn stamps_from_yesterday_or_from_the_future_are_odd() {
        let day = 24 * 60 * MINUTE;
        let given = [
            (Some(2 * day), 2 * day, false),
            (Some(10), 2 * day + 5, false),
            (Some(9 * day), 2 * day + 6, false),
        ];
        assert_eq!(times(&given), (vec![2 * day, 2 * day + 5, 2 * day + 6], 2));
    }

    #[test]
    fn three_fresh_lines_two_hours_off_are_a_zone_fault() {
        let at = |n: i64| (Some(n * 1000 - 120 * MINUTE), n * 1000 + 40, false);
        let (times, odd) = times(&[at(1), at(2), at(3), at(4)]);
        assert_eq!((&times[2..], odd), (&[3040, 4040][..], 2));
    }

    /// What is believed of a stamp, by how far it is from its arrival, on live lines and on those that lay unread.
    #[test]
    fn how_odd_clocks_are_taken() {
        const SECOND: i64 = 1000;
        const DAY: i64 = 24 * 60 * MINUTE;
        let arrival = 100 * DAY;
        for (what, offset, live, backlog, odd) in [
            ("a second ahead", SECOND, 0, 0, [0, 0]),
            ("ten minutes ahead", 10 * MINUTE, 0, 0, [0, 0]),
            ("beyond that", 10 * MINUTE + SECOND, 0, 0, [1, 1]),
            ("ten years ahead", 3650 * DAY, 0, 0, [1, 1]),
            ("a minute late", -MINUTE, -MINUTE, -MINUTE, [0, 0]),
            ("a day old", -DAY, -DAY, -DAY, [0, 0]),
            ("an hour late, once", -60 * MINUTE, -60 * MINUTE, -60 * MINUTE, [0, 0]),
        ] {
            for (is_backlog, wanted, odd) in [(false, live, odd[0]), (true, backlog, odd[1])] {
                let (at, counted) = times(&[(Some(arrival + offset), arrival, is_backlog)]);
                assert_eq!((at[0] - arrival, counted), (wanted, odd), "{what}, backlog: {is_backlog}");
            }
        }
    }

    #[test]
    fn a_clock_that_was_set_back_stands_still_until_it_is_caught_up_with() {
        let at = |stamp: i64, read: i64| (Some(stamp), read, false);
        let hour = 60 * MINUTE;
        // an hour of summer time ends: no stamp runs backwards, none is ahead of its arrival
        let given = [
            at(10 * hour, 10 * hour),
            at(9 * hour + 7_000, 10 * hour + 7_000),
            at(10 * hour + 9_000, 10 * hour + 9_000),
        ];
        assert_eq!(times(&given), (vec![10 * hour, 10 * hour, 10 * hour + 9_000], 0));
    }

    #[test]
    fn files_beyond_the_bound_are_forgotten() {
        let mut clock = EventClock::default();
        for n in 0..(FILES as u64 + 10) {
            let mut h = hit(Some(1), 2, false);
            h.file_no = n;
            time(&mut clock, &h);
        }
        assert!(clock.files.len() <= FILES);
    }
}
