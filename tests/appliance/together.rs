//! Two commands at once on one factory: one works, the other says clearly why it does not, and nothing is lost.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::process::Output;

use rustix::process::Signal;

use crate::factory::{Beside, Factory, PATIENCE, files_below, hash};
use crate::fixtures::exif::Exif;
use crate::fixtures::jpeg::Load;

/// Lays so many photos into the inbox; gives their hashes.
fn lay(factory: &Factory, seed: u64, count: u64) -> BTreeSet<String> {
    let mut pictures = Load::new(seed);
    (0..count)
        .map(|number| {
            let exif = Exif::taken(&format!("2022:05:06 07:08:{:02}", number % 60));
            let content = pictures.next(&exif, 20_000);
            factory.put(format!("IMG_{seed}{number:04}.JPG"), &content);
            hash(&content)
        })
        .collect()
}

/// A file that stays open for writing: while it does, a pass over the inbox does not end.
fn keep_busy(factory: &Factory) -> File {
    let path = factory.put("being-written.jpg", b"\xff\xd8\xff\xe0 not all of it");
    OpenOptions::new().append(true).open(path).unwrap()
}

/// Starts `ingest` on 40 photos, and stops it in the middle: it holds the factory until it is told to go on. Gives it with the
/// hashes of the photos.
fn ingest_that_stands(factory: &Factory) -> (Beside, BTreeSet<String>) {
    let mut given = BTreeSet::new();
    // It waits for the open file, but not for ever: on a busy machine it may be over before we have stopped it.
    for seed in 40..60 {
        let before = files_below(&factory.originals()).len();
        given.extend(lay(factory, seed, 40));
        let mut ingest = Beside::start(factory.command().args(["ingest", "--json"]));
        factory.wait_until("ingest has filed a photo", PATIENCE, || {
            files_below(&factory.originals()).len() > before
        });
        ingest.signal(Signal::STOP);
        if !ingest.has_ended() {
            return (ingest, given);
        }
    }
    panic!("each ingest was over before it could be stopped");
}

/// The command could not run, changed nothing, and said all of these words.
fn assert_refused(output: &Output, words: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    for word in words {
        assert!(said.contains(word), "no `{word}` in: {said}");
    }
    assert!(output.stdout.is_empty(), "{output:?}");
}

fn contents(factory: &Factory) -> BTreeSet<String> {
    factory.filed().into_values().collect()
}

#[test]
fn p1_ingest_beside_run_is_refused_and_run_files_everything() {
    let mut factory = Factory::new("ingest-beside-run");
    let mut given = lay(&factory, 1, 60);
    factory.start();
    let card = factory.root().join("card");
    std::fs::create_dir(&card).unwrap();
    std::fs::write(card.join("a.jpg"), b"x").unwrap();
    let copy = ["ingest", "--copy", card.to_str().unwrap()];
    for arguments in [&["ingest"][..], &["ingest", "--json"], &copy] {
        let words = ["already", "stop it first", "`photo-factory status`"];
        assert_refused(&factory.run(arguments), &words);
    }
    given.extend(lay(&factory, 2, 20));
    factory.wait_until_the_inbox_is_empty();
    assert!(factory.is_running());
    let (status, _) = factory.stop();
    assert!(status.success(), "{status}");
    assert_eq!(contents(&factory), given);
    factory.assert_ledger_and_originals_agree();
}

#[test]
fn p1_a_second_run_is_refused_and_leaves_page_and_socket_to_the_first() {
    let mut factory = Factory::new("two-runs");
    let given = lay(&factory, 3, 60);
    factory.start();
    for _ in 0..3 {
        let second = factory.run(&["run", "--listen", "127.0.0.1:0"]);
        assert_refused(&second, &["already", "stop it first"]);
    }
    factory.status();
    let through_the_socket = factory.run(&["status", "--json"]);
    assert!(
        through_the_socket.status.success(),
        "{through_the_socket:?}"
    );
    factory.wait_until_the_inbox_is_empty();
    assert!(factory.is_running());
    factory.stop();
    assert_eq!(contents(&factory), given);
    factory.assert_ledger_and_originals_agree();
}

#[test]
fn p1_a_second_ingest_is_refused_while_the_first_works_and_status_and_export_say_to_wait() {
    let factory = Factory::new("two-ingests");
    let writer = keep_busy(&factory);
    let (mut first, given) = ingest_that_stands(&factory);
    let words = ["already", "stop it first"];
    assert_refused(&factory.run(&["ingest"]), &words);
    assert_refused(&factory.run(&["run", "--listen", "127.0.0.1:0"]), &words);
    let asking: Vec<Beside> = [&["status"][..], &["status", "--json"], &["export"]]
        .into_iter()
        .map(|command| Beside::start(factory.command().args(command)))
        .collect();
    for asked in asking {
        assert_refused(&asked.output(), &["another photo-factory", "try again"]);
    }
    assert!(!first.has_ended(), "it was to stand still all the while");
    drop(writer);
    first.signal(Signal::CONT);
    first.output();
    assert!(given.is_subset(&contents(&factory)));
    assert_eq!(factory.run(&["status"]).status.code(), Some(0));
    factory.assert_ledger_and_originals_agree();
}

#[test]
fn p1_of_commands_that_begin_a_new_factory_at_once_none_harms_another() {
    for round in 0..5 {
        let factory = Factory::new("all-at-once");
        let given = lay(&factory, 10 + round, 25);
        let begun: Vec<Beside> = (0..6)
            .map(|_| Beside::start(factory.command().args(["ingest", "--json"])))
            .collect();
        let mut worked = 0;
        for one in begun {
            let output = one.output();
            match output.status.code() {
                Some(0) => worked += 1,
                _ => assert_refused(&output, &["already", "stop it first"]),
            }
        }
        assert!(worked > 0, "each kept the others from working");
        assert!(factory.waiting().is_empty(), "{:?}", factory.waiting());
        assert_eq!(contents(&factory), given);
        factory.assert_ledger_and_originals_agree();
    }
}

#[test]
fn status_export_and_inspect_beside_run_answer_and_disturb_nothing() {
    let mut factory = Factory::new("beside-run");
    let mut given = lay(&factory, 5, 100);
    factory.start();
    factory.wait_until("something is filed", PATIENCE, || {
        !factory.rows().is_empty()
    });
    let card = factory.root().join("card.jpg");
    std::fs::write(
        &card,
        Load::new(99).next(&Exif::taken("2020:01:02 03:04:05"), 5000),
    )
    .unwrap();
    for round in 0..5 {
        given.extend(lay(&factory, 20 + round, 10));
        let inspect = ["inspect", card.to_str().unwrap(), "--json"];
        for arguments in [
            &["status"][..],
            &["status", "--json"],
            &["export"],
            &["export", "--csv"],
            &inspect,
            &["ingest", "--dry-run"],
        ] {
            let output = factory.run(arguments);
            let code = output.status.code();
            assert!(matches!(code, Some(0 | 2)), "{arguments:?}: {output:?}");
            assert!(!output.stdout.is_empty(), "{arguments:?}: {output:?}");
        }
    }
    factory.wait_until_the_inbox_is_empty();
    assert!(factory.is_running());
    factory.stop();
    assert_eq!(contents(&factory), given);
    factory.assert_ledger_and_originals_agree();
}

#[test]
fn many_who_ask_for_the_status_at_once_all_get_it_and_keep_no_start_from_working() {
    let mut factory = Factory::new("many-ask");
    let mut given = lay(&factory, 6, 5);
    assert_eq!(factory.ingest().code, 0);
    for round in 0..4 {
        given.extend(lay(&factory, 30 + round, 5));
        let asking: Vec<(&str, Beside)> = (0..6)
            .map(|number| {
                let command = if number % 2 == 0 { "status" } else { "export" };
                (command, Beside::start(factory.command().arg(command)))
            })
            .collect();
        // Each waits for the other, but no longer than a few seconds: where these are not enough, it says to try again.
        let started = factory.try_start(factory.run_command());
        let asked: Vec<_> = asking
            .into_iter()
            .map(|(command, asked)| (command, asked.output()))
            .collect();
        if let Err(said) = started {
            assert!(said.contains("already"), "{said}");
            factory.start();
        }
        for (command, output) in asked {
            if !output.status.success() {
                assert_refused(&output, &["another photo-factory", "try again"]);
                let again = factory.run(&[command]);
                assert!(again.status.success(), "{again:?}");
            }
        }
        factory.wait_until_the_inbox_is_empty();
        let (status, _) = factory.stop();
        assert!(status.success(), "{status}");
    }
    assert_eq!(contents(&factory), given);
    factory.assert_ledger_and_originals_agree();
}
