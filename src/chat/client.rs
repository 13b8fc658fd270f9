//! Posts a committed row to its space, once, and says what became of it.
//!
//! A client never loops and never waits for a better time; that is the worker's business. What it repeats
//! is a REST request answered by 401, with a token made anew, and one that is refused while another secret lies where this
//! one was read: keys are exchanged on disk while the agent runs. One that cannot be used changes nothing. A try whose answer got lost is
//! harmless: the ids are the row's own, and a second create under them finds the first.

use std::fmt;
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::fs::File;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Mutex;

use super::console;
use super::credential::{Fault, ServiceKey, WebhookUrl, ids, is_exchanged, is_loopback, resolve};
use super::http::{self, Got};
use super::keyring::Keyring;
use super::outcome::{Ask, Caller, Door, Outcome, STORE, classify};
use super::target::{SecretSource, Target, Way};
use super::token::{Tokens, Watch};
use crate::alert::Severity;
use crate::message::OutboxRow;

/// What an edit replaces: a card by a plain text too, and the other way round. `fallbackText` and `markupSyntax` go along
/// with the body, but Chat takes neither in a mask.
const MASK: &str = "text,cards_v2";

/// Why a space cannot be reached from the start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("space `{space}`: {what}")]
pub struct ClientError {
    /// The space's name in the rules file.
    pub space: Arc<str>,
    /// Lower case, no full stop, no secret.
    pub what: String,
    /// The remedy, for a `hint:` line.
    pub hint: String,
}

/// The terminal that console spaces write to; one for all of them, so that cards never mix.
///
/// Asynchronous, because a terminal can stand still for hours (Ctrl-S, a pager that waits): that holds up its cards
/// and nothing else.
pub struct Screen {
    out: Mutex<Box<dyn AsyncWrite + Send + Unpin>>,
    colour: bool,
}

impl Screen {
    /// Cards go to `out`; with `colour` they carry escape sequences.
    pub fn new(out: Box<dyn AsyncWrite + Send + Unpin>, colour: bool) -> Screen {
        Screen { out: Mutex::new(out), colour }
    }

    /// Cards go to standard output.
    pub fn terminal(colour: bool) -> Screen {
        match std::io::stdout().as_fd().try_clone_to_owned() {
            Ok(out) => Screen::new(Box::new(File::from_std(out.into())), colour),
            // no descriptor is left for a second handle on it; there will not be one for a log either
            Err(_) => Screen::new(Box::new(tokio::io::sink()), colour),
        }
    }

    async fn show(&self, row: &OutboxRow) -> Outcome {
        // not the row's body: its space may have been another sort of space when it was committed
        let text = console::draw(&row.draft, self.colour);
        let mut out = self.out.lock().await;
        let written = async {
            out.write_all(text.as_bytes()).await?;
            out.flush().await
        };
        match written.await {
            Ok(()) => Outcome::Delivered { name: None, thread: None },
            Err(e) => Outcome::Retry { why: format!("the terminal cannot be written to: {e}"), after: None },
        }
    }
}

impl fmt::Debug for Screen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Screen").field("colour", &self.colour).finish_non_exhaustive()
    }
}

/// A way into one space.
#[derive(Debug)]
pub struct Client {
    /// The way that is in use; another when its secret was exchanged.
    way: RwLock<Arc<Open>>,
    target: Target,
    screen: Arc<Screen>,
    keyring: Keyring,
    now: Watchful,
    warnings: Vec<String>,
    /// A message has gone through.
    spoken_to: AtomicBool,
    /// A look has found that one would.
    looks_well: AtomicBool,
}

/// A way that is open, and the secret that opened it.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) door: Opened,
    secret: Option<SecretString>,
    /// Where that was found.
    pub(super) place: Option<String>,
}

#[derive(Debug)]
pub(super) enum Opened {
    Console(Arc<Screen>),
    Webhook { http: reqwest::Client, url: WebhookUrl },
    Rest(Box<RestSpace>),
}

/// A space behind the REST API.
#[derive(Debug)]
pub(super) struct RestSpace {
    pub(super) http: reqwest::Client,
    /// Its URL.
    pub(super) url: String,
    /// The URL of its messages, without a query.
    messages: String,
    /// For messages; no secret.
    pub(super) host: String,
    /// `spaces/AAAA`.
    pub(super) space: String,
    pub(super) tokens: Arc<Tokens>,
}

struct Watchful(Watch);

impl fmt::Debug for Watchful {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watch")
    }
}

impl Client {
    /// Reads the target's secret and checks everything that can be checked without asking anybody. Spaces whose clients have
    /// the same `keyring` share the tokens of a key.
    ///
    /// Blocks for the time of reading a small file.
    pub fn new(
        target: &Target,
        now: Watch,
        screen: &Arc<Screen>,
        keyring: &Keyring,
    ) -> Result<Client, ClientError> {
        let mut warnings = vec![];
        let way = open(target, &now, screen, keyring, &mut warnings).map_err(|fault| ClientError {
            space: target.name.clone(),
            what: fault.what,
            hint: fault.hint,
        })?;
        let warnings = warnings.into_iter().map(|w| format!("space `{}`: {w}", target.name)).collect();
        let (way, keyring) = (RwLock::new(Arc::new(way)), keyring.clone());
        let (target, screen) = (target.clone(), screen.clone());
        Ok(Client {
            way,
            target,
            screen,
            keyring,
            now: Watchful(now),
            warnings,
            spoken_to: AtomicBool::default(),
            looks_well: AtomicBool::default(),
        })
    }

    fn way(&self) -> Arc<Open> {
        self.way.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The way that another secret opens, where one lies by now at the place of the one in use.
    async fn exchanged(&self, used: &Open) -> Option<Open> {
        let source = match &self.target.way {
            Way::Webhook(source) | Way::Rest { key: Some(source), .. } => source,
            Way::Console | Way::Rest { key: None, .. } => return None,
        };
        let known = used.secret.as_ref()?;
        let question = async || is_exchanged(source, &|name| std::env::var_os(name), known).await;
        if !self.keyring.ask(question).await.unwrap_or(false) {
            return None;
        }
        open(&self.target, &self.now.0, &self.screen, &self.keyring, &mut vec![]).ok()
    }

    /// Another secret lies where the one in use was read, and it can be used, or a look has found the space well since this was
    /// asked last: worth a try before its time.
    pub async fn is_mended(&self) -> bool {
        self.looks_well.swap(false, Ordering::Relaxed) || self.exchanged(&self.way()).await.is_some()
    }

    /// What is odd about the secrets, but no reason to refuse them.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Writes need no pace: the space is a terminal.
    pub fn is_console(&self) -> bool {
        matches!(self.way().door, Opened::Console(_))
    }

    /// Whose quota its writes count against, beside the space's own: the Cloud project of a REST space; of one without
    /// a key, whatever project the host's credentials belong to.
    pub fn project(&self) -> Option<String> {
        match &self.way().door {
            Opened::Rest(rest) => {
                Some(rest.tokens.key().map(|key| key.project_id.clone()).unwrap_or_default())
            }
            Opened::Console(_) | Opened::Webhook { .. } => None,
        }
    }

    /// Asks whether the app is in the space, without writing; `None` where nobody need be asked, since a message has gone
    /// through, or nobody can: a webhook can only write.
    pub async fn look(&self) -> Option<Outcome> {
        let way = self.way();
        if self.spoken_to.load(Ordering::Relaxed) {
            return None;
        }
        let mut outcome = self.look_by(&way).await?;
        if let Some(fresh) = self.after(&way, &outcome).await {
            outcome = self.look_by(&fresh).await?;
        }
        if matches!(outcome, Outcome::Delivered { .. }) {
            self.looks_well.store(true, Ordering::Relaxed);
        }
        // a message may have gone through meanwhile, and says more
        (!self.spoken_to.load(Ordering::Relaxed)).then_some(outcome)
    }

    async fn look_by(&self, way: &Open) -> Option<Outcome> {
        match &way.door {
            Opened::Rest(rest) => Some(rest.look(&self.now.0).await.outcome),
            Opened::Console(_) | Opened::Webhook { .. } => None,
        }
    }

    /// Sends `row` as it is, once.
    pub async fn post(&self, row: &OutboxRow) -> Outcome {
        let way = self.way();
        let mut outcome = self.post_by(&way, row).await;
        if let Some(fresh) = self.after(&way, &outcome).await {
            outcome = self.post_by(&fresh, row).await;
        }
        if matches!(outcome, Outcome::Delivered { .. }) {
            self.spoken_to.store(true, Ordering::Relaxed);
        }
        outcome
    }

    /// Whoever is told to store another secret is told also that a process that goes on running will not see it, where that
    /// is so: systemd and the environment hand a secret over once.
    pub fn of_one_that_goes_on(&self, mut outcome: Outcome) -> Outcome {
        let (Way::Webhook(source) | Way::Rest { key: Some(source), .. }) = &self.target.way else {
            return outcome;
        };
        if let Outcome::Pause { hint, .. } = &mut outcome
            && !matches!(source, SecretSource::File(_))
            && hint.contains(STORE)
        {
            hint.push_str("; then restart the agent, which has its secrets from its start");
        }
        outcome
    }

    /// The way to go on by after this outcome of another, where there is one since: it is in use from now on.
    async fn after(&self, used: &Open, outcome: &Outcome) -> Option<Arc<Open>> {
        if !matches!(outcome, Outcome::Pause { .. }) {
            return None;
        }
        let fresh = self.exchanged(used).await.map(Arc::new)?;
        *self.way.write().unwrap_or_else(PoisonError::into_inner) = fresh.clone();
        Some(fresh)
    }

    async fn post_by(&self, way: &Open, row: &OutboxRow) -> Outcome {
        match &way.door {
            Opened::Console(screen) => screen.show(row).await,
            // a webhook cannot edit: the space was reached by REST when this was said
            Opened::Webhook { .. } if row.draft.edits.is_some() => {
                Outcome::Gone { why: "a webhook cannot edit a message".into() }
            }
            Opened::Webhook { http, url } => {
                let request = create(http, url.create(&row.id).expose_secret(), row);
                match http::send(request, &url.host).await {
                    Ok(got) => self.judge(&Door::Webhook, &url.space, row, &got.without(&url.parts)),
                    Err(outcome) => outcome,
                }
            }
            Opened::Rest(rest) => self.post_rest(rest, row).await,
        }
    }

    async fn post_rest(&self, rest: &RestSpace, row: &OutboxRow) -> Outcome {
        let RestSpace { http, messages, host, space, .. } = rest;
        if let Some(edits) = &row.draft.edits {
            let url = format!("{messages}/client-{}?updateMask={MASK}", edits.0);
            return match rest.asked(&|| with_body(http.patch(&url), row)).await {
                Ok((got, _)) => self.judge(&rest.door(), space, row, &got),
                Err(outcome) => outcome,
            };
        }
        let url = format!("{messages}?{}{}", ids(&row.id), notify(row.severity));
        let tried = async {
            let (got, token) = rest.asked(&|| create(http, &url, row)).await?;
            let door = rest.door();
            let outcome = self.judge(&door, space, row, &got);
            if got.answer().status != 409 || !matches!(outcome, Outcome::Delivered { .. }) {
                return Ok(outcome);
            }
            let id = format!("client-{}", row.id.0);
            let got = http::send(bearing(http.get(format!("{messages}/{id}")), &token), host).await?;
            let got = got.without(&[token]);
            let read = self.judge(&door, space, row, &got);
            Ok(ours(&got, &id, read, row.plain))
        };
        match tried.await {
            Ok(outcome) | Err(outcome) => outcome,
        }
    }

    fn judge(&self, door: &Door, space: &str, row: &OutboxRow, got: &Got) -> Outcome {
        let edit = row.draft.edits.is_some();
        classify(&Ask { edit, ..self.ask(door, space, row.plain) }, &got.answer())
    }

    fn ask<'a>(&self, door: &'a Door, space: &'a str, plain: bool) -> Ask<'a> {
        Ask { door, space, plain, edit: false, at: (self.now.0)().wall }
    }
}

impl RestSpace {
    /// Sends by a token, and after a 401 once more by another. Gives the token that the answer is for.
    pub(super) async fn asked(
        &self,
        make: &(dyn Fn() -> reqwest::RequestBuilder + Sync),
    ) -> Result<(Got, SecretString), Outcome> {
        let mut token = self.tokens.bearer().await?;
        let mut got = http::send(bearing(make(), &token), &self.host).await?;
        if got.answer().status == 401 {
            token = self.tokens.other(&token).await?;
            got = http::send(bearing(make(), &token), &self.host).await?;
            if got.answer().status == 401 {
                self.tokens.forget(&token).await;
            }
        }
        let got = got.without(std::slice::from_ref(&token));
        Ok((got, token))
    }

    pub(super) fn door(&self) -> Door {
        Door::Rest(self.tokens.key().map_or_else(Caller::default, |key| Caller {
            client_email: Some(key.client_email.clone()),
            project_id: Some(key.project_id.clone()),
        }))
    }
}

/// How loud the message is: what is only good to know rings no phone, and what is critical rings it also where somebody
/// has muted the space. Apps alone may say so.
fn notify(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "&createMessageNotificationOptions.notificationType=NOTIFICATION_TYPE_SILENT",
        Severity::Warning | Severity::Error => "",
        Severity::Critical => {
            "&createMessageNotificationOptions.notificationType=NOTIFICATION_TYPE_FORCE_NOTIFY"
        }
    }
}

/// Whether the message that has our id is ours, after a create was answered by 409.
fn ours(got: &Got, id: &str, read: Outcome, plain: bool) -> Outcome {
    let answer = got.answer();
    let other = || Outcome::Refused {
        why: "409 ALREADY_EXISTS, but the message under our id is not ours".into(),
        resend_plain: !plain,
    };
    match read {
        Outcome::Delivered { name, thread } => {
            let json: Value = serde_json::from_slice(answer.body).unwrap_or_default();
            match json["clientAssignedMessageId"].as_str() {
                Some(theirs) if theirs != id => other(),
                _ => Outcome::Delivered { name, thread },
            }
        }
        _ if answer.status == 404 => other(),
        outcome => outcome,
    }
}

fn create(http: &reqwest::Client, url: &str, row: &OutboxRow) -> reqwest::RequestBuilder {
    with_body(http.post(url), row)
}

fn with_body(request: reqwest::RequestBuilder, row: &OutboxRow) -> reqwest::RequestBuilder {
    request.header(CONTENT_TYPE, "application/json; charset=utf-8").body(row.body.to_string())
}

fn bearing(request: reqwest::RequestBuilder, token: &SecretString) -> reqwest::RequestBuilder {
    match HeaderValue::from_str(&format!("Bearer {}", token.expose_secret())) {
        Ok(mut value) => {
            value.set_sensitive(true);
            request.header(AUTHORIZATION, value)
        }
        // a token that is no header value is no token: the server will say so
        Err(_) => request,
    }
}

/// Reads the target's secret, and opens its way with it.
pub(super) fn open(
    target: &Target,
    now: &Watch,
    screen: &Arc<Screen>,
    keyring: &Keyring,
    warnings: &mut Vec<String>,
) -> Result<Open, Fault> {
    let env = |name: &str| std::env::var_os(name);
    match &target.way {
        Way::Console => Ok(Open { door: Opened::Console(screen.clone()), secret: None, place: None }),
        Way::Webhook(source) => {
            let found = resolve(source, &env)?;
            let url = WebhookUrl::parse(&found.secret, &found.place)?;
            warnings.extend(found.warning);
            let door = Opened::Webhook { http: client(url.loopback)?, url };
            Ok(Open { door, secret: Some(found.secret), place: Some(found.place) })
        }
        Way::Rest { space, key, token, api_url } => {
            let (key, secret, place) = match key {
                Some(source) => {
                    let found = resolve(source, &env)?;
                    let key = ServiceKey::parse(&found)?;
                    warnings.extend(found.warning);
                    (Some(key), Some(found.secret), Some(found.place))
                }
                None => (None, None, None),
            };
            let bad = |what: &str| Fault {
                what: format!("`api_url` {what}"),
                hint: "expected `https://chat.googleapis.com`; plain http is accepted for loopback only"
                    .into(),
            };
            let url = url::Url::parse(api_url).map_err(|_| bad("is no URL"))?;
            let loopback = is_loopback(&url);
            if url.scheme() != "https" && !(url.scheme() == "http" && loopback) {
                return Err(bad("does not begin with `https:`"));
            }
            let url_of_space = format!("{}/v1/{space}", api_url.trim_end_matches('/'));
            let rest = RestSpace {
                http: client(loopback)?,
                messages: format!("{url_of_space}/messages"),
                url: url_of_space,
                host: url.host_str().unwrap_or_default().to_owned(),
                space: space.clone(),
                tokens: keyring.tokens(key, *token, now),
            };
            Ok(Open { door: Opened::Rest(Box::new(rest)), secret, place })
        }
    }
}

fn client(loopback: bool) -> Result<reqwest::Client, Fault> {
    http::client(loopback).map_err(|e| Fault {
        what: format!("TLS cannot be set up: {e}"),
        hint: "install the CA bundle of the system (package `ca-certificates`)".into(),
    })
}
