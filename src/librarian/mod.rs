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
mod owner;
pub mod progress;
mod restless;
pub mod settle;
pub mod shot;
pub mod sidecar;
mod uncleared;

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use smol::channel::{Receiver, Sender};
use smol::future::FutureExt;
use smol::lock::Semaphore;

use crate::asset::{Asset, LeftBecause};
use crate::config::{Clear, Config};
use crate::disk::{DiskError, Snapshot, Source, Standing, Vault};
use crate::ledger::{Desk, Ledger};

use decide::ReadFile;
pub use inbox::{Inbox, Ready, Scope, Wanted};
pub use metadata::Reader;
pub use progress::Progress;

/// Shots under way at once: one half fills a commit while the other is read and placed.
const SHOTS_UNDER_WAY: usize = 512;

/// Files being placed at once: their syncs share the file system's journal commits.
const PLACED_AT_ONCE: usize = 24;

/// A shot that was put off is looked at again after the settle time, and at least this.
const RETRY: Duration = Duration::from_millis(250);

/// The same where the disk or the ledger failed: it would fail again, and each try reads the whole file.
const PUT_OFF: Duration = Duration::from_secs(30);

/// The owner is told of a file that has not come to rest for so many settle times.
const RESTLESS_FOR: u32 = 60;

/// An idle metadata worker is ended after this long.
pub const WORKER_REST: Duration = Duration::from_secs(5);

/// What became of one file of the inbox.
#[derive(Clone, Debug)]
pub enum Fate {
    /// Filed as this row.
    Filed(Box<Asset>),
    /// The same bytes are kept as this row; the inbox name was cleared.
    Duplicate(Box<Asset>),
    /// The ledger knew its bytes as this row, but the original was missing: it is put back.
    Restored(Box<Asset>),
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
    /// Why its name is still there though the file is kept, where that is not the owner's wish.
    pub uncleared: Option<String>,
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
    /// Why the ledger can take nothing: its disk is full.
    ledger_full: Mutex<Option<String>>,
    /// Why the source can't be looked at.
    source_away: Mutex<Option<String>>,
    /// Until when the owner wants nothing new to be begun. In memory only: a restart goes on.
    rest_end: Mutex<Option<Instant>>,
    /// Until when it is certain that the phones keep their copies of what is cleared.
    copies_stay_until: Mutex<Option<Instant>>,
    uncleared: uncleared::Uncleared,
    restless: restless::Restless,
    /// Names put aside that could not be put right, told of already.
    asides_told: Mutex<HashSet<PathBuf>>,
    /// Files that had to be copied though they lie on Storage's disk: they need room there.
    copied: Mutex<HashSet<PathBuf>>,
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
            ledger_full: Mutex::default(),
            source_away: Mutex::default(),
            rest_end: Mutex::default(),
            copies_stay_until: Mutex::default(),
            uncleared: uncleared::Uncleared::default(),
            restless: restless::Restless::default(),
            asides_told: Mutex::default(),
            copied: Mutex::default(),
            done: once.then(Mutex::default),
            // Hashing fills a core; one reader more keeps the disk busy meanwhile.
            readers: Semaphore::new(cores.min(4) * 2),
            placers: Semaphore::new(PLACED_AT_ONCE),
        }
    }

    /// Whether names are cleared at present, once their photos are kept.
    pub fn clears(&self) -> bool {
        match self.clear {
            Clear::Always => true,
            Clear::Never => false,
            Clear::Safe => {
                let until = self.copies_stay_until.lock();
                let until = *until.unwrap_or_else(PoisonError::into_inner);
                until.is_some_and(|until| Instant::now() < until)
            }
        }
    }

    /// Until when it is certain that the phones keep their copies of what is cleared; `None`: it is not.
    pub fn note_copies_stay(&self, until: Option<Instant>) {
        let mut known = self
            .copies_stay_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *known = until;
    }

    /// Why nothing is begun at present, if so.
    fn pause(&self, now: Instant) -> Option<String> {
        let watch = self.vault.watch();
        if let Some(trouble) = self.trouble(now) {
            return Some(trouble);
        }
        if self.rests_until(now).is_some() {
            return Some("The owner has paused it.".to_owned());
        }
        if watch.standing(now) == Standing::NotAsked {
            return Some("Storage was not looked at yet.".to_owned());
        }
        // A single pass has nobody who would put it right meanwhile; the next start does.
        let waits = watch.is_interrupted() && self.done.is_none();
        waits.then(|| "Interrupted work is put right first.".to_owned())
    }

    /// Why nothing can be filed at present, if so: sentences for the owner. Returns at once.
    pub fn trouble(&self, now: Instant) -> Option<String> {
        match self.vault.watch().standing(now) {
            Standing::NotAsked => self.source_away(),
            Standing::Unusable(unusable) => Some(unusable.to_string()),
            Standing::Silent(since) => Some(format!(
                "Storage has not answered since {}: its disk hangs. Photos wait in the inbox, nothing is lost. Check its cable and power (`dmesg`); work goes on by itself when it answers.",
                self.clock_time(since)
            )),
            Standing::Here => self.source_away().or_else(|| self.ledger_full()),
        }
    }

    fn clock_time(&self, ago: Duration) -> String {
        let at = (self.now)().checked_sub(ago).unwrap_or_default();
        let at = at.to_zoned(self.config.zone.clone());
        at.strftime("%H:%M on %Y-%m-%d").to_string()
    }

    /// Whether a shot of these files may be begun now; else why not. A file that will be linked needs no room.
    fn may_begin<'a>(
        &self,
        files: impl Iterator<Item = (PathBuf, &'a Snapshot)>,
    ) -> Result<(), String> {
        let now = Instant::now();
        if let Some(reason) = self.pause(now) {
            return Err(reason);
        }
        let watch = self.vault.watch();
        let device = watch.space().map(|space| space.device);
        let clears = self.clears();
        let copied = self.copied.lock().unwrap_or_else(PoisonError::into_inner);
        let is_linked = |path: &Path, state: &Snapshot| {
            clears && Some(state.device) == device && !copied.contains(path)
        };
        let needs = files
            .filter(|(path, state)| !is_linked(path, state))
            .map(|(_, state)| state.size)
            .sum();
        drop(copied);
        watch.may_take(needs, now).map_err(|full| full.to_string())
    }

    /// Notes a file for which there was no room.
    fn note_no_room(&self, path: &Path) {
        let mut copied = self.copied.lock().unwrap_or_else(PoisonError::into_inner);
        copied.insert(path.to_owned());
    }

    fn forget_no_room(&self, reports: &[Report]) {
        let mut copied = self.copied.lock().unwrap_or_else(PoisonError::into_inner);
        for report in reports {
            if !copied.is_empty() && !matches!(report.fate, Fate::PutOff(_)) {
                copied.remove(&report.path);
            }
        }
    }

    /// Why the ledger can take nothing, if its disk is full.
    pub fn ledger_full(&self) -> Option<String> {
        let full = self
            .ledger_full
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        full.clone()
    }

    /// Notes whether the ledger's disk is full; until it is said that there is room, nothing is begun.
    pub fn note_ledger_full(&self, full: Option<String>) {
        let is_full = full.is_some();
        *self
            .ledger_full
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = full;
        if is_full {
            self.vault.watch().notify();
        }
    }

    /// Why the inbox can't be looked at, if so.
    pub fn source_away(&self) -> Option<String> {
        let away = self
            .source_away
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        away.clone()
    }

    /// Notes whether the inbox can be looked at. Returns whether that is news.
    fn note_source_away(&self, away: Option<String>) -> bool {
        let mut known = self
            .source_away
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let is_news = *known != away;
        *known = away;
        drop(known);
        if is_news {
            self.vault.watch().notify();
        }
        is_news
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

    /// Whether a name put aside in `folder`, which ends with `name`, may be that of a journey under way.
    fn is_being_cleared(&self, folder: &Path, name: &OsStr) -> bool {
        let under_way = self
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let ends = |path: &PathBuf| {
            let bytes = path.file_name().unwrap_or_default().as_encoded_bytes();
            path.parent() == Some(folder) && bytes.ends_with(name.as_encoded_bytes())
        };
        under_way.iter().any(ends)
    }

    /// Logs once that a name put aside could not be put right: it is tried again at every look at everything.
    fn tell_of_aside(&self, path: PathBuf, error: &DiskError) {
        let mut told = self
            .asides_told
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if told.insert(path) {
            log::warn!("{error}");
        }
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
            Fate::Filed(_) | Fate::Duplicate(_) | Fate::Restored(_) => !self.clears(),
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
            let report = |path: &PathBuf| Report { path: path.clone(), size: 0, fate: Fate::Left(LeftBecause::Unreadable, fault.to_owned()), uncleared: None };
            paths.iter().map(report).collect()
        });
        drop(in_flight);
        self.note_done(&reports);
        self.forget_no_room(&reports);
        self.progress.note(Instant::now());
        self.unmark(&paths);
        let is_settled = |report: &&Report| !matches!(report.fate, Fate::Unsettled(_));
        let settled = reports.iter().filter(is_settled);
        self.restless
            .forget(settled.map(|report| report.path.as_path()));
        for report in &reports {
            match &report.fate {
                Fate::Unsettled(reason) => {
                    // What has not changed for long is not read every few seconds.
                    let is_long = self.note_restless(&report.path, report.size, reason).await;
                    let least = if is_long { PUT_OFF } else { Duration::ZERO };
                    self.look_again(&report.path, self.config.settle.max(least));
                }
                // While nothing can be filed, what waits is looked at when that is over.
                Fate::PutOff(_) if self.pause(Instant::now()).is_none() => {
                    self.look_again(&report.path, self.config.settle.max(PUT_OFF));
                }
                _ => {}
            }
        }
        reports
    }

    /// Notes that a file has not come to rest; the owner is told of one that has not for long. `reason`: as it follows
    /// "for so long". Returns whether it has not for long.
    async fn note_restless(self: &Arc<Self>, path: &Path, size: u64, reason: &str) -> bool {
        let long = self.config.settle * RESTLESS_FOR;
        let (is_long, is_news) = self.restless.note(path, long);
        if !is_news || !self.is_inbox || self.done.is_some() {
            return is_long;
        }
        // Without its time: the row must not stand for the state that it will come to rest in.
        let file = ReadFile {
            size,
            ..ReadFile::unread(path)
        };
        let shown = self.source.path().join(path);
        let reason = format!(
            "{reason} for longer than {} s; it is filed by itself when that ends. Which program holds a file says `fuser -v '{}'`",
            long.as_secs(),
            shown.display()
        );
        journey::leave(self, &file, LeftBecause::Unreadable, reason).await;
        is_long
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

    /// The files of a shot are not on their way any more.
    fn unmark(&self, paths: &[PathBuf]) {
        let mut under_way = self
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for path in paths {
            under_way.remove(path);
        }
        self.progress
            .under_way
            .fetch_sub(paths.len() as u64, Ordering::Relaxed);
        if under_way.is_empty() {
            self.progress.work_on(None);
            self.idle.0.try_send(()).unwrap_or_default();
        }
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
