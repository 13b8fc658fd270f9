//! `[judge]`: what holds for every rule, and which rules may want more memory than there is.

use std::time::Duration;

use super::rule::Draft;
use super::value;
use super::walk::Table;
use crate::judge::{KEYS_A_RULE, MEMORY, window_bytes};

const KEYS: [&str; 2] = ["late_after", "memory"];

/// Openings of lines that lay unread and are older than this fold into "while away".
const LATE_AFTER: Duration = Duration::from_secs(3600);
/// Below this a restart would be a time away; beyond it nothing would be.
const LEAST: Duration = Duration::from_secs(60);
const MOST: Duration = Duration::from_secs(30 * 86_400);

/// Below this a dozen rules drive each other's keys out; beyond it what is meant is another machine.
const LEAST_MEMORY: u64 = 1 << 20;
const MOST_MEMORY: u64 = 16 << 30;

/// What the table says.
#[derive(Clone, Copy, Debug)]
pub(super) struct ForAll {
    /// How old a line that lay unread may be and still open by itself.
    pub(super) late_after: Duration,
    /// Bytes that the judge may hold.
    pub(super) memory: u64,
}

/// Reads the table of the main file.
pub(super) fn judge(main: &Table<'_>) -> ForAll {
    let table = main.get("judge").and_then(|v| v.table());
    if let Some(table) = &table {
        table.check_keys(&KEYS);
    }
    let get = |key| table.as_ref().and_then(|t| t.get(key));
    ForAll {
        late_after: get("late_after").and_then(|v| v.duration(&(LEAST..=MOST))).unwrap_or(LATE_AFTER),
        memory: get("memory").and_then(|v| v.size(&(LEAST_MEMORY..=MOST_MEMORY))).unwrap_or(MEMORY),
    }
}

/// Warns of rules that alone may want more than there is: not of what they will, but of what somebody can make them.
pub(super) fn warn_of_memory(rules: &[Draft<'_>], memory: u64) {
    for rule in rules.iter().filter(|r| r.enabled) {
        let Some(body) = rule.body.as_ref().filter(|b| !b.by_names.is_empty()) else { continue };
        let keys = KEYS_A_RULE as u64;
        let wants = window_bytes(body.threshold, body.judged.distinct.is_some()) * keys;
        if body.threshold > 1 && wants > memory {
            let message = format!(
                "a `threshold` of {} for {keys} keys at once takes {}, and `memory` is {}",
                body.threshold,
                value::size_text(wants >> 20 << 20),
                value::size_text(memory)
            );
            let hint = "beyond it the least recently hit keys are let go, counted; lower `threshold`, or raise [judge] memory";
            rule.scope.warn(rule.name.span.clone(), message, hint);
        }
    }
}
