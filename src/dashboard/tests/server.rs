//! The server, over real sockets, and the commands that ask it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::Weak;
use std::time::Instant;

use super::pages::checked_text;
use super::*;
use crate::config::Config;
use crate::dashboard::access::Access;
use crate::dashboard::client::{Answer, AskError, ask};
use crate::dashboard::door::SOCKET;
use crate::dashboard::export::{Format, write_rows};
use crate::dashboard::http::{ServeError, Server};
use crate::dashboard::site::Site;
use crate::monitor::{self, Monitor};

pub(super) fn site(data: &Path, ledger: &Arc<Ledger>) -> Site {
    let weak = Arc::downgrade(ledger);
    let for_pages = Weak::clone(&weak);
    let root = data.join("root");
    std::fs::create_dir_all(&root).unwrap();
    let mut config = Config::read(
        Some(&root),
        None,
        Some(SocketAddr::from(([127, 0, 0, 1], 0))),
    )
    .unwrap();
    config.data = data.to_owned();
    config.hosts = vec!["photos.example".to_owned()];
    config.refresh_seconds = 30;
    let monitor = Monitor::open(data, monitor::Settings::of(&config), now(), || Some(true));
    Site {
        access: Access::new(&config),
        config: Arc::new(config),
        ledger: weak,
        monitor: Arc::new(monitor),
        overview: Box::new(move || gathered(for_pages.upgrade().as_deref())),
        act: Box::new(|action| format!("{action:?}")),
        now,
    }
}

/// Sends bytes as they are, and gives back what comes until the end.
fn raw(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(180)))
        .unwrap();
    let mut answer = Vec::new();
    // The server may hang up while rubbish is still being sent.
    if stream.write_all(request).is_ok() {
        drop(stream.shutdown(Shutdown::Write));
        drop(stream.read_to_end(&mut answer));
    }
    String::from_utf8_lossy(&answer).into_owned()
}

fn get(address: SocketAddr, target: &str, more: &str) -> String {
    let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n");
    raw(address, request.as_bytes())
}

fn status_of(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("no answer")
}

#[test]
fn the_page_is_served_with_its_guards() {
    let data = Data::new();
    let ledger = ledger(&data.0, 3);
    let server = Server::start(site(&data.0, &ledger)).unwrap();
    let address = server.address();

    let page = get(address, "/", "");
    assert_eq!(status_of(&page), "200");
    let (head, body) = page.split_once("\r\n\r\n").unwrap();
    for header in [
        "Content-Security-Policy: default-src 'none'; style-src 'sha256-",
        "X-Content-Type-Options: nosniff",
        "Referrer-Policy: same-origin",
        "Cache-Control: no-store",
        "Connection: close",
    ] {
        assert!(head.contains(header), "{header} is not in {head}");
    }
    assert!(head.contains(&format!("Content-Length: {}", body.len())));
    assert!(body.contains("data-refresh=\"30\""));
    checked_text(body);

    let json = get(address, "/api/v1/status", "");
    let json: serde_json::Value =
        serde_json::from_str(json.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(json["photos"]["total"], 3);

    assert!(get(address, "/healthz", "").ends_with("\r\n\r\nok\n"));
    assert_eq!(status_of(&get(address, "/nothing", "")), "404");
    assert_eq!(status_of(&get(address, "/../etc/passwd", "")), "404");

    let head = raw(address, b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(head.ends_with("\r\n\r\n") && head.contains("Content-Length: "));

    server.stop();
    assert!(TcpStream::connect(address).is_err());
    assert!(!data.0.join(SOCKET).exists());
}

#[test]
fn a_chosen_interval_is_kept_in_a_cookie() {
    let data = Data::new();
    let ledger = ledger(&data.0, 1);
    let server = Server::start(site(&data.0, &ledger)).unwrap();
    let chosen = get(server.address(), "/?refresh=5", "");
    assert_eq!(status_of(&chosen), "303");
    assert!(chosen.contains("Set-Cookie: refresh=5; Path=/;"));
    assert!(chosen.contains("Location: /\r\n"));
    let page = get(server.address(), "/", "Cookie: other=1; refresh=5\r\n");
    assert!(page.contains("data-refresh=\"5\""));
    let page = get(server.address(), "/", "Cookie: refresh=1\r\n");
    assert!(page.contains("data-refresh=\"30\""), "1 s is not offered");
    assert_eq!(status_of(&get(server.address(), "/?refresh=x", "")), "200");
}

#[test]
fn p9_nothing_but_reading_is_allowed_and_the_export_is_for_the_socket_alone() {
    let data = Data::new();
    let ledger = ledger(&data.0, 1);
    let server = Server::start(site(&data.0, &ledger)).unwrap();
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"] {
        let request = format!(
            "{method} / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: 5\r\n\r\n12345"
        );
        let answer = raw(server.address(), request.as_bytes());
        assert_eq!(status_of(&answer), "405", "{method}");
        assert!(answer.contains("Allow: GET, HEAD\r\n"));
    }
    assert_eq!(status_of(&get(server.address(), "/export", "")), "404");
    assert_eq!(status_of(&get(server.address(), "/export.csv", "")), "404");
    let forged = get(server.address(), "/export", "Via: none\r\nX: y\r\n");
    assert_eq!(status_of(&forged), "404");
}

#[test]
fn a_name_that_is_not_ours_is_refused() {
    let data = Data::new();
    let ledger = ledger(&data.0, 1);
    let server = Server::start(site(&data.0, &ledger)).unwrap();
    let as_host = |host: &str| {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        raw(server.address(), request.as_bytes())
    };
    for host in [
        "localhost:8380",
        "127.0.0.1",
        "[::1]:8380",
        "192.168.1.20:80",
        "nas.local",
        "NAS.Local.:8380",
        "photos.example",
    ] {
        assert_eq!(status_of(&as_host(host)), "200", "{host}");
    }
    for host in [
        "evil.example",
        ".local",
        "local",
        "127.0.0.1.evil.example",
        "",
        "photos.example.org",
    ] {
        assert_eq!(status_of(&as_host(host)), "421", "{host}");
    }
    let without = raw(server.address(), b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(status_of(&without), "421");
}

#[test]
fn rubbish_does_not_end_the_server() {
    let data = Data::new();
    let ledger = ledger(&data.0, 1);
    let server = Server::start(site(&data.0, &ledger)).unwrap();
    let address = server.address();
    let mut rubbish: Vec<Vec<u8>> = vec![
        Vec::new(),
        b"\r\n\r\n".to_vec(),
        b"GET / HTTP/2.0\r\nHost: localhost\r\n\r\n".to_vec(),
        b"GET  / HTTP/1.1\r\n\r\n".to_vec(),
        b"GET http://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".to_vec(),
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n".to_vec(),
        b"\xFF\xFE\x00\x01\r\n\r\n".to_vec(),
        vec![0; 100_000],
        b"GET / HTTP/1.1\r\n".repeat(5_000),
    ];
    let mut state = 42_u64;
    for length in 1..60 {
        let noise = (0..length * 37).map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56) as u8
        });
        rubbish.push(noise.collect());
    }
    for request in &rubbish {
        let answer = raw(address, request);
        assert!(
            !answer.starts_with("HTTP/1.1 200"),
            "{:?} got {answer}",
            String::from_utf8_lossy(request)
        );
    }
    // Many that ask and hang up before the answer; many that pipeline.
    for _ in 0..200 {
        let mut stream = TcpStream::connect(address).unwrap();
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .unwrap();
        drop(stream);
    }
    let many = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(100);
    assert_eq!(raw(address, &many).matches("HTTP/1.1").count(), 1);
    assert_eq!(status_of(&get(address, "/", "")), "200");
}

#[test]
fn connections_that_say_nothing_leave_room_for_those_that_do() {
    let data = Data::new();
    let ledger = ledger(&data.0, 1);
    let server = Server::start(site(&data.0, &ledger)).unwrap();
    // One that waited for them to be given up would wait for seconds, each time; on a busy machine any one may be slow.
    let is_soon = (0..20).any(|_| {
        let silent: Vec<TcpStream> = (0..300)
            .map(|_| TcpStream::connect(server.address()).unwrap())
            .collect();
        let asked = Instant::now();
        assert_eq!(status_of(&get(server.address(), "/", "")), "200");
        let took = asked.elapsed();
        drop(silent);
        took < Duration::from_secs(3)
    });
    assert!(is_soon, "none was answered before they were given up");
}

#[test]
fn no_page_is_made_for_those_who_were_given_up_while_they_waited_for_it() {
    const FLOOD: u32 = 1000;
    let data = Data::new();
    let ledger = ledger(&data.0, 1);
    let made = Arc::new(AtomicU32::new(0));
    let (count, mut site) = (Arc::clone(&made), site(&data.0, &ledger));
    site.overview = Box::new(move || {
        count.fetch_add(1, Ordering::SeqCst);
        // A slow disk.
        std::thread::sleep(Duration::from_millis(50));
        well()
    });
    let server = Server::start(site).unwrap();
    // On a busy machine they may come so slowly that each gets its page.
    let is_bounded = (0..5).any(|_| {
        made.store(0, Ordering::SeqCst);
        for _ in 0..FLOOD {
            let mut stream = TcpStream::connect(server.address()).unwrap();
            drop(stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        }
        assert_eq!(status_of(&get(server.address(), "/healthz", "")), "200");
        made.load(Ordering::SeqCst) < FLOOD / 2
    });
    assert!(
        is_bounded,
        "{} pages were made for nobody",
        made.load(Ordering::SeqCst)
    );
}

#[test]
fn stopping_takes_less_than_a_second_whoever_is_connected() {
    let data = Data::new();
    let ledger = ledger(&data.0, 1);
    // One that waited for the connection would do so each time; on a busy machine any one may be slow.
    let is_soon = (0..20).any(|_| {
        let server = Server::start(site(&data.0, &ledger)).unwrap();
        let mut silent = TcpStream::connect(server.address()).unwrap();
        silent.write_all(b"GET / HTT").unwrap();
        let begun = Instant::now();
        server.stop();
        let took = begun.elapsed();
        silent
            .set_read_timeout(Some(Duration::from_secs(180)))
            .unwrap();
        let heard = silent.read(&mut [0; 16]);
        let is_over = match &heard {
            Ok(count) => *count == 0,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        };
        assert!(is_over, "{heard:?}");
        took < Duration::from_secs(1)
    });
    assert!(is_soon);
}

#[test]
fn a_page_that_panics_is_a_bad_gateway_and_the_next_one_is_served() {
    let data = Data::new();
    let ledger = ledger(&data.0, 1);
    let fails = AtomicU32::new(3);
    let mut site = site(&data.0, &ledger);
    site.overview = Box::new(move || {
        let left = fails.load(Ordering::SeqCst);
        if left > 0 {
            fails.store(left - 1, Ordering::SeqCst);
            panic!("as the test wants it");
        }
        well()
    });
    let server = Server::start(site).unwrap();
    for _ in 0..3 {
        assert!(status_of(&get(server.address(), "/", "")).starts_with('5'));
    }
    assert_eq!(status_of(&get(server.address(), "/", "")), "200");
}

#[test]
fn a_taken_port_is_an_error() {
    let data = Data::new();
    let ledger = ledger(&data.0, 1);
    let server = Server::start(site(&data.0, &ledger)).unwrap();
    let other = Data::new();
    let mut taken = site(&other.0, &ledger);
    Arc::make_mut(&mut taken.config).listen = server.address();
    let refused = Server::start(taken).unwrap_err();
    assert!(matches!(refused, ServeError::Listening(..)), "{refused}");

    let refused = Server::start(site(&data.0, &ledger)).unwrap_err();
    assert!(matches!(refused, ServeError::AlreadyServed(_)), "{refused}");
    assert_eq!(status_of(&get(server.address(), "/", "")), "200");
}

#[test]
fn the_export_over_the_socket_equals_the_one_from_the_files() {
    let data = Data::new();
    let ledger = ledger(&data.0, 1_100);
    let server = Server::start(site(&data.0, &ledger)).unwrap();
    for format in [Format::JsonLines, Format::Csv] {
        let mut direct = Vec::new();
        write_rows(&ledger, format, &mut direct).unwrap();
        let mut asked = Vec::new();
        assert_eq!(
            ask(&data.0, format.route(), &mut asked).unwrap(),
            Answer::Done
        );
        assert!(asked == direct, "{format:?}");
        assert!(asked.len() > 200_000);
    }
    server.stop();
}

#[test]
fn an_export_that_is_cut_short_is_told_from_a_whole_one() {
    struct Stops(Option<Server>);
    impl Write for Stops {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            drop(self.0.take());
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let data = Data::new();
    let ledger = ledger(&data.0, 2_100);
    let server = Server::start(site(&data.0, &ledger)).unwrap();
    let cut = ask(&data.0, "/export", &mut Stops(Some(server)));
    assert!(
        matches!(cut, Err(AskError::Incomplete | AskError::Asking(_))),
        "{cut:?}"
    );
}

#[test]
fn the_socket_is_the_owners_alone_and_one_left_behind_is_replaced() {
    let data = Data::new();
    let ledger = ledger(&data.0, 1);
    let left_behind = std::os::unix::net::UnixListener::bind(data.0.join(SOCKET)).unwrap();
    drop(left_behind);
    let mut sink = Vec::new();
    assert_eq!(
        ask(&data.0, "/healthz", &mut sink).unwrap(),
        Answer::NotRunning
    );
    let _server = Server::start(site(&data.0, &ledger)).unwrap();
    let mode = data.0.join(SOCKET).metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(ask(&data.0, "/healthz", &mut sink).unwrap(), Answer::Done);
    assert_eq!(sink, b"ok\n");
    assert!(matches!(
        ask(&data.0, "/nothing", &mut sink),
        Err(AskError::Refused(_))
    ));
}

#[test]
fn a_data_folder_with_a_very_long_name_has_a_socket_too() {
    let data = Data::new();
    let long = data.0.join("a".repeat(120)).join("b".repeat(120));
    std::fs::create_dir_all(&long).unwrap();
    let ledger = ledger(&long, 1);
    let server = Server::start(site(&long, &ledger)).unwrap();
    let mut sink = Vec::new();
    assert_eq!(ask(&long, "/healthz", &mut sink).unwrap(), Answer::Done);
    assert_eq!(status_of(&get(server.address(), "/", "")), "200");
    server.stop();
    assert!(!long.join(SOCKET).exists());
    assert_eq!(
        ask(&long, "/healthz", &mut sink).unwrap(),
        Answer::NotRunning
    );
}

/// Sends a form as a browser would, with the token that the page of problems carries.
fn send(address: SocketAddr, action: &str, fields: &str) -> String {
    let page = get(address, "/problems", "");
    let token = page.split_once("name=\"token\" value=\"").unwrap().1;
    let token = token.split_once('"').unwrap().0;
    let body = format!("token={token}{fields}");
    let request = format!(
        "POST {action} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    raw(address, request.as_bytes())
}

#[test]
fn what_a_page_asks_for_is_what_the_appliance_is_asked_for_and_its_answer_is_shown() {
    let data = Data::new();
    let ledger = ledger(&data.0, 1);
    let server = Server::start(site(&data.0, &ledger)).unwrap();
    let address = server.address();
    for (action, fields, asked) in [
        ("/actions/retry", "", "Retry(None)"),
        // The form's encoding around the path's own.
        (
            "/actions/retry",
            "&path=phone%2Fa%2520b%25FF.jpg",
            "Retry(Some(&quot;phone/a b\\xFF.jpg&quot;))",
        ),
        ("/actions/verify", "", "VerifyNow"),
        ("/actions/pause", "", "Pause"),
        ("/actions/resume", "", "Resume"),
    ] {
        let answer = send(address, action, fields);
        assert_eq!(status_of(&answer), "200", "{action}: {answer}");
        let text = checked_text(answer.split_once("\r\n\r\n").unwrap().1);
        assert!(text.contains(asked), "{action}: {text}");
        assert!(answer.contains("href=\"/problems\""), "{answer}");
    }
    let wrong = send(address, "/actions/retry", "&path=%25zz");
    assert_eq!(status_of(&wrong), "400");
    let without_token = raw(
        address,
        b"POST /actions/pause HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 0\r\n\r\n",
    );
    assert_eq!(status_of(&without_token), "403");
    assert_eq!(status_of(&get(address, "/actions/pause", "")), "405");
    let json = get(address, "/api/v1/problems", "");
    let json: serde_json::Value =
        serde_json::from_str(json.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(json["left"][0]["path"], "phone/notes.txt");
    assert_eq!(json["left_total"], 1);
    server.stop();
}
