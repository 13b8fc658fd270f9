//! Every kind of message, on both surfaces, against Google's own schema.
//!
//! The checker and its schema live outside of this repository, in the folder `shared` beside it or where
//! `LOGHERALD_SHARED` says; without them the test says that it proves nothing, and in CI it fails.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use logherald::alert::{Alert, AlertNo, Held, Sample, Severity, What};
use logherald::chat::{Surface, render};
use logherald::message::{Message, MessageNo, RowId};
use logherald::time::Wall;

const HOSTILE: &str = "<users/all> <https://evil.example|bank> [a](https://b) ```</b><a href=\"x\">&lt; \
                       \u{202e}\u{200b}\0\x1b[31m ' \u{85} 🔴 日本語";

fn alert(what: What, severity: Severity) -> Alert {
    let sample = |line: &str| Sample {
        line: line.into(),
        file: "/var/log/app.log".into(),
        at: Wall(1_795_334_639_000),
        ..Sample::default()
    };
    Alert {
        no: AlertNo(1),
        what,
        rule: "nginx-5xx".into(),
        severity,
        key: vec![("ip".into(), "192.0.2.1".into()), ("file".into(), HOSTILE.into())],
        text: format!("upstream timed out\n{HOSTILE}"),
        hits: 37,
        total: 157,
        incidents: 3,
        first: Wall(1_795_334_639_000),
        last: Wall(1_795_334_669_000),
        samples: vec![sample("GET / 502"), sample(HOSTILE), sample("")],
        runbook: Some("https://runbooks.example/nginx?a=b&c=d".into()),
        held: vec![Held { count: 12, reason: "repeats".into() }],
        hint: (what == What::Notice).then(|| "add the agent's user to group `adm`".into()),
    }
}

fn message(alerts: Vec<Alert>) -> Message {
    Message {
        no: MessageNo(9),
        space: "ops".into(),
        thread: "a1b2".into(),
        host: "web1".into(),
        severity: alerts.iter().map(|a| a.severity).max().unwrap_or_default(),
        alerts,
        at: Wall(1_795_334_670_000),
        mention: Vec::new(),
        edits: None,
    }
}

fn messages() -> Vec<Message> {
    let mut out = vec![];
    for what in What::ALL {
        for severity in Severity::ALL {
            out.push(message(vec![alert(what, severity)]));
        }
        let bare = Alert {
            key: vec![],
            text: String::new(),
            samples: vec![],
            runbook: None,
            held: vec![],
            hits: 0,
            total: 0,
            ..alert(what, Severity::Info)
        };
        out.push(message(vec![bare]));
    }
    out.push(message(What::ALL.iter().map(|w| alert(*w, Severity::Error)).collect()));
    let edits = Some(RowId::from_random([7; 16]));
    out.push(Message { edits, ..message(vec![alert(What::End, Severity::Error)]) });
    for many in [20, 100, 101, 1000] {
        out.push(message(vec![alert(What::Opening, Severity::Critical); many]));
    }
    for filler in ["<", "&", "\0", "🔴", "x ", "`", "\"", "\u{1b}[", "\n"] {
        let huge = filler.repeat(6_000);
        let sample = Sample {
            line: huge.as_str().into(),
            file: huge.as_str().into(),
            at: Wall(i64::MAX),
            ..Sample::default()
        };
        let too_much = Alert {
            key: vec![(huge.clone(), huge.clone()); 20],
            text: huge.clone(),
            samples: vec![sample; 12],
            held: vec![Held { count: u64::MAX, reason: huge.clone() }; 40],
            runbook: Some(format!("https://x/{huge}")),
            hint: Some(huge.clone()),
            hits: u64::MAX,
            total: 1,
            incidents: u64::MAX,
            rule: huge.as_str().into(),
            first: Wall(i64::MIN),
            last: Wall(i64::MAX),
            ..alert(What::Fold, Severity::Critical)
        };
        out.push(message(vec![too_much.clone()]));
        out.push(Message { host: huge.as_str().into(), ..message(vec![too_much; 3]) });
    }
    out
}

fn checker() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let shared = std::env::var_os("LOGHERALD_SHARED").map_or_else(beside, PathBuf::from);
    Some(shared.join("chat/check_body.py")).filter(|p| p.is_file())
}

#[test]
fn bodies_of_every_kind_of_message_keep_googles_schema_and_limits() {
    let Some(checker) = checker() else {
        assert!(std::env::var_os("CI").is_none(), "`check_body.py` is missing: set `LOGHERALD_SHARED`");
        println!("SKIPPED: no `check_body.py` beside this repository; no body was held against the schema");
        return;
    };
    let bodies: Vec<String> = messages()
        .iter()
        .flat_map(|m| [Surface::Card, Surface::Plain].map(|surface| render(m, surface)))
        .collect();
    assert!(bodies.iter().all(|b| !b.contains('\n') && b.len() <= 30_000));
    let mut python = Command::new("python3")
        .arg(checker)
        .arg("--lines")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = python.stdin.take().unwrap();
    stdin.write_all(bodies.join("\n").as_bytes()).unwrap();
    drop(stdin);
    let done = python.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{said}");
    assert_eq!(said.trim(), format!("{} passed, 0 failed", bodies.len()));
}
