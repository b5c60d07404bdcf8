//! Charts of a service: data in, SVG out. Each says in words what it shows; none says anything by its colour alone.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};

use super::health::{mark, millis, time_text};
use super::pages::Frame;
use crate::monitor::rollup::Rollup;
use crate::monitor::{Beat, Monitor, ServiceRow, Status};

/// Beats and gaps in a strip.
pub(super) const BEATS: usize = 48;

/// Hours in a chart of response times: a week.
pub(super) const HOURS: i64 = 7 * 24;

/// A beat's place in a strip.
const STEP: usize = 8;

/// An hour's place in a chart.
const HOUR: i64 = 4;

/// How high a chart is.
const HEIGHT: u128 = 100;

/// A place in a strip: a beat, or so long a time without one.
enum Place<'a> {
    Beat(&'a Beat),
    Gap(Duration),
}

/// The last beats, oldest first; longer than `patience` without one is a gap.
fn places(beats: &[Beat], patience: Duration, now: Timestamp) -> Vec<Place<'_>> {
    let mut places = Vec::new();
    let nexts = beats.iter().skip(1).map(|next| next.at).chain([now]);
    for (beat, next) in beats.iter().zip(nexts) {
        places.push(Place::Beat(beat));
        let silence = Duration::try_from(next.duration_since(beat.at)).unwrap_or_default();
        if silence > patience {
            places.push(Place::Gap(silence));
        }
    }
    let first = places.len().saturating_sub(BEATS);
    places.split_off(first)
}

/// The beats of a strip, oldest first. Reads at most twice as many rows as it has places.
pub(super) fn last_beats(monitor: &Monitor, row: &ServiceRow, now: Timestamp) -> Vec<Beat> {
    // Patience is longer than a beat takes: there is room for gaps.
    let places = u32::try_from(BEATS).unwrap_or(u32::MAX);
    let back = SignedDuration::try_from(row.patience.saturating_mul(places));
    let since = now.saturating_sub(back.unwrap_or_default()).unwrap_or(now);
    monitor.beats(&row.service, since, Timestamp::MAX)
}

/// The last beats, small: for the table of all services.
pub(super) fn beats_line(beats: &[Beat], patience: Duration, now: Timestamp) -> Markup {
    let places = places(beats, patience, now);
    let told = told(&places);
    let mut shapes: Vec<(&str, String)> = Vec::new();
    for (place, x) in places
        .iter()
        .zip((BEATS - places.len()..).map(|place| place * STEP))
    {
        let (class, shape) = match place {
            Place::Beat(beat) => (mark(&beat.status).0, shape(&beat.status)),
            Place::Gap(_) => ("gap", " 9h6v2h-6z"),
        };
        let path = format!("M{x}{shape}");
        match shapes.iter_mut().find(|(known, _)| *known == class) {
            Some((_, paths)) => paths.push_str(&path),
            None => shapes.push((class, path)),
        }
    }
    html! {
        svg.strip viewBox={ "0 0 " (BEATS * STEP) " 20" } role="img" aria-label=(told) preserveAspectRatio="none" {
            title { (told) }
            @for (class, path) in shapes { path class=(class) d=(path) {} }
        }
    }
}

/// The last beats as a strip, oldest first.
pub(super) fn beats(beats: &[Beat], patience: Duration, frame: &Frame<'_>) -> Markup {
    let places = places(beats, patience, frame.now);
    let told = told(&places);
    let time = |beat: &Beat| {
        beat.at
            .to_zoned(frame.zone.clone())
            .strftime("%H:%M:%S")
            .to_string()
    };
    html! {
        svg.strip.beats viewBox={ "0 0 " (BEATS * STEP) " 20" } role="img" aria-label=(told) preserveAspectRatio="none" {
            title { (told) }
            @for (place, x) in places.iter().zip((BEATS - places.len()..).map(|place| place * STEP)) {
                @match place {
                    Place::Beat(beat) => path class=(mark(&beat.status).0) d={ "M" (x) (shape(&beat.status)) } {
                        title { (time(beat)) ": " (beat.status.as_str()) }
                    }
                    Place::Gap(silence) => path.gap d={ "M" (x) " 9h6v2h-6z" } { title { "nothing for " (time_text(*silence)) } }
                }
            }
        }
        p.soft {
            (told) ". A bar: up; a triangle: with a limit; a tall bar: stuck or down; a low bar: stopped or unknown; a thin line: nothing was heard."
        }
    }
}

fn shape(status: &Status) -> &'static str {
    match status {
        Status::Up => " 4h6v12h-6z",
        Status::Degraded(_) => " 18h6l-3 -16z",
        Status::Stuck(_) | Status::Down(_) => " 0h6v20h-6z",
        Status::Stopped | Status::Unknown(_) => " 7h6v6h-6z",
    }
}

fn told(places: &[Place<'_>]) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for place in places {
        let word = match place {
            Place::Beat(beat) => beat.status.as_str(),
            Place::Gap(_) => "without a beat",
        };
        match counts.iter_mut().find(|(known, _)| *known == word) {
            Some((_, count)) => *count += 1,
            None => counts.push((word, 1)),
        }
    }
    if counts.is_empty() {
        return "No beat in the last hours".to_owned();
    }
    let counts = counts.iter().map(|(word, count)| format!("{count} {word}"));
    format!("The last beats: {}", counts.collect::<Vec<_>>().join(", "))
}

/// The times that answers took in each hour from `first` on: a band from the fastest to the slowest, a line through the means.
/// Nothing where no answer was timed.
pub(super) fn responses(
    hours: &[(Timestamp, Rollup)],
    first: Timestamp,
    frame: &Frame<'_>,
) -> Option<Markup> {
    let mut all = Rollup::default();
    for (_, hour) in hours {
        all.add(hour);
    }
    let mean = all.mean()?;
    let most = all.slowest.as_millis().max(1);
    let y = |time: Duration| HEIGHT - (time.as_millis() * HEIGHT / most).min(HEIGHT);
    let (mut band, mut line) = (Vec::new(), Vec::new());
    let mut end = None;
    for (at, hour) in hours {
        let Some(mean) = hour.mean() else { continue };
        let x = at.duration_since(first).as_hours() * HOUR;
        let (top, bottom) = (y(hour.slowest), y(hour.fastest).max(y(hour.slowest) + 1));
        band.push(format!("M{x} {top}h{HOUR}v{}h-{HOUR}z", bottom - top));
        let begin = if end == Some(x) { 'L' } else { 'M' };
        line.push(format!("{begin}{x} {}h{HOUR}", y(mean)));
        end = Some(x + HOUR);
    }
    let told = format!(
        "Time to answer in the last 7 days: {} at best, {} on average, {} at worst",
        millis(all.fastest),
        millis(mean),
        millis(all.slowest)
    );
    let marks = (0..HOURS / 24).map(|day| {
        let at = first.saturating_add(jiff::SignedDuration::from_hours(day * 24));
        let at = at.unwrap_or(first).to_zoned(frame.zone.clone());
        at.strftime("%-d %b").to_string()
    });
    let hour = first
        .to_zoned(frame.zone.clone())
        .strftime("%H:%M")
        .to_string();
    Some(html! {
        p { (told) "." }
        p.axis aria-hidden="true" { span { (millis(all.slowest)) } }
        svg.chart viewBox={ "0 0 " (HOURS * HOUR) " " (HEIGHT) } role="img" aria-label=(told) preserveAspectRatio="none" {
            title { (told) }
            path.grid d={ @for day in 0..HOURS / 24 { "M" (day * 24 * HOUR) " 0v" (HEIGHT) } } {}
            path.band d=(band.concat()) {}
            path.mean d=(line.concat()) {}
        }
        p.axis { @for mark in marks { span { (mark) } } }
        p.soft { "The band reaches from the fastest answer of an hour to the slowest, up from 0 ms at the bottom; the line is their mean. Each mark is at " (hour) " of its day." }
    })
}
