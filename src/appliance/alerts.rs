//! Tells the owner's targets what began and what is over.

use std::sync::Arc;
use std::time::{Duration, Instant};

use smol::Timer;
use smol::channel::Receiver;
use smol::future::FutureExt;

use super::{keep, now};
use crate::blocking::unblock;
use crate::config::Config;
use crate::courier::Courier;
use crate::monitor::alerts::{Alerts, Incident, Moment, host_name};
use crate::monitor::event::{Event, Kind, Turn};
use crate::monitor::{Monitor, Service};

/// How often it is looked whether something is due.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Where in the data folder it is kept what was told to whom.
const STATE: &str = "alerts.json";

/// Takes the events that begin or end an incident, and sends what is due.
pub(super) async fn tell(
    config: Arc<Config>,
    monitor: Arc<Monitor>,
    courier: Courier,
    events: Receiver<Event>,
) {
    if config.alerts.is_empty() {
        return;
    }
    let file = config.data.join(STATE);
    let mut alerts = {
        let (config, file) = (Arc::clone(&config), file.clone());
        unblock(move || {
            let state = std::fs::read(file).unwrap_or_default();
            let zone = config.zone.clone();
            Alerts::new(&config.alerts, courier, zone, host_name(), &state, moment())
        })
        .await
    };
    let mut has_changed = close_what_is_over(&mut alerts, &monitor);
    loop {
        let (recorder, file) = (Arc::clone(&monitor), file.clone());
        alerts = unblock(move || {
            has_changed |= alerts.send_due(moment);
            if has_changed && let Err(error) = keep(&file, &alerts.state(moment())) {
                log::warn!("{} can't be written: {error}", file.display());
            }
            recorder.note_alert_troubles(alerts.notices());
            alerts
        })
        .await;
        has_changed = false;
        let event = async { events.recv().await.ok() }
            .or(async {
                Timer::after(LOOK_EVERY).await;
                None
            })
            .await;
        if let Some(event) = event {
            alerts.take(&incident(&event), moment());
            has_changed = true;
        }
    }
}

/// What ended while nobody was there to tell of it.
fn close_what_is_over(alerts: &mut Alerts, monitor: &Monitor) -> bool {
    let open = monitor.open_incidents("");
    let told: Vec<String> = alerts.open_keys().into_iter().map(str::to_owned).collect();
    let over = told.into_iter().filter(|key| !open.contains(key));
    let mut any = false;
    for key in over {
        any = true;
        let over = Incident {
            title: format!("{key}: over"),
            text: "It is over; it ended while Photo Factory was not running.".to_owned(),
            key,
            at: now(),
            turn: Turn::Closed,
            urgent: false,
        };
        alerts.take(&over, moment());
    }
    any
}

fn incident(event: &Event) -> Incident {
    let title = event.text.split_inclusive(['.', ':', ';', '?']).next();
    let title = title
        .unwrap_or(&event.text)
        .trim_end_matches(['.', ':', ';']);
    Incident {
        key: event.key.clone(),
        title: title.to_owned(),
        text: event.text.clone(),
        at: event.at,
        turn: event.turn,
        urgent: is_urgent(event),
    }
}

/// Whether photos are at stake, or are not filed.
fn is_urgent(event: &Event) -> bool {
    match event.kind {
        Kind::Disk | Kind::Original | Kind::Syncthing => true,
        Kind::Board => event.key == "board/power",
        Kind::Service => {
            let name = event.key.strip_prefix("service/").unwrap_or_default();
            Service::named(name).is_ours()
        }
        Kind::Appliance | Kind::Phone | Kind::Photo => false,
    }
}

fn moment() -> Moment {
    Moment {
        instant: Instant::now(),
        wall: now(),
    }
}
