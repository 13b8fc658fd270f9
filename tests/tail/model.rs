//! Whatever happens to a log, in any order: does every line come once, in order, or is it told that it cannot?
//!
//! The model knows of each line in which generation it was written, and whether somebody destroyed it. A line that is
//! on the disk, or that a running reader holds, must come. One that was destroyed while no agent ran needs a gap that
//! accounts for its bytes, if any agent ever kept a position in that file. One that was destroyed before anybody
//! looked has left no trace, and nothing can be asked of anybody. Nothing else may be missing; nothing comes twice.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use logherald::line::{Gap, Place, Position, PositionKey};
use logherald::tail::From;
use logherald::time::Wall;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::rig::{Reader, Rig, Squeezed, compress, own, secs, spec};

/// How many histories in all; `.ci/long` asks for 50,000.
fn cases() -> u32 {
    std::env::var("LOGHERALD_MODEL_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(2000)
}

/// A look so long finds everything that can be found.
const FULL: u64 = 1100;

/// Who is killed later than this after a look has kept what it gave.
const UNKEPT: Duration = secs(30);

/// To begin and to end a process takes so many milliseconds at least.
const PROCESS: u64 = 20;

/// What may happen, in any order.
#[derive(Clone, Copy, Debug)]
enum Deed {
    /// Lines to the log.
    Write(u8),
    /// Part of a line.
    Half,
    /// Lines by a handle that a writer kept across the last rotation.
    Late(u8),
    /// An empty log, where there is none.
    Create,
    /// As the case is configured: renamed (and created at once, or not), or copied and cut.
    Rotate(bool),
    /// Cut to nothing.
    Truncate,
    Unlink,
    /// The newest generation that is not compressed yet.
    Compress(usize),
    /// Lines to what the symlink leads to.
    Through(u8),
    /// The symlink leads to another file.
    Swap,
    Look(u64),
    /// A look at everything, in no time.
    Ring,
    /// So many milliseconds pass in which nothing happens and nobody looks.
    Later(u64),
    Stop,
    /// What the last look gave was not kept, if so.
    Kill(bool),
    Start,
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![
        8 => (1u8..60).prop_map(Deed::Write),
        2 => Just(Deed::Half),
        2 => (1u8..30).prop_map(Deed::Late),
        1 => Just(Deed::Create),
        5 => any::<bool>().prop_map(Deed::Rotate),
        1 => Just(Deed::Truncate),
        1 => Just(Deed::Unlink),
        2 => (0usize..4).prop_map(Deed::Compress),
        2 => (1u8..30).prop_map(Deed::Through),
        1 => Just(Deed::Swap),
        5 => (1u64..3000).prop_map(Deed::Look),
        2 => Just(Deed::Ring),
        3 => (1u64..30).prop_map(Deed::Later),
        2 => (30u64..5000).prop_map(Deed::Later),
        1 => (5000u64..120_000).prop_map(Deed::Later),
        2 => Just(Deed::Stop),
        2 => any::<bool>().prop_map(Deed::Kill),
        4 => Just(Deed::Start),
    ];
    proptest::collection::vec(deed, 1..40)
}

/// How the log is kept.
#[derive(Clone, Copy, Debug)]
struct Config {
    by_copy: bool,
    dated: bool,
    from_end: bool,
}

fn configs(by_copy: bool) -> impl Strategy<Value = Config> {
    (any::<bool>(), any::<bool>()).prop_map(move |(dated, from_end)| Config { by_copy, dated, from_end })
}

/// Why a line need not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Excuse {
    /// Nobody can know that it was there.
    Unknowable,
    /// A gap tells of it.
    Gap,
}

/// What was written into one file between two cuts.
#[derive(Debug)]
struct Generation {
    /// Inode and birth time.
    id: (u64, i64),
    /// As a gap would call it.
    name: PathBuf,
    half: String,
    /// No name leads to its bytes any more.
    destroyed: bool,
    /// For it was cut off; its file goes on.
    cut: bool,
    /// A name that a glob or a rotation gives leads to it.
    live: bool,
}

#[derive(Debug)]
struct Line {
    text: String,
    generation: usize,
    seen: bool,
    excuse: Option<Excuse>,
}

/// What an agent has kept.
#[derive(Clone, Default)]
struct Kept {
    saved: BTreeMap<PositionKey, Position>,
    /// The generations that these positions are known to be in.
    within: HashSet<usize>,
    got: Vec<String>,
    gaps: Vec<Gap>,
    at: Wall,
}

struct World {
    rig: Rig,
    config: Config,
    generations: Vec<Generation>,
    lines: Vec<Line>,
    /// The generation that each name leads to now.
    log: Option<usize>,
    target: Option<usize>,
    /// Rotated ones that are not compressed: name and generation, the newest last.
    plain: Vec<(String, usize)>,
    /// Generations that the running agent has met.
    met: HashSet<usize>,
    before_look: Kept,
    /// The generations that the last full look found: the kept positions are in these.
    within: HashSet<usize>,
    rotations: usize,
    swaps: usize,
    lossy: bool,
    compressed: bool,
    /// Rotated ones that no agent ever met.
    unknown: HashSet<usize>,
}

fn id_of(file: &std::path::Path) -> (u64, i64) {
    let meta = fs::metadata(file).unwrap();
    let born =
        meta.created().map_or(0, |t| own::time(t.duration_since(UNIX_EPOCH).unwrap().as_nanos() as i64));
    (meta.ino(), born)
}

impl World {
    fn new(config: Config) -> World {
        let mut rig = Rig::with_own_time(Reader::Looks);
        rig.specs = vec![spec(0, "app", rig.dir.path(), &["a.log", "cur.log"])];
        rig.specs[0].from = if config.from_end { From::End } else { From::Start };
        fs::create_dir(rig.path("elsewhere")).unwrap();
        let mut world = World {
            rig,
            config,
            generations: vec![],
            lines: vec![],
            log: None,
            target: None,
            plain: vec![],
            met: HashSet::new(),
            before_look: Kept::default(),
            within: HashSet::new(),
            rotations: 0,
            swaps: 0,
            lossy: false,
            compressed: false,
            unknown: HashSet::new(),
        };
        // An agent that has kept nothing cannot know that it ever ran.
        world.create();
        world.start();
        world.write(2);
        world.look(FULL + 1);
        world
    }

    fn running(&self) -> bool {
        self.rig.tailer.is_some()
    }

    fn generation(&mut self, file: &str, name: &str) -> usize {
        let (id, name) = (id_of(&self.rig.path(file)), self.rig.path(name));
        self.generations.push(Generation {
            id,
            name,
            half: String::new(),
            destroyed: false,
            cut: false,
            live: true,
        });
        self.generations.len() - 1
    }

    fn create(&mut self) {
        if self.log.is_none() {
            File::create_new(self.rig.path("a.log")).unwrap();
            self.log = Some(self.generation("a.log", "a.log"));
        }
    }

    fn write_to(&mut self, generation: usize, file: &str, n: u8) {
        let text = self.rig.lines(usize::from(n));
        let first = self.rig.expected.len() - usize::from(n);
        let half = std::mem::take(&mut self.generations[generation].half);
        self.rig.put(file, text.as_bytes());
        for (i, line) in self.rig.expected.drain(first..).enumerate() {
            let text = if i == 0 { format!("{half}{line}") } else { line };
            self.lines.push(Line { text, generation, seen: false, excuse: None });
        }
    }

    fn write(&mut self, n: u8) {
        self.create();
        let log = self.log.unwrap();
        self.write_to(log, "a.log", n);
    }

    /// The next name of a generation, those before it moved up.
    fn next_name(&mut self) -> String {
        self.rotations += 1;
        if self.config.dated {
            return format!("a.log-{}", 20_260_000 + self.rotations);
        }
        let named: Vec<(usize, String)> = fs::read_dir(self.rig.dir.path())
            .unwrap()
            .filter_map(|e| {
                let name = e.unwrap().file_name().into_string().unwrap();
                let rest = name.strip_prefix("a.log.")?;
                let digits = rest.split('.').next()?;
                let suffix = rest[digits.len()..].to_owned();
                digits.parse().ok().map(|n| (n, suffix))
            })
            .collect();
        let mut named: Vec<_> = named.into_iter().collect();
        named.sort_by_key(|(n, _)| std::cmp::Reverse(*n));
        for (n, suffix) in named {
            self.rig.rename(&format!("a.log.{n}{suffix}"), &format!("a.log.{}{suffix}", n + 1));
            if suffix.is_empty() {
                let from = format!("a.log.{n}");
                for (name, _) in self.plain.iter_mut().filter(|(name, _)| *name == from) {
                    *name = format!("a.log.{}", n + 1);
                }
            }
        }
        "a.log.1".into()
    }

    fn rotate(&mut self, create: bool) {
        let Some(log) = self.log else { return };
        let to = self.next_name();
        if self.config.by_copy {
            fs::copy(self.rig.path("a.log"), self.rig.path(&to)).unwrap();
            self.rig.truncate("a.log", 0);
            self.generations[log].half.clear();
            self.log = Some(self.cut(log));
        } else {
            self.rig.rename("a.log", &to);
            self.log = None;
            if create {
                self.create();
            }
        }
        self.plain.push((to, log));
        self.generations[log].live = false;
    }

    /// The same file from its start again.
    fn cut(&mut self, log: usize) -> usize {
        let next = self.generation("a.log", "a.log");
        if self.met.contains(&log) {
            self.met.insert(next);
        }
        next
    }

    fn truncate(&mut self) {
        let Some(log) = self.log else { return };
        self.lossy = true;
        self.rig.truncate("a.log", 0);
        self.destroy(log, true, false);
        self.log = Some(self.cut(log));
    }

    fn unlink(&mut self) {
        let Some(log) = self.log.take() else { return };
        self.lossy = true;
        self.rig.remove("a.log");
        // A file that nothing was read from has no handle.
        let read = self.lines.iter().any(|l| l.generation == log && l.seen);
        self.destroy(log, false, read);
    }

    /// No name leads to its bytes any more; a running agent that has met the file may be able to reach them.
    fn destroy(&mut self, generation: usize, cut: bool, reachable: bool) {
        self.generations[generation].destroyed = true;
        self.generations[generation].cut = cut;
        self.generations[generation].live = false;
        let held = reachable && self.met.contains(&generation);
        if self.running() && !held {
            let lines = self.lines.iter_mut().filter(|l| l.generation == generation && !l.seen);
            lines.for_each(|l| l.excuse = Some(Excuse::Unknowable));
        }
    }

    fn swap(&mut self) {
        self.swaps += 1;
        let next = format!("elsewhere/t{}", self.swaps);
        File::create_new(self.rig.path(&next)).unwrap();
        symlink(self.rig.path(&next), self.rig.path("tmp")).unwrap();
        self.rig.rename("tmp", "cur.log");
        if let Some(old) = self.target.take() {
            self.lossy = true;
            self.destroy(old, false, true);
        }
        self.target = Some(self.generation(&next, "cur.log"));
    }

    fn kept(&self) -> Kept {
        Kept {
            saved: self.rig.saved.clone(),
            within: self.within.clone(),
            got: self.rig.got.clone(),
            gaps: self.rig.gaps.clone(),
            at: self.rig.now.wall,
        }
    }

    fn all_seen(&mut self) {
        self.lines.iter_mut().for_each(|l| l.seen = true);
        let rotated = self.plain.iter().map(|(_, generation)| generation);
        let all: Vec<usize> = self.log.iter().chain(&self.target).chain(rotated).copied().collect();
        self.met.extend(&all);
        self.within.extend(all);
    }

    fn look(&mut self, ms: u64) {
        if self.running() {
            self.before_look = self.kept();
            self.rig.pass(Duration::from_millis(ms));
            if ms > FULL {
                self.all_seen();
            }
        }
    }

    fn ring(&mut self) {
        if self.running() {
            self.before_look = self.kept();
            self.rig.bell.ring_everything();
            self.rig.drain();
            self.all_seen();
        }
    }

    fn end(&mut self, lose_last_look: bool) {
        if self.running() {
            self.rig.stop();
            self.met.clear();
            // What is older is kept by then.
            if lose_last_look && self.rig.now.wall.since(self.before_look.at) < UNKEPT {
                let kept = std::mem::take(&mut self.before_look);
                if kept.gaps.len() < self.rig.gaps.len() {
                    // What was told is forgotten, too.
                    let gaps = self.lines.iter_mut().filter(|l| l.excuse == Some(Excuse::Gap));
                    gaps.for_each(|l| l.excuse = None);
                }
                (self.rig.saved, self.within) = (kept.saved, kept.within);
                (self.rig.got, self.rig.gaps) = (kept.got, kept.gaps);
            }
        }
    }

    fn start(&mut self) {
        if self.running() {
            return;
        }
        let known: HashMap<(u64, i64), u64> = self
            .rig
            .saved
            .values()
            .filter_map(|p| match (&p.place, p.key.file) {
                (Place::File(place), Some(id)) => Some(((id.ino, id.born.unwrap_or_default()), place.offset)),
                _ => None,
            })
            .collect();
        let got: HashSet<&String> = self.rig.got.iter().collect();
        for line in self.lines.iter_mut().filter(|l| l.excuse.is_none() && !got.contains(&l.text)) {
            let generation = &self.generations[line.generation];
            if known.is_empty() && (!generation.live || self.config.from_end) {
                line.excuse = Some(Excuse::Unknowable); // nothing tells that an agent ever ran
            } else if generation.destroyed {
                let gap = known.get(&generation.id).is_some_and(|&offset| {
                    // An archive of a copy passes for the file itself, as that of a renamed log is; any does for a
                    // file of which nothing was read.
                    let passes = self.compressed && (offset == 0 || (self.config.by_copy && !generation.cut));
                    // A cut shows by the bytes before the position, and one that a copy explains hides those after it.
                    !passes && (!generation.cut || (offset > 0 && self.within.contains(&line.generation)))
                });
                line.excuse = Some(if gap { Excuse::Gap } else { Excuse::Unknowable });
            }
        }
        self.before_look = self.kept();
        self.rig.start();
        self.all_seen();
        if known.is_empty() {
            // Nothing led to what had lost its name by then.
            self.unknown.extend(self.plain.iter().map(|(_, generation)| *generation));
        }
    }

    fn later(&mut self, ms: u64) {
        self.rig.now = self.rig.now.plus(Duration::from_millis(ms));
        self.rig.stamp();
    }

    fn does(&mut self, deed: Deed) {
        self.later(match deed {
            Deed::Start | Deed::Stop | Deed::Kill(_) => PROCESS,
            _ => 5,
        });
        match deed {
            Deed::Later(ms) => self.later(ms),
            Deed::Write(n) => self.write(n),
            Deed::Half => {
                self.create();
                let log = self.log.unwrap();
                if self.generations[log].half.is_empty() {
                    self.rig.written += 1;
                    let half = format!("half {:06} ", self.rig.written);
                    self.rig.put("a.log", half.as_bytes());
                    self.generations[log].half = half;
                }
            }
            Deed::Late(n) => {
                if let Some((name, generation)) = self.plain.last().cloned()
                    && !self.config.by_copy
                {
                    self.write_to(generation, &name, n);
                    if self.unknown.contains(&generation) {
                        let late = self.lines.iter_mut().rev().take(usize::from(n));
                        late.for_each(|l| l.excuse = Some(Excuse::Unknowable));
                    }
                }
            }
            Deed::Create => self.create(),
            Deed::Rotate(create) => self.rotate(create),
            Deed::Truncate => self.truncate(),
            Deed::Unlink => self.unlink(),
            Deed::Compress(how) => {
                if let Some((name, _)) = self.plain.pop() {
                    self.compressed = true;
                    compress(&self.rig.path(&name), Squeezed::ALL[how]);
                }
            }
            Deed::Through(n) => {
                if self.target.is_none() {
                    self.swap();
                }
                let (target, file) = (self.target.unwrap(), format!("elsewhere/t{}", self.swaps));
                self.write_to(target, &file, n);
            }
            Deed::Swap => self.swap(),
            Deed::Look(ms) => self.look(ms),
            Deed::Ring => self.ring(),
            Deed::Stop => self.end(false),
            Deed::Kill(lost) => self.end(lost),
            Deed::Start => self.start(),
        }
    }

    fn judge(&mut self) -> Result<(), TestCaseError> {
        self.start();
        self.rig.pass(secs(15));
        let places: HashMap<&str, usize> =
            self.lines.iter().enumerate().map(|(i, l)| (l.text.as_str(), i)).collect();
        let mut last: HashMap<usize, usize> = HashMap::new();
        let mut came = HashSet::new();
        for text in &self.rig.got {
            let Some(&at) = places.get(text.as_str()) else {
                return Err(TestCaseError::fail(format!("glued or split: {text:?}")));
            };
            prop_assert!(came.insert(at), "came twice: {:?}", text);
            let before = last.insert(self.lines[at].generation, at);
            prop_assert!(before.is_none_or(|b| b < at), "out of order: {:?}", text);
        }
        let mut owed: HashMap<&PathBuf, u64> = HashMap::new();
        for (at, line) in self.lines.iter().enumerate().filter(|(at, _)| !came.contains(at)) {
            let generation = &self.generations[line.generation];
            prop_assert!(
                line.excuse.is_some(),
                "lost line {} of {}: {:?}; {:?}; gaps {:?}",
                at,
                self.lines.len(),
                line,
                generation,
                self.rig.gaps
            );
            if line.excuse == Some(Excuse::Gap) {
                *owed.entry(&generation.name).or_default() += line.text.len() as u64;
            }
        }
        for (name, bytes) in owed {
            let of = |g: &&Gap| *name.as_os_str() == *std::ffi::OsStr::new(&*g.file);
            let gaps: Vec<&Gap> = self.rig.gaps.iter().filter(of).collect();
            let told: u64 = gaps.iter().filter_map(|g| g.bytes).sum();
            prop_assert!(
                gaps.iter().any(|g| g.bytes.is_none()) || told >= bytes,
                "{} bytes of {} are lost, and told of are {:?}",
                bytes,
                name.display(),
                gaps
            );
        }
        prop_assert!(self.lossy || self.rig.gaps.is_empty(), "nothing was destroyed: {:?}", self.rig.gaps);
        prop_assert!(self.rig.troubles.is_empty(), "{:?}", self.rig.troubles);
        Ok(())
    }
}

fn told_rightly(deeds: Vec<Deed>, config: Config) -> Result<(), TestCaseError> {
    let mut world = World::new(config);
    for deed in deeds {
        world.does(deed);
    }
    world.judge()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: cases() / 2, max_shrink_iters: 2000, failure_persistence: None, ..Default::default()
    })]

    #[test]
    fn any_history_of_a_log_that_is_renamed(deeds in deeds(), config in configs(false)) {
        told_rightly(deeds, config)?;
    }

    #[test]
    fn any_history_of_a_log_that_is_copied_and_cut(deeds in deeds(), config in configs(true)) {
        told_rightly(deeds, config)?;
    }
}

/// Histories that were told wrongly once; in the story's own time each is the same whenever it is told.
mod found {
    use super::Deed::*;
    use super::*;

    fn told(by_copy: bool, from_end: bool, deeds: &[Deed]) {
        told_rightly(deeds.to_vec(), Config { by_copy, dated: false, from_end }).unwrap();
    }

    #[test]
    fn the_archive_of_a_copy_that_was_let_go_before_a_restart() {
        told(true, false, &[Rotate(false), Look(2500), Compress(0), Look(12_000), Stop, Unlink, Start]);
    }

    #[test]
    fn the_archive_of_a_copy_whose_log_was_deleted_and_begun_anew() {
        let copied = [Rotate(false), Through(1), Unlink, Look(79), Compress(0)];
        told(true, false, &[&copied[..], &[Later(8585), Look(1400), Stop, Write(1)]].concat());
    }

    #[test]
    fn a_copy_is_met_before_a_log_that_is_older() {
        told(true, true, &[Through(1), Look(12), Rotate(false), Look(67), Stop]);
    }

    #[test]
    fn a_log_that_was_lost_is_begun_anew_and_rotated_before_anybody_looks() {
        told(false, false, &[Unlink, Through(1), Stop, Start, Write(1), Stop, Rotate(false)]);
    }

    #[test]
    fn a_log_of_which_nothing_was_read_is_lost_begun_anew_and_rotated() {
        let lost = [Kill(true), Through(1), Unlink, Start, Write(1), Stop, Rotate(false)];
        told(false, false, &lost);
    }

    #[test]
    fn a_log_that_was_compressed_at_once_is_written_to_late() {
        let late =
            [Rotate(false), Stop, Start, Write(1), Rotate(false), Compress(0), Late(1), Look(175), Stop];
        told(false, false, &late);
        let late = [Rotate(false), Stop, Rotate(false), Start, Write(1), Late(1), Rotate(false), Compress(0)];
        told(false, false, &[&late[..], &[Look(175), Compress(0), Stop]].concat());
    }

    #[test]
    fn a_late_writer_makes_a_generation_look_younger_than_the_next() {
        let late = [Rotate(false), Half, Rotate(false), Look(79), Write(1), Late(1), Compress(0)];
        told(false, false, &[&late[..], &[Rotate(false), Stop, Write(1), Create]].concat());
        let late = [Rotate(true), Look(89), Stop, Rotate(true), Late(1), Compress(0), Rotate(false)];
        told(false, false, &late);
    }
}
