//! Raw tags made into facts: which dates count, and what a coordinate means.

use jiff::tz::TimeZone;

use super::stamp::{self, Stamp};
use super::tags::{Tag, Tags};
use crate::asset::{CaptureTime, CapturedFrom, Location, Metadata};

/// Names and identifiers are shorter.
const WORD: usize = 128;

/// What the tags of a still or of an XMP packet say.
pub fn interpret(tags: &Tags, zone: &TimeZone) -> Metadata {
    let (width, height) = size(tags);
    Metadata {
        dates: dates(tags, zone),
        location: location(tags),
        make: word(tags.text(Tag::Make)).or_else(|| word(tags.text(Tag::XmpMake))),
        model: word(tags.text(Tag::Model)).or_else(|| word(tags.text(Tag::XmpModel))),
        width,
        height,
        content_id: tags
            .bytes(Tag::MakerNote)
            .and_then(super::tiff::apple_content_id)
            .filter(|id| is_word(id)),
        errors: Vec::new(),
        warnings: Vec::new(),
    }
}

/// A camera's name as it may stand in every row and on a terminal: a line of at most [`WORD`] bytes without control characters.
pub(super) fn word(text: Option<String>) -> Option<String> {
    let text = text?;
    let mut line = String::new();
    for c in text.chars().filter(|c| !c.is_control()) {
        if line.len() + c.len_utf8() > WORD {
            break;
        }
        line.push(c);
    }
    let line = line.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

/// Whether an identifier is one: shortened or cleaned it would be another one's.
pub(super) fn is_word(id: &str) -> bool {
    id.len() <= WORD && !id.contains(char::is_control)
}

fn size(tags: &Tags) -> (Option<u32>, Option<u32>) {
    let pair = |across, down| tags.number(across).zip(tags.number(down));
    pair(Tag::Width, Tag::Height)
        .or_else(|| pair(Tag::PixelsAcross, Tag::PixelsDown))
        .map_or((None, None), |(width, height)| (Some(width), Some(height)))
}

fn dates(tags: &Tags, zone: &TimeZone) -> Vec<CaptureTime> {
    let exif = |tag: Tag, subsec: Option<Tag>, offset: Option<Tag>, from: CapturedFrom| {
        let mut stamp = stamp::parse(&tags.text(tag)?)?;
        if let Some(subsec) = subsec.and_then(|tag| tags.text(tag)) {
            stamp = stamp::with_subsec(stamp, &subsec);
        }
        if let Some(offset) = offset.and_then(|tag| tags.text(tag))
            && let Some(zone) = stamp::zone(offset.as_bytes())
            && zone != stamp::Zone::Unknown
        {
            stamp.zone = zone;
        }
        Some(stamp.as_wall_clock(from))
    };
    let xmp = |tag: Tag, from: CapturedFrom| stamp::parse(&tags.text(tag)?)?.on_zone(from, zone);
    let (original, digitized) = (
        CapturedFrom::ExifDateTimeOriginal,
        CapturedFrom::ExifDateTimeDigitized,
    );
    [
        exif(
            Tag::Original,
            Some(Tag::OriginalSubSec),
            Some(Tag::OriginalOffset),
            original,
        ),
        exif(Tag::ImageOriginal, None, None, original),
        exif(
            Tag::Digitized,
            Some(Tag::DigitizedSubSec),
            Some(Tag::DigitizedOffset),
            digitized,
        ),
        exif(Tag::ImageDigitized, None, None, digitized),
        xmp(Tag::XmpOriginal, CapturedFrom::XmpDateTimeOriginal),
        xmp(Tag::XmpDateCreated, CapturedFrom::XmpDateCreated),
        xmp(Tag::XmpCreateDate, CapturedFrom::XmpCreateDate),
        xmp(Tag::XmpDigitized, CapturedFrom::XmpDateTimeDigitized),
        iptc(tags),
        // OffsetTime would belong here, but a guess needs no zone.
        exif(
            Tag::Modified,
            Some(Tag::ModifySubSec),
            None,
            CapturedFrom::ModifyDate,
        ),
        xmp(Tag::XmpModifyDate, CapturedFrom::ModifyDate),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn iptc(tags: &Tags) -> Option<CaptureTime> {
    let date = tags.text(Tag::IptcDate)?;
    let time = tags.text(Tag::IptcTime).map(|time| {
        // HHMMSS±HHMM, as the standard has it.
        let digits = time.bytes().take_while(u8::is_ascii_digit).count();
        match (digits, time.get(..2), time.get(2..4), time.get(4..)) {
            (6, Some(hour), Some(minute), Some(rest)) => format!("{hour}:{minute}:{rest}"),
            _ => time,
        }
    });
    let stamp: Stamp = time
        .and_then(|time| stamp::parse(&format!("{}T{time}", dashed(&date))))
        .or_else(|| stamp::parse(&date))?;
    Some(stamp.as_wall_clock(CapturedFrom::IptcDateCreated))
}

/// `20210203` as `2021-02-03`, so that a time may follow in either form.
fn dashed(date: &str) -> String {
    match (date.len(), date.get(..4), date.get(4..6), date.get(6..8)) {
        (8, Some(year), Some(month), Some(day)) => format!("{year}-{month}-{day}"),
        _ => date.to_owned(),
    }
}

fn location(tags: &Tags) -> Option<Location> {
    let exif = |value: Tag, reference: Tag, negative: char, positive: char| {
        let degrees = stamp::rationals(&tags.text(value)?)?;
        match tags.text(reference)?.chars().next()?.to_ascii_uppercase() {
            letter if letter == negative => Some(-degrees),
            letter if letter == positive => Some(degrees),
            _ => None,
        }
    };
    let from_exif = exif(Tag::Latitude, Tag::LatitudeRef, 'S', 'N')
        .zip(exif(Tag::Longitude, Tag::LongitudeRef, 'W', 'E'))
        .and_then(|(latitude, longitude)| stamp::location(latitude, longitude));
    from_exif.or_else(|| {
        let xmp = |value: Tag, reference: Tag| {
            stamp::xmp_degrees(&tags.text(value)?, tags.text(reference).as_deref())
        };
        let latitude = xmp(Tag::XmpLatitude, Tag::XmpLatitudeRef)?;
        stamp::location(latitude, xmp(Tag::XmpLongitude, Tag::XmpLongitudeRef)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(values: &[(Tag, &str)]) -> Tags {
        let mut tags = Tags::default();
        for (tag, value) in values {
            tags.add(*tag, value.as_bytes());
        }
        tags
    }

    #[test]
    fn only_the_offset_of_the_original_date_belongs_to_it() {
        let with = tags(&[
            (Tag::Original, "2020:06:01 23:30:00"),
            (Tag::OriginalSubSec, "5"),
            (Tag::OriginalOffset, "+02:00"),
        ]);
        let date = interpret(&with, &TimeZone::UTC).dates[0];
        assert_eq!(
            (date.local_text().as_str(), date.offset_minutes),
            ("2020-06-01T23:30:00.500", Some(120))
        );
        let without = tags(&[
            (Tag::Original, "2020:06:01 23:30:00"),
            (Tag::OriginalOffset, "   :  "),
        ]);
        assert_eq!(
            interpret(&without, &TimeZone::UTC).dates[0].offset_minutes,
            None
        );
    }

    #[test]
    fn xmp_dates_in_utc_are_put_on_the_appliances_zone() {
        let zone = TimeZone::fixed(jiff::tz::Offset::from_hours(2).unwrap());
        let utc = tags(&[(Tag::XmpOriginal, "2012-07-05T23:18:27Z")]);
        let date = interpret(&utc, &zone).dates[0];
        assert_eq!(
            (date.local_text().as_str(), date.offset_minutes),
            ("2012-07-06T01:18:27", Some(120))
        );
        let local = tags(&[(Tag::XmpOriginal, "2012-07-05T23:18:27")]);
        assert_eq!(
            interpret(&local, &zone).dates[0].local_text(),
            "2012-07-05T23:18:27"
        );
    }

    #[test]
    fn iptc_dates_come_with_or_without_a_time() {
        for (time, wanted, offset) in [
            (Some("17:02:22+02:00"), "2009-06-03T17:02:22", Some(120)),
            (Some("170222+0200"), "2009-06-03T17:02:22", Some(120)),
            (Some("170222"), "2009-06-03T17:02:22", None),
            (None, "2009-06-03T00:00:00", None),
        ] {
            for date in ["2009-06-03", "20090603"] {
                let mut values = vec![(Tag::IptcDate, date)];
                values.extend(time.map(|time| (Tag::IptcTime, time)));
                let found = interpret(&tags(&values), &TimeZone::UTC).dates[0];
                assert_eq!(
                    (found.local_text().as_str(), found.offset_minutes),
                    (wanted, offset)
                );
            }
        }
    }

    #[test]
    fn a_cameras_name_is_one_short_line_and_an_identifier_is_whole_or_none() {
        let made_up = tags(&[
            (Tag::Make, "\x1b[2J\r\n"),
            (Tag::XmpMake, " Ni\x07kon\t"),
            (Tag::Model, &"\u{fffd}".repeat(10_000)),
        ]);
        let found = interpret(&made_up, &TimeZone::UTC);
        assert_eq!(found.make.as_deref(), Some("[2J"));
        assert_eq!(found.model.map(|model| model.len()), Some(126));
        assert!(is_word("5B2C3E0A-6F4D-4C7B-9A21-0D8E7F61A2B3"));
        assert!(!is_word("5B2C\n3E0A") && !is_word(&"A".repeat(129)));
    }

    #[test]
    fn a_coordinate_without_its_hemisphere_is_no_coordinate() {
        let mut values = vec![
            (Tag::Latitude, "33/1 51/1 24/1"),
            (Tag::LatitudeRef, "S"),
            (Tag::Longitude, "151/1 12/1 54/1"),
            (Tag::LongitudeRef, "E"),
        ];
        let at = location(&tags(&values)).unwrap();
        assert!((at.latitude + 33.8567).abs() < 1e-3 && (at.longitude - 151.215).abs() < 1e-3);
        values.remove(1);
        assert_eq!(location(&tags(&values)), None);
    }
}
