//! The courier itself breaks: that costs one answer.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use photo_factory::courier::{Courier, Failed};
use rustix::process::{Pid, Signal, kill_process};

use crate::{courier, folder, get, program, receivers};

/// A program in the courier's place. Another process writes it: as long as one of ours had it open, it could not be run.
fn script(name: &str, text: &str) -> PathBuf {
    let path = folder(name).join("courier");
    let mut cat = Command::new("sh")
        .args(["-c", "cat > \"$0\""])
        .arg(&path)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = cat.stdin.take().unwrap();
    write!(input, "#!/bin/sh\n{text}\n").unwrap();
    drop(input);
    assert!(cat.wait().unwrap().success());
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn asked_of(program: PathBuf) -> Failed {
    let mut request = get("http://127.0.0.1:1/");
    request.deadline = Duration::from_millis(100);
    let mut round = Courier::new(Some(program)).round().unwrap();
    round.ask(&request).unwrap_err()
}

#[test]
fn a_courier_that_dies_is_told_as_broken() {
    let failed = asked_of(script("dies", "read line; kill -9 $$"));
    assert_eq!(failed, Failed::Broken("it died".to_owned()));
}

#[test]
fn a_courier_that_talks_nonsense_is_told_as_broken_without_the_nonsense() {
    let failed = asked_of(script("nonsense", "read line; echo secret; read line"));
    let told = "its answer made no sense".to_owned();
    assert_eq!(failed, Failed::Broken(told));
}

#[test]
fn a_courier_that_answers_another_question_is_told_as_broken() {
    let failed = asked_of(script("other", "read line; echo '\"sent\"'; read line"));
    assert!(matches!(failed, Failed::Broken(_)), "{failed:?}");
}

#[test]
fn a_courier_that_never_ends_its_line_is_cut_off() {
    let failed = asked_of(script("endless", "exec cat /dev/zero"));
    let told = "its answer has no end".to_owned();
    assert_eq!(failed, Failed::Broken(told));
}

#[test]
fn a_courier_that_hangs_is_ended_after_the_deadline() {
    assert_eq!(
        asked_of(script("hangs", "exec sleep 600")),
        Failed::TimedOut
    );
}

#[test]
fn a_courier_that_does_not_even_read_is_ended_after_the_deadline() {
    let mut request = get("http://127.0.0.1:1/");
    request.deadline = Duration::from_millis(100);
    request
        .headers
        .push(("X-Long".to_owned(), "x".repeat(4 << 20)));
    let program = script("deaf", "exec sleep 600");
    let mut round = Courier::new(Some(program)).round().unwrap();
    assert_eq!(round.ask(&request).unwrap_err(), Failed::TimedOut);
}

#[test]
fn after_a_courier_was_killed_in_the_middle_the_same_round_goes_on_with_another() {
    let noted = folder("killed").join("pid");
    let script = script(
        "killed-program",
        &format!(
            "echo $$ > '{}'; exec '{}'",
            noted.display(),
            program().display()
        ),
    );
    let mut calls = 0;
    let port = receivers::listen(move |mut stream| {
        receivers::request(&mut stream);
        calls += 1;
        if calls == 1 {
            let pid = std::fs::read_to_string(&noted).unwrap();
            let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
            kill_process(pid, Signal::KILL).unwrap();
        } else {
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(answer).unwrap();
        }
    });
    let request = get(&format!("http://127.0.0.1:{port}/"));
    let mut round = Courier::new(Some(script)).round().unwrap();
    assert!(matches!(round.ask(&request), Err(Failed::Broken(_))));
    assert_eq!(round.ask(&request).unwrap().status, 200);
}

#[test]
fn a_courier_that_is_not_there_is_told_with_what_to_do() {
    for program in [None, Some(PathBuf::from("/nowhere/courier"))] {
        let failed = Courier::new(program).round().unwrap_err();
        assert!(matches!(failed, Failed::Absent(_)), "{failed:?}");
        assert!(failed.to_string().contains("photo-factory"), "{failed}");
    }
    // And one that is there starts.
    courier().round().unwrap();
}

#[test]
fn the_courier_ends_with_its_input() {
    let mut child = Command::new(program())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    assert!(child.wait().unwrap().success());
}
