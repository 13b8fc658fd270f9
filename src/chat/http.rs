//! One HTTP request and its answer, bounded in time and size, with nothing followed and nothing repeated.
//!
//! `reqwest::Error` prints the whole URL, and the URL of a webhook is a password: every error of it
//! that leaves this file went through `without_url`, and what is said names the host alone.

use std::error::Error as _;
use std::time::Duration;

use reqwest::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::escape::clean;
use super::outcome::{Answer, Outcome};
use super::split::cut;

/// Far longer than any connection takes that will ever work.
const CONNECT: Duration = Duration::from_secs(10);
/// For a whole request; Chat answers within a second.
const TOTAL: Duration = Duration::from_secs(30);
/// A connection that is kept warm is let go when nothing was sent for so long; servers let go earlier as a rule.
const IDLE: Duration = Duration::from_secs(60 * 60);
/// While nothing is sent the other end is asked so often whether it is there, by HTTP/2 and by TCP: so an alert after
/// minutes finds its connection open, what stands in between does not forget it, and one that is dead is not written to.
const WARM: Duration = Duration::from_secs(45);
/// It must have answered by then.
const ANSWERS: Duration = Duration::from_secs(10);
/// What is shorter is no secret of Chat's, and stands in any text.
const SECRET: usize = 8;
/// A message comes back in at most twice the size of its body.
const ANSWER_BYTES: usize = 256 * 1024;
/// How often a space is tried that TLS keeps us from.
const PAUSE: Duration = Duration::from_secs(5 * 60);

/// An HTTP client that follows nothing; `loopback` allows plain http and goes by no proxy.
pub(super) fn client(loopback: bool) -> Result<reqwest::Client, String> {
    builder(loopback).build().map_err(|e| deepest(&e.without_url()))
}

/// The same before it is made: what can fail is that the host has no CA bundle.
pub(super) fn builder(loopback: bool) -> reqwest::ClientBuilder {
    let builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT)
        .timeout(TOTAL)
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(1)
        .tcp_nodelay(true)
        .tcp_keepalive(WARM)
        .tcp_keepalive_interval(ANSWERS)
        .tcp_keepalive_retries(3)
        .http2_keep_alive_interval(WARM)
        .http2_keep_alive_timeout(ANSWERS)
        .http2_keep_alive_while_idle(true)
        .referer(false)
        .https_only(!loopback)
        .user_agent(concat!("logherald/", env!("CARGO_PKG_VERSION")));
    if loopback { builder.no_proxy() } else { builder }
}

/// An answer with a bounded body.
#[derive(Debug)]
pub(super) struct Got {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
    cut: bool,
}

impl Got {
    /// Takes secrets out of an answer, however its JSON escapes them: before what it says is cut, which might leave half
    /// of one. What is no JSON says nothing to anybody here.
    pub(super) fn without(mut self, secrets: &[SecretString]) -> Got {
        if let Ok(mut json) = serde_json::from_slice(&self.body)
            && take_out(&mut json, secrets)
        {
            self.body = json.to_string().into_bytes();
        }
        self
    }

    /// As the table of answers takes it.
    pub(super) fn answer(&self) -> Answer<'_> {
        let header = |name: HeaderName| self.headers.get(name).and_then(|v| v.to_str().ok());
        Answer {
            status: self.status,
            retry_after: header(RETRY_AFTER),
            date: header(DATE),
            body: &self.body,
            cut: self.cut,
        }
    }
}

/// Sends `request` to `host`; a failure is an outcome already.
pub(super) async fn send(request: reqwest::RequestBuilder, host: &str) -> Result<Got, Outcome> {
    Ok(read(request.send().await.map_err(|e| failed(e, host))?).await)
}

/// Reads the body, as far as it comes and is not endless.
pub(super) async fn read(mut response: reqwest::Response) -> Got {
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let (mut body, mut cut) = (Vec::new(), false);
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                let room = ANSWER_BYTES - body.len();
                body.extend_from_slice(&chunk[..chunk.len().min(room)]);
                if chunk.len() > room {
                    cut = true;
                    break;
                }
            }
            Ok(None) => break,
            Err(_) => {
                cut = true;
                break;
            }
        }
    }
    Got { status, headers, body, cut }
}

/// Tells whether there were any.
fn take_out(json: &mut Value, secrets: &[SecretString]) -> bool {
    match json {
        Value::String(text) => {
            let mut found = false;
            for secret in secrets.iter().map(ExposeSecret::expose_secret).filter(|s| s.len() >= SECRET) {
                if text.contains(secret) {
                    *text = text.replace(secret, "…");
                    found = true;
                }
            }
            found
        }
        Value::Array(all) => all.iter_mut().fold(false, |found, one| take_out(one, secrets) | found),
        Value::Object(all) => all.values_mut().fold(false, |found, one| take_out(one, secrets) | found),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn failed(error: reqwest::Error, host: &str) -> Outcome {
    let error = error.without_url();
    let chain = chain(&error);
    let away = |why: String| Outcome::Unanswered { why };
    let pause = |why: String, hint: &str| Outcome::Pause { why, hint: hint.into(), again: PAUSE, chance: 1 };
    let has = |words: &[&str]| words.iter().any(|w| chain.contains(w));
    if error.is_connect() && has(&["certificate", "UnknownIssuer", "CertificateRequired"]) {
        return pause(
            format!("`{host}` cannot be trusted: {}", deepest(&error)),
            "see that this host's clock is right, its CA bundle installed, and nothing intercepts TLS",
        );
    }
    if has(&["proxy authorization", "proxy authentication"]) {
        let why = format!("the proxy does not let us through to `{host}`: {}", deepest(&error));
        return pause(why, "give `HTTPS_PROXY` the credentials that the proxy asks for");
    }
    match (error.is_timeout(), error.is_connect()) {
        (true, true) => away(format!("no connection to `{host}` within {} s", CONNECT.as_secs())),
        (true, false) => away(format!("no answer from `{host}` within {} s", TOTAL.as_secs())),
        (false, true) if has(&["dns error", "lookup address"]) => {
            away(format!("`{host}` cannot be resolved"))
        }
        (false, true) => away(format!("no connection to `{host}`: {}", deepest(&error))),
        (false, false) => {
            away(format!("the connection to `{host}` broke before the answer: {}", deepest(&error)))
        }
    }
}

fn chain(error: &reqwest::Error) -> String {
    let mut out = error.to_string();
    let mut next = error.source();
    while let Some(e) = next {
        out.push_str(": ");
        out.push_str(&e.to_string());
        next = e.source();
    }
    out
}

/// What TLS adds to a certificate that has expired: how long ago, so that each try would say something else.
const AGES: &str = ": verification time";

/// The innermost cause, which is the one that says something.
fn deepest(error: &reqwest::Error) -> String {
    let mut last: &dyn std::error::Error = error;
    while let Some(e) = last.source() {
        last = e;
    }
    let text = clean(&last.to_string());
    let lasting = text.find(AGES).map_or(&*text, |at| &text[..at]);
    cut(lasting, 200).into_owned()
}

#[cfg(test)]
mod tests;
