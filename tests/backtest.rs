//! Does a backtest say what a running agent would have sent, and twice the same?

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use logherald::agent::Replay;
use logherald::chat;
use logherald::config::{self, Settings};
use logherald::hit::Hits;
use logherald::judge::{Input, Judge};
use logherald::message::{Fate, Message};
use logherald::rules::RuleSet;
use logherald::tail::{Bell, TailOptions, Tailer};
use logherald::time::{Now, Tick, Wall};
use serde_json::Value;

use crate::harness::dice::Dice;
use crate::harness::program::{DEADLINE, Place, open_to_append, stopwatch};

/// 2026-11-22T05:26:00Z
const START: i64 = 1_795_325_160_000;

const RULES: &str = r#"
[space.ops]
webhook = { env = 'OPS' }
max_per_hour = 12

[space.oncall]
webhook = { env = 'ONCALL' }

[route]
critical = ["oncall"]

[[source]]
name = "billing"
files = ["DIR/billing.log"]
join = "java"

[[rule]]
name = "login"
files = ["DIR/auth.log"]
match = 'Failed password for (?<user>\w+) from {ip}'
by = ["ip"]
threshold = 3
within = "2m"
max_per_hour = 20
context = { before = 3, after = 2 }

[[rule]]
name = "disk"
files = ["DIR/auth.log", "DIR/app.log"]
match = 'No space left on (?<disk>\w+)'
resolve = 'space again on (?<disk>\w+)'
by = ["disk"]
severity = "critical"
remind = "20m"
context = { before = 2, after = 1 }

[[rule]]
name = "kinds"
files = ["DIR/app.log"]
match = 'error'
by = ["kind", "file"]
quiet = "3m"
context = { after = 2 }

[[rule]]
name = "exception"
source = "billing"
match = '(?<exception>[\w.]+Exception)'
by = ["exception"]
message = "{exception}: {hits} in {span}"
context = { before = 2, after = 1 }
"#;

/// A line of a log, and when it is written.
struct Written {
    at: Wall,
    file: &'static str,
    text: String,
}

/// Lines of three files over some hours, with calm and with bursts; no two at the same instant.
fn history(dice: &mut Dice, lines: u64) -> Vec<Written> {
    let mut at = START;
    let mut all = Vec::new();
    for n in 0..lines {
        at += 1 + if dice.once_in(40) {
            dice.below(2_400_000) as i64
        } else if dice.once_in(3) {
            dice.below(60_000) as i64
        } else {
            dice.below(2_000) as i64
        };
        let time = Wall(at);
        let (file, text) = match dice.below(9) {
            0..=2 => {
                let (user, ip) = (dice.below(3), dice.below(6));
                (
                    "auth.log",
                    format!("{time} h sshd: Failed password for u{user} from 192.0.2.{ip} port {n}\n"),
                )
            }
            3 => ("auth.log", format!("{time} h kernel: No space left on sd{}\n", dice.below(2))),
            4 => ("app.log", format!("{time} space again on sd{}\n", dice.below(2))),
            5 => (
                "app.log",
                format!("{time} error {} of {}\n", n, ["disk", "net", "db"][dice.below(3) as usize]),
            ),
            6 => ("app.log", format!("{time} all is well\n")),
            7 => {
                let what = ["Io", "Sql"][dice.below(2) as usize];
                (
                    "billing.log",
                    format!("{time} ERROR no\njava.lang.{what}Exception: x {n}\n\tat A.b(A.java:1)\n"),
                )
            }
            _ => ("billing.log", format!("{time} INFO on we go\n")),
        };
        all.push(Written { at: time, file, text });
    }
    all
}

fn settings(rules: &Path) -> Settings {
    let now = Now { wall: Wall(START), tick: Tick(0) };
    let env = config::Env { host: host().into(), tz: jiff::tz::TimeZone::UTC, now };
    let loaded = config::load(rules, &env);
    loaded.settings.clone().unwrap_or_else(|| panic!("{}", loaded.render(config::Look::Plain)))
}

fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The stages of a running agent on a clock of their own: real files that grow, the tailer, the rules, the judge.
struct Live {
    tailer: Tailer,
    rules: RuleSet,
    judge: Judge,
    now: Now,
    /// When the tailer wants to look again.
    look: Tick,
    said: String,
}

impl Live {
    fn new(settings: Settings) -> Live {
        let now = Now { wall: Wall(START), tick: Tick(86_400_000) };
        let rules = RuleSet::new(settings.rules, settings.clocks, settings.policy.host.clone());
        let (judge, _) = Judge::new(settings.policy, Vec::new(), Replay::INSTALL, now);
        let tailer = Tailer::new(settings.sources, Vec::new(), Bell::new(), TailOptions::default(), now);
        let mut live = Live { tailer, rules, judge, now, look: now.tick, said: String::new() };
        live.step();
        live
    }

    /// Reads all that is there now, as the reader does.
    fn step(&mut self) {
        loop {
            let mut hits = Hits::default();
            let step = self.tailer.step(self.now, &mut |block| {
                self.rules.scan_folded(block, &mut hits);
                Vec::new()
            });
            if !hits.is_empty() {
                self.apply(Input::Hits(hits));
            }
            if !step.more {
                self.look = self.now.tick + step.wait.max(Duration::from_millis(1));
                return;
            }
        }
    }

    fn apply(&mut self, input: Input) {
        let mut messages = self.judge.apply(input, self.now);
        while !messages.is_empty() {
            let mut more = Vec::new();
            for message in messages {
                write!(self.said, "{}", drawn(&message)).unwrap();
                let fate = Input::Fate { message: message.no, fate: Fate::Delivered };
                more.extend(self.judge.apply(fate, self.now));
            }
            messages = more;
        }
    }

    /// Time passes, with all that is due.
    fn until(&mut self, at: Wall) {
        let end = self.now.tick + at.since(self.now.wall);
        loop {
            let judge = self.judge.due().unwrap_or(Tick(u64::MAX)).max(self.now.tick);
            let next = judge.min(self.look);
            if next > end {
                break;
            }
            let step = next.since(self.now.tick);
            self.now = self.now.plus(step);
            if self.look <= self.now.tick {
                self.step();
            }
            if judge <= self.now.tick {
                self.apply(Input::Timer);
                if self.judge.due().is_some_and(|due| due <= self.now.tick) {
                    self.now = self.now.plus(Duration::from_millis(1));
                }
            }
        }
        self.now = self.now.plus(end.since(self.now.tick));
    }

    /// A line is written now, and read now.
    fn write(&mut self, dir: &Path, line: &Written, size: &mut BTreeMap<&'static str, u64>) {
        let path = dir.join(line.file);
        open_to_append(&path).write_all(line.text.as_bytes()).unwrap();
        let size = size.entry(line.file).or_default();
        *size += line.text.len() as u64;
        let begun = stopwatch();
        loop {
            self.step();
            let files = self.tailer.status();
            if files.iter().any(|f| *f.path == *path && f.size == *size) {
                return;
            }
            assert!(begun.elapsed() < DEADLINE, "{} is not noticed: {files:#?}", path.display());
            self.tailer.wait_for(DEADLINE);
        }
    }
}

/// A message as the backtest prints it.
fn drawn(message: &Message) -> String {
    let at = message.at.to_string().trim_end_matches('Z').trim_end_matches(".000").replacen('T', " ", 1);
    format!("{at} → {}\n{}\n", message.space, chat::draw(message, false))
}

/// The logs as they lie on a disk afterwards, last written when their last line was.
fn keep(dir: &Path, all: &[Written]) {
    let mut files: BTreeMap<&str, (String, Wall)> = BTreeMap::new();
    for line in all {
        let (text, at) = files.entry(line.file).or_default();
        text.push_str(&line.text);
        *at = line.at;
    }
    for (name, (text, at)) in files {
        let file = File::create(dir.join(name)).unwrap();
        (&file).write_all(text.as_bytes()).unwrap();
        let written = std::time::UNIX_EPOCH + Duration::from_millis(at.0 as u64 + 1);
        file.set_modified(written).unwrap();
    }
}

#[test]
fn a_backtest_says_what_a_running_agent_sends_message_by_message() {
    let mut dice = Dice::new();
    let all = history(&mut dice, 600);

    let live_place = Place::new();
    let rules = live_place.rules(RULES);
    let mut live = Live::new(settings(&rules));
    let mut sizes = BTreeMap::new();
    for line in &all {
        live.until(line.at);
        live.write(&live_place.path(""), line, &mut sizes);
    }
    let end = all.last().unwrap().at;
    live.until(end + Duration::from_secs(25 * 3600));

    let place = Place::new();
    place.rules(RULES);
    keep(&place.path(""), &all);
    let said = place.says(&[
        "backtest",
        "--rules",
        "rules.toml",
        "--messages",
        "auth.log",
        "app.log",
        "billing.log",
    ]);
    let (said, _) = said.split_once("3 files, ").unwrap();
    let here = |text: &str, place: &Place| text.replace(&place.path("").display().to_string(), "DIR/");
    let (live, said) = (here(&live.said, &live_place), here(said, &place));
    let count = said.matches(" → ").count();
    println!("measured: backtest against live: {} lines, {count} messages", all.len());
    assert!(count >= 10, "too few messages to compare: {count}");
    assert!(said.contains("│ ▸ "), "no line is shown with what stands around it");
    // those of one instant leave in the order of their threads, whose names are made up by each agent
    let sorted = |text: &str| {
        let mut messages: Vec<String> = text.split_inclusive("\n\n").map(ToOwned::to_owned).collect();
        messages.sort();
        messages
    };
    for (n, (a, b)) in sorted(&live).iter().zip(&sorted(&said)).enumerate() {
        assert_eq!(a, b, "message {n}");
    }
    assert_eq!(live.matches(" → ").count(), count);
}

fn packed(text: &str) -> Vec<u8> {
    zstd::encode_all(text.as_bytes(), 1).unwrap()
}

/// A folder with an application's log and two generations of it, and a log that no source names.
fn folder() -> Place {
    let place = Place::new();
    place.rules(
        "[[rule]]\nname = 'app'\nfiles = ['DIR/log/app.log']\nmatch = 'error (?<n>\\d+)'\nby = ['n']\nquiet = '1m'\n\
         [[rule]]\nname = 'silent'\nfiles = ['DIR/log/app.log']\nmatch = 'never seen'\n",
    );
    fs::create_dir(place.path("log")).unwrap();
    let lines = |from: u32, to: u32| {
        (from..to).fold(String::new(), |mut text, n| {
            writeln!(text, "2026-11-{:02}T05:{:02}:00Z error {}", 20 + n / 60, n % 60, n % 7).unwrap();
            text
        })
    };
    fs::write(place.path("log/app.log.2.zst"), packed(&lines(0, 50))).unwrap();
    fs::write(place.path("log/app.log.1"), lines(50, 100)).unwrap();
    fs::write(place.path("log/app.log"), lines(100, 120)).unwrap();
    fs::write(place.path("other.log"), lines(0, 3)).unwrap();
    place
}

#[test]
fn a_backtest_counts_per_rule_and_day_and_reads_as_follows() {
    let place = folder();
    let said = place.says(&["backtest", "--rules", "rules.toml", "log"]);
    let dir = place.path("log").display().to_string();
    let want = format!(
        "\
3 files, 120 lines, with rules.toml
2026-11-20 05:00:00 to 2026-11-21 05:59:00 UTC
   {dir}/app.log
      source `files`
   {dir}/app.log.1
      source `files`, as `{dir}/app.log`
   {dir}/app.log.2.zst
      source `files`, as `{dir}/app.log`

app · 120 hits
   day             hits  opened  reminded  ended  folds
   2026-11-20        60       9         0      0     26
   2026-11-21        60       9         0      0     26
   held back   2026-11-20: 51 rule limit
               2026-11-21: 51 rule limit
   worst hour  2026-11-20 05:00, 60 hits
   top keys    n=0 (18)
               n=1 (17)
               n=2 (17)
               n=3 (17)
               n=4 (17)
   ledger      120 hits = 18 shown + 102 told

1 rule without a hit:
   silent

messages
   console     70, at most 34 in an hour (2026-11-20 05:00)
               2026-11-20: 35
               2026-11-21: 35
"
    );
    assert_eq!(said, want);
    assert!(said.lines().filter(|l| !l.contains(&dir)).all(|l| l.chars().count() <= 80), "{said}");
}

#[test]
fn twice_the_same_files_give_the_same_bytes() {
    let place = folder();
    for more in [vec![], vec!["--messages"], vec!["--json", "--messages"], vec!["--against", "rules.toml"]] {
        let args = [vec!["backtest", "--rules", "rules.toml", "log", "other.log"], more.clone()].concat();
        assert_eq!(place.says(&args), place.says(&args), "{more:?}");
    }
}

#[test]
fn what_each_rule_cost_is_told_where_it_is_asked_for() {
    let place = folder();
    let args = ["backtest", "--rules", "rules.toml", "log"];
    let plain = place.says(&args);
    let said = place.says(&[&args[..], &["--costs"]].concat());
    // only one rule has a line to look at, so that all of the time is its
    let want = "\
costs: how often a line was looked at for a rule, and the rule's share of the time
   rule                                   candidates         hits      time
   app                                           120          120   100.0 %
   silent                                          0            0     0.0 %
";
    assert_eq!(said, format!("{plain}\n{want}"));
    let doc: Value =
        serde_json::from_str(&place.says(&[&args[..], &["--costs", "--json"]].concat())).unwrap();
    let app = serde_json::json!({ "candidates": 120, "hits": 120, "share": 1.0 });
    assert_eq!(doc["costs"]["app"], app);
    let doc: Value = serde_json::from_str(&place.says(&[&args[..], &["--json"]].concat())).unwrap();
    assert!(doc.get("costs").is_none());
}

#[test]
fn a_file_that_no_source_names_is_asked_about_by_every_rule_and_says_so() {
    let place = folder();
    let said = place.says(&["backtest", "--rules", "rules.toml", "other.log"]);
    assert!(said.contains("plain lines; no source names it, so every rule is asked"), "{said}");
    assert!(said.contains("app · 3 hits"), "{said}");
    let said = place.says(&["backtest", "--rules", "rules.toml", "--as", "files", "other.log"]);
    assert!(said.contains("\n      source `files`\n") && said.contains("app · 3 hits"), "{said}");
}

#[test]
fn what_other_rules_would_have_done_is_shown_rule_by_rule_and_message_by_message() {
    let place = folder();
    let rules = fs::read_to_string(place.path("rules.toml")).unwrap();
    fs::write(
        place.path("old.toml"),
        rules.replace("error (", "error [0-5](").replace("(?<n>\\d+)", "(?<n>)"),
    )
    .unwrap();
    fs::write(place.path("old.toml"), rules.replace("(?<n>\\d+)", "(?<n>[0-5])")).unwrap();
    let said = place.says(&["backtest", "--json", "--rules", "rules.toml", "--against", "old.toml", "log"]);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        said["against"]["rules"]["app"]["hits"],
        serde_json::json!([103, 120]),
        "{:#}",
        said["against"]
    );
    let only = |side: &str| said["against"][side].as_array().unwrap().clone();
    assert!(!only("only_new").is_empty());
    let keys = only("only_new").iter().map(|m| m["alerts"][0]["key"].to_string()).collect::<Vec<_>>();
    assert!(keys.iter().any(|k| k.contains('6')), "{keys:?}");
    assert!(
        place
            .says(&["backtest", "--rules", "rules.toml", "--against", "rules.toml", "log"])
            .contains("no difference")
    );
}

#[test]
fn what_is_expected_is_missed_between_the_lines_and_not_behind_the_last() {
    let place = Place::new();
    place.rules(
        "[[rule]]\nname = 'beat'\nfiles = ['DIR/app.log']\nmatch = 'beat'\nexpect = { every = '10m' }\n",
    );
    let beat = |minute: u32| format!("2026-11-20T05:{minute:02}:00Z beat\n");
    place.append("app.log", &[beat(0), beat(5), beat(45), beat(50)].concat());
    let said = place.says(&["backtest", "--rules", "rules.toml", "--json", "--messages", "app.log"]);
    let said: Value = serde_json::from_str(&said).unwrap();
    let moments: Vec<(&str, &str)> = said["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| (m["at"].as_str().unwrap(), m["alerts"][0]["what"].as_str().unwrap()))
        .collect();
    assert_eq!(moments, [("2026-11-20T05:15:00.000Z", "missing"), ("2026-11-20T05:45:00.000Z", "seen")]);
}

#[test]
fn what_cannot_be_read_is_said() {
    let place = folder();
    let (code, said) = place.fails(&["backtest", "--rules", "rules.toml", "nothing.log"]);
    assert_eq!(code, 65);
    assert!(said.contains("nothing.log` cannot be read: no such file"), "{said}");
    let half = packed(&"2026-11-20T05:00:00Z error 1\n".repeat(100_000));
    fs::write(place.path("half.zst"), &half[..half.len() / 2]).unwrap();
    let said = place.says(&["backtest", "--rules", "rules.toml", "half.zst", "other.log"]);
    assert!(said.contains("not read: ") && said.contains("the archive is damaged"), "{said}");
    fs::write(place.path("bare.log"), "error 1\nerror 2\n").unwrap();
    let said = place.says(&["backtest", "--rules", "rules.toml", "bare.log"]);
    assert!(said.contains("no line has a time"), "{said}");
}
