//! Which bodies of a create request are accepted: only fields that Google documents, of their types, within its limits.

use serde_json::Value;

enum Shape {
    Text,
    OneOf(&'static [&'static str]),
    Bool,
    Count,
    List(&'static Shape),
    Fields(&'static [(&'static str, Shape)]),
}

use Shape::{Bool, Count, Fields, List, OneOf, Text};

const MESSAGE: Shape = Fields(&[
    ("text", Text),
    ("fallbackText", Text),
    ("markupSyntax", OneOf(&["MARKUP_SYNTAX_CHAT", "MARKUP_SYNTAX_MARKDOWN"])),
    ("thread", Fields(&[("threadKey", Text), ("name", Text)])),
    ("cardsV2", List(&Fields(&[("cardId", Text), ("card", CARD)]))),
]);

const CARD: Shape = Fields(&[
    (
        "header",
        Fields(&[
            ("title", Text),
            ("subtitle", Text),
            ("imageUrl", Text),
            ("imageType", OneOf(&["SQUARE", "CIRCLE"])),
            ("imageAltText", Text),
        ]),
    ),
    (
        "sections",
        List(&Fields(&[
            ("header", Text),
            ("collapsible", Bool),
            ("uncollapsibleWidgetsCount", Count),
            ("widgets", List(&WIDGET)),
        ])),
    ),
]);

const WIDGET: Shape = Fields(&[
    (
        "textParagraph",
        Fields(&[("text", Text), ("maxLines", Count), ("textSyntax", OneOf(&["HTML", "MARKDOWN"]))]),
    ),
    (
        "decoratedText",
        Fields(&[("topLabel", Text), ("text", Text), ("bottomLabel", Text), ("wrapText", Bool)]),
    ),
    ("buttonList", Fields(&[("buttons", List(&BUTTON))])),
    ("divider", Fields(&[])),
]);

const BUTTON: Shape = Fields(&[
    ("text", Text),
    ("altText", Text),
    ("onClick", Fields(&[("openLink", Fields(&[("url", Text)]))])),
]);

/// The first fault of a body, in the words of the live service.
pub(super) fn fault(raw: &[u8]) -> Option<String> {
    if raw.len() > 32_000 {
        return Some(format!("Message is longer than 32000 bytes: {}", raw.len()));
    }
    let body: Value = match serde_json::from_slice(raw) {
        Ok(body) => body,
        Err(e) => return Some(format!("Invalid JSON payload received. {e}")),
    };
    shape_fault(&body, &MESSAGE, "message").or_else(|| limit_fault(&body))
}

fn shape_fault(value: &Value, shape: &Shape, at: &str) -> Option<String> {
    let fits = match (shape, value) {
        (Text, Value::String(_)) | (Bool, Value::Bool(_)) => true,
        (OneOf(words), Value::String(s)) => words.contains(&s.as_str()),
        (Count, Value::Number(n)) => n.as_u64().is_some_and(|n| i32::try_from(n).is_ok()),
        (List(shape), Value::Array(items)) => {
            return items.iter().enumerate().find_map(|(i, v)| shape_fault(v, shape, &format!("{at}[{i}]")));
        }
        (Fields(fields), Value::Object(object)) => {
            return object.iter().find_map(|(name, v)| match fields.iter().find(|(n, _)| n == name) {
                Some((_, shape)) => shape_fault(v, shape, &format!("{at}.{name}")),
                None => Some(format!("Invalid JSON payload received. Unknown name \"{name}\" at '{at}'")),
            });
        }
        _ => false,
    };
    (!fits).then(|| format!("Invalid value at '{at}'"))
}

fn limit_fault(body: &Value) -> Option<String> {
    let cards = body["cardsV2"].as_array().map_or(&[][..], Vec::as_slice);
    let text = body["text"].as_str().unwrap_or_default();
    if text.is_empty() && cards.is_empty() {
        return Some("Message cannot be empty.".into());
    }
    if text.chars().count() > 4096 {
        return Some("Message is longer than 4096 characters".into());
    }
    if !text.is_empty() && body["markupSyntax"].is_null() {
        return Some("`text` without `markupSyntax`".into());
    }
    if !cards.is_empty() && body["fallbackText"].as_str().is_none_or(str::is_empty) {
        return Some("a card without `fallbackText`".into());
    }
    for card in cards {
        let sections = card["card"]["sections"].as_array()?;
        let widgets: Vec<usize> =
            sections.iter().map(|s| s["widgets"].as_array().map_or(0, Vec::len)).collect();
        if sections.is_empty() || widgets.contains(&0) {
            return Some("a section without widgets".into());
        }
        if widgets.iter().sum::<usize>() > 100 {
            return Some("more than 100 widgets".into());
        }
        if let Some(kinds) = sections
            .iter()
            .flat_map(|s| s["widgets"].as_array().into_iter().flatten())
            .map(|w| w.as_object().map_or(0, serde_json::Map::len))
            .find(|n| *n != 1)
        {
            return Some(format!("a widget of {kinds} kinds"));
        }
    }
    None
}
