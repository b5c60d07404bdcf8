//! File systems that can do less than the one below this test, or are far away: what they refuse is refused by injection.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::clock;
use crate::factory::{Factory, PATIENCE, hash, installed, program, text};
use crate::fixtures::exif::Exif;
use crate::fixtures::jpeg;

/// A photo of its own for each number, taken on one day.
fn photo(number: u64) -> Vec<u8> {
    jpeg::small(number, &Exif::taken("2021:02:03 04:05:06"))
}

fn day(factory: &Factory) -> PathBuf {
    factory.originals().join("2021/2021-02-03")
}

/// The hashes of all that stands in Originals.
fn kept(factory: &Factory) -> Vec<String> {
    let mut kept: Vec<String> = factory.filed().into_values().collect();
    kept.sort();
    kept
}

fn sorted(contents: impl IntoIterator<Item = Vec<u8>>) -> Vec<String> {
    let mut hashes: Vec<String> = contents.into_iter().map(|bytes| hash(&bytes)).collect();
    hashes.sort();
    hashes
}

/// One run of the program whose calls are traced and, by strace's own words, refused, delayed or answered otherwise.
struct Traced {
    command: Command,
    trace: PathBuf,
}

impl Traced {
    /// `None`, said, where it can't be done.
    fn new(factory: &Factory, faults: &[&str], test: &str) -> Option<Self> {
        if !installed("strace", test) {
            return None;
        }
        let trace = factory.root().join("strace.txt");
        // A trace of an earlier run must not answer for this one.
        drop(fs::remove_file(&trace));
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o"]).arg(&trace);
        for fault in faults {
            command.args(["-e", fault]);
        }
        command.arg(program()).arg("--root").arg(factory.root());
        command.env("TZ", "UTC").stdin(Stdio::null());
        Some(Self { command, trace })
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.trace).unwrap_or_default()
    }

    /// One pass; gives the exit code and what was said.
    fn ingest(&mut self) -> (Option<i32>, String) {
        let output = self.command.arg("ingest").output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (
            output.status.code(),
            String::from_utf8_lossy(&said).into_owned(),
        )
    }

    fn spawn_ingest(&mut self) -> Child {
        let command = self.command.arg("ingest");
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    }

    /// How often a call was refused or answered otherwise.
    fn fired(&self) -> usize {
        self.log().matches("(INJECTED").count()
    }
}

#[test]
fn p4_a_photo_renamed_into_place_while_its_name_is_cleared_is_kept_also_without_careful_renames() {
    for delayed in ["unlinkat", "renameat"] {
        let factory = Factory::new("no-noreplace");
        // What is made once is made before.
        factory.ingest();
        let path = factory.put("IMG_1.JPG", &photo(1));
        let next = factory.put(".syncthing.IMG_1.JPG.tmp", &photo(2));
        let delay = format!("inject={delayed}:delay_enter=2000000");
        let faults = [
            "trace=renameat2,renameat,unlinkat",
            "inject=renameat2:error=EINVAL",
            &delay,
        ];
        let Some(mut traced) = Traced::new(&factory, &faults, "a disk without careful renames")
        else {
            return;
        };
        let mut child = traced.spawn_ingest();
        factory.wait_until("the careful rename is refused", PATIENCE, || {
            traced.fired() > 0
        });
        fs::rename(&next, &path).unwrap();
        assert!(child.wait().unwrap().success(), "{}", traced.log());
        let log = traced.log();
        assert!(log.contains("DELAYED"), "the fault did not fire: {log}");
        factory.ingest();
        assert_eq!(kept(&factory), sorted([photo(1), photo(2)]), "{delayed}");
        assert!(factory.waiting().is_empty(), "{delayed}");
        factory.assert_ledger_and_originals_agree();
    }
}

/// What `fstatfs` says of NFS: the first field of its answer, the type.
const SAYS_NFS: &str = "inject=fstatfs:poke_exit=@arg2=6969000000000000";

#[test]
fn p4_on_a_network_disk_no_lease_is_asked_for_and_the_photo_is_copied() {
    if cfg!(not(target_pointer_width = "64")) || cfg!(target_endian = "big") {
        println!("skipped: the answer of fstatfs is written for 64 bits, little-endian");
        return;
    }
    let factory = Factory::new("network");
    factory.ingest();
    let path = factory.put("IMG_1.JPG", &photo(1));
    let inode = fs::metadata(&path).unwrap().ino();
    let faults = ["trace=fstatfs,fcntl", SAYS_NFS];
    let Some(mut traced) = Traced::new(&factory, &faults, "a network disk") else {
        return;
    };
    let (code, said) = traced.ingest();
    assert!(traced.fired() > 0, "the fault did not fire");
    assert_eq!(code, Some(0), "{said}");
    assert!(!traced.log().contains("F_SETLEASE, F_RDLCK"), "{said}");
    let original = fs::metadata(day(&factory).join("IMG_1.JPG")).unwrap();
    assert_ne!(original.ino(), inode);
    assert!(factory.waiting().is_empty());
    factory.assert_ledger_and_originals_agree();
}

#[test]
fn p4_where_the_times_may_be_another_machine_s_only_what_was_seen_here_counts_as_rest() {
    let Some(library) = clock::library("the server's clock") else {
        return;
    };
    for (polled, taken) in [(false, true), (true, false)] {
        let mut factory = Factory::new("server-clock");
        let settings = format!("[inbox]\nsettle_seconds = 3600\npoll = {polled}\n");
        fs::write(factory.root().join("photo-factory.toml"), settings).unwrap();
        factory.put("IMG_1.JPG", &photo(1));
        // Our clock is ahead: the file's times are those of a server whose clock is behind.
        let mut command = factory.command();
        command.args(["run", "--listen", "127.0.0.1:0"]);
        command.env("LD_PRELOAD", &library).env("FAKETIME", "+2h");
        command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        command.env("NO_FAKE_STAT", "1");
        factory.start_command(command);
        if taken {
            factory.wait_until_the_inbox_is_empty();
        } else {
            factory.wait_until("it is seen", PATIENCE, || {
                factory.status()["inbox"]["depth"] == 1
            });
        }
        factory.stop();
        assert_eq!(kept(&factory).len(), usize::from(taken));
        assert_eq!(factory.waiting().is_empty(), taken);
    }
}

/// The lease protects the original for as long as the kernel lets it: not for as long as a ledger's disk may hang.
#[test]
fn p3_whoever_opens_a_photo_for_writing_while_the_ledger_hangs_gets_a_file_that_is_not_the_original()
 {
    let rehearsal = Factory::new("hung-ledger-rehearsal");
    rehearsal.ingest();
    rehearsal.put("IMG_1.JPG", &photo(1));
    let calls = ["trace=linkat,fdatasync"];
    let Some(mut traced) = Traced::new(&rehearsal, &calls, "a ledger that hangs") else {
        return;
    };
    assert_eq!(traced.ingest().0, Some(0));
    let log = traced.log();
    let (before, _) = log.split_once("linkat(").expect("it is linked");
    // The ledger's thread makes them all.
    let syncs = before.matches("fdatasync(").count();

    let factory = Factory::new("hung-ledger");
    factory.ingest();
    let path = factory.put("IMG_1.JPG", &photo(1));
    let hang = format!("inject=fdatasync:delay_enter=600000000:when={}+", syncs + 1);
    let faults = ["trace=linkat,fdatasync", &hang];
    let mut traced = Traced::new(&factory, &faults, "a ledger that hangs").unwrap();
    let mut child = traced.spawn_ingest();
    let original = day(&factory).join("IMG_1.JPG");
    factory.wait_until("the original stands", PATIENCE, || original.is_file());
    // Waits until the lease is given back, or taken away.
    let mut writer = fs::OpenOptions::new().write(true).open(&path).unwrap();
    let (one, other) = (writer.metadata().unwrap(), fs::metadata(&original).unwrap());
    assert!(
        child.try_wait().unwrap().is_none(),
        "the fault did not fire"
    );
    writer.write_all(b"overwritten").unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_ne!(one.ino(), other.ino());
    assert_eq!(hash(&fs::read(&original).unwrap()), hash(&photo(1)));
}

#[test]
fn a_disk_that_refuses_to_keep_a_file_s_time_takes_the_photo_all_the_same() {
    for refused in ["EPERM", "EACCES", "EOPNOTSUPP", "ENOSYS"] {
        let factory = Factory::new("no-times");
        factory.configure("clear = \"never\"\n");
        factory.ingest();
        factory.put("IMG_1.JPG", &photo(1));
        let fault = format!("inject=utimensat:error={refused}");
        let faults = ["trace=utimensat", &fault];
        let Some(mut traced) = Traced::new(&factory, &faults, "a disk without times") else {
            return;
        };
        let (code, said) = traced.ingest();
        assert!(traced.fired() > 0, "the fault did not fire");
        assert_eq!(code, Some(0), "{refused}: {said}");
        assert_eq!(kept(&factory), sorted([photo(1)]), "{refused}");
    }
}

#[test]
fn a_day_that_became_a_link_is_told_as_such_and_not_as_other_bytes() {
    let factory = Factory::new("linked-day");
    factory.put("IMG_1.JPG", &photo(1));
    factory.ingest();
    let elsewhere = factory.root().join("elsewhere");
    fs::rename(day(&factory), &elsewhere).unwrap();
    symlink(&elsewhere, day(&factory)).unwrap();
    factory.put("IMG_1.JPG", &photo(1));
    let run = factory.ingest();
    assert_eq!(run.code, 2, "{}", run.summary);
    let reason = text(run.files.last().expect("it is named"), "reason");
    assert!(reason.contains("there must be a real folder"), "{reason}");
    assert!(!reason.contains("other bytes"), "{reason}");
    assert_eq!(factory.waiting().len(), 1);
}
