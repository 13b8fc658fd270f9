//! What the desk does with messages that cannot go out as they are: a queue that has grown too long, rows that have
//! waited for a day, a space that needs another to stand in for it.
//!
//! The judge says what is told instead; here its answer and the end of the rows it stands for go into one commit, so
//! that a crash leaves the one or the others. A row that may be on its way is left alone: it says what it says.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::judge::{Input, Recall};
use crate::message::{Message, OutboxRow, RowId};
use crate::store::StoreError;
use crate::time::Wall;

use super::desk::Desk;

/// Rows that are looked at at once: with their bodies they take some megabytes.
const AT_ONCE: u32 = 200;

/// What waited for so long is told as old. The worker's own limit, on the same clock.
const LATE: Duration = crate::deliver::AGE_LIMIT;

impl Desk {
    /// Queues that have grown too long become one message each, which the next commit puts in place of their rows.
    pub(super) async fn shorten(&mut self, queues: Vec<(Arc<str>, bool)>) -> Result<(), StoreError> {
        for (space, critical) in queues {
            let gone: BTreeSet<_> = self.owed.remove.iter().cloned().collect();
            let mut rows = self.store.untried(space, critical, AT_ONCE).await?;
            rows.retain(|row| !self.may_be_on_its_way(row) && !gone.contains(&row.id));
            if rows.len() > 1 {
                self.recall(&rows, Recall::Crowded);
                self.owed.remove.extend(rows.into_iter().map(|row| row.id));
            }
        }
        Ok(())
    }

    /// All that has waited for this space for too long, as `first` has, is told as one message, and kept as dead letters.
    pub(super) async fn tell_late(
        &mut self,
        space: &Arc<str>,
        first: &RowId,
        why: &str,
    ) -> Result<(), StoreError> {
        let until = self.clock.now().wall - LATE;
        let mut rows = self.store.waiting(space.clone(), until, AT_ONCE).await?;
        // the calendar may have been set since
        if !rows.iter().any(|row| row.id == *first) {
            let letter = self.store.letter(first.clone()).await?;
            rows.extend(letter.filter(|letter| letter.why.is_none()).map(|letter| letter.row));
        }
        self.recall(&rows, Recall::Late);
        self.owed.bury.extend(rows.into_iter().map(|row| (row.id, format!("not sent in time: {why}"))));
        Ok(())
    }

    /// The space cannot be reached: where it has a stand-in, that one is told as well.
    pub(super) async fn detour(&mut self, space: &Arc<str>) -> Result<(), StoreError> {
        if self.workers.fallbacks.contains_key(space) {
            let rows = self.store.waiting(space.clone(), Wall(i64::MAX), AT_ONCE).await?;
            let messages: Vec<Arc<Message>> = rows.into_iter().map(|row| row.draft).collect();
            self.tell_elsewhere(space, messages);
        }
        Ok(())
    }

    /// Copies of messages for a space in trouble go to its stand-in.
    pub(super) fn tell_elsewhere(&mut self, space: &Arc<str>, messages: Vec<Arc<Message>>) {
        let Some(to) = self.workers.fallbacks.get(space).cloned() else { return };
        if self.is_stood_in_for(space) && self.workers.at_work.contains_key(&to) {
            let copies = self.judge.apply(Input::Detour { messages, to }, self.clock.now());
            self.say(copies);
        }
    }

    fn recall(&mut self, rows: &[OutboxRow], why: Recall) {
        let messages = rows.iter().map(|row| row.draft.clone()).collect();
        let said = self.judge.apply(Input::Recall { messages, why }, self.clock.now());
        self.say(said);
    }
}
