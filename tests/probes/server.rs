//! Plain HTTP servers on loopback and on Unix sockets that give each path its answer.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::thread;

/// The answer to a path: a status and a body; `None`: none at all, and the connection stays open.
pub(crate) type Answer = Option<(u16, String)>;

/// Listens on a free port of loopback; gives its address.
pub(crate) fn on_loopback(answer: impl Fn(&str) -> Answer + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        let mut silent = Vec::new();
        for stream in listener.incoming() {
            silent.extend(serve(stream.unwrap(), &answer));
        }
    });
    address
}

/// Listens on a Unix socket.
pub(crate) fn on_socket(path: &Path, answer: impl Fn(&str) -> Answer + Send + 'static) {
    let listener = UnixListener::bind(path).unwrap();
    thread::spawn(move || {
        let mut silent = Vec::new();
        for stream in listener.incoming() {
            silent.extend(serve(stream.unwrap(), &answer));
        }
    });
}

/// Answers one request; gives the stream back where there is no answer.
fn serve<S: Read + Write>(mut stream: S, answer: &impl Fn(&str) -> Answer) -> Option<S> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read > 0) {
        head.push(byte[0]);
        // The first byte of TLS, which is not spoken here.
        if head == [0x16] {
            stream
                .write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n")
                .unwrap_or_default();
            return None;
        }
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap_or_default();
    let Some((status, body)) = answer(path) else {
        return Some(stream);
    };
    // Who asked may have left.
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status} -\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
    .unwrap_or_default();
    None
}
