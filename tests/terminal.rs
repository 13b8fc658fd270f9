//! What the commands say, to the character: mistakes an operator makes, and what to mend.

use std::path::Path;

use crate::harness::fake_chat::FakeChat;
use crate::harness::program::Place;

const RULE: &str =
    "[[rule]]\nname = 'disk-full'\nfiles = ['DIR/app.log']\nmatch = 'No space left on device'\n";

/// A place whose space `ops` is the webhook `url`.
fn webhook(url: &str) -> Place {
    let place = Place::new().env("HOOK", url);
    place.rules(&format!("[space.ops]\nwebhook = {{ env = 'HOOK' }}\n{RULE}"));
    place
}

/// A place whose space `app` is reached by REST with the key that `make` puts there.
fn rest(chat: &FakeChat, make: impl Fn(&Path) -> std::path::PathBuf) -> Place {
    let place = Place::new();
    place.reached_by_key(&chat.base_url(), make, RULE);
    place
}

/// What `send` says when it fails, without how long it took and where the test runs.
#[track_caller]
fn refused(place: &Place, space: &str, code: i32, expected: &str) {
    let (found, said) = place.fails(&["send", space]);
    let said = without_times(&said).replace(&place.path("").display().to_string(), "DIR/");
    assert_eq!((found, said.as_str()), (code, expected));
}

fn without_times(text: &str) -> String {
    let mut words: Vec<&str> = text.split(' ').collect();
    for i in 1..words.len() {
        if words[i].starts_with("ms") && words[i - 1].parse::<u64>().is_ok() {
            words[i - 1] = "N";
        }
    }
    words.join(" ")
}

#[test]
fn a_wrong_webhook_is_told_with_what_to_mend_and_without_its_secret() {
    let chat = FakeChat::start();
    refused(
        &webhook("https://hooks.example/services/hunter2"),
        "ops",
        78,
        "error: space `ops`: the webhook URL in environment variable `HOOK` points to `hooks.example` and not to \
         `chat.googleapis.com`\n\
         hint: expected the whole URL as the space's settings show it, with `key` and `token`: \
         `https://chat.googleapis.com/v1/spaces/SPACE/messages?…`\n",
    );
    refused(
        &webhook(&chat.webhook_url("OPS").replace("token=", "token=wrong")),
        "ops",
        69,
        "error: `ops` did not take the message: 403 PERMISSION_DENIED: The caller does not have permission (after N \
         ms)\n\
         hint: make a new webhook in the space's settings and store its URL: its `token` is wrong, it was taken \
         away, or webhooks are forbidden there\n",
    );
}

#[test]
fn a_space_that_is_not_in_the_rules_is_told_with_those_that_are() {
    refused(
        &webhook("https://unused.example"),
        "opps",
        78,
        "error: no space is called `opps`\nhint: `DIR/rules.toml` has `ops`\n".replace("DIR/", "").as_str(),
    );
}

#[test]
fn a_key_that_cannot_be_read_is_told_with_its_path() {
    let chat = FakeChat::start();
    refused(
        &rest(&chat, |dir| dir.join("nokey.json")),
        "app",
        78,
        "error: space `app`: file `DIR/nokey.json` does not exist\nhint: put the secret there, or mend the path\n",
    );
    let place = rest(&chat, |dir| {
        std::fs::write(dir.join("key.json"), "{\"type\": \"authorized_user\"}").unwrap();
        dir.join("key.json")
    });
    let (code, said) = place.fails(&["send", "app"]);
    assert_eq!(code, 78);
    assert!(said.contains("authorized_user") && said.contains("\nhint: "), "{said}");
}

#[test]
fn a_key_of_another_project_or_a_revoked_one_is_told_with_its_account() {
    let chat = FakeChat::start();
    chat.add_space("APP");
    refused(
        &rest(&chat, |dir| chat.key_of_another_project(dir)),
        "app",
        69,
        "error: `app` did not take the message: 403 PERMISSION_DENIED: The caller does not have permission (after N \
         ms)\n\
         hint: add the Chat app of project `proj-2` (service account `bot@proj-2.iam.gserviceaccount.com`) to \
         `spaces/APP`; or is this the key of another project?\n",
    );
    refused(
        &rest(&chat, |dir| chat.revoked_key(dir)),
        "app",
        69,
        "error: `app` did not take the message: the token endpoint `127.0.0.1` answered 400 invalid_grant: Invalid \
         JWT: InvalidSignature (after N ms)\n\
         hint: the key was deleted, or is no key of service account `bot@proj-1.iam.gserviceaccount.com`: make a new \
         JSON key for it in project `proj-1`, and store the file as it is\n",
    );
}

#[test]
fn an_unknown_space_is_told_with_what_to_look_at() {
    let chat = FakeChat::start();
    refused(
        &rest(&chat, |dir| chat.key_file(dir)),
        "app",
        69,
        "error: `app` did not take the message: 404 NOT_FOUND: Space not found. (after N ms)\n\
         hint: see that `spaces/APP` is right and that the Chat app of project `proj-1` is a member of it\n",
    );
}

#[test]
fn a_message_that_arrives_is_told_with_its_name() {
    let chat = FakeChat::start();
    chat.without_pace();
    let place = webhook(&chat.webhook_url("OPS"));
    let said = place.says(&["send", "ops"]);
    assert_eq!(without_times(&said), "`ops` took the message in N ms: spaces/OPS/messages/M0.M0\n");
    place.says(&["send", "ops", "--hostile"]);
    let hostile = chat.messages("OPS")[1].raw.clone();
    assert!(
        !hostile.contains("<users/") && !hostile.contains("<https") && !hostile.contains("<a "),
        "{hostile}"
    );
}

#[test]
fn a_console_space_draws_the_message() {
    let place = Place::new();
    place.rules(RULE);
    let said = place.says(&["send", "console"]);
    assert!(said.contains("This is a test: alerts of this host arrive here."), "{said}");
}

#[test]
fn nobody_to_ask_is_told_with_how_to_start_one() {
    let place = Place::new();
    let expected = "error: no agent answers on `state/control.sock`: No such file or directory (os error 2)\n\
                    hint: start it (`systemctl start logherald`), or name its state directory with `--state DIR`\n";
    assert_eq!(place.fails(&["status", "--state", "state"]), (69, expected.to_owned()));
    assert_eq!(place.fails(&["reload", "--state", "state"]), (69, expected.to_owned()));
}

#[test]
fn a_wrong_command_line_is_usage() {
    let place = Place::new();
    let (code, said) = place.fails(&["frobnicate"]);
    assert_eq!(code, 64);
    assert!(said.starts_with("error: unrecognized subcommand 'frobnicate'\n"), "{said}");
    let (code, said) = place.fails(&["check"]);
    assert_eq!(code, 78);
    assert!(said.ends_with("hint: name one: logherald check path/to/rules.toml\n"), "{said}");
}

#[test]
fn every_command_has_examples_or_an_exit_status_in_its_help() {
    let place = Place::new();
    for command in ["run", "check", "doctor", "explain", "send", "status", "reload"] {
        let help = place.says(&[command, "--help"]);
        assert!(help.contains("Examples:") || help.contains("Exit status:"), "{help}");
        assert!(help.lines().all(|l| l.chars().count() <= 100), "{help}");
    }
}

#[test]
fn an_unreadable_space_gives_its_rules_to_the_terminal() {
    let place = rest(&FakeChat::start(), |dir| dir.join("nokey.json"));
    place.append("app.log", "start\n");
    let mut agent = place.start();
    agent.wait_for_output("nokey.json` does not exist; its alerts");
    place.append("app.log", "No space left on device\n");
    agent.wait_for_output("disk-full");
    assert_eq!(agent.stop(), 0);
}

#[test]
fn a_rules_file_that_is_not_there_is_told_without_a_picture_of_it() {
    let place = Place::new();
    let said = place.command(&["check", "nope.toml"]);
    assert_eq!(said.status.code(), Some(78));
    assert_eq!(
        String::from_utf8(said.stdout).unwrap(),
        "error: cannot read `nope.toml`: No such file or directory (os error 2)\n--> nope.toml\n = hint: give the path of \
         a rules file; the packaged one is `/etc/logherald/rules.toml`\n\nnope.toml: 1 error\n"
    );
}

#[test]
fn an_agent_without_usable_rules_says_what_is_wrong_and_what_to_do() {
    let place = Place::new();
    let rules = place.rules(&format!("{RULE}nonsense"));
    let rules = rules.display().to_string();
    let (code, said) = place.fails(&["run", "rules.toml", "--state", "state"]);
    assert_eq!(code, 78);
    assert!(said.starts_with("error: not TOML: key with no value, expected `=`\n"), "{said}");
    assert!(
        said.ends_with(&format!(
            "\n\n1 error\n\nerror: `{rules}` cannot be used, and no older rules are kept in `state`\n\
             hint: mend it until `logherald check {rules}` finds no error\n"
        )),
        "{said}"
    );
}

#[test]
fn the_start_line_and_the_status_say_what_is_watched_and_what_is_missing() {
    let place = Place::new().env("PATH", "/nonexistent");
    std::os::unix::fs::symlink("loop.log", place.path("loop.log")).unwrap();
    place.rules(
        "[space.ops]\nwebhook = { env = 'NOT_SET' }\n[space.screen]\nconsole = true\n\
         [[rule]]\nname = 'a'\nfiles = ['DIR/app.log', 'DIR/loop.log', 'DIR/later.log']\nmatch = 'trouble'\n\
         [[rule]]\nname = 'b'\njournal = true\nmatch = 'trouble'\n",
    );
    place.append("app.log", "start\n");
    let mut agent = place.start();
    let later = place.path("later.log").display().to_string();
    let watching = format!(
        "watching 1 file and the journal with 2 rules; alerts go to the terminal; 1 path cannot be read; \
         not there yet: `{later}`"
    );
    assert_eq!(agent.status()["watching"], watching);
    let fault = "space `ops`: environment variable `NOT_SET` is not set";
    let hint = "set it in the unit's `EnvironmentFile=`, or say `credential` instead of `env`";
    agent.wait_for_status("journalctl to fail", |s| s["troubles"].as_array().unwrap().len() == 2);
    let said = place.says(&["status", "--state", "state"]);
    let folded: Vec<&str> = said.split_whitespace().collect();
    let folded = folded.join(" ");
    for part in [
        watching.as_str(),
        "loop.log`: cannot be read: ",
        "WRONG: `journalctl`: cannot be run: no such file hint: install systemd's `journalctl`, or",
        &format!("WRONG: {fault}; its alerts go elsewhere hint: {hint}"),
        "2 rules without a hit: a, b",
    ] {
        assert!(folded.contains(part), "`{part}` is not in\n{said}");
    }
    let paths = place.path("").display().to_string();
    assert!(said.lines().filter(|l| !l.contains(&paths)).all(|l| l.chars().count() <= 80), "{said}");

    // a reload finds the same, and its answer warns
    let reloaded = place.says(&["reload", "--state", "state"]);
    assert_eq!(
        reloaded,
        format!("2 rules are loaded\nwarning: {fault}; its alerts go to `screen`\nhint: {hint}\n")
    );
    agent.wait_for_log(&watching);
    assert_eq!(agent.status()["troubles"].as_array().unwrap().len(), 2);
    assert_eq!(agent.stop(), 0);
}
