//! What the line is doing, counted.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{Fate, Report};

/// What the line is doing, for whoever asks. Counts only grow, but for those of files on their way or waiting.
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
    run: Mutex<Option<(Instant, u64)>>,
}

/// A run ends when nothing found its fate for so long.
const RUN_ENDS_AFTER: Duration = Duration::from_secs(120);

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

    /// How long nothing has moved. The first file after a rest has been under way since it was taken, and not since before the
    /// rest.
    pub fn idle(&self, now: Instant) -> Duration {
        let began = self.run().map(|(since, _)| since);
        let last = self.moved().max(began);
        last.map_or(Duration::ZERO, |last| now.saturating_duration_since(last))
    }

    /// Notes that the line did something, as the heartbeat's proof.
    pub fn note(&self, now: Instant) {
        *self.moved.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    /// Notes what is taken now; the first after a rest begins a run.
    pub(super) fn work_on(&self, path: Option<PathBuf>) {
        let mut run = self.run.lock().unwrap_or_else(PoisonError::into_inner);
        let has_rested = self
            .moved()
            .is_none_or(|moved| moved.elapsed() > RUN_ENDS_AFTER);
        if path.is_some() && (run.is_none() || has_rested) {
            *run = Some((Instant::now(), self.settled()));
        }
        drop(run);
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = path;
    }

    /// Since when files find their fate one after the other, and how many have.
    pub fn run(&self) -> Option<(Instant, u64)> {
        let run = *self.run.lock().unwrap_or_else(PoisonError::into_inner);
        run.map(|(since, before)| (since, self.settled().saturating_sub(before)))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_taken_after_a_rest_is_not_idle_since_before_it() {
        let progress = Progress::default();
        let now = Instant::now();
        assert_eq!(progress.idle(now), Duration::ZERO);
        let rest = Duration::from_secs(60);
        progress.note(now.checked_sub(rest).unwrap());
        assert_eq!(progress.idle(now), rest);
        progress.work_on(Some(PathBuf::from("a.jpg")));
        assert_eq!(progress.idle(now), Duration::ZERO);
        let later = now + Duration::from_secs(7200);
        assert!(progress.idle(later) > Duration::from_secs(7000));
    }
}
