//! `logherald why RULE`: its last decisions, what was said and what was held, with the reason.
//!
//! The running agent is asked. What it does not decide about (lines that an open incident counts, lines below a threshold)
//! is in the numbers of `status`.

use std::io::Write as _;

use serde_json::{Value, json};

use super::silence::{ask, text};
use super::status::{number, second};
use super::{Done, SocketArgs};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  logherald why sshd-brute-force
  logherald why disk-full --json")]
pub(super) struct Args {
    /// The rule's name
    rule: String,
    /// As one JSON array, oldest first
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    socket: SocketArgs,
}

pub(super) fn why(args: &Args) -> Done {
    let body = serde_json::to_vec(&json!({ "id": args.rule })).unwrap_or_default();
    let all = ask(&args.socket, "POST", "/why", body)?;
    let mut out = anstream::stdout().lock();
    if args.json {
        return Ok(writeln!(out, "{all}")?);
    }
    let all: Vec<&Value> = all.as_array().into_iter().flatten().collect();
    if all.is_empty() {
        writeln!(out, "`{}` has decided nothing since the agent was started", args.rule)?;
        return Ok(writeln!(
            out,
            "its hits, and what became of them: logherald status; of one line: logherald explain LINE"
        )?);
    }
    for decision in all {
        writeln!(out, "{}", line(decision))?;
    }
    Ok(())
}

/// A decision in a line.
fn line(decision: &Value) -> String {
    let sign = if decision["said"] == Value::Bool(true) { "said" } else { "held" };
    let mut out = format!("{}  {sign}  {}", second(&decision["at"]), text(&decision["what"]));
    let key = text(&decision["key"]);
    if !key.is_empty() {
        out.push_str(" · ");
        out.push_str(&key);
    }
    match number(&decision["hits"]) {
        0 => {}
        1 => out.push_str(" · 1 hit"),
        n => {
            out.push_str(" · ");
            out.push_str(&n.to_string());
            out.push_str(" hits");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_is_a_line_and_no_value_paints_the_terminal() {
        let decision = json!({
            "at": "2026-11-22T05:26:00.123Z", "key": "user=a\u{1b}[31m", "said": false, "what": "opening held: the silence s7",
            "hits": 3,
        });
        assert_eq!(
            line(&decision),
            "2026-11-22 05:26:00Z  held  opening held: the silence s7 · user=a\\u{1b}[31m · 3 hits"
        );
    }
}
