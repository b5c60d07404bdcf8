//! Everything the ledger can be asked.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use jiff::civil::Date;
use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata};

use super::commit::{captured_key, ingested_key};
use super::error::Trouble;
use super::left::problems;
use super::record::{decode_asset, decode_left};
use super::tables::{self, Key, find, id_key, number, number_in, row};
use super::{Ledger, LedgerError, Totals};
use crate::asset::{Asset, AssetId, FileHash, Kind, Left, LeftBecause, Stage};

impl Ledger {
    /// The asset of that id; unfinished intents are none yet.
    pub fn asset(&self, id: AssetId) -> Result<Option<Asset>, LedgerError> {
        self.read(|txn| row(&txn.open_table(tables::ASSETS)?, id.0))
    }

    /// The asset with that content; never a sidecar, never an unfinished intent.
    pub fn by_hash(&self, hash: &FileHash) -> Result<Option<Asset>, LedgerError> {
        let found = self.by_key(&Key::Content(*hash))?;
        Ok(found.into_iter().next())
    }

    /// The assets whose `asset::shot_key(inbox_path)` is this.
    pub fn by_shot(&self, shot_key: &[u8]) -> Result<Vec<Asset>, LedgerError> {
        self.by_key(&Key::Shot(shot_key.to_vec()))
    }

    /// The assets with that `ContentIdentifier`.
    pub fn by_content_id(&self, content_id: &str) -> Result<Vec<Asset>, LedgerError> {
        self.by_key(&Key::ContentId(content_id.to_owned()))
    }

    /// The assets whose `paired_with` is this row.
    pub fn paired_to(&self, leader: AssetId) -> Result<Vec<Asset>, LedgerError> {
        self.by_key(&Key::PairedWith(leader))
    }

    /// The asset that stands at a path (relative to Storage), in whatever case it is written.
    pub fn by_final_path(&self, path: &Path) -> Result<Option<Asset>, LedgerError> {
        let mut found = self.by_key(&Key::final_path(path))?;
        let exact = found.iter().position(|row| row.final_path == path);
        Ok((!found.is_empty()).then(|| found.swap_remove(exact.unwrap_or(0))))
    }

    /// The newest assets, by id, the newest first.
    pub fn newest(&self, limit: usize) -> Result<Vec<Asset>, LedgerError> {
        self.read(|txn| {
            let assets = txn.open_table(tables::ASSETS)?;
            readable(assets.iter()?.rev(), limit)
        })
    }

    /// Assets from that id on, ascending. Rows that cannot be read are logged and passed over.
    pub fn page(&self, from: AssetId, limit: usize) -> Result<Vec<Asset>, LedgerError> {
        self.read(|txn| {
            let assets = txn.open_table(tables::ASSETS)?;
            readable(assets.range(id_key(from.0).as_slice()..)?, limit)
        })
    }

    /// Ids of assets that wait for a stage, the oldest first.
    pub fn waiting_for(&self, stage: Stage, limit: usize) -> Result<Vec<AssetId>, LedgerError> {
        self.read(|txn| {
            let todo = txn.open_table(tables::WAITING[stage as usize])?;
            todo.iter()?
                .take(limit)
                .map(|entry| Ok(AssetId(number_in(entry?.0.value()))))
                .collect()
        })
    }

    /// The ledger's own unfinished intents.
    pub(super) fn own_intents(&self) -> Result<Vec<Asset>, LedgerError> {
        self.read(|txn| {
            let intents = txn.open_table(tables::INTENTS)?;
            readable(intents.iter()?, usize::MAX)
        })
    }

    /// The row of a file left in the inbox.
    pub fn left(&self, inbox_path: &Path) -> Result<Option<Left>, LedgerError> {
        let path = inbox_path.as_os_str().as_bytes();
        let row = self.read(|txn| {
            let left = txn.open_table(tables::LEFT)?;
            left.get(path)?
                .map(|bytes| decode_left(path, bytes.value()))
                .transpose()
        });
        match row {
            Err(error) if error.is_outage() && self.is_down() => {
                Ok(self.left_meanwhile(inbox_path))
            }
            row => row,
        }
    }

    /// Files left in the inbox: the problems first, the newest of them first; then those kept on purpose, by path.
    pub fn all_left(&self, limit: usize) -> Result<Vec<Left>, LedgerError> {
        self.read(|txn| {
            let mut found = problems(txn, &[], limit)?;
            for entry in txn.open_table(tables::LEFT)?.iter()? {
                if found.len() >= limit {
                    break;
                }
                let (path, bytes) = entry?;
                let row = decode_left(path.value(), bytes.value())?;
                if matches!(row.why, LeftBecause::Kept(_)) {
                    found.push(row);
                }
            }
            Ok(found)
        })
    }

    /// Everything counted; costs the same however much there is.
    pub fn totals(&self) -> Result<Totals, LedgerError> {
        self.read(|txn| {
            let totals = txn.open_table(tables::TOTALS)?;
            let sum = |name: &str| number(&totals, name);
            let mut per_kind = Vec::new();
            for kind in Kind::ALL {
                let count = sum(&format!("kind:{}", kind.as_str()))?;
                if count > 0 {
                    per_kind.push((kind, count));
                }
            }
            let mut waiting = [0; 4];
            for (count, todo) in waiting.iter_mut().zip(tables::WAITING) {
                *count = txn.open_table(todo)?.len()?;
            }
            Ok(Totals {
                assets: sum("assets")?,
                bytes: sum("bytes")?,
                with_errors: sum("with_errors")?,
                guessed_dates: sum("guessed")?,
                left: sum("left")?,
                intents: txn.open_table(tables::INTENTS)?.len()?,
                per_kind,
                waiting,
            })
        })
    }

    /// Photos and videos captured on each day from `first` to `last`; days without any are left out.
    pub fn captured_per_day(
        &self,
        first: Date,
        last: Date,
    ) -> Result<Vec<(Date, u64)>, LedgerError> {
        self.per_day(&captured_key(first), &captured_key(last))
    }

    /// Photos and videos filed on each day (of the appliance's calendar) from `first` to `last`; days without any are
    /// left out.
    pub fn ingested_per_day(
        &self,
        first: Date,
        last: Date,
    ) -> Result<Vec<(Date, u64)>, LedgerError> {
        self.per_day(&ingested_key(first), &ingested_key(last))
    }

    fn per_day(&self, first: &str, last: &str) -> Result<Vec<(Date, u64)>, LedgerError> {
        self.read(|txn| {
            let totals = txn.open_table(tables::TOTALS)?;
            let mut days = Vec::new();
            if first > last {
                return Ok(days);
            }
            for entry in totals.range(first.as_bytes()..=last.as_bytes())? {
                let (key, count) = entry?;
                let day = key.value().rsplit(|byte| *byte == b':').next();
                let day = day.and_then(|day| std::str::from_utf8(day).ok());
                let number = day.and_then(|day| day.parse().ok());
                days.extend(
                    number
                        .and_then(tables::day_of_number)
                        .map(|day| (day, number_in(count.value()))),
                );
            }
            Ok(days)
        })
    }

    fn by_key(&self, key: &Key) -> Result<Vec<Asset>, LedgerError> {
        self.read(|txn| {
            let lookup = txn.open_table(tables::LOOKUP)?;
            find(&lookup, &txn.open_table(tables::ASSETS)?, key)
        })
    }

    pub(super) fn read<T>(
        &self,
        work: impl FnOnce(&ReadTransaction) -> Result<T, Trouble>,
    ) -> Result<T, LedgerError> {
        self.store.read(work)
    }
}

/// Up to `limit` rows; one that is damaged is logged, and does not hide the others.
fn readable<'a>(
    entries: impl Iterator<
        Item = Result<
            (
                redb::AccessGuard<'a, &'static [u8]>,
                redb::AccessGuard<'a, &'static [u8]>,
            ),
            redb::StorageError,
        >,
    >,
    limit: usize,
) -> Result<Vec<Asset>, Trouble> {
    let mut found = Vec::new();
    for entry in entries {
        if found.len() >= limit {
            break;
        }
        let (id, bytes) = entry?;
        match decode_asset(number_in(id.value()), bytes.value()) {
            Ok(asset) => found.push(asset),
            Err(Trouble::Record { row, what }) => {
                log::error!("{row} in the ledger cannot be read: {what}");
            }
            Err(other) => return Err(other),
        }
    }
    Ok(found)
}
