//! The photo line: what lies in the inbox, settled, becomes a filed original, row by row.
//!
//! [`inbox`] finds shots (the files of one stem in one folder) that have come to rest; [`journey`] takes one shot all the
//! way. Many journeys are under way at once, so that they share the ledger's commits; none knows of another.

pub mod date;
pub mod decide;
pub mod inbox;
pub mod journey;
pub mod kind;
pub mod metadata;
pub mod settle;
pub mod shot;
pub mod sidecar;

use std::collections::HashSet;
use std::ffi::OsString;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use smol::channel::{Receiver, Sender};
use smol::future::FutureExt;
use smol::lock::Semaphore;

use crate::asset::{Asset, LeftBecause};
use crate::config::{Clear, Config};
use crate::disk::{Snapshot, Source, Vault};
use crate::ledger::{Desk, Ledger};

pub use inbox::{Inbox, Ready, Scope, Wanted};
pub use metadata::Reader;

/// Shots under way at once: one half fills a commit while the other is read and placed.
const SHOTS_UNDER_WAY: usize = 512;

/// Files being placed at once: their syncs share the file system's journal commits.
const PLACED_AT_ONCE: usize = 24;

/// A shot that was put off is looked at again after the settle time, and at least this.
const RETRY: Duration = Duration::from_millis(250);

/// The same where the disk or the ledger failed: it would fail again, and each try reads the whole file.
const PUT_OFF: Duration = Duration::from_secs(30);

/// An idle metadata worker is ended after this long.
pub const WORKER_REST: Duration = Duration::from_secs(5);

/// What became of one file of the inbox.
#[derive(Clone, Debug)]
pub enum Fate {
    /// Filed as this row.
    Filed(Box<Asset>),
    /// The same bytes are kept as this row; the inbox name was cleared.
    Duplicate(Box<Asset>),
    /// It stays in the inbox.
    Left(LeftBecause, String),
    /// It was not at rest, or something interfered: it is looked at again.
    Unsettled(String),
    /// Ledger or disk failed: it is tried again after a while.
    PutOff(String),
    /// It went away by itself.
    Gone,
}

/// One file and what became of it.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its path, relative to its source.
    pub path: PathBuf,
    /// Its size in bytes, as far as it is known.
    pub size: u64,
    /// What became of it.
    pub fate: Fate,
}

/// What the line is doing, for whoever asks. Numbers only grow, but for the last two.
#[derive(Debug, Default)]
pub struct Progress {
    /// Files filed.
    pub filed: AtomicU64,
    /// Duplicates absorbed.
    pub duplicates: AtomicU64,
    /// Files left in the inbox.
    pub left: AtomicU64,
    /// Bytes filed or absorbed.
    pub bytes: AtomicU64,
    /// Files on their way.
    pub under_way: AtomicU64,
    /// Files seen that are not on their way yet.
    pub backlog: AtomicU64,
    current: Mutex<Option<PathBuf>>,
    moved: Mutex<Option<Instant>>,
}

impl Progress {
    /// Files in the inbox that have no fate yet.
    pub fn depth(&self) -> u64 {
        self.under_way.load(Ordering::Relaxed) + self.backlog.load(Ordering::Relaxed)
    }

    /// Files that found their fate.
    fn settled(&self) -> u64 {
        [&self.filed, &self.duplicates, &self.left]
            .iter()
            .map(|counter| counter.load(Ordering::Relaxed))
            .sum()
    }

    /// The file that was taken last, while any is under way.
    pub fn current(&self) -> Option<PathBuf> {
        self.current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// When anything last moved, if it ever did.
    pub fn moved(&self) -> Option<Instant> {
        *self.moved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the line did something, as the heartbeat's proof.
    pub fn note(&self, now: Instant) {
        *self.moved.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    fn work_on(&self, path: Option<PathBuf>) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = path;
    }

    fn count(&self, report: &Report) {
        let counter = match &report.fate {
            Fate::Filed(_) => &self.filed,
            Fate::Duplicate(_) => &self.duplicates,
            Fate::Left(..) => &self.left,
            Fate::Unsettled(_) | Fate::PutOff(_) | Fate::Gone => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if matches!(report.fate, Fate::Filed(_) | Fate::Duplicate(_)) {
            self.bytes.fetch_add(report.size, Ordering::Relaxed);
        }
    }
}

/// What a line is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Errand {
    /// Whether the source's names are cleared.
    pub clear: Clear,
    /// Whether the source is the inbox: then what stays there is remembered.
    pub is_inbox: bool,
    /// One pass: no file is taken twice.
    pub once: bool,
}

/// Everything a journey needs. One line serves one source: the inbox, or a folder that is copied from.
pub struct Line {
    /// The settings.
    pub config: Arc<Config>,
    /// Where the files lie.
    pub source: Arc<Source>,
    /// Whether the source's names are cleared.
    pub clear: Clear,
    /// Whether the source is the inbox: then what stays there is remembered.
    pub is_inbox: bool,
    /// Where they go.
    pub vault: Arc<Vault>,
    /// The memory.
    pub ledger: Arc<Ledger>,
    /// Its shared commits.
    pub desk: Desk,
    /// Reads metadata.
    pub reader: Arc<Reader>,
    /// The clock.
    pub now: fn() -> Timestamp,
    /// What is being done.
    pub progress: Arc<Progress>,
    /// Folders that want a look.
    pub wanted: Arc<Wanted>,
    /// Set when the program stops: long reads end early, nothing new is begun.
    pub halt: Arc<AtomicBool>,
    idle: (Sender<()>, Receiver<()>),
    under_way: Mutex<HashSet<PathBuf>>,
    /// In one pass: files that found their fate and are still there.
    done: Option<Mutex<HashSet<PathBuf>>>,
    readers: Semaphore,
    placers: Semaphore,
}

impl Line {
    /// A line from `source` into `vault`.
    #[expect(
        clippy::too_many_arguments,
        reason = "it is what the appliance wires together, once"
    )]
    pub fn new(
        config: Arc<Config>,
        source: Arc<Source>,
        Errand {
            clear,
            is_inbox,
            once,
        }: Errand,
        vault: Arc<Vault>,
        ledger: Arc<Ledger>,
        desk: Desk,
        reader: Arc<Reader>,
        now: fn() -> Timestamp,
        halt: Arc<AtomicBool>,
    ) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            config,
            source,
            clear,
            is_inbox,
            vault,
            ledger,
            desk,
            reader,
            now,
            progress: Arc::default(),
            wanted: Arc::default(),
            halt,
            idle: smol::channel::bounded(1),
            under_way: Mutex::default(),
            done: once.then(Mutex::default),
            // Hashing fills a core; one reader more keeps the disk busy meanwhile.
            readers: Semaphore::new(cores.min(4) * 2),
            placers: Semaphore::new(PLACED_AT_ONCE),
        }
    }

    /// Whether any of these files is on its way already.
    pub fn is_any_under_way(&self, folder: &Path, names: &[OsString]) -> bool {
        let under_way = self
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        names
            .iter()
            .any(|name| under_way.contains(&folder.join(name)))
    }

    /// Whether a file found its fate in this pass.
    pub fn is_done(&self, path: &Path) -> bool {
        let holds = |paths: &Mutex<HashSet<PathBuf>>| {
            paths
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .contains(path)
        };
        self.done.as_ref().is_some_and(holds)
    }

    /// Remembers, in one pass, a file that found its fate and could not be cleared.
    fn note_stays(&self, path: &Path) {
        if let Some(done) = &self.done {
            done.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(path.to_owned());
        }
    }

    /// Remembers, in one pass, what is done and stays where it is.
    fn note_done(&self, reports: &[Report]) {
        let Some(done) = &self.done else { return };
        let stays = |fate: &Fate| match fate {
            Fate::Filed(_) | Fate::Duplicate(_) => self.clear != Clear::Always,
            Fate::Left(..) => true,
            Fate::Unsettled(_) | Fate::PutOff(_) | Fate::Gone => false,
        };
        let paths = reports
            .iter()
            .filter(|report| stays(&report.fate))
            .map(|report| report.path.clone());
        done.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(paths);
    }

    /// Sends every shot that `ready` brings on its journey, until the channel is closed and all journeys are done. What
    /// became of each file goes to `reports`.
    pub async fn run(
        self: Arc<Self>,
        ready: smol::channel::Receiver<Ready>,
        reports: Sender<Report>,
    ) {
        let executor = smol::LocalExecutor::new();
        let slots = Arc::new(Semaphore::new(SHOTS_UNDER_WAY));
        executor
            .run(async {
                while let Ok(shot) = ready.recv().await {
                    let slot = slots.acquire_arc().await;
                    let line = Arc::clone(&self);
                    let reports = reports.clone();
                    executor
                        .spawn(async move {
                            for report in line.take(shot).await {
                                line.progress.count(&report);
                                // Nobody listening is no reason to stop filing.
                                reports.send(report).await.unwrap_or_default();
                            }
                            drop(slot);
                        })
                        .detach();
                }
                // Every slot back: every journey has ended.
                for _ in 0..SHOTS_UNDER_WAY {
                    slots.acquire_arc().await.forget();
                }
                self.progress.work_on(None);
            })
            .await;
    }

    /// One shot's journey, with the bookkeeping around it.
    async fn take(self: &Arc<Self>, shot: Ready) -> Vec<Report> {
        let files: Vec<(PathBuf, Snapshot)> = shot
            .files
            .iter()
            .map(|(name, state)| (shot.folder.join(name), *state))
            .collect();
        let paths: Vec<PathBuf> = files.iter().map(|(path, _)| path.clone()).collect();
        let in_flight = self.desk.begin();
        self.progress.work_on(paths.first().cloned());
        // A fault in our own code costs these files a message, not the line its life.
        let journey = AssertUnwindSafe(journey::file_shot(self, files))
            .catch_unwind()
            .await;
        let reports = journey.unwrap_or_else(|_| {
            let fault = "Photo Factory failed on it by a fault of its own; the file is left as it is: please report it";
            let report = |path: &PathBuf| Report { path: path.clone(), size: 0, fate: Fate::Left(LeftBecause::Unreadable, fault.to_owned()) };
            paths.iter().map(report).collect()
        });
        drop(in_flight);
        self.note_done(&reports);
        self.progress.note(Instant::now());
        let mut under_way = self
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for path in &paths {
            under_way.remove(path);
        }
        self.progress
            .under_way
            .fetch_sub(paths.len() as u64, Ordering::Relaxed);
        if under_way.is_empty() {
            self.progress.work_on(None);
            self.idle.0.try_send(()).unwrap_or_default();
        }
        drop(under_way);
        for report in &reports {
            match report.fate {
                Fate::Unsettled(_) => self.look_again(&report.path, self.config.settle),
                Fate::PutOff(_) => self.look_again(&report.path, self.config.settle.max(PUT_OFF)),
                _ => {}
            }
        }
        reports
    }

    /// Waits until no journey is under way.
    pub async fn wait_until_idle(&self) {
        while !self
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_empty()
        {
            self.idle.1.recv().await.unwrap_or_default();
        }
    }

    /// Asks for a look at the folder of `path` after `wait`.
    fn look_again(&self, path: &Path, wait: Duration) {
        let folder = path.parent().unwrap_or(Path::new(""));
        self.wanted
            .look_at(folder, Instant::now() + wait.max(RETRY));
    }

    /// Marks the files of a shot as on their way, before it is sent.
    fn mark(&self, shot: &Ready) {
        let mut under_way = self
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for (name, _) in &shot.files {
            under_way.insert(shot.folder.join(name));
        }
        self.progress
            .under_way
            .fetch_add(shot.files.len() as u64, Ordering::Relaxed);
    }
}
