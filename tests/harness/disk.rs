//! Disks that are small enough to be filled, or fail.

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

    /// From now on it may only be read, or written again.
    pub(crate) fn may_be_written(&self, may: bool) {
        let how = if may { "remount,rw" } else { "remount,ro" };
        assert!(run(Command::new("mount").args(["-o", how]).arg(&self.at)).is_some(), "{how}");
    }

    /// Lets another file take what is left.
    pub(crate) fn fill(&self, name: &str) {
        let mut file = fs::OpenOptions::new().append(true).create(true).open(self.at.join(name)).unwrap();
        let chunk = [7; 4096];
        while file.write_all(&chunk).is_ok() {}
    }

    /// Gives that room back. The file is emptied before it goes: a process that another test is starting holds the open
    /// files of this one until it executes its own program, and what a file that somebody holds takes is not free.
    pub(crate) fn free(&self, name: &str) {
        let path = self.at.join(name);
        fs::OpenOptions::new().write(true).truncate(true).open(&path).unwrap();
        fs::remove_file(path).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(&self.at).status().unwrap();
    }
}

/// A disk with a filesystem of its own that can be made to find an error in itself: from then on it lets nobody write, as
/// the machine's own does when its disk fails.
pub(crate) struct FaultyDisk {
    at: PathBuf,
    image: PathBuf,
    trigger: PathBuf,
}

impl FaultyDisk {
    /// A disk of 32 MiB at a directory that is made, its image in the file `image`; `None` where this machine does not let
    /// us have one.
    pub(crate) fn mount_at(at: &Path, image: &Path) -> Option<FaultyDisk> {
        fs::create_dir_all(at).unwrap();
        fs::File::create(image).unwrap().set_len(32 << 20).unwrap();
        let made = run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(image)).is_some();
        let mut disk = FaultyDisk { at: at.to_owned(), image: image.to_owned(), trigger: PathBuf::new() };
        if made && disk.mount() {
            return Some(disk);
        }
        println!("SKIPPED: no disk that fails could be mounted here (it needs root, a loop device and ext4)");
        None
    }

    fn mount(&mut self) -> bool {
        let mut mount = Command::new("mount");
        mount.args(["-t", "ext4", "-o", "loop,errors=remount-ro"]).arg(&self.image).arg(&self.at);
        let mut find = Command::new("findmnt");
        find.args(["-no", "SOURCE", "-M"]).arg(&self.at);
        let source = run(&mut mount).and_then(|_| run(&mut find)).unwrap_or_default();
        let name = source.trim().trim_start_matches("/dev/");
        self.trigger = Path::new("/sys/fs/ext4").join(name).join("trigger_fs_error");
        !name.is_empty() && self.trigger.exists()
    }

    /// The filesystem finds an error.
    pub(crate) fn fails(&self) {
        fs::write(&self.trigger, "1").unwrap();
        assert!(fs::write(self.at.join("a file"), "").is_err(), "it is read-only by now");
    }

    /// The machine starts anew.
    pub(crate) fn is_mended(&mut self) {
        assert!(run(Command::new("umount").arg(&self.at)).is_some(), "nobody holds it");
        assert!(self.mount());
    }
}

impl Drop for FaultyDisk {
    fn drop(&mut self) {
        // it may never have been mounted
        _ = run(Command::new("umount").arg("-l").arg(&self.at));
    }
}

/// What a command that succeeded has said.
fn run(command: &mut Command) -> Option<String> {
    let said = command.stderr(Stdio::null()).output().ok().filter(|said| said.status.success())?;
    Some(String::from_utf8_lossy(&said.stdout).into_owned())
}
