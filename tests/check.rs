//! `check` and `explain`: what they find, what they print, and their JSON.

use serde_json::{Value, json};

use crate::harness::program::{Place, term};

const RULES: &str = r#"
[[rule]]
name = "sshd"
files = ["DIR/auth.log"]
match = 'Failed \S+ for (?<user>\S+) from (?<from>[0-9.]+) port \d+$'
exclude = ['from 10\.0\.0\.\d+ ']
by = ["from"]
threshold = 5
within = "2m"
tests = [
  { line = "Failed password for root from 192.0.2.1 port 22", gives = { user = "root" } },
  { line = "Failed password for root from 10.0.0.7 port 22", gives = "excluded" },
  { line = "all is well", gives = "nothing" },
]
"#;

const HIT: &str = "2026-11-22T05:26:00Z h sshd[7]: Failed password for root from 192.0.2.1 port 22";
const EXCLUDED: &str = "2026-11-22T05:26:00Z h sshd[7]: Failed password for root from 10.0.0.7 port 22";

#[test]
fn a_sound_file_passes_with_its_counts() {
    let place = Place::new();
    place.rules(RULES);
    place.append("auth.log", "");
    assert_eq!(place.says(&["check", "rules.toml"]), "rules.toml: 1 rule, 3 tests, 1 space; no fault\n");
}

#[test]
fn the_shipped_rules_pass_with_all_their_tests() {
    let place = Place::new();
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/rules.toml");
    let said = place.says(&["check", shipped]);
    assert!(said.ends_with("; no fault\n") && !said.contains("warning"), "{said}");
}

#[test]
fn a_failed_test_is_a_fault_with_its_place() {
    let place = Place::new();
    place.rules(&RULES.replace("user = \"root\"", "user = \"alice\""));
    place.append("auth.log", "");
    let out = place.command(&["check", "rules.toml"]);
    assert_eq!(out.status.code(), Some(78));
    let said = String::from_utf8(out.stdout).unwrap();
    assert!(
        said.starts_with(
            "error: rule \"sshd\": test 1 failed: expected user=`alice`, but the line is a hit with user=`root`, \
             from=`192.0.2.1`\n  --> rules.toml:11:"
        ) || said.contains("test 1 failed: expected user=`alice`, but the line is a hit with user=`root`, from=`192.0.2.1`"),
        "{said}"
    );
    assert!(said.ends_with("rules.toml: 1 rule, 3 tests, 1 space; 1 error\n"), "{said}");
}

#[test]
fn json_has_every_fault_with_its_place() {
    let place = Place::new();
    place.rules(&RULES.replace("threshold", "treshold"));
    let out = place.command(&["check", "--json", "rules.toml"]);
    assert_eq!(out.status.code(), Some(78));
    let doc: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(doc["errors"], 1);
    let fault = &doc["faults"][0];
    assert_eq!((fault["line"].as_u64(), fault["rule"].as_str()), (Some(8), Some("sshd")), "{doc:#}");
}

const COSTLY: &str = r#"
[[rule]]
name = "digits"
files = ["DIR/a.log"]
match = '\d+ \w+'

[[rule]]
name = "kernel"
files = ["DIR/a.log"]
match = 'kernel: \S+'

[[rule]]
name = "panic"
files = ["DIR/a.log"]
match = 'kernel: panic|Oops'
"#;

/// What `check` says of [`COSTLY`], whose `match` on line 10 is looked at too often in this log.
fn costly(kernel: &str) -> String {
    let digits = "warning: rule `digits`: `match` holds no text of four letters or more that every match has: it is \
                  tried on every line, and slows all reading down\n --> rules.toml:5:9\n  |\n\
                  5 | match = '\\d+ \\w+'\n  |         ^^^^^^^^^\n  |\n  \
                  = hint: write more of the line, such as the program's name before what varies\n\n";
    format!("{digits}{kernel}")
}

#[test]
fn what_costs_much_is_told_with_the_remedy() {
    let place = Place::new();
    place.rules(COSTLY);
    place.append("a.log", &"Nov 22 05:26:00 h kernel: usb 1\nNov 22 05:26:00 h cron: run\n".repeat(60));
    let kernel = |log: &str, lines: usize, of: usize| {
        format!(
            "warning: rule `kernel`: its rarest text, `kernel: `, is in {lines} of the last {of} lines of {log}: each \
             of them is looked at\n  --> rules.toml:10:9\n   |\n10 | match = 'kernel: \\S+'\n   |         \
             ^^^^^^^^^^^^^\n   |\n   = hint: write more of the line: a word beside it that other lines do not have\n\n"
        )
    };
    let log = place.path("a.log").display().to_string();
    let verdict = |n| {
        format!(
            "note: 3 rules have no test: `digits`, `kernel`, `panic`; a line in `tests` beside a rule shows at each `check` \
             that the rule hits it\nrules.toml: 3 rules, 0 tests, 1 space; {n}\n"
        )
    };
    let said = place.says(&["check", "rules.toml"]);
    assert_eq!(said, costly(&kernel(&log, 60, 120)) + &verdict("2 warnings"));

    place.append("other.log", &"kernel: usb 1\n".repeat(200));
    let other = place.path("other.log").display().to_string();
    let said = place.says(&["check", "--sample", &other, "rules.toml"]);
    assert_eq!(said, costly(&kernel(&other, 200, 200)) + &verdict("2 warnings"));

    place.append("few.log", &"kernel: usb 1\n".repeat(99));
    let few = place.path("few.log").display().to_string();
    assert_eq!(place.says(&["check", "--sample", &few, "rules.toml"]), costly("") + &verdict("1 warning"));

    let out = place.command(&["check", "--sample", "nothing.log", "rules.toml"]);
    assert_eq!(out.status.code(), Some(65));
    let said = String::from_utf8(out.stderr).unwrap();
    assert_eq!(
        said,
        "error: the sample `nothing.log` cannot be read: No such file or directory (os error 2)\n"
    );
}

#[test]
fn a_set_that_may_grow_large_is_told_at_its_largest_rule() {
    let place = Place::new();
    place.append("a.log", "");
    let rule = |n: usize, times: usize| {
        format!("[[rule]]\nname = \"r{n}\"\nfiles = [\"DIR/a.log\"]\nmatch = 'item {n}: \\w{{{times}}}'\n")
    };
    let rules = |n: usize| (0..n).map(|n| rule(n, 6)).collect::<String>() + &rule(n, 7);
    place.rules(&rules(10));
    let said = place.says(&["check", "rules.toml"]);
    assert_eq!(
        said,
        "note: 11 rules have no test: `r0`, `r1`, `r2`, `r3`, `r4` and 6 more; a line in `tests` beside a rule shows at each \
         `check` that the rule hits it\nrules.toml: 11 rules, 0 tests, 1 space; no fault\n"
    );
    place.rules(&rules(900));
    let said = place.says(&["check", "rules.toml"]);
    assert!(said.starts_with("warning: rule `r900`: compiled, the 901 rules may take "), "{said}");
    assert!(said.contains(" KiB: the most\n"), "{said}");
    assert!(said.contains("match = 'item 900: "), "{said}");
    let hint = r"  = hint: `\w` and `\d` mean every alphabet: write [0-9A-Za-z_] and [0-9]; make counted repetitions smaller";
    assert!(said.contains(hint), "{said}");
    assert!(said.ends_with("rules.toml: 901 rules, 0 tests, 1 space; 1 warning\n"), "{said}");
}

#[test]
fn explain_says_how_far_each_rule_got() {
    let place = Place::new();
    place.rules(RULES);
    let said = place.says(&["explain", "--rules", "rules.toml", HIT, EXCLUDED, "all is well"]);
    assert_eq!(
        said,
        format!(
            "{HIT}\n  HIT       sshd\n            found by `Failed `\n            user = root\n            from = 192.0.2.1\n            \
             key: from=192.0.2.1\n            event time: 2026-11-22T05:26:00.000Z\n            \
             counts towards 5 within 2m, which then open an incident: warning to `console`\n            \
             a first hit is not shown yet\n            \
             limits: 30 openings and reminders an hour, 5 at once, then one fold; 60 messages an hour to \
             `console`, then a digest\n            \
             now: no agent is running that could be asked\n\n\
             {EXCLUDED}\n  excluded  sshd: by `exclude` number 1: from 10\\.0\\.0\\.\\d+ \n\n\
             all is well\n  -         sshd: the line lacks `Failed `\n\n"
        )
    );
}

#[test]
fn explain_gives_one_json_object_a_line_of_input() {
    let place = Place::new();
    place.rules(RULES);
    let said = place.says(&["explain", "--rules", "rules.toml", "--json", HIT, EXCLUDED]);
    let docs: Vec<Value> = said.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(
        docs,
        [
            json!({
                "line": HIT,
                "hits": [{
                    "rule": "sshd",
                    "captures": { "user": "root", "from": "192.0.2.1" },
                    "key": { "from": "192.0.2.1" },
                    "event_time": "2026-11-22T05:26:00.000Z",
                    "literal": "Failed ",
                    "limiter": [
                        "a first hit is not shown yet",
                        "limits: 30 openings and reminders an hour, 5 at once, then one fold; 60 messages an hour to \
                         `console`, then a digest",
                    ],
                    "agent": { "none": "no agent is running that could be asked" },
                }],
                "excluded": [],
            }),
            json!({
                "line": EXCLUDED,
                "hits": [],
                "excluded": [{
                    "rule": "sshd", "exclude": 1, "pattern": "from 10\\.0\\.0\\.\\d+ ", "literal": "Failed ",
                }],
            }),
        ]
    );
}

/// Of the running agent's rules: how far each is with what has come so far.
#[test]
fn explain_asks_the_running_agent_what_it_would_make_of_one_more() {
    let place = Place::new();
    place.rules(
        r"
[space.screen]
console = true
[[rule]]
name = 'refused'
files = ['DIR/app.log']
match = 'refused (?<ip>\S+) (?<user>\S+)'
by = ['ip', 'user']
threshold = 3
within = '1h'
[[rule]]
name = 'broken'
files = ['DIR/app.log']
match = 'broken'
max_per_hour = 6
[[rule]]
name = 'beat'
files = ['DIR/app.log']
match = 'beat'
expect = { every = '1h' }
",
    );
    place.append("app.log", "");
    let mut agent = place.start();
    let now = |line: &str| {
        let said = place.says(&["explain", "--rules", "rules.toml", "--state", "state", line]);
        said.lines().find_map(|l| l.trim().strip_prefix("now: ").map(str::to_owned)).unwrap()
    };
    assert_eq!(
        now("refused 192.0.2.1 ana"),
        "below the threshold: 0 of 3 within 1h so far; room for 5 of the rule, 10 messages to `screen`"
    );
    assert_eq!(
        now("beat"),
        "seen: it is what the rule expects; room for 5 of the rule, 10 messages to `screen`"
    );
    assert!(now("broken").starts_with("opens an incident, to screen; room for 1 of the rule, "));

    place.append("app.log", "refused 192.0.2.1 ana\nrefused 192.0.2.1 ana\nbroken\n");
    agent.wait_for_output("broken");
    assert!(now("refused 192.0.2.1 ana").starts_with("opens an incident, to screen; "));
    assert!(now("refused 192.0.2.1 bob").starts_with("below the threshold: 0 of 3 within 1h so far; "));
    let repeat = now("broken");
    assert!(
        repeat.starts_with("a repeat: open since 20") && repeat.contains(", 1 hit; room for 0 of"),
        "{repeat}"
    );

    // one part of a key of two, whichever the other is: also of a key that was never seen
    let silence =
        |key| place.says(&["silence", "refused", key, "--for", "2h", "--why", "x", "--state", "state"]);
    silence("ip=192.0.2.1");
    assert!(now("refused 192.0.2.1 ana").starts_with("opening held: the silence s1; "));
    place.append("app.log", "refused 192.0.2.1 bob\nrefused 192.0.2.1 bob\nrefused 192.0.2.9 bob\n");
    agent.wait_for_status("five hits", |s| term(s, "refused", "hits") == 5);
    assert!(now("refused 192.0.2.1 bob").starts_with("opening held: the silence s1; "));
    assert!(now("refused 192.0.2.9 bob").starts_with("below the threshold: 1 of 3 within 1h so far; "));

    // the question changes nothing, and answers programs too
    let said = place.says(&["explain", "--rules", "rules.toml", "--state", "state", "--json", "broken"]);
    let doc: Value = serde_json::from_str(&said).unwrap();
    let outlook = &doc["hits"][0]["agent"];
    assert_eq!((&outlook["said"], &outlook["left"]), (&json!(false), &json!(0)), "{doc}");
    assert_eq!(term(&agent.status(), "broken", "hits"), 1);
    agent.stop();
    assert_eq!(now("broken"), "no agent is running that could be asked");
}

#[test]
fn explain_asks_only_the_rules_of_a_file_that_is_named() {
    let place = Place::new();
    place.rules(RULES);
    let other = place.says(&["explain", "--rules", "rules.toml", "--file", "/var/log/other.log", HIT]);
    assert!(other.contains("  -         sshd: reads other files\n"), "{other}");
}

#[test]
fn of_many_lines_explain_lists_the_rules_that_came_near() {
    let place = Place::new();
    place.rules(&format!(
        "{RULES}\n[[rule]]\nname = 'oom'\nfiles = ['DIR/kern.log']\nmatch = 'Out of (?:memory|swap)'\n"
    ));
    place.append("stdin", "all is well\nFailed to begin\n");
    let stdin = std::fs::File::open(place.path("stdin")).unwrap();
    assert_eq!(
        place.says_of(stdin, &["explain", "--rules", "rules.toml"]),
        "all is well\n  -         2 rules: the line lacks their texts, or they read other files\n\n\
         Failed to begin\n  -         sshd: `match` does not accept it\n  \
         -         1 rule: the line lacks its text, or it reads other files\n\n"
    );
    let one = place.says(&["explain", "--rules", "rules.toml", "all is well"]);
    assert_eq!(
        one,
        "all is well\n  -         sshd: the line lacks `Failed `\n  -         oom: the line has none of `out of memory`, \
         `out of swap`\n\n"
    );
}

/// A rule on JSON lines with conditions, and its tests.
const WRAPPED: &str = r#"
[[source]]
name = "app"
files = ["DIR/app.json"]
format = "json"

[[rule]]
name = "checkout"
source = "app"
match = 'checkout'
exclude = ['"probe"']
where = { level = ["error", "fatal"], http.status = 500, stream = "stderr" }
by = ["user.id"]
message = "{user.id} of {shop}"
tests = [
  { line = '{"level":"error","http":{"status":500},"user":{"id":7},"shop":"a","msg":"checkout"}', fields = { stream = "stderr" }, gives = { "user.id" = "7", shop = "a" } },
  { line = '{"level":"error","http":{"status":500},"msg":"checkout"}', fields = { stream = "stdout" }, gives = "nothing" },
  { line = '{"level":"error","by":"probe","msg":"checkout"}', gives = "excluded" },
  { line = '{"level":"info","msg":"checkout"}', gives = "nothing" },
]
"#;

#[test]
fn inline_tests_are_judged_by_fields_too() {
    let place = Place::new();
    place.rules(WRAPPED);
    place.append("app.json", "");
    assert_eq!(place.says(&["check", "rules.toml"]), "rules.toml: 1 rule, 4 tests, 1 space; no fault\n");
}

#[test]
fn a_test_that_where_refuses_says_by_what() {
    let place = Place::new();
    let wrong = [("gives = \"nothing\"", "gives = {}"), ("shop = \"a\"", "shop = \"b\"")];
    place.rules(&wrong.iter().fold(WRAPPED.to_owned(), |text, (from, to)| text.replace(from, to)));
    place.append("app.json", "");
    let out = place.command(&["check", "rules.toml"]);
    let said = String::from_utf8(out.stdout).unwrap();
    for wanted in [
        "test 1 failed: expected user.id=`7`, shop=`b`, but the line is a hit with user.id=`7`, shop=`a`",
        "test 2 failed: expected a hit, but `where` refuses it: stream=`stdout`",
        "test 4 failed: expected a hit, but `where` refuses it: level=`info`",
    ] {
        assert!(said.contains(wanted), "{said}");
    }
}

#[test]
fn a_line_of_the_agents_own_passes_no_test() {
    let place = Place::new();
    let own = "Nov 22 05:26:00 web1 logherald[77]: Failed password for root from 192.0.2.1 port 22";
    place.rules(&RULES.replace("\"all is well\", gives = \"nothing\"", &format!("'{own}', gives = {{}}")));
    let out = place.command(&["check", "rules.toml"]);
    let said = String::from_utf8(out.stdout).unwrap();
    assert!(said.contains("test 3 failed: expected a hit, but the line is one of the agent's own"), "{said}");
}

#[test]
fn explain_names_the_condition_that_does_not_hold() {
    let place = Place::new();
    place.rules(&WRAPPED.replace(", stream = \"stderr\" }", " }"));
    let info = r#"{"level":"info","msg":"checkout"}"#;
    let error = r#"{"level":"error","msg":"checkout"}"#;
    let hit = r#"{"level":"error","http.status":500,"user":{"id":7},"msg":"checkout"}"#;
    let said = place.says(&["explain", "--rules", "rules.toml", info, error, hit]);
    assert_eq!(
        said,
        format!(
            "{info}\n  refused   checkout: by `where`: `level` is `info`, wanted `error` or `fatal`\n\n\
             {error}\n  refused   checkout: by `where`: there is no `http.status`, wanted `500`\n\n\
             {hit}\n  HIT       checkout\n            found by `checkout`\n            user.id = 7\n            shop = (none)\n            \
             key: user.id=7\n            event time: none in the line, so when it is read\n            \
             opens an incident, unless one is open: warning to `console`\n            \
             a first hit is shown at once, to `console`\n            \
             limits: 30 openings and reminders an hour, 5 at once, then one fold; 60 messages an hour to \
             `console`, then a digest\n            now: no agent is running that could be asked\n\n"
        )
    );
    let said = place.says(&["explain", "--rules", "rules.toml", "--json", info, error]);
    let docs: Vec<Value> = said.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let refused = |found: Value, field: &str, wanted: &[&str]| json!([{ "rule": "checkout", "field": field, "found": found, "wanted": wanted }]);
    assert_eq!(docs[0]["where"], refused("info".into(), "level", &["error", "fatal"]));
    assert_eq!(docs[1]["where"], refused(Value::Null, "http.status", &["500"]));
    assert_eq!((&docs[1]["hits"], &docs[1]["excluded"]), (&json!([]), &json!([])));

    place.rules(WRAPPED);
    let of = |stream: &str| place.says(&["explain", "--rules", "rules.toml", "--field", stream, hit]);
    assert!(of("stream=stderr").contains("  HIT       checkout\n"));
    assert!(of("stream=stdout").contains("by `where`: `stream` is `stdout`, wanted `stderr`\n"));
}

#[test]
fn a_resolve_is_tested_and_explained() {
    let place = Place::new();
    let rules = r#"
[[rule]]
name = "link"
files = ["DIR/syslog"]
match = 'link (?<link>\w+) is down'
resolve = 'link (?<link>\w+) is up'
by = ["link"]
tests = [
  { line = "link eth0 is up", gives = "resolved", key = { link = "eth0" } },
  { line = "link eth0 is up", gives = "nothing" },
  { line = "link eth0 is up", gives = "resolved", key = { link = "eth1" } },
  { line = "link eth0 is down", gives = "resolved" },
]
"#;
    place.rules(rules);
    place.append("syslog", "");
    let out = place.command(&["check", "rules.toml"]);
    let said = String::from_utf8(out.stdout).unwrap();
    for fault in [
        "test 3 failed: expected `resolved` with link=`eth1`, but the line ends the one with link=`eth0`",
        "test 4 failed: expected `resolved`, but `resolve` does not accept the line",
    ] {
        assert!(said.contains(fault), "{said}");
    }
    assert!(said.ends_with("rules.toml: 1 rule, 4 tests, 1 space; 2 errors\n"), "{said}");
    let said = place.says(&["explain", "--rules", "rules.toml", "link eth0 is up"]);
    assert_eq!(said, "link eth0 is up\n  RESOLVES  link: it ends the incident of link=eth0\n\n");
    let said = place.says(&["explain", "--rules", "rules.toml", "--json", "link eth0 is up"]);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["resolves"], json!([{ "rule": "link", "key": { "link": "eth0" } }]));
}
