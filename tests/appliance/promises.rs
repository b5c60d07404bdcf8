//! The promises P1 to P8, broken on purpose where that can be done from outside. Faults of system and disk: tests/faults.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::SystemTime;

use crate::factory::{Factory, PATIENCE, all_files_below, files_below, hash, text};
use crate::fixtures::exif::Exif;
use crate::fixtures::jpeg::{self, Load};

/// Nothing that was given is lost at this instant: each content is in the inbox or in Originals, whole.
fn assert_nothing_is_lost(factory: &Factory, given: &BTreeSet<String>, when: &str) {
    let mut found: BTreeSet<String> = factory.filed().into_values().collect();
    // Also names that were put aside: all that matters is that the bytes are there.
    for path in all_files_below(&factory.inbox()) {
        found.insert(hash(&fs::read(path).unwrap()));
    }
    let lost: Vec<_> = given.difference(&found).collect();
    assert!(lost.is_empty(), "lost {when}: {lost:?}");
}

#[test]
fn p1_p5_a_daemon_killed_again_and_again_files_everything_in_the_end() {
    let mut factory = Factory::new("killed-daemon");
    let mut pictures = Load::new(4);
    let mut given = BTreeSet::new();
    for round in 0..5_usize {
        for number in 0..40 {
            let content = pictures.next(
                &Exif::taken(&format!("2022:05:{:02} 07:08:{number:02}", round + 1)),
                60_000,
            );
            given.insert(hash(&content));
            factory.put(format!("IMG_{number:04}.JPG"), &content);
        }
        factory.start();
        // Each round is killed at another point of its work.
        factory.wait_until("it has filed some", PATIENCE, || {
            files_below(&factory.originals()).len() > round * 40 + round * 8
        });
        factory.kill();
        assert_nothing_is_lost(&factory, &given, &format!("in round {round}"));
        // The next round's photos have the same names: what is left of this one's makes room.
        for path in factory.waiting() {
            if path.parent() == Some(&factory.inbox()) {
                let aside = factory.inbox().join(format!("round-{round}"));
                fs::create_dir_all(&aside).unwrap();
                fs::rename(&path, aside.join(path.file_name().unwrap())).unwrap();
            }
        }
    }
    factory.start();
    factory.wait_until_the_inbox_is_empty();
    let (status, _) = factory.stop();
    assert!(status.success(), "{status}");
    assert_eq!(
        factory.filed().into_values().collect::<BTreeSet<_>>(),
        given
    );
    factory.assert_ledger_and_originals_agree();
}

#[test]
fn p3_a_stranger_s_file_under_the_same_name_in_originals_is_left_as_it_is() {
    let factory = Factory::new("stranger");
    let folder = factory.originals().join("2021/2021-02-03");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("a.jpg"), b"put here by hand").unwrap();
    let content = jpeg::small(1, &Exif::taken("2021:02:03 04:05:06"));
    factory.put("a.jpg", &content);
    assert_eq!(factory.ingest().code, 0);
    assert_eq!(fs::read(folder.join("a.jpg")).unwrap(), b"put here by hand");
    assert_eq!(fs::read(folder.join("a-1.jpg")).unwrap(), content);
}

#[test]
fn p4_a_file_that_is_open_for_writing_is_not_taken() {
    let mut factory = Factory::new("open-for-writing");
    let content = jpeg::small(1, &Exif::taken("2021:02:03 04:05:06"));
    let (first, rest) = content.split_at(content.len() - 100);
    let path = factory.put("growing.jpg", first);
    let mut writer = fs::OpenOptions::new().append(true).open(&path).unwrap();
    factory.start();
    // A file that came later has been filed: the open one has been passed over, not only not been reached.
    for number in 0..3 {
        factory.put(
            format!("later-{number}.jpg"),
            &jpeg::small(2 + number, &Exif::taken("2021:02:03 04:05:07")),
        );
        let name = format!("2021/2021-02-03/later-{number}.jpg");
        factory.wait_until("the later file is filed", PATIENCE, || {
            factory.originals().join(&name).exists()
        });
    }
    assert!(path.exists());
    std::io::Write::write_all(&mut writer, rest).unwrap();
    drop(writer);
    factory.wait_until_the_inbox_is_empty();
    factory.stop();
    let filed = factory.filed();
    assert_eq!(filed.len(), 4, "only the whole file was taken: {filed:?}");
    assert!(filed.values().any(|found| *found == hash(&content)));
}

#[test]
fn p4_a_file_that_has_not_come_to_rest_is_not_taken() {
    let mut factory = Factory::new("not-at-rest");
    // A settle time that no test waits for.
    let settle = "[inbox]\nsettle_seconds = 3600\nrescan_seconds = 1\n";
    fs::write(factory.root().join("photo-factory.toml"), settle).unwrap();
    let content = jpeg::small(1, &Exif::taken("2021:02:03 04:05:06"));
    let half = &content[..content.len() / 2];
    let path = factory.put_at("slow.jpg", half, SystemTime::now());
    factory.start();
    // The inbox is looked through every second; each look is a chance to take it. A file that came since shows that one was.
    for number in 0..3 {
        factory.put(format!("note-{number}.txt"), b"no photo");
        factory.wait_until("another look was made", PATIENCE, || {
            let depth = &factory.status()["inbox"]["depth"];
            *depth == number + 2 || !factory.filed().is_empty()
        });
    }
    factory.stop();
    assert!(factory.filed().is_empty(), "half a photo was filed");
    assert_eq!(fs::read(&path).unwrap(), half);
}

#[test]
fn p6_a_broken_file_is_kept_and_named_and_the_next_ones_are_filed() {
    let factory = Factory::new("broken");
    let whole = jpeg::photo(1, &Exif::taken("2021:02:03 04:05:06"));
    factory.put("a-broken.jpg", &jpeg::truncated(&whole));
    factory.put("b-empty.jpg", b"");
    factory.put("c-noise.heic", &crate::fixtures::Random(1).bytes(5000));
    factory.put("d-note.txt", b"no photo");
    factory.put("e-good.jpg", &whole);
    let run = factory.ingest();
    assert_eq!(run.code, 2);
    let rows = factory.rows();
    let row = |name: &str| rows.iter().find(|row| text(row, "original_name") == name);
    let broken = row("a-broken.jpg").expect("a broken photo is worth keeping");
    assert_eq!(broken["has_errors"], true, "{broken}");
    assert_eq!(text(broken, "captured_at"), "2021-02-03T04:05:06");
    assert!(row("e-good.jpg").is_some());
    let stays: Vec<_> = factory
        .waiting()
        .iter()
        .map(|path| path.file_name().unwrap().to_owned())
        .collect();
    assert!(stays.iter().any(|name| name == "d-note.txt"), "{stays:?}");
    let reason = run
        .files
        .iter()
        .find(|line| text(line, "path").ends_with("d-note.txt"))
        .expect("it is named");
    assert!(!text(reason, "reason").is_empty());
}

#[test]
fn p8_dotfiles_empty_folders_and_what_is_syncthing_s_are_left_alone() {
    let mut factory = Factory::new("left-alone");
    let inbox = factory.inbox();
    let content = jpeg::small(1, &Exif::taken("2021:02:03 04:05:06"));
    for name in [
        ".hidden.jpg",
        ".stfolder/marker.jpg",
        ".stversions/old.jpg",
        ".syncthing.IMG_1.jpg.tmp",
        "~syncthing~IMG_2.jpg.tmp",
        ".stignore",
    ] {
        factory.put(name, &content);
    }
    fs::create_dir(inbox.join("empty folder")).unwrap();
    factory.put(
        "good.jpg",
        &jpeg::small(2, &Exif::taken("2021:02:03 04:05:07")),
    );
    let before = names(&factory);
    factory.start();
    factory.wait_until("the good photo is filed", PATIENCE, || {
        factory
            .originals()
            .join("2021/2021-02-03/good.jpg")
            .exists()
            && !inbox.join("good.jpg").exists()
    });
    factory.stop();
    assert_eq!(factory.ingest().count("filed"), 0);
    let mut expected = before;
    expected.remove("good.jpg");
    assert_eq!(names(&factory), expected);
    assert_eq!(factory.filed().len(), 1);
}

/// Everything in the inbox, hidden or not, of any type.
fn names(factory: &Factory) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut folders = vec![factory.inbox()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            names.insert(
                path.strip_prefix(factory.inbox())
                    .unwrap()
                    .display()
                    .to_string(),
            );
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            }
        }
    }
    names
}

#[test]
fn originals_are_read_only_files_of_their_own() {
    let factory = Factory::new("read-only");
    factory.put(
        "a.jpg",
        &jpeg::small(1, &Exif::taken("2021:02:03 04:05:06")),
    );
    factory.ingest();
    let seen = fs::metadata(factory.originals().join("2021/2021-02-03/a.jpg")).unwrap();
    assert_eq!(seen.mode() & 0o222, 0);
    assert_eq!(seen.nlink(), 1);
}

#[test]
fn a_clean_stop_waits_neither_for_the_rest_of_the_inbox_nor_for_a_file_that_is_being_written() {
    let mut factory = Factory::new("stop");
    let mut pictures = Load::new(5);
    for number in 0..200 {
        factory.put(
            format!("IMG_{number:04}.JPG"),
            &pictures.next(&Exif::taken("2022:05:06 07:08:09"), 200_000),
        );
    }
    let path = factory.put("being-written.jpg", b"\xff\xd8\xff\xe0 not all of it");
    let writer = fs::OpenOptions::new().append(true).open(&path).unwrap();
    factory.start();
    let (status, _) = factory.stop();
    assert!(status.success(), "{status}");
    assert!(path.exists());
    drop(writer);
}
