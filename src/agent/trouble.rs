//! The troubles of spaces: what is wrong with each, told once when it begins and once when it is over.
//!
//! Two speak of a space: its worker, by what becomes of messages, and a look at it while there is nothing to say. What was
//! told is kept in the state, so that neither a restart tells it again nor its end goes without a word. What may surprise:
//! of a space in trouble the look says only that it is over; its words for one trouble are others than the worker's, and
//! would be told as another. So would be the worker's first for what a look has met.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tracing::{error, info, warn};

use crate::alert::Severity;
use crate::deliver::{Event, Found};
use crate::state::StateRow;
use crate::store::StoreError;
use crate::time::Now;

use super::delivery::notice;
use super::desk::{Desk, Workers};

/// Troubles that the line for systemd names; the rest is counted.
const TROUBLES: usize = 3;

/// So many failed tries of one message are a trouble that is told; fewer may be chance.
const TOLD_AFTER: u32 = 3;

/// The saved trouble of a space is the row of this name and the space's.
pub(super) const ROW: &str = "trouble/";

/// What is known of a space.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SpaceState {
    /// What is wrong now.
    pub trouble: Option<String>,
    /// Since when.
    pub since: Option<String>,
    /// The remedy.
    pub hint: Option<String>,
    /// Nothing gets through until somebody mends something.
    #[serde(skip)]
    pub(super) paused: bool,
    /// The trouble was told.
    #[serde(skip)]
    pub(super) told: bool,
    /// The trouble was met since this start: what was told before it may be mended by now.
    #[serde(skip)]
    met: bool,
    /// A look has met it, in words of its own.
    #[serde(skip)]
    by_look: bool,
}

/// A trouble that was told, as it is saved.
#[derive(Serialize, Deserialize)]
struct Row {
    trouble: String,
    since: Option<String>,
    hint: Option<String>,
    paused: bool,
}

/// What a report changes for those who are told of a space's troubles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    No,
    /// It is in trouble, or in another.
    Trouble,
    /// It still is, after a restart.
    Still,
    /// The trouble that was told is over.
    Over,
}

impl SpaceState {
    /// Takes in what a worker reports. `true`: in other words than the last time.
    pub(super) fn take(&mut self, event: &Event, now: Now) -> (bool, Change) {
        let (words, hint) = match event {
            Event::Delivered | Event::Resumed => {
                let over = if self.told { Change::Over } else { Change::No };
                *self = SpaceState::default();
                return (true, over);
            }
            // the space is as it was
            Event::Gone { .. } | Event::Expired { .. } => return (false, Change::No),
            Event::Retrying { why, .. } => (format!("retrying: {why}"), None),
            Event::Paused { why, hint, .. } => (format!("paused: {why}"), Some(hint.clone())),
            Event::Refused { why, .. } => (why.clone(), None),
        };
        let news = self.trouble.as_ref() != Some(&words);
        let paused = matches!(event, Event::Paused { .. });
        let meets = match event {
            Event::Paused { .. } => true,
            Event::Retrying { tries, .. } => *tries >= TOLD_AFTER,
            _ => false,
        };
        let change = match event {
            _ if meets && !self.told => Change::Trouble,
            // the first words of a worker for what a look has met are other words for the same
            Event::Paused { .. } if news && !self.by_look => Change::Trouble,
            _ if meets && !self.met => Change::Still,
            _ => Change::No,
        };
        let since = if news { Some(now.wall.to_string()) } else { self.since.take() };
        let (told, met) = (self.told || change == Change::Trouble, self.met || meets);
        let by_look = self.by_look && !meets;
        *self = SpaceState { trouble: Some(words), since, hint, paused, told, met, by_look };
        (news, change)
    }

    /// As it is saved; `None`: nothing was told that is not over.
    fn row(&self) -> Option<String> {
        let SpaceState { trouble: Some(trouble), since, hint, paused, told: true, .. } = self.clone() else {
            return None;
        };
        serde_json::to_string(&Row { trouble, since, hint, paused }).ok()
    }
}

impl Desk {
    /// Takes up the troubles that were told before the last stop. A row that cannot be read is a trouble that is told anew.
    pub(super) fn take_up_troubles(&mut self, saved: &[StateRow]) {
        for row in saved {
            let Some(space) = row.name.strip_prefix(ROW) else { continue };
            let read = row.value.as_deref().and_then(|text| serde_json::from_str(text).ok());
            if let Some(Row { trouble, since, hint, paused }) = read {
                let hinted = hint.as_ref().map(|h| format!("; hint: {h}")).unwrap_or_default();
                warn!("space `{space}` was in trouble before this start: {trouble}{hinted}");
                let trouble = Some(trouble);
                let state = SpaceState { trouble, since, hint, paused, told: true, ..SpaceState::default() };
                self.spaces.insert(space.into(), state);
            } else {
                self.owed.state.insert(row.name.clone(), None);
            }
        }
        self.forget_unnamed_spaces();
    }

    /// Of spaces that are in the rules no more nothing is known.
    pub(super) fn forget_unnamed_spaces(&mut self) {
        let Workers { named, at_work, .. } = &self.workers;
        let is_gone = |space: &&Arc<str>| !named.contains(*space) && !at_work.contains_key(*space);
        let gone: BTreeSet<Arc<str>> = self.spaces.keys().filter(is_gone).cloned().collect();
        for space in gone {
            self.spaces.remove(&space);
            self.owed.state.insert(format!("{ROW}{space}"), None);
        }
        self.show_troubles();
    }

    /// Somebody has looked at a space that nothing is being said to.
    pub(super) async fn looked(
        &mut self,
        space: &Arc<str>,
        found: Found,
        now: Now,
    ) -> Result<(), StoreError> {
        let event = match found {
            Found::Trouble { why, hint } => {
                error!("space `{space}` cannot be spoken to: {why}; hint: {hint}");
                if let Some(state) = self.spaces.get_mut(space).filter(|state| state.told) {
                    // whatever it says, that trouble is not over
                    let still = !std::mem::replace(&mut state.met, true);
                    return if still { self.detour(space).await } else { Ok(()) };
                }
                Event::Paused { tries: 0, due: now.tick, why, hint }
            }
            // what becomes of the message that waits says more
            Found::Well if self.in_hand.contains_key(space) => return Ok(()),
            Found::Well => Event::Resumed,
        };
        self.touch(now);
        let state = self.spaces.entry(space.clone()).or_default();
        let had = state.trouble.is_some();
        let (_, change) = state.take(&event, now);
        state.by_look = event != Event::Resumed;
        if had && event == Event::Resumed {
            info!("space `{space}` can be spoken to again");
        }
        self.told_of(space, change, now);
        if change == Change::Trouble { self.detour(space).await } else { Ok(()) }
    }

    /// A space is in trouble, or out of it: told once a change, not once a try.
    pub(super) fn told_of(&mut self, space: &Arc<str>, change: Change, now: Now) {
        if matches!(change, Change::No | Change::Still) {
            return;
        }
        let state = self.spaces.get(space).cloned().unwrap_or_default();
        self.owed.state.insert(format!("{ROW}{space}"), state.row());
        let about = format!("space/{space}");
        match state.trouble {
            Some(trouble) if state.paused => {
                let text = format!(
                    "the space `{space}` is paused and its messages wait: {}",
                    trouble.trim_start_matches("paused: ")
                );
                self.tell(notice(about, Severity::Error, text, state.hint), now);
            }
            Some(trouble) => {
                let why = trouble.trim_start_matches("retrying: ");
                let text =
                    format!("the space `{space}` takes no messages, they are kept and tried again: {why}");
                self.tell(notice(about, Severity::Warning, text, None), now);
            }
            None => {
                let text = format!("the space `{space}` takes messages again");
                self.tell(notice(about, Severity::Info, text, None), now);
            }
        }
        self.show_troubles();
    }

    /// The state cannot be written to the disk, or can be again.
    pub(super) fn tell_of_the_disk(&mut self, now: Now) {
        let (severity, text, hint) = if self.durable {
            (Severity::Info, "the state is written to the disk again", None)
        } else {
            let text = "the state cannot be written to the disk: alerts go on from memory, and what waits there is lost \
                        with the agent";
            let hint = "see that the disk of the state directory has room, and that the agent may write there: \
                        `logherald doctor`";
            (Severity::Error, text, Some(hint.to_owned()))
        };
        self.tell(notice("disk".into(), severity, text.into(), hint), now);
        self.show_troubles();
    }

    /// The space is in a trouble that was told and met since this start: what stands in for it is told as well.
    pub(super) fn is_stood_in_for(&self, space: &Arc<str>) -> bool {
        self.spaces.get(space).is_some_and(|state| state.told && state.met)
    }

    /// Other spaces stand in by now, perhaps: they are told what waits for those in trouble.
    pub(super) async fn detour_all(&mut self) -> Result<(), StoreError> {
        let spaces: Vec<Arc<str>> = self.spaces.keys().cloned().collect();
        for space in spaces {
            if self.is_stood_in_for(&space) {
                self.detour(&space).await?;
            }
        }
        Ok(())
    }

    /// What is wrong now, for the line that systemd shows.
    pub(super) fn show_troubles(&self) {
        let told = self.spaces.iter().filter(|(_, s)| s.told);
        let mut wrong: Vec<String> =
            told.filter_map(|(name, s)| Some(format!("space `{name}` {}", s.trouble.as_ref()?))).collect();
        if !self.durable {
            wrong.insert(0, "the state cannot be written to the disk".to_owned());
        }
        if wrong.len() > TROUBLES {
            let more = wrong.len() - TROUBLES;
            wrong.truncate(TROUBLES);
            wrong.push(format!("and {more} more"));
        }
        let line = wrong.join("; ");
        self.troubles.send_if_modified(|shown| {
            let differs = *shown != line;
            *shown = line;
            differs
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::delivery::tests::{Office, office};
    use crate::time::Tick;

    const PAUSED: &str = "the space `ops` is paused and its messages wait: 404";
    const OVER: &str = "the space `ops` takes messages again";

    fn trouble(why: &str) -> Found {
        Found::Trouble { why: why.into(), hint: "put the app into it".into() }
    }

    fn paused(why: &str) -> Event {
        Event::Paused { tries: 1, due: Tick(0), why: why.into(), hint: "put the app into it".into() }
    }

    async fn sees(office: &mut Office, found: Found) {
        let now = office.desk.clock.now();
        office.desk.looked(&"ops".into(), found, now).await.unwrap();
        office.desk.commit(BTreeSet::new()).await.unwrap();
    }

    #[tokio::test]
    async fn a_trouble_that_a_look_has_found_is_told_once_and_its_end_before_there_is_anything_to_say() {
        let mut office = office(&[]);
        let troubles = office.desk.troubles.subscribe();
        sees(&mut office, Found::Well).await;
        assert!(office.waiting("boss").await.is_empty(), "that a space is well is no news");
        for _ in 0..3 {
            sees(&mut office, trouble("404")).await;
        }
        assert_eq!(*troubles.borrow(), "space `ops` paused: 404");
        sees(&mut office, Found::Well).await;
        sees(&mut office, Found::Well).await;
        assert_eq!(*troubles.borrow(), "");
        assert_eq!(office.waiting("boss").await, [PAUSED, OVER]);
    }

    #[tokio::test]
    async fn while_a_message_waits_its_worker_says_how_the_space_is() {
        let mut office = office(&[]);
        office.say("trouble", Severity::Error).await;
        let row = office.in_hand();
        office.hears(&row, paused("404")).await;
        sees(&mut office, trouble("404 in other words")).await;
        sees(&mut office, Found::Well).await;
        assert_eq!(office.waiting("boss").await, [PAUSED]);
        office.hears(&row, Event::Delivered).await;
        assert_eq!(office.waiting("boss").await, [PAUSED, OVER]);
    }

    /// A desk that begins with what another has left.
    fn after(before: &Office, fallbacks: &[(&str, &str)]) -> Office {
        let mut office = office(fallbacks);
        let left = before
            .desk
            .spaces
            .iter()
            .map(|(space, state)| StateRow { name: format!("{ROW}{space}"), value: state.row() });
        office.desk.take_up_troubles(&left.collect::<Vec<_>>());
        office
    }

    #[tokio::test]
    async fn what_was_told_is_not_told_again_after_a_restart_and_its_end_is() {
        let mut before = office(&[]);
        before.say("trouble", Severity::Error).await;
        let row = before.in_hand();
        before.hears(&row, paused("404")).await;

        let mut office = after(&before, &[]);
        assert_eq!(*office.desk.troubles.borrow(), "space `ops` paused: 404");
        assert_eq!(office.desk.spaces["ops"].since, before.desk.spaces["ops"].since);
        office.say("trouble", Severity::Error).await;
        let row = office.in_hand();
        office.hears(&row, paused("404")).await;
        assert!(office.waiting("boss").await.is_empty());
        office.hears(&row, paused("403")).await;
        office.hears(&row, Event::Delivered).await;
        assert_eq!(
            office.waiting("boss").await,
            ["the space `ops` is paused and its messages wait: 403", OVER]
        );
        assert!(after(&office, &[]).desk.spaces.values().all(|state| !state.told));
    }

    #[tokio::test]
    async fn the_words_of_the_first_message_for_what_a_look_has_met_are_no_other_trouble() {
        let mut office = office(&[]);
        sees(&mut office, trouble("404")).await;
        office.say("trouble", Severity::Error).await;
        let row = office.in_hand();
        office.hears(&row, Event::Retrying { tries: 1, due: Tick(0), why: "503".into() }).await;
        office.hears(&row, paused("404 in other words")).await;
        assert_eq!(office.waiting("boss").await, [PAUSED]);
        office.hears(&row, paused("403")).await;
        assert_eq!(office.waiting("boss").await.len(), 2, "this is another");
    }

    #[tokio::test]
    async fn a_stand_in_is_told_what_waits_when_the_trouble_from_before_a_restart_is_met_again() {
        let mut before = office(&[]);
        before.say("lost", Severity::Error).await;
        let row = before.in_hand();
        before.hears(&row, paused("404")).await;

        let mut office = after(&before, &[("ops", "boss")]);
        office.say("first", Severity::Error).await;
        assert!(office.waiting("boss").await.is_empty(), "it may be over by now");
        let row = office.in_hand();
        office.hears(&row, paused("404")).await;
        office.say("second", Severity::Error).await;
        let copied = office.waiting("boss").await;
        assert_eq!(copied.len(), 2, "{copied:?}");
        assert!(copied[0].starts_with("first") && copied[1].starts_with("second"), "{copied:?}");
        // nor is one that comes to stand in while it goes on left without what waits
        let mut later = after(&before, &[]);
        later.say("first", Severity::Error).await;
        let row = later.in_hand();
        later.hears(&row, paused("404")).await;
        assert!(later.waiting("boss").await.is_empty());
        later.desk.workers.fallbacks.insert("ops".into(), "boss".into());
        later.desk.detour_all().await.unwrap();
        later.desk.commit(BTreeSet::new()).await.unwrap();
        assert_eq!(later.waiting("boss").await.len(), 1);
    }

    #[tokio::test]
    async fn nothing_is_kept_of_a_space_that_is_in_the_rules_no_more() {
        let mut office = office(&[]);
        sees(&mut office, trouble("404")).await;
        office.desk.workers.named.remove("ops");
        office.desk.workers.at_work.remove("ops");
        office.desk.forget_unnamed_spaces();
        assert!(office.desk.spaces.is_empty() && office.desk.troubles.borrow().is_empty());
        assert_eq!(office.desk.owed.state.get("trouble/ops"), Some(&None));
        // nor is what nobody can read
        let row = StateRow { name: "trouble/boss".into(), value: Some("{".into()) };
        office.desk.take_up_troubles(&[row]);
        assert!(office.desk.spaces.is_empty());
        assert_eq!(office.desk.owed.state.get("trouble/boss"), Some(&None));
    }
}
