//! Why a rule spoke, or did not: its last decisions, for whoever asks.
//!
//! Each alert that a rule has made is one, and each that it was about to make and that somebody or something held. Lines
//! that an open incident counts are no decisions, nor are those below a threshold: the ledger has their number. They are
//! kept in memory alone, so a new run begins with none.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::Judge;
use super::key::Key;
use super::rule::Rid;
use super::silence::{By, SilenceFault, nearest};
use super::wording::{key_text, list_line, verb};
use crate::alert::{Alert, What};
use crate::time::Wall;

/// Decisions of a rule that are kept.
const KEPT: usize = 20;

/// An opening goes into its rule's fold.
pub(super) const OVER_LIMIT: &str = "opening held: over the rule's limit, for its fold";

/// An opening goes into the message "while away".
pub(super) const AWAY: &str = "opening held: told with what opened while away";

/// One decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// When.
    #[serde(serialize_with = "as_text")]
    pub at: Wall,
    /// The incident's key, redacted: `ip=192.0.2.1, user=root`; empty without one.
    pub key: String,
    /// It was said; else it was held.
    pub said: bool,
    /// What, in words: `opened, to ops`, `opening held: over the rule's limit`.
    pub what: Cow<'static, str>,
    /// Hits that it is about.
    pub hits: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
pub(super) fn as_text<S: Serializer>(at: &Wall, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(at)
}

/// One as it is kept.
#[derive(Debug)]
struct Kept {
    at: Wall,
    key: Whose,
    said: bool,
    what: Cow<'static, str>,
    hits: u64,
}

/// The key, which is written out when somebody asks.
#[derive(Debug)]
enum Whose {
    Text(String),
    Key(Arc<Key>),
}

impl Whose {
    fn text(&self) -> String {
        match self {
            Whose::Text(text) => text.clone(),
            Whose::Key(key) => list_line(&key_text(key)),
        }
    }

    fn heap(&self) -> usize {
        match self {
            Whose::Text(text) => text.len(),
            Whose::Key(key) => key.heap(),
        }
    }
}

/// The last ones of a rule, oldest first.
#[derive(Debug, Default)]
pub(super) struct Decisions(VecDeque<Kept>);

impl Decisions {
    fn push(&mut self, decision: Kept) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(decision);
    }

    /// Something of this key was not said, and why.
    pub(super) fn held(
        &mut self,
        at: Wall,
        key: &[(String, String)],
        hits: u64,
        what: impl Into<Cow<'static, str>>,
    ) {
        let key = Whose::Text(list_line(&key_text(key)));
        self.push(Kept { at, key, said: false, what: what.into(), hits });
    }

    /// The same of what may be held a million times: nothing is written out.
    pub(super) fn held_often(&mut self, at: Wall, key: &Arc<Key>, hits: u64, what: &'static str) {
        self.push(Kept { at, key: Whose::Key(Arc::clone(key)), said: false, what: what.into(), hits });
    }

    /// Writes the keys out: what they are made of may be much longer.
    pub(super) fn tidy(&mut self) {
        for decision in &mut self.0 {
            if let Whose::Key(_) = &decision.key {
                decision.key = Whose::Text(decision.key.text());
            }
        }
    }

    fn told(&self) -> Vec<Decision> {
        let one = |d: &Kept| Decision {
            at: d.at,
            key: d.key.text(),
            said: d.said,
            what: d.what.clone(),
            hits: d.hits,
        };
        self.0.iter().map(one).collect()
    }

    /// What they take, in bytes.
    pub(super) fn heap(&self) -> usize {
        self.0.iter().map(|d| size_of::<Kept>() + d.key.heap() + d.what.len()).sum()
    }
}

/// Who holds it, as a decision says it.
pub(super) fn held_by(what: &str, by: &By) -> String {
    match by {
        By::Silence(_) => format!("{what} held: the silence {by}"),
        By::Mute(_) => format!("{what} held: the mute {by}"),
        By::Rule(_) => format!("{what} held: an incident of {by} is open"),
    }
}

impl Judge {
    /// The last decisions of a rule, oldest first.
    pub fn why(&self, rule: &str) -> Result<Vec<Decision>, SilenceFault> {
        let rid = self.rule_named(rule)?;
        Ok(self.rules[rid.0].decisions.told())
    }

    /// The rule of this name, or the remedy.
    pub(super) fn rule_named(&self, rule: &str) -> Result<Rid, SilenceFault> {
        if let Some(rid) = self.names.get(rule) {
            return Ok(*rid);
        }
        let hint = match nearest(rule, self.names.keys().map(|n| &**n)) {
            Some(name) => format!("did you mean `{name}`?"),
            None => "`logherald status` lists the rules".to_owned(),
        };
        Err(SilenceFault { what: format!("no rule is called `{rule}`"), hint })
    }

    /// An alert of a rule is on its way to these spaces.
    pub(super) fn decided_to_say(&mut self, alert: &Alert, at: Wall, to: &[(Arc<str>, Option<String>)]) {
        let Some(&rid) = self.names.get(&alert.rule).filter(|_| alert.what != What::Notice) else { return };
        let verb = verb(alert.what).unwrap_or(match alert.what {
            What::Fold => "fold of what was held",
            _ => "told with others",
        });
        let names: Vec<&str> = to.iter().map(|(name, _)| &**name).collect();
        self.rules[rid.0].decisions.push(Kept {
            at,
            key: Whose::Text(list_line(&key_text(&alert.key))),
            said: true,
            what: format!("{verb}, to {}", names.join(", ")).into(),
            hits: alert.hits,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_twenty_are_kept() {
        let mut decisions = Decisions::default();
        (0..30).for_each(|n| decisions.held(Wall(n), &[], 1, "opening held"));
        let at: Vec<i64> = decisions.0.iter().map(|d| d.at.0).collect();
        assert_eq!(at, (10..30).collect::<Vec<_>>());
    }
}
