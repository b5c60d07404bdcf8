//! A made-up Syncthing: one that migrates, one behind another's port, one that changes its mind about TLS.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use photo_factory::config::{Clear, SyncthingSettings};
use photo_factory::monitor::service::Status;
use photo_factory::monitor::syncthing::settings_file::search;
use photo_factory::monitor::syncthing::{Sight, Watcher};

use crate::{courier, server};

const INTERVAL: Duration = Duration::from_secs(300);

fn watcher(url: Option<&str>, pin: Option<&str>) -> Watcher {
    let settings = SyncthingSettings {
        url: url.map(str::to_owned),
        api_key: Some("hush".to_owned()),
        api_key_file: None,
    };
    Watcher::new(settings, INTERVAL, pin.map(str::to_owned))
}

fn inbox() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

fn look(url: &str, pin: Option<&str>) -> Sight {
    watcher(Some(url), pin).look(&courier(), inbox(), Clear::Safe, Instant::now())
}

#[test]
fn one_that_migrates_is_up_also_where_it_spoke_tls_before() {
    let address =
        server::on_loopback(|_| Some((200, "*** Database migration in progress ***".to_owned())));
    let pin = "ab".repeat(32);
    for (url, pin) in [
        (format!("http://{address}"), None),
        (format!("https://{address}"), None),
        (format!("https://{address}"), Some(pin.as_str())),
    ] {
        let sight = look(&url, pin);
        assert_eq!(sight.status, Some(Status::Up), "{url}: {sight:#?}");
        assert!(sight.notices[0].contains("migrating"), "{sight:#?}");
        assert!(sight.phone_copies_stay_until().is_none());
    }
}

#[test]
fn one_that_lost_its_tls_is_sent_nothing_more() {
    let (tell, asked) = channel();
    let address = server::on_loopback(move |path| {
        tell.send(path.to_owned()).unwrap();
        Some((200, r#"{"status":"OK"}"#.to_owned()))
    });
    let sight = look(&format!("https://{address}"), Some(&"ab".repeat(32)));
    assert!(sight.facts.is_none(), "{sight:#?}");
    assert!(
        matches!(sight.status, Some(Status::Unknown(_) | Status::Down(_))),
        "{sight:#?}"
    );
    let asked: Vec<String> = asked.try_iter().collect();
    assert!(
        asked.iter().all(|path| path == "/rest/noauth/health"),
        "{asked:?}"
    );
}

#[test]
fn another_program_at_its_address_is_told() {
    let address = server::on_loopback(|_| Some((200, "<html>a printer</html>".to_owned())));
    let sight = look(&address, None);
    assert!(matches!(sight.status, Some(Status::Down(_))), "{sight:#?}");
    assert!(sight.warnings[0].contains("not Syncthing"), "{sight:#?}");
}

#[test]
fn one_that_does_not_know_the_questions_of_today_is_read_as_far_as_it_answers() {
    let address = server::on_loopback(|path| {
        Some(match path {
            "/rest/noauth/health" => (403, "CSRF Error".to_owned()),
            "/rest/system/version" => (200, r#"{"version":"v1.0.0"}"#.to_owned()),
            _ => (404, "404 page not found".to_owned()),
        })
    });
    let sight = look(&address, None);
    assert_eq!(sight.status, Some(Status::Up), "{sight:#?}");
    let facts = sight.facts.as_ref().expect("it was asked");
    assert_eq!(facts.version, "v1.0.0");
    assert!(sight.phone_copies_stay_until().is_none());
}

#[test]
fn answers_that_make_no_sense_are_told() {
    let address = server::on_loopback(|path| {
        Some(match path {
            "/rest/noauth/health" => (200, r#"{"status":"OK"}"#.to_owned()),
            _ => (200, "{\"version\":".to_owned()),
        })
    });
    let sight = look(&address, None);
    assert!(
        matches!(sight.status, Some(Status::Degraded(_))),
        "{sight:#?}"
    );
    assert!(
        sight.warnings[0].contains("/rest/system/version"),
        "{sight:#?}"
    );
}

#[test]
fn one_that_is_away_is_asked_more_and_more_rarely_up_to_the_interval() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = closed.local_addr().unwrap().to_string();
    drop(closed);
    let mut watcher = watcher(Some(&nobody), None);
    assert_eq!(watcher.next_look(), None);
    let mut now = Instant::now();
    let mut pauses = Vec::new();
    for _ in 0..8 {
        let sight = watcher.look(&courier(), inbox(), Clear::Safe, now);
        assert!(matches!(sight.status, Some(Status::Down(_))), "{sight:#?}");
        let next = watcher.next_look().unwrap();
        pauses.push((next - now).as_secs());
        now = next;
    }
    assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300, 300]);
}

#[test]
fn where_there_is_none_that_is_no_trouble_and_how_to_name_one_is_said() {
    let is_there = TcpStream::connect("127.0.0.1:8384").is_ok();
    let found = search(inbox());
    if is_there || !found.found.is_empty() || !found.closed.is_empty() {
        println!("skipped: a look where there is none needs a machine without Syncthing");
        return;
    }
    let mut watcher = watcher(None, None);
    let now = Instant::now();
    let sight = watcher.look(&courier(), inbox(), Clear::Safe, now);
    assert_eq!(sight.status, None);
    assert!(sight.warnings.is_empty(), "{sight:#?}");
    assert!(sight.notices[0].contains("[syncthing]"), "{sight:#?}");
    assert_eq!(watcher.next_look(), Some(now + INTERVAL));
    assert_eq!(sight.phone_copies_stay_until(), None);
}
