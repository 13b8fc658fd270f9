//! One worker a space: paced, patient, and never the reason for a loss.
//!
//! Rows come in by a channel, reports go out by another; the outbox itself is the store's. What Chat answers is
//! read in `chat`; what follows from it is decided here, in a pure state machine (`retry`) under a pace
//! (`pace`).

mod pace;
mod retry;
mod worker;

pub use pace::Pace;
pub use worker::{Event, Report, Transport, worker};
