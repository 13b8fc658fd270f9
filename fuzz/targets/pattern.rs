//! Any text as a `match`: refused with a place inside it, or a rule that finds what its regex finds.
//!
//! The first line of the input is the pattern, the rest is the block. The pattern itself is added to the block, as it
//! is and in capitals, since most patterns match something like themselves.

#![no_main]

use libfuzzer_sys::fuzz_target;
use logherald::rules::Pattern;
use logherald_fuzz::{assert_plain, spec};

fuzz_target!(|data: &[u8]| {
    let (text, block) = data.split_at(data.iter().position(|b| *b == b'\n').unwrap_or(data.len()));
    let text = String::from_utf8_lossy(text);
    let pattern = match Pattern::new(&text) {
        Ok(pattern) => pattern,
        Err(fault) => {
            assert!(text.get(fault.span.clone()).is_some(), "{:?} in {text:?}", fault.span);
            assert!(!fault.what.is_empty());
            return;
        }
    };
    let names = pattern.capture_names();
    assert_eq!(names.len(), names.iter().collect::<std::collections::BTreeSet<_>>().len());
    let mut block = block.to_vec();
    for line in [text.to_string(), text.to_uppercase()] {
        block.extend_from_slice(b"\nx ");
        block.extend_from_slice(line.as_bytes());
    }
    block.push(b'\n');
    assert_plain(&[spec(0, pattern, Vec::new())], &block);
});
