//! `[[mute]]`: the windows of the week in which rules are held.
//!
//! Read from every file, included ones too: a rule pack knows best when its rules are to be quiet. A mute that would
//! never end is refused, because that is what `enabled = false` says, and says to who reads the rule. Several that take
//! turns until the week is full come to the same, but each is sound by itself, so that is a warning.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::Env;
use super::rule;
use super::source::zone;
use super::value;
use super::walk::{LISTED, Table, Text, Value, check_name, did_you_mean, list, shown};
use crate::judge::{DAY, EVERY_DAY, MutePolicy, RuleGlob, Window};
use crate::time::Wall;

const KNOWN: [&str; 4] = ["name", "when", "rules", "even_critical"];
const WHEN: [&str; 4] = ["days", "from", "to", "tz"];

/// At most this many mutes in all files: each is looked at when one of them begins or ends.
const MOST_MUTES: usize = 100;

/// As `days` writes them, Monday first.
const DAYS: [(&str, u8); 7] =
    [("mon", 0), ("tue", 1), ("wed", 2), ("thu", 3), ("fri", 4), ("sat", 5), ("sun", 6)];

const EXAMPLE: &str = "write it like when = { days = [\"sun\"], from = \"02:00\", to = \"04:00\" }";

/// Windows are of the week: what is held for as long is held for ever.
const WEEK: Duration = Duration::from_secs(7 * 86_400);

/// A mute, and where it stands.
#[derive(Debug)]
pub(super) struct Draft<'t> {
    name: Text<'t>,
    when: Range<usize>,
    pub(super) policy: MutePolicy,
}

/// Reads every `[[mute]]`; `rules` are the names of all rules of the files.
pub(super) fn mutes<'t>(
    tables: impl Iterator<Item = Table<'t>>,
    rules: &[&str],
    env: &Env,
) -> Vec<Draft<'t>> {
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
    all
}

/// Warns of rules that are held for ever by mutes that each end.
pub(super) fn warn_of_no_end(mutes: &[Draft<'_>], rules: &[rule::Draft<'_>], now: Wall) {
    let mut judged = BTreeSet::new();
    for rule in rules.iter().filter(|r| r.enabled) {
        let Some(body) = &rule.body else { continue };
        let holds = |n: &usize| mutes[*n].policy.holds(rule.name.value, body.severity);
        let mut holding: Vec<usize> = (0..mutes.len()).filter(holds).collect();
        // of many rules that the same ones hold, one is named
        if holding.len() < 2 || !judged.insert(holding.clone()) || !without_end(mutes, &holding, now) {
            continue;
        }
        for n in holding.clone() {
            let others: Vec<usize> = holding.iter().copied().filter(|m| *m != n).collect();
            if without_end(mutes, &others, now) {
                holding = others;
            }
        }
        let Some((last, others)) = holding.split_last() else { continue };
        let others: Vec<String> = others.iter().map(|n| format!("`{}`", mutes[*n].name.value)).collect();
        let message = format!("with {} this mute never ends for `{}`", list(&others), rule.name.value);
        let hint =
            "a rule that is to be quiet for ever says enabled = false; else leave a time in which it speaks";
        mutes[*last].name.scope.warn(mutes[*last].when.clone(), message, hint);
    }
}

/// From now on there is no instant of a week in which none of these holds.
fn without_end(mutes: &[Draft<'_>], holding: &[usize], now: Wall) -> bool {
    let mut at = now;
    while at < now + WEEK {
        let open = holding.iter().map(|n| mutes[*n].policy.when.at(at)).filter(|(open, _)| *open);
        let Some(until) = open.map(|(_, until)| until).max() else { return false };
        at = until;
    }
    true
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
    let when = when.and_then(|v| Some((v.span.clone(), window(&v, env)?)));
    let globs = match table.get("rules") {
        Some(value) => value.texts().map(|texts| texts.iter().filter_map(|t| named(t, rules)).collect()),
        None => RuleGlob::new("*").ok().map(|every| vec![every]),
    };
    let even_critical = match table.get("even_critical") {
        Some(value) => value.flag()?,
        None => false,
    };
    let name = name?;
    let (span, when) = when?;
    let policy = MutePolicy { name: Arc::from(name.value), when, rules: globs?, even_critical };
    Some(Draft { name, when: span, policy })
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
