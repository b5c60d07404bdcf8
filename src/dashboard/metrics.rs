//! `/metrics`: the overview in Prometheus' text format, version 0.0.4.
//!
//! Every name is documented by its own `HELP` line; units are bytes, seconds and ratios, as Prometheus wants them.

use std::fmt::{self, Write};

use super::overview::Overview;
use crate::monitor::board::{Disk, When};
use crate::monitor::rollup::Rollup;
use crate::monitor::{ServiceRow, Status};

/// The media type.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The overview as metrics.
pub fn metrics(overview: &Overview) -> String {
    let mut out = String::new();
    // Writing into a String cannot fail.
    let written = write_all(overview, &mut out);
    debug_assert!(written.is_ok(), "a String takes every write");
    out
}

type Samples = Vec<(String, f64)>;

fn write_all(overview: &Overview, out: &mut String) -> fmt::Result {
    let plain = |value: f64| vec![(String::new(), value)];
    let count = |value: u64| plain(number(value));
    let activity = &overview.activity;
    let version = vec![(labels(&[("version", overview.version)]), 1.0)];
    gauge(out, "build_info", "The version that runs.", version)?;
    if let Some(at) = activity.started_at {
        let at = plain(at.as_duration().as_secs_f64());
        gauge(
            out,
            "start_time_seconds",
            "When it was started, in seconds since 1970.",
            at,
        )?;
    }
    if let Some(photos) = &overview.photos {
        gauge(
            out,
            "photos",
            "Photos and videos that are kept.",
            count(photos.total),
        )?;
        gauge(
            out,
            "photos_bytes",
            "Bytes of all that is kept.",
            count(photos.bytes),
        )?;
        gauge(
            out,
            "photos_damaged",
            "Photos that arrived damaged.",
            count(photos.with_errors),
        )?;
        gauge(
            out,
            "photos_guessed_dates",
            "Photos filed under a guessed day.",
            count(photos.guessed_dates),
        )?;
    }
    counter(
        out,
        "filed_total",
        "Files placed since the start.",
        count(activity.filed_since_start),
    )?;
    counter(
        out,
        "duplicates_total",
        "Duplicates found since the start.",
        count(activity.duplicates_since_start),
    )?;
    gauge(
        out,
        "inbox_waiting",
        "Files that wait in the inbox.",
        count(activity.inbox_depth),
    )?;
    gauge(
        out,
        "inbox_left",
        "Files in the inbox that need a look.",
        count(overview.left),
    )?;
    gauge(
        out,
        "ledger_up",
        "Whether the ledger can be used.",
        count(u64::from(overview.ledger_error.is_none())),
    )?;
    if let Some(verified) = &activity.verified {
        gauge(
            out,
            "originals_problems",
            "Originals that are not as they should be.",
            count(verified.problems()),
        )?;
    }
    services(&overview.services, overview, out)?;
    let phones = overview.seen.phones.iter().enumerate();
    // Names are for people with the password; a number is enough to draw a line.
    let phones = phones.map(|(index, (_, phone))| {
        let index = (index + 1).to_string();
        (
            labels(&[("phone", &index)]),
            phone.last.as_duration().as_secs_f64(),
        )
    });
    gauge(
        out,
        "phone_last_photo_time_seconds",
        "When a phone, numbered by its name, brought its last photo, in seconds since 1970.",
        phones.collect(),
    )?;
    board(overview, out)
}

fn services(rows: &[ServiceRow], overview: &Overview, out: &mut String) -> fmt::Result {
    let of = |value: &dyn Fn(&ServiceRow) -> Option<f64>| -> Samples {
        let samples = rows
            .iter()
            .filter_map(|row| Some((labels(&[("service", row.service.as_str())]), value(row)?)));
        samples.collect()
    };
    let up = of(&|row| {
        let works = matches!(row.status, Some(Status::Up | Status::Degraded(_)));
        Some(number(u64::from(works && !row.is_overdue())))
    });
    gauge(
        out,
        "service_up",
        "Whether a service works: 1 up or degraded, 0 otherwise.",
        up,
    )?;
    let degraded = of(&|row| {
        Some(number(u64::from(matches!(
            row.status,
            Some(Status::Degraded(_))
        ))))
    });
    gauge(
        out,
        "service_degraded",
        "Whether a service works with a limit.",
        degraded,
    )?;
    let heard = of(&|row| Some(row.last_heartbeat?.as_duration().as_secs_f64()));
    gauge(
        out,
        "service_last_heartbeat_time_seconds",
        "When a service reported last, in seconds since 1970.",
        heard,
    )?;
    let took = of(&|row| Some(row.response?.as_secs_f64()));
    gauge(
        out,
        "service_response_seconds",
        "How long a service took to answer.",
        took,
    )?;
    let depth = of(&|row| Some(number(row.queue_depth?)));
    gauge(out, "service_queue", "What waits for a service.", depth)?;
    let today = |pick: fn(&Rollup) -> f64| -> Samples {
        let days = overview.seen.days.iter();
        days.filter(|(date, ..)| Some(*date) == overview.seen.today)
            .map(|(_, service, rollup)| (labels(&[("service", service.as_str())]), pick(rollup)))
            .collect()
    };
    gauge(
        out,
        "service_up_today_seconds",
        "How long a service was up today.",
        today(|rollup| rollup.up.as_secs_f64()),
    )?;
    gauge(
        out,
        "service_down_today_seconds",
        "How long a service was down today.",
        today(|rollup| rollup.down.as_secs_f64()),
    )
}

fn board(overview: &Overview, out: &mut String) -> fmt::Result {
    let Some(board) = &overview.seen.board else {
        return Ok(());
    };
    let disks = |value: &dyn Fn(&Disk) -> Option<u64>| -> Samples {
        let samples = board
            .disks
            .iter()
            .filter_map(|disk| Some((labels(&[("disk", &disk.name)]), number(value(disk)?))));
        samples.collect()
    };
    gauge(
        out,
        "disk_free_bytes",
        "Bytes free on a disk, named by what lies on it.",
        disks(&|disk| Some(disk.room?.free)),
    )?;
    gauge(
        out,
        "disk_size_bytes",
        "Bytes of a disk.",
        disks(&|disk| Some(disk.room?.total)),
    )?;
    gauge(
        out,
        "disk_free_inodes",
        "Files for which a disk has room.",
        disks(&|disk| Some(disk.room?.inodes?.0)),
    )?;
    counter(
        out,
        "written_bytes_total",
        "Bytes that Photo Factory caused to be written.",
        vec![(String::new(), number(board.own_written))],
    )?;
    let one = |value: Option<f64>| -> Samples {
        value
            .map(|value| (String::new(), value))
            .into_iter()
            .collect()
    };
    gauge(
        out,
        "memory_bytes",
        "Memory that Photo Factory uses.",
        one(Some(number(board.memory.own))),
    )?;
    gauge(
        out,
        "board_memory_available_bytes",
        "Memory that programs could still have.",
        one(Some(number(board.memory.available))),
    )?;
    gauge(
        out,
        "board_temperature_celsius",
        "The hottest sensor.",
        one(board.temperature),
    )?;
    gauge(
        out,
        "board_low_voltage",
        "Whether the power supply is too weak.",
        one(board
            .power
            .map(|power| number(u64::from(power.low == When::Now)))),
    )?;
    gauge(
        out,
        "board_throttled",
        "Whether the board slows itself down.",
        one(board
            .power
            .map(|power| number(u64::from(power.throttled == When::Now)))),
    )?;
    gauge(
        out,
        "board_clock_synchronized",
        "Whether a time service keeps the clock.",
        one(board.clock_is_kept.map(|kept| number(u64::from(kept)))),
    )
}

fn gauge(out: &mut String, name: &str, help: &str, samples: Samples) -> fmt::Result {
    family(out, name, help, "gauge", samples)
}

fn counter(out: &mut String, name: &str, help: &str, samples: Samples) -> fmt::Result {
    family(out, name, help, "counter", samples)
}

/// A family without samples is left out.
fn family(out: &mut String, name: &str, help: &str, kind: &str, samples: Samples) -> fmt::Result {
    if samples.is_empty() {
        return Ok(());
    }
    writeln!(out, "# HELP photo_factory_{name} {help}")?;
    writeln!(out, "# TYPE photo_factory_{name} {kind}")?;
    for (labels, value) in samples {
        writeln!(out, "photo_factory_{name}{labels} {value}")?;
    }
    Ok(())
}

fn labels(pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = pairs
        .iter()
        .map(|(name, value)| {
            let value = value
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            format!("{name}=\"{value}\"")
        })
        .collect();
    format!("{{{}}}", pairs.join(","))
}

/// Prometheus knows floating point only: exact up to 2^53.
#[expect(
    clippy::cast_precision_loss,
    reason = "the format has no other numbers"
)]
fn number(value: u64) -> f64 {
    value as f64
}
