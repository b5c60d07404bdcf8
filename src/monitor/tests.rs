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

/// A monitor of the librarian, the page and the ledger, in zone UTC.
fn open(data: &std::path::Path, now: Timestamp, is_synchronized: IsSynchronized) -> Monitor {
    Monitor::open(data, settings(), now, is_synchronized)
}

fn settings() -> Settings {
    let watched = |service, seconds| Watched {
        service,
        interval: Duration::from_secs(seconds),
    };
    Settings {
        roster: vec![
            watched(Service::LIBRARIAN, 60),
            watched(Service::DASHBOARD, 300),
            watched(Service::FACTORY_DB, 300),
        ],
        commit_every: Duration::from_secs(300),
        keep_beats: Duration::from_secs(60 * 86_400),
        zone: TimeZone::UTC,
    }
}

fn up(monitor: &Monitor, seconds: i64) {
    let report = Report::from(Status::Up).with_queue(3);
    monitor.beat(&Service::LIBRARIAN, report, at(seconds));
}

#[test]
fn a_row_and_its_beats_are_there_after_a_restart() {
    let data = Data::new();
    let monitor = open(&data.0, at(0), UNKNOWN);
    let task = "filing IMG_0001.jpg".to_owned();
    let report = Report::from(Status::Up).doing(&*task).with_queue(3);
    monitor.beat(&Service::LIBRARIAN, report, at(0));
    let reason = "the disk is slow".to_owned();
    let degraded = Status::Degraded(reason);
    monitor.beat(&Service::LIBRARIAN, degraded.clone().into(), at(60));
    monitor.flush(at(61));
    drop(monitor);

    let rows = rows_on_disk(&data.0, &settings().roster);
    assert_eq!(rows.len(), 3);
    assert_eq!(rows[0].status, Some(degraded.clone()));

    let monitor = open(&data.0, at(120), UNKNOWN);
    let row = monitor.current().remove(0);
    assert_eq!(row.status, Some(degraded.clone()));
    assert_eq!(row.last_heartbeat, Some(at(60)));
    assert_eq!(row.silent_for, None, "it said nothing in this run");
    assert!(
        !row.is_overdue(),
        "a restart is a gap, not a service that is down"
    );
    let beats = monitor.beats(&Service::LIBRARIAN, at(0), at(61));
    assert_eq!(beats.len(), 2);
    assert_eq!(beats[0].task, task);
    assert_eq!(beats[1].status, degraded);
    assert!(beats.iter().all(|beat| beat.clock == BeatClock::Trusted));
    assert_eq!(monitor.notice(), None);
}

#[test]
fn beats_that_wait_in_memory_are_seen_with_those_in_the_file_and_a_change_is_written_at_once() {
    let data = Data::new();
    let monitor = open(&data.0, at(0), UNKNOWN);
    for minute in 0..3 {
        up(&monitor, minute * 60);
    }
    assert_eq!(
        monitor.beats(&Service::LIBRARIAN, at(0), at(DAY)).len(),
        3,
        "one in the file, two waiting"
    );
    assert_eq!(monitor.memory().waiting.len(), 2);
    let down = Status::Down("gone".to_owned());
    monitor.beat(&Service::LIBRARIAN, down.into(), at(180));
    assert_eq!(
        monitor.memory().waiting.len(),
        0,
        "a change of status does not wait"
    );
    assert!(
        monitor
            .beats(&Service::DASHBOARD, at(0), at(DAY))
            .is_empty()
    );
    assert!(
        monitor
            .beats(&Service::LIBRARIAN, at(DAY), at(0))
            .is_empty()
    );
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
        let monitor = open(&data.0, at(0), UNKNOWN);
        let notice = monitor.notice().unwrap();
        assert!(notice.contains("history.redb.damaged-1"), "{notice}");
        up(&monitor, 0);
        drop(monitor);
        assert_eq!(data.names(), ["history.redb", "history.redb.damaged-1"]);
        let kept = std::fs::read(data.0.join("history.redb.damaged-1")).unwrap();
        assert_eq!(kept, content, "what was damaged is kept as it was");
        let monitor = open(&data.0, at(60), UNKNOWN);
        assert_eq!(monitor.notice(), None);
        assert_eq!(monitor.beats(&Service::LIBRARIAN, at(0), at(1)).len(), 1);
    }
}

#[test]
fn a_history_with_flipped_or_missing_bytes_never_stops_the_monitor() {
    let data = Data::new();
    let path = data.0.join("history.redb");
    let monitor = open(&data.0, at(0), UNKNOWN);
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
        let monitor = open(&data.0, at(40_000), UNKNOWN);
        up(&monitor, 40_000);
        monitor.flush(at(40_001));
        assert_eq!(monitor.current()[0].last_heartbeat, Some(at(40_000)));
        let last = monitor.beats(&Service::LIBRARIAN, at(40_000), at(40_001));
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
    let monitor = open(&folder, at(0), UNKNOWN);
    up(&monitor, 0);
    up(&monitor, 60);
    assert!(monitor.notice().unwrap().contains("cannot be written"));
    assert_eq!(monitor.current()[0].last_heartbeat, Some(at(60)));
    assert_eq!(monitor.beats(&Service::LIBRARIAN, at(0), at(61)).len(), 2);
    std::fs::create_dir(&folder).unwrap();
    monitor.flush(at(120));
    assert_eq!(monitor.notice(), None);
    drop(monitor);
    let monitor = open(&folder, at(180), UNKNOWN);
    assert_eq!(monitor.beats(&Service::LIBRARIAN, at(0), at(61)).len(), 2);
}

#[test]
fn a_second_process_neither_takes_the_history_nor_moves_it_aside() {
    let data = Data::new();
    let first = open(&data.0, at(0), UNKNOWN);
    let second = open(&data.0, at(0), UNKNOWN);
    up(&second, 0);
    assert!(second.notice().is_some());
    assert_eq!(first.notice(), None);
    assert_eq!(data.names(), ["history.redb"]);
}

/// A history with a beat at every noon of 99 days, and its last trusted commit at the end of the first 59.
fn hundred_days(data: &Data) {
    let monitor = open(&data.0, at(0), SYNCHRONIZED);
    {
        let mut memory = monitor.memory();
        memory.waiting.extend((0..99).map(|day| Beat {
            service: Service::LIBRARIAN,
            at: at(day * DAY + DAY / 2),
            status: Status::Up,
            task: String::new(),
            response: None,
            clock: BeatClock::Trusted,
        }));
    }
    monitor.flush(at(59 * DAY));
}

fn kept(monitor: &Monitor) -> usize {
    monitor
        .beats(&Service::LIBRARIAN, at(0), at(100 * DAY))
        .len()
}

#[test]
fn beats_older_than_sixty_days_are_pruned() {
    let data = Data::new();
    hundred_days(&data);
    let monitor = open(&data.0, at(100 * DAY), SYNCHRONIZED);
    assert_eq!(kept(&monitor), 99);
    monitor.flush(at(100 * DAY));
    assert_eq!(kept(&monitor), 59, "the noons of day 40 to day 98");
}

#[test]
fn p10_a_clock_in_the_past_prunes_nothing_and_marks_its_beats() {
    let data = Data::new();
    hundred_days(&data);
    let past = -400 * DAY;
    let monitor = open(&data.0, at(past), UNKNOWN);
    up(&monitor, past);
    monitor.flush(at(past));
    assert_eq!(kept(&monitor), 99);
    let beats = monitor.beats(&Service::LIBRARIAN, at(past), at(past + 1));
    assert_eq!(beats[0].clock, BeatClock::Doubtful);
}

#[test]
fn p10_a_clock_that_starts_years_ahead_does_not_empty_the_history() {
    let data = Data::new();
    hundred_days(&data);
    let monitor = open(&data.0, at(5_000 * DAY), UNKNOWN);
    monitor.flush(at(5_000 * DAY));
    assert_eq!(
        kept(&monitor),
        99,
        "none is older than 60 days at the last commit"
    );
    drop(monitor);
    // Again and again: what an earlier run with that clock wrote down makes it no truer.
    for start in 1..4 {
        let monitor = open(&data.0, at((5_000 + start) * DAY), UNKNOWN);
        monitor.flush(at((5_000 + start) * DAY));
        assert_eq!(kept(&monitor), 99);
    }
    // In the past as well, and ahead again.
    for start in [-400, 5_100, -300, 5_200] {
        let monitor = open(&data.0, at(start * DAY), UNSYNCHRONIZED);
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
        let monitor = open(&data.0, at(0), asked);
        up(&monitor, 1);
        let beats = monitor.beats(&Service::LIBRARIAN, at(0), at(2));
        assert_eq!(beats[0].clock == BeatClock::Doubtful, marked);
    }
}

#[test]
fn p10_a_time_service_that_vouches_for_the_date_ends_the_doubt_of_a_first_run_in_the_future() {
    let data = Data::new();
    let monitor = open(&data.0, at(5_000 * DAY), UNKNOWN);
    up(&monitor, 5_000 * DAY);
    monitor.flush(at(5_000 * DAY));
    drop(monitor);
    let monitor = open(&data.0, at(0), SYNCHRONIZED);
    up(&monitor, 0);
    let beats = monitor.beats(&Service::LIBRARIAN, at(0), at(1));
    assert_eq!(beats[0].clock, BeatClock::Trusted);
}

#[test]
fn p10_a_clock_that_jumps_is_doubtful_once_and_takes_no_history_with_it() {
    let data = Data::new();
    hundred_days(&data);
    let monitor = open(&data.0, at(100 * DAY), UNKNOWN);
    let after = 134 * DAY;
    monitor.beat(&Service::DASHBOARD, Status::Up.into(), at(after));
    monitor.beat(&Service::DASHBOARD, Status::Up.into(), at(after + 60));
    let beats = monitor.beats(&Service::DASHBOARD, at(after), at(after + 61));
    let doubtful: Vec<bool> = beats
        .iter()
        .map(|beat| beat.clock == BeatClock::Doubtful)
        .collect();
    assert_eq!(doubtful, [true, false]);
    let row = &monitor.current()[1];
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
    let monitor = open(&data.0, at(0), UNKNOWN);
    for length in 0..200 {
        let reason = format!("{}é🙂", "x".repeat(length));
        let down = Status::Down(reason.clone());
        monitor.beat(
            &Service::FACTORY_DB,
            Report::from(down).doing(reason),
            at(i64::try_from(length).unwrap()),
        );
    }
    monitor.flush(at(300));
    let beats = monitor.beats(&Service::FACTORY_DB, at(0), at(300));
    assert_eq!(beats.len(), 200);
    assert!(beats.iter().all(|beat| beat.task.len() <= TEXT_LIMIT));
    assert_eq!(beats[150].status.reason(), Some(beats[150].task.as_str()));
    assert!(beats[199].task.ends_with('…'));
}

/// Lets a service have been accounted for this long ago, as if that time had passed.
fn let_pass(monitor: &Monitor, service: &Service, passed: Duration) {
    let mut memory = monitor.memory();
    let heard = memory
        .rows
        .iter_mut()
        .find(|heard| heard.row.service == *service)
        .unwrap();
    let before = Instant::now().checked_sub(passed).unwrap();
    heard.accounted = Some(before);
    heard.last = Some(before);
}

/// To the nearest second.
fn whole(time: Duration) -> u64 {
    (time + Duration::from_millis(500)).as_secs()
}

/// Whole seconds up, degraded, down within the hours of the first two days.
fn seconds(monitor: &Monitor, of: &Service) -> (u64, u64, u64) {
    let mut all = Rollup::default();
    for (_, service, rollup) in monitor.hours(at(-DAY), at(2 * DAY)) {
        if service == *of {
            all.add(&rollup);
        }
    }
    (whole(all.up), whole(all.degraded), whole(all.down))
}

#[test]
fn roll_ups_hold_what_was_up_and_down_and_the_time_between_two_runs_is_unknown() {
    let data = Data::new();
    let of = Service::LIBRARIAN;
    let monitor = open(&data.0, at(0), SYNCHRONIZED);
    up(&monitor, 0);
    let_pass(&monitor, &of, Duration::from_secs(100));
    let down = Report::from(Status::Down("gone".to_owned()));
    monitor.beat(&of, down, at(100));
    let_pass(&monitor, &of, Duration::from_secs(40));
    monitor.stop(at(140));
    let monitor = open(&data.0, at(3_000), SYNCHRONIZED);
    assert_eq!(seconds(&monitor, &of), (100, 0, 40));
    let degraded = Report::from(Status::Degraded("slow".to_owned()));
    monitor.beat(
        &of,
        degraded.answered_in(Duration::from_millis(7)),
        at(3_000),
    );
    let_pass(&monitor, &of, Duration::from_secs(60));
    up(&monitor, 3_060);
    assert_eq!(
        seconds(&monitor, &of),
        (100, 60, 40),
        "the 2,860 seconds in between are nobody's"
    );
    let days = monitor.days(date_at(0), date_at(0));
    let of_librarian: Vec<&Rollup> = days
        .iter()
        .filter(|(_, service, _)| *service == of)
        .map(|(.., rollup)| rollup)
        .collect();
    assert_eq!(of_librarian.len(), 1);
    assert_eq!(of_librarian[0].mean(), Some(Duration::from_millis(7)));
    let unknown = of_librarian[0].unknown_of(Duration::from_secs(86_400));
    assert_eq!(whole(unknown), 86_400 - 200);
}

fn date_at(seconds: i64) -> Date {
    at(seconds).to_zoned(TimeZone::UTC).date()
}

#[test]
fn a_service_that_hangs_counts_as_down_from_when_its_patience_ended_and_is_an_incident_until_it_reports()
 {
    let data = Data::new();
    let monitor = open(&data.0, at(0), SYNCHRONIZED);
    up(&monitor, 0);
    let_pass(&monitor, &Service::LIBRARIAN, Duration::from_secs(500));
    monitor.look_for_silent(at(500));
    monitor.look_for_silent(at(501));
    let events = monitor.events(10);
    assert_eq!(events.len(), 1, "said once: {events:?}");
    assert_eq!(events[0].turn, Turn::Opened);
    assert!(events[0].text.contains("stuck"), "{}", events[0].text);
    up(&monitor, 500);
    assert_eq!(seconds(&monitor, &Service::LIBRARIAN), (150, 0, 350));
    assert_eq!(monitor.events(10)[0].turn, Turn::Closed);
}

#[test]
fn an_incident_is_one_however_often_it_is_said_and_lives_through_a_restart() {
    let data = Data::new();
    let monitor = open(&data.0, at(0), UNKNOWN);
    let say = |monitor: &Monitor, text: Option<&str>, seconds| {
        monitor.condition(
            Kind::Disk,
            "disk/Storage",
            text,
            "there is room again",
            at(seconds),
        );
    };
    say(&monitor, None, 0);
    say(&monitor, Some("little room"), 1);
    say(&monitor, Some("less room"), 2);
    monitor.flush(at(3));
    drop(monitor);
    let monitor = open(&data.0, at(10), UNKNOWN);
    assert_eq!(monitor.open_incidents("disk/"), ["disk/Storage"]);
    say(&monitor, Some("still little room"), 11);
    say(&monitor, None, 12);
    say(&monitor, None, 13);
    let turns: Vec<Turn> = monitor.events(10).iter().map(|event| event.turn).collect();
    assert_eq!(turns, [Turn::Closed, Turn::Opened]);
    monitor.flush(at(14));
    drop(monitor);
    let monitor = open(&data.0, at(20), UNKNOWN);
    assert!(monitor.open_incidents("").is_empty());
    assert_eq!(monitor.events(10).len(), 2);
}

#[test]
fn an_event_is_seen_at_every_moment_while_several_services_commit_at_once() {
    let data = Data::new();
    let monitor = open(&data.0, at(0), SYNCHRONIZED);
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for service in [Service::LIBRARIAN, Service::DASHBOARD] {
            let (monitor, done) = (&monitor, &done);
            scope.spawn(move || {
                while !done.load(Ordering::SeqCst) {
                    monitor.beat(&service, Status::Up.into(), at(1));
                    monitor.flush(at(1));
                }
            });
        }
        let mut unseen = 0;
        for number in 0..100 {
            let text = format!("event {number}");
            monitor.tell(Kind::Service, "test", &text, at(2 + number));
            for _ in 0..20 {
                let events = monitor.events(3);
                unseen += u32::from(!events.iter().any(|event| event.text == text));
            }
        }
        done.store(true, Ordering::SeqCst);
        assert_eq!(unseen, 0);
    });
}

#[test]
fn a_stopped_monitor_has_closed_its_file_whoever_reads_and_reports_on() {
    let data = Data::new();
    let monitor = open(&data.0, at(0), SYNCHRONIZED);
    up(&monitor, 1);
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                drop(monitor.beats(&Service::LIBRARIAN, at(0), at(10)));
                up(&monitor, 2);
                monitor.flush(at(2));
            }
        });
        monitor.stop(at(3));
        let rows = rows_on_disk(&data.0, &settings().roster);
        done.store(true, Ordering::SeqCst);
        let row = rows
            .iter()
            .find(|row| row.service == Service::LIBRARIAN)
            .expect("it can be read");
        // The other one may have reported in between.
        assert!(row.status.is_some());
    });
}

static IS_KEPT: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

#[test]
fn p10_beats_roll_ups_and_events_of_a_doubtful_clock_are_put_right_once_a_time_service_keeps_it() {
    let data = Data::new();
    let of = Service::LIBRARIAN;
    // The board starts in the past: the last time it knows. No time passes in this test, so its wall clock hardly moves.
    let early = |millis| {
        at(0)
            .saturating_add(jiff::SignedDuration::from_millis(millis))
            .unwrap()
    };
    let beat = |monitor: &Monitor, now| monitor.beat(&of, Status::Up.into(), now);
    let monitor = open(&data.0, at(0), || Some(IS_KEPT.load(Ordering::SeqCst)));
    beat(&monitor, at(0));
    let_pass(&monitor, &of, Duration::from_secs(60));
    beat(&monitor, early(400));
    monitor.tell(Kind::Board, "board/start", "started", early(400));
    monitor.flush(early(400));
    let_pass(&monitor, &of, Duration::from_secs(30));
    beat(&monitor, early(900));
    let marked = monitor.beats(&of, at(-1), at(DAY));
    assert_eq!(marked.len(), 3);
    assert!(marked.iter().all(|beat| beat.clock == BeatClock::Doubtful));
    assert_eq!(seconds(&monitor, &of).0, 90);
    // Ten days later by the wall clock, a moment by the other one.
    IS_KEPT.store(true, Ordering::SeqCst);
    let later = 10 * DAY;
    beat(&monitor, at(later));
    monitor.flush(at(later));
    assert!(monitor.beats(&of, at(-1), at(DAY)).is_empty());
    let corrected = monitor.beats(&of, at(9 * DAY), at(11 * DAY));
    let clocks: Vec<BeatClock> = corrected.iter().map(|beat| beat.clock).collect();
    let marks = |clock| clocks.iter().filter(|is| **is == clock).count();
    assert_eq!(marks(BeatClock::Corrected), 3, "{corrected:?}");
    assert_eq!(marks(BeatClock::Trusted), 1);
    let moved: Vec<_> = corrected
        .iter()
        .filter(|beat| beat.clock == BeatClock::Corrected)
        .collect();
    let gap = moved[1].at.duration_since(moved[0].at);
    assert_eq!(
        gap.as_millis(),
        400,
        "what lay between them lies between them"
    );
    assert_eq!(monitor.events(1)[0].clock, BeatClock::Corrected);
    assert_eq!(
        seconds(&monitor, &of).0,
        0,
        "the hours of the wrong date are empty again"
    );
    let up_later: Duration = monitor
        .hours(at(9 * DAY), at(11 * DAY))
        .iter()
        .filter(|(_, service, _)| *service == of)
        .map(|(.., rollup)| rollup.up)
        .sum();
    assert_eq!(whole(up_later), 90);
}

#[test]
fn a_history_of_format_1_is_moved_aside_and_a_new_one_started() {
    let data = Data::new();
    let database = redb::Database::create(data.0.join("history.redb")).unwrap();
    let transaction = database.begin_write().unwrap();
    let meta: redb::TableDefinition<&str, u64> = redb::TableDefinition::new("meta");
    transaction
        .open_table(meta)
        .unwrap()
        .insert("format", 1)
        .unwrap();
    transaction.commit().unwrap();
    drop(database);
    let monitor = open(&data.0, at(0), UNKNOWN);
    assert!(monitor.notice().unwrap().contains("its format is Some(1)"));
    up(&monitor, 0);
    assert_eq!(data.names(), ["history.redb", "history.redb.damaged-1"]);
}

/// The two tables of the system that this one replaces: each service with its heartbeat's interval, in seconds.
const OF_THE_ORIGINAL: [(&str, u64); 5] = [
    ("librarian", 60),
    ("dashboard", 300),
    ("factory-db", 300),
    ("syncthing", 300),
    ("service-monitor", 300),
];

#[test]
fn each_service_of_the_original_reports_as_often_as_it_did_unless_the_settings_say_otherwise() {
    let data = Data::new();
    let config = crate::config::Config::read(Some(&data.0), None, None).unwrap();
    let roster = Settings::of(&config).roster;
    assert_eq!(roster.len(), OF_THE_ORIGINAL.len());
    for (name, seconds) in OF_THE_ORIGINAL {
        let watched = roster
            .iter()
            .find(|watched| watched.service.as_str() == name);
        let interval = watched.map(|watched| watched.interval);
        assert_eq!(interval, Some(Duration::from_secs(seconds)), "{name}");
    }
    let text =
        "[monitor]\nlibrarian_seconds = 5\nservices_seconds = 7\nunits = [\"nginx.service\"]\n";
    std::fs::write(data.0.join("photo-factory.toml"), text).unwrap();
    let config = crate::config::Config::read(Some(&data.0), None, None).unwrap();
    let roster = Settings::of(&config).roster;
    assert_eq!(roster[0].interval, Duration::from_secs(5));
    assert!(
        roster[1..]
            .iter()
            .all(|watched| watched.interval == Duration::from_secs(7))
    );
    assert!(
        roster
            .iter()
            .any(|watched| watched.service.as_str() == "nginx.service")
    );
}
