//! One space: its secret, what Chat says of it, and whether a message ever went through.
//!
//! Mapping only: the client's own code reads the secret and asks. A secret that systemd loads for the service is not to be had
//! at a terminal under its name, so root looks at the file that the unit names.

use std::env;

use crate::chat::{
    Asked, By, ClientError, Known, KnownDoor, Outcome, SKEW, SecretSource, Target, TokenWay, Watch, Way,
    known,
};

use super::super::brief::count;
use super::host::{Accepted, Place};
use super::sheet::{Finding, Sheet};
use super::unit::NAME;

/// A clock that is wrong by less than so many seconds is right.
const RIGHT: u64 = 10;
/// The remedy where nothing answers.
const REACH: &str = "see that this host can reach it: name servers, firewall, `HTTPS_PROXY`";

/// A space under examination.
#[derive(Debug)]
pub(super) struct Patient<'a> {
    pub(super) target: &'a Target,
    pub(super) place: &'a Place,
    pub(super) accepted: &'a Accepted,
}

impl Patient<'_> {
    fn about(&self) -> String {
        format!("space/{}", self.target.name)
    }

    /// Reads the secret. Gives the target that Chat can be asked by, where it can be.
    pub(super) fn examine(&self, now: &Watch, sheet: &mut Sheet) -> Option<Target> {
        let about = self.about();
        let found = match self.secret_at_hand() {
            Ok(target) => target,
            Err(finding) => {
                sheet.add(finding);
                return None;
            }
        };
        match known(&found, now) {
            Ok(known) => {
                let is_console = known.door == KnownDoor::Console;
                sheet.extend(of_secret(&about, self.target, known));
                if is_console && self.place.of_service && self.place.unit.is_some() {
                    let what = "nobody reads the terminal of a service";
                    let hint = format!("give `[space.{}]` a `webhook` or a `name`", self.target.name);
                    sheet.add(Finding::warning(&about, "console", what).hint(hint));
                }
                (!is_console).then_some(found)
            }
            Err(ClientError { what, hint, .. }) => {
                sheet.add(Finding::failure(&about, "secret", what).hint(hint));
                None
            }
        }
    }

    /// The target with its secret where this process can read it.
    fn secret_at_hand(&self) -> Result<Target, Finding> {
        let mut target = self.target.clone();
        let (Way::Webhook(source) | Way::Rest { key: Some(source), .. }) = &mut target.way else {
            return Ok(target);
        };
        let SecretSource::Credential(name) = source else { return Ok(target) };
        let Some(unit) = self.place.unit.as_ref().filter(|_| env::var_os("CREDENTIALS_DIRECTORY").is_none())
        else {
            return Ok(target);
        };
        let about = self.about();
        let Some(path) = unit.credentials.get(name) else {
            let what =
                format!("credential `{name}` is not loaded: `{NAME}` has no `LoadCredential={name}:…`");
            let hint = format!(
                "`systemctl edit logherald`: under `[Service]` say `LoadCredential={name}:/path/to/it`, and restart"
            );
            return Err(Finding::failure(&about, "secret", what).hint(hint));
        };
        let readable = path.is_absolute()
            && !std::fs::File::open(path).is_err_and(|e| e.kind() == std::io::ErrorKind::PermissionDenied);
        if !readable {
            let what =
                format!("credential `{name}` is loaded for the service alone and cannot be looked at here");
            let hint = "`sudo logherald doctor` looks at the file it comes from; one that is encrypted only the agent can read";
            return Err(Finding::warning(&about, "secret", what).hint(hint));
        }
        *source = SecretSource::File(path.clone());
        Ok(target)
    }

    /// What Chat said.
    pub(super) fn said(&self, asked: Result<Vec<Asked>, ClientError>) -> Vec<Finding> {
        match asked {
            Ok(asked) => of_answers(&self.about(), self.target, &asked),
            Err(ClientError { what, hint, .. }) => {
                vec![Finding::failure(&self.about(), "secret", what).hint(hint)]
            }
        }
    }

    /// Whether a message ever went through.
    pub(super) fn tried(&self) -> Option<Finding> {
        let accepted =
            self.accepted.as_ref().map(|all| all.get(&*self.target.name).cloned().unwrap_or_default());
        of_messages(&self.about(), self.target, accepted)
    }
}

/// What a sound secret opens, and what is odd about it.
fn of_secret(about: &str, target: &Target, known: Known) -> Vec<Finding> {
    let Known { place, door, warnings } = known;
    let place = place.unwrap_or_default();
    let what = match door {
        KnownDoor::Console => "alerts go to the terminal".to_owned(),
        KnownDoor::Webhook(space) => format!("{place} holds the URL of a webhook of `{space}`"),
        KnownDoor::Key { account, project } => {
            format!("{place} holds a key of service account `{account}`, project `{project}`")
        }
        KnownDoor::HostCredentials => "no key is named: the credentials of this host are used".to_owned(),
    };
    let check = if matches!(target.way, Way::Console) { "console" } else { "secret" };
    let mut found = vec![Finding::ok(about, check, what)];
    for warning in warnings {
        let (what, hint) = warning.rsplit_once("; ").unwrap_or((&warning, ""));
        let finding = Finding::warning(about, "secret-mode", what);
        found.push(if hint.is_empty() { finding } else { finding.hint(hint) });
    }
    found
}

/// What came of asking by each way that the secret opens: of the ways that the agent goes, the first that it stays with.
fn of_answers(about: &str, target: &Target, asked: &[Asked]) -> Vec<Finding> {
    let (space, way) = match &target.way {
        Way::Console => return vec![],
        Way::Webhook(_) => {
            let what = "Chat answers, and does not refuse its URL; nothing was written";
            return asked.iter().map(|a| of_answer(about, "webhook", a, what)).collect();
        }
        Way::Rest { space, token, .. } => (space, token),
    };
    let goes = |a: &&Asked| match (way, a.by) {
        (TokenWay::SelfSigned, by) => by != By::Exchanged,
        (TokenWay::Exchange, by) => by != By::SelfSigned,
        (TokenWay::Auto, _) => true,
    };
    // as the agent does it: only a 401 makes it try another token
    let unauthorized =
        |a: &Asked| matches!(&a.refused, Some(Outcome::Pause { why, .. }) if why.starts_with("401"));
    let mut ways = asked.iter().filter(goes);
    let Some(first) = ways.next() else { return vec![] };
    let used = if unauthorized(first) { ways.next().unwrap_or(first) } else { first };
    let named = used.name.as_ref().map(|n| format!(" (“{n}”)")).unwrap_or_default();
    let mut found = vec![of_answer(about, "member", used, &format!("its app is in `{space}`{named}"))];
    if *way == TokenWay::Auto && used.refused.is_none() {
        found.extend(of_ways(about, asked));
    }
    found
}

/// Which of two ways to a token work, where both are allowed and one is enough.
fn of_ways(about: &str, asked: &[Asked]) -> Option<Finding> {
    let by = |by: By| asked.iter().find(|a| a.by == by);
    let (own, exchanged) = (by(By::SelfSigned)?, by(By::Exchanged)?);
    let why = |a: &Asked| a.refused.as_ref().map(|o| said(o).0);
    let what = match (why(own), why(exchanged)) {
        (None, None) => "tokens that its key signs are taken, and exchanged ones too".to_owned(),
        (None, Some(why)) => {
            format!("tokens that its key signs are taken; there are no exchanged ones: {why}")
        }
        (Some(_), _) => "tokens that its key signs are refused, exchanged ones are taken".to_owned(),
    };
    Some(Finding::ok(about, "token", what))
}

fn of_answer(about: &str, check: &'static str, asked: &Asked, good: &str) -> Finding {
    let Some(outcome) = &asked.refused else { return Finding::ok(about, check, good) };
    let (why, hint) = said(outcome);
    let finding = match outcome {
        Outcome::Slow { .. } => Finding::warning(about, check, why),
        _ => Finding::failure(about, check, why),
    };
    Finding { remote: true, ..finding.hint(hint) }
}

/// What happened, and what to do about it.
fn said(outcome: &Outcome) -> (String, String) {
    match outcome {
        Outcome::Pause { why, hint, .. } => (why.clone(), hint.clone()),
        Outcome::Slow { why, .. } => {
            (why.clone(), "others write to it as well; ask again in a minute".to_owned())
        }
        Outcome::Retry { why, .. } if why.starts_with(|c: char| c.is_ascii_digit()) => (
            why.clone(),
            "ask again in a minute; the agent keeps its messages and tries them again".to_owned(),
        ),
        Outcome::Retry { why, .. } | Outcome::Unanswered { why } => (why.clone(), REACH.to_owned()),
        Outcome::Refused { why, .. } | Outcome::Gone { why } => {
            (why.clone(), "see that the URL is Chat's and that no proxy answers in its place".to_owned())
        }
        Outcome::Delivered { .. } => (String::new(), String::new()),
    }
}

/// Whether a message ever went through: how many were accepted and when the last was, where that is known.
fn of_messages(about: &str, target: &Target, accepted: Option<(u64, Option<String>)>) -> Option<Finding> {
    match (accepted, &target.way) {
        (Some((n @ 1.., last)), _) => {
            let last = last.map(|at| format!(", the last at {at}")).unwrap_or_default();
            Some(Finding::ok(about, "tried", format!("it has accepted {}{last}", count(n, "message"))))
        }
        // an app that is in its space may write there; of a webhook only a message proves it
        (_, Way::Rest { .. } | Way::Console) => None,
        (Some(_), Way::Webhook(_)) => {
            let what = "no message has ever gone through this webhook, as far as the state knows";
            Some(Finding::warning(about, "tried", what).hint(send(target)))
        }
        (None, Way::Webhook(_)) => {
            let what = "whether a message ever went through this webhook is not known here";
            Some(Finding::warning(about, "tried", what).hint(send(target)))
        }
    }
}

fn send(target: &Target) -> String {
    format!("`logherald send {}` sends a test message", target.name)
}

/// This host's clock against the servers': seconds that it is ahead.
pub(super) fn clock(skew: Option<i64>) -> Option<Finding> {
    let skew = skew?;
    let off = skew.unsigned_abs();
    if off < RIGHT {
        return Some(Finding::ok("network", "clock", "this host's clock agrees with Chat's"));
    }
    let way = if skew > 0 { "ahead of" } else { "behind" };
    let what = format!("this host's clock is {off} s {way} Chat's");
    let hint = "set it, and keep it right: `timedatectl set-ntp true`";
    Some(match off {
        _ if off > SKEW => {
            Finding::failure("network", "clock", format!("{what}: tokens will be refused")).hint(hint)
        }
        _ => Finding::warning("network", "clock", what).hint(hint),
    })
}

/// By which proxy requests go, as the client finds it; no word of its credentials. `env` gives variables.
pub(super) fn proxy(env: &dyn Fn(&str) -> Option<String>, of_service: bool) -> Option<Finding> {
    let first = |names: [&'static str; 2]| {
        names.into_iter().find_map(|name| Some((name, env(name).filter(|value| !value.is_empty())?)))
    };
    let (name, value) =
        first(["HTTPS_PROXY", "https_proxy"]).or_else(|| first(["ALL_PROXY", "all_proxy"]))?;
    let whole = if value.contains("://") { value } else { format!("http://{value}") };
    let url = url::Url::parse(&whole).ok();
    let Some(host) = url.as_ref().and_then(url::Url::host_str) else {
        let what = format!("`{name}` is set, and is no URL of a proxy");
        return Some(Finding::warning("network", "proxy", what).hint("such as `http://proxy.example:3128`"));
    };
    let port = url.as_ref().and_then(url::Url::port).map(|port| format!(":{port}")).unwrap_or_default();
    let except = first(["NO_PROXY", "no_proxy"]);
    let except = except.map(|(name, _)| format!(", but for what `{name}` names")).unwrap_or_default();
    let other = if of_service { "; the service goes by the `Environment=` of its unit" } else { "" };
    let what = format!("by `{name}` requests of this terminal go through `{host}{port}`{except}{other}");
    Some(Finding::ok("network", "proxy", what))
}

#[cfg(test)]
mod tests;
