//! `tests` of a rule: a line, what its wrapping says beside it, and what the rule is to give for it.
//!
//! Here they are only read; `check` tries them on the code that runs. A line stands in a test as `match` sees it: the
//! text of a container's line, not the JSON around it, which is why a test may give `fields`.

use std::ops::Range;

use super::judging::Judged;
use super::names::{NO_FIELDS, Names, flat};
use super::settings::Gives;
use super::walk::{Table, Value, did_you_mean, list, shown};
use crate::line::Field;

/// A test's line is no longer than the longest line that is matched whole by default, in bytes.
const TEST_LINE: usize = 256 << 10;

/// One of a rule's `tests`.
#[derive(Debug)]
pub(super) struct Test {
    pub(super) line: String,
    pub(super) fields: Vec<Field>,
    pub(super) gives: Gives,
    pub(super) span: Range<usize>,
}

/// Reads `tests`. `names` is `None` where the pattern is faulty, so that nothing can be said of names.
pub(super) fn tests(value: &Value<'_>, names: Option<&Names>, judged: &Judged) -> Vec<Test> {
    let tables = value.array().unwrap_or_default();
    tables.iter().filter_map(Value::table).filter_map(|t| test(&t, names, judged)).collect()
}

fn test(table: &Table<'_>, names: Option<&Names>, judged: &Judged) -> Option<Test> {
    table.check_keys(&["line", "gives", "fields", "key"]);
    let missing = |what: &str| {
        let hint = "a test is { line = '…', gives = \"nothing\" }, \"excluded\" or { capture = \"value\" }";
        table.scope.error_hint(table.span.clone(), format!("a test without `{what}`"), hint);
    };
    let line = table.get("line");
    let gives = table.get("gives");
    if line.is_none() {
        missing("line");
    }
    if gives.is_none() {
        missing("gives");
    }
    let (line, gives) = (line?.text(), gives?);
    let span = gives.span.clone();
    let gives = expectation(&gives, names, judged, table.get("key"))?;
    let fields = match table.get("fields") {
        Some(value) => wrapping(&value, names)?,
        None => Vec::new(),
    };
    let line = line?;
    if line.value.len() > TEST_LINE {
        line.scope.error(line.span, "`line` is longer than 256 KiB");
        return None;
    }
    Some(Test { line: line.value.to_owned(), fields, gives, span })
}

/// What the wrapping of the line says.
fn wrapping(value: &Value<'_>, names: Option<&Names>) -> Option<Vec<Field>> {
    let table = value.table()?;
    if names.is_some_and(|n| !n.have_fields) {
        let message = "`fields` in a test of a rule whose lines have none";
        value.scope.error_hint(value.span.clone(), message, NO_FIELDS);
    }
    let one = |name: String, value: &Value<'_>| match value.as_scalar() {
        Some(text) => Some(Field { name: name.into(), value: text.into() }),
        None => value.expected("a string, a number or a boolean"),
    };
    flat(&table).into_iter().map(|(name, value)| one(name, &value)).collect()
}

fn expectation(
    value: &Value<'_>,
    known: Option<&Names>,
    judged: &Judged,
    key: Option<Value<'_>>,
) -> Option<Gives> {
    let resolved = value.as_text().is_some_and(|t| t.value == "resolved");
    if let Some(key) = key.as_ref().filter(|_| !resolved) {
        let message = "`key` in a test that does not give `\"resolved\"`";
        key.scope.error_hint(key.span.clone(), message, "a hit's key is made of its captures: give those");
    }
    if value.is_table() {
        let table = value.table()?;
        let mut wanted = Vec::new();
        for (name, span, member) in table.entries() {
            if let Some(known) = known.filter(|k| !k.captures.iter().any(|c| c == name)) {
                let names: Vec<&str> = known.captures.iter().map(String::as_str).collect();
                let name = shown(name);
                let hint = did_you_mean(&name, &names).unwrap_or_else(|| match names.as_slice() {
                    _ if known.have_fields => {
                        "of fields a test sees those that `by` or `message` names".to_owned()
                    }
                    [] => "`match` captures nothing; `gives = {}` expects a hit".to_owned(),
                    names => format!("`match` captures: {}", list(names)),
                });
                value.scope.error_hint(
                    span,
                    format!("`gives` names `{name}`, which `match` does not capture"),
                    hint,
                );
            }
            wanted.push((name.to_owned(), member.text()?.value.to_owned()));
        }
        return Some(Gives::Captures(wanted));
    }
    let Some(text) = value.as_text() else {
        return value.expected(
            "`\"nothing\"`, `\"excluded\"`, `\"resolved\"` or a table such as `{ user = \"root\" }`",
        );
    };
    match text.value {
        "nothing" => Some(Gives::Nothing),
        "excluded" => Some(Gives::Excluded),
        "resolved" => resolved_by(value, key, judged),
        other => {
            let message = format!(
                "`gives` is `{}`, expected `nothing`, `excluded`, `resolved` or a table such as `{{ user = \"root\" }}`",
                shown(other)
            );
            value.scope.error(value.span.clone(), message);
            None
        }
    }
}

/// What a line is expected to end: `key` names parts of the key and their values.
fn resolved_by(value: &Value<'_>, key: Option<Value<'_>>, judged: &Judged) -> Option<Gives> {
    let Some(resolve) = &judged.resolve else {
        if !judged.names_resolve {
            let message = "`gives = \"resolved\"` in a test of a rule without `resolve`";
            value.scope.error_hint(value.span.clone(), message, "add the pattern that says that it is over");
        }
        return None;
    };
    let mut wanted = Vec::new();
    for (name, span, member) in key.and_then(|k| k.table()).iter().flat_map(Table::entries) {
        let captures = resolve.capture_names();
        if !captures.iter().any(|c| c == name) {
            let message = format!("`key` names `{}`, which `resolve` does not capture", shown(name));
            let names: Vec<&str> = captures.iter().map(String::as_str).collect();
            let hint = did_you_mean(name, &names).unwrap_or_else(|| match names.as_slice() {
                [] => "`resolve` captures nothing: it ends every incident of the rule".to_owned(),
                names => format!("`resolve` captures: {}", list(names)),
            });
            value.scope.error_hint(span, message, hint);
        }
        wanted.push((name.to_owned(), member.text()?.value.to_owned()));
    }
    Some(Gives::Resolved(wanted))
}
