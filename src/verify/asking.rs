//! Asking the verification in the background for a round that begins now.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Thread;

use super::background::Saying;

/// What came of asking for a round.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asked {
    /// It begins.
    Begins,
    /// One that was asked for is under way.
    UnderWay,
    /// Nothing is verified by itself: the settings want it so.
    SwitchedOff,
}

/// By which a round can be asked for.
pub struct Asking {
    said: Saying,
    is_asked: Arc<AtomicBool>,
    thread: Option<Thread>,
}

impl Asking {
    pub(super) fn new(said: Saying, is_asked: &Arc<AtomicBool>, thread: Option<Thread>) -> Self {
        Self {
            said,
            is_asked: Arc::clone(is_asked),
            thread,
        }
    }

    /// Asks for a round that begins now and does not wait for its share of the days. It keeps to the rate, and filing goes
    /// first, as ever.
    pub fn ask(&self) -> Asked {
        let (Some(thread), Some(said)) = (&self.thread, self.said.now()) else {
            return Asked::SwitchedOff;
        };
        if said.at_once || self.is_asked.swap(true, Ordering::SeqCst) {
            return Asked::UnderWay;
        }
        thread.unpark();
        Asked::Begins
    }
}
