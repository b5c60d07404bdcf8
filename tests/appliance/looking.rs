//! Commands that only look change nothing, need no right to change anything, and say what they do not see.

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use crate::doctor::everything;
use crate::factory::{Factory, PATIENCE, may_mount};
use crate::fixtures::exif::Exif;
use crate::fixtures::jpeg;
use crate::storage::Mounted;

/// The commands that look, with what they print where a photo was filed.
const LOOKS: [(&[&str], &str); 6] = [
    (&["status"], "kept       1 "),
    (&["status", "--json"], "\"total\": 1"),
    (&["export"], "a.jpg"),
    (&["export", "--csv"], "a.jpg"),
    (&["verify"], "1 of 1 originals are sound"),
    (&["doctor"], "opens; 1 photos and videos"),
];

fn filed(name: &str) -> Factory {
    let factory = Factory::new(name);
    let taken = Exif::taken("2021:02:03 04:05:06");
    factory.put("a.jpg", &jpeg::small(1, &taken));
    assert_eq!(factory.ingest().code, 0);
    factory
}

/// The command says what it has to say.
fn look(factory: &Factory, arguments: &[&str], says: &str) {
    let output = factory.run(arguments);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains(says), "{arguments:?}: {output:?}");
}

#[test]
fn a_command_that_only_looks_changes_no_file_of_the_factory() {
    let factory = filed("looking");
    let before = everything(factory.root());
    for (arguments, says) in LOOKS {
        look(&factory, arguments, says);
        assert_eq!(everything(factory.root()), before, "{arguments:?}");
    }
}

#[test]
fn a_command_that_only_looks_works_where_data_is_mounted_read_only() {
    if !may_mount("a Data that is mounted read-only") {
        return;
    }
    let factory = filed("looking-read-only");
    let _mounted = Mounted::read_only(&factory.root().join("Data"));
    for (arguments, says) in LOOKS {
        look(&factory, arguments, says);
    }
}

#[test]
fn a_ledger_that_was_not_closed_is_put_right_to_be_read_or_it_is_said_that_this_cannot_be() {
    if !may_mount("a killed appliance's Data that is mounted read-only") {
        return;
    }
    let mut factory = filed("looking-killed");
    factory.start();
    factory.put(
        "b.jpg",
        &jpeg::small(2, &Exif::taken("2021:02:04 04:05:06")),
    );
    factory.wait_until("b.jpg is filed", PATIENCE, || factory.waiting().is_empty());
    factory.kill();
    let data = factory.root().join("Data");
    let mounted = Mounted::read_only(&data);
    let before = everything(&data);
    for arguments in [["export"], ["verify"], ["status"], ["doctor"]] {
        let output = factory.run(&arguments);
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(
            said.contains("was not closed cleanly"),
            "{arguments:?}: {said}"
        );
        assert!(
            said.contains("mount its disk writable"),
            "{arguments:?}: {said}"
        );
    }
    assert_eq!(everything(&data), before);
    drop(mounted);
    assert_eq!(factory.rows().len(), 2);
    let put_right = everything(&data);
    assert_eq!(factory.rows().len(), 2);
    assert_eq!(everything(&data), put_right);
}

/// A factory that has filed one photo in its ledger, and one in its journal.
fn journaled(name: &str) -> Factory {
    let factory = filed(name);
    let ledger = factory.root().join("Data/ledger.redb");
    let sound = fs::read(&ledger).unwrap();
    fs::write(&ledger, "no ledger").unwrap();
    let taken = Exif::taken("2021:02:04 04:05:06");
    factory.put("b.jpg", &jpeg::small(2, &taken));
    assert_eq!(factory.ingest().code, 0);
    fs::write(&ledger, sound).unwrap();
    assert!(journal(&factory).exists());
    factory
}

fn journal(factory: &Factory) -> PathBuf {
    factory.root().join("Data/journal.jsonl")
}

fn said(output: &Output) -> String {
    let said = [output.stdout.as_slice(), &output.stderr].concat();
    String::from_utf8_lossy(&said).into_owned()
}

#[test]
fn photos_that_only_the_journal_knows_are_told_of_and_no_repair_goes_past_them() {
    let factory = journaled("looking-journaled");
    let backup = factory.root().join("Storage");
    let copied = factory.root().join("backup");
    for path in crate::factory::files_below(&backup) {
        let copy = copied.join(path.strip_prefix(&backup).unwrap());
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::copy(path, copy).unwrap();
    }
    let before = everything(factory.root());
    for arguments in [["status"], ["export"], ["doctor"], ["verify"]] {
        let said = said(&factory.run(&arguments));
        assert!(
            said.contains("1 photo is noted in the journal only"),
            "{arguments:?}: {said}"
        );
        assert!(said.contains(" ingest`"), "{arguments:?}: {said}");
    }
    let verified = factory.run(&["verify", "--json"]);
    assert_eq!(verified.status.code(), Some(0), "{verified:?}");
    assert!(said(&verified).contains("\"journaled\":1"), "{verified:?}");
    let repair = ["verify", "--repair", "--from", copied.to_str().unwrap()];
    let refused = factory.run(&repair);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(
        said(&refused).contains("`photo-factory ingest`"),
        "{refused:?}"
    );
    assert_eq!(everything(factory.root()), before);

    assert_eq!(factory.ingest().code, 0);
    assert_eq!(factory.rows().len(), 2);
    let repaired = factory.run(&repair);
    assert_eq!(repaired.status.code(), Some(0), "{repaired:?}");
}

#[test]
fn lines_of_the_journal_that_cannot_be_read_are_a_finding_until_their_photos_are_looked_for() {
    let factory = journaled("looking-torn-journal");
    let lines = fs::read_to_string(journal(&factory)).unwrap();
    let damaged = lines.replacen("\"line\":\"intend\"", "\"line\":\"intent\"", 1);
    assert_ne!(damaged, lines);
    fs::write(journal(&factory), damaged).unwrap();
    let doctor = said(&factory.run(&["doctor"]));
    assert!(doctor.contains("1 lines of the journal"), "{doctor}");
    assert_eq!(factory.ingest().code, 0);
    let aside = factory.root().join("Data/journal.jsonl.damaged");
    let doctor = said(&factory.run(&["doctor"]));
    assert!(
        doctor.contains(&format!("rm {}", aside.display())),
        "{doctor}"
    );
    assert_eq!(factory.run(&["rebuild"]).status.code(), Some(0));
    assert_eq!(factory.rows().len(), 2);
}
