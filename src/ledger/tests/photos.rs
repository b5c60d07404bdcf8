//! The photos of the page: picked by what they have in common, a page at a time, at a bounded cost.

use std::cmp::Reverse;

use jiff::Span;
use jiff::civil::date;

use super::*;

/// What the page is drawn from says what a recount of these rows says.
pub(super) fn equal_a_recount(ledger: &Ledger, assets: &[Asset]) {
    let mut photos: Vec<Asset> = assets.to_vec();
    photos.retain(|asset| asset.kind != Kind::Sidecar);
    photos.sort_by_key(|asset| {
        let local = asset.captured.local;
        Reverse((local.date(), local.hour(), local.minute(), asset.id))
    });
    assert_eq!(all_pages(ledger, None, 7), photos);
    let mut facets: Vec<Facet> = Vec::new();
    for facet in photos.iter().flat_map(Facet::all_of) {
        if !facets.contains(&facet) {
            facets.push(facet);
        }
    }
    for facet in &facets {
        let those: Vec<Asset> = photos
            .iter()
            .filter(|asset| facet.fits(asset))
            .cloned()
            .collect();
        assert_eq!(all_pages(ledger, Some(facet), 5), those, "{facet:?}");
        let listed = match facet {
            Facet::Camera(name) => Some(("camera", name)),
            Facet::Country(name) => Some(("country", name)),
            Facet::Place(name) => Some(("place", name)),
            _ => None,
        };
        if let Some((what, name)) = listed {
            let names = ledger.names_of(what, 100).unwrap();
            assert!(
                names.contains(&(name.clone(), those.len() as u64)),
                "{names:?}"
            );
        }
    }
    let years = ledger.years().unwrap();
    let bytes =
        |assets: &mut dyn Iterator<Item = &Asset>| assets.map(|asset| asset.size).sum::<u64>();
    assert_eq!(
        years.iter().map(Year::photos).sum::<u64>(),
        photos.len() as u64
    );
    assert_eq!(
        years.iter().map(|year| year.bytes).sum::<u64>(),
        bytes(&mut assets.iter())
    );
    let months = ledger.growth().unwrap();
    assert_eq!(
        months.iter().map(|month| month.photos).sum::<u64>(),
        photos.len() as u64
    );
    assert_eq!(
        months.iter().map(|month| month.bytes).sum::<u64>(),
        bytes(&mut assets.iter())
    );
    for (kind, counted) in ledger.bytes_per_kind().unwrap() {
        assert_eq!(
            counted,
            bytes(&mut assets.iter().filter(|asset| asset.kind == kind))
        );
    }
}

fn all_pages(ledger: &Ledger, facet: Option<&Facet>, limit: usize) -> Vec<Asset> {
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let found = ledger
            .photos(
                &Look {
                    facet,
                    after,
                    limit,
                    rows: 11,
                    days: None,
                },
                &|_| true,
            )
            .unwrap();
        assert!(found.photos.len() <= limit && found.looked_at <= 11);
        all.extend(found.photos);
        match found.next {
            Some(next) => after = Some(next),
            None => return all,
        }
    }
}

fn on(number: u64, minutes: i64, model: &str) -> Draft {
    let mut draft = draft(number, format!("phone/IMG_{number}.JPG"));
    draft.captured.local += Span::new().minutes(minutes);
    draft.model = Some(model.to_owned());
    draft
}

#[test]
fn photos_of_a_day_of_a_camera_and_of_both_are_found_newest_first() {
    let data = Data::new();
    let ledger = data.open();
    // The first is of the last minute of its day.
    for (number, minutes, model) in [
        (1, 0, "Apple iPhone 6"),
        (2, 1, "X100"),
        (3, -3, "X100"),
        (4, 1, "X100"),
    ] {
        file(&ledger, vec![on(number, minutes, model)]);
    }
    let numbers = |look: &Look<'_>| -> Vec<u64> {
        let found = ledger.photos(look, &|_| true).unwrap();
        found.photos.iter().map(|asset| asset.size - 1000).collect()
    };
    assert_eq!(numbers(&look()), [4, 2, 1, 3]);
    let days = Some((date(2024, 1, 31), date(2024, 1, 31)));
    assert_eq!(numbers(&Look { days, ..look() }), [1, 3]);
    let camera = Facet::Camera("Apple X100".to_owned());
    let facet = Some(&camera);
    assert_eq!(numbers(&Look { facet, ..look() }), [4, 2, 3]);
    assert_eq!(
        numbers(&Look {
            facet,
            days,
            ..look()
        }),
        [3]
    );
    assert_eq!(
        ledger.names_of("camera", 9).unwrap(),
        [
            ("Apple X100".to_owned(), 3),
            ("Apple iPhone 6".to_owned(), 1)
        ]
    );
    let days = Some((date(2030, 1, 1), date(2031, 1, 1)));
    assert!(numbers(&Look { days, ..look() }).is_empty());
}

#[test]
fn a_rare_photo_costs_no_reading_of_the_others() {
    let data = Data::new();
    let ledger = data.open();
    for day in 0..40 {
        for number in 0..20 {
            file(
                &ledger,
                vec![on(
                    1 + day * 20 + number,
                    i64::try_from(day).unwrap() * 1440,
                    "common",
                )],
            );
        }
    }
    file(&ledger, vec![on(5000, 3 * 1440, "rare")]);
    let camera = Facet::Camera("Apple rare".to_owned());
    let found = ledger
        .photos(
            &Look {
                facet: Some(&camera),
                ..look()
            },
            &|_| true,
        )
        .unwrap();
    assert_eq!(found.photos.len(), 1);
    assert_eq!(found.looked_at, 21, "the photos of its day alone");
    assert_eq!(found.next, None);
    // One that fits nothing looks at so many rows and no more, and says where to go on.
    let found = ledger
        .photos(
            &Look {
                rows: 100,
                ..look()
            },
            &|_| false,
        )
        .unwrap();
    assert_eq!((found.photos.len(), found.looked_at), (0, 100));
    assert!(found.next.is_some());
}

#[test]
fn a_camera_is_named_once() {
    let named = |make: &str, model: &str| {
        let mut asset = draft(1, "a.jpg").to_asset(AssetId(1), None, PathBuf::new(), now());
        asset.make = Some(make.to_owned());
        asset.model = Some(model.to_owned());
        Facet::camera_of(&asset)
    };
    assert_eq!(
        named("Canon", "Canon EOS 5D").as_deref(),
        Some("Canon EOS 5D")
    );
    assert_eq!(
        named("NIKON CORPORATION", "NIKON D50").as_deref(),
        Some("NIKON D50")
    );
    assert_eq!(
        named("Apple", "iPhone 12").as_deref(),
        Some("Apple iPhone 12")
    );
    assert_eq!(named("", " \u{7}"), None);
    assert_eq!(named("", ""), None);
}
