//! Any message on every surface: valid JSON, within Chat's limits, and nothing in it that is live.
//!
//! What is live: in a card anything that HTML reads as markup; in `text` a mention, a link, a fence or a masked
//! address; in the terminal any control character that is not the agent's own.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use logherald::alert::{Alert, AlertNo, Held, Sample, Severity, What};
use logherald::chat::{BODY_BYTES, COLUMNS, Surface, WIDGETS, draw, render};
use logherald::message::{Message, MessageNo};
use logherald::time::Wall;
use serde_json::Value;
use unicode_width::UnicodeWidthStr;

const WHATS: [What; 15] = What::ALL;
/// A line of a log is cut here before it becomes a sample.
const LONGEST: usize = 2_048;
const BREAK: char = '\u{200b}';

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    host: &'a str,
    thread: &'a str,
    /// Every alert so often: many alerts and long texts are what limits are for.
    times: u8,
    longer: u8,
    alerts: Vec<Said<'a>>,
}

#[derive(Arbitrary, Debug)]
struct Said<'a> {
    what: u8,
    severity: u8,
    rule: &'a str,
    key: Vec<(&'a str, &'a str)>,
    text: &'a str,
    counts: [u64; 3],
    times: [i64; 2],
    samples: Vec<(&'a str, &'a str)>,
    runbook: Option<&'a str>,
    held: Vec<(u64, &'a str)>,
    hint: Option<&'a str>,
}

/// `text` so often, as far as a line can be long.
fn often(text: &str, times: usize) -> String {
    text.repeat(times.min(LONGEST / text.len().max(1)).max(1))
}

impl Said<'_> {
    fn alert(&self, longer: usize) -> Alert {
        Alert {
            no: AlertNo(1),
            what: WHATS[usize::from(self.what) % WHATS.len()],
            rule: self.rule.into(),
            severity: Severity::ALL[usize::from(self.severity) % 4],
            key: self.key.iter().map(|(n, v)| ((*n).to_owned(), often(v, longer))).collect(),
            text: often(self.text, longer),
            hits: self.counts[0],
            total: self.counts[1],
            incidents: self.counts[2],
            first: Wall(self.times[0]),
            last: Wall(self.times[1]),
            samples: self
                .samples
                .iter()
                .map(|(line, file)| Sample {
                    line: often(line, longer).into(),
                    file: (*file).into(),
                    at: Wall(self.times[0]),
                    ..Sample::default()
                })
                .collect(),
            // a runbook comes from the rules file, but what is no link must not become one
            runbook: self.runbook.map(|r| format!("https://runbooks.example/{r}")),
            held: self
                .held
                .iter()
                .map(|(count, r)| Held { count: *count, reason: (*r).to_owned() })
                .collect(),
            hint: self.hint.map(str::to_owned),
        }
    }
}

fn strings<'a>(value: &'a Value, out: &mut Vec<&'a str>) {
    match value {
        Value::String(s) => out.push(s),
        Value::Array(a) => a.iter().for_each(|v| strings(v, out)),
        // a link is checked by itself, and is no text
        Value::Object(o) => o.iter().filter(|(k, _)| *k != "url").for_each(|(_, v)| strings(v, out)),
        _ => {}
    }
}

/// No mention, link, fence or masked address in what Chat reads as markup.
fn assert_inert(text: &str) {
    for (i, _) in text.match_indices('<') {
        assert!(text[i + 1..].starts_with(BREAK), "a tag: {text:?}");
    }
    for (i, c) in text.match_indices(['&', '@']) {
        let next = text[i + 1..].chars().next().unwrap_or(' ');
        assert!(next == BREAK || c == "&" && next != '#' && !next.is_ascii_alphanumeric(), "live: {text:?}");
    }
    assert!(!text.contains('`') && !text.contains("://") && !text.contains("]("), "live: {text:?}");
}

fn assert_card(message: &Message) {
    let body = render(message, Surface::Card);
    assert!(body.len() <= BODY_BYTES, "{} bytes", body.len());
    let json: Value = serde_json::from_str(&body).expect("a body is JSON");
    let sections = json["cardsV2"][0]["card"]["sections"].as_array().expect("a card has sections");
    let widgets = |s: &Value| s["widgets"].as_array().map_or(0, Vec::len);
    assert!(!sections.is_empty() && sections.iter().all(|s| widgets(s) > 0), "an empty section");
    assert!(sections.iter().map(widgets).sum::<usize>() <= WIDGETS);
    let mut texts = Vec::new();
    strings(&json["cardsV2"], &mut texts);
    for text in texts {
        assert!(!text.contains(['<', '>']), "a tag: {text:?}");
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "a control: {text:?}");
    }
    assert_inert(json["fallbackText"].as_str().expect("a card has a fallback"));
}

fn assert_text(message: &Message) {
    let body = render(message, Surface::Plain);
    assert!(body.len() <= BODY_BYTES, "{} bytes", body.len());
    let json: Value = serde_json::from_str(&body).expect("a body is JSON");
    let text = json["text"].as_str().expect("the plain form has a text");
    assert!(text.chars().count() <= 4_000);
    let mut fences = 0;
    for line in text.lines() {
        match line {
            "```" => fences += 1,
            _ if line.starts_with("runbook: https://runbooks.example/") => {
                assert!(!line.contains(['<', '>', ' ', '`']) || line.matches(' ').count() == 1)
            }
            _ => assert_inert(line),
        }
    }
    assert_eq!(fences % 2, 0, "an open fence: {text:?}");
}

fuzz_target!(|input: Input| {
    let longer = 1 + usize::from(input.longer % 64) * 8;
    let said: Vec<Alert> = input.alerts.iter().take(8).map(|a| a.alert(longer)).collect();
    let times = if input.times > 240 { 150 } else { 1 + usize::from(input.times % 3) };
    let alerts: Vec<Alert> = said.iter().cycle().take(said.len() * times).cloned().collect();
    if alerts.is_empty() {
        return;
    }
    let message = Message {
        no: MessageNo(7),
        space: "ops".into(),
        thread: input.thread.to_owned(),
        host: input.host.into(),
        severity: alerts.iter().map(|a| a.severity).max().unwrap_or_default(),
        alerts,
        at: Wall(1_795_334_670_000),
        mention: Vec::new(),
        edits: None,
    };
    assert_card(&message);
    assert_text(&message);
    let drawn = draw(&message, false);
    assert!(!drawn.chars().any(|c| c.is_control() && c != '\n'), "{drawn:?}");
    assert!(drawn.lines().all(|l| l.width() <= COLUMNS), "{drawn}");
    let bare: String = draw(&message, true);
    assert!(bare.len() >= drawn.len());
});
