//! What is watched, with how many rules, and where alerts go: one line for the log, `systemctl status` and `status`.
//!
//! It names what is missing too: an operator who mistyped a path sees it here first.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use crate::tail::Summary;

use super::load::Set;
use super::status::Unusable;

/// Paths that are not there are named up to this many; the rest are counted.
const ABSENT: usize = 4;

/// The set that runs, as far as it is told of.
pub(super) struct Running {
    rules: usize,
    /// As they are shown.
    spaces: Vec<String>,
    /// Hears of the agent's troubles, and of what a space that cannot be used would have heard.
    admin: Arc<str>,
}

impl Running {
    pub(super) fn new(set: &Set) -> Running {
        let spaces = set.clients.iter().map(|(name, client)| {
            if client.is_console() { "the terminal".to_owned() } else { format!("`{name}`") }
        });
        Running { rules: set.rules.len(), spaces: spaces.collect(), admin: set.policy.admin.clone() }
    }

    /// The line.
    pub(super) fn start_line(&self, watched: &Summary) -> String {
        start_line(watched, self.rules, &self.spaces)
    }

    /// What `reload` answers when the set was loaded.
    pub(super) fn answer(&self, unusable: &BTreeMap<Arc<str>, Unusable>) -> String {
        let are = if self.rules == 1 { "is" } else { "are" };
        let mut said = format!("{} {are} loaded\n", count(self.rules, "rule"));
        for Unusable { why, hint } in unusable.values() {
            // writing to a `String` cannot fail
            _ = write!(said, "warning: {why}; its alerts go to `{}`\nhint: {hint}\n", self.admin);
        }
        said
    }
}

fn start_line(watched: &Summary, rules: usize, spaces: &[String]) -> String {
    let files: usize = watched.sources.iter().map(|s| s.files).sum();
    let mut what = Vec::new();
    if files > 0 {
        what.push(count(files, "file"));
    }
    if watched.sources.iter().any(|s| s.journal) {
        what.push("the journal".to_owned());
    }
    if watched.sources.iter().any(|s| s.stdin) {
        let ended = watched.sources.iter().any(|s| s.ended);
        what.push(format!("standard input{}", if ended { " (which has ended)" } else { "" }));
    }
    let what = match what.split_last() {
        None => "no file".to_owned(),
        Some((last, [])) => last.clone(),
        Some((last, before)) => format!("{} and {last}", before.join(", ")),
    };
    let mut line =
        format!("watching {what} with {}; alerts go to {}", count(rules, "rule"), spaces.join(", "));
    let unreadable: usize = watched.sources.iter().map(|s| s.unreadable.len()).sum();
    if unreadable > 0 {
        // writing to a `String` cannot fail
        _ = write!(line, "; {} cannot be read", count(unreadable, "path"));
    }
    let absent: Vec<&String> = watched.sources.iter().flat_map(|s| &s.empty_globs).collect();
    if !absent.is_empty() {
        let named: Vec<String> = absent.iter().take(ABSENT).map(|g| format!("`{g}`")).collect();
        let more = absent.len().saturating_sub(ABSENT);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        _ = write!(line, "; not there yet: {}{more}", named.join(", "));
    }
    line
}

/// `1 rule`, `2 rules`.
fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tail::SourceSummary;

    fn line(files: usize, journal: bool, absent: &[&str], unreadable: &[&str]) -> String {
        let empty_globs = absent.iter().map(ToString::to_string).collect();
        let unreadable = unreadable.iter().map(Into::into).collect();
        let name = "files".into();
        let source =
            SourceSummary { name, files, empty_globs, unreadable, journal, ..SourceSummary::default() };
        start_line(&Summary { sources: vec![source], directories: 1 }, 1, &["`ops`".into()])
    }

    #[test]
    fn it_says_what_is_watched_and_what_is_missing() {
        assert_eq!(
            line(2, true, &[], &[]),
            "watching 2 files and the journal with 1 rule; alerts go to `ops`"
        );
        assert_eq!(line(0, true, &[], &[]), "watching the journal with 1 rule; alerts go to `ops`");
        let mut stdin = SourceSummary { stdin: true, ..SourceSummary::default() };
        let of = |s: &SourceSummary| {
            start_line(&Summary { sources: vec![s.clone()], directories: 0 }, 1, &["x".into()])
        };
        assert_eq!(of(&stdin), "watching standard input with 1 rule; alerts go to x");
        (stdin.files, stdin.journal, stdin.ended) = (1, true, true);
        assert_eq!(
            of(&stdin),
            "watching 1 file, the journal and standard input (which has ended) with 1 rule; alerts go to x"
        );
        assert_eq!(
            line(1, false, &["/a", "/b", "/c", "/d", "/e"], &["/x"]),
            "watching 1 file with 1 rule; alerts go to `ops`; 1 path cannot be read; \
             not there yet: `/a`, `/b`, `/c`, `/d` and 1 more"
        );
        assert_eq!(
            line(0, false, &["/a"], &[]),
            "watching no file with 1 rule; alerts go to `ops`; not there yet: `/a`"
        );
    }
}
