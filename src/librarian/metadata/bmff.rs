//! Boxes of the ISO base media family, and the stills kept in them: HEIC, AVIF, CR3, JPEG XL, JPEG 2000.

use super::source::{LONGEST, Source, be16, be32, be64, find};
use super::tags::{Tag, Tags};
use super::{tiff, xmp};

/// Boxes looked at on one level.
const BOXES: usize = 4096;
/// Canon's box in CR3, and the box for XMP in any of the family.
const CANON: [u8; 16] = *b"\x85\xc0\xb6\x87\x82\x0f\x11\xe0\x81\x11\xf4\xce\x46\x2b\x6a\x48";
pub(super) const XMP_UUID: [u8; 16] =
    *b"\xbe\x7a\xcf\xcb\x97\xa9\x42\xe8\x9c\x71\x99\x94\x91\xe3\xaf\xac";

/// One box: its type, and where its body lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Box {
    pub(super) kind: [u8; 4],
    pub(super) start: u64,
    pub(super) end: u64,
    /// Whether all of it is there.
    pub(super) whole: bool,
}

impl Box {
    pub(super) fn length(&self) -> usize {
        usize::try_from(self.end.saturating_sub(self.start)).unwrap_or(usize::MAX)
    }

    /// The body, or its first 2 MiB.
    pub(super) fn body(&self, source: &Source) -> Vec<u8> {
        source.read(self.start, self.length().min(LONGEST))
    }
}

/// The boxes between two places.
pub(super) struct Boxes {
    pub(super) found: Vec<Box>,
    /// A box reaches past the end.
    pub(super) cut: bool,
}

/// Lists the boxes of one level. What is no box ends the list: cameras leave zeros there.
pub(super) fn boxes(source: &Source, from: u64, to: u64) -> Boxes {
    list(source, from, to, true)
}

/// The same where types are numbers: the items of an `ilst`.
pub(super) fn numbered(source: &Source, from: u64, to: u64) -> Boxes {
    list(source, from, to, false)
}

fn list(source: &Source, from: u64, to: u64, letters: bool) -> Boxes {
    let mut list = Boxes {
        found: Vec::new(),
        cut: false,
    };
    let mut at = from;
    while to.saturating_sub(at) >= 8 && list.found.len() < BOXES {
        let head = source.read(at, 16);
        let (Some(size), Some(kind)) = (be32(&head, 0), super::source::array(&head, 4)) else {
            break;
        };
        let (size, header) = match size {
            0 => (to - at, 8),
            1 => match be64(&head, 8) {
                Some(size) if size >= 16 => (size, 16),
                _ => break,
            },
            size => (u64::from(size), 8),
        };
        let printable = !letters
            || kind
                .iter()
                .all(|&byte| byte == 0xa9 || (b' '..=b'~').contains(&byte));
        if size < header || !printable {
            break;
        }
        let end = at.saturating_add(size);
        list.cut |= end > to;
        list.found.push(Box {
            kind,
            start: at + header,
            end: end.min(to),
            whole: end <= to,
        });
        at = end;
    }
    list
}

/// Reads a still in boxes: tags on demand, size and damage always.
pub(super) fn read(source: &Source, want_tags: bool, tags: &mut Tags) -> Vec<String> {
    let top = boxes(source, 0, source.size());
    let mut described = false;
    for item in &top.found {
        match &item.kind {
            b"meta" => {
                described = true;
                heif(source, item, want_tags, tags);
            }
            b"moov" => {
                described = true;
                if want_tags {
                    canon(source, item, tags);
                }
            }
            b"jxlc" | b"jxlp" | b"jp2c" | b"jp2h" => {
                described = true;
                size_of_jp2(source, item, tags);
            }
            b"Exif" if want_tags => tiff_with_offset(source, item.start, tags),
            b"xml " if want_tags => xmp::read(&item.body(source), tags),
            b"uuid" if want_tags && source.read(item.start, 16) == XMP_UUID => {
                xmp::read(&item.body(source), tags);
            }
            _ => {}
        }
    }
    if source.failure().is_some() {
        Vec::new()
    } else if top.cut {
        vec!["the picture is cut off: a part of it reaches past the end of the file".to_owned()]
    } else if !described {
        vec!["the picture is damaged or cut off: its description is missing".to_owned()]
    } else {
        Vec::new()
    }
}

/// `ihdr` in `jp2h` has the size.
fn size_of_jp2(source: &Source, header: &Box, tags: &mut Tags) {
    if &header.kind != b"jp2h" {
        return;
    }
    for item in boxes(source, header.start, header.end).found {
        if &item.kind == b"ihdr" {
            let body = source.read(item.start, 8);
            if let (Some(height), Some(width)) = (be32(&body, 0), be32(&body, 4)) {
                tags.add(Tag::Width, width.to_string().as_bytes());
                tags.add(Tag::Height, height.to_string().as_bytes());
            }
        }
    }
}

/// EXIF in these containers begins with the distance from there to the TIFF.
fn tiff_with_offset(source: &Source, at: u64, tags: &mut Tags) {
    if let Some(skip) = be32(&source.read(at, 4), 0) {
        let skipped = at + 4 + u64::from(skip);
        if tiff::read(source, skipped, tiff::Role::Main, tags).is_none() {
            tiff::read(source, at + 4, tiff::Role::Main, tags);
        }
    }
}

fn canon(source: &Source, moov: &Box, tags: &mut Tags) {
    for item in boxes(source, moov.start, moov.end).found {
        if &item.kind != b"uuid" || source.read(item.start, 16) != CANON {
            continue;
        }
        for part in boxes(source, item.start + 16, item.end).found {
            let role = match &part.kind {
                b"CMT1" => tiff::Role::Main,
                b"CMT2" => tiff::Role::Exif,
                b"CMT4" => tiff::Role::Gps,
                _ => continue,
            };
            tiff::read(source, part.start, role, tags);
        }
    }
}

fn heif(source: &Source, meta: &Box, want_tags: bool, tags: &mut Tags) {
    let mut items = Vec::new();
    let mut places = Vec::new();
    let mut idat = 0;
    let mut size = (0, 0);
    for part in boxes(source, meta.start + 4, meta.end).found {
        match &part.kind {
            b"iinf" if want_tags => items = item_kinds(source, &part),
            b"iloc" if want_tags => places = item_places(&part.body(source)).unwrap_or_default(),
            b"idat" => idat = part.start,
            b"iprp" => size = largest(source, &part),
            _ => {}
        }
    }
    if size.0 > 0 && size.1 > 0 {
        tags.add(Tag::Width, size.0.to_string().as_bytes());
        tags.add(Tag::Height, size.1.to_string().as_bytes());
    }
    for (item, kind) in items {
        let Some(place) = places.iter().find(|place| place.item == item) else {
            continue;
        };
        let at = place.at + if place.in_idat { idat } else { 0 };
        if kind == ItemKind::Exif {
            tiff_with_offset(source, at, tags);
        } else {
            let length = usize::try_from(place.length).unwrap_or(LONGEST);
            xmp::read(&source.read(at, length), tags);
        }
    }
}

/// The largest picture described is the one meant; the others are its tiles, thumbnails and masks.
fn largest(source: &Source, properties: &Box) -> (u32, u32) {
    let mut best = (0, 0);
    for list in boxes(source, properties.start, properties.end).found {
        if &list.kind != b"ipco" {
            continue;
        }
        for item in boxes(source, list.start, list.end).found {
            if &item.kind != b"ispe" {
                continue;
            }
            let body = source.read(item.start, 12);
            if let (Some(width), Some(height)) = (be32(&body, 4), be32(&body, 8))
                && u64::from(width) * u64::from(height) > u64::from(best.0) * u64::from(best.1)
            {
                best = (width, height);
            }
        }
    }
    best
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ItemKind {
    Exif,
    Xmp,
}

fn item_kinds(source: &Source, info: &Box) -> Vec<(u32, ItemKind)> {
    let version = source.read(info.start, 1).first().copied().unwrap_or(0);
    let skip = if version == 0 { 6 } else { 8 };
    let entries = boxes(source, info.start + skip, info.end).found;
    let kind_of = |entry: &Box| {
        let body = source.read(entry.start, entry.length().min(128));
        let (item, at) = match body.first()? {
            2 => (u32::from(be16(&body, 4)?), 8),
            3 => (be32(&body, 4)?, 10),
            _ => return None,
        };
        match body.get(at..at + 4)? {
            b"Exif" => Some((item, ItemKind::Exif)),
            b"mime" if find(&body, b"application/rdf+xml").is_some() => Some((item, ItemKind::Xmp)),
            _ => None,
        }
    };
    entries.iter().filter_map(kind_of).collect()
}

struct ItemPlace {
    item: u32,
    in_idat: bool,
    at: u64,
    length: u64,
}

/// `iloc`: where each item's (first) extent lies.
fn item_places(body: &[u8]) -> Option<Vec<ItemPlace>> {
    let version = *body.first()?;
    let (sizes, more) = (*body.get(4)?, *body.get(5)?);
    let (offset_size, length_size) = (usize::from(sizes >> 4), usize::from(sizes & 15));
    let base_size = usize::from(more >> 4);
    let index_size = if version == 0 {
        0
    } else {
        usize::from(more & 15)
    };
    let mut at = 6;
    let mut take = |size: usize| -> Option<u64> {
        let number = match size {
            0 => 0,
            2 => u64::from(be16(body, at)?),
            4 => u64::from(be32(body, at)?),
            8 => be64(body, at)?,
            _ => return None,
        };
        at += size;
        Some(number)
    };
    let wide = if version < 2 { 2 } else { 4 };
    let count = take(wide)?;
    let mut places = Vec::new();
    for _ in 0..count.min(BOXES as u64) {
        let item = u32::try_from(take(wide)?).ok()?;
        let method = if version == 0 { 0 } else { take(2)? & 15 };
        take(2)?;
        let base = take(base_size)?;
        let extents = take(2)?;
        for extent in 0..extents {
            take(index_size)?;
            let offset = take(offset_size)?;
            let length = take(length_size)?;
            if extent == 0 {
                places.push(ItemPlace {
                    item,
                    in_idat: method == 1,
                    at: base.checked_add(offset)?,
                    length,
                });
            }
        }
    }
    Some(places)
}
