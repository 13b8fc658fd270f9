//! What the names in `by`, `message` and `where` mean: captures, built-in names, and fields of the line.
//!
//! A name that `match` does not capture is a field where every line that the rule reads has fields, and a mistake
//! elsewhere. So a slip of the pen would be a field that no line has; one that is a letter away from a capture is asked
//! after, and `field.NAME` says that a field is meant.

use super::walk::{Scope, Table, Text, Value, did_you_mean, list, shown};
use crate::rules::fields::meant;
use crate::rules::{By, Where};
use crate::template::{BUILT_IN, DISTINCT, Template};

/// How a rule comes by fields.
pub(super) const NO_FIELDS: &str = "fields need a [[source]] with a `format`, such as format = \"json\"";

/// Fields that one rule may show or group by: each travels with every hit.
const MOST_FIELDS: usize = 32;
/// Conditions of one rule, and values of one condition.
const MOST_CONDITIONS: usize = 32;
const MOST_VALUES: usize = 100;
/// Longest name of a field, in bytes.
const NAME_BYTES: usize = 256;

/// The names that a rule knows.
#[derive(Debug)]
pub(super) struct Names {
    /// Of the pattern's captures, and behind them the fields that have been asked for.
    pub(super) captures: Vec<String>,
    /// How many are the pattern's.
    own: usize,
    /// Every line that the rule reads has fields.
    pub(super) have_fields: bool,
    /// `{distinct.NAME}` of the name that `distinct` counts.
    distinct: Option<String>,
}

impl Names {
    pub(super) fn new(captures: Vec<String>, have_fields: bool) -> Names {
        Names { own: captures.len(), captures, have_fields, distinct: None }
    }

    fn own(&self) -> &[String] {
        &self.captures[..self.own]
    }

    /// Takes a name for that of a field; reports where it cannot be one, and where it is probably none.
    fn field(
        &mut self,
        text: &Text<'_>,
        span: std::ops::Range<usize>,
        name: &str,
        scope: &Scope<'_>,
    ) -> bool {
        let scope = in_own_file(scope, &text.scope);
        if !is_field(name) {
            scope.error(span, no_field(name));
            return false;
        }
        if self.captures.len() - self.own >= MOST_FIELDS {
            scope.error(span, format!("a rule that asks for more than {MOST_FIELDS} fields"));
            return false;
        }
        let near = self.own().iter().find(|c| strsim::damerau_levenshtein(c, name) == 1);
        if let Some(near) = near {
            let message = format!("`{}` is not captured, so the field of that name is meant", shown(name));
            let hint = format!("did you mean `{near}`? if not, write `field.{}`", shown(name));
            scope.warn(span, message, hint);
        }
        self.captures.push(name.to_owned());
        true
    }

    /// What makes the key.
    pub(super) fn by(&mut self, texts: &[Text<'_>], scope: &Scope<'_>) -> Option<Vec<By>> {
        let mut all = Vec::new();
        for text in texts {
            all.push(match text.value {
                name if self.captures.iter().any(|c| c == name) => By::Capture(name.to_owned()),
                "file" => By::File,
                "host" => By::Host,
                "kind" => By::Kind,
                name if self.have_fields => {
                    if !self.field(text, text.span.clone(), name, scope) {
                        continue;
                    }
                    By::Capture(name.to_owned())
                }
                _ => {
                    self.unknown("by", text, &["file", "host", "kind"], scope);
                    continue;
                }
            });
        }
        (all.len() == texts.len()).then_some(all)
    }

    /// The index of what `key` names: a capture, or a field.
    pub(super) fn index(&mut self, key: &str, text: &Text<'_>, scope: &Scope<'_>) -> Option<usize> {
        let at = |names: &Names| names.captures.iter().position(|c| c == text.value);
        if at(self).is_none() && self.have_fields {
            self.field(text, text.span.clone(), text.value, scope);
        } else if at(self).is_none() {
            self.unknown(key, text, &[], scope);
        }
        at(self)
    }

    /// From here on a `message` may name how many values of this there are.
    pub(super) fn count_different(&mut self, name: &str) {
        self.distinct = Some(format!("{DISTINCT}{name}"));
    }

    fn unknown(&self, key: &str, text: &Text<'_>, built_in: &[&str], scope: &Scope<'_>) {
        let captures = self.own();
        let name = shown(text.value);
        let message = if captures.is_empty() {
            format!("`{key}` names `{name}`, but `match` captures nothing")
        } else {
            format!("`{key}` names `{name}`, but `match` captures only: {}", list(captures))
        };
        let names: Vec<&str> = captures.iter().map(String::as_str).chain(built_in.iter().copied()).collect();
        let or = built_in.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
        let or = if or.is_empty() { String::new() } else { format!(" or {or};") };
        let hint = did_you_mean(&name, &names)
            .unwrap_or_else(|| format!(r"capture it: `(?<name>\S+)`;{or} fields need `format`"));
        in_own_file(scope, &text.scope).error_hint(text.span.clone(), message, hint);
    }

    /// A `message`.
    pub(super) fn template(&mut self, text: &Text<'_>, scope: &Scope<'_>) -> Option<Template> {
        loop {
            let known: Vec<String> = self.captures.iter().chain(&self.distinct).cloned().collect();
            let fault = match Template::parse(text.value, &known) {
                Ok(template) => return Some(template),
                Err(fault) => fault,
            };
            let span = text.inner(&fault.span);
            if let Some(name) = fault.unknown.as_ref().and_then(|name| name.strip_prefix(DISTINCT)) {
                let hint = match &self.distinct {
                    Some(counted) => format!("did you mean `{counted}`? `distinct` counts one name"),
                    None => format!("it needs distinct = \"{}\", and a `threshold`", shown(name)),
                };
                in_own_file(scope, &text.scope).error_hint(span, fault.what, hint);
                return None;
            }
            if let Some(name) = fault.unknown.as_ref().filter(|_| self.have_fields) {
                if !self.field(text, span, name, scope) {
                    return None;
                }
                continue;
            }
            let names: Vec<&str> = known.iter().map(String::as_str).chain(BUILT_IN).chain(["line"]).collect();
            let hint = match &fault.unknown {
                Some(name) => {
                    did_you_mean(name, &names).unwrap_or_else(|| format!("known names: {}", list(&names)))
                }
                None => "a brace that is meant as one is doubled: `{{` and `}}`".to_owned(),
            };
            in_own_file(scope, &text.scope).error_hint(span, fault.what, hint);
            return None;
        }
    }
}

/// `where`, as it is written.
#[derive(Clone, Debug)]
pub(super) struct Conditions<'t> {
    all: Vec<Where>,
    value: Value<'t>,
}

impl Conditions<'_> {
    /// Those of a rule that knows these names; none where its lines have no fields.
    pub(super) fn of(&self, names: &Names, scope: &Scope<'_>) -> Vec<Where> {
        if !names.have_fields && !self.all.is_empty() {
            let message = "`where` asks for fields, and not every line that this rule reads has them";
            let scope = in_own_file(scope, &self.value.scope);
            scope.error_hint(self.value.span.clone(), message, NO_FIELDS);
        }
        self.all.clone()
    }
}

/// Reads `where`.
pub(super) fn conditions<'t>(value: &Value<'t>) -> Option<Conditions<'t>> {
    let flat = flat(&value.table()?);
    if flat.len() > MOST_CONDITIONS {
        let message = format!("`where` has {} conditions, expected at most {MOST_CONDITIONS}", flat.len());
        value.scope.error(value.span.clone(), message);
        return None;
    }
    let all = flat.into_iter().filter_map(|(name, v)| condition(&name, &v)).collect();
    Some(Conditions { all, value: value.clone() })
}

fn condition(name: &str, value: &Value<'_>) -> Option<Where> {
    const EXPECTED: &str = "a string, a number, a boolean or an array of these";
    let field = meant(name).to_owned();
    if !is_field(&field) {
        value.scope.error(value.span.clone(), no_field(&field));
        return None;
    }
    let values = if let Some(members) = value.as_array() {
        if members.is_empty() || members.len() > MOST_VALUES {
            let message =
                format!("`{}` has {} values, expected 1 to {MOST_VALUES}", shown(&field), members.len());
            value.scope.error_hint(value.span.clone(), message, "name the values that it may have");
            return None;
        }
        let member = |v: &Value<'_>| v.as_scalar().or_else(|| v.expected(EXPECTED));
        members.iter().map(member).collect::<Option<Vec<String>>>()?
    } else {
        vec![value.as_scalar().or_else(|| value.expected(EXPECTED))?]
    };
    Some(Where { field, values })
}

/// The values of a table by their names; of a table in it by names with a dot, as `http.status = 500` makes one.
pub(super) fn flat<'t>(table: &Table<'t>) -> Vec<(String, Value<'t>)> {
    let mut all = Vec::new();
    for (name, _, value) in table.entries() {
        let inner = value.is_table().then(|| value.table()).flatten();
        match inner.filter(|t| !t.entries().is_empty()) {
            Some(inner) => all.extend(flat(&inner).into_iter().map(|(n, v)| (format!("{name}.{n}"), v))),
            None => all.push((name.to_owned(), value)),
        }
    }
    all
}

/// Can this be the name of a field?
fn is_field(name: &str) -> bool {
    !name.is_empty() && name.len() <= NAME_BYTES && !name.contains(char::is_control)
}

fn no_field(name: &str) -> String {
    match name {
        "" => "a field without a name".to_owned(),
        name => format!("`{}` cannot be the name of a field", shown(name)),
    }
}

/// A fault in what `defaults` gave is a fault of the rule, drawn where it is written.
pub(super) fn in_own_file<'t>(rule: &Scope<'t>, written: &Scope<'t>) -> Scope<'t> {
    if rule.file == written.file { rule.clone() } else { rule.at(written) }
}
