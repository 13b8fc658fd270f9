//! A message in a few words: what a scenario expects and what a comparison lists, where a drawn card would be too much.
//!
//! It holds all that the judge decided and nothing that only looks: which moment, of what, how many hits of when, what
//! was held back. Every text of a log is shown with its control characters spelled out, so that none paints the
//! terminal or breaks a line.

use std::fmt::Write as _;

use crate::alert::{Alert, What};
use crate::message::Message;
use crate::time::Wall;

/// The alerts of a message, each on lines that begin with `lead`. Times of another day than `today` say which.
pub(super) fn alerts(message: &Message, lead: &str, today: Wall) -> String {
    message.alerts.iter().map(|a| alert(a, lead, today)).collect()
}

/// One alert; writing to a `String` cannot fail.
fn alert(alert: &Alert, lead: &str, today: Wall) -> String {
    let mut out = format!("{lead}{} {}", verb(alert.what), shown(&alert.rule));
    for (name, value) in &alert.key {
        _ = write!(out, " {}={}", shown(name), shown(value));
    }
    if alert.what != What::Notice {
        _ = write!(out, " · {}", count(alert.hits, "hit"));
        if alert.total != alert.hits {
            _ = write!(out, ", {} in all", alert.total);
        }
        if alert.incidents != 1 {
            _ = write!(out, " of {} incidents", alert.incidents);
        }
        _ = write!(out, " · {}", clock(alert.first, today));
        if alert.last != alert.first {
            _ = write!(out, "–{}", clock(alert.last, alert.first));
        }
    }
    out.push('\n');
    for line in alert.text.lines() {
        _ = writeln!(out, "{lead}   {}", shown(line));
    }
    if !alert.held.is_empty() {
        let held: Vec<String> =
            alert.held.iter().map(|h| format!("{} {}", h.count, shown(&h.reason))).collect();
        _ = writeln!(out, "{lead}   held back: {}", held.join(" · "));
    }
    if let Some(hint) = &alert.hint {
        _ = writeln!(out, "{lead}   hint: {}", shown(hint));
    }
    out
}

/// What an alert tells, in a word or two.
pub(super) fn verb(what: What) -> &'static str {
    match what {
        What::Opening => "opened",
        What::Reminder => "goes on",
        What::End => "ended",
        What::Resolved => "resolved",
        What::Again => "again",
        What::Missing => "missing",
        What::Seen => "seen",
        What::CannotTell => "cannot tell",
        What::Known => "nothing new",
        What::Fold => "fold of",
        What::WhileAway => "while away",
        What::Digest => "digest of",
        What::Unmuted => "no longer muted",
        What::Uninhibited => "no longer inhibited",
        What::Notice => "notice",
    }
}

/// `1 hit`, `2 hits`.
pub(super) fn count(n: u64, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

/// `05:26:00`, behind its date where that is not `today`'s; in UTC.
pub(super) fn clock(at: Wall, today: Wall) -> String {
    let text = at.to_string();
    let (day, time) = text.split_once('T').unwrap_or(("", &text));
    let time = time.trim_end_matches('Z').trim_end_matches(".000");
    if today.to_string().starts_with(day) { time.to_owned() } else { format!("{day} {time}") }
}

/// `2026-11-22 05:26:00`, in UTC.
pub(super) fn moment(at: Wall) -> String {
    let text = at.to_string();
    text.trim_end_matches('Z').trim_end_matches(".000").replacen('T', " ", 1)
}

/// Control characters spelled out.
pub(super) fn shown(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_says_its_day_only_where_it_is_another() {
        let at = Wall(1_795_325_160_000);
        assert_eq!(clock(at, at), "05:26:00");
        assert_eq!(clock(Wall(at.0 + 1500), at), "05:26:01.500");
        assert_eq!(clock(Wall(at.0 - 86_400_000), at), "2026-11-21 05:26:00");
    }
}
