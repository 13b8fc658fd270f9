//! The judge's task: the one place where hits, timers, outcomes and commands meet, and the only writer of the store.
//!
//! Whatever comes in is put to the judge; what the judge wants said becomes outbox rows; rows, positions and the
//! judge's state go into one commit, and only then to a worker. So a message that left the machine is on the disk,
//! with the positions behind it. Work without rows waits up to a second for its commit: it can be read again.
//!
//! The surprising part: a full disk is not an error here. The store goes on in memory and says so; only what it
//! cannot mend at all ends this task, and with it the agent, which its supervisor starts again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tracing::{error, info, warn};

use crate::alert::Severity;
use crate::chat::{self, Surface};
use crate::deliver::{Event, Report};
use crate::judge::{Input, Judge, Notice};
use crate::line::{Position, PositionKey};
use crate::message::{Fate, Message, OutboxRow, RowId};
use crate::state::StateRow;
use crate::store::{self, Commit, StoreError, Tried};
use crate::tail::Trouble;
use crate::time::{Clock, Now, Tick};

use super::reader::{Batch, FromReader};
use super::status::{Reading, SpaceState, StatusParts};

/// Positions and counts without an outbox row wait this long for their commit: what a crash makes us read again.
const COMMIT_EVERY: Duration = Duration::from_secs(1);

/// Wakes for the watchdog's sake.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// What others may ask of the desk.
#[derive(Debug)]
pub(super) enum Ask {
    /// The desk's part of the status.
    Status(oneshot::Sender<StatusParts>),
    /// Say this to the admin space.
    Notice(Notice),
    /// Spaces came or went with a reload: these are the workers now.
    Workers(Workers),
}

/// The workers of a set of rules.
#[derive(Debug, Default)]
pub(super) struct Workers {
    /// Of each space that can be reached.
    pub at_work: BTreeMap<Arc<str>, Worker>,
    /// Every space that the rules name: what waits for one that cannot be reached goes on waiting.
    pub named: BTreeSet<Arc<str>>,
}

/// The desk's end of a space's worker.
#[derive(Debug)]
pub(super) struct Worker {
    /// Takes one row at a time.
    pub rows: mpsc::Sender<OutboxRow>,
    /// Its body is what the terminal prints.
    pub console: bool,
}

/// The channels into the desk.
#[derive(Debug)]
pub(super) struct Inlets {
    pub reader: mpsc::Receiver<FromReader>,
    pub reports: mpsc::Receiver<Report>,
    pub asks: mpsc::Receiver<Ask>,
    /// The tick of its last turn, for the watchdog.
    pub pulse: Arc<AtomicU64>,
}

/// The judge's task.
#[derive(Debug)]
pub(super) struct Desk {
    pub judge: Judge,
    pub store: store::Handle,
    pub clock: Clock,
    pub workers: Workers,
    /// The row each busy worker has in hand.
    in_hand: BTreeMap<Arc<str>, OutboxRow>,
    /// What is not committed yet.
    owed: Owed,
    /// What is committed reaches the disk.
    durable: bool,
    spaces: BTreeMap<Arc<str>, SpaceState>,
    reading: Reading,
}

#[derive(Debug, Default)]
struct Owed {
    positions: BTreeMap<PositionKey, Position>,
    forget: Vec<PositionKey>,
    state: BTreeMap<String, Option<String>>,
    add: Vec<OutboxRow>,
    tried: Vec<Tried>,
    remove: Vec<RowId>,
    bury: Vec<(RowId, String)>,
    /// Since when something waits.
    since: Option<Tick>,
}

impl Owed {
    fn put_state(&mut self, rows: Vec<StateRow>) {
        self.state.extend(rows.into_iter().map(|r| (r.name, r.value)));
    }
}

impl Desk {
    pub(super) fn new(judge: Judge, store: store::Handle, clock: Clock, workers: Workers) -> Desk {
        Desk {
            judge,
            store,
            clock,
            workers,
            in_hand: BTreeMap::new(),
            owed: Owed::default(),
            durable: true,
            spaces: BTreeMap::new(),
            reading: Reading::default(),
        }
    }

    /// Runs until stopped and drained. `first` is what the judge had to say right after a restart.
    pub(super) async fn run(mut self, mut inlets: Inlets, first: Vec<Message>) -> Result<(), StoreError> {
        self.say(first);
        self.give_up_orphans().await?;
        self.commit().await?;
        let names: Vec<Arc<str>> = self.workers.at_work.keys().cloned().collect();
        for space in &names {
            self.hand_out(space).await?;
        }
        let mut reading = true;
        while reading {
            let now = self.clock.now();
            inlets.pulse.store(now.tick.0, Ordering::Relaxed);
            let wait = self.wait(now);
            tokio::select! {
                biased;
                Some(report) = inlets.reports.recv() => self.outcome(report).await?,
                Some(ask) = inlets.asks.recv() => self.answer(ask).await?,
                news = inlets.reader.recv() => match news {
                    Some(FromReader::Batch(batch)) => self.lines(batch),
                    Some(FromReader::Policy(policy)) => {
                        let now = self.clock.now();
                        let said = self.judge.apply(Input::Policy(policy), now);
                        self.say(said);
                        self.give_up_orphans().await?;
                    }
                    // the reader has ended: no more lines
                    None => reading = false,
                },
                () = tokio::time::sleep(wait) => {}
            }
            self.timers().await?;
        }
        // Workers were told to stop when the reader was; what they still report is taken, then they are gone.
        while let Some(report) = inlets.reports.recv().await {
            self.outcome(report).await?;
        }
        self.commit().await?;
        self.store.close().await;
        Ok(())
    }

    /// How long nothing is due.
    fn wait(&self, now: Now) -> Duration {
        let due = [self.judge.due(), self.owed.since.map(|t| t + COMMIT_EVERY)];
        due.into_iter().flatten().map(|t| t.since(now.tick)).min().unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT)
    }

    async fn timers(&mut self) -> Result<(), StoreError> {
        let now = self.clock.now();
        if self.judge.due().is_some_and(|t| t <= now.tick) {
            let said = self.judge.apply(Input::Timer, now);
            self.say(said);
        }
        let waited = self.owed.since.is_some_and(|t| now.tick.since(t) >= COMMIT_EVERY);
        if waited || !self.owed.add.is_empty() {
            self.commit().await?;
        }
        Ok(())
    }

    fn lines(&mut self, batch: Batch) {
        let now = self.clock.now();
        self.touch(now);
        self.reading.take(&batch, now);
        self.owed.positions.extend(batch.positions);
        for key in batch.forgotten {
            self.owed.positions.remove(&key);
            self.owed.forget.push(key);
        }
        let mut said = Vec::new();
        if !batch.hits.is_empty() {
            said = self.judge.apply(Input::Hits(batch.hits), now);
        }
        for gap in batch.gaps {
            let size = gap.bytes.map_or_else(|| "an unknown number of".to_owned(), |b| b.to_string());
            warn!("{size} bytes of `{}` were not read: {}", gap.file, gap.why);
            let notice = Notice {
                about: format!("gap/{}", gap.file),
                severity: Severity::Error,
                text: format!("{size} bytes of `{}` were not read: {}", gap.file, gap.why),
                hint: None,
                space: None,
            };
            said.extend(self.judge.apply(Input::Notice(notice), now));
        }
        for trouble in batch.troubles {
            said.extend(self.trouble(trouble, now));
        }
        self.say(said);
    }

    fn trouble(&mut self, trouble: Trouble, now: Now) -> Vec<Message> {
        let Trouble { source, path, what, hint, over } = trouble;
        let path = path.to_string_lossy();
        if over {
            info!("`{path}`: no longer: {what}");
            return Vec::new();
        }
        let of = source.map(|s| format!(" (source `{s}`)")).unwrap_or_default();
        let remedy = hint.as_ref().map(|h| format!("; hint: {h}")).unwrap_or_default();
        warn!("`{path}`{of}: {what}{remedy}");
        let notice = Notice {
            about: format!("read/{path}"),
            severity: Severity::Warning,
            text: format!("`{path}`: {what}"),
            hint,
            space: None,
        };
        self.judge.apply(Input::Notice(notice), now)
    }

    /// What the judge wants said becomes rows that wait for their commit.
    fn say(&mut self, messages: Vec<Message>) {
        let now = self.clock.now();
        self.touch(now);
        for message in messages {
            let row = self.row(Arc::new(message), Surface::Card, now);
            self.owed.add.push(row);
        }
    }

    fn row(&self, draft: Arc<Message>, surface: Surface, now: Now) -> OutboxRow {
        let console = self.workers.at_work.get(&draft.space).is_some_and(|w| w.console);
        let body = if console { chat::draw(&draft, false) } else { chat::render(&draft, surface) };
        OutboxRow {
            id: RowId::from_random(random_id()),
            space: draft.space.clone(),
            message: draft.no,
            severity: draft.severity,
            body: body.into(),
            draft,
            plain: surface == Surface::Plain,
            born: now.wall,
            tries: 0,
            due: now.tick,
            last_error: None,
        }
    }

    fn touch(&mut self, now: Now) {
        self.owed.since.get_or_insert(now.tick);
    }

    /// One transaction of all that is owed; then the new rows go to their workers.
    async fn commit(&mut self) -> Result<(), StoreError> {
        let now = self.clock.now();
        self.owed.put_state(self.judge.changes());
        let owed = std::mem::take(&mut self.owed);
        let spaces: BTreeSet<Arc<str>> = owed.add.iter().map(|r| r.space.clone()).collect();
        let commit = Commit {
            now,
            positions: owed.positions.into_values().collect(),
            forget: owed.forget,
            state: owed.state.into_iter().map(|(name, value)| StateRow { name, value }).collect(),
            add: owed.add,
            tried: owed.tried,
            remove: owed.remove,
            bury: owed.bury,
        };
        let done = self.store.commit(commit).await?;
        match (self.durable, done.durable) {
            (true, false) => {
                error!("the state cannot be written to the disk; alerts go on from memory, not durable");
            }
            (false, true) => info!("the state is written to the disk again"),
            _ => {}
        }
        self.durable = done.durable;
        for lost in done.lost {
            error!("space `{}`: a message is dropped: there is no room left for it", lost.space);
            let said = self.judge.apply(Input::Fate { message: lost.message, fate: Fate::Dropped }, now);
            self.say(said);
        }
        for space in spaces {
            self.hand_out(&space).await?;
        }
        Ok(())
    }

    /// Gives an idle worker its next row.
    async fn hand_out(&mut self, space: &Arc<str>) -> Result<(), StoreError> {
        if self.in_hand.contains_key(space) {
            return Ok(());
        }
        let Some(worker) = self.workers.at_work.get(space) else { return Ok(()) };
        let Some(row) = self.store.next(space.clone()).await? else { return Ok(()) };
        if worker.rows.send(row.clone()).await.is_ok() {
            self.in_hand.insert(space.clone(), row);
        }
        Ok(())
    }

    /// What waits for a space that is in the rules no more becomes a dead letter, and is told.
    async fn give_up_orphans(&mut self) -> Result<(), StoreError> {
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

    async fn outcome(&mut self, report: Report) -> Result<(), StoreError> {
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
            Event::Paused { tries, due, why, hint } => {
                error!("space `{space}` is paused, its messages are kept: {why}; hint: {hint}");
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
                if resend_plain && let Some(plain) = self.plain_form(&space, now) {
                    warn!("space `{space}` refused a message, a plain form is sent instead: {why}");
                    self.owed.add.push(plain);
                    self.owed.remove.push(row.clone());
                    return self.finish(&space).await;
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
            self.finish(&space).await?;
        }
        Ok(())
    }

    /// The worker's hand is empty: commit what it did, give it the next.
    async fn finish(&mut self, space: &Arc<str>) -> Result<(), StoreError> {
        self.in_hand.remove(space);
        self.commit().await?;
        self.hand_out(space).await
    }

    /// The plain form of the row that a worker has in hand, unless it is one.
    fn plain_form(&self, space: &Arc<str>, now: Now) -> Option<OutboxRow> {
        let refused = self.in_hand.get(space)?;
        (!refused.plain).then(|| self.row(refused.draft.clone(), Surface::Plain, now))
    }

    async fn answer(&mut self, ask: Ask) -> Result<(), StoreError> {
        let now = self.clock.now();
        match ask {
            Ask::Status(answer) => {
                let outbox = self.store.counts().await?;
                let parts = StatusParts {
                    judge: self.judge.report(now),
                    spaces: self.spaces.clone(),
                    outbox,
                    reading: self.reading.clone(),
                    durable: self.durable,
                    now,
                };
                // whoever asked has gone: nothing to do
                _ = answer.send(parts);
            }
            Ask::Notice(notice) => {
                let said = self.judge.apply(Input::Notice(notice), now);
                self.say(said);
            }
            Ask::Workers(workers) => {
                self.in_hand.clear();
                self.workers = workers;
                let names: Vec<Arc<str>> = self.workers.at_work.keys().cloned().collect();
                for space in &names {
                    self.hand_out(space).await?;
                }
            }
        }
        Ok(())
    }
}

fn notice(about: String, text: String, hint: Option<String>) -> Notice {
    Notice { about, severity: Severity::Error, text, hint, space: None }
}

/// 16 random bytes from the kernel.
fn random_id() -> [u8; 16] {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("getrandom(2) does not fail on Linux once the pool is ready");
    bytes
}

/// 64 random bits from the kernel, for jitter.
pub(super) fn random_u64() -> u64 {
    let id = random_id();
    u64::from_le_bytes([id[0], id[1], id[2], id[3], id[4], id[5], id[6], id[7]])
}
