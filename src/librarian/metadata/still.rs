//! Stills in the daemon's own reading: size and damage always, tags where Exiv2 is absent or found none.

use super::source::{LONGEST, Source, array, be16, be32, find, le16, le32};
use super::tags::{Tag, Tags};
use super::{bmff, jpeg, tiff, x3f, xmp};
use crate::asset::Kind;

/// Chunks looked at in a PNG or WebP.
const CHUNKS: usize = 2000;

/// Reads a still whose content is of this kind; gives what is damaged.
pub(super) fn read(source: &Source, kind: Kind, want_tags: bool, tags: &mut Tags) -> Vec<String> {
    match kind {
        Kind::Jpeg => jpeg::read(source, 0, source.size(), want_tags, tags),
        // A bare codestream has no boxes.
        Kind::Jxl | Kind::Jp2 if source.read(0, 1) == *b"\xff" => Vec::new(),
        Kind::Heic | Kind::Avif | Kind::Jxl | Kind::Jp2 => bmff::read(source, want_tags, tags),
        Kind::Png => png(source, want_tags, tags),
        Kind::Webp => webp(source, want_tags, tags),
        Kind::Gif => gif(source, tags),
        Kind::Bmp => bmp(source, tags),
        Kind::Psd => psd(source, tags),
        Kind::Tiff => whole_tiff(source, want_tags, tags),
        Kind::Raw => raw(source, want_tags, tags),
        Kind::Video | Kind::Sidecar => Vec::new(),
    }
}

fn add_size(tags: &mut Tags, width: Option<u32>, height: Option<u32>) {
    if let (Some(width @ 1..), Some(height @ 1..)) = (width, height) {
        tags.add(Tag::Width, width.to_string().as_bytes());
        tags.add(Tag::Height, height.to_string().as_bytes());
    }
}

fn cut_off(what: &str) -> Vec<String> {
    vec![format!("the {what} is cut off: its end is missing")]
}

fn png(source: &Source, want_tags: bool, tags: &mut Tags) -> Vec<String> {
    let mut at = 8;
    let mut ended = source.read(source.size().saturating_sub(8), 4) == *b"IEND";
    for _ in 0..CHUNKS {
        let head = source.read(at, 8);
        let (Some(length), Some(name)) = (be32(&head, 0), array::<4>(&head, 4)) else {
            break;
        };
        let body = |limit: usize| {
            source.read(
                at + 8,
                usize::try_from(length).unwrap_or(LONGEST).min(limit),
            )
        };
        match &name {
            b"IHDR" => {
                let header = body(8);
                add_size(tags, be32(&header, 0), be32(&header, 4));
            }
            b"IEND" => {
                ended = true;
                break;
            }
            b"eXIf" if want_tags => {
                tiff::read(source, at + 8, tiff::Role::Main, tags);
            }
            b"tIME" if want_tags => {
                if let [high, low, month, day, hour, minute, second] = body(7)[..] {
                    let year = u16::from_be_bytes([high, low]);
                    let time =
                        format!("{year:04}:{month:02}:{day:02} {hour:02}:{minute:02}:{second:02}");
                    tags.add(Tag::Modified, time.as_bytes());
                }
            }
            b"tEXt" if want_tags => png_text(&body(LONGEST), tags),
            b"iTXt" if want_tags => {
                let text = body(LONGEST);
                if text.starts_with(b"XML:com.adobe.xmp\0\0") {
                    xmp::read(&text, tags);
                }
            }
            _ => {}
        }
        at += 12 + u64::from(length);
    }
    if ended || at < source.size() || source.failure().is_some() {
        Vec::new()
    } else {
        cut_off("PNG")
    }
}

/// The old way: EXIF or XMP as hexadecimal digits in a text, after a name and a length.
fn png_text(text: &[u8], tags: &mut Tags) {
    let Some(profile) = text.strip_prefix(b"Raw profile type ") else {
        return;
    };
    let mut parts = profile.splitn(2, |&byte| byte == 0);
    let (Some(b"exif" | b"APP1" | b"xmp"), Some(value)) = (parts.next(), parts.next()) else {
        return;
    };
    let digits: Vec<u8> = value
        .split(|&byte| byte == b'\n')
        // An empty line, the name, the length.
        .skip(3)
        .flatten()
        .filter_map(|&digit| char::from(digit).to_digit(16)?.try_into().ok())
        .collect();
    let bytes: Vec<u8> = digits
        .chunks_exact(2)
        .filter_map(|pair| Some(pair.first()? << 4 | pair.get(1)?))
        .collect();
    if let Some(block) = bytes.strip_prefix(b"Exif\0\0") {
        tiff::read(&Source::of_bytes(block), 0, tiff::Role::Main, tags);
    } else if xmp::is_packet(&bytes) {
        xmp::read(&bytes, tags);
    }
}

fn webp(source: &Source, want_tags: bool, tags: &mut Tags) -> Vec<String> {
    let Some(size) = le32(&source.read(4, 4), 0) else {
        return cut_off("WebP");
    };
    let mut at = 12;
    for _ in 0..CHUNKS {
        let head = source.read(at, 8);
        let (Some(name), Some(length)) = (array::<4>(&head, 0), le32(&head, 4)) else {
            break;
        };
        let body = source.read(at + 8, 10);
        match &name {
            b"VP8X" => {
                let three = |at: usize| {
                    le32(
                        &[
                            body.get(at).copied()?,
                            body.get(at + 1).copied()?,
                            body.get(at + 2).copied()?,
                            0,
                        ],
                        0,
                    )
                };
                add_size(
                    tags,
                    three(4).map(|less| less + 1),
                    three(7).map(|less| less + 1),
                );
            }
            b"VP8 " => {
                let edge = |at: usize| le16(&body, at).map(|side| u32::from(side & 0x3fff));
                add_size(tags, edge(6), edge(8));
            }
            b"VP8L" => {
                let bits = le32(&body, 1);
                add_size(
                    tags,
                    bits.map(|bits| (bits & 0x3fff) + 1),
                    bits.map(|bits| (bits >> 14 & 0x3fff) + 1),
                );
            }
            b"EXIF" if want_tags => {
                let skip = if body.starts_with(b"Exif\0\0") { 6 } else { 0 };
                tiff::read(source, at + 8 + skip, tiff::Role::Main, tags);
            }
            b"XMP " if want_tags => {
                xmp::read(
                    &source.read(at + 8, usize::try_from(length).unwrap_or(LONGEST)),
                    tags,
                );
            }
            _ => {}
        }
        at += 8 + u64::from(length) + u64::from(length & 1);
    }
    if u64::from(size) + 8 > source.size() && source.failure().is_none() {
        cut_off("WebP")
    } else {
        Vec::new()
    }
}

fn gif(source: &Source, tags: &mut Tags) -> Vec<String> {
    let head = source.read(6, 4);
    add_size(
        tags,
        le16(&head, 0).map(u32::from),
        le16(&head, 2).map(u32::from),
    );
    let front = source.read(0, LONGEST / 2);
    if let Some(packet) = find(&front, b"XMP DataXMP").and_then(|at| front.get(at + 11..)) {
        xmp::read(packet, tags);
    }
    let tail = source.read(source.size().saturating_sub(1024), 1024);
    let last = tail.iter().rev().find(|&&byte| byte != 0);
    if last == Some(&b';') || find(&tail, b"\0;").is_some() || source.failure().is_some() {
        Vec::new()
    } else {
        cut_off("GIF")
    }
}

fn bmp(source: &Source, tags: &mut Tags) -> Vec<String> {
    let head = source.read(0, 26);
    if le32(&head, 14) == Some(12) {
        add_size(
            tags,
            le16(&head, 18).map(u32::from),
            le16(&head, 20).map(u32::from),
        );
    } else {
        let side = |at: usize| array(&head, at).map(|four| i32::from_le_bytes(four).unsigned_abs());
        add_size(tags, side(18), side(22));
    }
    match le32(&head, 10) {
        Some(pixels) if u64::from(pixels) >= source.size() => cut_off("bitmap"),
        _ => Vec::new(),
    }
}

/// Photoshop's header and the lengths of its first sections.
fn psd(source: &Source, tags: &mut Tags) -> Vec<String> {
    let head = source.read(0, 26);
    add_size(tags, be32(&head, 18), be32(&head, 14));
    let mut at = 26;
    for _ in 0..2 {
        let Some(length) = be32(&source.read(at, 4), 0) else {
            return cut_off("Photoshop document");
        };
        at += 4 + u64::from(length);
    }
    if at > source.size() {
        cut_off("Photoshop document")
    } else {
        Vec::new()
    }
}

fn whole_tiff(source: &Source, want_tags: bool, tags: &mut Tags) -> Vec<String> {
    tiff_at(source, 0, want_tags, true, tags)
}

fn tiff_at(
    source: &Source,
    base: u64,
    want_tags: bool,
    check: bool,
    tags: &mut Tags,
) -> Vec<String> {
    let mut found = Tags::default();
    let walk = tiff::read(source, base, tiff::Role::Main, &mut found);
    if want_tags {
        tags.fill_from(&found);
    }
    let Some(walk) = walk else {
        return Vec::new();
    };
    add_size(tags, Some(walk.width), Some(walk.height));
    let cut = walk.cut || walk.farthest > source.size();
    if check && cut && source.failure().is_none() {
        vec![
            "the picture is damaged or cut off: a part of it lies past the end of the file"
                .to_owned(),
        ]
    } else {
        Vec::new()
    }
}

/// Camera formats: TIFF inside, or a wrapper around a TIFF or a JPEG.
fn raw(source: &Source, want_tags: bool, tags: &mut Tags) -> Vec<String> {
    let head = source.read(0, 16);
    if head.get(4..8) == Some(b"ftyp") {
        return bmff::read(source, want_tags, tags);
    }
    if head.starts_with(b"FOVb") {
        return x3f::read(source, tags);
    }
    if head.starts_with(b"FUJIFILMCCD-RAW") {
        let places = source.read(84, 8);
        let (Some(at), Some(length)) = (be32(&places, 0), be32(&places, 4)) else {
            return cut_off("raw picture");
        };
        let end = (u64::from(at) + u64::from(length)).min(source.size());
        // The preview's size is not the picture's, and only its tags are wanted.
        let mut preview = Tags::default();
        let damage = jpeg::read(source, u64::from(at), end, want_tags, &mut preview);
        preview.remove(Tag::Width);
        preview.remove(Tag::Height);
        tags.fill_from(&preview);
        return damage;
    }
    if head.starts_with(b"\0MRM") {
        return minolta(source, want_tags, tags);
    }
    // Panasonic and Olympus write places that mean something else in their own TIFF.
    let plain = matches!(head.get(2..4), Some(b"*\0" | b"\0*"));
    tiff_at(source, 0, want_tags, plain, tags)
}

/// Minolta: blocks before the sensor's data; `TTW` holds a TIFF, `PRD` the size.
fn minolta(source: &Source, want_tags: bool, tags: &mut Tags) -> Vec<String> {
    let end = be32(&source.read(4, 4), 0).map_or(8, |length| u64::from(length) + 8);
    let mut at = 8;
    for _ in 0..64 {
        let head = source.read(at, 8);
        let (Some(name), Some(length)) = (array::<4>(&head, 0), be32(&head, 4)) else {
            break;
        };
        match &name {
            b"\0TTW" if want_tags => {
                tiff::read(source, at + 8, tiff::Role::Main, tags);
            }
            b"\0PRD" => {
                let body = source.read(at + 8, 16);
                add_size(
                    tags,
                    be16(&body, 14).map(u32::from),
                    be16(&body, 12).map(u32::from),
                );
            }
            _ => {}
        }
        at += 8 + u64::from(length);
        if at >= end {
            break;
        }
    }
    Vec::new()
}
