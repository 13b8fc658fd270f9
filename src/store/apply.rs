//! One commit, written into an open transaction; the statements that write rows.
//!
//! Bounds are held here, where rows come in: what goes over is dropped and handed back, so that it can be counted.

use std::borrow::Cow;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rusqlite::{OptionalExtension as _, Transaction, params};

use super::image::META_NOW;
use super::{Commit, DEAD_BYTES, DEAD_ROWS, Lost, OUTBOX_BYTES, OUTBOX_ROWS, Tried};
use crate::line::{FilePlace, Place, Position, PositionKey};
use crate::message::{MessageNo, OutboxRow, RowId};
use crate::state::StateRow;
use crate::time::{Now, Tick};

/// Why a commit was not applied.
#[derive(Debug)]
pub(super) enum Refusal {
    /// An id with two bodies.
    Changed(RowId),
    /// SQLite.
    Sql(rusqlite::Error),
}

impl From<rusqlite::Error> for Refusal {
    fn from(e: rusqlite::Error) -> Refusal {
        Refusal::Sql(e)
    }
}

/// Applies `commit`; returns what fell out for want of room.
pub(super) fn apply(tx: &Transaction<'_>, commit: &Commit) -> Result<Vec<Lost>, Refusal> {
    put_meta(tx, META_NOW, json(&commit.now)?.as_bytes())?;
    for key in &commit.forget {
        tx.prepare_cached("DELETE FROM position WHERE source = ?1 AND file = ?2")?
            .execute(params![&*key.source, file(key)?])?;
    }
    for position in &commit.positions {
        put_position(tx, position)?;
    }
    for row in &commit.state {
        put_state(tx, row)?;
    }
    for id in &commit.remove {
        tx.prepare_cached("DELETE FROM outbox WHERE id = ?1")?.execute([&*id.0])?;
        tx.prepare_cached("DELETE FROM dead WHERE id = ?1")?.execute([&*id.0])?;
    }
    for (id, why) in &commit.bury {
        bury(tx, id, why)?;
    }
    for id in &commit.revive {
        revive(tx, id, commit.now)?;
    }
    for t in &commit.tried {
        tried(tx, t)?;
    }
    for row in &commit.add {
        add(tx, row)?;
    }
    let mut lost = Vec::new();
    if !commit.add.is_empty() || !commit.revive.is_empty() {
        hold(tx, "outbox", OUTBOX_ROWS, OUTBOX_BYTES, &mut lost)?;
    }
    if !commit.bury.is_empty() {
        hold(tx, "dead", DEAD_ROWS, DEAD_BYTES, &mut lost)?;
    }
    Ok(lost)
}

/// Writes one value of the file itself.
pub(super) fn put_meta(tx: &Transaction<'_>, name: &str, value: &[u8]) -> rusqlite::Result<()> {
    let sql = "INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    tx.prepare_cached(sql)?.execute(params![name, value]).map(drop)
}

/// Writes a position. The path goes apart, as bytes: JSON could not hold every file name.
pub(super) fn put_position(tx: &Transaction<'_>, position: &Position) -> rusqlite::Result<()> {
    let (place, path) = match &position.place {
        Place::File(f) => {
            let pathless = FilePlace { path: Path::new("").into(), ..f.clone() };
            (json(&Place::File(pathless))?, Some(&f.path))
        }
        place @ Place::Journal { .. } => (json(place)?, None),
    };
    let path = path.map(|p| p.as_os_str().as_bytes());
    tx.prepare_cached(
        "INSERT INTO position (source, file, path, place, at) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (source, file) DO UPDATE SET path = excluded.path, place = excluded.place, at = excluded.at",
    )?
    .execute(params![&*position.key.source, file(&position.key)?, path, place, position.at.0])
    .map(drop)
}

/// Writes a state row, or takes it away.
pub(super) fn put_state(tx: &Transaction<'_>, row: &StateRow) -> rusqlite::Result<()> {
    match &row.value {
        Some(value) => tx
            .prepare_cached(
                "INSERT INTO state (name, value) VALUES (?1, ?2)
                 ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            )?
            .execute(params![row.name, value]),
        None => tx.prepare_cached("DELETE FROM state WHERE name = ?1")?.execute([&row.name]),
    }
    .map(drop)
}

/// Adds a row unless it is there already, waiting or dead, with the very same words.
fn add(tx: &Transaction<'_>, row: &OutboxRow) -> Result<(), Refusal> {
    let sql = "SELECT space = ?2 AND message = ?3 AND body = ?4 AND draft = ?5 FROM
        (SELECT space, message, body, draft FROM outbox WHERE id = ?1
         UNION ALL SELECT space, message, body, draft FROM dead WHERE id = ?1)";
    let draft = json(&*row.draft)?;
    let known: Option<bool> = tx
        .prepare_cached(sql)?
        .query_row(params![&*row.id.0, &*row.space, row.message.0 as i64, &*row.body, draft], |r| r.get(0))
        .optional()?;
    match known {
        None => {
            let row = instead(tx, row)?;
            Ok(insert_with(tx, &row, &draft)?)
        }
        Some(true) => Ok(()),
        Some(false) => Err(Refusal::Changed(row.id.clone())),
    }
}

/// An edit takes the place of the one that waits for the same message, and waits as long as that one would have: a newer
/// edit is no reason to try a space sooner.
fn instead<'a>(tx: &Transaction<'_>, row: &'a OutboxRow) -> rusqlite::Result<Cow<'a, OutboxRow>> {
    let Some(edits) = &row.draft.edits else { return Ok(Cow::Borrowed(row)) };
    let of = params![&*edits.0, &*row.space];
    let waited = tx
        .prepare_cached("SELECT tries, due, last_error FROM outbox WHERE edits = ?1 AND space = ?2")?
        .query_row(of, |r| Ok((r.get(0)?, r.get::<_, i64>(1)?, r.get(2)?)))
        .optional()?;
    let Some((tries, due, last_error)) = waited else { return Ok(Cow::Borrowed(row)) };
    tx.prepare_cached("DELETE FROM outbox WHERE edits = ?1 AND space = ?2")?.execute(of)?;
    let due = row.due.max(Tick(due as u64));
    Ok(Cow::Owned(OutboxRow { tries, due, last_error, ..row.clone() }))
}

/// Inserts a row of the outbox.
pub(super) fn insert(tx: &Transaction<'_>, row: &OutboxRow) -> rusqlite::Result<()> {
    insert_with(tx, row, &json(&*row.draft)?)
}

fn insert_with(tx: &Transaction<'_>, row: &OutboxRow, draft: &str) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "INSERT INTO outbox (id, space, message, severity, body, draft, plain, born, tries, due, last_error, edits)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    )?
    .execute(params![
        &*row.id.0,
        &*row.space,
        row.message.0 as i64,
        row.severity as i64,
        &*row.body,
        draft,
        row.plain,
        row.born.0,
        row.tries,
        row.due.0 as i64,
        row.last_error,
        row.draft.edits.as_ref().map(|edits| &*edits.0),
    ])
    .map(drop)
}

/// Makes a row a dead letter.
pub(super) fn bury(tx: &Transaction<'_>, id: &RowId, why: &str) -> rusqlite::Result<()> {
    let columns = "id, space, message, severity, body, draft, plain, born, tries, due, last_error, edits";
    tx.prepare_cached(&format!(
        "INSERT INTO dead ({columns}, why) SELECT {columns}, ?2 FROM outbox WHERE id = ?1"
    ))?
    .execute(params![&*id.0, why])?;
    tx.prepare_cached("DELETE FROM outbox WHERE id = ?1")?.execute([&*id.0]).map(drop)
}

/// Makes a dead letter wait again: the same id and body, as if committed at `now`. Why it died stays with it: it was tried,
/// so it is never told as part of another message.
fn revive(tx: &Transaction<'_>, id: &RowId, now: Now) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "INSERT INTO outbox (id, space, message, severity, body, draft, plain, born, tries, due, last_error, edits)
         SELECT id, space, message, severity, body, draft, plain, ?2, 0, ?3, why, edits FROM dead WHERE id = ?1",
    )?
    .execute(params![&*id.0, now.wall.0, now.tick.0 as i64])?;
    tx.prepare_cached("DELETE FROM dead WHERE id = ?1")?.execute([&*id.0]).map(drop)
}

fn tried(tx: &Transaction<'_>, t: &Tried) -> rusqlite::Result<()> {
    tx.prepare_cached("UPDATE outbox SET tries = ?2, due = ?3, last_error = ?4 WHERE id = ?1")?
        .execute(params![&*t.id.0, t.tries, t.due.0 as i64, t.last_error])
        .map(drop)
}

/// Drops rows of `table` until it is within its bounds.
///
/// Of the outbox, edits and then the mildest and oldest that were never tried go; the oldest of each space, its oldest
/// critical one and its oldest edit stay, because they are what a worker may have in its hands. Of the dead letters, the oldest
/// go.
fn hold(
    tx: &Transaction<'_>,
    table: &str,
    rows: u64,
    bytes: u64,
    lost: &mut Vec<Lost>,
) -> rusqlite::Result<()> {
    let size =
        format!("SELECT count(*), coalesce(sum(octet_length(body) + octet_length(draft)), 0) FROM {table}");
    let mut size = tx.prepare_cached(&size)?;
    let (mut n, mut sum): (i64, i64) = size.query_row([], |r| Ok((r.get(0)?, r.get(1)?)))?;
    if n <= rows as i64 && sum <= bytes as i64 {
        return Ok(());
    }
    let victims = if table == "dead" {
        "SELECT seq, id, space, message, octet_length(body) + octet_length(draft) FROM dead ORDER BY seq"
    } else {
        "SELECT seq, id, space, message, octet_length(body) + octet_length(draft) FROM outbox WHERE tries = 0
         AND seq NOT IN (SELECT min(seq) FROM outbox GROUP BY space, severity = 3, edits IS NULL)
         ORDER BY edits IS NULL, severity, seq"
    };
    let mut statement = tx.prepare(victims)?;
    let mut found = statement.query([])?;
    let mut gone = Vec::new();
    while n > rows as i64 || sum > bytes as i64 {
        let Some(row) = found.next()? else { break };
        gone.push(row.get::<_, i64>(0)?);
        lost.push(Lost {
            id: RowId(row.get::<_, String>(1)?.into()),
            space: row.get::<_, String>(2)?.into(),
            message: MessageNo(row.get::<_, i64>(3)? as u64),
            dead: table == "dead",
        });
        n -= 1;
        sum -= row.get::<_, i64>(4)?;
    }
    for seq in gone {
        tx.prepare_cached(&format!("DELETE FROM {table} WHERE seq = ?1"))?.execute([seq])?;
    }
    Ok(())
}

/// A position's file as the key column holds it.
fn file(key: &PositionKey) -> rusqlite::Result<String> {
    json(&key.file)
}

fn json<T: serde::Serialize>(value: &T) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))
}
