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
