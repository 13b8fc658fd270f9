//! The store's thread and the handle by which everyone else reaches it.
//!
//! Requests are answered in the order in which they arrive, so whoever has seen a commit's answer finds it in the
//! next answer. The queue is short: who asks waits for the answer anyway, so its length is the number of askers.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::{Commit, Committed, Letter, OutboxSummary, SpaceCounts, Store, StoreError};
use crate::message::{OutboxRow, RowId};
use crate::time::Wall;

/// Requests on their way. Everyone awaits an answer before asking again, so this is more than there are askers.
const REQUESTS: usize = 64;

/// So long without a request is idle. Longer than the second between commits of positions: the log is folded into
/// the file when the lines stop, not between two of them.
const IDLE: Duration = Duration::from_secs(5);

type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

enum Request {
    /// Nobody waits for an answer.
    Soon,
    Commit(Box<Commit>, Answer<Committed>),
    Letter(RowId, Answer<Option<Letter>>),
    Untried(Arc<str>, bool, u32, Answer<Vec<OutboxRow>>),
    Waiting(Arc<str>, Wall, u32, Answer<Vec<OutboxRow>>),
    Outbox(Answer<Vec<OutboxSummary>>),
    DeadLetters(Answer<Vec<OutboxSummary>>),
    Counts(Answer<Vec<SpaceCounts>>),
    Close(oneshot::Sender<()>),
}

/// Asks the store. Cheap to clone. Every method errs with [`StoreError::Closed`] when the thread has ended.
#[derive(Clone, Debug)]
pub struct Handle {
    requests: mpsc::Sender<Request>,
}

/// The thread's end of the queue.
#[derive(Debug)]
pub struct Inbox {
    requests: mpsc::Receiver<Request>,
}

/// The two ends. Spawn a thread with [`run`]; give the handle to everyone.
pub fn channel() -> (Handle, Inbox) {
    let (sender, receiver) = mpsc::channel(REQUESTS);
    (Handle { requests: sender }, Inbox { requests: receiver })
}

impl Handle {
    /// [`Store::commit`]. When this is cancelled after it was sent, the commit happens all the same.
    pub async fn commit(&self, commit: Commit) -> Result<Committed, StoreError> {
        self.ask(|answer| Request::Commit(Box::new(commit), answer)).await
    }

    /// [`Store::prepare`], where there is room for the word: an alert may be on its way here.
    pub fn soon(&self) {
        // a queue that is full holds whoever is awake already, and of one that is closed the next question tells
        _ = self.requests.try_send(Request::Soon);
    }

    /// [`Store::letter`].
    pub async fn letter(&self, id: RowId) -> Result<Option<Letter>, StoreError> {
        self.ask(|answer| Request::Letter(id, answer)).await
    }

    /// [`Store::untried`].
    pub async fn untried(
        &self,
        space: Arc<str>,
        critical: bool,
        most: u32,
    ) -> Result<Vec<OutboxRow>, StoreError> {
        self.ask(|answer| Request::Untried(space, critical, most, answer)).await
    }

    /// [`Store::waiting`].
    pub async fn waiting(
        &self,
        space: Arc<str>,
        until: Wall,
        most: u32,
    ) -> Result<Vec<OutboxRow>, StoreError> {
        self.ask(|answer| Request::Waiting(space, until, most, answer)).await
    }

    /// [`Store::outbox`].
    pub async fn outbox(&self) -> Result<Vec<OutboxSummary>, StoreError> {
        self.ask(Request::Outbox).await
    }

    /// [`Store::dead_letters`].
    pub async fn dead_letters(&self) -> Result<Vec<OutboxSummary>, StoreError> {
        self.ask(Request::DeadLetters).await
    }

    /// [`Store::counts`].
    pub async fn counts(&self) -> Result<Vec<SpaceCounts>, StoreError> {
        self.ask(Request::Counts).await
    }

    /// Ends the thread after all that was asked before, with everything on disk; returns when it is.
    pub async fn close(&self) {
        let (answer, done) = oneshot::channel();
        if self.requests.send(Request::Close(answer)).await.is_ok() {
            // an error means that the thread has ended, which is what was asked for
            _ = done.await;
        }
    }

    async fn ask<T>(&self, request: impl FnOnce(Answer<T>) -> Request) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.requests.send(request(answer)).await.map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| StoreError::Closed)?
    }
}

/// Answers until the last handle is gone or [`Handle::close`] is called. Blocks: it wants a thread of its own.
pub fn run(mut store: Store, mut inbox: Inbox) {
    let mut come_back = true;
    loop {
        match inbox.wait(come_back) {
            Waited::Request(Request::Close(done)) => {
                store.close();
                // whoever asked may have stopped waiting
                _ = done.send(());
                return;
            }
            Waited::Request(request) => {
                answer(&mut store, request);
                store.after_commit();
                come_back = true;
            }
            Waited::Idle => come_back = store.idle(),
            Waited::Ended => return store.close(),
        }
    }
}

fn answer(store: &mut Store, request: Request) {
    // an answer that nobody waits for any more is dropped
    match request {
        Request::Soon => store.prepare(),
        Request::Commit(commit, to) => drop(to.send(store.commit(&commit))),
        Request::Letter(id, to) => drop(to.send(store.letter(&id))),
        Request::Untried(space, critical, most, to) => {
            drop(to.send(store.untried(&space, critical, most)));
        }
        Request::Waiting(space, until, most, to) => drop(to.send(store.waiting(&space, until, most))),
        Request::Outbox(to) => drop(to.send(store.outbox())),
        Request::DeadLetters(to) => drop(to.send(store.dead_letters())),
        Request::Counts(to) => drop(to.send(store.counts())),
        Request::Close(to) => drop(to.send(())),
    }
}

enum Waited {
    Request(Request),
    Idle,
    Ended,
}

impl Inbox {
    /// The next request; without `come_back` it is waited for without end.
    fn wait(&mut self, come_back: bool) -> Waited {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut cx = Context::from_waker(&waker);
        let mut parked = false;
        loop {
            match self.requests.poll_recv(&mut cx) {
                Poll::Ready(Some(request)) => return Waited::Request(request),
                Poll::Ready(None) => return Waited::Ended,
                // woken for nothing counts as idle: being idle once too often costs a checkpoint
                Poll::Pending if come_back && parked => return Waited::Idle,
                Poll::Pending if come_back => thread::park_timeout(IDLE),
                Poll::Pending => thread::park(),
            }
            parked = true;
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn words_that_a_commit_may_come_are_dropped_where_the_queue_is_full_and_leave_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(dir.path()).unwrap();
        let (handle, inbox) = channel();
        for _ in 0..2 * REQUESTS {
            handle.soon();
        }
        assert_eq!(handle.requests.capacity(), 0);
        #[expect(clippy::disallowed_methods, reason = "a test is its own pipeline")]
        let thread = thread::spawn(move || run(store, inbox));
        // the transaction of none of them is open still
        let commit = Commit { synced: true, ..Commit::default() };
        assert!(handle.commit(commit).await.unwrap().durable);
        assert_eq!(handle.outbox().await.unwrap(), []);
        handle.close().await;
        thread.join().unwrap();
        handle.soon();
    }
}
