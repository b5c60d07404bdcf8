//! What is kept where, how it grows, when the disk is full, and what is written to it.

use jiff::civil::Date;
use maud::{Markup, html};
use serde_json::{Value, json};

use super::{Frame, capitalised};
use crate::asset::{Kind, bytes_text, in_order};
use crate::config::Reserve;
use crate::dashboard::json::object;
use crate::dashboard::overview::{Overview, grouped};
use crate::dashboard::reply::Reply;
use crate::dashboard::routes::{Answer, Asked};
use crate::ledger::{Ledger, LedgerError, Month, Year};
use crate::monitor::board::Disk;

/// Years in the table.
const YEARS: usize = 60;

/// Months in the chart.
const MONTHS: i64 = 24;

/// A forecast is made from so many days at least: a first copy of all old photos says nothing about the next month.
const KNOWN_DAYS: i64 = 60;

/// It is made from the last year.
const LOOKED_BACK: i64 = 365;

/// What the page shows.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct StorageView {
    /// Today, in the appliance's zone.
    pub today: Date,
    /// What was taken in each year.
    pub years: Vec<Year>,
    /// Files of each kind, and their bytes.
    pub kinds: Vec<(Kind, u64, u64)>,
    /// What was filed in each month.
    pub months: Vec<Month>,
    /// The disks.
    pub disks: Vec<Disk>,
    /// Bytes on the disk of the originals that photos may still take; `None`: not known.
    pub room: Option<u64>,
    /// Bytes that Photo Factory has written in an hour; `None`: not known yet.
    pub own_written_per_hour: Option<u64>,
    /// Bytes of the ledger's file and of the history's.
    pub own_files: [u64; 2],
}

impl StorageView {
    /// Reads it: sums for each year, month and kind, and what the monitor saw of the disks.
    pub fn gather(
        ledger: &Ledger,
        overview: &Overview,
        reserve: Reserve,
        today: Date,
    ) -> Result<Self, LedgerError> {
        let counts = ledger.totals()?.per_kind;
        let kinds = ledger.bytes_per_kind()?.into_iter().map(|(kind, bytes)| {
            let count = counts.iter().find(|(known, _)| *known == kind);
            (kind, count.map_or(0, |(_, count)| *count), bytes)
        });
        let board = overview.seen.board.as_ref();
        let disks = board.map(|board| board.disks.clone()).unwrap_or_default();
        let total = disks
            .iter()
            .filter(|disk| disk.name.contains("storage"))
            .find_map(|disk| Some(disk.room?.total));
        let room = overview.activity.storage_free.map(|free| {
            let share = total.map_or(u128::from(reserve.most), |total| {
                u128::from(total) * u128::from(reserve.millionths) / 1_000_000
            });
            free.saturating_sub(reserve.most.min(u64::try_from(share).unwrap_or(u64::MAX)))
        });
        Ok(Self {
            today,
            years: ledger.years()?,
            kinds: kinds.collect(),
            months: ledger.growth()?,
            room,
            own_written_per_hour: board.and_then(|board| board.own_written_per_hour),
            own_files: [
                std::fs::metadata(ledger.path()).map_or(0, |file| file.len()),
                overview.seen.history_bytes,
            ],
            disks,
        })
    }

    /// Bytes filed a day, over the last year; `None`: too little is known.
    fn bytes_per_day(&self) -> Option<u64> {
        let first = self.months.first()?.first;
        let age = self.today.duration_since(first).as_hours() / 24;
        if age < KNOWN_DAYS {
            return None;
        }
        let days = age.min(LOOKED_BACK);
        let begin = self.today.saturating_sub(jiff::Span::new().days(days));
        // The first month of all may be the one in which old photos were copied.
        let is_counted = |month: &&Month| month.first >= begin && month.first > first;
        let bytes: u64 = self
            .months
            .iter()
            .filter(is_counted)
            .map(|month| month.bytes)
            .sum();
        bytes.checked_div(u64::try_from(days).ok()?)
    }

    /// The day on which the disk is full, if it goes on as in the last year. `None`: not known, or not in a hundred years.
    fn full_on(&self) -> Option<Date> {
        let days = self.room?.checked_div(self.bytes_per_day()?)?;
        let days = i64::try_from(days).ok().filter(|days| *days < 36_500)?;
        self.today.checked_add(jiff::Span::new().days(days)).ok()
    }

    /// The last months, those without anything too.
    fn last_months(&self) -> Vec<Month> {
        let Some(first) = self.months.first().map(|month| month.first) else {
            return Vec::new();
        };
        let this = self.today.first_of_month();
        let back = |months| this.saturating_sub(jiff::Span::new().months(months));
        let shown = (0..MONTHS).rev().map(back).filter(|month| *month >= first);
        let of = |month| {
            self.months
                .iter()
                .find(|known| known.first == month)
                .copied()
        };
        let empty = |first| Month {
            first,
            photos: 0,
            bytes: 0,
        };
        shown
            .map(|month| of(month).unwrap_or(empty(month)))
            .collect()
    }

    fn forecast(&self) -> String {
        let Some(room) = self.room else {
            return "How much room is left is not known: the disk of the originals does not answer.".to_owned();
        };
        let room_text = bytes_text(room);
        match (self.bytes_per_day(), self.full_on()) {
            (None, _) => format!(
                "There is room for {room_text} more. When it will be full can be told after two months."
            ),
            (Some(rate), Some(day)) => format!(
                "There is room for {room_text} more. At {} a month, as in the last year, the disk is full about {}.",
                bytes_text(rate * 30),
                day.strftime("%B %Y")
            ),
            (Some(_), None) => {
                format!("There is room for {room_text} more: enough for many years.")
            }
        }
    }

    /// The same as JSON.
    pub fn json(&self) -> Value {
        let years = self.years.iter().map(|year| {
            object(vec![
                ("year", json!(year.year)),
                ("photos", json!(year.photos())),
                ("bytes", json!(year.bytes)),
                ("months", json!(year.months)),
            ])
        });
        let kinds = self.kinds.iter().map(|(kind, files, bytes)| {
            object(vec![
                ("kind", json!(kind.as_str())),
                ("files", json!(files)),
                ("bytes", json!(bytes)),
            ])
        });
        let months = self.months.iter().map(|month| {
            object(vec![
                ("month", json!(month.first.strftime("%Y-%m").to_string())),
                ("photos", json!(month.photos)),
                ("bytes", json!(month.bytes)),
            ])
        });
        object(vec![
            ("years", years.collect()),
            ("kinds", kinds.collect()),
            ("filed", months.collect()),
            ("room_bytes", json!(self.room)),
            ("bytes_per_day", json!(self.bytes_per_day())),
            ("full_on", json!(self.full_on().map(|day| day.to_string()))),
            (
                "disks",
                self.disks
                    .iter()
                    .map(crate::dashboard::json::disk_json)
                    .collect(),
            ),
            (
                "own_written_bytes_per_hour",
                json!(self.own_written_per_hour),
            ),
            ("ledger_bytes", json!(self.own_files[0])),
            ("history_bytes", json!(self.own_files[1])),
        ])
    }
}

fn with_view(asked: &Asked<'_>, reply: &dyn Fn(&StorageView) -> Reply) -> Answer {
    asked.of_ledger(|ledger| {
        let config = &asked.site.config;
        let today = (asked.site.now)().to_zoned(config.zone.clone()).date();
        let overview = (asked.site.overview)();
        StorageView::gather(ledger, &overview, config.reserve, today).map(|view| reply(&view))
    })
}

/// `/storage`.
pub(in crate::dashboard) fn answer(asked: &Asked<'_>) -> Answer {
    with_view(asked, &|view| Reply::html(200, page(view, &asked.frame())))
}

/// `/api/v1/storage`.
pub(in crate::dashboard) fn json_answer(asked: &Asked<'_>) -> Answer {
    with_view(asked, &|view| Reply::json(&view.json()))
}

/// The page.
pub fn page(view: &StorageView, frame: &Frame<'_>) -> Markup {
    frame.page(
        "",
        "Storage",
        &html! {},
        None,
        &html! {
            section aria-labelledby="h-room" {
                h2 #h-room { "Room" }
                p { (view.forecast()) }
                (disks(view))
            }
            (growth(view))
            (years(view))
            (kinds(view))
        },
    )
}

fn disks(view: &StorageView) -> Markup {
    const HOURS: u64 = 24 * 365;
    html! {
        dl.facts {
            @for disk in &view.disks {
                div {
                    dt { "Disk of " (disk.name) }
                    dd {
                        @if let Some(room) = disk.room {
                            @let used = room.total.saturating_sub(room.free);
                            meter min="0" max=(room.total) value=(used) { (bytes_text(used)) " used" }
                            " " span.sub { (bytes_text(room.free)) " of " (bytes_text(room.total)) " free" }
                        } @else { "does not answer" }
                        @if let Some(written) = disk.written_per_hour {
                            " " span.sub { (bytes_text(written)) " written an hour by everybody, " (bytes_text(written.saturating_mul(HOURS))) " a year at that rate" }
                        }
                    }
                }
            }
            @if let Some(written) = view.own_written_per_hour {
                div {
                    dt { "Written by Photo Factory" }
                    dd { (bytes_text(written)) " an hour, " (bytes_text(written.saturating_mul(HOURS))) " a year at that rate " span.sub { "A card of 32 GB bears about 10 TB." } }
                }
            }
            div { dt { "Ledger" } dd { (bytes_text(view.own_files[0])) } }
            div { dt { "History of the services" } dd { (bytes_text(view.own_files[1])) } }
        }
    }
}

fn growth(view: &StorageView) -> Markup {
    const BAR: i64 = 20;
    const HEIGHT: u64 = 100;
    let months = &view.last_months();
    let most = months
        .iter()
        .map(|month| month.bytes)
        .max()
        .unwrap_or(0)
        .max(1);
    let (Some(first), Some(last)) = (months.first(), months.last()) else {
        return html! {};
    };
    let told = format!(
        "Bytes filed in each month from {} to {}: at most {}",
        first.first.strftime("%B %Y"),
        last.first.strftime("%B %Y"),
        bytes_text(most)
    );
    html! {
        section aria-labelledby="h-growth" {
            h2 #h-growth { "Growth" }
            p { (told) "." }
            svg.bars viewBox={ "0 0 " (MONTHS * BAR) " " (HEIGHT) } role="img" aria-label=(told) preserveAspectRatio="none" {
                @for (index, month) in (MONTHS - i64::try_from(months.len()).unwrap_or(MONTHS)..).zip(months) {
                    @let height = scaled(month.bytes, most, HEIGHT);
                    rect x=(index * BAR) y=(HEIGHT - height) width=(BAR - 3) height=(height) {
                        title { (month.first.strftime("%B %Y")) ": " (bytes_text(month.bytes)) ", " (grouped(month.photos)) " photos" }
                    }
                }
            }
            details {
                summary { "As a table" }
                table {
                    caption { span.vh { "What was filed in each month, the newest first" } }
                    thead { tr { th scope="col" { "Month" } th scope="col" { "Photos" } th scope="col" { "Bytes" } } }
                    tbody {
                        @for month in months.iter().rev() {
                            tr { th scope="row" { (month.first.strftime("%Y-%m")) } td { (grouped(month.photos)) } td { (bytes_text(month.bytes)) } }
                        }
                    }
                }
            }
        }
    }
}

fn scaled(value: u64, most: u64, height: u64) -> u64 {
    let scaled = u128::from(value) * u128::from(height) / u128::from(most.max(1));
    u64::try_from(scaled)
        .unwrap_or(height)
        .max(u64::from(value > 0))
}

fn years(view: &StorageView) -> Markup {
    let most = view.years.iter().map(|year| year.bytes).max().unwrap_or(1);
    let rows = view.years.iter().rev().take(YEARS);
    let rows = rows.map(|year| {
        (
            year.year.to_string(),
            format!("/photos?year={}", year.year),
            year.photos(),
            year.bytes,
        )
    });
    share_table("years", "Per year", "Year", &rows.collect::<Vec<_>>(), most)
}

fn kinds(view: &StorageView) -> Markup {
    let most = view
        .kinds
        .iter()
        .map(|(_, _, bytes)| *bytes)
        .max()
        .unwrap_or(1);
    let kinds = in_order(&view.kinds, |(_, _, bytes)| std::cmp::Reverse(*bytes));
    let rows = kinds.iter().map(|(kind, files, bytes)| {
        (
            capitalised(kind.as_str()),
            format!("/photos?kind={}", kind.as_str()),
            *files,
            *bytes,
        )
    });
    share_table("kinds", "Per kind", "Kind", &rows.collect::<Vec<_>>(), most)
}

fn share_table(
    id: &str,
    heading: &str,
    column: &str,
    rows: &[(String, String, u64, u64)],
    most: u64,
) -> Markup {
    if rows.is_empty() {
        return html! {};
    }
    html! {
        section aria-labelledby={ "h-" (id) } {
            h2 id={ "h-" (id) } { (heading) }
            table {
                caption { span.vh { (heading) ": files and bytes" } }
                thead { tr { th scope="col" { (column) } th scope="col" { "Files" } th scope="col" { "Bytes" } } }
                tbody {
                    @for (name, link, files, bytes) in rows {
                        tr {
                            th scope="row" { a href=(link) { (name) } }
                            td.t { (grouped(*files)) }
                            td {
                                (bytes_text(*bytes))
                                svg.share viewBox="0 0 100 4" aria-hidden="true" preserveAspectRatio="none" {
                                    rect width=(scaled(*bytes, most, 100)) height="4" {}
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
