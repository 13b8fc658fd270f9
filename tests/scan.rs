//! Does the scanner find exactly what each regex finds on each line alone?

mod context;
mod exact;

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::Write as _;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::tz::TimeZone;
use logherald::hit::{CAPTURE_BYTES, Hit, LINE_BYTES, RuleNo};
use logherald::line::{Block, BlockEnd, Field, Record, SourceNo};
use logherald::rules::{
    Asked, By, LineVerdict, Pattern, RuleSet, RuleSpec, SourceClock, Step, Where, test_line,
};
use logherald::time::{Now, Tick, Wall};
use proptest::prelude::*;

const READ: Now = Now { wall: Wall(1_795_325_160_000), tick: Tick(7) };

fn rule(no: u32, pattern: &str) -> RuleSpec {
    let pattern = Pattern::new(pattern).unwrap_or_else(|f| panic!("{pattern}: {f}"));
    RuleSpec {
        no: RuleNo(no),
        name: format!("rule-{no}").into(),
        sources: vec![SourceNo(0)],
        only_files: Vec::new(),
        captures: pattern.capture_names(),
        pattern,
        exclude: Vec::new(),
        resolve: None,
        mask: Vec::new(),
        fields: Vec::new(),
        context: Asked::default(),
        by: Vec::new(),
        fold: false,
    }
}

fn rules(patterns: &[&str]) -> Vec<RuleSpec> {
    patterns.iter().enumerate().map(|(i, p)| rule(i as u32, p)).collect()
}

fn set(rules: Vec<RuleSpec>) -> RuleSet {
    let clock = |no| SourceClock { no: SourceNo(no), tz: TimeZone::UTC };
    RuleSet::new(rules, vec![clock(0), clock(1)], "web-1".into())
}

/// A door into the scanner: one block of one file.
struct Scan {
    set: RuleSet,
    file: Arc<str>,
    file_no: u64,
    end: BlockEnd,
    early: Vec<Arc<str>>,
    records: Vec<Record>,
    fields: Vec<Field>,
}

impl Scan {
    fn new(rules: Vec<RuleSpec>) -> Scan {
        Scan {
            set: set(rules),
            file: "/var/log/syslog".into(),
            file_no: 1,
            end: BlockEnd::Whole,
            early: Vec::new(),
            records: Vec::new(),
            fields: Vec::new(),
        }
    }

    fn hits(&mut self, bytes: &[u8]) -> Vec<Hit> {
        let mut out = Vec::new();
        self.with(bytes, |set, block| set.scan(block, &mut out));
        out
    }

    /// Which rules accept which lines.
    fn find(&mut self, bytes: &[u8], found: impl FnMut(RuleNo, Range<usize>)) {
        self.with(bytes, |set, block| set.find(block, found));
    }

    fn with(&mut self, bytes: &[u8], scan: impl FnOnce(&mut RuleSet, &Block<'_>)) {
        let block = Block {
            source: SourceNo(0),
            file: &self.file,
            file_no: self.file_no,
            offset: 0,
            bytes,
            end: self.end,
            hit_early: &self.early,
            read: READ,
            backlog: false,
            records: &self.records,
            fields: &self.fields,
            earlier: None,
        };
        scan(&mut self.set, &block);
    }

    /// `rule number: line` a hit.
    fn told(&mut self, bytes: &[u8]) -> Vec<String> {
        self.hits(bytes).iter().map(|h| format!("{}: {}", h.rule.0, h.line)).collect()
    }
}

/// What a scan must find: each rule's regex on each line alone.
fn plainly(rules: &[RuleSpec], bytes: &[u8]) -> Vec<(RuleNo, Vec<u8>)> {
    let mut out = Vec::new();
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        let line = match line.strip_suffix(b"\n") {
            Some(line) => line.strip_suffix(b"\r").unwrap_or(line),
            None => line,
        };
        for rule in rules {
            if rule.pattern.regex().is_match(line) && !rule.exclude.iter().any(|e| e.regex().is_match(line)) {
                out.push((rule.no, line.to_vec()));
            }
        }
    }
    out
}

fn assert_plain(specs: &[RuleSpec], bytes: &[u8], end: BlockEnd) {
    let mut scan = Scan::new(specs.to_vec());
    scan.end = end;
    let found = scan.hits(bytes);
    let wanted = plainly(specs, bytes);
    let show = |no: RuleNo, line: &str| format!("{} ({}): {line:?}", no.0, specs[no.0 as usize].pattern.text);
    let found: Vec<String> = found.iter().map(|h| show(h.rule, &h.line)).collect();
    let wanted: Vec<String> = wanted.iter().map(|(no, l)| show(*no, &String::from_utf8_lossy(l))).collect();
    assert_eq!(found, wanted, "block {:?}", String::from_utf8_lossy(bytes));
}

/// Patterns of every sort, with what their lines are built from.
const PATTERNS: [&str; 44] = [
    "disk full",
    "(?i)DISK FULL",
    "(?i)kiosk",
    "(?i:sk)ip",
    "^disk",
    "full$",
    r"\Adisk\z",
    "^$",
    "^",
    "$",
    "",
    ".",
    r"^\s*$",
    "panic|oops|disk",
    "(?:GET|PUT|POST) /x",
    r" su(\[\d+\])?: ",
    r"error \d+",
    r"\berror\b",
    r"\Berror",
    r"[^x]error",
    r"[\s\S]full",
    r"k[^a]y",
    r"a\nb",
    r"(?s)disk.+full",
    r"(?m)^full$",
    r"(?mR)full$",
    r"(?-u)\xff",
    r"(?-u:\b)full(?-u:\b)",
    r"\w{4,}",
    r"\d+",
    "größe",
    "(?i)GRÖSSE|(?i)größe",
    "[\u{212a}k]elvin",
    r"x{3,5}",
    r"(?:ab){2,}c",
    "(?:disk )?full",
    "(?:disk )*fullest",
    "a?b?c?defg",
    r"\{json\}",
    "[{]json[}]",
    r"full\r",
    r"full\r?$",
    "from {ip} port {num}",
    r"(?<user>\w+)@{host}",
];

const PIECES: [&[u8]; 48] = [
    b"disk full",
    b"DISK FULL",
    b"Disk",
    b"full",
    b"fullest",
    b"kiosk",
    "\u{212a}io\u{17f}\u{212a}".as_bytes(),
    b"skip",
    "\u{17f}kip".as_bytes(),
    b"panic",
    b"oops",
    b"GET /x",
    b"POST /X",
    b" su: ",
    b" su[12]: ",
    b"error 7",
    b"errors",
    b"error",
    b"kay",
    b"key",
    b"k",
    b"s",
    b"a",
    b"b",
    b"x",
    b"xxxx",
    b"ababc",
    b"abcdefg",
    b"{json}",
    b"[JSON]",
    "größe".as_bytes(),
    "GRÖSSE".as_bytes(),
    "\u{212a}elvin".as_bytes(),
    b"kelvin",
    b" ",
    b" ",
    b"\r",
    b"\t",
    b"\xff",
    b"\xe2\x84",
    b"\x80",
    b"*",
    b"from 10.0.0.1 port 22",
    b"from ::1 port 9",
    b"bob@db-1.example.org",
    b"42",
    b".",
    b"",
];

fn some_rules() -> impl Strategy<Value = Vec<RuleSpec>> {
    let one = (0..PATTERNS.len(), proptest::option::weighted(0.2, 0..PATTERNS.len()));
    proptest::collection::vec(one, 1..9).prop_map(|picked| {
        let specs = picked.into_iter().enumerate().map(|(no, (p, exclude))| {
            let mut spec = rule(no as u32, PATTERNS[p]);
            spec.exclude.extend(exclude.map(|e| rule(0, PATTERNS[e]).pattern));
            spec
        });
        specs.collect()
    })
}

fn some_line() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(proptest::sample::select(PIECES.to_vec()), 0..5).prop_map(|p| p.concat())
}

fn some_lines() -> impl Strategy<Value = Vec<u8>> {
    let line = (some_line(), any::<bool>()).prop_map(|(mut line, crlf)| {
        line.extend_from_slice(if crlf { b"\r\n" } else { b"\n" });
        line
    });
    proptest::collection::vec(line, 1..12).prop_map(|l| l.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn a_scan_finds_what_each_regex_finds_on_each_line(specs in some_rules(), bytes in some_lines()) {
        assert_plain(&specs, &bytes, BlockEnd::Whole);
    }

    #[test]
    fn so_it_does_on_one_line_without_its_newline(specs in some_rules(), line in some_line(), cut in any::<bool>()) {
        let line = if line.is_empty() { b"x".to_vec() } else { line };
        assert_plain(&specs, &line, if cut { BlockEnd::Cut } else { BlockEnd::Idle });
    }

    #[test]
    fn so_it_does_for_literals_of_any_length(
        literals in proptest::collection::vec("[a-d \\[]{1,20}", 1..12),
        fold in any::<bool>(),
        between in proptest::collection::vec(("[a-dA-D \n]{0,30}", 0..12usize), 1..20),
    ) {
        let specs: Vec<RuleSpec> = literals
            .iter()
            .enumerate()
            .map(|(i, l)| rule(i as u32, &format!("{}{}", if fold { "(?i)" } else { "" }, regex::escape(l))))
            .collect();
        let mut text = String::new();
        for (noise, n) in between {
            let literal = &literals[n % literals.len()];
            _ = write!(text, "{noise}{}", if n % 2 == 0 { literal.clone() } else { literal.to_uppercase() });
        }
        text.push('\n');
        assert_plain(&specs, text.as_bytes(), BlockEnd::Whole);
    }
}

#[test]
fn every_pattern_at_once_is_each_alone() {
    let specs = rules(&PATTERNS);
    let mut bytes = Vec::new();
    for a in PIECES {
        for b in PIECES {
            bytes.extend_from_slice(a);
            bytes.extend_from_slice(b);
            bytes.push(b'\n');
        }
    }
    assert_plain(&specs, &bytes, BlockEnd::Whole);
}

#[test]
fn hits_come_in_the_order_of_lines_and_then_of_rules() {
    let mut scan = Scan::new(rules(&["full", r"\d", "disk", "."]));
    assert_eq!(
        scan.told(b"disk full\n7\n\nfull disk 8\r\n"),
        ["0: disk full", "2: disk full", "3: disk full", "1: 7", "3: 7"]
            .into_iter()
            .chain(["0: full disk 8", "1: full disk 8", "2: full disk 8", "3: full disk 8"])
            .collect::<Vec<_>>()
    );
}

#[test]
fn a_hit_carries_its_key_its_captures_and_its_time() {
    let mut spec = rule(0, r"Failed password for (?:invalid )?(?<user>\S+)(?: as (?<other>\w+))? from {ip}");
    spec.by = vec![By::Capture("ip".into()), By::Capture("other".into()), By::File, By::Host, By::Kind];
    spec.captures = vec!["user".into(), "other".into()];
    let hits = Scan::new(vec![spec])
        .hits(b"Nov 22 05:26:00 h sshd[7]: Failed password for root from 192.0.2.1 port 9\n");
    let [hit] = hits.as_slice() else { panic!("{hits:?}") };
    assert_eq!(hit.key[..4], ["192.0.2.1".into(), "(none)".into(), "/var/log/syslog".into(), "web-1".into()]);
    assert_eq!(&*hit.key[4], "k1:<time> h sshd[<num>]: Failed password for root from <ip> port <num>");
    assert_eq!(*hit.captures, [Some("root".into()), None]);
    assert_eq!(hit.stamp.map(|s| s.to_string()).as_deref(), Some("2026-11-22T05:26:00.000Z"));
    assert_eq!((hit.read, hit.file_no, hit.backlog), (READ, 1, false));
}

#[test]
fn what_travels_is_bounded() {
    let mut spec = rule(0, r"start (?<rest>.*)");
    spec.by = vec![By::Capture("rest".into())];
    let line = format!("start {}\n", "ä".repeat(5000));
    let hits = Scan::new(vec![spec]).hits(line.as_bytes());
    assert!(hits[0].line.len() <= LINE_BYTES && hits[0].line.ends_with("ä…"));
    assert!(hits[0].key[0].len() <= CAPTURE_BYTES && hits[0].key[0].ends_with("ä…"));
    assert_eq!(hits[0].captures[0].as_deref(), Some(&*hits[0].key[0]));
}

#[test]
fn a_rule_reads_its_own_files_alone() {
    let mut specs = rules(&["disk full", r"\d", "disk full"]);
    specs[0].only_files = vec!["/var/log/*.log".into()];
    specs[1].only_files = vec!["/var/log/syslog".into(), "/srv/**/x".into()];
    specs[2].sources = vec![SourceNo(1)];
    let mut scan = Scan::new(specs);
    let line = b"disk full 7\n";
    assert_eq!(scan.told(line), ["1: disk full 7"]);
    (scan.file, scan.file_no) = ("/var/log/a.log".into(), 2);
    assert_eq!(scan.told(line), ["0: disk full 7"]);
    (scan.file, scan.file_no) = ("/var/log/deep/a.log".into(), 3);
    assert!(scan.told(line).is_empty());
    (scan.file, scan.file_no) = ("/srv/a/b/x".into(), 4);
    assert_eq!(scan.told(line), ["1: disk full 7"]);
}

#[test]
fn a_rule_that_hit_the_unfinished_line_does_not_hit_it_again() {
    let mut scan = Scan::new(rules(&["disk", "full"]));
    scan.end = BlockEnd::Idle;
    let early = scan.hits(b"the disk");
    scan.early = early.iter().map(|h| scan.set.early_name(h)).collect();
    assert_eq!(scan.early, ["rule-0".into()]);
    scan.end = BlockEnd::Whole;
    assert_eq!(scan.told(b"the disk is full\ndisk\n"), ["1: the disk is full", "0: disk"]);
}

/// Number, which parts of the key are named and their values, and the line.
fn ends(hits: &[Hit]) -> Vec<String> {
    let one = |h: &Hit| format!("{} {:?} {:?} {}", h.rule.0, h.resolves, h.key, h.line);
    hits.iter().map(one).collect()
}

#[test]
fn what_resolves_is_found_by_a_text_of_its_own_and_names_parts_of_the_key() {
    let mut specs = rules(&[r"(?<array>md\d+): Disk failure on (?<disk>\w+)", "disk"]);
    specs[0].by = ["array", "disk"].map(|n| By::Capture(n.into())).into();
    specs[0].exclude = vec![Pattern::new("md").unwrap()];
    specs[0].resolve = Some(Pattern::new(r"recovery (?:of (?<array>md\d+) )?(?<disk>x)?done").unwrap());
    let mut scan = Scan::new(specs);
    let text = b"recovery of md0 done\nnothing\nmd0: Disk failure on sda\nrecovery xdone, disk\n";
    assert_eq!(
        ends(&scan.hits(text)),
        [
            r#"0 Some(3) ["md0", "(none)"] recovery of md0 done"#,
            r#"0 Some(3) ["(none)", "x"] recovery xdone, disk"#,
            "1 None [] recovery xdone, disk",
        ]
    );
    assert_eq!(
        (scan.set.len(), scan.set.without_literal().len(), scan.set.resolves_without_literal().len()),
        (2, 0, 0)
    );
    let own = b"Nov 22 05:26:00 web1 logherald[77]: recovery done\n";
    assert!(scan.hits(own).is_empty(), "the agent cannot end what it tells of");
}

#[test]
fn a_field_names_a_part_of_the_key_where_the_line_has_it() {
    let mut specs = rules(&["down"]);
    specs[0].by = ["host", "level"].map(|n| By::Capture(n.into())).into();
    specs[0].resolve = Some(Pattern::new("up again").unwrap());
    let mut scan = Scan::new(specs);
    let text = b"{\"host\":\"a\",\"text\":\"up again\"}\nup again\n";
    let found: Vec<_> = scan.hits(text).into_iter().map(|h| (h.resolves, h.key)).collect();
    assert_eq!(
        found,
        [(Some(1), ["a", ""].map(Box::from).into()), (Some(0), ["", ""].map(Box::from).into())]
    );
}

#[test]
fn a_line_that_was_resolved_early_is_still_asked_whether_it_is_a_hit() {
    let mut specs = rules(&["disk"]);
    specs[0].resolve = Some(Pattern::new("is back").unwrap());
    let mut scan = Scan::new(specs);
    scan.end = BlockEnd::Idle;
    let early = scan.hits(b"is back");
    scan.early = early.iter().map(|h| scan.set.early_name(h)).collect();
    assert_eq!(scan.early, ["rule-0 resolve".into()]);
    scan.end = BlockEnd::Whole;
    assert_eq!(ends(&scan.hits(b"is back: the disk\n")), ["0 None [] is back: the disk"]);
}

#[test]
fn explain_says_that_a_line_ends_an_incident() {
    let mut specs = rules(&["(?<what>disk) failed", "disk"]);
    specs[0].by = vec![By::Capture("what".into())];
    specs[0].resolve = Some(Pattern::new("(?<what>disk) replaced").unwrap());
    specs[1].resolve = Some(Pattern::new("disk replaced").unwrap());
    let steps = |line: &[u8]| -> Vec<(u32, Step)> {
        let all = set(specs.clone()).explain(None, None, line, &[], READ.wall);
        all.into_iter().map(|e| (e.rule.0, e.step)).collect()
    };
    let key = vec![("what".to_owned(), "disk".to_owned())];
    let hit = Step::Hit { captures: vec![], key: vec![], stamp: None };
    assert_eq!(
        steps(b"disk replaced"),
        [(0, Step::Resolves { key }), (1, hit), (1, Step::Resolves { key: vec![] })],
        "a rule whose both halves accept the line is there twice"
    );
    assert_eq!(steps(b"no"), steps(b"on"));
}

#[test]
fn a_record_that_brings_its_time_keeps_it() {
    let mut scan = Scan::new(rules(&["disk", r"\d"]));
    let at = [(0, 21), (22, 24), (25, 31), (32, 36)];
    scan.records = (1..)
        .zip(at)
        .map(|(t, (start, end))| Record { start, end, stamp: Some(Wall(t)), ..Record::default() })
        .collect();
    let times: Vec<_> =
        scan.hits(b"2026-01-01 00:00:00 x\nno\ndisk 7\ndisk\n").iter().map(|h| h.stamp).collect();
    assert_eq!(times, [Some(Wall(1)), Some(Wall(3)), Some(Wall(3)), Some(Wall(4))]);
}

#[test]
fn rules_without_a_literal_are_named() {
    let set = set(rules(&["disk full", r"\d+", ".*", "abc", "oops"]));
    assert_eq!(set.without_literal(), [RuleNo(1), RuleNo(2), RuleNo(3)]);
}

#[test]
fn explain_says_how_far_each_rule_got() {
    let mut specs = rules(&["Disk (?<what>full)", "panic|oops", r"disk \d", "disk full", "disk", "disk"]);
    specs[0].by = vec![By::Capture("what".into())];
    specs[3].exclude = vec![Pattern::new("nothing").unwrap(), Pattern::new(r"dev \w+").unwrap()];
    specs[4].sources = vec![SourceNo(1)];
    specs[5].only_files = vec!["/srv/*".into()];
    let set = set(specs);
    let steps = set.explain(Some(SourceNo(0)), Some("/var/log/x"), b"Disk full, dev sda", &[], READ.wall);
    let steps: Vec<Step> = steps.into_iter().map(|e| e.step).collect();
    let full = vec![("what".to_owned(), Some("full".to_owned()))];
    assert_eq!(
        steps,
        [
            Step::Hit { captures: full, key: vec!["full".into()], stamp: None },
            Step::NoLiteral(["panic".into(), "oops".into()].into()),
            Step::NoMatch,
            Step::NoMatch,
            Step::OtherSource,
            Step::OtherFile,
        ]
    );
    let step = set.explain(None, None, b"disk full, dev sda", &[], READ.wall).swap_remove(3).step;
    assert_eq!(step, Step::Excluded { index: 1, pattern: r"dev \w+".into() });
}

#[test]
fn explain_names_the_text_that_found_a_rule() {
    let set = set(rules(&["Disk (?<what>full)", "panic|oops", r"disk \d", r"\d"]));
    let texts: Vec<_> =
        set.explain(None, None, b"an OOPS, disk x", &[], READ.wall).into_iter().map(|e| e.literal).collect();
    assert_eq!(texts, [None, Some("oops".to_owned()), Some("disk ".to_owned()), None]);
}

#[test]
fn costs_are_counted_when_they_are_asked_for() {
    let mut scan = Scan::new(rules(&["disk full", r"disk \d", r"[xyz]", "never here"]));
    let text = b"disk full\ndisk 7\ndisk x\n\nfull\n";
    scan.hits(text);
    assert!(scan.set.costs().is_empty(), "nobody has asked");
    scan.set.count_costs();
    scan.hits(text);
    let counts: Vec<_> = scan.set.costs().iter().map(|c| (c.rule.0, c.candidates, c.hits)).collect();
    // the third has no text to be found by, and is tried where the search for such rules stops
    assert_eq!(counts, [(0, 1, 1), (1, 3, 1), (2, 1, 1), (3, 0, 0)]);
    assert!(scan.set.costs().iter().all(|c| (c.nanos > 0) == (c.candidates > 0)));
}

#[test]
fn an_inline_test_is_judged_by_the_rule_alone() {
    let mut spec = rule(0, r"from {ip}(?: port (?<port>\d+))?");
    spec.exclude = vec![Pattern::new("from 10[.]").unwrap()];
    assert_eq!(test_line(&spec, b"nothing", &[]), LineVerdict::Nothing);
    assert_eq!(test_line(&spec, b"from 10.0.0.1", &[]), LineVerdict::Excluded(0));
    let captures = vec![("ip".into(), Some("192.0.2.1".into())), ("port".into(), None)];
    assert_eq!(test_line(&spec, b"from 192.0.2.1", &[]), LineVerdict::Hit { captures });
    let own = b"Nov 22 05:26:00 web1 logherald[77]: from 192.0.2.1";
    assert_eq!(test_line(&spec, own, &[]), LineVerdict::Own);
}

#[test]
fn the_agents_own_lines_never_hit_by_whatever_way_they_are_found() {
    // one rule with a literal, one that is tried on every line
    let specs = rules(&["No space left on device", r"\d \w"]);
    let own = "Nov 22 05:26:00 web1 logherald[77]: No space left on device";
    let other = "Nov 22 05:26:01 web1 app[77]: logherald[77]: No space left on device";
    let mut scan = Scan::new(specs.clone());
    let hits = scan.hits(format!("{own}\n{other}\n{own}\n").as_bytes());
    let lines: Vec<(u32, &str)> = hits.iter().map(|h| (h.rule.0, &*h.line)).collect();
    assert_eq!(lines, [(0, other), (1, other)]);
    let steps = set(specs).explain(None, None, own.as_bytes(), &[], Wall(0));
    assert!(steps.iter().all(|e| e.step == Step::Own), "{steps:?}");
}

/// Blocks with a table: the text of each record, and what stands behind it that belongs to none.
fn some_records() -> impl Strategy<Value = Vec<(Vec<u8>, Vec<u8>)>> {
    let joined = proptest::collection::vec(some_line(), 1..4).prop_map(|l| l.join(&b"\n"[..]));
    let gap = prop_oneof![3 => Just(Vec::new()), 1 => some_line(), 1 => Just(b" disk full\npanic".to_vec())];
    proptest::collection::vec((joined, gap), 1..10)
}

/// The bytes of a block and its table.
fn table(parts: &[(Vec<u8>, Vec<u8>)]) -> (Vec<u8>, Vec<Record>) {
    let (mut bytes, mut records) = (Vec::new(), Vec::new());
    for (text, gap) in parts {
        let start = bytes.len() as u32;
        bytes.extend_from_slice(text);
        records.push(Record { start, end: bytes.len() as u32, ..Record::default() });
        bytes.extend_from_slice(gap);
        bytes.push(b'\n');
    }
    (bytes, records)
}

/// `rule: line: captures` of each hit.
fn described(no: RuleNo, line: &str, captures: &[Option<Cow<'_, str>>]) -> String {
    format!("{} {line:?} {captures:?}", no.0)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 768, ..ProptestConfig::default() })]

    #[test]
    fn a_scan_of_records_finds_what_each_regex_finds_on_each_record(
        specs in some_rules(),
        parts in some_records(),
    ) {
        let (bytes, records) = table(&parts);
        let mut scan = Scan::new(specs.clone());
        scan.records = records;
        let found: Vec<String> = scan
            .hits(&bytes)
            .iter()
            .map(|h| {
                let captures: Vec<_> = h.captures.iter().map(|c| c.as_deref().map(Cow::Borrowed)).collect();
                described(h.rule, &h.line, &captures)
            })
            .collect();
        let mut wanted = Vec::new();
        for (text, _) in &parts {
            for rule in &specs {
                let Some(caps) = rule.pattern.regex().captures(text) else { continue };
                if rule.exclude.iter().any(|e| e.regex().is_match(text)) {
                    continue;
                }
                let names = rule.captures.iter();
                let captures: Vec<_> =
                    names.map(|n| caps.name(n).map(|m| String::from_utf8_lossy(m.as_bytes()))).collect();
                wanted.push(described(rule.no, &String::from_utf8_lossy(text), &captures));
            }
        }
        prop_assert_eq!(found, wanted, "block {:?}", String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn what_stands_between_records_belongs_to_none() {
    let mut scan = Scan::new(rules(&["disk full", r"a\nb", "^b$", r"(?s)full.*full", r"\d"]));
    let parts: Vec<(Vec<u8>, Vec<u8>)> =
        [("disk", " full"), ("a\nb", "7"), ("b", ""), ("disk full\n\nfull 1", "disk full")]
            .map(|(text, gap)| (text.into(), gap.into()))
            .into();
    let (bytes, records) = table(&parts);
    scan.records = records;
    let wanted =
        ["1: a\nb", "2: b", "0: disk full\n\nfull 1", "3: disk full\n\nfull 1", "4: disk full\n\nfull 1"];
    assert_eq!(scan.told(&bytes), wanted);
}

#[test]
fn what_one_record_was_refused_for_is_nothing_to_the_next() {
    // the same text at the same place of each
    let mut scan = Scan::new(rules(&[r"\berror\b"]));
    let (bytes, records) = table(&["errors", "error 7", "errors", "error"].map(|t| (t.into(), "".into())));
    scan.records = records;
    assert_eq!(scan.told(&bytes), ["0: error 7", "0: error"]);
}

#[test]
fn the_first_record_is_the_one_that_was_hit_early() {
    let mut scan = Scan::new(rules(&["disk", "."]));
    let (bytes, records) = table(&[("the disk\nis full".into(), "".into()), ("disk".into(), "".into())]);
    scan.records = records;
    scan.early = vec!["rule-0".into(), "rule-1".into()];
    assert_eq!(scan.told(&bytes), ["0: disk", "1: disk"]);
}

#[test]
fn a_record_without_a_time_has_the_time_of_its_text() {
    let mut scan = Scan::new(rules(&["disk"]));
    let (bytes, mut records) = table(&[
        ("2026-01-01T00:00:00Z disk".into(), "".into()),
        ("2026-01-01T00:00:00Z disk".into(), "".into()),
    ]);
    records[1].stamp = Some(Wall(7));
    scan.records = records;
    let times: Vec<_> = scan.hits(&bytes).iter().map(|h| h.stamp).collect();
    assert_eq!(times, [Some(Wall(1_767_225_600_000)), Some(Wall(7))]);
}

#[test]
fn a_joined_line_of_the_agents_own_is_known_by_its_first() {
    let mut scan = Scan::new(rules(&["No space left on device", "."]));
    let parts: Vec<(Vec<u8>, Vec<u8>)> = [
        "Nov 22 05:26:00 web1 logherald[77]: watching\n│ No space left on device",
        "app: oops\nNov 22 05:26:00 web1 logherald[77]: No space left on device",
    ]
    .map(|text| (text.into(), Vec::new()))
    .into();
    let (bytes, records) = table(&parts);
    scan.records = records;
    assert_eq!(scan.hits(&bytes).len(), 2, "those of the second");
}

/// Conditions, as `field = value` or `field = value|value`.
fn conditions(all: &[(&str, &str)]) -> Vec<Where> {
    let one = |(field, values): &(&str, &str)| Where {
        field: (*field).to_owned(),
        values: values.split('|').map(str::to_owned).collect(),
    };
    all.iter().map(one).collect()
}

#[test]
fn a_hit_needs_every_condition() {
    let mut spec = rule(0, "fail");
    spec.fields = conditions(&[("level", "error|fatal"), ("http.status", "500")]);
    let mut scan = Scan::new(vec![spec, rule(1, "fail")]);
    let text = concat!(
        "{\"level\":\"error\",\"http\":{\"status\":500},\"msg\":\"fail 1\"}\n",
        "{\"level\":\"ERROR\",\"http\":{\"status\":500},\"msg\":\"fail 2\"}\n",
        "{\"level\":\"fatal\",\"http.status\":\"500\",\"msg\":\"fail 3\"}\n",
        "{\"level\":\"fatal\",\"msg\":\"fail 4\"}\n",
        "{\"level\":\"error\",\"http.status\":500,\"msg\":\"fail 5\n",
        "level=fatal http.status=500 fail=6\n",
        "level=\"fatal\" fail http.status=50\n",
    );
    let hits = scan.hits(text.as_bytes());
    let of = |no| hits.iter().filter(|h| h.rule == RuleNo(no)).map(|h| &*h.line).collect::<Vec<_>>();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(of(0), [lines[0], lines[2], lines[5]]);
    assert_eq!(of(1), lines);
}

#[test]
fn what_match_does_not_name_is_a_field() {
    let mut spec = rule(0, r"(?<what>fail)");
    spec.by = vec![By::Capture("app.name".into()), By::Capture("gone".into())];
    spec.captures = ["what", "stream", "user", "field.what", "gone"].map(str::to_owned).into();
    let mut scan = Scan::new(vec![spec]);
    let text = r#"{"what":"x","user":"a \"b\"","app":{"name":"shop"},"stream":"forged","msg":"fail"}"#;
    let (bytes, mut records) = table(&[("no".into(), "".into()), (text.into(), "".into())]);
    records[1].fields = (1, 2);
    scan.records = records;
    scan.fields = ["stdout", "stderr"].map(|v| Field { name: "stream".into(), value: v.into() }).into();
    let hits = scan.hits(&bytes);
    assert_eq!(*hits[0].key, ["shop".into(), "(none)".into()]);
    let captures = ["fail", "stderr", "a \"b\"", "x"].map(|v| Some(v.into())).into_iter().chain([None]);
    assert_eq!(*hits[0].captures, captures.collect::<Vec<_>>());
}

#[test]
fn a_field_that_travels_is_cut_and_one_that_is_compared_is_not() {
    let long = "ä".repeat(400);
    let mut spec = rule(0, "fail");
    spec.fields = conditions(&[("user", &long)]);
    spec.captures = vec!["user".into()];
    let hits = Scan::new(vec![spec]).hits(format!("fail user={long}\nfail user={long}x\n").as_bytes());
    assert_eq!(hits.len(), 1);
    let user = hits[0].captures[0].as_deref().unwrap();
    assert!(user.len() <= CAPTURE_BYTES && user.ends_with("ä…"), "{user}");
}

#[test]
fn the_first_condition_that_fails_is_named() {
    let mut spec = rule(0, "fail (?<n>\\d)");
    spec.fields = conditions(&[("level", "error|fatal"), ("stream", "stderr")]);
    spec.captures.push("user".into());
    let set = set(vec![spec.clone()]);
    let step = |line: &str| set.explain(None, None, line.as_bytes(), &[], READ.wall).swap_remove(0).step;
    let refused = |field: &str, found: Option<&str>, wanted: &[&str]| Step::Refused {
        field: field.into(),
        found: found.map(str::to_owned),
        wanted: wanted.iter().map(ToString::to_string).collect(),
    };
    assert_eq!(step("fail 1 level=info"), refused("level", Some("info"), &["error", "fatal"]));
    assert_eq!(step("fail 1 level=error"), refused("stream", None, &["stderr"]));
    let captures = vec![("n".into(), Some("1".into())), ("user".into(), Some("kim".into()))];
    let hit = Step::Hit { captures: captures.clone(), key: vec![], stamp: None };
    assert_eq!(step("fail 1 level=error stream=stderr user=kim"), hit);

    let wrapper = [Field { name: "stream".into(), value: "stderr".into() }];
    let verdict = |line: &str| test_line(&spec, line.as_bytes(), &wrapper);
    assert_eq!(verdict("fail 1 user=kim"), LineVerdict::Refused { index: 0, found: None });
    assert_eq!(verdict("fail 1 level=fatal user=kim stream=stdout"), LineVerdict::Hit { captures });
}

/// The folder of real logs and rules that lies beside a developer's checkout.
fn shared() -> Option<PathBuf> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let dir = std::env::var_os("LOGHERALD_SHARED").map_or_else(beside, PathBuf::from);
    if dir.join("data/rules").is_dir() {
        return Some(dir);
    }
    assert!(std::env::var_os("CI").is_none(), "no real logs at {}: set LOGHERALD_SHARED", dir.display());
    // past the capture of test output: a skipped test must be seen
    _ = writeln!(std::io::stderr(), "SKIPPED: no real logs at {}; set LOGHERALD_SHARED", dir.display());
    None
}

#[test]
fn a_hundred_rules_on_sixteen_real_logs() {
    let Some(dir) = shared() else { return };
    let patterns = std::fs::read_to_string(dir.join("data/rules/r100.txt")).unwrap();
    let patterns: Vec<&str> = patterns.lines().collect();
    let specs = rules(&patterns);
    let mut scan = Scan::new(specs.clone());
    let mut total = 0;
    for file in std::fs::read_dir(dir.join("data/loghub")).unwrap() {
        let mut bytes = std::fs::read(file.unwrap().path()).unwrap();
        bytes.push(b'\n');
        let found = scan.hits(&bytes);
        let wanted = plainly(&specs, &bytes);
        assert_eq!(found.len(), wanted.len());
        for (hit, (no, line)) in found.iter().zip(&wanted) {
            assert_eq!(hit.rule, *no, "{}", String::from_utf8_lossy(line));
            assert!(String::from_utf8_lossy(line).starts_with(hit.line.trim_end_matches('…')));
        }
        total += found.len();
    }
    assert!(total > 1000, "{total}");
}
