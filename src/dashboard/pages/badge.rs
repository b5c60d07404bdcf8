//! A badge: a service and its state as a small picture, for a page of the owner's. It is for those who may read, like all else.

use maud::{Markup, html};

use super::{NAME_LIMIT, shortened};
use crate::dashboard::health;
use crate::dashboard::overview::service_word;
use crate::dashboard::reply::Reply;
use crate::dashboard::routes::{Answer, Asked};
use crate::monitor::ServiceRow;

/// What a character takes at most, in the font's size, and what is left free at both sides of a text.
const CHARACTER: usize = 7;
const BESIDE: usize = 12;

/// What is behind the state: white on each has a contrast above 4.5.
const GROUNDS: [(&str, &str); 4] = [
    ("well", "#17613f"),
    ("attention", "#7a4d00"),
    ("trouble", "#9b2018"),
    ("idle", "#59605b"),
];

/// `/badge/{}`: the name of a service and `.svg`.
pub(in crate::dashboard) fn answer(asked: &Asked<'_>) -> Answer {
    let name = asked.part.strip_suffix(".svg");
    let overview = (asked.site.overview)();
    let mut rows = overview.services.iter();
    match rows.find(|row| Some(row.service.as_str()) == name) {
        Some(row) => Reply::new(200, "image/svg+xml", badge(row).into_string()).into(),
        None => Reply::refusal(404, "There is no service of that name.").into(),
    }
}

/// The picture.
pub fn badge(row: &ServiceRow) -> Markup {
    let (class, symbol) = health::mark_of(row);
    let ground = GROUNDS.iter().find(|(known, _)| *known == class);
    let name = shortened(row.service.as_str(), NAME_LIMIT);
    let word = service_word(row);
    let parts = [name.clone(), format!("{symbol} {word}")];
    let [left, right] = parts.map(|text| (text.chars().count() * CHARACTER, text));
    let edge = left.0 + BESIDE;
    let width = edge + right.0 + BESIDE;
    html! {
        svg xmlns="http://www.w3.org/2000/svg" width=(width) height="20" role="img" aria-label={ (name) ": " (word) } {
            title { (name) ": " (word) }
            rect width=(width) height="20" fill="#33383b" {}
            rect x=(edge) width=(width - edge) height="20" fill=(ground.map_or("#59605b", |(_, ground)| ground)) {}
            g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" {
                @for (x, (length, text)) in [(0, &left), (edge, &right)] {
                    text x=(x + BESIDE / 2) y="14" textLength=(length) { (text) }
                }
            }
        }
    }
}
