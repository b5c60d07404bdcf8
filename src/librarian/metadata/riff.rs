//! AVI: dates and cameras in RIFF lists.

use super::source::{LONGEST, Source, array, find, le32, text};
use super::stamp::{self, Stamp, Zone};
use super::tiff;
use super::video::Facts;

/// Chunks looked at in the whole file.
const CHUNKS: u32 = 2000;
const DEEPEST: u32 = 6;

/// Reads the lists before the movie's data, and the index-free ones after it.
pub(super) fn read(source: &Source, facts: &mut Facts) {
    let size = source.size();
    let stated = le32(&source.read(4, 4), 0).map_or(0, u64::from);
    if stated + 8 > size && source.failure().is_none() {
        facts
            .errors
            .push("the video is cut off: its end is missing".to_owned());
    }
    let mut left = CHUNKS;
    list(
        source,
        12,
        size.min(stated.saturating_add(8)),
        0,
        &mut left,
        facts,
    );
}

fn list(source: &Source, from: u64, to: u64, depth: u32, left: &mut u32, facts: &mut Facts) {
    let mut at = from;
    while at + 8 <= to && *left > 0 {
        *left -= 1;
        let head = source.read(at, 12);
        let (Some(name), Some(length)) = (array::<4>(&head, 0), le32(&head, 4)) else {
            return;
        };
        let start = at + 8;
        // A text cut short would be a made-up date: only whole chunks are read.
        let end = (start + u64::from(length)).min(to);
        if &name == b"LIST" {
            let kind = head.get(8..12).unwrap_or_default();
            if kind != b"movi" && depth < DEEPEST {
                list(source, start + 4, end, depth + 1, left, facts);
            }
        } else if end - start == u64::from(length) {
            chunk(source, name, start, end, facts);
        }
        at = start + u64::from(length) + u64::from(length & 1);
    }
}

fn chunk(source: &Source, name: [u8; 4], start: u64, end: u64, facts: &mut Facts) {
    let length = usize::try_from(end.saturating_sub(start)).unwrap_or(LONGEST);
    let short = || source.read(start, length.min(256));
    match &name {
        b"avih" => {
            let header = short();
            facts.add_size(
                le32(&header, 32).unwrap_or(0),
                le32(&header, 36).unwrap_or(0),
            );
        }
        // When the recording began. ICRD is not read: a day alone, often of the editing or of a clock never set.
        b"IDIT" => facts.local = text(&short()).and_then(|text| date(&text)).or(facts.local),
        b"ecor" | b"IMAK" => facts.make = facts.make.take().or_else(|| text(&short())),
        b"emdl" | b"IMOD" => facts.model = facts.model.take().or_else(|| text(&short())),
        b"strd" => stream_data(source, start, length, facts),
        b"nctg" => nikon(&source.read(start, length.min(64 << 10)), facts),
        _ => {}
    }
}

/// Some cameras put EXIF where a codec's data would be.
fn stream_data(source: &Source, start: u64, length: usize, facts: &mut Facts) {
    let head = source.read(start, length.min(1024));
    if head.starts_with(b"AVIF") {
        // The tags follow in the byte order of the file, without TIFF's header.
        let mut block = b"II*\0\x08\0\0\0".to_vec();
        block.extend(source.read(start + 8, length.saturating_sub(8).min(64 << 10)));
        tiff::read(
            &Source::of_bytes(&block),
            0,
            tiff::Role::Exif,
            &mut facts.tags,
        );
        tiff::read(
            &Source::of_bytes(&block),
            0,
            tiff::Role::Main,
            &mut facts.tags,
        );
    } else if let Some(at) = find(&head, b"Exif\0\0") {
        tiff::read(
            source,
            start + at as u64 + 6,
            tiff::Role::Main,
            &mut facts.tags,
        );
    }
}

/// Nikon's list of tag, length, value.
fn nikon(body: &[u8], facts: &mut Facts) {
    let little = |at: usize| array(body, at).map(u16::from_le_bytes);
    let mut at = 0;
    while let (Some(tag), Some(length)) = (little(at), little(at + 2)) {
        let value = body.get(at + 4..at + 4 + usize::from(length));
        match (tag, value.and_then(text)) {
            (3, Some(make)) => facts.make = facts.make.take().or(Some(make)),
            (4, Some(model)) => facts.model = facts.model.take().or(Some(model)),
            (0x13, Some(date)) => facts.local = facts.local.or_else(|| stamp::parse(&date)),
            _ => {}
        }
        at += 4 + usize::from(length);
    }
}

/// `MON OCT 27 12:14:00 2009`, `2009:10:27 12:14:00`, `2009/10/27/ 12:14`.
fn date(text: &str) -> Option<Stamp> {
    if let Some(stamp) = stamp::parse(text) {
        return Some(stamp);
    }
    let words: Vec<&str> = text
        .split(|c: char| c.is_ascii_whitespace() || c == '/')
        .filter(|word| !word.is_empty())
        .collect();
    if let [year, month, day, time] = words[..]
        && year.len() == 4
    {
        return stamp::parse(&format!("{year}-{month}-{day} {time}"));
    }
    let months = [
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    ];
    let [_, month, day, time, year] = words[..] else {
        return None;
    };
    let month = months
        .iter()
        .zip(1..)
        .find(|(name, _)| month.to_ascii_lowercase().starts_with(**name))?
        .1;
    let day = stamp::date(year.parse().ok()?, month, day.parse().ok()?)?;
    let parts: Vec<u32> = time
        .split(':')
        .map_while(|part| part.parse().ok())
        .collect();
    let [hour, minute, second] = parts[..] else {
        return None;
    };
    let local = day.to_datetime(stamp::time(hour, minute, second, 0)?);
    Some(Stamp {
        local,
        zone: Zone::Unknown,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dates_of_many_cameras_are_read() {
        for (text, wanted) in [
            ("MON OCT 27 12:14:00 2009\n", "2009-10-27T12:14:00"),
            ("Tue Jul  4 01:02:03 2006", "2006-07-04T01:02:03"),
            ("2009:10:27 12:14:00", "2009-10-27T12:14:00"),
            ("2009/10/27/ 12:14", "2009-10-27T12:14:00"),
            ("2020-08-28", "2020-08-28T00:00:00"),
        ] {
            assert_eq!(
                date(text).map(|stamp| stamp.local.to_string()).as_deref(),
                Some(wanted),
                "{text}"
            );
        }
        assert_eq!(date("SUN FEB 30 12:14:00 2009"), None);
        assert_eq!(date("no date"), None);
    }
}
