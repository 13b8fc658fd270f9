//! What the running agent would make of a hit now: asked over its socket, for `explain`.
//!
//! It is a question, and changes nothing. Where no agent runs, that is said once for each hit and is no fault: rules are
//! explained before there is one. Of a whole log from standard input only the first hits are asked about.

use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::agent::control::{self, ControlError};

use super::silence::text;
use super::status::number;
use super::{SocketArgs, paths, wait_for};

/// Hits that the agent is asked about; one who pipes in a log wants to know of its lines.
const ASKED: usize = 100;

/// The agent, as long as it answers.
#[derive(Debug)]
pub(super) struct Agent {
    socket: Option<PathBuf>,
    /// Why it is not asked.
    silent: String,
    asked: usize,
}

/// What it says of one hit.
pub(super) enum Said {
    /// An outlook, as it gave it.
    Outlook(Value),
    /// It says nothing, and why.
    Nothing(String),
}

impl Agent {
    pub(super) fn at(args: &SocketArgs) -> Agent {
        let socket = paths::socket(args.state.as_deref()).ok();
        Agent { socket, silent: "no agent is running that could be asked".to_owned(), asked: 0 }
    }

    /// Of a hit of this rule with these values of its key.
    pub(super) fn of(&mut self, rule: &str, key: &[String]) -> Said {
        let Some(socket) = &self.socket else { return Said::Nothing(self.silent.clone()) };
        if self.asked == ASKED {
            self.stop(format!("the agent is asked about {ASKED} hits at the most"));
            return Said::Nothing(self.silent.clone());
        }
        self.asked += 1;
        let body = serde_json::to_vec(&json!({ "rule": rule, "key": key })).unwrap_or_default();
        match wait_for(control::send(socket, "POST", "/outlook", body)) {
            Ok(Ok((200, answer))) => match serde_json::from_slice(&answer) {
                Ok(outlook) => Said::Outlook(outlook),
                Err(e) => Said::Nothing(format!("the agent's answer is no JSON: {e}")),
            },
            Ok(Ok((422, _))) => Said::Nothing("the running agent has not loaded this rule".to_owned()),
            Ok(Ok((code, _))) => Said::Nothing(format!("the running agent answered {code}")),
            Ok(Err(ControlError::NoAgent { .. })) => {
                self.socket = None;
                Said::Nothing(self.silent.clone())
            }
            Ok(Err(e)) => {
                self.stop(e.to_string());
                Said::Nothing(self.silent.clone())
            }
            Err(failure) => Said::Nothing(failure.text),
        }
    }

    fn stop(&mut self, why: String) {
        (self.socket, self.silent) = (None, why);
    }
}

impl Said {
    /// In a line, for people.
    pub(super) fn line(&self) -> String {
        let outlook = match self {
            Said::Nothing(why) => return format!("now: {why}"),
            Said::Outlook(outlook) => outlook,
        };
        let what = text(&outlook["what"]);
        let mut out = format!("now: {what}; room for {} of the rule", number(&outlook["left"]));
        for (space, left) in outlook["spaces"].as_object().into_iter().flatten() {
            // writing to a `String` cannot fail
            _ = write!(out, ", {} messages to `{space}`", number(left));
        }
        out
    }

    /// For programs: the outlook, or why there is none.
    pub(super) fn json(&self) -> Value {
        match self {
            Said::Outlook(outlook) => outlook.clone(),
            Said::Nothing(why) => json!({ "none": why }),
        }
    }
}
