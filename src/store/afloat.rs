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
/// Errors: [`StoreError::Newer`], [`StoreError::Broken`], and [`StoreError::Dir`] where there is nowhere to copy it to.
pub(super) fn read(dir: &Directory) -> Result<(Image, Option<String>), StoreError> {
    if dir.is_new() {
        return Ok((Image::default(), None));
    }
    let path = dir.state_file();
    let fault = |e: io::Error| StoreError::Dir { dir: dir.path().to_owned(), why: e.to_string() };
    let scratch = Scratch::make().map_err(fault)?;
    let copy = Directory::claim(&scratch.0)?;
    fs::copy(&path, copy.state_file()).map_err(fault)?;
    match fs::copy(dir.wal(), copy.wal()) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(fault(e)),
        _ => {}
    }
    match load(&copy) {
        Ok((_, image)) => Ok((image, None)),
        Err(Unfit::Unreadable(why)) => Ok((salvage(&copy.state_file()), Some(why))),
        Err(Unfit::Told(StoreError::Newer { version, schema, known, .. })) => {
            Err(StoreError::Newer { path, version, schema, known })
        }
        Err(Unfit::Told(e)) => Err(StoreError::Broken { path, why: e.to_string() }),
    }
}

/// A directory of this process alone, gone with the value.
struct Scratch(PathBuf);

impl Scratch {
    /// Where a service has room of its own in memory, or anybody has.
    fn make() -> io::Result<Scratch> {
        let own = std::env::var_os("RUNTIME_DIRECTORY").map(PathBuf::from);
        let mut places = own.into_iter().chain([PathBuf::from("/dev/shm"), std::env::temp_dir()]);
        let mut made = Err(io::ErrorKind::ReadOnlyFilesystem.into());
        while let (Err(_), Some(place)) = (&made, places.next()) {
            made = Scratch::make_in(&place);
        }
        made
    }

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
