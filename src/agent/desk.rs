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

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::alert::Severity;
use crate::chat::Surface;
use crate::deliver::{Found, Report};
use crate::judge::{Decision, Input, Judge, Notice, Outlook, SilenceFault, SilenceOrder};
use crate::line::{Position, PositionKey};
use crate::message::{Message, OutboxRow, RowId};
use crate::state::StateRow;
use crate::store::{self, Commit, StoreError, Tried};
use crate::tail::Trouble;
use crate::template::in_line;
use crate::time::{Clock, Now, Tick};

use super::letters::{LetterFault, LetterView, Which};
use super::lookers::{Lookers, Sight};
use super::mint;
use super::reader::{Batch, FromReader};
use super::status::{Reading, SilenceView, StatusParts};
use super::trouble::SpaceState;

/// Positions and counts without an outbox row wait this long for their commit: what a crash makes us read again.
const COMMIT_EVERY: Duration = Duration::from_secs(1);

/// So many positions do not wait for the second to be over: those of very many files, met all at once, would lie in
/// memory two and three times.
const POSITIONS_A_COMMIT: usize = 4096;

/// While the state cannot be written it is looked so often whether it can again, also where there is nothing to commit: the
/// end of that is told when it comes.
const LOOK_AT_DISK: Duration = Duration::from_secs(10);

/// Wakes for the watchdog's sake.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// After so long without hits the store sleeps, and is woken as soon as there are some: it wakes while the judge works.
/// In a storm it would be woken for nothing.
const QUIET: Duration = Duration::from_millis(50);

/// When no line will come any more, messages are waited for so long: over a batch's longest wait, and a few tries.
/// What a space has not taken by then lies in the store for the next start.
const TOLD_WITHIN: Duration = Duration::from_secs(60);

/// What others may ask of the desk.
#[derive(Debug)]
pub(super) enum Ask {
    /// The desk's part of the status.
    Status(oneshot::Sender<StatusParts>),
    /// Say this to the admin space.
    Notice(Notice),
    /// The last decisions of the rule of this name.
    Why(String, oneshot::Sender<Result<Vec<Decision>, SilenceFault>>),
    /// What would become of a hit of the rule of this name with this key.
    Outlook(String, Vec<Box<str>>, oneshot::Sender<Result<Outlook, SilenceFault>>),
    /// Somebody wants to look on at the hits of this rule, or of all.
    Tap(Option<String>, oneshot::Sender<Result<Sight, SilenceFault>>),
    /// The silences in force.
    Silences(oneshot::Sender<Vec<SilenceView>>),
    /// Silence this.
    Silence(Box<SilenceOrder>, oneshot::Sender<Result<SilenceView, SilenceFault>>),
    /// End the silence of this name; answered with it, or nothing where there is none.
    Unsilence(String, oneshot::Sender<Option<SilenceView>>),
    /// Every message that waits, and every dead letter.
    Letters(oneshot::Sender<Vec<LetterView>>),
    /// One of them with all its words, by the beginning of its id.
    Letter(String, oneshot::Sender<Result<LetterView, LetterFault>>),
    /// Try these again.
    Retry(Which, oneshot::Sender<Result<Vec<LetterView>, LetterFault>>),
    /// Give these up.
    Drop(Which, oneshot::Sender<Result<Vec<LetterView>, LetterFault>>),
    /// A space was looked at while there was nothing to say.
    Looked { space: Arc<str>, found: Found },
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
    /// Which space stands in for which, while that one cannot be reached.
    pub fallbacks: BTreeMap<Arc<str>, Arc<str>>,
}

/// The desk's end of a space's worker.
#[derive(Debug)]
pub(super) struct Worker {
    /// What is put here it works on.
    pub hand: watch::Sender<Option<OutboxRow>>,
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
    /// Everything that was written before this tick has been read and is in the channel; see [`super::reader::Reader`].
    pub read_up_to: Arc<AtomicU64>,
    /// Cancelled when no line will come any more and all that was to be said about them has arrived.
    pub over: CancellationToken,
}

/// The judge's task.
#[derive(Debug)]
pub(super) struct Desk {
    pub judge: Judge,
    pub store: store::Handle,
    pub clock: Clock,
    pub workers: Workers,
    /// The row each busy worker has in hand.
    pub(super) in_hand: BTreeMap<Arc<str>, OutboxRow>,
    /// The row that it had in hand before, and may still be sending.
    pub(super) set_back: BTreeMap<Arc<str>, RowId>,
    /// What is not committed yet.
    pub(super) owed: Owed,
    /// What is committed reaches the disk.
    pub(super) durable: bool,
    /// When it committed last.
    committed: Tick,
    /// What is wrong, in a line; empty: nothing.
    pub(super) troubles: watch::Sender<String>,
    pub(super) spaces: BTreeMap<Arc<str>, SpaceState>,
    /// Who looks on.
    pub(super) lookers: Lookers,
    reading: Reading,
    /// When hits came last.
    last_hits: Tick,
    /// Since when no line will come any more.
    ended: Option<Tick>,
}

#[derive(Debug, Default)]
pub(super) struct Owed {
    positions: BTreeMap<PositionKey, Position>,
    forget: Vec<PositionKey>,
    pub(super) state: BTreeMap<String, Option<String>>,
    pub(super) add: Vec<OutboxRow>,
    pub(super) tried: Vec<Tried>,
    pub(super) remove: Vec<RowId>,
    pub(super) bury: Vec<(RowId, String)>,
    pub(super) revive: Vec<RowId>,
    /// Somebody waits until it is on the disk.
    synced: bool,
    /// Since when something waits.
    since: Option<Tick>,
}

impl Owed {
    fn put_state(&mut self, rows: Vec<StateRow>) {
        self.state.extend(rows.into_iter().map(|r| (r.name, r.value)));
    }
}

/// What goes before what: edits are last, critical messages first.
fn rank(row: &OutboxRow) -> u8 {
    match (row.draft.edits.is_some(), row.severity) {
        (true, _) => 0,
        (false, Severity::Critical) => 2,
        (false, _) => 1,
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
            set_back: BTreeMap::new(),
            troubles: watch::Sender::default(),
            owed: Owed::default(),
            durable: true,
            committed: Tick(0),
            spaces: BTreeMap::new(),
            lookers: Lookers::default(),
            reading: Reading::default(),
            last_hits: Tick(0),
            ended: None,
        }
    }

    /// Runs until stopped and drained. `first` is what the judge had to say right after a restart.
    pub(super) async fn run(mut self, mut inlets: Inlets, first: Vec<Message>) -> Result<(), StoreError> {
        self.settle_missing(&first).await?;
        self.say(first);
        self.give_up_orphans().await?;
        let all = self.workers.at_work.keys().cloned().collect();
        self.commit(all).await?;
        let mut reading = true;
        while reading {
            let now = self.clock.now();
            inlets.pulse.store(now.tick.0, Ordering::Relaxed);
            let wait = self.wait(now);
            tokio::select! {
                biased;
                Some(report) = inlets.reports.recv() => self.outcome(report).await?,
                Some(ask) = inlets.asks.recv() => self.answer(ask, &mut inlets.reports).await?,
                news = inlets.reader.recv() => match news {
                    Some(FromReader::Batch(mut batch)) => {
                        let kept = batch.kept.take();
                        self.lines(*batch);
                        if let Some(kept) = kept {
                            // lost in a power cut, the next start would begin at the end of every log once more
                            self.owed.synced = true;
                            self.commit(BTreeSet::new()).await?;
                            // whoever waited has gone on without: nothing to do
                            _ = kept.send(());
                        }
                    }
                    Some(FromReader::Ended) => self.ended = Some(self.clock.now().tick),
                    Some(FromReader::Policy(policy)) => {
                        let now = self.clock.now();
                        self.ended = None;
                        let said = self.judge.apply(Input::Policy(policy), now);
                        self.say(said);
                        self.give_up_orphans().await?;
                    }
                    // the reader has ended: no more lines
                    None => reading = false,
                },
                () = tokio::time::sleep(wait) => {}
            }
            // in this order: what the reader had sent by then has been taken where the channel is empty now
            let up_to = Tick(inlets.read_up_to.load(Ordering::Acquire));
            self.timers(if inlets.reader.is_empty() { up_to } else { Tick(0) }).await?;
            self.tell_lookers();
            if !inlets.over.is_cancelled() && self.is_over() {
                self.tell_what_is_left();
                inlets.over.cancel();
            }
        }
        // Workers were told to stop when the reader was; what they still report is taken, then they are gone.
        while let Some(report) = inlets.reports.recv().await {
            self.outcome(report).await?;
        }
        self.commit(BTreeSet::new()).await?;
        self.store.close().await;
        Ok(())
    }

    /// How long nothing is due.
    fn wait(&self, now: Now) -> Duration {
        let told = self.ended.map(|t| t + TOLD_WITHIN).filter(|t| *t > now.tick);
        let due = [self.judge.due(), self.owed.since.map(|t| t + COMMIT_EVERY), told];
        due.into_iter().flatten().map(|t| t.since(now.tick)).min().unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT)
    }

    /// No line will come any more, and no message waits for its batch or its space, or has for too long.
    fn is_over(&self) -> bool {
        let now = self.clock.now();
        self.ended.is_some_and(|since| {
            let spaces = self.judge.report(now).spaces;
            spaces.values().all(|s| s.waiting == 0 && s.in_flight == 0)
                || now.tick.since(since) >= TOLD_WITHIN
        })
    }

    /// What a run that ends by itself has counted and not told: the rest of an incident, or of a fold.
    fn tell_what_is_left(&self) {
        let report = self.judge.report(self.clock.now());
        let hits: u64 = report.rules.values().map(|r| r.pending).sum();
        let messages: u64 = report.spaces.values().map(|s| s.waiting + s.in_flight).sum();
        if messages > 0 {
            warn!("{messages} messages have not been taken; the next run goes on with them");
        }
        info!("all that there was to read has been read; hits that are in no message yet: {hits}");
    }

    /// `up_to`: every line that was written before has been judged.
    async fn timers(&mut self, up_to: Tick) -> Result<(), StoreError> {
        let now = self.clock.now();
        if self.judge.due().is_some_and(|t| t <= now.tick) {
            let said = self.judge.apply(Input::Watched { up_to }, now);
            self.say(said);
        }
        let waited = self.owed.since.is_some_and(|t| now.tick.since(t) >= COMMIT_EVERY)
            || !self.durable && now.tick.since(self.committed) >= LOOK_AT_DISK;
        if waited || !self.owed.add.is_empty() || self.owed.positions.len() >= POSITIONS_A_COMMIT {
            self.commit(BTreeSet::new()).await?;
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
            if now.tick.since(self.last_hits) >= QUIET {
                self.store.soon();
            }
            self.last_hits = now.tick;
            said = self.judge.apply(Input::Hits(batch.hits), now);
        }
        for gap in batch.gaps {
            let size = gap.bytes.map_or_else(|| "an unknown number of".to_owned(), |b| b.to_string());
            let text = format!("{size} bytes of `{}` were not read: {}", in_line(&gap.file), gap.why);
            warn!("{text}");
            let notice = Notice {
                about: format!("gap/{}", gap.file),
                severity: Severity::Error,
                text,
                hint: None,
                space: None,
            };
            said.extend(self.judge.apply(Input::Notice(notice), now));
        }
        for source in batch.ended {
            info!("standard input has ended (source `{source}`)");
        }
        for trouble in batch.troubles {
            said.extend(self.trouble(trouble, now));
        }
        self.say(said);
    }

    fn trouble(&mut self, trouble: Trouble, now: Now) -> Vec<Message> {
        let Trouble { source, path, what, hint, over, minor } = trouble;
        // a name may hold a line end: what is said of it is one line all the same
        let path = path.to_string_lossy();
        let path = in_line(&path);
        if over {
            info!("`{path}`: no longer: {what}");
            return Vec::new();
        }
        if minor {
            info!("`{path}`: {what}");
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
    pub(super) fn say(&mut self, messages: Vec<Message>) {
        let now = self.clock.now();
        self.touch(now);
        for message in messages {
            let message = Arc::new(message);
            let mut row = self.row(message.clone(), Surface::Card, now);
            if message.edits.is_some() {
                self.make_room_for_edit(&mut row, now);
            }
            self.owed.add.push(row);
            self.tell_elsewhere(&message.space.clone(), vec![message]);
        }
    }

    pub(super) fn row(&self, draft: Arc<Message>, surface: Surface, now: Now) -> OutboxRow {
        let console = self.workers.at_work.get(&draft.space).is_some_and(|w| w.console);
        mint::row(draft, console, surface, now)
    }

    pub(super) fn touch(&mut self, now: Now) {
        self.owed.since.get_or_insert(now.tick);
    }

    /// One transaction of all that is owed; then each of the `idle` spaces, and each that has a new row, is given its
    /// next row. One question to the store answers both.
    pub(super) async fn commit(&mut self, mut idle: BTreeSet<Arc<str>>) -> Result<(), StoreError> {
        let now = self.clock.now();
        self.owed.put_state(self.judge.changes());
        let owed = std::mem::take(&mut self.owed);
        idle.extend(owed.add.iter().map(|r| r.space.clone()));
        idle.retain(|space| !self.in_hand.contains_key(space));
        // a critical one goes before whatever waits in a worker's hand, and whatever it is before an edit
        let milder = |row: &&OutboxRow| self.in_hand.get(&row.space).is_some_and(|r| rank(r) < rank(row));
        idle.extend(owed.add.iter().filter(milder).map(|row| row.space.clone()));
        idle.retain(|space| self.workers.at_work.contains_key(space));
        let commit = Commit {
            now,
            positions: owed.positions.into_values().collect(),
            forget: owed.forget,
            state: owed.state.into_iter().map(|(name, value)| StateRow { name, value }).collect(),
            add: owed.add,
            tried: owed.tried,
            remove: owed.remove,
            bury: owed.bury,
            revive: owed.revive,
            synced: owed.synced,
            idle: idle.into_iter().collect(),
        };
        let done = self.store.commit(commit).await?;
        self.committed = now.tick;
        match (self.durable, done.durable) {
            (true, false) => {
                error!("the state cannot be written to the disk; alerts go on from memory, not durable");
            }
            (false, true) => info!("the state is written to the disk again"),
            _ => {}
        }
        if self.durable != done.durable {
            self.durable = done.durable;
            self.tell_of_the_disk(now);
        }
        self.tell_lost(done.lost, now);
        for row in done.next {
            self.hand_over(row);
        }
        self.shorten(done.deep).await
    }

    async fn answer(&mut self, ask: Ask, reports: &mut mpsc::Receiver<Report>) -> Result<(), StoreError> {
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
            // the same: whoever asked may have gone
            Ask::Why(rule, answer) => drop(answer.send(self.judge.why(&rule))),
            Ask::Outlook(rule, key, answer) => drop(answer.send(self.judge.outlook(&rule, &key, now))),
            Ask::Tap(rule, answer) => drop(answer.send(self.let_look(rule.as_deref()))),
            Ask::Silences(answer) => drop(answer.send(self.silences(now))),
            Ask::Silence(order, answer) => drop(answer.send(self.silence(order, now).await?)),
            Ask::Unsilence(id, answer) => drop(answer.send(self.unsilence(id, now).await?)),
            Ask::Letters(answer) => drop(answer.send(self.letters().await?)),
            Ask::Letter(id, answer) => drop(answer.send(self.letter(&id).await?)),
            Ask::Retry(which, answer) => drop(answer.send(self.retry(which, now).await?)),
            Ask::Drop(which, answer) => drop(answer.send(self.drop_letters(which, now).await?)),
            Ask::Looked { space, found } => self.looked(&space, found, now).await?,
            Ask::Workers(workers) => {
                // the old ones have ended, and may have reported since reports were last looked at: what they have
                // delivered must not be handed out again
                while let Ok(report) = reports.try_recv() {
                    self.outcome(report).await?;
                }
                self.in_hand.clear();
                self.set_back.clear();
                self.workers = workers;
                self.forget_unnamed_spaces();
                self.detour_all().await?;
                self.commit(self.workers.at_work.keys().cloned().collect()).await?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::delivery::tests::policy;
    use crate::agent::letters::Which;
    use crate::deliver::{Event, Hand};

    fn crew() -> (Workers, Hand) {
        let (hand, in_hand) = watch::channel(None);
        let at_work = BTreeMap::from([("ops".into(), Worker { hand, console: false })]);
        (Workers { at_work, named: BTreeSet::from(["ops".into()]), ..Workers::default() }, in_hand)
    }

    fn delivered(row: &OutboxRow) -> Report {
        let (space, message) = (row.space.clone(), row.message);
        Report { space, row: row.id.clone(), message, next_write: Tick(0), event: Event::Delivered }
    }

    /// What is put into the worker's hand.
    async fn given(hand: &mut Hand) -> OutboxRow {
        hand.changed().await.unwrap();
        hand.borrow_and_update().clone().unwrap()
    }

    /// A desk whose old worker has the first of two rows in hand.
    async fn desk(dir: &std::path::Path) -> (Desk, OutboxRow) {
        let (store, opened) = store::Store::open(dir).unwrap();
        let (handle, inbox) = store::channel();
        #[expect(clippy::disallowed_methods, reason = "a test is its own pipeline")]
        std::thread::spawn(move || store::run(store, inbox));
        let clock = Clock::continuing(opened.last);
        let (judge, _) = Judge::new(policy(&["ops"]), opened.state, opened.install, clock.now());
        let (workers, mut hand) = crew();
        let mut desk = Desk::new(judge, handle, clock, workers);
        for text in ["first", "second"] {
            let notice = Notice {
                about: text.into(),
                severity: Severity::Error,
                text: text.into(),
                hint: None,
                space: None,
            };
            let said = desk.judge.apply(Input::Notice(notice), desk.clock.now());
            desk.say(said);
            desk.commit(BTreeSet::new()).await.unwrap();
        }
        let row = given(&mut hand).await;
        (desk, row)
    }

    #[tokio::test]
    async fn a_report_that_is_on_its_way_when_new_workers_come_is_taken_before_they_are_given_a_row() {
        let dir = tempfile::tempdir().unwrap();
        let (mut desk, first) = desk(dir.path()).await;
        let (tell, mut reports) = mpsc::channel(4);
        tell.send(delivered(&first)).await.unwrap();
        let (workers, mut hand) = crew();
        desk.answer(Ask::Workers(workers), &mut reports).await.unwrap();
        let second = given(&mut hand).await;
        assert_ne!(second.id, first.id, "what is delivered is not handed out again");
        assert_eq!(desk.store.outbox().await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_row_that_was_put_into_its_hand_twice_is_out_of_it_when_it_has_arrived() {
        let dir = tempfile::tempdir().unwrap();
        let (mut desk, first) = desk(dir.path()).await;
        let (workers, mut hand) = crew();
        desk.answer(Ask::Workers(workers), &mut mpsc::channel(1).1).await.unwrap();
        desk.outcome(delivered(&first)).await.unwrap();
        let second = given(&mut hand).await;
        // while that is on its way a critical one comes, and is given up again
        let text = "critical".to_owned();
        let notice =
            Notice { about: text.clone(), severity: Severity::Critical, text, hint: None, space: None };
        desk.tell(notice, desk.clock.now());
        desk.commit(BTreeSet::new()).await.unwrap();
        let critical = given(&mut hand).await;
        assert_eq!(critical.severity, Severity::Critical);
        let which = Which { ids: vec![critical.id.0.to_string()], ..Which::default() };
        desk.drop_letters(which, desk.clock.now()).await.unwrap().unwrap();
        assert_eq!(given(&mut hand).await.id, second.id);
        desk.outcome(delivered(&second)).await.unwrap();
        assert_eq!(*hand.borrow(), None, "it is not sent again");
    }

    #[tokio::test]
    async fn a_report_about_another_row_leaves_the_one_in_hand_where_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let (mut desk, first) = desk(dir.path()).await;
        let (workers, mut hand) = crew();
        desk.answer(Ask::Workers(workers), &mut mpsc::channel(1).1).await.unwrap();
        assert_eq!(given(&mut hand).await.id, first.id);
        desk.outcome(delivered(&first)).await.unwrap();
        let second = given(&mut hand).await;
        // the same said twice: nothing is taken out of the worker's hand, nothing given twice
        desk.outcome(delivered(&first)).await.unwrap();
        assert!(!hand.has_changed().unwrap());
        assert_eq!(desk.in_hand.get("ops").map(|r| r.id.clone()), Some(second.id));
    }
}
