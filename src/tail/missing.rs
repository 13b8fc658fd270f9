//! What happened while nobody looked: saved positions whose files no glob leads to any more.
//!
//! A log that was rotated meanwhile lies under another name, in another directory, or in an archive. Its rest is
//! read from there, then every later generation in the order in which they were written, then the log as it stands
//! now. The newest position of a name decides what is later: older ones were watched until it was taken.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::generation::{Generation, Style};
use super::handle::Handle;
use super::identity::{self, FileId};
use super::looking::COARSE;
use super::rotation::{Found, ns};
use super::tailer::Tailer;
use crate::line::{FilePlace, Place, Position};
use crate::time::{Now, Wall};

/// A saved position whose file has not been met for so long is forgotten.
const KEPT: Duration = Duration::from_hours(7 * 24);

/// A log that grew so shortly before the agent ended may have grown while it was away.
const LIVELY: Duration = Duration::from_hours(1);

impl Tailer {
    /// Looks for the files of saved positions that no glob of these sources led to.
    pub(super) fn find_missing(&mut self, sources: &HashSet<usize>, now: Now) {
        let mut missing: Vec<Position> = self.saved.values().cloned().collect();
        if missing.is_empty() {
            return;
        }
        missing.sort_by(|a, b| (a.at, &a.key).cmp(&(b.at, &b.key)));
        let newest = self.newest_of_names(&missing);
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
            let last = newest.get(&(source, place.path.clone())) == Some(&position.at);
            if elsewhere || !self.find_rest(source, id, place, position.at, last, now) {
                self.out.forgotten.push(position.key.clone());
            }
        }
    }

    /// When the newest position of each name was taken, of files that are held or missing.
    fn newest_of_names(&self, missing: &[Position]) -> HashMap<(usize, PathBuf), Wall> {
        let mut newest = HashMap::new();
        let held = self.files.values().filter(|f| f.from_store).map(|f| (f.source, f.path.clone(), f.moved));
        let missed = missing.iter().filter_map(|p| match &p.place {
            Place::File(place) => {
                let source = self.sources.iter().position(|s| s.spec.name == p.key.source)?;
                Some((source, place.path.clone(), p.at))
            }
            Place::Journal { .. } => None,
        });
        for (source, path, at) in held.chain(missed) {
            let known = newest.entry((source, path)).or_insert(at);
            *known = at.max(*known);
        }
        newest
    }

    /// Finds the rest of a file that was rotated while nobody looked; after the `last` one of its name, also what
    /// was written later. `false`: its own position is done with.
    fn find_rest(
        &mut self,
        source: usize,
        id: FileId,
        place: &FilePlace,
        at: Wall,
        last: bool,
        now: Now,
    ) -> bool {
        if let Some(path) = self.find(&place.path, id)
            && let Some((look, handle)) = self.open_as(&path)
        {
            let packed = handle.is_packed();
            let found = Found { path: &path, look: &look, handle };
            self.take_old(source, found, Some((place.clone(), at)), &place.path, now);
            if last {
                let style = path.file_name().zip(place.path.file_name());
                let style = style.and_then(|(n, b)| super::generation::style(n, b)).unwrap_or(Style::Behind);
                // An archive's size is not that of its text: only the time counts here.
                self.take_later(source, &place.path, &Generation { path, look, style, packed }, now);
            }
            return true;
        }
        if self.same_log_resaved(source, id, place, at, now) {
            return false;
        }
        if place.proof.len > 0
            && let Some(found) = self.claim_copy(source, place, at, true, now)
        {
            if last {
                self.take_later(source, &place.path, &found, now);
            }
            return false;
        }
        let unread = place.size.saturating_sub(place.offset);
        let later = last && self.take_written_since(source, &place.path, Some(id), at, now);
        let successor = self.live_at(source, &place.path).and_then(|no| self.files.get(&no));
        let ended = self.sources[source].known_to.unwrap_or(at);
        if later && place.offset == 0 {
            // It is the oldest of those, under whatever name.
        } else if unread > 0 {
            self.gap(source, &place.path, None, "gone since the agent last ran, and not all of it was read");
        } else if last && successor.is_none() && ended.since(at) < LIVELY {
            let why = "gone since the agent last ran; what was written to it meanwhile is not known";
            self.gap(source, &place.path, None, why);
        } else if last && place.offset > 0 && (later || successor.is_some_and(|f| !f.from_store)) {
            let why = "replaced while the agent was away; what was written to it meanwhile is not known";
            self.gap(source, &place.path, None, why);
        }
        false
    }

    /// The file that has the name now carries on the text that was read: an editor saved it, a backup was restored,
    /// or its disk got another number. Goes on in it.
    fn same_log_resaved(&mut self, source: usize, id: FileId, place: &FilePlace, at: Wall, now: Now) -> bool {
        let Some(no) = self.live_at(source, &place.path) else { return false };
        let Some(file) = self.files.get(&no).filter(|f| !f.from_store && f.copy_of.is_none()) else {
            return false;
        };
        // The same file on a disk of another number needs no more than its proof.
        let same_inode = (file.id.ino, file.id.born) == (id.ino, id.born) && id.born.is_some();
        if !self.ensure_open(no, now) {
            return false;
        }
        let Some(file) = self.files.get_mut(&no) else { return false };
        let Some(handle) = &file.open else { return false };
        let Some((offset, skipping)) = super::resaved::carries_on(handle, place, same_inode) else {
            return false;
        };
        let Ok(size) = handle.look().map(|l| l.size) else { return false };
        if offset == place.offset {
            file.take_up(place.clone(), at);
            file.path.clone_from(&place.path);
        } else if file.restart(offset, skipping).is_err() {
            return false;
        }
        file.backlog_to = size;
        self.changed.insert(no);
        self.enqueue(no);
        true
    }

    /// Takes up the generations of the log that were written after `found`, the oldest first.
    pub(super) fn take_later(&mut self, source: usize, path: &Path, found: &Generation, now: Now) {
        let mut all = self.all_generations(path, found.path.parent());
        let young = |g: &Generation| {
            let born = g.look.id.born.zip(found.look.id.born).is_some_and(|(g, f)| g > f);
            found.order(g).is_lt() || (born && !g.packed && !found.packed)
        };
        all.retain(|g| g.path != found.path && g.style == found.style && young(g));
        self.take_all(source, path, all, now);
    }

    /// Takes up the generations of the log that were written since `at`; `true` if there are any.
    pub(super) fn take_written_since(
        &mut self,
        source: usize,
        path: &Path,
        after: Option<FileId>,
        at: Wall,
        now: Now,
    ) -> bool {
        let since = ns(at) - COARSE.as_nanos() as i64;
        let mut all = self.all_generations(path, None);
        all.retain(|g| {
            let older = g.look.id.born.zip(after.and_then(|id| id.born)).is_some_and(|(g, f)| g < f);
            g.style == Style::Behind && g.look.mtime >= since && (g.packed || !older)
        });
        self.take_all(source, path, all, now)
    }

    fn all_generations(&self, path: &Path, elsewhere: Option<&Path>) -> Vec<Generation> {
        let own = path.parent().unwrap_or(Path::new("/"));
        let mut all = self.generations(own, path);
        if let Some(dir) = elsewhere.filter(|d| *d != own) {
            all.extend(self.generations(dir, path));
            all.sort_by(Generation::order);
        }
        all
    }

    fn take_all(&mut self, source: usize, path: &Path, all: Vec<Generation>, now: Now) -> bool {
        let mut any = false;
        let live =
            self.live_at(source, path).and_then(|no| self.files.get(&no)).map(super::file::Tailed::place);
        for one in all {
            if self.index.file(source, one.look.id).is_some()
                || self.saved.contains_key(&self.key(source, one.look.id))
            {
                continue;
            }
            let Ok(handle) = Handle::open(&one.path) else { continue };
            if live.as_ref().is_some_and(|l| identity::holds(&handle, l.offset, l.proof)) {
                continue; // a copy of the live one, which claims it when it finds itself cut
            }
            self.take_old(source, Found { path: &one.path, look: &one.look, handle }, None, path, now);
            any = true;
        }
        any
    }
}
