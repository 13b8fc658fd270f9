//! The desk's dealings with the workers: which row goes out next, and what becomes of each.
//!
//! A worker has one row in hand, and the desk remembers which; every end of a row is committed before the next goes
//! out. What may surprise: a report can be about a row that nobody has in hand any more, from a worker of the
//! set of rules before this one. It counts all the same.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tracing::{debug, error, info, warn};

use crate::alert::Severity;
use crate::chat::Surface;
use crate::deliver::{Event, Report};
use crate::judge::{EDIT_EVERY, Input, Notice};
use crate::message::{Fate, Message, MessageNo, OutboxRow, RowId};
use crate::store::{Lost, StoreError, Tried};
use crate::time::Now;

use super::desk::Desk;
use super::trouble::Change;

impl Desk {
    /// Gives a row to the worker of its space: the first, or one that goes before the one it has in hand.
    pub(super) fn hand_over(&mut self, row: OutboxRow) {
        let space = row.space.clone();
        let Some(worker) = self.workers.at_work.get(&space) else { return };
        if self.in_hand.get(&space).is_some_and(|held| held.id == row.id) {
            return;
        }
        // a worker that has ended takes nothing, and its end is noticed elsewhere
        if worker.hand.send(Some(row.clone())).is_ok()
            && let Some(before) = self.in_hand.insert(space.clone(), row)
        {
            self.set_back.insert(space, before.id);
        }
    }

    /// Takes the row out of its worker's hand, if it is there. A request that is on its way comes to its end.
    pub(super) fn take_back(&mut self, space: &Arc<str>, row: &RowId) {
        if self.in_hand.get(space).is_some_and(|held| held.id == *row) {
            self.in_hand.remove(space);
            if let Some(worker) = self.workers.at_work.get(space) {
                worker.hand.send_replace(None);
            }
        }
    }

    /// A newer edit takes the place of the one that waits for the same message, which the store sees to. Where that one may
    /// be on its way already, the newer one waits as long as edits are apart. Where it was still waiting so itself, its turn is
    /// the newer one's: while hits go on there is a newer one every time a turn comes, and none would ever go out.
    pub(super) fn make_room_for_edit(&mut self, row: &mut OutboxRow, now: Now) {
        let same = |other: &OutboxRow| other.space == row.space && other.draft.edits == row.draft.edits;
        self.owed.add.retain(|other| !same(other));
        if let Some(held) = self.in_hand.get(&row.space).filter(|held| same(held)) {
            row.due = if held.due > now.tick { held.due } else { now.tick + EDIT_EVERY };
            let held = held.id.clone();
            self.take_back(&row.space, &held);
        }
    }

    /// The row may be on its way to its space right now.
    pub(super) fn may_be_on_its_way(&self, row: &OutboxRow) -> bool {
        let held = self.in_hand.get(&row.space).is_some_and(|held| held.id == row.id);
        held || self.set_back.get(&row.space) == Some(&row.id)
    }

    /// The judge waits for the fate of messages. One that the store does not hold (a row that could not be read) will
    /// have none: it is lost, and says so, and its incidents go on without it. `new` are not in the store yet.
    pub(super) async fn settle_missing(&mut self, new: &[Message]) -> Result<(), StoreError> {
        let now = self.clock.now();
        let (waiting, dead) = (self.store.outbox().await?, self.store.dead_letters().await?);
        let known = waiting.iter().chain(&dead).map(|r| r.message).chain(new.iter().map(|m| m.no));
        let known: BTreeSet<MessageNo> = known.collect();
        let missing: Vec<MessageNo> = self.judge.unsettled().filter(|no| !known.contains(no)).collect();
        let count = missing.len();
        for message in missing {
            let said = self.judge.apply(Input::Fate { message, fate: Fate::Dropped }, now);
            self.say(said);
        }
        if count > 0 {
            error!(count, "messages are missing from the state, their hits are lost");
            let text = match count {
                1 => "a message is missing from the state: its hits are lost".to_owned(),
                _ => format!("{count} messages are missing from the state: their hits are lost"),
            };
            let hint =
                Some("`logherald status` counts them as `lost`; was the state directory changed?".into());
            self.tell(notice("lost".into(), Severity::Critical, text, hint), now);
        }
        Ok(())
    }

    /// There was no room for these rows: their hits are lost, which nothing else may be worse than.
    pub(super) fn tell_lost(&mut self, rows: Vec<Lost>, now: Now) {
        let spaces: BTreeSet<Arc<str>> = rows.iter().map(|row| Arc::clone(&row.space)).collect();
        for row in rows {
            error!("space `{}`: a message is dropped: there is no room left for it", row.space);
            let said = self.judge.apply(Input::Fate { message: row.message, fate: Fate::Dropped }, now);
            self.say(said);
        }
        for space in spaces {
            let text = format!("messages for the space `{space}` are dropped: no more can be kept");
            let hint =
                "`logherald status` counts their hits as `lost`; `logherald outbox list` shows what waits";
            self.tell(notice(format!("lost/{space}"), Severity::Critical, text, Some(hint.into())), now);
        }
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
            let what = if count == 1 { "message" } else { "messages" };
            warn!("space `{space}` is in the rules no more; {count} {what} of it: dead letters now");
            let text =
                format!("{count} {what} waited for the space `{space}`, which is in the rules no more");
            let hint = "`logherald outbox` lists them; put the space back and `logherald outbox retry` sends them, \
                        `logherald outbox drop` gives them up";
            self.tell(notice(format!("orphans/{space}"), Severity::Error, text, Some(hint.into())), now);
        }
        Ok(())
    }

    pub(super) async fn outcome(&mut self, report: Report) -> Result<(), StoreError> {
        let now = self.clock.now();
        self.touch(now);
        let Report { space, row, message, next_write, event } = report;
        // whatever was set back for this one has come to its end too: there is one request in flight
        self.set_back.remove(&space);
        self.owed.state.insert(format!("pace/{space}"), Some(next_write.0.to_string()));
        let state = self.spaces.entry(space.clone()).or_default();
        let (news, change) = state.take(&event, now);
        let fate = match event {
            Event::Delivered => {
                let stands = Input::Stands { message, row: Some(row.clone()) };
                let said = self.judge.apply(stands, now);
                self.say(said);
                self.owed.remove.push(row.clone());
                Some(Fate::Delivered)
            }
            Event::Retrying { tries, due, why } => {
                if news {
                    warn!("space `{space}`: not delivered yet (failed tries: {tries}): {why}");
                } else {
                    debug!("space `{space}`: not delivered yet (failed tries: {tries}): {why}");
                }
                self.owed.tried.push(Tried { id: row.clone(), tries, due, last_error: Some(why.clone()) });
                None
            }
            Event::Paused { tries, due: _, why, hint } => {
                if news {
                    error!("space `{space}` is paused, its messages are kept: {why}; hint: {hint}");
                } else {
                    debug!("space `{space}` is still paused: {why}");
                }
                // a pause is the worker's, not the row's: who has mended the space and reloads or starts the agent
                // again need not wait for the end of it
                let due = now.tick;
                self.owed.tried.push(Tried { id: row.clone(), tries, due, last_error: Some(why) });
                None
            }
            Event::Resumed => {
                info!("space `{space}` accepts messages again");
                None
            }
            Event::Refused { .. } if self.store.letter(row.clone()).await?.is_none() => {
                // a newer edit has taken its place meanwhile
                return self.finish(&space, &row).await;
            }
            Event::Refused { why, resend_plain } => {
                if resend_plain && let Some(plain) = self.plain_form(&row, now).await? {
                    warn!("space `{space}` refused a message, a plain form is sent instead: {why}");
                    self.owed.add.push(plain);
                    self.owed.remove.push(row.clone());
                    return self.finish(&space, &row).await;
                }
                error!("space `{space}` refused a message for good, it is kept as a dead letter: {why}");
                let text = format!("the space `{space}` refused a message for good: {why}");
                let hint = format!("`logherald outbox show {}` shows it", row.0);
                self.tell(notice(format!("refused/{space}"), Severity::Error, text, Some(hint)), now);
                self.owed.bury.push((row.clone(), why));
                Some(Fate::DeadLettered)
            }
            Event::Gone { why } => {
                if let Some(anew) = self.created_anew(&row, now).await? {
                    info!("space `{space}`: a message that was to be edited is made anew: {why}");
                    let said = self.judge.apply(Input::Stands { message, row: None }, now);
                    self.say(said);
                    self.owed.add.push(anew);
                    self.owed.remove.push(row.clone());
                }
                return self.finish(&space, &row).await;
            }
            Event::Expired { why } => {
                error!(
                    "space `{space}`: messages were not delivered in time, the next one says which: {why}"
                );
                self.tell_late(&space, &row, &why).await?;
                let text = format!(
                    "messages for the space `{space}` were not delivered in time; what they said is told as one \
                     message when it takes one again: {why}"
                );
                let hint = Some("`logherald outbox` lists them as dead letters".to_owned());
                self.tell(notice(format!("expired/{space}"), Severity::Error, text, hint), now);
                return self.finish(&space, &row).await;
            }
        };
        self.told_of(&space, change, now);
        if matches!(change, Change::Trouble | Change::Still) {
            self.detour(&space).await?;
        }
        if let Some(fate) = fate {
            let said = self.judge.apply(Input::Fate { message, fate }, now);
            self.say(said);
            self.finish(&space, &row).await?;
        }
        Ok(())
    }

    pub(super) fn tell(&mut self, notice: Notice, now: Now) {
        let said = self.judge.apply(Input::Notice(notice), now);
        self.say(said);
    }

    /// The worker's hand is empty: commit what it did, give it the next.
    async fn finish(&mut self, space: &Arc<str>, row: &RowId) -> Result<(), StoreError> {
        // also where it was put there a second time while it was on its way
        self.take_back(space, row);
        self.commit(BTreeSet::from([space.clone()])).await
    }

    /// What an edit says, as a message of its own; nothing where a newer edit has taken its place.
    async fn created_anew(&self, row: &RowId, now: Now) -> Result<Option<OutboxRow>, StoreError> {
        let edit = self.store.letter(row.clone()).await?.filter(|letter| letter.why.is_none());
        Ok(edit.map(|letter| {
            let draft = Message { edits: None, ..Message::clone(&letter.row.draft) };
            let surface = if letter.row.plain { Surface::Plain } else { Surface::Card };
            self.row(Arc::new(draft), surface, now)
        }))
    }

    /// The plain form of a row that waits, unless it is one.
    async fn plain_form(&self, row: &RowId, now: Now) -> Result<Option<OutboxRow>, StoreError> {
        let refused = self.store.letter(row.clone()).await?;
        let refused = refused.filter(|letter| letter.why.is_none() && !letter.row.plain);
        Ok(refused.map(|letter| self.row(letter.row.draft, Surface::Plain, now)))
    }
}

pub(super) fn notice(about: String, severity: Severity, text: String, hint: Option<String>) -> Notice {
    Notice { about, severity, text, hint, space: None }
}

#[cfg(test)]
pub(super) mod tests;
