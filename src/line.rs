//! What a line is, where it came from, and how far a source has been read.
//!
//! `tail` makes [`Block`]s and [`Position`]s, `rules` searches the blocks, `store` keeps the positions. A block
//! borrows its bytes from the reader's buffer: nothing is copied for a line that matches nothing.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::time::{Now, Wall};

/// Index of a source in the loaded set; valid for one set only. State is kept by the source's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceNo(pub u16);

/// Which file this is, whatever its name: ext4 hands a freed inode to the very next file, so the birth time
/// belongs to the identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FileId {
    /// Device number, as `stat` packs it.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// Birth time in nanoseconds since the epoch, where the filesystem has one.
    pub born: Option<i64>,
}

/// Length and hash of some bytes of a file: proof that a later look sees the same file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// How many bytes were hashed; they end (or, for a head, begin) where the holder of the proof says.
    pub len: u32,
    /// Their hash, stable across versions of this program.
    pub hash: u64,
}

/// A proof at an earlier offset, kept to recognise a file that lost its tail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The proof is of the bytes just before this offset.
    pub offset: u64,
    /// Of those bytes.
    pub proof: Proof,
}

/// What a position belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PositionKey {
    /// The source's name.
    pub source: Arc<str>,
    /// The file, or `None` for a source that is one stream (the journal).
    pub file: Option<FileId>,
}

/// How far something has been read. Committed together with the hits that reading it gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Whose position this is.
    pub key: PositionKey,
    /// Where it is in there.
    pub place: Place,
    /// When it was last moved.
    pub at: Wall,
}

/// A place in a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// In a file.
    File(FilePlace),
    /// In the systemd journal: its own cursor.
    Journal {
        /// As `journalctl --after-cursor` takes it.
        cursor: String,
    },
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilePlace {
    /// The path it was last seen at; bytes, because a file name need not be UTF-8.
    pub path: PathBuf,
    /// The next byte to read; always the start of a line, unless `skipping`.
    pub offset: u64,
    /// The file's size when last looked at.
    pub size: u64,
    /// Proof of the bytes just before `offset`.
    pub proof: Proof,
    /// Proof of the first bytes of the file (at most 1 KiB, growing), for files without a birth time.
    pub head: Proof,
    /// Earlier offsets with their proofs, oldest first.
    #[serde(default)]
    pub marks: Vec<Mark>,
    /// The rest of an over-long line is being skipped: `offset` is inside it.
    #[serde(default)]
    pub skipping: bool,
    /// The last line has no newline yet and was matched for idleness: these rules hit it already.
    #[serde(default)]
    pub hit_early: Vec<Arc<str>>,
}

/// Why a block ends where it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockEnd {
    /// With a newline: every line is whole.
    Whole,
    /// One line, the head of an over-long one; its rest is skipped.
    Cut,
    /// One line without its newline, matched because it has been idle; it may come again when completed.
    Idle,
}

/// Complete lines of one source, read together: a borrowed view of the reader's buffer.
///
/// Invariants: `bytes` is not empty; with [`BlockEnd::Whole`] it ends in `\n`, otherwise it holds exactly one
/// line and no `\n`. A line may end in `\r\n`, may be empty, and need not be UTF-8.
#[derive(Clone, Copy, Debug)]
pub struct Block<'a> {
    /// The source.
    pub source: SourceNo,
    /// How people call the file: its path, lossily decoded, or `journal`.
    pub file: &'a Arc<str>,
    /// A number that tells one file from another as long as the agent runs.
    pub file_no: u64,
    /// Offset of `bytes[0]` in the file; 0 for the journal.
    pub offset: u64,
    /// The lines.
    pub bytes: &'a [u8],
    /// Why it ends here.
    pub end: BlockEnd,
    /// Rules that hit the first line already, while it had no newline; they do not hit it again.
    pub hit_early: &'a [Arc<str>],
    /// When it was read.
    pub read: Now,
    /// These bytes lay unread when the agent started or came back.
    pub backlog: bool,
    /// For a source whose records bring their own time (the journal): one a line, in order. Empty otherwise.
    pub stamps: &'a [Wall],
}

/// Bytes of a log that could not be read, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The source's name.
    pub source: Arc<str>,
    /// The file as people call it.
    pub file: Arc<str>,
    /// How many bytes, where that is known.
    pub bytes: Option<u64>,
    /// Why, in a few lower-case words.
    pub why: String,
}
