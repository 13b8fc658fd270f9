//! The door: a tailer on a directory of its own, an injected clock, and an oracle.
//!
//! Each story runs three times. *Told by events*: time stands still and only inotify tells of changes. *Found by
//! looking*: no inotify, only looking does. *While delivery is blocked*: the reader gets no turn at all while the
//! writer acts, and finds the whole deed as one accomplished fact. The third is harsher than anything the program
//! can meet: in it no delivery, however stuck, takes a turn away from reading (`blocked` proves that sentence with the
//! program itself), so what is read late here stands for every reader that was ever late, for whatever reason.
//!
//! The oracle counts every line: once, in the order written, none glued or split.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use logherald::line::{BlockEnd, Gap, Place, Position, PositionKey, SourceNo};
use logherald::tail::{
    Bell, Encoding, Format, From, Input, Join, Rung, SourceSpec, Step, TailOptions, Tailer, Trouble,
};
use logherald::time::{Clock, Now, Wall};

/// How the reader learns of what the writer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    /// By inotify alone.
    Told,
    /// By looking alone.
    Looks,
    /// Not at all until the writer is done.
    Blocked,
}

/// A tailer on a directory of its own, and what it gave.
pub(super) struct Rig {
    pub(super) reader: Reader,
    pub(super) dir: tempfile::TempDir,
    pub(super) options: TailOptions,
    pub(super) specs: Vec<SourceSpec>,
    pub(super) bell: Bell,
    pub(super) tailer: Option<Tailer>,
    pub(super) now: Now,
    /// The clock is the story's, and no other: what is stamped on files, too.
    pub(super) own_time: bool,
    /// By how many milliseconds the wall clock is wrong.
    pub(super) wrong_by: i64,
    pub(super) saved: BTreeMap<PositionKey, Position>,
    pub(super) written: usize,
    /// Steps that were taken: each reads at most one quantum.
    pub(super) reads: usize,
    pub(super) expected: Vec<String>,
    /// Whole lines, and the heads of cut ones.
    pub(super) got: Vec<String>,
    pub(super) idle: Vec<String>,
    /// For each whole block that had any: the rules that hit its first line early.
    pub(super) early: Vec<(String, Vec<String>)>,
    pub(super) backlog: Vec<bool>,
    pub(super) cut: usize,
    pub(super) gaps: Vec<Gap>,
    pub(super) troubles: Vec<Trouble>,
}

pub(super) fn spec(no: u16, name: &str, dir: &Path, globs: &[&str]) -> SourceSpec {
    SourceSpec {
        no: SourceNo(no),
        name: Arc::from(name),
        input: Input::Files {
            globs: globs.iter().map(|g| format!("{}/{g}", dir.display())).collect(),
            exclude: vec!["*.gz".into()],
        },
        from: From::End,
        max_line: 256 * 1024,
        join: Join::None,
        format: Format::Plain,
        encoding: Encoding::default(),
    }
}

/// Seconds of the injected clock.
pub(super) const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

impl Rig {
    pub(super) fn new(reader: Reader) -> Rig {
        let dir = tempfile::tempdir().unwrap();
        Rig {
            reader,
            specs: vec![spec(0, "app", dir.path(), &["*.log"])],
            dir,
            options: TailOptions { inotify: reader != Reader::Looks, ..TailOptions::default() },
            bell: Bell::new(),
            tailer: None,
            now: Clock::continuing(None).now(),
            own_time: false,
            wrong_by: 0,
            saved: BTreeMap::new(),
            written: 0,
            reads: 0,
            expected: vec![],
            got: vec![],
            idle: vec![],
            early: vec![],
            backlog: vec![],
            cut: 0,
            gaps: vec![],
            troubles: vec![],
        }
    }

    /// Whether the reader has no turn while the writer acts.
    pub(super) fn blocked(&self) -> bool {
        self.reader == Reader::Blocked
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// One whose story has a time of its own: whatever machine tells it, however slowly, files are stamped alike.
    pub(super) fn with_own_time(reader: Reader) -> Rig {
        let mut rig = Rig::new(reader);
        rig.own_time = true;
        rig.now.wall = Wall(1_767_225_600_000);
        rig.options.file_time = Some(own::time);
        own::begin(rig.now.wall);
        rig
    }

    /// What is written from now on is written now.
    pub(super) fn stamp(&self) {
        own::stamp(self.now.wall);
    }

    pub(super) fn start(&mut self) {
        self.begin();
        self.drain();
    }

    /// Starts, and has not looked or read yet.
    pub(super) fn begin(&mut self) {
        self.bell = Bell::new();
        self.now.wall = self.wall();
        let saved = self.saved.values().cloned().collect();
        let (bell, options) = (self.bell.clone(), self.options.clone());
        self.tailer = Some(Tailer::new(self.specs.clone(), saved, bell, options, self.now));
    }

    fn wall(&self) -> Wall {
        if self.own_time {
            return self.now.wall;
        }
        Wall(Clock::continuing(None).now().wall.0 + self.wrong_by)
    }

    pub(super) fn stop(&mut self) {
        self.tailer = None;
    }

    /// The reader at work.
    pub(super) fn tailer(&self) -> &Tailer {
        self.tailer.as_ref().unwrap()
    }

    /// How many saved positions are of files that are read, and how many of those that were and are only remembered.
    pub(super) fn kept(&self) -> (usize, usize) {
        let done = |p: &&Position| matches!(&p.place, Place::File(place) if place.done);
        let done = self.saved.values().filter(done).count();
        (self.saved.len() - done, done)
    }

    /// One step, its lines and positions kept.
    pub(super) fn step(&mut self) -> Step {
        // Ticks are the story's, but files carry the machine's wall time.
        self.now.wall = self.wall();
        self.reads += 1;
        let Rig { tailer, got, idle, early, backlog, cut, now, .. } = self;
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        let step = tailer.as_mut().unwrap().step(*now, &mut |block| {
            assert!(!block.bytes.is_empty());
            if !block.hit_early.is_empty() {
                let rules = block.hit_early.iter().map(ToString::to_string).collect();
                early.push((text(block.bytes), rules));
            }
            // Without records the lines are the block's; each with its newline, so that none can be glued unseen.
            let records: Vec<String> =
                block.records.iter().map(|r| text(&block.bytes[r.start as usize..r.end as usize])).collect();
            match block.end {
                BlockEnd::Whole if records.is_empty() => {
                    assert_eq!(block.bytes.last(), Some(&b'\n'));
                    got.extend(block.bytes.split_inclusive(|&b| b == b'\n').map(text));
                }
                BlockEnd::Whole => got.extend(records.into_iter().map(|r| r + "\n")),
                BlockEnd::Cut => {
                    assert!(!block.bytes.contains(&b'\n') && records.len() < 2);
                    got.push(records.into_iter().next().unwrap_or_else(|| text(block.bytes)));
                    *cut += 1;
                }
                BlockEnd::Idle => {
                    assert!(records.len() < 2);
                    idle.push(records.into_iter().next().unwrap_or_else(|| text(block.bytes)));
                    return vec![Arc::from("rule")];
                }
            }
            backlog.resize(got.len(), block.backlog);
            vec![]
        });
        for position in &step.positions {
            // What the store does: to JSON and back.
            let json = serde_json::to_string(position).unwrap();
            self.saved.insert(position.key.clone(), serde_json::from_str(&json).unwrap());
        }
        for key in &step.forgotten {
            self.saved.remove(key);
        }
        self.gaps.extend(step.gaps.iter().cloned());
        self.troubles.extend(step.troubles.iter().cloned());
        step
    }

    /// Steps until nothing more is ready.
    pub(super) fn drain(&mut self) {
        for _ in 0..100_000 {
            if !self.step().more {
                return;
            }
        }
        panic!("there is always more");
    }

    /// Notices what was just written, in less time than makes a line idle; has no turn while blocked.
    pub(super) fn hear(&mut self) {
        match self.reader {
            Reader::Told => {
                assert_eq!(self.bell.wait(secs(60)), Rung::Rang);
                self.drain();
            }
            Reader::Looks => self.pass(Duration::from_millis(300)),
            Reader::Blocked => {}
        }
    }

    /// Hears of everything that was written: the first event may tell of the file that had the name before.
    pub(super) fn hear_all(&mut self) {
        while self.got.len() < self.expected.len() {
            assert_eq!(self.bell.wait(secs(60)), Rung::Rang, "{}", self.missing());
            self.drain();
        }
    }

    /// Lets time pass between two deeds of the writer; a reader that is blocked has no turn meanwhile.
    pub(super) fn meanwhile(&mut self, time: Duration) {
        if self.blocked() {
            self.now = self.now.plus(time);
        } else {
            self.pass(time);
        }
    }

    /// Lets time pass, looking as often as the tailer asks.
    pub(super) fn pass(&mut self, time: Duration) {
        let mut left = time;
        while left > Duration::ZERO {
            let wait = self.step().wait.max(Duration::from_millis(10)).min(left);
            self.now = self.now.plus(wait);
            left -= wait;
            self.drain();
        }
    }

    /// Until all that was written has come; then a while longer, in which nothing more may come.
    pub(super) fn settle(&mut self) {
        self.arrive();
        assert_eq!(self.got.len(), self.expected.len(), "{}", self.missing());
        assert!(self.got == self.expected, "order or content; {}", self.missing());
    }

    /// The same, where the order among files is not told.
    pub(super) fn settle_unordered(&mut self) {
        self.arrive();
        self.pass(secs(12));
        self.got.sort();
        self.expected.sort();
        assert_eq!(self.got.len(), self.expected.len(), "{}", self.missing());
        assert!(self.got == self.expected, "content; {}", self.missing());
    }

    #[expect(clippy::disallowed_methods, reason = "a stopwatch: how long events may take at most")]
    pub(super) fn arrive(&mut self) {
        let deadline = Instant::now() + secs(60);
        let mut looks = 0;
        while self.got.len() < self.expected.len() && Instant::now() < deadline && looks < 60 {
            self.drain();
            if self.got.len() >= self.expected.len() {
                break;
            }
            if self.reader == Reader::Told {
                assert_eq!(self.bell.wait(secs(60)), Rung::Rang, "{}", self.missing());
            } else {
                looks += 1;
                self.pass(secs(1));
            }
        }
        self.pass(Duration::from_millis(2500));
    }

    pub(super) fn missing(&self) -> String {
        let got: std::collections::HashSet<&String> = self.got.iter().collect();
        let expected: std::collections::HashSet<&String> = self.expected.iter().collect();
        let short = |l: &&String| l.chars().take(80).collect::<String>();
        let lost: Vec<_> = self.expected.iter().filter(|l| !got.contains(l)).collect();
        let odd: Vec<_> = self.got.iter().filter(|l| !expected.contains(l)).collect();
        let mut seen = std::collections::HashSet::new();
        let twice: Vec<_> = self.got.iter().filter(|l| !seen.insert(*l)).collect();
        format!(
            "got {} of {}, {} different; {} lost, the first {:?}; {} odd, the first {:?}; twice {:?}; gaps {:?}; \
             troubles {:?}",
            self.got.len(),
            self.expected.len(),
            got.len(),
            lost.len(),
            lost.iter().take(3).map(short).collect::<Vec<_>>(),
            odd.len(),
            odd.iter().take(3).map(short).collect::<Vec<_>>(),
            twice.iter().take(30).map(short).collect::<Vec<_>>(),
            self.gaps,
            self.troubles
        )
    }

    /// No line was lost and nothing was in the way.
    pub(super) fn assert_quiet(&self) {
        assert!(self.gaps.is_empty() && self.troubles.is_empty(), "{:?} {:?}", self.gaps, self.troubles);
    }

    /// `n` new lines, each its own.
    pub(super) fn lines(&mut self, n: usize) -> String {
        let mut text = String::new();
        for _ in 0..n {
            self.written += 1;
            let line = format!("line {:06} {}\n", self.written, "x".repeat(self.written % 60));
            text.push_str(&line);
            self.expected.push(line);
        }
        text
    }

    /// Lines that are there and not to be matched.
    pub(super) fn unexpected(&mut self, n: usize) -> String {
        let text = self.lines(n);
        self.expected.truncate(self.expected.len() - n);
        text
    }

    pub(super) fn append(&mut self, name: &str, n: usize) {
        let text = self.lines(n);
        self.put(name, text.as_bytes());
    }

    /// Writes `n` new lines by an open handle.
    pub(super) fn write(&mut self, file: &mut File, n: usize) {
        let text = self.lines(n);
        file.write_all(text.as_bytes()).unwrap();
    }

    pub(super) fn put(&self, name: &str, bytes: &[u8]) {
        self.open(name).write_all(bytes).unwrap();
    }

    pub(super) fn open(&self, name: &str) -> File {
        OpenOptions::new().append(true).create(true).open(self.path(name)).unwrap()
    }

    pub(super) fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    pub(super) fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }

    pub(super) fn truncate(&self, name: &str, to: u64) {
        OpenOptions::new().write(true).open(self.path(name)).unwrap().set_len(to).unwrap();
    }

    /// As if the agent was killed before it kept more than these, of which one has moved seconds later.
    pub(super) fn forget_but(&mut self, kept: &[PositionKey]) {
        self.saved.retain(|key, _| kept.contains(key));
        for position in self.saved.values_mut() {
            position.at = position.at + secs(5);
        }
    }

    pub(super) fn expect(&mut self, line: &str) {
        self.expected.push(line.to_owned());
    }
}

/// The time of a story: the machine's, in pieces, each of which is one instant.
pub(super) mod own {
    use std::cell::RefCell;
    use std::fs::File;
    use std::os::unix::fs::MetadataExt;

    use logherald::time::Wall;

    /// A kernel stamps files by a clock that ticks so often, in milliseconds.
    const TICK: i64 = 4;

    struct Time {
        scratch: File,
        /// Since when by the clock of files, and which instant that is in the story; in nanoseconds.
        instants: Vec<(i64, i64)>,
    }

    thread_local! {
        static TIME: RefCell<Option<Time>> = const { RefCell::new(None) };
    }

    /// A new story.
    pub(super) fn begin(wall: Wall) {
        TIME.set(Some(Time { scratch: tempfile::tempfile().unwrap(), instants: vec![] }));
        stamp(wall);
    }

    /// Files are stamped with this instant from now on.
    pub(super) fn stamp(wall: Wall) {
        let instant = (wall.0 - wall.0 % TICK) * 1_000_000;
        TIME.with_borrow_mut(|time| {
            let Time { scratch, instants } = time.as_mut().unwrap();
            if instants.last().is_some_and(|(_, last)| *last == instant) {
                return;
            }
            // What was stamped so far was stamped before: some kernels' clocks need a moment until they say so.
            let before = touched(scratch);
            let since = loop {
                let at = touched(scratch);
                if at > before {
                    break at;
                }
            };
            instants.push((since, instant));
        });
    }

    fn touched(scratch: &mut File) -> i64 {
        use std::io::Write;
        scratch.write_all(b"x").unwrap();
        let meta = scratch.metadata().unwrap();
        meta.mtime() * 1_000_000_000 + meta.mtime_nsec()
    }

    /// When that was in the story.
    pub(crate) fn time(stamped: i64) -> i64 {
        TIME.with_borrow(|time| {
            let instants = &time.as_ref().unwrap().instants;
            let after = instants.partition_point(|(since, _)| *since <= stamped);
            instants[after.saturating_sub(1)].1
        })
    }
}

macro_rules! stories {
    ($($(#[$note:meta])* fn $name:ident($rig:ident) $body:block)*) => {$(
        $(#[$note])*
        mod $name {
            use super::*;
            fn story(mut rig: Rig) {
                let $rig = &mut rig;
                $body
            }
            #[test]
            fn told_by_events() { story(Rig::new(Reader::Told)) }
            #[test]
            fn found_by_looking() { story(Rig::new(Reader::Looks)) }
            #[test]
            fn while_delivery_is_blocked() { story(Rig::new(Reader::Blocked)) }
        }
    )*};
}
pub(super) use stories;

/// By which program a rotated generation was compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Squeezed {
    Gzip,
    Zstd,
    Xz,
    Bzip2,
}

impl Squeezed {
    pub(super) const ALL: [Squeezed; 4] = [Squeezed::Gzip, Squeezed::Zstd, Squeezed::Xz, Squeezed::Bzip2];

    /// What it appends to a name.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Squeezed::Gzip => ".gz",
            Squeezed::Zstd => ".zst",
            Squeezed::Xz => ".xz",
            Squeezed::Bzip2 => ".bz2",
        }
    }

    pub(super) fn squeeze(self, plain: &[u8]) -> Vec<u8> {
        match self {
            Squeezed::Gzip => {
                let mut to = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
                to.write_all(plain).unwrap();
                to.finish().unwrap()
            }
            Squeezed::Zstd => zstd::encode_all(plain, 1).unwrap(),
            Squeezed::Xz => {
                let mut to = liblzma::write::XzEncoder::new(vec![], 0);
                to.write_all(plain).unwrap();
                to.finish().unwrap()
            }
            Squeezed::Bzip2 => {
                let mut to = bzip2::write::BzEncoder::new(vec![], bzip2::Compression::fast());
                to.write_all(plain).unwrap();
                to.finish().unwrap()
            }
        }
    }
}

/// What these programs do to a file: a new one with the time of the old one, which is deleted.
pub(super) fn compress(path: &Path, how: Squeezed) {
    let plain = fs::read(path).unwrap();
    let modified = fs::metadata(path).unwrap().modified().unwrap();
    let mut to = path.as_os_str().to_owned();
    to.push(how.suffix());
    let mut file = File::create_new(to).unwrap();
    file.write_all(&how.squeeze(&plain)).unwrap();
    file.set_modified(modified).unwrap();
    fs::remove_file(path).unwrap();
}
