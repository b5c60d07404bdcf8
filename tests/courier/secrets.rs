//! What is secret is shown nowhere.

use std::time::Duration;

use photo_factory::courier::{Mail, Method, Request, Security, Trust};

use crate::{PATIENCE, courier, receivers};

fn request(port: u16) -> Request {
    Request {
        method: Method::Post,
        url: format!("http://user:secret@127.0.0.1:{port}/secret"),
        socket: None,
        headers: vec![("Authorization".to_owned(), "Bearer secret".to_owned())],
        body: b"secret".to_vec(),
        deadline: PATIENCE,
        answer_limit: 1000,
        trust: Trust::Public,
    }
}

#[test]
fn neither_questions_nor_answers_show_secrets_when_they_are_logged() {
    let mail = Mail {
        server: "mail.example".to_owned(),
        port: 587,
        security: Security::Tls,
        user: Some("secret".to_owned()),
        password: Some("secret".to_owned()),
        from: "a@example.org".to_owned(),
        to: vec!["secret@example.org".to_owned()],
        subject: "secret".to_owned(),
        text: "secret".to_owned(),
        deadline: Duration::from_secs(1),
        trust: Trust::Public,
    };
    let (port, _heard) = receivers::http("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret");
    let answer = courier().round().unwrap().ask(&request(port)).unwrap();
    for shown in [
        format!("{:?}", request(port)),
        format!("{mail:?}"),
        format!("{answer:?}"),
    ] {
        assert!(!shown.contains("secret"), "{shown}");
    }
}

#[test]
fn no_failure_quotes_what_was_asked() {
    let (nonsense, _heard) = receivers::http("secret secret\r\n\r\n");
    let bad_header = Request {
        headers: vec![("Authorization".to_owned(), "secret\nsecret".to_owned())],
        ..request(1)
    };
    let bad_address = Request {
        url: "http://secret secret/".to_owned(),
        ..request(1)
    };
    for request in [request(1), request(nonsense), bad_header, bad_address] {
        let failed = courier().round().unwrap().ask(&request).unwrap_err();
        assert!(
            !format!("{failed} {failed:?}").contains("secret"),
            "{failed:?}"
        );
    }
}

/// Has the courier ask, and meanwhile reads these files of every courier that runs for this test's process.
fn while_it_waits(files: &'static [&'static str]) -> Vec<String> {
    let (tell, shown) = std::sync::mpsc::channel();
    let own = std::process::id();
    let port = receivers::listen(move |mut stream| {
        for process in std::fs::read_dir("/proc").unwrap() {
            let process = process.unwrap().path();
            let read = |file: &str| {
                let bytes = std::fs::read(process.join(file)).unwrap_or_default();
                String::from_utf8_lossy(&bytes).into_owned()
            };
            let is_ours = read("status").contains(&format!("\nPPid:\t{own}\n"));
            if is_ours && read("cmdline").contains("photo-factory-courier") {
                for file in files {
                    tell.send(read(file)).unwrap();
                }
            }
        }
        receivers::request(&mut stream);
    });
    courier().round().unwrap().ask(&request(port)).unwrap_err();
    let shown: Vec<_> = shown.try_iter().collect();
    assert!(!shown.is_empty(), "no courier was seen");
    shown
}

#[test]
fn nothing_secret_stands_in_the_arguments_or_the_environment_of_the_process() {
    let shown = while_it_waits(&["cmdline", "environ"]);
    assert!(
        shown.iter().all(|text| !text.contains("secret")),
        "{shown:?}"
    );
}

#[test]
fn the_process_can_gain_no_rights_and_leaves_no_core() {
    let shown = while_it_waits(&["status", "limits"]);
    // One of another test may only just have started.
    let is_confined = shown.chunks(2).any(|process| {
        let core = process[1]
            .lines()
            .find(|line| line.starts_with("Max core file size"));
        let limit = core.and_then(|line| line.split_whitespace().nth(4));
        process[0].contains("NoNewPrivs:\t1\n") && limit == Some("0")
    });
    assert!(is_confined, "{shown:?}");
}
