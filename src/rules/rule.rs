//! One rule, ready to judge a line and to make a hit of it.
//!
//! What a rule does not ask for is not made: captures only by the names that its key or its message uses, the kind
//! only where it is in the key, the fields of a line only when one is asked for. A storm is a million calls of
//! [`Rule::fate`].
//!
//! A rule with a `resolve` is two of these: the second has the other pattern, its own literals, and the same sources, so
//! that the line which ends an incident is found as cheaply as the one that opened it.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use regex::bytes::{CaptureLocations, Regex};

use super::around::Asked;
use super::cut::cut;
use super::fields::{Fields, meant};
use super::literal::{self, Set};
use super::mask;
use super::own::is_own;
use super::pattern::Pattern;
use super::spec::{By, RuleSpec, Where};
use crate::hit::{CAPTURE_BYTES, KEY_PARTS, LINE_BYTES, NONE};
use crate::line::Field;
use crate::redact::{REDACTED, Redactor};

/// One rule.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) spec: RuleSpec,
    /// What it may be looked for by.
    pub(super) choices: Vec<Set>,
    only: Option<Only>,
    /// Where `spec.captures` come from.
    captures: Box<[Taken]>,
    /// What makes the key.
    by: Box<[Part]>,
    /// No group is asked for, unless the hit is made in full: whether it matches is enough.
    plain: bool,
    /// It is the `resolve` of its rule.
    pub(super) resolves: bool,
    /// The name under which a line that it hit before its newline came is remembered.
    pub(super) early: Arc<str>,
    /// Some group is asked for by what travels with a hit.
    taken: bool,
    /// What its literals read like, once somebody asked.
    pub(super) texts: OnceLock<Arc<[String]>>,
}

/// Where the value of a capture comes from.
#[derive(Debug)]
enum Taken {
    Group(usize),
    Field(Box<str>),
}

#[derive(Debug)]
enum Part {
    Taken(Taken),
    File,
    Host,
    Kind,
    /// A `resolve` does not say which.
    Any,
}

/// The files of a rule with files of its own.
#[derive(Debug)]
struct Only {
    globs: GlobSet,
    /// Those that are no glob are taken by the letter.
    plain: Vec<String>,
}

/// How a line fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    NoMatch,
    /// It matches, but the agent wrote the line itself.
    Own,
    /// By the exclude of this index.
    Excluded(usize),
    /// By the condition of this index.
    Refused(usize),
    Hit,
}

/// Where the groups of a rule lie in a line; made when a rule first asks for them.
#[derive(Clone, Debug, Default)]
pub(super) struct Groups(Option<CaptureLocations>);

impl Groups {
    /// Reads a line; tells whether it matches.
    pub(super) fn read(&mut self, regex: &Regex, line: &[u8]) -> bool {
        let locs = self.0.get_or_insert_with(|| regex.capture_locations());
        regex.captures_read(locs, line).is_some()
    }

    fn get(&self, group: usize) -> Option<(usize, usize)> {
        self.0.as_ref().and_then(|locs| locs.get(group))
    }
}

/// Where a line comes from, as keys tell it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin<'a> {
    pub(super) file: &'a str,
    pub(super) host: &'a str,
}

impl Rule {
    /// The rule, and behind it its `resolve`, where it has one.
    pub(super) fn halves(spec: RuleSpec) -> impl Iterator<Item = Rule> {
        let resolving = spec.resolve.clone().map(|pattern| Rule::resolving(&spec, pattern));
        let (early, by) = (Arc::clone(&spec.name), spec.by.iter().map(|by| Part::new(&spec, by)).collect());
        [Some(Rule::new(spec, by, early)), resolving].into_iter().flatten()
    }

    fn resolving(spec: &RuleSpec, pattern: Pattern) -> Rule {
        let names = pattern.capture_names();
        let field = |name: &String| spec.pattern.group(name).is_none();
        let named = |by: &By| matches!(by, By::Capture(name) if names.contains(name) || field(name));
        let spec = RuleSpec {
            pattern,
            exclude: Vec::new(),
            fields: Vec::new(),
            captures: Vec::new(),
            resolve: None,
            fold: false,
            context: Asked::default(),
            ..spec.clone()
        };
        let by = spec.by.iter().map(|by| if named(by) { Part::new(&spec, by) } else { Part::Any }).collect();
        // no name has a space, so this one is no other rule's
        let early = format!("{} resolve", spec.name).into();
        Rule { resolves: true, ..Rule::new(spec, by, early) }
    }

    fn new(spec: RuleSpec, by: Box<[Part]>, early: Arc<str>) -> Rule {
        let captures: Box<[_]> = spec.captures.iter().map(|name| Taken::new(&spec, name)).collect();
        let taken = captures.iter().any(|t| matches!(t, Taken::Group(_)));
        let plain = (spec.fold || !taken) && !by.iter().any(|p| matches!(p, Part::Taken(Taken::Group(_))));
        let choices = spec.pattern.hir().map_or_else(Vec::new, |hir| literal::choices(&hir));
        let only = (!spec.only_files.is_empty()).then(|| Only::new(&spec.only_files));
        let (resolves, texts) = (false, OnceLock::new());
        Rule { spec, choices, only, captures, by, plain, resolves, early, taken, texts }
    }

    /// The literals that tell most of it, of which every line that it matches has one.
    pub(super) fn literals(&self) -> Option<&Set> {
        let price = |set: &Set| literal::costs(set, &literal::Table)[0];
        self.choices.iter().min_by(|a, b| price(a).total_cmp(&price(b)))
    }

    /// It reads this file of its sources.
    pub(super) fn reads(&self, file: &str) -> bool {
        self.only
            .as_ref()
            .is_none_or(|o| o.globs.is_match(Path::new(file)) || o.plain.iter().any(|p| p == file))
    }

    /// Judges a line without its line end; after [`Fate::Hit`], `locs` holds the groups, where the key asks for any, or
    /// where a hit of this rule is always made in full.
    ///
    /// `sure`: it is known to match.
    #[inline]
    pub(super) fn fate(&self, line: &[u8], sure: bool, locs: &mut Groups, fields: &mut Fields<'_>) -> Fate {
        let pattern = &self.spec.pattern;
        let matched = if self.plain {
            sure || pattern.regex().is_match(line)
        } else {
            locs.read(pattern.regex(), line)
        };
        if !matched {
            return Fate::NoMatch;
        }
        matched_fate(&self.spec, line, fields)
    }

    /// It accepts this line, without its line end; nothing is captured. `sure`: it is known to match.
    #[inline]
    pub(super) fn accepts(&self, line: &[u8], sure: bool, fields: &mut Fields<'_>) -> bool {
        (sure || self.spec.pattern.regex().is_match(line))
            && matched_fate(&self.spec, line, fields) == Fate::Hit
    }

    /// Has the groups in `locs`, of a line that is a hit, where it or its key asks for any. `judged`: they are what
    /// [`Rule::fate`] made of this line.
    pub(super) fn locate(&self, line: &[u8], locs: &mut Groups, judged: bool) {
        if if judged { self.taken && self.plain } else { self.taken || !self.plain } {
            locs.read(self.spec.pattern.regex(), line);
        }
    }

    /// All its hits in one file have one key.
    pub(super) fn is_alone(&self) -> bool {
        self.by.iter().all(|part| matches!(part, Part::File | Part::Host))
    }

    /// What of the line makes the key, as bytes that are the same for no two keys. `text` is room to work in.
    pub(super) fn raw_key(
        &self,
        line: &[u8],
        locs: &Groups,
        fields: &mut Fields<'_>,
        key: &mut Vec<u8>,
        text: &mut String,
    ) {
        // length first, and one for none
        let mut put = |value: Option<&[u8]>| {
            key.extend_from_slice(&value.map_or(0, |v| v.len() as u64 + 1).to_le_bytes());
            key.extend_from_slice(value.unwrap_or_default());
        };
        for part in &self.by {
            match part {
                Part::Taken(Taken::Group(group)) => {
                    put(locs.get(*group).map(|(start, end)| &line[start..end]));
                }
                Part::Taken(Taken::Field(name)) => put(fields.get(name).as_ref().map(|v| v.as_bytes())),
                Part::File | Part::Host | Part::Any => {}
                Part::Kind => {
                    mask::kind_with(line, &self.spec.mask, text);
                    put(Some(text.as_bytes()));
                }
            }
        }
    }

    /// The values of the key.
    pub(super) fn key(
        &self,
        line: &[u8],
        locs: &Groups,
        fields: &mut Fields<'_>,
        origin: Origin<'_>,
    ) -> Box<[Box<str>]> {
        self.by
            .iter()
            .map(|part| match part {
                Part::Taken(taken) => taken.value(line, locs, fields).unwrap_or_else(|| NONE.into()),
                Part::File => cut(origin.file.as_bytes(), CAPTURE_BYTES),
                Part::Host => cut(origin.host.as_bytes(), CAPTURE_BYTES),
                Part::Kind => mask::kind_masked(line, &self.spec.mask).into(),
                Part::Any => "".into(),
            })
            .collect()
    }

    /// Of a `resolve`: which parts of the key the line names, as [`crate::hit::Hit::resolves`] has it, and the values.
    /// A field that the line does not have is not named; a capture that took no part is `(none)`, as in a hit.
    pub(super) fn named(&self, line: &[u8], locs: &Groups, fields: &mut Fields<'_>) -> (u8, Box<[Box<str>]>) {
        let mut bits = 0;
        let mut value = |(n, part): (usize, &Part)| {
            let value = match part {
                Part::Taken(taken @ Taken::Group(_)) => {
                    Some(taken.value(line, locs, fields).unwrap_or_else(|| NONE.into()))
                }
                Part::Taken(taken @ Taken::Field(_)) => taken.value(line, locs, fields),
                _ => None,
            };
            bits |= u8::from(value.is_some()) << n;
            value.unwrap_or_default()
        };
        let key = self.by.iter().take(KEY_PARTS).enumerate().map(&mut value).collect();
        (bits, key)
    }

    /// The same, by name.
    pub(super) fn named_pairs(
        &self,
        line: &[u8],
        locs: &Groups,
        fields: &mut Fields<'_>,
    ) -> Vec<(String, String)> {
        let (bits, key) = self.named(line, locs, fields);
        let named = self.spec.by.iter().zip(key).enumerate().filter(|(n, _)| bits & (1 << n) != 0);
        let pair = |(_, (by, value)): (usize, (&By, Box<str>))| match by {
            By::Capture(name) => Some((name.clone(), value.into_string())),
            _ => None,
        };
        named.filter_map(pair).collect()
    }

    /// The captures that travel with a hit.
    pub(super) fn captured(
        &self,
        line: &[u8],
        locs: &Groups,
        fields: &mut Fields<'_>,
    ) -> Arc<[Option<Box<str>>]> {
        if self.captures.is_empty() {
            return Arc::default();
        }
        self.captures.iter().map(|taken| taken.value(line, locs, fields)).collect()
    }
}

/// How a line fares that `match` accepts.
#[inline]
fn matched_fate(spec: &RuleSpec, line: &[u8], fields: &mut Fields<'_>) -> Fate {
    if is_own(line) {
        return Fate::Own;
    }
    if let Some(n) = spec.exclude.iter().position(|e| e.regex().is_match(line)) {
        return Fate::Excluded(n);
    }
    match spec.fields.iter().position(|w| !w.holds(fields)) {
        Some(n) => Fate::Refused(n),
        None => Fate::Hit,
    }
}

impl Part {
    fn new(spec: &RuleSpec, by: &By) -> Part {
        match by {
            By::Capture(name) => Part::Taken(Taken::new(spec, name)),
            By::File => Part::File,
            By::Host => Part::Host,
            By::Kind => Part::Kind,
        }
    }
}

impl Taken {
    fn new(spec: &RuleSpec, name: &str) -> Taken {
        spec.pattern.group(name).map_or_else(|| Taken::Field(meant(name).into()), Taken::Group)
    }

    fn value(&self, line: &[u8], locs: &Groups, fields: &mut Fields<'_>) -> Option<Box<str>> {
        match self {
            Taken::Group(group) => {
                let (start, end) = locs.get(*group)?;
                Some(if end > LINE_BYTES {
                    far(line, start, end)
                } else {
                    cut(&line[start..end], CAPTURE_BYTES)
                })
            }
            Taken::Field(name) => fields.get(name).map(|value| cut(value.as_bytes(), CAPTURE_BYTES)),
        }
    }
}

/// Bytes before a value that may say that it is a secret: a name, a header, the beginning of a URL.
const AROUND: usize = 256;

/// A value from behind what travels with a hit. Who keeps the hit cannot see what stood before it, and would take a
/// password for any word; so it is looked at here.
#[cold]
fn far(line: &[u8], start: usize, end: usize) -> Box<str> {
    let value = cut(&line[start..end], CAPTURE_BYTES);
    let around = String::from_utf8_lossy(&line[start.saturating_sub(AROUND)..end.min(start + CAPTURE_BYTES)]);
    let bare = value.trim_end_matches('…');
    if Redactor::new().redact(&around).contains(bare) { value } else { REDACTED.into() }
}

impl Where {
    /// The field has one of the values.
    fn holds(&self, fields: &mut Fields<'_>) -> bool {
        fields.get(&self.field).is_some_and(|value| self.values.iter().any(|v| *v == value))
    }

    /// What the field is, for people: cut.
    pub(super) fn found(&self, fields: &mut Fields<'_>) -> Option<String> {
        fields.get(&self.field).map(|value| cut(value.as_bytes(), CAPTURE_BYTES).into_string())
    }
}

/// The fields that a rule asks for by the names of its captures, as it names them.
pub(super) fn asked(spec: &RuleSpec) -> Vec<&str> {
    let by = spec.by.iter().filter_map(|by| match by {
        By::Capture(name) => Some(name.as_str()),
        _ => None,
    });
    let mut names: Vec<&str> = Vec::new();
    for name in by.chain(spec.captures.iter().map(String::as_str)) {
        if spec.pattern.group(name).is_none() && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

impl Only {
    fn new(files: &[String]) -> Only {
        let mut globs = GlobSetBuilder::new();
        let mut plain = Vec::new();
        for file in files {
            match GlobBuilder::new(file).literal_separator(true).build() {
                Ok(glob) => _ = globs.add(glob),
                Err(_) => plain.push(file.clone()),
            }
        }
        let globs = globs.build().unwrap_or_else(|_| {
            plain = files.to_vec();
            GlobSet::empty()
        });
        Only { globs, plain }
    }
}

/// What happens to a line of an inline test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LineVerdict {
    /// `match` does not match it.
    Nothing,
    /// `match` matches it, but it is a line of the agent itself.
    Own,
    /// It would be a hit but for the `exclude` of this index, from 0.
    Excluded(usize),
    /// It would be a hit but for the condition of `where` of this index, from 0.
    Refused {
        /// From 0.
        index: usize,
        /// What the field is, cut; `None` where the line has no such field.
        found: Option<String>,
    },
    /// A hit, with every named capture of the pattern in its order, then the fields that the rule asks for; `None`
    /// where one took no part.
    Hit {
        /// Name and value.
        captures: Vec<(String, Option<String>)>,
    },
}

/// Judges one line, without its line end, by one rule: what an inline test asks. `fields` are those of its wrapping.
pub fn test_line(spec: &RuleSpec, line: &[u8], fields: &[Field]) -> LineVerdict {
    if !spec.pattern.regex().is_match(line) {
        return LineVerdict::Nothing;
    }
    let mut fields = Fields::new(fields, line);
    match matched_fate(spec, line, &mut fields) {
        Fate::NoMatch => LineVerdict::Nothing,
        Fate::Own => LineVerdict::Own,
        Fate::Excluded(index) => LineVerdict::Excluded(index),
        Fate::Refused(index) => LineVerdict::Refused { index, found: spec.fields[index].found(&mut fields) },
        Fate::Hit => LineVerdict::Hit { captures: every_capture(spec, line, &mut fields) },
    }
}

/// Does a rule's `resolve` accept the line, without its line end? The parts of the key that the line names, and their
/// values; `None` where it does not, or the agent wrote the line itself.
pub fn test_resolve(spec: &RuleSpec, line: &[u8], fields: &[Field]) -> Option<Vec<(String, String)>> {
    let rule = Rule::resolving(spec, spec.resolve.clone()?);
    let mut locs = Groups::default();
    let mut fields = Fields::new(fields, line);
    (rule.fate(line, false, &mut locs, &mut fields) == Fate::Hit)
        .then(|| rule.named_pairs(line, &locs, &mut fields))
}

/// Every named capture of the pattern, in its order, then the fields that the rule asks for.
pub(super) fn every_capture(
    spec: &RuleSpec,
    line: &[u8],
    fields: &mut Fields<'_>,
) -> Vec<(String, Option<String>)> {
    let mut locs = Groups::default();
    locs.read(spec.pattern.regex(), line);
    let names = spec.pattern.capture_names();
    let names = names.iter().map(String::as_str).chain(asked(spec));
    let value = |name: &str| {
        let value = Taken::new(spec, name).value(line, &locs, fields);
        (name.to_owned(), value.map(str::into_string))
    };
    names.map(value).collect()
}
