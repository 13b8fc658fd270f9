//! What the logs themselves say of how rare a few bytes are.
//!
//! The block for which a search is compiled is counted, 4-gram by 4-gram, as the filter hashes them, and corrects the
//! built-in table of `rarity`: a host of web servers has other rare words than one of mail. With few bytes the table
//! counts for more. What is learnt here chooses between literals that all find the same lines, so a log that is not
//! like its sample costs time and never a hit.

use super::literal::{Rarity, Table};
use super::walk::{BITS, fold4, hash};

/// A sample of this many bytes says as much as can be used.
pub(super) const ENOUGH: usize = 64 << 10;

/// Bytes that are counted at most.
const MOST: usize = 256 << 10;

/// The built-in table counts as a sample of so many places.
const PRIOR: f64 = 16_384.0;

/// 4-grams of a piece of a log, counted.
pub(super) struct Sample {
    counts: Box<[u32]>,
    places: f64,
}

impl Sample {
    pub(super) fn of(bytes: &[u8]) -> Sample {
        let mut counts = vec![0u32; 1 << BITS].into_boxed_slice();
        let bytes = &bytes[..bytes.len().min(MOST)];
        for four in bytes.windows(4) {
            counts[hash(fold4([four[0], four[1], four[2], four[3]]))] += 1;
        }
        Sample { counts, places: bytes.len() as f64 }
    }
}

impl Sample {
    fn counted(&self, folded: &[u8]) -> f64 {
        folded.first_chunk::<4>().map_or(0.0, |four| f64::from(self.counts[hash(fold4(*four))]))
    }
}

impl Rarity for Sample {
    fn gram(&self, folded: &[u8]) -> f64 {
        (self.counted(folded) + Table.gram(folded) * PRIOR) / (self.places + PRIOR)
    }

    fn seen(&self, folded: &[u8]) -> f64 {
        self.counted(folded) / (self.places + PRIOR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_sample_is_full_of_is_not_rare_in_it() {
        let sample = Sample::of(&b"oomk OOMK ".repeat(5000));
        assert!(Table.gram(b"oomk") < Table.gram(b"tion"));
        assert!(sample.gram(b"oomk") > 0.1 && sample.gram(b"tion") < 0.01);
    }

    #[test]
    fn without_bytes_the_table_stands() {
        assert!((Sample::of(b"").gram(b"tion") - Table.gram(b"tion")).abs() < 1e-9);
    }
}
