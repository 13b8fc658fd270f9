//! The keys of a rule that say when an incident opens, ends and speaks, and what is counted: `resolve`, `hold`, `say_end`,
//! `distinct`, `top`, `expect`, `new`, `mask`.
//!
//! As with every key, what a rule says itself goes before what `defaults` say. A key that means nothing without another is
//! a fault where the rule says it itself, and without effect where `defaults` do: they are for all rules.

use std::hash::Hasher as _;
use std::time::Duration;

use siphasher::sip::SipHasher13;

use super::Env;
use super::expect;
use super::lint;
use super::names::{Names, in_own_file};
use super::rule::MOMENT;
use super::walk::{Scope, Table, Text, Value, list, shown};
use crate::judge::{Expect, Novelty};
use crate::rules::Pattern;
use crate::rules::mask::VERSION;

/// Keys that this file reads.
pub(super) const KEYS: [&str; 8] = ["resolve", "hold", "say_end", "distinct", "top", "expect", "new", "mask"];

/// What nobody hears of for longer than this is not held but lost.
const MOST_HOLD: Duration = Duration::from_secs(86_400);
/// Each value that may still add up is looked at with every hit.
const MOST_DISTINCT: u32 = 1000;
/// What is learned for longer than this is never told.
const MOST_LEARN: Duration = Duration::from_secs(30 * 86_400);
/// Each is searched for in every line whose kind is asked for.
const MOST_MASKS: usize = 20;
/// Each name is a list with every incident, and a line of its messages.
const MOST_TOP: usize = 3;

/// As a rule or `defaults` have them.
#[derive(Clone, Debug, Default)]
pub(super) struct Judging<'t> {
    names_resolve: bool,
    resolve: Option<(Pattern, Text<'t>)>,
    hold: Option<(Duration, Value<'t>)>,
    say_end: Option<bool>,
    distinct: Option<Text<'t>>,
    top: Option<Vec<Text<'t>>>,
    expect: Option<(Expect, Value<'t>)>,
    new: Option<(Duration, Value<'t>)>,
    mask: Option<(Vec<Pattern>, Value<'t>)>,
}

/// What runs of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Judged {
    /// There is a `resolve`, sound or not.
    pub(super) names_resolve: bool,
    pub(super) resolve: Option<Pattern>,
    pub(super) hold: Duration,
    pub(super) say_end: bool,
    /// Indices of captures.
    pub(super) distinct: Option<usize>,
    pub(super) top: Vec<usize>,
    pub(super) expect: Option<Expect>,
    pub(super) new: Option<Novelty>,
    pub(super) mask: Vec<Pattern>,
}

/// What is known of the rule.
pub(super) struct Of<'a> {
    pub(super) by: &'a [Text<'a>],
    pub(super) threshold: u32,
    pub(super) names: Option<&'a mut Names>,
}

fn learn(value: &Value<'_>) -> Option<Duration> {
    let table = value.table()?;
    table.check_keys(&["learn"]);
    let Some(learn) = table.get("learn") else {
        let hint = "write new = { learn = \"48h\" }";
        value.scope.error_hint(
            value.span.clone(),
            "`new` without `learn`: how long everything is known",
            hint,
        );
        return None;
    };
    learn.duration(&(MOMENT..=MOST_LEARN))
}

fn masks(value: &Value<'_>) -> Option<Vec<Pattern>> {
    let texts = value.texts()?;
    if texts.len() > MOST_MASKS {
        let message = format!("`mask` has {} patterns, expected at most {MOST_MASKS}", texts.len());
        value.scope.error(value.span.clone(), message);
        return None;
    }
    Some(texts.iter().filter_map(lint::pattern).collect())
}

fn top<'t>(value: &Value<'t>) -> Option<Vec<Text<'t>>> {
    let texts = value.texts()?;
    if texts.len() > MOST_TOP {
        let message = format!("`top` has {} names, expected at most {MOST_TOP}", texts.len());
        value.scope.error(value.span.clone(), message);
        return None;
    }
    Some(texts)
}

/// Reads them.
pub(super) fn judging<'t>(table: &Table<'t>, env: &Env) -> Judging<'t> {
    let resolve = table.get("resolve").and_then(|v| v.text());
    let hold = table.get("hold").and_then(|v| Some((v.duration(&(MOMENT..=MOST_HOLD))?, v)));
    Judging {
        names_resolve: table.get("resolve").is_some(),
        resolve: resolve.and_then(|text| Some((lint::pattern(&text)?, text))),
        hold,
        say_end: table.get("say_end").and_then(|v| v.flag()),
        distinct: table.get("distinct").and_then(|v| v.text()),
        top: table.get("top").and_then(|v| top(&v)),
        new: table.get("new").and_then(|v| Some((learn(&v)?, v))),
        mask: table.get("mask").and_then(|v| Some((masks(&v)?, v))),
        expect: table.get("expect").and_then(|v| Some((expect::expect(&v, env)?, v))),
    }
}

impl Judging<'_> {
    /// What they come to for a rule. `names` is `None` where its pattern is faulty, so that nothing can be said of them.
    pub(super) fn settle(&self, default: &Judging<'_>, of: Of<'_>, scope: &Scope<'_>) -> Judged {
        let Of { by, threshold, mut names } = of;
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
            distinct: names
                .as_deref_mut()
                .and_then(|names| self.distinct(default, by, threshold, names, scope)),
            top: names.map(|names| self.top(default, names, scope)).unwrap_or_default(),
            expect: self.expect(default, by, threshold, scope),
            new: self.novelty(default, by, threshold, scope),
            mask: self.masks(default, by),
        }
    }

    fn novelty(
        &self,
        default: &Judging<'_>,
        by: &[Text<'_>],
        threshold: u32,
        scope: &Scope<'_>,
    ) -> Option<Novelty> {
        let (learn, value) = self.new.as_ref().or(default.new.as_ref())?;
        let scope = in_own_file(scope, &value.scope);
        let fault = |message: &str, hint: &str| scope.error_hint(value.span.clone(), message, hint);
        if !by.iter().any(|part| part.value == "kind") {
            fault(
                "`new` needs `kind` in `by`",
                "add it, such as by = [\"kind\"]: what is new is a kind of line",
            );
            return None;
        }
        if threshold > 1 {
            fault(
                "`new` and `threshold` in one rule: the first line of its kind is what is new",
                "write two rules",
            );
            return None;
        }
        if self.expect.is_some() {
            fault("`new` and `expect` in one rule: a hit of the one is what is wanted", "write two rules");
            return None;
        }
        let mut hasher = SipHasher13::new();
        let masks = self.mask.as_ref().or(default.mask.as_ref());
        let masks = masks.iter().flat_map(|(all, _)| all.iter().map(|p| &*p.text));
        for part in [VERSION].into_iter().chain(by.iter().map(|t| t.value)).chain(masks) {
            hasher.write(&(part.len() as u64).to_le_bytes());
            hasher.write(part.as_bytes());
        }
        // 0 is of a rule that has learned nothing
        Some(Novelty { learn: *learn, version: hasher.finish() | 1 })
    }

    fn masks(&self, default: &Judging<'_>, by: &[Text<'_>]) -> Vec<Pattern> {
        let kind = by.iter().any(|part| part.value == "kind");
        if let Some((_, value)) = self.mask.as_ref().filter(|_| !kind) {
            let message = "`mask` has no effect without `kind` in `by`";
            value.scope.warn(
                value.span.clone(),
                message,
                "add it, such as by = [\"kind\"], or remove `mask`",
            );
        }
        let masks = self.mask.as_ref().or(default.mask.as_ref()).filter(|_| kind);
        masks.map(|(all, _)| all.clone()).unwrap_or_default()
    }

    fn expect(
        &self,
        default: &Judging<'_>,
        by: &[Text<'_>],
        threshold: u32,
        scope: &Scope<'_>,
    ) -> Option<Expect> {
        let (expect, value) = self.expect.as_ref().or(default.expect.as_ref())?;
        let own = [
            ("threshold", threshold > 1),
            ("resolve", self.names_resolve),
            ("distinct", self.distinct.is_some()),
            ("top", self.top.is_some()),
        ];
        let others: Vec<&str> = own.iter().filter(|(_, is)| *is).map(|(key, _)| *key).collect();
        let scope = in_own_file(scope, &value.scope);
        expect::fits(value, expect, by, &others, &scope).then(|| expect.clone())
    }

    fn distinct(
        &self,
        default: &Judging<'_>,
        by: &[Text<'_>],
        threshold: u32,
        names: &mut Names,
        scope: &Scope<'_>,
    ) -> Option<usize> {
        let text = self.distinct.as_ref().or(default.distinct.as_ref().filter(|_| threshold > 1))?;
        let scope = &in_own_file(scope, &text.scope);
        let name = shown(text.value);
        if threshold < 2 {
            let message = "`distinct` counts different values, which needs a `threshold` above 1";
            scope.error_hint(text.span.clone(), message, "add both, such as threshold = 5, within = \"2m\"");
            return None;
        }
        if threshold > MOST_DISTINCT {
            let message =
                format!("`distinct` with a `threshold` of {threshold}, expected at most {MOST_DISTINCT}");
            scope.error(text.span.clone(), message);
            return None;
        }
        if by.iter().any(|part| part.value == text.value) {
            let message =
                format!("`distinct` counts `{name}`, which is in `by`: there is one value in each incident");
            scope.error_hint(text.span.clone(), message, "take it out of `by`, or count another capture");
            return None;
        }
        let index = names.index("distinct", text, scope)?;
        names.count_different(text.value);
        Some(index)
    }

    fn top(&self, default: &Judging<'_>, names: &mut Names, scope: &Scope<'_>) -> Vec<usize> {
        let texts = self.top.as_ref().or(default.top.as_ref());
        texts.into_iter().flatten().filter_map(|text| names.index("top", text, scope)).collect()
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
