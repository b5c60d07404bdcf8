//! `verify`: what is missing, changed, unreadable or unknown is named, and a backup puts right what can be put right.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::clock;
use crate::factory::{
    Factory, NOBODY, PATIENCE, as_nobody, files_below, hash_of, installed, json_lines, may_mount,
    output_of, program, text, wait_until, was_killed,
};
use crate::fixtures::exif::Exif;
use crate::fixtures::jpeg;
use crate::storage::Mounted;

/// What `verify --json` said.
struct Verified {
    code: i32,
    /// What was found, by path.
    findings: BTreeMap<String, Value>,
    summary: Value,
}

impl Verified {
    fn count(&self, field: &str) -> u64 {
        self.summary[field]
            .as_u64()
            .unwrap_or_else(|| panic!("no {field} in {}", self.summary))
    }

    /// Paths and what is the matter with them.
    fn found(&self) -> Vec<(&str, &str)> {
        let found = self.findings.iter();
        found
            .map(|(path, line)| (path.as_str(), text(line, "finding")))
            .collect()
    }
}

fn verify(factory: &Factory, arguments: &[&str]) -> Verified {
    let output = factory.run(&[&["verify", "--json"], arguments].concat());
    let mut lines = json_lines(&output);
    let summary = lines
        .pop()
        .map_or(Value::Null, |last| last["summary"].clone());
    assert!(
        summary.is_object(),
        "no summary from verify ({}): {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    let by_path = |line: Value| (text(&line, "path").to_owned(), line);
    Verified {
        code: output.status.code().unwrap(),
        findings: lines.into_iter().map(by_path).collect(),
        summary,
    }
}

/// Five photos of five days, filed: their final paths.
fn filed(factory: &Factory) -> Vec<PathBuf> {
    for day in 1..=5 {
        let taken = Exif::taken(&format!("2024:01:0{day} 10:00:00"));
        factory.put(format!("IMG_{day}.JPG"), &jpeg::photo(day, &taken));
    }
    assert_eq!(factory.ingest().count("filed"), 5);
    factory.filed().into_keys().collect()
}

/// A copy of a folder, with everything in it.
fn copy_of(folder: &Path, to: &Path) {
    for path in files_below(folder) {
        let copy = to.join(path.strip_prefix(folder).unwrap());
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::copy(path, copy).unwrap();
    }
}

fn make_writable(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
}

/// Changes one bit, and keeps size and time.
fn flip_a_bit(path: &Path) {
    let about = fs::metadata(path).unwrap();
    make_writable(path);
    let file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, about.len() / 2).unwrap();
    file.write_all_at(&[byte[0] ^ 4], about.len() / 2).unwrap();
    file.set_modified(about.modified().unwrap()).unwrap();
}

/// Spoils the five: the first is missing, of the second a bit is changed, the third is cut; and two files come besides.
fn spoil(factory: &Factory, paths: &[PathBuf]) -> [(String, &'static str); 5] {
    let at = |index: usize| factory.storage().join(&paths[index]);
    fs::remove_file(at(0)).unwrap();
    flip_a_bit(&at(1));
    make_writable(&at(2));
    fs::OpenOptions::new()
        .write(true)
        .open(at(2))
        .unwrap()
        .set_len(100)
        .unwrap();
    let stranger = paths[3].with_file_name("stranger.jpg");
    fs::write(factory.storage().join(&stranger), b"?").unwrap();
    let temporary = paths[3].with_file_name(".photo-factory-7-0.part");
    fs::write(factory.storage().join(&temporary), b"half").unwrap();
    let name = |path: &Path| path.to_str().unwrap().to_owned();
    [
        (name(&paths[0]), "missing"),
        (name(&paths[1]), "changed"),
        (name(&paths[2]), "changed"),
        (name(&temporary), "temporary"),
        (name(&stranger), "unknown"),
    ]
}

fn as_pairs<'a>(expected: &'a [(String, &'static str)]) -> Vec<(&'a str, &'static str)> {
    expected
        .iter()
        .map(|(path, what)| (path.as_str(), *what))
        .collect()
}

#[test]
fn what_is_missing_changed_or_unknown_is_named_and_nothing_is_touched() {
    let factory = Factory::new("verify");
    let paths = filed(&factory);
    let sound = verify(&factory, &[]);
    assert_eq!((sound.code, sound.count("ok")), (0, 5), "{}", sound.summary);
    assert!(sound.findings.is_empty());

    let expected = spoil(&factory, &paths);
    let before = factory.filed();
    let found = verify(&factory, &[]);
    assert_eq!(found.found(), as_pairs(&expected));
    assert_eq!(
        (found.code, found.count("checked"), found.count("ok")),
        (2, 5, 2)
    );
    let cut = &found.findings[&expected[2].0];
    assert!(
        text(cut, "reason").starts_with("it has 100 bytes and had "),
        "{cut}"
    );
    assert_eq!(factory.filed(), before);

    // For people: each file, what is the matter, what to do.
    let said = factory.run(&["verify"]);
    let said = String::from_utf8(said.stdout).unwrap();
    assert_eq!(said.lines().count(), 6, "{said}");
    for (path, _) in &expected {
        let line = said.lines().find(|line| line.starts_with(path.as_str()));
        assert!(
            line.is_some_and(|line| line.len() > path.len() + 40),
            "{path}: {said}"
        );
    }
    assert!(said.contains("2 of 5 originals are sound"), "{said}");
}

#[test]
fn beside_a_running_appliance_the_same_is_found_and_what_is_being_filed_is_not_unknown() {
    let mut factory = Factory::new("verify-beside");
    let paths = filed(&factory);
    let expected = spoil(&factory, &paths);
    factory.start();
    assert_eq!(verify(&factory, &[]).found(), as_pairs(&expected));

    // While it files, nothing of what it files is called a stranger.
    let mut pictures = jpeg::Load::new(3);
    let mut given = 0;
    let standing = || files_below(&factory.originals()).len();
    let mut while_filing = 0;
    factory.wait_until("it has filed during verifications", PATIENCE, || {
        if factory.waiting().len() < 20 {
            for _ in 0..50 {
                let taken = Exif::taken(&format!(
                    "2023:06:01 12:{:02}:{:02}",
                    given / 60 % 60,
                    given % 60
                ));
                factory.put(format!("new/N_{given}.JPG"), &pictures.next(&taken, 20_000));
                given += 1;
            }
        }
        let before = standing();
        assert_eq!(verify(&factory, &[]).found(), as_pairs(&expected));
        while_filing += u32::from(standing() > before);
        while_filing > 2
    });
    factory.wait_until_the_inbox_is_empty();
    let last = verify(&factory, &[]);
    assert_eq!(last.count("checked"), 5 + given, "{}", last.summary);
}

#[test]
fn names_of_any_bytes_are_found() {
    use std::os::unix::ffi::OsStrExt;
    let mut factory = Factory::new("verify-names");
    let name = std::ffi::OsStr::from_bytes(b"a\xFF %41\n?&.JPG");
    let taken = Exif::taken("2024:01:01 10:00:00");
    factory.put(name, &jpeg::photo(1, &taken));
    assert_eq!(factory.ingest().count("filed"), 1);
    assert_eq!(verify(&factory, &[]).code, 0);
    factory.start();
    assert_eq!(verify(&factory, &[]).code, 0);
}

#[test]
fn since_takes_only_what_was_filed_from_that_day_on() {
    let factory = Factory::new("verify-since");
    filed(&factory);
    // Taken in January 2024, filed now: midnight may come in between.
    let rows = factory.rows();
    let days = rows.iter().map(|row| {
        let (day, _) = text(row, "ingested_at").split_once('T').unwrap();
        day.parse::<jiff::civil::Date>().unwrap()
    });
    let (first, last) = (days.clone().min().unwrap(), days.max().unwrap());
    let checked = |since: &str| {
        let verified = verify(&factory, &["--since", since]);
        assert_eq!(verified.code, 0);
        verified.count("checked")
    };
    assert_eq!(checked("2024-01-03"), 5, "the day of the picture counts");
    assert_eq!(checked(&first.to_string()), 5);
    // The day after the last, which has come by another clock.
    if let Some(library) = clock::library("a day on which nothing was filed") {
        let mut later = factory.command();
        later
            .args(["verify", "--json", "--since"])
            .arg(last.tomorrow().unwrap().to_string())
            .env("LD_PRELOAD", library)
            .env("FAKETIME", "+3d")
            .env("NO_FAKE_STAT", "1");
        let output = output_of(&mut later);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert_eq!(json_lines(&output)[0]["summary"]["checked"], 0);
    }
}

#[test]
fn a_storage_that_is_not_there_has_lost_nothing() {
    let factory = Factory::new("verify-away");
    filed(&factory);
    let away = factory.root().join("unplugged");
    fs::rename(factory.storage(), &away).unwrap();
    for empty_mount_point in [false, true] {
        if empty_mount_point {
            fs::create_dir(factory.storage()).unwrap();
        }
        let output = factory.run(&["verify", "--json"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty(), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("mounted"), "{said}");
        assert_eq!(
            files_below(&factory.storage()).len(),
            0,
            "nothing may be made there"
        );
    }
}

#[test]
fn a_ledger_that_is_down_is_nothing_to_compare_with() {
    let mut factory = Factory::new("verify-down");
    filed(&factory);
    let ledger = factory.root().join("Data/ledger.redb");
    fs::write(&ledger, b"a shopping list, for the most part").unwrap();
    for running in [false, true] {
        if running {
            factory.start();
        }
        let output = factory.run(&["verify", "--json"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty(), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("the ledger cannot be read now"), "{said}");
    }
}

#[test]
fn an_original_that_the_disk_does_not_give_out_is_unreadable_and_the_others_are_read() {
    if !installed("strace", "the unreadable original") {
        return;
    }
    let factory = Factory::new("verify-unreadable");
    let paths = filed(&factory);
    let trace = factory.root().join("strace.txt");
    let bad = factory.storage().join(&paths[2]);
    let mut command = Command::new("strace");
    command
        .args(["-f", "-qq", "-o"])
        .arg(&trace)
        .args(["-e", "trace=pread64", "-e", "inject=pread64:error=EIO"])
        .arg("-P")
        .arg(bad.canonicalize().unwrap())
        .arg(program())
        .arg("--root")
        .arg(factory.root())
        .args(["verify", "--json"]);
    let output = output_of(&mut command);
    assert!(
        fs::read_to_string(&trace).unwrap().contains("INJECTED"),
        "the fault did not fire"
    );
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let lines = json_lines(&output);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(text(&lines[0], "finding"), "unreadable");
    assert_eq!(text(&lines[0], "path"), paths[2].to_str().unwrap());
    assert_eq!(lines[1]["summary"]["ok"], 4);
}

#[test]
fn a_folder_that_may_not_be_read_is_a_finding_and_all_else_is_verified_and_rebuilt() {
    let root = std::env::temp_dir().join(format!("photo-factory-closed-{}", std::process::id()));
    let mut factory = Factory::in_folder(&root);
    fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
    let paths = filed(&factory);
    let folder = paths[0].parent().unwrap().to_owned();
    let closed = factory.storage().join(&folder);
    let Some(mut command) = as_nobody(&factory, "the folder that may not be read") else {
        return;
    };
    factory.configure("[verify]\ndays = 0.00003\n");
    let given = Command::new("chown")
        .arg("-R")
        .arg(NOBODY.to_string())
        .arg(&root)
        .status();
    assert!(given.unwrap().success());
    chown(&closed, Some(0), None).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    let inside = paths
        .iter()
        .filter(|path| path.starts_with(&folder))
        .count();
    let name = folder.to_str().unwrap();

    let said = command.args(["verify", "--json"]).output().unwrap();
    assert_eq!(said.status.code(), Some(2), "{said:?}");
    let lines = json_lines(&said);
    let is_it = |line: &&Value| line["path"] == name && line["finding"] == "unreadable";
    assert_eq!(lines.iter().filter(is_it).count(), 1, "{lines:?}");
    let summary = &lines.last().unwrap()["summary"];
    assert_eq!(summary["ok"], paths.len() - inside, "{summary}");

    let mut command = as_nobody(&factory, "").unwrap();
    let said = command.args(["rebuild", "--json"]).output().unwrap();
    assert_eq!(said.status.code(), Some(2), "{said:?}");
    let lines = json_lines(&said);
    assert!(lines.iter().any(|line| line["path"] == name), "{lines:?}");

    let mut command = as_nobody(&factory, "").unwrap();
    command.args(["run", "--listen", "127.0.0.1:0"]);
    factory.start_command(command);
    factory.wait_until("a round is done", PATIENCE, || {
        let verified = &factory.status()["verified"];
        verified["last_round"].is_object() && verified.to_string().contains(name)
    });
    chown(&closed, Some(NOBODY), None).unwrap();
    factory.wait_until("nothing is left to say", PATIENCE, || {
        let verified = &factory.status()["verified"];
        verified["findings"].as_array().unwrap().is_empty()
    });
    factory.stop();
}

#[test]
fn p3_a_repair_puts_the_good_copy_back_and_keeps_what_stood_in_its_place() {
    for backup_of in ["Storage", "Storage/Originals"] {
        let factory = Factory::new("repair");
        let paths = filed(&factory);
        let good = factory.filed();
        let backup = factory.root().join("backup");
        copy_of(&factory.root().join(backup_of), &backup);
        let backed_up = files_below(&backup);
        let expected = spoil(&factory, &paths);
        let spoilt: Vec<_> = [1, 2]
            .map(|at| hash_of(&factory.storage().join(&paths[at])))
            .into();

        let repaired = verify(&factory, &["--repair", "--from", backup.to_str().unwrap()]);
        assert_eq!(repaired.count("repaired"), 3, "{:?}", repaired.findings);
        assert_eq!(
            (repaired.count("missing"), repaired.count("changed")),
            (0, 0)
        );
        let mut now = factory.filed();
        assert!(
            now.remove(Path::new(&expected[4].0)).is_some(),
            "the stranger stays"
        );
        assert_eq!(now, good);
        let damaged = files_below(&factory.storage().join("Damaged"));
        assert_eq!(
            damaged.iter().map(|path| hash_of(path)).collect::<Vec<_>>(),
            spoilt
        );
        let aside = text(&repaired.findings[&expected[1].0], "set_aside").to_owned();
        assert_eq!(factory.storage().join(aside), damaged[0]);
        assert_eq!(files_below(&backup), backed_up, "the backup is only read");
        for path in &paths {
            let mode = fs::metadata(factory.storage().join(path))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o222, 0, "{path:?} is read-only like every original");
        }

        let again = verify(&factory, &["--repair", "--from", backup.to_str().unwrap()]);
        assert_eq!(again.found(), as_pairs(&expected[3..]));
        assert_eq!(again.count("ok"), 5);
        // Spoilt once more, the second damaged file gets a name of its own.
        flip_a_bit(&factory.storage().join(&paths[1]));
        let thrice = verify(&factory, &["--repair", "--from", backup.to_str().unwrap()]);
        assert_eq!(thrice.count("repaired"), 1);
        assert_eq!(files_below(&factory.storage().join("Damaged")).len(), 3);
    }
}

#[test]
fn p3_a_disk_without_links_or_without_exchange_is_repaired_as_safely() {
    if !installed("strace", "the repair on simpler disks") {
        return;
    }
    // vfat knows no links; NFS knows links, and no rename but the plain one.
    for (call, error) in [("linkat", "EPERM"), ("renameat2", "EINVAL")] {
        let factory = Factory::new("repair-simple-disk");
        let paths = filed(&factory);
        let good = factory.filed();
        let backup = factory.root().join("backup");
        copy_of(&factory.storage(), &backup);
        fs::remove_file(factory.storage().join(&paths[0])).unwrap();
        let changed = factory.storage().join(&paths[1]);
        flip_a_bit(&changed);
        let spoilt = hash_of(&changed);
        let trace = factory.root().join("strace.txt");
        let mut command = Command::new("strace");
        command
            .args(["-f", "-qq", "-o"])
            .arg(&trace)
            .args(["-e", &format!("trace={call}")])
            .args(["-e", &format!("inject={call}:error={error}")])
            .arg(program())
            .arg("--root")
            .arg(factory.root())
            .args(["verify", "--json", "--repair", "--from"])
            .arg(&backup);
        let output = output_of(&mut command);
        let traced = fs::read_to_string(&trace).unwrap();
        assert!(traced.contains("INJECTED"), "the fault did not fire");
        assert_eq!(output.status.code(), Some(0), "{call}: {output:?}");
        assert_eq!(factory.filed(), good, "{call}");
        let kept = files_below(&factory.storage().join("Damaged"));
        assert_eq!(kept.len(), 1, "{call}: {kept:?}");
        assert_eq!(hash_of(&kept[0]), spoilt, "{call}");
        assert_eq!(verify(&factory, &[]).code, 0, "{call}");
    }
}

#[test]
fn a_copy_with_other_bytes_repairs_nothing() {
    let factory = Factory::new("repair-wrong");
    let paths = filed(&factory);
    let backup = factory.root().join("backup");
    copy_of(&factory.storage(), &backup);
    for path in files_below(&backup) {
        flip_a_bit(&path);
    }
    let expected = spoil(&factory, &paths);
    let before = factory.filed();
    let refused = verify(&factory, &["--repair", "--from", backup.to_str().unwrap()]);
    assert_eq!((refused.code, refused.count("repaired")), (2, 0));
    assert_eq!(refused.found(), as_pairs(&expected));
    assert_eq!(factory.filed(), before);
    assert!(!factory.storage().join("Damaged").exists());
    let why = text(&refused.findings[&expected[0].0], "not_repaired");
    assert!(why.contains("other bytes"), "{why}");
    let itself = factory.run(&[
        "verify",
        "--repair",
        "--from",
        factory.storage().to_str().unwrap(),
    ]);
    assert_eq!(itself.status.code(), Some(1));
}

#[test]
fn p3_a_repair_killed_at_any_call_loses_neither_copy_and_the_next_one_finishes() {
    if !installed("strace", "the repair that is killed") {
        return;
    }
    let factory = Factory::new("repair-killed");
    let paths = filed(&factory);
    let good = factory.filed();
    let backup = factory.root().join("backup");
    copy_of(&factory.storage(), &backup);
    let repair = ["--repair", "--from", backup.to_str().unwrap()];
    let changed = factory.storage().join(&paths[1]);
    let damaged = factory.storage().join("Damaged");
    let mut fired = 0;
    for call in [
        "fsync",
        "mkdirat",
        "linkat",
        "renameat2",
        "unlinkat",
        "fchmod",
        "utimensat",
        "pwrite64",
    ] {
        for when in 1..40 {
            drop(fs::remove_dir_all(&damaged));
            fs::remove_file(factory.storage().join(&paths[0])).unwrap();
            flip_a_bit(&changed);
            let spoilt = hash_of(&changed);
            let trace = factory.root().join("strace.txt");
            let mut command = Command::new("strace");
            command
                .args(["-f", "-qq", "-o"])
                .arg(&trace)
                .args(["-e", &format!("trace={call}")])
                .args(["-e", &format!("inject={call}:signal=SIGKILL:when={when}")])
                .arg(program())
                .arg("--root")
                .arg(factory.root())
                .args(["verify", "--json", "--repair", "--from"])
                .arg(&backup);
            let output = output_of(&mut command);
            let killed = was_killed(&output);
            let instant = format!("when killed at {call} number {when}");
            let at_name = hash_of(&changed);
            assert!(
                at_name == spoilt || at_name == good[&paths[1]],
                "{instant}: neither stands"
            );
            let everything = files_below(&factory.storage());
            assert!(
                everything.iter().any(|path| hash_of(path) == spoilt),
                "{instant}: what stood there is lost"
            );
            verify(&factory, &repair);
            assert_eq!(factory.filed(), good, "{instant}");
            let kept = files_below(&damaged);
            assert!(
                kept.iter().any(|path| hash_of(path) == spoilt),
                "{instant}: {kept:?}"
            );
            let last = verify(&factory, &[]);
            assert_eq!(last.code, 0, "{instant}: {:?}", last.findings);
            if !killed {
                break;
            }
            assert!(
                fs::read_to_string(&trace).unwrap().contains("SIGKILL"),
                "{instant}"
            );
            fired += 1;
        }
    }
    println!("{fired} kills");
    assert!(
        fired >= 15,
        "only {fired} kills came: this test has lost its grip on the program"
    );
}

#[test]
fn the_appliance_verifies_by_itself_and_shows_what_it_found_until_it_is_put_right() {
    let mut factory = Factory::new("verify-background");
    let paths = filed(&factory);
    let backup = factory.root().join("backup");
    copy_of(&factory.storage(), &backup);
    let expected = spoil(&factory, &paths);
    let changed = factory.storage().join(&paths[1]);
    // A round in a few seconds.
    factory.configure("[verify]\ndays = 0.00003\n");
    factory.start();
    let found = |factory: &Factory| -> Vec<(String, String)> {
        let status = factory.status();
        let findings = status["verified"]["findings"].as_array().unwrap().clone();
        let mut found: Vec<_> = findings
            .iter()
            .map(|line| {
                (
                    text(line, "path").to_owned(),
                    text(line, "finding").to_owned(),
                )
            })
            .collect();
        found.sort();
        found
    };
    let wanted: Vec<(String, String)> = expected
        .iter()
        .map(|(path, what)| (path.clone(), (*what).to_owned()))
        .collect();
    factory.wait_until("all is found", PATIENCE, || found(&factory) == wanted);
    factory.wait_until("a round is done", PATIENCE, || {
        factory.status()["verified"]["last_round"].is_object()
    });
    let status = factory.status();
    let notices = status["notices"].to_string();
    assert!(notices.contains("5 files in Originals"), "{notices}");
    let (_, page) = crate::factory::http(factory.address(), "GET", "/", &[]);
    assert!(
        page.contains("Verified") && page.contains("stranger.jpg"),
        "{page}"
    );
    let said = String::from_utf8(factory.run(&["status"]).stdout).unwrap();
    assert!(said.contains("Verified"), "{said}");

    // Found again after a stop, before any new round.
    let (ended, _) = factory.stop();
    assert!(ended.success());
    let said = String::from_utf8(factory.run(&["status"]).stdout).unwrap();
    assert!(said.contains("stranger.jpg"), "{said}");
    factory.configure("[verify]\ndays = 30\n");
    factory.start();
    assert_eq!(found(&factory), wanted);
    factory.stop();

    // Put right, it is seen without waiting for the next round to come by.
    factory.configure("[verify]\ndays = 0.00003\n");
    factory.start();
    let repaired = verify(&factory, &["--repair", "--from", backup.to_str().unwrap()]);
    assert_eq!(repaired.count("repaired"), 3);
    assert!(hash_of(&changed) == hash_of(&backup.join(&paths[1])));
    factory.wait_until("the repair is seen", PATIENCE, || {
        found(&factory) == wanted[3..]
    });
    for (path, _) in &expected[3..] {
        fs::remove_file(factory.storage().join(path)).unwrap();
    }
    factory.wait_until("nothing is left to say", PATIENCE, || {
        found(&factory).is_empty()
    });
    factory.wait_until("the notice goes", PATIENCE, || {
        factory.status()["notices"].as_array().unwrap().is_empty()
    });
}

#[test]
fn a_limit_is_kept_however_fast_the_disk_is() {
    let factory = Factory::new("verify-limit");
    let paths = filed(&factory);
    let bytes: u64 = paths
        .iter()
        .map(|path| fs::metadata(factory.storage().join(path)).unwrap().len())
        .sum();
    // At this rate it takes three seconds, less the shortest wait that is made.
    #[expect(clippy::cast_precision_loss, reason = "five small photos")]
    let limit = bytes as f64 / 3e6;
    let begun = Instant::now();
    let limited = verify(&factory, &["--limit", &limit.to_string()]);
    let took = begun.elapsed();
    assert_eq!((limited.code, limited.count("ok")), (0, 5));
    assert!(took > Duration::from_millis(2_900), "{took:?}");
    let nothing = factory.run(&["verify", "--limit", "0"]);
    assert_eq!(nothing.status.code(), Some(1));
}

#[test]
fn the_verification_of_the_appliance_waits_while_a_file_is_being_filed_and_for_no_file_that_only_waits()
 {
    if !installed(
        "strace",
        "the verification beside a file that is being filed",
    ) {
        return;
    }
    let mut factory = Factory::new("verify-waits");
    filed(&factory);
    // A round in a second or two.
    factory.configure("[verify]\ndays = 0.00001\n");
    factory.start();
    let last_round = || factory.status()["verified"]["last_round"].clone();
    let watch = |rounds: usize, patience| {
        let mut seen = vec![last_round()];
        wait_until(patience, || {
            let now = last_round();
            if seen.last() != Some(&now) {
                seen.push(now);
            }
            seen.len() > rounds
        });
        seen.len() - 1
    };
    // One that its writer still has open comes to no end.
    let path = factory.inbox().join("slow.jpg");
    let mut slow = fs::File::create(&path).unwrap();
    slow.write_all(b"\xff\xd8\xff\xe0 not all of it").unwrap();
    assert_eq!(watch(3, PATIENCE), 3, "it does not verify");
    drop(slow);
    fs::remove_file(&path).unwrap();

    let trace = factory.root().join("strace.txt");
    let mut held = Command::new("strace")
        .args(["-f", "-qq", "-e", "trace=linkat,renameat2"])
        .args(["-e", "inject=linkat,renameat2:delay_enter=60000000"])
        .arg("-o")
        .arg(&trace)
        .args(["-p", &factory.pid().to_string()])
        .spawn()
        .unwrap();
    factory.wait_until("it is held", PATIENCE, || trace.exists());
    factory.put(
        "new.jpg",
        &jpeg::small(77, &Exif::taken("2023:01:01 10:00:00")),
    );
    factory.wait_until("a file is being filed", PATIENCE, || {
        !fs::read_to_string(&trace).unwrap_or_default().is_empty()
    });
    // What was begun may come to its end.
    let rounds = watch(9, Duration::from_secs(12));
    held.kill().unwrap();
    held.wait().unwrap();
    assert!(rounds < 2, "{rounds} rounds while a file was being filed");
    factory.wait_until_the_inbox_is_empty();
    assert_eq!(watch(2, PATIENCE), 2, "it does not go on");
}

#[test]
fn a_damaged_record_of_the_verification_is_begun_anew_and_zero_days_switch_it_off() {
    let mut factory = Factory::new("verify-record");
    filed(&factory);
    let record = factory.root().join("Data/verify.json");
    fs::File::create(&record)
        .unwrap()
        .write_all(b"{\"version\":1,\"el")
        .unwrap();
    factory.configure("[verify]\ndays = 0.00003\n");
    factory.start();
    factory.wait_until("a round is done", PATIENCE, || {
        factory.status()["verified"]["last_round"]["files"] == 5
    });
    factory.stop();
    factory.configure("[verify]\ndays = 0\n");
    factory.start();
    assert!(factory.status()["verified"].is_null());
    factory.stop();
    factory.configure("[verify]\ndays = -1\n");
    let refused = factory.run(&["status"]);
    assert_eq!(refused.status.code(), Some(1));
}

#[test]
fn a_backup_that_is_none_is_refused_at_once_with_a_sentence() {
    let factory = Factory::new("verify-no-backup");
    filed(&factory);
    let storage = factory.storage();
    let missing = factory.root().join("not-there");
    let empty = factory.root().join("empty");
    fs::create_dir(&empty).unwrap();
    let link = factory.root().join("link");
    std::os::unix::fs::symlink(&storage, &link).unwrap();
    let inside = factory.root().join("inside");
    fs::create_dir(&inside).unwrap();
    std::os::unix::fs::symlink(factory.originals(), inside.join("Originals")).unwrap();
    let before = factory.filed();
    let refused = |from: &Path, why: &str| {
        let output = output_of(
            factory
                .command()
                .args(["verify", "--repair", "--from"])
                .arg(from),
        );
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{from:?}: {said}");
        assert!(said.contains(why), "{from:?}: {said}");
        assert!(output.stdout.is_empty(), "{from:?}: {output:?}");
    };
    refused(&missing, "check --from");
    refused(Path::new(""), "--from is empty");
    refused(&empty, "has no copy of any photo");
    for ours in [&storage, &factory.originals(), &link, &inside] {
        refused(ours, "is Storage itself");
    }
    if may_mount("a Storage that is mounted twice") {
        let _mounted = Mounted::bound(&storage, &missing);
        refused(&missing, "is Storage itself");
    }
    assert_eq!(factory.filed(), before);
}

#[test]
fn a_day_that_is_none_or_lies_ahead_is_refused_with_the_way_to_write_it() {
    let factory = Factory::new("verify-no-day");
    filed(&factory);
    for (day, why) in [
        ("01.02.2024", "is no day"),
        ("yesterday", "is no day"),
        ("2024-13-01", "is no day"),
        ("2999-01-01", "lies ahead"),
    ] {
        let output = factory.run(&["verify", "--since", day]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{day}: {said}");
        assert!(
            said.contains(why) && said.contains("YYYY-MM-DD"),
            "{day}: {said}"
        );
    }
}

#[test]
fn what_a_nas_or_a_desktop_leaves_in_originals_is_counted_and_worries_nobody() {
    let factory = Factory::new("verify-litter");
    let paths = filed(&factory);
    let day = factory.storage().join(paths[0].parent().unwrap());
    for folder in [&factory.originals(), &day] {
        for file in [".DS_Store", "Thumbs.db", "desktop.ini", "._IMG_1.JPG"] {
            fs::write(folder.join(file), "not ours").unwrap();
        }
        for inner in [
            "@eaDir/IMG_1.JPG",
            ".Trash-1000/files",
            "#recycle",
            "lost+found",
            ".stfolder",
            ".stversions",
        ] {
            fs::create_dir_all(folder.join(inner)).unwrap();
            fs::write(folder.join(inner).join("thumbnail.jpg"), "not ours").unwrap();
        }
    }
    let verified = verify(&factory, &[]);
    assert_eq!(verified.found(), []);
    let litter = (verified.count("litter"), verified.count("unknown"));
    assert_eq!((verified.code, litter), (0, (20, 0)));
    let said = factory.run(&["verify"]);
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(said.contains("20 left by other programs"), "{said}");
    let rebuilt = factory.run(&["rebuild", "--json"]);
    assert_eq!(rebuilt.status.code(), Some(0), "{rebuilt:?}");
    let summary = json_lines(&rebuilt).pop().unwrap();
    assert_eq!(
        (&summary["summary"]["litter"], &summary["summary"]["left"]),
        (&8.into(), &0.into())
    );
    // What is left of a factory whose photos are elsewhere.
    for path in paths {
        fs::remove_file(factory.storage().join(path)).unwrap();
    }
    let doctor = factory.run(&["doctor"]);
    let doctor = String::from_utf8(doctor.stdout).unwrap();
    assert!(doctor.contains("and none stands in"), "{doctor}");
}
