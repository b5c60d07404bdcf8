//! The hostile clients.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::factory::programs::is_emulated;
use crate::siege::Siege;

/// How long a client goes on that does the same again and again.
const LONG: Duration = Duration::from_secs(8);

/// Does it again and again.
fn for_long(mut deed: impl FnMut()) {
    let until = Instant::now() + LONG;
    while Instant::now() < until {
        deed();
    }
}

/// Sends bytes again and again, until the other end has had enough.
fn pour(stream: &mut TcpStream, bytes: &[u8], times: usize) -> usize {
    (0..times)
        .take_while(|_| stream.write_all(bytes).is_ok())
        .count()
}

/// What is left to read; a reset ends it as well.
fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    // What came before a reset is kept.
    drop(stream.read_to_end(&mut answer));
    answer
}

#[test]
fn two_thousand_idle_connections() {
    Siege::new("idle").stands(|siege| {
        let idle: Vec<_> = (0..2000).map(|_| siege.connect()).collect();
        assert!(
            siege.descriptors() < 200,
            "{} descriptors",
            siege.descriptors()
        );
        // Until they are given up by the clock, and beyond.
        for_long(|| thread::sleep(Duration::from_millis(100)));
        drop(idle);
    });
}

#[test]
fn heads_that_come_byte_by_byte() {
    Siege::new("slow-heads").stands(|siege| {
        let mut slow: Vec<_> = (0..100).map(|_| siege.connect()).collect();
        let mut head = "GET / HTTP/1.1\r\nHost: localhost\r\nX: "
            .bytes()
            .chain(std::iter::repeat(b'x'));
        for_long(|| {
            let byte = [head.next().unwrap()];
            for stream in &mut slow {
                if stream.write_all(&byte).is_err() {
                    *stream = siege.connect();
                }
            }
            thread::sleep(Duration::from_millis(50));
        });
    });
}

#[test]
fn forms_that_come_byte_by_byte_or_never() {
    Siege::new("slow-bodies").stands(|siege| {
        let begun = || {
            let mut stream = siege.connect();
            let head = "POST /sign-in HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n\
                        Content-Length: 16000\r\n\r\n";
            drop(stream.write_all(head.as_bytes()));
            stream
        };
        let mut slow: Vec<_> = (0..100).map(|_| begun()).collect();
        for_long(|| {
            for stream in slow.iter_mut().step_by(2) {
                if stream.write_all(b"x").is_err() {
                    *stream = begun();
                }
            }
            thread::sleep(Duration::from_millis(50));
        });
    });
}

#[test]
fn readers_that_never_read() {
    Siege::new("slow-readers").stands(|siege| {
        let mut readers = Vec::new();
        for_long(|| {
            let mut stream = siege.connect();
            // A small window: the answer does not fit into what the kernel holds for it.
            rustix::net::sockopt::set_socket_recv_buffer_size(stream.as_fd(), 2048).unwrap();
            drop(stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"));
            readers.push(stream);
            thread::sleep(Duration::from_millis(10));
        });
    });
}

#[test]
fn whole_requests_by_the_thousand_whose_answers_nobody_takes() {
    Siege::new("flood").grows_little(|siege| {
        for _ in 0..5000 {
            drop(
                siege
                    .connect()
                    .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
            );
        }
    });
}

#[test]
fn heads_of_300_megabytes() {
    Siege::new("long-heads").stands(|siege| {
        for _ in 0..3 {
            let mut stream = siege.connect();
            stream
                .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ")
                .unwrap();
            let taken = pour(&mut stream, &vec![b'x'; 1 << 20], 300);
            assert!(taken < 300, "all of it was taken");
        }
        let mut lines = siege.connect();
        lines
            .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
            .unwrap();
        pour(&mut lines, &b"X: y\r\n".repeat(10_000), 1000);
        let mut polite = siege.connect();
        polite.write_all(b"GET / HTTP/1.1\r\nX: ").unwrap();
        polite.write_all(&[b'x'; 10_000]).unwrap();
        polite.shutdown(Shutdown::Write).unwrap();
        let answer = rest(&mut polite);
        assert!(
            answer.starts_with(b"HTTP/1.1 431 "),
            "{}",
            String::from_utf8_lossy(&answer)
        );
    });
}

#[test]
fn lengths_that_nobody_has() {
    Siege::new("lengths").stands(|siege| {
        for_long(|| {
            for (method, length, status) in [
                ("POST", "99999999999999", "413"),
                ("GET", "99999999999999", "400"),
                ("POST", "18446744073709551616", "413"),
                ("POST", "-1", "400"),
            ] {
                let mut stream = siege.connect();
                let head = format!(
                    "{method} / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n\
                     Content-Length: {length}\r\n\r\nx=y"
                );
                stream.write_all(head.as_bytes()).unwrap();
                stream.shutdown(Shutdown::Write).unwrap();
                let answer = String::from_utf8_lossy(&rest(&mut stream)).into_owned();
                // Among so many, some may be given up before their answer.
                assert!(
                    answer.is_empty() || answer.starts_with(&format!("HTTP/1.1 {status} ")),
                    "{head}{answer}"
                );
            }
        });
    });
}

#[test]
fn a_million_requests_one_after_the_other() {
    Siege::new("pipelined").stands(|siege| {
        let many = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(1000);
        let mut sent = 0;
        while sent < 1_000_000 {
            let mut stream = siege.connect();
            sent += 1000 * pour(&mut stream, &many, 1000).max(1);
            drop(stream.shutdown(Shutdown::Write));
            let answer = rest(&mut stream);
            let answer = String::from_utf8_lossy(&answer);
            assert!(
                answer.matches("HTTP/1.1 ").count() <= 1,
                "more than one answer"
            );
        }
    });
}

#[test]
fn ten_thousand_odd_requests() {
    Siege::new("odd").stands(|siege| {
        let parts: [&[u8]; 16] = [
            b"GET ",
            b"POST ",
            b"BREW ",
            b"/",
            b"/../../etc/passwd",
            b" HTTP/1.1\r\n",
            b" HTTP/9.9\r\n",
            b"\r\n",
            b"\n",
            b"Host: localhost\r\n",
            b"Host: \r\n",
            b"Content-Length: 5\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"\0\xff\xfe",
            b"Cookie: session=%00\r\n",
            b"\r\n\r\n",
        ];
        let mut state = 7_u64;
        let mut random = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            usize::try_from(state >> 33).unwrap()
        };
        for _ in 0..10_000 {
            let count = random() % 12;
            let request: Vec<u8> = (0..count)
                .flat_map(|_| parts[random() % parts.len()].to_vec())
                .collect();
            let mut stream = siege.connect();
            drop(stream.write_all(&request));
            if random() % 4 > 0 {
                drop(stream.shutdown(Shutdown::Write));
                let answer = rest(&mut stream);
                assert!(
                    answer.is_empty() || answer.starts_with(b"HTTP/1.1 "),
                    "{request:?}"
                );
            }
        }
    });
}

#[test]
fn connections_that_are_reset_at_any_moment() {
    Siege::new("resets").stands(|siege| {
        let request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let mut number = 0;
        for_long(|| {
            number += 1;
            let mut stream = siege.connect();
            // No time to linger: closing resets the connection.
            rustix::net::sockopt::set_socket_linger(stream.as_fd(), Some(Duration::ZERO)).unwrap();
            let part = number % (request.len() + 1);
            drop(stream.write_all(&request[..part]));
            if part == request.len() && number % 2 == 0 {
                drop(stream.read(&mut [0; 10]));
            }
        });
        assert!(number > 100);
    });
}

#[test]
fn no_descriptors_left() {
    if is_emulated("no descriptors left", "needs some of its own now and then") {
        return;
    }
    Siege::new("descriptors").stands(|siege| {
        let pid = Pid::from_raw(siege.factory.pid().cast_signed()).unwrap();
        let few = u64::try_from(siege.descriptors()).unwrap() + 6;
        let limit = Rlimit {
            current: Some(few),
            ..rustix::process::getrlimit(Resource::Nofile)
        };
        let before = prlimit(Some(pid), Resource::Nofile, limit).unwrap();
        let mut crowd = Vec::new();
        for_long(|| {
            crowd.extend((0..10).map(|_| siege.connect()));
            assert!(siege.descriptors() <= usize::try_from(few).unwrap());
            if crowd.len() > 500 {
                crowd.drain(..100);
            }
            thread::sleep(Duration::from_millis(20));
        });
        prlimit(Some(pid), Resource::Nofile, before).unwrap();
    });
}
