//! Merging: many alerts told as one, with every count kept.
//!
//! Used for the digest of a space over its budget, for what was written while nobody read, and for the twenty-first
//! alert of a message. Lines of the list may be cut; the hits behind them are in the sum and in "and 37 more".

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Judge;
use super::batch::{Entry, Lane};
use super::wording::{count, key_text, list_line, time_text, verb};
use crate::alert::{Alert, Held, Sample, What};
use crate::time::Wall;

/// Alerts that a merged alert lists.
const LISTED: usize = 20;

/// Samples that it takes over, one an alert.
const SAMPLES: usize = 3;

/// Different reasons for holding that it repeats.
const REASONS: usize = 6;

/// Most severe first, older before newer.
pub(super) fn worst_first(entries: &mut [Entry]) {
    entries.sort_by_key(|e| (std::cmp::Reverse(e.alert.severity), e.alert.no));
}

impl Judge {
    /// One entry that says what all of these would have said. One alone stays as it is, but for `WhileAway`.
    pub(super) fn merge(&mut self, mut entries: Vec<Entry>, what: What) -> Entry {
        if entries.len() == 1
            && let Some(mut only) = entries.pop()
        {
            if what == What::WhileAway {
                only.alert.what = what;
            }
            return only;
        }
        worst_first(&mut entries);
        let alerts = || entries.iter().map(|e| &e.alert);
        let hits: u64 = alerts().map(|a| a.hits).sum();
        let stands_for: u64 =
            alerts().map(|a| if a.what == What::Opening { 1 } else { a.incidents.max(1) }).sum();
        let one_rule = alerts().map(|a| &a.rule).all(|r| entries.first().is_some_and(|e| e.alert.rule == *r));
        let rule = match what {
            _ if one_rule => entries.first().map(|e| e.alert.rule.clone()).unwrap_or_default(),
            What::WhileAway => "while away".into(),
            What::Digest => "digest".into(),
            _ => "more alerts".into(),
        };
        let mut text = match what {
            What::WhileAway => {
                format!(
                    "{} opened while nobody was reading, {}",
                    count(stands_for, "incident"),
                    count(hits, "hit")
                )
            }
            _ => format!("{}, {}", count(entries.len() as u64, "alert"), count(hits, "hit")),
        };
        for alert in alerts().take(LISTED) {
            // writing to a `String` cannot fail
            _ = write!(text, "\n{}", list_line(&line(alert)));
        }
        if entries.len() > LISTED {
            let more: u64 = alerts().skip(LISTED).map(|a| a.hits).sum();
            _ = write!(text, "\nand {} more ({})", entries.len() - LISTED, count(more, "hit"));
        }
        let mut samples: Vec<Sample> =
            alerts().filter_map(|a| a.samples.last()).take(SAMPLES).cloned().collect();
        samples.iter_mut().for_each(Sample::alone);
        let held = held_together(alerts());
        let alert = Alert {
            no: self.next_alert(),
            what,
            rule,
            severity: alerts().map(|a| a.severity).max().unwrap_or_default(),
            key: Vec::new(),
            text,
            hits,
            total: hits,
            incidents: stands_for,
            first: alerts().map(|a| a.first).min().unwrap_or(Wall(0)),
            last: alerts().map(|a| a.last).max().unwrap_or(Wall(0)),
            samples,
            runbook: if one_rule { entries.first().and_then(|e| e.alert.runbook.clone()) } else { None },
            held,
            hint: None,
        };
        // alerts of one thread stay in it
        let thread = entries.first().and_then(|e| e.thread.clone());
        let thread = thread.filter(|t| entries.iter().all(|e| e.thread.as_ref() == Some(t)));
        let at = entries.iter().map(|e| e.at).min().unwrap_or_default();
        let (mut claims, mut incidents) = (Vec::new(), Vec::new());
        for entry in entries {
            claims.extend(entry.claims);
            incidents.extend(entry.incidents);
        }
        Entry { lane: Lane::Batch, alert, claims, incidents, thread, at, awaits: None }
    }
}

/// One alert in a list.
fn line(alert: &Alert) -> String {
    if alert.what == What::Notice {
        return format!("{} {}: {}", alert.severity, alert.rule, alert.text);
    }
    let mut out = format!("{} {}", alert.severity, alert.rule);
    if !alert.key.is_empty() {
        _ = write!(out, " ({})", key_text(&alert.key));
    }
    _ = match verb(alert.what) {
        Some(verb) => write!(out, ": {verb}"),
        None => write!(out, ": {}", count(alert.incidents, "incident")),
    };
    _ = write!(out, ", {}, last {}", count(alert.hits, "hit"), time_text(alert.last));
    out
}

fn held_together<'a>(alerts: impl Iterator<Item = &'a Alert>) -> Vec<Held> {
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for held in alerts.flat_map(|a| &a.held) {
        if sums.len() < REASONS || sums.contains_key(held.reason.as_str()) {
            *sums.entry(&held.reason).or_default() += held.count;
        }
    }
    sums.into_iter().map(|(reason, count)| Held { count, reason: reason.to_owned() }).collect()
}
