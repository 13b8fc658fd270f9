//! `logherald status`: the running agent at a glance, in 80 columns, or as JSON.
//!
//! What is wrong comes first: a state that is not durable, a refused reload, a paused space, an unreadable file. Rules
//! without a hit are counted, not listed: at night the one that has some must be found at a glance.

use std::io::Write;

use serde_json::Value;

use crate::agent::control;
use crate::template::in_line;

use super::reload::unreachable_agent;
use super::{Done, Failure, SocketArgs, exit, paths, silence, wait_for};

/// Files that are listed one by one; the rest are counted. `--json` lists all.
const FILES: usize = 20;

/// A rule that has met nothing for so long may match nothing.
const QUIET_DAYS: u64 = 30;

/// What was held back of a rule, by the key of `--json`.
const HELD: [(&str, &str); 7] = [
    ("repeats", "repeats"),
    ("rule_limit", "over the rule's limit"),
    ("space_budget", "over a space's budget"),
    ("while_away", "while away"),
    ("muted", "muted"),
    ("inhibited", "inhibited"),
    ("evicted", "keys let go"),
];

/// Sentences are folded here.
const COLUMNS: usize = 80;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  logherald status
  logherald status --json | jq '.rules[\"sshd-brute-force\"]'")]
pub(super) struct Args {
    #[command(flatten)]
    socket: SocketArgs,
    /// As one JSON document
    #[arg(long)]
    json: bool,
}

pub(super) fn status(args: &Args) -> Done {
    let socket = paths::socket(args.socket.state.as_deref())?;
    let (code, body) =
        wait_for(control::call(&socket, "GET", "/status"))?.map_err(|e| unreachable_agent(&e))?;
    if code != 200 {
        return Err(Failure::new(exit::SERVICE, String::from_utf8_lossy(&body).trim_end()));
    }
    let mut out = anstream::stdout().lock();
    if args.json {
        out.write_all(&body)?;
        return Ok(writeln!(out)?);
    }
    let status: Value = serde_json::from_slice(&body)
        .map_err(|e| Failure::new(exit::SOFTWARE, format!("the agent's answer is no JSON: {e}")))?;
    Ok(draw(&status, &mut out)?)
}

fn draw(status: &Value, out: &mut impl Write) -> std::io::Result<()> {
    let text = |v: &Value| v.as_str().unwrap_or("-").to_owned();
    let file = &status["rules_file"];
    writeln!(
        out,
        "logherald {} on {}, running since {}",
        text(&status["version"]),
        text(&status["host"]),
        second(&status["started"])
    )?;
    writeln!(out, "rules: {}, loaded {}", text(&file["path"]), second(&file["loaded"]))?;
    let read = &status["read"];
    let lines = number(&read["lines"]);
    let plural = if lines == 1 { "" } else { "s" };
    writeln!(out, "read:  {lines} line{plural}, {}", bytes(number(&read["bytes"])))?;
    if let Some(watching) = status["watching"].as_str() {
        writeln!(out, "{}", wrap(watching, 0))?;
    }
    for (what, hint) in wrong(status) {
        writeln!(out, "WRONG: {}", wrap(&what, 7))?;
        if let Some(hint) = hint {
            writeln!(out, "    {}", wrap(&format!("hint: {hint}"), 4))?;
        }
    }

    rules(status, out)?;
    spaces(status, out)?;
    silences(status, out)?;
    files(status, out)
}

/// What an operator should mend, most urgent first, each with its remedy where one is known.
pub(super) fn wrong(status: &Value) -> Vec<(String, Option<String>)> {
    let text = |v: &Value| v.as_str().unwrap_or("-").to_owned();
    let (file, read) = (&status["rules_file"], &status["read"]);
    let hint = |v: &Value| v["hint"].as_str().map(str::to_owned);
    let mut wrong = Vec::new();
    if status["durable"] == Value::Bool(false) {
        wrong.push(("the state cannot be written to the disk; alerts go on from memory".to_owned(), None));
    }
    if file["from_last_good"] == Value::Bool(true) {
        wrong.push(("the rules on disk cannot be used; the last set that loaded is".to_owned(), None));
    }
    for rule in file["left_out"].as_array().into_iter().flatten() {
        wrong.push((format!("the rule `{}` is faulty and left out", text(rule)), None));
    }
    if file["refused"].is_string() {
        let path = text(&file["path"]);
        wrong.push((format!("the rules on disk are refused; `logherald check {path}` says why"), None));
    }
    if let Some(gap) = read["last_gap"].as_str() {
        let lost = bytes(read["lost_bytes"].as_u64().unwrap_or(0));
        wrong.push((format!("{lost} of logs were not read; the last: {}", in_line(gap)), None));
    }
    for trouble in status["troubles"].as_array().into_iter().flatten().take(FILES) {
        let shown = text(&trouble["path"]);
        let path = in_line(&shown);
        wrong.push((format!("`{path}`: {}", text(&trouble["what"])), hint(trouble)));
    }
    for (_, fault) in entries(&file["unusable_spaces"]) {
        wrong.push((format!("{}; its alerts go elsewhere", text(&fault["why"])), hint(fault)));
    }
    for (name, space) in entries(&status["spaces"]) {
        if let Some(trouble) = space["trouble"].as_str() {
            let since = second(&space["since"]);
            wrong.push((format!("the space `{name}` since {since}: {trouble}"), hint(space)));
        }
    }
    wrong
}

fn rules(status: &Value, out: &mut impl Write) -> std::io::Result<()> {
    let (rules, quiet): (Vec<_>, Vec<_>) =
        entries(&status["rules"]).partition(|(_, r)| number(&r["hits"]) > 0);
    writeln!(
        out,
        "\n{:<26} {:>9} {:>8} {:>8} {:>8} {:>8} {:>4}",
        "rule", "hits", "shown", "told", "below", "pending", "open"
    )?;
    for (name, r) in &rules {
        let n = |term: &str| number(&r[term]);
        writeln!(
            out,
            "{:<26} {:>9} {:>8} {:>8} {:>8} {:>8} {:>4}",
            cut(name, 26),
            n("hits"),
            n("shown"),
            n("told"),
            n("below"),
            n("pending"),
            n("open")
        )?;
        let time = |what: &str, key: &str| r[key].is_string().then(|| format!("{what} {}", second(&r[key])));
        let days = number(&r["days_quiet"]);
        let quiet = (days >= QUIET_DAYS).then(|| format!("{days} days ago"));
        let gone = (r["loaded"] == Value::Bool(false)).then(|| "no longer in the rules".to_owned());
        let others = ["lost", "seen", "muted", "inhibited"].into_iter();
        let others = others.filter(|t| n(t) > 0).map(|t| format!("{t} {}", n(t)));
        let held = HELD.iter().map(|(key, what)| (number(&r["held"][key]), what)).filter(|(n, _)| *n > 0);
        let held: Vec<String> = held.map(|(n, what)| format!("{n} {what}")).collect();
        let held = (!held.is_empty()).then(|| format!("held back so far: {}", held.join(", ")));
        let last = [time("last hit", "last_hit"), quiet, time("last message", "last_message"), gone];
        let said: Vec<String> = last.into_iter().flatten().chain(others).chain(held).collect();
        if !said.is_empty() {
            writeln!(out, "  {}", wrap(&said.join(", "), 2))?;
        }
    }
    let (dead, quiet): (Vec<_>, Vec<_>) =
        (quiet.into_iter().filter(|(_, r)| r["loaded"] != Value::Bool(false)))
            .partition(|(_, r)| number(&r["days_quiet"]) >= QUIET_DAYS);
    let names = |rules: &[(&String, &Value)]| {
        let plural = if rules.len() == 1 { "" } else { "s" };
        let names: Vec<&str> = rules.iter().map(|(name, _)| name.as_str()).collect();
        (format!("{} rule{plural}", rules.len()), names.join(", "))
    };
    if !quiet.is_empty() {
        let (rules, names) = names(&quiet);
        writeln!(out, "{}", wrap(&format!("{rules} without a hit: {names}"), 2))?;
    }
    if !dead.is_empty() {
        let (rules, names) = names(&dead);
        let line = format!("WARNING: {rules} without a hit in {QUIET_DAYS} days and more: {names}");
        writeln!(out, "{}", wrap(&line, 2))?;
        writeln!(out, "    hint: `logherald explain` with a line that should match says how far it gets")?;
    }
    Ok(())
}

fn spaces(status: &Value, out: &mut impl Write) -> std::io::Result<()> {
    writeln!(out, "\n{:<26} {:>9} {:>8} {:>8}  last accepted", "space", "accepted", "outbox", "dead")?;
    for (name, s) in entries(&status["spaces"]) {
        let n = |term: &str| number(&s[term]);
        writeln!(
            out,
            "{:<26} {:>9} {:>8} {:>8}  {}",
            cut(name, 26),
            n("accepted"),
            n("outbox"),
            n("dead_letters"),
            second(&s["last_accepted"])
        )?;
    }

    Ok(())
}

/// The silences, and the mutes that are in force.
fn silences(status: &Value, out: &mut impl Write) -> std::io::Result<()> {
    let silences = status["silences"].as_array().into_iter().flatten().map(silence::line);
    let mutes =
        status["mutes"].as_array().into_iter().flatten().filter(|m| m["in_force"] == Value::Bool(true));
    let mutes = mutes.map(|m| {
        let name = m["name"].as_str().unwrap_or("-");
        format!("{name} until {}; holds {} hits", second(&m["until"]), number(&m["holds"]))
    });
    for (i, line) in silences.chain(mutes).enumerate() {
        writeln!(out, "{}{line}", if i == 0 { "\nsilences and mutes in force\n" } else { "" })?;
    }
    Ok(())
}

fn files(status: &Value, out: &mut impl Write) -> std::io::Result<()> {
    let files: Vec<&Value> = status["files"].as_array().into_iter().flatten().collect();
    if files.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{:<50} {:>12} {:>12}", "file", "size", "unread")?;
    for f in files.iter().take(FILES) {
        let lag = number(&f["lag"]);
        writeln!(
            out,
            "{:<50} {:>12} {:>12}",
            cut_left(&in_line(f["path"].as_str().unwrap_or("-")), 50),
            bytes(number(&f["size"])),
            bytes(lag)
        )?;
    }
    if files.len() > FILES {
        writeln!(out, "and {} more; --json lists all", files.len() - FILES)?;
    }
    Ok(())
}

pub(super) fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

/// `text` in lines of at most 80 columns, the first of them `taken` columns shorter, the others indented by as much.
pub(super) fn wrap(text: &str, taken: usize) -> String {
    let mut out = String::new();
    let mut column = taken;
    for (i, word) in text.split(' ').enumerate() {
        let length = word.chars().count();
        if i > 0 && column + 1 + length > COLUMNS {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', taken));
            column = taken;
        } else if i > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

/// A time to the second: the fraction is for scripts.
pub(super) fn second(time: &Value) -> String {
    match time.as_str() {
        Some(t) if t.len() > 19 && t.is_ascii() => format!("{} {}Z", &t[..10], &t[11..19]),
        Some(t) => t.to_owned(),
        None => "-".to_owned(),
    }
}

/// A size that a person reads: three digits and a unit.
pub(super) fn bytes(n: u64) -> String {
    let mut size = n as f64;
    for unit in ["B", "KiB", "MiB", "GiB", "TiB"] {
        if size < 1000.0 || unit == "TiB" {
            return if unit == "B" { format!("{n} B") } else { format!("{size:.1} {unit}") };
        }
        size /= 1024.0;
    }
    String::new()
}

fn cut(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        Some(_) => text.chars().take(max - 1).chain(['…']).collect(),
        None => text.to_owned(),
    }
}

/// Of a path the end says more.
fn cut_left(text: &str, max: usize) -> String {
    let length = text.chars().count();
    if length <= max {
        text.to_owned()
    } else {
        ['…'].into_iter().chain(text.chars().skip(length - max + 1)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_of_a_file_looks_like_a_line_of_ours() {
        let path = "/var/log/z\nhint: run evil\n.log";
        let status = serde_json::json!({
            "read": { "lines": 1, "bytes": 1, "lost_bytes": 1, "last_gap": path },
            "troubles": [{ "path": path, "what": "permission denied" }],
            "files": [{ "path": path, "size": 4096, "lag": 0 }],
        });
        let mut out = Vec::new();
        draw(&status, &mut out).unwrap();
        let out = String::from_utf8(out).unwrap();
        assert_eq!(out.matches("z ⏎ hint: run evil ⏎ .log").count(), 3, "{out}");
    }

    #[test]
    fn sizes_have_three_digits_and_a_unit() {
        assert_eq!(
            [0, 999, 1000, 262_144, 5 << 30].map(bytes),
            ["0 B", "999 B", "1.0 KiB", "256.0 KiB", "5.0 GiB"]
        );
    }

    #[test]
    fn what_is_wrong_comes_first_and_all_fits_80_columns() {
        let status = serde_json::json!({
            "version": "0.1.0", "host": "web1", "started": "2026-11-22T05:26:00.123Z", "durable": false,
            "read": { "lines": 7, "bytes": 4096, "lost_bytes": 512, "last_gap": "2026-11-22T05:26:00.123Z /var/log/a: truncated" },
            "rules_file": { "path": "/etc/logherald/rules.toml", "loaded": "2026-11-22T05:26:00.123Z", "refused": null },
            "rules": { "sshd-brute-force": { "hits": 7, "shown": 5, "told": 1, "pending": 1, "open": 1, "lost": 2, "days_quiet": 41,
                "last_hit": "2026-11-22T05:26:00.123Z", "held": { "repeats": 402, "rule_limit": 3 } },
                "typo": { "hits": 0, "days_quiet": 30 }, "rare": { "hits": 0, "days_quiet": 29 } },
            "spaces": { "ops": { "accepted": 3, "outbox": 1, "trouble": "paused", "since": "2026-11-22T05:26:00.123Z", "hint": "mend it" } },
            "files": [{ "path": format!("/var/log/{}/a.log", "x".repeat(60)), "size": 4096, "lag": 0 }],
        });
        let mut out = Vec::new();
        draw(&status, &mut out).unwrap();
        let out = String::from_utf8(out).unwrap();
        let wrong = out.find("WRONG: the state cannot").unwrap();
        assert!(wrong < out.find("sshd-brute-force").unwrap());
        assert!(
            out.contains("WRONG: the space `ops` since 2026-11-22 05:26:00Z: paused\n    hint: mend it\n"),
            "{out}"
        );
        let of_the_rule = "\n  last hit 2026-11-22 05:26:00Z, 41 days ago, lost 2, held back so far: 402\n  \
                           repeats, 3 over the rule's limit\n";
        assert!(out.contains(of_the_rule), "{out}");
        assert!(out.contains("\n1 rule without a hit: rare\n"), "{out}");
        assert!(
            out.contains("\nWARNING: 1 rule without a hit in 30 days and more: typo\n    hint: "),
            "{out}"
        );
        assert!(out.lines().all(|l| l.chars().count() <= 80), "{out}");
    }
}
