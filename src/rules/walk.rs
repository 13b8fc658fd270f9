//! The walk through a block: where may a 4-gram of some literal stand?
//!
//! Four bytes are loaded every `stride` bytes, folded (`b | 0x20`, which ignores the case of ASCII for nothing), hashed,
//! and looked up in a bitmap of 4 KiB that stays in the first cache; nearly every place ends there. This is where a
//! quiet log's time goes, so it is written twice: here, and in `vector` for processors that look up eight places at
//! once. Both give the same places in the same order; a test and a fuzz target hold them to it.

use super::literal::STRIDES;

/// Bits of the hash, and of the bitmap's index.
pub(super) const BITS: u32 = 15;

/// Words of the bitmap.
pub(super) const WORDS: usize = 1 << (BITS - 5);

/// A bit for each hash, the lowest in the top bit of the first word: a shift brings any to the sign.
pub(super) type Bitmap = [u32; WORDS];

/// Multiplier of the hash: the odd number next to 2^32 over the golden ratio.
pub(super) const SPREAD: u32 = 0x9E37_79B1;

/// Folds four bytes at once.
pub(super) const FOLD4: u32 = 0x2020_2020;

/// How many positions one call of a walk looks at, at most, so how many places it may tell.
pub(super) const POSITIONS: usize = 1024;

/// How many positions are looked at between two branches.
const UNROLL: usize = 8;

/// Where a walk has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Next {
    /// How many places it has told.
    pub(super) found: usize,
    /// The next position.
    pub(super) at: usize,
}

/// Looks at up to [`POSITIONS`] positions from `at` on, in steps of the stride, and tells those whose bit is set;
/// `None` where no position is left.
pub(super) type Walk = fn(&Bitmap, &[u8], usize, &mut [u32; POSITIONS]) -> Option<Next>;

/// Four bytes, folded.
#[inline]
pub(super) fn fold4(bytes: [u8; 4]) -> u32 {
    u32::from_le_bytes(bytes) | FOLD4
}

/// The hash of four folded bytes.
#[inline]
pub(super) fn hash(folded: u32) -> usize {
    (folded.wrapping_mul(SPREAD) >> (32 - BITS)) as usize
}

/// Sets the bit of four folded bytes.
pub(super) fn set(bitmap: &mut Bitmap, folded: u32) {
    let hash = hash(folded);
    bitmap[hash >> 5] |= 1 << (31 - (hash & 31));
}

/// The fastest walk that this processor knows.
pub(super) fn fastest(stride: usize) -> Walk {
    super::vector::walk(stride).unwrap_or_else(|| plain(stride))
}

/// The walk that every processor knows.
pub(super) fn plain(stride: usize) -> Walk {
    // one a stride, so that its steps are constants
    const WALKS: [Walk; STRIDES] =
        [walk::<1>, walk::<2>, walk::<3>, walk::<4>, walk::<5>, walk::<6>, walk::<7>, walk::<8>, walk::<9>];
    WALKS[stride - 1]
}

fn walk<const STRIDE: usize>(
    bitmap: &Bitmap,
    bytes: &[u8],
    from: usize,
    places: &mut [u32; POSITIONS],
) -> Option<Next> {
    let bit = |four: &[u8]| {
        let hash = hash(fold4([four[0], four[1], four[2], four[3]]));
        bitmap[hash >> 5] << (hash & 31) >> 31
    };
    let mut at = from;
    let mut found = 0;
    let stop = from.saturating_add(POSITIONS * STRIDE);
    while at < stop
        && let Some(window) = bytes.get(at..at + (UNROLL - 1) * STRIDE + 4)
    {
        let mut set = 0;
        for i in 0..UNROLL {
            set |= bit(&window[i * STRIDE..i * STRIDE + 4]) << i;
        }
        while set != 0 {
            places[found] = (at + set.trailing_zeros() as usize * STRIDE) as u32;
            found += 1;
            set &= set - 1;
        }
        at += UNROLL * STRIDE;
    }
    Some(rest::<STRIDE>(bitmap, bytes, at, stop, places, found)).filter(|next| next.at > from)
}

/// The positions from `at` to `stop`, one by one.
pub(super) fn rest<const STRIDE: usize>(
    bitmap: &Bitmap,
    bytes: &[u8],
    mut at: usize,
    stop: usize,
    places: &mut [u32; POSITIONS],
    mut found: usize,
) -> Next {
    while at < stop
        && let Some(four) = bytes.get(at..).and_then(|b| b.first_chunk::<4>())
    {
        let hash = hash(fold4(*four));
        if bitmap[hash >> 5] << (hash & 31) >> 31 != 0 {
            places[found] = at as u32;
            found += 1;
        }
        at += STRIDE;
    }
    Next { found, at }
}

/// All places that a walk tells of a text.
fn told(walk: Walk, bitmap: &Bitmap, bytes: &[u8]) -> Vec<u32> {
    let (mut all, mut at, mut places) = (Vec::new(), 0, [0; POSITIONS]);
    while let Some(next) = walk(bitmap, bytes, at, &mut places) {
        assert!(next.at > at, "it moves on");
        all.extend_from_slice(&places[..next.found]);
        at = next.at;
    }
    all
}

/// Where these 4-grams may stand in a text that is looked at every `stride` bytes, `1..=9`: as the walk of every
/// processor says, and as the fastest of this one does. For who doubts that they say the same: the fuzz target.
pub fn both_walks(grams: &[[u8; 4]], stride: usize, bytes: &[u8]) -> [Vec<u32>; 2] {
    let mut bitmap = [0; WORDS];
    for gram in grams {
        set(&mut bitmap, fold4(*gram));
    }
    let stride = stride.clamp(1, STRIDES);
    [plain(stride), fastest(stride)].map(|walk| told(walk, &bitmap, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each of them should tell.
    fn plainly(bitmap: &Bitmap, bytes: &[u8], stride: usize) -> Vec<u32> {
        let is_set = |at: &usize| {
            bytes[*at..].first_chunk::<4>().is_some_and(|four| {
                let hash = hash(fold4(*four));
                bitmap[hash / 32] >> (31 - hash % 32) & 1 == 1
            })
        };
        (0..bytes.len()).step_by(stride).filter(is_set).map(|at| at as u32).collect()
    }

    proptest::proptest! {
        #[test]
        fn every_walk_tells_the_places_whose_bit_is_set(
            stride in 1..=STRIDES,
            grams in proptest::collection::vec("[a-c \\[]{4}", 0..40),
            text in proptest::collection::vec(proptest::sample::select(b"abcABC [{\n\xff".to_vec()), 0..300),
            times in 1..40usize,
        ) {
            let mut bitmap = [0; WORDS];
            for gram in &grams {
                set(&mut bitmap, fold4(gram.as_bytes().try_into().unwrap()));
            }
            let text = text.repeat(times);
            let wanted = plainly(&bitmap, &text, stride);
            proptest::prop_assert_eq!(&told(plain(stride), &bitmap, &text), &wanted);
            proptest::prop_assert_eq!(&told(fastest(stride), &bitmap, &text), &wanted);
        }
    }

    #[test]
    fn a_full_bitmap_tells_every_position() {
        for stride in 1..=STRIDES {
            let text = vec![b'x'; 3 * POSITIONS * stride + 5];
            let bitmap = [u32::MAX; WORDS];
            assert_eq!(told(plain(stride), &bitmap, &text), plainly(&bitmap, &text, stride));
            assert_eq!(told(fastest(stride), &bitmap, &text), plainly(&bitmap, &text, stride));
        }
    }
}
