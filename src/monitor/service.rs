//! The vocabulary of the monitor: services, what they say of themselves, and what is seen of them from outside.

use std::borrow::Cow;
use std::time::Duration;

use jiff::Timestamp;

/// A part of the appliance, or something beside it, whose health is watched. Known by its name: letters, digits, `-`, `_`, `.`, `@`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Service(Cow<'static, str>);

impl Service {
    /// The photo line.
    pub const LIBRARIAN: Self = Self(Cow::Borrowed("librarian"));
    /// This program's page.
    pub const DASHBOARD: Self = Self(Cow::Borrowed("dashboard"));
    /// The monitor itself.
    pub const SERVICE_MONITOR: Self = Self(Cow::Borrowed("service-monitor"));
    /// The ledger.
    pub const FACTORY_DB: Self = Self(Cow::Borrowed("factory-db"));
    /// What brings the photos from the phones.
    pub const SYNCTHING: Self = Self(Cow::Borrowed("syncthing"));

    /// A service of the owner's choosing: a unit, a container, a probe.
    pub fn named(name: &str) -> Self {
        Self(Cow::Owned(name.to_owned()))
    }

    /// Whether it is a part of the appliance, without which photos are not filed or not shown.
    pub fn is_ours(&self) -> bool {
        let ours = [
            Self::LIBRARIAN,
            Self::DASHBOARD,
            Self::SERVICE_MONITOR,
            Self::FACTORY_DB,
        ];
        ours.contains(self)
    }

    /// The name users see.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A service, and how often it reports.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Watched {
    /// Which.
    pub service: Service,
    /// How often it reports.
    pub interval: Duration,
}

impl Watched {
    /// Silent for so long, it counts as stuck: one beat may be late, two may not.
    pub fn patience(&self) -> Duration {
        self.interval * 2 + Duration::from_secs(30)
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
    /// Can't be told: it is not set up, or nobody may look.
    Unknown(String),
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
            Self::Unknown(_) => "unknown",
        }
    }

    /// Why it is not up, where there is a reason.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Up | Self::Stopped => None,
            Self::Degraded(reason)
            | Self::Stuck(reason)
            | Self::Down(reason)
            | Self::Unknown(reason) => Some(reason),
        }
    }

    /// Whether it does not do its work.
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::Stuck(_) | Self::Down(_))
    }

    /// The same, with its reason changed.
    pub(super) fn with_reason(self, change: impl FnOnce(String) -> String) -> Self {
        match self {
            Self::Up => Self::Up,
            Self::Stopped => Self::Stopped,
            Self::Degraded(reason) => Self::Degraded(change(reason)),
            Self::Stuck(reason) => Self::Stuck(change(reason)),
            Self::Down(reason) => Self::Down(change(reason)),
            Self::Unknown(reason) => Self::Unknown(change(reason)),
        }
    }

    /// The stored form: a code and the reason.
    pub(super) fn code(&self) -> u8 {
        match self {
            Self::Up => 0,
            Self::Degraded(_) => 1,
            Self::Stuck(_) => 2,
            Self::Down(_) => 3,
            Self::Stopped => 4,
            Self::Unknown(_) => 5,
        }
    }

    /// From the stored form; a code of a later version reads as unknown.
    pub(super) fn from_code(code: u8, reason: &str) -> Self {
        match code {
            0 => Self::Up,
            1 => Self::Degraded(reason.to_owned()),
            2 => Self::Stuck(reason.to_owned()),
            3 => Self::Down(reason.to_owned()),
            4 => Self::Stopped,
            _ => Self::Unknown(reason.to_owned()),
        }
    }
}

/// What a service reports at one time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// How it is.
    pub status: Status,
    /// What it is doing.
    pub task: Option<String>,
    /// What waits for it.
    pub queue_depth: Option<u64>,
    /// How long it took to answer, where it was asked.
    pub response: Option<Duration>,
}

impl From<Status> for Report {
    fn from(status: Status) -> Self {
        Self {
            status,
            task: None,
            queue_depth: None,
            response: None,
        }
    }
}

impl Report {
    /// The same, with what it is doing.
    #[must_use]
    pub fn doing(self, task: impl Into<String>) -> Self {
        Self {
            task: Some(task.into()),
            ..self
        }
    }

    /// The same, with what waits for it.
    #[must_use]
    pub fn with_queue(self, depth: u64) -> Self {
        Self {
            queue_depth: Some(depth),
            ..self
        }
    }

    /// The same, with how long it took to answer.
    #[must_use]
    pub fn answered_in(self, response: Duration) -> Self {
        Self {
            response: Some(response),
            ..self
        }
    }
}

/// One report of one service, as the history keeps it.
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
    /// How long it took to answer, to the millisecond.
    pub response: Option<Duration>,
    /// How far its time can be trusted.
    pub clock: BeatClock,
}

/// How far the time of a beat can be trusted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BeatClock {
    /// The wall clock was plausible when it was made.
    Trusted,
    /// The wall clock had jumped, stood before an earlier beat, or was kept right by nobody.
    Doubtful,
    /// It was doubtful, and was put right once the clock's error was known.
    Corrected,
}

/// What is seen of a service from outside, now: its process, its unit, its container, its answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Live {
    /// Who says so: `task`, `http`, `systemd NAME`, `docker NAME`.
    pub source: String,
    /// In the words of the source: `running`, `active (running)`, `200`, …
    pub state: String,
    /// What that means for the service.
    pub status: Status,
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
    /// How long it may be silent.
    pub patience: Duration,
    /// Since when it has this status, by the wall clock; `None`: not known.
    pub since: Option<Timestamp>,
    /// What it was doing.
    pub current_task: Option<String>,
    /// What waited for it.
    pub queue_depth: Option<u64>,
    /// How long it took to answer.
    pub response: Option<Duration>,
    /// What is seen of it from outside; empty: nothing is looked at.
    pub live: Vec<Live>,
}

impl ServiceRow {
    /// A service that has said nothing yet.
    pub fn unheard(watched: &Watched) -> Self {
        Self {
            service: watched.service.clone(),
            status: None,
            last_heartbeat: None,
            silent_for: None,
            patience: watched.patience(),
            since: None,
            current_task: None,
            queue_depth: None,
            response: None,
            live: Vec::new(),
        }
    }

    /// Whether it reported in this run and then fell silent for longer than is allowed.
    pub fn is_overdue(&self) -> bool {
        self.silent_for
            .is_some_and(|silence| silence > self.patience)
            && self.status != Some(Status::Stopped)
    }

    /// Where what is seen now and what it said last do not agree: a sentence.
    pub fn disagreement(&self) -> Option<String> {
        let works = match self.status.as_ref()? {
            _ if self.is_overdue() => false,
            Status::Up | Status::Degraded(_) => true,
            Status::Stuck(_) | Status::Down(_) => false,
            Status::Stopped | Status::Unknown(_) => return None,
        };
        let other = self.live.iter().find(|live| match &live.status {
            Status::Up | Status::Degraded(_) => !works,
            Status::Down(_) | Status::Stuck(_) | Status::Stopped => works,
            Status::Unknown(_) => false,
        })?;
        let name = self.service.as_str();
        let Live { source, state, .. } = other;
        Some(if works {
            format!(
                "The last heartbeat of {name} was good, but {source} says now: {state}. If that stays so, it has just stopped."
            )
        } else {
            format!(
                "{source} says that {name} is there ({state}), but its heartbeats say otherwise: it may hang. Restart it."
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(status: Status, live: Status) -> ServiceRow {
        let watched = Watched {
            service: Service::SYNCTHING,
            interval: Duration::from_secs(300),
        };
        ServiceRow {
            status: Some(status),
            live: vec![Live {
                source: "systemd syncthing@pi.service".to_owned(),
                state: "active (running)".to_owned(),
                status: live,
            }],
            ..ServiceRow::unheard(&watched)
        }
    }

    #[test]
    fn where_heartbeats_and_real_time_disagree_a_sentence_says_so() {
        let down = || Status::Down("no answer".to_owned());
        assert_eq!(row(Status::Up, Status::Up).disagreement(), None);
        assert_eq!(row(down(), down()).disagreement(), None);
        assert_eq!(
            row(Status::Up, Status::Unknown("?".to_owned())).disagreement(),
            None
        );
        let gone = row(Status::Up, Status::Stopped).disagreement();
        assert!(gone.is_some_and(|said| said.contains("was good")));
        let hangs = row(down(), Status::Up).disagreement();
        assert!(hangs.is_some_and(|said| said.contains("may hang")));
    }

    #[test]
    fn a_service_that_falls_silent_is_overdue_and_disagrees_with_a_process_that_runs() {
        let mut row = row(Status::Up, Status::Up);
        assert!(!row.is_overdue());
        row.silent_for = Some(Duration::from_secs(629));
        assert!(!row.is_overdue());
        row.silent_for = Some(Duration::from_secs(631));
        assert!(row.is_overdue());
        assert!(row.disagreement().is_some());
        row.status = Some(Status::Stopped);
        assert!(!row.is_overdue());
    }
}
