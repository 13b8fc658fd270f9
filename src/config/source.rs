//! Where lines come from: `[[source]]`, and the `files` and `journal` of rules; and what they are wrapped in.
//!
//! All rule-level `files` make *one* source, so that a file ten rules name is read once; each rule keeps its own
//! globs to know which of those files concern it. A rule that names `files` *and* `journal` says: the files, or on
//! a machine where nothing writes them, the journal. Both at once would count each line twice.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::Env;
use super::files::{Files, glob};
use super::lint;
use super::walk::{Table, Text, Value, check_name, did_you_mean, list, shown};
use crate::line::SourceNo;
use crate::rules::SourceClock;
use crate::tail::{Encoding, Format, From, Input, Join, Preset, SourceSpec};

const KNOWN: [&str; 12] = [
    "name",
    "files",
    "exclude_files",
    "journal",
    "stdin",
    "start",
    "join",
    "format",
    "encoding",
    "from",
    "tz",
    "max_line",
];
/// A source reads one of these.
const INPUTS: [&str; 3] = ["files", "journal", "stdin"];
/// What the journal has of its own.
const NOT_OF_JOURNAL: [&str; 4] = ["start", "join", "format", "encoding"];
/// Some of the encodings that there are, for those who look for one.
const ENCODINGS: [&str; 7] =
    ["utf-8", "utf-16", "utf-16be", "latin1", "windows-1252", "shift_jis", "gb18030"];

/// A longer line is matched on its head, in bytes.
const MAX_LINE: usize = 256 << 10;
/// What `max_line` may be, in bytes; the upper bound is also what a reader must be ready to hold.
const MAX_LINE_BOUNDS: RangeInclusive<u64> = (1 << 10)..=(1 << 20);
/// At most this many sources: each journal unit is a child process.
pub(super) const MOST_SOURCES: usize = 500;
/// systemd's own bound for the name of a unit.
const UNIT_BYTES: usize = 255;
/// A log that nobody has written for this long does not stand in for the journal: `rsyslog` may have been removed
/// and left its files behind. A machine that was off for a week-end must not be taken for one.
const STALE: Duration = Duration::from_secs(7 * 86_400);

/// `journal = true` or `journal = "UNIT"`.
#[derive(Clone, Debug)]
pub(super) struct Journal {
    unit: Option<String>,
}

/// What a rule reads, as it is written.
#[derive(Clone, Debug)]
pub(super) enum Reads<'t> {
    /// `files`, `journal`, or both.
    Own {
        /// Absolute globs.
        files: Vec<String>,
        /// The journal.
        journal: Option<Journal>,
    },
    /// `source = "NAME"`.
    Named(Text<'t>),
}

/// Reads `files`, `source` and `journal` of a rule or of `defaults`; `None` where there is none of them.
pub(super) fn reads<'t>(table: &Table<'t>) -> Option<Reads<'t>> {
    let (files, journal) = (table.get("files"), table.get("journal"));
    if let Some(source) = table.get("source") {
        for other in [&files, &journal].into_iter().flatten() {
            let message = format!("`{}` beside `source`: a rule reads one or the other", other.key);
            other.scope.error_hint(other.span.clone(), message, "remove one of them");
        }
        return source.text().map(Reads::Named);
    }
    if files.is_none() && journal.is_none() {
        return None;
    }
    let files = files.and_then(|v| globs(&v, true)).unwrap_or_default();
    Some(Reads::Own { files, journal: journal.and_then(|v| journal_of(&v)) })
}

/// An array of globs, which must be absolute where they say what to read.
fn globs(value: &Value<'_>, absolute: bool) -> Option<Vec<String>> {
    let texts = value.texts()?;
    if texts.is_empty() && absolute && !value.scope.broken() {
        value.scope.error_hint(
            value.span.clone(),
            format!("`{}` is empty", value.key),
            "name a file, or remove it",
        );
    }
    let mut good = Vec::new();
    for text in texts {
        let (scope, span, path) = (&text.scope, text.span.clone(), text.value);
        if absolute && !path.starts_with('/') {
            let message = format!("`{}` is relative, expected a path that begins with `/`", shown(path));
            scope.error_hint(span, message, "the agent has no working directory of its own");
        } else if path.contains('\0') || path.is_empty() {
            scope.error(span, format!("`{}` is no path", shown(path)));
        } else if let Err(fault) = glob(path) {
            let message = format!("`{}` is not a glob: {}", shown(path), fault.kind());
            scope.error_hint(span, message, "`*` `?` `[a-z]` and `{a,b}` are special; `[*]` is a plain `*`");
        } else {
            good.push(path.to_owned());
        }
    }
    Some(good)
}

/// `true` or a unit's name.
fn journal_of(value: &Value<'_>) -> Option<Journal> {
    if value.as_flag() == Some(true) {
        return Some(Journal { unit: None });
    }
    let Some(text) = value.as_text() else {
        return value.expected("`true` or the name of a unit");
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    let name = text.value;
    if name.is_empty() || name.len() > UNIT_BYTES || name.starts_with('-') || !name.chars().all(fits) {
        let message = format!("`{}` is not the name of a unit", shown(name));
        text.scope.error_hint(text.span, message, "write it like \"ssh.service\"");
        return None;
    }
    Some(Journal { unit: Some(name.to_owned()) })
}

/// A `[[source]]`.
#[derive(Debug)]
pub(super) struct Named<'t> {
    pub(super) name: Text<'t>,
    /// Its lines have fields, or what its faults hide may say so.
    has_fields: bool,
    made: Made,
}

/// What a source is made of, beside its name and number.
#[derive(Clone, Debug)]
struct Made {
    input: Input,
    from: From,
    max_line: usize,
    join: Join,
    format: Format,
    encoding: Encoding,
    tz: TimeZone,
}

impl Made {
    /// One that says nothing but what it reads.
    fn plain(input: Input, tz: TimeZone) -> Made {
        Made {
            input,
            from: From::End,
            max_line: MAX_LINE,
            join: Join::None,
            format: Format::Plain,
            encoding: Encoding::default(),
            tz,
        }
    }
}

impl Named<'_> {
    /// It reads the agent's standard input.
    pub(super) fn is_stdin(&self) -> bool {
        self.made.input == Input::Stdin
    }
}

/// Every line of what a rule reads has fields; also where that cannot be told for a fault.
pub(super) fn have_fields(reads: Option<&Reads<'_>>, sources: &[Named<'_>]) -> bool {
    match reads {
        None => true,
        Some(Reads::Named(text)) => {
            sources.iter().find(|s| s.name.value == text.value).is_none_or(|s| s.has_fields)
        }
        Some(Reads::Own { files, .. }) => files.is_empty(),
    }
}

/// Reads a `[[source]]`; `None` where its name or its input is not there to be used.
pub(super) fn named<'t>(table: &Table<'t>, env: &Env) -> Option<Named<'t>> {
    table.check_keys(&KNOWN);
    let scope = &table.scope;
    let Some(name) = table.get("name") else {
        scope.error_hint(
            table.span.clone(),
            "a source without a `name`",
            "name it, for rules to say `source = \"…\"`",
        );
        return None;
    };
    let name = name.text()?;
    if name.value == "files" || name.value == "journal" {
        let message =
            format!("`{}` is the name of the source that rules with `{}` make", name.value, name.value);
        scope.error_hint(name.span.clone(), message, "choose another name");
    } else if !check_name(&name) {
        return None;
    }
    let words = [("end", From::End), ("start", From::Start)];
    let from = table.get("from").and_then(|v| v.one_of(&words)).unwrap_or_default();
    let max_line = table.get("max_line").and_then(|v| v.size(&MAX_LINE_BOUNDS));
    let max_line = max_line.and_then(|n| usize::try_from(n).ok()).unwrap_or(MAX_LINE);
    let tz = table.get("tz").and_then(|v| zone(&v)).unwrap_or_else(|| env.tz.clone());
    let join = join(table);
    let written = table.get("format");
    let format = written.as_ref().and_then(|v| v.one_of(&Format::ALL));
    let encoding = table.get("encoding").and_then(|v| encoding(&v)).unwrap_or_default();
    let input = input(table, name.value)?;
    let has_fields = match written {
        Some(_) => format != Some(Format::Plain),
        None => matches!(input, Input::Journal { .. }),
    };
    let format = format.unwrap_or_default();
    let made = Made { input, from, max_line, join, format, encoding, tz };
    Some(Named { name, has_fields, made })
}

/// What a source reads. A source that says nothing or too much is taken for the journal, so that rules find it;
/// `None` where what it says cannot be used.
fn input(table: &Table<'_>, name: &str) -> Option<Input> {
    let scope = &table.scope;
    let mut given: Vec<Value<'_>> = INPUTS.iter().filter_map(|key| table.get(key)).collect();
    given.sort_by_key(|v| INPUTS.iter().position(|key| *key == v.key));
    let Some((first, more)) = given.split_first() else {
        let message = format!("source `{}` has none of `files`, `journal` and `stdin`", shown(name));
        let hint = "say what it reads, such as files = [\"/srv/app/*.log\"]";
        scope.error_hint(table.span.clone(), message, hint);
        return Some(Input::Journal { unit: None });
    };
    if !more.is_empty() {
        for other in more {
            let message = format!("`{}` beside `{}`: a source reads one or the other", other.key, first.key);
            scope.error_hint(other.span.clone(), message, "make it two sources");
        }
        return Some(Input::Journal { unit: None });
    }
    let misfit = |keys: &[&str], belongs: &str, hint: &str| {
        for key in keys.iter().filter_map(|key| table.get(key)) {
            let message = format!("`{}` belongs to a source with {belongs}", key.key);
            scope.error_hint(key.span, message, hint);
        }
    };
    match first.key.as_str() {
        "files" => {
            let exclude = table.get("exclude_files").and_then(|v| globs(&v, false)).unwrap_or_default();
            Some(Input::Files { globs: globs(first, true)?, exclude })
        }
        "journal" => {
            misfit(&["exclude_files"], "`files`", "remove it");
            misfit(&NOT_OF_JOURNAL, "`files` or `stdin`", "remove it: the journal has its own");
            Some(Input::Journal { unit: journal_of(first)?.unit })
        }
        _ => {
            misfit(&["exclude_files", "from"], "`files`", "remove it");
            match first.as_flag() {
                Some(true) => Some(Input::Stdin),
                _ => first.expected("`true`"),
            }
        }
    }
}

/// Which lines belong together: `start` or `join`.
fn join(table: &Table<'_>) -> Join {
    let (start, join) = (table.get("start"), table.get("join"));
    if let (Some(_), Some(join)) = (&start, &join) {
        let message = "`join` beside `start`: both say where a record begins";
        join.scope.error_hint(join.span.clone(), message, "remove one of them");
    }
    if let Some(preset) = join.and_then(|v| v.one_of(&Preset::ALL)) {
        return Join::Preset(preset);
    }
    let pattern = start.and_then(|v| v.text()).and_then(|text| lint::pattern(&text));
    pattern.map_or(Join::None, |p| Join::Start(p.expanded))
}

fn encoding(value: &Value<'_>) -> Option<Encoding> {
    let text = value.text()?;
    let encoding = Encoding::named(text.value);
    if encoding.is_none() {
        let name = shown(text.value);
        let hint = did_you_mean(&name, &ENCODINGS)
            .unwrap_or_else(|| format!("some that are known: {}", list(&ENCODINGS)));
        text.scope.error_hint(text.span, format!("unknown encoding `{name}`"), hint);
    }
    encoding
}

pub(super) fn zone(value: &Value<'_>) -> Option<TimeZone> {
    let text = value.text()?;
    let zone = TimeZone::get(text.value).ok();
    if zone.is_none() {
        let message = format!("unknown time zone `{}`", shown(text.value));
        text.scope.error_hint(text.span, message, "write it like \"Europe/Paris\" or \"UTC\"");
    }
    zone
}

/// The sources that rules turned out to need, numbered as they are asked for.
#[derive(Debug)]
pub(super) struct Needed<'a> {
    named: &'a [Named<'a>],
    specs: Vec<SourceSpec>,
    clocks: Vec<SourceClock>,
    env: &'a Env,
    files: &'a dyn AnyFiles,
}

/// [`Files`], for a field that prints nothing of it.
pub(super) trait AnyFiles: Files {}
impl<T: Files> AnyFiles for T {}
impl std::fmt::Debug for dyn AnyFiles + '_ {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Files")
    }
}

impl<'a> Needed<'a> {
    pub(super) fn new(named: &'a [Named<'a>], env: &'a Env, files: &'a dyn AnyFiles) -> Needed<'a> {
        Needed { named, specs: Vec::new(), clocks: Vec::new(), env, files }
    }

    /// The sources of one rule, and the globs that narrow them; `None` where it names a source that is not there.
    pub(super) fn by(&mut self, reads: &Reads<'_>) -> Option<(Vec<SourceNo>, Vec<String>)> {
        match reads {
            Reads::Named(text) => {
                let source = self.named.iter().find(|s| s.name.value == text.value)?;
                let no = self.add(text.value, || source.made.clone())?;
                Some((vec![no], Vec::new()))
            }
            Reads::Own { files, journal } => {
                let (mut sources, mut only) = (Vec::new(), Vec::new());
                if !files.is_empty() {
                    sources.push(self.shared_files(files)?);
                    only.clone_from(files);
                }
                if let Some(Journal { unit }) = journal
                    && (files.is_empty() || !self.anyone_writes(files))
                {
                    let name = unit.as_ref().map_or("journal".to_owned(), |u| format!("journal:{u}"));
                    let input = Input::Journal { unit: unit.clone() };
                    let tz = self.env.tz.clone();
                    sources.push(self.add(&name, || Made::plain(input, tz))?);
                    if !only.is_empty() {
                        // the globs narrow the rule to its files, and the journal is one of them
                        only.push("journal".to_owned());
                        only.extend((name != "journal").then_some(name));
                    }
                }
                Some((sources, only))
            }
        }
    }

    pub(super) fn finish(self) -> (Vec<SourceSpec>, Vec<SourceClock>) {
        (self.specs, self.clocks)
    }

    fn shared_files(&mut self, files: &[String]) -> Option<SourceNo> {
        let tz = self.env.tz.clone();
        let empty = Input::Files { globs: Vec::new(), exclude: Vec::new() };
        let no = self.add("files", || Made::plain(empty, tz))?;
        if let Input::Files { globs, .. } = &mut self.specs[usize::from(no.0)].input {
            for file in files {
                if !globs.contains(file) {
                    globs.push(file.clone());
                }
            }
        }
        Some(no)
    }

    fn add(&mut self, name: &str, make: impl FnOnce() -> Made) -> Option<SourceNo> {
        if let Some(there) = self.specs.iter().find(|s| *s.name == *name) {
            return Some(there.no);
        }
        if self.specs.len() >= MOST_SOURCES {
            return None;
        }
        let no = SourceNo(u16::try_from(self.specs.len()).ok()?);
        let Made { input, from, max_line, join, format, encoding, tz } = make();
        self.specs.push(SourceSpec {
            no,
            name: Arc::from(name),
            input,
            from,
            max_line,
            join,
            format,
            encoding,
        });
        self.clocks.push(SourceClock { no, tz });
        Some(no)
    }

    fn anyone_writes(&self, globs: &[String]) -> bool {
        let fresh = self.env.now.wall - STALE;
        globs
            .iter()
            .flat_map(|g| self.files.glob(g))
            .any(|p| self.files.written(&p).is_some_and(|t| t >= fresh))
    }
}
