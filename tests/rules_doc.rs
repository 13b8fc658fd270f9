//! Is `docs/rules.md` true? Its table has every key that a rule knows, its examples pass `check`, its bounds hold.

use std::collections::BTreeSet;
use std::path::Path;

use logherald::chat::{TokenWay, Way};
use logherald::config::{self, Disk, Env, Look};
use logherald::tail::{Encoding, Input, Join};
use logherald::time::{Now, Wall};
use serde_json::Value;

use crate::harness::program::Place;

fn doc() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/rules.md")).unwrap()
}

fn faults(rules: &str) -> String {
    let now = Now { wall: Wall(1_790_000_000_000), ..Now::default() };
    let env = Env { host: "h1".into(), tz: jiff::tz::TimeZone::UTC, now };
    config::load_text(Path::new("/etc/rules.toml"), rules, &env, &Disk).render(Look::Plain)
}

/// The keys that a rule is said to know when it has one that nobody knows.
fn known() -> BTreeSet<String> {
    listed("[[rule]]\nname = 'x'\njournal = true\nmatch = 'a'\n")
}

/// The keys that this table is said to know.
fn listed(table: &str) -> BTreeSet<String> {
    let said = faults(&format!("{table}zzzzzzzzzzzz = 1\n"));
    let list = said.split("known keys: ").nth(1).and_then(|s| s.lines().next());
    list.unwrap_or_else(|| panic!("no list in {said}")).split(", ").map(str::to_owned).collect()
}

/// The rows of the table: key and bounds.
fn rows() -> Vec<(String, String)> {
    let text = doc();
    let rows = text.lines().filter_map(|l| l.strip_prefix("| `"));
    rows.map(|row| {
        let (key, rest) = row.split_once("` |").unwrap();
        (key.to_owned(), rest.split('|').nth(1).unwrap().trim().to_owned())
    })
    .collect()
}

#[test]
fn the_table_has_every_key_once() {
    let rows = rows();
    let listed: BTreeSet<String> = rows.iter().map(|(key, _)| key.clone()).collect();
    assert_eq!(listed, known());
    assert_eq!(listed.len(), rows.len(), "a key stands there twice");
}

#[test]
fn the_tables_for_all_rules_have_every_key() {
    let text = doc();
    for (name, table) in [
        ("judge", "[judge]\n"),
        ("alive", "[alive]\n"),
        ("redact", "[redact]\n"),
        ("mute", "[[mute]]\nname = 'm'\nwhen = { to = '01:00' }\n"),
        ("space.NAME", "[space.s]\nconsole = true\n"),
        ("route", "[route]\n"),
        ("source", "[[source]]\nname = 's'\njournal = true\n"),
        ("chat", "[chat]\n"),
    ] {
        let start = format!("| {name} | `");
        let rows = text.lines().filter_map(|l| l.strip_prefix(&start)?.split_once('`'));
        let rows: BTreeSet<String> = rows.map(|(key, _)| key.to_owned()).collect();
        assert_eq!(rows, listed(table), "[{name}]");
    }
}

/// The two keys that stand in no table of their own, and no others.
#[test]
fn the_keys_at_the_top_of_the_file_are_there() {
    let text = doc();
    let start = "| top of the file | `";
    let rows = text.lines().filter_map(|l| l.strip_prefix(start)?.split_once('`'));
    let rows: BTreeSet<String> = rows.map(|(key, _)| key.to_owned()).collect();
    let tables = ["space", "chat", "defaults", "route", "rule", "source", "mute", "redact", "judge", "alive"];
    let top: BTreeSet<String> = listed("").into_iter().filter(|k| !tables.contains(&&**k)).collect();
    assert_eq!(rows, top);
}

/// With the rules' own tests, as the command runs them; without an error and without a warning.
#[test]
fn its_examples_pass_check() {
    let tailing =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/tailing.md")).unwrap();
    let text = doc() + &tailing;
    let examples: Vec<&str> =
        text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(examples.len() >= 8, "{} examples", examples.len());
    let place = Place::new();
    // what the examples leave to the reader
    let reads = "[[rule]]\nname = 'reads-shop'\nsource = 'shop'\nmatch = 'checkout failed'\n";
    place.rules(&(examples.concat() + reads));
    let out = place.command(&["check", "--json", "rules.toml"]);
    let verdict: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!((&verdict["errors"], &verdict["warnings"]), (&0.into(), &0.into()), "{verdict:#}");
}

/// The last cell of each row: the key, set.
fn examples(start: &str) -> Vec<(String, String)> {
    let text = doc();
    let rows = text.lines().filter_map(|l| l.strip_prefix(start));
    let examples = rows.map(|row| {
        let key = row.split('`').next().unwrap().to_owned();
        let example = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        let example = example.strip_prefix('`').and_then(|e| e.strip_suffix('`'));
        let example = example.unwrap_or_else(|| panic!("the row of `{key}` ends with no example"));
        assert!(example.starts_with(&format!("{key} = ")), "`{key}` is not what `{example}` sets");
        (key, example.to_owned())
    });
    examples.collect()
}

#[test]
fn the_example_of_each_key_of_a_rule_is_good() {
    let around = "[space.ops]\nwebhook = { env = 'A' }\n[space.oncall]\nwebhook = { env = 'B' }\n\
                  [[source]]\nname = 'billing'\nfiles = ['/srv/b.json']\nformat = 'json'\n\
                  [[rule]]\nname = 'nginx-down'\nsource = 'billing'\nmatch = 'nginx is down'\n";
    let keys = examples("| `");
    assert!(!keys.is_empty());
    for (key, example) in keys {
        let beside = match &*key {
            "threshold" => "within = '1h'",
            "within" => "threshold = 5",
            "distinct" => "threshold = 5\nwithin = '1h'",
            "hold" => "resolve = 'it is over'",
            "new" | "mask" => "by = ['kind']",
            "override" => "[[rule]]\nname = 'x'\njournal = true\nmatch = 'another'\n",
            _ => "",
        };
        let given = |k: &str, line: &str| if k == key { String::new() } else { format!("{line}\n") };
        let input = match &*key {
            "files" | "source" | "journal" => "",
            "where" => "source = 'billing'",
            _ => "files = ['/var/log/auth.log']",
        };
        let before = if key == "override" { beside } else { "" };
        let beside = if key == "override" { "" } else { beside };
        let rule = format!(
            "{around}{before}[[rule]]\n{}{}{input}\n{beside}\n{example}\n",
            given("name", "name = 'x'"),
            given("match", r"match = 'login of (?<user>\w+) from {ip}'"),
        );
        assert_eq!(faults(&rule), "", "{key}\n{rule}");
    }
}

#[test]
fn the_example_of_each_other_key_is_good() {
    let rule = "[[rule]]\nname = 'nginx-down'\nsource = 'nginx'\nmatch = 'nginx is down'\n\
                [[source]]\nname = 'nginx'\nfiles = ['/var/log/nginx.log']\n";
    let spaces =
        "[space.ops]\nwebhook = { env = 'A' }\n[space.oncall]\nconsole = true\n[space.log]\nconsole = true\n";
    for table in
        ["space.NAME", "route", "judge", "alive", "mute", "redact", "source", "chat", "top of the file"]
    {
        let keys = examples(&format!("| {table} | `"));
        assert!(!keys.is_empty(), "{table}");
        for (key, example) in keys {
            let text = match (table, &*key) {
                ("top of the file", _) => format!("{example}\n{spaces}{rule}"),
                ("space.NAME", "webhook" | "name" | "console") => {
                    format!("[space.x]\n{example}\n{spaces}{rule}")
                }
                ("space.NAME", "service_account" | "token" | "update") => {
                    format!("[space.x]\nname = 'spaces/A'\n{example}\n{spaces}{rule}")
                }
                ("space.NAME", _) => {
                    format!("[space.x]\nwebhook = {{ env = 'C' }}\n{example}\n{spaces}{rule}")
                }
                ("alive", "every") => {
                    format!("{spaces}{rule}[alive]\nurl = 'https://x.example/'\n{example}\n")
                }
                ("mute", _) => {
                    let given = |k: &str, line: &str| if k == key { "" } else { line }.to_owned();
                    let name = given("name", "name = 'm'");
                    let when = given("when", "when = { to = '01:00' }");
                    format!("{spaces}{rule}[[mute]]\n{name}\n{when}\n{example}\n")
                }
                ("source", _) => {
                    let name = if key == "name" { "" } else { "name = 'billing'" };
                    let files = match &*key {
                        "files" | "journal" | "stdin" => "",
                        _ => "files = ['/srv/x.log']",
                    };
                    let of = "[[rule]]\nname = 'y'\nsource = 'billing'\nmatch = 'trouble'\n";
                    format!("{spaces}{rule}{of}[[source]]\n{name}\n{files}\n{example}\n")
                }
                _ => format!("{spaces}{rule}[{table}]\n{example}\n"),
            };
            assert_eq!(faults(&text), "", "{key}\n{text}");
        }
    }
}

/// A value beyond a bound that the table names is refused with that very bound.
#[test]
fn its_bounds_are_those_of_the_code() {
    let rule = "[[rule]]\nname = 'x'\njournal = true\nmatch = 'a(?<u>b)'\nby = ['kind']\nresolve = 'c'\n";
    for (key, value) in [
        ("threshold", "10001"),
        ("within", "'8d'"),
        ("hold", "'2d'"),
        ("quiet", "'8d'"),
        ("remind", "'8d'"),
        ("max_per_hour", "3601"),
        ("new", "{ learn = '31d' }"),
        ("expect", "{ every = '8d' }"),
        ("context", "{ before = 21 }"),
    ] {
        let said = faults(&format!("{rule}{key} = {value}\n"));
        let named = said.split("expected ").nth(1).and_then(|s| s.lines().next());
        let expected = named.unwrap_or_else(|| panic!("no bound is named: {said}"));
        let bounds = rows().into_iter().find(|(k, _)| k == key).unwrap().1;
        assert!(bounds.contains(expected), "`{key}`: the code says {expected}, the table {bounds}\n{said}");
    }
}

/// The same of what holds for all rules, and of lists and texts.
#[test]
fn the_bounds_of_what_holds_for_all_rules_are_those_of_the_code() {
    let many = |n: usize, what: &str| format!("[{}]", vec![format!("'{what}'"); n].join(", "));
    let rule = "[[rule]]\nname = 'x'\njournal = true\nmatch = 'a(?<u>b)'\n";
    let space = format!("{rule}[space.s]\nwebhook = {{ env = 'S' }}\n");
    for (rules, expected) in [
        (format!("{space}wait = '2h'"), "0ms to 1h"),
        (format!("{space}wait_at_most = '2h'"), "0ms to 1h"),
        (format!("{space}max_per_hour = 3601"), "1 to 3600"),
        (format!("{space}max_per_hour = 0"), "1 to 3600"),
        (format!("{space}digest_every = '59s'"), "1m to 1d"),
        (format!("{space}digest_every = '2d'"), "1m to 1d"),
        (format!("{rule}[judge]\nlate_after = '59s'"), "1m to 30d"),
        (format!("{rule}[judge]\nlate_after = '31d'"), "1m to 30d"),
        (format!("{rule}[judge]\nmemory = '1023KiB'"), "1MiB to 16GiB"),
        (format!("{rule}[judge]\nmemory = '17GiB'"), "1MiB to 16GiB"),
        (format!("{rule}[alive]\nurl = 'https://x.example/'\nevery = '9s'"), "10s to 1d"),
        (format!("{rule}[alive]\nurl = 'https://x.example/'\nevery = '2d'"), "10s to 1d"),
        (format!("{rule}[redact]\nextra = {}", many(51, "x")), "at most 50"),
        (format!("{rule}by = {}", many(9, "u")), "at most 8"),
        (format!("{rule}top = {}", many(4, "u")), "at most 3"),
        (format!("{rule}by = ['kind']\nmask = {}", many(21, "x")), "at most 20"),
        (format!("{rule}inhibited_by = {}", many(21, "y")), "at most 20"),
        (format!("{rule}threshold = 1001\nwithin = '1m'\ndistinct = 'u'"), "1000"),
        (format!("{rule}message = '{}'", "x".repeat(2001)), "at most 2000"),
        (rule.replace("'x'", &format!("'{}'", "x".repeat(65))), "1 to 64"),
        (rule.replace("'a(", &format!("'{}(", "a".repeat(16 << 10))), "at most 16384"),
    ] {
        let said = faults(&rules);
        assert!(said.contains(expected), "{expected}: {}\n{said}", &rules[..rules.len().min(300)]);
        // the table gives the bytes of a pattern in KiB
        let told = if expected == "at most 16384" { "at most 16 KiB" } else { expected };
        assert!(doc().contains(told), "the tables say nothing of {told}");
    }
}

/// The same of what is matched and read, and of what is taken out.
#[test]
fn the_defaults_of_what_is_read_are_those_of_the_code() {
    let now = Now { wall: Wall(1_790_000_000_000), ..Now::default() };
    let env = Env { host: "h1".into(), tz: jiff::tz::TimeZone::get("Asia/Tokyo").unwrap(), now };
    let rules = "[space.s]\nname = 'spaces/A'\n[[source]]\nname = 'logs'\nfiles = ['/srv/x.log']\n\
                 [[rule]]\nname = 'x'\nsource = 'logs'\nmatch = 'a'\n";
    let loaded = config::load_text(Path::new("/etc/rules.toml"), rules, &env, &Disk);
    let settings = loaded.settings.unwrap_or_else(|| panic!("{:?}", loaded.faults));
    let text = doc();
    let said = |table: &str, key: &str| {
        let row = text.lines().find_map(|l| l.strip_prefix(&format!("| {table}`{key}` | ")));
        row.unwrap_or_else(|| panic!("no row {table} {key}")).split(" | ").next().unwrap().to_owned()
    };
    let source = &settings.sources[0];
    assert_eq!(said("source | ", "format"), format!("`{:?}`", source.format).to_lowercase());
    assert_eq!(said("source | ", "from"), format!("`{:?}`", source.from).to_lowercase());
    assert_eq!(said("source | ", "max_line"), format!("{}KiB", source.max_line >> 10));
    assert_eq!((said("source | ", "encoding"), source.encoding), ("`utf-8`".into(), Encoding::default()));
    assert_eq!((said("source | ", "join"), &source.join), ("none".into(), &Join::None));
    assert_eq!(
        (said("source | ", "start"), said("source | ", "exclude_files")),
        ("none".into(), "none".into())
    );
    let Input::Files { exclude, .. } = &source.input else { panic!("{:?}", source.input) };
    assert!(exclude.is_empty());
    assert_eq!((said("source | ", "tz"), &settings.clocks[0].tz), ("the host's".into(), &env.tz));

    let rule = &settings.rules[0];
    for key in ["exclude", "where", "by", "resolve", "mask", "context"] {
        assert_eq!(said("", key), "none");
    }
    assert!(rule.exclude.is_empty() && rule.fields.is_empty() && rule.by.is_empty() && rule.mask.is_empty());
    assert!(rule.resolve.is_none() && (rule.context.before, rule.context.after) == (0, 0));
    assert_eq!((said("", "enabled"), settings.rules.len()), ("`true`".into(), 1));

    let line = "mail from jane@shop.example session=abc";
    assert_eq!((said("redact | ", "emails"), said("redact | ", "extra")), ("`false`".into(), "none".into()));
    assert_eq!(settings.policy.redactor.redact(line), line);
    assert_eq!(said("space.NAME | ", "token"), "`auto`");
    let Way::Rest { token, .. } = &settings.targets[0].way else { panic!("{:?}", settings.targets) };
    assert_eq!(
        (token, said("space.NAME | ", "service_account")),
        (&TokenWay::Auto, "Application Default Credentials".into())
    );
    assert_eq!((said("space.NAME | ", "update"), settings.policy.spaces[0].edit), ("`thread`".into(), false));
    assert_eq!((said("space.NAME | ", "fallback"), settings.fallbacks.len()), ("none".into(), 0));
    assert_eq!(
        (said("mute | ", "even_critical"), said("mute | ", "rules")),
        ("`false`".into(), "all".into())
    );
    let muted = format!("{rules}[[mute]]\nname = 'm'\nwhen = {{ to = '01:00' }}\n");
    let loaded = config::load_text(Path::new("/etc/rules.toml"), &muted, &env, &Disk);
    let mute = &loaded.settings.unwrap().policy.mutes[0];
    assert!(!mute.even_critical && mute.rules.iter().all(|glob| glob.matches("x")));
    assert_eq!((said("alive | ", "every"), said("alive | ", "daily")), ("1m".into(), "none".into()));
    let alive = format!("{rules}[alive]\nurl = 'https://x.example/'\n");
    let settings = config::load_text(Path::new("/etc/rules.toml"), &alive, &env, &Disk).settings.unwrap();
    assert_eq!(settings.ping.unwrap().every().as_secs(), 60);
    assert!(settings.policy.alive.is_none_or(|alive| alive.daily.is_none()));
}

/// What a file that says nothing gives is what the tables say.
#[test]
fn its_defaults_are_those_of_the_code() {
    let settings = |more: &str| {
        let now = Now { wall: Wall(1_790_000_000_000), ..Now::default() };
        let env = Env { host: "h1".into(), tz: jiff::tz::TimeZone::UTC, now };
        let rules = format!(
            "[space.s]\nwebhook = {{ env = 'S' }}\n[[rule]]\nname = 'x'\njournal = true\nmatch = 'a'\n{more}"
        );
        let loaded = config::load_text(Path::new("/etc/rules.toml"), &rules, &env, &Disk);
        loaded.settings.unwrap_or_else(|| panic!("{:?}", loaded.faults)).policy
    };
    let policy = settings("");
    let (rule, space) = (&policy.rules[0], &policy.spaces[0]);
    let text = |d: std::time::Duration| logherald::template::span_text(d);
    let text_doc = doc();
    let said = |row: &str| {
        let row = text_doc.lines().find(|l| l.starts_with(row)).unwrap_or_else(|| panic!("no row {row}"));
        row[row.find('`').unwrap()..].split('|').nth(1).unwrap().trim().to_owned()
    };
    for (row, found) in [
        ("| `threshold`", rule.threshold.to_string()),
        ("| `hold`", rule.hold.as_secs().to_string()),
        ("| `say_end`", format!("`{}`", rule.say_end)),
        ("| `severity`", format!("`{:?}`", rule.severity).to_lowercase()),
        ("| space.NAME | `wait`", format!("{}, console 0s", text(space.wait))),
        ("| space.NAME | `wait_at_most`", text(space.wait_at_most)),
        ("| space.NAME | `max_per_hour`", space.max_per_hour.to_string()),
        ("| space.NAME | `digest_every`", text(space.digest_every)),
        ("| judge | `late_after`", text(policy.late_after)),
        ("| judge | `memory`", format!("{}MiB", policy.memory >> 20)),
    ] {
        assert_eq!(said(row), found, "{row}");
    }
    assert_eq!(said("| `remind`"), format!("{}, doubling to 24h", text(rule.remind)));
    assert_eq!(said("| `quiet`"), format!("`within`, at least {}", text(rule.quiet)));
    let slow = settings("threshold = 2\nwithin = '30m'\n");
    assert_eq!(slow.rules[0].quiet.as_secs(), 30 * 60);
    let new = settings("by = ['kind']\nnew = { learn = '1d' }\n");
    assert_eq!(
        said("| `max_per_hour`"),
        format!("{}; with `new` {}", rule.max_per_hour, new.rules[0].max_per_hour)
    );
    assert!(rule.by.is_empty() && rule.top.is_empty() && rule.inhibited_by.is_empty());
    assert!(rule.distinct.is_none() && rule.expect.is_none() && rule.new.is_none() && rule.runbook.is_none());
    assert!(space.mention.is_empty() && !space.edit && policy.mutes.is_empty() && policy.alive.is_none());
    assert_eq!(rule.spaces, ["s".into()]);
    let console = "[space.t]\nconsole = true\n";
    assert!(settings(console).spaces.iter().any(|s| s.wait.is_zero()), "the console does not wait");
}
