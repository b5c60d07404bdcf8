//! The history of the heartbeats: `Data/history.redb`, a file with a life of its own. Disposable.
//!
//! # Format 1
//!
//! | table | key | value |
//! |---|---|---|
//! | `meta` | name | `format`: 1; `committed`: milliseconds since 1970, the last commit's time as far as it can be trusted |
//! | `current` | service | the queue's depth (8 bytes, little-endian, all ones: unknown), milliseconds since 1970 (8 bytes), a record |
//! | `beats` | (milliseconds since 1970, service) | a record |
//!
//! A record is described in `record.rs`. The key of the beats
//! begins with the time: new rows then go to one end of the tree, which writes a third of what the other order does,
//! and the oldest are the first.
//!
//! # Invariants
//!
//! - No failure in here stops anything: the worst is an `Err` that keeps the beats in memory for the next commit.
//! - What cannot be read is moved aside (up to five such files are kept), and a new file is started.
//! - Beats are pruned by time that has passed while the appliance ran, not by the date, unless a time service vouches for
//!   the date: a wrong date prunes nothing, however often the appliance starts with it.
#![expect(
    clippy::disallowed_methods,
    reason = "the history owns its file: it makes it, renames it into place, and moves a damaged one aside"
)]

use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, ReadableTableMetadata,
    StorageError, TableDefinition,
};

use super::record::{parsed, parsed_row, record, row_record};
use super::{Beat, Service, ServiceRow};

/// Beats are kept this long.
pub const RETENTION: SignedDuration = SignedDuration::from_hours(60 * 24);

/// A wall clock that moved by more than this against the monotonic clock has jumped.
const JUMP: SignedDuration = SignedDuration::from_hours(24);

/// Rows pruned in one commit at most: small steps, so that no commit takes long.
const PRUNE_STEP: usize = 1_000;

/// Rows kept at most, whatever the dates say: 60 days of all services (138,240), and some room.
const ROW_LIMIT: u64 = 160_000;

/// The cache: the history is written at one end and seldom read.
const CACHE_BYTES: usize = 512 * 1024;

/// Damaged files kept beside the good one; a further one takes the place of the last.
const DAMAGED_KEPT: u32 = 5;

const FORMAT: u64 = 1;
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const CURRENT: TableDefinition<u8, &[u8]> = TableDefinition::new("current");
const BEATS: TableDefinition<(i64, u8), &[u8]> = TableDefinition::new("beats");

/// Asks whether a time service keeps the wall clock right; `None`: that is not known.
pub type IsSynchronized = fn() -> Option<bool>;

/// The file, or the memory of why there is none.
#[derive(Debug)]
pub struct History {
    path: PathBuf,
    opened: Instant,
    opened_at: Timestamp,
    is_synchronized: IsSynchronized,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    database: Option<Arc<Database>>,
    /// The two clocks, read together: at the start, and again after a jump.
    anchor: (Instant, Timestamp),
    /// When the last commit of the runs before was made, as far as it could be trusted.
    committed_before: Option<Timestamp>,
    damaged: Option<String>,
    failing: Option<String>,
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
    pub fn open(data: &Path, now: Timestamp, is_synchronized: IsSynchronized) -> Self {
        let opened = Instant::now();
        let history = Self {
            path: data.join("history.redb"),
            opened,
            opened_at: now,
            is_synchronized,
            state: Mutex::new(State {
                database: None,
                anchor: (opened, now),
                committed_before: None,
                damaged: None,
                failing: None,
            }),
        };
        history.reopen();
        history
    }

    /// Whether beats at this time are to be marked: the wall clock is not plausible, or no time service keeps it.
    pub fn clock_is_doubtful(&self, now: Timestamp) -> bool {
        !self.clock_is_plausible(now) || (self.is_synchronized)() == Some(false)
    }

    /// Whether the wall clock agrees with the monotonic clock, and stands after the last commit of earlier runs; or is kept by
    /// a time service. After a jump the clock is doubtful once, and then measured from where it jumped to.
    fn clock_is_plausible(&self, now: Timestamp) -> bool {
        let mut state = self.state();
        let (instant, at) = state.anchor;
        let passed = SignedDuration::try_from(instant.elapsed()).unwrap_or(SignedDuration::MAX);
        let has_jumped = (now.duration_since(at) - passed).abs() > JUMP;
        if has_jumped {
            state.anchor = (Instant::now(), now);
        }
        let agrees = !has_jumped && state.committed_before.is_none_or(|before| now >= before);
        drop(state);
        agrees || (self.is_synchronized)() == Some(true)
    }

    /// Writes rows and beats in one commit and prunes one step. On `Err` nothing is lost: the caller keeps the beats.
    #[expect(
        clippy::result_unit_err,
        reason = "the reason is kept for the owner in `notice`; the caller only keeps the beats"
    )]
    pub fn commit<'a>(
        &self,
        rows: &[ServiceRow],
        beats: impl Iterator<Item = &'a Beat>,
        now: Timestamp,
    ) -> Result<(), ()> {
        let Some(database) = self.database().or_else(|| self.reopen()) else {
            return Err(());
        };
        let trusted = self.trusted(now);
        match guarded(|| write(&database, rows, beats, trusted)) {
            Ok(()) => {
                self.state().failing = None;
                Ok(())
            }
            Err(fault) => {
                drop(database);
                let mut state = self.state();
                state.database = None;
                state.failing = Some(fault.text().to_owned());
                Err(())
            }
        }
    }

    /// A service's beats in `from..to`, oldest first; none where the file cannot be read.
    pub fn beats(&self, service: Service, from: Timestamp, to: Timestamp) -> Vec<Beat> {
        let Some(database) = self.database() else {
            return Vec::new();
        };
        guarded(|| read_beats(&database, service, from, to)).unwrap_or_default()
    }

    /// The current rows as they were last written.
    pub fn current(&self) -> Vec<ServiceRow> {
        let Some(database) = self.database() else {
            return Vec::new();
        };
        guarded(|| read_current(&*database)).unwrap_or_default()
    }

    /// What the owner should know.
    pub fn notice(&self) -> Option<String> {
        let state = self.state();
        match (&state.failing, &state.damaged) {
            (Some(failing), _) => Some(format!(
                "The history of the services cannot be written ({failing}). Photos are not concerned; the history goes on in memory."
            )),
            (None, damaged) => damaged.clone(),
        }
    }

    /// The time as far as it can be trusted; `None`: not at all, and nothing is pruned.
    fn trusted(&self, now: Timestamp) -> Option<Timestamp> {
        if !self.clock_is_plausible(now) {
            return None;
        }
        if (self.is_synchronized)() == Some(true) {
            return Some(now);
        }
        // Counted from the last commit of earlier runs by the time that has passed since the start: a clock that starts
        // years ahead agrees with itself, and must not empty the history.
        let before = self.state().committed_before.unwrap_or(self.opened_at);
        let trusted = before.saturating_add(self.running_for()).unwrap_or(now);
        Some(trusted.min(now))
    }

    fn running_for(&self) -> SignedDuration {
        SignedDuration::try_from(self.opened.elapsed()).unwrap_or(SignedDuration::MAX)
    }

    /// Tries to open or make the file.
    fn reopen(&self) -> Option<Arc<Database>> {
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
                state.committed_before = state.committed_before.or(committed);
                state.failing = None;
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
pub(super) fn read_rows(data: &Path) -> Vec<ServiceRow> {
    let path = data.join("history.redb");
    guarded(|| {
        let database = Builder::new()
            .set_cache_size(CACHE_BYTES)
            .open_read_only(&path)
            .map_err(opening)?;
        read_current(&database)
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
            let committed = check_format(&database)?;
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
    let transaction = database.begin_write().map_err(transaction_fault)?;
    transaction
        .open_table(META)
        .map_err(table_fault)?
        .insert("format", FORMAT)
        .map_err(storage_fault)?;
    transaction.open_table(CURRENT).map_err(table_fault)?;
    transaction.open_table(BEATS).map_err(table_fault)?;
    transaction.commit().map_err(commit_fault)?;
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

/// Says when the last commit was made.
fn check_format(database: &Database) -> Result<Option<Timestamp>, Fault> {
    let transaction = database.begin_read().map_err(transaction_fault)?;
    let meta = transaction.open_table(META).map_err(table_fault)?;
    let read = |name| -> Result<Option<u64>, Fault> {
        let value = meta.get(name).map_err(storage_fault)?;
        Ok(value.map(|value| value.value()))
    };
    let format = read("format")?;
    if format != Some(FORMAT) {
        return Err(Fault::Damaged(format!(
            "its format is {format:?}, this version knows {FORMAT}"
        )));
    }
    transaction.open_table(CURRENT).map_err(table_fault)?;
    transaction.open_table(BEATS).map_err(table_fault)?;
    let committed = read("committed")?.map(u64::cast_signed);
    Ok(committed.and_then(|at| Timestamp::from_millisecond(at).ok()))
}

fn write<'a>(
    database: &Database,
    rows: &[ServiceRow],
    beats: impl Iterator<Item = &'a Beat>,
    trusted: Option<Timestamp>,
) -> Result<(), Fault> {
    let transaction = database.begin_write().map_err(transaction_fault)?;
    {
        if let Some(trusted) = trusted {
            let mut meta = transaction.open_table(META).map_err(table_fault)?;
            let committed = trusted.as_millisecond().cast_unsigned();
            meta.insert("committed", committed).map_err(storage_fault)?;
        }
        let mut current = transaction.open_table(CURRENT).map_err(table_fault)?;
        for row in rows {
            if let Some(record) = row_record(row) {
                current
                    .insert(row.service as u8, record.as_slice())
                    .map_err(storage_fault)?;
            }
        }
        let mut table = transaction.open_table(BEATS).map_err(table_fault)?;
        for beat in beats {
            let record = record(&beat.status, &beat.task, beat.clock_doubtful);
            let key = (beat.at.as_millisecond(), beat.service as u8);
            table
                .insert(key, record.as_slice())
                .map_err(storage_fault)?;
        }
        let too_many = usize::try_from(
            table
                .len()
                .map_err(storage_fault)?
                .saturating_sub(ROW_LIMIT),
        );
        let mut forced = too_many.unwrap_or(usize::MAX);
        let cutoff = trusted.and_then(|trusted| trusted.checked_sub(RETENTION).ok());
        let cutoff = cutoff.map_or(i64::MIN, Timestamp::as_millisecond);
        for _ in 0..PRUNE_STEP {
            let oldest = table
                .first()
                .map_err(storage_fault)?
                .map(|(key, _)| key.value());
            match oldest {
                Some(key) if key.0 < cutoff || forced > 0 => {
                    forced = forced.saturating_sub(1);
                    table.remove(key).map_err(storage_fault)?;
                }
                _ => break,
            }
        }
    }
    transaction.commit().map_err(commit_fault)
}

fn read_beats(
    database: &Database,
    service: Service,
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<Beat>, Fault> {
    if from >= to {
        return Ok(Vec::new());
    }
    let transaction = database.begin_read().map_err(transaction_fault)?;
    let table = transaction.open_table(BEATS).map_err(table_fault)?;
    let mut beats = Vec::new();
    let range = (from.as_millisecond(), 0)..(to.as_millisecond(), 0);
    for row in table.range(range).map_err(storage_fault)? {
        let (key, value) = row.map_err(storage_fault)?;
        let (at, code) = key.value();
        if code == service as u8
            && let Ok(at) = Timestamp::from_millisecond(at)
            && let Some((status, task, clock_doubtful)) = parsed(value.value())
        {
            beats.push(Beat {
                service,
                at,
                status,
                task,
                clock_doubtful,
            });
        }
    }
    Ok(beats)
}

fn read_current(database: &impl ReadableDatabase) -> Result<Vec<ServiceRow>, Fault> {
    let transaction = database.begin_read().map_err(transaction_fault)?;
    let table = transaction.open_table(CURRENT).map_err(table_fault)?;
    let mut rows = Vec::new();
    for service in Service::ALL {
        if let Some(value) = table.get(service as u8).map_err(storage_fault)?
            && let Some(row) = parsed_row(service, value.value())
        {
            rows.push(row);
        }
    }
    Ok(rows)
}

fn opening(error: DatabaseError) -> Fault {
    match error {
        DatabaseError::Storage(storage) => storage_fault(storage),
        DatabaseError::DatabaseAlreadyOpen => {
            Fault::Passing("another process has it open".to_owned())
        }
        DatabaseError::UpgradeRequired(_) | DatabaseError::RepairAborted => {
            Fault::Damaged(error.to_string())
        }
        other => Fault::Passing(other.to_string()),
    }
}

fn storage_fault(error: StorageError) -> Fault {
    match error {
        StorageError::Corrupted(why) => Fault::Damaged(why),
        // How redb says: no database of mine, or cut short.
        StorageError::Io(why)
            if matches!(
                why.kind(),
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
            ) =>
        {
            Fault::Damaged(why.to_string())
        }
        other => Fault::Passing(other.to_string()),
    }
}

fn table_fault(error: redb::TableError) -> Fault {
    match error {
        redb::TableError::Storage(storage) => storage_fault(storage),
        other => Fault::Damaged(other.to_string()),
    }
}

fn transaction_fault(error: redb::TransactionError) -> Fault {
    match error {
        redb::TransactionError::Storage(storage) => storage_fault(storage),
        other => Fault::Passing(other.to_string()),
    }
}

fn commit_fault(error: redb::CommitError) -> Fault {
    match error {
        redb::CommitError::Storage(storage) => storage_fault(storage),
        other => Fault::Passing(other.to_string()),
    }
}
