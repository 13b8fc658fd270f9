//! What `check` says about cost: rules that are tried on every line, rules whose text is in every second one, and sets
//! that may grow large.
//!
//! All three are warnings, at the rule's `match` and with the remedy: the rules work as they are. The sample that tells
//! how common a text is comes from the logs themselves, their newest part, as far as this user may read them; it is read
//! and forgotten.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use crate::config::{Diagnostic, Disk, Files as _, Grade, Settings};
use crate::hit::RuleNo;
use crate::line::SourceNo;
use crate::rules::RuleSet;
use crate::tail::Input;

/// Bytes at the end of a log that are its sample: some thousand lines.
const SAMPLE: u64 = 256 << 10;

/// Logs of one source, and of all, that are sampled: enough to know their sort, few enough to take no time.
const LOGS_OF_A_SOURCE: usize = 3;
const LOGS: usize = 24;

/// In a sample of fewer lines nothing is common.
const FEWEST: usize = 100;

/// Bytes that all compiled rules may take before it is worth a word: beside it, the agent is small.
const LARGE_SET: usize = 512 << 20;

/// Texts of a rule that are shown.
const TEXTS: usize = 3;

/// What the rules cost, as warnings; `sample` is the log that they are tried on instead of their own.
pub(super) fn warnings(
    settings: &Settings,
    set: &RuleSet,
    sample: Option<&Path>,
) -> io::Result<Vec<Diagnostic>> {
    let mut all = tried_on_every_line(settings, set);
    all.extend(large(settings));
    if let Some(log) = sample {
        all.extend(common(settings, set, None, log, &tail(log)?));
    } else {
        for (source, log) in logs(settings) {
            // what cannot be read is told elsewhere
            let Ok(lines) = tail(&log) else { continue };
            for found in common(settings, set, Some(source), &log, &lines) {
                if !all.iter().any(|w| w.place == found.place) {
                    all.push(found);
                }
            }
        }
    }
    Ok(all)
}

fn warning(settings: &Settings, rule: RuleNo, message: String, hint: &str) -> Diagnostic {
    let no = rule.0 as usize;
    Diagnostic {
        grade: Grade::Warning,
        place: settings.matches[no].clone(),
        rule: Some(settings.rules[no].name.clone()),
        message,
        hint: Some(hint.to_owned()),
        also: None,
    }
}

fn tried_on_every_line(settings: &Settings, set: &RuleSet) -> Vec<Diagnostic> {
    let halves = [(set.without_literal(), "match"), (set.resolves_without_literal(), "resolve")];
    let told = halves.iter().flat_map(|(rules, key)| rules.iter().map(move |rule| (*rule, key)));
    told.map(|(rule, key)| {
        let message = format!(
            "`{key}` holds no text of four letters or more that every match has: it is tried on every line, and slows \
             all reading down"
        );
        warning(settings, rule, message, "write more of the line, such as the program's name before what varies")
    })
    .collect()
}

/// One word for a set that may grow large, at the rule that takes most of it.
fn large(settings: &Settings) -> Option<Diagnostic> {
    let takes = |no: usize| {
        let spec = &settings.rules[no];
        let more = spec.exclude.iter().chain(&spec.resolve).map(crate::rules::Pattern::memory).sum::<usize>();
        spec.pattern.memory() + more
    };
    let total: usize = (0..settings.rules.len()).map(takes).sum();
    let largest = (0..settings.rules.len()).max_by_key(|no| takes(*no))?;
    (total > LARGE_SET).then(|| {
        let message = format!(
            "compiled, the {} rules may take {} MiB, of which this one takes {} KiB: the most",
            settings.rules.len(),
            total >> 20,
            takes(largest) >> 10
        );
        let hint = r"`\w` and `\d` mean every alphabet: write [0-9A-Za-z_] and [0-9]; make counted repetitions smaller";
        warning(settings, RuleNo(largest as u32), message, hint)
    })
}

/// Rules of which a text stands in half of the lines or more.
fn common(
    settings: &Settings,
    set: &RuleSet,
    source: Option<SourceNo>,
    log: &Path,
    sample: &[u8],
) -> Vec<Diagnostic> {
    let of = memchr::memchr_iter(b'\n', sample).count();
    if of < FEWEST {
        return Vec::new();
    }
    let shares = set.shares(source.map(|source| (source, log)), sample);
    let told = shares.into_iter().filter(|share| share.lines * 2 >= of).map(|share| {
        let texts: Vec<String> =
            share.texts.iter().take(TEXTS).map(|t| format!("`{}`", t.escape_debug())).collect();
        let message = format!(
            "its rarest text, {}, is in {} of the last {of} lines of {}: each of them is looked at",
            texts.join(" or "),
            share.lines,
            log.display()
        );
        let hint = "write more of the line: a word beside it that other lines do not have";
        warning(settings, share.rule, message, hint)
    });
    told.collect()
}

/// Some logs of each source.
fn logs(settings: &Settings) -> Vec<(SourceNo, PathBuf)> {
    let mut all = Vec::new();
    for source in &settings.sources {
        let Input::Files { globs, .. } = &source.input else { continue };
        let mut logs: Vec<PathBuf> = globs.iter().flat_map(|glob| Disk.glob(glob)).collect();
        logs.sort();
        logs.dedup();
        all.extend(logs.into_iter().take(LOGS_OF_A_SOURCE).map(|log| (source.no, log)));
    }
    all.truncate(LOGS);
    all
}

/// The last whole lines of a log.
fn tail(log: &Path) -> io::Result<Vec<u8>> {
    // a pipe would be waited for, and what is read from it is gone
    if !std::fs::metadata(log)?.is_file() {
        return Ok(Vec::new());
    }
    let mut file = File::open(log)?;
    let size = file.seek(SeekFrom::End(0))?;
    let from = size.saturating_sub(SAMPLE);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(SAMPLE).read_to_end(&mut bytes)?;
    let end = memchr::memrchr(b'\n', &bytes).map_or(0, |n| n + 1);
    bytes.truncate(end);
    if from > 0 {
        let first = memchr::memchr(b'\n', &bytes).map_or(0, |n| n + 1);
        bytes.drain(..first);
    }
    Ok(bytes)
}
