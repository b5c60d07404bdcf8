//! The metadata worker may crash, hang or be missing: that costs time, never a photo's date.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "fixtures/programs.rs"]
mod programs;

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::tz::TimeZone;
use photo_factory::asset::{CaptureTime, CapturedFrom, Kind, Metadata};
use photo_factory::librarian::metadata::{Reader, WorkerState};
use rustix::process::{Pid, Signal, kill_process};

const DATE: &str = "2021-03-04T05:06:07.250";

/// EXIF with a date, a fraction and a maker, as a camera writes it: little endian, two directories.
fn exif() -> Vec<u8> {
    let mut block = b"Exif\0\0II*\0\x08\0\0\0".to_vec();
    let entry = |block: &mut Vec<u8>, tag: u16, kind: u16, count: u32, value: u32| {
        block.extend(tag.to_le_bytes());
        block.extend(kind.to_le_bytes());
        block.extend(count.to_le_bytes());
        block.extend(value.to_le_bytes());
    };
    block.extend(2_u16.to_le_bytes());
    entry(&mut block, 0x010f, 2, 8, 80);
    entry(&mut block, 0x8769, 4, 1, 38);
    block.extend([0; 4]);
    block.extend(2_u16.to_le_bytes());
    entry(&mut block, 0x9003, 2, 20, 88);
    entry(&mut block, 0x9291, 2, 3, u32::from_le_bytes(*b"25\0\0"));
    block.extend([0; 4]);
    block.resize(6 + 80, 0);
    block.extend(b"Factory\0");
    block.extend(b"2021:03:04 05:06:07\0");
    block
}

fn jpeg() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, 80);
    encoder.add_app_segment(1, exif()).unwrap();
    encoder
        .encode(&[128; 64 * 48 * 3], 64, 48, jpeg_encoder::ColorType::Rgb)
        .unwrap();
    bytes
}

fn photo(bytes: &[u8]) -> File {
    let file = rustix::fs::memfd_create("photo", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    let mut file = File::from(file);
    file.write_all(bytes).unwrap();
    file
}

fn worker() -> PathBuf {
    programs::worker(env!("CARGO_BIN_EXE_photo-factory-exif"))
}

fn read(reader: &Reader, file: &File) -> Metadata {
    reader.read(
        file,
        file.metadata().unwrap().len(),
        Kind::Jpeg,
        "a.jpg".as_ref(),
    )
}

fn assert_read(metadata: &Metadata) {
    let date = metadata
        .dates
        .iter()
        .find(|date| date.from == CapturedFrom::ExifDateTimeOriginal);
    assert_eq!(
        date.map(CaptureTime::local_text).as_deref(),
        Some(DATE),
        "{metadata:?}"
    );
    assert_eq!(metadata.make.as_deref(), Some("Factory"));
    assert_eq!((metadata.width, metadata.height), (Some(64), Some(48)));
    assert_eq!(metadata.errors, Vec::<String>::new());
}

fn signal(reader: &Reader, signal: Signal) -> u32 {
    let pid = reader.worker_pid().expect("a worker is up");
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal).unwrap();
    pid
}

#[test]
fn a_worker_that_was_killed_is_replaced_and_the_file_is_read() {
    let reader = Reader::new(Some(worker()), TimeZone::UTC);
    let file = photo(&jpeg());
    assert_eq!(reader.worker_state(), WorkerState::Idle);
    for _ in 0..3 {
        assert_read(&read(&reader, &file));
        assert_eq!(reader.worker_state(), WorkerState::Running);
        let dead = signal(&reader, Signal::KILL);
        let after = read(&reader, &file);
        assert_read(&after);
        assert_eq!(after.warnings, Vec::<String>::new());
        assert_ne!(reader.worker_pid(), Some(dead));
    }
}

#[test]
fn a_worker_that_hangs_is_ended_after_its_deadline() {
    let reader = Reader::new(Some(worker()), TimeZone::UTC);
    let file = photo(&jpeg());
    assert_read(&read(&reader, &file));
    let stopped = signal(&reader, Signal::STOP);
    let begun = Instant::now();
    assert_read(&read(&reader, &file));
    let took = begun.elapsed();
    // It is given its time; and a busy machine any time.
    assert!(
        took >= Duration::from_secs(2) && took < Duration::from_secs(120),
        "{took:?}"
    );
    assert_ne!(reader.worker_pid(), Some(stopped));
}

#[test]
fn without_a_worker_the_daemon_reads_the_file_itself_and_says_so() {
    let file = photo(&jpeg());
    for (program, state) in [
        (None, WorkerState::Missing),
        (
            Some(PathBuf::from("/nonexistent/worker")),
            WorkerState::Missing,
        ),
    ] {
        let reader = Reader::new(program, TimeZone::UTC);
        let metadata = read(&reader, &file);
        assert_read(&metadata);
        assert!(!metadata.warnings.is_empty());
        assert_eq!(reader.worker_state(), state);
    }
}

#[test]
fn a_worker_that_dies_on_every_file_is_left_alone_after_a_while() {
    // Ends at once: what a worker with a missing library does.
    let reader = Reader::new(Some(PathBuf::from("/bin/true")), TimeZone::UTC);
    let file = photo(&jpeg());
    for _ in 0..6 {
        let metadata = read(&reader, &file);
        assert_read(&metadata);
        assert!(!metadata.warnings.is_empty());
    }
    assert!(
        matches!(reader.worker_state(), WorkerState::Broken(_)),
        "{:?}",
        reader.worker_state()
    );
}

#[test]
fn an_idle_worker_is_ended_and_a_busy_one_is_not() {
    let reader = Reader::new(Some(worker()), TimeZone::UTC);
    let file = photo(&jpeg());
    assert_read(&read(&reader, &file));
    reader.rest(Duration::from_secs(60));
    assert_eq!(reader.worker_state(), WorkerState::Running);
    reader.rest(Duration::ZERO);
    assert_eq!(reader.worker_state(), WorkerState::Idle);
    assert_read(&read(&reader, &file));
}

#[test]
fn reading_leaves_the_descriptors_position_alone() {
    let reader = Reader::new(Some(worker()), TimeZone::UTC);
    let mut file = photo(&jpeg());
    file.seek(SeekFrom::Start(17)).unwrap();
    assert_read(&read(&reader, &file));
    assert_eq!(file.stream_position().unwrap(), 17);
}

#[test]
fn a_file_cut_anywhere_is_told_and_never_gets_a_made_up_date() {
    let reader = Reader::new(Some(worker()), TimeZone::UTC);
    let whole = jpeg();
    for end in (3..whole.len() - 2).step_by(7) {
        let metadata = read(&reader, &photo(&whole[..end]));
        assert!(!metadata.errors.is_empty(), "cut at {end}");
        for date in &metadata.dates {
            let text = date.local_text();
            assert!(DATE.starts_with(&text), "cut at {end}: {text}");
        }
    }
}

#[test]
fn several_threads_share_one_worker() {
    let reader = Reader::new(Some(worker()), TimeZone::UTC);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let file = photo(&jpeg());
                (0..100).for_each(|_| assert_read(&read(&reader, &file)));
            });
        }
    });
}

/// `cargo test --release --test metadata_worker -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn the_round_trip_of_a_small_photo_is_measured() {
    const FILES: u32 = 10_000;
    let reader = Reader::new(Some(worker()), TimeZone::UTC);
    let file = photo(&jpeg());
    assert_read(&read(&reader, &file));
    let begun = Instant::now();
    let mut peak = 0;
    for index in 0..FILES {
        read(&reader, &file);
        if index % 499 == 498 {
            peak = peak.max(peak_memory(&reader));
        }
    }
    println!(
        "{:?} a file, worker's peak {peak} KiB",
        begun.elapsed() / FILES
    );
}

fn peak_memory(reader: &Reader) -> u64 {
    let pid = reader.worker_pid().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
