//! The monitor: what each service said last, what is seen of it from outside, and the history of both.
//!
//! Services report by [`Monitor::beat`]; what is seen from outside comes by [`Monitor::see`]. The current rows live in memory and are
//! always at hand; the history (`history.rs`) keeps them, the beats, the roll-ups and the events in a file of its own, which is disposable: whatever
//! happens to it, the monitor goes on in memory and says so ([`Monitor::notice`]).
//!
//! # Two views
//!
//! *Heartbeats* come from progress: a service whose work hangs stops beating, and is overdue. *Real time* is what its process, its
//! unit, its container or its answer says now. Where they disagree, [`ServiceRow::disagreement`] says so.
//!
//! # Two clocks
//!
//! Beats carry the wall clock, for people. How long a service has been silent is measured on the monotonic clock, because a
//! board without a battery-backed clock starts in the past and jumps: a jump must neither prune history nor raise an alarm. Beats
//! made while the wall clock was doubtful are marked, and moved to where they belong once its error is known.

pub mod alerts;
pub mod board;
mod clock;
pub mod docker;
mod doubt;
pub mod event;
mod history;
pub mod http_probe;
mod memory;
pub mod phones;
mod record;
pub mod rollup;
pub mod service;
pub mod syncthing;
pub mod systemd;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use smol::channel::Receiver;

use crate::asset::in_order;
use crate::config::Config;

pub use clock::IsSynchronized;
#[doc(hidden)]
pub use record::{parsed_row, row_record};
pub use service::{Beat, BeatClock, Live, Report, Service, ServiceRow, Status, Watched};

use board::Board;
use docker::Container;
use doubt::Doubts;
use event::{Event, Kind, Turn, key_of};
use history::{Batch, History};
use memory::{Heard, Memory};
use phones::Phone;
use rollup::{Accounts, Rollup};
use syncthing::Sight;

/// Beats held in memory at most, while the history cannot be written.
const WAITING_BEATS: usize = 2_000;

/// Events held in memory at most, while the history cannot be written.
const WAITING_EVENTS: usize = 500;

/// Bytes kept of a reason or a task: they may carry file names, which have no useful bound.
const TEXT_LIMIT: usize = 160;

/// Bytes kept of an event's sentence.
const EVENT_LIMIT: usize = 400;

/// Days whose roll-ups a page shows.
const DAYS_SHOWN: i32 = 60;

/// Events that a page shows.
const EVENTS_SHOWN: usize = 50;

/// What is watched and how long it is kept.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The services, in the order of the page.
    pub roster: Vec<Watched>,
    /// Beats are gathered in memory this long before they are committed: an SD card wears by the commit.
    pub commit_every: Duration,
    /// How long beats are kept.
    pub keep_beats: Duration,
    /// The zone whose days the roll-ups have.
    pub zone: TimeZone,
}

impl Settings {
    /// What the settings of the appliance come to.
    pub fn of(config: &Config) -> Self {
        let settings = &config.monitor;
        let others = [
            Service::DASHBOARD,
            Service::SERVICE_MONITOR,
            Service::FACTORY_DB,
            Service::SYNCTHING,
        ];
        let named = settings
            .probes
            .iter()
            .map(|probe| probe.name.as_str())
            .chain(settings.units.iter().map(String::as_str))
            .chain(settings.containers.iter().map(String::as_str))
            .filter(|name| !name.starts_with(Service::SYNCTHING.as_str()))
            .map(Service::named);
        let mut roster = vec![Watched {
            service: Service::LIBRARIAN,
            interval: settings.librarian_every,
        }];
        for service in others.into_iter().chain(named) {
            if roster.iter().all(|watched| watched.service != service) {
                roster.push(Watched {
                    service,
                    interval: settings.services_every,
                });
            }
        }
        Self {
            roster,
            commit_every: settings.commit_every,
            keep_beats: settings.keep,
            zone: config.zone.clone(),
        }
    }
}

/// What a page shows beside the services' rows.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Seen {
    /// The local day; `None`: nothing runs.
    pub today: Option<Date>,
    /// Roll-ups of the last 60 days, oldest first.
    pub days: Vec<(Date, Service, Rollup)>,
    /// What happened last, newest first.
    pub events: Vec<Event>,
    /// The board; `None`: not looked at yet.
    pub board: Option<Board>,
    /// Syncthing; `None`: not looked at yet.
    pub syncthing: Option<Sight>,
    /// Containers, where the settings say that there are some.
    pub containers: Vec<Container>,
    /// Which alerts reach nobody, and why.
    pub alert_troubles: Vec<String>,
    /// Why containers can't be seen.
    pub docker_trouble: Option<String>,
    /// The phones by name.
    pub phones: Vec<(String, Phone)>,
    /// Bytes of the history's file.
    pub history_bytes: u64,
    /// Commits of the history since the start.
    pub history_commits: u64,
}

/// The heartbeats of all services. Shared behind an `Arc`; blocks only in [`Monitor::flush`], and where a change is written at once.
#[derive(Debug)]
pub struct Monitor {
    settings: Settings,
    memory: Mutex<Memory>,
    /// One commit at a time: of a second one, what the first is writing would be seen neither as waiting nor as written.
    committing: Mutex<()>,
    history: History,
}

impl Monitor {
    /// Opens the history in the data folder, or makes one; whatever is wrong with it, the monitor works in memory.
    /// `is_synchronized` says whether a time service keeps the clock that gives `now`, where that is known.
    pub fn open(
        data: &Path,
        settings: Settings,
        now: Timestamp,
        is_synchronized: IsSynchronized,
    ) -> Self {
        let history = History::open(data, &settings, now, is_synchronized);
        let rows = history.current(&settings.roster);
        let rows = rows.into_iter().map(|row| Heard {
            row,
            last: None,
            accounted: None,
        });
        let memory = Memory {
            rows: rows.collect(),
            waiting: VecDeque::new(),
            events: VecDeque::new(),
            being_written: VecDeque::new(),
            accounts: Accounts::default(),
            doubts: Doubts::default(),
            corrections: Vec::new(),
            phones: history.phones(),
            board: None,
            syncthing: None,
            containers: Ok(Vec::new()),
            alert_troubles: Vec::new(),
            listener: None,
            open: history.open_incidents(),
            last_commit: None,
        };
        Self {
            settings,
            memory: Mutex::new(memory),
            committing: Mutex::new(()),
            history,
        }
    }

    /// A service reports. Committed at once when its status changed, else with the others, every so often.
    pub fn beat(&self, service: &Service, report: Report, now: Timestamp) {
        if self.note_beat(service, report, now) {
            self.flush(now);
        }
    }

    /// Everything is stopped on purpose: says so for every service, commits, and closes the file, whoever still holds the monitor.
    pub fn stop(&self, now: Timestamp) {
        for row in self.current() {
            self.note_beat(&row.service, Status::Stopped.into(), now);
        }
        self.flush(now);
        let _alone = self.commit_alone();
        self.history.close();
    }

    /// Notes a beat; says whether a commit is due.
    fn note_beat(&self, service: &Service, report: Report, now: Timestamp) -> bool {
        let (is_doubtful, drift) = self.clock(now);
        let mut guard = self.memory();
        let memory = &mut *guard;
        memory.note_clock(is_doubtful, drift, &self.history);
        let status = report
            .status
            .with_reason(|reason| shortened(&reason, TEXT_LIMIT));
        let task = report.task.map(|task| shortened(&task, TEXT_LIMIT));
        let commit_due = memory
            .last_commit
            .is_none_or(|at| at.elapsed() >= self.settings.commit_every);
        let mut gained = Accounts::default();
        let Some(heard) = memory
            .rows
            .iter_mut()
            .find(|heard| heard.row.service == *service)
        else {
            return false;
        };
        heard.account(now, Instant::now(), &mut gained);
        if let Some(took) = report.response {
            gained.note_answer(service, now, took);
        }
        let row = &mut heard.row;
        let has_changed = row.status.as_ref() != Some(&status);
        let is_first = heard.last.is_none();
        let before = row.status.replace(status.clone());
        if has_changed {
            row.since = Some(now);
        }
        row.last_heartbeat = Some(now);
        row.current_task.clone_from(&task);
        row.queue_depth = report.queue_depth;
        row.response = report.response;
        heard.last = Some(Instant::now());
        memory.gain(&gained, is_doubtful.then_some((now, drift)));
        memory.waiting.push_back(Beat {
            service: service.clone(),
            at: now,
            status: status.clone(),
            task: task.unwrap_or_default(),
            response: report.response,
            clock: clock_mark(is_doubtful),
        });
        if memory.waiting.len() > WAITING_BEATS {
            memory.waiting.pop_front();
        }
        memory.note_turn(service, before.as_ref(), &status, now, is_doubtful);
        has_changed || is_first || commit_due
    }

    /// What is seen of a service from outside by one source, in the place of what that source saw before; `None`: it looks no more.
    pub fn see(&self, service: &Service, source: &str, seen: Option<Live>) {
        let mut memory = self.memory();
        if let Some(heard) = memory
            .rows
            .iter_mut()
            .find(|heard| heard.row.service == *service)
        {
            let live = &mut heard.row.live;
            let place = live.iter().position(|live| live.source == source);
            match (place, seen) {
                (Some(place), Some(seen)) => live[place] = seen,
                (None, Some(seen)) => live.push(seen),
                (Some(place), None) => {
                    live.remove(place);
                }
                (None, None) => {}
            }
        }
    }

    /// Something happened that does not last. Written with the next commit.
    pub fn tell(&self, kind: Kind, key: &str, text: &str, now: Timestamp) {
        self.note_event(kind, Turn::News, key, text, now);
    }

    /// How a condition stands: `Some` text opens its incident, `None` closes it with `closing`. Said again and again, it is one incident.
    pub fn condition(
        &self,
        kind: Kind,
        key: &str,
        text: Option<&str>,
        closing: &str,
        now: Timestamp,
    ) {
        let key = key_of(key);
        let is_open = self.memory().open.iter().any(|open| open == key);
        match text {
            Some(text) if !is_open => self.note_event(kind, Turn::Opened, key, text, now),
            None if is_open => self.note_event(kind, Turn::Closed, key, closing, now),
            _ => {}
        }
    }

    /// A service that fell silent for longer than it may is an incident, until it reports again. Call it every now and then.
    pub fn look_for_silent(&self, now: Timestamp) {
        for row in self.current().iter().filter(|row| row.is_overdue()) {
            let name = row.service.as_str();
            let minutes = row.silent_for.unwrap_or_default().as_secs() / 60;
            let text = format!("{name} is stuck: it has said nothing for {minutes} minutes");
            let key = format!("service/{name}");
            self.condition(Kind::Service, &key, Some(&text), "", now);
        }
    }

    /// The keys of open incidents that begin with `prefix`: for conditions whose subject may be gone.
    pub fn open_incidents(&self, prefix: &str) -> Vec<String> {
        let memory = self.memory();
        let open = memory.open.iter().filter(|key| key.starts_with(prefix));
        open.cloned().collect()
    }

    /// What was seen of the board, in the place of what was seen before.
    pub fn note_board(&self, board: Board) {
        self.memory().board = Some(board);
    }

    /// What was seen of Syncthing, in the place of what was seen before.
    pub fn note_sight(&self, sight: Sight) {
        self.memory().syncthing = Some(sight);
    }

    /// What was seen of containers, or why they can't be seen.
    pub fn note_containers(&self, containers: Result<Vec<Container>, String>) {
        self.memory().containers = containers;
    }

    /// Which alerts reach nobody, and why.
    pub fn note_alert_troubles(&self, troubles: Vec<String>) {
        self.memory().alert_troubles = troubles;
    }

    /// From now on, what begins or ends an incident comes here, too. What a listener leaves lying is dropped.
    pub fn listen(&self) -> Receiver<Event> {
        let (sender, receiver) = smol::channel::bounded(WAITING_EVENTS);
        self.memory().listener = Some(sender);
        receiver
    }

    /// Everything beside the services' rows, as a page shows it: the events that happened last, the roll-ups of the last days, the
    /// board, the phones.
    pub fn seen(&self, now: Timestamp) -> Seen {
        let today = now.to_zoned(self.settings.zone.clone()).date();
        let first = today
            .checked_sub(jiff::Span::new().days(DAYS_SHOWN - 1))
            .unwrap_or(today);
        let (board, syncthing, containers, alert_troubles) = {
            let memory = self.memory();
            (
                memory.board.clone(),
                memory.syncthing.clone(),
                memory.containers.clone(),
                memory.alert_troubles.clone(),
            )
        };
        Seen {
            today: Some(today),
            days: self.days(first, today),
            events: self.events(EVENTS_SHOWN),
            board,
            alert_troubles,
            syncthing,
            docker_trouble: containers.as_ref().err().cloned(),
            containers: containers.unwrap_or_default(),
            phones: self.phones(),
            history_bytes: self.history.size(),
            history_commits: self.history.commits(),
        }
    }

    /// A photo came from this place in the inbox. Written with the next commit.
    pub fn note_photo(&self, inbox_path: &Path, now: Timestamp) {
        self.memory()
            .phones
            .note(inbox_path, now, &self.settings.zone);
    }

    /// The phones by name, with what they brought last.
    pub fn phones(&self) -> Vec<(String, Phone)> {
        self.memory().phones.0.clone()
    }

    /// The current row of every service, in the order of the roster.
    pub fn current(&self) -> Vec<ServiceRow> {
        let memory = self.memory();
        let current = memory.rows.iter().map(|heard| ServiceRow {
            silent_for: heard.last.map(|at| at.elapsed()),
            ..heard.row.clone()
        });
        current.collect()
    }

    /// A service's beats in `from..to`, oldest first: those in the file and those that still wait.
    pub fn beats(&self, service: &Service, from: Timestamp, to: Timestamp) -> Vec<Beat> {
        let waiting: Vec<Beat> = {
            let memory = self.memory();
            let of_service = memory.waiting.iter().filter(|beat| {
                beat.service == *service && (from..to).contains(&history::stored_time(beat.at))
            });
            of_service.cloned().collect()
        };
        let mut beats = self.history.beats(service, from, to);
        beats.extend(waiting);
        // They are in order but for a few: what was made under a doubtful clock.
        in_order(beats, |beat| beat.at)
    }

    /// The roll-ups of the hours in `from..to`, oldest first, of every service. One row is read for each service and hour.
    pub fn hours(&self, from: Timestamp, to: Timestamp) -> Vec<(Timestamp, Service, Rollup)> {
        let waiting = self.memory().accounts.clone();
        self.history.hours(from, to, waiting)
    }

    /// The roll-ups of the local days in `from..=to`, oldest first, of every service. One row is read for each service and day.
    pub fn days(&self, from: Date, to: Date) -> Vec<(Date, Service, Rollup)> {
        let waiting = self.memory().accounts.clone();
        self.history.days(from, to, waiting)
    }

    /// The events that happened last, newest first.
    pub fn events(&self, limit: usize) -> Vec<Event> {
        self.events_until(Timestamp::MAX, limit)
    }

    /// The events that happened last up to and at a time, newest first. At most `limit` rows are read.
    pub fn events_until(&self, until: Timestamp, limit: usize) -> Vec<Event> {
        // What waits is newer than what is written.
        let mut events: Vec<Event> = {
            let memory = self.memory();
            let waiting = memory.events.iter().rev();
            let waiting = waiting.chain(memory.being_written.iter().rev());
            waiting.filter(|event| event.at <= until).cloned().collect()
        };
        for event in self.history.events(until, limit) {
            // What is being written may be there already.
            if !events.contains(&event) {
                events.push(event);
            }
        }
        events.truncate(limit);
        events
    }

    /// Commits what waits, and drops what is older than the settings say. Call it at stop.
    pub fn flush(&self, now: Timestamp) {
        let _alone = self.commit_alone();
        let (is_doubtful, drift) = self.clock(now);
        let batch = {
            let mut memory = self.memory();
            memory.note_clock(is_doubtful, drift, &self.history);
            let mut gained = Accounts::default();
            for heard in &mut memory.rows {
                heard.account(now, Instant::now(), &mut gained);
            }
            memory.gain(&gained, is_doubtful.then_some((now, drift)));
            memory.last_commit = Some(Instant::now());
            let memory = &mut *memory;
            memory.being_written.clone_from(&memory.events);
            Batch {
                rows: memory.rows.iter().map(|heard| heard.row.clone()).collect(),
                phones: memory.phones.clone(),
                beats: std::mem::take(&mut memory.waiting),
                accounts: std::mem::take(&mut memory.accounts),
                events: std::mem::take(&mut memory.events),
                corrections: std::mem::take(&mut memory.corrections),
            }
        };
        // Written without the lock: a disk that hangs must not take the page with it.
        let rest = self.history.commit(batch, now);
        let mut memory = self.memory();
        memory.being_written.clear();
        if let Some(rest) = rest {
            memory.put_back(rest);
        }
    }

    /// What the owner should know of the history: that it was damaged and started anew, or cannot be written.
    pub fn notice(&self) -> Option<String> {
        self.history.notice()
    }

    fn note_event(&self, kind: Kind, turn: Turn, key: &str, text: &str, now: Timestamp) {
        let (is_doubtful, drift) = self.clock(now);
        let mut memory = self.memory();
        memory.note_clock(is_doubtful, drift, &self.history);
        if is_doubtful {
            memory.doubts.note(now, drift, &Accounts::default());
        }
        memory.push_event(Event {
            at: history::stored_time(now),
            kind,
            turn,
            key: key_of(key).to_owned(),
            text: shortened(text, EVENT_LIMIT),
            clock: clock_mark(is_doubtful),
        });
    }

    fn clock(&self, now: Timestamp) -> (bool, jiff::SignedDuration) {
        (
            self.history.clock.is_doubtful(now),
            self.history.clock.drift(now),
        )
    }

    fn commit_alone(&self) -> MutexGuard<'_, ()> {
        self.committing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn clock_mark(is_doubtful: bool) -> BeatClock {
    if is_doubtful {
        BeatClock::Doubtful
    } else {
        BeatClock::Trusted
    }
}

/// The current rows as the file in the data folder has them, for a command while nothing runs; empty where it cannot be read.
/// Changes nothing.
pub fn rows_on_disk(data: &Path, roster: &[Watched]) -> Vec<ServiceRow> {
    history::read_rows(data, roster)
}

/// At most so many bytes of a text, cut between characters.
fn shortened(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let mut end = limit - '…'.len_utf8();
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let kept = text.get(..end).unwrap_or_default();
    format!("{kept}…")
}

#[cfg(test)]
mod tests;
