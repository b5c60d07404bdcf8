//! The watchers: what is looked at from outside every few minutes, and what of it is an incident.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use photo_factory_kernel::clock;
use smol::{LocalExecutor, Timer, future};

use super::{beats, now, others};
use crate::blocking::unblock;
use crate::courier::Courier;
use crate::disk::Standing;
use crate::librarian::Line;
use crate::monitor::board::{self, Board, Sampler};
use crate::monitor::event::Kind;
use crate::monitor::phones::day_of;
use crate::monitor::systemd::{self, Unit};
use crate::monitor::{Live, Monitor, Report, Service, Status};
use crate::verify::background::{Saying, Verified};

/// How often it is looked whether a service has fallen silent.
const SILENCE_EVERY: Duration = Duration::from_secs(60);

/// The second look at the board, which makes rates, comes so soon after the first.
const SECOND_LOOK: Duration = Duration::from_secs(60);

/// Something that is looked at again and again. Each look blocks, and says after how long the next one makes sense.
pub(super) struct Watcher {
    pub(super) what: &'static str,
    pub(super) look: Box<dyn FnMut() -> Duration + Send>,
}

impl Watcher {
    /// Looked at every so often.
    fn every(what: &'static str, every: Duration, mut look: impl FnMut() + Send + 'static) -> Self {
        Self {
            what,
            look: Box::new(move || {
                look();
                every
            }),
        }
    }
}

/// When each watcher finished its last round: the monitor's own beat comes from these.
#[derive(Debug, Default)]
struct Rounds(Mutex<Vec<(&'static str, Instant)>>);

impl Rounds {
    /// A watcher begins, or has finished a round.
    fn note(&self, watcher: &'static str) {
        let mut rounds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rounds.retain(|(known, _)| *known != watcher);
        rounds.push((watcher, Instant::now()));
    }

    /// How the monitor is: a watcher that does not come back makes it stuck.
    fn report(&self, patience: Duration) -> Report {
        let rounds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let hangs = rounds.iter().find(|(_, at)| at.elapsed() > patience);
        let status = hangs.map_or(Status::Up, |(watcher, at)| {
            Status::Stuck(format!(
                "looking at {watcher} has not come back for {} minutes",
                at.elapsed().as_secs() / 60
            ))
        });
        Report::from(status).doing(format!("watchers at work: {}", rounds.len()))
    }
}

/// What the watchers share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) line: Arc<Line>,
    pub(super) monitor: Arc<Monitor>,
    pub(super) courier: Courier,
    pub(super) verified: Saying,
}

/// Runs all watchers, each beside the others: one that hangs must not keep the others from looking.
pub(super) async fn watch(shared: Shared) {
    let rounds = Arc::new(Rounds::default());
    let patience = shared.line.config.monitor.services_every * 3;
    let executor = LocalExecutor::new();
    for watcher in all(&shared, &rounds, patience) {
        executor.spawn(again(watcher, Arc::clone(&rounds))).detach();
    }
    executor.run(future::pending::<()>()).await;
}

async fn again(mut watcher: Watcher, rounds: Arc<Rounds>) {
    loop {
        rounds.note(watcher.what);
        let wait;
        (watcher, wait) = unblock(move || {
            let wait = (watcher.look)();
            (watcher, wait)
        })
        .await;
        rounds.note(watcher.what);
        Timer::after(wait).await;
    }
}

/// Every watcher that has something to look at.
fn all(shared: &Shared, rounds: &Arc<Rounds>, patience: Duration) -> Vec<Watcher> {
    let settings = &shared.line.config.monitor;
    let every = settings.services_every;
    let own = || shared.clone();
    let (ledger, page, units) = (own(), own(), own());
    let (monitor, rounds) = (Arc::clone(&shared.monitor), Arc::clone(rounds));
    let listener = Arc::clone(&shared.monitor);
    let mut watchers = vec![
        Watcher::every("the ledger", every, move || {
            beats::ledger(&ledger.line, &ledger.monitor);
        }),
        Watcher::every("the page", every, move || {
            beats::page(&page.line, &page.monitor);
        }),
        board_watcher(own()),
        others::syncthing(own()),
        Watcher::every("silent services", every.min(SILENCE_EVERY), move || {
            listener.look_for_silent(now());
        }),
        Watcher::every("the watchers", every, move || {
            let report = rounds.report(patience);
            let live = Live {
                source: "its watchers".to_owned(),
                state: match report.status {
                    Status::Up => "look",
                    _ => "hang",
                }
                .to_owned(),
                status: report.status.clone(),
            };
            monitor.see(&Service::SERVICE_MONITOR, "its watchers", Some(live));
            monitor.beat(&Service::SERVICE_MONITOR, report, now());
        }),
    ];
    if systemd::is_here() {
        watchers.push(Watcher::every("systemd", every, move || {
            look_at_units(&units);
        }));
    }
    if let Some(at) = settings.docker.clone() {
        let shared = own();
        watchers.push(Watcher::every("Docker", every, move || {
            others::look_at_containers(&shared, &at);
        }));
    }
    if !settings.probes.is_empty() {
        let shared = own();
        watchers.push(Watcher::every("other pages", every, move || {
            others::look_at_pages(&shared);
        }));
    }
    watchers
}

/// Looks at the board, and at all that may be an incident without being a service.
fn board_watcher(shared: Shared) -> Watcher {
    let every = shared.line.config.monitor.services_every;
    let mut sampler = Sampler::default();
    let mut is_first = true;
    Watcher {
        what: "the board",
        look: Box::new(move || {
            let Shared { line, monitor, .. } = &shared;
            let board = look(&mut sampler, line);
            note_board(monitor, &board);
            monitor.note_board(board);
            note_phones(monitor, line.config.monitor.quiet_phone_days);
            note_originals(monitor, shared.verified.now().as_ref());
            note_left(monitor, line);
            if std::mem::take(&mut is_first) {
                every.min(SECOND_LOOK)
            } else {
                every
            }
        }),
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

/// Looks at units of systemd: ours, Syncthing's, and those of the owner's choosing.
fn look_at_units(Shared { line, monitor, .. }: &Shared) {
    let wanted = &line.config.monitor.units;
    match systemd::units(wanted) {
        Ok(units) => {
            for unit in &units {
                note_unit(monitor, unit, wanted);
            }
        }
        Err(why) => {
            for unit in wanted {
                let status = Status::Unknown(why.clone());
                monitor.beat(&Service::named(unit), status.into(), now());
            }
        }
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
