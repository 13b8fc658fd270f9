//! `logherald silence`, `silences`, `unsilence`: an operator's "not now", with an end, an author and a reason.
//!
//! The values of a key are sent as they are to the agent, which keeps their hashes. What comes back for people is
//! redacted, but may have come from a log: control characters are shown, so that none paints the terminal.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::agent::control;
use crate::config::value;
use crate::judge::SilenceOrder;

use super::reload::unreachable_agent;
use super::status::{number, second};
use super::{Done, Failure, SocketArgs, exit, paths, printable, wait_for};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  logherald silence disk-full --for 2h --why 'the new disk comes at noon'
  logherald silence sshd-brute-force ip=192.0.2.1 --for 1d --why pentest
  logherald silence 'nginx-*' --for 30m --why deploy")]
pub(super) struct Args {
    /// The rule's name, or a pattern for several: 'nginx-*'
    rule: String,
    /// Parts of the key that an incident must have; left out: every key
    #[arg(value_name = "KEY=VALUE", value_parser = part)]
    key: Vec<(String, String)>,
    /// For how long, at most 30d: 30m, 2h, 1d
    #[arg(long = "for", value_name = "TIME", value_parser = value::duration)]
    length: Duration,
    /// The reason; `silences` and the message at the end show it
    #[arg(long, value_name = "TEXT")]
    why: String,
    /// Who asks [default: this user, also behind sudo]
    #[arg(long, value_name = "NAME")]
    author: Option<String>,
    /// As one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    socket: SocketArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    /// As one JSON array
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    socket: SocketArgs,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "What it held is told at once.")]
pub(super) struct EndArgs {
    /// As `silences` shows it: s7
    id: String,
    #[command(flatten)]
    socket: SocketArgs,
}

fn part(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected a part of the key and its value, such as `ip=192.0.2.1`".to_owned()),
    }
}

pub(super) fn silence(args: &Args) -> Done {
    let order = SilenceOrder {
        rule: args.rule.clone(),
        key: args.key.clone(),
        length: args.length,
        author: args.author.clone().unwrap_or_else(user),
        why: args.why.clone(),
    };
    let body = serde_json::to_vec(&order)
        .map_err(|e| Failure::new(exit::SOFTWARE, format!("the order cannot be written: {e}")))?;
    let given = ask(&args.socket, "POST", "/silences", body)?;
    let mut out = anstream::stdout().lock();
    if args.json {
        return Ok(writeln!(out, "{given}")?);
    }
    writeln!(out, "{}: {} is silent until {}", text(&given["id"]), subject(&given), second(&given["until"]))?;
    Ok(writeln!(out, "to end it before: logherald unsilence {}", text(&given["id"]))?)
}

pub(super) fn silences(args: &ListArgs) -> Done {
    let all = ask(&args.socket, "GET", "/silences", Vec::new())?;
    let mut out = anstream::stdout().lock();
    if args.json {
        return Ok(writeln!(out, "{all}")?);
    }
    let all: Vec<&Value> = all.as_array().into_iter().flatten().collect();
    if all.is_empty() {
        return Ok(writeln!(out, "no silence is in force")?);
    }
    for silence in all {
        writeln!(out, "{}", line(silence))?;
    }
    Ok(())
}

pub(super) fn unsilence(args: &EndArgs) -> Done {
    let body = serde_json::to_vec(&json!({ "id": args.id })).unwrap_or_default();
    let ended = ask(&args.socket, "POST", "/unsilence", body)?;
    let held =
        held(&ended).map_or_else(|| "it held nothing".to_owned(), |h| format!("it held {h}, told now"));
    Ok(writeln!(anstream::stdout().lock(), "{} has ended: {held}", text(&ended["id"]))?)
}

/// A silence in two lines.
pub(super) fn line(silence: &Value) -> String {
    let mut out =
        format!("{:<5} until {}  {}", text(&silence["id"]), second(&silence["until"]), subject(silence));
    // writing to a `String` cannot fail
    _ = write!(out, "\n      by {}: {}", text(&silence["author"]), text(&silence["why"]));
    if let Some(held) = held(silence) {
        _ = write!(out, "; holds {held}");
    }
    out
}

fn held(silence: &Value) -> Option<String> {
    let (hits, incidents) = (number(&silence["holds"]), number(&silence["incidents"]));
    let count = |n: u64, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    (hits > 0).then(|| format!("{} in {}", count(hits, "hit"), count(incidents, "incident")))
}

/// The rule, and the key.
fn subject(silence: &Value) -> String {
    let mut out = format!("`{}`", text(&silence["rule"]));
    for (name, value) in silence["key"].as_object().into_iter().flatten() {
        _ = write!(out, " {}={}", printable(name), text(value));
    }
    out
}

pub(super) fn text(value: &Value) -> String {
    printable(value.as_str().unwrap_or("-"))
}

/// Asks the agent; its refusal becomes this command's.
pub(super) fn ask(socket: &SocketArgs, method: &str, route: &str, body: Vec<u8>) -> Result<Value, Failure> {
    let socket = paths::socket(socket.state.as_deref())?;
    let (code, answer) =
        wait_for(control::send(&socket, method, route, body))?.map_err(|e| unreachable_agent(&e))?;
    if code == 200 {
        Ok(serde_json::from_slice(&answer).unwrap_or_default())
    } else {
        Err(refused(code, &answer))
    }
}

/// What the agent answered instead of doing what it was asked.
pub(super) fn refused(code: u16, answer: &[u8]) -> Failure {
    if code != 422 {
        return Failure::new(exit::SERVICE, String::from_utf8_lossy(answer).trim_end());
    }
    let said: Value = serde_json::from_slice(answer).unwrap_or_default();
    Failure::new(exit::DATA, text(&said["error"])).hint(text(&said["hint"]))
}

/// The person at the terminal: behind `sudo` not root.
fn user() -> String {
    let named = ["SUDO_USER", "USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok());
    named.filter(|n| !n.is_empty()).unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_a_name_and_a_value() {
        assert_eq!(part("user=a=b"), Ok(("user".to_owned(), "a=b".to_owned())));
        assert_eq!(part("user="), Ok(("user".to_owned(), String::new())));
        assert!(part("=x").is_err() && part("x").is_err());
    }

    #[test]
    fn a_silence_is_two_lines_and_no_value_paints_the_terminal() {
        let silence = json!({
            "id": "s7", "rule": "sshd", "key": { "user": "a\u{1b}[31m" }, "until": "2026-11-22T05:26:00.123Z",
            "author": "ana", "why": "pentest", "holds": 214, "incidents": 1,
        });
        assert_eq!(
            line(&silence),
            "s7    until 2026-11-22 05:26:00Z  `sshd` user=a\\u{1b}[31m\n      by ana: pentest; holds 214 hits in 1 incident"
        );
    }
}
