//! What each rule cost in a backtest, the dearest first: only where `--costs` asks for it.
//!
//! Candidates and hits are the same each time; how long a look takes is not, and so this is the one part of a backtest
//! that two runs say differently. The walk that finds the candidates of all rules at once belongs to none and is not in
//! it: the shares are of the time in which rules were asked about candidates, and add up to all of that.

use std::io::{self, Write};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::rules::RuleSet;

use super::brief::shown;
use super::tally::Tally;
use super::tally_text::cut;

/// Columns of a rule's name.
const NAME: usize = 36;

/// What one rule has cost.
#[derive(Debug)]
struct Cost {
    rule: usize,
    name: Arc<str>,
    candidates: u64,
    hits: u64,
    nanos: u64,
}

/// What all of them have, the dearest first.
#[derive(Debug)]
pub(super) struct Costs {
    all: Vec<Cost>,
    nanos: u64,
}

impl Costs {
    /// What `sets` have counted for the rules of these names.
    pub(super) fn new(sets: &[RuleSet], names: &[Arc<str>], tally: &Tally) -> Costs {
        let one = |(rule, name): (usize, &Arc<str>)| Cost {
            rule,
            name: name.clone(),
            candidates: 0,
            hits: tally.rules[rule].hits,
            nanos: 0,
        };
        let mut all: Vec<Cost> = names.iter().enumerate().map(one).collect();
        for of in sets.iter().flat_map(RuleSet::costs) {
            if let Some(cost) = all.get_mut(of.rule.0 as usize) {
                cost.candidates += of.candidates;
                cost.nanos += of.nanos;
            }
        }
        all.sort_by_key(|c| (std::cmp::Reverse(c.nanos), c.rule));
        let nanos = all.iter().map(|c| c.nanos).sum();
        Costs { all, nanos }
    }

    /// How much of the time, between 0 and 1.
    fn share(&self, of: &Cost) -> f64 {
        of.nanos as f64 / self.nanos.max(1) as f64
    }

    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(
            out,
            "\ncosts: how often a line was looked at for a rule, and the rule's share of the time"
        )?;
        writeln!(out, "   {:<NAME$} {:>12} {:>12} {:>9}", "rule", "candidates", "hits", "time")?;
        for cost in &self.all {
            let (name, share) = (cut(&shown(&cost.name), NAME), self.share(cost) * 100.0);
            writeln!(out, "   {name:<NAME$} {:>12} {:>12} {share:>7.1} %", cost.candidates, cost.hits)?;
        }
        Ok(())
    }

    /// The same for scripts: by the rule's name.
    pub(super) fn to_json(&self) -> Value {
        let one = |c: &Cost| {
            let doc = json!({ "candidates": c.candidates, "hits": c.hits, "share": self.share(c) });
            (c.name.to_string(), doc)
        };
        self.all.iter().map(one).collect::<serde_json::Map<String, Value>>().into()
    }
}
