//! What the ledger costs: bytes for each file, writes for each commit, time to open and to look up; and how long the
//! program takes to start with it on a board with little memory, after a kill.
//!
//! `cargo bench --bench ledger -- [ROWS] [FOLDER]`: 100,000 rows in a temporary folder if not said otherwise.
#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on stops")]
#![expect(
    clippy::disallowed_methods,
    reason = "the ledger measured is made and removed here"
)]

mod rows;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use jiff::civil::date;
use photo_factory::asset::AssetId;
use photo_factory::ledger::Ledger;
use rows::{file_batch, hash};

const BATCH: u64 = 256;

fn main() {
    let mut words = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'));
    let rows: u64 = words.next().map_or(100_000, |word| word.parse().unwrap());
    let folder = words.next().map_or_else(
        || std::env::temp_dir().join(format!("bench-ledger-{}", std::process::id())),
        PathBuf::from,
    );
    std::fs::create_dir_all(&folder).unwrap();
    let ledger = Ledger::open(&folder).unwrap();

    let started = Instant::now();
    let mut number = 0;
    while number < rows {
        file_batch(&ledger, number, BATCH.min(rows - number));
        number += BATCH;
    }
    let took = started.elapsed();
    println!(
        "{rows} rows in commits of {BATCH}: {:.1} s, {:.0} a second",
        took.as_secs_f64(),
        per(rows, took.as_secs_f64())
    );

    let before = written();
    let started = Instant::now();
    file_batch(&ledger, number, BATCH);
    println!(
        "{BATCH} intents and {BATCH} finishes, two commits: {} KB written, {:.1} ms",
        (written() - before) / 1024,
        millis(started.elapsed())
    );
    number += BATCH;
    let before = written();
    let started = Instant::now();
    file_batch(&ledger, number, 1);
    println!(
        "one intent and one finish, two commits: {} KB written, {:.1} ms",
        (written() - before) / 1024,
        millis(started.elapsed())
    );

    let file = ledger.path().to_owned();
    let open_length = std::fs::metadata(&file).unwrap().len();
    let copy = folder.join("killed");
    std::fs::create_dir_all(&copy).unwrap();
    let copy_file = copy.join("ledger.redb");
    std::fs::copy(&file, &copy_file).unwrap();
    // What is timed is the opening, not the writing of the copy.
    std::fs::File::open(copy_file).unwrap().sync_all().unwrap();
    drop(ledger);
    let length = std::fs::metadata(&file).unwrap().len();
    println!(
        "file: {} MB closed ({:.0} bytes a row), {} MB while open",
        length >> 20,
        per(length, as_f64(number)),
        open_length >> 20
    );

    let started = Instant::now();
    drop(Ledger::open(&copy).unwrap());
    println!("open after a kill: {:.1} ms", millis(started.elapsed()));
    let started = Instant::now();
    let ledger = Ledger::open(&folder).unwrap();
    println!(
        "open after a clean stop: {:.1} ms",
        millis(started.elapsed())
    );

    time("by hash", rows, |n| {
        assert!(ledger.by_hash(&hash(n)).unwrap().is_some());
    });
    time("by id", rows, |n| {
        assert!(ledger.asset(AssetId(n + 1)).unwrap().is_some());
    });
    time("a hash not there", rows, |n| {
        assert!(ledger.by_hash(&hash(n + (1 << 40))).unwrap().is_none());
    });
    time("newest 50", rows, |_| {
        assert_eq!(ledger.newest(50).unwrap().len(), 50);
    });
    time("totals", rows, |_| {
        assert!(ledger.totals().unwrap().assets >= rows);
    });
    let month = (date(2024, 1, 1), date(2024, 1, 31));
    time("photos on each day of a month", rows, |_| {
        drop(ledger.captured_per_day(month.0, month.1).unwrap());
    });
    println!("peak RSS: {} MB", peak_rss() >> 10);
    drop(ledger);
    start_on_a_small_board(&folder, &copy);
    std::fs::remove_dir_all(&folder).unwrap();
}

/// The program itself, killed and started again where it may have no more than 200 MiB: how long until its page answers.
fn start_on_a_small_board(folder: &Path, data: &Path) {
    let root = folder.join("root");
    std::fs::create_dir_all(&root).unwrap();
    std::fs::rename(data, root.join("Data")).unwrap();
    let group = memory_group();
    let limit = if group.is_some() {
        "a memory cgroup of 200 MiB"
    } else {
        "200 MiB of address space for its data (no memory cgroup can be made here)"
    };
    for when in ["after a kill", "after a second kill"] {
        let enter = match &group {
            Some(group) => format!("echo $$ > {}/cgroup.procs", group.display()),
            None => "ulimit -d 204800".to_owned(),
        };
        let script = format!("{enter} && exec \"$0\" --root \"$1\" run --listen 127.0.0.1:0");
        let started = Instant::now();
        let mut child = Command::new("sh")
            .args(["-c", &script, env!("CARGO_BIN_EXE_photo-factory")])
            .arg(&root)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("http://")));
        let line = line.expect("it did not start").unwrap();
        let address = line.split("http://").nth(1).unwrap();
        let address = address.split(['/', ' ']).next().unwrap();
        let mut page = TcpStream::connect(address).unwrap();
        write!(
            page,
            "GET /api/v1/status HTTP/1.0\r\nHost: {address}\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        page.read_to_string(&mut answer).unwrap();
        let took = started.elapsed();
        assert!(answer.contains("\"photos\""), "{answer}");
        let rss = number_in(&format!("/proc/{}/status", child.id()), "VmHWM:");
        println!(
            "`run` {when}, with {limit}: the page answers after {:.0} ms, peak RSS {:.1} MiB",
            millis(took),
            as_f64(rss) / 1024.0
        );
        child.kill().unwrap();
        child.wait().unwrap();
    }
    if let Some(group) = group {
        std::fs::remove_dir(group).unwrap();
    }
}

/// A cgroup of our own with 200 MiB of memory, where one can be made.
fn memory_group() -> Option<PathBuf> {
    let name = format!("photo-factory-bench-{}", std::process::id());
    for (parent, limit) in [
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        ("/sys/fs/cgroup", "memory.max"),
    ] {
        let group = Path::new(parent).join(&name);
        let is_cgroup = Path::new(parent).join("cgroup.procs").exists();
        if is_cgroup && std::fs::create_dir(&group).is_ok() {
            if std::fs::write(group.join(limit), (200 << 20).to_string()).is_ok() {
                return Some(group);
            }
            std::fs::remove_dir(&group).unwrap();
        }
    }
    None
}

fn time(what: &str, rows: u64, mut work: impl FnMut(u64)) {
    let mut times: Vec<Duration> = (0..2000)
        .map(|turn| {
            let number = turn * 7919 % rows;
            let started = Instant::now();
            work(number);
            started.elapsed()
        })
        .collect();
    times.sort_unstable();
    println!(
        "{what}: p50 {:.1} µs, p99 {:.1} µs",
        times[1000].as_secs_f64() * 1e6,
        times[1980].as_secs_f64() * 1e6
    );
}

fn written() -> u64 {
    number_in("/proc/self/io", "wchar:")
}

fn peak_rss() -> u64 {
    number_in("/proc/self/status", "VmHWM:")
}

fn number_in(file: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(file).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

fn millis(took: Duration) -> f64 {
    took.as_secs_f64() * 1e3
}

fn per(count: u64, of: f64) -> f64 {
    as_f64(count) / of
}

#[expect(clippy::cast_precision_loss, reason = "counts here are far below 2^52")]
fn as_f64(count: u64) -> f64 {
    count as f64
}
