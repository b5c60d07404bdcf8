//! Disks with no room left, for bytes or for names; then room is made, and everything is filed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cases::Workshop;
use crate::factory::{Factory, PATIENCE, installed, output_of};
use crate::mounts::Mount;
use crate::scene::{Scene, all_files, copy_tree, ingest};

/// What lies on the small disk.
const PLACES: [&str; 3] = ["Storage", "Data", ""];

/// Whether mounting works here; says so when a test is skipped for the lack of it.
fn can_mount(workshop: &Workshop, test: &str) -> bool {
    let can = Mount::in_memory(&workshop.path().join("try"), "size=64k").is_some();
    if !can {
        println!("skipped: {test} needs root, to mount small disks");
    }
    can
}

/// A run on the disk as it is, then with room. Returns whether the room was too little.
fn run_short(scene: &Scene, root: &Path, make_room: impl FnOnce()) -> Result<bool, String> {
    let short = ingest(root);
    if !matches!(short.code, Some(0..=2)) {
        return Err(format!("it ended with {:?}: {}", short.code, short.said));
    }
    scene.nothing_is_lost(root)?;
    let ran_out = short.said.contains("No space left") || short.said.contains("full");
    make_room();
    scene
        .recovers(root)
        .map_err(|error| format!("{error}\nOn the full disk it had said {}", short.said))?;
    Ok(ran_out)
}

/// Goes through disks in memory of these sizes.
fn fill_up(name: &str, sizes: &[String]) {
    let workshop = Workshop::new(name);
    if !can_mount(&workshop, name) {
        return;
    }
    let scene = Scene::first_start(workshop.path());
    let root = workshop.path().join("root");
    let (mut cases, mut short) = (0, 0);
    let mut failed = Vec::new();
    for place in PLACES {
        for size in sizes {
            let mount = lay_out_on(&scene, &root, place, || {
                Mount::in_memory(&root.join(place), size).unwrap()
            });
            let Some(mount) = mount else { continue };
            cases += 1;
            match run_short(&scene, &root, || mount.change("size=64m,nr_inodes=10k")) {
                Ok(ran_out) => short += usize::from(ran_out),
                Err(error) => failed.push(format!("{place:?} on {size}: {error}")),
            }
        }
    }
    assert!(
        failed.is_empty(),
        "{} of {cases} failed; the first: {}",
        failed.len(),
        failed[0]
    );
    println!("{name}: {cases} disks, {short} of them too small: 0 lost, 0 unrecovered");
    assert!(short > 5, "the disks were not full");
}

/// The scene with one of its folders on a disk of its own. None: the scene itself has no room there.
fn lay_out_on(
    scene: &Scene,
    root: &Path,
    place: &str,
    mount: impl FnOnce() -> Mount,
) -> Option<Mount> {
    if !place.is_empty() {
        scene.lay_out(root);
        return Some(mount());
    }
    let mount = mount();
    let beside = root.with_extension("template");
    scene.lay_out(&beside);
    // The scene has to fit; whether there is room for more is what is tried.
    let copied = output_of(Command::new("cp").arg("-a").arg(beside.join(".")).arg(root));
    copied.status.success().then_some(mount)
}

#[test]
fn a_disk_without_room_costs_no_photo_and_is_gone_on_with_when_there_is_room() {
    let sizes: Vec<String> = (1..=24)
        .map(|step| format!("size={}k", step * 24))
        .collect();
    fill_up("full-disk", &sizes);
}

#[test]
fn a_disk_without_room_for_names_costs_no_photo_and_is_gone_on_with_when_there_is_room() {
    let sizes: Vec<String> = (2..=32)
        .map(|names| format!("size=64m,nr_inodes={names}"))
        .collect();
    fill_up("no-inodes", &sizes);
}

#[test]
fn a_full_ext4_costs_no_photo_and_is_gone_on_with_when_there_is_room() {
    let test = "a full ext4";
    let workshop = Workshop::new("full-ext4");
    if !installed("mkfs.ext4", test) || !can_mount(&workshop, test) {
        return;
    }
    let scene = Scene::first_start(workshop.path());
    let root = workshop.path().join("root");
    let image = workshop.path().join("image");
    let mkfs = ["mkfs.ext4", "-q", "-m", "0", "-N", "200"];
    let (mut cases, mut short) = (0, 0);
    for place in PLACES {
        for left in [8, 24, 48, 96, 160, 200, 240, 320, 400, 640] {
            let mount = lay_out_on(&scene, &root, place, || {
                Mount::in_file(&root.join(place), &image, 8 << 20, &mkfs).unwrap()
            });
            let Some(mount) = mount else { continue };
            let ballast = fill_but(&root.join(place), left * 1024);
            mount.sync();
            cases += 1;
            let ran_out = run_short(&scene, &root, || fs::remove_file(ballast).unwrap());
            match ran_out {
                Ok(ran_out) => short += usize::from(ran_out),
                Err(error) => panic!("{place:?} with {left} KiB left: {error}"),
            }
        }
    }
    println!("{test}: {cases} disks, {short} of them too small: 0 lost, 0 unrecovered");
    assert!(short > 5, "the disks were not full");
}

/// Fills a disk so that about this many bytes are left. The name of what fills it is one that nobody looks at.
fn fill_but(folder: &Path, left: u64) -> PathBuf {
    let stat = rustix::fs::statvfs(folder).unwrap();
    let free = stat.f_bavail * stat.f_frsize;
    let ballast = folder.join("ballast");
    let size = free.saturating_sub(left).max(1);
    let file = fs::File::create(&ballast).unwrap();
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, size).unwrap();
    ballast
}

#[test]
fn the_appliance_lives_on_a_full_disk_and_goes_on_by_itself_when_there_is_room() {
    let test = "the appliance on a full disk";
    let workshop = Workshop::new("full-daemon");
    if !can_mount(&workshop, test) {
        return;
    }
    let scene = Scene::first_start(workshop.path());
    let mut factory = Factory::in_folder(&workshop.path().join("root"));
    factory.configure("[storage]\nreserve = 0\n");
    let storage = Mount::in_memory(&factory.storage(), "size=32k").unwrap();
    copy_tree(
        &workshop.path().join("template/Photos_Inbox"),
        &factory.inbox(),
    );
    factory.start();
    factory.wait_until("the disk is full", PATIENCE, || {
        factory.status().to_string().contains("full")
    });
    scene.nothing_is_lost(factory.root()).unwrap();
    assert!(all_files(&factory.inbox()).len() > 2);
    storage.change("size=64m");
    factory.wait_until("everything is filed", 2 * PATIENCE, || {
        let waiting = all_files(&factory.inbox());
        waiting.iter().all(|path| path.ends_with("note.txt"))
    });
    let (status, _) = factory.stop();
    assert!(status.success(), "{status}");
    scene.all_is_filed(factory.root()).unwrap();
}
