//! The judge on a clock that is given to it: what `backtest`, `test` and `explain` drive, without a thread.
//!
//! Whoever drives it says what happens and when. Between two things that happen, the judge's timers run at the very
//! instants at which it asked for them, so what is said here, and when, is what a running agent says for the same lines
//! at the same times. Chat is played too: it takes every message at once, unless it is told to do something else.
//!
//! The surprise: a restart is a real one. The judge is dropped, and made again from the rows that it saved.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::hit::Hits;
use crate::judge::{Input, Judge, Policy, Report, SilenceFault, SilenceOrder};
use crate::message::{Fate, Message, MessageNo, RowId};
use crate::state::StateRow;
use crate::time::{Now, Tick, Wall};

/// What the agent's clock shows when a replay begins: not 0, so that what lies before it can be told from it.
const BEGIN: Tick = Tick(86_400_000);

/// The judge is asked what is to be saved after so many inputs: it remembers what has changed until then.
const SAVE_EVERY: u32 = 10_000;

/// How Chat answers a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Not until it is told to answer otherwise.
    Nothing,
    /// At once, with this.
    AtOnce(Fate),
}

/// A judge, its clock, and a Chat that does as it is told.
pub struct Replay {
    judge: Judge,
    policy: Policy,
    now: Now,
    /// What it has saved; `None`: there will be no restart.
    rows: Option<BTreeMap<String, StateRow>>,
    /// Inputs since it was last asked what is to be saved.
    unsaved: u32,
    /// Whoever drives it has given every line that was written until now.
    watched: bool,
    answers: BTreeMap<Arc<str>, Answer>,
    /// Messages that no space has answered.
    waiting: Vec<(Arc<str>, MessageNo)>,
}

/// Who takes the messages, in the order in which they are said.
type Say<'s> = &'s mut dyn FnMut(&Message);

impl Replay {
    /// Keys the hashes of keys and threads, as the random number of an installation does; of messages that leave at the
    /// same instant, their order hangs on it. The same for all replays: twice the same input says twice the same.
    pub const INSTALL: [u8; 16] = *b"logherald replay";

    /// A judge that has seen nothing yet, at this time.
    pub fn new(policy: Policy, at: Wall) -> Replay {
        let now = Now { wall: at, tick: BEGIN };
        let (judge, _) = Judge::new(policy.clone(), Vec::new(), Replay::INSTALL, now);
        let (rows, answers, waiting) = (Some(BTreeMap::new()), BTreeMap::new(), Vec::new());
        Replay { judge, policy, now, rows, unsaved: 0, watched: true, answers, waiting }
    }

    /// There will be no restart, so nothing is saved: what years of logs need.
    #[must_use]
    pub fn without_restarts(self) -> Replay {
        Replay { rows: None, ..self }
    }

    /// What is written from now on is not known: no line is missed for not being there.
    pub fn logs_end(&mut self) {
        self.watched = false;
    }

    /// What the clock shows.
    pub fn now(&self) -> Now {
        self.now
    }

    /// Lets time pass up to `at`, with all that is due until then. A time that is over already changes nothing.
    pub fn until(&mut self, at: Wall, say: Say<'_>) {
        self.pass(self.now.tick + at.since(self.now.wall), say);
    }

    /// The same for so long.
    pub fn wait(&mut self, time: Duration, say: Say<'_>) {
        self.pass(self.now.tick + time, say);
    }

    fn pass(&mut self, end: Tick, say: Say<'_>) {
        while let Some(due) = self.judge.due().filter(|due| *due <= end) {
            self.step_to(due);
            let up_to = self.now.tick;
            self.apply(if self.watched { Input::Watched { up_to } } else { Input::Timer }, say);
            if self.judge.due().is_some_and(|next| next <= self.now.tick) {
                // it asks again for an instant that has come: a millisecond on, as the agent's own loop would be
                if self.now.tick >= end {
                    break;
                }
                self.step_to(self.now.tick + Duration::from_millis(1));
            }
        }
        self.step_to(end);
    }

    fn step_to(&mut self, tick: Tick) {
        self.now = self.now.plus(tick.since(self.now.tick));
    }

    /// The next instant at which something is due by itself.
    pub fn due(&self) -> Option<Wall> {
        let due = self.judge.due()?;
        Some(self.now.wall + due.since(self.now.tick))
    }

    /// Lines of one file that were read now.
    pub fn hits(&mut self, mut hits: Hits, say: Say<'_>) {
        hits.read_at(self.now);
        self.apply(Input::Hits(hits), say);
    }

    /// Something happens.
    pub fn apply(&mut self, input: Input, say: Say<'_>) {
        if let Input::Policy(policy) = &input {
            self.policy = (**policy).clone();
        }
        let messages = self.judge.apply(input, self.now);
        self.unsaved += 1;
        if self.unsaved >= SAVE_EVERY {
            self.keep();
        }
        self.take(&messages, say);
    }

    /// From now on the space, or every one, answers so; what it has not answered is answered now.
    pub fn answers(&mut self, space: Option<&Arc<str>>, answer: Answer, say: Say<'_>) {
        let spaces = self.policy.spaces.iter().map(|s| &s.name);
        let spaces: Vec<Arc<str>> = spaces.filter(|s| space.is_none_or(|only| only == *s)).cloned().collect();
        for space in spaces {
            self.answers.insert(space, answer);
        }
        self.answer(say);
    }

    /// The agent stops, and is started again after a while, with these rules. Messages that have not been answered wait
    /// in its store.
    pub fn restart(&mut self, away: Duration, policy: Policy, say: Say<'_>) {
        self.keep();
        let from = self.now.tick;
        self.now = self.now.plus(away);
        self.policy = policy;
        let rows = self.rows.iter().flat_map(BTreeMap::values).cloned().collect();
        let (judge, first) = Judge::new(self.policy.clone(), rows, Replay::INSTALL, self.now);
        self.judge = judge;
        self.take(&first, say);
        self.apply(Input::Away { from }, say);
    }

    /// The bytes that the judge holds by its own count, and those that it may.
    pub fn bytes(&self) -> (u64, u64) {
        self.judge.bytes()
    }

    /// Why an order cannot be followed, if it cannot.
    pub fn may_silence(&self, order: &SilenceOrder) -> Result<(), SilenceFault> {
        self.judge.may_silence(order)
    }

    /// The books, and what waits.
    pub fn report(&self) -> Report {
        self.judge.report(self.now)
    }

    fn keep(&mut self) {
        self.unsaved = 0;
        let changes = self.judge.changes();
        let Some(rows) = &mut self.rows else { return };
        for row in changes {
            match row.value {
                Some(_) => _ = rows.insert(row.name.clone(), row),
                None => _ = rows.remove(&row.name),
            }
        }
    }

    fn take(&mut self, messages: &[Message], say: Say<'_>) {
        self.waiting.extend(messages.iter().map(|m| (Arc::clone(&m.space), m.no)));
        messages.iter().for_each(&mut *say);
        self.answer(say);
    }

    /// Answers all that can be answered; an answer may have the judge say more.
    fn answer(&mut self, say: Say<'_>) {
        let answer = |space: &Arc<str>| match self.answers.get(space) {
            None => Some(Fate::Delivered),
            Some(Answer::AtOnce(fate)) => Some(*fate),
            Some(Answer::Nothing) => None,
        };
        let known: Vec<(MessageNo, Option<Fate>)> =
            self.waiting.iter().map(|(space, no)| (*no, answer(space))).collect();
        let mut known_fate = known.iter();
        self.waiting.retain(|_| known_fate.next().is_some_and(|(_, fate)| fate.is_none()));
        for (message, fate) in known {
            if let Some(fate) = fate {
                if fate == Fate::Delivered && self.policy.spaces.iter().any(|s| s.edit) {
                    // what it stands under is nobody's business but its edits'
                    let row = Some(RowId(format!("{:032x}", message.0).into()));
                    self.apply(Input::Stands { message, row }, say);
                }
                self.apply(Input::Fate { message, fate }, say);
            }
        }
    }
}

/// Without a byte of any log.
impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay").field("judge", &self.judge).field("now", &self.now).finish_non_exhaustive()
    }
}
