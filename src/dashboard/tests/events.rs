//! The page of events.

use super::*;
use crate::dashboard::pages::events::{Cursor, EventsView, Happening, Length, page};
use crate::dashboard::request::{From, Request};
use crate::monitor::event::{Event, Kind, Turn};
use crate::monitor::{BeatClock, IsSynchronized, Monitor, Settings};

pub(super) const SYNCHRONIZED: IsSynchronized = || Some(true);

pub(super) fn at(seconds: i64) -> Timestamp {
    now() + jiff::SignedDuration::from_secs(seconds)
}

/// A monitor of the usual services.
pub(super) fn monitor(data: &Path) -> Monitor {
    let watched = |service| Watched {
        service,
        interval: Duration::from_secs(300),
    };
    let settings = Settings {
        roster: services().map(watched).to_vec(),
        commit_every: Duration::from_secs(300),
        keep_beats: Duration::from_secs(60 * 86_400),
        zone: TimeZone::UTC,
    };
    Monitor::open(data, settings, at(-100_000), SYNCHRONIZED)
}

pub(super) fn event(seconds: i64, turn: Turn, text: &str) -> Event {
    Event {
        at: at(seconds),
        kind: Kind::Service,
        turn,
        key: "service/librarian".to_owned(),
        text: text.to_owned(),
        clock: BeatClock::Trusted,
    }
}

fn gathered(monitor: &Monitor, target: &str, limit: usize) -> EventsView {
    let request = Request::get(target, From::Socket);
    EventsView::gather(monitor, &request, now(), limit, usize::MAX)
}

fn texts(view: &EventsView) -> Vec<&str> {
    let events = view.events.iter();
    events.map(|shown| shown.event.text.as_str()).collect()
}

#[test]
fn events_are_paged_from_the_newest_to_the_oldest_and_each_is_seen_once() {
    let data = Data::new();
    let monitor = monitor(&data.0);
    for number in 0..7 {
        // Two of them at the same time, on the edge of a page.
        let seconds = if number == 4 { -97 } else { number - 100 };
        monitor.tell(Kind::Disk, "", &number.to_string(), at(seconds));
        if number == 2 {
            monitor.flush(at(-98));
        }
    }
    let mut seen = Vec::new();
    let mut target = "/events".to_owned();
    for _ in 0..4 {
        let view = gathered(&monitor, &target, 2);
        seen.extend(view.events.iter().map(|shown| shown.event.text.clone()));
        let json = view
            .next
            .map(|next: Cursor| format!("{}-{}", next.until.as_millisecond(), next.skip));
        match json {
            Some(next) => target = format!("/events?before={next}"),
            None => break,
        }
    }
    assert_eq!(seen, ["6", "5", "4", "3", "2", "1", "0"]);
}

#[test]
fn events_of_one_kind_are_picked_and_nonsense_is_passed_over() {
    let data = Data::new();
    let monitor = monitor(&data.0);
    monitor.tell(Kind::Disk, "", "a disk", at(-10));
    monitor.tell(Kind::Phone, "", "a phone", at(-5));
    assert_eq!(
        texts(&gathered(&monitor, "/events?kind=disk", 9)),
        ["a disk"]
    );
    let all = ["a phone", "a disk"];
    for target in [
        "/events?kind=",
        "/events?kind=nonsense",
        "/events?before=nonsense",
        "/events?before=-",
        "/events?before=99999999999999999999-0",
        "/events?before=9223372036854775807-0",
        "/events?before=1-99999999999999999999",
    ] {
        assert_eq!(texts(&gathered(&monitor, target, 9)), all, "{target}");
    }
    assert!(
        gathered(&monitor, "/events?before=0-0", 9)
            .events
            .is_empty()
    );
}

#[test]
fn an_incident_has_its_length_at_both_ends_and_one_that_goes_on_says_so() {
    let data = Data::new();
    let monitor = monitor(&data.0);
    let text = Some("the disk is full");
    monitor.condition(Kind::Disk, "disk/a", text, "", at(-7_200));
    monitor.condition(Kind::Disk, "disk/b", text, "", at(-7_100));
    monitor.condition(Kind::Disk, "disk/a", None, "there is room", at(-3_600));
    monitor.condition(Kind::Disk, "disk/a", text, "", at(-60));
    let view = gathered(&monitor, "/events", 9);
    let lengths: Vec<Length> = view.events.iter().map(|shown| shown.length).collect();
    let hour = Duration::from_secs(3_600);
    assert_eq!(
        lengths,
        [
            Length::Open(Duration::from_secs(60)),
            Length::Ended(hour),
            Length::Open(Duration::from_secs(7_100)),
            Length::Ended(hour),
        ]
    );
}

#[test]
fn the_page_of_events_is_as_it_was_looked_at() {
    let shown = |event, length| Happening { event, length };
    let doubtful = Event {
        kind: Kind::Board,
        clock: BeatClock::Doubtful,
        ..event(-9_000, Turn::News, "the clock was put right")
    };
    let view = EventsView {
        kind: None,
        events: vec![
            shown(
                event(-60, Turn::Opened, "librarian is down: no disk"),
                Length::Open(Duration::from_secs(60)),
            ),
            shown(
                event(-4_000, Turn::Closed, "librarian works again"),
                Length::Ended(Duration::from_secs(4_000)),
            ),
            shown(doubtful, Length::Unknown),
        ],
        next: Some(Cursor {
            until: at(-9_000),
            skip: 1,
        }),
    };
    let html = page(&view, &frame("/events")).into_string();
    let text = sound(&html);
    for said in [
        "✕ began",
        "✓ over",
        "1 min, goes on",
        "1 h 6 min",
        "by a doubtful clock",
    ] {
        assert!(text.contains(said), "{said} is not in\n{text}");
    }
    is_as_kept("events", &html);
}

#[test]
fn hostile_events_are_text_and_the_page_of_events_stays_small() {
    let data = Data::new();
    let monitor = monitor(&data.0);
    for number in 0..300 {
        let text = if number % 2 == 0 {
            EVIL.repeat(9)
        } else {
            "\"".repeat(400)
        };
        monitor.tell(Kind::Syncthing, EVIL, &text, at(-number));
    }
    let request = Request::get("/events", From::Socket);
    let room = crate::dashboard::pages::LIST_ROOM;
    let view = EventsView::gather(&monitor, &request, now(), 50, room);
    assert!(view.events.len() > 10 && view.next.is_some());
    let frame = Frame {
        query: EVIL,
        refresh: 5,
        ..frame("/events")
    };
    let text = sound(&page(&view, &frame).into_string());
    assert!(text.contains("&lt;script&gt;"));
}
