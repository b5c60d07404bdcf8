//! P10: the clock is wrong, or jumps by years. Photos are filed under their own days all the same, nothing waits for years,
//! and nothing that was remembered is thrown away.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::factory::{Factory, PATIENCE, hash, installed, output_of, text};
use crate::fixtures::exif::Exif;
use crate::fixtures::jpeg;

/// Dates that a clock may show: before 1970, at it, about the end of 32 bits, and far ahead.
const DATES: [&str; 6] = [
    "1960-02-03 04:05:06",
    "1970-01-01 00:00:10",
    "1999-12-31 23:59:30",
    "2038-01-19 03:14:00",
    "2040-01-01 00:00:00",
    "2100-03-01 12:00:00",
];

/// The library that gives a program another clock, for programs with threads; `None`, said, where it is not installed.
pub(crate) fn library(test: &str) -> Option<PathBuf> {
    // A program of another architecture needs one of its own, where there is one.
    if let Some(library) = std::env::var_os("PHOTO_FACTORY_FAKETIME") {
        if library.is_empty() {
            println!("skipped: {test}: no library gives such a program another clock");
            return None;
        }
        return Some(library.into());
    }
    if !installed("faketime", test) {
        return None;
    }
    let output =
        output_of(Command::new("faketime").args(["-m", "-f", "+0d", "printenv", "LD_PRELOAD"]));
    Some(String::from_utf8_lossy(&output.stdout).trim().into())
}

/// Has a command see the wall clock that the file says, as it says it at each moment; intervals stay true.
pub(crate) fn with_clock(command: &mut Command, library: &Path, file: &Path) {
    command
        .env("LD_PRELOAD", library)
        .env("FAKETIME_TIMESTAMP_FILE", file)
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("NO_FAKE_STAT", "1");
}

/// Sets that clock. In one step: a half-written file would be another date.
pub(crate) fn set(file: &Path, date: &str) {
    let new = file.with_extension("new");
    fs::write(&new, format!("@{date}\n")).unwrap();
    fs::rename(&new, file).unwrap();
}

/// A photo with a date of its own, one that only its file time dates, and one with nothing but a strange name.
fn lay_three(factory: &Factory, number: u64) -> Vec<Vec<u8>> {
    let dated = jpeg::small(number, &Exif::taken("2021:02:03 04:05:06"));
    let bare = jpeg::bare(1000 + number);
    let named = jpeg::bare(2000 + number);
    factory.put(format!("{number}-dated.jpg"), &dated);
    // 2019-07-08T09:10:11Z.
    let mtime = SystemTime::UNIX_EPOCH + Duration::from_secs(1_562_577_011);
    factory.put_at(format!("{number}-bare.jpg"), &bare, mtime);
    factory.put_at(format!("IMG_20200304_050607-{number}.jpg"), &named, mtime);
    vec![dated, bare, named]
}

/// Each stands under its own day, whatever the clock says.
fn assert_filed_by_their_own_dates(factory: &Factory, number: u64, when: &str) {
    let days = [
        format!("2021/2021-02-03/{number}-dated.jpg"),
        format!("2019/2019-07-08/{number}-bare.jpg"),
        format!("2020/2020-03-04/IMG_20200304_050607-{number}.jpg"),
    ];
    for day in days {
        assert!(
            factory.originals().join(&day).is_file(),
            "{when}: {day} is not there: {:?}",
            factory.filed()
        );
    }
}

#[test]
fn p10_photos_are_filed_under_their_own_days_whatever_the_clock_says() {
    let Some(library) = library("photos filed with a wrong clock") else {
        return;
    };
    let factory = Factory::new("wrong-clock");
    let clock = factory.root().join("clock");
    let mut given = Vec::new();
    for (number, date) in (1..).zip(DATES) {
        given.extend(lay_three(&factory, number));
        set(&clock, date);
        let mut command = factory.command();
        with_clock(&mut command, &library, &clock);
        let output = output_of(command.args(["ingest", "--json"]));
        assert_eq!(output.status.code(), Some(0), "{date}: {output:?}");
        assert!(
            factory.waiting().is_empty(),
            "{date}: {:?}",
            factory.waiting()
        );
        assert_filed_by_their_own_dates(&factory, number, date);
        let rows = factory.rows();
        let row = rows
            .iter()
            .find(|row| text(row, "original_name") == format!("{number}-dated.jpg"));
        let (day, _) = date.split_once(' ').unwrap();
        let filed_at = text(row.unwrap(), "ingested_at");
        // A minute may pass midnight.
        let year = if day == "1999-12-31" { "" } else { day };
        assert!(
            filed_at.starts_with(year),
            "the fault did not fire: {filed_at}"
        );
    }
    let mut expected: Vec<_> = given.iter().map(|content| hash(content)).collect();
    let mut kept: Vec<_> = factory.filed().into_values().collect();
    expected.sort();
    kept.sort();
    assert_eq!(kept, expected);
    factory.assert_ledger_and_originals_agree();
    // All of it is known, whenever it was filed: the same photos again are duplicates.
    for number in 1..=DATES.len() as u64 {
        lay_three(&factory, number);
    }
    assert_eq!(factory.ingest().count("duplicates"), given.len() as u64);
}

#[test]
fn p10_an_appliance_whose_clock_jumps_by_years_files_on_and_stops_cleanly() {
    let Some(library) = library("the clock that jumps") else {
        return;
    };
    let mut factory = Factory::new("jumping-clock");
    let clock = factory.root().join("clock");
    set(&clock, DATES[1]);
    let mut command = factory.command();
    with_clock(&mut command, &library, &clock);
    command.args(["run", "--listen", "127.0.0.1:0"]);
    factory.start_command(command);
    // There and back again, with new photos before and after each jump.
    let jumps = DATES.iter().chain(DATES.iter().rev());
    for (number, date) in (1..).zip(jumps) {
        lay_three(&factory, 2 * number);
        set(&clock, date);
        lay_three(&factory, 2 * number + 1);
        factory.wait_until_the_inbox_is_empty();
        for number in [2 * number, 2 * number + 1] {
            assert_filed_by_their_own_dates(&factory, number, date);
        }
        let status = factory.status();
        let (day, _) = date.split_once(' ').unwrap();
        let said = text(&status, "generated_at");
        assert!(
            said.starts_with(day) || day == "1999-12-31",
            "the fault did not fire: {said}"
        );
        assert_eq!(status["status"], "well", "{date}: {}", status["message"]);
        // Silence is measured on the clock that does not jump.
        for service in status["services"].as_array().unwrap() {
            assert_ne!(service["status"], "silent", "{date}: {service}");
        }
    }
    let (status, _) = factory.stop();
    assert!(status.success(), "{status}");
    let log = fs::read_to_string(factory.root().join("Logs/photo-factory.log")).unwrap();
    for trouble in ["panicked", "[ERROR]", "[WARN]"] {
        assert!(!log.contains(trouble), "{log}");
    }
    assert!(
        log.contains("2100-03-01T"),
        "its log has the dates of its clock: {log}"
    );
    factory.assert_ledger_and_originals_agree();
}

#[test]
fn p10_a_file_that_is_written_to_while_the_clock_jumps_ahead_is_not_taken_early() {
    let Some(library) = library("the file written to while the clock jumps") else {
        return;
    };
    let mut factory = Factory::new("jump-and-write");
    // A settle time that no test waits for: what is taken before is taken because of the jump.
    let settle = "[inbox]\nsettle_seconds = 3600\nrescan_seconds = 1\n";
    fs::write(factory.root().join("photo-factory.toml"), settle).unwrap();
    let clock = factory.root().join("clock");
    let real = fs::metadata(factory.inbox()).unwrap().modified().unwrap();
    let real = jiff::Timestamp::try_from(real).unwrap();
    set(&clock, &real.strftime("%Y-%m-%d %H:%M:%S").to_string());
    let mut command = factory.command();
    with_clock(&mut command, &library, &clock);
    command.args(["run", "--listen", "127.0.0.1:0"]);
    factory.start_command(command);
    let content = jpeg::small(1, &Exif::taken("2021:02:03 04:05:06"));
    let (half, rest) = content.split_at(content.len() / 2);
    let path = factory.put("slow.jpg", half);
    factory.wait_until("it was seen", PATIENCE, || {
        factory.status()["inbox"]["depth"] == 1
    });
    set(&clock, DATES[5]);
    factory.wait_until("the clock has jumped", PATIENCE, || {
        text(&factory.status(), "generated_at").starts_with("2100")
    });
    // The inbox is looked through every second; each look is a chance to take it. A file that came since shows that one was.
    for number in 0..3 {
        factory.put(format!("note-{number}.txt"), b"no photo");
        factory.wait_until("another look was made", PATIENCE, || {
            factory.status()["inbox"]["depth"] == number + 2
        });
    }
    assert!(factory.filed().is_empty(), "half a photo was filed");
    assert_eq!(fs::read(&path).unwrap(), half);
    let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    std::io::Write::write_all(&mut file, rest).unwrap();
    drop(file);
    factory.stop();
    factory.configure("");
    factory.ingest();
    assert_eq!(
        factory.filed().into_values().collect::<Vec<_>>(),
        [hash(&content)]
    );
}
