//! The task of one space: takes a row, works on it until its end, takes the next.
//!
//! One request is in flight at a time, and rows keep their order. What a worker has in hand is said by the agent, at any
//! time: while a row waits for its next try, another may be put in its place (a critical one, or the one that stands for
//! many), or none; a request in flight is always let come to its end. The worker owns nothing that must survive: the row
//! is in the outbox with its tries and its due time, which the reports tell the agent to write down. So
//! stopping is to leave, and the row in hand goes out after the next start, under its old id.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::pace::Pace;
use super::retry::{Course, Step};
use crate::chat::{Client, Outcome};
use crate::message::{MessageNo, OutboxRow, RowId};
use crate::time::{Now, Tick};

/// A message that could not be delivered for so long is not sent any more: who reads it now would take it
/// for news.
pub const AGE_LIMIT: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a request in flight may still take when the agent stops; all of a stop is to take less than five seconds.
const GRACE: Duration = Duration::from_secs(3);
/// The clock is looked at again so often while waiting: tokio's clock stands still while the machine sleeps. Also whether
/// what paused a space was mended.
const LOOK: Duration = Duration::from_secs(30);

/// What a worker is to have in hand: the last word counts. A row that the worker has ended is not in it any more; it
/// begins when another is put there.
pub type Hand = watch::Receiver<Option<OutboxRow>>;

/// What a worker sends by.
pub trait Transport {
    /// Sends `row` once and says what became of it.
    fn post(&self, row: &OutboxRow) -> impl Future<Output = Outcome> + Send;

    /// Asks, without writing, whether anything could be sent; `None` where nobody can tell, or a message went through.
    fn look(&self) -> impl Future<Output = Option<Outcome>> + Send {
        async { None }
    }

    /// While the space is paused: something was mended by now, so that a try before its time is worth it.
    fn is_mended(&self) -> impl Future<Output = bool> + Send {
        async { false }
    }
}

impl Transport for Client {
    async fn post(&self, row: &OutboxRow) -> Outcome {
        self.of_one_that_goes_on(Client::post(self, row).await)
    }

    async fn look(&self) -> Option<Outcome> {
        Some(self.of_one_that_goes_on(Client::look(self).await?))
    }

    fn is_mended(&self) -> impl Future<Output = bool> + Send {
        Client::is_mended(self)
    }
}

impl<T: Transport + Send + Sync> Transport for Arc<T> {
    fn post(&self, row: &OutboxRow) -> impl Future<Output = Outcome> + Send {
        T::post(self, row)
    }

    fn look(&self) -> impl Future<Output = Option<Outcome>> + Send {
        T::look(self)
    }

    fn is_mended(&self) -> impl Future<Output = bool> + Send {
        T::is_mended(self)
    }
}

/// Something happened to a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The space's name.
    pub space: Arc<str>,
    /// Which row.
    pub row: RowId,
    /// Which of the judge's messages it is.
    pub message: MessageNo,
    /// Not before this instant may the space be written to again; to be kept over a restart.
    pub next_write: Tick,
    /// What happened.
    pub event: Event,
}

/// What happened to a row. The last event of each is `Delivered`, `Refused`, `Gone` or `Expired`, unless the agent stops
/// before; the others are to be written into the row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The space has it.
    Delivered,
    /// The try came to nothing; the same goes out again.
    Retrying {
        /// Failed tries so far; a 429 is none.
        tries: u32,
        /// Not before then.
        due: Tick,
        /// What happened; holds no secret.
        why: String,
    },
    /// Nothing gets through to the space until somebody mends something. Told at each try.
    Paused {
        /// Failed tries so far.
        tries: u32,
        /// The next try.
        due: Tick,
        /// What happened; holds no secret.
        why: String,
        /// What to mend.
        hint: String,
    },
    /// The space answers again; the row's own next event follows.
    Resumed,
    /// The space will never take it.
    Refused {
        /// What happened; holds no secret.
        why: String,
        /// A plain form, as a new row with a new id, is worth a try.
        resend_plain: bool,
    },
    /// What it was to edit is not there: all of it is to be said in a new message.
    Gone {
        /// What happened; holds no secret.
        why: String,
    },
    /// It waited longer than 24 h.
    Expired {
        /// What the last try said.
        why: String,
    },
}

/// Works on what is put into its `hand` until nobody can do so any more, `stop` is called, or nobody takes the `reports`.
///
/// `rng` gives 64 random bits a call, for jitter. When `stop` is called a request in flight has 3 s to finish;
/// the row in hand is reported only if it did. Gives the instant before which the space is not to be written to again.
pub async fn worker<T: Transport>(
    transport: T,
    now: impl Fn() -> Now,
    mut hand: Hand,
    reports: mpsc::Sender<Report>,
    stop: CancellationToken,
    mut pace: Pace,
    mut rng: impl FnMut() -> u64,
) -> Tick {
    let mut course = Course::default();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return pace.next_write(),
            given = hand.changed() => if given.is_err() {
                return pace.next_write();
            }
        }
        let given = hand.borrow_and_update().clone();
        let Some(mut row) = given else { continue };
        let report = |pace: &Pace, event: Event| {
            let (space, message) = (row.space.clone(), row.message);
            let report = Report { space, row: row.id.clone(), message, next_write: pace.next_write(), event };
            let reports = &reports;
            async move { reports.send(report).await.is_ok() }
        };
        let taken = now();
        let mut expires = taken.tick + AGE_LIMIT.saturating_sub(taken.wall.since(row.born));
        if row.draft.edits.is_some() {
            // nobody is called by an edit, and nobody takes it for news
            expires = Tick(u64::MAX);
        }
        let (mut tries, mut due) = (row.tries, row.due);
        let mut why = row.last_error.take().unwrap_or_else(|| "it was never tried".into());
        loop {
            let begin = due.max(course.hold).max(pace.next_write());
            tokio::select! {
                biased;
                () = stop.cancelled() => return pace.next_write(),
                given = hand.changed() => {
                    if given.is_err() {
                        return pace.next_write();
                    }
                    hand.mark_changed();
                    break;
                }
                mended = until(begin.min(expires), &now, course.is_paused().then_some(&transport)) => {
                    if mended {
                        course.hold = Tick(0);
                        due = now().tick;
                        continue;
                    }
                }
            }
            let at = now().tick;
            if at >= expires {
                if !report(&pace, Event::Expired { why }).await {
                    return pace.next_write();
                }
                break;
            }
            if let Err(later) = pace.admit(at) {
                due = later;
                continue;
            }
            let outcome = tokio::select! {
                biased;
                outcome = transport.post(&row) => outcome,
                () = async { stop.cancelled().await; tokio::time::sleep(GRACE).await } => return pace.next_write(),
            };
            let at = now().tick;
            let too_fast = matches!(outcome, Outcome::Slow { .. });
            match outcome {
                // a run of them says no more than its first
                Outcome::Slow { .. } if !course.is_slowed() => pace.slow_down(),
                Outcome::Delivered { .. } => pace.speed_up(),
                _ => {}
            }
            pace.answered(at);
            let was_paused = course.is_paused();
            let step = course.step(outcome, &mut tries, at, rng());
            if was_paused && !course.is_paused() && !report(&pace, Event::Resumed).await {
                return pace.next_write();
            }
            let (event, last) = match step {
                Step::Delivered => (Event::Delivered, true),
                Step::Refused { why, resend_plain } => (Event::Refused { why, resend_plain }, true),
                Step::Gone { why } => (Event::Gone { why }, true),
                Step::Again { due: next, why: what } => {
                    due = next;
                    if too_fast {
                        // the space is told so, not this message: another is no reason to write to it sooner
                        pace.hold_until(due);
                    }
                    why.clone_from(&what);
                    (Event::Retrying { tries, due, why: what }, false)
                }
                Step::Paused { due: next, why: what, hint } => {
                    due = next;
                    why.clone_from(&what);
                    (Event::Paused { tries, due, why: what, hint }, false)
                }
            };
            if !report(&pace, event).await {
                return pace.next_write();
            }
            if last {
                break;
            }
        }
    }
}

/// Waits until the agent's clock shows `due`, or what keeps `paused` from its space was mended, which is then said.
pub(super) async fn until<T: Transport>(due: Tick, now: &impl Fn() -> Now, paused: Option<&T>) -> bool {
    loop {
        let left = due.since(now().tick);
        if left.is_zero() {
            return false;
        }
        tokio::time::sleep(left.min(LOOK)).await;
        if let Some(transport) = paused
            && transport.is_mended().await
        {
            return true;
        }
    }
}

#[cfg(test)]
mod tests;
