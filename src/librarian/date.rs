//! When a photo was taken: the rules, without I/O.
//!
//! The first valid date wins, by trust: the order of [`CapturedFrom`]. A date is valid from 1900 on and when it is no
//! container's zero; a guess, besides, when it is not more than a day after `now`. A board without a clock starts in the
//! past, so `now` is only believed from 2024 on.

mod from_name;

use std::ffi::OsStr;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::metadata::stamp::instant_on_zone;
use crate::asset::{CaptureTime, CapturedFrom};

pub use self::from_name::from_name;

/// 2024-01-01T00:00:00Z: a clock that shows less was never set.
const CLOCK_WAS_SET: i64 = 1_704_067_200;

/// The capture time that is trusted most, out of the dates of a file and its sidecars (the file's own first), its
/// name, and its modification time.
pub fn capture_time(
    dates: &[CaptureTime],
    name: &OsStr,
    mtime: Timestamp,
    now: Timestamp,
    zone: &TimeZone,
) -> CaptureTime {
    dates
        .iter()
        .copied()
        .chain(from_name(name, zone))
        .filter(|date| is_plausible(date, now, zone))
        // The first of equals: the file's own before its sidecar's.
        .min_by_key(|date| date.from)
        .unwrap_or_else(|| instant_on_zone(mtime, CapturedFrom::Mtime, zone))
}

/// A tag is believed whatever the appliance's clock says, which may never have been set. A guess from a name that lies in
/// the future is a counter or an id that looks like a date.
fn is_plausible(date: &CaptureTime, now: Timestamp, zone: &TimeZone) -> bool {
    if date.local.year() < 1900 {
        return false;
    }
    if !date.from.is_guess() || now.as_second() < CLOCK_WAS_SET {
        return true;
    }
    let latest = now
        .saturating_add(SignedDuration::from_hours(24))
        .unwrap_or(Timestamp::MAX);
    let instant = date.local.to_zoned(zone.clone());
    instant.is_ok_and(|zoned| zoned.timestamp() <= latest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::datetime;

    fn dated(year: i16, from: CapturedFrom) -> CaptureTime {
        CaptureTime {
            local: datetime(year, 5, 6, 7, 8, 9, 0),
            offset_minutes: None,
            from,
        }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn the_most_trusted_valid_date_wins_and_guesses_come_last() {
        use CapturedFrom::{
            ExifDateTimeOriginal, FileName, ModifyDate, Mtime, TakeoutPhotoTakenTime,
        };
        let now = at("2024-06-01T00:00:00Z");
        let mtime = at("2022-01-01T00:00:00Z");
        let pick = |dates: &[CaptureTime], name: &str| {
            capture_time(dates, OsStr::new(name), mtime, now, &TimeZone::UTC)
        };
        let all = [
            dated(2001, ModifyDate),
            dated(2002, TakeoutPhotoTakenTime),
            dated(2003, ExifDateTimeOriginal),
        ];
        assert_eq!(pick(&all, "20200101_000000.jpg"), all[2]);
        assert_eq!(pick(&all[..2], "20200101_000000.jpg"), all[1]);
        assert_eq!(pick(&all[..1], "20200101_000000.jpg").from, FileName);
        assert_eq!(pick(&all[..1], "IMG_0001.jpg"), all[0]);
        assert_eq!(pick(&[], "IMG_0001.jpg").from, Mtime);
        // Two of the same trust: the file's own, named first.
        let own = dated(1999, ExifDateTimeOriginal);
        assert_eq!(pick(&[own, all[2]], "a.jpg"), own);
        // A tag is believed even where our clock says otherwise; the time before photography is refused.
        let future = [dated(2031, ExifDateTimeOriginal), all[0]];
        assert_eq!(pick(&future, "a.jpg"), future[0]);
        assert_eq!(
            pick(&[dated(1850, ExifDateTimeOriginal)], "a.jpg").from,
            Mtime
        );
        assert_eq!(pick(&[], "20991231_101010.jpg").from, Mtime);
    }

    #[test]
    fn a_clock_that_was_never_set_refuses_no_date() {
        let now = at("1970-01-01T00:05:00Z");
        let own = dated(2024, CapturedFrom::ExifDateTimeOriginal);
        let found = capture_time(&[own], OsStr::new("a.jpg"), now, now, &TimeZone::UTC);
        assert_eq!(found, own);
    }
}
