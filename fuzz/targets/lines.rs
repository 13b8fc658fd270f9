//! A log that is written in any pieces, rotated, and read by an agent that restarts: every line once, in order.
//!
//! The files are real, in memory where there is `/dev/shm`. The oracle is what was written, cut at newlines: NULs where
//! a line begins are no part of it, and of a line that is too long the head is read.

#![no_main]

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use logherald::line::{BlockEnd, Position, PositionKey, SourceNo};
use logherald::tail::{Bell, Encoding, Format, From, Input, Join, SourceSpec, TailOptions, Tailer};
use logherald::time::{Clock, Now};

const MAX_LINE: usize = 24;

#[derive(Arbitrary, Debug)]
enum Act<'a> {
    /// These bytes are appended.
    Write(&'a [u8]),
    /// The same in many pieces' length: lines beyond all bounds.
    WriteOften(&'a [u8], u8),
    /// The agent looks for so long, in hundredths of a second.
    Look(u8),
    /// The log gets another name, and a new one is begun.
    Rotate,
    /// The agent ends and begins again.
    Restart,
}

struct Story {
    dir: tempfile::TempDir,
    log: File,
    generation: usize,
    tailer: Tailer,
    saved: BTreeMap<PositionKey, Position>,
    now: Now,
    /// Of the generation that is written now.
    written: Vec<u8>,
    wanted: Vec<Vec<u8>>,
    got: Vec<Vec<u8>>,
}

fn options() -> TailOptions {
    TailOptions { inotify: false, ..TailOptions::default() }
}

fn spec(dir: &Path) -> SourceSpec {
    let globs = vec![format!("{}/*.log", dir.display())];
    let input = Input::Files { globs, exclude: Vec::new() };
    SourceSpec {
        no: SourceNo(0),
        name: "app".into(),
        input,
        from: From::Start,
        max_line: MAX_LINE,
        join: Join::None,
        format: Format::Plain,
        encoding: Encoding::default(),
    }
}

fn begin(path: &Path) -> File {
    OpenOptions::new().create(true).append(true).open(path).expect("a file can be made")
}

/// The lines of what one generation holds, as they are to be read.
fn lines(written: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let whole = written.iter().rposition(|b| *b == b'\n').map_or(0, |n| n + 1);
    written[..whole].split_inclusive(|b| *b == b'\n').map(|line| {
        let begins = line.iter().position(|b| *b != 0).unwrap_or(line.len());
        let line = &line[begins..line.len() - 1];
        if line.len() <= MAX_LINE {
            return line.to_vec();
        }
        let back = (0..4).find(|back| line[MAX_LINE - back] & 0xC0 != 0x80).unwrap_or(0);
        line[..MAX_LINE - back].to_vec()
    })
}

impl Story {
    fn new() -> Story {
        let dir =
            if Path::new("/dev/shm").is_dir() { PathBuf::from("/dev/shm") } else { std::env::temp_dir() };
        let dir = tempfile::tempdir_in(dir).expect("a folder can be made");
        let now = Clock::continuing(None).now();
        let log = begin(&dir.path().join("app.log"));
        let tailer = Tailer::new(vec![spec(dir.path())], Vec::new(), Bell::new(), options(), now);
        let mut story = Story {
            dir,
            log,
            generation: 0,
            tailer,
            saved: BTreeMap::new(),
            now,
            written: Vec::new(),
            wanted: Vec::new(),
            got: Vec::new(),
        };
        story.look(0);
        story
    }

    fn write(&mut self, bytes: &[u8]) {
        self.log.write_all(bytes).expect("there is room");
        self.written.extend_from_slice(bytes);
    }

    fn step(&mut self) -> (bool, Duration) {
        self.now.wall = Clock::continuing(None).now().wall;
        let Story { tailer, got, now, .. } = self;
        let step = tailer.step(*now, &mut |block| {
            assert!(!block.bytes.is_empty());
            match block.end {
                BlockEnd::Whole => {
                    let text = block.bytes.strip_suffix(b"\n").expect("whole lines end");
                    got.extend(text.split(|b| *b == b'\n').map(<[u8]>::to_vec));
                }
                BlockEnd::Cut => got.push(block.bytes.to_vec()),
                BlockEnd::Idle => return vec![Arc::from("rule")],
            }
            Vec::new()
        });
        assert!(step.gaps.is_empty(), "{:?}", step.gaps);
        assert!(step.troubles.is_empty(), "{:?}", step.troubles);
        for position in &step.positions {
            self.saved.insert(position.key.clone(), position.clone());
        }
        for key in &step.forgotten {
            self.saved.remove(key);
        }
        (step.more, step.wait)
    }

    /// Looks until nothing is ready, for `ms`.
    fn look(&mut self, ms: u64) {
        let mut left = Duration::from_millis(ms);
        for _ in 0..10_000 {
            let (more, wait) = self.step();
            if more {
                continue;
            }
            if left.is_zero() {
                return;
            }
            let wait = wait.max(Duration::from_millis(10)).min(left);
            self.now = self.now.plus(wait);
            left -= wait;
        }
        panic!("there is always more");
    }

    fn act(&mut self, act: &Act<'_>) {
        match act {
            Act::Write(bytes) => self.write(bytes),
            Act::WriteOften(bytes, times) => self.write(&bytes.repeat(usize::from(*times))),
            Act::Look(time) => self.look(u64::from(*time) * 10),
            Act::Rotate => self.rotate(),
            Act::Restart => {
                // what is read and not kept is read again: this is the agent that kept everything
                self.look(0);
                let saved = self.saved.values().cloned().collect();
                self.tailer =
                    Tailer::new(vec![spec(self.dir.path())], saved, Bell::new(), options(), self.now);
            }
        }
    }

    fn rotate(&mut self) {
        // seen at least once, so that it is known under its name; a last line without its end stays unread for ever
        self.look(2_000);
        if !self.written.ends_with(b"\n") {
            self.write(b"\n");
        }
        self.wanted.extend(lines(&std::mem::take(&mut self.written)));
        self.generation += 1;
        let path = self.dir.path().join("app.log");
        fs::rename(&path, self.dir.path().join(format!("app.log.{}", self.generation))).expect("it is there");
        self.log = begin(&path);
    }
}

fuzz_target!(|acts: Vec<Act<'_>>| {
    let mut story = Story::new();
    for act in acts.iter().take(24) {
        story.act(act);
    }
    story.look(3_000);
    let mut wanted = std::mem::take(&mut story.wanted);
    wanted.extend(lines(&story.written));
    let show =
        |all: &[Vec<u8>]| all.iter().map(|l| String::from_utf8_lossy(l).into_owned()).collect::<Vec<_>>();
    assert_eq!(show(&story.got), show(&wanted), "{acts:?}");
});
