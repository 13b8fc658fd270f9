//! The client and the worker against a strict Chat server over real HTTP.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use logherald::alert::{Alert, AlertNo, Severity, What};
use logherald::chat::{
    Client, ClientError, Keyring, Outcome, Screen, SecretSource, Surface, Target, TokenWay, Watch, Way, draw,
    render,
};
use logherald::deliver::{Event, Pace, Report, worker};
use logherald::message::{Message, MessageNo, OutboxRow, RowId};
use logherald::time::{Clock, Now, Tick, Wall};
use tokio::io::AsyncReadExt as _;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::harness::fake_chat::{Came, FakeChat, Fault, Received};

/// Longer than anything here takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

struct Bench {
    chat: FakeChat,
    dir: tempfile::TempDir,
}

/// Clients alone, without the workers that keep the pace.
fn bench() -> Bench {
    let b = paced();
    b.chat.without_pace();
    b
}

fn paced() -> Bench {
    Bench { chat: FakeChat::start(), dir: tempfile::tempdir().unwrap() }
}

fn watch() -> Watch {
    let clock = Clock::continuing(None);
    Arc::new(move || clock.now())
}

/// A clock that can be moved: what durations are measured by, and what the calendar says, each for itself.
#[derive(Clone, Default)]
struct Hands {
    seconds: Arc<AtomicU64>,
    wrong_by: Arc<AtomicI64>,
}

impl Hands {
    fn watch(&self) -> Watch {
        let (hands, watch) = (self.clone(), watch());
        Arc::new(move || {
            let Now { wall, tick } = watch();
            let wall = Wall(wall.0 + hands.wrong_by.load(Ordering::Relaxed) * 1000);
            Now { wall, tick: tick + Duration::from_secs(hands.seconds.load(Ordering::Relaxed)) }
        })
    }

    fn pass(&self, seconds: u64) {
        self.seconds.fetch_add(seconds, Ordering::Relaxed);
    }
}

fn no_screen() -> Arc<Screen> {
    Arc::new(Screen::new(Box::new(tokio::io::sink()), false))
}

impl Bench {
    fn secret(&self, text: &str) -> SecretSource {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.dir.path().join("secret");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        SecretSource::File(path)
    }

    fn webhook_at(&self, url: &str) -> Client {
        let target = Target { name: "ops".into(), way: Way::Webhook(self.secret(url)) };
        Client::new(&target, watch(), &no_screen(), &Keyring::default()).unwrap()
    }

    fn webhook(&self) -> Client {
        self.webhook_at(&self.chat.webhook_url("AAAA"))
    }

    fn try_rest(&self, key: PathBuf, token: TokenWay) -> Result<Client, ClientError> {
        self.rest_in("AAAA", key, token, watch(), &Keyring::default())
    }

    fn rest_in(
        &self,
        space: &str,
        key: PathBuf,
        token: TokenWay,
        watch: Watch,
        keyring: &Keyring,
    ) -> Result<Client, ClientError> {
        let space = self.chat.add_space(space);
        let api_url = self.chat.base_url();
        let way = Way::Rest { space, key: Some(SecretSource::File(key)), token, api_url };
        Client::new(&Target { name: "ops".into(), way }, watch, &no_screen(), keyring)
    }

    /// The REST API by exchanged tokens and a clock that can be moved.
    fn exchanging(&self, hands: &Hands) -> Client {
        let key = self.chat.key_file(self.dir.path());
        self.rest_in("AAAA", key, TokenWay::Exchange, hands.watch(), &Keyring::default()).unwrap()
    }

    fn rest(&self, token: TokenWay) -> Client {
        self.try_rest(self.chat.key_file(self.dir.path()), token).unwrap()
    }
}

fn row(n: u8) -> OutboxRow {
    let alert = Alert {
        no: AlertNo(u64::from(n)),
        what: What::Opening,
        rule: "disk-full".into(),
        severity: Severity::Error,
        key: vec![],
        text: "<users/all> No space left on device".into(),
        hits: u64::from(n),
        total: u64::from(n),
        incidents: 1,
        first: Wall(0),
        last: Wall(0),
        samples: vec![],
        runbook: None,
        held: vec![],
        hint: None,
    };
    let draft = Message {
        no: MessageNo(u64::from(n)),
        space: "ops".into(),
        thread: format!("t-{n}"),
        host: "web1".into(),
        severity: Severity::Error,
        alerts: vec![alert],
        at: Wall(0),
        mention: Vec::new(),
        edits: None,
    };
    OutboxRow {
        id: RowId::from_random([n; 16]),
        space: "ops".into(),
        message: draft.no,
        severity: draft.severity,
        body: render(&draft, Surface::Card).into(),
        draft: Arc::new(draft),
        plain: false,
        born: watch()().wall,
        tries: 0,
        due: Tick(0),
        last_error: None,
    }
}

/// What an outcome says, as an operator reads it.
fn said(outcome: Outcome) -> String {
    match outcome {
        Outcome::Delivered { .. } => "delivered".into(),
        Outcome::Retry { why, .. } | Outcome::Unanswered { why } => format!("retry: {why}"),
        Outcome::Slow { why, after } => format!("slow: {why}, after {after:?}"),
        Outcome::Pause { why, hint, .. } => format!("pause: {why}\nhint: {hint}"),
        Outcome::Gone { why } => format!("gone: {why}"),
        Outcome::Refused { why, resend_plain } => format!("refused: {why}, plain: {resend_plain}"),
    }
}

fn delivered(name: &str, thread: &str) -> Outcome {
    Outcome::Delivered { name: Some(name.into()), thread: Some(thread.into()) }
}

#[tokio::test]
async fn a_webhook_takes_a_card_in_its_thread_under_its_id() {
    let b = bench();
    let got = b.webhook().post(&row(1)).await;
    assert_eq!(got, delivered("spaces/AAAA/messages/M0.M0", "spaces/AAAA/threads/t-1"));
    let [m] = &b.chat.messages("AAAA")[..] else { panic!("not one message") };
    assert_eq!((m.came, m.thread.as_deref(), m.hits()), (Came::Webhook, Some("t-1"), 1));
    assert_eq!(
        (m.request_id.as_str(), m.id.as_str()),
        (&*"01".repeat(16), &*format!("client-{}", "01".repeat(16)))
    );
    assert!(m.shown().contains("&lt;users/all&gt; No space left"), "{}", m.shown());
    assert_eq!(m.raw, *row(1).body);
    assert_eq!(b.chat.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn rest_takes_a_self_signed_token() {
    let b = bench();
    assert_eq!(said(b.rest(TokenWay::Auto).post(&row(1)).await), "delivered");
    assert_eq!(b.chat.messages("AAAA")[0].came, Came::SelfSigned);
    assert_eq!(b.chat.tokens_granted(), 0);
}

#[tokio::test]
async fn where_self_signed_is_refused_the_exchange_is_found_and_remembered() {
    let b = bench();
    b.chat.refuse_self_signed();
    let client = b.rest(TokenWay::Auto);
    for n in 1..=3 {
        assert_eq!(said(client.post(&row(n)).await), "delivered");
    }
    assert!(b.chat.messages("AAAA").iter().all(|m| m.came == Came::Exchanged));
    assert_eq!(b.chat.tokens_granted(), 1);
    // one 401, one token, three messages
    assert_eq!(b.chat.attempts().len(), 5);
}

#[tokio::test]
async fn a_token_revoked_early_is_made_anew() {
    let b = bench();
    let client = b.rest(TokenWay::Exchange);
    assert_eq!(said(client.post(&row(1)).await), "delivered");
    b.chat.revoke_tokens();
    assert_eq!(said(client.post(&row(2)).await), "delivered");
    assert_eq!(b.chat.tokens_granted(), 2);
}

#[tokio::test]
async fn self_signed_alone_is_not_exchanged() {
    let b = bench();
    b.chat.refuse_self_signed();
    assert_eq!(
        said(b.rest(TokenWay::SelfSigned).post(&row(1)).await),
        "pause: 401 UNAUTHENTICATED: Request had invalid authentication credentials.\n\
         hint: see that service account `bot@proj-1.iam.gserviceaccount.com` is enabled and its key not revoked"
    );
    assert_eq!(b.chat.tokens_granted(), 0);
}

#[tokio::test]
async fn a_revoked_key_says_so() {
    let b = bench();
    let client = b.try_rest(b.chat.revoked_key(b.dir.path()), TokenWay::Auto).unwrap();
    assert_eq!(
        said(client.post(&row(1)).await),
        "pause: the token endpoint `127.0.0.1` answered 400 invalid_grant: Invalid JWT: InvalidSignature\n\
         hint: the key was deleted, or is no key of service account `bot@proj-1.iam.gserviceaccount.com`: make a new \
         JSON key for it in project `proj-1`, and store the file as it is"
    );
}

#[tokio::test]
async fn a_key_for_another_project_names_the_place_and_the_remedy() {
    let b = bench();
    let client = b.try_rest(b.chat.key_of_another_project(b.dir.path()), TokenWay::Auto).unwrap();
    assert_eq!(
        said(client.post(&row(1)).await),
        "pause: 403 PERMISSION_DENIED: The caller does not have permission\n\
         hint: add the Chat app of project `proj-2` (service account `bot@proj-2.iam.gserviceaccount.com`) to \
         `spaces/AAAA`; or is this the key of another project?"
    );
}

#[tokio::test]
async fn an_unknown_space_and_a_wrong_webhook_name_the_remedy() {
    let b = bench();
    let rest = b.rest(TokenWay::Auto);
    b.chat.remove_space("AAAA");
    assert_eq!(
        said(rest.post(&row(1)).await),
        "pause: 404 NOT_FOUND: Space not found.\n\
         hint: see that `spaces/AAAA` is right and that the Chat app of project `proj-1` is a member of it"
    );
    let good = b.chat.webhook_url("AAAA");
    assert_eq!(
        said(b.webhook_at(&good.replace("token=tok", "token=not")).post(&row(1)).await),
        "pause: 403 PERMISSION_DENIED: The caller does not have permission\n\
         hint: make a new webhook in the space's settings and store its URL: its `token` is wrong, it was taken away, \
         or webhooks are forbidden there"
    );
    assert_eq!(
        said(b.webhook_at(&good.replace("key=AIza", "key=Aiza")).post(&row(1)).await),
        "pause: 400 INVALID_ARGUMENT: API key not valid. Please pass a valid API key.\n\
         hint: make a new webhook in the space's settings and store its URL: its `key` is not valid"
    );
}

#[tokio::test]
async fn a_reset_after_it_was_stored_does_not_send_it_twice() {
    let b = bench();
    for client in [b.webhook(), b.rest(TokenWay::Auto)] {
        let n = b.chat.all_messages().len() as u8 + 1;
        b.chat.next(Fault::ResetAfter);
        let lost = said(client.post(&row(n)).await);
        assert!(lost.starts_with("retry: the connection to `127.0.0.1` broke before the answer"), "{lost}");
        assert_eq!(said(client.post(&row(n)).await), "delivered");
    }
    assert!(b.chat.messages("AAAA").iter().all(|m| m.times == 2));
    assert_eq!(b.chat.messages("AAAA").len(), 2);
    assert_eq!(b.chat.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn our_id_taken_already_is_a_delivery() {
    let b = bench();
    b.chat.forget_request_ids();
    let webhook = b.webhook();
    assert_eq!(said(webhook.post(&row(1)).await), "delivered");
    assert_eq!(webhook.post(&row(1)).await, Outcome::Delivered { name: None, thread: None });
    let rest = b.rest(TokenWay::Auto);
    assert_eq!(
        rest.post(&row(1)).await,
        delivered("spaces/AAAA/messages/M0.M0", "spaces/AAAA/threads/t-1"),
        "asked by its id, and found"
    );
    assert!(b.chat.attempts().last().unwrap().line.starts_with("GET /v1/spaces/AAAA/messages/client-0101"));
    assert_eq!(b.chat.messages("AAAA").len(), 1);
}

#[tokio::test]
async fn an_answer_that_is_no_message_of_ours_is_no_delivery() {
    let b = bench();
    let webhook = b.webhook();
    let portal = "retry: 200, but not from Chat: look for a proxy or portal in between";
    let cut = "retry: 200, but the answer broke off";
    let other = "retry: 200, but for `spaces/ZAAAA/messages/M3.M3` and not a message in `spaces/AAAA`";
    for (n, fault, want) in [
        (1, Fault::html(), portal),
        (2, Fault::Truncate, cut),
        (3, Fault::Endless, cut),
        (4, Fault::WrongSpace, other),
        (5, Fault::status(200), portal),
        (6, Fault::status(503), "retry: 503"),
    ] {
        b.chat.next(fault);
        assert_eq!(said(webhook.post(&row(n)).await), want);
        assert_eq!(said(webhook.post(&row(n)).await), "delivered");
    }
    assert_eq!(b.chat.messages("AAAA").len(), 6);
    assert_eq!(b.chat.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn the_server_is_strict() {
    let b = bench();
    let webhook = b.webhook();
    let changed = |from: &str, to: &str| OutboxRow { body: row(1).body.replace(from, to).into(), ..row(1) };
    for (from, to, want) in [
        (
            "wrapText",
            "wrap_text",
            "Unknown name \"wrap_text\" at 'message.cardsV2[0].card.sections[0].widgets[0].decoratedText'",
        ),
        ("fallbackText", "formattedText", "Unknown name \"formattedText\" at 'message'"),
        ("\"wrapText\":true", "\"wrapText\":\"yes\"", "Invalid value at"),
        ("{", "", "Invalid JSON payload received."),
    ] {
        let got = said(webhook.post(&changed(from, to)).await);
        assert!(got.starts_with("refused: 400 INVALID_ARGUMENT: ") && got.contains(want), "{got}");
    }
    let odd_id = OutboxRow { id: RowId("UPPER".into()), ..row(1) };
    assert_eq!(
        said(webhook.post(&odd_id).await),
        "refused: 400 INVALID_ARGUMENT: Invalid message id `client-UPPER`, plain: true"
    );
    assert_eq!(said(webhook.post(&row(1)).await), "delivered");
    assert_eq!(said(webhook.post(&changed("disk-full", "disk-empty")).await), "delivered");
    assert_eq!(b.chat.violations().len(), 6);
    assert!(b.chat.violations()[5].starts_with("one id with two bodies: client-0101"));
}

#[tokio::test]
async fn a_request_given_up_in_flight_is_sent_again_under_its_id() {
    let b = bench();
    let webhook = b.webhook();
    b.chat.next(Fault::Stall);
    let first = row(1);
    tokio::select! {
        outcome = webhook.post(&first) => panic!("a stalled request was answered: {outcome:?}"),
        () = async { while b.chat.attempts().is_empty() { tokio::task::yield_now().await } } => {}
    }
    assert_eq!(b.chat.wait_for_attempts(1, DEADLINE)[0].status, 0);
    assert_eq!(said(webhook.post(&first).await), "delivered");
    assert_eq!(b.chat.wait_for(1, DEADLINE)[0].times, 2);
}

#[tokio::test]
async fn after_an_outage_the_same_row_goes_through() {
    let b = bench();
    let webhook = b.webhook();
    b.chat.outage(true);
    let lost = said(webhook.post(&row(1)).await);
    assert!(lost.starts_with("retry: the connection to `127.0.0.1` broke before the answer"), "{lost}");
    b.chat.outage(false);
    assert_eq!(said(webhook.post(&row(1)).await), "delivered");
    let all = b.chat.wait_until(DEADLINE, "first message", |all| all.iter().any(|m| m.hits() == 1));
    assert_eq!(all.len(), 1);
}

#[tokio::test]
async fn where_a_thread_is_gone_the_message_begins_another() {
    let b = bench();
    for (client, n) in [(b.webhook(), 1), (b.rest(TokenWay::Auto), 2)] {
        b.chat.lose_thread(&format!("t-{n}"));
        assert_eq!(said(client.post(&row(n)).await), "delivered");
    }
    assert!(b.chat.messages("AAAA").iter().all(|m| m.thread.is_none()));
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_the_secret_stays() {
    let (b, elsewhere) = (bench(), FakeChat::start());
    b.chat.next(Fault::redirect(&elsewhere.webhook_url("AAAA")));
    assert_eq!(
        said(b.webhook().post(&row(1)).await),
        "pause: 307, a redirect, which is never followed: it would carry the secret elsewhere\n\
         hint: look for a proxy or portal between this host and Chat"
    );
    assert!(elsewhere.attempts().is_empty());
}

#[tokio::test]
async fn a_429_says_how_long() {
    let b = bench();
    let error = r#"{"error":{"code":429,"message":"quota","status":"RESOURCE_EXHAUSTED"}}"#;
    b.chat.answer_next(429, &[("Retry-After", "7")], error);
    assert_eq!(said(b.webhook().post(&row(1)).await), "slow: 429 RESOURCE_EXHAUSTED: quota, after Some(7s)");
}

#[tokio::test]
async fn a_token_endpoint_in_trouble_is_tried_again() {
    let b = bench();
    let client = b.rest(TokenWay::Exchange);
    b.chat.answer_next_token(503, "");
    assert_eq!(said(client.post(&row(1)).await), "retry: the token endpoint `127.0.0.1` answered 503");
    assert_eq!(said(client.post(&row(1)).await), "delivered");
}

#[tokio::test]
async fn a_token_endpoint_that_is_down_for_hours_is_not_noticed_while_the_token_lives_and_waited_for_after_it()
 {
    let (b, hands) = (bench(), Hands::default());
    let client = b.exchanging(&hands);
    assert_eq!(said(client.post(&row(1)).await), "delivered");
    // it would be renewed by now, and is good for some minutes yet
    hands.pass(57 * 60);
    for n in 2..=4 {
        b.chat.answer_next_token(503, "");
        assert_eq!(said(client.post(&row(n)).await), "delivered");
    }
    for _ in 0..3 {
        hands.pass(40 * 60);
        b.chat.answer_next_token(503, "");
        assert_eq!(said(client.post(&row(5)).await), "retry: the token endpoint `127.0.0.1` answered 503");
    }
    assert_eq!(b.chat.tokens_granted(), 1);
    assert_eq!(said(client.post(&row(5)).await), "delivered");
    assert_eq!((b.chat.tokens_granted(), b.chat.messages("AAAA").len()), (2, 5));
}

#[tokio::test]
async fn a_hundred_spaces_of_one_key_whose_token_ends_or_is_revoked_make_one_new_token() {
    let (b, hands, keyring) = (bench(), Hands::default(), Keyring::default());
    let key = b.chat.key_file(b.dir.path());
    let space = |n| format!("S{n}");
    let rest = |n| b.rest_in(&space(n), key.clone(), TokenWay::Exchange, hands.watch(), &keyring).unwrap();
    let spaces: Vec<Arc<Client>> = (0..100).map(|n| Arc::new(rest(n))).collect();
    let all_at_once = async |n: u8| {
        let mut posts = JoinSet::new();
        for client in spaces.clone() {
            posts.spawn(async move { said(client.post(&row(n)).await) });
        }
        posts.join_all().await
    };
    assert_eq!(all_at_once(1).await, vec!["delivered"; 100]);
    assert_eq!(b.chat.tokens_granted(), 1);
    hands.pass(3600);
    assert_eq!(all_at_once(2).await, vec!["delivered"; 100]);
    assert_eq!(b.chat.tokens_granted(), 2);
    b.chat.revoke_tokens();
    assert_eq!(all_at_once(3).await, vec!["delivered"; 100]);
    assert_eq!(b.chat.tokens_granted(), 3);
    // tokens that nobody uses any more are forgotten
    drop(spaces);
    assert_eq!(said(rest(1).post(&row(4)).await), "delivered");
    assert_eq!(b.chat.tokens_granted(), 4);
}

#[tokio::test]
async fn a_clock_that_is_ten_minutes_wrong_is_named_where_it_does_harm_and_set_right_it_does_none() {
    let (b, hands) = (bench(), Hands::default());
    hands.wrong_by.store(600, Ordering::Relaxed);
    let refused = said(b.exchanging(&hands).post(&row(1)).await);
    let ahead = "pause: the token endpoint `127.0.0.1` answered 400 invalid_grant: `iat` is in the future\n\
                 hint: set this host's clock: it is ";
    assert!(refused.starts_with(ahead) && refused.ends_with(" s ahead of the server's"), "{refused}");
    let seconds: u64 = refused.split_whitespace().rev().nth(5).unwrap().parse().unwrap();
    assert!((595..=605).contains(&seconds), "{refused}");
    // a token lives by how long it lives, whatever the calendar says meanwhile
    let client = b.exchanging(&hands);
    for (n, wrong_by) in [(1, -600), (2, 0), (3, 86_400), (4, -86_400), (5, 0)] {
        hands.wrong_by.store(wrong_by, Ordering::Relaxed);
        assert_eq!(said(client.post(&row(n)).await), "delivered", "{wrong_by} s");
    }
    assert_eq!((b.chat.tokens_granted(), b.chat.messages("AAAA").len()), (1, 5));
    // and what signs itself says so too
    b.chat.refuse_self_signed();
    b.chat.clock_ahead(-600);
    let refused = said(b.rest(TokenWay::SelfSigned).post(&row(6)).await);
    assert!(refused.contains("\nhint: set this host's clock: it is "), "{refused}");
}

#[tokio::test]
async fn nobody_there_is_said_without_the_secret() {
    let b = bench();
    let client = b.webhook_at("http://127.0.0.1:1/v1/spaces/AAAA/messages?key=AIzaFake-Key_1&token=tok-x");
    assert_eq!(
        said(client.post(&row(1)).await),
        "retry: no connection to `127.0.0.1`: Connection refused (os error 111)"
    );
    assert!(!format!("{client:?}").contains("AIza") && !format!("{client:?}").contains("tok-"));
}

#[tokio::test]
async fn a_wrong_secret_names_the_space() {
    let b = bench();
    let secret = b.secret("https://hooks.example/services/T0/hunter2");
    let target = Target { name: "ops".into(), way: Way::Webhook(secret) };
    let error = Client::new(&target, watch(), &no_screen(), &Keyring::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "space `ops`: the webhook URL in file `{}` points to `hooks.example` and not to `chat.googleapis.com`",
            b.dir.path().join("secret").display()
        )
    );
    let error = b.try_rest("/nowhere/key.json".into(), TokenWay::Auto).unwrap_err();
    assert_eq!(error.to_string(), "space `ops`: file `/nowhere/key.json` does not exist");
    assert_eq!(error.hint, "put the secret there, or mend the path");
}

#[tokio::test]
async fn the_terminal_shows_the_committed_card() {
    let (paper, mut reader) = tokio::io::duplex(1 << 16);
    let screen = Arc::new(Screen::new(Box::new(paper), false));
    let target = Target { name: "screen".into(), way: Way::Console };
    let client = Client::new(&target, watch(), &screen, &Keyring::default()).unwrap();
    let mut row = row(3);
    row.body = draw(&row.draft, false).into();
    assert_eq!(said(client.post(&row).await), "delivered");
    let mut shown = vec![0; row.body.len()];
    reader.read_exact(&mut shown).await.unwrap();
    assert_eq!(String::from_utf8(shown).unwrap(), *row.body);
}

#[tokio::test]
async fn through_every_fault_each_message_arrives_once_in_order_and_in_pace() {
    let b = paced();
    for fault in [Fault::status(503), Fault::ResetAfter, Fault::ResetBefore, Fault::Truncate] {
        b.chat.next(fault);
    }
    let (hand, in_hand) = watch::channel(None);
    hand.send_replace(Some(row(1)));
    let (reports_out, mut reports) = mpsc::channel(8);
    let now = watch();
    let work = worker(
        b.webhook(),
        move || now(),
        in_hand,
        reports_out,
        CancellationToken::new(),
        Pace::chat(Tick(0)),
        || 0,
    );
    let heard = async {
        let mut ends = vec![];
        while let Some(Report { message, event, .. }) = reports.recv().await {
            if event == Event::Delivered {
                ends.push(message.0);
                if ends.len() == 3 {
                    break;
                }
                hand.send_replace(Some(row(message.0 as u8 + 1)));
            }
        }
        drop(hand);
        ends
    };
    let (_, ends) = tokio::time::timeout(DEADLINE, async { tokio::join!(work, heard) }).await.unwrap();
    assert_eq!(ends, [1, 2, 3]);
    let messages = b.chat.messages("AAAA");
    assert_eq!(messages.iter().map(Received::hits).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(messages.is_sorted_by_key(|m| m.at));
    assert_eq!(b.chat.violations(), Vec::<String>::new());
    assert_eq!(b.chat.pace_violations("AAAA"), 0);
    assert!(b.chat.attempts().iter().all(|a| a.status != 429));
}

#[tokio::test]
async fn a_secret_that_is_exchanged_on_disk_is_taken_up_and_a_bad_one_is_not() {
    let b = bench();
    let rest = b.rest(TokenWay::Auto);
    let webhook = b.webhook();
    for client in [&rest, &webhook] {
        assert_eq!(said(client.post(&row(b.chat.all_messages().len() as u8)).await), "delivered");
        assert!(!client.is_mended().await, "the secret is the one that is in use");
    }
    b.chat.exchange_secrets();
    for client in [&rest, &webhook] {
        let refused = said(client.post(&row(9)).await);
        assert!(refused.starts_with("pause: "), "{refused}");
        assert!(!client.is_mended().await, "nobody has exchanged it yet");
    }
    b.secret("https://chat.googleapis.com/half-a-url");
    std::fs::write(b.dir.path().join("key.json"), "{ half a key").unwrap();
    for client in [&rest, &webhook] {
        assert!(!client.is_mended().await, "what cannot be used changes nothing");
    }
    b.chat.key_file(b.dir.path());
    b.secret(&b.chat.webhook_url("AAAA"));
    for (n, client) in [(11, &rest), (12, &webhook)] {
        assert!(client.is_mended().await);
        assert_eq!(said(client.post(&row(n)).await), "delivered");
        assert!(!client.is_mended().await);
    }
    assert_eq!(b.chat.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn through_rest_a_message_is_as_loud_as_it_is_severe() {
    let b = bench();
    let rest = b.rest(TokenWay::Auto);
    for (n, severity) in [(1, Severity::Info), (2, Severity::Warning), (3, Severity::Critical)] {
        assert_eq!(said(rest.post(&OutboxRow { severity, ..row(n) }).await), "delivered");
    }
    let loud: Vec<Option<String>> = b
        .chat
        .attempts()
        .iter()
        .map(|a| Some(a.line.split_once("notificationType=NOTIFICATION_TYPE_")?.1.to_owned()))
        .collect();
    assert_eq!(loud, [Some("SILENT".into()), None, Some("FORCE_NOTIFY".into())]);
    assert_eq!(
        said(b.webhook().post(&OutboxRow { severity: Severity::Critical, ..row(4) }).await),
        "delivered"
    );
    assert_eq!(b.chat.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_look_at_a_space_says_whether_the_app_is_in_it() {
    let b = bench();
    let rest = b.rest(TokenWay::Auto);
    let there = Outcome::Delivered { name: Some("spaces/AAAA".into()), thread: None };
    assert_eq!(rest.look().await, Some(there));
    assert_eq!(b.webhook().look().await, None, "a webhook can only write");
    let other = b.try_rest(b.chat.key_of_another_project(b.dir.path()), TokenWay::Auto).unwrap();
    let refused = said(other.look().await.unwrap());
    assert!(refused.contains("hint: add the Chat app of project `proj-2`"), "{refused}");
    b.chat.remove_space("AAAA");
    let refused = said(rest.look().await.unwrap());
    assert!(
        refused.contains("404 NOT_FOUND: Space not found.\nhint: see that `spaces/AAAA` is right"),
        "{refused}"
    );
    assert!(b.chat.all_messages().is_empty());
}

/// Row `n`, which edits the message of row 1.
fn edit(n: u8) -> OutboxRow {
    let row = row(n);
    let draft = Message { edits: Some(RowId::from_random([1; 16])), ..Message::clone(&row.draft) };
    OutboxRow { body: render(&draft, Surface::Card).into(), draft: Arc::new(draft), ..row }
}

#[tokio::test]
async fn an_edit_takes_the_place_of_what_a_message_said() {
    let b = bench();
    let client = b.rest(TokenWay::Auto);
    assert_eq!(said(client.post(&row(1)).await), "delivered");
    assert_eq!(
        client.post(&edit(37)).await,
        delivered("spaces/AAAA/messages/M0.M0", "spaces/AAAA/threads/t-1"),
        "in its thread"
    );
    let line = b.chat.attempts().last().unwrap().line.clone();
    let id = "01".repeat(16);
    assert_eq!(line, format!("PATCH /v1/spaces/AAAA/messages/client-{id}?updateMask=text,cards_v2"));
    let [m] = &b.chat.messages("AAAA")[..] else { panic!("not one message") };
    assert_eq!((m.hits(), m.edits.len()), (37, 1));
    // and as plain text, where the card is refused
    let plain = render(&edit(38).draft, Surface::Plain);
    assert_eq!(said(client.post(&OutboxRow { body: plain.into(), ..edit(38) }).await), "delivered");
    let m = &b.chat.messages("AAAA")[0];
    assert!(m.body["cardsV2"].is_null() && m.shown().contains("38 hits"), "{}", m.shown());
    assert_eq!(b.chat.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn what_is_not_there_or_not_ours_cannot_be_edited_and_says_nothing_of_the_space() {
    let b = bench();
    let client = b.rest(TokenWay::Auto);
    assert_eq!(said(client.post(&row(1)).await), "delivered");
    b.chat.delete(&format!("client-{}", "01".repeat(16)));
    assert_eq!(said(client.post(&edit(2)).await), "gone: 404 NOT_FOUND: Message not found.");
    assert_eq!(said(b.webhook().post(&edit(2)).await), "gone: a webhook cannot edit a message");
    let other = b.try_rest(b.chat.key_of_another_project(b.dir.path()), TokenWay::Auto).unwrap();
    let refused = said(other.post(&edit(2)).await);
    assert_eq!(refused, "gone: 403 PERMISSION_DENIED: The caller does not have permission");
    b.chat.next(Fault::status(503));
    assert_eq!(said(client.post(&edit(2)).await), "retry: 503");
    b.chat.answer_next(409, &[], r#"{"error":{"code":409,"message":"busy","status":"ALREADY_EXISTS"}}"#);
    assert_eq!(said(client.post(&edit(2)).await), "retry: 409 ALREADY_EXISTS: busy", "an edit makes nothing");
}
