//! The journal: what it remembers, what a cut leaves of it, and how it goes into the ledger.

#![expect(
    clippy::disallowed_methods,
    reason = "the ledger is taken away, and the journal damaged, by hand"
)]

use super::*;
use crate::asset::crc32;

/// A Data folder whose ledger is gone.
fn without_ledger() -> (Data, Ledger) {
    let data = Data::new();
    drop(data.open());
    std::fs::remove_file(data.file()).unwrap();
    let ledger = data.open();
    assert!(ledger.degraded().is_some());
    (data, ledger)
}

fn journal(data: &Data) -> PathBuf {
    data.0.join("journal.jsonl")
}

fn journaled(ledger: &Ledger) -> Vec<String> {
    ledger
        .journaled(AssetId(0), 1000)
        .iter()
        .map(name)
        .collect()
}

/// Makes a ledger in the place of the one that is gone, and opens it.
fn made_anew(data: &Data) -> Ledger {
    Ledger::make_anew(&data.0).unwrap()
}

fn rows(ledger: &Ledger) -> Vec<String> {
    ledger
        .page(AssetId(0), 1000)
        .unwrap()
        .iter()
        .map(name)
        .collect()
}

#[test]
fn while_the_ledger_is_gone_the_journal_answers_like_it() {
    let (data, ledger) = without_ledger();
    let first = new(&intend(&ledger, vec![draft(1, "IMG_1.JPG")])[0]).clone();
    assert_eq!(
        intend(&ledger, vec![draft(1, "copy.JPG")]),
        [Verdict::InFlight]
    );
    change(&ledger, &[finish(&first), finish(&first)]);
    assert_eq!(
        intend(&ledger, vec![draft(1, "copy.JPG")]),
        [Verdict::Known(first)]
    );
    // Another photo of that name, and one that is taken back.
    let second = new(&intend(&ledger, vec![draft(2, "b/img_1.jpg")])[0]).clone();
    assert_eq!(name(&second), "img_1-1.jpg");
    change(&ledger, &[withdraw(&second)]);
    assert_eq!(ledger.intents().unwrap(), []);
    let third = new(&intend(&ledger, vec![draft(3, "b/IMG_1.JPG")])[0]).clone();
    assert_eq!(name(&third), "IMG_1-1.JPG");
    drop(ledger);

    // What was under way is seen at the next start.
    let ledger = data.open();
    assert_eq!(ledger.intents().unwrap(), std::slice::from_ref(&third));
    change(&ledger, &[finish(&third)]);
    drop(ledger);

    let ledger = made_anew(&data);
    assert_eq!(rows(&ledger), ["IMG_1.JPG", "IMG_1-1.JPG"]);
    assert!(!journal(&data).exists());
}

#[test]
fn what_stands_under_the_wished_name_is_to_be_compared_first() {
    let (_data, ledger) = without_ledger();
    let shot = shot(vec![draft(1, "IMG_1.JPG"), follower(2, "IMG_1.MOV")]);
    let stands = shot.folder.join("IMG_1.JPG");
    let ask = |change: Change| {
        let outcomes = ledger.commit(&[change], now(), &|path| path != stands);
        match outcomes.unwrap().remove(0) {
            Outcome::Intended(verdicts) => verdicts,
            other => panic!("no verdicts but {other:?}"),
        }
    };
    assert_eq!(
        ask(Change::Intend(shot.clone())),
        [Verdict::Compare, Verdict::Compare]
    );
    let verdicts = ask(Change::IntendBeside(shot));
    let names: Vec<_> = verdicts.iter().map(|verdict| name(new(verdict))).collect();
    assert_eq!(names, ["IMG_1-1.JPG", "IMG_1-1.MOV"]);
}

#[test]
fn of_a_journal_cut_anywhere_every_whole_line_counts_and_it_can_be_added_to() {
    let (data, ledger) = without_ledger();
    for number in 1..=3 {
        file(&ledger, vec![draft(number, format!("IMG_{number}.JPG"))]);
    }
    drop(ledger);
    let whole = std::fs::read(journal(&data)).unwrap();
    // Each costs a few syncs.
    for cut in (0..whole.len())
        .step_by(7)
        .chain([whole.len() - 1, whole.len()])
    {
        std::fs::write(journal(&data), &whole[..cut]).unwrap();
        let lines = whole[..cut].split_inclusive(|byte| *byte == b'\n');
        let complete = lines.filter(|line| line.ends_with(b"\n")).count();
        let ledger = data.open();
        // The first line begins the journal; then an intent and its finish in turn.
        let (finished, open) = (
            complete.saturating_sub(1) / 2,
            complete.saturating_sub(1) % 2,
        );
        assert_eq!(journaled(&ledger).len(), finished, "cut at {cut}");
        assert_eq!(ledger.intents().unwrap().len(), open, "cut at {cut}");
        file(&ledger, vec![draft(9, "next.JPG")]);
        drop(ledger);
        let ledger = data.open();
        assert_eq!(journaled(&ledger).len(), finished + 1, "cut at {cut}");
    }
}

#[test]
fn a_damaged_line_hides_no_other_and_its_journal_is_put_aside_not_removed() {
    let (data, ledger) = without_ledger();
    for number in 1..=3 {
        file(&ledger, vec![draft(number, format!("IMG_{number}.JPG"))]);
    }
    drop(ledger);
    let mut bytes = std::fs::read(journal(&data)).unwrap();
    let second = bytes.windows(9).position(|at| at == b"IMG_2.JPG").unwrap();
    bytes[second] ^= 1;
    std::fs::write(journal(&data), bytes).unwrap();
    let ledger = made_anew(&data);
    assert_eq!(rows(&ledger), ["IMG_1.JPG", "IMG_3.JPG"]);
    assert!(!journal(&data).exists());
    assert!(data.0.join("journal.jsonl.damaged").exists());
}

#[test]
fn the_journal_of_a_later_version_is_refused_and_left_as_it_is() {
    let (data, _) = without_ledger();
    let line = br#"{"line":"begin","format":2"#;
    let mut bytes = line.to_vec();
    let sum = format!(",\"sum\":\"{:08x}\"}}\n", crc32([line.as_slice()]));
    bytes.extend_from_slice(sum.as_bytes());
    std::fs::write(journal(&data), &bytes).unwrap();
    let ledger = data.open();
    let asked = ledger.commit(
        &[Change::Intend(shot(vec![draft(1, "a.jpg")]))],
        now(),
        &free,
    );
    let error = asked.unwrap_err();
    assert!(matches!(error, LedgerError::NewerJournal { .. }), "{error}");
    let said = ledger.degraded().unwrap().sentence();
    assert!(
        said.contains("later version") && said.contains("wait in the inbox"),
        "{said}"
    );
    assert_eq!(std::fs::read(journal(&data)).unwrap(), bytes);
    // With the ledger it goes on, and says so.
    drop(made_in_place(&data));
    until_back(&ledger);
    file(&ledger, vec![draft(1, "a.jpg")]);
    drop(ledger);
    let ledger = data.open();
    assert_eq!(rows(&ledger), ["a.jpg"]);
    let notice = ledger.journal_notice().unwrap();
    assert!(notice.contains("later version"), "{notice}");
    assert_eq!(std::fs::read(journal(&data)).unwrap(), bytes);
}

#[test]
fn a_journal_that_cannot_be_written_records_nothing_and_goes_on_when_it_can() {
    let (data, ledger) = without_ledger();
    file(&ledger, vec![draft(1, "IMG_1.JPG")]);
    let aside = data.0.join("aside");
    std::fs::rename(journal(&data), &aside).unwrap();
    std::fs::create_dir(journal(&data)).unwrap();
    let changes = [Change::Intend(shot(vec![draft(2, "IMG_2.JPG")]))];
    let error = ledger.commit(&changes, now(), &free).unwrap_err();
    assert!(matches!(error, LedgerError::Journal { .. }), "{error}");
    assert_eq!(ledger.intents().unwrap(), []);
    let said = ledger.degraded().unwrap().sentence();
    assert!(said.contains("Nothing can be filed"), "{said}");
    std::fs::remove_dir(journal(&data)).unwrap();
    std::fs::rename(&aside, journal(&data)).unwrap();
    file(&ledger, vec![draft(2, "IMG_2.JPG")]);
    assert_eq!(journaled(&ledger), ["IMG_1.JPG", "IMG_2.JPG"]);
    // A change that names nothing spoils its own batch and no more.
    let changes = [
        Change::Intend(shot(vec![draft(3, "IMG_3.JPG")])),
        of_no_row(),
    ];
    assert!(
        ledger
            .commit(&changes, now(), &free)
            .unwrap_err()
            .is_about_one_row()
    );
    assert_eq!(ledger.intents().unwrap(), []);
}

#[test]
fn what_is_under_way_when_the_ledger_comes_back_keeps_its_bytes_and_its_name() {
    let (data, ledger) = without_ledger();
    let filed = new(&intend(&ledger, vec![draft(1, "IMG_1.JPG")])[0]).clone();
    change(&ledger, &[finish(&filed)]);
    let under_way = new(&intend(&ledger, vec![draft(2, "IMG_2.JPG")])[0]).clone();
    drop(made_in_place(&data));
    until_back(&ledger);
    assert_eq!(rows(&ledger), ["IMG_1.JPG"]);
    assert!(journal(&data).exists());
    assert_eq!(
        intend(&ledger, vec![draft(2, "again.JPG")]),
        [Verdict::InFlight]
    );
    let third = || vec![draft(3, "b/IMG_2.JPG")];
    assert_eq!(intend(&ledger, third()), [Verdict::Compare]);
    let beside = ledger.commit(&[Change::IntendBeside(shot(third()))], now(), &free);
    let other = match &beside.unwrap()[0] {
        Outcome::Intended(verdicts) => new(&verdicts[0]).clone(),
        other => panic!("no verdicts but {other:?}"),
    };
    assert_eq!(name(&other), "IMG_2-1.JPG");
    change(
        &ledger,
        &[finish(&filed), finish(&under_way), finish(&other)],
    );
    let mut names = rows(&ledger);
    names.sort();
    assert_eq!(names, ["IMG_1.JPG", "IMG_2-1.JPG", "IMG_2.JPG"]);
    assert_eq!(ledger.intents().unwrap(), []);
    assert!(!journal(&data).exists());
}

/// Makes a ledger under the name of the one that is gone, as `rebuild` does, while another is at work.
fn made_in_place(data: &Data) -> Data {
    let elsewhere = Data::new();
    drop(elsewhere.open());
    std::fs::rename(elsewhere.file(), data.file()).unwrap();
    elsewhere
}

#[test]
fn halves_that_waited_in_the_journal_name_each_other_in_the_ledger() {
    let (data, ledger) = without_ledger();
    let members = vec![
        draft(1, "IMG_1.HEIC"),
        follower(2, "IMG_1.MOV"),
        follower(3, "IMG_1.xmp"),
        Draft {
            extension: ".HEIC.json".into(),
            kind: Kind::Sidecar,
            ..follower(4, "IMG_1.HEIC.json")
        },
    ];
    file(&ledger, members);
    drop(ledger);
    let ledger = made_anew(&data);
    let rows = ledger.page(AssetId(0), 9).unwrap();
    assert_eq!(rows[0].paired_with, Some(rows[1].id));
    assert_eq!(rows[1].paired_with, Some(rows[0].id));
    assert_eq!(rows[2].paired_with, Some(rows[0].id));
    assert_eq!(rows[3].paired_with, Some(rows[0].id));
    assert!(rows[3].final_path.ends_with("IMG_1.HEIC.json"));
}

#[test]
fn reading_changes_neither_a_journal_nor_its_torn_end() {
    let (data, ledger) = without_ledger();
    file(&ledger, vec![draft(1, "IMG_1.JPG")]);
    drop(ledger);
    let mut bytes = std::fs::read(journal(&data)).unwrap();
    bytes.extend_from_slice(b"{\"line\":\"fin");
    std::fs::write(journal(&data), &bytes).unwrap();
    drop(made_in_place(&data));
    let ledger = Ledger::open_existing(&data.0).unwrap().unwrap();
    assert_eq!(journaled(&ledger), ["IMG_1.JPG"]);
    drop(ledger);
    assert_eq!(std::fs::read(journal(&data)).unwrap(), bytes);
}

#[test]
fn of_a_thousand_photos_of_one_name_each_finds_its_suffix_at_once() {
    let data = Data::new();
    let ledger = data.open();
    let looked = std::cell::Cell::new(0);
    let is_free = |_: &Path| {
        looked.set(looked.get() + 1);
        true
    };
    let changes: Vec<Change> = (0..1000)
        .map(|number| Change::Intend(shot(vec![draft(number, format!("{number}/IMG_1.JPG"))])))
        .collect();
    let mut names = Vec::new();
    for batch in changes.chunks(250) {
        for outcome in ledger.commit(batch, now(), &is_free).unwrap() {
            let Outcome::Intended(verdicts) = outcome else {
                panic!("no verdicts");
            };
            names.push(name(new(&verdicts[0])));
        }
    }
    let expected = (1..1000).map(|number| format!("IMG_1-{number}.JPG"));
    let expected: Vec<_> = std::iter::once("IMG_1.JPG".to_owned())
        .chain(expected)
        .collect();
    assert_eq!(names, expected);
    assert!(looked.get() <= 1000, "{} looks", looked.get());
    // A name that becomes free again is the first to be given.
    let intents = ledger.intents().unwrap();
    change(&ledger, &[withdraw(&intents[4])]);
    let again = intend(&ledger, vec![draft(5000, "x/IMG_1.JPG")]);
    assert_eq!(name(new(&again[0])), "IMG_1-4.JPG");
}

#[test]
fn a_journal_that_is_moved_or_removed_is_written_anew_with_all_that_it_held() {
    for is_moved in [true, false] {
        let (data, ledger) = without_ledger();
        file(&ledger, vec![draft(1, "IMG_1.JPG")]);
        if is_moved {
            std::fs::rename(journal(&data), data.0.join("aside")).unwrap();
        } else {
            std::fs::remove_file(journal(&data)).unwrap();
        }
        file(&ledger, vec![draft(2, "IMG_2.JPG")]);
        assert_eq!(journaled(&ledger), ["IMG_1.JPG", "IMG_2.JPG"]);
        drop(ledger);
        assert_eq!(journaled(&data.open()), ["IMG_1.JPG", "IMG_2.JPG"]);
    }
}

#[test]
fn a_row_whose_name_the_ledger_has_for_other_bytes_is_kept_and_so_is_the_one_that_is_gone() {
    let data = Data::new();
    let ledger = data.open();
    let old = file(&ledger, vec![draft(1, "IMG_1.JPG")])[0];
    let aside = data.0.join("aside");
    std::fs::rename(data.file(), &aside).unwrap();
    // Its original is gone, so the name is free.
    file(&ledger, vec![draft(2, "b/IMG_1.JPG")]);
    std::fs::rename(&aside, data.file()).unwrap();
    until_back(&ledger);
    assert!(!journal(&data).exists());
    let stands = ledger.by_hash(&hash(2)).unwrap().unwrap();
    assert_eq!(name(&stands), "IMG_1.JPG");
    assert_eq!(
        ledger.by_final_path(&stands.final_path).unwrap(),
        Some(stands.clone())
    );
    let gone = ledger.asset(old).unwrap().unwrap();
    assert_eq!(name(&gone), format!("IMG_1-row-{}.JPG", old.0));
    assert_eq!(
        place_before(&gone.final_path).as_ref(),
        Some(&stands.final_path)
    );
    assert!(gone.errors[0].contains("is gone"), "{:?}", gone.errors);
    let totals = ledger.totals().unwrap();
    assert_eq!((totals.assets, totals.with_errors), (2, 1));
    assert_eq!(
        intend(&ledger, vec![draft(1, "again.JPG")]),
        [Verdict::Known(gone)]
    );
}

#[test]
fn p6_a_row_that_meets_an_unreadable_one_stays_in_the_journal_and_all_else_goes_on() {
    let data = Data::new();
    let ledger = data.open();
    file(&ledger, vec![draft(1, "IMG_1.JPG")]);
    drop(ledger);
    let whole = std::fs::read(data.file()).unwrap();
    let mut damaged = whole.clone();
    let marks: Vec<usize> = (0..whole.len() - 32)
        .filter(|&at| whole[at..at + 32] == hash(1).0)
        .collect();
    assert!(!marks.is_empty());
    for at in marks {
        damaged[at + 32] ^= 1;
    }
    std::fs::remove_file(data.file()).unwrap();
    let ledger = data.open();
    file(&ledger, vec![draft(1, "c/IMG_1.JPG")]);
    file(&ledger, vec![draft(2, "IMG_2.JPG")]);
    std::fs::write(data.file(), damaged).unwrap();
    until_back(&ledger);
    file(&ledger, vec![draft(3, "IMG_3.JPG")]);
    assert_eq!(ledger.degraded(), None);
    assert_eq!(rows(&ledger), ["IMG_2.JPG", "IMG_3.JPG"]);
    assert_eq!(journaled(&ledger), ["IMG_1.JPG"]);
    let notice = ledger.journal_notice().unwrap();
    assert!(notice.contains("photo-factory rebuild"), "{notice}");
}
