//! What a photo costs: time against public tools in the same run, memory, bytes written, syncs.
//!
//! `cargo bench` runs all; `PHOTO_FACTORY_BENCH_SCALE=0.1` makes a tenth of the files; words on the command line choose:
//! `cargo bench -- large small memory writes`. It prints figures and judges none.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::similar_names,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a bench makes its own files and prints what it found"
)]

#[path = "../fixtures/mod.rs"]
mod fixtures;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fixtures::exif::Exif;
use fixtures::jpeg::Load;
use rustix::process::{Pid, Signal, kill_process};

const PROGRAM: &str = env!("CARGO_BIN_EXE_photo-factory");

fn main() {
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    let chosen = |name: &str| words.is_empty() || words.iter().any(|word| word == name);
    let scale: f64 = std::env::var("PHOTO_FACTORY_BENCH_SCALE").map_or(1.0, |text| {
        text.parse().expect("PHOTO_FACTORY_BENCH_SCALE is a number")
    });
    let count = |full: f64| ((full * scale) as usize).max(10);
    let place = Place::new();
    println!("{} processors; in {}", processors(), place.0.display());
    if chosen("large") {
        large_files(&place, count(1000.0));
    }
    if chosen("small") {
        small_files(&place, count(10_000.0));
    }
    if chosen("memory") {
        memory(&place, count(2000.0));
    }
    if chosen("writes") {
        writes(&place, count(1000.0));
    }
}

/// A folder of our own on the disk that builds use; removed at the end.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        let path =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Makes a load once; gives its folder.
    fn load(&self, name: &str, count: usize, size: usize) -> PathBuf {
        let folder = self.0.join(name);
        let mut pictures = Load::new(size as u64);
        for number in 0..count {
            let day = number % 365;
            let taken = format!(
                "2021:{:02}:{:02} 12:{:02}:{:02}",
                day / 31 + 1,
                day % 28 + 1,
                number / 60 % 60,
                number % 60
            );
            let exif = Exif::taken(&taken)
                .camera("Bench", "B-1")
                .offset("+02:00")
                .at(48.8584, 2.2945);
            let path = folder.join(format!("{:02}/IMG_{number:05}.JPG", number / 500));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, pictures.next(&exif, size)).unwrap();
        }
        folder
    }

    /// An empty factory with a copy of the load in its inbox, all of it written out and old enough to be taken.
    fn factory(&self, name: &str, load: Option<&Path>) -> PathBuf {
        let root = self.0.join(name);
        remove(&root);
        fs::create_dir_all(&root).unwrap();
        fs::write(
            root.join("photo-factory.toml"),
            "[inbox]\nsettle_seconds = 0\n",
        )
        .unwrap();
        match load {
            Some(load) => copy(load, &root.join("Photos_Inbox")),
            None => fs::create_dir(root.join("Photos_Inbox")).unwrap(),
        }
        written_out();
        root
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

fn remove(path: &Path) {
    if path.exists() {
        fs::remove_dir_all(path).unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    run(Command::new("cp").arg("-a").arg(from).arg(to));
}

/// Nobody pays for another's unwritten pages.
fn written_out() {
    run(&mut Command::new("sync"));
}

fn run(command: &mut Command) -> Duration {
    let start = Instant::now();
    let output = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
        .wait_with_output()
        .unwrap();
    let took = start.elapsed();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    took
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files
}

fn has(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
        || Command::new(program).arg("version").output().is_ok()
}

fn ingest(root: &Path) -> Duration {
    run(Command::new(PROGRAM).arg("--root").arg(root).arg("ingest"))
}

/// The middle of what three rounds gave.
fn middle(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// (a) Large photos on one file system, against tools that do a part of the work. Three rounds in turn, the middle counts.
fn large_files(place: &Place, count: usize) {
    const SIZE: usize = 1_500_000;
    println!("\n(a) {count} files of 1.5 MB, one file system, middle of three rounds");
    let load = place.load("large", count, SIZE);
    let files = files_below(&load);
    let mut times: Vec<(&str, Vec<Duration>)> = Vec::new();
    let mut add = |name: &'static str, took: Duration| match times
        .iter_mut()
        .find(|(known, _)| *known == name)
    {
        Some((_, all)) => all.push(took),
        None => times.push((name, vec![took])),
    };
    for _ in 0..3 {
        let root = place.factory("large-factory", Some(&load));
        add("photo-factory ingest", ingest(&root));
        assert_eq!(files_below(&root.join("Storage/Originals")).len(), count);
        remove(&root);
        if has("openssl") {
            add(
                "openssl dgst -sha256",
                run(Command::new("openssl")
                    .args(["dgst", "-sha256"])
                    .args(&files)),
            );
        }
        let copied = place.0.join("large-copied");
        written_out();
        add(
            "cp -a",
            run(Command::new("cp").arg("-a").arg(&load).arg(&copied)),
        );
        remove(&copied);
    }
    if has("exiftool") {
        // Once: it takes minutes.
        let moved = place.0.join("large-moved");
        copy(&load, &moved);
        written_out();
        add(
            "exiftool, moving by date",
            run(Command::new("exiftool")
                .args(["-q", "-r", "-Directory<DateTimeOriginal", "-d"])
                .arg(place.0.join("large-sorted/%Y/%Y-%m-%d"))
                .arg(&moved)),
        );
        remove(&moved);
        remove(&place.0.join("large-sorted"));
    }
    let ours = middle(times[0].1.clone());
    for (name, all) in times {
        let took = middle(all);
        let rate = count as f64 / took.as_secs_f64();
        let megabytes = rate * SIZE as f64 / 1e6;
        let ratio = took.as_secs_f64() / ours.as_secs_f64();
        println!(
            "{name:<26} {:>8.2} s {rate:>8.0} files/s {megabytes:>7.0} MB/s   {ratio:>6.2} × ours",
            took.as_secs_f64()
        );
    }
    remove(&load);
}

/// (b) Many small photos, durable.
fn small_files(place: &Place, count: usize) {
    println!("\n(b) {count} files of 100 KB");
    let load = place.load("small", count, 100_000);
    let mut times = Vec::new();
    for _ in 0..3 {
        let root = place.factory("small-factory", Some(&load));
        times.push(ingest(&root));
        let again = place.0.join("small-again");
        if times.len() == 3 {
            remove(&root.join("Photos_Inbox"));
            copy(&load, &root.join("Photos_Inbox"));
            written_out();
            let took = ingest(&root);
            println!(
                "all once more, as duplicates {:>7.3} ms a file",
                took.as_secs_f64() * 1e3 / count as f64
            );
            let ledger = fs::metadata(root.join("Data/ledger.redb")).unwrap().len();
            println!(
                "ledger                       {:>7} bytes a file",
                ledger / count as u64
            );
        }
        remove(&again);
        remove(&root);
    }
    for took in times {
        println!(
            "ingest                       {:>7.3} ms a file ({:.2} s)",
            took.as_secs_f64() * 1e3 / count as f64,
            took.as_secs_f64()
        );
    }
    remove(&load);
}

/// What a process and its children occupy.
#[derive(Clone, Copy, Default)]
struct Memory {
    /// Resident now, KiB: anonymous, and file pages (programs and libraries, which processes may share).
    anonymous: u64,
    file: u64,
    /// The sum of each process's own peak, KiB.
    peaks: u64,
    processes: u64,
}

fn memory_of(pid: u32) -> Memory {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name: &str| -> u64 {
        status
            .lines()
            .find_map(|line| {
                line.strip_prefix(name)?
                    .split_whitespace()
                    .next()?
                    .parse()
                    .ok()
            })
            .unwrap_or(0)
    };
    let mut all = Memory {
        anonymous: field("RssAnon:"),
        file: field("RssFile:") + field("RssShmem:"),
        peaks: field("VmHWM:"),
        processes: 1,
    };
    for child in children_of(pid) {
        let child = memory_of(child);
        all.anonymous += child.anonymous;
        all.file += child.file;
        all.peaks += child.peaks;
        all.processes += child.processes;
    }
    all
}

fn children_of(pid: u32) -> Vec<u32> {
    let mut children = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten()
    {
        let list = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        children.extend(
            list.split_whitespace()
                .filter_map(|child| child.parse::<u32>().ok()),
        );
    }
    children
}

/// The appliance, started and answering.
fn appliance(root: &Path) -> Child {
    let mut child = Command::new(PROGRAM)
        .arg("--root")
        .arg(root)
        .args(["run", "--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    child
}

fn stop(mut child: Child) {
    kill_process(
        Pid::from_raw(child.id().cast_signed()).unwrap(),
        Signal::TERM,
    )
    .unwrap();
    child.wait().unwrap();
}

/// (c) Resident memory of the appliance: at work, all processes together, and at rest.
fn memory(place: &Place, count: usize) {
    println!("\n(c) memory of the appliance, {count} files of 100 KB and 50 of 5 MB");
    let load = place.load("memory", count, 100_000);
    let heavy = place.load("heavy", 50, 5_000_000);
    fs::rename(&heavy, load.join("heavy")).unwrap();
    let root = place.factory("memory-factory", Some(&load));
    let child = appliance(&root);
    let started = Instant::now();
    let mut most = Memory::default();
    let mut peaks = 0;
    while !files_below(&root.join("Photos_Inbox")).is_empty() {
        let until = Instant::now() + Duration::from_millis(250);
        while Instant::now() < until {
            let now = memory_of(child.id());
            peaks = peaks.max(now.peaks);
            if now.anonymous + now.file > most.anonymous + most.file {
                most = now;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(
            started.elapsed() < Duration::from_secs(600),
            "it does not come to an end"
        );
    }
    println!(
        "at work: {:>6} KiB at most ({} anonymous, {} file pages) in {} processes; sum of their own peaks {} KiB",
        most.anonymous + most.file,
        most.anonymous,
        most.file,
        most.processes,
        peaks
    );
    let waited = Instant::now();
    while !children_of(child.id()).is_empty() && waited.elapsed() < Duration::from_secs(180) {
        std::thread::sleep(Duration::from_millis(100));
    }
    let rest = memory_of(child.id());
    println!(
        "at rest: {:>6} KiB ({} anonymous, {} file pages) in {} processes, {:.0} s after the last photo",
        rest.anonymous + rest.file,
        rest.anonymous,
        rest.file,
        rest.processes,
        waited.elapsed().as_secs_f64()
    );
    stop(child);
    let child = appliance(&root);
    std::thread::sleep(Duration::from_secs(3));
    let fresh = memory_of(child.id());
    println!(
        "freshly started, nothing to do: {} KiB in {} processes",
        fresh.anonymous + fresh.file,
        fresh.processes
    );
    stop(child);
    remove(&root);
    remove(&load);
}

/// (d) What reaches the disk for each photo, and which system calls it takes.
fn writes(place: &Place, count: usize) {
    println!("\n(d) bytes written and system calls a photo, {count} files of 100 KB");
    let load = place.load("writes", count, 100_000);
    let root = place.factory("writes-factory", None);
    let child = appliance(&root);
    let before = io_of(child.id());
    // A rename brings them all at once, and writes nothing itself.
    copy(&load, &root.join("arriving"));
    written_out();
    fs::rename(root.join("arriving"), root.join("Photos_Inbox/arrived")).unwrap();
    let started = Instant::now();
    while !files_below(&root.join("Photos_Inbox")).is_empty()
        && started.elapsed() < Duration::from_secs(600)
    {
        std::thread::sleep(Duration::from_millis(50));
    }
    let after = io_of(child.id());
    stop(child);
    println!(
        "appliance: {} bytes read, {} written, {} caused to be written to the disk, a photo",
        (after.0 - before.0) / count as u64,
        (after.1 - before.1) / count as u64,
        (after.2 - before.2) / count as u64,
    );
    remove(&root);
    if !has("strace") {
        println!("skipped: the count of system calls needs strace");
        return;
    }
    let root = place.factory("writes-factory", Some(&load));
    let summary = root.join("strace.txt");
    run(Command::new("strace")
        .args(["-f", "-c", "-S", "calls", "-o"])
        .arg(&summary)
        .arg(PROGRAM)
        .arg("--root")
        .arg(&root)
        .arg("ingest"));
    println!("{:<14} {:>8} {:>9}", "call", "in all", "a photo");
    let table = fs::read_to_string(&summary).unwrap();
    for line in table.lines() {
        let cells: Vec<&str> = line.split_whitespace().collect();
        let (Some(name), Some(calls)) = (
            cells.last(),
            cells.get(3).and_then(|calls| calls.parse::<u64>().ok()),
        ) else {
            continue;
        };
        let is_sync = name.contains("sync");
        if is_sync || calls as f64 >= 0.1 * count as f64 {
            println!("{name:<14} {calls:>8} {:>9.2}", calls as f64 / count as f64);
        }
    }
    remove(&root);
    remove(&load);
}

/// `rchar`, `wchar` and `write_bytes` of a process.
fn io_of(pid: u32) -> (u64, u64, u64) {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
    let field = |name: &str| {
        io.lines()
            .find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
            .unwrap_or(0)
    };
    (field("rchar:"), field("wchar:"), field("write_bytes:"))
}
