//! Hits as they are judged, for whoever looks on: each with what became of it.
//!
//! While nobody looks on, this costs a hit one comparison. While somebody does, at most [`A_SECOND`] hits a second are
//! made clean and kept for them until the next [`Judge::tapped`]; those beyond are counted. So a storm is judged at its
//! own speed, and who looks on is told how much of it went by.
//!
//! The surprise: what is said of a hit is what was decided in that instant. An opening that a space's budget keeps for
//! its digest an hour later was an opening all the same; `why` and the ledger tell the rest.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Serialize;

use super::evidence::{KEPT_LINE, clean_key, cut};
use super::phase::{News, Phase};
use super::rule::{KeyState, Rid};
use super::silence::SilenceFault;
use super::why::{AWAY, OVER_LIMIT, held_by};
use super::wording::{key_text, list_line};
use super::{Incident, Judge, RulePolicy};
use crate::hit::Told;
use crate::template::span_text;
use crate::time::{Now, Wall};

/// Hits that one who looks on is told of in a second: more than anybody reads, and some milliseconds of work.
pub const A_SECOND: usize = 1000;

/// So many may look on at once.
pub const TAPS: usize = 8;

/// Who looks on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TapNo(u64);

/// One hit, made clean.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tapped {
    /// When it happened.
    #[serde(serialize_with = "super::why::as_text")]
    pub at: Wall,
    /// Its rule.
    pub rule: Arc<str>,
    /// Its key: `ip=192.0.2.1, user=root`; empty without one.
    pub key: String,
    /// It is said, in a message of its own or with others; else it is held.
    pub said: bool,
    /// What became of it, in words: `opens an incident, to ops`, `a repeat: the incident is open, 7 since its last word`.
    pub what: Cow<'static, str>,
    /// The file as people call it.
    pub file: Arc<str>,
    /// The line; `None`: it is like the one before of this rule and key, and was only counted.
    pub line: Option<String>,
}

/// What somebody who looks on has not been given yet.
#[derive(Debug)]
pub(super) struct Tap {
    no: TapNo,
    /// `None`: every rule.
    rule: Option<Arc<str>>,
    told: Vec<Tapped>,
    missed: u64,
    /// Hits that were told in this second of the agent's clock.
    second: (u64, usize),
}

/// What became of a hit.
#[derive(Clone, Copy, Debug)]
pub(super) enum Became {
    /// It is none: a line that ends an incident, or one of a rule that is gone.
    NoHit,
    /// What its rule expects.
    Seen,
    /// Of a kind that its rule knows, or learns.
    Known,
    /// Its key's window holds it.
    Counted,
    /// It fired; `late`: it was written while nobody was reading.
    Fired { late: bool },
    /// Its incident is open.
    Repeated(News),
}

impl Judge {
    /// Somebody looks on from now on, at one rule or at all.
    pub fn tap(&mut self, rule: Option<&str>) -> Result<TapNo, SilenceFault> {
        let rule = match rule {
            None => None,
            Some(name) => {
                self.rule_named(name)?;
                Some(name.into())
            }
        };
        if self.taps.len() >= TAPS {
            let what = format!("{TAPS} look on already");
            return Err(SilenceFault { what, hint: "end one of the other `logherald tap`".into() });
        }
        let no = TapNo(self.next_tap);
        self.next_tap += 1;
        self.taps.push(Tap { no, rule, told: Vec::new(), missed: 0, second: (0, 0) });
        Ok(no)
    }

    /// They look on no more.
    pub fn untap(&mut self, no: TapNo) {
        self.taps.retain(|tap| tap.no != no);
    }

    /// What they have not been given yet, and how many hits went by beside it.
    pub fn tapped(&mut self, no: TapNo) -> (Vec<Tapped>, u64) {
        let tap = self.taps.iter_mut().find(|tap| tap.no == no);
        tap.map(|tap| (std::mem::take(&mut tap.told), std::mem::take(&mut tap.missed))).unwrap_or_default()
    }

    /// Tells a hit to those who look on, after it was judged.
    pub(super) fn tap_hit(&mut self, told: Told<'_>, (at, became): (Wall, Became), now: Now) {
        if matches!(became, Became::NoHit) {
            return;
        }
        let Some(&rid) = self.by_no.get(told.hit.rule.0 as usize) else { return };
        let name = Arc::clone(&self.rules[rid.0].name);
        let second = now.tick.0 / 1000;
        let mut told_to = Vec::new();
        for tap in self.taps.iter_mut().filter(|tap| tap.rule.as_ref().is_none_or(|r| *r == name)) {
            if tap.second.0 != second {
                tap.second = (second, 0);
            }
            // what waits is bounded too, should nobody fetch it
            if tap.second.1 >= A_SECOND || tap.told.len() >= A_SECOND {
                tap.missed += 1;
                continue;
            }
            tap.second.1 += 1;
            told_to.push(tap.no);
        }
        if told_to.is_empty() {
            return;
        }
        let Some(tapped) = self.told_as(rid, told, at, became, now) else { return };
        for tap in self.taps.iter_mut().filter(|tap| told_to.contains(&tap.no)) {
            tap.told.push(tapped.clone());
        }
    }

    fn told_as(&self, rid: Rid, told: Told<'_>, at: Wall, became: Became, now: Now) -> Option<Tapped> {
        let (rule, hit) = (&self.rules[rid.0], told.hit);
        let policy = rule.policy.as_ref()?;
        let redactor = &self.policy.redactor;
        let (said, what) = self.outcome(rid, policy, rule.hash(&hit.key), became, now);
        Some(Tapped {
            at,
            rule: Arc::clone(&rule.name),
            key: list_line(&key_text(&clean_key(redactor, &policy.by, hit))),
            said,
            what,
            file: Arc::clone(&hit.file),
            line: told.full.then(|| cut(&redactor.redact(&hit.line), KEPT_LINE)),
        })
    }

    /// Whether it is said, and what became of it.
    fn outcome(
        &self,
        rid: Rid,
        policy: &RulePolicy,
        hash: u64,
        became: Became,
        now: Now,
    ) -> (bool, Cow<'static, str>) {
        let rule = &self.rules[rid.0];
        let state = rule.keys.get(hash).map(|slot| &slot.state);
        let held = |what: &'static str| (false, Cow::Borrowed(what));
        let incident = match state {
            Some(KeyState::Open(incident)) => Some(&**incident),
            _ => None,
        };
        match (became, incident) {
            (Became::NoHit, _) => held(""),
            (Became::Seen, _) => held("seen: it is what the rule expects"),
            (Became::Known, _) if now.tick < rule.known.state.until => {
                held("held: the rule is learning its kinds, for the daily line")
            }
            (Became::Known, _) => held("held: of a kind that is known, for the daily line"),
            (Became::Counted, _) => {
                let counted = match state {
                    Some(KeyState::Counting(window)) => window.counted(policy.distinct.is_some()),
                    _ => 0,
                };
                let unit = if policy.distinct.is_some() { " different" } else { "" };
                let (of, within) = (policy.threshold, span_text(policy.within));
                (false, format!("below the threshold: {counted} of {of}{unit} within {within}").into())
            }
            (_, None) => held("its key was let go for want of room; told in the rule's fold"),
            (_, Some(incident)) if matches!(incident.phase, Phase::Holding { .. }) => {
                let hold = span_text(policy.hold);
                (false, format!("held: not over within {hold}, it opens an incident").into())
            }
            (Became::Fired { late }, Some(incident)) => self.opening(rid, incident, late),
            (Became::Repeated(News::Due), Some(incident)) => self.opening(rid, incident, false),
            (Became::Repeated(news), Some(incident)) => repeat(incident, news),
        }
    }

    fn opening(&self, rid: Rid, incident: &Incident, late: bool) -> (bool, Cow<'static, str>) {
        if let Some(by) = &incident.held_by {
            return (false, held_by("opening", by).into());
        }
        if incident.folded {
            return (false, OVER_LIMIT.into());
        }
        if late {
            return (false, AWAY.into());
        }
        let spaces = self.spaces_of(rid);
        let names: Vec<&str> = spaces.iter().map(|s| &**s).collect();
        (true, format!("opens an incident, to {}", names.join(", ")).into())
    }
}

/// One more hit of an incident that is open.
fn repeat(incident: &Incident, news: News) -> (bool, Cow<'static, str>) {
    if let Some(by) = &incident.held_by {
        return (false, held_by("a repeat", by).into());
    }
    match (news, &incident.phase) {
        (News::Again, Phase::Open) if !incident.folded => return (true, "opens the incident again".into()),
        (News::Again, _) => return (false, "opens the incident again; held: over the rule's limit".into()),
        _ => {}
    }
    let since = incident.since_last;
    let what = if incident.folded {
        format!("a repeat: told in the rule's fold, {since} since its last word")
    } else {
        format!("a repeat: the incident is open, {since} since its last word")
    };
    (false, what.into())
}
