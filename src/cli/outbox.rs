//! `logherald outbox`: what waits to be delivered, and what Chat refused for good.
//!
//! The list fits a terminal: one message a line, its trouble below it. What came from a log is drawn as the terminal
//! card draws it, and whatever else came from outside has its control characters shown.

use std::fmt::Write as _;
use std::io::Write as _;

use serde_json::{Value, json};

use crate::agent::Which;

use super::silence::{ask, text};
use super::status::{bytes, number, second};
use super::{Done, Failure, SocketArgs, exit};

/// Digits of an id that the list shows: enough to tell ten thousand messages apart.
const DIGITS: usize = 12;

#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  logherald outbox                          what waits, and the dead letters
  logherald outbox show 3f9a1c2b44d0        all that one of them says
  logherald outbox retry --all              the space is mended: send the dead letters
  logherald outbox drop 3f9a1c2b44d0        give it up; its hits count as lost"
)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Every message that waits, and every dead letter
    List(ListArgs),
    /// One message with all its words
    Show(ShowArgs),
    /// Send dead letters again, each under its old id
    Retry(OrderArgs),
    /// Give messages up for good
    Drop(OrderArgs),
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    /// As one JSON array
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    socket: SocketArgs,
}

#[derive(Debug, clap::Args)]
struct ShowArgs {
    /// Its id, or the beginning of it
    id: String,
    /// As one JSON object, with the body as it is sent
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    socket: SocketArgs,
}

#[derive(Debug, clap::Args)]
struct OrderArgs {
    /// Ids, or the beginnings of them
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<String>,
    /// Every dead letter
    #[arg(long)]
    all: bool,
    /// With --all: those of one space
    #[arg(long, value_name = "SPACE", requires = "all")]
    space: Option<String>,
    /// As one JSON array of what was ordered
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    socket: SocketArgs,
}

pub(super) fn outbox(args: &Args) -> Done {
    match &args.command {
        None => list(&args.list),
        Some(Command::List(args)) => list(args),
        Some(Command::Show(args)) => show(args),
        Some(Command::Retry(args)) => order(args, "/outbox/retry", "waits again", "wait again"),
        Some(Command::Drop(args)) => order(args, "/outbox/drop", "is given up", "are given up"),
    }
}

fn list(args: &ListArgs) -> Done {
    let all = ask(&args.socket, "GET", "/outbox", Vec::new())?;
    let mut out = anstream::stdout().lock();
    if args.json {
        return Ok(writeln!(out, "{all}")?);
    }
    let all: Vec<&Value> = all.as_array().into_iter().flatten().collect();
    let dead = all.iter().filter(|letter| letter["state"] == "dead").count();
    if all.is_empty() {
        return Ok(writeln!(out, "nothing waits, and there is no dead letter")?);
    }
    for letter in &all {
        writeln!(out, "{}", line(letter))?;
    }
    Ok(writeln!(out, "{} waiting, {dead} dead", all.len() - dead)?)
}

fn show(args: &ShowArgs) -> Done {
    let body = serde_json::to_vec(&json!({ "id": args.id })).unwrap_or_default();
    let letter = ask(&args.socket, "POST", "/outbox/show", body)?;
    let mut out = anstream::stdout().lock();
    if args.json {
        return Ok(writeln!(out, "{letter}")?);
    }
    writeln!(out, "{}", line(&letter))?;
    writeln!(out, "id {}, {}", text(&letter["id"]), bytes(number(&letter["bytes"])))?;
    // drawn by the agent for a terminal, line by line
    Ok(write!(out, "{}", letter["text"].as_str().unwrap_or_default())?)
}

fn order(args: &OrderArgs, route: &str, one: &str, many: &str) -> Done {
    let which = Which { ids: args.ids.clone(), all: args.all, space: args.space.clone() };
    let body = serde_json::to_vec(&which)
        .map_err(|e| Failure::new(exit::SOFTWARE, format!("the order cannot be written: {e}")))?;
    let done = ask(&args.socket, "POST", route, body)?;
    let mut out = anstream::stdout().lock();
    if args.json {
        return Ok(writeln!(out, "{done}")?);
    }
    let done: Vec<&Value> = done.as_array().into_iter().flatten().collect();
    for letter in &done {
        writeln!(out, "{}", line(letter))?;
    }
    let what =
        if done.len() == 1 { format!("1 message {one}") } else { format!("{} messages {many}", done.len()) };
    Ok(writeln!(out, "{what}")?)
}

/// A message in a line or two.
fn line(letter: &Value) -> String {
    let id: String = text(&letter["id"]).chars().take(DIGITS).collect();
    let mut out = format!(
        "{id}  {:<7} {:<8} {}  {}",
        text(&letter["state"]),
        text(&letter["severity"]),
        second(&letter["born"]),
        text(&letter["space"])
    );
    if letter["edit"] == true {
        out.push_str(", an edit");
    }
    let tries = number(&letter["tries"]);
    // writing to a `String` cannot fail
    if letter["error"].is_string() {
        let plural = if tries == 1 { "try" } else { "tries" };
        _ = write!(out, "\n    {tries} failed {plural}: {}", text(&letter["error"]));
    }
    if letter["error"].is_string() && letter["due"].is_string() {
        _ = write!(out, "; again {}", second(&letter["due"]));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_a_line_and_its_trouble_another() {
        let mut letter = json!({
            "id": "3f9a1c2b44d0e5f60123456789abcdef", "space": "ops", "state": "waiting", "severity": "error",
            "born": "2026-11-22T05:26:00.123Z", "tries": 0, "due": "2026-11-22T05:26:00.123Z", "error": null,
        });
        assert_eq!(line(&letter), "3f9a1c2b44d0  waiting error    2026-11-22 05:26:00Z  ops");
        letter["edit"] = true.into();
        assert_eq!(line(&letter), "3f9a1c2b44d0  waiting error    2026-11-22 05:26:00Z  ops, an edit");
        letter["edit"] = false.into();
        letter["error"] = "503 \u{1b}[31m".into();
        letter["tries"] = 1.into();
        assert_eq!(
            line(&letter),
            "3f9a1c2b44d0  waiting error    2026-11-22 05:26:00Z  ops\n    \
             1 failed try: 503 \\u{1b}[31m; again 2026-11-22 05:26:00Z"
        );
        (letter["state"], letter["due"], letter["tries"]) = ("dead".into(), Value::Null, 2.into());
        assert_eq!(
            line(&letter),
            "3f9a1c2b44d0  dead    error    2026-11-22 05:26:00Z  ops\n    2 failed tries: 503 \\u{1b}[31m"
        );
    }
}
