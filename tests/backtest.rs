//! Does a backtest say what a running agent would have sent, and twice the same?

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
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

/// 2026-12-31T18:00:00Z: stamps without a year have another one before long.
const START: i64 = 1_798_740_000_000;

/// So many lines are some fourteen hours.
const LINES: u64 = 1200;

/// A story in which each rule speaks, and each says all that it can.
const TELLING: u64 = 5;

const RULES: &str = r#"
[space.ops]
webhook = { env = 'OPS' }
max_per_hour = 12

[space.night]
webhook = { env = 'NIGHT' }

[space.oncall]
webhook = { env = 'ONCALL' }

[route]
critical = ["oncall"]

[[source]]
name = "billing"
files = ["DIR/billing.log"]
join = "java"

[[source]]
name = "mail"
files = ["DIR/mail.log"]
tz = "Europe/Paris"

[[source]]
name = "shop"
files = ["DIR/shop.json"]
format = "json"

[[mute]]
name = "dinner"
when = { from = "20:30", to = "22:00", tz = "Europe/Paris" }
rules = ["kinds", "lin*", "spray"]

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
space = "night"
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

[[rule]]
name = "fresh"
space = "night"
files = ["DIR/app.log"]
match = ' warn '
by = ["kind"]
new = { learn = "2h" }
mask = ['by \w+']

[[rule]]
name = "spray"
space = "night"
source = "mail"
match = 'refused (?<user>\w+) of {ip}'
by = ["ip"]
distinct = "user"
threshold = 3
within = "3m"
top = ["user"]
message = "{ip} tried {distinct.user} users"

[[rule]]
name = "link"
space = "night"
source = "mail"
match = '(?<link>eth\d) is down'
resolve = '(?<link>eth\d) is up'
by = ["link"]
hold = "30s"
say_end = true

[[rule]]
name = "backup"
space = "night"
source = "mail"
match = 'backup is done'
expect = { daily_by = "23:00", from = "22:30", tz = "Europe/Paris" }
severity = "error"

[[rule]]
name = "beat"
space = "night"
source = "shop"
match = 'beat'
where = { level = "info" }
by = ["shard"]
expect = { every = "15m" }

[[rule]]
name = "checkout"
space = "night"
source = "shop"
match = 'no checkout'
where = { level = ["error", "fatal"] }
by = ["shop"]
top = ["cause"]
inhibited_by = ["disk"]
"#;

/// A line of a log, and when it is written.
struct Written {
    at: Wall,
    file: &'static str,
    text: String,
}

/// Lines of five files over some hours, with calm and with bursts; no two at the same instant.
fn history(dice: &mut Dice) -> Vec<Written> {
    let mut at = START;
    let mut all = Vec::new();
    for n in 0..LINES {
        at += 1 + if dice.once_in(40) {
            dice.below(2_400_000) as i64
        } else if dice.once_in(3) {
            dice.below(60_000) as i64
        } else {
            dice.below(2_000) as i64
        };
        let kind = dice.below(22);
        if kind >= 18 {
            // syslog knows whole seconds
            at = (at / 1000 + 1) * 1000;
        }
        let time = Wall(at);
        let mut of = |words: &[&'static str]| words[dice.below(words.len() as u64) as usize];
        let (file, text) = match kind {
            0..=4 => {
                let (user, ip) = (of(&["ada", "bob", "eve"]), of(&["1", "2", "3", "4", "5"]));
                (
                    "auth.log",
                    format!("{time} h sshd: Failed password for {user} from 192.0.2.{ip} port {n}\n"),
                )
            }
            5 => ("auth.log", format!("{time} h kernel: No space left on {}\n", of(&["sda", "sdb"]))),
            6 => ("app.log", format!("{time} space again on {}\n", of(&["sda", "sdb"]))),
            7 => ("app.log", format!("{time} error {n} of {}\n", of(&["disk", "net", "db"]))),
            8 => ("app.log", format!("{time} all is well\n")),
            9 => {
                let what = ["late", "slow", "odd", "torn", "lost", "deaf", "void"];
                let known = (n * what.len() as u64).div_ceil(LINES).max(1) as usize;
                let (what, whom) = (of(&what[..known]), of(&["ada", "bob"]));
                ("app.log", format!("{time} warn {what} {n} by {whom}\n"))
            }
            10 => {
                let what = of(&["Io", "Sql"]);
                let trace = format!("ERROR no\njava.lang.{what}Exception: x {n}\n\tat A.b(A.java:1)\n");
                ("billing.log", format!("{time} {trace}"))
            }
            11 => ("billing.log", format!("{time} INFO on we go\n")),
            12..=14 => {
                let (shard, level) = (of(&["a", "b"]), of(&["info", "info", "debug"]));
                (
                    "shop.json",
                    format!(
                        "{{\"time\":\"{time}\",\"level\":\"{level}\",\"msg\":\"beat\",\"shard\":\"{shard}\"}}\n"
                    ),
                )
            }
            15..=17 => {
                let (level, shop, cause) =
                    (of(&["error", "fatal", "warning"]), of(&["eu", "us"]), of(&["card", "stock", "tax"]));
                (
                    "shop.json",
                    format!(
                        "{{\"time\":\"{time}\",\"level\":\"{level}\",\"msg\":\"no checkout\",\"shop\":\"{shop}\",\"cause\":\"{cause}\"}}\n"
                    ),
                )
            }
            _ => {
                let said = match of(&["user", "user", "user", "user", "down", "up", "up", "backup"]) {
                    "user" => format!("refused {} of 198.51.100.7", of(&["ada", "bob", "eve", "kim"])),
                    "backup" => "backup is done".to_owned(),
                    up_or_down => format!("{} is {up_or_down}", of(&["eth0", "eth1"])),
                };
                ("mail.log", format!("{} h {said}\n", syslog(time)))
            }
        };
        all.push(Written { at: time, file, text });
    }
    all
}

/// `Dec 31 19:00:00`, by the clocks of Paris.
fn syslog(at: Wall) -> String {
    let paris = jiff::tz::TimeZone::get("Europe/Paris").unwrap();
    let at = jiff::Timestamp::from_millisecond(at.0).unwrap().to_zoned(paris);
    at.strftime("%b %e %H:%M:%S").to_string()
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
    /// Whether it is known what was written until now.
    watched: bool,
    said: String,
    /// Of which rules, in which words: `login Opening`.
    told: BTreeSet<String>,
}

impl Live {
    /// Begins with the first line, as the past does.
    fn new(settings: Settings, at: Wall) -> Live {
        let now = Now { wall: at, tick: Tick(86_400_000) };
        let rules = RuleSet::new(settings.rules, settings.clocks, settings.policy.host.clone());
        let (judge, _) = Judge::new(settings.policy, Vec::new(), Replay::INSTALL, now);
        let tailer = Tailer::new(settings.sources, Vec::new(), Bell::new(), TailOptions::default(), now);
        let (said, told) = (String::new(), BTreeSet::new());
        let mut live = Live { tailer, rules, judge, now, look: now.tick, watched: true, said, told };
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
                self.told.extend(message.alerts.iter().map(|a| format!("{} {:?}", a.rule, a.what)));
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
                let up_to = self.now.tick;
                self.apply(if self.watched { Input::Watched { up_to } } else { Input::Timer });
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
fn leave(dir: &Path, all: &[Written]) {
    let last: BTreeMap<&str, Wall> = all.iter().map(|line| (line.file, line.at)).collect();
    for (name, at) in last {
        let written = std::time::UNIX_EPOCH + Duration::from_millis(at.0 as u64 + 1);
        open_to_append(&dir.join(name)).set_modified(written).unwrap();
    }
}

/// The logs as a running agent has read them, what it said of them, and in which words of which rules.
fn lived(mut dice: Dice) -> (Place, String, BTreeSet<String>) {
    let all = history(&mut dice);
    let place = Place::new();
    let dir = place.path("");
    let mut live = Live::new(settings(&place.rules(RULES)), all[0].at);
    let mut sizes = BTreeMap::new();
    for line in &all {
        live.until(line.at);
        live.write(&dir, line, &mut sizes);
    }
    // what is written behind the last line nobody knows, but what waits is told
    live.watched = false;
    live.until(all[all.len() - 1].at + Duration::from_secs(25 * 3600));
    leave(&dir, &all);
    (place, live.said, live.told)
}

const LOGS: [&str; 5] = ["auth.log", "app.log", "billing.log", "mail.log", "shop.json"];

/// A backtest of [`LOGS`]. No bar is drawn, though it takes a while: no terminal looks on.
fn backtest(place: &Place, more: &[&str]) -> String {
    let out = place.command(&[&["backtest", "--rules", "rules.toml"], more, &LOGS].concat());
    assert!(out.status.success() && out.stderr.is_empty(), "{more:?}: {out:?}");
    String::from_utf8(out.stdout).unwrap()
}

fn says_the_same(dice: Dice) -> (String, BTreeSet<String>) {
    let (place, live, told) = lived(dice);
    let said = backtest(&place, &["--messages"]);
    let (said, _) = said.split_once("5 files, ").unwrap();
    let messages = |text: &str| text.split_inclusive("\n\n").map(ToOwned::to_owned).collect::<Vec<_>>();
    let (live, said) = (messages(&live), messages(said));
    println!("measured: backtest against live: {LINES} lines, {} messages", said.len());
    for (n, (live, said)) in live.iter().zip(&said).enumerate() {
        assert_eq!(live, said, "message {n}");
    }
    assert_eq!(live.len(), said.len());
    (said.concat(), told)
}

#[test]
fn a_backtest_says_what_a_running_agent_sends_message_by_message() {
    says_the_same(Dice::new());
}

#[test]
fn a_backtest_says_what_a_running_agent_sends_of_each_rule_in_all_its_words() {
    let (said, told) = says_the_same(Dice::of(TELLING));
    for words in [
        "backup Missing",
        "backup Seen",
        "beat Missing",
        "beat Seen",
        "checkout Opening",
        "checkout Uninhibited",
        "disk Again",
        "disk Resolved",
        "exception End",
        "fresh Known",
        "fresh Opening",
        "kinds Unmuted",
        "link Again",
        "link Resolved",
        "link Unmuted",
        "login Opening",
        "spray Opening",
        "spray Unmuted",
    ] {
        assert!(told.contains(words), "no {words}: {told:?}");
    }
    assert!(said.contains("│ ▸ "), "no line is shown with what stands around it");
}

#[test]
fn twice_what_happened_in_a_night_gives_the_same_bytes() {
    let place = Place::new();
    let rules = place.rules(RULES);
    fs::write(
        place.path("old.toml"),
        fs::read_to_string(rules).unwrap().replace("within = \"3m\"", "within = \"1m\""),
    )
    .unwrap();
    let all = history(&mut Dice::new());
    for line in &all {
        place.append(line.file, &line.text);
    }
    leave(&place.path(""), &all);
    for more in [&["--messages"][..], &["--json", "--messages", "--against", "old.toml"]] {
        assert_eq!(backtest(&place, more), backtest(&place, more), "{more:?}");
    }
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
