//! Who looks on while hits are judged: `logherald tap`, and what each of them is sent.
//!
//! The judge keeps a little for each, and after every turn of the desk it is put into a channel of a fixed length, one
//! line of JSON a hit. What does not fit is counted and told as soon as there is room again, so a terminal that stands
//! still costs a few hundred kilobytes and never a moment of judging. Who has gone is noticed at the next turn.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::desk::Desk;
use crate::judge::{SilenceFault, TapNo};

/// Lines that wait for one who reads slowly; at most some kilobytes each.
const WAITING: usize = 256;

/// Those who look on.
#[derive(Debug, Default)]
pub(super) struct Lookers(BTreeMap<TapNo, Looker>);

#[derive(Debug)]
struct Looker {
    to: mpsc::Sender<Bytes>,
    /// Hits that went by and were not told of yet.
    missed: u64,
}

/// So many hits went by.
#[derive(Serialize)]
struct Missed {
    missed: u64,
}

/// What one of them is sent, as the body of an answer that ends with the agent.
#[derive(Debug)]
pub(super) struct Sight(mpsc::Receiver<Bytes>);

impl Body for Sight {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}

impl Looker {
    /// `false`: it does not fit, or they have gone.
    fn send(&self, what: &impl Serialize) -> bool {
        // a struct of strings and numbers: it can be written
        let Ok(mut line) = serde_json::to_vec(what) else { return false };
        line.push(b'\n');
        !matches!(self.to.try_send(line.into()), Err(TrySendError::Full(_) | TrySendError::Closed(_)))
    }

    /// What went by is told before anything that came behind it.
    fn tell_missed(&mut self) {
        if self.missed > 0 && self.send(&Missed { missed: self.missed }) {
            self.missed = 0;
        }
    }
}

impl Desk {
    /// Somebody looks on from now on, at one rule or at all.
    pub(super) fn let_look(&mut self, rule: Option<&str>) -> Result<Sight, SilenceFault> {
        self.tell_lookers();
        let no = self.judge.tap(rule)?;
        let (to, from) = mpsc::channel(WAITING);
        self.lookers.0.insert(no, Looker { to, missed: 0 });
        Ok(Sight(from))
    }

    /// Sends what was judged since the last turn, and forgets who has gone.
    pub(super) fn tell_lookers(&mut self) {
        let Desk { judge, lookers, .. } = self;
        lookers.0.retain(|no, looker| {
            let (hits, missed) = judge.tapped(*no);
            looker.tell_missed();
            for hit in hits {
                if looker.missed > 0 || !looker.send(&hit) {
                    looker.missed += 1;
                }
            }
            looker.missed += missed;
            looker.tell_missed();
            let there = !looker.to.is_closed();
            if !there {
                judge.untap(*no);
            }
            there
        });
    }
}
