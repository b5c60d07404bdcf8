//! The heartbeats of what runs in this process: the librarian's from its progress, the ledger's from a probe of it, the page's from
//! asking it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use smol::Timer;

use super::{act, now};
use crate::asset::{bytes_text, shown};
use crate::blocking::unblock;
use crate::dashboard::client::{self, Answer};
use crate::disk::Standing;
use crate::ledger::Degraded;
use crate::librarian::Line;
use crate::monitor::{Live, Monitor, Report, Service, Status};

/// With files waiting, a line that moved nothing for so long is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(600);

/// How often a ledger that is down is tried again.
const MEND_EVERY: Duration = Duration::from_secs(5);

/// The route that says whether the page answers.
pub(super) const HEALTH: &str = "/healthz";

/// The librarian's beats.
pub(super) async fn librarian(line: Arc<Line>, monitor: Arc<Monitor>) {
    let every = line.config.monitor.librarian_every;
    loop {
        report(&line, &monitor).await;
        Timer::after(every).await;
    }
}

/// One beat of the librarian, from its progress: a line that has work and moves nothing is stuck.
pub(super) async fn report(line: &Arc<Line>, monitor: &Arc<Monitor>) {
    let depth = line.progress.depth();
    let status = status(line);
    let report = Report::from(status.clone())
        .doing(task(line, &status))
        .with_queue(depth);
    let monitor = Arc::clone(monitor);
    // A beat that tells of a change is written to the disk.
    unblock(move || monitor.beat(&Service::LIBRARIAN, report, now())).await;
}

fn task(line: &Line, status: &Status) -> String {
    match (status, line.progress.current()) {
        (Status::Up | Status::Degraded(_), Some(path)) if line.progress.depth() > 0 => {
            format!("filing {}", shown(&path))
        }
        (Status::Up, _) => match line.rests_until(Instant::now()) {
            Some(until) => format!("paused by the owner until {}", act::hour(line, until)),
            None => "watching the inbox".to_owned(),
        },
        _ => "waiting".to_owned(),
    }
}

/// What is being done now, for `systemctl status`; no names of files, which everybody on this machine may see there.
pub(super) fn in_words(line: &Line) -> String {
    let depth = line.progress.depth();
    match status(line) {
        Status::Up if depth > 0 => format!("filing; {depth} files wait in the inbox"),
        status @ Status::Up => task(line, &status),
        Status::Down(why) | Status::Stuck(why) | Status::Degraded(why) => why,
        status => status.as_str().to_owned(),
    }
}

/// What is seen of our own services at this moment, for whoever looks at the page: waits for no disk.
pub(super) fn see_now(line: &Line, monitor: &Monitor) {
    let runs = |status: Status| Live {
        source: TASK.to_owned(),
        state: match &status {
            Status::Stuck(_) => "runs, and makes no progress",
            _ => "runs",
        }
        .to_owned(),
        // Why it can't work is in its heartbeat; its task is there.
        status: match status {
            Status::Stuck(why) => Status::Stuck(why),
            _ => Status::Up,
        },
    };
    monitor.see(&Service::LIBRARIAN, TASK, Some(runs(status(line))));
    monitor.see(&Service::DASHBOARD, TASK, Some(runs(Status::Up)));
    let ledger = match line.ledger.degraded() {
        Some(degraded) => Live {
            source: FILE.to_owned(),
            state: "can't be used".to_owned(),
            status: Status::Down(degraded.reason),
        },
        None => Live {
            source: FILE.to_owned(),
            state: "open".to_owned(),
            status: Status::Up,
        },
    };
    monitor.see(&Service::FACTORY_DB, FILE, Some(ledger));
}

/// The source of what is seen of the ledger.
const FILE: &str = "its file";

/// The source of what is seen of our own tasks.
const TASK: &str = "its task";

fn status(line: &Line) -> Status {
    let watch = line.vault.watch();
    let away = line.source_away();
    match watch.standing(Instant::now()) {
        Standing::Unusable(unusable) => Status::Down(unusable.to_string()),
        Standing::Silent(since) => {
            let seconds = since.as_secs();
            Status::Stuck(format!("Storage has not answered for {seconds} s"))
        }
        Standing::NotAsked | Standing::Here if away.is_some() => {
            Status::Down(away.unwrap_or_default())
        }
        Standing::NotAsked | Standing::Here => match line.ledger_full().or_else(|| watch.full()) {
            Some(full) => Status::Degraded(full),
            None => match stuck(line, Instant::now()) {
                Some(why) => Status::Stuck(why),
                None => line.ledger.degraded().map_or(Status::Up, |degraded| {
                    Status::Degraded(without_ledger(&degraded))
                }),
            },
        },
    }
}

/// Why the line is stuck, if it is: Storage answers, and yet what is under way does not move.
pub(super) fn stuck(line: &Line, now: Instant) -> Option<String> {
    let idle = line.progress.idle(now);
    let answers = matches!(
        line.vault.watch().standing(now),
        Standing::NotAsked | Standing::Here
    );
    let is_stuck = answers
        && line.progress.under_way.load(Ordering::Relaxed) > 0
        && idle > STUCK_AFTER
        && line
            .ledger_full()
            .or_else(|| line.vault.watch().full())
            .is_none();
    is_stuck.then(|| {
        let minutes = idle.as_secs() / 60;
        format!("nothing was filed for {minutes} minutes though files wait: is the disk answering?")
    })
}

/// One beat of the ledger, from a real small read and write.
pub(super) fn ledger(line: &Line, monitor: &Monitor) {
    monitor.beat(&Service::FACTORY_DB, ledger_report(line), now());
}

fn ledger_report(line: &Line) -> Report {
    let asked = Instant::now();
    let status = line
        .ledger
        .probe(now())
        .map_or_else(|error| Status::Down(error.to_string()), |()| Status::Up);
    let took = asked.elapsed();
    let size = std::fs::metadata(line.ledger.path()).map_or(0, |file| file.len());
    let written = line.ledger.last_write().map_or_else(
        || "nothing written since the start".to_owned(),
        |ago| format!("last commit {} min ago", ago.as_secs() / 60),
    );
    Report::from(status)
        .doing(format!("probe of {}; {written}", bytes_text(size)))
        .answered_in(took)
}

/// One beat of the page, from asking it as a browser would.
pub(super) fn page(line: &Line, monitor: &Monitor) {
    let asked = Instant::now();
    let status = match client::ask(&line.config.data, HEALTH, &mut std::io::sink()) {
        Ok(Answer::Done) => Status::Up,
        Ok(Answer::NotRunning) => Status::Down(
            "its socket in Data is gone: restart Photo Factory to get it back".to_owned(),
        ),
        Err(error) => Status::Down(error.to_string()),
    };
    let report = Report::from(status)
        .doing("answering")
        .answered_in(asked.elapsed());
    monitor.beat(&Service::DASHBOARD, report, now());
}

/// While the ledger is down: says so at once, and tries it again and again. When it is back, what it tells of interrupted
/// work is put right.
pub(super) async fn mend_ledger(line: Arc<Line>, monitor: Arc<Monitor>) {
    let mut was_down = false;
    loop {
        if let Some(degraded) = line.ledger.degraded() {
            if !was_down {
                let depth = line.progress.depth();
                let librarian = Status::Degraded(without_ledger(&degraded));
                let librarian = Report::from(librarian).with_queue(depth);
                monitor.beat(&Service::LIBRARIAN, librarian, now());
                let ledger = Status::Down(degraded.reason);
                monitor.beat(&Service::FACTORY_DB, ledger.into(), now());
            }
            was_down = true;
            let line = Arc::clone(&line);
            // Its errors are told by `degraded`.
            unblock(move || line.ledger.probe(now()).is_ok()).await;
        }
        if was_down && line.ledger.degraded().is_none() {
            was_down = false;
            // It may know of interrupted work that the journal did not.
            line.vault.watch().note_interrupted();
            monitor.beat(&Service::FACTORY_DB, Status::Up.into(), now());
            let depth = line.progress.depth();
            let librarian = Report::from(Status::Up).with_queue(depth);
            monitor.beat(&Service::LIBRARIAN, librarian, now());
        }
        Timer::after(MEND_EVERY).await;
    }
}

/// What the librarian says of itself while the ledger is down. Why that is down, the ledger says.
fn without_ledger(degraded: &Degraded) -> String {
    format!(
        "the ledger can't be used; files noted in the journal meanwhile: {}. They go into the ledger by themselves",
        degraded.journaled
    )
}
