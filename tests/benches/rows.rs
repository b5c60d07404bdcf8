//! The rows that the benchmarks are made with.

use std::path::{Path, PathBuf};

use jiff::civil::date;
use jiff::{Timestamp, ToSpan};
use photo_factory::asset::{
    CaptureTime, CapturedFrom, FileHash, Kind, Location, day_folder, split_name,
};
use photo_factory::ledger::{Change, Draft, Ledger, Outcome, Pairing, Shot, Verdict};

/// Files so many photos, in two commits.
pub(crate) fn file_batch(ledger: &Ledger, first: u64, count: u64) {
    let now = Timestamp::from_second(1_720_000_000 + i64::try_from(first / 100).unwrap()).unwrap();
    let intents: Vec<Change> = (first..first + count)
        .map(|n| Change::Intend(shot(n)))
        .collect();
    let outcomes = ledger.commit(&intents, now, &|_: &Path| true).unwrap();
    let finishes: Vec<Change> = outcomes
        .iter()
        .flat_map(|outcome| match outcome {
            Outcome::Intended(verdicts) => verdicts.as_slice(),
            Outcome::Finished(_) | Outcome::Done => &[],
        })
        .filter_map(|verdict| match verdict {
            Verdict::New(asset) => Some(Change::Finish(Box::new(asset.clone()))),
            _ => None,
        })
        .collect();
    assert_eq!(finishes.len() as u64, count);
    ledger.commit(&finishes, now, &|_: &Path| true).unwrap();
}

/// A photo as phones make them: every field set, one in five the half of a Live Photo, 40 photos a day.
fn shot(number: u64) -> Shot {
    let taken = date(1990, 1, 1).at(8, 0, 0, 0) + i64::try_from(number * 2160).unwrap().seconds();
    let live = number.is_multiple_of(5);
    let extension = if live { "HEIC" } else { "jpg" };
    let name = taken.strftime("IMG_%Y%m%d_%H%M%S");
    let inbox_path = PathBuf::from(format!("DCIM/Camera/{name}.{extension}"));
    let (stem, extension) = split_name(inbox_path.file_name().unwrap());
    Shot {
        folder: day_folder(taken.date()),
        stem: stem.to_owned(),
        members: vec![Draft {
            file_hash: hash(number),
            size: 3_500_000 + number,
            kind: if live { Kind::Heic } else { Kind::Jpeg },
            captured: CaptureTime {
                local: taken,
                offset_minutes: Some(120),
                from: CapturedFrom::ExifDateTimeOriginal,
            },
            location: Some(Location {
                latitude: 47.376_9,
                longitude: 8.541_7,
            }),
            make: Some("samsung".to_owned()),
            model: Some("Galaxy S21 5G".to_owned()),
            width: Some(4032),
            height: Some(3024),
            content_id: live.then(|| format!("8F1C7A2E-0000-4F6B-9A3C-{number:012X}")),
            errors: Vec::new(),
            extension: extension.to_owned(),
            pairing: Pairing::Alone,
            inbox_path,
        }],
    }
}

/// Spread as real hashes are.
pub(crate) fn hash(number: u64) -> FileHash {
    let mut state = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut hash = [0; 32];
    for part in hash.chunks_exact_mut(8) {
        state = state.wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ (state >> 29);
        part.copy_from_slice(&state.to_le_bytes());
    }
    FileHash(hash)
}
