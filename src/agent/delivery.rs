//! The desk's dealings with the workers: which row goes out next, and what becomes of each.
//!
//! A worker has one row in hand, and the desk remembers which; every end of a row is committed before the next goes
//! out. What may surprise: a report can be about a row that nobody has in hand any more, from a worker of the
//! set of rules before this one. It counts all the same.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tracing::{error, info, warn};

use crate::alert::Severity;
use crate::chat::Surface;
use crate::deliver::{Event, Report};
use crate::judge::{Input, Notice};
use crate::message::{Fate, Message, MessageNo, OutboxRow, RowId};
use crate::store::{StoreError, Tried};
use crate::time::Now;

use super::desk::Desk;

impl Desk {
    /// Gives an idle worker its next row.
    pub(super) async fn hand_out(&mut self, space: &Arc<str>) -> Result<(), StoreError> {
        if self.in_hand.contains_key(space) {
            return Ok(());
        }
        if !self.workers.at_work.contains_key(space) {
            return Ok(());
        }
        if let Some(row) = self.store.next(space.clone()).await? {
            self.hand_over(row).await;
        }
        Ok(())
    }

    /// Gives a row to the worker of its space, which has nothing in hand.
    pub(super) async fn hand_over(&mut self, row: OutboxRow) {
        if let Some(worker) = self.workers.at_work.get(&row.space)
            && worker.rows.send(row.clone()).await.is_ok()
        {
            self.in_hand.insert(row.space.clone(), row);
        }
    }

    /// The judge waits for the fate of messages. One that the store does not hold (a row that could not be read) will
    /// have none: it is lost, and says so, and its incidents go on without it. `new` are not in the store yet.
    pub(super) async fn settle_missing(&mut self, new: &[Message]) -> Result<(), StoreError> {
        let now = self.clock.now();
        let (waiting, dead) = (self.store.outbox().await?, self.store.dead_letters().await?);
        let known = waiting.iter().chain(&dead).map(|r| r.message).chain(new.iter().map(|m| m.no));
        let known: BTreeSet<MessageNo> = known.collect();
        let missing: Vec<MessageNo> = self.judge.unsettled().filter(|no| !known.contains(no)).collect();
        if !missing.is_empty() {
            error!(count = missing.len(), "messages are missing from the state, their hits are lost");
        }
        for message in missing {
            let said = self.judge.apply(Input::Fate { message, fate: Fate::Dropped }, now);
            self.say(said);
        }
        Ok(())
    }

    /// What waits for a space that is in the rules no more becomes a dead letter, and is told.
    pub(super) async fn give_up_orphans(&mut self) -> Result<(), StoreError> {
        let now = self.clock.now();
        let mut lost_spaces = BTreeMap::new();
        for row in self.store.outbox().await? {
            if self.workers.named.contains(&row.space) || self.workers.at_work.contains_key(&row.space) {
                continue;
            }
            self.owed.bury.push((row.id, "its space is in the rules no more".to_owned()));
            *lost_spaces.entry(row.space).or_insert(0) += 1;
            let said = self.judge.apply(Input::Fate { message: row.message, fate: Fate::DeadLettered }, now);
            self.say(said);
        }
        for (space, count) in lost_spaces {
            warn!("space `{space}` is in the rules no more; {count} of its messages are dead letters now");
            let text =
                format!("{count} messages waited for the space `{space}`, which is in the rules no more");
            let said = self.judge.apply(Input::Notice(notice(format!("orphans/{space}"), text, None)), now);
            self.say(said);
        }
        Ok(())
    }

    pub(super) async fn outcome(&mut self, report: Report) -> Result<(), StoreError> {
        let now = self.clock.now();
        self.touch(now);
        let Report { space, row, message, next_write, event } = report;
        self.owed.state.insert(format!("pace/{space}"), Some(next_write.0.to_string()));
        let changed = self.spaces.entry(space.clone()).or_default().take(&event, now);
        let (fate, said) = match event {
            Event::Delivered => (Some(Fate::Delivered), None),
            Event::Retrying { tries, due, why } => {
                warn!("space `{space}`: not delivered yet (failed tries: {tries}): {why}");
                self.owed.tried.push(Tried { id: row.clone(), tries, due, last_error: Some(why) });
                (None, None)
            }
            Event::Paused { tries, due: _, why, hint } => {
                error!("space `{space}` is paused, its messages are kept: {why}; hint: {hint}");
                // a pause is the worker's, not the row's: who has mended the space and reloads or starts the agent
                // again need not wait for the end of it
                let due = now.tick;
                self.owed.tried.push(Tried { id: row.clone(), tries, due, last_error: Some(why.clone()) });
                let text = format!("the space `{space}` is paused and its messages wait: {why}");
                // once a change, not once a try
                (None, changed.then(|| notice(format!("space/{space}"), text, Some(hint))))
            }
            Event::Resumed => {
                info!("space `{space}` accepts messages again");
                (None, None)
            }
            Event::Refused { why, resend_plain } => {
                if resend_plain && let Some(plain) = self.plain_form(&space, &row, now) {
                    warn!("space `{space}` refused a message, a plain form is sent instead: {why}");
                    self.owed.add.push(plain);
                    self.owed.remove.push(row.clone());
                    return self.finish(&space, &row).await;
                }
                error!("space `{space}` refused a message for good, it is kept as a dead letter: {why}");
                let text = format!("the space `{space}` refused a message for good: {why}");
                self.owed.bury.push((row.clone(), why));
                (Some(Fate::DeadLettered), Some(notice(format!("refused/{space}"), text, None)))
            }
            Event::Expired { why } => {
                error!(
                    "space `{space}`: a message was not delivered in time, it is kept as a dead letter: {why}"
                );
                let text = format!("a message for the space `{space}` was not delivered in time: {why}");
                self.owed.bury.push((row.clone(), why));
                (Some(Fate::DeadLettered), Some(notice(format!("expired/{space}"), text, None)))
            }
        };
        if let Some(notice) = said {
            let said = self.judge.apply(Input::Notice(notice), now);
            self.say(said);
        }
        if let Some(fate) = fate {
            if fate == Fate::Delivered {
                self.owed.remove.push(row.clone());
            }
            let said = self.judge.apply(Input::Fate { message, fate }, now);
            self.say(said);
            self.finish(&space, &row).await?;
        }
        Ok(())
    }

    /// The worker's hand is empty: commit what it did, give it the next.
    async fn finish(&mut self, space: &Arc<str>, row: &RowId) -> Result<(), StoreError> {
        if self.in_hand.get(space).is_some_and(|held| held.id == *row) {
            self.in_hand.remove(space);
        }
        self.commit(BTreeSet::from([space.clone()])).await
    }

    /// The plain form of the row that a worker has in hand, unless it is one.
    fn plain_form(&self, space: &Arc<str>, row: &RowId, now: Now) -> Option<OutboxRow> {
        let refused = self.in_hand.get(space).filter(|held| held.id == *row)?;
        (!refused.plain).then(|| self.row(refused.draft.clone(), Surface::Plain, now))
    }
}

fn notice(about: String, text: String, hint: Option<String>) -> Notice {
    Notice { about, severity: Severity::Error, text, hint, space: None }
}
