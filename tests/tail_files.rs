//! What becomes of every line of a log that is rotated, cut, moved and torn while it is read.
//!
//! Each story runs twice: with inotify, where time stands still and only events tell of changes, and without,
//! where only looking does. The oracle counts every line: once, in the order written, none glued or split.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use logherald::line::{BlockEnd, Gap, Position, PositionKey, SourceNo};
use logherald::tail::{
    Bell, Encoding, Format, From, Input, Join, Rung, SourceSpec, Step, TailOptions, Tailer, Trouble,
};
use logherald::time::{Clock, Now};

/// A tailer on a directory of its own, and what it gave.
struct Rig {
    dir: tempfile::TempDir,
    options: TailOptions,
    specs: Vec<SourceSpec>,
    bell: Bell,
    tailer: Option<Tailer>,
    now: Now,
    saved: BTreeMap<PositionKey, Position>,
    written: usize,
    expected: Vec<String>,
    /// Whole lines, and the heads of cut ones.
    got: Vec<String>,
    idle: Vec<String>,
    /// For each whole block that had any: the rules that hit its first line early.
    early: Vec<(String, Vec<String>)>,
    backlog: Vec<bool>,
    cut: usize,
    gaps: Vec<Gap>,
    troubles: Vec<Trouble>,
}

fn spec(no: u16, name: &str, dir: &Path, globs: &[&str]) -> SourceSpec {
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

impl Rig {
    fn new(inotify: bool) -> Rig {
        let dir = tempfile::tempdir().unwrap();
        Rig {
            specs: vec![spec(0, "app", dir.path(), &["*.log"])],
            dir,
            options: TailOptions { inotify, ..TailOptions::default() },
            bell: Bell::new(),
            tailer: None,
            now: Clock::continuing(None).now(),
            saved: BTreeMap::new(),
            written: 0,
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

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn start(&mut self) {
        self.bell = Bell::new();
        self.now.wall = Clock::continuing(None).now().wall;
        let saved = self.saved.values().cloned().collect();
        let (bell, options) = (self.bell.clone(), self.options.clone());
        self.tailer = Some(Tailer::new(self.specs.clone(), saved, bell, options, self.now));
        self.drain();
    }

    fn stop(&mut self) {
        self.tailer = None;
    }

    /// One step, its lines and positions kept.
    fn step(&mut self) -> Step {
        // Ticks are the story's, but files carry the machine's wall time.
        self.now.wall = Clock::continuing(None).now().wall;
        let Rig { tailer, got, idle, early, backlog, cut, now, .. } = self;
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        let step = tailer.as_mut().unwrap().step(*now, &mut |block| {
            assert!(!block.bytes.is_empty());
            if !block.hit_early.is_empty() {
                let rules = block.hit_early.iter().map(ToString::to_string).collect();
                early.push((text(block.bytes), rules));
            }
            match block.end {
                BlockEnd::Whole => {
                    assert_eq!(block.bytes.last(), Some(&b'\n'));
                    for line in block.bytes.split_inclusive(|&b| b == b'\n') {
                        got.push(text(line));
                        backlog.push(block.backlog);
                    }
                }
                BlockEnd::Cut => {
                    assert!(!block.bytes.contains(&b'\n'));
                    got.push(text(block.bytes));
                    *cut += 1;
                }
                BlockEnd::Idle => {
                    assert!(!block.bytes.contains(&b'\n'));
                    idle.push(text(block.bytes));
                    return vec![Arc::from("rule")];
                }
            }
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
    fn drain(&mut self) {
        for _ in 0..100_000 {
            if !self.step().more {
                return;
            }
        }
        panic!("there is always more");
    }

    /// Notices what was just written, in less time than makes a line idle.
    fn hear(&mut self) {
        if self.options.inotify {
            assert_eq!(self.bell.wait(Duration::from_secs(10)), Rung::Rang);
            self.drain();
        } else {
            self.pass(Duration::from_millis(300));
        }
    }

    /// Lets time pass, looking as often as the tailer asks.
    fn pass(&mut self, time: Duration) {
        let mut left = time;
        while left > Duration::ZERO {
            let wait = self.step().wait.max(Duration::from_millis(10)).min(left);
            self.now = self.now.plus(wait);
            left -= wait;
            self.drain();
        }
    }

    /// Until all that was written has come; then a while longer, in which nothing more may come.
    #[expect(clippy::disallowed_methods, reason = "a stopwatch: how long events may take at most")]
    fn settle(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.got.len() < self.expected.len() && Instant::now() < deadline {
            self.drain();
            if self.got.len() >= self.expected.len() {
                break;
            }
            if self.options.inotify {
                assert_eq!(self.bell.wait(Duration::from_secs(10)), Rung::Rang, "{}", self.missing());
            } else {
                self.pass(Duration::from_millis(1000));
            }
        }
        self.pass(Duration::from_millis(2500));
        assert_eq!(self.got, self.expected, "{}", self.missing());
    }

    /// The same, where the order among files is not told.
    fn settle_unordered(&mut self) {
        self.pass(Duration::from_secs(12));
        self.got.sort();
        self.expected.sort();
        assert_eq!(self.got, self.expected, "{}", self.missing());
    }

    fn missing(&self) -> String {
        let lost: Vec<_> = self.expected.iter().filter(|l| !self.got.contains(l)).take(5).collect();
        let odd: Vec<_> = self.got.iter().filter(|l| !self.expected.contains(l)).take(5).collect();
        format!("got {} of {}, lost {lost:?}, odd {odd:?}", self.got.len(), self.expected.len())
    }

    /// `n` new lines, each its own.
    fn lines(&mut self, n: usize) -> String {
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
    fn unexpected(&mut self, n: usize) -> String {
        let text = self.lines(n);
        self.expected.truncate(self.expected.len() - n);
        text
    }

    fn append(&mut self, name: &str, n: usize) {
        let text = self.lines(n);
        self.put(name, text.as_bytes());
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        self.open(name).write_all(bytes).unwrap();
    }

    fn open(&self, name: &str) -> File {
        OpenOptions::new().append(true).create(true).open(self.path(name)).unwrap()
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    fn truncate(&self, name: &str, to: u64) {
        OpenOptions::new().write(true).open(self.path(name)).unwrap().set_len(to).unwrap();
    }

    /// As if the agent was killed before it kept more than these, of which one has moved seconds later.
    fn forget_but(&mut self, kept: &[PositionKey]) {
        self.saved.retain(|key, _| kept.contains(key));
        for position in self.saved.values_mut() {
            position.at = position.at + Duration::from_secs(5);
        }
    }

    fn expect(&mut self, line: &str) {
        self.expected.push(line.to_owned());
    }
}

macro_rules! stories {
    ($(fn $name:ident($rig:ident) $body:block)*) => {$(
        mod $name {
            use super::*;
            fn story(mut rig: Rig) {
                let $rig = &mut rig;
                $body
            }
            #[test]
            fn told_by_events() { story(Rig::new(true)) }
            #[test]
            fn found_by_looking() { story(Rig::new(false)) }
        }
    )*};
}

stories! {
    fn appended_lines_come_once_and_in_order(rig) {
        let old = rig.unexpected(100);
        rig.put("a.log", old.as_bytes());
        rig.start();
        for n in 1..20 {
            rig.append("a.log", n);
            rig.settle();
        }
        assert!(rig.gaps.is_empty() && rig.troubles.is_empty(), "{:?} {:?}", rig.gaps, rig.troubles);
        assert!(rig.backlog.iter().all(|b| !b));
    }

    fn a_new_file_is_read_from_its_start(rig) {
        rig.start();
        rig.append("new.log", 3);
        rig.settle();
        let text = rig.lines(3);
        fs::write(rig.path("moved.tmp"), text).unwrap();
        rig.rename("moved.tmp", "moved.log");
        rig.settle();
        rig.append("moved.log", 1);
        rig.settle();
    }

    fn a_new_directory_that_a_glob_names_is_picked_up(rig) {
        rig.specs = vec![spec(0, "app", rig.dir.path(), &["*/*.log"])];
        rig.start();
        fs::create_dir(rig.path("sub")).unwrap();
        rig.append("sub/a.log", 3);
        rig.settle();
        rig.append("sub/b.log", 3);
        rig.settle();
    }

    fn from_start_reads_what_was_there_and_calls_it_backlog(rig) {
        rig.specs[0].from = From::Start;
        rig.append("a.log", 20_000);
        rig.start();
        rig.settle();
        assert!(rig.backlog.iter().all(|&b| b));
        rig.append("a.log", 10);
        rig.settle();
        assert_eq!(rig.backlog.iter().filter(|b| !*b).count(), 10);
    }

    fn renamed_and_created_with_late_lines_on_the_old_one(rig) {
        rig.start();
        let mut old = rig.open("a.log");
        let text = rig.lines(1000);
        old.write_all(text.as_bytes()).unwrap();
        rig.settle();
        rig.rename("a.log", "a.log.1");
        let text = rig.lines(1000);
        old.write_all(text.as_bytes()).unwrap();
        rig.settle();
        File::create(rig.path("a.log")).unwrap();
        rig.pass(Duration::from_secs(120));
        let text = rig.lines(1000);
        old.write_all(text.as_bytes()).unwrap();
        rig.pass(Duration::from_secs(5));
        rig.append("a.log", 1000);
        rig.settle();
        // Once quiet, the old one is let go.
        rig.pass(Duration::from_secs(700));
        assert_eq!(rig.tailer.as_ref().unwrap().status().len(), 1);
        assert_eq!(rig.saved.len(), 1);
        assert!(rig.gaps.is_empty(), "{:?}", rig.gaps);
    }

    fn moved_out_of_the_directory_with_late_lines(rig) {
        fs::create_dir(rig.path("old")).unwrap();
        rig.start();
        let mut old = rig.open("a.log");
        let text = rig.lines(10);
        old.write_all(text.as_bytes()).unwrap();
        rig.settle();
        rig.rename("a.log", "old/a.1");
        rig.pass(Duration::from_secs(1));
        let text = rig.lines(10);
        old.write_all(text.as_bytes()).unwrap();
        rig.pass(Duration::from_secs(1)); // no event ever tells of these
        rig.append("a.log", 10);
        rig.settle();
    }

    fn two_rotations_between_two_looks(rig) {
        rig.start();
        rig.append("a.log", 10);
        rig.settle();
        // What the tailer knows is older than every rotation from here on.
        rig.append("a.log", 20_000);
        rig.rename("a.log", "a.log.1");
        rig.append("a.log", 20_000);
        rig.rename("a.log.1", "a.log.2");
        rig.rename("a.log", "a.log.1");
        rig.append("a.log", 10);
        rig.settle();
    }

    fn rotated_again_and_again_with_inodes_reused(rig) {
        rig.start();
        rig.append("a.log", 5);
        rig.settle();
        for _ in 0..20 {
            rig.append("a.log", 50);
            drop(fs::remove_file(rig.path("a.log.2")));
            drop(fs::rename(rig.path("a.log.1"), rig.path("a.log.2")));
            rig.rename("a.log", "a.log.1");
            File::create_new(rig.path("a.log")).unwrap();
            rig.append("a.log", 50);
            rig.settle();
        }
        assert!(rig.gaps.is_empty(), "{:?}", rig.gaps);
    }

    fn generations_that_match_the_glob_are_not_read_again(rig) {
        rig.specs = vec![spec(0, "app", rig.dir.path(), &["a.log*"])];
        rig.start();
        for _ in 0..5 {
            rig.append("a.log", 100);
            rig.settle();
            drop(fs::rename(rig.path("a.log.1"), rig.path("a.log.2")));
            rig.rename("a.log", "a.log.1");
            rig.append("a.log", 100);
            rig.settle();
        }
    }

    fn copied_and_cut(rig) {
        rig.start();
        for _ in 0..5 {
            rig.append("a.log", 300);
            rig.settle();
            fs::copy(rig.path("a.log"), rig.path("a.log.1")).unwrap();
            rig.truncate("a.log", 0);
            rig.settle();
        }
        assert!(rig.gaps.is_empty(), "{:?}", rig.gaps);
    }

    fn copied_and_cut_before_the_end_was_read(rig) {
        rig.start();
        rig.append("a.log", 300);
        rig.settle();
        rig.append("a.log", 200);
        fs::copy(rig.path("a.log"), rig.path("a.log.1")).unwrap();
        rig.truncate("a.log", 0);
        rig.append("a.log", 700);
        rig.settle();
        assert!(rig.gaps.is_empty(), "{:?}", rig.gaps);
    }

    fn a_copy_that_matches_the_glob_is_not_read_twice(rig) {
        rig.specs = vec![spec(0, "app", rig.dir.path(), &["a.log*"])];
        rig.start();
        rig.append("a.log", 300);
        rig.settle();
        fs::copy(rig.path("a.log"), rig.path("a.log.1")).unwrap();
        rig.pass(Duration::from_secs(3));
        rig.append("a.log", 100);
        rig.settle();
        let all = fs::read(rig.path("a.log")).unwrap();
        rig.put("a.log.2", &all);
        rig.truncate("a.log", 0);
        rig.append("a.log", 100);
        rig.settle();
        rig.pass(Duration::from_secs(30));
        // What carries a rotated name and is something else is read.
        rig.append("a.log.3", 100);
        rig.settle();
    }

    fn cut_and_grown_beyond_the_old_place(rig) {
        rig.start();
        rig.append("a.log", 300);
        rig.settle();
        rig.truncate("a.log", 0);
        rig.append("a.log", 900);
        rig.settle();
        assert!(rig.gaps.is_empty(), "{:?}", rig.gaps);
    }

    fn cut_and_grown_with_the_same_header(rig) {
        rig.start();
        let header = format!("{}\n", "#Fields: date time".repeat(120));
        for n in [400, 900, 200, 950] {
            drop(fs::remove_file(rig.path("other.log")));
            if rig.path("a.log").exists() {
                rig.truncate("a.log", 0);
            }
            rig.expect(&header);
            let text = rig.lines(n);
            rig.put("a.log", format!("{header}{text}").as_bytes());
            rig.settle();
        }
    }

    fn what_is_cut_unread_is_a_gap(rig) {
        let old = rig.unexpected(10);
        rig.put("a.log", old.as_bytes());
        rig.start();
        let unread = "half a line";
        rig.put("a.log", unread.as_bytes());
        rig.hear();
        rig.truncate("a.log", 0);
        rig.append("a.log", 5);
        rig.settle();
        assert_eq!(rig.gaps.len(), 1);
        assert_eq!(rig.gaps[0].bytes, Some(unread.len() as u64));
        assert_eq!(rig.gaps[0].why, "cut or rewritten before it was read");
    }

    fn trimmed_at_its_end_goes_on_there(rig) {
        rig.start();
        for _ in 0..30 {
            rig.append("a.log", 100);
            rig.settle();
        }
        let text = fs::read(rig.path("a.log")).unwrap();
        let upto = memchr::memrchr(b'\n', &text[..text.len() - 5_000]).unwrap() + 1;
        rig.truncate("a.log", upto as u64);
        rig.pass(Duration::from_secs(3));
        rig.append("a.log", 10);
        rig.settle();
    }

    fn deleted_while_it_is_written(rig) {
        rig.start();
        let mut held = rig.open("a.log");
        let text = rig.lines(10);
        held.write_all(text.as_bytes()).unwrap();
        rig.settle();
        fs::remove_file(rig.path("a.log")).unwrap();
        rig.pass(Duration::from_secs(1));
        let text = rig.lines(1000);
        held.write_all(text.as_bytes()).unwrap();
        rig.pass(Duration::from_secs(1));
        rig.settle();
        drop(held);
        rig.pass(Duration::from_secs(15));
        assert!(rig.tailer.as_ref().unwrap().status().is_empty(), "the disk is freed");
        assert!(rig.saved.is_empty());
    }

    fn deleted_and_made_anew_under_the_same_name(rig) {
        rig.start();
        rig.append("a.log", 5);
        rig.settle();
        for _ in 0..20 {
            rig.append("a.log", 20);
            fs::remove_file(rig.path("a.log")).unwrap();
            rig.append("a.log", 20);
            rig.settle();
        }
    }

    fn a_symlink_that_is_swapped(rig) {
        fs::create_dir(rig.path("elsewhere")).unwrap();
        let mut t1 = rig.open("elsewhere/t1");
        symlink(rig.path("elsewhere/t1"), rig.path("cur.log")).unwrap();
        rig.start();
        let text = rig.lines(10);
        t1.write_all(text.as_bytes()).unwrap();
        rig.settle();
        rig.append("elsewhere/t2", 10);
        symlink(rig.path("elsewhere/t2"), rig.path("tmp")).unwrap();
        rig.rename("tmp", "cur.log");
        rig.settle();
        let text = rig.lines(10);
        t1.write_all(text.as_bytes()).unwrap();
        rig.pass(Duration::from_secs(1));
        rig.append("elsewhere/t2", 10);
        rig.settle();
        // The target is rotated, the link's text stays.
        rig.rename("elsewhere/t2", "elsewhere/t2.1");
        rig.append("elsewhere/t2", 10);
        rig.settle();
    }

    fn restarted_in_the_middle_of_a_file_and_of_a_line(rig) {
        rig.start();
        rig.append("a.log", 1000);
        rig.settle();
        let text = rig.lines(1);
        let (head, tail) = text.split_at(7);
        rig.put("a.log", head.as_bytes());
        rig.hear();
        rig.pass(Duration::from_millis(2200));
        rig.stop();
        rig.put("a.log", tail.as_bytes());
        rig.append("a.log", 1000);
        rig.start();
        rig.settle();
        assert!(rig.backlog[1000..].iter().all(|&b| b));
        assert_eq!(rig.early, [(rig.expected[1000..].concat(), vec!["rule".to_owned()])], "hit once only");
    }

    fn killed_before_the_last_positions_were_kept(rig) {
        rig.start();
        rig.append("a.log", 10);
        rig.settle();
        let kept = rig.saved.clone();
        rig.append("a.log", 10);
        rig.settle();
        rig.stop();
        rig.saved = kept;
        rig.got.truncate(10);
        rig.start();
        rig.settle();
    }

    fn killed_before_a_generation_was_kept_and_rotated_again(rig) {
        rig.start();
        rig.append("a.log", 10);
        rig.settle();
        let first: Vec<PositionKey> = rig.saved.keys().cloned().collect();
        let mut late = rig.open("a.log");
        rig.rename("a.log", "a.log.1");
        rig.append("a.log", 10);
        rig.settle();
        let text = rig.lines(5);
        late.write_all(text.as_bytes()).unwrap();
        rig.settle_unordered();
        // of the new generation neither lines nor position were kept; the late lines of the old one were
        rig.stop();
        rig.forget_but(&first);
        let second = rig.expected[10..20].to_vec();
        rig.got.retain(|line| !second.contains(line));
        rig.rename("a.log.1", "a.log.2");
        rig.rename("a.log", "a.log.1");
        rig.append("a.log", 10);
        rig.start();
        rig.settle_unordered();
        assert!(rig.gaps.is_empty(), "{:?}", rig.gaps);
    }

    fn killed_before_a_new_name_was_kept(rig) {
        rig.start();
        rig.append("a.log", 10);
        rig.settle();
        let first: Vec<PositionKey> = rig.saved.keys().cloned().collect();
        rig.append("b.log", 10);
        rig.settle();
        rig.append("a.log", 10);
        rig.settle();
        rig.stop();
        rig.forget_but(&first);
        let lost = rig.expected[10..20].to_vec();
        rig.got.retain(|line| !lost.contains(line));
        rig.start();
        rig.settle_unordered();
    }

    fn the_end_is_kept_from_the_first_moment(rig) {
        let old = rig.unexpected(10);
        rig.put("a.log", old.as_bytes());
        rig.start();
        rig.stop();
        rig.append("a.log", 10);
        rig.start();
        rig.settle();
    }

    fn born_while_nobody_ran(rig) {
        rig.start();
        rig.append("a.log", 10);
        rig.settle();
        rig.stop();
        rig.append("b.log", 10);
        rig.start();
        rig.settle();
    }

    fn rotated_while_nobody_ran(rig) {
        rig.start();
        rig.append("a.log", 1000);
        rig.settle();
        rig.stop();
        rig.append("a.log", 20_000);
        rig.rename("a.log", "a.log.1");
        rig.append("a.log", 1000);
        rig.start();
        rig.settle();
        assert!(rig.gaps.is_empty(), "{:?}", rig.gaps);
    }

    fn rotated_three_times_while_nobody_ran(rig) {
        rig.start();
        rig.append("a.log", 1000);
        rig.settle();
        rig.stop();
        rig.append("a.log", 20_000);
        rig.rename("a.log", "a.log.1");
        rig.append("a.log", 20_000);
        rig.rename("a.log.1", "a.log.2");
        rig.rename("a.log", "a.log.1");
        rig.append("a.log", 20_000);
        rig.rename("a.log.2", "a.log.3");
        rig.rename("a.log.1", "a.log.2");
        rig.rename("a.log", "a.log.1");
        rig.append("a.log", 1000);
        rig.start();
        rig.settle();
        assert!(rig.gaps.is_empty(), "{:?}", rig.gaps);
    }

    fn copied_and_cut_while_nobody_ran(rig) {
        rig.start();
        rig.append("a.log", 1000);
        rig.settle();
        rig.stop();
        rig.append("a.log", 500);
        fs::copy(rig.path("a.log"), rig.path("a.log.1")).unwrap();
        rig.truncate("a.log", 0);
        rig.append("a.log", 3000);
        rig.start();
        rig.settle();
        assert!(rig.gaps.is_empty(), "{:?}", rig.gaps);
    }

    fn gone_while_nobody_ran_is_a_gap(rig) {
        rig.start();
        rig.append("a.log", 100);
        rig.settle();
        rig.stop();
        rig.put("a.log", b"nobody will ever read this\n");
        fs::remove_file(rig.path("a.log")).unwrap();
        rig.append("a.log", 2000);
        rig.start();
        rig.settle();
        assert_eq!(rig.gaps.len(), 1);
        assert_eq!(rig.gaps[0].bytes, None);
        assert_eq!(&*rig.gaps[0].file, rig.path("a.log").to_str().unwrap());
        assert_eq!(rig.saved.len(), 1);
    }

    fn rewritten_while_nobody_ran_is_a_gap(rig) {
        rig.start();
        rig.append("a.log", 100);
        rig.settle();
        rig.stop();
        rig.truncate("a.log", 0);
        rig.append("a.log", 2000);
        rig.start();
        rig.settle();
        assert_eq!(rig.gaps.len(), 1);
        assert_eq!(rig.gaps[0].why, "cut or rewritten while the agent was away");
    }

    fn without_birth_times_a_reused_inode_is_still_found_out(rig) {
        rig.options.birth_times = false;
        rig.start();
        rig.append("a.log", 100);
        rig.settle();
        rig.stop();
        fs::remove_file(rig.path("a.log")).unwrap();
        rig.append("a.log", 300);
        rig.start();
        rig.settle();
        rig.rename("a.log", "a.log.1");
        rig.append("a.log", 300);
        rig.settle();
    }

    fn an_unfinished_line_is_matched_when_idle_and_again_when_whole(rig) {
        rig.start();
        rig.append("a.log", 2);
        rig.settle();
        rig.put("a.log", b"the end");
        rig.hear();
        rig.pass(Duration::from_secs(3));
        assert_eq!(rig.idle, ["the end"]);
        rig.pass(Duration::from_secs(60));
        assert_eq!(rig.idle.len(), 1, "once");
        rig.put("a.log", b" of it\n");
        rig.expect("the end of it\n");
        rig.settle();
        assert_eq!(rig.early, [("the end of it\n".to_owned(), vec!["rule".to_owned()])]);
    }

    fn an_unfinished_line_from_before_the_start_waits_for_its_end(rig) {
        let old = rig.unexpected(3);
        rig.put("a.log", format!("{old}half").as_bytes());
        rig.start();
        rig.pass(Duration::from_secs(5));
        assert!(rig.idle.is_empty());
        rig.put("a.log", b" and half\n");
        rig.expect("half and half\n");
        rig.settle();
    }

    fn line_ends_and_bytes_of_every_sort(rig) {
        rig.start();
        rig.put("a.log", b"dos\r\nbad \xff\xfe utf\n\n nul \0 inside\nlone \r return\n");
        for line in ["dos\r\n", "bad \u{fffd}\u{fffd} utf\n", "\n", " nul \0 inside\n", "lone \r return\n"] {
            rig.expect(line);
        }
        rig.settle();
        assert_eq!(rig.cut, 0);
    }

    fn a_hole_of_nuls_is_skipped(rig) {
        rig.start();
        let file = File::create(rig.path("a.log")).unwrap();
        let text = rig.lines(10);
        file.write_all_at(text.as_bytes(), 0).unwrap();
        rig.settle();
        // A writer that was not told of the cut goes on where it was.
        file.set_len(0).unwrap();
        let text = rig.lines(10);
        file.write_all_at(text.as_bytes(), 3_000_000_000).unwrap();
        rig.settle();
        let text = rig.lines(10);
        file.write_all_at(text.as_bytes(), 3_000_200_000).unwrap();
        rig.settle();
        rig.stop();
        rig.start();
        rig.append("a.log", 10);
        rig.settle();
    }

    fn a_preallocated_file_is_read_as_it_fills(rig) {
        rig.start();
        let file = File::create(rig.path("a.log")).unwrap();
        file.set_len(2_000_000).unwrap();
        let mut at = 0;
        for _ in 0..5 {
            let text = rig.lines(10);
            file.write_all_at(text.as_bytes(), at).unwrap();
            at += text.len() as u64;
            rig.settle();
        }
    }

    fn over_long_lines_are_cut_once_and_never_end_the_file(rig) {
        rig.specs[0].max_line = 1000;
        rig.start();
        let exact = format!("{}\n", "e".repeat(1000));
        rig.expect(&exact);
        rig.expect(&"l".repeat(1000));
        rig.put("a.log", format!("{exact}{}\n", "l".repeat(5000)).as_bytes());
        rig.append("a.log", 3);
        rig.settle();
        // One that is written slowly, far longer than any buffer.
        rig.expect(&"s".repeat(1000));
        for _ in 0..40 {
            rig.put("a.log", "s".repeat(60_000).as_bytes());
            rig.pass(Duration::from_millis(300));
        }
        rig.put("a.log", b"\n");
        rig.append("a.log", 3);
        rig.settle();
        assert_eq!(rig.cut, 2);
        // And one across a restart.
        rig.expect(&"r".repeat(1000));
        rig.put("a.log", "r".repeat(400_000).as_bytes());
        rig.settle();
        rig.stop();
        rig.put("a.log", "r".repeat(400_000).as_bytes());
        rig.put("a.log", b"\n");
        rig.append("a.log", 3);
        rig.start();
        rig.settle();
    }

    fn empty_and_tiny_files(rig) {
        rig.put("empty.log", b"");
        rig.put("tiny.log", b"x");
        rig.start();
        rig.pass(Duration::from_secs(2));
        rig.append("empty.log", 1);
        rig.settle();
        rig.put("tiny.log", b"y\n");
        rig.expect("xy\n");
        rig.settle();
    }

    fn what_cannot_be_read_is_told_once_and_read_when_it_can(rig) {
        symlink("loop.log", rig.path("loop.log")).unwrap();
        rig.start();
        rig.pass(Duration::from_secs(30));
        assert_eq!(rig.troubles.len(), 1, "{:?}", rig.troubles);
        assert_eq!(rig.troubles[0].path, rig.path("loop.log"));
        assert!(rig.troubles[0].what.starts_with("cannot be read: "));
        assert_eq!(rig.tailer.as_ref().unwrap().summary().sources[0].unreadable, [rig.path("loop.log")]);
        fs::remove_file(rig.path("loop.log")).unwrap();
        rig.append("loop.log", 5);
        rig.settle();
        assert_eq!(rig.troubles.len(), 2);
        assert!(rig.troubles[1].over);
    }

    fn names_need_not_be_text_and_only_files_are_read(rig) {
        use std::os::unix::ffi::OsStrExt;
        let odd = rig.dir.path().join(std::ffi::OsStr::from_bytes(b"caf\xe9\n.log"));
        fs::create_dir(rig.path("dir.log")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            rig.path("fifo.log"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RWXU,
            0,
        )
        .unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(rig.path("socket.log")).unwrap();
        symlink("nowhere", rig.path("dangling.log")).unwrap();
        rig.start();
        let text = rig.lines(5);
        fs::write(&odd, text).unwrap();
        rig.settle();
        rig.stop();
        let text = rig.lines(5);
        OpenOptions::new().append(true).open(&odd).unwrap().write_all(text.as_bytes()).unwrap();
        rig.start();
        rig.settle();
        assert_eq!(rig.tailer.as_ref().unwrap().status().len(), 1);
        assert!(rig.troubles.is_empty(), "{:?}", rig.troubles);
    }

    fn one_file_by_many_names_is_read_once_a_source(rig) {
        rig.specs = vec![spec(0, "app", rig.dir.path(), &["*.log", "a*", "latest"])];
        rig.put("a.log", b"");
        fs::hard_link(rig.path("a.log"), rig.path("latest")).unwrap();
        rig.start();
        rig.append("a.log", 5);
        rig.settle();
        rig.append("latest", 5);
        rig.settle();
        fs::remove_file(rig.path("latest")).unwrap();
        rig.append("b.log", 5);
        fs::hard_link(rig.path("b.log"), rig.path("latest")).unwrap();
        rig.settle();
    }

    fn two_sources_each_read_the_file(rig) {
        let second = spec(1, "other", rig.dir.path(), &["a.*"]);
        rig.specs.push(second);
        rig.start();
        rig.append("a.log", 5);
        let twice: Vec<String> = rig.expected.iter().chain(&rig.expected).cloned().collect();
        rig.expected = twice;
        rig.settle();
        assert_eq!(rig.saved.len(), 2);
    }

    fn many_files_need_few_handles(rig) {
        for n in 0..700 {
            rig.append(&format!("{n}.log"), 1);
        }
        rig.expected.clear();
        rig.start();
        for round in 0..3 {
            for n in (round..700).step_by(3) {
                rig.append(&format!("{n}.log"), 1);
            }
            rig.settle_unordered();
        }
        let dir = rig.dir.path().to_path_buf();
        let open = fs::read_dir("/proc/self/fd").unwrap().filter(|fd| {
            fs::read_link(fd.as_ref().unwrap().path()).is_ok_and(|to| to.starts_with(&dir))
        });
        assert!(open.count() <= 512);
        // The handle of a file that was closed is found again after a rotation.
        rig.pass(Duration::from_secs(1300));
        rig.append("7.log", 1);
        rig.rename("7.log", "7.log.1");
        rig.append("7.log", 1);
        rig.settle_unordered();
    }

    fn a_reload_keeps_what_stays_and_remembers_what_goes(rig) {
        rig.start();
        rig.append("a.log", 5);
        rig.put("b.txt", b"was there before\n");
        rig.settle();
        let (now, wider) = (rig.now, vec![spec(0, "app", rig.dir.path(), &["*.log", "*.txt"])]);
        rig.tailer.as_mut().unwrap().reload(wider.clone(), now);
        rig.append("a.log", 5);
        rig.settle();
        rig.append("b.txt", 5);
        rig.settle();
        rig.tailer.as_mut().unwrap().reload(vec![spec(0, "app", rig.dir.path(), &["*.txt"])], now);
        rig.drain();
        rig.append("a.log", 5);
        rig.pass(Duration::from_secs(3));
        rig.tailer.as_mut().unwrap().reload(wider, now);
        rig.settle();
    }

    fn a_hot_file_starves_nobody(rig) {
        rig.start();
        rig.append("hot.log", 100_000);
        let before = rig.expected.len();
        rig.append("quiet.log", 1);
        let quiet = rig.expected[before].clone();
        let mut steps = 0;
        while !rig.got.contains(&quiet) {
            if !rig.step().more && rig.options.inotify {
                rig.bell.wait(Duration::from_secs(1));
            } else if !rig.options.inotify {
                rig.now = rig.now.plus(Duration::from_millis(100));
            }
            steps += 1;
            assert!(steps < 100);
        }
        assert!(rig.got.len() < rig.expected.len(), "the quiet one came while the hot one was being read");
        rig.settle_unordered();
    }
}

#[test]
fn an_overflow_means_look_at_everything() {
    let mut rig = Rig::new(false);
    rig.put("a.log", b"");
    rig.start();
    rig.append("a.log", 5);
    rig.append("new.log", 5);
    rig.drain();
    assert!(rig.got.is_empty(), "no time passed and nobody rang");
    rig.bell.ring_everything();
    rig.drain();
    assert_eq!(rig.got.len(), 10);
}

#[test]
fn after_a_standstill_what_came_meanwhile_is_backlog() {
    let mut rig = Rig::new(false);
    rig.put("a.log", b"");
    rig.start();
    rig.append("a.log", 5);
    rig.now = rig.now.plus(Duration::from_secs(3600));
    rig.settle();
    assert_eq!(rig.backlog, [true; 5]);
    rig.append("a.log", 5);
    rig.settle();
    assert_eq!(rig.backlog[5..], [false; 5]);
}

#[test]
fn the_summary_says_what_is_watched() {
    let mut rig = Rig::new(true);
    rig.specs = vec![spec(3, "app", rig.dir.path(), &["*.log", "none/*.log"])];
    rig.put("a.log", b"");
    rig.put("b.log", b"");
    rig.start();
    let summary = rig.tailer.as_ref().unwrap().summary();
    assert_eq!(summary.directories, 1);
    assert_eq!((&*summary.sources[0].name, summary.sources[0].files), ("app", 2));
    assert_eq!(summary.sources[0].empty_globs, [format!("{}/none/*.log", rig.dir.path().display())]);
}

/// A `journalctl` that reads entries from a file: arguments as the real one takes them, one entry a line.
fn fake_journalctl(rig: &mut Rig) {
    use std::os::unix::fs::PermissionsExt;
    let script = r#"#!/bin/bash
# Entries are lines "N TEXT" of the file beside this script; the cursor of one is "N".
store="$(dirname "$0")/entries"
after=0; follow=; lines=
for arg in "$@"; do
  case "$arg" in
    --cursor=*) after="$((${arg#*=} - 1))" ;;
    --follow) follow=1 ;;
    --lines=1) lines=1 ;;
  esac
done
[ -e "$(dirname "$0")/broken" ] && { echo "Bad message" >&2; exit 1; }
show() { while read -r n text; do
  [ -n "$n" ] && [ "$n" -gt "$after" ] || continue
  after="$n"
  printf '{"__CURSOR":"%s","__REALTIME_TIMESTAMP":"%s000000","_HOSTNAME":"h","SYSLOG_IDENTIFIER":"app","MESSAGE":"%s"}\n' "$n" "$n" "$text"
done; }
if [ -n "$lines" ]; then tail -n 1 "$store" | show; exit 0; fi
show < "$store"
[ -z "$follow" ] && exit 0
echo $$ > "$(dirname "$0")/pid"
while [ -e "$store" ]; do show < "$store"; read -r -t 0.02 < <(:) || :; [ -e "$(dirname "$0")/broken" ] && exit 1; done
"#;
    let path = rig.path("journalctl");
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    rig.options.journalctl = path;
    rig.options.inotify = false;
    rig.specs = vec![SourceSpec {
        no: SourceNo(0),
        name: Arc::from("journal"),
        input: Input::Journal { unit: None },
        from: From::End,
        max_line: 256 * 1024,
        join: Join::None,
        format: Format::Plain,
        encoding: Encoding::default(),
    }];
    rig.put("entries", b"");
}

impl Rig {
    fn entries(&mut self, n: usize) {
        for _ in 0..n {
            self.written += 1;
            self.put("entries", format!("{0} entry {0}\n", self.written).as_bytes());
            self.expected.push(format!("h app: entry {}\n", self.written));
        }
    }

    /// Until every entry came, its head (the time) left out.
    #[expect(clippy::disallowed_methods, reason = "a stopwatch: how long a child may take at most")]
    fn heard(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        let look = |rig: &mut Rig| {
            rig.now = rig.now.plus(Duration::from_millis(100));
            rig.step();
            // The child needs real time.
            assert_eq!(rig.bell.wait(Duration::from_millis(10)), Rung::Timeout);
        };
        while self.got.len() < self.expected.len() && Instant::now() < deadline {
            look(self);
        }
        for _ in 0..20 {
            look(self);
        }
        let got: Vec<&str> = self.got.iter().map(|l| &l[16..]).collect();
        assert_eq!(got, self.expected);
    }
}

#[test]
fn the_journal_gives_every_entry_once_whatever_becomes_of_the_child() {
    let mut rig = Rig::new(false);
    fake_journalctl(&mut rig);
    rig.entries(3);
    rig.expected.clear();
    rig.start();
    rig.heard();
    assert_eq!(rig.saved.len(), 1, "the end is kept from the first moment");
    rig.entries(5);
    rig.heard();
    // The child is killed.
    let pid: i32 = fs::read_to_string(rig.path("pid")).unwrap().trim().parse().unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    rig.entries(5);
    rig.heard();
    // The agent is stopped and started.
    rig.stop();
    rig.entries(5);
    rig.start();
    rig.heard();
    rig.entries(5);
    rig.heard();
    assert!(rig.troubles.is_empty() && rig.gaps.is_empty(), "{:?} {:?}", rig.troubles, rig.gaps);
    // journalctl fails for a while: that is told, and told to be over.
    fs::write(rig.path("broken"), "").unwrap();
    rig.entries(5);
    for _ in 0..100 {
        rig.now = rig.now.plus(Duration::from_millis(100));
        rig.step();
        assert_eq!(rig.bell.wait(Duration::from_millis(10)), Rung::Timeout);
    }
    fs::remove_file(rig.path("broken")).unwrap();
    rig.now = rig.now.plus(Duration::from_secs(60));
    rig.heard();
    rig.now = rig.now.plus(Duration::from_secs(10));
    rig.heard();
    let told: Vec<(&str, bool)> = rig.troubles.iter().map(|t| (t.what.as_str(), t.over)).collect();
    assert_eq!(told, [("ended: Bad message", false), ("ended: Bad message", true)]);
}

#[test]
fn a_missing_journalctl_is_a_trouble_with_a_remedy() {
    let mut rig = Rig::new(false);
    fake_journalctl(&mut rig);
    rig.options.journalctl = rig.path("none");
    rig.start();
    rig.pass(Duration::from_secs(100));
    assert_eq!(rig.troubles.len(), 1);
    assert_eq!(rig.troubles[0].what, "cannot be run: no such file");
    assert_eq!(
        rig.troubles[0].hint.as_deref(),
        Some("install systemd's `journalctl`, or watch files with `files` instead of `journal`")
    );
}

/// What may happen to a log, in any order.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Write(u8),
    Half,
    Rotate,
    Cut,
    Unlink,
    Restart,
    Look(u16),
}

fn deeds() -> impl proptest::strategy::Strategy<Value = Vec<Deed>> {
    use proptest::prelude::*;
    let deed = prop_oneof![
        6 => (1u8..120).prop_map(Deed::Write),
        2 => Just(Deed::Half),
        3 => Just(Deed::Rotate),
        1 => Just(Deed::Cut),
        1 => Just(Deed::Unlink),
        2 => Just(Deed::Restart),
        6 => (1u16..3000).prop_map(Deed::Look),
    ];
    proptest::collection::vec(deed, 1..40)
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 200, max_shrink_iters: 200, ..Default::default() })]

    /// Every line once, except where a deed destroyed bytes before a look: those lines may be missing, no
    /// other, and none comes twice. A log is rotated in one way, by renaming or by copying, as it is configured.
    #[test]
    fn any_history_of_a_log_gives_each_line_once(deeds in deeds(), by_copy in proptest::bool::ANY) {
        let mut rig = Rig::new(false);
        rig.specs[0].from = From::Start;
        rig.start();
        let mut half = String::new();
        // Lines that were written since the last look, and those that a deed may have destroyed.
        let (mut unseen, mut doomed): (Vec<String>, Vec<String>) = (vec![], vec![]);
        let (mut copies, mut met) = (0, false);
        for deed in deeds {
            met &= rig.path("a.log").exists();
            match deed {
                Deed::Write(n) => {
                    let first = rig.expected.len();
                    let mut text = rig.lines(usize::from(n));
                    if !half.is_empty() {
                        let line = format!("{half}{}", rig.expected[first]);
                        rig.expected[first].clone_from(&line);
                        half.clear();
                    }
                    unseen.extend(rig.expected[first..].iter().cloned());
                    rig.put("a.log", std::mem::take(&mut text).as_bytes());
                }
                Deed::Half if half.is_empty() => {
                    rig.written += 1;
                    half = format!("half {:06} ", rig.written);
                    rig.put("a.log", half.as_bytes());
                }
                Deed::Half => {}
                Deed::Look(ms) => {
                    rig.pass(Duration::from_millis(u64::from(ms)));
                    if ms > 1100 {
                        unseen.clear();
                        met = rig.path("a.log").exists();
                    }
                }
                Deed::Restart => {
                    rig.stop();
                    rig.start();
                    unseen.clear();
                    met = true;
                }
                _ if !rig.path("a.log").exists() => {}
                Deed::Rotate if !by_copy => {
                    copies += 1;
                    half.clear();
                    if !met {
                        doomed.append(&mut unseen); // nobody knows that it ever was a log
                    }
                    rig.rename("a.log", &format!("a.log-{copies}"));
                }
                Deed::Rotate => {
                    copies += 1;
                    half.clear();
                    fs::copy(rig.path("a.log"), rig.path(&format!("a.log-{copies}"))).unwrap();
                    rig.truncate("a.log", 0);
                    doomed.append(&mut unseen);
                }
                Deed::Cut => {
                    half.clear();
                    rig.truncate("a.log", 0);
                    doomed.append(&mut unseen);
                }
                Deed::Unlink => {
                    half.clear();
                    fs::remove_file(rig.path("a.log")).unwrap();
                    doomed.append(&mut unseen);
                }
            }
        }
        rig.pass(Duration::from_secs(15));
        let mut got = rig.got.clone();
        got.sort();
        let all = got.len();
        got.dedup();
        proptest::prop_assert_eq!(all, got.len(), "a line came twice");
        for line in &rig.expected {
            proptest::prop_assert!(
                got.binary_search(line).is_ok() || doomed.contains(line),
                "lost {:?}; {}", line, rig.missing()
            );
        }
        for line in &got {
            proptest::prop_assert!(rig.expected.contains(line), "glued or split: {:?}", line);
        }
    }
}
