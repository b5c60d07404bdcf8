//! Work that waits for disks, done off the thread on which everything else takes turns.
//!
//! A pool of our own, because the one of smol 2 (blocking 1.6), once the system lets it start no thread, tries again for ever
//! while it holds its lock; and 1.7 keeps every idle thread, awake twice a second. This one goes on with the threads that it has,
//! and without any does the work where it was asked for: slow, but done.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use smol::channel;

/// Threads at most. A disk that hangs keeps those that wait for it: there must be others for the page.
const THREADS: usize = 200;

/// So many jobs may wait for one idle thread: short ones are done one after the other, in the order in which they came.
const JOBS_FOR_IDLE: usize = 5;

/// An idle thread waits for more work so long.
const IDLE: Duration = Duration::from_millis(500);

/// The threads of this process for such work.
static POOL: Pool = Pool::new(|worker| {
    thread::Builder::new()
        .name("blocking".to_owned())
        .spawn(worker)
        .map(drop)
});

/// Does the work on a thread for such work, and waits for it. It goes on if nobody waits any more, once it was begun.
/// Work that panics ends the wait with a panic.
pub async fn unblock<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    on(&POOL, work).await
}

/// As little as can be is compiled anew for each piece of work.
async fn on<T: Send + 'static>(
    pool: &'static Pool,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    let result = Arc::new(Mutex::new(None));
    let filled = Arc::clone(&result);
    pool.done(Box::new(move || *lock(&filled) = Some(work())))
        .await;
    let done = lock(&result).take();
    match done {
        Some(done) => done,
        None => unreachable!("work that came to its end left its result"),
    }
}

/// Work to be done, boxed: the pool is compiled once, not for each piece of work.
type Job = Box<dyn FnOnce() + Send>;

/// Starts a thread that does what it is given.
type Start = fn(Box<dyn FnOnce() + Send>) -> io::Result<()>;

struct Pool {
    start: Start,
    state: Mutex<State>,
    more: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
}

impl Pool {
    const fn new(start: Start) -> Self {
        Self {
            start,
            state: Mutex::new(State {
                jobs: VecDeque::new(),
                threads: 0,
                idle: 0,
            }),
            more: Condvar::new(),
        }
    }

    /// Does the work, and waits for it.
    async fn done(&'static self, job: Job) {
        let (done, waited) = channel::bounded::<()>(1);
        self.take(Box::new(move || {
            // Who waited may have gone. Who waits is woken by the end of this channel, after a panic, too.
            if !done.is_closed() {
                catch_unwind(AssertUnwindSafe(job)).unwrap_or_default();
            }
        }));
        waited.recv().await.unwrap_or_default();
    }

    fn take(&'static self, job: Job) {
        let mut state = lock(&self.state);
        state.jobs.push_back(job);
        self.more.notify_one();
        self.grow(state);
    }

    /// Starts a thread where the idle ones are too few for what waits.
    fn grow(&'static self, mut state: MutexGuard<'_, State>) {
        if state.jobs.len() <= state.idle * JOBS_FOR_IDLE || state.threads >= THREADS {
            return;
        }
        state.threads += 1;
        state.idle += 1;
        drop(state);
        if let Err(error) = (self.start)(Box::new(move || self.work())) {
            let mut state = lock(&self.state);
            state.threads -= 1;
            state.idle -= 1;
            if state.threads > 0 {
                return;
            }
            // Nobody else will.
            let left = std::mem::take(&mut state.jobs);
            drop(state);
            log::warn!(
                "no thread can be started ({error}): work that waits for disks is done one after the other"
            );
            for job in left {
                job();
            }
        }
    }

    /// What each thread does: one job after the other, until there has been none for a while.
    fn work(&'static self) {
        let mut state = lock(&self.state);
        loop {
            state.idle -= 1;
            while let Some(job) = state.jobs.pop_front() {
                // This one is busy from now on, perhaps for long: what still waits does not wait for it.
                self.grow(state);
                job();
                state = lock(&self.state);
            }
            state.idle += 1;
            let (woken, waited) = self
                .more
                .wait_timeout(state, IDLE)
                .unwrap_or_else(PoisonError::into_inner);
            state = woken;
            if waited.timed_out() && state.jobs.is_empty() {
                state.idle -= 1;
                state.threads -= 1;
                return;
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    fn spawn(worker: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        thread::Builder::new().spawn(worker).map(drop)
    }

    #[test]
    fn work_is_done_on_other_threads_many_pieces_at_a_time() {
        static POOL: Pool = Pool::new(spawn);
        let here = thread::current().id();
        let barrier = Arc::new(std::sync::Barrier::new(20));
        let all: Vec<_> = (0..20)
            .map(|number| {
                let barrier = Arc::clone(&barrier);
                // Each waits for all the others: with fewer threads than pieces of work this would not end.
                Box::pin(on(&POOL, move || {
                    barrier.wait();
                    (number, thread::current().id())
                }))
            })
            .collect();
        let executor = smol::LocalExecutor::new();
        let tasks: Vec<_> = all.into_iter().map(|work| executor.spawn(work)).collect();
        smol::block_on(executor.run(async {
            for (expected, task) in tasks.into_iter().enumerate() {
                let (number, thread) = task.await;
                assert_eq!(number, expected);
                assert_ne!(thread, here);
            }
        }));
    }

    #[test]
    fn work_is_done_when_the_system_starts_no_thread_at_all() {
        static TRIED: AtomicUsize = AtomicUsize::new(0);
        static POOL: Pool = Pool::new(|_| {
            TRIED.fetch_add(1, Ordering::Relaxed);
            Err(io::ErrorKind::WouldBlock.into())
        });
        for number in 0..100 {
            assert_eq!(smol::block_on(on(&POOL, move || number)), number);
        }
        assert_eq!(
            TRIED.load(Ordering::Relaxed),
            100,
            "once each, not for ever"
        );
    }

    #[test]
    fn work_is_done_by_the_threads_there_are_when_no_more_can_be_started() {
        static TRIED: AtomicUsize = AtomicUsize::new(0);
        static POOL: Pool = Pool::new(|worker| {
            if TRIED.fetch_add(1, Ordering::Relaxed) == 0 {
                return spawn(worker);
            }
            Err(io::ErrorKind::WouldBlock.into())
        });
        let (go_on, wait) = mpsc::channel::<()>();
        let executor = smol::LocalExecutor::new();
        let first = executor.spawn(on(&POOL, move || wait.recv().is_ok()));
        let second = executor.spawn(on(&POOL, || thread::current().id()));
        let here = thread::current().id();
        smol::block_on(executor.run(async {
            while TRIED.load(Ordering::Relaxed) < 2 {
                smol::future::yield_now().await;
            }
            go_on.send(()).unwrap();
            assert!(first.await);
            assert_ne!(second.await, here, "not on the thread of everything else");
        }));
    }

    #[test]
    fn a_panic_reaches_who_waits_and_the_thread_lives_on() {
        static POOL: Pool = Pool::new(spawn);
        let panicked = std::panic::catch_unwind(|| {
            smol::block_on(on(&POOL, || -> u32 { std::panic::panic_any("broken") }))
        });
        assert!(panicked.is_err());
        assert_eq!(smol::block_on(on(&POOL, || 7)), 7);
        assert!(lock(&POOL.state).threads <= 2);
    }

    #[test]
    fn what_nobody_waits_for_any_more_is_not_begun() {
        static STARTED: Mutex<Vec<Job>> = Mutex::new(Vec::new());
        static BEGUN: AtomicUsize = AtomicUsize::new(0);
        static POOL: Pool = Pool::new(|worker| {
            lock(&STARTED).push(worker);
            Ok(())
        });
        let work = || BEGUN.fetch_add(1, Ordering::Relaxed);
        let mut given_up = Box::pin(on(&POOL, work));
        assert!(smol::block_on(smol::future::poll_once(&mut given_up)).is_none());
        drop(given_up);
        let mut waited_for = Box::pin(on(&POOL, work));
        assert!(smol::block_on(smol::future::poll_once(&mut waited_for)).is_none());
        let worker = lock(&STARTED).remove(0);
        worker();
        smol::block_on(waited_for);
        assert_eq!(BEGUN.load(Ordering::Relaxed), 1);
    }
}
