//! The walk of `walk` on processors with AVX2: eight places are hashed and looked up at once.
//!
//! The bitmap is gathered, eight words in one instruction; that needs a pointer, so this is the one file of the crate
//! with `unsafe` in it. The processor is asked first, every load is behind a check of the length, and every index into
//! the bitmap has ten bits. The surprise: no position is loaded by itself up to a stride of four; a shuffle takes four
//! of them out of sixteen bytes.
#![cfg_attr(
    target_arch = "x86_64",
    expect(
        unsafe_code,
        reason = "gathering from the bitmap takes a pointer; it is half of the scanner's speed"
    )
)]

use super::walk::Walk;

/// The walk for a stride, where this processor has what it takes.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn walk(_stride: usize) -> Option<Walk> {
    None
}

/// The walk for a stride, where this processor has what it takes.
#[cfg(target_arch = "x86_64")]
pub(super) fn walk(stride: usize) -> Option<Walk> {
    avx2::walk(stride)
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::{
        __m128i, __m256i, _MM_HINT_T0, _mm_loadu_si128, _mm_prefetch, _mm256_and_si256,
        _mm256_broadcastsi128_si256, _mm256_castsi128_si256, _mm256_castsi256_ps, _mm256_i32gather_epi32,
        _mm256_inserti128_si256, _mm256_loadu_si256, _mm256_movemask_ps, _mm256_mullo_epi32, _mm256_or_si256,
        _mm256_set1_epi32, _mm256_setr_epi32, _mm256_shuffle_epi8, _mm256_sllv_epi32, _mm256_srli_epi32,
    };

    use crate::rules::literal::STRIDES;
    use crate::rules::walk::{BITS, Bitmap, FOLD4, Next, POSITIONS, SPREAD, Walk, rest};

    /// Places that are looked up at once.
    const LANES: usize = 8;

    /// How many times that between two branches.
    const UNROLL: usize = 4;

    /// So far ahead of the walk memory is asked for, in bytes: a page, since a processor that reads ahead by itself ends
    /// at each page's end. Of text that lies in no cache it gave 1.3 to 1.9 times the speed, and it costs nothing where
    /// it does.
    const AHEAD: usize = 4096;

    /// What memory is asked for at once, in bytes.
    const CACHE_LINE: usize = 64;

    pub(super) fn walk(stride: usize) -> Option<Walk> {
        const WALKS: [Walk; STRIDES] = [
            safe::<1>, safe::<2>, safe::<3>, safe::<4>, safe::<5>, safe::<6>, safe::<7>, safe::<8>, safe::<9>,
        ];
        is_x86_feature_detected!("avx2").then(|| WALKS[stride - 1])
    }

    fn safe<const STRIDE: usize>(
        bitmap: &Bitmap,
        bytes: &[u8],
        from: usize,
        places: &mut [u32; POSITIONS],
    ) -> Option<Next> {
        // SAFETY: only `walk` gives this function away, and only where the processor has AVX2
        unsafe { avx2::<STRIDE>(bitmap, bytes, from, places) }
    }

    #[target_feature(enable = "avx2")]
    fn avx2<const STRIDE: usize>(
        bitmap: &Bitmap,
        bytes: &[u8],
        from: usize,
        places: &mut [u32; POSITIONS],
    ) -> Option<Next> {
        let stop = from.saturating_add(POSITIONS * STRIDE);
        let mut at = from;
        let mut found = 0;
        // what the last of the loads may reach
        while at < stop
            && let Some(window) = bytes.get(at..at + UNROLL * LANES * STRIDE + 16)
        {
            for line in (0..UNROLL * LANES * STRIDE).step_by(CACHE_LINE) {
                let ahead = window.as_ptr().wrapping_add(AHEAD + line);
                // SAFETY: nothing is read; what is asked for may as well not be there
                #[allow(unused_unsafe, reason = "it is not unsafe in every version of Rust")]
                unsafe {
                    _mm_prefetch::<_MM_HINT_T0>(ahead.cast());
                }
            }
            let mut set = 0u32;
            for i in 0..UNROLL {
                let begin = i * LANES * STRIDE;
                set |=
                    bits(bitmap, eight::<STRIDE>(&window[begin..begin + LANES * STRIDE + 16])) << (i * LANES);
            }
            while set != 0 {
                places[found] = (at + set.trailing_zeros() as usize * STRIDE) as u32;
                found += 1;
                set &= set - 1;
            }
            at += UNROLL * LANES * STRIDE;
        }
        Some(rest::<STRIDE>(bitmap, bytes, at, stop, places, found)).filter(|next| next.at > from)
    }

    /// The four bytes at each of eight positions.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn eight<const STRIDE: usize>(window: &[u8]) -> __m256i {
        assert!(window.len() >= LANES * STRIDE + 16);
        let from = window.as_ptr();
        if STRIDE == 4 {
            // SAFETY: 32 bytes are there
            return unsafe { _mm256_loadu_si256(from.cast()) };
        }
        if STRIDE < 4 {
            let take = const { four_of_sixteen(STRIDE) };
            // SAFETY: 16 bytes are there
            let take = unsafe { _mm_loadu_si128(take.as_ptr().cast()) };
            // SAFETY: the second ends 16 bytes behind four strides
            let (low, high): (__m128i, __m128i) =
                unsafe { (_mm_loadu_si128(from.cast()), _mm_loadu_si128(from.add(4 * STRIDE).cast())) };
            let both = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(low), high);
            return _mm256_shuffle_epi8(both, _mm256_broadcastsi128_si256(take));
        }
        let s = STRIDE as i32;
        let at = _mm256_setr_epi32(0, s, 2 * s, 3 * s, 4 * s, 5 * s, 6 * s, 7 * s);
        // SAFETY: the last four bytes end 4 behind seven strides
        unsafe { _mm256_i32gather_epi32::<1>(from.cast(), at) }
    }

    /// Which bytes are the four at each of four positions.
    const fn four_of_sixteen(stride: usize) -> [u8; 16] {
        let mut take = [0; 16];
        let mut n = 0;
        while n < take.len() {
            take[n] = (n / 4 * stride + n % 4) as u8;
            n += 1;
        }
        take
    }

    /// The bits of eight times four bytes.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn bits(bitmap: &Bitmap, eight: __m256i) -> u32 {
        let folded = _mm256_or_si256(eight, _mm256_set1_epi32(FOLD4 as i32));
        let hash = _mm256_srli_epi32::<{ 32 - BITS as i32 }>(_mm256_mullo_epi32(
            folded,
            _mm256_set1_epi32(SPREAD as i32),
        ));
        let word = _mm256_srli_epi32::<5>(hash);
        // SAFETY: a hash has 15 bits, so a word's number ten, and there are so many words
        let words = unsafe { _mm256_i32gather_epi32::<4>(bitmap.as_ptr().cast(), word) };
        let bit = _mm256_and_si256(hash, _mm256_set1_epi32(31));
        _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_sllv_epi32(words, bit))) as u32
    }
}
