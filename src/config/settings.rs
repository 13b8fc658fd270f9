//! What a rules file comes to: ready-built specs for every stage, and what is left for the terminal.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::diagnostic::Place;
use crate::chat::{Ping, Target};
use crate::hit::RuleNo;
use crate::judge::Policy;
use crate::line::Field;
use crate::rules::{RuleSpec, SourceClock};
use crate::tail::SourceSpec;

/// A loaded, validated set. [`RuleNo`] indexes `rules` and `policy.rules` alike, [`crate::line::SourceNo`] indexes
/// `sources` and `clocks`; `policy.spaces` and `targets` name the same spaces in the same order.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What `tail` reads: the sources that an enabled rule reads, no others.
    pub sources: Vec<SourceSpec>,
    /// What `rules` needs to know of them.
    pub clocks: Vec<SourceClock>,
    /// The enabled rules, for `rules`.
    pub rules: Vec<RuleSpec>,
    /// The same rules, for `judge`, with the spaces.
    pub policy: Policy,
    /// The spaces, for `chat`. Never empty.
    pub targets: Vec<Target>,
    /// Which space stands in for which, while that one cannot be reached.
    pub fallbacks: BTreeMap<Arc<str>, Arc<str>>,
    /// Whom the agent tells that it lives.
    pub ping: Option<Ping>,
    /// The rules' inline tests.
    pub tests: Vec<RuleTest>,
    /// Where the `match` of each rule stands, in the order of `rules`.
    pub matches: Vec<Place>,
    /// The files this came from, the one that was asked for first.
    pub files: Vec<PathBuf>,
}

/// An inline test: a line, and what the rule is to give for it.
#[derive(Clone, Debug)]
pub struct RuleTest {
    /// The rule.
    pub rule: RuleNo,
    /// Which of the rule's tests, from 1.
    pub no: usize,
    /// The line.
    pub line: String,
    /// What its wrapping says: the stream of a container, the priority of an entry.
    pub fields: Vec<Field>,
    /// What is expected.
    pub gives: Gives,
    /// Where the expectation stands: a failed test points there.
    pub place: Place,
}

/// What a test expects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gives {
    /// A hit with these values of captures and fields, among others.
    Captures(Vec<(String, String)>),
    /// `match` does not accept the line, or `where` does not, or it is the agent's own.
    Nothing,
    /// `match` accepts the line, and an `exclude` too.
    Excluded,
    /// `resolve` accepts the line, and it names these parts of the key, among others.
    Resolved(Vec<(String, String)>),
}
