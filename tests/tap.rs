//! Looking on at the hits of a running agent.

use serde_json::Value;

use crate::harness::program::{Agent, Place, term};

const RULES: &str = r"
[[rule]]
name = 'refused'
files = ['DIR/app.log']
match = 'refused (?<ip>\S+)'
by = ['ip']
threshold = 2
within = '1h'
space = 'screen'

[[rule]]
name = 'broken'
files = ['DIR/app.log']
match = 'broken'
space = 'screen'

[space.screen]
console = true
";

fn place() -> Place {
    let place = Place::new();
    place.rules(RULES);
    place.append("app.log", "");
    place
}

/// Somebody who looks on, and has begun to.
fn look<'a>(place: &'a Place, args: &[&str]) -> Agent<'a> {
    let mut tap = place.follow(&[&["tap", "--state", "state"], args].concat());
    tap.wait_for_log("; Ctrl-C ends it");
    tap
}

fn next(tap: &mut Agent) -> Value {
    serde_json::from_str(&tap.wait_for_output("{")).unwrap()
}

#[test]
fn every_hit_is_told_as_it_comes_with_what_became_of_it() {
    let place = place();
    let _agent = place.start();
    let mut tap = look(&place, &["--json"]);
    for (line, key, said, what) in [
        ("refused 192.0.2.1", "ip=192.0.2.1", false, "below the threshold: 1 of 2 within 1h"),
        ("refused 192.0.2.1", "ip=192.0.2.1", true, "opens an incident, to screen"),
        ("refused 192.0.2.1", "ip=192.0.2.1", false, "a repeat: the incident is open, 1 since its last word"),
        ("broken", "", true, "opens an incident, to screen"),
    ] {
        place.append("app.log", &format!("{line}\n"));
        let hit = next(&mut tap);
        assert_eq!(
            (hit["key"].as_str(), hit["said"].as_bool(), hit["what"].as_str(), hit["line"].as_str()),
            (Some(key), Some(said), Some(what), Some(line)),
            "{hit}"
        );
        assert!(hit["file"].as_str().is_some_and(|f| f.ends_with("/app.log")), "{hit}");
    }
    place.says(&["silence", "refused", "--for", "2h", "--why", "test", "--state", "state"]);
    place.append("app.log", "refused 192.0.2.1\n");
    assert_eq!(next(&mut tap)["what"], "a repeat held: the silence s1");
    assert_eq!(tap.interrupt(), None, "Ctrl-C ends it, as it does any command");
}

#[test]
fn one_rule_can_be_looked_at_and_secrets_are_not_shown() {
    let place = place();
    let agent = place.start();
    let mut tap = look(&place, &["--rule", "broken"]);
    place.append("app.log", "refused 192.0.2.1\nbroken password=hunter2\n");
    let head = tap.wait_for_output("Z  ");
    assert!(head.ends_with("Z  said  broken · opens an incident, to screen"), "{head}");
    assert_eq!(tap.wait_for_output("broken"), "        broken password=[redacted]");
    assert_eq!(
        place.fails(&["tap", "--rule", "brokn", "--state", "state"]),
        (65, "error: no rule is called `brokn`\nhint: did you mean `broken`?\n".to_owned())
    );
    agent.stop();
    let (code, _) = tap.ends();
    assert_eq!(code, 69, "an agent that ends is told of");
}

#[test]
fn without_an_agent_there_is_nothing_to_look_at() {
    let (code, said) = place().fails(&["tap", "--state", "state"]);
    assert_eq!(code, 69);
    assert!(said.starts_with("error: no agent answers on `state/control.sock`: "), "{said}");
}

#[test]
fn who_reads_slowly_loses_hits_is_told_how_many_and_holds_nothing_up() {
    const HITS: u64 = 20_000;
    let place = place();
    let agent = place.start();
    let mut tap = place.follow_unread(&["tap", "--json", "--state", "state"]);
    tap.wait_for_log("; Ctrl-C ends it");
    // more than pipes, sockets and the channel hold
    let line = |n: u64| format!("refused 10.0.{}.{} {}", n >> 8, n & 255, "x".repeat(200));
    let lines: Vec<String> = (0..HITS).map(line).collect();
    place.append("app.log", &(lines.join("\n") + "\n"));
    agent.wait_for_status("every hit to be judged", |s| term(s, "refused", "hits") == HITS);
    let mut tap = tap.read();
    let (mut told, mut missed) = (0, 0);
    while told + missed < HITS {
        let news = next(&mut tap);
        match news["missed"].as_u64() {
            Some(n) => missed += n,
            None => told += 1,
        }
    }
    assert_eq!(told + missed, HITS, "each is shown or counted");
    assert!(missed > 0 && told > 0, "{told} told, {missed} missed");
}
