//! What several targets share: a rule of one pattern, and the oracle of the scanner.
//!
//! Targets find their properties in the product's own words; there is nothing clever in here on purpose.

use std::sync::Arc;

use jiff::tz::TimeZone;
use logherald::hit::{Hit, RuleNo};
use logherald::line::{Block, BlockEnd, Record, SourceNo};
use logherald::rules::{Asked, Pattern, RuleSet, RuleSpec, SourceClock, Step};
use logherald::time::{Now, Tick, Wall};

/// When every line is read: 2026-11-22T05:26:00Z.
pub const READ: Now = Now { wall: Wall(1_795_325_160_000), tick: Tick(7) };

/// A rule that asks for all its captures.
#[must_use]
pub fn spec(no: u32, pattern: Pattern, exclude: Vec<Pattern>) -> RuleSpec {
    RuleSpec {
        no: RuleNo(no),
        name: format!("rule-{no}").into(),
        sources: vec![SourceNo(0)],
        only_files: Vec::new(),
        captures: pattern.capture_names(),
        pattern,
        exclude,
        resolve: None,
        mask: Vec::new(),
        fields: Vec::new(),
        context: Asked::default(),
        by: Vec::new(),
        fold: false,
    }
}

/// The scanner's hits in `block`, which ends in a newline, are those of each regex on each line alone; and `explain`
/// agrees.
///
/// # Panics
/// Where they are not: that is a finding.
pub fn assert_plain(rules: &[RuleSpec], block: &[u8]) {
    let lines = block[..block.len() - 1].split(|b| *b == b'\n');
    assert_lines(rules, block, &[], lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line)));
}

/// So they are in a block that comes with a table: on each of its records.
///
/// # Panics
/// Where they are not: that is a finding.
pub fn assert_records(rules: &[RuleSpec], block: &[u8], records: &[Record]) {
    assert_lines(rules, block, records, records.iter().map(|r| &block[r.start as usize..r.end as usize]));
}

fn assert_lines<'a>(
    rules: &[RuleSpec],
    block: &[u8],
    records: &[Record],
    lines: impl Iterator<Item = &'a [u8]>,
) {
    let clock = SourceClock { no: SourceNo(0), tz: TimeZone::UTC };
    let mut set = RuleSet::new(rules.to_vec(), vec![clock], "web1".into());
    let file: Arc<str> = "/var/log/syslog".into();
    let whole = Block {
        source: SourceNo(0),
        file: &file,
        file_no: 1,
        offset: 0,
        bytes: block,
        end: BlockEnd::Whole,
        hit_early: &[],
        read: READ,
        backlog: false,
        records,
        fields: &[],
        earlier: None,
    };
    let mut found: Vec<Hit> = Vec::new();
    set.scan(&whole, &mut found);
    let mut found = found.iter();
    for line in lines {
        for (rule, explained) in rules.iter().zip(set.explain(None, None, line, &[], READ.wall)) {
            let matches = rule.pattern.regex().is_match(line);
            let excluded = rule.exclude.iter().any(|e| e.regex().is_match(line));
            // the agent's own lines are hits of nothing; only `explain` says that a line is one
            let own = explained.step == Step::Own;
            let wanted = matches && !excluded && !own;
            let text = || format!("{} on {:?}", rule.pattern.text, String::from_utf8_lossy(line));
            assert_eq!(matches!(explained.step, Step::Hit { .. }), wanted, "explain {}", text());
            if wanted {
                let hit = found.next().unwrap_or_else(|| panic!("missed: {}", text()));
                assert_eq!(hit.rule, rule.no, "another rule's: {}", text());
                let head = hit.line.strip_suffix('…').unwrap_or(&hit.line);
                assert!(String::from_utf8_lossy(line).starts_with(head), "another line's: {}", text());
            }
        }
    }
    assert!(found.next().is_none(), "too many hits");
}
