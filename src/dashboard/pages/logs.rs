//! The log of all services, the newest line first: so what is new is seen at the top, and the refresh follows it.
//!
//! A page costs at most [`READ_LIMIT`](crate::log_file::reader::READ_LIMIT) bytes of the log, however long it is.

use std::io;
use std::path::Path;

use jiff::Timestamp;
use maud::{Markup, html};
use serde_json::{Value, json};

use super::photos::choice;
use super::{Frame, LIST_ROOM, clock, markup_len, shortened};
use crate::asset::{one_line, rfc3339};
use crate::dashboard::json::object;
use crate::dashboard::reply::Reply;
use crate::dashboard::request::{Request, encoded};
use crate::dashboard::routes::{Answer, Asked};
use crate::log_file::reader::{Place, Record, read_back};

/// Lines on a page.
const ON_PAGE: usize = 100;

/// Lines in one answer of the JSON.
const IN_JSON: usize = 500;

/// Characters of a line.
const LINE_LIMIT: usize = 400;

/// Characters of a text that is looked for.
const TEXT_LIMIT: usize = 60;

/// Bytes of markup of a line without its text.
const ROW_MARKUP: usize = 260;

/// The levels, the worst first: in the log, in the query, and what is shown with them.
const LEVELS: [(&str, &str, &str); 3] = [
    ("ERROR", "error", "errors"),
    ("WARN", "warn", "warnings and errors"),
    ("INFO", "info", "all but details"),
];

/// Which service a module's lines are of, the longest names first.
const SERVICES: [(&str, &str); 9] = [
    ("monitor::syncthing", "syncthing"),
    ("appliance", "librarian"),
    ("librarian", "librarian"),
    ("dashboard", "dashboard"),
    ("monitor", "service-monitor"),
    ("factory", "librarian"),
    ("ledger", "factory-db"),
    ("verify", "librarian"),
    ("disk", "librarian"),
];

/// The services that write lines, in the order of the page.
const WRITERS: [&str; 5] = [
    "librarian",
    "dashboard",
    "service-monitor",
    "factory-db",
    "syncthing",
];

/// Which lines are shown.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LineFilter {
    /// Of this service.
    pub service: Option<&'static str>,
    /// Of this level (its place in the list, the worst first) or worse.
    pub level: Option<usize>,
    /// With this text, in small letters.
    pub text: Option<String>,
}

impl LineFilter {
    /// Reads it from a query; a value that is none is passed over.
    fn of(request: &Request<'_>) -> Self {
        let value = |name| request.query_value(name);
        let level = value("level");
        let text = value("text").map(|text| shortened(text.trim(), TEXT_LIMIT).to_lowercase());
        Self {
            service: value("service").as_deref().and_then(writer),
            level: level.and_then(|level| LEVELS.iter().position(|(_, name, _)| *name == level)),
            text: text.filter(|text| !text.is_empty()),
        }
    }

    /// As a query.
    fn query(&self) -> String {
        let pairs = [
            ("service", self.service.map(str::to_owned)),
            ("level", self.level_name().map(str::to_owned)),
            ("text", self.text.as_deref().map(encoded)),
        ];
        let pairs = pairs.into_iter();
        let pairs = pairs.filter_map(|(name, value)| Some(format!("{name}={}", value?)));
        pairs.collect::<Vec<_>>().join("&")
    }

    fn level_name(&self) -> Option<&'static str> {
        Some(LEVELS.get(self.level?)?.1)
    }

    fn fits(&self, record: &Record<'_>) -> bool {
        let level = LEVELS.iter().position(|(level, ..)| *level == record.level);
        self.level
            .is_none_or(|worst| level.is_some_and(|level| level <= worst))
            && self
                .service
                .is_none_or(|service| service_of(record.module) == Some(service))
            && self
                .text
                .as_ref()
                .is_none_or(|text| record.text.to_lowercase().contains(text.as_str()))
    }
}

/// A service that writes lines.
pub(super) fn writer(name: &str) -> Option<&'static str> {
    WRITERS.into_iter().find(|known| *known == name)
}

fn service_of(module: &str) -> Option<&'static str> {
    let room = module.strip_prefix("photo_factory::")?;
    let known = SERVICES.iter().find(|(begin, _)| room.starts_with(begin));
    known.map(|(_, service)| *service)
}

/// A line of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// When; `None`: it does not say.
    pub at: Option<Timestamp>,
    /// How bad it is: `ERROR`, `WARN`, `INFO`, `DEBUG`; empty: it does not say.
    pub level: String,
    /// Which service wrote it, where that is known.
    pub service: Option<&'static str>,
    /// What it says, on one line.
    pub text: String,
}

/// What the page shows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogsView {
    /// What is looked for.
    pub filter: LineFilter,
    /// The lines, newest first.
    pub lines: Vec<Line>,
    /// Where it goes on; `None`: there are no more.
    pub next: Option<Place>,
}

impl LogsView {
    /// Reads it: a part of the log, of which `limit` lines are shown at most, fewer where they need more than `room` bytes of markup.
    pub fn gather(
        logs: &Path,
        filter: LineFilter,
        before: Place,
        limit: usize,
        mut room: usize,
    ) -> io::Result<Self> {
        let mut lines = Vec::new();
        let next = read_back(logs, before, &mut |record| {
            if !filter.fits(record) {
                return true;
            }
            let text = shortened(&one_line(record.text), LINE_LIMIT);
            let needed = ROW_MARKUP + markup_len(&text);
            if lines.len() == limit || room < needed {
                return false;
            }
            room -= needed;
            lines.push(Line {
                at: record.at.parse().ok(),
                level: shortened(record.level, 5),
                service: service_of(record.module),
                text,
            });
            true
        })?;
        Ok(Self {
            filter,
            lines,
            next,
        })
    }

    /// What a request asks for.
    fn asked(asked: &Asked<'_>, limit: usize, room: usize) -> Result<Self, String> {
        let request = asked.request;
        let before = request.query_value("before");
        let before = before.as_deref().and_then(Place::parsed);
        let (logs, filter) = (&asked.site.config.logs, LineFilter::of(request));
        Self::gather(logs, filter, before.unwrap_or(Place::END), limit, room)
            .map_err(|error| trouble(logs, &error))
    }

    fn json(&self) -> Value {
        object(vec![
            ("lines", lines_json(&self.lines)),
            ("next", json!(self.next.map(|next| next.to_string()))),
        ])
    }
}

/// That the log can't be read, and what to do.
pub(super) fn trouble(logs: &Path, error: &io::Error) -> String {
    format!(
        "The log in {} cannot be read: {error}. Check its permissions; photos are filed all the same.",
        logs.display()
    )
}

/// Lines as JSON.
pub(super) fn lines_json(lines: &[Line]) -> Value {
    let lines = lines.iter().map(|line| {
        object(vec![
            ("at", json!(line.at.map(rfc3339))),
            ("level", json!(line.level.to_lowercase())),
            ("service_name", json!(line.service)),
            ("text", json!(line.text)),
        ])
    });
    lines.collect()
}

/// `/logs`.
pub(in crate::dashboard) fn answer(asked: &Asked<'_>) -> Answer {
    match LogsView::asked(asked, ON_PAGE, LIST_ROOM) {
        Ok(view) => Reply::html(200, page(&view, &asked.frame())).into(),
        Err(why) => Reply::refusal(503, &why).into(),
    }
}

/// `/api/v1/logs`.
pub(in crate::dashboard) fn json_answer(asked: &Asked<'_>) -> Answer {
    let limit = asked.request.query_value("limit");
    let limit = limit.and_then(|limit| limit.parse().ok());
    match LogsView::asked(
        asked,
        limit.unwrap_or(IN_JSON).clamp(1, IN_JSON),
        usize::MAX,
    ) {
        Ok(view) => Reply::json(&view.json()).into(),
        Err(why) => Reply::json_refusal(503, &why).into(),
    }
}

/// The page.
pub fn page(view: &LogsView, frame: &Frame<'_>) -> Markup {
    let filter = &view.filter;
    let services = WRITERS.map(|name| (name.to_owned(), name.to_owned()));
    let levels = LEVELS.map(|(_, name, words)| (name.to_owned(), words.to_owned()));
    let query = filter.query();
    let between = if query.is_empty() { "" } else { "&" };
    frame.page(
        "",
        "Logs",
        &html! {
            form.search method="get" action="/logs" role="search" aria-label="Pick lines" {
                (choice("Service", "service", filter.service, &services))
                (choice("Level", "level", filter.level_name(), &levels))
                label { span { "Text" } input type="search" name="text" maxlength=(TEXT_LIMIT) value=[filter.text.as_deref()]; }
                button { "Show" }
            }
        },
        None,
        &html! {
            section aria-labelledby="h-log" {
                h2 #h-log { "Log" }
                p.soft { "The newest line first: with a refresh, new ones come at the top." }
                @if frame.query.contains("before=") { p { a href={ "/logs?" (query) } { "The newest lines" } } }
                @if view.lines.is_empty() {
                    p { @if view.next.is_some() { "None in the part of the log that was looked at." } @else { "None." } }
                } @else {
                    (list(&view.lines, frame))
                }
                @if let Some(next) = view.next {
                    p { a rel="next" href={ "?" (query) (between) "before=" (next) } { "Older lines" } }
                }
            }
        },
    )
}

/// Lines as a table.
pub(super) fn list(lines: &[Line], frame: &Frame<'_>) -> Markup {
    html! {
        table.cards.log role="table" {
            caption { span.vh { "Lines of the log, the newest first" } }
            thead {
                tr role="row" {
                    th scope="col" { "Line" }
                    th scope="col" { "When" }
                    th scope="col" { "Service" }
                }
            }
            tbody {
                @for line in lines {
                    tr role="row" {
                        th scope="row" role="rowheader" {
                            @match line.level.as_str() {
                                "ERROR" => { span.mark.trouble { "✕ error" } " " }
                                "WARN" => { span.mark.attention { "! warning" } " " }
                                _ => {}
                            }
                            bdi.said { (line.text) }
                        }
                        td.t role="cell" { @if let Some(at) = line.at { (clock(frame.zone, at)) } @else { "–" } }
                        td.t role="cell" { (line.service.unwrap_or("–")) }
                    }
                }
            }
        }
    }
}
