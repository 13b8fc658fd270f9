//! Silences: an operator's "not now", given at the terminal, and which keys it means.
//!
//! A silence that names parts of a key is turned into keyed hashes when it is given, one a rule and part, and the raw
//! values are forgotten: a key may hold a secret. So it means the rules that are loaded at that moment; one without a
//! key means every rule of its pattern, also those that are loaded later. Which silences and mutes hold a rule is
//! worked out when one of them begins or ends and kept beside the rule, so that a rule which none holds pays nothing.
//! What they hold is `muted`'s business.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::evidence::{KEPT_VALUE, cut};
use super::mute::{MutePolicy, RuleGlob};
use super::rows::RowKey;
use super::rule::{Rid, Rule, Slot};
use super::wording::{count, cut_chars, time_text};
use super::{Judge, Notice, RulePolicy};
use crate::alert::Severity;
use crate::template::span_text;
use crate::time::{Now, Tick, Wall};

/// A silence ends after this at the latest: what is to be silent for ever belongs into the rules file.
pub const LONGEST: Duration = Duration::from_secs(30 * 86_400);

/// One that has been in force for so long is named in the admin space, and again each time that so long has passed: whoever
/// gave it may have forgotten it.
const NAMED_EVERY: Duration = Duration::from_secs(7 * 86_400);

/// Silences in force at once. Each is looked through when an incident opens; more than these nobody keeps in mind.
pub const SILENCES: usize = 200;

/// A reason is at most this long, in characters.
pub(super) const WHY_CHARS: usize = 200;

/// A name of an author is at most this long, in characters.
pub(super) const AUTHOR_CHARS: usize = 64;

/// A pattern for names of rules is at most this long, in bytes; a rule's name has 64.
pub(super) const PATTERN_BYTES: usize = 200;

/// Who holds something.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum By {
    /// The silence of this number.
    Silence(u64),
    /// The mute of this name.
    Mute(Arc<str>),
    /// An open incident of the rule of this name.
    Rule(Arc<str>),
}

/// As messages, `status` and `unsilence` name it: `s7`, `sunday-patching`, `nginx-down`. No mute is called like a silence.
impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            By::Silence(no) => write!(f, "s{no}"),
            By::Mute(name) | By::Rule(name) => f.write_str(name),
        }
    }
}

/// What an operator asks for.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SilenceOrder {
    /// A rule's name, or a pattern for several: `nginx-*`.
    pub rule: String,
    /// Names of parts of the key, and their raw values; empty: whatever the key.
    pub key: Vec<(String, String)>,
    /// For how long.
    pub length: Duration,
    /// Who asks.
    pub author: String,
    /// Why.
    pub why: String,
}

/// Without the values: a key may hold a secret.
impl fmt::Debug for SilenceOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SilenceOrder").field("rule", &self.rule).finish_non_exhaustive()
    }
}

/// Why an order cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct SilenceFault {
    /// Lower case, names in backticks.
    pub what: String,
    /// The remedy.
    pub hint: String,
}

/// A silence in force.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Silence {
    /// As it was given.
    rule: String,
    /// Names and clean values of the key's parts; for people.
    key: Vec<(String, String)>,
    /// By rule: names and keyed hashes of the parts. Where there is no key, empty.
    parts: BTreeMap<Arc<str>, Vec<(String, u64)>>,
    made: Wall,
    pub(super) until: Tick,
    /// It is named then, unless it is over.
    #[serde(default = "never")]
    named: Tick,
    author: String,
    why: String,
}

fn never() -> Tick {
    Tick(u64::MAX)
}

/// A silence as `silences` and `status` show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SilenceReport {
    /// `s7`, for `unsilence`.
    pub id: String,
    /// The rule, or the pattern.
    pub rule: String,
    /// Names and redacted values of the parts of the key.
    pub key: Vec<(String, String)>,
    /// When it was given.
    pub made: Wall,
    /// When it ends.
    pub until: Wall,
    /// Who gave it.
    pub author: String,
    /// Why.
    pub why: String,
    /// Hits that it holds now.
    pub holds: u64,
    /// Incidents that it holds, open ones and those that have ended meanwhile.
    pub incidents: u64,
}

/// A mute as `status` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MuteReport {
    /// Its name.
    pub name: Arc<str>,
    /// It is in force.
    pub in_force: bool,
    /// When that changes.
    pub until: Wall,
    /// Hits that it holds now.
    pub holds: u64,
    /// Incidents that it holds, open ones and those that have ended meanwhile.
    pub incidents: u64,
}

/// What holds a rule.
#[derive(Clone, Debug)]
pub(super) struct InForce {
    pub(super) by: By,
    /// Places in the rule's `by` and the hashes that a key must have there; empty: every key.
    parts: Vec<(usize, u64)>,
}

impl InForce {
    /// Whatever the key.
    pub(super) fn whole(by: By) -> InForce {
        InForce { by, parts: Vec::new() }
    }

    /// It holds the whole rule.
    pub(super) fn is_whole(&self) -> bool {
        self.parts.is_empty()
    }

    fn holds(&self, hash: u64, slot: &Slot) -> bool {
        // the hash of a key of one part is the hash of that part
        let part = |n: usize| if slot.parts.is_empty() { Some(hash) } else { slot.parts.get(n).copied() };
        self.parts.iter().all(|(n, wanted)| part(*n) == Some(*wanted))
    }
}

impl Rule {
    /// Who holds this key: silences before mutes before rules.
    pub(super) fn quieted_by(&self, hash: u64) -> Option<By> {
        if self.quieted.is_empty() {
            return None;
        }
        self.quieted_as(hash, self.keys.get(hash)?)
    }

    /// The same of a key that is not there.
    pub(super) fn quieted_as(&self, hash: u64, slot: &Slot) -> Option<By> {
        self.quieted.iter().find(|f| f.holds(hash, slot)).map(|f| f.by.clone())
    }
}

impl Silence {
    fn over(&self, glob: &RuleGlob, by: By, rule: &RulePolicy) -> Option<InForce> {
        if self.key.is_empty() {
            return glob.matches(&rule.name).then(|| InForce::whole(by));
        }
        // a rule that is grouped by other parts since is another rule
        let place = |(name, hash): &(String, u64)| Some((rule.by.iter().position(|b| b == name)?, *hash));
        let parts: Option<Vec<_>> = self.parts.get(&rule.name)?.iter().map(place).collect();
        Some(InForce { by, parts: parts? })
    }
}

impl Judge {
    /// Why this order cannot be followed, if it cannot.
    pub fn may_silence(&self, order: &SilenceOrder) -> Result<(), SilenceFault> {
        let fault = |what: String, hint: &str| Err(SilenceFault { what, hint: hint.to_owned() });
        if order.length.is_zero() || order.length > LONGEST {
            return fault(
                "a silence lasts up to 30d".to_owned(),
                "what is to be silent for longer belongs into the rules file: `enabled = false`, `exclude`, or a [[mute]]",
            );
        }
        if order.why.trim().is_empty() {
            return fault("a silence needs a reason".to_owned(), "say it: --why 'pentest until noon'");
        }
        if self.silences.len() >= SILENCES {
            return fault(
                format!("{SILENCES} silences are in force, and there are no more"),
                "end some: `logherald silences` lists them, `logherald unsilence ID` ends one",
            );
        }
        let glob = match RuleGlob::new(&order.rule) {
            Ok(glob) if order.rule.len() <= PATTERN_BYTES => glob,
            _ => {
                return fault(
                    "this is neither the name of a rule nor a pattern for names".to_owned(),
                    "write it like `disk-full` or `nginx-*`",
                );
            }
        };
        let mut named = self.loaded().filter(|(_, p)| glob.matches(&p.name)).peekable();
        if named.peek().is_none() {
            let hint = match nearest(&order.rule, self.loaded().map(|(_, p)| &*p.name)) {
                Some(name) => format!("did you mean `{name}`?"),
                None => "`logherald status` lists the rules".to_owned(),
            };
            return Err(SilenceFault { what: format!("no loaded rule is called `{}`", order.rule), hint });
        }
        if named.any(|(_, p)| order.key.iter().all(|(name, _)| p.by.contains(name))) {
            return Ok(());
        }
        let mut known: Vec<&str> = self
            .loaded()
            .filter(|(_, p)| glob.matches(&p.name))
            .flat_map(|(_, p)| &p.by)
            .map(String::as_str)
            .collect();
        known.sort_unstable();
        known.dedup();
        let hint = match known.as_slice() {
            [] => "it has no `by`: silence it without a key".to_owned(),
            known => format!("its incidents are told apart by: {}", known.join(", ")),
        };
        let names: Vec<&str> = order.key.iter().map(|(name, _)| name.as_str()).collect();
        Err(SilenceFault {
            what: format!("no key of `{}` has the parts `{}`", order.rule, names.join("`, `")),
            hint,
        })
    }

    fn loaded(&self) -> impl Iterator<Item = (Rid, &RulePolicy)> {
        self.by_no.iter().filter_map(|rid| Some((*rid, self.rules[rid.0].policy.as_ref()?)))
    }

    /// From now on the order is followed; one that [`Judge::may_silence`] refuses is not.
    pub(super) fn silence(&mut self, order: &SilenceOrder, now: Now) {
        let Ok(glob) = RuleGlob::new(&order.rule) else { return };
        if self.may_silence(order).is_err() {
            return;
        }
        let mut parts = BTreeMap::new();
        let mut shown = None;
        for (rid, policy) in self.loaded() {
            let has_all = order.key.iter().all(|(name, _)| policy.by.contains(name));
            if order.key.is_empty() || !has_all || !glob.matches(&policy.name) {
                continue;
            }
            let rule = &self.rules[rid.0];
            let hashed: Vec<(String, u64)> =
                order.key.iter().map(|(name, value)| (name.clone(), rule.part(value))).collect();
            shown = shown.or_else(|| known_key(rule, policy, &hashed));
            parts.insert(Arc::clone(&policy.name), hashed);
        }
        let redactor = &self.policy.redactor;
        let clean =
            |(name, value): &(String, String)| (name.clone(), cut(&redactor.redact(value), KEPT_VALUE));
        let silence = Silence {
            rule: order.rule.clone(),
            key: shown.unwrap_or_else(|| order.key.iter().map(clean).collect()),
            parts,
            made: now.wall,
            until: now.tick + order.length,
            named: now.tick + NAMED_EVERY,
            author: cut_chars(redactor.redact(&order.author).into_owned(), AUTHOR_CHARS),
            why: cut_chars(redactor.redact(&order.why).into_owned(), WHY_CHARS),
        };
        let no = self.head.next_silence;
        self.head.next_silence += 1;
        self.silences.insert(no, silence);
        self.dirty.insert(RowKey::Silence(no));
        self.hold_anew(now);
    }

    /// It ends before its time. `false`: there is none of this name.
    pub(super) fn unsilence(&mut self, id: &str, now: Now) -> bool {
        let no = id.strip_prefix('s').and_then(|n| n.parse::<u64>().ok());
        let Some(silence) = no.and_then(|no| self.silences.get_mut(&no)) else { return false };
        silence.until = now.tick;
        self.silence_timers(now);
        true
    }

    /// A silence of this name is in force.
    pub fn is_silence(&self, id: &str) -> bool {
        self.silences.keys().any(|no| By::Silence(*no).to_string() == id)
    }

    /// When a silence or a mute begins or ends next, or a silence is named.
    pub(super) fn silences_due(&self) -> Option<Tick> {
        let ends = self.silences.values().map(|s| s.until.min(s.named)).min();
        [ends, self.mutes_until.map(|m| m.due)].into_iter().flatten().min()
    }

    /// Ends the silences whose time has come, and looks whether a mute has begun or ended.
    pub(super) fn silence_timers(&mut self, now: Now) {
        let expired = self.silences.values().any(|s| s.until <= now.tick);
        let changed = self.mutes_until.is_some_and(|m| now.wall < m.from || now.wall >= m.until);
        if expired || changed {
            self.hold_anew(now);
        }
        // the clock on the wall was set back, and the instant is still to come
        if let Some(m) = self.mutes_until.as_mut().filter(|m| m.due <= now.tick) {
            m.due = now.tick + m.until.since(now.wall);
        }
        self.name_silences(now);
    }

    /// Names the silences that have been in force for long.
    fn name_silences(&mut self, now: Now) {
        let old: Vec<u64> =
            self.silences.iter().filter(|(_, s)| s.named <= now.tick).map(|(no, _)| *no).collect();
        for no in old {
            let (incidents, hits) = self.held_by(&By::Silence(no));
            let Some(silence) = self.silences.get_mut(&no) else { continue };
            silence.named = now.tick + NAMED_EVERY;
            let text = format!(
                "{} over `{}` has been in force for {} and holds {} in {}; it ends at {}",
                silence.words(no),
                silence.rule,
                span_text(whole_days(now.wall.since(silence.made))),
                count(hits, "hit"),
                count(incidents, "incident"),
                time_text(now.wall + silence.until.since(now.tick)),
            );
            let hint = Some(format!("`logherald unsilence s{no}` ends it now"));
            let about = format!("silence/s{no}");
            self.dirty.insert(RowKey::Silence(no));
            self.notice(Notice { about, severity: Severity::Warning, text, hint, space: None }, now);
        }
    }

    /// Works out who holds which rule, without the silences that are over.
    pub(super) fn quiet_rules(&mut self, now: Now) -> Vec<(u64, Silence)> {
        let over: Vec<(u64, Silence)> = self.silences.extract_if(.., |_, s| s.until <= now.tick).collect();
        self.dirty.extend(over.iter().map(|(no, _)| RowKey::Silence(*no)));
        let globs = self.silences.iter().filter_map(|(no, s)| Some((*no, s, RuleGlob::new(&s.rule).ok()?)));
        let globs: Vec<_> = globs.collect();
        let mut in_force = Vec::new();
        let mut until: Option<Wall> = None;
        for mute in &self.policy.mutes {
            let (open, edge) = mute.when.at(now.wall);
            until = Some(until.map_or(edge, |u| u.min(edge)));
            if open {
                in_force.push(mute);
            }
        }
        self.mutes_until =
            until.map(|until| MutesUntil { from: now.wall, until, due: now.tick + until.since(now.wall) });
        for rule in &mut self.rules {
            rule.quieted.clear();
            let Some(policy) = &rule.policy else { continue };
            rule.quieted
                .extend(globs.iter().filter_map(|(no, s, glob)| s.over(glob, By::Silence(*no), policy)));
            let mutes = in_force.iter().filter(|m| m.holds(&policy.name, policy.severity));
            rule.quieted.extend(mutes.map(|m| InForce::whole(By::Mute(Arc::clone(&m.name)))));
        }
        (0..self.rules.len()).for_each(|n| self.inhibit(Rid(n)));
        over
    }

    /// The silences in force, the one that ends first first.
    pub fn silences(&self, now: Now) -> Vec<SilenceReport> {
        let mut all: Vec<(Tick, u64)> = self.silences.iter().map(|(no, s)| (s.until, *no)).collect();
        all.sort_unstable();
        let report = |(until, no): (Tick, u64)| {
            let silence = self.silences.get(&no)?;
            let (incidents, holds) = self.held_by(&By::Silence(no));
            Some(SilenceReport {
                id: By::Silence(no).to_string(),
                rule: silence.rule.clone(),
                key: silence.key.clone(),
                made: silence.made,
                until: now.wall + until.since(now.tick),
                author: silence.author.clone(),
                why: silence.why.clone(),
                holds,
                incidents,
            })
        };
        all.into_iter().filter_map(report).collect()
    }

    /// The mutes of the file.
    pub fn mutes(&self, now: Now) -> Vec<MuteReport> {
        let report = |mute: &MutePolicy| {
            let (in_force, until) = mute.when.at(now.wall);
            let (incidents, holds) = self.held_by(&By::Mute(Arc::clone(&mute.name)));
            MuteReport { name: Arc::clone(&mute.name), in_force, until, holds, incidents }
        };
        self.policy.mutes.iter().map(report).collect()
    }
}

/// What is known of the mutes holds from here…
#[derive(Clone, Copy, Debug)]
pub(super) struct MutesUntil {
    from: Wall,
    /// …to here.
    until: Wall,
    /// The same instant on the agent's clock, unless the clock on the wall is set.
    due: Tick,
}

impl Silence {
    /// `the silence s7 of ana (pentest)`.
    pub(super) fn words(&self, no: u64) -> String {
        format!("the silence s{no} of {} ({})", self.author, self.why)
    }
}

fn whole_days(age: Duration) -> Duration {
    Duration::from_secs(age.as_secs() / 86_400 * 86_400)
}

/// The key as an open incident shows it: there a secret was recognised by the line around it.
fn known_key(rule: &Rule, policy: &RulePolicy, hashed: &[(String, u64)]) -> Option<Vec<(String, String)>> {
    let place = |(name, hash): &(String, u64)| Some((policy.by.iter().position(|b| b == name)?, *hash));
    let parts: Vec<(usize, u64)> = hashed.iter().filter_map(place).collect();
    let wanted = InForce { by: By::Silence(0), parts };
    let known = rule.keys.unordered().filter(|(hash, slot)| wanted.holds(*hash, slot));
    let (_, slot) = known.min_by_key(|k| k.0)?;
    Some(wanted.parts.iter().filter_map(|(n, _)| slot.key.get(*n).cloned()).collect())
}

/// The name that was most likely meant.
pub(super) fn nearest<'a>(found: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let far = 1 + found.chars().count() / 4;
    let near = |name: &&str| strsim::damerau_levenshtein(found, name);
    names.min_by_key(near).filter(|name| near(name) <= far)
}
