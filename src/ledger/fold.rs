//! Ledger or journal: which of the two is written, and how the journal's rows come into the ledger again.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::change::{Adoption, Change, Draft, Outcome, Pairing, Shot, Verdict};
use super::journal::{self, FIRST_ID, Found, Journal};
use super::store::lock;
use super::tables::Key;
use super::{Ledger, LedgerError};
use crate::asset::{Asset, AssetId, Left, LeftBecause};

/// Rows folded in with one commit.
const FOLDED_AT_ONCE: usize = 256;

/// How long the start waits for a ledger that another process has open, and how often it looks.
const IN_USE_FOR: Duration = Duration::from_secs(3);
const IN_USE_PAUSE: Duration = Duration::from_millis(50);

/// While the ledger is down, so many files that stay in the inbox are remembered: those beyond are read at each look.
const MOST_LEFT: usize = 20_000;

/// How the ledger can be used.
#[derive(Default)]
pub(super) struct Standing {
    down: Option<Down>,
    journaled: u64,
    /// Rows of the journal that the ledger refuses.
    refused: u64,
    /// Lines of the journal that can't be read.
    unreadable: u64,
    /// Why the journal can't be used, while it can't.
    pub(super) journal: Option<String>,
    /// Files that stay in the inbox, as long as the ledger is down: or each look would read them all.
    left: HashMap<PathBuf, Left>,
    reading: bool,
}

struct Down {
    reason: String,
    since: Option<Timestamp>,
}

/// A ledger that can't be used, while a journal stands in for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Degraded {
    /// What is the matter and what the owner can do, in whole sentences.
    pub reason: String,
    /// Since when, as far as it is known.
    pub since: Option<Timestamp>,
    /// Files that the journal holds for the ledger.
    pub journaled: u64,
    /// Why the journal can't be used either, and nothing is filed.
    pub journal: Option<String>,
}

impl Degraded {
    /// The reason, with what goes on meanwhile.
    pub fn sentence(&self) -> String {
        if let Some(journal) = &self.journal {
            return format!(
                "{}. Nothing can be filed meanwhile, and photos wait in the inbox: {}.",
                self.reason.trim_end_matches('.'),
                journal.trim_end_matches('.')
            );
        }
        let kept = match self.journaled {
            0 => "New photos are filed all the same and noted in the journal".to_owned(),
            1 => "New photos are filed all the same: one is noted in the journal".to_owned(),
            count => {
                format!("New photos are filed all the same: {count} files are noted in the journal")
            }
        };
        format!(
            "{}. {kept}, which goes into the ledger by itself when that is back.",
            self.reason.trim_end_matches('.')
        )
    }
}

impl Ledger {
    /// Applies all changes, durable when it returns. The outcomes are in the order of the changes.
    ///
    /// `is_free` says whether nothing stands at a path (relative to Storage) on the disk. While the ledger is down the
    /// changes go to the journal. After an error none
    /// is recorded, in either of them; every one may be asked for again.
    pub fn commit(
        &self,
        changes: &[Change],
        now: Timestamp,
        is_free: &dyn Fn(&Path) -> bool,
    ) -> Result<Vec<Outcome>, LedgerError> {
        let mut journal = lock(&self.journal);
        if self.is_down() {
            journal.offer_again();
        }
        let done = match self.commit_to_ledger(&mut journal, changes, now, is_free) {
            Err(error) if error.is_outage() => {
                self.note_down(&error, Some(now));
                self.commit_to_journal(&mut journal, changes, now, is_free)
            }
            done => done,
        };
        self.count(&journal);
        done
    }

    fn commit_to_journal(
        &self,
        journal: &mut Journal,
        changes: &[Change],
        now: Timestamp,
        is_free: &dyn Fn(&Path) -> bool,
    ) -> Result<Vec<Outcome>, LedgerError> {
        let done = journal.try_again().and_then(|()| {
            let done = journal.commit(changes, now, is_free);
            done.map_err(|trouble| trouble.at(self.path(), Some("use")))
        });
        let is_usable = done.as_ref().err().filter(|error| error.is_outage());
        lock(&self.standing).journal = is_usable.map(ToString::to_string);
        let (outcomes, withdrawn) = done?;
        for promised in withdrawn {
            journal.take_in(&promised);
            self.store.take_back_later(promised);
        }
        let mut standing = lock(&self.standing);
        for change in changes {
            match change {
                Change::Leave(left) if standing.left.len() < MOST_LEFT => {
                    standing.left.insert(left.inbox_path.clone(), left.clone());
                }
                Change::Forget(path) => {
                    standing.left.remove(path);
                }
                _ => {}
            }
        }
        Ok(outcomes)
    }

    /// To the ledger, with what waits in the journal before it.
    fn commit_to_ledger(
        &self,
        journal: &mut Journal,
        changes: &[Change],
        now: Timestamp,
        is_free: &dyn Fn(&Path) -> bool,
    ) -> Result<Vec<Outcome>, LedgerError> {
        // What the journal began it also ends; its rows then go the way of all others.
        let is_own = |change: &Change| match change {
            Change::Finish(promised) | Change::Withdraw(promised) => promised.id.0 >= FIRST_ID,
            _ => false,
        };
        let own: Vec<Change> = changes
            .iter()
            .filter(|change| is_own(change))
            .cloned()
            .collect();
        if own.is_empty() && !journal.is_active() && !self.is_down() {
            let outcomes = self.store.commit(changes, now, is_free)?;
            note_holders(journal, changes, &outcomes);
            return Ok(outcomes);
        }
        self.fold(journal, is_free)?;
        let mut own_answers = Vec::new();
        if !own.is_empty() {
            own_answers = self.commit_to_journal(journal, &own, now, is_free)?;
            self.fold(journal, is_free)?;
        }
        let mut own_answers = own_answers.into_iter();
        let mut answered: Vec<Option<Outcome>> = Vec::with_capacity(changes.len());
        let mut rest = Vec::new();
        for change in changes {
            let answer = match change {
                change if is_own(change) => own_answers.next().map(|answer| match answer {
                    Outcome::Finished(id) => Outcome::Finished(journal.row_of(id).unwrap_or(id)),
                    answer => answer,
                }),
                Change::Intend(shot) | Change::IntendBeside(shot) => {
                    on_its_way(journal, shot).map(Outcome::Intended)
                }
                _ => None,
            };
            if answer.is_none() {
                rest.push(translated(journal, change));
            }
            answered.push(answer);
        }
        let unclaimed = |path: &Path| !journal.claims(path) && is_free(path);
        let outcomes = self.store.commit(&rest, now, &unclaimed)?;
        note_holders(journal, &rest, &outcomes);
        self.note_up();
        let mut outcomes = outcomes.into_iter();
        let answers = answered
            .into_iter()
            .map(|answer| answer.or_else(|| outcomes.next()));
        Ok(answers.flatten().collect())
    }

    /// Brings the journal's rows into the ledger, as far as they stand in Originals, and removes it when it has none left.
    fn fold(
        &self,
        journal: &mut Journal,
        is_free: &dyn Fn(&Path) -> bool,
    ) -> Result<(), LedgerError> {
        let mut folded = 0;
        loop {
            let rows = journal.foldable(FOLDED_AT_ONCE);
            if rows.is_empty() {
                break;
            }
            let finishes: Vec<Change> = rows.iter().map(|row| folding(journal, row)).collect();
            let first = rows
                .first()
                .map_or(Timestamp::UNIX_EPOCH, |row| row.ingested_at);
            match self.store.commit(&finishes, first, is_free) {
                Ok(outcomes) => {
                    for (row, outcome) in rows.iter().zip(&outcomes) {
                        if let Outcome::Finished(became) = outcome {
                            journal.fold(row, *became);
                        }
                    }
                    folded += rows.len();
                }
                // One row that can't be taken in must not stop the others, nor what is asked for now.
                Err(error) if error.is_about_one_row() => {
                    folded += self.fold_one_by_one(journal, &rows, is_free)?;
                }
                Err(error) => return Err(error),
            }
        }
        // Also with nothing to fold: is it there at all?
        self.store.open()?;
        if folded > 0 {
            log::info!("{folded} files from the journal are in the ledger now");
        }
        journal.end_if_done()
    }

    fn fold_one_by_one(
        &self,
        journal: &mut Journal,
        rows: &[Asset],
        is_free: &dyn Fn(&Path) -> bool,
    ) -> Result<usize, LedgerError> {
        let mut folded = 0;
        for row in rows {
            let finish = [folding(journal, row)];
            match self.store.commit(&finish, row.ingested_at, is_free) {
                Ok(outcomes) => {
                    if let Some(Outcome::Finished(became)) = outcomes.first() {
                        journal.fold(row, *became);
                        folded += 1;
                    }
                }
                Err(error) if error.is_about_one_row() => {
                    log::error!("{} stays in the journal: {error}", row.final_path.display());
                    journal.refuse(row);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(folded)
    }

    /// At the start: opens the ledger, folds the journal in, or notes why that can't be. A `status` or `export` beside us
    /// holds the file for a moment: that is waited for.
    pub(super) fn begin(&self, reading: bool) -> Result<(), LedgerError> {
        let mut journal = lock(&self.journal);
        lock(&self.standing).reading = reading;
        let until = Instant::now() + IN_USE_FOR;
        let mut begun = self.store.open();
        while matches!(begun, Err(LedgerError::InUse { .. })) && Instant::now() < until {
            std::thread::sleep(IN_USE_PAUSE);
            begun = match self.store.open() {
                Err(LedgerError::Unavailable { .. }) => begun,
                opened => opened,
            };
        }
        match begun {
            Err(error @ LedgerError::InUse { .. }) if reading => return Err(error),
            Err(error) => self.note_down(&error, None),
            Ok(()) if reading => {}
            Ok(()) => {
                if let Err(error) = self.fold(&mut journal, &|_| true) {
                    self.note_down(&error, None);
                }
            }
        }
        self.count(&journal);
        Ok(())
    }

    /// A real small read and write; brings in what waits in the journal, if the ledger is back. The write is made durable if
    /// nothing was for an hour, else only gone through.
    pub fn probe(&self, now: Timestamp) -> Result<(), LedgerError> {
        let mut journal = lock(&self.journal);
        let probed = if journal.is_active() || self.is_down() {
            self.fold(&mut journal, &|_| true)
        } else {
            Ok(())
        }
        .and_then(|()| self.store.probe(now));
        match &probed {
            Ok(()) => self.note_up(),
            Err(error) if error.is_outage() => self.note_down(error, Some(now)),
            Err(_) => {}
        }
        self.count(&journal);
        probed
    }

    /// How long ago something was last made durable; `None`: nothing since the start.
    pub fn last_write(&self) -> Option<Duration> {
        self.store.last_write()
    }

    /// Why the ledger can't be used, while it can't. Waits for no disk.
    pub fn degraded(&self) -> Option<Degraded> {
        let standing = lock(&self.standing);
        standing.down.as_ref().map(|down| Degraded {
            reason: down.reason.clone(),
            since: down.since,
            journaled: standing.journaled,
            journal: standing.journal.clone(),
        })
    }

    /// How many files the journal in a Data folder holds for the ledger, whoever has that open. Changes nothing.
    pub fn journaled_in(data: &Path) -> Result<u64, LedgerError> {
        Journal::open(data, true).map(|journal| journal.waiting())
    }

    /// Where a journal with lines that can't be read is put once the others are in the ledger.
    pub fn journal_aside(data: &Path) -> PathBuf {
        data.join(journal::ASIDE)
    }

    /// Lines of the journal that can't be read. Waits for no disk.
    pub fn unreadable_lines(&self) -> u64 {
        lock(&self.standing).unreadable
    }

    /// What the owner should know of the journal while the ledger itself can be used. Waits for no disk.
    pub fn journal_notice(&self) -> Option<String> {
        let standing = lock(&self.standing);
        if standing.down.is_some() {
            return None;
        }
        if let Some(why) = &standing.journal {
            return Some(format!(
                "The ledger is in use, but its journal is not, and files that it notes are not shown: {why}"
            ));
        }
        let waiting = standing.journaled - standing.refused.min(standing.journaled);
        match (standing.refused, waiting) {
            (0, 0) => None,
            (0, 1) if standing.reading => Some(
                "1 photo is noted in the journal only, not in the ledger yet: the next start of Photo Factory, or `photo-factory ingest`, takes it in.".to_owned(),
            ),
            (0, count) if standing.reading => Some(format!(
                "{count} photos are noted in the journal only, not in the ledger yet: the next start of Photo Factory, or `photo-factory ingest`, takes them in."
            )),
            (0, count) => Some(format!(
                "{count} files that stand in Originals are being taken from the journal into the ledger."
            )),
            (count, _) => Some(format!(
                "{count} files that stand in Originals stay in the journal, because rows of the ledger that they meet can't be read (Logs name them): stop Photo Factory and type `photo-factory rebuild`."
            )),
        }
    }

    /// Rows that wait in the journal, from that id on, ascending; none while the journal is being written to.
    pub fn journaled(&self, from: AssetId, limit: usize) -> Vec<Asset> {
        self.journal
            .try_lock()
            .map_or(Vec::new(), |journal| journal.page(from, limit))
    }

    /// The newest rows that wait in the journal; none while it is being written to.
    pub fn newest_journaled(&self, limit: usize) -> Vec<Asset> {
        self.journal
            .try_lock()
            .map_or(Vec::new(), |journal| journal.newest(limit))
    }

    /// Unfinished intents, the journal's too: what is under way, or was interrupted.
    pub fn intents(&self) -> Result<Vec<Asset>, LedgerError> {
        let journal = lock(&self.journal);
        self.intents_with(&journal)
    }

    fn intents_with(&self, journal: &Journal) -> Result<Vec<Asset>, LedgerError> {
        let mut intents = match self.own_intents() {
            Err(error) if error.is_outage() => Vec::new(),
            intents => intents?,
        };
        // Finished in the journal, and not in the ledger yet.
        intents.retain(|intent| journal.finished(intent).is_none());
        intents.extend(journal.intents());
        Ok(intents)
    }

    /// The row of a file that stays in the inbox, as long as the ledger is down.
    pub(super) fn left_meanwhile(&self, inbox_path: &Path) -> Option<Left> {
        lock(&self.standing).left.get(inbox_path).cloned()
    }

    pub(super) fn is_down(&self) -> bool {
        lock(&self.standing).down.is_some()
    }

    fn note_down(&self, error: &LedgerError, now: Option<Timestamp>) {
        let reason = error.to_string();
        let mut standing = lock(&self.standing);
        if let Some(down) = &mut standing.down {
            down.since = down.since.or(now);
            // What was found first says more than what follows from it.
            let follows = matches!(
                error,
                LedgerError::Unavailable { .. } | LedgerError::Journal { .. }
            );
            if !follows {
                down.reason = reason;
            }
            return;
        }
        if !standing.reading {
            log::error!("{reason}; photos are filed all the same and noted in a journal meanwhile");
        }
        standing.down = Some(Down { reason, since: now });
    }

    fn note_up(&self) {
        let mut standing = lock(&self.standing);
        let was_down = standing.down.take().is_some();
        if was_down {
            standing.left = HashMap::new();
        }
        drop(standing);
        if was_down {
            log::info!("the ledger is in use again");
        }
    }

    fn count(&self, journal: &Journal) {
        let mut standing = lock(&self.standing);
        (standing.journaled, standing.refused) = (journal.waiting(), journal.refused());
        standing.unreadable = journal.unreadable();
    }
}

/// Remembers who holds intents of the ledger: should it fail, the journal takes them over.
fn note_holders(journal: &mut Journal, changes: &[Change], outcomes: &[Outcome]) {
    for (change, outcome) in changes.iter().zip(outcomes) {
        match (change, outcome) {
            (Change::Intend(_) | Change::IntendBeside(_), Outcome::Intended(verdicts)) => {
                for verdict in verdicts {
                    if let Verdict::New(asset) = verdict {
                        journal.hand_out(asset);
                    }
                }
            }
            (Change::Finish(promised) | Change::Withdraw(promised), _) => {
                journal.take_in(promised);
            }
            _ => {}
        }
    }
}

/// The verdicts on a shot of which the journal holds a file: whoever asks comes again when that is in the ledger.
fn on_its_way(journal: &Journal, shot: &Shot) -> Option<Vec<Verdict>> {
    let found = |draft: &Draft| {
        let leader = match draft.pairing {
            Pairing::With(id) => Some(id),
            Pairing::Alone | Pairing::Leader => None,
        };
        journal.find_own(&Key::identity(draft.kind, leader, draft.file_hash))
    };
    let found: Vec<Option<Found>> = shot.members.iter().map(found).collect();
    if found.iter().all(Option::is_none) {
        return None;
    }
    let verdicts = found.into_iter().map(|found| match found {
        Some(Found::Finished(row)) => Verdict::Known(*row),
        Some(Found::Open) | None => Verdict::InFlight,
    });
    Some(verdicts.collect())
}

/// What the ledger is told of a row of the journal.
fn folding(journal: &Journal, row: &Asset) -> Change {
    let mut row = row.clone();
    row.paired_with = row
        .paired_with
        .map(|leader| journal.row_of(leader).unwrap_or(leader));
    Change::Finish(Box::new(row))
}

/// A change that names a row of the journal, as the ledger is told of it. An id of the ledger's own is what whoever asks
/// has read in it just now.
fn translated(journal: &Journal, change: &Change) -> Change {
    let row = |id: AssetId| match journal.row_of(id) {
        Some(became) if id.0 >= FIRST_ID => became,
        _ => id,
    };
    let mut change = change.clone();
    match &mut change {
        Change::Intend(shot)
        | Change::IntendBeside(shot)
        | Change::Adopt(Adoption { shot, .. }) => {
            for draft in &mut shot.members {
                if let Pairing::With(id) = &mut draft.pairing {
                    *id = row(*id);
                }
            }
        }
        Change::Leave(left) => {
            if let LeftBecause::Kept(id) = &mut left.why {
                *id = row(*id);
            }
        }
        Change::StageDone { id, .. } => *id = row(*id),
        Change::Finish(_) | Change::Withdraw(_) | Change::Forget(_) => {}
    }
    change
}
