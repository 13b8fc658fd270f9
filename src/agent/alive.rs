//! The ping to a watcher outside, who raises the alarm when it stays away.
//!
//! It is earned, as the watchdog's is: it goes out only while the reader and the desk, which commits, have both had a turn.
//! What it says is that lines are read, judged and kept. Whether Chat takes messages it does not say; that is told in the
//! admin space, and where there is none, by the watcher that hears nothing of a machine without a network.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::service::have_turns;
use crate::chat::Ping;
use crate::time::Clock;

/// Pings whom the rules name now, until stopped.
pub(super) async fn ping(
    mut whom: watch::Receiver<Option<Ping>>,
    pulses: Vec<Arc<AtomicU64>>,
    clock: Clock,
    stop: CancellationToken,
) {
    let mut reached = true;
    loop {
        let ping = whom.borrow_and_update().clone();
        let Some(ping) = ping else {
            tokio::select! {
                () = stop.cancelled() => return,
                changed = whom.changed() => if changed.is_err() { return },
            }
            continue;
        };
        if have_turns(&pulses, clock.now().tick) {
            let answer = tokio::select! {
                () = stop.cancelled() => return,
                answer = ping.send() => answer,
            };
            match (&answer, reached) {
                (Err(why), true) => warn!("the watcher outside that [alive] names was not reached: {why}"),
                (Ok(()), false) => info!("the watcher outside that [alive] names is reached again"),
                _ => {}
            }
            reached = answer.is_ok();
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = whom.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(ping.every()) => {}
        }
    }
}
