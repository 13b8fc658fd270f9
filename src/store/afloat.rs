//! A start on a disk that may only be read: the state is taken from it by way of a copy, and lives in memory until the disk
//! can be written.
//!
//! SQLite cannot read a file with a write-ahead log, as a kill leaves it, without a lock that needs a file that can be
//! written. So both are copied to where files live in memory; the copy is read and removed again.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::StoreError;
use super::disk::Directory;
use super::image::Image;
use super::opening::{Unfit, load, salvage};

/// The state that lies in `dir`, and what was wrong with the file where that was damaged.
///
/// Errors: [`StoreError::Newer`], and [`StoreError::Dir`] where there is nowhere to copy it to.
pub(super) fn read(dir: &Directory) -> Read {
    if dir.is_new() {
        return Ok((Image::default(), None));
    }
    let own = std::env::var_os("RUNTIME_DIRECTORY").map(PathBuf::from);
    let places = own.into_iter().chain([PathBuf::from("/dev/shm"), std::env::temp_dir()]);
    let mut why = String::new();
    for place in places {
        match read_by(&place, dir) {
            Ok(Ok(read)) => return Ok(read),
            Ok(Err(newer)) => return Err(newer),
            Err(e) => {
                why = format!("it may only be read, and not by way of a copy in `{}`: {e}", place.display());
            }
        }
    }
    Err(StoreError::Dir { dir: dir.path().to_owned(), why })
}

/// What a start comes to.
type Read = Result<(Image, Option<String>), StoreError>;

/// By way of a copy there; fails where that can be none, for want of room as a rule.
fn read_by(place: &Path, dir: &Directory) -> io::Result<Read> {
    let scratch = Scratch::make_in(place)?;
    let copy = Directory::claim(&scratch.0).map_err(io::Error::other)?;
    fs::copy(dir.state_file(), copy.state_file())?;
    match fs::copy(dir.wal(), copy.wal()) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    match load(&copy) {
        Ok((_, image)) => Ok(Ok((image, None))),
        Err(Unfit::Unreadable(why)) => Ok(Ok((salvage(&copy.state_file()), Some(why)))),
        Err(Unfit::Told(StoreError::Newer { version, schema, known, .. })) => {
            Ok(Err(StoreError::Newer { path: dir.state_file(), version, schema, known }))
        }
        Err(Unfit::Told(e)) => Err(io::Error::other(e)),
    }
}

/// A directory of this process alone, gone with the value.
struct Scratch(PathBuf);

impl Scratch {
    fn make_in(place: &Path) -> io::Result<Scratch> {
        let path = place.join(format!("logherald-{:016x}", getrandom::u64().map_err(io::Error::other)?));
        // one that is there already is somebody else's
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Scratch(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // where it lives in memory it is gone with the next boot
        _ = fs::remove_dir_all(&self.0);
    }
}
