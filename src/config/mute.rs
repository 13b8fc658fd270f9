//! `[[mute]]`: the windows of the week in which rules are held.
//!
//! Read from every file, included ones too: a rule pack knows best when its rules are to be quiet. A mute that would
//! never end is refused, because that is what `enabled = false` says, and says to who reads the rule.

use std::sync::Arc;

use super::Env;
use super::source::zone;
use super::value;
use super::walk::{LISTED, Table, Text, Value, check_name, did_you_mean, list, shown};
use crate::judge::{DAY, EVERY_DAY, MutePolicy, RuleGlob, Window};

const KNOWN: [&str; 4] = ["name", "when", "rules", "even_critical"];
const WHEN: [&str; 4] = ["days", "from", "to", "tz"];

/// At most this many mutes in all files: each is looked at when one of them begins or ends.
const MOST_MUTES: usize = 100;

/// As `days` writes them, Monday first.
const DAYS: [(&str, u8); 7] =
    [("mon", 0), ("tue", 1), ("wed", 2), ("thu", 3), ("fri", 4), ("sat", 5), ("sun", 6)];

const EXAMPLE: &str = "write it like when = { days = [\"sun\"], from = \"02:00\", to = \"04:00\" }";

/// A mute with the texts that name rules.
#[derive(Debug)]
struct Draft<'t> {
    name: Text<'t>,
    policy: MutePolicy,
}

/// Reads every `[[mute]]`; `rules` are the names of all rules of the files.
pub(super) fn mutes<'t>(
    tables: impl Iterator<Item = Table<'t>>,
    rules: &[&str],
    env: &Env,
) -> Vec<MutePolicy> {
    let mut all: Vec<Draft<'_>> = Vec::new();
    for table in tables {
        let Some(draft) = mute(&table, rules, env) else { continue };
        let name = &draft.name;
        if let Some(first) = all.iter().find(|m| m.name.value == name.value) {
            let message = format!("mute `{}` is named twice", name.value);
            let also = (first.name.scope.place(first.name.span.clone()), "first here");
            name.scope.clash(name.span.clone(), message, "give one of them another name", also);
        } else if all.len() == MOST_MUTES {
            let message = format!("more than {MOST_MUTES} mutes");
            name.scope.error_hint(name.span.clone(), message, "one mute may name many `rules` and `days`");
            break;
        } else {
            all.push(draft);
        }
    }
    all.into_iter().map(|m| m.policy).collect()
}

fn mute<'t>(table: &Table<'t>, rules: &[&str], env: &Env) -> Option<Draft<'t>> {
    let scope = &table.scope;
    table.check_keys(&KNOWN);
    let name = table.get("name");
    if name.is_none() && !scope.has_syntax_error(&table.span) {
        let hint = "name it, such as name = \"sunday-patching\": messages say by it who held what";
        scope.error_hint(table.span.clone(), "a mute without a `name`", hint);
    }
    let name = name.and_then(|v| v.text()).filter(check_name).filter(is_no_silence);
    let when = table.get("when");
    if when.is_none() && !scope.has_syntax_error(&table.span) {
        scope.error_hint(table.span.clone(), "a mute without a `when` never ends", EXAMPLE);
    }
    let when = when.and_then(|v| window(&v, env));
    let globs = match table.get("rules") {
        Some(value) => value.texts().map(|texts| texts.iter().filter_map(|t| named(t, rules)).collect()),
        None => RuleGlob::new("*").ok().map(|every| vec![every]),
    };
    let even_critical = match table.get("even_critical") {
        Some(value) => value.flag()?,
        None => false,
    };
    let name = name?;
    let policy = MutePolicy { name: Arc::from(name.value), when: when?, rules: globs?, even_critical };
    Some(Draft { name, policy })
}

/// Silences are called `s1`, `s2`…, and both are told by name.
fn is_no_silence(name: &Text<'_>) -> bool {
    let number =
        name.value.strip_prefix('s').filter(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    if number.is_some() {
        let message = format!("`{}` is what a silence is called", name.value);
        name.scope.error_hint(
            name.span.clone(),
            message,
            "name it after its purpose, such as \"sunday-patching\"",
        );
    }
    number.is_none()
}

fn window(value: &Value<'_>, env: &Env) -> Option<Window> {
    let table = value.table()?;
    table.check_keys(&WHEN);
    let days = match table.get("days") {
        Some(value) => days(&value),
        None => Some(EVERY_DAY),
    };
    let from = table.get("from").map_or(Some(0), |v| minute(&v, false));
    let to = table.get("to").map_or(Some(DAY), |v| minute(&v, true));
    let tz = table.get("tz").map_or_else(|| Some(env.tz.clone()), |v| zone(&v));
    let window = Window { days: days?, from: from?, to: to?, tz: tz? };
    let scope = &value.scope;
    if window.never_ends() {
        let hint =
            "a rule that is to be quiet for ever says enabled = false; else give `days`, or `from` and `to`";
        scope.error_hint(
            value.span.clone(),
            "this mute never ends: it is every day from 00:00 to 24:00",
            hint,
        );
        return None;
    }
    if window.from == window.to {
        let hint = "a whole day is from = \"00:00\", to = \"24:00\"";
        scope.error_hint(value.span.clone(), "`from` and `to` are the same", hint);
        return None;
    }
    Some(window)
}

fn days(value: &Value<'_>) -> Option<u8> {
    let values = value.array()?;
    if values.is_empty() {
        let hint = "name some of mon, tue, wed, thu, fri, sat, sun, or leave `days` out for every day";
        value.scope.error_hint(value.span.clone(), "`days` is empty, so the mute never begins", hint);
        return None;
    }
    // all of them are read, so that all that are wrong are told
    let days: Vec<Option<u8>> = values.iter().map(|v| v.one_of(&DAYS)).collect();
    days.into_iter().try_fold(0, |all, day| Some(all | 1 << day?))
}

fn minute(value: &Value<'_>, is_end: bool) -> Option<u16> {
    let text = value.text()?;
    match value::minute_of_day(text.value) {
        Ok(DAY) if !is_end => {
            text.scope.error_hint(
                text.span,
                "`from` is 24:00, the end of a day",
                "that is 00:00 of the day after",
            );
            None
        }
        Ok(minute) => Some(minute),
        Err(fault) => {
            text.scope.error(text.span, format!("`{}`: {fault}", value.key));
            None
        }
    }
}

/// A pattern for names of rules; one that no rule has is odd.
fn named(text: &Text<'_>, rules: &[&str]) -> Option<RuleGlob> {
    let glob = match RuleGlob::new(text.value) {
        Ok(glob) => glob,
        Err(fault) => {
            let message = format!("`{}` is not a pattern for names of rules: {fault}", shown(text.value));
            text.scope.error_hint(text.span.clone(), message, "write it like \"nginx-*\"");
            return None;
        }
    };
    if !rules.iter().any(|rule| glob.matches(rule)) {
        let name = shown(text.value);
        let hint = did_you_mean(&name, rules).unwrap_or_else(|| match rules {
            [] => "there is no rule".to_owned(),
            rules if rules.len() <= LISTED => format!("the rules are: {}", list(rules)),
            _ => "is the name right? otherwise remove it".to_owned(),
        });
        text.scope.warn(text.span.clone(), format!("no rule is called `{name}`"), hint);
    }
    Some(glob)
}
