//! ASF: WMV files.

use jiff::Timestamp;

use super::source::{Source, le16, le32, le64};
use super::video::Facts;

const FILE_PROPERTIES: [u8; 16] =
    *b"\xa1\xdc\xab\x8c\x47\xa9\xcf\x11\x8e\xe4\0\xc0\x0c\x20\x53\x65";
const STREAM_PROPERTIES: [u8; 16] =
    *b"\x91\x07\xdc\xb7\xb7\xa9\xcf\x11\x8e\xe6\0\xc0\x0c\x20\x53\x65";
const VIDEO_STREAM: [u8; 16] = *b"\xc0\xef\x19\xbc\x4d\x5b\xcf\x11\xa8\xfd\0\x80\x5f\x5c\x44\x2b";
/// Seconds from 1601, where Windows' time begins, to 1970.
const EPOCH_1601: i64 = 11_644_473_600;

/// Reads the header's objects.
pub(super) fn read(source: &Source, facts: &mut Facts) {
    let head = source.read(0, 30);
    let (Some(length), Some(count)) = (le64(&head, 16), le32(&head, 24)) else {
        facts
            .errors
            .push("the video is cut off: its header is missing".to_owned());
        return;
    };
    if length > source.size() {
        facts
            .errors
            .push("the video is cut off: its header is incomplete".to_owned());
    }
    let mut at = 30_u64;
    for _ in 0..count.min(200) {
        let object = source.read(at, 128);
        let (Some(name), Some(length)) = (object.get(..16), le64(&object, 16)) else {
            return;
        };
        if name == FILE_PROPERTIES {
            facts.instant = le64(&object, 48).and_then(from_1601);
            let stated = le64(&object, 40).unwrap_or(0);
            if stated > source.size() && source.failure().is_none() && facts.errors.is_empty() {
                facts
                    .errors
                    .push("the video is cut off: its end is missing".to_owned());
            }
        } else if name == STREAM_PROPERTIES
            && object.get(24..40) == Some(&VIDEO_STREAM[..])
            && le16(&object, 72).is_some()
        {
            facts.add_size(
                le32(&object, 78).unwrap_or(0),
                le32(&object, 82).unwrap_or(0),
            );
        }
        if length < 24 {
            return;
        }
        at = at.saturating_add(length);
    }
}

/// Ticks of 100 ns; zero is unknown.
fn from_1601(ticks: u64) -> Option<Timestamp> {
    let millis = i64::try_from(ticks / 10_000)
        .ok()
        .filter(|&millis| millis > 0)?;
    Timestamp::from_millisecond(millis.checked_sub(EPOCH_1601 * 1000)?).ok()
}
