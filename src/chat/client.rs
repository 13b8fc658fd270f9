//! Posts a committed row to its space, once, and says what became of it.
//!
//! A client never loops and never waits for a better time; that is the worker's business. The one thing it repeats
//! is a REST request answered by 401, with a token made anew. A try whose answer got lost is
//! harmless: the ids are the row's own, and a second create under them finds the first.

use std::fmt;
use std::os::fd::AsFd as _;
use std::sync::Arc;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::fs::File;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Mutex;

use super::console;
use super::credential::{Fault, ServiceKey, WebhookUrl, ids, is_loopback, resolve};
use super::http::{self, Got};
use super::outcome::{Ask, Caller, Door, Outcome, classify};
use super::target::{Target, Way};
use super::token::{Tokens, Watch};
use crate::message::OutboxRow;

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
    way: Open,
    now: Watchful,
    warnings: Vec<String>,
}

#[derive(Debug)]
enum Open {
    Console(Arc<Screen>),
    Webhook { http: reqwest::Client, url: WebhookUrl },
    Rest(Box<RestSpace>),
}

/// A space behind the REST API.
#[derive(Debug)]
struct RestSpace {
    http: reqwest::Client,
    /// The URL of its messages, without a query.
    messages: String,
    /// For messages; no secret.
    host: String,
    /// `spaces/AAAA`.
    space: String,
    tokens: Tokens,
}

struct Watchful(Watch);

impl fmt::Debug for Watchful {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watch")
    }
}

impl Client {
    /// Reads the target's secret and checks everything that can be checked without asking anybody.
    ///
    /// Blocks for the time of reading a small file.
    pub fn new(target: &Target, now: Watch, screen: &Arc<Screen>) -> Result<Client, ClientError> {
        let mut warnings = vec![];
        let way = open(target, &now, screen, &mut warnings).map_err(|fault| ClientError {
            space: target.name.clone(),
            what: fault.what,
            hint: fault.hint,
        })?;
        let warnings = warnings.into_iter().map(|w| format!("space `{}`: {w}", target.name)).collect();
        Ok(Client { way, now: Watchful(now), warnings })
    }

    /// What is odd about the secrets, but no reason to refuse them.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Writes need no pace: the space is a terminal.
    pub fn is_console(&self) -> bool {
        matches!(self.way, Open::Console(_))
    }

    /// Whose quota its writes count against, beside the space's own: the Cloud project of a REST space; of one without
    /// a key, whatever project the host's credentials belong to.
    pub fn project(&self) -> Option<&str> {
        match &self.way {
            Open::Rest(rest) => Some(rest.tokens.key().map_or("", |key| &key.project_id)),
            Open::Console(_) | Open::Webhook { .. } => None,
        }
    }

    /// Sends `row` as it is, once.
    pub async fn post(&self, row: &OutboxRow) -> Outcome {
        match &self.way {
            Open::Console(screen) => screen.show(row).await,
            Open::Webhook { http, url } => {
                let request = create(http, url.create(&row.id).expose_secret(), row);
                let outcome = match http::send(request, &url.host).await {
                    Ok(got) => self.judge(&Door::Webhook, &url.space, row, &got),
                    Err(outcome) => outcome,
                };
                without(outcome, &url.parts)
            }
            Open::Rest(rest) => self.post_rest(rest, row).await,
        }
    }

    async fn post_rest(&self, rest: &RestSpace, row: &OutboxRow) -> Outcome {
        let RestSpace { http, messages, host, space, tokens } = rest;
        let url = format!("{messages}?{}", ids(&row.id));
        let send =
            async |token: &SecretString| http::send(bearing(create(http, &url, row), token), host).await;
        let tried = async {
            let mut token = tokens.bearer().await?;
            let mut got = send(&token).await?;
            if got.answer().status == 401 {
                token = tokens.other().await?;
                got = send(&token).await?;
                if got.answer().status == 401 {
                    tokens.forget().await;
                }
            }
            let door = Door::Rest(tokens.key().map_or_else(Caller::default, |key| Caller {
                client_email: Some(key.client_email.clone()),
                project_id: Some(key.project_id.clone()),
            }));
            let outcome = self.judge(&door, space, row, &got);
            if got.answer().status != 409 || !matches!(outcome, Outcome::Delivered { .. }) {
                return Ok(outcome);
            }
            let id = format!("client-{}", row.id.0);
            let got = http::send(bearing(http.get(format!("{messages}/{id}")), &token), host).await?;
            Ok(ours(&got, &id, self.judge(&door, space, row, &got), row.plain))
        };
        match tried.await {
            Ok(outcome) | Err(outcome) => outcome,
        }
    }

    fn judge(&self, door: &Door, space: &str, row: &OutboxRow, got: &Got) -> Outcome {
        classify(&Ask { door, space, plain: row.plain, at: (self.now.0)().wall }, &got.answer())
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
    http.post(url).header(CONTENT_TYPE, "application/json; charset=utf-8").body(row.body.to_string())
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

/// `outcome` with every secret taken out of what a server said.
fn without(mut outcome: Outcome, secrets: &[SecretString]) -> Outcome {
    if let Outcome::Retry { why, .. }
    | Outcome::Slow { why, .. }
    | Outcome::Pause { why, .. }
    | Outcome::Refused { why, .. } = &mut outcome
    {
        for secret in secrets {
            *why = why.replace(secret.expose_secret(), "…");
        }
    }
    outcome
}

fn open(
    target: &Target,
    now: &Watch,
    screen: &Arc<Screen>,
    warnings: &mut Vec<String>,
) -> Result<Open, Fault> {
    let env = |name: &str| std::env::var_os(name);
    match &target.way {
        Way::Console => Ok(Open::Console(screen.clone())),
        Way::Webhook(source) => {
            let found = resolve(source, &env)?;
            let url = WebhookUrl::parse(&found.secret, &found.place)?;
            warnings.extend(found.warning);
            Ok(Open::Webhook { http: client(url.loopback)?, url })
        }
        Way::Rest { space, key, token, api_url } => {
            let key = match key {
                Some(source) => {
                    let found = resolve(source, &env)?;
                    let key = ServiceKey::parse(&found)?;
                    warnings.extend(found.warning);
                    Some(key)
                }
                None => None,
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
            Ok(Open::Rest(Box::new(RestSpace {
                http: client(loopback)?,
                messages: format!("{}/v1/{space}/messages", api_url.trim_end_matches('/')),
                host: url.host_str().unwrap_or_default().to_owned(),
                space: space.clone(),
                tokens: Tokens::new(key, *token, now.clone()),
            })))
        }
    }
}

fn client(loopback: bool) -> Result<reqwest::Client, Fault> {
    http::client(loopback).map_err(|e| Fault {
        what: format!("TLS cannot be set up: {e}"),
        hint: "install the CA bundle of the system (package `ca-certificates`)".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_survives_in_what_a_server_said() {
        let said = Outcome::Refused { why: "400: bad token hunter2 for key".into(), resend_plain: false };
        let want = Outcome::Refused { why: "400: bad token … for key".into(), resend_plain: false };
        assert_eq!(without(said, &[SecretString::from("hunter2")]), want);
    }
}
