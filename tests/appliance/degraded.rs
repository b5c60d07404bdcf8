//! The ledger is down: photos are filed all the same, by a journal, and nothing of it is lost when the ledger is back.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use redb::{Database, TableDefinition};

use crate::factory::{
    Factory, PATIENCE, all_files_below, hash, installed, json_lines, may_mount, output_of, program,
    text, was_killed,
};
use crate::fixtures::exif::Exif;
use crate::fixtures::jpeg::Load;
use crate::fixtures::raster::{dng, landscape};

/// A factory that has filed some photos, with a copy of its ledger from then.
struct Scene {
    factory: Factory,
    /// Filed before the ledger failed.
    before: Vec<(String, Vec<u8>)>,
    /// Come while it is down: one of them under the name and day of an earlier one.
    after: Vec<(String, Vec<u8>)>,
}

impl Scene {
    fn new(name: &str) -> Self {
        let factory = Factory::new(name);
        let mut pictures = Load::new(11);
        let mut photo = |name: &str, second: usize| {
            let taken = Exif::taken(&format!("2023:04:05 06:07:{second:02}"));
            (name.to_owned(), pictures.next(&taken, 20_000))
        };
        let before: Vec<_> = (0..6)
            .map(|number| photo(&format!("IMG_{number:04}.JPG"), number))
            .collect();
        let mut after: Vec<_> = (6..12)
            .map(|number| photo(&format!("IMG_{number:04}.JPG"), number))
            .collect();
        after.push(photo("other/IMG_0003.JPG", 40));
        let scene = Self {
            factory,
            before,
            after,
        };
        scene.put(&scene.before);
        let run = scene.factory.ingest();
        assert_eq!((run.code, run.count("filed")), (0, 6), "{}", run.summary);
        fs::copy(scene.ledger(), scene.good_copy()).unwrap();
        scene
    }

    fn data(&self) -> PathBuf {
        self.factory.root().join("Data")
    }

    fn ledger(&self) -> PathBuf {
        self.data().join("ledger.redb")
    }

    fn good_copy(&self) -> PathBuf {
        self.factory.root().join("ledger.copy")
    }

    fn journal(&self) -> PathBuf {
        self.data().join("journal.jsonl")
    }

    fn put(&self, photos: &[(String, Vec<u8>)]) {
        for (name, content) in photos {
            self.factory.put(name, content);
        }
    }

    /// Puts the ledger of before in the place of what stands there.
    fn put_back(&self) {
        let fresh = self.data().join("put-back");
        fs::copy(self.good_copy(), &fresh).unwrap();
        fs::rename(fresh, self.ledger()).unwrap();
    }

    fn given(&self) -> BTreeSet<String> {
        let all = self.before.iter().chain(&self.after);
        all.map(|(_, content)| hash(content)).collect()
    }

    /// Every content given so far stands in Originals, once.
    fn assert_filed_once(&self, when: &str) {
        let filed: Vec<String> = self.factory.filed().into_values().collect();
        assert_eq!(filed.len(), self.given().len(), "{when}: {filed:?}");
        assert_eq!(
            filed.into_iter().collect::<BTreeSet<_>>(),
            self.given(),
            "{when}"
        );
    }

    /// With a ledger that can't be read: what is known now are the journal's rows, and that they are not all.
    fn assert_files_without_ledger(&self, reason: &str) {
        self.assert_files_by_journal(reason);
        let export = self.factory.run(&["export"]);
        assert_eq!(export.status.code(), Some(1));
        assert_eq!(json_lines(&export).len(), 13, "{export:?}");
    }

    /// With a ledger that is down: new photos are filed, and those that come again are no second files.
    fn assert_files_by_journal(&self, reason: &str) {
        self.put(&self.after);
        self.put(&self.before);
        let run = self.factory.ingest();
        assert_eq!(run.code, 0, "{}", run.summary);
        assert_eq!(run.count("filed"), 7, "{:?}", run.files);
        assert_eq!(run.count("duplicates"), 6, "{:?}", run.files);
        let said = text(&run.summary, "ledger");
        assert!(said.contains(reason), "{said}");
        assert_eq!(self.factory.waiting(), Vec::<PathBuf>::new());
        self.assert_filed_once("while the ledger is down");
        // A phone that sends everything once more.
        self.put(&self.after);
        self.put(&self.before);
        let again = self.factory.ingest();
        assert_eq!((again.code, again.count("duplicates")), (0, 13));
        self.assert_filed_once("when all came again");
        assert!(self.journal().exists());

        let status = self.factory.run(&["status", "--json"]);
        let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
        let message = text(&status, "message");
        assert!(message.contains("not running"), "{message}");
    }

    /// The ledger is there again: the journal goes into it, once.
    fn assert_folds_in(&self) {
        assert_eq!(self.factory.ingest().code, 0);
        assert!(!self.journal().exists(), "the journal is still there");
        self.assert_filed_once("when the ledger was back");
        self.factory.assert_ledger_and_originals_agree();
        let rows = self.factory.rows();
        let run = self.factory.ingest();
        assert_eq!(
            run.summary["ledger"],
            serde_json::Value::Null,
            "{}",
            run.summary
        );
        assert_eq!(self.factory.rows(), rows);
        assert!(!self.journal().exists());
        let ids = rows.iter().map(|row| row["id"].as_u64().unwrap());
        assert!(ids.max().unwrap() < 1000);
    }
}

#[test]
fn p1_p2_without_its_ledger_photos_are_filed_and_it_takes_them_in_when_it_is_put_back() {
    let scene = Scene::new("missing");
    fs::remove_file(scene.ledger()).unwrap();
    scene.assert_files_without_ledger("is missing");
    assert!(!scene.ledger().exists(), "a new ledger was made silently");
    scene.put_back();
    scene.assert_folds_in();
}

#[test]
fn p1_p2_with_an_empty_ledger_photos_are_filed() {
    let scene = Scene::new("empty");
    fs::write(scene.ledger(), "").unwrap();
    scene.assert_files_without_ledger("has no content");
    assert_eq!(fs::read(scene.ledger()).unwrap(), b"");
    scene.put_back();
    scene.assert_folds_in();
}

#[test]
fn p1_p2_with_another_file_in_the_place_of_the_ledger_photos_are_filed() {
    let scene = Scene::new("foreign");
    fs::write(scene.ledger(), "a letter to my daughter").unwrap();
    scene.assert_files_without_ledger("is no ledger");
    assert_eq!(
        fs::read(scene.ledger()).unwrap(),
        b"a letter to my daughter"
    );
    scene.put_back();
    scene.assert_folds_in();
}

#[test]
fn p1_p2_with_a_damaged_ledger_photos_are_filed() {
    let scene = Scene::new("damaged");
    let mut bytes = fs::read(scene.ledger()).unwrap();
    let end = bytes.len();
    for byte in &mut bytes[4096..end] {
        *byte ^= 0x5a;
    }
    fs::write(scene.ledger(), bytes).unwrap();
    scene.assert_files_without_ledger("damaged");
    scene.put_back();
    scene.assert_folds_in();
}

#[test]
fn p1_p2_with_the_ledger_of_a_later_version_photos_are_filed() {
    let scene = Scene::new("newer");
    let database = Database::open(scene.ledger()).unwrap();
    let txn = database.begin_write().unwrap();
    let about: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("about");
    let mut about = txn.open_table(about).unwrap();
    let format = 99_u64.to_be_bytes();
    about
        .insert(b"format".as_slice(), format.as_slice())
        .unwrap();
    drop(about);
    txn.commit().unwrap();
    drop(database);
    scene.assert_files_without_ledger("format 99");
    scene.put_back();
    scene.assert_folds_in();
}

#[test]
fn p1_p2_while_another_process_has_the_ledger_open_photos_are_filed() {
    let scene = Scene::new("locked");
    let database = Database::open(scene.ledger()).unwrap();
    scene.put(&scene.after);
    scene.put(&scene.before);
    let run = scene.factory.ingest();
    assert_eq!(run.code, 0, "{}", run.summary);
    assert_eq!((run.count("filed"), run.count("duplicates")), (7, 6));
    let said = text(&run.summary, "ledger");
    assert!(said.contains("has it open"), "{said}");
    scene.assert_filed_once("while it is locked");
    drop(database);
    scene.assert_folds_in();
}

#[test]
fn p1_p2_a_start_while_another_process_has_the_ledger_open_files_photos_and_takes_it_when_it_is_free()
 {
    let mut scene = Scene::new("locked-run");
    let database = Database::open(scene.ledger()).unwrap();
    scene.factory.start();
    scene.put(&scene.after);
    scene.factory.wait_until_the_inbox_is_empty();
    scene.put(&scene.before);
    scene.factory.wait_until_the_inbox_is_empty();
    scene.assert_filed_once("while it is locked");
    assert!(scene.journal().exists());
    scene.factory.wait_until("the page says so", PATIENCE, || {
        let status = scene.factory.status();
        text(&status, "message").contains("has it open")
    });
    drop(database);
    let journal = scene.journal();
    scene.factory.wait_until("it is folded in", PATIENCE, || {
        !journal.exists() && scene.factory.status()["status"] == "well"
    });
    let (status, _) = scene.factory.stop();
    assert!(status.success(), "{status}");
    scene.assert_folds_in();
}

#[test]
fn p1_with_data_on_a_disk_that_is_mounted_read_only_nothing_is_taken_and_it_says_why() {
    let name = "Data on a read-only mount";
    if !may_mount(name) {
        return;
    }
    let mut scene = Scene::new("read-only-data");
    let mount = |arguments: &[&str]| {
        let mut command = Command::new("mount");
        let output = output_of(command.args(arguments).arg(scene.data()));
        assert!(output.status.success(), "{output:?}");
    };
    let data = scene.data();
    mount(&["--bind", data.to_str().unwrap()]);
    let unmount = || output_of(Command::new("umount").arg("--lazy").arg(&data));
    let refused = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        mount(&["-o", "remount,bind,ro"]);
        scene.put(&scene.after);
        let before = scene.factory.filed();
        for command in [&["ingest"][..], &["run", "--listen", "127.0.0.1:0"]] {
            let output = scene.factory.run(command);
            assert_eq!(output.status.code(), Some(1), "{output:?}");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(said.contains("mounted read-only"), "{said}");
            assert_eq!(scene.factory.waiting().len(), scene.after.len());
            assert_eq!(scene.factory.filed(), before);
        }
    }));
    assert!(unmount().status.success());
    refused.unwrap();
    // Mounted for writing again, it goes on.
    scene.factory.start();
    scene.factory.wait_until_the_inbox_is_empty();
    scene.assert_filed_once("when it can be written");
    scene.factory.stop();
    scene.factory.assert_ledger_and_originals_agree();
}

#[test]
fn p1_p2_with_a_ledger_that_cannot_be_written_photos_are_filed() {
    let name = "photos are filed with a read-only ledger";
    let scene = Scene::new("read-only");
    let set = |flag: &str| {
        let done = Command::new("chattr")
            .arg(flag)
            .arg(scene.ledger())
            .output();
        done.is_ok_and(|done| done.status.success())
    };
    if !installed("chattr", name) || !set("+i") {
        println!("skipped: {name} needs root and a file system that knows immutable files");
        return;
    }
    let filed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        scene.assert_files_by_journal("Operation not permitted");
        // It can be read all the same.
        let export = scene.factory.run(&["export"]);
        assert_eq!(export.status.code(), Some(0));
        assert_eq!(json_lines(&export).len(), 6, "{export:?}");
        let said = String::from_utf8_lossy(&export.stderr);
        assert!(said.contains("this is not all"), "{said}");
    }));
    assert!(set("-i"));
    filed.unwrap();
    scene.assert_folds_in();
}

#[test]
fn p1_a_commit_that_fails_in_the_middle_costs_no_photo_and_no_row() {
    let name = "a commit that fails in the middle";
    if !installed("strace", name) {
        return;
    }
    let mut fired = 0;
    for when in ["3", "4", "5", "6", "3+", "5+"] {
        let scene = Scene::new("commit-fails");
        scene.put(&scene.after);
        scene.put(&scene.before);
        let trace = scene.factory.root().join("strace.txt");
        let output = ingest_under_strace(
            &scene.factory,
            &trace,
            &[
                "-P".as_ref(),
                scene.ledger().as_os_str(),
                "-e".as_ref(),
                "trace=fsync,fdatasync".as_ref(),
                "-e".as_ref(),
                format!("inject=fsync,fdatasync:error=EIO:when={when}").as_ref(),
            ],
        );
        assert_eq!(output.status.code(), Some(0), "{when}: {output:?}");
        if fs::read_to_string(&trace).unwrap().contains("INJECTED") {
            fired += 1;
        }
        assert_eq!(scene.factory.waiting(), Vec::<PathBuf>::new(), "{when}");
        scene.assert_filed_once(when);
        scene.assert_folds_in();
    }
    assert!(fired >= 3, "only {fired} commits failed");
}

#[test]
fn p1_p5_a_kill_while_the_ledger_is_down_loses_nothing_and_all_is_folded_in_later() {
    if !installed("strace", "a kill while the ledger is down") {
        return;
    }
    let (mut fired, mut fired_again) = (0, 0);
    for call in [
        "linkat",
        "fsync",
        "unlinkat",
        "pwrite64",
        "openat",
        "ftruncate",
    ] {
        for when in [1, 2, 3, 5, 9, 17] {
            let scene = Scene::new("killed-degraded");
            fs::remove_file(scene.ledger()).unwrap();
            scene.put(&scene.after);
            scene.put(&scene.before);
            let trace = scene.factory.root().join("strace.txt");
            let inject = format!("inject={call}:signal=SIGKILL:when={when}");
            let select = format!("trace={call}");
            let arguments = ["-e", &select, "-e", &inject].map(AsRef::as_ref);
            let output = ingest_under_strace(&scene.factory, &trace, &arguments);
            let instant = format!("when killed at {call} number {when}");
            scene.assert_nothing_is_lost(&instant);
            if !killed_or_done(&output, &trace) {
                break;
            }
            fired += 1;
            // Killed again on its way back, at the first durable step, where there is one left to do.
            let arguments = [
                "-e",
                "trace=fsync",
                "-e",
                "inject=fsync:signal=SIGKILL:when=1",
            ];
            let output = ingest_under_strace(&scene.factory, &trace, &arguments.map(AsRef::as_ref));
            fired_again += u32::from(killed_or_done(&output, &trace));
            scene.assert_nothing_is_lost(&instant);
            // Still without a ledger.
            let run = scene.factory.ingest();
            assert_eq!(run.code, 0, "{instant}: {}", run.summary);
            assert_eq!(scene.factory.waiting(), Vec::<PathBuf>::new(), "{instant}");
            scene.assert_filed_once(&instant);
            scene.put_back();
            scene.assert_folds_in();
        }
    }
    println!("{fired} kills, {fired_again} of them twice");
    assert!(fired >= 12, "only {fired} kills came");
    assert!(fired_again * 2 > fired, "only {fired_again} second kills");
}

#[test]
fn p5_a_kill_while_the_journal_is_folded_in_changes_nothing_of_what_comes_of_it() {
    if !installed("strace", "a kill while the journal is folded in") {
        return;
    }
    let mut fired = 0;
    for call in ["fdatasync", "fsync", "pwrite64", "unlink"] {
        for when in [1, 2, 3, 4] {
            let scene = Scene::new("killed-folding");
            fs::remove_file(scene.ledger()).unwrap();
            scene.put(&scene.after);
            assert_eq!(scene.factory.ingest().code, 0);
            scene.put_back();
            let trace = scene.factory.root().join("strace.txt");
            let inject = format!("inject={call}:signal=SIGKILL:when={when}");
            let select = format!("trace={call}");
            let arguments = ["-e", &select, "-e", &inject].map(AsRef::as_ref);
            let output = ingest_under_strace(&scene.factory, &trace, &arguments);
            if !killed_or_done(&output, &trace) {
                break;
            }
            fired += 1;
            scene.assert_folds_in();
        }
    }
    assert!(fired >= 6, "only {fired} kills came");
}

#[test]
fn a_running_factory_goes_on_without_its_ledger_says_so_and_takes_it_back_by_itself() {
    let mut scene = Scene::new("running");
    scene.factory.start();
    let aside = scene.factory.root().join("aside.redb");
    fs::rename(scene.ledger(), &aside).unwrap();
    scene.put(&scene.after);
    scene.factory.wait_until_the_inbox_is_empty();
    scene.put(&scene.before);
    scene.factory.wait_until_the_inbox_is_empty();
    scene.assert_filed_once("while it runs");
    let service = |status: &serde_json::Value, name: &str| {
        let services = status["services"].as_array().unwrap().clone();
        let found = services.into_iter().find(|row| row["service_name"] == name);
        text(&found.unwrap(), "status").to_owned()
    };
    scene.factory.wait_until("the page says so", PATIENCE, || {
        let status = scene.factory.status();
        service(&status, "librarian") == "degraded" && service(&status, "factory-db") == "down"
    });
    let status = scene.factory.status();
    let message = text(&status, "message");
    assert!(message.contains("is missing"), "{message}");
    assert!(message.contains("noted in the journal"), "{message}");
    assert_eq!(status["status"], "trouble");
    assert!(!status["newest"].as_array().unwrap().is_empty());

    // Killed and started again, it still knows.
    scene.factory.kill();
    scene.factory.start();
    scene.assert_filed_once("after a kill");
    fs::rename(&aside, scene.ledger()).unwrap();
    let journal = scene.journal();
    scene.factory.wait_until("it is folded in", PATIENCE, || {
        !journal.exists() && scene.factory.status()["status"] == "well"
    });
    scene.factory.assert_ledger_and_originals_agree();
    scene.put(&scene.after);
    scene.factory.wait_until_the_inbox_is_empty();
    scene.assert_filed_once("at the end");
    let (status, _) = scene.factory.stop();
    assert!(status.success());
    scene.assert_folds_in();
}

#[test]
fn where_neither_ledger_nor_journal_can_be_written_nothing_is_taken() {
    let scene = Scene::new("no-journal");
    fs::remove_file(scene.ledger()).unwrap();
    fs::create_dir(scene.journal()).unwrap();
    scene.put(&scene.after);
    let output = scene.factory.run(&["ingest"]);
    assert_ne!(output.status.code(), Some(0), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("journal"), "{output:?}");
    assert_eq!(scene.factory.waiting().len(), scene.after.len());
    fs::remove_dir(scene.journal()).unwrap();
    scene.put_back();
    scene.assert_folds_in();
}

#[test]
fn halves_and_sidecars_that_come_while_the_ledger_is_down_are_paired_in_it_later() {
    let scene = Scene::new("pairs");
    fs::remove_file(scene.ledger()).unwrap();
    let mut pictures = Load::new(23);
    let still = pictures.next(&Exif::taken("2023:07:08 09:10:11"), 20_000);
    let raw_like = dng(&landscape(9, 64, 48), &Exif::taken("2023:07:08 09:10:11"));
    scene.factory.put("pair/IMG_1.JPG", &still);
    scene.factory.put("pair/IMG_1.DNG", &raw_like);
    scene.factory.put(
        "pair/IMG_1.xmp",
        br#"<x:xmpmeta xmlns:x="adobe:ns:meta/"></x:xmpmeta>"#,
    );
    let run = scene.factory.ingest();
    assert_eq!((run.code, run.count("filed")), (0, 3), "{:?}", run.files);
    scene.put_back();
    assert_eq!(scene.factory.ingest().code, 0);
    scene.factory.assert_ledger_and_originals_agree();
    let rows = scene.factory.rows();
    let row = |name: &str| {
        let found = rows.iter().find(|row| row["original_name"] == name);
        found.unwrap_or_else(|| panic!("no row of {name}"))
    };
    let (still, raw, sidecar) = (row("IMG_1.JPG"), row("IMG_1.DNG"), row("IMG_1.xmp"));
    assert_eq!(raw["paired_with"], still["id"]);
    assert_eq!(sidecar["paired_with"], still["id"]);
    assert_eq!(still["paired_with"], raw["id"]);
}

#[test]
fn a_new_ledger_beside_originals_that_it_does_not_know_says_so() {
    let mut scene = Scene::new("unknown-originals");
    for entry in fs::read_dir(scene.data()).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    scene.factory.start();
    scene
        .factory
        .wait_until("the page says what to type", PATIENCE, || {
            let notices = scene.factory.status()["notices"].to_string();
            notices.contains("photo-factory rebuild")
        });
}

impl Scene {
    /// Every content given is in the inbox or in Originals, whole.
    fn assert_nothing_is_lost(&self, when: &str) {
        let mut found: BTreeSet<String> = self.factory.filed().into_values().collect();
        for path in all_files_below(&self.factory.inbox()) {
            found.insert(hash(&fs::read(path).unwrap()));
        }
        let lost: Vec<_> = self.given().difference(&found).cloned().collect();
        assert!(lost.is_empty(), "lost {when}: {lost:?}");
    }
}

/// Whether the program was killed; if not it must have come to its end by itself.
fn killed_or_done(output: &Output, trace: &Path) -> bool {
    let traced = fs::read_to_string(trace).unwrap();
    // The worker for metadata, which is traced as well, ends by that signal too.
    let is_right = if was_killed(output) {
        traced.contains("SIGKILL")
    } else {
        output.status.success()
    };
    assert!(is_right, "{output:?}: {traced}");
    was_killed(output)
}

fn ingest_under_strace(factory: &Factory, trace: &Path, arguments: &[&std::ffi::OsStr]) -> Output {
    let mut command = Command::new("strace");
    command
        .args(["-f", "-qq", "-o"])
        .arg(trace)
        .args(arguments)
        .arg(program())
        .arg("--root")
        .arg(factory.root())
        .args(["ingest", "--json"])
        .env("TZ", "UTC");
    output_of(&mut command)
}
