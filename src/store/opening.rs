//! What lies in a state directory, and how it is opened: as it is, moved to the present schema, or set aside with what could
//! be read of it taken over.
//!
//! Surprising: an unreadable file never keeps the agent from its work; one that a newer version wrote does, for
//! it is the whole state, and nobody here knows what it says.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::core::Home;
use super::disk::Directory;
use super::image::{Image, META_VERSION};
use super::{SetAside, StoreError, afloat, schema};
use crate::time::Tick;

/// Compiled statements that are kept: more than there are.
const STATEMENTS: usize = 64;

/// Why the file in the directory cannot be used as it is.
pub(super) enum Unfit {
    /// Its content; it is set aside.
    Unreadable(String),
    /// Its surroundings, or its version.
    Told(StoreError),
}

/// What the directory holds, whatever state it is in.
pub(super) fn read(dir: &Directory) -> Result<(Connection, Home, Image, Option<SetAside>), StoreError> {
    let aside = |path: PathBuf, why: String, image: &Image| SetAside {
        path,
        why,
        positions: image.positions.len(),
        state: image.state.len(),
        outbox: image.outbox.len(),
        dead: image.dead.len(),
    };
    if !dir.is_writable() {
        let (image, damage) = afloat::read(dir)?;
        let db = in_memory(&image).map_err(|e| broken(&dir.state_file(), &e))?;
        // it stays where it is, for it cannot be moved
        let set_aside = damage.map(|why| aside(dir.state_file(), why, &image));
        return Ok((db, Home::Memory { again: Tick(0) }, image, set_aside));
    }
    if dir.is_new() {
        let (db, home) = begin(dir)?;
        return Ok((db, home, Image::default(), None));
    }
    match load(dir) {
        Ok((db, image)) => Ok((db, Home::Disk, image, None)),
        Err(Unfit::Told(e)) => Err(e),
        Err(Unfit::Unreadable(why)) => {
            let path = dir.set_aside()?;
            let image = salvage(&path);
            let set_aside = Some(aside(path, why, &image));
            let (db, home) = begin(dir)?;
            Ok((db, home, image, set_aside))
        }
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
pub(super) fn load(dir: &Directory) -> Result<(Connection, Image), Unfit> {
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
pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
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

pub(super) fn in_memory(image: &Image) -> rusqlite::Result<Connection> {
    let mut db = Connection::open_in_memory()?;
    prepare_once(&db)?;
    let tx = db.transaction()?;
    schema::migrate(&tx)?;
    image.write(&tx)?;
    tx.commit()?;
    Ok(db)
}

/// What can be read of a damaged file, which is left exactly as it is.
pub(super) fn salvage(path: &Path) -> Image {
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

/// The disk is full, or has become read-only, or fails to write: nothing is wrong with the rows.
pub(super) fn is_no_room(e: &rusqlite::Error) -> bool {
    use ErrorCode::{CannotOpen, DiskFull, ReadOnly, SystemIoFailure};
    matches!(e.sqlite_error_code(), Some(DiskFull | SystemIoFailure | ReadOnly | CannotOpen))
}

/// The disk fails to read.
fn cannot_be_read(e: &rusqlite::Error) -> bool {
    use rusqlite::ffi::{SQLITE_IOERR_CORRUPTFS, SQLITE_IOERR_DATA, SQLITE_IOERR_READ};
    let code = e.sqlite_error().map_or(0, |e| e.extended_code);
    [SQLITE_IOERR_READ, SQLITE_IOERR_DATA, SQLITE_IOERR_CORRUPTFS].contains(&code)
}

pub(super) fn broken(path: &Path, e: &rusqlite::Error) -> StoreError {
    StoreError::Broken { path: path.to_owned(), why: message(e) }
}

/// SQLite's own words, without the statement that met them.
fn message(e: &rusqlite::Error) -> String {
    match e {
        rusqlite::Error::SqliteFailure(_, Some(text)) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::ffi;

    #[test]
    fn a_sector_that_cannot_be_read_is_damage_and_one_that_cannot_be_written_is_no_room() {
        let failed = |code| rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
        for code in [ffi::SQLITE_IOERR_READ, ffi::SQLITE_IOERR_DATA, ffi::SQLITE_IOERR_CORRUPTFS] {
            assert!(cannot_be_read(&failed(code)), "{code}");
        }
        for code in [ffi::SQLITE_IOERR_WRITE, ffi::SQLITE_IOERR_FSYNC, ffi::SQLITE_FULL, ffi::SQLITE_READONLY]
        {
            assert!(!cannot_be_read(&failed(code)) && is_no_room(&failed(code)), "{code}");
        }
    }
}
