//! What `logherald status` knows: one JSON document, gathered from the desk, the reader and the last reload.
//!
//! It is an interface that scripts read: names here are stable. Times are RFC 3339 in UTC.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::judge;
use crate::store::SpaceCounts;
use crate::tail::{FileState, FileStatus, Trouble};
use crate::time::{Now, Wall};

use super::reader::{Batch, View};
use super::trouble::SpaceState;

/// The whole document.
#[derive(Debug, Serialize)]
pub struct Status {
    /// Of this program.
    pub version: &'static str,
    /// This host.
    pub host: Arc<str>,
    /// When the agent started.
    pub started: String,
    /// When this was asked.
    pub now: String,
    /// What is watched, with how many rules, and where alerts go: one line for people.
    pub watching: String,
    /// Lines and bytes read since the start.
    pub read: Reading,
    /// Every rule with every term of its ledger.
    pub rules: BTreeMap<String, RuleStatus>,
    /// Every space.
    pub spaces: BTreeMap<String, SpaceStatus>,
    /// Silences in force, the one that ends first first.
    pub silences: Vec<SilenceView>,
    /// Every mute of the rules.
    pub mutes: Vec<MuteView>,
    /// Every file that is watched.
    pub files: Vec<FileView>,
    /// What stands between a source and its lines now.
    pub troubles: Vec<TroubleView>,
    /// How the last look at the rules went.
    pub rules_file: RulesFile,
    /// What is committed reaches the disk; `false` while there is no room.
    pub durable: bool,
    /// Hits whose own timestamp was not believed.
    pub clock_odd: u64,
}

/// One rule: `hits = shown + told + below + seen + lost + pending + muted + inhibited`.
#[derive(Clone, Debug, Serialize)]
pub struct RuleStatus {
    /// Every term but `pending`.
    #[serde(flatten)]
    pub ledger: judge::Ledger,
    /// Hits that are in no accepted message yet, and in no other term.
    pub pending: u64,
    /// Where they are.
    pub pending_in: judge::PendingIn,
    /// Who holds the muted ones: silences as `s7`, mutes by name.
    pub muted_by: BTreeMap<String, u64>,
    /// Whose open incidents hold the inhibited ones, by the rule's name.
    pub inhibited_by: BTreeMap<String, u64>,
    /// How much was held back, ever, and why; not part of the sum.
    pub held: judge::HeldCounts,
    /// Lines that its `resolve` accepted.
    pub resolves: judge::Resolves,
    /// Incidents that are open.
    pub open: u64,
    /// Keys that are counted towards a threshold.
    pub counting: u64,
    /// Since when it has been in the rules.
    pub since: Option<String>,
    /// Whole days since its newest hit, or since it is there; by the clock on the wall.
    pub days_quiet: u64,
    /// Event time of the newest hit.
    pub last_hit: Option<String>,
    /// When a message of this rule was last accepted.
    pub last_message: Option<String>,
    /// It is in the file.
    pub loaded: bool,
}

/// One space.
#[derive(Clone, Debug, Serialize)]
pub struct SpaceStatus {
    /// Messages that the space accepted, ever.
    pub accepted: u64,
    /// When the last was.
    pub last_accepted: Option<String>,
    /// Alerts that wait for their batch.
    pub waiting: u64,
    /// Messages that wait for delivery.
    pub outbox: u64,
    /// When the oldest of them was committed.
    pub oldest: Option<String>,
    /// Messages that the space refused for good.
    pub dead_letters: u64,
    /// Messages given up, ever.
    pub dropped: u64,
    /// Messages that its hourly budget would let go now.
    pub budget_left: u64,
    /// What is wrong, and the remedy.
    #[serde(flatten)]
    pub state: SpaceState,
}

/// A silence in force.
#[derive(Clone, Debug, Serialize)]
pub struct SilenceView {
    /// `s7`.
    pub id: String,
    /// The rule, or a pattern for several.
    pub rule: String,
    /// Names of the parts of the key, and their redacted values.
    pub key: BTreeMap<String, String>,
    /// When it was given.
    pub made: String,
    /// When it ends.
    pub until: String,
    /// Who gave it.
    pub author: String,
    /// Why.
    pub why: String,
    /// Hits that it holds.
    pub holds: u64,
    /// Incidents that it holds, also those that have ended.
    pub incidents: u64,
}

impl From<judge::SilenceReport> for SilenceView {
    fn from(s: judge::SilenceReport) -> SilenceView {
        SilenceView {
            id: s.id,
            rule: s.rule,
            key: s.key.into_iter().collect(),
            made: s.made.to_string(),
            until: s.until.to_string(),
            author: s.author,
            why: s.why,
            holds: s.holds,
            incidents: s.incidents,
        }
    }
}

/// A mute of the rules.
#[derive(Clone, Debug, Serialize)]
pub struct MuteView {
    /// Its name.
    pub name: Arc<str>,
    /// It is in force.
    pub in_force: bool,
    /// When that changes, or is looked at again.
    pub until: String,
    /// Hits that it holds.
    pub holds: u64,
    /// Incidents that it holds, also those that have ended.
    pub incidents: u64,
}

/// One file.
#[derive(Clone, Debug, Serialize)]
pub struct FileView {
    /// The source's name.
    pub source: Arc<str>,
    /// Its path; invalid UTF-8 replaced.
    pub path: String,
    /// `behind`, `at_end`, `rotated` or `unreadable`.
    pub state: &'static str,
    /// In bytes.
    pub size: u64,
    /// How far it has been read, in bytes.
    pub offset: u64,
    /// What remains, in bytes.
    pub lag: u64,
}

/// A file, a directory or a journal that cannot be read as it should.
#[derive(Clone, Debug, Serialize)]
pub struct TroubleView {
    /// The source's name.
    pub source: Option<Arc<str>>,
    /// What it is about; invalid UTF-8 replaced.
    pub path: String,
    /// What is wrong.
    pub what: String,
    /// The remedy.
    pub hint: Option<String>,
}

/// Why a space of the rules cannot be used; its alerts go to `admin`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Unusable {
    /// What is wrong.
    pub why: String,
    /// The remedy.
    pub hint: String,
}

/// The rules that run, and the last verdict on the file.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RulesFile {
    /// The main file.
    pub path: String,
    /// When the running set was loaded.
    pub loaded: String,
    /// The running set is the kept copy of the last that loaded, not the file on disk.
    pub from_last_good: bool,
    /// Rules left out at boot because they are faulty.
    pub left_out: Vec<String>,
    /// The last reload was refused, with this: every fault, as `check` prints it.
    pub refused: Option<String>,
    /// Spaces that cannot be reached as they are written, by name.
    pub unusable_spaces: BTreeMap<Arc<str>, Unusable>,
}

/// What was read since the start.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Reading {
    /// Lines.
    pub lines: u64,
    /// Bytes.
    pub bytes: u64,
    /// Bytes that could not be read.
    pub lost_bytes: u64,
    /// The newest gap, in words.
    pub last_gap: Option<String>,
}

impl Reading {
    pub(super) fn take(&mut self, batch: &Batch, now: Now) {
        self.lines += batch.lines;
        self.bytes += batch.bytes;
        for gap in &batch.gaps {
            self.lost_bytes += gap.bytes.unwrap_or(0);
            self.last_gap = Some(format!("{} {}: {}", now.wall, gap.file, gap.why));
        }
    }
}

/// The desk's part of the document.
#[derive(Debug)]
pub(super) struct StatusParts {
    pub judge: judge::Report,
    pub spaces: BTreeMap<Arc<str>, SpaceState>,
    pub outbox: Vec<SpaceCounts>,
    pub reading: Reading,
    pub durable: bool,
    pub now: Now,
}

/// What the pipeline itself knows.
#[derive(Debug)]
pub(super) struct About {
    pub host: Arc<str>,
    pub started: Wall,
    pub watching: String,
    pub rules_file: RulesFile,
}

/// Puts the parts together.
pub(super) fn gather(parts: StatusParts, view: View, about: About) -> Status {
    let About { host, started, watching, rules_file } = about;
    let StatusParts { judge, spaces: states, outbox, reading, durable, now } = parts;
    let time = |t: Option<Wall>| t.map(|t| t.to_string());
    let rule = |r: judge::RuleReport, muted_by, inhibited_by| RuleStatus {
        ledger: r.ledger,
        pending: r.pending,
        pending_in: r.pending_in,
        muted_by,
        inhibited_by,
        held: r.held,
        resolves: r.resolves,
        open: r.open_incidents,
        counting: r.counting_keys,
        since: time(r.since),
        days_quiet: r.last_hit.max(r.since).map_or(0, |t| now.wall.since(t).as_secs() / 86_400),
        last_hit: time(r.last_hit),
        last_message: time(r.last_message),
        loaded: r.loaded,
    };
    let space = |name: &str, s: judge::SpaceReport| {
        let kept = outbox.iter().find(|c| *c.space == *name);
        SpaceStatus {
            accepted: s.counts.delivered,
            last_accepted: time(s.counts.last_delivered),
            waiting: s.waiting,
            outbox: kept.map_or(0, |c| c.waiting),
            oldest: time(kept.and_then(|c| c.oldest)),
            dead_letters: kept.map_or(0, |c| c.dead),
            dropped: s.counts.dropped,
            budget_left: s.budget_left,
            state: states.get(name).cloned().unwrap_or_default(),
        }
    };
    // a space that has left the rules is here for as long as there is something of it
    let gone = outbox.iter().filter(|c| !judge.spaces.contains_key(&*c.space));
    let gone: Vec<_> = gone.map(|c| (c.space.to_string(), judge::SpaceReport::default())).collect();
    Status {
        version: env!("CARGO_PKG_VERSION"),
        host,
        started: started.to_string(),
        now: now.wall.to_string(),
        watching,
        read: reading,
        rules: judge
            .rules
            .into_iter()
            .map(|(name, r)| {
                let muted_by = judge.muted_by.get(&name).cloned().unwrap_or_default();
                let inhibited_by = judge.inhibited_by.get(&name).cloned().unwrap_or_default();
                (name, rule(r, muted_by, inhibited_by))
            })
            .collect(),
        spaces: judge
            .spaces
            .into_iter()
            .chain(gone)
            .map(|(name, s)| (name.clone(), space(&name, s)))
            .collect(),
        silences: judge.silences.into_iter().map(SilenceView::from).collect(),
        mutes: judge.mutes.into_iter().map(mute).collect(),
        files: view.files.into_iter().map(file).collect(),
        troubles: view.troubles.into_iter().map(trouble).collect(),
        rules_file,
        durable,
        clock_odd: judge.clock_odd,
    }
}

fn mute(mute: judge::MuteReport) -> MuteView {
    let judge::MuteReport { name, in_force, until, holds, incidents } = mute;
    MuteView { name, in_force, until: until.to_string(), holds, incidents }
}

fn trouble(trouble: Trouble) -> TroubleView {
    let Trouble { source, path, what, hint, over: _, minor: _ } = trouble;
    TroubleView { source, path: path.to_string_lossy().into_owned(), what, hint }
}

fn file(file: FileStatus) -> FileView {
    FileView {
        source: file.source,
        path: file.path.to_string_lossy().into_owned(),
        state: match file.state {
            FileState::Behind => "behind",
            FileState::AtEnd => "at_end",
            FileState::Rotated => "rotated",
            FileState::Unreadable => "unreadable",
        },
        size: file.size,
        offset: file.offset,
        lag: file.lag,
    }
}
