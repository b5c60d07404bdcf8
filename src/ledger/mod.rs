#![doc = include_str!("FORMAT.md")]

mod change;
mod commit;
mod desk;
mod error;
mod file;
mod intend;
mod lookups;
mod record;
mod tables;
#[cfg(test)]
mod tests;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{
    Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError,
};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use redb::{Database, Durability, ReadableDatabase, WriteTransaction};

pub use change::{Change, Draft, Outcome, Pairing, Shot, Totals, Verdict};
pub use desk::{Desk, InFlight};
pub use error::LedgerError;

use crate::asset::AssetId;
use commit::Books;
use error::Trouble;

/// A probe writes to the disk only if nothing was written for this long: a memory card wears by the commit.
const PROBE_WRITES_AFTER: Duration = Duration::from_secs(3600);

/// How long a ledger found damaged is not tried again: each try reads the whole file.
const DAMAGED_FOR: Duration = Duration::from_secs(60);

/// The memory of what stands in Originals: one file, open in one process. All calls block.
pub struct Ledger {
    path: PathBuf,
    opener: Opener,
    state: RwLock<State>,
    /// Ids handed out in commits whose answer is unknown: nobody was told of them, so they are taken back.
    unanswered: Mutex<Vec<u64>>,
    last_write: Mutex<Option<Instant>>,
}

/// Opens the database; the flag asks for a check of every page, past the page cache.
type Opener = Box<dyn Fn(bool) -> Result<Database, Trouble> + Send + Sync>;

struct State {
    /// Counts openings, so that an error of an earlier one does not close the present one.
    opening: u64,
    /// The open database and its file's identity; None after an error, until the next use.
    open: Option<(Database, Option<(u64, u64)>)>,
    /// Whether the next opening must check every page.
    doubt: bool,
    /// When and how the last opening found it damaged.
    damage: Option<(Instant, String)>,
}

impl Ledger {
    /// Opens the ledger in the Data folder; makes one if there never was one. Never replaces anything that is there.
    pub fn open(data: &Path) -> Result<Self, LedgerError> {
        let path = file::path_in(data);
        if !file::exists(&path)? {
            file::create(&path)?;
        }
        Self::open_file(path)
    }

    /// Opens the ledger in the Data folder if there is one; makes nothing.
    pub fn open_existing(data: &Path) -> Result<Option<Self>, LedgerError> {
        let path = file::path_in(data);
        if file::exists(&path)? {
            Self::open_file(path).map(Some)
        } else {
            Ok(None)
        }
    }

    fn open_file(path: PathBuf) -> Result<Self, LedgerError> {
        let opened = path.clone();
        Self::open_with(path, Box::new(move |doubt| file::open(&opened, doubt)))
    }

    fn open_with(path: PathBuf, opener: Opener) -> Result<Self, LedgerError> {
        let ledger = Self {
            path,
            opener,
            state: RwLock::new(State {
                opening: 0,
                open: None,
                doubt: false,
                damage: None,
            }),
            unanswered: Mutex::default(),
            last_write: Mutex::default(),
        };
        ledger.reopen(&mut ledger.state_mut())?;
        Ok(ledger)
    }

    /// Applies all changes in one durable transaction. The outcomes are in the order of the changes.
    ///
    /// `is_free` says whether nothing stands at a path (relative to Storage) on the disk. After an error nothing is
    /// recorded, except when the write itself failed ([`LedgerError::Use`]): then it is not known. In both cases the
    /// intents asked for do not count and are taken back, and every other change may be asked for again.
    pub fn commit(
        &self,
        changes: &[Change],
        now: Timestamp,
        is_free: &dyn Fn(&Path) -> bool,
    ) -> Result<Vec<Outcome>, LedgerError> {
        self.use_database("record changes in", |database| {
            let txn = begin(database)?;
            let mut outcomes = Vec::with_capacity(changes.len());
            let mut books = Books::open(&txn)?;
            for change in changes {
                outcomes.push(books.apply(change, now, is_free)?);
            }
            let Some(ids) = books.close(now)? else {
                txn.abort()?;
                return Ok(outcomes);
            };
            lock(&self.unanswered).extend(ids.clone());
            txn.commit()?;
            Ok(outcomes).inspect(|_| {
                lock(&self.unanswered).retain(|id| !ids.contains(id));
                *lock(&self.last_write) = Some(Instant::now());
            })
        })
    }

    /// A real small read and write. The write is made durable if nothing was for an hour, else only gone through.
    pub fn probe(&self, now: Timestamp) -> Result<(), LedgerError> {
        self.use_database("probe", |database| {
            tables::check_all(&database.begin_read()?)?;
            let recent = lock(&self.last_write).is_some_and(|at| at.elapsed() < PROBE_WRITES_AFTER);
            let txn = begin(database)?;
            let probed = u64::try_from(now.as_millisecond()).unwrap_or_default();
            txn.open_table(tables::META)?.insert("probed", probed)?;
            if recent {
                txn.abort()?;
            } else {
                txn.commit()?;
                *lock(&self.last_write) = Some(Instant::now());
            }
            Ok(())
        })
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The one way to the database: opened if need be, panics turned into errors, closed after an error that leaves it
    /// in an unknown state.
    fn use_database<T>(
        &self,
        action: &'static str,
        work: impl FnOnce(&Database) -> Result<T, Trouble>,
    ) -> Result<T, LedgerError> {
        let state = self.opened()?;
        let Some((database, identity)) = &state.open else {
            return Err(self.reopening());
        };
        let done = self.still_there(*identity).and_then(|()| {
            let value = guarded(|| work(database))?;
            // What was written to a file that has lost its name is lost with it.
            self.still_there(*identity)?;
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

    fn still_there(&self, opened: Option<(u64, u64)>) -> Result<(), Trouble> {
        if opened.is_some() && file::identity(&self.path) != opened {
            return Err(Trouble::Replaced);
        }
        Ok(())
    }

    /// The open state. Opening may take long on a bad disk: only one caller waits for it, the others are told to come again.
    fn opened(&self) -> Result<RwLockReadGuard<'_, State>, LedgerError> {
        for _ in 0..2 {
            let state = match self.state.try_read() {
                Ok(state) => state,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => return Err(self.reopening()),
            };
            if state.open.is_some() {
                return Ok(state);
            }
            drop(state);
            self.reopen(&mut self.state_mut())?;
        }
        Err(self.reopening())
    }

    fn reopen(&self, state: &mut State) -> Result<(), LedgerError> {
        if state.open.is_some() {
            return Ok(());
        }
        if let Some((found, what)) = &state.damage
            && found.elapsed() < DAMAGED_FOR
        {
            return Err(LedgerError::Damaged {
                path: self.path.clone(),
                what: what.clone(),
            });
        }
        file::look_at(&self.path)?;
        let identity = file::identity(&self.path);
        let opened = guarded(|| {
            let database = (self.opener)(state.doubt)?;
            file::check(&database)?;
            self.take_back(&database)?;
            Ok(database)
        });
        let database = opened.map_err(|trouble| {
            state.doubt |= trouble.casts_doubt();
            let error = trouble.at(&self.path, None);
            if let LedgerError::Damaged { what, .. } = &error {
                state.damage = Some((Instant::now(), what.clone()));
            }
            error
        })?;
        state.opening += 1;
        state.doubt = false;
        state.damage = None;
        state.open = Some((database, identity));
        Ok(())
    }

    /// Withdraws the intents of commits whose answer nobody got.
    fn take_back(&self, database: &Database) -> Result<(), Trouble> {
        let mut unanswered = lock(&self.unanswered);
        if unanswered.is_empty() {
            return Ok(());
        }
        let txn = begin(database)?;
        let mut books = Books::open(&txn)?;
        for id in unanswered.iter() {
            books.take_back(AssetId(*id))?;
        }
        books.close(Timestamp::UNIX_EPOCH)?;
        txn.commit()?;
        unanswered.clear();
        Ok(())
    }

    /// Closes and opens the file anew, when there is nothing to do: the pages that work had read are given up. Does
    /// nothing while the ledger is in use.
    pub fn rest(&self) {
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

impl Drop for Ledger {
    fn drop(&mut self) {
        let opening = self.state_mut().opening;
        self.close(opening, false);
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

fn begin(database: &Database) -> Result<WriteTransaction, Trouble> {
    let mut txn = database.begin_write()?;
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

/// A damaged file makes redb panic in places; that must not end the daemon.
fn guarded<T>(work: impl FnOnce() -> Result<T, Trouble>) -> Result<T, Trouble> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(Trouble::from_panic(panic.as_ref())))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
