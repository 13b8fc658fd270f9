//! What comes from outside while the agent runs: signals, requests over the socket, changed rules.
//!
//! One thing at a time, in the order in which it comes: a reload is over, its verdict told and its first positions
//! on the disk, before anybody is asked anything else. It is also where the death of a stage is noticed. None may end
//! by itself: an agent that only looks alive is worse than one that its supervisor starts again. The one good end
//! without a signal is that of standard input, where that was all there was to read.

use std::thread;
use std::time::Duration;

use nix::sys::signal::SigSet;
use nix::sys::signal::Signal::{SIGHUP, SIGINT, SIGTERM};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tracing::{error, info, warn};

use crate::judge::Notice;

use super::control::Request;
use super::desk::Ask;
use super::load::{Set, Unmended};
use super::pipeline::{Agent, Crew, DeskTask, Fatal, system};
use super::reader::{Load, Order};
use super::service;
use super::start_line::Running;
use super::status::{self, RulesFile, Status};
use super::watch::FilesWatch;

/// What a set's files are begun at is committed within this, or the start goes on without: a log on a disk that
/// hangs must not keep the others from being watched.
const KEPT_WITHIN: Duration = Duration::from_secs(5);

/// The end of one stage ends others; so long the judge's task, which knows why, has to say so.
const LAST_WORD: Duration = Duration::from_secs(1);

/// The signals that the agent heeds. Made before anything else: what nobody heeds yet would kill the process.
pub(super) struct Signals {
    stop: Stop,
    hup: Signal,
}

/// SIGTERM and SIGINT.
struct Stop {
    term: Signal,
    int: Signal,
}

/// Signals wait until somebody hears of them: the runtime takes a signal first and then makes who hears of it, and one
/// that came in between would be told to nobody, nor would it end the process. To be called before there are other
/// threads, which do as this one does.
pub(super) fn hold_signals() -> Result<Held, Fatal> {
    let mut held = SigSet::empty();
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        held.add(signal);
    }
    held.thread_block().map_err(|e| system("to hold signals")(e.into()))?;
    Ok(Held(held))
}

/// Signals that wait.
pub(super) struct Held(SigSet);

impl Signals {
    /// Hears of them, and of what came meanwhile. To be called by the thread that has held them.
    pub(super) fn listen_to(held: &Held) -> Result<Signals, Fatal> {
        let signals = Signals::listen()?;
        held.0.thread_unblock().map_err(|e| system("to hear of signals")(e.into()))?;
        Ok(signals)
    }

    fn listen() -> Result<Signals, Fatal> {
        let listen = |kind| signal(kind).map_err(system("a signal handler"));
        Ok(Signals {
            stop: Stop { term: listen(SignalKind::terminate())?, int: listen(SignalKind::interrupt())? },
            hup: listen(SignalKind::hangup())?,
        })
    }
}

impl Stop {
    /// One of them has come.
    async fn wanted(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }
}

/// What the agent is asked to do.
enum Wanted {
    Reload(Option<oneshot::Sender<Result<String, String>>>),
    Status(oneshot::Sender<Box<Status>>),
    Ask(Ask),
}

/// Waits until the files of a set are met and where they are begun is committed: from then on no line of theirs is
/// missed, whatever happens.
pub(super) async fn kept(kept: oneshot::Receiver<()>) {
    if tokio::time::timeout(KEPT_WITHIN, kept).await.is_err() {
        warn!("where the logs are begun is not written down after {} s", KEPT_WITHIN.as_secs());
    }
}

impl Agent {
    /// Signals, requests and changed rules, until it is time to stop.
    pub(super) async fn attend(
        &mut self,
        signals: &mut Signals,
        requests: &mut mpsc::Receiver<Request>,
        desk: &mut DeskTask,
        reader: &thread::JoinHandle<()>,
    ) -> Result<(), Fatal> {
        let Signals { stop, hup } = signals;
        let mut look = tokio::time::interval(FilesWatch::EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let wanted = tokio::select! {
                () = stop.wanted() => return Ok(()),
                () = self.over.cancelled() => return Ok(()),
                ended = &mut *desk => return Err(of_the_desk(ended)),
                Some(_) = self.crew.tasks.join_next() => {
                    // the desk's end ends the workers too, and is the better story
                    let desk = tokio::time::timeout(LAST_WORD, &mut *desk).await;
                    return Err(desk.map_or(Fatal::Died("worker of a space"), of_the_desk));
                }
                Ok(()) = self.troubles.changed() => {
                    service::status(&self.status_line());
                    continue;
                }
                _ = hup.recv() => Wanted::Reload(None),
                _ = look.tick() => {
                    if reader.is_finished() && !desk.is_finished() {
                        return Err(Fatal::Died("reader"));
                    }
                    let now = self.clock.now();
                    if self.watched.changed_and_calm() {
                        Wanted::Reload(None)
                    } else if let Some(notice) = self.unmended.as_mut().and_then(|r| r.due(now)) {
                        Wanted::Ask(Ask::Notice(notice))
                    } else {
                        continue;
                    }
                },
                Some(request) = requests.recv() => match request {
                    Request::Status(answer) => Wanted::Status(answer),
                    Request::Reload(answer) => Wanted::Reload(Some(answer)),
                    Request::Ask(ask) => Wanted::Ask(ask),
                },
            };
            // whatever stands still in there: who wants the agent to stop is heard
            tokio::select! {
                biased;
                () = self.give(wanted) => {}
                () = stop.wanted() => return Ok(()),
            }
        }
    }

    /// Does what is wanted. Whoever asked may have gone, which is nothing to act upon.
    async fn give(&mut self, wanted: Wanted) {
        match wanted {
            // the verdict is told in the log, the status and the admin space
            Wanted::Reload(None) => drop(self.reload().await),
            Wanted::Reload(Some(answer)) => drop(answer.send(self.reload().await)),
            Wanted::Ask(ask) => self.ask(ask).await,
            Wanted::Status(answer) => {
                if let Some(status) = self.status().await {
                    drop(answer.send(Box::new(status)));
                }
            }
        }
    }

    /// All or nothing: loads the files on disk, or keeps everything and says why.
    async fn reload(&mut self) -> Result<String, String> {
        service::reloading();
        let now = self.clock.now();
        self.watched.judged();
        let verdict = match self.loader.load() {
            Ok(set) => {
                let count = set.rules.len();
                let plural = if count == 1 { "" } else { "s" };
                self.rules_file = RulesFile {
                    path: self.options.rules.display().to_string(),
                    loaded: now.wall.to_string(),
                    unusable_spaces: set.unusable.clone(),
                    ..RulesFile::default()
                };
                self.swap(set).await;
                info!("rules are loaded anew: {count} rule{plural}");
                info!("{}", self.summary);
                Ok(self.running.answer(&self.rules_file.unusable_spaces))
            }
            Err(refused) => {
                let text = refused.to_string();
                if self.rules_file.refused.as_ref() != Some(&text) {
                    error!(
                        "the changed rules are refused, the running ones stay; there are faults at {}; \
                         `logherald check {}` shows them",
                        refused.places,
                        self.options.rules.display()
                    );
                    let notice = self.loader.notice(format!(
                        "the changed rules are refused, the ones loaded {} stay:\n{text}",
                        self.rules_file.loaded
                    ));
                    self.unmended = Some(Unmended::told(notice.clone(), now));
                    self.tell(notice).await;
                }
                self.rules_file.refused = Some(text.clone());
                self.summary = format!("LAST RELOAD REFUSED {}; the older rules stay", now.wall);
                Err(text)
            }
        };
        service::ready(&self.status_line());
        verdict
    }

    async fn swap(&mut self, set: Set) {
        self.running = Running::new(&set);
        let Set { sources, rules, policy, clients, workers, notices, files, ping, refused: _, unusable: _ } =
            set;
        self.unmended = None;
        self.ping.send_if_modified(|now| std::mem::replace(now, ping.clone()) != ping);
        self.watched.change_to(files);
        // the old workers finish what they have in hand; their rows are in the store and go on with the new ones,
        // in the old ones' pace
        let paces = std::mem::replace(&mut self.crew, Crew::none()).leave().await;
        let (crew, workers) = Crew::hire(clients, workers, (&self.reports, &self.asks), &self.clock, &paces);
        self.crew = crew;
        self.ask(Ask::Workers(workers)).await;
        let (tx, first) = oneshot::channel();
        let (loaded, watched) = oneshot::channel();
        self.order(Order::Load(Box::new(Load { sources, rules, policy, loaded, kept: tx })));
        // a reader that has ended answers nothing, and its end is told elsewhere
        if let Ok(watched) = watched.await {
            self.summary = self.running.start_line(&watched);
        }
        kept(first).await;
        for notice in notices {
            self.tell(notice).await;
        }
    }

    async fn status(&self) -> Option<Status> {
        let (tx, parts) = oneshot::channel();
        self.ask(Ask::Status(tx)).await;
        let (tx, view) = oneshot::channel();
        self.order(Order::View(tx));
        let (parts, view) = (parts.await.ok()?, view.await.ok()?);
        let about = status::About {
            host: self.host.clone(),
            started: self.started,
            watching: self.running.start_line(&view.summary),
            rules_file: self.rules_file.clone(),
        };
        Some(status::gather(parts, view, about))
    }

    /// What systemd shows: what is wrong, then what is watched.
    pub(super) fn status_line(&self) -> String {
        let troubles = self.troubles.borrow();
        if troubles.is_empty() { self.summary.clone() } else { format!("{}; {}", *troubles, self.summary) }
    }

    pub(super) async fn tell(&self, notice: Notice) {
        self.ask(Ask::Notice(notice)).await;
    }

    async fn ask(&self, ask: Ask) {
        if self.asks.send(ask).await.is_err() {
            warn!("the judge's task has ended and takes no more questions");
        }
    }

    pub(super) fn order(&self, order: Order) {
        if self.orders.try_send(order).is_err() {
            warn!("the reader takes no more orders");
        }
        self.bell.ring();
    }
}

fn of_the_desk(ended: Result<Result<(), crate::store::StoreError>, tokio::task::JoinError>) -> Fatal {
    match ended {
        Ok(Err(e)) => Fatal::Store(e),
        _ => Fatal::Died("judge's task"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_that_comes_before_anybody_hears_of_it_is_heard() {
        let held = hold_signals().unwrap();
        nix::sys::signal::raise(SIGTERM).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut signals = Signals::listen_to(&held).unwrap();
            tokio::time::timeout(Duration::from_secs(60), signals.stop.wanted()).await.unwrap();
        });
    }
}
