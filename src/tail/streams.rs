//! What has no name on a disk: the journal and standard input, side by side.
//!
//! Files are found by looking; a stream says itself when it has something. So the reader's wait is one `poll` over
//! the bell and all of their pipes, and each step asks once, without waiting, which of them are ready: a busy file
//! beside them keeps none of them waiting. They take turns of one quantum each, like files.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use super::Trouble;
use super::bell::{Rung, ready};
use super::journal::Journal;
use super::stdin::Stdin;
use super::tailer::{Source, Tailer};
use crate::line::{Block, Gap};
use crate::time::Now;

/// Who takes the blocks.
pub(super) type Take<'t> = &'t mut dyn FnMut(&Block<'_>) -> Vec<Arc<str>>;

/// What a look into a stream gave, apart from blocks.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) gaps: Vec<Gap>,
    pub(super) troubles: Vec<Trouble>,
    pub(super) lines: u64,
    pub(super) bytes: u64,
    /// There may be more now.
    pub(super) more: bool,
    /// It will never give anything again.
    pub(super) ended: bool,
}

impl Tailer {
    /// Waits until the bell rings, a stream has bytes or ends, or `timeout` is over: then it is time for a step.
    pub fn wait_for(&self, timeout: Duration) -> Rung {
        let pipes: Vec<BorrowedFd<'_>> = self.sources.iter().filter_map(pipe).collect();
        self.bell.wait_for(timeout, &pipes)
    }

    /// Every source has been begun, and the positions at which that was are among those given out.
    pub fn begun(&self) -> bool {
        self.changed.is_empty() && self.sources.iter().filter_map(|s| s.journal.as_ref()).all(Journal::begun)
    }

    /// There was nothing to read but standard input, and that has ended: no line will ever come.
    pub fn ended(&self) -> bool {
        !self.sources.is_empty()
            && self.sources.iter().all(|s| s.stdin.as_ref().is_some_and(Stdin::has_ended))
    }

    /// Looks into every stream that is ready or due; `true` if there is more.
    pub(super) fn read_streams(&mut self, now: Now, take: Take<'_>) -> bool {
        let mut more = false;
        let pipes: Vec<(usize, BorrowedFd<'_>)> =
            self.sources.iter().enumerate().filter_map(|(n, s)| Some((n, pipe(s)?))).collect();
        let fds: Vec<BorrowedFd<'_>> = pipes.iter().map(|(_, fd)| *fd).collect();
        let is_ready = if fds.is_empty() { Vec::new() } else { ready(&fds) };
        let full: Vec<usize> = pipes.iter().zip(is_ready).filter(|(_, r)| *r).map(|((n, _), _)| *n).collect();
        for (n, source) in self.sources.iter_mut().enumerate() {
            // Files count from 1; each source has its own number below them.
            let file_no = u64::MAX - u64::from(source.spec.no.0);
            let full = full.binary_search(&n).is_ok();
            let heard = match (&mut source.journal, &mut source.stdin) {
                (Some(journal), _) if full || journal.due() <= now.tick => journal.look(file_no, now, take),
                (_, Some(stdin)) if full || stdin.is_owed() => stdin.look(&source.recipe, file_no, now, take),
                (_, Some(stdin)) if stdin.due().is_some_and(|at| at <= now.tick) => {
                    stdin.late(&source.recipe, file_no, now, take)
                }
                _ => continue,
            };
            more |= heard.more;
            self.out.lines += heard.lines;
            self.out.bytes += heard.bytes;
            self.out.gaps.extend(heard.gaps);
            self.out.troubles.extend(heard.troubles);
            self.out.positions.extend(source.journal.as_mut().and_then(Journal::moved));
            if heard.ended {
                self.out.ended.push(Arc::clone(&source.spec.name));
            }
        }
        more
    }
}

fn pipe(source: &Source) -> Option<BorrowedFd<'_>> {
    source.journal.as_ref().and_then(Journal::pipe).or_else(|| source.stdin.as_ref().and_then(Stdin::pipe))
}
