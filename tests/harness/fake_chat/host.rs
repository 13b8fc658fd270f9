//! What gives a host without a key its tokens: the metadata server of a virtual machine, the exchange of workload identity,
//! impersonation, and the refresh of a person's token. All of it at one address, as the tests' server is.

use serde_json::json;

use super::http::Request;
use super::server::Answer;
use super::{PROJECT, State, email_of, keys};

/// Where the metadata server gives the token of the machine's account.
const METADATA: &str = "/computeMetadata/v1/instance/service-accounts/default/token";
/// What an identity of another cloud looks like.
pub(super) const SUBJECT: &str = "who-this-host-is-elsewhere";
/// What a person's login left behind.
pub(super) const REFRESH: &str = "what-a-login-left-behind";
/// Whom tokens are for that are only good to become somebody else.
const OTHER: &str = "somebody-else";

impl State {
    /// The answer where the request is for a token of the host; its faults are those of the token endpoint.
    pub(super) fn host_token(&mut self, request: &Request) -> Option<Answer> {
        let asked = match (request.method.as_str(), request.path.as_str()) {
            ("GET", METADATA) => State::metadata,
            ("POST", "/sts") => State::exchange,
            ("POST", "/token") if String::from_utf8_lossy(&request.body).contains("refresh_token") => {
                State::refresh
            }
            ("POST", path) if path.ends_with(":generateAccessToken") => State::impersonate,
            _ => return None,
        };
        Some(self.token_fault().unwrap_or_else(|| asked(self, request)))
    }

    fn metadata(&mut self, request: &Request) -> Answer {
        if request.header("metadata-flavor") != Some("Google") || !good_for_chat(&request.query) {
            return refused("no scope, or not asked as a metadata server is");
        }
        self.bearer(&email_of(PROJECT))
    }

    fn exchange(&mut self, request: &Request) -> Answer {
        let form = String::from_utf8_lossy(&request.body).into_owned();
        if !form.contains("token-exchange") || !form.contains(SUBJECT) {
            return refused("the subject is not known");
        }
        // where it is only to become somebody else, that one has the scope
        let account = if good_for_chat(&form) { email_of(PROJECT) } else { OTHER.to_owned() };
        self.bearer(&account)
    }

    fn refresh(&mut self, request: &Request) -> Answer {
        if !String::from_utf8_lossy(&request.body).contains(REFRESH) {
            return refused("the login is not known");
        }
        self.bearer(OTHER)
    }

    fn impersonate(&mut self, request: &Request) -> Answer {
        let bearer =
            request.header("authorization").and_then(|v| v.strip_prefix("Bearer ")).unwrap_or_default();
        let whom = request.path.rsplit('/').next().and_then(|last| last.strip_suffix(":generateAccessToken"));
        if !self.tokens.contains(bearer) || !good_for_chat(&String::from_utf8_lossy(&request.body)) {
            return refused("who asks may not become this account, or not for this scope");
        }
        let token = self.grant(whom.unwrap_or_default());
        let body = json!({ "accessToken": token, "expireTime": "2099-01-01T00:00:00Z" });
        (200, vec![], body.to_string())
    }

    fn bearer(&mut self, account: &str) -> Answer {
        let token = self.grant(account);
        let body = json!({ "access_token": token, "expires_in": 3599, "token_type": "Bearer",
                           "issued_token_type": "urn:ietf:params:oauth:token-type:access_token" });
        (200, vec![], body.to_string())
    }
}

fn good_for_chat(asked: &str) -> bool {
    let bare = |text: &str| text.replace("%3A", ":").replace("%2F", "/");
    bare(asked).contains(keys::SCOPE)
}

fn refused(why: &str) -> Answer {
    (400, vec![], json!({ "error": "invalid_grant", "error_description": why }).to_string())
}
