//! A ledger of many rows on a board with little memory: after a kill too it is opened, and what was filed is known.

use std::path::Path;
use std::process::Command;

use jiff::civil::date;
use jiff::{Timestamp, ToSpan};
use photo_factory::asset::{CaptureTime, CapturedFrom, FileHash, Kind, day_folder, split_name};
use photo_factory::ledger::{Change, Draft, Ledger, Outcome, Pairing, Shot, Verdict};

use crate::factory::programs::is_emulated;
use crate::factory::{Factory, PATIENCE, installed};
use crate::fixtures::exif::Exif;
use crate::fixtures::jpeg;

const ROWS: u64 = 16_384;

/// For all of the program's own data; half of it goes to the stacks of threads.
const MEMORY: u64 = 64 << 20;

fn shot(number: u64) -> Shot {
    let taken = date(1990, 1, 1).at(8, 0, 0, 0) + i64::try_from(number * 2160).unwrap().seconds();
    let inbox_path = taken.strftime("DCIM/Camera/IMG_%Y%m%d_%H%M%S.jpg");
    let inbox_path = Path::new(&inbox_path.to_string()).to_owned();
    let (stem, extension) = split_name(inbox_path.file_name().unwrap());
    let mut file_hash = [7; 32];
    // Spread as real hashes are.
    let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    file_hash[..8].copy_from_slice(&spread.to_be_bytes());
    Shot {
        folder: day_folder(taken.date()),
        stem: stem.to_owned(),
        members: vec![Draft {
            file_hash: FileHash(file_hash),
            size: 3_500_000 + number,
            kind: Kind::Jpeg,
            captured: CaptureTime {
                local: taken,
                offset_minutes: Some(120),
                from: CapturedFrom::ExifDateTimeOriginal,
            },
            location: None,
            make: Some("samsung".to_owned()),
            model: Some("Galaxy S21 5G".to_owned()),
            width: Some(4032),
            height: Some(3024),
            content_id: None,
            // Few rows, and a large ledger: it is made in seconds.
            errors: vec!["x".repeat(5000)],
            extension: extension.to_owned(),
            pairing: Pairing::Alone,
            inbox_path,
        }],
    }
}

/// Has the ledger remember as many photos.
fn fill(ledger: &Ledger) {
    let now = Timestamp::from_second(1_720_000_000).unwrap();
    let free = |_: &Path| true;
    for first in (0..ROWS).step_by(2048) {
        let intents: Vec<_> = (first..first + 2048)
            .map(|number| Change::Intend(shot(number)))
            .collect();
        let outcomes = ledger.commit(&intents, now, &free).unwrap();
        let finishes: Vec<_> = outcomes
            .iter()
            .map(|outcome| match outcome {
                Outcome::Intended(verdicts) => match &verdicts[0] {
                    Verdict::New(asset) => Change::Finish(Box::new(asset.clone())),
                    other => panic!("{other:?}"),
                },
                other => panic!("no verdict: {other:?}"),
            })
            .collect();
        ledger.commit(&finishes, now, &free).unwrap();
    }
}

#[test]
fn p5_a_ledger_larger_than_the_memory_is_opened_after_every_kill_and_files_on() {
    let test = "the ledger larger than the memory";
    if is_emulated(test, "would be limited with it") || !installed("prlimit", test) {
        return;
    }
    let mut factory = Factory::new("many-rows");
    assert_eq!(factory.ingest().code, 0);
    let data = factory.root().join("Data");
    let ledger = Ledger::open(&data).unwrap();
    fill(&ledger);
    // As a kill leaves it: nobody has closed it.
    let killed = data.join("killed");
    std::fs::copy(ledger.path(), &killed).unwrap();
    drop(ledger);
    std::fs::rename(killed, data.join("ledger.redb")).unwrap();
    let size = data.join("ledger.redb").metadata().unwrap().len();
    assert!(size > MEMORY, "{size} bytes fit the memory");

    for number in 0..3 {
        let run = factory.run_command();
        let mut limited = Command::new("prlimit");
        limited
            .arg(format!("--data={MEMORY}"))
            .arg(run.get_program())
            .args(run.get_args())
            .env("TZ", "UTC");
        factory.start_command(limited);
        factory.put(
            format!("{number}.jpg"),
            &jpeg::small(number, &Exif::taken("2021:02:03 04:05:06")),
        );
        factory.wait_until_the_inbox_is_empty();
        factory.wait_until("all are counted", PATIENCE, || {
            factory.status()["photos"]["total"] == ROWS + number + 1
        });
        factory.kill();
    }
}
