//! How far the wall clock can be trusted. A board without a battery-backed clock starts in the past and jumps: beats made
//! meanwhile are marked, and put right once the clock's error is known; nothing is pruned by a date that nobody vouches for.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};

/// Asks whether a time service keeps the wall clock right; `None`: that is not known.
pub type IsSynchronized = fn() -> Option<bool>;

/// A wall clock that moved by more than this against the monotonic clock has jumped.
const JUMP: SignedDuration = SignedDuration::from_hours(24);

/// The two clocks of this run.
#[derive(Debug)]
pub(super) struct Clock {
    opened: Instant,
    opened_at: Timestamp,
    is_synchronized: IsSynchronized,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The two clocks, read together: at the start, and again after a jump.
    anchor: (Instant, Timestamp),
    /// When the last commit of the runs before was made, as far as it could be trusted.
    committed_before: Option<Timestamp>,
}

impl Clock {
    pub(super) fn new(now: Timestamp, is_synchronized: IsSynchronized) -> Self {
        let opened = Instant::now();
        Self {
            opened,
            opened_at: now,
            is_synchronized,
            state: Mutex::new(State {
                anchor: (opened, now),
                committed_before: None,
            }),
        }
    }

    /// The last commit of earlier runs; the first one told counts.
    pub(super) fn note_committed_before(&self, at: Option<Timestamp>) {
        let mut state = self.state();
        state.committed_before = state.committed_before.or(at);
    }

    /// Whether a time service vouches for the wall clock.
    pub(super) fn is_vouched_for(&self) -> bool {
        (self.is_synchronized)() == Some(true)
    }

    /// Whether beats at this time are to be marked: the wall clock is not plausible, or no time service keeps it.
    pub(super) fn is_doubtful(&self, now: Timestamp) -> bool {
        !self.is_plausible(now) || (self.is_synchronized)() == Some(false)
    }

    /// By how much the wall clock has moved against the monotonic clock since the start.
    pub(super) fn drift(&self, now: Timestamp) -> SignedDuration {
        now.duration_since(self.opened_at) - self.running_for()
    }

    /// The time as far as it can be trusted; `None`: not at all, and nothing is pruned.
    pub(super) fn trusted(&self, now: Timestamp) -> Option<Timestamp> {
        if !self.is_plausible(now) {
            return None;
        }
        if self.is_vouched_for() {
            return Some(now);
        }
        // Counted from the last commit of earlier runs by the time that has passed since the start: a clock that starts
        // years ahead agrees with itself, and must not empty the history.
        let before = self.state().committed_before.unwrap_or(self.opened_at);
        let trusted = before.saturating_add(self.running_for()).unwrap_or(now);
        Some(trusted.min(now))
    }

    /// Whether the wall clock agrees with the monotonic clock, and stands after the last commit of earlier runs; or is kept by
    /// a time service. After a jump the clock is doubtful once, and then measured from where it jumped to.
    fn is_plausible(&self, now: Timestamp) -> bool {
        let mut state = self.state();
        let (instant, at) = state.anchor;
        let passed = SignedDuration::try_from(instant.elapsed()).unwrap_or(SignedDuration::MAX);
        let has_jumped = (now.duration_since(at) - passed).abs() > JUMP;
        if has_jumped {
            state.anchor = (Instant::now(), now);
        }
        let agrees = !has_jumped && state.committed_before.is_none_or(|before| now >= before);
        drop(state);
        agrees || self.is_vouched_for()
    }

    fn running_for(&self) -> SignedDuration {
        SignedDuration::try_from(self.opened.elapsed()).unwrap_or(SignedDuration::MAX)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
