//! What the page, the text, the JSON and the export say.

use super::*;
use crate::asset::bytes_text;
use crate::dashboard::export::{Format, write_rows};
use crate::dashboard::overview::{Level, grouped};
use crate::dashboard::text;
use crate::monitor::Live;

#[test]
fn the_first_sentence_says_whether_all_is_well_and_the_worst_comes_first() {
    let mut overview = well();
    let (level, sentence) = overview.verdict();
    assert_eq!(level, Level::Well);
    assert_eq!(
        sentence,
        "All is well. 1,234 photos are kept; nothing waits."
    );
    overview.activity.inbox_depth = 35;
    assert!(overview.verdict().1.contains("35 more"));
    overview.left = 2;
    assert_eq!(overview.verdict().0, Level::Attention);
    overview.activity.notices = vec!["The metadata worker is missing.".to_owned()];
    assert_eq!(overview.verdict().1, "The metadata worker is missing.");
    overview.services[0].silent_for = Some(Duration::from_secs(600));
    let (level, sentence) = overview.verdict();
    assert_eq!(level, Level::Trouble);
    assert!(
        sentence.starts_with("The librarian has been silent for 10 minutes."),
        "{sentence}"
    );
    overview.ledger_error = Some("the ledger is damaged".to_owned());
    assert!(overview.verdict().1.contains("the ledger is damaged"));
    overview.activity.started_at = None;
    let (_, sentence) = overview.verdict();
    assert!(sentence.contains("not running"), "{sentence}");
    assert!(sentence.contains("the ledger is damaged"), "{sentence}");
}

#[test]
fn a_photo_that_arrived_damaged_is_news_for_a_week() {
    let mut overview = well();
    let mut damaged = problem("Originals/x.jpg");
    damaged.sort = "damaged";
    overview.problems = vec![damaged];
    assert_eq!(overview.verdict().0, Level::Attention);
    overview.problems[0].since = now() - jiff::SignedDuration::from_hours(24 * 8);
    assert_eq!(overview.verdict().0, Level::Well);
}

/// Elements that are opened and never closed by HTML's own rules.
const VOID: [&str; 4] = ["meta", "link", "input", "br"];

/// The page as a strict reader sees it: every tag closed in order; gives back the text between the tags.
pub(super) fn checked_text(html: &str) -> String {
    let mut open: Vec<&str> = Vec::new();
    let mut text = String::new();
    let mut rest = html.strip_prefix("<!DOCTYPE html>").unwrap();
    while let Some((before, after)) = rest.split_once('<') {
        text.push_str(before);
        let mut quoted = false;
        let ends = |c| {
            quoted ^= c == '"';
            c == '>' && !quoted
        };
        let tag;
        (tag, rest) = after.split_once(ends).unwrap();
        let name = tag.split(' ').next().unwrap();
        if let Some(name) = name.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
            if !matches!(name, "span" | "bdi" | "time" | "a") {
                text.push('\n');
            }
        } else if matches!(name, "style" | "script") {
            (_, rest) = rest.split_once(&format!("</{name}>")).unwrap();
        } else if !VOID.contains(&name) && !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert_eq!(open, Vec::<&str>::new());
    text
}

#[test]
fn the_page_is_well_formed_and_tells_all_without_its_style() {
    let mut overview = well();
    overview.problems = vec![problem("notes.txt")];
    overview.left = 1;
    let html = shown(&overview, 30);
    let text = checked_text(&html);
    for said in [
        "One file in the inbox needs a look",
        "1,234",
        "1,234 4.7 GB",
        "IMG_0007.jpg",
        "guessed: mtime",
        "notes.txt",
        "check its permissions",
        "librarian",
        "✓ up",
        "factory-db",
        concat!("version ", env!("CARGO_PKG_VERSION")),
    ] {
        assert!(text.contains(said), "{said} is not in\n{text}");
    }
    for part in [
        "<header>",
        "<main ",
        "<footer>",
        "<nav ",
        "<h1",
        "lang=\"en\"",
        "scope=\"col\"",
        "<caption>",
        "href=\"?refresh=30\" aria-current=\"true\"",
        "http-equiv=\"refresh\" content=\"30\"",
    ] {
        assert!(html.contains(part), "{part} is not there");
    }
    assert_eq!(
        html.matches("<table").count(),
        html.matches("<caption>").count()
    );
    assert!(
        !html.contains("http://")
            || html.matches("http://").count() == html.matches("http://www.w3.org").count()
    );
    assert!(!html.contains("https://"), "no outside request");
    assert!(!html.contains(" style=\""), "the policy would refuse it");
    assert!(!shown(&overview, 0).contains("http-equiv"));
}

#[test]
fn hostile_names_are_text_on_the_page_and_the_page_stays_small() {
    let evil = "<script>alert(1)</script>&\"'\u{202e}<img src=x onerror=alert(2)>".repeat(3);
    let mut overview = well();
    overview.newest = (0..50)
        .map(|id| asset(id, &evil.replace('/', "")))
        .collect();
    for asset in &mut overview.newest {
        asset.errors = vec![evil.clone()];
    }
    overview.problems = (0..100)
        .map(|_| Problem {
            reason: evil.repeat(5),
            ..problem(&evil)
        })
        .collect();
    overview.left = 100;
    overview.activity.current = Some(evil.clone());
    overview.activity.notices = vec![evil.clone()];
    for row in &mut overview.services {
        row.status = Some(Status::Degraded(evil.clone()));
        row.current_task = Some(evil.clone());
    }
    let html = shown(&overview, 5);
    let text = checked_text(&html);
    assert!(!html.contains("<img"), "a name became markup");
    assert_eq!(html.matches("<script").count(), 1, "ours alone");
    assert!(text.contains("&lt;script&gt;"));
    assert!(html.len() < 60 * 1024, "{} bytes", html.len());
    assert!(!text::text(&overview).contains('\u{1b}'));
}

#[test]
fn the_text_shows_no_control_characters_of_names() {
    let mut overview = well();
    overview.newest = vec![asset(1, "a\u{1b}[2Jb\n.jpg")];
    let text = text::text(&overview);
    assert!(text.contains(r"a\u{1b}[2Jb\n.jpg"), "{text}");
    assert!(text.starts_with("OK: All is well."));
}

#[test]
fn numbers_and_sizes_read_as_people_write_them() {
    assert_eq!(grouped(0), "0");
    assert_eq!(grouped(999), "999");
    assert_eq!(grouped(1_234_567), "1,234,567");
    assert_eq!(bytes_text(999), "999 B");
    assert_eq!(bytes_text(3_450_000), "3.4 MB");
    assert_eq!(bytes_text(120_000_000_000), "120 GB");
    assert_eq!(bytes_text(u64::MAX), "18446 PB");
}

#[test]
fn the_json_has_every_count_and_the_photos_under_their_export_names() {
    let data = Data::new();
    let ledger = ledger(&data.0, 60);
    let json = gathered(Some(&ledger)).json();
    assert_eq!(json["status"], "attention");
    assert_eq!(json["photos"]["total"], 60);
    assert_eq!(json["photos"]["bytes"], 60 * 3_400_000_u64);
    assert_eq!(json["photos"]["with_errors"], 1);
    assert_eq!(json["photos"]["guessed_dates"], 60);
    assert_eq!(json["photos"]["kinds"]["jpeg"], 60);
    assert_eq!(json["inbox"]["left"], 1);
    assert_eq!(json["problems"][0]["path"], "phone/notes.txt");
    assert_eq!(json["services"][0]["service_name"], "librarian");
    assert_eq!(json["services"][0]["status"], "up");
    let newest = json["newest"].as_array().unwrap();
    assert_eq!(newest.len(), 50);
    assert_eq!(newest[0]["original_name"], "IMG_0059.jpg");
    assert_eq!(newest[0]["is_ingested"], true);
    assert_eq!(json["generated_at"], "2025-06-15T12:00:00Z");
}

#[test]
fn without_a_ledger_the_page_says_so_and_still_stands() {
    let overview = gathered(None);
    assert_eq!(overview.verdict().0, Level::Trouble);
    let text = checked_text(&shown(&overview, 0));
    assert!(text.contains("no ledger"));
    assert!(overview.json()["photos"].is_null());
}

#[test]
fn the_header_names_the_fields_of_a_row() {
    let fields = asset(1, "a.jpg").fields();
    let names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, Asset::FIELD_NAMES);
}

#[test]
fn csv_quotes_what_needs_it_and_json_lines_are_one_row_each() {
    let data = Data::new();
    let ledger = ledger(&data.0, 3);
    let mut csv = Vec::new();
    write_rows(&ledger, Format::Csv, &mut csv).unwrap();
    let csv = String::from_utf8(csv).unwrap();
    assert!(csv.starts_with("id,file_hash,size,"));
    assert!(csv.contains("\"say \"\"cheese\"\", twice\n.jpg\""), "{csv}");
    assert!(csv.contains("\"Zürich, Zürich, CH\""), "{csv}");
    assert!(csv.contains("\"Make, Inc.\""));
    assert!(csv.contains(",the end is missing; no EXIF,"), "{csv}");
    assert_eq!(csv.matches("\r\n").count(), 4);

    let mut lines = Vec::new();
    write_rows(&ledger, Format::JsonLines, &mut lines).unwrap();
    let lines = String::from_utf8(lines).unwrap();
    assert_eq!(lines.lines().count(), 3);
    for line in lines.lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(row["has_errors"], row["errors"] != serde_json::json!([]));
    }
}

#[test]
fn csv_of_an_empty_ledger_is_its_header() {
    let data = Data::new();
    let ledger = Ledger::open(&data.0).unwrap();
    let mut csv = Vec::new();
    write_rows(&ledger, Format::Csv, &mut csv).unwrap();
    assert_eq!(
        csv,
        format!("{}\r\n", Asset::FIELD_NAMES.join(",")).as_bytes()
    );
}

#[test]
fn both_views_of_a_service_are_on_the_page_and_where_they_disagree_it_says_so() {
    let mut overview = well();
    let live = |state: &str, status| Live {
        source: "systemd syncthing@pi.service".to_owned(),
        state: state.to_owned(),
        status,
    };
    overview.services[4].live = vec![live("active (running)", Status::Up)];
    let page = shown(&overview, 0);
    assert!(page.contains("active (running)"));
    assert!(!page.contains("They disagree"));
    overview.services[4].live = vec![live("inactive (dead)", Status::Stopped)];
    let page = shown(&overview, 0);
    assert!(page.contains("They disagree"), "{page}");
    assert!(overview.json()["services"][4]["disagreement"].is_string());
}
