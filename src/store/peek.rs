//! A look at a state directory from outside, that changes nothing in it: no file is made, no lock is kept, nothing is
//! migrated. For a command that may run as another user than the agent: a file of root's would lock the agent out.
//!
//! The database is read as if nobody wrote to it (`immutable`), so what the last seconds of a running or killed agent left in
//! the write-ahead log is not seen. Good enough for "was this ever tried?", and for nothing else.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::image::Image;
use super::schema;
use crate::state::StateRow;

/// What a look found.
#[derive(Debug, Default)]
pub struct Peek {
    /// An agent holds the directory now.
    pub held: bool,
    /// The saved state of the judge and the rest, where it could be read.
    pub state: Vec<StateRow>,
    /// Why the database could not be read, where there is one.
    pub unreadable: Option<String>,
    /// Bytes that may still be written on this disk, where that can be told.
    pub free: Option<u64>,
}

/// Looks at the state in `dir`. Errors: those of looking at the directory itself.
pub fn peek(dir: &Path) -> io::Result<Peek> {
    std::fs::read_dir(dir)?;
    let held = match File::open(dir.join("lock")) {
        // it is let go at once: an agent that starts right now looks for half a second
        Ok(lock) => matches!(lock.try_lock(), Err(TryLockError::WouldBlock)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => false,
        Err(e) => return Err(e),
    };
    let free = rustix::fs::statvfs(dir).ok().map(|s| s.f_bavail.saturating_mul(s.f_frsize));
    let file = dir.join("state.db");
    let mut seen = Peek { held, free, ..Peek::default() };
    if std::fs::metadata(&file).is_ok_and(|m| m.len() > 0) {
        match read(&file) {
            Ok(state) => seen.state = state,
            // what is missing in it may be in the log beside it, which cannot be read without a lock
            Err(_) if has_log(dir) => {}
            Err(why) => seen.unreadable = Some(why),
        }
    }
    Ok(seen)
}

fn has_log(dir: &Path) -> bool {
    std::fs::metadata(dir.join("state.db-wal")).is_ok_and(|m| m.len() > 0)
}

fn read(file: &Path) -> Result<Vec<StateRow>, String> {
    let url = url::Url::from_file_path(std::path::absolute(file).map_err(|e| e.to_string())?);
    let url = url.map_err(|()| "its path cannot be a URL".to_owned())?;
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let db = Connection::open_with_flags(format!("{url}?immutable=1"), flags).map_err(|e| e.to_string())?;
    let version = schema::version(&db).map_err(|e| e.to_string())?;
    if version > schema::KNOWN {
        return Err(format!("a newer logherald wrote it, in schema {version}"));
    }
    Ok(if version == 0 { Vec::new() } else { Image::state_of(&db)? })
}
