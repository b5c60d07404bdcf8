//! Files in Originals that no row names.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{Finding, ORIGINALS, What};
use crate::asset::is_litter;
use crate::disk::{DiskError, EntryIs, Source, TEMPORARY_PREFIX, in_order_of_names};

/// The folders of Originals.
#[derive(Debug, Default)]
pub struct Folders {
    /// Originals itself the first, each before those in it, in the order of their names.
    pub readable: Vec<PathBuf>,
    /// Those that can't be read: another user's, or on a disk that fails there. The others are looked at all the same.
    pub unreadable: Vec<Finding>,
}

/// Finds the folders of Originals, but for those that belong to other programs. An error: Originals itself can't be read.
pub fn folders(storage: &Source) -> Result<Folders, DiskError> {
    let mut found = Folders::default();
    let mut waiting = vec![PathBuf::from(ORIGINALS)];
    while let Some(folder) = waiting.pop() {
        let entries = match storage.list(&folder) {
            Ok(entries) => entries,
            Err(error) if folder == Path::new(ORIGINALS) => return Err(error),
            Err(error) if error.is_gone() => continue,
            Err(error) => {
                let what = What::Unreadable(error.source.to_string());
                found.unreadable.push(Finding { path: folder, what });
                continue;
            }
        };
        let inner = in_order_of_names(entries)
            .into_iter()
            .rev()
            .filter(|entry| entry.is == EntryIs::Folder && !is_litter(&entry.name))
            .map(|entry| folder.join(entry.name));
        waiting.extend(inner);
        found.readable.push(folder);
    }
    Ok(found)
}

/// The files of one folder that nobody knows, in the order of their names; and what belongs to other programs, whose folders
/// are named and not entered. A folder that is gone has none.
pub fn strangers<E: From<DiskError>>(
    storage: &Source,
    folder: &Path,
    mut is_known: impl FnMut(&Path) -> Result<bool, E>,
) -> Result<Vec<Finding>, E> {
    let entries = match storage.list(folder) {
        Err(error) if error.is_gone() => return Ok(Vec::new()),
        listed => listed?,
    };
    let mut found = Vec::new();
    for entry in in_order_of_names(entries) {
        let path = folder.join(&entry.name);
        let is_folder = entry.is == EntryIs::Folder;
        let is_ours = !is_folder
            && entry
                .name
                .as_bytes()
                .starts_with(TEMPORARY_PREFIX.as_bytes());
        let what = if is_ours {
            What::Temporary
        } else if is_litter(&entry.name) {
            What::Litter
        } else {
            What::Unknown
        };
        let is_right = if is_folder {
            what != What::Litter
        } else {
            entry.is == EntryIs::File && is_known(&path)?
        };
        if is_right {
            continue;
        }
        found.push(Finding { path, what });
    }
    Ok(found)
}
