//! What comes later, elsewhere, or in a hurry: halves and sidecars, new folders, polling, another disk, names that stay.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::factory::{Factory, PATIENCE, all_files_below, installed, output_of, program, text};
use crate::fixtures::exif::Exif;
use crate::fixtures::jpeg;
use crate::fixtures::raster::landscape;
use crate::fixtures::sidecar;
use crate::fixtures::video::{Movie, mov};

fn movie(created: &str, content_id: Option<&str>) -> Vec<u8> {
    let movie = Movie {
        creation_date: Some(created.to_owned()),
        content_id: content_id.map(str::to_owned),
        ..Movie::default()
    };
    let frame = jpeg::encode(&landscape(5, 64, 48), None, None);
    mov(&movie, &[frame], 64, 48)
}

fn filed(factory: &Factory) -> Vec<String> {
    let paths = factory.filed().into_keys();
    paths.map(|path| path.display().to_string()).collect()
}

#[test]
fn a_still_and_a_video_of_one_name_taken_on_two_days_are_no_pair() {
    let factory = Factory::new("no-pair");
    factory.put(
        "IMG_0001.JPG",
        &jpeg::small(1, &Exif::taken("2022:09:03 10:00:00")),
    );
    factory.put("IMG_0001.MOV", &movie("2023-01-05T10:00:00+0100", None));
    assert_eq!(factory.ingest().code, 0);
    assert_eq!(
        filed(&factory),
        [
            "Originals/2022/2022-09-03/IMG_0001.JPG",
            "Originals/2023/2023-01-05/IMG_0001.MOV"
        ]
    );
    assert!(
        factory
            .rows()
            .iter()
            .all(|row| row["paired_with"].is_null())
    );
}

#[test]
fn a_half_and_a_sidecar_that_come_later_join_their_photo() {
    let factory = Factory::new("late-half");
    let id = "2B4F0C11-9A5E-4E0B-8F5D-0D5E1C7A9B22";
    let still = Exif::taken("2022:09:03 23:59:59")
        .offset("+02:00")
        .content_id(id);
    factory.put("phone/IMG_7.JPG", &jpeg::small(1, &still));
    // Another shot took the name in Originals first.
    factory.put(
        "other/IMG_7.JPG",
        &jpeg::small(2, &Exif::taken("2022:09:03 08:00:00")),
    );
    factory.ingest();
    let base = |factory: &Factory| {
        let rows = factory.rows();
        let row = rows
            .iter()
            .find(|row| text(row, "inbox_path") == "phone/IMG_7.JPG")
            .unwrap();
        text(row, "final_path").trim_end_matches(".JPG").to_owned()
    };
    let base = base(&factory);
    factory.put(
        "phone/IMG_7.MOV",
        &movie("2022-09-04T00:00:01+0200", Some(id)),
    );
    factory.ingest();
    factory.put(
        "phone/IMG_7.xmp",
        sidecar::xmp("2022-09-03T23:59:59").as_bytes(),
    );
    factory.ingest();
    let filed = filed(&factory);
    assert!(filed.contains(&format!("{base}.MOV")), "{base}: {filed:?}");
    assert!(filed.contains(&format!("{base}.xmp")), "{base}: {filed:?}");
    let rows = factory.rows();
    let row = |path: &str| {
        rows.iter()
            .find(|row| text(row, "inbox_path") == path)
            .unwrap()
    };
    assert_eq!(
        row("phone/IMG_7.MOV")["paired_with"],
        row("phone/IMG_7.JPG")["id"]
    );
    assert_eq!(
        row("phone/IMG_7.JPG")["paired_with"],
        row("phone/IMG_7.MOV")["id"]
    );
    assert_eq!(
        row("phone/IMG_7.xmp")["paired_with"],
        row("phone/IMG_7.JPG")["id"]
    );
}

#[test]
fn a_sidecar_that_comes_with_a_late_video_belongs_to_the_still() {
    let factory = Factory::new("late-video");
    let still = Exif::taken("2022:09:03 23:59:59");
    factory.put("IMG_8.JPG", &jpeg::small(1, &still));
    factory.ingest();
    factory.put("IMG_8.MOV", &movie("2022-09-04T00:00:01+0000", None));
    factory.put("IMG_8.AAE", sidecar::aae().as_bytes());
    assert_eq!(factory.ingest().code, 0);
    let rows = factory.rows();
    let row = |path: &str| {
        rows.iter()
            .find(|row| text(row, "inbox_path") == path)
            .unwrap()
    };
    let list = row("IMG_8.AAE");
    assert_eq!(list["paired_with"], row("IMG_8.JPG")["id"], "{list}");
    assert_eq!(text(list, "captured_at"), "2022-09-03T23:59:59");
}

#[test]
fn a_sidecar_without_its_photo_waits_and_is_filed_with_it() {
    let mut factory = Factory::new("waiting-sidecar");
    factory.start();
    factory.put("scan.xmp", sidecar::xmp("1987-08-02T15:00:00").as_bytes());
    factory.wait_until("it is listed as waiting", PATIENCE, || {
        let status = factory.status();
        let problems = status["problems"].as_array().unwrap();
        problems
            .iter()
            .any(|problem| text(problem, "path") == "scan.xmp")
    });
    factory.put("scan.jpg", &jpeg::bare(9));
    factory.wait_until_the_inbox_is_empty();
    assert_eq!(
        filed(&factory),
        [
            "Originals/1987/1987-08-02/scan.jpg",
            "Originals/1987/1987-08-02/scan.xmp"
        ]
    );
    factory.wait_until("it is listed no more", PATIENCE, || {
        factory.status()["problems"].as_array().unwrap().is_empty()
    });
}

/// Settings with which no rescan comes to help within a test.
fn without_rescans(factory: &Factory, more: &str) {
    let settings = format!("[inbox]\nsettle_seconds = 1\nrescan_seconds = 3600\n{more}");
    fs::write(factory.root().join("photo-factory.toml"), settings).unwrap();
}

/// Whether the appliance has the kernel tell it of changes.
fn is_watching(factory: &Factory) -> bool {
    let descriptors = fs::read_dir(format!("/proc/{}/fd", factory.pid())).unwrap();
    descriptors
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .any(|link| link.to_string_lossy().contains("inotify"))
}

#[test]
fn photos_in_folders_made_a_moment_ago_are_all_taken() {
    let mut factory = Factory::new("new-folders");
    without_rescans(&factory, "");
    factory.start();
    for number in 0..60 {
        let content = jpeg::small(
            number,
            &Exif::taken(&format!("2021:01:02 03:04:{number:02}")),
        );
        let depth = "deeper/".repeat(usize::try_from(number % 5).unwrap());
        factory.put(format!("folder {number}/{depth}IMG_{number}.JPG"), &content);
    }
    // A folder filled elsewhere and moved in brings no event for its files.
    let elsewhere = factory.root().join("elsewhere");
    fs::create_dir_all(elsewhere.join("below")).unwrap();
    let content = jpeg::small(99, &Exif::taken("2021:01:02 04:00:00"));
    fs::write(elsewhere.join("below/IMG_99.JPG"), content).unwrap();
    fs::rename(&elsewhere, factory.inbox().join("moved in")).unwrap();
    factory.wait_until_the_inbox_is_empty();
    assert_eq!(filed(&factory).len(), 61);
}

#[test]
fn a_polled_inbox_is_taken_without_any_event() {
    let mut factory = Factory::new("polled");
    factory.start();
    factory.wait_until("it watches", PATIENCE, || is_watching(&factory));
    factory.stop();
    without_rescans(&factory, "poll = true\n");
    factory.start();
    factory.put(
        "a/IMG_0.JPG",
        &jpeg::small(0, &Exif::taken("2021:01:02 03:04:04")),
    );
    factory.wait_until_the_inbox_is_empty();
    assert!(!is_watching(&factory), "it is told of changes");
    // The first may have been found at the start.
    factory.put(
        "a/IMG_1.JPG",
        &jpeg::small(1, &Exif::taken("2021:01:02 03:04:05")),
    );
    factory.wait_until_the_inbox_is_empty();
    assert_eq!(filed(&factory).len(), 2);
}

#[test]
fn p4_with_clear_never_the_photo_stays_is_not_read_again_and_its_change_does_not_reach_the_original()
 {
    let factory = Factory::new("never");
    factory.configure("clear = \"never\"\n");
    let content = jpeg::small(1, &Exif::taken("2021:01:02 03:04:05"));
    let path = factory.put("IMG_1.JPG", &content);
    let first = factory.ingest();
    assert_eq!(
        (first.code, first.count("filed")),
        (0, 1),
        "{}",
        first.summary
    );
    let second = factory.ingest();
    assert_eq!(
        (second.code, second.count("files")),
        (0, 0),
        "{}",
        second.summary
    );
    let original = factory.originals().join("2021/2021-01-02/IMG_1.JPG");
    assert_ne!(
        fs::metadata(&path).unwrap().ino(),
        fs::metadata(&original).unwrap().ino()
    );
    // It is edited where it lies: the edit is a photo of its own.
    let edited = jpeg::small(2, &Exif::taken("2021:01:02 03:04:05"));
    factory.put("IMG_1.JPG", &edited);
    let third = factory.ingest();
    assert_eq!(
        (third.code, third.count("filed")),
        (0, 1),
        "{}",
        third.summary
    );
    assert_eq!(fs::read(&original).unwrap(), content);
    assert_eq!(
        fs::read(factory.originals().join("2021/2021-01-02/IMG_1-1.JPG")).unwrap(),
        edited
    );
}

#[test]
fn p1_on_another_disk_an_original_is_a_copy_that_was_read_back_and_keeps_its_time() {
    let memory = Path::new("/dev/shm");
    let factory = Factory::new("other-disk");
    let is_other = |path: &Path| {
        fs::metadata(path)
            .is_ok_and(|there| there.dev() != fs::metadata(factory.root()).unwrap().dev())
    };
    if !is_other(memory) {
        println!("skipped: another file system, there is no /dev/shm");
        return;
    }
    let storage = memory.join(format!("photo-factory-test-{}", std::process::id()));
    factory.configure(&format!("[storage]\npath = \"{}\"\n", storage.display()));
    let content = jpeg::small(1, &Exif::taken("2021:01:02 03:04:05"));
    let taken = SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000);
    factory.put_at("IMG_1.JPG", &content, taken);
    factory.put_at("again/IMG_1.JPG", &content, taken);
    let run = factory.ingest();
    let original = storage.join("Originals/2021/2021-01-02/IMG_1.JPG");
    let kept = fs::read(&original);
    let metadata = fs::metadata(&original);
    let files = all_files_below(&storage);
    fs::remove_dir_all(&storage).unwrap();
    assert_eq!(
        (run.code, run.count("filed"), run.count("duplicates")),
        (0, 1, 1),
        "{}",
        run.summary
    );
    assert_eq!(kept.unwrap(), content);
    let metadata = metadata.unwrap();
    assert_eq!(metadata.modified().unwrap(), taken);
    assert_eq!(metadata.mode() & 0o777, 0o400 | metadata.mode() & 0o044);
    assert_eq!(
        files,
        [storage.join(".photo-factory-storage"), original],
        "no temporary file is left"
    );
    assert!(factory.waiting().is_empty());
}

#[test]
fn what_was_typed_wrong_is_told_with_what_to_do_and_exit_code_1() {
    let factory = Factory::new("typed-wrong");
    let told = |arguments: &[&str]| {
        let output = factory.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(told(&["run", "--listn", "1"]).contains("--help"));
    assert!(told(&["frobnicate"]).contains("--help"));
    assert!(told(&["--config", "nowhere.toml", "status"]).contains("nowhere.toml"));
    assert!(told(&["ingest", "nowhere"]).contains("nowhere"));
    assert!(told(&["run", "--listen", "192.0.2.1:80"]).contains("127.0.0.1"));
    factory.configure("settle_second = 1\n");
    let complaint = told(&["run"]);
    assert!(
        complaint.contains("line ") && complaint.contains("settle_seconds"),
        "{complaint}"
    );
    let gone = factory.root().join("gone");
    let output = output_of(factory.command().arg("--root").arg(gone).arg("run"));
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn p3_a_name_that_cannot_be_cleared_leaves_an_original_of_its_own_and_is_cleared_later() {
    if !installed("strace", "a rename that fails") {
        return;
    }
    let factory = Factory::new("not-cleared");
    // The ledger is made first: its own rename is not the one that fails.
    factory.ingest();
    let content = jpeg::small(1, &Exif::taken("2021:01:02 03:04:05"));
    let path = factory.put("IMG_1.JPG", &content);
    let trace = factory.root().join("strace.txt");
    let fault = "inject=renameat2:error=EIO:when=1+";
    let mut command = Command::new("strace");
    command
        .args(["-f", "-e", "trace=renameat2", "-e", fault, "-o"])
        .arg(&trace)
        .arg(program())
        .arg("--root")
        .arg(factory.root())
        .args(["ingest", "--json"]);
    let output = output_of(&mut command);
    assert!(
        fs::read_to_string(&trace).unwrap().contains("INJECTED"),
        "the fault fired"
    );
    // The photo is filed, and it is said that its name stays.
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("could not clear"), "{said}");
    let original = factory.originals().join("2021/2021-01-02/IMG_1.JPG");
    assert_ne!(
        fs::metadata(&path).unwrap().ino(),
        fs::metadata(&original).unwrap().ino()
    );
    let later = factory.ingest();
    assert_eq!(
        (later.code, later.count("duplicates")),
        (0, 1),
        "{}",
        later.summary
    );
    assert!(factory.waiting().is_empty());
    assert_eq!(fs::read(original).unwrap(), content);
}

#[test]
fn a_late_sidecar_goes_to_the_newest_photo_of_its_name() {
    let factory = Factory::new("counter-wrapped");
    for (number, day) in [(1, "2021:01:02"), (2, "2024:05:05")] {
        factory.put(
            "IMG_0001.JPG",
            &jpeg::small(number, &Exif::taken(&format!("{day} 03:04:05"))),
        );
        factory.ingest();
    }
    factory.put(
        "IMG_0001.xmp",
        sidecar::xmp("2024-05-05T03:04:05").as_bytes(),
    );
    factory.ingest();
    let filed = filed(&factory);
    assert!(
        filed.contains(&"Originals/2024/2024-05-05/IMG_0001.xmp".to_owned()),
        "{filed:?}"
    );
}

#[test]
fn an_inbox_that_was_made_anew_is_taken() {
    let mut factory = Factory::new("inbox-anew");
    without_rescans(&factory, "");
    factory.start();
    factory.wait_until("it watches", PATIENCE, || is_watching(&factory));
    // In one step. Where it is gone for a moment, a look that falls into this moment leaves the new one to the next rescan.
    let anew = factory.root().join("anew");
    fs::create_dir(&anew).unwrap();
    fs::rename(&anew, factory.inbox()).unwrap();
    factory.put(
        "IMG_1.JPG",
        &jpeg::small(1, &Exif::taken("2021:01:02 03:04:05")),
    );
    factory.wait_until_the_inbox_is_empty();
    // And watched.
    factory.put(
        "IMG_2.JPG",
        &jpeg::small(2, &Exif::taken("2021:01:02 03:04:06")),
    );
    factory.wait_until_the_inbox_is_empty();
    assert_eq!(filed(&factory).len(), 2);
}
