//! One worker a space: paced, patient, and never the reason for a loss.
//!
//! The row in hand comes in by a channel, reports go out by another; the outbox itself is the store's. What Chat answers is
//! read in `chat`; what follows from it is decided here, in a pure state machine (`retry`) under a pace
//! (`pace`). While there is nothing to say, `look` asks whether there could be.

mod look;
mod pace;
mod retry;
mod worker;

pub use look::{Found, look};
pub use pace::{Pace, ProjectPace};
pub use worker::{AGE_LIMIT, Event, Hand, Report, Transport, worker};
