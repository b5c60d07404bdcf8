//! The phones: what each brought last. A phone is a folder in the inbox, by the custom of sharing one for each; what lies in the inbox
//! itself is a phone without a name.

use std::path::Path;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::rollup::{Day, date_of, day_number};
use crate::asset::lossy;

/// Phones remembered at most; of more, the longest silent are forgotten.
const PHONES: usize = 32;

/// A phone that has brought photos on fewer days is a folder that somebody copied, and may be quiet.
const REGULAR_DAYS: u32 = 3;

/// The name of what lies in the inbox itself.
const INBOX: &str = "the inbox";

/// Bytes of a name at most.
const NAME_LIMIT: usize = 100;

/// What a phone brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Phone {
    /// When its last photo came.
    pub last: Timestamp,
    /// On how many days photos came.
    pub days: u32,
    /// The last of these days.
    pub(super) last_day: Day,
}

impl Phone {
    /// For how many days it has been quiet, if it is a regular one and these are at least so many.
    pub fn quiet_days(&self, at_least: u32, now: Timestamp) -> Option<i64> {
        let days = now.duration_since(self.last).as_hours() / 24;
        (self.days >= REGULAR_DAYS && days >= i64::from(at_least)).then_some(days)
    }

    /// The stored form: a time, a day, a count.
    pub(super) fn record(&self) -> [u8; 20] {
        let mut record = [0; 20];
        record[..8].copy_from_slice(&self.last.as_millisecond().to_le_bytes());
        record[8..16].copy_from_slice(&self.last_day.to_le_bytes());
        record[16..].copy_from_slice(&self.days.to_le_bytes());
        record
    }

    /// Reads the stored form; `None` where it is damaged.
    pub(super) fn parsed(record: &[u8]) -> Option<Self> {
        let (last, rest) = record.split_first_chunk::<8>()?;
        let (last_day, rest) = rest.split_first_chunk::<8>()?;
        let days = rest.first_chunk::<4>()?;
        Some(Self {
            last: Timestamp::from_millisecond(i64::from_le_bytes(*last)).ok()?,
            last_day: Day::from_le_bytes(*last_day),
            days: u32::from_le_bytes(*days),
        })
    }
}

/// All phones, by name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Phones(pub(super) Vec<(String, Phone)>);

impl Phones {
    /// A photo came from this place in the inbox.
    pub(super) fn note(&mut self, inbox_path: &Path, at: Timestamp, zone: &TimeZone) {
        let name = name_of(inbox_path);
        let day = day_number(at.to_zoned(zone.clone()).date());
        let place = match self.0.binary_search_by(|(known, _)| known.cmp(&name)) {
            Ok(place) => place,
            Err(place) => {
                let phone = Phone {
                    last: at,
                    days: 0,
                    last_day: day - 1,
                };
                self.0.insert(place, (name, phone));
                place
            }
        };
        let phone = &mut self.0[place].1;
        phone.last = phone.last.max(at);
        if day != phone.last_day {
            phone.days = phone.days.saturating_add(1);
            phone.last_day = day;
        }
        if self.0.len() > PHONES {
            let longest = self.0.iter().map(|(_, phone)| phone.last).min();
            self.0.retain(|(_, phone)| Some(phone.last) != longest);
        }
    }
}

fn name_of(inbox_path: &Path) -> String {
    let mut parts = inbox_path.components();
    let first = parts.next();
    let folder = parts.next().and(first);
    folder.map_or(INBOX.to_owned(), |folder| {
        super::shortened(&lossy(folder.as_os_str()), NAME_LIMIT)
    })
}

/// The day a phone's last photo came, in words.
pub fn day_of(phone: &Phone) -> String {
    date_of(phone.last_day).strftime("%Y-%m-%d").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(day: i64) -> Timestamp {
        Timestamp::from_second(day * 86_400 + 43_200).expect("in range")
    }

    #[test]
    fn a_phone_that_brought_photos_on_several_days_is_quiet_after_a_while_and_a_copied_folder_is_not()
     {
        let mut phones = Phones::default();
        for day in [20_000, 20_000, 20_001, 20_003] {
            phones.note(Path::new("Anna/DCIM/a.jpg"), at(day), &TimeZone::UTC);
            phones.note(Path::new("b.jpg"), at(day), &TimeZone::UTC);
        }
        phones.note(Path::new("Italy 2019/c.jpg"), at(20_000), &TimeZone::UTC);
        let names: Vec<&str> = phones.0.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["Anna", "Italy 2019", "the inbox"]);
        let anna = phones.0[0].1;
        assert_eq!(anna.days, 3);
        assert_eq!(anna.quiet_days(14, at(20_010)), None);
        assert_eq!(anna.quiet_days(14, at(20_018)), Some(15));
        assert_eq!(phones.0[1].1.quiet_days(14, at(20_100)), None);
        assert_eq!(Phone::parsed(&anna.record()), Some(anna));
        assert_eq!(Phone::parsed(&[1, 2, 3]), None);
        assert_eq!(day_of(&anna), "2024-10-07");
    }

    #[test]
    fn of_many_phones_the_longest_silent_are_forgotten() {
        let mut phones = Phones::default();
        for number in 0..100_i64 {
            let path = format!("{number}/a.jpg");
            phones.note(Path::new(&path), at(20_000 + number), &TimeZone::UTC);
        }
        assert_eq!(phones.0.len(), PHONES);
        let has = |name| phones.0.iter().any(|(known, _)| known == name);
        assert!(has("99") && !has("0"));
    }
}
