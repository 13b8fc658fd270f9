//! `logherald check`: every fault of the rules, and the rules' own tests, on the very code that runs them.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::config::{self, Diagnostic, Disk, Files as _, Gives, Grade, Loaded, Look, RuleTest, Settings};
use crate::rules::{LineVerdict, RuleSet, RuleSpec, test_line, test_resolve};
use crate::tail::Input;
use crate::time::Clock;

use super::{Done, Failure, RulesArg, colour, cost, doctor, exit, paths};

/// Rules that a note names.
const NAMED: usize = 5;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  logherald check rules.toml
  logherald check --json /etc/logherald/rules.toml
  logherald check --sample /var/log/syslog
  logherald check --online rules.toml

Exit status: 0 without an error (warnings are allowed), 78 with one; with
`--online` 69 where only Chat or the way to it fails.")]
pub(super) struct Args {
    #[command(flatten)]
    rules: RulesArg,
    /// Try how common the rules' texts are on this log, not on the rules' own
    #[arg(long, value_name = "LOG")]
    sample: Option<PathBuf>,
    /// Also ask whether each space can be spoken to, as `doctor` does; nothing is sent
    #[arg(long)]
    online: bool,
    /// As one JSON document
    #[arg(long)]
    json: bool,
}

pub(super) fn check(args: &Args) -> Done {
    let path = paths::rules(args.rules.rules.as_deref(), "logherald check path/to/rules.toml")?;
    let mut loaded = config::load(&path, &crate::agent::env(Clock::continuing(None).now()));
    // the tests of sound rules are run although others are faulty: one run tells all
    let settings = loaded.settings.clone().or_else(|| loaded.without_faulty_rules());
    let mut notes = Vec::new();
    let mut tests = 0;
    if let Some(settings) = &settings {
        tests = settings.tests.len();
        loaded.faults.extend(settings.tests.iter().filter_map(|t| failed(settings, t)));
        notes = remarks(settings);
        notes.extend(untested(settings));
        let set = RuleSet::new(settings.rules.clone(), settings.clocks.clone(), settings.policy.host.clone());
        let costs = cost::warnings(settings, &set, args.sample.as_deref());
        loaded.faults.extend(costs.map_err(|e| {
            let sample = args.sample.as_deref().unwrap_or(Path::new("")).display();
            Failure::new(exit::DATA, format!("the sample `{sample}` cannot be read: {e}"))
        })?);
    }
    let errors = loaded.errors();
    let online = settings.as_ref().filter(|_| args.online);
    let online = online.map(|s| doctor::of_spaces(&path, &s.targets)).transpose()?;
    let mut out = anstream::stdout().lock();
    if args.json {
        let faults: Vec<_> = loaded.faults.iter().map(|f| loaded.sources.to_json(f)).collect();
        let rules = settings.as_ref().map_or(0, |s| s.rules.len());
        let mut doc = json!({
            "errors": errors, "warnings": loaded.warnings(), "rules": rules, "tests": tests, "faults": faults,
            "notes": notes,
        });
        if let Some(sheet) = &online {
            doc["online"] = sheet.json();
        }
        writeln!(out, "{doc:#}")?;
    } else {
        report(&mut out, &path, &loaded, settings.as_ref(), &notes)?;
        if let Some(sheet) = &online {
            write!(out, "\n{}", sheet.text())?;
        }
    }
    match online.map_or(0, |sheet| sheet.code()) {
        _ if errors > 0 => Err(Failure::silent(exit::CONFIG)),
        0 => Ok(()),
        code => Err(Failure::silent(code)),
    }
}

fn report(
    out: &mut impl std::io::Write,
    path: &Path,
    loaded: &Loaded,
    settings: Option<&Settings>,
    notes: &[String],
) -> std::io::Result<()> {
    if !loaded.faults.is_empty() {
        let look = if colour() { Look::Coloured } else { Look::Plain };
        writeln!(out, "{}\n", loaded.render(look))?;
    }
    for note in notes {
        writeln!(out, "note: {note}")?;
    }
    let held = settings.map(|s| {
        let count = |n: usize, what: &str| if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") };
        format!(
            "{}, {}, {}; ",
            count(s.rules.len(), "rule"),
            count(s.tests.len(), "test"),
            count(s.targets.len(), "space")
        )
    });
    writeln!(out, "{}: {}{}", path.display(), held.unwrap_or_default(), loaded.verdict())
}

/// What a failed test says.
fn failed(settings: &Settings, test: &RuleTest) -> Option<Diagnostic> {
    let spec = &settings.rules[test.rule.0 as usize];
    let line = test.line.as_bytes();
    if let Gives::Resolved(wanted) = &test.gives {
        return not_resolved(spec, test, wanted, test_resolve(spec, line, &test.fields));
    }
    let found = test_line(spec, line, &test.fields);
    let expected = match (&test.gives, &found) {
        (Gives::Nothing, LineVerdict::Nothing | LineVerdict::Own | LineVerdict::Refused { .. })
        | (Gives::Excluded, LineVerdict::Excluded(_)) => return None,
        (Gives::Captures(wanted), LineVerdict::Hit { captures }) => {
            let is = |(name, value): &(String, String)| {
                captures.iter().any(|(n, v)| n == name && v.as_deref() == Some(value))
            };
            if wanted.iter().all(is) {
                return None;
            }
            pairs(wanted.iter().map(|(n, v)| (n, Some(v))))
        }
        (Gives::Captures(wanted), _) if wanted.is_empty() => "a hit".to_owned(),
        (Gives::Captures(wanted), _) => {
            format!("a hit with {}", pairs(wanted.iter().map(|(n, v)| (n, Some(v)))))
        }
        (Gives::Nothing, _) => "`nothing`".to_owned(),
        (Gives::Excluded, _) => "`excluded`".to_owned(),
        (Gives::Resolved(_), _) => "`resolved`".to_owned(),
    };
    let found = match found {
        LineVerdict::Nothing => "`match` does not accept the line".to_owned(),
        LineVerdict::Own => "the line is one of the agent's own".to_owned(),
        LineVerdict::Excluded(n) => format!("`exclude` number {} takes the line out", n + 1),
        LineVerdict::Refused { index, found } => {
            let field = &spec.fields[index].field;
            match found {
                Some(value) => format!("`where` refuses it: {field}=`{value}`"),
                None => format!("`where` refuses it: no {field}"),
            }
        }
        LineVerdict::Hit { captures } if captures.is_empty() => "the line is a hit".to_owned(),
        LineVerdict::Hit { captures } => {
            format!("the line is a hit with {}", pairs(captures.iter().map(|(n, v)| (n, v.as_ref()))))
        }
    };
    Some(test_failed(spec, test, &expected, &found))
}

/// What a failed test of a rule's `resolve` says.
fn not_resolved(
    spec: &RuleSpec,
    test: &RuleTest,
    wanted: &[(String, String)],
    found: Option<Vec<(String, String)>>,
) -> Option<Diagnostic> {
    let Some(found) = found else {
        return Some(test_failed(spec, test, "`resolved`", "`resolve` does not accept the line"));
    };
    if wanted.iter().all(|w| found.contains(w)) {
        return None;
    }
    let all = |pairs_of: &[(String, String)]| pairs(pairs_of.iter().map(|(n, v)| (n, Some(v))));
    let found = match found.as_slice() {
        [] => "the line ends every incident of the rule".to_owned(),
        found => format!("the line ends the one with {}", all(found)),
    };
    Some(test_failed(spec, test, &format!("`resolved` with {}", all(wanted)), &found))
}

fn test_failed(spec: &RuleSpec, test: &RuleTest, expected: &str, found: &str) -> Diagnostic {
    Diagnostic {
        grade: Grade::Error,
        place: test.place.clone(),
        rule: Some(spec.name.clone()),
        message: format!("test {} failed: expected {expected}, but {found}", test.no),
        hint: Some("`logherald explain` shows how far a line gets".to_owned()),
        also: None,
    }
}

fn pairs<'a>(values: impl Iterator<Item = (&'a String, Option<&'a String>)>) -> String {
    let one = |(name, value): (&String, Option<&String>)| match value {
        Some(v) => format!("{name}=`{v}`"),
        None => format!("no {name}"),
    };
    values.map(one).collect::<Vec<_>>().join(", ")
}

/// What is no fault of the file, and good to know on this machine.
pub(super) fn remarks(settings: &Settings) -> Vec<String> {
    let mut notes = Vec::new();
    for spec in &settings.rules {
        let globs: Vec<&String> = match spec.only_files.as_slice() {
            [] => spec.sources.iter().flat_map(|s| files_of(settings, s.0)).collect(),
            own => own.iter().collect(),
        };
        let elsewhere = spec.sources.iter().any(|s| journal(settings, s.0));
        if !globs.is_empty() && !elsewhere && globs.iter().all(|g| Disk.glob(g).is_empty()) {
            let list: Vec<String> = globs.iter().map(|g| format!("`{g}`")).collect();
            notes.push(format!(
                "rule `{}` has nothing to read on this machine yet: {}",
                spec.name,
                list.join(", ")
            ));
        }
    }
    notes
}

/// Rules that nothing shows to match what they are for.
fn untested(settings: &Settings) -> Option<String> {
    let has_none = |n: &usize| !settings.tests.iter().any(|t| t.rule.0 as usize == *n);
    let names: Vec<String> =
        (0..settings.rules.len()).filter(has_none).map(|n| format!("`{}`", settings.rules[n].name)).collect();
    let more = names.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let whose = match names.as_slice() {
        [] => return None,
        [one] => format!("rule {one} has no test"),
        all => format!("{} rules have no test: {}{more}", all.len(), all[..all.len().min(NAMED)].join(", ")),
    };
    Some(format!("{whose}; a line in `tests` beside a rule shows at each `check` that the rule hits it"))
}

fn files_of(settings: &Settings, source: u16) -> &[String] {
    match settings.sources.get(usize::from(source)).map(|s| &s.input) {
        Some(Input::Files { globs, .. }) => globs,
        _ => &[],
    }
}

fn journal(settings: &Settings, source: u16) -> bool {
    matches!(settings.sources.get(usize::from(source)).map(|s| &s.input), Some(Input::Journal { .. }))
}
