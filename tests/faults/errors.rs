//! Calls that fail, once or for ever from some point on; then the disk is well again, and everything is filed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::errno::Errno;

use crate::cases::{Workshop, all_are_wanted, go_through};
use crate::scene::{Scene, all_files, command};
use crate::tracer::{CAN_REFUSE, Calls, Fault, makes_sense, run};

/// What a disk, or a system short of descriptors, answers.
const ERRORS: [Errno; 6] = [
    Errno::EIO,
    Errno::ENOSPC,
    Errno::EROFS,
    Errno::EACCES,
    Errno::EDQUOT,
    Errno::EMFILE,
];

/// Not all are wanted: then every call fails once with one of the errors, and of every kind of call one in so
/// many fails for ever.
const FOR_EVER_EACH: usize = 12;

fn refuse_everywhere(
    workshop: &Workshop,
    name: &str,
    scene: &Scene,
    counted: Calls,
    must_meet: &[&str],
) {
    if !CAN_REFUSE {
        println!("skipped: {name} needs a machine on which single calls can be refused: x86_64");
        return;
    }
    let calls = {
        let root = workshop.path().join("reference");
        scene.lay_out(&root);
        run(&command(&root), &root, counted, Fault::None).calls
    };
    let mut faults = Vec::new();
    let mut met_by_call: BTreeMap<String, usize> = BTreeMap::new();
    for (index, call) in calls.iter().enumerate() {
        let at = index + 1;
        let call = call.split(' ').next().unwrap_or_default();
        let errors: Vec<Errno> = ERRORS
            .into_iter()
            .filter(|&error| makes_sense(error, call))
            .collect();
        if all_are_wanted() {
            for error in errors {
                faults.extend([Fault::Once(at, error), Fault::From(at, error)]);
            }
            continue;
        }
        // Each kind of call goes through the errors by itself: a common step would keep some of them apart for ever.
        let met = met_by_call.entry(call.to_owned()).or_default();
        faults.push(Fault::Once(at, errors[*met % errors.len()]));
        // What is rare fails for ever with each error at its first call, what is common at every so many.
        if *met == 0 {
            faults.extend(errors.iter().map(|&error| Fault::From(at, error)));
            faults.extend(errors.iter().skip(1).map(|&error| Fault::Once(at, error)));
        } else if met.is_multiple_of(FOR_EVER_EACH) {
            let which = *met / FOR_EVER_EACH % errors.len();
            faults.push(Fault::From(at, errors[which]));
        }
        *met += 1;
    }
    let (fired, calls_refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let met = Mutex::new(Met::new());
    let try_one = |thread: usize, counted: Calls, fault: Fault<'_>| {
        let root = workshop.path().join(format!("root-{thread}"));
        scene.lay_out(&root);
        let broken = run(&command(&root), &root, counted, fault);
        if broken.fired == 0 {
            return Ok(());
        }
        fired.fetch_add(1, Ordering::Relaxed);
        note_met(&met, &broken.calls, fault);
        calls_refused.fetch_add(broken.fired, Ordering::Relaxed);
        let told = |error: String| {
            let call = match fault {
                Fault::Once(at, _) | Fault::From(at, _) => broken.calls.get(at - 1),
                Fault::None | Fault::Kill(_) | Fault::Before(..) => None,
            };
            format!(
                "{name}, {fault:?} ({}): {error}\nThe run itself ended with {:?} and said {}",
                call.map_or("", String::as_str),
                broken.code,
                broken.said
            )
        };
        if broken.hung {
            return Err(told("it hung".to_owned()));
        }
        if !matches!(broken.code, Some(0..=2)) {
            return Err(told("it did not end by itself".to_owned()));
        }
        scene.nothing_is_lost(&root).map_err(told)?;
        let recovered = if broken.said.contains("noted in a journal") {
            scene.recovers_from_no_ledger(&root)
        } else {
            scene.recovers(&root)
        };
        recovered.map_err(told)
    };
    // Most of the time they wait for the disk to be well again.
    go_through(4, &faults, |thread, &fault| try_one(thread, counted, fault));
    // Threads take turns as they like: where another call came in the place of a rare one, that is asked for by its name.
    let missing: Vec<_> = not_met(&met.lock().unwrap(), must_meet);
    go_through(4, &missing, |thread, &(call, error, lasts)| {
        let fault = if lasts == ONCE {
            Fault::Once(1, error)
        } else {
            Fault::From(1, error)
        };
        try_one(thread, Calls::Named(call), fault)
    });
    let fired = fired.into_inner();
    println!(
        "{name}: {fired} of {} faults fired, {} calls refused: 0 lost, 0 unrecovered",
        faults.len(),
        calls_refused.into_inner()
    );
    assert!(fired * 10 >= faults.len() * 9, "the faults did not fire");
    let met = met.into_inner().unwrap();
    for (call, errors) in &met {
        println!("{name}: {call}: {errors:?}");
    }
    for kind in must_meet {
        let is_met = met.keys().any(|call| is_of_kind(call, kind));
        assert!(is_met, "{name}: no {kind} was refused");
    }
    let missing = not_met(&met, must_meet);
    assert!(missing.is_empty(), "{name}: never met {missing:?}");
}

const ONCE: &str = "once";
const EVER: &str = "ever";

/// Which of the errors that each kind of call must meet it did not: the call's name, the error, how long it lasts.
fn not_met(met: &Met, must_meet: &[&str]) -> Vec<(&'static str, Errno, &'static str)> {
    let mut missing = Vec::new();
    for kind in must_meet {
        // Those that this run makes under another name are asked for by their kind.
        for (call, errors) in met.iter().filter(|(call, _)| is_of_kind(call, kind)) {
            for error in [Errno::ENOSPC, Errno::EIO, Errno::EROFS, Errno::EMFILE] {
                for lasts in [ONCE, EVER] {
                    if makes_sense(error, call) && !errors.contains(&(format!("{error:?}"), lasts))
                    {
                        missing.push((&*call.clone().leak(), error, lasts));
                    }
                }
            }
        }
    }
    missing
}

/// Which errors each kind of call met, once or for ever.
type Met = BTreeMap<String, BTreeSet<(String, &'static str)>>;

/// The kinds of calls that a run makes when it files photos.
const KINDS: [&str; 6] = ["write", "sync", "rename", "link", "unlink", "open"];

/// Whether a call is of a kind, under whichever name a machine knows it.
fn is_of_kind(call: &str, kind: &str) -> bool {
    match kind {
        "write" | "sync" => call.contains(kind),
        // Not `unlink`.
        kind => call.starts_with(kind),
    }
}

fn note_met(met: &Mutex<Met>, calls: &[String], fault: Fault<'_>) {
    let (at, error, lasts) = match fault {
        Fault::Once(at, error) => (at, error, ONCE),
        Fault::From(at, error) => (at, error, EVER),
        Fault::None | Fault::Kill(_) | Fault::Before(..) => return,
    };
    // Threads may come in another order than in the reference: what counts is the call that was refused.
    let Some(call) = calls.get(at - 1).and_then(|call| call.split(' ').next()) else {
        return;
    };
    let mut met = met.lock().unwrap();
    let errors = met.entry(call.to_owned()).or_default();
    errors.insert((format!("{error:?}"), lasts));
}

#[test]
fn a_change_that_fails_on_the_first_start_costs_no_photo_and_is_made_good() {
    let workshop = Workshop::new("errors-first");
    let scene = Scene::first_start(workshop.path());
    let name = "failing changes, first start";
    refuse_everywhere(&workshop, name, &scene, Calls::Changes, &KINDS);
}

#[test]
fn a_change_that_fails_on_a_later_start_costs_no_photo_and_is_made_good() {
    let workshop = Workshop::new("errors-later");
    let scene = Scene::later_start(workshop.path());
    let name = "failing changes, later start";
    refuse_everywhere(&workshop, name, &scene, Calls::Changes, &[]);
}

#[test]
fn a_look_that_fails_costs_no_photo_and_is_made_good() {
    let workshop = Workshop::new("errors-looks");
    let scene = Scene::later_start(workshop.path());
    refuse_everywhere(&workshop, "failing looks", &scene, Calls::Looks, &[]);
}

#[test]
fn an_open_that_fails_costs_no_photo_and_is_made_good() {
    let workshop = Workshop::new("errors-opens");
    let scene = Scene::later_start(workshop.path());
    refuse_everywhere(&workshop, "failing opens", &scene, Calls::Opens, &["open"]);
}

#[test]
fn p1_a_disk_that_refuses_to_sync_keeps_every_photo_in_the_inbox() {
    let workshop = Workshop::new("no-sync");
    let scene = Scene::later_start(workshop.path());
    let root = workshop.path().join("root");
    scene.lay_out(&root);
    let before = all_files(&root.join("Photos_Inbox"));
    let fault = Fault::From(1, Errno::EIO);
    let broken = run(&command(&root), &root, Calls::Syncs, fault);
    if !CAN_REFUSE {
        println!("skipped: the disk that refuses to sync needs x86_64");
        return;
    }
    assert!(broken.fired > 0, "the fault did not fire");
    assert!(matches!(broken.code, Some(1 | 2)), "{}", broken.said);
    let after = all_files(&root.join("Photos_Inbox"));
    assert_eq!(before, after, "nothing may leave the inbox");
    scene.recovers(&root).unwrap();
}
