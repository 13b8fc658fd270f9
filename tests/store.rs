//! Is what was committed still there, whatever happened, and is it never changed?

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a child speaks to its test, a test says what it skips"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use logherald::alert::{Alert, AlertNo, Severity, What};
use logherald::line::{FileId, FilePlace, Mark, Place, Position, PositionKey, Proof, Recent};
use logherald::message::{Message, MessageNo, OutboxRow, RowId};
use logherald::state::StateRow;
use logherald::store::{
    Commit, Committed, DEAD_BYTES, DEEP, Letter, Lost, Opened, SpaceCounts, Store, StoreError, Tried,
    channel, run,
};
use logherald::time::{Now, Tick, Wall};
use proptest::prelude::*;
use rusqlite::Connection;

use crate::harness::disk::SmallDisk;

// ---- what the tests commit ------------------------------------------------------------------------------------

fn id(n: u64) -> RowId {
    RowId(format!("{n:032x}").into())
}

/// Row `n`; its words follow from its number.
fn row(n: u64, space: &str, severity: Severity) -> OutboxRow {
    let text = format!("no space left on device {n}");
    let alert = Alert {
        no: AlertNo(n),
        what: What::Opening,
        rule: "disk-full".into(),
        severity,
        key: vec![("ip".into(), "192.0.2.1".into())],
        text: text.clone(),
        hits: 1,
        total: 1,
        incidents: 1,
        first: Wall(1),
        last: Wall(2),
        samples: Vec::new(),
        runbook: None,
        held: Vec::new(),
        hint: None,
    };
    let draft = Message {
        no: MessageNo(n),
        space: space.into(),
        thread: "t".into(),
        host: "web1".into(),
        severity,
        alerts: vec![alert],
        at: Wall(3),
        mention: Vec::new(),
        edits: None,
    };
    OutboxRow {
        id: id(n),
        space: space.into(),
        message: MessageNo(n),
        severity,
        body: format!("{{\"text\":\"{text}\"}}").into(),
        draft: Arc::new(draft),
        plain: false,
        born: Wall(1_000 + n as i64),
        tries: 0,
        due: Tick(n),
        last_error: None,
    }
}

fn warning(n: u64) -> OutboxRow {
    row(n, "ops", Severity::Warning)
}

fn key(source: &str, ino: u64) -> PositionKey {
    PositionKey { source: source.into(), file: Some(FileId { dev: 1, ino, born: Some(-7) }) }
}

fn position(source: &str, ino: u64, offset: u64) -> Position {
    let proof = Proof { len: 256, hash: u64::MAX - ino };
    let place = FilePlace {
        // a name that is not UTF-8
        path: PathBuf::from(std::ffi::OsString::from_vec(b"/var/log/caf\xe9.log".to_vec())).into(),
        offset,
        size: offset + 10,
        proof,
        head: proof,
        marks: vec![Mark { offset: 1, proof }],
        recent: String::from("00100abc").into(),
        rotated: true,
        done: false,
        mtime: 5,
        skipping: true,
        hit_early: vec!["disk-full".into()],
    };
    Position { key: key(source, ino), place: Place::File(place), at: Wall(5) }
}

fn journal(cursor: &str) -> Position {
    let key = PositionKey { source: "journal".into(), file: None };
    Position { key, place: Place::Journal { cursor: cursor.into() }, at: Wall(6) }
}

fn state(name: &str, value: Option<&str>) -> StateRow {
    StateRow { name: name.into(), value: value.map(str::to_owned) }
}

fn at(ms: u64) -> Now {
    Now { wall: Wall(1_800_000_000_000 + ms as i64), tick: Tick(ms) }
}

fn adding(rows: Vec<OutboxRow>) -> Commit {
    Commit { now: at(1), add: rows, ..Commit::default() }
}

fn open(dir: &Path) -> (Store, Opened) {
    // a process that another test is starting holds the lock of a store that was let go here until it executes its own program
    let busy = |opened: &Result<_, StoreError>| matches!(opened, Err(StoreError::Busy { .. }));
    let opened = (0..60).map(|_| Store::open(dir)).find(|opened| !busy(opened));
    opened.expect("let go within half a minute").unwrap_or_else(|e| panic!("{e}"))
}

fn ids(store: &Store) -> Vec<RowId> {
    store.outbox().unwrap().into_iter().map(|s| s.id).collect()
}

fn kept() -> Committed {
    Committed { next: Vec::new(), lost: Vec::new(), deep: Vec::new(), durable: true }
}

// ---- round trips ----------------------------------------------------------------------------------------------

#[test]
fn all_that_is_committed_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, first) = open(dir.path());
    assert_eq!((first.last, first.positions.len(), first.state.len()), (None, 0, 0));
    assert!(first.set_aside.is_none() && first.durable);
    let commit = Commit {
        now: at(42),
        positions: vec![position("files", 1, 100), position("files", 2, 200), journal("s=1;i=2")],
        state: vec![state("judge/clock", Some("{\"a\":1}")), state("pace/ops", Some("{}"))],
        add: vec![warning(1), row(2, "security", Severity::Critical)],
        ..Commit::default()
    };
    assert_eq!(store.commit(&commit).unwrap(), kept());
    drop(store);

    let (store, again) = open(dir.path());
    assert_eq!(again.install, first.install);
    assert_eq!(again.last, Some(at(42)));
    assert_eq!(again.positions, commit.positions);
    assert_eq!(again.state, commit.state);
    assert_eq!(store.next("ops").unwrap(), Some(warning(1)));
    assert_eq!(store.next("security").unwrap(), Some(row(2, "security", Severity::Critical)));
    assert_eq!(store.next("nobody").unwrap(), None);
}

#[test]
fn two_installations_have_two_ids() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    assert_ne!(open(a.path()).1.install, open(b.path()).1.install);
}

#[test]
fn positions_and_state_are_replaced_and_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    let first = Commit {
        positions: vec![position("files", 1, 100), position("files", 2, 200), journal("a")],
        state: vec![state("a", Some("1")), state("b", Some("2"))],
        ..Commit::default()
    };
    store.commit(&first).unwrap();
    let second = Commit {
        positions: vec![position("files", 1, 150), journal("b")],
        forget: vec![key("files", 2)],
        state: vec![state("a", None), state("b", Some("3"))],
        ..Commit::default()
    };
    store.commit(&second).unwrap();
    drop(store);
    let (_, opened) = open(dir.path());
    assert_eq!(opened.positions, [position("files", 1, 150), journal("b")]);
    assert_eq!(opened.state, [state("b", Some("3"))]);
}

#[test]
fn critical_goes_first_and_then_the_oldest_and_a_try_keeps_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    store.commit(&adding(vec![warning(5), warning(3), row(9, "ops", Severity::Critical)])).unwrap();
    let mut tried = row(9, "ops", Severity::Critical);
    (tried.tries, tried.due, tried.last_error) = (2, Tick(77), Some("503 service unavailable".into()));
    let outcome = Tried { id: id(9), tries: 2, due: Tick(77), last_error: tried.last_error.clone() };
    store.commit(&Commit { tried: vec![outcome], ..Commit::default() }).unwrap();
    assert_eq!(store.next("ops").unwrap(), Some(tried));
    let mut order = Vec::new();
    while let Some(next) = store.next("ops").unwrap() {
        order.push(next.message.0);
        store.commit(&Commit { remove: vec![next.id], ..Commit::default() }).unwrap();
    }
    assert_eq!(order, [9, 5, 3]);
}

#[test]
fn a_dead_letter_is_kept_and_never_next() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    store.commit(&adding(vec![warning(1), warning(2)])).unwrap();
    let why = "400 INVALID_ARGUMENT: too many widgets";
    store.commit(&Commit { bury: vec![(id(1), why.into())], ..Commit::default() }).unwrap();
    drop(store);
    let (mut store, _) = open(dir.path());
    assert_eq!(store.next("ops").unwrap(), Some(warning(2)));
    let dead = store.dead_letters().unwrap();
    assert_eq!((dead.len(), &dead[0].id, dead[0].last_error.as_deref()), (1, &id(1), Some(why)));
    let letter = store.letter(&id(1)).unwrap().unwrap();
    assert_eq!((letter.row, letter.why.as_deref()), (warning(1), Some(why)));
    let counts = SpaceCounts {
        space: "ops".into(),
        waiting: 1,
        bytes: warning(2).body.len() as u64 + serde_json::to_string(&*warning(2).draft).unwrap().len() as u64,
        oldest: Some(Wall(1_002)),
        dead: 1,
    };
    assert_eq!(store.counts().unwrap(), [counts]);
    store.commit(&Commit { remove: vec![id(1)], ..Commit::default() }).unwrap();
    assert!(store.dead_letters().unwrap().is_empty());
}

#[test]
fn a_dead_letter_that_is_revived_waits_again_with_its_id_and_body_behind_all_others() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    store.commit(&adding(vec![warning(1), warning(2)])).unwrap();
    let tried = Tried { id: id(1), tries: 7, due: Tick(1), last_error: Some("503".into()) };
    store.commit(&Commit { tried: vec![tried], ..Commit::default() }).unwrap();
    store.commit(&Commit { bury: vec![(id(1), "too old".into())], ..Commit::default() }).unwrap();
    let now = at(90_000_000);
    store.commit(&Commit { now, revive: vec![id(1), id(9)], ..Commit::default() }).unwrap();
    assert_eq!(ids(&store), [id(2), id(1)]);
    assert!(store.dead_letters().unwrap().is_empty());
    let letter = store.letter(&id(1)).unwrap().unwrap();
    let last_error = Some("too old".into());
    let row = OutboxRow { born: now.wall, due: now.tick, last_error, ..warning(1) };
    assert_eq!(letter, Letter { row, why: None });
    let untried = store.untried("ops", false, 9).unwrap();
    assert_eq!(untried, [warning(2)], "it keeps its id: it is never told as part of another");
    // what waits already is left alone
    store.commit(&Commit { revive: vec![id(2)], ..Commit::default() }).unwrap();
    assert_eq!(ids(&store), [id(2), id(1)]);
}

#[test]
fn a_long_queue_of_what_was_never_tried_is_told_by_the_commit_that_makes_it_too_long() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    let deep = u64::from(DEEP);
    let done = store.commit(&adding((0..=deep).map(warning).collect())).unwrap();
    assert_eq!(done.deep, [("ops".into(), false)]);
    // a worker that waits for its next row changes nothing of that, whichever row that is
    let idle = |rows| Commit { idle: vec!["ops".into(), "lab".into()], ..adding(rows) };
    let done =
        store.commit(&idle((0..=deep).map(|n| row(200 + n, "lab", Severity::Warning)).collect())).unwrap();
    assert_eq!(done.deep, [("lab".into(), false)]);
    let both = vec![row(300, "lab", Severity::Critical), row(301, "lab", Severity::Warning)];
    let done = store.commit(&idle(both)).unwrap();
    assert_eq!(done.deep, [("lab".into(), false)], "a critical one goes first, and stands for no other");
    let tried = Tried { id: id(0), tries: 0, due: Tick(1), last_error: Some("429".into()) };
    store.commit(&Commit { tried: vec![tried], ..Commit::default() }).unwrap();
    let critical = row(100, "ops", Severity::Critical);
    assert_eq!(store.commit(&adding(vec![critical.clone()])).unwrap().deep, []);
    assert_eq!(store.commit(&adding(vec![warning(101)])).unwrap().deep, [("ops".into(), false)]);
    let waiting: Vec<RowId> = store.untried("ops", false, 5).unwrap().into_iter().map(|r| r.id).collect();
    assert_eq!(waiting, (1..=5).map(id).collect::<Vec<_>>(), "what was tried never changes any more");
    assert_eq!(store.untried("ops", true, 5).unwrap(), [critical]);
    assert_eq!(store.waiting("ops", Wall(1_001), 99).unwrap().len(), 2);
}

#[test]
fn one_id_has_one_body_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    store.commit(&adding(vec![warning(1), warning(2)])).unwrap();
    assert_eq!(store.commit(&adding(vec![warning(1)])).unwrap(), kept(), "the same again is no fault");
    store.commit(&Commit { bury: vec![(id(2), "refused".into())], ..Commit::default() }).unwrap();
    for n in [1, 2] {
        let mut other = warning(n);
        other.body = "{}".into();
        let commit = Commit { state: vec![state("a", Some("1"))], ..adding(vec![warning(7), other]) };
        let fault = store.commit(&commit).unwrap_err();
        assert_eq!(
            fault.to_string(),
            format!(
                "message `0000000000000000000000000000000{n}` is committed already with other words, and a committed \
                 message never changes"
            )
        );
    }
    drop(store);
    let (store, opened) = open(dir.path());
    assert!(opened.state.is_empty(), "nothing of a refused commit is kept");
    assert_eq!(ids(&store), [id(1)]);
    drop(store);
    let db = Connection::open(dir.path().join("state.db")).unwrap();
    for (table, column) in [("outbox", "body"), ("outbox", "id"), ("outbox", "draft"), ("dead", "body")] {
        let fault = db.execute(&format!("UPDATE {table} SET {column} = 'x'"), []).unwrap_err();
        assert_eq!(fault.to_string(), "a committed message never changes", "{table}.{column}");
    }
}

// ---- bounds ---------------------------------------------------------------------------------------------------

fn heavy(n: u64, severity: Severity, bytes: usize) -> OutboxRow {
    let mut row = row(n, "ops", severity);
    row.body = "x".repeat(bytes).into();
    row
}

fn lost(n: u64, dead: bool) -> Lost {
    Lost { id: id(n), space: "ops".into(), message: MessageNo(n), dead }
}

#[test]
fn a_full_outbox_drops_the_mildest_and_tells_it() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    let mib = 7 << 20;
    // 1 is in a worker's hands, being the oldest; 2 was tried
    let severities = [Severity::Info, Severity::Info, Severity::Error, Severity::Critical, Severity::Warning];
    for (n, severity) in (1..).zip(severities) {
        store.commit(&adding(vec![heavy(n, severity, mib)])).unwrap();
    }
    let tried = Tried { id: id(2), tries: 1, due: Tick(0), last_error: None };
    store.commit(&Commit { tried: vec![tried], ..Commit::default() }).unwrap();
    for n in 6..=9 {
        assert_eq!(store.commit(&adding(vec![heavy(n, Severity::Error, mib)])).unwrap(), kept());
    }
    let told = store.commit(&adding(vec![heavy(10, Severity::Error, mib)])).unwrap();
    assert_eq!(told.lost, [lost(5, false)]);
    let told = store.commit(&adding(vec![heavy(11, Severity::Critical, mib)])).unwrap();
    assert_eq!(told.lost, [lost(3, false)]);
    assert_eq!(ids(&store), [1, 2, 4, 6, 7, 8, 9, 10, 11].map(id));
}

#[test]
fn dead_letters_are_bounded_and_the_oldest_go() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    let half = (DEAD_BYTES / 2) as usize;
    store.commit(&adding(vec![heavy(1, Severity::Critical, half), heavy(2, Severity::Info, half)])).unwrap();
    let bury = |n| Commit { bury: vec![(id(n), "refused".into())], ..Commit::default() };
    assert_eq!(store.commit(&bury(1)).unwrap(), kept());
    assert_eq!(store.commit(&bury(2)).unwrap().lost, [lost(1, true)]);
    assert_eq!(store.dead_letters().unwrap().len(), 1);
}

#[test]
fn a_commit_answers_what_each_idle_space_sends_next() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    let (first, second) = (row(1, "ops", Severity::Info), row(2, "ops", Severity::Critical));
    let commit = adding(vec![first, second.clone(), row(3, "security", Severity::Info)]);
    let idle = vec!["ops".into(), "nobody".into()];
    let told = store.commit(&Commit { idle, ..commit }).unwrap();
    assert_eq!(told.next, [second], "as `next` would say it, and of those spaces only");
}

#[test]
fn the_log_is_folded_into_the_file_and_both_stay_short() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    let size = |name: &str| fs::metadata(dir.path().join(name)).map_or(0, |m| m.len());
    for n in 0..24u64 {
        let remove = n.checked_sub(6).map(id).into_iter().collect();
        store.commit(&Commit { remove, ..adding(vec![heavy(n, Severity::Info, 1 << 20)]) }).unwrap();
        store.after_commit();
        assert!(size("state.db-wal") < 18 << 20, "the log is {} bytes long", size("state.db-wal"));
    }
    assert!(size("state.db") > 6 << 20);
    store.commit(&Commit { remove: (0..23).map(id).collect(), ..Commit::default() }).unwrap();
    assert!(!store.idle(), "nothing calls for coming back soon");
    let head = size("state.db-wal");
    assert!(0 < head && head < 16 << 10, "its head alone: whoever commits next need not write it");
    assert!(size("state.db") < 2 << 20, "the file is {} bytes long for one row", size("state.db"));
    assert_eq!(store.next("ops").unwrap(), Some(heavy(23, Severity::Info, 1 << 20)));
    // a short one is written over: no commit makes the file longer
    let few = |store: &mut Store, ids: std::ops::Range<u64>| {
        ids.for_each(|n| _ = store.commit(&adding(vec![row(n, "ops", Severity::Info)])).unwrap());
        size("state.db-wal")
    };
    let long = few(&mut store, 100..108);
    store.idle();
    assert_eq!((size("state.db-wal"), few(&mut store, 108..112)), (long, long));
    store.close();
    assert_eq!(size("state.db-wal"), 0);
}

// ---- against a model ------------------------------------------------------------------------------------------

/// What the store should hold, said simply.
#[derive(Debug, Default)]
struct Model {
    last: Option<Now>,
    positions: BTreeMap<PositionKey, Position>,
    state: BTreeMap<String, StateRow>,
    /// Oldest first.
    outbox: Vec<OutboxRow>,
    dead: Vec<(OutboxRow, String)>,
}

impl Model {
    fn commit(&mut self, c: &Commit) {
        self.last = Some(c.now);
        for key in &c.forget {
            self.positions.remove(key);
        }
        for p in &c.positions {
            self.positions.insert(p.key.clone(), p.clone());
        }
        for s in &c.state {
            self.state.remove(&s.name);
            if s.value.is_some() {
                self.state.insert(s.name.clone(), s.clone());
            }
        }
        self.outbox.retain(|r| !c.remove.contains(&r.id));
        self.dead.retain(|(r, _)| !c.remove.contains(&r.id));
        for (id, why) in &c.bury {
            if let Some(i) = self.outbox.iter().position(|r| r.id == *id) {
                self.dead.push((self.outbox.remove(i), why.clone()));
            }
        }
        for id in &c.revive {
            if let Some(i) = self.dead.iter().position(|(r, _)| r.id == *id) {
                let (row, why) = self.dead.remove(i);
                self.outbox.push(OutboxRow {
                    born: c.now.wall,
                    tries: 0,
                    due: c.now.tick,
                    last_error: Some(why),
                    ..row
                });
            }
        }
        for t in &c.tried {
            for r in self.outbox.iter_mut().filter(|r| r.id == t.id) {
                (r.tries, r.due, r.last_error) = (t.tries, t.due, t.last_error.clone());
            }
        }
        for row in &c.add {
            let known = self.outbox.iter().chain(self.dead.iter().map(|(r, _)| r)).any(|r| r.id == row.id);
            if !known {
                self.outbox.push(row.clone());
            }
        }
    }

    fn next(&self, space: &str) -> Option<&OutboxRow> {
        let mine = || self.outbox.iter().filter(|r| &*r.space == space);
        mine().find(|r| r.severity == Severity::Critical).or_else(|| mine().next())
    }

    fn check(&self, store: &Store) {
        assert_eq!(ids(store), self.outbox.iter().map(|r| r.id.clone()).collect::<Vec<_>>());
        for space in ["ops", "security"] {
            assert_eq!(store.next(space).unwrap().as_ref(), self.next(space));
        }
        let dead: Vec<_> =
            store.dead_letters().unwrap().into_iter().map(|d| (d.id, d.last_error.unwrap())).collect();
        assert_eq!(dead, self.dead.iter().map(|(r, why)| (r.id.clone(), why.clone())).collect::<Vec<_>>());
        for (letter, why) in &self.dead {
            let found = store.letter(&letter.id).unwrap().unwrap();
            assert_eq!((&found.row, &found.why), (letter, &Some(why.clone())));
        }
    }

    fn check_opened(&self, opened: &Opened) {
        assert_eq!(opened.last, self.last);
        let mut positions = opened.positions.clone();
        positions.sort_by(|a, b| a.key.cmp(&b.key));
        assert_eq!(positions, self.positions.values().cloned().collect::<Vec<_>>());
        let mut state = opened.state.clone();
        state.sort_by(|a, b| a.name.cmp(&b.name));
        assert_eq!(state, self.state.values().cloned().collect::<Vec<_>>());
    }
}

fn commits() -> impl Strategy<Value = Commit> {
    let numbers = || prop::collection::vec(0u64..12, 0..3);
    let row_of = |n: u64| row(n, ["ops", "security"][(n % 2) as usize], Severity::ALL[(n % 4) as usize]);
    let tried = prop::collection::vec((0u64..12, 1u32..9, 0u64..99), 0..3);
    let places = prop::collection::vec((0u64..3, any::<u64>()), 0..3);
    let names = prop::collection::vec((0u64..3, prop::option::of("[a-z\"é]{0,9}")), 0..3);
    let rows = (numbers(), numbers(), numbers(), numbers());
    (rows, numbers(), tried, places, names, any::<u32>()).prop_map(
        move |((add, remove, bury, revive), forget, tried, places, names, ms)| Commit {
            now: at(u64::from(ms)),
            forget: forget.into_iter().map(|n| key("files", n % 3)).collect(),
            positions: places.into_iter().map(|(n, o)| position("files", n, o / 2)).collect(),
            state: names.into_iter().map(|(n, v)| state(&format!("judge/{n}"), v.as_deref())).collect(),
            remove: remove.into_iter().map(id).collect(),
            bury: bury.into_iter().map(|n| (id(n), format!("refused {n}"))).collect(),
            revive: revive.into_iter().map(id).collect(),
            tried: tried
                .into_iter()
                .map(|(n, tries, due)| Tried {
                    id: id(n),
                    tries,
                    due: Tick(due),
                    last_error: Some("503".into()),
                })
                .collect(),
            add: add.into_iter().map(row_of).collect(),
            synced: false,
            idle: Vec::new(),
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.div_ceil(10), ..ProptestConfig::default() })]

    #[test]
    fn the_store_is_its_model_through_any_commits_and_restarts(
        steps in prop::collection::vec((commits(), 0u8..6), 1..16)
    ) {
        let dir = tempfile::tempdir().unwrap();
        let (mut store, _) = open(dir.path());
        let mut model = Model::default();
        for (commit, then) in steps {
            prop_assert_eq!(store.commit(&commit).unwrap(), kept());
            model.commit(&commit);
            model.check(&store);
            match then {
                0 => {
                    drop(store);
                    let (again, opened) = open(dir.path());
                    model.check_opened(&opened);
                    store = again;
                    model.check(&store);
                }
                1 => prop_assert!(!store.idle()),
                _ => {}
            }
        }
    }
}

// ---- edits ----------------------------------------------------------------------------------------------------

/// Row `n`, which edits the message of row 1.
fn edit(n: u64) -> OutboxRow {
    let row = row(n, "ops", Severity::Critical);
    let draft = Message { edits: Some(id(1)), ..Message::clone(&row.draft) };
    OutboxRow { draft: Arc::new(draft), ..row }
}

#[test]
fn an_edit_goes_behind_all_others_and_one_of_a_message_waits() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    store.commit(&adding(vec![edit(2), warning(3)])).unwrap();
    assert_eq!(store.next("ops").unwrap().unwrap().id, id(3), "whatever it is");
    let tried = Tried { id: id(2), tries: 4, due: Tick(9_000), last_error: Some("503".into()) };
    store.commit(&Commit { tried: vec![tried], now: at(5), ..Commit::default() }).unwrap();
    store.commit(&adding(vec![edit(4)])).unwrap();
    store.commit(&Commit { remove: vec![id(3)], now: at(6), ..Commit::default() }).unwrap();
    drop(store);
    let (mut store, _) = open(dir.path());
    let newer = OutboxRow { tries: 4, due: Tick(9_000), last_error: Some("503".into()), ..edit(4) };
    assert_eq!(ids(&store), [id(4)]);
    assert_eq!(store.next("ops").unwrap(), Some(newer), "a newer edit is no reason to try a space sooner");
    // an edit is a dead letter like any other, and comes back as what it was
    store.commit(&Commit { bury: vec![(id(4), "400".into())], now: at(7), ..Commit::default() }).unwrap();
    store.commit(&Commit { revive: vec![id(4)], now: at(8), ..Commit::default() }).unwrap();
    store.commit(&adding(vec![edit(5)])).unwrap();
    assert_eq!(ids(&store), [id(5)]);
}

#[test]
fn edits_are_neither_told_as_one_nor_as_old_and_are_the_first_to_go() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    let of = |n: u64| {
        let row = heavy(n, Severity::Critical, 1 << 20);
        let draft = Message { edits: Some(id(n)), ..Message::clone(&row.draft) };
        OutboxRow { draft: Arc::new(draft), ..row }
    };
    let done = store.commit(&adding((100..150).map(of).collect())).unwrap();
    assert_eq!(done.deep, []);
    assert_eq!(store.untried("ops", true, 100).unwrap(), []);
    assert_eq!(store.waiting("ops", Wall(i64::MAX), 100).unwrap(), []);
    let done = store.commit(&adding((1..40).map(|n| heavy(n, Severity::Info, 1 << 20)).collect())).unwrap();
    assert!(!done.lost.is_empty() && done.lost.iter().all(|l| l.id >= id(100)), "{:?}", done.lost);
}

// ---- kill -9 --------------------------------------------------------------------------------------------------

/// Rows stay this long, so that removal is under the knife too.
const STAY: u64 = 25;

/// Commits for ever: row `n` together with position `n + 1`. Says so after each.
fn write_on(dir: &Path, rounds: u64) -> u64 {
    let (mut store, opened) = open(dir);
    let from = offset(&opened);
    for n in from..from.saturating_add(rounds) {
        let commit = Commit {
            remove: n.checked_sub(STAY).map(id).into_iter().collect(),
            positions: vec![position("files", 1, n + 1)],
            ..adding(vec![warning(n)])
        };
        let done = store.commit(&commit).unwrap();
        assert_eq!((done.lost, done.durable), (Vec::new(), true));
        println!("committed {n}");
        if n % 17 == 0 {
            store.idle();
        }
    }
    from
}

fn offset(opened: &Opened) -> u64 {
    match opened.positions.first().map(|p| &p.place) {
        Some(Place::File(f)) => f.offset,
        _ => 0,
    }
}

/// The position and the rows tell the same story.
fn check_story(dir: &Path) -> u64 {
    let (store, opened) = open(dir);
    assert_eq!(opened.set_aside, None);
    let end = offset(&opened);
    assert_eq!(ids(&store), (end.saturating_sub(STAY)..end).map(id).collect::<Vec<_>>());
    drop(store);
    let db = Connection::open(dir.join("state.db")).unwrap();
    let mut bodies = db.prepare("SELECT message, body FROM outbox").unwrap();
    let mut rows = bodies.query([]).unwrap();
    while let Some(found) = rows.next().unwrap() {
        let n: i64 = found.get(0).unwrap();
        assert_eq!(found.get::<_, String>(1).unwrap(), *warning(n as u64).body);
    }
    end
}

const CHILD: &str = "LOGHERALD_STORE_TEST_CHILD";

/// As a child of the next test it writes until it is killed; by itself it proves that the writer's story holds.
#[test]
fn the_writer_of_the_kill_test_tells_a_true_story() {
    if let Some(dir) = std::env::var_os(CHILD) {
        write_on(Path::new(&dir), u64::MAX);
    }
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(write_on(dir.path(), 40), 0);
    assert_eq!(check_story(dir.path()), 40);
    assert_eq!(write_on(dir.path(), 2), 40);
    assert_eq!(check_story(dir.path()), 42);
}

#[test]
fn kill_9_loses_no_acknowledged_row_and_changes_no_body() {
    let dir = tempfile::tempdir().unwrap();
    let rounds = std::env::var("LOGHERALD_KILLS").map_or(10, |n| n.parse().unwrap()) * 2;
    let mut before = 0;
    for round in 0..rounds {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::the_writer_of_the_kill_test_tells_a_true_story", "--nocapture"])
            .env(CHILD, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let mut last = None;
        let patience = (round * 7 + 1) % 23;
        let mut acknowledged = out.lines().map(Result::unwrap).filter_map(|line| {
            let n = line.split("committed ").nth(1)?;
            n.trim().parse::<u64>().ok()
        });
        for n in acknowledged.by_ref().take(patience) {
            last = Some(n);
        }
        child.kill().unwrap();
        // what it said before it died counts too
        last = acknowledged.last().or(last);
        assert!(!child.wait().unwrap().success());
        let end = check_story(dir.path());
        assert!(end > last.unwrap_or(0) || last.is_none(), "{last:?} was acknowledged, and {end} is the end");
        assert!(end >= before, "a restart lost rows: {before} to {end}");
        before = end;
    }
    assert!(before > rounds as u64);
}

// ---- a directory that is not as it should be ------------------------------------------------------------------

#[test]
fn the_directory_and_its_files_are_for_their_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a/state");
    let (mut store, _) = open(&path);
    store.commit(&adding(vec![warning(1)])).unwrap();
    let mode = |p: &Path| fs::metadata(p).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    let mut names = Vec::new();
    for entry in fs::read_dir(&path).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(mode(&entry.path()), 0o600, "{}", entry.path().display());
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(names, ["ballast", "lock", "state.db", "state.db-wal"]);
}

#[test]
fn a_second_agent_is_refused_and_may_come_when_the_first_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let fault = Store::open(dir.path()).unwrap_err();
    assert_eq!(
        fault.to_string(),
        format!(
            "another logherald runs on the state directory `{}`\n\
             hint: stop that one first, or give this one a directory of its own with `--state DIR`",
            dir.path().display()
        )
    );
    store.close();
    open(dir.path());
}

#[test]
fn a_directory_that_is_a_file_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state");
    fs::write(&path, "").unwrap();
    assert_eq!(
        Store::open(&path).unwrap_err().to_string(),
        format!(
            "cannot use the state directory `{}`: entity already exists\n\
             hint: it must be a directory that this user can write; choose another with `--state DIR`",
            path.display()
        )
    );
}

#[test]
fn a_newer_file_is_refused_by_name_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    store.commit(&adding(vec![warning(1)])).unwrap();
    store.close();
    let file = dir.path().join("state.db");
    let db = Connection::open(&file).unwrap();
    db.execute("UPDATE meta SET value = CAST('7.1.0' AS BLOB) WHERE name = 'version'", []).unwrap();
    db.pragma_update(None, "user_version", 9).unwrap();
    drop(db);
    let fault = Store::open(dir.path()).unwrap_err();
    assert_eq!(
        fault.to_string(),
        format!(
            "the state file `{}` was written by logherald `7.1.0` in schema 9, and this is logherald `{}`, which \
             knows schemas up to 3\nhint: install the newer version again, or start afresh in another directory \
             with `--state DIR`",
            file.display(),
            env!("CARGO_PKG_VERSION")
        )
    );
    let db = Connection::open(&file).unwrap();
    let rows: i64 = db.query_row("SELECT count(*) FROM outbox", [], |r| r.get(0)).unwrap();
    assert_eq!(rows, 1);
}

#[test]
fn a_schema_that_this_very_version_cannot_have_written_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    store.commit(&adding(vec![warning(1)])).unwrap();
    store.close();
    let db = Connection::open(dir.path().join("state.db")).unwrap();
    db.pragma_update(None, "user_version", 9).unwrap();
    drop(db);
    let (store, opened) = open(dir.path());
    let aside = opened.set_aside.expect("it is put aside");
    assert_eq!((aside.why.as_str(), aside.outbox), ("its schema has the number 9", 1));
    assert_eq!(ids(&store), [id(1)]);
}

#[test]
fn a_first_version_file_is_migrated_with_all_it_holds() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("state.db");
    let old = Connection::open(&file).unwrap();
    let draft = |n| serde_json::to_string(&*warning(n).draft).unwrap();
    let sql = include_str!("store/state-v1.sql").replace("DRAFT-1", &draft(1)).replace("DRAFT-2", &draft(2));
    old.execute_batch(&sql).unwrap();
    drop(old);

    let (store, opened) = open(dir.path());
    assert_eq!(opened.set_aside, None);
    assert_eq!(opened.install, *b"0123456789abcdef");
    assert_eq!(opened.last, Some(at(42)));
    // What the first version did not keep.
    let mut first = position("files", 1, 100);
    if let Place::File(place) = &mut first.place {
        (place.recent, place.rotated, place.mtime) = (Recent::default(), false, 0);
    }
    assert_eq!(opened.positions, [first, journal("s=1;i=2")]);
    assert_eq!(opened.state, [state("judge/clock", Some("{\"a\":1}"))]);
    assert_eq!(store.next("ops").unwrap(), Some(warning(1)));
    let letter = store.letter(&id(2)).unwrap().unwrap();
    assert_eq!((letter.row.body, letter.why.as_deref()), (warning(2).body, Some("400 bad request")));
    drop(store);
    let db = Connection::open(&file).unwrap();
    assert_eq!(db.pragma_query_value(None, "user_version", |r| r.get::<_, i64>(0)).unwrap(), 3);
}

// ---- files that cannot be read --------------------------------------------------------------------------------

#[test]
fn a_file_that_is_no_database_is_set_aside_and_told() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("state.db");
    fs::write(&file, "this is not a database, however long one looks at it".repeat(40)).unwrap();
    let (mut store, opened) = open(dir.path());
    let aside = opened.set_aside.unwrap();
    assert_eq!(
        aside.to_string(),
        format!(
            "the state file could not be read: file is not a database; it was kept as `{}.unreadable-1`, and of it \
             were salvaged: positions 0, state rows 0, waiting messages 0, dead letters 0",
            file.display()
        )
    );
    assert!(fs::read(&aside.path).unwrap().starts_with(b"this is not a database"));
    assert_eq!(store.commit(&adding(vec![warning(1)])).unwrap(), kept());
    drop(store);
    let (store, opened) = open(dir.path());
    assert_eq!((opened.set_aside, ids(&store)), (None, vec![id(1)]));
}

#[test]
fn a_database_of_another_program_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    Connection::open(dir.path().join("state.db")).unwrap().execute_batch("CREATE TABLE cookies (a)").unwrap();
    let (_, opened) = open(dir.path());
    assert_eq!(opened.set_aside.unwrap().why, "it is a database of another program");
}

#[test]
fn a_row_that_makes_no_sense_costs_itself_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, first) = open(dir.path());
    let commit = Commit {
        positions: vec![position("files", 1, 100), journal("a")],
        state: vec![state("a", Some("1"))],
        ..adding(vec![warning(1), warning(2), warning(3)])
    };
    store.commit(&commit).unwrap();
    store.commit(&Commit { bury: vec![(id(3), "refused".into())], now: at(8), ..Commit::default() }).unwrap();
    drop(store);
    let db = Connection::open(dir.path().join("state.db")).unwrap();
    db.execute("UPDATE position SET place = '{' WHERE source = 'files'", []).unwrap();
    drop(db);
    let (store, opened) = open(dir.path());
    let aside = opened.set_aside.unwrap();
    assert_eq!((aside.positions, aside.state, aside.outbox, aside.dead), (1, 1, 2, 1));
    assert_eq!(aside.why, "table `position`, row 1: EOF while parsing an object at line 1 column 1");
    assert_eq!(opened.positions, [journal("a")]);
    assert_eq!((opened.install, opened.last), (first.install, Some(at(8))));
    assert_eq!(ids(&store), [id(1), id(2)]);
    assert_eq!(store.dead_letters().unwrap().len(), 1);
}

#[test]
fn damaged_pages_cost_the_rows_on_them_and_the_evidence_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    let mut rows: Vec<_> = (0..400).map(warning).collect();
    rows.insert(200, heavy(9999, Severity::Warning, 300 << 10));
    store.commit(&Commit { positions: vec![position("files", 1, 100)], ..adding(rows) }).unwrap();
    store.close();
    let file = dir.path().join("state.db");
    let mut bytes = fs::read(&file).unwrap();
    // a leaf page somewhere in the middle of the outbox: the one that holds row 100's body
    let needle = b"no space left on device 100\"}";
    let place = bytes.windows(needle.len()).position(|w| w == needle).unwrap();
    let page = place / 4096 * 4096;
    bytes[page..page + 4096].fill(0xff);
    fs::write(&file, &bytes).unwrap();

    let (store, opened) = open(dir.path());
    let aside = opened.set_aside.unwrap();
    let after = fs::read(&aside.path).unwrap();
    let changed: Vec<_> =
        (0..bytes.len().max(after.len())).filter(|&i| bytes.get(i) != after.get(i)).collect();
    assert_eq!(changed, [0; 0], "{}", aside.why);
    assert_eq!(opened.positions, [position("files", 1, 100)]);
    let found = ids(&store);
    assert_eq!(aside.outbox, found.len());
    assert!(found.contains(&id(0)) && found.contains(&id(399)) && !found.contains(&id(100)), "{found:?}");
    assert!(found.len() > 350, "{} rows, after {}", found.len(), aside.why);
    assert_eq!(store.next("ops").unwrap(), Some(warning(0)));
}

#[test]
fn no_damage_makes_it_panic_or_refuse() {
    let whole = tempfile::tempdir().unwrap();
    let (mut store, _) = open(whole.path());
    store
        .commit(&Commit { positions: vec![journal("a")], ..adding((0..40).map(warning).collect()) })
        .unwrap();
    store.close();
    let bytes = fs::read(whole.path().join("state.db")).unwrap();
    let mut set_aside = 0;
    for n in 0..60 {
        let dir = tempfile::tempdir().unwrap();
        let mut damaged = bytes.clone();
        let place = n * 7919 % damaged.len();
        if n % 3 == 0 {
            damaged.truncate(place);
        } else {
            let end = (place + 50).min(damaged.len());
            damaged[place..end].iter_mut().for_each(|b| *b = b.wrapping_mul(31).wrapping_add(n as u8 | 1));
        }
        fs::write(dir.path().join("state.db"), damaged).unwrap();
        let (mut store, opened) = match Store::open(dir.path()) {
            // a damaged version number may look like that of a newer program
            Err(StoreError::Newer { .. }) => continue,
            other => other.unwrap(),
        };
        set_aside += usize::from(opened.set_aside.is_some());
        store.commit(&adding(vec![warning(77)])).unwrap();
    }
    assert!(set_aside > 20, "{set_aside}");
}

#[test]
fn only_so_many_unreadable_files_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..8 {
        fs::write(dir.path().join("state.db"), format!("garbage {n}").repeat(200)).unwrap();
        drop(open(dir.path()));
    }
    let kept = |n: u32| fs::read_to_string(dir.path().join(format!("state.db.unreadable-{n}")));
    assert!(kept(1).unwrap().starts_with("garbage 0") && kept(5).unwrap().starts_with("garbage 7"));
    assert!(kept(6).is_err());
}

// ---- a full disk ----------------------------------------------------------------------------------------------

fn commit_one(store: &mut Store, n: u64) -> bool {
    let commit = Commit { positions: vec![position("files", 1, n)], ..adding(vec![warning(n)]) };
    store.commit(&commit).unwrap().durable
}

#[test]
fn a_full_disk_takes_the_ballast_then_memory_and_then_the_disk_again() {
    let Some(disk) = SmallDisk::mount(32) else { return };
    let (mut store, _) = open(&disk.path());
    assert!(commit_one(&mut store, 0));
    let ballast = disk.path().join("ballast");
    assert_eq!(fs::metadata(&ballast).unwrap().len(), 4 << 20);

    disk.fill("first");
    let mut n = 1;
    while ballast.exists() {
        assert!(commit_one(&mut store, n), "the ballast carries it");
        n += 1;
    }
    disk.fill("second");
    while commit_one(&mut store, n) {
        n += 1;
        assert!(n < 5000, "the disk was never full");
    }
    let in_memory = n;
    // life goes on: rows come, are tried, delivered and buried
    for _ in 0..20 {
        n += 1;
        assert!(!commit_one(&mut store, n));
    }
    let outcome = Commit { remove: vec![id(0)], bury: vec![(id(1), "refused".into())], ..Commit::default() };
    assert!(!store.commit(&outcome).unwrap().durable);
    assert_eq!(store.next("ops").unwrap(), Some(warning(2)));
    assert_eq!(ids(&store), (2..=n).map(id).collect::<Vec<_>>());
    assert!(store.idle(), "still no room, so it wants to come back");
    assert!(Store::open(&disk.path()).is_err(), "the directory is not let go of meanwhile");

    disk.free("first");
    disk.free("second");
    assert!(!store.idle());
    n += 1;
    assert!(commit_one(&mut store, n));
    assert!(!store.idle());
    assert!(ballast.exists(), "the ballast is laid again");
    drop(store);
    let (store, opened) = open(&disk.path());
    assert_eq!(ids(&store), (2..=n).map(id).collect::<Vec<_>>());
    assert_eq!(store.dead_letters().unwrap().len(), 1);
    assert_eq!(offset(&opened), n);
    assert!(in_memory < n);
}

#[test]
fn what_was_durable_survives_a_crash_on_a_full_disk() {
    let Some(disk) = SmallDisk::mount(6) else { return };
    let (mut store, _) = open(&disk.path());
    let mut n = 0;
    assert!(commit_one(&mut store, n));
    disk.fill("other");
    while commit_one(&mut store, n + 1) {
        n += 1;
        assert!(n < 5000, "the disk was never full");
    }
    drop(store);
    // and a start on a disk that is still full finds it
    let (mut store, opened) = open(&disk.path());
    assert_eq!((offset(&opened), opened.set_aside), (n, None));
    assert_eq!(ids(&store), (0..=n).map(id).collect::<Vec<_>>());
    // here a commit may fit again: the log was folded into the file meanwhile
    commit_one(&mut store, n + 1);
    assert_eq!(ids(&store).len() as u64, n + 2);
}

#[test]
fn a_first_start_on_a_full_disk_lives_in_memory_until_there_is_room() {
    let Some(disk) = SmallDisk::mount(8) else { return };
    fs::create_dir(disk.path()).unwrap();
    fs::write(disk.path().join("state.db"), "").unwrap();
    disk.fill("other");
    let _held_by_a_process_that_is_being_started = fs::File::open(disk.path().join("../other")).unwrap();
    let (mut store, opened) = open(&disk.path());
    assert!(!opened.durable);
    assert!(!commit_one(&mut store, 1));
    disk.free("other");
    store.close();
    let (store, again) = open(&disk.path());
    assert!(again.durable);
    assert_eq!((again.install, ids(&store)), (opened.install, vec![id(1)]));
}

#[test]
fn an_unreadable_file_on_a_full_disk_is_salvaged_into_memory() {
    let Some(disk) = SmallDisk::mount(8) else { return };
    let (mut store, first) = open(&disk.path());
    assert!(commit_one(&mut store, 1));
    store.close();
    let db = Connection::open(disk.path().join("state.db")).unwrap();
    db.execute("UPDATE position SET place = '{'", []).unwrap();
    drop(db);
    disk.fill("other");
    let (mut store, opened) = open(&disk.path());
    assert_eq!((opened.durable, opened.install), (false, first.install));
    assert_eq!(opened.set_aside.unwrap().outbox, 1);
    assert!(!commit_one(&mut store, 2));
    disk.free("other");
    store.close();
    assert_eq!(ids(&open(&disk.path()).0), [id(1), id(2)]);
}

#[test]
fn a_start_on_a_disk_that_may_only_be_read_takes_up_what_is_there_and_lives_in_memory() {
    let Some(disk) = SmallDisk::mount(16) else { return };
    let (mut store, first) = open(&disk.path());
    assert!(commit_one(&mut store, 1));
    store.close();
    let was = fs::read(disk.path().join("state.db")).unwrap();

    disk.may_be_written(false);
    let (mut store, opened) = open(&disk.path());
    assert_eq!((opened.durable, opened.install, offset(&opened)), (false, first.install, 1));
    assert!(!commit_one(&mut store, 2));
    assert!(store.idle(), "it wants to come back");
    let refused = Store::open(&disk.path()).unwrap_err();
    assert!(matches!(refused, StoreError::Busy { .. }), "{refused}");
    assert_eq!(fs::read(disk.path().join("state.db")).unwrap(), was);

    disk.may_be_written(true);
    assert!(!store.idle());
    assert!(commit_one(&mut store, 3));
    store.close();
    assert_eq!(ids(&open(&disk.path()).0), [id(1), id(2), id(3)]);
}

#[test]
fn a_first_start_on_a_disk_that_may_only_be_read_makes_the_state_when_it_may_be_written() {
    let Some(disk) = SmallDisk::mount(16) else { return };
    disk.may_be_written(false);
    let (mut store, opened) = open(&disk.path());
    assert!(!opened.durable && !commit_one(&mut store, 1));
    disk.may_be_written(true);
    // nobody could lock anything: whoever came first when that was possible has it
    let (other, _) = open(&disk.path());
    assert!(store.idle(), "it waits in memory");
    other.close();
    assert!(!store.idle());
    store.close();
    let (store, again) = open(&disk.path());
    assert_eq!((again.install, ids(&store)), (opened.install, vec![id(1)]));
}

#[test]
fn an_unreadable_file_on_a_disk_that_may_only_be_read_is_salvaged_and_set_aside_later() {
    let Some(disk) = SmallDisk::mount(16) else { return };
    let (mut store, first) = open(&disk.path());
    assert!(commit_one(&mut store, 1));
    store.close();
    let file = disk.path().join("state.db");
    let db = Connection::open(&file).unwrap();
    db.execute("UPDATE position SET place = '{'", []).unwrap();
    drop(db);
    disk.may_be_written(false);
    let (mut store, opened) = open(&disk.path());
    assert_eq!((opened.durable, opened.install), (false, first.install));
    let aside = opened.set_aside.unwrap();
    assert_eq!((aside.path, aside.outbox), (file.clone(), 1));
    disk.may_be_written(true);
    assert!(!store.idle() && commit_one(&mut store, 2));
    store.close();
    assert_eq!(ids(&open(&disk.path()).0), [id(1), id(2)]);
    assert!(disk.path().join("state.db.unreadable-1").exists());
}

#[test]
fn a_newer_file_on_a_disk_that_may_only_be_read_is_refused_by_its_own_name() {
    let Some(disk) = SmallDisk::mount(16) else { return };
    open(&disk.path()).0.close();
    let file = disk.path().join("state.db");
    let db = Connection::open(&file).unwrap();
    db.execute_batch("PRAGMA user_version = 99; UPDATE meta SET value = '9.9.9' WHERE name = 'version'")
        .unwrap();
    drop(db);
    disk.may_be_written(false);
    let refused = Store::open(&disk.path()).unwrap_err().to_string();
    assert!(
        refused.starts_with(&format!("the state file `{}` was written by logherald `9.9.9`", file.display()))
    );
}

#[test]
fn a_look_from_outside_calls_nothing_malformed_whose_newest_part_lies_in_the_log() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("state.db"), "half of a database").unwrap();
    let unreadable = || logherald::store::peek(dir.path()).unwrap().unreadable;
    assert!(unreadable().is_some());
    fs::write(dir.path().join("state.db-wal"), "the other half").unwrap();
    assert_eq!(unreadable(), None);
}

// ---- the thread -----------------------------------------------------------------------------------------------

#[expect(clippy::disallowed_methods, reason = "a test stands in for the agent's wiring")]
fn spawn(store: Store) -> (logherald::store::Handle, std::thread::JoinHandle<()>) {
    let (handle, inbox) = channel();
    (handle, std::thread::spawn(move || run(store, inbox)))
}

#[tokio::test]
async fn the_handle_asks_the_thread_and_closing_ends_it() {
    let dir = tempfile::tempdir().unwrap();
    let (handle, thread) = spawn(open(dir.path()).0);
    let other = handle.clone();
    assert_eq!(handle.commit(adding(vec![warning(1), warning(2)])).await.unwrap(), kept());
    assert_eq!(other.letter(id(1)).await.unwrap(), Some(Letter { row: warning(1), why: None }));
    assert_eq!(other.untried("ops".into(), false, 1).await.unwrap(), [warning(1)]);
    assert_eq!(other.waiting("ops".into(), Wall(1_001), 9).await.unwrap(), [warning(1)]);
    other.commit(Commit { bury: vec![(id(1), "refused".into())], ..Commit::default() }).await.unwrap();
    assert_eq!(handle.outbox().await.unwrap().len(), 1);
    assert_eq!(handle.dead_letters().await.unwrap().len(), 1);
    assert_eq!(handle.counts().await.unwrap()[0].waiting, 1);
    handle.close().await;
    thread.join().unwrap();
    assert_eq!(other.counts().await.unwrap_err().to_string(), "the store is closed");
    other.close().await;
    assert_eq!(ids(&open(dir.path()).0), [id(2)]);
}

#[tokio::test]
async fn the_thread_ends_with_the_last_handle_after_what_was_asked() {
    let dir = tempfile::tempdir().unwrap();
    let (handle, thread) = spawn(open(dir.path()).0);
    let sent = handle.commit(adding(vec![warning(1)]));
    tokio::time::timeout(Duration::from_secs(60), sent).await.unwrap().unwrap();
    drop(handle);
    thread.join().unwrap();
    assert_eq!(ids(&open(dir.path()).0), [id(1)]);
}
