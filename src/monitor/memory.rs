//! What the monitor knows without its file: the rows, what waits to be written, and the incidents that are open.

use std::collections::VecDeque;
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use smol::channel::Sender;

use super::board::Board;
use super::docker::Container;
use super::doubt::{Correction, Doubts};
use super::event::{Event, Kind, Turn, key_of};
use super::history::{Batch, History, stored_time};
use super::phones::Phones;
use super::rollup::Accounts;
use super::service::{Beat, BeatClock, Service, ServiceRow, Status};
use super::syncthing::Sight;
use super::{EVENT_LIMIT, WAITING_BEATS, WAITING_EVENTS, clock_mark, shortened};

/// What is kept in memory.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) rows: Vec<Heard>,
    pub(super) waiting: VecDeque<Beat>,
    pub(super) events: VecDeque<Event>,
    /// Events that a commit is writing at this moment: on a slow disk they are still to be seen.
    pub(super) being_written: VecDeque<Event>,
    pub(super) accounts: Accounts,
    pub(super) doubts: Doubts,
    pub(super) corrections: Vec<Correction>,
    pub(super) phones: Phones,
    pub(super) board: Option<Board>,
    pub(super) syncthing: Option<Sight>,
    pub(super) containers: Result<Vec<Container>, String>,
    pub(super) alert_troubles: Vec<String>,
    /// Who wants to know of incidents.
    pub(super) listener: Option<Sender<Event>>,
    /// The keys of the incidents that are open.
    pub(super) open: Vec<String>,
    pub(super) last_commit: Option<Instant>,
}

/// A service's row, and the monotonic clock's side of it.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) row: ServiceRow,
    pub(super) last: Option<Instant>,
    /// Up to when its time is accounted for.
    pub(super) accounted: Option<Instant>,
}

impl Memory {
    /// Once a time service vouches for the clock, what was made before under a doubtful one can be put right.
    pub(super) fn note_clock(
        &mut self,
        is_doubtful: bool,
        drift: SignedDuration,
        history: &History,
    ) {
        if is_doubtful || !history.clock.is_vouched_for() {
            return;
        }
        for correction in self.doubts.resolve(drift) {
            for beat in &mut self.waiting {
                if beat.clock == BeatClock::Doubtful
                    && let Some(at) = correction.corrected(beat.at)
                {
                    beat.at = at;
                    beat.clock = BeatClock::Corrected;
                }
            }
            for event in &mut self.events {
                if event.clock == BeatClock::Doubtful
                    && let Some(at) = correction.corrected(event.at)
                {
                    event.at = at;
                    event.clock = BeatClock::Corrected;
                }
            }
            for heard in &mut self.rows {
                if heard.last.is_some() {
                    let corrected = heard
                        .row
                        .since
                        .and_then(|since| correction.corrected(since));
                    heard.row.since = corrected.or(heard.row.since);
                }
            }
            self.corrections.push(correction);
        }
    }

    pub(super) fn gain(&mut self, gained: &Accounts, doubt: Option<(Timestamp, SignedDuration)>) {
        self.accounts.add(gained);
        if let Some((now, drift)) = doubt {
            self.doubts.note(now, drift, gained);
        }
    }

    /// A service reported: an incident begins, goes on or ends.
    pub(super) fn note_turn(
        &mut self,
        service: &Service,
        before: Option<&Status>,
        status: &Status,
        now: Timestamp,
        is_doubtful: bool,
    ) {
        let name = service.as_str();
        let key = format!("service/{name}");
        let key = key_of(&key);
        let is_open = self.open.iter().any(|open| open == key);
        let reason = status.reason().unwrap_or_default();
        let (turn, text) = match status {
            Status::Stuck(_) | Status::Down(_) if !is_open => (
                Turn::Opened,
                format!("{name} is {}: {reason}", status.as_str()),
            ),
            Status::Up | Status::Degraded(_) if is_open => {
                (Turn::Closed, format!("{name} works again"))
            }
            Status::Degraded(_) if matches!(before, Some(Status::Up)) => {
                (Turn::News, format!("{name} works with a limit: {reason}"))
            }
            Status::Up if matches!(before, Some(Status::Degraded(_))) => {
                (Turn::News, format!("{name} works without a limit again"))
            }
            _ => return,
        };
        self.push_event(Event {
            at: stored_time(now),
            kind: Kind::Service,
            turn,
            key: key.to_owned(),
            text: shortened(&text, EVENT_LIMIT),
            clock: clock_mark(is_doubtful),
        });
    }

    pub(super) fn push_event(&mut self, event: Event) {
        match event.turn {
            Turn::News => {}
            Turn::Opened => self.open.push(event.key.clone()),
            Turn::Closed => self.open.retain(|open| *open != event.key),
        }
        if let Some(listener) = self.listener.as_ref().filter(|_| event.turn != Turn::News) {
            // A listener that is gone, or far behind, is its own loss.
            drop(listener.try_send(event.clone()));
        }
        self.events.push_back(event);
        if self.events.len() > WAITING_EVENTS {
            self.events.pop_front();
        }
    }

    /// What could not be written waits for the next commit, before what came meanwhile.
    pub(super) fn put_back(&mut self, batch: Batch) {
        for beat in batch.beats.into_iter().rev() {
            if self.waiting.len() < WAITING_BEATS {
                self.waiting.push_front(beat);
            }
        }
        for event in batch.events.into_iter().rev() {
            if self.events.len() < WAITING_EVENTS {
                self.events.push_front(event);
            }
        }
        self.accounts.add(&batch.accounts);
        self.corrections.splice(0..0, batch.corrections);
    }
}

impl Heard {
    /// Accounts for its time since that was last done. Silent for longer than it may be, it counts as down.
    pub(super) fn account(&mut self, now: Timestamp, instant: Instant, gained: &mut Accounts) {
        let (Some(last), Some(status)) = (self.last, &self.row.status) else {
            self.accounted = Some(instant);
            return;
        };
        let from = self.accounted.unwrap_or(last);
        self.accounted = Some(instant);
        let whole = instant.saturating_duration_since(from);
        let good_until = last + self.row.patience;
        let overdue = instant.saturating_duration_since(good_until).min(whole);
        let service = &self.row.service;
        let overdue_from = now
            .checked_sub(SignedDuration::try_from(overdue).unwrap_or_default())
            .unwrap_or(now);
        gained.note(service, status, overdue_from, whole.saturating_sub(overdue));
        if *status != Status::Stopped {
            gained.note(service, &Status::Down(String::new()), now, overdue);
        }
    }
}
