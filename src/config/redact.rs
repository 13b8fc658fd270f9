//! `[redact]`: what is taken out of lines beside the built-in list.

use super::lint;
use super::walk::{Table, Text, did_you_mean, shown};
use crate::redact::{Extra, ExtraFault, KEEP, Redactor};

const KEYS: [&str; 2] = ["extra", "emails"];

/// Each of them is run on every line that is kept.
const MOST_EXTRA: usize = 50;

/// Reads the table of the main file; without one, the built-in list.
pub(super) fn redactor(main: &Table<'_>) -> Redactor {
    let Some(table) = main.get("redact").and_then(|v| v.table()) else { return Redactor::new() };
    table.check_keys(&KEYS);
    let emails = table.get("emails").and_then(|v| v.flag()).unwrap_or(false);
    let texts = table.get("extra").and_then(|v| v.texts()).unwrap_or_default();
    if let Some(beyond) = texts.get(MOST_EXTRA) {
        let message = format!("`extra` has {} patterns, expected at most {MOST_EXTRA}", texts.len());
        beyond.scope.error_hint(beyond.span.clone(), message, "join patterns that say the same with `|`");
    }
    Redactor::with(emails, texts.iter().take(MOST_EXTRA).filter_map(extra).collect())
}

fn extra(text: &Text<'_>) -> Option<Extra> {
    let pattern = lint::pattern(text)?;
    for name in pattern.capture_names() {
        if name != KEEP {
            let message =
                format!("group `{}` means nothing here: what stays is called `{KEEP}`", shown(&name));
            let hint = did_you_mean(&name, &[KEEP])
                .unwrap_or_else(|| format!("call it `{KEEP}`, or write (?:…) for a group without a name"));
            text.scope.error_hint(text.span.clone(), message, hint);
            return None;
        }
    }
    match Extra::new(&pattern.expanded) {
        Ok(extra) => Some(extra),
        Err(ExtraFault::Empty) => {
            text.scope.error_hint(text.span.clone(), format!("`extra`: {}", ExtraFault::Empty), lint::KEEP);
            None
        }
        Err(fault @ ExtraFault::Unusable) => {
            let hint = "leave out `(?-u`: what is redacted is text by then";
            text.scope.error_hint(text.span.clone(), format!("`extra`: {fault}"), hint);
            None
        }
    }
}
