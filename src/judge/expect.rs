//! Absence: `expect` opens an incident when a line has *not* come, and ends it when it does.
//!
//! A hit of such a rule is at once in its final term, `seen`. What is missing is judged by event time, at the instant by
//! which it was due, and only once everything written before that instant has been read; the agent says so with
//! [`super::Input::Watched`]. A span for the whole of which nobody was there is not judged: a day's is told as "cannot
//! tell", and a distance is waited for anew. What was written meanwhile and is found later counts like any line.
//!
//! The surprise: the incident of an absence has no hits. Nothing of it is pending, its end is a line that came, and a
//! quiet rule is what it complains of.

use std::sync::Arc;
use std::time::Duration;

use jiff::ToSpan as _;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::batch::Lane;
use super::evidence::{Evidence, clean_key};
use super::gate::Wish;
use super::incident::{Incident, Voice, say, threads};
use super::key::Key;
use super::ledger::Term;
use super::limit::Verdict;
use super::mute::minute;
use super::phase::Phase;
use super::rule::{KeyState, Rid, Slot};
use super::wording::time_text;
use super::{Judge, RulePolicy};
use crate::alert::{Alert, Sample, Severity, What};
use crate::hit::Hit;
use crate::redact::Redactor;
use crate::template::{Template, span_text};
use crate::time::{Now, Tick, Wall};

/// Days around today of which one has the span that comes next, where clocks change and spans begin the day before.
const LOOKED_AT: std::ops::RangeInclusive<i32> = -1..=3;

/// A key that nobody listed is expected for so long after its last hit.
const REMEMBERED: Duration = Duration::from_secs(7 * 86_400);

/// What is missing is looked at again after this at the earliest.
const AGAIN: Duration = Duration::from_secs(1);

/// The clock on the wall may be set: an instant of the day is looked for at least so often.
const LOOK: Duration = Duration::from_secs(3600);

/// What a rule expects.
#[derive(Clone, Debug)]
pub struct Expect {
    /// When.
    pub when: When,
    /// Values of the one part of the key that are expected though nobody has seen them; of others, hits are only counted.
    /// Empty: without `by` the rule itself is expected, with it the keys of the last seven days.
    pub keys: Vec<String>,
}

/// When a hit is expected.
#[derive(Clone, Debug)]
pub enum When {
    /// This long after the last one at the latest.
    Every(Duration),
    /// Once a day.
    Daily {
        /// By this minute of the day…
        by: u16,
        /// …and not before this one; on the day before, where it is not earlier.
        from: u16,
        /// Whose minutes.
        tz: TimeZone,
    },
}

/// One day's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Span {
    from: Wall,
    by: Wall,
}

impl Expect {
    /// As text, the same for the same expectation.
    pub fn text(&self) -> String {
        format!("{} {:?}", self.when.nothing(), self.keys)
    }
}

impl When {
    /// The first span that ends after `after` and, where `begun` is given, does not begin before it.
    fn span(&self, after: Wall, begun: Option<Wall>) -> Option<Span> {
        let When::Daily { by, from, tz } = self else { return None };
        let today = jiff::Timestamp::from_millisecond(after.0).ok()?.to_zoned(tz.clone()).date();
        let span = |n: i32| {
            let day = today.checked_add(n.days()).ok()?;
            let begins = if from < by { day } else { day.yesterday().ok()? };
            let wall = |t: jiff::Timestamp| Wall(t.as_millisecond());
            let from = tz.to_ambiguous_timestamp(minute(begins, *from)?).compatible().ok()?;
            // where that minute comes twice, the second: whoever is on time by the clock is on time
            let by = tz.to_ambiguous_timestamp(minute(day, *by)?).later().ok()?;
            Some(Span { from: wall(from), by: wall(by) })
        };
        LOOKED_AT.filter_map(span).find(|s| s.by > after && begun.is_none_or(|b| s.from >= b))
    }
}

/// What is expected of one key.
#[derive(Serialize, Deserialize)]
pub(super) struct Expected {
    /// Event time of its newest hit.
    seen: Option<Wall>,
    newest: Evidence,
    /// The distance counts from here: its newest hit, or when it was begun.
    since: Tick,
    /// The day's time that is judged next, and whether a hit lay in it.
    span: Option<Span>,
    met: bool,
    /// By when it was due, while it is missing.
    missed: Option<Wall>,
    /// It is looked at then…
    pub(super) due: Tick,
    /// …unless it has been, and waits until all that was written before this instant has been read. Not kept: a new run
    /// looks once more.
    #[serde(skip)]
    pub(super) unread: Option<Tick>,
    /// It is expected whether it was seen or not.
    pub(super) listed: bool,
}

impl Expected {
    fn begun(when: &When, listed: bool, now: Now) -> Expected {
        let mut expected = Expected {
            seen: None,
            newest: Evidence::default(),
            since: now.tick,
            span: when.span(now.wall, Some(now.wall)),
            met: false,
            missed: None,
            due: now.tick,
            unread: None,
            listed,
        };
        expected.set_due(when, now);
        expected
    }

    /// What it holds beside itself, in bytes.
    pub(super) fn heap(&self) -> usize {
        self.newest.heap()
    }

    /// Cleans what it keeps of a hit.
    pub(super) fn tidy(&mut self, redactor: &Redactor, names: &[String]) {
        self.newest.tidy(redactor, names);
    }

    /// Its newest line.
    pub(super) fn sample(&mut self, redactor: &Redactor, names: &[String]) -> Vec<Sample> {
        self.newest.tidy(redactor, names);
        let sample = self.newest.sample();
        if sample.line.is_empty() { Vec::new() } else { vec![sample] }
    }

    fn set_due(&mut self, when: &When, now: Now) {
        // what is missing has nothing to wait for but to be forgotten
        let forgotten = now.tick + (self.seen.unwrap_or(now.wall) + REMEMBERED).since(now.wall);
        self.due = match (when, self.span) {
            (When::Every(_), _) if self.missed.is_some() => forgotten.max(now.tick + AGAIN),
            (When::Every(every), _) => self.since + *every,
            (When::Daily { .. }, Some(span)) => now.tick + span.by.since(now.wall).min(LOOK),
            (When::Daily { .. }, None) => now.tick + LOOK,
        };
    }

    /// A hit at `at`.
    fn hit(&mut self, when: &When, at: Wall, now: Now) {
        self.seen = self.seen.max(Some(at));
        self.since = self.since.max(tick_of(at, now));
        self.met |= self.span.is_some_and(|s| (s.from..=s.by).contains(&at));
        if let When::Every(every) = when
            && self.missed.is_none()
        {
            self.due = self.since + *every;
        }
    }

    /// The time that has come to be judged: from, to, and its end on the wall.
    fn judged(&mut self, when: &When, now: Now) -> Option<(Tick, Tick, Wall)> {
        match when {
            When::Every(every) => {
                let by = self.since + *every;
                let over = self.missed.is_none() && by <= now.tick;
                over.then(|| (self.since, by, now.wall - now.tick.since(by)))
            }
            When::Daily { .. } => {
                self.span = self.span.or_else(|| when.span(now.wall, None));
                let span = self.span.filter(|s| s.by <= now.wall)?;
                Some((tick_of(span.from, now), tick_of(span.by, now), span.by))
            }
        }
    }

    /// What is said of its absence; `filled` is the rule's message.
    pub(super) fn text(&self, policy: &RulePolicy, filled: String) -> String {
        let Some(expect) = &policy.expect else { return filled };
        let last =
            self.seen.map_or_else(|| "never seen".to_owned(), |t| format!("last seen {}", time_text(t)));
        let words = format!("{}; {last}", expect.when.nothing());
        if policy.message == Template::line() { words } else { format!("{filled}\n{words}") }
    }
}

impl When {
    /// `nothing for 10m`, `nothing between 01:00 and 03:30 (Europe/Paris)`.
    fn nothing(&self) -> String {
        match self {
            When::Every(every) => format!("nothing for {}", span_text(*every)),
            When::Daily { by, from, tz } => {
                let clock = |m: &u16| format!("{:02}:{:02}", m / 60, m % 60);
                let zone = tz.iana_name().map(|z| format!(" ({z})")).unwrap_or_default();
                format!("nothing between {} and {}{zone}", clock(from), clock(by))
            }
        }
    }
}

/// The agent's clock at an earlier event.
fn tick_of(at: Wall, now: Now) -> Tick {
    Tick(now.tick.0.saturating_sub(u64::try_from(now.wall.since(at).as_millis()).unwrap_or(u64::MAX)))
}

impl Judge {
    /// Begins to expect what the rule names whether it was seen or not.
    pub(super) fn begin_to_expect(&mut self, rid: Rid, now: Now) {
        let rule = &self.rules[rid.0];
        let Some((policy, expect)) = rule.policy.as_ref().and_then(|p| Some((p, p.expect.as_ref()?))) else {
            return;
        };
        let keys: Vec<Vec<Box<str>>> = match policy.by.len() {
            0 => vec![Vec::new()],
            _ => expect.keys.iter().map(|k| vec![k.as_str().into()]).collect(),
        };
        let when = expect.when.clone();
        let names = policy.by.clone();
        for key in keys {
            let hash = self.rules[rid.0].hash(&key);
            if self.rules[rid.0].keys.has(hash) {
                continue;
            }
            let named: Vec<_> = names.iter().zip(&key).map(|(n, v)| (n.clone(), v.to_string())).collect();
            let expected = Expected::begun(&when, true, now);
            let rule = &mut self.rules[rid.0];
            let slot = Slot::expecting(named, rule.parts(&key), expected, self.head.used, now);
            rule.keys.insert(hash, slot);
            self.key_count += 1;
            self.mark_key(rid, hash);
            self.reschedule(rid, hash);
        }
    }

    /// One hit of a rule that expects it.
    pub(super) fn take_expected(&mut self, rid: Rid, hit: &Hit, at: Wall, now: Now) {
        self.mark_rule(rid);
        self.head.used += 1;
        let rule = &mut self.rules[rid.0];
        let Some((policy, expect)) = rule.policy.as_ref().and_then(|p| Some((p, p.expect.as_ref()?))) else {
            return;
        };
        rule.ledger.hits += 1;
        rule.ledger.seen += 1;
        rule.last_hit = rule.last_hit.max(Some(at));
        let hash = rule.hash(&hit.key);
        let fresh = !rule.keys.has(hash);
        if fresh && (!expect.keys.is_empty() || now.wall.since(at) >= REMEMBERED) {
            return;
        }
        let parts = if fresh { rule.parts(&hit.key) } else { Box::default() };
        let (slot, _) = rule.keys.get_or_insert(hash, || {
            let key = clean_key(&self.policy.redactor, &policy.by, hit);
            Slot::expecting(key, parts, Expected::begun(&expect.when, false, now), 0, now)
        });
        (slot.used, slot.hit_at) = (self.head.used, now.tick);
        let Some(expected) = &mut slot.expected else { return };
        expected.hit(&expect.when, at, now);
        expected.newest.replace(hit, at);
        let missing = expected.missed.is_some();
        self.mark_key(rid, hash);
        self.weigh(rid, hash);
        if missing {
            self.found(rid, hash, at, now);
        }
        if fresh {
            self.key_count += 1;
            self.reschedule(rid, hash);
            self.evict(rid, now);
        }
    }

    /// What was missing has come.
    fn found(&mut self, rid: Rid, hash: u64, at: Wall, now: Now) {
        let rule = &mut self.rules[rid.0];
        let Some(slot) = rule.keys.get_mut(hash) else { return };
        let Some(missed) = slot.expected.as_mut().and_then(|e| e.missed.take()) else { return };
        let when = rule.policy.as_ref().and_then(|p| p.expect.as_ref()).map(|e| &e.when);
        if let (Some(expected), Some(when)) = (&mut slot.expected, when) {
            expected.set_due(when, now);
        }
        if let KeyState::Open(incident) = &mut slot.state {
            (incident.first, incident.last) = (missed, at);
            incident.phase = Phase::Resolved { at, since: now.tick, said: false, quietly: false };
            self.say_resolved(rid, hash, now);
        }
        self.reschedule(rid, hash);
    }

    /// What waited until everything that was written before it was due had been read is judged once it has been.
    pub(super) fn read_timers(&mut self, now: Now) {
        while let Some((by, rid, hash)) = self.watch.next_read() {
            let slot = self.rules[rid.0].keys.get_mut(hash);
            if let Some(expected) = slot.and_then(|s| s.expected.as_mut())
                && expected.unread == Some(by)
            {
                (expected.unread, expected.due) = (None, now.tick);
                self.reschedule(rid, hash);
            }
        }
        self.watch.looked(now);
    }

    /// Looks at what is expected of a key.
    pub(super) fn expect_timer(&mut self, rid: Rid, hash: u64, now: Now) {
        self.mark_key(rid, hash);
        let rule = &mut self.rules[rid.0];
        let expect = rule.policy.as_ref().and_then(|p| p.expect.clone());
        let Some(slot) = rule.keys.get_mut(hash) else { return };
        let (Some(expect), Some(expected)) = (expect, &mut slot.expected) else { return };
        if let KeyState::Open(incident) = &slot.state
            && incident.may_say_its_end(&self.spaces)
        {
            return self.say_resolved(rid, hash, now);
        }
        if !expected.listed && expected.seen.is_none_or(|t| now.wall.since(t) >= REMEMBERED) {
            return self.no_longer_expected(rid, hash, now);
        }
        let Some((from, by, missed)) = expected.judged(&expect.when, now) else {
            expected.set_due(&expect.when, now);
            return self.reschedule(rid, hash);
        };
        if !self.watch.has_read(by) {
            expected.unread = Some(by);
            self.watch.wait(by, rid, hash, now);
            return self.reschedule(rid, hash);
        }
        let away = self.watch.was_away(from, by);
        let daily = expected.span.is_some();
        let came = std::mem::take(&mut expected.met);
        // A distance counts from the newest hit by the agent's clock. What the wall's says of that hit may lie behind what
        // is judged now, for it may have been set back since.
        let later = expected.seen.filter(|seen| daily && *seen > missed);
        if daily {
            expected.span = expect.when.span(now.wall, None);
            expected.met = expected.span.is_some_and(|s| later.is_some_and(|t| (s.from..=s.by).contains(&t)));
        } else if away {
            expected.since = now.tick;
        }
        let is_missing = !came && !away;
        let already = expected.missed.is_some();
        if is_missing && !already {
            expected.missed = Some(missed);
        }
        expected.set_due(&expect.when, now);
        match (is_missing, already) {
            (true, true) => self.still_missing(rid, hash, now),
            (true, false) => self.open_missing(rid, hash, missed, now),
            (false, _) if away && daily && !came => self.cannot_tell(rid, hash, &expect.when, missed, now),
            (false, _) => {}
        }
        if let Some(seen) = later.filter(|_| is_missing) {
            self.found(rid, hash, seen, now);
        }
        self.reschedule(rid, hash);
    }

    /// It is missing: an incident opens.
    pub(super) fn open_missing(&mut self, rid: Rid, hash: u64, missed: Wall, now: Now) {
        let no = self.next_alert();
        let rule = &mut self.rules[rid.0];
        let Some(slot) = rule.keys.get_mut(hash) else { return };
        let Some(expected) = &mut slot.expected else { return };
        if let KeyState::Open(incident) = &mut slot.state {
            // nobody has heard that it had come
            incident.phase = Phase::Open;
            return;
        }
        let newest = std::mem::take(&mut expected.newest);
        let remind = rule.policy.as_ref().map(|p| p.remind).unwrap_or_default();
        slot.state = KeyState::Open(Box::new(Incident::missing(no, missed, newest, remind, now)));
        self.open(rid, hash, now);
    }

    /// Another day, and it has not come either.
    fn still_missing(&mut self, rid: Rid, hash: u64, now: Now) {
        let no = self.next_alert();
        let rule = &mut self.rules[rid.0];
        let Some(incident) = rule.incident_mut(hash).filter(|i| i.held_by.is_none()) else { return };
        let Voice::Own(to) = incident.voice(&self.spaces) else { return };
        incident.phase = Phase::Open;
        if let Verdict::Hold(reason) = self.may_say(rid, hash, Wish::OneMoreDay, now) {
            self.hold(rid, hash, (Wish::OneMoreDay, reason), None, now);
            return;
        }
        let rule = &mut self.rules[rid.0];
        let (Some(policy), Some(slot)) = (&rule.policy, rule.keys.get_mut(hash)) else { return };
        let (KeyState::Open(incident), Some(expected)) = (&mut slot.state, &slot.expected) else { return };
        let mut alert = say(policy, &self.policy.host, What::Reminder, no, &slot.key, incident, 0);
        alert.text = expected.text(policy, alert.text);
        (alert.first, alert.last) = (incident.first, now.wall);
        self.enqueue(&alert, threads(to), Lane::Batch, None, Term::Told, now);
    }

    /// A key that nobody listed has not been seen for long: it is forgotten, and whoever heard that it is missing hears
    /// that.
    fn no_longer_expected(&mut self, rid: Rid, hash: u64, now: Now) {
        let no = self.next_alert();
        let Some(slot) = self.remove_slot(rid, hash) else { return };
        let KeyState::Open(incident) = slot.state else { return };
        let Voice::Own(to) = incident.voice(&self.spaces) else {
            return self.close_into_fold(rid, hash, *incident, &slot.key, now);
        };
        let Some(policy) = &self.rules[rid.0].policy else { return };
        let mut alert = say(policy, &self.policy.host, What::End, no, &slot.key, &incident, 0);
        alert.text = format!("not seen for {}; no longer expected", span_text(REMEMBERED));
        alert.samples.clear();
        self.enqueue(&alert, threads(to), Lane::Batch, None, Term::Told, now);
    }

    /// Whether it came nobody can know.
    fn cannot_tell(&mut self, rid: Rid, hash: u64, when: &When, by: Wall, now: Now) {
        let no = self.next_alert();
        let rule = &self.rules[rid.0];
        let (Some(policy), Some(slot)) = (&rule.policy, rule.keys.get(hash)) else { return };
        let alert = Alert {
            no,
            what: What::CannotTell,
            rule: Arc::clone(&policy.name),
            severity: policy.severity.min(Severity::Warning),
            key: slot.key.to_vec(),
            text: format!("{} has been found by {}, but nobody was watching", when.nothing(), time_text(by)),
            hits: 0,
            total: 0,
            incidents: 1,
            first: by,
            last: by,
            samples: Vec::new(),
            runbook: policy.runbook.clone(),
            held: Vec::new(),
            hint: None,
        };
        let to = self.spaces_of(rid).into_iter().map(|s| (s, None)).collect();
        self.enqueue(&alert, to, Lane::Batch, None, Term::Told, now);
    }
}

impl Slot {
    fn expecting(key: impl Into<Key>, parts: Box<[u64]>, expected: Expected, used: u64, now: Now) -> Slot {
        let expected = Some(Box::new(expected));
        Slot { used, expected, ..Slot::counting(key.into(), parts, now) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Wall {
        Wall(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
    }

    fn daily(from: u16, by: u16) -> When {
        When::Daily { by, from, tz: TimeZone::get("Europe/Paris").unwrap() }
    }

    fn said(when: &When, after: &str) -> String {
        let span = when.span(at(after), None).unwrap();
        format!("{} to {}", time_text(span.from), time_text(span.by))
    }

    #[test]
    fn a_days_time_is_local_and_may_begin_the_day_before() {
        let w = daily(60, 210);
        assert_eq!(said(&w, "2026-11-22T02:29:59Z"), "2026-11-22T00:00:00Z to 2026-11-22T02:30:00Z");
        assert_eq!(said(&w, "2026-11-22T02:30:00Z"), "2026-11-23T00:00:00Z to 2026-11-23T02:30:00Z");
        assert_eq!(
            said(&daily(22 * 60, 120), "2026-11-22T12:00:00Z"),
            "2026-11-22T21:00:00Z to 2026-11-23T01:00:00Z"
        );
        assert_eq!(
            said(&daily(210, 210), "2026-11-22T12:00:00Z"),
            "2026-11-22T02:30:00Z to 2026-11-23T02:30:00Z"
        );
    }

    #[test]
    fn clocks_that_change_make_it_an_hour_shorter_or_longer() {
        // 2026-03-29: 02:00 becomes 03:00; 2026-10-25: 03:00 becomes 02:00
        assert_eq!(
            said(&daily(60, 150), "2026-03-28T12:00:00Z"),
            "2026-03-29T00:00:00Z to 2026-03-29T01:30:00Z"
        );
        assert_eq!(
            said(&daily(60, 150), "2026-10-24T12:00:00Z"),
            "2026-10-24T23:00:00Z to 2026-10-25T01:30:00Z"
        );
    }

    #[test]
    fn a_span_that_began_before_the_rule_did_is_not_judged() {
        let begun = at("2026-11-22T01:00:00Z");
        let span = daily(60, 210).span(begun, Some(begun)).unwrap();
        assert_eq!(time_text(span.by), "2026-11-23T02:30:00Z");
    }
}
