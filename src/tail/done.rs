//! What was read to its end and let go: files of which nothing more is expected, and what may be made of them.
//!
//! A log is compressed long after it was read, and somebody may give a rotated one its name back. Neither is news, and
//! times do not always say so: an archive is as young as the log's last line, which was written while another file had
//! the name already. So the last few files of each name are remembered by what survives compression: where they
//! ended, the proof of it, and when they were last written. They are saved as positions are, since who compresses does
//! not wait for the agent.
//!
//! The surprising fact: equal bytes at an equal place do not yet make two files one. Programs that write the same
//! lines at each start have many such generations; so the time has to agree as well, or the lines to differ.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::Arc;

use super::file::Tailed;
use super::generation::style;
use super::handle::Handle;
use super::identity::{self, Bytes, FileId, Look, PROOF, no_proof};
use super::missing::KEPT;
use super::resaved::differ;
use super::tailer::Tailer;
use crate::line::{FilePlace, Place, Position, PositionKey, Recent};
use crate::time::{Now, Wall};

/// So many files are remembered in all: what a night's rotation of very many logs leaves, in a few hundred kilobytes.
const DONE: usize = 1024;

/// So many are remembered of one name: those that may be compressed, or held anew, within a few rotations.
const OF_NAME: usize = 8;

/// So much of an archive is compared with a log that may have become it.
pub(super) const SAME: usize = 64 << 10;

/// A file that was let go.
#[derive(Debug)]
struct LetGo {
    source: usize,
    id: FileId,
    place: FilePlace,
    at: Wall,
}

impl LetGo {
    /// It was written under the name `path`, or is what a rotation made of that.
    fn is_of(&self, source: usize, path: &Path) -> bool {
        let own = &self.place.path;
        self.source == source
            && (**own == *path
                || (own.parent() == path.parent()
                    && own.file_name().zip(path.file_name()).is_some_and(|(n, b)| style(n, b).is_some())))
    }

    /// The bytes behind `handle` are its bytes.
    fn is(&self, look: &Look, handle: &Handle) -> bool {
        let FilePlace { offset, proof, mtime, .. } = self.place;
        if self.id.born.is_some() && self.id == look.id {
            return identity::holds(handle, offset, proof);
        }
        // Programs that compress hand the time on, some to the second: that of the last line, or of one before it.
        let second = |ns: i64| ns.div_euclid(1_000_000_000);
        let born = self.id.born.map_or(mtime, |born| born.min(mtime));
        let written_then = || (second(born)..=second(mtime)).contains(&second(look.mtime));
        let telling =
            || identity::bytes_before(handle, offset, PROOF).is_ok_and(|b| b.len() == PROOF && differ(&b));
        // No bytes prove nothing.
        offset > 0
            && handle.is_packed()
            && identity::holds(handle, offset, proof)
            && (written_then() || telling())
    }
}

/// The files that were let go, the last one first.
#[derive(Debug, Default)]
pub(super) struct Done(VecDeque<LetGo>);

impl Done {
    /// Remembers one more; gives back what is too much by now.
    fn add(&mut self, one: LetGo) -> Vec<LetGo> {
        self.0.retain(|d| (d.source, d.id) != (one.source, one.id));
        let same = |d: &LetGo| d.source == one.source && d.place.path == one.place.path;
        let mut of_name = self.0.iter().enumerate().filter(|(_, d)| same(d)).map(|(at, _)| at);
        let oldest = of_name.nth(OF_NAME - 1).and_then(|at| self.0.remove(at));
        let last = if self.0.len() >= DONE { self.0.pop_back() } else { None };
        self.0.push_front(one);
        oldest.into_iter().chain(last).collect()
    }

    /// Numbers of sources have changed: `to[old]` is the new one. Gives back what is of none.
    fn renumber(&mut self, to: &HashMap<usize, usize>) -> VecDeque<LetGo> {
        let (stay, leave) = std::mem::take(&mut self.0).into_iter().partition(|d| to.contains_key(&d.source));
        self.0 = stay;
        self.0.iter_mut().for_each(|d| d.source = to[&d.source]);
        leave
    }

    /// Of each name the file that was written last, and when.
    pub(super) fn newest_of_names(&self) -> HashMap<(usize, Arc<Path>), (i64, FileId)> {
        let mut newest = HashMap::new();
        for d in &self.0 {
            let this = (d.place.mtime, d.id);
            let known = newest.entry((d.source, d.place.path.clone())).or_insert(this);
            *known = this.max(*known);
        }
        newest
    }
}

/// What is known of a file that may be a generation of a log.
#[derive(Debug)]
pub(super) enum Known {
    /// Nothing.
    Nothing,
    /// It was, or is being read.
    All,
    /// It was read up to there, and then let go.
    UpTo(Box<FilePlace>, Wall),
}

impl Tailer {
    /// Takes up what was saved of files that were let go.
    pub(super) fn take_up_done(&mut self, now: Now) {
        let is_done = |p: &Position| matches!(&p.place, Place::File(place) if place.done);
        let keys = self.saved.iter().filter(|(_, p)| is_done(p)).map(|(key, _)| key.clone());
        let mut of_source: Vec<(Wall, PositionKey, usize)> = keys
            .filter_map(|key| {
                let source = self.sources.iter().position(|s| s.spec.name == key.source)?;
                Some((self.saved.get(&key)?.at, key, source))
            })
            .collect();
        of_source.sort();
        for (at, key, source) in of_source {
            let Some(Position { place: Place::File(place), .. }) = self.saved.remove(&key) else { continue };
            match key.file {
                Some(id) if now.wall.since(at) < KEPT => self.remember(LetGo { source, id, place, at }),
                _ => self.out.forgotten.push(key),
            }
        }
    }

    /// Numbers of sources are about to change: `to[old]` is the new one.
    pub(super) fn renumber_done(&mut self, to: &HashMap<usize, usize>) {
        for LetGo { source, id, place, at } in self.done.renumber(to) {
            let key = self.key(source, id);
            self.saved.insert(key.clone(), Position { key, place: Place::File(place), at });
        }
    }

    fn remember(&mut self, one: LetGo) {
        for old in self.done.add(one) {
            if self.index.file(old.source, old.id).is_none() {
                self.out.forgotten.push(self.key(old.source, old.id));
            }
        }
    }

    /// Nothing more is read of the file of this identity, which was read up to `place`.
    pub(super) fn is_done_with(&mut self, source: usize, id: FileId, place: FilePlace, at: Wall) {
        let place = FilePlace {
            head: no_proof(),
            marks: vec![],
            recent: Recent::default(),
            hit_early: vec![],
            rotated: true,
            done: true,
            ..place
        };
        let position = Position { key: self.key(source, id), place: Place::File(place.clone()), at };
        self.out.positions.push(position);
        self.remember(LetGo { source, id, place, at });
    }

    /// Will never be read again.
    pub(super) fn forget(&mut self, no: u64) {
        let Some(file) = self.files.get(no) else { return };
        let (source, id) = (file.source, file.id);
        let done = (file.is_old() && file.offset > 0)
            .then(|| (FilePlace { mtime: file.mtime, ..file.place() }, file.moved));
        self.let_go(no);
        match done {
            Some((place, at)) => self.is_done_with(source, id, place, at),
            None => self.out.forgotten.push(self.key(source, id)),
        }
    }

    /// The place up to which the file of this identity was read before it was let go; it is held again.
    pub(super) fn hold_again(&mut self, source: usize, id: FileId) -> Option<Position> {
        id.born?; // without one, another file may have its number
        let at = self.done.0.iter().position(|d| (d.source, d.id) == (source, id))?;
        let LetGo { place, at, .. } = self.done.0.remove(at)?;
        let place = Place::File(FilePlace { done: false, ..place });
        Some(Position { key: self.key(source, id), place, at })
    }

    /// What is known of what may be a generation of the log at `path`.
    pub(super) fn known(&self, source: usize, path: &Path, look: &Look, handle: &Handle) -> Known {
        let of_name = self.done.0.iter().filter(|d| d.is_of(source, path));
        if let Some(d) = of_name.into_iter().find(|d| d.is(look, handle)) {
            // Who still writes to a rotated file may have done so after we let it go.
            return match handle.some_at(&mut [0], d.place.offset) {
                Ok(0) => Known::All,
                _ => Known::UpTo(Box::new(FilePlace { done: false, ..d.place.clone() }), d.at),
            };
        }
        if handle.is_packed() && self.is_held(source, path, handle) { Known::All } else { Known::Nothing }
    }

    /// It begins as a file that is, or was, at `path` and is held.
    fn is_held(&self, source: usize, path: &Path, archive: &Handle) -> bool {
        let some = |f: &Handle| {
            let mut bytes = vec![0; SAME];
            let n = identity::read_full(f, &mut bytes, 0).unwrap_or(0);
            bytes.truncate(n);
            bytes
        };
        let text = some(archive);
        let of_name = self.files.values().filter(|f| f.source == source && *f.path == *path);
        of_name.filter_map(|f: &Tailed| f.open.as_ref()).any(|f| {
            let known = some(f);
            let n = text.len().min(known.len());
            n > 0 && text[..n] == known[..n]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, ino: u64) -> LetGo {
        let proof = no_proof();
        let place = FilePlace {
            path: Path::new("/var/log").join(name).into(),
            offset: 1,
            size: 1,
            proof,
            head: proof,
            marks: vec![],
            recent: Recent::default(),
            rotated: true,
            done: true,
            mtime: ino as i64,
            skipping: false,
            hit_early: vec![],
        };
        LetGo { source: 0, id: FileId { dev: 1, ino, born: Some(1) }, place, at: Wall(0) }
    }

    /// Lines that do not differ prove no file, and so its time has to: any at which the log may have been looked at by
    /// who rotated it.
    #[test]
    fn an_archive_may_be_older_than_the_last_line_of_its_log_and_not_older_than_the_log() {
        let text = b"alive\n".repeat(100);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log.1.zst");
        std::fs::write(&path, zstd::encode_all(&text[..], 1).unwrap()).unwrap();
        let archive = Handle::open(&path).unwrap();
        let look = archive.look().unwrap();
        let second = |n: i64| n * 1_000_000_000;
        let mut log = one("a.log", 1);
        log.id.born = Some(second(20) + 5);
        let proof = identity::prove(&text[text.len() - PROOF..]);
        log.place = FilePlace { offset: text.len() as u64, proof, mtime: second(23), ..log.place };
        for (time, is) in [(19, false), (20, true), (22, true), (23, true), (24, false)] {
            assert_eq!(log.is(&Look { mtime: second(time), ..look }, &archive), is, "at {time}");
        }
        log.id.born = None;
        for (time, is) in [(22, false), (23, true)] {
            assert_eq!(
                log.is(&Look { mtime: second(time), ..look }, &archive),
                is,
                "at {time}, no birth is known"
            );
        }
    }

    #[test]
    fn a_busy_name_pushes_out_its_own_oldest_only() {
        let mut done = Done::default();
        assert!(done.add(one("quiet.log", 0)).is_empty());
        let out: Vec<u64> = (1..=100).flat_map(|n| done.add(one("busy.log", n))).map(|d| d.id.ino).collect();
        assert_eq!(out, (1..=92).collect::<Vec<u64>>());
        assert_eq!(done.0.len(), 1 + OF_NAME);
        assert!(done.add(one("busy.log", 100)).is_empty(), "it is there already");
    }

    #[test]
    fn very_many_names_push_out_the_oldest_of_all() {
        let mut done = Done::default();
        let out: Vec<u64> =
            (0..2000).flat_map(|n| done.add(one(&format!("{n}.log"), n))).map(|d| d.id.ino).collect();
        assert_eq!(out, (0..2000 - DONE as u64).collect::<Vec<u64>>());
    }

    #[test]
    fn what_a_rotation_made_of_a_name_is_of_that_name() {
        let log = Path::new("/var/log/a.log");
        assert!(one("a.log", 1).is_of(0, log) && one("a.log.1", 1).is_of(0, log));
        assert!(!one("b.log", 1).is_of(0, log) && !one("a.log", 1).is_of(1, log));
    }
}
