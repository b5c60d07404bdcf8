//! Files that do not come to rest: who only waits is told of when it has been long.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// So many files are watched at most.
const MOST: usize = 10_000;

/// Since when files have not come to rest; `None`: that was told of.
#[derive(Debug, Default)]
pub(super) struct Restless(Mutex<HashMap<PathBuf, Option<Instant>>>);

impl Restless {
    /// Notes that a file has not come to rest. Returns whether it has not for longer than `long`, and whether that is news.
    pub(super) fn note(&self, path: &Path, long: Duration) -> (bool, bool) {
        let mut files = self.files();
        // Names that went before they came to rest.
        if files.len() > MOST {
            files.clear();
        }
        let since = files
            .entry(path.to_owned())
            .or_insert_with(|| Some(Instant::now()));
        let is_news = since.is_some_and(|since| since.elapsed() > long);
        if is_news {
            *since = None;
        }
        (since.is_none(), is_news)
    }

    /// They have come to rest.
    pub(super) fn forget<'a>(&self, paths: impl Iterator<Item = &'a Path>) {
        let mut files = self.files();
        for path in paths {
            files.remove(path);
        }
    }

    fn files(&self) -> MutexGuard<'_, HashMap<PathBuf, Option<Instant>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
