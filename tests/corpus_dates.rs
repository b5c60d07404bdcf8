//! Dates, places and damage, on real files of many cameras, phones and programs.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "helpers of tests are tests; the corpus may lie anywhere"
)]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use photo_factory::asset::{CaptureTime, CapturedFrom, Metadata};
use photo_factory::librarian::date::capture_time;
use photo_factory::librarian::kind::{HEAD, Told, tell};
use photo_factory::librarian::metadata::{Reader, WorkerState};

fn corpus() -> Option<PathBuf> {
    let folder = std::env::var_os("PHOTO_FACTORY_CORPUS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus"),
        PathBuf::from,
    );
    if folder.join("manifest.tsv").is_file() {
        return Some(folder);
    }
    println!("skipped: no corpus at {}", folder.display());
    None
}

fn reader() -> Reader {
    let worker = PathBuf::from(env!("CARGO_BIN_EXE_photo-factory-exif"));
    Reader::new(Some(worker), TimeZone::UTC)
}

/// The rows of the corpus' list, as column name to value.
fn rows(corpus: &Path) -> Vec<Row> {
    let text = std::fs::read_to_string(corpus.join("manifest.tsv")).unwrap();
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap().split('\t').collect();
    let row = |line: &str| {
        names
            .iter()
            .map(|name| (*name).to_owned())
            .zip(line.split('\t').map(str::to_owned))
            .collect()
    };
    lines.map(row).collect()
}

fn head_of(file: &File) -> Vec<u8> {
    let mut head = vec![0; HEAD];
    let count = file.read_at(&mut head, 0).unwrap();
    head.truncate(count);
    head
}

fn now() -> Timestamp {
    "2027-06-01T00:00:00Z".parse().unwrap()
}

fn look(reader: &Reader, path: &Path) -> Option<(Told, Metadata)> {
    let file = File::open(path).unwrap();
    let size = file.metadata().unwrap().len();
    let name = path.file_name().unwrap();
    let told = tell(&head_of(&file), name);
    let metadata = match &told {
        Told::Media(kind) => reader.read(&file, size, *kind, name),
        Told::Sidecar(kind) => reader.read_sidecar(&file, size, *kind, name),
        Told::NotMedia(_) => return None,
    };
    Some((told, metadata))
}

fn embedded(metadata: &Metadata) -> Option<CaptureTime> {
    let mtime = Timestamp::UNIX_EPOCH;
    let found = capture_time(&metadata.dates, "x".as_ref(), mtime, now(), &TimeZone::UTC);
    (found.from != CapturedFrom::Mtime).then_some(found)
}

type Row = BTreeMap<String, String>;

/// How many of the values in the list were looked for, and how many were missed.
#[derive(Default)]
struct Score {
    dates: [u32; 2],
    offsets: [u32; 2],
    places: [u32; 2],
}

impl Score {
    fn date(&mut self, row: &Row, metadata: &Metadata) {
        let path = &row["path"];
        let found = embedded(metadata);
        let wanted = row["expected_local_date"].replace(' ', "T");
        if wanted.is_empty() {
            if let Some(found) = found {
                println!(
                    "extra date {path}: {} from {}",
                    found.local_text(),
                    found.from.as_str()
                );
            }
            return;
        }
        self.dates[0] += 1;
        // `Z` in the list: an instant, compared as one.
        let text = found.map(|found| {
            let east = if row["expected_offset"] == "Z" {
                found.offset_minutes.unwrap_or(0)
            } else {
                0
            };
            let wall = found.local - jiff::SignedDuration::from_mins(i64::from(east));
            wall.strftime("%Y-%m-%dT%H:%M:%S").to_string()
        });
        if text.as_deref() != Some(wanted.as_str()) {
            self.dates[1] += 1;
            println!(
                "date {path}: wanted {wanted} ({}), found {metadata:?}",
                row["expected_date_tag"]
            );
        }
        if !matches!(row["expected_offset"].as_str(), "" | "Z") {
            self.offsets[0] += 1;
            let offset = found.and_then(|found| found.offset_text());
            if offset.as_deref() != Some(&row["expected_offset"]) {
                self.offsets[1] += 1;
                println!(
                    "offset {path}: wanted {}, found {offset:?}",
                    row["expected_offset"]
                );
            }
        }
    }

    fn place(&mut self, row: &Row, metadata: &Metadata) {
        let path = &row["path"];
        let wanted = row["expected_lat"]
            .parse::<f64>()
            .ok()
            .zip(row["expected_lon"].parse::<f64>().ok());
        // Exactly 0, 0 is no fix: the product's choice.
        let Some((latitude, longitude)) =
            wanted.filter(|&(latitude, longitude)| latitude != 0.0 || longitude != 0.0)
        else {
            if let Some(at) = metadata.location {
                println!("extra place {path}: {at:?}");
            }
            return;
        };
        self.places[0] += 1;
        let near = metadata.location.is_some_and(|at| {
            (at.latitude - latitude).abs() < 0.0005 && (at.longitude - longitude).abs() < 0.0005
        });
        if !near {
            self.places[1] += 1;
            println!(
                "place {path}: wanted {latitude},{longitude}, found {:?}",
                metadata.location
            );
        }
    }
}

#[test]
fn real_files_give_the_dates_offsets_and_places_that_they_hold() {
    let Some(corpus) = corpus() else { return };
    let reader = reader();
    let mut score = Score::default();
    for row in rows(&corpus)
        .iter()
        .filter(|row| row["path"].starts_with("good/"))
    {
        let path = &row["path"];
        let Some((_, metadata)) = look(&reader, &corpus.join(path)) else {
            assert!(
                row["kind"] == "non-photo" || path.ends_with("métadonnées.json"),
                "{path} was not taken for a photo"
            );
            continue;
        };
        score.date(row, &metadata);
        score.place(row, &metadata);
        for (name, found) in [("make", &metadata.make), ("model", &metadata.model)] {
            let wanted = Some(row[name].trim()).filter(|text| !text.is_empty());
            if found.as_deref() != wanted {
                println!("{name} {path}: wanted {wanted:?}, found {found:?}");
            }
        }
        for error in metadata.errors.iter().chain(&metadata.warnings) {
            println!("damage {path}: {error}");
        }
    }
    let Score {
        dates,
        offsets,
        places,
    } = score;
    println!("[looked for, missed]: dates {dates:?}, offsets {offsets:?}, places {places:?}");
    assert!(
        dates[0] > 100 && places[0] > 50,
        "the list has too few rows"
    );
    assert!(
        dates[1] * 100 <= dates[0],
        "{} of {} dates are wrong",
        dates[1],
        dates[0]
    );
    assert_eq!(offsets[1], 0, "offsets are wrong");
    assert!(
        places[1] * 50 <= places[0],
        "{} of {} places are wrong",
        places[1],
        places[0]
    );
}

#[test]
fn names_alone_give_the_date_they_tell_and_traps_give_none() {
    let Some(corpus) = corpus() else { return };
    let reader = reader();
    let mtime = "2024-02-02T02:02:02Z".parse().unwrap();
    let mut seen = 0;
    for row in rows(&corpus)
        .iter()
        .filter(|row| row["path"].starts_with("good/filename-dates/"))
    {
        let path = corpus.join(&row["path"]);
        let (_, metadata) = look(&reader, &path).unwrap();
        let found = capture_time(
            &metadata.dates,
            path.file_name().unwrap(),
            mtime,
            now(),
            &TimeZone::UTC,
        );
        let notes = &row["notes"];
        let told = ["filename date ", " = "].iter().find_map(|lead| {
            let rest = notes.split_once(*lead)?.1;
            rest.starts_with("20").then(|| {
                rest.chars()
                    .take_while(|c| c.is_ascii_digit() || "-: .".contains(*c))
                    .collect::<String>()
            })
        });
        let text = found.local_text().replace('T', " ");
        match told.as_deref().map(str::trim) {
            Some(told) => assert!(
                text.starts_with(told),
                "{}: {text}, wanted {told}",
                row["path"]
            ),
            None => assert_eq!(found.from, CapturedFrom::Mtime, "{}: {text}", row["path"]),
        }
        seen += 1;
    }
    assert!(seen > 10);
}

#[test]
fn damaged_and_hostile_files_cost_neither_time_nor_the_next_file() {
    let Some(corpus) = corpus() else { return };
    let reader = reader();
    for row in rows(&corpus)
        .iter()
        .filter(|row| row["path"].starts_with("malformed/"))
    {
        let path = &row["path"];
        let begun = Instant::now();
        let looked = look(&reader, &corpus.join(path));
        assert!(
            begun.elapsed() < Duration::from_secs(7),
            "{path} took {:?}",
            begun.elapsed()
        );
        let Some((told, metadata)) = looked else {
            println!("{path}: not media");
            continue;
        };
        let found = embedded(&metadata);
        let text = found.map(|found| found.local.strftime("%Y-%m-%d %H:%M:%S").to_string());
        println!(
            "{path}: {told:?} {text:?} {:?} {:?}",
            metadata.errors, metadata.warnings
        );
        // A made-up date is one that the file does not hold as text.
        if let Some(found) = found
            && row["expected_local_date"] != text.clone().unwrap_or_default()
            && found.from != CapturedFrom::VideoCreationTime
        {
            let mut bytes = Vec::new();
            File::open(corpus.join(path))
                .unwrap()
                .read_to_end(&mut bytes)
                .unwrap();
            let held = ["%Y:%m:%d", "%Y-%m-%d", "%Y%m%d"].iter().any(|form| {
                let day = found.local.strftime(form).to_string();
                bytes
                    .windows(day.len())
                    .any(|window| window == day.as_bytes())
            });
            assert!(held, "{path}: {text:?} is made up");
        }
    }
    assert!(
        matches!(
            reader.worker_state(),
            WorkerState::Running | WorkerState::Idle
        ),
        "{:?}",
        reader.worker_state()
    );
}

#[test]
fn mutated_files_never_make_a_reader_fail() {
    let Some(corpus) = corpus() else { return };
    // Without the worker: this is about the daemon's own readers.
    let reader = Reader::new(None, TimeZone::UTC);
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below.max(1)
    };
    for row in rows(&corpus) {
        let path = corpus.join(&row["path"]);
        let whole = std::fs::read(&path).unwrap();
        let name = path.file_name().unwrap();
        let size = whole.len() as u64;
        let file = File::from(
            rustix::fs::memfd_create("mutant", rustix::fs::MemfdFlags::CLOEXEC).unwrap(),
        );
        file.write_all_at(&whole, 0).unwrap();
        for _ in 0..40 {
            // Headers are worth more than pixels.
            let reach = [64, 4096, size][usize::try_from(next(3)).unwrap()].min(size);
            let changes: Vec<(u64, u8)> = (0..=next(8))
                .map(|_| {
                    (
                        next(reach),
                        [0, 1, 0x7f, 0xff][usize::try_from(next(4)).unwrap()],
                    )
                })
                .collect();
            for (at, byte) in &changes {
                file.write_all_at(&[*byte], *at).unwrap();
            }
            let seen = if next(4) == 0 { next(size) } else { size };
            let begun = Instant::now();
            if let Told::Media(kind) = tell(&head_of(&file), name) {
                let metadata = reader.read(&file, seen, kind, name);
                let failed = metadata
                    .warnings
                    .iter()
                    .any(|warning| warning.contains("the reader failed"));
                assert!(!failed, "{}: {changes:?}", row["path"]);
            }
            assert!(
                begun.elapsed() < Duration::from_secs(5),
                "{}: {changes:?}",
                row["path"]
            );
            for (at, _) in &changes {
                let at_index = usize::try_from(*at).unwrap();
                if let Some(byte) = whole.get(at_index) {
                    file.write_all_at(&[*byte], *at).unwrap();
                }
            }
        }
    }
}
