//! `logherald doctor`: what is set up wrongly between this host and its spaces, and what to mend.
//!
//! The two mistakes that cost alerts are service accounts set up wrongly and webhooks never tried. Both are found here
//! before an alert is lost to them, and nothing is written to a space: `send` does that. Each part looks at one thing and
//! gives findings: `host` at rules, service, state and logs, `space` at a secret and at what Chat says of it, `unit` at
//! what systemd keeps from the agent; `sheet` writes them down. Whatever can be asked of what runs anyway is asked there:
//! the tailer says which logs can be read, the client's own code what a secret is good for, the running agent what it has
//! met.

mod host;
mod sheet;
mod space;
mod unit;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::chat::{Target, Watch};
use crate::time::Clock;

use super::{Done, Failure, RulesArg, exit, paths, wait_for};
use sheet::Sheet;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  logherald doctor rules.toml
  logherald doctor --space ops              only what this space needs
  sudo logherald doctor                     the service; secrets that only root may read
  sudo -u logherald logherald doctor        the logs, as the service's user

Nothing is written to a space: `logherald send SPACE` does that.

Exit status: 0 without a failure (warnings are allowed), 69 where only Chat or the
way to it fails, 78 where something of this host is to be mended.")]
pub(super) struct Args {
    #[command(flatten)]
    rules: RulesArg,
    /// Only this space, as `rules.toml` calls it
    #[arg(long, value_name = "NAME")]
    space: Option<String>,
    /// Ask nobody outside this host
    #[arg(long)]
    offline: bool,
    /// The state directory of the agent, where it was given one with `--state`
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// As one JSON document
    #[arg(long)]
    json: bool,
}

/// What `check --online` asks: whether each space can be spoken to.
pub(super) fn of_spaces(rules: &Path, targets: &[Target]) -> Result<Sheet, Failure> {
    let place = host::Place::of(rules, None)?;
    let agent = wait_for(host::Agent::ask(&place.socket))?.of(rules);
    let (_, accepted) = host::state(&place, &agent);
    let mut sheet = Sheet::default();
    spaces(&targets.iter().collect::<Vec<_>>(), &place, &accepted, false, &mut sheet)?;
    Ok(sheet)
}

fn spaces(
    targets: &[&Target],
    place: &host::Place,
    accepted: &host::Accepted,
    offline: bool,
    sheet: &mut Sheet,
) -> Done {
    let clock = Clock::continuing(None);
    let now: Watch = Arc::new(move || clock.now());
    let mut skew = None;
    for target in targets {
        let patient = space::Patient { target, place, accepted };
        let at_hand = patient.examine(&now, sheet);
        if let Some(at_hand) = at_hand.filter(|_| !offline) {
            let asked = wait_for(crate::chat::probe(&at_hand, &now))?;
            skew = skew.or(asked.iter().flatten().find_map(|a| a.skew));
            sheet.extend(patient.said(asked));
        }
        sheet.extend(patient.tried());
    }
    sheet.extend(space::clock(skew));
    sheet.extend(space::proxy(&|name| std::env::var(name).ok(), place.of_service));
    Ok(())
}

pub(super) fn doctor(args: &Args) -> Done {
    let clock = Clock::continuing(None);
    let path = paths::rules(args.rules.rules.as_deref(), "logherald doctor path/to/rules.toml")?;
    let mut sheet = Sheet::default();
    let (rules, settings) = host::rules(&path, clock.now());
    sheet.extend(rules);
    let targets = settings.as_ref().map_or_else(Vec::new, |s| s.targets.clone());
    if let Some(name) = &args.space
        && settings.is_some()
        && !targets.iter().any(|t| *t.name == **name)
    {
        let names: Vec<String> = targets.iter().map(|t| format!("`{}`", t.name)).collect();
        return Err(Failure::new(exit::CONFIG, format!("no space is called `{name}`")).hint(format!(
            "`{}` has {}",
            path.display(),
            names.join(", ")
        )));
    }
    let place = host::Place::of(&path, args.state.as_deref())?;
    let agent = wait_for(host::Agent::ask(&place.socket))?.of(&path);
    let (state, accepted) = host::state(&place, &agent);
    if args.space.is_none() {
        sheet.extend(host::service(&place));
        sheet.extend(agent.findings());
        sheet.extend(state);
        sheet.extend(settings.as_ref().map_or_else(Vec::new, |s| host::logs(s, &place, &agent, clock.now())));
    }
    let only = |t: &&Target| args.space.as_deref().is_none_or(|name| *t.name == *name);
    let targets: Vec<&Target> = targets.iter().filter(only).collect();
    spaces(&targets, &place, &accepted, args.offline, &mut sheet)?;
    let mut out = anstream::stdout().lock();
    if args.json {
        writeln!(out, "{:#}", sheet.json())?;
    } else {
        write!(out, "{}", sheet.text())?;
    }
    match sheet.code() {
        0 => Ok(()),
        code => Err(Failure::silent(code)),
    }
}
