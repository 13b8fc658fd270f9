//! Mutes: windows of the week in which rules are held, as the rules file writes them.
//!
//! A window is a stretch of real time between two local times of day, so a clock change inside it makes it an hour
//! shorter or longer and nothing else. Where local time jumps over its beginning it begins at the jump's end; where
//! local time comes twice, the earlier counts for the beginning and the later for the end, so that every minute which
//! reads as inside *is* inside. It is judged by the clock on the wall, not by the time in the lines: a mute is about
//! when people want to hear.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use globset::{Glob, GlobMatcher};
use jiff::ToSpan as _;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

use crate::alert::Severity;
use crate::time::Wall;

/// Minutes of a day.
pub const DAY: u16 = 24 * 60;

/// Days around today in which a window of the week begins and ends: one that was yesterday may go on.
const LOOKED_AT: std::ops::RangeInclusive<i32> = -2..=8;

/// Where no calendar can say when a window changes (years beyond 9999), it is looked at again after this.
const LOOK_AGAIN: Duration = Duration::from_secs(24 * 3600);

/// One `[[mute]]`.
#[derive(Clone, Debug)]
pub struct MutePolicy {
    /// Its name: messages and `status` say what it held by it.
    pub name: Arc<str>,
    /// When it is in force.
    pub when: Window,
    /// Which rules it holds.
    pub rules: Vec<RuleGlob>,
    /// It holds critical rules too.
    pub even_critical: bool,
}

impl MutePolicy {
    /// It holds this rule while it is in force.
    pub fn holds(&self, rule: &str, severity: Severity) -> bool {
        (self.even_critical || severity != Severity::Critical) && self.rules.iter().any(|g| g.matches(rule))
    }
}

/// A pattern for the names of rules: `*`, `?`, `[a-z]`, `{a,b}`.
#[derive(Clone)]
pub struct RuleGlob(GlobMatcher);

impl RuleGlob {
    /// `Err` says in words what is wrong with the pattern.
    pub fn new(text: &str) -> Result<RuleGlob, String> {
        Glob::new(text).map(|g| RuleGlob(g.compile_matcher())).map_err(|e| e.kind().to_string())
    }

    /// The pattern as it was written.
    pub fn text(&self) -> &str {
        self.0.glob().glob()
    }

    /// It means this rule.
    pub fn matches(&self, rule: &str) -> bool {
        self.0.is_match(rule)
    }
}

impl fmt::Debug for RuleGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text().fmt(f)
    }
}

/// Days of the week and a part of the day.
#[derive(Clone, Debug)]
pub struct Window {
    /// Bit 0 is Monday: the days on which it begins. Never empty.
    pub days: u8,
    /// Begins at this minute of the day, below [`DAY`].
    pub from: u16,
    /// Ends at this one, 1 to [`DAY`]; where it is not after `from`, on the day after.
    pub to: u16,
    /// Whose days and minutes.
    pub tz: TimeZone,
}

/// All days of the week.
pub const EVERY_DAY: u8 = 0b111_1111;

impl Window {
    /// It is always in force: every day from its first minute to its last.
    pub fn never_ends(&self) -> bool {
        self.days == EVERY_DAY && self.from == 0 && self.to == DAY
    }

    /// Is it in force at `at`, and until when is that so?
    pub fn at(&self, at: Wall) -> (bool, Wall) {
        let mut open = false;
        let mut until = at + LOOK_AGAIN;
        let mut found = false;
        for (start, end) in self.around(at) {
            open |= start <= at && at < end;
            for edge in [start, end].into_iter().filter(|edge| *edge > at) {
                until = if found { until.min(edge) } else { edge };
                found = true;
            }
        }
        (open, until)
    }

    /// The stretches from the day before yesterday's to next week's.
    fn around(&self, at: Wall) -> impl Iterator<Item = (Wall, Wall)> {
        let today = jiff::Timestamp::from_millisecond(at.0).map(|t| t.to_zoned(self.tz.clone()).date());
        let day = move |n: i32| today.clone().ok()?.checked_add(n.days()).ok();
        LOOKED_AT
            .filter_map(day)
            .filter(|d| self.days & (1 << d.weekday().to_monday_zero_offset()) != 0)
            .filter_map(|d| {
                let next = if self.to > self.from { d } else { d.tomorrow().ok()? };
                let start = self.tz.to_ambiguous_timestamp(minute(d, self.from)?).compatible().ok()?;
                let end = self.tz.to_ambiguous_timestamp(minute(next, self.to)?).later().ok()?;
                Some((Wall(start.as_millisecond()), Wall(end.as_millisecond())))
            })
    }
}

/// A minute of a day; minute 1440 is the next day's first.
pub(super) fn minute(day: Date, minute: u16) -> Option<DateTime> {
    let day = if minute >= DAY { day.tomorrow().ok()? } else { day };
    let minute = minute % DAY;
    Some(day.at(i8::try_from(minute / 60).ok()?, i8::try_from(minute % 60).ok()?, 0, 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SUNDAY: u8 = 1 << 6;

    fn window(days: u8, from: u16, to: u16) -> Window {
        Window { days, from, to, tz: TimeZone::get("Europe/Paris").unwrap() }
    }

    fn at(text: &str) -> Wall {
        Wall(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
    }

    /// When it begins and ends after `from`, the next two changes.
    fn changes(w: &Window, from: &str) -> Vec<String> {
        let mut t = at(from);
        let mut out = Vec::new();
        while out.len() < 2 {
            let (was, until) = w.at(t);
            t = until;
            if w.at(t).0 != was {
                out.push(format!(
                    "{} {}",
                    if was { "ends" } else { "begins" },
                    jiff::Timestamp::from_millisecond(t.0).unwrap()
                ));
            }
        }
        out
    }

    #[test]
    fn a_window_begins_and_ends_by_local_time() {
        let w = window(SUNDAY, 120, 240);
        assert_eq!(
            changes(&w, "2026-11-20T00:00:00Z"),
            ["begins 2026-11-22T01:00:00Z", "ends 2026-11-22T03:00:00Z"]
        );
        assert_eq!(w.at(at("2026-11-22T01:00:00Z")), (true, at("2026-11-22T03:00:00Z")));
        assert!(!w.at(at("2026-11-22T03:00:00Z")).0 && !w.at(at("2026-11-23T01:30:00Z")).0);
    }

    #[test]
    fn a_window_that_crosses_midnight_belongs_to_the_day_on_which_it_begins() {
        let w = window(SUNDAY, 22 * 60, 6 * 60);
        assert_eq!(
            changes(&w, "2026-11-20T00:00:00Z"),
            ["begins 2026-11-22T21:00:00Z", "ends 2026-11-23T05:00:00Z"]
        );
    }

    #[test]
    fn on_the_day_whose_night_has_an_hour_less_a_window_is_an_hour_shorter() {
        // 2026-03-29: 02:00 becomes 03:00
        let w = window(SUNDAY, 120, 240);
        assert_eq!(
            changes(&w, "2026-03-28T00:00:00Z"),
            ["begins 2026-03-29T01:00:00Z", "ends 2026-03-29T02:00:00Z"]
        );
        let inside_the_gap = window(SUNDAY, 135, 165);
        assert_eq!(
            changes(&inside_the_gap, "2026-03-28T00:00:00Z"),
            ["begins 2026-03-29T01:15:00Z", "ends 2026-03-29T01:45:00Z"]
        );
    }

    #[test]
    fn on_the_day_whose_night_has_an_hour_more_both_hours_are_inside() {
        // 2026-10-25: 03:00 becomes 02:00
        let w = window(SUNDAY, 120, 180);
        assert_eq!(
            changes(&w, "2026-10-24T00:00:00Z"),
            ["begins 2026-10-25T00:00:00Z", "ends 2026-10-25T02:00:00Z"]
        );
        let ends_inside = window(SUNDAY, 60, 150);
        assert_eq!(
            changes(&ends_inside, "2026-10-24T00:00:00Z"),
            ["begins 2026-10-24T23:00:00Z", "ends 2026-10-25T01:30:00Z"]
        );
    }

    #[test]
    fn whole_days_in_a_row_have_no_seam() {
        let w = window((1 << 5) | SUNDAY, 0, DAY);
        assert_eq!(
            changes(&w, "2026-11-20T00:00:00Z"),
            ["begins 2026-11-20T23:00:00Z", "ends 2026-11-22T23:00:00Z"]
        );
        assert!(
            !w.never_ends()
                && window(EVERY_DAY, 0, DAY).never_ends()
                && !window(EVERY_DAY, 1, 1439).never_ends()
        );
    }

    #[test]
    fn a_glob_means_names_of_rules() {
        let glob = RuleGlob::new("nginx-*").unwrap();
        assert!(glob.matches("nginx-5xx") && !glob.matches("my-nginx-5xx"));
        assert!(RuleGlob::new("[").is_err());
    }

    proptest! {
        /// Whatever the window and the instant: what it says holds until the instant that it names, to the minute, and
        /// outside of clock changes it is what the clock on the wall reads.
        #[test]
        fn what_it_says_of_an_instant_holds_until_it_says(
            days in 1u8..=EVERY_DAY, from in 0u16..DAY, to in 1u16..=DAY, start in 1_700_000_000_000_i64..1_900_000_000_000
        ) {
            prop_assume!(from != to);
            let w = Window { days, from, to, tz: TimeZone::UTC };
            let (open, until) = w.at(Wall(start));
            prop_assert!(until.0 > start && until.0 - start <= 9 * 86_400_000);
            let mut t = start;
            while t < until.0 {
                let local = jiff::Timestamp::from_millisecond(t).unwrap().to_zoned(TimeZone::UTC);
                let minute = u16::try_from(local.hour()).unwrap() * 60 + u16::try_from(local.minute()).unwrap();
                let on = |d: jiff::civil::Date| days & (1 << d.weekday().to_monday_zero_offset()) != 0;
                let (today, before) = (local.date(), local.date().yesterday().unwrap());
                let reads = if to > from {
                    on(today) && (from..to).contains(&minute)
                } else {
                    (on(today) && minute >= from) || (on(before) && minute < to)
                };
                prop_assert_eq!(reads, open);
                t += 7 * 60_000;
            }
        }

        #[test]
        fn no_instant_panics(days in 1u8..=EVERY_DAY, from in 0u16..DAY, to in 1u16..=DAY, start in any::<i64>()) {
            let w = window(days, from, to);
            prop_assert!(w.at(Wall(start)).1 >= Wall(start));
        }
    }
}
