//! Dates and coordinates as cameras and programs write them, read strictly.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{Offset, TimeZone};

use crate::asset::{CaptureTime, CapturedFrom, Location};

/// A date as written: the wall clock, and what was said about the zone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stamp {
    pub(crate) local: DateTime,
    pub(crate) zone: Zone,
}

/// What a written date says about its zone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Zone {
    /// Nothing.
    Unknown,
    /// Minutes east of UTC.
    Offset(i16),
    /// `Z`: an instant; the wall clock is not known.
    Utc,
}

impl Stamp {
    /// A camera's stamp: the wall clock stays as it is.
    pub(crate) fn as_wall_clock(self, from: CapturedFrom) -> CaptureTime {
        let offset_minutes = match self.zone {
            Zone::Unknown => None,
            Zone::Offset(minutes) => Some(minutes),
            Zone::Utc => Some(0),
        };
        CaptureTime {
            local: self.local,
            offset_minutes,
            from,
        }
    }

    /// A program's stamp: `Z` means an instant, which is put on the appliance's zone.
    pub(crate) fn on_zone(self, from: CapturedFrom, zone: &TimeZone) -> Option<CaptureTime> {
        if self.zone != Zone::Utc {
            return Some(self.as_wall_clock(from));
        }
        let instant = Offset::UTC.to_timestamp(self.local).ok()?;
        Some(instant_on_zone(instant, from, zone))
    }
}

/// An instant as the appliance's own wall clock showed it.
pub(crate) fn instant_on_zone(
    instant: Timestamp,
    from: CapturedFrom,
    zone: &TimeZone,
) -> CaptureTime {
    let east = zone.to_offset(instant);
    CaptureTime {
        local: east.to_datetime(instant),
        offset_minutes: i16::try_from(east.seconds() / 60).ok(),
        from,
    }
}

/// Reads `YYYY:MM:DD HH:MM[:SS[.fff]][Z|±HH[:]MM]` with any of the separators in use (`:` `-` `/` `.` for dates, blank
/// or `T` between), and dates alone (00:00:00). Zeros, blanks, impossible dates and years before 1900 are nothing.
pub(crate) fn parse(text: &str) -> Option<Stamp> {
    let mut rest = Digits(
        text.trim_matches(|c: char| c.is_whitespace() || c == '\0')
            .as_bytes(),
    );
    let year = rest.number(4, 4)?;
    let compact = rest.0.first().is_some_and(u8::is_ascii_digit);
    if !compact {
        rest.one_of(b":-/.")?;
    }
    let month = rest.number(1 + usize::from(compact), 2)?;
    if !compact {
        rest.one_of(b":-/.")?;
    }
    let day = rest.number(1 + usize::from(compact), 2)?;
    let date = date(year, month, day)?;
    // A camera that knows the day but not the time writes blanks and colons.
    if rest.0.iter().all(|byte| matches!(byte, b' ' | b':')) {
        let local = date.to_datetime(Time::midnight());
        return Some(Stamp {
            local,
            zone: Zone::Unknown,
        });
    }
    if rest.one_of(b"Tt").is_none() {
        rest.one_of(b" _/")?;
        while rest.one_of(b" ").is_some() {}
    }
    let compact = rest
        .0
        .get(..4)
        .is_some_and(|four| four.iter().all(u8::is_ascii_digit));
    let hour = rest.number(1 + usize::from(compact), 2)?;
    if !compact {
        rest.one_of(b":.-")?;
    }
    let minute = rest.number(2, 2)?;
    let mut second = 0;
    let mut nanosecond = 0;
    let more = if compact {
        rest.0.first().is_some_and(u8::is_ascii_digit)
    } else {
        rest.seconds_follow()
    };
    if more {
        second = rest.number(2, 2)?;
        if rest.one_of(b".,").is_some() {
            nanosecond = rest.fraction();
        }
    }
    let time = Time::new(small(hour)?, small(minute)?, small(second)?, nanosecond).ok()?;
    while rest.one_of(b" ").is_some() {}
    let zone = zone(rest.0)?;
    Some(Stamp {
        local: date.to_datetime(time),
        zone,
    })
}

/// A calendar date that exists, from 1900 on.
pub(crate) fn date(year: u32, month: u32, day: u32) -> Option<Date> {
    let year = i16::try_from(year).ok().filter(|&year| year >= 1900)?;
    Date::new(year, small(month)?, small(day)?).ok()
}

/// A time of day that exists.
pub(crate) fn time(hour: u32, minute: u32, second: u32, millisecond: u32) -> Option<Time> {
    let nanosecond = i32::try_from(millisecond.checked_mul(1_000_000)?).ok()?;
    Time::new(small(hour)?, small(minute)?, small(second)?, nanosecond).ok()
}

fn small(number: u32) -> Option<i8> {
    i8::try_from(number).ok()
}

/// EXIF keeps fractions of a second in a tag of their own: digits after the point.
pub(crate) fn with_subsec(mut stamp: Stamp, subsec: &str) -> Stamp {
    let mut digits = Digits(subsec.trim().as_bytes());
    if digits.0.first().is_some_and(u8::is_ascii_digit) && stamp.local.subsec_nanosecond() == 0 {
        let nanosecond = digits.fraction();
        stamp.local = stamp
            .local
            .with()
            .subsec_nanosecond(nanosecond)
            .build()
            .unwrap_or(stamp.local);
    }
    stamp
}

/// `Z`, `±HH:MM`, `±HHMM`, `±HH`, or nothing; anything else is no date at all.
pub(crate) fn zone(text: &[u8]) -> Option<Zone> {
    let mut rest = Digits(text.trim_ascii());
    if rest.0.is_empty() || rest.0.iter().all(|&byte| byte == 0) {
        return Some(Zone::Unknown);
    }
    if rest.0.eq_ignore_ascii_case(b"Z") || rest.0.eq_ignore_ascii_case(b"UTC") {
        return Some(Zone::Utc);
    }
    let west = rest.one_of(b"+-")? == b'-';
    let hours = rest.number(1, 2)?;
    let minutes = match rest.one_of(b":") {
        None if rest.0.is_empty() => 0,
        _ => rest.number(2, 2)?,
    };
    // The last byte may be a NUL or a name such as DST.
    let minutes = i16::try_from(hours * 60 + minutes)
        .ok()
        .filter(|&total| minutes < 60 && total <= 14 * 60)?;
    Some(Zone::Offset(if west { -minutes } else { minutes }))
}

/// A cursor over digits and separators.
pub(crate) struct Digits<'a>(pub(crate) &'a [u8]);

impl Digits<'_> {
    /// A number of `least` to `most` digits.
    pub(crate) fn number(&mut self, least: usize, most: usize) -> Option<u32> {
        let count = self
            .0
            .iter()
            .take(most)
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        if count < least {
            return None;
        }
        let (digits, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(
            digits
                .iter()
                .fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0')),
        )
    }

    /// One byte out of a set.
    pub(crate) fn one_of(&mut self, set: &[u8]) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        if !set.contains(&first) {
            return None;
        }
        self.0 = rest;
        Some(first)
    }

    fn seconds_follow(&mut self) -> bool {
        let follow = matches!(self.0, [b':' | b'.' | b'-', a, b, ..] if a.is_ascii_digit() && b.is_ascii_digit())
            // `…T10:20-05:00` has no seconds.
            && !matches!(self.0, [b'-', _, _, b':', ..]);
        follow && self.one_of(b":.-").is_some()
    }

    /// Digits after a point, as nanoseconds, to the millisecond.
    fn fraction(&mut self) -> i32 {
        let count = self
            .0
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        let (digits, rest) = self.0.split_at(count);
        self.0 = rest;
        let digit = |at: usize| digits.get(at).map_or(0, |digit| i32::from(digit - b'0'));
        (digit(0) * 100 + digit(1) * 10 + digit(2)) * 1_000_000
    }
}

/// A location, where it is on the globe. Exactly 0, 0 is kept as read: it is likely no fix, but it is what the file says.
pub(crate) fn location(latitude: f64, longitude: f64) -> Option<Location> {
    let valid = latitude.abs() <= 90.0 && longitude.abs() <= 180.0;
    // Adding zero makes a negative zero a plain one.
    valid.then_some(Location {
        latitude: latitude + 0.0,
        longitude: longitude + 0.0,
    })
}

/// ISO 6709 as videos carry it: `+27.1281+100.2508+3245.145/`; degrees, or degrees and minutes (and seconds) run together.
pub(crate) fn iso6709(text: &str) -> Option<Location> {
    let text = text.trim();
    // What some writers put where they have no fix at all.
    if text.trim_end_matches('/') == "+00+000" {
        return None;
    }
    let mut parts = Vec::new();
    for (at, _) in text.match_indices(['+', '-']) {
        let rest = text.get(at + 1..)?;
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let value = rest.get(..end)?;
        let negative = text.as_bytes().get(at) == Some(&b'-');
        parts.push((negative, value));
    }
    let degrees = |part: &(bool, &str), whole: usize| -> Option<f64> {
        let integer = part.1.find('.').unwrap_or(part.1.len());
        let value: f64 = part.1.parse().ok()?;
        let value = match integer.checked_sub(whole) {
            None | Some(0 | 1) => value,
            Some(2) => {
                let degrees = (value / 100.0).trunc();
                degrees + (value - degrees * 100.0) / 60.0
            }
            Some(_) => {
                let degrees = (value / 10_000.0).trunc();
                let minutes = ((value - degrees * 10_000.0) / 100.0).trunc();
                degrees + minutes / 60.0 + (value - degrees * 10_000.0 - minutes * 100.0) / 3600.0
            }
        };
        Some(if part.0 { -value } else { value })
    };
    location(degrees(parts.first()?, 2)?, degrees(parts.get(1)?, 3)?)
}

/// Rationals as text, `43/1 28/1 2814/100`, to degrees.
pub(crate) fn rationals(text: &str) -> Option<f64> {
    let mut sum = 0.0;
    let mut scale = 1.0;
    let mut count = 0;
    for part in text.split_ascii_whitespace().take(3) {
        let (top, bottom) = part.split_once('/').unwrap_or((part, "1"));
        let (top, bottom): (f64, f64) = (top.parse().ok()?, bottom.parse().ok()?);
        // 0/0 stands for "no seconds given".
        if bottom != 0.0 {
            sum += top / bottom / scale;
        } else if count == 0 {
            return None;
        }
        scale *= 60.0;
        count += 1;
    }
    (count > 0 && f64::is_finite(sum)).then_some(sum)
}

/// An XMP coordinate: `44,38.77548N`, `44,38,46.5N`, or plain degrees with the hemisphere in a tag of its own.
pub(crate) fn xmp_degrees(text: &str, reference: Option<&str>) -> Option<f64> {
    let text = text.trim();
    let letter = text.chars().last().filter(char::is_ascii_alphabetic);
    let numbers = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    if numbers.contains('/') {
        let value = rationals(&numbers.replace(',', " "))?;
        return signed(value, letter, reference);
    }
    let mut sum = 0.0;
    let mut scale = 1.0;
    for part in numbers
        .split([',', ' '])
        .filter(|part| !part.is_empty())
        .take(3)
    {
        let value: f64 = part.parse().ok()?;
        sum += value / scale;
        scale *= 60.0;
    }
    (scale > 1.0 && f64::is_finite(sum)).then_some(())?;
    signed(sum, letter, reference)
}

fn signed(value: f64, letter: Option<char>, reference: Option<&str>) -> Option<f64> {
    let hemisphere = letter.or_else(|| reference?.trim().chars().next());
    match hemisphere.map(|letter| letter.to_ascii_uppercase()) {
        Some('S' | 'W') => Some(-value.abs()),
        Some('N' | 'E') | None => Some(value),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<(String, Zone)> {
        parse(text).map(|stamp| (stamp.local.to_string(), stamp.zone))
    }

    #[test]
    fn dates_are_read_in_every_form_cameras_write() {
        for (text, local, zone) in [
            ("2004:01:01 00:00:00", "2004-01-01T00:00:00", Zone::Unknown),
            (
                "2004:01:01 00:00:00\0",
                "2004-01-01T00:00:00",
                Zone::Unknown,
            ),
            (
                " 2011-07-19 11:36:38 ",
                "2011-07-19T11:36:38",
                Zone::Unknown,
            ),
            ("2012-07-05T03:18:27Z", "2012-07-05T03:18:27", Zone::Utc),
            (
                "2012-07-05T03:18:27.5-07:00",
                "2012-07-05T03:18:27.5",
                Zone::Offset(-420),
            ),
            (
                "2019-02-12T15:27:12+0800",
                "2019-02-12T15:27:12",
                Zone::Offset(480),
            ),
            ("2020-01-05T15:04Z", "2020-01-05T15:04:00", Zone::Utc),
            (
                "2020-01-05T15:04-05:00",
                "2020-01-05T15:04:00",
                Zone::Offset(-300),
            ),
            ("2003-08-31", "2003-08-31T00:00:00", Zone::Unknown),
            ("20030831T101112", "2003-08-31T10:11:12", Zone::Unknown),
            ("2003:08:31   :  :  ", "2003-08-31T00:00:00", Zone::Unknown),
            ("2016/09/12 10:05", "2016-09-12T10:05:00", Zone::Unknown),
        ] {
            assert_eq!(read(text), Some((local.to_owned(), zone)), "{text:?}");
        }
    }

    #[test]
    fn zeros_blanks_and_impossible_dates_are_no_dates() {
        for text in [
            "",
            "    :  :     :  :  ",
            "0000:00:00 00:00:00",
            "2010",
            "2010-05",
            "2023:02:30 10:00:00",
            "2023:13:01 10:00:00",
            "2023:01:01 25:00:00",
            "1899:12:31 10:00:00",
            "2023:01:01 10:61:00",
            "garbage",
            "2023:01:01 10:00:00 garbage",
        ] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_fraction_of_a_second_counts_from_the_point() {
        let stamp = parse("2020:01:02 03:04:05").unwrap();
        for (text, millis) in [
            ("68", 680),
            ("0532", 53),
            ("955677", 955),
            ("5", 500),
            ("  ", 0),
            ("x", 0),
            ("054 ", 54),
        ] {
            assert_eq!(
                with_subsec(stamp, text).local.millisecond(),
                millis,
                "{text}"
            );
        }
    }

    #[test]
    fn coordinates_are_read_in_every_form() {
        let near = |found: Option<f64>, wanted: f64| (found.unwrap() - wanted).abs() < 1e-5;
        assert!(near(rationals("43/1 28/1 2814/100"), 43.474_483));
        assert!(near(rationals("43/1 4259/100 0/0"), 43.709_833));
        assert!(near(rationals("4294967295/100000000 0/1 0/1"), 42.949_672));
        assert_eq!(rationals("0/0 0/0 0/0"), None);
        assert!(near(xmp_degrees("44,38.77548N", None), 44.646_258));
        assert!(near(xmp_degrees("63,34,10.98W", None), -63.569_717));
        assert!(near(xmp_degrees("63.569717", Some("W")), -63.569_717));
        assert!(near(xmp_degrees("-1.914167", None), -1.914_167));
        let at = iso6709("+27.1281+100.2508+3245.145/").unwrap();
        assert!(near(Some(at.latitude), 27.1281) && near(Some(at.longitude), 100.2508));
        let at = iso6709("-3326.93-07040.15/").unwrap();
        assert!(near(Some(at.latitude), -33.448_833) && near(Some(at.longitude), -70.669_167));
        let zero = Location {
            latitude: 0.0,
            longitude: 0.0,
        };
        assert_eq!(iso6709("+00.0000+000.0000/"), Some(zero), "kept as read");
        assert_eq!(iso6709("+00+000"), None);
        assert_eq!(iso6709("nonsense"), None);
        assert_eq!(location(213.64, 103.48), None);
    }
}
