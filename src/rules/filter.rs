//! Finds the literals of all rules in a block at once.
//!
//! A [`walk`] tells where in the block a 4-gram of some literal may stand; here a table says which literals those are,
//! and up to eight of their bytes are compared. A literal of `stride + 3` bytes or more has `stride` overlapping
//! 4-grams, so whatever the phase, one of them is met. Nothing here knows of lines: a newline folds into a `*`, and
//! what is found across two lines is refused later.

use std::fmt;

use super::literal::{Rarity, SHORTEST, STRIDES, rarest};
use super::walk::{self, BITS, Bitmap, POSITIONS, WORDS, Walk, fold4, hash};

/// Folds eight bytes at once.
const FOLD8: u64 = 0x2020_2020_2020_2020;

/// Bits of a bucket's number in the table behind the bitmap.
const BUCKET_BITS: u32 = 12;

/// Finds literals. Built once for a set of rules.
#[derive(Clone)]
pub(super) struct Filter {
    stride: usize,
    bitmap: Box<Bitmap>,
    /// `starts[b]..starts[b + 1]` are the entries of a bucket.
    starts: Box<[u32]>,
    entries: Box<[Entry]>,
    walk: Walk,
}

/// A literal that stands in a block, or seems to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Where it begins; `None` where that would be before the block.
    pub(super) start: Option<usize>,
    /// A place inside it.
    pub(super) inside: usize,
    /// Its owner, as [`Filter::new`] was given it.
    pub(super) owner: u32,
}

/// One 4-gram of one literal.
#[derive(Clone, Copy, Debug)]
struct Entry {
    gram: u32,
    /// How many bytes before the gram `value` begins.
    before: u8,
    /// How many of its bytes count.
    len: u8,
    /// How many bytes before the gram the literal begins.
    from: u8,
    /// The owner, as [`Filter::new`] was given it.
    owner: u32,
    /// Up to eight folded bytes of the literal around the gram…
    value: u64,
    /// …and which of them count.
    mask: u64,
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filter")
            .field("stride", &self.stride)
            .field("entries", &self.entries.len())
            .finish_non_exhaustive()
    }
}

impl Filter {
    /// A filter that looks every `stride` bytes for literals, each with its owner's number.
    ///
    /// Every literal has at least `stride + 3` bytes; `stride` is in `1..=STRIDES`.
    pub(super) fn new<'a>(
        stride: usize,
        literals: impl Iterator<Item = (u32, &'a [u8])>,
        rarity: &impl Rarity,
    ) -> Filter {
        let mut all: Vec<(usize, Entry)> = Vec::new();
        let mut bitmap = Box::new([0u32; WORDS]);
        for (owner, literal) in literals {
            debug_assert!(literal.len() >= stride + SHORTEST - 1, "the literal is met at every phase");
            let first = rarest(literal, stride, rarity);
            for at in first..first + stride {
                let Some(bytes) = literal.get(at..).and_then(|l| l.first_chunk::<4>()) else { break };
                let gram = u32::from_le_bytes(*bytes);
                walk::set(&mut bitmap, gram);
                all.push((bucket(gram), entry(owner, literal, at, gram)));
            }
        }
        all.sort_by_key(|(bucket, e)| (*bucket, e.gram, e.owner));
        let mut starts = vec![0u32; (1 << BUCKET_BITS) + 1];
        for (bucket, _) in &all {
            starts[bucket + 1] += 1;
        }
        for b in 0..1 << BUCKET_BITS {
            starts[b + 1] += starts[b];
        }
        Filter {
            stride,
            bitmap,
            starts: starts.into(),
            entries: all.into_iter().map(|(_, e)| e).collect(),
            walk: walk::fastest(stride.clamp(1, STRIDES)),
        }
    }

    /// Calls `found` for each literal in `bytes`. What it is told to be inside ascends; a literal may be told more than
    /// once, and one of which only eight bytes are there may be told too.
    #[inline]
    pub(super) fn each(&self, bytes: &[u8], mut found: impl FnMut(Place)) {
        if self.entries.is_empty() {
            return;
        }
        let mut places = [0u32; POSITIONS];
        let mut at = 0;
        while let Some(next) = (self.walk)(&self.bitmap, bytes, at, &mut places) {
            for &place in &places[..next.found] {
                self.look(bytes, place as usize, &mut found);
            }
            at = next.at;
        }
    }

    /// What stands around a place whose bit is set.
    #[inline]
    fn look(&self, bytes: &[u8], place: usize, found: &mut impl FnMut(Place)) {
        let Some(four) = bytes.get(place..).and_then(|b| b.first_chunk::<4>()) else { return };
        let gram = fold4(*four);
        let bucket = bucket(gram);
        let (from, to) = (self.starts[bucket] as usize, self.starts[bucket + 1] as usize);
        for e in &self.entries[from..to] {
            if e.gram == gram && e.stands_at(bytes, place) {
                found(Place { start: place.checked_sub(usize::from(e.from)), inside: place, owner: e.owner });
            }
        }
    }
}

fn bucket(gram: u32) -> usize {
    hash(gram) >> (BITS - BUCKET_BITS)
}

fn entry(owner: u32, literal: &[u8], at: usize, gram: u32) -> Entry {
    // the eight bytes end with the gram where they can, so that what is compared is known to be in the block
    let from = (at + 4).saturating_sub(8).min(literal.len().saturating_sub(8));
    let from = from.min(at);
    let part = &literal[from..literal.len().min(from + 8)];
    let mut eight = [0u8; 8];
    let mut mask = [0u8; 8];
    eight[..part.len()].copy_from_slice(part);
    mask[..part.len()].fill(0xff);
    Entry {
        gram,
        before: (at - from) as u8,
        len: part.len() as u8,
        from: at as u8,
        owner,
        value: u64::from_le_bytes(eight),
        mask: u64::from_le_bytes(mask),
    }
}

impl Entry {
    fn stands_at(&self, bytes: &[u8], place: usize) -> bool {
        let Some(from) = place.checked_sub(usize::from(self.before)) else { return false };
        let eight = if let Some(eight) = bytes[from..].first_chunk::<8>() {
            u64::from_le_bytes(*eight)
        } else {
            // the literal ends the block
            let Some(part) = bytes.get(from..from + usize::from(self.len)) else { return false };
            let mut eight = [0u8; 8];
            eight[..part.len()].copy_from_slice(part);
            u64::from_le_bytes(eight)
        };
        (eight | FOLD8) & self.mask == self.value
    }
}

#[cfg(test)]
mod tests {
    use super::super::literal::Table;
    use super::*;

    fn owners(stride: usize, literals: &[&str], text: &str) -> Vec<u32> {
        let folded: Vec<Vec<u8>> = literals.iter().map(|l| l.bytes().map(|b| b | 0x20).collect()).collect();
        let filter =
            Filter::new(stride, folded.iter().enumerate().map(|(i, l)| (i as u32, l.as_slice())), &Table);
        let mut seen = Vec::new();
        filter.each(text.as_bytes(), |place| {
            assert!(place.inside + 4 <= text.len());
            seen.push(place.owner);
        });
        seen.dedup();
        seen
    }

    #[test]
    fn a_literal_is_found_at_every_place_of_a_block() {
        for stride in 1..=STRIDES {
            let literal = &"Segfault at "[..stride + 3];
            for before in 0..40 {
                for after in 0..12 {
                    let text = format!("{}{literal}{}", "x".repeat(before), "y".repeat(after));
                    assert_eq!(owners(stride, &[literal], &text), [0], "stride {stride}: {text}");
                }
            }
        }
    }

    #[test]
    fn what_only_looks_alike_is_not_found() {
        assert_eq!(owners(1, &["abcdefgh"], "abcdefgx xbcdefgh").len(), 0);
        assert_eq!(owners(2, &["panic", "oomki"], "a PANIC and an OomKiller"), [0, 1]);
    }

    proptest::proptest! {
        #[test]
        fn it_finds_what_a_plain_search_finds(
            stride in 1..=STRIDES,
            text in "[ab\\[{ \n]{0,60}",
            literals in proptest::collection::vec("[ab{ ]{12,16}", 1..4),
            at in 0..60usize,
        ) {
            let mut text = text;
            let at = at.min(text.len());
            text.insert_str(at, &literals[0]);
            let folded = |s: &str| s.bytes().map(|b| b | 0x20).collect::<Vec<u8>>();
            let refs: Vec<&str> = literals.iter().map(String::as_str).collect();
            let seen = owners(stride, &refs, &text);
            for (i, l) in literals.iter().enumerate() {
                if folded(&text).windows(l.len()).any(|w| w == folded(l)) {
                    assert!(seen.contains(&(i as u32)));
                }
            }
        }
    }
}
