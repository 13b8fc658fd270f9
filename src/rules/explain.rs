//! How far each rule got with one line: what `explain` prints.
//!
//! It asks the same compiled rules in the same order as a scan does, one question at a time.

use std::sync::Arc;

use super::fields::Fields;
use super::literal::{Literal, SHORTEST, Set};
use super::rule::{Fate, Groups, Origin, Rule, every_capture};
use super::scanner::RuleSet;
use super::stamp;
use crate::hit::RuleNo;
use crate::line::{Field, SourceNo};
use crate::time::Wall;

/// How far one rule got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// The rule.
    pub rule: RuleNo,
    /// Its name.
    pub name: Arc<str>,
    /// The text of the line that found the rule a candidate, for people; `None` where it is tried on every line, or
    /// was no candidate.
    pub literal: Option<String>,
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
    /// The line holds none of these texts (case ignored), of which every match has one; for people.
    NoLiteral(Arc<[String]>),
    /// Its `match` does not match.
    NoMatch,
    /// Its `resolve` matches: the line ends the incidents with these parts of a key, by name; without any, all.
    Resolves {
        /// Name and value.
        key: Vec<(String, String)>,
    },
    /// Its `match` matches, but the line is the agent's own.
    Own,
    /// Its `exclude` of this index, from 0, matches.
    Excluded {
        /// From 0.
        index: usize,
        /// As the operator wrote it.
        pattern: Arc<str>,
    },
    /// A condition of its `where` does not hold; the first of those.
    Refused {
        /// The field that it asks.
        field: String,
        /// What that field is, cut; `None` where the line has none.
        found: Option<String>,
        /// What it may be.
        wanted: Vec<String>,
    },
    /// A hit.
    Hit {
        /// Every named capture of the pattern, in its order, then the fields that the rule asks for; `None` where one
        /// took no part.
        captures: Vec<(String, Option<String>)>,
        /// The values of `by`.
        key: Vec<String>,
        /// The line's own time.
        stamp: Option<Wall>,
    },
}

impl RuleSet {
    /// For each rule, in order, how far it gets with `line` (without its line end). A rule whose `resolve` accepts the
    /// line has that as its step; where its `match` accepts it too, it is there twice.
    ///
    /// `source` and `file` narrow the rules where they are given. `fields` are what the line's wrapping says. `read` is
    /// when the line is taken to have been read: stamps without a year are near it.
    pub fn explain(
        &self,
        source: Option<SourceNo>,
        file: Option<&str>,
        line: &[u8],
        fields: &[Field],
        read: Wall,
    ) -> Vec<Explained> {
        let folded: Vec<u8> = line.iter().map(|b| b | 0x20).collect();
        let mut all: Vec<Explained> = Vec::new();
        for rule in self.rules.iter() {
            let step = self.step(rule, source, file, line, &folded, fields, read);
            let literal = match step {
                Step::OtherSource | Step::OtherFile | Step::NoLiteral(_) => None,
                _ => found_by(rule, &folded),
            };
            let (no, name) = (rule.spec.no, Arc::clone(&rule.spec.name));
            let explained = Explained { rule: no, name, literal, step };
            if !rule.resolves {
                all.push(explained);
            } else if matches!(explained.step, Step::Resolves { .. }) {
                // its `match` stands before it, and is of interest only where it accepts the line too
                if all.last().is_some_and(|e| !matches!(e.step, Step::Hit { .. })) {
                    all.pop();
                }
                all.push(explained);
            }
        }
        all
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "they are those of `explain`, and the line folded once for all rules"
    )]
    fn step(
        &self,
        rule: &Rule,
        source: Option<SourceNo>,
        file: Option<&str>,
        line: &[u8],
        folded: &[u8],
        fields: &[Field],
        read: Wall,
    ) -> Step {
        let spec = &rule.spec;
        let missing = |set: &Set| !set.iter().any(|l| memchr::memmem::find(folded, &l.bytes).is_some());
        if source.is_some_and(|s| !spec.sources.contains(&s)) {
            Step::OtherSource
        } else if file.is_some_and(|f| !rule.reads(f)) {
            Step::OtherFile
        } else if let Some(set) = rule.literals().filter(|l| missing(l)) {
            Step::NoLiteral(Arc::clone(
                rule.texts.get_or_init(|| readable(set, &spec.pattern.expanded).into()),
            ))
        } else {
            self.judged(rule, source, file.unwrap_or_default(), line, Fields::new(fields, line), read)
        }
    }

    fn judged(
        &self,
        rule: &Rule,
        source: Option<SourceNo>,
        file: &str,
        line: &[u8],
        mut fields: Fields<'_>,
        read: Wall,
    ) -> Step {
        let mut locs = Groups::default();
        match rule.fate(line, false, &mut locs, &mut fields) {
            Fate::NoMatch => Step::NoMatch,
            Fate::Own => Step::Own,
            Fate::Excluded(index) => {
                Step::Excluded { index, pattern: Arc::clone(&rule.spec.exclude[index].text) }
            }
            Fate::Refused(index) => {
                let asked = &rule.spec.fields[index];
                let found = asked.found(&mut fields);
                Step::Refused { field: asked.field.clone(), found, wanted: asked.values.clone() }
            }
            Fate::Hit if rule.resolves => Step::Resolves { key: rule.named_pairs(line, &locs, &mut fields) },
            Fate::Hit => {
                let key = rule.key(line, &locs, &mut fields, Origin { file, host: &self.host });
                Step::Hit {
                    captures: every_capture(&rule.spec, line, &mut fields),
                    key: key.into_iter().map(str::into_string).collect(),
                    stamp: stamp::stamp(line, read, &self.zone(source)),
                }
            }
        }
    }
}

/// Which of a rule's texts this folded line holds.
fn found_by(rule: &Rule, folded: &[u8]) -> Option<String> {
    let mut set = rule.literals()?.iter();
    let literal = set.find(|l| memchr::memmem::find(folded, &l.bytes).is_some())?;
    readable(&vec![literal.clone()], &rule.spec.pattern.expanded).pop()
}

/// Folded literals as the operator wrote them, each with the plain text around it; where the pattern spells one
/// otherwise, as it is. A line that lacks a part of a text lacks all of it.
pub(super) fn readable(set: &Set, pattern: &str) -> Vec<String> {
    let runs = plain_runs(pattern);
    let mut shown: Vec<String> = Vec::new();
    for Literal { bytes: folded, .. } in set {
        debug_assert!(folded.len() >= SHORTEST, "shorter ones are not looked for");
        let alike = |w: &[u8]| w.iter().zip(folded).all(|(a, b)| a | 0x20 == *b);
        let run = runs.iter().find(|run| run.windows(folded.len()).any(alike));
        let text = run.cloned().unwrap_or_else(|| unfolded(folded, pattern));
        // the other spellings of one letter, such as the long s, would only puzzle
        if let Ok(text) = String::from_utf8(text)
            && !shown.contains(&text)
        {
            shown.push(text);
        }
    }
    shown
}

/// Letters stay small; of the rest, what the pattern holds behind a backslash is what was meant.
fn unfolded(folded: &[u8], pattern: &str) -> Vec<u8> {
    let meant = |b: u8| {
        let other = b & !0x20;
        let written = [b'\\', other];
        let is = !b.is_ascii_alphanumeric() && pattern.as_bytes().windows(2).any(|w| w == written);
        if is { other } else { b }
    };
    folded.iter().map(|b| meant(*b)).collect()
}

/// The stretches of a pattern that stand for themselves, without their backslashes.
fn plain_runs(pattern: &str) -> Vec<Vec<u8>> {
    let mut runs = vec![Vec::new()];
    let mut bytes = pattern.bytes().peekable();
    while let Some(b) = bytes.next() {
        let own = match b {
            b'\\' => bytes.next().filter(u8::is_ascii_punctuation),
            b'(' if bytes.peek() == Some(&b'?') => {
                // flags or a name, up to the end of the group's head
                _ = bytes.find(|b| matches!(b, b':' | b'>' | b')'));
                None
            }
            b'.' | b'^' | b'$' | b'*' | b'+' | b'?' | b'(' | b')' | b'[' | b']' | b'{' | b'}' | b'|' => None,
            plain => Some(plain),
        };
        // what is repeated or optional is no part of the text before it
        let repeated = matches!(bytes.peek(), Some(b'*' | b'?' | b'{'));
        match (own.filter(|_| !repeated), runs.last_mut()) {
            (Some(b), Some(run)) => run.push(b),
            _ => runs.push(Vec::new()),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(folded: &str, pattern: &str) -> String {
        readable(&vec![Literal { cut: None, bytes: folded.as_bytes().into() }], pattern).join("|")
    }

    #[test]
    fn a_text_is_shown_as_it_is_written_and_whole() {
        assert_eq!(shown("pace left on dev", "No space left on device"), "No space left on device");
        assert_eq!(shown("systemd{1}: ", r"^(?:\S+ ){0,4}systemd\[1\]: (?<unit>\S+)"), "systemd[1]: ");
        assert_eq!(shown("}: failed ", r"sshd\[\d+\]: Failed \S+ for"), "]: Failed ");
        assert_eq!(shown("soft lockup", "(?:BUG: soft lockup|hard LOCKUP)"), "BUG: soft lockup");
        assert_eq!(shown("sudo{", r"sudo(?:\[\d+\])?: "), "sudo[", "put together from two stretches");
        assert_eq!(shown("colo", "colou?r"), "colo", "an optional letter is no part of it");
        assert_eq!(shown("strasse", "(?i)stra(?:ss|ß)e"), "strasse", "what stands nowhere is shown as it is");
    }
}
