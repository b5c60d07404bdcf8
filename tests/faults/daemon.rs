//! The appliance under errors that last: it lives, its page answers, and when they end it goes on by itself.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::cases::{Workshop, go_through};
use crate::factory::{Factory, PATIENCE, ended, http, installed, signal, wait_until};
use crate::scene::{Scene, all_files, copy_tree};

/// The calls that fail, and how.
const FAULTS: [(&str, &str); 8] = [
    ("fsync,fdatasync,syncfs", "EIO"),
    ("pwrite64,ftruncate,fallocate", "ENOSPC"),
    ("pwrite64,ftruncate", "EIO"),
    ("linkat,renameat2,mkdirat,unlinkat,?mkdir,?rename", "EROFS"),
    ("linkat,renameat2,mkdirat,unlinkat,?mkdir,?rename", "EACCES"),
    ("openat", "EMFILE"),
    ("openat,getdents64", "EIO"),
    ("pread64", "EIO"),
];

#[test]
fn the_appliance_lives_through_errors_that_last_and_goes_on_by_itself_when_they_end() {
    let test = "errors that last";
    if !installed("strace", test) {
        return;
    }
    let workshop = Workshop::new("lasting");
    let scene = Scene::first_start(workshop.path());
    // Most of the time they wait.
    go_through(FAULTS.len(), &FAULTS, |thread, &fault| {
        let root = workshop.path().join(format!("root-{thread}"));
        let mut factory = Factory::in_folder(&root);
        live_through(&scene, workshop.path(), &mut factory, fault)
            .map_err(|error| format!("{fault:?}: {error}"))
    });
    println!(
        "{test}: {} kinds, the page answered, 0 lost, 0 unrecovered",
        FAULTS.len()
    );
}

fn live_through(
    scene: &Scene,
    workshop: &Path,
    factory: &mut Factory,
    (calls, error): (&str, &str),
) -> Result<(), String> {
    factory.start();
    let trace = factory.root().join("trace.txt");
    let mut strace = refuse(factory.pid(), calls, error, &trace)?;
    copy_tree(
        &workshop.join("template/Photos_Inbox"),
        &factory.root().join("laid"),
    );
    fs::remove_dir_all(factory.inbox()).unwrap();
    fs::rename(factory.root().join("laid"), factory.inbox()).unwrap();
    let fired = || {
        fs::read_to_string(&trace)
            .unwrap_or_default()
            .matches("(INJECTED)")
            .count()
    };
    let came = wait_until(PATIENCE, || fired() > 5);
    // It has met the errors; it answers all the while.
    let answered = factory.is_running() && http(factory.address(), "GET", "/", &[]).0 == 200;
    signal(&strace, Signal::INT);
    ended(&mut strace, "strace");
    if !came {
        return Err(format!("the fault fired only {} times", fired()));
    }
    if !answered {
        return Err("the page did not answer".to_owned());
    }
    scene.nothing_is_lost(factory.root())?;
    let is_done = || {
        let waiting = all_files(&factory.inbox());
        waiting.iter().all(|path| path.ends_with("note.txt"))
    };
    if !wait_until(Duration::from_secs(180), is_done) {
        let log = fs::read_to_string(factory.root().join("stderr.txt")).unwrap_or_default();
        return Err(format!(
            "it did not go on; in the inbox: {:?}; its log: {log}",
            all_files(&factory.inbox())
        ));
    }
    let (status, _) = factory.stop();
    if !status.success() {
        return Err(format!("it ended with {status}"));
    }
    scene.all_is_filed(factory.root())
}

/// Makes these calls of a running program fail until the returned process is interrupted.
fn refuse(pid: u32, calls: &str, error: &str, trace: &Path) -> Result<Child, String> {
    let mut strace = Command::new("strace");
    strace
        .args(["-f", "-qq", "-o"])
        .arg(trace)
        .args(["-e", &format!("trace={calls}")])
        .args(["-e", &format!("inject={calls}:error={error}")])
        .args(["-p", &pid.to_string()])
        .stdin(Stdio::null());
    let child = strace.spawn().map_err(|error| error.to_string())?;
    let is_traced = || {
        fs::read_to_string(format!("/proc/{pid}/status"))
            .unwrap_or_default()
            .lines()
            .any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0"))
    };
    if wait_until(PATIENCE, is_traced) {
        Ok(child)
    } else {
        Err("strace did not attach".to_owned())
    }
}
