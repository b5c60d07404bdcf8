//! What the monitor knows, as parts of the page: services by heartbeat and by what is seen now, what happened, phones, the board.

use std::cmp::Reverse;
use std::time::Duration;

use jiff::civil::Date;
use maud::{Markup, html};

use super::charts::beats_line;
use super::overview::{Overview, ago, grouped, service_word};
use super::pages::{NAME_LIMIT, REASON_LIMIT, capitalised, clock, shortened};
use super::request::encoded;
use crate::asset::{bytes_text, in_order, rfc3339};
use crate::monitor::board::{Board, Disk, When};
use crate::monitor::event::{Event, Turn};
use crate::monitor::rollup::Rollup;
use crate::monitor::{Live, ServiceRow, Status};

/// Events on the page; more are in the JSON.
const EVENTS_ON_PAGE: usize = 12;

/// Phones on the page.
const PHONES_ON_PAGE: usize = 12;

/// Days in a strip.
const STRIP_DAYS: i32 = 60;

/// A day's place in a strip, and what of it is drawn.
const BAR: i32 = 4;

const DAY: Duration = Duration::from_secs(86_400);

pub(super) fn services(overview: &Overview) -> Markup {
    let disagreements = overview
        .services
        .iter()
        .filter_map(ServiceRow::disagreement);
    html! {
        section #services aria-labelledby="h-services" {
            h2 #h-services { "Services" }
            @for disagreement in disagreements { p { span.mark.attention { "! They disagree" } " " (disagreement) } }
            table role="table" {
                caption { span.vh { "Each part of the appliance: its last heartbeat, what is seen of it now, and its last 60 days" } }
                thead {
                    tr role="row" {
                        th scope="col" { "Service" }
                        th scope="col" { "Heartbeat" }
                        th scope="col" { "Seen now" }
                        th scope="col" { "Last beats and 60 days" }
                    }
                }
                tbody { @for row in &overview.services { (service(overview, row)) } }
            }
        }
    }
}

/// A service's state: a mark and a word.
pub(super) fn state(row: &ServiceRow) -> Markup {
    let (class, symbol) = mark_of(row);
    html! { span class={ "mark " (class) } { span aria-hidden="true" { (symbol) " " } (service_word(row)) } }
}

fn service(overview: &Overview, row: &ServiceRow) -> Markup {
    let since = row
        .since
        .filter(|_| row.status.as_ref().is_some_and(Status::is_failure) || row.is_overdue());
    html! {
        tr role="row" {
            th scope="row" role="rowheader" {
                a href={ "/services/" (encoded(row.service.as_str())) } { (row.service.as_str()) }
                @if let Some(task) = &row.current_task { " " span.sub { bdi { (shortened(task, NAME_LIMIT)) } } }
                @if let Some(depth) = row.queue_depth.filter(|depth| *depth > 0) { " " span.sub { (grouped(depth)) " waiting" } }
            }
            td role="cell" {
                (state(row))
                " "
                @match row.last_heartbeat {
                    Some(at) => time.soft datetime=(rfc3339(at)) { (ago(at, overview.generated_at)) },
                    None => span.soft { "never" },
                }
                @if let Some(reason) = row.status.as_ref().and_then(Status::reason) {
                    " " span.sub { (shortened(reason, REASON_LIMIT)) }
                }
                @if let Some(since) = since { " " span.sub { "since " (clock(&overview.zone, since)) } }
            }
            td role="cell" {
                @for live in &row.live { (seen(live)) }
                @if row.live.is_empty() && row.response.is_none() { span.soft { "–" } }
                @if let Some(took) = row.response { " " span.sub { "answered in " (millis(took)) } }
            }
            td role="cell" {
                @if let Some((_, beats)) = overview.beats.iter().find(|(service, _)| *service == row.service) {
                    (beats_line(beats, row.patience, overview.generated_at))
                }
                (strip(overview, row))
            }
        }
    }
}

/// The mark of a service's state.
pub(super) fn mark_of(row: &ServiceRow) -> Mark {
    match &row.status {
        _ if row.is_overdue() => TROUBLE,
        Some(status) => mark(status),
        None => IDLE,
    }
}

pub(super) type Mark = (&'static str, &'static str);
const WELL: Mark = ("well", "✓");
const ATTENTION: Mark = ("attention", "!");
const TROUBLE: Mark = ("trouble", "✕");
const IDLE: Mark = ("idle", "–");

pub(super) fn mark(status: &Status) -> Mark {
    match status {
        Status::Up => WELL,
        Status::Degraded(_) => ATTENTION,
        Status::Stuck(_) | Status::Down(_) => TROUBLE,
        Status::Stopped | Status::Unknown(_) => IDLE,
    }
}

pub(super) fn seen(live: &Live) -> Markup {
    let (class, symbol) = mark(&live.status);
    html! {
        span.line {
            span class={ "mark " (class) } { span aria-hidden="true" { (symbol) " " } (shortened(&live.state, NAME_LIMIT)) }
            " " span.soft { (shortened(&live.source, NAME_LIMIT)) }
        }
    }
}

/// One bar for each day: how much of it the service was up, with a text that says the same.
pub(super) fn strip(overview: &Overview, row: &ServiceRow) -> Markup {
    let Some(today) = overview.seen.today else {
        return html! { span.soft { "–" } };
    };
    let days = overview
        .seen
        .days
        .iter()
        .filter(|(_, service, _)| *service == row.service);
    let days: Vec<(Date, Rollup)> = days.map(|(date, _, rollup)| (*date, *rollup)).collect();
    let mut all = Rollup::default();
    for (_, rollup) in &days {
        all.add(rollup);
    }
    let told = told(&all, looked_at(overview, &days));
    html! {
        svg.strip viewBox={ "0 0 " (STRIP_DAYS * BAR) " 20" } role="img" aria-label=(told) preserveAspectRatio="none" {
            title { (told) }
            rect.none x="0" y="8" width=(STRIP_DAYS * BAR - 1) height="4" {}
            @for (date, rollup) in &days {
                @let back = today.duration_since(*date).as_hours() / 24;
                @if let Ok(back) = i32::try_from(back) {
                    @if (0..STRIP_DAYS).contains(&back) {
                        rect class=(class_of(rollup)) x=((STRIP_DAYS - 1 - back) * BAR) y=(if rollup.down > Duration::ZERO { 0 } else { 4 }) width=(BAR - 1) height=(if rollup.down > Duration::ZERO { 20 } else { 12 }) {}
                    }
                }
            }
        }
        " " span.sub { (told) }
    }
}

/// A minute of trouble is a day with trouble; so the eye finds it.
fn class_of(rollup: &Rollup) -> &'static str {
    const TOLD: Duration = Duration::from_secs(60);
    if rollup.down >= TOLD {
        "trouble"
    } else if rollup.degraded >= TOLD {
        "attention"
    } else if rollup.up > Duration::ZERO {
        "well"
    } else {
        "none"
    }
}

/// How long it could have been looked at: of the first day, on which the history begins, as long as it was; today has only
/// begun.
fn looked_at(overview: &Overview, days: &[(Date, Rollup)]) -> Duration {
    let Some(((_, first), rest)) = days.split_first() else {
        return Duration::ZERO;
    };
    let whole = DAY.saturating_mul(u32::try_from(rest.len()).unwrap_or(u32::MAX));
    let ends_today = rest.last().map(|(date, _)| *date) == overview.seen.today;
    let now = overview.generated_at.to_zoned(overview.zone.clone());
    let to_come = now
        .end_of_day()
        .ok()
        .and_then(|end| Duration::try_from(end.duration_since(&now)).ok());
    let to_come = to_come.filter(|_| ends_today).unwrap_or_default();
    DAY.saturating_sub(first.unknown_of(DAY)) + whole.saturating_sub(to_come)
}

fn told(all: &Rollup, looked_at: Duration) -> String {
    let known = all.up + all.degraded + all.down;
    if known.is_zero() {
        return "nothing is known yet".to_owned();
    }
    let up = (all.up + all.degraded).as_secs_f64() / known.as_secs_f64() * 100.0;
    // 99.99 % must not read as a whole.
    let up = (up * 10.0).floor() / 10.0;
    let unknown = looked_at.saturating_sub(known);
    let mut told = vec![format!("{up:.1} % up")];
    if !all.down.is_zero() {
        told.push(format!("down {}", time_text(all.down)));
    }
    if unknown > Duration::from_secs(3600) {
        told.push(format!("not looked at {}", time_text(unknown)));
    }
    told.join(", ")
}

/// A length of time in words: its two largest units at most.
pub(super) fn time_text(time: Duration) -> String {
    let minutes = time.as_secs() / 60;
    let (days, hours, minutes) = (minutes / 1440, minutes / 60 % 24, minutes % 60);
    match (days, hours) {
        (0, 0) if minutes == 0 => format!("{} s", time.as_secs()),
        (0, 0) => format!("{minutes} min"),
        (0, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

pub(super) fn millis(took: Duration) -> String {
    if took < Duration::from_secs(10) {
        format!("{} ms", took.as_millis())
    } else {
        format!("{} s", took.as_secs())
    }
}

pub(super) fn events(overview: &Overview) -> Markup {
    let events = &overview.seen.events;
    if events.is_empty() {
        return html! {};
    }
    html! {
        section #events aria-labelledby="h-events" {
            h2 #h-events { a href="/events" { "What happened" } }
            ol.events {
                @for event in events.iter().take(EVENTS_ON_PAGE) {
                    li {
                        span class={ "mark " (event_mark(event).0) } { (event_word(event)) }
                        " " (shortened(&event.text, REASON_LIMIT))
                        " " span.sub { time datetime=(rfc3339(event.at)) { (ago(event.at, overview.generated_at)) } ", " (event.kind.as_str()) }
                    }
                }
            }
        }
    }
}

pub(super) fn event_mark(event: &Event) -> Mark {
    match event.turn {
        Turn::Opened => TROUBLE,
        Turn::Closed => WELL,
        Turn::News => IDLE,
    }
}

pub(super) fn event_word(event: &Event) -> &'static str {
    match event.turn {
        Turn::Opened => "✕ began",
        Turn::Closed => "✓ over",
        Turn::News => "– news",
    }
}

pub(super) fn phones(overview: &Overview) -> Markup {
    if overview.seen.phones.is_empty() {
        return html! {};
    }
    let phones = in_order(&overview.seen.phones, |(_, phone)| Reverse(phone.last));
    html! {
        section #phones aria-labelledby="h-phones" {
            h2 #h-phones { "Phones" }
            table {
                caption { span.vh { "When each folder of the inbox brought its last photo" } }
                thead { tr { th scope="col" { "Phone" } th scope="col" { "Last photo" } th scope="col" { "Days with photos" } } }
                tbody {
                    @for (name, phone) in phones.into_iter().take(PHONES_ON_PAGE) {
                        tr {
                            th scope="row" { bdi { (shortened(name, NAME_LIMIT)) } }
                            td { time datetime=(rfc3339(phone.last)) { (ago(phone.last, overview.generated_at)) } }
                            td { (grouped(u64::from(phone.days))) }
                        }
                    }
                }
            }
        }
    }
}

pub(super) fn board(overview: &Overview) -> Markup {
    let Some(board) = &overview.seen.board else {
        return html! {};
    };
    html! {
        section #board aria-labelledby="h-board" {
            h2 #h-board { "This machine" }
            dl.facts {
                @for disk in &board.disks { (disk_facts(disk)) }
                @for (name, value) in facts(board) { div { dt { (name) } dd { (value) } } }
                div {
                    dt { "History of the services" }
                    dd { (bytes_text(overview.seen.history_bytes)) ", commits since the start: " (grouped(overview.seen.history_commits)) }
                }
            }
        }
    }
}

fn disk_facts(disk: &Disk) -> Markup {
    html! {
        div {
            dt { "Disk of " (disk.name) }
            dd {
                @match disk.room {
                    Some(room) => {
                        (bytes_text(room.free)) " of " (bytes_text(room.total)) " free"
                        @if let Some((free, _)) = room.inodes { ", room for " (grouped(free)) " files" }
                    }
                    None => "does not answer",
                }
                @if let Some(written) = disk.written_per_hour { ", " (bytes_text(written)) " written an hour" }
            }
        }
    }
}

fn facts(board: &Board) -> Vec<(&'static str, String)> {
    let memory = board.memory;
    let mut facts = vec![(
        "Memory",
        format!(
            "{} of {} available; Photo Factory uses {}",
            bytes_text(memory.available),
            bytes_text(memory.total),
            bytes_text(memory.own)
        ),
    )];
    if let Some(written) = board.own_written_per_hour {
        let text = format!("{} an hour", bytes_text(written));
        facts.push(("Written by Photo Factory", text));
    }
    if let Some([one, five, fifteen]) = board.load {
        facts.push(("Load", format!("{one:.2}, {five:.2}, {fifteen:.2}")));
    }
    if let Some(degrees) = board.temperature {
        facts.push(("Temperature", format!("{degrees:.0} °C")));
    }
    if let Some(power) = board.power {
        let text = |when| match when {
            When::Now => "now".to_owned(),
            When::Before => "not now, but since the start".to_owned(),
            When::Never => "never".to_owned(),
        };
        facts.push(("Power supply too weak", text(power.low)));
        facts.push(("Slowed itself down", text(power.throttled)));
    }
    let clock = match board.clock_is_kept {
        Some(true) => "kept by a time service",
        Some(false) => "kept by nobody",
        None => "nobody says",
    };
    facts.push(("Clock", clock.to_owned()));
    if let Some(uptime) = board.uptime {
        facts.push(("Up for", capitalised(&time_text(uptime))));
    }
    facts
}
