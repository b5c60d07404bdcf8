//! The monitor, on real temporary folders.
#![expect(
    clippy::disallowed_methods,
    reason = "a test makes its folders, damages its files, and takes them away"
)]

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A data folder that is gone when the test is.
struct Data(PathBuf);

impl Data {
    fn new() -> Self {
        let count = COUNT.fetch_add(1, Ordering::SeqCst);
        let name = format!("pf-monitor-{}-{count}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(&self.0)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_760_000_000 + seconds).unwrap()
}

const DAY: i64 = 86_400;

/// What a time service says of the clock.
const SYNCHRONIZED: IsSynchronized = || Some(true);
const UNSYNCHRONIZED: IsSynchronized = || Some(false);
const UNKNOWN: IsSynchronized = || None;

fn up(monitor: &Monitor, seconds: i64) {
    monitor.beat(Service::Librarian, Status::Up, None, Some(3), at(seconds));
}

#[test]
fn a_row_and_its_beats_are_there_after_a_restart() {
    let data = Data::new();
    let monitor = Monitor::open(&data.0, at(0), UNKNOWN);
    let task = "filing IMG_0001.jpg".to_owned();
    monitor.beat(
        Service::Librarian,
        Status::Up,
        Some(task.clone()),
        Some(3),
        at(0),
    );
    let reason = "the disk is slow".to_owned();
    let degraded = Status::Degraded(reason);
    monitor.beat(Service::Librarian, degraded.clone(), None, None, at(60));
    monitor.flush(at(61));
    drop(monitor);

    let rows = rows_on_disk(&data.0);
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].status, Some(degraded.clone()));

    let monitor = Monitor::open(&data.0, at(120), UNKNOWN);
    let row = monitor.current().remove(0);
    assert_eq!(row.status, Some(degraded.clone()));
    assert_eq!(row.last_heartbeat, Some(at(60)));
    assert_eq!(row.silent_for, None, "it said nothing in this run");
    assert!(
        !row.is_overdue(),
        "a restart is a gap, not a service that is down"
    );
    let beats = monitor.beats(Service::Librarian, at(0), at(61));
    assert_eq!(beats.len(), 2);
    assert_eq!(beats[0].task, task);
    assert_eq!(beats[1].status, degraded);
    assert!(beats.iter().all(|beat| !beat.clock_doubtful));
    assert_eq!(monitor.notice(), None);
}

#[test]
fn beats_that_wait_in_memory_are_seen_with_those_in_the_file_and_a_change_is_written_at_once() {
    let data = Data::new();
    let monitor = Monitor::open(&data.0, at(0), UNKNOWN);
    for minute in 0..3 {
        up(&monitor, minute * 60);
    }
    assert_eq!(
        monitor.beats(Service::Librarian, at(0), at(DAY)).len(),
        3,
        "one in the file, two waiting"
    );
    assert_eq!(monitor.memory().waiting.len(), 2);
    monitor.beat(
        Service::Librarian,
        Status::Down("gone".to_owned()),
        None,
        None,
        at(180),
    );
    assert_eq!(
        monitor.memory().waiting.len(),
        0,
        "a change of status does not wait"
    );
    assert!(monitor.beats(Service::Dashboard, at(0), at(DAY)).is_empty());
    assert!(monitor.beats(Service::Librarian, at(DAY), at(0)).is_empty());
}

#[test]
fn a_service_that_falls_silent_is_overdue_and_one_that_was_stopped_is_not() {
    let mut row = ServiceRow::unheard(Service::Librarian);
    assert!(!row.is_overdue());
    row.status = Some(Status::Up);
    row.silent_for = Some(Duration::from_secs(149));
    assert!(!row.is_overdue());
    row.silent_for = Some(Duration::from_secs(151));
    assert!(row.is_overdue());
    row.status = Some(Status::Stopped);
    assert!(!row.is_overdue());
}

#[test]
fn a_damaged_history_is_moved_aside_and_started_anew_and_the_page_is_told() {
    let garbage = [
        Vec::new(),
        b"no history at all".to_vec(),
        vec![0xA5; 70_000],
    ];
    for content in garbage {
        let data = Data::new();
        std::fs::write(data.0.join("history.redb"), &content).unwrap();
        let monitor = Monitor::open(&data.0, at(0), UNKNOWN);
        let notice = monitor.notice().unwrap();
        assert!(notice.contains("history.redb.damaged-1"), "{notice}");
        up(&monitor, 0);
        drop(monitor);
        assert_eq!(data.names(), ["history.redb", "history.redb.damaged-1"]);
        let kept = std::fs::read(data.0.join("history.redb.damaged-1")).unwrap();
        assert_eq!(kept, content, "what was damaged is kept as it was");
        let monitor = Monitor::open(&data.0, at(60), UNKNOWN);
        assert_eq!(monitor.notice(), None);
        assert_eq!(monitor.beats(Service::Librarian, at(0), at(1)).len(), 1);
    }
}

#[test]
fn a_history_with_flipped_or_missing_bytes_never_stops_the_monitor() {
    let data = Data::new();
    let path = data.0.join("history.redb");
    let monitor = Monitor::open(&data.0, at(0), UNKNOWN);
    for minute in 0..500 {
        up(&monitor, minute * 60);
    }
    monitor.flush(at(30_000));
    drop(monitor);
    let sound = std::fs::read(&path).unwrap();
    let mut moved_aside = 0;
    for step in 0..40 {
        let mut damaged = sound.clone();
        let place = step * damaged.len() / 40;
        if step % 4 == 0 {
            damaged.truncate(place);
        } else {
            let end = (place + 64).min(damaged.len());
            damaged[place..end]
                .iter_mut()
                .for_each(|byte| *byte ^= 0xFF);
        }
        std::fs::write(&path, damaged).unwrap();
        let monitor = Monitor::open(&data.0, at(40_000), UNKNOWN);
        up(&monitor, 40_000);
        monitor.flush(at(40_001));
        assert_eq!(monitor.current()[0].last_heartbeat, Some(at(40_000)));
        let last = monitor.beats(Service::Librarian, at(40_000), at(40_001));
        assert_eq!(last.len(), 1, "step {step}: {:?}", monitor.notice());
        moved_aside += u32::from(monitor.notice().is_some());
    }
    assert!(moved_aside > 10, "the damage was felt: {moved_aside}");
    assert!(data.names().len() <= 6, "{:?}", data.names());
}

#[test]
fn a_history_that_cannot_be_written_goes_on_in_memory_and_catches_up() {
    let data = Data::new();
    let folder = data.0.join("later");
    let monitor = Monitor::open(&folder, at(0), UNKNOWN);
    up(&monitor, 0);
    up(&monitor, 60);
    assert!(monitor.notice().unwrap().contains("cannot be written"));
    assert_eq!(monitor.current()[0].last_heartbeat, Some(at(60)));
    assert_eq!(monitor.beats(Service::Librarian, at(0), at(61)).len(), 2);
    std::fs::create_dir(&folder).unwrap();
    monitor.flush(at(120));
    assert_eq!(monitor.notice(), None);
    drop(monitor);
    let monitor = Monitor::open(&folder, at(180), UNKNOWN);
    assert_eq!(monitor.beats(Service::Librarian, at(0), at(61)).len(), 2);
}

#[test]
fn a_second_process_neither_takes_the_history_nor_moves_it_aside() {
    let data = Data::new();
    let first = Monitor::open(&data.0, at(0), UNKNOWN);
    let second = Monitor::open(&data.0, at(0), UNKNOWN);
    up(&second, 0);
    assert!(second.notice().is_some());
    assert_eq!(first.notice(), None);
    assert_eq!(data.names(), ["history.redb"]);
}

/// A history with a beat at every noon of 99 days, and its last trusted commit at the end of the first 59.
fn hundred_days(data: &Data) {
    let monitor = Monitor::open(&data.0, at(0), SYNCHRONIZED);
    {
        let mut memory = monitor.memory();
        memory.waiting.extend((0..99).map(|day| Beat {
            service: Service::Librarian,
            at: at(day * DAY + DAY / 2),
            status: Status::Up,
            task: String::new(),
            clock_doubtful: false,
        }));
    }
    monitor.flush(at(59 * DAY));
}

fn kept(monitor: &Monitor) -> usize {
    monitor
        .beats(Service::Librarian, at(0), at(100 * DAY))
        .len()
}

#[test]
fn beats_older_than_sixty_days_are_pruned() {
    let data = Data::new();
    hundred_days(&data);
    let monitor = Monitor::open(&data.0, at(100 * DAY), SYNCHRONIZED);
    assert_eq!(kept(&monitor), 99);
    monitor.flush(at(100 * DAY));
    assert_eq!(kept(&monitor), 59, "the noons of day 40 to day 98");
}

#[test]
fn p10_a_clock_in_the_past_prunes_nothing_and_marks_its_beats() {
    let data = Data::new();
    hundred_days(&data);
    let past = -400 * DAY;
    let monitor = Monitor::open(&data.0, at(past), UNKNOWN);
    up(&monitor, past);
    monitor.flush(at(past));
    assert_eq!(kept(&monitor), 99);
    let beats = monitor.beats(Service::Librarian, at(past), at(past + 1));
    assert!(beats[0].clock_doubtful);
}

#[test]
fn p10_a_clock_that_starts_years_ahead_does_not_empty_the_history() {
    let data = Data::new();
    hundred_days(&data);
    let monitor = Monitor::open(&data.0, at(5_000 * DAY), UNKNOWN);
    monitor.flush(at(5_000 * DAY));
    assert_eq!(
        kept(&monitor),
        99,
        "none is older than 60 days at the last commit"
    );
    drop(monitor);
    // Again and again: what an earlier run with that clock wrote down makes it no truer.
    for start in 1..4 {
        let monitor = Monitor::open(&data.0, at((5_000 + start) * DAY), UNKNOWN);
        monitor.flush(at((5_000 + start) * DAY));
        assert_eq!(kept(&monitor), 99);
    }
    // In the past as well, and ahead again.
    for start in [-400, 5_100, -300, 5_200] {
        let monitor = Monitor::open(&data.0, at(start * DAY), UNSYNCHRONIZED);
        monitor.flush(at(start * DAY));
        assert_eq!(kept(&monitor), 99);
    }
}

#[test]
fn p10_beats_of_an_unsynchronized_clock_are_marked_and_those_of_a_synchronized_one_are_not() {
    for (asked, marked) in [
        (UNSYNCHRONIZED, true),
        (SYNCHRONIZED, false),
        (UNKNOWN, false),
    ] {
        let data = Data::new();
        let monitor = Monitor::open(&data.0, at(0), asked);
        up(&monitor, 1);
        let beats = monitor.beats(Service::Librarian, at(0), at(2));
        assert_eq!(beats[0].clock_doubtful, marked);
    }
}

#[test]
fn p10_a_time_service_that_vouches_for_the_date_ends_the_doubt_of_a_first_run_in_the_future() {
    let data = Data::new();
    let monitor = Monitor::open(&data.0, at(5_000 * DAY), UNKNOWN);
    up(&monitor, 5_000 * DAY);
    monitor.flush(at(5_000 * DAY));
    drop(monitor);
    let monitor = Monitor::open(&data.0, at(0), SYNCHRONIZED);
    up(&monitor, 0);
    let beats = monitor.beats(Service::Librarian, at(0), at(1));
    assert!(!beats[0].clock_doubtful);
}

#[test]
fn p10_a_clock_that_jumps_is_doubtful_once_and_takes_no_history_with_it() {
    let data = Data::new();
    hundred_days(&data);
    let monitor = Monitor::open(&data.0, at(100 * DAY), UNKNOWN);
    let after = 134 * DAY;
    monitor.beat(Service::Dashboard, Status::Up, None, None, at(after));
    monitor.beat(Service::Dashboard, Status::Up, None, None, at(after + 60));
    let beats = monitor.beats(Service::Dashboard, at(after), at(after + 61));
    let doubtful: Vec<bool> = beats.iter().map(|beat| beat.clock_doubtful).collect();
    assert_eq!(doubtful, [true, false]);
    let row = &monitor.current()[Service::Dashboard as usize];
    assert!(!row.is_overdue(), "silence is measured on the other clock");
    assert_eq!(
        kept(&monitor),
        99,
        "none is older than 60 days at the last commit"
    );
}

#[test]
fn a_reason_of_any_length_is_cut_between_characters() {
    let data = Data::new();
    let monitor = Monitor::open(&data.0, at(0), UNKNOWN);
    for length in 0..200 {
        let reason = format!("{}é🙂", "x".repeat(length));
        let down = Status::Down(reason.clone());
        monitor.beat(
            Service::FactoryDb,
            down,
            Some(reason),
            None,
            at(i64::try_from(length).unwrap()),
        );
    }
    monitor.flush(at(300));
    let beats = monitor.beats(Service::FactoryDb, at(0), at(300));
    assert_eq!(beats.len(), 200);
    assert!(beats.iter().all(|beat| beat.task.len() <= TEXT_LIMIT));
    assert_eq!(beats[150].status.reason(), Some(beats[150].task.as_str()));
    assert!(beats[199].task.ends_with('…'));
}
