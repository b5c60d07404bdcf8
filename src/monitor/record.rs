//! The history's records. A record is: status code, flags, length of the reason, the response time where there is one (4 bytes,
//! little-endian, milliseconds), the reason, the task.

use std::time::Duration;

use jiff::Timestamp;

use super::service::{BeatClock, ServiceRow, Status, Watched};

/// The stored depth of a queue that is not known.
const UNKNOWN_DEPTH: u64 = u64::MAX;

const DOUBTFUL: u8 = 1;
const CORRECTED: u8 = 2;
const TIMED: u8 = 4;

/// What a record holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Said {
    pub(super) status: Status,
    pub(super) task: String,
    pub(super) response: Option<Duration>,
    pub(super) clock: BeatClock,
}

pub(super) fn record(
    status: &Status,
    task: &str,
    response: Option<Duration>,
    clock: BeatClock,
) -> Vec<u8> {
    let reason = status.reason().unwrap_or_default();
    let length = u8::try_from(reason.len()).unwrap_or_default();
    let reason = reason.get(..usize::from(length)).unwrap_or_default();
    let flags = match clock {
        BeatClock::Trusted => 0,
        BeatClock::Doubtful => DOUBTFUL,
        BeatClock::Corrected => CORRECTED,
    };
    let timed = if response.is_some() { TIMED } else { 0 };
    let mut record = vec![status.code(), flags | timed, length];
    if let Some(response) = response {
        let millis = u32::try_from(response.as_millis()).unwrap_or(u32::MAX);
        record.extend_from_slice(&millis.to_le_bytes());
    }
    record.extend_from_slice(reason.as_bytes());
    record.extend_from_slice(task.as_bytes());
    record
}

pub(super) fn parsed(record: &[u8]) -> Option<Said> {
    let [code, flags, length, rest @ ..] = record else {
        return None;
    };
    let (response, text) = if flags & TIMED == 0 {
        (None, rest)
    } else {
        let (millis, text) = rest.split_first_chunk::<4>()?;
        let millis = u64::from(u32::from_le_bytes(*millis));
        (Some(Duration::from_millis(millis)), text)
    };
    let (reason, task) = text.split_at_checked(usize::from(*length))?;
    let reason = std::str::from_utf8(reason).ok()?;
    let task = std::str::from_utf8(task).ok()?;
    Some(Said {
        status: Status::from_code(*code, reason),
        task: task.to_owned(),
        response,
        clock: match flags & (DOUBTFUL | CORRECTED) {
            0 => BeatClock::Trusted,
            CORRECTED => BeatClock::Corrected,
            _ => BeatClock::Doubtful,
        },
    })
}

/// The current row: depth, time of the last beat, time since when it is so, then a record.
#[doc(hidden)]
pub fn row_record(row: &ServiceRow) -> Option<Vec<u8>> {
    let status = row.status.as_ref()?;
    let at = row.last_heartbeat?;
    let since = row.since.unwrap_or(at);
    let mut bytes = row
        .queue_depth
        .unwrap_or(UNKNOWN_DEPTH)
        .to_le_bytes()
        .to_vec();
    bytes.extend_from_slice(&at.as_millisecond().to_le_bytes());
    bytes.extend_from_slice(&since.as_millisecond().to_le_bytes());
    bytes.extend(record(
        status,
        row.current_task.as_deref().unwrap_or_default(),
        row.response,
        BeatClock::Trusted,
    ));
    Some(bytes)
}

/// Reads a current row; `None` where it is damaged.
#[doc(hidden)]
pub fn parsed_row(watched: &Watched, bytes: &[u8]) -> Option<ServiceRow> {
    let (depth, rest) = bytes.split_first_chunk::<8>()?;
    let (at, rest) = rest.split_first_chunk::<8>()?;
    let (since, rest) = rest.split_first_chunk::<8>()?;
    let said = parsed(rest)?;
    let depth = u64::from_le_bytes(*depth);
    let time = |bytes: &[u8; 8]| Timestamp::from_millisecond(i64::from_le_bytes(*bytes)).ok();
    Some(ServiceRow {
        status: Some(said.status),
        last_heartbeat: Some(time(at)?),
        since: Some(time(since)?),
        current_task: Some(said.task).filter(|task| !task.is_empty()),
        queue_depth: Some(depth).filter(|&depth| depth != UNKNOWN_DEPTH),
        response: said.response,
        ..ServiceRow::unheard(watched)
    })
}
