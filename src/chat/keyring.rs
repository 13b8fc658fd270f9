//! The tokens of every key in use, so that spaces which are reached by one key share them.
//!
//! A hundred spaces of one service account then cost one token an hour, not a hundred; when it ends, or is revoked, whoever
//! comes first makes the next, and the others wait for that one. Over a reload the token goes on as well. What may
//! surprise: nothing is looked up by a key's id, only by the whole key, so one that was exchanged on disk shares nothing with
//! the one before it.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use secrecy::ExposeSecret as _;

use super::credential::ServiceKey;
use super::target::TokenWay;
use super::token::{Tokens, Watch};

/// Tokens that somebody still uses: at most one entry a space. A clone is the same ring.
#[derive(Clone, Debug, Default)]
pub struct Keyring(Arc<Mutex<Vec<Weak<Tokens>>>>);

impl Keyring {
    /// The tokens of `key`, or of Application Default Credentials, that are made this way.
    pub(super) fn tokens(&self, key: Option<ServiceKey>, way: TokenWay, now: &Watch) -> Arc<Tokens> {
        let mut ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ring.retain(|tokens| tokens.strong_count() > 0);
        let same = |tokens: &Arc<Tokens>| {
            tokens.way() == way
                && match (tokens.key(), &key) {
                    (Some(a), Some(b)) => a.json.expose_secret() == b.json.expose_secret(),
                    (a, b) => a.is_none() && b.is_none(),
                }
        };
        if let Some(tokens) = ring.iter().filter_map(Weak::upgrade).find(same) {
            return tokens;
        }
        let tokens = Arc::new(Tokens::new(key, way, now.clone()));
        ring.push(Arc::downgrade(&tokens));
        tokens
    }
}
