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

use super::copies::Copy;
use super::decode::Script;
use super::earlier::Back;
use super::file::Fill;
use super::handle::Handle;
use super::identity::{self, Look};
use super::lines;
use super::looking::OPEN_IDLE;
use super::tailer::Tailer;
use super::troubles::{hint, plain};
use crate::line::{Block, BlockEnd};
use crate::time::Now;

/// A file gives up so much in one turn, so that a hot one starves nobody.
pub(super) const QUANTUM: usize = 256 * 1024;

/// At most so many files are held open where nobody says how many may be: well below the soft limit of 1024 that services
/// start with.
pub(super) const OPEN: usize = 512;

/// So many handles are closed together when there are too many: looking for the quietest costs a pass.
const CLOSE: usize = 64;

/// A last line without newline is matched after so long without a byte; a record that may go on, too.
pub(super) const IDLE: Duration = Duration::from_secs(1);

pub(super) type Take<'t> = &'t mut dyn FnMut(&Block<'_>) -> Vec<Arc<str>>;

/// What one read found in a file.
#[derive(Clone, Copy)]
pub(super) struct Filled<'a> {
    /// Where in the file it begins.
    pub(super) base: u64,
    pub(super) data: &'a [u8],
    /// There may be more behind it.
    pub(super) full: bool,
    pub(super) script: Script,
}

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
        if self.hidden_by_a_cut(no, now) {
            return self.enqueue(no); // behind what was written before
        }
        let Some(file) = self.files.get_mut(no) else { return };
        let spec = &self.sources[file.source].spec;
        let recipe = &self.sources[file.source].recipe;
        let script = match file.script(spec.encoding.0) {
            Ok(Some(script)) => script,
            Ok(None) => return self.schedule(no, now), // its first byte may be half of a mark
            Err(e) => return self.unreadable(no, &e),
        };
        let stored = file.from_store;
        let as_it_stands = recipe.is_plain() && script.is_utf8();
        // Room for one longest line, its newline and a byte that shows it to be longer.
        let quantum = if recipe.joins() { 2 * QUANTUM } else { QUANTUM };
        let window = quantum.max(recipe.longest(script).saturating_add(4));
        let mut buf = std::mem::take(&mut self.buf);
        let fill = if file.head_differs() { Ok(Fill::Lost) } else { file.fill(&mut buf, window) };
        match fill {
            Ok(Fill::Bytes { base, start, end, full }) => {
                // Who writes to a rotated file makes it no younger than what came after it.
                if !file.is_old() {
                    file.written = file.written.max(file.mtime);
                } else if file.offset == 0 && end > start && !stored {
                    // As long as nothing of it was read, that was no more than its birth.
                    file.written = file.written.max(file.at_start);
                }
                let filled = Filled { base, data: &buf[start..end], full, script };
                if as_it_stands {
                    self.give(no, filled, now, take);
                } else {
                    self.give_records(no, filled, now, take);
                }
                if stored && end == start {
                    self.close_beyond(no, OPEN_IDLE); // proved, and quiet
                    self.unring(no); // it was to close it
                    self.schedule(no, now);
                }
                self.archive_ended(no, now);
            }
            Ok(Fill::Lost) => self.lost_place(no, now),
            Err(e) => self.unreadable(no, &e),
        }
        self.buf = buf;
    }

    fn give(&mut self, no: u64, filled: Filled<'_>, now: Now, take: Take<'_>) {
        let Filled { base, data, full, script } = filled;
        let Some(file) = self.files.get_mut(no) else { return };
        let (source, name) = (&self.sources[file.source], file.name());
        let spec = &source.spec;
        let mut bytes = 0;
        if base != file.offset && data.first().is_some_and(|&b| b != 0) {
            file.advance(base, b""); // the NULs ended just here
        }
        let back = Back { handle: file.open.as_ref(), recipe: &source.recipe, script };
        let block = |at: usize, end: BlockEnd| Block {
            source: spec.no,
            file: &name,
            file_no: no,
            offset: base + at as u64,
            bytes: b"",
            end,
            hit_early: if at == 0 { &file.busy.hit_early } else { &[] },
            read: now,
            backlog: base + (at as u64) < file.backlog_to,
            records: &[],
            fields: &[],
            earlier: Some(&back),
        };
        let split = lines::split(data, spec.max_line, file.skipping, |at, piece, end| {
            bytes += piece.len() as u64;
            take(&Block { bytes: piece, ..block(at, end) });
        });
        let rest = &data[split.consumed..];
        let same = split.consumed == 0 && split.partial == file.busy.partial;
        let mut told = None;
        if same && file.busy.idle_at.is_some_and(|at| at <= now.tick) && split.partial > file.busy.idle_told {
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
            file.told_early(split.partial, rules);
            self.changed.insert(no);
        }
        if !same {
            file.active = now.tick;
            file.busy.partial = split.partial;
            file.busy.idle_at = (split.partial > 0).then(|| now.tick + IDLE);
        } else if file.busy.idle_at.is_some_and(|at| at <= now.tick) {
            file.busy.idle_at = None;
        }
        if full && split.nuls {
            file.note_nuls(end);
        }
        if full {
            self.enqueue(no);
        }
        self.schedule(no, now);
    }

    /// Opens the file if it is not open: by its name, or where it was found; `false` if that did not lead to it.
    pub(super) fn ensure_open(&mut self, no: u64, now: Now) -> bool {
        let Some(file) = self.files.get(no) else { return false };
        if file.open.is_some() {
            return true;
        }
        let (source, id, old) = (file.source, file.id, file.is_old());
        let path = if old { file.found_at.clone() } else { Some(file.path.clone()) };
        let Some(path) = path else {
            self.forget(no); // nothing leads to it any more
            return false;
        };
        if self.open >= self.options.handles {
            self.close_quiet();
        }
        // A log that has its name is read as it stands, whatever its name says.
        let try_open = || if old { Handle::open(&path) } else { open(&path).map(Handle::Plain) };
        let mut opened = try_open();
        if opened.as_ref().is_err_and(|e| e.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error())) {
            self.close_quiet();
            opened = try_open();
        }
        match opened.and_then(|f| Ok((self.see_open(&f)?, f))) {
            Ok((look, opened)) if look.id == id => {
                if let Some(file) = self.files.get_mut(no) {
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
            _ if old => {
                self.open_elsewhere(no, &path, now);
                false
            }
            _ => {
                self.look(source, &path, now); // the name leads elsewhere by now
                false
            }
        }
    }

    /// An old file is not where it was found: it was rotated once more, or compressed, or is gone.
    fn open_elsewhere(&mut self, no: u64, was_at: &Path, now: Now) {
        let Some(file) = self.files.get_mut(no) else { return };
        let (source, path, id, at) = (file.source, file.path.clone(), file.id, file.moved);
        let (place, unread) = (file.place(), file.busy.drain_to.saturating_sub(file.offset));
        if let Some(moved) = self.find(was_at, id).or_else(|| self.find(&path, id)) {
            if let Some(file) = self.files.get_mut(no) {
                file.found_at = Some(moved.into());
            }
            return self.enqueue(no);
        }
        let rest = (place.proof.len > 0).then(|| self.claim_copy(source, &place, at, true, now)).flatten();
        if rest.is_none() && unread > 0 {
            let known = (unread < i64::MAX as u64 / 2).then_some(unread);
            self.gap(source, &path, known, "deleted before it was read");
        }
        self.forget(no);
    }

    /// An archive that was read to its end is done with; damage in it is told.
    fn archive_ended(&mut self, no: u64, now: Now) {
        let Some(file) = self.files.get_mut(no) else { return };
        let Some((size, ended)) = file.open.as_ref().and_then(Handle::ended) else { return };
        if file.queued.is_some() || file.busy.drain_to == size {
            return;
        }
        (file.size, file.busy.drain_to, file.backlog_to) = (size, size, size);
        let (source, path) = (file.source, file.path.clone());
        if ended == super::archive::Ended::Damaged {
            self.gap(source, &path, None, "the archive that it became is damaged");
        }
        self.schedule(no, now);
    }

    /// The file cannot be read just now.
    pub(super) fn unreadable(&mut self, no: u64, e: &io::Error) {
        let Some(file) = self.files.get_mut(no) else { return };
        self.open -= usize::from(file.close());
        let (source, path) = (file.source, file.path.clone());
        self.trouble(source, &path, format!("cannot be read: {}", plain(e)), hint(e));
    }

    /// Closes the file unless it is one of the few that are held although nothing was read from them yet.
    pub(super) fn close_beyond(&mut self, no: u64, limit: usize) {
        if self.open > limit
            && let Some(file) = self.files.get_mut(no)
        {
            self.open -= usize::from(file.close());
        }
    }

    /// The first bytes of a file are there. It is held from now on, as one of a few: what is read before it may take long,
    /// and by its turn it may be an archive, which nothing shows to be this file.
    pub(super) fn open_early(&mut self, no: u64, look: &Look, now: Now) {
        let unread = self.files.get(no).is_some_and(|f| f.open.is_none() && f.offset == 0);
        if unread && look.size > 0 && self.ensure_open(no, now) {
            self.close_beyond(no, OPEN_IDLE);
        }
    }

    /// Closes the handles of the quietest files. Those of files without a name stay: nothing else leads there.
    fn close_quiet(&mut self) {
        let idle = |f: &&super::file::Tailed| {
            f.open.is_some() && (!f.is_old() || f.found_at.is_some()) && f.queued.is_none()
        };
        let mut quiet: Vec<_> = self.files.values().filter(idle).map(|f| (f.active, f.no)).collect();
        quiet.sort_unstable();
        for (_, no) in quiet.into_iter().take(CLOSE) {
            if let Some(file) = self.files.get_mut(no) {
                self.open -= usize::from(file.close());
            }
        }
    }
}

/// Opens for reading. Should a FIFO or a terminal have taken the name meanwhile, neither blocks nor adopts it.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file: File = rustix::fs::open(path, flags, Mode::empty())?.into();
    // A directory opens well and reads badly; a device may do anything.
    if identity::look_at(&file)?.is_file() { Ok(file) } else { Err(io::ErrorKind::NotFound.into()) }
}
