//! `logherald send SPACE`: one real message, by the very client that the agent uses, and what became of it.
//!
//! Webhooks are seldom tried and service accounts seldom right at first; this is where both are found out.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use crate::alert::{Alert, AlertNo, Sample, Severity, What};
use crate::chat::{Client, Keyring, Outcome, Screen, Surface};
use crate::config;
use crate::message::{Message, MessageNo};
use crate::time::{Clock, Now};

use super::{Done, Failure, RulesOption, colour, exit, paths, wait_for};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  logherald send ops
  logherald send oncall --rules rules.toml
  logherald send ops --hostile      every markup trick a log line could try; all must show as text

Exit status: 0 delivered, 69 the space refused or did not answer, 78 it is configured wrongly.")]
pub(super) struct Args {
    /// The space, as `rules.toml` calls it
    space: String,
    #[command(flatten)]
    rules: RulesOption,
    /// Send every markup trick that a log line could try
    #[arg(long)]
    hostile: bool,
}

/// What a hostile line may try. A space must show each as it is written here, without a ping or a link.
const HOSTILE: &str = "<users/all> <users/1234567890> <https://evil.example|your bank> [bank](https://evil.example) \
*bold* _italic_ ~strike~ `code` ```block``` <b>b</b> <a href=\"https://evil.example\">a</a> &lt;b&gt; www.evil.example root@evil.example :fire: \u{202e}reversed\u{202c} \
zero\u{200b}width \0 \u{1b}[31mred\u{1b}[0m";

pub(super) fn send(args: &Args) -> Done {
    let clock = Clock::continuing(None);
    let now = clock.now();
    let path = paths::rules(args.rules.rules.as_deref(), "logherald send SPACE --rules path/to/rules.toml")?;
    let loaded = config::load(&path, &crate::agent::env(now));
    let Some(settings) = loaded.settings.clone().or_else(|| loaded.without_faulty_rules()) else {
        writeln!(anstream::stderr().lock(), "{}\n", loaded.render(super::look()))?;
        return Err(Failure::new(
            exit::CONFIG,
            format!("`{}` cannot be used, nothing was sent: {}", path.display(), loaded.verdict()),
        ));
    };
    let Some(target) = settings.targets.iter().find(|t| *t.name == *args.space) else {
        let names: Vec<String> = settings.targets.iter().map(|t| format!("`{}`", t.name)).collect();
        return Err(Failure::new(exit::CONFIG, format!("no space is called `{}`", args.space))
            .hint(format!("`{}` has {}", path.display(), names.join(", "))));
    };
    let screen = Arc::new(Screen::terminal(colour()));
    let clock_of_client = clock.clone();
    let watch = Arc::new(move || clock_of_client.now());
    let client = Client::new(target, watch, &screen, &Keyring::default())
        .map_err(|e| Failure::new(exit::CONFIG, e.to_string()).hint(e.hint))?;
    for warning in client.warnings() {
        writeln!(anstream::stderr().lock(), "warning: {warning}")?;
    }

    let message = message(&target.name, &settings.policy.host, args.hostile, now);
    let row = crate::agent::row(Arc::new(message), client.is_console(), Surface::Card, now);
    let outcome = wait_for(client.post(&row))?;
    let took = clock.now().tick.since(now.tick);
    verdict(&args.space, &outcome, took)
}

fn verdict(space: &str, outcome: &Outcome, took: Duration) -> Done {
    let ms = took.as_millis();
    let refused = |code, why: &str| {
        Err(Failure::new(code, format!("`{space}` did not take the message: {why} (after {ms} ms)")))
    };
    match outcome {
        Outcome::Delivered { name, .. } => {
            let name = name.as_deref().map(|n| format!(": {n}")).unwrap_or_default();
            Ok(writeln!(anstream::stdout().lock(), "`{space}` took the message in {ms} ms{name}")?)
        }
        Outcome::Retry { why, .. }
        | Outcome::Unanswered { why }
        | Outcome::Slow { why, .. }
        | Outcome::Gone { why }
        | Outcome::Refused { why, .. } => refused(exit::SERVICE, why),
        Outcome::Pause { why, hint, .. } => refused(exit::SERVICE, why).map_err(|f: Failure| f.hint(hint)),
    }
}

fn message(space: &Arc<str>, host: &Arc<str>, hostile: bool, now: Now) -> Message {
    let said = "This is a test: alerts of this host arrive here.";
    // what a line can reach: the text, the key, the line itself, and the name of its file
    let sample = Sample { line: HOSTILE.into(), file: HOSTILE.into(), at: now.wall, ..Sample::default() };
    let lines = u64::from(hostile);
    let alert = Alert {
        no: AlertNo(0),
        what: if hostile { What::Opening } else { What::Notice },
        rule: "test".into(),
        severity: Severity::Info,
        key: if hostile { vec![("from".to_owned(), HOSTILE.to_owned())] } else { Vec::new() },
        text: if hostile { format!("all of it as text: {HOSTILE}") } else { said.to_owned() },
        hits: lines,
        total: lines,
        incidents: 1,
        first: now.wall,
        last: now.wall,
        samples: if hostile { vec![sample] } else { Vec::new() },
        runbook: None,
        held: Vec::new(),
        hint: None,
    };
    Message {
        no: MessageNo(0),
        space: space.clone(),
        thread: format!("logherald-test-{}", now.wall.0),
        host: host.clone(),
        severity: Severity::Info,
        alerts: vec![alert],
        at: now.wall,
        mention: Vec::new(),
        edits: None,
    }
}
