//! The ledger's database: open while it can be, closed after an error that leaves it in doubt, and opened again.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{
    Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError,
};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use redb::{Durability, ReadTransaction, WriteTransaction};

use super::change::{Change, Outcome, Verdict};
use super::commit::Books;
use super::error::{LedgerError, Trouble, guarded};
use super::file::Opened;
use super::names::Hints;
use super::{file, tables, upgrade};
use crate::asset::Asset;

/// A probe writes to the disk only if nothing was written for this long: a memory card wears by the commit.
const PROBE_WRITES_AFTER: Duration = Duration::from_secs(3600);

/// How long a ledger found damaged is not tried again, unless its file changes: each try reads the whole file.
const DAMAGED_FOR: Duration = Duration::from_secs(60);

/// After an attempt that failed there is none for so many times its length: a sick disk takes its time for each.
const PAUSE_FACTOR: u32 = 8;

/// A sound file is open again within milliseconds, after a rest or an outage: who comes meanwhile waits, but only while the
/// opening is not older than this.
const OPENS_WITHIN: Duration = Duration::from_millis(500);
const OPENING_PAUSE: Duration = Duration::from_millis(2);

/// Opens the database; the flag asks for a check of every page, past the page cache.
pub(super) type Opener = Box<dyn Fn(bool) -> Result<Opened, Trouble> + Send + Sync>;

pub(super) struct Store {
    path: PathBuf,
    opener: Opener,
    state: RwLock<State>,
    /// Intents of commits whose answer is unknown: nobody was told of them, so they are taken back.
    unanswered: Mutex<Vec<Asset>>,
    last_write: Mutex<Option<Instant>>,
    hints: Mutex<Hints>,
    /// Since when it is being opened, while it is.
    opening_since: Mutex<Option<Instant>>,
}

#[derive(Default)]
struct State {
    /// Counts openings, so that an error of an earlier one does not close the present one.
    opening: u64,
    /// The open database; None after an error, until the next use.
    open: Option<Opened>,
    /// The file that is open, or was.
    identity: Option<file::Identity>,
    /// Whether the next opening must check every page.
    doubt: bool,
    /// How the last attempt to open it failed.
    failure: Option<Failure>,
}

struct Failure {
    at: Instant,
    took: Duration,
    damaged: bool,
    reason: String,
    file: Option<file::State>,
}

impl Failure {
    /// Whether another attempt is not worth its cost yet.
    fn holds(&self, path: &Path) -> bool {
        let pause = if self.damaged {
            DAMAGED_FOR
        } else {
            self.took.saturating_mul(PAUSE_FACTOR)
        };
        self.at.elapsed() < pause && file::state(path) == self.file
    }
}

/// Who waits while another opens the database, which may take long on a bad disk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Patience {
    /// After a moment it is told to come again.
    Moment,
    /// It waits: it has nothing better to do.
    Waits,
}

impl Store {
    /// Nothing is opened before the first use.
    pub(super) fn new(path: PathBuf, opener: Opener) -> Self {
        Self {
            path,
            opener,
            state: RwLock::default(),
            unanswered: Mutex::default(),
            last_write: Mutex::default(),
            hints: Mutex::default(),
            opening_since: Mutex::default(),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens it, if it is not open.
    pub(super) fn open(&self) -> Result<(), LedgerError> {
        self.reopen(&mut self.state_mut())
    }

    /// Applies all changes in one durable transaction. After a write that failed it is not known whether they are
    /// recorded; what was asked for is then asked for again, and the intents nobody was told of are taken back first.
    pub(super) fn commit(
        &self,
        changes: &[Change],
        now: Timestamp,
        is_free: &dyn Fn(&Path) -> bool,
    ) -> Result<Vec<Outcome>, LedgerError> {
        match self.commit_once(changes, now, is_free) {
            // Opened again, it says what became of the changes.
            Err(LedgerError::Use { .. }) => self.commit_once(changes, now, is_free),
            done => done,
        }
    }

    fn commit_once(
        &self,
        changes: &[Change],
        now: Timestamp,
        is_free: &dyn Fn(&Path) -> bool,
    ) -> Result<Vec<Outcome>, LedgerError> {
        let action = "record changes in";
        self.use_database(action, Patience::Waits, |database| {
            let txn = begin(database)?;
            let mut outcomes = Vec::with_capacity(changes.len());
            let mut books = Books::open(&txn)?;
            // Lost with an error, and rightly: the names it knows of may not have been taken after all.
            books.hints = std::mem::take(&mut *lock(&self.hints));
            for change in changes {
                outcomes.push(books.apply(change, now, is_free)?);
            }
            let hints = std::mem::take(&mut books.hints);
            if !books.close(now)? {
                txn.abort()?;
                *lock(&self.hints) = hints;
                return Ok(outcomes);
            }
            let answered = lock(&self.unanswered).len();
            lock(&self.unanswered).extend(promised(&outcomes));
            txn.commit()?;
            lock(&self.unanswered).truncate(answered);
            *lock(&self.last_write) = Some(Instant::now());
            *lock(&self.hints) = hints;
            Ok(outcomes)
        })
    }

    /// Has an intent taken back when the database is opened next.
    pub(super) fn take_back_later(&self, promised: Asset) {
        lock(&self.unanswered).push(promised);
    }

    /// A real small read and write. The write is made durable if nothing was for an hour, else only gone through.
    pub(super) fn probe(&self, now: Timestamp) -> Result<(), LedgerError> {
        self.use_database("probe", Patience::Moment, |database| {
            tables::check_all(&database.begin_read()?)?;
            let recent = lock(&self.last_write).is_some_and(|at| at.elapsed() < PROBE_WRITES_AFTER);
            let txn = begin(database)?;
            let probed = u64::try_from(now.as_millisecond()).unwrap_or_default();
            tables::set_number(&mut txn.open_table(tables::META)?, "probed", probed)?;
            if recent {
                txn.abort()?;
            } else {
                txn.commit()?;
                *lock(&self.last_write) = Some(Instant::now());
            }
            Ok(())
        })
    }

    /// How long ago something was last made durable; `None`: nothing since the start.
    pub(super) fn last_write(&self) -> Option<Duration> {
        lock(&self.last_write).map(|at| at.elapsed())
    }

    /// Reads from the open database.
    pub(super) fn read<T>(
        &self,
        work: impl FnOnce(&ReadTransaction) -> Result<T, Trouble>,
    ) -> Result<T, LedgerError> {
        self.use_database("read", Patience::Moment, |database| {
            work(&database.begin_read()?)
        })
    }

    /// The one way to the database: opened if need be, panics turned into errors, closed after an error that leaves it
    /// in an unknown state.
    fn use_database<T>(
        &self,
        action: &'static str,
        patience: Patience,
        work: impl FnOnce(&Opened) -> Result<T, Trouble>,
    ) -> Result<T, LedgerError> {
        let state = self.opened(patience)?;
        let Some(database) = &state.open else {
            return Err(self.reopening());
        };
        let done = self.still_there(state.identity).and_then(|()| {
            let value = guarded(|| work(database))?;
            // What was written to a file that has lost its name is lost with it.
            self.still_there(state.identity)?;
            Ok(value)
        });
        done.map_err(|trouble| {
            let opening = state.opening;
            drop(state);
            if trouble.breaks_database() {
                self.close(opening, trouble.casts_doubt());
            }
            trouble.at(&self.path, Some(action))
        })
    }

    fn still_there(&self, opened: Option<file::Identity>) -> Result<(), Trouble> {
        if opened.is_some() && file::identity(&self.path) != opened {
            return Err(Trouble::Replaced);
        }
        Ok(())
    }

    /// The open state. Opening may take long on a bad disk: who has no patience is told to come again.
    fn opened(&self, patience: Patience) -> Result<RwLockReadGuard<'_, State>, LedgerError> {
        for _ in 0..2 {
            let state = match self.state.try_read() {
                Ok(state) => state,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) if patience == Patience::Waits => {
                    self.state.read().unwrap_or_else(PoisonError::into_inner)
                }
                Err(TryLockError::WouldBlock) => {
                    self.opened_soon().ok_or_else(|| self.reopening())?
                }
            };
            if state.open.is_some() {
                return Ok(state);
            }
            drop(state);
            self.reopen(&mut self.state_mut())?;
        }
        Err(self.reopening())
    }

    /// The state, if whoever opens the database now is done in a moment.
    fn opened_soon(&self) -> Option<RwLockReadGuard<'_, State>> {
        let came = Instant::now();
        loop {
            match self.state.try_read() {
                Ok(state) => return Some(state),
                Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => {
                    let since = lock(&self.opening_since).unwrap_or(came).min(came);
                    if since.elapsed() > OPENS_WITHIN {
                        return None;
                    }
                    std::thread::sleep(OPENING_PAUSE);
                }
            }
        }
    }

    fn reopen(&self, state: &mut State) -> Result<(), LedgerError> {
        if state.open.is_some() {
            return Ok(());
        }
        if let Some(failure) = &state.failure
            && failure.holds(&self.path)
        {
            return Err(LedgerError::Unavailable {
                reason: failure.reason.clone(),
            });
        }
        let started = Instant::now();
        *lock(&self.opening_since) = Some(started);
        // Before it is opened: what is put in its place meanwhile is tried, not waited for.
        let file = file::state(&self.path);
        let identity = file::identity(&self.path);
        let opened = file::look_at(&self.path).and_then(|()| {
            guarded(|| {
                let database = (self.opener)(state.doubt)?;
                upgrade::up_to_date(&database)?;
                tables::check_all(&database.begin_read()?)?;
                self.take_back(&database)?;
                Ok(database)
            })
            .map_err(|trouble| {
                state.doubt |= trouble.casts_doubt();
                trouble.at(&self.path, None)
            })
        });
        *lock(&self.opening_since) = None;
        match opened {
            Ok(database) => {
                state.opening += 1;
                state.doubt = false;
                state.failure = None;
                if state.identity != identity {
                    *lock(&self.hints) = Hints::default();
                }
                state.identity = identity;
                state.open = Some(database);
                Ok(())
            }
            Err(error) => {
                state.failure = Some(Failure {
                    at: Instant::now(),
                    took: started.elapsed(),
                    damaged: matches!(error, LedgerError::Damaged { .. }),
                    reason: error.to_string(),
                    file,
                });
                Err(error)
            }
        }
    }

    /// Withdraws the intents that nobody holds.
    fn take_back(&self, database: &Opened) -> Result<(), Trouble> {
        let mut unanswered = lock(&self.unanswered);
        if unanswered.is_empty() {
            return Ok(());
        }
        let txn = begin(database)?;
        let mut books = Books::open(&txn)?;
        for promised in unanswered.iter() {
            books.take_back_unanswered(promised)?;
        }
        books.close(Timestamp::UNIX_EPOCH)?;
        txn.commit()?;
        unanswered.clear();
        Ok(())
    }

    /// Closes and opens the file anew, when there is nothing to do: the pages that work had read are given up. Does
    /// nothing while the ledger is in use.
    pub(super) fn rest(&self) {
        if let Ok(mut state) = self.state.try_write()
            && state.open.is_some()
        {
            close(&mut state, &self.path);
            if let Err(error) = self.reopen(&mut state) {
                log::warn!("{error}");
            }
        }
    }

    fn close(&self, opening: u64, doubt: bool) {
        let mut state = self.state_mut();
        if state.opening == opening {
            state.doubt |= doubt;
            close(&mut state, &self.path);
        }
    }

    fn reopening(&self) -> LedgerError {
        LedgerError::Reopening {
            path: self.path.clone(),
        }
    }

    fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let opening = self.state_mut().opening;
        self.close(opening, false);
    }
}

/// The intents that these answers tell of.
fn promised(outcomes: &[Outcome]) -> impl Iterator<Item = Asset> + '_ {
    let verdicts = outcomes.iter().flat_map(|outcome| match outcome {
        Outcome::Intended(verdicts) => verdicts.as_slice(),
        Outcome::Finished(_) | Outcome::Done => &[],
    });
    verdicts.filter_map(|verdict| match verdict {
        Verdict::New(asset) => Some(asset.clone()),
        Verdict::Known(_) | Verdict::InFlight | Verdict::Compare => None,
    })
}

pub(super) fn begin(database: &Opened) -> Result<WriteTransaction, Trouble> {
    let mut txn = match database {
        Opened::Writing(database) => database.begin_write()?,
        // Whoever opened it for reading has nothing to record.
        Opened::Reading(_) => {
            let error = io::Error::from(io::ErrorKind::PermissionDenied);
            return Err(Trouble::Redb(Box::new(redb::Error::Io(error))));
        }
    };
    txn.set_durability(Durability::Immediate)?;
    // Opening after a power cut must not read the whole file first.
    txn.set_quick_repair(true);
    Ok(txn)
}

fn close(state: &mut State, path: &Path) {
    let open = state.open.take();
    let closed = guarded(|| {
        drop(open);
        Ok(())
    });
    if closed.is_err() {
        log::warn!("the ledger {} did not close cleanly", path.display());
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
