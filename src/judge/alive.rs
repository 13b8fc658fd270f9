//! Signs of life: one quiet line a day, and at a start a word on how long nobody watched.
//!
//! Said to the admin space and only where the rules have an `[alive]`; the ping to an outside watcher is the agent's. The
//! surprise: a day's line that was due while nobody was there is not said late. That nobody was there is what is said.

use std::time::Duration;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::mute::{DAY, EVERY_DAY, Window};
use super::rows::RowKey;
use super::rule::Rule;
use super::wording::{count, time_text};
use super::{Judge, Notice};
use crate::alert::Severity;
use crate::template::span_text;
use crate::time::{Now, Tick, Wall};

/// The clock on the wall may be set: it is looked at no more seldom.
const LOOK: Duration = Duration::from_secs(3600);

/// An update takes a few seconds, and is nobody's news.
const AWAY_LEAST: Duration = Duration::from_secs(60);

/// A day's line is never farther away than this.
const NEXT_AT_MOST: Duration = Duration::from_secs(2 * 86_400);

/// `[alive]`, as far as the judge is concerned.
#[derive(Clone, Debug)]
pub struct AlivePolicy {
    /// At this minute of the day, in this zone, it says that it lives.
    pub daily: Option<(u16, TimeZone)>,
}

/// What was counted when the last line was said, and when the next one is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Alive {
    since: Option<Wall>,
    hits: u64,
    accepted: u64,
    #[serde(skip)]
    next: Option<(Wall, Tick)>,
}

impl AlivePolicy {
    /// The first instant after `after` at which the day's line is due.
    fn next(&self, after: Wall) -> Option<Wall> {
        let (minute, tz) = self.daily.clone()?;
        let window = Window { days: EVERY_DAY, from: minute % DAY, to: minute % DAY + 1, tz };
        let (open, edge) = window.at(after);
        Some(if open { window.at(edge).1 } else { edge })
    }
}

impl Judge {
    /// When the clock is looked at for the day's line.
    pub(super) fn alive_due(&self) -> Option<Tick> {
        self.alive.next.map(|(_, due)| due)
    }

    /// The policy has changed, or the time has.
    pub(super) fn plan_alive(&mut self, now: Now) {
        let at = self.policy.alive.as_ref().and_then(|a| a.next(now.wall));
        self.alive.next = at.map(|at| (at, now.tick + at.since(now.wall).min(LOOK)));
        if at.is_some() && self.alive.since.is_none() {
            self.count_alive(now);
        }
    }

    fn count_alive(&mut self, now: Now) {
        let (hits, accepted) = self.counted();
        (self.alive.since, self.alive.hits, self.alive.accepted) = (Some(now.wall), hits, accepted);
        self.dirty.insert(RowKey::Alive);
    }

    /// Hits, and messages that spaces have accepted, ever.
    fn counted(&self) -> (u64, u64) {
        let rules = self.names.values().map(|rid| self.rules[rid.0].ledger.hits);
        (rules.sum(), self.spaces.values().map(|s| s.counts.delivered).sum())
    }

    /// Says the day's line, where it is due.
    pub(super) fn alive_timers(&mut self, now: Now) {
        let Some((at, due)) = self.alive.next else { return };
        if now.tick < due {
            return;
        }
        // a clock that was set back has another next day
        if now.wall >= at && now.wall.since(at) < NEXT_AT_MOST {
            self.say_alive(now);
        }
        self.plan_alive(now);
    }

    fn say_alive(&mut self, now: Now) {
        let (hits, accepted) = self.counted();
        let since = self.alive.since.unwrap_or(now.wall);
        let open: usize = self.rules.iter().flat_map(Rule::incidents).filter(|i| i.is_open()).count();
        let mut text = format!(
            "alive: {} watching; since {}: {}, {} accepted; {} open",
            count(self.by_no.len() as u64, "rule"),
            time_text(since),
            count(hits.saturating_sub(self.alive.hits), "hit"),
            count(accepted.saturating_sub(self.alive.accepted), "message"),
            count(open as u64, "incident"),
        );
        if !self.silences.is_empty() {
            text.push_str(", ");
            text.push_str(&count(self.silences.len() as u64, "silence"));
            text.push_str(" in force");
        }
        self.count_alive(now);
        self.notice(quiet(text), now);
    }

    /// Nobody was there since `from`: says for how long.
    pub(super) fn say_away(&mut self, from: Tick, now: Now) {
        let away = now.tick.since(from);
        if self.policy.alive.is_none() || away < AWAY_LEAST {
            return;
        }
        let text = format!(
            "nobody was watching for {}, since {}; what was written meanwhile is being read",
            span_text(away),
            time_text(now.wall - away)
        );
        self.notice(quiet(text), now);
    }
}

fn quiet(text: String) -> Notice {
    Notice { about: "alive".into(), severity: Severity::Info, text, hint: None, space: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Wall {
        Wall(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
    }

    #[test]
    fn a_days_line_is_due_once_a_day_by_local_time_also_where_clocks_change() {
        let daily = Some((8 * 60, TimeZone::get("Europe/Paris").unwrap()));
        let alive = AlivePolicy { daily };
        let next = |after: &str| time_text(alive.next(at(after)).unwrap());
        assert_eq!(next("2026-11-22T06:59:59Z"), "2026-11-22T07:00:00Z");
        assert_eq!(next("2026-11-22T07:00:00Z"), "2026-11-23T07:00:00Z");
        assert_eq!(next("2026-11-22T07:00:30Z"), "2026-11-23T07:00:00Z");
        // 2026-03-29: 02:00 becomes 03:00
        assert_eq!(next("2026-03-28T12:00:00Z"), "2026-03-29T06:00:00Z");
        let last_minute = AlivePolicy { daily: Some((DAY - 1, TimeZone::UTC)) };
        assert_eq!(time_text(last_minute.next(at("2026-11-22T23:59:59Z")).unwrap()), "2026-11-23T23:59:00Z");
        assert_eq!(AlivePolicy { daily: None }.next(at("2026-11-22T23:59:59Z")), None);
    }
}
