//! What the judge is told to do. Built by `config`, which has validated every part.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::alive::AlivePolicy;
use super::expect::Expect;
use super::mute::MutePolicy;
use super::novelty::Novelty;
use crate::alert::Severity;
use crate::redact::Redactor;
use crate::template::Template;

/// Everything the judge needs of `rules.toml`.
#[derive(Clone, Debug)]
pub struct Policy {
    /// By [`crate::hit::RuleNo`].
    pub rules: Vec<RulePolicy>,
    /// Every space.
    pub spaces: Vec<SpacePolicy>,
    /// Name of the space that hears of the agent's own troubles.
    pub admin: Arc<str>,
    /// This host's name.
    pub host: Arc<str>,
    /// Takes secrets out of whatever is kept.
    pub redactor: Redactor,
    /// Backlog hits older than this fold into "while away".
    pub late_after: Duration,
    /// Bytes that the judge may hold.
    pub memory: u64,
    /// Windows of the week in which rules are held.
    pub mutes: Vec<MutePolicy>,
    /// It tells the admin space that it lives.
    pub alive: Option<AlivePolicy>,
}

/// One rule.
#[derive(Clone, Debug)]
pub struct RulePolicy {
    /// Its name; state follows it.
    pub name: Arc<str>,
    /// Changes when `match`, `exclude`, `by`, `threshold`, `within`, `distinct` or `top` does: windows are then begun anew.
    pub fingerprint: u64,
    /// Names of the key's parts, in order.
    pub by: Vec<String>,
    /// Names of the captures of a hit, in order.
    pub captures: Vec<String>,
    /// Fires on the hit that makes this many (≥ 1)…
    pub threshold: u32,
    /// …in this time, by event time. Zero where `threshold` is 1.
    pub within: Duration,
    /// How bad.
    pub severity: Severity,
    /// Names of the spaces it speaks to, its own first, then the routed ones; no repeats, never empty.
    pub spaces: Vec<Arc<str>>,
    /// What it says.
    pub message: Template,
    /// Where to read what to do.
    pub runbook: Option<String>,
    /// First reminder after this; doubles to 24 h.
    pub remind: Duration,
    /// The incident ends after this long without a hit.
    pub quiet: Duration,
    /// Openings and reminders an hour.
    pub max_per_hour: u32,
    /// Opens only when so long no `resolve` came; zero: at once.
    pub hold: Duration,
    /// Its end is said also where there is no news.
    pub say_end: bool,
    /// `threshold` counts the different values of the capture of this index; without it, hits.
    pub distinct: Option<usize>,
    /// It speaks only of keys that it does not know.
    pub new: Option<Novelty>,
    /// A hit is what is wanted, and its absence an incident.
    pub expect: Option<Expect>,
    /// Of the captures of these indices the most frequent values are told.
    pub top: Vec<usize>,
    /// While one of these rules has an open incident, this one says nothing. No rings; its own name means nothing.
    pub inhibited_by: Vec<Arc<str>>,
}

/// An incident is over after so long without a hit, or after its rule's window where that is longer.
pub const QUIET: Duration = Duration::from_secs(600);

/// The first reminder of an incident comes after this, the next after twice as long.
pub const REMIND: Duration = Duration::from_secs(3600);

/// Openings and reminders of a rule in an hour.
pub const MAX_PER_HOUR: u32 = 30;

/// The same of a rule that speaks of what is new: more kinds than these at once are no news one by one.
pub const MAX_NEW_PER_HOUR: u32 = 10;

impl RulePolicy {
    /// A rule that fires at every hit and speaks to no space yet, with the defaults of `rules.toml`.
    pub fn named(name: &str) -> RulePolicy {
        RulePolicy {
            name: name.into(),
            fingerprint: 0,
            by: Vec::new(),
            captures: Vec::new(),
            threshold: 1,
            within: Duration::ZERO,
            severity: Severity::Warning,
            spaces: Vec::new(),
            message: Template::line(),
            runbook: None,
            remind: REMIND,
            quiet: QUIET,
            max_per_hour: MAX_PER_HOUR,
            hold: Duration::ZERO,
            say_end: false,
            distinct: None,
            expect: None,
            new: None,
            top: Vec::new(),
            inhibited_by: Vec::new(),
        }
    }
}

/// A space waits so long for more to say, after the first; one on the terminal does not wait.
pub const WAIT: Duration = Duration::from_secs(5);

/// But no longer than this.
pub const WAIT_AT_MOST: Duration = Duration::from_secs(30);

/// Messages of any sort to a space in an hour; critical ones have a reserve beside it.
pub const SPACE_PER_HOUR: u32 = 60;

/// What is more than that is told so often, as one.
pub const DIGEST_EVERY: Duration = Duration::from_secs(600);

/// One space.
#[derive(Clone, Debug)]
pub struct SpacePolicy {
    /// Its name.
    pub name: Arc<str>,
    /// After the first thing to say, wait this long for more.
    pub wait: Duration,
    /// But no longer than this.
    pub wait_at_most: Duration,
    /// Messages an hour, critical's reserve of 20 not counted.
    pub max_per_hour: u32,
    /// One digest each so often while over budget.
    pub digest_every: Duration,
    /// Who is notified where an incident of this severity opens.
    pub mention: BTreeMap<Severity, Vec<Arc<str>>>,
    /// An opening's message is edited in place, where others would follow in its thread.
    pub edit: bool,
}

impl SpacePolicy {
    /// A space with the defaults of `rules.toml`.
    pub fn named(name: Arc<str>, wait: Duration) -> SpacePolicy {
        SpacePolicy {
            name,
            wait,
            wait_at_most: WAIT_AT_MOST,
            max_per_hour: SPACE_PER_HOUR,
            digest_every: DIGEST_EVERY,
            mention: BTreeMap::new(),
            edit: false,
        }
    }
}
