//! A machine whose power fails: what the agent did not sync is gone, or there, or there in part.
//!
//! A library that is loaded into the agent (`power.c`) keeps of each file of its state what was last synced. When the
//! power fails the agent is killed, and its state is put together anew: of each page of each file the synced one or the
//! one that was written since, as if the disk had got to it. Whoever writes to logs goes on: the logs are whole.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::io::Errno;

use super::dice::Dice;
use super::program::{Agent, Place, have};

/// What a disk writes whole or not at all.
const PAGE: usize = 4096;

/// The files of one agent's state as they are on the disk for sure.
pub(crate) struct Power {
    dir: tempfile::TempDir,
    state: PathBuf,
}

impl Power {
    /// A place whose agent keeps its state on a disk that may lose its power; `None` where no C compiler is.
    pub(crate) fn over(place: Place) -> Option<(Place, Power)> {
        if !have("cc") {
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let library = dir.path().join("power.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/harness/power.c");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&library)
            .arg(source)
            .arg("-ldl")
            .status();
        assert!(built.unwrap().success());
        let synced = dir.path().join("synced");
        fs::create_dir(&synced).unwrap();
        let state = place.path("state");
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let place = place
            .env("LD_PRELOAD", &text(&library))
            .env("POWER_STATE", &text(&state))
            .env("POWER_SYNCED", &text(&synced))
            .env("POWER_REFUSES", &text(&dir.path().join("refuses")))
            .env("POWER_SLOWS", &text(&dir.path().join("slows")))
            .env("POWER_KILLS", &text(&dir.path().join("kills")));
        Some((place, Power { dir, state }))
    }

    /// From now on the disk refuses what is written to the state, in this way; `None`: no longer.
    pub(crate) fn refuses(&self, why: Option<Errno>) {
        self.tell("refuses", why.map(|why| why.raw_os_error().to_string()));
    }

    /// From now on each sync of the state takes so much longer; `None`: no longer.
    pub(crate) fn slows(&self, by: Option<Duration>) {
        self.tell("slows", by.map(|by| by.as_millis().to_string()));
    }

    fn tell(&self, file: &str, what: Option<String>) {
        let file = self.dir.path().join(file);
        match what {
            // at once: whoever reads it between its making and its writing would find nothing in it
            Some(what) => {
                let made = file.with_extension("made");
                fs::write(&made, what).unwrap();
                fs::rename(made, file).unwrap();
            }
            None => fs::remove_file(file).unwrap(),
        }
    }

    /// Where the step stands at which the agent is killed: `w 3` is before its third write to the state from then on, `s 1`
    /// before its first sync, `S 1` after that. Nobody is killed while there is no such file.
    pub(crate) fn kills(&self) -> PathBuf {
        self.dir.path().join("kills")
    }

    /// The library is at work: it has kept the state as it was synced.
    pub(crate) fn is_known(&self) -> bool {
        fs::metadata(self.dir.path().join("synced/state.db")).is_ok_and(|file| file.len() > 0)
    }

    /// The power fails, now. Tells how many pages are as they were last synced though they had been written since.
    pub(crate) fn fails(&self, agent: Agent<'_>, dice: &mut Dice) -> usize {
        // As if nothing reached the disk that need not, now and then.
        let chance = [1, 2, 8, u64::MAX][dice.below(4) as usize];
        self.cut(agent, chance, dice)
    }

    /// The same where nothing has reached the disk that need not.
    pub(crate) fn fails_at_its_worst(&self, agent: Agent<'_>) {
        self.cut(agent, u64::MAX, &mut Dice::new());
    }

    fn cut(&self, agent: Agent<'_>, chance: u64, dice: &mut Dice) -> usize {
        agent.kill();
        let synced = self.dir.path().join("synced");
        let names: BTreeSet<String> = [&synced, &self.state].into_iter().flat_map(|dir| files(dir)).collect();
        let mut lost = 0;
        for name in names {
            let (sure, now) = (fs::read(synced.join(&name)), fs::read(self.state.join(&name)));
            let Ok(sure) = sure else {
                // Made, and neither it nor its directory was synced.
                fs::remove_file(self.state.join(&name)).unwrap();
                continue;
            };
            // It may have been removed since, or cut.
            let now = now.unwrap_or_default();
            let cut = now.len() < sure.len() && dice.once_in(2);
            let mut all = if cut { sure[..now.len()].to_vec() } else { sure };
            for (at, page) in now.chunks(PAGE).enumerate() {
                let range = at * PAGE..at * PAGE + page.len();
                if all.get(range.clone()) == Some(page) {
                    continue;
                }
                if chance != u64::MAX && dice.once_in(chance) {
                    all.resize(all.len().max(range.end), 0);
                    all[range].copy_from_slice(page);
                } else {
                    lost += 1;
                }
            }
            fs::write(self.state.join(&name), &all).unwrap();
            fs::write(synced.join(&name), all).unwrap();
        }
        lost
    }
}

/// The names of the files in a directory.
fn files(dir: &Path) -> Vec<String> {
    let Ok(all) = fs::read_dir(dir) else { return vec![] };
    let all = all.map(Result::unwrap).filter(|e| e.file_type().unwrap().is_file());
    all.map(|e| e.file_name().into_string().unwrap()).filter(|n| !n.starts_with('.')).collect()
}
