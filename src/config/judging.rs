//! The keys of a rule that say when an incident opens, ends and speaks: `resolve`, `hold`, `say_end`.
//!
//! As with every key, what a rule says itself goes before what `defaults` say. A key that means nothing without another is
//! a fault where the rule says it itself, and without effect where `defaults` do: they are for all rules.

use std::time::Duration;

use super::lint;
use super::walk::{Scope, Table, Text, Value, list, shown};
use crate::rules::Pattern;

/// Keys that this file reads.
pub(super) const KEYS: [&str; 3] = ["resolve", "hold", "say_end"];

const MOMENT: Duration = Duration::from_millis(1);
/// What nobody hears of for longer than this is not held but lost.
const MOST_HOLD: Duration = Duration::from_secs(86_400);

/// As a rule or `defaults` have them.
#[derive(Clone, Debug, Default)]
pub(super) struct Judging<'t> {
    names_resolve: bool,
    resolve: Option<(Pattern, Text<'t>)>,
    hold: Option<(Duration, Value<'t>)>,
    say_end: Option<bool>,
}

/// What runs of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Judged {
    /// There is a `resolve`, sound or not.
    pub(super) names_resolve: bool,
    pub(super) resolve: Option<Pattern>,
    pub(super) hold: Duration,
    pub(super) say_end: bool,
}

/// Reads them.
pub(super) fn judging<'t>(table: &Table<'t>) -> Judging<'t> {
    let resolve = table.get("resolve").and_then(|v| v.text());
    let hold = table.get("hold").and_then(|v| Some((v.duration(&(MOMENT..=MOST_HOLD))?, v)));
    Judging {
        names_resolve: table.get("resolve").is_some(),
        resolve: resolve.and_then(|text| Some((lint::pattern(&text)?, text))),
        hold,
        say_end: table.get("say_end").and_then(|v| v.flag()),
    }
}

impl Judging<'_> {
    /// What they come to for a rule whose key has these parts.
    pub(super) fn settle(&self, default: &Judging<'_>, by: &[Text<'_>], scope: &Scope<'_>) -> Judged {
        let resolve = self.resolve.as_ref().or(default.resolve.as_ref());
        if let Some((pattern, text)) = &self.resolve {
            check_resolve(pattern, text, by);
        }
        let names_resolve = self.names_resolve || default.names_resolve;
        if let Some((_, value)) = self.hold.as_ref().filter(|_| !names_resolve) {
            let message = "`hold` waits for a `resolve`, and there is none";
            scope.error_hint(
                value.span.clone(),
                message,
                "add the pattern that says that it is over, or remove `hold`",
            );
        }
        let hold = self.hold.as_ref().or(default.hold.as_ref()).filter(|_| resolve.is_some());
        Judged {
            names_resolve,
            resolve: resolve.map(|(pattern, _)| pattern.clone()),
            hold: hold.map(|h| h.0).unwrap_or_default(),
            say_end: self.say_end.or(default.say_end).unwrap_or_default(),
        }
    }
}

/// Warns of a capture that chooses nothing.
fn check_resolve(pattern: &Pattern, text: &Text<'_>, by: &[Text<'_>]) {
    let names: Vec<&str> = by.iter().map(|t| t.value).collect();
    for name in pattern.capture_names().iter().filter(|name| !names.contains(&name.as_str())) {
        let message =
            format!("`resolve` captures `{}`, which is not in `by`, so it chooses no incident", shown(name));
        let hint = match names.as_slice() {
            [] => "without `by` it ends the one incident there is; `(?:…)` groups without a name".to_owned(),
            names => format!("in `by` are: {}; `(?:…)` groups without a name", list(names)),
        };
        text.scope.warn(text.span.clone(), message, hint);
    }
}
