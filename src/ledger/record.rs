//! The stored form of one row: a version byte, a postcard body, a checksum over both and the row's key.
//!
//! No `Option` is stored: the next redb and postcard may encode it otherwise. What may be missing is an empty text, a
//! zero or a list of none or one.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use jiff::civil::DateTime;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::error::Trouble;
use crate::asset::{
    Asset, AssetId, CaptureTime, CapturedFrom, FileHash, Kind, Left, LeftBecause, Location, Place,
    crc32, day_folder,
};

/// The version of the records written now.
const VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
struct AssetV1<'a> {
    file_hash: [u8; 32],
    size: u64,
    inbox_path: &'a [u8],
    /// The final path, as what differs from [`expected_path`]: bytes shared at the front, bytes between, bytes shared at the end.
    #[serde(borrow)]
    final_path: (u16, &'a [u8], u16),
    kind: Kind,
    /// Milliseconds from 1970-01-01T00:00 on the same wall clock.
    captured_ms: i64,
    captured_offset: Vec<i16>,
    captured_from: CapturedFrom,
    location: Vec<Location>,
    #[serde(borrow)]
    place: (&'a str, &'a str, &'a str),
    make: &'a str,
    model: &'a str,
    width: u32,
    height: u32,
    content_id: &'a str,
    paired_with: u64,
    /// Milliseconds since 1970, UTC.
    ingested_ms: i64,
    /// Milliseconds from `ingested_ms` on.
    stages_done_ms: [Vec<i64>; 4],
    errors: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct LeftV1<'a> {
    size: u64,
    mtime_ns: i64,
    why: LeftBecause,
    reason: &'a str,
    since_ms: i64,
}

/// The stored form of an asset, under the key `asset.id`.
pub(super) fn encode_asset(asset: &Asset) -> Vec<u8> {
    let final_path = asset.final_path.as_os_str().as_bytes();
    let expected = expected_path(&asset.captured, &asset.inbox_path);
    let ingested_ms = asset.ingested_at.as_millisecond();
    let place = asset.place.as_ref();
    let body = AssetV1 {
        file_hash: asset.file_hash.0,
        size: asset.size,
        inbox_path: asset.inbox_path.as_os_str().as_bytes(),
        final_path: difference(expected.as_os_str().as_bytes(), final_path),
        kind: asset.kind,
        captured_ms: wall_clock_ms(asset.captured.local),
        captured_offset: asset.captured.offset_minutes.into_iter().collect(),
        captured_from: asset.captured.from,
        location: asset.location.into_iter().collect(),
        place: place.map_or(("", "", ""), |place| {
            (&place.name, &place.admin1, &place.country_code)
        }),
        make: asset.make.as_deref().unwrap_or_default(),
        model: asset.model.as_deref().unwrap_or_default(),
        width: asset.width.unwrap_or_default(),
        height: asset.height.unwrap_or_default(),
        content_id: asset.content_id.as_deref().unwrap_or_default(),
        paired_with: asset.paired_with.map_or(0, |id| id.0),
        ingested_ms,
        stages_done_ms: asset.stage_done_at.map(|at| {
            at.map(|at| at.as_millisecond() - ingested_ms)
                .into_iter()
                .collect()
        }),
        errors: asset.errors.clone(),
    };
    seal(&asset.id.0.to_be_bytes(), &body)
}

/// The asset stored under the key `id`.
pub(super) fn decode_asset(id: u64, bytes: &[u8]) -> Result<Asset, Trouble> {
    let read = || {
        let body: AssetV1<'_> = unseal(&id.to_be_bytes(), bytes)?;
        let captured = CaptureTime {
            local: wall_clock(body.captured_ms)?,
            offset_minutes: body.captured_offset.first().copied(),
            from: body.captured_from,
        };
        let inbox_path = path(body.inbox_path);
        let expected = expected_path(&captured, &inbox_path);
        let mut stage_done_at = [None; 4];
        for (at, stored) in stage_done_at.iter_mut().zip(&body.stages_done_ms) {
            if let Some(ms) = stored.first() {
                *at = Some(timestamp(body.ingested_ms.saturating_add(*ms))?);
            }
        }
        let (name, admin1, country_code) = body.place;
        Ok(Asset {
            id: AssetId(id),
            file_hash: FileHash(body.file_hash),
            size: body.size,
            final_path: restore(expected.as_os_str().as_bytes(), body.final_path)?,
            inbox_path,
            kind: body.kind,
            captured,
            location: body.location.first().copied(),
            place: (body.place != ("", "", "")).then(|| Place {
                name: name.to_owned(),
                admin1: admin1.to_owned(),
                country_code: country_code.to_owned(),
            }),
            make: text(body.make),
            model: text(body.model),
            width: (body.width != 0).then_some(body.width),
            height: (body.height != 0).then_some(body.height),
            content_id: text(body.content_id),
            paired_with: (body.paired_with != 0).then_some(AssetId(body.paired_with)),
            ingested_at: timestamp(body.ingested_ms)?,
            stage_done_at,
            errors: body.errors,
        })
    };
    read().map_err(|what| Trouble::Record {
        row: format!("row {id}"),
        what,
    })
}

/// The stored form of a file left in the inbox, under the key `left.inbox_path`.
pub(super) fn encode_left(left: &Left) -> Vec<u8> {
    let body = LeftV1 {
        size: left.size,
        mtime_ns: left.mtime_ns,
        why: left.why,
        reason: &left.reason,
        since_ms: left.since.as_millisecond(),
    };
    seal(left.inbox_path.as_os_str().as_bytes(), &body)
}

/// The left file stored under the key `inbox_path`.
pub(super) fn decode_left(inbox_path: &[u8], bytes: &[u8]) -> Result<Left, Trouble> {
    let read = || {
        let body: LeftV1<'_> = unseal(inbox_path, bytes)?;
        Ok(Left {
            inbox_path: path(inbox_path),
            size: body.size,
            mtime_ns: body.mtime_ns,
            why: body.why,
            reason: body.reason.to_owned(),
            since: timestamp(body.since_ms)?,
        })
    };
    read().map_err(|what| Trouble::Record {
        row: format!("the row of {}", path(inbox_path).display()),
        what,
    })
}

/// Reads a stored asset and stores it again, for the tests that make up the bytes of rows; `None` where it is refused.
#[doc(hidden)]
pub fn restored_asset(id: u64, bytes: &[u8]) -> Option<(Asset, Vec<u8>)> {
    let asset = decode_asset(id, bytes).ok()?;
    let stored = encode_asset(&asset);
    Some((asset, stored))
}

/// The same for a file left in the inbox.
#[doc(hidden)]
pub fn restored_left(inbox_path: &[u8], bytes: &[u8]) -> Option<(Left, Vec<u8>)> {
    let left = decode_left(inbox_path, bytes).ok()?;
    let stored = encode_left(&left);
    Some((left, stored))
}

fn seal(key: &[u8], body: &impl Serialize) -> Vec<u8> {
    // Serialising plain data into memory has no way to fail; were it otherwise, the short record fails its own check.
    let mut bytes = postcard::to_extend(body, vec![VERSION]).unwrap_or_default();
    let sum = checksum(key, &bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes
}

fn unseal<'a, T: Deserialize<'a>>(key: &[u8], bytes: &'a [u8]) -> Result<T, &'static str> {
    let Some((sealed, sum)) = bytes.split_last_chunk::<4>() else {
        return Err("it is too short");
    };
    if checksum(key, sealed) != u32::from_le_bytes(*sum) {
        return Err("its checksum is wrong");
    }
    let Some((&version, body)) = sealed.split_first() else {
        return Err("it is too short");
    };
    if version != VERSION {
        return Err("a later version of the program wrote it");
    }
    match postcard::take_from_bytes(body) {
        Ok((value, [])) => Ok(value),
        Ok(_) => Err("it is too long"),
        Err(_) => Err("it has a value that does not exist"),
    }
}

/// The key is part of the sum, so that a sound record under a wrong key is found out.
fn checksum(key: &[u8], sealed: &[u8]) -> u32 {
    crc32([key, sealed])
}

/// Where nearly every file stands: the folder of its day, under its own name. Only the difference is stored.
fn expected_path(captured: &CaptureTime, inbox_path: &Path) -> PathBuf {
    day_folder(captured.day()).join(inbox_path.file_name().unwrap_or_default())
}

fn difference<'a>(expected: &[u8], actual: &'a [u8]) -> (u16, &'a [u8], u16) {
    let most = expected.len().min(actual.len()).min(usize::from(u16::MAX));
    let front = (0..most).take_while(|&i| expected[i] == actual[i]).count();
    let back = (0..most - front)
        .take_while(|&i| expected[expected.len() - 1 - i] == actual[actual.len() - 1 - i])
        .count();
    let between = &actual[front..actual.len() - back];
    let short = |count: usize| u16::try_from(count).unwrap_or_default();
    (short(front), between, short(back))
}

fn restore(
    expected: &[u8],
    (front, between, back): (u16, &[u8], u16),
) -> Result<PathBuf, &'static str> {
    let (front, back) = (usize::from(front), usize::from(back));
    if front + back > expected.len() {
        return Err("its path does not fit its date");
    }
    let mut bytes = expected[..front].to_vec();
    bytes.extend_from_slice(between);
    bytes.extend_from_slice(&expected[expected.len() - back..]);
    Ok(path(&bytes))
}

const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

fn wall_clock_ms(local: DateTime) -> i64 {
    i64::try_from(local.duration_since(EPOCH).as_millis()).unwrap_or_default()
}

fn wall_clock(ms: i64) -> Result<DateTime, &'static str> {
    match EPOCH.checked_add(SignedDuration::from_millis(ms)) {
        Ok(local) => Ok(local),
        Err(_) => Err("its date does not exist"),
    }
}

fn timestamp(ms: i64) -> Result<Timestamp, &'static str> {
    match Timestamp::from_millisecond(ms) {
        Ok(at) => Ok(at),
        Err(_) => Err("its time does not exist"),
    }
}

fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}

fn text(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
