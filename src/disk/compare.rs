//! Verify before delete: the kept original is opened and compared now, and looked for again before an inbox name goes (P1, P2).

use std::path::Path;

use rustix::fs::FileType;
use rustix::io::Errno;

use super::keeper::Root;
use super::temporary::discard_temporary;
use super::vault::stat_in;
use super::{DiskError, Held, Kept, Snapshot, Vault, forget_pages, open_below, stat_file};
use crate::asset::Asset;

/// What stands where the ledger says that a file is kept.
#[derive(Debug)]
pub enum Compared {
    /// A durable file with the same bytes, another one than the file we hold.
    Kept(Kept),
    /// Nothing.
    Missing,
    /// Something with other bytes, or no file at all.
    Different,
    /// The very file we hold, reached by two ways: to clear it would be to lose it.
    SameFile,
}

impl Vault {
    /// Opens the kept original and compares its bytes, now and as the disk has them, with those of the file we hold (whose
    /// hash is the asset's). An original that shares its inode with that file is made a file of its own first.
    pub fn compare(&self, held: &Held, asset: &Asset) -> Result<Compared, DiskError> {
        let _at_work = self.watch().work(asset.size);
        let root = self.keeper.root()?;
        self.compare_in(&root, held, asset)
            .map_err(|error| self.keeper.judge(error))
    }

    fn compare_in(&self, root: &Root, held: &Held, asset: &Asset) -> Result<Compared, DiskError> {
        let parent = asset.final_path.parent().unwrap_or(Path::new(""));
        let mut opened = self.open_original(root, &asset.final_path)?;
        if opened.is_none() {
            match stat_in(root, &asset.final_path) {
                Err(Errno::NOENT) => return Ok(Compared::Missing),
                Err(errno) => return Err(self.failed("open", &asset.final_path)(errno)),
                // It may have been put back between the two looks, from another copy that came.
                Ok(_) => opened = self.open_original(root, &asset.final_path)?,
            }
        }
        let Some((file, seen)) = opened else {
            return Ok(Compared::Different);
        };
        let stat = stat_file(&file).map_err(self.failed("look at", &asset.final_path))?;
        if FileType::from_raw_mode(stat.stx_mode.into()) != FileType::RegularFile {
            return Ok(Compared::Different);
        }
        rustix::fs::fsync(&file).map_err(self.failed("sync", &asset.final_path))?;
        forget_pages(&file);
        if !self.has_hash(&file, asset)? {
            return Ok(Compared::Different);
        }
        let folder = open_below(&root.folder, parent).map_err(self.failed("open", parent))?;
        if stat.stx_nlink > 1 {
            // What an earlier attempt to part the two names left, when it was interrupted.
            let _nobody_is_parting = self.parting();
            discard_temporary(&folder, asset.id)
                .map_err(self.failed("remove our temporary file for", &asset.final_path))?;
        }
        let mut found = seen;
        if seen.same_inode(held.seen()) {
            if stat.stx_nlink < 2 {
                // One name, reached by two ways (a bind mount).
                return Ok(Compared::SameFile);
            }
            let parted = self.replace_by_copy(
                (&file, &seen),
                &folder,
                asset.id,
                &asset.file_hash,
                &asset.final_path,
            )?;
            if parted.is_none() {
                return Err(self.changed(asset));
            }
            let Some((_, now)) = self.open_original(root, &asset.final_path)? else {
                return Ok(Compared::Missing);
            };
            if now.same_inode(held.seen()) {
                return Ok(Compared::SameFile);
            }
            found = now;
        }
        rustix::fs::fsync(&folder).map_err(self.failed("sync the folder", parent))?;
        forget_pages(&file);
        Ok(Compared::Kept(Kept {
            final_path: asset.final_path.clone(),
            id: asset.id,
            file_hash: asset.file_hash,
            seen: found,
            shares_inode: false,
        }))
    }

    /// Whether the name in Originals, walked to anew, still leads to the file that was verified. Where inode numbers don't
    /// last (vfat under memory pressure) a `false` costs one more comparison.
    pub(super) fn still_stands(&self, kept: &Kept) -> bool {
        let stat = self.stat(&kept.final_path).ok().flatten();
        stat.is_some_and(|stat| Snapshot::of(&stat).same_inode(&kept.seen))
    }
}
