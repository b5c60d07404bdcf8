//! Power cuts on real file systems: ext4 and xfs are shut down before a change, as if the current had gone, and mounted again.

use std::path::Path;

use crate::cases::{Workshop, all_are_wanted};
use crate::factory::installed;
use crate::mounts::Mount;
use crate::scene::{Scene, all_files, command};
use crate::tracer::{Calls, Fault, run};

/// Cuts the power before this many of the run's changes, evenly chosen, when not all are wanted.
const CUTS: usize = 60;

fn cut_everywhere(name: &str, size: u64, mkfs: &[&str]) {
    let test = format!("the power cut on {name}");
    let workshop = Workshop::new(&format!("cut-{name}"));
    if ["xfs_io", mkfs[0]]
        .iter()
        .any(|program| !installed(program, &test))
    {
        return;
    }
    let (point, image) = (workshop.path().join("disk"), workshop.path().join("image"));
    let Some(disk) = Mount::in_file(&point, &image, size, mkfs) else {
        println!("skipped: {test} needs root, to mount a disk");
        return;
    };
    let scene = Scene::first_start(workshop.path());
    let root = point.join("root");
    scene.lay_out(&root);
    let changes = run(&command(&root), &root, Calls::Changes, Fault::None)
        .calls
        .len();
    let step = if all_are_wanted() {
        1
    } else {
        changes.div_ceil(CUTS)
    };
    let (mut cuts, mut gone) = (0, 0);
    let mut failed = Vec::new();
    for (index, at) in (1..=changes).step_by(step).enumerate() {
        scene.lay_out(&root);
        disk.sync();
        let cut_off = |_: &Path| disk.cut().unwrap();
        // The program goes with the current; in every fourth case it lives on with a disk that answers errors only.
        let fault = if index % 4 == 3 {
            Fault::Before(at, &cut_off)
        } else {
            Fault::Kill(at)
        };
        let lost_something = match cut_once(&disk, &scene, &root, fault) {
            Ok(lost_something) => lost_something,
            // Without the disk all that follows would be about the folder below it.
            Err(NotCut::Gone(error)) => panic!("cut before change {at}: {error}"),
            // How many changes there are depends on how many photos share a commit: the last three points may not come.
            Err(NotCut::NotReached) if at + 3 * step > changes => continue,
            Err(NotCut::NotReached) => {
                failed.push(format!("cut before change {at}: it did not come so far"));
                continue;
            }
            Err(NotCut::Wrong(error)) => {
                failed.push(format!("cut before change {at}: {error}"));
                continue;
            }
        };
        cuts += 1;
        gone += usize::from(lost_something);
    }
    assert!(
        failed.is_empty(),
        "{} cuts failed; the first: {}",
        failed.len(),
        failed[0]
    );
    println!(
        "{name}: the power cut at {cuts} of {changes} points, {gone} with something gone: 0 lost, 0 unrecovered"
    );
    assert!(cuts >= CUTS / 2, "too few cuts");
    assert!(gone > 0, "no cut took anything: the disk was not cut off");
}

/// Why a cut proved nothing, or proved the program wrong.
enum NotCut {
    /// The disk could not be cut off, or not be mounted again.
    Gone(String),
    /// The run was over before that change.
    NotReached,
    /// Something was lost or not recovered.
    Wrong(String),
}

/// One run, cut off. Returns whether the cut took something that had been written.
fn cut_once(disk: &Mount, scene: &Scene, root: &Path, fault: Fault<'_>) -> Result<bool, NotCut> {
    let broken = run(&command(root), root, Calls::Changes, fault);
    if broken.fired == 0 {
        return Err(NotCut::NotReached);
    }
    let before = all_files(root).len();
    if matches!(fault, Fault::Kill(_)) {
        disk.cut().map_err(NotCut::Gone)?;
    }
    disk.mount_again().map_err(NotCut::Gone)?;
    if broken.hung {
        let said = format!("it hung on the dead disk: {}", broken.said);
        return Err(NotCut::Wrong(said));
    }
    let after = all_files(root).len();
    scene.nothing_is_lost(root).map_err(NotCut::Wrong)?;
    scene
        .recovers(root)
        .map_err(|error| NotCut::Wrong(format!("{error}\nThe cut run had said {}", broken.said)))?;
    Ok(before != after)
}

#[test]
fn a_power_cut_on_ext4_loses_nothing_and_is_recovered_from() {
    cut_everywhere("ext4", 32 << 20, &["mkfs.ext4", "-q"]);
}

#[test]
fn a_power_cut_on_xfs_loses_nothing_and_is_recovered_from() {
    cut_everywhere("xfs", 320 << 20, &["mkfs.xfs", "-q"]);
}
