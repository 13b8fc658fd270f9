//! What a doctor writes down: findings, each with its grade and, where something is to be mended, with the remedy.
//!
//! Pure: findings go in, lines of 80 columns or one JSON document come out, and an exit status. What is fine has no
//! number; what is to be mended is numbered, so that two people can talk about it.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::super::status::wrap;
use super::super::{brief, exit, printable};

/// How bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grade {
    Ok,
    /// It works, and somebody should look at it.
    Warning,
    /// It does not work.
    Failure,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// `rules`, `service`, `state`, `logs`, `space/ops`.
    pub(super) about: String,
    /// Which question: a stable word for scripts.
    pub(super) check: &'static str,
    pub(super) grade: Grade,
    pub(super) what: String,
    pub(super) hint: Option<String>,
    /// It failed on the way to Chat, or in Chat itself, and not on this host.
    pub(super) remote: bool,
}

impl Finding {
    fn new(about: &str, check: &'static str, grade: Grade, what: impl Into<String>) -> Finding {
        Finding { about: about.to_owned(), check, grade, what: what.into(), hint: None, remote: false }
    }

    pub(super) fn ok(about: &str, check: &'static str, what: impl Into<String>) -> Finding {
        Finding::new(about, check, Grade::Ok, what)
    }

    pub(super) fn warning(about: &str, check: &'static str, what: impl Into<String>) -> Finding {
        Finding::new(about, check, Grade::Warning, what)
    }

    pub(super) fn failure(about: &str, check: &'static str, what: impl Into<String>) -> Finding {
        Finding::new(about, check, Grade::Failure, what)
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Finding {
        Finding { hint: Some(hint.into()), ..self }
    }
}

/// All findings, in the order in which they are told.
#[derive(Debug, Default)]
pub(in super::super) struct Sheet {
    findings: Vec<Finding>,
}

impl Sheet {
    pub(super) fn add(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    pub(super) fn extend(&mut self, findings: impl IntoIterator<Item = Finding>) {
        self.findings.extend(findings);
    }

    fn count(&self, grade: Grade) -> usize {
        self.findings.iter().filter(|f| f.grade == grade).count()
    }

    /// 0 without a failure; 69 where only Chat, or what is on the way to it, fails; 78 where something of this host does.
    pub(in super::super) fn code(&self) -> u8 {
        let failures: Vec<&Finding> = self.findings.iter().filter(|f| f.grade == Grade::Failure).collect();
        match failures.iter().all(|f| f.remote) {
            true if failures.is_empty() => 0,
            true => exit::SERVICE,
            false => exit::CONFIG,
        }
    }

    /// For people, in 80 columns.
    pub(in super::super) fn text(&self) -> String {
        let (mut out, mut about, mut no) = (String::new(), "", 0);
        // writing to a `String` cannot fail
        for finding in &self.findings {
            if finding.about != about {
                about = &finding.about;
                _ = match about.strip_prefix("space/") {
                    Some(name) => writeln!(out, "space `{name}`"),
                    None => writeln!(out, "{about}"),
                };
            }
            let what = printable(&finding.what);
            let grade = match finding.grade {
                Grade::Ok => {
                    _ = writeln!(out, "   ok: {}", wrap(&what, 7));
                    continue;
                }
                Grade::Warning => "warning",
                Grade::Failure => "failure",
            };
            no += 1;
            _ = writeln!(out, "{no:>4}. {}", wrap(&format!("{grade}: {what}"), 6));
            if let Some(hint) = &finding.hint {
                _ = writeln!(out, "      {}", wrap(&format!("hint: {}", printable(hint)), 6));
            }
        }
        _ = writeln!(out, "\n{}", self.verdict());
        out
    }

    fn verdict(&self) -> String {
        let counted = [(Grade::Failure, "failure"), (Grade::Warning, "warning")];
        let some: Vec<String> = counted
            .into_iter()
            .filter(|(grade, _)| self.count(*grade) > 0)
            .map(|(grade, what)| brief::count(self.count(grade) as u64, what))
            .collect();
        if some.is_empty() { "nothing to mend".to_owned() } else { some.join(", ") }
    }

    /// For scripts; its names do not change.
    pub(in super::super) fn json(&self) -> Value {
        let one = |f: &Finding| {
            let grade = match f.grade {
                Grade::Ok => "ok",
                Grade::Warning => "warning",
                Grade::Failure => "failure",
            };
            json!({ "about": f.about, "check": f.check, "grade": grade, "what": f.what, "hint": f.hint })
        };
        json!({
            "failures": self.count(Grade::Failure), "warnings": self.count(Grade::Warning),
            "findings": self.findings.iter().map(one).collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sheet() -> Sheet {
        let mut sheet = Sheet::default();
        sheet.add(Finding::ok("rules", "rules", "`rules.toml` holds 3 rules"));
        let long = "the webhook URL in environment variable `HOOK` points to `hooks.example` and not to \
                    `chat.googleapis.com`\u{1b}[31m";
        sheet.add(Finding::failure("space/ops", "secret", long).hint("mend it"));
        sheet.add(Finding::warning("space/ops", "tried", "no message was ever accepted"));
        sheet
    }

    #[test]
    fn what_is_to_be_mended_is_numbered_and_all_fits_80_columns() {
        assert_eq!(
            sheet().text(),
            "rules\n   ok: `rules.toml` holds 3 rules\nspace `ops`\n\
             \x20  1. failure: the webhook URL in environment variable `HOOK` points to\n\
             \x20     `hooks.example` and not to `chat.googleapis.com`\\u{1b}[31m\n\
             \x20     hint: mend it\n\
             \x20  2. warning: no message was ever accepted\n\n1 failure, 1 warning\n"
        );
        assert!(sheet().text().lines().all(|l| l.chars().count() <= 80));
        assert_eq!(Sheet::default().text(), "\nnothing to mend\n");
    }

    #[test]
    fn the_exit_status_says_on_which_side_it_fails() {
        let mut sheet = sheet();
        assert_eq!(sheet.code(), 78);
        sheet.findings[1].remote = true;
        assert_eq!(sheet.code(), 69);
        sheet.findings.remove(1);
        assert_eq!(sheet.code(), 0, "a warning is no failure");
    }

    #[test]
    fn scripts_get_all_of_it() {
        let json = sheet().json();
        assert_eq!((&json["failures"], &json["warnings"]), (&1.into(), &1.into()));
        assert_eq!(
            json["findings"][0],
            json!({ "about": "rules", "check": "rules", "grade": "ok", "what": "`rules.toml` holds 3 rules", "hint": null })
        );
    }
}
