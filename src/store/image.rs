//! All rows of the state at once, as values: what is loaded at start, salvaged from a damaged file, and carried
//! between disk and memory.
//!
//! One reader serves the sound file and the damaged one. It walks a table forwards until SQLite stumbles, then
//! backwards from its other end, so that one bad page costs the rows on it and not all that follow. Columns are
//! taken by name, so a damaged file of an older schema gives what it has.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, Row, Transaction, params};

use super::apply;
use crate::alert::Severity;
use crate::line::{Place, Position, PositionKey};
use crate::message::{MessageNo, OutboxRow, RowId};
use crate::state::StateRow;
use crate::time::{Now, Tick, Wall};

/// The clocks at the last commit, JSON.
pub(super) const META_NOW: &str = "now";
/// 16 random bytes.
pub(super) const META_INSTALL: &str = "install";
/// The version that opened the file last.
pub(super) const META_VERSION: &str = "version";

/// A message that Chat refused for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DeadLetter {
    /// As it was sent.
    pub(super) row: OutboxRow,
    /// What Chat said.
    pub(super) why: String,
}

/// A row that does not mean what its schema says.
pub(super) type Misread = Box<dyn std::error::Error + Send + Sync>;

/// Everything.
#[derive(Debug, Default)]
pub(super) struct Image {
    pub(super) meta: BTreeMap<String, Vec<u8>>,
    pub(super) positions: Vec<Position>,
    pub(super) state: Vec<StateRow>,
    pub(super) outbox: Vec<OutboxRow>,
    pub(super) dead: Vec<DeadLetter>,
}

impl Image {
    /// All that can be read, and the first fault that was met.
    pub(super) fn read(db: &Connection) -> (Image, Option<String>) {
        let mut fault = None;
        let image = Image {
            meta: table(db, "meta", meta, &mut fault).into_iter().collect(),
            positions: {
                let mut names = HashSet::new();
                table(db, "position", |row| position(row, &mut names), &mut fault)
            },
            state: table(db, "state", state, &mut fault),
            outbox: table(db, "outbox", outbox, &mut fault),
            dead: table(db, "dead", dead, &mut fault),
        };
        (image, fault)
    }

    /// The saved state alone, or why not all of it can be read.
    pub(super) fn state_of(db: &Connection) -> Result<Vec<StateRow>, String> {
        let mut fault = None;
        let rows = table(db, "state", state, &mut fault);
        fault.map_or(Ok(rows), Err)
    }

    /// Makes this all there is in `tx`.
    pub(super) fn write(&self, tx: &Transaction<'_>) -> rusqlite::Result<()> {
        tx.execute_batch("DELETE FROM meta; DELETE FROM position; DELETE FROM state; DELETE FROM outbox; DELETE FROM dead;")?;
        for (name, value) in &self.meta {
            tx.prepare_cached("INSERT INTO meta (name, value) VALUES (?1, ?2)")?
                .execute(params![name, value])?;
        }
        for position in &self.positions {
            apply::put_position(tx, position)?;
        }
        for row in &self.state {
            apply::put_state(tx, row)?;
        }
        for row in &self.outbox {
            apply::insert(tx, row)?;
        }
        for letter in &self.dead {
            apply::insert(tx, &letter.row)?;
            apply::bury(tx, &letter.row.id, &letter.why)?;
        }
        Ok(())
    }

    /// Drops what a damaged index let in twice.
    pub(super) fn each_once(&mut self) {
        let mut seen = HashSet::new();
        self.positions.retain(|p| seen.insert(p.key.clone()));
        let mut seen = HashSet::new();
        self.state.retain(|s| seen.insert(s.name.clone()));
        let mut seen = HashSet::new();
        self.outbox.retain(|row| seen.insert(row.id.clone()));
        self.dead.retain(|letter| seen.insert(letter.row.id.clone()));
    }

    /// The clocks at the last commit.
    pub(super) fn now(&self) -> Option<Now> {
        serde_json::from_slice(self.meta.get(META_NOW)?).ok()
    }

    /// The id of this installation.
    pub(super) fn install(&self) -> Option<[u8; 16]> {
        self.meta.get(META_INSTALL)?.as_slice().try_into().ok()
    }

    /// About how many bytes this takes on disk.
    pub(super) fn bytes(&self) -> u64 {
        let rows = self.positions.len() + self.state.len() + self.outbox.len() + self.dead.len();
        let letters = self.outbox.iter().chain(self.dead.iter().map(|d| &d.row));
        let bodies: usize = letters.map(|r| 3 * r.body.len()).sum();
        let state: usize = self.state.iter().filter_map(|s| s.value.as_ref()).map(String::len).sum();
        (bodies + state + 1024 * rows) as u64
    }
}

/// The rows of `name` that can be read, in order.
fn table<T>(
    db: &Connection,
    name: &str,
    mut parse: impl FnMut(&Row<'_>) -> Result<T, Misread>,
    fault: &mut Option<String>,
) -> Vec<T> {
    let mut walk = |order: &str, stop: i64, out: &mut Vec<T>| -> (i64, bool) {
        let mut last = i64::MIN;
        let mut whole = false;
        let mut go = || -> Result<(), Misread> {
            let mut statement =
                db.prepare(&format!("SELECT rowid AS nr, * FROM {name} ORDER BY rowid {order}"))?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                last = row.get("nr")?;
                if last <= stop && order == "DESC" {
                    break;
                }
                match parse(row) {
                    Ok(value) => out.push(value),
                    Err(e) => _ = fault.get_or_insert_with(|| format!("table `{name}`, row {last}: {e}")),
                }
            }
            whole = true;
            Ok(())
        };
        if let Err(e) = go() {
            fault.get_or_insert_with(|| format!("table `{name}`: {e}"));
        }
        (last, whole)
    };
    let mut found = Vec::new();
    let (last, whole) = walk("ASC", i64::MIN, &mut found);
    if !whole {
        let mut rest = Vec::new();
        walk("DESC", last, &mut rest);
        found.extend(rest.into_iter().rev());
    }
    found
}

fn meta(row: &Row<'_>) -> Result<(String, Vec<u8>), Misread> {
    // older tools may have left text where bytes are expected
    let value = match row.get_ref("value")? {
        rusqlite::types::ValueRef::Text(b) | rusqlite::types::ValueRef::Blob(b) => b.to_vec(),
        other => return Err(format!("expected bytes, found {}", other.data_type()).into()),
    };
    Ok((row.get("name")?, value))
}

/// A position; `names` are the sources' that were met so far: there are few, and many files of each.
fn position(row: &Row<'_>, names: &mut HashSet<Arc<str>>) -> Result<Position, Misread> {
    let mut place: Place = serde_json::from_str(&row.get::<_, String>("place")?)?;
    if let (Place::File(f), Some(path)) = (&mut place, row.get::<_, Option<Vec<u8>>>("path")?) {
        f.path = Path::new(OsStr::from_bytes(&path)).into();
    }
    let name = row.get_ref("source")?.as_str()?;
    let source = names.get(name).cloned().unwrap_or_else(|| name.into());
    names.insert(Arc::clone(&source));
    let file = serde_json::from_str(&row.get::<_, String>("file")?)?;
    Ok(Position { key: PositionKey { source, file }, place, at: Wall(row.get("at")?) })
}

fn state(row: &Row<'_>) -> Result<StateRow, Misread> {
    Ok(StateRow { name: row.get("name")?, value: Some(row.get("value")?) })
}

/// A row of the outbox, or of the dead letters.
pub(super) fn outbox(row: &Row<'_>) -> Result<OutboxRow, Misread> {
    let text = |name: &str| row.get::<_, String>(name);
    Ok(OutboxRow {
        id: RowId(text("id")?.into()),
        space: text("space")?.into(),
        message: MessageNo(row.get::<_, i64>("message")? as u64),
        severity: severity(row.get("severity")?)?,
        body: text("body")?.into(),
        draft: serde_json::from_str(&text("draft")?)?,
        plain: row.get("plain")?,
        born: Wall(row.get("born")?),
        tries: row.get("tries")?,
        due: Tick(row.get::<_, i64>("due")? as u64),
        last_error: row.get("last_error")?,
    })
}

/// A dead letter.
pub(super) fn dead(row: &Row<'_>) -> Result<DeadLetter, Misread> {
    Ok(DeadLetter { row: outbox(row)?, why: row.get("why").unwrap_or_default() })
}

/// The severity that was written as `rank`.
pub(super) fn severity(rank: i64) -> Result<Severity, Misread> {
    let found = usize::try_from(rank).ok().and_then(|i| Severity::ALL.get(i).copied());
    found.ok_or_else(|| format!("expected a severity from 0 to 3, found {rank}").into())
}
