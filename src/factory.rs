//! The factory behind a locked door: folders, lock, ledger, vault, and interrupted work put right. What `run` and `ingest`
//! both begin with.

use std::fmt;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use jiff::Timestamp;
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::asset::Asset;
use crate::config::{Clear, Config};
use crate::disk::{self, DiskError, Recovered, Source, Vault};
use crate::ledger::{Change, Desk, Ledger, LedgerError};
use crate::librarian::{Errand, Line, Reader};

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
    now: fn() -> Timestamp,
    _lock: File,
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
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(error) => error.fmt(f),
            Self::Locked(root) => write!(
                f,
                "Photo Factory is running on {} already and takes its inbox by itself; see `photo-factory status`, or stop it first",
                root.display()
            ),
            Self::Ledger(error) => error.fmt(f),
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
    /// Makes what is missing, locks the root, opens the ledger, and finishes what an earlier run began.
    pub fn open(config: Config, now: fn() -> Timestamp) -> Result<Self, OpenError> {
        for folder in [&config.data, &config.inbox, &config.logs] {
            disk::make_folder(folder)?;
        }
        let lock = lock(&config)?;
        allow_open_files();
        let halt = Arc::new(AtomicBool::new(false));
        let vault = Arc::new(Vault::open(&config.storage, Arc::clone(&halt))?);
        let ledger = Arc::new(Ledger::open(&config.data)?);
        recover(&ledger, &vault, &Source::open(&config.inbox)?, now)?;
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
            now,
            _lock: lock,
        })
    }

    /// The line that takes the inbox; `once`: in one pass.
    pub fn inbox_line(&self, once: bool) -> Result<Arc<Line>, DiskError> {
        let source = Source::open(&self.config.inbox)?;
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
fn lock(config: &Config) -> Result<File, OpenError> {
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
/// What can't be looked at now is left for the next start.
fn recover(
    ledger: &Ledger,
    vault: &Vault,
    inbox: &Source,
    now: fn() -> Timestamp,
) -> Result<(), OpenError> {
    let mut changes = Vec::new();
    for intent in ledger.intents()? {
        changes.push(match vault.recover(&intent, inbox) {
            Ok(Recovered::Stands) => Change::Finish(intent.id),
            Ok(Recovered::Nothing) => Change::Withdraw(intent.id),
            Ok(Recovered::SomethingElse) => {
                warn_of_stranger(&intent);
                Change::Withdraw(intent.id)
            }
            Err(error) => {
                log::warn!("{error}; its placement was interrupted and is looked at again at the next start");
                continue;
            }
        });
    }
    if !changes.is_empty() {
        log::info!("finishing {} interrupted placements", changes.len());
        ledger.commit(&changes, now(), &|path| vault.is_free(path))?;
    }
    Ok(())
}

fn warn_of_stranger(intent: &Asset) {
    log::warn!(
        "{} is not the file that was to be placed there as {}; it is left as it is, and the inbox file gets another name",
        intent.final_path.display(),
        intent.file_hash
    );
}
