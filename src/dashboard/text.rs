//! The overview as text, for the `status` command.

use std::fmt::Write;

use jiff::Timestamp;

use super::overview::{Level, Overview, ago, grouped, service_word};
use super::pages::overview::{finding_text, round_text};
use crate::asset::{bytes_text, lossy, one_line};
use crate::monitor::Status;
use crate::monitor::event::Turn;

/// Photos listed in the text.
const NEWEST_IN_TEXT: usize = 10;

/// Events listed in the text.
const EVENTS_IN_TEXT: usize = 10;

/// Problems listed in the text.
const PROBLEMS_IN_TEXT: usize = 20;

/// The overview in lines for a terminal. Control characters in names are shown as `?`: a name must not steer the terminal.
pub fn text(overview: &Overview) -> String {
    let mut out = String::new();
    // Writing into a String cannot fail.
    let written = write_text(overview, &mut out);
    debug_assert!(written.is_ok(), "a String takes every write");
    out
}

fn write_text(overview: &Overview, out: &mut String) -> std::fmt::Result {
    let (level, sentence) = overview.verdict();
    let mark = match level {
        Level::Well => "OK",
        Level::Attention => "LOOK",
        Level::Trouble => "TROUBLE",
    };
    writeln!(out, "{mark}: {}\n", one_line(&sentence))?;
    if let Some(photos) = overview.photos {
        writeln!(
            out,
            "kept       {} ({})",
            grouped(photos.total),
            bytes_text(photos.bytes)
        )?;
        writeln!(out, "today      {}", grouped(photos.today))?;
        writeln!(out, "this week  {}", grouped(photos.this_week))?;
        if photos.with_errors > 0 {
            writeln!(out, "damaged    {}", grouped(photos.with_errors))?;
        }
        if photos.guessed_dates > 0 {
            writeln!(
                out,
                "guessed    {} (filed under a guessed day)",
                grouped(photos.guessed_dates)
            )?;
        }
    }
    let activity = &overview.activity;
    if activity.started_at.is_some() {
        writeln!(out, "inbox      {} waiting", grouped(activity.inbox_depth))?;
        let current = activity.current.as_deref().unwrap_or_default();
        writeln!(out, "now        {} {}", activity.state, one_line(current))?;
    }
    if let Some(free) = activity.storage_free {
        writeln!(out, "free       {}", bytes_text(free))?;
    }
    for notice in &activity.notices {
        writeln!(out, "note       {}", one_line(notice))?;
    }
    write_services(overview, out)?;
    write_events(overview, out)?;
    write_problems(overview, out)?;
    write_verified(overview, out)?;
    write_newest(overview, out)
}

fn write_services(overview: &Overview, out: &mut String) -> std::fmt::Result {
    if overview.services.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nServices")?;
    for row in &overview.services {
        if let Some(disagreement) = row.disagreement() {
            writeln!(out, "  {}", one_line(&disagreement))?;
        }
        let heard = row
            .last_heartbeat
            .map_or("never".to_owned(), |at| ago(at, overview.generated_at));
        let task = row.current_task.as_deref().unwrap_or_default();
        let reason = row.status.as_ref().and_then(Status::reason);
        writeln!(
            out,
            "  {:<16} {:<14} {heard:<16} {}{}",
            row.service.as_str(),
            service_word(row),
            one_line(task),
            reason.map_or(String::new(), |reason| format!(" ({})", one_line(reason))),
        )?;
    }
    Ok(())
}

fn write_events(overview: &Overview, out: &mut String) -> std::fmt::Result {
    if overview.seen.events.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nWhat happened")?;
    for event in overview.seen.events.iter().take(EVENTS_IN_TEXT) {
        let at = local(overview, event.at);
        let turn = match event.turn {
            Turn::Opened => "began",
            Turn::Closed => "over",
            Turn::News => "news",
        };
        writeln!(out, "  {at}  {turn:<6} {}", one_line(&event.text))?;
    }
    Ok(())
}

fn write_problems(overview: &Overview, out: &mut String) -> std::fmt::Result {
    if overview.problems.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nNeeds a look")?;
    for problem in overview.problems.iter().take(PROBLEMS_IN_TEXT) {
        writeln!(out, "  {}", one_line(&problem.path))?;
        writeln!(out, "    {}", one_line(&problem.reason))?;
    }
    let more = overview.problems.len().saturating_sub(PROBLEMS_IN_TEXT);
    if more > 0 {
        writeln!(out, "  and {more} more: see status --json")?;
    }
    Ok(())
}

fn write_verified(overview: &Overview, out: &mut String) -> std::fmt::Result {
    let Some(verified) = &overview.activity.verified else {
        return Ok(());
    };
    writeln!(out, "\nVerified\n  {}", round_text(verified))?;
    if let Some((at, files)) = verified.last {
        let at = local(overview, at);
        writeln!(out, "  all of it last {at}, {} files", grouped(files))?;
    }
    for (finding, _) in verified.findings.iter().rev().take(PROBLEMS_IN_TEXT) {
        writeln!(out, "  {}", one_line(&lossy(finding.path.as_os_str())))?;
        writeln!(out, "    {}", one_line(&finding_text(finding)))?;
    }
    let shown = verified.findings.len().min(PROBLEMS_IN_TEXT) as u64;
    if verified.problems() > shown {
        let more = grouped(verified.problems() - shown);
        writeln!(out, "  and {more} more: photo-factory verify names all")?;
    }
    Ok(())
}

fn write_newest(overview: &Overview, out: &mut String) -> std::fmt::Result {
    if overview.newest.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nFiled last")?;
    for asset in overview.newest.iter().take(NEWEST_IN_TEXT) {
        let filed = local(overview, asset.ingested_at);
        let path = lossy(asset.final_path.as_os_str());
        writeln!(out, "  {filed}  {}", one_line(&path))?;
    }
    Ok(())
}

fn local(overview: &Overview, at: Timestamp) -> String {
    let zoned = at.to_zoned(overview.zone.clone());
    zoned.strftime("%Y-%m-%d %H:%M").to_string()
}
