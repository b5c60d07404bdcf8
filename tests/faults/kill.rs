//! Killed before each change to a file, in the run and in the recovery from it.

use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::cases::{Workshop, all_are_wanted, go_through};
use crate::factory::program;
use crate::scene::{
    Run, Scene, all_files, command, copy_tree, rebuild, repair, said_by, waits_in_the_journal,
};
use crate::tracer::{Calls, Fault, run, run_until};

/// Cases at once: most of a run's time is waiting, for a disk or for the tracer.
const AT_ONCE: usize = 6;

/// Of the recovery from one kill, this many calls are killed as well when not all are wanted.
const NESTED: usize = 2;

/// What is killed, and how it is recovered from.
struct Victim {
    /// What is killed before its changes.
    killed: fn(&Path) -> Command,
    /// What the owner does then; the number is that of the kill.
    mend: fn(&Path, usize),
    /// What recovers, and is killed as well.
    recovery: fn(&Path) -> Command,
    /// Of its changes, this many are killed, evenly chosen, when not all are wanted.
    points: usize,
}

impl Victim {
    /// A pass, which the next one recovers.
    const PASS: Self = Self::that_finishes_itself(command);

    /// A command that is just given once more.
    const fn that_finishes_itself(killed: fn(&Path) -> Command) -> Self {
        Self {
            killed,
            mend: |_, _| {},
            recovery: killed,
            points: usize::MAX,
        }
    }
}

/// Kills a run of the scene before each of its changes, and recovers; then the same, killing the recovery, too.
fn kill_everywhere(workshop: &Workshop, name: &str, scene: &Scene, victim: &Victim) -> Vec<String> {
    let reference = {
        let root = workshop.path().join("reference");
        scene.lay_out(&root);
        run(&(victim.killed)(&root), &root, Calls::Changes, Fault::None)
    };
    let all = reference.calls.len();
    let step = if all_are_wanted() {
        1
    } else {
        all.div_ceil(victim.points)
    };
    let points: Vec<usize> = (1..=all).step_by(step).collect();
    let (killed, nested, nested_all) = (
        AtomicUsize::new(0),
        AtomicUsize::new(0),
        AtomicUsize::new(0),
    );
    let missed = Mutex::new(Vec::new());
    go_through(AT_ONCE, &points, |thread, &point| {
        let root = workshop.path().join(format!("root-{thread}"));
        let state = workshop.path().join(format!("state-{thread}"));
        scene.lay_out(&root);
        let killed_there = Fault::Kill(point);
        let broken = run(&(victim.killed)(&root), &root, Calls::Changes, killed_there);
        if broken.fired == 0 {
            // The last few calls race with the end of the program.
            missed.lock().unwrap().push(point);
            return Ok(());
        }
        killed.fetch_add(1, Ordering::Relaxed);
        let told = |error: String| {
            let call = broken.calls.last().map_or("", String::as_str);
            format!("{name}, killed before change {point}, {call}: {error}")
        };
        if broken.code.is_some() {
            return Err(told(format!("it ended by itself with {:?}", broken.code)));
        }
        scene.nothing_is_lost(&root).map_err(told)?;
        (victim.mend)(&root, point / step);
        copy_tree(&root, &state);
        let recovery = run(
            &(victim.recovery)(&root),
            &root,
            Calls::Changes,
            Fault::None,
        );
        let said = Run::read(recovery.code, recovery.said);
        scene.has_recovered(&root, &said).map_err(told)?;

        let changes = recovery.calls.len();
        nested_all.fetch_add(changes, Ordering::Relaxed);
        for second in chosen(point, changes) {
            copy_tree(&state, &root);
            let again = run(
                &(victim.recovery)(&root),
                &root,
                Calls::Changes,
                Fault::Kill(second),
            );
            if again.fired == 0 {
                continue;
            }
            nested.fetch_add(1, Ordering::Relaxed);
            let told = |error| {
                let call = again.calls.last().map_or("", String::as_str);
                told(format!(
                    "recovery killed before change {second}, {call}: {error}"
                ))
            };
            scene.nothing_is_lost(&root).map_err(told)?;
            let last = said_by(&mut (victim.recovery)(&root));
            scene.has_recovered(&root, &last).map_err(told)?;
        }
        Ok(())
    });
    let (killed, nested) = (killed.into_inner(), nested.into_inner());
    println!(
        "{name}: killed at {killed} of {} points, nested {nested} of {} states: 0 lost, 0 unrecovered",
        all,
        nested_all.into_inner()
    );
    let mut missed = missed.into_inner().unwrap();
    missed.sort_unstable();
    assert!(
        missed.iter().all(|point| point + 3 > all),
        "the kills did not come at {missed:?} of {all}"
    );
    assert!(nested > 0, "no recovery was killed");
    reference.calls
}

/// Which changes of the recovery are killed, too; others for each first kill.
fn chosen(point: usize, changes: usize) -> Vec<usize> {
    if all_are_wanted() || changes <= NESTED {
        return (1..=changes).collect();
    }
    let part = changes / NESTED;
    (0..NESTED)
        .map(|which| 1 + which * part + (point * 7) % part)
        .collect()
}

#[test]
fn a_kill_before_any_change_of_the_first_start_loses_nothing_and_is_recovered_from() {
    let workshop = Workshop::new("kill-first");
    let scene = Scene::first_start(workshop.path());
    let calls = kill_everywhere(&workshop, "first start", &scene, &Victim::PASS);
    let came = |part: &str| calls.iter().any(|call| call.contains(part));
    assert!(
        came("linkat Storage/Originals"),
        "none was linked: {calls:#?}"
    );
    assert!(came(".part"), "none was copied: {calls:#?}");
    assert!(
        came("renameat2 Photos_Inbox"),
        "none was cleared: {calls:#?}"
    );
}

#[test]
fn a_kill_before_any_change_of_a_later_start_loses_nothing_and_is_recovered_from() {
    let workshop = Workshop::new("kill-later");
    let scene = Scene::later_start(workshop.path());
    kill_everywhere(&workshop, "later start", &scene, &Victim::PASS);
}

#[test]
fn a_kill_before_any_change_of_a_start_in_an_empty_folder_is_recovered_from() {
    let workshop = Workshop::new("kill-empty");
    let scene = Scene::empty_root(workshop.path());
    kill_everywhere(&workshop, "empty folder", &scene, &Victim::PASS);
}

/// The ledger is put back, or made anew.
fn mend_the_ledger(root: &Path, kill: usize) {
    if kill.is_multiple_of(2) {
        Scene::put_the_ledger_back(root);
        return;
    }
    let rebuilt = said_by(&mut rebuild(root));
    assert!(matches!(rebuilt.code, Some(0 | 2)), "{}", rebuilt.said);
}

#[test]
fn a_kill_before_any_change_of_a_run_without_its_ledger_loses_nothing_and_is_recovered_from() {
    let workshop = Workshop::new("kill-down");
    let scene = Scene::without_ledger(workshop.path());
    let victim = Victim {
        mend: mend_the_ledger,
        points: 80,
        ..Victim::PASS
    };
    let calls = kill_everywhere(&workshop, "ledger down", &scene, &victim);
    let noted = |call: &String| call.starts_with("pwrite64 Data/journal.jsonl");
    assert!(calls.iter().any(noted), "no journal: {calls:#?}");
}

#[test]
fn a_kill_before_any_change_of_a_run_that_folds_the_journal_in_is_recovered_from() {
    let workshop = Workshop::new("kill-folding");
    let scene = Scene::with_a_journal(workshop.path());
    let victim = Victim {
        points: 80,
        ..Victim::PASS
    };
    let calls = kill_everywhere(&workshop, "folding", &scene, &victim);
    let removed = |call: &String| call.starts_with("unlink") && call.ends_with("journal.jsonl");
    assert!(calls.iter().any(removed), "nothing was folded: {calls:#?}");
}

#[test]
fn a_kill_before_any_change_of_a_rebuild_is_made_good_by_the_next_one() {
    let workshop = Workshop::new("kill-rebuild");
    let scene = Scene::to_be_rebuilt(workshop.path());
    let victim = Victim {
        points: 80,
        ..Victim::that_finishes_itself(rebuild)
    };
    let calls = kill_everywhere(&workshop, "rebuild", &scene, &victim);
    let placed = |call: &String| call == "renameat2 Data/ledger.redb";
    assert!(calls.iter().any(placed), "it was not placed: {calls:#?}");
    assert!(!waits_in_the_journal(&workshop.path().join("reference")));
}

#[test]
fn a_kill_before_any_change_of_a_repair_is_made_good_by_the_next_one() {
    let workshop = Workshop::new("kill-repair");
    let scene = Scene::to_be_repaired(workshop.path());
    let victim = Victim::that_finishes_itself(repair);
    let calls = kill_everywhere(&workshop, "repair", &scene, &victim);
    let kept = |call: &String| call.starts_with("linkat Storage/Damaged");
    assert!(calls.iter().any(kept), "nothing was set aside: {calls:#?}");
}

/// The appliance makes more files than one pass does: its history, its log. This many of its changes are killed, evenly
/// chosen, when not all are wanted.
const OF_THE_APPLIANCE: usize = 40;

#[test]
fn a_kill_before_any_change_of_the_appliance_loses_nothing_and_it_starts_again() {
    let workshop = Workshop::new("kill-appliance");
    let scene = Scene::first_start(workshop.path());
    let live = |root: &Path, fault| {
        let mut command = Command::new(program());
        command.arg("--root").arg(root);
        command.args(["run", "--listen", "127.0.0.1:0"]);
        command.env("TZ", "UTC");
        // It is there, has filed everything, and its history has come into being.
        let is_done = |said: &str| {
            said.contains("http://")
                && scene.all_is_filed(root).is_ok()
                && all_files(&root.join("Photos_Inbox")).len() == 1
                && root.join("Data/history.redb").exists()
        };
        run_until(&command, root, Calls::Changes, fault, is_done)
    };
    let root = workshop.path().join("reference");
    scene.lay_out(&root);
    let reference = live(&root, Fault::None);
    assert_eq!(reference.code, Some(0), "{}", reference.said);
    // What comes when nothing is left in the inbox is a matter of time: history, log.
    let cleared = |call: &String| call.contains(" Photos_Inbox");
    let changes = reference.calls.iter().rposition(cleared).unwrap() + 1;
    let step = if all_are_wanted() {
        1
    } else {
        changes.div_ceil(OF_THE_APPLIANCE)
    };
    let points: Vec<usize> = (1..=changes).step_by(step).collect();
    let killed = AtomicUsize::new(0);
    go_through(AT_ONCE, &points, |thread, &point| {
        let root = workshop.path().join(format!("root-{thread}"));
        scene.lay_out(&root);
        let broken = live(&root, Fault::Kill(point));
        if broken.fired == 0 {
            return Ok(());
        }
        killed.fetch_add(1, Ordering::Relaxed);
        let told = |error: String| {
            let call = broken.calls.last().map_or("", String::as_str);
            format!("the appliance, killed before change {point}, {call}: {error}")
        };
        scene.nothing_is_lost(&root).map_err(told)?;
        let again = live(&root, Fault::None);
        if again.hung || again.code != Some(0) {
            let ended = format!("it then ended with {:?}: {}", again.code, again.said);
            return Err(told(ended));
        }
        scene.all_is_filed(&root).map_err(told)?;
        scene.is_as_after_a_pass(&root).map_err(told)
    });
    let killed = killed.into_inner();
    println!("appliance: killed at {killed} of {changes} points: 0 lost, 0 unrecovered");
    assert!(killed * 10 >= points.len() * 9, "the kills did not come");
}
