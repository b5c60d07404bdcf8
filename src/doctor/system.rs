//! The clock, the time zone, the metadata worker and the courier.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use jiff::{SignedDuration, Timestamp};
use photo_factory_kernel::clock;

use super::Check;
use crate::config::Config;
use crate::courier::Courier;

/// This version was not built before (2025-01-01): an earlier clock is wrong.
const BUILT_AFTER: i64 = 1_735_689_600;

/// A clock beyond this (2100-01-01) is wrong.
const BEFORE: i64 = 4_102_444_800;

/// How far files may lie ahead of the clock: time services correct by less.
const AHEAD: SignedDuration = SignedDuration::from_mins(10);

/// Whether the clock is right, and the time zone set.
pub(super) fn clock(config: &Config, now: Timestamp) -> Vec<Check> {
    vec![time(config, now), zone(config)]
}

fn time(config: &Config, now: Timestamp) -> Check {
    const WHY: &str = "Photos without a date of their own are filed by file times; heartbeats and the log lose their order. Dates that photos carry don't depend on it.";
    let shown = now
        .to_zoned(config.zone.clone())
        .strftime("%Y-%m-%d %H:%M %Z");
    let to_do = |check: Check| {
        check
            .then("sudo timedatectl set-ntp true")
            .then("without a network: sudo date -s '2026-01-31 12:00' # the true time")
    };
    if !(BUILT_AFTER..BEFORE).contains(&now.as_second()) {
        return to_do(Check::finding(
            "clock",
            format!("it says {shown}, which can't be"),
            WHY,
        ));
    }
    let written = newest(&[&config.data, &config.logs]);
    if let Some(written) = written
        && written.duration_since(now) > AHEAD
    {
        let written = written
            .to_zoned(config.zone.clone())
            .strftime("%Y-%m-%d %H:%M");
        return to_do(Check::finding(
            "clock",
            format!(
                "it says {shown}, but files of Photo Factory were written at {written}: the clock was set back"
            ),
            WHY,
        ));
    }
    // timesyncd's own word, where the kernel's was lost (a container).
    let by_file = Path::new("/run/systemd/timesync/synchronized").exists();
    match clock::is_synchronized() {
        Some(true) => Check::well("clock", format!("{shown}, kept right by a time service")),
        _ if by_file => Check::well("clock", format!("{shown}, kept right by systemd-timesyncd")),
        Some(false) => Check::note(
            "clock",
            format!("{shown} is plausible, but no time service keeps it right"),
            format!("Boards without a battery forget the time when they are switched off. {WHY}"),
        )
        .then("sudo timedatectl set-ntp true"),
        None => Check::note(
            "clock",
            format!("{shown} is plausible; whether a time service keeps it is not known"),
            "",
        ),
    }
}

/// When a file in one of these folders was last written.
fn newest(folders: &[&Path]) -> Option<Timestamp> {
    let entries = folders
        .iter()
        .filter_map(|folder| std::fs::read_dir(folder).ok());
    let times = entries.flatten().flatten().filter_map(|entry| {
        let modified = entry.metadata().ok()?.modified().ok()?;
        Timestamp::try_from(modified).ok()
    });
    times.max()
}

fn zone(config: &Config) -> Check {
    const WHY: &str = "Videos that only know the world's time (UTC) are put on this zone, so those taken around midnight may stand under the neighbouring day.";
    let set = "sudo timedatectl set-timezone Europe/Berlin # yours: `timedatectl list-timezones`; then restart Photo Factory";
    if config.zone.is_unknown() {
        return Check::finding("time zone", "this machine's time zone is not known", WHY).then(set);
    }
    match config.zone.iana_name() {
        Some(name @ ("UTC" | "Etc/UTC" | "Etc/UCT" | "UCT" | "Zulu")) => {
            Check::note("time zone", format!("{name}: nobody lives there"), WHY).then(set)
        }
        Some(name) => Check::well("time zone", name),
        None => Check::well("time zone", "set, without a name"),
    }
}

/// Whether the courier is there and can be started.
pub(super) fn courier(config: &Config) -> Check {
    const WHY: &str = "It asks Syncthing and sends alerts: without it the page can't say whether the phones keep their copies, and nobody is told when something is wrong.";
    let install = "install the package again; in a build folder: cargo build --release";
    match Courier::new(config.courier.clone()).round() {
        Ok(_round) => Check::well("courier", "photo-factory-courier starts"),
        Err(failed) => Check::finding("courier", failed.to_string(), WHY).then(install),
    }
}

/// Whether the metadata worker is there and can be started.
pub(super) fn worker(config: &Config) -> Check {
    const WHY: &str = "It reads the dates of RAW and HEIC pictures: without it some are filed by their name or file time.";
    let install = "install the package again; in a build folder: cargo build --release";
    let Some(path) = &config.worker else {
        return Check::finding(
            "metadata",
            "the metadata worker photo-factory-exif is missing",
            WHY,
        )
        .then(install);
    };
    let shown = path.display();
    // It ends by itself when its socket closes.
    let started = UnixStream::pair().and_then(|(ours, theirs)| {
        drop(ours);
        let theirs = std::os::fd::OwnedFd::from(theirs);
        Command::new(path)
            .stdin(theirs)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .output()
    });
    match started {
        Ok(output) if output.status.success() => {
            Check::well("metadata", format!("the worker {shown} starts"))
        }
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = said.lines().next().unwrap_or_default();
            Check::finding(
                "metadata",
                format!(
                    "the worker {shown} does not start ({}): {said}",
                    output.status
                ),
                WHY,
            )
            .then("sudo apt install libgexiv2-2")
            .then(install)
        }
        Err(error) => Check::finding(
            "metadata",
            format!("the worker {shown} can't be started: {error}"),
            WHY,
        )
        .then(install),
    }
}
