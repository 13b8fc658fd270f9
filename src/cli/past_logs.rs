//! Which files a backtest reads, as which source's, and with which rules.
//!
//! A file is read as the sources say that name it, or that named the log whose rotated generation it is. What none
//! names is read as plain lines, and every rule is asked, as `explain` does: an operator who tries rules on a copy of a
//! log must not hear of nothing. Of a folder, the files that a source names are taken, or all where none does.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::agent::LogFile;
use crate::config::Settings;
use crate::line::SourceNo;
use crate::rules::{RuleSet, SourceClock};
use crate::tail::{self, Encoding, Format, From, Input, Join, SourceSpec};

use super::{Failure, exit};

/// At most so many files are read: beyond it somebody has named the wrong folder.
const FILES: usize = 10_000;

/// Folders are gone into so deep.
const DEPTH: usize = 16;

/// Of a source that no rule names.
pub(super) const UNNAMED: SourceNo = SourceNo(u16::MAX);

/// Longest line of a file that no source names, in bytes: the default of a source.
const LONGEST_LINE: usize = 256 << 10;

/// The files that were found, and the rules that are asked about their lines.
#[derive(Debug)]
pub(super) struct PastLogs {
    pub(super) files: Vec<LogFile>,
    /// By [`LogFile::set`]: as the rules file says, and every rule.
    pub(super) sets: Vec<RuleSet>,
}

/// Files that are there, by the order of their names; each once.
pub(super) fn files_of(named: &[PathBuf], settings: &Settings) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for path in named {
        let path = absolute(path)?;
        if path.is_dir() {
            let mut below = Vec::new();
            walk(&path, 0, &mut below);
            below.sort();
            let named: Vec<PathBuf> =
                below.iter().filter(|p| settings.sources.iter().any(|s| is_of(p, s))).cloned().collect();
            let files = if named.is_empty() { below } else { named };
            if files.is_empty() {
                return Err(Failure::new(exit::DATA, format!("there is no file in `{}`", path.display())));
            }
            found.extend(files.into_iter().filter(|p| seen.insert(p.clone())));
        } else if let Some((what, hint)) = tail::no_log(&path) {
            let failure = Failure::new(exit::DATA, format!("`{}` {what}", path.display()));
            return Err(match hint {
                Some(hint) => failure.hint(hint),
                None => failure.hint("give files or folders of logs, plain or compressed"),
            });
        } else if seen.insert(path.clone()) {
            found.push(path);
        }
    }
    if found.len() > FILES {
        let text = format!("there are {} files, more than {FILES}", found.len());
        return Err(Failure::new(exit::DATA, text).hint("name the files, or a folder further down"));
    }
    Ok(found)
}

fn is_of(path: &Path, source: &SourceSpec) -> bool {
    tail::log_of(path, source).is_some()
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path)
        .map_err(|e| Failure::new(exit::DATA, format!("`{}` cannot be read: {e}", path.display())))
}

/// The regular files below a folder; those that cannot be listed are left out, and so is what links lead to.
fn walk(dir: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.filter_map(Result::ok) {
        let Ok(kind) = entry.file_type() else { continue };
        if found.len() > FILES {
            return;
        }
        if kind.is_dir() && depth < DEPTH {
            walk(&entry.path(), depth + 1, found);
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
}

impl PastLogs {
    /// How each of `paths` is read. `all_as`: whatever it is called, as this source's.
    pub(super) fn new(
        paths: &[PathBuf],
        settings: &Settings,
        all_as: Option<&str>,
    ) -> Result<PastLogs, Failure> {
        let host = settings.policy.host.clone();
        let zone = |no: SourceNo| settings.clocks.iter().find(|c| c.no == no).map(|c| c.tz.clone());
        let host_zone = jiff::tz::TimeZone::system();
        let mut files = Vec::new();
        let log = |path: &Path, name: &Path, spec: &SourceSpec, set| LogFile {
            path: path.to_owned(),
            name: name.to_string_lossy().into(),
            spec: spec.clone(),
            tz: zone(spec.no).unwrap_or_else(|| host_zone.clone()),
            set,
        };
        if let Some(name) = all_as {
            let Some(source) = settings.sources.iter().find(|s| *s.name == *name) else {
                let known: Vec<String> = settings.sources.iter().map(|s| format!("`{}`", s.name)).collect();
                let text = format!("no rule reads a source `{}`", super::brief::shown(name));
                return Err(Failure::new(exit::USAGE, text).hint(format!("there are {}", known.join(", "))));
            };
            let set = usize::from(matches!(source.input, Input::Files { .. }));
            files.extend(paths.iter().map(|p| log(p, p, source, set)));
            // the globs of single rules are not asked: the operator has said what the lines are
            let of_it = settings.rules.iter().filter(|r| r.sources.contains(&source.no)).cloned();
            let of_it = of_it.map(|r| crate::rules::RuleSpec { only_files: Vec::new(), ..r }).collect();
            let sets = vec![
                RuleSet::new(settings.rules.clone(), settings.clocks.clone(), host.clone()),
                RuleSet::new(of_it, settings.clocks.clone(), host),
            ];
            return Ok(PastLogs { files, sets });
        }
        let unnamed = unnamed();
        for path in paths {
            let named = settings.sources.iter().filter_map(|s| Some((s, tail::log_of(path, s)?)));
            let before = files.len();
            files.extend(named.map(|(source, name)| log(path, &name, source, 0)));
            if files.len() == before {
                files.push(log(path, path, &unnamed, 1));
            }
        }
        let named = RuleSet::new(settings.rules.clone(), settings.clocks.clone(), host);
        let sets = vec![named, every_rule(settings)];
        Ok(PastLogs { files, sets })
    }

    /// How a file is read, for people.
    pub(super) fn read_as(file: &LogFile) -> String {
        if file.spec.no == UNNAMED {
            return "plain lines; no source names it, so every rule is asked".to_owned();
        }
        let called = Path::new(&*file.name) != file.path;
        let called =
            if called { format!(", as `{}`", super::brief::shown(&file.name)) } else { String::new() };
        format!("source `{}`{called}", file.spec.name)
    }
}

/// Every rule, whatever it reads, as a rule of the source that has no name.
pub(super) fn every_rule(settings: &Settings) -> RuleSet {
    let every = settings.rules.iter().cloned().map(|mut rule| {
        (rule.sources, rule.only_files) = (vec![UNNAMED], Vec::new());
        rule
    });
    let clock = SourceClock { no: UNNAMED, tz: jiff::tz::TimeZone::system() };
    RuleSet::new(every.collect(), vec![clock], settings.policy.host.clone())
}

fn unnamed() -> SourceSpec {
    let name: Arc<str> = "plain lines".into();
    SourceSpec {
        no: UNNAMED,
        name,
        input: Input::Files { globs: Vec::new(), exclude: Vec::new() },
        from: From::Start,
        max_line: LONGEST_LINE,
        join: Join::None,
        format: Format::Plain,
        encoding: Encoding::default(),
    }
}
