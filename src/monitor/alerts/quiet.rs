//! Quiet hours by the local clock, also over midnight and on the days when that clock is put forward or back.

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use crate::config::alerts::QuietHours;

/// Whether `now` is within them.
///
/// Each begins and ends once: where the clock shows its end twice, at the first; where a time is skipped, as much later as the
/// clock jumps.
pub fn is_quiet(hours: QuietHours, now: Timestamp, zone: &TimeZone) -> bool {
    let today = zone.to_datetime(now).date();
    let yesterday = today.saturating_sub(1.day());
    [yesterday, today].into_iter().any(|day| {
        let last_day = if hours.from < hours.to {
            day
        } else {
            day.saturating_add(1.day())
        };
        let from = zone.to_timestamp(day.to_datetime(hours.from));
        let to = zone.to_timestamp(last_day.to_datetime(hours.to));
        match (from, to) {
            (Ok(from), Ok(to)) => (from..to).contains(&now),
            // At the ends of the calendar nothing is quiet.
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::time;

    fn quiet(hours: (i8, i8, i8, i8), zone: &str, now: &str) -> bool {
        let hours = QuietHours {
            from: time(hours.0, hours.1, 0, 0),
            to: time(hours.2, hours.3, 0, 0),
        };
        let zone = TimeZone::get(zone).expect("must be known");
        is_quiet(hours, now.parse().expect("must be a time"), &zone)
    }

    #[test]
    fn quiet_hours_span_midnight() {
        let at = |now| quiet((22, 0, 7, 0), "UTC", now);
        assert!(!at("2024-03-01T21:59:59Z"));
        assert!(at("2024-03-01T22:00:00Z"));
        assert!(at("2024-03-02T00:00:00Z"));
        assert!(at("2024-03-02T06:59:59Z"));
        assert!(!at("2024-03-02T07:00:00Z"));
    }

    #[test]
    fn quiet_hours_within_a_day_end_on_it() {
        let at = |now| quiet((12, 30, 14, 0), "UTC", now);
        assert!(!at("2024-03-01T12:29:00Z"));
        assert!(at("2024-03-01T13:00:00Z"));
        assert!(!at("2024-03-01T14:00:00Z"));
        assert!(!at("2024-03-02T00:00:00Z"));
    }

    #[test]
    fn they_are_by_the_local_clock_in_summer_and_winter() {
        let at = |now| quiet((22, 0, 7, 0), "Europe/Berlin", now);
        assert!(!at("2024-07-01T05:00:00Z"));
        assert!(at("2024-07-01T04:59:00Z"));
        assert!(!at("2024-01-15T06:00:00Z"));
        assert!(at("2024-01-15T05:59:00Z"));
    }

    #[test]
    fn an_end_that_the_clock_shows_twice_is_the_first() {
        // 2024-10-27: 02:00 to 03:00 comes twice, first at 00:00Z, then at 01:00Z.
        let at = |now| quiet((22, 0, 2, 30), "Europe/Berlin", now);
        assert!(at("2024-10-27T00:29:00Z"));
        assert!(!at("2024-10-27T00:30:00Z"));
        assert!(!at("2024-10-27T01:15:00Z"));
    }

    #[test]
    fn an_end_that_the_clock_skips_comes_all_the_same() {
        // 2024-03-31: 02:00 to 03:00 is skipped, at 01:00Z.
        let at = |now| quiet((22, 0, 2, 30), "Europe/Berlin", now);
        assert!(at("2024-03-31T01:00:00Z"));
        assert!(!at("2024-03-31T01:30:00Z"));
    }
}
