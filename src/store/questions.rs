//! What others may ask of the store: the next row, what waits, what is dead.
//!
//! Answers come from the same connection that commits, so whoever has seen a commit's answer finds it in here. A row
//! that cannot be understood is an error: at start such rows were set aside, so one that turns up later means that
//! the disk has changed under the agent.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, Params, Row, params};

use super::core::Store;
use super::image::{self, DeadLetter, Misread};
use super::{Letter, OutboxSummary, SpaceCounts, StoreError};
use crate::message::{MessageNo, OutboxRow, RowId};
use crate::time::{Tick, Wall};

/// Which row of a space goes first. As the index has it, so that nothing is walked over or sorted; the same holds of
/// [`UNTRIED`], where `edits IS NULL` would not be seen to be the same.
const FIRST: &str =
    "FROM outbox WHERE space = ?1 ORDER BY edits IS NOT NULL, (severity = 3) DESC, seq LIMIT 1";

/// Rows of a space that were never tried, critical ones or all others; no edits.
const UNTRIED: &str =
    "FROM outbox WHERE space = ?1 AND (edits IS NOT NULL) = 0 AND (severity = 3) = ?2 AND tries = 0
            AND last_error IS NULL";

impl Store {
    /// The row that `space` sends next: a critical one first, then the oldest, edits behind all others. It may not be
    /// due yet.
    pub fn next(&self, space: &str) -> Result<Option<OutboxRow>, StoreError> {
        self.ask(|db| {
            let mut first = db.prepare_cached(&format!("SELECT * {FIRST}"))?;
            let row = first.query_row([space], |row| Ok(image::outbox(row))).optional()?;
            row.transpose()
        })
    }

    /// [`Store::next`], out of the caller's own hand where it is one of `added`, which were committed just now: reading
    /// its words again would make an alert wait.
    pub(super) fn next_of(&self, space: &str, added: &[OutboxRow]) -> Result<Option<OutboxRow>, StoreError> {
        if !added.iter().any(|row| *row.space == *space) {
            return self.next(space);
        }
        let first = self.ask(|db| {
            let columns =
                |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, u32>(1)?, row.get::<_, i64>(2)?));
            Ok(db
                .prepare_cached(&format!("SELECT id, tries, due {FIRST}"))?
                .query_row([space], columns)
                .optional()?)
        })?;
        let is_first = |row: &&OutboxRow| {
            // an edit that took another's place waits as long as that one would have
            let same = |id: &str, tries: u32, due: i64| {
                *id == *row.id.0 && (tries, due) == (row.tries, row.due.0 as i64)
            };
            first.as_ref().is_some_and(|(id, tries, due)| same(id, *tries, *due))
        };
        match added.iter().find(is_first) {
            Some(row) => Ok(Some(row.clone())),
            None => self.next(space),
        }
    }

    /// All that waits, oldest first.
    pub fn outbox(&self) -> Result<Vec<OutboxSummary>, StoreError> {
        let sql =
            "SELECT id, space, message, severity, plain, edits IS NOT NULL AS edit, born, tries, due, last_error,
            octet_length(body) AS bytes FROM outbox ORDER BY seq";
        self.ask(|db| all(db, sql, summary))
    }

    /// All dead letters, oldest first. `last_error` is the reason.
    pub fn dead_letters(&self) -> Result<Vec<OutboxSummary>, StoreError> {
        let sql = "SELECT id, space, message, severity, plain, edits IS NOT NULL AS edit, born, tries, due,
            why AS last_error, octet_length(body) AS bytes FROM dead ORDER BY seq";
        self.ask(|db| all(db, sql, summary))
    }

    /// One row with all its words, waiting or dead.
    pub fn letter(&self, id: &RowId) -> Result<Option<Letter>, StoreError> {
        self.ask(|db| {
            let mut waiting = db.prepare_cached("SELECT * FROM outbox WHERE id = ?1")?;
            if let Some(row) = waiting.query_row([&*id.0], |row| Ok(image::outbox(row))).optional()? {
                return Ok(Some(Letter { row: row?, why: None }));
            }
            let mut dead = db.prepare_cached("SELECT * FROM dead WHERE id = ?1")?;
            let found = dead.query_row([&*id.0], |row| Ok(image::dead(row))).optional()?.transpose()?;
            Ok(found.map(|DeadLetter { row, why }| Letter { row, why: Some(why) }))
        })
    }

    /// Rows that wait for `space` and were never tried, oldest first, at most `most`; the critical ones, or all others.
    /// No edits: of those one of a message waits at the most.
    pub fn untried(&self, space: &str, critical: bool, most: u32) -> Result<Vec<OutboxRow>, StoreError> {
        let sql = &format!("SELECT * {UNTRIED} ORDER BY seq LIMIT ?3");
        self.ask(|db| rows(db, sql, params![space, critical, most]))
    }

    /// Rows that wait for `space`, oldest first, at most `most`: those committed at `until` or before. No edits.
    pub fn waiting(&self, space: &str, until: Wall, most: u32) -> Result<Vec<OutboxRow>, StoreError> {
        let sql =
            "SELECT * FROM outbox WHERE space = ?1 AND born <= ?2 AND edits IS NULL ORDER BY seq LIMIT ?3";
        self.ask(|db| rows(db, sql, params![space, until.0, most]))
    }

    /// More than `than` rows wait for `space` that were never tried, critical ones or all others.
    pub(super) fn is_deeper(&self, space: &str, critical: bool, than: u32) -> Result<bool, StoreError> {
        let sql = &format!("SELECT count(*) FROM (SELECT 1 {UNTRIED} LIMIT ?3)");
        let most = than.saturating_add(1);
        self.ask(|db| {
            let found: u32 =
                db.prepare_cached(sql)?.query_row(params![space, critical, most], |r| r.get(0))?;
            Ok(found > than)
        })
    }

    /// What waits and what is dead, per space that has either, by name.
    pub fn counts(&self) -> Result<Vec<SpaceCounts>, StoreError> {
        let sql = "SELECT space, sum(waiting) AS waiting, sum(bytes) AS bytes, min(born) AS oldest, sum(dead) AS dead
            FROM (SELECT space, 1 AS waiting, octet_length(body) + octet_length(draft) AS bytes, born, 0 AS dead
                FROM outbox UNION ALL SELECT space, 0, 0, NULL, 1 FROM dead) GROUP BY space ORDER BY space";
        self.ask(|db| all(db, sql, counted))
    }

    fn ask<T>(&self, question: impl FnOnce(&Connection) -> Result<T, Misread>) -> Result<T, StoreError> {
        question(&self.db).map_err(|e| StoreError::Broken { path: self.dir.state_file(), why: e.to_string() })
    }
}

fn all<T>(db: &Connection, sql: &str, parse: fn(&Row<'_>) -> Result<T, Misread>) -> Result<Vec<T>, Misread> {
    let mut statement = db.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(parse(row)?);
    }
    Ok(found)
}

/// All rows of the outbox that a question finds.
fn rows(db: &Connection, sql: &str, of: impl Params) -> Result<Vec<OutboxRow>, Misread> {
    let mut statement = db.prepare_cached(sql)?;
    let mut found = statement.query(of)?;
    let mut all = Vec::new();
    while let Some(row) = found.next()? {
        all.push(image::outbox(row)?);
    }
    Ok(all)
}

fn summary(row: &Row<'_>) -> Result<OutboxSummary, Misread> {
    Ok(OutboxSummary {
        id: RowId(row.get::<_, String>("id")?.into()),
        space: row.get::<_, String>("space")?.into(),
        message: MessageNo(row.get::<_, i64>("message")? as u64),
        severity: image::severity(row.get("severity")?)?,
        plain: row.get("plain")?,
        edit: row.get("edit")?,
        born: Wall(row.get("born")?),
        tries: row.get("tries")?,
        due: Tick(row.get::<_, i64>("due")? as u64),
        last_error: row.get("last_error")?,
        bytes: row.get::<_, i64>("bytes")? as u64,
    })
}

fn counted(row: &Row<'_>) -> Result<SpaceCounts, Misread> {
    Ok(SpaceCounts {
        space: Arc::from(row.get::<_, String>("space")?),
        waiting: row.get::<_, i64>("waiting")? as u64,
        bytes: row.get::<_, i64>("bytes")? as u64,
        oldest: row.get::<_, Option<i64>>("oldest")?.map(Wall),
        dead: row.get::<_, i64>("dead")? as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_alert_asks_is_a_step_into_the_index_and_no_walk() {
        let mut db = Connection::open_in_memory().unwrap();
        let tx = db.transaction().unwrap();
        super::super::schema::migrate(&tx).unwrap();
        let plan = |sql: String| {
            let values = params!["ops", false].iter().take(sql.matches(" = ?").count());
            let mut plan = tx.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let steps = plan.query_map(rusqlite::params_from_iter(values), |r| r.get(3)).unwrap();
            steps.map(Result::unwrap).collect::<Vec<String>>()
        };
        let into = |columns| format!("SEARCH outbox USING INDEX outbox_order ({columns})");
        assert_eq!(plan(format!("SELECT * {FIRST}")), [into("space=?")]);
        let untried = [into("space=? AND <expr>=? AND <expr>=?")];
        assert_eq!(plan(format!("SELECT * {UNTRIED} ORDER BY seq")), untried);
    }
}
