//! The lines of many logs in the order in which they were written: what a backtest gives the judge.
//!
//! The files (`past_file`) are merged by the times of their lines, and where those are the same, in the order in which
//! the files were given. Lines that hit nothing are left out: the judge's timers run between the hits all the same.
//!
//! The surprising part: a file is opened when its first line's turn comes and closed behind its last, so that a year of
//! generations is open one at a time, and those that overlap are read in the smaller pieces the more they are.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::path::PathBuf;

use super::past_file::{LogFile, Open};
use crate::hit::Hits;
use crate::rules::RuleSet;
use crate::time::Wall;

/// All open files together are read in pieces of so many bytes at most…
const WINDOWS: usize = 64 << 20;

/// …each in pieces of at least this and at most that.
const WINDOW: (usize, usize) = (16 << 10, 256 << 10);

/// Hits of lines that one file got at one instant.
#[derive(Debug)]
pub struct Moment {
    /// When the lines are taken to have been read.
    pub at: Wall,
    /// In their order.
    pub hits: Hits,
    /// Which of the sets of rules found them.
    pub set: usize,
}

/// What has been read so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Lines.
    pub lines: u64,
    /// Bytes of text.
    pub bytes: u64,
    /// Bytes on the disk.
    pub disk: u64,
    /// Of the oldest line and the newest.
    pub times: Option<(Wall, Wall)>,
}

impl Progress {
    /// A line of that time was read.
    pub(super) fn saw(&mut self, at: Wall) {
        let (oldest, newest) = self.times.unwrap_or((at, at));
        self.times = Some((oldest.min(at), newest.max(at)));
    }
}

/// Something about a file that its reader should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// The file.
    pub path: PathBuf,
    /// What, in lower-case words.
    pub what: String,
    /// It, or a part of it, could not be read.
    pub unread: bool,
}

/// The logs, merged.
#[derive(Debug)]
pub struct History {
    files: Vec<LogFile>,
    sets: Vec<RuleSet>,
    open: Vec<Option<Open>>,
    /// When each file has something, the oldest first; one that was not begun stands at its first stamp.
    turns: BinaryHeap<Reverse<(Wall, usize)>>,
    window: usize,
    progress: Progress,
    remarks: Vec<Remark>,
}

impl History {
    /// Looks at each file's first lines. `sets` are the rules that the files name by number.
    pub fn new(files: Vec<LogFile>, sets: Vec<RuleSet>) -> History {
        let window = (WINDOWS / files.len().max(1)).clamp(WINDOW.0, WINDOW.1);
        let open = files.iter().map(|_| None).collect();
        let (turns, progress, remarks) = (BinaryHeap::new(), Progress::default(), Vec::new());
        let mut history = History { files, sets, open, turns, window, progress, remarks };
        for no in 0..history.files.len() {
            match Open::begins(&history.files[no], window) {
                Ok(at) => history.turns.push(Reverse((at, no))),
                Err(e) => history.give_up(no, &e),
            }
        }
        history
    }

    /// The time of the oldest file's first line that has one, before anything was read.
    pub fn begins(&self) -> Option<Wall> {
        self.turns.peek().map(|Reverse((at, _))| *at)
    }

    /// What has been read so far.
    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// What is to be known of the files, so far.
    pub fn remarks(&self) -> &[Remark] {
        &self.remarks
    }

    /// The sets of rules, for what they have counted.
    pub fn sets(&self) -> &[RuleSet] {
        &self.sets
    }

    /// The next hits, none older than those before.
    pub fn next_moment(&mut self) -> Option<Moment> {
        while let Some(Reverse((at, no))) = self.turns.pop() {
            let fresh = self.open[no].is_none();
            match self.turn(no, at, fresh) {
                Ok(Some(moment)) => return Some(moment),
                Ok(None) => {}
                Err(e) => {
                    self.open[no] = None;
                    self.give_up(no, &e);
                }
            }
        }
        None
    }

    fn turn(&mut self, no: usize, at: Wall, fresh: bool) -> io::Result<Option<Moment>> {
        let History { files, sets, open, progress, window, .. } = self;
        let file = &files[no];
        let set = file.set;
        if fresh {
            open[no] = Some(Open::new(file, no as u64 + 1, at)?);
        }
        let (Some(one), Some(rules)) = (&mut open[no], sets.get_mut(set)) else { return Ok(None) };
        let hits = if fresh { Hits::default() } else { one.take_until(at, rules, *window, progress)? };
        if let Some(next) = one.peek(rules, *window, progress)? {
            self.turns.push(Reverse((next, no)));
        } else {
            self.progress.disk += one.unseen_bytes();
            self.remarks.extend(one.remark(&file.path));
            self.open[no] = None;
        }
        Ok((!hits.is_empty()).then_some(Moment { at, hits, set }))
    }

    fn give_up(&mut self, no: usize, e: &io::Error) {
        let what = match e.kind() {
            io::ErrorKind::NotFound => "no such file".to_owned(),
            io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
            _ => e.to_string(),
        };
        self.remarks.push(Remark { path: self.files[no].path.clone(), what, unread: true });
    }
}
