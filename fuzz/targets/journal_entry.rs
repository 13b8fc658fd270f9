//! Any bytes as what `journalctl -o json` prints: whole lines with a time and fields each, however the bytes arrive.
//!
//! The first byte chooses in what pieces the rest is read and how long a line may be.

#![no_main]

use libfuzzer_sys::fuzz_target;
use logherald::line::{BlockEnd, Field};
use logherald::tail::journal_blocks;

fuzz_target!(|data: &[u8]| {
    let [choice, json @ ..] = data else { return };
    let max_line = 32 << (choice & 7);
    let lines = |piece: usize| {
        let mut all: Vec<(Vec<u8>, i64, Vec<Field>)> = Vec::new();
        let cursor = journal_blocks(json, piece, max_line, &mut |bytes, records, fields, end| {
            match end {
                BlockEnd::Whole => assert_eq!(bytes.last(), Some(&b'\n')),
                BlockEnd::Cut => assert!(bytes.len() <= max_line && !bytes.contains(&b'\n')),
                BlockEnd::Idle => panic!("an entry is never half a line"),
            }
            let texts: Vec<&[u8]> =
                bytes.strip_suffix(b"\n").unwrap_or(bytes).split(|b| *b == b'\n').collect();
            assert_eq!(texts.len(), records.len(), "a record a line");
            let mut next = 0;
            for (text, record) in texts.iter().zip(records) {
                assert_eq!(*text, &bytes[record.start as usize..record.end as usize]);
                assert_eq!(record.fields.0, next, "each field is of one record");
                next = record.fields.1;
                let own = &fields[record.fields.0 as usize..record.fields.1 as usize];
                assert!(own.iter().all(|f| !f.value.is_empty() && f.value.len() <= 3 * 1024));
                all.push((text.to_vec(), record.stamp.map_or(0, |w| w.0), own.to_vec()));
            }
            assert_eq!(next as usize, fields.len());
        });
        (all, cursor)
    };
    assert_eq!(lines(usize::MAX), lines(1 + usize::from(choice >> 3)));
});
