//! From files on disk to a set that can run: settings, compiled rules, and a client for each space.
//!
//! At boot it must be hard *not* to watch: a faulty rule is left out, a file that cannot be used is replaced by the
//! last set that loaded (kept in the state directory), and both are told at once. A reload is the other way round:
//! any fault keeps everything that runs. In both, a space whose secret is not to be had gives its rules to `admin`,
//! and `admin` to the terminal: a rule never falls silent because a key is missing.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tracing::{error, warn};

use crate::alert::Severity;
use crate::chat::{Client, Keyring, Ping, Screen, Target, Way};
use crate::config::{self, Disk, Files, Loaded, Look, Settings};
use crate::judge::{Notice, Policy, SpacePolicy};
use crate::rules::RuleSet;
use crate::tail::{From, SourceSpec};
use crate::time::{Clock, Now, Tick, Wall};

use super::desk::Workers;
use super::status::{RulesFile, Unusable};

/// The files of the last set that loaded, in the state directory.
const LAST_GOOD: &str = "last-good-rules.json";

/// Name of the space that is made when no other can be reached.
const RESCUE: &str = "console";

/// How often it is told that the rules on disk have faults, for as long as they have.
const DAILY: Duration = Duration::from_secs(86_400);

/// A set that can run.
#[derive(Debug)]
pub(super) struct Set {
    pub sources: Vec<SourceSpec>,
    pub rules: RuleSet,
    pub policy: Policy,
    /// A client for each space that can be reached.
    pub clients: BTreeMap<Arc<str>, Client>,
    /// Every space that the rules name, and which stands in for which; nobody is at work yet.
    pub workers: Workers,
    /// Spaces without a client, and why.
    pub unusable: BTreeMap<Arc<str>, Unusable>,
    /// Whom to tell that the agent lives.
    pub ping: Option<Ping>,
    /// What the admin space should hear of this set.
    pub notices: Vec<Notice>,
    /// The same of the rules on disk, where these are not all of them.
    pub refused: Option<Notice>,
    /// The files and folders it came from, for the look-out for changes.
    pub files: Vec<PathBuf>,
}

/// Why a set cannot be used; its text is every fault.
#[derive(Debug, thiserror::Error)]
#[error("{faults}")]
pub struct LoadError {
    /// Every fault, drawn.
    pub faults: String,
    /// Where they are, for the log.
    pub places: String,
}

/// Where rules come from, and what they are read against.
#[derive(Debug)]
pub(super) struct Loader {
    pub path: PathBuf,
    pub state: PathBuf,
    pub from_start: bool,
    pub clock: Clock,
    pub screen: Arc<Screen>,
    pub keyring: Keyring,
}

/// The files of a set, as they were.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    main: PathBuf,
    files: BTreeMap<PathBuf, String>,
}

/// This host as the rules see it.
pub(crate) fn env(now: Now) -> config::Env {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    config::Env { host: host.into(), tz: jiff::tz::TimeZone::system(), now }
}

impl Loader {
    /// The set on disk, or every fault it has.
    pub(super) fn load(&self) -> Result<Set, LoadError> {
        let loaded = self.read(&Disk);
        match &loaded.settings {
            Some(settings) => {
                self.keep(&loaded);
                Ok(self.build(settings.clone(), &loaded, None))
            }
            None => Err(refused(&loaded)),
        }
    }

    /// The best set that can be had, and what is wrong with it.
    pub(super) fn boot(&self) -> Result<(Set, RulesFile), LoadError> {
        let now = self.clock.now();
        let about = RulesFile {
            path: self.path.display().to_string(),
            loaded: now.wall.to_string(),
            ..RulesFile::default()
        };
        let loaded = self.read(&Disk);
        if let Some(settings) = &loaded.settings {
            self.keep(&loaded);
            return Ok((self.build(settings.clone(), &loaded, None), about));
        }
        let refused = refused(&loaded);
        let faults = refused.faults.clone();
        let tell = || {
            error!(
                "the rules have faults at {}; `logherald check {}` shows them",
                refused.places,
                self.path.display()
            );
        };
        if let Some(settings) = loaded.without_faulty_rules() {
            tell();
            let left_out = left_out(&loaded, &settings);
            let text = match left_out.as_slice() {
                [] => format!("the rules have faults and run all the same:\n{faults}"),
                names => format!("rules with faults are left out: {}\n{faults}", names.join(", ")),
            };
            let set = self.build(settings, &loaded, Some(self.notice(text)));
            return Ok((set, RulesFile { left_out, refused: Some(faults), ..about }));
        }
        let Some(kept) = self.kept() else { return Err(refused) };
        let old = config::load_from(&kept.main, &env(now), &kept);
        let Some(settings) = old.settings.clone() else { return Err(refused) };
        tell();
        error!("the last set of rules that loaded is used instead");
        let text = format!("the rules cannot be used, the last set that loaded is used instead:\n{faults}");
        let mut set = self.build(settings, &old, Some(self.notice(text)));
        set.files = looked_at(&loaded);
        Ok((set, RulesFile { from_last_good: true, refused: Some(faults), ..about }))
    }

    fn read(&self, files: &impl Files) -> Loaded {
        config::load_from(&self.path, &env(self.clock.now()), files)
    }

    /// Of rules on disk that do not run.
    pub(super) fn notice(&self, text: String) -> Notice {
        let hint = Some(format!("logherald check {}", self.path.display()));
        Notice { about: "reload".into(), severity: Severity::Error, text, hint, space: None }
    }

    fn build(&self, settings: Settings, loaded: &Loaded, refused: Option<Notice>) -> Set {
        let mut notices: Vec<Notice> = refused.iter().cloned().collect();
        for fault in loaded.faults.iter().filter(|f| f.grade == config::Grade::Warning) {
            let (line, column) = loaded.sources.line_column(&fault.place);
            let path = loaded.sources.path(fault.place.file).display();
            warn!("{path}:{line}:{column} deserves a look; `logherald check` says why");
        }
        let Settings { mut sources, clocks, rules, mut policy, targets, fallbacks, ping, .. } = settings;
        if self.from_start {
            for source in &mut sources {
                source.from = From::Start;
            }
        }
        let (mut clients, mut unusable) = (BTreeMap::new(), BTreeMap::new());
        for target in &targets {
            match self.client(target) {
                Ok(client) => {
                    for warning in client.warnings() {
                        warn!("{warning}");
                    }
                    clients.insert(target.name.clone(), client);
                }
                Err(e) => {
                    error!("{e}; hint: {}", e.hint);
                    let fault = Unusable { why: e.to_string(), hint: e.hint.clone() };
                    unusable.insert(target.name.clone(), fault);
                    notices.push(Notice {
                        about: format!("space/{}", target.name),
                        severity: Severity::Error,
                        text: format!("{e}; its alerts come here"),
                        hint: Some(e.hint),
                        space: None,
                    });
                }
            }
        }
        if reroute(&mut policy, &clients) {
            let console = Target { name: RESCUE.into(), way: Way::Console };
            if let Ok(client) = self.client(&console) {
                clients.insert(console.name, client);
            }
        }
        let rules = RuleSet::new(rules, clocks, policy.host.clone());
        let named = targets.iter().map(|t| t.name.clone()).collect();
        let workers = Workers { named, fallbacks, ..Workers::default() };
        let files = looked_at(loaded);
        Set { sources, rules, policy, clients, workers, unusable, ping, notices, refused, files }
    }

    fn client(&self, target: &Target) -> Result<Client, crate::chat::ClientError> {
        let clock = self.clock.clone();
        Client::new(target, Arc::new(move || clock.now()), &self.screen, &self.keyring)
    }

    /// Remembers the files of a set that loaded; that it cannot is no reason not to run it.
    fn keep(&self, loaded: &Loaded) {
        let read = |p: &PathBuf| Some((p.clone(), fs::read_to_string(p).ok()?));
        let files = loaded.files.iter().filter_map(read).collect();
        let kept = Kept { main: self.path.clone(), files };
        let (path, fresh) = (self.state.join(LAST_GOOD), self.state.join(format!("{LAST_GOOD}.new")));
        let written = serde_json::to_vec(&kept)
            .map_err(io::Error::from)
            .and_then(|bytes| fs::write(&fresh, bytes))
            .and_then(|()| fs::rename(&fresh, &path));
        if let Err(e) = written {
            warn!("the rules that loaded are not kept for a bad day: `{}`: {e}", path.display());
        }
    }

    fn kept(&self) -> Option<Kept> {
        serde_json::from_slice(&fs::read(self.state.join(LAST_GOOD)).ok()?).ok()
    }
}

/// The kept files answer as if they were on disk; what else is asked is asked of the disk.
impl Files for Kept {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let text = self.files.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(text.clone().into_bytes())
    }

    fn glob(&self, pattern: &str) -> Vec<PathBuf> {
        let Ok(glob) = globset::GlobBuilder::new(pattern).literal_separator(true).build() else {
            return Vec::new();
        };
        let glob = glob.compile_matcher();
        self.files.keys().filter(|p| glob.is_match(p)).cloned().collect()
    }

    fn written(&self, path: &Path) -> Option<Wall> {
        Disk.written(path)
    }
}

/// Where the errors are. The agent's own log says no more: a pattern or a test's line in it could come back through
/// a watched syslog, and hit.
fn places(loaded: &Loaded) -> String {
    let errors = loaded.faults.iter().filter(|f| f.grade == config::Grade::Error);
    let place = |f: &config::Diagnostic| {
        let (line, column) = loaded.sources.line_column(&f.place);
        format!("{}:{line}:{column}", loaded.sources.path(f.place.file).display())
    };
    errors.map(place).collect::<Vec<_>>().join(", ")
}

/// The rules on disk are not the ones that run: the admin space hears so again each day, until they are mended.
#[derive(Debug)]
pub(super) struct Unmended {
    notice: Notice,
    again: Tick,
}

impl Unmended {
    /// It has been told just now.
    pub(super) fn told(notice: Notice, now: Now) -> Unmended {
        let text = format!("still: {}", notice.text);
        Unmended { notice: Notice { text, ..notice }, again: now.tick + DAILY }
    }

    /// What is to be told, where it was told a day ago.
    pub(super) fn due(&mut self, now: Now) -> Option<Notice> {
        let due = now.tick >= self.again;
        due.then(|| {
            self.again = now.tick + DAILY;
            self.notice.clone()
        })
    }
}

fn refused(loaded: &Loaded) -> LoadError {
    LoadError {
        faults: format!("{}\n\n{}", loaded.render(Look::Plain), loaded.verdict()),
        places: places(loaded),
    }
}

/// Names of the rules that hold an error and are not in `settings`.
fn left_out(loaded: &Loaded, settings: &Settings) -> Vec<String> {
    let mut names: Vec<String> = loaded
        .faults
        .iter()
        .filter(|f| f.grade == config::Grade::Error)
        .filter_map(|f| f.rule.as_ref())
        .filter(|name| !settings.rules.iter().any(|r| r.name == **name))
        .map(ToString::to_string)
        .collect();
    names.sort();
    names.dedup();
    names
}

fn looked_at(loaded: &Loaded) -> Vec<PathBuf> {
    loaded.files.iter().chain(&loaded.watch_dirs).cloned().collect()
}

/// Rules of spaces that cannot be reached speak to `admin`; when that cannot be either, to the terminal. `true`: the
/// terminal is needed and is not among the clients.
fn reroute(policy: &mut Policy, clients: &BTreeMap<Arc<str>, Client>) -> bool {
    let rescue: Arc<str> = RESCUE.into();
    if !clients.contains_key(&policy.admin) {
        let screen = clients.iter().find(|(_, c)| c.is_console()).map(|(name, _)| name.clone());
        policy.admin = screen.unwrap_or(rescue);
    }
    for rule in &mut policy.rules {
        let mut spaces: Vec<Arc<str>> = Vec::new();
        for space in &rule.spaces {
            let space = if clients.contains_key(space) { space } else { &policy.admin };
            if !spaces.contains(space) {
                spaces.push(space.clone());
            }
        }
        rule.spaces = spaces;
    }
    policy.spaces.retain(|s| clients.contains_key(&s.name));
    if policy.spaces.iter().any(|s| s.name == policy.admin) {
        return false;
    }
    policy.spaces.push(SpacePolicy::named(policy.admin.clone(), Duration::ZERO));
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_that_are_refused_are_told_of_once_a_day() {
        let at = |hours: u64| Now { wall: Wall(0), tick: Tick(7) }.plus(Duration::from_secs(3600 * hours));
        let notice = Notice {
            about: "reload".into(),
            severity: Severity::Error,
            text: "rules with faults are left out: raid".into(),
            hint: None,
            space: None,
        };
        let mut unmended = Unmended::told(notice, at(0));
        let told: Vec<u64> = (0..=50).filter(|hours| unmended.due(at(*hours)).is_some()).collect();
        assert_eq!(told, [24, 48]);
        let text = unmended.due(at(72)).map(|n| n.text);
        assert_eq!(text.as_deref(), Some("still: rules with faults are left out: raid"));
    }
}
