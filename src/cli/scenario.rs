//! Plays a scenario: its lines go the way of all lines, its agent stops and starts, its Chat does as it is told.
//!
//! Lines go through the tail stage's own decoding and joining, the rules' own search and the judge itself; only the
//! files, the clock and the network are played. While the agent is stopped the lines lie in their logs, and at its start
//! they are a backlog, as they would be.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use jiff::tz::TimeZone;
use serde_json::json;

use super::transcript::{Form, Transcript};
use crate::agent::{Answer, Replay};
use crate::config::{self, Disk, Look, Settings};
use crate::hit::Hits;
use crate::judge::Input as Told;
use crate::line::{Block, BlockEnd, Field, Record};
use crate::rules::RuleSet;
use crate::tail::{self, Feed, Input, SourceSpec};
use crate::time::{Now, Tick, Wall};

/// Behind the last step, time goes on for so long at most, so that all that waits is said.
const AFTER: std::time::Duration = std::time::Duration::from_secs(48 * 3600);

/// What a scenario comes to.
#[derive(Debug)]
pub(super) struct Scenario {
    pub(super) start: Wall,
    pub(super) until: Option<Wall>,
    pub(super) tz: TimeZone,
    pub(super) host: Arc<str>,
    pub(super) rules: String,
    /// Where the rules stand in the file.
    pub(super) rules_at: usize,
    /// When, where it stands, and what happens; by time.
    pub(super) happens: Vec<(Wall, usize, Happens)>,
}

/// One thing that happens.
#[derive(Clone, Debug)]
pub(super) enum Happens {
    /// Lines are written.
    Log { text: String, file: Option<String>, fields: BTreeMap<String, String> },
    /// The agent stops.
    Stops,
    /// It starts, perhaps with other rules.
    Starts(Option<String>),
    /// It loads its rules anew.
    Reloads(Option<String>),
    /// An operator orders a silence, or its end.
    Order(Told),
    /// From now on Chat answers so.
    Chat { space: Option<Arc<str>>, answer: Answer },
}

/// A place in the scenario's file, and what is wrong there.
type Fault = (usize, String);

/// What is said, to the end.
pub(super) fn play(scenario: &Scenario, form: Form) -> Result<String, Fault> {
    let mut stage = Stage::new(scenario, form)?;
    for (at, place, happens) in &scenario.happens {
        stage.pass(*at);
        stage.happens(*at, *place, happens)?;
    }
    let last = scenario.happens.last().map_or(scenario.start, |(at, ..)| *at);
    stage.pass(scenario.until.unwrap_or(last + AFTER));
    Ok(stage.transcript.end(&stage.replay.report()))
}

struct Stage<'s> {
    scenario: &'s Scenario,
    set: Set,
    replay: Replay,
    feeds: BTreeMap<(usize, String), Feed>,
    /// Numbers of files; a new agent gives new ones.
    files: u64,
    stopped: bool,
    now: Wall,
    /// What was written while the agent was stopped.
    unread: Vec<(usize, Happens)>,
    transcript: Transcript,
}

/// A set of rules, made ready.
struct Set {
    settings: Settings,
    rules: RuleSet,
    text: String,
}

impl<'s> Stage<'s> {
    fn new(scenario: &'s Scenario, form: Form) -> Result<Stage<'s>, Fault> {
        let set = load(scenario, &scenario.rules, scenario.rules_at)?;
        let replay = Replay::new(set.settings.policy.clone(), scenario.start);
        Ok(Stage {
            scenario,
            set,
            replay,
            feeds: BTreeMap::new(),
            files: 0,
            stopped: false,
            now: scenario.start,
            unread: Vec::new(),
            transcript: Transcript::new(form, scenario.start),
        })
    }

    /// Lets time pass, with all that is due on the way.
    fn pass(&mut self, to: Wall) {
        self.now = self.now.max(to);
        if self.stopped {
            return;
        }
        while let Some(due) = self.feeds.values().filter_map(Feed::due).min() {
            let now = self.replay.now();
            let at = now.wall + due.since(now.tick);
            if at > to {
                break;
            }
            self.replay.until(at, &mut |m| self.transcript.message(m));
            self.give(false);
        }
        self.replay.until(to, &mut |m| self.transcript.message(m));
    }

    /// Gives out what has waited long enough for another line, or all.
    fn give(&mut self, at_end: bool) {
        let now = self.replay.now();
        let mut hits = Hits::default();
        for feed in self.feeds.values_mut().filter(|f| at_end || f.due().is_some_and(|due| due <= now.tick)) {
            feed.give(at_end, false, now, &mut |block| self.set.rules.scan_around(block, &mut hits));
        }
        if !hits.is_empty() {
            self.replay.hits(hits, &mut |m| self.transcript.message(m));
        }
    }

    fn happens(&mut self, at: Wall, place: usize, happens: &Happens) -> Result<(), Fault> {
        let say = &mut |m: &crate::message::Message| self.transcript.message(m);
        match happens {
            Happens::Log { .. } | Happens::Chat { .. } if self.stopped => {
                self.unread.push((place, happens.clone()));
            }
            Happens::Log { text, file, fields } => self.log(place, text, file.as_deref(), fields, false)?,
            Happens::Chat { space, answer } => self.replay.answers(space.as_ref(), *answer, say),
            Happens::Order(_) if self.stopped => {
                return Err((place, "an agent that is stopped takes no orders".into()));
            }
            Happens::Order(order) => {
                if let Told::Silence(order) = order {
                    self.replay.may_silence(order).map_err(|e| (place, e.what))?;
                }
                self.replay.apply(order.clone(), say);
            }
            Happens::Stops if self.stopped => return Err((place, "the agent is stopped already".into())),
            Happens::Stops => {
                self.give(true);
                self.feeds.clear();
                self.stopped = true;
            }
            Happens::Starts(_) if !self.stopped => return Err((place, "the agent runs already".into())),
            Happens::Starts(rules) => {
                if let Some(rules) = rules {
                    self.set = load(self.scenario, rules, place)?;
                }
                self.stopped = false;
                let away = at.since(self.replay.now().wall);
                self.replay.restart(away, self.set.settings.policy.clone(), say);
                for (place, happens) in std::mem::take(&mut self.unread) {
                    match &happens {
                        Happens::Log { text, file, fields } => {
                            self.log(place, text, file.as_deref(), fields, true)?;
                        }
                        other => self.happens(at, place, other)?,
                    }
                }
            }
            Happens::Reloads(_) if self.stopped => {
                return Err((place, "an agent that is stopped does not reload".into()));
            }
            Happens::Reloads(rules) => {
                self.give(true);
                let text = rules.clone().unwrap_or_else(|| self.set.text.clone());
                self.set = load(self.scenario, &text, place)?;
                self.feeds.clear();
                let policy = Box::new(self.set.settings.policy.clone());
                self.replay.apply(Told::Policy(policy), &mut |m| self.transcript.message(m));
            }
        }
        Ok(())
    }

    /// Lines are written to a file, and read by every source that reads it.
    fn log(
        &mut self,
        place: usize,
        text: &str,
        file: Option<&str>,
        fields: &BTreeMap<String, String>,
        backlog: bool,
    ) -> Result<(), Fault> {
        let (name, sources) = self.sources(file);
        if sources.is_empty() {
            return Err((place, format!("no rule reads the file `{name}`")));
        }
        let text = if text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") };
        let now = self.replay.now();
        let mut hits = Hits::default();
        for source in sources {
            let spec = &self.set.settings.sources[source];
            if matches!(spec.input, Input::Journal { .. }) || !fields.is_empty() {
                self.files += 1;
                let (file, file_no) = (name.as_str().into(), self.files);
                Entries { spec, file, file_no, text: &text, fields, now, backlog }
                    .give(&mut |block| self.set.rules.scan_around(block, &mut hits));
                continue;
            }
            let files = &mut self.files;
            let feed = self.feeds.entry((source, name.clone())).or_insert_with(|| {
                *files += 1;
                Feed::new(spec, name.as_str().into(), *files)
            });
            feed.push(text.as_bytes(), backlog, now, &mut |block| {
                self.set.rules.scan_around(block, &mut hits);
            });
        }
        if !hits.is_empty() {
            self.replay.hits(hits, &mut |m| self.transcript.message(m));
        }
        Ok(())
    }

    /// The file that is meant, and who reads it. Without a name it is the first one that the rules name.
    fn sources(&self, file: Option<&str>) -> (String, Vec<usize>) {
        let all = &self.set.settings.sources;
        let reads = |spec: &SourceSpec, name: &str| match &spec.input {
            Input::Files { .. } => tail::log_of(Path::new(name), spec).is_some_and(|p| p == Path::new(name)),
            Input::Journal { .. } => name == "journal",
            Input::Stdin => name == "stdin",
        };
        let first = |spec: &SourceSpec| match &spec.input {
            Input::Files { globs, .. } => {
                Some(globs.iter().find(|g| !g.contains(['*', '?', '[', '{']))?.clone())
            }
            Input::Journal { .. } => Some("journal".to_owned()),
            Input::Stdin => Some("stdin".to_owned()),
        };
        let name = file.map(ToOwned::to_owned).or_else(|| all.iter().find_map(first)).unwrap_or_default();
        let of = (0..all.len()).filter(|n| reads(&all[*n], &name)).collect();
        (name, of)
    }
}

/// Lines with fields: entries of the journal, or what a container has written.
struct Entries<'a> {
    spec: &'a SourceSpec,
    file: Arc<str>,
    file_no: u64,
    text: &'a str,
    fields: &'a BTreeMap<String, String>,
    now: Now,
    backlog: bool,
}

impl Entries<'_> {
    fn give(&self, take: &mut dyn FnMut(&Block<'_>)) {
        let mut give = |bytes: &[u8], records: &[Record], fields: &[Field], end: BlockEnd| {
            take(&Block {
                source: self.spec.no,
                file: &self.file,
                file_no: self.file_no,
                offset: 0,
                bytes,
                end,
                hit_early: &[],
                read: self.now,
                backlog: self.backlog,
                records,
                fields,
                earlier: None,
            });
        };
        if matches!(self.spec.input, Input::Journal { .. }) {
            _ = tail::journal_blocks(self.journal().as_bytes(), usize::MAX, self.spec.max_line, &mut give);
            return;
        }
        let field = |(n, v): (&String, &String)| Field { name: n.clone().into(), value: v.clone().into() };
        let all: Vec<Field> = self.fields.iter().map(field).collect();
        let (mut records, mut start) = (Vec::new(), 0);
        for line in self.text.lines() {
            let end = start + line.len() as u32;
            let fields = (0, all.len() as u32);
            records.push(Record { start, end, offset: 0, stamp: None, fields });
            start = end + 1;
        }
        give(self.text.as_bytes(), &records, &all, BlockEnd::Whole);
    }

    /// As `journalctl -o json` would print them.
    fn journal(&self) -> String {
        let entry = |line: &str| {
            let mut entry = json!({
                "MESSAGE": line, "SYSLOG_IDENTIFIER": "app", "_HOSTNAME": "web1", "__CURSOR": "c",
                "__REALTIME_TIMESTAMP": (self.now.wall.0 * 1000).to_string(),
            });
            for (name, value) in self.fields {
                entry[name] = value.as_str().into();
            }
            format!("{entry}\n")
        };
        self.text.lines().map(entry).collect()
    }
}

/// Rules without a fault, made ready.
fn load(scenario: &Scenario, text: &str, place: usize) -> Result<Set, Fault> {
    let now = Now { wall: scenario.start, tick: Tick(0) };
    let env = config::Env { host: scenario.host.clone(), tz: scenario.tz.clone(), now };
    let loaded = config::load_text(Path::new("rules"), text, &env, &Disk);
    let Some(settings) = loaded.settings.clone() else {
        let faults = loaded.render(Look::Plain);
        return Err((place, format!("the rules have faults: {}\n\n{faults}", loaded.verdict())));
    };
    let rules = RuleSet::new(settings.rules.clone(), settings.clocks.clone(), settings.policy.host.clone());
    Ok(Set { settings, rules, text: text.to_owned() })
}
