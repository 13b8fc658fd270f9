//! Finds the literals of all rules in a block at once.
//!
//! Four bytes are loaded every `stride` bytes, folded, hashed, and looked up in a bitmap of 4 KiB that stays in the
//! first cache; nearly every place ends there. A literal of `stride + 3` bytes or more has `stride` overlapping
//! 4-grams, so whatever the phase, one of them is met. The walk knows nothing of lines: a newline folds into a `*`,
//! and what is found across two lines is refused later by the rule's own regex.

use std::fmt;

use super::literal::{SHORTEST, STRIDES, rarest};

/// Bits of the hash, and of the bitmap's index.
const BITS: u32 = 15;

/// Multiplier of the hash: the odd number next to 2^32 over the golden ratio.
const SPREAD: u32 = 0x9E37_79B1;

/// Folds four bytes at once.
const FOLD4: u32 = 0x2020_2020;

/// Folds eight bytes at once.
const FOLD8: u64 = 0x2020_2020_2020_2020;

/// Buckets of the table behind the bitmap.
const BUCKETS: usize = 1 << 12;

/// How many places the walk looks at between two branches.
const UNROLL: usize = 8;

/// Finds literals. Built once for a set of rules.
#[derive(Clone)]
pub(super) struct Filter {
    stride: usize,
    bitmap: Box<[u64; 1 << (BITS - 6)]>,
    /// `starts[b]..starts[b + 1]` are the entries of a bucket.
    starts: Box<[u32]>,
    entries: Box<[Entry]>,
    walk: Walk,
}

/// Looks for the next place from `at` on, in steps of the stride, whose bit is set.
type Walk = fn(&[u64; 1 << (BITS - 6)], &[u8], usize) -> Option<usize>;

/// One 4-gram of one literal.
#[derive(Clone, Copy, Debug)]
struct Entry {
    gram: u32,
    /// How many bytes before the gram `value` begins.
    before: u8,
    /// How many of its bytes count.
    len: u8,
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
    pub(super) fn new<'a>(stride: usize, literals: impl Iterator<Item = (u32, &'a [u8])>) -> Filter {
        let mut all: Vec<(usize, Entry)> = Vec::new();
        let mut bitmap = Box::new([0u64; 1 << (BITS - 6)]);
        for (owner, literal) in literals {
            debug_assert!(literal.len() >= stride + SHORTEST - 1, "the literal is met at every phase");
            let (first, _) = rarest(literal, stride);
            for at in first..first + stride {
                let Some(bytes) = literal.get(at..).and_then(|l| l.first_chunk::<4>()) else { break };
                let gram = u32::from_le_bytes(*bytes);
                let hash = hash(gram);
                bitmap[hash >> 6] |= 1 << (hash & 63);
                all.push((hash >> (BITS - 12), entry(owner, literal, at, gram)));
            }
        }
        all.sort_by_key(|(bucket, e)| (*bucket, e.gram, e.owner));
        let mut starts = vec![0u32; BUCKETS + 1];
        for (bucket, _) in &all {
            starts[bucket + 1] += 1;
        }
        for b in 0..BUCKETS {
            starts[b + 1] += starts[b];
        }
        Filter {
            stride,
            bitmap,
            starts: starts.into(),
            entries: all.into_iter().map(|(_, e)| e).collect(),
            walk: WALKS[stride.clamp(1, STRIDES) - 1],
        }
    }

    /// Calls `found(place, owner)` for each literal in `bytes`; `place` lies inside the literal. Places ascend; a
    /// literal may be told more than once, and one whose first eight bytes only are there may be told too.
    #[inline]
    pub(super) fn each(&self, bytes: &[u8], mut found: impl FnMut(usize, u32)) {
        if self.entries.is_empty() {
            return;
        }
        let mut at = 0;
        while let Some(place) = (self.walk)(&self.bitmap, bytes, at) {
            at = place + self.stride;
            let Some(four) = bytes.get(place..).and_then(|b| b.first_chunk::<4>()) else { break };
            let gram = u32::from_le_bytes(*four) | FOLD4;
            let bucket = hash(gram) >> (BITS - 12);
            let (from, to) = (self.starts[bucket] as usize, self.starts[bucket + 1] as usize);
            for e in &self.entries[from..to] {
                if e.gram == gram && e.stands_at(bytes, place) {
                    found(place, e.owner);
                }
            }
        }
    }
}

fn hash(folded: u32) -> usize {
    (folded.wrapping_mul(SPREAD) >> (32 - BITS)) as usize
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

/// One walk a stride, so that its steps are constants.
const WALKS: [Walk; STRIDES] =
    [walk::<1>, walk::<2>, walk::<3>, walk::<4>, walk::<5>, walk::<6>, walk::<7>, walk::<8>, walk::<9>];

fn walk<const STRIDE: usize>(bitmap: &[u64; 1 << (BITS - 6)], bytes: &[u8], mut at: usize) -> Option<usize> {
    let bit = |four: &[u8]| {
        let gram = u32::from_le_bytes([four[0], four[1], four[2], four[3]]) | FOLD4;
        let hash = hash(gram);
        bitmap[hash >> 6] >> (hash & 63) & 1
    };
    while let Some(window) = bytes.get(at..at + (UNROLL - 1) * STRIDE + 4) {
        let mut set = 0;
        for i in 0..UNROLL {
            set |= bit(&window[i * STRIDE..i * STRIDE + 4]) << i;
        }
        if set != 0 {
            return Some(at + set.trailing_zeros() as usize * STRIDE);
        }
        at += UNROLL * STRIDE;
    }
    while let Some(four) = bytes.get(at..at + 4) {
        if bit(four) != 0 {
            return Some(at);
        }
        at += STRIDE;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owners(stride: usize, literals: &[&str], text: &str) -> Vec<u32> {
        let folded: Vec<Vec<u8>> = literals.iter().map(|l| l.bytes().map(|b| b | 0x20).collect()).collect();
        let filter = Filter::new(stride, folded.iter().enumerate().map(|(i, l)| (i as u32, l.as_slice())));
        let mut seen = Vec::new();
        filter.each(text.as_bytes(), |place, owner| {
            assert!(place + 4 <= text.len());
            seen.push(owner);
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
