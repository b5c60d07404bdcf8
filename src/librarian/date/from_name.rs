//! The date that a file's name tells: a hand-written matcher over the digits of the name.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{Offset, TimeZone};

use crate::asset::{CaptureTime, CapturedFrom, split_name};
use crate::librarian::metadata::stamp::{self, Digits, instant_on_zone};

/// 2005-01-01T00:00:00Z: no phone wrote a name in epoch milliseconds before.
const FIRST_EPOCH_NAME: i64 = 1_104_537_600;
/// 2040-01-01T00:00:00Z: larger 13-digit numbers are bar codes.
const LAST_EPOCH_NAME: i64 = 2_208_988_800;

/// The date a file's name tells, if it tells one.
///
/// Names with a time: cameras' `20240131_123456[789]`, people's `2024-01-31 12.34.56` in its many forms, Google's
/// bursts, epoch milliseconds behind the words that apps put before them. Names with a day only: `WhatsApp`'s, and dates at
/// the beginning of a name. Pixel (`PXL_`) and `OneDrive` (`_iOS`) names are UTC. Digits that merely look like a
/// date are left alone: numbers inside longer numbers, hexadecimal ids, impossible days and times.
pub fn from_name(name: &OsStr, zone: &TimeZone) -> Option<CaptureTime> {
    let (stem, _) = split_name(name);
    let stem = stem.as_bytes();
    let mut at = 0;
    while let Some(&byte) = stem.get(at) {
        if !byte.is_ascii_digit() {
            at += 1;
            continue;
        }
        let (before, rest) = stem.split_at(at);
        let run = digits(rest);
        match at_digits(before, rest, run, zone) {
            Found::Date(date) => return Some(date),
            Found::Refuse => return None,
            Found::Nothing => at += run,
        }
    }
    None
}

enum Found {
    Date(CaptureTime),
    /// Shaped like a date and impossible: the rest of the name is not searched for a better one.
    Refuse,
    Nothing,
}

impl From<Option<CaptureTime>> for Found {
    fn from(date: Option<CaptureTime>) -> Self {
        date.map_or(Self::Refuse, Self::Date)
    }
}

fn digits(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

fn number(text: &[u8], from: usize, count: usize) -> Option<u32> {
    let digits = text.get(from..from + count)?;
    Digits(digits).number(count, count)
}

fn at_digits(before: &[u8], rest: &[u8], run: usize, zone: &TimeZone) -> Found {
    let after = rest.get(run..).unwrap_or_default();
    match run {
        8 => compact_day(before, rest, zone),
        // YYYYMMDDHHMMSS, with milliseconds: Google's bursts and some cameras.
        14 | 17 if may_precede(before) && ends(after) => {
            let Some(day) = day(rest) else {
                return Found::Nothing;
            };
            let millis = if run == 17 {
                number(rest, 14, 3)
            } else {
                Some(0)
            };
            clock(rest, 8)
                .zip(millis)
                .and_then(|((h, m, s), ms)| {
                    at_time(before, after, day, stamp::time(h, m, s, ms)?, zone)
                })
                .map_or(Found::Nothing, Found::Date)
        }
        13 if ends(after) => epoch(before, rest, zone).map_or(Found::Nothing, Found::Date),
        4 => separated_day(before, rest, zone),
        2 if before.ends_with(b"@") => telegram(rest),
        _ => Found::Nothing,
    }
}

/// What may stand before the digits of a date: nothing, something that is no letter or digit, or one of the words
/// that cameras put there. In an id or a hash, letters touch the digits.
fn may_precede(before: &[u8]) -> bool {
    let Some(last) = before.last() else {
        return true;
    };
    if !last.is_ascii_alphanumeric() {
        return true;
    }
    word_before(
        before,
        &[
            "burst",
            "img",
            "vid",
            "pxl",
            "pano",
            "mvimg",
            "screenshot",
            "wp",
            "dsc",
            "photo",
            "video",
        ],
    )
}

fn word_before(before: &[u8], words: &[&str]) -> bool {
    let text = before.to_ascii_lowercase();
    words.iter().any(|word| text.ends_with(word.as_bytes()))
}

/// Nothing that would make the digits part of a longer word.
fn ends(after: &[u8]) -> bool {
    after
        .first()
        .is_none_or(|byte| !byte.is_ascii_alphanumeric())
}

/// YYYYMMDD at the beginning of the digits: a day from the time of digital cameras.
fn day(text: &[u8]) -> Option<Date> {
    let year = number(text, 0, 4).filter(|year| (1990..2100).contains(year))?;
    stamp::date(year, number(text, 4, 2)?, number(text, 6, 2)?)
}

/// HHMMSS.
fn clock(text: &[u8], from: usize) -> Option<(u32, u32, u32)> {
    Some((
        number(text, from, 2)?,
        number(text, from + 2, 2)?,
        number(text, from + 4, 2)?,
    ))
}

/// A local time, or, where the name's maker writes UTC, an instant put on the appliance's zone.
fn at_time(
    before: &[u8],
    after: &[u8],
    day: Date,
    time: Time,
    zone: &TimeZone,
) -> Option<CaptureTime> {
    let local = day.to_datetime(time);
    let utc = word_before(before, &["pxl_", "pxl"]) && before.len() <= 4
        || after
            .get(..4)
            .is_some_and(|tail| tail.eq_ignore_ascii_case(b"_iOS"));
    if utc {
        let instant = Offset::UTC.to_timestamp(local).ok()?;
        return Some(instant_on_zone(instant, CapturedFrom::FileName, zone));
    }
    Some(wall_clock(local))
}

fn wall_clock(local: DateTime) -> CaptureTime {
    CaptureTime {
        local,
        offset_minutes: None,
        from: CapturedFrom::FileName,
    }
}

/// `YYYYMMDD`, then a time or nothing.
fn compact_day(before: &[u8], rest: &[u8], zone: &TimeZone) -> Found {
    if !may_precede(before) {
        return Found::Nothing;
    }
    let after = rest.get(8..).unwrap_or_default();
    let separator = after
        .first()
        .copied()
        .filter(|byte| matches!(byte, b'_' | b'-' | b' ' | b'T' | b'.'));
    let tail = after.get(1..).unwrap_or_default();
    let run = digits(tail);
    let behind = tail.get(run..).unwrap_or_default();
    if separator.is_some() && matches!(run, 6 | 9) {
        // The shape is a camera's: what is impossible in it is a trap, and no other part of the name is better.
        let millis = if run == 9 {
            number(tail, 6, 3)
        } else {
            Some(0)
        };
        let date = day(rest)
            .zip(clock(tail, 0))
            .zip(millis)
            .and_then(|((day, (h, m, s)), ms)| {
                at_time(before, behind, day, stamp::time(h, m, s, ms)?, zone)
            });
        return date.into();
    }
    let Some(day) = day(rest) else {
        return Found::Nothing;
    };
    if separator.is_some() && run == 2 {
        // Windows phones: 20130102_10_11_12.
        let parts = (number(tail, 0, 2), number(tail, 3, 2), number(tail, 6, 2));
        let marks = tail.get(2) == Some(&b'_') && tail.get(5) == Some(&b'_');
        if let (true, (Some(h), Some(m), Some(s))) = (marks, parts)
            && let Some(time) = stamp::time(h, m, s, 0)
        {
            return Found::Date(wall_clock(day.to_datetime(time)));
        }
    }
    let date_only = Found::Date(wall_clock(day.to_datetime(Time::midnight())));
    // WhatsApp: the number only keeps the order.
    if after
        .get(..3)
        .is_some_and(|tail| tail.eq_ignore_ascii_case(b"-WA"))
    {
        return date_only;
    }
    // Elsewhere a bare day counts at the beginning of a name or behind a camera's word, and not when an id goes on.
    let opens = before.is_empty()
        || word_before(
            before,
            &[
                "img_",
                "img-",
                "vid_",
                "vid-",
                "wp_",
                "pxl_",
                "pano_",
                "mvimg_",
                "screenshot_",
                "photo_",
                "video_",
            ],
        );
    let goes_on = separator.is_some() && run > 4 || is_hex_group(after) || !ends(after);
    if opens && !goes_on {
        date_only
    } else {
        Found::Nothing
    }
}

/// `-3045-`: the second group of a UUID.
fn is_hex_group(after: &[u8]) -> bool {
    after.first() == Some(&b'-')
        && after.get(5) == Some(&b'-')
        && after
            .get(1..5)
            .is_some_and(|group| group.iter().all(u8::is_ascii_hexdigit))
}

/// `YYYY-MM-DD` (also with `.` or `_`), then a time or nothing.
fn separated_day(before: &[u8], rest: &[u8], zone: &TimeZone) -> Found {
    let mark = rest
        .get(4)
        .copied()
        .filter(|byte| matches!(byte, b'-' | b'.' | b'_'));
    let shaped = mark.is_some() && rest.get(7).copied() == mark;
    let parts = (number(rest, 0, 4), number(rest, 5, 2), number(rest, 8, 2));
    let (true, (Some(year), Some(month), Some(day))) = (shaped, parts) else {
        return Found::Nothing;
    };
    if before.last().is_some_and(u8::is_ascii_alphanumeric) && !may_precede(before) {
        return Found::Nothing;
    }
    let after = rest.get(10..).unwrap_or_default();
    if after.first().is_some_and(u8::is_ascii_digit) {
        return Found::Nothing;
    }
    let Some(day) = stamp::date(year, month, day) else {
        return Found::Refuse;
    };
    match time_of_day(after) {
        TimeOfDay::Is(time, behind) => at_time(before, behind, day, time, zone).into(),
        TimeOfDay::Impossible => Found::Refuse,
        TimeOfDay::None => Found::Date(wall_clock(day.to_datetime(Time::midnight()))),
    }
}

enum TimeOfDay<'a> {
    Is(Time, &'a [u8]),
    Impossible,
    None,
}

/// What follows a separated day: ` 12.34.56`, ` at 1.34.56 PM`, `_12-34-56-789`, `-123456789`, `T12:34:56`.
fn time_of_day(after: &[u8]) -> TimeOfDay<'_> {
    let blanks = after
        .iter()
        .take_while(|byte| matches!(byte, b' ' | b'_' | b'-' | b'T' | b','))
        .count();
    let mut text = after.get(blanks..).unwrap_or_default();
    if let Some(tail) = text
        .get(..2)
        .filter(|word| word.eq_ignore_ascii_case(b"at"))
        .and_then(|_| text.get(2..))
    {
        let blanks = tail
            .iter()
            .take_while(|byte| matches!(byte, b' ' | b'_' | b'-'))
            .count();
        if blanks > 0 {
            text = tail.get(blanks..).unwrap_or_default();
        }
    } else if blanks == 0 || blanks > 3 {
        return TimeOfDay::None;
    }
    let run = digits(text);
    if matches!(run, 6 | 9) {
        let millis = if run == 9 {
            number(text, 6, 3)
        } else {
            Some(0)
        };
        let time = clock(text, 0)
            .zip(millis)
            .and_then(|((h, m, s), ms)| stamp::time(h, m, s, ms));
        return time.map_or(TimeOfDay::Impossible, |time| {
            TimeOfDay::Is(time, text.get(run..).unwrap_or_default())
        });
    }
    if !matches!(run, 1 | 2) {
        return TimeOfDay::None;
    }
    let mut rest = Digits(text);
    let hour = rest.number(1, 2);
    let Some(mark) = rest.one_of(b"-.:_") else {
        return TimeOfDay::None;
    };
    let minute = rest.number(2, 2);
    let second = rest.one_of(&[mark]).and_then(|_| rest.number(2, 2));
    let (Some(hour), Some(minute), Some(second)) = (hour, minute, second) else {
        return TimeOfDay::None;
    };
    if rest.0.first().is_some_and(u8::is_ascii_digit) {
        return TimeOfDay::None;
    }
    let mut millis = 0;
    if let Some(digit) = rest.0.get(1..).map(digits)
        && digit == 3
        && rest
            .0
            .first()
            .is_some_and(|&byte| byte == mark || byte == b'.')
    {
        millis = number(rest.0, 1, 3).unwrap_or(0);
        rest.0 = rest.0.get(4..).unwrap_or_default();
    }
    match twelve_hours(hour, rest.0).and_then(|hour| stamp::time(hour, minute, second, millis)) {
        Some(time) => TimeOfDay::Is(time, rest.0),
        None => TimeOfDay::Impossible,
    }
}

/// Applies `AM` or `PM`, where one follows after a blank (newer macOS writes a narrow no-break one).
fn twelve_hours(hour: u32, after: &[u8]) -> Option<u32> {
    let text = after
        .strip_prefix(b" ")
        .or_else(|| after.strip_prefix("\u{202f}".as_bytes()))
        .unwrap_or(after);
    let half = text.get(..2).map(<[u8]>::to_ascii_uppercase);
    match half.as_deref() {
        Some(b"AM") if (1..=12).contains(&hour) => Some(hour % 12),
        Some(b"PM") if (1..=12).contains(&hour) => Some(hour % 12 + 12),
        Some(b"AM" | b"PM") => None,
        _ => Some(hour),
    }
}

/// Telegram's desktop export: `photo_1@31-01-2024_12-34-56`.
fn telegram(rest: &[u8]) -> Found {
    let parts = (number(rest, 0, 2), number(rest, 3, 2), number(rest, 6, 4));
    let (Some(b'-'), Some(b'-'), (Some(day), Some(month), Some(year))) =
        (rest.get(2), rest.get(5), parts)
    else {
        return Found::Nothing;
    };
    let Some(day) = stamp::date(year, month, day) else {
        return Found::Refuse;
    };
    match time_of_day(rest.get(10..).unwrap_or_default()) {
        TimeOfDay::Is(time, _) => Found::Date(wall_clock(day.to_datetime(time))),
        TimeOfDay::Impossible => Found::Refuse,
        TimeOfDay::None => Found::Date(wall_clock(day.to_datetime(Time::midnight()))),
    }
}

/// Milliseconds since 1970, as the whole name or behind an app's word; other long numbers are ids.
fn epoch(before: &[u8], rest: &[u8], zone: &TimeZone) -> Option<CaptureTime> {
    let known = before.is_empty()
        || word_before(
            before,
            &[
                "fb_img_",
                "img_",
                "img-",
                "vid_",
                "video_",
                "mmexport",
                "wx_camera_",
                "microsoft_",
                "screenshot_",
                "photo_",
                "image_",
                "pic_",
                "picsart_",
                "snapchat-",
            ],
        );
    if !known {
        return None;
    }
    let millis = rest
        .get(..13)?
        .iter()
        .fold(0_i64, |sum, digit| sum * 10 + i64::from(digit - b'0'));
    let instant = Timestamp::from_millisecond(millis).ok()?;
    let sane = instant.as_second() >= FIRST_EPOCH_NAME && instant.as_second() < LAST_EPOCH_NAME;
    sane.then(|| instant_on_zone(instant, CapturedFrom::FileName, zone))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, zone: &TimeZone) -> Option<String> {
        from_name(OsStr::new(name), zone).map(|date| date.local_text())
    }

    #[test]
    fn names_that_tell_a_date_are_read() {
        for (name, wanted) in [
            ("IMG_20140102_030405.jpg", "2014-01-02T03:04:05"),
            ("20160817_101530.jpg", "2016-08-17T10:15:30"),
            ("20160817_101530(0).jpg", "2016-08-17T10:15:30"),
            ("20160817_101530_001.jpg", "2016-08-17T10:15:30"),
            ("IMG_20220327_023015_HDR.jpg", "2022-03-27T02:30:15"),
            ("VID_20240131_123456789.mp4", "2024-01-31T12:34:56.789"),
            ("Screenshot_20220103-184512.png", "2022-01-03T18:45:12"),
            (
                "Screenshot_20220103_184512_Chrome.jpg",
                "2022-01-03T18:45:12",
            ),
            ("Screenshot_2024-01-31-12-34-56.png", "2024-01-31T12:34:56"),
            (
                "Screenshot_2024-01-31-12-34-56-789_com.app.jpg",
                "2024-01-31T12:34:56.789",
            ),
            (
                "Screen Shot 2024-01-31 at 12.34.56.png",
                "2024-01-31T12:34:56",
            ),
            (
                "Screen Shot 2024-01-31 at 1.34.56 PM.png",
                "2024-01-31T13:34:56",
            ),
            (
                "Screenshot 2024-01-31 at 12.34.56\u{202f}AM.png",
                "2024-01-31T00:34:56",
            ),
            (
                "WhatsApp Image 2023-06-01 at 14.03.22.jpeg",
                "2023-06-01T14:03:22",
            ),
            (
                "WhatsApp Image 2023-06-01 at 14.03.22 (1).jpeg",
                "2023-06-01T14:03:22",
            ),
            ("IMG-20190712-WA0007.jpg", "2019-07-12T00:00:00"),
            ("VID-20200405-WA0003.mp4", "2020-04-05T00:00:00"),
            ("signal-2021-03-04-120506.jpeg", "2021-03-04T12:05:06"),
            ("signal-2021-03-04-120506_002.jpeg", "2021-03-04T12:05:06"),
            (
                "signal-2021-03-04-12-05-06-123.jpg",
                "2021-03-04T12:05:06.123",
            ),
            ("photo_2021-09-12_18-33-20.jpg", "2021-09-12T18:33:20"),
            ("photo_1@31-01-2024_12-34-56.jpg", "2024-01-31T12:34:56"),
            ("2019-07-12 10.45.52.jpg", "2019-07-12T10:45:52"),
            ("2019-07-12 10.45.52-1.jpg", "2019-07-12T10:45:52"),
            ("2019-07-12T10:45:52.jpg", "2019-07-12T10:45:52"),
            ("2019-07-12 birthday.jpg", "2019-07-12T00:00:00"),
            ("1985-06-01 wedding scan.jpg", "1985-06-01T00:00:00"),
            (
                "00100lrPORTRAIT_00100_BURST20181224173015123_COVER.jpg",
                "2018-12-24T17:30:15.123",
            ),
            ("WP_20130102_10_11_12_Pro.jpg", "2013-01-02T10:11:12"),
            ("微信图片_20240131123456.jpg", "2024-01-31T12:34:56"),
            ("WP_20130102_001.jpg", "2013-01-02T00:00:00"),
            ("20190712.jpg", "2019-07-12T00:00:00"),
            ("FB_IMG_1476543210987.jpg", "2016-10-15T14:53:30.987"),
            ("mmexport1476543210987.jpg", "2016-10-15T14:53:30.987"),
        ] {
            assert_eq!(
                named(name, &TimeZone::UTC).as_deref(),
                Some(wanted),
                "{name}"
            );
        }
    }

    #[test]
    fn numbers_that_merely_look_like_dates_are_left_alone() {
        for name in [
            "20240230_101500.jpg",
            "IMG_20191345_256199.jpg",
            "IMG_0001.jpg",
            "DSC01234.jpg",
            "invoice 20991231 scan.jpg",
            "20190712-3045-4abc-8def-001122334455.jpg",
            "a20190712b.jpg",
            "deadbeef20190712030405ab.jpg",
            "4006381333931.jpg",
            "received_1476543210987123.jpeg",
            "159d9172-2a1e-4d95-aef1-b5133549927b.jpg",
            "120190712_101530.jpg",
            "2019-02-30 10.45.52.jpg",
            "2019-07-12 25.99.10.jpg",
            "IMG_20190712_256199.jpg",
            "order 1476543210987.jpg",
            "5f20190712_101530.jpg",
            "P1010123.jpg",
            "100_0306.AVI",
            "20201.jpg",
        ] {
            assert_eq!(named(name, &TimeZone::UTC), None, "{name}");
        }
    }

    #[test]
    fn pixel_and_onedrive_names_are_utc_and_put_on_the_appliances_zone() {
        let zone = TimeZone::fixed(Offset::from_hours(2).unwrap());
        for (name, wanted) in [
            ("PXL_20210815_231512345.jpg", "2021-08-16T01:15:12.345"),
            ("PXL_20231006_063909898.LS.mp4", "2023-10-06T08:39:09.898"),
            ("20151019_024212000_iOS.jpg", "2015-10-19T04:42:12"),
            ("FB_IMG_1476543210987.jpg", "2016-10-15T16:53:30.987"),
            ("IMG_20210815_231512.jpg", "2021-08-15T23:15:12"),
        ] {
            assert_eq!(named(name, &zone).as_deref(), Some(wanted), "{name}");
        }
        let pixel = from_name(OsStr::new("PXL_20210815_231512345.jpg"), &zone).unwrap();
        assert_eq!(pixel.offset_minutes, Some(120));
    }
}
