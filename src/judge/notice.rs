//! Notices: the agent speaks of itself, to the admin space unless told otherwise.
//!
//! A broken disk says the same thing every second. The same text about the same thing is told once, counted for ten
//! minutes, and what was counted is then told by timer.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::batch::Lane;
use super::evidence::cut;
use super::ledger::Term;
use super::rows::RowKey;
use super::wording::{SHORT, cut_chars};
use super::{Judge, Notice};
use crate::alert::{Alert, Held, What};
use crate::time::{Now, Tick};

/// The same notice is told again after this.
const FOLDED_FOR: Duration = Duration::from_secs(600);

/// Things that notices are remembered about; beyond it the oldest is forgotten, told first.
const ABOUTS: usize = 100;

/// A notice's text is at most this long, in characters; a hint too.
const TEXT: usize = 2000;

/// The last notice about something.
#[derive(Serialize, Deserialize)]
pub(super) struct Recent {
    notice: Notice,
    /// Told again how often since.
    pub(super) again: u64,
    until: Tick,
}

impl Judge {
    /// Tells a notice, or counts it.
    pub(super) fn notice(&mut self, mut notice: Notice, now: Now) {
        let redactor = &self.policy.redactor;
        notice.about = cut(&redactor.redact(&notice.about), SHORT);
        notice.text = cut_chars(redactor.redact(&notice.text).into_owned(), TEXT);
        notice.hint = notice.hint.map(|h| cut_chars(redactor.redact(&h).into_owned(), TEXT));
        self.dirty.insert(RowKey::Notice(notice.about.clone()));
        if let Some(recent) = self.notices.get_mut(&notice.about)
            && recent.notice.text == notice.text
        {
            recent.again += 1;
            return;
        }
        if let Some(other) = self.notices.remove(&notice.about) {
            self.tell_again(&other, now);
        }
        if self.notices.len() >= ABOUTS {
            let oldest = self.notices.iter().min_by_key(|(_, r)| r.until).map(|(about, _)| about.clone());
            if let Some((about, recent)) = oldest.and_then(|about| self.notices.remove_entry(&about)) {
                self.dirty.insert(RowKey::Notice(about));
                self.tell_again(&recent, now);
            }
        }
        self.tell(&notice, 0, now);
        let until = now.tick + FOLDED_FOR;
        self.notices.insert(notice.about.clone(), Recent { notice, again: 0, until });
    }

    /// When a notice is to be told again, or forgotten.
    pub(super) fn notices_due(&self) -> Option<Tick> {
        self.notices.values().map(|r| r.until).min()
    }

    /// Tells what was counted, forgets what has not come again.
    pub(super) fn notice_timers(&mut self, now: Now) {
        let due = self.notices.iter().filter(|(_, r)| r.until <= now.tick);
        let due: Vec<String> = due.map(|(about, _)| about.clone()).collect();
        for about in due {
            self.dirty.insert(RowKey::Notice(about.clone()));
            let Some(mut recent) = self.notices.remove(&about) else { continue };
            if recent.again > 0 {
                self.tell_again(&recent, now);
                (recent.again, recent.until) = (0, now.tick + FOLDED_FOR);
                self.notices.insert(about, recent);
            }
        }
    }

    fn tell_again(&mut self, recent: &Recent, now: Now) {
        if recent.again > 0 {
            self.tell(&recent.notice, recent.again, now);
        }
    }

    fn tell(&mut self, notice: &Notice, again: u64, now: Now) {
        let held = (again > 0).then(|| Held { count: again, reason: "repeats of this notice".into() });
        let alert = Alert {
            no: self.next_alert(),
            what: What::Notice,
            rule: notice.about.as_str().into(),
            severity: notice.severity,
            key: Vec::new(),
            text: notice.text.clone(),
            hits: 0,
            total: 0,
            incidents: 1,
            first: now.wall,
            last: now.wall,
            samples: Vec::new(),
            runbook: None,
            held: held.into_iter().collect(),
            hint: notice.hint.clone(),
        };
        let asked = notice.space.iter().find(|s| self.spaces.contains_key(*s)).cloned();
        let to = asked.or_else(|| self.admin()).map(|s| (s, None)).into_iter().collect();
        self.enqueue(&alert, to, Lane::Batch, None, Term::Told, now);
    }
}
