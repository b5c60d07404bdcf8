//! Work that waits for disks, done off the thread on which everything else takes turns.

use std::sync::{Arc, Mutex, PoisonError};

/// Does the work on a thread for such work, and waits for it. It goes on if nobody waits any more, once it was begun.
///
/// The library's own function is compiled anew, with its queue and its task, for each piece of work; this one hands over a box.
pub async fn unblock<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let result = Arc::new(Mutex::new(None));
    let filled = Arc::clone(&result);
    let boxed: Box<dyn FnOnce() + Send> = Box::new(move || {
        let done = work();
        *filled.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
    });
    smol::unblock(boxed).await;
    let done = result.lock().unwrap_or_else(PoisonError::into_inner).take();
    match done {
        Some(done) => done,
        // Work that panics ends the wait with that panic.
        None => unreachable!("work that came to its end left its result"),
    }
}
