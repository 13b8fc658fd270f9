//! Where things are when nobody says: rules, state, socket.
//!
//! Under systemd the unit's directories come in the environment; at a terminal it is the user's own state directory.

use std::env;
use std::path::{Path, PathBuf};

use crate::agent::control::SOCKET;

use super::{Failure, exit};

/// The packaged rules file.
const SYSTEM_RULES: &str = "/etc/logherald/rules.toml";

/// The service's state directory.
const SYSTEM_STATE: &str = "/var/lib/logherald";

/// The service's runtime directory.
const SYSTEM_RUNTIME: &str = "/run/logherald";

/// The rules file: as given (`how` says in which way), else the unit's, else the system's, else the one in this directory.
pub(super) fn rules(given: Option<&Path>, how: &str) -> Result<PathBuf, Failure> {
    if let Some(path) = given {
        return Ok(path.to_owned());
    }
    let unit = dir("CONFIGURATION_DIRECTORY").map(|d| d.join("rules.toml"));
    let places: Vec<PathBuf> = unit.into_iter().chain([SYSTEM_RULES.into(), "rules.toml".into()]).collect();
    places.iter().find(|p| p.exists()).cloned().ok_or_else(|| {
        let tried: Vec<String> = places.iter().map(|p| format!("`{}`", p.display())).collect();
        Failure::new(exit::CONFIG, format!("no rules file: there is none at {}", tried.join(", ")))
            .hint(format!("name one: {how}"))
    })
}

/// The state directory: as given, else the unit's, else the user's.
pub(super) fn state(given: Option<&Path>) -> Result<PathBuf, Failure> {
    let home = || dir("HOME").map(|h| h.join(".local/state"));
    given
        .map(Path::to_owned)
        .or_else(|| dir("STATE_DIRECTORY"))
        .or_else(|| Some(dir("XDG_STATE_HOME").or_else(home)?.join("logherald")))
        .ok_or_else(|| {
            Failure::new(exit::CONFIG, "no state directory: neither `STATE_DIRECTORY` nor `HOME` is set")
                .hint("name one with `--state DIR`")
        })
}

/// Whether these rules are the service's, by where they are.
pub(super) fn is_of_service(rules: &Path) -> bool {
    std::path::absolute(rules).is_ok_and(|p| p == Path::new(SYSTEM_RULES))
}

/// The state directory of the agent that runs on `rules`: as given, else the unit's, else the service's where the rules are,
/// else the user's.
pub(super) fn state_of(given: Option<&Path>, rules: &Path) -> Result<PathBuf, Failure> {
    let service = Path::new(SYSTEM_STATE);
    let is_service = given.is_none() && dir("STATE_DIRECTORY").is_none() && is_of_service(rules);
    if is_service && service.exists() { Ok(service.to_owned()) } else { state(given) }
}

/// Where a starting agent makes its socket: beside a state directory that was given, else in the unit's runtime
/// directory, else in the state directory.
pub(super) fn own_socket(state_given: bool, state: &Path) -> PathBuf {
    let runtime = if state_given { None } else { dir("RUNTIME_DIRECTORY") };
    runtime.unwrap_or_else(|| state.to_owned()).join(SOCKET)
}

/// Where to ask: in the state directory that was given, else the service, else the user's own agent.
pub(super) fn socket(state_given: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(dir) = state_given {
        return Ok(dir.join(SOCKET));
    }
    let runtime = dir("RUNTIME_DIRECTORY").unwrap_or_else(|| SYSTEM_RUNTIME.into()).join(SOCKET);
    if runtime.exists() {
        return Ok(runtime);
    }
    let own = state(None)?.join(SOCKET);
    Ok(if own.exists() { own } else { runtime })
}

/// A directory from the environment; systemd may name several, the first is the one.
fn dir(name: &str) -> Option<PathBuf> {
    let value = env::var_os(name).filter(|v| !v.is_empty())?;
    env::split_paths(&value).next()
}
