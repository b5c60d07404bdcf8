//! `QuickTime` and its children: MOV, MP4, M4V, 3GP.

use jiff::Timestamp;

use super::bmff::{Box, XMP_UUID, boxes, numbered};
use super::source::{LONGEST, Source, array, be16, be32, be64, find, text};
use super::stamp;
use super::tags::{Tag, Tags};
use super::video::Facts;
use super::{jpeg, xmp};

/// Seconds from 1904, where this format's time begins, to 1970.
const EPOCH_1904: i64 = 2_082_844_800;
/// 1990-01-01: no earlier creation time was ever written by a camera of this format.
const FIRST: i64 = 631_152_000;

/// Reads the movie's boxes.
pub(super) fn read(source: &Source, facts: &mut Facts) {
    let top = boxes(source, 0, source.size());
    let mut has_index = false;
    for item in &top.found {
        match &item.kind {
            b"moov" => {
                has_index = true;
                movie(source, item, facts);
            }
            b"meta" => meta(source, item, facts),
            b"udta" => user_data(source, item, facts),
            b"uuid" => uuid(source, item, facts),
            _ => {}
        }
    }
    if source.failure().is_some() {
        return;
    }
    if top.cut {
        facts
            .errors
            .push("the video is cut off: a part of it reaches past the end of the file".to_owned());
    } else if !has_index {
        facts.errors.push(
            "the video cannot be played: its index (moov) is missing; the recording was cut off"
                .to_owned(),
        );
    }
}

fn movie(source: &Source, moov: &Box, facts: &mut Facts) {
    for item in boxes(source, moov.start, moov.end).found {
        match &item.kind {
            b"mvhd" => facts.instant = creation(&source.read(item.start, 12)),
            b"meta" => meta(source, &item, facts),
            b"udta" => user_data(source, &item, facts),
            b"uuid" => uuid(source, &item, facts),
            b"trak" => {
                for part in boxes(source, item.start, item.end).found {
                    match &part.kind {
                        b"tkhd" => track_size(&source.read(part.start, 96), facts),
                        b"meta" => meta(source, &part, facts),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
}

/// Seconds since 1904 in UTC; some programs count from 1970. Zero (in either) is unknown.
fn creation(header: &[u8]) -> Option<Timestamp> {
    let seconds = match header.first()? {
        1 => i64::try_from(be64(header, 4)?).ok()?,
        _ => i64::from(be32(header, 4)?),
    };
    let since_1970 = if seconds >= EPOCH_1904 {
        seconds - EPOCH_1904
    } else {
        seconds
    };
    Timestamp::from_second(since_1970)
        .ok()
        .filter(|_| since_1970 >= FIRST)
}

/// Width and height, as they are shown: a phone held upright only turns the matrix.
fn track_size(header: &[u8], facts: &mut Facts) {
    let matrix = if header.first() == Some(&1) { 52 } else { 40 };
    let side = |at: usize| be32(header, matrix + 36 + at).map_or(0, |fixed| fixed >> 16);
    let (width, height) = (side(0), side(4));
    let turned = be32(header, matrix) == Some(0) && be32(header, matrix + 16) == Some(0);
    if turned {
        facts.add_size(height, width);
    } else {
        facts.add_size(width, height);
    }
}

fn uuid(source: &Source, item: &Box, facts: &mut Facts) {
    if source.read(item.start, 16) == XMP_UUID {
        xmp::read(
            &source.read(item.start + 16, item.length().min(LONGEST)),
            &mut facts.tags,
        );
    }
}

/// `meta` in its two dialects (with and without a version) and with its three contents: Apple's keys, iTunes' items, Sony's XML.
fn meta(source: &Source, meta: &Box, facts: &mut Facts) {
    let head = source.read(meta.start, 8);
    let plain = matches!(head.get(4..8), Some(b"hdlr" | b"keys" | b"ilst" | b"xml "));
    let parts = boxes(source, meta.start + if plain { 0 } else { 4 }, meta.end).found;
    let keys = parts
        .iter()
        .find(|part| &part.kind == b"keys")
        .map(|part| keys(&part.body(source)));
    for part in &parts {
        match &part.kind {
            b"ilst" => {
                for item in numbered(source, part.start, part.end).found {
                    value(source, &item, keys.as_deref(), facts);
                }
            }
            b"xml " => sony(&part.body(source), facts),
            _ => {}
        }
    }
}

fn keys(body: &[u8]) -> Vec<Vec<u8>> {
    let count = be32(body, 4).unwrap_or(0).min(1000);
    let mut at = 8;
    (0..count)
        .map_while(|_| {
            let size = usize::try_from(be32(body, at)?).ok()?;
            let key = body.get(at + 8..at.checked_add(size)?)?.to_vec();
            at += size;
            Some(key)
        })
        .collect()
}

fn value(source: &Source, item: &Box, keys: Option<&[Vec<u8>]>, facts: &mut Facts) {
    let Some(data) = boxes(source, item.start, item.end)
        .found
        .into_iter()
        .find(|part| &part.kind == b"data" && part.whole)
    else {
        return;
    };
    let body = source.read(data.start, data.length().min(4096));
    let Some(text) = body.get(8..).and_then(text) else {
        return;
    };
    let number = usize::try_from(u32::from_be_bytes(item.kind)).unwrap_or(usize::MAX);
    let key = match keys {
        Some(keys) => number
            .checked_sub(1)
            .and_then(|index| keys.get(index))
            .map_or(&item.kind[..], Vec::as_slice),
        None => &item.kind[..],
    };
    match key {
        b"com.apple.quicktime.creationdate" => {
            facts.apple = facts.apple.or_else(|| stamp::parse(&text));
        }
        // Apple's keys are the camera's own and outrank user data, wherever they stand.
        b"com.apple.quicktime.location.ISO6709" => {
            facts.location = stamp::iso6709(&text).or(facts.location);
        }
        b"com.apple.quicktime.make" => facts.make = Some(text),
        b"com.apple.quicktime.model" => facts.model = Some(text),
        b"com.android.manufacturer" => set(&mut facts.make, text),
        b"com.android.model" => set(&mut facts.model, text),
        b"com.apple.quicktime.content.identifier" => set(&mut facts.content_id, text),
        name => user_text(name, text, facts),
    }
}

fn set(place: &mut Option<String>, text: String) {
    place.get_or_insert(text);
}

fn user_text(name: &[u8], text: String, facts: &mut Facts) {
    match name {
        b"\xa9day" | b"@day" | b"\xa9DAY" | b"date" => {
            facts.local = facts.local.or_else(|| stamp::parse(&text));
        }
        b"\xa9xyz" | b"@xyz" => facts.location = facts.location.or_else(|| stamp::iso6709(&text)),
        b"\xa9mak" | b"@mak" | b"manu" => set(&mut facts.make, text),
        b"\xa9mod" | b"@mod" | b"modl" => set(&mut facts.model, text),
        _ => {}
    }
}

fn user_data(source: &Source, udta: &Box, facts: &mut Facts) {
    for item in boxes(source, udta.start, udta.end).found {
        match &item.kind {
            b"meta" => meta(source, &item, facts),
            b"XMP_" => xmp::read(&item.body(source), &mut facts.tags),
            b"loci" => {
                facts.location = facts
                    .location
                    .or_else(|| loci(&source.read(item.start, 512)));
            }
            b"GPMF" => set_from(
                &mut facts.model,
                gopro_model(&source.read(item.start, item.length().min(64 << 10))),
            ),
            b"CNTH" => canon_thumbnail(source, &item, facts),
            [0xa9 | b'@', ..] | b"manu" | b"modl" | b"date" if item.whole => {
                let body = source.read(item.start, item.length().min(1024));
                if let Some(text) = user_data_text(&body) {
                    user_text(&item.kind, text, facts);
                }
            }
            _ => {}
        }
    }
}

fn set_from(place: &mut Option<String>, text: Option<String>) {
    if place.is_none() {
        *place = text;
    }
}

/// Texts in user data have a length and a language before them; some writers leave both out.
fn user_data_text(body: &[u8]) -> Option<String> {
    let length = be16(body, 0).map(usize::from);
    let sized = length.and_then(|length| body.get(4..4 + length));
    sized
        .and_then(text)
        .or_else(|| text(body))
        .filter(|text| text.is_ascii() || sized.is_some())
}

/// 3GPP's location: a name, a role, then longitude and latitude as fixed-point numbers.
fn loci(body: &[u8]) -> Option<crate::asset::Location> {
    let named = body.get(6..)?;
    let skip = if named.starts_with(b"\xfe\xff") {
        named.chunks_exact(2).position(|unit| unit == [0, 0])? * 2 + 2
    } else {
        named.iter().position(|&byte| byte == 0)? + 1
    };
    let fixed = |at: usize| {
        array(named, skip + 1 + at).map(|four| f64::from(i32::from_be_bytes(four)) / 65536.0)
    };
    stamp::location(fixed(4)?, fixed(0)?)
}

/// `GoPro`'s own structure: a key, a type, a size, a count, a text.
fn gopro_model(body: &[u8]) -> Option<String> {
    let at = find(body, b"MINFc")?;
    let size = usize::from(*body.get(at + 5)?) * usize::from(be16(body, at + 6)?);
    text(body.get(at + 8..at + 8 + size)?)
}

/// Canon keeps a JPEG with EXIF beside the movie: the camera's own wall clock.
fn canon_thumbnail(source: &Source, item: &Box, facts: &mut Facts) {
    for part in boxes(source, item.start, item.end).found {
        if &part.kind == b"CNDA" {
            let mut tags = Tags::default();
            jpeg::read(source, part.start, part.end, true, &mut tags);
            for size in [Tag::Width, Tag::Height, Tag::PixelsAcross, Tag::PixelsDown] {
                tags.remove(size);
            }
            facts.tags.fill_from(&tags);
        }
    }
}

/// Sony's non-real-time metadata: the local date with its offset, and the camera.
fn sony(body: &[u8], facts: &mut Facts) {
    let attribute = |element: &[u8], name: &[u8]| -> Option<String> {
        let rest = body.get(find(body, element)?..)?;
        let rest = rest.get(..rest.iter().position(|&byte| byte == b'>')?)?;
        let value = rest
            .get(find(rest, name)? + name.len()..)?
            .strip_prefix(b"=\"")?;
        text(value.get(..value.iter().position(|&byte| byte == b'"')?)?)
    };
    let date = attribute(b"<CreationDate ", b"value").and_then(|date| stamp::parse(&date));
    facts.local = facts.local.or(date);
    set_from(&mut facts.make, attribute(b"<Device ", b"manufacturer"));
    set_from(&mut facts.model, attribute(b"<Device ", b"modelName"));
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    fn boxed(kind: [u8; 4], body: &[u8]) -> Vec<u8> {
        let mut bytes = u32::try_from(body.len() + 8)
            .unwrap()
            .to_be_bytes()
            .to_vec();
        bytes.extend(kind);
        bytes.extend(body);
        bytes
    }

    fn mvhd(seconds: u32) -> Vec<u8> {
        let mut body = vec![0; 4];
        body.extend(seconds.to_be_bytes());
        body.resize(100, 0);
        boxed(*b"mvhd", &body)
    }

    fn facts_of(parts: &[Vec<u8>]) -> Facts {
        let mut file = boxed(*b"ftyp", b"qt  \0\0\0\0");
        file.extend(boxed(*b"moov", &parts.concat()));
        let mut facts = Facts::default();
        read(&Source::of_bytes(&file), &mut facts);
        facts
    }

    #[test]
    fn a_zero_creation_time_is_unknown() {
        for seconds in [0, 2_082_844_800, 1] {
            assert_eq!(facts_of(&[mvhd(seconds)]).instant, None);
        }
        let made = facts_of(&[mvhd(2_082_844_800 + 1_700_000_000)])
            .instant
            .unwrap();
        assert_eq!(made.as_second(), 1_700_000_000);
    }

    #[test]
    fn apples_keys_give_date_place_and_identifier() {
        let names = [
            "com.apple.quicktime.creationdate",
            "com.apple.quicktime.location.ISO6709",
            "com.apple.quicktime.content.identifier",
        ];
        let mut keys = vec![0, 0, 0, 0, 0, 0, 0, 3];
        for name in names {
            keys.extend(boxed(*b"mdta", name.as_bytes()));
        }
        let values = [
            "2019-02-12T15:27:12+08:00",
            "+27.1281+100.2508+3245.145/",
            "ABC-1",
        ];
        let items: Vec<u8> = (1_u32..)
            .zip(values)
            .flat_map(|(number, value)| {
                boxed(
                    number.to_be_bytes(),
                    &boxed(
                        *b"data",
                        &[&[0, 0, 0, 1, 0, 0, 0, 0], value.as_bytes()].concat(),
                    ),
                )
            })
            .collect();
        let meta = boxed(
            *b"meta",
            &[
                boxed(*b"hdlr", &[0; 25]),
                boxed(*b"keys", &keys),
                boxed(*b"ilst", &items),
            ]
            .concat(),
        );
        let facts = facts_of(&[mvhd(0), meta]);
        assert_eq!(facts.apple, stamp::parse(values[0]));
        assert_eq!(facts.content_id.as_deref(), Some("ABC-1"));
        assert!((facts.location.unwrap().longitude - 100.2508).abs() < 1e-6);
    }

    #[test]
    fn a_movie_held_upright_is_higher_than_wide() {
        let mut header = vec![0; 84];
        header[44..48].copy_from_slice(&0x1_0000_u32.to_be_bytes());
        header[52..56].copy_from_slice(&0xffff_0000_u32.to_be_bytes());
        header[76..80].copy_from_slice(&(1920_u32 << 16).to_be_bytes());
        header[80..84].copy_from_slice(&(1080_u32 << 16).to_be_bytes());
        let facts = facts_of(&[boxed(*b"trak", &boxed(*b"tkhd", &header))]);
        assert_eq!((facts.width, facts.height), (1080, 1920));
    }

    #[test]
    fn the_creation_time_counts_on_the_appliances_zone_and_a_local_date_alone() {
        let made = mvhd(2_082_844_800 + 1_605_881_076);
        let day = |text: &str| boxed(*b"udta", &boxed(*b"date", text.as_bytes()));
        let east = TimeZone::fixed(jiff::tz::Offset::from_hours(9).unwrap());
        for (parts, wanted) in [
            (
                vec![made.clone(), day("2020-11-20T15:04:02+0100")],
                "2020-11-20T23:04:36",
            ),
            (vec![made], "2020-11-20T23:04:36"),
            (
                vec![mvhd(0), day("2019-11-20T15:04:02+0100")],
                "2019-11-20T15:04:02",
            ),
        ] {
            let metadata = facts_of(&parts).into_metadata(&east);
            assert_eq!(metadata.dates[0].local_text(), wanted);
        }
    }

    #[test]
    fn a_cut_movie_is_told_and_boxes_within_boxes_end() {
        let mut file = boxed(*b"ftyp", b"qt  \0\0\0\0");
        file.extend(boxed(*b"mdat", &[0; 100]));
        let mut facts = Facts::default();
        read(&Source::of_bytes(&file), &mut facts);
        assert!(facts.errors[0].contains("index"));
        let mut facts = Facts::default();
        read(&Source::of_bytes(&file[..60]), &mut facts);
        assert!(facts.errors[0].contains("cut off"));
        let mut nested = boxed(*b"meta", &[]);
        for _ in 0..5000 {
            nested = boxed(*b"udta", &nested);
        }
        facts_of(&[nested]);
    }
}
