//! The reader thread: files to hits. It owns the tailer and the compiled rules, and nothing else does.
//!
//! A step of the tailer gives a block, the block is searched, and what it held goes to the judge together with the
//! position behind it: a position never travels without the hits before it, so a commit cannot put one ahead of the
//! other. A full channel makes this thread wait; the log files hold the rest. New rules come through here too, so
//! that hits of the old set and of the new reach the judge in the order in which they were made.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::TryRecvError;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::hit::Hits;
use crate::judge::Policy;
use crate::line::{BlockEnd, Gap, Position, PositionKey};
use crate::rules::RuleSet;
use crate::tail::{FileStatus, SourceSpec, Summary, Tailer, Trouble};
use crate::time::{Clock, Tick};

/// Positions of lines that held no hit may wait this long before they are handed on.
const HAND_ON_AFTER: Duration = Duration::from_millis(250);

/// The longest sleep, so that the watchdog sees progress on a machine where nothing is written.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Positions handed on at once at most: with more changed files than this, a batch goes early.
const POSITIONS_A_BATCH: usize = 1_024;

/// What the reader tells the judge's task.
#[derive(Debug)]
pub(super) enum FromReader {
    /// Lines were read.
    Batch(Box<Batch>),
    /// From here on, hits are of this set.
    Policy(Box<Policy>),
    /// There was nothing to read but standard input, and that has ended: no line will come from this set any more.
    Ended,
}

/// What some lines held, and how far reading them came.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// In the order of their lines.
    pub hits: Hits,
    /// Newest position of each file that was read.
    pub positions: BTreeMap<PositionKey, Position>,
    /// Positions of files that are gone for good.
    pub forgotten: Vec<PositionKey>,
    /// Bytes that could not be read.
    pub gaps: Vec<Gap>,
    /// Files that became unreadable, or readable again.
    pub troubles: Vec<Trouble>,
    /// Sources that have ended, by name.
    pub ended: Vec<Arc<str>>,
    /// Lines read.
    pub lines: u64,
    /// Bytes read.
    pub bytes: u64,
    /// With this one it is known where everything of a set is begun: that is to be committed at once, and whoever
    /// waits for it told.
    pub kept: Option<oneshot::Sender<()>>,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.kept.is_none()
            && self.hits.is_empty()
            && self.positions.is_empty()
            && self.forgotten.is_empty()
            && self.gaps.is_empty()
            && self.troubles.is_empty()
            && self.ended.is_empty()
    }

    /// Something in it should not wait.
    fn is_urgent(&self) -> bool {
        !self.hits.is_empty()
            || !self.gaps.is_empty()
            || !self.troubles.is_empty()
            || !self.ended.is_empty()
            || self.kept.is_some()
            || self.positions.len() >= POSITIONS_A_BATCH
    }
}

/// What the reader is asked to do between two steps.
#[derive(Debug)]
pub(super) enum Order {
    /// Read these sources, search for these rules, tell the judge of its new policy.
    Load(Box<Load>),
    /// Say what is watched, and how far it has been read.
    View(oneshot::Sender<View>),
    /// Hand on what is left and end.
    Stop,
}

/// What the reader sees.
#[derive(Debug)]
pub(super) struct View {
    pub files: Vec<FileStatus>,
    pub summary: Summary,
    pub troubles: Vec<Trouble>,
}

/// A new set.
#[derive(Debug)]
pub(super) struct Load {
    pub sources: Vec<SourceSpec>,
    pub rules: RuleSet,
    pub policy: Policy,
    /// Told when the positions at which its files are begun are committed.
    pub kept: oneshot::Sender<()>,
    /// Told what is watched once it is.
    pub loaded: oneshot::Sender<Summary>,
}

/// The reader's half of the wiring.
#[derive(Debug)]
pub(super) struct Reader {
    pub tailer: Tailer,
    pub rules: RuleSet,
    pub clock: Clock,
    pub orders: std::sync::mpsc::Receiver<Order>,
    pub out: mpsc::Sender<FromReader>,
    /// The tick of its last turn, for the watchdog.
    pub pulse: Arc<AtomicU64>,
    /// The tick before which everything that was written has been read and handed on: what an expectation is judged by.
    pub read_up_to: Arc<AtomicU64>,
    /// Goes out with the batch that tells where everything of a set is begun. A file that is begun at its end is begun
    /// *somewhere*: until that is on the disk, an agent that is killed would begin it at a later end, and miss what was
    /// written between.
    pub kept: Option<oneshot::Sender<()>>,
}

impl Reader {
    /// Reads until told to stop, or until the agent or the judge's task is gone.
    pub(super) fn run(mut self) {
        let mut batch = Batch::default();
        let mut handed_on = Tick(0);
        let mut ended = false;
        loop {
            let now = self.clock.now();
            self.pulse.store(now.tick.0, Ordering::Relaxed);
            loop {
                match self.orders.try_recv() {
                    Err(TryRecvError::Empty) => break,
                    Ok(Order::Stop) | Err(TryRecvError::Disconnected) => {
                        self.hand_on(&mut batch);
                        return;
                    }
                    Ok(Order::View(answer)) => {
                        let (files, summary) = (self.tailer.status(), self.tailer.summary());
                        // nobody waits for it any more: nothing to do
                        _ = answer.send(View { files, summary, troubles: self.tailer.troubles() });
                    }
                    Ok(Order::Load(load)) => {
                        if !self.hand_on(&mut batch) {
                            return;
                        }
                        let Load { sources, rules, policy, loaded, kept } = *load;
                        self.tailer.reload(sources, now);
                        ended = false;
                        self.rules = rules;
                        self.kept = Some(kept);
                        // the same
                        _ = loaded.send(self.tailer.summary());
                        if self.out.blocking_send(FromReader::Policy(Box::new(policy))).is_err() {
                            return;
                        }
                    }
                }
            }

            let (rules, hits) = (&mut self.rules, &mut batch.hits);
            let step = self.tailer.step(now, &mut |block| {
                let before = hits.in_full().len();
                rules.scan_folded(block, hits);
                match block.end {
                    BlockEnd::Idle => hits.in_full()[before..].iter().map(|h| rules.early_name(h)).collect(),
                    BlockEnd::Whole | BlockEnd::Cut => Vec::new(),
                }
            });
            batch.positions.extend(step.positions.into_iter().map(|p| (p.key.clone(), p)));
            batch.forgotten.extend(step.forgotten);
            batch.gaps.extend(step.gaps);
            batch.troubles.extend(step.troubles);
            batch.ended.extend(step.ended);
            batch.lines += step.lines;
            batch.bytes += step.bytes;
            if self.kept.is_some() && self.tailer.begun() {
                batch.kept = self.kept.take();
            }

            if batch.is_urgent() || (!batch.is_empty() && now.tick.since(handed_on) >= HAND_ON_AFTER) {
                handed_on = now.tick;
                if !self.hand_on(&mut batch) {
                    return;
                }
            }
            if !ended && self.tailer.ended() {
                ended = true;
                if !self.hand_on(&mut batch) || self.out.blocking_send(FromReader::Ended).is_err() {
                    return;
                }
            }
            if !step.more && self.tailer.begun() && batch.hits.is_empty() {
                self.read_up_to.store(now.tick.0, Ordering::Release);
            }
            if !step.more {
                let longest = if batch.is_empty() { LONGEST_WAIT } else { HAND_ON_AFTER };
                self.tailer.wait_for(step.wait.min(longest));
            }
        }
    }

    /// Gives the batch to the judge's task, waiting while it is busy; `false` when that task is gone.
    fn hand_on(&self, batch: &mut Batch) -> bool {
        batch.is_empty() || self.out.blocking_send(FromReader::Batch(Box::new(std::mem::take(batch)))).is_ok()
    }
}
