//! The running agent: the stages wired together, and what the system says to them.
//!
//! `pipeline` makes and joins every thread and task, and `attend` hears what comes from outside while they run.
//! `reader` and `desk` are its two halves, one that reads and searches, one that judges and commits; `delivery` is the
//! desk's side towards the workers, with `backlog` for what cannot go out as it is and `trouble` for spaces that take
//! nothing; `orders`, `letters` and `lookers` are that towards operators. `load` turns files into a set that can run and `watch` sees them change; `service` speaks
//! with systemd and `control` with operators. Nothing of these runs when rules are tried on logs of the past: there
//! `history` and `past_file` read, and `replay` drives the judge. What may surprise: nothing here decides what an alert
//! says or when; the agent only carries.

mod alive;
mod attend;
mod backlog;
pub mod control;
mod delivery;
mod desk;
mod history;
mod letters;
mod load;
mod lookers;
mod mint;
mod orders;
mod past_file;
mod pipeline;
mod reader;
mod replay;
mod service;
mod start_line;
pub mod status;
mod trouble;
mod watch;

pub use history::{History, Moment, Progress, Remark};
pub use letters::{LetterView, Which};
pub use load::LoadError;
pub(crate) use load::env;
pub(crate) use mint::row;
pub use past_file::LogFile;
pub use pipeline::{Fatal, Options, run};
pub use replay::{Answer, Replay};
pub use service::keep_memory_private;
