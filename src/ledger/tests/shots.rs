//! Names, duplicates and pairs.

use std::os::unix::ffi::OsStringExt;

use super::*;

#[test]
fn a_photo_is_an_intent_until_it_is_finished_and_then_an_asset() {
    let data = Data::new();
    let ledger = data.open();
    let verdicts = intend(&ledger, vec![draft(1, "DCIM/IMG_1.JPG")]);
    let asset = new(&verdicts[0]).clone();
    assert_eq!(
        asset.final_path,
        Path::new("Originals/2024/2024-01-31/IMG_1.JPG")
    );
    assert_eq!(ledger.intents().unwrap(), std::slice::from_ref(&asset));
    assert_eq!(ledger.asset(asset.id).unwrap(), None);
    assert_eq!(ledger.by_hash(&hash(1)).unwrap(), None);

    change(&ledger, &[finish(&asset)]);
    assert_eq!(ledger.intents().unwrap(), []);
    for found in [
        ledger.asset(asset.id).unwrap(),
        ledger.by_hash(&hash(1)).unwrap(),
        ledger.by_final_path(&asset.final_path).unwrap(),
        ledger.by_shot(b"DCIM/img_1").unwrap().pop(),
        ledger.newest(1).unwrap().pop(),
        ledger.page(asset.id, 1).unwrap().pop(),
        ledger.photos(&look(), &|_| true).unwrap().photos.pop(),
    ] {
        assert_eq!(found.as_ref(), Some(&asset));
    }
}

#[test]
fn the_same_bytes_are_in_flight_until_finished_and_then_known() {
    let data = Data::new();
    let ledger = data.open();
    let first = intend(&ledger, vec![draft(1, "a/IMG_1.JPG")]);
    assert_eq!(
        intend(&ledger, vec![draft(1, "b/other.jpg")]),
        [Verdict::InFlight]
    );
    let asset = new(&first[0]).clone();
    change(&ledger, &[finish(&asset)]);
    assert_eq!(
        intend(&ledger, vec![draft(1, "b/other.jpg")]),
        [Verdict::Known(asset)]
    );
}

#[test]
fn an_intent_that_is_withdrawn_frees_its_bytes_and_its_name_but_not_its_id() {
    let data = Data::new();
    let ledger = data.open();
    let first = new(&intend(&ledger, vec![draft(1, "IMG_1.JPG")])[0]).clone();
    change(&ledger, &[withdraw(&first), withdraw(&first)]);
    let second = new(&intend(&ledger, vec![draft(1, "IMG_1.JPG")])[0]).clone();
    assert_eq!(second.final_path, first.final_path);
    assert!(second.id > first.id);
}

#[test]
fn different_photos_of_one_name_get_the_next_free_suffix_whatever_the_case() {
    let data = Data::new();
    let ledger = data.open();
    file(&ledger, vec![draft(1, "a/IMG_1.JPG")]);
    let in_flight = intend(&ledger, vec![draft(2, "b/IMG_1.JPG")]);
    assert_eq!(name(new(&in_flight[0])), "IMG_1-1.JPG");
    let other_case = intend(&ledger, vec![draft(3, "b/img_1.jpg")]);
    assert_eq!(name(new(&other_case[0])), "img_1-2.jpg");
    change(&ledger, &[withdraw(new(&in_flight[0]))]);
    let freed = intend(&ledger, vec![draft(4, "c/IMG_1.JPG")]);
    assert_eq!(name(new(&freed[0])), "IMG_1-1.JPG");
}

#[test]
fn a_name_that_stands_on_the_disk_is_compared_first_and_not_used() {
    let data = Data::new();
    let ledger = data.open();
    let ask = |change: Change| {
        let stands = |path: &Path| path.ends_with("IMG_1.JPG") || path.ends_with("IMG_1-1.JPG");
        let outcomes = ledger.commit(&[change], now(), &|path| !stands(path));
        match outcomes.unwrap().remove(0) {
            Outcome::Intended(verdicts) => verdicts,
            other => panic!("no verdicts but {other:?}"),
        }
    };
    let one = |number| shot(vec![draft(number, "IMG_1.JPG")]);
    assert_eq!(ask(Change::Intend(one(1))), [Verdict::Compare]);
    assert_eq!(ledger.intents().unwrap(), []);
    let beside = ask(Change::IntendBeside(one(1)));
    assert_eq!(name(new(&beside[0])), "IMG_1-2.JPG");
    // Each that comes later is compared too.
    assert_eq!(ask(Change::Intend(one(2))), [Verdict::Compare]);
    assert_eq!(
        name(new(&ask(Change::IntendBeside(one(2)))[0])),
        "IMG_1-3.JPG"
    );
}

#[test]
fn all_files_of_a_shot_get_one_base_name_that_is_free_for_each() {
    let data = Data::new();
    let ledger = data.open();
    file(&ledger, vec![draft(1, "a/IMG_1.MOV")]);
    let verdicts = intend(
        &ledger,
        vec![
            draft(2, "b/IMG_1.HEIC"),
            follower(3, "b/IMG_1.MOV"),
            follower(4, "b/IMG_1.AAE"),
        ],
    );
    let names: Vec<String> = verdicts.iter().map(|verdict| name(new(verdict))).collect();
    assert_eq!(names, ["IMG_1-1.HEIC", "IMG_1-1.MOV", "IMG_1-1.AAE"]);
    let ids: Vec<u64> = verdicts.iter().map(|verdict| new(verdict).id.0).collect();
    assert_eq!(ids, [2, 3, 4]);
}

#[test]
fn two_files_of_a_shot_with_one_extension_get_two_names() {
    let data = Data::new();
    let ledger = data.open();
    let verdicts = intend(
        &ledger,
        vec![
            draft(1, "IMG_1.jpg"),
            follower(2, "IMG_1.JPG"),
            follower(3, "IMG_1.xmp"),
        ],
    );
    let names: Vec<String> = verdicts.iter().map(|verdict| name(new(verdict))).collect();
    assert_eq!(names, ["IMG_1.jpg", "IMG_1-1.JPG", "IMG_1.xmp"]);
}

#[test]
fn still_and_video_name_each_other_and_sidecars_name_the_still() {
    let data = Data::new();
    let ledger = data.open();
    let ids = file(
        &ledger,
        vec![
            draft(1, "IMG_1.HEIC"),
            follower(2, "IMG_1.xmp"),
            follower(3, "IMG_1.MOV"),
        ],
    );
    let paired = |id: AssetId| ledger.asset(id).unwrap().unwrap().paired_with;
    assert_eq!(paired(ids[0]), Some(ids[2]));
    assert_eq!(paired(ids[1]), Some(ids[0]));
    assert_eq!(paired(ids[2]), Some(ids[0]));
    let to_still: Vec<AssetId> = ledger
        .paired_to(ids[0])
        .unwrap()
        .iter()
        .map(|asset| asset.id)
        .collect();
    assert_eq!(to_still, [ids[1], ids[2]]);
}

#[test]
fn a_pair_is_mutual_in_whatever_order_its_halves_are_finished() {
    let data = Data::new();
    let ledger = data.open();
    let verdicts = intend(
        &ledger,
        vec![draft(1, "IMG_1.HEIC"), follower(2, "IMG_1.MOV")],
    );
    change(&ledger, &[finish(new(&verdicts[1]))]);
    change(&ledger, &[finish(new(&verdicts[0]))]);
    let (still, video) = (new(&verdicts[0]).id, new(&verdicts[1]).id);
    let paired = |id: AssetId| ledger.asset(id).unwrap().unwrap().paired_with;
    assert_eq!((paired(still), paired(video)), (Some(video), Some(still)));
}

#[test]
fn a_follower_whose_leader_was_taken_back_stands_alone() {
    let data = Data::new();
    let ledger = data.open();
    for finish_first in [true, false] {
        let base = if finish_first { 10 } else { 20 };
        let verdicts = intend(
            &ledger,
            vec![
                draft(base, format!("{base}.HEIC")),
                follower(base + 1, &format!("{base}.MOV")),
            ],
        );
        let (still, video) = (new(&verdicts[0]).id, new(&verdicts[1]).id);
        let mut changes = [finish(new(&verdicts[1])), withdraw(new(&verdicts[0]))];
        if !finish_first {
            changes.reverse();
        }
        change(&ledger, &changes);
        assert_eq!(ledger.asset(video).unwrap().unwrap().paired_with, None);
        assert_eq!(ledger.paired_to(still).unwrap(), []);
    }
}

#[test]
fn a_late_half_joins_the_photo_that_is_filed_already() {
    let data = Data::new();
    let ledger = data.open();
    let still = file(&ledger, vec![draft(1, "IMG_1.HEIC")])[0];
    let with = Draft {
        pairing: Pairing::With(still),
        ..draft(2, "IMG_1.MOV")
    };
    let video = file(&ledger, vec![with])[0];
    assert_eq!(
        ledger.asset(still).unwrap().unwrap().paired_with,
        Some(video)
    );

    // The photo comes again with a sidecar: it is known, and the sidecar joins it.
    let verdicts = intend(
        &ledger,
        vec![draft(1, "again/IMG_1.HEIC"), follower(3, "again/IMG_1.xmp")],
    );
    assert!(matches!(&verdicts[0], Verdict::Known(asset) if asset.id == still));
    assert_eq!(new(&verdicts[1]).paired_with, Some(still));
}

#[test]
fn who_belongs_to_a_photo_in_flight_waits_for_it() {
    let data = Data::new();
    let ledger = data.open();
    intend(&ledger, vec![draft(1, "a/IMG_1.HEIC")]);
    let verdicts = intend(
        &ledger,
        vec![draft(1, "b/IMG_1.HEIC"), follower(2, "b/IMG_1.MOV")],
    );
    assert_eq!(verdicts, [Verdict::InFlight, Verdict::InFlight]);
}

#[test]
fn equal_sidecars_of_two_photos_are_two_files_and_of_one_photo_one() {
    let data = Data::new();
    let ledger = data.open();
    let one = file(
        &ledger,
        vec![draft(1, "IMG_1.JPG"), follower(9, "IMG_1.xmp")],
    );
    let two = file(
        &ledger,
        vec![draft(2, "IMG_2.JPG"), follower(9, "IMG_2.xmp")],
    );
    assert_ne!(one[1], two[1]);
    assert_eq!(ledger.by_hash(&hash(9)).unwrap(), None);
    let again = intend(
        &ledger,
        vec![draft(1, "IMG_1.JPG"), follower(9, "IMG_1.xmp")],
    );
    assert!(matches!(&again[1], Verdict::Known(asset) if asset.id == one[1]));
    // One without a photo is known by its content, too.
    let alone = file(&ledger, vec![draft(8, "alone.xmp")])[0];
    let again = intend(&ledger, vec![draft(8, "alone.xmp")]);
    assert!(matches!(&again[0], Verdict::Known(asset) if asset.id == alone));
}

#[test]
fn twins_within_one_shot_are_filed_once() {
    let data = Data::new();
    let ledger = data.open();
    let verdicts = intend(
        &ledger,
        vec![draft(1, "IMG_1.jpg"), follower(1, "IMG_1.jpeg")],
    );
    assert_eq!(verdicts[1], Verdict::InFlight);
}

#[test]
fn a_name_too_long_for_its_suffix_loses_the_end_of_its_stem() {
    let data = Data::new();
    let ledger = data.open();
    let long = format!("{}ä.JPG", "x".repeat(249));
    assert_eq!(long.len(), 255);
    file(&ledger, vec![draft(1, &long)]);
    let second = intend(&ledger, vec![draft(2, &long)]);
    assert_eq!(name(new(&second[0])), format!("{}-1.JPG", "x".repeat(249)));
}

#[test]
fn names_that_are_no_utf_8_survive() {
    let data = Data::new();
    let path = PathBuf::from(OsString::from_vec(b"caf\xe9/IMG\xff_1.JPG".to_vec()));
    let id = file(&data.open(), vec![draft(1, &path)])[0];
    let asset = data.open().asset(id).unwrap().unwrap();
    assert_eq!(asset.inbox_path, path);
    assert_eq!(asset.final_path.file_name(), path.file_name());
}

#[test]
fn what_cannot_be_finished_or_withdrawn_is_refused() {
    let data = Data::new();
    let ledger = data.open();
    let filed = new(&intend(&ledger, vec![draft(1, "IMG_1.JPG")])[0]).clone();
    // Asked twice, as after a lost answer.
    change(&ledger, &[finish(&filed)]);
    change(&ledger, &[finish(&filed)]);
    for bad in [withdraw(&filed), of_no_row()] {
        let error = ledger.commit(&[bad], now(), &free).unwrap_err();
        assert!(error.is_about_one_row(), "{error}");
    }
    assert_eq!(ledger.totals().unwrap().assets, 1);
}
