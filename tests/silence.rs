//! Silences and mutes, from the terminal to the message and over a restart.

use serde_json::Value;

use crate::harness::program::{Place, term};

const RULES: &str = "[[rule]]\nname = 'refused'\nfiles = ['DIR/app.log']\nmatch = 'refused (?<ip>\\S+)'\nby = ['ip']\n\
                     message = '{hits} from {ip}'\n";

fn place() -> Place {
    let place = Place::new().env("SUDO_USER", "ana");
    place.rules(RULES);
    place.append("app.log", "");
    place
}

fn json(place: &Place, args: &[&str]) -> Value {
    serde_json::from_str(&place.says(args)).unwrap()
}

#[test]
fn a_silence_holds_over_a_restart_and_tells_what_it_held_when_it_is_ended() {
    let place = place();
    let agent = place.start();
    let said = place.says(&[
        "silence",
        "refused",
        "ip=192.0.2.1",
        "--for",
        "2h",
        "--why",
        "pentest",
        "--state",
        "state",
    ]);
    assert!(said.starts_with("s1: `refused` ip=192.0.2.1 is silent until 20"), "{said}");
    assert!(said.ends_with("\nto end it before: logherald unsilence s1\n"), "{said}");
    place.append("app.log", "refused 192.0.2.1\nrefused 192.0.2.1\n");
    agent.wait_for_status("two muted hits", |s| term(s, "refused", "muted") == 2);
    agent.kill();

    let mut agent = place.start();
    place.append("app.log", "refused 192.0.2.1\nrefused 192.0.2.2\n");
    agent.wait_for_output("1 from 192.0.2.2");
    agent.wait_for_output("held back: 3 hits muted by s1");
    agent.wait_for_output("silence: logherald silence refused ip=192.0.2.2 --for 2h --why 'seen in console'");
    let status = agent.status();
    assert_eq!(status["rules"]["refused"]["muted_by"], serde_json::json!({ "s1": 3 }));
    let listed = json(&place, &["silences", "--json", "--state", "state"]);
    assert_eq!(
        (&listed[0]["author"], &listed[0]["why"], &listed[0]["holds"], &listed[0]["key"]["ip"]),
        (&"ana".into(), &"pentest".into(), &3.into(), &"192.0.2.1".into())
    );
    let shown = place.says(&["status", "--state", "state"]);
    assert!(shown.contains("\nsilences and mutes in force\ns1    until 20"), "{shown}");
    assert!(shown.contains("\n      by ana: pentest; holds 3 hits in 1 incident\n"), "{shown}");

    let said = place.says(&["unsilence", "s1", "--state", "state"]);
    assert_eq!(said, "s1 has ended: it held 3 hits in 1 incident, told now\n");
    agent.wait_for_output("held 3 hits in 1 incident");
    let status = agent.wait_for_status("the hits to be told", |s| term(s, "refused", "told") == 3);
    assert_eq!(term(&status, "refused", "muted"), 0);
    assert_eq!(place.says(&["silences", "--state", "state"]), "no silence is in force\n");
}

#[test]
fn an_order_that_cannot_be_followed_is_answered_with_its_remedy() {
    let place = place();
    let _agent = place.start();
    let refused = |args: &[&str]| {
        let args: Vec<&str> = args.iter().chain(&["--state", "state"]).copied().collect();
        place.fails(&args)
    };
    assert_eq!(
        refused(&["silence", "refusd", "--for", "2h", "--why", "x"]),
        (65, "error: no loaded rule is called `refusd`\nhint: did you mean `refused`?\n".to_owned())
    );
    assert_eq!(
        refused(&["silence", "refused", "user=bob", "--for", "2h", "--why", "x"]),
        (
            65,
            "error: no key of `refused` has the parts `user`\nhint: its incidents are told apart by: ip\n"
                .to_owned()
        )
    );
    let (code, said) = refused(&["silence", "refused", "--for", "31d", "--why", "x"]);
    assert!(code == 65 && said.starts_with("error: a silence lasts up to 30d\nhint: "), "{code}: {said}");
    assert_eq!(
        refused(&["unsilence", "s9"]),
        (
            65,
            "error: no silence of this name is in force\nhint: `logherald silences` lists them\n".to_owned()
        )
    );
    for usage in [
        &["silence", "refused", "--why", "x"][..],
        &["silence", "refused", "--for", "2h"],
        &["silence", "refused", "--for", "2", "--why", "x"],
        &["silence", "refused", "ip", "--for", "2h", "--why", "x"],
    ] {
        assert_eq!(refused(usage).0, 64, "{usage:?}");
    }
}

#[test]
fn without_an_agent_nothing_can_be_silenced() {
    let place = place();
    for args in
        [&["silences"][..], &["silence", "refused", "--for", "2h", "--why", "x"], &["unsilence", "s1"]]
    {
        let args: Vec<&str> = args.iter().chain(&["--state", "state"]).copied().collect();
        let (code, said) = place.fails(&args);
        assert_eq!(code, 69);
        assert!(said.starts_with("error: no agent answers on `state/control.sock`: "), "{said}");
        assert!(said.contains("\nhint: start it (`systemctl start logherald`)"), "{said}");
    }
}

#[test]
fn a_mute_in_an_included_file_holds_and_a_reload_without_it_tells() {
    let place = place();
    place.rules(&format!("include = ['mutes.toml']\n{RULES}"));
    // but for one minute of the day; the test takes less than the other 1,439
    let now = logherald::time::Clock::continuing(None).now().wall.to_string();
    let minute = &now[11..16];
    let (before, after) = if minute == "00:00" { ("12:01", "12:00") } else { ("00:01", "00:00") };
    let mute = format!(
        "[[mute]]\nname = 'nearly-always'\nwhen = {{ from = '{before}', to = '{after}', tz = 'UTC' }}\nrules = ['ref*']\n"
    );
    std::fs::write(place.path("mutes.toml"), mute).unwrap();
    let mut agent = place.start();
    place.append("app.log", "refused 192.0.2.1\n");
    let status = agent.wait_for_status("a muted hit", |s| term(s, "refused", "muted") == 1);
    assert_eq!(status["mutes"][0]["name"], "nearly-always");
    std::fs::write(place.path("mutes.toml"), "").unwrap();
    place.says(&["reload", "--state", "state"]);
    agent.wait_for_output("the mute nearly-always is over: held 1 hit in 1 incident");
    agent.wait_for_status("the hit to be told", |s| term(s, "refused", "told") == 1);
}

#[test]
fn why_tells_what_was_said_and_what_was_held() {
    let place = place();
    let mut agent = place.start();
    let why = |args: &[&str]| place.says(&[&["why", "refused", "--state", "state"], args].concat());
    assert!(why(&[]).starts_with("`refused` has decided nothing since the agent was started\n"));
    place.append("app.log", "refused 192.0.2.1\n");
    agent.wait_for_output("1 from 192.0.2.1");
    place.says(&["silence", "refused", "--for", "2h", "--why", "pentest", "--state", "state"]);
    place.append("app.log", "refused 192.0.2.2\n");
    agent.wait_for_status("a muted hit", |s| term(s, "refused", "muted") == 1);
    let said = why(&[]);
    let lines: Vec<&str> = said.lines().map(|l| l.split_once("Z  ").map_or(l, |(_, rest)| rest)).collect();
    assert_eq!(
        lines,
        [
            "said  opened, to console · ip=192.0.2.1 · 1 hit",
            "held  what goes on is held: the silence s1 · ip=192.0.2.1",
            "held  opening held: the silence s1 · ip=192.0.2.2 · 1 hit",
        ]
    );
    let all: Value = serde_json::from_str(&why(&["--json"])).unwrap();
    assert_eq!(
        (&all[2]["key"], &all[2]["said"], &all[2]["hits"]),
        (&"ip=192.0.2.2".into(), &false.into(), &1.into())
    );
    let (code, fault) = place.fails(&["why", "refuse", "--state", "state"]);
    assert_eq!(
        (code, fault.as_str()),
        (65, "error: no rule is called `refuse`\nhint: did you mean `refused`?\n")
    );
}
