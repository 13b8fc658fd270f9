//! Logs of the past, for the desk: a file or an archive read once, from its first byte to its last.
//!
//! No position is kept, nothing is waited for, and nobody rotates what is read; everything else, from the encoding to
//! the joining of records, is what the tailer does with the same bytes. A [`Past`] reads what is on a disk, a [`Feed`]
//! takes what it is given.
//!
//! The surprising part is the name. A file is called as it was when its lines were written: what lies in
//! `auth.log.2.gz` was matched as `/var/log/auth.log`, and so a rule that reads only that reads it here.

use std::fmt;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::archive::{self, Ended};
use super::assemble::Recipe;
use super::discover::Globs;
use super::flow::{Flow, Origin};
use super::generation;
use super::handle::Handle;
use super::identity::read_full;
use super::reading::IDLE;
use super::troubles;
use super::{Input, SourceSpec};
use crate::line::Block;
use crate::time::{Now, Tick, Wall};

/// A log of the past.
pub struct Past {
    handle: Handle,
    recipe: Recipe,
    flow: Flow,
    file_no: u64,
    offset: u64,
    written: Wall,
    ended: bool,
}

impl Past {
    /// Opens a log, or the archive of one, to be read as `spec` says. `name` is how its lines' file is called, and
    /// `file_no` tells it from the others.
    pub fn open(path: &Path, spec: &SourceSpec, name: Arc<str>, file_no: u64) -> io::Result<Past> {
        let handle = Handle::open(path)?;
        let written = Wall(handle.look()?.mtime.div_euclid(1_000_000));
        let (recipe, flow) = (Recipe::of(spec), Flow::new(spec, name, true));
        Ok(Past { handle, recipe, flow, file_no, offset: 0, written, ended: false })
    }

    /// When it was last written: no line of it is younger.
    pub fn written(&self) -> Wall {
        self.written
    }

    /// Gives out the next lines, from at most `quantum` bytes more, as if they were read at `now`; `false`: that was
    /// all.
    pub fn read(&mut self, quantum: usize, now: Now, take: &mut dyn FnMut(&Block<'_>)) -> io::Result<bool> {
        if self.ended {
            return Ok(false);
        }
        let old = self.flow.buf.len();
        self.flow.buf.resize(old + quantum, 0);
        let read = read_full(&self.handle, &mut self.flow.buf[old..], self.offset);
        self.flow.buf.truncate(old + *read.as_ref().unwrap_or(&0));
        let n = read?;
        self.offset += n as u64;
        self.ended = n < quantum;
        let from = Origin { file_no: self.file_no, backlog: false, now };
        let mut give = |block: &Block<'_>| {
            take(block);
            Vec::new()
        };
        self.flow.give(&self.recipe, false, from, &mut give);
        if self.ended {
            self.flow.give(&self.recipe, true, from, &mut give);
        }
        Ok(!self.ended)
    }

    /// So long after its last line more may belong to a record; zero where each line is one.
    pub fn record_waits(&self) -> Duration {
        if self.recipe.joiner.is_none() { Duration::ZERO } else { IDLE }
    }

    /// Its text was read so far, in bytes.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// It is an archive.
    pub fn is_packed(&self) -> bool {
        self.handle.is_packed()
    }

    /// It is an archive that ended in damage: what it held behind that is not known.
    pub fn is_damaged(&self) -> bool {
        self.ended && matches!(self.handle.ended(), Some((_, Ended::Damaged)))
    }
}

impl fmt::Debug for Past {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Past")
            .field("offset", &self.offset)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

/// Lines that are given by hand, as those of one file of a source.
pub struct Feed {
    recipe: Recipe,
    flow: Flow,
    file_no: u64,
}

impl Feed {
    /// Nothing has come yet; see [`Past::open`].
    pub fn new(spec: &SourceSpec, name: Arc<str>, file_no: u64) -> Feed {
        Feed { recipe: Recipe::of(spec), flow: Flow::new(spec, name, true), file_no }
    }

    /// Takes `bytes`, and gives out the lines that are complete.
    pub fn push(&mut self, bytes: &[u8], backlog: bool, now: Now, take: &mut dyn FnMut(&Block<'_>)) {
        self.flow.buf.extend_from_slice(bytes);
        self.give(false, backlog, now, take);
    }

    /// When a record that waits for its next line has waited long enough.
    pub fn due(&self) -> Option<Tick> {
        self.flow.due()
    }

    /// Gives out the records that have waited long enough; at the end of the input, all.
    pub fn give(&mut self, at_end: bool, backlog: bool, now: Now, take: &mut dyn FnMut(&Block<'_>)) {
        let from = Origin { file_no: self.file_no, backlog, now };
        self.flow.give(&self.recipe, at_end, from, &mut |block| {
            take(block);
            Vec::new()
        });
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").field("file_no", &self.file_no).finish_non_exhaustive()
    }
}

/// Why `path` has no lines to read, in words with the remedy; `None` where it is a file.
pub fn no_log(path: &Path) -> Option<(String, Option<String>)> {
    match super::identity::look(path) {
        Ok(look) => super::identity::no_log(path, &look).map(|what| (what.to_owned(), None)),
        Err(e) => Some((format!("cannot be read: {}", troubles::plain(&e)), troubles::hint(&e))),
    }
}

/// The name under which the source would read, or has read, the file at `path`: its own, or that of the log whose
/// generation its name says that it is. `None`: the source does not ask for it.
pub fn log_of(path: &Path, spec: &SourceSpec) -> Option<PathBuf> {
    let Input::Files { globs, exclude } = &spec.input else { return None };
    let asked = Globs::new(globs, exclude);
    // what a source leaves out as an archive it has read before it was one
    let wanted = |path: &Path| asked.matches(path);
    if !archive::is_packed(path) && wanted(path) {
        return Some(path.to_owned());
    }
    let base = |name: Vec<u8>| path.with_file_name(std::ffi::OsString::from_vec(name));
    bases(path.file_name()?.as_bytes()).into_iter().map(base).find(|p| wanted(p)).or_else(|| {
        // an archive that the globs name as such
        wanted(path).then(|| path.to_owned())
    })
}

/// What the log may be called of which a file of this name is a generation.
fn bases(name: &[u8]) -> Vec<Vec<u8>> {
    use std::ffi::OsStr;
    let plain = archive::unpacked_name(name).unwrap_or(name);
    let mut found: Vec<Vec<u8>> = Vec::new();
    let mut add = |base: &[u8]| {
        let is =
            !base.is_empty() && generation::style(OsStr::from_bytes(name), OsStr::from_bytes(base)).is_some();
        if is && !found.iter().any(|b| b == base) {
            found.push(base.to_vec());
        }
    };
    add(plain);
    // `app.log.1`, `app.log-20260101`: without what is behind, the shortest suffix first
    for at in (1..plain.len()).rev() {
        add(&plain[..at]);
    }
    // `app.1.log`, `app-20260101.log`: without what is before the extension
    if let Some(dot) = plain.iter().rposition(|b| *b == b'.') {
        for at in (1..dot).rev() {
            add(&[&plain[..at], &plain[dot..]].concat());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::SourceNo;
    use crate::tail::{Encoding, Format, From, Join, Preset};

    fn spec(globs: &[&str], exclude: &[&str]) -> SourceSpec {
        let text = |all: &[&str]| all.iter().map(ToString::to_string).collect();
        SourceSpec {
            no: SourceNo(0),
            name: "files".into(),
            input: Input::Files { globs: text(globs), exclude: text(exclude) },
            from: From::End,
            max_line: 100,
            join: Join::None,
            format: Format::Plain,
            encoding: Encoding::default(),
        }
    }

    fn called(path: &str, globs: &[&str], exclude: &[&str]) -> Option<String> {
        log_of(Path::new(path), &spec(globs, exclude)).map(|p| p.display().to_string())
    }

    #[test]
    fn a_generation_is_called_as_its_log_was() {
        let auth = ["/var/log/auth.log"];
        for name in [
            "auth.log",
            "auth.log.1",
            "auth.log.2.gz",
            "auth.log-20261122",
            "auth.log-20261122.xz",
            "auth.log.old",
        ] {
            let found = called(&format!("/var/log/{name}"), &auth, &[]);
            assert_eq!(found.as_deref(), Some("/var/log/auth.log"), "{name}");
        }
        for name in ["auth.log.swp", "xauth.log", "auth", "sub/auth.log"] {
            assert_eq!(called(&format!("/var/log/{name}"), &auth, &[]), None, "{name}");
        }
        let found = called("/srv/app-20261122.log.gz", &["/srv/app.log"], &[]);
        assert_eq!(found.as_deref(), Some("/srv/app.log"));
        let found = called("/srv/a.log.1.gz", &["/srv/*.log"], &["*.gz"]);
        assert_eq!(found.as_deref(), Some("/srv/a.log"), "it was read before it was an archive");
        assert_eq!(called("/srv/secret.log", &["/srv/*.log"], &["secret*"]), None);
    }

    fn texts(past: &mut Past) -> Vec<String> {
        let mut all = Vec::new();
        let mut go_on = true;
        while go_on {
            go_on = past
                // small enough that a record is read in pieces
                .read(64 << 10, Now::default(), &mut |block| {
                    if block.records.is_empty() {
                        let text = String::from_utf8_lossy(block.bytes);
                        all.extend(text.trim_end_matches('\n').split('\n').map(ToOwned::to_owned));
                    }
                    let record = |r: &crate::line::Record| &block.bytes[r.start as usize..r.end as usize];
                    all.extend(block.records.iter().map(|r| String::from_utf8_lossy(record(r)).into_owned()));
                })
                .unwrap();
        }
        all
    }

    #[test]
    fn a_file_is_read_to_its_last_line_whether_that_has_an_end_or_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        let text = (0..60_000).fold(String::new(), |text, n| text + &format!("line {n}\n"));
        std::fs::write(&path, text.clone() + "last").unwrap();
        let mut past = Past::open(&path, &spec(&[], &[]), "a".into(), 1).unwrap();
        let got = texts(&mut past);
        assert_eq!((got.len(), got[59_999].as_str(), got[60_000].as_str()), (60_001, "line 59999", "last"));
        std::fs::write(&path, "one\n").unwrap();
        let whole = texts(&mut Past::open(&path, &spec(&[], &[]), "a".into(), 1).unwrap());
        assert_eq!(whole, ["one"], "no line stands behind the last newline");
        assert!(!past.is_damaged());

        std::fs::write(dir.path().join("a.log.zst"), zstd::encode_all(text.as_bytes(), 1).unwrap()).unwrap();
        let packed = dir.path().join("a.log.zst");
        let mut past = Past::open(&packed, &spec(&[], &[]), "a".into(), 1).unwrap();
        assert_eq!(texts(&mut past).len(), 60_000);
    }

    #[test]
    fn records_are_joined_across_reads_and_end_with_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        let text = "ERROR x\n\tat A.b(A.java:1)\n".repeat(40_000);
        std::fs::write(&path, text).unwrap();
        let spec = SourceSpec { join: Join::Preset(Preset::Java), ..spec(&[], &[]) };
        let got = texts(&mut Past::open(&path, &spec, "a".into(), 1).unwrap());
        assert_eq!(got.len(), 40_000);
        assert_eq!(got[39_999], "ERROR x\n\tat A.b(A.java:1)");
    }
}
