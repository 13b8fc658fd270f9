//! Does the code keep the rules of the house?
//!
//! Who may import whom, which folder owns which outside crate, who may spawn, how long a file may be. The rules are
//! tables at the top; below them is a small reader of Rust that knows comments, strings and test code, and below
//! that the proof that each rule bites.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The shared words: they import each other and nothing else of ours.
const WORDS: [&str; 8] = ["time", "line", "hit", "alert", "message", "state", "template", "redact"];

/// Stage, and the stages that it may import beside itself and the words.
const TABLE: [(&str, &[&str]); 11] = [
    ("tail", &[]),
    ("rules", &[]),
    ("judge", &[]),
    ("chat", &[]),
    ("store", &[]),
    ("deliver", &["chat"]),
    ("config", &["tail", "rules", "judge", "chat"]),
    ("agent", &["tail", "rules", "judge", "chat", "store", "deliver", "config"]),
    ("cli", &["tail", "rules", "judge", "chat", "store", "deliver", "config", "agent"]),
    ("main", &["cli"]),
    ("lib", &[]),
];

/// Outside crate, and the folders and files under `src/` that may name it.
const OWNERS: [(&str, &[&str]); 17] = [
    ("notify", &["tail/"]),
    ("regex", &["rules/", "redact.rs", "redact/", "tail/join.rs", "config/"]),
    ("regex_automata", &["rules/"]),
    ("regex_syntax", &["rules/"]),
    ("aho_corasick", &["rules/", "redact.rs", "redact/"]),
    ("governor", &["judge/", "deliver/"]),
    ("rusqlite", &["store/"]),
    ("reqwest", &["chat/"]),
    ("google_cloud_auth", &["chat/"]),
    ("jsonwebtoken", &["chat/"]),
    ("toml", &["config/", "cli/test.rs"]),
    ("axum", &["agent/"]),
    ("hyper", &["agent/", "cli/"]),
    ("sd_notify", &["agent/"]),
    ("nix", &["agent/"]),
    ("annotate_snippets", &["config/"]),
    ("clap", &["cli/"]),
];

/// The only file that starts threads and tasks.
const SPAWNER: &str = "agent/pipeline.rs";

/// The only file with `unsafe` in it: the processor's gather takes a pointer.
const UNSAFE: &str = "rules/vector.rs";

/// What starts them: the last two segments of the path, or one name that says it all.
const SPAWNS: [&[&str]; 7] = [
    &["thread", "spawn"],
    &["thread", "Builder"],
    &["thread", "scope"],
    &["tokio", "spawn"],
    &["task", "spawn"],
    &["spawn_blocking"],
    &["JoinSet"],
];

/// A file that is longer is two files. Tests are not counted.
const LINES: usize = 500;

#[test]
fn the_house_keeps_its_rules() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &root, &mut files);
    assert!(files.len() > 25, "only {} files were found", files.len());
    let report = inspect(&files);
    assert!(report.imports > 25, "only {} imports were seen", report.imports);
    assert!(report.crates > 8, "only {} uses of owned crates were seen", report.crates);
    assert!(report.faults.is_empty(), "\n{}\n", report.faults.join("\n"));
}

/// A verdict of `Show` or `Hold(reason)` is asked for, and acted upon, at the gate alone.
#[test]
fn limits_are_asked_at_the_gate() {
    let judge = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/judge");
    let mut files = Vec::new();
    collect(&judge, &judge, &mut files);
    let asks = |text: &str| {
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        ["limit.ask(", "budget.ask(", "reserve.ask("].iter().any(|ask| code.contains(ask))
    };
    let asking: Vec<&str> = files.iter().filter(|(_, text)| asks(text)).map(|(path, _)| &**path).collect();
    assert_eq!(asking, ["gate.rs"]);
}

fn collect(root: &Path, dir: &Path, files: &mut Vec<(String, String)>) {
    let mut entries: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(root, &path, files);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            files.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
}

/// What an inspection found, and how much it looked at.
#[derive(Default)]
struct Report {
    faults: Vec<String>,
    imports: usize,
    crates: usize,
}

/// Inspects files given as (path under `src/`, text).
fn inspect(files: &[(String, String)]) -> Report {
    let mut report = Report::default();
    let read: Vec<_> = files.iter().map(|(path, text)| (path, text, Source::read(text))).collect();
    let tests: BTreeSet<String> = read
        .iter()
        .flat_map(|(path, _, source)| source.test_modules.iter().flat_map(|m| children(path, m)))
        .collect();
    for (path, text, source) in &read {
        let mut fault = |line: usize, what: String| report.faults.push(format!("src/{path}:{line}: {what}"));
        if !text.starts_with("//!") {
            fault(1, "a file begins with a short essay, `//!`".into());
        }
        let all = source.tokens.iter().chain(&source.test_tokens);
        for token in all.filter(|t| t.text == "unsafe" && *path != UNSAFE) {
            fault(token.line, "`unsafe` is not used here".into());
        }
        if tests.contains(*path) {
            continue;
        }
        if source.lines > LINES {
            fault(
                LINES,
                format!("{} lines without its tests; at most {LINES}, so it is two files", source.lines),
            );
        }
        let stage = stage(path);
        for (line, target) in ours(path, &source.tokens) {
            report.imports += 1;
            if !may_import(stage, &target) {
                fault(line, format!("`{stage}` may not import `{target}`"));
            }
        }
        for (line, name) in roots(&source.tokens) {
            if let Some((_, owners)) = OWNERS.iter().find(|(owned, _)| *owned == name) {
                report.crates += 1;
                if !owners.iter().any(|o| path.starts_with(o)) {
                    fault(line, format!("the crate `{name}` belongs to {}", owners.join(", ")));
                }
            }
        }
        for (line, what) in spawns(&source.tokens) {
            if *path != SPAWNER {
                fault(line, format!("`{what}`: only `src/{SPAWNER}` spawns"));
            }
        }
    }
    report
}

/// Where `mod name;` in `path` may lie.
fn children(path: &str, name: &str) -> [String; 2] {
    let dir = match path.strip_suffix("mod.rs") {
        Some(dir) => dir.to_owned(),
        None if matches!(path, "lib.rs" | "main.rs") => String::new(),
        None => format!("{}/", path.strip_suffix(".rs").unwrap()),
    };
    [format!("{dir}{name}.rs"), format!("{dir}{name}/mod.rs")]
}

fn stage(path: &str) -> &str {
    path.split('/').next().unwrap().trim_end_matches(".rs")
}

fn may_import(stage: &str, target: &str) -> bool {
    if WORDS.contains(&stage) {
        return WORDS.contains(&target);
    }
    match TABLE.iter().find(|(name, _)| *name == stage) {
        Some((_, others)) => {
            let words_too = !matches!(stage, "main");
            target == stage || others.contains(&target) || (words_too && WORDS.contains(&target))
        }
        None => false,
    }
}

// ---- reading paths --------------------------------------------------------------------------------------------

/// Every mention of one of our top-level modules: (line, name).
fn ours(path: &str, tokens: &[Token]) -> Vec<(usize, String)> {
    // how many `super` lead from this file's module to the root
    let depth =
        path.trim_end_matches("mod.rs").trim_end_matches(".rs").split('/').filter(|s| !s.is_empty()).count();
    let root_name = if path == "main.rs" { "logherald" } else { "crate" };
    let mut found = Vec::new();
    for i in 0..tokens.len() {
        if i > 0 && tokens[i - 1].text == "::" {
            continue;
        }
        let mut supers = 0;
        while tokens.get(i + 2 * supers).is_some_and(|t| t.text == "super")
            && tokens.get(i + 2 * supers + 1).is_some_and(|t| t.text == "::")
        {
            supers += 1;
        }
        let after = if supers > 0 && supers == depth && !matches!(path, "lib.rs" | "main.rs") {
            i + 2 * supers
        } else if tokens[i].text == root_name && tokens.get(i + 1).is_some_and(|t| t.text == "::") {
            i + 2
        } else {
            continue;
        };
        found.extend(first_names(tokens, after));
    }
    found
}

/// The name at `at`, or the first name of each branch of the group there.
fn first_names(tokens: &[Token], at: usize) -> Vec<(usize, String)> {
    let named = |t: &Token| (t.line, t.text.clone());
    if tokens.get(at).is_none_or(|t| t.text != "{") {
        return tokens.get(at).map(named).into_iter().collect();
    }
    let (mut depth, mut fresh, mut found) = (0, false, Vec::new());
    for token in &tokens[at..] {
        match token.text.as_str() {
            "{" => {
                depth += 1;
                fresh = depth == 1;
            }
            "}" => depth -= 1,
            "," => fresh = depth == 1,
            _ if fresh => {
                found.push(named(token));
                fresh = false;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    found
}

/// The first segment of every path, and what is imported whole: (line, name).
fn roots(tokens: &[Token]) -> Vec<(usize, String)> {
    let text = |i: usize| tokens.get(i).map_or("", |t| t.text.as_str());
    let mut found = Vec::new();
    for (i, token) in tokens.iter().enumerate() {
        if !is_name(&token.text) {
            continue;
        }
        let before = if i > 0 { text(i - 1) } else { "" };
        // `::regex::Regex` is the crate; `pattern::regex::Regex` is not
        let owner = if i > 1 { text(i - 2) } else { "" };
        let arrow = owner == ">" && i > 2 && text(i - 3) == "-";
        let inside = before == "::" && (owner == ">" && !arrow || is_name(owner) && owner != "use");
        let is_path = text(i + 1) == "::" && !inside;
        let whole = (before == "use" || before == "::" && !inside) && matches!(text(i + 1), ";" | "as");
        if is_path || whole {
            found.push((token.line, token.text.clone()));
        } else if token.text == "use" && text(i + 1) == "{" {
            found.extend(first_names(tokens, i + 1));
        }
    }
    found
}

fn spawns(tokens: &[Token]) -> Vec<(usize, String)> {
    let names: Vec<&Token> = tokens.iter().filter(|t| t.text != "::").collect();
    let mut found = Vec::new();
    for i in 0..names.len() {
        for spawn in SPAWNS {
            if names[i..].len() >= spawn.len() && names[i..].iter().zip(spawn).all(|(t, s)| t.text == *s) {
                found.push((names[i].line, spawn.join("::")));
            }
        }
        // use tokio::{spawn, …}, use std::thread::{self, Builder}
        if names[i].text == "{" && i > 0 {
            let group = names[i..].iter().take_while(|t| t.text != "}" && t.text != ";");
            for inner in group.skip(1) {
                for spawn in SPAWNS.iter().filter(|s| s.len() == 2) {
                    if names[i - 1].text == spawn[0] && inner.text == spawn[1] {
                        found.push((inner.line, spawn.join("::")));
                    }
                }
            }
        }
    }
    found
}

// ---- reading Rust ---------------------------------------------------------------------------------------------

#[derive(Clone, Debug, PartialEq)]
struct Token {
    line: usize,
    text: String,
}

/// A file without comments and strings, its test code apart.
#[derive(Default)]
struct Source {
    tokens: Vec<Token>,
    test_tokens: Vec<Token>,
    /// `mod name;` behind `#[cfg(test)]`.
    test_modules: Vec<String>,
    /// Lines that are not in a test item.
    lines: usize,
}

impl Source {
    fn read(text: &str) -> Source {
        let all = tokens(text);
        let is = |i: usize, what: &[&str]| {
            what.iter().enumerate().all(|(n, w)| all.get(i + n).is_some_and(|t| t.text == *w))
        };
        let mut source = Source { lines: text.lines().count(), ..Source::default() };
        let mut i = 0;
        while i < all.len() {
            if !is(i, &["#", "[", "cfg", "(", "test", ")", "]"]) {
                source.tokens.push(all[i].clone());
                i += 1;
                continue;
            }
            let end = item_end(&all, i + 7);
            let last = &all[end.min(all.len() - 1)];
            source.lines -= last.line - all[i].line + 1;
            if let Some(m) = (i..end).find(|&m| is(m, &["mod"]) && all[m + 2].text == ";") {
                source.test_modules.push(all[m + 1].text.clone());
            }
            source.test_tokens.extend_from_slice(&all[i..=end.min(all.len() - 1)]);
            i = end + 1;
        }
        source
    }
}

/// The last token of the item that begins at `from`: its `;` or its closing brace.
fn item_end(tokens: &[Token], from: usize) -> usize {
    let mut depth = 0;
    for (i, token) in tokens.iter().enumerate().skip(from) {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" => depth -= 1,
            "}" => {
                depth -= 1;
                if depth == 0 {
                    return i;
                }
            }
            ";" if depth == 0 => return i,
            _ => {}
        }
    }
    tokens.len().saturating_sub(1)
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Names, `::`, and single signs; comments, strings, numbers and lifetimes are left out.
fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let (mut i, mut line, mut found) = (0, 1, Vec::new());
    while i < chars.len() {
        let start = i;
        let c = chars[i];
        if c == '/' && at(i + 1) == '/' {
            i += chars[i..].iter().take_while(|c| **c != '\n').count();
        } else if c == '/' && at(i + 1) == '*' {
            let mut depth = 0;
            loop {
                match (at(i), at(i + 1)) {
                    ('/', '*') => (depth, i) = (depth + 1, i + 2),
                    ('*', '/') => (depth, i) = (depth - 1, i + 2),
                    _ => i += 1,
                }
                if depth == 0 || i >= chars.len() {
                    break;
                }
            }
        } else if c == '"' {
            i = string_end(&chars, i);
        } else if c == '\'' {
            i = quote_end(&chars, i);
        } else if c.is_alphabetic() || c == '_' {
            i += chars[i..].iter().take_while(|c| c.is_alphanumeric() || **c == '_').count();
            let name: String = chars[start..i].iter().collect();
            let hashes = chars[i..].iter().take_while(|c| **c == '#').count();
            if matches!(name.as_str(), "r" | "br" | "cr") && at(i + hashes) == '"' {
                i = raw_end(&chars, i + hashes + 1, hashes);
            } else if matches!(name.as_str(), "b" | "c") && at(i) == '"' {
                i = string_end(&chars, i);
            } else {
                found.push(Token { line, text: name });
            }
        } else if c.is_ascii_digit() {
            i += chars[i..].iter().take_while(|c| c.is_alphanumeric() || **c == '_').count();
        } else if c == ':' && at(i + 1) == ':' {
            i += 2;
            found.push(Token { line, text: "::".into() });
        } else {
            i += 1;
            if !c.is_whitespace() {
                found.push(Token { line, text: c.into() });
            }
        }
        line += chars[start..i.min(chars.len())].iter().filter(|c| **c == '\n').count();
    }
    found
}

/// Behind the string that opens at `i`.
fn string_end(chars: &[char], mut i: usize) -> usize {
    i += 1;
    while i < chars.len() && chars[i] != '"' {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}

/// Behind the raw string whose text begins at `i`.
fn raw_end(chars: &[char], mut i: usize, hashes: usize) -> usize {
    while i < chars.len() {
        if chars[i] == '"' && chars[i + 1..].iter().take_while(|c| **c == '#').count() >= hashes {
            return i + 1 + hashes;
        }
        i += 1;
    }
    i
}

/// Behind the character or lifetime that opens at `i`.
fn quote_end(chars: &[char], i: usize) -> usize {
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    if at(i + 1) == '\\' {
        return i + 3 + chars[(i + 3).min(chars.len())..].iter().take_while(|c| **c != '\'').count() + 1;
    }
    if at(i + 2) == '\'' {
        return i + 3;
    }
    i + 1 + chars[(i + 1).min(chars.len())..].iter().take_while(|c| c.is_alphanumeric() || **c == '_').count()
}

// ---- do the rules bite? ---------------------------------------------------------------------------------------

/// The faults of made-up files, their essays added.
fn faults(files: &[(&str, &str)]) -> Vec<String> {
    let files: Vec<_> = files.iter().map(|(p, t)| ((*p).to_owned(), format!("//! Essay.\n{t}"))).collect();
    inspect(&files).faults
}

#[track_caller]
fn check(path: &str, text: &str, expected: &[&str]) {
    assert_eq!(faults(&[(path, text)]), expected, "{path}: {text}");
}

#[test]
fn an_import_against_the_table_is_named_with_its_place() {
    check(
        "tail/file.rs",
        "\nuse crate::rules::Pattern;",
        &["src/tail/file.rs:3: `tail` may not import `rules`"],
    );
    check(
        "judge/mod.rs",
        "fn f(x: crate::config::Settings) {}",
        &["src/judge/mod.rs:2: `judge` may not import `config`"],
    );
    check("line.rs", "use crate::tail;", &["src/line.rs:2: `line` may not import `tail`"]);
    check(
        "deliver/worker.rs",
        "use crate::store::Store;",
        &["src/deliver/worker.rs:2: `deliver` may not import `store`"],
    );
    check(
        "config/mod.rs",
        "use crate::{line::Line, agent::Agent,\n deliver};",
        &[
            "src/config/mod.rs:2: `config` may not import `agent`",
            "src/config/mod.rs:3: `config` may not import `deliver`",
        ],
    );
    check("agent/mod.rs", "use crate::cli::run;", &["src/agent/mod.rs:2: `agent` may not import `cli`"]);
    check("main.rs", "use logherald::store::Store;", &["src/main.rs:2: `main` may not import `store`"]);
    check("util.rs", "use crate::time::Now;", &["src/util.rs:2: `util` may not import `time`"]);
}

#[test]
fn the_way_round_by_super_is_seen() {
    check(
        "tail/file.rs",
        "use super::super::chat::Target;",
        &["src/tail/file.rs:2: `tail` may not import `chat`"],
    );
    check("tail/mod.rs", "use super::chat::Target;", &["src/tail/mod.rs:2: `tail` may not import `chat`"]);
    check("time.rs", "use super::store;", &["src/time.rs:2: `time` may not import `store`"]);
    check("tail/file.rs", "use super::chat::Target;", &[]);
}

#[test]
fn what_the_table_allows_is_no_fault() {
    check("tail/file.rs", "use crate::{line::{Line, Block}, time::Now};\nuse crate::tail::spec;", &[]);
    check("deliver/worker.rs", "use crate::chat::Outcome;\nuse crate::message::OutboxRow;", &[]);
    check("config/mod.rs", "use crate::{tail, rules, judge, chat, redact};", &[]);
    check("cli/run.rs", "use crate::agent::pipeline;\nuse crate::config::load;", &[]);
    check("main.rs", "fn main() { logherald::cli::run() }", &[]);
}

#[test]
fn a_crate_in_another_folder_than_its_owners_is_named() {
    check(
        "judge/window.rs",
        "use regex::Regex;",
        &[
            "src/judge/window.rs:2: the crate `regex` belongs to rules/, redact.rs, redact/, tail/join.rs, config/",
        ],
    );
    check(
        "agent/mod.rs",
        "fn f() { rusqlite::version(); }",
        &["src/agent/mod.rs:2: the crate `rusqlite` belongs to store/"],
    );
    check(
        "tail/mod.rs",
        "use ::toml as t;",
        &["src/tail/mod.rs:2: the crate `toml` belongs to config/, cli/test.rs"],
    );
    check(
        "tail/mod.rs",
        "use {notify::Watcher, reqwest};",
        &["src/tail/mod.rs:2: the crate `reqwest` belongs to chat/"],
    );
    check("redact.rs", "use regex::bytes::Regex;\nuse aho_corasick::AhoCorasick;", &[]);
    check("store/mod.rs", "use rusqlite::Connection; fn f() -> pattern::regex::X {}", &[]);
}

#[test]
fn a_spawn_elsewhere_is_named() {
    for (text, what) in [
        ("std::thread::spawn(f);", "thread::spawn"),
        ("use std::thread; thread::Builder::new();", "thread::Builder"),
        ("tokio::spawn(f);", "tokio::spawn"),
        ("use tokio::{select, spawn};", "tokio::spawn"),
        ("tokio::task::spawn_blocking(f);", "spawn_blocking"),
        ("let x: JoinSet<()>;", "JoinSet"),
    ] {
        let fault = format!("src/agent/reader.rs:2: `{what}`: only `src/agent/pipeline.rs` spawns");
        check("agent/reader.rs", text, &[&fault]);
        check("agent/pipeline.rs", text, &[]);
    }
    check("tail/journal.rs", "Command::new(\"journalctl\").spawn();", &[]);
}

#[test]
fn the_cap_counts_all_but_tests() {
    let body = "fn f() {}\n".repeat(499);
    check("tail/a.rs", &body, &[]);
    check(
        "tail/a.rs",
        &format!("{body}\n"),
        &["src/tail/a.rs:500: 501 lines without its tests; at most 500, so it is two files"],
    );
    check("tail/a.rs", &format!("{body}#[cfg(test)]\nmod tests {{\n{body}}}\n"), &[]);
    let declared = format!("#[cfg(test)]\nmod a_tests;\n{body}\n");
    check(
        "tail/a.rs",
        &declared,
        &["src/tail/a.rs:500: 501 lines without its tests; at most 500, so it is two files"],
    );
}

#[test]
fn a_missing_essay_and_unsafe_are_named() {
    let files = [("tail/a.rs".to_owned(), "// no essay\nunsafe fn f() {}".to_owned())];
    assert_eq!(
        inspect(&files).faults,
        [
            "src/tail/a.rs:1: a file begins with a short essay, `//!`",
            "src/tail/a.rs:2: `unsafe` is not used here",
        ]
    );
    check(
        "tail/a.rs",
        "#[cfg(test)]\nmod tests { unsafe fn f() {} }",
        &["src/tail/a.rs:3: `unsafe` is not used here"],
    );
    check(UNSAFE, "unsafe fn f() {}", &[]);
}

#[test]
fn comments_strings_and_tests_are_no_code() {
    for text in [
        "// use crate::chat;",
        "/* use crate::chat; /* nested */ unsafe */",
        "const A: &str = \"crate::chat \\\" crate::chat\";",
        "const A: &[u8] = br#\"crate::chat \" unsafe\"#;",
        "fn f<'a>(x: &'a str) -> char { '\"' } // crate::chat",
        "const Q: char = '\\''; const U: char = '\\u{7f}'; const B: u8 = b'\"';",
        "#[cfg(test)]\nuse crate::chat;",
        "#[cfg(test)]\n#[allow(x)]\nmod tests { use crate::chat; fn f() { let a = [0; 3]; tokio::spawn(g); } }",
    ] {
        check("tail/a.rs", text, &[]);
        let then = format!("{text}\nuse crate::judge;");
        let line = 2 + text.lines().count();
        check("tail/a.rs", &then, &[&format!("src/tail/a.rs:{line}: `tail` may not import `judge`")]);
    }
}

#[test]
fn a_file_of_tests_may_use_what_it_likes() {
    let parent = "#[cfg(test)]\nmod outcome_tests;\nmod other;";
    let text = "use crate::judge::Judge;\nfn f() { tokio::spawn(g); }";
    assert_eq!(faults(&[("tail/mod.rs", parent), ("tail/outcome_tests.rs", text)]), [""; 0]);
    assert_eq!(faults(&[("tail/mod.rs", parent), ("tail/other.rs", text)]).len(), 2);
}
