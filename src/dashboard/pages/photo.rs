//! One photo: what the ledger knows of it, where its date came from, what belongs to it, where it was taken, what is done for it.

use maud::{Markup, html};
use serde_json::{Value, json};

use super::{Frame, NAME_LIMIT, REASON_LIMIT, clock, shortened};
use crate::asset::{Asset, AssetId, Location, Stage, bytes_text, lossy};
use crate::dashboard::json::object;
use crate::dashboard::reply::Reply;
use crate::dashboard::routes::{Answer, Asked};
use crate::ledger::{Facet, Ledger, LedgerError};

/// Files that belong to a photo, on its page.
const RELATED: usize = 20;

/// What the page shows.
#[derive(Clone, PartialEq, Debug)]
pub struct PhotoView {
    /// The photo.
    pub asset: Asset,
    /// What belongs to it: its other half, its sidecars.
    pub related: Vec<Asset>,
}

impl PhotoView {
    /// Reads it: its row, and those of what belongs to it.
    pub fn gather(ledger: &Ledger, id: AssetId) -> Result<Option<Self>, LedgerError> {
        let Some(asset) = ledger.asset(id)? else {
            return Ok(None);
        };
        let mut related = ledger.paired_to(id)?;
        if let Some(leader) = asset.paired_with
            && related.iter().all(|known| known.id != leader)
        {
            related.extend(ledger.asset(leader)?);
        }
        related.truncate(RELATED);
        Ok(Some(Self { asset, related }))
    }

    /// The row, and the ids of what belongs to it.
    pub fn json(&self) -> Value {
        let related: Vec<u64> = self.related.iter().map(|asset| asset.id.0).collect();
        object(vec![
            ("photo", self.asset.to_json()),
            ("related", json!(related)),
        ])
    }
}

fn view_of(asked: &Asked<'_>, ledger: &Ledger) -> Result<Option<PhotoView>, LedgerError> {
    match asked.part.parse() {
        Ok(id) => PhotoView::gather(ledger, AssetId(id)),
        Err(_) => Ok(None),
    }
}

const NONE: &str = "There is no photo of that number.";

/// `/photos/{}`.
pub(in crate::dashboard) fn answer(asked: &Asked<'_>) -> Answer {
    asked.of_ledger(|ledger| {
        Ok(match view_of(asked, ledger)? {
            Some(view) => Reply::html(200, page(&view, &asked.frame())),
            None => Reply::refusal(404, NONE),
        })
    })
}

/// `/api/v1/photos/{}`.
pub(in crate::dashboard) fn json_answer(asked: &Asked<'_>) -> Answer {
    asked.of_ledger(|ledger| {
        Ok(match view_of(asked, ledger)? {
            Some(view) => Reply::json(&view.json()),
            None => Reply::json_refusal(404, NONE),
        })
    })
}

/// The page.
pub fn page(view: &PhotoView, frame: &Frame<'_>) -> Markup {
    let asset = &view.asset;
    let name = lossy(asset.final_path.file_name().unwrap_or_default());
    frame.page(
        "",
        &shortened(&name, NAME_LIMIT),
        &html! {},
        None,
        &html! {
            @for error in &asset.errors {
                p.note { "! Damaged: " (shortened(error, REASON_LIMIT)) ". It is kept as it came; if the phone still shows it whole, send it again." }
            }
            (taken(asset))
            (file(asset, frame))
            (done(asset, frame))
            (related(view))
            p.sub { a href={ "/api/v1/photos/" (asset.id.0) } { "All of it as JSON" } }
        },
    )
}

fn fact(name: &str, value: &Markup) -> Markup {
    html! { div { dt { (name) } dd { (value) } } }
}

fn taken(asset: &Asset) -> Markup {
    let captured = &asset.captured;
    let day = captured.day();
    let offset = captured.offset_text();
    html! {
        section aria-labelledby="h-taken" {
            h2 #h-taken { "Taken" }
            dl.facts {
                (fact("When", &html! {
                    a href={ "/photos?day=" (day) } { (day) } " " (captured.local.strftime("%H:%M:%S"))
                    @if let Some(offset) = &offset { " (UTC" (offset) ")" }
                }))
                (fact("The date came from", &html! {
                    (captured.from.as_str())
                    @if captured.from.is_guess() {
                        " " span.sub { "This is a guess: the file says nothing better." }
                    }
                }))
                @if let Some(camera) = Facet::camera_of(asset) {
                    (fact("Camera", &html! { a href={ "/photos?camera=" (crate::dashboard::request::encoded(&camera)) } { bdi { (shortened(&camera, NAME_LIMIT)) } } }))
                }
                @if let (Some(width), Some(height)) = (asset.width, asset.height) {
                    (fact("Size", &html! { (width) " × " (height) }))
                }
                @if let Some(place) = &asset.place {
                    (fact("Place", &html! { bdi { (shortened(&Facet::place_of(place), NAME_LIMIT)) } }))
                }
                @if let Some(location) = asset.location { (fact("Coordinates", &coordinates(location))) }
            }
        }
    }
}

/// In degrees; the link is followed by who clicks it, never by the page.
fn coordinates(at: Location) -> Markup {
    let (latitude, longitude) = (at.latitude, at.longitude);
    let side = |degrees: f64, [positive, negative]: [&'static str; 2]| {
        if degrees < 0.0 { negative } else { positive }
    };
    html! {
        (format!("{:.5}° {}, ", latitude.abs(), side(latitude, ["N", "S"])))
        (format!("{:.5}° {}", longitude.abs(), side(longitude, ["E", "W"])))
        " " span.sub {
            a href={ "geo:" (latitude) "," (longitude) } { "open in a map" } ", "
            a rel="noreferrer" href={ "https://www.openstreetmap.org/?mlat=" (latitude) "&mlon=" (longitude) "#map=14/" (latitude) "/" (longitude) } { "on openstreetmap.org" }
        }
    }
}

fn file(asset: &Asset, frame: &Frame<'_>) -> Markup {
    let path = |path: &std::path::Path| html! { bdi { (shortened(&lossy(path.as_os_str()), 2 * NAME_LIMIT)) } };
    html! {
        section aria-labelledby="h-file" {
            h2 #h-file { "File" }
            dl.facts {
                (fact("Stands at", &html! { "Storage/" (path(&asset.final_path)) }))
                (fact("Came as", &path(&asset.inbox_path)))
                (fact("Kind", &html! { a href={ "/photos?kind=" (asset.kind.as_str()) } { (asset.kind.as_str()) } ", " (bytes_text(asset.size)) }))
                (fact("SHA-256", &html! { code { (asset.file_hash.to_string()) } }))
                (fact("Filed", &clock(frame.zone, asset.ingested_at)))
                (fact("Number", &html! { (asset.id.0) }))
            }
        }
    }
}

fn done(asset: &Asset, frame: &Frame<'_>) -> Markup {
    html! {
        section aria-labelledby="h-done" {
            h2 #h-done { "Done for it" }
            table {
                caption { span.vh { "What is done for this photo, and when" } }
                thead { tr { th scope="col" { "Flag" } th scope="col" { "State" } th scope="col" { "When" } } }
                tbody {
                    (flag("is_ingested", true, Some(asset.ingested_at), frame))
                    @for stage in Stage::ALL {
                        (flag(stage.flag(), stage.wants(asset.kind, asset.location), asset.stage_done_at[stage as usize], frame))
                    }
                }
            }
        }
    }
}

fn flag(name: &str, is_wanted: bool, at: Option<jiff::Timestamp>, frame: &Frame<'_>) -> Markup {
    let (class, words) = match (at, is_wanted) {
        (Some(_), _) => ("well", "✓ done"),
        (None, true) => ("idle", "– to come"),
        (None, false) => ("idle", "– not for this file"),
    };
    html! {
        tr {
            th scope="row" { code { (name) } }
            td { span class={ "mark " (class) } { (words) } }
            td { @if let Some(at) = at { (clock(frame.zone, at)) } }
        }
    }
}

fn related(view: &PhotoView) -> Markup {
    if view.related.is_empty() {
        return html! {};
    }
    html! {
        section aria-labelledby="h-related" {
            h2 #h-related { "Belongs to it" }
            ul.plain {
                @for asset in &view.related {
                    li {
                        a href={ "/photos/" (asset.id.0) } {
                            bdi { (shortened(&lossy(asset.final_path.file_name().unwrap_or_default()), NAME_LIMIT)) }
                        }
                        " " span.soft { (asset.kind.as_str()) ", " (bytes_text(asset.size)) }
                    }
                }
            }
        }
    }
}
