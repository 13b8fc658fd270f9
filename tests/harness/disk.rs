//! A disk that is small enough to be filled.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A disk in memory, gone with the value.
pub(crate) struct SmallDisk {
    at: PathBuf,
    /// Where nobody said where it should be.
    _dir: Option<tempfile::TempDir>,
}

impl SmallDisk {
    /// A disk of `mib` MiB; `None` where this machine does not let us have one.
    pub(crate) fn mount(mib: u32) -> Option<SmallDisk> {
        let dir = tempfile::tempdir().unwrap();
        SmallDisk::mounted(dir.path().to_owned(), mib, Some(dir))
    }

    /// The same at a directory that is there, or is made.
    pub(crate) fn mount_at(at: &Path, mib: u32) -> Option<SmallDisk> {
        fs::create_dir_all(at).unwrap();
        SmallDisk::mounted(at.to_owned(), mib, None)
    }

    fn mounted(at: PathBuf, mib: u32, dir: Option<tempfile::TempDir>) -> Option<SmallDisk> {
        let size = format!("mode=700,size={mib}m");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&at).stderr(Stdio::null());
        if mount.status().is_ok_and(|s| s.success()) {
            return Some(SmallDisk { at, _dir: dir });
        }
        println!("SKIPPED: no small disk could be mounted here (it needs root)");
        None
    }

    /// A directory on it.
    pub(crate) fn path(&self) -> PathBuf {
        self.at.join("state")
    }

    /// Lets another file take what is left.
    pub(crate) fn fill(&self, name: &str) {
        let mut file = fs::OpenOptions::new().append(true).create(true).open(self.at.join(name)).unwrap();
        let chunk = [7; 4096];
        while file.write_all(&chunk).is_ok() {}
    }

    pub(crate) fn free(&self, name: &str) {
        fs::remove_file(self.at.join(name)).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(&self.at).status().unwrap();
    }
}
