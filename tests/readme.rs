//! Is the README true? Its rules pass `check`, its commands and flags exist, and what its links name is there.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::harness::program::Place;

fn readme() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap()
}

/// The fenced blocks of one language.
fn blocks(language: &str) -> Vec<String> {
    let (mut found, mut block): (Vec<String>, Option<String>) = (Vec::new(), None);
    for line in readme().lines() {
        match (&mut block, line.strip_prefix("```")) {
            (None, Some(fence)) if fence == language => block = Some(String::new()),
            (Some(_), Some(_)) => found.extend(block.take()),
            (Some(block), None) => block.extend([line, "\n"]),
            _ => {}
        }
    }
    found
}

/// Every `logherald …` that the README shows or speaks of, as words; comments left out.
fn commands() -> Vec<Vec<String>> {
    let text = readme();
    let shown = blocks("sh");
    let shown = shown.iter().flat_map(|b| b.lines());
    let spoken = text.split('`').skip(1).step_by(2);
    shown
        .chain(spoken)
        .map(|line| line.split(" #").next().unwrap_or_default())
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let at = match words.as_slice() {
                ["cargo", "run", "--release", "--", ..] => 4,
                _ => words.iter().position(|w| *w == "logherald" || w.ends_with("/logherald"))? + 1,
            };
            let before = words[..at.saturating_sub(1)].iter().all(|w| *w == "sudo" || at == 4);
            before.then(|| words[at..].iter().map(ToString::to_string).collect())
        })
        .filter(|words: &Vec<String>| !words.is_empty())
        .collect()
}

/// The rules of the README put behind the shipped ones, as it says.
fn rules() -> String {
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/rules.toml");
    let (spaces, rules): (Vec<String>, Vec<String>) =
        blocks("toml").into_iter().partition(|b| b.starts_with("[space."));
    assert!(rules.len() >= 2 && spaces.len() >= 2, "the README shows two rules and two spaces");
    format!("{}\n{}\n{}", std::fs::read_to_string(shipped).unwrap(), rules.concat(), spaces.concat())
}

#[test]
fn the_rules_and_spaces_it_shows_pass_check_behind_the_shipped_ones() {
    let place = Place::new();
    place.rules(&rules());
    let out = place.command(&["check", "--json", "rules.toml"]);
    let verdict: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!((&verdict["errors"], &verdict["warnings"]), (&0.into(), &0.into()), "{verdict:#}");
}

#[test]
fn the_line_it_explains_is_a_hit_of_its_rule() {
    let place = Place::new();
    place.rules(&rules());
    let line = readme().lines().find_map(|l| Some(l.strip_prefix("logherald explain ")?.to_owned())).unwrap();
    let line = line.split('\'').nth(1).unwrap().to_owned();
    let said = place.says(&["explain", "--rules", "rules.toml", "--json", &line]);
    let said: Value = serde_json::from_str(&said).unwrap();
    let hits: Vec<&str> =
        said["hits"].as_array().unwrap().iter().map(|h| h["rule"].as_str().unwrap()).collect();
    assert!(hits.contains(&"ssh-guessing"), "{said:#}");
}

#[test]
fn the_line_it_has_logged_shows_the_card_that_it_prints() {
    let place = Place::new();
    let logged = blocks("sh").concat();
    let logged =
        logged.lines().find_map(|l| l.strip_prefix("logger '")).unwrap().trim_end_matches('\'').to_owned();
    let shipped = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/rules.toml")).unwrap();
    let ours = format!("files = ['{}']\n#", place.path("syslog").display());
    place.rules(&shipped.replacen("files = [\"/var/log/syslog\"", &ours, 1).replace("\njournal = true", ""));
    let mut agent = place.start();
    place.append("syslog", &format!("Nov 22 09:15:18 web1 root: {logged}\n"));
    let card = blocks("text").concat();
    let lines: Vec<&str> = card.lines().filter(|l| l.starts_with("   │ Nov")).collect();
    assert_eq!(lines, [format!("   │ Nov 22 09:15:18 web1 root: {logged}")], "{card}");
    agent.wait_for_output("error on ");
    agent.wait_for_output("   1 hit · ");
    agent.wait_for_output("   the disk of ");
    agent.wait_for_output("   │ ");
    agent.wait_for_output(lines[0]);
    assert_eq!(agent.stop(), 0);
}

#[test]
fn every_command_and_flag_it_names_exists() {
    let place = Place::new();
    let overview = place.says(&["--help"]);
    let mut seen = BTreeSet::new();
    for words in commands() {
        let command = &words[0];
        assert!(
            overview.contains(&format!("\n  {command} ")),
            "there is no `logherald {command}`: {words:?}"
        );
        let help = place.says(&[command, "--help"]);
        for flag in words.iter().filter(|w| w.starts_with("--")) {
            assert!(help.contains(&format!(" {flag} ")), "`{command}` has no `{flag}`");
        }
        seen.insert(command.clone());
    }
    for expected in ["run", "check", "explain", "send", "status"] {
        assert!(seen.contains(expected), "the README does not show `logherald {expected}`: {seen:?}");
    }
    let run = place.says(&["run", "--help"]);
    for flag in readme().split('`').skip(1).step_by(2).filter(|w| w.starts_with("--")) {
        assert!(run.contains(&format!("{flag} ")), "`run` has no `{flag}`");
    }
}

#[test]
fn what_its_links_name_is_there() {
    let text = readme();
    let targets: Vec<&str> = text
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .filter(|t| !t.contains("://"))
        .collect();
    assert!(targets.len() >= 4, "{targets:?}");
    for target in targets {
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(target).is_file(), "{target} is not there");
    }
}

#[test]
fn no_text_for_operators_speaks_of_a_command_that_does_not_exist() {
    let place = Place::new();
    let overview = place.says(&["--help"]);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut texts = vec![(root.join("README.md"), readme())];
    let mut folders = vec![root.join("src"), root.join("packaging")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match std::fs::read_to_string(&path) {
                Ok(text) => texts.push((path, text)),
                Err(_) => folders.push(path),
            }
        }
    }
    texts.push((root.join("rules.toml"), std::fs::read_to_string(root.join("rules.toml")).unwrap()));
    for (path, text) in texts {
        for at in text.match_indices("`logherald ").map(|(at, quoted)| at + quoted.len()) {
            let rest = &text[at..];
            let command: String = rest.chars().take_while(char::is_ascii_lowercase).collect();
            assert!(
                command.is_empty() || overview.contains(&format!("\n  {command} ")),
                "{}: there is no `logherald {command}`",
                path.display()
            );
        }
    }
}
