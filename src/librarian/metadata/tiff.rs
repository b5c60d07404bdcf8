//! TIFF directories: EXIF wherever it is embedded, and the raw formats that are TIFF inside.

use super::source::{Source, be16, be32, le16, le32};
use super::tags::{Tag, Tags, VALUE_LIMIT};
use super::xmp;

/// Directories looked at in one file; a loop of directories ends here.
const DIRECTORIES: usize = 40;
/// Entries looked at in one directory.
const ENTRIES: usize = 1000;
/// Strips whose places are checked.
const STRIPS: usize = 4096;

/// What the tags of a directory mean.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The first directory: camera, `ModifyDate`, and the ways to the others.
    Main,
    /// The EXIF directory.
    Exif,
    /// The GPS directory.
    Gps,
    /// Pictures only: previews, thumbnails, the sensor's data.
    Picture,
}

/// What a walk through the directories found besides tags.
#[derive(Default)]
pub(super) struct Walk {
    /// The end of the farthest picture data, in bytes from the TIFF's beginning.
    pub(super) farthest: u64,
    /// The largest picture.
    pub(super) width: u32,
    /// Its height.
    pub(super) height: u32,
    /// A directory that lies behind the end of the file.
    pub(super) cut: bool,
}

struct Walker<'a> {
    source: &'a Source<'a>,
    base: u64,
    little: bool,
    walk: Walk,
    left: Vec<(u64, Role)>,
    seen: Vec<u64>,
}

struct Entry {
    tag: u16,
    kind: u16,
    count: usize,
    /// Where the value lies in the file.
    at: u64,
}

/// Reads the TIFF that begins at `base`; its first directory has this role. `None` where there is no TIFF.
pub(super) fn read(source: &Source, base: u64, role: Role, tags: &mut Tags) -> Option<Walk> {
    let head = source.exactly(base, 8)?;
    let little = match head.get(..2)? {
        b"II" => true,
        b"MM" => false,
        _ => return None,
    };
    let magic = if little {
        le16(&head, 2)?
    } else {
        be16(&head, 2)?
    };
    // 42, Panasonic's 0x55, Olympus' "RO" and "RS".
    if !matches!(magic, 42 | 0x55 | 0x4f52 | 0x5352) {
        return None;
    }
    let first = if little {
        le32(&head, 4)?
    } else {
        be32(&head, 4)?
    };
    let mut walker = Walker {
        source,
        base,
        little,
        walk: Walk::default(),
        left: vec![(u64::from(first), role)],
        seen: Vec::new(),
    };
    while let Some((at, role)) = walker.left.pop() {
        if walker.seen.len() >= DIRECTORIES {
            break;
        }
        if !walker.seen.contains(&at) {
            walker.seen.push(at);
            walker.directory(at, role, tags);
        }
    }
    Some(walker.walk)
}

impl Walker<'_> {
    fn u16(&self, bytes: &[u8], at: usize) -> Option<u16> {
        if self.little {
            le16(bytes, at)
        } else {
            be16(bytes, at)
        }
    }

    fn u32(&self, bytes: &[u8], at: usize) -> Option<u32> {
        if self.little {
            le32(bytes, at)
        } else {
            be32(bytes, at)
        }
    }

    fn directory(&mut self, at: u64, role: Role, tags: &mut Tags) {
        let start = self.base + at;
        let Some(count) = self
            .source
            .exactly(start, 2)
            .and_then(|head| self.u16(&head, 0))
        else {
            self.walk.cut = true;
            return;
        };
        let count = usize::from(count).min(ENTRIES);
        let bytes = self.source.read(start + 2, count * 12 + 4);
        if bytes.len() < count * 12 {
            self.walk.cut = true;
        }
        let entries: Vec<Entry> = (0..count)
            .map_while(|index| self.entry(&bytes, start, index))
            .collect();
        self.picture(&entries);
        for entry in &entries {
            match (role, entry.tag) {
                (Role::Main | Role::Picture, 0x014a) => {
                    for at in self.numbers(entry, 16) {
                        self.left.push((u64::from(at), Role::Picture));
                    }
                }
                (Role::Main, 0x8769) => self.follow(entry, Role::Exif),
                (Role::Main, 0x8825) => self.follow(entry, Role::Gps),
                (Role::Main, 0x02bc) => xmp::read(&self.bytes(entry, super::source::LONGEST), tags),
                _ => self.keep(role, entry, tags),
            }
        }
        let next = self.u32(&bytes, count * 12).unwrap_or(0);
        if next != 0 && matches!(role, Role::Main | Role::Picture) {
            self.left.push((u64::from(next), Role::Picture));
        }
    }

    /// Pointers are LONG (or IFD); another type is damage, not a direction.
    fn follow(&mut self, entry: &Entry, role: Role) {
        if matches!(entry.kind, 4 | 13)
            && let Some(&at) = self.numbers(entry, 1).first()
        {
            self.left.push((u64::from(at), role));
        }
    }

    fn entry(&self, bytes: &[u8], start: u64, index: usize) -> Option<Entry> {
        let at = index * 12;
        let kind = self.u16(bytes, at + 2)?;
        let count = usize::try_from(self.u32(bytes, at + 4)?).ok()?;
        let length = count.saturating_mul(unit(kind));
        let place = if length <= 4 {
            start + 2 + at as u64 + 8
        } else {
            self.base + u64::from(self.u32(bytes, at + 8)?)
        };
        Some(Entry {
            tag: self.u16(bytes, at)?,
            kind,
            count,
            at: place,
        })
    }

    /// A value that is all there; a date cut short would be a made-up date.
    fn bytes(&self, entry: &Entry, limit: usize) -> Vec<u8> {
        let length = entry.count.saturating_mul(unit(entry.kind));
        if length > limit {
            return Vec::new();
        }
        self.source.exactly(entry.at, length).unwrap_or_default()
    }

    fn numbers(&self, entry: &Entry, limit: usize) -> Vec<u32> {
        let count = entry.count.min(limit);
        let bytes = self.source.read(entry.at, count * unit(entry.kind));
        (0..count)
            .map_while(|index| match entry.kind {
                1 | 7 => bytes.get(index).map(|&byte| u32::from(byte)),
                3 => self.u16(&bytes, index * 2).map(u32::from),
                4 | 13 => self.u32(&bytes, index * 4),
                _ => None,
            })
            .collect()
    }

    fn text(&self, entry: &Entry) -> Vec<u8> {
        match entry.kind {
            5 | 10 => {
                let length = entry.count.min(3) * 8;
                let bytes = self.source.exactly(entry.at, length).unwrap_or_default();
                let parts = bytes.chunks_exact(8).filter_map(|pair| {
                    Some(format!("{}/{}", self.u32(pair, 0)?, self.u32(pair, 4)?))
                });
                parts.collect::<Vec<_>>().join(" ").into_bytes()
            }
            3 | 4 => self
                .numbers(entry, 1)
                .first()
                .map(u32::to_string)
                .unwrap_or_default()
                .into_bytes(),
            _ => self.bytes(entry, VALUE_LIMIT),
        }
    }

    fn keep(&self, role: Role, entry: &Entry, tags: &mut Tags) {
        let tag = match (role, entry.tag) {
            (Role::Main, 0x010f) => Tag::Make,
            (Role::Main, 0x0110) => Tag::Model,
            (Role::Main, 0x0132) => Tag::Modified,
            (Role::Main, 0x9003) => Tag::ImageOriginal,
            (Role::Main, 0x9004) => Tag::ImageDigitized,
            (Role::Exif, 0x9003) => Tag::Original,
            (Role::Exif, 0x9004) => Tag::Digitized,
            (Role::Exif, 0x9011) => Tag::OriginalOffset,
            (Role::Exif, 0x9012) => Tag::DigitizedOffset,
            (Role::Exif, 0x9290) => Tag::ModifySubSec,
            (Role::Exif, 0x9291) => Tag::OriginalSubSec,
            (Role::Exif, 0x9292) => Tag::DigitizedSubSec,
            (Role::Exif, 0xa002) => Tag::PixelsAcross,
            (Role::Exif, 0xa003) => Tag::PixelsDown,
            (Role::Exif, 0x927c) => {
                let note = self.bytes(entry, VALUE_LIMIT);
                if note.starts_with(APPLE) {
                    tags.add(Tag::MakerNote, &note);
                }
                return;
            }
            (Role::Gps, 1) => Tag::LatitudeRef,
            (Role::Gps, 2) => Tag::Latitude,
            (Role::Gps, 3) => Tag::LongitudeRef,
            (Role::Gps, 4) => Tag::Longitude,
            _ => return,
        };
        tags.add(tag, &self.text(entry));
    }

    /// Notes how large a picture is and how far its data reaches.
    fn picture(&mut self, entries: &[Entry]) {
        let numbers = |tag: u16, limit: usize| {
            let found = entries.iter().find(|entry| entry.tag == tag);
            found.map_or_else(Vec::new, |entry| self.numbers(entry, limit))
        };
        let one = |tag: u16| numbers(tag, 1).first().copied().unwrap_or(0);
        let (width, height) = (one(0x0100), one(0x0101));
        let mut farthest = self.walk.farthest;
        for (places, lengths) in [(0x0111, 0x0117), (0x0144, 0x0145), (0x0201, 0x0202)] {
            let ends = numbers(places, STRIPS)
                .into_iter()
                .zip(numbers(lengths, STRIPS));
            for (place, length) in ends {
                farthest = farthest.max(u64::from(place) + u64::from(length));
            }
        }
        self.walk.farthest = farthest;
        if u64::from(width) * u64::from(height)
            > u64::from(self.walk.width) * u64::from(self.walk.height)
        {
            self.walk.width = width;
            self.walk.height = height;
        }
    }
}

fn unit(kind: u16) -> usize {
    match kind {
        3 | 8 => 2,
        4 | 9 | 11 | 13 => 4,
        5 | 10 | 12 => 8,
        _ => 1,
    }
}

const APPLE: &[u8] = b"Apple iOS\0";

/// The `ContentIdentifier` in Apple's maker note: a directory of its own, its places counted from the note's beginning.
/// The note comes as it is, or spelled out in decimal numbers, as Exiv2 gives it.
pub(super) fn apple_content_id(note: &[u8]) -> Option<String> {
    if note.starts_with(b"65 112 112 108 101 ") {
        let numbers = note.split(|&byte| byte == b' ');
        let bytes: Option<Vec<u8>> = numbers
            .map(|number| str::from_utf8(number).ok()?.parse().ok())
            .collect();
        return apple_content_id(&bytes?);
    }
    if !note.starts_with(APPLE) {
        return None;
    }
    let count = usize::from(be16(note, 14)?);
    (0..count.min(ENTRIES)).find_map(|index| {
        let at = 16 + index * 12;
        if be16(note, at)? != 0x0011 {
            return None;
        }
        let length = usize::try_from(be32(note, at + 4)?).ok()?;
        let place = usize::try_from(be32(note, at + 8)?).ok()?;
        super::source::text(note.get(place..place.checked_add(length)?)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apples_content_identifier_is_read_from_its_maker_note() {
        let mut note = b"Apple iOS\0\0\x01MM\0\x01\0\x11\0\x02\0\0\0\x05\0\0\0\x20".to_vec();
        note.resize(0x20, 0);
        note.extend(b"ABCD\0");
        assert_eq!(apple_content_id(&note).as_deref(), Some("ABCD"));
        let spelled: Vec<String> = note.iter().map(u8::to_string).collect();
        assert_eq!(
            apple_content_id(spelled.join(" ").as_bytes()).as_deref(),
            Some("ABCD")
        );
        assert_eq!(apple_content_id(&note[..30]), None);
        assert_eq!(apple_content_id(b"Nikon"), None);
    }
}
