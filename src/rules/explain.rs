//! How far each rule got with one line: what `explain` prints.
//!
//! It asks the same compiled rules in the same order as a scan does, one question at a time.

use std::sync::Arc;

use super::literal::SHORTEST;
use super::rule::{Fate, Origin};
use super::scanner::RuleSet;
use super::stamp;
use crate::hit::{CAPTURE_BYTES, RuleNo};
use crate::line::SourceNo;
use crate::time::Wall;

/// How far one rule got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// The rule.
    pub rule: RuleNo,
    /// Its name.
    pub name: Arc<str>,
    /// Where it stopped.
    pub step: Step,
}

/// The last step a rule took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// It does not read this source.
    OtherSource,
    /// It reads this source, but not this file.
    OtherFile,
    /// The line holds none of these texts (case ignored), of which every match has one.
    NoLiteral(Vec<String>),
    /// Its `match` does not match.
    NoMatch,
    /// Its `match` matches, but the line is the agent's own.
    Own,
    /// Its `exclude` of this index, from 0, matches.
    Excluded {
        /// From 0.
        index: usize,
        /// As the operator wrote it.
        pattern: Arc<str>,
    },
    /// A hit.
    Hit {
        /// Every named capture of the pattern, in its order; `None` where one took no part.
        captures: Vec<(String, Option<String>)>,
        /// The values of `by`.
        key: Vec<String>,
        /// The line's own time.
        stamp: Option<Wall>,
    },
}

impl RuleSet {
    /// For each rule, in order, how far it gets with `line` (without its line end).
    ///
    /// `source` and `file` narrow the rules where they are given. `read` is when the line is taken to have been
    /// read: stamps without a year are near it.
    pub fn explain(
        &self,
        source: Option<SourceNo>,
        file: Option<&str>,
        line: &[u8],
        read: Wall,
    ) -> Vec<Explained> {
        let folded: Vec<u8> = line.iter().map(|b| b | 0x20).collect();
        self.rules
            .iter()
            .map(|rule| {
                let spec = &rule.spec;
                let literals = rule.literals[0].as_ref().map(|l| &l.set);
                let missing =
                    |set: &Vec<Vec<u8>>| !set.iter().any(|l| memchr::memmem::find(&folded, l).is_some());
                let step = if source.is_some_and(|s| !spec.sources.contains(&s)) {
                    Step::OtherSource
                } else if file.is_some_and(|f| !rule.reads(f)) {
                    Step::OtherFile
                } else if let Some(set) = literals.filter(|l| missing(l)) {
                    Step::NoLiteral(set.iter().map(|l| readable(l, &spec.pattern.expanded)).collect())
                } else {
                    self.judged(rule, source, file.unwrap_or_default(), line, read)
                };
                Explained { rule: spec.no, name: Arc::clone(&spec.name), step }
            })
            .collect()
    }

    fn judged(
        &self,
        rule: &super::rule::Rule,
        source: Option<SourceNo>,
        file: &str,
        line: &[u8],
        read: Wall,
    ) -> Step {
        let regex = &rule.spec.pattern.regex;
        let mut locs = regex.capture_locations();
        match rule.fate(line, &mut locs) {
            Fate::NoMatch => Step::NoMatch,
            Fate::Own => Step::Own,
            Fate::Excluded(index) => {
                Step::Excluded { index, pattern: Arc::clone(&rule.spec.exclude[index].text) }
            }
            Fate::Hit => {
                _ = regex.captures_read(&mut locs, line);
                let names = regex.capture_names().enumerate();
                let captures = names
                    .filter_map(|(i, name)| {
                        let value = locs.get(i).map(|(s, e)| super::rule::cut(&line[s..e], CAPTURE_BYTES));
                        Some((name?.to_owned(), value.map(str::into_string)))
                    })
                    .collect();
                let key = rule.key(line, &locs, Origin { file, host: &self.host });
                Step::Hit {
                    captures,
                    key: key.into_iter().map(str::into_string).collect(),
                    stamp: stamp::stamp(line, read, &self.zone(source)),
                }
            }
        }
    }
}

/// A folded literal as it stands in the pattern, where it stands there; else as it is.
fn readable(folded: &[u8], pattern: &str) -> String {
    debug_assert!(folded.len() >= SHORTEST, "shorter ones are not looked for");
    let as_written =
        pattern.as_bytes().windows(folded.len()).find(|w| w.iter().zip(folded).all(|(a, b)| a | 0x20 == *b));
    String::from_utf8_lossy(as_written.unwrap_or(folded)).into_owned()
}
