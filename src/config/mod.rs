//! From rules.toml to settings: every file, every fault, in one run.
//!
//! [`load`] reads the file and what it includes, walks the spanned trees (`walk`), and builds what each stage is
//! told ([`settings`]). No stage sees this module. Faults never stop the walk: an operator who made eight mistakes
//! reads of eight.
//!
//! The surprising part is the *second* verdict. A reload is all or nothing ([`Loaded::settings`]), but at boot one
//! bad rule must not mean that nobody watches, so the same walk also builds the set without the faulty rules
//! ([`Loaded::without_faulty_rules`]); only a fault outside rules takes that away.

mod alive;
mod assemble;
pub mod diagnostic;
mod expect;
pub mod files;
mod inhibit;
mod inline;
mod judge;
mod judging;
mod lint;
mod mute;
mod names;
mod redact;
mod rule;
pub mod settings;
mod source;
mod space;
pub mod value;
mod walk;

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::tz::TimeZone;
use toml::de::DeTable;

pub use diagnostic::{Diagnostic, FileNo, Grade, Look, Place, Sources};
pub use files::{Disk, Files};
pub use settings::{Gives, RuleTest, Settings};

use crate::time::Now;
use files::FILE_BYTES;
use walk::{Report, Scope, Table, shown};

/// At most this many included files: a thousand-rule pack is a few dozen.
const MOST_FILES: usize = 256;
/// No more syntax errors of one file are reported: after a few, the parser is guessing.
const MOST_SYNTAX_ERRORS: usize = 20;

/// What a rules file is read against.
#[derive(Clone, Debug)]
pub struct Env {
    /// This host's name.
    pub host: Arc<str>,
    /// This host's time zone: of stamps that name none, where a source says nothing else.
    pub tz: TimeZone,
    /// When: a log that has not been written for a week does not stand in for the journal.
    pub now: Now,
}

/// What came of loading.
#[derive(Debug)]
pub struct Loaded {
    /// The settings; `None` where there is any error.
    pub settings: Option<Settings>,
    /// Errors and warnings, by file and place.
    pub faults: Vec<Diagnostic>,
    /// The texts, for drawing faults.
    pub sources: Sources,
    /// The files that were read, the one that was asked for first.
    pub files: Vec<PathBuf>,
    /// The folders where a change means: load again. Sorted, each once.
    pub watch_dirs: Vec<PathBuf>,
    partial: Option<Settings>,
}

impl Loaded {
    /// The settings without the rules that hold an error: for a boot. `None` where an error is outside rules.
    /// A rule whose only error is an unknown space stays, and speaks to `admin`.
    pub fn without_faulty_rules(&self) -> Option<Settings> {
        self.partial.clone()
    }

    /// How many errors there are.
    pub fn errors(&self) -> usize {
        self.faults.iter().filter(|f| f.grade == Grade::Error).count()
    }

    /// How many warnings there are.
    pub fn warnings(&self) -> usize {
        self.faults.len() - self.errors()
    }

    /// `8 errors, 2 warnings`; `no fault` where there is none.
    pub fn verdict(&self) -> String {
        let count = |n: usize, what: &str| match n {
            0 => None,
            1 => Some(format!("1 {what}")),
            n => Some(format!("{n} {what}s")),
        };
        let parts: Vec<String> = [count(self.errors(), "error"), count(self.warnings(), "warning")]
            .into_iter()
            .flatten()
            .collect();
        if parts.is_empty() { "no fault".to_owned() } else { parts.join(", ") }
    }

    /// Every fault drawn, with an empty line between; no newline at the end.
    pub fn render(&self, look: Look) -> String {
        self.faults.iter().map(|f| self.sources.render(f, look)).collect::<Vec<_>>().join("\n\n")
    }
}

/// Loads a rules file and what it includes from disk.
pub fn load(path: &Path, env: &Env) -> Loaded {
    load_from(path, env, &Disk)
}

/// Loads a rules file and what it includes from `files`.
pub fn load_from(path: &Path, env: &Env, files: &impl Files) -> Loaded {
    let read = match files.read(path) {
        Ok(bytes) => bytes,
        Err(fault) => {
            let mut loaded = load_text(path, "", env, files);
            let message = format!("cannot read `{}`: {fault}", shown(&path.to_string_lossy()));
            let hint = if fault.kind() == std::io::ErrorKind::PermissionDenied {
                "rules hold no secret: chmod 0644, and 0755 for the folders above"
            } else {
                "give the path of a rules file; the packaged one is `/etc/logherald/rules.toml`"
            };
            let place = Place { file: FileNo(0), span: 0..0 };
            let hint = Some(hint.to_owned());
            loaded.faults =
                vec![Diagnostic { grade: Grade::Error, place, rule: None, message, hint, also: None }];
            (loaded.settings, loaded.partial) = (None, None);
            return loaded;
        }
    };
    let mut texts = Texts::default();
    texts.add(path, &read);
    load_texts(texts, env, files)
}

/// Loads `text` as if it stood in the file `path`; what it includes comes from `files`.
pub fn load_text(path: &Path, text: &str, env: &Env, files: &impl Files) -> Loaded {
    let mut texts = Texts::default();
    texts.add(path, text.as_bytes());
    load_texts(texts, env, files)
}

/// The files so far, and what was wrong with their bytes.
#[derive(Debug, Default)]
struct Texts {
    sources: Sources,
    all: Vec<(PathBuf, Arc<str>)>,
    report: Report,
    unreadable: bool,
}

impl Texts {
    fn add(&mut self, path: &Path, bytes: &[u8]) {
        let (text, fault) = match std::str::from_utf8(bytes) {
            _ if bytes.len() as u64 > FILE_BYTES => (
                String::new(),
                Some((0, "the file is longer than 1 MiB", "split it, and `include` the parts")),
            ),
            Ok(text) => (text.to_owned(), None),
            Err(fault) => {
                let what = "a byte here is not UTF-8, which TOML is written in";
                let hint = "save the file as UTF-8; in a pattern write the byte as `\\xE9`";
                (String::from_utf8_lossy(bytes).into_owned(), Some((fault.valid_up_to(), what, hint)))
            }
        };
        let file = self.sources.add(path, &text);
        if let Some((at, message, hint)) = fault {
            self.unreadable = true;
            Scope::new(&self.report, file, &text, &[]).error_hint(at..at, message, hint);
        }
        self.all.push((path.to_owned(), text.into()));
    }
}

fn load_texts(mut texts: Texts, env: &Env, files: &impl Files) -> Loaded {
    let (main_path, main_text) = texts.all[0].clone();
    let parsed = DeTable::parse_recoverable(&main_text).0;
    let mut watch_dirs: BTreeSet<PathBuf> =
        BTreeSet::from([files::literal_dir(&main_path.to_string_lossy())]);
    include(parsed.get_ref(), &mut texts, files, &mut watch_dirs);
    let Texts { mut sources, all, report, unreadable } = texts;
    let trees: Vec<Tree<'_>> = all.iter().map(|(_, text)| Tree::parse(text)).collect();
    let mut tops = Vec::new();
    for (no, tree) in trees.iter().enumerate() {
        let file = FileNo(u16::try_from(no).unwrap_or(u16::MAX));
        let scope = Scope::new(&report, file, tree.text, &tree.spans);
        tree.report(&scope);
        tops.push(Table::new(scope, 0..0, &tree.table));
    }
    let paths: Vec<PathBuf> = all.iter().map(|(path, _)| path.clone()).collect();
    let partial = assemble::assemble(&tops, &paths, env, files);
    drop(tops);
    let (faults, secrets) = report.finish();
    for place in &secrets {
        sources.hide(place);
    }
    let partial = partial.filter(|_| !unreadable);
    let settings = partial.clone().filter(|_| faults.iter().all(|f| f.grade == Grade::Warning));
    Loaded { settings, faults, sources, files: paths, watch_dirs: watch_dirs.into_iter().collect(), partial }
}

/// Reads what `include` names: relative to the file, sorted by bytes, each file once.
fn include(top: &DeTable<'_>, texts: &mut Texts, files: &impl Files, watch_dirs: &mut BTreeSet<PathBuf>) {
    let (main_path, main_text) = texts.all[0].clone();
    let dir = files::literal_dir(&main_path.to_string_lossy());
    let mut found: Vec<(PathBuf, Vec<u8>)> = Vec::new();
    {
        let scope = Scope::new(&texts.report, FileNo(0), &main_text, &[]);
        let patterns =
            Table::new(scope, 0..0, top).get("include").and_then(|v| v.texts()).unwrap_or_default();
        for text in patterns {
            let pattern = main_path.parent().unwrap_or(&dir).join(text.value);
            let pattern = pattern.to_string_lossy().into_owned();
            if let Err(fault) = files::glob(&pattern) {
                let message = format!("`{}` is not a glob: {}", shown(text.value), fault.kind());
                text.scope.error_hint(text.span, message, "write it like \"rules.d/*.toml\"");
                continue;
            }
            watch_dirs.insert(files::literal_dir(&pattern));
            let mut paths = files.glob(&pattern);
            paths.sort_by(|a, b| a.as_os_str().as_encoded_bytes().cmp(b.as_os_str().as_encoded_bytes()));
            if paths.is_empty() && !files::is_glob(&pattern) {
                let message = format!("`{}` is not there", shown(&pattern));
                text.scope.error_hint(text.span, message, "make it, or write a glob: that may match nothing");
                continue;
            }
            for path in paths {
                if path == main_path || found.iter().any(|(p, _)| *p == path) {
                    continue;
                }
                if found.len() >= MOST_FILES {
                    let message = format!("`include` names more than {MOST_FILES} files");
                    text.scope.error(text.span.clone(), message);
                    break;
                }
                watch_dirs.insert(files::literal_dir(&path.to_string_lossy()));
                match files.read(&path) {
                    Ok(bytes) => found.push((path, bytes)),
                    Err(fault) => {
                        let path = shown(&path.to_string_lossy());
                        text.scope.error_hint(
                            text.span.clone(),
                            format!("cannot read the included `{path}`: {fault}"),
                            "rules hold no secret: chmod 0644, and 0755 for the folders above",
                        );
                    }
                }
            }
        }
        texts.unreadable |= !texts.report.is_empty();
    }
    for (path, bytes) in found {
        texts.add(&path, &bytes);
    }
}

/// A parsed file.
#[derive(Debug)]
struct Tree<'t> {
    text: &'t str,
    table: DeTable<'t>,
    errors: Vec<toml::de::Error>,
    spans: Vec<Range<usize>>,
}

impl<'t> Tree<'t> {
    fn parse(text: &'t str) -> Tree<'t> {
        let (table, errors) = DeTable::parse_recoverable(text);
        let spans = errors.iter().map(|e| e.span().unwrap_or(0..0)).collect();
        Tree { text, table: table.into_inner(), errors, spans }
    }

    /// The syntax errors, one a line: what follows on the same line follows from the first.
    fn report(&self, scope: &Scope<'_>) {
        let scope = scope.without_syntax();
        let mut errors: Vec<(Range<usize>, &str)> =
            self.errors.iter().zip(&self.spans).map(|(e, span)| (span.clone(), e.message())).collect();
        errors.sort_by_key(|(span, _)| span.start);
        let line = |at: usize| self.text.get(..at).map_or(0, |t| t.matches('\n').count());
        errors.dedup_by_key(|(span, _)| line(span.start));
        for (span, message) in errors.into_iter().take(MOST_SYNTAX_ERRORS) {
            let hint = if message.starts_with("missing escaped value") {
                "patterns are written in single quotes, where nothing is escaped: match = '\\d+'"
            } else if message.starts_with("duplicate key") {
                "a table has each key once; did a [[rule]] header get lost?"
            } else if message.contains("string") {
                "text stands in quotes that open and close on one line: '…' or \"…\""
            } else {
                "see https://toml.io for how TOML is written"
            };
            scope.error_hint(span, format!("not TOML: {message}"), hint);
        }
    }
}
