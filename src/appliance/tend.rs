//! Tends Storage: what was interrupted is put right before anything new is begun, again whenever Storage comes back or has
//! room again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use smol::Timer;
use smol::future::FutureExt;

use super::beats::report;
use crate::blocking::unblock;
use crate::disk::space::Space;
use crate::disk::{self, Standing, Watch};
use crate::factory::{self, Notices, OpenError};
use crate::librarian::Line;
use crate::monitor::Monitor;

/// What could not be done for a reason that may pass soon is tried again after this time.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// A full ledger's disk is looked at so often for more room; then it is tried all the same.
const FULL_TRIES: u32 = 3;

/// Interrupted work that can't be looked at now is looked at again after this time.
const RECOVER_AGAIN: Duration = Duration::from_secs(300);

/// Lets the line begin once Storage is there and what was interrupted is put right; and again whenever it comes back, or
/// has room again.
pub(super) async fn tend_storage(line: Arc<Line>, monitor: Arc<Monitor>, notices: Arc<Notices>) {
    let mut is_first = true;
    let mut again: Option<Again> = None;
    let mut said = String::new();
    loop {
        let watch = line.vault.watch();
        if let Some(room) = line.ledger_full() {
            log::warn!("{room}");
            report(&line, &monitor).await;
            wait_for_room(&line).await;
            line.note_ledger_full(None);
        }
        if watch.standing(Instant::now()) == Standing::Here {
            if watch.is_interrupted() {
                line.wait_until_idle().await;
                let interruptions = watch.interruptions();
                let (recovering, notices) = (Arc::clone(&line), Arc::clone(&notices));
                let asks = is_first;
                let left = unblock(move || {
                    let line = recovering;
                    let left = factory::recover(&line.ledger, &line.vault, &line.source, line.now)?;
                    if asks {
                        factory::note_unknown_originals(&line.config, &line.ledger, &notices);
                    }
                    notices.note_unfinished(&left);
                    Ok::<_, OpenError>(left.len())
                })
                .await;
                match left {
                    Ok(left) => {
                        is_first = false;
                        said.clear();
                        watch.note_recovered(interruptions);
                        again = (left > 0).then(|| Again {
                            at: Instant::now() + RECOVER_AGAIN,
                            has_failed: false,
                            room: watch.space(),
                        });
                    }
                    Err(error) => {
                        let error = error.to_string();
                        if error != said {
                            log::warn!("{error}");
                            said = error;
                        }
                        again = Some(Again {
                            at: Instant::now() + ASK_AGAIN,
                            has_failed: true,
                            room: watch.space(),
                        });
                    }
                }
            }
            line.wanted.look_at_everything();
        } else {
            // Its return is an interruption of its own.
            again = None;
        }
        report(&line, &monitor).await;
        wait_for_change(watch, &mut again).await;
    }
}

/// Another try to put interrupted work right.
struct Again {
    at: Instant,
    /// Whether the last one failed; else it left what can't be looked at.
    has_failed: bool,
    /// The room there was.
    room: Option<Space>,
}

/// Waits until Storage came, went or has room again, or it is time for another try. What a failed try itself set off is no
/// change: it would be tried again at once, for ever.
async fn wait_for_change(watch: &Watch, again: &mut Option<Again>) {
    loop {
        let at = again.as_ref().map(|again| again.at);
        let timed = async {
            match at {
                Some(at) => Timer::at(at).await,
                None => smol::future::pending().await,
            };
            true
        };
        let changed = async {
            watch.changed().await;
            false
        };
        if timed.or(changed).await {
            *again = None;
            watch.note_interrupted();
            // Our own word.
            watch.changed().await;
            return;
        }
        let goes_on = again
            .as_ref()
            .filter(|again| again.has_failed)
            .is_none_or(|again| {
                watch.standing(Instant::now()) != Standing::Here
                    || watch
                        .space()
                        .is_some_and(|space| space.has_more_than(again.room.as_ref()))
            });
        if goes_on {
            return;
        }
    }
}

/// Waits until there is more room on the ledger's disk than there was, or long enough to try all the same.
async fn wait_for_room(line: &Arc<Line>) {
    let free = || {
        let data = line.config.data.clone();
        unblock(move || disk::free_space(&data).map_or(0, |(free, _)| free))
    };
    let before = free().await;
    // Room may have been made before we looked: tried all the same before long.
    for _ in 0..FULL_TRIES {
        Timer::after(ASK_AGAIN).await;
        if free().await > before {
            return;
        }
    }
}
