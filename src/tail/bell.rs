//! What wakes the reader, and what it is told on waking: hints, never data.
//!
//! Anyone may ring: the [`Watch`](super::watch::Watch) on a notify thread, the agent that wants its reader to
//! look at a flag, a test. Hints are a bounded set; past the bound, or when the kernel's own queue overflowed,
//! they collapse into one sticky "look at everything". So a storm of events costs the reader one bit, and the
//! thread that rings never waits for the one that reads.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// At most so many paths are remembered between two looks; more are cheaper to find by looking at everything.
const HINTS: usize = 4096;

/// Why [`Bell::wait`] came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rung {
    /// Somebody rang, or hints are waiting to be looked at.
    Rang,
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
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    wake: Condvar,
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
        self.lock().rung = true;
        self.shared.wake.notify_one();
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
        let mut state = self.lock();
        state.hints.everything = true;
        state.hints.paths.clear();
        drop(state);
        self.shared.wake.notify_one();
    }

    /// Waits until somebody rings, at most for `timeout`. Hints stay for the next step of the tailer to take,
    /// so a bell that rang between two steps is never waited for.
    pub fn wait(&self, timeout: Duration) -> Rung {
        let quiet = |s: &mut State| !s.rung && !s.hints.everything && s.hints.paths.is_empty();
        let (mut state, waited) = self
            .shared
            .wake
            .wait_timeout_while(self.lock(), timeout, quiet)
            .unwrap_or_else(PoisonError::into_inner);
        state.rung = false;
        if waited.timed_out() { Rung::Timeout } else { Rung::Rang }
    }

    /// Takes all hints.
    pub(super) fn take(&self) -> Hints {
        std::mem::take(&mut self.lock().hints)
    }

    fn hint(&self, path: &Path, touch: Touch) {
        let mut state = self.lock();
        let hints = &mut state.hints;
        if hints.everything {
            return; // a ring is under way already, and says more
        }
        if let Some(known) = hints.paths.get_mut(path) {
            *known = touch.max(*known);
            return;
        }
        if hints.paths.len() < HINTS {
            hints.paths.insert(path.to_path_buf(), touch);
        } else {
            hints.everything = true;
            hints.paths.clear();
        }
        drop(state);
        self.shared.wake.notify_one();
    }

    /// No code that holds this lock can panic half-way, so a poisoned one still guards sound state.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
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
