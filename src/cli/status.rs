//! `logherald status`: the running agent at a glance, in 80 columns, or as JSON.
//!
//! What is wrong comes first: a state that is not durable, a refused reload, a paused space, an unreadable file.

use std::io::Write;

use serde_json::Value;

use crate::agent::control;

use super::reload::unreachable_agent;
use super::{Done, Failure, SocketArgs, exit, paths, wait_for};

/// Files that are listed one by one; the rest are counted. `--json` lists all.
const FILES: usize = 20;

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
    let number = |v: &Value| v.as_u64().unwrap_or(0);
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
    writeln!(out, "read:  {} lines, {}", number(&read["lines"]), bytes(number(&read["bytes"])))?;

    let mut wrong = Vec::new();
    if status["durable"] == Value::Bool(false) {
        wrong.push("the state cannot be written to the disk; alerts go on from memory".to_owned());
    }
    if file["from_last_good"] == Value::Bool(true) {
        wrong.push("the rules on disk cannot be used; the last set that loaded is".to_owned());
    }
    for rule in file["left_out"].as_array().into_iter().flatten() {
        wrong.push(format!("the rule `{}` is faulty and left out", text(rule)));
    }
    if file["refused"].is_string() {
        wrong.push(format!(
            "the rules on disk are refused; `logherald check {}` says why",
            text(&file["path"])
        ));
    }
    if let Some(gap) = read["last_gap"].as_str() {
        wrong.push(format!("{} of logs were not read; the last: {gap}", bytes(number(&read["lost_bytes"]))));
    }
    for (name, space) in entries(&status["spaces"]) {
        if let Some(trouble) = space["trouble"].as_str() {
            let hint = space["hint"].as_str().map(|h| format!("\n    hint: {h}")).unwrap_or_default();
            wrong.push(format!("the space `{name}` since {}: {trouble}{hint}", second(&space["since"])));
        }
    }
    for line in wrong {
        write!(out, "{}", wrapped(&format!("WRONG: {line}")))?;
    }

    let rules: Vec<_> = entries(&status["rules"]).collect();
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
        let others: Vec<String> = ["lost", "seen", "muted", "inhibited"]
            .into_iter()
            .filter(|t| n(t) > 0)
            .map(|t| format!("{t} {}", n(t)))
            .collect();
        if !others.is_empty() {
            writeln!(out, "  {}", others.join(", "))?;
        }
    }

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

    let files: Vec<&Value> = status["files"].as_array().into_iter().flatten().collect();
    writeln!(out, "\n{:<50} {:>12} {:>12}", "file", "size", "unread")?;
    for f in files.iter().take(FILES) {
        let lag = number(&f["lag"]);
        writeln!(
            out,
            "{:<50} {:>12} {:>12}",
            cut_left(&text(&f["path"]), 50),
            bytes(number(&f["size"])),
            bytes(lag)
        )?;
    }
    if files.len() > FILES {
        writeln!(out, "and {} more; --json lists all", files.len() - FILES)?;
    }
    Ok(())
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

/// A time to the second: the fraction is for scripts.
fn second(time: &Value) -> String {
    match time.as_str() {
        Some(t) if t.len() > 19 && t.is_ascii() => format!("{} {}Z", &t[..10], &t[11..19]),
        Some(t) => t.to_owned(),
        None => "-".to_owned(),
    }
}

/// A size that a person reads: three digits and a unit.
fn bytes(n: u64) -> String {
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

/// Each line of `text` in 80 columns; what goes over begins four further in.
fn wrapped(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let lead = line.len() - line.trim_start().len();
        let mut column = 0;
        for word in line.split_whitespace() {
            let width = word.chars().count();
            if column == 0 {
                out.push_str(&line[..lead]);
                column = lead;
            } else if column + 1 + width > 80 {
                out.push_str("\n    ");
                column = 4;
            } else {
                out.push(' ');
                column += 1;
            }
            out.push_str(word);
            column += width;
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

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
            "rules": { "sshd-brute-force": { "hits": 7, "shown": 5, "told": 1, "pending": 1, "open": 1, "lost": 2 } },
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
        assert!(out.contains("\n  lost 2\n"), "{out}");
        assert!(out.lines().all(|l| l.chars().count() <= 80), "{out}");
    }
}
