//! `logherald tap`: hits as the running agent judges them, those that are held too, with the reason.
//!
//! Nothing is asked of the agent's judging: what comes faster than it is read here goes by, and is told as a number. It
//! is for a person who wonders now; what was decided before is in `why`, and the counts are in `status`.

use std::io::Write as _;

use serde_json::{Value, json};

use crate::agent::control;

use super::reload::unreachable_agent;
use super::silence::{refused, text};
use super::status::{number, second};
use super::{Done, Failure, SocketArgs, exit, paths, wait_for};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  logherald tap
  logherald tap --rule sshd-brute-force
  logherald tap --json | jq -r 'select(.said | not) | .what'

Ctrl-C ends it. Hits that come faster than they are read here, or than a
thousand a second, are counted and not shown: they never slow the agent.")]
pub(super) struct Args {
    /// Only hits of this rule
    #[arg(long, value_name = "RULE")]
    rule: Option<String>,
    /// One JSON object a hit
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    socket: SocketArgs,
}

pub(super) fn tap(args: &Args) -> Done {
    let socket = paths::socket(args.socket.state.as_deref())?;
    let body = serde_json::to_vec(&json!({ "rule": args.rule })).unwrap_or_default();
    let began = || {
        let which = args.rule.as_ref().map_or_else(String::new, |rule| format!(" of `{rule}`"));
        writeln!(anstream::stderr().lock(), "looking on at the hits{which}; Ctrl-C ends it")
    };
    let mut out = anstream::stdout().lock();
    let each = |json: &[u8]| {
        if args.json {
            out.write_all(json)?;
            return writeln!(out);
        }
        // the agent writes JSON; what is none is shown as nothing
        writeln!(out, "{}", line(&serde_json::from_slice(json).unwrap_or_default()))
    };
    let ended = wait_for(control::follow(&socket, "/tap", body, began, each))?;
    match ended.map_err(|e| unreachable_agent(&e))? {
        control::Followed::Refused(code, answer) => Err(refused(code, &answer)),
        control::Followed::Stopped(e) => Err(e.into()),
        control::Followed::Ended => Err(Failure::new(exit::SERVICE, "the agent has ended")),
    }
}

/// A hit in two lines, or how many went by.
fn line(hit: &Value) -> String {
    match number(&hit["missed"]) {
        0 => {}
        1 => return "        1 hit went by: it came faster than it was read".to_owned(),
        n => return format!("        {n} hits went by: they came faster than they were read"),
    }
    let sign = if hit["said"] == Value::Bool(true) { "said" } else { "held" };
    let (what, key) = (text(&hit["what"]), text(&hit["key"]));
    let mut out = format!("{}  {sign}  {}", second(&hit["at"]), text(&hit["rule"]));
    if !key.is_empty() {
        out.push_str(" · ");
        out.push_str(&key);
    }
    out.push_str(" · ");
    out.push_str(what.strip_prefix("held: ").unwrap_or(&what));
    if hit["line"].is_string() {
        out.push_str("\n        ");
        out.push_str(&text(&hit["line"]));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hit_is_two_lines_and_none_of_them_paints_the_terminal() {
        let hit = json!({
            "at": "2026-11-22T05:26:00.123Z", "rule": "refused", "key": "ip=a\u{1b}[31m", "said": false,
            "what": "held: of a kind that is known, for the daily line", "file": "/var/log/app.log",
            "line": "refused a\u{1b}[31m",
        });
        assert_eq!(
            line(&hit),
            "2026-11-22 05:26:00Z  held  refused · ip=a\\u{1b}[31m · of a kind that is known, for the daily line\n        \
             refused a\\u{1b}[31m"
        );
        assert_eq!(
            line(&json!({ "missed": 7 })),
            "        7 hits went by: they came faster than they were read"
        );
    }
}
