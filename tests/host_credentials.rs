//! Application Default Credentials: a host without a key gets its tokens from where it runs. By each of the ways: does the
//! message arrive, what becomes of it while there is no token, and what is said where there can be none?

use std::path::PathBuf;

use crate::harness::fake_chat::{Came, FakeChat};
use crate::harness::program::{DEADLINE, Place, term};

const RULES: &str = "[space.ops]\nname = 'spaces/OPS'\nwait = '0s'\nmax_per_hour = 3600\n[[rule]]\nname = 'trouble'\n\
                     files = ['DIR/app.log']\nmatch = 'trouble (?<n>\\d+)'\nby = ['n']\n";

/// A host that has these credentials and no key.
fn host(chat: &FakeChat, set: impl FnOnce(&Place) -> (&'static str, String)) -> Place {
    chat.add_space("OPS");
    let place = Place::new();
    let (name, value) = set(&place);
    // nothing of the machine that the tests run on: neither a login nor a metadata server
    let home = place.path("").display().to_string();
    let nowhere = if name == "GCE_METADATA_HOST" { value.clone() } else { "127.0.0.1:1".into() };
    let place = place.env("HOME", &home).env("GCE_METADATA_HOST", &nowhere).env(name, &value);
    place.rules(&format!("{RULES}[chat]\napi_url = '{}'\n", chat.base_url()));
    place.append("app.log", "this line was there before\n");
    place
}

fn virtual_machine(chat: &FakeChat) -> Place {
    let address = chat.base_url().trim_start_matches("http://").to_owned();
    host(chat, |_| ("GCE_METADATA_HOST", address))
}

fn by_file(chat: &FakeChat, make: impl FnOnce(&Place) -> PathBuf) -> Place {
    host(chat, |place| ("GOOGLE_APPLICATION_CREDENTIALS", make(place).display().to_string()))
}

/// A hit is told through a token endpoint that has trouble at first.
fn is_told(chat: &FakeChat, place: &Place) {
    // of the look at the space when the agent starts, and of the first try
    for _ in 0..2 {
        chat.answer_next_token(503, "");
    }
    let agent = place.start();
    place.append("app.log", "trouble 1\n");
    let message = chat.wait_for(1, DEADLINE)[0].clone();
    assert_eq!((message.came, message.hits()), (Came::Exchanged, 1));
    place.append("app.log", "trouble 2\n");
    agent.wait_for_status("both hits to be told", |s| term(s, "trouble", "shown") == 2);
    assert_eq!(chat.violations(), Vec::<String>::new());
    assert_eq!(agent.stop(), 0);
}

#[test]
fn a_virtual_machine_asks_its_metadata_server() {
    let chat = FakeChat::start();
    is_told(&chat, &virtual_machine(&chat));
}

#[test]
fn a_workload_exchanges_the_identity_that_it_has_elsewhere() {
    let chat = FakeChat::start();
    is_told(&chat, &by_file(&chat, |place| chat.workload_file(&place.path(""), false)));
}

#[test]
fn a_workload_becomes_the_service_account() {
    let chat = FakeChat::start();
    is_told(&chat, &by_file(&chat, |place| chat.workload_file(&place.path(""), true)));
}

#[test]
fn a_person_who_may_becomes_the_service_account() {
    let chat = FakeChat::start();
    is_told(&chat, &by_file(&chat, |place| chat.impersonating_file(&place.path(""))));
}

#[test]
fn a_host_without_credentials_is_told_what_to_give_it_and_keeps_its_messages() {
    let chat = FakeChat::start();
    let place = by_file(&chat, |place| place.path("nowhere.json"));
    let mut agent = place.start();
    let said = agent.has_logged("space `ops` cannot be spoken to: no Application Default Credentials");
    assert!(said.contains("hint: name a key with `service_account`, or give the host"), "{said}");
    place.append("app.log", "trouble 1\n");
    // beside what is told of the trouble itself
    agent.wait_for_status("the message to wait", |s| {
        s["spaces"]["ops"]["outbox"].as_u64() >= Some(1) && term(s, "trouble", "pending") == 1
    });
    assert!(chat.all_messages().is_empty());
    assert_eq!(agent.stop(), 0);

    chat.workload_file(&place.path(""), false);
    std::fs::rename(place.path("workload.json"), place.path("nowhere.json")).unwrap();
    let agent = place.start();
    chat.wait_for(1, DEADLINE);
    agent.wait_for_status("the hit to be told", |s| term(s, "trouble", "shown") == 1);
    assert_eq!(agent.stop(), 0);
}

/// What the libraries that make these tokens say of a refusal may hold all of it.
#[test]
fn no_secret_of_the_host_is_in_what_is_said_although_whoever_refuses_it_repeats_it() {
    let ways: [fn(&FakeChat) -> Place; 4] = [
        virtual_machine,
        |chat| by_file(chat, |place| chat.workload_file(&place.path(""), false)),
        |chat| by_file(chat, |place| chat.workload_file(&place.path(""), true)),
        |chat| by_file(chat, |place| chat.impersonating_file(&place.path(""))),
    ];
    for way in ways {
        let chat = FakeChat::start();
        chat.echo();
        let place = way(&chat);
        // a first token is given, and is refused; so are the next ones
        chat.remove_space("OPS");
        let mut agent = place.start();
        agent.has_logged("space `ops` cannot be spoken to");
        let body = "{\"error\":\"invalid_grant\"}";
        let mut seen = String::new();
        for status in [400, 403, 500] {
            for _ in 0..9 {
                chat.answer_next_token(status, body);
            }
            for args in
                [&["check", "rules.toml", "--online"][..], &["doctor", "rules.toml", "--state", "state"]]
            {
                let out = place.command(args);
                seen.extend([out.stdout, out.stderr].map(|b| String::from_utf8(b).unwrap()));
            }
            chat.mend_tokens();
        }
        assert!(seen.contains("you sent"), "nobody repeated anything: {seen}");
        let log = agent.log();
        assert!(log.contains("by Bearer …"), "{log}");
        seen.push_str(&log);
        assert_eq!(agent.stop(), 0);
        for secret in chat.secrets() {
            assert!(!seen.contains(&secret), "`{secret}` is in: {seen}");
        }
    }
}
