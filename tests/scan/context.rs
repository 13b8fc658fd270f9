//! Are the lines around a hit those that stand there, however they were read?

use std::sync::Arc;

use logherald::hit::Hits;
use logherald::line::{Block, BlockEnd, Earlier, Record, SourceNo};
use logherald::rules::Asked;
use proptest::prelude::*;

use super::{READ, rule, set};

/// The file up to some byte, as the tailer would read it again.
#[derive(Debug)]
struct File<'a>(&'a str);

impl Earlier for File<'_> {
    fn before(&self, offset: u64, most: usize, bytes: usize) -> Vec<Box<[u8]>> {
        let lines: Vec<&str> = self.0[..offset as usize].lines().collect();
        let lines = lines[lines.len().saturating_sub(most)..].iter().map(|l| l.as_bytes());
        lines.map(|l| l[..l.len().min(bytes)].into()).collect()
    }
}

/// Reads `text` in blocks of so many lines, and tells each hit's line with what is shown around it.
fn around(
    text: &str,
    blocks: &[usize],
    asked: Asked,
    way_back: bool,
    table: bool,
) -> Vec<(String, Vec<String>, Vec<String>)> {
    let mut spec = rule(0, "hit");
    spec.context = asked;
    let (mut rules, mut hits, mut offset) = (set(vec![spec]), Hits::default(), 0);
    let file: Arc<str> = "/var/log/syslog".into();
    let mut sizes = blocks.iter().cycle();
    while offset < text.len() {
        let rest = &text[offset..];
        let lines = (*sizes.next().unwrap()).max(1);
        let len: usize = rest.split_inclusive('\n').take(lines).map(str::len).sum();
        let mut records = Vec::new();
        for line in rest[..len].split_inclusive('\n').filter(|_| table) {
            let start = records.last().map_or(0, |r: &Record| r.end + 1);
            records.push(Record { start, end: start + line.len() as u32 - 1, ..Record::default() });
        }
        let back = File(text);
        rules.scan_around(
            &Block {
                source: SourceNo(0),
                file: &file,
                file_no: 1,
                offset: offset as u64,
                bytes: &rest.as_bytes()[..len],
                end: BlockEnd::Whole,
                hit_early: &[],
                read: READ,
                backlog: false,
                records: &records,
                fields: &[],
                earlier: if way_back { Some(&back) } else { None },
            },
            &mut hits,
        );
        offset += len;
    }
    let strings = |lines: &[Box<str>]| lines.iter().map(ToString::to_string).collect::<Vec<_>>();
    let told = |hit: &logherald::hit::Hit| {
        let context = hit.context.as_ref().expect("its rule asks");
        let mut after = strings(&context.after);
        let later = hits.later().iter().filter(|l| context.more == Some(l.no));
        later.for_each(|l| after.extend(strings(&l.lines)));
        (hit.line.to_string(), strings(&context.before), after)
    };
    hits.in_full().iter().map(told).collect()
}

/// The same by counting lines.
fn plainly(text: &str, asked: Asked) -> Vec<(String, Vec<String>, Vec<String>)> {
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let (before, after) = (usize::from(asked.before), usize::from(asked.after));
    let hits = lines.iter().enumerate().filter(|(_, line)| line.contains("hit"));
    hits.map(|(n, line)| {
        let behind = lines.len().min(n + 1 + after);
        (line.clone(), lines[n.saturating_sub(before)..n].to_vec(), lines[n + 1..behind].to_vec())
    })
    .collect()
}

proptest! {
    #[test]
    fn the_lines_around_a_hit_are_those_that_stand_there(
        lines in prop::collection::vec(prop_oneof![3 => "[a-z]{0,6}", 1 => Just("a hit".to_owned())], 1..60),
        blocks in prop::collection::vec(1usize..9, 1..6),
        (before, after) in (0u8..7, 1u8..7),
        (way_back, table) in any::<(bool, bool)>(),
    ) {
        let text = lines.iter().enumerate().fold(String::new(), |text, (n, l)| format!("{text}{l} {n}\n"));
        let asked = Asked { before, after };
        prop_assert_eq!(around(&text, &blocks, asked, way_back, table), plainly(&text, asked));
    }
}

#[test]
fn a_long_line_beside_a_hit_is_cut() {
    let long = "x".repeat(2000);
    let (text, asked) = (format!("{long}\nhit\n{long}\n"), Asked { before: 1, after: 1 });
    let all = around(&text, &[1], asked, true, false);
    let (_, before, after) = &all[0];
    assert_eq!((before[0].len(), after[0].len()), (512, 512));
    assert!(before[0].ends_with('…') && after[0].ends_with('…'));
}

#[test]
fn a_rule_that_asks_for_none_has_none() {
    let mut scan = super::Scan::new(vec![rule(0, "hit")]);
    let mut hits = Hits::default();
    scan.with(b"a\nhit\nb\n", |set, block| set.scan_around(block, &mut hits));
    assert_eq!((hits.len(), hits.in_full()[0].context.is_none()), (1, true));
}

/// A line without its newline is matched when it has been idle, and comes once more when it is whole.
#[test]
fn a_line_that_was_matched_early_does_not_stand_behind_itself() {
    let mut spec = rule(0, "hit");
    spec.context = Asked { before: 1, after: 2 };
    let mut scan = super::Scan::new(vec![spec]);
    let mut hits = Hits::default();
    scan.end = BlockEnd::Idle;
    scan.with(b"a hit", |set, block| set.scan_around(block, &mut hits));
    scan.early = vec!["rule-0".into()];
    scan.with(b"a hit and", |set, block| set.scan_around(block, &mut hits));
    scan.end = BlockEnd::Whole;
    scan.with(b"a hit and more\none\n", |set, block| set.scan_around(block, &mut hits));
    let behind: Vec<&str> = hits.later().iter().flat_map(|l| &l.lines).map(|l| &**l).collect();
    assert_eq!((hits.len(), behind), (1, vec!["one"]));
}
