//! The table of every outcome: what Chat, or whatever stands between, may answer, what the network, TLS and the token
//! endpoint may do, and what becomes of the row.
//!
//! Each line of the table goes all the way that an answer goes in the running agent: `chat` classifies it, the worker
//! decides, the desk commits, and the outbox is asked what it holds. Time is tokio's and paused while the worker waits.

use std::sync::Mutex;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::chat::faults::{First, Met};
use crate::chat::{Answer, Ask, Caller, Door, Outcome, classify};
use crate::deliver::{Pace, Transport, worker};

const OURS: &str = r#"{"name":"spaces/AAAA/messages/B.C"}"#;
const HTML: &str = "<html>please log in</html>";

/// An answer: status, body, `Retry-After`.
type Said = (u16, &'static str, Option<&'static str>);

/// What a try comes to.
#[derive(Clone, Copy, Debug)]
enum Comes {
    /// To an answer, of REST or of a webhook.
    Answer { rest: bool, said: Said },
    /// The try of an edit does.
    Edit(Said),
    /// To none, or to no token.
    Met(Met),
}

/// One row of the table.
struct Line {
    name: &'static str,
    comes: Comes,
    /// So often in a row.
    times: usize,
    /// What the outbox says after the last of them.
    row: &'static str,
    /// The operator is told.
    told: bool,
}

const fn line(name: &'static str, rest: bool, said: Said, row: &'static str, told: bool) -> Line {
    Line { name, comes: Comes::Answer { rest, said }, times: 1, row, told }
}

const fn edit(name: &'static str, said: Said, row: &'static str, told: bool) -> Line {
    Line { name, comes: Comes::Edit(said), times: 1, row, told }
}

const fn met(name: &'static str, met: Met, row: &'static str, told: bool) -> Line {
    Line { name, comes: Comes::Met(met), times: 1, row, told }
}

const REST: bool = true;
const HOOK: bool = false;

const AGAIN: &str = "waits 1 s after 1 failed try";
const PAUSED: &str = "waits for its space, paused for 300 s";
const PLAIN: &str = "a plain form waits instead";
const ANEW: &str = "a new message waits instead";

fn table() -> Vec<Line> {
    let bad = r#"{"error":{"code":400,"status":"INVALID_ARGUMENT","message":"Invalid value at 'message'"}}"#;
    let long = r#"{"error":{"code":400,"status":"INVALID_ARGUMENT","message":"Message is longer than 4096 characters",
        "details":[{"fieldViolations":[{"field":"text"}]}]}}"#;
    let key =
        r#"{"error":{"code":400,"status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}"#;
    let state = r#"{"error":{"code":400,"status":"FAILED_PRECONDITION","message":"space is archived"}}"#;
    let denied = r#"{"error":{"code":403,"status":"PERMISSION_DENIED","message":"no permission"}}"#;
    let rate = r#"{"error":{"code":403,"details":[{"reason":"RATE_LIMIT_EXCEEDED"}]}}"#;
    let gone = r#"{"error":{"code":404,"status":"NOT_FOUND","message":"Space not found."}}"#;
    let exists = r#"{"error":{"code":409,"status":"ALREADY_EXISTS"}}"#;
    let aborted = r#"{"error":{"code":409,"status":"ABORTED"}}"#;
    let quota = r#"{"error":{"code":429,"status":"RESOURCE_EXHAUSTED"}}"#;
    let cut = r#"{"name":"spaces/AAAA/messa"#;
    let other = r#"{"name":"spaces/BBBB/messages/B.C"}"#;
    let mut table = vec![
        line("200 with a name in the right space", REST, (200, OURS, None), "delivered", false),
        line("200, but HTML of a portal", HOOK, (200, HTML, None), AGAIN, false),
        Line {
            times: 3,
            ..line(
                "the same for the third time",
                HOOK,
                (200, HTML, None),
                "waits 4 s after 3 failed tries",
                true,
            )
        },
        line("200 without a name", REST, (200, "{}", None), AGAIN, false),
        line("200, cut off", REST, (200, cut, None), AGAIN, false),
        line("200 with the name of another space", REST, (200, other, None), AGAIN, false),
        line("other 2xx", REST, (204, "", None), AGAIN, false),
        line("3xx is not followed", HOOK, (302, "", None), "waits 24 s after 1 failed try", false),
        Line { times: 3, ..line("3xx for the third time", HOOK, (302, "", None), PAUSED, true) },
        line("400, too big", REST, (400, long, None), PLAIN, false),
        line("400, other INVALID_ARGUMENT", REST, (400, bad, None), PLAIN, false),
        line("400 API_KEY_INVALID", HOOK, (400, key, None), PAUSED, true),
        line(
            "400 FAILED_PRECONDITION",
            REST,
            (400, state, None),
            "waits for its space, paused for 900 s",
            true,
        ),
        line("401 REST, after a second token", REST, (401, "", None), PAUSED, true),
        line("401 webhook", HOOK, (401, "", None), "waits 24 s after 1 failed try", false),
        Line { times: 6, ..line("401 webhook for the sixth time", HOOK, (401, "", None), PAUSED, true) },
        line("403 PERMISSION_DENIED", REST, (403, denied, None), PAUSED, true),
        Line {
            times: 5,
            ..line(
                "403 again and again",
                REST,
                (403, denied, None),
                "waits for its space, paused for 3600 s",
                true,
            )
        },
        line("403 with a reason of rate", REST, (403, rate, None), "waits 5 s after 0 failed tries", false),
        line("404, the space", REST, (404, gone, None), PAUSED, true),
        line("405", REST, (405, HTML, None), PAUSED, true),
        line("406", REST, (406, HTML, None), PAUSED, true),
        line("415", REST, (415, "", None), PAUSED, true),
        line("501", REST, (501, "", None), PAUSED, true),
        line("407", REST, (407, "", None), PAUSED, true),
        line("408", REST, (408, "", None), AGAIN, false),
        line("499", REST, (499, "", None), AGAIN, false),
        line("409 ALREADY_EXISTS", HOOK, (409, exists, None), "delivered", false),
        line("409 ABORTED", REST, (409, aborted, None), AGAIN, false),
        line("412", REST, (412, "", None), AGAIN, false),
        line("429", REST, (429, quota, None), "waits 5 s after 0 failed tries", false),
        line(
            "429 with Retry-After",
            REST,
            (429, quota, Some("90")),
            "waits 90 s after 0 failed tries",
            false,
        ),
        line(
            "429 with a huge Retry-After",
            REST,
            (429, quota, Some("999999")),
            "waits 600 s after 0 failed tries",
            false,
        ),
        line(
            "429 with a negative Retry-After",
            REST,
            (429, quota, Some("-3")),
            "waits 1 s after 0 failed tries",
            false,
        ),
        Line {
            times: 8,
            ..line(
                "429 for the eighth time",
                HOOK,
                (429, quota, None),
                "waits 300 s after 0 failed tries",
                false,
            )
        },
        Line {
            times: 12,
            ..line(
                "503 for the twelfth time",
                HOOK,
                (503, "", None),
                "waits 60 s after 12 failed tries",
                true,
            )
        },
    ];
    for status in [411, 413, 414, 431] {
        table.push(line("too large for a middlebox", HOOK, (status, HTML, None), PLAIN, false));
    }
    for status in [500, 502, 503, 504, 520, 521, 522, 523, 524, 525, 526, 527, 528, 529] {
        table.push(line("the server or its edge in trouble", REST, (status, HTML, None), AGAIN, false));
    }
    table
}

/// The rows of edits: what differs is that a message which is not there is none of the space's faults.
fn edits() -> Vec<Line> {
    let bad = r#"{"error":{"code":400,"status":"INVALID_ARGUMENT","message":"Invalid value at 'message'"}}"#;
    let gone = r#"{"error":{"code":404,"status":"NOT_FOUND","message":"Message not found."}}"#;
    let denied = r#"{"error":{"code":403,"status":"PERMISSION_DENIED","message":"no permission"}}"#;
    let rate = r#"{"error":{"code":403,"details":[{"reason":"RATE_LIMIT_EXCEEDED"}]}}"#;
    let exists = r#"{"error":{"code":409,"status":"ALREADY_EXISTS"}}"#;
    vec![
        edit("an edit: 200 with a name in the right space", (200, OURS, None), "delivered", false),
        edit("an edit: 200 of a portal", (200, HTML, None), AGAIN, false),
        edit("an edit: 400", (400, bad, None), PLAIN, false),
        edit("an edit: 401, after a second token", (401, "", None), PAUSED, true),
        edit("an edit: 403 PERMISSION_DENIED", (403, denied, None), ANEW, false),
        edit(
            "an edit: 403 with a reason of rate",
            (403, rate, None),
            "waits 5 s after 0 failed tries",
            false,
        ),
        edit("an edit: 404, the message", (404, gone, None), ANEW, false),
        edit("an edit: 410", (410, "", None), ANEW, false),
        edit("an edit: 409 ALREADY_EXISTS, which nothing was created for", (409, exists, None), AGAIN, false),
        edit("an edit: 429", (429, "", None), "waits 5 s after 0 failed tries", false),
        edit("an edit: 500", (500, "", None), AGAIN, false),
        Line {
            times: 12,
            ..edit(
                "an edit: 503 for the twelfth time",
                (503, "", None),
                "waits 60 s after 12 failed tries",
                true,
            )
        },
    ]
}

/// The rows of the network, of TLS and of the token endpoint. A CA bundle or a key that is missing is no outcome: there the
/// space has no worker at all, and its rules speak to another.
fn network() -> Vec<Line> {
    let grant = r#"{"error":"invalid_grant","error_description":"Invalid JWT Signature."}"#;
    let mut table = vec![
        met("the name is not known", Met::NoName, AGAIN, false),
        met("no connection in time", Met::NoConnection, AGAIN, false),
        met("the connection is refused", Met::Refused, AGAIN, false),
        Line {
            times: 3,
            ..met("refused for the third time", Met::Refused, "waits 4 s after 3 failed tries", true)
        },
        met("a reset after the body was sent", Met::Reset, AGAIN, false),
        met("closed after the body was sent", Met::Closed, AGAIN, false),
        met("no answer in time", Met::NoAnswer, AGAIN, false),
        met("an answer that stands still", Met::StalledBody, AGAIN, false),
        met("the head of an answer at a byte a second", Met::DrippedHead, AGAIN, false),
        met("its body at a byte a second", Met::DrippedBody, AGAIN, false),
        met("an answer whose head never ends", Met::EndlessHead, AGAIN, false),
        met("an answer whose body never ends", Met::EndlessBody, AGAIN, false),
        met("a compressed bomb", Met::Bomb, AGAIN, false),
        met("an answer that is no HTTP", Met::NoHttp, AGAIN, false),
        met("an answer of two lengths", Met::TwoLengths, AGAIN, false),
        met("100 and 103 before the answer", Met::EarlyHints, "delivered", false),
        met("204 over the wire", Met::NoContent, AGAIN, false),
        met("a reset in the middle of the request", Met::ResetInRequest, AGAIN, false),
        met("TLS: a reset instead of a handshake", Met::NoHandshake, AGAIN, false),
        met("TLS: nothing newer than HTTP/1.1", Met::OldHttp, "delivered", false),
        met("HTTP/2", Met::Http2(First::Served), "delivered", false),
        met("HTTP/2: REFUSED_STREAM", Met::Http2(First::Refused), "delivered", false),
        met(
            "HTTP/2: GOAWAY that lets the request come to its end",
            Met::Http2(First::Draining),
            "delivered",
            false,
        ),
        met("HTTP/2: GOAWAY in the middle of the request", Met::Http2(First::GoneAway), AGAIN, false),
        met("HTTP/2: a stream that is reset with an error", Met::Http2(First::CutOff), AGAIN, false),
        met("the proxy dies", Met::ProxyDies, AGAIN, false),
        met("an answer that is cut off", Met::CutBody, AGAIN, false),
        Line {
            times: 9,
            ..met("refused for the ninth time", Met::Refused, "waits 30 s after 9 failed tries", true)
        },
        // nothing but a look of somebody mends it; a proxy that restarts is given a second try
        Line { times: 2, ..met("TLS: an unknown issuer", Met::UnknownIssuer, PAUSED, true) },
        Line { times: 2, ..met("TLS: an expired certificate", Met::Expired, PAUSED, true) },
        Line { times: 2, ..met("TLS: the certificate of another name", Met::OtherName, PAUSED, true) },
        Line {
            times: 2,
            ..met("407 of the proxy, before Chat is reached", Met::ProxyWantsCredentials, PAUSED, true)
        },
        met("the token endpoint: invalid_grant", Met::Token(400, grant), PAUSED, true),
        met(
            "the token endpoint: invalid_scope",
            Met::Token(400, r#"{"error":"invalid_scope"}"#),
            PAUSED,
            true,
        ),
        met("the token endpoint: 401", Met::Token(401, r#"{"error":"invalid_client"}"#), PAUSED, true),
        met(
            "the token endpoint: 400 that passes",
            Met::Token(400, r#"{"error":"server_error"}"#),
            AGAIN,
            false,
        ),
        met("the token endpoint: 200 without a token", Met::Token(200, "{}"), AGAIN, false),
        met("the token endpoint: 200 of a portal", Met::Token(200, HTML), AGAIN, false),
    ];
    for status in [403, 408, 429, 500, 502, 503, 504] {
        table.push(met("the token endpoint in trouble", Met::Token(status, ""), AGAIN, false));
    }
    table
}

async fn outcome(line: &Line) -> Outcome {
    let edit = matches!(line.comes, Comes::Edit(_));
    let (rest, (status, body, retry_after)) = match line.comes {
        Comes::Answer { rest, said } => (rest, said),
        Comes::Edit(said) => (REST, said),
        Comes::Met(met) => return crate::chat::faults::outcome(met).await,
    };
    let caller = Caller { client_email: Some("bot@p.example".into()), project_id: Some("p".into()) };
    let door = if rest { Door::Rest(caller) } else { Door::Webhook };
    let cut = body.ends_with("messa");
    let answer = Answer { status, retry_after, date: None, body: body.as_bytes(), cut };
    classify(&Ask { door: &door, space: "spaces/AAAA", plain: false, edit, at: Wall(0) }, &answer)
}

/// Answers the same every time.
struct Always(Mutex<Outcome>);

impl Transport for Always {
    async fn post(&self, _: &OutboxRow) -> Outcome {
        self.0.lock().unwrap().clone()
    }
}

/// What the worker reports after `times` tries of `row`, all of which came to `outcome`.
async fn decided(outcome: Outcome, row: OutboxRow, times: usize) -> Vec<(Tick, Report)> {
    tokio::time::pause();
    let begin = tokio::time::Instant::now();
    let now = move || Now { wall: row_born(), tick: Tick(0) }.plus(begin.elapsed());
    let (hand, in_hand) = watch::channel(None);
    let (tell, mut reports) = mpsc::channel(64);
    // about the longest that jitter makes of a wait, whatever that is
    let longest = || 300_000;
    let stop = CancellationToken::new();
    let row = OutboxRow { born: row_born(), due: Tick(0), ..row };
    hand.send(Some(row)).unwrap();
    let work =
        worker(Always(Mutex::new(outcome)), now, in_hand, tell, stop.clone(), Pace::chat(Tick(0)), longest);
    let listen = async {
        let mut heard = Vec::new();
        while heard.len() < times {
            let report: Report = reports.recv().await.unwrap();
            heard.push((now().tick, report));
        }
        stop.cancel();
        heard
    };
    let (_, heard) = tokio::join!(work, listen);
    tokio::time::resume();
    heard
}

fn row_born() -> Wall {
    Wall(1_795_334_400_000)
}

#[tokio::test]
async fn every_outcome_has_its_row_in_the_table() {
    for line in table().into_iter().chain(edits()).chain(network()) {
        let mut office = office(&[]);
        if let Comes::Edit(_) = line.comes {
            office.edits_an_opening().await;
        } else {
            office.say("trouble", Severity::Error).await;
        }
        let row = office.in_hand();
        let mut shown = String::new();
        for (at, report) in decided(outcome(&line).await, row.clone(), line.times).await {
            shown = match &report.event {
                Event::Paused { due, .. } => {
                    format!("waits for its space, paused for {} s", due.since(at).as_secs())
                }
                Event::Retrying { tries, due, .. } => {
                    let plural = if *tries == 1 { "try" } else { "tries" };
                    format!("waits {} s after {tries} failed {plural}", due.since(at).as_secs_f64().round())
                }
                _ => String::new(),
            };
            let tries = match report.event {
                Event::Retrying { tries, .. } | Event::Paused { tries, .. } => tries,
                _ => 0,
            };
            office.hears(&row, report.event).await;
            if let Some(kept) = office.desk.store.outbox().await.unwrap().iter().find(|r| r.id == row.id) {
                assert_eq!(kept.tries, tries, "{}", line.name);
                assert!(kept.last_error.is_some(), "{}", line.name);
            }
        }
        let waiting = office.desk.store.outbox().await.unwrap();
        let ours: Vec<_> = waiting.iter().filter(|r| r.message == row.message).collect();
        let became = match ours.as_slice() {
            [] => "delivered".to_owned(),
            [kept] if kept.id == row.id => {
                let letter = office.desk.store.letter(row.id.clone()).await.unwrap().unwrap();
                assert_eq!((&letter.row.body, &letter.row.draft), (&row.body, &row.draft), "{}", line.name);
                shown
            }
            [plain] if plain.plain && plain.edit == row.draft.edits.is_some() => PLAIN.to_owned(),
            [anew] if row.draft.edits.is_some() && !anew.edit => ANEW.to_owned(),
            other => panic!("{}: {other:?}", line.name),
        };
        assert_eq!(became, line.row, "{}: {:?}", line.name, line.comes);
        let told = office.waiting("boss").await;
        assert_eq!(!told.is_empty(), line.told, "{}: {told:?}", line.name);
        assert_eq!(office.desk.store.dead_letters().await.unwrap(), [], "{}", line.name);
    }
}
