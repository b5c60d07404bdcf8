//! The journal: what stands in for the ledger while that is down. One append-only file, `Data/journal.jsonl`; FORMAT.md says
//! what is in it. In memory are the keys by which a row is found, and the rows of what is on its way.

mod changes;
mod file;
mod line;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;

use super::error::{LedgerError, Trouble};
use super::names::Hints;
use super::tables::Key;
use crate::asset::{Asset, AssetId, FileHash, in_order};
pub(super) use file::{ASIDE, NAME};
use file::{JournalFile, Span};
#[cfg(test)]
pub(super) use line::FORMAT;
use line::Line;
pub use line::restored_line;

/// The ids that the journal gives begin here: the ledger's own never come so far.
pub(super) const FIRST_ID: u64 = 1 << 63;

/// What the journal holds, and what the ledger handed out before it failed.
pub(super) struct Journal {
    file: JournalFile,
    next_id: u64,
    /// By content and by final path, of all rows: (digest, id), as in the ledger.
    lookup: BTreeSet<(u64, u64)>,
    /// On their way.
    open: HashMap<u64, (Asset, Span)>,
    /// In Originals, and not in the ledger yet.
    finished: BTreeMap<u64, Span>,
    /// The ledger's intents that journeys of this process hold. After an older copy was put back one id may be given twice.
    handed_out: HashMap<(u64, FileHash), Asset>,
    /// Rows that the ledger refuses, because a row of its own that they meet can't be read.
    refused: HashSet<u64>,
    /// What became of the journal's rows in the ledger.
    folded: HashMap<u64, AssetId>,
    hints: Hints,
}

/// A row of the journal that was asked for.
pub(super) enum Found {
    /// It stands in Originals.
    Finished(Box<Asset>),
    /// It is on its way.
    Open,
}

impl Journal {
    /// Opens the journal in the Data folder, if there is one. `reading`: nothing is changed, not even a torn end.
    pub(super) fn open(data: &Path, reading: bool) -> Result<Self, LedgerError> {
        let mut journal = Self::with(JournalFile::open(data, reading)?);
        journal.replay()?;
        Ok(journal)
    }

    /// One that can't be used now: the ledger goes on without it, and it is tried again when it is needed.
    pub(super) fn unusable(data: &Path) -> Self {
        Self::with(JournalFile::closed(data))
    }

    fn with(file: JournalFile) -> Self {
        Self {
            file,
            next_id: FIRST_ID,
            lookup: BTreeSet::new(),
            open: HashMap::new(),
            finished: BTreeMap::new(),
            handed_out: HashMap::new(),
            refused: HashSet::new(),
            folded: HashMap::new(),
            hints: Hints::default(),
        }
    }

    /// Tries one that could not be used once more.
    pub(super) fn try_again(&mut self) -> Result<(), LedgerError> {
        if self.file.is_closed() {
            self.file = JournalFile::open(self.file.data(), false)?;
            if let Err(error) = self.replay() {
                let data = self.file.data().to_owned();
                self.file = JournalFile::closed(&data);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Whether it holds anything.
    pub(super) fn is_active(&self) -> bool {
        self.file.exists()
    }

    /// Files that stand in Originals and are not in the ledger yet.
    pub(super) fn waiting(&self) -> u64 {
        self.finished.len() as u64
    }

    /// Lines that can't be read.
    pub(super) fn unreadable(&self) -> u64 {
        self.file.unreadable()
    }

    /// The journal's own intents, by id.
    pub(super) fn intents(&self) -> Vec<Asset> {
        let intents = self.open.values().map(|(asset, _)| asset.clone());
        in_order(intents, |asset| asset.id)
    }

    /// The row of a file that stands in Originals and is not in the ledger yet.
    pub(super) fn finished(&self, promised: &Asset) -> Option<AssetId> {
        match self.find_own(&Key::final_path(&promised.final_path)) {
            Some(Found::Finished(row)) if row.is_same_file(promised) => Some(row.id),
            _ => None,
        }
    }

    pub(super) fn hand_out(&mut self, asset: &Asset) {
        self.folded.remove(&asset.id.0);
        let key = (asset.id.0, asset.file_hash);
        self.handed_out.insert(key, asset.clone());
    }

    pub(super) fn take_in(&mut self, asset: &Asset) {
        self.handed_out.remove(&(asset.id.0, asset.file_hash));
    }

    /// The row in the ledger that a row of the journal became.
    pub(super) fn row_of(&self, id: AssetId) -> Option<AssetId> {
        self.folded.get(&id.0).copied()
    }

    /// The rows in Originals from that id on, at most so many, by id. One that can't be read is logged and passed over.
    pub(super) fn page(&self, from: AssetId, limit: usize) -> Vec<Asset> {
        let rows = self.finished.range(from.0..);
        rows.filter_map(|(id, span)| self.row(*id, *span))
            .take(limit)
            .collect()
    }

    /// The newest rows, at most so many.
    pub(super) fn newest(&self, limit: usize) -> Vec<Asset> {
        let rows = self.finished.iter().rev();
        rows.filter_map(|(id, span)| self.row(*id, *span))
            .take(limit)
            .collect()
    }

    /// Whether a name in Originals is claimed by a row of the journal.
    pub(super) fn claims(&self, path: &Path) -> bool {
        self.find_own(&Key::final_path(path)).is_some()
    }

    /// The row with that key; the ledger's intents that are handed out are among them.
    fn find(&self, key: &Key) -> Option<Found> {
        self.find_own(key).or_else(|| {
            let is_held = self.handed_out.values().any(|row| key.fits(row));
            is_held.then_some(Found::Open)
        })
    }

    /// The journal's own row with that key.
    pub(super) fn find_own(&self, key: &Key) -> Option<Found> {
        let digest = key.digest();
        for (_, id) in self.lookup.range((digest, 0)..=(digest, u64::MAX)) {
            if let Some(span) = self.finished.get(id) {
                let row = self.row(*id, *span).filter(|row| key.fits(row));
                if let Some(row) = row {
                    return Some(Found::Finished(Box::new(row)));
                }
            } else if self.open.get(id).is_some_and(|(row, _)| key.fits(row)) {
                return Some(Found::Open);
            }
        }
        None
    }

    /// Rows in Originals that the ledger can take in now: those whose leader is not on its way and does not wait itself.
    /// At most so many.
    pub(super) fn foldable(&mut self, limit: usize) -> Vec<Asset> {
        let (mut rows, mut unreadable) = (Vec::new(), Vec::new());
        for (id, span) in &self.finished {
            if rows.len() >= limit {
                break;
            }
            if self.refused.contains(id) {
                continue;
            }
            let Some(row) = self.row(*id, *span) else {
                unreadable.push(*id);
                continue;
            };
            let waits = row.paired_with.is_some_and(|leader| {
                let is_finished = self.finished.contains_key(&leader.0);
                is_finished && !self.refused.contains(&leader.0)
                    || self.open.contains_key(&leader.0)
            });
            if !waits {
                rows.push(row);
            }
        }
        for id in unreadable {
            log::error!(
                "a row of the journal {} can't be read any more: the disk is failing. Its photo stands in Originals, and `photo-factory rebuild` finds it",
                self.file.path().display()
            );
            self.finished.remove(&id);
            self.file.note_unreadable();
        }
        rows
    }

    /// The ledger refuses this row for a reason of its own.
    pub(super) fn refuse(&mut self, row: &Asset) {
        self.refused.insert(row.id.0);
    }

    /// How many rows the ledger refuses.
    pub(super) fn refused(&self) -> u64 {
        self.refused.len() as u64
    }

    /// Another ledger may take what the last one refused.
    pub(super) fn offer_again(&mut self) {
        self.refused.clear();
    }

    /// A row is in the ledger, durable, as `became`.
    pub(super) fn fold(&mut self, row: &Asset, became: AssetId) {
        self.finished.remove(&row.id.0);
        self.take_in(row);
        self.leave_out(row);
        self.folded.insert(row.id.0, became);
    }

    /// Removes the file when nothing in it is needed any more. A cut that brings it back does no harm: to take its rows in
    /// again changes nothing.
    pub(super) fn end_if_done(&mut self) -> Result<(), LedgerError> {
        if self.is_active() && self.open.is_empty() && self.finished.is_empty() {
            self.lookup.clear();
            self.hints = Hints::default();
            self.file.remove()?;
        }
        Ok(())
    }

    /// Everything anew from the file: at the start, and after a change that was not recorded.
    fn replay(&mut self) -> Result<(), LedgerError> {
        self.lookup.clear();
        self.open.clear();
        self.finished.clear();
        self.hints = Hints::default();
        let mut file = std::mem::take(&mut self.file);
        let read = file.read(|line, span| self.apply(line, span));
        self.file = file;
        read
    }

    fn apply(&mut self, line: Line, span: Span) {
        match line {
            Line::Begin { .. } => {}
            Line::Intend(asset) => {
                self.next_id = self.next_id.max(asset.id.0 + 1);
                self.enter(&asset);
                self.open.insert(asset.id.0, (asset, span));
            }
            Line::File(asset) => {
                if asset.id.0 >= FIRST_ID {
                    self.next_id = self.next_id.max(asset.id.0 + 1);
                }
                self.folded.remove(&asset.id.0);
                self.enter(&asset);
                self.finished.insert(asset.id.0, span);
            }
            Line::Finish(id) => {
                if let Some((_, span)) = self.open.remove(&id.0) {
                    self.finished.insert(id.0, span);
                }
            }
            Line::Withdraw(id) => {
                if let Some((asset, _)) = self.open.remove(&id.0) {
                    self.leave_out(&asset);
                    self.hints = Hints::default();
                }
            }
        }
    }

    fn row(&self, id: u64, span: Span) -> Option<Asset> {
        match self.file.line(span) {
            Some(Line::Intend(asset) | Line::File(asset)) if asset.id.0 == id => Some(asset),
            _ => None,
        }
    }

    fn keys(asset: &Asset) -> [(u64, u64); 2] {
        let content = Key::identity(asset.kind, asset.paired_with, asset.file_hash);
        [content, Key::final_path(&asset.final_path)].map(|key| (key.digest(), asset.id.0))
    }

    fn enter(&mut self, asset: &Asset) {
        self.lookup.extend(Self::keys(asset));
    }

    fn leave_out(&mut self, asset: &Asset) {
        for key in Self::keys(asset) {
            self.lookup.remove(&key);
        }
    }

    /// Writes lines to the file, durable; nothing of them counts after an error.
    fn append(&mut self) -> Result<(), Trouble> {
        self.file.write().map_err(Trouble::Journal)
    }
}
