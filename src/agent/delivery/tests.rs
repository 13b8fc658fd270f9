//! What the desk makes of what workers say of their rows: letters, plain forms, troubles told once, digests, stand-ins,
//! and edits. `outage` has a network that is away for hours, `outcomes` has the table of whatever a try may come to.

mod outage;
mod outcomes;

use std::time::Duration;

use tokio::sync::watch;

use super::*;
use crate::alert::What;
use crate::hit::{Hit, RuleNo};
use crate::judge::{Judge, Policy, RulePolicy, SpacePolicy};
use crate::redact::Redactor;
use crate::store::{Store, channel, run};
use crate::time::{Clock, Tick, Wall};

use super::super::desk::{Worker, Workers};
use super::super::letters::Which;

/// Spaces that are told at once, of which the first is the admin's.
pub(in super::super) fn policy(spaces: &[&str]) -> Policy {
    let space = |name: &&str| SpacePolicy {
        name: (*name).into(),
        wait: Duration::ZERO,
        wait_at_most: Duration::ZERO,
        max_per_hour: 3600,
        digest_every: Duration::from_secs(600),
        mention: std::collections::BTreeMap::new(),
        edit: false,
    };
    Policy {
        rules: Vec::new(),
        spaces: spaces.iter().map(space).collect(),
        admin: spaces[0].into(),
        host: "h".into(),
        redactor: Redactor::default(),
        late_after: Duration::from_secs(3600),
        memory: crate::judge::MEMORY,
        alive: None,
        mutes: Vec::new(),
    }
}

/// A desk with two spaces, and what was put into the hands of their workers.
pub(in super::super) struct Office {
    pub(in super::super) desk: Desk,
    /// Of the workers of `boss` and `ops`.
    hands: Vec<crate::deliver::Hand>,
    _dir: tempfile::TempDir,
}

pub(in super::super) fn office(fallbacks: &[(&str, &str)]) -> Office {
    let dir = tempfile::tempdir().unwrap();
    let (store, opened) = Store::open(dir.path()).unwrap();
    let (handle, inbox) = channel();
    #[expect(clippy::disallowed_methods, reason = "a test is its own pipeline")]
    std::thread::spawn(move || run(store, inbox));
    let clock = Clock::continuing(opened.last);
    let (judge, _) = Judge::new(policy(&["boss", "ops"]), opened.state, opened.install, clock.now());
    let mut workers = Workers::default();
    let mut hands = Vec::new();
    for space in ["boss", "ops"] {
        let (hand, in_hand) = watch::channel(None);
        hands.push(in_hand);
        workers.named.insert(space.into());
        workers.at_work.insert(space.into(), Worker { hand, console: false });
    }
    workers.fallbacks = fallbacks.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect();
    Office { desk: Desk::new(judge, handle, clock, workers), hands, _dir: dir }
}

impl Office {
    /// A message for `ops` is committed and in its worker's hand.
    pub(in super::super) async fn say(&mut self, text: &str, severity: Severity) {
        let about = text.to_owned();
        let space = Some("ops".into());
        let notice = Notice { about, severity, text: text.into(), hint: None, space };
        let now = self.desk.clock.now();
        self.desk.tell(notice, now);
        self.desk.commit(BTreeSet::new()).await.unwrap();
    }

    pub(in super::super) fn in_hand(&self) -> OutboxRow {
        self.desk.in_hand["ops"].clone()
    }

    /// What the worker of `ops` says of its row.
    pub(in super::super) async fn hears(&mut self, row: &OutboxRow, event: Event) {
        let (space, message) = (row.space.clone(), row.message);
        let report = Report { space, row: row.id.clone(), message, next_write: Tick(0), event };
        self.desk.outcome(report).await.unwrap();
        self.desk.commit(BTreeSet::new()).await.unwrap();
    }

    /// Texts of what waits for a space, in order.
    pub(in super::super) async fn waiting(&self, space: &str) -> Vec<String> {
        let rows = self.desk.store.waiting(space.into(), Wall(i64::MAX), 1000).await.unwrap();
        rows.iter().map(|row| row.draft.alerts.iter().map(|a| a.text.as_str()).collect()).collect()
    }
}

#[tokio::test]
async fn a_plain_form_that_is_refused_too_is_a_dead_letter_and_told() {
    let mut office = office(&[]);
    office.say("trouble", Severity::Error).await;
    let (card, why) = (office.in_hand(), || "400 INVALID_ARGUMENT".to_owned());
    office.hears(&card, Event::Refused { why: why(), resend_plain: true }).await;
    let plain = office.in_hand();
    assert!(plain.plain && plain.id != card.id && plain.body != card.body);
    office.hears(&plain, Event::Refused { why: why(), resend_plain: false }).await;
    let dead = office.desk.store.dead_letters().await.unwrap();
    assert_eq!(dead.iter().map(|d| &d.id).collect::<Vec<_>>(), [&plain.id]);
    assert_eq!(
        office.waiting("boss").await,
        ["the space `ops` refused a message for good: 400 INVALID_ARGUMENT"]
    );
    assert!(office.waiting("ops").await.is_empty());
}

#[tokio::test]
async fn a_trouble_is_told_once_and_its_end_once() {
    let mut office = office(&[]);
    let troubles = office.desk.troubles.subscribe();
    office.say("trouble", Severity::Error).await;
    let row = office.in_hand();
    let retrying = |tries| Event::Retrying { tries, due: Tick(0), why: "503".into() };
    for tries in 1..=9 {
        office.hears(&row, retrying(tries)).await;
        assert_eq!(office.waiting("boss").await.len(), usize::from(tries >= 3), "after {tries} tries");
    }
    assert_eq!(*troubles.borrow(), "space `ops` retrying: 503");
    let hint = || "mend it".to_owned();
    let paused = |tries| Event::Paused { tries, due: Tick(0), why: "403".into(), hint: hint() };
    office.hears(&row, paused(10)).await;
    office.hears(&row, paused(11)).await;
    assert_eq!(*troubles.borrow(), "space `ops` paused: 403");
    office.hears(&row, Event::Resumed).await;
    office.hears(&row, Event::Delivered).await;
    assert_eq!(*troubles.borrow(), "");
    assert_eq!(
        office.waiting("boss").await,
        [
            "the space `ops` takes no messages, they are kept and tried again: 503",
            "the space `ops` is paused and its messages wait: 403",
            "the space `ops` takes messages again",
        ]
    );
}

#[tokio::test]
async fn a_critical_message_goes_before_the_one_in_hand_which_comes_back_after_it() {
    let mut office = office(&[]);
    office.say("mild", Severity::Warning).await;
    office.say("also mild", Severity::Error).await;
    let mild = office.in_hand();
    office.say("urgent", Severity::Critical).await;
    let urgent = office.in_hand();
    assert_eq!(urgent.severity, Severity::Critical);
    // the first was on its way all the same, and comes to its end
    office.hears(&mild, Event::Retrying { tries: 1, due: Tick(0), why: "503".into() }).await;
    assert_eq!(office.in_hand().id, urgent.id);
    office.hears(&urgent, Event::Delivered).await;
    assert_eq!(office.in_hand().id, mild.id);
    assert_eq!(office.waiting("ops").await, ["mild", "also mild"]);
}

#[tokio::test]
async fn what_waits_in_a_long_queue_is_told_as_one_and_what_was_tried_stays_as_it_is() {
    let mut office = office(&[]);
    office.say("first", Severity::Error).await;
    let first = office.in_hand();
    office.hears(&first, Event::Retrying { tries: 1, due: Tick(0), why: "503".into() }).await;
    for n in 1..=200 {
        office.say(&format!("alert {n}"), Severity::Error).await;
    }
    office.say("urgent", Severity::Critical).await;
    let waiting = office.waiting("ops").await;
    assert!(waiting.len() <= 25, "{} messages wait", waiting.len());
    assert_eq!((waiting[0].as_str(), waiting.last().unwrap().as_str()), ("first", "urgent"));
    // each alert is listed, or counted where a list was cut
    let rows = office.desk.store.waiting("ops".into(), Wall(i64::MAX), 1000).await.unwrap();
    let told = |row: &OutboxRow| -> u64 {
        let of = |a: &crate::alert::Alert| if a.what == What::Digest { a.incidents } else { 1 };
        row.draft.alerts.iter().map(of).sum()
    };
    assert_eq!(rows.iter().map(told).sum::<u64>(), 202);
    // the judge's books know of no message that is not in the outbox
    let known: BTreeSet<MessageNo> = rows.iter().map(|r| r.message).collect();
    assert_eq!(office.desk.judge.unsettled().collect::<BTreeSet<_>>(), known);
}

#[tokio::test]
async fn what_has_waited_for_a_day_is_told_as_old_and_kept_as_dead_letters() {
    let mut office = office(&[]);
    office.say("first", Severity::Error).await;
    office.say("second", Severity::Warning).await;
    let first = office.in_hand();
    office.hears(&first, Event::Expired { why: "503".into() }).await;
    let waiting = office.waiting("ops").await;
    let [second, summary] = &waiting[..] else { panic!("not two messages: {waiting:?}") };
    assert_eq!(second, "second", "it is young enough");
    assert!(summary.starts_with("1 alert of ") && summary.contains(" not sent in time\n"), "{summary}");
    assert!(summary.ends_with("first"), "{summary}");
    let dead = office.desk.store.dead_letters().await.unwrap();
    assert_eq!(dead[0].id, first.id);
    assert_eq!(dead[0].last_error.as_deref(), Some("not sent in time: 503"));
}

#[tokio::test]
async fn a_space_in_trouble_is_stood_in_for_once_a_message_and_keeps_its_own() {
    let mut office = office(&[("ops", "boss")]);
    office.say("first", Severity::Error).await;
    office.say("second", Severity::Error).await;
    let first = office.in_hand();
    let paused = |tries| Event::Paused { tries, due: Tick(0), why: "404".into(), hint: "mend it".into() };
    office.hears(&first, paused(1)).await;
    office.say("third", Severity::Error).await;
    office.hears(&first, paused(2)).await;
    let copy = |text: &str| format!("{text}\nfor the space `ops`, which cannot be reached");
    let told = office.waiting("boss").await;
    assert_eq!(told[1..], [copy("first"), copy("second"), copy("third")], "{told:?}");
    assert_eq!(office.waiting("ops").await, ["first", "second", "third"]);
    office.hears(&first, Event::Resumed).await;
    office.hears(&first, Event::Delivered).await;
    office.say("fourth", Severity::Error).await;
    assert_eq!(office.waiting("ops").await, ["second", "third", "fourth"]);
    assert_eq!(office.waiting("boss").await.len(), 5, "the trouble, three copies, and that it is over");
}

#[tokio::test]
async fn what_stands_for_many_is_not_told_to_the_stand_in_once_more() {
    let mut office = office(&[("ops", "boss")]);
    office.say("number 0,", Severity::Error).await;
    let first = office.in_hand();
    let paused = Event::Paused { tries: 1, due: Tick(0), why: "404".into(), hint: "mend it".into() };
    office.hears(&first, paused).await;
    let mut told = Vec::new();
    for n in 1..100 {
        office.say(&format!("number {n},"), Severity::Error).await;
        while let Some(row) = office.desk.in_hand.get("boss").cloned() {
            told.extend(row.draft.alerts.iter().map(|a| a.text.clone()));
            office.hears(&row, Event::Delivered).await;
        }
    }
    assert!(office.waiting("ops").await.len() < 30, "they are told as few there");
    for n in 0..100 {
        let times = told.iter().filter(|text| text.contains(&format!("number {n},"))).count();
        assert_eq!(times, 1, "number {n}");
    }
}

/// A line that was read now.
fn hit(rule: u32, key: Option<String>, now: Now) -> Hit {
    Hit {
        rule: RuleNo(rule),
        resolves: None,
        key: key.into_iter().map(Into::into).collect(),
        captures: [].into(),
        stamp: None,
        read: now,
        line: "trouble".into(),
        context: None,
        file: "/var/log/x.log".into(),
        file_no: 1,
        backlog: false,
    }
}

impl Office {
    /// From now on `ops` has its messages edited, and a rule speaks to it; one line of it is hit.
    async fn edits(&mut self) {
        let mut policy = policy(&["boss", "ops"]);
        policy.spaces[1].edit = true;
        policy.rules = vec![RulePolicy { spaces: vec!["ops".into()], ..RulePolicy::named("trouble") }];
        self.input(Input::Policy(Box::new(policy)), 0).await;
    }

    async fn hit(&mut self, later: u64) {
        let now = self.desk.clock.now();
        let hit = hit(0, None, now);
        self.input(Input::Hits(vec![hit].into()), later).await;
    }

    /// An opening that has arrived is to be edited, and its edit is in hand.
    async fn edits_an_opening(&mut self) -> OutboxRow {
        self.edits().await;
        self.hit(0).await;
        let opening = self.in_hand();
        self.hears(&opening, Event::Delivered).await;
        self.hit(1).await;
        self.input(Input::Timer, 60).await;
        opening
    }

    /// So many seconds from now the judge is told this, and what it says is committed.
    async fn input(&mut self, input: Input, later: u64) {
        let now = self.desk.clock.now().plus(Duration::from_secs(later));
        let said = self.desk.judge.apply(input, now);
        self.desk.say(said);
        self.desk.commit(BTreeSet::new()).await.unwrap();
    }
}

#[tokio::test]
async fn an_edit_goes_last_gives_way_to_a_newer_one_and_is_a_message_of_its_own_where_there_is_none() {
    let mut office = office(&[]);
    let opening = office.edits_an_opening().await;
    let edit = office.in_hand();
    assert_eq!(edit.draft.edits.as_ref(), Some(&opening.id));
    assert!(!edit.body.contains("threadKey"), "{}", edit.body);

    office.hit(61).await;
    office.input(Input::Timer, 120).await;
    let newer = office.in_hand();
    let waiting = office.desk.store.outbox().await.unwrap();
    assert_eq!(waiting.iter().map(|r| &r.id).collect::<Vec<_>>(), [&newer.id], "never two of a message");
    assert!(newer.id != edit.id && newer.due >= edit.due + EDIT_EVERY, "the older one may be on its way");
    // it was: nobody waits for what became of it
    office.hears(&edit, Event::Gone { why: "404".into() }).await;
    assert_eq!(office.in_hand().id, newer.id);

    office.say("mild", Severity::Info).await;
    let mild = office.in_hand();
    assert_eq!(mild.severity, Severity::Info, "whatever it is, it goes before an edit");
    office.hears(&mild, Event::Delivered).await;
    assert_eq!(office.in_hand().id, newer.id);

    office.hears(&newer, Event::Gone { why: "404".into() }).await;
    let anew = office.in_hand();
    assert_eq!((anew.message, &anew.draft.edits), (newer.message, &None));
    assert!(anew.body.contains(&format!("\"threadKey\":\"{}\"", opening.draft.thread)), "{}", anew.body);
    office.hit(121).await;
    office.input(Input::Timer, 180).await;
    assert_eq!(office.in_hand().id, anew.id, "nothing edits what is not there yet");
    office.hears(&anew, Event::Delivered).await;
    office.input(Input::Timer, 240).await;
    let edit = office.in_hand();
    assert_eq!(edit.draft.edits.as_ref(), Some(&anew.id));
    office.hears(&edit, Event::Delivered).await;
    let ledger = office.desk.judge.report(office.desk.clock.now()).rules["trouble"].ledger;
    assert_eq!((ledger.hits, ledger.shown, ledger.told), (4, 1, 3));
}

#[tokio::test]
async fn a_space_that_takes_no_edits_is_not_sent_a_new_message_for_each() {
    let mut office = office(&[]);
    office.edits_an_opening().await;
    for later in [60, 180] {
        let edit = office.in_hand();
        assert!(edit.draft.edits.is_some());
        office.hears(&edit, Event::Gone { why: "403".into() }).await;
        let anew = office.in_hand();
        assert!(anew.draft.edits.is_none());
        office.hears(&anew, Event::Delivered).await;
        office.hit(later + 1).await;
        office.input(Input::Timer, later + 60).await;
    }
    office.hit(400).await;
    office.input(Input::Timer, 500).await;
    assert!(office.desk.store.outbox().await.unwrap().is_empty(), "what follows is told by a reminder");
    office.input(Input::Timer, 4000).await;
    assert!(office.in_hand().draft.edits.is_none());
    let ledger = office.desk.judge.report(office.desk.clock.now()).rules["trouble"].ledger;
    assert_eq!(ledger.hits, 5);
}

#[tokio::test]
async fn an_edit_that_waits_its_turn_leaves_it_to_the_one_that_takes_its_place() {
    let mut office = office(&[]);
    office.edits_an_opening().await;
    office.hit(61).await;
    office.input(Input::Timer, 120).await;
    let waits = office.in_hand();
    office.hit(121).await;
    office.input(Input::Timer, 180).await;
    let newer = office.in_hand();
    assert_ne!(newer.id, waits.id);
    assert_eq!(newer.due, waits.due, "hits that go on do not put it off");
}

#[tokio::test]
async fn an_edit_that_is_refused_is_plain_first_and_then_a_dead_letter_that_edits_when_it_is_tried_again() {
    let mut office = office(&[]);
    let opening = office.edits_an_opening().await;
    let why = || "400 INVALID_ARGUMENT".to_owned();
    let card = office.in_hand();
    office.hears(&card, Event::Refused { why: why(), resend_plain: true }).await;
    let plain = office.in_hand();
    assert!(plain.plain && plain.draft.edits.as_ref() == Some(&opening.id), "{plain:?}");
    office.hears(&plain, Event::Refused { why: why(), resend_plain: false }).await;
    assert_eq!(office.desk.store.dead_letters().await.unwrap().len(), 1);
    office.input(Input::Timer, 7200).await;
    let which = Which { all: true, ..Which::default() };
    let now = office.desk.clock.now();
    office.desk.retry(which, now).await.unwrap().unwrap();
    let again = office.in_hand();
    assert_eq!((&again.id, again.draft.edits.as_ref()), (&plain.id, Some(&opening.id)));
}

#[tokio::test]
async fn what_there_is_no_room_for_is_told_as_critical_and_once() {
    let mut office = office(&[]);
    office.say("the first of them", Severity::Info).await;
    let one = office.in_hand();
    let now = office.desk.clock.now();
    for no in 0..crate::store::OUTBOX_ROWS + 5 {
        let draft = Message { no: MessageNo(1_000_000 + no), ..Message::clone(&one.draft) };
        let row = office.desk.row(Arc::new(draft), Surface::Card, now);
        office.desk.owed.add.push(row);
    }
    office.desk.commit(BTreeSet::new()).await.unwrap();
    office.desk.commit(BTreeSet::new()).await.unwrap();
    let told = office.waiting("boss").await;
    assert_eq!(told, ["messages for the space `ops` are dropped: no more can be kept"]);
    assert_eq!(office.desk.in_hand["boss"].severity, Severity::Critical);
}
