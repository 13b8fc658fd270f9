//! Rules from a generator of what operators write, over lines that nearly match them, at every split into blocks.
//!
//! A rule is grown as a tree, which can say both its regex and a text that it likes; lines are such texts, bent a
//! little, and real lines where there are some. Compiling is what costs, so few sets of rules meet many texts, and a case
//! is a set of rules, a text and one way to cut it into blocks of whole lines.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::{Scan, plainly, rule, shared, table};

/// Rules of a set, texts of a set, lines of a text.
const RULES: usize = 8;
const TEXTS: usize = 20;
const LINES: usize = 6;

/// What a line must have been looked at in, by default; `PROPTEST_CASES` asks for more.
const CASES: usize = 100_000;

/// A part of a rule.
#[derive(Clone, Debug)]
enum Part {
    /// Text that stands for itself.
    Text(&'static str),
    /// A class or the like, and what it may match.
    Class(&'static str, &'static [&'static str]),
    /// An anchor.
    Look(&'static str),
    All(Vec<Part>),
    One(Vec<Part>),
    /// A part, how often, as written, and how often that may be.
    Many(Box<Part>, &'static str, usize, usize),
    /// With case ignored.
    Folded(Box<Part>),
    Named(Box<Part>),
}

const TEXTS_OF_RULES: [&str; 30] = [
    "disk full",
    "sk",
    "K",
    "Kelvin",
    "failed",
    "Failed password for ",
    "error",
    "é",
    "größe",
    " su",
    "GET /x",
    "[",
    "{",
    "ab",
    "a",
    "]: ",
    "sshd[",
    "kernel: ",
    "Out of memory: ",
    "s",
    "authentication failure",
    "x",
    "segfault at ",
    "\u{212a}",
    "\u{17f}",
    "::",
    "0",
    "refused connection from the peer",
    "oom-killer",
    "\\",
];

const CLASSES: [(&str, &[&str]); 20] = [
    (r"\d", &["0", "7", "٣"]),
    (r"\d+", &["0", "12345"]),
    (r"\w", &["a", "_", "é", "K"]),
    (r"\s", &[" ", "\t", "\u{a0}"]),
    (r"\S+", &["a", "10.0.0.1", "é]"]),
    (r".*", &["", "abc def", "é"]),
    (".", &["a", "é", "\u{7f}"]),
    (r"[\s\S]", &["a", "é"]),
    ("[a-c]", &["a", "c"]),
    ("[^a]", &["b", "é", "]"]),
    ("[0-9a-f]+", &["0", "dead"]),
    ("[kK]", &["k", "K"]),
    ("[ks]", &["k", "s"]),
    (r"(?-u:[^a])", &["b", " "]),
    (r"(?-u:\w)", &["a", "9"]),
    (r"[.,:]?", &["", ":"]),
    (r"\p{Greek}", &["λ"]),
    (r"[^ ]*", &["", "x", "abc"]),
    ("(?s:.)", &["a"]),
    ("[a&&b]", &["", "a"]),
];

const LOOKS: [&str; 16] = [
    "^",
    "$",
    r"\b",
    r"\B",
    r"\A",
    r"\z",
    "(?m:^)",
    "(?m:$)",
    "(?mR:^)",
    "(?mR:$)",
    r"(?-u:\b)",
    r"\b{start}",
    r"\b{end}",
    r"\b{start-half}",
    "",
    "^",
];

const TIMES: [(&str, usize, usize); 11] = [
    ("?", 0, 1),
    ("*", 0, 3),
    ("+", 1, 3),
    ("{2}", 2, 2),
    ("{1,3}", 1, 3),
    ("{2,}", 2, 4),
    ("??", 0, 1),
    ("+?", 1, 2),
    ("{0}", 0, 0),
    ("{0,2}", 0, 2),
    ("*?", 0, 2),
];

fn part() -> impl Strategy<Value = Part> {
    let leaf = prop_oneof![
        6 => (0..TEXTS_OF_RULES.len()).prop_map(|i| Part::Text(TEXTS_OF_RULES[i])),
        3 => (0..CLASSES.len()).prop_map(|i| Part::Class(CLASSES[i].0, CLASSES[i].1)),
        1 => (0..LOOKS.len()).prop_map(|i| Part::Look(LOOKS[i])),
    ];
    leaf.prop_recursive(4, 20, 5, |inner| {
        prop_oneof![
            6 => prop::collection::vec(inner.clone(), 1..6).prop_map(Part::All),
            2 => prop::collection::vec(inner.clone(), 1..4).prop_map(Part::One),
            1 => prop::collection::vec(inner.clone(), 1..3).prop_map(|mut branches| {
                branches.push(Part::Text(""));
                Part::One(branches)
            }),
            2 => (inner.clone(), 0..TIMES.len())
                .prop_map(|(p, t)| Part::Many(p.into(), TIMES[t].0, TIMES[t].1, TIMES[t].2)),
            1 => inner.clone().prop_map(|p| Part::Folded(p.into())),
            1 => inner.prop_map(|p| Part::Named(p.into())),
        ]
    })
}

impl Part {
    fn write(&self, out: &mut String, names: &mut usize) {
        match self {
            Part::Text(text) => out.push_str(&regex::escape(text)),
            Part::Class(class, _) => out.push_str(class),
            Part::Look(look) => out.push_str(look),
            Part::All(parts) => parts.iter().for_each(|p| p.write(out, names)),
            Part::One(parts) => {
                out.push_str("(?:");
                for (n, part) in parts.iter().enumerate() {
                    out.push_str(if n > 0 { "|" } else { "" });
                    part.write(out, names);
                }
                out.push(')');
            }
            Part::Many(part, times, ..) => {
                out.push_str("(?:");
                part.write(out, names);
                _ = write!(out, "){times}");
            }
            Part::Folded(part) => {
                out.push_str("(?i:");
                part.write(out, names);
                out.push(')');
            }
            Part::Named(part) => {
                *names += 1;
                _ = write!(out, "(?<n{names}>");
                part.write(out, names);
                out.push(')');
            }
        }
    }

    fn pattern(&self) -> String {
        let (mut out, mut names) = (String::new(), 0);
        self.write(&mut out, &mut names);
        out
    }

    /// A text that it likes, by and large.
    fn like(&self, out: &mut String, random: &mut Random) {
        match self {
            Part::Text(text) => out.push_str(text),
            Part::Class(_, like) => out.push_str(like[random.below(like.len())]),
            Part::Look(_) => {}
            Part::All(parts) => parts.iter().for_each(|p| p.like(out, random)),
            Part::One(parts) => parts[random.below(parts.len())].like(out, random),
            Part::Many(part, _, least, most) => {
                (0..least + random.below(most - least + 1)).for_each(|_| part.like(out, random));
            }
            Part::Folded(part) => {
                let mut inner = String::new();
                part.like(&mut inner, random);
                out.extend(inner.chars().map(|c| random.folded(c)));
            }
            Part::Named(part) => part.like(out, random),
        }
    }
}

/// Numbers from a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % n as u64) as usize
    }

    /// A character that `(?i)` takes for this one.
    fn folded(&mut self, c: char) -> char {
        match (c, self.below(4)) {
            ('k' | 'K', 0) => '\u{212a}',
            ('s' | 'S', 0) => '\u{17f}',
            (c, 1) => c.to_uppercase().next().unwrap_or(c),
            (c, 2) => c.to_lowercase().next().unwrap_or(c),
            _ => c,
        }
    }

    /// A line that some of the rules may like.
    fn line(&mut self, rules: &[Part], real: &[Vec<u8>]) -> Vec<u8> {
        if !real.is_empty() && self.below(8) == 0 {
            return real[self.below(real.len())].clone();
        }
        let mut line = String::new();
        for _ in 0..self.below(4) {
            line.push_str(["", "", " ", "x", "Jul  3 14:59:17 h app[7]: ", "é"][self.below(6)]);
            rules[self.below(rules.len())].like(&mut line, self);
        }
        let mut line = line.into_bytes();
        // bent: a byte more, less or other
        if !line.is_empty() && self.below(3) == 0 {
            let at = self.below(line.len());
            match self.below(4) {
                0 => _ = line.remove(at),
                1 => line[at] ^= 0x20,
                2 => line[at] = 0xff,
                _ => line.insert(at, b'k'),
            }
        }
        line.retain(|b| *b != b'\n');
        if self.below(8) == 0 {
            line.push(b'\r');
        }
        line
    }
}

fn real_lines() -> Vec<Vec<u8>> {
    let Some(dir) = shared() else { return Vec::new() };
    let files = std::fs::read_dir(dir.join("data/loghub")).unwrap();
    let text: Vec<u8> = files.flat_map(|f| std::fs::read(f.unwrap().path()).unwrap()).collect();
    text.split(|b| *b == b'\n').step_by(61).map(<[u8]>::to_vec).collect()
}

#[test]
fn every_rule_hits_what_its_regex_matches_at_every_split() {
    let real = real_lines();
    let cases = AtomicUsize::new(0);
    let config = ProptestConfig { source_file: Some(file!()), ..ProptestConfig::default() };
    let least = if config.cases >= 256 { CASES } else { 0 };
    let sets = (prop::collection::vec(part(), 1..=RULES), any::<u64>());
    let verdict = TestRunner::new(config).run(&sets, |(parts, seed)| {
        let specs: Vec<_> = parts.iter().enumerate().map(|(no, p)| rule(no as u32, &p.pattern())).collect();
        let mut scan = Scan::new(specs.clone());
        let mut random = Random(seed);
        for _ in 0..TEXTS {
            let lines: Vec<Vec<u8>> =
                (0..LINES).map(|_| [random.line(&parts, &real), b"\n".to_vec()].concat()).collect();
            let wanted = plainly(&specs, &lines.concat());
            // and as a block with a table, where each line is a record
            let (bytes, records) =
                table(&lines.iter().map(|l| (l[..l.len() - 1].to_vec(), Vec::new())).collect::<Vec<_>>());
            let of_records: Vec<_> = lines
                .iter()
                .map(|line| &line[..line.len() - 1])
                .flat_map(|line| specs.iter().map(move |spec| (spec, line)))
                .filter(|(spec, line)| spec.pattern.regex().is_match(line))
                .map(|(spec, line)| (spec.no, line.to_vec()))
                .collect();
            let mut found = Vec::new();
            scan.records = records;
            scan.find(&bytes, |no, range| found.push((no, bytes[range].to_vec())));
            scan.records = Vec::new();
            prop_assert_eq!(found, of_records, "records, seed {}", seed);
            // bit n: a block ends behind line n
            for split in 0..1usize << (LINES - 1) {
                let mut found = Vec::new();
                let mut block = Vec::new();
                for (n, line) in lines.iter().enumerate() {
                    block.extend_from_slice(line);
                    if n + 1 == LINES || split >> n & 1 == 1 {
                        scan.find(&block, |no, range| found.push((no, block[range].to_vec())));
                        block.clear();
                    }
                }
                cases.fetch_add(1, Ordering::Relaxed);
                if found != wanted {
                    let show = |all: &[(logherald::hit::RuleNo, Vec<u8>)]| {
                        let one = |(no, line): &(logherald::hit::RuleNo, Vec<u8>)| {
                            format!(
                                "{} {:?}",
                                specs[no.0 as usize].pattern.text,
                                String::from_utf8_lossy(line)
                            )
                        };
                        all.iter().map(one).collect::<Vec<_>>()
                    };
                    prop_assert_eq!(show(&found), show(&wanted), "split {:b}, seed {}", split, seed);
                }
            }
        }
        Ok(())
    });
    if let Err(fault) = verdict {
        panic!("{fault}");
    }
    let cases = cases.into_inner();
    println!("measured: scan, exact in {cases} cases of rules, text and split");
    assert!(cases >= least, "{cases}");
}

#[test]
fn a_search_that_has_learnt_finds_the_same() {
    let specs: Vec<_> = ["disk full", "Failed password for", r"(?i)kiosk \d+", r"error: \S+$", r"\d\d"]
        .iter()
        .enumerate()
        .map(|(no, p)| rule(no as u32, p))
        .collect();
    let mut scan = Scan::new(specs.clone());
    let text: String = (0..3000)
        .map(|n| match n % 7 {
            0 => format!("disk full {n}\n"),
            1 => "error: Failed password for kim\n".to_owned(),
            2 => format!("\u{212a}io\u{17f}K {n}\n"),
            _ => "nothing of note happened here\n".to_owned(),
        })
        .collect();
    // the first block is too small to learn from, the second is not
    for bytes in [&text[..=text.find('\n').unwrap()], &text, &text] {
        let mut found = Vec::new();
        scan.find(bytes.as_bytes(), |no, range| found.push((no, bytes.as_bytes()[range].to_vec())));
        assert_eq!(found, plainly(&specs, bytes.as_bytes()));
    }
}

#[test]
fn a_literal_a_thousand_times_in_a_line_is_still_one_look() {
    let specs = vec![rule(0, "boom(?:boom)*!$"), rule(1, "x.*boom[.]")];
    let mut scan = Scan::new(specs.clone());
    for line in
        ["boom".repeat(5000), format!("{}!", "boom".repeat(5000)), format!("x{}.", "boom ".repeat(999))]
    {
        let mut found = Vec::new();
        let bytes = format!("{line}\n");
        scan.find(bytes.as_bytes(), |no, range| found.push((no, bytes.as_bytes()[range].to_vec())));
        assert_eq!(found, plainly(&specs, bytes.as_bytes()));
    }
}
