//! A year of photos as a calendar, each day with some a link to them, and links to the other years.

use jiff::civil::{Date, date};
use maud::{Markup, PreEscaped, html};

use super::photos::date_of;
use crate::dashboard::overview::grouped;
use crate::ledger::Year;

/// Years led to.
const YEARS: usize = 25;

/// A day's side and its step in the calendar.
const STEP: i64 = 12;

/// Room for the names of months above the days.
const TOP: i64 = 14;

/// One year, with the photos of its days: a column for each week, a row for each day of the week, Monday first.
pub(super) fn calendar(shown: Option<&(i16, Vec<(Date, u64)>)>, years: &[Year]) -> Markup {
    let Some((year, days)) = shown else {
        return html! {};
    };
    let begin = date(*year, 1, 1);
    let offset = i64::from(begin.weekday().to_monday_zero_offset());
    let place = |day: Date| {
        let number = i64::from(day.day_of_year()) - 1 + offset;
        (number / 7 * STEP, number % 7 * STEP + TOP)
    };
    let most = days.iter().map(|(_, count)| *count).max().unwrap_or(1);
    let all: u64 = days.iter().map(|(_, count)| count).sum();
    let months = (1..=12).filter_map(|month| date_of(*year, month, 1));
    html! {
        section #calendar aria-labelledby="h-calendar" {
            h2 #h-calendar { "Photos on each day of " (year) }
            p { (grouped(all)) " photos on " (days.len()) " days; the darker, the more. Each day with photos leads to them." }
            div.scroll tabindex="0" role="group" aria-label={ "Calendar of " (year) } {
                svg.calendar viewBox={ "0 0 " (53 * STEP + 9) " " (7 * STEP + TOP) } role="group" aria-label={ "Days of " (year) } {
                    @for month in months {
                        text x=(place(month).0) y="9" { (month.strftime("%b")) }
                    }
                    (no_photos(begin, &place))
                    @for (day, count) in days {
                        (linked(*day, *count, shade(*count, most), place(*day)))
                    }
                }
            }
            (years_links(years, *year))
        }
    }
}

/// A day with photos. There may be 366 of them: every byte counts, and none of them comes from a file.
fn linked(day: Date, count: u64, shade: &str, (x, y): (i64, i64)) -> PreEscaped<String> {
    let name = day.strftime("%-d %b");
    PreEscaped(format!(
        "<a class={shade} href=\"?day={day}\"><title>{name}: {count}</title><rect x={x} y={y} /></a>"
    ))
}

/// All days of the year, as seven dashed lines.
fn no_photos(begin: Date, place: &dyn Fn(Date) -> (i64, i64)) -> Markup {
    let last = begin.last_of_year();
    html! {
        @for row in 0..7 {
            @let first = begin.saturating_add(jiff::Span::new().days(row));
            @let back = i64::from(last.day_of_year() - first.day_of_year()) % 7;
            @let end = last.saturating_sub(jiff::Span::new().days(back));
            @let ((x, y), (to, _)) = (place(first), place(end));
            path d={ "M" (x) " " (y) "h" (to - x + 9) } {}
        }
    }
}

fn shade(count: u64, most: u64) -> &'static str {
    // By the logarithm: a day with a thousand must not pale all others.
    let steps = (count + 1).ilog2() * 4 / (most + 1).ilog2().max(1);
    match steps {
        0..2 => "q1",
        2 => "q2",
        3 => "q3",
        _ => "q4",
    }
}

fn years_links(years: &[Year], shown: i16) -> Markup {
    html! {
        nav.years aria-label="Years" {
            ul {
                @for year in years.iter().rev().take(YEARS) {
                    li {
                        a href={ "?year=" (year.year) } aria-current=[(year.year == shown).then_some("true")] {
                            (year.year) " " span.soft { (grouped(year.photos())) }
                        }
                    }
                }
            }
        }
    }
}
