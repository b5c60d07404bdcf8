//! The courier: messages over HTTP, TLS and SMTP by a process of its own, whatever the other side does.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests make and change files, and fail by panicking"
)]

mod broken;
mod mail;
#[path = "../fixtures/programs.rs"]
mod programs;
mod receivers;
mod secrets;

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::Duration;

use photo_factory::courier::{Answer, Courier, Failed, Method, Request, Trust};

const PATIENCE: Duration = Duration::from_secs(20);

fn program() -> PathBuf {
    programs::worker(env!("CARGO_BIN_EXE_photo-factory-courier"))
}

fn courier() -> Courier {
    Courier::new(Some(program()))
}

fn get(url: &str) -> Request {
    Request {
        method: Method::Get,
        url: url.to_owned(),
        socket: None,
        headers: vec![("X-API-Key".to_owned(), "hush".to_owned())],
        body: Vec::new(),
        deadline: PATIENCE,
        answer_limit: 10_000,
        trust: Trust::Public,
    }
}

fn ask(request: &Request) -> Result<Answer, Failed> {
    courier().round().unwrap().ask(request)
}

/// A folder of the test's own, made anew.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("courier")
        .join(name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder).unwrap();
    }
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn a_request_arrives_whole_and_so_does_its_answer() {
    let (port, heard) = receivers::http(
        "HTTP/1.1 201 Created\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nyes",
    );
    let request = Request {
        method: Method::Post,
        body: "grüße\n".as_bytes().to_vec(),
        ..get(&format!("http://127.0.0.1:{port}/a/b?c=d"))
    };
    let answer = ask(&request).unwrap();
    assert_eq!(answer.status, 201);
    assert_eq!(answer.content_type.as_deref(), Some("text/plain"));
    assert_eq!(answer.body, b"yes");
    assert_eq!(answer.certificate, None);
    let heard = heard.recv_timeout(PATIENCE).unwrap();
    assert!(heard.starts_with("POST /a/b?c=d HTTP/1.1\r\n"), "{heard}");
    assert!(
        heard.to_lowercase().contains("x-api-key: hush\r\n"),
        "{heard}"
    );
    assert!(heard.ends_with("\r\n\r\ngrüße\n"), "{heard}");
}

#[test]
fn one_process_asks_many_servers_one_after_the_other() {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let (port, heard) = receivers::http(ok);
    let mut round = courier().round().unwrap();
    for path in ["one", "two", "three"] {
        let answer = round
            .ask(&get(&format!("http://127.0.0.1:{port}/{path}")))
            .unwrap();
        assert_eq!(answer.status, 200);
        assert!(heard.recv_timeout(PATIENCE).unwrap().contains(path));
    }
}

#[test]
fn a_chunked_answer_is_put_together() {
    let (port, _heard) = receivers::http(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n",
    );
    let answer = ask(&get(&format!("http://127.0.0.1:{port}/"))).unwrap();
    assert_eq!(answer.body, b"abcdefg");
}

#[test]
fn a_unix_socket_is_called_in_place_of_the_address() {
    let socket = folder("unix").join("socket");
    let listener = UnixListener::bind(&socket).unwrap();
    let (tell, heard) = channel();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        tell.send(receivers::request(&mut stream)).unwrap();
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        stream.write_all(answer).unwrap();
    });
    let request = Request {
        socket: Some(socket),
        ..get("http://localhost/containers/json")
    };
    assert_eq!(ask(&request).unwrap().body, b"ok");
    let heard = heard.recv_timeout(PATIENCE).unwrap();
    assert!(
        heard.starts_with("GET /containers/json HTTP/1.1\r\n"),
        "{heard}"
    );
}

#[test]
fn a_redirect_is_shown_and_not_followed() {
    let (port, heard) = receivers::http(
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: https://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
    );
    let answer = ask(&get(&format!("http://127.0.0.1:{port}/rest/noauth/health"))).unwrap();
    assert_eq!(answer.status, 307);
    assert_eq!(answer.location.as_deref(), Some("https://127.0.0.1:1/"));
    heard.recv_timeout(PATIENCE).unwrap();
    assert!(heard.try_recv().is_err(), "asked twice");
}

#[test]
fn a_server_that_nobody_runs_is_unreachable() {
    let failed = ask(&get("http://127.0.0.1:1/")).unwrap_err();
    assert!(matches!(failed, Failed::Unreachable(_)), "{failed:?}");
}

#[test]
fn what_is_not_http_is_refused() {
    let (port, _heard) = receivers::http("SSH-2.0-OpenSSH_9.2\r\n\r\n");
    let failed = ask(&get(&format!("http://127.0.0.1:{port}/"))).unwrap_err();
    assert!(matches!(failed, Failed::Refused(_)), "{failed:?}");
}

#[test]
fn a_server_that_accepts_and_says_nothing_times_out() {
    // Kept open, for otherwise the courier is told that nobody will answer.
    let (keep, _kept) = channel();
    let port = receivers::listen(move |stream| keep.send(stream).unwrap_or_default());
    for scheme in ["http", "https"] {
        let request = Request {
            deadline: Duration::from_millis(300),
            trust: Trust::FirstUse,
            ..get(&format!("{scheme}://127.0.0.1:{port}/"))
        };
        assert_eq!(ask(&request).unwrap_err(), Failed::TimedOut, "{scheme}");
    }
}

#[test]
fn a_server_that_drips_for_ever_times_out() {
    let port = receivers::listen(|mut stream| {
        let head = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        head.unwrap_or_default();
        std::thread::spawn(move || {
            while stream.write_all(b".").is_ok() {
                std::thread::park_timeout(Duration::from_millis(20));
            }
        });
    });
    let request = Request {
        deadline: Duration::from_millis(300),
        ..get(&format!("http://127.0.0.1:{port}/"))
    };
    assert_eq!(ask(&request).unwrap_err(), Failed::TimedOut);
}

#[test]
fn an_answer_without_end_is_cut_off() {
    let port = receivers::listen(|mut stream| {
        let head = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        head.unwrap_or_default();
        while stream.write_all(&[b'x'; 4096]).is_ok() {}
    });
    let failed = ask(&get(&format!("http://127.0.0.1:{port}/"))).unwrap_err();
    let told = "refuses: its answer is longer than 10000 bytes";
    assert_eq!(failed.to_string(), told);
}

/// An HTTPS server; what each caller said after the handshake comes through the channel.
fn https() -> (u16, String, std::sync::mpsc::Receiver<String>) {
    let (config, fingerprint) = receivers::certificate();
    let (tell, heard) = channel();
    let port = receivers::listen(move |stream| {
        let mut stream = receivers::tls(&config, stream);
        let said = receivers::request(&mut stream);
        tell.send(said).unwrap_or_default();
        let answer = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        answer.unwrap_or_default();
        // Until the other side has read it.
        stream.read(&mut [0]).unwrap_or_default();
    });
    (port, fingerprint, heard)
}

#[test]
fn at_first_use_the_certificate_is_told_and_then_it_can_be_pinned() {
    let (port, fingerprint, heard) = https();
    let first = Request {
        trust: Trust::FirstUse,
        headers: Vec::new(),
        ..get(&format!("https://localhost:{port}/"))
    };
    let answer = ask(&first).unwrap();
    assert_eq!(answer.certificate.as_deref(), Some(fingerprint.as_str()));
    heard.recv_timeout(PATIENCE).unwrap();
    // By address, for which the certificate is not: the pin alone decides.
    let pinned = Request {
        trust: Trust::Pinned(fingerprint),
        ..get(&format!("https://127.0.0.1:{port}/"))
    };
    assert_eq!(ask(&pinned).unwrap().body, b"ok");
    let heard = heard.recv_timeout(PATIENCE).unwrap();
    assert!(heard.to_lowercase().contains("x-api-key: hush"), "{heard}");
}

#[test]
fn a_server_with_another_certificate_than_the_pinned_one_is_told_nothing() {
    let (port, found, heard) = https();
    let wanted = "ab".repeat(32);
    let request = Request {
        trust: Trust::Pinned(wanted.clone()),
        ..get(&format!("https://localhost:{port}/"))
    };
    let wanted = Some(wanted);
    assert_eq!(
        ask(&request).unwrap_err(),
        Failed::Certificate { wanted, found }
    );
    assert_eq!(heard.recv_timeout(PATIENCE).unwrap(), "");
}

#[test]
fn a_pinned_server_is_not_asked_without_tls() {
    let (port, heard) = receivers::http("HTTP/1.1 200 OK\r\n\r\n");
    let request = Request {
        trust: Trust::Pinned("ab".repeat(32)),
        ..get(&format!("http://127.0.0.1:{port}/"))
    };
    assert!(matches!(ask(&request).unwrap_err(), Failed::Refused(_)));
    assert!(heard.try_recv().is_err());
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_refused_where_trust_is_public() {
    let (port, found, heard) = https();
    let failed = ask(&get(&format!("https://localhost:{port}/"))).unwrap_err();
    if let Failed::Refused(why) = &failed {
        assert!(why.contains("ca-certificates"), "{why}");
        println!("skipped: the refusal of a certificate needs the package ca-certificates");
        return;
    }
    let wanted = None;
    assert_eq!(failed, Failed::Certificate { wanted, found });
    assert_eq!(heard.recv_timeout(PATIENCE).unwrap(), "");
}
