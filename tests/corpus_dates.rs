//! Dates that names tell, and damage, on real files of many cameras, phones and programs. What the files themselves tell is
//! held to their list through the program's door, by the appliance's tests.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "helpers of tests are tests; the corpus may lie anywhere"
)]

#[path = "fixtures/programs.rs"]
mod programs;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

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
    let worker = programs::worker(env!("CARGO_BIN_EXE_photo-factory-exif"));
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

/// The processor time of this thread: time on the wall is the other programs' as well.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap()
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
        let begun = cpu_time();
        let looked = look(&reader, &corpus.join(path));
        let took = cpu_time().saturating_sub(begun);
        assert!(took < Duration::from_secs(5), "{path} took {took:?}");
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
            let begun = cpu_time();
            if let Told::Media(kind) = tell(&head_of(&file), name) {
                let metadata = reader.read(&file, seen, kind, name);
                let failed = metadata
                    .warnings
                    .iter()
                    .any(|warning| warning.contains("the reader failed"));
                assert!(!failed, "{}: {changes:?}", row["path"]);
            }
            let took = cpu_time().saturating_sub(begun);
            let path = &row["path"];
            assert!(took < Duration::from_secs(5), "{path}: {changes:?}");
            for (at, _) in &changes {
                let at_index = usize::try_from(*at).unwrap();
                if let Some(byte) = whole.get(at_index) {
                    file.write_all_at(&[*byte], *at).unwrap();
                }
            }
        }
    }
}
