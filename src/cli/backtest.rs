//! `logherald backtest`: what would have been sent for logs of the past, by the very engine that runs.
//!
//! The files are merged by the times of their lines, the judge's clock is the time of the line, and its timers run
//! between. So twice the same files and rules say twice the same, byte for byte, and what is said is what a running
//! agent would have sent had it read the lines as they were written.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use crate::agent::{History, LogFile, Progress, Remark, Replay};
use crate::chat;
use crate::config::{self, Settings};
use crate::judge::Report;
use crate::message::Message;
use crate::rules::RuleSet;
use crate::time::Clock;

use super::against::Against;
use super::costs::Costs;
use super::past_logs::{self, PastLogs};
use super::tally::Tally;
use super::{Done, Failure, RulesOption, brief, exit, paths, tally_text};

/// Behind the last line, time goes on for so long, so that what waits is told: the longest time between two reminders,
/// and an hour for what limits hold.
const AFTER: Duration = Duration::from_secs(25 * 3600);

/// The bar is drawn when it takes longer than this.
const PATIENCE: Duration = Duration::from_secs(1);

/// The bar is asked again after so many moments.
const LOOK_EVERY: u32 = 256;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  logherald backtest /var/log/auth.log* --rules rules.toml
  logherald backtest /srv/app/log --rules new.toml --against rules.toml
  logherald backtest saved.log.gz --as billing --messages
  logherald backtest /var/log/syslog --costs
  logherald backtest --json /var/log | jq '.rules[] | .hits'

Files are read as the source that names them says, rotated generations as their
log; what no source names is read as plain lines, and every rule is asked. A
line counts as read at the time it bears; all times are UTC.")]
pub(super) struct Args {
    /// Logs, plain or compressed, or folders of them
    #[arg(value_name = "FILES", required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    rules: RulesOption,
    /// Read all files as those of this source, whatever they are called
    #[arg(long = "as", value_name = "SOURCE")]
    all_as: Option<String>,
    /// Show what these rules would have done otherwise
    #[arg(long, value_name = "OLD.toml")]
    against: Option<PathBuf>,
    /// Print each message as it would have been sent, and when
    #[arg(long)]
    messages: bool,
    /// Say what each rule cost: lines that were looked at for it, hits, and its share of the time, which differs from
    /// run to run
    #[arg(long)]
    costs: bool,
    /// As one JSON document
    #[arg(long)]
    json: bool,
}

/// A backtest that was run.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) files: Vec<LogFile>,
    pub(super) remarks: Vec<Remark>,
    pub(super) progress: Progress,
    pub(super) tally: Tally,
    pub(super) report: Report,
    /// Those that were asked for.
    pub(super) messages: Vec<Message>,
    pub(super) names: Vec<std::sync::Arc<str>>,
    /// Where they were asked for.
    costs: Option<Costs>,
}

/// What a run is to keep beside its counts.
#[derive(Clone, Copy, Debug)]
struct Keep {
    messages: bool,
    costs: bool,
}

pub(super) fn backtest(args: &Args) -> Done {
    let clock = Clock::continuing(None);
    let path =
        paths::rules(args.rules.rules.as_deref(), "logherald backtest FILES --rules path/to/rules.toml")?;
    let settings = sound(&path, &clock)?;
    let old = args.against.as_ref().map(|path| Ok::<_, Failure>((path, sound(path, &clock)?))).transpose()?;
    let keep = Keep { messages: args.messages || args.against.is_some(), costs: args.costs };
    let new = run(&args.files, settings, args.all_as.as_deref(), keep, &clock)?;
    let against = match old {
        Some((old_path, old)) => {
            let keep = Keep { costs: false, ..keep };
            let old = run(&args.files, old, args.all_as.as_deref(), keep, &clock)?;
            Some(Against::new(&path, &new, old_path, &old))
        }
        None => None,
    };
    let mut out = std::io::BufWriter::new(anstream::stdout().lock());
    if args.json {
        let messages = args.messages.then_some(&*new.messages);
        writeln!(out, "{:#}", as_json(&new, messages, against.as_ref()))?;
    } else {
        if args.messages {
            for message in &new.messages {
                writeln!(out, "{} → {}", brief::moment(message.at), brief::shown(&message.space))?;
                writeln!(out, "{}", chat::draw(message, super::colour()))?;
            }
        }
        tally_text::write(&mut out, &new, &path)?;
        if let Some(costs) = &new.costs {
            costs.write(&mut out)?;
        }
        if let Some(against) = &against {
            against.write(&mut out)?;
        }
    }
    out.flush()?;
    let unread = new.remarks.iter().filter(|r| r.unread).count();
    if unread == new.files.len() {
        return Err(Failure::new(exit::DATA, "none of the files could be read"));
    }
    Ok(())
}

/// Settings without a fault: what is compared must be what was written.
fn sound(path: &Path, clock: &Clock) -> Result<Settings, Failure> {
    let loaded = config::load(path, &crate::agent::env(clock.now()));
    if let Some(settings) = loaded.settings.clone() {
        return Ok(settings);
    }
    writeln!(anstream::stderr().lock(), "{}\n", loaded.render(super::look()))?;
    Err(Failure::new(exit::CONFIG, format!("`{}` cannot be used: {}", path.display(), loaded.verdict())))
}

fn run(
    named: &[PathBuf],
    settings: Settings,
    all_as: Option<&str>,
    keep: Keep,
    clock: &Clock,
) -> Result<Run, Failure> {
    let paths = past_logs::files_of(named, &settings)?;
    let PastLogs { files, mut sets } = PastLogs::new(&paths, &settings, all_as)?;
    if keep.costs {
        sets.iter_mut().for_each(RuleSet::count_costs);
    }
    let bar = Bar::new(&files, clock.clone());
    let names: Vec<_> = settings.policy.rules.iter().map(|r| r.name.clone()).collect();
    let ran = replay(files.clone(), sets, settings, keep.messages, bar);
    let Ran { history, tally, report, messages } = ran;
    let (remarks, progress) = (history.remarks().to_vec(), history.progress());
    let costs = keep.costs.then(|| Costs::new(history.sets(), &names, &tally));
    Ok(Run { files, remarks, progress, tally, report, messages, names, costs })
}

struct Ran {
    history: History,
    tally: Tally,
    report: Report,
    messages: Vec<Message>,
}

fn replay(files: Vec<LogFile>, sets: Vec<RuleSet>, settings: Settings, keep: bool, mut bar: Bar) -> Ran {
    let mut history = History::new(files, sets);
    let mut tally = Tally::new(&settings.policy);
    let mut messages = Vec::new();
    let begins = history.begins().unwrap_or_default();
    let mut replay = Replay::new(settings.policy, begins).without_restarts();
    while let Some(moment) = history.next_moment() {
        bar.look(history.progress());
        let mut said = Vec::new();
        replay.until(moment.at, &mut |m| said.push(m.clone()));
        for message in said.drain(..) {
            tally.message(&message);
            messages.extend(keep.then_some(message));
        }
        if tally.turns(moment.at) {
            tally.close_day(&replay.report(), moment.at);
        }
        for hit in moment.hits.in_full() {
            tally.hit(hit, moment.at);
        }
        replay.hits(moment.hits, &mut |m| said.push(m.clone()));
        for message in said {
            tally.message(&message);
            messages.extend(keep.then_some(message));
        }
    }
    bar.end();
    let end = replay.now().wall.max(history.progress().times.map_or(begins, |(_, last)| last));
    let mut say = |message: &Message| {
        tally.message(message);
        messages.extend(keep.then(|| message.clone()));
    };
    replay.until(end, &mut say);
    // what waits is told, but nobody knows what was written behind the end
    replay.logs_end();
    replay.until(end + AFTER, &mut say);
    let report = replay.report();
    tally.close_day(&report, end);
    Ran { history, tally, report, messages }
}

fn as_json(run: &Run, messages: Option<&[Message]>, against: Option<&Against>) -> serde_json::Value {
    let mut doc = run.tally.to_json(&run.report);
    let file = |f: &LogFile| json!({ "path": f.path, "read_as": PastLogs::read_as(f), "name": &*f.name });
    doc["files"] = run.files.iter().map(file).collect();
    let remark = |r: &Remark| json!({ "path": r.path, "what": r.what, "unread": r.unread });
    doc["remarks"] = run.remarks.iter().map(remark).collect();
    doc["lines"] = run.progress.lines.into();
    doc["bytes"] = run.progress.bytes.into();
    doc["clock_odd"] = run.report.clock_odd.into();
    if let Some((first, last)) = run.progress.times {
        doc["first"] = first.to_string().into();
        doc["last"] = last.to_string().into();
    }
    if let Some(messages) = messages {
        doc["messages"] = messages.iter().map(message_json).collect();
    }
    if let Some(costs) = &run.costs {
        doc["costs"] = costs.to_json();
    }
    if let Some(against) = against {
        doc["against"] = against.to_json();
    }
    doc
}

/// A message with its times as text.
pub(super) fn message_json(m: &Message) -> serde_json::Value {
    let mut doc = serde_json::to_value(m).unwrap_or_default();
    doc["at"] = m.at.to_string().into();
    for (alert, of) in doc["alerts"].as_array_mut().into_iter().flatten().zip(&m.alerts) {
        alert["first"] = of.first.to_string().into();
        alert["last"] = of.last.to_string().into();
        for (sample, of) in alert["samples"].as_array_mut().into_iter().flatten().zip(&of.samples) {
            sample["at"] = of.at.to_string().into();
        }
    }
    doc
}

/// The progress bar on standard error: where a terminal looks on, and only when it takes a while.
struct Bar {
    drawn: ProgressBar,
    /// Where it is drawn as soon as it takes a while; nowhere where no terminal looks on.
    target: Option<ProgressDrawTarget>,
    clock: Clock,
    since: crate::time::Tick,
    calls: u32,
}

impl Bar {
    fn new(files: &[LogFile], clock: Clock) -> Bar {
        let sizes = files.iter().filter_map(|f| std::fs::metadata(&f.path).ok()).map(|m| m.len());
        let target = std::io::stderr().is_terminal().then(ProgressDrawTarget::stderr);
        Bar::of(sizes.sum(), target, clock)
    }

    fn of(bytes: u64, target: Option<ProgressDrawTarget>, clock: Clock) -> Bar {
        let drawn = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::hidden());
        let style = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {msg}");
        drawn.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Bar { drawn, target, since: clock.now().tick, clock, calls: 0 }
    }

    fn look(&mut self, progress: Progress) {
        self.calls = self.calls.wrapping_add(1);
        if !self.calls.is_multiple_of(LOOK_EVERY) {
            return;
        }
        if self.drawn.is_hidden() {
            let long = self.clock.now().tick.since(self.since) >= PATIENCE;
            let Some(target) = self.target.take_if(|_| long) else { return };
            self.drawn.set_draw_target(target);
        }
        self.drawn.set_position(progress.disk);
        if let Some((_, last)) = progress.times {
            self.drawn.set_message(brief::moment(last));
        }
    }

    fn end(&self) {
        self.drawn.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use indicatif::TermLike;

    use super::*;
    use crate::time::{Now, Tick, Wall};

    /// What is drawn on a terminal.
    #[derive(Clone, Debug, Default)]
    struct Drawn(Arc<Mutex<String>>);

    impl TermLike for Drawn {
        fn width(&self) -> u16 {
            100
        }
        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write_str(text)
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            self.0.lock().unwrap().push_str(text);
            Ok(())
        }
        fn clear_line(&self) -> io::Result<()> {
            Ok(())
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_bar_is_drawn_when_it_takes_a_while_and_says_how_far_it_is() {
        let clock = Clock::by_hand(Now { wall: Wall(0), tick: Tick(0) });
        let terminal = Drawn::default();
        let target = ProgressDrawTarget::term_like(Box::new(terminal.clone()));
        let mut bar = Bar::of(4096, Some(target), clock.clone());
        // 2026-11-22T05:26:00Z
        let progress =
            Progress { disk: 1024, times: Some((Wall(0), Wall(1_795_325_160_000))), ..Progress::default() };
        let look_often = |bar: &mut Bar| (0..LOOK_EVERY).for_each(|_| bar.look(progress));
        look_often(&mut bar);
        clock.pass(Duration::from_millis(999));
        look_often(&mut bar);
        assert_eq!(*terminal.0.lock().unwrap(), "", "it may be over in a moment");
        clock.pass(Duration::from_millis(1));
        (1..LOOK_EVERY).for_each(|_| bar.look(progress));
        assert_eq!(*terminal.0.lock().unwrap(), "", "it is not asked each time");
        bar.look(progress);
        let said = terminal.0.lock().unwrap().clone();
        assert!(said.contains("1.00 KiB/4.00 KiB 2026-11-22 05:26:00"), "{said}");
    }

    #[test]
    fn no_bar_is_drawn_where_no_terminal_looks_on() {
        let clock = Clock::by_hand(Now { wall: Wall(0), tick: Tick(0) });
        let mut bar = Bar::of(4096, None, clock.clone());
        clock.pass(PATIENCE * 2);
        (0..LOOK_EVERY).for_each(|_| bar.look(Progress::default()));
        assert!(bar.drawn.is_hidden());
    }
}
