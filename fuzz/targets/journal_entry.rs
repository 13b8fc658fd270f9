//! Any bytes as what `journalctl -o json` prints: whole lines with a time each, however the bytes arrive.
//!
//! The first byte chooses in what pieces the rest is read and how long a line may be.

#![no_main]

use libfuzzer_sys::fuzz_target;
use logherald::line::BlockEnd;
use logherald::tail::journal_blocks;

fuzz_target!(|data: &[u8]| {
    let [choice, json @ ..] = data else { return };
    let max_line = 32 << (choice & 7);
    let lines = |piece: usize| {
        let mut all: Vec<(Vec<u8>, i64)> = Vec::new();
        let cursor = journal_blocks(json, piece, max_line, &mut |bytes, records, end| {
            match end {
                BlockEnd::Whole => assert_eq!(bytes.last(), Some(&b'\n')),
                BlockEnd::Cut => assert!(bytes.len() <= max_line && !bytes.contains(&b'\n')),
                BlockEnd::Idle => panic!("an entry is never half a line"),
            }
            let texts: Vec<&[u8]> =
                bytes.strip_suffix(b"\n").unwrap_or(bytes).split(|b| *b == b'\n').collect();
            assert_eq!(texts.len(), records.len(), "a time a line");
            all.extend(texts.iter().zip(records).map(|(t, r)| (t.to_vec(), r.stamp.map_or(0, |w| w.0))));
        });
        (all, cursor)
    };
    assert_eq!(lines(usize::MAX), lines(1 + usize::from(choice >> 3)));
});
