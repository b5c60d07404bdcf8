//! Power cuts, replayed: what runs of the real program change on the disk is recorded call by call; from the record, the
//! worst states are built that the disk may hold when the power goes between two calls; the program recovers each.
//!
//! Every photo is looked for in every state; the program recovers an even sample of them, all with
//! `PHOTO_FACTORY_FAULTS=all`, an eighth of the sample with `few`. States that were not recovered are laid out once more, for
//! a look, in the folder that `PHOTO_FACTORY_KEEP` names.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::let_underscore_must_use,
    reason = "tests make and change files, and fail by panicking"
)]

mod cut;
mod disk;
#[path = "../appliance/factory.rs"]
#[allow(dead_code, reason = "the other tests use all of it")]
mod factory;
#[path = "../fixtures/mod.rs"]
mod fixtures;
mod record;
mod scene;

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use cut::{Cut, Model, Replay};
use disk::{Call, Effect, Inode};
use factory::{laying_out, output_of};
use record::{Record, Recorder};
use scene::{Folder, Mend, Scene, command, waits_in_the_journal};

/// What FAT answers to a link.
const NO_LINKS: &str = "linkat:error=EPERM";

/// A record with what must not be lost in it.
struct Recorded {
    scene: Scene,
    record: Record,
    /// The first point of interest.
    first: usize,
}

/// What a replay came to.
#[derive(Default)]
struct Outcome {
    points: usize,
    /// States in which every photo was looked for.
    distinct: usize,
    /// States that the program was made to recover.
    recovered: usize,
    lost: Vec<String>,
    unrecovered: Vec<String>,
}

impl Recorded {
    /// Which cut, of which record, after which call.
    fn name_of(&self, name: &str, cut: Cut) -> String {
        let last = cut
            .point
            .checked_sub(1)
            .and_then(|last| self.record.calls.get(last));
        format!(
            "{name}: {cut} ({})",
            last.map_or("before all", |call| &call.shown)
        )
    }

    /// The states in which a photo is nowhere.
    fn lost(&self, name: &str, models: &[Model]) -> Vec<String> {
        let states =
            Replay::new(&self.record).states(self.first, models, |state| self.scene.missing(state));
        let lost = states
            .into_iter()
            .filter(|(_, missing)| !missing.is_empty());
        lost.map(|(cut, missing)| format!("{}: {missing:?}", self.name_of(name, cut)))
            .collect()
    }
}

/// Builds the states of a record, looks for every photo in each, and has the program recover `most` of them, on all cores.
fn replay(name: &str, recorded: &Recorded, models: &[Model], most: usize) -> Outcome {
    let replay = Replay::new(&recorded.record);
    let states = replay.states(recorded.first, models, |state| {
        recorded.scene.missing(state)
    });
    let count = match std::env::var("PHOTO_FACTORY_FAULTS").as_deref() {
        Ok("all") => states.len(),
        Ok("few") => most.min(states.len()) / 8,
        _ => most.min(states.len()),
    };
    let is_lost = states.iter().any(|(_, missing)| !missing.is_empty());
    let count = if is_lost { 0 } else { count };
    let sample: Vec<Cut> = (0..count)
        .map(|index| states[index * states.len() / count].0)
        .collect();
    let lost = states.iter().filter(|(_, missing)| !missing.is_empty());
    let lost = lost.map(|(cut, missing)| format!("{}: {missing:?}", recorded.name_of(name, *cut)));
    let outcome = Outcome {
        points: recorded.record.calls.len() + 1 - recorded.first,
        distinct: states.len(),
        recovered: sample.len(),
        lost: lost.collect(),
        unrecovered: Vec::new(),
    };
    let unrecovered = Mutex::new(Vec::new());
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism()
        .map_or(2, usize::from)
        .min(8);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (replay, unrecovered, next, sample) = (&replay, &unrecovered, &next, &sample);
            scope.spawn(move || {
                let folder = Folder::new(&format!("{name}-{thread}"));
                let is_enough = || unrecovered.lock().unwrap().len() >= 20;
                while let Some(cut) = sample.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if is_enough() {
                        break;
                    }
                    let state = replay.state(*cut);
                    drop(std::fs::remove_dir_all(&folder.0));
                    laying_out(|| state.materialise(&folder.0)).unwrap();
                    if let Err(what) = recorded.scene.recover(&folder.0) {
                        if let Some(keep) = std::env::var_os("PHOTO_FACTORY_KEEP") {
                            let kept = format!("{name}-{}-{:?}", cut.point, cut.model);
                            state.materialise(&Path::new(&keep).join(kept)).unwrap();
                        }
                        let told = format!("{}: {what}", recorded.name_of(name, *cut));
                        unrecovered.lock().unwrap().push(told);
                    }
                }
            });
        }
    });
    Outcome {
        unrecovered: unrecovered.into_inner().unwrap(),
        ..outcome
    }
}

/// Prints what it came to, and fails if a state was lost or not recovered.
fn tell(name: &str, models: &[Model], outcomes: &[Outcome]) {
    let sum = |number: fn(&Outcome) -> usize| outcomes.iter().map(number).sum::<usize>();
    println!(
        "power cut, {name}: {} models, {} points, {} distinct states, {} of them recovered by the program: {} lost, {} unrecovered",
        models.len(),
        sum(|outcome| outcome.points),
        sum(|outcome| outcome.distinct),
        sum(|outcome| outcome.recovered),
        sum(|outcome| outcome.lost.len()),
        sum(|outcome| outcome.unrecovered.len()),
    );
    let wrong: Vec<&String> = outcomes
        .iter()
        .flat_map(|outcome| outcome.lost.iter().chain(&outcome.unrecovered))
        .collect();
    for one in wrong.iter().take(20) {
        println!("{one}");
    }
    assert!(
        wrong.is_empty(),
        "{} states were lost or not recovered",
        wrong.len()
    );
    assert!(
        sum(|outcome| outcome.recovered) > 30,
        "hardly a state was tried: was anything recorded?"
    );
}

/// Records one `ingest`, from a first start or beside photos that are kept already.
fn record_a_run(name: &str, first_start: bool, inject: Option<&str>) -> Recorded {
    let folder = Folder::new(name);
    let mut scene = Scene::prepare(&folder.0);
    if !first_start {
        scene.file_some_before(&folder.0);
    }
    scene.fill(&folder.0, inject.is_none());
    let mut recorder = Recorder::new(&folder.0);
    let status = recorder
        .run(&command(&folder.0, &["ingest"]), inject)
        .unwrap();
    assert_eq!(status.code(), Some(2), "all but the note is taken");
    Recorded {
        scene,
        record: recorder.finish(),
        first: 0,
    }
}

/// Lays out a factory that has filed photos and then lost its ledger, with more photos in the inbox; gives the lost ledger.
fn lay_out_without_a_ledger(folder: &Folder) -> (Scene, Vec<u8>) {
    let mut scene = Scene::prepare(&folder.0);
    scene.file_some_before(&folder.0);
    let ledger = scene.lose_the_ledger(&folder.0);
    scene.fill(&folder.0, true);
    (scene, ledger)
}

/// Records an `ingest` while the ledger is down; gives the lost ledger, too.
fn record_a_run_without_a_ledger(name: &str) -> (Recorded, Vec<u8>) {
    let folder = Folder::new(name);
    let (scene, ledger) = lay_out_without_a_ledger(&folder);
    let mut recorder = Recorder::new(&folder.0);
    let status = recorder
        .run(&command(&folder.0, &["ingest"]), None)
        .unwrap();
    assert_eq!(status.code(), Some(2), "all but the note is taken");
    assert!(waits_in_the_journal(&folder.0), "the ledger was not down");
    let run = Recorded {
        scene,
        record: recorder.finish(),
        first: 0,
    };
    (run, ledger)
}

/// Records how a journal goes into a ledger: into an older copy by an `ingest` that also takes photos, or into a new one by a
/// `rebuild`.
fn record_a_folding(name: &str, is_put_back: bool) -> Recorded {
    let folder = Folder::new(name);
    let (mut scene, ledger) = lay_out_without_a_ledger(&folder);
    let output = output_of(&mut command(&folder.0, &["ingest"]));
    assert_eq!(output.status.code(), Some(2), "all but the note is taken");
    assert!(waits_in_the_journal(&folder.0), "the ledger was not down");
    scene.bring_more(&folder.0);
    let (mend, command_line) = if is_put_back {
        (Mend::Nothing, "ingest")
    } else {
        (Mend::Rebuild, "rebuild")
    };
    if is_put_back {
        Mend::PutBack(ledger).carry_out(&folder.0).unwrap();
    }
    let mut recorder = Recorder::new(&folder.0);
    let status = recorder
        .run(&command(&folder.0, &[command_line]), None)
        .unwrap();
    assert!(matches!(status.code(), Some(0 | 2)), "{name}: {status}");
    assert!(!waits_in_the_journal(&folder.0), "nothing was folded in");
    Recorded {
        scene: scene.mended_by(mend),
        record: recorder.finish(),
        first: 0,
    }
}

/// Records a run that is killed at a call, and the run that recovers it: what the first one wrote is not lost by the kill,
/// but nothing has made it durable either. The points of interest are those of the recovery.
fn record_a_recovery_after_a_kill(name: &str, kills: &[&str]) -> Recorded {
    // A kill meets other threads in the middle of a call, of which nobody can tell whether it was carried out: then anew.
    let mut why = String::new();
    for _ in 0..20 {
        let folder = Folder::new(name);
        let mut scene = Scene::prepare(&folder.0);
        scene.file_some_before(&folder.0);
        scene.fill(&folder.0, true);
        let mut recorder = Recorder::new(&folder.0);
        let killed = kills.iter().try_for_each(|kill| {
            let kill = format!("{kill}:signal=SIGKILL");
            let status = recorder.run(&command(&folder.0, &["ingest"]), Some(&kill))?;
            assert_eq!(
                status.signal(),
                Some(9),
                "{name}: it was to be killed at {kill}"
            );
            Ok::<(), String>(())
        });
        let first = recorder.calls();
        let recovered = killed.and_then(|()| recorder.run(&command(&folder.0, &["ingest"]), None));
        match recovered {
            Ok(status) => {
                // The note may have been told of by the run that was killed.
                assert!(matches!(status.code(), Some(0 | 2)), "{name}: {status}");
                return Recorded {
                    scene,
                    record: recorder.finish(),
                    first,
                };
            }
            Err(error) => why = error,
        }
    }
    panic!("{name}: no clean record in twenty attempts: {why}");
}

/// Records the recovery from states that a power cut left.
fn record_recoveries_after_cuts(
    name: &str,
    from: &Recorded,
    models: &[Model],
    count: usize,
    inject: Option<&str>,
) -> Vec<Recorded> {
    let replay = Replay::new(&from.record);
    let cuts = replay.states(from.first, models, |_| ());
    (1..=count)
        .map(|index| {
            let (cut, ()) = cuts[index * (cuts.len() - 1) / count];
            let folder = Folder::new(name);
            laying_out(|| replay.state(cut).materialise(&folder.0)).unwrap();
            let mut recorder = Recorder::new(&folder.0);
            recorder
                .run(&command(&folder.0, &["ingest"]), inject)
                .unwrap();
            Recorded {
                scene: from.scene.clone(),
                record: recorder.finish(),
                first: 0,
            }
        })
        .collect()
}

fn has_strace(test: &str) -> bool {
    let found = record::is_installed("strace");
    if !found {
        println!("skipped: {test} needs strace, which is not installed");
    }
    found
}

#[test]
fn a_power_cut_at_any_moment_of_a_run_loses_no_photo() {
    if !has_strace("a_power_cut_at_any_moment_of_a_run_loses_no_photo") {
        return;
    }
    let recorded = record_a_run("run", false, None);
    let outcome = replay("run", &recorded, &Model::UNIX, 400);
    tell("one run", &Model::UNIX, &[outcome]);
}

#[test]
fn a_power_cut_at_any_moment_of_the_first_start_loses_no_photo() {
    if !has_strace("a_power_cut_at_any_moment_of_the_first_start_loses_no_photo") {
        return;
    }
    let recorded = record_a_run("first", true, None);
    let outcome = replay("first", &recorded, &Model::UNIX, 300);
    tell("the first start", &Model::UNIX, &[outcome]);
}

#[test]
fn a_power_cut_on_a_fat_disk_loses_no_photo() {
    if !has_strace("a_power_cut_on_a_fat_disk_loses_no_photo") {
        return;
    }
    let outcomes: Vec<Outcome> = [true, false]
        .map(|first_start| {
            let recorded = record_a_run("fat", first_start, Some(NO_LINKS));
            replay("fat", &recorded, &Model::FAT, 250)
        })
        .into();
    tell("FAT", &Model::FAT, &outcomes);
}

#[test]
fn a_power_cut_while_a_killed_run_is_recovered_loses_no_photo() {
    if !has_strace("a_power_cut_while_a_killed_run_is_recovered_loses_no_photo") {
        return;
    }
    let kills: [&[&str]; 7] = [
        &["linkat:when=1"],
        &["fsync:when=3"],
        &["renameat2:when=1"],
        &["renameat2:when=2"],
        &["unlinkat:when=1"],
        &["fdatasync:when=5"],
        &["linkat:when=1", "fdatasync:when=1"],
    ];
    let outcomes: Vec<Outcome> = kills
        .iter()
        .map(|kills| {
            let recorded = record_a_recovery_after_a_kill("killed", kills);
            replay(&format!("killed at {kills:?}"), &recorded, &Model::UNIX, 80)
        })
        .collect();
    tell("recovery after a kill", &Model::UNIX, &outcomes);
}

#[test]
fn a_power_cut_while_a_power_cut_is_recovered_loses_no_photo() {
    if !has_strace("a_power_cut_while_a_power_cut_is_recovered_loses_no_photo") {
        return;
    }
    let run = record_a_run("cut-run", false, None);
    let unix = record_recoveries_after_cuts("cut", &run, &Model::UNIX, 6, None);
    let run = record_a_run("cut-fat-run", false, Some(NO_LINKS));
    let fat = record_recoveries_after_cuts("cut-fat", &run, &Model::FAT, 6, Some(NO_LINKS));
    let all = unix
        .iter()
        .map(|one| (one, &Model::UNIX[..]))
        .chain(fat.iter().map(|one| (one, &Model::FAT[..])));
    let outcomes: Vec<Outcome> = all
        .map(|(recorded, models)| replay("cut", recorded, models, 50))
        .collect();
    tell("recovery after a power cut", &Model::UNIX, &outcomes);
}

#[test]
fn a_power_cut_while_the_ledger_is_down_loses_no_photo() {
    if !has_strace("a_power_cut_while_the_ledger_is_down_loses_no_photo") {
        return;
    }
    let (recorded, ledger) = record_a_run_without_a_ledger("down");
    let outcomes = [Mend::PutBack(ledger), Mend::Rebuild].map(|mend| {
        let recorded = Recorded {
            scene: recorded.scene.mended_by(mend),
            record: recorded.record.clone(),
            first: 0,
        };
        replay("down", &recorded, &Model::UNIX, 136)
    });
    tell("a run while the ledger is down", &Model::UNIX, &outcomes);
}

#[test]
fn a_power_cut_while_the_journal_goes_into_the_ledger_loses_no_photo() {
    if !has_strace("a_power_cut_while_the_journal_goes_into_the_ledger_loses_no_photo") {
        return;
    }
    let outcomes = [true, false].map(|is_put_back| {
        let recorded = record_a_folding("folding", is_put_back);
        replay("folding", &recorded, &Model::UNIX, 136)
    });
    tell("a journal folded in", &Model::UNIX, &outcomes);
}

#[test]
fn an_inbox_name_goes_only_after_the_ledger_s_commit_that_follows_the_placing() {
    if !has_strace("an_inbox_name_goes_only_after_the_ledger_s_commit_that_follows_the_placing") {
        return;
    }
    for inject in [None, Some(NO_LINKS)] {
        let folder = Folder::new("order");
        let mut scene = Scene::prepare(&folder.0);
        scene.put_one(&folder.0);
        let mut recorder = Recorder::new(&folder.0);
        let status = recorder
            .run(&command(&folder.0, &["ingest"]), inject)
            .unwrap();
        assert!(status.success(), "{status}");
        let record = recorder.finish();
        let effects: Vec<&Effect> = record.calls.iter().flat_map(|call| &call.effects).collect();
        let last = |what: &dyn Fn(&Effect) -> bool| {
            effects.iter().rposition(|effect| what(effect)).unwrap()
        };
        let cleared = effects
            .iter()
            .position(|effect| matches!(effect, Effect::Remove { folder, .. } if record.is_below(scene::INBOX, *folder)))
            .expect("the inbox is cleared");
        let placed = last(
            &|effect| matches!(effect, Effect::SyncFolder { folder } if record.is_below("Storage", *folder)),
        );
        let committed = effects[..cleared]
            .iter()
            .rposition(|effect| matches!(effect, Effect::SyncFile { inode, .. } if record.is_below("Data", *inode)))
            .expect("the ledger is synced");
        assert!(
            placed < committed,
            "the inbox name went before the ledger had the photo: {effects:#?}"
        );
    }
}

/// A disk that lies, and a program that does things in the wrong order: the replay must say so, or it proves nothing.
#[test]
fn a_record_without_its_syncs_or_in_the_wrong_order_loses_photos() {
    if !has_strace("a_record_without_its_syncs_or_in_the_wrong_order_loses_photos") {
        return;
    }
    let unix = record_a_run("mutant", false, None);
    let fat = record_a_run("mutant-fat", false, Some(NO_LINKS));
    assert_eq!(unix.lost("unchanged", &Model::UNIX), [""; 0]);
    assert_eq!(fat.lost("unchanged", &Model::FAT), [""; 0]);
    let in_storage = |recorded: &Recorded, inode: Inode| recorded.record.is_below("Storage", inode);
    let no_file_syncs = unix.without(|_, effect| match effect {
        Effect::SyncFile { inode, .. } => in_storage(&unix, *inode),
        _ => false,
    });
    let no_folder_syncs = unix.without(|_, effect| match effect {
        Effect::SyncFolder { folder } => in_storage(&unix, *folder),
        _ => false,
    });
    let no_sync_after_the_rename = fat.without(|calls, effect| match effect {
        Effect::SyncFile { inode, .. } => {
            let renamed = |call: &&Call| matches!(call.effects.as_slice(), [Effect::Add { inode: of, .. }, Effect::Remove { .. }] if of == inode);
            in_storage(&fat, *inode) && calls.iter().any(|call| renamed(&call))
        }
        _ => false,
    });
    let cleared_too_early = unix.with_the_inbox_cleared_first();
    for (name, mutant, models) in [
        ("no sync of files", no_file_syncs, &Model::UNIX[..]),
        ("no sync of folders", no_folder_syncs, &Model::UNIX[..]),
        (
            "no sync after the rename",
            no_sync_after_the_rename,
            &Model::FAT[..],
        ),
        ("inbox cleared first", cleared_too_early, &Model::UNIX[..]),
    ] {
        let lost = mutant.lost(name, models);
        println!(
            "power cut, {name}: photos are lost in {} states, as they must be",
            lost.len()
        );
        assert!(!lost.is_empty(), "{name}: the replay does not notice");
    }
}

impl Recorded {
    /// The same record without some effects; the judge also sees the calls before.
    fn without(&self, is_dropped: impl Fn(&[Call], &Effect) -> bool) -> Self {
        let mut record = self.record.clone();
        for index in 0..record.calls.len() {
            let (before, rest) = record.calls.split_at_mut(index);
            rest[0].effects.retain(|effect| !is_dropped(before, effect));
        }
        Self {
            scene: self.scene.clone(),
            record,
            first: 0,
        }
    }

    /// The same record, with all that happens in the inbox before all that makes a name in Originals durable.
    fn with_the_inbox_cleared_first(&self) -> Self {
        let mut record = self.record.clone();
        let in_inbox = |call: &Call| {
            let folder = call.effects.first().and_then(Effect::folder);
            folder.is_some_and(|folder| self.record.is_below(scene::INBOX, folder))
        };
        let syncs_a_folder = |call: &Call| matches!(call.effects.as_slice(), [Effect::SyncFolder { folder }] if self.record.is_below("Storage", *folder));
        let first_sync = record.calls.iter().position(syncs_a_folder).unwrap();
        let (early, late): (Vec<Call>, Vec<Call>) = record
            .calls
            .split_off(first_sync)
            .into_iter()
            .partition(in_inbox);
        record.calls.extend(early);
        record.calls.extend(late);
        for (index, call) in record.calls.iter_mut().enumerate() {
            call.over_before = index;
        }
        Self {
            scene: self.scene.clone(),
            record,
            first: 0,
        }
    }
}
