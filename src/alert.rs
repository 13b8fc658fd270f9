//! What an incident says: an opening, a reminder, an end; and what the agent says of itself, a notice.
//!
//! The judge makes alerts and puts them into messages; `chat` draws them. Every text in here that came from a log
//! is redacted already and escaped *not at all*: escaping belongs to the one place that knows the surface.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::time::Wall;

/// How bad it is. Ordered: `Critical` is the greatest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Look at it today.
    #[default]
    Warning,
    /// Look at it now.
    Error,
    /// Somebody is to be woken; passes every batch at once.
    Critical,
}

impl Severity {
    /// All of them, mildest first.
    pub const ALL: [Severity; 4] = [Severity::Info, Severity::Warning, Severity::Error, Severity::Critical];

    /// As `rules.toml` writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Error => "error",
            Severity::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Number of an alert; grows by one, for ever, kept in the judge's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AlertNo(pub u64);

/// Which moment of an incident an alert tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// It opened.
    Opening,
    /// It goes on.
    Reminder,
    /// It ended: quiet for long enough.
    End,
    /// It ended: a line said so.
    Resolved,
    /// A hit came soon after a line had said that it was over: the same incident goes on.
    Again,
    /// What was expected has not come.
    Missing,
    /// What was missing has come.
    Seen,
    /// Whether what was expected came, nobody can know.
    CannotTell,
    /// What a rule that speaks of what is new has counted of what it knows.
    Known,
    /// Many openings, held back by a limit, told as one; comes again with the counts since the last.
    Fold,
    /// Openings caused by lines that were written while nobody was reading.
    WhileAway,
    /// Many alerts of a space, over its budget, told as one.
    Digest,
    /// What a silence or a mute held, told when it is over; it opens what still goes on.
    Unmuted,
    /// The same of what open incidents of another rule held.
    Uninhibited,
    /// The agent speaks of itself: a gap, a refused reload, a space that does not answer.
    Notice,
}

impl What {
    /// All of them.
    pub const ALL: [What; 15] = [
        What::Opening,
        What::Reminder,
        What::End,
        What::Resolved,
        What::Again,
        What::Missing,
        What::Seen,
        What::CannotTell,
        What::Known,
        What::Fold,
        What::WhileAway,
        What::Digest,
        What::Unmuted,
        What::Uninhibited,
        What::Notice,
    ];
}

/// A line kept as evidence.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Redacted text, at most [`crate::hit::LINE_BYTES`].
    pub line: Box<str>,
    /// The file as people call it.
    pub file: Arc<str>,
    /// Event time.
    pub at: Wall,
    /// How many secrets were taken out of it, and of the lines around it.
    #[serde(default)]
    pub secrets: u32,
    /// The lines before it, oldest first, clean, where its rule asks for them; at most [`crate::hit::CONTEXT_LINES`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<Box<str>>,
    /// And those behind it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Box<str>>,
}

impl Sample {
    /// The line without those around it.
    pub fn alone(&mut self) {
        (self.before, self.after) = (Vec::new(), Vec::new());
    }

    /// The same.
    #[must_use]
    pub fn into_alone(mut self) -> Sample {
        self.alone();
        self
    }
}

/// Why hits or openings were held back, with how many: the last line of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// How many.
    pub count: u64,
    /// Of what and why, lower case: `repeats`, `openings over the rule's limit`.
    pub reason: String,
}

/// One thing to say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// Its number.
    pub no: AlertNo,
    /// Which moment.
    pub what: What,
    /// The rule's name; for a notice, a short name of what it is about; for alerts of several rules told as one,
    /// `digest`, `while away` or `more alerts`.
    pub rule: Arc<str>,
    /// How bad.
    pub severity: Severity,
    /// Names and redacted values of the incident's key, in the order of `by`; empty without one.
    pub key: Vec<(String, String)>,
    /// The rule's `message`, filled in, at most 1,000 characters, and a line for each name of its `top`. Of a fold, a digest and `while away`: a line that sums
    /// up, then one a key or alert, some 20 lines of 200 bytes. For a notice its text, which may have several lines.
    pub text: String,
    /// The hits that this alert accounts for; 0 for a notice.
    pub hits: u64,
    /// Hits of the incident (or fold) so far.
    pub total: u64,
    /// How many incidents a fold or digest stands for; 1 otherwise.
    pub incidents: u64,
    /// Event time of the first hit it speaks of.
    pub first: Wall,
    /// Event time of the last.
    pub last: Wall,
    /// Evidence, oldest first, few.
    pub samples: Vec<Sample>,
    /// Where to read what to do.
    pub runbook: Option<String>,
    /// What was held back since the last alert of this incident, fold or digest.
    pub held: Vec<Held>,
    /// The remedy, for a notice.
    pub hint: Option<String>,
}
