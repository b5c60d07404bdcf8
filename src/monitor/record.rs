//! The history's records. A record is: status code, flags (bit 0: the clock was doubtful), length of the reason, the reason, the task.

use jiff::Timestamp;

use super::{Service, ServiceRow, Status};

/// The stored depth of a queue that is not known.
const UNKNOWN_DEPTH: u64 = u64::MAX;

pub(super) fn record(status: &Status, task: &str, clock_doubtful: bool) -> Vec<u8> {
    let reason = status.reason().unwrap_or_default();
    let length = u8::try_from(reason.len()).unwrap_or_default();
    let reason = reason.get(..usize::from(length)).unwrap_or_default();
    let mut record = vec![status.code(), u8::from(clock_doubtful), length];
    record.extend_from_slice(reason.as_bytes());
    record.extend_from_slice(task.as_bytes());
    record
}

pub(super) fn parsed(record: &[u8]) -> Option<(Status, String, bool)> {
    let [code, flags, length, text @ ..] = record else {
        return None;
    };
    let (reason, task) = text.split_at_checked(usize::from(*length))?;
    let reason = std::str::from_utf8(reason).ok()?;
    let task = std::str::from_utf8(task).ok()?;
    Some((
        Status::from_code(*code, reason),
        task.to_owned(),
        flags & 1 == 1,
    ))
}

/// The current row: depth, time, then a record.
#[doc(hidden)]
pub fn row_record(row: &ServiceRow) -> Option<Vec<u8>> {
    let status = row.status.as_ref()?;
    let at = row.last_heartbeat?;
    let mut bytes = row
        .queue_depth
        .unwrap_or(UNKNOWN_DEPTH)
        .to_le_bytes()
        .to_vec();
    bytes.extend_from_slice(&at.as_millisecond().to_le_bytes());
    bytes.extend(record(
        status,
        row.current_task.as_deref().unwrap_or_default(),
        false,
    ));
    Some(bytes)
}

/// Reads a current row; `None` where it is damaged.
#[doc(hidden)]
pub fn parsed_row(service: Service, bytes: &[u8]) -> Option<ServiceRow> {
    let (depth, rest) = bytes.split_first_chunk::<8>()?;
    let (at, rest) = rest.split_first_chunk::<8>()?;
    let (status, task, _) = parsed(rest)?;
    let depth = u64::from_le_bytes(*depth);
    Some(ServiceRow {
        service,
        status: Some(status),
        last_heartbeat: Some(Timestamp::from_millisecond(i64::from_le_bytes(*at)).ok()?),
        silent_for: None,
        current_task: Some(task).filter(|task| !task.is_empty()),
        queue_depth: Some(depth).filter(|&depth| depth != UNKNOWN_DEPTH),
    })
}
