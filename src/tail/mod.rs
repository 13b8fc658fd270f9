//! From inodes to blocks of complete lines.
//!
//! A [`Tailer`] owns everything that is read: it finds the files that the globs name, knows each by its
//! identity and not by its name, and gives their bytes away in [`Block`](crate::line::Block)s of whole lines.
//! It never asks the time, never waits and starts no thread: a reader calls [`Tailer::step`] with the time,
//! and waits on the [`Bell`] for as long as the step said. Its neighbours are the words: `rules` searches the
//! blocks, `store` keeps the positions that each step hands back, and neither is known here.
//!
//! The surprising fact: the notification of a write is not needed for anything. Events may be lost, merged or
//! absent; whatever they would have said is found by looking at the files in turn, only later. So every test
//! of this stage runs twice, with and without them.
//!
//! The parts, in the order in which a byte meets them: `bell` and `watch` (something may have changed),
//! `discover` and `looking` (which files are there, and what became of them), `rotation` (where the rest of a
//! file is that lost its name or its bytes), `file` and `reading` (one quantum of one file, proved by the bytes
//! before it), `lines` (bytes to lines), and beside them all what is no file: `streams`, which are `journal` with its
//! `entry`, and `stdin`.

mod access;
mod archive;
mod assemble;
mod bell;
mod busy;
mod copies;
mod decode;
mod discover;
mod done;
mod earlier;
mod entry;
mod file;
mod files;
mod flow;
mod generation;
mod handle;
mod identity;
mod index;
mod join;
mod journal;
mod lines;
mod listing;
mod looking;
mod marks;
mod missing;
mod past;
mod reading;
mod recording;
mod report;
mod resaved;
mod rotation;
mod spec;
mod stdin;
mod streams;
mod tailer;
mod timers;
mod troubles;
mod watch;
mod wrap;

#[doc(hidden)]
pub use access::journal_trouble;
pub use assemble::records_of;
pub use bell::{Bell, Rung};
#[doc(hidden)]
pub use entry::journal_blocks;
pub use past::{Feed, Past, log_of, no_log};
pub use report::{FileState, FileStatus, SourceSummary, Step, Summary, Trouble};
pub use spec::*;
pub use tailer::{TailOptions, Tailer};
