//! The monitor: what each service said last, and the history of what it said.
//!
//! Services report by [`Monitor::beat`]. The current rows live in memory and are always at hand; [`history`] keeps them and the beats
//! in a file of its own, which is disposable: whatever happens to it, the monitor goes on in memory and says so ([`Monitor::notice`]).
//!
//! # Two clocks
//!
//! Beats carry the wall clock, for people. How long a service has been silent is measured on the monotonic clock, because a
//! board without a battery-backed clock starts in the past and jumps: a jump must neither prune history nor raise an alarm.

pub mod history;
mod record;
pub mod syncthing;

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

#[doc(hidden)]
pub use record::{parsed_row, row_record};

use history::{History, IsSynchronized};

/// How often the librarian reports.
pub const LIBRARIAN_INTERVAL: Duration = Duration::from_secs(60);

/// How often every other service reports.
pub const SERVICE_INTERVAL: Duration = Duration::from_secs(300);

/// Beats are gathered in memory this long before they are committed: an SD card wears by the commit.
pub const COMMIT_INTERVAL: Duration = Duration::from_secs(300);

/// Beats held in memory at most, while the history cannot be written.
const WAITING_BEATS: usize = 2_000;

/// Bytes kept of a reason or a task: they may carry file names, which have no useful bound.
const TEXT_LIMIT: usize = 160;

/// A part of the appliance that reports its health.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Service {
    /// The photo line.
    Librarian = 0,
    /// This program's page.
    Dashboard = 1,
    /// The monitor itself.
    ServiceMonitor = 2,
    /// The ledger.
    FactoryDb = 3,
}

impl Service {
    /// All services, in the order of their stored form and of the page.
    pub const ALL: [Self; 4] = [
        Self::Librarian,
        Self::Dashboard,
        Self::ServiceMonitor,
        Self::FactoryDb,
    ];

    /// The name users see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Librarian => "librarian",
            Self::Dashboard => "dashboard",
            Self::ServiceMonitor => "service-monitor",
            Self::FactoryDb => "factory-db",
        }
    }

    /// How often it reports.
    pub fn interval(self) -> Duration {
        match self {
            Self::Librarian => LIBRARIAN_INTERVAL,
            Self::Dashboard | Self::ServiceMonitor | Self::FactoryDb => SERVICE_INTERVAL,
        }
    }

    /// Silent for so long, it counts as stuck: one beat may be late, two may not.
    pub fn patience(self) -> Duration {
        self.interval() * 2 + Duration::from_secs(30)
    }
}

/// What a service says of itself; the text is the reason, in words for the owner.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Status {
    /// Works.
    Up,
    /// Works, but not as it should.
    Degraded(String),
    /// Alive without progress.
    Stuck(String),
    /// Does not work.
    Down(String),
    /// Was stopped on purpose.
    Stopped,
}

impl Status {
    /// The name users see.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Degraded(_) => "degraded",
            Self::Stuck(_) => "stuck",
            Self::Down(_) => "down",
            Self::Stopped => "stopped",
        }
    }

    /// Why it is not up, where there is a reason.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Up | Self::Stopped => None,
            Self::Degraded(reason) | Self::Stuck(reason) | Self::Down(reason) => Some(reason),
        }
    }

    /// The stored form: a code and the reason.
    fn code(&self) -> u8 {
        match self {
            Self::Up => 0,
            Self::Degraded(_) => 1,
            Self::Stuck(_) => 2,
            Self::Down(_) => 3,
            Self::Stopped => 4,
        }
    }

    /// From the stored form; a code of a later version reads as degraded.
    fn from_code(code: u8, reason: &str) -> Self {
        match code {
            0 => Self::Up,
            2 => Self::Stuck(reason.to_owned()),
            3 => Self::Down(reason.to_owned()),
            4 => Self::Stopped,
            _ => Self::Degraded(reason.to_owned()),
        }
    }
}

/// What is known of one service now.
#[derive(Clone, PartialEq, Debug)]
pub struct ServiceRow {
    /// Which service.
    pub service: Service,
    /// What it said last; `None`: nothing yet, nor in an earlier run.
    pub status: Option<Status>,
    /// When it said so, by the wall clock.
    pub last_heartbeat: Option<Timestamp>,
    /// How long ago, by the monotonic clock; `None`: not in this run.
    pub silent_for: Option<Duration>,
    /// What it was doing.
    pub current_task: Option<String>,
    /// What waited for it.
    pub queue_depth: Option<u64>,
}

impl ServiceRow {
    /// A service that has said nothing yet.
    pub fn unheard(service: Service) -> Self {
        Self {
            service,
            status: None,
            last_heartbeat: None,
            silent_for: None,
            current_task: None,
            queue_depth: None,
        }
    }

    /// Whether it reported in this run and then fell silent for longer than is allowed.
    pub fn is_overdue(&self) -> bool {
        self.silent_for
            .is_some_and(|silence| silence > self.service.patience())
            && self.status != Some(Status::Stopped)
    }
}

/// One report of one service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Beat {
    /// Who.
    pub service: Service,
    /// When, by the wall clock, to the millisecond.
    pub at: Timestamp,
    /// What it said.
    pub status: Status,
    /// What it was doing; empty: nothing.
    pub task: String,
    /// The wall clock had jumped, stood before an earlier beat, or was kept right by nobody: the time is doubtful.
    pub clock_doubtful: bool,
}

/// What is kept in memory.
#[derive(Debug)]
struct Memory {
    rows: Vec<(ServiceRow, Option<Instant>)>,
    waiting: std::collections::VecDeque<Beat>,
    last_commit: Option<Instant>,
}

/// The heartbeats of all services. Shared behind an `Arc`; blocks only in [`Monitor::flush`], and in [`Monitor::beat`] when it flushes.
#[derive(Debug)]
pub struct Monitor {
    memory: Mutex<Memory>,
    history: History,
}

impl Monitor {
    /// Opens the history in the data folder, or makes one; whatever is wrong with it, the monitor works in memory.
    /// `is_synchronized` says whether a time service keeps the clock that gives `now`, where that is known.
    pub fn open(data: &Path, now: Timestamp, is_synchronized: IsSynchronized) -> Self {
        let history = History::open(data, now, is_synchronized);
        let known = history.current();
        let rows = Service::ALL
            .into_iter()
            .map(|service| {
                let row = known.iter().find(|row| row.service == service);
                let row = row.cloned().unwrap_or(ServiceRow::unheard(service));
                (row, None)
            })
            .collect();
        let memory = Memory {
            rows,
            waiting: std::collections::VecDeque::new(),
            last_commit: None,
        };
        Self {
            memory: Mutex::new(memory),
            history,
        }
    }

    /// A service reports. Committed at once when its status changed, else with the others every [`COMMIT_INTERVAL`].
    pub fn beat(
        &self,
        service: Service,
        status: Status,
        task: Option<String>,
        queue_depth: Option<u64>,
        now: Timestamp,
    ) {
        let clock_doubtful = self.history.clock_is_doubtful(now);
        let due = {
            let mut memory = self.memory();
            let status = limited(status);
            let task = task.map(|task| shortened(&task));
            let commit_due = memory
                .last_commit
                .is_none_or(|at| at.elapsed() >= COMMIT_INTERVAL);
            let mut changed = false;
            if let Some((row, heard)) = memory
                .rows
                .iter_mut()
                .find(|(row, _)| row.service == service)
            {
                changed = row.status.as_ref() != Some(&status) || heard.is_none();
                row.status = Some(status.clone());
                row.last_heartbeat = Some(now);
                row.current_task.clone_from(&task);
                row.queue_depth = queue_depth;
                *heard = Some(Instant::now());
            }
            memory.waiting.push_back(Beat {
                service,
                at: now,
                status,
                task: task.unwrap_or_default(),
                clock_doubtful,
            });
            if memory.waiting.len() > WAITING_BEATS {
                memory.waiting.pop_front();
            }
            changed || commit_due
        };
        if due {
            self.flush(now);
        }
    }

    /// The current row of every service, in the order of [`Service::ALL`].
    pub fn current(&self) -> Vec<ServiceRow> {
        let memory = self.memory();
        let current = memory.rows.iter().map(|(row, heard)| ServiceRow {
            silent_for: heard.map(|at| at.elapsed()),
            ..row.clone()
        });
        current.collect()
    }

    /// A service's beats in `from..to`, oldest first: those in the file and those that still wait.
    pub fn beats(&self, service: Service, from: Timestamp, to: Timestamp) -> Vec<Beat> {
        let waiting: Vec<Beat> = {
            let memory = self.memory();
            let of_service = memory.waiting.iter().filter(|beat| {
                beat.service == service && (from..to).contains(&history::stored_time(beat.at))
            });
            of_service.cloned().collect()
        };
        let mut beats = self.history.beats(service, from, to);
        beats.extend(waiting);
        beats.sort_by_key(|beat| beat.at);
        beats
    }

    /// Commits what waits, and drops what is older than [`history::RETENTION`]. Call it at stop.
    pub fn flush(&self, now: Timestamp) {
        let (rows, beats) = {
            let mut memory = self.memory();
            memory.last_commit = Some(Instant::now());
            let rows: Vec<ServiceRow> = memory.rows.iter().map(|(row, _)| row.clone()).collect();
            (rows, std::mem::take(&mut memory.waiting))
        };
        // Written without the lock: a disk that hangs must not take the page with it.
        if self.history.commit(&rows, beats.iter(), now).is_err() {
            let mut memory = self.memory();
            for beat in beats.into_iter().rev() {
                if memory.waiting.len() < WAITING_BEATS {
                    memory.waiting.push_front(beat);
                }
            }
        }
    }

    /// What the owner should know of the history: that it was damaged and started anew, or cannot be written.
    pub fn notice(&self) -> Option<String> {
        self.history.notice()
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The current rows as the file in the data folder has them, for a command while nothing runs; empty where it cannot be read.
/// Changes nothing.
pub fn rows_on_disk(data: &Path) -> Vec<ServiceRow> {
    history::read_rows(data)
}

fn limited(status: Status) -> Status {
    match status {
        Status::Degraded(reason) => Status::Degraded(shortened(&reason)),
        Status::Stuck(reason) => Status::Stuck(shortened(&reason)),
        Status::Down(reason) => Status::Down(shortened(&reason)),
        Status::Up | Status::Stopped => status,
    }
}

/// At most [`TEXT_LIMIT`] bytes of a text, cut between characters.
fn shortened(text: &str) -> String {
    if text.len() <= TEXT_LIMIT {
        return text.to_owned();
    }
    let mut end = TEXT_LIMIT - '…'.len_utf8();
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let kept = text.get(..end).unwrap_or_default();
    format!("{kept}…")
}

#[cfg(test)]
mod tests;
