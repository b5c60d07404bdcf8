//! The good copies that `verify --repair` takes from a backup.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Verify, VerifyError};
use crate::asset::Original;
use crate::config::Config;
use crate::disk::{DiskError, Restored, Source, Vault};
use crate::factory;
use crate::ledger::place_before;
use crate::verify::ORIGINALS;

/// Where good copies come from, and where they go.
pub(super) struct Repair {
    from: PathBuf,
    backup: Source,
    vault: Vault,
}

/// What became of a repair.
pub(super) enum Outcome {
    /// The good copy stands; what stood in its place is kept there, relative to Storage.
    PutRight(Option<PathBuf>),
    /// Why not.
    Not(String),
}

impl Repair {
    pub(super) fn asked(asked: &Verify, config: &Config) -> Result<Option<Self>, VerifyError> {
        let from = match (asked.repair, &asked.from) {
            (false, None) => return Ok(None),
            (true, Some(from)) => from,
            (true, None) => {
                return Err(VerifyError::Arguments(
                    "--repair needs --from BACKUP: the folder with the good copies".to_owned(),
                ));
            }
            (false, Some(_)) => {
                return Err(VerifyError::Arguments(
                    "--from names where --repair takes good copies from: add --repair".to_owned(),
                ));
            }
        };
        if from.as_os_str().is_empty() {
            return Err(VerifyError::Arguments(
                "--from is empty: name the folder with the good copies (is a variable not set?)"
                    .to_owned(),
            ));
        }
        let backup = Source::open(from).map_err(|error| {
            VerifyError::Arguments(format!(
                "{error}; check --from, and that the backup's disk is mounted"
            ))
        })?;
        if is_storage_itself(from, &config.storage) {
            return Err(VerifyError::Arguments(format!(
                "{} is Storage itself: --from names another folder, with copies of it",
                from.display()
            )));
        }
        let vault = factory::vault(config, true, Arc::default());
        let from = from.clone();
        Ok(Some(Self {
            from,
            backup,
            vault,
        }))
    }

    /// Whether the backup has a file where a copy of this original would be.
    pub(super) fn has_copy(&self, original: &Original) -> bool {
        let mut places = places(original).into_iter();
        places.any(|place| matches!(self.backup.open_file(&place), Ok(Some(_))))
    }

    /// The refusal of a backup that has none.
    pub(super) fn has_none(&self) -> VerifyError {
        VerifyError::Arguments(format!(
            "{} has no copy of any photo in the ledger, and nothing was changed: --from names a copy of Storage or of its folder Originals; is the backup's disk mounted there?",
            self.from.display()
        ))
    }

    /// Removes an unfinished copy of ours; `false`: it is none.
    pub(super) fn discards_unfinished(&self, path: &Path) -> Result<bool, DiskError> {
        self.vault.discard_unfinished(path)
    }

    /// Puts the good copy in the place of an original, if there is one.
    pub(super) fn put_right(&self, original: &Original) -> Outcome {
        let mut reason = None;
        for place in places(original) {
            let restored = match self.backup.open_file(&place) {
                Ok(Some((file, seen))) => self.vault.restore((&file, &seen), original),
                Ok(None) => continue,
                Err(error) => Err(error),
            };
            match restored {
                Ok(Restored::Restored(aside)) => return Outcome::PutRight(aside),
                Ok(Restored::NotACopy) => {
                    reason = Some(
                        "the copy in the backup has other bytes than the ledger says".to_owned(),
                    );
                }
                Err(error) => reason = Some(error.to_string()),
            }
        }
        Outcome::Not(reason.unwrap_or_else(|| "the backup has no copy of it".to_owned()))
    }
}

/// Where the copy of an original may be, relative to the backup: a copy of Storage, or of Originals.
fn places(original: &Original) -> Vec<PathBuf> {
    // One whose place another photo took has its copy where it stood before.
    let before = place_before(&original.final_path);
    let mut places = Vec::new();
    for path in [Some(original.final_path.clone()), before]
        .into_iter()
        .flatten()
    {
        let below = path.strip_prefix(ORIGINALS).ok().map(Path::to_owned);
        places.push(path);
        places.extend(below);
    }
    places
}

/// Whether what is named as the backup is, or leads into, the folders that are to be repaired, by whatever name: the same
/// folder has the same device and inode.
fn is_storage_itself(from: &Path, storage: &Path) -> bool {
    let identity = |path: PathBuf| {
        let seen = std::fs::metadata(path).ok()?;
        Some((seen.dev(), seen.ino()))
    };
    let ours = [storage.to_owned(), storage.join(ORIGINALS)].map(identity);
    let theirs = [from.to_owned(), from.join(ORIGINALS)].map(identity);
    theirs
        .iter()
        .flatten()
        .any(|folder| ours.contains(&Some(*folder)))
}
