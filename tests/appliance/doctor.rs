//! `doctor`: what is the matter is found, with why it matters and what to type; and nothing is changed by looking.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::clock;
use crate::factory::{Factory, NOBODY, copy_program, hash, may_mount, output_of, program, text};
use crate::fixtures::exif::Exif;
use crate::fixtures::jpeg;

/// A factory that has filed a photo.
fn in_order(name: &str) -> Factory {
    let factory = Factory::new(name);
    factory.put(
        "a.jpg",
        &jpeg::small(1, &Exif::taken("2021:02:03 04:05:06")),
    );
    assert_eq!(factory.ingest().code, 0);
    factory
}

/// The command, in a home where nobody has set up anything.
fn command(factory: &Factory) -> Command {
    at_home(factory.command(), factory)
}

fn at_home(mut command: Command, factory: &Factory) -> Command {
    command
        .args(["doctor", "--json"])
        .env("HOME", factory.root().join("home"))
        .env_remove("XDG_STATE_HOME")
        .env_remove("XDG_CONFIG_HOME");
    command
}

/// What it says, with its exit code held to it.
fn told(mut command: Command) -> Vec<Value> {
    let output = output_of(&mut command);
    let answer: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let checks = answer["checks"].as_array().unwrap().clone();
    let findings = checks
        .iter()
        .filter(|check| check["level"] == "finding")
        .count();
    assert_eq!(answer["findings"], findings);
    let code = if findings == 0 { 0 } else { 2 };
    assert_eq!(output.status.code(), Some(code), "{answer:#}");
    for check in &checks {
        assert!(!text(check, "what").is_empty(), "{check}");
        if check["level"] == "finding" {
            assert!(!text(check, "why").is_empty(), "{check}");
        }
    }
    checks
}

/// The finding of that name, as one text; fails where there is none.
fn finding(checks: &[Value], name: &str) -> String {
    let found = checks
        .iter()
        .find(|check| check["check"] == name && check["level"] == "finding");
    let found = found.unwrap_or_else(|| panic!("no finding {name} in {checks:#?}"));
    assert!(!found["do"].as_array().unwrap().is_empty(), "{found}");
    found.to_string()
}

fn level<'a>(checks: &'a [Value], name: &str) -> &'a str {
    let found = checks.iter().find(|check| check["check"] == name);
    text(
        found.unwrap_or_else(|| panic!("no {name} in {checks:#?}")),
        "level",
    )
}

/// Everything below a folder: path, mode, size, times and content.
pub(crate) fn everything(folder: &Path) -> BTreeMap<PathBuf, (u32, i64, i64, String)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().flatten() {
            let seen = entry.path().symlink_metadata().unwrap();
            let content = if seen.is_file() {
                hash(&fs::read(entry.path()).unwrap())
            } else {
                String::new()
            };
            found.insert(
                entry.path(),
                (seen.mode(), seen.mtime(), seen.mtime_nsec(), content),
            );
            if seen.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    found
}

#[test]
fn a_factory_in_order_has_no_findings_and_looking_changes_nothing() {
    let mut factory = in_order("in-order");
    let before = everything(factory.root());
    let checks = told(command(&factory));
    assert_eq!(everything(factory.root()), before);
    // What this machine lacks (room, a disk that is none of memory, watches) is no matter of the factory's.
    for name in [
        "settings",
        "inbox",
        "data",
        "places",
        "storage disk",
        "metadata",
        "ledger",
    ] {
        assert_eq!(level(&checks, name), "ok", "{name}");
    }
    assert_eq!(level(&checks, "appliance"), "note", "it does not run");
    let said = factory.run(&["doctor"]);
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(
        said.lines()
            .any(|line| line.starts_with("ok") && line.contains(" inbox ")),
        "{said}"
    );
    let has_findings = checks.iter().any(|check| check["level"] == "finding");
    assert!(has_findings || said.contains("All is well"), "{said}");
    // While it runs it is asked: the ledger is its own then.
    factory.start();
    let checks = told(command(&factory));
    assert_eq!(level(&checks, "appliance"), "ok");
    assert_eq!(level(&checks, "ledger"), "ok");
    factory.stop();
}

#[test]
fn nothing_is_made_where_nothing_is_yet() {
    let factory = Factory::new("nothing-yet");
    let before = everything(factory.root());
    let checks = told(command(&factory));
    assert_eq!(everything(factory.root()), before);
    assert!(
        checks.iter().all(|check| check["level"] != "finding"),
        "{checks:#?}"
    );
}

#[test]
fn settings_that_cannot_be_used_are_the_finding() {
    let factory = in_order("settings");
    factory.configure("settle_second = 3\n");
    let said = finding(&told(command(&factory)), "settings");
    assert!(said.contains("did you mean `settle_seconds`?"), "{said}");
    let mut elsewhere = Command::new(program());
    elsewhere.args(["--root", "/nowhere/at/all", "doctor"]);
    assert_eq!(output_of(&mut elsewhere).status.code(), Some(1));
}

#[test]
fn a_ledger_that_is_damaged_is_found_and_the_way_out_is_told() {
    let factory = in_order("damaged-ledger");
    let ledger = factory.root().join("Data/ledger.redb");
    let mut bytes = fs::read(&ledger).unwrap();
    bytes[..4096].fill(0xA5);
    fs::write(&ledger, &bytes).unwrap();
    let checks = told(command(&factory));
    assert_eq!(fs::read(&ledger).unwrap(), bytes, "it is left as it is");
    let found = checks
        .iter()
        .find(|check| check["check"] == "ledger" && check["level"] == "finding");
    let steps = found.unwrap()["do"].as_array().unwrap();
    let steps = steps.iter().map(|step| step.as_str().unwrap());
    let step = steps.into_iter().find(|step| step.contains(" rebuild"));
    // Pasted as it stands, from any folder.
    let pasted = output_of(
        Command::new("sh")
            .args(["-c", step.unwrap()])
            .current_dir("/"),
    );
    assert_eq!(pasted.status.code(), Some(0), "{step:?}: {pasted:?}");
    assert_eq!(factory.rows().len(), 1);
}

#[test]
fn an_inbox_in_originals_is_found() {
    let factory = in_order("overlap");
    let inside = factory.originals().join("inbox");
    fs::create_dir(&inside).unwrap();
    factory.configure("path = \"Storage/Originals/inbox\"\n");
    let said = finding(&told(command(&factory)), "places");
    assert!(said.contains("the inbox lies in Originals"), "{said}");
}

/// Lays settings of Syncthing into the home in which it is looked for.
fn with_syncthing(factory: &Factory, kind: &str) {
    let home = factory.root().join("home/.local/state/syncthing");
    fs::create_dir_all(&home).unwrap();
    let inbox = factory.inbox();
    let settings = format!(
        "<configuration version=\"37\"><folder id=\"camera\" label=\"Camera\" path=\"{}\" type=\"{kind}\">\
         <device id=\"OURS\"/><device id=\"PHONE\"/></folder></configuration>",
        inbox.display()
    );
    fs::write(home.join("config.xml"), settings).unwrap();
}

#[test]
fn what_syncthing_would_do_to_the_phone_is_told() {
    let factory = in_order("syncthing-type");
    with_syncthing(&factory, "sendreceive");
    let said = finding(&told(command(&factory)), "syncthing");
    assert!(said.contains("DELETED FROM THE PHONE"), "{said}");
    assert!(said.contains("Receive Only"), "{said}");
    with_syncthing(&factory, "receiveonly");
    assert_eq!(level(&told(command(&factory)), "syncthing"), "ok");
    with_syncthing(&factory, "sendreceive");
    factory.configure("clear = \"never\"\n");
    assert_eq!(level(&told(command(&factory)), "syncthing"), "note");
}

#[test]
fn a_missing_metadata_worker_is_found() {
    let factory = in_order("no-worker");
    let alone = factory.root().join("photo-factory");
    copy_program(&alone);
    let mut command = Command::new(&alone);
    command.arg("--root").arg(factory.root()).env("TZ", "UTC");
    let said = finding(&told(at_home(command, &factory)), "metadata");
    assert!(said.contains("photo-factory-exif is missing"), "{said}");
}

#[test]
fn p7_a_storage_that_is_not_the_disk_it_was_is_found_and_can_be_accepted() {
    let factory = in_order("another-disk");
    let aside = factory.root().join("unplugged");
    fs::rename(factory.storage(), &aside).unwrap();
    fs::create_dir(factory.storage()).unwrap();
    let before = everything(factory.root());
    let said = finding(&told(command(&factory)), "storage disk");
    assert!(said.contains("doctor --accept-storage"), "{said}");
    let now: Vec<_> = everything(factory.root()).into_keys().collect();
    assert_eq!(
        now,
        before.into_keys().collect::<Vec<_>>(),
        "nothing is made there"
    );
    // The right disk again: all is well without a word from the owner.
    fs::remove_dir(factory.storage()).unwrap();
    fs::rename(&aside, factory.storage()).unwrap();
    assert_eq!(level(&told(command(&factory)), "storage disk"), "ok");
    // A new disk on purpose.
    fs::rename(factory.storage(), &aside).unwrap();
    fs::create_dir(factory.storage()).unwrap();
    let accepted = factory.run(&["doctor", "--accept-storage"]);
    assert!(accepted.status.success(), "{accepted:?}");
    let said = String::from_utf8_lossy(&accepted.stdout).into_owned();
    assert!(said.contains("is Storage from now on"), "{said}");
    assert_eq!(level(&told(command(&factory)), "storage disk"), "ok");
    factory.put(
        "b.jpg",
        &jpeg::small(2, &Exif::taken("2021:02:03 04:05:07")),
    );
    assert_eq!(factory.ingest().count("filed"), 1);
    // A Storage that is not there can't be accepted.
    fs::remove_dir_all(factory.storage()).unwrap();
    assert_eq!(
        factory.run(&["doctor", "--accept-storage"]).status.code(),
        Some(1)
    );
}

/// A mount that goes when this does.
struct Mounted(PathBuf);

impl Mounted {
    /// `None`, said, where we may not mount.
    fn new(at: &Path, arguments: &[&str], test: &str) -> Option<Self> {
        if !may_mount(test) {
            return None;
        }
        let mounted = output_of(Command::new("mount").args(arguments).arg(at));
        assert!(mounted.status.success(), "{mounted:?}");
        Some(Self(at.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(&self.0).status());
    }
}

#[test]
fn a_storage_that_is_read_only_or_full_or_in_memory_is_found() {
    let factory = in_order("mounts");
    let storage = factory.storage();
    let shown = storage.to_str().unwrap();
    let Some(mounted) = Mounted::new(
        &storage,
        &["--bind", "-o", "ro", shown],
        "the read-only Storage",
    ) else {
        return;
    };
    let said = finding(&told(command(&factory)), "storage");
    assert!(said.contains("is mounted read-only"), "{said}");
    assert!(said.contains("mount -o remount,rw"), "{said}");
    drop(mounted);

    let Some(mounted) = Mounted::new(
        &storage,
        &["-t", "tmpfs", "-o", "size=1m", "none"],
        "the full Storage",
    ) else {
        return;
    };
    let said = finding(&told(command(&factory)), "storage");
    assert!(said.contains("in memory"), "{said}");
    drop(fs::write(storage.join("full"), vec![1; 2 << 20]));
    let checks = told(command(&factory));
    assert!(
        checks
            .iter()
            .any(|check| text(check, "what").contains("is full")),
        "{checks:#?}"
    );
    drop(mounted);

    let Some(mounted) = Mounted::new(
        &storage,
        &["-t", "tmpfs", "-o", "nr_inodes=2", "none"],
        "the Storage without inodes",
    ) else {
        return;
    };
    fs::write(storage.join("last"), b"").unwrap();
    let checks = told(command(&factory));
    assert!(
        checks
            .iter()
            .any(|check| text(check, "what").contains("0 more files")),
        "{checks:#?}"
    );
    drop(mounted);
}

/// The command as another user, who may not do much here.
fn as_nobody(factory: &Factory, test: &str) -> Option<Command> {
    Some(at_home(crate::factory::as_nobody(factory, test)?, factory))
}

#[test]
fn folders_that_another_user_may_not_use_are_named_with_the_line_to_type() {
    let root = std::env::temp_dir().join(format!("photo-factory-doctor-{}", std::process::id()));
    let factory = Factory::in_folder(&root);
    fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
    let test = "folders that another user may not use";
    let Some(command) = as_nobody(&factory, test) else {
        return;
    };
    let checks = told(command);
    let said = finding(&checks, "inbox");
    assert!(said.contains("sudo chown -R 65534"), "{said}");
    assert!(said.contains("setfacl -R -m u:65534:rwX"), "{said}");
    let said = finding(&checks, "storage");
    assert!(said.contains("may not make it"), "{said}");

    // Its own from here on; but the phone's program writes as another user still.
    fs::create_dir(root.join("Data")).unwrap();
    for path in [&root, &root.join("Data"), &factory.inbox()] {
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    factory.put("a.jpg", b"somebody else's");
    let checks = told(as_nobody(&factory, test).unwrap());
    assert_eq!(level(&checks, "inbox"), "ok");
    let said = finding(&checks, "inbox files");
    assert!(said.contains("user 0 (root)"), "{said}");
    assert!(said.contains("settle_seconds = 60"), "{said}");
}

#[test]
fn a_ledger_and_originals_that_do_not_belong_together_are_found() {
    let factory = in_order("apart");
    let (data, aside) = (factory.root().join("Data"), factory.root().join("aside"));
    fs::rename(&data, &aside).unwrap();
    let said = finding(&told(command(&factory)), "ledger");
    let rebuild = format!("photo-factory --root {} rebuild", factory.root().display());
    assert!(said.contains(&rebuild), "{said}");
    fs::rename(&aside, &data).unwrap();

    fs::rename(factory.originals(), &aside).unwrap();
    let said = finding(&told(command(&factory)), "originals");
    assert!(said.contains("none stands in"), "{said}");
    let accepted = factory.run(&["doctor", "--accept-storage"]);
    let accepted = String::from_utf8(accepted.stdout).unwrap();
    assert!(accepted.contains("none stands in"), "{accepted}");
    fs::rename(&aside, factory.originals()).unwrap();
    assert_eq!(level(&told(command(&factory)), "ledger"), "ok");
}

#[test]
fn a_page_whose_port_is_taken_and_another_command_at_work_are_told() {
    let factory = in_order("taken");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    factory.configure(&format!("[dashboard]\nlisten = \"{address}\"\n"));
    let said = finding(&told(command(&factory)), "page");
    assert!(said.contains("ss -ltnp"), "{said}");
    drop(taken);

    let lock = fs::File::open(factory.root().join("Data/lock")).unwrap();
    let checks = told(command(&factory));
    let at_work = |checks: &[Value]| {
        checks
            .iter()
            .any(|check| text(check, "what").contains("is at work"))
    };
    assert!(!at_work(&checks), "{checks:?}");
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let checks = told(command(&factory));
    assert!(at_work(&checks), "{checks:?}");
}

#[test]
fn a_clock_that_cannot_be_right_is_found() {
    let Some(library) = clock::library("the clock that cannot be right") else {
        return;
    };
    let factory = in_order("doctor-s-clock");
    let file = factory.root().join("clock");
    for date in [
        "1970-01-02 00:00:00",
        "2150-01-01 00:00:00",
        "2025-06-01 00:00:00",
    ] {
        clock::set(&file, date);
        let mut command = command(&factory);
        clock::with_clock(&mut command, &library, &file);
        let said = finding(&told(command), "clock");
        let year = date.split('-').next().unwrap();
        assert!(said.contains(year), "the fault did not fire: {said}");
        assert!(said.contains("timedatectl set-ntp true"), "{said}");
    }
}
