//! Walking the spanned tree: every getter reports its own fault and returns `None`, so nothing stops at the first.
//!
//! A derive would stop at the first fault and would not know the rule's name. The surprising part: after a TOML
//! syntax error the parser recovers and guesses, so a fault that stands on a line with a syntax error, or a key
//! that misses from a table that holds one, is not reported: it is most likely the same mistake seen twice.

use std::cell::{Cell, RefCell};
use std::ops::{Range, RangeInclusive};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Diagnostic, FileNo, Grade, Place, mask};
use super::value;

/// Where faults are gathered.
#[derive(Debug, Default)]
pub(super) struct Report {
    faults: RefCell<Vec<Diagnostic>>,
    secrets: RefCell<Vec<Place>>,
}

impl Report {
    pub(super) fn push(&self, fault: Diagnostic) {
        self.faults.borrow_mut().push(fault);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.faults.borrow().is_empty()
    }

    /// What was gathered, by file and place, and the places that must not be drawn.
    pub(super) fn finish(self) -> (Vec<Diagnostic>, Vec<Place>) {
        let mut faults = self.faults.into_inner();
        faults.sort_by(|a, b| {
            let order = |d: &Diagnostic| (d.place.file, d.place.span.start, d.place.span.end, d.grade);
            order(a).cmp(&order(b)).then_with(|| a.message.cmp(&b.message))
        });
        faults.dedup();
        (faults, self.secrets.into_inner())
    }
}

/// Where a value stands and whose it is. Cheap to clone; clones share `broken`.
#[derive(Clone, Debug)]
pub(super) struct Scope<'t> {
    report: &'t Report,
    pub(super) file: FileNo,
    text: &'t str,
    /// Spans of the file's syntax errors.
    syntax: &'t [Range<usize>],
    rule: Option<Arc<str>>,
    broken: Rc<Cell<bool>>,
}

impl<'t> Scope<'t> {
    pub(super) fn new(report: &'t Report, file: FileNo, text: &'t str, syntax: &'t [Range<usize>]) -> Self {
        Scope { report, file, text, syntax, rule: None, broken: Rc::default() }
    }

    /// The same file, a part with its own verdict.
    pub(super) fn part(&self, rule: Option<Arc<str>>) -> Scope<'t> {
        Scope { rule, broken: Rc::default(), ..self.clone() }
    }

    /// The same, for the syntax errors themselves.
    pub(super) fn without_syntax(&self) -> Scope<'t> {
        Scope { syntax: &[], ..self.clone() }
    }

    /// This part's verdict, for a value that stands where `other` does.
    pub(super) fn at(&self, other: &Scope<'t>) -> Scope<'t> {
        Scope { rule: self.rule.clone(), broken: self.broken.clone(), ..other.clone() }
    }

    /// An error was reported in this scope.
    pub(super) fn broken(&self) -> bool {
        self.broken.get()
    }

    pub(super) fn place(&self, span: Range<usize>) -> Place {
        Place { file: self.file, span }
    }

    pub(super) fn error(&self, span: Range<usize>, message: impl Into<String>) {
        self.put(Grade::Error, span, &message.into(), None, None);
    }

    pub(super) fn error_hint(&self, span: Range<usize>, message: impl Into<String>, hint: impl Into<String>) {
        self.put(Grade::Error, span, &message.into(), Some(hint.into()), None);
    }

    pub(super) fn warn(&self, span: Range<usize>, message: impl Into<String>, hint: impl Into<String>) {
        self.put(Grade::Warning, span, &message.into(), Some(hint.into()), None);
    }

    /// An error about two places.
    pub(super) fn clash(
        &self,
        span: Range<usize>,
        message: impl Into<String>,
        hint: impl Into<String>,
        also: (Place, &'static str),
    ) {
        self.put(Grade::Error, span, &message.into(), Some(hint.into()), Some(also));
    }

    /// An error that does not condemn the part it is in: a rule with an unknown space still watches.
    pub(super) fn error_but_usable(&self, span: Range<usize>, message: &str, hint: Option<String>) {
        let was = self.broken.get();
        self.put(Grade::Error, span, message, hint, None);
        self.broken.set(was);
    }

    fn put(
        &self,
        grade: Grade,
        span: Range<usize>,
        message: &str,
        hint: Option<String>,
        also: Option<(Place, &'static str)>,
    ) {
        if grade == Grade::Error {
            self.broken.set(true);
        }
        if self.has_syntax_error(&span) {
            return;
        }
        let (place, rule) = (self.place(span), self.rule.clone());
        // what was found may be quoted, and may be a secret in the wrong place
        let (message, hint) = (mask(message), hint.map(|h| mask(&h)));
        self.report.push(Diagnostic { grade, place, rule, message, hint, also });
    }

    /// Does a syntax error stand on one of the lines of `span`?
    pub(super) fn has_syntax_error(&self, span: &Range<usize>) -> bool {
        let start = self.text.get(..span.start).and_then(|t| t.rfind('\n')).map_or(0, |i| i + 1);
        let end =
            self.text.get(span.end..).and_then(|t| t.find('\n')).map_or(self.text.len(), |i| span.end + i);
        self.syntax.iter().any(|s| s.start >= start && s.start <= end)
    }

    /// Never draw this.
    pub(super) fn hide(&self, span: Range<usize>) {
        self.report.secrets.borrow_mut().push(self.place(span));
    }
}

/// A table of the tree.
#[derive(Clone, Debug)]
pub(super) struct Table<'t> {
    pub(super) scope: Scope<'t>,
    /// Its header, or the whole of an inline table.
    pub(super) span: Range<usize>,
    entries: &'t DeTable<'t>,
}

impl<'t> Table<'t> {
    pub(super) fn new(scope: Scope<'t>, span: Range<usize>, entries: &'t DeTable<'t>) -> Table<'t> {
        Table { scope, span, entries }
    }

    /// The same table with another verdict.
    pub(super) fn in_scope(&self, scope: &Scope<'t>) -> Table<'t> {
        Table { scope: scope.clone(), ..self.clone() }
    }

    pub(super) fn get(&self, key: &str) -> Option<Value<'t>> {
        let value = self.entries.get(key)?;
        Some(Value::new(self.scope.clone(), key.to_owned(), value))
    }

    /// Every key with its span and value, in the order of the file.
    pub(super) fn entries(&self) -> Vec<(&'t str, Range<usize>, Value<'t>)> {
        let mut all: Vec<_> = self
            .entries
            .iter()
            .map(|(k, v)| {
                let name: &'t str = k.get_ref();
                (name, k.span(), Value::new(self.scope.clone(), shown(name), v))
            })
            .collect();
        all.sort_by_key(|(_, span, _)| span.start);
        all
    }

    /// Reports every key that is not known.
    pub(super) fn check_keys(&self, known: &[&str]) {
        for (name, span, value) in self.entries() {
            if known.contains(&name) {
                continue;
            }
            // a broken header leaves its keys with a neighbour, and says so itself
            if self.scope.has_syntax_error(&value.span) {
                self.scope.broken.set(true);
                continue;
            }
            let name = shown(name);
            let hint = did_you_mean(&name, known).unwrap_or_else(|| format!("known keys: {}", list(known)));
            self.scope.error_hint(span, format!("unknown key `{name}`"), hint);
        }
    }
}

/// A value of the tree, with the key it stands under.
#[derive(Clone, Debug)]
pub(super) struct Value<'t> {
    pub(super) scope: Scope<'t>,
    pub(super) key: String,
    pub(super) span: Range<usize>,
    node: &'t DeValue<'t>,
}

/// A string of the tree.
#[derive(Clone, Debug)]
pub(super) struct Text<'t> {
    pub(super) scope: Scope<'t>,
    pub(super) key: String,
    pub(super) value: &'t str,
    /// With its quotes.
    pub(super) span: Range<usize>,
}

impl<'t> Value<'t> {
    fn new(scope: Scope<'t>, key: String, value: &'t Spanned<DeValue<'t>>) -> Value<'t> {
        Value { scope, key, span: value.span(), node: value.get_ref() }
    }

    /// The same value with another verdict.
    pub(super) fn in_scope(&self, scope: &Scope<'t>) -> Value<'t> {
        Value { scope: scope.clone(), ..self.clone() }
    }

    /// The string, if it is one; no fault if it is not.
    pub(super) fn as_text(&self) -> Option<Text<'t>> {
        let value = self.node.as_str()?;
        Some(Text { scope: self.scope.clone(), key: self.key.clone(), value, span: self.span.clone() })
    }

    /// The boolean, if it is one; no fault if it is not.
    pub(super) fn as_flag(&self) -> Option<bool> {
        self.node.as_bool()
    }

    /// A string, an integer, a float or a boolean as text; no fault if it is none of them.
    pub(super) fn as_scalar(&self) -> Option<String> {
        match self.node {
            DeValue::String(text) => Some(text.to_string()),
            DeValue::Integer(n) => i128::from_str_radix(n.as_str(), n.radix()).ok().map(|n| n.to_string()),
            DeValue::Float(n) => Some(n.as_str().to_owned()),
            DeValue::Boolean(flag) => Some(flag.to_string()),
            _ => None,
        }
    }

    /// The members, if it is an array; no fault if it is not.
    pub(super) fn as_array(&self) -> Option<Vec<Value<'t>>> {
        let member = |v| Value::new(self.scope.clone(), self.key.clone(), v);
        Some(self.node.as_array()?.iter().map(member).collect())
    }

    pub(super) fn is_table(&self) -> bool {
        self.node.is_table()
    }

    /// Reports that something else was expected.
    pub(super) fn expected<T>(&self, what: &str) -> Option<T> {
        let found = match self.node {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        };
        let message = format!("`{}` is {found}, expected {what}", self.key);
        self.scope.error(self.span.clone(), message);
        None
    }

    pub(super) fn text(&self) -> Option<Text<'t>> {
        self.as_text().or_else(|| self.expected("a string"))
    }

    pub(super) fn flag(&self) -> Option<bool> {
        self.as_flag().or_else(|| self.expected("`true` or `false`"))
    }

    pub(super) fn table(&self) -> Option<Table<'t>> {
        match self.node.as_table() {
            Some(entries) => Some(Table::new(self.scope.clone(), self.span.clone(), entries)),
            None => self.expected("a table"),
        }
    }

    /// An integer within bounds.
    pub(super) fn count(&self, bounds: &RangeInclusive<u32>) -> Option<u32> {
        let (low, high) = (bounds.start(), bounds.end());
        let Some(integer) = self.node.as_integer() else {
            return self.expected(&format!("an integer from {low} to {high}"));
        };
        let digits = integer.as_str();
        let value = i128::from_str_radix(digits, integer.radix()).ok();
        let value = value.and_then(|v| u32::try_from(v).ok()).filter(|v| bounds.contains(v));
        if value.is_none() {
            let message = format!("`{}` is {integer}, expected {low} to {high}", self.key);
            self.scope.error(self.span.clone(), message);
        }
        value
    }

    /// A duration within bounds.
    pub(super) fn duration(&self, bounds: &RangeInclusive<Duration>) -> Option<Duration> {
        let Some(text) = self.node.as_str() else {
            return self.expected("a duration such as `\"30s\"`");
        };
        let fault = match value::duration(text) {
            Ok(d) if bounds.contains(&d) => return Some(d),
            Ok(_) => format!(
                "`{text}` is out of bounds, expected {} to {}",
                value::duration_text(*bounds.start()),
                value::duration_text(*bounds.end())
            ),
            Err(fault) => fault,
        };
        self.scope.error(self.span.clone(), format!("`{}`: {fault}", self.key));
        None
    }

    /// A size in bytes within bounds.
    pub(super) fn size(&self, bounds: &RangeInclusive<u64>) -> Option<u64> {
        let Some(text) = self.node.as_str() else {
            return self.expected("a size such as `\"64KiB\"`");
        };
        let fault = match value::size(text) {
            Ok(n) if bounds.contains(&n) => return Some(n),
            Ok(_) => format!(
                "`{text}` is out of bounds, expected {} to {}",
                value::size_text(*bounds.start()),
                value::size_text(*bounds.end())
            ),
            Err(fault) => fault,
        };
        self.scope.error(self.span.clone(), format!("`{}`: {fault}", self.key));
        None
    }

    /// The members of an array.
    pub(super) fn array(&self) -> Option<Vec<Value<'t>>> {
        let Some(array) = self.as_array() else {
            if self.node.is_str() {
                let quoted = self.scope.text.get(self.span.clone()).unwrap_or_default();
                let hint = (quoted.len() < QUOTED).then(|| format!("write {} = [{quoted}]", self.key));
                let message = format!("`{}` is a string, expected an array of strings", self.key);
                self.scope.put(Grade::Error, self.span.clone(), &message, hint, None);
                return None;
            }
            return self.expected("an array");
        };
        Some(array)
    }

    /// An array of strings; members that are none are reported and left out.
    pub(super) fn texts(&self) -> Option<Vec<Text<'t>>> {
        let member = |v: &Value<'t>| match v.as_text() {
            Some(text) => Some(text),
            None => v.expected("strings in the array"),
        };
        Some(self.array()?.iter().filter_map(member).collect())
    }

    /// One of a few words.
    pub(super) fn one_of<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
        let text = self.text()?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text.value) {
            return Some(*value);
        }
        let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let found = shown(text.value);
        let message = format!("`{}` is `{found}`, expected one of {}", self.key, ticked(&names));
        self.scope.put(Grade::Error, text.span, &message, did_you_mean(&found, &names), None);
        None
    }
}

impl Text<'_> {
    /// The span in the file of a byte range of the value; of the whole value where it is written with escapes.
    pub(super) fn inner(&self, range: &Range<usize>) -> Range<usize> {
        let written = self.scope.text.get(self.span.clone()).unwrap_or_default();
        let quotes =
            ["'''", "\"\"\"", "'", "\""].into_iter().find(|q| written.starts_with(q)).unwrap_or_default();
        let body = written.strip_prefix(quotes).and_then(|w| w.strip_suffix(quotes)).unwrap_or_default();
        let newline = usize::from(quotes.len() == 3 && body.starts_with('\n'));
        if quotes.is_empty() || body.get(newline..) != Some(self.value) || range.end > self.value.len() {
            return self.span.clone();
        }
        let start = self.span.start + quotes.len() + newline;
        start + range.start..start + range.end
    }
}

/// `text` fit for a message: no secrets of URLs, no control characters, no backticks, not long.
pub(super) fn shown(text: &str) -> String {
    const MOST: usize = 60;
    let masked = mask(text);
    let mut out: String = masked
        .chars()
        .take(MOST)
        .map(|c| match c {
            '`' => '\'',
            c if c.is_control() => ' ',
            c => c,
        })
        .collect();
    if text.chars().nth(MOST).is_some() {
        out.push('…');
    }
    out
}

/// The name that was most likely meant, as a hint.
pub(super) fn did_you_mean(found: &str, names: &[&str]) -> Option<String> {
    let far = 1 + found.chars().count() / 4;
    let near = |name: &&str| strsim::damerau_levenshtein(found, name);
    let best = names.iter().min_by_key(|n| near(n)).filter(|n| near(n) <= far)?;
    Some(format!("did you mean `{best}`?"))
}

/// ``a, b, c``
pub(super) fn list<S: AsRef<str>>(names: &[S]) -> String {
    names.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ")
}

/// `` `a` `b` `c` ``
pub(super) fn ticked(names: &[&str]) -> String {
    names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(" ")
}

/// A value of fewer bytes than a line of the terminal has is repeated in a hint.
const QUOTED: usize = 80;

/// The bytes of a name: of a rule, a space, a source, a mute.
pub(super) const NAME_BYTES: RangeInclusive<usize> = 1..=64;

/// So many names or fewer are listed in a hint.
pub(super) const LISTED: usize = 10;

/// Why `name` cannot name a rule, space or source: 1 to 64 letters, digits, `-`, `_` and `.`.
pub(super) fn check_name(text: &Text<'_>) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let ok = NAME_BYTES.contains(&text.value.len()) && text.value.chars().all(fits);
    if !ok {
        let message = format!("`{}` cannot be a name", shown(text.value));
        let hint = "a name is 1 to 64 letters, digits, `-`, `_` and `.`";
        text.scope.error_hint(text.span.clone(), message, hint);
    }
    ok
}
