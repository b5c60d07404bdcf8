//! The history of the services: `Data/history.redb`, a file with a life of its own. Disposable.
//!
//! # Format 2
//!
//! | table | key | value |
//! |---|---|---|
//! | `meta` | name | `format`: 2; `committed`: milliseconds since 1970, the last commit's time as far as it can be trusted |
//! | `services` | number (2 bytes) | name |
//! | `current` | service | the queue's depth (8 bytes, little-endian, all ones: unknown), two times in milliseconds since 1970 (8 bytes each): of the last beat, and since when it is so; a record |
//! | `beats` | (milliseconds since 1970, service) | a record |
//! | `hours` | (hours since 1970, service) | a roll-up |
//! | `days` | (local days since 1970, service) | a roll-up |
//! | `events` | (milliseconds since 1970, number) | an event |
//! | `phones` | name | when its last photo came, its day, on how many days some came |
//!
//! But for `meta`, keys and values are bytes; the numbers in keys are big-endian, times with their sign bit turned round: so they are in
//! order. Records are described in `record.rs`, roll-ups in `rollup.rs`, events in `event.rs`. Keys begin with the time: new rows then go
//! to one end of each tree, which writes a third of what the other order does, and the oldest are the first. Format 1, of versions
//! before the roll-ups, is moved aside like a damaged file.
//!
//! # Invariants
//!
//! - No failure in here stops anything: at worst what waits is kept in memory for the next commit.
//! - What cannot be read is moved aside (up to five such files are kept), and a new file is started.
//! - Rows are pruned by time that has passed while the appliance ran, not by the date, unless a time service vouches for
//!   the date: a wrong date prunes nothing, however often the appliance starts with it.
//! - Time for which there is no row is unknown: nobody was there to look.
#![expect(
    clippy::disallowed_methods,
    reason = "the history owns its file: it makes it, renames it into place, and moves a damaged one aside"
)]

mod tables;

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use redb::{Builder, Database, DatabaseError, StorageError};

use super::Settings;
use super::clock::{Clock, IsSynchronized};
use super::doubt::Correction;
use super::event::Event;
use super::phones::Phones;
use super::rollup::{Accounts, Rollup, Rollups, date_of, day_number, day_of, hour_of};
use super::service::{Beat, Service, ServiceRow, Watched};

/// The cache: the history is written at one end and seldom read.
const CACHE_BYTES: usize = 512 * 1024;

/// So long a stop waits for those who read at most.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// Damaged files kept beside the good one; a further one takes the place of the last.
const DAMAGED_KEPT: u32 = 5;

/// The file, or the memory of why there is none.
#[derive(Debug)]
pub(super) struct History {
    path: PathBuf,
    pub(super) clock: Clock,
    keep_beats: Duration,
    zone: TimeZone,
    commits: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    database: Option<Arc<Database>>,
    is_closed: bool,
    damaged: Option<String>,
    failing: Option<String>,
}

/// What one commit writes.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) rows: Vec<ServiceRow>,
    pub(super) phones: Phones,
    pub(super) beats: VecDeque<Beat>,
    pub(super) accounts: Accounts,
    pub(super) events: VecDeque<Event>,
    pub(super) corrections: Vec<Correction>,
}

/// Why the history could not be opened or written.
#[derive(Debug)]
enum Fault {
    /// The content is no history of ours, or broken: move it aside.
    Damaged(String),
    /// The disk, the permissions, another process: try again later.
    Passing(String),
}

impl Fault {
    fn text(&self) -> &str {
        match self {
            Self::Damaged(text) | Self::Passing(text) => text,
        }
    }
}

impl History {
    /// Opens `history.redb` in the data folder; makes it where there is none; moves it aside where it is damaged.
    pub(super) fn open(
        data: &Path,
        settings: &Settings,
        now: Timestamp,
        is_synchronized: IsSynchronized,
    ) -> Self {
        let history = Self {
            path: data.join("history.redb"),
            clock: Clock::new(now, is_synchronized),
            keep_beats: settings.keep_beats,
            zone: settings.zone.clone(),
            commits: AtomicU64::new(0),
            state: Mutex::new(State {
                database: None,
                is_closed: false,
                damaged: None,
                failing: None,
            }),
        };
        history.reopen();
        history
    }

    /// Writes all of it in one commit and prunes one step. What is still to be written, all of it after a failure, is given back.
    pub(super) fn commit(&self, batch: Batch, now: Timestamp) -> Option<Batch> {
        let Some(database) = self.database().or_else(|| self.reopen()) else {
            return Some(batch);
        };
        let limits = tables::Limits {
            trusted: self.clock.trusted(now),
            keep_beats: self.keep_beats,
        };
        match guarded(|| tables::write(&database, &batch, &limits, &self.zone)) {
            Ok(rest) => {
                self.commits.fetch_add(1, Ordering::Relaxed);
                self.state().failing = None;
                (!rest.is_empty()).then(|| Batch {
                    rows: Vec::new(),
                    phones: Phones::default(),
                    beats: VecDeque::new(),
                    accounts: Accounts::default(),
                    events: VecDeque::new(),
                    corrections: rest,
                })
            }
            Err(fault) => {
                drop(database);
                let mut state = self.state();
                state.database = None;
                state.failing = Some(fault.text().to_owned());
                Some(batch)
            }
        }
    }

    /// A service's beats in `from..to`, oldest first; none where the file cannot be read.
    pub(super) fn beats(&self, service: &Service, from: Timestamp, to: Timestamp) -> Vec<Beat> {
        self.read(|database| tables::beats(database, service, from, to))
    }

    /// The roll-ups of the hours in `from..to`, with what waits to be written.
    pub(super) fn hours(
        &self,
        from: Timestamp,
        to: Timestamp,
        mut all: Accounts,
    ) -> Vec<(Timestamp, Service, Rollup)> {
        let (from, to) = (hour_of(from), hour_of(to));
        let stored = self.read(|database| tables::hours(database, from, to));
        all.0.retain(|(hour, _), _| (from..to).contains(hour));
        for (key, rollup) in stored {
            all.0.entry(key).or_default().add(&rollup);
        }
        let start = |hour: i64| Timestamp::from_second(hour * 3600).unwrap_or_default();
        let rows = all.0.into_iter();
        rows.map(|((hour, service), rollup)| (start(hour), service, rollup))
            .collect()
    }

    /// The roll-ups of the local days in `from..=to`, with what waits to be written.
    pub(super) fn days(
        &self,
        from: Date,
        to: Date,
        waiting: Accounts,
    ) -> Vec<(Date, Service, Rollup)> {
        let (from, to) = (day_number(from), day_number(to));
        let stored = self.read(|database| tables::days(database, from, to));
        let mut all = Rollups::new();
        all.extend(stored);
        for ((hour, service), rollup) in waiting.0 {
            let day = day_of(hour, &self.zone);
            if (from..=to).contains(&day) {
                all.entry((day, service)).or_default().add(&rollup);
            }
        }
        let rows = all.into_iter();
        rows.map(|((day, service), rollup)| (date_of(day), service, rollup))
            .collect()
    }

    /// The events that happened last up to and at a time, newest first.
    pub(super) fn events(&self, until: Timestamp, limit: usize) -> Vec<Event> {
        self.read(|database| tables::events(database, until, limit))
    }

    /// The phones as they were last written.
    pub(super) fn phones(&self) -> Phones {
        self.read(tables::phones)
    }

    /// The incidents that have no end yet.
    pub(super) fn open_incidents(&self) -> Vec<String> {
        self.read(tables::open_incidents)
    }

    /// The current rows of the roster as they were last written; a service that has none is unheard.
    pub(super) fn current(&self, roster: &[Watched]) -> Vec<ServiceRow> {
        let rows = self.read(|database| tables::current(database, roster));
        if rows.is_empty() {
            return roster.iter().map(ServiceRow::unheard).collect();
        }
        rows
    }

    /// What the owner should know.
    pub(super) fn notice(&self) -> Option<String> {
        let state = self.state();
        match (&state.failing, &state.damaged) {
            (Some(failing), _) => Some(format!(
                "The history of the services cannot be written ({failing}). Photos are not concerned; the history goes on in memory."
            )),
            (None, damaged) => damaged.clone(),
        }
    }

    /// Bytes of the file; 0 where there is none.
    pub(super) fn size(&self) -> u64 {
        std::fs::metadata(&self.path).map_or(0, |file| file.len())
    }

    /// Commits since the start.
    pub(super) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    fn read<T: Default>(&self, read: impl FnOnce(&Database) -> Result<T, Fault>) -> T {
        let Some(database) = self.database() else {
            return T::default();
        };
        guarded(|| read(&database)).unwrap_or_default()
    }

    /// Closes the file, so that whoever opens it next finds it whole: nothing is read or written from here on. Readers come to their
    /// end first, unless that takes longer than [`CLOSE_WITHIN`]. No commit may be under way: it would open the file again.
    pub(super) fn close(&self) {
        let database = {
            let mut state = self.state();
            state.is_closed = true;
            state.database.take()
        };
        let Some(database) = database else {
            return;
        };
        let readers = Arc::downgrade(&database);
        drop(database);
        let give_up = Instant::now() + CLOSE_WITHIN;
        while readers.strong_count() > 0 && Instant::now() < give_up {
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Tries to open or make the file.
    fn reopen(&self) -> Option<Arc<Database>> {
        if self.state().is_closed {
            return None;
        }
        let mut opened = open_or_create(&self.path);
        let mut damaged = None;
        if let Err(Fault::Damaged(why)) = &opened {
            match move_aside(&self.path) {
                Ok(aside) => {
                    damaged = Some(format!(
                        "The history of the services was damaged ({why}); it was kept as {} and a new one started. Photos are not concerned.",
                        aside.display()
                    ));
                    opened = open_or_create(&self.path);
                }
                Err(error) => {
                    opened = Err(Fault::Passing(format!(
                        "{why}; moving it aside failed: {error}"
                    )));
                }
            }
        }
        let mut state = self.state();
        if damaged.is_some() {
            state.damaged = damaged;
        }
        match opened {
            Ok((database, committed)) => {
                let database = Arc::new(database);
                state.database = Some(Arc::clone(&database));
                state.failing = None;
                self.clock.note_committed_before(committed);
                Some(database)
            }
            Err(fault) => {
                state.failing = Some(fault.text().to_owned());
                None
            }
        }
    }

    fn database(&self) -> Option<Arc<Database>> {
        self.state().database.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The current rows in the data folder's file, read without changing it; empty where that cannot be done (a daemon has it
/// open, it was not closed cleanly, there is none).
pub(super) fn read_rows(data: &Path, roster: &[Watched]) -> Vec<ServiceRow> {
    let path = data.join("history.redb");
    guarded(|| {
        let database = Builder::new()
            .set_cache_size(CACHE_BYTES)
            .open_read_only(&path)
            .map_err(opening)?;
        tables::current(&database, roster)
    })
    .unwrap_or_default()
}

/// A time stamp as the file holds it: to the millisecond.
pub(super) fn stored_time(at: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at)
}

/// redb panics on some damaged files: a panic in here is damage, not the end of the daemon.
fn guarded<T>(work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_panic| {
        Err(Fault::Damaged(
            "reading it ended in an internal error".to_owned(),
        ))
    })
}

fn open_or_create(path: &Path) -> Result<(Database, Option<Timestamp>), Fault> {
    match path.symlink_metadata() {
        Ok(_) => guarded(|| {
            // The check costs some tens of milliseconds at full size, and turns every damage into an error.
            let database = Builder::new()
                .set_cache_size(CACHE_BYTES)
                .set_check_integrity_on_open(true)
                .open(path)
                .map_err(opening)?;
            let committed = tables::check_format(&database)?;
            Ok((database, committed))
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            guarded(|| create(path)).map(|database| (database, None))
        }
        Err(error) => Err(Fault::Passing(format!(
            "looking at {}: {error}",
            path.display()
        ))),
    }
}

/// Made under a temporary name, closed, synced and renamed: a cut half-way leaves no file that redb refuses.
fn create(path: &Path) -> Result<Database, Fault> {
    let passing =
        |error: io::Error| Fault::Passing(format!("creating {}: {error}", path.display()));
    let temporary = path.with_extension("redb.new");
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(passing(error)),
        _ => {}
    }
    let database = Builder::new()
        .set_cache_size(CACHE_BYTES)
        .create(&temporary)
        .map_err(opening)?;
    tables::make(&database)?;
    database.close().map_err(opening)?;
    File::open(&temporary)
        .and_then(|file| file.sync_all())
        .map_err(passing)?;
    std::fs::rename(&temporary, path).map_err(passing)?;
    if let Some(folder) = path.parent() {
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(passing)?;
    }
    Builder::new()
        .set_cache_size(CACHE_BYTES)
        .open(path)
        .map_err(opening)
}

/// Moves a damaged file to the first free `history.redb.damaged-N`.
fn move_aside(path: &Path) -> io::Result<PathBuf> {
    let aside = |number: u32| path.with_extension(format!("redb.damaged-{number}"));
    let free = (1..=DAMAGED_KEPT).find(|&number| aside(number).symlink_metadata().is_err());
    let aside = aside(free.unwrap_or(DAMAGED_KEPT));
    std::fs::rename(path, &aside)?;
    Ok(aside)
}

fn opening(error: DatabaseError) -> Fault {
    match error {
        DatabaseError::Storage(storage) => Fault::from(storage),
        DatabaseError::DatabaseAlreadyOpen => {
            Fault::Passing("another process has it open".to_owned())
        }
        DatabaseError::UpgradeRequired(_) | DatabaseError::RepairAborted => {
            Fault::Damaged(error.to_string())
        }
        other => Fault::Passing(other.to_string()),
    }
}

impl From<StorageError> for Fault {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Corrupted(why) => Self::Damaged(why),
            // How redb says: no database of mine, or cut short.
            StorageError::Io(why)
                if matches!(
                    why.kind(),
                    io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
                ) =>
            {
                Self::Damaged(why.to_string())
            }
            other => Self::Passing(other.to_string()),
        }
    }
}

impl From<redb::TableError> for Fault {
    fn from(error: redb::TableError) -> Self {
        match error {
            redb::TableError::Storage(storage) => Self::from(storage),
            other => Self::Damaged(other.to_string()),
        }
    }
}

impl From<redb::TransactionError> for Fault {
    fn from(error: redb::TransactionError) -> Self {
        match error {
            redb::TransactionError::Storage(storage) => Self::from(storage),
            other => Self::Passing(other.to_string()),
        }
    }
}

impl From<redb::CommitError> for Fault {
    fn from(error: redb::CommitError) -> Self {
        match error {
            redb::CommitError::Storage(storage) => Self::from(storage),
            other => Self::Passing(other.to_string()),
        }
    }
}
