//! Looking: what the names of a source mean now.
//!
//! One function decides for one name, whoever asks: the sweep, a hint, a pass over the globs. It compares the
//! file that the name leads to with the file that it led to before, and either nothing changed, or bytes came,
//! or the old file lost its name, or a new file has to be begun somewhere.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::archive::is_packed;
use super::file::{Standing, Tailed};
use super::generation::{Style, style};
use super::identity::{self, Look};
use super::missing::written;
use super::rotation::ns;
use super::tailer::Tailer;
use super::troubles::{hint, plain};
use super::{From, Trouble};
use crate::line::Place;
use crate::time::Now;

/// At most so many files are watched; a glob that matches more is a mistake worth telling.
pub(super) const FILES: usize = 32_768;

/// For at most so many names that lead nowhere is looked beside them in one pass.
const NAMELESS: usize = 64;

/// So many handles of files are kept of which nothing has been read yet: of a few logs, a deleted one is still read.
pub(super) const OPEN_IDLE: usize = 32;

/// A file counts as active for this long after bytes were found.
const ACTIVE: Duration = Duration::from_secs(60);

/// How often an active file is looked at when no event tells of it, and a rotated one that may still be written.
pub(super) const CLOSELY: Duration = Duration::from_millis(200);

/// How often a rotated file is looked at when it seems to have gone quiet.
const SELDOM: Duration = Duration::from_secs(2);

/// A rotated file is held so long after its last byte: programs keep writing until they are told to reopen.
const HELD: Duration = Duration::from_secs(600);

/// A deleted file is held so long after its last byte: holding it keeps the disk from being freed.
const HELD_DELETED: Duration = Duration::from_secs(10);

/// By how much a filesystem's clock may lag behind the agent's.
pub(super) const COARSE: Duration = Duration::from_millis(20);

/// The handle of a file with a name is closed when it was quiet for so long.
const IDLE_HANDLE: Duration = Duration::from_secs(600);

impl Tailer {
    /// Walks all globs and looks at every name that is not known yet.
    pub(super) fn discover(&mut self, now: Now) {
        self.names = 0;
        let first = self.sources.iter().any(|s| s.first);
        for n in 0..self.sources.len() {
            let Some(globs) = self.sources[n].globs.take() else { continue };
            let (watch, troubles) = (&mut self.watch, &mut self.out.troubles);
            let found = globs.find(&mut |dir| watch.add(dir, troubles));
            self.sources[n].globs = Some(globs);
            self.sources[n].empty_globs = found.empty;
            self.names += found.looked;
            for (dir, e) in found.unlisted {
                self.trouble(n, &dir, format!("cannot be listed: {}", plain(&e)), hint(&e));
            }
            for path in found.paths {
                if self.live_at(n, &path).is_none() {
                    self.look(n, &path, now);
                }
            }
            self.sources[n].first = false;
        }
        if !first {
            self.look_beside_nothing(now); // at first, what is missing is looked for by its position
        }
        self.glob_at = now.tick + self.glob_period();
        self.passed = now.wall;
    }

    /// A log whose name led nowhere may have been made anew and rotated since the last pass.
    fn look_beside_nothing(&mut self, now: Now) {
        let nameless = self.files.values().filter(|f| f.is_old()).map(|f| (f.source, f.path.clone()));
        let globs = self.sources.iter().enumerate().filter_map(|(n, s)| Some((n, s.globs.as_ref()?)));
        let literal = globs.flat_map(|(n, g)| g.literal().map(move |p| (n, Arc::from(p))));
        let mut names: Vec<(usize, Arc<Path>)> = nameless.chain(literal).collect();
        names.sort();
        names.dedup();
        names.retain(|(source, path)| self.live_at(*source, path).is_none());
        names.truncate(NAMELESS);
        let since = ns(self.passed) - COARSE.as_nanos() as i64;
        for (source, path) in names {
            // What is older than one that is held was met no later than that one, and may be forgotten by now. An
            // archive is younger than its text.
            let of_name = self.files.values().filter(|f| f.source == source && f.path == path);
            let since = of_name.filter(|f| !f.is_archive()).filter_map(|f| f.id.born).fold(since, i64::max);
            self.take_generations(source, &path, since, None, now);
        }
    }

    /// Looks at every name that is known.
    pub(super) fn look_at_all(&mut self, now: Now) {
        let live = self.files.values().filter(|f| !f.is_old());
        let names: Vec<(usize, Arc<Path>)> = live.map(|f| (f.source, f.path.clone())).collect();
        for (source, path) in names {
            self.look(source, &path, now);
        }
        let old: Vec<u64> = self.files.values().filter(|f| f.is_old()).map(|f| f.no).collect();
        for no in old {
            self.enqueue(no);
        }
    }

    /// Something was made, renamed or removed at `path`.
    pub(super) fn name_touched(&mut self, path: &Path, now: Now) {
        let mut ours = false;
        for n in 0..self.sources.len() {
            if self.sources[n].globs.as_ref().is_some_and(|g| g.matches(path)) {
                self.look(n, path, now);
                ours = true;
            }
        }
        for no in self.index.at(path).to_vec() {
            match self.files.get(no) {
                Some(f) if f.is_old() => self.enqueue(no),
                Some(f) if *f.path != *path => {
                    let (source, path) = (f.source, f.path.clone());
                    self.look(source, &path, now);
                }
                _ => continue,
            }
            ours = true;
        }
        if ours {
            return;
        }
        match self.see(path) {
            // A file that was rotated to this name is heard by it from now on.
            Ok(look) if look.is_file() => {
                for n in 0..self.sources.len() {
                    if let Some(no) = self.index.file(n, look.id) {
                        self.index.name(no, path);
                        self.enqueue(no);
                    } else if let Some(log) = self.log_of(n, path) {
                        let born = look.id.born.unwrap_or(look.mtime);
                        self.take_generations(n, &log, born.min(look.mtime), None, now);
                    }
                }
            }
            Ok(_) => self.glob_at = now.tick,
            Err(_) if self.watch.knows(path) => self.glob_at = now.tick,
            Err(_) => {}
        }
    }

    /// The log whose generation is at `path`, if its own name leads nowhere: it was made and rotated before anybody
    /// looked.
    fn log_of(&self, source: usize, path: &Path) -> Option<PathBuf> {
        use std::os::unix::ffi::OsStrExt;
        let name = path.file_name()?;
        let globs = self.sources[source].globs.as_ref()?;
        let bases = (1..name.len()).rev().map(|len| std::ffi::OsStr::from_bytes(&name.as_bytes()[..len]));
        let logs = bases.filter(|b| style(name, b) == Some(Style::Behind)).map(|b| path.with_file_name(b));
        let mut asked = logs.filter(|l| globs.matches(l));
        asked.find(|l| self.live_at(source, l).is_none() && std::fs::symlink_metadata(l).is_err())
    }

    /// What `path` leads to.
    pub(super) fn see(&self, path: &Path) -> io::Result<Look> {
        identity::look(path).map(|look| self.believe(look))
    }

    /// The file that `path` led to when it was last looked at.
    pub(super) fn live_at(&self, source: usize, path: &Path) -> Option<u64> {
        let here = |no: &&u64| {
            self.files.get(**no).is_some_and(|f| f.source == source && !f.is_old() && *f.path == *path)
        };
        self.index.at(path).iter().find(here).copied()
    }

    /// Looks at one name of one source; the heart of it all.
    pub(super) fn look(&mut self, source: usize, path: &Path, now: Now) {
        let here = self.live_at(source, path);
        let look = match self.see(path) {
            Ok(look) => match identity::no_log(path, &look) {
                None => look,
                Some(what) => {
                    self.lose_name(here, now);
                    return self.passed_over(source, path, what, look.kind);
                }
            },
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                self.recovered(source, path);
                return self.lose_name(here, now);
            }
            Err(e) => return self.trouble(source, path, format!("cannot be read: {}", plain(&e)), hint(&e)),
        };
        self.is_a_log(source, path);
        match self.index.file(source, look.id) {
            Some(no) if Some(no) == here => self.seen(no, &look, now),
            Some(no) => {
                self.lose_name(here, now);
                if is_packed(path) {
                    self.index.name(no, path);
                } else {
                    self.renamed(no, path, &look, now);
                }
            }
            None if here.is_some_and(|no| self.resaved(no, now)) => {}
            None => {
                self.lose_name(here, now);
                // An archive is the past of a log: read only as the generation that it was.
                if !is_packed(path) {
                    self.adopt(source, path, &look, now);
                }
            }
        }
    }

    fn lose_name(&mut self, no: Option<u64>, now: Now) {
        if let Some(no) = no {
            self.unname(no, now);
        }
    }

    /// The file still has its name; are there new bytes?
    fn seen(&mut self, no: u64, look: &Look, now: Now) {
        let Some(file) = self.files.get_mut(no) else { return };
        file.seen = now.wall;
        // The size is left to the read, which alone can tell old bytes from those of a rewritten file.
        let changed = (look.size, look.mtime) != (file.size, file.mtime);
        file.mtime = look.mtime;
        file.listed = look.size;
        if changed || (file.open.is_none() && self.troubled.contains_key(&(file.source, file.path.clone()))) {
            self.enqueue(no);
            self.open_early(no, look, now);
        }
    }

    /// A known file is found under another name: its own has moved, or it has two.
    pub(super) fn renamed(&mut self, no: u64, path: &Path, look: &Look, now: Now) {
        let Some(file) = self.files.get(no) else { return };
        let own = file.path.clone();
        let two_names = !file.is_old() && *own != *path && self.see(&own).is_ok_and(|l| l.id == look.id);
        self.index.name(no, path);
        let Some(file) = self.files.get_mut(no).filter(|_| !two_names) else { return };
        if *own != *path {
            self.index.unname(no, &own);
            file.path = path.into();
            file.was = Some(own);
            self.turn += 1;
            file.busy.drain_order = self.turn;
        }
        file.standing = Standing::Live;
        file.seen = now.wall;
        self.changed.insert(no);
        self.enqueue(no);
    }

    /// A file that is not known: where is it begun?
    fn adopt(&mut self, source: usize, path: &Path, look: &Look, now: Now) {
        if self.files.len() >= FILES {
            if !self.full {
                self.full = true;
                let hint = "narrow the globs of `files`, or leave rotated files out with `exclude_files`";
                let what = format!("more than {FILES} files match; this one and further ones are not read");
                let name = self.sources[source].spec.name.clone();
                self.out.troubles.push(Trouble::new(Some(name), path, what, Some(hint.into())));
            }
            return;
        }
        let first = self.sources[source].first;
        let saved = self.saved.remove(&self.key(source, look.id));
        let saved = saved.or_else(|| self.hold_again(source, look.id)).map(|p| (p.place, p.at));
        let name: Arc<Path> = match &saved {
            Some((Place::File(place), _)) if *place.path == *path => Arc::clone(&place.path),
            _ => path.into(),
        };
        let file = Tailed::new(source, self.last_no + 1, Arc::clone(&name), look, now.tick, now.wall);
        let no = self.hold(file);
        self.index.name(no, name);
        let real = if path.is_symlink() { path.canonicalize().ok() } else { None };
        if let Some(real) = &real {
            self.index.name(no, real.as_path());
            self.watch.add(real.parent().unwrap_or(real), &mut self.out.troubles);
        }
        let blind = !self.watch.sees(real.as_deref().unwrap_or(path).parent().unwrap_or(path));
        let at_end = first && self.begins_at_end(source, path, look);
        let copy_of = self.copied_from(source, path);
        let max_line = self.sources[source].spec.max_line;
        let encoding = self.sources[source].spec.encoding.0;
        let since = if first { self.sources[source].unmet_since() } else { Some(ns(self.passed)) };
        let since = since.map(|ns| ns - COARSE.as_nanos() as i64);
        let Some(file) = self.files.get_mut(no) else { return };
        file.blind = blind;
        let mut as_saved = false;
        if let Some((Place::File(place), at)) = saved {
            // It held nothing, so it proves nothing: a copy of what was written since may lie beside it.
            let was_empty = place.offset == 0 && first;
            let since = written(&place, at);
            // Twenty thousand positions that say what was saved are not saved again.
            as_saved = *place.path == *path && !place.rotated;
            file.take_up(place, at);
            file.backlog_to = look.size;
            if was_empty {
                self.empty.push((source, path.to_path_buf(), since));
            }
        } else if at_end {
            if self.ensure_open(no, now) {
                let Some(file) = self.files.get_mut(no) else { return };
                if let Err(e) = file.start_at_end(look.size, max_line, encoding) {
                    self.unreadable(no, &e);
                }
                self.close_beyond(no, OPEN_IDLE);
            } else if let Some(file) = self.files.get_mut(no) {
                file.offset = look.size;
            }
        } else {
            file.backlog_to = if first || self.thawed { look.size } else { 0 };
            file.busy.copy_of = copy_of;
            file.unread_since(since.unwrap_or(i64::MAX));
            self.open_early(no, look, now);
        }
        if !as_saved {
            self.changed.insert(no);
        }
        let Some(file) = self.files.get(no) else { return };
        // A log that was made and rotated between two looks has generations that were never met.
        let unmet = if first { !self.sources[source].known_paths.contains(path) } else { blind };
        // Where a file lost this name just now, its own successors have been looked for already.
        let first_of_name = !self.unnamed.contains(&(source, path.into()));
        if unmet
            && first_of_name
            && !file.from_store
            && !at_end
            && file.busy.copy_of.is_none()
            && let Some(since) = since.filter(|_| look.id.born.is_some())
        {
            self.take_generations(source, path, since, None, now);
        }
        let Some(file) = self.files.get(no) else { return };
        if file.from_store || look.size > file.offset {
            self.enqueue(no);
        }
        self.schedule(no, now);
    }

    /// Whether a file that a source meets for the first time is begun at its end: it was there before, and no
    /// saved position says that it is the next generation of something that was read.
    fn begins_at_end(&self, source: usize, path: &Path, look: &Look) -> bool {
        let source = &self.sources[source];
        // Birth times come from a clock that lags by up to a tick of the kernel.
        let born = look.id.born.map(|ns| ns.saturating_add(COARSE.as_nanos() as i64));
        let new = source.known_paths.contains(path)
            || source.unmet_since().zip(born).is_some_and(|(since, born)| born >= since);
        source.spec.from == From::End && !new
    }

    /// Takes a file into the books.
    pub(super) fn hold(&mut self, file: Tailed) -> u64 {
        let no = file.no;
        self.last_no = self.last_no.max(no);
        self.index.add(file.source, file.id, no);
        self.files.insert(file);
        no
    }

    /// The file's own timer rang.
    pub(super) fn timer(&mut self, no: u64, now: Now) {
        let Some(file) = self.files.get(no) else { return };
        let look = match (&file.open, &file.found_at) {
            (Some(open), _) if file.is_old() => self.see_open(open).ok(),
            (None, Some(found)) if file.is_old() => self.see(found).ok().filter(|l| l.id == file.id),
            _ => None,
        };
        // Closed for want of handles, and by now at another place than it was found at.
        let astray = file.is_old() && file.open.is_none() && file.found_at.is_some() && look.is_none();
        let Some(file) = self.files.get_mut(no) else { return };
        let quiet = now.tick.since(file.active);
        let due = file.idle_due().is_some_and(|at| at <= now.tick);
        if due || astray || file.busy.copy_of.is_some() {
            self.enqueue(no);
        } else if file.is_old() {
            let changed = look.is_some_and(|l| (l.size, l.mtime) != (file.size, file.mtime));
            file.mtime = look.map_or(file.mtime, |l| l.mtime);
            let held = match look {
                // An archive does not change, and holds the memory of its decoder.
                Some(look) if look.links > 0 && !file.is_archive() => HELD,
                _ => HELD_DELETED,
            };
            if changed {
                self.enqueue(no);
            } else if file.queued.is_none() && quiet >= held {
                return self.forget(no);
            }
        } else if file.blind && quiet < ACTIVE {
            let (source, path) = (file.source, file.path.clone());
            self.look(source, &path, now);
        } else if file.open.is_some() && file.queued.is_none() && quiet >= IDLE_HANDLE {
            self.open -= usize::from(file.close());
        }
        self.schedule(no, now);
    }

    /// Sets the file's timer for whatever it needs next.
    pub(super) fn schedule(&mut self, no: u64, now: Now) {
        let Some(file) = self.files.get(no) else { return };
        let quiet = now.tick.since(file.active);
        let poll = if file.is_old() || file.busy.copy_of.is_some() {
            Some(now.tick + if quiet < ACTIVE { CLOSELY } else { SELDOM })
        } else if file.blind && quiet < ACTIVE {
            Some(now.tick + CLOSELY)
        } else if file.open.is_some() {
            Some((file.active + IDLE_HANDLE).max(now.tick + CLOSELY))
        } else {
            None
        };
        // A line that is idle by now waits for its turn to be read, not for a timer.
        let idle = file.idle_due().filter(|&at| at > now.tick);
        if let Some(at) = [poll, idle].into_iter().flatten().min() {
            self.ring_at(no, at);
        }
    }
}
