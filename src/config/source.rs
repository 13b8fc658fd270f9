//! Where lines come from: `[[source]]`, and the `files` and `journal` of rules.
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
use super::walk::{Table, Text, Value, check_name, shown};
use crate::line::SourceNo;
use crate::rules::SourceClock;
use crate::tail::{Encoding, Format, From, Input, Join, SourceSpec};

const KNOWN: [&str; 8] = ["name", "files", "exclude_files", "journal", "stdin", "from", "tz", "max_line"];
const LATER: [&str; 4] = ["start", "join", "format", "encoding"];

/// A longer line is matched on its head, in bytes.
const MAX_LINE: usize = 256 << 10;
/// What `max_line` may be, in bytes; the upper bound is also what a reader must be ready to hold.
const MAX_LINE_BOUNDS: RangeInclusive<u64> = (1 << 10)..=(1 << 20);
/// At most this many sources: each journal unit is a child process.
pub(super) const MOST_SOURCES: usize = 500;
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
    if name.is_empty() || name.len() > 255 || name.starts_with('-') || !name.chars().all(fits) {
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
    input: Input,
    from: From,
    max_line: usize,
    tz: TimeZone,
}

/// Reads a `[[source]]`; `None` where its name or its input is not there to be used.
pub(super) fn named<'t>(table: &Table<'t>, env: &Env) -> Option<Named<'t>> {
    table.check_keys(&KNOWN, &LATER);
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
    let tz = table.get("tz").and_then(|v| zone(&v)).unwrap_or_else(|| env.tz.clone());
    let exclude = table.get("exclude_files");
    let input = match (table.get("files"), table.get("journal")) {
        (Some(files), None) => {
            let exclude = exclude.and_then(|v| globs(&v, false)).unwrap_or_default();
            Input::Files { globs: globs(&files, true)?, exclude }
        }
        (None, Some(journal)) => {
            if let Some(exclude) = exclude {
                let message = "`exclude_files` belongs to a source with `files`";
                scope.error_hint(exclude.span, message, "remove it");
            }
            Input::Journal { unit: journal_of(&journal)?.unit }
        }
        (Some(_), Some(journal)) => {
            let message = "`journal` beside `files`: a source reads one or the other";
            scope.error_hint(journal.span, message, "make it two sources");
            return Some(Named { name, input: Input::Journal { unit: None }, from, max_line: MAX_LINE, tz });
        }
        (None, None) if table.get("stdin").is_some_and(|v| v.as_flag() == Some(true)) => Input::Stdin,
        (None, None) => {
            let message = format!("source `{}` has neither `files` nor `journal`", shown(name.value));
            scope.error_hint(
                table.span.clone(),
                message,
                "say what it reads, such as files = [\"/srv/app/*.log\"]",
            );
            return Some(Named { name, input: Input::Journal { unit: None }, from, max_line: MAX_LINE, tz });
        }
    };
    let max_line = max_line.and_then(|n| usize::try_from(n).ok()).unwrap_or(MAX_LINE);
    Some(Named { name, input, from, max_line, tz })
}

fn zone(value: &Value<'_>) -> Option<TimeZone> {
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
                let max_line = source.max_line;
                let no = self
                    .add(text.value, || (source.input.clone(), source.from, max_line, source.tz.clone()))?;
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
                    sources.push(self.add(&name, || (input, From::End, MAX_LINE, tz))?);
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
        let no = self.add("files", || (empty, From::End, MAX_LINE, tz))?;
        if let Input::Files { globs, .. } = &mut self.specs[usize::from(no.0)].input {
            for file in files {
                if !globs.contains(file) {
                    globs.push(file.clone());
                }
            }
        }
        Some(no)
    }

    fn add(&mut self, name: &str, make: impl FnOnce() -> (Input, From, usize, TimeZone)) -> Option<SourceNo> {
        if let Some(there) = self.specs.iter().find(|s| *s.name == *name) {
            return Some(there.no);
        }
        if self.specs.len() >= MOST_SOURCES {
            return None;
        }
        let no = SourceNo(u16::try_from(self.specs.len()).ok()?);
        let (input, from, max_line, tz) = make();
        self.specs.push(SourceSpec {
            no,
            name: Arc::from(name),
            input,
            from,
            max_line,
            join: Join::None,
            format: Format::Plain,
            encoding: Encoding::default(),
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
