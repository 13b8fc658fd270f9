//! What a rule asks of the captures of its hits: how many different ones (`distinct`), and which most (`top`).
//!
//! A rule that asks for neither pays nothing for them. One that does pays for a hash a hit; a value is made clean, which
//! needs its whole line, only when it is new.

use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;

use super::RulePolicy;
use super::distinct::{Different, Values};
use super::evidence::clean_capture;
use super::incident::Incident;
use super::memory::PIECE;
use super::rule::part_hash;
use super::top::{One, Top, Waiting};
use super::window::{Firing, Pushed, Window};
use crate::hit::{Hit, NONE};
use crate::redact::Redactor;
use crate::time::Wall;

/// A hit of a rule that asks.
pub(super) struct Asking<'a> {
    policy: &'a RulePolicy,
    hit: &'a Hit,
    hasher: SipHasher13,
    redactor: &'a Redactor,
}

/// What a window keeps for such a rule.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    #[serde(skip_serializing_if = "Values::is_empty")]
    pub(super) values: Values,
    #[serde(skip_serializing_if = "Waiting::is_empty")]
    waiting: Waiting,
}

impl<'a> Asking<'a> {
    /// `None` where the rule does not ask. `hasher` is the rule's own.
    pub(super) fn of(
        policy: &'a RulePolicy,
        hit: &'a Hit,
        hasher: SipHasher13,
        redactor: &'a Redactor,
    ) -> Option<Asking<'a>> {
        let asks = policy.distinct.is_some() || !policy.top.is_empty();
        asks.then_some(Asking { policy, hit, hasher, redactor })
    }

    fn value(&self, capture: usize) -> &'a str {
        self.hit.captures.get(capture).and_then(Option::as_deref).unwrap_or(NONE)
    }

    fn hash(&self, capture: usize) -> u64 {
        part_hash(self.hasher, self.value(capture))
    }

    fn text(&self, capture: usize) -> String {
        let name = self.policy.captures.get(capture).map_or("", String::as_str);
        clean_capture(self.redactor, self.hit, name, self.value(capture))
    }

    /// The value that `distinct` counts.
    fn distinct(&self) -> Option<u64> {
        self.policy.distinct.map(|capture| self.hash(capture))
    }
}

impl Window {
    /// Counts a hit of a rule that asks.
    pub(super) fn ask(&mut self, at: Wall, asking: &Asking<'_>) -> Pushed {
        let policy = asking.policy;
        let asked = self.asked.get_or_insert_default();
        if !policy.top.is_empty() {
            let one = |c: &usize| One { hash: asking.hash(*c), text: asking.text(*c) };
            asked.waiting.push(at, policy.top.iter().map(one).collect());
        }
        match asking.distinct() {
            Some(value) => asked.values.push(at, value, policy.threshold, policy.within),
            None => self.push(at, policy.threshold, policy.within),
        }
    }
}

impl Asked {
    /// What it holds beside itself, and itself, in bytes.
    pub(super) fn heap(&self) -> usize {
        size_of::<Asked>() + PIECE + self.values.heap() + self.waiting.heap()
    }

    /// What the incident that fires knows of its values.
    pub(super) fn fired(self, firing: Firing) -> (Different, Top) {
        (Different::of(&self.values), self.waiting.fired(firing))
    }
}

impl Incident {
    /// Takes the values of one more hit.
    pub(super) fn ask(&mut self, asking: &Asking<'_>) {
        if let Some(value) = asking.distinct() {
            self.different.add(value);
        }
        let top = &asking.policy.top;
        self.top.add(top.len(), |n| asking.hash(top[n]), |n| asking.text(top[n]));
    }

    /// A line for each name of `top`, each behind a line end; nothing where there was one hit.
    pub(super) fn top_text(&self, policy: &RulePolicy) -> String {
        if self.total < 2 {
            return String::new();
        }
        let names = policy.top.iter().map(|c| policy.captures.get(*c).map_or("", String::as_str));
        self.top.text(names)
    }
}
