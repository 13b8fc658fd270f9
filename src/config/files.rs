//! The files a rules file is made of, and the few questions about other files that loading asks.
//!
//! Behind a trait, so that tests and fuzzing load text from nowhere. What is read is bounded, and only regular
//! files are: an `include` of a pipe would otherwise stop the agent for ever.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::time::Wall;

/// A rules file is at most this long, in bytes: two thousand rules with their tests are a third of it.
pub const FILE_BYTES: u64 = 1 << 20;

/// At most this many directory entries are looked at for one glob, so that `/**` ends.
const LOOKED_AT: usize = 20_000;

/// What loading asks of the machine.
pub trait Files {
    /// The bytes of a regular file, at most [`FILE_BYTES`] and one more.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// The paths that a glob matches, in any order; none is not an error.
    fn glob(&self, pattern: &str) -> Vec<PathBuf>;

    /// When the file at `path` was last written; `None` where there is none.
    fn written(&self, path: &Path) -> Option<Wall>;
}

/// The machine's own files.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        if !std::fs::metadata(path)?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        let mut bytes = Vec::new();
        std::fs::File::open(path)?.take(FILE_BYTES + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn glob(&self, pattern: &str) -> Vec<PathBuf> {
        if !is_glob(pattern) {
            let path = PathBuf::from(pattern);
            return if path.exists() { vec![path] } else { Vec::new() };
        }
        let Ok(glob) = glob(pattern) else { return Vec::new() };
        let matcher = glob.compile_matcher();
        let base = literal_dir(pattern);
        let deep = pattern.contains("**");
        let depth = Path::new(pattern).components().count().saturating_sub(base.components().count());
        let mut found = Vec::new();
        let mut dirs = vec![(base, 1)];
        let mut looked_at = 0;
        while let Some((dir, level)) = dirs.pop() {
            let Ok(entries) = std::fs::read_dir(&dir) else { continue };
            for entry in entries.flatten() {
                looked_at += 1;
                if looked_at > LOOKED_AT {
                    return found;
                }
                let path = entry.path();
                // `file_type` does not follow links, so a link to a parent cannot lead round in circles
                let is_dir = entry.file_type().is_ok_and(|t| t.is_dir());
                if is_dir && (deep || level < depth) {
                    dirs.push((path, level + 1));
                } else if matcher.is_match(&path) {
                    found.push(path);
                }
            }
        }
        found
    }

    fn written(&self, path: &Path) -> Option<Wall> {
        let time = std::fs::metadata(path).ok()?.modified().ok()?;
        let since = time.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Some(Wall(i64::try_from(since.as_millis()).unwrap_or(i64::MAX)))
    }
}

/// A glob as the tailer understands it: `*` does not cross `/`.
pub(super) fn glob(pattern: &str) -> Result<globset::Glob, globset::Error> {
    globset::GlobBuilder::new(pattern).literal_separator(true).build()
}

/// Has it any character that is more than itself in a glob?
pub(super) fn is_glob(pattern: &str) -> bool {
    pattern.contains(['*', '?', '[', '{'])
}

/// The folder above the first part of a path that is a glob: what must be watched for new matches.
pub(super) fn literal_dir(pattern: &str) -> PathBuf {
    let path = Path::new(pattern);
    let mut dir: PathBuf =
        path.components().take_while(|c| !is_glob(&c.as_os_str().to_string_lossy())).collect();
    if dir == path {
        dir.pop();
    }
    if dir.as_os_str().is_empty() {
        dir.push(".");
    }
    dir
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_finds_its_files_and_no_deeper() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.toml", "a.toml", "c.txt"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        std::fs::create_dir(dir.path().join("deep")).unwrap();
        std::fs::write(dir.path().join("deep/d.toml"), "").unwrap();
        let find = |pattern: &str| {
            let mut found = Disk.glob(&format!("{}/{pattern}", dir.path().display()));
            found.sort();
            let names = found.iter().map(|p| p.strip_prefix(dir.path()).unwrap().display().to_string());
            names.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(find("*.toml"), "a.toml b.toml");
        assert_eq!(find("*/*.toml"), "deep/d.toml");
        assert_eq!(find("**/*.toml"), "a.toml b.toml deep/d.toml");
        assert_eq!(find("a.toml"), "a.toml");
        assert_eq!(find("none.toml"), "");
    }

    #[test]
    fn the_folder_to_watch_is_the_one_above_the_first_star() {
        let dir = |p| literal_dir(p).display().to_string();
        assert_eq!([dir("/etc/x/*.toml"), dir("/etc/x/y.toml"), dir("/*/y")], ["/etc/x", "/etc/x", "/"]);
        assert_eq!([dir("*.toml"), dir("y.toml")], [".", "."]);
    }

    #[test]
    fn only_regular_files_are_read() {
        let fault = Disk.read(Path::new("/dev/null")).unwrap_err();
        assert_eq!(fault.to_string(), "not a regular file");
    }
}
