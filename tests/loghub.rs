//! Sixteen real logs through the shipped rules: does the running agent count what each rule alone would?
//!
//! The logs lie beside the repository, not in it. Where they are absent the test is skipped out loud; in CI it fails.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use logherald::config;
use logherald::rules::{LineVerdict, test_line};
use logherald::time::Clock;

use crate::harness::fake_chat::FakeChat;
use crate::harness::program::{Place, term};

pub(crate) fn logs() -> Option<Vec<PathBuf>> {
    let beside = || concat!(env!("CARGO_MANIFEST_DIR"), "/../shared").into();
    let shared: PathBuf = std::env::var_os("LOGHERALD_SHARED").map_or_else(beside, PathBuf::from);
    let found = fs::read_dir(shared.join("data/loghub")).ok().map(|entries| {
        let mut logs: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).collect();
        logs.retain(|p| p.extension().is_some_and(|e| e == "log"));
        logs.sort();
        logs
    });
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "the real logs are needed in CI");
        println!("SKIPPED: the real logs are not beside the repository");
    }
    found
}

/// Hits of each rule, by the rule alone on each line.
fn expected(rules: &Path, logs: &[PathBuf]) -> BTreeMap<String, u64> {
    let now = Clock::continuing(None).now();
    let env = config::Env { host: "h".into(), tz: jiff::tz::TimeZone::UTC, now };
    let settings = config::load(rules, &env).settings.unwrap();
    let mut hits: BTreeMap<String, u64> = settings.rules.iter().map(|r| (r.name.to_string(), 0)).collect();
    for log in logs {
        let text = fs::read(log).unwrap();
        for line in text.split(|b| *b == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            for rule in &settings.rules {
                if matches!(test_line(rule, line, &[]), LineVerdict::Hit { .. }) {
                    *hits.get_mut(&*rule.name).unwrap() += 1;
                }
            }
        }
    }
    hits
}

#[test]
fn the_shipped_rules_count_sixteen_real_logs_exactly() {
    let Some(logs) = logs() else { return };
    let chat = FakeChat::start();
    let place = Place::new().env("HOOK", &chat.webhook_url("OPS"));
    let shipped = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/rules.toml")).unwrap();
    let own: String = shipped
        .lines()
        .filter(|l| !l.starts_with("max_per_hour = ") && !l.starts_with("quiet = "))
        .map(|l| match l.strip_prefix("files = ") {
            Some(_) => "files = [\"DIR/log/*.log\"]\nquiet = \"2s\"\nmax_per_hour = 3600".to_owned(),
            None => l.strip_prefix("journal = ").map_or(l.to_owned(), |_| String::new()),
        })
        .map(|l| l + "\n")
        .collect();
    let space = "[space.ops]\nwebhook = { env = 'HOOK' }\nwait = '1s'\nmax_per_hour = 600\n";
    let rules = place.rules(&own.replacen("[defaults]", &format!("{space}\n[defaults]"), 1));
    fs::create_dir(place.path("log")).unwrap();
    let wanted = expected(&rules, &logs);

    let agent = place.start();
    for log in &logs {
        let mut text = fs::read(log).unwrap();
        if text.last() != Some(&b'\n') {
            text.push(b'\n');
        }
        let name = format!("log/{}", log.file_name().unwrap().to_string_lossy());
        fs::write(place.path(&name), text).unwrap();
    }
    let total: u64 = wanted.values().sum();
    assert!(total > 500, "the real logs hold hits of the shipped rules: {wanted:?}");
    let status = agent.wait_for_status("every hit to be counted and settled", |s| {
        let sum = |t: &str| wanted.keys().map(|r| term(s, r, t)).sum::<u64>();
        // what is short of its threshold is held by its window for as long as the rule says
        let counting: u64 =
            wanted.keys().map(|r| s["rules"][r]["pending_in"]["windows"].as_u64().unwrap()).sum();
        sum("hits") >= total && sum("pending") == counting
    });
    let messages = chat.messages("OPS");
    let mut told = 0;
    for (rule, hits) in &wanted {
        let t = |name| term(&status, rule, name);
        assert_eq!(t("hits"), *hits, "{rule}");
        assert_eq!(t("shown") + t("told") + t("below") + t("pending"), *hits, "{rule}");
        told += t("shown") + t("told");
        if *hits > 0 {
            println!(
                "measured: loghub {rule}: {hits} hits, {} shown, {} told, {} short of the threshold",
                t("shown"),
                t("told"),
                t("below") + t("pending")
            );
        }
    }
    println!("measured: loghub: {} messages for {total} hits in {} logs", messages.len(), logs.len());
    assert_eq!(messages.iter().map(crate::harness::fake_chat::Received::hits).sum::<u64>(), told);
    assert_eq!(chat.violations(), Vec::<String>::new());
    assert_eq!(agent.stop(), 0);
}
