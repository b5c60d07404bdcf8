//! The photos: the newest first, picked by day, camera, place, kind, flag or text, and a calendar of one year after the other.
//!
//! A page costs at most `ROWS` rows of the ledger, and a row for each day of the calendar's year.

use jiff::civil::Date;
use maud::{Markup, html};
use serde_json::{Value, json};

use super::calendar;
use super::{Frame, NAME_LIMIT, shortened};
use crate::asset::{Asset, Kind, Stage, bytes_text, lossy};
use crate::dashboard::json::object;
use crate::dashboard::overview::grouped;
use crate::dashboard::reply::Reply;
use crate::dashboard::request::{Request, encoded};
use crate::dashboard::routes::{Answer, Asked};
use crate::ledger::{Cursor, Facet, Found, Ledger, LedgerError, Look, Year};

/// Photos on a page.
const ON_PAGE: usize = 20;

/// Photos in one answer of the JSON.
const IN_JSON: usize = 100;

/// Rows looked at for a page at most.
const ROWS: usize = 1_000;

/// Cameras and places offered.
const CHOICES: usize = 20;

/// What is looked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Filter {
    /// Taken on this day.
    pub day: Option<Date>,
    /// Taken in this year.
    pub year: Option<i16>,
    /// By this camera.
    pub camera: Option<String>,
    /// At this place, or in this country (its code).
    pub place: Option<String>,
    /// Of this kind.
    pub kind: Option<Kind>,
    /// With this flag: its name in the query and what it stands for.
    pub flag: Option<(&'static str, Facet)>,
    /// With this in its name, its camera, its place or its folder in the inbox.
    pub text: Option<String>,
}

/// The flags offered: name and words.
const FLAGS: [(&str, &str); 11] = [
    ("guessed", "under a guessed day"),
    ("has_errors", "damaged"),
    ("located", "with coordinates"),
    ("is_geocoded", "with a place name"),
    ("not_geocoded", "place name to come"),
    ("is_thumbnailed", "with a thumbnail"),
    ("not_thumbnailed", "thumbnail to come"),
    ("is_face_scanned", "looked through for faces"),
    ("not_face_scanned", "faces to come"),
    ("is_backed_up", "backed up"),
    ("not_backed_up", "backup to come"),
];

fn flag(name: &str) -> Option<(&'static str, Facet)> {
    let (name, _) = FLAGS.iter().find(|(known, _)| *known == name)?;
    let stage = |flag: &str| Stage::ALL.into_iter().find(|stage| stage.flag() == flag);
    let facet = match *name {
        "guessed" => Facet::Guessed,
        "has_errors" => Facet::Damaged,
        "located" => Facet::Located,
        name => match name.strip_prefix("not_") {
            Some(rest) => Facet::Waiting(stage(&format!("is_{rest}"))?),
            None => Facet::Done(stage(name)?),
        },
    };
    Some((name, facet))
}

impl Filter {
    /// Reads it from a query; a value that is none is passed over.
    pub fn of(request: &Request<'_>) -> Self {
        let value = |name| request.query_value(name);
        Self {
            day: value("day").and_then(|day| day.parse().ok()),
            year: value("year")
                .and_then(|year| year.parse().ok())
                .filter(|year| (0..=9999).contains(year)),
            camera: value("camera"),
            place: value("place"),
            kind: value("kind")
                .and_then(|kind| Kind::ALL.into_iter().find(|known| known.as_str() == kind)),
            flag: value("flag").as_deref().and_then(flag),
            text: value("text")
                .map(|text| text.trim().to_lowercase())
                .filter(|text| !text.is_empty()),
        }
    }

    /// As a query, without where it goes on.
    fn query(&self) -> String {
        let pairs = [
            ("day", self.day.map(|day| day.to_string())),
            ("year", self.year.map(|year| year.to_string())),
            ("camera", self.camera.clone()),
            ("place", self.place.clone()),
            ("kind", self.kind.map(|kind| kind.as_str().to_owned())),
            (
                "flag",
                self.flag.as_ref().map(|(name, _)| (*name).to_owned()),
            ),
            ("text", self.text.clone()),
        ];
        let mut query = String::new();
        for (name, value) in pairs {
            if let Some(value) = value {
                query.push_str(if query.is_empty() { "" } else { "&" });
                query.push_str(name);
                query.push('=');
                query.push_str(&encoded(&value));
            }
        }
        query
    }

    fn facets(&self) -> Vec<Facet> {
        // The rarest is likely to be the first.
        let place = self.place.as_ref().map(|place| match place.len() {
            2 => Facet::Country(place.clone()),
            _ => Facet::Place(place.clone()),
        });
        place
            .into_iter()
            .chain(self.camera.clone().map(Facet::Camera))
            .chain(self.flag.clone().map(|(_, facet)| facet))
            .chain(self.kind.map(Facet::Kind))
            .collect()
    }

    fn days(&self) -> Option<(Date, Date)> {
        let year = |year| Some((date_of(year, 1, 1)?, date_of(year, 12, 31)?));
        match self.day {
            Some(day) => Some((day, day)),
            None => self.year.and_then(year),
        }
    }

    fn has_text(&self, asset: &Asset) -> bool {
        let Some(text) = &self.text else { return true };
        let has = |words: &str| words.to_lowercase().contains(text.as_str());
        has(&lossy(asset.inbox_path.as_os_str()))
            || has(&lossy(asset.final_path.file_name().unwrap_or_default()))
            || Facet::camera_of(asset).is_some_and(|camera| has(&camera))
            || asset
                .place
                .as_ref()
                .is_some_and(|place| has(&Facet::place_of(place)))
    }

    /// What is shown, in words.
    fn words(&self) -> String {
        let mut words = match self.kind {
            Some(kind) => format!("Files of the kind {}", kind.as_str()),
            None => "Photos and videos".to_owned(),
        };
        let flag = self
            .flag
            .as_ref()
            .and_then(|(name, _)| FLAGS.iter().find(|(known, _)| known == name));
        let parts = [
            flag.map(|(_, words)| format!(" {words}")),
            self.day.map(|day| format!(" of {day}")),
            self.year
                .filter(|_| self.day.is_none())
                .map(|year| format!(" of {year}")),
            self.camera.as_ref().map(|camera| format!(" by {camera}")),
            self.place.as_ref().map(|place| format!(" in {place}")),
            self.text
                .as_ref()
                .map(|text| format!(" with \u{201c}{text}\u{201d}")),
        ];
        for part in parts.into_iter().flatten() {
            words.push_str(&part);
        }
        words
    }
}

pub(super) fn date_of(year: i16, month: i8, day: i8) -> Option<Date> {
    Date::new(year, month, day).ok()
}

/// What the page shows.
#[derive(Clone, PartialEq, Debug)]
pub struct PhotosView {
    /// What is looked for.
    pub filter: Filter,
    /// What was found.
    pub found: Found,
    /// The years with photos, the oldest first.
    pub years: Vec<Year>,
    /// The calendar's year, and the days with photos in it.
    pub calendar: Option<(i16, Vec<(Date, u64)>)>,
    /// Cameras and how many photos each has.
    pub cameras: Vec<(String, u64)>,
    /// Countries, then places, and how many photos each has.
    pub places: Vec<(String, u64)>,
}

impl PhotosView {
    /// Reads it: the rows of a page, the days of a year, the months of all years, and the cameras and places offered.
    pub fn gather(
        ledger: &Ledger,
        request: &Request<'_>,
        limit: usize,
    ) -> Result<Self, LedgerError> {
        let filter = Filter::of(request);
        let found = find(ledger, &filter, cursor(request), limit)?;
        let years = ledger.years()?;
        let first = found
            .photos
            .first()
            .map(|photo| photo.captured.day().year());
        let year = filter.day.map(Date::year).or(filter.year).or(first);
        let year = year.or(years.last().map(|year| year.year));
        let days = |year| {
            let (first, last) = (date_of(year, 1, 1)?, date_of(year, 12, 31)?);
            Some(
                ledger
                    .captured_per_day(first, last)
                    .map(|days| (year, days)),
            )
        };
        let calendar = year.and_then(days).transpose()?;
        let mut places = ledger.names_of("country", CHOICES)?;
        places.extend(ledger.names_of("place", CHOICES)?);
        Ok(Self {
            cameras: ledger.names_of("camera", CHOICES)?,
            filter,
            found,
            years,
            calendar,
            places,
        })
    }
}

fn found_json(found: &Found) -> Value {
    object(vec![
        ("photos", found.photos.iter().map(Asset::to_json).collect()),
        ("next", json!(found.next.map(cursor_text))),
        ("looked_at", json!(found.looked_at)),
    ])
}

fn find(
    ledger: &Ledger,
    filter: &Filter,
    after: Option<Cursor>,
    limit: usize,
) -> Result<Found, LedgerError> {
    let mut facets = filter.facets();
    let first = (!facets.is_empty()).then(|| facets.remove(0));
    let look = Look {
        facet: first.as_ref(),
        days: filter.days(),
        after,
        limit,
        rows: ROWS,
    };
    ledger.photos(&look, &|asset| {
        facets.iter().all(|facet| facet.fits(asset)) && filter.has_text(asset)
    })
}

fn cursor(request: &Request<'_>) -> Option<Cursor> {
    let text = request.query_value("after")?;
    let (moment, id) = text.split_once('-')?;
    Some(Cursor {
        moment: moment.parse().ok()?,
        id: id.parse().ok()?,
    })
}

fn cursor_text(cursor: Cursor) -> String {
    format!("{}-{}", cursor.moment, cursor.id)
}

/// `/photos`.
pub(in crate::dashboard) fn answer(asked: &Asked<'_>) -> Answer {
    asked.of_ledger(|ledger| {
        let view = PhotosView::gather(ledger, asked.request, ON_PAGE)?;
        Ok(Reply::html(200, page(&view, &asked.frame())))
    })
}

/// `/api/v1/photos`.
pub(in crate::dashboard) fn json_answer(asked: &Asked<'_>) -> Answer {
    asked.of_ledger(|ledger| {
        let limit = asked
            .request
            .query_value("limit")
            .and_then(|limit| limit.parse().ok());
        let limit = limit.unwrap_or(IN_JSON).clamp(1, IN_JSON);
        let filter = Filter::of(asked.request);
        let found = find(ledger, &filter, cursor(asked.request), limit)?;
        Ok(Reply::json(&found_json(&found)))
    })
}

/// `/api/v1/days`: photos on each day of a year, and the years there are.
pub(in crate::dashboard) fn days_answer(asked: &Asked<'_>) -> Answer {
    asked.of_ledger(|ledger| {
        let years = ledger.years()?;
        let year = Filter::of(asked.request)
            .year
            .or(years.last().map(|year| year.year));
        let of_year = |year| Some((date_of(year, 1, 1)?, date_of(year, 12, 31)?));
        let days = match year.and_then(of_year) {
            Some((first, last)) => ledger.captured_per_day(first, last)?,
            None => Vec::new(),
        };
        let days = days
            .iter()
            .map(|(day, count)| (day.to_string(), json!(count)))
            .collect();
        let years = years
            .iter()
            .map(|year| (year.year.to_string(), json!(year.photos())))
            .collect();
        Ok(Reply::json(&object(vec![
            ("year", json!(year)),
            ("days", Value::Object(days)),
            ("years", Value::Object(years)),
        ])))
    })
}

/// The page.
pub fn page(view: &PhotosView, frame: &Frame<'_>) -> Markup {
    let filter = &view.filter;
    frame.page(
        "",
        "Photos",
        &html! {
            (search(view))
        },
        None,
        &html! {
            section aria-labelledby="h-found" {
                h2 #h-found { (shortened(&filter.words(), 160)) }
                @if filter.query().is_empty() && frame.query.contains("after=") || !filter.query().is_empty() {
                    p { a href="/photos" { "The newest of all photos" } }
                }
                @if view.found.photos.is_empty() {
                    p { @if view.found.next.is_some() { "None among those looked at so far." } @else { "None." } }
                } @else {
                    (list(&view.found.photos))
                }
                (going_on(view))
            }
            (calendar::calendar(view.calendar.as_ref(), &view.years))
        },
    )
}

fn going_on(view: &PhotosView) -> Markup {
    let Some(next) = view.found.next else {
        return html! {};
    };
    let filter = view.filter.query();
    let between = if filter.is_empty() { "" } else { "&" };
    let day = jiff::civil::date(0, 1, 1)
        .checked_add(jiff::Span::new().days(i64::from(next.moment / 1440)))
        .map_or(String::new(), |day| day.to_string());
    html! {
        p {
            a rel="next" href={ "?" (filter) (between) "after=" (cursor_text(next)) } { "Older photos" }
            @if view.found.looked_at >= ROWS {
                " " span.sub { (grouped(ROWS as u64)) " files were looked through, down to " (day) "; the search goes on there." }
            }
        }
    }
}

fn list(photos: &[Asset]) -> Markup {
    html! {
        table.cards role="table" {
            caption { span.vh { "Photos, the newest first" } }
            thead {
                tr role="row" {
                    th scope="col" { "Photo" }
                    th scope="col" { "Taken" }
                    th scope="col" { "Camera" }
                    th scope="col" { "Kind" }
                }
            }
            tbody { @for photo in photos { (line(photo)) } }
        }
    }
}

fn line(photo: &Asset) -> Markup {
    let name = lossy(photo.final_path.file_name().unwrap_or_default());
    html! {
        tr role="row" {
            th scope="row" role="rowheader" {
                a href={ "/photos/" (photo.id.0) } { bdi { (shortened(&name, NAME_LIMIT)) } }
                @if !photo.errors.is_empty() { " " span.mark.attention { "! damaged" } }
                @if let Some(place) = &photo.place { " " span.sub { bdi { (shortened(&Facet::place_of(place), NAME_LIMIT)) } } }
            }
            td.t role="cell" {
                (photo.captured.local.strftime("%Y-%m-%d %H:%M"))
                @if photo.captured.from.is_guess() { " " span.soft { "guessed" } }
            }
            td role="cell" { @if let Some(camera) = Facet::camera_of(photo) { bdi { (shortened(&camera, NAME_LIMIT)) } } }
            td.t role="cell" { (photo.kind.as_str()) ", " (bytes_text(photo.size)) }
        }
    }
}

fn search(view: &PhotosView) -> Markup {
    let filter = &view.filter;
    let kinds = Kind::ALL
        .into_iter()
        .filter(|kind| *kind != Kind::Sidecar)
        .map(|kind| (kind.as_str().to_owned(), kind.as_str().to_owned()));
    let flags = FLAGS
        .iter()
        .map(|(name, words)| ((*name).to_owned(), (*words).to_owned()));
    let counted = |names: &[(String, u64)]| -> Vec<(String, String)> {
        names
            .iter()
            .map(|(name, count)| {
                (
                    name.clone(),
                    format!("{} ({})", shortened(name, 40), grouped(*count)),
                )
            })
            .collect()
    };
    html! {
        form.search method="get" action="/photos" role="search" aria-label="Find photos" {
            label { span { "Text" } input type="search" name="text" maxlength="60" value=[filter.text.as_deref()]; }
            label { span { "Day" } input type="date" name="day" value=[filter.day.map(|day| day.to_string())]; }
            (choice("Camera", "camera", filter.camera.as_deref(), &counted(&view.cameras)))
            (choice("Place", "place", filter.place.as_deref(), &counted(&view.places)))
            (choice("Kind", "kind", filter.kind.map(Kind::as_str), &kinds.collect::<Vec<_>>()))
            (choice("Flag", "flag", filter.flag.as_ref().map(|(name, _)| *name), &flags.collect::<Vec<_>>()))
            button { "Find" }
        }
    }
}

pub(super) fn choice(
    words: &str,
    name: &str,
    chosen: Option<&str>,
    choices: &[(String, String)],
) -> Markup {
    if choices.is_empty() && chosen.is_none() {
        return html! {};
    }
    let is_offered = chosen.is_none_or(|chosen| choices.iter().any(|(value, _)| value == chosen));
    html! {
        label {
            span { (words) }
            select name=(name) {
                option value="" { "all" }
                @if !is_offered { option value=[chosen] selected { (shortened(chosen.unwrap_or_default(), 40)) } }
                @for (value, words) in choices {
                    option value=(value) selected[Some(value.as_str()) == chosen] { (words) }
                }
            }
        }
    }
}
