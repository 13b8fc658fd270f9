//! Copies: a log that is copied and cut goes on in another inode.
//!
//! A copy has the very bytes before our position at our position, whether it is plain or an archive by now. So what
//! was not read before the log was cut is read from the copy, and nothing else of it.
//!
//! A copy in the making is the trap: it looks like a new file full of new lines. A file that carries a rotated name
//! and still equals the log it is named after is therefore not read until either one changes.

use std::path::Path;
use std::time::Duration;

use super::file::Tailed;
use super::generation::{Generation, style};
use super::handle::Handle;
use super::identity::{self, HEAD, Look, PROOF};
use super::missing::{TRIES, written};
use super::resaved::differ;
use super::rotation::{Found, ns};
use super::tailer::Tailer;
use crate::line::FilePlace;
use crate::time::{Now, Wall};

/// How much older than our last read a copy may look: coarse clocks of filesystems, programs that keep whole seconds.
const SLACK: Duration = Duration::from_secs(2);

/// A copy is believed to be one when it has not changed for so long.
const COPIED: Duration = Duration::from_secs(10);

/// Beyond so many names that the globs look at, a log that holds bytes is believed never to have been cut before.
const MANY: usize = 2000;

/// Whether a file is a copy of a log that is read already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Copy {
    /// It is not, or not any longer.
    No,
    /// It may be one in the making.
    Unsure,
    /// It is.
    Yes,
    /// It is, and its position has been set already.
    Settled,
}

impl Tailer {
    /// Looks for the copy or the archive of what stood before the place, and reads the rest from it. `away` says
    /// that nobody looked meanwhile.
    pub(super) fn claim_copy(
        &mut self,
        source: usize,
        place: &FilePlace,
        at: Wall,
        away: bool,
        now: Now,
    ) -> Option<Generation> {
        let own = place.path.parent()?.to_path_buf();
        let near_it = if away { self.near(&own) } else { vec![] };
        for dir in std::iter::once(own).chain(near_it) {
            for _ in 0..TRIES {
                let mut moved = false;
                let found = self.claim_in(&dir, source, place, at, now, &mut moved);
                if found.is_some() {
                    return found;
                }
                if !moved {
                    break;
                }
            }
        }
        None
    }

    fn claim_in(
        &mut self,
        dir: &Path,
        source: usize,
        place: &FilePlace,
        at: Wall,
        now: Now,
        moved: &mut bool,
    ) -> Option<Generation> {
        // A copy may carry the time of its making, or of the log's last line.
        let recent = ns(Wall(at.0 - SLACK.as_millis() as i64)).min(written(place, at));
        let mut all = self.generations(dir, &place.path);
        all.reverse();
        let plain = all.iter().filter(|g| !g.packed && g.look.size >= place.offset && g.look.mtime >= recent);
        for copy in plain {
            if self.claim_plain(source, place, at, copy, now, moved) {
                return Some(copy.clone());
            }
        }
        // The oldest archive that is young enough is the likeliest; one more, for a log that was long quiet.
        let packed: Vec<&Generation> = all.iter().filter(|g| g.packed).collect();
        let young = packed.iter().take_while(|g| g.look.mtime >= recent).count();
        for archive in packed[..young].iter().rev().chain(packed.get(young)) {
            if self.index.file(source, archive.look.id).is_some() {
                continue;
            }
            let Some((path, look, handle)) = self.open_the(&archive.path, archive.look.id) else {
                *moved = true;
                continue;
            };
            if identity::holds(&handle, place.offset, place.proof) {
                self.learn_directory(&place.path, path.parent());
                let found = Found { path: &path, look: &look, handle };
                self.take_old(source, found, Some((place.clone(), at)), &place.path, now);
                return Some((*archive).clone());
            }
        }
        None
    }

    /// A place at the start of a file proves nothing: it may have been written, copied and cut since it came to stand
    /// there. Takes up what lies beside it then; `true` if there is something.
    pub(super) fn hidden_by_a_cut(&mut self, no: u64, now: Now) -> bool {
        let start = self.files.get(no).filter(|f| f.offset == 0).and_then(|f| f.open.as_ref());
        let Some(look) = start.and_then(|f| self.see_open(f).ok()) else { return false };
        let Some(file) = self.files.get_mut(no) else { return false };
        if file.is_old() || file.at_start == look.mtime {
            return false;
        }
        file.at_start = look.mtime;
        let since = file.written;
        // Among very many, each new log would list all others for its first line.
        if self.names > MANY && look.size > 0 {
            return false;
        }
        let (source, path, id) = (file.source, file.path.clone(), file.id);
        self.take_written_since(source, &path, Some(id), since, now).is_some()
    }

    /// The log at `path`, where this generation is a copy of it that was made just now, or is being made, and the log has
    /// not been cut yet: whoever copies and cuts may take long in between, for the copy is put on the disk first. The copy
    /// is younger than the log then, and nothing was written to the log since, or its lines tell it from others.
    pub(super) fn uncut(&self, source: usize, path: &Path, look: &Look, handle: &Handle) -> Option<u64> {
        let no = self.live_at(source, path)?;
        if handle.is_packed() || look.size == 0 {
            return None;
        }
        let (log, open) =
            self.open_as(path).filter(|(log, _)| self.files.get(no).is_some_and(|f| f.id == log.id))?;
        let (born, made) = (log.id.born?, look.id.born?);
        let telling = || identity::bytes_before(handle, look.size, PROOF).is_ok_and(|text| differ(&text));
        let is_copy =
            born < made && begins_alike(handle, &open, look.size) && (log.mtime <= made || telling());
        is_copy.then_some(no)
    }

    /// What is in the copy is not read there until the `log` is cut. Where it is begun is not kept: by the next start that
    /// may be another place.
    pub(super) fn await_cut(&mut self, copy: u64, log: Option<u64>) {
        if log.is_some()
            && let Some(file) = self.files.get_mut(copy)
        {
            file.busy.copy_of = log;
            self.changed.remove(&copy);
        }
    }

    fn claim_plain(
        &mut self,
        source: usize,
        place: &FilePlace,
        at: Wall,
        copy: &Generation,
        now: Now,
        moved: &mut bool,
    ) -> bool {
        let Some((path, look, handle)) = self.open_the(&copy.path, copy.look.id) else {
            *moved = true;
            return false;
        };
        let path = &path;
        if !identity::holds(&handle, place.offset, place.proof) {
            return false;
        }
        if let Some(no) = self.index.file(source, look.id) {
            // It matches a glob itself: what we have read need not be read there.
            if !self.ensure_open(no, now) {
                return false;
            }
            let Some(copy) = self.files.get_mut(no) else { return false };
            copy.busy.copy_of = None;
            // Behind us, or copied over itself: either way the bytes before our place were read here.
            let elsewhere = copy.offset < place.offset || copy.lost();
            if elsewhere && copy.restart(place.offset, place.skipping).is_ok() {
                copy.busy.hit_early.clone_from(&place.hit_early);
                self.changed.insert(no);
                self.enqueue(no);
            }
        } else {
            let found = Found { path, look: &look, handle };
            let no = self.take_old(source, found, Some((place.clone(), at)), &place.path, now);
            if self.sources[source].globs.as_ref().is_some_and(|g| g.matches(path)) {
                self.renamed(no, path, &look, now);
            }
        }
        true
    }

    /// The log is about to be read anew: what was a copy of it so far stays one, and the rest is news.
    pub(super) fn settle_copies(&mut self, log: u64, now: Now) {
        let of = |f: &&Tailed| f.busy.copy_of == Some(log);
        let copies: Vec<u64> = self.files.values().filter(of).map(|f| f.no).collect();
        for no in copies {
            if self.is_of_what_stands_now(no, log) {
                continue;
            }
            let Some(copy) = self.files.get_mut(no) else { continue };
            copy.busy.copy_of = None;
            let size = copy.open.as_ref().and_then(|f| f.look().ok()).map(|l| l.size);
            if copy.busy.equalled.is_some() && copy.busy.equalled == size {
                self.skip_copy(no, now);
            } else if let Some(other) = self.copied_before_the_cut(no, now)
                && let Some(copy) = self.files.get_mut(no)
            {
                copy.busy.copy_of = Some(other);
            }
        }
    }

    /// The log has been cut, and copied once more since.
    fn is_of_what_stands_now(&self, copy: u64, log: u64) -> bool {
        let Some(file) = self.files.get(copy) else { return false };
        let look = file.open.as_ref().and_then(|handle| Some((self.see_open(handle).ok()?, handle)));
        look.is_some_and(|(look, handle)| self.uncut(file.source, &file.path, &look, handle) == Some(log))
    }

    /// The log of which a new file at `path` may be a copy: one in the same directory whose name, with a rotation's
    /// suffix, is this one's. One of which nothing was read has no copies, unless it was cut.
    pub(super) fn copied_from(&self, source: usize, path: &Path) -> Option<u64> {
        use std::os::unix::ffi::OsStrExt;
        let (dir, name) = (path.parent()?, path.file_name()?);
        (1..name.len()).rev().find_map(|len| {
            let base = std::ffi::OsStr::from_bytes(&name.as_bytes()[..len]);
            let no = style(name, base).and_then(|_| self.live_at(source, &dir.join(base)))?;
            let log = self.files.get(no)?;
            (log.offset > 0 || log.copied_to.is_some()).then_some(no)
        })
    }

    /// The log may have been cut before anybody met its copy `no`. Then another copy of it was claimed to read its rest
    /// from, and begins as this one does: the one of which this is a copy.
    fn copied_before_the_cut(&mut self, no: u64, now: Now) -> Option<u64> {
        let file = self.files.get(no)?;
        let log = self.copied_from(file.source, &file.path)?;
        let other = self.files.get(log)?.copied_to.filter(|&other| other != no)?;
        if !self.files.contains_key(other) || !self.ensure_open(no, now) || !self.ensure_open(other, now) {
            return None;
        }
        let (a, b) = (self.files.get(no)?.open.as_ref()?, self.files.get(other)?.open.as_ref()?);
        let size = a.look().ok()?.size;
        // Programs may begin each of their logs with the same lines.
        let telling = || identity::bytes_before(a, size, PROOF).is_ok_and(|text| differ(&text));
        (begins_alike(a, b, size) && telling()).then_some(other)
    }

    /// Whether the file is a copy of a log that is read: then its bytes are not new.
    pub(super) fn copy_verdict(&mut self, no: u64, now: Now) -> Copy {
        let Some(of) = self.files.get(no).and_then(|f| f.busy.copy_of) else { return Copy::No };
        let verdict = self.compare(no, of, now);
        if verdict != Copy::Unsure
            && let Some(file) = self.files.get_mut(no)
        {
            file.busy.copy_of = None;
        }
        verdict
    }

    fn compare(&mut self, no: u64, of: u64, now: Now) -> Copy {
        if !self.ensure_open(no, now) || !self.files.contains_key(of) || !self.ensure_open(of, now) {
            return Copy::No;
        }
        // Cut already? Then it looks for its copy itself, and may have claimed this one.
        if self.files.get_mut(of).is_some_and(Tailed::lost) {
            self.lost_place(of, now);
            return match self.files.get(no) {
                Some(copy) if copy.offset == 0 && copy.busy.copy_of.is_some() => Copy::Unsure,
                Some(copy) if copy.offset == 0 => Copy::No,
                _ => Copy::Settled,
            };
        }
        let (Some(copy), Some(log)) = (self.files.get(no), self.files.get(of)) else { return Copy::No };
        let (Some(a), Some(b)) = (&copy.open, &log.open) else { return Copy::No };
        let Ok(size) = a.look().map(|l| l.size) else { return Copy::No };
        if !begins_alike(a, b, size) {
            let Some(other) = self.copied_before_the_cut(no, now).filter(|&other| other != of) else {
                return Copy::No;
            };
            if let Some(copy) = self.files.get_mut(no) {
                copy.busy.copy_of = Some(other);
            }
            return Copy::Unsure;
        }
        let quiet = now.tick.since(copy.active);
        let read_there = size <= log.offset;
        let grew = size != copy.size;
        if let Some(copy) = self.files.get_mut(no) {
            copy.busy.equalled = read_there.then_some(size);
            if grew {
                copy.size = size;
                copy.active = now.tick;
            }
        }
        if !grew && size > 0 && quiet >= COPIED { Copy::Yes } else { Copy::Unsure }
    }

    /// What is in the copy is read in the log.
    pub(super) fn skip_copy(&mut self, no: u64, now: Now) {
        let Some(file) = self.files.get_mut(no) else { return };
        let spec = &self.sources[file.source].spec;
        let (max_line, encoding) = (spec.max_line, spec.encoding.0);
        let size = file.size;
        match file.start_at_end(size, max_line, encoding) {
            Ok(()) => file.moved = now.wall,
            Err(e) => return self.unreadable(no, &e),
        }
        self.changed.insert(no);
    }
}

/// Whether the first `size` bytes of both are the same, as far as their beginning and end tell.
fn begins_alike(a: &Handle, b: &Handle, size: u64) -> bool {
    let same = |end: u64, len: usize| {
        let (x, y) = (identity::bytes_before(a, end, len), identity::bytes_before(b, end, len));
        x.is_ok_and(|x| x.len() as u64 == end.min(len as u64) && y.is_ok_and(|y| x == y))
    };
    same(size.min(HEAD as u64), HEAD) && same(size, PROOF)
}
