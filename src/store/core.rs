//! The store itself, blocking: open, commit, answer, and move between disk and memory.
//!
//! Every write goes through [`Store::transact`], which is where a full disk is met: ballast, one more try, memory.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::apply::{self, Refusal};
use super::disk::Directory;
use super::image::{Image, META_INSTALL, META_VERSION};
use super::opening::{broken, connect, in_memory, is_no_room, read};
use super::{Commit, Committed, DEEP, Opened, StoreError, schema};
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
    /// A file that cannot be read lies where the state is to be written, since it could not be moved.
    in_the_way: bool,
    /// The last field, so that the lock outlives the connection.
    pub(super) dir: Directory,
}

/// Where the rows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Home {
    Disk,
    /// The disk has no room, or refuses to write.
    Memory {
        /// Not before this is it tried again by a commit.
        again: Tick,
    },
}

impl Store {
    /// Opens the state in `dir`, making both where they are missing.
    ///
    /// A file of an older schema is migrated. One that cannot be read is set aside, and what can be read of it is
    /// taken over. Errors: [`StoreError::Busy`], [`StoreError::Dir`], [`StoreError::Newer`], [`StoreError::Full`],
    /// [`StoreError::Broken`].
    pub fn open(dir: &Path) -> Result<(Store, Opened), StoreError> {
        let dir = Directory::claim(dir)?;
        let (db, home, image, set_aside) = read(&dir)?;
        let install = match image.install() {
            Some(known) => known,
            None => random(&dir)?,
        };
        let in_the_way = set_aside.is_some() && !dir.is_writable();
        let mut store = Store { db, home, full: true, dirty: true, in_the_way, dir };
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
        if !self.dir.begin_to_write() || (self.in_the_way && self.dir.set_aside().is_err()) {
            return;
        }
        self.in_the_way = false;
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

fn random(dir: &Directory) -> Result<[u8; 16], StoreError> {
    let mut bytes = [0; 16];
    let fault = |e: getrandom::Error| StoreError::Dir { dir: dir.path().to_owned(), why: e.to_string() };
    getrandom::fill(&mut bytes).map_err(fault)?;
    Ok(bytes)
}

fn no_room<T>(outcome: &Result<T, Refusal>) -> bool {
    matches!(outcome, Err(Refusal::Sql(e)) if is_no_room(e))
}
