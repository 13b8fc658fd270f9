//! What systemd hears: READY, RELOADING, STOPPING, STATUS, and the watchdog's ping.
//!
//! All of it is best effort: without `NOTIFY_SOCKET` every call is a no-op, and a failing one must not stop an agent.
//! The ping is earned, not timed: it goes out only while the reader and the desk both had a turn since the last.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::time::{Clock, Tick};

/// A stage that had no turn for this long is stuck: twice the longest sleep of any, and then some.
const STUCK_AFTER: Duration = Duration::from_secs(20);

/// More logs than this are not held open at once, whatever the limit: each handle takes memory of the kernel's, and a file
/// that was closed is opened again in microseconds.
const LOGS_OPEN: usize = 4096;

fn tell(states: &[NotifyState<'_>]) {
    if let Err(e) = sd_notify::notify(states) {
        debug!("systemd was not told: {e}");
    }
}

/// Raises the soft limit of open files to the hard one: systemd's default of 1,024 is for programs that use `select`,
/// and rotated files are held besides the live ones. Where it is refused, the agent lives with what it has. Gives how many
/// logs may be open at once: half of it, for the rest of the program needs some, and sockets come and go.
pub(super) fn raise_file_limit() -> usize {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(e) = setrlimit(Resource::Nofile, limit) {
        debug!("the limit of open files stays as it is: {e}");
    }
    let limit = getrlimit(Resource::Nofile).current.and_then(|n| usize::try_from(n / 2).ok());
    limit.unwrap_or(LOGS_OPEN).min(LOGS_OPEN)
}

/// Secrets lie in this process's memory: it leaves no image of it behind, whoever started it, and no other process of its
/// user looks into it. The limit of a core's size is not enough: who gets cores through a pipe gets them whole (core(5)).
pub fn keep_memory_private() {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    if let Err(e) = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }) {
        debug!("the size of core dumps stays as it is: {e}");
    }
    if let Err(e) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        debug!("core dumps stay as they are: {e}");
    }
}

/// Rules are compiled, files opened, positions read.
pub(super) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// A reload begins; [`ready`] ends it, also when it is refused.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(usec) => tell(&[NotifyState::Reloading, usec]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// What it is doing has changed: the line that `systemctl status` shows.
pub(super) fn status(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

/// The agent drains and ends.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("draining")]);
}

/// Every stage with a pulse has had a turn of late.
pub(super) fn have_turns(pulses: &[Arc<AtomicU64>], now: Tick) -> bool {
    pulses.iter().all(|p| now.since(Tick(p.load(Ordering::Relaxed))) < STUCK_AFTER)
}

/// Pings the watchdog at half its interval while every pulse is fresh; ends when stopped.
pub(super) async fn watchdog(pulses: Vec<Arc<AtomicU64>>, clock: Clock, stop: CancellationToken) {
    let Some(interval) = sd_notify::watchdog_enabled() else { return };
    let mut turn = tokio::time::interval(interval / 2);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = turn.tick() => {}
        }
        let now = clock.now().tick;
        if have_turns(&pulses, now) {
            tell(&[NotifyState::Watchdog]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{DumpableBehavior, Resource, Rlimit, dumpable_behavior, getrlimit};

    #[test]
    fn no_core_of_this_process_goes_anywhere() {
        keep_memory_private();
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
        assert_eq!(getrlimit(Resource::Core), Rlimit { current: Some(0), maximum: Some(0) });
    }

    #[test]
    fn a_stage_without_a_turn_for_long_earns_no_ping() {
        let pulses: Vec<Arc<AtomicU64>> =
            [50_000, 60_000].into_iter().map(|t| Arc::new(AtomicU64::new(t))).collect();
        assert!(have_turns(&pulses, Tick(60_000)) && have_turns(&pulses, Tick(69_999)));
        assert!(!have_turns(&pulses, Tick(70_000)));
        pulses[0].store(70_000, Ordering::Relaxed);
        assert!(have_turns(&pulses, Tick(79_000)));
    }
}
