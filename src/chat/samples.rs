//! Messages for the tests of this folder.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::alert::{Alert, AlertNo, Held, Sample, Severity, What};
use crate::message::{Message, MessageNo};
use crate::time::Wall;

pub(crate) fn alert(rule: &str) -> Alert {
    Alert {
        no: AlertNo(1),
        what: What::Opening,
        rule: rule.into(),
        severity: Severity::Error,
        key: vec![("ip".into(), "192.0.2.1".into())],
        text: "failed logins from 192.0.2.1".into(),
        hits: 37,
        total: 37,
        incidents: 1,
        first: Wall(1_795_334_639_000),
        last: Wall(1_795_334_669_000),
        samples: vec![Sample {
            line: "sshd[1]: <users/all> & more".into(),
            file: "/var/log/auth.log".into(),
            at: Wall(1_795_334_639_000),
            ..Sample::default()
        }],
        runbook: None,
        held: vec![],
        hint: None,
    }
}

pub(crate) fn message(alerts: Vec<Alert>) -> Message {
    Message {
        no: MessageNo(7),
        space: "ops".into(),
        thread: "t-1".into(),
        host: "web1".into(),
        severity: Severity::Error,
        alerts,
        at: Wall(1_795_334_670_000),
        mention: Vec::new(),
        edits: None,
    }
}

/// Text as an attacker writes it: live markup among noise, now and then far too much of it.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("<users/all>".to_owned()),
        Just("<https://evil.example|bank>".to_owned()),
        Just("</b><a href=\"x\">".to_owned()),
        Just("[a](https://b) ``` &lt; \u{202e}\u{200b}\0\x1b[31m\r\n".to_owned()),
        any::<String>(),
        "[ -~]{0,30}",
    ];
    (vec(piece, 0..6), prop_oneof![9 => Just(1usize), 1 => Just(400usize)])
        .prop_map(|(parts, times)| parts.concat().repeat(times).chars().take(3_000).collect())
}

fn any_alert() -> impl Strategy<Value = Alert> {
    let counts = (any::<u64>(), any::<u64>(), any::<u64>(), any::<i64>(), any::<i64>());
    let texts = ("[a-z<&>-]{1,60}", vec((hostile(), hostile()), 0..3), hostile(), vec(hostile(), 0..8));
    let more = (
        proptest::option::of(hostile()),
        proptest::option::of(hostile()),
        vec((any::<u64>(), hostile()), 0..4),
    );
    (0..What::ALL.len(), 0..4usize, counts, texts, more).prop_map(
        |(
            what,
            severity,
            (hits, total, incidents, first, last),
            (rule, key, text, lines),
            (runbook, hint, held),
        )| Alert {
            no: AlertNo(1),
            what: What::ALL[what],
            rule: rule.into(),
            severity: Severity::ALL[severity],
            key,
            hits,
            total,
            incidents,
            first: Wall(first),
            last: Wall(last),
            samples: lines
                .into_iter()
                .map(|line| Sample {
                    file: line.as_str().into(),
                    line: line.into(),
                    at: Wall(first),
                    before: vec![text.as_str().into(); (first % 21).unsigned_abs() as usize],
                    after: vec![text.as_str().into(); (last % 21).unsigned_abs() as usize],
                    ..Sample::default()
                })
                .collect(),
            text,
            runbook,
            held: held.into_iter().map(|(count, reason)| Held { count, reason }).collect(),
            hint,
        },
    )
}

pub(crate) fn any_message() -> impl Strategy<Value = Message> {
    let alerts = prop_oneof![4 => vec(any_alert(), 1..4), 1 => (any_alert(), 1..200usize).prop_map(|(a, n)| vec![a; n])];
    (alerts, hostile()).prop_map(|(alerts, host)| {
        let mut m = message(alerts);
        m.host = host.into();
        m
    })
}
