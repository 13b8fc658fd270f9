//! Blocks in, hits out.
//!
//! The filter walks the block and points at places; a place gives a line, and each rule that owns a literal there
//! looks at that line once, with its own regex. What a place's line is, `pass` finds in the bytes, or `records` in the
//! block's own table. Lines that nothing points at are never looked at, nor even counted.
//! The surprise: there is no loop over lines anywhere in here.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use jiff::tz::TimeZone;

use super::around::Asked;
use super::engine::Engine;
use super::pass::{Desk, Lines, Out, Scratch};
use super::records::Records;
use super::rule::Rule;
use super::spec::{RuleSpec, SourceClock};
use super::tally::{Cost, Tally};
use crate::hit::{Hit, Hits, RuleNo};
use crate::line::{Block, SourceNo};

/// Files whose set of rules is remembered; beyond it all are forgotten and found again. Twice what one agent watches.
const FILES: usize = 40_000;

/// Compiled sets kept; a host has a handful. Beyond it all are dropped and compiled again as they are needed.
const ENGINES: usize = 64;

/// All rules of a loaded file, ready to search blocks.
///
/// One thread scans with one `RuleSet`; a clone shares the compiled rules and costs little.
#[derive(Clone, Debug)]
pub struct RuleSet {
    pub(super) rules: Arc<[Rule]>,
    pub(super) host: Arc<str>,
    sources: HashMap<SourceNo, Source>,
    without_literal: Arc<[RuleNo]>,
    resolves_without_literal: Arc<[RuleNo]>,
    engines: Vec<Engine>,
    /// Sorted rule indices → index in `engines`.
    sets: HashMap<Box<[u32]>, usize>,
    files: HashMap<(SourceNo, u64), usize>,
    scratch: Scratch,
}

#[derive(Clone, Debug)]
struct Source {
    tz: TimeZone,
    rules: Vec<u32>,
    /// Some of its rules read some of its files only.
    split: bool,
    /// Its engine, where it is not split.
    engine: Option<usize>,
}

impl RuleSet {
    /// Makes ready to scan for `rules`; `clocks` has each source once, `host` is this host's name.
    ///
    /// Sets of rules are compiled when the first block that needs one comes, and kept.
    pub fn new(mut rules: Vec<RuleSpec>, clocks: Vec<SourceClock>, host: Arc<str>) -> RuleSet {
        rules.sort_by_key(|r| r.no);
        let rules: Arc<[Rule]> = rules.into_iter().flat_map(Rule::halves).collect();
        let mut sources: HashMap<SourceNo, Source> = clocks
            .into_iter()
            .map(|c| (c.no, Source { tz: c.tz, rules: Vec::new(), split: false, engine: None }))
            .collect();
        for (i, rule) in rules.iter().enumerate() {
            for no in &rule.spec.sources {
                if let Some(source) = sources.get_mut(no)
                    && source.rules.last() != Some(&(i as u32))
                {
                    source.rules.push(i as u32);
                    source.split |= !rule.spec.only_files.is_empty();
                }
            }
        }
        let without = |resolves| {
            let wide = rules.iter().filter(move |r| r.resolves == resolves && r.choices.is_empty());
            wide.map(|r| r.spec.no).collect()
        };
        let (without_literal, resolves_without_literal) = (without(false), without(true));
        let mut scratch = Scratch::new(&rules);
        for rule in rules.iter() {
            rule.spec.sources.iter().for_each(|no| scratch.around.asks(*no, rule.spec.context));
        }
        RuleSet {
            rules,
            host,
            sources,
            without_literal,
            resolves_without_literal,
            engines: Vec::new(),
            sets: HashMap::new(),
            files: HashMap::new(),
            scratch,
        }
    }

    /// Under which name it is remembered that this hit was found before its line had a newline.
    pub fn early_name(&self, hit: &Hit) -> Arc<str> {
        let (no, resolves) = (hit.rule, hit.resolves.is_some());
        let found = self.rules.binary_search_by_key(&(no, resolves), |r| (r.spec.no, r.resolves));
        found.map_or_else(|_| Arc::from(""), |i| Arc::clone(&self.rules[i].early))
    }

    /// How many rules it has.
    pub fn len(&self) -> usize {
        self.rules.iter().filter(|r| !r.resolves).count()
    }

    /// It has none.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Rules in which no text of four bytes or more must occur: they are searched the slow way.
    pub fn without_literal(&self) -> &[RuleNo] {
        &self.without_literal
    }

    /// The same of their `resolve`.
    pub fn resolves_without_literal(&self) -> &[RuleNo] {
        &self.resolves_without_literal
    }

    /// From now on counts what each rule costs.
    pub fn count_costs(&mut self) {
        self.scratch.tally = Tally::on(self.rules.iter().map(|r| r.spec.no));
    }

    /// What each rule has cost since [`RuleSet::count_costs`], its `resolve` included, in the order of their numbers;
    /// empty without it.
    pub fn costs(&self) -> Vec<Cost> {
        self.scratch.tally.costs()
    }

    /// The zone of a source's stamps that name none.
    pub(super) fn zone(&self, source: Option<SourceNo>) -> TimeZone {
        source.and_then(|no| self.sources.get(&no)).map_or(TimeZone::UTC, |s| s.tz.clone())
    }

    /// Appends the hits of a block to `out`: in the order of its lines, and within a line in that of the rules. All are
    /// in full.
    pub fn scan(&mut self, block: &Block<'_>, out: &mut Vec<Hit>) {
        let mut hits = Hits::default();
        self.pass(block, Out::Hits(&mut hits));
        out.append(&mut hits.into_full());
    }

    /// The same with the lines around each, of files whose blocks come one after another.
    pub fn scan_around(&mut self, block: &Block<'_>, out: &mut Hits) {
        self.pass(block, Out::Around(out));
    }

    /// The same of lines that were scanned before: it costs the rules nothing where their costs are counted.
    pub fn scan_again(&mut self, block: &Block<'_>, out: &mut Hits) {
        let tally = std::mem::take(&mut self.scratch.tally);
        self.scan_around(block, out);
        self.scratch.tally = tally;
    }

    /// The most lines around a hit that rules of this source ask for.
    pub fn context(&self, source: SourceNo) -> Asked {
        self.scratch.around.most(source)
    }

    /// The last lines of a block that a hit behind it may ask for.
    pub fn last_of(&self, block: &Block<'_>) -> Vec<Box<str>> {
        self.scratch.around.last_of(block)
    }

    /// A block of a file went by unscanned, since nothing in it hits; these are its last lines.
    pub fn passed(&mut self, source: SourceNo, file_no: u64, lines: Vec<Box<str>>) {
        self.scratch.around.passed((source, file_no), lines);
    }

    /// The same with the hits of rules that allow it folded: what the agent does.
    pub fn scan_folded(&mut self, block: &Block<'_>, out: &mut Hits) {
        self.pass(block, Out::Folded(out));
    }

    /// Tells which rules accept which lines of a block, in the order of [`RuleSet::scan`], and makes nothing of them:
    /// the rule, and where in the block the line lies without its line end.
    pub fn find(&mut self, block: &Block<'_>, mut found: impl FnMut(RuleNo, Range<usize>)) {
        self.pass(block, Out::Found(&mut found));
    }

    fn pass<'a>(&'a mut self, block: &'a Block<'a>, mut out: Out<'a>) {
        let Some(engine) = self.engine(block) else { return };
        if let Out::Around(hits) | Out::Folded(hits) = &mut out {
            self.scratch.around.begin(block, hits);
        }
        if self.engines[engine].may_learn(block.bytes.len()) {
            let set = self.sets.iter().find(|(_, at)| **at == engine).map(|(set, _)| set);
            self.engines[engine].learn(&self.rules, set.map_or(&[], |s| s), block.bytes);
        }
        let Some(source) = self.sources.get(&block.source) else { return };
        let engine = &mut self.engines[engine];
        let desk = Desk::new(&self.rules, &self.host, &source.tz, &mut self.scratch, block, out);
        if block.records.is_empty() {
            Lines::scan(desk, engine);
        } else {
            Records::scan(desk, engine);
        }
    }

    /// The index of the engine for a block's file; `None` where no rule reads it.
    fn engine(&mut self, block: &Block<'_>) -> Option<usize> {
        let source = self.sources.get(&block.source)?;
        if source.rules.is_empty() {
            return None;
        }
        let known = if source.split {
            self.files.get(&(block.source, block.file_no)).copied()
        } else {
            source.engine
        };
        let engine = known.unwrap_or_else(|| self.build(block));
        (engine != usize::MAX).then_some(engine)
    }

    /// Finds or compiles the engine for a block's file; `usize::MAX` stands for none.
    #[cold]
    fn build(&mut self, block: &Block<'_>) -> usize {
        let Some(source) = self.sources.get(&block.source) else { return usize::MAX };
        let reads = |r: &&u32| self.rules[**r as usize].reads(block.file);
        let split = source.split;
        let set: Box<[u32]> = source.rules.iter().filter(reads).copied().collect();
        let engine = if set.is_empty() {
            usize::MAX
        } else if let Some(known) = self.sets.get(&set) {
            *known
        } else {
            if self.engines.len() >= ENGINES {
                self.engines.clear();
                self.sets.clear();
                self.files.clear();
                self.sources.values_mut().for_each(|s| s.engine = None);
            }
            self.engines.push(Engine::new(&self.rules, &set, block.bytes));
            self.sets.insert(set, self.engines.len() - 1);
            self.engines.len() - 1
        };
        if split {
            if self.files.len() >= FILES {
                self.files.clear();
            }
            self.files.insert((block.source, block.file_no), engine);
        } else if let Some(source) = self.sources.get_mut(&block.source) {
            source.engine = Some(engine);
        }
        engine
    }
}
