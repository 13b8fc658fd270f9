//! Does `doctor` find what is set up wrongly, name what to mend, and write nothing?

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;

use crate::harness::fake_chat::FakeChat;
use crate::harness::program::{DEADLINE, Place};

const RULE: &str =
    "[[rule]]\nname = 'disk-full'\nfiles = ['DIR/app.log']\nmatch = 'No space left on device'\n";

/// A place with a log, whose space `ops` is the webhook that lies in the file `hook`.
fn webhook(url: &str) -> Place {
    let place = Place::new();
    place.append("app.log", "start\n");
    secret(&place.path("hook"), url);
    place.rules(&format!("[space.ops]\nwebhook = {{ file = 'DIR/hook' }}\nwait = '0s'\n{RULE}"));
    place
}

/// A place with a log, whose space `app` is reached by REST with the key that `make` puts there.
fn rest(chat: &FakeChat, make: impl Fn(&Path) -> std::path::PathBuf) -> Place {
    let place = Place::new();
    place.append("app.log", "start\n");
    place.reached_by_key(&chat.base_url(), make, RULE);
    place
}

fn secret(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Exit status and output of `doctor` with these arguments, without where the test runs.
fn doctor(place: &Place, args: &[&str]) -> (i32, String) {
    let out = place.command(&[&["doctor", "rules.toml", "--state", "state"], args].concat());
    assert_eq!(String::from_utf8_lossy(&out.stderr), "");
    let said = String::from_utf8(out.stdout).unwrap();
    let dir = place.path("").display().to_string();
    let narrow = |l: &str| l.chars().count() <= 80 || l.contains(&dir) || !l.trim().contains(' ');
    assert!(args.contains(&"--json") || said.lines().all(narrow), "{said}");
    (out.status.code().unwrap(), said)
}

/// Every finding about a space that is not as it should be, in one line each, and the exit status.
fn wrong(place: &Place, space: &str) -> (i32, Vec<String>) {
    let out = place.command(&["doctor", "rules.toml", "--state", "state", "--space", space, "--json"]);
    let said: Value = serde_json::from_slice(&out.stdout).unwrap();
    let dir = place.path("").display().to_string();
    let one = |f: &Value| {
        let text = |name: &str| f[name].as_str().unwrap().to_owned();
        let hint = f["hint"].as_str().map(|h| format!(" / {h}")).unwrap_or_default();
        format!("{} {}: {}{hint}", text("grade"), text("check"), text("what")).replace(&dir, "DIR/")
    };
    let found = said["findings"].as_array().unwrap().iter().filter(|f| f["grade"] != "ok").map(one);
    (out.status.code().unwrap(), found.collect())
}

const NEVER: &str = "warning tried: no message has ever gone through this webhook, as far as the state knows / \
                     `logherald send ops` sends a test message";

#[test]
fn what_is_set_up_well_has_nothing_to_mend_but_a_webhook_that_was_never_tried() {
    let chat = FakeChat::start();
    let place = webhook(&chat.webhook_url("OPS"));
    let (code, said) = doctor(&place, &[]);
    assert_eq!(code, 0, "{said}");
    let folded: Vec<&str> = said.split_whitespace().collect();
    let folded = folded.join(" ").replace(&place.path("").display().to_string(), "DIR/");
    for part in [
        "rules ok: `rules.toml` holds 1 rule and 1 space",
        "state ok: `state` is not there yet: the agent makes it",
        "can read 1 log; changes are heard of in 1 directory",
        "space `ops` ok: file `DIR/hook` holds the URL of a webhook of `spaces/OPS` \
         ok: Chat answers, and does not refuse its URL; nothing was written \
         1. warning: no message has ever gone through this webhook, as far as the state knows \
         hint: `logherald send ops` sends a test message",
        "network ok: this host's clock agrees with Chat's 1 warning",
    ] {
        assert!(folded.contains(part), "`{part}` is not in\n{said}");
    }
    assert!(chat.all_messages().is_empty(), "nothing is written to the space");
    assert!(!place.path("state").exists(), "nothing is made");
}

#[test]
fn a_webhook_that_took_messages_says_so_from_the_agent_and_from_the_state_it_left() {
    let chat = FakeChat::start();
    let place = webhook(&chat.webhook_url("OPS"));
    let agent = place.start();
    place.append("app.log", "No space left on device\n");
    chat.wait_for(1, DEADLINE);
    agent.wait_for_status("the message to be accepted", |s| s["spaces"]["ops"]["accepted"] == 1);
    // it asks within a second of that message
    chat.without_pace();
    let (code, said) = doctor(&place, &[]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("ok: `state` is in use by the running agent"), "{said}");
    assert!(said.contains("agent\n   ok: it runs, watching 1 file with 1 rule;"), "{said}");
    assert!(said.contains("ok: it has accepted 1 message, the last at 20"), "{said}");
    assert!(said.ends_with("\nnothing to mend\n"), "{said}");
    assert_eq!(agent.stop(), 0);
    let (_, said) = doctor(&place, &[]);
    assert!(said.contains("ok: `state` is free: no agent runs on it"), "{said}");
    assert!(said.contains("ok: it has accepted 1 message, the last at 20"), "{said}");
}

#[test]
fn a_webhook_that_cannot_work_is_told_with_what_to_mend() {
    let chat = FakeChat::start();
    let good = chat.webhook_url("OPS");
    let new = "make a new webhook in the space's settings and store its URL:";
    for (url, said) in [
        (
            good.replace("token=tok", "token=not"),
            format!(
                "failure webhook: 403 PERMISSION_DENIED: The caller does not have permission / {new} its `token` is \
                 wrong, it was taken away, or webhooks are forbidden there"
            ),
        ),
        (
            good.replace("key=AIza", "key=Aiza"),
            format!(
                "failure webhook: 400 INVALID_ARGUMENT: API key not valid. Please pass a valid API key. / {new} its \
                 `key` is not valid"
            ),
        ),
        (
            good.replace("OPS", "GONE"),
            format!(
                "failure webhook: 404 NOT_FOUND: Space not found. / {new} its space or the webhook itself is gone"
            ),
        ),
    ] {
        assert_eq!(wrong(&webhook(&url), "ops"), (69, vec![said, NEVER.to_owned()]));
    }
    let bare = good.split('?').next().unwrap();
    assert_eq!(
        wrong(&webhook(&format!("{bare}?key=AIzaFake-Key_1")), "ops"),
        (
            78,
            vec![
                "failure secret: the webhook URL in file `DIR/hook` has no `token` / expected the whole URL as the \
                 space's settings show it, with `key` and `token`: `https://chat.googleapis.com/v1/spaces/SPACE/messages?…`"
                    .to_owned(),
                NEVER.to_owned()
            ]
        )
    );
    let nobody = "http://127.0.0.1:1/v1/spaces/OPS/messages?key=AIzaFake-Key_1&token=tok-x";
    let (code, said) = wrong(&webhook(nobody), "ops");
    assert_eq!(code, 69);
    assert_eq!(
        said[0],
        "failure webhook: no connection to `127.0.0.1`: Connection refused (os error 111) / see that this host can reach \
         it: name servers, firewall, `HTTPS_PROXY`"
    );
    assert!(chat.all_messages().is_empty());
}

#[test]
fn a_service_account_that_is_right_is_seen_in_its_space() {
    let chat = FakeChat::start();
    chat.add_space("APP");
    let place = rest(&chat, |dir| chat.key_file(dir));
    let (code, said) = doctor(&place, &["--space", "app"]);
    assert_eq!(code, 0, "{said}");
    for part in [
        "holds a key of service account\n       `bot@proj-1.iam.gserviceaccount.com`, project `proj-1`\n",
        "   ok: its app is in `spaces/APP` (“On <call>”)\n   ok: tokens that its key signs are taken, and exchanged ones too\n",
        "\nnothing to mend\n",
    ] {
        assert!(said.contains(part), "`{part}` is not in\n{said}");
    }
    chat.refuse_self_signed();
    let (code, said) = doctor(&place, &["--space", "app"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("ok: tokens that its key signs are refused, exchanged ones are taken"), "{said}");
    assert!(chat.all_messages().is_empty());
}

#[test]
fn a_service_account_set_up_wrongly_is_told_with_what_to_mend() {
    let chat = FakeChat::start();
    let gone = rest(&chat, |dir| chat.key_file(dir));
    assert_eq!(
        wrong(&gone, "app"),
        (
            69,
            vec![
                "failure member: 404 NOT_FOUND: Space not found. / see that `spaces/APP` is right and that the Chat app \
                 of project `proj-1` is a member of it"
                    .to_owned()
            ]
        )
    );
    chat.add_space("APP");
    assert_eq!(
        wrong(&rest(&chat, |dir| chat.key_of_another_project(dir)), "app"),
        (
            69,
            vec![
                "failure member: 403 PERMISSION_DENIED: The caller does not have permission / add the Chat app of \
                 project `proj-2` (service account `bot@proj-2.iam.gserviceaccount.com`) to `spaces/APP`; or is this \
                 the key of another project?"
                    .to_owned()
            ]
        )
    );
    let (code, said) = wrong(&rest(&chat, |dir| chat.revoked_key(dir)), "app");
    assert_eq!((code, said.len()), (69, 1));
    assert!(
        said[0].starts_with(
            "failure member: the token endpoint `127.0.0.1` answered 400 invalid_grant: Invalid JWT"
        ),
        "{said:?}"
    );
    let (code, said) = wrong(&rest(&chat, |dir| dir.join("nokey.json")), "app");
    assert_eq!(
        (code, said),
        (
            78,
            vec!["failure secret: file `DIR/nokey.json` does not exist / put the secret there, or mend the path".into()]
        )
    );
    let open = rest(&chat, |dir| {
        let key = chat.key_file(dir);
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        key
    });
    assert_eq!(
        wrong(&open, "app"),
        (
            0,
            vec![
                "warning secret-mode: file `DIR/key.json` has mode 0644: others than its owner can read a secret / `chmod \
                 600` it"
                    .to_owned()
            ]
        )
    );
}

#[test]
fn a_clock_that_is_wrong_is_named() {
    let chat = FakeChat::start();
    chat.add_space("APP");
    let place = rest(&chat, |dir| chat.key_file(dir));
    chat.clock_ahead(4000);
    let (code, said) = wrong(&place, "app");
    assert_eq!(code, 78);
    let [clock] = said.as_slice() else { panic!("{said:?}") };
    assert!(clock.starts_with("failure clock: this host's clock is "), "{clock}");
    assert!(
        clock.contains(" s behind Chat's: tokens will be refused / set it, and keep it right"),
        "{clock}"
    );
}

#[test]
fn a_host_without_certificates_is_told_what_to_install() {
    let place = webhook("https://chat.googleapis.com/v1/spaces/OPS/messages?key=k&token=t");
    let place = place.env("SSL_CERT_FILE", "/dev/null").env("SSL_CERT_DIR", "/nowhere");
    let (code, said) = wrong(&place, "ops");
    assert_eq!((code, said.len()), (78, 2), "{said:?}");
    assert!(
        said[0].starts_with("failure secret: TLS cannot be set up: ")
            && said[0].ends_with(" / install the CA bundle of the system (package `ca-certificates`)"),
        "{said:?}"
    );
}

#[test]
fn check_asks_the_spaces_too_where_it_is_told_to() {
    let chat = FakeChat::start();
    chat.add_space("APP");
    let place = rest(&chat, |dir| chat.key_file(dir));
    let said = place.says(&["check", "--online", "rules.toml"]);
    assert!(
        said.starts_with("note: rule `disk-full` has no test; ")
            && said.contains("\nrules.toml: 1 rule, 0 tests, 1 space; no fault\n\nspace `app`\n   ok: "),
        "{said}"
    );
    assert!(
        said.ends_with("network\n   ok: this host's clock agrees with Chat's\n\nnothing to mend\n"),
        "{said}"
    );
    chat.remove_space("APP");
    let out = place.command(&["check", "--online", "--json", "rules.toml"]);
    assert_eq!(out.status.code(), Some(69));
    let said: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!((&said["errors"], &said["online"]["failures"]), (&0.into(), &1.into()), "{said:#}");
    assert!(chat.all_messages().is_empty());
}

#[test]
fn nobody_is_asked_offline() {
    let chat = FakeChat::start();
    let place = webhook(&chat.webhook_url("OPS"));
    let (code, said) = doctor(&place, &["--offline"]);
    assert_eq!(code, 0, "{said}");
    assert!(chat.attempts().is_empty() && said.contains("a webhook of `spaces/OPS`"), "{said}");
}

#[test]
fn what_the_unit_loads_is_looked_at_where_it_lies() {
    let chat = FakeChat::start();
    let path = std::env::var("PATH").unwrap_or_default();
    let bin = tempfile::tempdir().unwrap();
    let place = Place::new().env("PATH", &format!("{}:{path}", bin.path().display()));
    place.append("app.log", "start\n");
    place.rules(&format!("[space.ops]\nwebhook = {{ credential = 'ops-webhook' }}\n{RULE}"));
    let unit = |line: &str| {
        let script = format!("#!/bin/sh\ncat <<END\n[Service]\nUser=logherald\n{line}\nEND\n");
        crate::harness::script(&bin.path().join("systemctl"), &script);
    };
    unit("");
    assert_eq!(
        wrong(&place, "ops"),
        (
            78,
            vec![
                "failure secret: credential `ops-webhook` is not loaded: `logherald.service` has no \
                 `LoadCredential=ops-webhook:…` / `systemctl edit logherald`: under `[Service]` say \
                 `LoadCredential=ops-webhook:/path/to/it`, and restart"
                    .to_owned(),
                NEVER.to_owned()
            ]
        )
    );
    let hook = place.path("hook").display().to_string();
    unit(&format!("LoadCredential=ops-webhook:{hook}"));
    let (code, said) = doctor(&place, &[]);
    assert_eq!(code, 78, "{said}");
    let folded: Vec<&str> = said.split_whitespace().collect();
    let missing = "names a file that is not there: the service cannot start (status 243)";
    assert!(folded.join(" ").contains(missing), "{said}");
    secret(&place.path("hook"), &chat.webhook_url("OPS"));
    assert_eq!(wrong(&place, "ops"), (0, vec![NEVER.to_owned()]));
}

#[test]
fn logs_and_rules_that_cannot_be_read_are_failures_of_this_host() {
    let place = Place::new();
    std::os::unix::fs::symlink("loop.log", place.path("loop.log")).unwrap();
    place.rules(
        "[[rule]]\nname = 'a'\nfiles = ['DIR/loop.log', 'DIR/later.log']\nmatch = 'trouble'\n\
         [[rule]]\nname = 'b'\nfiles = ['DIR/never.log']\nmatch = '('\n",
    );
    let (code, said) = doctor(&place, &[]);
    assert_eq!(code, 78);
    for part in [
        "1. failure: `rules.toml` has 1 error\n      hint: `logherald check rules.toml` shows each",
        "/loop.log`: ",
        "ok: alerts go to the terminal\n",
    ] {
        assert!(said.contains(part), "`{part}` is not in\n{said}");
    }
    let place = Place::new();
    place.rules(RULE);
    fs::write(place.path("state"), "no directory").unwrap();
    let (code, said) = doctor(&place, &[]);
    assert_eq!(code, 78);
    let folded: Vec<&str> = said.split_whitespace().collect();
    for part in [
        "failure: `state` cannot be used: it is no directory hint: it must be a directory",
        "warning: rule `disk-full` has nothing to read on this machine yet: `",
    ] {
        assert!(folded.join(" ").contains(part), "`{part}` is not in\n{said}");
    }
}

#[test]
fn a_state_that_another_user_has_touched_or_nobody_can_read_is_told() {
    let place = Place::new();
    place.rules(RULE);
    place.append("app.log", "start\n");
    assert_eq!(place.start().stop(), 0);
    let state = place.path("state/state.db");
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&state, Some(12_345), None).unwrap();
        let (code, said) = doctor(&place, &[]);
        assert_eq!(code, 78, "{said}");
        let folded: Vec<&str> = said.split_whitespace().collect();
        let foreign = "`state/state.db` belongs to user `12345`, and the directory to `root`";
        assert!(folded.join(" ").contains(foreign), "{said}");
        std::os::unix::fs::chown(&state, Some(0), None).unwrap();
    } else {
        println!("SKIPPED: giving a file to another user needs root");
    }
    let bytes = fs::read(&state).unwrap();
    fs::write(&state, vec![b'x'; 8192]).unwrap();
    let (code, said) = doctor(&place, &[]);
    assert_eq!(code, 0, "the agent mends it: {said}");
    assert!(said.contains("warning: the state file in `state` cannot be read: "), "{said}");
    assert_eq!(fs::read(&state).unwrap(), vec![b'x'; 8192], "it is looked at, and no more");
    fs::write(&state, bytes).unwrap();
    assert!(doctor(&place, &[]).1.ends_with("\nnothing to mend\n"));
}

#[test]
fn no_secret_is_in_what_it_says_although_the_server_repeats_all_of_them() {
    let chat = FakeChat::start();
    chat.echo();
    let good = chat.webhook_url("OPS");
    let mut said = String::new();
    for url in [good.replace("token=tok", "token=not"), good.replace("OPS", "GONE"), good.clone()] {
        let place = webhook(&url);
        said.push_str(&doctor(&place, &[]).1);
        said.push_str(&doctor(&place, &["--json"]).1.replace('\n', ""));
    }
    for make in [FakeChat::key_of_another_project, FakeChat::revoked_key, FakeChat::key_file] {
        let place = rest(&chat, |dir| make(&chat, dir));
        said.push_str(&doctor(&place, &[]).1);
    }
    for secret in chat.secrets().into_iter().chain(["not-OPS".into(), "not-GONE".into()]) {
        assert!(!said.contains(&secret), "`{secret}` is in\n{said}");
    }
    assert!(said.contains("you sent"), "{said}");
}

#[test]
fn a_space_that_is_not_in_the_rules_is_told_with_those_that_are() {
    let place = webhook("https://unused.example");
    assert_eq!(
        place.fails(&["doctor", "rules.toml", "--space", "opps"]),
        (78, "error: no space is called `opps`\nhint: `rules.toml` has `ops`\n".to_owned())
    );
}
