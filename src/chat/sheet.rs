//! What a message says, in words, before any surface draws it: the card, the plain text and the terminal all draw
//! one [`Sheet`], so that they cannot tell different stories.
//!
//! Its strings are clean (see [`super::escape`]) and escaped for no surface yet. How much detail it holds is chosen from
//! outside: [`fit`] tries the steps from the richest to the barest and takes the first that the surface
//! accepts. Samples go first, then texts and keys; a rule's name and its counts are never cut.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::command;
use super::escape::{clean, clean_lines};
use super::split::{cut, first_lines};
use crate::alert::{Alert, Sample, Severity, What};
use crate::message::Message;
use crate::template::span_text;
use crate::time::Wall;

/// A rule's name is drawn whole up to here; `check` allows no longer one.
const NAME_CHARS: usize = 100;
/// A host's name is drawn whole up to here; DNS allows 253, nobody uses them.
const HOST_CHARS: usize = 100;
/// Lines of one message text: more than a screen of them is not read.
const TEXT_LINES: usize = 20;
/// Characters of a line beside the one that hit: enough to see what was going on.
const AROUND_CHARS: usize = 200;
/// Held-back reasons drawn for one alert; there are fewer reasons than this.
const HELD: usize = 8;
/// Rules named one by one in the line that stands for alerts left out.
const REST_RULES: usize = 10;
/// A link longer than this is no link anybody made.
const LINK_BYTES: usize = 1000;

/// A message in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sheet {
    /// The worst severity.
    pub(super) severity: Severity,
    /// `🔴 critical on web1`.
    pub(super) title: String,
    /// What it is about: the rule, or how many alerts.
    pub(super) subtitle: String,
    /// One for each alert that is drawn by itself, in the message's order.
    pub(super) blocks: Vec<Block>,
    /// Stands for the alerts that are not drawn by themselves, with their counts.
    pub(super) rest: Option<String>,
}

/// One alert in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// How bad.
    pub(super) severity: Severity,
    /// Rule's name and, but for an opening, its moment: `nginx-5xx · goes on`.
    pub(super) name: String,
    /// `ip=192.0.2.1 · user=root`.
    pub(super) key: Option<String>,
    /// `37 hits in 30s, 157 in all`; none for a notice.
    pub(super) counts: Option<String>,
    /// Event time of the first and last hit.
    pub(super) when: String,
    /// The rule's message, filled in; may have several lines.
    pub(super) text: Option<String>,
    /// Evidence: where and when, and the line.
    pub(super) samples: Vec<(String, String)>,
    /// Samples that are not drawn.
    pub(super) samples_left_out: usize,
    /// An http or https link, never from a log.
    pub(super) runbook: Option<String>,
    /// `12 repeats, 3 openings over the rule's limit`.
    pub(super) held: Option<String>,
    /// `2 secrets taken out`: of its lines, and so of whatever was made of them.
    pub(super) secrets: Option<String>,
    /// The command that silences it, with what it does: never folded or cut, since it is to be pasted.
    pub(super) silence: Option<String>,
    /// What to do.
    pub(super) hint: Option<String>,
}

/// How much of a message is drawn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Detail {
    /// Alerts drawn by themselves.
    blocks: usize,
    /// Samples an alert.
    samples: usize,
    /// Characters of a sample.
    sample_chars: usize,
    /// Characters of a text, a hint.
    text_chars: usize,
    /// Characters of a key.
    key_chars: usize,
    /// Held-back line and runbook too.
    trimmings: bool,
    /// The lines around a sample.
    around: bool,
}

const fn detail(
    blocks: usize,
    samples: usize,
    text_chars: usize,
    key_chars: usize,
    trimmings: bool,
) -> Detail {
    Detail { blocks, samples, sample_chars: 500, text_chars, key_chars, trimmings, around: false }
}

/// From the richest to the barest; the last fits every surface, whatever the message holds.
const STEPS: [Detail; 15] = [
    Detail { around: true, ..detail(usize::MAX, 5, 1500, 400, true) },
    detail(usize::MAX, 5, 1500, 400, true),
    detail(usize::MAX, 1, 1500, 400, true),
    detail(usize::MAX, 0, 1500, 400, true),
    detail(usize::MAX, 0, 400, 400, true),
    detail(usize::MAX, 0, 150, 200, true),
    detail(usize::MAX, 0, 0, 200, true),
    detail(usize::MAX, 0, 0, 60, false),
    detail(90, 0, 0, 60, false),
    detail(45, 0, 0, 60, false),
    detail(20, 0, 0, 60, false),
    detail(10, 0, 0, 60, false),
    detail(5, 0, 0, 30, false),
    detail(1, 0, 0, 30, false),
    detail(0, 0, 0, 0, false),
];

/// The first drawing that `draw` is content with, richest first; else the barest, as `draw` gave it up.
///
/// `draw` returns the drawing and whether it keeps the surface's limits.
pub(super) fn fit(message: &Message, mut draw: impl FnMut(&Sheet) -> (String, bool)) -> String {
    let mut last = String::new();
    for step in STEPS {
        let (drawn, fits) = draw(&Sheet::new(message, step));
        if fits {
            return drawn;
        }
        last = drawn;
    }
    last
}

impl Sheet {
    fn new(message: &Message, d: Detail) -> Sheet {
        let (shown, rest) = message.alerts.split_at(d.blocks.min(message.alerts.len()));
        let severity = message.severity;
        Sheet {
            severity,
            title: format!("{} {severity} on {}", emoji(severity), name(&message.host, HOST_CHARS)),
            subtitle: subtitle(&message.alerts),
            blocks: shown.iter().map(|a| Block::new(a, &message.space, d)).collect(),
            rest: (!rest.is_empty()).then(|| rest_line(rest)),
        }
    }
}

impl Block {
    fn new(alert: &Alert, space: &str, d: Detail) -> Block {
        let rule = name(who(alert), NAME_CHARS);
        let key: Vec<String> =
            alert.key.iter().take(16).map(|(k, v)| format!("{}={}", clean(k), clean(v))).collect();
        let held: Vec<String> = alert
            .held
            .iter()
            .take(HELD)
            .map(|h| cut(&counted(h.count, &clean(&h.reason)), 100).into_owned())
            .collect();
        let samples: Vec<(String, String)> = alert
            .samples
            .iter()
            .take(d.samples)
            .map(|s| {
                let place = format!("{} {}", clock(s.at), cut(&clean(&s.file), 120));
                (place, sample_text(s, d))
            })
            .collect();
        let text = cut(&first_lines(&clean_lines(&alert.text), TEXT_LINES), d.text_chars).into_owned();
        let taken: u64 = alert.samples.iter().map(|s| u64::from(s.secrets)).sum();
        let secrets =
            if taken == 0 { String::new() } else { format!("{} taken out", counted(taken, "secrets")) };
        // a message that is nothing but the one line below it is said once
        let line = |s: &Sample| cut(&clean(&s.line), d.sample_chars).into_owned();
        let drawn = &alert.samples[..samples.len()];
        let said = matches!(drawn, [one] if line(one) == text);
        Block {
            severity: alert.severity,
            name: match moment(alert.what) {
                "" => rule,
                moment => format!("{rule} · {moment}"),
            },
            key: some(cut(&key.join(" · "), d.key_chars).into_owned()),
            counts: counts(alert),
            when: when(alert.first, alert.last),
            text: some(text).filter(|_| !said),
            samples,
            samples_left_out: alert.samples.len().saturating_sub(d.samples),
            runbook: alert.runbook.as_deref().filter(|r| d.trimmings && is_link(r)).map(str::to_owned),
            held: some(if d.trimmings { held.join(", ") } else { String::new() }),
            secrets: some(secrets).filter(|_| d.trimmings),
            silence: command::silence(alert, space).filter(|_| d.trimmings),
            hint: alert.hint.as_deref().and_then(|h| some(cut(&clean_lines(h), d.text_chars).into_owned())),
        }
    }
}

/// A line, and where its rule asks for them, those around it: it is marked then.
fn sample_text(sample: &Sample, d: Detail) -> String {
    let line = cut(&clean(&sample.line), d.sample_chars).into_owned();
    if !d.around || sample.before.is_empty() && sample.after.is_empty() {
        return line;
    }
    let around = |l: &str| format!("  {}", cut(&clean(l), AROUND_CHARS));
    let before = sample.before.iter().map(|l| around(l));
    let lines: Vec<String> =
        before.chain([format!("▸ {line}")]).chain(sample.after.iter().map(|l| around(l))).collect();
    lines.join("\n")
}

/// The sign of a severity, the same on every surface.
pub(super) fn emoji(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "🔵",
        Severity::Warning => "🟡",
        Severity::Error => "🟠",
        Severity::Critical => "🔴",
    }
}

/// Only what a browser opens as a page, with nothing in it that could end an attribute or hide its target.
fn is_link(text: &str) -> bool {
    text.len() <= LINK_BYTES
        && !text.chars().any(|c| c.is_whitespace() || c.is_control() || matches!(c, '<' | '>' | '"' | '\''))
        && url::Url::parse(text).is_ok_and(|u| {
            matches!(u.scheme(), "https" | "http") && u.username().is_empty() && u.password().is_none()
        })
}

fn moment(what: What) -> &'static str {
    match what {
        What::Opening => "",
        What::Reminder => "goes on",
        What::End => "ended",
        What::Resolved => "resolved",
        What::Again => "again",
        What::Missing => "missing",
        What::Seen => "seen",
        What::CannotTell => "cannot tell",
        What::Known => "nothing new",
        What::Fold => "many at once",
        What::WhileAway => "while away",
        What::Digest => "digest",
        What::Unmuted => "no longer muted",
        What::Uninhibited => "no longer inhibited",
        What::Notice => "notice",
    }
}

/// The counts of one alert. Exactly one `N hit` or `N hits` stands in it: what this alert accounts for.
fn counts(alert: &Alert) -> Option<String> {
    let without = matches!(alert.what, What::Notice | What::Missing | What::Seen | What::CannotTell);
    if without && alert.hits == 0 {
        return None;
    }
    let mut out = hits(alert.hits);
    if alert.incidents != 1 {
        _ = write!(out, " in {} incidents", alert.incidents);
    }
    let span = alert.last.since(alert.first);
    if alert.hits > 1 && span >= Duration::from_secs(1) {
        _ = write!(out, " within {}", span_text(span));
    }
    if alert.total != alert.hits {
        _ = write!(out, ", {} in all", alert.total);
    }
    Some(out)
}

fn hits(count: u64) -> String {
    counted(count, "hits")
}

/// `3 repeats of this`, `1 repeat of this`: one of something has no plural.
fn counted(count: u64, what: &str) -> String {
    let (first, rest) = what.split_at(what.find(' ').unwrap_or(what.len()));
    let first = if count == 1 { first.strip_suffix('s').unwrap_or(first) } else { first };
    format!("{count} {first}{rest}")
}

/// Who speaks: a rule, or the agent of itself. What a notice is about is a name for machines; its text says it.
pub(super) fn who(alert: &Alert) -> &str {
    if alert.what == What::Notice { "logherald" } else { &alert.rule }
}

fn subtitle(alerts: &[Alert]) -> String {
    match alerts {
        [one] => name(who(one), NAME_CHARS),
        many => {
            let mut rules: Vec<&str> = Vec::new();
            for a in many {
                if !rules.contains(&who(a)) && rules.len() <= 4 {
                    rules.push(who(a));
                }
            }
            let more = if rules.len() > 4 { ", …" } else { "" };
            let names: Vec<String> = rules.iter().take(4).map(|r| name(r, 40)).collect();
            format!("{} alerts: {}{more}", many.len(), names.join(", "))
        }
    }
}

fn rest_line(rest: &[Alert]) -> String {
    let mut by_rule: BTreeMap<&str, u64> = BTreeMap::new();
    let mut all = 0u64;
    for a in rest {
        let sum = by_rule.entry(who(a)).or_default();
        *sum = sum.saturating_add(a.hits);
        all = all.saturating_add(a.hits);
    }
    let named: Vec<String> =
        by_rule.iter().take(REST_RULES).map(|(r, n)| format!("{} {n}", name(r, 40))).collect();
    let more = by_rule.len().saturating_sub(REST_RULES);
    let tail = if more > 0 { format!(", {more} more rules") } else { String::new() };
    let alerts = if rest.len() == 1 { "alert" } else { "alerts" };
    format!("{} more {alerts}, {} ({}{tail})", rest.len(), hits(all), named.join(", "))
}

fn name(text: &str, max: usize) -> String {
    cut(&clean(text), max).into_owned()
}

fn some(text: String) -> Option<String> {
    (!text.trim().is_empty()).then_some(text)
}

/// `22 Nov 08:03:59 – 08:04:29 UTC`.
fn when(first: Wall, last: Wall) -> String {
    let (Some(a), Some(b)) = (utc(first), utc(last)) else { return String::new() };
    let day = |t: &jiff::Zoned| t.strftime("%-d %b").to_string();
    let time = |t: &jiff::Zoned| t.strftime("%H:%M:%S").to_string();
    match (time(&a) == time(&b), a.date() == b.date()) {
        (true, true) => format!("{} {} UTC", day(&a), time(&a)),
        (_, true) => format!("{} {} – {} UTC", day(&a), time(&a), time(&b)),
        _ => format!("{} {} – {} {} UTC", day(&a), time(&a), day(&b), time(&b)),
    }
}

fn clock(at: Wall) -> String {
    utc(at).map_or_else(String::new, |t| t.strftime("%H:%M:%S").to_string())
}

/// Cards are read in many places, so their times are UTC and say so.
fn utc(at: Wall) -> Option<jiff::Zoned> {
    Some(jiff::Timestamp::from_millisecond(at.0).ok()?.to_zoned(jiff::tz::TimeZone::UTC))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::samples::{alert, message};

    fn counts_of(what: What, hits: u64, total: u64, incidents: u64) -> String {
        counts(&Alert { what, hits, total, incidents, ..alert("r") }).unwrap_or_default()
    }

    #[test]
    fn counts_say_what_this_alert_accounts_for_once() {
        assert_eq!(counts_of(What::Opening, 1, 1, 1), "1 hit");
        assert_eq!(counts_of(What::Opening, 37, 37, 1), "37 hits within 30s");
        assert_eq!(counts_of(What::Reminder, 120, 157, 1), "120 hits within 30s, 157 in all");
        assert_eq!(counts_of(What::Fold, 900, 900, 12), "900 hits in 12 incidents within 30s");
        assert_eq!(counts_of(What::Notice, 0, 0, 1), "");
    }

    #[test]
    fn one_of_something_has_no_plural() {
        assert_eq!(counted(1, "openings over the rule's limit"), "1 opening over the rule's limit");
        assert_eq!([counted(1, "repeats"), counted(2, "repeats")], ["1 repeat", "2 repeats"]);
    }

    #[test]
    fn a_message_that_is_the_line_itself_is_said_once() {
        let block = |text: &str| Block::new(&Alert { text: text.into(), ..alert("r") }, "ops", STEPS[0]);
        let line = block("").samples[0].1.clone();
        assert_eq!(block(&line).text, None);
        assert_eq!(block("failed logins").text.as_deref(), Some("failed logins"));
        let bare = Block::new(&Alert { text: line.clone(), ..alert("r") }, "ops", STEPS[3]);
        assert_eq!(
            (bare.text, bare.samples.len()),
            (Some(line), 0),
            "without the sample it is the text that says it"
        );
    }

    #[test]
    fn the_agent_speaks_of_itself_by_name() {
        let notice = Alert { what: What::Notice, hits: 0, ..alert("read//var/log/secure") };
        let sheet = Sheet::new(&message(vec![notice]), STEPS[0]);
        assert_eq!(
            (sheet.subtitle.as_str(), sheet.blocks[0].name.as_str()),
            ("logherald", "logherald · notice")
        );
    }

    #[test]
    fn times_are_utc_and_say_so() {
        assert_eq!(when(Wall(1_795_334_639_000), Wall(1_795_334_639_500)), "22 Nov 08:03:59 UTC");
        assert_eq!(when(Wall(1_795_334_639_000), Wall(1_795_334_669_000)), "22 Nov 08:03:59 – 08:04:29 UTC");
        assert_eq!(
            when(Wall(1_795_334_639_000), Wall(1_795_421_039_000)),
            "22 Nov 08:03:59 – 23 Nov 08:03:59 UTC"
        );
        assert_eq!(when(Wall(i64::MAX), Wall(0)), "");
    }

    #[test]
    fn only_pages_become_links() {
        assert!(is_link("https://runbooks.example/ssh?a=b&c=d#e"));
        for bad in
            ["javascript:alert(1)", "https://u:p@h/", "https://a b", "file:///etc", "//x", "https://h/<b>"]
        {
            assert!(!is_link(bad), "{bad}");
        }
    }

    #[test]
    fn alerts_left_out_keep_their_sum() {
        let mut m = message(vec![]);
        m.alerts = (0..30).map(|i| Alert { hits: 2, ..alert(&format!("rule-{:02}", i % 12)) }).collect();
        let sheet = Sheet::new(&m, STEPS[11]);
        assert_eq!(sheet.blocks.len(), 10);
        let rest = sheet.rest.unwrap();
        assert!(rest.starts_with("20 more alerts, 40 hits (rule-00 4, rule-01 4,"), "{rest}");
        assert!(rest.ends_with(", 2 more rules)"), "{rest}");
    }
}
