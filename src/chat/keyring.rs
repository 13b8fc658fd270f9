//! The tokens of every key in use, so that spaces which are reached by one key share them.
//!
//! A hundred spaces of one service account then cost one token an hour, not a hundred; when it ends, or is revoked, whoever
//! comes first makes the next, and the others wait for that one. Over a reload the token goes on as well. What may
//! surprise: nothing is looked up by a key's id, only by the whole key, so one that was exchanged on disk shares nothing with
//! the one before it.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use secrecy::ExposeSecret as _;

use super::credential::ServiceKey;
use super::target::TokenWay;
use super::token::{Tokens, Watch};

/// A file that holds a secret is read within microseconds, or its folder hangs.
const READ_WITHIN: Duration = Duration::from_secs(2);

/// What the spaces share. A clone is the same ring.
#[derive(Clone, Debug, Default)]
pub struct Keyring {
    /// Tokens that somebody still uses: at most one entry a space.
    tokens: Arc<Mutex<Vec<Weak<Tokens>>>>,
    /// Whoever looks at a file of secrets; the folder of one has hung, where that is so.
    door: Arc<tokio::sync::Mutex<bool>>,
}

impl Keyring {
    /// The tokens of `key`, or of Application Default Credentials, that are made this way.
    pub(super) fn tokens(&self, key: Option<ServiceKey>, way: TokenWay, now: &Watch) -> Arc<Tokens> {
        let mut ring = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
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

    /// Asks something of a file of secrets, one at a time; `None` where another is at it, or no answer came in time. A
    /// thread hangs then, for as long as the folder does. There are few, and others need them: nobody asks again.
    pub(super) async fn ask<T>(&self, question: impl AsyncFnOnce() -> T) -> Option<T> {
        let mut hangs = self.door.try_lock().ok().filter(|hangs| !**hangs)?;
        let answer = tokio::time::timeout(READ_WITHIN, question()).await;
        *hangs = answer.is_err();
        answer.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_folder_that_hangs_is_asked_once() {
        let ring = Keyring::default();
        assert_eq!(ring.ask(async || 1).await, Some(1));
        let (hung, meanwhile) =
            tokio::join!(ring.ask(async || std::future::pending::<u8>().await), ring.ask(async || 2));
        assert_eq!((hung, meanwhile), (None, None));
        assert_eq!(ring.clone().ask(async || 3).await, None);
    }
}
