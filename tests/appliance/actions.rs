//! What the owner can ask for on the page: left files are taken again, the originals are read again now, filing rests.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use photo_factory::config::Config;
use photo_factory::librarian::{Fate, Inbox};
use serde_json::Value;
use smol::future::FutureExt;
use smol::{LocalExecutor, channel};

use crate::factory::{Factory, PATIENCE, http, text};
use crate::fixtures::exif::Exif;
use crate::fixtures::jpeg;

fn photo(number: u64) -> Vec<u8> {
    jpeg::small(number, &Exif::taken("2021:02:03 04:05:06"))
}

fn problems(factory: &Factory) -> Value {
    let (code, body) = http(factory.address(), "GET", "/api/v1/problems", &[]);
    assert_eq!(code, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

/// The files that are left, by path.
fn left(factory: &Factory) -> Vec<String> {
    let problems = problems(factory);
    let mut left: Vec<String> = problems["left"]
        .as_array()
        .unwrap()
        .iter()
        .map(|left| text(left, "path").to_owned())
        .collect();
    left.sort();
    left
}

/// Presses a button of the page; gives back the page that answers.
fn press(factory: &Factory, action: &str, fields: &str) -> String {
    let (_, page) = http(factory.address(), "GET", "/problems", &[]);
    let token = page.split_once("name=\"token\" value=\"").unwrap().1;
    let token = token.split_once('"').unwrap().0;
    let body = format!("token={token}{fields}");
    let mut stream = TcpStream::connect(factory.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        stream,
        "POST /actions/{action} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        factory.address(),
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{action}: {answer}");
    answer
}

#[test]
fn a_file_that_was_left_is_taken_again_when_the_owner_says_so_whatever_it_was() {
    let mut factory = Factory::new("actions-retry");
    // Known by its name to be no photo; looked at again, and left again, later than before.
    factory.put("phone/notes.txt", b"no photo");
    factory.put("phone/list.txt", b"no photo either");
    factory.start();
    let both = ["phone/list.txt", "phone/notes.txt"];
    factory.wait_until("both are left", PATIENCE, || left(&factory) == both);
    let since = |path: &str| {
        let problems = problems(&factory);
        let rows = problems["left"].as_array().unwrap();
        let row = rows.iter().find(|row| text(row, "path") == path);
        row.map(|row| text(row, "since").to_owned())
    };
    let (first, other) = (since(both[1]).unwrap(), since(both[0]).unwrap());
    let (_, page) = http(factory.address(), "GET", "/problems", &[]);
    assert!(
        page.contains("notes.txt") && page.contains("Try again"),
        "{page}"
    );

    factory.wait_until("it is left anew", PATIENCE, || {
        let answer = press(&factory, "retry", "&path=phone%2Fnotes.txt");
        assert!(
            answer.contains("phone/notes.txt is taken again.")
                || answer.contains("no longer among"),
            "{answer}"
        );
        since(both[1]).is_some_and(|since| since > first)
    });
    assert_eq!(
        since(both[0]).unwrap(),
        other,
        "the other was not asked for"
    );

    factory.wait_until("all are left anew", PATIENCE, || {
        let answer = press(&factory, "retry", "");
        assert!(
            answer.contains("taken again") || answer.contains("No file that was left"),
            "{answer}"
        );
        since(both[0]).is_some_and(|since| since > other)
    });
    factory.wait_until("both are left", PATIENCE, || left(&factory) == both);
    assert_eq!(factory.status()["inbox"]["left"], 2);
    let gone = press(&factory, "retry", "&path=phone%2Fnever.jpg");
    assert!(
        gone.contains("no longer among the files that were left"),
        "{gone}"
    );
}

#[test]
fn a_pause_leaves_photos_in_the_inbox_until_the_owner_or_a_restart_ends_it() {
    let mut factory = Factory::new("actions-pause");
    factory.put("a.jpg", &photo(1));
    factory.start();
    factory.wait_until_the_inbox_is_empty();
    let answer = press(&factory, "pause", "");
    assert!(answer.contains("Nothing new is taken until"), "{answer}");
    let status = factory.status();
    assert_eq!(status["activity"]["state"], "paused");
    assert!(status["activity"]["paused_until"].is_string(), "{status}");
    assert_eq!(status["activity"]["trouble"], Value::Null);
    factory.put("b.jpg", &photo(2));
    factory.wait_until("it is seen that one waits", PATIENCE, || {
        factory.status()["inbox"]["depth"] == 1
    });
    let status = factory.status();
    assert_eq!(status["status"], "attention", "{status}");
    let message = text(&status, "message");
    assert!(
        message.starts_with("Filing is paused, as you asked, until"),
        "{message}"
    );
    factory.wait_until("the librarian says so", PATIENCE, || {
        let services = factory.status()["services"].to_string();
        services.contains("paused by the owner until") && services.contains("\"up\"")
    });
    assert_eq!(factory.rows().len(), 1);
    let answer = press(&factory, "resume", "");
    assert!(answer.contains("Photos are taken again."), "{answer}");
    factory.wait_until_the_inbox_is_empty();
    assert_eq!(factory.rows().len(), 2);
    assert_eq!(factory.status()["activity"]["paused_until"], Value::Null);

    press(&factory, "pause", "");
    factory.put("c.jpg", &photo(3));
    factory.wait_until("it is seen that one waits", PATIENCE, || {
        factory.status()["inbox"]["depth"] == 1
    });
    factory.stop();
    factory.start();
    factory.wait_until_the_inbox_is_empty();
    assert_eq!(factory.rows().len(), 3);
}

#[test]
fn a_round_that_is_asked_for_reads_every_original_without_waiting_for_its_days() {
    let mut factory = Factory::new("actions-verify");
    for number in 1..=4 {
        factory.put(format!("{number}.jpg"), &photo(number));
    }
    assert_eq!(factory.ingest().code, 0);
    let spoilt = factory.rows()[2]["final_path"].as_str().unwrap().to_owned();
    let file = factory.storage().join(&spoilt);
    let mut mode = fs::metadata(&file).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut mode, 0o644);
    fs::set_permissions(&file, mode).unwrap();
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, bytes).unwrap();
    factory.configure("[verify]\ndays = 365\n");
    factory.start();
    assert_eq!(problems(&factory)["verified"]["files"], 0);
    let answer = press(&factory, "verify", "");
    assert!(
        answer.contains("Every original is read again now"),
        "{answer}"
    );
    factory.wait_until("the round is done", PATIENCE, || {
        problems(&factory)["verified"]["last_round"].is_object()
    });
    let problems = problems(&factory);
    assert_eq!(problems["verified"]["last_round"]["files"], 4);
    assert_eq!(problems["verified"]["at_once"], false);
    let findings = problems["verified"]["findings"].as_array().unwrap();
    assert_eq!(findings.len(), 1);
    assert_eq!(text(&findings[0], "path"), spoilt);

    // Slow enough to be met at work: it is not begun a second time, and a restart goes on with it.
    factory.stop();
    factory.configure("[verify]\ndays = 365\nlimit = 0.0001\n");
    factory.start();
    let answer = press(&factory, "verify", "");
    assert!(
        answer.contains("Every original is read again now"),
        "{answer}"
    );
    factory.wait_until("the page says so", PATIENCE, || {
        factory.status()["verified"]["at_once"] == true
    });
    let answer = press(&factory, "verify", "");
    assert!(answer.contains("already"), "{answer}");
    factory.stop();
    factory.configure("[verify]\ndays = 365\n");
    factory.start();
    factory.wait_until("the round is done", PATIENCE, || {
        let verified = &factory.status()["verified"];
        verified["at_once"] == false && verified["files"] == 4
    });
}

#[test]
fn with_the_verification_switched_off_or_the_ledger_down_the_answer_says_so() {
    let mut factory = Factory::new("actions-refused");
    factory.put("a.jpg", &photo(1));
    factory.put("notes.txt", b"no photo");
    factory.configure("[verify]\ndays = 0\n");
    factory.start();
    factory.wait_until("the text is left", PATIENCE, || {
        left(&factory) == ["notes.txt"]
    });
    let off = press(&factory, "verify", "");
    assert!(off.contains("switched off"), "{off}");
    factory.stop();

    let ledger = factory.root().join("Data/ledger.redb");
    fs::write(&ledger, "no ledger").unwrap();
    factory.start();
    for action in ["retry", "verify"] {
        let answer = press(&factory, action, "");
        assert!(answer.contains("at present"), "{answer}");
    }
    let (code, page) = http(factory.address(), "GET", "/problems", &[]);
    assert_eq!(code, 200);
    assert!(
        page.contains("The ledger cannot be used at present"),
        "{page}"
    );
    let paused = press(&factory, "pause", "");
    assert!(paused.contains("Nothing new is taken until"), "{paused}");
    assert_eq!(factory.status()["activity"]["state"], "paused");
}

fn clock() -> jiff::Timestamp {
    SystemTime::now().try_into().unwrap()
}

#[test]
fn a_pause_ends_by_itself_and_what_waited_is_taken_without_a_look_of_the_timer() {
    let factory = Factory::new("actions-pause-ends");
    let settings = "[inbox]\nsettle_seconds = 1\nrescan_seconds = 3600\n";
    fs::write(factory.root().join("photo-factory.toml"), settings).unwrap();
    factory.put("a.jpg", &photo(1));
    let config = Config::read(Some(factory.root()), None, None).unwrap();
    let opened = photo_factory::factory::Factory::open(config, clock).unwrap();
    let line = opened.inbox_line(false).unwrap();
    line.rest_until(Some(Instant::now() + PATIENCE * 10));
    let executor = LocalExecutor::new();
    let filed = smol::block_on(executor.run(async {
        let (ready, shots) = channel::bounded(8);
        let (reports, fates) = channel::bounded(8);
        let _journeys = executor.spawn(Arc::clone(&line).run(shots, reports));
        let _watch = executor.spawn(Inbox::new(Arc::clone(&line)).watch(ready));
        while line.progress.depth() == 0 {
            smol::future::yield_now().await;
        }
        assert!(fates.is_empty(), "it was taken in spite of the pause");
        assert!(line.rests_until(Instant::now()).is_some());
        line.rest_until(Some(Instant::now() + Duration::from_millis(500)));
        let given_up = async {
            smol::Timer::after(PATIENCE).await;
            None
        };
        let taken = async { fates.recv().await.ok() };
        taken.or(given_up).await
    }));
    let report = filed.expect("nothing is taken when the pause is over");
    assert!(matches!(report.fate, Fate::Filed(_)), "{report:?}");
    assert_eq!(line.rests_until(Instant::now()), None);
}
