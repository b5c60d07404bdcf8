//! Claiming ids and names for a shot: which of its files are new, and where they will stand.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::change::{Pairing, Shot, Verdict};
use super::commit::Books;
use super::error::Trouble;
use super::record::{decode_asset, encode_asset};
use super::tables::{self, Key};
use crate::asset::AssetId;

/// The longest file name that Linux's file systems take, in bytes.
const LONGEST_NAME: usize = 255;
/// How many suffixes are tried before a name is given up: only a folder that cannot be read comes this far.
const MOST_SUFFIXES: u32 = 1_000_000;

/// A member of a shot that is not known yet.
struct Newcomer {
    /// Its place in the shot.
    index: usize,
    id: AssetId,
    paired_with: Option<AssetId>,
}

impl Books<'_> {
    pub(super) fn intend(
        &mut self,
        shot: &Shot,
        now: Timestamp,
        is_free: &dyn Fn(&Path) -> bool,
    ) -> Result<Vec<Verdict>, Trouble> {
        // The leader's id is needed before any follower is looked up; a new leader has the next one.
        let mut leader: Option<Result<AssetId, ()>> = None;
        let mut verdicts: Vec<Option<Verdict>> = Vec::with_capacity(shot.members.len());
        let mut new: Vec<Newcomer> = Vec::new();
        let mut keys: Vec<Key> = Vec::new();
        for (index, draft) in shot.members.iter().enumerate() {
            let paired_with = match (draft.pairing, leader) {
                (Pairing::Leader, Some(Err(()))) => {
                    verdicts.push(Some(Verdict::InFlight));
                    continue;
                }
                (Pairing::Leader, Some(Ok(id))) => Some(id),
                (Pairing::With(id), _) if self.exists(id)? => Some(id),
                _ => None,
            };
            let key = Key::identity(draft.kind, paired_with, draft.file_hash);
            let verdict = self.verdict(&key, &keys)?;
            let id = AssetId(self.next_id);
            if index == 0 {
                leader = Some(match &verdict {
                    None => Ok(id),
                    Some(Verdict::New(asset) | Verdict::Known(asset)) => Ok(asset.id),
                    Some(Verdict::InFlight) => Err(()),
                });
            }
            if verdict.is_none() {
                keys.push(key);
                new.push(Newcomer {
                    index,
                    id,
                    paired_with,
                });
                self.next_id += 1;
            }
            verdicts.push(verdict);
        }
        let paths = self.names(shot, &new, is_free)?;
        for (newcomer, path) in new.iter().zip(paths) {
            let id = newcomer.id;
            let draft = &shot.members[newcomer.index];
            let asset = draft.to_asset(id, newcomer.paired_with, path, now);
            let bytes = encode_asset(&asset);
            self.intents.insert(id.0, bytes.as_slice())?;
            // What is answered is what is stored, to the last digit of its times.
            let asset = decode_asset(id.0, &bytes)?;
            self.enter(&asset)?;
            self.changed = true;
            verdicts[newcomer.index] = Some(Verdict::New(asset));
        }
        Ok(verdicts.into_iter().flatten().collect())
    }

    /// Known, in flight, or (None) new.
    fn verdict(&self, key: &Key, same_shot: &[Key]) -> Result<Option<Verdict>, Trouble> {
        if let Some(asset) = tables::find(&self.lookup, &self.assets, key)?
            .into_iter()
            .next()
        {
            return Ok(Some(Verdict::Known(asset)));
        }
        let in_flight =
            same_shot.contains(key) || !tables::find(&self.lookup, &self.intents, key)?.is_empty();
        Ok(in_flight.then_some(Verdict::InFlight))
    }

    /// A final path for each new member: one base name for all whose extensions differ. Two members with one extension
    /// (`a.jpg` and `a.JPG`) cannot share a name: the second goes to the next free one.
    fn names(
        &self,
        shot: &Shot,
        new: &[Newcomer],
        is_free: &dyn Fn(&Path) -> bool,
    ) -> Result<Vec<PathBuf>, Trouble> {
        let extension = |index: usize| shot.members[new[index].index].extension.as_os_str();
        let mut paths = vec![PathBuf::new(); new.len()];
        let mut taken = Vec::new();
        let mut rest: Vec<usize> = (0..new.len()).collect();
        while !rest.is_empty() {
            let mut seen = Vec::new();
            let (group, later) = rest.into_iter().partition::<Vec<_>, _>(|index| {
                let folded = tables::folded(extension(*index));
                let first = !seen.contains(&folded);
                seen.push(folded);
                first
            });
            let extensions: Vec<&OsStr> = group.iter().map(|index| extension(*index)).collect();
            for (index, path) in
                group
                    .into_iter()
                    .zip(self.free_names(shot, &extensions, &taken, is_free)?)
            {
                taken.push(Key::final_path(&path));
                paths[index] = path;
            }
            rest = later;
        }
        Ok(paths)
    }

    fn free_names(
        &self,
        shot: &Shot,
        extensions: &[&OsStr],
        taken: &[Key],
        is_free: &dyn Fn(&Path) -> bool,
    ) -> Result<Vec<PathBuf>, Trouble> {
        let longest = extensions
            .iter()
            .map(|extension| extension.len())
            .max()
            .unwrap_or_default();
        for number in 0..MOST_SUFFIXES {
            let suffix = if number == 0 {
                String::new()
            } else {
                format!("-{number}")
            };
            let stem = shortened(
                &shot.stem,
                LONGEST_NAME.saturating_sub(suffix.len() + longest),
            );
            let mut paths = Vec::with_capacity(extensions.len());
            for extension in extensions {
                let mut name = stem.clone();
                name.push(&suffix);
                name.push(extension);
                let path = shot.folder.join(name);
                if !self.is_unclaimed(&path, taken)? || !is_free(&path) {
                    break;
                }
                paths.push(path);
            }
            if paths.len() == extensions.len() {
                return Ok(paths);
            }
        }
        Err(Trouble::NoFreeName {
            wished: shot.folder.join(&shot.stem),
        })
    }

    fn is_unclaimed(&self, path: &Path, taken: &[Key]) -> Result<bool, Trouble> {
        let key = Key::final_path(path);
        Ok(!taken.contains(&key)
            && tables::find(&self.lookup, &self.assets, &key)?.is_empty()
            && tables::find(&self.lookup, &self.intents, &key)?.is_empty())
    }
}

/// The stem cut to `most` bytes, not within a UTF-8 character.
fn shortened(stem: &OsStr, most: usize) -> OsString {
    let bytes = stem.as_bytes();
    if bytes.len() <= most {
        return stem.to_owned();
    }
    let mut end = most;
    while end > 0 && bytes[end] & 0b1100_0000 == 0b1000_0000 {
        end -= 1;
    }
    OsString::from_vec(bytes[..end].to_vec())
}
