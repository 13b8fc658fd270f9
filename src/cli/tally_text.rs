//! A backtest's counts as lines for a terminal of 80 columns.

use std::io::{self, Write};
use std::path::Path;

use super::backtest::Run;
use super::brief::{count, moment, shown};
use super::past_logs::PastLogs;
use super::tally::{DayNo, RuleTally, counts};

/// Files that are listed; of a folder with hundreds the rest is a number.
const FILES: usize = 20;

/// Columns of the terminal.
pub(super) const COLUMNS: usize = 80;

pub(super) fn write(out: &mut impl Write, run: &Run, rules: &Path) -> io::Result<()> {
    files(out, run, rules)?;
    let mut silent: Vec<&str> = Vec::new();
    for (no, name) in run.names.iter().enumerate() {
        if run.tally.rules[no].hits == 0 {
            silent.push(name);
        } else {
            writeln!(out)?;
            rule(out, run, no)?;
        }
    }
    if !silent.is_empty() {
        let names: Vec<String> = silent.iter().map(|n| shown(n)).collect();
        writeln!(out, "\n{} without a hit:", count(silent.len() as u64, "rule"))?;
        wrapped(out, "   ", &names)?;
    }
    spaces(out, run)
}

fn files(out: &mut impl Write, run: &Run, rules: &Path) -> io::Result<()> {
    let p = run.progress;
    let (files, lines) = (count(run.files.len() as u64, "file"), count(p.lines, "line"));
    writeln!(out, "{files}, {lines}, with {}", shown(&rules.display().to_string()))?;
    if let Some((first, last)) = p.times {
        writeln!(out, "{} to {} UTC", moment(first), moment(last))?;
    }
    for file in run.files.iter().take(FILES) {
        writeln!(out, "   {}", shown(&file.path.display().to_string()))?;
        writeln!(out, "      {}", PastLogs::read_as(file))?;
    }
    if run.files.len() > FILES {
        writeln!(out, "   and {} more", run.files.len() - FILES)?;
    }
    for remark in &run.remarks {
        let sort = if remark.unread { "not read" } else { "note" };
        writeln!(out, "{sort}: {}: {}", shown(&remark.path.display().to_string()), remark.what)?;
    }
    if run.report.clock_odd > 0 {
        writeln!(out, "note: {} had a time that cannot be", count(run.report.clock_odd, "hit"))?;
    }
    Ok(())
}

fn rule(out: &mut impl Write, run: &Run, no: usize) -> io::Result<()> {
    let tally = &run.tally.rules[no];
    writeln!(out, "{} · {}", shown(&run.names[no]), count(tally.hits, "hit"))?;
    writeln!(
        out,
        "   {:<10} {:>9} {:>7} {:>9} {:>6} {:>6}",
        "day", "hits", "opened", "reminded", "ended", "folds"
    )?;
    for (day, of) in &tally.days {
        let line = format!(
            "   {day:<10} {:>9} {:>7} {:>9} {:>6} {:>6}",
            of.hits, of.opened, of.reminded, of.ended, of.folds
        );
        writeln!(out, "{line}")?;
    }
    held(out, tally)?;
    if let Some((from, hits)) = tally.hours.worst() {
        writeln!(out, "   worst hour  {}, {}", hour(from), count(hits, "hit"))?;
    }
    let keys: Vec<String> = run
        .tally
        .top_keys(no)
        .into_iter()
        .map(|(key, hits)| {
            let key: Vec<String> = key.iter().map(|(n, v)| format!("{}={}", shown(n), shown(v))).collect();
            format!("{} ({hits})", cut(&key.join(" "), COLUMNS - 30))
        })
        .collect();
    for (n, key) in keys.iter().enumerate() {
        writeln!(out, "   {:<11} {key}", if n == 0 { "top keys" } else { "" })?;
    }
    if tally.some_keys {
        writeln!(out, "   {:<11} (more keys than are counted: these are the least they had)", "")?;
    }
    if let Some(books) = run.report.rules.get(&*run.names[no]) {
        let terms = counts(&serde_json::to_value(books.ledger).unwrap_or_default());
        let mut terms: Vec<String> =
            terms.iter().filter(|(t, _)| t != "hits").map(|(t, n)| format!("{n} {t}")).collect();
        if books.pending > 0 {
            terms.push(format!("{} pending", books.pending));
        }
        writeln!(out, "   {:<11} {} = {}", "ledger", count(books.ledger.hits, "hit"), terms.join(" + "))?;
    }
    Ok(())
}

/// What was held, by reason, on the days on which something was.
fn held(out: &mut impl Write, tally: &RuleTally) -> io::Result<()> {
    let days: Vec<(&DayNo, String)> = tally
        .days
        .iter()
        .filter(|(_, of)| !of.held.is_empty())
        .map(|(day, of)| {
            let reasons: Vec<String> =
                of.held.iter().map(|(why, n)| format!("{n} {}", why.replace('_', " "))).collect();
            (day, reasons.join(", "))
        })
        .collect();
    for (n, (day, held)) in days.iter().enumerate() {
        let lead = if n == 0 { "held back" } else { "" };
        writeln!(out, "   {lead:<11} {day}: {held}")?;
    }
    Ok(())
}

fn spaces(out: &mut impl Write, run: &Run) -> io::Result<()> {
    writeln!(out, "\nmessages")?;
    for (name, space) in &run.tally.spaces {
        let worst = space.hours.worst();
        let worst =
            worst.map(|(from, n)| format!(", at most {n} in an hour ({})", hour(from))).unwrap_or_default();
        writeln!(out, "   {:<11} {}{worst}", shown(name), space.messages)?;
        for (day, messages) in &space.days {
            writeln!(out, "   {:<11} {day}: {messages}", "")?;
        }
    }
    Ok(())
}

/// `2026-11-22 14:00`.
fn hour(at: crate::time::Wall) -> String {
    moment(at).chars().take(16).collect()
}

/// Words with commas, in lines that fit.
fn wrapped(out: &mut impl Write, lead: &str, words: &[String]) -> io::Result<()> {
    let mut line = lead.to_owned();
    for (n, word) in words.iter().enumerate() {
        let word = if n + 1 < words.len() { format!("{word},") } else { word.clone() };
        if line.len() > lead.len() && line.chars().count() + 1 + word.chars().count() > COLUMNS {
            writeln!(out, "{line}")?;
            lead.clone_into(&mut line);
        }
        if line.len() > lead.len() {
            line.push(' ');
        }
        line.push_str(&word);
    }
    writeln!(out, "{line}")
}

/// At most so many characters of it.
pub(super) fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}
