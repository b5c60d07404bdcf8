//! The shared commit: one thread gathers what many journeys ask for and commits it in one transaction.
//!
//! A durable commit costs two syncs of the disk whatever it holds, so journeys that are ready at the same time share one.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
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
    mail: Sender<Mail>,
    in_flight: Arc<AtomicUsize>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

/// A journey under way: as long as one has not asked, the desk may wait for it.
pub struct InFlight {
    mail: Sender<Mail>,
    in_flight: Arc<AtomicUsize>,
}

type Answer = Result<Vec<Outcome>, Arc<LedgerError>>;

struct Request {
    changes: Vec<Change>,
    answer: smol::channel::Sender<Answer>,
}

enum Mail {
    Ask(Request),
    /// A journey ended: the others may have nobody left to wait for.
    Ended,
    Close,
}

impl Desk {
    /// Starts the desk's thread. `now` is asked once for each commit, `is_free` is as in [`Ledger::commit`].
    pub fn start(
        ledger: Arc<Ledger>,
        now: fn() -> Timestamp,
        is_free: Arc<dyn Fn(&Path) -> bool + Send + Sync>,
    ) -> Self {
        let (mail, inbox) = channel();
        let in_flight = Arc::new(AtomicUsize::new(0));
        let clerk = Clerk {
            ledger,
            now,
            is_free,
            in_flight: Arc::clone(&in_flight),
            waiting: Vec::new(),
            closed: false,
        };
        let thread = std::thread::Builder::new()
            .name("ledger".to_owned())
            .spawn(move || clerk.work(&inbox));
        // Without a thread every request is answered with an error: the photos stay in the inbox.
        let thread = match thread {
            Ok(thread) => Some(thread),
            Err(error) => {
                log::error!("cannot start the ledger's thread: {error}");
                None
            }
        };
        Self {
            mail,
            in_flight,
            thread: Arc::new(Mutex::new(thread)),
        }
    }

    /// Counts a journey as under way until the guard is dropped.
    pub fn begin(&self) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::SeqCst);
        InFlight {
            mail: self.mail.clone(),
            in_flight: Arc::clone(&self.in_flight),
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
        if self
            .mail
            .send(Mail::Ask(Request { changes, answer }))
            .is_err()
        {
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
        if self.mail.send(Mail::Close).is_ok() {
            let thread = lock(&self.thread).take();
            if thread.is_some_and(|thread| thread.join().is_err()) {
                log::error!("the ledger's thread ended in a panic");
            }
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
        // A desk that is closed needs no word.
        drop(self.mail.send(Mail::Ended));
    }
}

struct Clerk {
    ledger: Arc<Ledger>,
    now: fn() -> Timestamp,
    is_free: Arc<dyn Fn(&Path) -> bool + Send + Sync>,
    in_flight: Arc<AtomicUsize>,
    waiting: Vec<Request>,
    closed: bool,
}

impl Clerk {
    fn work(mut self, inbox: &Receiver<Mail>) {
        while !self.closed {
            match inbox.recv() {
                Ok(mail) => self.sort(mail),
                Err(_) => break,
            }
            self.gather(inbox);
            while !self.waiting.is_empty() {
                self.commit();
                // What came meanwhile may wait for its own company.
                for mail in inbox.try_iter() {
                    self.sort(mail);
                }
                self.gather(inbox);
            }
        }
    }

    /// Waits until a commit is worth its cost.
    fn gather(&mut self, inbox: &Receiver<Mail>) {
        let deadline = Instant::now() + LONGEST_WAIT;
        while !self.waiting.is_empty() {
            for mail in inbox.try_iter() {
                self.sort(mail);
            }
            // Of few, all; of many, half: the others go on meanwhile, and nobody waits for the slowest.
            let in_flight = self.in_flight.load(Ordering::SeqCst);
            let worth_it = if in_flight > FEW {
                in_flight / 2
            } else {
                in_flight
            };
            let enough = self.waiting.len() >= worth_it;
            if enough || self.closed || self.changes_waiting() >= MOST_CHANGES {
                return;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match inbox.recv_timeout(left) {
                Ok(mail) => self.sort(mail),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn sort(&mut self, mail: Mail) {
        match mail {
            // After the desk is closed the request is dropped, which tells the asker.
            Mail::Ask(request) if !self.closed => self.waiting.push(request),
            Mail::Ask(_) | Mail::Ended => {}
            Mail::Close => self.closed = true,
        }
    }

    fn changes_waiting(&self) -> usize {
        self.waiting
            .iter()
            .map(|request| request.changes.len())
            .sum()
    }

    fn commit(&mut self) {
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
        let mut requests: Vec<Request> = self.waiting.drain(..fitting).collect();
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
