//! What the owner asks of the line: to take again what was left in the inbox, and to begin nothing for a while.

use std::path::PathBuf;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Instant;

use jiff::Timestamp;

use super::Line;
use crate::asset::LeftBecause;
use crate::ledger::{Change, LedgerError};

/// Rows that are forgotten in one commit.
const FORGOTTEN_AT_ONCE: usize = 500;

impl Line {
    /// Has a file that was left in the inbox for a problem taken again, or with none all of them, whatever the reason was.
    /// Returns how many; what comes of them is seen when they were taken.
    ///
    /// Errors: the ledger can't be read or written.
    pub async fn retry(&self, path: Option<PathBuf>) -> Result<usize, Arc<LedgerError>> {
        let mut count = 0;
        if let Some(path) = path {
            let left = self.ledger.left(&path)?;
            if left.is_some_and(|left| !matches!(left.why, LeftBecause::Kept(_))) {
                count = self.forget_left(vec![path]).await?;
            }
        } else {
            // From the newest to the oldest: what is left again meanwhile is the newest, and is not met again.
            let mut after: Option<(Timestamp, PathBuf)> = None;
            loop {
                let from = after.as_ref().map(|(since, path)| (*since, path.as_path()));
                let left = self.ledger.problems_after(from, FORGOTTEN_AT_ONCE)?;
                let Some(last) = left.last() else { break };
                after = Some((last.since, last.inbox_path.clone()));
                let paths = left.into_iter().map(|left| left.inbox_path).collect();
                count += self.forget_left(paths).await?;
            }
        }
        if count > 0 {
            self.wanted.look_at_everything();
        }
        Ok(count)
    }

    /// Without their rows, files are looked at as if they had just come.
    async fn forget_left(&self, paths: Vec<PathBuf>) -> Result<usize, Arc<LedgerError>> {
        self.restless.forget(paths.iter().map(PathBuf::as_path));
        let count = paths.len();
        let changes = paths.into_iter().map(Change::Forget).collect();
        self.desk.ask_all(changes).await?;
        Ok(count)
    }

    /// Begins nothing new until then; `None`: goes on at once. What is under way comes to its end.
    pub fn rest_until(&self, end: Option<Instant>) {
        *self.rest_end() = end;
        self.wanted.look_at_everything();
        // So that the librarian says so at once.
        self.vault.watch().notify();
    }

    /// Until when nothing new is begun, because the owner wants it so.
    pub fn rests_until(&self, now: Instant) -> Option<Timestamp> {
        let end = (*self.rest_end())?;
        let left = end.checked_duration_since(now)?;
        (self.now)().checked_add(left).ok()
    }

    /// Ends a rest whose time is over. Returns whether it was: then everything wants a look.
    pub(super) fn has_rested(&self, now: Instant) -> bool {
        let was_resting = self.rest_end().take_if(|end| *end <= now).is_some();
        if was_resting {
            self.vault.watch().notify();
        }
        was_resting
    }

    /// When the rest that the owner wants ends.
    pub(super) fn rest_end(&self) -> MutexGuard<'_, Option<Instant>> {
        self.rest_end.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
