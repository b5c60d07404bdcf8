//! The changes of one transaction: every table is brought up to date together.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use redb::{ReadTransaction, ReadableTable, Table, WriteTransaction};

use super::change::{Change, Outcome};
use super::error::Trouble;
use super::facets::{self, Facet};
use super::names::Hints;
use super::record::{decode_asset, decode_left, encode_asset, encode_left};
use super::tables::{self, ByteTable, Key, id_key, number, set_number};
use crate::asset::{Asset, AssetId, Kind, Left, LeftBecause, Place, Stage};

/// All tables, open for writing.
pub(super) struct Books<'txn> {
    pub(super) assets: ByteTable<'txn>,
    pub(super) intents: ByteTable<'txn>,
    pub(super) lookup: Table<'txn, (u64, u64), ()>,
    by_time: Table<'txn, (u64, u64), ()>,
    todo: Vec<ByteTable<'txn>>,
    left: ByteTable<'txn>,
    problems: ByteTable<'txn>,
    totals: ByteTable<'txn>,
    meta: ByteTable<'txn>,
    /// What the totals change by: written once, at the end.
    sums: BTreeMap<String, i64>,
    pub(super) next_id: u64,
    first_id: u64,
    pub(super) changed: bool,
    /// Kept from one transaction to the next by who opens them.
    pub(super) hints: Hints,
}

impl<'txn> Books<'txn> {
    pub(super) fn open(txn: &'txn WriteTransaction) -> Result<Self, Trouble> {
        let meta = txn.open_table(tables::META)?;
        let next_id = number(&meta, "next_id")?.max(1);
        Ok(Self {
            assets: txn.open_table(tables::ASSETS)?,
            intents: txn.open_table(tables::INTENTS)?,
            lookup: txn.open_table(tables::LOOKUP)?,
            by_time: txn.open_table(tables::BY_TIME)?,
            todo: tables::WAITING
                .into_iter()
                .map(|todo| txn.open_table(todo))
                .collect::<Result<_, _>>()?,
            left: txn.open_table(tables::LEFT)?,
            problems: txn.open_table(tables::PROBLEMS)?,
            totals: txn.open_table(tables::TOTALS)?,
            meta,
            sums: BTreeMap::new(),
            next_id,
            first_id: next_id,
            changed: false,
            hints: Hints::default(),
        })
    }

    /// Writes what was gathered. Whether anything has changed: else nothing need be committed.
    pub(super) fn close(mut self, now: Timestamp) -> Result<bool, Trouble> {
        if !self.changed {
            return Ok(false);
        }
        if self.next_id != self.first_id {
            set_number(&mut self.meta, "next_id", self.next_id)?;
            if self.first_id == 1 {
                let now = u64::try_from(now.as_millisecond()).unwrap_or_default();
                set_number(&mut self.meta, "created", now)?;
            }
        }
        for (name, change) in std::mem::take(&mut self.sums) {
            if change != 0 {
                let before = number(&self.totals, &name)?;
                let after = before.saturating_add_signed(change);
                set_number(&mut self.totals, &name, after)?;
            }
        }
        Ok(true)
    }

    pub(super) fn apply(
        &mut self,
        change: &Change,
        now: Timestamp,
        is_free: &dyn Fn(&Path) -> bool,
    ) -> Result<Outcome, Trouble> {
        match change {
            Change::Intend(shot) | Change::IntendBeside(shot) => {
                let may_compare = matches!(change, Change::Intend(_));
                return self
                    .intend(shot, may_compare, now, is_free)
                    .map(Outcome::Intended);
            }
            Change::Adopt(adoption) => return self.adopt(adoption).map(Outcome::Intended),
            Change::Finish(promised) => return self.finish(promised).map(Outcome::Finished),
            Change::Withdraw(promised) => self.withdraw(promised)?,
            Change::Leave(left) => self.leave(left)?,
            Change::Forget(inbox_path) => self.forget(inbox_path)?,
            Change::StageDone {
                id,
                stage,
                at,
                place,
                error,
            } => self.stage_done(*id, *stage, *at, place.as_ref(), error.as_deref())?,
        }
        Ok(Outcome::Done)
    }

    pub(super) fn exists(&self, id: AssetId) -> Result<bool, Trouble> {
        Ok(self.assets.get(id_key(id.0).as_slice())?.is_some()
            || self.intents.get(id_key(id.0).as_slice())?.is_some())
    }

    fn finish(&mut self, promised: &Asset) -> Result<AssetId, Trouble> {
        let id = promised.id;
        if let Some(intent) = tables::row(&self.intents, id.0)?
            && intent.is_same_file(promised)
        {
            self.complete(intent)?;
            return Ok(id);
        }
        // Asked again after an answer that was lost.
        if tables::row(&self.assets, id.0)?.is_some_and(|row| row.is_same_file(promised)) {
            return Ok(id);
        }
        // Another ledger gave the promise: an older copy was put back since, or a journal stood in.
        self.adopt_promised(promised)
    }

    /// An intent becomes an asset.
    pub(super) fn complete(&mut self, mut asset: Asset) -> Result<(), Trouble> {
        let id = asset.id;
        self.intents.remove(id_key(id.0).as_slice())?;
        // It may have waited in the inbox for a reason that has passed.
        self.forget(&asset.inbox_path)?;
        self.assets
            .insert(id_key(id.0).as_slice(), encode_asset(&asset).as_slice())?;
        self.derive(&asset)?;
        self.changed = true;
        if let Some(leader) = asset.paired_with {
            if !self.exists(leader)? {
                asset.paired_with = None;
                self.replace(&asset)?;
            } else if asset.kind != Kind::Sidecar {
                self.answer_pairing(leader, id)?;
            }
        }
        Ok(())
    }

    /// What follows from an asset that is new here.
    fn derive(&mut self, asset: &Asset) -> Result<(), Trouble> {
        let id = asset.id.0;
        let moment = facets::moment(asset.captured.local);
        self.by_time.insert((u64::from(moment), id), ())?;
        for stage in Stage::ALL {
            let is_done = asset.stage_done_at[stage as usize].is_some();
            if !is_done && stage.wants(asset.kind, asset.location) {
                self.todo[stage as usize].insert(id_key(id).as_slice(), [].as_slice())?;
            }
        }
        self.count(asset);
        self.change_facets(asset, &[], &Facet::all_of(asset));
        Ok(())
    }

    fn change_facets(&mut self, asset: &Asset, before: &[Facet], after: &[Facet]) {
        let gone = before.iter().filter(|facet| !after.contains(facet));
        let come = after.iter().filter(|facet| !before.contains(facet));
        let changes = gone
            .map(|facet| (facet, -1))
            .chain(come.map(|facet| (facet, 1)));
        for (facet, change) in changes {
            for sum in facet
                .counts(asset.captured.day())
                .iter()
                .chain(&facet.total())
            {
                self.add(sum, change);
            }
        }
    }

    /// Makes, from the rows of format 1 and the left files, all that follows from them: its tables are empty.
    pub(super) fn derive_all(&mut self, txn: &ReadTransaction) -> Result<(), Trouble> {
        let [rows, _] = tables::ROWS_OF_1;
        for entry in txn.open_table(rows)?.iter()? {
            let (id, bytes) = entry?;
            match decode_asset(id.value(), bytes.value()) {
                Ok(asset) => self.derive(&asset)?,
                // It is no better off where it was; `verify` and the page tell of its file.
                Err(Trouble::Record { row, what }) => {
                    log::error!("{row} in the ledger cannot be read: {what}");
                }
                Err(other) => return Err(other),
            }
        }
        for entry in txn.open_table(tables::LEFT)?.iter()? {
            let (path, bytes) = entry?;
            let left = decode_left(path.value(), bytes.value())?;
            self.note_problem(&left)?;
        }
        self.changed = true;
        Ok(())
    }

    fn note_problem(&mut self, left: &Left) -> Result<(), Trouble> {
        if !matches!(left.why, LeftBecause::Kept(_)) {
            let key = tables::problem_key(left.since, &left.inbox_path);
            self.problems.insert(key.as_slice(), [].as_slice())?;
            self.add("left", 1);
        }
        Ok(())
    }

    /// Still and video name each other.
    fn answer_pairing(&mut self, leader: AssetId, follower: AssetId) -> Result<(), Trouble> {
        let row = match tables::row(&self.assets, leader.0)? {
            Some(row) => Some(row),
            None => tables::row(&self.intents, leader.0)?,
        };
        if let Some(mut row) = row
            && row.paired_with.is_none()
        {
            row.paired_with = Some(follower);
            self.replace(&row)?;
        }
        Ok(())
    }

    fn withdraw(&mut self, promised: &Asset) -> Result<(), Trouble> {
        let id = promised.id;
        match tables::row(&self.intents, id.0)? {
            Some(intent) if intent.is_same_file(promised) => return self.take_back(&intent),
            // The other's intent stays: see [`Change::Finish`].
            Some(_) => return Ok(()),
            None => {}
        }
        let is_kept =
            tables::row(&self.assets, id.0)?.is_some_and(|row| row.is_same_file(promised));
        if is_kept {
            return Err(Trouble::NoSuchRow {
                action: "withdraw",
                id,
            });
        }
        Ok(())
    }

    pub(super) fn take_back(&mut self, asset: &Asset) -> Result<(), Trouble> {
        let id = asset.id;
        self.leave_out(asset)?;
        self.intents.remove(id_key(id.0).as_slice())?;
        // Its name is free again.
        self.hints = Hints::default();
        let mut followers = tables::find(&self.lookup, &self.assets, &Key::PairedWith(id))?;
        followers.extend(tables::find(
            &self.lookup,
            &self.intents,
            &Key::PairedWith(id),
        )?);
        for mut follower in followers {
            follower.paired_with = None;
            self.replace(&follower)?;
        }
        self.changed = true;
        Ok(())
    }

    /// Takes back what was promised if it is an intent still, whatever else that id may be.
    pub(super) fn take_back_unanswered(&mut self, promised: &Asset) -> Result<(), Trouble> {
        let intent = tables::row(&self.intents, promised.id.0)?;
        match intent.filter(|intent| intent.is_same_file(promised)) {
            Some(intent) => self.take_back(&intent),
            None => Ok(()),
        }
    }

    fn stage_done(
        &mut self,
        id: AssetId,
        stage: Stage,
        at: Timestamp,
        place: Option<&Place>,
        error: Option<&str>,
    ) -> Result<(), Trouble> {
        let Some(mut asset) = tables::row(&self.assets, id.0)? else {
            return Err(Trouble::NoSuchRow {
                action: "record a stage of",
                id,
            });
        };
        let before = Facet::all_of(&asset);
        if let Some(error) = error {
            if asset.errors.is_empty() {
                self.add("with_errors", 1);
            }
            asset.errors.push(error.to_owned());
        } else {
            asset.stage_done_at[stage as usize] = Some(at);
        }
        if let Some(place) = place {
            asset.place = Some(place.clone());
        }
        self.change_facets(&asset, &before, &Facet::all_of(&asset));
        self.todo[stage as usize].remove(id_key(id.0).as_slice())?;
        self.assets
            .insert(id_key(id.0).as_slice(), encode_asset(&asset).as_slice())?;
        self.changed = true;
        Ok(())
    }

    fn leave(&mut self, left: &Left) -> Result<(), Trouble> {
        let path = left.inbox_path.as_os_str().as_bytes();
        let before = self
            .left
            .get(path)?
            .map(|bytes| decode_left(path, bytes.value()))
            .transpose()?;
        if let Some(mut before) = before {
            before.since = left.since;
            if before == *left {
                return Ok(());
            }
        }
        self.forget(&left.inbox_path)?;
        self.left.insert(path, encode_left(left).as_slice())?;
        self.note_problem(left)?;
        self.changed = true;
        Ok(())
    }

    fn forget(&mut self, inbox_path: &Path) -> Result<(), Trouble> {
        let path = inbox_path.as_os_str().as_bytes();
        let Some(before) = self
            .left
            .get(path)?
            .map(|bytes| decode_left(path, bytes.value()))
            .transpose()?
        else {
            return Ok(());
        };
        self.left.remove(path)?;
        if !matches!(before.why, LeftBecause::Kept(_)) {
            self.problems
                .remove(tables::problem_key(before.since, &before.inbox_path).as_slice())?;
            self.add("left", -1);
        }
        self.changed = true;
        Ok(())
    }

    /// Writes a row anew, with its look-up keys.
    pub(super) fn replace(&mut self, asset: &Asset) -> Result<(), Trouble> {
        let id = asset.id.0;
        let bytes = encode_asset(asset);
        let before = if let Some(before) = tables::row(&self.assets, id)? {
            self.assets
                .insert(id_key(id).as_slice(), bytes.as_slice())?;
            before
        } else if let Some(before) = tables::row(&self.intents, id)? {
            self.intents
                .insert(id_key(id).as_slice(), bytes.as_slice())?;
            before
        } else {
            return Ok(());
        };
        self.leave_out(&before)?;
        self.enter(asset)
    }

    pub(super) fn enter(&mut self, asset: &Asset) -> Result<(), Trouble> {
        for key in Key::all_of(asset) {
            self.lookup.insert((key.digest(), asset.id.0), ())?;
        }
        Ok(())
    }

    fn leave_out(&mut self, asset: &Asset) -> Result<(), Trouble> {
        for key in Key::all_of(asset) {
            self.lookup.remove((key.digest(), asset.id.0))?;
        }
        Ok(())
    }

    fn count(&mut self, asset: &Asset) {
        self.add("assets", 1);
        self.add("bytes", i64::try_from(asset.size).unwrap_or(i64::MAX));
        let bytes = i64::try_from(asset.size).unwrap_or(i64::MAX);
        let captured = asset.captured.day();
        // The day of filing is the owner's day, as the appliance's calendar says.
        let filed = asset.ingested_at.to_zoned(TimeZone::system()).date();
        self.add(&format!("kind:{}", asset.kind.as_str()), 1);
        self.add(&format!("bytes:{}", asset.kind.as_str()), bytes);
        self.add(&captured_year_key(captured.year()), bytes);
        self.add(&ingested_month_key("filed_bytes", filed), bytes);
        if !asset.errors.is_empty() {
            self.add("with_errors", 1);
        }
        if asset.kind == Kind::Sidecar {
            return;
        }
        if asset.captured.from.is_guess() {
            self.add("guessed", 1);
        }
        self.add(&captured_key(captured), 1);
        self.add(&captured_month_key(captured), 1);
        self.add(&ingested_key(filed), 1);
        self.add(&ingested_month_key("filed", filed), 1);
    }

    pub(super) fn add(&mut self, sum: &str, change: i64) {
        let entry = self.sums.entry(sum.to_owned()).or_default();
        *entry = entry.saturating_add(change);
    }
}

/// The total of photos captured on a day.
pub(super) fn captured_key(day: Date) -> String {
    format!("day:{:08}", tables::day_number(day))
}

/// The total of photos filed on a day.
pub(super) fn ingested_key(day: Date) -> String {
    format!("ingested:{:08}", tables::day_number(day))
}

/// The total of photos captured in a month.
fn captured_month_key(day: Date) -> String {
    format!("month:{:06}", tables::day_number(day) / 100)
}

/// The total of the bytes of what was captured in a year.
fn captured_year_key(year: i16) -> String {
    format!("year_bytes:{year:04}")
}

/// The total of what was filed in a month.
fn ingested_month_key(what: &str, day: Date) -> String {
    format!("{what}:{:06}", tables::day_number(day) / 100)
}
