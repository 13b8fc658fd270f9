//! `[judge]`: what holds for every rule.

use std::time::Duration;

use super::walk::Table;

const KEYS: [&str; 1] = ["late_after"];
const LATER: [&str; 1] = ["memory"];

/// Openings of lines that lay unread and are older than this fold into "while away".
const LATE_AFTER: Duration = Duration::from_secs(3600);
/// Below this a restart would be a time away; beyond it nothing would be.
const LEAST: Duration = Duration::from_secs(60);
const MOST: Duration = Duration::from_secs(30 * 86_400);

/// Reads the table of the main file: how old a line that lay unread may be and still open by itself.
pub(super) fn late_after(main: &Table<'_>) -> Duration {
    let Some(table) = main.get("judge").and_then(|v| v.table()) else { return LATE_AFTER };
    table.check_keys(&KEYS, &LATER);
    table.get("late_after").and_then(|v| v.duration(&(LEAST..=MOST))).unwrap_or(LATE_AFTER)
}
