//! This host: the rules, the service, the agent that runs, its state directory, and the logs.
//!
//! Nothing is changed here, and nothing made: a doctor often runs as root, and a file of root's in the state directory would
//! lock the agent out of it. What the agent itself knows better, because it runs as itself, it is asked.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::process::{Resource, getrlimit};
use serde_json::Value;

use crate::agent::control::{self, ControlError};
use crate::chat::{this_user, user_name, why_denied};
use crate::config::{self, Settings};
use crate::judge::{SpaceCounts, counts_of_spaces};
use crate::store::{Peek, peek};
use crate::tail::{Bell, Input, TailOptions, Tailer, Trouble, journal_trouble};
use crate::time::{Now, Wall};

use super::super::brief::{count, moment};
use super::super::status::{bytes, number, second, wrong};
use super::super::{Failure, check, paths, reload};
use super::sheet::Finding;
use super::unit::{NAME, Unit};

/// Troubles with logs that are listed one by one; the rest are counted.
const LISTED: usize = 20;
/// The outbox may grow to this, in bytes; with less room on the disk it is the disk that bounds it.
const ROOM: u64 = 64 << 20;
/// What package managers leave beside a file that the operator has changed.
const LEFTOVERS: [&str; 3] = [".dpkg-dist", ".dpkg-new", ".rpmnew"];

/// Where everything is.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) state: PathBuf,
    pub(super) socket: PathBuf,
    /// The rules are those of the service.
    pub(super) of_service: bool,
    pub(super) unit: Option<Unit>,
}

impl Place {
    /// Of the agent that runs on `rules`, with its state where it was given one.
    pub(super) fn of(rules: &Path, state: Option<&Path>) -> Result<Place, Failure> {
        Ok(Place {
            state: paths::state_of(state, rules)?,
            socket: paths::socket(state)?,
            of_service: paths::is_of_service(rules),
            unit: Unit::find(),
        })
    }
}

/// What became of asking the running agent.
#[derive(Debug)]
pub(super) enum Agent {
    /// Its status.
    Runs(Box<Value>),
    /// Nobody listens.
    Silent,
    /// Something is wrong with asking.
    Fault(ControlError),
}

impl Agent {
    pub(super) async fn ask(socket: &Path) -> Agent {
        match control::call(socket, "GET", "/status").await {
            Ok((_, body)) => match serde_json::from_slice(&body) {
                Ok(status) => Agent::Runs(Box::new(status)),
                Err(e) => Agent::Fault(ControlError::Broken { path: socket.to_owned(), why: e.to_string() }),
            },
            Err(ControlError::NoAgent { .. }) => Agent::Silent,
            Err(fault) => Agent::Fault(fault),
        }
    }

    /// One that runs on other rules says nothing of these.
    pub(super) fn of(self, rules: &Path) -> Agent {
        let ours = std::path::absolute(rules).unwrap_or_else(|_| rules.to_owned());
        match self {
            Agent::Runs(status) if status["rules_file"]["path"].as_str().map(Path::new) != Some(&ours) => {
                Agent::Silent
            }
            agent => agent,
        }
    }

    pub(super) fn status(&self) -> Option<&Value> {
        match self {
            Agent::Runs(status) => Some(status),
            Agent::Silent | Agent::Fault(_) => None,
        }
    }

    /// What it says of itself.
    pub(super) fn findings(&self) -> Vec<Finding> {
        match self {
            Agent::Silent => vec![],
            Agent::Fault(e) => {
                let failure = reload::unreachable_agent(e);
                let finding = Finding::warning("agent", "agent", failure.text);
                vec![match failure.hint {
                    Some(hint) => finding.hint(hint),
                    None => finding,
                }]
            }
            Agent::Runs(status) => {
                let watching = status["watching"].as_str().unwrap_or("-");
                let mut all = vec![Finding::ok("agent", "agent", format!("it runs, {watching}"))];
                all.extend(wrong(status).into_iter().map(|(what, hint)| {
                    let finding = Finding::failure("agent", "agent", what);
                    match hint {
                        Some(hint) => finding.hint(hint),
                        None => finding,
                    }
                }));
                all
            }
        }
    }
}

/// The rules file, and the settings as far as they can be used.
pub(super) fn rules(path: &Path, now: Now) -> (Vec<Finding>, Option<Settings>) {
    let loaded = config::load(path, &crate::agent::env(now));
    let settings = loaded.settings.clone().or_else(|| loaded.without_faulty_rules());
    let shown = path.display();
    let look = format!("`logherald check {shown}` shows each with its place and remedy");
    let mut found = vec![];
    let held = settings.as_ref().map(|s| {
        let (rules, spaces) = (count(s.rules.len() as u64, "rule"), count(s.targets.len() as u64, "space"));
        format!("`{shown}` holds {rules} and {spaces}")
    });
    let sound = loaded.errors() == 0;
    found.extend(held.filter(|_| sound).map(|held| Finding::ok("rules", "rules", held)));
    if !loaded.faults.is_empty() {
        let what = format!("`{shown}` has {}", loaded.verdict());
        let finding: fn(&str, &'static str, String) -> Finding =
            if sound { Finding::warning } else { Finding::failure };
        found.push(finding("rules", "rules", what).hint(look));
    }
    for end in LEFTOVERS {
        let left = PathBuf::from(format!("{shown}{end}"));
        if left.exists() {
            let what = format!("a package left its own version at `{}`", left.display());
            let hint = "take over what is new in it, and remove it";
            found.push(Finding::warning("rules", "leftover", what).hint(hint));
        }
    }
    (found, settings)
}

/// The unit, and whether it can start with the secrets that it names.
pub(super) fn service(place: &Place) -> Vec<Finding> {
    let Some(unit) = &place.unit else { return vec![] };
    let user = unit.user.as_deref().unwrap_or("root");
    let secrets = match unit.credentials.len() {
        0 => "loads no secret".to_owned(),
        n => format!("loads {}", count(n as u64, "secret")),
    };
    let mut found =
        vec![Finding::ok("service", "unit", format!("`{NAME}` runs as user `{user}` and {secrets}"))];
    for (name, path) in unit.credentials.iter().filter(|(_, path)| path.is_absolute()) {
        // one that this user may not even see is looked at by root
        if fs::metadata(path).is_err_and(|e| e.kind() == ErrorKind::NotFound) {
            let what = format!(
                "`LoadCredential={name}:{}` names a file that is not there: the service cannot start (status 243)",
                path.display()
            );
            let hint = format!("store the secret there (0600, of root), or take the line out of `{NAME}`");
            found.push(Finding::failure("service", "credential", what).hint(hint));
        }
    }
    found
}

/// What is known of the messages that each space accepted; `None`: nothing is.
pub(super) type Accepted = Option<BTreeMap<String, (u64, Option<String>)>>;

/// The state directory, and what it says of spaces.
pub(super) fn state(place: &Place, agent: &Agent) -> (Vec<Finding>, Accepted) {
    let dir = &place.state;
    let shown = dir.display();
    let from_agent = agent.status().map(|status| {
        let spaces = status["spaces"].as_object().into_iter().flatten();
        let one = |(name, s): (&String, &Value)| {
            (name.clone(), (number(&s["accepted"]), s["last_accepted"].as_str().map(day)))
        };
        spaces.map(one).collect()
    });
    match peek(dir) {
        Ok(seen) => {
            let counts = |seen: &Peek| {
                let last = |c: &SpaceCounts| c.last_delivered.map(moment_of);
                let counts = counts_of_spaces(&seen.state);
                counts.into_iter().map(|(name, c)| (name.to_string(), (c.delivered, last(&c)))).collect()
            };
            let accepted = from_agent.or_else(|| seen.unreadable.is_none().then(|| counts(&seen)));
            (of_directory(dir, place, &seen, agent), accepted)
        }
        Err(e) if e.kind() == ErrorKind::NotFound => {
            let above = dir.ancestors().skip(1).find(|d| d.is_dir()).unwrap_or(Path::new("/"));
            let found = match may_write(above) {
                _ if place.unit.is_some() && place.of_service => {
                    Finding::ok("state", "state", format!("`{shown}` is not there yet: systemd makes it"))
                }
                Ok(()) => {
                    Finding::ok("state", "state", format!("`{shown}` is not there yet: the agent makes it"))
                }
                Err(why) => Finding::failure(
                    "state",
                    "state",
                    format!("`{shown}` cannot be made in `{}`: {why}", above.display()),
                )
                .hint("choose a directory that this user can write with `--state DIR`"),
            };
            (vec![found], from_agent.or_else(|| Some(BTreeMap::new())))
        }
        Err(e) if e.kind() == ErrorKind::PermissionDenied && place.of_service => {
            let what = format!("`{shown}` may not be looked into by user `{}`", this_user());
            let found = Finding::warning("state", "state", what).hint("`sudo logherald doctor` looks at it");
            (vec![found], from_agent)
        }
        Err(e) => {
            let what = format!("`{shown}` cannot be used: {}", plain(&e));
            let hint = "it must be a directory that this user can write; choose another with `--state DIR`";
            (vec![Finding::failure("state", "state", what).hint(hint)], from_agent)
        }
    }
}

fn of_directory(dir: &Path, place: &Place, seen: &Peek, agent: &Agent) -> Vec<Finding> {
    let shown = dir.display();
    let mut found = vec![];
    match (seen.held, agent) {
        (true, Agent::Runs(_)) => {
            found.push(Finding::ok("state", "state", format!("`{shown}` is in use by the running agent")));
        }
        (true, _) => {
            let what =
                format!("`{shown}` is held by an agent that does not answer on `{}`", place.socket.display());
            let hint = "name the state directory of that agent with `--state DIR`, or stop it";
            found.push(Finding::warning("state", "state", what).hint(hint));
        }
        (false, _) if place.of_service && place.unit.is_some() => {
            let what = format!("no agent runs on `{shown}`");
            let hint = "`systemctl start logherald`; `systemctl status logherald` says why it ended";
            found.push(Finding::warning("state", "state", what).hint(hint));
        }
        (false, _) => {
            found.push(Finding::ok("state", "state", format!("`{shown}` is free: no agent runs on it")));
        }
    }
    if let Err(why) = may_write(dir) {
        let what = format!("`{shown}` cannot be written: {why}");
        let hint =
            "it must be a directory that the agent's user can write; choose another with `--state DIR`";
        found.push(Finding::failure("state", "writable", what).hint(hint));
    }
    found.extend(foreign(dir));
    if let Some(why) = &seen.unreadable {
        let what = format!("the state file in `{shown}` cannot be read: {why}");
        let hint = "at its next start the agent sets it aside and takes over what it can read of it";
        found.push(Finding::warning("state", "state-file", what).hint(hint));
    }
    if let Some(free) = seen.free.filter(|free| *free < ROOM) {
        let what = format!("the disk of `{shown}` has only {} left", bytes(free));
        let hint = "make room: what waits for a space while Chat is away is kept there, up to 64 MiB of it";
        found.push(Finding::warning("state", "disk", what).hint(hint));
    }
    found
}

/// A file in the state directory that is not its owner's: left by an agent that somebody started as another user.
fn foreign(dir: &Path) -> Option<Finding> {
    let owner = fs::metadata(dir).ok()?.uid();
    for name in ["lock", "state.db", "state.db-wal"] {
        let Ok(of) = fs::metadata(dir.join(name)).map(|m| m.uid()) else { continue };
        if of != owner {
            let (of, owner, shown) = (user_name(of), user_name(owner), dir.display());
            let what = format!("`{shown}/{name}` belongs to user `{of}`, and the directory to `{owner}`");
            let hint =
                format!("an agent was started by hand as `{of}`: stop it, then `chown -R {owner}: {shown}`");
            return Some(Finding::failure("state", "owner", what).hint(hint));
        }
    }
    None
}

fn may_write(dir: &Path) -> Result<(), String> {
    accessat(CWD, dir, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS)
        .map_err(|e| format!("{}, as user `{}`", plain(&e.into()), this_user()))
}

/// What the sources read, and what stands between them and it.
pub(super) fn logs(settings: &Settings, place: &Place, agent: &Agent, now: Now) -> Vec<Finding> {
    let mut found = vec![];
    let globs = |input: &Input| match input {
        Input::Files { globs, .. } => globs.clone(),
        Input::Journal { .. } | Input::Stdin => vec![],
    };
    let all_globs: Vec<String> = settings.sources.iter().flat_map(|s| globs(&s.input)).collect();
    // the tailer says of each what it would say to a running agent; nothing is read before its first step
    let of_files = settings.sources.iter().filter(|s| !globs(&s.input).is_empty()).cloned().collect();
    let tailer = Tailer::new(of_files, vec![], Bell::new(), TailOptions::default(), now);
    let summary = tailer.summary();
    let files: usize = summary.sources.iter().map(|s| s.files).sum();
    if files > 0 {
        let (files, dirs) = (count(files as u64, "log"), summary.directories as u64);
        let dirs = if dirs == 1 { "1 directory".to_owned() } else { format!("{dirs} directories") };
        let what = format!("user `{}` can read {files}; changes are heard of in {dirs}", this_user());
        found.push(Finding::ok("logs", "readable", what));
    }
    let troubles = tailer.troubles();
    found.extend(troubles.iter().take(LISTED).map(of_trouble));
    if troubles.len() > LISTED {
        let what = format!("and {} more of the same", troubles.len() - LISTED);
        found.push(Finding::failure("logs", "readable", what));
    }
    let hidden = |glob: &String| {
        let (line, hint) = place.unit.as_ref().filter(|_| place.of_service)?.hides(Path::new(glob))?;
        let what = format!("`{glob}` is hidden from the service by `{line}=` of `{NAME}`");
        Some(Finding::failure("logs", "hidden", what).hint(hint))
    };
    found.extend(all_globs.iter().filter_map(hidden));
    for note in check::remarks(settings) {
        let hint = "see that the path is right; a log that is made later is read from its first line";
        found.push(Finding::warning("logs", "absent", note).hint(hint));
    }
    found.extend(of_handles(files as u64, getrlimit(Resource::Nofile).maximum));
    if settings.sources.iter().any(|s| matches!(s.input, Input::Journal { .. })) {
        found.push(match journal_trouble(Path::new("journalctl")) {
            None => Finding::ok("logs", "journal", format!("user `{}` can read the journal", this_user())),
            Some(trouble) => of_trouble(&trouble),
        });
    }
    found.extend(other_user(place, agent));
    found
}

fn of_trouble(trouble: &Trouble) -> Finding {
    let path = trouble.path.display();
    let (check, what) = match trouble.source {
        _ if trouble.path == Path::new("journalctl") => ("journal", trouble.what.clone()),
        Some(_) if trouble.what == "permission denied" => ("readable", why_denied(&trouble.path)),
        Some(_) => ("readable", format!("`{path}`: {}", trouble.what)),
        None => ("inotify", format!("`{path}`: {}", trouble.what)),
    };
    // without a watch of the kernel's, changes are found by looking
    let finding = match check {
        "inotify" => Finding::warning("logs", check, what),
        _ => Finding::failure("logs", check, what),
    };
    match &trouble.hint {
        Some(hint) => finding.hint(hint),
        None => finding,
    }
}

/// The agent holds open as many logs as half of its limit, and opens the others for each read.
fn of_handles(files: u64, limit: Option<u64>) -> Option<Finding> {
    let most = limit? / 2;
    (files > most).then(|| {
        let what = format!("{files} logs are read, and only {most} of them may be held open at once");
        Finding::warning("logs", "descriptors", what)
            .hint("raise `LimitNOFILE` of the service (`ulimit -Hn` at a terminal)")
    })
}

/// What one user may read says little of another.
fn other_user(place: &Place, agent: &Agent) -> Option<Finding> {
    let (me, user) = (this_user(), place.unit.as_ref().filter(|_| place.of_service)?.user.clone()?);
    (user != me && agent.status().is_none()).then(|| {
        let what = format!("the logs were tried as user `{me}`, and the service reads them as `{user}`");
        Finding::warning("logs", "user", what)
            .hint(format!("`sudo -u {user} logherald doctor` tries them as that user"))
    })
}

/// An error of the system in a few words.
fn plain(e: &std::io::Error) -> String {
    match e.kind() {
        ErrorKind::PermissionDenied => "permission denied".to_owned(),
        ErrorKind::NotADirectory => "it is no directory".to_owned(),
        ErrorKind::ReadOnlyFilesystem => "its file system is read-only".to_owned(),
        _ => e.to_string(),
    }
}

fn moment_of(at: Wall) -> String {
    format!("{}Z", moment(Wall(at.0 / 1000 * 1000)))
}

/// The same of a time as `status` writes it.
fn day(time: &str) -> String {
    second(&Value::from(time))
}

#[cfg(test)]
mod tests;
