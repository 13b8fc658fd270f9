//! One watched file: where it has been read to, and the proof that it is still the same file.
//!
//! A read begins *before* the position: the bytes there are compared with those remembered from the last read,
//! in the same `pread` that brings the new ones. So a file that was cut and has grown past the old position
//! again, which its size alone would hide, is found without one more system call.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::busy::Busy;
use super::decode::Script;
use super::handle::Handle;
use super::identity::{self, Bytes, FileId, HEAD, Look, PROOF, no_proof, prove};
use super::marks::Marks;
use super::reading::IDLE;
use crate::line::{FilePlace, Proof};
use crate::time::{Tick, Wall};

/// At most so many rules are remembered to have hit an unfinished line.
const HIT_EARLY: usize = 1024;

/// A file of a source.
#[derive(Debug)]
pub(super) struct Tailed {
    /// Index of its source.
    pub(super) source: usize,
    pub(super) id: FileId,
    /// Tells it from others as long as the agent runs.
    pub(super) no: u64,
    /// The name it is read by; for a rotated file, the one it had.
    pub(super) path: Arc<Path>,
    pub(super) standing: Standing,
    pub(super) open: Option<Handle>,
    /// The next byte to read.
    pub(super) offset: u64,
    /// Size when last read, modification time when last looked at.
    pub(super) size: u64,
    pub(super) mtime: i64,
    /// Its modification time when its bytes were last proved under its name, or some time before that.
    pub(super) written: i64,
    /// The size as its name showed it last, proved or not.
    pub(super) listed: u64,
    /// The bytes just before `offset`, at most [`PROOF`].
    before: Vec<u8>,
    /// What a saved position says of them, until it has been compared.
    unproved: Option<Proof>,
    head: Proof,
    pub(super) marks: Marks,
    pub(super) skipping: bool,
    /// Bytes below this lay unread when the agent started or came back.
    pub(super) backlog_to: u64,
    /// The position was taken up from the store, and no read has proved it yet.
    pub(super) from_store: bool,
    /// When bytes were last found.
    pub(super) active: Tick,
    /// When its name was last seen to mean this file.
    pub(super) seen: Wall,
    /// When to look at it next, apart from the sweep.
    pub(super) look_at: Option<Tick>,
    /// No event tells of writes to it.
    pub(super) blind: bool,
    /// Where an old file was found, if it was.
    pub(super) found_at: Option<Arc<Path>>,
    /// The copy from which its rest was read when it was cut last.
    pub(super) copied_to: Option<u64>,
    /// Its modification time when it was last looked into what may have been cut before its start.
    pub(super) at_start: i64,
    /// The name it had before it was renamed to one that is watched, too.
    pub(super) was: Option<Arc<Path>>,
    /// When its position last moved.
    pub(super) moved: Wall,
    /// Its place among the files to be read. Right after a start all have one.
    pub(super) queued: Option<(u8, u64)>,
    /// What a file at rest has none of.
    pub(super) busy: Busy,
}

/// Whether a name still leads to the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Its path names it.
    Live,
    /// Renamed away or deleted: only the handle leads to it.
    Old,
}

/// Bytes of records that were not complete when the file that held them was cut.
#[derive(Debug)]
pub(super) struct Orphan {
    pub(super) source: usize,
    pub(super) no: u64,
    pub(super) name: Arc<str>,
    pub(super) script: Script,
    pub(super) offset: u64,
    pub(super) bytes: Vec<u8>,
}

/// What a read found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fill {
    /// The bytes before the position are not those that were read: the file was cut or rewritten.
    Lost,
    /// New bytes from `base` on are `buf[start..end]`; `full` says that there may be more.
    Bytes { base: u64, start: usize, end: usize, full: bool },
}

impl Tailed {
    /// A file that is to be read from its start.
    pub(super) fn new(
        source: usize,
        no: u64,
        path: Arc<Path>,
        look: &Look,
        tick: Tick,
        wall: Wall,
    ) -> Tailed {
        Tailed {
            source,
            id: look.id,
            no,
            path,
            standing: Standing::Live,
            open: None,
            offset: 0,
            size: look.size,
            mtime: look.mtime,
            written: look.mtime,
            listed: look.size,
            before: vec![],
            unproved: None,
            head: no_proof(),
            marks: Marks::default(),
            skipping: false,
            backlog_to: 0,
            from_store: false,
            active: tick,
            seen: wall,
            look_at: None,
            blind: false,
            found_at: None,
            was: None,
            copied_to: None,
            at_start: look.mtime,
            moved: wall,
            queued: None,
            busy: Busy::default(),
        }
    }

    /// Its name as people call it. Made when it is asked for: only files that are read from need one.
    pub(super) fn name(&self) -> Arc<str> {
        self.path.to_string_lossy().into()
    }

    /// It is begun at its first byte, and was not there before `since` (nanoseconds), as far as that is known. Nothing
    /// will prove its archive as long as nothing was read, and the time does not know the last line: logrotate hands on
    /// what the log had when it was looked at, before its program was told to reopen it. But that is no older than
    /// the log.
    pub(super) fn unread_since(&mut self, since: i64) {
        if let Some(born) = self.id.born {
            self.written = self.written.min(born.max(since));
        }
    }

    /// Takes up a saved position.
    pub(super) fn take_up(&mut self, place: FilePlace, at: Wall) {
        self.offset = place.offset;
        self.size = place.size;
        self.written = place.mtime;
        self.before.clear();
        self.unproved = (place.proof.len > 0).then_some(place.proof);
        self.head = place.head;
        self.marks = Marks::saved(place.marks, &place.recent, place.offset);
        self.skipping = place.skipping;
        if place.hit_early != self.busy.hit_early {
            self.busy.hit_early = place.hit_early;
        }
        self.from_store = true;
        self.moved = at;
    }

    /// Its position, as it is saved.
    pub(super) fn place(&self) -> FilePlace {
        FilePlace {
            path: Arc::clone(&self.path),
            offset: self.offset,
            size: self.size,
            proof: self.proof(),
            head: self.head,
            marks: self.marks.to_vec(),
            recent: self.marks.recent(),
            rotated: self.is_old(),
            done: false,
            mtime: self.written,
            skipping: self.skipping,
            hit_early: self.busy.hit_early.clone(),
        }
    }

    /// Proof of the bytes before the position.
    pub(super) fn proof(&self) -> Proof {
        self.unproved.unwrap_or_else(|| prove(&self.before))
    }

    /// Bytes that were seen and not given out, an unfinished line that was matched not counted.
    pub(super) fn unread(&self) -> u64 {
        self.size.saturating_sub(self.offset + self.busy.idle_told as u64)
    }

    /// Whether it may be another file that got the inode of the one the saved position is of.
    pub(super) fn head_differs(&self) -> bool {
        self.from_store
            && self.id.born.is_none()
            && self.head.len > 0
            && !self.open.as_ref().is_some_and(|f| identity::holds(f, self.head.len.into(), self.head))
    }

    /// Its size as last seen; of an archive that was not read to its end, how far it was read.
    pub(super) fn known_size(&self) -> u64 {
        let size = self.size.max(self.listed);
        if size > i64::MAX as u64 / 2 { self.offset } else { size }
    }

    pub(super) fn is_old(&self) -> bool {
        self.standing != Standing::Live
    }

    /// It is what a rotated log became: an archive, as far as the name tells where it was found.
    pub(super) fn is_archive(&self) -> bool {
        self.is_old() && self.found_at.as_deref().is_some_and(super::archive::is_packed)
    }

    /// Begins anew at `offset` of the open file, inside a line if `skipping`.
    pub(super) fn restart(&mut self, offset: u64, skipping: bool) -> io::Result<()> {
        self.offset = offset;
        self.skipping = skipping;
        self.unproved = None;
        self.before = match &self.open {
            Some(file) => identity::bytes_before(file, offset, PROOF)?,
            None => vec![],
        };
        self.marks.cut(offset);
        self.busy.hit_early.clear();
        self.busy.idle_at = None;
        (self.busy.partial, self.busy.idle_told, self.busy.nuls_to) = (0, 0, 0);
        self.from_store = false;
        self.head = no_proof();
        self.busy.script = None;
        self.busy.waits.clear();
        self.busy.held.clear();
        self.learn_head()
    }

    /// Closes its handle; the bytes before the position are remembered by their proof alone. `true` if it was open.
    pub(super) fn close(&mut self) -> bool {
        if self.open.take().is_none() {
            return false;
        }
        if self.unproved.is_none() && !self.before.is_empty() {
            self.unproved = Some(prove(&self.before));
        }
        self.before = vec![];
        self.busy.settle();
        true
    }

    /// What it is written in, where its source says `declared`; `None` as long as it is too short to tell. Goes
    /// behind a byte order mark that it stands before.
    pub(super) fn script(&mut self, declared: &'static encoding_rs::Encoding) -> io::Result<Option<Script>> {
        if self.busy.script.is_some() {
            return Ok(self.busy.script);
        }
        let Some(file) = &self.open else { return Err(io::ErrorKind::NotFound.into()) };
        let mut head = [0; 3];
        let n = identity::read_full(file, &mut head, 0)?;
        let Some(script) = Script::of(&head[..n], declared) else { return Ok(None) };
        if n > 0 {
            self.busy.script = Some(script);
        }
        if self.offset == 0 && script.mark > 0 {
            self.offset = script.mark.into();
            self.before = head[..script.mark.into()].to_vec();
        }
        Ok(Some(script))
    }

    /// It has not been read beyond its byte order mark.
    pub(super) fn is_unread(&self) -> bool {
        self.offset <= self.busy.script.map_or(0, |s| s.mark.into())
    }

    /// Its last line was matched, `len` bytes of it, and hit by these rules.
    pub(super) fn told_early(&mut self, len: usize, rules: Vec<Arc<str>>) {
        self.busy.idle_told = len;
        for rule in rules {
            if self.busy.hit_early.len() < HIT_EARLY && !self.busy.hit_early.contains(&rule) {
                self.busy.hit_early.push(rule);
            }
        }
    }

    /// Takes the bytes of records that waited for more.
    pub(super) fn take_waiting(&mut self) -> Option<Orphan> {
        self.busy.waits.clear();
        let bytes = std::mem::take(&mut self.busy.held);
        let script = self.busy.script.filter(|_| !bytes.is_empty())?;
        let name = self.name();
        Some(Orphan { source: self.source, no: self.no, name, script, offset: self.offset, bytes })
    }

    /// When something about it is due by itself: a line or a record counts as idle.
    pub(super) fn idle_due(&self) -> Option<Tick> {
        let waits = self.busy.waits.iter().map(|w| w.since + IDLE);
        waits.chain(self.busy.idle_at).min()
    }

    /// Begins at the end of the open file: at the start of its last line, if that has no newline yet.
    pub(super) fn start_at_end(
        &mut self,
        size: u64,
        max_line: usize,
        declared: &'static encoding_rs::Encoding,
    ) -> io::Result<()> {
        let Some(script) = self.script(declared)? else { return self.restart(0, false) };
        let Some(file) = &self.open else { return Ok(()) };
        let window = (max_line as u64 + 1).min(size);
        let mut tail = vec![0; PROOF.min(window as usize)];
        // Nearly always the last byte is a newline: the long look back is the exception.
        let begin = size - tail.len() as u64;
        let n = identity::read_full(file, &mut tail, begin)?;
        if script.last_line(&tail[..n], begin).is_none() && window as usize > tail.len() {
            tail = vec![0; window as usize];
            identity::read_full(file, &mut tail, size - window)?;
        }
        let (offset, skipping) = match script.last_line(&tail, size - tail.len() as u64) {
            Some(line) => (size - (tail.len() - line) as u64, false),
            None if window == size => (0, false),
            None => (size - if script.is_wide() { size % 2 } else { 0 }, true),
        };
        self.restart(offset, skipping)?;
        // What stands there without newline was written before: only its growth is news.
        self.busy.partial = (size - offset) as usize;
        self.busy.idle_told = self.busy.partial;
        Ok(())
    }

    /// Reads up to `window` new bytes into `buf`, proof first.
    pub(super) fn fill(&mut self, buf: &mut Vec<u8>, window: usize) -> io::Result<Fill> {
        let Some(file) = &self.open else { return Err(io::ErrorKind::NotFound.into()) };
        let proof = self.unproved.map_or(self.before.len(), |p| p.len as usize).min(PROOF);
        let Some(base) = self.offset.checked_sub(proof as u64) else { return Ok(Fill::Lost) };
        buf.resize(buf.len().max(proof + window), 0);
        let n = read_window(file, &mut buf[..proof + window], base)?;
        if n < proof {
            return Ok(Fill::Lost);
        }
        match self.unproved {
            None if buf[..proof] != self.before[..] => return Ok(Fill::Lost),
            Some(saved) if prove(&buf[..proof]) != saved => return Ok(Fill::Lost),
            Some(_) => {
                self.before = buf[..proof].to_vec();
                self.unproved = None;
            }
            None => {}
        }
        if self.offset > self.size && n == proof {
            // A saved position without proof bytes beyond the end of the file.
            if file.look()?.size < self.offset {
                return Ok(Fill::Lost);
            }
        }
        self.from_store = false;
        let full = n == proof + window;
        if full && self.busy.nuls_to > self.offset && buf[proof..n].iter().all(|&b| b == 0) {
            return self.fill_beyond_nuls(buf, window);
        }
        Ok(Fill::Bytes { base: self.offset, start: proof, end: n, full })
    }

    /// Whether the bytes before the position have changed.
    pub(super) fn lost(&mut self) -> bool {
        matches!(self.fill(&mut vec![], 0), Ok(Fill::Lost))
    }

    /// Reads on behind the NULs that are known already.
    fn fill_beyond_nuls(&mut self, buf: &mut [u8], window: usize) -> io::Result<Fill> {
        let Some(file) = &self.open else { return Err(io::ErrorKind::NotFound.into()) };
        let n = read_window(file, &mut buf[..window], self.busy.nuls_to)?;
        Ok(Fill::Bytes { base: self.busy.nuls_to, start: 0, end: n, full: n == window })
    }

    /// The window at `base` was all NULs: looks where data may begin.
    pub(super) fn note_nuls(&mut self, end: u64) {
        let Some(file) = &self.open else { return };
        // A hole is jumped over; where the filesystem cannot tell, the next window is read.
        self.busy.nuls_to = file.data_from(end);
    }

    /// Moves the position behind `bytes`, which begin at `from` (NULs may lie between).
    pub(super) fn advance(&mut self, from: u64, bytes: &[u8]) {
        if from != self.offset {
            self.before = vec![0; PROOF]; // the hole that was jumped over
        }
        self.marks.add(from, bytes);
        let keep = PROOF.saturating_sub(bytes.len()).min(self.before.len());
        self.before.drain(..self.before.len() - keep);
        self.before.extend_from_slice(&bytes[bytes.len().saturating_sub(PROOF)..]);
        self.offset = from + bytes.len() as u64;
        self.busy.hit_early.clear();
        (self.busy.idle_told, self.busy.nuls_to) = (0, 0);
    }

    /// Hashes the head of a file that has no birth time, until it is known whole.
    pub(super) fn learn_head(&mut self) -> io::Result<()> {
        let known = u64::from(self.head.len);
        if self.id.born.is_none()
            && known < self.offset.min(HEAD as u64)
            && let Some(file) = &self.open
        {
            self.head = prove(&identity::bytes_before(file, self.offset.min(HEAD as u64), HEAD)?);
        }
        Ok(())
    }
}

/// A file gives all it has in one call, an archive what it has decoded.
fn read_window(file: &Handle, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    if file.is_packed() { identity::read_full(file, buf, offset) } else { file.some_at(buf, offset) }
}
