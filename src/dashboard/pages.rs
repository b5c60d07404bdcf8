//! The overview as a page: data in, markup out. No outside request, no colour that says something alone.
//!
//! Tables whose cells lie below each other on a narrow screen say their roles: the layout would hide what they are.

use std::sync::LazyLock;

use jiff::Timestamp;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use super::beside;
use super::health;
use super::overview::{Level, Overview, Photos, Problem, ago, grouped};
use crate::asset::{Asset, bytes_text, lossy, rfc3339};
use crate::verify::Finding;
use crate::verify::background::Verified;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The intervals offered, in seconds (0: off) and in words.
pub const REFRESH_CHOICES: [(u32, &str); 6] = [
    (0, "off"),
    (5, "5 s"),
    (10, "10 s"),
    (30, "30 s"),
    (60, "1 min"),
    (300, "5 min"),
];

/// Problems on the page; the rest is in the JSON.
const PROBLEMS_ON_PAGE: usize = 20;

/// Characters of a name on the page. With the limits on rows this bounds the page, whatever the names are.
pub(super) const NAME_LIMIT: usize = 56;

/// Characters of the sentence at the top.
const VERDICT_LIMIT: usize = 600;

/// Characters of a reason on the page.
pub(super) const REASON_LIMIT: usize = 240;

/// The `Content-Security-Policy`: our style and script by their hashes, nothing else from anywhere.
pub static CONTENT_SECURITY_POLICY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        base64(&Sha256::digest(STYLE)),
        base64(&Sha256::digest(SCRIPT)),
    )
});

/// The status page, refreshed every so many seconds (0: not).
pub fn page(overview: &Overview, refresh: u32) -> Markup {
    let (level, sentence) = overview.verdict();
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title_mark(level)) "Photo Factory" }
                link rel="icon" href=(ICON);
                @if refresh > 0 {
                    noscript { meta http-equiv="refresh" content=(refresh); }
                }
                style { (PreEscaped(STYLE)) }
            }
            body data-refresh=(refresh) {
                a.skip href="#main" { "Skip to the status" }
                header {
                    h1 { (logo()) "Photo Factory" }
                    (refresh_choices(refresh))
                }
                main #main {
                    div #verdict role="status" { (verdict(level, &sentence)) }
                    p.note #lost role="alert" hidden {
                        "Photo Factory does not answer. What you see below is old."
                    }
                    div #now { (live(overview, &sentence)) }
                }
                footer {
                    p { span #made { "As of " (clock(overview, overview.generated_at)) } " · version " (overview.version)
                        " · " a href="/api/v1/status" { "as JSON" } }
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    }
}

/// A small page that says one thing: not found, not allowed, …
pub fn plain_page(title: &str, sentence: &str) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · Photo Factory" }
                link rel="icon" href=(ICON);
                style { (PreEscaped(STYLE)) }
            }
            body {
                header { h1 { (logo()) "Photo Factory" } }
                main {
                    section {
                        h2 { (title) }
                        p { (sentence) }
                        p { a href="/" { "To the status page" } }
                    }
                }
            }
        }
    }
}

fn live(overview: &Overview, sentence: &str) -> Markup {
    html! {
        @for notice in overview.activity.notices.iter().filter(|notice| notice.as_str() != sentence) {
            p.note { (shortened(notice, REASON_LIMIT)) }
        }
        (tiles(overview))
        (now_section(overview))
        (problems(overview))
        (verified(overview))
        (health::services(overview))
        (beside::syncthing(overview))
        (beside::containers(overview))
        (health::phones(overview))
        (health::events(overview))
        (health::board(overview))
        (newest(overview))
    }
}

fn verdict(level: Level, sentence: &str) -> Markup {
    let whole = shortened(sentence, VERDICT_LIMIT);
    // What is the matter in bold; why, and what to do, below it.
    let end = [". ", "? "].iter().filter_map(|end| whole.find(end)).min();
    let (matter, advice) = end.map_or((whole.as_str(), ""), |end| whole.split_at(end + 1));
    html! {
        div class={ "verdict " (level.as_str()) } {
            (sign(level))
            p { (matter) @if !advice.is_empty() { span.advice { (advice) } } }
        }
    }
}

fn tiles(overview: &Overview) -> Markup {
    let tile = |label: &str, number: &str, sub: &str| {
        html! {
            div { dt { (label) } dd { span.n { (number) } @if !sub.is_empty() { span.sub { (sub) } } } }
        }
    };
    let unknown = "–".to_owned();
    let count = |pick: fn(&Photos) -> u64| {
        overview
            .photos
            .as_ref()
            .map_or(unknown.clone(), |photos| grouped(pick(photos)))
    };
    let kept = overview
        .photos
        .map_or(String::new(), |photos| bytes_text(photos.bytes));
    let filed = overview.activity.filed_since_start;
    let duplicates = overview.activity.duplicates_since_start;
    let since_start = match (filed, duplicates) {
        (0, 0) => String::new(),
        (_, 0) => format!("{} since the start", grouped(filed)),
        _ => format!(
            "{} since the start, {} duplicates",
            grouped(filed),
            grouped(duplicates)
        ),
    };
    let free = overview.activity.storage_free;
    html! {
        dl.tiles {
            (tile("Photos kept", &count(|photos| photos.total), &kept))
            (tile("Filed today", &count(|photos| photos.today), &since_start))
            (tile("Last 7 days", &count(|photos| photos.this_week), ""))
            (tile("Waiting in the inbox", &grouped(overview.activity.inbox_depth), ""))
            @if let Some(free) = free { (tile("Free on the disk", &bytes_text(free), "")) }
        }
    }
}

fn now_section(overview: &Overview) -> Markup {
    let activity = &overview.activity;
    html! {
        section aria-labelledby="h-now" {
            h2 #h-now { "Now" }
            p {
                (capitalised(&activity.state))
                @if let Some(current) = &activity.current { ": " bdi { (shortened(current, NAME_LIMIT)) } }
                @if let Some(at) = activity.started_at {
                    span.sub { "Running since " (clock(overview, at)) }
                }
                @if let Some(photos) = overview.photos.filter(|photos| photos.total > 0) {
                    span.sub { (what_is_kept(overview, &photos)) }
                }
            }
        }
    }
}

fn what_is_kept(overview: &Overview, photos: &Photos) -> String {
    let kinds = overview.kinds.iter();
    let kinds: Vec<String> = kinds
        .map(|(kind, count)| format!("{} {kind}", grouped(*count)))
        .collect();
    let mut parts = vec![kinds.join(", ")];
    if photos.guessed_dates > 0 {
        parts.push(format!(
            "{} under a guessed day",
            grouped(photos.guessed_dates)
        ));
    }
    if photos.with_errors > 0 {
        parts.push(format!("{} arrived damaged", grouped(photos.with_errors)));
    }
    format!("Kept: {}", parts.join("; "))
}

fn verified(overview: &Overview) -> Markup {
    let Some(verified) = &overview.activity.verified else {
        return html! {};
    };
    let findings = &verified.findings;
    let more = verified.problems() - findings.len().min(PROBLEMS_ON_PAGE) as u64;
    html! {
        section #verified aria-labelledby="h-verified" {
            h2 #h-verified { "Verified" }
            p {
                (round_text(verified))
                span.sub {
                    @match verified.last {
                        Some((at, _)) => { "All of it last " (clock(overview, at)) }
                        None => { "The first round is under way" }
                    }
                }
            }
            @if !findings.is_empty() {
                table role="table" {
                    caption { span.vh { "Originals that are not as they should be: what is the matter, and what to do" } }
                    thead { tr role="row" { th scope="col" { "File" } th scope="col" { "What is the matter, and what to do" } } }
                    tbody {
                        @for (finding, since) in findings.iter().rev().take(PROBLEMS_ON_PAGE) {
                            tr role="row" {
                                th scope="row" role="rowheader" {
                                    bdi { (shortened(&lossy(finding.path.as_os_str()), NAME_LIMIT)) }
                                    span.sub { (finding.what.as_str()) ", " (ago(*since, overview.generated_at)) }
                                }
                                td role="cell" { (shortened(&finding_text(finding), 2 * REASON_LIMIT)) }
                            }
                        }
                    }
                }
                @if more > 0 { p.sub { "And " (grouped(more)) " more: " code { "photo-factory verify" } " names all." } }
            }
        }
    }
}

/// How far the present round is.
pub fn round_text(verified: &Verified) -> String {
    let days = verified.days;
    let within = if days < 1.0 {
        "a day".to_owned()
    } else {
        format!("{days:.0} days")
    };
    format!(
        "{} of {} files in Originals were read again and compared in this round; all are within {within}.",
        grouped(verified.files),
        grouped(verified.of)
    )
}

/// What is the matter with a file, and what to do.
pub fn finding_text(finding: &Finding) -> String {
    format!(
        "{}; {}",
        capitalised(&finding.what.to_string()),
        finding.what.advice()
    )
}

fn problems(overview: &Overview) -> Markup {
    if overview.problems.is_empty() {
        return html! {};
    }
    let more = overview.problems.len().saturating_sub(PROBLEMS_ON_PAGE);
    html! {
        section #problems aria-labelledby="h-problems" {
            h2 #h-problems { "Needs a look" }
            table role="table" {
                caption { span.vh { "Files with a problem: why, and what to do" } }
                thead { tr role="row" { th scope="col" { "File" } th scope="col" { "Why, and what to do" } } }
                tbody {
                    @for problem in overview.problems.iter().take(PROBLEMS_ON_PAGE) {
                        tr role="row" {
                            th scope="row" role="rowheader" {
                                bdi { (shortened(name_of(&problem.path), NAME_LIMIT)) }
                                span.sub { (where_is(problem)) ", " (ago(problem.since, overview.generated_at)) }
                            }
                            td role="cell" { (shortened(&problem.reason, REASON_LIMIT)) }
                        }
                    }
                }
            }
            @if more > 0 {
                p { "And " (more) " more, in " a href="/api/v1/status" { "the JSON" } "." }
            }
        }
    }
}

fn name_of(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

fn where_is(problem: &Problem) -> Markup {
    let (words, root) = match problem.sort {
        "damaged" => ("filed, damaged, in ", ""),
        "sidecar" => ("waits for its photo in ", "the inbox"),
        _ => ("in ", "the inbox"),
    };
    let folder = problem
        .path
        .rsplit_once('/')
        .map_or("", |(folder, _)| folder);
    let between = if root.is_empty() || folder.is_empty() {
        ""
    } else {
        ", folder "
    };
    html! { (words) (root) (between) bdi { (shortened(folder, NAME_LIMIT)) } }
}

fn newest(overview: &Overview) -> Markup {
    html! {
        section #newest aria-labelledby="h-newest" {
            h2 #h-newest { "Filed last" }
            @if overview.newest.is_empty() {
                p { "Nothing yet. Photos that are put into the inbox appear here." }
            } @else {
                table role="table" {
                    caption { "The last " (overview.newest.len()) " files, newest first" }
                    thead {
                        tr role="row" {
                            th scope="col" { "Photo" }
                            th scope="col" { "Taken" }
                            th.wide scope="col" { "Kind" }
                            th scope="col" { "Filed" }
                        }
                    }
                    tbody { @for asset in &overview.newest { (photo(overview, asset)) } }
                }
            }
        }
    }
}

fn photo(overview: &Overview, asset: &Asset) -> Markup {
    let name = lossy(asset.final_path.file_name().unwrap_or_default());
    let taken = asset.captured.local;
    html! {
        tr role="row" {
            th scope="row" role="rowheader" {
                bdi { (shortened(&name, NAME_LIMIT)) }
                @if !asset.errors.is_empty() { " " span.mark.attention { "! damaged" } }
            }
            td.t role="cell" {
                (taken.strftime("%Y-%m-%d")) span.wide { (taken.strftime(" %H:%M")) }
                @if asset.captured.from.is_guess() {
                    span.sub { "guessed: " (asset.captured.from.as_str()) }
                }
            }
            td.wide role="cell" { (asset.kind.as_str()) ", " (bytes_text(asset.size)) }
            td.t role="cell" { time datetime=(rfc3339(asset.ingested_at)) { (ago(asset.ingested_at, overview.generated_at)) } }
        }
    }
}

fn refresh_choices(refresh: u32) -> Markup {
    html! {
        nav.refresh aria-label="Refresh the page" {
            span { "Refresh" }
            ul {
                @for (seconds, words) in REFRESH_CHOICES {
                    li {
                        a href={ "/?refresh=" (seconds) } aria-current=[(seconds == refresh).then_some("true")] { (words) }
                    }
                }
            }
        }
    }
}

pub(super) fn clock(overview: &Overview, at: Timestamp) -> Markup {
    let zoned = at.to_zoned(overview.zone.clone());
    html! { time datetime=(rfc3339(at)) { (zoned.strftime("%Y-%m-%d %H:%M:%S")) } }
}

fn title_mark(level: Level) -> &'static str {
    match level {
        Level::Well => "",
        Level::Attention => "(!) ",
        Level::Trouble => "(✕) ",
    }
}

fn sign(level: Level) -> Markup {
    let (label, path) = match level {
        Level::Well => ("Well", "M7 12.5l3.5 3.5L17.5 8.5"),
        Level::Attention => ("Attention", "M12 6.5v7M12 17v.1"),
        Level::Trouble => ("Trouble", "M8 8l8 8M16 8l-8 8"),
    };
    html! {
        svg viewBox="0 0 24 24" role="img" aria-label=(label) fill="none" stroke="currentColor" stroke-width="2.2" stroke-linecap="round" stroke-linejoin="round" {
            circle cx="12" cy="12" r="10.4" stroke-width="1.8" {}
            path d=(path) {}
        }
    }
}

/// A box that a photo drops into.
fn logo() -> Markup {
    html! {
        svg viewBox="0 0 32 32" aria-hidden="true" fill="none" stroke="currentColor" stroke-width="2.4" stroke-linejoin="round" stroke-linecap="round" {
            rect x="9" y="3" width="14" height="11" rx="2" {}
            path d="M9.5 12l4-4 3.5 3 2.5-2 3 3" {}
            path d="M3 17h6l2.5 4h9l2.5-4h6v9.5a2.5 2.5 0 0 1-2.5 2.5h-21A2.5 2.5 0 0 1 3 26.5z" {}
        }
    }
}

const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32' fill='none' stroke='%232a8f63' stroke-width='3' stroke-linejoin='round'%3E%3Crect x='9' y='3' width='14' height='11' rx='2'/%3E%3Cpath d='M3 17h6l2.5 4h9l2.5-4h6v12H3z'/%3E%3C/svg%3E";

pub(super) fn capitalised(word: &str) -> String {
    let mut characters = word.chars();
    characters.next().map_or(String::new(), |first| {
        first.to_uppercase().chain(characters).collect()
    })
}

/// At most so many characters, the middle left out: the beginning and the extension tell more than the middle.
pub(super) fn shortened(text: &str, limit: usize) -> String {
    let count = text.chars().count();
    if count <= limit {
        return text.to_owned();
    }
    let tail = limit / 3;
    let head: String = text.chars().take(limit - tail - 1).collect();
    let end: String = text.chars().skip(count - tail).collect();
    format!("{head}…{end}")
}

/// RFC 4648 base64, as the policy wants its hashes.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: [char; 64] = {
        let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut alphabet = ['A'; 64];
        let mut index = 0;
        while index < 64 {
            alphabet[index] = letters[index] as char;
            index += 1;
        }
        alphabet
    };
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut group = [0_u8; 3];
        group[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, group[0], group[1], group[2]]);
        for position in 0..4 {
            let index = (bits >> (18 - 6 * position)) & 63;
            text.push(if position <= chunk.len() {
                ALPHABET[index as usize]
            } else {
                '='
            });
        }
    }
    text
}
