//! The lines behind a hit that were read after it.
//!
//! What stands before a hit comes with it, and so does what stands behind it where that was read together. The rest comes
//! as [`Later`], and until then an opening waits in its space's batch: for two seconds at most, and not at all where it
//! is critical or something critical leaves. `evidence` keeps the lines, clean as everything it keeps.
//!
//! The surprise: nothing of this survives a restart or a reload. Nobody knows any more what would have come, so what
//! waited leaves with the lines that it has.

use std::time::Duration;

use super::Judge;
use super::evidence::clean_later;
use super::rows::RowKey;
use super::rule::{KeyState, Rid};
use crate::alert::AlertNo;
use crate::hit::{Hit, Later};
use crate::time::{Now, Tick};

/// An opening waits for the lines behind its hit so long at most: an application has written what it has to say by then.
pub(super) const CONTEXT_WAIT: Duration = Duration::from_secs(2);

/// Hits whose later lines are known to somebody; beyond it the oldest have what they have.
const AWAITED: usize = 1024;

/// Whose lines are awaited: a file, and the number that the hit was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Awaited {
    no: u64,
    file_no: u64,
}

/// The key that had the hit, and until when its lines are news.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whose {
    rid: Rid,
    hash: u64,
    until: Tick,
}

impl Awaited {
    pub(super) fn of(hit: &Hit) -> Option<Awaited> {
        let no = hit.context.as_ref()?.more?;
        Some(Awaited { no, file_no: hit.file_no })
    }

    pub(super) fn by(later: &Later) -> Awaited {
        Awaited { no: later.no, file_no: later.file_no }
    }
}

impl Judge {
    /// The lines behind this hit of the key are still to come.
    pub(super) fn await_lines(&mut self, awaited: Awaited, rid: Rid, hash: u64, now: Now) {
        if self.awaited.len() >= AWAITED {
            self.awaited.pop_first();
        }
        self.awaited.insert(awaited, Whose { rid, hash, until: now.tick + CONTEXT_WAIT });
    }

    /// Lines behind a hit of before have been read.
    pub(super) fn take_later(&mut self, later: &Later, now: Now) {
        let awaited = Awaited::by(later);
        let Some(&Whose { rid, hash, until }) = self.awaited.get(&awaited) else { return };
        if later.over || until < now.tick {
            self.awaited.remove(&awaited);
        }
        if until < now.tick {
            return;
        }
        let redactor = &self.policy.redactor;
        let mut touched = Vec::new();
        for (name, space) in &mut self.spaces {
            for (no, entry) in &mut space.batch.entries {
                let Some(sample) = entry.alert.samples.last_mut() else { continue };
                if entry.awaits.is_some_and(|(of, _)| of == awaited) {
                    let around = (&sample.before[..], &*sample.line, &mut sample.after);
                    sample.secrets += clean_later(redactor, around, &later.lines);
                    entry.awaits = entry.awaits.filter(|_| !later.over);
                    touched.push(RowKey::Wait(name.clone(), *no));
                }
            }
        }
        self.dirty.extend(touched);
        let Some(slot) = self.rules[rid.0].keys.get_mut(hash) else { return };
        let newest = match &mut slot.state {
            KeyState::Open(incident) => Some(&mut incident.newest),
            KeyState::Counting(window) => window.samples.back_mut(),
        };
        if newest.is_some_and(|evidence| evidence.follow(later, redactor)) {
            self.mark_key(rid, hash);
            self.weigh(rid, hash);
        }
    }

    /// Who would have read them reads by other rules now.
    pub(super) fn await_nothing(&mut self) {
        self.awaited.clear();
        let entries = self.spaces.values_mut().flat_map(|s| s.batch.entries.values_mut());
        entries.for_each(|entry| entry.awaits = None);
    }

    /// This opening waits, in the batches of its spaces, for the lines behind its hit.
    pub(super) fn let_wait(&mut self, no: AlertNo, awaited: Awaited, now: Now) {
        for space in self.spaces.values_mut() {
            if let Some(entry) = space.batch.entries.get_mut(&no) {
                entry.awaits = Some((awaited, now.tick + CONTEXT_WAIT));
            }
        }
    }
}
