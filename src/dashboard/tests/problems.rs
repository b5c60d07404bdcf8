//! The page of problems: what stands on it, how it goes on, and that nothing that came is more than text on it.

use super::pages::checked_text;
use super::*;
use crate::dashboard::pages::problems::{ProblemsView, page};
use crate::verify::background::Verified;
use crate::verify::{Finding, What};

fn left(path: &str, why: LeftBecause, reason: &str) -> Left {
    Left {
        inbox_path: PathBuf::from(path),
        size: 10,
        mtime_ns: 0,
        why,
        reason: reason.to_owned(),
        since: now(),
    }
}

fn full() -> ProblemsView {
    let mut broken = asset(7, "IMG_0007.jpg");
    broken.errors = vec!["the end is missing".to_owned()];
    let finding = |path: &str, what| {
        let path = PathBuf::from(path);
        (Finding { path, what }, now())
    };
    ProblemsView {
        now: now(),
        left: vec![
            left("phone/notes.txt", LeftBecause::NotMedia, "It is a text."),
            left(
                "b/c.jpg",
                LeftBecause::Unreadable,
                "It may not be read: check its permissions.",
            ),
            left(
                "d.xmp",
                LeftBecause::WaitsForPhoto,
                "It waits for the photo it belongs to.",
            ),
        ],
        left_count: 3,
        damaged: vec![broken],
        damaged_count: 1,
        guessed: 1_234,
        verified: Some(Verified {
            days: 30.0,
            last: Some((now(), 9)),
            files: 3,
            of: 10,
            findings: vec![
                finding("Originals/2025/2025-06-14/gone.jpg", What::Missing),
                finding("Originals/2025/2025-06-14/other.jpg", What::Content),
            ],
            ..Verified::default()
        }),
        ..ProblemsView::default()
    }
}

fn by(visitor: Visitor, view: &ProblemsView) -> String {
    let frame = Frame {
        path: "/problems",
        query: "",
        refresh: 30,
        visitor,
        token: "form-token".to_owned(),
        is_signed_in: true,
        now: now(),
        zone: &TimeZone::UTC,
    };
    page(view, &frame).into_string()
}

#[test]
fn each_problem_has_a_reason_and_a_way_out() {
    let html = by(Visitor::Owner, &full());
    is_as_kept("problems", &html);
    let text = checked_text(&html);
    for said in [
        "3 files stay in the inbox",
        "notes.txt",
        "It is a text.",
        "If it should be a photo, send it again from the phone.",
        "check its permissions",
        "When that is put right, try again",
        "It is filed by itself when the photo comes.",
        "It is missing",
        "photo-factory verify --repair",
        "The end is missing.",
        "Photos under a guessed day: 1,234",
        "Pause for an hour",
    ] {
        assert!(text.contains(said), "{said} is not in\n{text}");
    }
    assert_eq!(html.matches("action=\"/actions/retry\"").count(), 4);
    assert!(html.contains("name=\"path\" value=\"phone/notes.txt\""));
}

#[test]
fn without_problems_the_page_says_so_and_a_pause_can_be_ended() {
    let view = ProblemsView {
        now: now(),
        verified: Some(Verified {
            at_once: true,
            ..Verified::default()
        }),
        paused_until: Some(now() + Duration::from_secs(3600)),
        ..ProblemsView::default()
    };
    let html = by(Visitor::Owner, &view);
    is_as_kept("problems-none", &html);
    let text = checked_text(&html);
    for said in [
        "Nothing: every file that came was filed.",
        "you asked for it",
        "! paused",
        "2025-06-15 13:00:00",
        "Go on",
    ] {
        assert!(text.contains(said), "{said} is not in\n{text}");
    }
    for said in ["Try", "Verify now", "Pause for", "Came damaged"] {
        assert!(!text.contains(said), "{said} is in\n{text}");
    }
}

#[test]
fn only_the_owner_is_offered_to_change_anything() {
    let html = by(Visitor::Reader, &full());
    assert!(html.contains("notes.txt"));
    assert!(!html.contains("/actions/"));
}

#[test]
fn with_the_ledger_down_the_page_does_not_say_that_nothing_is_left() {
    let view = ProblemsView {
        ledger_error: Some("it is damaged".to_owned()),
        ..ProblemsView::default()
    };
    let text = checked_text(&by(Visitor::Owner, &view));
    assert!(text.contains("it is damaged"), "{text}");
    assert!(!text.contains("every file that came was filed"), "{text}");
    assert!(text.contains("Pause for an hour"), "{text}");
}

/// A page on which every text is as long as it may be, and made of this.
fn flooded(with: &str) -> String {
    let long = with.repeat(4000 / with.len());
    let name = with.replace('/', "").repeat(255 / with.len());
    let mut view = full();
    view.left = (0..12)
        .map(|_| {
            left(
                &format!("{name}/{name}/{name}"),
                LeftBecause::Unreadable,
                &long,
            )
        })
        .collect();
    view.left
        .extend((0..3).map(|_| left(&name, LeftBecause::NotMedia, &long)));
    view.left.truncate(12);
    view.has_more = true;
    view.damaged = (0..5)
        .map(|id| {
            let mut photo = asset(id, &name);
            photo.errors = vec![long.clone()];
            photo
        })
        .collect();
    view.verified = Some(Verified {
        findings: vec![
            (
                Finding {
                    path: PathBuf::from(&name),
                    what: What::Unreadable(long.clone()),
                },
                now(),
            );
            100
        ],
        more: u64::MAX / 2,
        ..Verified::default()
    });
    view.ledger_error = Some(long);
    let html = by(Visitor::Owner, &view);
    assert!(html.len() < 60 * 1024, "{} bytes of {with}", html.len());
    html
}

#[test]
fn hostile_names_are_text_and_the_page_stays_small_whatever_they_are() {
    for with in ["\"", "&", "ü", "😀", "a"] {
        flooded(with);
    }
    let html = flooded("<img src=x onerror=alert(1)></td><script>");
    checked_text(&html);
    assert!(!html.contains("<img"), "a name became markup");
    assert_eq!(html.matches("<script").count(), 1, "ours alone");
}

#[test]
fn the_list_goes_on_where_it_ended_until_every_file_was_named_once() {
    let data = Data::new();
    let ledger = ledger(&data.0, 1);
    let names: Vec<String> = (0..30)
        .map(|number| format!("phone/{number:02} ü%.txt"))
        .collect();
    let changes: Vec<Change> = names
        .iter()
        .map(|name| Change::Leave(left(name, LeftBecause::NotMedia, "It is a text.")))
        .collect();
    ledger.commit(&changes, now(), &|_| true).unwrap();
    let kept = left(
        "phone/kept.jpg",
        LeftBecause::Kept(AssetId(1)),
        "It is kept.",
    );
    ledger
        .commit(&[Change::Leave(kept)], now(), &|_| true)
        .unwrap();
    let mut seen = Vec::new();
    let mut after: Option<(Timestamp, PathBuf)> = None;
    loop {
        let from = after.as_ref().map(|(since, path)| (*since, path.as_path()));
        let view = ProblemsView::gather(Some(&ledger), gathered(Some(&ledger)), from, 7);
        assert_eq!((view.left_count, view.ledger_error.clone()), (31, None));
        assert_eq!(view.damaged.len(), 1);
        let Some(last) = view.left.last() else {
            panic!("a page without files is offered");
        };
        after = Some((last.since, last.inbox_path.clone()));
        let paths = view.left.iter().map(|left| left.inbox_path.clone());
        seen.extend(paths);
        if !view.has_more {
            break;
        }
    }
    let mut wanted: Vec<PathBuf> = names.iter().map(PathBuf::from).collect();
    wanted.push(PathBuf::from("phone/notes.txt"));
    wanted.sort();
    seen.sort();
    assert_eq!(seen, wanted);
}
