//! The changes of one batch, answered from the journal while the ledger is down.

use std::path::Path;

use jiff::Timestamp;

use super::super::change::{Adoption, Change, Outcome, Pairing, Shot, Verdict};
use super::super::error::{Trouble, guarded};
use super::super::names::names;
use super::super::record::{decode_asset, encode_asset};
use super::super::tables::Key;
use super::{FIRST_ID, Found, Journal, Line};
use crate::asset::{Asset, AssetId};

/// A member of a shot that is not known yet.
struct Newcomer {
    /// Its place in the shot.
    index: usize,
    id: AssetId,
    paired_with: Option<AssetId>,
}

impl Journal {
    /// Applies all changes, durable when it returns. After an error none of them is recorded. The second list is of the
    /// ledger's own intents that are to be taken back.
    pub(in super::super) fn commit(
        &mut self,
        changes: &[Change],
        now: Timestamp,
        is_free: &dyn Fn(&Path) -> bool,
    ) -> Result<(Vec<Outcome>, Vec<Asset>), Trouble> {
        let mut withdrawn = Vec::new();
        let done = guarded(|| {
            let outcomes = changes
                .iter()
                .map(|change| self.change(change, now, is_free, &mut withdrawn))
                .collect::<Result<Vec<_>, _>>()?;
            self.append()?;
            Ok(outcomes)
        });
        match done {
            Ok(outcomes) => Ok((outcomes, withdrawn)),
            Err(trouble) => {
                if let Err(error) = self.replay() {
                    log::error!("{error}");
                }
                Err(trouble)
            }
        }
    }

    fn change(
        &mut self,
        change: &Change,
        now: Timestamp,
        is_free: &dyn Fn(&Path) -> bool,
        withdrawn: &mut Vec<Asset>,
    ) -> Result<Outcome, Trouble> {
        match change {
            Change::Intend(shot) => {
                return self.intend(shot, true, now, is_free).map(Outcome::Intended);
            }
            Change::IntendBeside(shot) => {
                return self
                    .intend(shot, false, now, is_free)
                    .map(Outcome::Intended);
            }
            Change::Adopt(adoption) => return Ok(Outcome::Intended(self.adopt(adoption))),
            Change::Finish(promised) => return Ok(Outcome::Finished(self.finish(promised))),
            Change::Withdraw(promised) => self.withdraw(promised, withdrawn)?,
            Change::StageDone { id, .. } => {
                return Err(Trouble::NoSuchRow {
                    action: "record a stage of",
                    id: *id,
                });
            }
            // Why a file stays in the inbox is found out again by who looks at it.
            Change::Leave(_) | Change::Forget(_) => {}
        }
        Ok(Outcome::Done)
    }

    fn intend(
        &mut self,
        shot: &Shot,
        must_compare: bool,
        now: Timestamp,
        is_free: &dyn Fn(&Path) -> bool,
    ) -> Result<Vec<Verdict>, Trouble> {
        let mut leader: Option<Result<AssetId, ()>> = None;
        let mut verdicts: Vec<Option<Verdict>> = Vec::with_capacity(shot.members.len());
        let mut new: Vec<Newcomer> = Vec::new();
        let mut keys: Vec<Key> = Vec::new();
        let mut next_id = self.next_id;
        for (index, draft) in shot.members.iter().enumerate() {
            let paired_with = match (draft.pairing, leader) {
                (Pairing::Leader, Some(Err(()))) => {
                    verdicts.push(Some(Verdict::InFlight));
                    continue;
                }
                (Pairing::Leader, Some(Ok(id))) => Some(id),
                (Pairing::With(id), _) if self.may_lead(id) => Some(id),
                _ => None,
            };
            let key = Key::identity(draft.kind, paired_with, draft.file_hash);
            let verdict = match self.find(&key) {
                Some(Found::Finished(asset)) => Some(Verdict::Known(*asset)),
                Some(Found::Open) => Some(Verdict::InFlight),
                None => keys.contains(&key).then_some(Verdict::InFlight),
            };
            let id = AssetId(next_id);
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
                next_id += 1;
            }
            verdicts.push(verdict);
        }
        if must_compare && new.iter().any(|one| !is_free(&shot.name(one.index, 0))) {
            for one in new {
                verdicts[one.index] = Some(Verdict::Compare);
            }
            return Ok(verdicts.into_iter().flatten().collect());
        }
        let mut hints = std::mem::take(&mut self.hints);
        let members: Vec<usize> = new.iter().map(|newcomer| newcomer.index).collect();
        let paths = names(shot, &members, &mut hints, &|path| {
            Ok(self.find(&Key::final_path(path)).is_none() && is_free(path))
        })?;
        self.hints = hints;
        self.next_id = next_id;
        for (newcomer, path) in new.iter().zip(paths) {
            let draft = &shot.members[newcomer.index];
            let asset = draft.to_asset(newcomer.id, newcomer.paired_with, path, now);
            let asset = as_stored(&asset)?;
            self.record(Line::Intend(asset.clone()));
            verdicts[newcomer.index] = Some(Verdict::New(asset));
        }
        Ok(verdicts.into_iter().flatten().collect())
    }

    fn adopt(&mut self, adoption: &Adoption) -> Vec<Verdict> {
        let mut leader = None;
        let mut verdicts = Vec::with_capacity(adoption.shot.members.len());
        for (draft, path) in adoption.shot.members.iter().zip(&adoption.paths) {
            let paired_with = match draft.pairing {
                Pairing::Leader => leader,
                Pairing::With(id) if self.may_lead(id) => Some(id),
                Pairing::With(_) | Pairing::Alone => None,
            };
            let content = Key::identity(draft.kind, paired_with, draft.file_hash);
            let place = Key::final_path(path);
            let known = [content, place]
                .iter()
                .find_map(|key| match self.find(key) {
                    Some(Found::Finished(row)) => Some(*row),
                    _ => None,
                });
            let row = known.unwrap_or_else(|| {
                let id = AssetId(self.next_id);
                self.next_id += 1;
                let row = draft.to_asset(id, paired_with, path.clone(), adoption.ingested_at);
                self.record(Line::File(row.clone()));
                row
            });
            leader = leader.or(Some(row.id));
            verdicts.push(Verdict::Known(row));
        }
        verdicts
    }

    /// The row that holds the file from now on.
    fn finish(&mut self, promised: &Asset) -> AssetId {
        let id = promised.id;
        if self.open.contains_key(&id.0) {
            self.record(Line::Finish(id));
            return id;
        }
        if let Some(id) = self.finished(promised) {
            return id;
        }
        if id.0 >= FIRST_ID
            && let Some(row) = self.row_of(id)
        {
            return row;
        }
        // The ledger gave this one before it failed, and may have given its id before, to another.
        let mut row = promised.clone();
        if self.finished.contains_key(&id.0) {
            row.id = AssetId(self.next_id);
        }
        let id = row.id;
        self.record(Line::File(row));
        id
    }

    fn withdraw(&mut self, promised: &Asset, withdrawn: &mut Vec<Asset>) -> Result<(), Trouble> {
        let id = promised.id;
        let is_folded = id.0 >= FIRST_ID && self.folded.contains_key(&id.0);
        if is_folded || self.finished(promised).is_some() {
            return Err(Trouble::NoSuchRow {
                action: "withdraw",
                id,
            });
        }
        if self.open.contains_key(&id.0) {
            self.record(Line::Withdraw(id));
        } else if id.0 < FIRST_ID {
            withdrawn.push(promised.clone());
        }
        Ok(())
    }

    fn record(&mut self, line: Line) {
        let span = self.file.add(&line);
        self.apply(line, span);
    }

    /// Whether a row may be named as the photo that another belongs to. Of the ledger's rows that is seen when they are
    /// folded in.
    fn may_lead(&self, id: AssetId) -> bool {
        id.0 < FIRST_ID
            || self.open.contains_key(&id.0)
            || self.finished.contains_key(&id.0)
            || self.folded.contains_key(&id.0)
    }
}

/// What is answered is what is stored, to the last digit of its times.
fn as_stored(asset: &Asset) -> Result<Asset, Trouble> {
    decode_asset(asset.id.0, &encode_asset(asset))
}
