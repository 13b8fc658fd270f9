//! What the judge is told.

use std::sync::Arc;

use crate::alert::Severity;
use crate::hit::Hits;
use crate::judge::{Policy, SilenceOrder};
use crate::message::{Fate, Message, MessageNo, RowId};
use crate::time::Tick;

/// One input. Serial: the judge takes them in the order in which they happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// Lines that rules matched, in reading order.
    Hits(Hits),
    /// The instant that [`super::Judge::due`] named has come.
    Timer,
    /// Everything that was written before this instant has been read, and its hits were given. Like a timer otherwise.
    Watched {
        /// By the agent's clock.
        up_to: Tick,
    },
    /// Nobody was there from this instant until now. What was written meanwhile comes as backlog.
    Away {
        /// By the agent's clock.
        from: Tick,
    },
    /// The rules were loaded anew.
    Policy(Box<Policy>),
    /// What became of a message.
    Fate {
        /// Its number.
        message: MessageNo,
        /// Its end, or that it is a dead letter now.
        fate: Fate,
    },
    /// Where a message stands in its space, said before its fate: it may be edited under this id. Without one, an edit
    /// did not find it any more, and says all of it in a new message.
    Stands {
        /// The number of the message, or of its edit.
        message: MessageNo,
        /// The id of its row.
        row: Option<RowId>,
    },
    /// These messages of one space wait for delivery and are taken back: they are told as one instead, which is the answer.
    Recall {
        /// As they were handed out.
        messages: Vec<Arc<Message>>,
        /// Why they did not go out as they were.
        why: Recall,
    },
    /// These messages wait for a space that cannot be reached: another is told as well. Each is copied once.
    Detour {
        /// As they were handed out.
        messages: Vec<Arc<Message>>,
        /// The other space.
        to: Arc<str>,
    },
    /// The agent has something to say of itself.
    Notice(Notice),
    /// An operator silences a rule, or some of its keys. Nothing happens where [`super::Judge::may_silence`] refuses.
    Silence(Box<SilenceOrder>),
    /// The silence of this name ends now.
    Unsilence(String),
}

/// Why messages are taken back and told as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recall {
    /// The space takes fewer than there are.
    Crowded,
    /// They are too old: read now, they would be taken for news.
    Late,
}

/// Something the agent says of itself.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Notice {
    /// What it is about, a stable short name: `reload`, `space/ops`, `gap`. The same text about the same thing is told
    /// once in ten minutes, and counted meanwhile.
    pub about: String,
    /// How bad.
    pub severity: Severity,
    /// What happened; may have several lines.
    pub text: String,
    /// The remedy.
    pub hint: Option<String>,
    /// Who is to hear of it; `None`: the admin space.
    pub space: Option<Arc<str>>,
}
