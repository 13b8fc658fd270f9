//! Does any byte that the agent ever wrote hold a secret?

use std::fs;
use std::path::Path;

use crate::harness::fake_chat::{FakeChat, Fault};
use crate::harness::program::{DEADLINE, Place, term};

const RULES: &str = "admin = 'boss'\n[space.ops]\nwebhook = { file = 'DIR/hook' }\nwait = '0s'\nmax_per_hour = 3600\n\
    [space.oncall]\nname = 'spaces/ONCALL'\nservice_account = { file = 'DIR/key.json' }\nwait = '0s'\nmax_per_hour = 3600\n\
    [space.boss]\nwebhook = { file = 'DIR/boss' }\nmax_per_hour = 3600\n\
    [[rule]]\nname = 'hook'\nfiles = ['DIR/app.log']\nmatch = 'trouble (?<part>\\w+)'\nby = ['part']\nspace = 'ops'\nmax_per_hour = 3600\n\
    [[rule]]\nname = 'app'\nfiles = ['DIR/app.log']\nmatch = 'trouble (?<part>\\w+)'\nby = ['part']\nspace = 'oncall'\nmax_per_hour = 3600\n";

/// Every byte of every file below a folder.
fn all_below(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            found.extend(all_below(&path));
        } else if entry.file_type().unwrap().is_file() {
            found.push((path.display().to_string(), fs::read(&path).unwrap()));
        }
    }
    found
}

fn holds(bytes: &[u8], secret: &str) -> bool {
    memchr::memmem::find(bytes, secret.as_bytes()).is_some()
}

#[test]
fn no_byte_that_is_written_through_all_faults_holds_a_secret() {
    let chat = FakeChat::start();
    chat.add_space("ONCALL");
    // all that its own code and every library has to say
    let place = Place::new().env("LOGHERALD_LOG", "trace");
    let give_out = || {
        fs::write(place.path("hook"), chat.webhook_url("OPS")).unwrap();
        fs::write(place.path("boss"), chat.webhook_url("BOSS")).unwrap();
        chat.key_file(&place.path(""));
    };
    give_out();
    place.rules(&format!("{RULES}\n[chat]\napi_url = '{}'\n", chat.base_url()));
    place.append("app.log", "this line was there before\n");
    chat.echo();
    let mut agent = place.start();
    let mut parts = 0;
    let mut trouble = |faults: &[Fault]| {
        // one of them for each space, at least
        for fault in faults {
            chat.next(fault.clone());
        }
        parts += 1;
        place.append("app.log", &format!("trouble p{parts}\n"));
        parts
    };
    let told = |agent: &crate::harness::program::Agent<'_>, hits: u64| {
        agent.wait_for_status("every hit to be told", |s| {
            ["hook", "app"].iter().all(|rule| term(s, rule, "hits") == hits && term(s, rule, "pending") == 0)
        });
    };
    let echoed = |status: u16| {
        let text = format!("you sent {}", chat.secrets().join(" "));
        let body = serde_json::json!({ "error": { "code": status, "message": text, "status": "X" } });
        Fault::Answer { status, headers: vec![], body: body.to_string() }
    };
    for fault in [
        Fault::ResetBefore,
        Fault::ResetAfter,
        Fault::Truncate,
        Fault::html(),
        Fault::WrongSpace,
        Fault::Endless,
        echoed(503),
        echoed(429),
    ] {
        let hits = trouble(&[fault.clone(), fault]);
        told(&agent, hits);
    }
    chat.refuse_self_signed();
    let refused = r#"{"error":"server_error","error_description":"not now"}"#;
    for _ in 0..2 {
        chat.revoke_tokens();
        // the endpoint that gives new ones repeats the assertion
        chat.answer_next_token(503, refused);
        let hits = trouble(&[]);
        told(&agent, hits);
    }
    // dead letters: each message is refused as a card and as a plain form, and so is what is said of that
    trouble(&vec![echoed(400); 40]);
    agent.wait_for_status("dead letters", |s| {
        ["ops", "oncall"].iter().all(|space| s["spaces"][space]["dead_letters"].as_u64() >= Some(1))
    });
    chat.mend();
    // spaces that have names, made of what they were asked with
    let named: Vec<(String, Vec<u8>)> =
        [&["doctor", "rules.toml", "--state", "state"][..], &["check", "rules.toml", "--online"]]
            .map(|args| {
                let out = place.command(args);
                (args.join(" "), [out.stdout, out.stderr].concat())
            })
            .into();
    assert!(named.iter().all(|(_, bytes)| holds(bytes, "you sent Bearer …")), "{named:?}");
    let mut seen: Vec<(String, Vec<u8>)> = Vec::new();
    // and what pauses a space, until the secrets are exchanged
    chat.exchange_secrets();
    trouble(&[]);
    let paused = |s: &serde_json::Value, space: &str| {
        s["spaces"][space]["trouble"].as_str().is_some_and(|t| t.starts_with("paused"))
    };
    agent.wait_for_status("both spaces to be paused", |s| paused(s, "ops") && paused(s, "oncall"));
    place.says(&["silence", "app", "part=p0", "--for", "1h", "--why", "a test", "--state", "state"]);
    for args in [
        &["status", "--json"][..],
        &["status"],
        &["outbox", "--json"],
        &["outbox"],
        &["silences", "--json"],
        &["why", "hook", "--json"],
        &["why", "app", "--json"],
    ] {
        let out = place.says(&[args, &["--state", "state"]].concat());
        seen.push((args.join(" "), out.into_bytes()));
    }
    let letters: serde_json::Value = serde_json::from_slice(&seen[2].1).unwrap();
    for letter in letters.as_array().unwrap() {
        let id = letter["id"].as_str().unwrap();
        let out = place.says(&["outbox", "show", id, "--json", "--state", "state"]);
        seen.push((format!("outbox show {id}"), out.into_bytes()));
    }
    // these end as they find it: spaces that refuse them
    for args in [
        &["doctor", "rules.toml", "--state", "state", "--json"][..],
        &["doctor", "rules.toml", "--state", "state"],
        &["check", "rules.toml", "--json"],
        &["check", "rules.toml", "--online"],
        &["explain", "--rules", "rules.toml", "--json", "trouble p1"],
        &["send", "ops", "--rules", "rules.toml"],
        &["send", "oncall", "--rules", "rules.toml", "--hostile"],
    ] {
        let out = place.command(args);
        assert!(!out.stdout.is_empty() || !out.stderr.is_empty(), "{args:?}: {out:?}");
        seen.push((args.join(" "), [out.stdout, out.stderr].concat()));
    }
    for args in [&["outbox", "drop"][..], &["outbox", "retry"]] {
        let letters: serde_json::Value =
            serde_json::from_str(&place.says(&["outbox", "--json", "--state", "state"])).unwrap();
        let dead =
            letters.as_array().unwrap().iter().find(|l| l["state"] == "dead" && l["space"] == "oncall");
        if let Some(id) = dead.and_then(|l| l["id"].as_str()) {
            let out = place.says(&[args, &[id, "--json", "--state", "state"]].concat());
            seen.push((args.join(" "), out.into_bytes()));
        }
    }
    let limits = fs::read_to_string(format!("/proc/{}/limits", agent.pid())).unwrap();
    let core = limits.lines().find(|l| l.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
    give_out();
    place.says(&["reload", "--state", "state"]);
    agent.wait_for_status("what waited to be told", |s| {
        ["ops", "oncall"].iter().all(|space| s["spaces"][space]["outbox"] == 0)
    });
    chat.wait_until(DEADLINE, "the notices", |m| m.iter().any(|m| m.space == "BOSS"));
    seen.extend(named);
    seen.push(("the log".into(), agent.log().into_bytes()));
    agent.kill();
    seen.extend(all_below(&place.path("state")));
    seen.extend(
        chat.all_messages().into_iter().map(|m| (format!("a message for {}", m.space), m.raw.into_bytes())),
    );
    assert!(
        seen.iter().any(|(what, bytes)| what.ends_with("state.db") && !bytes.is_empty()),
        "nothing was looked at"
    );
    assert!(seen.iter().any(|(_, bytes)| holds(bytes, "you sent")), "no refusal said what it was sent");
    for (what, bytes) in &seen {
        for secret in chat.secrets() {
            if let Some(at) = memchr::memmem::find(bytes, secret.as_bytes()) {
                let around = &bytes[at.saturating_sub(200)..bytes.len().min(at + 80)];
                panic!("{what} holds `{secret}`: {}", String::from_utf8_lossy(around));
            }
        }
    }
    // `doctor` asks webhooks what is no message
    let mut wrong = chat.violations();
    wrong.retain(|why| !why.contains("notAMessage"));
    assert_eq!(wrong, Vec::<String>::new());
}
