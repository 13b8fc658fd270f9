//! Where a space is and which secret opens it. Built by `config`, which has validated every part.

use std::path::PathBuf;
use std::sync::Arc;

/// A space to deliver to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its name in `rules.toml`.
    pub name: Arc<str>,
    /// How it is reached.
    pub way: Way,
}

/// How a space is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// The terminal.
    Console,
    /// An incoming webhook; the secret is its whole URL.
    Webhook(SecretSource),
    /// The REST API as a Chat app.
    Rest {
        /// `spaces/AAAA1234`.
        space: String,
        /// The service-account key; `None`: Application Default Credentials.
        key: Option<SecretSource>,
        /// How a token is made from a key.
        token: TokenWay,
        /// Without a trailing slash; `https://chat.googleapis.com` unless `[chat] api_url` says otherwise.
        api_url: String,
    },
}

/// Where a secret is kept. The secret itself is read at start and at reload, never by `config`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// A file of this name in `$CREDENTIALS_DIRECTORY` (systemd's `LoadCredential=`).
    Credential(String),
    /// An environment variable.
    Env(String),
    /// A file.
    File(PathBuf),
}

/// How a bearer token is made from a service-account key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenWay {
    /// Self-signed; after a 401 by exchange, and what worked is remembered.
    #[default]
    Auto,
    /// A self-signed JWT.
    SelfSigned,
    /// A JWT exchanged at the key's `token_uri`.
    Exchange,
}
