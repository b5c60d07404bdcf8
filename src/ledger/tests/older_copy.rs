//! An older copy of the ledger is put back while photos are under way: there their ids are other photos'.

#![expect(
    clippy::disallowed_methods,
    reason = "the ledger is replaced by hand, as its owner does"
)]

use super::*;

/// A ledger that knows one photo, with a copy from then.
fn with_copy() -> (Data, Ledger, PathBuf) {
    let data = Data::new();
    let ledger = data.open();
    file(&ledger, vec![draft(1, "IMG_1.JPG")]);
    let copy = data.0.join("copy");
    std::fs::copy(data.file(), &copy).unwrap();
    (data, ledger, copy)
}

/// Puts the copy back, and waits until it is in use.
fn put_back(data: &Data, ledger: &Ledger, copy: &Path) {
    std::fs::rename(copy, data.file()).unwrap();
    while ledger.totals().is_err() {
        std::thread::yield_now();
    }
}

fn promised(ledger: &Ledger, members: Vec<Draft>) -> Vec<Asset> {
    intend(ledger, members)
        .iter()
        .map(|verdict| new(verdict).clone())
        .collect()
}

fn names(ledger: &Ledger) -> Vec<String> {
    let rows = ledger.page(AssetId(0), 100).unwrap();
    rows.iter().map(name).collect()
}

#[test]
fn p1_a_photo_under_way_is_recorded_though_its_id_was_given_to_another_photo_meanwhile() {
    let (data, ledger, copy) = with_copy();
    let held = promised(&ledger, vec![draft(2, "IMG_2.JPG")]).remove(0);
    put_back(&data, &ledger, &copy);
    let other = promised(&ledger, vec![draft(3, "IMG_3.JPG")]).remove(0);
    assert_eq!(other.id, held.id, "the copy gives the id once more");
    let outcomes = ledger.commit(&[finish(&held)], now(), &free).unwrap();
    let Outcome::Finished(id) = outcomes[0] else {
        panic!("not finished but {outcomes:?}");
    };
    assert_ne!(id, other.id);
    assert_eq!(ledger.asset(id).unwrap().unwrap().file_hash, hash(2));
    // Asked again, it answers the same.
    let again = ledger.commit(&[finish(&held)], now(), &free).unwrap();
    assert_eq!(again, [Outcome::Finished(id)]);
    change(&ledger, &[finish(&other)]);
    let mut rows = names(&ledger);
    rows.sort();
    assert_eq!(rows, ["IMG_1.JPG", "IMG_2.JPG", "IMG_3.JPG"]);
    assert_eq!(ledger.intents().unwrap(), []);
    assert_eq!(ledger.asset(other.id).unwrap().unwrap().file_hash, hash(3));
}

#[test]
fn p1_the_same_where_the_other_photo_is_filed_already_or_the_copy_knows_nothing_of_the_id() {
    for is_filed in [true, false] {
        let (data, ledger, copy) = with_copy();
        let held = promised(&ledger, vec![draft(2, "IMG_2.JPG")]).remove(0);
        put_back(&data, &ledger, &copy);
        if is_filed {
            file(&ledger, vec![draft(3, "IMG_3.JPG")]);
        }
        change(&ledger, &[finish(&held)]);
        let row = ledger.by_hash(&hash(2)).unwrap().unwrap();
        assert_eq!(row.final_path, held.final_path);
        assert_eq!(ledger.totals().unwrap().assets, 2 + u64::from(is_filed));
    }
}

#[test]
fn what_is_taken_back_takes_nothing_from_the_photo_that_has_its_id_now() {
    let (data, ledger, copy) = with_copy();
    let held = promised(&ledger, vec![draft(2, "IMG_2.JPG")]).remove(0);
    put_back(&data, &ledger, &copy);
    let other = promised(&ledger, vec![draft(3, "IMG_3.JPG")]).remove(0);
    change(&ledger, &[withdraw(&held), withdraw(&held)]);
    assert_eq!(ledger.intents().unwrap(), std::slice::from_ref(&other));
    change(&ledger, &[finish(&other)]);
    change(&ledger, &[withdraw(&held)]);
    assert_eq!(names(&ledger), ["IMG_1.JPG", "IMG_3.JPG"]);
}

#[test]
fn what_was_taken_back_without_the_ledger_takes_nothing_from_another_photo_later() {
    let (data, ledger, copy) = with_copy();
    let held = promised(&ledger, vec![draft(2, "IMG_2.JPG")]).remove(0);
    let other = {
        let elsewhere = Data::new();
        std::fs::copy(&copy, elsewhere.file()).unwrap();
        let ledger = elsewhere.open();
        let other = promised(&ledger, vec![draft(3, "IMG_3.JPG")]).remove(0);
        drop(ledger);
        std::fs::rename(elsewhere.file(), &copy).unwrap();
        other
    };
    assert_eq!(other.id, held.id);
    std::fs::remove_file(data.file()).unwrap();
    change(&ledger, &[withdraw(&held), withdraw(&held)]);
    assert!(ledger.degraded().is_some());
    put_back(&data, &ledger, &copy);
    assert_eq!(ledger.intents().unwrap(), [other]);
}

#[test]
fn a_half_whose_leader_has_another_id_in_the_copy_finds_it_by_its_name() {
    let (data, ledger, copy) = with_copy();
    let takeouts = || Draft {
        extension: ".HEIC.json".into(),
        kind: Kind::Sidecar,
        ..follower(5, "a/IMG_2.HEIC.json")
    };
    let shot = || {
        vec![
            draft(2, "a/IMG_2.HEIC"),
            follower(4, "a/IMG_2.xmp"),
            takeouts(),
        ]
    };
    let held = promised(&ledger, shot());
    put_back(&data, &ledger, &copy);
    file(&ledger, vec![draft(3, "IMG_3.JPG")]);
    let finishes: Vec<Change> = held.iter().map(finish).collect();
    change(&ledger, &finishes);
    let still = ledger.by_hash(&hash(2)).unwrap().unwrap();
    assert_ne!(still.id, held[0].id);
    let sidecars = ledger.paired_to(still.id).unwrap();
    let names: Vec<_> = sidecars.iter().map(name).collect();
    assert_eq!(names, ["IMG_2.xmp", "IMG_2.HEIC.json"]);
    assert_eq!(ledger.paired_to(held[0].id).unwrap(), []);
}

#[test]
fn a_late_half_joins_the_photo_that_it_was_read_beside_whatever_had_its_id_before() {
    let (data, ledger, copy) = with_copy();
    let held = promised(&ledger, vec![draft(2, "IMG_2.HEIC")]).remove(0);
    std::fs::remove_file(data.file()).unwrap();
    change(&ledger, &[finish(&held)]);
    // In the ledger that comes, that id is another photo's.
    {
        let elsewhere = Data::new();
        std::fs::copy(&copy, elsewhere.file()).unwrap();
        let ledger = elsewhere.open();
        file(&ledger, vec![draft(3, "IMG_3.HEIC")]);
        drop(ledger);
        std::fs::rename(elsewhere.file(), &copy).unwrap();
    }
    put_back(&data, &ledger, &copy);
    until_back(&ledger);
    assert_ne!(ledger.by_hash(&hash(2)).unwrap().unwrap().id, held.id);
    let mut late = draft(4, "IMG_3.MOV");
    late.pairing = Pairing::With(held.id);
    file(&ledger, vec![late]);
    let photo = ledger.paired_to(held.id).unwrap();
    assert_eq!(photo.iter().map(name).collect::<Vec<_>>(), ["IMG_3.MOV"]);
}
