//! What becomes of every line of a log that is rotated, cut, moved and torn while it is read?
//!
//! Stories named `tNN_…` are the torture scenarios that tailers are known to lose lines in; the others are ours.
//! `rig` is the one door: a tailer on a directory of its own, driven by hand, with an oracle that counts every line.
//! `machine` and `blocked` tell what only the whole program can: limits of the kernel, other filesystems, other users.

mod rig;

mod blocked;
mod content;
mod downtime;
mod journal;
mod machine;
mod model;
mod records;
mod rotation;
mod surroundings;
mod truncation;
