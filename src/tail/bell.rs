//! What wakes the reader, and what it is told on waking: hints, never data.
//!
//! Anyone may ring: the [`Watch`](super::watch::Watch) on a notify thread, the agent that wants its reader to
//! look at a flag, a test. Hints are a bounded set; past the bound, or when the kernel's own queue overflowed,
//! they collapse into one sticky "look at everything". So a storm of events costs the reader one bit and one system
//! call, and the thread that rings never waits for the one that reads.
//!
//! The bell hangs on an eventfd, so that one `poll` waits for it and for the pipes of the sources that are streams.

use std::collections::HashMap;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

/// At most so many paths are remembered between two looks; more are cheaper to find by looking at everything.
const HINTS: usize = 4096;

/// How long is slept at once where the system had no descriptor left for the bell.
const DEAF: Duration = Duration::from_millis(50);

/// Why [`Bell::wait`] came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rung {
    /// Somebody rang, or hints are waiting to be looked at; a signal came, which is told the same way.
    Rang,
    /// One of the descriptors has bytes, or its other end is closed.
    Readable,
    /// Nothing happened for as long as was asked.
    Timeout,
}

/// What may have changed at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Touch {
    /// Bytes were written, or cut off.
    Data,
    /// Something was made, renamed, removed, or had its permissions changed: the name may mean another file now.
    Name,
}

/// Everything that was hinted since the last look.
#[derive(Debug, Default)]
pub(super) struct Hints {
    /// The hints are incomplete: look at everything.
    pub(super) everything: bool,
    /// Paths that may have changed.
    pub(super) paths: HashMap<PathBuf, Touch>,
}

#[derive(Debug, Default)]
struct State {
    rung: bool,
    hints: Hints,
    /// The eventfd is readable, or will be at once: whoever set this is writing to it. So many rings write once.
    signalled: bool,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// `None` where the system refused one: then the reader sleeps in short pieces.
    wake: Option<OwnedFd>,
}

impl Default for Shared {
    fn default() -> Shared {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).ok();
        Shared { state: Mutex::default(), wake }
    }
}

impl Shared {
    /// Under the lock: whoever gets `true` is to [`Shared::wake`] the reader, once the lock is free: it would wake the
    /// reader into waiting for it.
    fn signal(&self, state: &mut State) -> bool {
        self.wake.is_some() && !std::mem::replace(&mut state.signalled, true)
    }

    fn wake(&self) {
        if let Some(wake) = &self.wake {
            // it fails only where it says so much already that it cannot say more
            _ = rustix::io::write(wake, &1u64.to_ne_bytes());
        }
    }

    /// Takes what the eventfd says.
    fn clear(&self) {
        if let Some(wake) = &self.wake {
            // it fails only with nothing to read, which is what is wanted
            _ = rustix::io::read(wake, &mut [0; 8]);
        }
    }
}

/// A handle on the bell; clones ring and hear the same one.
#[derive(Clone, Debug, Default)]
pub struct Bell {
    shared: Arc<Shared>,
}

impl Bell {
    /// A bell that nobody has rung.
    pub fn new() -> Bell {
        Bell::default()
    }

    /// Wakes the reader without telling it anything: it looks at its flags and timers.
    pub fn ring(&self) {
        self.change(|state| state.rung = true);
    }

    /// Says that bytes may have been written to (or cut from) the file at `path`.
    pub fn ring_data(&self, path: &Path) {
        self.hint(path, Touch::Data);
    }

    /// Says that something was made, renamed, removed or re-permitted at `path`.
    pub fn ring_name(&self, path: &Path) {
        self.hint(path, Touch::Name);
    }

    /// Says that hints were lost: the next look is at everything.
    pub fn ring_everything(&self) {
        self.change(|state| {
            state.hints.everything = true;
            state.hints.paths.clear();
        });
    }

    /// Waits until somebody rings, at most for `timeout`. Hints stay for the next step of the tailer to take,
    /// so a bell that rang between two steps is never waited for.
    pub fn wait(&self, timeout: Duration) -> Rung {
        self.wait_for(timeout, &[])
    }

    /// [`Bell::wait`] that also comes back when one of `fds` has bytes, was closed at its other end, or failed. Whoever
    /// asks again with such a descriptor is answered at once: it is to be read, or left out when it has ended.
    pub fn wait_for(&self, timeout: Duration, fds: &[BorrowedFd<'_>]) -> Rung {
        let mut timeout = timeout;
        let mut polled = Vec::with_capacity(fds.len() + 1);
        polled.extend(fds.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)));
        match &self.shared.wake {
            Some(wake) => polled.push(PollFd::new(wake, PollFlags::IN)),
            None => timeout = timeout.min(DEAF),
        }
        loop {
            if self.heard() {
                return Rung::Rang;
            }
            if poll(&mut polled, Some(&timespec(timeout))).is_err() {
                return Rung::Rang;
            }
            let is = |fd: &PollFd<'_>| !fd.revents().is_empty();
            if polled.iter().skip(fds.len()).any(is) {
                // What it tells of may have been heard before it was written: then there is nothing to come back for.
                self.shared.clear();
                continue;
            }
            return if self.heard() {
                Rung::Rang
            } else if polled.iter().any(is) {
                Rung::Readable
            } else {
                Rung::Timeout
            };
        }
    }

    /// Somebody has rung, or hints wait. When not, whatever the eventfd says of it is over: the next ring writes again.
    fn heard(&self) -> bool {
        let mut state = self.lock();
        let hints = state.hints.everything || !state.hints.paths.is_empty();
        if std::mem::take(&mut state.rung) || hints {
            return true;
        }
        if std::mem::take(&mut state.signalled) {
            self.shared.clear();
        }
        false
    }

    /// Takes all hints.
    pub(super) fn take(&self) -> Hints {
        std::mem::take(&mut self.lock().hints)
    }

    fn hint(&self, path: &Path, touch: Touch) {
        self.change(|State { hints, .. }| {
            if hints.everything {
                return; // says more
            }
            if let Some(known) = hints.paths.get_mut(path) {
                *known = touch.max(*known);
            } else if hints.paths.len() < HINTS {
                hints.paths.insert(path.to_path_buf(), touch);
            } else {
                hints.everything = true;
                hints.paths.clear();
            }
        });
    }

    /// Changes the state, and wakes the reader where nobody has since it last found nothing.
    fn change(&self, what: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        what(&mut state);
        let wakes = self.shared.signal(&mut state);
        drop(state);
        if wakes {
            self.shared.wake();
        }
    }

    /// No code that holds this lock can panic half-way, so a poisoned one still guards sound state.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which of `fds` have bytes, were closed at their other end, or failed; without waiting.
pub(super) fn ready(fds: &[BorrowedFd<'_>]) -> Vec<bool> {
    let mut polled: Vec<_> = fds.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
    match poll(&mut polled, Some(&timespec(Duration::ZERO))) {
        Ok(_) => polled.iter().map(|fd| !fd.revents().is_empty()).collect(),
        Err(_) => vec![false; fds.len()],
    }
}

/// Rounded up to what the kernel takes; a day stands for everything longer.
fn timespec(timeout: Duration) -> Timespec {
    let timeout = timeout.min(Duration::from_secs(86_400));
    Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: i64::from(timeout.subsec_nanos()) }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn a_ring_before_the_wait_is_heard_once() {
        let bell = Bell::new();
        bell.clone().ring();
        assert_eq!(bell.wait(Duration::from_secs(5)), Rung::Rang);
        assert_eq!(bell.wait(Duration::ZERO), Rung::Timeout);
    }

    #[test]
    fn hints_wait_for_the_look_and_the_stronger_one_stays() {
        let bell = Bell::new();
        bell.ring_name(Path::new("/a"));
        bell.ring_data(Path::new("/a"));
        assert_eq!(bell.wait(Duration::ZERO), Rung::Rang);
        assert_eq!(bell.wait(Duration::ZERO), Rung::Rang, "nobody has looked yet");
        assert_eq!(bell.take().paths[Path::new("/a")], Touch::Name);
        assert_eq!(bell.wait(Duration::ZERO), Rung::Timeout);
    }

    #[test]
    fn bytes_in_a_pipe_and_its_end_wake_without_any_time_passing() {
        let bell = Bell::new();
        let (mut reading, mut writing) = std::io::pipe().unwrap();
        let wait =
            |fd: &std::io::PipeReader, seconds| bell.wait_for(Duration::from_secs(seconds), &[fd.as_fd()]);
        assert_eq!(wait(&reading, 0), Rung::Timeout);
        writing.write_all(b"x").unwrap();
        assert_eq!(wait(&reading, 3600), Rung::Readable);
        assert_eq!(reading.read(&mut [0; 8]).unwrap(), 1);
        assert_eq!(wait(&reading, 0), Rung::Timeout);
        bell.ring();
        assert_eq!(wait(&reading, 3600), Rung::Rang, "the bell rings beside it");
        drop(writing);
        assert_eq!(wait(&reading, 3600), Rung::Readable, "its end is told too");
    }

    #[test]
    fn many_rings_are_one_and_leave_nothing_behind() {
        let bell = Bell::new();
        for _ in 0..1000 {
            bell.ring();
            bell.ring_data(Path::new("/a"));
        }
        assert_eq!(bell.wait(Duration::from_secs(3600)), Rung::Rang);
        bell.take();
        assert_eq!(bell.wait(Duration::ZERO), Rung::Timeout);
        assert_eq!(bell.wait(Duration::ZERO), Rung::Timeout);
    }

    #[test]
    fn what_was_heard_before_it_woke_is_not_told_again() {
        let bell = Bell::new();
        let wakes = bell.shared.signal(&mut bell.lock());
        assert!(wakes, "so does who rings, and is slow to wake");
        bell.lock().rung = true;
        assert_eq!(bell.wait(Duration::ZERO), Rung::Rang);
        assert_eq!(bell.wait(Duration::ZERO), Rung::Timeout);
        bell.shared.wake();
        assert_eq!(bell.wait(Duration::ZERO), Rung::Timeout);
        bell.ring();
        assert_eq!(bell.wait(Duration::from_secs(3600)), Rung::Rang);
    }

    #[test]
    fn a_ring_from_another_thread_ends_the_wait() {
        let bell = Bell::new();
        let other = bell.clone();
        #[expect(clippy::disallowed_methods, reason = "somebody else rings")]
        let ringing = std::thread::spawn(move || other.ring());
        assert_eq!(bell.wait(Duration::from_secs(3600)), Rung::Rang);
        ringing.join().unwrap();
    }

    #[test]
    fn too_many_hints_become_one_that_sticks_until_it_is_taken() {
        let bell = Bell::new();
        for n in 0..=HINTS {
            bell.ring_data(Path::new(&format!("/{n}")));
        }
        bell.ring_data(Path::new("/after"));
        let hints = bell.take();
        assert!(hints.everything && hints.paths.is_empty());
        assert!(!bell.take().everything);
    }
}
