//! The page of one service, and its badge.

use jiff::SignedDuration;

use super::events::{at, event};
use super::server::site;
use super::*;
use crate::dashboard::pages::badge::badge;
use crate::dashboard::pages::events::{Happening, Length};
use crate::dashboard::pages::logs::Line;
use crate::dashboard::pages::service::{ServiceView, page};
use crate::dashboard::request::{From, Request};
use crate::dashboard::routes::{self, Answer};
use crate::dashboard::site::Site;
use crate::monitor::event::Turn;
use crate::monitor::rollup::Rollup;
use crate::monitor::{Beat, BeatClock, Live, Report};

fn beat(seconds: i64, status: Status) -> Beat {
    Beat {
        service: Service::SYNCTHING,
        at: at(seconds),
        status,
        task: String::new(),
        response: None,
        clock: BeatClock::Trusted,
    }
}

fn answers(fastest: u64, mean: u64, slowest: u64) -> Rollup {
    Rollup {
        up: Duration::from_secs(3_600),
        answers: 10,
        took: Duration::from_millis(mean * 10),
        fastest: Duration::from_millis(fastest),
        slowest: Duration::from_millis(slowest),
        ..Rollup::default()
    }
}

/// Syncthing, whose process runs and whose heartbeats say otherwise.
fn view() -> ServiceView {
    let down = || Status::Down("it does not answer".to_owned());
    let mut row = row(Service::SYNCTHING, down());
    row.live = vec![Live {
        source: "systemd syncthing@pi.service".to_owned(),
        state: "active (running)".to_owned(),
        status: Status::Up,
    }];
    row.response = Some(Duration::from_millis(12));
    let mut overview = well();
    overview.services[4] = row.clone();
    let today = jiff::civil::date(2025, 6, 15);
    let day = |back| today.saturating_sub(jiff::Span::new().days(back));
    overview.seen.today = Some(today);
    overview.seen.days = (0..60)
        .rev()
        .map(|back| (day(back), Service::SYNCTHING, answers(2, 5, 30)))
        .collect();
    let first_hour = at(-167 * 3_600);
    let hours = (0..168).filter(|hour| !(40..60).contains(hour));
    let hours = hours.map(|hour: i64| {
        let slowest = 20 + hour.unsigned_abs() % 24;
        (
            first_hour + SignedDuration::from_hours(hour),
            answers(2, 10, slowest),
        )
    });
    ServiceView {
        beats: vec![
            beat(-9_000, Status::Up),
            beat(-3_600, Status::Up),
            beat(-3_300, Status::Degraded("slow".to_owned())),
            beat(-3_000, Status::Stopped),
            beat(-60, down()),
        ],
        first_hour,
        hours: hours.collect(),
        events: vec![Happening {
            event: event(-60, Turn::Opened, "syncthing is down: it does not answer"),
            length: Length::Open(Duration::from_secs(60)),
        }],
        log: Some(Ok(vec![Line {
            at: Some(at(-60)),
            level: "WARN".to_owned(),
            service: Some("syncthing"),
            text: "it does not answer".to_owned(),
        }])),
        settings: vec![(
            "[syncthing] url".to_owned(),
            "http://127.0.0.1:8384".to_owned(),
        )],
        row,
        overview,
    }
}

#[test]
fn the_page_of_a_service_is_as_it_was_looked_at() {
    let html = page(&view(), &frame("/services/syncthing")).into_string();
    let text = sound(&html);
    for said in [
        "They disagree",
        "✕ down",
        "✓ active (running)",
        "2 up, 2 without a beat, 1 degraded, 1 stopped, 1 down",
        "2 ms at best, 10 ms on average, 43 ms at worst",
        "100.0 % up",
        "1 min, goes on",
        "! warning",
        "http://127.0.0.1:8384",
    ] {
        assert!(text.contains(said), "{said} is not in\n{text}");
    }
    assert!(html.contains(r#"<a href="/services/syncthing" aria-current="page">"#));
    assert_eq!(html.matches("<path class=\"gap\"").count(), 2);
    is_as_kept("service", &html);
}

#[test]
fn the_means_of_hours_that_follow_each_other_are_one_line_and_gaps_are_left_open() {
    let html = page(&view(), &frame("/services/syncthing")).into_string();
    let (_, line) = html.split_once("<path class=\"mean\" d=\"").unwrap();
    let (line, _) = line.split_once('"').unwrap();
    assert_eq!(line.matches('M').count(), 2, "{line}");
    assert_eq!(line.matches('L').count(), 168 - 20 - 2);
}

#[test]
fn a_service_of_which_nothing_is_known_has_a_page() {
    let view = ServiceView {
        row: ServiceRow::unheard(&Watched {
            service: Service::DASHBOARD,
            interval: Duration::from_secs(300),
        }),
        overview: well(),
        beats: vec![],
        hours: vec![],
        events: vec![],
        log: None,
        settings: vec![],
        ..view()
    };
    let html = page(&view, &frame("/services/dashboard")).into_string();
    let text = sound(&html);
    for said in [
        "not heard yet",
        "Nobody looks",
        "No beat",
        "Nothing, as far",
    ] {
        assert!(text.contains(said), "{said} is not in\n{text}");
    }
    assert!(!text.contains("How fast it answers"));
}

#[test]
fn hostile_texts_are_text_and_the_page_of_a_service_stays_small() {
    let evil = EVIL.repeat(9);
    let mut view = view();
    // The settings take no other characters.
    let name = Service::named(&"container-_.@".repeat(12));
    view.row.service = name.clone();
    view.row.status = Some(Status::Down(evil.clone()));
    view.row.current_task = Some(evil.clone());
    view.row.live = vec![
        Live {
            source: evil.clone(),
            state: evil.clone(),
            status: Status::Degraded(evil.clone()),
        };
        9
    ];
    view.overview.services = vec![view.row.clone(); 50];
    for (_, service, rollup) in &mut view.overview.seen.days {
        *service = name.clone();
        rollup.down = Duration::from_secs(3_600);
    }
    view.beats = (-60..0)
        .map(|minute| beat(minute * 60, Status::Degraded(evil.clone())))
        .collect();
    view.settings = vec![("[inbox] path".to_owned(), evil.clone()); 10];
    view.log = Some(Err(evil.clone()));
    let html = page(&view, &frame("/services/x")).into_string();
    assert!(sound(&html).contains("&lt;script&gt;"));
}

fn reply(site: &Site, target: &str) -> (u16, String) {
    match routes::answer(site, &Request::get(target, From::Socket)) {
        Answer::Whole(reply) => (reply.status, String::from_utf8(reply.body).unwrap()),
        other => panic!("{target} gives {other:?}"),
    }
}

#[test]
fn the_pages_of_the_services_show_what_their_monitor_keeps_and_no_key() {
    let data = Data::new();
    let ledger = ledger(&data.0, 3);
    let mut site = site(&data.0, &ledger);
    let config = Arc::get_mut(&mut site.config).unwrap();
    config.monitor.syncthing.api_key = Some("s3cret-key".to_owned());
    config.monitor.syncthing.url = Some("http://me:s3cret@127.0.0.1:1".to_owned());
    for minute in -30..0 {
        let report = Report::from(Status::Up).answered_in(Duration::from_millis(7));
        site.monitor
            .beat(&Service::SYNCTHING, report, at(minute * 60));
    }
    let down = Status::Down("gone".to_owned());
    site.monitor.beat(&Service::SYNCTHING, down.into(), at(-1));
    let (status, json) = reply(&site, "/api/v1/services/syncthing");
    assert_eq!(status, 200);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["service"]["service_name"], "syncthing");
    assert_eq!(json["beats"].as_array().unwrap().len(), 31);
    assert_eq!(json["beats"][30]["reason"], "gone");
    assert_eq!(json["hours"][0]["response_ms"]["mean"], 7);
    assert_eq!(json["events"][0]["is_open"], true);
    let (_, list) = reply(&site, "/api/v1/services");
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    assert_eq!(list["services"].as_array().unwrap().len(), 5);
    for service in services() {
        let name = service.as_str();
        for target in [
            format!("/services/{name}"),
            format!("/api/v1/services/{name}"),
        ] {
            let (status, body) = reply(&site, &target);
            assert_eq!(status, 200, "{target}");
            assert!(!body.contains("s3cret"), "{target} gives {body}");
        }
    }
    for target in ["/services/nobody", "/api/v1/services/nobody"] {
        assert_eq!(reply(&site, target).0, 404);
    }
}

#[test]
fn a_badge_says_the_service_and_its_state_in_words_and_there_is_none_of_others() {
    let data = Data::new();
    let ledger = ledger(&data.0, 1);
    let site = site(&data.0, &ledger);
    let (status, svg) = reply(&site, "/badge/factory-db.svg");
    assert_eq!(status, 200);
    assert!(svg.contains("<title>factory-db: up</title>"), "{svg}");
    assert!(svg.contains(">✓ up</text>"), "{svg}");
    for target in ["/badge/factory-db", "/badge/nobody.svg", "/badge/.svg"] {
        assert_eq!(reply(&site, target).0, 404, "{target}");
    }
    let mut silent = row(Service::LIBRARIAN, Status::Up);
    silent.silent_for = Some(Duration::from_secs(999));
    let grounds = [
        (silent, "✕ silent", "#9b2018"),
        (
            row(Service::LIBRARIAN, Status::Degraded(EVIL.to_owned())),
            "! degraded",
            "#7a4d00",
        ),
        (
            row(Service::LIBRARIAN, Status::Stopped),
            "– stopped",
            "#59605b",
        ),
    ];
    for (row, said, ground) in grounds {
        let svg = badge(&row).into_string();
        assert!(svg.contains(said) && svg.contains(ground), "{svg}");
        assert!(!svg.contains("alert"), "{svg}");
    }
    let evil = ServiceRow {
        service: Service::named(EVIL),
        ..row(Service::LIBRARIAN, Status::Up)
    };
    assert!(!badge(&evil).into_string().contains("<script"));
}
