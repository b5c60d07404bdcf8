//! The watchers of what runs beside us, asked by the courier: Syncthing, containers, pages of the owner's choosing.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use smol::{Timer, unblock};

use super::beats::Rounds;
use super::now;
use crate::courier::Courier;
use crate::librarian::Line;
use crate::monitor::docker::{self, Container};
use crate::monitor::event::Kind;
use crate::monitor::http_probe;
use crate::monitor::syncthing::{PIN_FILE, Sight, Watcher};
use crate::monitor::{Live, Monitor, Report, Service, Status};

/// How long a page of the owner's choosing may take to answer.
const PAGE_DEADLINE: Duration = Duration::from_secs(10);

/// Looks at Syncthing, and tells the librarian whether the phones keep their copies.
pub(super) async fn syncthing(
    line: Arc<Line>,
    monitor: Arc<Monitor>,
    courier: Courier,
    rounds: Arc<Rounds>,
) {
    let every = line.config.monitor.services_every;
    let pin = line.config.data.join(PIN_FILE);
    let known = {
        let pin = pin.clone();
        unblock(move || std::fs::read_to_string(pin).ok()).await
    };
    let known = known.map(|pin| pin.trim().to_owned());
    let mut watcher = Watcher::new(line.config.monitor.syncthing.clone(), every, known);
    loop {
        rounds.note("Syncthing");
        let (line, monitor, courier) = (Arc::clone(&line), Arc::clone(&monitor), courier.clone());
        let file = pin.clone();
        watcher = unblock(move || {
            let before = watcher.pin().map(str::to_owned);
            let config = &line.config;
            let sight = watcher.look(&courier, &config.inbox, config.clear, Instant::now());
            if watcher.pin() != before.as_deref()
                && let Some(pin) = watcher.pin()
                && let Err(error) = keep(&file, pin)
            {
                log::warn!("{} can't be written: {error}", file.display());
            }
            line.note_copies_stay(sight.phone_copies_stay_until());
            note_sight(&monitor, sight);
            watcher
        })
        .await;
        rounds.note("Syncthing");
        let next = watcher
            .next_look()
            .unwrap_or_else(|| Instant::now() + every);
        Timer::at(next).await;
    }
}

/// Keeps the certificate's fingerprint: under another name first, so that it is whole or not there.
fn keep(file: &Path, pin: &str) -> io::Result<()> {
    let temporary = file.with_extension("new");
    std::fs::write(&temporary, format!("{pin}\n"))?;
    std::fs::rename(&temporary, file)
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

/// Looks at containers, where the settings say that there are some.
pub(super) async fn containers(
    line: Arc<Line>,
    monitor: Arc<Monitor>,
    courier: Courier,
    rounds: Arc<Rounds>,
) {
    let settings = &line.config.monitor;
    let every = settings.services_every;
    let Some(at) = settings.docker.clone() else {
        return;
    };
    loop {
        rounds.note("Docker");
        let (line, monitor, courier) = (Arc::clone(&line), Arc::clone(&monitor), courier.clone());
        let at = at.clone();
        unblock(move || {
            let wanted = &line.config.monitor.containers;
            let seen = docker::look(&courier, &at, wanted);
            note_containers(&monitor, wanted, &seen);
            monitor.note_containers(seen);
        })
        .await;
        rounds.note("Docker");
        Timer::after(every).await;
    }
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
pub(super) async fn pages(
    line: Arc<Line>,
    monitor: Arc<Monitor>,
    courier: Courier,
    rounds: Arc<Rounds>,
) {
    let every = line.config.monitor.services_every;
    if line.config.monitor.probes.is_empty() {
        return;
    }
    loop {
        rounds.note("other pages");
        let (line, monitor, courier) = (Arc::clone(&line), Arc::clone(&monitor), courier.clone());
        unblock(move || {
            for probed in http_probe::probe(&courier, &line.config.monitor.probes, PAGE_DEADLINE) {
                let report = Report {
                    response: probed.response,
                    ..Report::from(probed.status)
                };
                monitor.beat(&Service::named(&probed.name), report, now());
            }
        })
        .await;
        rounds.note("other pages");
        Timer::after(every).await;
    }
}
