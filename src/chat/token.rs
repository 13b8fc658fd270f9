//! Bearer tokens for the REST API.
//!
//! `google-cloud-auth` makes them: from a key file a JWT that the key signs itself, without key what Application Default
//! Credentials give. Whether the live service takes self-signed JWTs of every app is not documented, so
//! [`TokenWay::Auto`] answers a 401 by exchanging an assertion at the key's `token_uri` (the one thing that crate
//! does not do), and stays with the way that worked. Surprising: that crate refreshes its tokens in a task of its own, so it is
//! first touched when a runtime is there, at the first token.
//!
//! Every space of a key asks here. So each question says what it knows: one that was refused a token gets another only
//! where that is still the one given out, and whoever waited while a token could not be made does not try the same again.

use std::sync::Arc;
use std::time::Duration;

use google_cloud_auth::credentials::service_account::{AccessSpecifier, Builder as KeyBuilder};
use google_cloud_auth::credentials::{AccessTokenCredentials, Builder as AdcBuilder};
use reqwest::header::CONTENT_TYPE;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};

use super::credential::{ServiceKey, is_loopback};
use super::escape::clean;
use super::http;
use super::outcome::{Answer, Outcome, STORE, clock_hint, said_by_a_server, skew};
use super::split::cut;
use super::target::TokenWay;
use crate::time::{Now, Tick};

/// The one scope a Chat app needs to post.
const SCOPE: &str = "https://www.googleapis.com/auth/chat.bot";
/// A token is renewed this long before it ends, as Google's own clients do.
const EARLY: Duration = Duration::from_secs(225);
/// The longest life that an assertion may claim.
const LIFE: Duration = Duration::from_secs(3600);
/// An assertion is dated back by this, because a server refuses one from the future.
const SKEW: Duration = Duration::from_secs(10);
/// How long a token lives whose answer does not say.
const UNKNOWN_LIFE: Duration = Duration::from_secs(300);
/// A metadata server that does not answer keeps `google-cloud-auth` busy for longer than anybody should wait.
const PATIENCE: Duration = Duration::from_secs(30);
/// The first wait when the credentials are refused.
const PAUSE: Duration = Duration::from_secs(5 * 60);

/// Reads the clocks.
pub type Watch = Arc<dyn Fn() -> Now + Send + Sync>;

/// Where bearer tokens come from.
pub(super) struct Tokens {
    key: Option<ServiceKey>,
    way: TokenWay,
    now: Watch,
    /// Held while a token is made: so there is one refresh at a time.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The exchange is what works.
    exchange: bool,
    made: Option<AccessTokenCredentials>,
    bearer: Option<Bearer>,
    /// The last that was given out.
    given: Option<SecretString>,
    /// The last try to make one came to this, then.
    failed: Option<(Tick, Outcome)>,
}

pub(super) struct Bearer {
    token: SecretString,
    renew: Tick,
    ends: Tick,
}

impl Tokens {
    /// Tokens from `key`, or from Application Default Credentials.
    pub(super) fn new(key: Option<ServiceKey>, way: TokenWay, now: Watch) -> Tokens {
        let exchange = key.is_some() && way == TokenWay::Exchange;
        Tokens { key, way, now, state: Mutex::new(State { exchange, ..State::default() }) }
    }

    /// Whose tokens these are.
    pub(super) fn key(&self) -> Option<&ServiceKey> {
        self.key.as_ref()
    }

    /// How they are made.
    pub(super) fn way(&self) -> TokenWay {
        self.way
    }

    /// A token that has not ended, from the cache where it can be.
    pub(super) async fn bearer(&self) -> Result<SecretString, Outcome> {
        let mut state = self.turn().await?;
        self.make(&mut state).await
    }

    /// A token unlike this one, which was just answered by 401: by the other way where both are allowed.
    pub(super) async fn other(&self, refused: &SecretString) -> Result<SecretString, Outcome> {
        let mut state = self.turn().await?;
        if !state.is_given(refused) {
            // another space was refused it before
            return self.make(&mut state).await;
        }
        let before = state.exchange;
        *state = State { exchange: self.may_flip() || before, ..State::default() };
        let made = self.make(&mut state).await;
        if made.is_err() {
            state.exchange = before;
        }
        made
    }

    /// This one was not taken either: begin anew at the next try.
    pub(super) async fn forget(&self, refused: &SecretString) {
        let mut state = self.state.lock().await;
        if state.is_given(refused) {
            let exchange = self.way == TokenWay::Exchange && self.key.is_some();
            *state = State { exchange, ..State::default() };
        }
    }

    /// Waits until nobody else is at it. Whoever was may have failed meanwhile: then so have we.
    async fn turn(&self) -> Result<MutexGuard<'_, State>, Outcome> {
        let asked = (self.now)().tick;
        let state = self.state.lock().await;
        match &state.failed {
            Some((at, outcome)) if *at > asked => Err(outcome.clone()),
            _ => Ok(state),
        }
    }

    fn may_flip(&self) -> bool {
        self.way == TokenWay::Auto && self.key.is_some()
    }

    async fn make(&self, state: &mut State) -> Result<SecretString, Outcome> {
        let made = match &self.key {
            Some(key) if state.exchange => self.exchanged(key, state).await,
            _ => self.made(state).await,
        };
        match &made {
            Ok(token) => (state.given, state.failed) = (Some(token.clone()), None),
            Err(outcome) => state.failed = Some(((self.now)().tick, outcome.clone())),
        }
        made
    }

    async fn made(&self, state: &mut State) -> Result<SecretString, Outcome> {
        let made = match &state.made {
            Some(made) => made.clone(),
            None => self.build().map_err(|e| self.refused(&e))?,
        };
        let Ok(token) = tokio::time::timeout(PATIENCE, made.access_token()).await else {
            let why = format!("no token within {} s", PATIENCE.as_secs());
            return Err(Outcome::Retry { why, after: None });
        };
        match token {
            Ok(token) => {
                state.made = Some(made);
                Ok(SecretString::from(token.token))
            }
            Err(e) => {
                state.made = None;
                let why = match &self.key {
                    Some(_) => format!("no token: {}", said(&e)),
                    None => format!(
                        "no key is named with `service_account`, and Application Default Credentials give no token: {}",
                        deepest(&e)
                    ),
                };
                if e.is_transient() {
                    Err(Outcome::Retry { why, after: None })
                } else {
                    Err(self.refused(&why))
                }
            }
        }
    }

    fn build(&self) -> Result<AccessTokenCredentials, String> {
        let Some(key) = &self.key else {
            let built = AdcBuilder::default().with_scopes([SCOPE]).build_access_token_credentials();
            return built.map_err(|e| format!("no Application Default Credentials: {}", said(&e)));
        };
        let json: Value =
            serde_json::from_str(key.json.expose_secret()).map_err(|_| "the key is no JSON".to_owned())?;
        let builder = KeyBuilder::new(json).with_access_specifier(AccessSpecifier::from_scopes([SCOPE]));
        builder.build_access_token_credentials().map_err(|e| format!("the key cannot be used: {}", said(&e)))
    }

    async fn exchanged(&self, key: &ServiceKey, state: &mut State) -> Result<SecretString, Outcome> {
        let now = (self.now)();
        if let Some(b) = state.bearer.as_ref().filter(|b| now.tick < b.renew) {
            return Ok(b.token.clone());
        }
        match self.exchange(key, now).await {
            Ok(fresh) => {
                let token = fresh.token.clone();
                state.bearer = Some(fresh);
                Ok(token)
            }
            // renewing fails: the old one is good until its end
            Err(outcome) => match &state.bearer {
                Some(b) if now.tick < b.ends => Ok(b.token.clone()),
                _ => Err(outcome),
            },
        }
    }

    async fn exchange(&self, key: &ServiceKey, now: Now) -> Result<Bearer, Outcome> {
        let host = key.token_uri.host_str().unwrap_or_default();
        let issued = (now.wall - SKEW).0 / 1000;
        let claims = json!({
            "iss": key.client_email, "scope": SCOPE, "aud": key.token_uri.as_str(),
            "iat": issued, "exp": issued + LIFE.as_secs() as i64,
        });
        let assertion = key.sign(&claims).ok_or_else(|| self.refused("the key cannot sign"))?;
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer")
            .append_pair("assertion", assertion.expose_secret())
            .finish();
        let client = http::client(is_loopback(&key.token_uri)).map_err(|e| self.refused(&e))?;
        let request = client
            .post(key.token_uri.clone())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form);
        // whatever the other end makes of it, an assertion is as good as a token for an hour
        let got = http::send(request, host).await?.without(&[assertion]);
        self.granted(&got.answer(), now, host)
    }

    /// What the token endpoint said.
    pub(super) fn granted(&self, answer: &Answer<'_>, now: Now, host: &str) -> Result<Bearer, Outcome> {
        let status = answer.status;
        let json: Value = serde_json::from_slice(answer.body).unwrap_or_default();
        let text = |name: &str| said_by_a_server(json[name].as_str().unwrap_or_default(), 200);
        let error = text("error");
        let transient =
            ["internal_failure", "server_error", "temporarily_unavailable"].contains(&error.as_str());
        let why = || {
            let said = [error.clone(), text("error_description")].into_iter().filter(|s| !s.is_empty());
            let said: Vec<String> = said.collect();
            format!("the token endpoint `{host}` answered {status} {}", said.join(": ")).trim_end().to_owned()
        };
        match status {
            200 => {}
            // the scope, the account or the key: somebody must mend it
            400 | 401 if !transient => {
                let said = format!("{error} {}", text("error_description"));
                let skew = skew(answer.date, now.wall);
                let named =
                    self.key.as_ref().and_then(|k| remedy(&k.client_email, &k.project_id, &said, skew));
                let hint = named.unwrap_or_else(|| self.look_at());
                return Err(Outcome::Pause { why: why(), hint, again: PAUSE, chance: 0 });
            }
            _ => return Err(Outcome::Retry { why: why(), after: None }),
        }
        let Some(token) = json["access_token"].as_str().filter(|t| !t.is_empty()) else {
            let why = format!("the token endpoint `{host}` answered 200 without a token");
            return Err(Outcome::Retry { why, after: None });
        };
        let life = match &json["expires_in"] {
            Value::Number(n) => n.as_u64(),
            Value::String(s) => s.parse().ok(),
            _ => None,
        };
        let life = life.map_or(UNKNOWN_LIFE, Duration::from_secs).min(LIFE * 24);
        let renew = now.tick + life.saturating_sub(EARLY).max(life / 2);
        Ok(Bearer { token: SecretString::from(token), renew, ends: now.tick + life })
    }

    fn refused(&self, why: &str) -> Outcome {
        Outcome::Pause { why: why.to_owned(), hint: self.look_at(), again: PAUSE, chance: 0 }
    }

    /// What to look at where nothing says more.
    fn look_at(&self) -> String {
        match &self.key {
            Some(key) => format!(
                "see that this host's clock is right, and that the key of service account `{}` (project `{}`) is \
                 neither deleted nor disabled",
                key.client_email, key.project_id
            ),
            None => {
                "name a key with `service_account`, or give the host Application Default Credentials".into()
            }
        }
    }
}

/// What is to be mended by what the token endpoint says. Its words are not documented: where they are others, there is no
/// more to tell than all that it can be.
fn remedy(account: &str, project: &str, said: &str, skew: Option<i64>) -> Option<String> {
    if let Some(clock) = clock_hint(skew) {
        return Some(clock);
    }
    let said = said.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|w| said.contains(w));
    Some(if has(&["reasonable timeframe"]) {
        "set this host's clock, and keep it right: `timedatectl set-ntp true`".into()
    } else if has(&["signature"]) {
        format!(
            "the key was deleted, or is no key of service account `{account}`: make a new JSON key for it in project \
             `{project}`, {STORE}the file as it is"
        )
    } else if has(&["disabled"]) {
        format!("enable service account `{account}` in project `{project}` again")
    } else if has(&["not found", "invalid_client"]) {
        format!(
            "there is no service account `{account}` any more: make one in project `{project}` {STORE}a key for it"
        )
    } else if has(&["scope", "unauthorized_client"]) {
        format!("enable the Google Chat API in project `{project}`: `{account}` needs the scope `{SCOPE}`")
    } else {
        return None;
    })
}

/// The innermost cause, clean and short: what `google-cloud-auth` says around it is a manual.
fn deepest(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(e) = last.source() {
        last = e;
    }
    cut(&clean(&last.to_string()), 200).into_owned()
}

/// An error and its causes, clean and short.
fn said(error: &dyn std::error::Error) -> String {
    let mut out = error.to_string();
    let mut next = error.source();
    while let Some(e) = next {
        out.push_str(": ");
        out.push_str(&e.to_string());
        next = e.source();
    }
    cut(&clean(&out), 300).into_owned()
}

impl State {
    /// This is what was given out last, as far as anything was.
    fn is_given(&self, token: &SecretString) -> bool {
        self.given.as_ref().is_none_or(|given| given.expose_secret() == token.expose_secret())
    }
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").field("way", &self.way).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
