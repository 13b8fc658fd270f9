//! Asks whether a space can be spoken to, without a word in it: for a start, and for `logherald doctor`.
//!
//! A space of the REST API is read; then the answer says whether the token is taken and whether the app is a member. A
//! webhook can only write. So it is sent what can never be a message, a field that no message has: Chat refuses it as it
//! refuses any unknown field, and before that it looks at the URL's `key`, perhaps at more. That is why a webhook that
//! answers well is still only known to work once a message has gone through it.

use std::sync::Arc;

use reqwest::header::CONTENT_TYPE;
use secrecy::ExposeSecret as _;
use serde_json::Value;

use super::client::{ClientError, Open, Opened, RestSpace, Screen, open};
use super::escape::clean;
use super::http;
use super::keyring::Keyring;
use super::outcome::{Ask, Door, Outcome, classify, skew};
use super::split::cut;
use super::target::{Target, TokenWay, Way};
use super::token::Watch;

/// What no message has.
const NO_MESSAGE: &str = r#"{"notAMessage":"logherald asks whether this webhook is there"}"#;
/// A space's name for people is cut here, in characters.
const NAME_CHARS: usize = 60;

/// What is known of a space without asking anybody, once its secret was read and found sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Where the secret was found, for messages; `None` where there is none.
    pub place: Option<String>,
    /// What it opens.
    pub door: KnownDoor,
    /// What is odd about the secret, but no reason to refuse it.
    pub warnings: Vec<String>,
}

/// What a secret opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KnownDoor {
    /// The terminal.
    Console,
    /// A webhook of this space (`spaces/AAAA`).
    Webhook(String),
    /// The REST API by the key of this account and project.
    Key {
        /// The service account.
        account: String,
        /// Its project.
        project: String,
    },
    /// The REST API by whatever credentials the host has.
    HostCredentials,
}

/// By what a space was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The URL of a webhook.
    Webhook,
    /// A token that the key signed itself.
    SelfSigned,
    /// A token that the token endpoint gave.
    Exchanged,
    /// A token of the host's credentials.
    HostCredentials,
}

/// What came of asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// By what.
    pub by: By,
    /// `None`: as it should be.
    pub refused: Option<Outcome>,
    /// The space's name for people, where it told one.
    pub name: Option<String>,
    /// By how many seconds this host's clock is ahead of the server's, where it told the time.
    pub skew: Option<i64>,
}

/// Reads the secret of a space and says what it opens.
///
/// Blocks for the time of reading a small file.
pub fn known(target: &Target, now: &Watch) -> Result<Known, ClientError> {
    let mut warnings = vec![];
    let way = open_quietly(target, now, &mut warnings)?;
    let door = match &way.door {
        Opened::Console(_) => KnownDoor::Console,
        Opened::Webhook { url, .. } => KnownDoor::Webhook(url.space.clone()),
        Opened::Rest(rest) => rest.tokens.key().map_or(KnownDoor::HostCredentials, |key| KnownDoor::Key {
            account: key.client_email.clone(),
            project: key.project_id.clone(),
        }),
    };
    Ok(Known { place: way.place, door, warnings })
}

/// Asks a space whether it can be spoken to, by each way that its secret opens; nothing is written to it. A terminal is
/// not asked.
pub async fn probe(target: &Target, now: &Watch) -> Result<Vec<Asked>, ClientError> {
    let ways: &[(By, TokenWay)] = match &target.way {
        Way::Console => &[],
        Way::Webhook(_) => &[(By::Webhook, TokenWay::Auto)],
        Way::Rest { key: None, .. } => &[(By::HostCredentials, TokenWay::Auto)],
        Way::Rest { key: Some(_), .. } => {
            &[(By::SelfSigned, TokenWay::SelfSigned), (By::Exchanged, TokenWay::Exchange)]
        }
    };
    let mut asked = vec![];
    for (by, token) in ways {
        let mut target = target.clone();
        if let Way::Rest { token: way, .. } = &mut target.way {
            *way = *token;
        }
        let way = open_quietly(&target, now, &mut vec![])?;
        let looked = match &way.door {
            Opened::Console(_) => continue,
            Opened::Rest(rest) => rest.look(now).await,
            Opened::Webhook { http, url } => {
                let request = http.post(url.whole().expose_secret());
                let request =
                    request.header(CONTENT_TYPE, "application/json; charset=utf-8").body(NO_MESSAGE);
                match http::send(request, &url.host).await {
                    Ok(got) => {
                        let got = got.without(&url.parts);
                        let (answer, at) = (got.answer(), now().wall);
                        let ask =
                            Ask { door: &Door::Webhook, space: &url.space, plain: true, edit: false, at };
                        Looked {
                            outcome: refusal(answer.status, classify(&ask, &answer)),
                            skew: skew(answer.date, at),
                            name: None,
                        }
                    }
                    Err(outcome) => Looked { outcome, skew: None, name: None },
                }
            }
        };
        let Looked { outcome, skew, name } = looked;
        let refused = Some(outcome).filter(|o| !matches!(o, Outcome::Delivered { .. }));
        asked.push(Asked { by: *by, refused, name, skew });
    }
    Ok(asked)
}

/// A webhook that is there refuses what is no message by 400, and by nothing else.
fn refusal(status: u16, outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Refused { .. } if status == 400 => Outcome::Delivered { name: None, thread: None },
        Outcome::Delivered { .. } => {
            let why = format!("{status}, though it was sent what is no message: that is not Chat");
            Outcome::Retry { why, after: None }
        }
        other => other,
    }
}

fn open_quietly(target: &Target, now: &Watch, warnings: &mut Vec<String>) -> Result<Open, ClientError> {
    let nowhere = Arc::new(Screen::new(Box::new(tokio::io::sink()), false));
    open(target, now, &nowhere, &Keyring::default(), warnings).map_err(|fault| ClientError {
        space: target.name.clone(),
        what: fault.what,
        hint: fault.hint,
    })
}

/// What a look at a space found.
pub(super) struct Looked {
    /// `Delivered`: the app is in it.
    pub(super) outcome: Outcome,
    skew: Option<i64>,
    name: Option<String>,
}

impl RestSpace {
    /// Asks whether the app is in the space.
    pub(super) async fn look(&self, now: &Watch) -> Looked {
        let got = match self.asked(&|| self.http.get(&self.url)).await {
            Ok((got, _)) => got,
            Err(outcome) => return Looked { outcome, skew: None, name: None },
        };
        let (answer, at) = (got.answer(), now().wall);
        let json: Value = serde_json::from_slice(answer.body).unwrap_or_default();
        let name = json["displayName"].as_str().filter(|n| !n.is_empty());
        let name = name.map(|n| cut(&clean(n), NAME_CHARS).into_owned());
        let skew = skew(answer.date, at);
        if answer.status == 200 && json["name"].as_str() == Some(&self.space) {
            let outcome = Outcome::Delivered { name: Some(self.space.clone()), thread: None };
            return Looked { outcome, skew, name };
        }
        let ask = Ask { door: &self.door(), space: &self.space, plain: true, edit: false, at };
        let outcome = match classify(&ask, &answer) {
            Outcome::Delivered { .. } => {
                let why = format!("{}, but not for `{}`", answer.status, self.space);
                Outcome::Retry { why, after: None }
            }
            outcome => outcome,
        };
        Looked { outcome, skew, name: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_takes_what_is_no_message_is_not_chat() {
        let delivered = || Outcome::Delivered { name: None, thread: None };
        let refused = Outcome::Refused { why: "400".into(), resend_plain: true };
        assert_eq!(refusal(400, refused), delivered(), "so it should be");
        assert!(
            matches!(refusal(200, delivered()), Outcome::Retry { why, .. } if why.starts_with("200, though"))
        );
    }
}
