//! The page of the log.

use super::*;
use crate::dashboard::pages::logs::{Line, LineFilter, LogsView, page};
use crate::log_file::reader::Place;

/// A folder with a log of these lines.
pub(super) fn logs(lines: &[&str]) -> Data {
    let data = Data::new();
    let lines: Vec<String> = lines.iter().map(|line| format!("{line}\n")).collect();
    std::fs::write(data.0.join("photo-factory.log"), lines.concat()).unwrap();
    data
}

const LINES: [&str; 6] = [
    "2025-06-15T11:00:00.5Z [INFO] photo_factory::appliance: Photo Factory runs",
    "2025-06-15T11:10:00.5Z [WARN] photo_factory::disk::keeper: Storage is SLOW",
    "2025-06-15T11:20:00.5Z [ERROR] photo_factory::ledger::commit: a row cannot be read",
    "2025-06-15T11:30:00.5Z [INFO] photo_factory::monitor::syncthing: it is there",
    "2025-06-15T11:40:00.5Z [DEBUG] photo_factory::monitor::alerts: nothing to send",
    "2025-06-15T11:50:00.5Z [INFO] of an older version: it knew no modules",
];

fn gathered(data: &Data, filter: LineFilter) -> LogsView {
    LogsView::gather(&data.0, filter, Place::END, 100, usize::MAX).unwrap()
}

fn services_of(filter: LineFilter) -> Vec<Option<&'static str>> {
    let view = gathered(&logs(&LINES), filter);
    view.lines.iter().map(|line| line.service).collect()
}

#[test]
fn lines_are_told_by_service_level_and_text_the_newest_first() {
    let librarian = Some("librarian");
    let all = [
        None,
        Some("service-monitor"),
        Some("syncthing"),
        Some("factory-db"),
        librarian,
        librarian,
    ];
    assert_eq!(services_of(LineFilter::default()), all);
    let of_service = |service| LineFilter {
        service: Some(service),
        ..LineFilter::default()
    };
    assert_eq!(services_of(of_service("librarian")).len(), 2);
    assert_eq!(services_of(of_service("dashboard")).len(), 0);
    let of_level = |level| LineFilter {
        level: Some(level),
        ..LineFilter::default()
    };
    assert_eq!(services_of(of_level(0)), [Some("factory-db")]);
    assert_eq!(services_of(of_level(1)), [Some("factory-db"), librarian]);
    assert_eq!(services_of(of_level(2)).len(), 5);
    let with_text = LineFilter {
        text: Some("slow".to_owned()),
        ..LineFilter::default()
    };
    assert_eq!(services_of(with_text), [librarian]);
}

#[test]
fn the_page_of_the_log_is_as_it_was_looked_at() {
    let view = LogsView {
        next: Some(Place { file: 1, offset: 7 }),
        ..gathered(&logs(&LINES), LineFilter::default())
    };
    let html = page(&view, &frame("/logs")).into_string();
    let text = sound(&html);
    for said in [
        "✕ error",
        "! warning",
        "it knew no modules",
        "2025-06-15 11:20:00",
    ] {
        assert!(text.contains(said), "{said} is not in\n{text}");
    }
    is_as_kept("logs", &html);
}

#[test]
fn hostile_lines_are_text_and_the_page_of_the_log_stays_small() {
    let evil = format!("2025-06-15T11:00:00Z [WARN] {EVIL}: {}", EVIL.repeat(20));
    let quotes = "\"".repeat(2_000);
    let escape = "2025-06-15T11:00:00Z [INFO] photo_factory::disk: \u{1b}[2J\u{0}\n second line";
    let lines = [evil.as_str(), &quotes, escape].repeat(60);
    let data = logs(&lines);
    let filter = LineFilter {
        text: Some(EVIL.to_owned()),
        ..LineFilter::default()
    };
    let room = crate::dashboard::pages::LIST_ROOM;
    let view = LogsView::gather(&data.0, LineFilter::default(), Place::END, 100, room).unwrap();
    assert!(view.lines.len() > 10 && view.next.is_some());
    let view = LogsView { filter, ..view };
    let html = page(&view, &frame("/logs")).into_string();
    let text = sound(&html);
    assert!(text.contains("&lt;script&gt;"));
    assert!(text.contains(r"\u{1b}[2J\u{0}\n second line"), "{text}");
    let empty = Line {
        at: None,
        level: String::new(),
        service: None,
        text: String::new(),
    };
    let lines = vec![empty];
    sound(&page(&LogsView { lines, ..view }, &frame("/logs")).into_string());
}
