//! Troubles: what stands between a name and its lines, told once until it changes.
//!
//! A file that stays unreadable for a year is one trouble, and so is its end.

use std::io;
use std::path::Path;

use rustix::fs::FileType;

use super::Trouble;
use super::tailer::Tailer;

/// How the words begin that say what no log is.
const IS: &str = "is ";

/// At most so many troubles are remembered; beyond, further ones are not told.
const TROUBLES: usize = 1024;

impl Tailer {
    /// Tells once that what stands at `path` is not read.
    pub(super) fn passed_over(&mut self, source: usize, path: &Path, what: &str, kind: FileType) {
        let hint = "leave it out with `exclude_files`, or narrow the globs of `files`";
        self.trouble(source, path, what.to_owned(), Some(hint.into()));
        // Directories are what globs meet everywhere.
        if kind == FileType::Directory
            && let Some(trouble) = self.troubled.get_mut(&(source, path.into()))
            && !trouble.minor
        {
            trouble.minor = true;
            if let Some(told) = self.out.troubles.last_mut() {
                told.minor = true;
            }
        }
    }

    /// What stands at `path` is a log by now, whatever stood there before.
    pub(super) fn is_a_log(&mut self, source: usize, path: &Path) {
        if !self.troubled.is_empty()
            && self.troubled.get(&(source, path.into())).is_some_and(|t| t.what.starts_with(IS))
        {
            self.recovered(source, path);
        }
    }

    /// Tells of a trouble with `path`, once until it changes.
    pub(super) fn trouble(&mut self, source: usize, path: &Path, what: String, hint: Option<String>) {
        let key = (source, path.into());
        let known = self.troubled.get(&key);
        if known.is_some_and(|k| k.what == what) || (known.is_none() && self.troubled.len() >= TROUBLES) {
            return;
        }
        let name = self.sources[source].spec.name.clone();
        let trouble = Trouble::new(Some(name), path, what, hint);
        self.troubled.insert(key, trouble.clone());
        self.out.troubles.push(trouble);
    }

    /// Tells that a trouble with `path` is over, if there was one.
    pub(super) fn recovered(&mut self, source: usize, path: &Path) {
        if self.troubled.is_empty() {
            return;
        }
        if let Some(trouble) = self.troubled.remove(&(source, path.into())) {
            self.out.troubles.push(Trouble { over: true, hint: None, ..trouble });
        }
    }
}

/// The error in plain words.
pub(super) fn plain(e: &io::Error) -> String {
    match e.kind() {
        io::ErrorKind::PermissionDenied => "permission denied".into(),
        io::ErrorKind::NotFound => "no such file".into(),
        _ => e.to_string(),
    }
}

/// What the operator can do about it.
pub(super) fn hint(e: &io::Error) -> Option<String> {
    match e.kind() {
        io::ErrorKind::PermissionDenied => Some(
            "add the agent's user to the group that owns it (often `adm`), or give it an ACL with \
             `setfacl -m u:logherald:r FILE`"
                .into(),
        ),
        _ if e.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error()) => {
            Some("raise `LimitNOFILE` of the service".into())
        }
        _ => None,
    }
}
