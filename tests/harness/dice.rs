//! Random numbers that a failure can be repeated with: each prints its seed, `LOGHERALD_SEED` sets it.

/// Splitmix64.
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new() -> Dice {
        let seed = std::env::var("LOGHERALD_SEED").ok().and_then(|s| s.parse().ok());
        let seed = seed.unwrap_or_else(|| u64::from(std::process::id()) << 20 ^ fresh());
        println!("LOGHERALD_SEED={seed}");
        Dice(seed)
    }

    /// The same numbers each time.
    pub(crate) fn of(seed: u64) -> Dice {
        Dice(seed)
    }

    /// Below `n`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    /// True once in `n` times.
    pub(crate) fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

fn fresh() -> u64 {
    let dir = tempfile::tempdir().unwrap();
    let name = dir.path().file_name().unwrap().as_encoded_bytes().to_vec();
    name.iter().fold(0, |sum, b| sum * 61 + u64::from(*b))
}
