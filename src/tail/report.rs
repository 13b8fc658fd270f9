//! What the tailer tells: what a step did, what is wrong, and how every file stands.
//!
//! Troubles are told by change: once when a file cannot be read, once when it can again. A file that stays
//! unreadable for a year is one trouble.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::file::{Standing, Tailed};
use super::stdin::Stdin;
use super::tailer::{Source, Tailer};
use crate::line::{Gap, Position, PositionKey};

/// What one step did.
#[derive(Debug, Default)]
pub struct Step {
    /// Positions that moved or are new. They cover every block given out in this step or before.
    pub positions: Vec<Position>,
    /// Positions that will never be needed again.
    pub forgotten: Vec<PositionKey>,
    /// What could not be read.
    pub gaps: Vec<Gap>,
    /// What went wrong, or right again.
    pub troubles: Vec<Trouble>,
    /// Sources that have ended, by name: nothing will come from them any more.
    pub ended: Vec<Arc<str>>,
    /// There is more to read now: step again without waiting.
    pub more: bool,
    /// When nothing rings: look again after this long.
    pub wait: Duration,
    /// Lines given out.
    pub lines: u64,
    /// Bytes of them.
    pub bytes: u64,
}

/// Something that stands between a source and its lines, or its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The source's name; `None` where it concerns all.
    pub source: Option<Arc<str>>,
    /// The file or directory, or what else it is about (`inotify`, `journalctl`).
    pub path: PathBuf,
    /// What is wrong, in a few lower-case words; for a trouble that is over, what it was.
    pub what: String,
    /// The remedy.
    pub hint: Option<String>,
    /// It is over.
    pub over: bool,
    /// Nothing is wrong: the globs name something that has no lines. It is told in the log alone.
    pub minor: bool,
}

impl Trouble {
    pub(super) fn new(source: Option<Arc<str>>, path: &Path, what: String, hint: Option<String>) -> Trouble {
        Trouble { source, path: path.to_path_buf(), what, hint, over: false, minor: false }
    }
}

/// How a file stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileState {
    /// There is more to read.
    Behind,
    /// All of it has been read.
    AtEnd,
    /// It lost its name and is held until it is quiet.
    Rotated,
    /// It cannot be read; a trouble has said why.
    Unreadable,
}

/// One file, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileStatus {
    /// The source's name.
    pub source: Arc<str>,
    /// Its name, or the one that it had.
    pub path: Arc<Path>,
    /// Its size when last looked at, in bytes.
    pub size: u64,
    /// How far it has been read.
    pub offset: u64,
    /// What remains, in bytes.
    pub lag: u64,
    /// How it stands.
    pub state: FileState,
}

/// What is watched, for the start line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// One a source, in their order.
    pub sources: Vec<SourceSummary>,
    /// How many directories ring the bell; 0 means that changes are found by looking.
    pub directories: usize,
}

/// What one source watches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceSummary {
    /// Its name.
    pub name: Arc<str>,
    /// How many files are read; those that cannot be are not among them.
    pub files: usize,
    /// Globs that match nothing now; a file that appears later is picked up.
    pub empty_globs: Vec<String>,
    /// Files and directories that cannot be read.
    pub unreadable: Vec<PathBuf>,
    /// It follows the journal.
    pub journal: bool,
    /// It reads standard input.
    pub stdin: bool,
    /// That has ended.
    pub ended: bool,
}

impl Tailer {
    /// How every file stands.
    pub fn status(&self) -> Vec<FileStatus> {
        let one = |f: &Tailed| {
            let source = &self.sources[f.source].spec.name;
            let state = match f.standing {
                _ if self.troubled.contains_key(&(f.source, f.path.clone())) => FileState::Unreadable,
                Standing::Old => FileState::Rotated,
                Standing::Live if f.queued.is_some() => FileState::Behind,
                Standing::Live => FileState::AtEnd,
            };
            FileStatus {
                source: Arc::clone(source),
                path: f.path.clone(),
                size: f.known_size(),
                offset: f.offset,
                lag: f.known_size().saturating_sub(f.offset),
                state,
            }
        };
        self.files.values().map(one).collect()
    }

    /// What stands between a source and its lines now.
    pub fn troubles(&self) -> Vec<Trouble> {
        let journals = self.sources.iter().filter_map(|s| s.journal.as_ref()?.troubled());
        let watch = self.watch.troubles().iter();
        let wrong = self.troubled.values().chain(journals).chain(watch).filter(|t| !t.minor);
        let mut all: Vec<Trouble> = wrong.cloned().collect();
        all.sort_by(|a, b| (&a.source, &a.path).cmp(&(&b.source, &b.path)));
        all
    }

    /// What is watched.
    pub fn summary(&self) -> Summary {
        let one = |(n, s): (usize, &Source)| SourceSummary {
            name: Arc::clone(&s.spec.name),
            files: {
                let readable = |f: &&Tailed| !self.troubled.contains_key(&(f.source, f.path.clone()));
                self.files.values().filter(|f| f.source == n && !f.is_old()).filter(readable).count()
            },
            empty_globs: s.empty_globs.clone(),
            unreadable: {
                let mine = self.troubled.keys().filter(|(source, _)| *source == n);
                let mut paths: Vec<PathBuf> = mine.map(|(_, path)| path.to_path_buf()).collect();
                paths.sort();
                paths
            },
            journal: s.journal.is_some(),
            stdin: s.stdin.is_some(),
            ended: s.stdin.as_ref().is_some_and(Stdin::has_ended),
        };
        Summary { sources: self.sources.iter().enumerate().map(one).collect(), directories: self.watch.len() }
    }
}
