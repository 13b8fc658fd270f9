//! `logherald run`: the agent in the foreground; systemd and a terminal start it alike.

use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use tracing::warn;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::agent::{self, Fatal, Options};

use super::{Done, Failure, RulesArg, colour, exit, paths};

/// How much of its own the log shows, unless `LOGHERALD_LOG` names another of these.
const LEVELS: [&str; 5] = ["info", "error", "warn", "debug", "trace"];

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  logherald run rules.toml                  watch with these rules, alerts as they say
  logherald run rules.toml --state ./state  keep positions and outbox here
  logherald run rules.toml --from-start     begin files that are there at their first byte")]
pub(super) struct Args {
    #[command(flatten)]
    rules: RulesArg,
    /// Where positions, incidents and the outbox are kept [default: $STATE_DIRECTORY, else
    /// $XDG_STATE_HOME/logherald, else ~/.local/state/logherald]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Read files that are there at first start from their first byte, not from their end
    #[arg(long)]
    from_start: bool,
    /// Find changes by looking only, without inotify
    #[arg(long, hide = true)]
    no_inotify: bool,
}

pub(super) fn run(args: &Args) -> Done {
    // messages that name the file are read elsewhere; where there is no working directory, it stays as it is
    let rules = paths::rules(args.rules.rules.as_deref(), "logherald run path/to/rules.toml")?;
    let rules = std::path::absolute(&rules).unwrap_or(rules);
    let state = paths::state(args.state.as_deref())?;
    let socket = paths::own_socket(args.state.is_some(), &state);
    let kept = state.display().to_string();
    log_to_journal_or_stderr();
    let path = rules.display().to_string();
    let options = Options {
        rules,
        state,
        socket,
        from_start: args.from_start,
        colour: colour(),
        no_inotify: args.no_inotify,
    };
    agent::run(options).map_err(|fatal| {
        let code = match &fatal {
            Fatal::Rules(_) => exit::CONFIG,
            Fatal::Store(e) if e.is_permission() => exit::PERMISSION,
            Fatal::Store(e) if e.may_pass() => exit::SOFTWARE,
            Fatal::Store(_) => exit::CONFIG,
            Fatal::System { .. } | Fatal::Died(_) => exit::SOFTWARE,
        };
        if let Fatal::Rules(refused) = &fatal {
            // standard error that takes nothing leaves nothing to say
            _ = writeln!(anstream::stderr().lock(), "{refused}\n");
            return Failure::new(
                code,
                format!("`{path}` cannot be used, and no older rules are kept in `{kept}`"),
            )
            .hint(format!("mend it until `logherald check {path}` finds no error"));
        }
        let text = fatal.to_string();
        match text.split_once("\nhint: ") {
            Some((text, hint)) => Failure::new(code, text).hint(hint),
            None => Failure::new(code, text),
        }
    })
}

/// The agent's own log: with levels and fields to the journal where systemd connected it, else as text.
///
/// It never carries a byte of a watched line, so that an agent that watches the journal cannot feed itself.
fn log_to_journal_or_stderr() {
    // of other crates only warnings, whatever is asked for: an HTTP client that tells all tells secrets
    let asked = std::env::var("LOGHERALD_LOG").unwrap_or_default();
    let level = LEVELS.into_iter().find(|l| *l == asked.trim().to_ascii_lowercase());
    let filter = EnvFilter::new(format!("logherald={},warn", level.unwrap_or(LEVELS[0])));
    let registry = tracing_subscriber::registry().with(filter);
    let journal = stderr_is_the_journal().then(tracing_journald::layer).and_then(Result::ok);
    let set = if let Some(layer) = journal {
        registry.with(layer.with_syslog_identifier("logherald".into())).try_init()
    } else {
        let ansi = anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
        let layer =
            tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(ansi).with_target(false);
        registry.with(layer).try_init()
    };
    // a second subscriber in one process (a test) changes nothing
    drop(set);
    if level.is_none() && !asked.is_empty() {
        warn!("`LOGHERALD_LOG` is none of `error` `warn` `info` `debug` `trace`, and `info` is taken");
    }
}

/// Whether systemd connected standard error to the journal: `JOURNAL_STREAM` names its device and inode. That it is
/// set says nothing by itself, for a shell inherits it from the service that started its terminal.
fn stderr_is_the_journal() -> bool {
    let Some(named) = std::env::var("JOURNAL_STREAM").ok() else { return false };
    let Ok(stderr) = std::io::stderr().as_fd().try_clone_to_owned() else { return false };
    std::fs::File::from(stderr).metadata().is_ok_and(|m| named == format!("{}:{}", m.dev(), m.ino()))
}
