//! Matroska and `WebM`.

use jiff::Timestamp;

use super::source::{LONGEST, Source, text};
use super::stamp;
use super::video::Facts;

/// Elements looked at on one level.
const ELEMENTS: usize = 2000;
/// 2001-01-01T00:00:00Z, where Matroska's time begins.
const EPOCH_2001: i64 = 978_307_200;

const SEGMENT: u64 = 0x1853_8067;
const SEEK_HEAD: u64 = 0x114d_9b74;
const INFO: u64 = 0x1549_a966;
const TRACKS: u64 = 0x1654_ae6b;
const TAGS: u64 = 0x1254_c367;
const CLUSTER: u64 = 0x1f43_b675;

#[derive(Clone, Copy)]
struct Element {
    id: u64,
    start: u64,
    /// `None` where the size is unknown (live recordings).
    end: Option<u64>,
}

fn element(source: &Source, at: u64) -> Option<Element> {
    let head = source.read(at, 12);
    let id_length = head.first()?.leading_zeros() as usize + 1;
    if id_length > 4 {
        return None;
    }
    let id = head
        .get(..id_length)?
        .iter()
        .fold(0, |sum, &byte| sum << 8 | u64::from(byte));
    let first = *head.get(id_length)?;
    let size_length = first.leading_zeros() as usize + 1;
    if size_length > 8 {
        return None;
    }
    let rest = head.get(id_length..id_length + size_length)?;
    let raw = rest
        .iter()
        .fold(0_u64, |sum, &byte| sum << 8 | u64::from(byte));
    let limit = 1_u64 << (7 * size_length);
    let size = raw & (limit - 1);
    let start = at + (id_length + size_length) as u64;
    let end = if size == limit - 1 {
        None
    } else {
        Some(start.checked_add(size)?)
    };
    Some(Element { id, start, end })
}

fn children(source: &Source, from: u64, to: u64) -> Vec<Element> {
    let mut found = Vec::new();
    let mut at = from;
    while at < to && found.len() < ELEMENTS {
        let Some(item) = element(source, at) else {
            break;
        };
        found.push(item);
        match item.end {
            Some(end) if end > at => at = end,
            _ => break,
        }
    }
    found
}

fn body(source: &Source, item: &Element, limit: usize) -> Vec<u8> {
    let length = item.end.map_or(0, |end| end - item.start);
    source.read(
        item.start,
        usize::try_from(length).unwrap_or(LONGEST).min(limit),
    )
}

fn number(source: &Source, item: &Element) -> u64 {
    body(source, item, 8)
        .iter()
        .fold(0, |sum, &byte| sum << 8 | u64::from(byte))
}

/// Reads the segment's head, and its tags where the seek head points to them.
pub(super) fn read(source: &Source, facts: &mut Facts) {
    let size = source.size();
    let Some(segment) = children(source, 0, size)
        .into_iter()
        .find(|item| item.id == SEGMENT)
    else {
        facts
            .errors
            .push("the video is damaged: it has no segment".to_owned());
        return;
    };
    if segment.end.is_some_and(|end| end > size) {
        facts
            .errors
            .push("the video is cut off: its end is missing".to_owned());
    }
    let end = segment.end.unwrap_or(size).min(size);
    let mut elsewhere = Vec::new();
    let mut seen = Vec::new();
    let mut at = segment.start;
    for _ in 0..ELEMENTS {
        let Some(item) = element(source, at).filter(|_| at < end) else {
            break;
        };
        if item.id == CLUSTER {
            break;
        }
        seen.push(item.start);
        part(source, &item, segment.start, &mut elsewhere, facts);
        let Some(next) = item.end.filter(|&next| next > at) else {
            break;
        };
        at = next;
    }
    for place in elsewhere {
        if let Some(item) = element(source, place)
            && matches!(item.id, INFO | TRACKS | TAGS)
            && !seen.contains(&item.start)
        {
            seen.push(item.start);
            part(source, &item, segment.start, &mut Vec::new(), facts);
        }
    }
}

fn part(source: &Source, item: &Element, base: u64, elsewhere: &mut Vec<u64>, facts: &mut Facts) {
    let Some(end) = item.end else { return };
    let inside = || children(source, item.start, end.min(source.size()));
    match item.id {
        SEEK_HEAD => {
            for seek in inside().iter().filter(|seek| seek.id == 0x4dbb).take(64) {
                let Some(end) = seek.end else { continue };
                for place in children(source, seek.start, end)
                    .iter()
                    .filter(|place| place.id == 0x53ac)
                {
                    elsewhere.push(base.saturating_add(number(source, place)));
                }
            }
        }
        INFO => {
            for field in inside() {
                // DateUTC: nanoseconds.
                if field.id == 0x4461 && field.end == Some(field.start + 8) {
                    let nanoseconds = i64::from_be_bytes(number(source, &field).to_be_bytes());
                    let seconds = EPOCH_2001 + nanoseconds.div_euclid(1_000_000_000);
                    let nanosecond =
                        i32::try_from(nanoseconds.rem_euclid(1_000_000_000)).unwrap_or(0);
                    // Exactly the epoch: never set.
                    facts.instant = Timestamp::new(seconds, nanosecond / 1_000_000 * 1_000_000)
                        .ok()
                        .filter(|_| nanoseconds != 0);
                }
            }
        }
        TRACKS => {
            for track in inside().iter().filter(|track| track.id == 0xae) {
                let Some(end) = track.end else { continue };
                for video in children(source, track.start, end)
                    .iter()
                    .filter(|field| field.id == 0xe0)
                {
                    let Some(end) = video.end else { continue };
                    let fields = children(source, video.start, end);
                    let side = |id: u64| {
                        let found = fields.iter().find(|field| field.id == id);
                        found.map_or(0, |field| u32::try_from(number(source, field)).unwrap_or(0))
                    };
                    facts.add_size(side(0xb0), side(0xba));
                }
            }
        }
        TAGS => {
            for tag in inside().iter().filter(|tag| tag.id == 0x7373) {
                let Some(end) = tag.end else { continue };
                for simple in children(source, tag.start, end)
                    .iter()
                    .filter(|field| field.id == 0x67c8)
                {
                    simple_tag(source, simple, facts);
                }
            }
        }
        _ => {}
    }
}

fn simple_tag(source: &Source, simple: &Element, facts: &mut Facts) {
    let Some(end) = simple.end else { return };
    let fields = children(source, simple.start, end);
    let string = |id: u64| {
        let field = fields.iter().find(|field| field.id == id)?;
        let length = usize::try_from(field.end?.checked_sub(field.start)?).ok()?;
        text(
            &source
                .exactly(field.start, length)
                .filter(|_| length <= 1024)?,
        )
    };
    let (Some(name), Some(value)) = (string(0x45a3), string(0x4487)) else {
        return;
    };
    match name.to_ascii_uppercase().as_str() {
        "COM.APPLE.QUICKTIME.CREATIONDATE" => {
            facts.apple = facts.apple.or_else(|| stamp::parse(&value));
        }
        "DATE_RECORDED" | "DATE-RECORDED" | "DATE" | "DATE_DIGITIZED" | "DATE-ENCODED"
        | "CREATION_TIME" => {
            facts.local = facts.local.or_else(|| stamp::parse(&value));
        }
        "LOCATION"
        | "COM.APPLE.QUICKTIME.LOCATION.ISO6709"
        | "LOCATION-ENG"
        | "RECORDING_LOCATION" => {
            facts.location = facts.location.or_else(|| stamp::iso6709(&value));
        }
        "COM.APPLE.QUICKTIME.MAKE" | "MAKE" | "COM.ANDROID.MANUFACTURER" => {
            facts.make = facts.make.take().or(Some(value));
        }
        "COM.APPLE.QUICKTIME.MODEL" | "MODEL" | "COM.ANDROID.MODEL" => {
            facts.model = facts.model.take().or(Some(value));
        }
        "COM.APPLE.QUICKTIME.CONTENT.IDENTIFIER" => {
            facts.content_id = facts.content_id.take().or(Some(value));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sized(id: &[u8], body: &[u8]) -> Vec<u8> {
        let mut bytes = id.to_vec();
        bytes.push(0x40 | u8::try_from(body.len() >> 8).unwrap());
        bytes.push(u8::try_from(body.len() & 0xff).unwrap());
        bytes.extend(body);
        bytes
    }

    fn movie() -> Vec<u8> {
        let date = (240_000_000_i64 * 1_000_000_000).to_be_bytes();
        let info = sized(b"\x15\x49\xa9\x66", &sized(b"\x44\x61", &date));
        let video = sized(
            b"\xe0",
            &[sized(b"\xb0", &[2, 128]), sized(b"\xba", &[1, 104])].concat(),
        );
        let tracks = sized(b"\x16\x54\xae\x6b", &sized(b"\xae", &video));
        let simple = sized(
            b"\x67\xc8",
            &[
                sized(b"\x45\xa3", b"LOCATION"),
                sized(b"\x44\x87", b"+12.5-045.5/"),
            ]
            .concat(),
        );
        let tags = sized(b"\x12\x54\xc3\x67", &sized(b"\x73\x73", &simple));
        let mut file = sized(b"\x1a\x45\xdf\xa3", &[]);
        file.extend(sized(b"\x18\x53\x80\x67", &[info, tracks, tags].concat()));
        file
    }

    #[test]
    fn date_size_and_place_are_read() {
        let mut facts = Facts::default();
        read(&Source::of_bytes(&movie()), &mut facts);
        assert_eq!(facts.instant.unwrap().as_second(), EPOCH_2001 + 240_000_000);
        assert_eq!((facts.width, facts.height), (640, 360));
        assert!((facts.location.unwrap().longitude + 45.5).abs() < 1e-9);
        assert!(facts.errors.is_empty());
    }

    #[test]
    fn any_cut_is_told_and_none_panics() {
        let whole = movie();
        for end in 10..whole.len() {
            let mut facts = Facts::default();
            read(&Source::of_bytes(&whole[..end]), &mut facts);
            assert!(!facts.errors.is_empty(), "{end}");
        }
    }
}
