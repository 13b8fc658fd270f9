//! What must survive the agent: one SQLite file, one connection, one thread, one transaction.
//!
//! Positions, the judge's state, and the outbox are committed together, so that after `kill -9` at any instant the
//! lines before a position have been judged, what the judge decided about them is known, and what it wants said
//! lies in the outbox under the id and with the body that Chat will see. The neighbours are the agent, which gathers
//! a [`Commit`], and the workers, which ask for the [`next`](Store::next) row. Nothing in here looks inside a state
//! row, and nothing ever rewrites a body: a trigger in the schema forbids it even to this code.
//!
//! Surprising: a full disk is no error here. The ballast file is given up first; when even that is used up, the
//! store goes on in memory, says so in [`Committed::durable`], and moves back to the disk when there is room. It also begins
//! there (`afloat`) where the disk may only be read.

mod afloat;
mod apply;
mod core;
mod disk;
mod error;
mod image;
mod opening;
mod peek;
mod questions;
mod schema;
mod thread;

use std::path::PathBuf;
use std::sync::Arc;

use crate::alert::Severity;
use crate::line::{Position, PositionKey};
use crate::message::{MessageNo, OutboxRow, RowId};
use crate::state::StateRow;
use crate::time::{Now, Tick, Wall};

pub use self::core::Store;
pub use self::error::StoreError;
pub use self::peek::{Peek, peek};
pub use self::thread::{Handle, Inbox, channel, run};

/// Rows that may wait in the outbox. A space takes a message a second at best, so more than this is half a day
/// behind; the judge folds long before.
pub const OUTBOX_ROWS: u64 = 10_000;

/// Bytes of bodies and drafts that may wait in the outbox.
pub const OUTBOX_BYTES: u64 = 64 << 20;

/// Dead letters that are kept for the operator.
pub const DEAD_ROWS: u64 = 10_000;

/// Bytes of bodies and drafts of dead letters that are kept.
pub const DEAD_BYTES: u64 = 16 << 20;

/// A space has so many messages waiting that were never tried: from then on they are told as one. At one write a second
/// twenty are out before anybody has read them.
pub const DEEP: u32 = 20;

/// What the state directory held.
#[derive(Debug)]
pub struct Opened {
    /// The clocks at the last commit, or `None` at first start.
    pub last: Option<Now>,
    /// 16 random bytes, drawn when the state was made and the same ever after.
    pub install: [u8; 16],
    /// How far everything has been read.
    pub positions: Vec<Position>,
    /// The state of the stages; every value is `Some`.
    pub state: Vec<StateRow>,
    /// The state file could not be read and was put aside.
    pub set_aside: Option<SetAside>,
    /// What is committed is on disk; `false` when there was no room even to begin.
    pub durable: bool,
}

/// A state file that could not be read: it was renamed, and what could be read of it was taken over.
///
/// Its `Display` is the sentence for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// Where it lies now.
    pub path: PathBuf,
    /// What was wrong with it.
    pub why: String,
    /// Positions taken over.
    pub positions: usize,
    /// State rows taken over.
    pub state: usize,
    /// Waiting messages taken over.
    pub outbox: usize,
    /// Dead letters taken over.
    pub dead: usize,
}

impl std::fmt::Display for SetAside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "the state file could not be read: {}; it was kept as `{}`, and of it were salvaged: positions {}, \
             state rows {}, waiting messages {}, dead letters {}",
            self.why,
            self.path.display(),
            self.positions,
            self.state,
            self.outbox,
            self.dead
        )
    }
}

/// One transaction. Its parts are applied in this order: forget, positions, state, remove, bury, revive, tried, add.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    /// When; what [`Opened::last`] will be.
    pub now: Now,
    /// Positions that are to be forgotten: their files are gone and read to the end.
    pub forget: Vec<PositionKey>,
    /// Positions that moved.
    pub positions: Vec<Position>,
    /// State rows that changed.
    pub state: Vec<StateRow>,
    /// Rows that are delivered, dropped or replaced; also takes away dead letters. Unknown ids are ignored.
    pub remove: Vec<RowId>,
    /// Rows that Chat refused for good, with the reason; they become dead letters. Unknown ids are ignored.
    pub bury: Vec<(RowId, String)>,
    /// Dead letters that wait again, under their old ids and with their old bodies, behind all others and as if committed
    /// now. Unknown ids are ignored.
    pub revive: Vec<RowId>,
    /// Rows that were tried without success. Unknown ids are ignored.
    pub tried: Vec<Tried>,
    /// New rows. The same row again is ignored; the same id with other words is
    /// [`StoreError::Changed`], and nothing of the commit is kept.
    pub add: Vec<OutboxRow>,
    /// It is on disk when the commit returns, also without new rows.
    pub synced: bool,
    /// Spaces whose workers have nothing in hand: what each sends [`next`](Store::next) is told in the same answer.
    pub idle: Vec<Arc<str>>,
}

/// The outcome of a try that is to be repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// The row.
    pub id: RowId,
    /// How often it has been tried by now.
    pub tries: u32,
    /// Not before this instant.
    pub due: Tick,
    /// What the try said; holds no secret.
    pub last_error: Option<String>,
}

/// What a commit did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The next row of each of [`Commit::idle`] that has one.
    pub next: Vec<OutboxRow>,
    /// Rows dropped for want of room: their hits are to be counted as lost.
    pub lost: Vec<Lost>,
    /// Spaces for which [`Commit::add`] made more than [`DEEP`] rows wait that were never tried: critical ones
    /// (`true`), or others.
    pub deep: Vec<(Arc<str>, bool)>,
    /// It is on disk, or will be as soon as the system writes it; `false` while the store lives in memory because
    /// the disk is full or broken.
    pub durable: bool,
}

/// A row dropped for want of room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The row.
    pub id: RowId,
    /// Its space.
    pub space: Arc<str>,
    /// The judge's message in it.
    pub message: MessageNo,
    /// It was a dead letter; otherwise it was waiting.
    pub dead: bool,
}

/// A row of the outbox without its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxSummary {
    /// The row.
    pub id: RowId,
    /// Its space.
    pub space: Arc<str>,
    /// The judge's message in it.
    pub message: MessageNo,
    /// The worst severity in it.
    pub severity: Severity,
    /// It is a plain form.
    pub plain: bool,
    /// It edits a message that the space has.
    pub edit: bool,
    /// When it was committed.
    pub born: Wall,
    /// How often it has been tried.
    pub tries: u32,
    /// Not before this instant.
    pub due: Tick,
    /// What the last try said; for a dead letter, why it was refused.
    pub last_error: Option<String>,
    /// Size of its body in bytes.
    pub bytes: u64,
}

/// A row of the outbox, or a dead letter, with all its words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// As it is, or was, sent.
    pub row: OutboxRow,
    /// It is dead, and this is why.
    pub why: Option<String>,
}

/// What waits for one space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpaceCounts {
    /// The space's name.
    pub space: Arc<str>,
    /// Rows waiting.
    pub waiting: u64,
    /// Bytes of their bodies and drafts.
    pub bytes: u64,
    /// When the oldest of them was committed.
    pub oldest: Option<Wall>,
    /// Dead letters kept.
    pub dead: u64,
}
