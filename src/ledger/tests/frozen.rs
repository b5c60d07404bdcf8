//! Ledgers of every format ever released open, and say what they said.

#![expect(
    clippy::disallowed_methods,
    reason = "a frozen ledger is copied before it is opened"
)]

use super::*;
use crate::asset::{Left, LeftBecause, Place, Stage};

fn frozen(format: u64) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/ledger-v{format}.redb"))
}

/// A little of everything that a ledger can hold.
fn fill(ledger: &Ledger) {
    let mut still = draft(1, "Téléphone/IMG_1.HEIC");
    still.content_id = Some("8F1C".to_owned());
    let mut video = follower(2, "Téléphone/IMG_1.MOV");
    video.content_id = Some("8F1C".to_owned());
    let ids = file(
        ledger,
        vec![still, video, follower(3, "Téléphone/IMG_1.xmp")],
    );
    let mut odd = draft(4, "b/IMG_1.HEIC");
    odd.location = None;
    odd.make = None;
    odd.width = None;
    odd.height = None;
    odd.captured = CaptureTime {
        local: datetime(1999, 12, 31, 0, 0, 0, 0),
        offset_minutes: None,
        from: CapturedFrom::Mtime,
    };
    odd.errors.push("the file is cut short".to_owned());
    file(ledger, vec![odd]);
    intend(ledger, vec![draft(5, "b/IMG_2.JPG")]);
    let left = |path: &str, why| {
        Change::Leave(Left {
            inbox_path: PathBuf::from(path),
            size: 7,
            mtime_ns: 1_700_000_000_123_456_789,
            why,
            reason: "it is no photo".to_owned(),
            since: now(),
        })
    };
    change(
        ledger,
        &[
            left("notes.txt", LeftBecause::NotMedia),
            left("b/IMG_1.HEIC", LeftBecause::Kept(AssetId(4))),
            Change::StageDone {
                id: ids[0],
                stage: Stage::Geocode,
                at: now(),
                place: Some(Place {
                    name: "Zürich".to_owned(),
                    admin1: "Zurich".to_owned(),
                    country_code: "CH".to_owned(),
                }),
                error: None,
            },
        ],
    );
}

fn contents(ledger: &Ledger) -> impl PartialEq + std::fmt::Debug {
    (
        ledger.page(AssetId(0), 100).unwrap(),
        ledger.intents().unwrap(),
        ledger.all_left(100).unwrap(),
        ledger.totals().unwrap(),
        ledger.by_content_id("8F1C").unwrap(),
        ledger.paired_to(AssetId(1)).unwrap(),
        ledger.photos(&look(), &|_| true).unwrap(),
        ledger.bytes_per_kind().unwrap(),
    )
}

#[test]
fn ledgers_of_every_format_open_and_say_what_they_said() {
    let new = Data::new();
    let new = new.open();
    fill(&new);
    for format in 1..=tables::FORMAT {
        let old = Data::new();
        std::fs::copy(frozen(format), old.file()).unwrap();
        let old = old.open();
        assert_eq!(contents(&old), contents(&new), "format {format}");
        assert!(old.by_hash(&hash(4)).unwrap().is_some());
        assert!(matches!(
            &intend(&old, vec![draft(1, "again.HEIC")])[0],
            Verdict::Known(asset) if asset.id == AssetId(1)
        ));
        super::photos::equal_a_recount(&old, &old.page(AssetId(0), 100).unwrap());
    }
}

#[test]
fn a_ledger_of_an_earlier_format_is_brought_up_to_date_also_by_who_only_reads_it() {
    let data = Data::new();
    std::fs::copy(frozen(1), data.file()).unwrap();
    let ledger = Ledger::open_existing(&data.0).unwrap().unwrap();
    assert_eq!(ledger.years().unwrap().len(), 2);
    drop(ledger);
    let file = redb::ReadOnlyDatabase::open(data.file()).unwrap();
    let read = redb::ReadableDatabase::begin_read(&file).unwrap();
    assert_eq!(tables::format_of(&read).unwrap(), tables::FORMAT);
    let names = read.list_tables().unwrap();
    let names: Vec<String> = names
        .map(|table| redb::TableHandle::name(&table).to_owned())
        .collect();
    assert!(
        !names
            .iter()
            .any(|name| name == "by_day" || name == "assets" || name == "meta"),
        "{names:?}"
    );
}

fn frozen_journal(format: u64) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/journal-v{format}.jsonl"))
}

/// A little of everything that a journal can hold, and its ledger gone.
fn fill_journal(data: &Data) {
    let ledger = data.open();
    let held = intend(&ledger, vec![draft(1, "Téléphone/IMG_1.HEIC")]);
    std::fs::remove_file(data.file()).unwrap();
    change(&ledger, &[finish(new(&held[0]))]);
    file(
        &ledger,
        vec![draft(2, "b/IMG_2.HEIC"), follower(3, "b/IMG_2.MOV")],
    );
    let taken_back = intend(&ledger, vec![draft(4, "b/IMG_3.JPG")]);
    change(&ledger, &[withdraw(new(&taken_back[0]))]);
    intend(&ledger, vec![draft(5, "b/IMG_4.JPG")]);
}

#[test]
fn a_journal_of_format_1_opens_and_says_what_it_said() {
    let (old, new) = (Data::new(), Data::new());
    std::fs::copy(frozen_journal(1), old.0.join("journal.jsonl")).unwrap();
    fill_journal(&new);
    let (old, new) = (old.open(), new.open());
    let contents = |ledger: &Ledger| {
        let rows = ledger.journaled(AssetId(0), 100);
        (rows, ledger.intents().unwrap())
    };
    assert_eq!(contents(&old).0.len(), 3);
    assert_eq!(contents(&old), contents(&new));
}

#[test]
#[ignore = "writes the frozen journal of a new format: run it once, by hand, before a release"]
fn freeze_the_present_journal() {
    let data = Data::new();
    fill_journal(&data);
    let format = super::super::journal::FORMAT;
    std::fs::copy(data.0.join("journal.jsonl"), frozen_journal(format)).unwrap();
}

#[test]
fn every_format_up_to_the_present_one_is_frozen() {
    for format in 1..=tables::FORMAT {
        assert!(
            frozen(format).exists(),
            "no frozen ledger of format {format}"
        );
    }
    for format in 1..=super::super::journal::FORMAT {
        assert!(
            frozen_journal(format).exists(),
            "no frozen journal of format {format}"
        );
    }
}

#[test]
#[ignore = "writes the frozen ledger of a new format: run it once, by hand, before a release"]
fn freeze_the_present_format() {
    let data = Data::new();
    fill(&data.open());
    std::fs::copy(data.file(), frozen(tables::FORMAT)).unwrap();
}
