//! What the line is doing, counted.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::{Fate, Report};

/// What the line is doing, for whoever asks. Numbers only grow, but for the last two.
#[derive(Debug, Default)]
pub struct Progress {
    /// Files filed.
    pub filed: AtomicU64,
    /// Duplicates absorbed.
    pub duplicates: AtomicU64,
    /// Originals that were missing and are put back.
    pub restored: AtomicU64,
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
    pub(super) fn settled(&self) -> u64 {
        [&self.filed, &self.duplicates, &self.restored, &self.left]
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

    pub(super) fn work_on(&self, path: Option<PathBuf>) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = path;
    }

    pub(super) fn count(&self, report: &Report) {
        let counter = match &report.fate {
            Fate::Filed(_) => &self.filed,
            Fate::Duplicate(_) => &self.duplicates,
            Fate::Restored(_) => &self.restored,
            Fate::Left(..) => &self.left,
            Fate::Unsettled(_) | Fate::PutOff(_) | Fate::Gone => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if matches!(
            report.fate,
            Fate::Filed(_) | Fate::Duplicate(_) | Fate::Restored(_)
        ) {
            self.bytes.fetch_add(report.size, Ordering::Relaxed);
        }
    }
}
