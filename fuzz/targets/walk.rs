//! 4-grams and a text: eight places looked up at once are the places that are looked up one by one.
//!
//! The first byte is the stride, the second says how many 4-grams follow; the rest is the text, which is repeated so
//! that every part of a walk sees it: whole rounds, what is left of one, and the end of one call.

#![no_main]

use libfuzzer_sys::fuzz_target;
use logherald::rules::both_walks;

/// Bytes that a text is repeated to: more than one call of a walk looks at.
const TEXT: usize = 24 << 10;

fuzz_target!(|data: &[u8]| {
    let [stride, count, rest @ ..] = data else { return };
    let (grams, text) = rest.split_at(rest.len().min(4 * usize::from(*count)));
    let (grams, odd) = grams.as_chunks::<4>();
    let stride = usize::from(stride % 9) + 1;
    let [plain, fastest] = both_walks(grams, stride, text);
    assert_eq!(plain, fastest);
    let seed = [odd, text].concat();
    let times = TEXT / seed.len().max(1);
    let [plain, fastest] = both_walks(grams, stride, &seed.repeat(times));
    assert_eq!(plain, fastest);
});
