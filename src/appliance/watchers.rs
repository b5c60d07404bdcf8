//! The watchers: what is looked at from outside every few minutes, and what of it is an incident.

use std::sync::Arc;
use std::time::{Duration, Instant};

use photo_factory_kernel::clock;
use smol::{Timer, unblock};

use super::beats::Rounds;
use super::now;
use crate::disk::Standing;
use crate::librarian::Line;
use crate::monitor::board::{self, Board, Sampler};
use crate::monitor::event::Kind;
use crate::monitor::phones::day_of;
use crate::monitor::systemd::{self, Unit};
use crate::monitor::{Monitor, Report, Service, Status};
use crate::verify::background::{Saying, Verified};

/// The second look at the board, which makes rates, comes so soon after the first.
const SECOND_LOOK: Duration = Duration::from_secs(60);

/// Looks at the board, and at all that may be an incident without being a service.
pub(super) async fn board(
    line: Arc<Line>,
    monitor: Arc<Monitor>,
    verified: Saying,
    rounds: Arc<Rounds>,
) {
    let every = line.config.monitor.services_every;
    let mut sampler = Sampler::default();
    let mut wait = every.min(SECOND_LOOK);
    loop {
        rounds.note("the board");
        let (line, monitor, verified) = (Arc::clone(&line), Arc::clone(&monitor), verified.clone());
        sampler = unblock(move || {
            let board = look(&mut sampler, &line);
            note_board(&monitor, &board);
            monitor.note_board(board);
            note_phones(&monitor, line.config.monitor.quiet_phone_days);
            note_originals(&monitor, verified.now().as_ref());
            note_left(&monitor, &line);
            sampler
        })
        .await;
        rounds.note("the board");
        Timer::after(wait).await;
        wait = every;
    }
}

fn look(sampler: &mut Sampler, line: &Line) -> Board {
    let config = &line.config;
    // A disk that does not answer would not answer us either: whoever asks it by profession is asked.
    let answers = line.vault.watch().standing(Instant::now()) == Standing::Here;
    let rooms = vec![
        ("data", board::room(&config.data)),
        ("inbox", board::room(&config.inbox)),
        (
            "storage",
            answers.then(|| board::room(&config.storage)).flatten(),
        ),
    ];
    sampler.look(rooms, clock::is_synchronized(), Instant::now())
}

fn note_board(monitor: &Monitor, board: &Board) {
    for disk in &board.disks {
        let key = format!("disk/{}", disk.name);
        let closing = format!("The disk of {} has room again.", disk.name);
        monitor.condition(Kind::Disk, &key, disk.trouble().as_deref(), &closing, now());
    }
    for (key, trouble) in board.troubles() {
        let closing = match key {
            "board/power" => "The power supply is strong enough again.",
            "board/heat" => "The board has cooled down.",
            _ => "A time service keeps the clock again.",
        };
        monitor.condition(Kind::Board, key, trouble.as_deref(), closing, now());
    }
}

fn note_phones(monitor: &Monitor, quiet_after: Option<u32>) {
    let Some(quiet_after) = quiet_after else {
        return;
    };
    for (name, phone) in monitor.phones() {
        let key = format!("phone/{name}");
        let quiet = phone.quiet_days(quiet_after, now()).map(|days| {
            let last = day_of(&phone);
            format!(
                "{name} has brought no photo for {days} days, the last on {last}. Is Syncthing still running on that phone, and allowed to in the background?"
            )
        });
        let closing = format!("{name} has brought photos again.");
        monitor.condition(Kind::Phone, &key, quiet.as_deref(), &closing, now());
    }
}

fn note_originals(monitor: &Monitor, verified: Option<&Verified>) {
    let found = verified.and_then(Verified::notice);
    let closing = "All originals are as they should be.";
    monitor.condition(
        Kind::Original,
        "originals",
        found.as_deref(),
        closing,
        now(),
    );
}

fn note_left(monitor: &Monitor, line: &Line) {
    let Ok(totals) = line.ledger.totals() else {
        return;
    };
    let left = (totals.left > 0).then(|| {
        format!(
            "Files in the inbox need a look: {}. The page lists them, with what to do.",
            totals.left
        )
    });
    let closing = "No file in the inbox needs a look any more.";
    monitor.condition(Kind::Photo, "photos/left", left.as_deref(), closing, now());
}

/// Looks at units of systemd, where the machine is run by it: ours, Syncthing's, and those of the owner's choosing.
pub(super) async fn units(line: Arc<Line>, monitor: Arc<Monitor>, rounds: Arc<Rounds>) {
    if !systemd::is_here() {
        return;
    }
    let every = line.config.monitor.services_every;
    loop {
        rounds.note("systemd");
        let (line, monitor) = (Arc::clone(&line), Arc::clone(&monitor));
        unblock(move || {
            let wanted = &line.config.monitor.units;
            match systemd::units(wanted) {
                Ok(units) => {
                    for unit in &units {
                        note_unit(&monitor, unit, wanted);
                    }
                }
                Err(why) => {
                    for unit in wanted {
                        let status = Status::Unknown(why.clone());
                        monitor.beat(&Service::named(unit), status.into(), now());
                    }
                }
            }
        })
        .await;
        rounds.note("systemd");
        Timer::after(every).await;
    }
}

/// Our own unit and Syncthing's are another view of a service; one of the owner's choosing is a service of its own.
fn note_unit(monitor: &Monitor, unit: &Unit, wanted: &[String]) {
    let live = unit.live();
    let source = live.source.clone();
    if unit.name.starts_with("photo-factory") {
        monitor.see(&Service::SERVICE_MONITOR, &source, Some(live));
    } else if unit.name.starts_with(Service::SYNCTHING.as_str()) {
        monitor.see(&Service::SYNCTHING, &source, Some(live));
    } else if wanted.contains(&unit.name) {
        let report = Report::from(live.status.clone()).doing(&*live.state);
        let service = Service::named(&unit.name);
        monitor.see(&service, &source, Some(live));
        monitor.beat(&service, report, now());
    }
}
