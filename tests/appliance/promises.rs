//! The promises P1 to P8, broken on purpose where that can be done from outside.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::factory::{Factory, PATIENCE, PROGRAM, files_below, hash, installed, text};
use crate::fixtures::exif::Exif;
use crate::fixtures::jpeg::{self, Load};

/// Twenty photos of one day, three of them twice.
fn lay_twenty(factory: &Factory) -> BTreeSet<String> {
    let mut pictures = Load::new(3);
    let mut given = BTreeSet::new();
    for number in 0..20 {
        let content = pictures.next(
            &Exif::taken(&format!("2022:05:06 07:08:{number:02}")),
            30_000,
        );
        factory.put(format!("IMG_{number:04}.JPG"), &content);
        if number % 7 == 0 {
            factory.put(format!("copies/IMG_{number:04}.JPG"), &content);
        }
        given.insert(hash(&content));
    }
    given
}

/// Nothing that was given is lost at this instant: each content is in the inbox or in Originals, whole.
fn assert_nothing_is_lost(factory: &Factory, given: &BTreeSet<String>, when: &str) {
    let mut found: BTreeSet<String> = factory.filed().into_values().collect();
    // Also names that were put aside: all that matters is that the bytes are there.
    let mut folders = vec![factory.inbox()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                found.insert(hash(&fs::read(entry.path()).unwrap()));
            }
        }
    }
    let lost: Vec<_> = given.difference(&found).collect();
    assert!(lost.is_empty(), "lost {when}: {lost:?}");
}

#[test]
fn p1_p5_a_kill_at_any_system_call_loses_nothing_and_the_next_run_finishes() {
    if !installed("strace", "the kill at any system call") {
        return;
    }
    let mut fired = 0;
    let calls = [
        "linkat",
        "fsync",
        "fdatasync",
        "unlinkat",
        "renameat2",
        "mkdirat",
        "fchmod",
        "openat",
    ];
    for call in calls {
        for when in [1, 2, 5, 11, 23, 47, 90] {
            let factory = Factory::new("killed");
            let given = lay_twenty(&factory);
            let trace = factory.root().join("strace.txt");
            let output = Command::new("strace")
                .args(["-f", "-qq", "-o"])
                .arg(&trace)
                .args(["-e", &format!("trace={call}")])
                .args(["-e", &format!("inject={call}:signal=SIGKILL:when={when}")])
                .arg(PROGRAM)
                .arg("--root")
                .arg(factory.root())
                .args(["ingest", "--json"])
                .env("TZ", "UTC")
                .output()
                .unwrap();
            // strace ends as the program did. Calls are counted for each thread, so not every number comes.
            let killed = output.status.signal() == Some(9) || output.status.code() == Some(128 + 9);
            let traced = fs::read_to_string(&trace).unwrap();
            assert!(
                killed || output.status.success(),
                "{call} {when}: {output:?}"
            );
            assert!(
                !killed || traced.contains("killed by SIGKILL"),
                "{call} {when}: {traced}"
            );
            let instant = format!("when killed at {call} number {when}");
            assert_nothing_is_lost(&factory, &given, &instant);
            if !killed {
                // It makes fewer calls than this: later numbers won't come either.
                break;
            }
            fired += 1;
            let run = factory.ingest();
            assert_eq!(run.code, 0, "{instant}: {}", run.summary);
            assert!(
                factory.waiting().is_empty(),
                "{instant}: {:?}",
                factory.waiting()
            );
            let filed: Vec<String> = factory.filed().into_values().collect();
            assert_eq!(filed.len(), given.len(), "{instant}");
            assert_eq!(
                filed.into_iter().collect::<BTreeSet<_>>(),
                given,
                "{instant}"
            );
            factory.assert_ledger_and_originals_agree();
            let litter = litter(&factory);
            assert!(litter.is_empty(), "{instant}: {litter:?}");
        }
    }
    assert!(
        fired >= 20,
        "only {fired} kills came: this test has lost its grip on the program"
    );
}

/// Temporary files of ours that nobody cleaned away.
fn litter(factory: &Factory) -> Vec<String> {
    let mut litter = Vec::new();
    let mut folders = vec![factory.inbox(), factory.storage()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else if name.contains("aside") || name.contains(".part") {
                litter.push(name);
            }
        }
    }
    litter
}

#[test]
fn p1_a_disk_that_refuses_to_sync_keeps_every_photo_in_the_inbox() {
    if !installed("strace", "the disk that refuses to sync") {
        return;
    }
    let factory = Factory::new("no-sync");
    let given = lay_twenty(&factory);
    let trace = factory.root().join("strace.txt");
    let output = Command::new("strace")
        .args(["-f", "-qq", "-o"])
        .arg(&trace)
        .args(["-e", "trace=fsync,fdatasync,syncfs"])
        .args(["-e", "inject=fsync,fdatasync,syncfs:error=EIO:when=1+"])
        .arg(PROGRAM)
        .arg("--root")
        .arg(factory.root())
        .args(["ingest", "--json"])
        .output()
        .unwrap();
    assert!(
        fs::read_to_string(&trace).unwrap().contains("INJECTED"),
        "the fault did not fire"
    );
    assert!(!output.status.success());
    assert_eq!(factory.waiting().len(), 23, "nothing may leave the inbox");
    let run = factory.ingest();
    assert_eq!(run.code, 0, "{}", run.summary);
    assert_eq!(
        factory.filed().into_values().collect::<BTreeSet<_>>(),
        given
    );
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
fn p2_a_duplicate_stays_when_the_kept_copy_is_damaged_or_gone() {
    let factory = Factory::new("damaged-copy");
    let content = jpeg::small(1, &Exif::taken("2021:02:03 04:05:06"));
    let original = factory.originals().join("2021/2021-02-03/a.jpg");
    factory.put("a.jpg", &content);
    factory.ingest();

    let mut damaged = content.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0x01;
    fs::remove_file(&original).unwrap();
    fs::write(&original, &damaged).unwrap();
    factory.put("b.jpg", &content);
    let run = factory.ingest();
    let now_kept = factory
        .filed()
        .into_values()
        .any(|found| found == hash(&content));
    let still_there = factory.waiting().len() == 1;
    assert!(
        now_kept || still_there,
        "the last good copy was removed: {}",
        run.summary
    );
    assert_eq!(
        fs::read(&original).unwrap(),
        damaged,
        "P3: nothing in Originals is changed"
    );

    fs::remove_file(&original).unwrap();
    factory.put("c.jpg", &content);
    factory.ingest();
    let now_kept = factory
        .filed()
        .into_values()
        .any(|found| found == hash(&content));
    assert!(
        now_kept || !factory.waiting().is_empty(),
        "the last copy was removed"
    );
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
fn p8_links_devices_fifos_sockets_dotfiles_and_syncthing_s_files_are_left_alone() {
    let mut factory = Factory::new("left-alone");
    let inbox = factory.inbox();
    let secret = factory.root().join("secret.jpg");
    let content = jpeg::small(1, &Exif::taken("2021:02:03 04:05:06"));
    fs::write(&secret, &content).unwrap();
    let outside = factory.root().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("b.jpg"), &content).unwrap();
    symlink(&secret, inbox.join("link.jpg")).unwrap();
    symlink(&outside, inbox.join("folder-link")).unwrap();
    mknodat(CWD, inbox.join("fifo.jpg"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    // A socket's path is limited; a short one from the folder itself is not.
    let socket = UnixListener::bind(inbox.join("s.jpg"));
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
    assert_eq!(fs::read(&secret).unwrap(), content);
    assert_eq!(fs::read(outside.join("b.jpg")).unwrap(), content);
    assert_eq!(factory.filed().len(), 1);
    drop(socket);
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
fn a_name_that_is_no_utf_8_is_kept_byte_for_byte() {
    let factory = Factory::new("bytes");
    let name = std::ffi::OsStr::from_bytes(b"M\xfcnchen\x01\n.jpg");
    let content = jpeg::small(1, &Exif::taken("2021:02:03 04:05:06"));
    factory.put(name, &content);
    assert_eq!(factory.ingest().code, 0);
    assert_eq!(
        fs::read(factory.originals().join("2021/2021-02-03").join(name)).unwrap(),
        content
    );
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
fn a_clean_stop_takes_less_than_five_seconds_and_a_second_daemon_is_refused() {
    let mut factory = Factory::new("stop");
    let mut pictures = Load::new(5);
    for number in 0..200 {
        factory.put(
            format!("IMG_{number:04}.JPG"),
            &pictures.next(&Exif::taken("2022:05:06 07:08:09"), 200_000),
        );
    }
    factory.start();
    let second = factory.run(&["run", "--listen", "127.0.0.1:0"]);
    assert_eq!(second.status.code(), Some(1), "{second:?}");
    let (status, took) = factory.stop();
    assert!(status.success(), "{status}");
    assert!(took < Duration::from_secs(5), "{took:?}");
}
