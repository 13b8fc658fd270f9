//! The search for one set of rules: which lines of a block which rules must look at.
//!
//! Different files need different rules, and a set is compiled once for all the files that need it, when its first block
//! comes: that block is the sample which says what is rare in these logs. The stride of the filter is chosen for the
//! set: a long stride walks fast, a short one lets each rule be found by its rarest literal.

use std::sync::Arc;

use super::confirm::{Confirm, Pool};
use super::filter::Filter;
use super::literal::{Costs, STRIDES, Set, costs};
use super::rule::Rule;
use super::sample::{ENOUGH, Sample};
use super::wide::Wide;

/// Nanoseconds of one step of the walk, as measured on one core; only its ratio to the literals' costs counts.
const STEP_NS: f64 = 0.45;

/// What a full bitmap would cost a step: a look into the table at every place.
const FULL_NS: f64 = 4.0;

/// The search for one set of rules.
#[derive(Clone, Debug)]
pub(super) struct Engine {
    pub(super) filter: Filter,
    /// What the filter's numbers stand for.
    pub(super) owners: Vec<Owner>,
    pub(super) pool: Pool,
    pub(super) wide: Option<Arc<Wide>>,
    /// Bytes of the sample.
    sampled: usize,
    /// Of each rule that has a literal, by its index: which of its choices is looked for.
    used: Vec<(u32, usize)>,
}

/// What a literal belongs to.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    /// Its rule.
    pub(super) rule: u32,
    pub(super) confirm: Confirm,
}

impl Engine {
    /// For these rules, by their index in `rules`, to search logs such as `sample`.
    pub(super) fn new(rules: &[Rule], set: &[u32], sample: &[u8]) -> Engine {
        let wide: Vec<_> = set
            .iter()
            .filter(|&&r| rules[r as usize].choices.is_empty())
            .filter_map(|&r| {
                let pattern = &rules[r as usize].spec.pattern;
                Some((r, pattern.hir()?, &*pattern.expanded))
            })
            .collect();
        let wide = (!wide.is_empty()).then(|| Arc::new(Wide::new(&wide)));
        Engine::with_wide(rules, set, sample, wide)
    }

    fn with_wide(rules: &[Rule], set: &[u32], sample: &[u8], wide: Option<Arc<Wide>>) -> Engine {
        let sampled = sample.len();
        let sample = Sample::of(sample);
        let priced: Vec<(u32, Vec<Costs>)> = set
            .iter()
            .filter(|&&r| !rules[r as usize].choices.is_empty())
            .map(|&r| (r, rules[r as usize].choices.iter().map(|set| costs(set, &sample)).collect()))
            .collect();
        let stride = stride(rules, &priced);
        let mut owners: Vec<Owner> = Vec::new();
        let mut used = Vec::new();
        let mut literals: Vec<(u32, &[u8])> = Vec::new();
        for (rule, costs) in &priced {
            let Some(choice) = cheapest(costs, stride) else { continue };
            let set = &rules[*rule as usize].choices[choice];
            used.push((*rule, choice));
            let mut cut = None;
            for literal in set {
                // literals at the same place of the rule are confirmed by the same halves
                if cut != Some(literal.cut) {
                    cut = Some(literal.cut);
                    owners.push(Owner { rule: *rule, confirm: Confirm::new(literal.cut) });
                }
                literals.push((owners.len() as u32 - 1, &literal.bytes));
            }
        }
        let filter = Filter::new(stride, literals.iter().copied(), &sample);
        Engine { filter, owners, pool: Pool::default(), wide, sampled, used }
    }

    /// What this rule is looked for by.
    pub(super) fn used<'r>(&self, rules: &'r [Rule], rule: u32) -> Option<&'r Set> {
        let at = self.used.binary_search_by_key(&rule, |(r, _)| *r).ok()?;
        rules[rule as usize].choices.get(self.used[at].1)
    }

    /// The same search, chosen anew, where a block says more of the logs than the sample did.
    pub(super) fn learn(&mut self, rules: &[Rule], set: &[u32], block: &[u8]) {
        *self = Engine::with_wide(rules, set, block, self.wide.take());
    }

    /// [`Engine::learn`] should be called with a block of so many bytes.
    #[inline]
    pub(super) fn may_learn(&self, bytes: usize) -> bool {
        bytes >= ENOUGH && self.sampled < ENOUGH
    }
}

/// Which set of a rule's literals is the cheapest at this stride.
fn cheapest(costs: &[Costs], stride: usize) -> Option<usize> {
    let able = costs.iter().map(|c| c[stride - 1]).enumerate().filter(|(_, cost)| cost.is_finite());
    able.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(choice, _)| choice)
}

/// The stride at which these rules, which all have a literal, are found cheapest.
fn stride(rules: &[Rule], priced: &[(u32, Vec<Costs>)]) -> usize {
    let mut best = (f64::INFINITY, 1);
    for stride in 1..=STRIDES {
        let mut cost = STEP_NS / stride as f64;
        let mut grams = 0;
        for (rule, costs) in priced {
            cost += costs.iter().map(|c| c[stride - 1]).fold(f64::INFINITY, f64::min);
            let choice = cheapest(costs, stride);
            grams += choice.map_or(0, |n| rules[*rule as usize].choices[n].len() * stride);
        }
        cost += FULL_NS * (grams as f64 / 32768.0).min(1.0) / stride as f64;
        if cost < best.0 {
            best = (cost, stride);
        }
    }
    best.1
}
