//! `expect`: what is to come, and by when.

use std::time::Duration;

use super::Env;
use super::source::zone;
use super::value::minute_of_day;
use super::walk::{Scope, Table, Text, Value};
use crate::judge::{Expect, When};

/// Sooner than this nobody can say that a line has not come.
const SOONEST: Duration = Duration::from_secs(1);
/// What comes more seldom than once a week is not watched for line by line.
const LATEST: Duration = Duration::from_secs(7 * 86_400);
/// Each is a key for as long as the rule is there.
const MOST_KEYS: usize = 100;

/// Reads it.
pub(super) fn expect(value: &Value<'_>, env: &Env) -> Option<Expect> {
    let table = value.table()?;
    table.check_keys(&["every", "daily_by", "from", "tz", "keys"]);
    let (every, daily) = (table.get("every"), table.get("daily_by"));
    let when = match (&every, &daily) {
        (Some(every), None) => {
            for key in ["from", "tz"] {
                if let Some(odd) = table.get(key) {
                    odd.scope.error_hint(odd.span, format!("`{key}` goes with `daily_by`"), "remove it");
                }
            }
            every.duration(&(SOONEST..=LATEST)).map(When::Every)
        }
        (None, Some(by)) => daily_by(&table, by, env),
        (Some(_), Some(by)) => {
            let hint = "write two rules where both are meant";
            by.scope.error_hint(by.span.clone(), "`every` and `daily_by` in one `expect`", hint);
            None
        }
        (None, None) => {
            let hint = "write { every = \"10m\" } or { daily_by = \"03:30\", from = \"01:00\" }";
            value.scope.error_hint(value.span.clone(), "`expect` without `every` or `daily_by`", hint);
            None
        }
    };
    let keys = table.get("keys").map_or(Some(Vec::new()), |v| keys(&v));
    Some(Expect { when: when?, keys: keys? })
}

fn daily_by(table: &Table<'_>, by: &Value<'_>, env: &Env) -> Option<When> {
    let by = minute(by);
    let from = table.get("from").map_or(by, |v| minute(&v));
    let tz = table.get("tz").map_or_else(|| Some(env.tz.clone()), |v| zone(&v));
    Some(When::Daily { by: by?, from: from?, tz: tz? })
}

fn minute(value: &Value<'_>) -> Option<u16> {
    let text = value.text()?;
    let minute = minute_of_day(text.value);
    if let Err(fault) = &minute {
        text.scope.error(text.span, format!("`{}`: {fault}", value.key));
    }
    minute.ok()
}

fn keys(value: &Value<'_>) -> Option<Vec<String>> {
    let texts = value.texts()?;
    if texts.is_empty() || texts.len() > MOST_KEYS {
        let message = format!("`keys` has {} values, expected 1 to {MOST_KEYS}", texts.len());
        value.scope.error_hint(
            value.span.clone(),
            message,
            "leave it out to expect the keys of the last 7 days",
        );
        return None;
    }
    if let Some(empty) = texts.iter().find(|t| t.value.is_empty()) {
        empty.scope.error_hint(empty.span.clone(), "an empty key", "a capture that took no part is `(none)`");
        return None;
    }
    Some(texts.iter().map(|t| t.value.to_owned()).collect())
}

/// Does it go together with the rest of its rule? `others` are keys that count hits towards something.
pub(super) fn fits(
    value: &Value<'_>,
    expect: &Expect,
    by: &[Text<'_>],
    others: &[&str],
    scope: &Scope<'_>,
) -> bool {
    if let Some(other) = others.first() {
        let message = format!("`expect` and `{other}` in one rule: a hit of the one is what is wanted");
        scope.error_hint(value.span.clone(), message, "write two rules");
        return false;
    }
    if !expect.keys.is_empty() && by.len() != 1 {
        let message = format!("`keys` of `expect` are values of one name, and `by` has {}", by.len());
        scope.error_hint(value.span.clone(), message, "let `by` be the one name that they are values of");
        return false;
    }
    true
}
