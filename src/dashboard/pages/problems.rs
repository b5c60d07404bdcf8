//! What needs a look, each with a reason and a way out; and the few things that a page may ask for.
//!
//! A page costs the rows that stand on it, however many there are. With the ledger down it says so, and the rest of it works.

use std::path::Path;

use jiff::Timestamp;
use maud::{Markup, html};
use serde_json::{Value, json};

use super::{Frame, NAME_LIMIT, REASON_LIMIT, capitalised, clock, shortened, small_page};
use crate::asset::{Asset, Left, LeftBecause, lossy, rfc3339};
use crate::dashboard::access::sign_in::hidden;
use crate::dashboard::access::{FORM_TOKEN, Visitor};
use crate::dashboard::json::{object, verified_json};
use crate::dashboard::overview::{Overview, ago, ended, grouped};
use crate::dashboard::pages::overview::{finding_text, round_text};
use crate::dashboard::reply::Reply;
use crate::dashboard::request::encoded;
use crate::dashboard::routes::{Answer, Asked};
use crate::dashboard::site::Action;
use crate::ledger::{Facet, Ledger, LedgerError, Look};
use crate::verify::background::Verified;
use crate::verify::row;

/// Files of the inbox on a page.
const ON_PAGE: usize = 12;

/// The same in one answer of the JSON.
const IN_JSON: usize = 100;

/// Damaged photos and findings on a page.
const FEW: usize = 5;

/// Bytes of a path that go with a button or a link. There are paths of 4 KiB, and a page must not grow with them.
const PATH_LIMIT: usize = 480;

/// What the page shows.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ProblemsView {
    /// When it was gathered.
    pub now: Timestamp,
    /// Files that stay in the inbox for a problem, the newest first.
    pub left: Vec<Left>,
    /// How many there are in all.
    pub left_count: u64,
    /// Whether others come before those.
    pub is_continued: bool,
    /// Whether others come after them.
    pub has_more: bool,
    /// The photos that came damaged and were taken last.
    pub damaged: Vec<Asset>,
    /// How many there are in all.
    pub damaged_count: u64,
    /// Photos under a guessed day.
    pub guessed: u64,
    /// What the verification found; `None`: it is switched off.
    pub verified: Option<Verified>,
    /// Until when the owner wants no photo to be taken, if so.
    pub paused_until: Option<Timestamp>,
    /// Why the ledger can't be read, if so.
    pub ledger_error: Option<String>,
}

impl ProblemsView {
    /// Takes the counts and the verification's word from the overview, and reads the rows of one page, of `limit` files.
    pub fn gather(
        ledger: Option<&Ledger>,
        overview: Overview,
        after: Option<(Timestamp, &Path)>,
        limit: usize,
    ) -> Self {
        let photos = overview.photos.unwrap_or_default();
        let mut view = Self {
            now: overview.generated_at,
            left_count: overview.left,
            is_continued: after.is_some(),
            damaged_count: photos.with_errors,
            guessed: photos.guessed_dates,
            verified: overview.activity.verified,
            paused_until: overview.activity.paused_until,
            ledger_error: overview.ledger_error,
            ..Self::default()
        };
        if let Some(ledger) = ledger
            && let Err(error) = view.read(ledger, after, limit)
        {
            view.ledger_error = Some(error.to_string());
        }
        view
    }

    fn read(
        &mut self,
        ledger: &Ledger,
        after: Option<(Timestamp, &Path)>,
        limit: usize,
    ) -> Result<(), LedgerError> {
        self.left = ledger.problems_after(after, limit + 1)?;
        self.has_more = self.left.len() > limit;
        self.left.truncate(limit);
        let look = Look {
            facet: Some(&Facet::Damaged),
            limit: FEW,
            rows: FEW,
            ..Look::default()
        };
        self.damaged = ledger.photos(&look, &|_| true)?.photos;
        Ok(())
    }

    /// Where the list goes on.
    fn next(&self) -> Option<String> {
        let last = self.left.last().filter(|_| self.has_more)?;
        let since = last.since.as_millisecond();
        Some(format!("{since}~{}", row::path_text(&last.inbox_path)))
    }

    /// The same as JSON.
    pub fn json(&self) -> Value {
        let left = self.left.iter().map(|left| {
            object(vec![
                ("path", json!(lossy(left.inbox_path.as_os_str()))),
                ("sort", json!(left.why.as_str())),
                ("reason", json!(left.reason)),
                ("advice", json!(way_out(left.why))),
                ("since", json!(rfc3339(left.since))),
            ])
        });
        object(vec![
            ("left", left.collect()),
            ("left_total", json!(self.left_count)),
            ("next", json!(self.next())),
            ("damaged", self.damaged.iter().map(Asset::to_json).collect()),
            ("damaged_total", json!(self.damaged_count)),
            ("guessed_dates", json!(self.guessed)),
            ("verified", json!(self.verified.as_ref().map(verified_json))),
            ("paused_until", json!(self.paused_until.map(rfc3339))),
            ("ledger_error", json!(self.ledger_error)),
        ])
    }
}

fn view(asked: &Asked<'_>, limit: usize) -> ProblemsView {
    let after = asked.request.query_value("after");
    let after = after.and_then(|text| {
        let (since, path) = text.split_once('~')?;
        let since = Timestamp::from_millisecond(since.parse().ok()?).ok()?;
        Some((since, row::path_of(path)?))
    });
    let after = after.as_ref().map(|(since, path)| (*since, path.as_path()));
    let overview = (asked.site.overview)();
    ProblemsView::gather(
        asked.site.ledger.upgrade().as_deref(),
        overview,
        after,
        limit,
    )
}

/// `/problems`.
pub(in crate::dashboard) fn answer(asked: &Asked<'_>) -> Answer {
    Reply::html(200, page(&view(asked, ON_PAGE), &asked.frame())).into()
}

/// `/api/v1/problems`.
pub(in crate::dashboard) fn json_answer(asked: &Asked<'_>) -> Answer {
    Reply::json(&view(asked, IN_JSON).json()).into()
}

/// `/actions/retry`: the file in the field `path`, as [`row::path_text`]; without it all that were left.
pub(in crate::dashboard) fn retry(asked: &Asked<'_>) -> Answer {
    let path = asked.request.form_value("path");
    match path.map(|text| row::path_of(&text)) {
        Some(None) => Reply::refusal(400, "The field `path` names no file.").into(),
        path => act(asked, "Try again", Action::Retry(path.flatten())),
    }
}

/// `/actions/verify`.
pub(in crate::dashboard) fn verify(asked: &Asked<'_>) -> Answer {
    act(asked, "Verify now", Action::VerifyNow)
}

/// `/actions/pause`.
pub(in crate::dashboard) fn pause(asked: &Asked<'_>) -> Answer {
    act(asked, "Pause", Action::Pause)
}

/// `/actions/resume`.
pub(in crate::dashboard) fn resume(asked: &Asked<'_>) -> Answer {
    act(asked, "Go on", Action::Resume)
}

fn act(asked: &Asked<'_>, heading: &str, action: Action) -> Answer {
    let told = (asked.site.act)(action);
    let content = html! {
        p { (shortened(&told, 2 * REASON_LIMIT)) }
        p { a href="/problems" { "Back to the problems" } }
    };
    Reply::html(200, small_page(heading, &content)).into()
}

/// The page.
pub fn page(view: &ProblemsView, frame: &Frame<'_>) -> Markup {
    frame.page(
        "",
        "Problems",
        &html! {},
        None,
        &html! {
            @if let Some(error) = &view.ledger_error {
                p.note { "! The ledger cannot be used at present, so this is not all: " (short(error, REASON_LIMIT)) }
            }
            (left(view, frame))
            (verified(view, frame))
            (damaged(view))
            (guessed(view))
            (filing(view, frame))
        },
    )
}

fn left(view: &ProblemsView, frame: &Frame<'_>) -> Markup {
    let rows = view.left.iter().map(|left| {
        let path = row::path_text(&left.inbox_path);
        let name = lossy(left.inbox_path.file_name().unwrap_or_default());
        let folder = left.inbox_path.parent().unwrap_or(Path::new(""));
        let does = html! {
            @if path.len() <= PATH_LIMIT { (button(frame, "retry", "Try again", Some((&path, &name)))) }
            @else { "Its path is too long for a button of its own: try all again." }
        };
        Row {
            name: html! { bdi { (short(&name, NAME_LIMIT)) } },
            sub: html! {
                (sort(left.why)) ", " (ago(left.since, view.now))
                @if folder != Path::new("") { ", folder " bdi { (short(&lossy(folder.as_os_str()), NAME_LIMIT)) } }
            },
            why: html! { (short(&sentence(&left.reason), REASON_LIMIT)) " " span.sub { (way_out(left.why)) } },
            does: Some(does),
        }
    });
    let next = view.next();
    let words = match view.left_count {
        0 => "Nothing: every file that came was filed.".to_owned(),
        1 => "One file stays in the inbox.".to_owned(),
        count => format!(
            "{} files stay in the inbox, the newest first.",
            grouped(count)
        ),
    };
    html! {
        section aria-labelledby="h-left" {
            h2 #h-left { "Left in the inbox" }
            @if view.ledger_error.is_none() || view.left_count > 0 { p { (words) } }
            @if !view.left.is_empty() {
                (button(frame, "retry", "Try all again", None))
                (table("Files that stay in the inbox: why, and what to do", rows.collect()))
            }
            @if view.is_continued { p { a href="/problems" { "To the newest" } } }
            @if let Some(next) = next {
                p {
                    @if next.len() <= PATH_LIMIT { a href={ "/problems?after=" (encoded(&next)) } { "Older ones" } }
                    @else { "Older ones are in " a href="/api/v1/problems" { "the JSON" } "." }
                }
            }
        }
    }
}

fn sort(why: LeftBecause) -> &'static str {
    match why {
        LeftBecause::NotMedia => "no photo or video",
        LeftBecause::WaitsForPhoto => "waits for its photo",
        LeftBecause::Unreadable => "could not be taken",
        LeftBecause::Kept(_) => "kept on purpose",
    }
}

fn way_out(why: LeftBecause) -> &'static str {
    match why {
        LeftBecause::NotMedia => "If it should be a photo, send it again from the phone.",
        LeftBecause::WaitsForPhoto => {
            "It is filed by itself when the photo comes. If that is not to come, delete it."
        }
        LeftBecause::Unreadable => {
            "When that is put right, try again; it is also tried by itself from time to time."
        }
        LeftBecause::Kept(_) => "There is nothing to do.",
    }
}

fn verified(view: &ProblemsView, frame: &Frame<'_>) -> Markup {
    let Some(verified) = &view.verified else {
        return html! {
            section aria-labelledby="h-verified" {
                h2 #h-verified { "Originals" }
                p { "They are not read again by themselves: the settings want it so. " code { "photo-factory verify" } " reads them all now." }
            }
        };
    };
    let rows: Vec<Row> = verified
        .findings
        .iter()
        .rev()
        .take(FEW)
        .map(|(finding, since)| Row {
            name: html! { bdi { (short(&lossy(finding.path.as_os_str()), NAME_LIMIT)) } },
            sub: html! { (finding.what.as_str()) ", " (ago(*since, view.now)) },
            why: html! { (short(&sentence(&finding_text(finding)), 2 * REASON_LIMIT)) },
            does: None,
        })
        .collect();
    let more = verified.problems() - rows.len() as u64;
    html! {
        section aria-labelledby="h-verified" {
            h2 #h-verified { "Originals" }
            p {
                @if rows.is_empty() { "Nothing is the matter with those that were read. " }
                (round_text(verified))
            }
            @if !verified.at_once { (button(frame, "verify", "Verify now", None)) }
            @if !rows.is_empty() {
                (table("Originals that are not as they should be: what is the matter, and what to do", rows))
            }
            @if more > 0 { p { "And " (grouped(more)) " more: " code { "photo-factory verify" } " names all." } }
        }
    }
}

fn damaged(view: &ProblemsView) -> Markup {
    if view.damaged_count == 0 {
        return html! {};
    }
    let rows = view.damaged.iter().map(|photo| {
        let name = lossy(photo.final_path.file_name().unwrap_or_default());
        Row {
            name: html! { a href={ "/photos/" (photo.id.0) } { bdi { (short(&name, NAME_LIMIT)) } } },
            sub: html! { "taken " (photo.captured.day()) },
            why: html! { (short(&sentence(&photo.errors.join("; ")), REASON_LIMIT)) },
            does: None,
        }
    });
    html! {
        section aria-labelledby="h-damaged" {
            h2 #h-damaged { "Came damaged" }
            p {
                "They are kept as they came. If the phone still shows one whole, send it again: it is filed beside the damaged one. "
                a href="/photos?flag=has_errors" { "Files that came damaged: " (grouped(view.damaged_count)) }
            }
            @if !view.damaged.is_empty() { (table("The newest photos that came damaged, and what is damaged", rows.collect())) }
        }
    }
}

fn guessed(view: &ProblemsView) -> Markup {
    if view.guessed == 0 {
        return html! {};
    }
    html! {
        section aria-labelledby="h-guessed" {
            h2 #h-guessed { "Under a guessed day" }
            p {
                "These photos do not say when they were taken, so their name or their file's time was believed. There is nothing to do, unless a day is wrong. "
                a href="/photos?flag=guessed" { "Photos under a guessed day: " (grouped(view.guessed)) }
            }
        }
    }
}

fn filing(view: &ProblemsView, frame: &Frame<'_>) -> Markup {
    html! {
        section aria-labelledby="h-filing" {
            h2 #h-filing { "Filing" }
            @if let Some(until) = view.paused_until {
                p { span.mark.attention { "! paused" } " by the owner until " (clock(frame.zone, until)) ". Photos wait in the inbox." }
                (button(frame, "resume", "Go on", None))
            } @else {
                p { "Photos are taken as they come. A pause leaves them in the inbox for an hour, and ends by itself." }
                (button(frame, "pause", "Pause for an hour", None))
            }
        }
    }
}

/// One line of a table.
struct Row {
    name: Markup,
    sub: Markup,
    why: Markup,
    does: Option<Markup>,
}

fn table(caption: &str, rows: Vec<Row>) -> Markup {
    let acts = rows.iter().any(|row| row.does.is_some());
    html! {
        table.cards role="table" {
            caption { span.vh { (caption) } }
            thead {
                tr role="row" {
                    th scope="col" { "File" }
                    th scope="col" { "Why, and what to do" }
                    @if acts { th scope="col" { "Action" } }
                }
            }
            tbody {
                @for row in rows {
                    tr role="row" {
                        th scope="row" role="rowheader" { (row.name) " " span.sub { (row.sub) } }
                        td role="cell" { (row.why) }
                        @if let Some(does) = row.does { td role="cell" { (does) } }
                    }
                }
            }
        }
    }
}

/// A form of one button, for who may act: `file` is what goes with it, and its name.
fn button(frame: &Frame<'_>, action: &str, label: &str, file: Option<(&str, &str)>) -> Markup {
    if frame.visitor != Visitor::Owner {
        return html! {};
    }
    html! {
        form.act method="post" action={ "/actions/" (action) } {
            (hidden(FORM_TOKEN, &frame.token))
            @if let Some((path, _)) = file { (hidden("path", path)) }
            button {
                (label)
                @if let Some((_, name)) = file { span.vh { ": " (short(name, NAME_LIMIT)) } }
            }
        }
    }
}

/// A reason, which may begin small and end without a stop, as a sentence.
fn sentence(reason: &str) -> String {
    ended(capitalised(reason))
}

/// Shortened so that it is at most three bytes of the page for each of `limit` characters, whatever characters they are.
fn short(text: &str, limit: usize) -> String {
    let weight = |byte| match byte {
        b'"' => "&quot;".len(),
        b'&' => "&amp;".len(),
        b'<' | b'>' => "&lt;".len(),
        _ => 1,
    };
    let text = shortened(text, limit);
    if text.bytes().map(weight).sum::<usize>() <= 3 * limit {
        text
    } else {
        shortened(&text, limit / 2)
    }
}
