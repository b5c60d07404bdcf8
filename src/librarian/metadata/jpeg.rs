//! JPEG: its segments, its size, and whether its end is there.

use super::source::{Source, be16, find};
use super::tags::{Tag, Tags};
use super::{tiff, xmp};

/// Segments looked at before the picture.
const SEGMENTS: usize = 500;
/// How far from the end the end mark usually is, trailers of phones included.
const TAIL: usize = 64 << 10;
/// How much picture data is searched for an end mark that is farther away (motion photos).
const SEARCHED: u64 = 48 << 20;
const STEP: usize = 256 << 10;

/// Reads the JPEG that begins at `base` and reaches to `end`. The tags only on demand; size and damage always.
pub(super) fn read(
    source: &Source,
    base: u64,
    end: u64,
    want_tags: bool,
    tags: &mut Tags,
) -> Vec<String> {
    let mut at = base + 2;
    for _ in 0..SEGMENTS {
        let head = source.read(at, 4);
        let [0xff, marker, ..] = head[..] else {
            // A segment whose length is wrong: go on at the next mark, as decoders do.
            match next_mark(source, at, end) {
                Some(mark) => at = mark,
                None => break,
            }
            continue;
        };
        match marker {
            // Fill bytes, and marks without a segment.
            0xff => {
                at += 1;
                continue;
            }
            0x01 | 0xd0..=0xd8 => {
                at += 2;
                continue;
            }
            0xd9 => return vec!["the JPEG ends before its picture begins".to_owned()],
            _ => {}
        }
        let Some(length) = be16(&head, 2).filter(|&length| length >= 2) else {
            break;
        };
        let next = at + 2 + u64::from(length);
        match marker {
            0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                let frame = source.read(at + 4, 5);
                if let (Some(height), Some(width)) = (be16(&frame, 1), be16(&frame, 3))
                    && width > 0
                    && height > 0
                {
                    tags.add(Tag::Width, width.to_string().as_bytes());
                    tags.add(Tag::Height, height.to_string().as_bytes());
                }
            }
            0xe1 if want_tags => segment(source, at + 4, usize::from(length - 2), tags),
            0xda => return ends(source, next, end),
            _ => {}
        }
        at = next;
    }
    if source.failure().is_some() {
        return Vec::new();
    }
    vec!["the JPEG is damaged or was cut off before its picture begins".to_owned()]
}

/// The next mark that begins a segment; not a stuffed zero, fill or restart mark.
fn next_mark(source: &Source, at: u64, end: u64) -> Option<u64> {
    let bytes = source.read(at, TAIL);
    let found = bytes
        .windows(2)
        .position(|pair| matches!(pair, [0xff, 0xc0..=0xcf | 0xda..=0xfe]))?;
    Some(at + found as u64).filter(|&mark| mark < end)
}

fn segment(source: &Source, at: u64, length: usize, tags: &mut Tags) {
    let head = source.read(at, 30);
    if head.starts_with(b"Exif\0") {
        tiff::read(source, at + 6, tiff::Role::Main, tags);
    } else if head.starts_with(b"http://ns.adobe.com/xap/1.0/\0") {
        xmp::read(&source.read(at + 29, length.saturating_sub(29)), tags);
    }
}

/// The end mark cannot occur in picture data, so any of them after the beginning of the picture is a whole picture.
fn ends(source: &Source, scan: u64, end: u64) -> Vec<String> {
    let has_mark =
        |from: u64, length: usize| find(&source.read(from, length), b"\xff\xd9").is_some();
    for tail in [32, TAIL] {
        let from = end.saturating_sub(tail as u64).max(scan.min(end));
        if has_mark(from, tail) {
            return Vec::new();
        }
    }
    let mut at = scan;
    while at < end && at - scan < SEARCHED {
        if has_mark(at, STEP) {
            return Vec::new();
        }
        at += STEP as u64 - 1;
    }
    if at < end || source.failure().is_some() {
        return Vec::new();
    }
    vec!["the JPEG is cut off: its end is missing".to_owned()]
}
