//! What operators read when a rules file is wrong, to the character.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use logherald::config::{self, Env, Files, Gives, Loaded, Look};
use logherald::rules::RuleSpec;
use logherald::time::{Now, Tick, Wall};

/// Files that are nowhere but here.
#[derive(Default)]
struct Fake {
    texts: BTreeMap<&'static str, &'static str>,
    logs: BTreeMap<&'static str, Wall>,
}

impl Files for Fake {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let text = path.to_str().and_then(|p| self.texts.get(p));
        text.map(|t| t.as_bytes().to_vec()).ok_or_else(|| io::Error::from(io::ErrorKind::PermissionDenied))
    }

    fn glob(&self, pattern: &str) -> Vec<PathBuf> {
        let glob = globset::Glob::new(pattern).unwrap().compile_matcher();
        let all = self.texts.keys().chain(self.logs.keys()).rev();
        all.filter(|p| glob.is_match(p)).map(PathBuf::from).collect()
    }

    fn written(&self, path: &Path) -> Option<Wall> {
        self.logs.get(path.to_str()?).copied()
    }
}

const SHIPPED: &str = include_str!("../rules.toml");
const NOW: Wall = Wall(1_790_000_000_000);

fn env() -> Env {
    Env { host: "h1".into(), tz: jiff::tz::TimeZone::UTC, now: Now { wall: NOW, tick: Tick(0) } }
}

fn load(text: &str) -> Loaded {
    load_with(text, &Fake::default())
}

fn load_with(text: &str, files: &Fake) -> Loaded {
    config::load_text(Path::new("/etc/rules.toml"), text, &env(), files)
}

/// The one door: a rules file, and what is said of it.
fn faults(text: &str) -> String {
    load(text).render(Look::Plain)
}

#[test]
fn the_shipped_rules_are_without_fault() {
    let loaded = load(SHIPPED);
    assert_eq!(loaded.render(Look::Plain), "");
    let settings = loaded.settings.unwrap();
    let mut failed = String::new();
    for test in &settings.tests {
        let rule = &settings.rules[test.rule.0 as usize];
        let given = tried(rule, &test.line);
        let ok = match (&test.gives, &given) {
            (Gives::Captures(wanted), Gives::Captures(found)) => wanted.iter().all(|w| found.contains(w)),
            (wanted, found) => wanted == found,
        };
        if !ok {
            let _ = writeln!(failed, "{} test {}: {:?}, but {given:?}", rule.name, test.no, test.gives);
        }
    }
    assert_eq!(failed, "");
}

/// What a rule makes of a line, by its regexes alone.
fn tried(rule: &RuleSpec, line: &str) -> Gives {
    let Some(found) = rule.pattern.regex.captures(line.as_bytes()) else { return Gives::Nothing };
    if rule.exclude.iter().any(|p| p.regex.is_match(line.as_bytes())) {
        return Gives::Excluded;
    }
    let value = |name: &String| {
        Some((name.clone(), String::from_utf8_lossy(found.name(name)?.as_bytes()).into_owned()))
    };
    Gives::Captures(rule.captures.iter().filter_map(value).collect())
}
