//! P1, P2: a ledger that says "kept" while the original is gone, damaged, another thing, or the inbox file itself.
//!
//! In every test the photo lies in the inbox a second time. Wherever it goes, its bytes must stand somewhere afterwards.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::factory::{
    Factory, Ingested, PATIENCE, files_below, hash, installed, may_mount, output_of, program, text,
};
use crate::fixtures::exif::Exif;
use crate::fixtures::jpeg;
use crate::tracer::{self, Calls, Fault};

/// Where the photo of all these tests is kept.
const ORIGINAL: &str = "2021/2021-02-03/a.jpg";

/// A factory that has filed one photo as [`ORIGINAL`]; with it the photo's bytes.
fn with_one_photo(name: &str) -> (Factory, Vec<u8>) {
    let factory = Factory::new(name);
    let content = photo();
    factory.put("a.jpg", &content);
    assert_eq!(factory.ingest().code, 0);
    assert!(original(&factory).is_file());
    (factory, content)
}

fn photo() -> Vec<u8> {
    jpeg::small(1, &Exif::taken("2021:02:03 04:05:06"))
}

fn original(factory: &Factory) -> PathBuf {
    factory.originals().join(ORIGINAL)
}

/// Replaces the original by other bytes, as a failing disk or a program that knows no better would.
fn spoil(factory: &Factory, content: &[u8]) {
    let path = original(factory);
    fs::remove_file(&path).unwrap();
    fs::write(&path, content).unwrap();
}

/// The bytes stand in a file of their own: in Originals, or in the inbox.
fn assert_not_lost(factory: &Factory, content: &[u8], told: &Value) {
    let places = files_below(&factory.originals())
        .into_iter()
        .chain(factory.waiting());
    let found = places.filter(|path| fs::read(path).is_ok_and(|bytes| bytes == content));
    assert!(found.count() > 0, "the photo is lost: {told}");
}

/// The one file of this pass stays in the inbox; gives the reason.
fn stays(factory: &Factory, run: &Ingested, name: &str) -> String {
    assert_eq!(run.code, 2, "{}", run.summary);
    assert!(factory.inbox().join(name).is_file(), "{}", run.summary);
    // The last word about it: a pass may look at a file more than once.
    let line = run.files.iter().rfind(|line| text(line, "path") == name);
    text(line.expect("it is named"), "reason").to_owned()
}

#[test]
fn p2_what_was_missing_is_taken_in_again_and_reported() {
    let (mut factory, content) = with_one_photo("missing");
    fs::remove_file(original(&factory)).unwrap();
    factory.put("again.jpg", &content);
    let run = factory.ingest();
    assert_eq!(run.code, 0, "{}", run.summary);
    assert_eq!(text(&run.files[0], "decision"), "restored");
    assert_eq!(
        text(&run.files[0], "final_path"),
        format!("Originals/{ORIGINAL}")
    );
    assert_eq!(run.count("restored"), 1);
    assert_eq!(fs::read(original(&factory)).unwrap(), content);
    assert!(factory.waiting().is_empty());
    factory.assert_ledger_and_originals_agree();

    fs::remove_file(original(&factory)).unwrap();
    factory.put("again.jpg", &content);
    let said = factory.run(&["ingest"]);
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(
        said.contains("1 originals were missing from Storage and are put back"),
        "{said}"
    );

    fs::remove_file(original(&factory)).unwrap();
    factory.put("again.jpg", &content);
    factory.start();
    factory.wait_until_the_inbox_is_empty();
    factory.wait_until("the page says so", PATIENCE, || {
        factory
            .status()
            .to_string()
            .contains("1 originals were missing from Storage")
    });
    factory.stop();
    assert_eq!(fs::read(original(&factory)).unwrap(), content);
    let log = fs::read_to_string(factory.root().join("Logs/photo-factory.log")).unwrap();
    assert!(log.contains("was missing and is put back from"), "{log}");
}

#[test]
fn p2_what_was_missing_and_is_put_back_while_it_is_looked_for_is_no_other_thing() {
    let laid = || {
        let (factory, content) = with_one_photo("comes-back");
        fs::rename(original(&factory), factory.root().join("good.jpg")).unwrap();
        factory.put("again.jpg", &content);
        let mut command = factory.command();
        command.args(["ingest", "--json"]);
        command.env("BLOCKING_MAX_THREADS", "1");
        (factory, command)
    };
    // The name is looked at once more where it could not be opened.
    let second_look = |calls: &[String]| {
        let name = |call: &String| call.ends_with(&format!("Originals/{ORIGINAL}"));
        let opened = calls
            .iter()
            .position(|call| name(call) && call.starts_with("open"))?;
        let looks = |call: &String| name(call) && !call.starts_with("open");
        Some(opened + 1 + calls[opened..].iter().position(looks)?)
    };
    let (factory, command) = laid();
    let counted = tracer::run(&command, factory.root(), Calls::Looks, Fault::None);
    let moment = second_look(&counted.calls).expect("it is looked for");
    let put_back = |root: &Path| {
        let original = root.join("Storage/Originals").join(ORIGINAL);
        fs::rename(root.join("good.jpg"), original).unwrap();
    };
    // Threads take turns as they like: in one of a few runs it is the same moment again.
    let fired = (0..50).any(|_| {
        let (factory, command) = laid();
        let fault = Fault::Before(moment, &put_back);
        let traced = tracer::run(&command, factory.root(), Calls::Looks, fault);
        let was_it = second_look(&traced.calls) == Some(moment);
        if was_it {
            assert_eq!((traced.code, traced.fired), (Some(0), 1), "{traced:?}");
            assert!(traced.said.contains("\"duplicate\""), "{traced:?}");
            assert!(factory.waiting().is_empty(), "{traced:?}");
        }
        was_it
    });
    assert!(fired, "the fault did not fire: {:#?}", counted.calls);
}

#[test]
fn p2_a_folder_of_originals_that_is_gone_is_made_again_photo_by_photo() {
    let (factory, content) = with_one_photo("missing-folder");
    fs::remove_dir_all(factory.originals().join("2021")).unwrap();
    factory.put("again.jpg", &content);
    assert_eq!(factory.ingest().count("restored"), 1);
    assert_eq!(fs::read(original(&factory)).unwrap(), content);
    factory.assert_ledger_and_originals_agree();
}

#[test]
fn p2_a_truncated_original_keeps_the_photo_in_the_inbox_until_the_owner_moves_it_away() {
    let (factory, content) = with_one_photo("truncated");
    let cut = &content[..content.len() - 1];
    spoil(&factory, cut);
    factory.put("again.jpg", &content);
    let run = factory.ingest();
    let reason = stays(&factory, &run, "again.jpg");
    assert_not_lost(&factory, &content, &run.summary);
    assert_eq!(fs::read(original(&factory)).unwrap(), cut, "P3");
    // What the reason advises is done, and works.
    let advised = format!("move {} to another folder", original(&factory).display());
    assert!(reason.contains(&advised), "{reason}");
    let elsewhere = factory.root().join("damaged.jpg");
    fs::rename(original(&factory), &elsewhere).unwrap();
    assert_eq!(factory.ingest().count("restored"), 1);
    assert_eq!(fs::read(original(&factory)).unwrap(), content);
    assert_eq!(fs::read(elsewhere).unwrap(), cut);
    assert!(factory.waiting().is_empty());
}

#[test]
fn p2_an_original_with_one_flipped_bit_keeps_the_photo_in_the_inbox() {
    let (factory, content) = with_one_photo("flipped");
    let mtime = fs::metadata(original(&factory))
        .unwrap()
        .modified()
        .unwrap();
    for at in [0, content.len() / 2, content.len() - 1] {
        let mut flipped = content.clone();
        flipped[at] ^= 0x10;
        spoil(&factory, &flipped);
        // Size and times say that nothing happened.
        let file = OpenOptions::new()
            .write(true)
            .open(original(&factory))
            .unwrap();
        file.set_modified(mtime).unwrap();
        factory.put("again.jpg", &content);
        let run = factory.ingest();
        stays(&factory, &run, "again.jpg");
        assert_eq!(fs::read(original(&factory)).unwrap(), flipped, "P3");
        assert_not_lost(&factory, &content, &run.summary);
    }
}

#[test]
fn p2_another_photo_in_the_original_s_place_keeps_the_photo_in_the_inbox() {
    let (factory, content) = with_one_photo("another-photo");
    let other = jpeg::small(2, &Exif::taken("2021:02:03 04:05:06"));
    spoil(&factory, &other);
    factory.put("again.jpg", &content);
    let run = factory.ingest();
    stays(&factory, &run, "again.jpg");
    assert_eq!(fs::read(original(&factory)).unwrap(), other, "P3");
}

#[test]
fn p2_a_folder_in_the_original_s_place_keeps_the_photo_in_the_inbox() {
    let (factory, content) = with_one_photo("folder-instead");
    fs::remove_file(original(&factory)).unwrap();
    fs::create_dir(original(&factory)).unwrap();
    fs::write(original(&factory).join("inside.txt"), b"by hand").unwrap();
    factory.put("again.jpg", &content);
    let run = factory.ingest();
    stays(&factory, &run, "again.jpg");
    assert_eq!(
        fs::read(original(&factory).join("inside.txt")).unwrap(),
        b"by hand"
    );
}

#[test]
fn p2_a_hard_link_to_the_original_goes_and_the_original_stays_a_file_of_its_own() {
    let (factory, content) = with_one_photo("hard-link");
    let linked = factory.inbox().join("linked.jpg");
    let elsewhere = factory.root().join("elsewhere.jpg");
    fs::hard_link(original(&factory), &linked).unwrap();
    fs::hard_link(original(&factory), &elsewhere).unwrap();
    let run = factory.ingest();
    assert_eq!(run.count("duplicates"), 1, "{}", run.summary);
    assert!(!linked.exists());
    assert_eq!(fs::read(original(&factory)).unwrap(), content);
    // Who writes through the other link does not reach the original.
    assert_eq!(fs::metadata(original(&factory)).unwrap().nlink(), 1);
    fs::set_permissions(&elsewhere, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&elsewhere, b"written later").unwrap();
    assert_eq!(fs::read(original(&factory)).unwrap(), content);
    factory.assert_ledger_and_originals_agree();
}

/// One folder shown at another place, for as long as this lives.
struct BindMount(PathBuf);

impl BindMount {
    /// `None`, said, where we may not mount.
    fn new(from: &Path, at: &Path, test: &str) -> Option<Self> {
        if !may_mount(test) {
            return None;
        }
        let mounted = output_of(Command::new("mount").arg("--bind").args([from, at]));
        assert!(mounted.status.success(), "{mounted:?}");
        Some(Self(at.to_owned()))
    }
}

impl Drop for BindMount {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(&self.0).status());
    }
}

#[test]
fn p2_originals_mounted_into_the_inbox_lose_nothing() {
    let (factory, content) = with_one_photo("bind-mount");
    let day = factory.originals().join("2021/2021-02-03");
    let at = factory.inbox().join("day");
    fs::create_dir(&at).unwrap();
    let Some(mounted) = BindMount::new(&day, &at, "Originals mounted into the inbox") else {
        return;
    };
    assert_eq!(
        fs::metadata(at.join("a.jpg")).unwrap().ino(),
        fs::metadata(original(&factory)).unwrap().ino(),
        "the fault did not fire"
    );
    let run = factory.ingest();
    let reason = stays(&factory, &run, "day/a.jpg");
    assert!(
        reason.contains("take that folder out of the inbox"),
        "{reason}"
    );
    // A second name somewhere else makes it look like an ordinary hard link; the original is still this one name.
    fs::hard_link(original(&factory), factory.root().join("elsewhere.jpg")).unwrap();
    let run = factory.ingest();
    stays(&factory, &run, "day/a.jpg");
    assert_eq!(fs::read(original(&factory)).unwrap(), content);
    drop(mounted);
    assert_eq!(fs::read(original(&factory)).unwrap(), content);
    factory.assert_ledger_and_originals_agree();
}

#[test]
fn p2_an_original_replaced_by_a_link_to_the_inbox_file_keeps_the_inbox_file() {
    let (factory, content) = with_one_photo("symlink");
    let again = factory.put("again.jpg", &content);
    fs::remove_file(original(&factory)).unwrap();
    symlink(&again, original(&factory)).unwrap();
    let run = factory.ingest();
    stays(&factory, &run, "again.jpg");
    assert_eq!(fs::read(&again).unwrap(), content);
}

#[test]
fn p2_a_day_replaced_by_a_link_to_the_inbox_keeps_the_inbox_file() {
    let (factory, content) = with_one_photo("symlinked-day");
    let day = factory.originals().join("2021/2021-02-03");
    fs::remove_dir_all(&day).unwrap();
    symlink(factory.inbox(), &day).unwrap();
    let again = factory.put("a.jpg", &content);
    let run = factory.ingest();
    stays(&factory, &run, "a.jpg");
    assert_eq!(fs::read(&again).unwrap(), content);
}

#[test]
fn p2_an_original_that_cannot_be_read_keeps_the_photo_in_the_inbox() {
    if !installed("strace", "the original that cannot be read") {
        return;
    }
    let (factory, content) = with_one_photo("unreadable");
    factory.put("again.jpg", &content);
    let trace = factory.root().join("strace.txt");
    let mut command = Command::new("strace");
    command
        .args(["-f", "-qq", "-o"])
        .arg(&trace)
        .arg("-P")
        .arg(original(&factory))
        .args(["-e", "trace=pread64", "-e", "inject=pread64:error=EIO"])
        .arg(program())
        .arg("--root")
        .arg(factory.root())
        .args(["ingest", "--json"]);
    let output = output_of(&mut command);
    let traced = fs::read_to_string(&trace).unwrap();
    assert!(
        traced.contains("INJECTED"),
        "the fault did not fire: {traced}"
    );
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert_eq!(factory.waiting().len(), 1);
    assert_eq!(fs::read(original(&factory)).unwrap(), content);
    // The disk is well again: it is a duplicate like any other.
    assert_eq!(factory.ingest().count("duplicates"), 1);
    assert!(factory.waiting().is_empty());
}

/// Before which call the original goes: the inbox name is about to be cleared, everything was proven.
fn last_moment(calls: &[String], by_copy: bool) -> Option<usize> {
    let stands = calls
        .iter()
        .position(|call| call.ends_with(ORIGINAL) && !call.starts_with("open"))?;
    // The name is put aside by this call before it goes; of a copy, the finished row is synced at last.
    let is_it = |call: &&String| {
        if by_copy {
            call.starts_with("fdatasync Data/")
        } else {
            call.starts_with("renameat2 Photos_Inbox/")
        }
    };
    let after = calls.iter().skip(stands + 1);
    Some(stands + 2 + after.take_while(|call| !is_it(call)).count())
}

fn take_the_original_away(root: &Path) {
    // In a run whose threads took other turns it may not stand yet.
    if fs::remove_file(root.join("Storage/Originals").join(ORIGINAL)).is_ok() {
        fs::write(root.join("is-gone"), b"").unwrap();
    }
}

#[test]
fn p1_an_original_that_goes_at_the_last_moment_costs_nothing() {
    // By link (one file system, our own file), and by copy (another name leads to it).
    for by_copy in [false, true] {
        let laid = || {
            let factory = Factory::new("last-moment");
            let path = factory.put("a.jpg", &photo());
            if by_copy {
                fs::hard_link(&path, factory.root().join("elsewhere.jpg")).unwrap();
            }
            let mut command = factory.command();
            command.args(["ingest", "--json"]);
            (factory, command)
        };
        let (factory, command) = laid();
        let counted = tracer::run(&command, factory.root(), Calls::Changes, Fault::None);
        assert_eq!(counted.code, Some(0), "{counted:?}");
        let moment = last_moment(&counted.calls, by_copy).expect("it is filed");
        assert!(moment <= counted.calls.len(), "{:#?}", counted.calls);
        // Threads take turns as they like: in one of a few runs it is the same moment again.
        let fired = (0..50).any(|_| {
            let (factory, command) = laid();
            let fault = Fault::Before(moment, &take_the_original_away);
            let traced = tracer::run(&command, factory.root(), Calls::Changes, fault);
            assert!(!traced.hung, "{traced:?}");
            let was_it = last_moment(&traced.calls, by_copy) == Some(moment);
            if was_it {
                assert_eq!((traced.code, traced.fired), (Some(0), 1), "{traced:?}");
                assert!(factory.root().join("is-gone").exists(), "{traced:?}");
                factory.ingest();
                assert_eq!(
                    fs::read(original(&factory)).ok().map(|bytes| hash(&bytes)),
                    Some(hash(&photo())),
                    "by copy: {by_copy}"
                );
                factory.assert_ledger_and_originals_agree();
            }
            was_it
        });
        assert!(fired, "the fault did not fire: {:#?}", counted.calls);
    }
}

#[test]
fn p5_a_photo_that_an_older_copy_of_the_ledger_does_not_know_is_taken_in_where_it_stands() {
    let (factory, content) = with_one_photo("older-copy");
    let ledger = factory.root().join("Data/ledger.redb");
    let older = fs::read(&ledger).unwrap();
    // Filed after the copy was made: a photo and another of the same name and day, a raw and its sidecar.
    let second = jpeg::small(2, &Exif::taken("2021:02:03 04:05:06"));
    let third = jpeg::small(3, &Exif::taken("2021:02:03 04:05:06"));
    let sidecar = br#"<x:xmpmeta xmlns:x="adobe:ns:meta/"/>"#;
    let put_all = |factory: &Factory| {
        factory.put("x/b.jpg", &second);
        factory.put("x/b.xmp", sidecar);
        factory.put("y/b.jpg", &third);
    };
    put_all(&factory);
    assert_eq!(factory.ingest().code, 0);
    let filed = factory.filed();
    assert_eq!(filed.len(), 4, "{filed:?}");

    fs::write(&ledger, older).unwrap();
    put_all(&factory);
    let run = factory.ingest();
    assert_eq!(run.code, 0, "{}", run.summary);
    assert_eq!(factory.waiting(), Vec::<PathBuf>::new());
    assert_eq!(factory.filed(), filed, "{}", run.summary);
    factory.assert_ledger_and_originals_agree();
    // One that is new takes the next free name, and what the copy knows is known.
    factory.put("a.jpg", &content);
    let fourth = jpeg::small(4, &Exif::taken("2021:02:03 04:05:06"));
    factory.put("z/b.jpg", &fourth);
    assert_eq!(factory.ingest().code, 0);
    assert_eq!(factory.filed().len(), 5);
    factory.assert_ledger_and_originals_agree();
}

#[test]
fn p5_a_new_ledger_beside_full_originals_takes_in_what_comes_again_where_it_stands() {
    let (factory, content) = with_one_photo("new-beside-full");
    fs::remove_dir_all(factory.root().join("Data")).unwrap();
    factory.put("a.jpg", &content);
    let run = factory.ingest();
    assert_eq!(run.code, 0, "{}", run.summary);
    assert_eq!(factory.waiting(), Vec::<PathBuf>::new());
    assert_eq!(factory.filed().len(), 1, "{}", run.summary);
    factory.assert_ledger_and_originals_agree();
}
