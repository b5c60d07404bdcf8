//! Wires the services: the librarian's line, the monitor's beats, the page; and the order of start and stop.

#![expect(clippy::disallowed_methods, reason = "the daemon's clock is here")]

mod act;
mod alerts;
mod beats;
mod others;
mod systemd;
mod tend;
mod watchers;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_signal::{Signal, Signals};
use jiff::Timestamp;
use photo_factory_kernel::{clock, memory};
use smol::channel::Receiver;
use smol::future::FutureExt;
use smol::stream::StreamExt;
use smol::{LocalExecutor, Task, Timer, channel};

use crate::asset::shown;
use crate::blocking::unblock;
use crate::config::Config;
use crate::courier::Courier;
use crate::dashboard::access::Access;
use crate::dashboard::http::{ServeError, Server};
use crate::dashboard::overview::{Activity, Overview};
use crate::dashboard::site::Site;
use crate::factory::{Factory, Notices, OpenError};
use crate::librarian::{Fate, Inbox, Line, Report, WORKER_REST};
use crate::monitor::event::Kind;
use crate::monitor::{self, Monitor};
use crate::verify::background::{Background, Saying, Verified};

use tend::tend_storage;
use watchers::Shared;

/// A clean stop takes no longer than this in all; what is cut short is finished at the next start.
const STOP_WITHIN: Duration = Duration::from_secs(4);

/// The first answer of Storage is waited for no longer than this.
const FIRST_ANSWER: Duration = Duration::from_secs(1);

/// The key of what happens to the appliance as a whole.
const APPLIANCE: &str = "appliance";

/// Shots handed over ahead of the journeys.
const READY_AHEAD: usize = 64;

/// Why the appliance could not run.
#[derive(Debug)]
pub enum RunError {
    /// The factory could not be opened.
    Open(OpenError),
    /// The page can't be served.
    Serve(ServeError),
    /// Signals can't be received.
    Signals(std::io::Error),
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(error) => error.fmt(f),
            Self::Serve(error) => error.fmt(f),
            Self::Signals(error) => write!(f, "could not receive signals: {error}"),
        }
    }
}

impl std::error::Error for RunError {}

/// Keeps a small file: under another name first, so that it is whole or as it was.
fn keep(file: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = file.with_extension("new");
    std::fs::write(&temporary, content)?;
    std::fs::rename(&temporary, file)
}

/// The daemon's clock; everything else is told the time.
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// Runs the appliance until SIGTERM or SIGINT. `started` is called once the page answers, with the page's address.
pub fn run(config: Config, started: impl FnOnce(&str)) -> Result<(), RunError> {
    let mut signals = Signals::new([Signal::Term, Signal::Int]).map_err(RunError::Signals)?;
    let factory = Factory::open_without_storage(config, now).map_err(RunError::Open)?;
    factory.vault.ask_regularly();
    let monitor = Arc::new(Monitor::open(
        &factory.config.data,
        monitor::Settings::of(&factory.config),
        now(),
        clock::is_synchronized,
    ));
    monitor.tell(
        Kind::Appliance,
        APPLIANCE,
        concat!("Photo Factory ", env!("CARGO_PKG_VERSION"), " was started"),
        now(),
    );
    let line = factory.inbox_line(false).map_err(RunError::Open)?;
    let verification = {
        let progress = Arc::clone(&line.progress);
        // What merely waits in the inbox is no work: a file that grows for days would keep every original unread.
        let is_busy = move || progress.under_way.load(Ordering::Relaxed) > 0;
        Background::start(&factory.config, &factory.ledger, is_busy, now)
    };
    let server =
        Server::start(site(&factory, &line, &monitor, &verification)).map_err(RunError::Serve)?;
    log::info!(
        "taking {}, the page is at {}",
        factory.config.inbox.display(),
        server.url()
    );
    // A Storage that answers is there, or made, before the appliance says that it runs.
    let watch = factory.vault.watch();
    let waited = async {
        Timer::after(FIRST_ANSWER).await;
    };
    smol::block_on(watch.changed().or(waited));
    started(&server.url());
    systemd::ready(&server.url());
    let executor = LocalExecutor::new();
    smol::block_on(executor.run(async {
        let (ready, shots) = channel::bounded(READY_AHEAD);
        let (reports, fates) = channel::bounded(READY_AHEAD);
        let journeys = executor.spawn(Arc::clone(&line).run(shots, reports));
        let watch = executor.spawn(Inbox::new(Arc::clone(&line)).watch(ready));
        let tasks = Services {
            line: Arc::clone(&line),
            monitor: Arc::clone(&monitor),
            notices: Arc::clone(&factory.notices),
            verified: verification.said(),
            courier: Courier::new(factory.config.courier.clone()),
        }
        .start(&executor, fates);
        if let Some(Ok(signal)) = signals.next().await {
            log::info!("{signal:?}: stopping");
        }
        systemd::stopping();
        verification.stop();
        // No new shots; those under way come to a safe end by themselves, or are left to the next start.
        watch.cancel().await;
        for task in tasks {
            task.cancel().await;
        }
        let give_up = async {
            Timer::after(STOP_WITHIN / 2).await;
            line.halt.store(true, Ordering::Relaxed);
            Timer::after(STOP_WITHIN / 2).await;
            log::warn!("some work does not end in time; it is finished at the next start");
        };
        journeys.or(give_up).await;
        line.halt.store(true, Ordering::Relaxed);
    }));
    server.stop();
    monitor.tell(
        Kind::Appliance,
        APPLIANCE,
        "Photo Factory was stopped",
        now(),
    );
    monitor.stop(now());
    log::info!("stopped");
    Ok(())
}

/// What the services beside the photo line share.
struct Services {
    line: Arc<Line>,
    monitor: Arc<Monitor>,
    notices: Arc<Notices>,
    verified: Saying,
    courier: Courier,
}

impl Services {
    /// Starts them; what became of photos comes from `fates`.
    fn start(self, executor: &LocalExecutor<'static>, fates: Receiver<Report>) -> Vec<Task<()>> {
        let line = || Arc::clone(&self.line);
        let monitor = || Arc::clone(&self.monitor);
        let teller = (line(), monitor());
        executor
            .spawn(async move {
                let (line, monitor) = teller;
                fates
                    .for_each(|report| {
                        note_phone(&report, &monitor);
                        tell(&report, line.trouble(Instant::now()).is_some());
                    })
                    .await;
            })
            .detach();
        let shared = Shared {
            line: line(),
            monitor: monitor(),
            courier: self.courier.clone(),
            verified: self.verified,
        };
        let events = self.monitor.listen();
        let config = Arc::clone(&self.line.config);
        // Boxed: each further type of task is some KB of program.
        let tasks: Vec<Pin<Box<dyn Future<Output = ()>>>> = vec![
            Box::pin(tend_storage(line(), monitor(), self.notices)),
            Box::pin(beats::librarian(line(), monitor())),
            Box::pin(beats::mend_ledger(line(), monitor())),
            Box::pin(watchers::watch(shared)),
            Box::pin(alerts::tell(config, monitor(), self.courier, events)),
            Box::pin(rest(line())),
            Box::pin(systemd::report(line())),
        ];
        tasks.into_iter().map(|task| executor.spawn(task)).collect()
    }
}

fn site(
    factory: &Factory,
    line: &Arc<Line>,
    monitor: &Arc<Monitor>,
    verification: &Background,
) -> Site {
    let (config, ledger) = (Arc::clone(&factory.config), Arc::downgrade(&factory.ledger));
    let (line, monitor, started_at) = (Arc::clone(line), Arc::clone(monitor), now());
    let own_ledger = ledger.clone();
    let verified = verification.said();
    let (acting, asking) = (Arc::clone(&line), verification.asking());
    let notices = factory.notices.clone();
    Site {
        config: Arc::clone(&config),
        ledger,
        monitor: Arc::clone(&monitor),
        access: Access::new(&config),
        act: Box::new(move |action| act::act(action, &acting, &asking)),
        now,
        overview: Box::new(move || {
            let mut activity = activity(&config, &line, &monitor, started_at);
            activity.verified = verified.now();
            let found = activity.verified.as_ref().and_then(Verified::notice);
            activity.notices.extend(found);
            activity.notices.extend(notices.all());
            beats::see_now(&line, &monitor);
            Overview::gather(
                own_ledger.upgrade().as_deref(),
                monitor.current(),
                monitor.seen(now()),
                activity,
                now(),
                config.zone.clone(),
            )
        }),
    }
}

fn activity(config: &Config, line: &Line, monitor: &Monitor, started_at: Timestamp) -> Activity {
    let (progress, watch) = (&line.progress, line.vault.watch());
    // Only what is known already: a page that asked Storage would hang with it.
    let trouble = line.trouble(Instant::now());
    let depth = progress.depth();
    let paused_until = line.rests_until(Instant::now());
    // For lack of room the large files may wait while the small ones go on.
    let is_paused = trouble.is_some()
        || paused_until.is_some()
        || (watch.full().is_some() && progress.under_way.load(Ordering::Relaxed) == 0);
    let trouble = trouble.or_else(|| watch.full());
    let mut notices: Vec<String> = Vec::new();
    if let Some(until) = paused_until {
        notices.push(format!(
            "Filing is paused, as you asked, until {}. Photos wait in the inbox, and nothing is lost; \u{201c}Go on\u{201d} under Problems ends it at once.",
            act::hour(line, until)
        ));
    }
    notices.extend(monitor.notice());
    if config.worker.is_none() {
        notices.push(
            "The metadata worker (photo-factory-exif) is missing, so some formats are dated by their name or file time: install the package again."
                .to_owned(),
        );
    }
    if config.courier.is_none() {
        notices.push(
            "The courier (photo-factory-courier) is missing, so Syncthing is not asked, and nobody is told by alerts: install the package again."
                .to_owned(),
        );
    }
    let restored = progress.restored.load(Ordering::Relaxed);
    if restored > 0 {
        notices.push(format!(
            "{restored} originals were missing from Storage and were put back from the inbox since the start. Somebody or something removed them: `photo-factory verify` tells whether more are gone."
        ));
    }
    let state = match depth {
        _ if is_paused => "paused",
        0 => "watching",
        _ => "filing",
    };
    Activity {
        state: state.to_owned(),
        inbox_depth: depth,
        current: progress
            .current()
            .map(|path: PathBuf| path.to_string_lossy().into_owned()),
        run: progress
            .run()
            .filter(|_| depth > 0)
            .map(|(since, done)| (since.elapsed(), done)),
        filed_since_start: progress.filed.load(Ordering::Relaxed),
        duplicates_since_start: progress.duplicates.load(Ordering::Relaxed),
        started_at: Some(started_at),
        storage_free: watch.space().map(|space| space.free),
        trouble,
        paused_until,
        notices,
        verified: None,
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

/// A phone has brought something, whether it was kept already or not.
fn note_phone(report: &Report, monitor: &Monitor) {
    if let Fate::Filed(_) | Fate::Duplicate(_) | Fate::Restored(_) = report.fate {
        monitor.note_photo(&report.path, now());
    }
}

fn tell(report: &Report, has_trouble: bool) {
    let path = shown(&report.path);
    match &report.fate {
        Fate::Filed(asset) => log::info!(
            "{path} is filed as {} ({})",
            shown(&asset.final_path),
            asset.captured.from.as_str()
        ),
        Fate::Duplicate(asset) => {
            log::info!("{path} has the bytes of {}", shown(&asset.final_path));
        }
        Fate::Unsettled(reason) => log::debug!("{path}: {reason}"),
        // Why nothing can be filed is said once, not for every file.
        Fate::PutOff(reason) if has_trouble => log::debug!("{path} waits: {reason}"),
        Fate::PutOff(reason) => log::warn!("{path} waits: {reason}"),
        // A restored one was warned of where it was found, a left one where it was written down.
        Fate::Restored(_) | Fate::Left(..) | Fate::Gone => {}
    }
}
