//! What operators ask and order of the outbox over the control socket: list, show, retry, drop.
//!
//! A retry sends the same body under the same id, so that what had arrived after all does not arrive twice. A drop is
//! the one way in which hits are lost by somebody's will, and the books say so. An id may be cut short as long as it
//! means one message. Orders are answered when they are on the disk.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use tracing::info;

use crate::chat;
use crate::judge::Input;
use crate::message::{Fate, RowId};
use crate::store::{OutboxSummary, StoreError};
use crate::time::{Now, Tick};

use super::desk::Desk;

/// Who has to type less than this may mean anything.
const SHORTEST: usize = 4;

/// A message that waits, or a dead letter, as `outbox --json` prints it.
#[derive(Clone, Debug, Serialize)]
pub struct LetterView {
    /// 32 hex digits; `requestId` in Chat, and with `client-` before it `messageId`.
    pub id: String,
    /// Its space.
    pub space: String,
    /// `waiting` or `dead`.
    pub state: &'static str,
    /// The worst severity in it.
    pub severity: &'static str,
    /// When it was committed.
    pub born: String,
    /// Failed tries.
    pub tries: u32,
    /// Not before then; nothing for a dead letter.
    pub due: Option<String>,
    /// What the last try said; for a dead letter, why it is one.
    pub error: Option<String>,
    /// It is the plain form of a card that was refused.
    pub plain: bool,
    /// It changes a message that the space has, in place.
    pub edit: bool,
    /// Size of its body.
    pub bytes: u64,
    /// What it says, as a terminal shows it; only of one that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The request's body as it is sent; only of one that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

/// Which messages an order is about.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Which {
    /// These, by the beginnings of their ids.
    #[serde(default)]
    pub ids: Vec<String>,
    /// Every dead letter…
    #[serde(default)]
    pub all: bool,
    /// …of this space alone.
    #[serde(default)]
    pub space: Option<String>,
}

/// Why an order cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LetterFault {
    pub what: String,
    pub hint: String,
}

/// A message in one of its two states.
struct Found {
    row: OutboxSummary,
    dead: bool,
}

impl Desk {
    /// Every message that waits, in order, then every dead letter.
    pub(super) async fn letters(&self) -> Result<Vec<LetterView>, StoreError> {
        let now = self.clock.now();
        Ok(self.found().await?.iter().map(|f| view(f, now)).collect())
    }

    /// One of them, with all its words.
    pub(super) async fn letter(&self, id: &str) -> Result<Result<LetterView, LetterFault>, StoreError> {
        let all = self.found().await?;
        let found = match named(&all, id) {
            Ok(found) => found,
            Err(fault) => return Ok(Err(fault)),
        };
        let Some(letter) = self.store.letter(found.row.id.clone()).await? else {
            return Ok(Err(unknown(id)));
        };
        let view = view(found, self.clock.now());
        let (text, body) = (chat::draw(&letter.row.draft, false), letter.row.body.to_string());
        Ok(Ok(LetterView { text: Some(text), body: Some(body), ..view }))
    }

    /// Dead letters wait again.
    pub(super) async fn retry(
        &mut self,
        which: Which,
        now: Now,
    ) -> Result<Result<Vec<LetterView>, LetterFault>, StoreError> {
        let chosen = match choose(self.found().await?, &which) {
            Ok(chosen) => chosen,
            Err(fault) => return Ok(Err(fault)),
        };
        for found in &chosen {
            let id = &found.row.id.0;
            if !found.dead {
                let what = format!("`{id}` is no dead letter: it waits, and is tried again by itself");
                let hint =
                    "where its space is paused and has been mended, `logherald reload` tries it at once";
                return Ok(Err(LetterFault { what, hint: hint.into() }));
            }
            if !self.workers.at_work.contains_key(&found.row.space) {
                let space = &found.row.space;
                let what = format!(
                    "`{id}` is for the space `{space}`, which is not among those that can be reached"
                );
                let hint =
                    "put the space back into the rules, or give the message up with `logherald outbox drop`";
                return Ok(Err(LetterFault { what, hint: hint.into() }));
            }
        }
        let spaces = chosen.iter().map(|f| f.row.space.clone()).collect();
        self.owed.revive.extend(chosen.iter().map(|f| f.row.id.clone()));
        self.touch(now);
        self.commit(spaces).await?;
        info!("dead letters that wait again: {}", chosen.len());
        let again = |f: &Found| {
            let row = OutboxSummary { born: now.wall, due: now.tick, tries: 0, ..f.row.clone() };
            view(&Found { row, dead: false }, now)
        };
        Ok(Ok(chosen.iter().map(again).collect()))
    }

    /// Messages are given up: their hits are lost, and counted so.
    pub(super) async fn drop_letters(
        &mut self,
        which: Which,
        now: Now,
    ) -> Result<Result<Vec<LetterView>, LetterFault>, StoreError> {
        let chosen = match choose(self.found().await?, &which) {
            Ok(chosen) => chosen,
            Err(fault) => return Ok(Err(fault)),
        };
        self.touch(now);
        let mut idle = BTreeSet::new();
        for Found { row, .. } in &chosen {
            self.take_back(&row.space, &row.id);
            idle.insert(row.space.clone());
            self.owed.remove.push(row.id.clone());
            let said = self.judge.apply(Input::Fate { message: row.message, fate: Fate::Dropped }, now);
            self.say(said);
        }
        self.commit(idle).await?;
        info!("messages that an operator gave up: {}", chosen.len());
        Ok(Ok(chosen.iter().map(|f| view(f, now)).collect()))
    }

    async fn found(&self) -> Result<Vec<Found>, StoreError> {
        let gone: BTreeSet<&RowId> = self.owed.remove.iter().collect();
        let waiting = self.store.outbox().await?.into_iter().map(|row| Found { row, dead: false });
        let mut all: Vec<Found> = waiting.filter(|f| !gone.contains(&f.row.id)).collect();
        all.extend(self.store.dead_letters().await?.into_iter().map(|row| Found { row, dead: true }));
        Ok(all)
    }
}

/// What an order is about: at least one message, each once.
fn choose(mut all: Vec<Found>, which: &Which) -> Result<Vec<Found>, LetterFault> {
    let by_name: Vec<RowId> =
        which.ids.iter().map(|id| Ok(named(&all, id)?.row.id.clone())).collect::<Result<_, LetterFault>>()?;
    let of = |f: &Found| which.space.as_ref().is_none_or(|s| *f.row.space == **s);
    all.retain(|f| by_name.contains(&f.row.id) || (which.all && f.dead && of(f)));
    let chosen = all;
    if chosen.is_empty() {
        let of = which.space.as_ref().map(|s| format!(" of the space `{s}`")).unwrap_or_default();
        let what = format!("there is no dead letter{of}");
        return Err(LetterFault {
            what,
            hint: "`logherald outbox` lists what waits and what is dead".into(),
        });
    }
    Ok(chosen)
}

fn named<'a>(all: &'a [Found], id: &str) -> Result<&'a Found, LetterFault> {
    if id.len() < SHORTEST {
        let what = format!("`{id}` is too short for an id");
        return Err(LetterFault { what, hint: format!("give at least {SHORTEST} of its digits") });
    }
    let mut found = all.iter().filter(|f| f.row.id.0.starts_with(id));
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (Some(_), Some(_)) => Err(LetterFault {
            what: format!("more than one message has an id that begins with `{id}`"),
            hint: "give more of its digits".into(),
        }),
        _ => Err(unknown(id)),
    }
}

fn unknown(id: &str) -> LetterFault {
    LetterFault {
        what: format!("no message has an id that begins with `{id}`"),
        hint: "`logherald outbox` lists what waits and what is dead; what was delivered is in neither".into(),
    }
}

fn view(found: &Found, now: Now) -> LetterView {
    let Found { row, dead } = found;
    let due = |due: Tick| (now.wall + due.since(now.tick)).to_string();
    LetterView {
        id: row.id.0.to_string(),
        space: row.space.to_string(),
        state: if *dead { "dead" } else { "waiting" },
        severity: row.severity.as_str(),
        born: row.born.to_string(),
        tries: row.tries,
        due: (!dead).then(|| due(row.due)),
        error: row.last_error.clone(),
        plain: row.plain,
        edit: row.edit,
        bytes: row.bytes,
        text: None,
        body: None,
    }
}
