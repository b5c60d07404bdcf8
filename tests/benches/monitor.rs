//! What the monitor costs: the history of 60 days, in bytes and in time; and what the appliance does while there is nothing to do.
//!
//! `cargo bench --bench monitor` runs both; words choose: `cargo bench --bench monitor -- history idle`.
//! `PHOTO_FACTORY_IDLE` says for how many seconds the idle appliance is watched: 120 if not set, 3600 for figures of a whole hour.
//! It prints figures beside their aims; it judges only that few rows are read.
#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on stops")]
#![expect(
    clippy::disallowed_methods,
    reason = "what is measured is made and removed here"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use photo_factory::monitor::{Monitor, Report, Service, Settings, Status, Watched};
use rustix::process::{Pid, Signal, kill_process};

const DAYS: i64 = 60;
const DAY: i64 = 86_400;

/// How often what was gathered is committed, in seconds: what the settings say where nothing is set.
const COMMIT_EVERY: i64 = 300;

/// Rows that a page of 60 days may read.
const MOST_ROWS: usize = 2000;

/// What belongs to the start of the appliance, and to no rate.
const START: Duration = Duration::from_secs(30);

/// The kernel counts CPU time in these for programs, whatever it counts in itself.
const TICKS_A_SECOND: u64 = 100;

fn main() {
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    let chosen = |name: &str| words.is_empty() || words.iter().any(|word| word == name);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("bench-monitor-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    if chosen("history") {
        let data = folder.join("history");
        fs::create_dir(&data).unwrap();
        history(&data);
    }
    if chosen("idle") {
        idle(&folder.join("idle"));
    }
    fs::remove_dir_all(&folder).unwrap();
}

/// The services of the history.
fn roster() -> Vec<Watched> {
    let others = [
        Service::DASHBOARD,
        Service::SERVICE_MONITOR,
        Service::FACTORY_DB,
        Service::SYNCTHING,
        Service::named("router"),
        Service::named("smbd.service"),
        Service::named("pihole"),
    ];
    let watched = |service, seconds| Watched {
        service,
        interval: Duration::from_secs(seconds),
    };
    let mut roster = vec![watched(Service::LIBRARIAN, 60)];
    roster.extend(others.map(|service| watched(service, 300)));
    roster
}

/// The days run by in seconds, so the monitor's own clock says nothing of when a commit is due: never, or at each beat.
fn open(data: &Path, commit_every: Duration, now: Timestamp) -> Monitor {
    let settings = Settings {
        roster: roster(),
        commit_every,
        keep_beats: Duration::from_secs(DAYS.unsigned_abs() * DAY.unsigned_abs()),
        zone: TimeZone::UTC,
    };
    let monitor = Monitor::open(data, settings, now, || Some(true));
    assert_eq!(monitor.notice(), None);
    monitor
}

/// (a) 60 days of eight services: made, read, and made shorter.
fn history(data: &Path) {
    println!(
        "(a) a history of {DAYS} days of {} services",
        roster().len()
    );
    let begin: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let end = after(begin, DAYS * DAY);
    let monitor = open(data, Duration::MAX, begin);
    let mut commits = Vec::new();
    let mut beats = 0;
    let started = Instant::now();
    for second in (0..DAYS * DAY).step_by(60) {
        beats += beat_all(&monitor, begin, second);
        if (second + 60) % COMMIT_EVERY == 0 {
            let now = after(begin, second + 59);
            commits.push(timed(|| monitor.flush(now)));
        }
    }
    assert_eq!(monitor.notice(), None);
    let stored: usize = roster()
        .iter()
        .map(|watched| monitor.beats(&watched.service, begin, end).len())
        .sum();
    assert_eq!(stored, beats, "every beat is kept");
    println!(
        "{beats} beats, made in {:.0} s",
        started.elapsed().as_secs_f64()
    );
    print_times("commits of five minutes each", commits);
    println!(
        "while open: {}; {} commits in all",
        size(data, beats),
        monitor.seen(end).history_commits
    );
    drop(monitor);
    println!("closed:     {}", size(data, beats));
    println!("of these:   {}", filling(data));

    let last = after(end, -1);
    let started = Instant::now();
    let monitor = open(data, Duration::ZERO, last);
    println!("opened in {:.1} ms", millis(started.elapsed()));
    let (first_day, last_day) = (day_of(begin), day_of(last));
    let first = timed(|| days(&monitor, first_day, last_day));
    let rows = monitor.days(first_day, last_day).len();
    assert!(rows > 0 && rows <= MOST_ROWS, "{rows} rows");
    let again = (0..100).map(|_| timed(|| days(&monitor, first_day, last_day)));
    println!(
        "the days of {DAYS} days: {rows} rows (aim: at most {MOST_ROWS}), {:.2} ms at first (aim: 10 ms)",
        millis(first)
    );
    print_times("  again and again", again.collect());
    let yesterday = after(end, -DAY);
    for watched in roster().iter().take(2) {
        let service = &watched.service;
        let mut count = 0;
        let times = (0..20).map(|_| timed(|| count = monitor.beats(service, yesterday, end).len()));
        let times = times.collect();
        print_times(
            &format!("{count} beats of a day of {}", service.as_str()),
            times,
        );
    }
    prune(&monitor, begin, beats, data);
}

/// A day passes at once: the commits that each drop a step of the oldest day's beats. What a beat waits for is its commit.
fn prune(monitor: &Monitor, begin: Timestamp, beats: usize, data: &Path) {
    let old = |monitor: &Monitor| -> usize {
        let of = |watched: &Watched| monitor.beats(&watched.service, begin, after(begin, DAY));
        roster().iter().map(|watched| of(watched).len()).sum()
    };
    let dropped = old(monitor);
    let mut times = Vec::new();
    while old(monitor) > 0 {
        let now = after(begin, (DAYS + 1) * DAY + seconds(times.len()));
        let report = report_of(0, 0);
        times.push(timed(|| monitor.beat(&Service::LIBRARIAN, report, now)));
        assert!(
            times.len() < dropped,
            "it drops nothing: {:?}",
            monitor.notice()
        );
    }
    let commits = times.len();
    print_times(
        &format!("{dropped} beats of a day dropped by {commits} commits (aim: 20 ms at most)"),
        times,
    );
    println!("afterwards: {}", size(data, beats - dropped + commits));
}

/// What the services say in the minute that begins so long after the start; says how many did. Each at a moment of its own.
fn beat_all(monitor: &Monitor, begin: Timestamp, second: i64) -> usize {
    let mut beats = 0;
    for (number, watched) in roster().iter().enumerate() {
        let interval = i64::try_from(watched.interval.as_secs()).unwrap();
        if second % interval == 0 {
            let now = after(begin, second + seconds(number));
            monitor.beat(&watched.service, report_of(number, second), now);
            beats += 1;
        }
    }
    beats
}

/// Syncthing and what the owner named are down for half an hour now and then; all else is well.
fn report_of(number: usize, second: i64) -> Report {
    let half_hour = second / 1800;
    let is_down = number >= 4 && half_hour % 211 == seconds(number) * 13;
    let status = if is_down {
        Status::Down("it does not answer: connection refused".to_owned())
    } else {
        Status::Up
    };
    let task = match number {
        0 => "watching the inbox",
        1 => "answering",
        3 => "probe of 1.5 MB; nothing written since the start",
        _ => "",
    };
    let took = Duration::from_millis(2 + second.unsigned_abs() / 60 % 40);
    let report = Report::from(status).answered_in(took);
    if task.is_empty() {
        report
    } else {
        report.doing(task)
    }
}

fn days(monitor: &Monitor, from: Date, to: Date) {
    drop(monitor.days(from, to));
}

fn after(at: Timestamp, seconds: i64) -> Timestamp {
    at + SignedDuration::from_secs(seconds)
}

fn seconds(count: usize) -> i64 {
    i64::try_from(count).unwrap()
}

fn day_of(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

fn size(data: &Path, beats: usize) -> String {
    let bytes = fs::metadata(data.join("history.redb")).unwrap().len();
    let each = as_f64(bytes) / as_f64(beats as u64);
    format!("{bytes} bytes, {each:.0} a beat")
}

/// What the file is filled with. How many free pages it has besides differs from run to run, and its size with them.
fn filling(data: &Path) -> String {
    let database = redb::Database::open(data.join("history.redb")).unwrap();
    let transaction = database.begin_write().unwrap();
    let stats = transaction.stats().unwrap();
    transaction.abort().unwrap();
    let pages = stats.allocated_pages() * stats.page_size() as u64;
    format!(
        "{} bytes of rows, in {pages} bytes of pages that are in use",
        stats.stored_bytes()
    )
}

fn timed(work: impl FnOnce()) -> Duration {
    let started = Instant::now();
    work();
    started.elapsed()
}

fn print_times(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let middle = times[times.len() / 2];
    let longest = times[times.len() - 1];
    println!(
        "{what}: middle {:.2} ms, longest {:.2} ms",
        millis(middle),
        millis(longest)
    );
}

/// (b) The appliance with nothing in its inbox and all settings left as they are.
fn idle(root: &Path) {
    let watched = std::env::var("PHOTO_FACTORY_IDLE").map_or(120, |text| {
        text.parse()
            .expect("PHOTO_FACTORY_IDLE is a number of seconds")
    });
    println!(
        "\n(b) the idle appliance for {watched} s, the first {} s left out",
        START.as_secs()
    );
    fs::create_dir_all(root.join("Photos_Inbox")).unwrap();
    let appliance = Appliance::start(root);
    std::thread::sleep(START);
    let commits = appliance.commits();
    let before = appliance.use_of();
    let mut switches = Switches::default();
    let began = Instant::now();
    let whole = Duration::from_secs(watched);
    while began.elapsed() < whole {
        switches.look(appliance.pid());
        std::thread::sleep(Duration::from_secs(1).min(whole.saturating_sub(began.elapsed())));
    }
    switches.look(appliance.pid());
    let took = began.elapsed().as_secs_f64();
    let after = appliance.use_of();
    let commits = appliance.commits() - commits;
    let ticks = after.ticks - before.ticks;
    let kib = as_f64(after.written - before.written) / 1024.0;
    println!(
        "written: {kib:.0} KiB, {:.0} KiB an hour (aim: less than 1024); {commits} commits of the history",
        kib * 3600.0 / took
    );
    println!(
        "CPU time: {} ms, {:.3} % of one core (aim: less than 0.2)",
        ticks * 1000 / TICKS_A_SECOND,
        as_f64(ticks) / as_f64(TICKS_A_SECOND) / took * 100.0
    );
    println!(
        "threads woken: {:.2} times a second (aim: at most 10)",
        as_f64(switches.count()) / took
    );
    println!(
        "resident: {:.2} MiB (aim: less than 8), {:.2} at most",
        as_f64(appliance.memory("VmRSS:")) / 1024.0,
        as_f64(appliance.memory("VmHWM:")) / 1024.0
    );
    if watched < 3600 {
        println!(
            "The history is committed every {COMMIT_EVERY} s: PHOTO_FACTORY_IDLE=3600 gives bytes of a whole hour."
        );
    }
    appliance.stop();
}

/// The program, run; ended when dropped.
struct Appliance {
    child: Child,
    address: String,
}

/// What a process and its ended children have used since its start.
struct Use {
    /// Bytes that it caused to be written to the disk.
    written: u64,
    /// CPU time.
    ticks: u64,
}

impl Appliance {
    fn start(root: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_photo-factory"))
            .arg("--root")
            .arg(root)
            .args(["run", "--listen", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("http://")));
        let line = line.expect("it did not start").unwrap();
        let address = line.split("http://").nth(1).unwrap();
        let address = address.split(['/', ' ']).next().unwrap().to_owned();
        Self { child, address }
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    fn proc(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}", self.pid()))
    }

    /// Commits of the history since its start, as its page tells.
    fn commits(&self) -> u64 {
        let mut page = TcpStream::connect(&self.address).unwrap();
        let host = &self.address;
        write!(page, "GET /api/v1/status HTTP/1.0\r\nHost: {host}\r\n\r\n").unwrap();
        let mut answer = String::new();
        page.read_to_string(&mut answer).unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let status: serde_json::Value = serde_json::from_str(body).unwrap();
        status["history"]["commits_since_start"].as_u64().unwrap()
    }

    fn use_of(&self) -> Use {
        let stat = fs::read_to_string(self.proc().join("stat")).unwrap();
        // After the name, which may hold anything: utime, stime, cutime and cstime are the fields 14 to 17 of proc(5).
        let (_, rest) = stat.rsplit_once(')').unwrap();
        let fields = rest.split_whitespace().skip(11).take(4);
        Use {
            written: number_in(&self.proc().join("io"), "write_bytes:").unwrap(),
            ticks: fields.map(|field| field.parse::<u64>().unwrap()).sum(),
        }
    }

    /// A line of its `status`, in KiB.
    fn memory(&self, name: &str) -> u64 {
        number_in(&self.proc().join("status"), name).unwrap()
    }

    fn stop(mut self) {
        let pid = Pid::from_raw(self.pid().cast_signed()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Appliance {
    fn drop(&mut self) {
        // After a clean stop there is nothing left to end.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Voluntary context switches: a thread that was woken goes back to sleep by one, so there were at most as many wake-ups.
/// Counted every second, since a thread's count is gone when the thread ends.
#[derive(Default)]
struct Switches {
    /// Per thread: the count when it was first seen, and now.
    threads: BTreeMap<PathBuf, (u64, u64)>,
    has_looked: bool,
}

impl Switches {
    fn look(&mut self, pid: u32) {
        for task in fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten() {
            let task = task.path();
            // It may have ended by now.
            let Some(now) = number_in(&task.join("status"), "voluntary_ctxt_switches:") else {
                continue;
            };
            // What began meanwhile began at zero.
            let first = if self.has_looked { 0 } else { now };
            self.threads.entry(task).or_insert((first, now)).1 = now;
        }
        self.has_looked = true;
    }

    fn count(&self) -> u64 {
        let threads = self.threads.values();
        threads.map(|(first, now)| now.saturating_sub(*first)).sum()
    }
}

fn number_in(file: &Path, name: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

fn millis(took: Duration) -> f64 {
    took.as_secs_f64() * 1e3
}

#[expect(clippy::cast_precision_loss, reason = "counts here are far below 2^52")]
fn as_f64(count: u64) -> f64 {
    count as f64
}
