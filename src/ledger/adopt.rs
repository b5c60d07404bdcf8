//! Taking in files that stand in Originals already: from a journal, or from Originals when the ledger was lost.

use super::change::{Adoption, Pairing, Verdict};
use super::commit::Books;
use super::error::Trouble;
use super::names::displaced;
use super::record::encode_asset;
use super::tables::{self, Key};
use crate::asset::{Asset, AssetId, Kind};

impl Books<'_> {
    pub(super) fn adopt(&mut self, adoption: &Adoption) -> Result<Vec<Verdict>, Trouble> {
        let mut leader = None;
        let mut verdicts = Vec::with_capacity(adoption.shot.members.len());
        for (draft, path) in adoption.shot.members.iter().zip(&adoption.paths) {
            let paired_with = match draft.pairing {
                Pairing::Leader => leader,
                Pairing::With(id) if self.exists(id)? => Some(id),
                Pairing::With(_) | Pairing::Alone => None,
            };
            let row = draft.to_asset(AssetId(0), paired_with, path.clone(), adoption.ingested_at);
            let row = self.adopt_one(row)?;
            leader = leader.or(Some(row.id));
            verdicts.push(Verdict::Known(row));
        }
        Ok(verdicts)
    }

    /// Takes in a file that another ledger, or a journal, promised to record.
    pub(super) fn adopt_promised(&mut self, promised: &Asset) -> Result<AssetId, Trouble> {
        let mut row = promised.clone();
        row.paired_with = self.leader_of(promised)?;
        self.adopt_one(row).map(|row| row.id)
    }

    /// The photo that a promised file belongs to. In this ledger its id may be another photo's: what belongs together
    /// shares folder and base name.
    fn leader_of(&self, promised: &Asset) -> Result<Option<AssetId>, Trouble> {
        let Some(leader) = promised.paired_with else {
            return Ok(None);
        };
        let named = match tables::row(&self.assets, leader.0)? {
            Some(row) => Some(row),
            None => tables::row(&self.intents, leader.0)?,
        };
        if named.is_some_and(|row| row.is_beside(promised)) {
            return Ok(Some(leader));
        }
        for key in promised.shot_keys() {
            let photos = tables::find(&self.lookup, &self.assets, &Key::Shot(key))?;
            let photo = photos.into_iter().find(|row| {
                row.paired_with.is_none() && row.kind != Kind::Sidecar && row.is_beside(promised)
            });
            if let Some(photo) = photo {
                return Ok(Some(photo.id));
            }
        }
        Ok(None)
    }

    /// Another file really stands where the ledger has this one: its original was gone before. It keeps its row, under a
    /// name that nobody has, so that it is missed there, and found there when it comes again.
    fn displace(&mut self, mut row: Asset) -> Result<(), Trouble> {
        let stood = std::mem::take(&mut row.final_path);
        row.final_path = displaced(&stood, row.id);
        log::warn!(
            "{} was gone when another photo was filed under its name; row {} is kept for it as {}: send the photo again, or take it from a backup with `photo-factory verify --repair`",
            stood.display(),
            row.id.0,
            row.final_path.display()
        );
        if row.errors.is_empty() {
            self.add("with_errors", 1);
        }
        row.errors.push(format!(
            "its original {} is gone, and another photo stands in its place; sent again, or taken from a backup with `photo-factory verify --repair`, it is kept under a name of its own",
            stood.display()
        ));
        self.replace(&row)
    }

    fn adopt_one(&mut self, mut row: Asset) -> Result<Asset, Trouble> {
        let content = Key::identity(row.kind, row.paired_with, row.file_hash);
        let place = Key::final_path(&row.final_path);
        let known = tables::find(&self.lookup, &self.assets, &content)?;
        if let Some(known) = known.into_iter().next() {
            return Ok(known);
        }
        for known in tables::find(&self.lookup, &self.assets, &place)? {
            if known.file_hash == row.file_hash {
                return Ok(known);
            }
            // Names that differ in case only may stand side by side.
            if known.final_path == row.final_path {
                self.displace(known)?;
            }
        }
        let mut claimed = None;
        for intent in tables::find(&self.lookup, &self.intents, &place)? {
            if intent.file_hash == row.file_hash && intent.kind == row.kind {
                claimed = Some(intent);
            } else {
                // An interrupted claim: the name is another file's now.
                self.take_back(&intent)?;
            }
        }
        if claimed.is_none() {
            // Nor may the same content be on its way to a second place.
            for intent in tables::find(&self.lookup, &self.intents, &content)? {
                self.take_back(&intent)?;
            }
        }
        let intent = if let Some(intent) = claimed {
            intent
        } else {
            row.id = AssetId(self.next_id);
            self.next_id += 1;
            self.intents.insert(
                tables::id_key(row.id.0).as_slice(),
                encode_asset(&row).as_slice(),
            )?;
            self.enter(&row)?;
            row
        };
        let id = intent.id;
        self.complete(intent)?;
        let row = tables::row(&self.assets, id.0)?;
        row.ok_or(Trouble::NoSuchRow {
            action: "adopt",
            id,
        })
    }
}
