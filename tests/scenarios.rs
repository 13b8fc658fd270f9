//! The scenarios under `tests/scenarios/`: does each say what it expects, and does the command judge them rightly?

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::harness::program::Place;

/// One for each row of what a rule means; fewer than these would leave rows out.
const AT_LEAST: usize = 60;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios")
}

#[test]
fn every_scenario_says_what_it_expects() {
    let place = Place::new();
    let out = place.command(&["test", &folder().display().to_string()]);
    let said = String::from_utf8(out.stdout).unwrap();
    assert!(out.status.success(), "{said}");
    let held = said.lines().filter(|l| l.starts_with("ok ")).count();
    assert!(held >= AT_LEAST, "{held} scenarios");
    println!("measured: scenarios: {held}");
}

#[test]
fn every_scenario_says_what_it_shows_and_expects_something_of_its_books() {
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("about = \"\"\"\n"), "{}", path.display());
        assert!(text.contains("\nledger "), "{}", path.display());
    }
}

#[test]
fn the_scenario_of_the_document_holds() {
    let document = std::fs::read_to_string(folder().join("../../docs/trying.md")).unwrap();
    let scenario = document.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let place = Place::new();
    place.append("a.toml", scenario);
    assert!(place.says(&["test", "a.toml"]).starts_with("ok "));
}

const SCENARIO: &str = r#"about = "one hit"
rules = '''
[[rule]]
name = "disk-full"
files = ["/var/log/syslog"]
match = 'No space left'
'''
[[step]]
at = "+5s"
log = 'No space left'

[expect]
messages = '''
+5s console · warning · thread 1
   opened disk-full · 2 hits · 05:26:05
      No space left
ledger disk-full: 1 hit = 1 shown
'''
"#;

#[test]
fn what_differs_is_shown_with_its_lines_and_written_when_that_is_wanted() {
    let place = Place::new();
    place.append("a.toml", SCENARIO);
    let out = place.command(&["test", "a.toml"]);
    assert_eq!(out.status.code(), Some(65));
    let want = "\
differs   a.toml
     14   +5s console · warning · thread 1
     15 -    opened disk-full · 2 hits · 05:26:05
        +    opened disk-full · 1 hit · 05:26:05
     16         No space left
     17   ledger disk-full: 1 hit = 1 shown
1 scenario: 1 not as expected; `--write` records what is said now
";
    assert_eq!(String::from_utf8(out.stdout).unwrap(), want);

    let out = place.says(&["test", "--write", "a.toml"]);
    assert_eq!(out, "recorded  a.toml\n1 scenario: 1 recorded; look at the difference before you keep it\n");
    let text = std::fs::read_to_string(place.path("a.toml")).unwrap();
    assert_eq!(text, SCENARIO.replace("2 hits", "1 hit"));
    assert_eq!(
        place.says(&["test", "a.toml"]),
        "ok        a.toml\n1 scenario: what they say is what they expect\n"
    );
}

#[test]
fn a_scenario_without_an_expectation_gets_one() {
    let place = Place::new();
    let (steps, _) = SCENARIO.split_once("\n[expect]").unwrap();
    place.append("a.toml", steps);
    assert_eq!(place.command(&["test", "a.toml"]).status.code(), Some(65));
    place.says(&["test", "--write", "."]);
    assert_eq!(std::fs::read_to_string(place.path("a.toml")).unwrap(), SCENARIO.replace("2 hits", "1 hit"));
}

/// What is said of a scenario that is `SCENARIO` with `old` made `new`.
fn fault(old: &str, new: &str) -> String {
    let place = Place::new();
    assert!(SCENARIO.contains(old), "{old}");
    place.append("a.toml", &SCENARIO.replacen(old, new, 1));
    let out = place.command(&["test", "--json", "a.toml"]);
    assert_eq!(out.status.code(), Some(65));
    let said: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(said["broken"], 1, "{said:#}");
    said["scenarios"][0]["fault"].as_str().unwrap().to_owned()
}

#[test]
fn a_fault_of_a_scenario_has_its_place_and_its_remedy() {
    let faults = [
        (
            "at = \"+5s\"",
            "at = \"5s\"",
            "a.toml:9:6: `5s` is not a time of this scenario\n\
             hint: write it like \"+1m5s\", counted from the start, or \"2026-11-22T05:26:00Z\", not before the start",
        ),
        (
            "log = 'No space left'",
            "log = 'x'\nchat = \"drops\"",
            "a.toml:8:1: this step has more than one thing to happen\n\
             hint: a step has one of `log`, `agent`, `chat`, `silence` and `unsilence`",
        ),
        (
            "log = 'No space left'",
            "",
            "a.toml:8:1: nothing happens in this step\nhint: a step has one of `log`, `agent`, `chat`, `silence` and `unsilence`",
        ),
        (
            "log = 'No space left'",
            "agent = \"starts\"",
            "a.toml:8:1: the agent runs already\nhint: see `logherald check`",
        ),
        (
            "log = 'No space left'",
            "log = 'x'\nfile = \"/var/log/other\"",
            "a.toml:8:1: no rule reads the file `/var/log/other`\nhint: see `logherald check`",
        ),
        (
            "about = \"one hit\"",
            "tz = \"Europe/Pariss\"",
            "a.toml:1:6: `Europe/Pariss` is not a time zone\nhint: write it like \"Europe/Paris\"",
        ),
    ];
    for (old, new, want) in faults {
        assert_eq!(fault(old, new), want);
    }
    assert!(
        fault("at = \"+5s\"", "att = \"+5s\"")
            .starts_with("a.toml:9:1: unknown field `att`, expected one of")
    );
    let said = fault("name = \"disk-full\"", "nam = \"disk-full\"");
    assert!(said.starts_with("a.toml:2:9: the rules have faults: 2 errors\n\n"), "{said}");
    assert!(said.contains("did you mean `name`?"), "{said}");
}
