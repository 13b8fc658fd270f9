//! What operators order of the judge over the control socket: silences.
//!
//! An order is answered when it is on the disk: who was told that a rule is silent must not be woken by it after a
//! power cut.

use std::collections::BTreeSet;

use tracing::info;

use crate::judge::{Input, SilenceFault, SilenceOrder};
use crate::store::StoreError;
use crate::time::Now;

use super::desk::Desk;
use super::status::SilenceView;

impl Desk {
    /// The silences in force.
    pub(super) fn silences(&self, now: Now) -> Vec<SilenceView> {
        self.judge.silences(now).into_iter().map(SilenceView::from).collect()
    }

    /// Silences what the order says, or says why that cannot be.
    pub(super) async fn silence(
        &mut self,
        order: Box<SilenceOrder>,
        now: Now,
    ) -> Result<Result<SilenceView, SilenceFault>, StoreError> {
        if let Err(fault) = self.judge.may_silence(&order) {
            return Ok(Err(fault));
        }
        let before = self.silences(now);
        let said = self.judge.apply(Input::Silence(order), now);
        self.say(said);
        self.commit(BTreeSet::new()).await?;
        let given = self.silences(now).into_iter().find(|s| !before.iter().any(|b| b.id == s.id));
        // the judge follows what it has let pass
        let fault = || SilenceFault { what: "the silence was not given".into(), hint: "try again".into() };
        let given = given.ok_or_else(fault);
        if let Ok(silence) = &given {
            info!("silence {} is in force until {}", silence.id, silence.until);
        }
        Ok(given)
    }

    /// Ends a silence; gives it as it was, `None` where there is none of this name.
    pub(super) async fn unsilence(
        &mut self,
        id: String,
        now: Now,
    ) -> Result<Option<SilenceView>, StoreError> {
        let Some(silence) = self.silences(now).into_iter().find(|s| s.id == id) else { return Ok(None) };
        let said = self.judge.apply(Input::Unsilence(id), now);
        self.say(said);
        self.commit(BTreeSet::new()).await?;
        info!("silence {} was ended", silence.id);
        Ok(Some(silence))
    }
}
