//! `[space.NAME]`, `[route]`, `[chat]`, `admin`: who hears what, and how each is reached.
//!
//! A webhook URL is a password, and the rules file is readable by all. So a URL written in the file is refused,
//! and the line it stands on is never drawn.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use super::walk::{Table, Text, Value, check_name, did_you_mean, list, shown};
use crate::alert::Severity;
use crate::chat::{SecretSource, Target, TokenWay, Way};
use crate::judge::{SpacePolicy, WAIT};

const KNOWN: [&str; 12] = [
    "webhook",
    "name",
    "service_account",
    "token",
    "console",
    "wait",
    "wait_at_most",
    "max_per_hour",
    "fallback",
    "mention",
    "digest_every",
    "update",
];

/// The real one; `[chat] api_url` points elsewhere for tests and proxies.
const CHAT_API: &str = "https://chat.googleapis.com";
/// Messages and incidents wait for company no longer than this.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
/// More than this in an hour no space accepts: Google allows one write a second.
pub(super) const MOST_PER_HOUR: u32 = 3600;
/// More often it would be no digest, more rarely no news.
const DIGESTS: RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(86_400);
/// Whoever is more than so many is a group, or all.
const MOST_MENTIONS: usize = 10;

/// The id of a space or of a person: Google's have some twenty characters.
const ID_BYTES: RangeInclusive<usize> = 1..=128;
/// A credential is a file, and no file's name is longer (`NAME_MAX`).
const FILE_NAME_BYTES: usize = 255;

/// A wrong name of a secret that is longer than this may be the secret, in bytes, and is not drawn.
const SHORT: usize = 32;

/// `[route]` and rules write severities so.
pub(super) const SEVERITIES: [(&str, Severity); 4] = [
    ("info", Severity::Info),
    ("warning", Severity::Warning),
    ("error", Severity::Error),
    ("critical", Severity::Critical),
];

/// Every space, and who is spoken to when nothing else is said.
#[derive(Debug)]
pub(super) struct Spaces {
    /// Every name that the file declares, also of spaces with faults.
    names: Vec<Arc<str>>,
    pub(super) policies: Vec<SpacePolicy>,
    pub(super) targets: Vec<Target>,
    pub(super) admin: Arc<str>,
    /// Which space stands in for which.
    pub(super) fallbacks: BTreeMap<Arc<str>, Arc<str>>,
    route: Vec<(Severity, Vec<Arc<str>>)>,
}

impl Spaces {
    /// Reads all that the main file says of spaces.
    pub(super) fn read(top: &Table<'_>) -> Spaces {
        let api_url = api_url(top);
        let mut spaces = Spaces {
            names: vec![],
            policies: vec![],
            targets: vec![],
            admin: "".into(),
            fallbacks: BTreeMap::new(),
            route: vec![],
        };
        if let Some(all) = top.get("space").and_then(|v| v.table()) {
            for (name, span, value) in all.entries() {
                let key = Text { scope: value.scope.clone(), key: "space".into(), value: name, span };
                if check_name(&key) {
                    spaces.names.push(name.into());
                }
                if let Some(table) = value.table() {
                    spaces.add(name.into(), &table, &key, &api_url);
                }
            }
        }
        if spaces.names.is_empty() {
            spaces.names.push("console".into());
        }
        for (name, _, value) in top.get("space").and_then(|v| v.table()).iter().flat_map(Table::entries) {
            spaces.read_fallback(name, &value);
        }
        if spaces.targets.is_empty() {
            let name = spaces.names[0].clone();
            spaces.policies.push(SpacePolicy::named(name.clone(), Duration::ZERO));
            spaces.targets.push(Target { name, way: Way::Console });
        }
        spaces.admin = spaces.names[0].clone();
        if let Some(text) = top.get("admin").and_then(|v| v.text())
            && let Some(name) = spaces.find(&text)
        {
            spaces.admin = name;
        }
        if let Some(route) = top.get("route").and_then(|v| v.table()) {
            spaces.read_route(&route);
        }
        spaces
    }

    /// The space that stands in for this one; it must be another.
    fn read_fallback(&mut self, name: &str, value: &Value<'_>) {
        if !value.is_table() {
            return;
        }
        let Some(text) = value.table().and_then(|t| t.get("fallback")?.text()) else { return };
        if text.value == name {
            let hint = "name another space, or remove the key";
            text.scope.error_hint(text.span, "a space cannot stand in for itself", hint);
        } else if let Some(other) = self.find(&text) {
            self.fallbacks.insert(name.into(), other);
        }
    }

    fn read_route(&mut self, route: &Table<'_>) {
        route.check_keys(&SEVERITIES.map(|(name, _)| name));
        for (name, severity) in SEVERITIES {
            let Some(texts) = route.get(name).and_then(|v| v.texts()) else { continue };
            let names = texts.iter().filter_map(|t| self.find(t)).collect();
            self.route.push((severity, names));
        }
    }

    /// The space that `text` names; reports one that is not there.
    pub(super) fn find(&self, text: &Text<'_>) -> Option<Arc<str>> {
        let found = self.known(text.value);
        if found.is_none() {
            let (message, hint) = self.unknown(text);
            text.scope.error_hint(text.span.clone(), message, hint);
        }
        found
    }

    /// Like [`Spaces::find`], but a rule with an unknown space is still fit to run: it speaks to `admin`.
    pub(super) fn find_or_admin(&self, text: &Text<'_>) -> Arc<str> {
        self.known(text.value).unwrap_or_else(|| {
            let (message, hint) = self.unknown(text);
            text.scope.error_but_usable(text.span.clone(), &message, Some(hint));
            self.admin.clone()
        })
    }

    fn known(&self, name: &str) -> Option<Arc<str>> {
        self.names.iter().find(|n| ***n == *name).cloned()
    }

    fn unknown(&self, text: &Text<'_>) -> (String, String) {
        let names: Vec<&str> = self.names.iter().map(AsRef::as_ref).collect();
        let name = shown(text.value);
        let hint = did_you_mean(&name, &names)
            .unwrap_or_else(|| format!("the spaces of this file are: {}", list(&names)));
        (format!("unknown space `{name}`"), hint)
    }

    /// Where a rule of this severity speaks: its own space first, then the routed ones, without repeats.
    pub(super) fn routed(&self, own: &Arc<str>, severity: Severity) -> Vec<Arc<str>> {
        let mut all = vec![own.clone()];
        for name in self.route.iter().filter(|(s, _)| *s == severity).flat_map(|(_, names)| names) {
            if !all.contains(name) {
                all.push(name.clone());
            }
        }
        all
    }

    fn add(&mut self, name: Arc<str>, table: &Table<'_>, key: &Text<'_>, api_url: &str) {
        table.check_keys(&KNOWN);
        let way = way(table, key, api_url);
        let is_console = way == Some(Way::Console);
        let mut policy = SpacePolicy::named(name.clone(), if is_console { Duration::ZERO } else { WAIT });
        let upto = |d| Duration::ZERO..=d;
        if let Some(wait) = table.get("wait").and_then(|v| v.duration(&upto(LONGEST_WAIT))) {
            policy.wait = wait;
            policy.wait_at_most = policy.wait_at_most.max(wait);
        }
        if let Some(value) = table.get("wait_at_most")
            && let Some(most) = value.duration(&upto(LONGEST_WAIT))
        {
            policy.wait_at_most = most;
            if most < policy.wait {
                let message = "`wait_at_most` is shorter than `wait`";
                value.scope.error_hint(value.span, message, "make it longer, or `wait` shorter");
            }
        }
        if let Some(most) = table.get("max_per_hour").and_then(|v| v.count(&(1..=MOST_PER_HOUR))) {
            policy.max_per_hour = most;
        }
        if let Some(every) = table.get("digest_every").and_then(|v| v.duration(&DIGESTS)) {
            policy.digest_every = every;
        }
        if let Some(value) = table.get("mention") {
            policy.mention = mention(&value, is_console);
        }
        policy.edit = edits(table, way.as_ref());
        if let Some(way) = way {
            self.targets.push(Target { name, way });
            self.policies.push(policy);
        }
    }
}

/// Who is notified, by the severity of what opens.
fn mention(value: &Value<'_>, is_console: bool) -> BTreeMap<Severity, Vec<Arc<str>>> {
    let mut all = BTreeMap::new();
    let Some(table) = value.table() else { return all };
    if is_console {
        let message = "`mention` in a space that is a terminal, where nobody can be notified";
        value.scope.error_hint(value.span.clone(), message, "remove it");
        return all;
    }
    table.check_keys(&SEVERITIES.map(|(name, _)| name));
    for (name, severity) in SEVERITIES {
        let Some((value, texts)) = table.get(name).and_then(|v| Some((v.texts()?, v))).map(|(t, v)| (v, t))
        else {
            continue;
        };
        if texts.len() > MOST_MENTIONS {
            let message = format!("`{name}` has {} names, expected at most {MOST_MENTIONS}", texts.len());
            value.scope.error_hint(value.span, message, "\"all\" notifies everybody in the space");
            continue;
        }
        all.insert(severity, texts.iter().filter_map(mentioned).collect());
    }
    all
}

/// `users/all`, or `users/ID`: nothing that could end the mention and go on as text.
fn mentioned(text: &Text<'_>) -> Option<Arc<str>> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
    let id = if text.value == "all" { Some("all") } else { text.value.strip_prefix("users/") };
    let id = id.filter(|id| ID_BYTES.contains(&id.len()) && id.chars().all(fits));
    if id.is_none() {
        let message = format!("`{}` is nobody to mention, expected `all` or `users/ID`", shown(text.value));
        let hint = "the id of a person is a number, such as \"users/123456789012345678901\"";
        text.scope.error_hint(text.span.clone(), message, hint);
    }
    id.map(|id| format!("users/{id}").into())
}

/// `update`: how an incident goes on is told in its thread, or by edits of its opening, which the REST API alone can do.
fn edits(table: &Table<'_>, way: Option<&Way>) -> bool {
    let Some(value) = table.get("update") else { return false };
    let edit = value.one_of(&[("thread", false), ("edit", true)]) == Some(true);
    if edit && matches!(way, Some(Way::Webhook(_) | Way::Console)) {
        let what = if matches!(way, Some(Way::Console)) { "a terminal" } else { "a webhook" };
        let message = format!("`update` is `edit`, but {what} cannot edit a message");
        let hint = "remove it, or reach the space by the REST API: `name = \"spaces/…\"`";
        value.scope.error_hint(value.span, message, hint);
        return false;
    }
    edit
}

fn way(table: &Table<'_>, key: &Text<'_>, api_url: &str) -> Option<Way> {
    let scope = &table.scope;
    let given: Vec<Value<'_>> =
        ["webhook", "name", "console"].into_iter().filter_map(|k| table.get(k)).collect();
    let first = match given.as_slice() {
        [] => {
            let message = format!("space `{}` says no way to reach it", shown(key.value));
            let hint = "give it one of `webhook`, `name` (the REST API) or `console = true`";
            scope.error_hint(key.span.clone(), message, hint);
            return None;
        }
        [first] => first,
        [first, second, ..] => {
            let message = format!("`{}` beside `{}`: a space is reached in one way", second.key, first.key);
            scope.error_hint(second.span.clone(), message, "make it two spaces, or remove one");
            first
        }
    };
    if first.key != "name" {
        for stray in ["service_account", "token"].into_iter().filter_map(|k| table.get(k)) {
            let message = format!("`{}` belongs to a space with `name`", stray.key);
            scope.error_hint(
                stray.span,
                message,
                "remove it, or give `name = \"spaces/…\"` for the REST API",
            );
        }
    }
    match first.key.as_str() {
        "webhook" => secret(first, true).map(Way::Webhook),
        "console" if first.as_flag() == Some(true) => Some(Way::Console),
        "console" => first.expected("`true`"),
        _ => rest(table, first, api_url),
    }
}

fn rest(table: &Table<'_>, name: &Value<'_>, api_url: &str) -> Option<Way> {
    let key = table.get("service_account").map(|v| secret(&v, false));
    let words =
        [("auto", TokenWay::Auto), ("self-signed", TokenWay::SelfSigned), ("exchange", TokenWay::Exchange)];
    let token = table.get("token").map_or(Some(TokenWay::Auto), |v| v.one_of(&words))?;
    let text = name.text()?;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let id = text.value.strip_prefix("spaces/").filter(|id| ID_BYTES.contains(&id.len()));
    if !id.is_some_and(|id| id.chars().all(fits)) {
        let message =
            format!("`name` is `{}`, expected `spaces/` and the id of the space", shown(text.value));
        let hint =
            "the id is in the space's address: https://chat.google.com/room/AAAA1234 is `spaces/AAAA1234`";
        text.scope.error_hint(text.span, message, hint);
        return None;
    }
    let key = match key {
        Some(None) => return None,
        Some(key) => key,
        None => None,
    };
    Some(Way::Rest { space: text.value.to_owned(), key, token, api_url: api_url.to_owned() })
}

/// `{ credential = "NAME" }`, `{ env = "NAME" }` or `{ file = "/path" }`.
fn secret(value: &Value<'_>, is_webhook: bool) -> Option<SecretSource> {
    let (what, ways) = if is_webhook {
        let ways = "say where it is kept: webhook = { credential = \"NAME\" } (systemd LoadCredential=), \
                    { env = \"NAME\" } or { file = \"/path\" }";
        ("a webhook URL is a password and does not belong in this file", ways)
    } else {
        let ways = "say where it is kept: service_account = { credential = \"NAME\" } (systemd LoadCredential=), \
                    { env = \"NAME\" } or { file = \"/path\" }";
        ("a service-account key is a password and does not belong in this file", ways)
    };
    if value.as_text().is_some() {
        value.scope.hide(value.span.clone());
        value.scope.error_hint(value.span.clone(), what, ways);
        return None;
    }
    if !value.is_table() {
        return value.expected("a table such as `{ credential = \"NAME\" }`");
    }
    let table = value.table()?;
    table.check_keys(&["credential", "env", "file"]);
    let given: Vec<Value<'_>> =
        ["credential", "env", "file"].into_iter().filter_map(|k| table.get(k)).collect();
    let [one] = given.as_slice() else {
        if !given.is_empty() || !value.scope.broken() {
            let message = format!("`{}` needs one of `credential`, `env` and `file`", value.key);
            value.scope.error_hint(value.span.clone(), message, ways);
        }
        return None;
    };
    let text = one.text()?;
    let name = text.value;
    let (ok, expected) = match one.key.as_str() {
        "credential" => {
            let ok = !name.is_empty()
                && name.len() <= FILE_NAME_BYTES
                && !name.contains(['/', '\0', ':'])
                && name != "..";
            (ok, "the name of a file in systemd's credentials directory, without a `/`")
        }
        "env" => {
            let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
            (!name.is_empty() && name.chars().all(fits), "the name of an environment variable")
        }
        _ => (name.starts_with('/') && !name.contains('\0'), "an absolute path"),
    };
    if !ok {
        // it may well be the secret itself
        if name.len() > SHORT || name.contains("://") || !name.chars().all(|c| c.is_ascii_graphic()) {
            value.scope.hide(text.span.clone());
        }
        value.scope.error_hint(text.span, format!("`{}` is not {expected}", one.key), ways);
        return None;
    }
    Some(match one.key.as_str() {
        "credential" => SecretSource::Credential(name.to_owned()),
        "env" => SecretSource::Env(name.to_owned()),
        _ => SecretSource::File(name.into()),
    })
}

fn api_url(top: &Table<'_>) -> String {
    let read = || {
        let chat = top.get("chat")?.table()?;
        chat.check_keys(&["api_url"]);
        let text = chat.get("api_url")?.text()?;
        let fault = |message: &str, hint: &str| -> Option<String> {
            text.scope.error_hint(text.span.clone(), message, hint);
            None
        };
        let example = "write it like \"https://chat.googleapis.com\"";
        let Ok(url) = url::Url::parse(text.value) else { return fault("`api_url` is not a URL", example) };
        if !url.username().is_empty()
            || url.password().is_some()
            || url.query().is_some()
            || url.fragment().is_some()
        {
            return fault("`api_url` holds more than a scheme, a host, a port and a path", example);
        }
        if !is_web(&url) {
            return fault("`api_url` is not an http or https URL", example);
        }
        if url.scheme() == "http" && !is_loopback(&url) {
            let message = "plain http would send the token in the clear to another machine";
            return fault(message, "use https; plain http is for 127.0.0.1, [::1] and localhost");
        }
        Some(text.value.trim_end_matches('/').to_owned())
    };
    read().unwrap_or_else(|| CHAT_API.to_owned())
}

/// An http or https URL with a host.
pub(super) fn is_web(url: &url::Url) -> bool {
    matches!(url.scheme(), "http" | "https") && url.has_host()
}

pub(super) fn is_loopback(url: &url::Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}
