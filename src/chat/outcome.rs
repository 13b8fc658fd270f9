//! What became of a try, and every answer that Chat, or whatever stands between, can give.
//!
//! [`classify`] is pure and total: any status with any body gives an outcome, and none of them loops. Two things
//! surprise: a 200 is no delivery unless its body is a message in our space (captive portals answer 200), and a
//! 409 is one, because it says that an earlier try of this very message had landed.

use std::time::Duration;

use serde_json::Value;

use super::escape::clean;
use super::split::cut;
use crate::time::Wall;

/// The first wait before a paused space is tried again; it doubles with each try.
const PAUSE: Duration = Duration::from_secs(5 * 60);
/// A space in the wrong state seldom changes it sooner.
const PAUSE_STATE: Duration = Duration::from_secs(15 * 60);
/// `Retry-After` is taken no shorter and no longer than this.
const RETRY_AFTER: (u64, u64) = (1, 600);
/// Good webhooks answer 401 now and then: so many in a row are taken for chance.
const CHANCE_401: u32 = 5;
/// A redirect may be a proxy that restarts: so many in a row are taken for chance.
const CHANCE_REDIRECT: u32 = 2;
/// A clock that is wrong by more than so many seconds is named as the reason why a token is refused.
pub const SKEW: u64 = 60;
/// No id of a message is longer: those that Chat makes have some 25 characters, one of ours 39.
const ID_BYTES: usize = 128;
/// What every remedy says that ends in another secret where this one lies.
pub(super) const STORE: &str = "and store ";
/// What a server says of a fault is cut here, in characters.
const SAID_CHARS: usize = 300;

/// What became of one try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The space has the message.
    Delivered {
        /// Its name in Chat, where the answer told it.
        name: Option<String>,
        /// Its thread's name, where the answer told it.
        thread: Option<String>,
    },
    /// Not delivered, or nobody knows; the same body under the same ids may be sent again.
    Retry {
        /// What happened; holds no secret.
        why: String,
        /// Not sooner than this, where the server said so.
        after: Option<Duration>,
    },
    /// No answer: the network, or what it leads to, is away. The same may be sent again, and asking costs Chat nothing.
    Unanswered {
        /// What happened; holds no secret.
        why: String,
    },
    /// Too fast for the space, the project or the service. Never counts as a failed try.
    Slow {
        /// What happened; holds no secret.
        why: String,
        /// Not sooner than this, where the server said so.
        after: Option<Duration>,
    },
    /// Nothing gets through until somebody mends something: every message of the space waits.
    Pause {
        /// What happened; holds no secret.
        why: String,
        /// What to mend.
        hint: String,
        /// Try again after this, doubling.
        again: Duration,
        /// So many of these in a row are taken for chance first, and tried again without a pause.
        chance: u32,
    },
    /// The message that was to be edited is not there any more, or is not ours to edit.
    Gone {
        /// What happened; holds no secret.
        why: String,
    },
    /// This message is refused for good.
    Refused {
        /// What happened; holds no secret.
        why: String,
        /// A plainer form of it, as a new row with a new id, may be accepted.
        resend_plain: bool,
    },
}

/// Through which door a message went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Door {
    /// An incoming webhook.
    Webhook,
    /// The REST API, as whom.
    Rest(Caller),
}

/// Who speaks to the REST API, for remedies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// The service account's address; none for Application Default Credentials.
    pub client_email: Option<String>,
    /// The project its key belongs to.
    pub project_id: Option<String>,
}

/// What was asked, as far as an answer must be held against it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask<'a> {
    /// Through which door.
    pub door: &'a Door,
    /// `spaces/AAAA`.
    pub space: &'a str,
    /// The row is the plain form already.
    pub plain: bool,
    /// It edits a message.
    pub edit: bool,
    /// Wall time of the answer.
    pub at: Wall,
}

/// An answer, its body bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer<'a> {
    /// HTTP status.
    pub status: u16,
    /// `Retry-After`, where there is one.
    pub retry_after: Option<&'a str>,
    /// `Date`, where there is one.
    pub date: Option<&'a str>,
    /// The body, or its head.
    pub body: &'a [u8],
    /// The body broke off or was over the bound.
    pub cut: bool,
}

/// Google's error body, as far as it is one.
struct Said {
    /// `PERMISSION_DENIED`, or nothing.
    status: String,
    /// The message, clean and cut.
    message: String,
    /// Every `reason` in the details.
    reasons: Vec<String>,
    /// A `fieldViolations` is among the details.
    about_fields: bool,
}

/// What `answer` to `ask` means: the table of every HTTP outcome.
pub fn classify(ask: &Ask<'_>, answer: &Answer<'_>) -> Outcome {
    let said = Said::read(answer.body);
    let why = said.why(answer.status);
    let after = answer.retry_after.and_then(|v| retry_after(v, answer.date, ask.at));
    let pause = |hint: String| Outcome::Pause { why: why.clone(), hint, again: PAUSE, chance: 0 };
    let retry = |why: String| Outcome::Retry { why, after };
    let refused = || Outcome::Refused { why: why.clone(), resend_plain: !ask.plain };
    match answer.status {
        200..=299 => {
            delivered(ask, answer).unwrap_or_else(|what| retry(format!("{}, {what}", answer.status)))
        }
        300..=399 => Outcome::Pause {
            why: format!(
                "{}, a redirect, which is never followed: it would carry the secret elsewhere",
                answer.status
            ),
            hint: "look for a proxy or portal between this host and Chat".into(),
            again: PAUSE,
            chance: CHANCE_REDIRECT,
        },
        400 if said.is("API_KEY_INVALID") => pause(new_webhook("its `key` is not valid")),
        400 if said.status == "FAILED_PRECONDITION" => Outcome::Pause {
            why,
            hint: format!("look at the state of `{}` in Chat", ask.space),
            again: PAUSE_STATE,
            chance: 0,
        },
        400 | 411 | 413 | 414 | 422 | 431 => refused(),
        401 => unauthorized(ask, answer, why),
        403 if said.is_rate() => Outcome::Slow { why, after },
        // of a message, not of its space: if that is what is wrong, a new message will say so
        403 | 404 | 410 if ask.edit => Outcome::Gone { why },
        403 => pause(forbidden(ask, &said)),
        404 | 410 => pause(match ask.door {
            Door::Webhook => new_webhook("its space or the webhook itself is gone"),
            Door::Rest(who) => {
                format!("see that `{}` is right and that {} is a member of it", ask.space, who.app())
            }
        }),
        407 => pause("give `HTTPS_PROXY` the credentials that the proxy asks for".into()),
        408 | 499 | 425 => retry(why),
        409 if said.status == "ALREADY_EXISTS" && !ask.edit => {
            Outcome::Delivered { name: None, thread: None }
        }
        409 | 412 => retry(why),
        429 => Outcome::Slow { why, after },
        501 | 505 => pause("see that the URL is Chat's and that no proxy answers in its place".into()),
        500..=599 => retry(why),
        402 | 405 | 406 | 415 | 451 => {
            pause("see that the URL is Chat's and that no proxy answers in its place".into())
        }
        400..=499 => refused(),
        _ => retry(why),
    }
}

fn delivered(ask: &Ask<'_>, answer: &Answer<'_>) -> Result<Outcome, String> {
    if answer.cut {
        return Err("but the answer broke off".into());
    }
    let not_ours = || "but not from Chat: look for a proxy or portal in between".to_owned();
    let json: Value = serde_json::from_slice(answer.body).map_err(|_| not_ours())?;
    let name = json["name"].as_str().ok_or_else(not_ours)?;
    let in_space = name.strip_prefix(ask.space).and_then(|rest| rest.strip_prefix("/messages/"));
    // it goes onto terminals: a name of Chat's has nothing in it but these
    let named = |id: &str| {
        (1..=ID_BYTES).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    };
    if !in_space.is_some_and(named) {
        let other = cut(&clean(name), 80).into_owned();
        return Err(format!("but for `{other}` and not a message in `{}`", ask.space));
    }
    Ok(Outcome::Delivered {
        name: Some(name.to_owned()),
        thread: json["thread"]["name"].as_str().map(str::to_owned),
    })
}

fn unauthorized(ask: &Ask<'_>, answer: &Answer<'_>, why: String) -> Outcome {
    match ask.door {
        Door::Webhook => Outcome::Pause {
            why,
            hint: new_webhook("it is not accepted any more"),
            again: PAUSE,
            chance: CHANCE_401,
        },
        Door::Rest(who) => {
            let hint = clock_hint(skew(answer.date, ask.at))
                .unwrap_or_else(|| format!("see that {} is enabled and its key not revoked", who.account()));
            Outcome::Pause { why, hint, again: PAUSE, chance: 0 }
        }
    }
}

fn forbidden(ask: &Ask<'_>, said: &Said) -> String {
    let Door::Rest(who) = ask.door else {
        return new_webhook("its `token` is wrong, it was taken away, or webhooks are forbidden there");
    };
    let project =
        who.project_id.as_deref().map_or_else(|| "its project".into(), |p| format!("project `{p}`"));
    if said.is("SERVICE_DISABLED") || said.message.contains("has not been used in project") {
        return format!("enable the Google Chat API in {project}");
    }
    if said.is("ACCESS_TOKEN_SCOPE_INSUFFICIENT")
        || said.message.contains("insufficient authentication scopes")
    {
        return format!("give {} the scope `https://www.googleapis.com/auth/chat.bot`", who.account());
    }
    let other = if who.project_id.is_some() { "; or is this the key of another project?" } else { "" };
    format!("add the Chat app of {project} ({}) to `{}`{other}", who.account(), ask.space)
}

fn new_webhook(what: &str) -> String {
    format!("make a new webhook in the space's settings {STORE}its URL: {what}")
}

impl Caller {
    fn account(&self) -> String {
        self.client_email.as_deref().map_or_else(
            || "the account of the Application Default Credentials".into(),
            |e| format!("service account `{e}`"),
        )
    }

    fn app(&self) -> String {
        match &self.project_id {
            Some(p) => format!("the Chat app of project `{p}`"),
            None => "the Chat app".into(),
        }
    }
}

impl Said {
    fn read(body: &[u8]) -> Said {
        let json: Value = serde_json::from_slice(body).unwrap_or_default();
        let error = &json["error"];
        let text = |v: &Value| said_by_a_server(v.as_str().unwrap_or_default(), SAID_CHARS);
        let details: &[Value] = error["details"].as_array().map_or(&[], Vec::as_slice);
        let old: &[Value] = error["errors"].as_array().map_or(&[], Vec::as_slice);
        Said {
            status: text(&error["status"]),
            message: text(&error["message"]),
            reasons: details
                .iter()
                .chain(old)
                .filter_map(|d| Some(d["reason"].as_str()?.to_owned()))
                .collect(),
            about_fields: details.iter().any(|d| d["fieldViolations"].is_array()),
        }
    }

    fn is(&self, reason: &str) -> bool {
        self.reasons.iter().any(|r| r == reason)
    }

    fn is_rate(&self) -> bool {
        const RATE: [&str; 5] = [
            "RATE_LIMIT_EXCEEDED",
            "rateLimitExceeded",
            "userRateLimitExceeded",
            "quotaExceeded",
            "RESOURCE_EXHAUSTED",
        ];
        self.status == "RESOURCE_EXHAUSTED" || RATE.iter().any(|r| self.is(r))
    }

    /// `403 PERMISSION_DENIED: the caller does not have permission`.
    fn why(&self, status: u16) -> String {
        let mut out = status.to_string();
        for (lead, part) in [(" ", &self.status), (": ", &self.message)] {
            if !part.is_empty() {
                out.push_str(lead);
                out.push_str(part);
            }
        }
        if self.about_fields && self.message.is_empty() {
            out.push_str(": a field is not accepted");
        }
        out
    }
}

/// What a server says, clean, cut, and with no hint in it: those are the agent's own, and where lines are wrapped one may come
/// to stand where its own do.
pub(super) fn said_by_a_server(text: &str, chars: usize) -> String {
    cut(&clean(text).replace("hint:", "hint -"), chars).into_owned()
}

/// A `Retry-After` of seconds or a date, within its bounds; nothing where it is neither.
fn retry_after(value: &str, date: Option<&str>, at: Wall) -> Option<Duration> {
    let value = value.trim();
    let digits = value.strip_prefix('-').unwrap_or(value);
    let seconds = if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        if digits.len() < value.len() { 0 } else { value.parse().unwrap_or(u64::MAX) }
    } else {
        // against the server's own clock where it tells it: ours may be wrong
        http_date(value)?.since(date.and_then(http_date).unwrap_or(at)).as_secs()
    };
    Some(Duration::from_secs(seconds.clamp(RETRY_AFTER.0, RETRY_AFTER.1)))
}

/// By how many seconds this host's clock is ahead of the server's `Date`; negative: behind it.
pub(super) fn skew(date: Option<&str>, at: Wall) -> Option<i64> {
    Some((at.0 - http_date(date?)?.0) / 1000)
}

/// What to mend where the clock is too wrong for tokens.
pub(super) fn clock_hint(skew: Option<i64>) -> Option<String> {
    let s = skew.filter(|s| s.unsigned_abs() > SKEW)?;
    let way = if s > 0 { "ahead" } else { "behind" };
    Some(format!("set this host's clock: it is {} s {way} of the server's", s.unsigned_abs()))
}

fn http_date(value: &str) -> Option<Wall> {
    Some(Wall(jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(value).ok()?.as_millisecond()))
}

#[cfg(test)]
mod tests;
