//! Is a hit that is folded counted as one that comes in full?
//!
//! The same lines go through one set of rules twice, folded and in full, and to two judges, which must say the same
//! and write down the same.

use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use logherald::config::{self, Env, Settings};
use logherald::hit::{Hit, Hits};
use logherald::judge::{Input, Judge};
use logherald::line::{Block, BlockEnd, Record, SourceNo};
use logherald::message::{Fate, Message};
use logherald::rules::RuleSet;
use logherald::time::{Now, Tick, Wall};
use proptest::prelude::*;

const RULES: &str = r#"
[space.ops]
console = true
max_per_hour = 3600

[[source]]
name = "x"
files = ["/var/log/x"]
format = "logfmt"

[defaults]
source = "x"
quiet = "20s"
remind = "5s"

[[rule]]
name = "any"
match = 'fail'
message = "{hits} of {total}: {line} {first} {last}"

[[rule]]
name = "address"
match = 'fail.* from {ip}(?: port (?<port>\d+))?'
by = ["ip"]
message = "{ip} {port} {line}"

[[rule]]
name = "five"
match = 'fail (?<what>\w+)'
by = ["what"]
threshold = 5
within = "10s"

[[rule]]
name = "sort"
match = 'fail|worse'
by = ["kind", "file"]

[[rule]]
name = "field"
match = 'worse'
by = ["user"]
exclude = ['not worse']

[[rule]]
name = "over"
match = 'worse (?<n>\d)'
resolve = 'fail disk'
by = ["n"]
hold = "3s"
say_end = true

[[rule]]
name = "busy"
match = 'worse (?<n>\d+)'
by = ["n"]
max_per_hour = 2
"#;

const PIECES: [&str; 22] = [
    "fail",
    "fail disk",
    "fail net",
    " from 10.0.0.1",
    " from 10.0.0.2 port 77",
    " from 2001:db8::1",
    " port 5",
    " worse",
    " not worse",
    " worse 1",
    " worse 2",
    " worse 3",
    " user=kim",
    " user=\"\"",
    " user=lee",
    " password=secret1",
    " 12345",
    "ok",
    "\u{e9}\u{2026}",
    "Nov 22 05:25:59 h ",
    "2026-11-22T05:26:07.5Z ",
    "2026-11-22T05:25:01+00:00 ",
];

struct Twice {
    sets: [RuleSet; 2],
    judges: [Judge; 2],
    now: Now,
    waiting: Vec<Message>,
    folded: usize,
}

/// Compiled once: a set is cloned for little.
static LOADED: LazyLock<(Settings, RuleSet)> = LazyLock::new(|| {
    let env = Env { host: "h".into(), tz: jiff::tz::TimeZone::UTC, now: START };
    let loaded = config::load_text(Path::new("rules.toml"), RULES, &env, &config::Disk);
    let settings =
        loaded.settings.as_ref().unwrap_or_else(|| panic!("{}", loaded.render(config::Look::Plain)));
    let set = RuleSet::new(settings.rules.clone(), settings.clocks.clone(), "h".into());
    (settings.clone(), set)
});

const START: Now = Now { wall: Wall(1_795_325_160_000), tick: Tick(1_000_000) };

impl Twice {
    fn new() -> Twice {
        let (settings, set) = &*LOADED;
        let judge = || Judge::new(settings.policy.clone(), vec![], [7; 16], START).0;
        let (sets, judges) = ([set.clone(), set.clone()], [judge(), judge()]);
        Twice { sets, judges, now: START, waiting: vec![], folded: 0 }
    }

    /// One block of one file; as lines, or with a table of the same lines.
    fn read(&mut self, lines: &[String], file_no: u64, backlog: bool, table: bool) {
        let file: Arc<str> = format!("/var/log/x{file_no}").into();
        let (mut bytes, mut records) = (vec![], vec![]);
        for line in lines {
            let start = bytes.len() as u32;
            bytes.extend_from_slice(line.as_bytes());
            records.push(Record { start, end: bytes.len() as u32, ..Record::default() });
            bytes.push(b'\n');
        }
        let block = Block {
            source: SourceNo(0),
            file: &file,
            file_no,
            offset: 0,
            bytes: &bytes,
            end: BlockEnd::Whole,
            hit_early: &[],
            read: self.now,
            backlog,
            records: if table { &records } else { &[] },
            fields: &[],
            earlier: None,
        };
        let (mut full, mut folded): (Vec<Hit>, _) = (vec![], Hits::default());
        self.sets[0].scan(&block, &mut full);
        self.sets[1].scan_folded(&block, &mut folded);
        assert_eq!(folded.len(), full.len());
        self.folded += full.len() - folded.in_full().len();
        for (told, hit) in folded.iter().zip(&full) {
            let like =
                Hit { line: Arc::clone(&hit.line), captures: Arc::clone(&hit.captures), ..told.hit.clone() };
            assert_eq!(Hit { stamp: told.stamp, ..like }, *hit);
            assert!(!told.full || told.hit == hit);
        }
        self.apply(&[Input::Hits(full.into()), Input::Hits(folded)]);
    }

    fn apply(&mut self, inputs: &[Input; 2]) {
        let [a, b] = &mut self.judges;
        let said = a.apply(inputs[0].clone(), self.now);
        assert_eq!(said, b.apply(inputs[1].clone(), self.now));
        assert_eq!(a.changes(), b.changes());
        assert_eq!(a.report(self.now), b.report(self.now));
        self.waiting.extend(said);
    }

    fn both(&mut self, input: &Input) {
        self.apply(&[input.clone(), input.clone()]);
    }

    fn wait(&mut self, ms: u64) {
        self.now = self.now.plus(Duration::from_millis(ms));
        self.both(&Input::Timer);
    }

    fn deliver(&mut self, fate: Fate) {
        for message in std::mem::take(&mut self.waiting) {
            self.both(&Input::Fate { message: message.no, fate });
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Read { lines: Vec<String>, file: u64, backlog: bool, table: bool },
    Wait(u64),
    Deliver(Fate),
}

fn line() -> impl Strategy<Value = String> {
    let piece = proptest::sample::select(PIECES.to_vec());
    proptest::collection::vec(piece, 0..5).prop_map(|p| p.concat())
}

fn step() -> impl Strategy<Value = Step> {
    let lines = (proptest::collection::vec(line(), 1..12), 1..6usize)
        .prop_map(|(lines, times)| std::iter::repeat_n(lines, times).flatten().collect());
    let read = (lines, 1..3u64, any::<bool>(), any::<bool>());
    prop_oneof![
        4 => read.prop_map(|(lines, file, backlog, table)| Step::Read { lines, file, backlog, table }),
        2 => prop_oneof![0..2_000u64, 2_000..4_000_000u64].prop_map(Step::Wait),
        2 => proptest::sample::select(vec![Fate::Delivered, Fate::DeadLettered, Fate::Dropped]).prop_map(Step::Deliver),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn folded_hits_are_judged_as_those_in_full(steps in proptest::collection::vec(step(), 1..12)) {
        let mut twice = Twice::new();
        for step in steps {
            match step {
                Step::Read { lines, file, backlog, table } => twice.read(&lines, file, backlog, table),
                Step::Wait(ms) => twice.wait(ms),
                Step::Deliver(fate) => twice.deliver(fate),
            }
        }
    }
}

#[test]
fn of_a_storm_two_hits_a_rule_and_key_are_made() {
    let mut twice = Twice::new();
    let lines: Vec<String> = (0..1000).map(|n| format!("worse {} user=u{}", n % 2, n % 4)).collect();
    twice.read(&lines, 1, false, false);
    // `sort` has one key, `field` four, `busy` two
    assert_eq!(twice.folded, 3 * 1000 - 2 * (1 + 4 + 2));
}

/// More keys than are told apart at once, and than the judge holds.
#[test]
fn so_it_is_with_more_keys_than_there_is_room_for() {
    let mut twice = Twice::new();
    for round in 0..3 {
        let lines: Vec<String> =
            (0..12_000).map(|n| format!("fail from 10.{round}.{}.{}", n / 250 % 40, n % 250)).collect();
        twice.read(&lines, 1, false, false);
        twice.wait(1);
        twice.deliver(Fate::Delivered);
    }
}
