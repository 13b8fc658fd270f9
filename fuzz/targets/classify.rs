//! Any answer of any server to any question: an outcome that cannot loop, hurry, or say more than a line.
//!
//! Only Chat's own words for "I have it" are a delivery: a message of this very space, or that its id is taken.

#![no_main]

use std::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use logherald::chat::{Answer, Ask, Caller, Door, Outcome, classify};
use logherald::time::Wall;

const SPACE: &str = "spaces/AAAA";

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    status: u16,
    retry_after: Option<&'a str>,
    date: Option<&'a str>,
    rest: bool,
    named: bool,
    plain: bool,
    cut: bool,
    at: i64,
    /// Around the body: what Google's errors look like, so that the fields inside are found.
    form: u8,
    text: &'a str,
    more: &'a str,
    body: &'a [u8],
}

impl Input<'_> {
    fn body(&self) -> Vec<u8> {
        let quoted = |t: &str| serde_json::Value::from(t).to_string();
        let (a, b) = (quoted(self.text), quoted(self.more));
        match self.form % 5 {
            0 => format!("{{\"name\":{a},\"thread\":{{\"name\":{b}}}}}").into_bytes(),
            1 => format!("{{\"error\":{{\"status\":{a},\"message\":{b}}}}}").into_bytes(),
            2 => format!("{{\"error\":{{\"details\":[{{\"reason\":{a}}},{{\"fieldViolations\":[]}}],\"message\":{b}}}}}").into_bytes(),
            3 => format!("{{\"name\":\"{SPACE}/messages/{}\"}}", self.text.replace(['"', '\\'], "")).into_bytes(),
            _ => self.body.to_vec(),
        }
    }
}

fuzz_target!(|input: Input| {
    let caller = Caller {
        client_email: input.named.then(|| "a@b.example".to_owned()),
        project_id: input.named.then(|| "project".to_owned()),
    };
    let door = if input.rest { Door::Rest(caller) } else { Door::Webhook };
    let ask = Ask { door: &door, space: SPACE, plain: input.plain, edit: false, at: Wall(input.at) };
    let body = input.body();
    // most statuses are three digits, and these are the ones that differ
    let status = if input.form & 0x80 == 0 { 200 + input.status % 400 } else { input.status };
    let answer =
        Answer { status, retry_after: input.retry_after, date: input.date, body: &body, cut: input.cut };
    let outcome = classify(&ask, &answer);
    let say = |text: &str| {
        assert!(!text.is_empty() && text.chars().count() < 1_000, "{text}");
        assert!(!text.chars().any(char::is_control), "{text:?}");
    };
    let wait = |after: Option<Duration>| {
        assert!(after.is_none_or(|d| (1..=600).contains(&d.as_secs())), "{after:?}");
    };
    match &outcome {
        Outcome::Delivered { name, .. } => {
            let json: serde_json::Value = serde_json::from_slice(&body).expect("a delivery says so in JSON");
            match name {
                Some(name) => {
                    assert!((200..300).contains(&status) && !input.cut);
                    assert!(name.starts_with("spaces/AAAA/messages/") && json["name"] == **name);
                }
                None => assert!(status == 409 && json["error"]["status"] == "ALREADY_EXISTS"),
            }
        }
        Outcome::Retry { why, after } | Outcome::Slow { why, after } => {
            say(why);
            wait(*after);
        }
        Outcome::Pause { why, hint, again, .. } => {
            say(why);
            say(hint);
            assert!(*again >= Duration::from_secs(60));
        }
        Outcome::Unanswered { why } => panic!("this was an answer: {why}"),
        Outcome::Gone { why } => panic!("what is created edits nothing: {why}"),
        Outcome::Refused { why, resend_plain } => {
            say(why);
            assert!(!(*resend_plain && input.plain), "the plain form would be sent for ever");
        }
    }
});
