//! What happened while nobody looked: saved positions whose files no glob leads to any more.
//!
//! A log that was rotated meanwhile lies under another name, in another directory, or in an archive. Its rest is
//! read from there, then every later generation in the order in which they were written, then the log as it stands
//! now. The newest position of a name decides what is later: older ones were watched until it was taken.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::done::Known;
use super::generation::{Generation, Style};
use super::identity::{self, FileId};
use super::looking::COARSE;
use super::rotation::{Found, ns};
use super::tailer::Tailer;
use crate::line::{FilePlace, Place, Position};
use crate::time::{Now, Wall};

/// A saved position whose file has not been met for so long is forgotten.
pub(super) const KEPT: Duration = Duration::from_hours(7 * 24);

/// A log that grew so shortly before the agent ended may have grown while it was away.
const LIVELY: Duration = Duration::from_hours(1);

/// So often is listed anew when something was renamed or compressed meanwhile.
pub(super) const TRIES: usize = 4;

/// Why a file is lost.
const NOT_ALL: &str = "gone since the agent last ran, and not all of it was read";

/// When the file had last been written as far as its position knows, in nanoseconds.
pub(super) fn written(place: &FilePlace, at: Wall) -> i64 {
    if place.mtime > 0 { place.mtime } else { ns(at) - COARSE.as_nanos() as i64 }
}

/// What is still to be done about a saved position, once the rest of every file has been looked for.
enum Then {
    /// Its file was found: what was written after that.
    Later(usize, PathBuf, Generation, i64),
    /// It was not; and whether it is the newest of its name.
    Lost(usize, FileId, Box<FilePlace>, Wall, bool),
}

impl Tailer {
    /// Looks for the files of saved positions that no glob of these sources led to.
    pub(super) fn find_missing(&mut self, sources: &HashSet<usize>, now: Now) {
        let mut missing: Vec<Position> = self.saved.values().cloned().collect();
        missing.sort_by_key(|p| (p.at, p.key.file.and_then(|id| id.born), p.key.clone()));
        let newest = self.newest_of_names(&missing);
        let mut let_go = self.done.newest_of_names();
        let_go.retain(|name, _| sources.contains(&name.0) && !newest.contains_key(name));
        let mut then = vec![];
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
            let last = newest.get(&(source, place.path.clone())) == Some(&id);
            let (kept, more) =
                if elsewhere { (false, None) } else { self.find_rest(source, id, place, position.at, now) };
            // not before: whatever is met meanwhile may be what this claims
            self.saved.remove(&position.key);
            match &more {
                // Also where nothing was read of it: what is written under its name later has to be looked for.
                Some(Then::Lost(source, id, place, at, _)) => {
                    self.is_done_with(*source, *id, (**place).clone(), *at);
                }
                _ if !kept => self.out.forgotten.push(position.key.clone()),
                _ => {}
            }
            match more {
                Some(Then::Lost(source, id, place, at, _)) => {
                    then.push(Then::Lost(source, id, place, at, last));
                }
                more => then.extend(more.filter(|_| last)),
            }
        }
        for more in then {
            match more {
                Then::Later(source, path, found, since) => self.take_later(source, &path, &found, since, now),
                Then::Lost(source, _, place, at, false) => self.lost_older(source, &place, at, now),
                Then::Lost(source, id, place, at, true) => self.lost_file(source, id, &place, at, now),
            }
        }
        for ((source, path), (since, id)) in let_go {
            self.take_written_since(source, &path, Some(id), since, now);
        }
        for (source, path, since) in std::mem::take(&mut self.empty) {
            self.take_written_since(source, &path, None, since, now);
        }
    }

    /// The file whose position of each name was taken last, of files that are held or missing.
    fn newest_of_names(&self, missing: &[Position]) -> HashMap<(usize, Arc<Path>), FileId> {
        // What had its name is newer than what had lost it.
        let held = self.files.values().filter(|f| f.from_store);
        let held = held.map(|f| ((f.source, f.path.clone()), (!f.is_old(), f.moved, f.id.born, f.id)));
        let missed = missing.iter().filter_map(|p| match &p.place {
            Place::File(place) => {
                let source = self.sources.iter().position(|s| s.spec.name == p.key.source)?;
                let id = p.key.file?;
                Some(((source, place.path.clone()), (!place.rotated, p.at, id.born, id)))
            }
            Place::Journal { .. } => None,
        });
        let mut newest = HashMap::new();
        for (name, this) in held.chain(missed) {
            let known = newest.entry(name).or_insert(this);
            *known = this.max(*known);
        }
        newest.into_iter().map(|(name, (.., id))| (name, id)).collect()
    }

    /// Finds the rest of a file that was rotated while nobody looked, and says what comes after it. `false`: its own
    /// position is done with.
    fn find_rest(
        &mut self,
        source: usize,
        id: FileId,
        place: &FilePlace,
        at: Wall,
        now: Now,
    ) -> (bool, Option<Then>) {
        let name = &place.path;
        if let Some(path) = self.find(name, id)
            && let Some((path, look, handle)) = self.open_the(&path, id)
        {
            self.learn_directory(name, path.parent());
            let packed = handle.is_packed();
            let found = Found { path: &path, look: &look, handle };
            self.take_old(source, found, Some((place.clone(), at)), name, now);
            let style = path.file_name().zip(name.file_name());
            let style = style.and_then(|(n, b)| super::generation::style(n, b)).unwrap_or(Style::Behind);
            let found = Generation { path, look, style, packed };
            return (true, Some(Then::Later(source, name.to_path_buf(), found, written(place, at))));
        }
        if self.same_log_resaved(source, id, place, at, now) {
            return (false, None);
        }
        if place.proof.len > 0
            && let Some(found) = self.claim_copy(source, place, at, true, now)
        {
            if !found.packed {
                let why =
                    "gone since the agent last ran; what was written to it after it was copied is not known";
                self.gap(source, name, None, why);
            }
            return (false, Some(Then::Later(source, name.to_path_buf(), found, written(place, at))));
        }
        (false, Some(Then::Lost(source, id, Box::new(place.clone()), at, false)))
    }

    /// Nothing of the file is left, neither as itself nor as a copy: reads what came after it, and tells the gap.
    fn lost_file(&mut self, source: usize, id: FileId, place: &FilePlace, at: Wall, now: Now) {
        // Nothing says where its generations are.
        for dir in place.path.parent().map(|own| self.near(own)).unwrap_or_default() {
            if !self.generations(&dir, &place.path).is_empty() {
                self.learn_directory(&place.path, Some(&dir));
            }
        }
        let later = self.take_written_since(source, &place.path, Some(id), written(place, at), now);
        let successor = self.live_at(source, &place.path).and_then(|no| self.files.get(no));
        let ended = self.sources[source].known_to.unwrap_or(at);
        let why = if later == Some(true) && place.offset == 0 {
            return; // the oldest archive of those is this file: it proves nothing, for nothing was read of it
        } else if place.size > place.offset {
            NOT_ALL
        } else if later.is_some() || successor.is_some_and(|f| !f.from_store) {
            "replaced while the agent was away; what was written to it meanwhile is not known"
        } else if successor.is_none() && ended.since(at) < LIVELY {
            "gone since the agent last ran; what was written to it meanwhile is not known"
        } else {
            return;
        };
        self.gap(source, &place.path, None, why);
    }

    /// The same of a file that had lost its name before the agent ended: what came after it is known by positions of its
    /// own. One of which nothing was read proves nothing; the oldest archive that nobody else claims is made of it.
    fn lost_older(&mut self, source: usize, place: &FilePlace, at: Wall, now: Now) {
        let unread = place.size > place.offset;
        if place.offset > 0 && !unread {
            return;
        }
        let asked = |g: &Generation| g.packed && g.look.mtime >= written(place, at);
        let most = usize::from(place.offset == 0);
        if self.take_all(source, &place.path, None, &asked, most, now).is_none() && unread {
            self.gap(source, &place.path, None, NOT_ALL);
        }
    }

    /// The file that has the name now carries on the text that was read: an editor saved it, a backup was restored,
    /// or its disk got another number. Goes on in it.
    fn same_log_resaved(&mut self, source: usize, id: FileId, place: &FilePlace, at: Wall, now: Now) -> bool {
        let Some(no) = self.live_at(source, &place.path) else { return false };
        let Some(file) = self.files.get(no).filter(|f| !f.from_store && f.busy.copy_of.is_none()) else {
            return false;
        };
        // The same file on a disk of another number needs no more than its proof.
        let same_inode = (file.id.ino, file.id.born) == (id.ino, id.born) && id.born.is_some();
        if !self.ensure_open(no, now) {
            return false;
        }
        let Some(file) = self.files.get_mut(no) else { return false };
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

    /// Takes up the generations of the log that were written after `found`, the oldest first. It was last seen under the
    /// log's name when it had been written at `since` (nanoseconds): who still writes to a rotated file does not make
    /// it younger than the next one.
    pub(super) fn take_later(
        &mut self,
        source: usize,
        path: &Path,
        found: &Generation,
        since: i64,
        now: Now,
    ) {
        let young = |g: &Generation| {
            let born = g.look.id.born.zip(found.look.id.born).map(|(g, f)| g > f);
            let plain = !g.packed && !found.packed;
            if plain { born.unwrap_or(found.order(g).is_lt()) } else { g.look.mtime > since }
        };
        let asked = |g: &Generation| g.look.id != found.look.id && g.style == found.style && young(g);
        self.take_all(source, path, found.path.parent(), &asked, usize::MAX, now);
    }

    /// Takes up the generations of the log that were written at `since` (nanoseconds) or later. A copy may carry the time
    /// of the log's last line, not that of its making. They are younger than `after`, if that is given. Whether
    /// there are any, and if so whether the oldest is an archive.
    pub(super) fn take_written_since(
        &mut self,
        source: usize,
        path: &Path,
        after: Option<FileId>,
        since: i64,
        now: Now,
    ) -> Option<bool> {
        let asked = |g: &Generation| {
            let older = g.look.id.born.zip(after.and_then(|id| id.born)).is_some_and(|(g, f)| g < f);
            g.style == Style::Behind && g.look.mtime >= since && (g.packed || !older)
        };
        self.take_all(source, path, None, &asked, usize::MAX, now)
    }

    /// Takes up those of the generations that `asked` asks for and that nobody knows, the oldest first. Tells whether
    /// there are any, and if so whether the oldest is an archive.
    fn take_all(
        &mut self,
        source: usize,
        path: &Path,
        found: Option<&Path>,
        asked: &dyn Fn(&Generation) -> bool,
        most: usize,
        now: Now,
    ) -> Option<bool> {
        let mut taken: Vec<Generation> = vec![];
        let live =
            self.live_at(source, path).and_then(|no| self.files.get(no)).map(super::file::Tailed::place);
        for _ in 0..TRIES {
            let mut all = self.all_generations(path, found);
            all.retain(|g| {
                asked(g)
                    && self.index.file(source, g.look.id).is_none()
                    && !self.saved.contains_key(&self.key(source, g.look.id))
            });
            let mut moved = false;
            for one in all {
                // what is known already takes nobody's place
                if taken.len() >= most {
                    break;
                }
                let Some((at, look, handle)) = self.open_the(&one.path, one.look.id) else {
                    moved = true; // compressed since it was listed, most likely
                    continue;
                };
                if live.as_ref().is_some_and(|l| identity::holds(&handle, l.offset, l.proof)) {
                    continue; // a copy of the live one, which claims it when it finds itself cut
                }
                let place = match self.known(source, path, &look, &handle) {
                    Known::All => continue,
                    Known::UpTo(place, at) => Some((*place, at)),
                    Known::Nothing => None,
                };
                let uncut = if place.is_none() { self.uncut(source, path, &look, &handle) } else { None };
                let no = self.take_old(source, Found { path: &at, look: &look, handle }, place, path, now);
                self.await_cut(no, uncut);
                taken.push(one);
            }
            if !moved {
                break;
            }
        }
        // A late writer makes a generation look younger than it is; its name does not.
        taken.iter().min_by(|a, b| a.by_name(b).then_with(|| a.order(b))).map(|g| g.packed)
    }
}
