//! What the service's unit says, as far as it decides what the agent can see: its user, its secrets, what is hidden from it.
//!
//! Asked of `systemctl cat`, which puts drop-ins in their order; where there is no unit, or no systemd, there is nothing to
//! know. Surprising: a later line does not always win. `LoadCredential=` and `BindReadOnlyPaths=` add up, and an empty
//! one forgets what came before.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The unit's name, as the packages install it.
pub(super) const NAME: &str = "logherald.service";

/// What a unit says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Unit {
    /// Whom the agent runs as.
    pub(super) user: Option<String>,
    /// Where secrets are loaded from, by their names. Relative names are of systemd's own stores.
    pub(super) credentials: BTreeMap<String, PathBuf>,
    /// Home directories are hidden.
    hides_home: bool,
    /// `/tmp` and `/var/tmp` are the service's own.
    private_tmp: bool,
    /// What is shown all the same.
    shown: Vec<PathBuf>,
}

impl Unit {
    /// The unit of this machine, if there is one.
    pub(super) fn find() -> Option<Unit> {
        let ran = Command::new("systemctl")
            .args(["cat", "--no-pager", NAME])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .ok()?;
        ran.status.success().then(|| Unit::read(&String::from_utf8_lossy(&ran.stdout)))
    }

    fn read(text: &str) -> Unit {
        let mut unit = Unit::default();
        let text = text.replace("\\\n", " ");
        let mut in_service = false;
        for line in text.lines().map(str::trim) {
            if line.starts_with('[') {
                in_service = line == "[Service]";
            }
            let Some((key, value)) =
                line.split_once('=').filter(|_| in_service && !line.starts_with(['#', ';']))
            else {
                continue;
            };
            unit.take(key.trim_end(), value.trim());
        }
        unit
    }

    fn take(&mut self, key: &str, value: &str) {
        let on = |v: &str| !matches!(v, "" | "no" | "false" | "off" | "0");
        match key {
            "User" => self.user = Some(value.to_owned()).filter(|v| !v.is_empty()),
            "ProtectHome" => self.hides_home = on(value) && value != "read-only",
            "PrivateTmp" => self.private_tmp = on(value),
            "LoadCredential" | "LoadCredentialEncrypted" | "SetCredential" | "SetCredentialEncrypted" => {
                match value.split_once(':') {
                    _ if value.is_empty() => self.credentials.clear(),
                    Some((name, path)) if key == "LoadCredential" => {
                        self.credentials.insert(name.to_owned(), path.into());
                    }
                    // what is encrypted or stands in the unit cannot be read by a path
                    Some((name, _)) => _ = self.credentials.insert(name.to_owned(), PathBuf::new()),
                    None => _ = self.credentials.insert(value.to_owned(), PathBuf::new()),
                }
            }
            "BindReadOnlyPaths" | "BindPaths" if value.is_empty() => self.shown.clear(),
            "BindReadOnlyPaths" | "BindPaths" => {
                let inside = |word: &str| {
                    let word = word.trim_start_matches('-');
                    PathBuf::from(word.split(':').nth(1).unwrap_or(word))
                };
                self.shown.extend(value.split_whitespace().map(inside));
            }
            _ => {}
        }
    }

    /// Which line of the unit hides this path from the agent, and what to do about it.
    pub(super) fn hides(&self, path: &Path) -> Option<(&'static str, String)> {
        if self.shown.iter().any(|shown| path.starts_with(shown)) {
            return None;
        }
        let below = |dirs: &[&str]| dirs.iter().any(|dir| path.starts_with(dir));
        let dir = path.parent().unwrap_or(path).display();
        if self.hides_home && below(&["/home", "/root", "/run/user"]) {
            let hint = format!(
                "`systemctl edit logherald`: under `[Service]` say `ProtectHome=tmpfs` and `BindReadOnlyPaths={dir}`"
            );
            return Some(("ProtectHome", hint));
        }
        if self.private_tmp && below(&["/tmp", "/var/tmp"]) {
            let hint = "write that log somewhere else, best below `/var/log`; or `systemctl edit logherald`, and say \
                        `PrivateTmp=no` under `[Service]`";
            return Some(("PrivateTmp", hint.to_owned()));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKAGED: &str = include_str!("../../../packaging/logherald.service");

    #[test]
    fn the_packaged_unit_hides_homes_and_temporary_files() {
        let unit = Unit::read(PACKAGED);
        assert_eq!(unit.user.as_deref(), Some("logherald"));
        assert!(unit.credentials.is_empty(), "those in its comments are none");
        let by = |path: &str| unit.hides(Path::new(path)).map(|(line, _)| line);
        assert_eq!(by("/home/app/log/a.log"), Some("ProtectHome"));
        assert_eq!(by("/var/tmp/a.log"), Some("PrivateTmp"));
        assert_eq!((by("/var/log/syslog"), by("/homework/a.log")), (None, None));
    }

    #[test]
    fn drop_ins_add_up_and_an_empty_line_forgets() {
        let unit = Unit::read(&format!(
            "# /lib/systemd/system/logherald.service\n{PACKAGED}\n# /etc/systemd/system/logherald.service.d/a.conf\n[Service]\n\
             LoadCredential=old:/nowhere\nLoadCredential=\nLoadCredential=ops:/etc/logherald/secrets/ops\n\
             LoadCredentialEncrypted=key:/etc/logherald/key.enc\nProtectHome=tmpfs\nBindReadOnlyPaths=/home/app/log \\\n\
             \x20  -/srv/x:/home/x\nPrivateTmp=no\nUser=watcher\n[Install]\nUser=nobody\n"
        ));
        assert_eq!(unit.user.as_deref(), Some("watcher"));
        let known: Vec<_> = unit.credentials.iter().map(|(n, p)| (n.as_str(), p.to_str().unwrap())).collect();
        assert_eq!(known, [("key", ""), ("ops", "/etc/logherald/secrets/ops")]);
        let hidden = |path: &str| unit.hides(Path::new(path)).is_some();
        assert!(!hidden("/home/app/log/a.log") && !hidden("/home/x/a.log") && !hidden("/tmp/a"));
        assert!(hidden("/home/other/a.log"));
    }
}
