//! What the ledger promises, told through its public door.

mod adoption;
mod cuts;
mod faults;
mod frozen;
mod journal;
mod older_copy;
mod photos;
mod recount;
mod shots;
mod together;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use jiff::Timestamp;
use jiff::civil::datetime;

use super::*;
use crate::asset::{
    Asset, AssetId, CaptureTime, CapturedFrom, FileHash, Kind, Location, day_folder, split_name,
};

/// A Data folder of its own, removed at the end.
struct Data(PathBuf);

impl Data {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("ledger-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn open(&self) -> Ledger {
        Ledger::open(&self.0).unwrap()
    }

    fn file(&self) -> PathBuf {
        self.0.join("ledger.redb")
    }

    /// What stands in it.
    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

impl Drop for Data {
    #[expect(clippy::disallowed_methods, reason = "a test takes down what it made")]
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

fn now() -> Timestamp {
    Timestamp::from_millisecond(1_720_000_000_000).unwrap()
}

fn hash(number: u64) -> FileHash {
    let mut hash = [0xab; 32];
    hash[..8].copy_from_slice(&number.to_le_bytes());
    FileHash(hash)
}

/// A JPEG with that content, from that inbox path.
fn draft(number: u64, inbox_path: impl AsRef<Path>) -> Draft {
    let inbox_path = inbox_path.as_ref().to_owned();
    let (_, extension) = split_name(inbox_path.file_name().unwrap());
    Draft {
        file_hash: hash(number),
        size: 1000 + number,
        extension: extension.to_owned(),
        kind: match extension.to_ascii_lowercase().to_str() {
            Some(".mov") => Kind::Video,
            Some(".xmp" | ".aae") => Kind::Sidecar,
            Some(".heic") => Kind::Heic,
            _ => Kind::Jpeg,
        },
        inbox_path,
        captured: CaptureTime {
            local: datetime(2024, 1, 31, 23, 59, 58, 70_000_000),
            offset_minutes: Some(60),
            from: CapturedFrom::ExifDateTimeOriginal,
        },
        location: Some(Location {
            latitude: 47.1234,
            longitude: -8.5,
        }),
        make: Some("Apple".to_owned()),
        model: None,
        width: Some(4032),
        height: Some(3024),
        content_id: None,
        errors: Vec::new(),
        pairing: Pairing::Alone,
    }
}

fn shot(members: Vec<Draft>) -> Shot {
    let first = &members[0];
    let (stem, _) = split_name(first.inbox_path.file_name().unwrap());
    Shot {
        folder: day_folder(first.captured.day()),
        stem: stem.to_owned(),
        members,
    }
}

/// A look at the newest photos.
fn look() -> Look<'static> {
    Look {
        limit: 50,
        rows: 1000,
        ..Look::default()
    }
}

fn follower(number: u64, inbox_path: &str) -> Draft {
    Draft {
        pairing: Pairing::Leader,
        ..draft(number, inbox_path)
    }
}

fn free(_: &Path) -> bool {
    true
}

fn intend(ledger: &Ledger, members: Vec<Draft>) -> Vec<Verdict> {
    let outcomes = ledger
        .commit(&[Change::Intend(shot(members))], now(), &free)
        .unwrap();
    match outcomes.into_iter().next() {
        Some(Outcome::Intended(verdicts)) => verdicts,
        other => panic!("no verdicts but {other:?}"),
    }
}

fn new(verdict: &Verdict) -> &Asset {
    match verdict {
        Verdict::New(asset) => asset,
        other => panic!("not new but {other:?}"),
    }
}

fn change(ledger: &Ledger, changes: &[Change]) {
    let outcomes = ledger.commit(changes, now(), &free).unwrap();
    let is_done = |outcome: &Outcome| matches!(outcome, Outcome::Done | Outcome::Finished(_));
    assert!(outcomes.iter().all(is_done));
}

/// A change that names a row which is not there.
fn of_no_row() -> Change {
    Change::StageDone {
        id: AssetId(77),
        stage: crate::asset::Stage::Geocode,
        at: now(),
        place: None,
        error: None,
    }
}

fn finish(promised: &Asset) -> Change {
    Change::Finish(Box::new(promised.clone()))
}

fn withdraw(promised: &Asset) -> Change {
    Change::Withdraw(Box::new(promised.clone()))
}

/// Files a shot: intends it and finishes what is new. Returns the ids.
fn file(ledger: &Ledger, members: Vec<Draft>) -> Vec<AssetId> {
    let verdicts = intend(ledger, members);
    let finishes: Vec<Change> = verdicts
        .iter()
        .map(|verdict| finish(new(verdict)))
        .collect();
    change(ledger, &finishes);
    verdicts.iter().map(|verdict| new(verdict).id).collect()
}

fn name(asset: &Asset) -> String {
    asset
        .final_path
        .file_name()
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned()
}

/// Waits until the ledger is in use again: after an attempt that failed the next one comes a little later.
fn until_back(ledger: &Ledger) {
    let until = std::time::Instant::now() + std::time::Duration::from_secs(120);
    while let Err(error) = ledger.probe(now()) {
        assert!(std::time::Instant::now() < until, "{error}");
        std::thread::yield_now();
    }
    assert_eq!(ledger.degraded(), None);
}
