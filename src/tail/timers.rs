//! Timers: when one file is looked at, apart from hints and the sweep.
//!
//! A file has one at most, and most have none: a file that is quiet, closed and watched by events costs no wake-up of
//! its own. The tick stands in the file too, so that setting an earlier one takes the later one away.

use super::tailer::Tailer;
use crate::time::{Now, Tick};

impl Tailer {
    /// Lets those ring that are due.
    pub(super) fn ring_timers(&mut self, now: Now) {
        while let Some(&(at, no)) = self.timers.first() {
            if at > now.tick {
                break;
            }
            self.timers.pop_first();
            if let Some(file) = self.files.get_mut(no).filter(|f| f.look_at == Some(at)) {
                file.look_at = None;
                self.timer(no, now);
            }
        }
    }

    /// Sets the file's timer to `at`, unless it rings earlier anyway.
    pub(super) fn ring_at(&mut self, no: u64, at: Tick) {
        let Some(file) = self.files.get_mut(no) else { return };
        if let Some(set) = file.look_at {
            if set <= at {
                return;
            }
            self.timers.remove(&(set, no));
        }
        file.look_at = Some(at);
        self.timers.insert((at, no));
    }

    /// Its timer is not needed any more.
    pub(super) fn unring(&mut self, no: u64) {
        if let Some(at) = self.files.get_mut(no).and_then(|f| f.look_at.take()) {
            self.timers.remove(&(at, no));
        }
    }
}
