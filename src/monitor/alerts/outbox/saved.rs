//! What of an outbox is kept over a restart.
//!
//! Moments of the monotonic clock mean nothing to the next start; kept is how much of each wait is left. Time that passes between is
//! waited once more.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::Moment;
use super::super::message::Item;
use super::{Case, MOST, News, Outbox};

/// An outbox at rest.
#[derive(Serialize, Deserialize)]
pub struct Saved {
    /// Milliseconds until the next message may go.
    busy_for: u64,
    cases: Vec<SavedCase>,
    news: Vec<Item>,
    uncounted: usize,
    dropped: u64,
}

#[derive(Serialize, Deserialize)]
struct SavedCase {
    key: String,
    case: Case,
    /// Milliseconds in which it may end without being told.
    settles_in: u64,
}

impl Outbox {
    /// What is kept over a restart. A message on its way counts as not sent.
    pub fn saved(&self, now: Moment) -> Saved {
        let left = |until: std::time::Instant| {
            let left = until.saturating_duration_since(now.instant);
            u64::try_from(left.as_millis()).unwrap_or(u64::MAX)
        };
        let cases = self.cases.iter().map(|(key, case)| SavedCase {
            key: key.clone(),
            case: case.clone(),
            settles_in: case.settles_at.map_or(0, left),
        });
        Saved {
            busy_for: left(self.free_at),
            cases: cases.collect(),
            news: self.news.values().map(|news| news.item.clone()).collect(),
            uncounted: self.uncounted,
            dropped: self.dropped,
        }
    }

    pub(super) fn restore(&mut self, saved: Saved, now: Moment) {
        // Whatever the file says, nothing waits longer than the settings ask for.
        let in_time =
            |millis: u64, most: Duration| now.instant + Duration::from_millis(millis).min(most);
        self.free_at = in_time(saved.busy_for, self.target.digest);
        for SavedCase {
            key,
            mut case,
            settles_in,
        } in saved.cases.into_iter().take(MOST)
        {
            if !case.has_lasted && !case.is_told {
                case.settles_at = Some(in_time(settles_in, self.target.after));
            }
            self.cases.insert(key, case);
        }
        for item in saved.news.into_iter().take(MOST) {
            let news = News {
                number: 0,
                tried: None,
                item,
            };
            self.news.insert(news.item.key.clone(), news);
        }
        self.uncounted = saved.uncounted;
        self.dropped = saved.dropped;
    }
}
