//! What a backtest counts: per rule and day, per space, and the hours in which most happened.
//!
//! Lines come by time, so an hour or a day that is over is over, and years of logs take no more memory than their days.
//! Keys are text of a log, as many as its writer likes: of each rule only so many are counted, and beyond that the rare
//! ones are let go, which the most frequent survive.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};

use crate::alert::{AlertNo, What};
use crate::hit::Hit;
use crate::judge::{Policy, Report};
use crate::message::Message;
use crate::redact::Redactor;
use crate::time::Wall;

/// Keys of one rule that are counted at once.
const KEYS: usize = 10_000;

/// Keys that are told.
const TOP: usize = 5;

const HOUR: i64 = 3_600_000;

/// A day in UTC, which is what messages say too, counted from 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct DayNo(i64);

impl DayNo {
    fn of(at: Wall) -> DayNo {
        DayNo(at.0.div_euclid(24 * HOUR))
    }
}

impl fmt::Display for DayNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = Wall(self.0 * 24 * HOUR).to_string();
        f.pad(text.split('T').next().unwrap_or_default())
    }
}

impl Serialize for DayNo {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// The busiest hour so far, by a count that only grows with time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hours {
    now: (i64, u64),
    worst: (i64, u64),
}

impl Hours {
    fn add(&mut self, at: Wall) {
        let hour = at.0.div_euclid(HOUR);
        if self.now.0 != hour {
            self.now = (hour, 0);
        }
        self.now.1 += 1;
        if self.now.1 > self.worst.1 {
            self.worst = self.now;
        }
    }

    /// When it began, and how many it had.
    pub(super) fn worst(&self) -> Option<(Wall, u64)> {
        (self.worst.1 > 0).then_some((Wall(self.worst.0 * HOUR), self.worst.1))
    }
}

/// One rule on one day.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Day {
    pub(super) hits: u64,
    pub(super) opened: u64,
    pub(super) reminded: u64,
    pub(super) ended: u64,
    pub(super) folds: u64,
    /// What was held, by reason.
    pub(super) held: BTreeMap<String, u64>,
}

/// One rule.
#[derive(Debug, Default)]
pub(super) struct RuleTally {
    pub(super) hits: u64,
    pub(super) days: BTreeMap<DayNo, Day>,
    pub(super) hours: Hours,
    keys: HashMap<Box<[Box<str>]>, u64>,
    /// Keys were let go: the counts of others may be low.
    pub(super) some_keys: bool,
    held: BTreeMap<String, u64>,
}

/// One space.
#[derive(Debug, Default)]
pub(super) struct SpaceTally {
    pub(super) messages: u64,
    pub(super) days: BTreeMap<DayNo, u64>,
    pub(super) hours: Hours,
}

/// All that is counted.
#[derive(Debug)]
pub(super) struct Tally {
    names: Vec<Arc<str>>,
    by: Vec<Vec<String>>,
    redactor: Redactor,
    pub(super) rules: Vec<RuleTally>,
    pub(super) spaces: BTreeMap<Arc<str>, SpaceTally>,
    /// Alerts that were counted: one that goes to several spaces is one.
    seen: BTreeSet<AlertNo>,
    /// Openings whose end was said by an edit.
    ended: BTreeSet<AlertNo>,
    day: Option<DayNo>,
}

impl Tally {
    pub(super) fn new(policy: &Policy) -> Tally {
        Tally {
            names: policy.rules.iter().map(|r| r.name.clone()).collect(),
            by: policy.rules.iter().map(|r| r.by.clone()).collect(),
            redactor: policy.redactor.clone(),
            rules: policy.rules.iter().map(|_| RuleTally::default()).collect(),
            spaces: policy.spaces.iter().map(|s| (s.name.clone(), SpaceTally::default())).collect(),
            seen: BTreeSet::new(),
            ended: BTreeSet::new(),
            day: None,
        }
    }

    /// Whether `at` lies on another day than what came before: then what was held is to be told first.
    pub(super) fn turns(&self, at: Wall) -> bool {
        self.day.is_some_and(|day| day != DayNo::of(at))
    }

    /// What the judge has held up to now belongs to the day that is ending.
    pub(super) fn close_day(&mut self, report: &Report, next: Wall) {
        if let Some(day) = self.day.replace(DayNo::of(next)) {
            for (name, rule) in self.names.iter().zip(&mut self.rules) {
                let Some(books) = report.rules.get(&**name) else { continue };
                for (reason, count) in counts(&serde_json::to_value(books.held).unwrap_or_default()) {
                    let before = rule.held.insert(reason.clone(), count).unwrap_or(0);
                    if count > before {
                        let held = &mut rule.days.entry(day).or_default().held;
                        *held.entry(reason).or_default() += count - before;
                    }
                }
            }
        }
    }

    /// A hit; what only ends an incident is none.
    pub(super) fn hit(&mut self, hit: &Hit, at: Wall) {
        let day = *self.day.get_or_insert_with(|| DayNo::of(at));
        if hit.resolves.is_some() {
            return;
        }
        let Some(rule) = self.rules.get_mut(hit.rule.0 as usize) else { return };
        rule.hits += 1;
        rule.days.entry(day).or_default().hits += 1;
        rule.hours.add(at);
        if hit.key.is_empty() {
            return;
        }
        if let Some(count) = rule.keys.get_mut(&hit.key) {
            *count += 1;
            return;
        }
        if rule.keys.len() >= KEYS {
            let mut all: Vec<u64> = rule.keys.values().copied().collect();
            let (_, &mut middle, _) = all.select_nth_unstable(KEYS / 2);
            rule.keys.retain(|_, count| *count > middle);
            rule.some_keys = true;
        }
        rule.keys.insert(hit.key.clone(), 1);
    }

    /// An edit is no message; an end that it says is one.
    fn edit(&mut self, message: &Message, day: DayNo) {
        for alert in &message.alerts {
            let over = matches!(alert.what, What::End | What::Resolved | What::Seen);
            let Some(no) = self.names.iter().position(|n| *n == alert.rule).filter(|_| over) else {
                continue;
            };
            if self.ended.insert(alert.no) {
                self.rules[no].days.entry(day).or_default().ended += 1;
            }
        }
    }

    pub(super) fn message(&mut self, message: &Message) {
        let day = DayNo::of(message.at);
        if message.edits.is_some() {
            return self.edit(message, day);
        }
        let space = self.spaces.entry(message.space.clone()).or_default();
        space.messages += 1;
        *space.days.entry(day).or_default() += 1;
        space.hours.add(message.at);
        for alert in &message.alerts {
            if !self.seen.insert(alert.no) {
                continue;
            }
            let Some(no) = self.names.iter().position(|n| *n == alert.rule) else { continue };
            let day = self.rules[no].days.entry(day).or_default();
            match alert.what {
                What::Opening | What::WhileAway | What::Again | What::Missing => day.opened += 1,
                What::Reminder => day.reminded += 1,
                What::End | What::Resolved | What::Seen => day.ended += 1,
                What::Fold | What::Digest | What::Unmuted | What::Uninhibited => day.folds += 1,
                What::Notice | What::CannotTell | What::Known => {}
            }
        }
    }

    /// Its most frequent keys, redacted.
    pub(super) fn top_keys(&self, rule: usize) -> Vec<(Vec<(String, String)>, u64)> {
        let mut keys: Vec<_> = self.rules[rule].keys.iter().collect();
        keys.sort_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
        let clean = |v: &str| self.redactor.redact(v).into_owned();
        let pairs = |key: &[Box<str>]| {
            self.by[rule].iter().zip(key).map(|(n, v)| (n.clone(), clean(v))).collect::<Vec<_>>()
        };
        keys.into_iter().take(TOP).map(|(key, count)| (pairs(key), *count)).collect()
    }

    /// The same for scripts.
    pub(super) fn to_json(&self, report: &Report) -> Value {
        let rules: serde_json::Map<String, Value> = self
            .names
            .iter()
            .enumerate()
            .map(|(no, name)| {
                let rule = &self.rules[no];
                let keys: Vec<Value> = self
                    .top_keys(no)
                    .into_iter()
                    .map(|(key, hits)| json!({ "key": key.into_iter().collect::<BTreeMap<_, _>>(), "hits": hits }))
                    .collect();
                let books = report.rules.get(&**name);
                let ledger = books.map(|b| {
                    let mut terms = serde_json::to_value(b.ledger).unwrap_or_default();
                    terms["pending"] = b.pending.into();
                    terms
                });
                let doc = json!({
                    "hits": rule.hits, "days": rule.days, "worst_hour": hour_json(&rule.hours), "top_keys": keys,
                    "ledger": ledger,
                });
                (name.to_string(), doc)
            })
            .collect();
        let spaces: serde_json::Map<String, Value> = self
            .spaces
            .iter()
            .map(|(name, s)| {
                let doc =
                    json!({ "messages": s.messages, "days": s.days, "worst_hour": hour_json(&s.hours) });
                (name.to_string(), doc)
            })
            .collect();
        json!({ "rules": rules, "spaces": spaces })
    }
}

fn hour_json(hours: &Hours) -> Value {
    hours.worst().map_or(Value::Null, |(from, count)| json!({ "from": from.to_string(), "count": count }))
}

/// The counters of a flat object, without those that are zero.
pub(super) fn counts(of: &Value) -> Vec<(String, u64)> {
    let Value::Object(all) = of else { return Vec::new() };
    let some = |(name, v): (&String, &Value)| Some((name.clone(), v.as_u64().filter(|n| *n > 0)?));
    all.iter().filter_map(some).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_hour_is_the_first_of_those_with_most() {
        let mut hours = Hours::default();
        for at in [0, 1, HOUR, HOUR + 1, HOUR + 2, 3 * HOUR, 3 * HOUR + 1, 3 * HOUR + 2] {
            hours.add(Wall(at));
        }
        assert_eq!(hours.worst(), Some((Wall(HOUR), 3)));
    }
}
