//! Names of ours in Storage that last for a moment: how they are made and removed.

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::Dir;

use super::{TEMPORARY_PREFIX, discard};
use crate::asset::AssetId;

/// The name of the file a copy is written to before it gets its final name: its own for every attempt.
pub(super) fn temporary_name(id: AssetId) -> OsString {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{}{count}.part", temporary_prefix(id)).into()
}

fn temporary_prefix(id: AssetId) -> String {
    format!("{TEMPORARY_PREFIX}{}-", id.0)
}

/// Removes the temporary files that interrupted attempts at this asset left.
pub(super) fn discard_temporary(folder: &OwnedFd, id: AssetId) -> rustix::io::Result<()> {
    discard_all(folder, &temporary_prefix(id))
}

/// Removes what interrupted attempts at any of these assets, all of this folder, left.
pub(super) fn discard_leftovers(folder: &OwnedFd, ids: &[AssetId]) -> rustix::io::Result<()> {
    let prefixes: Vec<String> = ids.iter().map(|id| temporary_prefix(*id)).collect();
    discard_where(folder, |name| {
        name.starts_with(TEMPORARY_PREFIX.as_bytes())
            && prefixes
                .iter()
                .any(|prefix| name.starts_with(prefix.as_bytes()))
    })
}

/// Removes the files of ours whose names begin so.
pub(super) fn discard_all(folder: &OwnedFd, prefix: &str) -> rustix::io::Result<()> {
    discard_where(folder, |name| name.starts_with(prefix.as_bytes()))
}

fn discard_where(folder: &OwnedFd, is_ours: impl Fn(&[u8]) -> bool) -> rustix::io::Result<()> {
    let mut found = false;
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        if is_ours(entry.file_name().to_bytes()) {
            discard(folder, OsStr::from_bytes(entry.file_name().to_bytes()))?;
            found = true;
        }
    }
    if found {
        // Once the ledger has forgotten the attempt, nobody would look for a file that a power cut brought back.
        rustix::fs::fsync(folder)?;
    }
    Ok(())
}

/// Removes a name of ours durably, before the ledger forgets that it may be there.
pub(super) fn take_back(folder: &OwnedFd, name: &OsStr) -> rustix::io::Result<()> {
    discard(folder, name)?;
    rustix::fs::fsync(folder)
}
