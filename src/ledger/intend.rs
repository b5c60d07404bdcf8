//! Claiming ids and names for a shot: which of its files are new, and where they will stand.

use std::cell::Cell;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::change::{Pairing, Shot, Verdict};
use super::commit::Books;
use super::error::Trouble;
use super::names::names;
use super::record::{decode_asset, encode_asset};
use super::tables::{self, Key};
use crate::asset::AssetId;

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
        may_compare: bool,
        now: Timestamp,
        is_free: &dyn Fn(&Path) -> bool,
    ) -> Result<Vec<Verdict>, Trouble> {
        let next_id = self.next_id;
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
                    Some(Verdict::InFlight | Verdict::Compare) => Err(()),
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
        let (paths, is_beside_unknown) = self.names(shot, &new, is_free)?;
        if may_compare && is_beside_unknown {
            self.next_id = next_id;
            for newcomer in new {
                verdicts[newcomer.index] = Some(Verdict::Compare);
            }
            return Ok(verdicts.into_iter().flatten().collect());
        }
        for (newcomer, path) in new.iter().zip(paths) {
            let id = newcomer.id;
            let draft = &shot.members[newcomer.index];
            let asset = draft.to_asset(id, newcomer.paired_with, path, now);
            let bytes = encode_asset(&asset);
            self.intents
                .insert(tables::id_key(id.0).as_slice(), bytes.as_slice())?;
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

    /// The names for these, and whether one that was passed over is taken by a file that no row knows: from the time after
    /// an older copy of the ledger was made, say, and it may be the same photo.
    fn names(
        &mut self,
        shot: &Shot,
        new: &[Newcomer],
        is_free: &dyn Fn(&Path) -> bool,
    ) -> Result<(Vec<PathBuf>, bool), Trouble> {
        let mut hints = std::mem::take(&mut self.hints);
        let members: Vec<usize> = new.iter().map(|newcomer| newcomer.index).collect();
        let is_beside_unknown = Cell::new(false);
        let named = names(shot, &members, &mut hints, &|path| {
            if !self.is_unclaimed(path)? {
                return Ok(false);
            }
            let is_free = is_free(path);
            is_beside_unknown.set(is_beside_unknown.get() || !is_free);
            Ok(is_free)
        });
        // A hint would have the next one pass the unknown file over.
        if !is_beside_unknown.get() {
            self.hints = hints;
        }
        named.map(|paths| (paths, is_beside_unknown.get()))
    }

    fn is_unclaimed(&self, path: &Path) -> Result<bool, Trouble> {
        let key = Key::final_path(path);
        Ok(tables::find(&self.lookup, &self.assets, &key)?.is_empty()
            && tables::find(&self.lookup, &self.intents, &key)?.is_empty())
    }
}
