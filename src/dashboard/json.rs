//! The overview as JSON: what `/api/v1/status` and `status --json` say.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::beside::{container_json, syncthing_json};
use super::overview::{Overview, service_word};
use crate::asset::{Asset, lossy, rfc3339};
use crate::monitor::board::{Board, Disk, When};
use crate::monitor::event::Event;
use crate::monitor::{BeatClock, Live, ServiceRow, Status};
use crate::verify::background::Verified;

const DAY: Duration = Duration::from_secs(86_400);

impl Overview {
    /// The JSON of `/api/v1/status` and of `status --json`.
    pub fn json(&self) -> Value {
        let (level, sentence) = self.verdict();
        let services: Vec<Value> = self.services.iter().map(service_json).collect();
        let problems: Vec<Value> = self
            .problems
            .iter()
            .map(|problem| {
                json!({
                    "path": problem.path,
                    "sort": problem.sort,
                    "reason": problem.reason,
                    "since": rfc3339(problem.since),
                })
            })
            .collect();
        let kinds: Map<String, Value> = self
            .kinds
            .iter()
            .map(|&(kind, count)| (kind.to_owned(), json!(count)))
            .collect();
        let photos = self.photos.map(|photos| {
            json!({
                "total": photos.total,
                "bytes": photos.bytes,
                "today": photos.today,
                "this_week": photos.this_week,
                "with_errors": photos.with_errors,
                "guessed_dates": photos.guessed_dates,
                "kinds": kinds,
            })
        });
        json!({
            "status": level.as_str(),
            "message": sentence,
            "version": self.version,
            "generated_at": rfc3339(self.generated_at),
            "photos": photos,
            "inbox": {
                "depth": self.activity.inbox_depth,
                "left": self.left,
            },
            "activity": {
                "state": self.activity.state,
                "paused_until": self.activity.paused_until.map(rfc3339),
                "trouble": self.activity.trouble,
                "current": self.activity.current,
                "done_in_this_run": self.activity.run.map(|(_, done)| done),
                "seconds_left": self.activity.time_left().map(|time| time.as_secs()),
                "filed_since_start": self.activity.filed_since_start,
                "duplicates_since_start": self.activity.duplicates_since_start,
                "started_at": self.activity.started_at.map(rfc3339),
            },
            "storage": { "free_bytes": self.activity.storage_free },
            "verified": self.activity.verified.as_ref().map(verified_json),
            "notices": self.activity.notices,
            "services": services,
            "days": self.days_json(),
            "events": self.seen.events.iter().map(event_json).collect::<Vec<_>>(),
            "phones": self.phones_json(),
            "board": self.seen.board.as_ref().map(board_json),
            "syncthing": self.seen.syncthing.as_ref().map(syncthing_json),
            "containers": self.seen.containers.iter().map(container_json).collect::<Vec<_>>(),
            "docker_trouble": self.seen.docker_trouble,
            "history": {
                "bytes": self.seen.history_bytes,
                "commits_since_start": self.seen.history_commits,
            },
            "problems": problems,
            "newest": self.newest.iter().map(Asset::to_json).collect::<Vec<_>>(),
        })
    }

    fn days_json(&self) -> Vec<Value> {
        let days = self.seen.days.iter();
        days.map(|(date, service, rollup)| {
            json!({
                "day": date.to_string(),
                "service_name": service.as_str(),
                "up_seconds": rollup.up.as_secs(),
                "degraded_seconds": rollup.degraded.as_secs(),
                "down_seconds": rollup.down.as_secs(),
                "unknown_seconds": rollup.unknown_of(DAY).as_secs(),
                "response_ms": rollup.mean().map(|mean| json!({
                    "min": millis(rollup.fastest),
                    "mean": millis(mean),
                    "max": millis(rollup.slowest),
                })),
            })
        })
        .collect()
    }

    fn phones_json(&self) -> Vec<Value> {
        let phones = self.seen.phones.iter();
        phones
            .map(|(name, phone)| {
                json!({
                    "name": name,
                    "last_photo": rfc3339(phone.last),
                    "days_with_photos": phone.days,
                })
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

fn service_json(row: &ServiceRow) -> Value {
    json!({
        "service_name": row.service.as_str(),
        "status": service_word(row).replace(' ', "_"),
        "reason": row.status.as_ref().and_then(Status::reason),
        "last_heartbeat": row.last_heartbeat.map(rfc3339),
        "silent_seconds": row.silent_for.map(|silence| silence.as_secs()),
        "current_task": row.current_task,
        "queue_depth": row.queue_depth,
        "since": row.since.map(rfc3339),
        "response_ms": row.response.map(millis),
        "live": row.live.iter().map(live_json).collect::<Vec<_>>(),
        "disagreement": row.disagreement(),
    })
}

pub(super) fn verified_json(verified: &Verified) -> Value {
    let findings: Vec<Value> = verified
        .findings
        .iter()
        .map(|(finding, since)| {
            json!({
                "path": lossy(finding.path.as_os_str()),
                "finding": finding.what.as_str(),
                "reason": finding.what.to_string(),
                "advice": finding.what.advice(),
                "since": rfc3339(*since),
            })
        })
        .collect();
    json!({
        "days": verified.days,
        "last_round": verified.last.map(|(at, files)| json!({ "at": rfc3339(at), "files": files })),
        "files": verified.files,
        "of": verified.of,
        "at_once": verified.at_once,
        "problems": verified.problems(),
        "findings": findings,
    })
}

fn live_json(live: &Live) -> Value {
    json!({
        "source": live.source,
        "state": live.state,
        "status": live.status.as_str(),
        "reason": live.status.reason(),
    })
}

fn event_json(event: &Event) -> Value {
    json!({
        "at": rfc3339(event.at),
        "kind": event.kind.as_str(),
        "turn": event.turn.as_str(),
        "key": event.key,
        "text": event.text,
        "clock": match event.clock {
            BeatClock::Trusted => "trusted",
            BeatClock::Doubtful => "doubtful",
            BeatClock::Corrected => "corrected",
        },
    })
}

fn board_json(board: &Board) -> Value {
    json!({
        "disks": board.disks.iter().map(disk_json).collect::<Vec<_>>(),
        "own_written_bytes": board.own_written,
        "own_written_bytes_per_hour": board.own_written_per_hour,
        "memory": {
            "total_bytes": board.memory.total,
            "available_bytes": board.memory.available,
            "swap_used_bytes": board.memory.swap_used,
            "own_bytes": board.memory.own,
        },
        "load": board.load,
        "temperature_celsius": board.temperature,
        "power": board.power.map(|power| json!({
            "low_voltage": power.low == When::Now,
            "low_voltage_since_start": power.low != When::Never,
            "throttled": power.throttled == When::Now,
            "throttled_since_start": power.throttled != When::Never,
        })),
        "clock_synchronized": board.clock_is_kept,
        "uptime_seconds": board.uptime.map(|uptime| uptime.as_secs()),
    })
}

pub(super) fn disk_json(disk: &Disk) -> Value {
    json!({
        "name": disk.name,
        "free_bytes": disk.room.map(|room| room.free),
        "total_bytes": disk.room.map(|room| room.total),
        "free_inodes": disk.room.and_then(|room| room.inodes).map(|(free, _)| free),
        "total_inodes": disk.room.and_then(|room| room.inodes).map(|(_, total)| total),
        "written_bytes_per_hour": disk.written_per_hour,
    })
}

/// Milliseconds, as JSON has them.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
