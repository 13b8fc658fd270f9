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

use super::assemble::{Assembly, Part, Recipe};
use super::decode::Script;
use super::lines::{self, Split};
use super::looking::plain;
use super::reading::{IDLE, QUANTUM};
use super::streams::{Heard, Take};
use super::wrap::Stream;
use super::{Encoding, SourceSpec, Trouble};
use crate::line::{Block, BlockEnd, SourceNo};
use crate::time::{Now, Tick};

/// How people call it.
const NAME: &str = "stdin";

/// Records that wait for more hold so much at most, in bytes of the input; then they end.
const HELD: usize = 4 * QUANTUM;

/// Where a stream stands for `preadv2`: wherever it is.
const HERE: u64 = u64::MAX;

/// The agent's standard input.
#[derive(Debug)]
pub(super) struct Stdin {
    no: SourceNo,
    source: Arc<str>,
    file: Arc<str>,
    max_line: usize,
    door: Door,
    /// What was read and not given out: the beginning of a line, shorter than the longest, and records that wait.
    buf: Vec<u8>,
    encoding: Encoding,
    /// What it is written in, once its first bytes have said so.
    script: Option<Script>,
    assembly: Assembly,
    /// Records that wait for their next line: how far they go, counted from the input's start, and since when.
    waits: Vec<(Stream, u64, Tick)>,
    /// So much was given out.
    passed: u64,
    /// What follows is the rest of an over-long line.
    skipping: bool,
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
            no: spec.no,
            source: Arc::clone(&spec.name),
            file: Arc::from(NAME),
            max_line: spec.max_line,
            door: match fd {
                Ok(fd) => Door::Open { at_once: at_once(&fd), fd },
                Err(e) => Door::Broken(e),
            },
            buf: vec![],
            encoding: spec.encoding,
            script: None,
            assembly: Assembly::default(),
            waits: vec![],
            passed: 0,
            skipping: false,
        }
    }

    /// When a record that waits has waited long enough.
    pub(super) fn due(&self) -> Option<Tick> {
        self.waits.iter().map(|(.., since)| *since + IDLE).min()
    }

    /// Gives out the records that have waited long enough.
    pub(super) fn late(&mut self, recipe: &Recipe, file_no: u64, now: Now, take: Take<'_>) -> Heard {
        let mut heard = Heard::default();
        self.give(recipe, false, file_no, now, take, &mut heard);
        heard
    }

    /// The source has another number, or other limits, in a new set.
    pub(super) fn adjust(&mut self, spec: &SourceSpec) {
        self.no = spec.no;
        self.max_line = spec.max_line;
        self.encoding = spec.encoding;
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
        let before = self.buf.len();
        self.buf.resize(before + QUANTUM, 0);
        let mut read = Err(Errno::OPNOTSUPP);
        if *at_once {
            let room = &mut [io::IoSliceMut::new(&mut self.buf[before..])];
            read = rustix::io::preadv2(&*fd, room, HERE, ReadWriteFlags::NOWAIT);
        }
        if let Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::SPIPE) = read {
            // a terminal, a file, an old kernel: poll said that this does not wait
            *at_once = false;
            read = rustix::io::read(&*fd, &mut self.buf[before..]);
        }
        self.buf.truncate(before + read.unwrap_or(0));
        match read {
            Ok(0) => Ok(Fill::End),
            Ok(_) => Ok(Fill::Bytes),
            Err(Errno::AGAIN | Errno::INTR) => Ok(Fill::Nothing),
            Err(e) => Err(e.into()),
        }
    }

    /// Lines out. At the end of the input the last line is whole without its newline.
    fn give(
        &mut self,
        recipe: &Recipe,
        at_end: bool,
        file_no: u64,
        now: Now,
        take: Take<'_>,
        heard: &mut Heard,
    ) {
        let Some(script) = self.script.or_else(|| Script::of(&self.buf, self.encoding.0)) else {
            if !at_end {
                return; // its first byte may be half of a mark
            }
            return self.lines(at_end, file_no, now, take, heard);
        };
        if self.script.is_none() && !self.buf.is_empty() {
            self.script = Some(script);
            self.buf.drain(..usize::from(script.mark));
        }
        if recipe.is_plain() && script.is_utf8() {
            self.lines(at_end, file_no, now, take, heard);
        } else {
            self.records(recipe, script, at_end, file_no, now, take, heard);
        }
    }

    /// Records that are not simply its lines.
    #[expect(clippy::too_many_arguments, reason = "what is to be given, and where it goes")]
    fn records(
        &mut self,
        recipe: &Recipe,
        script: Script,
        at_end: bool,
        file_no: u64,
        now: Now,
        take: Take<'_>,
        heard: &mut Heard,
    ) {
        if at_end && !self.buf.is_empty() {
            self.buf.extend_from_slice(script.line_end());
        }
        self.assembly.clear();
        let part = Part { data: &self.buf, base: 0, script, skipping: self.skipping };
        let found = self.assembly.feed(part, recipe);
        let (passed, known) = (self.passed, &self.waits);
        let since = |stream: Stream, byte: usize| {
            let end = passed + byte as u64;
            let known = known.iter().find(|(s, e, _)| *s == stream && *e == end);
            (stream, end, known.map_or(now.tick, |(.., since)| *since))
        };
        let all = at_end || self.buf.len() > HELD;
        self.assembly.finish_if(|stream, at| all || since(stream, at.byte).2 + IDLE <= now.tick);
        let (n, next) = self.assembly.ready();
        let waits = self.assembly.waiting().map(|(stream, at)| since(stream, at.byte)).collect();
        let (source, file) = (self.no, &self.file);
        self.assembly.give(n, |bytes, records, fields, end, _| {
            heard.bytes += bytes.len() as u64;
            heard.lines += records.len() as u64;
            take(&Block {
                source,
                file,
                file_no,
                offset: 0,
                bytes,
                end,
                hit_early: &[],
                read: now,
                backlog: false,
                records,
                fields,
            });
        });
        self.skipping = found.skipping && next.is_none();
        // NULs where a line would begin are none, and there may be no end of them.
        let done = if found.nuls && next.is_none() { self.buf.len() } else { found.end };
        let done = next.map_or(done, |at| at.byte);
        self.buf.drain(..done);
        self.passed += done as u64;
        self.waits = waits;
    }

    /// Lines as they stand.
    fn lines(&mut self, at_end: bool, file_no: u64, now: Now, take: Take<'_>, heard: &mut Heard) {
        if at_end && !self.buf.is_empty() {
            self.buf.push(b'\n');
        }
        let (source, file) = (self.no, &self.file);
        let Split { consumed, skipping, lines, .. } =
            lines::split_stream(&self.buf, self.max_line, self.skipping, |_, bytes, end| {
                debug_assert!(end != BlockEnd::Idle, "a stream has no idle lines");
                heard.bytes += bytes.len() as u64;
                take(&Block {
                    source,
                    file,
                    file_no,
                    offset: 0,
                    bytes,
                    end,
                    hit_early: &[],
                    read: now,
                    backlog: false,
                    records: &[],
                    fields: &[],
                });
            });
        heard.lines += lines;
        self.skipping = skipping;
        self.buf.drain(..consumed);
        self.passed += consumed as u64;
    }
}
