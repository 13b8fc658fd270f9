//! Is `docs/rules.md` true? Its table has every key that a rule knows, its examples pass `check`, its bounds hold.

use std::collections::BTreeSet;
use std::path::Path;

use logherald::config::{self, Disk, Env, Look};
use logherald::time::{Now, Wall};

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
    ] {
        let start = format!("| {name} | `");
        let rows = text.lines().filter_map(|l| l.strip_prefix(&start)?.split_once('`'));
        let rows: BTreeSet<String> = rows.map(|(key, _)| key.to_owned()).collect();
        assert_eq!(rows, listed(table), "[{name}]");
    }
}

#[test]
fn its_examples_pass_check() {
    let text = doc();
    let examples: Vec<&str> =
        text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(examples.len() >= 4, "{} examples", examples.len());
    assert_eq!(faults(&examples.concat()), "");
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
