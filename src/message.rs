//! What a space receives, and its row in the outbox.
//!
//! A [`Message`] is what the judge wants said. `chat::card` renders it to a body, the agent mints an id, and both
//! become an [`OutboxRow`], which never changes again: a try, a retry and a try after `kill -9` send the same
//! bytes under the same id. The draft travels along, so that a plainer form can be made when Chat refuses a card.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::alert::{Alert, Severity};
use crate::time::{Tick, Wall};

/// Number of a message; grows by one, for ever, kept in the judge's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MessageNo(pub u64);

/// One or more alerts for one thread of one space.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Its number; outcomes come back under it.
    pub no: MessageNo,
    /// The space's name.
    pub space: Arc<str>,
    /// Opaque thread key, the same for an opening and all that follows it in this space: letters, digits, `-`.
    pub thread: String,
    /// The host that speaks.
    pub host: Arc<str>,
    /// The worst severity of its alerts.
    pub severity: Severity,
    /// What it says, worst first. Never empty.
    pub alerts: Vec<Alert>,
    /// When the judge let it go.
    pub at: Wall,
    /// Who is to be notified, as Chat names them, `users/all` or `users/ID`: from the rules file alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mention: Vec<Arc<str>>,
    /// It is to take the place of the message that the space has under this id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edits: Option<RowId>,
}

/// Identity of a row and of its message in Chat: 32 random lower-case hex digits.
///
/// `requestId` is this, `messageId` is `client-` and this.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RowId(pub Arc<str>);

impl RowId {
    /// A row id from 16 random bytes.
    pub fn from_random(bytes: [u8; 16]) -> RowId {
        use std::fmt::Write as _;
        let mut text = String::with_capacity(32);
        for b in bytes {
            // writing to a `String` cannot fail
            _ = write!(text, "{b:02x}");
        }
        RowId(text.into())
    }
}

/// A committed message that is not delivered yet, or a dead letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboxRow {
    /// Its identity, in Chat too.
    pub id: RowId,
    /// The space's name.
    pub space: Arc<str>,
    /// Which of the judge's messages this is.
    pub message: MessageNo,
    /// The worst severity in it.
    pub severity: Severity,
    /// The request body, JSON, exactly as it is sent. For the console: the text that is printed.
    pub body: Arc<str>,
    /// What it was rendered from.
    pub draft: Arc<Message>,
    /// This is the plain form, made after a card was refused.
    pub plain: bool,
    /// When it was committed.
    pub born: Wall,
    /// How often it has been tried.
    pub tries: u32,
    /// Not before this instant of the agent's clock.
    pub due: Tick,
    /// What the last try said, for `status` and `outbox`; holds no secret.
    pub last_error: Option<String>,
}

/// How a message ended, as the judge needs to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// The space accepted it.
    Delivered,
    /// Refused for good: it is a dead letter now, and its hits stay pending.
    DeadLettered,
    /// Given up by an operator, or for want of room or age: its hits are lost.
    Dropped,
}
