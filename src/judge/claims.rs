//! Claims that can only be settled together are one: their number is that of what waits, and not of what came.
//!
//! Two spaces that cannot be reached for a night merge what waits for them, each in its own way, and each merged alert
//! carries the claims of all that went into it. A claim that one space alone can settle is joined where alerts are merged
//! (`join_claims`). One that two carry must stay apart for as long as one of the two may arrive without the other's part
//! of it; when the very same messages carry two claims of a rule, no fate can tell them apart, and they are added up
//! (`join_when_many`). The ledger (`ledger.rs`) sees no difference: that is what the test here holds.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Judge;
use super::batch::Lane;
use super::ledger::Term;
use super::rows::RowKey;
use crate::alert::AlertNo;

/// So many claims may be there before it is looked for those that are alike: more than a busy hour has, and 40 KB.
pub(super) const APART: usize = 256;

impl Judge {
    /// The claims that each waiting alert, each message and each edit carries.
    pub(super) fn carried(&self) -> impl Iterator<Item = &Vec<AlertNo>> {
        let queues = self.spaces.values().flat_map(|s| Lane::ALL.iter().map(|l| s.queue(*l)));
        let waiting = queues.flat_map(|q| q.entries.values()).map(|e| &e.claims);
        let flying = self.flights.values().map(|f| &f.claims);
        waiting.chain(flying).chain(self.edited.values().map(|e| &e.claims))
    }

    /// Claims that only one space can settle, added up by rule and term: what is merged is settled together.
    pub(super) fn join_claims(&mut self, claims: &mut Vec<AlertNo>) {
        let mut first: BTreeMap<(Arc<str>, Term), AlertNo> = BTreeMap::new();
        claims.retain(|no| {
            let Some(claim) = self.claims.get(no) else { return false };
            if claim.copies != 1 {
                return true;
            }
            let into = *first.entry((Arc::clone(&claim.rule), claim.term)).or_insert(*no);
            if into != *no {
                self.join(*no, into);
            }
            into == *no
        });
    }

    /// Joins the claims of one rule and term that the same messages carry, once there are many. A look costs what there
    /// is, so the next one comes when there are twice as many as this one leaves.
    pub(super) fn join_when_many(&mut self) {
        if self.claims.len() < self.join_at {
            return;
        }
        let mut carriers: BTreeMap<AlertNo, Vec<usize>> = BTreeMap::new();
        for (carrier, claims) in self.carried().enumerate() {
            for no in claims {
                carriers.entry(*no).or_default().push(carrier);
            }
        }
        let mut first: BTreeMap<(Arc<str>, Term, Vec<usize>), AlertNo> = BTreeMap::new();
        let mut gone: BTreeMap<AlertNo, AlertNo> = BTreeMap::new();
        for (no, carriers) in carriers {
            let Some(claim) = self.claims.get(&no) else { continue };
            let into = *first.entry((Arc::clone(&claim.rule), claim.term, carriers)).or_insert(no);
            if into != no {
                gone.insert(no, into);
            }
        }
        for (no, into) in &gone {
            self.join(*no, *into);
        }
        if !gone.is_empty() {
            self.carry_no_more(&gone);
        }
        self.join_at = APART.max(2 * self.claims.len());
    }

    /// One claim's hits become another's.
    fn join(&mut self, no: AlertNo, into: AlertNo) {
        let Some(claim) = self.claims.remove(&no) else { return };
        if let Some(into) = self.claims.get_mut(&into) {
            into.hits += claim.hits;
        }
        self.dirty.extend([RowKey::Claim(no), RowKey::Claim(into)]);
    }

    /// Takes claims that were joined to others out of everything that carries them.
    fn carry_no_more(&mut self, gone: &BTreeMap<AlertNo, AlertNo>) {
        let Judge { spaces, flights, edited, dirty, .. } = self;
        let mut lighten = |claims: &mut Vec<AlertNo>, row: &dyn Fn() -> RowKey| {
            let before = claims.len();
            claims.retain(|no| !gone.contains_key(no));
            if claims.len() < before {
                dirty.insert(row());
            }
        };
        for (name, space) in spaces {
            for lane in Lane::ALL {
                for (no, entry) in &mut space.queue_mut(lane).entries {
                    lighten(&mut entry.claims, &|| RowKey::Wait(Arc::clone(name), *no));
                }
            }
        }
        for (no, flight) in flights {
            lighten(&mut flight.claims, &|| RowKey::Flight(*no));
        }
        for (thread, edited) in edited {
            lighten(&mut edited.claims, &|| RowKey::Edited(thread.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::hit::{Hit, RuleNo};
    use crate::judge::batch::QUEUE;
    use crate::judge::{Input, Policy, Recall, RulePolicy, SpacePolicy};
    use crate::message::{Fate, Message};
    use crate::redact::Redactor;
    use crate::time::{Now, Tick, Wall};

    const START: Now = Now { wall: Wall(1_795_325_160_000), tick: Tick(50_000) };

    /// Three rules; each speaks to two or three spaces.
    fn judge() -> Judge {
        let space = |name: &str| SpacePolicy {
            name: name.into(),
            wait: Duration::from_secs(5),
            wait_at_most: Duration::from_secs(30),
            max_per_hour: 20,
            digest_every: Duration::from_secs(600),
            mention: BTreeMap::new(),
            edit: name == "c",
        };
        let rule = |name: &str, spaces: &[&str]| RulePolicy {
            by: vec!["k".into()],
            captures: vec!["k".into()],
            spaces: spaces.iter().map(|s| Arc::from(*s)).collect(),
            max_per_hour: 3600,
            quiet: Duration::from_secs(60),
            remind: Duration::from_secs(30),
            ..RulePolicy::named(name)
        };
        let policy = Policy {
            rules: vec![
                rule("two", &["a", "b"]),
                rule("three", &["a", "b", "c"]),
                rule("others", &["b", "c"]),
            ],
            spaces: vec![space("a"), space("b"), space("c")],
            admin: "a".into(),
            host: "web1".into(),
            redactor: Redactor::new(),
            late_after: Duration::from_secs(3600),
            memory: crate::judge::MEMORY,
            alive: None,
            mutes: Vec::new(),
        };
        Judge::new(policy, Vec::new(), [3; 16], START).0
    }

    #[derive(Clone, Debug)]
    enum Step {
        /// So many hits of a rule, each of a key of its own among so many.
        Hits(u32, u8, u8),
        Wait(u64),
        /// What becomes of the nth message that is not settled.
        Fate(usize, Fate),
        /// What waits in a space, and was not tried, is told as one.
        Recall(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        let fate =
            prop_oneof![4 => Just(Fate::Delivered), 1 => Just(Fate::DeadLettered), 2 => Just(Fate::Dropped)];
        prop_oneof![
            4 => (0u32..3, 1u8..60, 1u8..=255).prop_map(|(rule, hits, keys)| Step::Hits(rule, hits, keys)),
            3 => (0u64..120_000).prop_map(Step::Wait),
            3 => (any::<usize>(), fate).prop_map(|(nth, fate)| Step::Fate(nth, fate)),
            1 => (0usize..3).prop_map(Step::Recall),
        ]
    }

    /// A judge with the messages that it has said and that are not settled.
    struct Side {
        judge: Judge,
        said: BTreeMap<crate::message::MessageNo, Message>,
        keys: u64,
    }

    impl Side {
        fn apply(&mut self, input: Input, now: Now, join: bool) -> Vec<Message> {
            self.judge.join_at = if join { 0 } else { usize::MAX };
            let said = self.judge.apply(input, now);
            self.said.extend(said.iter().map(|m| (m.no, m.clone())));
            said
        }

        fn input(&mut self, step: &Step, now: Now) -> Input {
            match step {
                Step::Wait(_) => Input::Timer,
                Step::Hits(rule, hits, keys) => {
                    let hit = |n: u64| {
                        let key = format!("k{}", n % u64::from(*keys));
                        Hit {
                            rule: RuleNo(*rule),
                            resolves: None,
                            key: Box::new([key.as_str().into()]),
                            captures: [Some(key.as_str().into())].into(),
                            stamp: None,
                            read: now,
                            line: "a line".into(),
                            file: "/var/log/x.log".into(),
                            file_no: 1,
                            backlog: false,
                            context: None,
                        }
                    };
                    self.keys += u64::from(*hits);
                    let hits: Vec<Hit> = (self.keys - u64::from(*hits)..self.keys).map(hit).collect();
                    Input::Hits(hits.into())
                }
                Step::Fate(nth, fate) => {
                    let unsettled: Vec<_> = self.judge.unsettled().collect();
                    let Some(&message) = unsettled.get(nth % unsettled.len().max(1)) else {
                        return Input::Timer;
                    };
                    Input::Fate { message, fate: *fate }
                }
                Step::Recall(space) => {
                    let space = ["a", "b", "c"][*space];
                    let alive: Vec<_> = self.judge.unsettled().collect();
                    let waits =
                        |m: &&Message| &*m.space == space && m.edits.is_none() && alive.contains(&m.no);
                    let messages: Vec<_> = self.said.values().filter(waits).cloned().map(Arc::new).collect();
                    Input::Recall { messages, why: Recall::Crowded }
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// Joined after every input or never: the same messages, the same books.
        #[test]
        fn the_ledger_sees_no_difference(steps in prop::collection::vec(step(), 1..60)) {
            let side = || Side { judge: judge(), said: BTreeMap::new(), keys: 0 };
            let (mut joined, mut apart) = (side(), side());
            let mut now = START;
            for step in &steps {
                if let Step::Wait(ms) = step {
                    now = now.plus(Duration::from_millis(*ms));
                }
                let (one, other) = (joined.input(step, now), apart.input(step, now));
                prop_assert_eq!(joined.apply(one, now, true), apart.apply(other, now, false));
                prop_assert_eq!(
                    format!("{:?}", joined.judge.report(now).rules),
                    format!("{:?}", apart.judge.report(now).rules)
                );
                prop_assert!(joined.judge.claims.len() <= apart.judge.claims.len());
            }
        }
    }

    /// A night in which neither of two spaces can be reached: a claim an alert would be 36,000 claims.
    #[test]
    fn what_two_spaces_wait_for_does_not_grow_with_what_came() {
        let mut side = Side { judge: judge(), said: BTreeMap::new(), keys: 0 };
        let mut now = START;
        let (mut early, mut late) = (0, 0);
        for minute in 0..600 {
            for rule in 0..3 {
                let input = side.input(&Step::Hits(rule, 20, 255), now);
                side.judge.apply(input, now).into_iter().for_each(|m| _ = side.said.insert(m.no, m));
            }
            if minute % 5 == 4 {
                for space in 0..3 {
                    let input = side.input(&Step::Recall(space), now);
                    let said = side.judge.apply(input, now);
                    side.said.extend(said.into_iter().map(|m| (m.no, m)));
                    let waiting: Vec<_> = side.judge.unsettled().collect();
                    side.said.retain(|no, _| waiting.contains(no));
                }
            }
            now = now.plus(Duration::from_secs(60));
            let most = if minute < 200 { &mut early } else { &mut late };
            *most = side.judge.claims.len().max(*most);
        }
        // what waits in three queues, and as much again until the next look
        assert!(early > APART && late <= 2 * 3 * (QUEUE + APART), "{early} claims early, {late} late");
        assert!(late * 10 <= early * 12, "{early} claims early, {late} late");
        // the night is over: everything arrives, and every hit is in a count that did
        for _ in 0..3 {
            for message in side.judge.unsettled().collect::<Vec<_>>() {
                side.judge.apply(Input::Fate { message, fate: Fate::Delivered }, now);
            }
            now = now.plus(Duration::from_secs(24 * 3600));
            side.judge.apply(Input::Watched { up_to: now.tick }, now);
        }
        for (name, rule) in side.judge.report(now).rules {
            let told = rule.ledger.shown + rule.ledger.told;
            assert_eq!((rule.ledger.hits, rule.pending), (told, 0), "{name}");
        }
    }
}
