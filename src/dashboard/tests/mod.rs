//! The page, its JSON and its server, on real temporary folders, sockets and ledgers.
#![expect(clippy::disallowed_methods, reason = "a test takes its folders away")]

mod about;
mod api;
mod events;
mod logs;
mod pages;
mod photos;
mod problems;
mod server;
mod service;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::datetime;
use jiff::tz::TimeZone;

use super::access::Visitor;
use super::overview::{Activity, Overview, Photos, Problem};
use super::pages::{Frame, overview};
use crate::asset::{
    Asset, AssetId, CaptureTime, CapturedFrom, FileHash, Kind, Left, LeftBecause, Place, day_folder,
};
use crate::ledger::{Change, Draft, Ledger, Outcome, Pairing, Shot, Verdict};
use crate::monitor::{Seen, Service, ServiceRow, Status, Watched};

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
    let seconds = if service == Service::LIBRARIAN {
        60
    } else {
        300
    };
    let watched = Watched {
        service,
        interval: Duration::from_secs(seconds),
    };
    ServiceRow {
        status: Some(status),
        last_heartbeat: Some(now()),
        silent_for: Some(Duration::ZERO),
        since: Some(now()),
        ..ServiceRow::unheard(&watched)
    }
}

/// The services of the appliance, in the order of the page.
fn services() -> [Service; 5] {
    [
        Service::LIBRARIAN,
        Service::DASHBOARD,
        Service::SERVICE_MONITOR,
        Service::FACTORY_DB,
        Service::SYNCTHING,
    ]
}

fn well() -> Overview {
    Overview {
        generated_at: now(),
        zone: TimeZone::UTC,
        version: "0.0.0",
        services: services()
            .into_iter()
            .map(|service| row(service, Status::Up))
            .collect(),
        beats: Vec::new(),
        seen: Seen::default(),
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
    let filed: Vec<Asset> = outcomes
        .iter()
        .map(|outcome| match outcome {
            Outcome::Intended(verdicts) => match verdicts.as_slice() {
                [Verdict::New(filed)] => filed.clone(),
                other => panic!("{other:?}"),
            },
            other => panic!("an intent has verdicts, not {other:?}"),
        })
        .collect();
    let finishes: Vec<Change> = filed
        .iter()
        .cloned()
        .map(|asset| Change::Finish(Box::new(asset)))
        .collect();
    ledger.commit(&finishes, now(), &|_| true).unwrap();
    filed[0].id
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
    Overview::gather(
        ledger,
        well().services,
        Seen::default(),
        activity,
        now(),
        TimeZone::UTC,
    )
}

/// The overview, as its owner sees it.
fn shown(overview: &Overview, refresh: u32) -> String {
    let frame = Frame {
        refresh,
        ..frame("/")
    };
    overview::page(overview, &frame).into_string()
}

static UTC: TimeZone = TimeZone::UTC;

/// What is around a page that its owner sees, without refresh.
fn frame(path: &str) -> Frame<'_> {
    Frame {
        path,
        query: "",
        refresh: 0,
        visitor: Visitor::Owner,
        token: "form-token".to_owned(),
        is_signed_in: true,
        now: now(),
        zone: &UTC,
    }
}

/// Text that would like to be markup.
const EVIL: &str = "<script>alert(1)</script>&\"'\u{202e}<img src=x onerror=alert(2)>";

/// The page is well-formed, small, and none of its texts became markup; gives back what a text browser shows.
fn sound(html: &str) -> String {
    assert!(!html.contains("<img"), "a text became markup");
    assert!(!html.contains(" style=\""), "the policy would refuse it");
    assert_eq!(html.matches("<script").count(), 1, "ours alone");
    assert_eq!(html.matches("<h1").count(), 1);
    assert_eq!(
        html.matches("<table").count(),
        html.matches("<caption>").count()
    );
    assert!(html.len() < 60 * 1024, "{} bytes", html.len());
    pages::checked_text(html)
}

/// What the page holds, as it was looked at and kept in `tests/data/pages/NAME.html`. Where the environment variable
/// `PHOTO_FACTORY_SNAPSHOTS` is set, it is kept anew: look at what changed.
fn is_as_kept(name: &str, html: &str) {
    let (_, main) = html.split_once("<main").unwrap();
    let (main, _) = main.split_once("</main>").unwrap();
    let main = format!("<main{main}</main>\n").replace("><", ">\n<");
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/pages")
        .join(name)
        .with_extension("html");
    if std::env::var_os("PHOTO_FACTORY_SNAPSHOTS").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, &main).unwrap();
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    let differs = kept
        .lines()
        .zip(main.lines())
        .position(|(kept, now)| kept != now);
    assert!(
        kept == main,
        "{name} differs from {} from line {} on",
        file.display(),
        differs.unwrap_or_else(|| kept.lines().count().min(main.lines().count())) + 1
    );
}
