//! The tables, their version, and the steps from each version to the next.
//!
//! `PRAGMA user_version` holds the version. A new file goes through every step too, so that an old file and a new
//! one cannot differ. Steps are never edited once released: a change is a new step.

use rusqlite::{Connection, Transaction};

/// The version that this program writes.
pub(super) const KNOWN: i64 = STEPS.len() as i64;

/// `STEPS[n]` leads from version `n` to version `n + 1`.
const STEPS: [&str; 3] = [FIRST, SECOND, THIRD];

const FIRST: &str = "
CREATE TABLE meta (name TEXT PRIMARY KEY NOT NULL, value BLOB NOT NULL);
CREATE TABLE position (
    source TEXT NOT NULL,
    file TEXT NOT NULL,     -- JSON of the file's identity, or null
    path BLOB,              -- bytes: a file name need not be UTF-8
    place TEXT NOT NULL,    -- JSON, with an empty path
    at INTEGER NOT NULL,
    UNIQUE (source, file)
);
CREATE TABLE state (name TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL);
CREATE TABLE outbox (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    space TEXT NOT NULL,
    message INTEGER NOT NULL,
    severity INTEGER NOT NULL,
    body TEXT NOT NULL,
    draft TEXT NOT NULL,
    plain INTEGER NOT NULL,
    born INTEGER NOT NULL,
    tries INTEGER NOT NULL,
    due INTEGER NOT NULL,
    last_error TEXT
);
CREATE TRIGGER outbox_never_changes
BEFORE UPDATE OF id, space, message, severity, body, draft, plain, born ON outbox
BEGIN SELECT RAISE(ABORT, 'a committed message never changes'); END;
CREATE TABLE dead (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    space TEXT NOT NULL,
    message INTEGER NOT NULL,
    severity INTEGER NOT NULL,
    body TEXT NOT NULL,
    draft TEXT NOT NULL,
    plain INTEGER NOT NULL,
    born INTEGER NOT NULL,
    tries INTEGER NOT NULL,
    due INTEGER NOT NULL,
    last_error TEXT
);
";

/// The reason of a dead letter apart from its last try; the next row of a space without a walk over all; a body that
/// was refused stays what was refused.
const SECOND: &str = "
ALTER TABLE dead ADD COLUMN why TEXT NOT NULL DEFAULT '';
UPDATE dead SET why = coalesce(last_error, '');
CREATE INDEX outbox_order ON outbox (space, severity = 3, seq);
CREATE TRIGGER dead_never_changes
BEFORE UPDATE OF id, space, message, severity, body, draft, plain, born ON dead
BEGIN SELECT RAISE(ABORT, 'a committed message never changes'); END;
";

/// Edits of messages that a space has: behind all else, and one of a message.
const THIRD: &str = "
ALTER TABLE outbox ADD COLUMN edits TEXT;
ALTER TABLE dead ADD COLUMN edits TEXT;
DROP INDEX outbox_order;
CREATE INDEX outbox_order ON outbox (space, edits IS NOT NULL, severity = 3 DESC, seq);
CREATE INDEX outbox_edits ON outbox (edits) WHERE edits IS NOT NULL;
CREATE TRIGGER outbox_edit_never_changes
BEFORE UPDATE OF edits ON outbox
BEGIN SELECT RAISE(ABORT, 'a committed message never changes'); END;
";

/// The version of the open file; 0 for an empty one.
pub(super) fn version(db: &Connection) -> rusqlite::Result<i64> {
    db.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Takes every step that is missing. The caller has refused versions above [`KNOWN`].
pub(super) fn migrate(tx: &Transaction<'_>) -> rusqlite::Result<()> {
    let from = usize::try_from(version(tx)?).unwrap_or(0);
    if from >= STEPS.len() {
        // even the same version again would be a write, and the disk may be full
        return Ok(());
    }
    for step in STEPS.iter().skip(from) {
        tx.execute_batch(step)?;
    }
    tx.pragma_update(None, "user_version", KNOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_file_takes_every_step_and_a_finished_one_none() {
        let mut db = Connection::open_in_memory().unwrap();
        for _ in 0..2 {
            let tx = db.transaction().unwrap();
            migrate(&tx).unwrap();
            tx.commit().unwrap();
            assert_eq!(version(&db).unwrap(), KNOWN);
        }
    }
}
