//! Top values: `top = ["user"]` says which values brought the most hits of an incident, and how many.
//!
//! Space-saving: a bounded list in which a new value takes the place, and the count, of the rarest. So a value that
//! brought more than a 64th of all hits is always in it, its count is never too low, and what it may be too high by is
//! known. Values are cleaned when they come into the list and found again by a keyed hash.

use std::collections::VecDeque;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::evidence::cut;
use super::memory::PIECE;
use super::window::Firing;
use super::wording::list_line;
use crate::time::Wall;

/// Values of one name that are counted.
const COUNTED: usize = 64;

/// Values that a message names.
const NAMED: usize = 5;

/// Of a key that is still counted towards a threshold, the values of so many hits are kept.
const KEPT: usize = 64;

/// A value in a message is at most this long, in bytes.
const VALUE: usize = 60;

/// One value of one hit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct One {
    pub(super) hash: u64,
    /// Clean.
    pub(super) text: String,
}

/// The values of the newest hits of a key that has not fired: at most [`KEPT`] hits.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Waiting(VecDeque<(Wall, Vec<One>)>);

impl Waiting {
    /// What it holds beside itself, in bytes.
    pub(super) fn heap(&self) -> usize {
        let hit = |(_, values): &(Wall, Vec<One>)| {
            values.iter().map(|one| size_of::<One>() + PIECE + one.text.len()).sum::<usize>() + PIECE
        };
        self.0.capacity() * size_of::<(Wall, Vec<One>)>() + self.0.iter().map(hit).sum::<usize>()
    }

    /// Nobody asks.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One more hit: a value a name.
    pub(super) fn push(&mut self, at: Wall, values: Vec<One>) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back((at, values));
    }

    /// What they come to for an incident that fired on these hits.
    pub(super) fn fired(self, firing: Firing) -> Top {
        let mut top = Top::default();
        let in_time = self.0.into_iter().filter(|(at, _)| (firing.first..=firing.last).contains(at));
        let values: Vec<Vec<One>> = in_time.map(|(_, values)| values).collect();
        let newest = values.len().saturating_sub(usize::try_from(firing.hits).unwrap_or(usize::MAX));
        for hit in &values[newest..] {
            top.add(hit.len(), |n| hit[n].hash, |n| hit[n].text.clone());
        }
        top
    }
}

/// The top values of an incident, a list a name.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Top(Vec<List>);

#[derive(Debug, Default, Serialize, Deserialize)]
struct List {
    values: Vec<Counted>,
    /// A value has had to go.
    more: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Counted {
    hash: u64,
    text: String,
    hits: u64,
    /// It may be so many too high.
    over: u64,
}

impl Top {
    /// What it holds beside itself, in bytes.
    pub(super) fn heap(&self) -> usize {
        let list =
            |l: &List| l.values.iter().map(|v| size_of::<Counted>() + PIECE + v.text.len()).sum::<usize>();
        self.0.iter().map(|l| size_of::<List>() + list(l)).sum()
    }

    /// Nobody asks.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One more hit, with so many values; `hash` and `text` give the nth, the text only where the value is new.
    pub(super) fn add(&mut self, names: usize, hash: impl Fn(usize) -> u64, text: impl Fn(usize) -> String) {
        self.0.resize_with(names, List::default);
        for (n, list) in self.0.iter_mut().enumerate() {
            list.add(hash(n), || text(n));
        }
    }

    /// Every count in it.
    pub(super) fn counts(&self) -> impl Iterator<Item = u64> {
        self.0.iter().flat_map(|l| l.values.iter().map(|v| v.hits))
    }

    /// A line a name, each behind a line end: `top user: root 212, admin 31 and 5 more`.
    pub(super) fn text<'a>(&self, names: impl Iterator<Item = &'a str>) -> String {
        let mut out = String::new();
        for (name, list) in names.zip(&self.0) {
            if let Some(line) = list.text() {
                // writing to a `String` cannot fail
                _ = write!(out, "\ntop {name}: {line}");
            }
        }
        out
    }
}

impl Counted {
    fn least(&self) -> u64 {
        self.hits.saturating_sub(self.over)
    }
}

impl List {
    fn add(&mut self, hash: u64, text: impl FnOnce() -> String) {
        if let Some(known) = self.values.iter_mut().find(|v| v.hash == hash) {
            known.hits += 1;
            return;
        }
        let mut over = 0;
        if self.values.len() >= COUNTED {
            let rarest = (0..self.values.len()).min_by_key(|n| self.values[*n].hits);
            over = rarest.map_or(0, |n| self.values.swap_remove(n).hits);
            self.more = true;
        }
        self.values.push(Counted { hash, text: text(), hits: over + 1, over });
    }

    fn text(&self) -> Option<String> {
        let mut by_hits: Vec<&Counted> = self.values.iter().collect();
        by_hits.sort_by(|a, b| b.least().cmp(&a.least()).then_with(|| a.text.cmp(&b.text)));
        let named = by_hits.iter().take(NAMED).map(|v| {
            let at_most = if v.over > 0 { format!(" to {}", v.hits) } else { String::new() };
            format!("{} {}{at_most}", cut(&list_line(&v.text), VALUE), v.least())
        });
        let mut out = named.collect::<Vec<_>>().join(", ");
        match by_hits.len().saturating_sub(NAMED) {
            0 => {}
            _ if self.more => out.push_str(" and many more"),
            more => _ = write!(out, " and {more} more"),
        }
        (!out.is_empty()).then_some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn top(values: &[u64]) -> Top {
        let mut top = Top::default();
        for v in values {
            top.add(1, |_| *v, |_| format!("v{v}"));
        }
        top
    }

    fn said(values: &[u64]) -> String {
        top(values).text(["user"].into_iter())
    }

    #[test]
    fn the_most_frequent_come_first_and_the_rest_is_counted() {
        assert_eq!(said(&[3, 1, 1, 2, 1, 2]), "\ntop user: v1 3, v2 2, v3 1");
        assert_eq!(said(&[1, 2, 3, 4, 5, 6, 7]), "\ntop user: v1 1, v2 1, v3 1, v4 1, v5 1 and 2 more");
        assert_eq!(said(&[]), "");
    }

    #[test]
    fn what_the_list_cannot_know_exactly_is_said_as_a_range() {
        let many: Vec<u64> = (0..1000).chain(std::iter::repeat_n(5000, 40)).collect();
        let said = said(&many);
        assert!(said.starts_with("\ntop user: v5000 40 to 5") && said.ends_with(" and many more"), "{said}");
    }

    proptest! {
        /// The list stays bounded; what it says of a value is never too much at the low end nor too little at the high.
        #[test]
        fn counts_are_between_their_bounds(values in prop::collection::vec(0u64..150, 0..1500)) {
            let top = top(&values);
            for list in &top.0 {
                prop_assert!(list.values.len() <= COUNTED);
                prop_assert_eq!(list.values.iter().map(|v| v.hits).sum::<u64>(), values.len() as u64);
                for v in &list.values {
                    let truth = values.iter().filter(|x| **x == v.hash).count() as u64;
                    prop_assert!(v.hits - v.over <= truth && truth <= v.hits);
                }
                let often = |x: &u64| values.iter().filter(|y| *y == x).count() > values.len() / COUNTED;
                for x in values.iter().filter(|x| often(x)) {
                    prop_assert!(list.values.iter().any(|v| v.hash == *x), "a frequent value is missing");
                }
            }
        }
    }
}
