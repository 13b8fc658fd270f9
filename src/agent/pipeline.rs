//! All wiring, readable top to bottom, and the only place that spawns anything.
//!
//! Threads: one reader, one writer of the store. Tasks: the desk, one worker a space, the control socket, the
//! watchdog. Every channel is bounded and every thread and task is joined. Stopping begins at the head: the reader
//! hands on what it holds and ends, its closed channel ends the desk's reading, the workers finish or give up what
//! they have in hand, the desk takes their last reports and makes the last commit. What is still to be said stays in
//! the store and goes out after the next start.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::alert::Severity;
use crate::chat::{Client, Keyring, Ping, Screen};
use crate::deliver::{self, Pace, ProjectPace, Report};
use crate::judge::{Input, Judge, Notice};
use crate::state::StateRow;
use crate::store::{self, Store, StoreError};
use crate::tail::{Bell, TailOptions, Tailer};
use crate::time::{Clock, Tick, Wall};

use super::alive;
use super::attend::{Held, Signals, hold_signals, kept};
use super::control;
use super::desk::{Ask, Desk, Inlets, Worker, Workers};
use super::load::{LoadError, Loader, Unmended};
use super::reader::{Order, Reader};
use super::service;
use super::start_line::Running;
use super::status::RulesFile;
use super::trouble;
use super::watch::FilesWatch;

/// Batches between reader and desk: each holds the hits of one quantum, so this bounds memory in a storm.
const BATCHES: usize = 2;

/// Reports between workers and desk; a worker waits when it is full.
const REPORTS: usize = 64;

/// Questions to the desk and requests from the socket.
const ASKS: usize = 16;

/// After SIGTERM everything must have ended within this; systemd's own deadline is 30 s.
const STOP_WITHIN: Duration = Duration::from_secs(20);

/// What `run` is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// The main rules file.
    pub rules: PathBuf,
    /// Where the state is kept; made when it is not there.
    pub state: PathBuf,
    /// The control socket's path.
    pub socket: PathBuf,
    /// Files that are there at first start are read from their first byte.
    pub from_start: bool,
    /// The terminal shows colour.
    pub colour: bool,
    /// Without inotify: the sweep alone finds what changed.
    pub no_inotify: bool,
}

/// Why the agent did not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum Fatal {
    /// The rules cannot be used, and there is no older set.
    #[error("{0}")]
    Rules(#[from] LoadError),
    /// The state directory cannot be used.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// A thread, a runtime or a signal handler could not be made.
    #[error("the system refused {what}: {source}")]
    System {
        /// What was asked for.
        what: &'static str,
        /// Its answer.
        source: std::io::Error,
    },
    /// A stage ended by itself, which none may.
    #[error("the {0} ended unexpectedly; this is a bug of logherald")]
    Died(&'static str),
}

pub(super) fn system(what: &'static str) -> impl FnOnce(std::io::Error) -> Fatal {
    move |source| Fatal::System { what, source }
}

/// Runs the agent until SIGTERM or SIGINT, or until standard input, its only source, has ended and was told of.
pub fn run(options: Options) -> Result<(), Fatal> {
    let held = hold_signals()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(4)
        .enable_all()
        .build()
        .map_err(system("an async runtime"))?;
    let ended = runtime.block_on(Agent::start_and_run(options, held));
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}

/// The desk, running.
pub(super) type DeskTask = JoinHandle<Result<(), StoreError>>;

/// What [`Agent::attend`] works with.
pub(super) struct Agent {
    pub(super) options: Options,
    pub(super) clock: Clock,
    pub(super) started: Wall,
    pub(super) host: Arc<str>,
    pub(super) loader: Loader,
    pub(super) watched: FilesWatch,
    pub(super) rules_file: RulesFile,
    /// The rules on disk have faults.
    pub(super) unmended: Option<Unmended>,
    pub(super) running: Running,
    /// What systemd shows.
    pub(super) summary: String,
    pub(super) bell: Bell,
    pub(super) orders: std::sync::mpsc::SyncSender<Order>,
    pub(super) asks: mpsc::Sender<Ask>,
    pub(super) reports: mpsc::Sender<Report>,
    pub(super) crew: Crew,
    /// Whom it tells that it lives.
    pub(super) ping: watch::Sender<Option<Ping>>,
    /// All that was to be read has been, and told.
    pub(super) over: CancellationToken,
    /// What is wrong with delivery, in a line.
    pub(super) troubles: watch::Receiver<String>,
}

/// The workers of one set of spaces. Each gives, when it ends, the instant of its space's next write.
pub(super) struct Crew {
    pub(super) tasks: JoinSet<(Arc<str>, Tick)>,
    stop: CancellationToken,
}

impl Agent {
    async fn start_and_run(options: Options, held: Held) -> Result<(), Fatal> {
        let mut signals = Signals::listen_to(&held)?;
        let handles = service::raise_file_limit();
        let (store, opened) = Store::open(&options.state)?;
        let clock = Clock::continuing(opened.last);
        let now = clock.now();
        let loader = Loader {
            path: options.rules.clone(),
            state: options.state.clone(),
            from_start: options.from_start,
            clock: clock.clone(),
            screen: Arc::new(Screen::terminal(options.colour)),
            keyring: Keyring::default(),
        };
        let (set, mut rules_file) = loader.boot()?;
        rules_file.unusable_spaces.clone_from(&set.unusable);
        let host = set.policy.host.clone();
        let running = Running::new(&set);
        let mut notices = set.notices;
        let unmended = set.refused.map(|notice| Unmended::told(notice, now));
        if let Some(aside) = &opened.set_aside {
            warn!("{aside}");
            notices.push(about_the_state(aside.to_string()));
        }

        // the stages
        let paces = paces(&opened.state);
        let troubled: Vec<StateRow> =
            opened.state.iter().filter(|row| row.name.starts_with(trouble::ROW)).cloned().collect();
        let (mut judge, mut first) = Judge::new(set.policy, opened.state, opened.install, now);
        if let Some(last) = opened.last {
            first.extend(judge.apply(Input::Away { from: last.tick }, now));
        }
        if !judge.left_out().is_empty() {
            let rows = judge.left_out().join(", ");
            warn!("parts of the saved state could not be understood and are left out: {rows}");
            notices
                .push(about_the_state(format!("parts of the saved state could not be understood: {rows}")));
        }
        let bell = Bell::new();
        let tail_options = TailOptions { inotify: !options.no_inotify, handles, ..TailOptions::default() };
        let tailer = Tailer::new(set.sources, opened.positions, bell.clone(), tail_options, now);
        let summary = running.start_line(&tailer.summary());

        // the channels between them
        let (handle, inbox) = store::channel();
        let (orders, order_box) = std::sync::mpsc::sync_channel(ASKS);
        let (lines, from_reader) = mpsc::channel(BATCHES);
        let (reports, report_box) = mpsc::channel(REPORTS);
        let (asks, ask_box) = mpsc::channel(ASKS);
        let (requests, mut request_box) = mpsc::channel(ASKS);
        let stop = CancellationToken::new();
        let (met, first_positions) = oneshot::channel();
        let pulses = [pulse(&clock), pulse(&clock)];
        let read_up_to = Arc::new(AtomicU64::new(0));

        // threads
        let store_thread =
            named("store").spawn(move || store::run(store, inbox)).map_err(system("a thread"))?;
        let reader = Reader {
            tailer,
            rules: set.rules,
            clock: clock.clone(),
            orders: order_box,
            out: lines,
            pulse: pulses[0].clone(),
            read_up_to: read_up_to.clone(),
            kept: Some(met),
        };
        let reader_thread = named("reader").spawn(move || reader.run()).map_err(system("a thread"))?;

        // tasks
        let (crew, workers) = Crew::hire(set.clients, set.workers, (&reports, &asks), &clock, &paces);
        let mut desk = Desk::new(judge, handle, clock.clone(), workers);
        desk.take_up_troubles(&troubled);
        let over = CancellationToken::new();
        let inlets = Inlets {
            reader: from_reader,
            reports: report_box,
            asks: ask_box,
            pulse: pulses[1].clone(),
            read_up_to,
            over: over.clone(),
        };
        let troubles = desk.troubles.subscribe();
        let mut desk = spawn(desk.run(inlets, first));
        let control = match control::bind(&options.socket) {
            Ok(listener) => Some(spawn(control::serve(listener, requests.clone(), stop.clone()))),
            Err(e) => {
                warn!(
                    "`status` will not work: the socket `{}` cannot be made: {e}",
                    options.socket.display()
                );
                None
            }
        };
        drop(requests);
        let watchdog = spawn(service::watchdog(pulses.to_vec(), clock.clone(), stop.clone()));
        let (ping, whom) = watch::channel(set.ping);
        let outside = spawn(alive::ping(whom, pulses.to_vec(), clock.clone(), stop.clone()));

        let mut agent = Agent {
            started: now.wall,
            host,
            loader,
            watched: FilesWatch::new(set.files),
            rules_file,
            unmended,
            running,
            summary,
            bell,
            orders,
            asks,
            reports,
            crew,
            ping,
            clock,
            options,
            over,
            troubles,
        };
        for notice in notices {
            agent.tell(notice).await;
        }
        kept(first_positions).await;
        info!("{}", agent.summary);
        service::ready(&agent.status_line());
        let ended = agent.attend(&mut signals, &mut request_box, &mut desk, &reader_thread).await;
        service::stopping();

        // stopping, from the head; who still asks is told so
        stop.cancel();
        drop(request_box);
        let drained = tokio::time::timeout(STOP_WITHIN, agent.drain(desk)).await;
        if drained.is_err() {
            error!(
                "draining took longer than {} s; what is left goes out after the next start",
                STOP_WITHIN.as_secs()
            );
        }
        for task in control.into_iter().chain([watchdog, outside]) {
            if tokio::time::timeout(Duration::from_secs(1), task).await.is_err() {
                warn!("a task did not end in time");
            }
        }
        // both threads end when their channels are closed, which the desk's end did
        if drained.is_ok() {
            for thread in [reader_thread, store_thread] {
                if thread.join().is_err() {
                    error!("a thread ended by a panic");
                }
            }
        }
        ended
    }

    async fn drain(self, desk: DeskTask) {
        self.order(Order::Stop);
        let Agent { crew, reports, asks, orders, .. } = self;
        crew.leave().await;
        drop((reports, asks, orders));
        // one that has ended already has been told of
        if desk.is_finished() {
            return;
        }
        match desk.await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => error!("the last commit failed: {e}"),
            Err(_) => error!("the judge's task ended by a panic"),
        }
    }
}

impl Crew {
    pub(super) fn none() -> Crew {
        Crew { tasks: JoinSet::new(), stop: CancellationToken::new() }
    }

    /// One worker for each space, added to `workers`.
    pub(super) fn hire(
        clients: BTreeMap<Arc<str>, Client>,
        mut workers: Workers,
        (reports, asks): (&mpsc::Sender<Report>, &mpsc::Sender<Ask>),
        clock: &Clock,
        paces: &BTreeMap<Arc<str>, Tick>,
    ) -> (Crew, Workers) {
        let mut crew = Crew::none();
        let mut projects: BTreeMap<String, ProjectPace> = BTreeMap::new();
        for (space, client) in clients {
            let (hand, in_hand) = watch::channel(None);
            let clock = clock.clone();
            let console = client.is_console();
            let mut pace = if console {
                Pace::console()
            } else {
                Pace::chat(paces.get(&space).copied().unwrap_or_default())
            };
            if let Some(project) = client.project() {
                pace = pace.of(projects.entry(project).or_default().clone());
            }
            let client = Arc::new(client);
            let now = move || clock.now();
            let (to, whose) = (asks.clone(), space.clone());
            // beside the worker; a desk that has ended wants to hear of nothing
            let tell = move |found| {
                let (to, looked) = (to.clone(), Ask::Looked { space: whose.clone(), found });
                async move { to.send(looked).await.is_ok() }
            };
            let look =
                deliver::look(client.clone(), now.clone(), tell, crew.stop.clone(), super::mint::random_u64);
            let work = deliver::worker(
                client,
                now,
                in_hand,
                reports.clone(),
                crew.stop.clone(),
                pace,
                super::mint::random_u64,
            );
            let name = space.clone();
            crew.tasks.spawn(async move { (name, tokio::join!(work, look).0) });
            workers.at_work.insert(space, Worker { hand, console });
        }
        (crew, workers)
    }

    /// Tells all to stop and waits until they have. Gives the instants of their spaces' next writes.
    pub(super) async fn leave(mut self) -> BTreeMap<Arc<str>, Tick> {
        self.stop.cancel();
        let mut paces = BTreeMap::new();
        while let Some(ended) = self.tasks.join_next().await {
            if let Ok((space, next_write)) = ended {
                paces.insert(space, next_write);
            } else {
                error!("a worker ended by a panic");
            }
        }
        paces
    }
}

/// A task of this file, which joins it.
#[expect(clippy::disallowed_methods, reason = "this is the one place that spawns")]
fn spawn<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    tokio::spawn(task)
}

fn named(name: &str) -> thread::Builder {
    thread::Builder::new().name(format!("logherald-{name}"))
}

fn pulse(clock: &Clock) -> Arc<AtomicU64> {
    Arc::new(AtomicU64::new(clock.now().tick.0))
}

fn about_the_state(text: String) -> Notice {
    Notice { about: "state".into(), severity: Severity::Error, text, hint: None, space: None }
}

/// When each space may next be written to, as the last run left it.
fn paces(state: &[StateRow]) -> BTreeMap<Arc<str>, Tick> {
    let tick =
        |r: &StateRow| Some((r.name.strip_prefix("pace/")?.into(), Tick(r.value.as_ref()?.parse().ok()?)));
    state.iter().filter_map(tick).collect()
}
