//! Syncthing, which brings the photos: how it is, and whether the phones keep their copies of what leaves the inbox.
//!
//! [`Watcher::look`] asks its REST interface by the courier. The way of one look:
//!
//! ```text
//! target      our settings, or Syncthing's own (settings_file), or the usual place
//! client      greet without the key ─▶ pin the certificate ─▶ ask with the key ─▶ facts
//! conclude    facts ─▶ reasons, warnings, notices, verdict
//! sight       what is handed out
//! ```
//!
//! The key is sent only to the server whose certificate is pinned, or that has none. No look changes anything in Syncthing.

pub mod address;
mod client;
mod conclude;
pub mod facts;
pub mod folder;
pub mod settings_file;
mod sight;
mod target;
pub mod verdict;

use std::path::Path;
use std::time::{Duration, Instant};

use super::service::Status;
use crate::config::{Clear, SyncthingSettings};
use crate::courier::{Courier, Failed};
use client::{Client, Presence, Sparing};
use settings_file::Search;
use sight::{greeted, shut_out, without_answer};
use target::{Target, WHERE_IT_IS};

pub use sight::{PIN_FILE, Sight};
pub use target::usable as usable_key;

/// After the first look in vain, the next is as soon; then each waits twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// The certificate's SHA-256 (hex) that an earlier run kept in the data folder; `None`: there is none.
pub fn kept_pin(data: &Path) -> Option<String> {
    let pin = std::fs::read_to_string(data.join(PIN_FILE)).ok()?;
    Some(pin.trim().to_owned())
}

/// Looks at Syncthing again and again.
#[derive(Debug)]
pub struct Watcher {
    settings: SyncthingSettings,
    interval: Duration,
    pin: Option<String>,
    sparing: Sparing,
    /// Looks in vain, one after the other.
    in_vain: u32,
    not_before: Option<Instant>,
    last: Option<Sight>,
    /// What the log said last.
    logged: String,
}

impl Watcher {
    /// `interval` is how often the caller looks when all is well; `pin` the certificate's SHA-256 (hex) from an earlier run,
    /// which the caller keeps in [`PIN_FILE`].
    pub fn new(settings: SyncthingSettings, interval: Duration, pin: Option<String>) -> Self {
        Self {
            settings,
            interval,
            pin,
            sparing: Sparing::default(),
            in_vain: 0,
            not_before: None,
            last: None,
            logged: String::new(),
        }
    }

    /// The certificate's SHA-256 (hex) by which Syncthing is known from now on; `None` while it never answered with TLS.
    pub fn pin(&self) -> Option<&str> {
        self.pin.as_deref()
    }

    /// When the next look makes sense: after the interval, and sooner where the last one was in vain. `None`: it was never
    /// looked.
    pub fn next_look(&self) -> Option<Instant> {
        let after = |last: &Sight| self.not_before.unwrap_or(last.when() + self.interval);
        self.last.as_ref().map(after)
    }

    /// Looks, and blocks until every answer is there or overdue: seconds, where Syncthing hangs. Too soon after a look in vain, it
    /// gives what that one came to.
    pub fn look(&mut self, courier: &Courier, inbox: &Path, clear: Clear, now: Instant) -> Sight {
        if let (Some(last), Some(not_before)) = (&self.last, self.not_before)
            && now < not_before
        {
            return last.clone();
        }
        let inbox = inbox.canonicalize().unwrap_or_else(|_| inbox.to_owned());
        let search = settings_file::search(&inbox);
        let mut sight = match target::target(&self.settings, &search, &inbox) {
            Ok(target) => self.call(courier, &target, &inbox, clear, now),
            Err(what) if self.settings.url.is_some() => {
                let status = Status::Degraded("its address makes no sense".to_owned());
                self.sight(Some(status), now).warn(what)
            }
            Err(what) => self.sight(None, now).note(what),
        };
        if sight.facts.is_none() {
            let folders: Vec<_> = (search.found.iter())
                .flat_map(|file| file.folders.iter().cloned())
                .collect();
            if let Some(verdict) = conclude::of_settings(&folders, &inbox, clear) {
                sight.verdict = verdict;
            }
        }
        if sight.status.is_none() && sight.notices.is_empty() {
            sight = sight.note(how_to_configure(&search));
        }
        self.in_vain = match sight.status {
            Some(Status::Down(_)) => self.in_vain.saturating_add(1),
            _ => 0,
        };
        self.not_before = (self.in_vain > 0).then(|| now + self.pause());
        self.log(&sight);
        self.last = Some(sight.clone());
        sight
    }

    fn pause(&self) -> Duration {
        let doubled = 1_u32.checked_shl(self.in_vain - 1).unwrap_or(u32::MAX);
        FIRST_PAUSE.saturating_mul(doubled).min(self.interval)
    }

    fn sight(&self, status: Option<Status>, now: Instant) -> Sight {
        Sight::new(status, now, self.interval)
    }

    fn call(
        &mut self,
        courier: &Courier,
        target: &Target,
        inbox: &Path,
        clear: Clear,
        now: Instant,
    ) -> Sight {
        let in_vain = |watcher: &Self, failed: &Failed| {
            let (status, what) = without_answer(&target.address, failed);
            let is_nowhere = target.is_guess && matches!(status, Status::Down(_));
            if is_nowhere {
                watcher.sight(None, now)
            } else {
                watcher.sight(Some(status), now).warn(what)
            }
        };
        let mut round = match courier.round() {
            Ok(round) => round,
            Err(failed) => return in_vain(self, &failed),
        };
        let greeting = match client::greet(&mut round, &target.address, self.pin.as_deref()) {
            Ok(greeting) => greeting,
            Err(failed) => return in_vain(self, &failed),
        };
        let (status, what) = greeted(&greeting);
        if target.is_guess && matches!(greeting.presence, Presence::Other(_)) {
            return self.sight(None, now);
        }
        let mut sight = self.sight(Some(status), now);
        sight.response = Some(greeting.took);
        if let Some(what) = what {
            return sight.warn(what);
        }
        if greeting.presence == Presence::Migrating {
            return sight.note(
                "Syncthing is migrating its database to a new form, once after its update to version 2; that may take hours. Let it run: \
                 photos arrive afterwards.",
            );
        }
        let address = &greeting.address;
        if self.pin.is_some() && !address.tls && !address.is_local() {
            sight.status = Some(Status::Degraded("no certificate any more".to_owned()));
            return sight.warn(format!(
                "Syncthing at {} showed a certificate before, and now answers without TLS, so the key was not sent. Switch \"Use HTTPS \
                 for GUI\" on in its page; or delete the file Data/{PIN_FILE} and restart Photo Factory.",
                address.shown()
            ));
        }
        if self.pin.is_none() {
            self.pin.clone_from(&greeting.certificate);
        }
        if let Some(trouble) = &target.key_trouble {
            sight.status = Some(Status::Degraded("its key can't be used".to_owned()));
            return sight.warn(trouble);
        }
        let Some(key) = &target.key else {
            return sight.note(format!(
                "Syncthing runs, and without its key that is all that can be seen. {WHERE_IT_IS} Put it into a file that this program's \
                 user can read, and name that file as api_key_file under [syncthing] in the settings."
            ));
        };
        let pin = self.pin.as_deref();
        let mut client = Client {
            round: &mut round,
            address,
            pin: pin.filter(|_| address.tls),
            key,
            began: Instant::now(),
        };
        match client.facts(inbox, &mut self.sparing, now) {
            Ok(facts) => {
                let conclusion = conclude::conclude(&facts, inbox, clear);
                let sight = sight.with(facts, conclusion);
                if address.is_local() || address.tls {
                    return sight;
                }
                sight.note(format!(
                    "The key goes to {} without encryption: switch \"Use HTTPS for GUI\" on in Syncthing's page.",
                    address.shown()
                ))
            }
            Err(trouble) => {
                let (status, what) = shut_out(address, &trouble);
                sight.status = Some(status);
                sight.warn(what)
            }
        }
    }

    /// One line for each change.
    fn log(&mut self, sight: &Sight) {
        let line = match &sight.status {
            None => "syncthing: not configured".to_owned(),
            Some(status) => match status.reason() {
                Some(reason) => format!("syncthing: {}: {reason}", status.as_str()),
                None => format!("syncthing: {}", status.as_str()),
            },
        };
        if line == self.logged {
            return;
        }
        match &sight.status {
            None | Some(Status::Up) => log::info!("{line}"),
            Some(_) => log::warn!("{line}"),
        }
        self.logged = line;
    }
}

fn how_to_configure(search: &Search) -> String {
    const HOW: &str =
        "set url = \"http://ADDRESS:8384\" and api_key_file under [syncthing] in the settings.";
    match search.closed.first() {
        Some((path, error)) => format!(
            "There is a Syncthing on this machine whose settings {} can't be read ({error}), and which does not run at the usual \
             place. If it brings the photos, start it, and {HOW}",
            crate::asset::shown(path)
        ),
        None => format!(
            "No Syncthing was found on this machine: photos come another way. If there is one elsewhere, {HOW}"
        ),
    }
}
