//! Roll-ups: how long a service was up, degraded or down within an hour or a day, and how fast it answered. What is not
//! accounted for is unknown: the appliance was off, or had not heard of the service.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::service::{Service, Status};

/// Bytes of a stored roll-up: version, three times in milliseconds, answers, their sum, least and most in milliseconds.
pub(super) const STORED: usize = 1 + 7 * 4;

const VERSION: u8 = 1;

/// What is known of one service within one hour or day.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rollup {
    /// How long it worked.
    pub up: Duration,
    /// How long it worked, but not as it should.
    pub degraded: Duration,
    /// How long it did not work, or was stuck.
    pub down: Duration,
    /// How many answers were timed.
    pub answers: u32,
    /// The sum of the times they took.
    pub took: Duration,
    /// The fastest.
    pub fastest: Duration,
    /// The slowest.
    pub slowest: Duration,
}

impl Rollup {
    /// Adds what another one knows.
    pub fn add(&mut self, other: &Self) {
        self.up += other.up;
        self.degraded += other.degraded;
        self.down += other.down;
        if other.answers > 0 {
            self.fastest = match self.answers {
                0 => other.fastest,
                _ => self.fastest.min(other.fastest),
            };
            self.slowest = self.slowest.max(other.slowest);
            self.answers += other.answers;
            self.took += other.took;
        }
    }

    /// Takes away what was added before. The fastest and slowest answer stay what they are: which they were is not known.
    pub(super) fn subtract(&mut self, other: &Self) {
        self.up = self.up.saturating_sub(other.up);
        self.degraded = self.degraded.saturating_sub(other.degraded);
        self.down = self.down.saturating_sub(other.down);
        self.answers = self.answers.saturating_sub(other.answers);
        self.took = self.took.saturating_sub(other.took);
    }

    /// What of so much time nothing is known.
    pub fn unknown_of(&self, whole: Duration) -> Duration {
        whole.saturating_sub(self.up + self.degraded + self.down)
    }

    /// The mean of the answers.
    pub fn mean(&self) -> Option<Duration> {
        (self.answers > 0).then(|| self.took / self.answers)
    }

    fn note(&mut self, status: &Status, time: Duration) {
        match status {
            Status::Up => self.up += time,
            Status::Degraded(_) => self.degraded += time,
            Status::Stuck(_) | Status::Down(_) => self.down += time,
            Status::Stopped | Status::Unknown(_) => {}
        }
    }

    fn note_answer(&mut self, took: Duration) {
        self.add(&Self {
            answers: 1,
            took,
            fastest: took,
            slowest: took,
            ..Self::default()
        });
    }

    /// The stored form.
    pub(super) fn record(&self) -> [u8; STORED] {
        let millis = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        let fields = [
            millis(self.up),
            millis(self.degraded),
            millis(self.down),
            self.answers,
            millis(self.took),
            millis(self.fastest),
            millis(self.slowest),
        ];
        let mut record = [VERSION; STORED];
        for (place, field) in record[1..].chunks_exact_mut(4).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        record
    }

    /// Reads the stored form; `None` where it is damaged or of a later version.
    pub(super) fn parsed(record: &[u8]) -> Option<Self> {
        let (&[version], fields) = record.split_first_chunk::<1>()?;
        if version != VERSION || record.len() != STORED {
            return None;
        }
        let mut fields = fields
            .chunks_exact(4)
            .filter_map(|field| field.try_into().ok().map(u32::from_le_bytes));
        let mut next = || fields.next();
        let millis = |field: u32| Duration::from_millis(u64::from(field));
        Some(Self {
            up: millis(next()?),
            degraded: millis(next()?),
            down: millis(next()?),
            answers: next()?,
            took: millis(next()?),
            fastest: millis(next()?),
            slowest: millis(next()?),
        })
    }
}

/// Hours since 1970, UTC.
pub(super) type Hour = i64;

/// Days since 1970-01-01, by the local calendar.
pub(super) type Day = i64;

/// The hour of a time.
pub(super) fn hour_of(at: Timestamp) -> Hour {
    at.as_second().div_euclid(3600)
}

/// The local day of an hour: that of its beginning.
pub(super) fn day_of(hour: Hour, zone: &TimeZone) -> Day {
    let at = Timestamp::from_second(hour.saturating_mul(3600)).unwrap_or_default();
    day_number(at.to_zoned(zone.clone()).date())
}

/// The number of a calendar day.
pub(super) fn day_number(date: jiff::civil::Date) -> Day {
    let epoch = jiff::civil::date(1970, 1, 1);
    date.duration_since(epoch).as_hours() / 24
}

/// The calendar day of a number.
pub(super) fn date_of(day: Day) -> jiff::civil::Date {
    let epoch = jiff::civil::date(1970, 1, 1);
    epoch
        .checked_add(jiff::SignedDuration::from_hours(day.saturating_mul(24)))
        .unwrap_or(epoch)
}

/// Roll-ups by hour, or by day, and service.
pub(super) type Rollups = BTreeMap<(i64, Service), Rollup>;

/// What came to be known and is not written yet, per service and hour.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Accounts(pub(super) Rollups);

impl Accounts {
    /// Notes that a service had a status for so long before `until`.
    pub(super) fn note(
        &mut self,
        service: &Service,
        status: &Status,
        until: Timestamp,
        time: Duration,
    ) {
        let until = until.as_millisecond();
        let mut left = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        let mut end = until;
        while left > 0 {
            // The hour that ends at `end`, or that `end` lies in.
            let hour = (end - 1).div_euclid(3_600_000);
            let within = (end - hour * 3_600_000).min(left);
            let time = Duration::from_millis(within.unsigned_abs());
            self.of(service, hour).note(status, time);
            left -= within;
            end -= within;
        }
    }

    /// Notes how long a service took to answer.
    pub(super) fn note_answer(&mut self, service: &Service, at: Timestamp, took: Duration) {
        self.of(service, hour_of(at)).note_answer(took);
    }

    /// Adds all of another one.
    pub(super) fn add(&mut self, other: &Self) {
        for ((hour, service), rollup) in &other.0 {
            self.of(service, *hour).add(rollup);
        }
    }

    fn of(&mut self, service: &Service, hour: Hour) -> &mut Rollup {
        self.0.entry((hour, service.clone())).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).expect("in range")
    }

    #[test]
    fn time_is_spread_over_the_hours_it_fell_in() {
        let mut accounts = Accounts::default();
        let librarian = Service::LIBRARIAN;
        accounts.note(
            &librarian,
            &Status::Up,
            at(7_200 + 600),
            Duration::from_secs(4_500),
        );
        accounts.note(
            &librarian,
            &Status::Down("gone".to_owned()),
            at(7_200 + 900),
            Duration::from_secs(300),
        );
        let of = |hour| accounts.0[&(hour, librarian.clone())];
        assert_eq!(of(0).up, Duration::from_secs(300));
        assert_eq!(of(1).up, Duration::from_secs(3_600));
        assert_eq!(of(2).up, Duration::from_secs(600));
        assert_eq!(of(2).down, Duration::from_secs(300));
        assert_eq!(
            of(2).unknown_of(Duration::from_secs(3_600)),
            Duration::from_secs(2_700)
        );
    }

    #[test]
    fn answers_have_a_fastest_a_mean_and_a_slowest_and_come_back_from_the_stored_form() {
        let mut rollup = Rollup::default();
        assert_eq!(rollup.mean(), None);
        for took in [30, 10, 20] {
            rollup.note_answer(Duration::from_millis(took));
        }
        rollup.note(&Status::Degraded(String::new()), Duration::from_secs(5));
        assert_eq!(rollup.fastest, Duration::from_millis(10));
        assert_eq!(rollup.slowest, Duration::from_millis(30));
        assert_eq!(rollup.mean(), Some(Duration::from_millis(20)));
        let record = rollup.record();
        assert_eq!(Rollup::parsed(&record), Some(rollup));
        assert_eq!(Rollup::parsed(&record[1..]), None);
        assert_eq!(Rollup::parsed(&[]), None);
        let mut twice = rollup;
        twice.add(&rollup);
        twice.subtract(&rollup);
        assert_eq!(twice, rollup);
    }

    #[test]
    fn a_day_is_a_day_of_the_local_calendar() {
        let zone = TimeZone::get("Europe/Berlin").expect("a zone of the system");
        let evening = "2026-11-25T23:30:00Z".parse().expect("a time");
        let day = day_of(hour_of(evening), &zone);
        assert_eq!(date_of(day), jiff::civil::date(2026, 11, 26));
        assert_eq!(day_number(date_of(day)), day);
        assert_eq!(date_of(-1), jiff::civil::date(1969, 12, 31));
    }
}
