//! Files that stand in Originals become rows without an intent.

use super::*;

fn adoption(members: Vec<Draft>, names: &[&str]) -> Change {
    let shot = shot(members);
    let paths = names.iter().map(|name| shot.folder.join(name)).collect();
    Change::Adopt(Adoption {
        shot,
        paths,
        ingested_at: now(),
    })
}

fn adopt(ledger: &Ledger, members: Vec<Draft>, names: &[&str]) -> Vec<Asset> {
    let outcomes = ledger
        .commit(&[adoption(members, names)], now(), &free)
        .unwrap();
    let Some(Outcome::Intended(verdicts)) = outcomes.into_iter().next() else {
        panic!("no verdicts");
    };
    let rows = verdicts.into_iter().map(|verdict| match verdict {
        Verdict::Known(asset) => asset,
        other => panic!("not adopted but {other:?}"),
    });
    rows.collect()
}

#[test]
fn adopted_files_are_rows_like_filed_ones_and_adopting_again_changes_nothing() {
    let (adopted, filed) = (Data::new(), Data::new());
    let (adopted, filed) = (adopted.open(), filed.open());
    let members = || {
        vec![
            draft(1, "IMG_1.HEIC"),
            follower(2, "IMG_1.MOV"),
            follower(3, "IMG_1.xmp"),
        ]
    };
    let names = ["IMG_1.HEIC", "IMG_1.MOV", "IMG_1.xmp"];
    file(&filed, members());
    let rows = adopt(&adopted, members(), &names);
    assert_eq!(rows[1].paired_with, Some(rows[0].id));
    assert_eq!(
        adopted.page(AssetId(0), 9).unwrap(),
        filed.page(AssetId(0), 9).unwrap()
    );
    assert_eq!(adopted.totals().unwrap(), filed.totals().unwrap());

    let again: Vec<_> = adopt(&adopted, members(), &names)
        .into_iter()
        .map(|row| row.id)
        .collect();
    assert_eq!(again, rows.iter().map(|row| row.id).collect::<Vec<_>>());
    assert_eq!(adopted.totals().unwrap(), filed.totals().unwrap());
}

#[test]
fn what_stands_for_the_content_already_is_answered_and_names_that_differ_in_case_are_two() {
    let data = Data::new();
    let ledger = data.open();
    let first = file(&ledger, vec![draft(1, "IMG_1.JPG")])[0];
    let same_content = adopt(&ledger, vec![draft(1, "b/IMG_9.JPG")], &["IMG_9.JPG"]);
    assert_eq!(same_content[0].id, first);
    assert_eq!(ledger.totals().unwrap().assets, 1);
    // Other bytes under that name in another case stand beside it.
    let other_case = adopt(&ledger, vec![draft(2, "b/IMG_1.JPG")], &["img_1.jpg"]);
    assert_ne!(other_case[0].id, first);
    let path = |id: AssetId| ledger.asset(id).unwrap().unwrap().final_path;
    for id in [first, other_case[0].id] {
        let found = ledger.by_final_path(&path(id)).unwrap().unwrap();
        assert_eq!(found.id, id);
    }
}

#[test]
fn an_interrupted_claim_of_the_same_file_is_finished_and_one_of_another_is_taken_back() {
    let data = Data::new();
    let ledger = data.open();
    let same = new(&intend(&ledger, vec![draft(1, "IMG_1.JPG")])[0]).id;
    intend(&ledger, vec![draft(2, "IMG_2.JPG")]);
    intend(&ledger, vec![draft(3, "IMG_3.JPG")]);
    let finished = adopt(&ledger, vec![draft(1, "IMG_1.JPG")], &["IMG_1.JPG"]);
    assert_eq!(finished[0].id, same);
    // Another content stands under the name of the second, and the third's content under another name.
    adopt(&ledger, vec![draft(4, "IMG_2.JPG")], &["IMG_2.JPG"]);
    adopt(&ledger, vec![draft(3, "IMG_3.JPG")], &["IMG_3-1.JPG"]);
    assert_eq!(ledger.intents().unwrap(), []);
    let names: Vec<_> = ledger
        .page(AssetId(0), 9)
        .unwrap()
        .iter()
        .map(name)
        .collect();
    assert_eq!(names, ["IMG_1.JPG", "IMG_2.JPG", "IMG_3-1.JPG"]);
}

#[test]
fn a_half_adopted_later_finds_the_photo_it_belongs_to() {
    let data = Data::new();
    let ledger = data.open();
    let still = adopt(&ledger, vec![draft(1, "IMG_1.HEIC")], &["IMG_1.HEIC"])[0].id;
    let mut video = draft(2, "IMG_1.MOV");
    video.pairing = Pairing::With(still);
    let video = adopt(&ledger, vec![video], &["IMG_1.MOV"])[0].id;
    let still = ledger.asset(still).unwrap().unwrap();
    assert_eq!(still.paired_with, Some(video));
    let mut stray = draft(3, "IMG_2.MOV");
    stray.pairing = Pairing::With(AssetId(99));
    let stray = adopt(&ledger, vec![stray], &["IMG_2.MOV"]);
    assert_eq!(stray[0].paired_with, None);
}
