//! The interface for programs: its description in `OpenAPI`, and a page made from it.

use maud::{Markup, html};
use serde_json::Value;

use super::Frame;
use crate::dashboard::reply::Reply;
use crate::dashboard::routes::{Answer, Asked};

/// `OpenAPI` 3.1.
const DESCRIPTION: &str = include_str!("../openapi.json");

/// `/api/openapi.json`.
pub(in crate::dashboard) fn description_answer(_asked: &Asked<'_>) -> Answer {
    Reply::new(200, "application/json", DESCRIPTION).into()
}

/// `/api`.
pub(in crate::dashboard) fn answer(asked: &Asked<'_>) -> Answer {
    Reply::html(200, page(&described(), &asked.frame())).into()
}

/// The description, read.
pub fn described() -> Value {
    serde_json::from_str(DESCRIPTION).unwrap_or_default()
}

/// A path with the examples of what it takes; only the path where the description has none.
pub fn example(path: &str, item: &Value) -> String {
    let mut target = path.to_owned();
    let mut before = '?';
    for parameter in item["get"]["parameters"].as_array().into_iter().flatten() {
        let (Some(name), Some(value)) = (parameter["name"].as_str(), parameter["example"].as_str())
        else {
            continue;
        };
        if parameter["in"] == "path" {
            target = target.replace(&format!("{{{name}}}"), value);
        } else {
            target = format!("{target}{before}{name}={value}");
            before = '&';
        }
    }
    target
}

/// The page.
pub fn page(described: &Value, frame: &Frame<'_>) -> Markup {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let no_paths = serde_json::Map::new();
    let paths = described["paths"].as_object().unwrap_or(&no_paths);
    frame.page("", "For programs", &html! {}, None, &html! {
        section aria-labelledby="h-interface" {
            h2 #h-interface { "The interface in JSON" }
            p { (text(&described["info"]["description"])) }
            p { "For example: " code { "curl -H 'Authorization: Bearer TOKEN' http://photos.local:8380/api/v1/status" } }
            p { "The same for programs that read it: " a href="/api/openapi.json" { "openapi.json" } " (OpenAPI 3.1)." }
        }
        section aria-labelledby="h-paths" {
            h2 #h-paths { "What can be asked for" }
            table.cards role="table" {
                caption { span.vh { "Paths, what they answer, and what they take" } }
                thead { tr role="row" { th scope="col" { "Path" } th scope="col" { "Answer" } th scope="col" { "Takes" } } }
                tbody {
                    @for (path, item) in paths {
                        tr role="row" {
                            th scope="row" role="rowheader" {
                                @if path.contains('{') { code { (path) } } @else { a href=(path) { code { (path) } } }
                                @let example = example(path, item);
                                @if example != *path { " " span.sub { "for example " code { (example) } } }
                            }
                            td role="cell" { (text(&item["get"]["summary"])) }
                            td role="cell" {
                                @for parameter in item["get"]["parameters"].as_array().into_iter().flatten() {
                                    span.line { code { (text(&parameter["name"])) } " " (text(&parameter["description"])) }
                                }
                            }
                        }
                    }
                }
            }
        }
    })
}
