//! Reading: one quantum of one file, out as blocks.
//!
//! Handles are a cache. A quiet file has none and costs nothing but its name in the sweep; when it is touched
//! it is opened again, and only believed to be the same file when its identity says so.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};

use super::file::Fill;
use super::identity;
use super::lines;
use super::looking::{hint, plain};
use super::rotation::Copy;
use super::tailer::Tailer;
use crate::line::{Block, BlockEnd};
use crate::time::Now;

/// A file gives up so much in one turn, so that a hot one starves nobody.
pub(super) const QUANTUM: usize = 256 * 1024;

/// At most so many files are held open, well below the soft limit of 1024 that services start with.
pub(super) const OPEN: usize = 512;

/// So many handles are closed together when there are too many: looking for the quietest costs a pass.
const CLOSE: usize = 64;

/// A last line without newline is matched after so long without a byte.
const IDLE: Duration = Duration::from_secs(1);

/// At most so many rules are remembered to have hit an unfinished line.
const HIT_EARLY: usize = 1024;

type Take<'t> = &'t mut dyn FnMut(&Block<'_>) -> Vec<Arc<str>>;

impl Tailer {
    /// Reads one quantum of the file and says what it found.
    pub(super) fn read(&mut self, no: u64, now: Now, take: Take<'_>) {
        match self.copy_verdict(no, now) {
            Copy::No => {}
            Copy::Unsure | Copy::Settled => return self.schedule(no, now),
            Copy::Yes => {
                self.skip_copy(no, now);
                return self.schedule(no, now);
            }
        }
        if !self.ensure_open(no, now) {
            return;
        }
        let Some(file) = self.files.get_mut(&no) else { return };
        let max_line = self.sources[file.source].spec.max_line;
        let mut buf = std::mem::take(&mut self.buf);
        let fill = if file.head_differs() {
            Ok(Fill::Lost)
        } else {
            // Room for one longest line, its newline and a byte that shows it to be longer.
            file.fill(&mut buf, QUANTUM.max(max_line.saturating_add(2)))
        };
        match fill {
            Ok(Fill::Bytes { base, start, end, full }) => {
                self.give(no, base, &buf[start..end], full, now, take);
            }
            Ok(Fill::Lost) => self.lost_place(no, now),
            Err(e) => self.unreadable(no, &e),
        }
        self.buf = buf;
    }

    fn give(&mut self, no: u64, base: u64, data: &[u8], full: bool, now: Now, take: Take<'_>) {
        let Some(file) = self.files.get_mut(&no) else { return };
        let spec = &self.sources[file.source].spec;
        let mut bytes = 0;
        if base != file.offset && data.first().is_some_and(|&b| b != 0) {
            file.advance(base, b""); // the NULs ended just here
        }
        let block = |at: usize, end: BlockEnd| Block {
            source: spec.no,
            file: &file.name,
            file_no: no,
            offset: base + at as u64,
            bytes: b"",
            end,
            hit_early: if at == 0 { &file.hit_early } else { &[] },
            read: now,
            backlog: base + (at as u64) < file.backlog_to,
            records: &[],
            fields: &[],
        };
        let split = lines::split(data, spec.max_line, file.skipping, |at, piece, end| {
            bytes += piece.len() as u64;
            take(&Block { bytes: piece, ..block(at, end) });
        });
        let rest = &data[split.consumed..];
        let same = split.consumed == 0 && split.partial == file.partial;
        let mut told = None;
        if same && file.idle_at.is_some_and(|at| at <= now.tick) && split.partial > file.idle_told {
            told = Some(take(&Block { bytes: rest, ..block(split.consumed, BlockEnd::Idle) }));
            bytes += rest.len() as u64;
        }
        self.out.lines += split.lines;
        self.out.bytes += bytes;

        let end = base + data.len() as u64;
        file.size = if full { file.size.max(end) } else { end };
        if !full {
            file.listed = end;
        }
        file.skipping = split.skipping;
        if split.consumed > 0 {
            file.advance(base, &data[..split.consumed]);
            file.moved = now.wall;
            self.changed.insert(no);
            if let Err(e) = file.learn_head() {
                return self.unreadable(no, &e);
            }
        }
        if let Some(rules) = told {
            file.idle_told = split.partial;
            for rule in rules {
                if file.hit_early.len() < HIT_EARLY && !file.hit_early.contains(&rule) {
                    file.hit_early.push(rule);
                }
            }
            self.changed.insert(no);
        }
        if !same {
            file.active = now.tick;
            file.partial = split.partial;
            file.idle_at = (split.partial > 0).then(|| now.tick + IDLE);
        } else if file.idle_at.is_some_and(|at| at <= now.tick) {
            file.idle_at = None;
        }
        if full && split.nuls {
            file.note_nuls(end);
        }
        if full {
            self.enqueue(no);
        }
        self.schedule(no, now);
    }

    /// Opens the file by its name if it is not open; `false` if that did not lead to it.
    pub(super) fn ensure_open(&mut self, no: u64, now: Now) -> bool {
        let Some(file) = self.files.get(&no) else { return false };
        if file.open.is_some() {
            return true;
        }
        let (source, path, id) = (file.source, file.path.clone(), file.id);
        if file.is_old() {
            self.forget(no); // nothing leads to it any more
            return false;
        }
        if self.open >= OPEN {
            self.close_quiet();
        }
        let mut opened = open(&path);
        if opened.as_ref().is_err_and(|e| e.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error())) {
            self.close_quiet();
            opened = open(&path);
        }
        match opened.and_then(|f| Ok((self.believe(identity::look_at(&f)?), f))) {
            Ok((look, opened)) if look.id == id => {
                if let Some(file) = self.files.get_mut(&no) {
                    file.open = Some(opened);
                    self.open += 1;
                }
                self.recovered(source, &path);
                true
            }
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                self.unreadable(no, &e);
                false
            }
            _ => {
                self.look(source, &path, now); // the name leads elsewhere by now
                false
            }
        }
    }

    /// The file cannot be read just now.
    pub(super) fn unreadable(&mut self, no: u64, e: &io::Error) {
        let Some(file) = self.files.get_mut(&no) else { return };
        if file.open.take().is_some() {
            self.open -= 1;
        }
        let (source, path) = (file.source, file.path.clone());
        self.trouble(source, &path, format!("cannot be read: {}", plain(e)), hint(e));
    }

    /// Closes the file if it took a handle that should go to another.
    pub(super) fn close_beyond_limit(&mut self, no: u64) {
        if self.open > OPEN
            && let Some(file) = self.files.get_mut(&no)
            && file.open.take().is_some()
        {
            self.open -= 1;
        }
    }

    /// Closes the handles of the quietest files. Those of files without a name stay: nothing else leads there.
    fn close_quiet(&mut self) {
        let idle = self.files.values().filter(|f| f.open.is_some() && !f.is_old() && f.queued.is_none());
        let mut quiet: Vec<_> = idle.map(|f| (f.active, f.no)).collect();
        quiet.sort_unstable();
        for (_, no) in quiet.into_iter().take(CLOSE) {
            if let Some(file) = self.files.get_mut(&no) {
                file.open = None;
                self.open -= 1;
            }
        }
    }
}

/// Opens for reading. Should a FIFO or a terminal have taken the name meanwhile, neither blocks nor adopts it.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    Ok(rustix::fs::open(path, flags, Mode::empty())?.into())
}
