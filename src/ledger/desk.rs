//! The shared commit: one thread gathers what many journeys ask for and commits it in one transaction.
//!
//! A durable commit costs two syncs of the disk whatever it holds, so journeys that are ready at the same time share one.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::{Change, Ledger, LedgerError, Outcome, lock};

/// The most changes of one commit: beyond this, sharing gains little and everyone waits.
const MOST_CHANGES: usize = 256;
/// So few journeys under way wait for each other: their photos come slowly, and each commit wears the card.
const FEW: usize = 64;
/// How long the first that asks may wait for others.
const LONGEST_WAIT: Duration = Duration::from_millis(250);

/// Where changes are handed in to be committed together. Clones share one desk; with the last of them and of its
/// [`InFlight`] guards its thread ends, after the last commit.
#[derive(Clone)]
pub struct Desk {
    tray: Arc<OpenTray>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

/// A journey under way: as long as one has not asked, the desk may wait for it.
pub struct InFlight {
    tray: Arc<OpenTray>,
}

/// The tray of those who may still hand something in: it is closed with the last of them.
struct OpenTray(Arc<Tray>);

/// What the askers and the desk's thread share.
#[derive(Default)]
struct Tray {
    holds: Mutex<Holds>,
    /// Something was handed in, a journey ended, or the tray was closed.
    changed: Condvar,
}

#[derive(Default)]
struct Holds {
    waiting: Vec<Request>,
    in_flight: usize,
    closed: bool,
}

type Answer = Result<Vec<Outcome>, Arc<LedgerError>>;

struct Request {
    changes: Vec<Change>,
    answer: smol::channel::Sender<Answer>,
}

impl Desk {
    /// Starts the desk's thread. `now` is asked once for each commit, `is_free` is as in [`Ledger::commit`].
    pub fn start(
        ledger: Arc<Ledger>,
        now: fn() -> Timestamp,
        is_free: Arc<dyn Fn(&Path) -> bool + Send + Sync>,
    ) -> Self {
        let tray = Arc::new(Tray::default());
        let clerk = Clerk {
            ledger,
            now,
            is_free,
            tray: Arc::clone(&tray),
        };
        let thread = std::thread::Builder::new()
            .name("ledger".to_owned())
            .stack_size(1 << 20)
            .spawn(move || clerk.work());
        // Without a thread every request is answered with an error: the photos stay in the inbox.
        let thread = match thread {
            Ok(thread) => Some(thread),
            Err(error) => {
                log::error!("cannot start the ledger's thread: {error}");
                None
            }
        };
        Self {
            tray: Arc::new(OpenTray(tray)),
            thread: Arc::new(Mutex::new(thread)),
        }
    }

    /// Counts a journey as under way until the guard is dropped.
    pub fn begin(&self) -> InFlight {
        lock(&self.tray.0.holds).in_flight += 1;
        InFlight {
            tray: Arc::clone(&self.tray),
        }
    }

    /// Has one change committed; resolves when it is durable. If the future is dropped, the change may happen or not.
    pub async fn ask(&self, change: Change) -> Result<Outcome, Arc<LedgerError>> {
        let outcomes = self.ask_all(vec![change]).await?;
        outcomes
            .into_iter()
            .next()
            .ok_or_else(|| Arc::new(LedgerError::DeskClosed))
    }

    /// Has several changes committed, all in one transaction; the outcomes are in their order.
    pub async fn ask_all(&self, changes: Vec<Change>) -> Answer {
        let (answer, answered) = smol::channel::bounded(1);
        let closed = || Arc::new(LedgerError::DeskClosed);
        if !self.tray.0.hand_in(Request { changes, answer }) {
            return Err(closed());
        }
        match answered.recv().await {
            Ok(answer) => answer,
            Err(smol::channel::RecvError) => Err(closed()),
        }
    }

    /// Commits what waits, then ends the thread; blocks until it has ended. Whoever asks later gets
    /// [`LedgerError::DeskClosed`].
    pub fn close(self) {
        self.tray.0.close();
        let thread = lock(&self.thread).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            log::error!("the ledger's thread ended in a panic");
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let tray = &self.tray.0;
        lock(&tray.holds).in_flight -= 1;
        // The others may have nobody left to wait for.
        tray.changed.notify_one();
    }
}

impl Drop for OpenTray {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Tray {
    /// Lays a request in the tray; `false`: it is closed.
    fn hand_in(&self, request: Request) -> bool {
        let mut holds = lock(&self.holds);
        if holds.closed {
            return false;
        }
        holds.waiting.push(request);
        self.changed.notify_one();
        true
    }

    fn close(&self) {
        lock(&self.holds).closed = true;
        self.changed.notify_one();
    }

    /// The requests of the next commit, when it is worth its cost; none: the tray is closed and empty.
    fn next(&self) -> Vec<Request> {
        let mut holds = self
            .changed
            .wait_while(lock(&self.holds), |holds| {
                holds.waiting.is_empty() && !holds.closed
            })
            .unwrap_or_else(PoisonError::into_inner);
        let deadline = Instant::now() + LONGEST_WAIT;
        while !holds.is_worth_it() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.changed.wait_timeout(holds, left);
            (holds, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        holds.take_fitting()
    }
}

impl Holds {
    fn is_worth_it(&self) -> bool {
        // Of few, all; of many, half: the others go on meanwhile, and nobody waits for the slowest.
        let worth_it = if self.in_flight > FEW {
            self.in_flight / 2
        } else {
            self.in_flight
        };
        let enough = self.waiting.len() >= worth_it;
        enough || self.closed || self.changes_waiting() >= MOST_CHANGES
    }

    fn changes_waiting(&self) -> usize {
        self.waiting
            .iter()
            .map(|request| request.changes.len())
            .sum()
    }

    /// So many as fit into one commit, and at least one.
    fn take_fitting(&mut self) -> Vec<Request> {
        let mut count = 0;
        let fitting = self
            .waiting
            .iter()
            .take_while(|request| {
                let first = count == 0;
                count += request.changes.len();
                first || count <= MOST_CHANGES
            })
            .count();
        self.waiting.drain(..fitting).collect()
    }
}

struct Clerk {
    ledger: Arc<Ledger>,
    now: fn() -> Timestamp,
    is_free: Arc<dyn Fn(&Path) -> bool + Send + Sync>,
    tray: Arc<Tray>,
}

/// However the thread ends, and also where it could not be started, nobody waits for an answer that does not come.
impl Drop for Clerk {
    fn drop(&mut self) {
        self.tray.close();
        let unanswered = std::mem::take(&mut lock(&self.tray.holds).waiting);
        drop(unanswered);
    }
}

impl Clerk {
    fn work(self) {
        loop {
            let requests = self.tray.next();
            if requests.is_empty() {
                break;
            }
            self.commit(requests);
        }
    }

    fn commit(&self, mut requests: Vec<Request>) {
        let lengths: Vec<usize> = requests
            .iter()
            .map(|request| request.changes.len())
            .collect();
        let changes: Vec<Change> = requests
            .iter_mut()
            .flat_map(|request| std::mem::take(&mut request.changes))
            .collect();
        match self.commit_all(&changes) {
            Ok(outcomes) => {
                let mut outcomes = outcomes.into_iter();
                for (request, length) in requests.iter().zip(lengths) {
                    answer(request, Ok(outcomes.by_ref().take(length).collect()));
                }
            }
            // One bad change must not stop the others: each request on its own.
            Err(error) if error.is_about_one_row() && requests.len() > 1 => {
                let mut rest = changes.as_slice();
                for (request, length) in requests.iter().zip(lengths) {
                    let (own, others) = rest.split_at(length);
                    rest = others;
                    answer(request, self.commit_all(own));
                }
            }
            Err(error) => {
                for request in &requests {
                    answer(request, Err(Arc::clone(&error)));
                }
            }
        }
    }

    fn commit_all(&self, changes: &[Change]) -> Answer {
        let is_free = self.is_free.as_ref();
        self.ledger
            .commit(changes, (self.now)(), &|path| is_free(path))
            .map_err(Arc::new)
    }
}

fn answer(request: &Request, answer: Answer) {
    // Whoever no longer waits needs no answer.
    drop(request.answer.try_send(answer));
}
