//! What the judge would say of one line, and what its limits are: the last question of `explain`.
//!
//! The line is given to a judge that has seen nothing, so what it says is what it would say of the first such line. What
//! an agent that has run for a day would say hangs on that day: `status` and the last line of each message tell.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use crate::agent::Replay;
use crate::alert::What;
use crate::config::Settings;
use crate::hit::RuleNo;
use crate::judge::{Policy, RulePolicy};
use crate::line::{Block, BlockEnd, Field, Record};
use crate::rules::RuleSet;
use crate::template::span_text;
use crate::time::Now;

use super::past_logs::{self, UNNAMED};

/// A rule's opening that is held is waited for so long: longer than any `hold`, or any batch.
const PATIENCE: Duration = Duration::from_secs(25 * 3600);

/// A judge without a past, and the rules that find hits for it.
#[derive(Debug)]
pub(super) struct Limiter {
    rules: RuleSet,
    policy: Policy,
    /// What was said of a rule: it hangs on nothing that a line says.
    known: BTreeMap<RuleNo, Vec<String>>,
}

impl Limiter {
    pub(super) fn new(settings: &Settings) -> Limiter {
        Limiter {
            rules: past_logs::every_rule(settings),
            policy: settings.policy.clone(),
            known: BTreeMap::new(),
        }
    }

    /// What would become of the hits that this line is, by rule: each is told alone.
    pub(super) fn of(&mut self, line: &[u8], fields: &[Field], now: Now) -> BTreeMap<RuleNo, Vec<String>> {
        let mut hits = Vec::new();
        let record = Record { end: line.len() as u32, fields: (0, fields.len() as u32), ..Record::default() };
        if !line.is_empty() {
            self.rules.scan(
                &Block {
                    source: UNNAMED,
                    file: &"".into(),
                    file_no: 1,
                    offset: 0,
                    bytes: line,
                    end: BlockEnd::Whole,
                    hit_early: &[],
                    read: now,
                    backlog: false,
                    records: &[record],
                    fields,
                    earlier: None,
                },
                &mut hits,
            );
        }
        let mut told = BTreeMap::new();
        for hit in hits.into_iter().filter(|h| h.resolves.is_none()) {
            let Some(rule) = self.policy.rules.get(hit.rule.0 as usize) else { continue };
            let no = hit.rule;
            if let Some(known) = self.known.get(&no) {
                told.insert(no, known.clone());
                continue;
            }
            let mut said = Vec::new();
            let mut replay = Replay::new(self.policy.clone(), now.wall).without_restarts();
            replay.hits(vec![hit].into(), &mut |m| said.push((m.space.clone(), m.at)));
            let at_once = !said.is_empty();
            replay.wait(PATIENCE, &mut |m| {
                if m.alerts.iter().any(|a| a.what == What::Opening) {
                    said.push((m.space.clone(), m.at));
                }
            });
            let spaces: Vec<String> = said.iter().map(|(space, _)| format!("`{space}`")).collect();
            let first = match said.first() {
                None => "a first hit is not shown yet".to_owned(),
                Some(_) if at_once => {
                    format!("a first hit is shown at once, to {}", spaces.join(", "))
                }
                Some((_, at)) => format!(
                    "a first hit is shown after {}, to {}",
                    span_text(at.since(now.wall)),
                    spaces.join(", ")
                ),
            };
            let said = vec![first, limits(rule, &self.policy)];
            self.known.insert(no, said.clone());
            told.insert(no, said);
        }
        told
    }
}

/// The limits that stand between an opening and its spaces, from the inside out.
fn limits(rule: &RulePolicy, policy: &Policy) -> String {
    let burst = (rule.max_per_hour / 6).max(1);
    let mut out = format!(
        "limits: {} openings and reminders an hour, {burst} at once, then one fold",
        rule.max_per_hour
    );
    for space in policy.spaces.iter().filter(|s| rule.spaces.contains(&s.name)) {
        // writing to a `String` cannot fail
        _ = write!(out, "; {} messages an hour to `{}`, then a digest", space.max_per_hour, space.name);
    }
    out
}
