//! The page, its JSON and its server, on real temporary folders, sockets and ledgers.
#![expect(clippy::disallowed_methods, reason = "a test takes its folders away")]

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::civil::datetime;
use jiff::tz::TimeZone;

use super::client::{Answer, AskError, ask};
use super::export::{Format, write_rows};
use super::http::{SOCKET, ServeError, Server, Site};
use super::overview::{Activity, Level, Overview, Photos, Problem, bytes_text, grouped};
use super::{pages, text};
use crate::asset::{
    Asset, AssetId, CaptureTime, CapturedFrom, FileHash, Kind, Left, LeftBecause, Place, day_folder,
};
use crate::ledger::{Change, Draft, Ledger, Outcome, Pairing, Shot, Verdict};
use crate::monitor::{Service, ServiceRow, Status};

static COUNT: AtomicU32 = AtomicU32::new(0);

struct Data(PathBuf);

impl Data {
    fn new() -> Self {
        let count = COUNT.fetch_add(1, Ordering::SeqCst);
        let name = format!("pf-page-{}-{count}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn now() -> Timestamp {
    "2025-06-15T12:00:00Z".parse().unwrap()
}

fn captured() -> CaptureTime {
    CaptureTime {
        local: datetime(2025, 6, 14, 18, 3, 2, 0),
        offset_minutes: None,
        from: CapturedFrom::Mtime,
    }
}

fn asset(id: u64, name: &str) -> Asset {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&id.to_be_bytes());
    Asset {
        id: AssetId(id),
        file_hash: FileHash(hash),
        size: 3_400_000,
        inbox_path: PathBuf::from("phone").join(name),
        final_path: day_folder(captured().day()).join(name),
        kind: Kind::Jpeg,
        captured: captured(),
        location: None,
        place: None,
        make: None,
        model: None,
        width: Some(4032),
        height: Some(3024),
        content_id: None,
        paired_with: None,
        ingested_at: now(),
        stage_done_at: [None; 4],
        errors: Vec::new(),
    }
}

fn row(service: Service, status: Status) -> ServiceRow {
    ServiceRow {
        service,
        status: Some(status),
        last_heartbeat: Some(now()),
        silent_for: Some(Duration::ZERO),
        current_task: None,
        queue_depth: None,
    }
}

fn well() -> Overview {
    Overview {
        generated_at: now(),
        zone: TimeZone::UTC,
        version: "0.0.0",
        services: Service::ALL
            .into_iter()
            .map(|service| row(service, Status::Up))
            .collect(),
        photos: Some(Photos {
            total: 1_234,
            bytes: 4_700_000_000,
            today: 12,
            this_week: 80,
            with_errors: 0,
            guessed_dates: 3,
        }),
        kinds: vec![("jpeg", 1_200), ("video", 34)],
        newest: vec![asset(7, "IMG_0007.jpg")],
        problems: Vec::new(),
        left: 0,
        activity: Activity {
            state: "watching".to_owned(),
            started_at: Some(now()),
            ..Activity::default()
        },
        ledger_error: None,
    }
}

fn problem(path: &str) -> Problem {
    Problem {
        path: path.to_owned(),
        sort: "unreadable",
        reason: "The file cannot be read: check its permissions.".to_owned(),
        since: now(),
    }
}

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
    assert!(overview.verdict().1.contains("not running"));
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
const VOID: [&str; 3] = ["meta", "link", "br"];

/// The page as a strict reader sees it: every tag closed in order; gives back the text between the tags.
fn checked_text(html: &str) -> String {
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
        } else if !VOID.contains(&name) {
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
    let html = pages::page(&overview, 30).into_string();
    let text = checked_text(&html);
    for said in [
        "One file in the inbox needs a look",
        "1,234",
        "4.7 GB",
        "IMG_0007.jpg",
        "guessed: mtime",
        "notes.txt",
        "check its permissions",
        "librarian",
        "✓ up",
        "factory-db",
        "version 0.0.0",
    ] {
        assert!(text.contains(said), "{said} is not in\n{text}");
    }
    for part in [
        "<header>",
        "<main ",
        "<footer>",
        "<nav ",
        "lang=\"en\"",
        "scope=\"col\"",
        "<caption>",
        "href=\"/?refresh=30\" aria-current=\"true\"",
        "http-equiv=\"refresh\" content=\"30\"",
    ] {
        assert!(html.contains(part), "{part} is not there");
    }
    assert_eq!(
        html.matches("<table>").count(),
        html.matches("<caption>").count()
    );
    assert!(
        !html.contains("http://")
            || html.matches("http://").count() == html.matches("http://www.w3.org").count()
    );
    assert!(!html.contains("https://"), "no outside request");
    assert!(!html.contains(" style=\""), "the policy would refuse it");
    assert!(
        !pages::page(&overview, 0)
            .into_string()
            .contains("http-equiv")
    );
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
    let html = pages::page(&overview, 5).into_string();
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
    assert!(text.contains("a?[2Jb?.jpg"), "{text}");
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

/// Files photos in two commits; gives back the id of the first.
fn file(ledger: &Ledger, photos: &[Asset]) -> AssetId {
    let intents: Vec<Change> = photos
        .iter()
        .map(|photo| {
            let (stem, extension) = crate::asset::split_name(photo.original_name());
            let draft = Draft {
                file_hash: photo.file_hash,
                size: photo.size,
                inbox_path: photo.inbox_path.clone(),
                kind: photo.kind,
                captured: photo.captured,
                location: None,
                make: photo.make.clone(),
                model: None,
                width: None,
                height: None,
                content_id: None,
                errors: photo.errors.clone(),
                extension: extension.to_owned(),
                pairing: Pairing::Alone,
            };
            Change::Intend(Shot {
                folder: day_folder(photo.captured.day()),
                stem: stem.to_owned(),
                members: vec![draft],
            })
        })
        .collect();
    let outcomes = ledger.commit(&intents, now(), &|_| true).unwrap();
    let filed: Vec<AssetId> = outcomes
        .iter()
        .map(|outcome| match outcome {
            Outcome::Intended(verdicts) => match verdicts.as_slice() {
                [Verdict::New(filed)] => filed.id,
                other => panic!("{other:?}"),
            },
            Outcome::Done => panic!("an intent has verdicts"),
        })
        .collect();
    let finishes: Vec<Change> = filed.iter().map(|&id| Change::Finish(id)).collect();
    ledger.commit(&finishes, now(), &|_| true).unwrap();
    filed[0]
}

/// A ledger with so many photos, one of them awkward, and a file that was left.
fn ledger(data: &Path, count: u64) -> Arc<Ledger> {
    let ledger = Ledger::open(data).unwrap();
    let mut awkward = asset(0, "say \"cheese\", twice\n.jpg");
    awkward.make = Some("Make, Inc.".to_owned());
    awkward.errors = vec!["the end is missing".to_owned(), "no EXIF".to_owned()];
    let mut photos = vec![awkward];
    photos.extend((1..count).map(|number| asset(number, &format!("IMG_{number:04}.jpg"))));
    let geocoded = file(&ledger, &photos);
    let done = Change::StageDone {
        id: geocoded,
        stage: crate::asset::Stage::Geocode,
        at: now(),
        place: Some(Place {
            name: "Zürich".to_owned(),
            admin1: "Zürich".to_owned(),
            country_code: "CH".to_owned(),
        }),
        error: None,
    };
    ledger.commit(&[done], now(), &|_| true).unwrap();
    let left = Left {
        inbox_path: PathBuf::from("phone/notes.txt"),
        size: 10,
        mtime_ns: 0,
        why: LeftBecause::NotMedia,
        reason: "This is no photo or video: move it elsewhere.".to_owned(),
        since: now(),
    };
    ledger
        .commit(&[Change::Leave(left)], now(), &|_| true)
        .unwrap();
    Arc::new(ledger)
}

fn gathered(ledger: Option<&Ledger>) -> Overview {
    let activity = well().activity;
    Overview::gather(ledger, well().services, activity, now(), TimeZone::UTC)
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
    let text = checked_text(&pages::page(&overview, 0).into_string());
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

fn site(data: &Path, ledger: &Arc<Ledger>) -> Site {
    let weak = Arc::downgrade(ledger);
    let for_pages = Weak::clone(&weak);
    Site {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        data: data.to_owned(),
        hosts: vec!["photos.example".to_owned()],
        refresh_seconds: 30,
        overview: Box::new(move || gathered(for_pages.upgrade().as_deref())),
        ledger: weak,
    }
}

/// Sends bytes as they are, and gives back what comes until the end.
fn raw(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let mut answer = Vec::new();
    // The server may hang up while rubbish is still being sent.
    if stream.write_all(request).is_ok() {
        drop(stream.shutdown(Shutdown::Write));
        drop(stream.read_to_end(&mut answer));
    }
    String::from_utf8_lossy(&answer).into_owned()
}

fn get(address: SocketAddr, target: &str, more: &str) -> String {
    let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n");
    raw(address, request.as_bytes())
}

fn status_of(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("no answer")
}

#[test]
fn the_page_is_served_with_its_guards() {
    let data = Data::new();
    let ledger = ledger(&data.0, 3);
    let server = Server::start(site(&data.0, &ledger)).unwrap();
    let address = server.address();

    let page = get(address, "/", "");
    assert_eq!(status_of(&page), "200");
    let (head, body) = page.split_once("\r\n\r\n").unwrap();
    for header in [
        "Content-Security-Policy: default-src 'none'; style-src 'sha256-",
        "X-Content-Type-Options: nosniff",
        "Referrer-Policy: no-referrer",
        "Cache-Control: no-store",
        "Connection: close",
    ] {
        assert!(head.contains(header), "{header} is not in {head}");
    }
    assert!(head.contains(&format!("Content-Length: {}", body.len())));
    assert!(body.contains("data-refresh=\"30\""));
    checked_text(body);

    let json = get(address, "/api/v1/status", "");
    let json: serde_json::Value =
        serde_json::from_str(json.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(json["photos"]["total"], 3);

    assert!(get(address, "/healthz", "").ends_with("\r\n\r\nok\n"));
    assert_eq!(status_of(&get(address, "/nothing", "")), "404");
    assert_eq!(status_of(&get(address, "/../etc/passwd", "")), "404");

    let head = raw(address, b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(head.ends_with("\r\n\r\n") && head.contains("Content-Length: "));

    server.stop();
    assert!(TcpStream::connect(address).is_err());
    assert!(!data.0.join(SOCKET).exists());
}

#[test]
fn a_chosen_interval_is_kept_in_a_cookie() {
    let data = Data::new();
    let ledger = ledger(&data.0, 1);
    let server = Server::start(site(&data.0, &ledger)).unwrap();
    let chosen = get(server.address(), "/?refresh=5", "");
    assert_eq!(status_of(&chosen), "303");
    assert!(chosen.contains("Set-Cookie: refresh=5; Path=/;"));
    assert!(chosen.contains("Location: /\r\n"));
    let page = get(server.address(), "/", "Cookie: other=1; refresh=5\r\n");
    assert!(page.contains("data-refresh=\"5\""));
    let page = get(server.address(), "/", "Cookie: refresh=1\r\n");
    assert!(page.contains("data-refresh=\"30\""), "1 s is not offered");
    assert_eq!(status_of(&get(server.address(), "/?refresh=x", "")), "200");
}

#[test]
fn nothing_but_reading_is_allowed_and_the_export_is_for_the_socket_alone() {
    let data = Data::new();
    let ledger = ledger(&data.0, 1);
    let server = Server::start(site(&data.0, &ledger)).unwrap();
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"] {
        let request =
            format!("{method} / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n12345");
        let answer = raw(server.address(), request.as_bytes());
        assert_eq!(status_of(&answer), "405", "{method}");
        assert!(answer.contains("Allow: GET, HEAD\r\n"));
    }
    assert_eq!(status_of(&get(server.address(), "/export", "")), "404");
    assert_eq!(status_of(&get(server.address(), "/export.csv", "")), "404");
    let forged = get(server.address(), "/export", "Via: none\r\nX: y\r\n");
    assert_eq!(status_of(&forged), "404");
}

#[test]
fn a_name_that_is_not_ours_is_refused() {
    let data = Data::new();
    let ledger = ledger(&data.0, 1);
    let server = Server::start(site(&data.0, &ledger)).unwrap();
    let as_host = |host: &str| {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        raw(server.address(), request.as_bytes())
    };
    for host in [
        "localhost:8380",
        "127.0.0.1",
        "[::1]:8380",
        "192.168.1.20:80",
        "nas.local",
        "NAS.Local.:8380",
        "photos.example",
    ] {
        assert_eq!(status_of(&as_host(host)), "200", "{host}");
    }
    for host in [
        "evil.example",
        ".local",
        "local",
        "127.0.0.1.evil.example",
        "",
        "photos.example.org",
    ] {
        assert_eq!(status_of(&as_host(host)), "421", "{host}");
    }
    let without = raw(server.address(), b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(status_of(&without), "421");
}

#[test]
fn rubbish_does_not_end_the_server() {
    let data = Data::new();
    let ledger = ledger(&data.0, 1);
    let server = Server::start(site(&data.0, &ledger)).unwrap();
    let address = server.address();
    let mut rubbish: Vec<Vec<u8>> = vec![
        Vec::new(),
        b"\r\n\r\n".to_vec(),
        b"GET / HTTP/2.0\r\nHost: localhost\r\n\r\n".to_vec(),
        b"GET  / HTTP/1.1\r\n\r\n".to_vec(),
        b"GET http://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".to_vec(),
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n".to_vec(),
        b"\xFF\xFE\x00\x01\r\n\r\n".to_vec(),
        vec![0; 100_000],
        b"GET / HTTP/1.1\r\n".repeat(5_000),
    ];
    let mut state = 42_u64;
    for length in 1..60 {
        let noise = (0..length * 37).map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56) as u8
        });
        rubbish.push(noise.collect());
    }
    for request in &rubbish {
        let answer = raw(address, request);
        assert!(
            !answer.starts_with("HTTP/1.1 200"),
            "{:?} got {answer}",
            String::from_utf8_lossy(request)
        );
    }
    // Many that ask and hang up before the answer; many that pipeline.
    for _ in 0..200 {
        let mut stream = TcpStream::connect(address).unwrap();
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .unwrap();
        drop(stream);
    }
    let many = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(100);
    assert_eq!(raw(address, &many).matches("HTTP/1.1").count(), 1);
    assert_eq!(status_of(&get(address, "/", "")), "200");
}

#[test]
fn connections_that_say_nothing_leave_room_for_those_that_do() {
    let data = Data::new();
    let ledger = ledger(&data.0, 1);
    let server = Server::start(site(&data.0, &ledger)).unwrap();
    let silent: Vec<TcpStream> = (0..300)
        .map(|_| TcpStream::connect(server.address()).unwrap())
        .collect();
    let asked = Instant::now();
    assert_eq!(status_of(&get(server.address(), "/", "")), "200");
    assert!(asked.elapsed() < Duration::from_secs(3));
    drop(silent);
}

#[test]
fn stopping_takes_less_than_a_second_whoever_is_connected() {
    let data = Data::new();
    let ledger = ledger(&data.0, 1);
    let server = Server::start(site(&data.0, &ledger)).unwrap();
    let mut silent = TcpStream::connect(server.address()).unwrap();
    silent.write_all(b"GET / HTT").unwrap();
    let begun = Instant::now();
    server.stop();
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn a_page_that_panics_is_a_bad_gateway_and_the_next_one_is_served() {
    let data = Data::new();
    let ledger = ledger(&data.0, 1);
    let fails = AtomicU32::new(3);
    let mut site = site(&data.0, &ledger);
    site.overview = Box::new(move || {
        let left = fails.load(Ordering::SeqCst);
        if left > 0 {
            fails.store(left - 1, Ordering::SeqCst);
            panic!("as the test wants it");
        }
        well()
    });
    let server = Server::start(site).unwrap();
    for _ in 0..3 {
        assert!(status_of(&get(server.address(), "/", "")).starts_with('5'));
    }
    assert_eq!(status_of(&get(server.address(), "/", "")), "200");
}

#[test]
fn only_loopback_is_served_and_a_taken_port_is_an_error() {
    let data = Data::new();
    let ledger = ledger(&data.0, 1);
    let mut open = site(&data.0, &ledger);
    open.listen = SocketAddr::from(([0, 0, 0, 0], 0));
    let refused = Server::start(open).unwrap_err();
    assert!(matches!(refused, ServeError::NotLoopback(_)));

    let server = Server::start(site(&data.0, &ledger)).unwrap();
    let other = Data::new();
    let mut taken = site(&other.0, &ledger);
    taken.listen = server.address();
    let refused = Server::start(taken).unwrap_err();
    assert!(matches!(refused, ServeError::Listening(..)), "{refused}");

    let refused = Server::start(site(&data.0, &ledger)).unwrap_err();
    assert!(matches!(refused, ServeError::AlreadyServed(_)), "{refused}");
    assert_eq!(status_of(&get(server.address(), "/", "")), "200");
}

#[test]
fn the_export_over_the_socket_equals_the_one_from_the_files() {
    let data = Data::new();
    let ledger = ledger(&data.0, 1_100);
    let server = Server::start(site(&data.0, &ledger)).unwrap();
    for (format, csv) in [(Format::JsonLines, false), (Format::Csv, true)] {
        let mut direct = Vec::new();
        write_rows(&ledger, format, &mut direct).unwrap();
        let mut asked = Vec::new();
        crate::cli::export::export(&data.0, csv, &mut asked).unwrap();
        assert!(asked == direct, "{format:?}");
        assert!(asked.len() > 200_000);
    }
    server.stop();
    drop(ledger);
    let mut from_files = Vec::new();
    crate::cli::export::export(&data.0, false, &mut from_files).unwrap();
    assert_eq!(
        String::from_utf8(from_files).unwrap().lines().count(),
        1_100
    );
}

#[test]
fn an_export_that_is_cut_short_is_told_from_a_whole_one() {
    struct Stops(Option<Server>);
    impl Write for Stops {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            drop(self.0.take());
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let data = Data::new();
    let ledger = ledger(&data.0, 2_100);
    let server = Server::start(site(&data.0, &ledger)).unwrap();
    let cut = ask(&data.0, "/export", &mut Stops(Some(server)));
    assert!(
        matches!(cut, Err(AskError::Incomplete | AskError::Asking(_))),
        "{cut:?}"
    );
}

#[test]
fn the_socket_is_the_owners_alone_and_one_left_behind_is_replaced() {
    let data = Data::new();
    let ledger = ledger(&data.0, 1);
    let left_behind = std::os::unix::net::UnixListener::bind(data.0.join(SOCKET)).unwrap();
    drop(left_behind);
    let mut sink = Vec::new();
    assert_eq!(
        ask(&data.0, "/healthz", &mut sink).unwrap(),
        Answer::NotRunning
    );
    let _server = Server::start(site(&data.0, &ledger)).unwrap();
    let mode = data.0.join(SOCKET).metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(ask(&data.0, "/healthz", &mut sink).unwrap(), Answer::Done);
    assert_eq!(sink, b"ok\n");
    assert!(matches!(
        ask(&data.0, "/nothing", &mut sink),
        Err(AskError::Refused(_))
    ));
}

#[test]
fn a_data_folder_with_a_very_long_name_has_a_socket_too() {
    let data = Data::new();
    let long = data.0.join("a".repeat(120)).join("b".repeat(120));
    std::fs::create_dir_all(&long).unwrap();
    let ledger = ledger(&long, 1);
    let server = Server::start(site(&long, &ledger)).unwrap();
    let mut sink = Vec::new();
    assert_eq!(ask(&long, "/healthz", &mut sink).unwrap(), Answer::Done);
    assert_eq!(status_of(&get(server.address(), "/", "")), "200");
    server.stop();
    assert!(!long.join(SOCKET).exists());
    assert_eq!(
        ask(&long, "/healthz", &mut sink).unwrap(),
        Answer::NotRunning
    );
}

#[test]
fn status_asks_the_appliance_and_else_opens_the_files_and_makes_none() {
    let data = Data::new();
    let status = |json| {
        let mut out = Vec::new();
        crate::cli::status::status(&data.0, json, now(), TimeZone::UTC, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    };
    assert!(status(false).starts_with("TROUBLE: Photo Factory is not running"));
    assert_eq!(std::fs::read_dir(&data.0).unwrap().count(), 0);

    let ledger = ledger(&data.0, 5);
    let server = Server::start(site(&data.0, &ledger)).unwrap();
    assert!(status(false).starts_with("LOOK: One file in the inbox"));
    let json: serde_json::Value = serde_json::from_str(&status(true)).unwrap();
    assert_eq!(json["activity"]["state"], "watching");
    server.stop();
    drop(ledger);

    let stopped = status(false);
    assert!(stopped.starts_with("TROUBLE: Photo Factory is not running"));
    assert!(stopped.contains("kept       5 "), "{stopped}");
}

#[test]
fn export_without_a_ledger_says_so_and_a_reader_that_has_enough_is_no_error() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let data = Data::new();
    let none = crate::cli::export::export(&data.0, false, &mut Vec::new());
    assert!(none.unwrap_err().to_string().contains("no ledger"));
    let ledger = ledger(&data.0, 2);
    let server = Server::start(site(&data.0, &ledger)).unwrap();
    crate::cli::export::export(&data.0, false, &mut Closed).unwrap();
    server.stop();
    drop(ledger);
    crate::cli::export::export(&data.0, true, &mut Closed).unwrap();
}
