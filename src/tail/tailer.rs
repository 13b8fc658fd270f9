//! The tailer: what is due, what is ready, and one quantum at a time.
//!
//! Three lists drive a step: hints from the bell, timers (one a file), and the queue of files to be read. The
//! queue gives rotated files their known rest first, whole and in the order of their birth, so that a log's
//! generations are matched in the order in which they were written; everything else takes turns.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::assemble::{Assembly, Recipe};
use super::bell::{Bell, Touch};
use super::discover::Globs;
use super::done::Done;
use super::file::{Orphan, Tailed};
use super::files::Files;
use super::identity::FileId;
use super::index::Index;
use super::journal::Journal;
use super::listing::Listings;
use super::reading::OPEN;
use super::rotation::ns;
use super::stdin::Stdin;
use super::watch::Watch;
use super::{Input, SourceSpec, Step, Trouble};
use crate::line::{Block, Place, Position, PositionKey};
use crate::time::{Now, Tick, Wall};

/// A step without a look for this long beyond what was asked means that the machine or the agent stood still.
const FROZEN: Duration = Duration::from_secs(30);

/// So many files are looked at together by the sweep: under a millisecond.
const SWEEP_FILES: usize = 256;

/// What looking at one file costs.
const LOOK: Duration = Duration::from_micros(3);

/// An agent that is killed may have met a file so long ago and not have kept its position: a second until the next
/// commit, and what a slow disk adds. Judging by the newest position alone would take such a file for one that was
/// there long before, and begin at its end.
const UNKEPT: Duration = Duration::from_secs(60);

/// Where nothing is watched, what is new is found within a second, the pass itself included.
const UNWATCHED: Duration = Duration::from_millis(900);

/// A full pass over the globs is made at least this seldom while nothing overflows.
const GLOB_EVERY: Duration = Duration::from_secs(10);

/// A step gives out at most so many positions: of very many files they would fill every stage behind.
const POSITIONS: usize = 1024;

/// How the tailer finds its surroundings.
#[derive(Clone, Debug)]
pub struct TailOptions {
    /// Use inotify. Without it changes are found by looking, within a second.
    pub inotify: bool,
    /// Trust the filesystem's birth times. Off only in tests of filesystems that have none.
    pub birth_times: bool,
    /// What a time that the filesystem noted, in nanoseconds since the epoch, is by the clock of [`Now`]. Set only in
    /// tests whose clock is their own.
    pub file_time: Option<fn(i64) -> i64>,
    /// The program that reads the journal.
    pub journalctl: PathBuf,
    /// At most so many files are held open: one that is written to and finds no room among them is opened for each read.
    pub handles: usize,
    /// What stands for standard input; the process's own where there is none.
    pub stdin: Option<Arc<OwnedFd>>,
}

impl Default for TailOptions {
    fn default() -> TailOptions {
        TailOptions {
            inotify: true,
            birth_times: true,
            file_time: None,
            journalctl: PathBuf::from("journalctl"),
            handles: OPEN,
            stdin: None,
        }
    }
}

/// A source at work.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) spec: SourceSpec,
    pub(super) globs: Option<Globs>,
    pub(super) journal: Option<Journal>,
    pub(super) stdin: Option<Stdin>,
    /// Its files have not been met yet: `from` applies to what is found.
    pub(super) first: bool,
    /// When its newest saved position moved: a file born since is new.
    pub(super) known_to: Option<Wall>,
    /// Paths that saved positions had: another file there is their next generation.
    pub(super) known_paths: HashSet<Arc<Path>>,
    pub(super) empty_globs: Vec<String>,
    /// How its lines become records.
    pub(super) recipe: Recipe,
}

impl Source {
    /// Nanoseconds: a file born since then may never have been met, or its position not kept, when the agent last ended.
    pub(super) fn unmet_since(&self) -> Option<i64> {
        self.known_to.map(|at| ns(Wall(at.0.saturating_sub(UNKEPT.as_millis() as i64))))
    }
}

/// Reads all sources; see the module's essay.
#[derive(Debug)]
pub struct Tailer {
    pub(super) options: TailOptions,
    pub(super) bell: Bell,
    pub(super) watch: Watch,
    pub(super) sources: Vec<Source>,
    /// Saved positions of files that are not held.
    pub(super) saved: HashMap<PositionKey, Position>,
    pub(super) files: Files,
    pub(super) index: Index,
    pub(super) queue: BTreeMap<(u8, u64), u64>,
    pub(super) timers: BTreeSet<(Tick, u64)>,
    pub(super) changed: BTreeSet<u64>,
    pub(super) troubled: HashMap<(usize, Arc<Path>), Trouble>,
    pub(super) out: Step,
    pub(super) buf: Vec<u8>,
    pub(super) side: Vec<u8>,
    pub(super) assembly: Assembly,
    /// What is left of files that were cut.
    pub(super) orphans: Vec<Orphan>,
    /// Files of which nothing had been read when the agent ended, and when they had been written.
    pub(super) empty: Vec<(usize, PathBuf, i64)>,
    /// Directories in which rotated files of the logs of a directory were found.
    pub(super) elsewhere: HashMap<PathBuf, Vec<PathBuf>>,
    pub(super) listings: Listings,
    /// Files that were read to their end and let go.
    pub(super) done: Done,
    pub(super) open: usize,
    pub(super) last_no: u64,
    pub(super) full: bool,
    /// Everything that is found in this step came during a standstill.
    pub(super) thawed: bool,
    pub(super) turn: u64,
    /// Names that led elsewhere until this step.
    pub(super) unnamed: HashSet<(usize, Arc<Path>)>,
    sweep_at: Tick,
    sweep_from: u64,
    pub(super) glob_at: Tick,
    /// When the last pass over the globs was made.
    pub(super) passed: Wall,
    /// Names that the last pass over the globs looked at.
    pub(super) names: usize,
    last: Tick,
    promised: Duration,
}

impl Tailer {
    /// Finds the files of `specs` and takes up their `saved` positions; the first step tells of both.
    ///
    /// Nothing is read yet. Hints and wakes come through `bell`.
    pub fn new(
        specs: Vec<SourceSpec>,
        saved: Vec<Position>,
        bell: Bell,
        options: TailOptions,
        now: Now,
    ) -> Tailer {
        let mut out = Step::default();
        let watch = if options.inotify { Watch::new(bell.clone(), &mut out.troubles) } else { Watch::off() };
        let mut tailer = Tailer {
            bell,
            watch,
            sources: vec![],
            saved: saved.into_iter().map(|p| (p.key.clone(), p)).collect(),
            files: Files::default(),
            index: Index::default(),
            queue: BTreeMap::new(),
            timers: BTreeSet::new(),
            changed: BTreeSet::new(),
            troubled: HashMap::new(),
            out,
            buf: vec![],
            side: vec![],
            assembly: Assembly::default(),
            orphans: vec![],
            done: Done::default(),
            empty: vec![],
            elsewhere: HashMap::new(),
            listings: Listings::default(),
            open: 0,
            last_no: 0,
            full: false,
            thawed: false,
            turn: 0,
            unnamed: HashSet::new(),
            sweep_at: now.tick,
            sweep_from: 0,
            glob_at: now.tick,
            passed: now.wall,
            names: 0,
            last: now.tick,
            promised: Duration::ZERO,
            options,
        };
        tailer.sources = specs.into_iter().map(|s| tailer.source(s, true, now)).collect();
        tailer.take_up_done(now);
        tailer.discover(now);
        tailer.find_missing(&(0..tailer.sources.len()).collect(), now);
        tailer.forget_met();
        tailer
    }

    fn source(&mut self, spec: SourceSpec, at_start: bool, now: Now) -> Source {
        let mine = || self.saved.values().filter(|p| p.key.source == spec.name);
        // A position from the future was taken by a clock that was wrong: then births tell how old it is at least.
        let moved = |p: &Position| {
            let born = p.key.file.and_then(|id| id.born).map(|ns| Wall(ns / 1_000_000));
            if p.at <= now.wall { Some(p.at) } else { born.filter(|b| *b <= now.wall) }
        };
        let known_to = if at_start { mine().filter_map(moved).max() } else { None };
        let path = |p: &Position| match &p.place {
            Place::File(place) => Some(place.path.clone()),
            Place::Journal { .. } => None,
        };
        let known_paths = mine().filter_map(path).collect();
        let (mut globs, mut journal, mut stdin) = (None, None, None);
        match &spec.input {
            Input::Files { globs: asked, exclude } => globs = Some(Globs::new(asked, exclude)),
            Input::Stdin => stdin = Some(Stdin::new(&spec, self.options.stdin.as_ref())),
            Input::Journal { unit } => {
                let key = PositionKey { source: Arc::clone(&spec.name), file: None };
                let program = self.options.journalctl.clone();
                journal = Some(Journal::new(&spec, program, unit.clone(), self.saved.get(&key).cloned()));
            }
        }
        let recipe = Recipe::of(&spec);
        Source {
            spec,
            globs,
            journal,
            stdin,
            first: true,
            known_to,
            known_paths,
            empty_globs: vec![],
            recipe,
        }
    }

    /// Of what was saved, only what was not met is still needed.
    fn forget_met(&mut self) {
        self.saved.shrink_to_fit();
        for n in 0..self.sources.len() {
            let mut paths = std::mem::take(&mut self.sources[n].known_paths);
            paths.retain(|path| self.live_at(n, path).is_none());
            paths.shrink_to_fit();
            self.sources[n].known_paths = paths;
        }
    }

    /// Goes over to other sources. Files and positions of sources that stay (by name) stay; files that no
    /// source asks for any more are let go, their positions kept for when one does again.
    pub fn reload(&mut self, specs: Vec<SourceSpec>, now: Now) {
        self.listings.clear();
        self.discover(now); // what appeared under the old globs is new, not "there before"
        let mut sources: Vec<Source> = specs.into_iter().map(|s| self.source(s, false, now)).collect();
        let mut moved = HashMap::new();
        for (to, new) in sources.iter_mut().enumerate() {
            let same = |s: &Source| s.spec.name == new.spec.name && s.globs.is_some() == new.globs.is_some();
            let Some(from) = self.sources.iter().position(same) else { continue };
            moved.insert(from, to);
            let old = &mut self.sources[from];
            new.known_paths = std::mem::take(&mut old.known_paths);
            if let (Some(_), Some(mut stdin)) = (&new.stdin, old.stdin.take()) {
                stdin.adjust(&new.spec);
                new.stdin = Some(stdin);
            }
            let unchanged = old.spec.input == new.spec.input;
            new.first = !unchanged;
            match (&mut new.journal, old.journal.take()) {
                (Some(_), Some(mut journal)) if unchanged => {
                    journal.adjust(&new.spec);
                    new.journal = Some(journal);
                }
                (Some(new), Some(journal)) => new.take_over(&journal),
                (None, journal) => old.journal = journal,
                _ => {}
            }
        }
        for no in self.files.keys().collect::<Vec<u64>>() {
            let Some(file) = self.files.get(no) else { continue };
            let asked = |to: &usize| {
                file.is_old() || sources[*to].globs.as_ref().is_some_and(|g| g.matches(&file.path))
            };
            if !moved.get(&file.source).is_some_and(asked) {
                if let Some(position) = self.position(no) {
                    self.saved.insert(position.key.clone(), position);
                }
                self.let_go(no);
            }
        }
        for position in self.sources.iter().filter_map(|s| s.journal.as_ref()?.position()) {
            self.saved.insert(position.key.clone(), position);
        }
        self.renumber_done(&moved);
        self.index.renumber(&moved);
        for file in self.files.values_mut() {
            file.source = moved[&file.source];
        }
        let new: HashSet<usize> = (0..sources.len()).filter(|n| !moved.values().any(|to| to == n)).collect();
        self.sources = sources;
        // directories are listed anew, and tell again; a file stays what it is
        let of_files: HashSet<(usize, &Path)> = self.files.values().map(|f| (f.source, &*f.path)).collect();
        let moved_to = |((source, path), trouble)| Some(((*moved.get(&source)?, path), trouble));
        let troubled = std::mem::take(&mut self.troubled).into_iter().filter_map(moved_to);
        self.troubled =
            troubled.filter(|((source, path), _)| of_files.contains(&(*source, &**path))).collect();
        self.take_up_done(now);
        self.discover(now);
        self.find_missing(&new, now);
    }

    /// Does what is due and reads at most one quantum of one file, giving its lines to `take`.
    ///
    /// `take` answers with the names of the rules that hit, for a [`BlockEnd::Idle`](crate::line::BlockEnd)
    /// block only; for others its answer is ignored.
    pub fn step(&mut self, now: Now, take: &mut dyn FnMut(&Block<'_>) -> Vec<Arc<str>>) -> Step {
        if now.tick.since(self.last) > self.promised + FROZEN {
            self.thaw();
        }
        self.unnamed.clear();
        self.listings.clear();
        self.hints(now);
        self.thawed = false;
        self.ring_timers(now);
        self.sweep(now);
        if now.tick >= self.glob_at {
            self.discover(now);
        }
        let mut more = self.read_streams(now, take);
        if let Some((&place, &no)) = self.queue.first_key_value() {
            self.queue.remove(&place);
            if let Some(file) = self.files.get_mut(no) {
                file.queued = None;
                self.read(no, now, take);
            }
        }
        if !self.orphans.is_empty() {
            self.give_orphans(now, take);
        }
        more |= !self.queue.is_empty();
        for _ in 0..POSITIONS {
            let Some(no) = self.changed.pop_first() else { break };
            self.out.positions.extend(self.position(no));
        }
        more |= !self.changed.is_empty();
        self.last = now.tick;
        let wait = self.wait(now);
        self.promised = wait;
        Step { more, wait, ..std::mem::take(&mut self.out) }
    }

    /// After a standstill everything that came meanwhile is backlog.
    fn thaw(&mut self) {
        self.thawed = true;
        self.bell.ring_everything();
        for file in self.files.values_mut() {
            let size = file.open.as_ref().and_then(|f| f.look().ok());
            file.backlog_to = file.backlog_to.max(size.map_or(file.size, |look| look.size));
        }
    }

    fn hints(&mut self, now: Now) {
        let hints = self.bell.take();
        if hints.everything {
            self.discover(now);
            self.look_at_all(now);
        }
        for (path, touch) in hints.paths {
            match touch {
                Touch::Data => {
                    for no in self.index.at(&path).to_vec() {
                        self.enqueue(no);
                    }
                }
                Touch::Name => self.name_touched(&path, now),
            }
        }
    }

    /// Looks at some files by their names, so that all get their turn within one period.
    fn sweep(&mut self, now: Now) {
        if now.tick < self.sweep_at {
            return;
        }
        let live = |(no, f): (&u64, &Tailed)| (!f.is_old()).then(|| (*no, f.source, f.path.clone()));
        let some: Vec<_> = self.files.range(self.sweep_from..).filter_map(live).take(SWEEP_FILES).collect();
        self.sweep_from = match some.last() {
            Some((no, ..)) if some.len() == SWEEP_FILES => no + 1,
            _ => 0,
        };
        for (_, source, path) in some {
            self.look(source, &path, now);
        }
        let n = self.files.len();
        // 0.05 % of a core while events come, 0.5 % while they do not.
        let budget = if self.watch.len() > 0 { 2000 } else { 200 };
        let period = (LOOK * n as u32 * budget).max(UNWATCHED);
        self.sweep_at = now.tick + period.mul_f64((SWEEP_FILES as f64 / n.max(1) as f64).min(1.0));
    }

    /// When the globs are walked next: more seldom where that means listing very large directories.
    pub(super) fn glob_period(&self) -> Duration {
        let budget = if self.watch.len() > 0 { 2000 } else { 200 };
        let floor = if self.watch.len() > 0 { GLOB_EVERY } else { UNWATCHED };
        (Duration::from_micros(1) * self.names as u32 * budget).clamp(floor, GLOB_EVERY * 12)
    }

    fn wait(&self, now: Now) -> Duration {
        let mut next = self.sweep_at.min(self.glob_at);
        if let Some(&(at, _)) = self.timers.first() {
            next = next.min(at);
        }
        for journal in self.sources.iter().filter_map(|s| s.journal.as_ref()) {
            next = next.min(journal.due());
        }
        for at in self.sources.iter().filter_map(|s| s.stdin.as_ref()?.due()) {
            next = next.min(at);
        }
        next.since(now.tick)
    }

    /// Puts the file among those to be read, once.
    pub(super) fn enqueue(&mut self, no: u64) {
        let Some(file) = self.files.get_mut(no) else { return };
        if file.queued.is_some() {
            return;
        }
        // The known rest of an old file comes first, and the oldest file's wholly before the next one's.
        let place = if file.is_old() && file.offset < file.busy.drain_to {
            (0, file.busy.drain_order)
        } else {
            self.turn += 1;
            (1, self.turn)
        };
        file.queued = Some(place);
        self.queue.insert(place, no);
    }

    /// The file's position as it is saved.
    pub(super) fn position(&self, no: u64) -> Option<Position> {
        let file = self.files.get(no)?;
        Some(Position {
            key: self.key(file.source, file.id),
            place: Place::File(file.place()),
            at: file.moved,
        })
    }

    pub(super) fn key(&self, source: usize, id: FileId) -> PositionKey {
        PositionKey { source: Arc::clone(&self.sources[source].spec.name), file: Some(id) }
    }

    /// Lets go of a file, its position untouched.
    pub(super) fn let_go(&mut self, no: u64) {
        let Some(file) = self.files.remove(no) else { return };
        if file.open.is_some() {
            self.open -= 1;
        }
        if let Some(place) = file.queued {
            self.queue.remove(&place);
        }
        if let Some(at) = file.look_at {
            self.timers.remove(&(at, no));
        }
        self.changed.remove(&no);
        self.index.remove(file.source, file.id, no);
    }
}
