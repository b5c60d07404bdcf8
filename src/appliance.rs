//! Wires the services: the librarian's line, the monitor's beats, the page; and the order of start and stop.

#![expect(clippy::disallowed_methods, reason = "the daemon's clock is here")]

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_signal::{Signal, Signals};
use jiff::Timestamp;
use photo_factory_kernel::memory;
use smol::future::FutureExt;
use smol::stream::StreamExt;
use smol::{LocalExecutor, Timer, channel, unblock};

use crate::config::Config;
use crate::dashboard::http::{ServeError, Server, Site};
use crate::dashboard::overview::{Activity, Overview};
use crate::disk::{self, DiskError};
use crate::factory::{Factory, OpenError};
use crate::librarian::{Fate, Inbox, Line, Progress, Report, WORKER_REST};
use crate::monitor::{
    COMMIT_INTERVAL, LIBRARIAN_INTERVAL, Monitor, SERVICE_INTERVAL, Service, Status,
};

/// A clean stop takes no longer than this in all; what is cut short is finished at the next start.
const STOP_WITHIN: Duration = Duration::from_secs(4);

/// With files waiting, a line that moved nothing for so long is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(600);

/// Shots handed over ahead of the journeys.
const READY_AHEAD: usize = 64;

/// Why the appliance could not run.
#[derive(Debug)]
pub enum RunError {
    /// The factory could not be opened.
    Open(OpenError),
    /// The inbox can't be used.
    Disk(DiskError),
    /// The page can't be served.
    Serve(ServeError),
    /// Signals can't be received.
    Signals(std::io::Error),
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(error) => error.fmt(f),
            Self::Disk(error) => error.fmt(f),
            Self::Serve(error) => error.fmt(f),
            Self::Signals(error) => write!(f, "could not receive signals: {error}"),
        }
    }
}

impl std::error::Error for RunError {}

/// The daemon's clock; everything else is told the time.
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// Runs the appliance until SIGTERM or SIGINT. `started` is called once the page answers, with the page's address.
pub fn run(config: Config, started: impl FnOnce(std::net::SocketAddr)) -> Result<(), RunError> {
    let mut signals = Signals::new([Signal::Term, Signal::Int]).map_err(RunError::Signals)?;
    let factory = Factory::open(config, now).map_err(RunError::Open)?;
    let monitor = Arc::new(Monitor::open(&factory.config.data, now()));
    let line = factory.inbox_line(false).map_err(RunError::Disk)?;
    let server = Server::start(site(&factory, &line, &monitor)).map_err(RunError::Serve)?;
    log::info!(
        "taking {}, the page is at http://{}/",
        factory.config.inbox.display(),
        server.address()
    );
    started(server.address());
    let executor = LocalExecutor::new();
    smol::block_on(executor.run(async {
        let (ready, shots) = channel::bounded(READY_AHEAD);
        let (reports, fates) = channel::bounded(READY_AHEAD);
        let journeys = executor.spawn(Arc::clone(&line).run(shots, reports));
        let watch = executor.spawn(Inbox::new(Arc::clone(&line)).watch(ready));
        let beats = executor.spawn(beat(Arc::clone(&line), Arc::clone(&monitor)));
        let probes = executor.spawn(probe(Arc::clone(&line), Arc::clone(&monitor)));
        let rests = executor.spawn(rest(Arc::clone(&line)));
        executor
            .spawn(async move { fates.for_each(|report| tell(&report)).await })
            .detach();
        if let Some(Ok(signal)) = signals.next().await {
            log::info!("{signal:?}: stopping");
        }
        // No new shots; those under way come to a safe end by themselves, or are left to the next start.
        watch.cancel().await;
        for task in [beats, probes, rests] {
            task.cancel().await;
        }
        let give_up = async {
            Timer::after(STOP_WITHIN / 2).await;
            line.halt.store(true, Ordering::Relaxed);
            Timer::after(STOP_WITHIN / 2).await;
            log::warn!("some work does not end in time; it is finished at the next start");
        };
        journeys.or(give_up).await;
    }));
    server.stop();
    for service in Service::ALL {
        monitor.beat(service, Status::Stopped, None, None, now());
    }
    monitor.flush(now());
    log::info!("stopped");
    Ok(())
}

fn site(factory: &Factory, line: &Arc<Line>, monitor: &Arc<Monitor>) -> Site {
    let (config, ledger) = (Arc::clone(&factory.config), Arc::downgrade(&factory.ledger));
    let (line, monitor, started_at) = (Arc::clone(line), Arc::clone(monitor), now());
    let own_ledger = ledger.clone();
    let (hosts, refresh_seconds) = (config.hosts.clone(), config.refresh_seconds);
    Site {
        listen: config.listen,
        data: config.data.clone(),
        hosts,
        refresh_seconds,
        overview: Box::new(move || {
            let activity = activity(&config, &line.progress, &monitor, started_at);
            Overview::gather(
                own_ledger.upgrade().as_deref(),
                monitor.current(),
                activity,
                now(),
                config.zone.clone(),
            )
        }),
        ledger,
    }
}

fn activity(
    config: &Config,
    progress: &Progress,
    monitor: &Monitor,
    started_at: Timestamp,
) -> Activity {
    let depth = progress.depth();
    let mut notices: Vec<String> = monitor.notice().into_iter().collect();
    if config.worker.is_none() {
        notices.push(
            "The metadata worker (photo-factory-exif) is missing, so some formats are dated by their name or file time: install the package again."
                .to_owned(),
        );
    }
    Activity {
        state: if depth == 0 { "watching" } else { "filing" }.to_owned(),
        inbox_depth: depth,
        current: progress
            .current()
            .map(|path: PathBuf| path.to_string_lossy().into_owned()),
        filed_since_start: progress.filed.load(Ordering::Relaxed),
        duplicates_since_start: progress.duplicates.load(Ordering::Relaxed),
        started_at: Some(started_at),
        storage_free: disk::free_space(&config.storage).ok().map(|(free, _)| free),
        notices,
    }
}

/// The librarian's beat, from its progress: a line that has work and moves nothing is stuck.
async fn beat(line: Arc<Line>, monitor: Arc<Monitor>) {
    loop {
        let depth = line.progress.depth();
        let idle = line
            .progress
            .moved()
            .map_or(Duration::ZERO, |moved| Instant::now().duration_since(moved));
        let status = if line.progress.under_way.load(Ordering::Relaxed) > 0 && idle > STUCK_AFTER {
            Status::Stuck(format!(
                "nothing was filed for {} minutes though files wait: is the disk answering?",
                idle.as_secs() / 60
            ))
        } else {
            Status::Up
        };
        let task = match line.progress.current() {
            Some(path) if depth > 0 => format!("filing {}", path.display()),
            _ => "watching the inbox".to_owned(),
        };
        monitor.beat(Service::Librarian, status, Some(task), Some(depth), now());
        Timer::after(LIBRARIAN_INTERVAL).await;
    }
}

/// The beats of the services that have no work of their own to show, and the history's commits.
async fn probe(line: Arc<Line>, monitor: Arc<Monitor>) {
    loop {
        let (probed, recorder) = (Arc::clone(&line), Arc::clone(&monitor));
        unblock(move || {
            let status = probed
                .ledger
                .probe(now())
                .map_or_else(|error| Status::Down(error.to_string()), |()| Status::Up);
            recorder.beat(
                Service::FactoryDb,
                status,
                Some("read and write probe".to_owned()),
                None,
                now(),
            );
            recorder.beat(Service::Dashboard, Status::Up, None, None, now());
            recorder.beat(Service::ServiceMonitor, Status::Up, None, None, now());
        })
        .await;
        Timer::after(SERVICE_INTERVAL.min(COMMIT_INTERVAL)).await;
    }
}

/// Lets the metadata worker go when it has had nothing to do, and gives back the memory that work took.
async fn rest(line: Arc<Line>) {
    let mut given_back = None;
    loop {
        Timer::after(WORKER_REST).await;
        let moved = line.progress.moved();
        if line.progress.depth() > 0 || moved == given_back {
            continue;
        }
        let line = Arc::clone(&line);
        let is_resting = unblock(move || {
            line.reader.rest(WORKER_REST);
            line.vault.rest();
            line.ledger.rest();
            line.reader.worker_pid().is_none()
        })
        .await;
        memory::give_back();
        if is_resting {
            given_back = moved;
        }
    }
}

fn tell(report: &Report) {
    let path = report.path.display();
    match &report.fate {
        Fate::Filed(asset) => log::info!(
            "{path} is filed as {} ({})",
            asset.final_path.display(),
            asset.captured.from.as_str()
        ),
        Fate::Duplicate(asset) => log::info!(
            "{path} has the bytes of {}: cleared",
            asset.final_path.display()
        ),
        Fate::Unsettled(reason) => log::debug!("{path}: {reason}"),
        Fate::PutOff(reason) => log::warn!("{path} waits: {reason}"),
        Fate::Left(..) | Fate::Gone => {}
    }
}
