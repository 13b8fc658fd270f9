//! Storms: however much happens, and of whatever sort, are some messages enough, and do the books balance?
//!
//! Lines go through the stages on a clock of their own, so that hours of storm take no time. Small here;
//! `LOGHERALD_STORM_LINES` makes them as large as `.ci/long` wants them.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use logherald::agent::Replay;
use logherald::alert::Alert;
use logherald::config::{self, Disk};
use logherald::judge::Report;
use logherald::message::Message;
use logherald::rules::RuleSet;
use logherald::tail::Feed;
use logherald::time::{Now, Tick, Wall};

/// 2026-11-22T05:26:00Z
const START: Wall = Wall(1_795_325_160_000);

const SPACE: &str = "[space.ops]\nwebhook = { env = 'OPS' }\n";

/// Lines of each storm.
fn lines() -> u64 {
    std::env::var("LOGHERALD_STORM_LINES").ok().and_then(|n| n.parse().ok()).unwrap_or(20_000)
}

/// What is hit by a storm.
struct Storm {
    rules: RuleSet,
    feed: Feed,
    replay: Replay,
    messages: u64,
    told: u64,
    /// The bytes of the largest message's text, keys and lines.
    largest: usize,
    /// The most bytes that the judge held.
    held: u64,
}

impl Storm {
    fn new(rules: &str) -> Storm {
        let now = Now { wall: START, tick: Tick(0) };
        let env = config::Env { host: "h".into(), tz: jiff::tz::TimeZone::UTC, now };
        let loaded = config::load_text(Path::new("rules"), &format!("{SPACE}{rules}"), &env, &Disk);
        let settings = loaded.settings.unwrap_or_else(|| panic!("{:?}", loaded.faults));
        let feed = Feed::new(&settings.sources[0], "/var/log/app.log".into(), 1);
        let rules = RuleSet::new(settings.rules, settings.clocks, settings.policy.host.clone());
        let replay = Replay::new(settings.policy, START);
        Storm { rules, feed, replay, messages: 0, told: 0, largest: 0, held: 0 }
    }

    /// These lines are read at once.
    fn read(&mut self, text: &str, backlog: bool) {
        let mut hits = Vec::new();
        let now = self.replay.now();
        self.feed.push(text.as_bytes(), backlog, now, &mut |block| self.rules.scan(block, &mut hits));
        let Storm { replay, messages, told, largest, .. } = self;
        replay.hits(hits.into(), &mut |m| {
            *messages += 1;
            *told += m.alerts.iter().map(|a| a.hits).sum::<u64>();
            *largest = (*largest).max(bytes(m));
        });
        self.held = self.held.max(self.replay.bytes().0);
    }

    fn wait(&mut self, time: Duration) {
        let Storm { replay, messages, told, largest, .. } = self;
        replay.wait(time, &mut |m| {
            *messages += 1;
            *told += m.alerts.iter().map(|a| a.hits).sum::<u64>();
            *largest = (*largest).max(bytes(m));
        });
    }

    /// Two days later everything has been told: tells what it was, and holds the books against it.
    fn ends(mut self, what: &str, hits: u64, most: u64) -> Report {
        let held = self.replay.report();
        let keys: u64 = held.rules.values().map(|r| r.open_incidents + r.counting_keys).sum();
        self.wait(Duration::from_secs(48 * 3600));
        let report = self.replay.report();
        let sum =
            |term: fn(&logherald::judge::RuleReport) -> u64| report.rules.values().map(term).sum::<u64>();
        for (name, rule) in &report.rules {
            assert_eq!(rule.ledger.hits, rule.ledger.settled() + rule.pending, "{what}: the books of {name}");
        }
        assert_eq!(sum(|r| r.ledger.hits), hits, "{what}: every line is a hit");
        assert_eq!(sum(|r| r.pending), 0, "{what}: nothing waits for another hit");
        assert_eq!(
            sum(|r| r.ledger.shown + r.ledger.told),
            self.told,
            "{what}: what is told is what is counted"
        );
        println!(
            "measured: storm, {what}: {hits} hits, {} messages, {} told, {} below, {keys} keys held at its end, at most {:.1} MB",
            self.messages,
            self.told,
            sum(|r| r.ledger.below),
            self.held as f64 / 1e6,
        );
        assert!(self.held <= self.replay.bytes().1, "{what}: {} bytes held", self.held);
        assert!(self.messages <= most, "{what}: {} messages, more than {most}", self.messages);
        report
    }
}

fn bytes(message: &Message) -> usize {
    let of = |a: &Alert| {
        let keys: usize = a.key.iter().map(|(_, value)| value.len()).sum();
        a.text.len() + keys + a.samples.iter().map(|s| s.line.len()).sum::<usize>()
    };
    message.alerts.iter().map(of).sum()
}

fn rule(name: &str, rest: &str) -> String {
    format!("[[rule]]\nname = '{name}'\nfiles = ['/var/log/app.log']\n{rest}\n")
}

/// Lines in blocks of a thousand, a block a second.
fn blow(storm: &mut Storm, lines: u64, line: impl Fn(u64) -> String) {
    let mut text = String::new();
    for n in 0..lines {
        writeln!(text, "{}", line(n)).unwrap();
        if n % 1000 == 999 || n + 1 == lines {
            storm.read(&text, false);
            text.clear();
            storm.wait(Duration::from_secs(1));
        }
    }
}

#[test]
fn one_rule_and_one_key() {
    let mut storm = Storm::new(&rule("storm", "match = 'storm'"));
    blow(&mut storm, lines(), |n| format!("storm {n}"));
    storm.ends("one rule and one key", lines(), 2);
}

#[test]
fn one_rule_and_as_many_keys_as_lines() {
    let mut storm = Storm::new(&rule("storm", "match = 'storm from (?<who>\\w+)'\nby = ['who']"));
    blow(&mut storm, lines(), |n| format!("storm from u{n}"));
    // five openings, then a fold each two minutes of the storm, and what follows until all is over
    let minutes = lines() / 1000 / 60;
    storm.ends("one rule and as many keys as lines", lines(), 12 + minutes);
}

#[test]
fn five_hundred_rules_at_once() {
    const RULES: u64 = 500;
    let rules: String = (0..RULES)
        .fold(String::new(), |all, n| all + &rule(&format!("r{n}"), &format!("match = 'storm of r{n}\\b'")));
    let mut storm = Storm::new(&rules);
    blow(&mut storm, lines(), |n| format!("storm of r{}", n % RULES));
    // a message holds twenty alerts and tells the rest as one
    let report = storm.ends("500 rules at once", lines(), 10);
    assert_eq!(report.rules.len() as u64, RULES);
}

#[test]
fn a_flapping_service() {
    let rules = rule(
        "service",
        "match = 'service (?<name>\\w+) is down'\nresolve = 'service (?<name>\\w+) is up'\nby = ['name']",
    );
    let mut storm = Storm::new(&rules);
    let turns = lines() / 40;
    for n in 0..turns {
        storm.read(&format!("service web is down {n}\n"), false);
        storm.wait(Duration::from_secs(10));
        storm.read("service web is up\n", false);
        storm.wait(Duration::from_secs(20));
    }
    // one incident, which opens again and ends 120 times an hour: its rule says 30 of the first, the space takes 60 messages
    // and tells what is more in six digests; at the start there is the burst of each, and at the end what is left
    let hours = (turns * 30).div_ceil(3600);
    let report = storm.ends("a flapping service", turns, 10 + 5 + hours * (60 + 6));
    let rule = &report.rules["service"];
    assert!(rule.held.rule_limit * 2 > turns, "{:?} of {turns} turns", rule.held);
}

#[test]
fn a_backlog_of_six_hours_read_at_start() {
    let all = lines();
    // by the times of its lines it is calm, however fast it is read
    let more_than_a_minute_has = all / 360 + 10;
    let mut storm = Storm::new(&format!(
        "{}{}",
        rule("burst", &format!("match = 'storm'\nthreshold = {more_than_a_minute_has}\nwithin = '1m'")),
        rule("each", "match = 'storm of (?<what>\\w+)'\nby = ['what']"),
    ));
    storm.wait(Duration::from_secs(6 * 3600 + 1));
    let mut text = String::new();
    for n in 0..all {
        let at = Wall(START.0 + (n * 6 * 3600 * 1000 / all) as i64);
        writeln!(text, "{at} storm of k{}", n % 20).unwrap();
        if text.len() > 200_000 || n + 1 == all {
            storm.read(&text, true);
            text.clear();
        }
    }
    let report = storm.ends("a backlog of six hours read at start", 2 * all, 12);
    assert_eq!(report.rules["burst"].ledger.below, all, "none of it is a burst");
}

#[test]
fn a_backlog_of_as_many_keys_as_lines() {
    let all = 4 * lines();
    let mut storm = Storm::new(&rule("each", "match = 'storm of (?<what>\\w+)'\nby = ['what']"));
    storm.wait(Duration::from_secs(6 * 3600 + 1));
    let (mut text, mut early) = (String::new(), 0);
    for n in 0..all {
        let at = Wall(START.0 + (n * 6 * 3600 * 1000 / all) as i64);
        writeln!(text, "{at} storm of k{n}").unwrap();
        if text.len() > 200_000 || n + 1 == all {
            storm.read(&text, true);
            text.clear();
            early = if n < all / 4 { storm.held } else { early };
        }
    }
    // what waits to be told holds the room of the keys that are there, and not of all that ever were
    let late = storm.held;
    assert!(early > 0 && late * 10 <= early * 11, "{early} bytes grew to {late}");
    storm.ends("a backlog of as many keys as lines", all, 12);
}

/// It is matched whole; its first 512 bytes are what it counts by, and its first 200 what anybody is shown.
#[test]
fn a_capture_of_a_megabyte() {
    let source = "[[source]]\nname = 'big'\nfiles = ['/var/log/app.log']\nmax_line = '1MiB'\n";
    let rule = "[[rule]]\nname = 'big'\nsource = 'big'\nmatch = 'big (?<all>.+) end$'\nby = ['all']\n";
    let mut storm = Storm::new(&format!("{source}{rule}message = '{{all}} {{all}}'\n"));
    let big = |first: &str, last: &str| format!("big {first}{}{last} end\n", "x".repeat(1_000_000));
    storm.read(&big("a", "1"), false);
    let held = storm.held;
    storm.read(&big("a", "2"), false);
    assert_eq!(storm.replay.report().rules["big"].open_incidents, 1, "they differ behind what counts");
    storm.read(&big("b", "1"), false);
    assert_eq!(storm.replay.report().rules["big"].open_incidents, 2);
    assert!(held < 20_000, "{held} bytes are held of a line of a megabyte");
    storm.wait(Duration::from_secs(60));
    assert!(storm.largest < 8_000, "a message of {} bytes", storm.largest);
    assert_eq!(storm.messages, 2);
    let report = storm.ends("a capture of a megabyte", 3, 3);
    assert_eq!((report.rules["big"].ledger.shown, report.rules["big"].ledger.told), (2, 1));
}
