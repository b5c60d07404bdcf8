//! The photos of the page: the newest first, a page at a time, picked by a facet; and the sums that its charts are drawn from.

use jiff::civil::Date;
use redb::{ReadOnlyTable, ReadTransaction};

use super::error::Trouble;
use super::facets::{self, Facet};
use super::tables::{self, row};
use super::{Ledger, LedgerError};
use crate::asset::{Asset, Kind};

/// A photo's place in the order of the page.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Cursor {
    /// Its moment: minutes on its own wall clock.
    pub moment: u32,
    /// Its id.
    pub id: u64,
}

/// What is looked for.
#[derive(Debug, Default)]
pub struct Look<'a> {
    /// Only photos with this facet; none: all.
    pub facet: Option<&'a Facet>,
    /// Only photos taken from the first day to the last.
    pub days: Option<(Date, Date)>,
    /// Only those that come after this one, which was the last of the page before.
    pub after: Option<Cursor>,
    /// Photos on a page.
    pub limit: usize,
    /// Rows looked at for it at most.
    pub rows: usize,
}

/// A page of photos.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Found {
    /// The photos, newest first.
    pub photos: Vec<Asset>,
    /// Where to go on; `None`: there are no more.
    pub next: Option<Cursor>,
    /// Rows that were looked at.
    pub looked_at: usize,
}

/// What was filed in a month.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Month {
    /// The month's first day.
    pub first: Date,
    /// Photos and videos.
    pub photos: u64,
    /// Bytes, of sidecars too.
    pub bytes: u64,
}

/// What was taken in a year.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Year {
    /// The year.
    pub year: i16,
    /// Photos and videos in each month.
    pub months: [u64; 12],
    /// Bytes, of sidecars too.
    pub bytes: u64,
}

impl Year {
    /// Photos and videos.
    pub fn photos(&self) -> u64 {
        self.months.iter().sum()
    }
}

impl Ledger {
    /// The next photos that `fits`. Costs two look-ups for each row that is looked at, and there are `look.rows` of these at most: a
    /// page on which few are found leads to where the next one begins. With a facet, one more for each month with photos, and for each
    /// day of the months in which some have it.
    pub fn photos(
        &self,
        look: &Look<'_>,
        fits: &dyn Fn(&Asset) -> bool,
    ) -> Result<Found, LedgerError> {
        self.read(|txn| {
            let (first, end) = look.days.map_or((0, u32::MAX), |(first, last)| {
                (facets::moments_of(first).0, facets::moments_of(last).1)
            });
            let mut search = Search {
                look,
                fits,
                first: (u64::from(first), 0),
                last: look.after.map_or((u64::from(end), 0), |after| {
                    (u64::from(after.moment.min(end)), after.id)
                }),
                by_time: txn.open_table(tables::BY_TIME)?,
                assets: txn.open_table(tables::ASSETS)?,
                found: Found::default(),
            };
            let is_whole = match look.facet {
                None => search.through(0, u32::MAX)?,
                Some(facet) => search.days_with(facet, txn)?,
            };
            if is_whole {
                search.found.next = None;
            }
            Ok(search.found)
        })
    }

    /// The cameras (`camera`), countries (`country`) or places (`place`) there are, and how many photos each has; by name, `limit` at most.
    pub fn names_of(&self, what: &str, limit: usize) -> Result<Vec<(String, u64)>, LedgerError> {
        let before = format!("{what}:");
        let sums = self.sums(&before, &format!("{what};"), limit)?;
        let named = sums.into_iter().filter(|(_, count)| *count > 0);
        Ok(named
            .filter_map(|(name, count)| Some((name.strip_prefix(&before)?.to_owned(), count)))
            .collect())
    }

    /// What was taken in each year, the oldest first; years without any are left out. Reads a row for each month and year.
    pub fn years(&self) -> Result<Vec<Year>, LedgerError> {
        let mut years: Vec<Year> = Vec::new();
        let year_of = |name: &str| name.get(..4).and_then(|year| year.parse::<i16>().ok());
        for (name, bytes) in self.sums("year_bytes:", "year_bytes;", 10_000)? {
            let year = name.strip_prefix("year_bytes:").and_then(year_of);
            years.extend(year.map(|year| Year {
                year,
                months: [0; 12],
                bytes,
            }));
        }
        for (name, count) in self.sums("month:", "month;", 120_000)? {
            let name = name.strip_prefix("month:").unwrap_or_default();
            let month = name.get(4..).and_then(|month| month.parse::<usize>().ok());
            let year = years
                .iter_mut()
                .find(|year| Some(year.year) == year_of(name));
            if let (Some(year), Some(month @ 1..=12)) = (year, month) {
                year.months[month - 1] = count;
            }
        }
        Ok(years)
    }

    /// What was filed in each month, the oldest first; months without any are left out.
    pub fn growth(&self) -> Result<Vec<Month>, LedgerError> {
        let photos = self.sums("filed:", "filed;", 12_000)?;
        let bytes = self.sums("filed_bytes:", "filed_bytes;", 12_000)?;
        let months = bytes.into_iter().filter_map(|(name, bytes)| {
            let month = name.strip_prefix("filed_bytes:")?;
            let number: u32 = month.parse().ok()?;
            let same = photos
                .iter()
                .find(|(name, _)| name.strip_prefix("filed:") == Some(month));
            Some(Month {
                first: tables::day_of_number(number * 100 + 1)?,
                photos: same.map_or(0, |(_, count)| *count),
                bytes,
            })
        });
        Ok(months.collect())
    }

    /// The bytes of each kind there is.
    pub fn bytes_per_kind(&self) -> Result<Vec<(Kind, u64)>, LedgerError> {
        let sums = self.sums("bytes:", "bytes;", Kind::ALL.len())?;
        Ok(Kind::ALL
            .into_iter()
            .filter_map(|kind| {
                let of_kind =
                    |(name, _): &&(String, u64)| name.strip_prefix("bytes:") == Some(kind.as_str());
                Some((kind, sums.iter().find(of_kind)?.1))
            })
            .filter(|(_, bytes)| *bytes > 0)
            .collect())
    }

    fn sums(&self, from: &str, to: &str, limit: usize) -> Result<Vec<(String, u64)>, LedgerError> {
        self.read(|txn| {
            let totals = txn.open_table(tables::TOTALS)?;
            let mut found = Vec::new();
            for entry in totals.range(from.as_bytes()..to.as_bytes())?.take(limit) {
                let (name, sum) = entry?;
                let name = String::from_utf8_lossy(name.value()).into_owned();
                found.push((name, tables::number_in(sum.value())));
            }
            Ok(found)
        })
    }
}

struct Search<'a> {
    look: &'a Look<'a>,
    fits: &'a dyn Fn(&Asset) -> bool,
    /// The oldest entry wanted.
    first: (u64, u64),
    /// The entry after the newest one wanted.
    last: (u64, u64),
    by_time: ReadOnlyTable<(u64, u64), ()>,
    assets: ReadOnlyTable<&'static [u8], &'static [u8]>,
    found: Found,
}

impl Search<'_> {
    /// Looks through the photos of these moments; whether it came to their end.
    fn through(&mut self, first: u32, end: u32) -> Result<bool, Trouble> {
        let first = self.first.max((u64::from(first), 0));
        let last = self.last.min((u64::from(end), 0));
        if first >= last {
            return Ok(true);
        }
        for entry in self.by_time.range(first..last)?.rev() {
            let (moment, id) = entry?.0.value();
            let found = &mut self.found;
            if found.photos.len() == self.look.limit || found.looked_at == self.look.rows {
                return Ok(false);
            }
            let moment = u32::try_from(moment).unwrap_or_default();
            found.next = Some(Cursor { moment, id });
            found.looked_at += 1;
            match row(&self.assets, id) {
                Ok(Some(asset)) if self.is_wanted(&asset) => self.found.photos.push(asset),
                Ok(_) => {}
                Err(Trouble::Record { row, what }) => {
                    log::error!("{row} in the ledger cannot be read: {what}");
                }
                Err(other) => return Err(other),
            }
        }
        Ok(true)
    }

    fn is_wanted(&self, asset: &Asset) -> bool {
        let has_facet = self.look.facet.is_none_or(|facet| facet.fits(asset));
        asset.kind != Kind::Sidecar && has_facet && (self.fits)(asset)
    }

    /// Looks through the days on which some photo has the facet.
    fn days_with(&mut self, facet: &Facet, txn: &ReadTransaction) -> Result<bool, Trouble> {
        let totals = txn.open_table(tables::TOTALS)?;
        let has_some =
            |name: &str| -> Result<bool, Trouble> { Ok(tables::number(&totals, name)? > 0) };
        for month in totals
            .range(b"month:".as_slice()..b"month;".as_slice())?
            .rev()
        {
            let month = month?;
            let name = std::str::from_utf8(month.0.value()).ok();
            let name = name.and_then(|name| name.strip_prefix("month:"));
            let number = name.and_then(|month| month.parse::<u32>().ok());
            let Some(day) = number.and_then(|number| tables::day_of_number(number * 100 + 1))
            else {
                continue;
            };
            let [in_month, _] = facet.counts(day);
            let (first, _) = facets::moments_of(day);
            let (_, end) = facets::moments_of(day.last_of_month());
            let is_outside =
                (u64::from(first), 0) >= self.last || (u64::from(end), 0) <= self.first;
            if is_outside || !has_some(&in_month)? {
                continue;
            }
            for day in (1..=day.days_in_month())
                .rev()
                .filter_map(|number| day.with().day(number).build().ok())
            {
                let [_, on_day] = facet.counts(day);
                let (first, end) = facets::moments_of(day);
                if has_some(&on_day)? && !self.through(first, end)? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}
