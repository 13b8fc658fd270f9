//! What a line is, where it came from, and how far a source has been read.
//!
//! `tail` makes [`Block`]s and [`Position`]s, `rules` searches the blocks, `store` keeps the positions. A block
//! borrows its bytes from the reader's buffer: nothing is copied for a line that matches nothing.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;
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
        /// As `journalctl --cursor` takes it.
        cursor: String,
    },
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilePlace {
    /// The path it was last seen at. A file name need not be UTF-8: such a one is kept as its bytes. Shared: of very
    /// many files every copy of it would be felt.
    #[serde(with = "path_bytes")]
    pub path: Arc<Path>,
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
    /// The last lines before `offset`.
    #[serde(default)]
    pub recent: Recent,
    /// It had lost its name: it was renamed, or is a copy that was made of the log.
    #[serde(default)]
    pub rotated: bool,
    /// It was read to its end and let go; kept so that nothing that is made of it passes for news.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub done: bool,
    /// When it had last been written when it was last looked at under its name, in nanoseconds since the epoch; 0 where not
    /// known.
    #[serde(default)]
    pub mtime: i64,
    /// The rest of an over-long line is being skipped: `offset` is inside it.
    #[serde(default)]
    pub skipping: bool,
    /// The last line has no newline yet and was matched for idleness: these rules hit it already.
    #[serde(default)]
    pub hit_early: Vec<Arc<str>>,
}

/// Lengths and hashes of some lines, in their order. Kept as text of eight hexadecimal digits each; of a text that is
/// damaged, what stands before the damage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
pub struct Recent(pub Box<[(u16, u16)]>);

impl From<Recent> for String {
    fn from(recent: Recent) -> String {
        let digit = |n: u16, at: u32| char::from(b"0123456789abcdef"[usize::from(n >> (4 * at) & 0xf)]);
        recent
            .0
            .iter()
            .flat_map(|&(len, hash)| [len, hash])
            .flat_map(|n| [3, 2, 1, 0].map(|at| digit(n, at)))
            .collect()
    }
}

impl From<String> for Recent {
    fn from(text: String) -> Recent {
        let number = |at: usize| u16::from_str_radix(text.get(at..at + 4)?, 16).ok();
        let line = |n: usize| Some((number(8 * n)?, number(8 * n + 4)?));
        Recent((0..text.len() / 8).map_while(line).collect())
    }
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

/// One line of a block that was made from something else: joined, unwrapped, decoded, or an entry of the journal.
///
/// It may hold newlines: then it was joined from several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Where its text begins in [`Block::bytes`].
    pub start: u32,
    /// Where its text ends there; its line end is not part of it.
    pub end: u32,
    /// Offset of its first byte in the file; says nothing for the journal and standard input.
    pub offset: u64,
    /// Its own time, where the wrapping brings one.
    pub stamp: Option<Wall>,
    /// Which of [`Block::fields`] are its own: from, and up to.
    pub fields: (u32, u32),
}

/// What the wrapping of a record says beside its text: the stream of a container, the priority of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// As rules name it: `stream`, `PRIORITY`, `_SYSTEMD_UNIT`.
    pub name: Cow<'static, str>,
    /// Its value.
    pub value: Cow<'static, str>,
}

/// The way back from a block into its file, for whoever wants to see what stands before a line.
pub trait Earlier: fmt::Debug {
    /// The lines that end just before `offset`, oldest first and without their ends: at most `most`, of each the first
    /// `bytes`. Fewer where they are not to be had without reading far.
    fn before(&self, offset: u64, most: usize, bytes: usize) -> Vec<Box<[u8]>>;
}

/// Complete lines of one source, read together: a borrowed view of the reader's buffer.
///
/// Invariants: `bytes` is not empty. Without `records`, each line of it is one: with [`BlockEnd::Whole`] it ends in
/// `\n`, otherwise it holds exactly one line and no `\n`; a line may end in `\r\n`, may be empty, and need not be
/// UTF-8. With `records`, they are the lines: in order, apart from each other by one `\n` that belongs to none; with
/// any other end than [`BlockEnd::Whole`] there is exactly one.
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
    /// The bounds of its lines, where those are not simply its lines.
    pub records: &'a [Record],
    /// What the records' wrapping says, in their order.
    pub fields: &'a [Field],
    /// What stands before it; `None` where there is no way back.
    pub earlier: Option<&'a dyn Earlier>,
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

/// A path as text where it is text, as a list of bytes where it is not: serde's own form refuses the latter.
mod path_bytes {
    use std::ffi::OsStr;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    use std::path::{Path, PathBuf};
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Form {
        Text(String),
        Bytes(Vec<u8>),
    }

    pub(super) fn serialize<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
        match path.to_str() {
            Some(text) => to.serialize_str(text),
            None => to.collect_seq(OsStr::as_bytes(path.as_os_str())),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<Path>, D::Error> {
        Ok(match Form::deserialize(from)? {
            Form::Text(text) => PathBuf::from(text).into(),
            Form::Bytes(bytes) => PathBuf::from(std::ffi::OsString::from_vec(bytes)).into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_survives_json_whatever_the_name_of_its_file() {
        use std::os::unix::ffi::OsStringExt;
        for name in [b"/var/log/app.log".to_vec(), b"/var/log/caf\xe9.log".to_vec()] {
            let place = FilePlace {
                path: std::path::PathBuf::from(std::ffi::OsString::from_vec(name)).into(),
                offset: 7,
                size: 9,
                proof: Proof { len: 7, hash: u64::MAX },
                head: Proof { len: 0, hash: 0 },
                marks: vec![],
                recent: String::from("00fb0a10zz").into(),
                rotated: false,
                done: false,
                mtime: 1,
                skipping: false,
                hit_early: vec![Arc::from("disk-full")],
            };
            let json = serde_json::to_string(&place).unwrap();
            assert!(!json.contains("done"), "it stands only where it says something: {json}");
            assert!(json.contains(r#""recent":"00fb0a10""#), "{json}");
            assert_eq!(serde_json::from_str::<FilePlace>(&json).unwrap(), place);
        }
    }
}
