//! What one set of rules does otherwise than another, on the same logs.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::backtest::{Run, message_json};
use super::brief::{self, count, moment, shown};
use super::tally_text::{COLUMNS, cut};
use crate::message::Message;

/// Messages that are listed of each side.
const LISTED: usize = 50;

/// The difference.
#[derive(Debug)]
pub(super) struct Against {
    new: PathBuf,
    old: PathBuf,
    rules: Vec<Changed>,
    spaces: Vec<(String, u64, u64)>,
    only_new: Vec<Message>,
    only_old: Vec<Message>,
}

/// A rule's counts with the old rules and with the new; `None`: it is not among them.
#[derive(Debug)]
struct Changed {
    name: String,
    hits: [Option<u64>; 2],
    alerts: [u64; 2],
}

impl Against {
    pub(super) fn new(new_path: &Path, new: &Run, old_path: &Path, old: &Run) -> Against {
        let names: BTreeSet<&str> = old.names.iter().chain(&new.names).map(|n| &**n).collect();
        let rules = names.into_iter().map(|name| {
            let [(old_hits, old_alerts), (new_hits, new_alerts)] = [old, new].map(|run| {
                let tally = run.names.iter().position(|n| **n == *name).map(|no| &run.tally.rules[no]);
                let alerts = |t: &super::tally::RuleTally| {
                    t.days.values().map(|d| d.opened + d.reminded + d.ended + d.folds).sum()
                };
                (tally.map(|t| t.hits), tally.map_or(0, alerts))
            });
            Changed { name: name.to_owned(), hits: [old_hits, new_hits], alerts: [old_alerts, new_alerts] }
        });
        let rules = rules.filter(|r| r.hits[0] != r.hits[1] || r.alerts[0] != r.alerts[1]).collect();
        let names: BTreeSet<&str> =
            old.tally.spaces.keys().chain(new.tally.spaces.keys()).map(|n| &**n).collect();
        let sent = |run: &Run, name: &str| run.tally.spaces.get(name).map_or(0, |s| s.messages);
        let spaces = names.into_iter().map(|n| (n.to_owned(), sent(old, n), sent(new, n))).collect();
        Against {
            new: new_path.to_owned(),
            old: old_path.to_owned(),
            rules,
            spaces,
            only_new: only_in(&new.messages, &old.messages),
            only_old: only_in(&old.messages, &new.messages),
        }
    }

    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "\nagainst {}", shown(&self.old.display().to_string()))?;
        if self.rules.is_empty() && self.only_new.is_empty() && self.only_old.is_empty() {
            return writeln!(out, "   no difference");
        }
        for rule in &self.rules {
            let hits = rule.hits.map(|h| h.map_or("–".to_owned(), |h| h.to_string()));
            let [old, new] = rule.alerts;
            writeln!(out, "   {}: hits {} → {}, alerts {old} → {new}", shown(&rule.name), hits[0], hits[1])?;
        }
        for (name, old, new) in &self.spaces {
            writeln!(out, "   messages to {}: {old} → {new}", shown(name))?;
        }
        for (path, messages) in [(&self.old, &self.only_old), (&self.new, &self.only_new)] {
            if messages.is_empty() {
                continue;
            }
            let of = count(messages.len() as u64, "message");
            writeln!(out, "{of} only with {}", shown(&path.display().to_string()))?;
            for message in messages.iter().take(LISTED) {
                writeln!(out, "   {} {} · {}", moment(message.at), shown(&message.space), message.severity)?;
                for line in brief::alerts(message, "      ", message.at).lines() {
                    writeln!(out, "{}", cut(line, COLUMNS))?;
                }
            }
            if messages.len() > LISTED {
                writeln!(out, "   and {} more", messages.len() - LISTED)?;
            }
        }
        Ok(())
    }

    pub(super) fn to_json(&self) -> Value {
        let rules: serde_json::Map<String, Value> = self
            .rules
            .iter()
            .map(|r| (r.name.clone(), json!({ "hits": r.hits, "alerts": r.alerts })))
            .collect();
        let spaces: serde_json::Map<String, Value> =
            self.spaces.iter().map(|(name, old, new)| (name.clone(), json!([old, new]))).collect();
        json!({
            "old": self.old,
            "rules": rules,
            "messages": spaces,
            "only_old": self.only_old.iter().map(message_json).collect::<Vec<_>>(),
            "only_new": self.only_new.iter().map(message_json).collect::<Vec<_>>(),
        })
    }
}

/// Messages of `all` that `others` has not: the same at the same time in the same space.
fn only_in(all: &[Message], others: &[Message]) -> Vec<Message> {
    let same = |m: &Message| (m.at, m.space.clone(), brief::alerts(m, "", m.at));
    let mut known: std::collections::BTreeMap<_, u64> = std::collections::BTreeMap::new();
    for message in others {
        *known.entry(same(message)).or_default() += 1;
    }
    let is_new = |m: &&Message| match known.get_mut(&same(m)) {
        Some(left) if *left > 0 => {
            *left -= 1;
            false
        }
        _ => true,
    };
    all.iter().filter(is_new).cloned().collect()
}
