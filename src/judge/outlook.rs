//! What would become of one more hit of a key, were it to come now: for `explain`, and only looked at.
//!
//! The surprise: nothing is tried. A judge that were given the hit and thrown away would have to be copied first, with
//! every key that it holds; what decides is little, and is read where it lies: who holds the key, how far its window or
//! its incident is, and what the limits would let through. What the hit would do at its very own instant, when a window has
//! moved on, only that instant knows.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Judge;
use super::novelty::Meets;
use super::phase::Phase;
use super::rule::{KeyState, Rule, Slot};
use super::silence::SilenceFault;
use super::why::{OVER_LIMIT, held_by};
use super::wording::{count, time_text};
use crate::alert::Severity;
use crate::template::span_text;
use crate::time::Now;

/// What would become of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outlook {
    /// It would be said, in a message of its own or with others; else it would be held.
    pub said: bool,
    /// What, in words.
    pub what: String,
    /// Openings and reminders that its rule's limit would let through now.
    pub left: u64,
    /// Messages that each space's budget would let through now.
    pub spaces: BTreeMap<String, u64>,
}

impl Judge {
    /// What would become of a hit of this rule with these raw values of its key.
    pub fn outlook(&self, rule: &str, key: &[Box<str>], now: Now) -> Result<Outlook, SilenceFault> {
        let rid = self.rule_named(rule)?;
        let rule = &self.rules[rid.0];
        let spaces = self.spaces_of(rid);
        let left = |name| self.spaces.get(name).map(|s| s.budget.left(now.tick));
        let spaces: BTreeMap<String, u64> =
            spaces.iter().filter_map(|name| Some((name.to_string(), left(name)?))).collect();
        let (said, what) = becomes(rule, key, &spaces, now);
        Ok(Outlook { said, what, left: rule.limit.left(now.tick), spaces })
    }
}

/// Whether it would be said, and what.
fn becomes(rule: &Rule, key: &[Box<str>], spaces: &BTreeMap<String, u64>, now: Now) -> (bool, String) {
    let held = |what: &str| (false, what.to_owned());
    let Some(policy) = &rule.policy else { return held("the rule is no longer loaded") };
    if policy.expect.is_some() {
        return held("seen: it is what the rule expects");
    }
    let hash = rule.hash(key);
    let slot = rule.keys.get(hash);
    let state = slot.map(|s| &s.state);
    if policy.new.is_some() && !matches!(state, Some(KeyState::Open(_))) {
        match rule.known.meets(hash, now) {
            Meets::Learning => return held("held: the rule is learning its kinds"),
            Meets::Known => return held("held: of a kind that is known"),
            Meets::New => {}
        }
    }
    let by = match slot {
        Some(_) => rule.quieted_by(hash),
        None => rule.quieted_as(hash, &Slot::of_parts(rule, key, now)),
    };
    match state {
        Some(KeyState::Open(incident)) => match incident.phase {
            Phase::Holding { fired, .. } => (
                false,
                format!(
                    "held: fired {}, not over within {} it opens",
                    time_text(fired),
                    span_text(policy.hold)
                ),
            ),
            Phase::Resolved { .. } => match by {
                Some(by) => (false, held_by("opening again", &by)),
                None => (true, "opens the incident again".to_owned()),
            },
            Phase::Open | Phase::Quietly => {
                let since =
                    format!("open since {}, {}", time_text(incident.first), count(incident.total, "hit"));
                match (&incident.held_by, incident.folded) {
                    (Some(by), _) => (false, format!("{}; {since}", held_by("a repeat", by))),
                    (None, true) => (false, format!("a repeat, for the rule's fold: {since}")),
                    (None, false) => (false, format!("a repeat: {since}")),
                }
            }
        },
        state => {
            let distinct = policy.distinct.is_some();
            let counted = match state {
                Some(KeyState::Counting(window)) => window.counted(distinct),
                _ => 0,
            };
            let unit = if distinct { " different" } else { "" };
            if counted + 1 < policy.threshold as usize {
                let (of, within) = (policy.threshold, span_text(policy.within));
                return (
                    false,
                    format!("below the threshold: {counted} of {of}{unit} within {within} so far"),
                );
            }
            if let Some(by) = by {
                return (false, held_by("opening", &by));
            }
            if rule.limit.left(now.tick) == 0 {
                return held(OVER_LIMIT);
            }
            if !policy.hold.is_zero() {
                return (
                    false,
                    format!("held for {} first, then it opens an incident", span_text(policy.hold)),
                );
            }
            let over = spaces.values().all(|left| *left == 0) && policy.severity != Severity::Critical;
            if over && !spaces.is_empty() {
                return held("opens an incident, held for the digest: over the budget of its spaces");
            }
            let names: Vec<&str> = spaces.keys().map(String::as_str).collect();
            (true, format!("opens an incident, to {}", names.join(", ")))
        }
    }
}
