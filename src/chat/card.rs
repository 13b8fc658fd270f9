//! Draws a message as a Chat card: the body of a request that creates or edits one.
//!
//! A card, not `text`, because entity escaping makes any text inert, while Chat documents no escape for `text`.
//! Surprising: Chat ignores the widgets past the hundredth without a word, so they are counted here.

use serde_json::{Value, json};

use super::escape::{clean, html, label};
use super::sheet::{self, Block, Sheet};
use super::text;
use crate::message::Message;

/// A body is at most this large after escaping; Chat takes 32,000, and the rest is room for what proxies add.
pub const BODY_BYTES: usize = 30_000;
/// Chat ignores those past this number.
pub const WIDGETS: usize = 100;
/// Lines of a text before Chat folds it away behind "show more".
const TEXT_LINES: u8 = 12;
/// Lines of one sample before Chat folds it; each line around it is one more.
const SAMPLE_LINES: u8 = 4;
/// Samples that are seen before the section is opened.
const SAMPLES_SEEN: usize = 1;

/// On which surface of Chat a message is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    /// A card, with `fallbackText` for notifications.
    Card,
    /// Plain `text`: what is sent when Chat refuses the card.
    Plain,
}

/// The JSON body of the request that creates `message`, or edits the one whose place it takes: at most [`BODY_BYTES`]
/// bytes and [`WIDGETS`] widgets, whatever the message holds. The same message always gives the same bytes.
pub fn render(message: &Message, surface: Surface) -> String {
    sheet::fit(message, |sheet| {
        let (mut body, within) = match surface {
            Surface::Card => {
                let fallback = text::fallback(sheet);
                let sections: Vec<Value> = sections(sheet);
                let widgets: usize =
                    sections.iter().map(|s| s["widgets"].as_array().map_or(0, Vec::len)).sum();
                let header = json!({ "title": label(&sheet.title), "subtitle": label(&sheet.subtitle) });
                let card = json!({ "header": header, "sections": sections });
                let id = format!("m{}", message.no.0);
                (
                    json!({ "fallbackText": fallback, "cardsV2": [{ "cardId": id, "card": card }] }),
                    widgets <= WIDGETS,
                )
            }
            Surface::Plain => {
                let text = text::plain(sheet);
                let within = text.chars().count() <= text::TEXT_CHARS;
                (json!({ "text": text, "markupSyntax": "MARKUP_SYNTAX_CHAT" }), within)
            }
        };
        // a message that is there has its thread
        if message.edits.is_none() {
            body["thread"] = json!({ "threadKey": clean(&message.thread) });
        }
        let within = within && mention(&mut body, message);
        let body = body.to_string();
        let fits = within && body.len() <= BODY_BYTES;
        (body, fits)
    })
}

/// Names those who are to be notified, in the one place where Chat heeds it; whether the text is short enough.
fn mention(body: &mut Value, message: &Message) -> bool {
    if message.mention.is_empty() {
        return true;
    }
    let named: Vec<String> = message.mention.iter().map(|who| format!("<{who}>")).collect();
    let named = named.join(" ");
    let text = match body["text"].as_str() {
        Some(text) => format!("{named}\n{text}"),
        None => named,
    };
    let within = text.chars().count() <= text::TEXT_CHARS;
    body["text"] = text.into();
    body["markupSyntax"] = "MARKUP_SYNTAX_CHAT".into();
    within
}

fn sections(sheet: &Sheet) -> Vec<Value> {
    let mut out: Vec<Value> = sheet.blocks.iter().flat_map(block).collect();
    if let Some(rest) = &sheet.rest {
        out.push(json!({ "widgets": [paragraph(rest, TEXT_LINES)] }));
    }
    out
}

fn block(block: &Block) -> Vec<Value> {
    let mut widgets = vec![];
    let facts: Vec<&str> = [&block.key, &block.counts].into_iter().flatten().map(String::as_str).collect();
    if !facts.is_empty() {
        let mut decorated = json!({ "text": html(&facts.join("\n")), "wrapText": true });
        if !block.when.is_empty() {
            decorated["bottomLabel"] = label(&block.when).into();
        }
        widgets.push(json!({ "decoratedText": decorated }));
    }
    for text in [&block.text, &block.hint.as_ref().map(|h| format!("hint: {h}"))].into_iter().flatten() {
        widgets.push(paragraph(text, TEXT_LINES));
    }
    let held = block.held.as_ref().map(|held| format!("held back: {held}"));
    let last: Vec<String> = held.into_iter().chain(block.silence.clone()).collect();
    if !last.is_empty() {
        widgets.push(paragraph(&last.join("\n"), TEXT_LINES));
    }
    if let Some(secrets) = &block.secrets {
        widgets.push(paragraph(secrets, 1));
    }
    if let Some(url) = &block.runbook {
        let button = json!({ "text": "Runbook", "onClick": { "openLink": { "url": url } } });
        widgets.push(json!({ "buttonList": { "buttons": [button] } }));
    }
    if widgets.is_empty() {
        // a notice whose text was cut away: Chat refuses a section without widgets
        widgets.push(paragraph("(cut for length)", 1));
    }
    let header = label(&format!("{} {}", sheet::emoji(block.severity), block.name));
    let mut out = vec![json!({ "header": header, "widgets": widgets })];
    if !block.samples.is_empty() {
        out.push(samples(block));
    }
    out
}

fn samples(block: &Block) -> Value {
    let mut widgets: Vec<Value> = block
        .samples
        .iter()
        .map(|(place, line)| {
            let around = u8::try_from(line.matches('\n').count()).unwrap_or(u8::MAX);
            paragraph(&format!("{place}\n{line}"), SAMPLE_LINES.saturating_add(around))
        })
        .collect();
    if block.samples_left_out > 0 {
        widgets.push(paragraph(&format!("and {} more", block.samples_left_out), 1));
    }
    let mut section = json!({ "header": "Lines", "widgets": widgets });
    if widgets.len() > SAMPLES_SEEN {
        section["collapsible"] = true.into();
        section["uncollapsibleWidgetsCount"] = SAMPLES_SEEN.into();
    }
    section
}

fn paragraph(text: &str, max_lines: u8) -> Value {
    json!({ "textParagraph": { "text": html(text), "maxLines": max_lines } })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::{Alert, Held, Severity, What};
    use crate::chat::escape::{BREAK, invisible};
    use crate::chat::samples::{alert, any_message, message};
    use proptest::prelude::*;

    fn strings<'a>(value: &'a Value, out: &mut Vec<&'a str>) {
        match value {
            Value::String(s) => out.push(s),
            Value::Array(a) => a.iter().for_each(|v| strings(v, out)),
            Value::Object(o) => o.values().for_each(|v| strings(v, out)),
            _ => {}
        }
    }

    fn inert(text: &str) -> bool {
        text.match_indices('<').all(|(i, _)| text[i + 1..].starts_with('\u{200b}'))
    }

    fn widgets(body: &Value) -> usize {
        let sections = body["cardsV2"][0]["card"]["sections"].as_array().unwrap();
        sections.iter().map(|s| s["widgets"].as_array().unwrap().len()).sum()
    }

    #[test]
    fn an_opening_reads_like_this() {
        let one = Alert { runbook: Some("https://runbooks.example/ssh".into()), ..alert("sshd-brute-force") };
        let one = Alert { held: vec![Held { count: 12, reason: "repeats".into() }], ..one };
        let body: Value = serde_json::from_str(&render(&message(vec![one]), Surface::Card)).unwrap();
        let card = &body["cardsV2"][0]["card"];
        assert_eq!(card["header"], json!({ "title": "🟠 error on web1", "subtitle": "sshd-brute-force" }));
        assert_eq!(
            card["sections"][0],
            json!({
                "header": "🟠 sshd-brute-force",
                "widgets": [
                    { "decoratedText": { "text": "ip=192.0.2.1\n37 hits within 30s", "wrapText": true,
                                         "bottomLabel": "22 Nov 08:03:59 – 08:04:29 UTC" } },
                    { "textParagraph": { "text": "failed logins from 192.0.2.1", "maxLines": 12 } },
                    { "textParagraph": { "text": "held back: 12 repeats\nsilence: logherald silence sshd-brute-force \
                                          ip=192.0.2.1 --for 2h --why &#39;seen in ops&#39;", "maxLines": 12 } },
                    { "buttonList": { "buttons": [{ "text": "Runbook",
                        "onClick": { "openLink": { "url": "https://runbooks.example/ssh" } } }] } },
                ],
            })
        );
        let line = "08:03:59 /var/log/auth.log\nsshd[1]: &lt;users/all&gt; &amp; more";
        let sample = json!({ "textParagraph": { "text": line, "maxLines": 4 } });
        assert_eq!(card["sections"][1], json!({ "header": "Lines", "widgets": [sample] }));
        assert_eq!(body["thread"]["threadKey"], "t-1");
    }

    #[test]
    fn who_is_notified_stands_above_the_card_and_in_no_alert() {
        let mut m = message(vec![Alert { text: "<users/all>".into(), ..alert("r") }]);
        m.mention = vec!["users/all".into(), "users/1234".into()];
        let body: Value = serde_json::from_str(&render(&m, Surface::Card)).unwrap();
        assert_eq!(body["text"], "<users/all> <users/1234>");
        assert_eq!(body["markupSyntax"], "MARKUP_SYNTAX_CHAT");
        let fallback = body["fallbackText"].as_str().unwrap();
        assert!(body["cardsV2"][0]["card"].is_object() && inert(fallback));
        let plain: Value = serde_json::from_str(&render(&m, Surface::Plain)).unwrap();
        let text = plain["text"].as_str().unwrap();
        assert!(text.starts_with("<users/all> <users/1234>\n🟠 error on web1\n"), "{text}");
        assert_eq!(text.matches("<users/").count(), 2, "what a line says notifies nobody: {text}");
        m.mention.clear();
        let body: Value = serde_json::from_str(&render(&m, Surface::Card)).unwrap();
        assert!(body.get("text").is_none() && body.get("markupSyntax").is_none());
    }

    #[test]
    fn the_plain_form_names_its_syntax_and_its_thread() {
        let body: Value = serde_json::from_str(&render(&message(vec![alert("r")]), Surface::Plain)).unwrap();
        assert_eq!(body["markupSyntax"], "MARKUP_SYNTAX_CHAT");
        assert_eq!(body["thread"]["threadKey"], "t-1");
        assert!(body.get("cardsV2").is_none());
    }

    #[test]
    fn a_hundred_alerts_stay_within_a_hundred_widgets_and_keep_every_count() {
        let alerts: Vec<Alert> =
            (0..100).map(|i| Alert { hits: 1000 + i, ..alert(&format!("rule-{i}")) }).collect();
        let body = render(&message(alerts), Surface::Card);
        let json: Value = serde_json::from_str(&body).unwrap();
        assert!(widgets(&json) <= WIDGETS);
        for i in 0..100 {
            assert!(
                body.contains(&format!("rule-{i}\"")) && body.contains(&format!("{} hits", 1000 + i)),
                "{i}"
            );
        }
    }

    #[test]
    fn a_thousand_alerts_are_summed_up_exactly() {
        let alerts: Vec<Alert> = (0..1000)
            .map(|i| Alert { hits: 3, rule: format!("rule-{}", i % 40).into(), ..alert("r") })
            .collect();
        let body = render(&message(alerts), Surface::Card);
        let json: Value = serde_json::from_str(&body).unwrap();
        let mut texts = vec![];
        strings(&json["cardsV2"], &mut texts);
        let of = |t: &str| {
            t.split_whitespace()
                .collect::<Vec<_>>()
                .windows(2)
                .find(|w| w[1].starts_with("hit"))
                .map_or(0, |w| w[0].parse::<u64>().unwrap_or(0))
        };
        assert_eq!(texts.iter().map(|t| of(t)).sum::<u64>(), 3000);
    }

    #[test]
    fn a_notice_of_nothing_still_has_a_widget() {
        let bare = Alert {
            what: What::Notice,
            hits: 0,
            key: vec![],
            text: String::new(),
            samples: vec![],
            ..alert("n")
        };
        let body: Value = serde_json::from_str(&render(&message(vec![bare]), Surface::Card)).unwrap();
        assert_eq!(widgets(&body), 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn no_message_breaks_the_limits_or_leaves_anything_live(m in any_message()) {
            let body = render(&m, Surface::Card);
            prop_assert!(body.len() <= BODY_BYTES, "{} bytes", body.len());
            prop_assert_eq!(&body, &render(&m, Surface::Card));
            let json: Value = serde_json::from_str(&body).unwrap();
            prop_assert!((1..=WIDGETS).contains(&widgets(&json)));
            let mut texts = vec![];
            strings(&json["cardsV2"], &mut texts);
            for t in &texts {
                prop_assert!(!t.contains('<'), "live: {t}");
                prop_assert!(!t.chars().any(|c| (c.is_control() && c != '\n') || invisible(c)), "{t:?}");
                // nor is an entity cut
                let whole = ["&lt;", "&gt;", "&quot;", "&#39;", "&amp;"];
                let rest = whole.iter().fold((*t).to_owned(), |t, entity| t.replace(entity, ""));
                let cut = rest.split('&').skip(1).any(|r| r.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '#'));
                prop_assert!(!cut, "{t}");
            }
            let all = texts.join("\n");
            for a in m.alerts.iter().filter(|_| m.alerts.len() <= 40) {
                prop_assert!(all.contains(&label(&clean(sheet::who(a)))), "rule {:?}", a.rule);
                if a.what != What::Notice {
                    let counts = format!("{} hit", a.hits);
                    prop_assert!(all.contains(&counts), "no {counts}");
                }
            }
            let fallback = json["fallbackText"].as_str().unwrap();
            prop_assert!(inert(fallback) && !fallback.contains('`'));
            let unseen = |c: char| (c.is_control() && c != '\n') || (invisible(c) && c != BREAK);
            prop_assert!(!fallback.chars().any(unseen), "{fallback:?}");
        }

        #[test]
        fn no_message_breaks_the_plain_form(m in any_message()) {
            let body = render(&m, Surface::Plain);
            prop_assert!(body.len() <= BODY_BYTES);
            let json: Value = serde_json::from_str(&body).unwrap();
            let text = json["text"].as_str().unwrap();
            prop_assert!(text.chars().count() <= text::TEXT_CHARS);
            prop_assert!(inert(text));
            prop_assert!(!text.contains("](") );
            let unseen = |c: char| (c.is_control() && c != '\n') || (invisible(c) && c != BREAK);
            prop_assert!(!text.chars().any(unseen), "{text:?}");
            // a fence stands alone on its line, and each that opens is closed
            let fences = text.lines().filter(|l| *l == "```").count();
            prop_assert!(fences.is_multiple_of(2) && text.matches('`').count() == 3 * fences, "{text}");
        }
    }

    #[test]
    fn every_severity_has_its_own_sign() {
        let signs: std::collections::BTreeSet<_> = Severity::ALL.map(sheet::emoji).into_iter().collect();
        assert_eq!(signs.len(), 4);
    }
}
