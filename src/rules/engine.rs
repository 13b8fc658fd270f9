//! The search for one set of rules: which lines of a block which rules must look at.
//!
//! Different files need different rules, and a set is compiled once for all the files that need it. The stride of
//! the filter is chosen for the set: a long stride walks fast, a short one lets each rule be found by its rarest
//! literal.

use std::sync::Arc;

use super::filter::Filter;
use super::literal::STRIDES;
use super::rule::Rule;
use super::wide::Wide;

/// Nanoseconds of one step of the walk, as measured on one core; only its ratio to the literals' costs counts.
const STEP_NS: f64 = 0.7;

/// What a full bitmap would cost a step: a look into the table at every place.
const FULL_NS: f64 = 6.0;

/// The search for one set of rules.
#[derive(Clone, Debug)]
pub(super) struct Engine {
    pub(super) filter: Filter,
    pub(super) wide: Option<Arc<Wide>>,
}

impl Engine {
    /// For these rules, by their index in `rules`.
    pub(super) fn new(rules: &[Rule], set: &[u32]) -> Engine {
        let (wide, narrow): (Vec<u32>, Vec<u32>) =
            set.iter().partition(|&&r| rules[r as usize].literals[0].is_none());
        let stride = stride(rules, &narrow);
        let literals = narrow.iter().flat_map(|&r| {
            let of = rules[r as usize].literals[stride - 1].iter();
            of.flat_map(move |l| l.set.iter().map(move |l| (r, l.as_slice())))
        });
        let filter = Filter::new(stride, literals);
        let wide: Vec<_> = wide
            .into_iter()
            .filter_map(|r| {
                let pattern = &rules[r as usize].spec.pattern;
                Some((r, pattern.hir()?, &*pattern.expanded))
            })
            .collect();
        let wide = (!wide.is_empty()).then(|| Arc::new(Wide::new(&wide)));
        Engine { filter, wide }
    }
}

/// The stride at which these rules, which all have a literal, are found cheapest.
fn stride(rules: &[Rule], narrow: &[u32]) -> usize {
    let mut best = (f64::INFINITY, 1);
    for stride in 1..=STRIDES {
        let mut cost = STEP_NS / stride as f64;
        let mut grams = 0;
        for &r in narrow {
            match &rules[r as usize].literals[stride - 1] {
                Some(l) => {
                    cost += l.cost;
                    grams += l.set.len() * stride;
                }
                None => cost = f64::INFINITY,
            }
        }
        cost += FULL_NS * (grams as f64 / 32768.0).min(1.0) / stride as f64;
        if cost < best.0 {
            best = (cost, stride);
        }
    }
    best.1
}
