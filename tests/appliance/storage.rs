//! P7 and the room on the disk: Storage that is missing, swapped, read-only, failing, hung or full, on real file systems.

use std::collections::BTreeSet;
use std::fs;
use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use photo_factory::disk::storage::{Accepted, accept};
use rustix::process::{Pid, Signal, kill_process};

use crate::factory::{
    Factory, PATIENCE, all_files_below, ended, files_below, hash, installed, may_mount, output_of,
    signal, text, try_mount, wait_until,
};
use crate::fixtures::exif::Exif;
use crate::fixtures::jpeg::Load;

const MARKER: &str = ".photo-factory-storage";

/// Whether this machine lets us mount memory and files as disks; says so when a test is skipped because it doesn't.
pub(crate) fn can_mount(test: &str) -> bool {
    static TRIED: OnceLock<Result<(), String>> = OnceLock::new();
    let is_installed = ["mkfs.ext4", "fsfreeze", "losetup"]
        .iter()
        .all(|program| installed(program, test));
    if !is_installed || !may_mount(test) {
        return false;
    }
    let tried = TRIED.get_or_init(|| {
        let name = format!("may-mount-{}.img", std::process::id());
        let image = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        make_ext4(&image);
        let mounted = try_mount(&["-o", "loop", text_of(&image)]);
        fs::remove_file(image).unwrap();
        mounted
    });
    if let Err(why) = tried {
        println!("skipped: {test} needs loop devices: {why}");
    }
    tried.is_ok()
}

/// Runs a command that must succeed.
fn sh(program: &str, arguments: &[&str]) {
    let output = output_of(Command::new(program).args(arguments));
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {output:?}"
    );
}

fn make_ext4(image: &Path) {
    fs::File::create(image).unwrap().set_len(48 << 20).unwrap();
    sh("mkfs.ext4", &["-q", "-F", text_of(image)]);
}

/// A file system on a folder; dropped, it is thawed and unmounted.
pub(crate) struct Mounted {
    at: PathBuf,
}

impl Mounted {
    /// A small ext4 in a file of its own, made at its first use.
    pub(crate) fn ext4(image: &Path, at: &Path) -> Self {
        if !image.exists() {
            make_ext4(image);
        }
        fs::create_dir_all(at).unwrap();
        sh("mount", &["-o", "loop", text_of(image), text_of(at)]);
        Self { at: at.to_owned() }
    }

    pub(crate) fn tmpfs(options: &str, at: &Path) -> Self {
        fs::create_dir_all(at).unwrap();
        sh(
            "mount",
            &["-t", "tmpfs", "-o", options, "tmpfs", text_of(at)],
        );
        Self { at: at.to_owned() }
    }

    /// A folder at a second place.
    pub(crate) fn bound(folder: &Path, at: &Path) -> Self {
        fs::create_dir_all(at).unwrap();
        sh("mount", &["--bind", text_of(folder), text_of(at)]);
        Self { at: at.to_owned() }
    }

    /// The folder itself, which nobody can write any more.
    pub(crate) fn read_only(at: &Path) -> Self {
        let mounted = Self::bound(at, at);
        mounted.remount("bind,ro");
        mounted
    }

    fn remount(&self, options: &str) {
        sh(
            "mount",
            &["-o", &format!("remount,{options}"), text_of(&self.at)],
        );
    }

    pub(crate) fn freeze(&self) {
        sh("fsfreeze", &["-f", text_of(&self.at)]);
    }

    pub(crate) fn thaw(&self) {
        sh("fsfreeze", &["-u", text_of(&self.at)]);
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Thawing what is not frozen fails, and does no harm.
        drop(
            Command::new("fsfreeze")
                .args(["-u", text_of(&self.at)])
                .output(),
        );
        drop(
            Command::new("umount")
                .args(["-l", text_of(&self.at)])
                .output(),
        );
    }
}

fn text_of(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Lays photos of these minutes into the inbox; gives their hashes.
fn lay(
    factory: &Factory,
    pictures: &mut Load,
    minutes: std::ops::Range<u32>,
    size: usize,
) -> BTreeSet<String> {
    let photo = |minute: u32| {
        let taken = format!("2023:04:05 {:02}:{:02}:00", minute / 60, minute % 60);
        let content = pictures.next(&Exif::taken(&taken), size);
        factory.put(format!("IMG_{minute:04}.JPG"), &content);
        hash(&content)
    };
    minutes.map(photo).collect()
}

fn originals(factory: &Factory) -> BTreeSet<String> {
    factory.filed().into_values().collect()
}

/// Waits until the page says that nothing is filed, and why.
fn wait_until_paused(factory: &Factory, because: &str) {
    factory.wait_until(&format!("it is paused: {because}"), PATIENCE, || {
        let status = factory.status();
        let trouble = status["activity"]["trouble"].as_str().unwrap_or_default();
        status["activity"]["state"] == "paused" && trouble.contains(because)
    });
    // Looked at again, which it is every second, it may not be paused for a moment.
    let mut said = String::new();
    let is_said = wait_until(PATIENCE, || {
        said = String::from_utf8(factory.run(&["status"]).stdout).unwrap();
        said.contains("paused") && said.contains(because)
    });
    assert!(is_said, "{said}");
}

fn everything_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

/// What `ingest` says when it can't run.
fn refused_ingest(factory: &Factory) -> String {
    let before = factory.waiting();
    let output = factory.run(&["ingest"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(factory.waiting(), before, "the inbox was touched");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn p7_the_empty_mount_point_of_a_disk_that_is_not_mounted_gets_nothing_until_the_disk_is_back() {
    if !can_mount("the disk that is not mounted") {
        return;
    }
    let mut factory = Factory::new("unmounted");
    let image = factory.root().join("disk.img");
    let mut pictures = Load::new(5);
    let disk = Mounted::ext4(&image, &factory.storage());
    let mut given = lay(&factory, &mut pictures, 0..2, 9_000);
    assert_eq!(factory.ingest().code, 0);
    drop(disk);
    given.extend(lay(&factory, &mut pictures, 2..5, 9_000));
    let said = refused_ingest(&factory);
    for part in [
        "is not the disk it was",
        MARKER,
        "is missing",
        "doctor --accept-storage",
    ] {
        assert!(said.contains(part), "{said}");
    }

    factory.start();
    wait_until_paused(&factory, "is not the disk it was");
    factory.wait_until("what waits is shown", PATIENCE, || {
        let status = factory.status();
        status["inbox"]["depth"] == 3 && status["status"] == "trouble"
    });
    assert_eq!(everything_below(&factory.storage()), [] as [PathBuf; 0]);
    assert_eq!(factory.waiting().len(), 3);

    let disk = Mounted::ext4(&image, &factory.storage());
    factory.wait_until_the_inbox_is_empty();
    assert_eq!(originals(&factory), given);
    factory.wait_until("all is well", PATIENCE, || {
        factory.status()["activity"]["state"] == "watching"
    });
    // At rest it lets go of the disk: its owner can unmount it while it runs.
    factory.wait_until("it can be unmounted", PATIENCE, || {
        let unmounted = output_of(Command::new("umount").arg(factory.storage()));
        unmounted.status.success()
    });
    drop(disk);
    given.extend(lay(&factory, &mut pictures, 5..6, 9_000));
    wait_until_paused(&factory, "is not the disk it was");
    assert_eq!(everything_below(&factory.storage()), [] as [PathBuf; 0]);
    let _disk = Mounted::ext4(&image, &factory.storage());
    factory.wait_until_the_inbox_is_empty();
    assert_eq!(originals(&factory), given);
    factory.stop();
    factory.assert_ledger_and_originals_agree();
}

#[test]
fn p7_originals_on_a_disk_of_its_own_gets_nothing_while_that_disk_is_away_or_another() {
    if !can_mount("Originals on a disk of its own") {
        return;
    }
    let mut factory = Factory::new("own-disk");
    let image = factory.root().join("disk.img");
    let mut pictures = Load::new(5);
    let place = factory.originals();
    fs::create_dir_all(&place).unwrap();
    let disk = Mounted::ext4(&image, &place);
    let mut given = lay(&factory, &mut pictures, 0..2, 9_000);
    assert_eq!(factory.ingest().code, 0);
    assert_eq!(originals(&factory), given);
    drop(disk);
    given.extend(lay(&factory, &mut pictures, 2..4, 9_000));
    let said = refused_ingest(&factory);
    assert!(said.contains("is not mounted"), "{said}");
    assert_eq!(everything_below(&place), [] as [PathBuf; 0]);

    // An empty disk in its place.
    let other = Mounted::ext4(&factory.root().join("other.img"), &place);
    let said = refused_ingest(&factory);
    assert!(said.contains("is not the disk it was"), "{said}");
    assert_eq!(everything_below(&place), [place.join("lost+found")]);
    drop(other);

    factory.start();
    wait_until_paused(&factory, "is not mounted");
    let disk = Mounted::ext4(&image, &place);
    factory.wait_until_the_inbox_is_empty();
    assert_eq!(originals(&factory), given);
    // Unmounted while it runs.
    factory.wait_until("it can be unmounted", PATIENCE, || {
        let unmounted = output_of(Command::new("umount").arg(&place));
        unmounted.status.success()
    });
    drop(disk);
    given.extend(lay(&factory, &mut pictures, 4..5, 9_000));
    wait_until_paused(&factory, "is not mounted");
    assert_eq!(everything_below(&place), [] as [PathBuf; 0]);
    let disk = Mounted::ext4(&image, &place);
    factory.wait_until_the_inbox_is_empty();
    assert_eq!(originals(&factory), given);
    factory.stop();
    factory.assert_ledger_and_originals_agree();

    // Its owner gives it up, and has copied the photos.
    let copy = factory.root().join("copy");
    sh("cp", &["-a", text_of(&place), text_of(&copy)]);
    drop(disk);
    sh(
        "cp",
        &["-a", &format!("{}/.", text_of(&copy)), text_of(&place)],
    );
    fs::remove_file(place.join(MARKER)).unwrap();
    refused_ingest(&factory);
    let accepted = factory.run(&["doctor", "--accept-storage"]);
    assert!(accepted.status.success(), "{accepted:?}");
    given.extend(lay(&factory, &mut pictures, 5..6, 9_000));
    assert_eq!(factory.ingest().code, 0);
    assert_eq!(originals(&factory), given);
}

#[test]
fn p7_a_storage_folder_that_is_gone_is_not_made_again() {
    let mut factory = Factory::new("gone");
    let mut pictures = Load::new(5);
    let mut given = lay(&factory, &mut pictures, 0..1, 9_000);
    assert_eq!(factory.ingest().code, 0);
    let elsewhere = factory.root().join("elsewhere");
    fs::rename(factory.storage(), &elsewhere).unwrap();
    given.extend(lay(&factory, &mut pictures, 1..3, 9_000));
    let said = refused_ingest(&factory);
    assert!(
        said.contains("is not there") && said.contains("mounted?"),
        "{said}"
    );
    factory.start();
    wait_until_paused(&factory, "is not there");
    assert!(!factory.storage().exists());
    fs::rename(&elsewhere, factory.storage()).unwrap();
    factory.wait_until_the_inbox_is_empty();
    assert_eq!(originals(&factory), given);

    // Taken away while it runs, and another folder put in its place.
    fs::rename(factory.storage(), &elsewhere).unwrap();
    fs::create_dir(factory.storage()).unwrap();
    given.extend(lay(&factory, &mut pictures, 3..4, 9_000));
    wait_until_paused(&factory, "is not the disk it was");
    assert_eq!(everything_below(&factory.storage()), [] as [PathBuf; 0]);
    fs::remove_dir(factory.storage()).unwrap();
    fs::rename(&elsewhere, factory.storage()).unwrap();
    factory.wait_until_the_inbox_is_empty();
    assert_eq!(originals(&factory), given);
}

#[test]
fn p7_a_swapped_disk_is_not_written_to_until_its_owner_accepts_it() {
    let factory = Factory::new("swapped");
    let other = Factory::new("swapped-other");
    let mut pictures = Load::new(5);
    let first = lay(&factory, &mut pictures, 0..1, 9_000);
    assert_eq!(factory.ingest().code, 0);
    lay(&other, &mut pictures, 1..2, 9_000);
    assert_eq!(other.ingest().code, 0);
    let id_of = |factory: &Factory| {
        let marker = fs::read_to_string(factory.storage().join(MARKER)).unwrap();
        marker.lines().next().unwrap().to_owned()
    };
    let (own, foreign) = (id_of(&factory), id_of(&other));
    assert_ne!(own, foreign);
    assert!(
        fs::read_to_string(factory.root().join("Data/storage"))
            .unwrap()
            .starts_with(&own),
        "Data remembers it"
    );

    fs::rename(factory.storage(), factory.root().join("own")).unwrap();
    fs::rename(other.storage(), factory.storage()).unwrap();
    let before = files_below(&factory.storage());
    lay(&factory, &mut pictures, 2..3, 9_000);
    let said = refused_ingest(&factory);
    assert!(said.contains(&own) && said.contains(&foreign), "{said}");
    assert_eq!(files_below(&factory.storage()), before);

    let data = factory.root().join("Data");
    let accepted = accept(&factory.storage(), &data).unwrap();
    assert!(matches!(accepted, Accepted::Adopted(id) if id.to_string() == foreign));
    assert_eq!(factory.ingest().code, 0);
    assert_eq!(files_below(&factory.storage()).len(), before.len() + 1);
    assert!(matches!(
        accept(&factory.storage(), &data).unwrap(),
        Accepted::Already(_)
    ));

    // A disk without a marker gets one.
    fs::rename(factory.storage(), factory.root().join("foreign")).unwrap();
    fs::rename(factory.root().join("own"), factory.storage()).unwrap();
    fs::remove_file(factory.storage().join(MARKER)).unwrap();
    assert!(matches!(
        accept(&factory.storage(), &data).unwrap(),
        Accepted::Marked(_)
    ));
    lay(&factory, &mut pictures, 3..4, 9_000);
    assert_eq!(factory.ingest().code, 0);
    assert!(originals(&factory).is_superset(&first));
}

#[test]
fn p7_of_two_disks_swapped_while_it_runs_only_the_one_its_owner_accepted_is_written_to() {
    if !can_mount("the disks that are swapped") {
        return;
    }
    let mut factory = Factory::new("two-disks");
    let images = ["first.img", "second.img"].map(|name| factory.root().join(name));
    let mut pictures = Load::new(5);
    let mut disk = Mounted::ext4(&images[0], &factory.storage());
    factory.start();
    let mut on_it = [lay(&factory, &mut pictures, 0..2, 9_000), BTreeSet::new()];
    factory.wait_until_the_inbox_is_empty();
    // To the new disk, back to the first, and once more: one that was accepted before is not accepted for ever.
    for (turn, now) in [1, 0, 1].into_iter().enumerate() {
        assert_eq!(originals(&factory), on_it[1 - now], "in turn {turn}");
        drop(disk);
        disk = Mounted::ext4(&images[now], &factory.storage());
        let before = all_files_below(&factory.storage());
        let minutes = 10 + 3 * turn as u32..13 + 3 * turn as u32;
        on_it[now].extend(lay(&factory, &mut pictures, minutes, 9_000));
        wait_until_paused(&factory, "is not the disk it was");
        assert_eq!(factory.waiting().len(), 3, "in turn {turn}");
        assert_eq!(
            all_files_below(&factory.storage()),
            before,
            "in turn {turn}"
        );
        let accepted = factory.run(&["doctor", "--accept-storage"]);
        assert!(accepted.status.success(), "{accepted:?}");
        let said = String::from_utf8_lossy(&accepted.stdout).into_owned();
        assert!(said.contains("is Storage from now on"), "{said}");
        factory.wait_until_the_inbox_is_empty();
        factory.wait_until("all is well", PATIENCE, || {
            factory.status()["activity"]["state"] == "watching"
        });
    }
    assert_eq!(originals(&factory), on_it[1]);
    let (status, _) = factory.stop();
    assert!(status.success(), "{status}");
    drop(disk);
    let _disk = Mounted::ext4(&images[0], &factory.storage());
    assert_eq!(originals(&factory), on_it[0], "P3");
}

#[test]
fn p7_a_marker_is_made_once_and_one_that_is_lost_or_damaged_is_never_guessed() {
    let factory = Factory::new("markers");
    let mut pictures = Load::new(5);
    lay(&factory, &mut pictures, 0..1, 9_000);
    assert_eq!(factory.ingest().code, 0);
    let (marker, memory) = (
        factory.storage().join(MARKER),
        factory.root().join("Data/storage"),
    );
    let made = fs::read(&marker).unwrap();
    assert_eq!(factory.ingest().code, 0);
    assert_eq!(fs::read(&marker).unwrap(), made);

    fs::write(&marker, "nonsense").unwrap();
    assert!(refused_ingest(&factory).contains("damaged"));
    fs::write(&marker, "").unwrap();
    assert!(refused_ingest(&factory).contains("marker"));
    fs::write(&marker, &made).unwrap();
    let remembered = fs::read(&memory).unwrap();
    fs::write(&memory, "nonsense").unwrap();
    assert!(refused_ingest(&factory).contains("no longer knows"));
    fs::write(&memory, &remembered).unwrap();
    assert_eq!(factory.ingest().code, 0);

    // Neither is there, as after an update from an earlier version: only a Storage that holds photos is taken.
    fs::remove_file(&memory).unwrap();
    fs::remove_file(&marker).unwrap();
    let own = factory.root().join("own");
    fs::rename(factory.storage(), &own).unwrap();
    assert!(refused_ingest(&factory).contains("is not there"));
    fs::create_dir(factory.storage()).unwrap();
    assert!(refused_ingest(&factory).contains("is empty"));
    assert_eq!(everything_below(&factory.storage()), [] as [PathBuf; 0]);
    fs::remove_dir(factory.storage()).unwrap();
    fs::rename(&own, factory.storage()).unwrap();
    assert_eq!(factory.ingest().code, 0);
    assert!(marker.exists() && memory.exists());

    // Data is new: the Storage that has a marker is used on.
    let made = fs::read(&marker).unwrap();
    fs::remove_dir_all(factory.root().join("Data")).unwrap();
    assert_eq!(factory.ingest().code, 0);
    assert_eq!(fs::read(&marker).unwrap(), made);
    assert!(memory.exists());
}

#[test]
fn p7_a_disk_that_turns_read_only_pauses_the_line_until_it_is_mounted_for_writing_again() {
    if !can_mount("the read-only disk") {
        return;
    }
    let mut factory = Factory::new("read-only");
    let mut pictures = Load::new(5);
    let disk = Mounted::ext4(&factory.root().join("disk.img"), &factory.storage());
    factory.start();
    let mut given = lay(&factory, &mut pictures, 0..2, 9_000);
    factory.wait_until_the_inbox_is_empty();
    disk.remount("ro");
    given.extend(lay(&factory, &mut pictures, 2..5, 9_000));
    wait_until_paused(&factory, "mounted read-only");
    assert_eq!(factory.waiting().len(), 3);
    assert_eq!(
        factory.status()["inbox"]["left"],
        0,
        "no file is blamed for it"
    );
    disk.remount("rw");
    factory.wait_until_the_inbox_is_empty();
    assert_eq!(originals(&factory), given);
    factory.stop();
    factory.assert_ledger_and_originals_agree();
}

fn signal_daemon(factory: &Factory, what: Signal) {
    let pid = Pid::from_raw(factory.pid().cast_signed()).unwrap();
    kill_process(pid, what).unwrap();
}

/// Lays photos and stops the daemon between two instructions, when it has filed some and others wait; gives all hashes.
fn stand_in_the_middle(factory: &Factory, pictures: &mut Load) -> BTreeSet<String> {
    let mut given = BTreeSet::new();
    for round in 0..10 {
        let before = files_below(&factory.originals()).len();
        given.extend(lay(
            factory,
            pictures,
            round * 100..(round + 1) * 100,
            60_000,
        ));
        factory.wait_until("it is in the middle", PATIENCE, || {
            files_below(&factory.originals()).len() > before
        });
        signal_daemon(factory, Signal::STOP);
        // On a busy machine it may have come to the end before we looked.
        if !factory.waiting().is_empty() {
            return given;
        }
        signal_daemon(factory, Signal::CONT);
    }
    panic!("each time it had filed all before we looked");
}

#[test]
fn p1_p7_a_disk_that_is_pulled_out_in_the_middle_of_an_ingest_loses_nothing() {
    if !can_mount("the disk that is pulled out") {
        return;
    }
    let shutdown = installed("xfs_io", "the disk that fails every call");
    for way in ["unmounted", "failing"] {
        if way == "failing" && !shutdown {
            continue;
        }
        let mut factory = Factory::new("pulled");
        let mut pictures = Load::new(5);
        let image = factory.root().join("disk.img");
        let disk = Mounted::ext4(&image, &factory.storage());
        factory.start();
        let given = stand_in_the_middle(&factory, &mut pictures);
        if way == "failing" {
            sh(
                "xfs_io",
                &["-x", "-c", "shutdown -f", text_of(&factory.storage())],
            );
        } else {
            sh("umount", &["-l", text_of(&factory.storage())]);
            assert_eq!(everything_below(&factory.storage()), [] as [PathBuf; 0]);
        }
        signal_daemon(&factory, Signal::CONT);
        wait_until_paused(&factory, "Storage");
        assert_eq!(
            factory.status()["inbox"]["left"],
            0,
            "{way}: no file is blamed for it"
        );
        if way == "failing" {
            sh("umount", &["-l", text_of(&factory.storage())]);
        }
        assert_eq!(
            everything_below(&factory.storage()),
            [] as [PathBuf; 0],
            "{way}"
        );
        std::mem::forget(disk);

        let _disk = Mounted::ext4(&image, &factory.storage());
        factory.wait_until_the_inbox_is_empty();
        assert_eq!(originals(&factory), given, "{way}");
        factory.stop();
        factory.assert_ledger_and_originals_agree();
    }
}

#[test]
fn p7_while_the_disk_hangs_the_page_answers_and_says_so_and_a_stop_closes_it() {
    if !can_mount("the hung disk") {
        return;
    }
    let mut factory = Factory::new("hung");
    let mut pictures = Load::new(5);
    let disk = Mounted::ext4(&factory.root().join("disk.img"), &factory.storage());
    factory.start();
    let mut given = lay(&factory, &mut pictures, 0..1, 9_000);
    factory.wait_until_the_inbox_is_empty();

    disk.freeze();
    given.extend(lay(&factory, &mut pictures, 1..3, 9_000));
    wait_until_paused(&factory, "has not answered since");
    assert_eq!(factory.waiting().len(), 2);
    disk.thaw();
    factory.wait_until_the_inbox_is_empty();
    assert_eq!(originals(&factory), given);
    factory.wait_until("all is well again", PATIENCE, || {
        factory.status()["activity"]["state"] == "watching"
    });

    disk.freeze();
    given.extend(lay(&factory, &mut pictures, 3..4, 9_000));
    factory.wait_until("it works on it", PATIENCE, || {
        factory.status()["activity"]["current"].is_string()
    });
    let address = factory.address().to_owned();
    let mut child = factory.take_child();
    signal(&child, Signal::TERM);
    factory.wait_until("the page is closed", PATIENCE, || {
        TcpStream::connect(&address).is_err()
    });
    // A thread that waits for the disk is ended by the kernel when the disk answers.
    disk.thaw();
    assert!(ended(&mut child, "a daemon that was asked to stop").success());
    factory.start();
    factory.wait_until_the_inbox_is_empty();
    assert_eq!(originals(&factory), given);
    factory.stop();
    factory.assert_ledger_and_originals_agree();
}

#[test]
fn the_line_pauses_before_the_disk_is_full_and_goes_on_when_there_is_room() {
    if !can_mount("the reserve") {
        return;
    }
    let mut factory = Factory::new("reserve");
    factory.configure("[storage]\nreserve = \"2 MB\"\n");
    let mut pictures = Load::new(5);
    let disk = Mounted::tmpfs("size=8m", &factory.storage());
    let storage = factory.storage();
    let free = || {
        let stat = rustix::fs::statvfs(&storage).unwrap();
        stat.f_bavail * stat.f_frsize
    };
    let mut given = lay(&factory, &mut pictures, 0..12, 1_000_000);
    let ingested = factory.ingest();
    assert_eq!(ingested.code, 2);
    assert!(
        (4..=6).contains(&ingested.count("filed")),
        "{}",
        ingested.summary
    );
    assert!(free() >= 2_000_000, "the reserve was used: {}", free());
    let waits: Vec<_> = ingested
        .files
        .iter()
        .filter(|file| file["decision"] == "unsettled")
        .collect();
    assert!(!waits.is_empty(), "{:#?}", ingested.files);
    for waits in waits {
        assert!(text(waits, "reason").contains("kept free"), "{waits}");
    }
    let said = String::from_utf8(factory.run(&["ingest"]).stdout).unwrap();
    assert!(
        said.contains("IMG_") && said.contains("The disk of Storage is full"),
        "{said}"
    );

    factory.start();
    given.extend(lay(&factory, &mut pictures, 12..13, 1_000_000));
    wait_until_paused(&factory, "The disk of Storage is full");
    assert!(free() >= 2_000_000, "the reserve was used: {}", free());
    assert_eq!(
        factory.status()["inbox"]["left"],
        0,
        "no file is blamed for it"
    );
    // A small one still fits.
    for small in lay(&factory, &mut pictures, 13..14, 9_000) {
        factory.wait_until("the small one is filed", PATIENCE, || {
            originals(&factory).contains(&small)
        });
        given.insert(small);
    }
    disk.remount("size=40m");
    factory.wait_until_the_inbox_is_empty();
    assert_eq!(originals(&factory), given);
    factory.wait_until("all is well", PATIENCE, || {
        factory.status()["activity"]["state"] == "watching"
    });
    factory.stop();
    factory.assert_ledger_and_originals_agree();
}

#[test]
fn a_disk_with_less_room_than_is_kept_free_gets_nothing() {
    let factory = Factory::new("kept-free");
    factory.configure("[storage]\nreserve = \"1000 TB\"\n");
    lay(&factory, &mut Load::new(5), 0..2, 9_000);
    let run = factory.ingest();
    assert_eq!(run.code, 2, "what is kept free was used: {}", run.summary);
    for waits in &run.files {
        assert!(text(waits, "reason").contains("kept free"), "{waits}");
    }
    assert_eq!(factory.waiting().len(), 2);
    factory.configure("");
    assert_eq!(factory.ingest().count("filed"), 2);
}

#[test]
fn a_disk_without_inodes_or_without_any_room_pauses_the_line_and_is_left_tidy() {
    if !can_mount("the disk without inodes") {
        return;
    }
    let tight = ["nr_inodes=14", "size=120k"];
    let roomy = ["nr_inodes=200", "size=4m"];
    let reasons = ["its inodes are used up", "The disk of Storage is full"];
    for ((tight, roomy), reason) in tight.into_iter().zip(roomy).zip(reasons) {
        let mut factory = Factory::new("tight");
        factory.configure("[storage]\nreserve = 0\n");
        let mut pictures = Load::new(5);
        let disk = Mounted::tmpfs(tight, &factory.storage());
        factory.start();
        let given = lay(&factory, &mut pictures, 0..30, 9_000);
        wait_until_paused(&factory, reason);
        let filed = originals(&factory);
        assert!(
            !filed.is_empty() && filed.len() < 30,
            "{tight}: {}",
            filed.len()
        );
        assert!(
            filed.is_subset(&given),
            "{tight}: half a photo stands in Originals"
        );
        assert_eq!(factory.status()["inbox"]["left"], 0, "{tight}");
        disk.remount(roomy);
        factory.wait_until_the_inbox_is_empty();
        assert_eq!(originals(&factory), given, "{tight}");
        factory.stop();
        factory.assert_ledger_and_originals_agree();
    }
}

/// Writes until there is no room; others may be writing there as well.
fn fill(filler: &Path) {
    let mut file = fs::File::create(filler).unwrap();
    let full = loop {
        if let Err(error) = file.write_all(&[0; 4096]) {
            break error;
        }
    };
    assert_eq!(full.kind(), ErrorKind::StorageFull);
}

#[test]
fn a_full_data_disk_pauses_the_line_and_it_goes_on_when_there_is_room() {
    if !can_mount("the full Data disk") {
        return;
    }
    let mut factory = Factory::new("data-full");
    let mut pictures = Load::new(5);
    let data = factory.root().join("Data");
    let _disk = Mounted::tmpfs("size=6m", &data);
    factory.start();
    let mut given = lay(&factory, &mut pictures, 0..2, 9_000);
    factory.wait_until_the_inbox_is_empty();
    let filler = data.join("filler");
    fill(&filler);
    given.extend(lay(&factory, &mut pictures, 2..600, 4_000));
    wait_until_paused(&factory, "the disk of the ledger is full");
    fs::remove_file(&filler).unwrap();
    factory.wait_until_the_inbox_is_empty();
    assert_eq!(originals(&factory), given);
    factory.stop();
    factory.assert_ledger_and_originals_agree();
}
