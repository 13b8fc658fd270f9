//! Can the journal be read by this user? Asked once, without following it: for `logherald doctor`.
//!
//! Files need no such question: a [`Tailer`](super::Tailer) says of each at once whether it can be read. Surprising: without
//! permission `journalctl` succeeds, shows the user's own entries, and says so on standard error alone.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use super::Trouble;

/// What is wrong with reading the journal by `program`; `None`: all of it can be read.
///
/// Blocks until the program has shown one entry.
pub fn journal_trouble(program: &Path) -> Option<Trouble> {
    let ran = Command::new(program)
        .args(["--output=cat", "--no-pager", "--lines=1"])
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output();
    let (what, hint) = match ran {
        Ok(ran) => wrong(ran.status.success(), &String::from_utf8_lossy(&ran.stderr))?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => (
            "`journalctl` is not installed".to_owned(),
            "install systemd's `journalctl`, or take `journal` out of the rules",
        ),
        Err(e) => (format!("`journalctl` cannot be run: {e}"), "see that this user may run `journalctl`"),
    };
    Some(Trouble::new(None, Path::new("journalctl"), what, Some(hint.to_owned())))
}

/// What its complaints mean.
fn wrong(success: bool, complaint: &str) -> Option<(String, &'static str)> {
    let group = "add the agent's user to the group `systemd-journal`";
    let first = |of: &str| of.lines().find(|l| !l.trim().is_empty()).map(|l| l.trim().to_owned());
    if complaint.contains("not seeing messages") {
        return Some(("only a part of the journal can be read: permission denied".to_owned(), group));
    }
    if complaint.contains("No journal files were opened") || complaint.contains("ermission denied") {
        return Some(("the journal cannot be read: permission denied".to_owned(), group));
    }
    if complaint.contains("No journal files were found") {
        let hint = "there is no journal on this machine, or not yet; name log files instead";
        return Some(("no journal files were found".to_owned(), hint));
    }
    if success {
        return None;
    }
    let said = first(complaint).unwrap_or_else(|| "it failed without a word".to_owned());
    Some((format!("`journalctl` fails: {said}"), "see what `journalctl -n 1` says as the agent's user"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_journalctl_says_is_told_with_what_to_mend() {
        let said = |success, complaint| wrong(success, complaint).map(|(what, _)| what);
        assert_eq!(said(true, ""), None);
        let hint = "Hint: You are currently not seeing messages from other users and the system.\n";
        assert_eq!(said(true, hint).unwrap(), "only a part of the journal can be read: permission denied");
        let denied = "No journal files were opened due to insufficient permissions.\n";
        assert_eq!(said(false, denied).unwrap(), "the journal cannot be read: permission denied");
        assert_eq!(said(true, "No journal files were found.\n").unwrap(), "no journal files were found");
        assert_eq!(said(false, "\nodd\n").unwrap(), "`journalctl` fails: odd");
        assert_eq!(said(false, "").unwrap(), "`journalctl` fails: it failed without a word");
    }
}
