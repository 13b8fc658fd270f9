//! In how many lines of a sample are the texts by which rules are found?
//!
//! The engine that would search such a log is made from the sample itself, so each rule is already looked for by the
//! rarest text that it has; one that is in every second line even so costs a look at every second line. `check` says
//! so before it is paid for.

use std::path::Path;

use super::engine::Engine;
use super::explain::readable;
use super::literal::Set;
use super::scanner::RuleSet;
use crate::hit::RuleNo;
use crate::line::SourceNo;

/// How common one rule's text is in a sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// The rule.
    pub rule: RuleNo,
    /// The texts, of which each line that matches has one; for people.
    pub texts: Vec<String>,
    /// Lines of the sample that have one.
    pub lines: usize,
}

impl RuleSet {
    /// How common the texts of each rule are in `sample`, which holds whole lines; of the rules that read this file of
    /// this source, or of all.
    pub fn shares(&self, of: Option<(SourceNo, &Path)>, sample: &[u8]) -> Vec<Share> {
        let reads = |rule: &u32| {
            let rule = &self.rules[*rule as usize];
            !rule.resolves
                && of.is_none_or(|(source, file)| {
                    rule.spec.sources.contains(&source) && rule.reads(&file.to_string_lossy())
                })
        };
        let set: Vec<u32> = (0..self.rules.len() as u32).filter(reads).collect();
        let engine = Engine::new(&self.rules, &set, sample);
        // of each rule: lines, and where the last of them begins
        let mut met: Vec<(usize, Option<usize>)> = vec![(0, None); self.rules.len()];
        engine.filter.each(sample, |place| {
            let line = memchr::memrchr(b'\n', &sample[..place.inside]).map_or(0, |n| n + 1);
            let (lines, last) = &mut met[engine.owners[place.owner as usize].rule as usize];
            if *last != Some(line) {
                (*lines, *last) = (*lines + 1, Some(line));
            }
        });
        let one = |rule: &u32| {
            let lines = met[*rule as usize].0;
            let spec = &self.rules[*rule as usize].spec;
            let used = engine.used(&self.rules, *rule);
            let texts = used.map(|set: &Set| readable(set, &spec.pattern.expanded)).unwrap_or_default();
            Share { rule: spec.no, texts, lines }
        };
        set.iter().filter(|rule| met[**rule as usize].0 > 0).map(one).collect()
    }
}
