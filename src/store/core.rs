//! The store itself, blocking: open, commit, answer, and move between disk and memory.
//!
//! Every write goes through [`Store::transact`], which is where a full disk is met: ballast, one more try, memory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};

use super::apply::{self, Refusal};
use super::disk::Directory;
use super::image::{Image, META_INSTALL, META_VERSION};
use super::{Commit, Committed, DEEP, Opened, SetAside, StoreError, schema};
use crate::alert::Severity;
use crate::message::OutboxRow;
use crate::time::Tick;

/// The write-ahead log is folded into the file when it is longer than this, busy or not: a log is read at start.
const WAL_BYTES: u64 = 16 << 20;

/// So long a log is written over from its beginning once it is folded in; a longer one is cut off. A synced write that
/// makes a file longer waits for the filesystem's own journal too.
const KEPT_WAL_BYTES: u64 = 1 << 20;

/// Unused pages (of 4 KiB) that the file may keep for the next messages.
const UNUSED_PAGES: i64 = 1024;

/// Compiled statements that are kept: more than there are.
const STATEMENTS: usize = 64;

/// How long commits stay in memory before the disk is looked at again.
const BACK_TO_DISK: Duration = Duration::from_secs(10);

/// What the disk must have free over the state's own size before the store moves back.
const ROOM_TO_SPARE: u64 = 1 << 20;

/// The state, open. One per state directory and machine.
#[derive(Debug)]
pub struct Store {
    pub(super) db: Connection,
    home: Home,
    /// `synchronous` is `FULL` at present.
    full: bool,
    /// Something was committed since the last checkpoint.
    dirty: bool,
    /// The last field, so that the lock outlives the connection.
    pub(super) dir: Directory,
}

/// Where the rows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Home {
    Disk,
    /// The disk has no room, or refuses to write.
    Memory {
        /// Not before this is it tried again by a commit.
        again: Tick,
    },
}

/// Why the file in the directory cannot be used as it is.
enum Unfit {
    /// Its content; it is set aside.
    Unreadable(String),
    /// Its surroundings, or its version.
    Told(StoreError),
}

impl Store {
    /// Opens the state in `dir`, making both where they are missing.
    ///
    /// A file of an older schema is migrated. One that cannot be read is set aside, and what can be read of it is
    /// taken over. Errors: [`StoreError::Busy`], [`StoreError::Dir`], [`StoreError::Newer`], [`StoreError::Full`],
    /// [`StoreError::Broken`].
    pub fn open(dir: &Path) -> Result<(Store, Opened), StoreError> {
        let dir = Directory::claim(dir)?;
        let mut set_aside = None;
        let (db, home, image) = if dir.is_new() {
            let (db, home) = begin(&dir)?;
            (db, home, Image::default())
        } else {
            match load(&dir) {
                Ok((db, image)) => (db, Home::Disk, image),
                Err(Unfit::Told(e)) => return Err(e),
                Err(Unfit::Unreadable(why)) => {
                    let path = dir.set_aside()?;
                    let image = salvage(&path);
                    let (positions, state) = (image.positions.len(), image.state.len());
                    let (outbox, dead) = (image.outbox.len(), image.dead.len());
                    set_aside = Some(SetAside { path, why, positions, state, outbox, dead });
                    let (db, home) = begin(&dir)?;
                    (db, home, image)
                }
            }
        };
        let install = match image.install() {
            Some(known) => known,
            None => random(&dir)?,
        };
        let mut store = Store { db, home, full: true, dirty: true, dir };
        store.transact(true, Tick(0), |tx| {
            schema::migrate(tx)?;
            if set_aside.is_some() {
                image.write(tx)?;
            }
            apply::put_meta(tx, META_INSTALL, &install)?;
            Ok(apply::put_meta(tx, META_VERSION, env!("CARGO_PKG_VERSION").as_bytes())?)
        })?;
        store.dir.lay_ballast();
        // what was read is in the image: the pages would lie below all that the agent allocates now
        _ = store.db.release_memory();
        let durable = store.home == Home::Disk;
        let last = image.now();
        let Image { positions, state, .. } = image;
        Ok((store, Opened { last, install, positions, state, set_aside, durable }))
    }

    /// Writes one transaction: all of it or nothing.
    ///
    /// With rows to `add`, or where that is asked for, it is on disk when this returns; otherwise the system may take some
    /// seconds to write it.
    /// Without room it happens in memory, and [`Committed::durable`] is false. Errors: [`StoreError::Changed`],
    /// [`StoreError::Broken`].
    pub fn commit(&mut self, commit: &Commit) -> Result<Committed, StoreError> {
        if let Home::Memory { again } = self.home
            && commit.now.tick >= again
        {
            self.move_to_disk(commit.now.tick);
        }
        let full = commit.synced || !commit.add.is_empty();
        let lost = self.transact(full, commit.now.tick, |tx| apply::apply(tx, commit))?;
        let mut next = Vec::new();
        for space in &commit.idle {
            next.extend(self.next_of(space, &commit.add)?);
        }
        let deep = self.deep(&commit.add, &next)?;
        Ok(Committed { next, lost, deep, durable: self.home == Home::Disk })
    }

    /// The queues that `added` has made too long. `next` says of some that there is none: what goes first in them was
    /// added just now, so what was added is all of them.
    fn deep(&self, added: &[OutboxRow], next: &[OutboxRow]) -> Result<Vec<(Arc<str>, bool)>, StoreError> {
        let queue = |row: &OutboxRow| (row.space.clone(), row.severity == Severity::Critical);
        let mut grown: BTreeMap<(Arc<str>, bool), u32> = BTreeMap::new();
        for row in added {
            *grown.entry(queue(row)).or_default() += 1;
        }
        for first in next {
            if added.iter().any(|row| row.id == first.id)
                && grown.get(&queue(first)).is_some_and(|n| *n <= DEEP)
            {
                grown.remove(&queue(first));
            }
        }
        let mut deep = Vec::new();
        for (space, critical) in grown.into_keys() {
            if self.is_deeper(&space, critical, DEEP)? {
                deep.push((space, critical));
            }
        }
        Ok(deep)
    }

    /// A commit may come at once: its thread is awake, and what every commit goes through was gone through a moment ago, while
    /// the judge is still at its work. Changes nothing, and nothing hangs on it: where it fails, the commit says so.
    pub fn prepare(&mut self) {
        _ = self.db.transaction_with_behavior(TransactionBehavior::Immediate).map(drop);
        _ = self.next("");
    }

    /// What a commit may have left to do, once its answer is given: whoever waits to send does not wait for this.
    pub fn after_commit(&mut self) {
        if !self.full {
            // the next one may be an alert's; where it fails, that one tries again
            self.full = self.set_synchronous(true).is_ok();
        }
        if self.home == Home::Disk && self.dir.wal_bytes() > WAL_BYTES {
            self.checkpoint();
        }
    }

    /// What there is to do when nothing is asked for: fold the log into the file, give unused room back, lay the
    /// ballast, or look whether the disk has room again. `true`: come back soon, the store lives in memory.
    pub fn idle(&mut self) -> bool {
        if let Home::Memory { again } = self.home {
            self.move_to_disk(again);
            return self.home != Home::Disk;
        }
        if self.dirty {
            // a shrink that fails leaves a file that is too long and right
            _ = self.shrink();
            self.checkpoint();
            self.begin_log();
            self.dir.lay_ballast();
            // pages that are read again when they are needed again; where it fails they stay
            _ = self.db.release_memory();
        }
        false
    }

    /// Puts everything on disk and lets go of the directory. Without room, what is only in memory is lost.
    pub fn close(mut self) {
        if let Home::Memory { again } = self.home {
            self.move_to_disk(again);
        }
        if self.home == Home::Disk {
            _ = self.shrink();
            _ = self.db.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
            self.dir.lay_ballast();
        }
    }

    /// Runs `work` in a transaction, whatever the disk is like.
    fn transact<T>(
        &mut self,
        full: bool,
        now: Tick,
        work: impl Fn(&Transaction<'_>) -> Result<T, Refusal>,
    ) -> Result<T, StoreError> {
        let mut outcome = self.attempt(full, &work);
        if self.home == Home::Disk && no_room(&outcome) {
            self.dir.give_up_ballast();
            // a log that could be folded in is written from its beginning again, and needs no more room
            self.checkpoint();
            outcome = self.attempt(full, &work);
            if no_room(&outcome) {
                self.move_to_memory(now)?;
                outcome = self.attempt(full, &work);
            }
        }
        self.dirty = true;
        outcome.map_err(|refusal| match refusal {
            Refusal::Changed(id) => StoreError::Changed { id },
            Refusal::Sql(e) => broken(&self.dir.state_file(), &e),
        })
    }

    fn attempt<T>(
        &mut self,
        full: bool,
        work: &impl Fn(&Transaction<'_>) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        if self.full != full {
            self.set_synchronous(full)?;
            self.full = full;
        }
        let tx = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let done = work(&tx)?;
        tx.commit()?;
        Ok(done)
    }

    fn set_synchronous(&self, full: bool) -> rusqlite::Result<()> {
        self.db.pragma_update(None, "synchronous", if full { "FULL" } else { "NORMAL" })
    }

    /// Carries all rows into memory and lets go of the file, which stays as it is.
    fn move_to_memory(&mut self, now: Tick) -> Result<(), StoreError> {
        let path = self.dir.state_file();
        let (image, fault) = match schema::version(&self.db) {
            Ok(0) => (Image::default(), None),
            _ => Image::read(&self.db),
        };
        if let Some(why) = fault {
            return Err(StoreError::Broken { path, why });
        }
        self.db = in_memory(&image).map_err(|e| broken(&path, &e))?;
        self.full = true;
        self.home = Home::Memory { again: now + BACK_TO_DISK };
        Ok(())
    }

    /// Moves back to the disk where it has room; stays in memory otherwise.
    fn move_to_disk(&mut self, now: Tick) {
        self.home = Home::Memory { again: now + BACK_TO_DISK };
        let (image, fault) = Image::read(&self.db);
        if fault.is_some() || self.dir.free_bytes() < 2 * image.bytes() + ROOM_TO_SPARE {
            return;
        }
        let written = connect(&self.dir.state_file()).and_then(|mut db| {
            let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            schema::migrate(&tx)?;
            image.write(&tx)?;
            tx.commit()?;
            Ok(db)
        });
        if let Ok(db) = written {
            self.db = db;
            self.full = true;
            self.dirty = true;
            self.home = Home::Disk;
        }
    }

    /// Folds the log into the file and empties it. A failure loses nothing: the log is as good as the file.
    fn checkpoint(&mut self) {
        let how = if self.dir.wal_bytes() > KEPT_WAL_BYTES { "TRUNCATE" } else { "RESTART" };
        self.dirty = self.db.execute_batch(&format!("PRAGMA wal_checkpoint({how})")).is_err();
    }

    /// Writes the empty log's head, which has a sync of its own: the next alert would wait for that. Nothing depends on
    /// it, so it may fail.
    fn begin_log(&self) {
        if !self.dirty {
            _ = self.db.pragma_update(None, "user_version", schema::KNOWN);
        }
    }

    /// Gives the pages back that a long outbox has left unused.
    fn shrink(&self) -> rusqlite::Result<()> {
        let unused: i64 = self.db.pragma_query_value(None, "freelist_count", |r| r.get(0))?;
        if unused > UNUSED_PAGES {
            // one page a step
            let mut vacuum = self.db.prepare("PRAGMA incremental_vacuum")?;
            let mut pages = vacuum.query([])?;
            while pages.next()?.is_some() {}
        }
        Ok(())
    }
}

/// Makes the file of a new state, or begins in memory: a file must be written to before it can be anything.
fn begin(dir: &Directory) -> Result<(Connection, Home), StoreError> {
    let path = dir.state_file();
    let made = match connect(&path) {
        Err(e) if is_no_room(&e) && dir.give_up_ballast() => connect(&path),
        other => other,
    };
    match made {
        Err(e) if is_no_room(&e) => {
            in_memory(&Image::default()).map(|db| (db, Home::Memory { again: Tick(0) }))
        }
        other => other.map(|db| (db, Home::Disk)),
    }
    .map_err(|e| broken(&path, &e))
}

/// Opens the file of `dir`, brings it to the present schema, and reads all of it.
fn load(dir: &Directory) -> Result<(Connection, Image), Unfit> {
    let path = dir.state_file();
    let sql = |e: rusqlite::Error| match e.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            Unfit::Told(StoreError::Busy { dir: dir.path().to_owned() })
        }
        // a bad sector: what can be read of it is worth more than a start that fails again and again
        _ if cannot_be_read(&e) => Unfit::Unreadable(message(&e)),
        _ if is_no_room(&e) || e.sqlite_error_code() == Some(ErrorCode::PermissionDenied) => {
            Unfit::Told(broken(&path, &e))
        }
        _ => Unfit::Unreadable(message(&e)),
    };
    let mut db = connect(&path).map_err(sql)?;
    let sound: String = db.query_row("PRAGMA quick_check(1)", [], |r| r.get(0)).map_err(sql)?;
    if sound != "ok" {
        return Err(Unfit::Unreadable(sound.replace('\n', " ").trim().to_owned()));
    }
    let schema = schema::version(&db).map_err(sql)?;
    if schema > schema::KNOWN {
        let newer = newer(&db, path, schema);
        return Err(match &newer {
            // this very version has written it: the number is damaged
            StoreError::Newer { version, .. } if version == env!("CARGO_PKG_VERSION") => {
                Unfit::Unreadable(format!("its schema has the number {schema}"))
            }
            _ => Unfit::Told(newer),
        });
    }
    let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_master", [], |r| r.get(0)).map_err(sql)?;
    if schema < 0 || (schema == 0 && tables > 0) {
        return Err(Unfit::Unreadable("it is a database of another program".into()));
    }
    if schema == 0 {
        return Ok((db, Image::default()));
    }
    let mut migrate = || {
        let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        schema::migrate(&tx)?;
        tx.commit()
    };
    match migrate() {
        Err(e) if is_no_room(&e) && dir.give_up_ballast() => migrate(),
        other => other,
    }
    .map_err(|e| match e.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => Unfit::Told(StoreError::Full { dir: dir.path().to_owned() }),
        _ => sql(e),
    })?;
    match Image::read(&db) {
        (image, None) => Ok((db, image)),
        (_, Some(fault)) => Err(Unfit::Unreadable(fault)),
    }
}

/// Opens `path` as the only user of it. Exclusive *before* the log: then SQLite needs no shared-memory file, which
/// it could not make on a full disk.
fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    db.busy_timeout(Duration::ZERO)?;
    prepare_once(&db)?;
    db.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    if db.pragma_query_value(None, "page_count", |r| r.get::<_, i64>(0))? == 0 {
        // asked of a file that has it already, this would write to it
        db.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    }
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "wal_autocheckpoint", 0)?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(db)
}

/// Statements are compiled once: all are kept, and none is compiled anew because of the values that are bound to it.
/// Compiling took a third of a commit that adds a message, while that message waited.
fn prepare_once(db: &Connection) -> rusqlite::Result<()> {
    db.set_prepared_statement_cache_capacity(STATEMENTS);
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}

fn in_memory(image: &Image) -> rusqlite::Result<Connection> {
    let mut db = Connection::open_in_memory()?;
    prepare_once(&db)?;
    let tx = db.transaction()?;
    schema::migrate(&tx)?;
    image.write(&tx)?;
    tx.commit()?;
    Ok(db)
}

/// What can be read of a damaged file, which is left exactly as it is.
fn salvage(path: &Path) -> Image {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let Ok(db) = Connection::open_with_flags(path, flags) else { return Image::default() };
    let guarded = db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).is_ok();
    if !guarded || db.pragma_update(None, "locking_mode", "EXCLUSIVE").is_err() {
        return Image::default();
    }
    let (mut image, _) = Image::read(&db);
    image.each_once();
    image
}

fn newer(db: &Connection, path: PathBuf, schema: i64) -> StoreError {
    let sql = "SELECT CAST(value AS TEXT) FROM meta WHERE name = ?1";
    let version = db.query_row(sql, [META_VERSION], |r| r.get(0)).unwrap_or_else(|_| "?".to_owned());
    StoreError::Newer { path, version, schema, known: schema::KNOWN }
}

fn random(dir: &Directory) -> Result<[u8; 16], StoreError> {
    let mut bytes = [0; 16];
    let fault = |e: getrandom::Error| StoreError::Dir { dir: dir.path().to_owned(), why: e.to_string() };
    getrandom::fill(&mut bytes).map_err(fault)?;
    Ok(bytes)
}

fn no_room<T>(outcome: &Result<T, Refusal>) -> bool {
    matches!(outcome, Err(Refusal::Sql(e)) if is_no_room(e))
}

/// The disk is full, or has become read-only, or fails to write: nothing is wrong with the rows.
fn is_no_room(e: &rusqlite::Error) -> bool {
    use ErrorCode::{CannotOpen, DiskFull, ReadOnly, SystemIoFailure};
    matches!(e.sqlite_error_code(), Some(DiskFull | SystemIoFailure | ReadOnly | CannotOpen))
}

/// The disk fails to read.
fn cannot_be_read(e: &rusqlite::Error) -> bool {
    use rusqlite::ffi::{SQLITE_IOERR_CORRUPTFS, SQLITE_IOERR_DATA, SQLITE_IOERR_READ};
    let code = e.sqlite_error().map_or(0, |e| e.extended_code);
    [SQLITE_IOERR_READ, SQLITE_IOERR_DATA, SQLITE_IOERR_CORRUPTFS].contains(&code)
}

fn broken(path: &Path, e: &rusqlite::Error) -> StoreError {
    StoreError::Broken { path: path.to_owned(), why: message(e) }
}

/// SQLite's own words, without the statement that met them.
fn message(e: &rusqlite::Error) -> String {
    match e {
        rusqlite::Error::SqliteFailure(_, Some(text)) => text.clone(),
        other => other.to_string(),
    }
}
