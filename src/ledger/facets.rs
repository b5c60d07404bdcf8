//! What photos are picked by on the page. How many photos have a facet is counted for each day and month, so that a page reads only
//! days on which there are some.

use jiff::civil::{Date, DateTime};
use sha2::{Digest, Sha256};

use super::tables::day_number;
use crate::asset::{Asset, Kind, Place, Stage};

/// Bytes of a facet's name in the totals: names from files have no useful bound.
const NAME_LIMIT: usize = 80;

/// What many photos have in common.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Facet {
    /// The camera, as [`Facet::camera_of`] names it.
    Camera(String),
    /// What sort of file it is.
    Kind(Kind),
    /// The country's code.
    Country(String),
    /// The place, as [`Facet::place_of`] names it.
    Place(String),
    /// It is known where it was taken.
    Located,
    /// Its day is a guess.
    Guessed,
    /// It came damaged, or a stage failed on it.
    Damaged,
    /// A stage is done.
    Done(Stage),
    /// A stage is still to come.
    Waiting(Stage),
}

impl Facet {
    /// Every facet of an asset; a sidecar has none.
    pub(super) fn all_of(asset: &Asset) -> Vec<Self> {
        if asset.kind == Kind::Sidecar {
            return Vec::new();
        }
        let mut facets = vec![Self::Kind(asset.kind)];
        facets.extend(Self::camera_of(asset).map(Self::Camera));
        if let Some(place) = &asset.place {
            facets.push(Self::Country(place.country_code.clone()));
            facets.push(Self::Place(Self::place_of(place)));
        }
        if asset.captured.from.is_guess() {
            facets.push(Self::Guessed);
        }
        if !asset.errors.is_empty() {
            facets.push(Self::Damaged);
        }
        if asset.location.is_some() {
            facets.push(Self::Located);
        }
        for stage in Stage::ALL {
            if asset.stage_done_at[stage as usize].is_some() {
                facets.push(Self::Done(stage));
            } else if stage.wants(asset.kind, asset.location) {
                facets.push(Self::Waiting(stage));
            }
        }
        facets
    }

    /// The camera of a photo in words: the model, after its maker where the model does not name it itself.
    pub fn camera_of(asset: &Asset) -> Option<String> {
        let plain = |name: &Option<String>| shortened(name.as_deref().unwrap_or_default());
        let (make, model) = (plain(&asset.make), plain(&asset.model));
        let (make, model) = (make.trim(), model.trim());
        let (first, _) = make.split_once(' ').unwrap_or((make, ""));
        let names_it = model.to_lowercase().starts_with(&first.to_lowercase());
        let camera = match (make, model) {
            ("", "") => return None,
            (_, "") => make.to_owned(),
            _ if names_it => model.to_owned(),
            _ => format!("{make} {model}"),
        };
        Some(shortened(&camera))
    }

    /// A place in words.
    pub fn place_of(place: &Place) -> String {
        let parts = [&place.name, &place.admin1, &place.country_code];
        let parts: Vec<&str> = parts
            .into_iter()
            .map(String::as_str)
            .filter(|part| !part.is_empty())
            .collect();
        shortened(&parts.join(", "))
    }

    /// Whether an asset has it.
    pub fn fits(&self, asset: &Asset) -> bool {
        Self::all_of(asset).contains(self)
    }

    /// The name of its total; `None`: it is not listed by name.
    pub(super) fn total(&self) -> Option<String> {
        Some(match self {
            Self::Camera(name) => format!("camera:{name}"),
            Self::Country(code) => format!("country:{code}"),
            Self::Place(name) => format!("place:{name}"),
            _ => return None,
        })
    }

    /// The names of its counts in the month and on the day. The day comes first, so that all counts of a day share a page of the file.
    pub(super) fn counts(&self, day: Date) -> [String; 2] {
        let (digest, day) = (self.digest(), day_number(day));
        [
            format!("in:{:06}:{digest:016x}", day / 100),
            format!("on:{day:08}:{digest:016x}"),
        ]
    }

    fn digest(&self) -> u64 {
        let (tag, name): (u8, &str) = match self {
            Self::Camera(name) => (1, name),
            Self::Kind(kind) => (2, kind.as_str()),
            Self::Country(code) => (3, code),
            Self::Place(name) => (4, name),
            Self::Located => (5, ""),
            Self::Guessed => (6, ""),
            Self::Damaged => (7, ""),
            Self::Done(stage) => (8, stage.flag()),
            Self::Waiting(stage) => (9, stage.flag()),
        };
        let sum: [u8; 32] = Sha256::new()
            .chain_update([tag])
            .chain_update(name)
            .finalize()
            .into();
        sum.first_chunk()
            .map_or(0, |first| u64::from_be_bytes(*first))
    }
}

fn shortened(name: &str) -> String {
    name.chars()
        .filter(|letter| !letter.is_control())
        .take(NAME_LIMIT)
        .collect()
}

/// A moment of a photo's own wall clock, in minutes from the year 0 on.
pub(super) fn moment(at: DateTime) -> u32 {
    let minutes =
        i64::from(days(at.date())) * 1440 + i64::from(at.hour()) * 60 + i64::from(at.minute());
    u32::try_from(minutes).unwrap_or_default()
}

/// The moments of a day: its first, and the one after its last.
pub(super) fn moments_of(day: Date) -> (u32, u32) {
    let first = moment(day.at(0, 0, 0, 0));
    (first, first.saturating_add(1440))
}

/// Days since the 1st of January of the year 0.
fn days(day: Date) -> i32 {
    const BEGIN: Date = Date::constant(0, 1, 1);
    let since = day.duration_since(BEGIN).as_hours() / 24;
    i32::try_from(since).unwrap_or_default()
}
