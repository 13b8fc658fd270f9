//! The state directory: who owns it, the ballast in it, and putting an unreadable file aside.
//!
//! The ballast is a file of random bytes (a compressing filesystem would make nothing of zeros) that exists only to
//! be deleted: when the disk is full, its room carries the store over the next hours.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::StoreError;

/// Room for some hours of an outbox: a thousand messages of a few KiB.
pub(super) const BALLAST_BYTES: u64 = 4 << 20;

/// The ballast is laid again only when the disk has this much free, so that it is not the ballast that fills it.
const ROOM_FOR_BALLAST: u64 = 4 * BALLAST_BYTES;

/// Unreadable state files that are kept; the newest takes the last place when all are taken.
const KEPT_ASIDE: u32 = 5;

/// A lock that is held is looked at again for half a second: a process that is being forked holds the locks of its
/// parent until it executes its own program, and an agent that was killed may take a moment to be gone.
const LOOKS: u32 = 26;

/// The database.
const STATE: &str = "state.db";

/// What SQLite puts behind the name of a database for its write-ahead log's.
const WAL: &str = "-wal";

/// Between two looks at a lock.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A state directory that this process alone uses.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    /// Held for as long as the directory is used; the kernel lets go of it even after `kill -9`. `None`: there is no file to
    /// lock, and none can be made.
    lock: Option<File>,
    /// Its disk could be written when that was last tried.
    writable: bool,
}

impl Directory {
    /// Makes the directory where it is missing, readable for its owner alone, and takes its lock. A disk that may only be read
    /// is no fault: what is there is locked, and nothing is made.
    pub(super) fn claim(path: &Path) -> Result<Directory, StoreError> {
        match make(path).and_then(|lock| Ok((lock, writable(path)?))) {
            Ok((lock, ())) => {
                take(path, &lock)?;
                Ok(Directory { path: path.to_owned(), lock: Some(lock), writable: true })
            }
            Err(e) if e.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                let lock = match File::open(path.join("lock")) {
                    Ok(lock) => match take(path, &lock) {
                        Ok(()) => Some(lock),
                        Err(busy @ StoreError::Busy { .. }) => return Err(busy),
                        // over a network one that is open for reading cannot be locked
                        Err(_) => None,
                    },
                    Err(e) if e.kind() == io::ErrorKind::NotFound => None,
                    Err(e) => return Err(fault(path, &e)),
                };
                Ok(Directory { path: path.to_owned(), lock, writable: false })
            }
            Err(e) => Err(fault(path, &e)),
        }
    }

    /// Its disk could be written when that was last tried.
    pub(super) fn is_writable(&self) -> bool {
        self.writable
    }

    /// Tries again whether it can be written, where it could not; `false` also where another has it by now.
    pub(super) fn begin_to_write(&mut self) -> bool {
        if !self.writable {
            if self.lock.is_none() {
                let made = make(&self.path).map_err(|e| fault(&self.path, &e));
                self.lock = made.and_then(|lock| take(&self.path, &lock).map(|()| lock)).ok();
            }
            self.writable = self.lock.is_some() && writable(&self.path).is_ok();
        }
        self.writable
    }

    /// The directory.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The database.
    pub(super) fn state_file(&self) -> PathBuf {
        self.path.join(STATE)
    }

    /// The database's write-ahead log.
    pub(super) fn wal(&self) -> PathBuf {
        suffixed(&self.state_file(), WAL)
    }

    /// Nothing has ever been written to the database. One that cannot be looked at is not new.
    pub(super) fn is_new(&self) -> bool {
        match fs::metadata(self.state_file()) {
            Ok(file) => file.len() == 0 && self.wal_bytes() == 0,
            Err(e) => e.kind() == io::ErrorKind::NotFound,
        }
    }

    /// Bytes in SQLite's write-ahead log.
    pub(super) fn wal_bytes(&self) -> u64 {
        fs::metadata(self.wal()).map_or(0, |m| m.len())
    }

    /// Bytes that may still be written on this disk; 0 where that cannot be told.
    pub(super) fn free_bytes(&self) -> u64 {
        rustix::fs::statvfs(&self.path).map_or(0, |s| s.f_bavail.saturating_mul(s.f_frsize))
    }

    fn ballast(&self) -> PathBuf {
        self.path.join("ballast")
    }

    /// Lays the ballast where it is missing and there is ample room. Fails silently: it is a comfort, not a need.
    pub(super) fn lay_ballast(&self) {
        let path = self.ballast();
        if fs::metadata(&path).is_ok_and(|m| m.len() == BALLAST_BYTES) || self.free_bytes() < ROOM_FOR_BALLAST
        {
            return;
        }
        if write_ballast(&path).is_err() {
            _ = fs::remove_file(&path);
        }
    }

    /// Gives the ballast's room to the store; `false` when it was given already. It is emptied before it goes: a process that
    /// is being forked holds it open until it executes its own program, and until then its room would not be free.
    pub(super) fn give_up_ballast(&self) -> bool {
        _ = OpenOptions::new().write(true).truncate(true).open(self.ballast());
        fs::remove_file(self.ballast()).is_ok()
    }

    /// Renames the state file and its log, and makes an empty one in its place. Returns where it lies now.
    pub(super) fn set_aside(&self) -> Result<PathBuf, StoreError> {
        let free = |n: &u32| !self.aside(*n).exists();
        let path = self.aside((1..KEPT_ASIDE).find(free).unwrap_or(KEPT_ASIDE));
        let fault = |e: &io::Error| fault(&self.path, e);
        match fs::rename(self.state_file(), &path) {
            // it was moved already, and what should have come after that failed
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(fault(&e)),
            _ => {}
        }
        // the log that is missing belongs to a file that was closed well; one left behind would be taken for the
        // new file's
        let (wal, wal_aside) = (self.wal(), suffixed(&path, WAL));
        match fs::rename(wal, &wal_aside) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => _ = fs::remove_file(wal_aside),
            Err(e) => return Err(fault(&e)),
        }
        private().open(self.state_file()).map_err(|e| fault(&e))?;
        Ok(path)
    }

    fn aside(&self, n: u32) -> PathBuf {
        self.path.join(format!("state.db.unreadable-{n}"))
    }
}

fn fault(dir: &Path, e: &io::Error) -> StoreError {
    StoreError::Dir { dir: dir.to_owned(), why: e.kind().to_string() }
}

/// Makes the directory and the file in it that is locked.
fn make(dir: &Path) -> io::Result<File> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    private().open(dir.join("lock"))
}

/// Makes the database's file where it is missing: SQLite gives its write-ahead log the mode of that.
fn writable(dir: &Path) -> io::Result<()> {
    private().open(dir.join(STATE)).map(drop)
}

/// Takes the lock, and looks again for a while where another holds it.
fn take(dir: &Path, lock: &File) -> Result<(), StoreError> {
    let mut looks = 1;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if looks < LOOKS => thread::park_timeout(LOOK_EVERY),
            Err(TryLockError::WouldBlock) => return Err(StoreError::Busy { dir: dir.to_owned() }),
            Err(TryLockError::Error(e)) => return Err(fault(dir, &e)),
        }
        looks += 1;
    }
}

/// Options that make a file for its owner alone, where it is missing.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options
}

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn write_ballast(path: &Path) -> io::Result<()> {
    let mut chunk = vec![0; 64 << 10];
    let mut file = private().truncate(true).open(path)?;
    for _ in 0..BALLAST_BYTES / chunk.len() as u64 {
        getrandom::fill(&mut chunk).map_err(io::Error::other)?;
        file.write_all(&chunk)?;
    }
    Ok(())
}
