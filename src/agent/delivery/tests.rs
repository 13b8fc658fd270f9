//! The table of every outcome: what Chat, or whatever stands between, may answer, what the network, TLS and the token endpoint
//! may do, and what becomes of the row.
//!
//! Each line of the table goes all the way that an answer goes in the running agent: `chat` classifies it, the worker
//! decides, the desk commits, and the outbox is asked what it holds. Time is tokio's and paused while the worker waits.

use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::alert::What;
use crate::chat::faults::Met;
use crate::chat::{Answer, Ask, Caller, Door, Outcome, classify};
use crate::deliver::{Pace, Transport, worker};
use crate::hit::{Hit, RuleNo};
use crate::judge::{Judge, Policy, RulePolicy, SpacePolicy};
use crate::redact::Redactor;
use crate::store::{Store, channel, run};
use crate::time::{Clock, Tick, Wall};

use super::super::desk::{Worker, Workers};
use super::super::letters::Which;

const OURS: &str = r#"{"name":"spaces/AAAA/messages/B.C"}"#;
const HTML: &str = "<html>please log in</html>";

/// An answer: status, body, `Retry-After`.
type Said = (u16, &'static str, Option<&'static str>);

/// What a try comes to.
#[derive(Clone, Copy, Debug)]
enum Comes {
    /// To an answer, of REST or of a webhook.
    Answer { rest: bool, said: Said },
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

const fn met(name: &'static str, met: Met, row: &'static str, told: bool) -> Line {
    Line { name, comes: Comes::Met(met), times: 1, row, told }
}

const REST: bool = true;
const HOOK: bool = false;

const AGAIN: &str = "waits 1 s after 1 failed try";
const PAUSED: &str = "waits for its space, paused for 300 s";
const PLAIN: &str = "a plain form waits instead";

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
                "waits 300 s after 12 failed tries",
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
        met("an answer that is cut off", Met::CutBody, AGAIN, false),
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
    let (rest, (status, body, retry_after)) = match line.comes {
        Comes::Answer { rest, said } => (rest, said),
        Comes::Met(met) => return crate::chat::faults::outcome(met).await,
    };
    let caller = Caller { client_email: Some("bot@p.example".into()), project_id: Some("p".into()) };
    let door = if rest { Door::Rest(caller) } else { Door::Webhook };
    let cut = body.ends_with("messa");
    let answer = Answer { status, retry_after, date: None, body: body.as_bytes(), cut };
    classify(&Ask { door: &door, space: "spaces/AAAA", plain: false, edit: false, at: Wall(0) }, &answer)
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
    // the longest that jitter makes of a wait, whatever that is
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

/// Spaces that are told at once, of which the first is the admin's.
pub(in super::super) fn policy(spaces: &[&str]) -> Policy {
    let space = |name: &&str| SpacePolicy {
        name: (*name).into(),
        wait: Duration::ZERO,
        wait_at_most: Duration::ZERO,
        max_per_hour: 3600,
        digest_every: Duration::from_secs(600),
        mention: std::collections::BTreeMap::new(),
        edit: false,
    };
    Policy {
        rules: Vec::new(),
        spaces: spaces.iter().map(space).collect(),
        admin: spaces[0].into(),
        host: "h".into(),
        redactor: Redactor::default(),
        late_after: Duration::from_secs(3600),
        memory: crate::judge::MEMORY,
        alive: None,
        mutes: Vec::new(),
    }
}

/// A desk with two spaces, and what was put into the hands of their workers.
struct Office {
    desk: Desk,
    _hands: Vec<crate::deliver::Hand>,
    _dir: tempfile::TempDir,
}

fn office(fallbacks: &[(&str, &str)]) -> Office {
    let dir = tempfile::tempdir().unwrap();
    let (store, opened) = Store::open(dir.path()).unwrap();
    let (handle, inbox) = channel();
    #[expect(clippy::disallowed_methods, reason = "a test is its own pipeline")]
    std::thread::spawn(move || run(store, inbox));
    let clock = Clock::continuing(opened.last);
    let (judge, _) = Judge::new(policy(&["boss", "ops"]), opened.state, opened.install, clock.now());
    let mut workers = Workers::default();
    let mut hands = Vec::new();
    for space in ["boss", "ops"] {
        let (hand, in_hand) = watch::channel(None);
        hands.push(in_hand);
        workers.named.insert(space.into());
        workers.at_work.insert(space.into(), Worker { hand, console: false });
    }
    workers.fallbacks = fallbacks.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect();
    Office { desk: Desk::new(judge, handle, clock, workers), _hands: hands, _dir: dir }
}

impl Office {
    /// A message for `ops` is committed and in its worker's hand.
    pub(in super::super) async fn say(&mut self, text: &str, severity: Severity) {
        let about = text.to_owned();
        let space = Some("ops".into());
        let notice = Notice { about, severity, text: text.into(), hint: None, space };
        let now = self.desk.clock.now();
        self.desk.tell(notice, now);
        self.desk.commit(BTreeSet::new()).await.unwrap();
    }

    pub(in super::super) fn in_hand(&self) -> OutboxRow {
        self.desk.in_hand["ops"].clone()
    }

    /// What the worker of `ops` says of its row.
    pub(in super::super) async fn hears(&mut self, row: &OutboxRow, event: Event) {
        let (space, message) = (row.space.clone(), row.message);
        let report = Report { space, row: row.id.clone(), message, next_write: Tick(0), event };
        self.desk.outcome(report).await.unwrap();
        self.desk.commit(BTreeSet::new()).await.unwrap();
    }

    /// Texts of what waits for a space, in order.
    pub(in super::super) async fn waiting(&self, space: &str) -> Vec<String> {
        let rows = self.desk.store.waiting(space.into(), Wall(i64::MAX), 1000).await.unwrap();
        rows.iter().map(|row| row.draft.alerts.iter().map(|a| a.text.as_str()).collect()).collect()
    }
}

#[tokio::test]
async fn every_outcome_has_its_row_in_the_table() {
    for line in table().into_iter().chain(network()) {
        let mut office = office(&[]);
        office.say("trouble", Severity::Error).await;
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
            [plain] if plain.plain => PLAIN.to_owned(),
            other => panic!("{}: {other:?}", line.name),
        };
        assert_eq!(became, line.row, "{}: {:?}", line.name, line.comes);
        let told = office.waiting("boss").await;
        assert_eq!(!told.is_empty(), line.told, "{}: {told:?}", line.name);
        assert_eq!(office.desk.store.dead_letters().await.unwrap(), [], "{}", line.name);
    }
}

#[tokio::test]
async fn a_plain_form_that_is_refused_too_is_a_dead_letter_and_told() {
    let mut office = office(&[]);
    office.say("trouble", Severity::Error).await;
    let (card, why) = (office.in_hand(), || "400 INVALID_ARGUMENT".to_owned());
    office.hears(&card, Event::Refused { why: why(), resend_plain: true }).await;
    let plain = office.in_hand();
    assert!(plain.plain && plain.id != card.id && plain.body != card.body);
    office.hears(&plain, Event::Refused { why: why(), resend_plain: false }).await;
    let dead = office.desk.store.dead_letters().await.unwrap();
    assert_eq!(dead.iter().map(|d| &d.id).collect::<Vec<_>>(), [&plain.id]);
    assert_eq!(
        office.waiting("boss").await,
        ["the space `ops` refused a message for good: 400 INVALID_ARGUMENT"]
    );
    assert!(office.waiting("ops").await.is_empty());
}

#[tokio::test]
async fn a_trouble_is_told_once_and_its_end_once() {
    let mut office = office(&[]);
    let troubles = office.desk.troubles.subscribe();
    office.say("trouble", Severity::Error).await;
    let row = office.in_hand();
    let retrying = |tries| Event::Retrying { tries, due: Tick(0), why: "503".into() };
    for tries in 1..=9 {
        office.hears(&row, retrying(tries)).await;
        assert_eq!(office.waiting("boss").await.len(), usize::from(tries >= 3), "after {tries} tries");
    }
    assert_eq!(*troubles.borrow(), "space `ops` retrying: 503");
    let hint = || "mend it".to_owned();
    let paused = |tries| Event::Paused { tries, due: Tick(0), why: "403".into(), hint: hint() };
    office.hears(&row, paused(10)).await;
    office.hears(&row, paused(11)).await;
    assert_eq!(*troubles.borrow(), "space `ops` paused: 403");
    office.hears(&row, Event::Resumed).await;
    office.hears(&row, Event::Delivered).await;
    assert_eq!(*troubles.borrow(), "");
    assert_eq!(
        office.waiting("boss").await,
        [
            "the space `ops` takes no messages, they are kept and tried again: 503",
            "the space `ops` is paused and its messages wait: 403",
            "the space `ops` takes messages again",
        ]
    );
}

#[tokio::test]
async fn a_critical_message_goes_before_the_one_in_hand_which_comes_back_after_it() {
    let mut office = office(&[]);
    office.say("mild", Severity::Warning).await;
    office.say("also mild", Severity::Error).await;
    let mild = office.in_hand();
    office.say("urgent", Severity::Critical).await;
    let urgent = office.in_hand();
    assert_eq!(urgent.severity, Severity::Critical);
    // the first was on its way all the same, and comes to its end
    office.hears(&mild, Event::Retrying { tries: 1, due: Tick(0), why: "503".into() }).await;
    assert_eq!(office.in_hand().id, urgent.id);
    office.hears(&urgent, Event::Delivered).await;
    assert_eq!(office.in_hand().id, mild.id);
    assert_eq!(office.waiting("ops").await, ["mild", "also mild"]);
}

#[tokio::test]
async fn what_waits_in_a_long_queue_is_told_as_one_and_what_was_tried_stays_as_it_is() {
    let mut office = office(&[]);
    office.say("first", Severity::Error).await;
    let first = office.in_hand();
    office.hears(&first, Event::Retrying { tries: 1, due: Tick(0), why: "503".into() }).await;
    for n in 1..=200 {
        office.say(&format!("alert {n}"), Severity::Error).await;
    }
    office.say("urgent", Severity::Critical).await;
    let waiting = office.waiting("ops").await;
    assert!(waiting.len() <= 25, "{} messages wait", waiting.len());
    assert_eq!((waiting[0].as_str(), waiting.last().unwrap().as_str()), ("first", "urgent"));
    // each alert is listed, or counted where a list was cut
    let rows = office.desk.store.waiting("ops".into(), Wall(i64::MAX), 1000).await.unwrap();
    let told = |row: &OutboxRow| -> u64 {
        let of = |a: &crate::alert::Alert| if a.what == What::Digest { a.incidents } else { 1 };
        row.draft.alerts.iter().map(of).sum()
    };
    assert_eq!(rows.iter().map(told).sum::<u64>(), 202);
    // the judge's books know of no message that is not in the outbox
    let known: BTreeSet<MessageNo> = rows.iter().map(|r| r.message).collect();
    assert_eq!(office.desk.judge.unsettled().collect::<BTreeSet<_>>(), known);
}

#[tokio::test]
async fn what_has_waited_for_a_day_is_told_as_old_and_kept_as_dead_letters() {
    let mut office = office(&[]);
    office.say("first", Severity::Error).await;
    office.say("second", Severity::Warning).await;
    let first = office.in_hand();
    office.hears(&first, Event::Expired { why: "503".into() }).await;
    let waiting = office.waiting("ops").await;
    let [second, summary] = &waiting[..] else { panic!("not two messages: {waiting:?}") };
    assert_eq!(second, "second", "it is young enough");
    assert!(summary.starts_with("1 alert of ") && summary.contains(" not sent in time\n"), "{summary}");
    assert!(summary.ends_with("first"), "{summary}");
    let dead = office.desk.store.dead_letters().await.unwrap();
    assert_eq!(dead[0].id, first.id);
    assert_eq!(dead[0].last_error.as_deref(), Some("not sent in time: 503"));
}

#[tokio::test]
async fn a_space_in_trouble_is_stood_in_for_once_a_message_and_keeps_its_own() {
    let mut office = office(&[("ops", "boss")]);
    office.say("first", Severity::Error).await;
    office.say("second", Severity::Error).await;
    let first = office.in_hand();
    let paused = |tries| Event::Paused { tries, due: Tick(0), why: "404".into(), hint: "mend it".into() };
    office.hears(&first, paused(1)).await;
    office.say("third", Severity::Error).await;
    office.hears(&first, paused(2)).await;
    let copy = |text: &str| format!("{text}\nfor the space `ops`, which cannot be reached");
    let told = office.waiting("boss").await;
    assert_eq!(told[1..], [copy("first"), copy("second"), copy("third")], "{told:?}");
    assert_eq!(office.waiting("ops").await, ["first", "second", "third"]);
    office.hears(&first, Event::Resumed).await;
    office.hears(&first, Event::Delivered).await;
    office.say("fourth", Severity::Error).await;
    assert_eq!(office.waiting("ops").await, ["second", "third", "fourth"]);
    assert_eq!(office.waiting("boss").await.len(), 5, "the trouble, three copies, and that it is over");
}

impl Office {
    /// From now on `ops` has its messages edited, and a rule speaks to it; one line of it is hit.
    async fn edits(&mut self) {
        let mut policy = policy(&["boss", "ops"]);
        policy.spaces[1].edit = true;
        policy.rules = vec![RulePolicy { spaces: vec!["ops".into()], ..RulePolicy::named("trouble") }];
        self.input(Input::Policy(Box::new(policy)), 0).await;
    }

    async fn hit(&mut self, later: u64) {
        let now = self.desk.clock.now();
        let hit = Hit {
            rule: RuleNo(0),
            resolves: None,
            key: Box::new([]),
            captures: [].into(),
            stamp: None,
            read: now,
            line: "trouble".into(),
            context: None,
            file: "/var/log/x.log".into(),
            file_no: 1,
            backlog: false,
        };
        self.input(Input::Hits(vec![hit].into()), later).await;
    }

    /// So many seconds from now the judge is told this, and what it says is committed.
    async fn input(&mut self, input: Input, later: u64) {
        let now = self.desk.clock.now().plus(Duration::from_secs(later));
        let said = self.desk.judge.apply(input, now);
        self.desk.say(said);
        self.desk.commit(BTreeSet::new()).await.unwrap();
    }
}

#[tokio::test]
async fn an_edit_goes_last_gives_way_to_a_newer_one_and_is_a_message_of_its_own_where_there_is_none() {
    let mut office = office(&[]);
    office.edits().await;
    office.hit(0).await;
    let opening = office.in_hand();
    office.hears(&opening, Event::Delivered).await;
    office.hit(1).await;
    office.input(Input::Timer, 60).await;
    let edit = office.in_hand();
    assert_eq!(edit.draft.edits.as_ref(), Some(&opening.id));
    assert!(!edit.body.contains("threadKey"), "{}", edit.body);

    office.hit(61).await;
    office.input(Input::Timer, 120).await;
    let newer = office.in_hand();
    let waiting = office.desk.store.outbox().await.unwrap();
    assert_eq!(waiting.iter().map(|r| &r.id).collect::<Vec<_>>(), [&newer.id], "never two of a message");
    assert!(newer.id != edit.id && newer.due >= edit.due + EDIT_EVERY, "the older one may be on its way");
    // it was: nobody waits for what became of it
    office.hears(&edit, Event::Gone { why: "404".into() }).await;
    assert_eq!(office.in_hand().id, newer.id);

    office.say("mild", Severity::Info).await;
    let mild = office.in_hand();
    assert_eq!(mild.severity, Severity::Info, "whatever it is, it goes before an edit");
    office.hears(&mild, Event::Delivered).await;
    assert_eq!(office.in_hand().id, newer.id);

    office.hears(&newer, Event::Gone { why: "404".into() }).await;
    let anew = office.in_hand();
    assert_eq!((anew.message, &anew.draft.edits), (newer.message, &None));
    assert!(anew.body.contains(&format!("\"threadKey\":\"{}\"", opening.draft.thread)), "{}", anew.body);
    office.hit(121).await;
    office.input(Input::Timer, 180).await;
    assert_eq!(office.in_hand().id, anew.id, "nothing edits what is not there yet");
    office.hears(&anew, Event::Delivered).await;
    office.input(Input::Timer, 240).await;
    let edit = office.in_hand();
    assert_eq!(edit.draft.edits.as_ref(), Some(&anew.id));
    office.hears(&edit, Event::Delivered).await;
    let ledger = office.desk.judge.report(office.desk.clock.now()).rules["trouble"].ledger;
    assert_eq!((ledger.hits, ledger.shown, ledger.told), (4, 1, 3));
}

#[tokio::test]
async fn an_edit_that_is_refused_is_plain_first_and_then_a_dead_letter_that_edits_when_it_is_tried_again() {
    let mut office = office(&[]);
    office.edits().await;
    office.hit(0).await;
    let opening = office.in_hand();
    office.hears(&opening, Event::Delivered).await;
    office.hit(1).await;
    office.input(Input::Timer, 60).await;
    let why = || "400 INVALID_ARGUMENT".to_owned();
    let card = office.in_hand();
    office.hears(&card, Event::Refused { why: why(), resend_plain: true }).await;
    let plain = office.in_hand();
    assert!(plain.plain && plain.draft.edits.as_ref() == Some(&opening.id), "{plain:?}");
    office.hears(&plain, Event::Refused { why: why(), resend_plain: false }).await;
    assert_eq!(office.desk.store.dead_letters().await.unwrap().len(), 1);
    office.input(Input::Timer, 7200).await;
    let which = Which { all: true, ..Which::default() };
    let now = office.desk.clock.now();
    office.desk.retry(which, now).await.unwrap().unwrap();
    let again = office.in_hand();
    assert_eq!((&again.id, again.draft.edits.as_ref()), (&plain.id, Some(&opening.id)));
}
