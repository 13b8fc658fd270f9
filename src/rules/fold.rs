//! Folding: of the hits of one rule and key in a block, the first and the last are made, the others are only counted.
//!
//! `pass` asks here, for each hit of a rule whose spec allows it, whether one like it was made already in this block.
//! What is like what is decided by the raw bytes that make the key, before anything is copied: two that the judge would
//! cut to the same value stay apart here and meet there, which costs a hit in full and changes nothing.
//! The surprise: the last hit is made when the block is over, from where its line still lies.

use std::collections::HashMap;
use std::ops::Range;

use super::fields::Fields;
use super::rule::{Groups, Rule};

/// Keys that are told apart at once; beyond it all are closed and begun anew. Below the least number of keys that must be
/// hit before the judge lets go of one (its bound of 10,000 a rule, less a sixteenth): so a key whose newest line is
/// still to come is never one that is let go.
const GROUPS: usize = 8_192;

/// The hits of one rule and key of this block, so far.
#[derive(Clone, Debug)]
pub(super) struct Group {
    /// Index of its rule.
    pub(super) rule: u32,
    /// The number of its first hit among those in full.
    pub(super) like: u32,
    /// The last of the others.
    pub(super) last: Option<Last>,
}

/// A hit that is not made yet.
#[derive(Clone, Debug)]
pub(super) struct Last {
    /// Its turn among the hits.
    pub(super) turn: usize,
    /// Where in the block its line lies, without its line end.
    pub(super) place: Range<usize>,
}

/// What a hit is like.
pub(super) enum Like<'a> {
    /// One that was made.
    Known(&'a mut Group),
    /// None yet: [`Folding::open`] is to be told of it once it is made.
    New,
}

/// The groups of a block. Kept from block to block for its memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Folding {
    groups: Vec<Group>,
    /// Of rules without a key, by rule index: the group, and in which round it was opened.
    alone: Vec<(u64, u32)>,
    /// The others, by rule and key.
    keyed: HashMap<Box<[u8]>, u32>,
    /// Grows when the groups are cleared.
    round: u64,
    /// The key of the hit in hand.
    key: Vec<u8>,
    text: String,
}

impl Folding {
    pub(super) fn new(rules: usize) -> Folding {
        Folding { alone: vec![(0, 0); rules], round: 1, ..Folding::default() }
    }

    /// What the hit of the rule with this index is like; `locs` holds its groups where its key asks for any.
    pub(super) fn find(
        &mut self,
        index: u32,
        rule: &Rule,
        line: &[u8],
        locs: &Groups,
        fields: &mut Fields<'_>,
    ) -> Like<'_> {
        let found = if rule.is_alone() {
            let (round, group) = self.alone[index as usize];
            (round == self.round).then_some(group)
        } else {
            self.key.clear();
            self.key.extend_from_slice(&index.to_le_bytes());
            rule.raw_key(line, locs, fields, &mut self.key, &mut self.text);
            self.keyed.get(&*self.key).copied()
        };
        match found.and_then(|n| self.groups.get_mut(n as usize)) {
            Some(group) => Like::Known(group),
            None => Like::New,
        }
    }

    /// The hit that [`Folding::find`] was last asked for was made, as this number among those in full.
    pub(super) fn open(&mut self, index: u32, rule: &Rule, like: u32) {
        let no = self.groups.len() as u32;
        self.groups.push(Group { rule: index, like, last: None });
        if rule.is_alone() {
            self.alone[index as usize] = (self.round, no);
        } else {
            self.keyed.insert(self.key.as_slice().into(), no);
        }
    }

    /// No more keys can be told apart.
    pub(super) fn is_full(&self) -> bool {
        self.groups.len() >= GROUPS
    }

    /// Takes one group out; the others are forgotten when none is left.
    pub(super) fn pop(&mut self) -> Option<Group> {
        let group = self.groups.pop();
        if group.is_none() {
            self.round += 1;
            self.keyed.clear();
        }
        group
    }
}
