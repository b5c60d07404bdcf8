//! The watchers of what runs beside us, asked by the courier: Syncthing, containers, pages of the owner's choosing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::watchers::{Shared, Watcher};
use super::{keep, now};
use crate::monitor::docker::{self, Container};
use crate::monitor::event::Kind;
use crate::monitor::http_probe;
use crate::monitor::syncthing::{PIN_FILE, Sight, Watcher as Syncthing, kept_pin};
use crate::monitor::{Live, Monitor, Report, Service, Status};

/// How long a page of the owner's choosing may take to answer.
const PAGE_DEADLINE: Duration = Duration::from_secs(10);

/// Looks at Syncthing, and tells the librarian whether the phones keep their copies.
pub(super) fn syncthing(shared: Shared) -> Watcher {
    let config = Arc::clone(&shared.line.config);
    let every = config.monitor.services_every;
    let file = config.data.join(PIN_FILE);
    let mut syncthing: Option<Syncthing> = None;
    Watcher {
        what: "Syncthing",
        look: Box::new(move || {
            let syncthing = syncthing.get_or_insert_with(|| {
                let pin = kept_pin(&config.data);
                Syncthing::new(config.monitor.syncthing.clone(), every, pin)
            });
            let before = syncthing.pin().map(str::to_owned);
            let courier = &shared.courier;
            let sight = syncthing.look(courier, &config.inbox, config.clear, Instant::now());
            if syncthing.pin() != before.as_deref()
                && let Some(pin) = syncthing.pin()
                && let Err(error) = keep(&file, format!("{pin}\n").as_bytes())
            {
                log::warn!("{} can't be written: {error}", file.display());
            }
            shared
                .line
                .note_copies_stay(sight.phone_copies_stay_until());
            note_sight(&shared.monitor, sight);
            let now = Instant::now();
            let next = syncthing.next_look();
            next.map_or(every, |next| next.saturating_duration_since(now))
        }),
    }
}

fn note_sight(monitor: &Monitor, sight: Sight) {
    let status = sight
        .status
        .clone()
        .unwrap_or_else(|| Status::Unknown("not set up".to_owned()));
    let state = match &status {
        Status::Up | Status::Degraded(_) => "answers",
        Status::Unknown(_) => "not asked",
        _ => "does not answer",
    };
    let live = Live {
        source: "HTTP".to_owned(),
        state: state.to_owned(),
        status: status.clone(),
    };
    let asked = sight.status.is_some();
    monitor.see(&Service::SYNCTHING, "HTTP", asked.then_some(live));
    let report = Report {
        response: sight.response,
        task: sight.task(),
        ..Report::from(status)
    };
    monitor.beat(&Service::SYNCTHING, report, now());
    let warning = sight.warnings.first();
    let closing = "What was the matter with Syncthing is put right.";
    monitor.condition(
        Kind::Syncthing,
        "syncthing/warning",
        warning.map(String::as_str),
        closing,
        now(),
    );
    monitor.note_sight(sight);
}

/// Looks at containers, by Docker's API at this address.
pub(super) fn look_at_containers(shared: &Shared, at: &str) {
    let wanted = &shared.line.config.monitor.containers;
    let seen = docker::look(&shared.courier, at, wanted);
    note_containers(&shared.monitor, wanted, &seen);
    shared.monitor.note_containers(seen);
}

/// Syncthing's container is another view of that service; one that the settings name is a service of its own.
fn note_containers(monitor: &Monitor, wanted: &[String], seen: &Result<Vec<Container>, String>) {
    match seen {
        Ok(containers) => {
            for container in containers {
                let live = container.live();
                let source = live.source.clone();
                if container.name.contains(Service::SYNCTHING.as_str()) {
                    monitor.see(&Service::SYNCTHING, &source, Some(live));
                } else if wanted.contains(&container.name) {
                    let service = Service::named(&container.name);
                    let report = Report::from(live.status.clone()).doing(&*live.state);
                    monitor.see(&service, &source, Some(live));
                    monitor.beat(&service, report, now());
                }
            }
        }
        Err(why) => {
            for name in wanted {
                let status = Status::Unknown(why.clone());
                monitor.beat(&Service::named(name), status.into(), now());
            }
        }
    }
}

/// Looks at the pages of the owner's choosing.
pub(super) fn look_at_pages(shared: &Shared) {
    let probes = &shared.line.config.monitor.probes;
    for probed in http_probe::probe(&shared.courier, probes, PAGE_DEADLINE) {
        let report = Report {
            response: probed.response,
            ..Report::from(probed.status)
        };
        shared
            .monitor
            .beat(&Service::named(&probed.name), report, now());
    }
}
