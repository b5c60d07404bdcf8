//! Alerts: what the owner is told by ntfy, webhook or mail, without a storm.
//!
//! Whoever finds that something is wrong reports an [`Incident`], and another when it is over. For each target an
//! [`outbox::Outbox`] decides without I/O what is told when; [`message`] puts that into words, [`send`] hands it to the courier.
//!
//! # What a target is told
//!
//! - Each incident once, when it has lasted `after_seconds`, and once that it is over.
//! - Never more than one message in `digest_seconds`: what comes meanwhile goes together in the next.
//! - Nothing in the quiet hours but what is urgent; the rest comes at their end, in one message.
//! - What could not be sent is tried again after 1, 5, 15, 60, 60 … minutes, for a day.

pub mod message;
pub mod outbox;
pub mod quiet;
pub mod send;

use std::time::Instant;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::event::Turn;
use crate::asset::in_order;
use crate::config::alerts::{SecretFile, Target};
use crate::courier::Courier;
use outbox::{Outbox, Saved};

/// Something that the owner should know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Incident {
    /// The same key is the same incident: `service/syncthing`, `disk/Storage`, `phone/Anna`.
    pub key: String,
    /// What it is, in a few words: "Syncthing is down".
    pub title: String,
    /// What happened and what to do.
    pub text: String,
    /// When it began, ended or happened.
    pub at: Timestamp,
    /// Whether it began or ended; news are told once and have no end.
    pub turn: Turn,
    /// Whether it is worth waking someone.
    pub urgent: bool,
}

/// A moment on both clocks: intervals are measured on the monotonic one, quiet hours are by the wall clock.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// By the monotonic clock.
    pub instant: Instant,
    /// By the wall clock.
    pub wall: Timestamp,
}

/// The outboxes of all targets, and the way out.
#[derive(Debug)]
pub struct Alerts {
    outboxes: Vec<Outbox>,
    courier: Courier,
    zone: TimeZone,
    host: String,
}

/// What is kept over a restart.
#[derive(Serialize, Deserialize)]
struct State {
    targets: Vec<(String, Saved)>,
}

impl Alerts {
    /// `state` is what an earlier run's [`Alerts::state`] was; damaged or missing, everything begins anew. `host` is this machine's
    /// name, as messages have it.
    pub fn new(
        targets: &[Target],
        courier: Courier,
        zone: TimeZone,
        host: String,
        state: &[u8],
        now: Moment,
    ) -> Self {
        let mut saved = match serde_json::from_slice::<State>(state) {
            Ok(state) => state.targets,
            Err(why) => {
                if !state.is_empty() {
                    log::warn!(
                        "what was told to whom is not known any more ({why}): open incidents are told once more"
                    );
                }
                Vec::new()
            }
        };
        let outboxes = targets.iter().map(|target| {
            let place = saved.iter().position(|(name, _)| *name == target.name);
            let saved = place.map(|place| saved.swap_remove(place).1);
            Outbox::new(target.clone(), zone.clone(), saved, now)
        });
        Self {
            outboxes: outboxes.collect(),
            courier,
            zone,
            host,
        }
    }

    /// Something began, ended or happened.
    pub fn take(&mut self, incident: &Incident, now: Moment) {
        for outbox in &mut self.outboxes {
            outbox.take(incident, now);
        }
    }

    /// Keys of the incidents that have begun and not ended, in order. After a restart, those that are over by now are to be
    /// reported as closed, and those that last once more as opened: a target that is new does not know of them.
    pub fn open_keys(&self) -> Vec<&str> {
        let keys = self.outboxes.iter().flat_map(Outbox::open_keys);
        let mut keys = in_order(keys, |key| *key);
        keys.dedup();
        keys
    }

    /// Sends what is due: at most one message to each target. Blocks for up to [`send::DEADLINE`] a target. `now` is asked before
    /// and after each, for that takes time. Says whether the state has changed.
    pub fn send_due(&mut self, now: impl Fn() -> Moment) -> bool {
        let mut has_changed = false;
        let mut round = None;
        for outbox in &mut self.outboxes {
            let Some(message) = outbox.due(now()) else {
                continue;
            };
            let sent = match &mut round {
                Some(round) => Ok(round),
                none => self.courier.round().map(|round| none.insert(round)),
            };
            let sent = sent.map_err(|why| why.to_string()).and_then(|round| {
                send::send(round, outbox.target(), &message, &self.host, &self.zone)
            });
            match sent {
                Ok(()) => outbox.sent(now()),
                Err(why) => outbox.failed(why, now()),
            }
            has_changed = true;
        }
        has_changed
    }

    /// What the owner should know of the targets: whom nothing reaches and why, and which secrets are none.
    pub fn notices(&self) -> Vec<String> {
        let mut notices = Vec::new();
        for outbox in &self.outboxes {
            let name = &outbox.target().name;
            if let Some(why) = outbox.trouble() {
                notices.push(format!("No alert reaches {name}: it {why}."));
            }
            let secret = outbox.target().secret();
            if let Some(exposed) = secret.and_then(SecretFile::exposed) {
                notices.push(format!("The secret of the alerts to {name}: {exposed}."));
            }
        }
        notices
    }

    /// How many alerts were given up, over all targets, after a day of trying.
    pub fn dropped(&self) -> u64 {
        self.outboxes.iter().map(Outbox::dropped).sum()
    }

    /// What is to be kept over a restart, so that nothing is told twice and no end is forgotten: some hundred bytes for each
    /// incident that is open.
    pub fn state(&self, now: Moment) -> Vec<u8> {
        let targets = self.outboxes.iter();
        let targets = targets.map(|outbox| (outbox.target().name.clone(), outbox.saved(now)));
        let state = State {
            targets: targets.collect(),
        };
        // Strings and numbers: there is nothing in it that JSON can't hold.
        serde_json::to_vec(&state).unwrap_or_default()
    }
}

/// This machine's name, as messages have it.
pub fn host_name() -> String {
    let system = rustix::system::uname();
    system.nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests;
