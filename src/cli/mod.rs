//! The face: one file a command, and what they share.
//!
//! Answers go to standard output, everything else to standard error. Exit codes follow sysexits: 0, 64 usage,
//! 65 data, 69 service, 70 software, 77 permission, 78 configuration. Colour only where a terminal looks on and `NO_COLOR` is not
//! set; a command that reads takes `--json`, whose names do not change.

mod against;
mod backtest;
mod brief;
mod check;
mod cost;
mod costs;
mod doctor;
mod explain;
mod limiter;
mod now;
mod outbox;
mod past_logs;
mod paths;
mod reload;
mod run;
mod scenario;
mod send;
mod silence;
mod status;
mod tally;
mod tally_text;
mod tap;
mod test;
mod transcript;
mod why;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Exit codes, after `sysexits.h`.
mod exit {
    /// The command line is wrong.
    pub(super) const USAGE: u8 = 64;
    /// What is to be read is not there, or is not what it should be.
    pub(super) const DATA: u8 = 65;
    /// A service does not answer or refuses.
    pub(super) const SERVICE: u8 = 69;
    /// Something failed that should not.
    pub(super) const SOFTWARE: u8 = 70;
    /// This user may not.
    pub(super) const PERMISSION: u8 = 77;
    /// The configuration is wrong.
    pub(super) const CONFIG: u8 = 78;
}

/// Watches log files, holds back what would be noise and says how much, and tells Google Chat.
#[derive(Debug, Parser)]
#[command(name = "logherald", version, max_term_width = 100)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch the logs and send alerts: the agent
    Run(run::Args),
    /// Find every fault of the rules, and run their tests
    Check(check::Args),
    /// Say of a line what each rule makes of it
    Explain(explain::Args),
    /// What would have been sent for logs of the past
    Backtest(backtest::Args),
    /// Play scenarios, and compare what is said with what they expect
    Test(test::Args),
    /// Look for what is set up wrongly, and say what to mend
    Doctor(doctor::Args),
    /// Send a real test message to a space
    Send(send::Args),
    /// What the running agent is doing
    Status(status::Args),
    /// What waits to be delivered, and what was refused for good: list, show, retry, drop
    Outbox(outbox::Args),
    /// Have the running agent hold a rule, or some of its keys, for a while
    Silence(silence::Args),
    /// List the silences in force
    Silences(silence::ListArgs),
    /// End a silence before its time
    Unsilence(silence::EndArgs),
    /// Say why a rule spoke, or did not: its last 20 decisions
    Why(why::Args),
    /// Show hits as the running agent judges them, held ones too, with the reason
    Tap(tap::Args),
    /// Have the running agent judge and load the rules on disk
    Reload(reload::Args),
}

/// Which rules.
#[derive(Debug, clap::Args)]
struct RulesArg {
    /// The rules file [default: $CONFIGURATION_DIRECTORY/rules.toml, /etc/logherald/rules.toml, ./rules.toml]
    #[arg(value_name = "RULES")]
    rules: Option<PathBuf>,
}

/// The same as an option, for commands whose words are something else.
#[derive(Debug, clap::Args)]
struct RulesOption {
    /// The rules file [default: $CONFIGURATION_DIRECTORY/rules.toml, /etc/logherald/rules.toml, ./rules.toml]
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
}

/// Where the agent that is asked has its socket.
#[derive(Debug, clap::Args)]
struct SocketArgs {
    /// The state directory of the agent that is asked, where it was given one with `--state`
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

/// Runs the command line `args`, whose first word is the program's name.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = match Args::try_parse_from(args) {
        Ok(args) => args,
        Err(e) => {
            // help and version are answers; the rest is usage; nothing can be done when it cannot be printed
            _ = e.print();
            return if e.use_stderr() { ExitCode::from(exit::USAGE) } else { ExitCode::SUCCESS };
        }
    };
    // whatever a command reads of secrets, it reads behind this
    crate::agent::keep_memory_private();
    let done = match args.command {
        Command::Run(args) => run::run(&args),
        Command::Check(args) => check::check(&args),
        Command::Explain(args) => explain::explain(&args),
        Command::Backtest(args) => backtest::backtest(&args),
        Command::Test(args) => test::test(&args),
        Command::Doctor(args) => doctor::doctor(&args),
        Command::Send(args) => send::send(&args),
        Command::Status(args) => status::status(&args),
        Command::Outbox(args) => outbox::outbox(&args),
        Command::Silence(args) => silence::silence(&args),
        Command::Silences(args) => silence::silences(&args),
        Command::Unsilence(args) => silence::unsilence(&args),
        Command::Why(args) => why::why(&args),
        Command::Tap(args) => tap::tap(&args),
        Command::Reload(args) => reload::reload(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print();
            ExitCode::from(failure.code)
        }
    }
}

/// Why a command failed, in words for standard error and a number for scripts.
#[derive(Debug)]
struct Failure {
    code: u8,
    /// Empty where everything has been said already.
    text: String,
    hint: Option<String>,
}

impl Failure {
    fn new(code: u8, text: impl Into<String>) -> Failure {
        Failure { code, text: text.into(), hint: None }
    }

    /// Everything has been said already.
    fn silent(code: u8) -> Failure {
        Failure::new(code, "")
    }

    fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }

    fn print(&self) {
        let mut err = anstream::stderr().lock();
        // standard error that takes nothing leaves nothing to say
        if !self.text.is_empty() {
            _ = writeln!(err, "error: {}", self.text);
        }
        if let Some(hint) = &self.hint {
            _ = writeln!(err, "hint: {hint}");
        }
    }
}

/// A pipe that was closed (`| head`) ends a command quietly; other faults of standard output are told.
impl From<std::io::Error> for Failure {
    fn from(e: std::io::Error) -> Failure {
        match e.kind() {
            std::io::ErrorKind::BrokenPipe => Failure::silent(0),
            _ => Failure::new(exit::SOFTWARE, format!("standard output cannot be written: {e}")),
        }
    }
}

type Done = Result<(), Failure>;

/// Standard output looks coloured.
fn colour() -> bool {
    anstream::AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never
}

/// A small runtime for commands that wait for one thing.
fn wait_for<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => Ok(runtime.block_on(work)),
        Err(e) => Err(Failure::new(exit::SOFTWARE, format!("the system refused an async runtime: {e}"))),
    }
}

/// Control characters shown, so that a line cannot paint the terminal.
fn printable(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// How faults are drawn on standard error.
fn look() -> crate::config::Look {
    match anstream::AutoStream::choice(&std::io::stderr()) {
        anstream::ColorChoice::Never => crate::config::Look::Plain,
        _ => crate::config::Look::Coloured,
    }
}
