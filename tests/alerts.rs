//! Alerts, and `alert --test` through the real binary, to receivers on loopback.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests make and change files, and fail by panicking"
)]

#[path = "fixtures/programs.rs"]
mod programs;
#[path = "courier/receivers.rs"]
mod receivers;

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use photo_factory::config::Config;
use photo_factory::courier::Courier;
use photo_factory::monitor::alerts::{Alerts, Incident, Moment};
use photo_factory::monitor::event::Turn;
use receivers::{Manners, certificate, http, listen, request, smtp, tls};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// A root with these settings and a secret, made anew.
fn root(name: &str, settings: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("alerts")
        .join(name);
    if root.exists() {
        std::fs::remove_dir_all(&root).unwrap();
    }
    std::fs::create_dir_all(&root).unwrap();
    std::fs::write(root.join("photo-factory.toml"), settings).unwrap();
    let secret = root.join("secret");
    std::fs::write(&secret, "hush-hush\n").unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    root
}

/// The exit code, and what it said.
fn alert(root: &Path, arguments: &[&str]) -> (i32, String) {
    let output = Command::new(programs::program(env!("CARGO_BIN_EXE_photo-factory")))
        .arg("--root")
        .arg(root)
        .arg("alert")
        .args(arguments)
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).unwrap();
    assert!(!said.contains("hush-hush"), "{said}");
    (output.status.code().unwrap(), said)
}

fn body(request: &str) -> Value {
    let (_, body) = request.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(body).unwrap()
}

#[test]
fn a_test_reaches_ntfy_with_its_token_and_a_webhook_in_the_middle_of_quiet_hours() {
    let (ntfy, at_ntfy) = http(OK);
    let (hook, at_hook) = http(OK);
    let settings = format!(
        "[alerts.phone]\nkind = 'ntfy'\nurl = 'http://127.0.0.1:{ntfy}/photos'\ntoken_file = 'secret'\n\
         quiet_hours = '00:00-23:59'\n\
         [alerts.hook]\nkind = 'webhook'\nurl = 'http://127.0.0.1:{hook}/a?b'\nquiet_hours = '12:00-11:59'\n"
    );
    let root = root("both", &settings);
    let (code, said) = alert(&root, &["--test"]);
    assert_eq!(
        (code, said.as_str()),
        (0, "webhook hook: sent\nntfy phone: sent\n")
    );

    let told = at_ntfy.recv_timeout(PATIENCE).unwrap();
    assert!(told.starts_with("POST / HTTP/1.1\r\n"), "{told}");
    let head = told.to_lowercase();
    assert!(
        head.contains("authorization: bearer hush-hush\r\n"),
        "{told}"
    );
    let json = body(&told);
    assert_eq!(json["topic"], "photos");
    assert!(json["title"].as_str().unwrap().contains("test"), "{json}");
    assert!(
        json["message"]
            .as_str()
            .unwrap()
            .contains("Nothing is wrong"),
        "{json}"
    );

    let told = at_hook.recv_timeout(PATIENCE).unwrap();
    assert!(told.starts_with("POST /a?b HTTP/1.1\r\n"), "{told}");
    let json = body(&told);
    assert_eq!(
        (json["version"].as_u64(), json["state"].as_str()),
        (Some(1), Some("test"))
    );
    assert_eq!(json["incidents"].as_array().unwrap().len(), 0);
}

#[test]
fn a_test_reaches_the_mail_server_by_starttls_with_a_login() {
    let (config, fingerprint) = certificate();
    let (port, heard) = smtp(Manners {
        tls: Some(config),
        to_auth: "235 welcome",
        ..Manners::default()
    });
    let settings = format!(
        "[alerts.mail]\nkind = 'email'\nserver = 'localhost'\nport = {port}\nuser = 'anna'\npassword_file = 'secret'\n\
         from = 'Factory <factory@example.org>'\nto = ['anna@example.org']\ncertificate = '{fingerprint}'\n"
    );
    let (code, said) = alert(&root("mail", &settings), &["--test"]);
    assert_eq!((code, said.as_str()), (0, "email mail: sent\n"));
    let mut told = Vec::new();
    while told.last().is_none_or(|line| line != "QUIT") {
        told.push(heard.recv_timeout(PATIENCE).unwrap());
    }
    assert!(
        told.iter().any(|line| line.starts_with("AUTH ")),
        "{told:?}"
    );
    assert!(
        told.iter()
            .any(|line| line.starts_with("Subject: [Photo Factory] ")),
        "{told:?}"
    );
}

#[test]
fn a_server_that_vouches_for_itself_is_told_with_what_to_set_and_then_believed() {
    let (config, fingerprint) = certificate();
    let (tell, heard) = channel();
    let port = listen(move |stream| {
        let mut stream = tls(&config, stream);
        let said = request(&mut stream);
        if !said.is_empty() {
            stream.write_all(OK.as_bytes()).unwrap();
        }
        tell.send(said).unwrap();
    });
    let settings =
        format!("[alerts.phone]\nkind = 'ntfy'\nurl = 'https://localhost:{port}/photos'\n");
    let root = root("pinned", &settings);
    let (code, said) = alert(&root, &["--test"]);
    assert_eq!(code, 2, "{said}");
    if said.contains("ca-certificates") {
        println!("skipped: the refusal of a certificate needs the package ca-certificates");
    } else {
        assert!(
            said.contains(&format!("certificate = \"{fingerprint}\"")),
            "{said}"
        );
        assert_eq!(heard.recv_timeout(PATIENCE).unwrap(), "");
    }
    let settings = format!("{settings}certificate = '{}'\n", fingerprint.to_uppercase());
    std::fs::write(root.join("photo-factory.toml"), settings).unwrap();
    let (code, said) = alert(&root, &["--test"]);
    assert_eq!(code, 0, "{said}");
    assert!(heard.recv_timeout(PATIENCE).unwrap().starts_with("POST / "));
}

#[test]
fn one_that_fails_is_told_with_what_to_do_and_the_others_are_sent() {
    let (good, at_good) = http(OK);
    let (bad, _at_bad) = http("HTTP/1.1 401 Unauthorized\r\nContent-Length: 9\r\n\r\nhush-hush");
    let (moved, _at_moved) = http(
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: https://else.example/hush-hush\r\nContent-Length: 0\r\n\r\n",
    );
    let settings = format!(
        "[alerts.bad]\nkind = 'webhook'\nurl = 'http://127.0.0.1:{bad}/'\ntoken_file = 'secret'\n\
         [alerts.good]\nkind = 'webhook'\nurl = 'http://127.0.0.1:{good}/'\n\
         [alerts.moved]\nkind = 'webhook'\nurl = 'http://127.0.0.1:{moved}/'\n\
         [alerts.unset]\nkind = 'webhook'\nurl = 'http://127.0.0.1:{good}/'\ntoken_file = 'missing'\n"
    );
    let root = root("mixed", &settings);
    let (code, said) = alert(&root, &["--test"]);
    assert_eq!(code, 2);
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(
        lines[0],
        "webhook bad: not sent: it does not let us in (401); check what token_file holds"
    );
    assert_eq!(lines[1], "webhook good: sent");
    assert!(lines[2].contains("leads to else.example (307)"), "{said}");
    assert!(lines[3].contains("missing can't be read"), "{said}");
    at_good.recv_timeout(PATIENCE).unwrap();

    let (code, said) = alert(&root, &["--test", "good"]);
    assert_eq!((code, said.as_str()), (0, "webhook good: sent\n"));
}

#[test]
fn a_secret_that_others_can_read_is_told() {
    let (port, _heard) = http(OK);
    let settings = format!(
        "[alerts.hook]\nkind = 'webhook'\nurl = 'http://127.0.0.1:{port}/'\ntoken_file = 'secret'\n"
    );
    let root = root("exposed", &settings);
    let secret = root.join("secret");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o640)).unwrap();
    let (code, said) = alert(&root, &["--test"]);
    assert_eq!(code, 0);
    assert!(
        said.contains(&format!("chmod 600 {}", secret.display())),
        "{said}"
    );
}

#[test]
fn without_a_target_it_tells_how_to_set_one() {
    let (code, said) = alert(&root("none", ""), &["--test"]);
    assert_eq!(code, 1);
    assert!(
        said.contains("[alerts.phone]") && said.contains("kind = \"ntfy\""),
        "{said}"
    );
}

#[test]
fn the_example_that_it_tells_is_one_it_takes() {
    let (_, said) = alert(&root("example-told", ""), &[]);
    let lines = said.lines().filter(|line| line.starts_with("    "));
    let example: Vec<_> = lines.map(str::trim).collect();
    let (code, said) = alert(&root("example", &example.join("\n")), &[]);
    assert_eq!(code, 0, "{said}");
    assert!(said.starts_with("ntfy phone\n"), "{said}");
}

#[test]
fn a_name_or_a_setting_that_there_is_not_is_told_with_those_that_there_are() {
    let settings = "[alerts.phone]\nkind = 'ntfy'\nurl = 'https://ntfy.sh/a'\n";
    let (code, said) = alert(&root("unknown", settings), &["--test", "fone"]);
    assert_eq!(code, 1);
    assert!(
        said.contains("there is no [alerts.fone]; there are: phone"),
        "{said}"
    );
    let settings = format!("{settings}quiet_hour = '22:00-07:00'\n");
    let (code, said) = alert(&root("unknown-key", &settings), &["--test"]);
    assert_eq!(code, 1);
    assert!(said.contains("did you mean `quiet_hours`?"), "{said}");
}

#[test]
fn an_incident_and_after_a_restart_its_end_reach_the_target() {
    let (port, heard) = http(OK);
    let settings = format!(
        "[alerts.hook]\nkind = 'webhook'\nurl = 'http://127.0.0.1:{port}/'\nafter_seconds = 0\ndigest_seconds = 0\n"
    );
    let config = Config::read(Some(&root("incident", &settings)), None, None).unwrap();
    let courier = programs::worker(env!("CARGO_BIN_EXE_photo-factory-courier"));
    let begin = |state: &[u8]| {
        let courier = Courier::new(Some(courier.clone()));
        let host = "factory".to_owned();
        Alerts::new(&config.alerts, courier, TimeZone::UTC, host, state, now())
    };
    let incident = |turn| Incident {
        key: "service/syncthing".to_owned(),
        title: "Syncthing is down".to_owned(),
        text: "Start it.".to_owned(),
        at: now().wall,
        turn,
        urgent: true,
    };
    let mut alerts = begin(b"");
    alerts.take(&incident(Turn::Opened), now());
    assert!(alerts.send_due(now));
    assert_eq!(alerts.notices(), Vec::<String>::new());
    let json = body(&heard.recv_timeout(PATIENCE).unwrap());
    assert_eq!(
        (json["state"].as_str(), json["host"].as_str()),
        (Some("open"), Some("factory"))
    );
    assert_eq!(json["incidents"][0]["key"], "service/syncthing");

    let mut alerts = begin(&alerts.state(now()));
    alerts.take(&incident(Turn::Opened), now());
    assert!(!alerts.send_due(now), "told twice");
    alerts.take(&incident(Turn::Closed), now());
    assert!(alerts.send_due(now));
    let json = body(&heard.recv_timeout(PATIENCE).unwrap());
    assert_eq!(json["state"], "closed");
    assert!(alerts.open_keys().is_empty());
}

fn now() -> Moment {
    Moment {
        instant: Instant::now(),
        wall: Timestamp::now(),
    }
}
