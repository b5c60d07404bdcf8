//! What interrupted work had come to, and what becomes of it.

use std::collections::HashMap;
use std::path::Path;

use rustix::io::Errno;

use super::keeper::Root;
use super::rename::claim;
use super::temporary::{discard_leftovers, discard_temporary, take_back, temporary_name};
use super::{DiskError, Source, Vault, open_below, stat_file};
use crate::asset::{Asset, AssetId};

/// What interrupted work had come to.
#[derive(Debug)]
pub enum Recovered {
    /// The original stands, whole and durable.
    Stands,
    /// Nothing stands at the claimed name.
    Nothing,
    /// Something else stands at the claimed name.
    SomethingElse,
}

impl Vault {
    /// Looks at what an interrupted placement of `asset` had come to, and removes its temporary files.
    pub fn recover(&self, asset: &Asset, inbox: &Source) -> Result<Recovered, DiskError> {
        let _at_work = self.watch().work(asset.size);
        let root = self.keeper.root()?;
        self.recover_in(&root, asset, inbox)
            .map_err(|error| self.keeper.judge(error))
    }

    /// Removes the temporary files that stand beside these originals: a kill while one was made a file of its own leaves
    /// one, and its row is finished, so that no intent leads to it.
    pub fn discard_leftovers(&self, assets: &[Asset]) -> Result<(), DiskError> {
        let root = self.keeper.root()?;
        let mut folders: HashMap<&Path, Vec<AssetId>> = HashMap::new();
        for asset in assets {
            let folder = asset.final_path.parent().unwrap_or(Path::new(""));
            folders.entry(folder).or_default().push(asset.id);
        }
        for (path, ids) in folders {
            // One that is gone, or can't be read, holds nothing that could be removed now.
            if let Ok(folder) = open_below(&root.folder, path) {
                discard_leftovers(&folder, &ids)
                    .map_err(self.failed("remove our temporary files in", path))?;
            }
        }
        Ok(())
    }

    fn recover_in(
        &self,
        root: &Root,
        asset: &Asset,
        inbox: &Source,
    ) -> Result<Recovered, DiskError> {
        let parent = asset.final_path.parent().unwrap_or(Path::new(""));
        let name = asset.final_path.file_name().unwrap_or_default();
        let folder = match open_below(&root.folder, parent) {
            Ok(folder) => folder,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(Recovered::Nothing),
            Err(errno) => return Err(self.failed("open the folder", parent)(errno)),
        };
        discard_temporary(&folder, asset.id)
            .map_err(self.failed("remove our temporary file for", &asset.final_path))?;
        let Some((file, seen)) = self.open_original(root, &asset.final_path)? else {
            return Ok(Recovered::Nothing);
        };
        if seen.size == 0 && asset.size > 0 {
            // vfat: a power cut between our rename and the sync after it leaves the name with nothing behind it.
            let failed = |errno| self.failed("take back the name", &asset.final_path)(errno);
            take_back(&folder, name).map_err(failed)?;
            return Ok(Recovered::Nothing);
        }
        let has_other_names = || stat_file(&file).is_ok_and(|stat| stat.stx_nlink > 1);
        let in_inbox = || has_other_names() && inbox.leads_to(&asset.inbox_path, &seen);
        if in_inbox() {
            // A link that was never finished, to a file that anybody may have written to since: the claim is taken back,
            // and the file is met in the inbox like any other.
            let temporary = temporary_name(asset.id);
            let failed = |errno| self.failed("take back the name", &asset.final_path)(errno);
            rustix::fs::renameat(&folder, name, &folder, &temporary).map_err(failed)?;
            if in_inbox() {
                take_back(&folder, &temporary).map_err(failed)?;
                return Ok(Recovered::Nothing);
            }
            claim(&folder, &temporary, name).map_err(failed)?;
        }
        if !self.has_hash(&file, asset)? {
            return Ok(Recovered::SomethingElse);
        }
        if has_other_names() {
            let parted = self.replace_by_copy(
                (&file, &seen),
                &folder,
                asset.id,
                &asset.file_hash,
                &asset.final_path,
            )?;
            if parted.is_none() {
                return Ok(Recovered::SomethingElse);
            }
        } else {
            self.make_durable(&file, &asset.final_path)?;
        }
        rustix::fs::fsync(&folder).map_err(self.failed("sync the folder", parent))?;
        Ok(Recovered::Stands)
    }
}
