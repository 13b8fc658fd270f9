//! The notify watcher: turns what the kernel says about directories into rings of the [`Bell`].
//!
//! Directories only, never recursive: a watch on a file follows its inode away at the first rotation, and
//! recursive watches lose what is written into a new directory before they reach it. The callback runs on
//! notify's thread and only sets bits: a callback that takes its time gets the overflow flag seconds late.
//! Without inotify (no instance left, or switched off) everything still works, by the sweep alone.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use notify::event::{EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};

use super::Trouble;
use super::bell::Bell;
use super::identity::{self, FileId};

/// At most so many directories are watched; files in others are found by the sweep.
const DIRECTORIES: usize = 8192;

/// Filesystems whose changes other machines or lower layers make unseen: NFS, SMB (three magics), FUSE, 9p, AFS,
/// overlay.
const UNSEEN: [u32; 8] =
    [0x6969, 0x517B, 0xFF53_4D42, 0xFE53_4D42, 0x6573_5546, 0x0102_1997, 0x5346_414F, 0x794C_7630];

/// The watched directories.
#[derive(Debug, Default)]
pub(super) struct Watch {
    watcher: Option<RecommendedWatcher>,
    /// Which directory stood there when the watch was made (`None`: a watch could not be made), and whether its
    /// events can be trusted.
    dirs: HashMap<PathBuf, Watched>,
    full: bool,
    /// What went wrong, for those who ask later.
    troubles: Vec<Trouble>,
}

/// At most so many troubles are remembered.
const TROUBLES: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Watched {
    id: Option<FileId>,
    seen: bool,
}

impl Watch {
    /// Starts a watcher that rings `bell`; a failure is a trouble, and leaves the sweep.
    pub(super) fn new(bell: Bell, troubles: &mut Vec<Trouble>) -> Watch {
        match notify::recommended_watcher(move |event| ring(&bell, event)) {
            Ok(watcher) => Watch { watcher: Some(watcher), ..Watch::default() },
            Err(e) => {
                let trouble = trouble(Path::new("inotify"), &e);
                troubles.push(trouble.clone());
                Watch { troubles: vec![trouble], ..Watch::default() }
            }
        }
    }

    /// No events at all.
    pub(super) fn off() -> Watch {
        Watch::default()
    }

    /// Makes sure that `dir` is watched, anew if another directory stands there by now. Must be called before
    /// `dir` is listed: what is made in between is then seen twice, not never.
    pub(super) fn add(&mut self, dir: &Path, troubles: &mut Vec<Trouble>) {
        let Some(watcher) = &mut self.watcher else { return };
        let id = identity::look(dir).ok().map(|s| s.id);
        let known = self.dirs.get(dir).copied();
        if id.is_none() || known.is_some_and(|k| k.id == id) {
            return;
        }
        if known.is_none() && self.dirs.len() >= DIRECTORIES {
            if !self.full {
                self.full = true;
                troubles.push(Trouble::new(
                    None,
                    dir,
                    format!("more than {DIRECTORIES} directories to watch; the rest are looked at in turn"),
                    Some("narrow the globs of `files`".into()),
                ));
            }
            return;
        }
        if known.is_some() && watcher.unwatch(dir).is_err() {
            // The kernel dropped the watch together with the directory.
        }
        match watcher.watch(dir, RecursiveMode::NonRecursive) {
            Ok(()) => {
                self.troubles.retain(|t| t.path != dir);
                self.dirs.insert(dir.to_path_buf(), Watched { id, seen: events_are_seen(dir) });
            }
            Err(e) => {
                // one that may not be read cannot be listed either, and that is told
                if known.is_none_or(|k| k.seen) && !is_denied(&e) {
                    let trouble = trouble(dir, &e);
                    if self.troubles.len() < TROUBLES {
                        self.troubles.push(trouble.clone());
                    }
                    troubles.push(trouble);
                }
                self.dirs.insert(dir.to_path_buf(), Watched { id: None, seen: false });
            }
        }
    }

    /// Whether a write to a file in `dir` rings the bell.
    pub(super) fn sees(&self, dir: &Path) -> bool {
        self.dirs.get(dir).is_some_and(|w| w.seen)
    }

    /// Whether a watch was ever asked for there.
    pub(super) fn knows(&self, dir: &Path) -> bool {
        self.dirs.contains_key(dir)
    }

    /// What still goes wrong.
    pub(super) fn troubles(&self) -> &[Trouble] {
        &self.troubles
    }

    /// How many directories are watched.
    pub(super) fn len(&self) -> usize {
        self.dirs.values().filter(|w| w.id.is_some()).count()
    }
}

fn events_are_seen(dir: &Path) -> bool {
    rustix::fs::statfs(dir).is_ok_and(|fs| !UNSEEN.contains(&(fs.f_type as u32)))
}

fn ring(bell: &Bell, event: notify::Result<notify::Event>) {
    let Ok(event) = event else {
        return bell.ring_everything();
    };
    if event.need_rescan() {
        return bell.ring_everything();
    }
    match event.kind {
        // The agent's own `open` is among these: it would ring its own bell for ever.
        EventKind::Access(_) => {}
        EventKind::Modify(ModifyKind::Data(_)) => event.paths.iter().for_each(|p| bell.ring_data(p)),
        _ => event.paths.iter().for_each(|p| bell.ring_name(p)),
    }
}

fn is_denied(e: &notify::Error) -> bool {
    matches!(&e.kind, notify::ErrorKind::Io(io) if io.kind() == std::io::ErrorKind::PermissionDenied)
}

fn trouble(at: &Path, e: &notify::Error) -> Trouble {
    let (what, hint) = match &e.kind {
        notify::ErrorKind::MaxFilesWatch => (
            "no inotify watch left; changes are found by looking, up to some seconds later".to_owned(),
            Some("raise `fs.inotify.max_user_watches` with sysctl".to_owned()),
        ),
        notify::ErrorKind::Io(io) if io.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error()) => (
            "no inotify instance left; changes are found by looking, up to some seconds later".to_owned(),
            Some("raise `fs.inotify.max_user_instances` with sysctl".to_owned()),
        ),
        notify::ErrorKind::Io(io) => (format!("cannot be watched: {io}"), None),
        other => (format!("cannot be watched: {other:?}"), None),
    };
    Trouble::new(None, at, what, hint)
}
