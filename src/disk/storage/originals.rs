//! An Originals that is a disk of its own, mounted within Storage.
//!
//! Storage's marker says nothing of that disk: it gets the same marker, and Storage remembers that it belongs there. Without
//! it the empty mount point would be filed into.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir};
use rustix::io::Errno;

use super::{
    MARKER, MARKER_SAYS, Mark, NEW_MARKER, ORIGINALS, Place, StorageId, Unusable, failing, mark_in,
    write_mark,
};
use crate::disk::{DiskError, Snapshot, open_below, stat_file};

/// The name in Storage of the memory that Originals is a disk of its own.
const MEMORY: &str = ".photo-factory-originals";

/// Under this name it is written before it gets its own.
const NEW_MEMORY: &str = ".photo-factory-originals.new";

/// What follows the id in it.
const MEMORY_SAYS: &str = "\
This file tells Photo Factory that Originals is a disk of its own, with the same id in its marker .photo-factory-storage:
while that disk is not mounted here, nothing is filed.
";

impl Place {
    /// Opens Originals, and makes sure that it is on the disk that it was on. Storage itself, where it could not be made.
    pub(super) fn originals(&self, root: &OwnedFd, id: StorageId) -> Result<OwnedFd, Unusable> {
        let path = self.originals_path();
        let look_at = DiskError::io("look at", &path);
        let failed = |errno: Errno| failing(&look_at(errno.into()));
        let Ok(originals) = open_below(root, Path::new(ORIGINALS)) else {
            return open_below(root, Path::new("")).map_err(failed);
        };
        let is_own = is_own_disk(root, &originals).map_err(failed)?;
        let is_remembered = self.is_remembered(root).map_err(|error| failing(&error))?;
        if !is_own && !is_remembered {
            return Ok(originals);
        }
        let marked =
            mark_in(Some(&originals), &path.join(MARKER)).map_err(|error| failing(&error))?;
        match marked {
            Mark::Is(found) if found == id => {
                if !is_remembered {
                    self.remember_originals(root, id)
                        .map_err(|error| failing(&error))?;
                }
            }
            // The first look at it.
            Mark::Missing if !is_remembered && (!self.has_photos || !is_empty(&originals)) => {
                self.mark_originals(root, &originals, id)
                    .map_err(|error| failing(&error))?;
            }
            _ => return Err(self.is_another_originals(is_own)),
        }
        Ok(originals)
    }

    fn is_another_originals(&self, is_own: bool) -> Unusable {
        let path = self.originals_path();
        let path = path.display();
        let what = if is_own {
            format!("{path} is not the disk it was: its marker {MARKER} is missing or another's")
        } else {
            format!("The disk of {path} is not mounted")
        };
        Unusable::Away(format!(
            "{what}. Photos wait in the inbox, nothing is written there, and work goes on by itself when that disk is mounted. If you \
             changed it on purpose, copy the photos to where they are to be and type `photo-factory doctor --accept-storage`."
        ))
    }

    /// Takes Originals as it is, because the owner says so. Returns whether that is news.
    pub(super) fn accept_originals(
        &self,
        root: &OwnedFd,
        id: StorageId,
    ) -> Result<bool, DiskError> {
        let path = self.originals_path();
        let failed = |errno: Errno| DiskError::io("look at", &path)(errno.into());
        let Ok(originals) = open_below(root, Path::new(ORIGINALS)) else {
            return Ok(false);
        };
        let is_remembered = self.is_remembered(root)?;
        if is_own_disk(root, &originals).map_err(failed)? {
            let marked = mark_in(Some(&originals), &path.join(MARKER))?;
            if is_remembered && marked == Mark::Is(id) {
                return Ok(false);
            }
            self.mark_originals(root, &originals, id)?;
            return Ok(true);
        }
        if is_remembered {
            rustix::fs::unlinkat(root, MEMORY, AtFlags::empty())
                .and_then(|()| rustix::fs::fsync(root))
                .map_err(|errno| {
                    DiskError::io("remove", &self.storage.join(MEMORY))(errno.into())
                })?;
        }
        Ok(is_remembered)
    }

    fn is_remembered(&self, root: &OwnedFd) -> Result<bool, DiskError> {
        mark_in(Some(root), &self.storage.join(MEMORY)).map(|mark| mark != Mark::Missing)
    }

    fn mark_originals(
        &self,
        root: &OwnedFd,
        originals: &OwnedFd,
        id: StorageId,
    ) -> Result<(), DiskError> {
        let path = self.originals_path();
        write_mark(originals, &path, (NEW_MARKER, MARKER), id, MARKER_SAYS)?;
        self.remember_originals(root, id)?;
        log::info!(
            "{} is a disk of its own, and marked as such",
            path.display()
        );
        Ok(())
    }

    fn remember_originals(&self, root: &OwnedFd, id: StorageId) -> Result<(), DiskError> {
        let names = (NEW_MEMORY, MEMORY);
        write_mark(root, &self.storage, names, id, MEMORY_SAYS)
    }

    pub(super) fn originals_path(&self) -> PathBuf {
        self.storage.join(ORIGINALS)
    }
}

/// Whether Originals is on another file system than Storage.
pub(super) fn is_own_disk(root: &OwnedFd, originals: &OwnedFd) -> rustix::io::Result<bool> {
    let device = |folder: &OwnedFd| stat_file(folder).map(|stat| Snapshot::of(&stat).device);
    Ok(device(root)? != device(originals)?)
}

/// Whether it holds nothing but what a new file system has.
fn is_empty(folder: &OwnedFd) -> bool {
    const OF_THE_SYSTEM: [&[u8]; 3] = [b".", b"..", b"lost+found"];
    let Ok(entries) = Dir::read_from(folder) else {
        return false;
    };
    entries
        .flatten()
        .all(|entry| OF_THE_SYSTEM.contains(&entry.file_name().to_bytes()))
}
