//! Reloads, signals and restarts of the real binary: what stays, what changes, what is said?

use std::fs;

use rustix::process::Signal;

use crate::harness::program::{Place, term};

const RULES: &str = "[[rule]]\nname = 'first'\nfiles = ['DIR/app.log']\nmatch = 'first trouble'\n";
const SECOND: &str = "[[rule]]\nname = 'second'\nfiles = ['DIR/app.log']\nmatch = 'second trouble'\n";

#[test]
fn an_edited_file_is_loaded_by_itself() {
    let place = Place::new();
    place.rules(RULES);
    place.append("app.log", "start\n");
    let mut agent = place.start();
    place.rules(&format!("{RULES}{SECOND}"));
    agent.wait_for_log("rules are loaded anew: 2 rules");
    place.append("app.log", "second trouble\n");
    agent.wait_for_output("second trouble");
    assert_eq!(agent.stop(), 0);
}

#[test]
fn a_faulty_edit_keeps_the_whole_running_set_and_is_told() {
    let place = Place::new();
    place.rules(RULES);
    place.append("app.log", "start\n");
    let mut agent = place.start();
    place.rules(&format!("{RULES}{}", SECOND.replace("match", "mach")));
    agent.wait_for_log("the changed rules are refused");
    agent.wait_for_output("unknown key `mach`");
    place.append("app.log", "first trouble\n");
    agent.wait_for_output("first trouble");
    let status = agent.status();
    assert!(status["rules_file"]["refused"].as_str().unwrap().contains("did you mean `match`"), "{status:#}");

    let (code, said) = place.fails(&["reload", "--state", "state"]);
    assert_eq!(code, 78);
    assert!(said.contains("unknown key `mach`"), "{said}");
    assert!(
        said.ends_with("\n\n2 errors\n\nerror: the rules are refused, the running ones stay\n"),
        "{said}"
    );

    place.rules(&format!("{RULES}{SECOND}"));
    assert_eq!(place.says(&["reload", "--state", "state"]), "2 rules are loaded\n");
    assert_eq!(agent.stop(), 0);
}

#[test]
fn sighup_loads_the_rules_and_the_ledger_goes_on() {
    let place = Place::new();
    place.rules(RULES);
    place.append("app.log", "start\n");
    let mut agent = place.start();
    place.append("app.log", "first trouble\n");
    agent.wait_for_output("first trouble");
    place.rules(&format!("{RULES}{SECOND}"));
    agent.signal(Signal::HUP);
    agent.wait_for_log("rules are loaded anew: 2 rules");
    place.append("app.log", "first trouble again\n");
    agent.wait_for_status("both hits of the first rule", |s| term(s, "first", "hits") == 2);
    assert_eq!(agent.stop(), 0);
}

#[test]
fn a_stopped_agent_goes_on_where_it_was() {
    let place = Place::new();
    place.rules(RULES);
    place.append("app.log", "first trouble that was there before\n");
    let mut agent = place.start();
    place.append("app.log", "first trouble 1\nfirst trou");
    agent.wait_for_output("first trouble 1");
    assert_eq!(agent.stop(), 0);
    place.append("app.log", "ble 2\n");
    let agent = place.start();
    agent.wait_for_status("two hits", |s| term(s, "first", "hits") == 2);
    assert_eq!(agent.stop(), 0);
}

#[test]
fn at_boot_a_faulty_rule_is_left_out_and_a_file_that_does_not_parse_is_replaced_by_the_last_that_did() {
    let place = Place::new();
    place.append("app.log", "start\n");
    place.rules(&format!("{RULES}{}", SECOND.replace("second trouble", "second (trouble")));
    let mut agent = place.start();
    agent.wait_for_output("second");
    place.append("app.log", "first trouble\n");
    agent.wait_for_output("first trouble");
    assert_eq!(agent.status()["rules_file"]["left_out"], serde_json::json!(["second"]));
    place.rules(&format!("{RULES}{SECOND}"));
    assert_eq!(place.says(&["reload", "--state", "state"]), "2 rules are loaded\n");
    assert_eq!(agent.stop(), 0);

    place.rules("[[rule]\n");
    let mut agent = place.start();
    place.append("app.log", "second trouble\n");
    agent.wait_for_output("second trouble");
    assert_eq!(agent.status()["rules_file"]["from_last_good"], true);
    assert_eq!(agent.stop(), 0);

    fs::remove_dir_all(place.path("state")).unwrap();
    let (code, said) = place.fails(&["run", "rules.toml", "--state", "state"]);
    assert_eq!(code, 78, "{said}");
}

#[test]
fn at_boot_a_fault_outside_rules_is_told_and_the_last_set_that_loaded_goes_on() {
    let place = Place::new();
    place.append("app.log", "start\n");
    place.rules(RULES);
    assert_eq!(place.start().stop(), 0);

    place.rules(&format!("[space.ops]\nwebhok = {{ env = 'OPS' }}\n{RULES}{SECOND}"));
    let mut agent = place.start();
    agent.wait_for_output("unknown key `webhok`");
    place.append("app.log", "second trouble\nfirst trouble\n");
    agent.wait_for_output("first trouble");
    let status = agent.status();
    assert_eq!(status["rules_file"]["from_last_good"], true);
    assert!(
        status["rules_file"]["refused"].as_str().unwrap().contains("did you mean `webhook`"),
        "{status:#}"
    );
    assert!(status["rules"].get("second").is_none(), "{status:#}");
    assert_eq!(agent.stop(), 0);

    fs::remove_dir_all(place.path("state")).unwrap();
    let (code, said) = place.fails(&["run", "rules.toml", "--state", "state"]);
    assert_eq!(code, 78, "{said}");
    assert!(said.contains("did you mean `webhook`"), "{said}");
}

#[test]
fn two_agents_cannot_share_a_state_directory() {
    let place = Place::new();
    place.rules(RULES);
    place.append("app.log", "start\n");
    let _agent = place.start();
    let (code, said) = place.fails(&["run", "rules.toml", "--state", "state"]);
    assert_eq!(
        (code, said.as_str()),
        (
            78,
            "error: another logherald runs on the state directory `state`\n\
             hint: stop that one first, or give this one a directory of its own with `--state DIR`\n"
        )
    );
}
