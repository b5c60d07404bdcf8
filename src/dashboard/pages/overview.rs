//! The overview: whether all is well, what is being done, and everything else at a glance.
//!
//! Tables whose cells lie below each other on a narrow screen say their roles: the layout would hide what they are.

use maud::{Markup, html};

use super::{Frame, NAME_LIMIT, REASON_LIMIT, capitalised, clock, shortened, small_page};
use crate::asset::{Asset, bytes_text, lossy, rfc3339};
use crate::dashboard::overview::{Activity, Level, Overview, Photos, Problem, ago, grouped};
use crate::dashboard::{beside, health};
use crate::ledger::is_journaled;
use crate::verify::Finding;
use crate::verify::background::Verified;

/// Photos on the page; the others have pages of their own.
const NEWEST_ON_PAGE: usize = 20;

/// Problems on the page; all are on the page of problems.
const PROBLEMS_ON_PAGE: usize = 6;

/// Characters of the sentence at the top.
const VERDICT_LIMIT: usize = 600;

/// The overview.
pub fn page(overview: &Overview, frame: &Frame<'_>) -> Markup {
    let (level, sentence) = overview.verdict();
    frame.page(
        title_mark(level),
        "Overview",
        &html! {},
        Some(&verdict(level, &sentence)),
        &live(overview, &sentence),
    )
}

/// What anybody may know: whether all is well, and no more.
pub fn health(overview: &Overview) -> Markup {
    let (level, _) = overview.verdict();
    let sentence = match level {
        Level::Well => "All is well.",
        Level::Attention => "Something should be looked at. Sign in to see what.",
        Level::Trouble => "Photo Factory is in trouble. Sign in to see why.",
    };
    let ours = overview.services.iter().filter(|row| row.service.is_ours());
    let content = html! {
        (verdict(level, sentence))
        table {
            caption { span.vh { "The parts of the appliance" } }
            thead { tr { th scope="col" { "Service" } th scope="col" { "State" } } }
            tbody { @for row in ours { tr {
                th scope="row" { (row.service.as_str()) }
                td { (health::state(row)) }
            } } }
        }
        p { a href="/sign-in" { "Sign in" } }
    };
    small_page("Photo Factory", &content)
}

fn live(overview: &Overview, sentence: &str) -> Markup {
    html! {
        @for notice in overview.activity.notices.iter().filter(|notice| notice.as_str() != sentence) {
            p.note { (shortened(notice, REASON_LIMIT)) }
        }
        (tiles(overview))
        (now_section(overview))
        (problems(overview))
        (health::services(overview))
        (verified(overview))
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
            div { dt { (label) } dd { span.n { (number) } @if !sub.is_empty() { " " span.sub { (sub) } } } }
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
                @if let Some(until) = activity.paused_until { " by the owner until " (clock(&overview.zone, until)) }
                @if let Some(current) = &activity.current { ": " bdi { (shortened(current, NAME_LIMIT)) } }
                (run(activity))
                @if let Some(at) = activity.started_at {
                    " " span.sub { "Running since " (clock(&overview.zone, at)) }
                }
                @if let Some(photos) = overview.photos.filter(|photos| photos.total > 0) {
                    " " span.sub { (what_is_kept(overview, &photos)) }
                }
            }
        }
    }
}

/// How far a run of many files is.
fn run(activity: &Activity) -> Markup {
    let Some((_, done)) = activity.run.filter(|(_, done)| *done > 0) else {
        return html! {};
    };
    let all = done + activity.inbox_depth;
    let left = activity.time_left().map_or(String::new(), |left| {
        format!(", about {} to go", health::time_text(left))
    });
    let told = format!("{} of {} files done{left}", grouped(done), grouped(all));
    html! {
        progress max=(all) value=(done) aria-label="Files done" { (told) }
        " " span.sub { (told) }
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
                " " span.sub {
                    @match verified.last {
                        Some((at, _)) => { "All of it last " (clock(&overview.zone, at)) }
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
                                    " " span.sub { (finding.what.as_str()) ", " (ago(*since, overview.generated_at)) }
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
    let goes_on = if verified.at_once {
        "you asked for it, so it goes on without a break while nothing is filed".to_owned()
    } else if days < 1.0 {
        "all are within a day".to_owned()
    } else {
        format!("all are within {days:.0} days")
    };
    format!(
        "{} of {} files in Originals were read again and compared in this round; {goes_on}.",
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
            h2 #h-problems { a href="/problems" { "Needs a look" } }
            table role="table" {
                caption { span.vh { "Files with a problem: why, and what to do" } }
                thead { tr role="row" { th scope="col" { "File" } th scope="col" { "Why, and what to do" } } }
                tbody {
                    @for problem in overview.problems.iter().take(PROBLEMS_ON_PAGE) {
                        tr role="row" {
                            th scope="row" role="rowheader" {
                                bdi { (shortened(name_of(&problem.path), NAME_LIMIT)) }
                                " " span.sub { (where_is(problem)) ", " (ago(problem.since, overview.generated_at)) }
                            }
                            td role="cell" { (shortened(&problem.reason, REASON_LIMIT)) }
                        }
                    }
                }
            }
            @if more > 0 {
                p { "And " (more) " more: " a href="/problems" { "all problems" } "." }
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
            h2 #h-newest { a href="/photos" { "Filed last" } }
            @if overview.newest.is_empty() {
                p { "Nothing yet. Photos that are put into the inbox appear here." }
            } @else {
                table role="table" {
                    caption { "The last " (overview.newest.len().min(NEWEST_ON_PAGE)) " files, newest first" }
                    thead {
                        tr role="row" {
                            th scope="col" { "Photo" }
                            th scope="col" { "Taken" }
                            th.wide scope="col" { "Kind" }
                            th scope="col" { "Filed" }
                        }
                    }
                    tbody { @for asset in overview.newest.iter().take(NEWEST_ON_PAGE) { (photo(overview, asset)) } }
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
                // What a journal noted, while the ledger is down, has no page yet.
                @if is_journaled(asset.id) { bdi { (shortened(&name, NAME_LIMIT)) } }
                @else { a href={ "/photos/" (asset.id.0) } { bdi { (shortened(&name, NAME_LIMIT)) } } }
                @if !asset.errors.is_empty() { " " span.mark.attention { "! damaged" } }
            }
            td.t role="cell" {
                (taken.strftime("%Y-%m-%d")) span.wide { (taken.strftime(" %H:%M")) }
                @if asset.captured.from.is_guess() {
                    " " span.sub { "guessed: " (asset.captured.from.as_str()) }
                }
            }
            td.wide role="cell" { (asset.kind.as_str()) ", " (bytes_text(asset.size)) }
            td.t role="cell" { time datetime=(rfc3339(asset.ingested_at)) { (ago(asset.ingested_at, overview.generated_at)) } }
        }
    }
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
