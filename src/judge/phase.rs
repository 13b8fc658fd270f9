//! How far an incident is, from the hit that fired to the line that ended it.
//!
//! Kept apart from what an incident says (`incident`): these are the few states between which `resolve`, `hold` and
//! `expect` move it. The surprise: one that a line has ended is still here, so that what flaps is one story.

use serde::{Deserialize, Serialize};

use crate::alert::Sample;
use crate::time::{Tick, Wall};

/// How far an incident is.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Phase {
    /// It has fired, and its rule's `hold` waits for a `resolve`. Nobody knows of it.
    Holding {
        /// It opens then.
        until: Tick,
        /// When it fired, by event time.
        fired: Wall,
        /// It fired on lines that were written while nobody was reading.
        late: bool,
        samples: Vec<Sample>,
    },
    #[default]
    Open,
    /// It was opened again without a word, because its rule had said enough: nor is a word said of its end.
    Quietly,
    /// A line has ended it.
    Resolved {
        /// By event time.
        at: Wall,
        /// By the agent's clock.
        since: Tick,
        /// The end has been said, or is nobody's news.
        said: bool,
        /// It was open [`Phase::Quietly`].
        quietly: bool,
    },
}

impl Phase {
    /// The usual case, which no row spells out.
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Phase::Open)
    }
}

/// What a hit is to an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// The first since the last alert.
    First,
    /// One more.
    More,
    /// It is held before it opens.
    Held,
    /// By event time it has been held for long enough.
    Due,
    /// It was over, and everybody knows.
    Again,
}
