//! The front: speaks TLS with browsers, and hands on what they say to the daemon's gate, which does the rest.
//!
//! It knows nothing of HTTP. Standard input is the listening socket; standard output leads to the daemon, which is told `ready`, or
//! why not, and whose end is ours. Every connection has a thread; there are as many as the gate has places.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use photo_factory::dashboard::gate::slots::Slots;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};

/// A handshake that is not done by then never will be.
const HANDSHAKE_TIME: Duration = Duration::from_secs(5);

/// The gate's own deadlines are shorter; this ends what is left.
const LONGEST: Duration = Duration::from_secs(45);

/// After the answer, what a client still sends is read so long.
const LINGER_TIME: Duration = Duration::from_secs(2);

/// Bytes handed on at a time.
const PIECE: usize = 16 * 1024;

/// Bytes that TLS holds for one connection at most.
const BUFFER_LIMIT: usize = 64 * 1024;

/// Of a thread; TLS needs less than a fourth.
const STACK: usize = 256 * 1024;

/// The first byte of a TLS record with a handshake (RFC 8446, 5.1).
const HANDSHAKE: u8 = 22;

/// For who speaks HTTP without TLS.
const SPEAKS_TLS: &str = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n\
                          This page is served by HTTPS: write https:// before its address.\n";

/// Serves with this certificate and key until the daemon is gone. Without a socket to hand on to, only says whether it could.
pub(crate) fn run(certificate: &Path, key: &Path, gate: Option<PathBuf>) -> io::Result<()> {
    let (config, gate) = match (server(certificate, key), gate) {
        (Err(why), _) => return say(&why),
        (Ok(_), None) => return say("ready"),
        (Ok(config), Some(gate)) => (Arc::new(config), Arc::new(gate)),
    };
    let listener = TcpListener::from(io::stdin().as_fd().try_clone_to_owned()?);
    end_with_the_daemon()?;
    say("ready")?;
    let mut slots = Slots::default();
    loop {
        let Ok((stream, address)) = listener.accept() else {
            // Out of descriptors, or the client is gone already.
            drop(slots.shed());
            std::thread::sleep(Duration::from_millis(50));
            continue;
        };
        // A client that is gone already needs nothing.
        drop(take(&mut slots, stream, address.ip(), &config, &gate));
    }
}

fn say(line: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{line}")?;
    output.flush()
}

/// The daemon holds the other end of our output, and says nothing there until it is gone.
fn end_with_the_daemon() -> io::Result<()> {
    let mut daemon = UnixStream::from(io::stdout().as_fd().try_clone_to_owned()?);
    let watching = move || {
        let _gone = daemon.read(&mut [0]);
        std::process::abort();
    };
    std::thread::Builder::new().spawn(watching).map(drop)
}

/// The settings of a TLS server; `Err` says what to do.
fn server(certificate: &Path, key: &Path) -> Result<ServerConfig, String> {
    let (certificate_shown, key_shown) = (certificate.display(), key.display());
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|why| {
            format!("the certificate {certificate_shown} can't be read: {why}; tls_cert names a PEM file that this user may read")
        })?;
    if chain.is_empty() {
        return Err(format!(
            "there is no certificate in {certificate_shown}; tls_cert names a PEM file"
        ));
    }
    // What is wrong in it is not told: it would quote the key.
    let private = PrivateKeyDer::from_pem_file(key).map_err(|why| {
        let why = match why {
            rustls::pki_types::pem::Error::Io(why) => why.to_string(),
            _ => "there is none in it".to_owned(),
        };
        format!("the key {key_shown} can't be read: {why}; tls_key names a PEM file that this user may read")
    })?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|why| why.to_string())?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|why| {
            format!("{key_shown} is not the key of the certificate in {certificate_shown} ({why}); name two files that belong together")
        })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// A connection's end: dropped, it closes it.
struct Hold(TcpStream, Arc<AtomicBool>);

impl Drop for Hold {
    fn drop(&mut self) {
        // It may be closed already.
        self.0.shutdown(Shutdown::Both).unwrap_or_default();
    }
}

/// Gives the connection a place and a thread.
fn take(
    slots: &mut Slots<Hold>,
    stream: TcpStream,
    address: IpAddr,
    config: &Arc<ServerConfig>,
    gate: &Arc<PathBuf>,
) -> io::Result<()> {
    let (owes_request, is_over) = (
        Arc::new(AtomicBool::new(true)),
        Arc::new(AtomicBool::new(false)),
    );
    let hold = Hold(stream.try_clone()?, Arc::clone(&is_over));
    slots.clear(|Hold(_, is_over)| is_over.load(Ordering::Relaxed));
    drop(slots.take(address, Arc::clone(&owes_request), hold));
    let (config, gate) = (Arc::clone(config), Arc::clone(gate));
    let mut stream = stream;
    let serving = move || {
        // Whatever ends it, nobody is to be told but the client, who sees it.
        drop(serve(&mut stream, address, config, &gate, &owes_request));
        stream.shutdown(Shutdown::Both).unwrap_or_default();
        is_over.store(true, Ordering::Relaxed);
    };
    let thread = std::thread::Builder::new().stack_size(STACK);
    thread.spawn(serving).map(drop)
}

/// One connection, to its end.
fn serve(
    client: &mut TcpStream,
    address: IpAddr,
    config: Arc<ServerConfig>,
    gate: &Path,
    owes_request: &AtomicBool,
) -> io::Result<()> {
    let begun = Instant::now();
    client.set_read_timeout(Some(HANDSHAKE_TIME))?;
    client.set_write_timeout(Some(HANDSHAKE_TIME))?;
    let mut first = [0];
    client.peek(&mut first)?;
    if first != [HANDSHAKE] {
        client.write_all(SPEAKS_TLS.as_bytes())?;
        return linger(client);
    }
    client.set_nonblocking(true)?;
    let mut tls = ServerConnection::new(config).map_err(io::Error::other)?;
    tls.set_buffer_limit(Some(BUFFER_LIMIT));
    while tls.is_handshaking() {
        wait(&tls, client, None, begun + HANDSHAKE_TIME)?;
        exchange(&mut tls, client)?;
    }
    let mut gate = UnixStream::connect(gate)?;
    gate.write_all(format!("{address}\n").as_bytes())?;
    gate.set_nonblocking(true)?;
    pump(&mut tls, client, &mut gate, begun + LONGEST, owes_request)?;
    tls.send_close_notify();
    while tls.wants_write() {
        wait(&tls, client, None, begun + LONGEST)?;
        tls.write_tls(client).or_else(later)?;
    }
    linger(client)
}

/// Hands on both ways until the gate has given its answer and closed.
fn pump(
    tls: &mut ServerConnection,
    client: &mut TcpStream,
    gate: &mut UnixStream,
    until: Instant,
    owes_request: &AtomicBool,
) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    // What the client said and the gate has not taken yet.
    let mut said = Vec::new();
    let mut is_silent = false;
    loop {
        if said.is_empty() && !is_silent {
            match tls.reader().read(&mut piece) {
                // The client said that nothing more comes.
                Ok(0) => {
                    is_silent = true;
                    gate.shutdown(Shutdown::Write)?;
                }
                Ok(count) => said.extend_from_slice(piece.get(..count).unwrap_or_default()),
                // Nor does one who hangs up without a word.
                Err(why) if why.kind() == io::ErrorKind::UnexpectedEof => {
                    is_silent = true;
                    gate.shutdown(Shutdown::Write)?;
                }
                Err(why) => later(why).map(drop)?,
            }
        }
        if !said.is_empty() {
            let taken = gate.write(&said).or_else(later)?;
            said.drain(..taken);
        }
        // The next part of the answer when the client has taken the last one.
        let is_free = !tls.wants_write();
        if is_free {
            match gate.read(&mut piece) {
                Ok(0) => return Ok(()),
                Ok(count) => {
                    owes_request.store(false, Ordering::Relaxed);
                    tls.writer()
                        .write_all(piece.get(..count).unwrap_or_default())?;
                }
                Err(why) => later(why).map(drop)?,
            }
        }
        let mut wanted = PollFlags::empty();
        wanted.set(PollFlags::IN, !tls.wants_write());
        wanted.set(PollFlags::OUT, !said.is_empty());
        let is_full = !said.is_empty();
        wait_for(
            tls,
            client,
            is_full || is_silent,
            Some((gate, wanted)),
            until,
        )?;
        if !is_full && !is_silent {
            exchange(tls, client)?;
        } else if tls.wants_write() {
            tls.write_tls(client).or_else(later)?;
        }
    }
}

/// Sends and receives what can be sent and received now.
fn exchange(tls: &mut ServerConnection, client: &mut TcpStream) -> io::Result<()> {
    if tls.wants_read() {
        match tls.read_tls(client) {
            Ok(0) if tls.is_handshaking() => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(why) => later(why).map(drop)?,
        }
        if let Err(why) = tls.process_new_packets() {
            // Why is said to the client, as far as it can be.
            tls.write_tls(client).or_else(later)?;
            return Err(io::Error::other(why));
        }
    }
    if tls.wants_write() {
        tls.write_tls(client).or_else(later)?;
    }
    Ok(())
}

fn wait(
    tls: &ServerConnection,
    client: &TcpStream,
    gate: Option<(&UnixStream, PollFlags)>,
    until: Instant,
) -> io::Result<()> {
    wait_for(tls, client, false, gate, until)
}

/// Waits until one of both has something, or takes something.
fn wait_for(
    tls: &ServerConnection,
    client: &TcpStream,
    is_full: bool,
    gate: Option<(&UnixStream, PollFlags)>,
    until: Instant,
) -> io::Result<()> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    let mut wanted = PollFlags::empty();
    wanted.set(PollFlags::IN, tls.wants_read() && !is_full);
    wanted.set(PollFlags::OUT, tls.wants_write());
    // One of which nothing is wanted is left out: that it has hung up would be told again and again.
    let client = (!wanted.is_empty()).then(|| PollFd::new(client, wanted));
    let gate = gate.filter(|(_, wanted)| !wanted.is_empty());
    let gate = gate.map(|(gate, wanted)| PollFd::from_borrowed_fd(gate.as_fd(), wanted));
    let mut both: Vec<_> = client.into_iter().chain(gate).collect();
    let left = Timespec::try_from(left).map_err(io::Error::other)?;
    match poll(&mut both, Some(&left)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(why) => Err(why.into()),
    }
}

/// Not now is no error.
fn later(why: io::Error) -> io::Result<usize> {
    match why.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(0),
        _ => Err(why),
    }
}

/// What the client still sends is read for a while, lest a reset overtakes the answer.
fn linger(client: &TcpStream) -> io::Result<()> {
    client.set_nonblocking(false)?;
    client.shutdown(Shutdown::Write)?;
    client.set_read_timeout(Some(LINGER_TIME))?;
    let until = Instant::now() + LINGER_TIME;
    let mut rest = [0; 1024];
    let mut client = client;
    while Instant::now() < until && client.read(&mut rest)? > 0 {}
    Ok(())
}
