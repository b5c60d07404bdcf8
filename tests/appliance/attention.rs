//! What wants the owner's attention is shown, with what to do; and what can't be helped at once costs no work meanwhile.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;
use std::process::{Command, Output};

use jiff::Timestamp;
use jiff::civil::date;
use photo_factory::asset::{CaptureTime, CapturedFrom, FileHash, Kind, day_folder};
use photo_factory::ledger::{Change, Draft, Ledger, Pairing, Shot};
use sha2::{Digest, Sha256};

use crate::factory::{Factory, NOBODY, PATIENCE, all_files_below, as_nobody, installed, program};
use crate::fixtures::exif::Exif;
use crate::fixtures::jpeg;
use crate::storage::{Mounted, can_mount};

/// The day of every photo here.
const DAY: &str = "Originals/2023/2023-04-05";

fn photo(seed: u64) -> Vec<u8> {
    jpeg::small(seed, &Exif::taken("2023:04:05 06:07:08"))
}

/// One pass over the inbox under strace; the faults that fired stand in the trace.
fn ingest_under_strace(factory: &Factory, arguments: &[&str]) -> (Output, String) {
    let trace = factory.root().join("strace.txt");
    let output = Command::new("strace")
        .args(["-f", "-qq", "-o"])
        .arg(&trace)
        .args(arguments)
        .arg(program())
        .arg("--root")
        .arg(factory.root())
        .arg("ingest")
        .output()
        .unwrap();
    (output, fs::read_to_string(trace).unwrap())
}

/// Leaves the factory as a power cut does after the photo `name` stood in Originals and before the ledger knew. Gives
/// its place.
fn interrupt(factory: &Factory, name: &str, content: &[u8]) -> PathBuf {
    factory.put("first.jpg", &photo(1_000));
    assert_eq!(factory.ingest().code, 0);
    factory.put(name, content);
    let kill = "inject=linkat,renameat2:signal=SIGKILL:when=1";
    let (output, _) = ingest_under_strace(factory, &["-e", "trace=linkat,renameat2", "-e", kill]);
    assert_eq!(
        output.status.code(),
        None,
        "the kill did not come: {output:?}"
    );
    let place = factory.storage().join(DAY).join(name);
    assert!(!place.exists(), "it was killed too late");
    fs::write(&place, content).unwrap();
    place
}

fn log(factory: &Factory) -> String {
    fs::read_to_string(factory.root().join("stderr.txt")).unwrap()
}

#[test]
fn interrupted_work_that_lacks_room_is_told_of_once_and_goes_on_when_there_is_room() {
    let test = "interrupted work on a full disk";
    if !can_mount(test) || !installed("strace", test) {
        return;
    }
    let mut factory = Factory::new("full-recovery");
    factory.configure("[storage]\nreserve = \"0 MB\"\n");
    let disk = Mounted::tmpfs("size=4m", &factory.storage());
    let place = interrupt(&factory, "cut.jpg", &photo(1));
    // A second name: it is made a file of its own, which takes room.
    fs::hard_link(&place, factory.storage().join("second name")).unwrap();
    let filler = factory.storage().join("filler");
    fs::write(&filler, vec![1; 5 << 20]).unwrap_err();

    factory.start();
    let tells = |log: &str| log.matches("The disk of Storage is full").count();
    factory.wait_until("it says that the disk is full", PATIENCE, || {
        tells(&log(&factory)) > 0 && factory.status()["activity"]["state"] == "paused"
    });
    fs::remove_file(&filler).unwrap();
    factory.wait_until_the_inbox_is_empty();
    assert_eq!(tells(&log(&factory)), 1, "{}", log(&factory));
    factory.stop();
    factory.assert_ledger_and_originals_agree();
    drop(disk);
}

#[test]
fn an_inbox_that_is_gone_is_said_so_until_it_is_back_and_then_it_is_taken_again() {
    let mut factory = Factory::new("inbox-gone");
    // Only events, or the watch for its return, can tell: the regular look comes too late.
    factory.configure("");
    let settings = factory.root().join("photo-factory.toml");
    let slow = fs::read_to_string(&settings)
        .unwrap()
        .replace("rescan_seconds = 1", "rescan_seconds = 3600");
    fs::write(&settings, slow).unwrap();
    factory.put("one.jpg", &photo(1));
    factory.start();
    factory.wait_until_the_inbox_is_empty();

    let elsewhere = factory.root().join("elsewhere");
    fs::rename(factory.inbox(), &elsewhere).unwrap();
    let is_missed = |factory: &Factory| {
        let status = factory.status();
        let message = status["message"].as_str().unwrap();
        let librarian = &status["services"][0];
        assert_eq!(librarian["service_name"], "librarian");
        status["status"] == "trouble"
            && message.contains("is not there")
            && message.contains("[inbox] path")
            && librarian["status"] == "down"
    };
    factory.wait_until("the inbox is missed", PATIENCE, || is_missed(&factory));
    fs::write(elsewhere.join("two.jpg"), photo(2)).unwrap();
    fs::rename(&elsewhere, factory.inbox()).unwrap();
    factory.wait_until_the_inbox_is_empty();
    factory.wait_until("all is well", PATIENCE, || {
        factory.status()["status"] == "well"
    });
    // It is watched again.
    factory.put("three.jpg", &photo(3));
    factory.wait_until_the_inbox_is_empty();

    // Gone at the start: it is not made anew.
    factory.stop();
    fs::rename(factory.inbox(), &elsewhere).unwrap();
    let output = factory.run(&["ingest"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("is not there"));
    factory.start();
    factory.wait_until("the inbox is missed", PATIENCE, || is_missed(&factory));
    assert!(!factory.inbox().exists());
    fs::write(elsewhere.join("four.jpg"), photo(4)).unwrap();
    fs::rename(&elsewhere, factory.inbox()).unwrap();
    factory.wait_until_the_inbox_is_empty();
    assert_eq!(factory.filed().len(), 4);
}

#[test]
fn a_name_that_was_put_aside_gets_its_name_back_while_it_runs() {
    let mut factory = Factory::new("aside-while-running");
    factory.put("one.jpg", &photo(1));
    factory.start();
    factory.wait_until_the_inbox_is_empty();
    let put_aside = |name: &str, content: &[u8]| {
        let hidden = factory.root().join("hidden");
        fs::write(&hidden, content).unwrap();
        fs::rename(hidden, factory.inbox().join(name)).unwrap();
    };
    // One that is kept nowhere else, by the process itself, and one that is kept already.
    let own = format!(".photo-factory-aside-{}-77-two.jpg", factory.pid());
    put_aside(&own, &photo(2));
    put_aside(".photo-factory-aside-1-1-one.jpg", &photo(1));
    factory.wait_until("both are put right", PATIENCE, || {
        factory.filed().len() == 2 && fs::read_dir(factory.inbox()).unwrap().count() == 0
    });
}

#[test]
fn originals_are_verified_while_a_file_keeps_growing_in_the_inbox() {
    let mut factory = Factory::new("verified-while-growing");
    factory.configure("[verify]\ndays = 0.00003\n");
    factory.put("one.jpg", &photo(1));
    assert_eq!(factory.ingest().code, 0);
    let mut growing = fs::File::create(factory.inbox().join("growing.mov")).unwrap();
    factory.start();
    factory.wait_until("a whole round is done", PATIENCE, || {
        growing.write_all(&[1]).unwrap();
        factory.status()["verified"]["last_round"]["files"] == 1
    });
}

#[test]
fn a_file_that_stays_open_or_keeps_changing_is_told_of_and_filed_when_that_ends() {
    let mut factory = Factory::new("never-at-rest");
    let settings = "[inbox]\nsettle_seconds = 0.2\nrescan_seconds = 1\n";
    fs::write(factory.root().join("photo-factory.toml"), settings).unwrap();
    factory.start();
    let path = factory.put("open.jpg", &photo(1));
    let open = OpenOptions::new().append(true).open(&path).unwrap();
    let growing = factory.put("growing.jpg", &photo(2));
    let told = |name: &str, because: &str| {
        let status = factory.status().to_string();
        status.contains(name) && status.contains(because)
    };
    factory.wait_until("both are told of", PATIENCE, || {
        let mut growing = OpenOptions::new().append(true).open(&growing).unwrap();
        growing.write_all(b"more").unwrap();
        told("open.jpg", "has it open for writing for longer than")
            && told("growing.jpg", "it has kept changing for longer than")
    });
    drop(open);
    factory.wait_until_the_inbox_is_empty();
    factory.wait_until("nothing is left to tell of", PATIENCE, || {
        !told("open.jpg", "for longer than") && !told("growing.jpg", "for longer than")
    });
    assert_eq!(factory.filed().len(), 2);
    factory.stop();
    factory.assert_ledger_and_originals_agree();
}

/// A ledger that promised a place to a photo, as a kill leaves it. Gives the place, relative to Storage.
fn promised(factory: &Factory, name: &str, content: &[u8]) -> PathBuf {
    let taken = date(2023, 4, 5).at(6, 7, 8, 0);
    let draft = Draft {
        file_hash: FileHash(Sha256::digest(content).into()),
        size: content.len() as u64,
        inbox_path: name.into(),
        kind: Kind::Jpeg,
        captured: CaptureTime {
            local: taken,
            offset_minutes: None,
            from: CapturedFrom::ExifDateTimeOriginal,
        },
        location: None,
        make: None,
        model: None,
        width: None,
        height: None,
        content_id: None,
        errors: Vec::new(),
        extension: ".jpg".into(),
        pairing: Pairing::Alone,
    };
    let shot = Shot {
        folder: day_folder(taken.date()),
        stem: "a".into(),
        members: vec![draft],
    };
    let ledger = Ledger::open(&factory.root().join("Data")).unwrap();
    let now = Timestamp::from_second(1_700_000_000).unwrap();
    ledger
        .commit(&[Change::Intend(shot)], now, &|_| true)
        .unwrap();
    ledger.intents().unwrap().remove(0).final_path
}

#[test]
fn p5_interrupted_work_that_can_not_be_looked_at_is_told_of_and_its_photo_stays() {
    let test = "interrupted work that can't be looked at";
    let mut factory = Factory::in_folder(
        &std::env::temp_dir().join(format!("photo-factory-unfinished-{}", std::process::id())),
    );
    if as_nobody(&factory, test).is_none() {
        return;
    }
    factory.configure("");
    factory.ingest();
    let path = promised(&factory, "a.jpg", &photo(1));
    factory.put("a.jpg", &photo(1));
    let original = factory.storage().join(path);
    fs::create_dir_all(original.parent().unwrap()).unwrap();
    fs::write(&original, photo(1)).unwrap();
    for path in all_files_below(factory.root()) {
        for path in path
            .ancestors()
            .take_while(|path| path.starts_with(factory.root()))
        {
            chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }
    chown(&original, Some(0), Some(0)).unwrap();
    fs::set_permissions(&original, fs::Permissions::from_mode(0o000)).unwrap();
    let start = |factory: &mut Factory| {
        let mut command = as_nobody(factory, test).unwrap();
        command.args(["run", "--listen", "127.0.0.1:0"]);
        factory.start_command(command);
    };
    start(&mut factory);
    factory.wait_until("it is told of", PATIENCE, || {
        let notices = factory.status()["notices"].to_string();
        notices.contains("The filing of 1 photos was interrupted")
    });
    factory.put("b.jpg", &photo(2));
    factory.wait_until("the others are filed", PATIENCE, || {
        factory.waiting() == [factory.inbox().join("a.jpg")]
    });
    factory.stop();
    assert_eq!(fs::read(factory.inbox().join("a.jpg")).unwrap(), photo(1));

    fs::set_permissions(&original, fs::Permissions::from_mode(0o644)).unwrap();
    start(&mut factory);
    factory.wait_until_the_inbox_is_empty();
    factory.wait_until("it is told of no more", PATIENCE, || {
        !factory.status()["notices"]
            .to_string()
            .contains("interrupted")
    });
    assert_eq!(factory.filed().len(), 2);
    factory.stop();
}

#[test]
fn commands_whose_reader_has_seen_enough_end_quietly_with_the_exit_code_they_have_anyway() {
    let factory = Factory::new("closed-stdout");
    factory.put("one.jpg", &photo(1));
    let said_to_nobody = |arguments: &[&str]| {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = factory
            .command()
            .args(arguments)
            .stdout(writer)
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!stderr.contains("panicked"), "{arguments:?}: {stderr}");
        output.status.code()
    };
    let inbox = factory.inbox();
    let photo = inbox.join("one.jpg");
    let photo = photo.to_str().unwrap();
    assert_eq!(said_to_nobody(&["inspect", photo]), Some(0));
    assert_eq!(said_to_nobody(&["ingest", "--dry-run"]), Some(0));
    assert_eq!(said_to_nobody(&["ingest"]), Some(0));
    assert_eq!(factory.filed().len(), 1);
    let heard = factory.run(&["doctor"]).status.code();
    assert_eq!(said_to_nobody(&["doctor"]), heard);
    for quiet in ["status", "export", "verify", "rebuild", "--help"] {
        assert_eq!(said_to_nobody(&[quiet]), Some(0), "{quiet}");
    }
    factory.put("letter.txt", b"no photo");
    assert_eq!(said_to_nobody(&["ingest"]), Some(2));
}

#[test]
fn a_pass_that_lacks_descriptors_leaves_nothing_that_only_the_next_start_puts_right() {
    if !installed("prlimit", "the lack of descriptors") {
        return;
    }
    // How many it needs at once depends on the machine: the most that lacks some while photos are filed.
    let lacking = (24..=60).rev().step_by(2).find_map(|limit| {
        let factory = Factory::new("few-descriptors");
        for number in 0..60 {
            factory.put(format!("IMG_{number:04}.JPG"), &photo(number));
        }
        let output = Command::new("prlimit")
            .arg(format!("--nofile={limit}:{limit}"))
            .arg(program())
            .arg("--root")
            .arg(factory.root())
            .args(["-v", "ingest"])
            .output()
            .unwrap();
        // Nothing else keeps these photos in the inbox.
        (output.status.code() == Some(2)).then_some(factory)
    });
    let factory = lacking.expect("none lacked");
    let ledger = Ledger::open_existing(&factory.root().join("Data"))
        .unwrap()
        .unwrap();
    assert_eq!(ledger.intents().unwrap(), []);
    drop(ledger);
    assert_eq!(factory.ingest().code, 0);
    assert_eq!(factory.filed().len(), 60);
    factory.assert_ledger_and_originals_agree();
}
