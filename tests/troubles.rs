//! A space that cannot be spoken to, from the operator's side: what is told, how often, and what becomes of what waited.

use crate::crash::{Systemd, each_once};
use crate::end_to_end::hits_told;
use crate::harness::fake_chat::{FakeChat, Received};
use crate::harness::program::{DEADLINE, Place, term};

const RULES: &str = "admin = 'boss'\n[space.ops]\nname = 'spaces/OPS'\nservice_account = { file = 'DIR/key.json' }\nwait = '0s'\n\
                     max_per_hour = 3600\n[space.boss]\nwebhook = { env = 'BOSS' }\nwait = '0s'\n[[rule]]\nname = 'trouble'\n\
                     space = 'ops'\nfiles = ['DIR/app.log']\nmatch = 'trouble (?<n>\\d+)'\nby = ['n']\nmax_per_hour = 3600\n";

#[test]
fn an_app_that_is_taken_out_of_its_space_and_put_back_is_told_of_once_each_and_what_waited_arrives() {
    let chat = FakeChat::start();
    let place = Systemd::is_told_by(Place::new().env("BOSS", &chat.webhook_url("BOSS")));
    chat.key_file(&place.path(""));
    place.rules(&format!("{RULES}[chat]\napi_url = '{}'\n", chat.base_url()));
    place.append("app.log", "this line was there before\n");
    let systemd = Systemd::listen(&place);
    // it was never in the space: this is told before there is anything to say
    let mut agent = place.start();
    let said = agent.has_logged("space `ops` cannot be spoken to: 404 NOT_FOUND");
    assert!(
        said.contains("hint: see that `spaces/OPS` is right and that the Chat app of project `proj-1`"),
        "{said}"
    );
    let trouble = "space `ops` paused: 404 NOT_FOUND: Space not found.";
    systemd.hears_one("the trouble", |l| l.contains(trouble));
    for n in 0..3 {
        place.append("app.log", &format!("trouble {n}\n"));
        agent.wait_for_status("the message to wait", |s| s["spaces"]["ops"]["outbox"] == n + 1);
    }
    chat.add_space("OPS");
    place.says(&["reload", "--state", "state"]);
    agent.wait_for_status("what waited to be told", |s| term(s, "trouble", "shown") == 3);
    let calm = |l: &str| l.starts_with("STATUS=watching 1 file with 1 rule");
    systemd.hears_one("the end of the trouble", calm);

    // and now it is taken out while the agent runs
    chat.remove_space("OPS");
    place.append("app.log", "trouble 3\n");
    systemd.hears_one("the trouble", |l| l.contains(trouble));
    place.append("app.log", "trouble 4\n");
    agent.wait_for_status("both to wait", |s| s["spaces"]["ops"]["outbox"] == 2);
    chat.add_space("OPS");
    place.says(&["reload", "--state", "state"]);
    let status = agent.wait_for_status("what waited to be told", |s| term(s, "trouble", "shown") == 5);
    assert_eq!(
        (term(&status, "trouble", "lost"), &status["spaces"]["ops"]["trouble"]),
        (0, &serde_json::Value::Null)
    );
    systemd.hears_one("the end of the trouble", calm);
    assert_eq!(hits_told(&chat.messages("OPS")), 5);
    each_once(&chat);

    let over = |m: &[Received]| m.iter().filter(|m| m.shown().contains("takes messages again")).count();
    chat.wait_until(DEADLINE, "both ends", |m| over(m) == 2);
    let paused = |m: &Received| m.shown().contains("the space `ops` is paused and its messages wait: 404");
    assert_eq!(
        chat.messages("BOSS").iter().filter(|m| paused(m)).count(),
        2,
        "once a change, not once a try"
    );
    assert_eq!(agent.stop(), 0);
}

#[test]
fn what_is_told_before_there_is_anything_to_say_is_told_once_over_restarts_and_its_end_too() {
    let chat = FakeChat::start();
    let place = Place::new().env("BOSS", &chat.webhook_url("BOSS"));
    chat.key_file(&place.path(""));
    place.rules(&format!("{RULES}[chat]\napi_url = '{}'\n", chat.base_url()));
    place.append("app.log", "this line was there before\n");
    let told = |part: &str| chat.messages("BOSS").iter().filter(|m| m.shown().contains(part)).count();
    let agent = place.start();
    chat.wait_until(DEADLINE, "the trouble", |m| m.iter().any(|m| m.space == "BOSS"));
    assert_eq!(agent.stop(), 0);

    let mut agent = place.start();
    let known = agent.has_logged("space `ops` was in trouble before this start: paused: 404 NOT_FOUND");
    assert!(known.contains("hint: see that `spaces/OPS` is right"), "{known}");
    agent.has_logged("space `ops` cannot be spoken to: 404 NOT_FOUND");
    let status = agent.status();
    assert!(
        status["spaces"]["ops"]["trouble"].as_str().is_some_and(|t| t.starts_with("paused: 404")),
        "{status:#}"
    );
    chat.add_space("OPS");
    place.says(&["reload", "--state", "state"]);
    chat.wait_until(DEADLINE, "the end", |m| m.iter().any(|m| m.shown().contains("takes messages again")));
    assert_eq!(told("is paused and its messages wait"), 1);
    assert_eq!(agent.status()["spaces"]["ops"]["trouble"], serde_json::Value::Null);
    assert!(chat.messages("OPS").is_empty(), "nothing was said to it");
    assert_eq!(agent.stop(), 0);
}

#[test]
fn who_is_to_store_another_secret_is_told_whether_that_needs_a_restart() {
    let chat = FakeChat::start();
    let place = Place::new().env("OPS", &chat.webhook_url("OPS"));
    std::fs::write(place.path("hook"), chat.webhook_url("FILE")).unwrap();
    let rule = |name: &str| {
        format!("[[rule]]\nname = '{name}'\nspace = '{name}'\nfiles = ['DIR/app.log']\nmatch = 'trouble'\n")
    };
    let spaces = "admin = 'env'\n[space.env]\nwebhook = { env = 'OPS' }\n[space.file]\nwebhook = { file = 'DIR/hook' }\n";
    place.rules(&format!("{spaces}{}{}", rule("env"), rule("file")));
    place.append("app.log", "this line was there before\n");
    let mut agent = place.start();
    chat.exchange_secrets();
    place.append("app.log", "trouble\n");
    let hint = "hint: make a new webhook in the space's settings and store its URL: its `token` is wrong";
    let restart = "; then restart the agent, which has its secrets from its start";
    for space in ["env", "file"] {
        let said = agent.has_logged(&format!("space `{space}` is paused"));
        assert!(said.contains(hint), "{said}");
        assert_eq!(said.contains(restart), space == "env", "{said}");
    }
    assert_eq!(agent.stop(), 0);
}
