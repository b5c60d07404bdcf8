//! Servers on loopback that take one message after the other, by HTTP or SMTP, and tell the test what they got.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use sha2::{Digest, Sha256};

/// Calls `serve` with each connection to a free port, which is returned.
pub(crate) fn listen(mut serve: impl FnMut(TcpStream) + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            serve(stream.unwrap());
        }
    });
    port
}

/// A request's head and body as they came; empty: the other side left without one.
pub(crate) fn request(stream: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read > 0) {
        bytes.push(byte[0]);
    }
    let head = String::from_utf8(bytes).unwrap();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.parse::<usize>().unwrap())
    });
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).unwrap();
    head + &String::from_utf8(body).unwrap()
}

/// An HTTP server that gives everyone this answer; the requests come through the channel.
pub(crate) fn http(answer: &str) -> (u16, Receiver<String>) {
    let answer = answer.to_owned();
    let (tell, heard) = channel();
    let port = listen(move |mut stream| {
        tell.send(request(&mut stream)).unwrap_or_default();
        stream.write_all(answer.as_bytes()).unwrap_or_default();
    });
    (port, heard)
}

/// A certificate for `localhost`, vouched for by nobody, as a server uses it, and its fingerprint.
pub(crate) fn certificate() -> (Arc<ServerConfig>, String) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let fingerprint = Sha256::digest(cert.der());
    let fingerprint = fingerprint.iter().fold(String::new(), |digits, byte| {
        digits + &format!("{byte:02x}")
    });
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    (Arc::new(config), fingerprint)
}

/// The server's end of TLS on a connection.
pub(crate) fn tls(
    config: &Arc<ServerConfig>,
    stream: TcpStream,
) -> StreamOwned<ServerConnection, TcpStream> {
    StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream)
}

/// How an SMTP server behaves.
#[derive(Clone, Default)]
pub(crate) struct Manners {
    /// Offers and speaks STARTTLS.
    pub tls: Option<Arc<ServerConfig>>,
    /// The answer to AUTH; empty: it is not offered.
    pub to_auth: &'static str,
    /// The answer to RCPT; empty: taken.
    pub to_rcpt: &'static str,
}

/// An SMTP server; every line that it is told comes through the channel.
pub(crate) fn smtp(manners: Manners) -> (u16, Receiver<String>) {
    let (tell, heard) = channel();
    let port = listen(move |stream| {
        let mut plain = BufReader::new(stream);
        plain.get_mut().write_all(b"220 receiver\r\n").unwrap();
        let offered = manners.tls.is_some();
        if converse(&mut plain, &manners, offered, &tell) {
            let secure = tls(manners.tls.as_ref().unwrap(), plain.into_inner());
            converse(&mut BufReader::new(secure), &manners, false, &tell);
        }
    });
    (port, heard)
}

/// Until the other side leaves, or (`true`) wants TLS.
fn converse<S: Read + Write>(
    stream: &mut BufReader<S>,
    manners: &Manners,
    offers_tls: bool,
    tell: &Sender<String>,
) -> bool {
    let mut in_data = false;
    let mut line = String::new();
    loop {
        line.clear();
        if !stream.read_line(&mut line).is_ok_and(|read| read > 0) {
            return false;
        }
        let said = line.trim_end().to_owned();
        let verb = said.split([' ', ':']).next().unwrap().to_uppercase();
        tell.send(said.clone()).unwrap_or_default();
        let answer = match (in_data, verb.as_str()) {
            (true, _) if said == "." => {
                in_data = false;
                "250 taken"
            }
            (true, _) => continue,
            (_, "EHLO") => match (offers_tls, manners.to_auth) {
                (true, _) => "250-receiver\r\n250 STARTTLS",
                (false, "") => "250-receiver\r\n250 8BITMIME",
                (false, _) => "250-receiver\r\n250 AUTH PLAIN LOGIN",
            },
            (_, "STARTTLS") => "220 go on",
            (_, "AUTH") => manners.to_auth,
            (_, "RCPT") if !manners.to_rcpt.is_empty() => manners.to_rcpt,
            (_, "DATA") => {
                in_data = true;
                "354 go on"
            }
            (_, "QUIT") => "221 bye",
            _ => "250 yes",
        };
        let answer = format!("{answer}\r\n");
        if stream.get_mut().write_all(answer.as_bytes()).is_err() {
            return false;
        }
        if verb == "STARTTLS" {
            return true;
        }
    }
}
