//! What can go wrong with the state, in words for the operator.
//!
//! A full disk is not among them once the state is open; see the module's essay.

use std::path::PathBuf;

use crate::message::RowId;

/// Why the state cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory's lock is held.
    #[error(
        "another logherald runs on the state directory `{}`\nhint: stop that one first, or give this one a \
         directory of its own with `--state DIR`", dir.display()
    )]
    Busy {
        /// The state directory.
        dir: PathBuf,
    },
    /// The directory cannot be made, or nothing can be written in it.
    #[error(
        "cannot use the state directory `{}`: {why}\nhint: it must be a directory that this user can write; \
         choose another with `--state DIR`", dir.display()
    )]
    Dir {
        /// The state directory.
        dir: PathBuf,
        /// What the system said.
        why: String,
    },
    /// The file is from a version to come.
    #[error(
        "the state file `{}` was written by logherald `{version}` in schema {schema}, and this is logherald `{}`, \
         which knows schemas up to {known}\nhint: install the newer version again, or start afresh in another \
         directory with `--state DIR`", path.display(), env!("CARGO_PKG_VERSION")
    )]
    Newer {
        /// The state file.
        path: PathBuf,
        /// The version that wrote it, as it named itself.
        version: String,
        /// Its schema.
        schema: i64,
        /// The newest schema that this version knows.
        known: i64,
    },
    /// No room to bring an older file to the present schema.
    #[error("the disk of the state directory `{}` is full\nhint: free some space there and start again", dir.display())]
    Full {
        /// The state directory.
        dir: PathBuf,
    },
    /// A row was added under an id that is taken by another.
    #[error("message `{}` is committed already with other words, and a committed message never changes", id.0)]
    Changed {
        /// The id.
        id: RowId,
    },
    /// SQLite failed in a way that nothing here can mend.
    #[error("the state file `{}` failed: {why}\nhint: see whether its disk is sound, and start again", path.display())]
    Broken {
        /// The state file.
        path: PathBuf,
        /// What SQLite said.
        why: String,
    },
    /// The store's thread has ended.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Starting again may help; the others need somebody who mends something first.
    pub fn may_pass(&self) -> bool {
        matches!(self, StoreError::Changed { .. } | StoreError::Broken { .. } | StoreError::Closed)
    }

    /// This user may not use the state directory.
    pub fn is_permission(&self) -> bool {
        matches!(self, StoreError::Dir { why, .. } if *why == std::io::ErrorKind::PermissionDenied.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // the others are met in `tests/store.rs`; these two need a disk that fails
    #[test]
    fn a_disk_that_fails_is_told_with_the_remedy() {
        let full = StoreError::Full { dir: "/var/lib/logherald".into() };
        assert_eq!(
            full.to_string(),
            "the disk of the state directory `/var/lib/logherald` is full\n\
             hint: free some space there and start again"
        );
        let broken = StoreError::Broken { path: "/s/state.db".into(), why: "disk I/O error".into() };
        assert_eq!(
            broken.to_string(),
            "the state file `/s/state.db` failed: disk I/O error\n\
             hint: see whether its disk is sound, and start again"
        );
        assert!(broken.may_pass() && !full.may_pass());
    }
}
