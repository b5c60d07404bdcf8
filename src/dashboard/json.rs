//! The overview as JSON: what `/api/v1/status` and `status --json` say.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::beside::{container_json, syncthing_json};
use super::overview::{Overview, Problem, service_word};
use crate::asset::{Asset, lossy, rfc3339};
use crate::monitor::board::{Board, Disk, When};
use crate::monitor::event::Event;
use crate::monitor::rollup::Rollup;
use crate::monitor::{Beat, BeatClock, Live, Service, ServiceRow, Status};
use crate::verify::background::Verified;

/// Findings of the verification, the newest; `verify` names all.
const FINDINGS: usize = 100;

const DAY: Duration = Duration::from_secs(86_400);

impl Overview {
    /// The JSON of `/api/v1/status` and of `status --json`.
    pub fn json(&self) -> Value {
        let (level, sentence) = self.verdict();
        let services: Vec<Value> = self.services.iter().map(service_json).collect();
        object(vec![
            ("status", json!(level.as_str())),
            ("message", json!(sentence)),
            ("version", json!(self.version)),
            ("generated_at", json!(rfc3339(self.generated_at))),
            ("photos", self.photos_json()),
            (
                "inbox",
                object(vec![
                    ("depth", json!(self.activity.inbox_depth)),
                    ("left", json!(self.left)),
                ]),
            ),
            ("activity", self.activity_json()),
            (
                "storage",
                object(vec![("free_bytes", json!(self.activity.storage_free))]),
            ),
            (
                "verified",
                json!(self.activity.verified.as_ref().map(verified_json)),
            ),
            ("notices", json!(self.activity.notices)),
            ("services", json!(services)),
            ("days", json!(self.days_json())),
            (
                "events",
                json!(self.seen.events.iter().map(event_json).collect::<Vec<_>>()),
            ),
            ("phones", json!(self.phones_json())),
            ("board", json!(self.seen.board.as_ref().map(board_json))),
            (
                "syncthing",
                json!(self.seen.syncthing.as_ref().map(syncthing_json)),
            ),
            (
                "containers",
                json!(
                    self.seen
                        .containers
                        .iter()
                        .map(container_json)
                        .collect::<Vec<_>>()
                ),
            ),
            ("docker_trouble", json!(self.seen.docker_trouble)),
            (
                "history",
                object(vec![
                    ("bytes", json!(self.seen.history_bytes)),
                    ("commits_since_start", json!(self.seen.history_commits)),
                ]),
            ),
            ("problems", self.problems.iter().map(problem_json).collect()),
            (
                "newest",
                json!(self.newest.iter().map(Asset::to_json).collect::<Vec<_>>()),
            ),
        ])
    }

    fn photos_json(&self) -> Value {
        let kinds: Map<String, Value> = self
            .kinds
            .iter()
            .map(|&(kind, count)| (kind.to_owned(), json!(count)))
            .collect();
        let Some(photos) = self.photos else {
            return Value::Null;
        };

        object(vec![
            ("total", json!(photos.total)),
            ("bytes", json!(photos.bytes)),
            ("today", json!(photos.today)),
            ("this_week", json!(photos.this_week)),
            ("with_errors", json!(photos.with_errors)),
            ("guessed_dates", json!(photos.guessed_dates)),
            ("kinds", json!(kinds)),
        ])
    }

    fn activity_json(&self) -> Value {
        object(vec![
            ("state", json!(self.activity.state)),
            (
                "paused_until",
                json!(self.activity.paused_until.map(rfc3339)),
            ),
            ("trouble", json!(self.activity.trouble)),
            ("current", json!(self.activity.current)),
            (
                "done_in_this_run",
                json!(self.activity.run.map(|(_, done)| done)),
            ),
            (
                "seconds_left",
                json!(self.activity.time_left().map(|time| time.as_secs())),
            ),
            ("filed_since_start", json!(self.activity.filed_since_start)),
            (
                "duplicates_since_start",
                json!(self.activity.duplicates_since_start),
            ),
            ("started_at", json!(self.activity.started_at.map(rfc3339))),
        ])
    }

    fn days_json(&self) -> Vec<Value> {
        let days = self.seen.days.iter();
        days.map(|(date, service, rollup)| {
            rollup_json("day", &date.to_string(), service, rollup, DAY)
        })
        .collect()
    }

    fn phones_json(&self) -> Vec<Value> {
        let phones = self.seen.phones.iter();
        phones
            .map(|(name, phone)| {
                object(vec![
                    ("name", json!(name)),
                    ("last_photo", json!(rfc3339(phone.last))),
                    ("days_with_photos", json!(phone.days)),
                ])
            })
            .collect()
    }
}

/// An object with these members, in this order.
pub(super) fn object(members: Vec<(&'static str, Value)>) -> Value {
    let members = members.into_iter();
    Value::Object(
        members
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    )
}

pub(super) fn problem_json(problem: &Problem) -> Value {
    object(vec![
        ("path", json!(problem.path)),
        ("sort", json!(problem.sort)),
        ("reason", json!(problem.reason)),
        ("since", json!(rfc3339(problem.since))),
    ])
}

/// A roll-up of a service over a `whole`: an hour or a day, named by `when`.
pub(super) fn rollup_json(
    name: &'static str,
    when: &str,
    service: &Service,
    rollup: &Rollup,
    whole: Duration,
) -> Value {
    let response = rollup.mean().map(|mean| {
        object(vec![
            ("min", json!(millis(rollup.fastest))),
            ("mean", json!(millis(mean))),
            ("max", json!(millis(rollup.slowest))),
        ])
    });
    object(vec![
        (name, json!(when)),
        ("service_name", json!(service.as_str())),
        ("up_seconds", json!(rollup.up.as_secs())),
        ("degraded_seconds", json!(rollup.degraded.as_secs())),
        ("down_seconds", json!(rollup.down.as_secs())),
        ("unknown_seconds", json!(rollup.unknown_of(whole).as_secs())),
        ("response_ms", json!(response)),
    ])
}

pub(super) fn beat_json(beat: &Beat) -> Value {
    object(vec![
        ("at", json!(rfc3339(beat.at))),
        ("status", json!(beat.status.as_str())),
        ("reason", json!(beat.status.reason())),
        ("task", json!(beat.task)),
        ("response_ms", json!(beat.response.map(millis))),
        ("clock", json!(clock_word(beat.clock))),
    ])
}

pub(super) fn service_json(row: &ServiceRow) -> Value {
    object(vec![
        ("service_name", json!(row.service.as_str())),
        ("status", json!(service_word(row).replace(' ', "_"))),
        (
            "reason",
            json!(row.status.as_ref().and_then(Status::reason)),
        ),
        ("last_heartbeat", json!(row.last_heartbeat.map(rfc3339))),
        (
            "silent_seconds",
            json!(row.silent_for.map(|silence| silence.as_secs())),
        ),
        ("current_task", json!(row.current_task)),
        ("queue_depth", json!(row.queue_depth)),
        ("since", json!(row.since.map(rfc3339))),
        ("response_ms", json!(row.response.map(millis))),
        (
            "live",
            json!(row.live.iter().map(live_json).collect::<Vec<_>>()),
        ),
        ("disagreement", json!(row.disagreement())),
    ])
}

pub(super) fn verified_json(verified: &Verified) -> Value {
    let others = verified.findings.len().saturating_sub(FINDINGS);
    let findings: Vec<Value> = verified.findings[others..]
        .iter()
        .map(|(finding, since)| {
            object(vec![
                ("path", json!(lossy(finding.path.as_os_str()))),
                ("finding", json!(finding.what.as_str())),
                ("reason", json!(finding.what.to_string())),
                ("advice", json!(finding.what.advice())),
                ("since", json!(rfc3339(*since))),
            ])
        })
        .collect();
    object(vec![
        ("days", json!(verified.days)),
        (
            "last_round",
            json!(verified.last.map(|(at, files)| object(vec![
                ("at", json!(rfc3339(at))),
                ("files", json!(files))
            ]))),
        ),
        ("files", json!(verified.files)),
        ("of", json!(verified.of)),
        ("at_once", json!(verified.at_once)),
        ("problems", json!(verified.problems())),
        ("findings", json!(findings)),
    ])
}

fn live_json(live: &Live) -> Value {
    object(vec![
        ("source", json!(live.source)),
        ("state", json!(live.state)),
        ("status", json!(live.status.as_str())),
        ("reason", json!(live.status.reason())),
    ])
}

pub(super) fn event_json(event: &Event) -> Value {
    object(vec![
        ("at", json!(rfc3339(event.at))),
        ("kind", json!(event.kind.as_str())),
        ("turn", json!(event.turn.as_str())),
        ("key", json!(event.key)),
        ("text", json!(event.text)),
        ("clock", json!(clock_word(event.clock))),
    ])
}

fn clock_word(clock: BeatClock) -> &'static str {
    match clock {
        BeatClock::Trusted => "trusted",
        BeatClock::Doubtful => "doubtful",
        BeatClock::Corrected => "corrected",
    }
}

fn board_json(board: &Board) -> Value {
    object(vec![
        (
            "disks",
            json!(board.disks.iter().map(disk_json).collect::<Vec<_>>()),
        ),
        ("own_written_bytes", json!(board.own_written)),
        (
            "own_written_bytes_per_hour",
            json!(board.own_written_per_hour),
        ),
        (
            "memory",
            object(vec![
                ("total_bytes", json!(board.memory.total)),
                ("available_bytes", json!(board.memory.available)),
                ("swap_used_bytes", json!(board.memory.swap_used)),
                ("own_bytes", json!(board.memory.own)),
            ]),
        ),
        ("load", json!(board.load)),
        ("temperature_celsius", json!(board.temperature)),
        (
            "power",
            json!(board.power.map(|power| object(vec![
                ("low_voltage", json!(power.low == When::Now)),
                ("low_voltage_since_start", json!(power.low != When::Never)),
                ("throttled", json!(power.throttled == When::Now)),
                (
                    "throttled_since_start",
                    json!(power.throttled != When::Never)
                )
            ]))),
        ),
        ("clock_synchronized", json!(board.clock_is_kept)),
        (
            "uptime_seconds",
            json!(board.uptime.map(|uptime| uptime.as_secs())),
        ),
    ])
}

pub(super) fn disk_json(disk: &Disk) -> Value {
    object(vec![
        ("name", json!(disk.name)),
        ("free_bytes", json!(disk.room.map(|room| room.free))),
        ("total_bytes", json!(disk.room.map(|room| room.total))),
        (
            "free_inodes",
            json!(disk.room.and_then(|room| room.inodes).map(|(free, _)| free)),
        ),
        (
            "total_inodes",
            json!(
                disk.room
                    .and_then(|room| room.inodes)
                    .map(|(_, total)| total)
            ),
        ),
        ("written_bytes_per_hour", json!(disk.written_per_hour)),
    ])
}

/// Milliseconds, as JSON has them.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
