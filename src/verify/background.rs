//! The verification that the appliance does by itself: every original once in so many days, a little at a time.
//!
//! A thread of its own, of the lowest priority, wakes a few times an hour and reads what is due: the share of all originals
//! that the time passed is of the round's. Time is the monotonic clock's, added up over all runs: a wrong wall clock changes
//! nothing (P10). While photos are being filed it waits. What it found is kept in `Data/verify.json` (`record.rs`).

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::asking::Asking;
use super::record::{Kept, Last, Part, Record};
pub use super::verified::Verified;
use super::{Checked, Finding, Pace, What, check, folders, row, stands, strangers};
use crate::asset::{AssetId, Original, is_litter, shown};
use crate::config::Config;
use crate::disk::{DiskError, Snapshot, Source};
use crate::ledger::{Ledger, LedgerError};

/// The longest sleep: six wake-ups an hour.
const LONGEST_SLEEP: Duration = Duration::from_secs(600);
/// A round is cut into so many sleeps, where it is short.
const SLEEPS: u32 = 4320;
/// The shortest sleep.
const SHORTEST_SLEEP: Duration = Duration::from_millis(100);
/// While photos are filed, how long until the next look whether they still are.
const WHILE_BUSY: Duration = Duration::from_secs(1);
/// What is only progress is written no more often than this: a memory card wears.
const SAVE_EVERY: Duration = Duration::from_secs(3600);
/// In a round that was asked for, what weighs so much is read between two looks at the findings.
const ASKED_SHARE: u64 = 256 << 20;
/// A round that was asked for and can't go on is tried again after so long.
const ASKED_AGAIN: Duration = Duration::from_secs(10);
/// Rows read at a time.
const ROWS: usize = 64;
/// Folders looked through at a time.
const FOLDERS: usize = 32;
/// Findings that are kept; of more, only the number.
const FINDINGS: usize = 100;
/// What opening a file costs, in bytes that could be read instead.
const FILE_WEIGHT: u64 = 64 * 1024;
/// How long a stop waits for the thread: one that hangs on a disk is left behind.
const STOP_WITHIN: Duration = Duration::from_millis(500);

/// The running verification.
pub struct Background {
    said: Arc<Mutex<Option<Verified>>>,
    is_asked: Arc<AtomicBool>,
    halt: Arc<AtomicBool>,
    thread: Option<thread::Thread>,
    /// Whether it has ended.
    ended: Arc<(Mutex<bool>, Condvar)>,
}

/// Says, when it is dropped, that the thread has ended, by a panic or not.
struct End(Arc<(Mutex<bool>, Condvar)>);

impl Drop for End {
    fn drop(&mut self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_one();
    }
}

impl Background {
    /// Starts it, where the settings want it. `is_busy` says whether photos are being filed.
    pub fn start(
        config: &Arc<Config>,
        ledger: &Arc<Ledger>,
        is_busy: impl Fn() -> bool + Send + 'static,
        now: fn() -> Timestamp,
    ) -> Self {
        let mut background = Self {
            said: Arc::default(),
            is_asked: Arc::default(),
            halt: Arc::default(),
            thread: None,
            ended: Arc::default(),
        };
        let Some(every) = config.verify_every else {
            return background;
        };
        let work = Work {
            config: Arc::clone(config),
            ledger: Arc::downgrade(ledger),
            every,
            record: Record::load(&config.data),
            total: 0,
            pace: Pace::megabytes_per_second(config.verify_limit),
            saved: Instant::now(),
            is_changed: false,
            has_news: false,
            said: Arc::clone(&background.said),
            is_asked: Arc::clone(&background.is_asked),
            halt: Arc::clone(&background.halt),
            is_busy: Box::new(is_busy),
            now,
        };
        work.say();
        let end = End(Arc::clone(&background.ended));
        let thread = thread::Builder::new()
            .name("verify".to_owned())
            .stack_size(1 << 20)
            .spawn(move || {
                let _end = end;
                work.run();
            });
        match thread {
            Ok(handle) => background.thread = Some(handle.thread().clone()),
            Err(error) => log::error!("the originals are not verified: {error}"),
        }
        background
    }

    /// What the page says; `None`: it is switched off. Never waits for a disk.
    pub fn said(&self) -> Saying {
        Saying(Arc::clone(&self.said))
    }

    /// By which a round can be asked for.
    pub fn asking(&self) -> Asking {
        Asking::new(self.said(), &self.is_asked, self.thread.clone())
    }

    /// Ends it, at once.
    pub fn stop(self) {
        self.halt.store(true, Ordering::SeqCst);
        let Some(thread) = self.thread else {
            return;
        };
        thread.unpark();
        let (has_ended, changed) = &*self.ended;
        let has_ended = has_ended.lock().unwrap_or_else(PoisonError::into_inner);
        let (has_ended, _) = changed
            .wait_timeout_while(has_ended, STOP_WITHIN, |has_ended| !*has_ended)
            .unwrap_or_else(PoisonError::into_inner);
        if !*has_ended {
            log::warn!("the verification hangs on a disk that does not answer; it is left behind");
        }
    }
}

/// A view of what the verification says, for the page.
#[derive(Clone)]
pub struct Saying(Arc<Mutex<Option<Verified>>>);

impl Saying {
    /// What it says now.
    pub fn now(&self) -> Option<Verified> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Why a slice ended early; the next one goes on where it was.
enum Cut {
    Halted,
    Disk(DiskError),
    Ledger(LedgerError),
}

impl From<DiskError> for Cut {
    fn from(error: DiskError) -> Self {
        Self::Disk(error)
    }
}

impl From<LedgerError> for Cut {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}

struct Work {
    config: Arc<Config>,
    ledger: Weak<Ledger>,
    every: Duration,
    record: Record,
    /// Files in the ledger.
    total: u64,
    pace: Pace,
    saved: Instant,
    /// Whether anything is to be written.
    is_changed: bool,
    /// Whether it should be written now.
    has_news: bool,
    said: Arc<Mutex<Option<Verified>>>,
    is_asked: Arc<AtomicBool>,
    halt: Arc<AtomicBool>,
    is_busy: Box<dyn Fn() -> bool + Send>,
    now: fn() -> Timestamp,
}

impl Work {
    fn run(mut self) {
        // Refused: then it is merely no more polite than the rest.
        rustix::process::setpriority_process(None, 19).unwrap_or_default();
        if let Some(totals) = self
            .ledger
            .upgrade()
            .and_then(|ledger| ledger.totals().ok())
        {
            self.total = totals.assets;
            self.say();
        }
        let sleep = (self.every / SLEEPS).clamp(SHORTEST_SLEEP, LONGEST_SLEEP);
        let mut counted = Instant::now();
        let mut next = self.next_sleep(sleep, true);
        while self.sleep(next) {
            if self.is_asked.swap(false, Ordering::SeqCst) {
                self.begin_round();
                self.record.is_asked_for = true;
                self.say();
            }
            while (self.is_busy)() && self.rest(WHILE_BUSY) {}
            self.record.elapsed_seconds += counted.elapsed().as_secs_f64();
            counted = Instant::now();
            let sliced = self.slice();
            next = self.next_sleep(sleep, sliced.is_ok());
            match sliced {
                Ok(()) | Err(Cut::Halted) => {}
                Err(Cut::Disk(error)) => log::debug!("verification waits: {error}"),
                Err(Cut::Ledger(error)) => log::debug!("verification waits: {error}"),
            }
            self.say();
            self.save(self.has_news || self.saved.elapsed() > SAVE_EVERY);
        }
        self.save(true);
    }

    /// How long to sleep before the next slice.
    fn next_sleep(&self, sleep: Duration, goes_well: bool) -> Duration {
        match (self.record.is_asked_for, goes_well) {
            (true, true) => Duration::ZERO,
            (true, false) => sleep.min(ASKED_AGAIN),
            (false, _) => sleep,
        }
    }

    /// Sleeps until it is time, or a round is asked for. `false`: it is to end.
    fn sleep(&self, time: Duration) -> bool {
        self.rest_unless(time, || self.is_asked.load(Ordering::SeqCst))
    }

    /// Sleeps. `false`: it is to end.
    fn rest(&self, time: Duration) -> bool {
        self.rest_unless(time, || false)
    }

    fn rest_unless(&self, time: Duration, is_woken: impl Fn() -> bool) -> bool {
        let until = Instant::now() + time;
        while !self.is_halted() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || is_woken() {
                return true;
            }
            thread::park_timeout(left);
        }
        false
    }

    fn is_halted(&self) -> bool {
        self.halt.load(Ordering::SeqCst)
    }

    /// Does what is due. Where nothing is, Storage is not touched: its disk may be asleep.
    fn slice(&mut self) -> Result<(), Cut> {
        let Some(ledger) = self.ledger.upgrade() else {
            return Ok(());
        };
        let totals = ledger.totals()?;
        self.total = totals.assets;
        let whole = totals.bytes + totals.assets * FILE_WEIGHT;
        let passed = self.record.elapsed_seconds / self.every.as_secs_f64();
        let due = if self.record.is_asked_for {
            self.record.weight.saturating_add(ASKED_SHARE)
        } else {
            share(whole, passed)
        };
        if self.record.part == Part::Done && passed >= 1.0 {
            self.begin_round();
            return Ok(());
        }
        let is_due = match self.record.part {
            Part::Originals => self.record.weight < due || self.has_read_all(&ledger)?,
            Part::Strangers => true,
            Part::Done => false,
        };
        if !is_due && self.record.findings.is_empty() {
            return Ok(());
        }
        let storage = Source::open(&self.config.storage)?;
        stands(&storage, &self.config)?;
        self.look_again(&storage, &ledger)?;
        match self.record.part {
            Part::Originals => self.read_due(&storage, &ledger, due),
            Part::Strangers => self.look_for_strangers(&storage, &ledger),
            Part::Done => Ok(()),
        }
    }

    /// Whether no row is left that was not read in this round. A ledger without rows has nothing to read.
    fn has_read_all(&self, ledger: &Ledger) -> Result<bool, Cut> {
        let next = ledger.page(AssetId(self.record.cursor + 1), 1)?;
        Ok(self.record.cursor > 0 && next.is_empty())
    }

    fn read_due(&mut self, storage: &Source, ledger: &Ledger, due: u64) -> Result<(), Cut> {
        loop {
            let rows = ledger.page(AssetId(self.record.cursor + 1), ROWS)?;
            if rows.is_empty() {
                // A ledger without rows has nothing to verify.
                if self.record.cursor > 0 {
                    self.record.part = Part::Strangers;
                    self.is_changed = true;
                } else {
                    self.record.is_asked_for = false;
                }
                return Ok(());
            }
            for original in rows.iter().map(Original::from) {
                if self.record.weight >= due {
                    return Ok(());
                }
                match self.check(storage, &original) {
                    Checked::Halted => return Err(Cut::Halted),
                    Checked::Sound => self.forget(&original.final_path),
                    Checked::Found(what) => {
                        stands(storage, &self.config)?;
                        let path = original.final_path.clone();
                        self.remember(storage, &Finding { path, what });
                    }
                }
                self.record.cursor = original.id.0;
                self.record.files += 1;
                self.record.weight += original.size + FILE_WEIGHT;
                self.is_changed = true;
            }
            self.say();
        }
    }

    fn look_for_strangers(&mut self, storage: &Source, ledger: &Ledger) -> Result<(), Cut> {
        let done = row::path_of(&self.record.folder).unwrap_or_default();
        let mut folders = folders(storage)?;
        folders.readable.retain(|folder| *folder > done);
        let is_last = folders.readable.len() <= FOLDERS;
        if is_last {
            for finding in &folders.unreadable {
                self.remember(storage, finding);
            }
        }
        for folder in folders.readable.into_iter().take(FOLDERS) {
            if self.is_halted() {
                return Err(Cut::Halted);
            }
            let mut found = strangers(storage, &folder, |path| is_known(ledger, path))?;
            found.retain(|finding| finding.what != What::Litter);
            for finding in &found {
                self.remember(storage, finding);
            }
            self.record.folder = row::path_text(&folder);
            self.is_changed = true;
        }
        if is_last {
            self.record.part = Part::Done;
            self.record.is_asked_for = false;
            self.record.last = Some(Last {
                at: (self.now)().as_second(),
                files: self.record.files,
            });
            self.has_news = true;
            log::info!(
                "verified {} originals; {} findings",
                self.record.files,
                self.record.findings.len() as u64 + self.record.more
            );
        }
        Ok(())
    }

    /// Findings are looked at again where the file is in another state than it was: the owner may have put it right.
    fn look_again(&mut self, storage: &Source, ledger: &Ledger) -> Result<(), Cut> {
        for (index, kept) in self.record.findings.clone().iter().enumerate().rev() {
            let finding = kept.finding();
            let state = state_of(storage, &finding.path);
            let row = ledger
                .by_final_path(&finding.path)?
                .filter(|row| row.final_path == finding.path);
            let checked = match (&row, state) {
                (None, None) => Checked::Sound,
                // Called unknown by an earlier version.
                (None, _)
                    if finding.what == What::Unknown && finding.path.iter().any(is_litter) =>
                {
                    Checked::Sound
                }
                (None, _) if is_folder_that_can_be_read(storage, &finding) => Checked::Sound,
                // A stranger that was taken into the ledger, or a file in another state.
                (Some(row), _) if finding.what.is_stranger() || state != kept.state => {
                    self.check(storage, &row.into())
                }
                _ => continue,
            };
            stands(storage, &self.config)?;
            match checked {
                Checked::Halted => return Err(Cut::Halted),
                Checked::Sound => drop(self.record.findings.remove(index)),
                Checked::Found(what) => {
                    let path = finding.path;
                    self.record.findings[index] =
                        Kept::new(&Finding { path, what }, state, (self.now)());
                }
            }
            self.is_changed = true;
            self.has_news = true;
        }
        Ok(())
    }

    fn check(&mut self, storage: &Source, original: &Original) -> Checked {
        let mut pace = self.pace;
        let checked = check(storage, original, &self.halt, &mut |bytes| {
            let wait = pace.after(bytes, Instant::now());
            if !wait.is_zero() {
                thread::park_timeout(wait);
            }
            // Filing goes first.
            while (self.is_busy)() && self.rest(WHILE_BUSY) {}
        });
        self.pace = pace;
        checked
    }

    fn remember(&mut self, storage: &Source, finding: &Finding) {
        log::warn!(
            "{}: {}; {}",
            shown(&finding.path),
            finding.what,
            finding.what.advice()
        );
        let state = state_of(storage, &finding.path);
        let kept = Kept::new(finding, state, (self.now)());
        let same_file = |known: &&mut Kept| known.finding().path == finding.path;
        if let Some(known) = self.record.findings.iter_mut().find(same_file) {
            let since = known.since;
            *known = kept;
            known.since = since;
        } else if self.record.findings.len() < FINDINGS {
            self.record.findings.push(kept);
        } else {
            self.record.more += 1;
        }
        self.has_news = true;
        self.is_changed = true;
    }

    fn forget(&mut self, path: &Path) {
        let before = self.record.findings.len();
        self.record
            .findings
            .retain(|kept| kept.finding().path != path);
        self.has_news |= self.record.findings.len() < before;
    }

    fn begin_round(&mut self) {
        self.record.part = Part::Originals;
        self.record.elapsed_seconds = 0.0;
        self.record.cursor = 0;
        self.record.files = 0;
        self.record.weight = 0;
        self.record.folder = String::new();
        // Those that were only counted are found again.
        self.record.more = 0;
        self.is_changed = true;
    }

    fn say(&self) {
        let verified = Verified::of(&self.record, self.every, self.total);
        *self.said.lock().unwrap_or_else(PoisonError::into_inner) = Some(verified);
    }

    fn save(&mut self, is_time: bool) {
        if !self.is_changed || !is_time {
            return;
        }
        match self.record.save(&self.config.data) {
            Ok(()) => {
                self.is_changed = false;
                self.has_news = false;
            }
            Err(error) => log::warn!("{error}; how far the verification is will be forgotten"),
        }
        self.saved = Instant::now();
    }
}

/// Whether a row, finished or not, names this very path.
fn is_known(ledger: &Ledger, path: &Path) -> Result<bool, Cut> {
    // The intents first: what is finished between the two looks is a row by then.
    let mut intents = ledger.intents()?.into_iter();
    let is_under_way = intents.any(|intent| intent.final_path == path);
    let row = ledger.by_final_path(path)?;
    Ok(is_under_way || row.is_some_and(|row| row.final_path == path))
}

/// Of what weighs `whole`, the share that is due when `passed` of the time has passed.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of bytes need not be exact; the cast saturates"
)]
fn share(whole: u64, passed: f64) -> u64 {
    (whole as f64 * passed.max(0.0)).ceil() as u64
}

/// What was a folder that could not be read is one that can be, now.
fn is_folder_that_can_be_read(storage: &Source, finding: &Finding) -> bool {
    matches!(finding.what, What::Unreadable(_)) && storage.list(&finding.path).is_ok()
}

fn state_of(storage: &Source, path: &Path) -> Option<(u64, u64, i64, i64)> {
    let parent: PathBuf = path.parent().unwrap_or(Path::new("")).to_owned();
    let name = path.file_name()?;
    let states = storage.look(&parent, &[name]).ok()?;
    let of = |state: Snapshot| (state.inode, state.size, state.mtime_ns, state.ctime_ns);
    states.into_iter().next().flatten().map(of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_that_is_due_grows_with_the_time_and_never_runs_backwards() {
        assert_eq!(share(1000, 0.0), 0);
        assert_eq!(share(1000, 0.25), 250);
        assert_eq!(share(1000, 1.5), 1500);
        assert_eq!(share(1000, -3.0), 0);
        assert_eq!(share(u64::MAX, 1e30), u64::MAX);
    }
}
