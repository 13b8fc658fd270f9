//! Rotation: where the rest of a file is that lost its name or its bytes.
//!
//! Three things happen to a log. It is renamed (the inode goes on under another name), it is copied and cut
//! (the bytes go on in another inode), or it is gone. The first is found by identity, the second by proof: the
//! copy has the very bytes before our position at our position. What neither finds is a gap, told with its size.
//!
//! A copy in the making is the trap: it looks like a new file full of new lines. A file that carries a rotated
//! name and still equals the log it is named after is therefore not read until either one changes.

use std::collections::HashSet;
use std::fs::{self, File};
use std::os::unix::fs::DirEntryExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::discover::is_generation;
use super::file::{Standing, Tailed};
use super::identity::{self, FileId, HEAD, Look, PROOF};
use super::looking::COARSE;
use super::reading::open;
use super::tailer::Tailer;
use crate::line::{FilePlace, Gap, Place, Position};
use crate::time::{Now, Wall};

/// A saved position whose file has not been met for so long is forgotten.
const KEPT: Duration = Duration::from_hours(7 * 24);

/// How much older than our last read a copy may look: coarse clocks of filesystems.
const SLACK: Duration = Duration::from_secs(2);

/// A copy is believed to be one when it has not changed for so long.
const COPIED: Duration = Duration::from_secs(10);

/// At most so many generations are looked at in one directory.
const GENERATIONS: usize = 256;

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
    /// The file's name leads elsewhere or nowhere: from now on only its handle leads to it.
    pub(super) fn unname(&mut self, no: u64, now: Now) {
        let Some(file) = self.files.get(&no) else { return };
        let (source, path, id, opened) = (file.source, file.path.clone(), file.id, file.open.is_some());
        let place = file.place();
        let born_after = id.born.map(|b| b.max(coarse(file.seen)));
        self.index.unname(no, &path);
        self.recovered(source, &path);
        if !opened {
            let found = self.find(&path, id).and_then(|moved| {
                self.index.name(no, &moved);
                open(&moved).ok()
            });
            let found = found.filter(|f| identity::look_at(f).is_ok_and(|l| self.believe(l).id == id));
            self.open += usize::from(found.is_some());
            if let Some(file) = self.files.get_mut(&no) {
                file.open = found;
            }
        }
        let Some(file) = self.files.get_mut(&no) else { return };
        file.standing = Standing::Old(now.tick);
        let Some(handle) = &file.open else {
            let unread = file.unread();
            if unread > 0 {
                self.gap(source, &path, Some(unread), "deleted before it was read");
            }
            return self.forget(no);
        };
        file.size = identity::look_at(handle).map_or(file.size, |l| l.size);
        file.drain_to = file.size;
        file.active = now.tick;
        self.turn += 1;
        file.drain_order = self.turn;
        if let Some(place) = file.queued.take() {
            self.queue.remove(&place);
        }
        self.enqueue(no);
        self.schedule(no, now);
        if let Some(born) = born_after {
            self.take_generations(source, &path, born, Some(&place), now);
        }
    }

    /// Will never be read again.
    pub(super) fn forget(&mut self, no: u64) {
        if let Some(file) = self.files.get(&no) {
            self.out.forgotten.push(self.key(file.source, file.id));
            self.let_go(no);
        }
    }

    /// Looks for the files of saved positions that no glob of these sources led to.
    pub(super) fn find_missing(&mut self, sources: &HashSet<usize>, now: Now) {
        let mut missing: Vec<Position> = self.saved.values().cloned().collect();
        missing.sort_by(|a, b| (a.at, &a.key).cmp(&(b.at, &b.key)));
        for position in missing {
            let of = |n: &usize| self.sources[*n].spec.name == position.key.source;
            let (Some(source), Some(id)) = (sources.iter().copied().find(of), position.key.file) else {
                continue;
            };
            let Place::File(place) = &position.place else { continue };
            let asked = self.sources[source].globs.as_ref().is_some_and(|g| g.matches(&place.path));
            let elsewhere = !asked || !place.path.parent().is_some_and(Path::is_dir);
            if elsewhere && now.wall.since(position.at) < KEPT {
                continue; // not asked for now, or not mounted now
            }
            self.saved.remove(&position.key);
            if elsewhere || !self.find_rest(source, id, place, position.at, now) {
                self.out.forgotten.push(position.key.clone());
            }
        }
    }

    /// Finds the rest of a file that was rotated while nobody looked. `false`: its own position is done with.
    fn find_rest(&mut self, source: usize, id: FileId, place: &FilePlace, at: Wall, now: Now) -> bool {
        if let Some((path, look, file)) = self.find(&place.path, id).and_then(|p| self.open_as(p)) {
            self.take_old(source, &path, &look, file, Some((place.clone(), at)), &place.path, now);
            if let Some(born) = look.id.born {
                // While the agent ran it saw every rotation, and it ran until its newest position moved.
                let of = &self.sources[source];
                let met = of.known_paths.get(&place.path).copied().unwrap_or(born).max(born);
                let since = of.kept_to().unwrap_or_else(|| ns(at)).max(met);
                self.take_generations(
                    source,
                    &place.path,
                    since - COARSE.as_nanos() as i64,
                    Some(place),
                    now,
                );
            }
            return true;
        }
        if self.claim_copy(source, place, at, true, now) {
            return false;
        }
        let unread = place.size.saturating_sub(place.offset);
        let successor = self.live_at(source, &place.path).and_then(|no| self.files.get(&no));
        if unread > 0 {
            self.gap(source, &place.path, Some(unread), "gone since the agent last ran");
        } else if successor.is_some_and(|f| !f.from_store) {
            let why = "replaced while the agent was away; what was written to it meanwhile is not known";
            self.gap(source, &place.path, None, why);
        }
        false
    }

    /// The bytes before the position are not ours: the file was cut, or rewritten.
    pub(super) fn lost_place(&mut self, no: u64, now: Now) {
        let Some(file) = self.files.get_mut(&no) else { return };
        let look = match file.open.as_ref().map(identity::look_at) {
            Some(Ok(look)) => look,
            Some(Err(e)) => return self.unreadable(no, &e),
            None => return,
        };
        let resume = (0 < look.size && look.size < file.offset && !file.head_differs())
            .then(|| file.open.as_ref().and_then(|f| file.marks.resume(f, look.size)))
            .flatten();
        let (source, path, stored) = (file.source, file.path.clone(), file.from_store);
        let (place, at, unread) = (file.place(), file.moved, file.unread());
        if resume.is_none() && !self.claim_copy(source, &place, at, stored, now) && (unread > 0 || stored) {
            let why = if stored {
                "cut or rewritten while the agent was away"
            } else {
                "cut or rewritten before it was read"
            };
            self.gap(source, &path, (unread > 0).then_some(unread), why);
        }
        self.settle_copies(no, now);
        let Some(file) = self.files.get_mut(&no) else { return };
        let (offset, skipping) = resume.unwrap_or((0, false));
        if let Err(e) = file.restart(offset, skipping) {
            return self.unreadable(no, &e);
        }
        file.size = look.size;
        file.active = now.tick;
        file.moved = now.wall;
        file.backlog_to = if stored { look.size } else { 0 };
        if file.is_old() {
            // Somebody copied over a rotated file: what stands in it now may be what the live one gave already.
            let live = self.live_at(source, &path);
            if let Some(file) = self.files.get_mut(&no) {
                file.copy_of = live;
            }
        }
        self.changed.insert(no);
        self.enqueue(no);
        self.schedule(no, now);
    }

    /// Looks for a copy that was made before the file was cut, and reads the rest of ours from it.
    fn claim_copy(&mut self, source: usize, place: &FilePlace, at: Wall, away: bool, now: Now) -> bool {
        let recent = ns(Wall(at.0 - SLACK.as_millis() as i64));
        for (path, look) in self.generations(&place.path) {
            if look.size < place.offset || look.mtime < recent {
                continue;
            }
            let Some((_, look, file)) = self.open_as(path.clone()) else { continue };
            if !identity::holds(&file, place.offset, place.proof) {
                continue;
            }
            if let Some(no) = self.index.file(source, look.id) {
                // It matches a glob itself: what we have read need not be read there.
                if !self.ensure_open(no, now) {
                    continue;
                }
                let Some(copy) = self.files.get_mut(&no) else { continue };
                copy.copy_of = None;
                // Behind us, or copied over itself: either way the bytes before our place were read here.
                let elsewhere = copy.offset < place.offset || copy.lost();
                if elsewhere && copy.restart(place.offset, place.skipping).is_ok() {
                    copy.hit_early.clone_from(&place.hit_early);
                    self.changed.insert(no);
                    self.enqueue(no);
                }
            } else {
                let no =
                    self.take_old(source, &path, &look, file, Some((place.clone(), at)), &place.path, now);
                if self.sources[source].globs.as_ref().is_some_and(|g| g.matches(&path)) {
                    self.renamed(no, &path, &look, now);
                }
            }
            if let Some(born) = look.id.born.filter(|_| away) {
                self.take_generations(source, &place.path, born, Some(place), now);
            }
            return true;
        }
        false
    }

    /// The log is about to be read anew: what was a copy of it so far stays one, and the rest is news.
    fn settle_copies(&mut self, log: u64, now: Now) {
        let of = |f: &&Tailed| f.copy_of == Some(log);
        let copies: Vec<u64> = self.files.values().filter(of).map(|f| f.no).collect();
        for no in copies {
            let Some(copy) = self.files.get_mut(&no) else { continue };
            copy.copy_of = None;
            let size = copy.open.as_ref().and_then(|f| identity::look_at(f).ok()).map(|l| l.size);
            if copy.equalled.is_some() && copy.equalled == size {
                self.skip_copy(no, now);
            }
        }
    }

    /// Takes up every generation that was born after `born`: those came and went between two looks. One that
    /// has the bytes of `before` is a copy of it, and begun where that was read to.
    pub(super) fn take_generations(
        &mut self,
        source: usize,
        path: &Path,
        born: i64,
        before: Option<&FilePlace>,
        now: Now,
    ) {
        let mut later = self.generations(path);
        later.retain(|(_, l)| {
            l.id.born.is_some_and(|b| b >= born) // one tick of the clock may see both born
                && self.index.file(source, l.id).is_none()
                && !self.saved.contains_key(&self.key(source, l.id))
        });
        later.sort_by_key(|(_, l)| l.id.born);
        let live = self.live_at(source, path).and_then(|no| self.files.get(&no)).map(Tailed::place);
        for (at, _) in later {
            if let Some((at, look, file)) = self.open_as(at) {
                if live.as_ref().is_some_and(|l| identity::holds(&file, l.offset, l.proof)) {
                    continue; // a copy of the live one, which claims it when it finds itself cut
                }
                let copied = before.filter(|b| identity::holds(&file, b.offset, b.proof));
                let place = copied.map(|b| (b.clone(), now.wall));
                self.take_old(source, &at, &look, file, place, path, now);
            }
        }
    }

    /// Reads a file that no glob leads to, under the name that people know.
    #[expect(clippy::too_many_arguments, reason = "a file, its name, its place, and where it belongs")]
    fn take_old(
        &mut self,
        source: usize,
        at: &Path,
        look: &Look,
        file: File,
        place: Option<(FilePlace, Wall)>,
        name: &Path,
        now: Now,
    ) -> u64 {
        let mut old = Tailed::new(source, self.last_no + 1, name.to_path_buf(), look, now.tick, now.wall);
        if let Some((place, moved)) = place {
            old.take_up(place, moved);
            old.path = name.to_path_buf();
        }
        old.standing = Standing::Old(now.tick);
        old.open = Some(file);
        self.open += 1;
        self.turn += 1;
        (old.drain_order, old.drain_to, old.backlog_to) = (self.turn, look.size, look.size);
        let no = self.hold(old);
        self.index.name(no, at);
        self.changed.insert(no);
        self.enqueue(no);
        self.schedule(no, now);
        no
    }

    /// The log of which a new file at `path` may be a copy: one in the same directory whose name, with a
    /// rotation's suffix, is this one's.
    pub(super) fn copied_from(&self, source: usize, path: &Path) -> Option<u64> {
        use std::os::unix::ffi::OsStrExt;
        let (dir, name) = (path.parent()?, path.file_name()?);
        (1..name.len()).rev().find_map(|len| {
            let base = std::ffi::OsStr::from_bytes(&name.as_bytes()[..len]);
            let no = is_generation(name, base).then(|| self.live_at(source, &dir.join(base)))??;
            self.files.get(&no).filter(|f| f.offset > 0).map(|_| no)
        })
    }

    /// Whether the file is a copy of a log that is read: then its bytes are not new.
    pub(super) fn copy_verdict(&mut self, no: u64, now: Now) -> Copy {
        let Some(of) = self.files.get(&no).and_then(|f| f.copy_of) else { return Copy::No };
        let verdict = self.compare(no, of, now);
        if verdict != Copy::Unsure
            && let Some(file) = self.files.get_mut(&no)
        {
            file.copy_of = None;
        }
        verdict
    }

    fn compare(&mut self, no: u64, of: u64, now: Now) -> Copy {
        if !self.ensure_open(no, now) || !self.files.contains_key(&of) || !self.ensure_open(of, now) {
            return Copy::No;
        }
        // Cut already? Then it looks for its copy itself, and may have claimed this one.
        if self.files.get_mut(&of).is_some_and(Tailed::lost) {
            self.lost_place(of, now);
            let settled = self.files.get(&no).is_none_or(|f| f.offset > 0);
            return if settled { Copy::Settled } else { Copy::No };
        }
        let (Some(copy), Some(log)) = (self.files.get(&no), self.files.get(&of)) else { return Copy::No };
        let (Some(a), Some(b)) = (&copy.open, &log.open) else { return Copy::No };
        let Ok(size) = identity::look_at(a).map(|l| l.size) else { return Copy::No };
        let same = |end: u64, len: usize| {
            let (x, y) = (identity::bytes_before(a, end, len), identity::bytes_before(b, end, len));
            x.is_ok_and(|x| x.len() as u64 == end.min(len as u64) && y.is_ok_and(|y| x == y))
        };
        if !same(size.min(HEAD as u64), HEAD) || !same(size, PROOF) {
            return Copy::No;
        }
        let quiet = now.tick.since(copy.active);
        let read_there = size <= log.offset;
        let grew = size != copy.size;
        if let Some(copy) = self.files.get_mut(&no) {
            copy.equalled = read_there.then_some(size);
            if grew {
                copy.size = size;
                copy.active = now.tick;
            }
        }
        if !grew && size > 0 && quiet >= COPIED { Copy::Yes } else { Copy::Unsure }
    }

    /// What is in the copy is read in the log.
    pub(super) fn skip_copy(&mut self, no: u64, now: Now) {
        let Some(file) = self.files.get_mut(&no) else { return };
        let max_line = self.sources[file.source].spec.max_line;
        let size = file.size;
        match file.start_at_end(size, max_line) {
            Ok(()) => file.moved = now.wall,
            Err(e) => return self.unreadable(no, &e),
        }
        self.changed.insert(no);
    }

    /// Where the file of identity `id` is now, in the directory it was in.
    fn find(&self, path: &Path, id: FileId) -> Option<PathBuf> {
        let entries = fs::read_dir(path.parent()?).ok()?;
        let same = |p: &PathBuf| self.see(p).is_ok_and(|l| l.id == id && l.is_file());
        entries.filter_map(Result::ok).filter(|e| e.ino() == id.ino).map(|e| e.path()).find(same)
    }

    /// The uncompressed generations of the log at `path`, the newest first.
    fn generations(&self, path: &Path) -> Vec<(PathBuf, Look)> {
        let (Some(dir), Some(base)) = (path.parent(), path.file_name()) else { return vec![] };
        let Ok(entries) = fs::read_dir(dir) else { return vec![] };
        let named = entries.filter_map(Result::ok).filter(|e| is_generation(&e.file_name(), base));
        let mut all: Vec<_> = named
            .take(GENERATIONS)
            .filter_map(|e| self.see(&e.path()).ok().filter(Look::is_file).map(|l| (e.path(), l)))
            .collect();
        all.sort_by_key(|(_, l)| std::cmp::Reverse(l.mtime));
        all
    }

    fn open_as(&self, path: PathBuf) -> Option<(PathBuf, Look, File)> {
        let file = open(&path).ok()?;
        let look = self.believe(identity::look_at(&file).ok().filter(Look::is_file)?);
        Some((path, look, file))
    }

    fn gap(&mut self, source: usize, path: &Path, bytes: Option<u64>, why: &str) {
        self.out.gaps.push(Gap {
            source: self.sources[source].spec.name.clone(),
            file: path.to_string_lossy().into(),
            bytes,
            why: why.into(),
        });
    }
}

/// The instant as a filesystem may have noted it.
fn coarse(at: Wall) -> i64 {
    ns(at) - COARSE.as_nanos() as i64
}

pub(super) fn ns(at: Wall) -> i64 {
    at.0.saturating_mul(1_000_000)
}
