//! `[[rule]]` and `[defaults]`: read with the same eyes, then laid over each other.
//!
//! A [`Draft`] is a rule that has been read; whether it may run is its scope's verdict. Drafts with faults are kept
//! until names are resolved, because a name that is taken is taken by a faulty rule too.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::Env;
use super::inhibit;
use super::inline::{Test, tests};
use super::judging::{self, Judged, Judging, Of, judging};
use super::lint;
use super::names::{Conditions, Names, conditions, in_own_file};
use super::source::{Named, Reads, have_fields, reads};
use super::space::{MOST_PER_HOUR, SEVERITIES, Spaces, is_web};
use super::walk::{NAME_BYTES, Scope, Table, Text, Value, check_name, did_you_mean, list, shown};
use crate::alert::Severity;
use crate::hit::{CONTEXT_LINES, KEY_PARTS};
use crate::judge::{MAX_NEW_PER_HOUR, MAX_PER_HOUR, QUIET, REMIND};
use crate::rules::{Asked, By, Pattern, Where};
use crate::template::Template;

/// Keys of a rule that `defaults` may give too.
const SHARED: [&str; 18] = [
    "files",
    "source",
    "journal",
    "exclude",
    "where",
    "by",
    "threshold",
    "within",
    "severity",
    "space",
    "message",
    "runbook",
    "remind",
    "quiet",
    "max_per_hour",
    "inhibited_by",
    "context",
    "enabled",
];
const OWN: [&str; 4] = ["name", "match", "tests", "override"];

/// A window keeps one time a hit and key, so this bounds what a key costs.
const MOST_THRESHOLD: u32 = 10_000;
/// A message is a heading, not a page, in characters.
const MESSAGE_CHARS: usize = 2000;
/// As long as browsers and proxies take an address for certain.
const RUNBOOK_BYTES: usize = 2000;
/// What the shortest of all waits may be.
pub(super) const MOMENT: Duration = Duration::from_millis(1);
const WEEK: Duration = Duration::from_secs(7 * 86_400);

/// What a rule and `defaults` have in common.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys<'t> {
    reads: Option<Reads<'t>>,
    exclude: Option<Vec<Pattern>>,
    conditions: Option<Conditions<'t>>,
    by: Option<Vec<Text<'t>>>,
    threshold: Option<(u32, Range<usize>)>,
    within: Option<(Duration, Range<usize>)>,
    severity: Option<Severity>,
    pub(super) space: Option<Text<'t>>,
    message: Option<Text<'t>>,
    runbook: Option<String>,
    remind: Option<Duration>,
    quiet: Option<Duration>,
    max_per_hour: Option<u32>,
    inhibited_by: Option<Vec<Text<'t>>>,
    context: Option<Asked>,
    enabled: Option<bool>,
    judging: Judging<'t>,
}

impl<'t> Keys<'t> {
    /// The `[[source]]` that it names.
    pub(super) fn source(&self) -> Option<&'t str> {
        match &self.reads {
            Some(Reads::Named(text)) => Some(text.value),
            _ => None,
        }
    }
}

/// A rule that has been read.
#[derive(Debug)]
pub(super) struct Draft<'t> {
    pub(super) scope: Scope<'t>,
    pub(super) name: Text<'t>,
    pub(super) overrides: bool,
    pub(super) enabled: bool,
    /// The `[[source]]` that it names itself.
    pub(super) names_source: Option<&'t str>,
    /// What runs, where enough of it is right.
    pub(super) body: Option<Body<'t>>,
}

/// What runs of a rule.
#[derive(Debug)]
pub(super) struct Body<'t> {
    pub(super) reads: Reads<'t>,
    pub(super) pattern: Pattern,
    /// Where its text stands.
    pub(super) pattern_at: Range<usize>,
    pub(super) exclude: Vec<Pattern>,
    pub(super) conditions: Vec<Where>,
    pub(super) by: Vec<By>,
    pub(super) by_names: Vec<String>,
    pub(super) captures: Vec<String>,
    pub(super) threshold: u32,
    pub(super) within: Duration,
    pub(super) severity: Severity,
    pub(super) spaces: Vec<Arc<str>>,
    pub(super) message: Template,
    pub(super) runbook: Option<String>,
    pub(super) remind: Duration,
    pub(super) quiet: Duration,
    pub(super) max_per_hour: u32,
    pub(super) inhibited_by: inhibit::Named<'t>,
    pub(super) context: Asked,
    pub(super) judged: Judged,
    pub(super) tests: Vec<Test>,
}

/// What every rule is read against.
#[derive(Debug)]
pub(super) struct Around<'a> {
    pub(super) defaults: &'a Keys<'a>,
    pub(super) spaces: &'a Spaces,
    pub(super) space: Arc<str>,
    pub(super) sources: &'a [Named<'a>],
    pub(super) env: &'a Env,
}

/// Reads `[defaults]`.
pub(super) fn defaults<'t>(table: &Table<'t>, env: &Env) -> Keys<'t> {
    let known: Vec<&str> = SHARED.into_iter().chain(judging::KEYS).collect();
    table.check_keys(&known);
    keys(table, env)
}

fn keys<'t>(table: &Table<'t>, env: &Env) -> Keys<'t> {
    let spanned = |v: Value<'t>, d: Duration| (d, v.span);
    let time = |key, bounds| table.get(key).and_then(|v| v.duration(&bounds).map(|d| spanned(v, d)));
    Keys {
        reads: reads(table),
        exclude: table
            .get("exclude")
            .and_then(|v| v.texts())
            .map(|t| t.iter().filter_map(lint::pattern).collect()),
        conditions: table.get("where").and_then(|v| conditions(&v)),
        by: table.get("by").and_then(|v| by(&v)),
        threshold: table.get("threshold").and_then(|v| Some((threshold(&v)?, v.span))),
        within: time("within", MOMENT..=WEEK),
        severity: table.get("severity").and_then(|v| v.one_of(&SEVERITIES)),
        space: table.get("space").and_then(|v| v.text()),
        message: table.get("message").and_then(|v| v.text()).filter(message_fits),
        runbook: table.get("runbook").and_then(|v| runbook(&v)),
        remind: time("remind", MOMENT..=WEEK).map(|t| t.0),
        quiet: time("quiet", MOMENT..=WEEK).map(|t| t.0),
        max_per_hour: table.get("max_per_hour").and_then(|v| v.count(&(1..=MOST_PER_HOUR))),
        inhibited_by: table.get("inhibited_by").and_then(|v| inhibit::names(&v)),
        context: table.get("context").and_then(|v| context(&v)),
        enabled: table.get("enabled").and_then(|v| v.flag()),
        judging: judging(table, env),
    }
}

/// Reads a `[[rule]]`, whose text ends at `end`; `None` where it has no usable name.
pub(super) fn draft<'t>(table: &Table<'t>, end: usize, around: &Around<'t>) -> Option<Draft<'t>> {
    let name = table.get("name");
    let named = name.as_ref().and_then(Value::as_text).filter(|t| NAME_BYTES.contains(&t.value.len()));
    // from here on every fault names the rule
    let scope = table.scope.part(named.map(|t| shown(t.value).into()));
    let table = table.in_scope(&scope);
    let extent = table.span.start..end;
    let missing = |message: &str, hint: &str| {
        if scope.has_syntax_error(&extent) {
            return;
        }
        scope.error_hint(table.span.clone(), message, hint);
    };
    let known: Vec<&str> = OWN.into_iter().chain(SHARED).chain(judging::KEYS).collect();
    table.check_keys(&known);
    let own = keys(&table, around.env);
    let default = around.defaults;
    let only_a_switch = own.enabled == Some(false) && table.get("match").is_none();
    let overrides = table.get("override").and_then(|v| v.flag()).unwrap_or(only_a_switch);
    let enabled = own.enabled.or(default.enabled).unwrap_or(true);
    let pattern = match table.get("match") {
        Some(value) => value.text().and_then(|text| Some((lint::pattern(&text)?, text))),
        None if only_a_switch => None,
        None => {
            missing("a rule without a `match`", "write the pattern in single quotes: match = '…'");
            None
        }
    };
    let by_texts = own.by.as_ref().or(default.by.as_ref());
    let (threshold, within) = window(&own, default, &table);
    let severity = own.severity.or(default.severity).unwrap_or_default();
    let space = own.space.as_ref().map_or_else(|| around.space.clone(), |t| around.spaces.find_or_admin(t));
    let reads = own.reads.clone().or_else(|| default.reads.clone());
    if let Some(Reads::Named(text)) = &reads {
        check_source(text, around.sources, &scope);
    }
    if reads.is_none() && enabled && !["files", "source", "journal"].iter().any(|k| table.get(k).is_some()) {
        missing(
            "a rule that reads nothing: it has no `files`, `source` or `journal`, and `defaults` has none",
            "add files = [\"/var/log/…\"], or journal = true",
        );
    }
    let captures = pattern.as_ref().map(|(p, _)| p.capture_names()).unwrap_or_default();
    let mut names = Names::new(captures, have_fields(reads.as_ref(), around.sources));
    let conditions = own.conditions.as_ref().or(default.conditions.as_ref());
    let conditions = conditions.map(|c| c.of(&names, &scope)).unwrap_or_default();
    let message = own.message.as_ref().or(default.message.as_ref());
    let mut parsed = None;
    let by_slice = by_texts.map_or(&[][..], Vec::as_slice);
    let by = pattern.as_ref().and_then(|_| names.by(by_slice, &scope));
    let of = Of { by: by_slice, threshold, names: pattern.is_some().then_some(&mut names) };
    let judged = own.judging.settle(&default.judging, of, &scope);
    if let Some((pattern, text)) = &pattern {
        let keys: Vec<&str> = by_texts.into_iter().flatten().map(|t| t.value).collect();
        lint::forgeable_key(text, &keys);
        let message = message.map_or_else(|| Some(Template::line()), |t| names.template(t, &scope));
        parsed = by.zip(message).map(|(by, message)| (pattern.clone(), text.span.clone(), by, message));
    }
    let tests = table
        .get("tests")
        .map(|v| tests(&v, pattern.is_some().then_some(&names), &judged))
        .unwrap_or_default();
    let Some(name) = name else {
        missing(
            "a rule without a `name`",
            "name it, such as name = \"disk-full\": messages and state go by it",
        );
        return None;
    };
    let name = name.in_scope(&scope).text().filter(check_name)?;
    let names_source = own.source();
    let body = reads.zip(parsed).map(|(reads, (pattern, pattern_at, by, message))| Body {
        reads,
        pattern,
        pattern_at,
        exclude: own.exclude.or_else(|| default.exclude.clone()).unwrap_or_default(),
        conditions,
        by,
        by_names: by_texts.into_iter().flatten().map(|t| t.value.to_owned()).collect(),
        captures: names.captures,
        threshold,
        within,
        severity,
        spaces: around.spaces.routed(&space, severity),
        message,
        runbook: own.runbook.or_else(|| default.runbook.clone()),
        remind: own.remind.or(default.remind).unwrap_or(REMIND),
        quiet: own.quiet.or(default.quiet).unwrap_or(within.max(QUIET)),
        max_per_hour: own.max_per_hour.or(default.max_per_hour).unwrap_or(if judged.new.is_some() {
            MAX_NEW_PER_HOUR
        } else {
            MAX_PER_HOUR
        }),
        inhibited_by: inhibit::Named::of(own.inhibited_by.as_ref(), default.inhibited_by.as_ref()),
        context: own.context.or(default.context).unwrap_or_default(),
        judged,
        tests,
    });
    Some(Draft { scope, name, overrides, enabled, names_source, body })
}

/// `threshold` and `within`, which only mean something together.
fn window(own: &Keys<'_>, default: &Keys<'_>, table: &Table<'_>) -> (u32, Duration) {
    let scope = &table.scope;
    let threshold = own.threshold.as_ref().or(default.threshold.as_ref()).map_or(1, |t| t.0);
    let within = own.within.as_ref().or(default.within.as_ref()).map(|w| w.0);
    if threshold > 1 && within.is_none() {
        let (message, span) = match &own.threshold {
            Some((_, span)) => ("`threshold` needs `within`: how long to count", span),
            None => ("the `threshold` of `defaults` needs `within`: how long to count", &table.span),
        };
        if table.get("within").is_none() {
            scope.error_hint(span.clone(), message, "add one, such as within = \"1m\"");
        }
        return (threshold, Duration::ZERO);
    }
    if threshold == 1
        && let Some((_, span)) = &own.within
    {
        let message = "`within` has no effect without a `threshold` above 1";
        scope.warn(span.clone(), message, "add one, such as threshold = 5, or remove `within`");
    }
    if threshold == 1 { (1, Duration::ZERO) } else { (threshold, within.unwrap_or_default()) }
}

fn threshold(value: &Value<'_>) -> Option<u32> {
    value.count(&(1..=MOST_THRESHOLD))
}

fn by<'t>(value: &Value<'t>) -> Option<Vec<Text<'t>>> {
    let texts = value.texts()?;
    if texts.len() > KEY_PARTS {
        let message = format!("`by` has {} parts, expected at most {KEY_PARTS}", texts.len());
        value.scope.error(value.span.clone(), message);
        return None;
    }
    for (at, text) in texts.iter().enumerate() {
        if texts[..at].iter().any(|t| t.value == text.value) {
            text.scope.error(text.span.clone(), format!("`by` names `{}` twice", shown(text.value)));
            return None;
        }
    }
    Some(texts)
}

fn check_source(text: &Text<'_>, sources: &[Named<'_>], scope: &Scope<'_>) {
    if sources.iter().any(|s| s.name.value == text.value) {
        return;
    }
    let names: Vec<&str> = sources.iter().map(|s| s.name.value).collect();
    let name = shown(text.value);
    let hint = did_you_mean(&name, &names).unwrap_or_else(|| match names.as_slice() {
        [] => format!("there is no [[source]]; add one with name = \"{name}\""),
        names => format!("the sources are: {}", list(names)),
    });
    let scope = in_own_file(scope, &text.scope);
    scope.error_hint(text.span.clone(), format!("unknown source `{name}`"), hint);
}

fn context(value: &Value<'_>) -> Option<Asked> {
    let table = value.table()?;
    table.check_keys(&["before", "after"]);
    let given = ["before", "after"].map(|key| table.get(key));
    if given.iter().all(Option::is_none) {
        let hint = "write it like context = { before = 5, after = 3 }";
        value.scope.error_hint(
            value.span.clone(),
            "`context` without `before` or `after`: how many lines around a hit are shown",
            hint,
        );
        return None;
    }
    let [before, after] = given.map(|v| match v {
        Some(v) => v.count(&(0..=CONTEXT_LINES as u32)).map(|n| n as u8),
        None => Some(0),
    });
    Some(Asked { before: before?, after: after? })
}

fn message_fits(text: &Text<'_>) -> bool {
    let chars = text.value.chars().count();
    let fault = match chars {
        0 => "`message` is empty".to_owned(),
        n if n > MESSAGE_CHARS => format!("`message` has {n} characters, expected at most {MESSAGE_CHARS}"),
        _ => return true,
    };
    text.scope.error_hint(text.span.clone(), fault, "leave it out to tell the line itself");
    false
}

fn runbook(value: &Value<'_>) -> Option<String> {
    let text = value.text()?;
    let url = url::Url::parse(text.value).ok().filter(is_web);
    if url.is_none() || text.value.len() > RUNBOOK_BYTES {
        let message = "`runbook` is not an http or https URL";
        text.scope.error_hint(text.span, message, "write it like \"https://runbooks.example/disk-full\"");
        return None;
    }
    Some(text.value.to_owned())
}
