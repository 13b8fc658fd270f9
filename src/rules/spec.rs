//! What `rules` is asked to look for. Built by `config`, which has validated every part.

use std::sync::Arc;

use crate::hit::RuleNo;
use crate::line::SourceNo;
use crate::rules::{Asked, Pattern};

/// One rule, as the scanner needs it.
#[derive(Clone, Debug)]
pub struct RuleSpec {
    /// Its number in this set.
    pub no: RuleNo,
    /// Its name.
    pub name: Arc<str>,
    /// The sources it reads.
    pub sources: Vec<SourceNo>,
    /// For the shared `files` source: the globs of this very rule, which a block's file must be under one of;
    /// empty: every file of its sources.
    pub only_files: Vec<String>,
    /// A hit must match this.
    pub pattern: Pattern,
    /// And none of these.
    pub exclude: Vec<Pattern>,
    /// A line that matches this ends incidents of the rule, whatever `exclude` and `fields` say of it.
    pub resolve: Option<Pattern>,
    /// And each of these fields of the line must have one of its values.
    pub fields: Vec<Where>,
    /// What is masked in a line before its kind is made, besides what every mask takes.
    pub mask: Vec<Pattern>,
    /// What makes the key; at most eight parts.
    pub by: Vec<By>,
    /// Names of the captures that travel with a hit, in the order of [`crate::hit::Hit::captures`]; one that the
    /// pattern does not name is a field of the line.
    pub captures: Vec<String>,
    /// Nothing asks for the line or the captures of every hit: of one key, the first and the last of a block are enough.
    pub fold: bool,
    /// So many lines around a hit travel with it.
    pub context: Asked,
}

/// A condition of `where`: the field has one of these values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Where {
    /// Its name; `http.status` reaches into a JSON object.
    pub field: String,
    /// Its values, as text: `500` is the same as `"500"`.
    pub values: Vec<String>,
}

/// One part of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// A named capture of the rule, or else a field of the line.
    Capture(String),
    /// The file's path.
    File,
    /// The host's name.
    Host,
    /// The kind of the line.
    Kind,
}

/// What the scanner needs to know of a source.
#[derive(Clone, Debug)]
pub struct SourceClock {
    /// The source.
    pub no: SourceNo,
    /// The zone of stamps that name none.
    pub tz: jiff::tz::TimeZone,
}
