//! One service: both views of it and where they disagree, its beats, how fast it answers, its days, what happened to it, what it
//! logs, and its settings.
//!
//! A page costs, beside the overview, the beats of some hours (about a thousand rows), the roll-ups of a week (a row for each service
//! and hour), some hundred events, and a part of the log.

use std::time::Duration;

use jiff::Timestamp;
use maud::{Markup, html};
use serde_json::{Map, Value, json};

use super::events::{self, Happening};
use super::logs::{self, Line, LineFilter, LogsView};
use super::{Frame, NAME_LIMIT, REASON_LIMIT, clock, shortened};
use crate::dashboard::charts;
use crate::dashboard::health::{self, millis};
use crate::dashboard::json::{beat_json, object, rollup_json, service_json};
use crate::dashboard::overview::{Overview, ago, grouped, service_word};
use crate::dashboard::reply::Reply;
use crate::dashboard::request::encoded;
use crate::dashboard::routes::{Answer, Asked};
use crate::dashboard::settings;
use crate::dashboard::site::Site;
use crate::log_file::reader::Place;
use crate::monitor::rollup::Rollup;
use crate::monitor::{Beat, ServiceRow, Status};

/// Services led to.
const SERVICES: usize = 30;

/// Events of it, and bytes of markup they may need.
const EVENTS: (usize, usize) = (15, 8 * 1024);

/// Lines of its log, and bytes of markup they may need.
const LINES: (usize, usize) = (20, 8 * 1024);

/// Characters of a setting.
const SETTING_LIMIT: usize = 80;

const NONE: &str = "There is no service of that name.";

/// What the page shows.
#[derive(Debug)]
pub struct ServiceView {
    /// The service.
    pub row: ServiceRow,
    /// All services, and what else is seen of them.
    pub overview: Overview,
    /// Its last beats, oldest first.
    pub beats: Vec<Beat>,
    /// The hour with which the week of roll-ups begins.
    pub first_hour: Timestamp,
    /// Its roll-ups of the last week's hours, oldest first.
    pub hours: Vec<(Timestamp, Rollup)>,
    /// What happened to it, newest first.
    pub events: Vec<Happening>,
    /// Its last lines in the log, newest first, or why they can't be read. `None`: it writes none.
    pub log: Option<Result<Vec<Line>, String>>,
    /// The settings in force for it.
    pub settings: Vec<(String, String)>,
}

impl ServiceView {
    /// Reads it; `None`: there is no service of that name.
    pub fn gather(site: &Site, name: &str) -> Option<Self> {
        let now = (site.now)();
        let overview = (site.overview)();
        let rows = &overview.services;
        let row = rows
            .iter()
            .find(|row| row.service.as_str() == name)?
            .clone();
        let service = &row.service;
        let beats = charts::last_beats(&site.monitor, &row, now);
        let this_hour = now.as_second().div_euclid(3600);
        let hour = |hour: i64| Timestamp::from_second(hour * 3600).unwrap_or_default();
        let first_hour = hour(this_hour - charts::HOURS + 1);
        let hours = site.monitor.hours(first_hour, hour(this_hour + 1));
        let hours = hours.into_iter();
        let hours = hours.filter_map(|(at, of, rollup)| (of == *service).then_some((at, rollup)));
        let log = logs::writer(name).map(|name| {
            let filter = LineFilter {
                service: Some(name),
                ..LineFilter::default()
            };
            let logs = &site.config.logs;
            LogsView::gather(logs, filter, Place::END, LINES.0, LINES.1)
                .map(|view| view.lines)
                .map_err(|error| logs::trouble(logs, &error))
        });
        Some(Self {
            events: events::of_service(&site.monitor, service, now, EVENTS),
            settings: settings::of_service(&site.config, &row.service),
            hours: hours.collect(),
            first_hour,
            beats,
            log,
            row,
            overview,
        })
    }

    fn days(&self) -> impl Iterator<Item = (jiff::civil::Date, &Rollup)> {
        let days = self.overview.seen.days.iter();
        days.filter(|(_, service, _)| *service == self.row.service)
            .map(|(day, _, rollup)| (*day, rollup))
    }

    /// The same as JSON.
    pub fn json(&self) -> Value {
        const HOUR: Duration = Duration::from_secs(3_600);
        let service = &self.row.service;
        let hours = self.hours.iter().map(|(at, rollup)| {
            rollup_json("hour", &crate::asset::rfc3339(*at), service, rollup, HOUR)
        });
        let days = self
            .days()
            .map(|(day, rollup)| rollup_json("day", &day.to_string(), service, rollup, 24 * HOUR));
        let settings: Map<String, Value> = self
            .settings
            .iter()
            .map(|(name, value)| (name.clone(), json!(value)))
            .collect();
        let lines = self.log.as_ref().and_then(|log| log.as_ref().ok());
        object(vec![
            ("service", service_json(&self.row)),
            ("beats", self.beats.iter().map(beat_json).collect()),
            ("hours", hours.collect()),
            ("days", days.collect()),
            ("events", self.events.iter().map(Happening::json).collect()),
            ("log", json!(lines.map(|lines| logs::lines_json(lines)))),
            ("settings", Value::Object(settings)),
        ])
    }
}

/// `/services/{}`.
pub(in crate::dashboard) fn answer(asked: &Asked<'_>) -> Answer {
    match ServiceView::gather(asked.site, &asked.part) {
        Some(view) => Reply::html(200, page(&view, &asked.frame())).into(),
        None => Reply::refusal(404, NONE).into(),
    }
}

/// `/api/v1/services/{}`.
pub(in crate::dashboard) fn json_answer(asked: &Asked<'_>) -> Answer {
    match ServiceView::gather(asked.site, &asked.part) {
        Some(view) => Reply::json(&view.json()).into(),
        None => Reply::json_refusal(404, NONE).into(),
    }
}

/// `/api/v1/services`.
pub(in crate::dashboard) fn list_answer(asked: &Asked<'_>) -> Answer {
    let overview = (asked.site.overview)();
    let services = overview.services.iter().map(service_json).collect();
    Reply::json(&object(vec![("services", services)])).into()
}

/// The page.
pub fn page(view: &ServiceView, frame: &Frame<'_>) -> Markup {
    let name = shortened(view.row.service.as_str(), NAME_LIMIT);
    frame.page(
        "",
        &name,
        &html! {},
        None,
        &html! {
            (selector(view))
            @if let Some(disagreement) = view.row.disagreement() {
                p.note { "! They disagree: " (shortened(&disagreement, 2 * REASON_LIMIT)) }
            }
            div.two { (heartbeats(view, frame)) (seen_now(&view.row)) }
            section aria-labelledby="h-beats" {
                h2 #h-beats { "Last beats" }
                (charts::beats(&view.beats, view.row.patience, frame))
            }
            section aria-labelledby="h-days" {
                h2 #h-days { "Last 60 days" }
                div.long { (health::strip(&view.overview, &view.row)) }
            }
            (responses(view, frame))
            section aria-labelledby="h-happened" {
                h2 #h-happened { "What happened" }
                @if view.events.is_empty() { p { "Nothing, as far as is remembered." } }
                @else { (events::list(&view.events, frame, "What happened to it, the newest first")) }
            }
            (log(view, frame))
            section aria-labelledby="h-settings" {
                h2 #h-settings { "Settings in force" }
                dl.facts {
                    @for (name, value) in &view.settings { (fact(name, &html! { (shortened(value, SETTING_LIMIT)) })) }
                }
            }
        },
    )
}

fn selector(view: &ServiceView) -> Markup {
    html! {
        nav.years aria-label="Services" {
            ul {
                @for row in view.overview.services.iter().take(SERVICES) {
                    @let name = row.service.as_str();
                    li {
                        a href={ "/services/" (encoded(name)) } aria-current=[(row.service == view.row.service).then_some("page")] {
                            (shortened(name, NAME_LIMIT)) " " span.soft { (service_word(row)) }
                        }
                    }
                }
            }
        }
    }
}

fn fact(name: &str, value: &Markup) -> Markup {
    html! { div { dt { (name) } dd { (value) } } }
}

fn heartbeats(view: &ServiceView, frame: &Frame<'_>) -> Markup {
    let row = &view.row;
    html! {
        section aria-labelledby="h-heartbeat" {
            h2 #h-heartbeat { "By its heartbeats" }
            p {
                (health::state(row))
                @if let Some(reason) = row.status.as_ref().and_then(Status::reason) { " " span.sub { (shortened(reason, REASON_LIMIT)) } }
            }
            dl.facts {
                @if let Some(at) = row.last_heartbeat {
                    (fact("Last beat", &html! { (clock(frame.zone, at)) ", " (ago(at, frame.now)) }))
                }
                @if let Some(since) = row.since { (fact("So since", &clock(frame.zone, since))) }
                @if let Some(task) = &row.current_task { (fact("Doing", &html! { bdi { (shortened(task, NAME_LIMIT)) } })) }
                @if let Some(depth) = row.queue_depth { (fact("Waiting for it", &html! { (grouped(depth)) })) }
            }
        }
    }
}

fn seen_now(row: &ServiceRow) -> Markup {
    html! {
        section aria-labelledby="h-seen" {
            h2 #h-seen { "As it is seen now" }
            @if row.live.is_empty() { p { "Nobody looks at it from outside." } }
            @for live in row.live.iter().take(4) {
                p {
                    (health::seen(live))
                    @if let Some(reason) = live.status.reason() { " " span.sub { (shortened(reason, REASON_LIMIT)) } }
                }
            }
            @if let Some(took) = row.response { p { "Its last answer took " (millis(took)) "." } }
        }
    }
}

fn responses(view: &ServiceView, frame: &Frame<'_>) -> Markup {
    let Some(chart) = charts::responses(&view.hours, view.first_hour, frame) else {
        return html! {};
    };
    let today = frame.now.to_zoned(frame.zone.clone()).date();
    let first = today.saturating_sub(jiff::Span::new().days(7));
    let days: Vec<_> = view.days().filter(|(day, _)| *day >= first).collect();
    html! {
        section aria-labelledby="h-answers" {
            h2 #h-answers { "How fast it answers" }
            (chart)
            details {
                summary { "As a table" }
                table {
                    caption { span.vh { "Time to answer on each day, the newest first" } }
                    thead { tr { @for head in ["Day", "Fastest", "Mean", "Slowest", "Answers"] { th scope="col" { (head) } } } }
                    tbody {
                        @for (day, rollup) in days.iter().rev() {
                            @if let Some(mean) = rollup.mean() {
                                tr {
                                    th scope="row" { (day) }
                                    @for time in [rollup.fastest, mean, rollup.slowest] { td { (millis(time)) } }
                                    td { (grouped(u64::from(rollup.answers))) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn log(view: &ServiceView, frame: &Frame<'_>) -> Markup {
    let Some(log) = &view.log else {
        return html! {};
    };
    html! {
        section aria-labelledby="h-log" {
            h2 #h-log { "Last lines in the log" }
            @match log {
                Err(why) => p { (shortened(why, REASON_LIMIT)) },
                Ok(lines) if lines.is_empty() => p { "None in the last part of the log." },
                Ok(lines) => (logs::list(lines, frame)),
            }
            p { a href={ "/logs?service=" (encoded(view.row.service.as_str())) } { "All of its lines" } }
        }
    }
}
