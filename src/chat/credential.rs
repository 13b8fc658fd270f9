//! Reads the secrets: webhook URLs and service-account keys, from where the rules file says they are kept.
//!
//! Read at start and at reload, so that whatever is wrong is said then, by name and with its remedy, and not at
//! the first alert. No message of this file holds a byte of a secret: not even the path of a malformed webhook URL, for
//! a token pasted in the wrong place would be in it.

use std::ffi::OsString;
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use url::Url;

use super::target::SecretSource;
use crate::message::RowId;

/// No key file or URL is near this large; what is larger is not one.
const SECRET_BYTES: u64 = 64 * 1024;
/// Of what is no file but a pipe, its writer is not waited for.
const AT_ONCE: i32 = rustix::fs::OFlags::NONBLOCK.bits() as i32;
/// The only host of webhooks, but for loopback.
const CHAT_HOST: &str = "chat.googleapis.com";
/// Where people read a space: its address there is taken for a webhook's now and then.
const BROWSER_HOSTS: [&str; 2] = ["chat.google.com", "mail.google.com"];
/// What a webhook URL looks like.
const WEBHOOK_HINT: &str = "expected the whole URL as the space's settings show it, with `key` and `token`: \
                            `https://chat.googleapis.com/v1/spaces/SPACE/messages?…`";
/// Where keys come from.
const KEY_HINT: &str =
    "make a new JSON key for the service account in the Google Cloud console, and store the file as it is";

/// What is wrong with a secret, and the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) what: String,
    pub(super) hint: String,
}

fn fault<T>(what: impl Into<String>, hint: impl Into<String>) -> Result<T, Fault> {
    Err(Fault { what: what.into(), hint: hint.into() })
}

/// A secret, and where it was found.
#[derive(Debug)]
pub(super) struct Found {
    /// Without the white space around it.
    pub(super) secret: SecretString,
    /// ``credential `ops-webhook` ``: for messages.
    pub(super) place: String,
    /// Others can read it too: said, not refused.
    pub(super) warning: Option<String>,
}

/// Whether another text than `known` lies by now where `source` names a file. Asked while the agent runs, beside the
/// runtime's own thread; what stands in the environment stays as it was at the start.
pub(super) async fn is_exchanged(
    source: &SecretSource,
    env: &(dyn Fn(&str) -> Option<OsString> + Sync),
    known: &SecretString,
) -> bool {
    let path = match source {
        SecretSource::Env(_) => return false,
        SecretSource::Credential(name) => match env("CREDENTIALS_DIRECTORY") {
            Some(dir) => PathBuf::from(dir).join(name),
            None => return false,
        },
        SecretSource::File(path) => path.clone(),
    };
    let open = tokio::fs::OpenOptions::new().read(true).custom_flags(AT_ONCE).open(path).await;
    let Ok(file) = open else { return false };
    if !file.metadata().await.is_ok_and(|m| m.is_file()) {
        return false;
    }
    let mut text = String::new();
    let read = file.take(SECRET_BYTES + 1).read_to_string(&mut text).await;
    let text = SecretString::from(text);
    read.is_ok() && text.expose_secret().trim() != known.expose_secret()
}

/// Reads the secret that `source` names; `env` looks up the environment.
pub(super) fn resolve(source: &SecretSource, env: &dyn Fn(&str) -> Option<OsString>) -> Result<Found, Fault> {
    let (text, place, warning) = match source {
        SecretSource::Env(name) => {
            let place = format!("environment variable `{name}`");
            let Some(value) = env(name) else {
                return fault(
                    format!("{place} is not set"),
                    "set it in the unit's `EnvironmentFile=`, or say `credential` instead of `env`",
                );
            };
            let Ok(text) = value.into_string() else {
                return fault(format!("{place} is not UTF-8"), "store the secret again, as it was given");
            };
            (text, place, None)
        }
        SecretSource::Credential(name) => {
            let place = format!("credential `{name}`");
            let Some(dir) = env("CREDENTIALS_DIRECTORY") else {
                return fault(
                    format!("{place} cannot be read: `$CREDENTIALS_DIRECTORY` is not set"),
                    format!(
                        "run as a systemd service with `LoadCredential={name}:/path/to/it`, or use `{{ file = \"/path\" }}`"
                    ),
                );
            };
            let path = PathBuf::from(dir).join(name);
            if !path.exists() {
                return fault(
                    format!("{place} is not among the service's credentials"),
                    format!(
                        "add `LoadCredential={name}:/path/to/it` to the unit, and `systemctl daemon-reload`"
                    ),
                );
            }
            let (text, _) = read(&path)?;
            (text, place, None)
        }
        SecretSource::File(path) => {
            let (text, (mode, owner)) = read(path)?;
            let place = format!("file `{}`", path.display());
            let warning = (mode & 0o077 != 0).then(|| {
                // root may read whatever it is
                let me = rustix::process::geteuid();
                let own = if me.is_root() || me.as_raw() == owner {
                    String::new()
                } else {
                    format!("`chown {}` and ", this_user())
                };
                let mode = mode & 0o7777;
                format!("{place} has mode {mode:04o}: others than its owner can read a secret; {own}`chmod 600` it")
            });
            (text, place, warning)
        }
    };
    if text.trim().is_empty() {
        return fault(format!("{place} is empty"), "store the secret there");
    }
    Ok(Found { secret: SecretString::from(text.trim()), place, warning })
}

/// The text of a file, with its mode and owner.
fn read(path: &Path) -> Result<(String, (u32, u32)), Fault> {
    let name = path.display();
    let give_up = |e: std::io::Error| match e.kind() {
        ErrorKind::NotFound => Fault {
            what: format!("file `{name}` does not exist"),
            hint: "put the secret there, or mend the path".into(),
        },
        ErrorKind::PermissionDenied => denied(path),
        _ => Fault {
            what: format!("file `{name}` cannot be read: {e}"),
            hint: "see that it is a plain file".into(),
        },
    };
    let file = std::fs::OpenOptions::new().read(true).custom_flags(AT_ONCE).open(path).map_err(give_up)?;
    let found = file.metadata().map_err(give_up)?;
    if !found.is_file() && !found.is_dir() {
        return fault(
            format!("`{name}` is no file: a secret cannot be read again from it"),
            "store the secret in a plain file",
        );
    }
    let mut bytes = Vec::new();
    file.take(SECRET_BYTES + 1).read_to_end(&mut bytes).map_err(give_up)?;
    if bytes.len() as u64 > SECRET_BYTES {
        return fault(format!("file `{name}` is larger than 64 KiB: it holds no secret"), "mend the path");
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok((text, (found.mode(), found.uid()))),
        Err(_) => fault(format!("file `{name}` is not UTF-8"), "store the secret again, as it was given"),
    }
}

/// Why this user may not read the file at `path`, in words: who may.
pub fn why_denied(path: &Path) -> String {
    denied(path).what
}

/// The name of the user that this process runs as.
pub fn this_user() -> String {
    user_name(rustix::process::geteuid().as_raw())
}

fn denied(path: &Path) -> Fault {
    let me = this_user();
    let owner = std::fs::metadata(path).ok().map(|m| (m.mode(), user_name(m.uid()), group_name(m.gid())));
    denied_text(path, &me, owner.as_ref())
}

fn denied_text(path: &Path, me: &str, owner: Option<&(u32, String, String)>) -> Fault {
    let name = path.display();
    let Some((mode, user, group)) = owner else {
        return Fault {
            what: format!(
                "file `{name}` cannot be read: permission denied on a folder above it, as user `{me}`"
            ),
            hint: format!("let `{me}` into the folder, or hand the file over by `LoadCredential=`"),
        };
    };
    let may = if mode & 0o040 == 0 { String::new() } else { format!(" and group `{group}`") };
    Fault {
        what: format!(
            "file `{name}` cannot be read: permission denied; it has mode {:04o}, and only user `{user}`{may} may read it, not `{me}`",
            mode & 0o7777
        ),
        hint: format!("hand it over by `LoadCredential=` (systemd reads it as root), or `chown {me}` it"),
    }
}

/// The name of a user, else the number.
pub fn user_name(id: u32) -> String {
    name_in("/etc/passwd", id)
}

fn group_name(id: u32) -> String {
    name_in("/etc/group", id)
}

/// The name of `id` in a passwd-like table, else the number: a directory service is not asked for an error text.
fn name_in(table: &str, id: u32) -> String {
    let wanted = id.to_string();
    let text = std::fs::read_to_string(table).unwrap_or_default();
    let found = text.lines().find(|l| l.split(':').nth(2) == Some(&wanted)).and_then(|l| l.split(':').next());
    found.map_or(wanted, str::to_owned)
}

/// Plain http is for these alone.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// What is taken for a secret now and then, and is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mistake {
    /// The client of an application that asks people for their consent.
    OAuthClient,
    ApiKey,
    /// The PEM out of a key file, or of something else.
    BareKey,
    Url,
    /// The key of a service account.
    Key,
}

impl Mistake {
    /// What the secret is, where its very form says so.
    fn of(secret: &SecretString) -> Option<Mistake> {
        let text = secret.expose_secret();
        if text.starts_with("-----BEGIN ") {
            return Some(Mistake::BareKey);
        }
        if text.len() == 39 && text.starts_with("AIza") {
            return Some(Mistake::ApiKey);
        }
        if text.starts_with("https://") || text.starts_with("http://") {
            return Some(Mistake::Url);
        }
        let json: Value = serde_json::from_str(text).ok()?;
        if json["web"]["client_id"].is_string() || json["installed"]["client_id"].is_string() {
            return Some(Mistake::OAuthClient);
        }
        (json["type"] == "service_account").then_some(Mistake::Key)
    }

    fn what(self) -> &'static str {
        match self {
            Mistake::OAuthClient => "an OAuth client",
            Mistake::ApiKey => "an API key",
            Mistake::BareKey => "a bare private key or certificate",
            Mistake::Url => "a URL",
            Mistake::Key => "the key of a service account",
        }
    }

    fn for_key(self) -> &'static str {
        match self {
            Mistake::Url => {
                "a webhook's URL belongs under `webhook`, in place of `name` and `service_account`"
            }
            Mistake::BareKey => "store the whole JSON file of the key, as the Google Cloud console gave it",
            _ => KEY_HINT,
        }
    }

    fn for_url(self) -> &'static str {
        match self {
            Mistake::Key => {
                "a key belongs under `service_account`, with `name = \"spaces/…\"` in place of `webhook`"
            }
            _ => WEBHOOK_HINT,
        }
    }
}

/// The URL of an incoming webhook, well formed.
#[derive(Debug)]
pub(super) struct WebhookUrl {
    /// Up to the query.
    base: SecretString,
    /// `key=…&token=…` and what else it holds, byte for byte.
    query: SecretString,
    /// `spaces/AAAA`.
    pub(super) space: String,
    /// For messages; no secret.
    pub(super) host: String,
    /// Key and token, as they stand there: taken out of whatever a server says.
    pub(super) parts: Vec<SecretString>,
    /// The server is on this machine.
    pub(super) loopback: bool,
}

impl WebhookUrl {
    /// Parses the secret; the fault names `place`, and no part of the secret but its host.
    pub(super) fn parse(secret: &SecretString, place: &str) -> Result<WebhookUrl, Fault> {
        let bad = |what: &str| fault(format!("the webhook URL in {place} {what}"), WEBHOOK_HINT);
        if let Some(mistake) = Mistake::of(secret).filter(|m| *m != Mistake::Url) {
            return fault(
                format!("{place} holds {}, not the URL of a webhook", mistake.what()),
                mistake.for_url(),
            );
        }
        let Ok(url) = Url::parse(secret.expose_secret()) else {
            return fault(format!("{place} holds no URL"), WEBHOOK_HINT);
        };
        // a parser of URLs takes line ends out without a word
        if secret.expose_secret().contains(char::is_whitespace) {
            return bad("has a space or a line end in it, or another URL behind it");
        }
        let loopback = is_loopback(&url);
        match url.scheme() {
            "https" => {}
            "http" if loopback => {}
            "http" => return bad("begins with `http:`; plain http is accepted for loopback only"),
            _ => return bad("does not begin with `https:`"),
        }
        let host = url.host_str().unwrap_or_default().to_owned();
        if BROWSER_HOSTS.contains(&host.as_str()) {
            return bad("is the address of a space in the browser, not of a webhook in it");
        }
        if !loopback && host != CHAT_HOST {
            return bad(&format!("points to `{host}` and not to `{CHAT_HOST}`"));
        }
        let space = match url.path().split('/').collect::<Vec<_>>()[..] {
            ["", "v1", "spaces", space, "messages"] if is_id(space) => format!("spaces/{space}"),
            _ => return bad("has no path of the form `/v1/spaces/SPACE/messages`"),
        };
        let raw = url.query().unwrap_or_default();
        let mut parts = vec![];
        for name in ["key", "token"] {
            let value = raw.split('&').find_map(|p| p.strip_prefix(name)?.strip_prefix('='));
            match value {
                Some(v) if !v.is_empty() => {
                    parts.push(SecretString::from(v));
                    // a server may say it as it reads it
                    let read = url.query_pairs().find(|(n, read)| n == name && *read != v);
                    parts.extend(read.map(|(_, read)| SecretString::from(read.into_owned())));
                    // or escape its filling once more, which is all of it that can be written in several ways
                    let core = v.trim_end_matches("%3D").trim_end_matches("%3d").trim_end_matches('=');
                    parts.extend((core != v).then(|| SecretString::from(core)));
                }
                _ => return bad(&format!("has no `{name}`")),
            }
        }
        // ids and threads are this program's own business, whatever was pasted along
        let ours = ["requestId=", "messageId=", "messageReplyOption=", "threadKey="];
        let kept: Vec<&str> = raw.split('&').filter(|p| !ours.iter().any(|o| p.starts_with(o))).collect();
        let query = SecretString::from(kept.join("&"));
        let mut base = url;
        base.set_query(None);
        base.set_fragment(None);
        Ok(WebhookUrl { base: SecretString::from(base.as_str()), query, space, host, parts, loopback })
    }

    /// As it is, for a question that makes no message.
    pub(super) fn whole(&self) -> SecretString {
        SecretString::from(format!("{}?{}", self.base.expose_secret(), self.query.expose_secret()))
    }

    /// Where `row` is posted.
    pub(super) fn create(&self, row: &RowId) -> SecretString {
        let (base, query) = (self.base.expose_secret(), self.query.expose_secret());
        SecretString::from(format!("{base}?{query}&{}", ids(row)))
    }
}

/// The query of a create request, but for credentials.
pub(super) fn ids(row: &RowId) -> String {
    let id = &row.0;
    format!("requestId={id}&messageId=client-{id}&messageReplyOption=REPLY_MESSAGE_FALLBACK_TO_NEW_THREAD")
}

fn is_id(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// A service-account key, complete and tried.
#[derive(Debug)]
pub(super) struct ServiceKey {
    /// The whole file, as `google-cloud-auth` takes it.
    pub(super) json: SecretString,
    /// Whose key it is.
    pub(super) client_email: String,
    /// To which project it belongs.
    pub(super) project_id: String,
    /// The key's own id.
    pub(super) key_id: String,
    /// PEM, PKCS#8.
    pub(super) private_key: SecretString,
    /// Where an assertion is exchanged.
    pub(super) token_uri: Url,
}

impl ServiceKey {
    /// Parses the file and signs once with its key, so that a bad one is found now.
    pub(super) fn parse(found: &Found) -> Result<ServiceKey, Fault> {
        let place = &found.place;
        let bad = |what: String| fault(format!("{place} {what}"), KEY_HINT);
        if let Some(mistake) = Mistake::of(&found.secret).filter(|m| *m != Mistake::Key) {
            return fault(
                format!("{place} holds {}, not the key of a service account", mistake.what()),
                mistake.for_key(),
            );
        }
        let Ok(json) = serde_json::from_str::<Value>(found.secret.expose_secret()) else {
            return bad("is not the JSON of a service-account key".into());
        };
        match json["type"].as_str() {
            Some("service_account") => {}
            Some("external_account") => {
                return fault(
                    format!(
                        "{place} holds the configuration of workload identity, not the key of a service account"
                    ),
                    "leave `service_account` out, and name the file in `GOOGLE_APPLICATION_CREDENTIALS`",
                );
            }
            Some(other) if other.len() < 40 => {
                return bad(format!(
                    "has `type` `{}`, expected `service_account`",
                    super::escape::clean(other)
                ));
            }
            _ => return bad("has no `type`, expected `service_account`".into()),
        }
        let field = |name: &str| match json[name].as_str() {
            Some(v) if !v.is_empty() => Ok(v.to_owned()),
            _ => fault(format!("{place} has no `{name}`"), KEY_HINT),
        };
        let key = ServiceKey {
            json: found.secret.clone(),
            client_email: field("client_email")?,
            project_id: field("project_id")?,
            key_id: field("private_key_id")?,
            private_key: SecretString::from(field("private_key")?),
            token_uri: match Url::parse(&field("token_uri")?) {
                Ok(u) if u.scheme() == "https" || u.scheme() == "http" && is_loopback(&u) => u,
                Ok(u) if u.scheme() == "http" => {
                    return bad("has a `token_uri` of plain http, which is accepted for loopback only".into());
                }
                _ => return bad("has a `token_uri` that is no https URL".into()),
            },
        };
        let pem = key.private_key.expose_secret().trim_start();
        if pem.starts_with("-----BEGIN RSA PRIVATE KEY-----") {
            return fault(
                format!("{place} has a `private_key` in PKCS#1 form, expected PKCS#8 (`BEGIN PRIVATE KEY`)"),
                "convert it by `openssl pkcs8 -topk8 -nocrypt`, or make a new JSON key",
            );
        }
        if pem.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----") {
            return bad("has an encrypted `private_key`, and there is nobody to type its passphrase".into());
        }
        if !pem.starts_with("-----BEGIN PRIVATE KEY-----") || key.sign(&serde_json::json!({})).is_none() {
            return bad("has a `private_key` that is no RSA key in PKCS#8 form (`BEGIN PRIVATE KEY`)".into());
        }
        Ok(key)
    }

    /// A JWT of `claims`, RS256; nothing where the key cannot sign.
    pub(super) fn sign(&self, claims: &Value) -> Option<SecretString> {
        let key =
            jsonwebtoken::EncodingKey::from_rsa_pem(self.private_key.expose_secret().as_bytes()).ok()?;
        let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::RS256);
        header.kid = Some(self.key_id.clone());
        Some(SecretString::from(jsonwebtoken::encode(&header, claims, &key).ok()?))
    }
}

#[cfg(test)]
mod tests;
