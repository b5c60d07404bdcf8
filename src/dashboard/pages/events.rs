//! What happened: every event that is kept, the newest first, by kind, and how long each incident lasted.
//!
//! A page costs at most `ROWS` rows of the history, however many there are.

use std::cmp::Reverse;
use std::time::Duration;

use jiff::Timestamp;
use maud::{Markup, html};
use serde_json::{Value, json};

use super::photos::choice;
use super::{Frame, LIST_ROOM, REASON_LIMIT, capitalised, clock, markup_len, shortened};
use crate::asset::in_order;
use crate::dashboard::health::{event_mark, event_word, time_text};
use crate::dashboard::json::{event_json, object};
use crate::dashboard::reply::Reply;
use crate::dashboard::request::Request;
use crate::dashboard::routes::{Answer, Asked};
use crate::monitor::event::{Event, Kind, Turn};
use crate::monitor::{BeatClock, Monitor, Service};

/// Events on a page.
const ON_PAGE: usize = 50;

/// Events in one answer of the JSON.
const IN_JSON: usize = 200;

/// Rows looked at for a page at most.
const ROWS: usize = 500;

/// Bytes of markup of an event without its text.
const ROW_MARKUP: usize = 420;

/// How long an incident was, or is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Length {
    /// It ended after so long.
    Ended(Duration),
    /// It has lasted so long, and goes on.
    Open(Duration),
    /// No incident, or its other end is not among the events looked at.
    Unknown,
}

/// An event, and how long its incident was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Happening {
    /// What happened.
    pub event: Event,
    /// How long it lasted.
    pub length: Length,
}

/// Events up to and at a time, without the first so many of that time: several may share a millisecond.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cursor {
    /// The time.
    pub until: Timestamp,
    /// How many are left out.
    pub skip: usize,
}

impl Cursor {
    /// Reads `MILLISECONDS-SKIP`.
    fn of(request: &Request<'_>) -> Option<Self> {
        let text = request.query_value("before")?;
        let (until, skip) = text.rsplit_once('-')?;
        Some(Self {
            until: Timestamp::from_millisecond(until.parse().ok()?).ok()?,
            skip: skip.parse().ok()?,
        })
    }

    fn text(self) -> String {
        format!("{}-{}", self.until.as_millisecond(), self.skip)
    }

    /// From the event at `index` on, or after the last.
    fn at(events: &[Event], index: usize) -> Option<Self> {
        let until = events.get(index).or(events.last())?.at;
        let before = events.iter().take(index);
        let skip = before.filter(|event| event.at == until).count();
        Some(Self { until, skip })
    }
}

/// What the page shows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EventsView {
    /// Only of this kind.
    pub kind: Option<Kind>,
    /// The events, newest first.
    pub events: Vec<Happening>,
    /// Where it goes on; `None`: there are no more.
    pub next: Option<Cursor>,
}

impl EventsView {
    /// Reads it: at most `ROWS` rows of the history, of which `limit` are shown at most, fewer where they need more than `room` bytes
    /// of markup.
    pub fn gather(
        monitor: &Monitor,
        request: &Request<'_>,
        now: Timestamp,
        limit: usize,
        room: usize,
    ) -> Self {
        let kind = request.query_value("kind");
        let kind = kind.and_then(|kind| Kind::ALL.into_iter().find(|known| known.as_str() == kind));
        let asked = Cursor::of(request);
        let from = asked.unwrap_or(Cursor {
            until: Timestamp::MAX,
            skip: 0,
        });
        let looked_at = events_until(monitor, from.until);
        let open = match asked {
            None => monitor.open_incidents(""),
            Some(_) => Vec::new(),
        };
        let fits = |event: &Event| kind.is_none_or(|kind| kind == event.kind);
        let picked = pick(&looked_at, from.skip, (limit, room), &fits, &open, now);
        let (events, next) = picked;
        let next = next.or((looked_at.len() >= ROWS).then_some(looked_at.len()));
        let next = next.and_then(|index| Cursor::at(&looked_at, index));
        Self {
            kind,
            events,
            next: next.filter(|next| *next != from),
        }
    }

    fn json(&self) -> Value {
        object(vec![
            ("events", self.events.iter().map(Happening::json).collect()),
            ("next", json!(self.next.map(Cursor::text))),
        ])
    }
}

impl Happening {
    /// The event's JSON, with its length in seconds.
    pub(super) fn json(&self) -> Value {
        let mut json = event_json(&self.event);
        let (seconds, is_open) = match self.length {
            Length::Ended(time) => (Some(time.as_secs()), false),
            Length::Open(time) => (Some(time.as_secs()), true),
            Length::Unknown => (None, false),
        };
        json["lasted_seconds"] = json!(seconds);
        json["is_open"] = json!(is_open);
        json
    }
}

/// The newest `ROWS` events up to and at a time, newest first: what was made under a doubtful clock lies between the others.
fn events_until(monitor: &Monitor, until: Timestamp) -> Vec<Event> {
    in_order(monitor.events_until(until, ROWS), |event| Reverse(event.at))
}

/// Those events, newest first, that fit, from the one at `skip` on: so many, and so many bytes of markup, at most. And the first one
/// for which there is no room.
fn pick(
    events: &[Event],
    skip: usize,
    (limit, mut room): (usize, usize),
    fits: &dyn Fn(&Event) -> bool,
    open: &[String],
    now: Timestamp,
) -> (Vec<Happening>, Option<usize>) {
    let mut picked = Vec::new();
    for (index, event) in events.iter().enumerate().skip(skip) {
        if !fits(event) {
            continue;
        }
        let needed = ROW_MARKUP + markup_len(&shortened(&event.text, REASON_LIMIT));
        if picked.len() == limit || room < needed {
            return (picked, Some(index));
        }
        room -= needed;
        picked.push(Happening {
            event: event.clone(),
            length: length(events, index, open, now),
        });
    }
    (picked, None)
}

/// What happened to a service last, newest first: among the newest `ROWS` events.
pub(super) fn of_service(
    monitor: &Monitor,
    service: &Service,
    now: Timestamp,
    limits: (usize, usize),
) -> Vec<Happening> {
    let events = events_until(monitor, Timestamp::MAX);
    let key = format!("service/{}", service.as_str());
    let fits = |event: &Event| {
        let is_syncthing = *service == Service::SYNCTHING && event.kind == Kind::Syncthing;
        event.key == key || is_syncthing
    };
    pick(&events, 0, limits, &fits, &monitor.open_incidents(""), now).0
}

/// How long the incident of the event at `index` was: its other end is looked for in `events`, newest first. `open` are the keys
/// of the incidents that go on, where `events` begin with the newest of all.
fn length(events: &[Event], index: usize, open: &[String], now: Timestamp) -> Length {
    let Some(event) = events.get(index) else {
        return Length::Unknown;
    };
    let is_other_end = |other: &&Event| other.key == event.key && other.turn != Turn::News;
    let between = |from: Timestamp, to: Timestamp| {
        Duration::try_from(to.duration_since(from)).unwrap_or_default()
    };
    match event.turn {
        Turn::News => Length::Unknown,
        Turn::Closed => match events.iter().skip(index + 1).find(is_other_end) {
            Some(other) if other.turn == Turn::Opened => Length::Ended(between(other.at, event.at)),
            _ => Length::Unknown,
        },
        Turn::Opened => match events.iter().take(index).rev().find(is_other_end) {
            Some(other) if other.turn == Turn::Closed => Length::Ended(between(event.at, other.at)),
            None if open.contains(&event.key) => Length::Open(between(event.at, now)),
            _ => Length::Unknown,
        },
    }
}

/// `/events`.
pub(in crate::dashboard) fn answer(asked: &Asked<'_>) -> Answer {
    let frame = asked.frame();
    let monitor = &asked.site.monitor;
    let view = EventsView::gather(monitor, asked.request, frame.now, ON_PAGE, LIST_ROOM);
    Reply::html(200, page(&view, &frame)).into()
}

/// `/api/v1/events`.
pub(in crate::dashboard) fn json_answer(asked: &Asked<'_>) -> Answer {
    let limit = asked.request.query_value("limit");
    let limit = limit.and_then(|limit| limit.parse().ok());
    let limit = limit.unwrap_or(IN_JSON).clamp(1, IN_JSON);
    let (monitor, now) = (&asked.site.monitor, (asked.site.now)());
    let view = EventsView::gather(monitor, asked.request, now, limit, usize::MAX);
    Reply::json(&view.json()).into()
}

/// The page.
pub fn page(view: &EventsView, frame: &Frame<'_>) -> Markup {
    let kinds = Kind::ALL.map(|kind| (kind.as_str().to_owned(), capitalised(kind.as_str())));
    let kind = view.kind.map(Kind::as_str);
    frame.page(
        "",
        "Events",
        &html! {
            form.search method="get" action="/events" role="search" aria-label="Pick events" {
                (choice("Kind", "kind", kind, &kinds))
                button { "Show" }
            }
        },
        None,
        &html! {
            section aria-labelledby="h-events" {
                h2 #h-events { "What happened" @if let Some(kind) = kind { ": " (kind) } }
                @if frame.query.contains("before=") {
                    p { a href={ "/events" @if let Some(kind) = kind { "?kind=" (kind) } } { "The newest events" } }
                }
                @if view.events.is_empty() {
                    p { @if view.next.is_some() { "None among those looked at so far." } @else { "Nothing yet." } }
                } @else {
                    (list(&view.events, frame, "What happened, the newest first"))
                }
                @if let Some(next) = view.next {
                    p { a rel="next" href={ "?" @if let Some(kind) = kind { "kind=" (kind) "&" } "before=" (next.text()) } { "Older events" } }
                }
            }
        },
    )
}

/// Events as a table.
pub(super) fn list(events: &[Happening], frame: &Frame<'_>, caption: &str) -> Markup {
    html! {
        table.cards role="table" {
            caption { span.vh { (caption) } }
            thead {
                tr role="row" {
                    th scope="col" { "What" }
                    th scope="col" { "When" }
                    th scope="col" { "Lasted" }
                    th scope="col" { "Kind" }
                }
            }
            tbody {
                @for Happening { event, length } in events {
                    tr role="row" {
                        th scope="row" role="rowheader" {
                            span class={ "mark " (event_mark(event).0) } { (event_word(event)) }
                            " " bdi.said { (shortened(&event.text, REASON_LIMIT)) }
                        }
                        td.t role="cell" {
                            (clock(frame.zone, event.at))
                            @if event.clock == BeatClock::Doubtful { " " span.sub { "by a doubtful clock" } }
                        }
                        td role="cell" {
                            @match length {
                                Length::Ended(time) => (time_text(*time)),
                                Length::Open(time) => { (time_text(*time)) ", goes on" }
                                Length::Unknown => "–",
                            }
                        }
                        td role="cell" { (event.kind.as_str()) }
                    }
                }
            }
        }
    }
}
