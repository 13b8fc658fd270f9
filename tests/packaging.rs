//! Is what is installed what the unit, the user and the documents speak of?

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stderr, reason = "a test says what it skips")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn deb() -> toml::Table {
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    manifest["package"]["metadata"]["deb"].as_table().unwrap().clone()
}

/// Where the package puts what: (source in the repository, path on the machine, mode).
fn assets() -> Vec<(String, String, String)> {
    let text = |v: &toml::Value| v.as_str().unwrap().to_owned();
    let list = deb()["assets"].as_array().unwrap().clone();
    list.iter()
        .map(|a| {
            let (source, mut target) = (text(&a[0]), text(&a[1]));
            if target.ends_with('/') {
                target.push_str(source.rsplit('/').next().unwrap());
            }
            (source, format!("/{target}"), text(&a[2]))
        })
        .collect()
}

/// The values of `key` in the unit, in order; comments left out.
fn directive(key: &str) -> Vec<String> {
    let lines = read("packaging/logherald.service");
    let of = |line: &str| Some(line.strip_prefix(key)?.strip_prefix('=')?.to_owned());
    lines.lines().filter_map(of).collect()
}

#[test]
fn every_asset_is_in_the_repository() {
    for (source, target, mode) in assets() {
        if source == "target/release/logherald" {
            assert_eq!((target.as_str(), mode.as_str()), ("/usr/bin/logherald", "755"));
            continue;
        }
        assert!(root().join(&source).is_file(), "{source} is missing");
        assert_eq!(mode, "644", "{source}");
    }
}

#[test]
fn the_unit_starts_and_reloads_what_the_package_installs() {
    let targets: Vec<String> = assets().into_iter().map(|(_, target, _)| target).collect();
    for (key, command) in [("ExecStart", "run /etc/logherald/rules.toml"), ("ExecReload", "reload")] {
        assert_eq!(directive(key), [format!("/usr/bin/logherald {command}")]);
    }
    for path in ["/usr/bin/logherald", "/etc/logherald/rules.toml"] {
        assert!(targets.iter().any(|t| t == path), "{path} is not installed");
    }
    let conffiles = deb()["conf-files"].as_array().unwrap().clone();
    assert_eq!(conffiles, [toml::Value::from("/etc/logherald/rules.toml")]);
    for document in directive("Documentation") {
        assert!(targets.iter().any(|t| Some(t.as_str()) == document.strip_prefix("file://")), "{document}");
    }
}

#[test]
fn the_unit_says_what_the_agent_counts_on() {
    for (key, value) in [
        ("Type", "notify"),
        ("NotifyAccess", "main"),
        ("Restart", "on-failure"),
        // a configuration that is wrong now is wrong in five seconds too
        ("RestartPreventExitStatus", "78"),
        ("WatchdogSec", "60s"),
        ("User", "logherald"),
        ("StateDirectory", "logherald"),
        ("RuntimeDirectory", "logherald"),
        ("CapabilityBoundingSet", ""),
        ("ProtectSystem", "strict"),
        ("WantedBy", "multi-user.target"),
    ] {
        assert_eq!(directive(key), [value], "{key}");
    }
    assert!(directive("ExecStartPre").is_empty(), "the agent judges its rules itself");
    assert!(directive("LoadCredential").is_empty(), "a missing secret would fail the first start");
    assert!(directive("ExecPaths")[0].contains("/usr/bin/journalctl"));
}

#[test]
fn the_user_is_made_and_may_read_logs() {
    let sysusers = read("packaging/logherald.sysusers");
    let lines: Vec<Vec<&str>> =
        sysusers.lines().filter(|l| !l.starts_with('#')).map(|l| l.split_whitespace().collect()).collect();
    let user = directive("User").remove(0);
    assert_eq!(lines[0][..2], ["u", &user]);
    for group in ["adm", "systemd-journal"] {
        assert!(lines.contains(&vec!["m", &user, group]), "{user} is not in {group}");
    }
}

#[test]
fn the_package_starts_nothing_and_tells_its_version() {
    let deb = deb();
    let units = deb["systemd-units"].as_table().unwrap();
    assert_eq!(
        (units["unit-name"].as_str(), units["unit-scripts"].as_str()),
        (Some("logherald"), Some("packaging"))
    );
    assert_eq!((units["enable"].as_bool(), units["start"].as_bool()), (Some(true), Some(false)));
    let newest = read(deb["changelog"].as_str().unwrap());
    assert!(newest.starts_with(&format!("logherald ({}-1) ", env!("CARGO_PKG_VERSION"))), "{newest}");
}

#[test]
fn the_secrets_are_shown_as_a_drop_in() {
    let example = read("packaging/credentials.conf");
    let line = "LoadCredential=ops-webhook:/etc/logherald/secrets/ops-webhook";
    assert!(example.contains(&format!("[Service]\n{line}\n")), "{example}");
    assert!(
        read("packaging/logherald.service").contains("/usr/share/doc/logherald/examples/credentials.conf")
    );
    assert!(assets().iter().any(|(_, t, _)| t == "/usr/share/doc/logherald/examples/credentials.conf"));
}

#[test]
fn systemd_finds_no_fault_and_little_exposure() {
    let known = Command::new("systemd-analyze").arg("--version").output();
    if !known.is_ok_and(|o| o.status.success()) {
        eprintln!("SKIPPED: there is no systemd-analyze here");
        return;
    }
    let done = Command::new(root().join("packaging/verify.sh")).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(String::from_utf8_lossy(&done.stdout).contains("Overall exposure level"));
}

#[test]
fn scripts_stop_at_their_first_fault() {
    for path in ["packaging/verify.sh", ".ci/run", ".ci/long"] {
        let text = read(path);
        assert!(
            text.starts_with("#!/usr/bin/env bash\n") && text.contains("\nset -euo pipefail\n"),
            "{path}"
        );
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &fs::metadata(Path::new(&root()).join(path)).unwrap().permissions(),
        );
        assert_eq!(mode & 0o111, 0o111, "{path} may not be run");
    }
}
