//! Standard input: `zcat old.log | logherald run rules.toml`.
//!
//! A pipe has no memory and no place to come back to: there is no position. What was read and not yet judged when the
//! agent crashes is gone, and so is what lay in the pipe when it stopped; a log that matters belongs into a file. What
//! the agent does not take stays with the writer: a quantum a step, and none while the judge is busy, so a full pipe
//! makes the writer wait and not this memory grow.
//!
//! The surprising part: the descriptor must not be made non-blocking, for that is a property of the open file, which
//! the shell and the writer's other end may share and would trip over. So it is asked first, and then read without
//! waiting where the system can do that for one call. NULs are bytes like any others here, and a pause in the middle
//! of a line is no end of it: only a newline or the end of the input is. A record of several lines ends as those of
//! files do, after a second without one.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::FileType;
use rustix::io::{Errno, ReadWriteFlags};

use super::assemble::Recipe;
use super::flow::{Flow, Origin};
use super::reading::QUANTUM;
use super::streams::{Heard, Take};
use super::troubles::plain;
use super::{SourceSpec, Trouble};
use crate::time::{Now, Tick};

/// How people call it.
const NAME: &str = "stdin";

/// Where a stream stands for `preadv2`: wherever it is.
const HERE: u64 = u64::MAX;

/// The agent's standard input.
#[derive(Debug)]
pub(super) struct Stdin {
    source: Arc<str>,
    door: Door,
    flow: Flow,
}

#[derive(Debug)]
enum Door {
    Open {
        fd: OwnedFd,
        /// The system reads from this one without waiting, when asked to.
        at_once: bool,
    },
    /// It could not be opened; not told yet.
    Broken(io::Error),
    Closed,
}

/// What came in.
#[derive(Debug, PartialEq, Eq)]
enum Fill {
    Bytes,
    Nothing,
    End,
}

impl Stdin {
    /// Reads from `door`, or else from the process's own standard input.
    pub(super) fn new(spec: &SourceSpec, door: Option<&Arc<OwnedFd>>) -> Stdin {
        let fd = match door {
            Some(fd) => fd.try_clone(),
            None => io::stdin().as_fd().try_clone_to_owned(),
        };
        // a file is never waited for; asking not to wait for its disk would only read it in pieces
        let at_once = |fd: &OwnedFd| {
            rustix::fs::fstat(fd).is_ok_and(|s| FileType::from_raw_mode(s.st_mode) != FileType::RegularFile)
        };
        Stdin {
            source: Arc::clone(&spec.name),
            door: match fd {
                Ok(fd) => Door::Open { at_once: at_once(&fd), fd },
                Err(e) => Door::Broken(e),
            },
            flow: Flow::new(spec, Arc::from(NAME), false),
        }
    }

    /// When a record that waits has waited long enough.
    pub(super) fn due(&self) -> Option<Tick> {
        self.flow.due()
    }

    /// Gives out the records that have waited long enough.
    pub(super) fn late(&mut self, recipe: &Recipe, file_no: u64, now: Now, take: Take<'_>) -> Heard {
        let mut heard = Heard::default();
        self.give(recipe, false, file_no, now, take, &mut heard);
        heard
    }

    /// The source has another number, or other limits, in a new set.
    pub(super) fn adjust(&mut self, spec: &SourceSpec) {
        self.flow.adjust(spec);
    }

    /// What is to be waited for.
    pub(super) fn pipe(&self) -> Option<BorrowedFd<'_>> {
        match &self.door {
            Door::Open { fd, .. } => Some(fd.as_fd()),
            Door::Broken(_) | Door::Closed => None,
        }
    }

    /// There is something to tell without anything to read.
    pub(super) fn is_owed(&self) -> bool {
        matches!(self.door, Door::Broken(_))
    }

    /// Nothing will ever come.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.door, Door::Closed)
    }

    /// Takes what is there. To be asked only when the descriptor is ready.
    pub(super) fn look(&mut self, recipe: &Recipe, file_no: u64, now: Now, take: Take<'_>) -> Heard {
        let mut heard = Heard::default();
        let fill = self.fill().unwrap_or_else(|e| {
            let what = format!("cannot be read: {}", plain(&e));
            heard.troubles.push(Trouble::new(Some(Arc::clone(&self.source)), Path::new(NAME), what, None));
            Fill::End
        });
        heard.more = fill == Fill::Bytes;
        heard.ended = fill == Fill::End;
        if heard.ended {
            self.door = Door::Closed;
        }
        if fill != Fill::Nothing {
            self.give(recipe, heard.ended, file_no, now, take, &mut heard);
        }
        heard
    }

    /// Bytes in: at most one quantum, behind what is left of the last.
    fn fill(&mut self) -> io::Result<Fill> {
        let Door::Open { fd, at_once } = &mut self.door else {
            return match std::mem::replace(&mut self.door, Door::Closed) {
                Door::Broken(e) => Err(e),
                _ => Ok(Fill::End),
            };
        };
        let buf = &mut self.flow.buf;
        let before = buf.len();
        buf.resize(before + QUANTUM, 0);
        let mut read = Err(Errno::OPNOTSUPP);
        if *at_once {
            let room = &mut [io::IoSliceMut::new(&mut buf[before..])];
            read = rustix::io::preadv2(&*fd, room, HERE, ReadWriteFlags::NOWAIT);
        }
        if let Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::SPIPE) = read {
            // a terminal, a file, an old kernel: poll said that this does not wait
            *at_once = false;
            read = rustix::io::read(&*fd, &mut buf[before..]);
        }
        buf.truncate(before + read.unwrap_or(0));
        match read {
            Ok(0) => Ok(Fill::End),
            Ok(_) => Ok(Fill::Bytes),
            Err(Errno::AGAIN | Errno::INTR) => Ok(Fill::Nothing),
            Err(e) => Err(e.into()),
        }
    }

    /// Lines out.
    fn give(
        &mut self,
        recipe: &Recipe,
        at_end: bool,
        file_no: u64,
        now: Now,
        take: Take<'_>,
        heard: &mut Heard,
    ) {
        let given = self.flow.give(recipe, at_end, Origin { file_no, backlog: false, now }, take);
        heard.lines += given.lines;
        heard.bytes += given.bytes;
    }
}
