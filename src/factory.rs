//! The factory behind a locked door: folders, lock, ledger, vault, and interrupted work put right. What `run` and `ingest`
//! both begin with.

use std::fmt;
use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use jiff::Timestamp;
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::asset::{Asset, shown};
use crate::config::{Clear, Config};
use crate::disk::space::Reserve;
use crate::disk::storage::Place;
use crate::disk::{self, DiskError, Recovered, Source, Unusable, Vault};
use crate::ledger::{Change, Desk, Ledger, LedgerError};
use crate::librarian::inbox::presence::away;
use crate::librarian::{Errand, Line, Reader};

/// So many of the newest rows may have been under way when a run was interrupted.
const UNDER_WAY_AT_MOST: usize = 1024;

/// Descriptors enough for all photos under way.
const OPEN_FILES: u64 = 4096;

/// The opened factory. While it lives, no other process works on the same root.
pub struct Factory {
    /// The settings.
    pub config: Arc<Config>,
    /// The memory.
    pub ledger: Arc<Ledger>,
    /// Its shared commits.
    pub desk: Desk,
    /// Storage.
    pub vault: Arc<Vault>,
    /// Reads metadata.
    pub reader: Arc<Reader>,
    /// Set when the program stops.
    pub halt: Arc<AtomicBool>,
    /// What the owner should know of how it was found.
    pub notices: Arc<Notices>,
    now: fn() -> Timestamp,
    _lock: File,
}

/// What the owner should know of how the factory was found.
#[derive(Debug, Default)]
pub struct Notices {
    unknown_originals: OnceLock<String>,
    unfinished: Mutex<Option<String>>,
}

impl Notices {
    /// All of them, in whole sentences.
    pub fn all(&self) -> Vec<String> {
        let unfinished = self
            .unfinished
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let unfinished = unfinished.clone();
        self.unknown_originals
            .get()
            .cloned()
            .into_iter()
            .chain(unfinished)
            .collect()
    }

    /// Notes what [`recover`] had to leave, if anything.
    pub fn note_unfinished(&self, left: &[DiskError]) {
        let notice = left.first().map(|first| {
            format!(
                "The filing of {} photos was interrupted, and what stands of them in Originals can't be looked at: {first}. They stay in the \
                 inbox, and are tried again every few minutes.",
                left.len()
            )
        });
        *self
            .unfinished
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = notice;
    }
}

/// Why the factory could not be opened.
#[derive(Debug)]
pub enum OpenError {
    /// A folder is missing and can't be made, or can't be used.
    Disk(DiskError),
    /// Another process works on this root.
    Locked(PathBuf),
    /// The ledger can't be used.
    Ledger(LedgerError),
    /// Storage can't be used.
    Storage(Unusable),
    /// The inbox can't be looked at: whole sentences.
    Inbox(String),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(error) => error.fmt(f),
            Self::Locked(root) => write!(
                f,
                "another Photo Factory works on {} already (a `run` takes the inbox by itself, an `ingest` ends by itself); \
                 see `photo-factory status`, and wait for it or stop it first",
                root.display()
            ),
            Self::Ledger(error) => error.fmt(f),
            Self::Storage(unusable) => unusable.fmt(f),
            Self::Inbox(away) => f.write_str(away),
        }
    }
}

impl std::error::Error for OpenError {}

impl From<DiskError> for OpenError {
    fn from(error: DiskError) -> Self {
        Self::Disk(error)
    }
}

impl From<LedgerError> for OpenError {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}

impl Factory {
    /// Makes what is missing, locks the root, opens the ledger, and finishes what an earlier run began. Without Storage
    /// nothing can be done: that is an error.
    pub fn open(config: Config, now: fn() -> Timestamp) -> Result<Self, OpenError> {
        let factory = Self::open_without_storage(config, now)?;
        factory.vault.look().map_err(OpenError::Storage)?;
        let inbox = open_inbox(&factory.config)?;
        let interruptions = factory.vault.watch().interruptions();
        recover(&factory.ledger, &factory.vault, &inbox, now)?;
        factory.vault.watch().note_recovered(interruptions);
        note_unknown_originals(&factory.config, &factory.ledger, &factory.notices);
        Ok(factory)
    }

    /// The same without a look at Storage, which may be away, or hang: what an earlier run began is then finished by
    /// [`recover`], once Storage is there.
    pub fn open_without_storage(config: Config, now: fn() -> Timestamp) -> Result<Self, OpenError> {
        for folder in [&config.data, &config.logs] {
            disk::make_folder(folder)?;
        }
        let lock = lock(&config)?;
        allow_open_files();
        let halt = Arc::new(AtomicBool::new(false));
        // The ledger first: Data remembers a Storage only beside a ledger.
        let ledger = Arc::new(Ledger::open(&config.data)?);
        let has_photos = ledger.totals().map_or(true, |totals| totals.photos() > 0);
        // Once photos came from it, an inbox that is not there is missed, not made: phones would go on writing elsewhere.
        if !has_photos {
            disk::make_folder(&config.inbox)?;
        }
        let vault = Arc::new(vault(&config, has_photos, Arc::clone(&halt)));
        let desk = {
            let vault = Arc::clone(&vault);
            Desk::start(
                Arc::clone(&ledger),
                now,
                Arc::new(move |path: &std::path::Path| vault.is_free(path)),
            )
        };
        let reader = Arc::new(Reader::new(config.worker.clone(), config.zone.clone()));
        Ok(Self {
            config: Arc::new(config),
            ledger,
            desk,
            vault,
            reader,
            halt,
            notices: Arc::default(),
            now,
            _lock: lock,
        })
    }

    /// The line that takes the inbox; `once`: in one pass.
    /// Errors: for one pass it must be there; who watches it takes it when it comes.
    pub fn inbox_line(&self, once: bool) -> Result<Arc<Line>, OpenError> {
        let source = match open_inbox(&self.config) {
            Err(_) if !once => Source::open_later(&self.config.inbox),
            opened => opened?,
        };
        Ok(self.line(
            source,
            Errand {
                clear: self.config.clear,
                is_inbox: true,
                once,
            },
        ))
    }

    /// A line that copies from another folder and changes nothing there.
    pub fn copying_line(&self, source: Source) -> Arc<Line> {
        self.line(
            source,
            Errand {
                clear: Clear::Never,
                is_inbox: false,
                once: true,
            },
        )
    }

    /// Puts right what a single pass had to leave unfinished, once it has ended: nobody else does before the next start.
    pub fn finish_pass(&self) -> Result<(), OpenError> {
        if !self.vault.watch().is_interrupted() {
            return Ok(());
        }
        let inbox = open_inbox(&self.config)?;
        recover(&self.ledger, &self.vault, &inbox, self.now).map(drop)
    }

    fn line(&self, source: Source, errand: Errand) -> Arc<Line> {
        Arc::new(Line::new(
            Arc::clone(&self.config),
            Arc::new(source),
            errand,
            Arc::clone(&self.vault),
            Arc::clone(&self.ledger),
            self.desk.clone(),
            Arc::clone(&self.reader),
            self.now,
            Arc::clone(&self.halt),
        ))
    }
}

fn open_inbox(config: &Config) -> Result<Source, OpenError> {
    Source::open(&config.inbox).map_err(|error| OpenError::Inbox(away(&config.inbox, &error)))
}

/// A ledger that knows nothing beside an Originals that holds files: it was made beside them, or instead of a lost one.
/// Asked once, when Storage is there and before the line begins. Blocks.
pub fn note_unknown_originals(config: &Config, ledger: &Ledger, notices: &Notices) {
    let knows_nothing = ledger.totals().is_ok_and(|totals| totals.assets == 0);
    if !knows_nothing || !disk::holds_files(&config.storage.join("Originals")) {
        return;
    }
    let notice = "The ledger is new, and Originals holds files that it does not know: they are safe, but not shown here, and one \
                  that comes again with another name would be filed a second time. `photo-factory rebuild` takes them in (stop Photo Factory first).";
    if notices.unknown_originals.set(notice.to_owned()).is_ok() {
        log::warn!("{notice}");
    }
}

/// Storage, as the settings have it. Nothing is touched before it is used.
pub fn vault(config: &Config, has_photos: bool, halt: Arc<AtomicBool>) -> Vault {
    let place = Place {
        storage: config.storage.clone(),
        data: config.data.clone(),
        has_photos,
        reserve: Reserve {
            millionths: config.reserve.millionths,
            most: config.reserve.most,
        },
    };
    Vault::new(place, halt)
}

/// Every photo under way is an open file, and the usual limit of 1,024 leaves little beside them.
fn allow_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    let wanted = limit
        .maximum
        .map_or(OPEN_FILES, |most| most.min(OPEN_FILES));
    if limit.current.is_some_and(|current| current < wanted) {
        limit.current = Some(wanted);
        // Refused: then a photo that finds no descriptor waits for the next look.
        setrlimit(Resource::Nofile, limit).unwrap_or_default();
    }
}

/// One process at a time: the lock goes with the process, however that ends.
pub fn lock(config: &Config) -> Result<File, OpenError> {
    let path = config.data.join("lock");
    let failed =
        |errno: rustix::io::Errno| OpenError::Disk(DiskError::io("lock", &path)(errno.into()));
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
    let file = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR).map_err(failed)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file.into()),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(OpenError::Locked(config.root.clone())),
        Err(errno) => Err(failed(errno)),
    }
}

/// Finishes what stands in Originals, takes back what does not. The inbox names are then met as duplicates, or anew (P5).
/// No journey may be under way: its intents would be taken for interrupted ones. Returns why some can't be looked at now,
/// and are left for later. Blocks.
pub fn recover(
    ledger: &Ledger,
    vault: &Vault,
    inbox: &Source,
    now: fn() -> Timestamp,
) -> Result<Vec<DiskError>, OpenError> {
    let mut changes = Vec::new();
    let mut left = Vec::new();
    let newest = ledger.newest(UNDER_WAY_AT_MOST).unwrap_or_default();
    if let Err(error) = vault.discard_leftovers(&newest) {
        log::warn!("{error}");
    }
    for intent in ledger.intents()? {
        changes.push(match vault.recover(&intent, inbox) {
            Ok(Recovered::Stands) => Change::Finish(Box::new(intent)),
            Ok(Recovered::Nothing) => Change::Withdraw(Box::new(intent)),
            Ok(Recovered::SomethingElse) => {
                warn_of_stranger(&intent);
                Change::Withdraw(Box::new(intent))
            }
            Err(error) => {
                if let Some(unusable) = error.as_unusable() {
                    return Err(OpenError::Storage(unusable.clone()));
                }
                log::warn!("{error}; its placement was interrupted and is looked at again later");
                left.push(error);
                continue;
            }
        });
    }
    if !changes.is_empty() {
        log::info!("finishing {} interrupted placements", changes.len());
        ledger.commit(&changes, now(), &|path| vault.is_free(path))?;
    }
    Ok(left)
}

fn warn_of_stranger(intent: &Asset) {
    log::warn!(
        "{} is not the file that was to be placed there as {}; it is left as it is, and the inbox file gets another name",
        shown(&intent.final_path),
        intent.file_hash
    );
}
