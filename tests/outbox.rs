//! `logherald outbox`: what waits and what is dead, tried again under its old id, or given up.

use serde_json::Value;

use crate::harness::fake_chat::FakeChat;
use crate::harness::program::{Agent, DEADLINE, Place, term};

const BAD: &str = r#"{"error":{"code":400,"message":"Invalid value","status":"INVALID_ARGUMENT"}}"#;

const RULES: &str = "admin = 'boss'\n[space.ops]\nwebhook = { env = 'HOOK' }\nwait = '0s'\nmax_per_hour = 3600\n\
                     [space.boss]\nwebhook = { env = 'BOSS' }\n[[rule]]\nname = 'trouble'\nspace = 'ops'\n\
                     files = ['DIR/app.log']\nmatch = 'trouble (?<part>\\w+)'\nby = ['part']\n";

fn place(chat: &FakeChat) -> Place {
    let place = Place::new().env("HOOK", &chat.webhook_url("OPS")).env("BOSS", &chat.webhook_url("BOSS"));
    place.rules(RULES);
    place.append("app.log", "this line was there before\n");
    place
}

fn outbox(place: &Place, args: &[&str]) -> String {
    place.says(&[&["outbox"], args, &["--state", "state"]].concat())
}

fn letters(place: &Place) -> Vec<Value> {
    serde_json::from_str(&outbox(place, &["--json"])).unwrap()
}

/// One hit whose message is refused as a card and as a plain form.
fn refused(chat: &FakeChat, place: &Place, agent: &Agent<'_>, part: &str) {
    let dead = |status: &Value| status["spaces"]["ops"]["dead_letters"].as_u64().unwrap();
    let before = dead(&agent.status());
    chat.answer_next(400, &[], BAD);
    chat.answer_next(400, &[], BAD);
    place.append("app.log", &format!("trouble {part}\n"));
    // what is said of it, too: the next answers are not for that
    let said = |s: &Value| s["spaces"]["boss"]["outbox"].as_u64().unwrap_or(0) == 0;
    agent.wait_for_status("the dead letter", |s| dead(s) == before + 1 && said(s));
}

#[test]
fn a_dead_letter_is_listed_shown_retried_under_its_id_or_dropped() {
    let chat = FakeChat::start();
    let place = place(&chat);
    let agent = place.start();
    assert_eq!(outbox(&place, &["list"]), "nothing waits, and there is no dead letter\n");
    refused(&chat, &place, &agent, "one");
    refused(&chat, &place, &agent, "two");
    chat.wait_until(DEADLINE, "notice", |m| m.iter().any(|m| m.space == "BOSS"));
    agent.wait_for_status("the notices to be told", |s| s["spaces"]["boss"]["outbox"] == 0);

    let all = letters(&place);
    let [one, two] = &all[..] else { panic!("not two letters: {all:?}") };
    for letter in [one, two] {
        assert_eq!(
            (&letter["state"], &letter["space"], &letter["plain"]),
            (&"dead".into(), &"ops".into(), &true.into())
        );
        assert_eq!(letter["error"], "400 INVALID_ARGUMENT: Invalid value");
    }
    let (id, other) = (one["id"].as_str().unwrap(), two["id"].as_str().unwrap());
    let listed = outbox(&place, &[]);
    assert!(listed.contains(&format!("{}  dead    warning ", &id[..12])), "{listed}");
    assert!(listed.ends_with("\n0 waiting, 2 dead\n"), "{listed}");
    let shown = outbox(&place, &["show", &id[..12]]);
    assert!(shown.contains("trouble one") && shown.contains(&format!("\nid {id}, ")), "{shown}");
    let shown: Value = serde_json::from_str(&outbox(&place, &["show", id, "--json"])).unwrap();
    let sent = chat.attempts().into_iter().filter(|a| a.line.contains(&format!("requestId={id}"))).count();
    assert_eq!(sent, 1);
    assert!(shown["body"].as_str().unwrap().starts_with('{'), "{shown}");

    // the same body under the same id
    let said = outbox(&place, &["retry", id]);
    assert!(said.contains("  waiting ") && said.ends_with("\n1 message waits again\n"), "{said}");
    let told = chat.wait_until(DEADLINE, "retried message", |m| m.iter().any(|m| m.space == "OPS"));
    let retried = told.iter().find(|m| m.space == "OPS").unwrap();
    assert_eq!((retried.request_id.as_str(), &Value::from(retried.raw.as_str())), (id, &shown["body"]));
    let status = agent.wait_for_status("it to be settled", |s| term(s, "trouble", "pending") == 1);
    assert_eq!(term(&status, "trouble", "shown"), 1, "{status:#}");

    let said = outbox(&place, &["drop", "--all", "--space", "ops"]);
    assert!(said.ends_with("\n1 message is given up\n") && said.contains(&other[..12]), "{said}");
    let status = agent.status();
    assert_eq!((term(&status, "trouble", "lost"), term(&status, "trouble", "pending")), (1, 0), "{status:#}");
    assert!(letters(&place).is_empty());
    assert_eq!(chat.violations(), Vec::<String>::new());
    assert_eq!(agent.stop(), 0);
}

#[test]
fn what_waits_is_listed_with_its_trouble_and_may_be_dropped_out_of_the_workers_hand() {
    let chat = FakeChat::start();
    let place = place(&chat);
    let mut agent = place.start();
    chat.answer_next(503, &[("Retry-After", "500")], "");
    place.append("app.log", "trouble one\n");
    agent.wait_for_log("not delivered yet (failed tries: 1): 503");
    agent.wait_for_status("the try to be written down", |_| {
        letters(&place).iter().any(|letter| letter["error"] == "503")
    });
    let listed = outbox(&place, &[]);
    assert!(listed.contains("\n    1 failed try: 503; again "), "{listed}");
    let id = letters(&place)[0]["id"].as_str().unwrap().to_owned();
    let (code, said) = place.fails(&["outbox", "retry", &id, "--state", "state"]);
    assert_eq!(
        (code, said),
        (
            65,
            format!(
                "error: `{id}` is no dead letter: it waits, and is tried again by itself\n\
                 hint: where its space is paused and has been mended, `logherald reload` tries it at once\n"
            )
        )
    );
    outbox(&place, &["drop", &id]);
    assert!(letters(&place).is_empty());
    // nobody waits for the 500 s of what is not there any more… but the space's pace is its own
    place.append("app.log", "trouble two\n");
    let told = chat.wait_until(DEADLINE, "the next message", |m| m.iter().any(|m| m.space == "OPS"));
    assert!(told.iter().all(|m| m.request_id != id));
    let status = agent.wait_for_status("it to be settled", |s| term(s, "trouble", "pending") == 0);
    assert_eq!((term(&status, "trouble", "lost"), term(&status, "trouble", "shown")), (1, 1), "{status:#}");
    assert_eq!(agent.stop(), 0);
}

#[test]
fn an_order_that_cannot_be_followed_says_why() {
    let chat = FakeChat::start();
    let place = place(&chat);
    let agent = place.start();
    let fails = |args: &[&str]| place.fails(&[&["outbox"], args, &["--state", "state"]].concat());
    assert_eq!(
        fails(&["show", "cafe"]),
        (
            65,
            "error: no message has an id that begins with `cafe`\n\
             hint: `logherald outbox` lists what waits and what is dead; what was delivered is in neither\n"
                .to_owned()
        )
    );
    assert_eq!(
        fails(&["drop", "ab"]),
        (65, "error: `ab` is too short for an id\nhint: give at least 4 of its digits\n".to_owned())
    );
    assert_eq!(
        fails(&["retry", "--all", "--space", "ops"]),
        (
            65,
            "error: there is no dead letter of the space `ops`\n\
             hint: `logherald outbox` lists what waits and what is dead\n"
                .to_owned()
        )
    );
    assert_eq!(agent.stop(), 0);
    let (code, said) = fails(&[]);
    assert_eq!(code, 69, "{said}");
    assert!(said.starts_with("error: no agent answers on "), "{said}");
}

#[test]
fn a_space_in_trouble_is_stood_in_for_and_gets_its_own_when_it_is_mended() {
    let chat = FakeChat::start();
    let place = place(&chat);
    place.rules(&RULES.replace("wait = '0s'\n", "wait = '0s'\nfallback = 'boss'\n"));
    let agent = place.start();
    chat.remove_space("OPS");
    place.append("app.log", "trouble one\n");
    let of = |m: &[crate::harness::fake_chat::Received], text: &str| {
        m.iter().any(|m| m.space == "BOSS" && m.shown().contains(text))
    };
    let told =
        chat.wait_until(DEADLINE, "the copy", |m| of(m, "for the space `ops`, which cannot be reached"));
    assert!(of(&told, "trouble one") && of(&told, "is paused and its messages wait: 404"), "{told:#?}");
    agent.wait_for_status("the hit to be settled by the copy", |s| term(s, "trouble", "shown") == 1);
    chat.add_space("OPS");
    place.says(&["reload", "--state", "state"]);
    let told = chat.wait_until(DEADLINE, "its own", |m| m.iter().any(|m| m.space == "OPS"));
    assert!(told.iter().any(|m| m.space == "OPS" && m.shown().contains("trouble one")));
    let status = agent.status();
    assert_eq!((term(&status, "trouble", "hits"), term(&status, "trouble", "shown")), (1, 1), "{status:#}");
    assert_eq!(chat.violations(), Vec::<String>::new());
    assert_eq!(agent.stop(), 0);
}
