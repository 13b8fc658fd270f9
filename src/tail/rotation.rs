//! Rotation: where the rest of a file is that lost its name or its bytes.
//!
//! Three things happen to a log. It is renamed (the inode goes on under another name), it is copied and cut
//! (`copies`), or it is gone. The first is found by identity, the second by proof: the copy has the very bytes
//! before our position at our position. What neither finds is a gap, told with its size.
//!
//! The surprising fact: the handle of a renamed file must be kept. Programs go on writing to it until somebody tells
//! them to reopen their log, and no event tells of that once it lies in a directory that nobody watches.

use std::path::Path;

use super::done::{Known, SAME};
use super::file::{Standing, Tailed};
use super::handle::Handle;
use super::identity::{self, Bytes, Look};
use super::looking::COARSE;
use super::missing::{TRIES, written};
use super::tailer::Tailer;
use crate::line::{FilePlace, Gap, Place, Recent};
use crate::time::{Now, Wall};

/// A file that was found where no glob leads.
pub(super) struct Found<'a> {
    pub(super) path: &'a Path,
    pub(super) look: &'a Look,
    pub(super) handle: Handle,
}

impl Tailer {
    /// The file's name leads elsewhere or nowhere: from now on only its handle leads to it.
    pub(super) fn unname(&mut self, no: u64, now: Now) {
        let Some(file) = self.files.get(no) else { return };
        let (source, path, id, opened) = (file.source, file.path.clone(), file.id, file.open.is_some());
        let place = file.place();
        let born_after = id.born.map(|b| b.max(coarse(file.seen)));
        self.index.unname(no, &path);
        self.recovered(source, &path);
        let named = self.index.names(no).find(|p| self.see(p).is_ok_and(|l| l.id == id));
        let moved = named.map(|p| p.to_path_buf()).or_else(|| self.find(&path, id));
        if let Some(moved) = &moved {
            self.learn_directory(&path, moved.parent());
        }
        if !opened && let Some((moved, _, handle)) = moved.and_then(|m| self.open_the(&m, id)) {
            self.index.name(no, moved.as_path());
            self.open += 1;
            if let Some(file) = self.files.get_mut(no) {
                file.open = Some(handle);
                file.found_at = Some(moved.into());
            }
        }
        let Some(file) = self.files.get_mut(no) else { return };
        file.standing = Standing::Old;
        self.unnamed.insert((source, path.clone()));
        self.changed.insert(no);
        let Some(handle) = &file.open else {
            let (unread, moved) = (file.unread(), file.moved);
            let unread = unread.max(file.listed.saturating_sub(place.offset));
            if let Some(born) = id.born.filter(|_| place.offset == 0) {
                // Nothing of it was read, so nothing proves its archive; that is as young as its last line.
                let before = self.last_no;
                self.forget(no);
                self.take_generations(source, &path, born, None, now);
                if self.last_no == before && unread > 0 {
                    self.gap(source, &path, Some(unread), "deleted before it was read");
                }
                return;
            }
            // Compressed and unlinked before anybody looked, perhaps.
            let rest =
                (place.proof.len > 0).then(|| self.claim_copy(source, &place, moved, false, now)).flatten();
            if rest.is_none() && unread > 0 {
                self.gap(source, &path, Some(unread), "deleted before it was read");
            }
            self.forget(no);
            if let Some(born) = born_after {
                self.take_generations(source, &path, born, Some(&place), now);
            }
            return;
        };
        file.size = handle.look().map_or(file.size, |l| l.size);
        file.busy.drain_to = file.size;
        file.active = now.tick;
        self.turn += 1;
        file.busy.drain_order = self.turn;
        if let Some(place) = file.queued.take() {
            self.queue.remove(&place);
        }
        self.enqueue(no);
        self.schedule(no, now);
        if let Some(born) = born_after {
            self.take_generations(source, &path, born, Some(&place), now);
        }
    }

    /// The bytes before the position are not ours: the file was cut, or rewritten.
    pub(super) fn lost_place(&mut self, no: u64, now: Now) {
        let look = match self.files.get(no).and_then(|f| f.open.as_ref()).map(|f| self.see_open(f)) {
            Some(Ok(look)) => look,
            Some(Err(e)) => return self.unreadable(no, &e),
            None => return,
        };
        let Some(file) = self.files.get_mut(no) else { return };
        let mut behind = look.mtime;
        let resume = (look.size > 0 && !file.head_differs())
            .then(|| file.open.as_ref().and_then(|f| file.marks.resume(f, look.size)))
            .flatten();
        let (source, path, id, stored) = (file.source, file.path.clone(), file.id, file.from_store);
        let (place, at, unread, held) = (file.place(), file.moved, file.unread(), file.take_waiting());
        if resume.is_none() {
            let copy = self.claim_copy(source, &place, at, stored, now);
            if let Some(copy) = &copy {
                // Whatever is as young as this copy, from now on, is not this copy.
                behind = behind.max(copy.look.mtime + 1);
                let copied_to = self.index.file(source, copy.look.id);
                if let Some(file) = self.files.get_mut(no) {
                    file.copied_to = copied_to;
                }
                self.take_later(source, &path, copy, written(&place, at), now);
            } else {
                // Cut twice, and copied in between: what was written since, and is not known, was never read.
                self.take_written_since(source, &path, Some(id), written(&place, at), now);
                // What was read of a record that was not complete is all there is of it.
                let unread = unread.saturating_sub(held.as_ref().map_or(0, |h| h.bytes.len() as u64));
                self.orphans.extend(held);
                if unread > 0 || stored {
                    let why = if stored {
                        "cut or rewritten while the agent was away"
                    } else {
                        "cut or rewritten before it was read"
                    };
                    // What was written meanwhile was not even seen.
                    self.gap(source, &path, (!stored).then_some(unread), why);
                }
            }
        }
        self.settle_copies(no, now);
        if resume.is_some_and(|r| !r.sure) {
            self.gap(
                source,
                &path,
                None,
                "cut short; what was written behind the cut before it was found is not known",
            );
        }
        let Some(file) = self.files.get_mut(no) else { return };
        let (offset, skipping) = resume.map_or((0, false), |r| (r.offset, r.inside));
        if let Err(e) = file.restart(offset, skipping) {
            return self.unreadable(no, &e);
        }
        file.size = look.size;
        file.active = now.tick;
        file.moved = now.wall;
        file.at_start = look.mtime;
        (file.mtime, file.written) = (look.mtime, behind);
        file.backlog_to = if stored { look.size } else { 0 };
        if file.is_old() {
            // Somebody copied over a rotated file: what stands in it now may be what the live one gave already.
            let live = self.live_at(source, &path);
            if let Some(file) = self.files.get_mut(no) {
                file.busy.copy_of = live;
            }
        }
        // Whatever was claimed is older, and comes first.
        if let Some(place) = self.files.get_mut(no).and_then(|f| f.queued.take()) {
            self.queue.remove(&place);
        }
        self.changed.insert(no);
        self.enqueue(no);
        self.schedule(no, now);
    }

    /// Takes up every generation that was written after `born`: those came and went between two looks. One that
    /// has the bytes of `before` is a copy of it, and begun where that was read to.
    pub(super) fn take_generations(
        &mut self,
        source: usize,
        path: &Path,
        born: i64,
        before: Option<&FilePlace>,
        now: Now,
    ) {
        let live = self.live_at(source, path).and_then(|no| self.files.get(no)).map(Tailed::place);
        for _ in 0..TRIES {
            let mut later = self.all_generations(path, None);
            later.retain(|g| {
                // one tick of the clock may see both born; an archive is younger than its text
                let young =
                    if g.packed { g.look.mtime >= born } else { g.look.id.born.is_some_and(|b| b >= born) };
                young
                    && self.index.file(source, g.look.id).is_none()
                    && !self.saved.contains_key(&self.key(source, g.look.id))
            });
            later.sort_by_key(|g| if g.packed { Some(g.look.mtime) } else { g.look.id.born });
            let mut moved = false;
            for generation in later {
                let Some((at, look, handle)) = self.open_the(&generation.path, generation.look.id) else {
                    moved = true; // compressed since it was listed, most likely
                    continue;
                };
                if live.as_ref().is_some_and(|l| identity::holds(&handle, l.offset, l.proof)) {
                    continue; // a copy of the live one, which claims it when it finds itself cut
                }
                if self.is_of_a_saved_position(source, path, &handle) {
                    continue; // at a start: that claims it, and reads on where it stands
                }
                let copied = before.filter(|b| identity::holds(&handle, b.offset, b.proof));
                let place = match self.known(source, path, &look, &handle) {
                    Known::All => continue,
                    Known::UpTo(place, at) => Some((*place, at)),
                    Known::Nothing => copied.map(|b| (self.behind_held(source, b, &handle), now.wall)),
                };
                let uncut = if place.is_none() { self.uncut(source, path, &look, &handle) } else { None };
                let no = self.take_old(source, Found { path: &at, look: &look, handle }, place, path, now);
                self.await_cut(no, uncut);
            }
            if !moved {
                break;
            }
        }
    }

    /// It holds what was read up to a saved position that nobody has looked for yet.
    fn is_of_a_saved_position(&self, source: usize, path: &Path, handle: &Handle) -> bool {
        let name = &self.sources[source].spec.name;
        self.saved.values().filter(|saved| saved.key.source == *name).any(|saved| match &saved.place {
            Place::File(place) => *place.path == *path && identity::holds(handle, place.offset, place.proof),
            Place::Journal { .. } => false,
        })
    }

    /// Where to begin in a copy of what was read up to `place`: behind what the original, if it is held, still gives.
    fn behind_held(&self, source: usize, place: &FilePlace, copy: &Handle) -> FilePlace {
        let original = |f: &&Tailed| {
            f.is_old() && f.source == source && f.path == place.path && f.offset == place.offset
        };
        let behind = self.files.values().find(original).and_then(|f| {
            let end = f.busy.drain_to;
            let of = |h: &Handle| identity::bytes_before(h, end, SAME).unwrap_or_default();
            let text = of(f.open.as_ref()?);
            (end > place.offset && !text.is_empty() && text == of(copy)).then_some((end, text))
        });
        match behind {
            Some((offset, text)) => {
                let proof = identity::prove(&text[text.len().saturating_sub(identity::PROOF)..]);
                FilePlace {
                    offset,
                    proof,
                    skipping: false,
                    hit_early: vec![],
                    recent: Recent::default(),
                    ..place.clone()
                }
            }
            None => place.clone(),
        }
    }

    /// Reads a file that no glob leads to, under the name that people know.
    pub(super) fn take_old(
        &mut self,
        source: usize,
        found: Found<'_>,
        place: Option<(FilePlace, Wall)>,
        name: &Path,
        now: Now,
    ) -> u64 {
        let Found { path, look, handle } = found;
        let mut old = Tailed::new(source, self.last_no + 1, name.into(), look, now.tick, now.wall);
        match place {
            Some((place, moved)) => {
                old.take_up(place, moved);
                old.path = name.into();
            }
            None => old.unread_since(i64::MIN),
        }
        // An archive's size is not that of its text, which is known only at its end.
        let size = if handle.is_packed() { i64::MAX as u64 } else { look.size };
        old.standing = Standing::Old;
        old.found_at = Some(path.into());
        // An archive is heavy, and opened again when its turn comes.
        if !handle.is_packed() && self.open < self.options.handles / 2 {
            old.open = Some(handle);
            self.open += 1;
        }
        self.turn += 1;
        (old.busy.drain_order, old.busy.drain_to, old.backlog_to) = (self.turn, size, size);
        let no = self.hold(old);
        self.index.name(no, path);
        self.changed.insert(no);
        self.enqueue(no);
        self.schedule(no, now);
        no
    }

    /// What an open file is now.
    pub(super) fn see_open(&self, handle: &Handle) -> std::io::Result<Look> {
        handle.look().map(|look| self.believe(look))
    }

    /// The identity as far as the filesystem is trusted.
    pub(super) fn believe(&self, mut look: Look) -> Look {
        if !self.options.birth_times {
            look.id.born = None;
        }
        if let Some(time) = self.options.file_time {
            look.mtime = time(look.mtime);
            look.id.born = look.id.born.map(time);
        }
        look
    }

    pub(super) fn open_as(&self, path: &Path) -> Option<(Look, Handle)> {
        let handle = Handle::open(path).ok()?;
        let look = self.see_open(&handle).ok().filter(Look::is_file)?;
        // At least one byte can be read, where there is one: an archive may be none.
        handle.some_at(&mut [0], 0).ok()?;
        Some((look, handle))
    }

    pub(super) fn gap(&mut self, source: usize, path: &Path, bytes: Option<u64>, why: &str) {
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
