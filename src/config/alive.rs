//! `[alive]`: who watches the watcher.

use std::time::Duration;

use super::Env;
use super::space::{is_loopback, is_web};
use super::value;
use super::walk::{Table, Value};
use crate::chat::Ping;
use crate::judge::{AlivePolicy, DAY};

const KEYS: [&str; 3] = ["url", "every", "daily"];

const EVERY: Duration = Duration::from_secs(60);
/// More often is a burden for who is pinged; more seldom tells of a death a day late.
const LEAST: Duration = Duration::from_secs(10);
const MOST: Duration = Duration::from_secs(86_400);

/// What the judge says of itself, and whom the agent pings.
pub(super) fn alive(main: &Table<'_>, env: &Env) -> (Option<AlivePolicy>, Option<Ping>) {
    let Some(table) = main.get("alive").and_then(|v| v.table()) else { return (None, None) };
    table.check_keys(&KEYS);
    let every = table.get("every").and_then(|v| v.duration(&(LEAST..=MOST)));
    let url = table.get("url");
    if let Some(value) = table.get("every").filter(|_| url.is_none()) {
        let hint = "add the page that a watcher outside gives, such as url = \"https://hc.example/ping/…\"";
        value.scope.error_hint(value.span.clone(), "`every` without a `url`: nobody is pinged", hint);
    }
    let ping = url.and_then(|v| outside(&v, every.unwrap_or(EVERY)));
    let daily = table.get("daily").and_then(|v| minute(&v)).map(|minute| (minute, env.tz.clone()));
    (Some(AlivePolicy { daily }), ping)
}

fn outside(value: &Value<'_>, every: Duration) -> Option<Ping> {
    let text = value.text()?;
    // whoever knows it can pretend that this agent lives
    text.scope.hide(text.span.clone());
    let fault = |message: &str, hint: &str| -> Option<Ping> {
        text.scope.error_hint(text.span.clone(), message, hint);
        None
    };
    let example = "write it like \"https://hc.example/ping/…\"";
    let Some(url) = url::Url::parse(text.value).ok().filter(is_web) else {
        return fault("`url` is not an http or https URL", example);
    };
    if url.scheme() == "http" && !is_loopback(&url) {
        return fault(
            "plain http would tell everybody on the way how to pretend",
            "use https; plain http is for 127.0.0.1, [::1] and localhost",
        );
    }
    Some(Ping::new(text.value, is_loopback(&url), every))
}

fn minute(value: &Value<'_>) -> Option<u16> {
    let text = value.text()?;
    match value::minute_of_day(text.value) {
        Ok(DAY) => {
            text.scope.error_hint(text.span, "`daily` is 24:00, the end of a day", "write \"00:00\"");
            None
        }
        Ok(minute) => Some(minute),
        Err(fault) => {
            text.scope.error(text.span, format!("`{}`: {fault}", value.key));
            None
        }
    }
}
