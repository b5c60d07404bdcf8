//! The pages of the overview, of photos, of one photo and of storage, against what was looked at; with hostile names; and their size
//! with the longest values.

use jiff::civil::date;

use super::*;
use crate::asset::{Location, Stage};
use crate::dashboard::pages::photo::{self, PhotoView};
use crate::dashboard::pages::photos::{self, Filter, PhotosView};
use crate::dashboard::pages::storage::{self, StorageView};
use crate::dashboard::request::{From, Request};
use crate::ledger::{Cursor, Found, Month, Year};
use crate::monitor::Beat;
use crate::monitor::board::{Disk, Room};

fn a_photo() -> Asset {
    let mut asset = asset(7, "IMG_0007.jpg");
    asset.captured.from = CapturedFrom::ExifDateTimeOriginal;
    asset.captured.offset_minutes = Some(120);
    asset.location = Some(Location {
        latitude: -33.856_8,
        longitude: 151.215_3,
    });
    asset.place = Some(Place {
        name: "Sydney".to_owned(),
        admin1: "New South Wales".to_owned(),
        country_code: "AU".to_owned(),
    });
    asset.make = Some("Apple".to_owned());
    asset.model = Some("iPhone 12".to_owned());
    asset.stage_done_at[Stage::Geocode as usize] = Some(now());
    asset
}

fn photos_view(query: &str) -> PhotosView {
    let mut damaged = asset(6, "IMG_0006.jpg");
    damaged.errors.push("the end is missing".to_owned());
    PhotosView {
        filter: Filter::of(&Request::get(&format!("/photos?{query}"), From::Socket)),
        found: Found {
            photos: vec![a_photo(), damaged],
            next: Some(Cursor {
                moment: 1_065_000_000,
                id: 6,
            }),
            looked_at: 2,
        },
        years: vec![year(2024), year(2025)],
        calendar: Some((2025, vec![(date(2025, 1, 1), 1), (date(2025, 6, 14), 40)])),
        cameras: vec![("Apple iPhone 12".to_owned(), 1_234)],
        places: vec![("AU".to_owned(), 12)],
    }
}

fn year(year: i16) -> Year {
    Year {
        year,
        months: [0, 1, 2, 3, 4, 5, 60, 7, 8, 9, 10, 11],
        bytes: 1_500_000_000,
    }
}

#[test]
fn the_pages_of_photos_are_as_they_were_looked_at() {
    let html = photos::page(
        &photos_view("camera=Apple+iPhone+12&text=img"),
        &frame("/photos"),
    )
    .into_string();
    let text = sound(&html);
    for said in [
        "Photos and videos by Apple iPhone 12 with \u{201c}img\u{201d}",
        "guessed",
        "! damaged",
        "Sydney, New South Wales, AU",
        "Older photos",
    ] {
        assert!(text.contains(said), "{said} is not in\n{text}");
    }
    assert!(
        html.contains("href=\"?camera=Apple%20iPhone%2012&amp;text=img&amp;after=1065000000-6\"")
    );
    is_as_kept("photos", &html);
    let view = PhotoView {
        asset: a_photo(),
        related: vec![asset(8, "IMG_0007.xmp")],
    };
    let html = photo::page(&view, &frame("/photos/7")).into_string();
    let text = sound(&html);
    assert!(text.contains("33.85680° S, 151.21530° E"), "{text}");
    is_as_kept("photo", &html);
}

#[test]
fn hostile_names_are_text_and_the_longest_pages_stay_small() {
    let evil = EVIL.repeat(5);
    let mut worst = a_photo();
    worst.final_path = day_folder(captured().day()).join(evil.replace('/', "_"));
    worst.inbox_path = PathBuf::from(evil.replace('/', "_"));
    worst.make = Some(evil.clone());
    worst.model = Some(evil.clone());
    worst.errors = vec![evil.clone(); 3];
    worst.place = Some(Place {
        name: evil.clone(),
        admin1: evil.clone(),
        country_code: evil.clone(),
    });
    let mut view = photos_view("");
    view.filter.text = Some(evil.clone());
    view.filter.camera = Some(evil.clone());
    view.found.photos = vec![worst.clone(); 20];
    view.found.looked_at = 2_000;
    let html = photos::page(&view, &frame("/photos")).into_string();
    assert!(sound(&html).contains("&lt;script&gt;"));
    // Plain names, and a photo on each day of a leap year, of a library of sixty years with many cameras and places.
    let mut view = photos_view("");
    view.found.photos = vec![a_photo(); 20];
    view.years = (1965..2025).map(year).collect();
    let first = date(2024, 1, 1);
    let days = first.series(jiff::Span::new().days(1)).take(366);
    view.calendar = Some((2024, days.map(|day| (day, 1_234)).collect()));
    view.cameras = (0..40)
        .map(|number| (format!("Canon EOS 5D Mark {number}"), number))
        .collect();
    view.places = view.cameras.clone();
    sound(&photos::page(&view, &frame("/photos")).into_string());
    let view = PhotoView {
        asset: worst.clone(),
        related: vec![worst.clone(); 20],
    };
    assert!(
        sound(&photo::page(&view, &frame("/photos/7")).into_string()).contains("&lt;script&gt;")
    );
    let mut overview = well();
    overview.newest = vec![worst; 50];
    overview.problems = vec![problem(&evil); 100];
    overview.activity.current = Some(evil.clone());
    overview.activity.notices = vec![evil.clone()];
    let beats = (0..48).map(|number| Beat {
        service: Service::LIBRARIAN,
        at: now() - jiff::SignedDuration::from_mins(48 - number),
        status: Status::Degraded(evil.clone()),
        task: evil.clone(),
        response: None,
        clock: crate::monitor::BeatClock::Trusted,
    });
    let beats: Vec<Beat> = beats.collect();
    overview.beats = services()
        .into_iter()
        .map(|service| (service, beats.clone()))
        .collect();
    sound(&shown(&overview, 5));
}

fn storage_view() -> StorageView {
    let month = |year, month, bytes| Month {
        first: date(year, month, 1),
        photos: bytes / 4_000_000,
        bytes,
    };
    StorageView {
        today: date(2025, 6, 15),
        years: vec![year(2024), year(2025)],
        kinds: vec![
            (Kind::Jpeg, 1_200, 4_000_000_000),
            (Kind::Video, 34, 9_000_000_000),
        ],
        months: vec![
            month(2024, 1, 90_000_000_000),
            month(2025, 1, 3_000_000_000),
            month(2025, 5, 3_000_000_000),
        ],
        disks: vec![Disk {
            name: "inbox, storage".to_owned(),
            room: Some(Room {
                free: 60_000_000_000,
                total: 128_000_000_000,
                inodes: None,
                device: (8, 1),
            }),
            written_per_hour: Some(5_000_000),
        }],
        room: Some(36_500_000_000),
        own_written_per_hour: Some(600_000),
        own_files: [30_000_000, 9_000_000],
    }
}

#[test]
fn storage_tells_when_the_disk_is_full_and_leaves_the_first_copy_out_of_it() {
    let view = storage_view();
    let html = storage::page(&view, &frame("/storage")).into_string();
    let text = sound(&html);
    // 6 GB in the last year; the 90 GB of the first month are old photos that were copied.
    assert!(text.contains("the disk is full about"), "{text}");
    let json = view.json();
    assert_eq!(json["bytes_per_day"], 6_000_000_000_u64 / 365);
    assert_eq!(json["full_on"], "2031-07-14");
    is_as_kept("storage", &html);
    let young = StorageView {
        months: view.months[2..].to_vec(),
        ..view.clone()
    };
    let text = sound(&storage::page(&young, &frame("/storage")).into_string());
    assert!(text.contains("after two months"), "{text}");
    let silent = StorageView { room: None, ..view };
    let text = sound(&storage::page(&silent, &frame("/storage")).into_string());
    assert!(text.contains("does not answer"), "{text}");
    sound(&storage::page(&StorageView::default(), &frame("/storage")).into_string());
}
