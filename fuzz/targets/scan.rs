//! Several rules and a block: the scanner finds exactly what each regex finds on each line alone, and on each record
//! where lines are joined to records.
//!
//! Lines up to an empty one are patterns, one that begins with `!` is an `exclude` of the rule before it; the rest
//! is the block, and so are the patterns' own lines. A line that begins with a space belongs to the record before it,
//! one that begins with a tab to none.

#![no_main]

use libfuzzer_sys::fuzz_target;
use logherald::line::Record;
use logherald::rules::{Pattern, RuleSpec};
use logherald_fuzz::{assert_plain, assert_records, spec};

/// Rules of one input: enough to share literals, few enough to be fast.
const RULES: usize = 12;

/// The records of a block, by how its lines begin.
fn records(block: &[u8]) -> Vec<Record> {
    let mut all: Vec<Record> = Vec::new();
    let mut at = 0;
    for line in block.split_inclusive(|b| *b == b'\n') {
        let (start, end) = (at, at + line.len() - 1);
        at += line.len();
        match (line[0], all.last_mut()) {
            (b'\t', _) => {}
            (b' ', Some(last)) if last.end as usize + 1 == start => last.end = end as u32,
            _ => all.push(Record { start: start as u32, end: end as u32, ..Record::default() }),
        }
    }
    all
}

fuzz_target!(|data: &[u8]| {
    let end = data.windows(2).position(|w| w == b"\n\n").unwrap_or(data.len());
    let mut rules: Vec<RuleSpec> = Vec::new();
    let mut block = data.get(end + 2..).unwrap_or_default().to_vec();
    for line in data[..end].split(|b| *b == b'\n').take(2 * RULES) {
        let Ok(line) = std::str::from_utf8(line) else { continue };
        let (exclude, text) = line.strip_prefix('!').map_or((false, line), |rest| (true, rest));
        let Ok(pattern) = Pattern::new(text) else { continue };
        if exclude && let Some(rule) = rules.last_mut() {
            rule.exclude.push(pattern);
        } else if rules.len() < RULES {
            rules.push(spec(rules.len() as u32, pattern, Vec::new()));
        }
        block.extend_from_slice(b"\n");
        block.extend_from_slice(text.as_bytes());
    }
    block.push(b'\n');
    assert_plain(&rules, &block);
    let records = records(&block);
    if !records.is_empty() {
        assert_records(&rules, &block, &records);
    }
});
