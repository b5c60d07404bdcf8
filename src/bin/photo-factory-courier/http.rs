//! One HTTP request and its answer, over TCP or a Unix socket, with or without TLS.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use photo_factory::courier::message::{Answer, Failed, Method, Request, Trust};
use rustls::{ClientConnection, StreamOwned};
use ureq::config::Config;
use ureq::http::header::{CONTENT_TYPE, HeaderName, LOCATION};
use ureq::http::{self, Response, Uri};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};
use ureq::{Agent, Body};

use super::tls::{Judge, name_in_certificates};

/// Bytes of a request or an answer in hand at once.
const BUFFER: usize = 16 << 10;

/// Sends the request, reads the whole answer.
pub(crate) fn ask(request: &Request) -> Result<Answer, Failed> {
    let started = Instant::now();
    let is_secure = request.url.starts_with("https://");
    if !is_secure && matches!(request.trust, Trust::Pinned(_)) {
        return Err(Failed::Refused(
            "its address has no certificate to check; let it begin with https://".to_owned(),
        ));
    }
    let judge = if is_secure {
        Some(Arc::new(Judge::new(&request.trust)?))
    } else {
        None
    };
    let config = Config::builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .user_agent(concat!("photo-factory/", env!("CARGO_PKG_VERSION")))
        .max_idle_connections(0)
        .timeout_global(Some(request.deadline))
        .build();
    let caller = Caller {
        socket: request.socket.clone(),
        judge: judge.clone(),
        until: started + request.deadline,
    };
    let agent = match request.socket {
        Some(_) => Agent::with_parts(config, caller, Nowhere),
        None => Agent::with_parts(config, caller, DefaultResolver::default()),
    };
    let response = run(&agent, request).map_err(failed)?;
    let header = |name: HeaderName| {
        let value = response.headers().get(name)?;
        Some(value.to_str().ok()?.to_owned())
    };
    Ok(Answer {
        status: response.status().as_u16(),
        content_type: header(CONTENT_TYPE),
        location: header(LOCATION),
        body: body(response, request.answer_limit)?,
        took: started.elapsed(),
        certificate: judge.and_then(|judge| judge.found()),
    })
}

fn run(agent: &Agent, request: &Request) -> Result<Response<Body>, ureq::Error> {
    let mut builder = http::Request::builder()
        .method(match request.method {
            Method::Get => http::Method::GET,
            Method::Post => http::Method::POST,
            Method::Put => http::Method::PUT,
        })
        .uri(&request.url);
    for (name, value) in &request.headers {
        builder = builder.header(name, value);
    }
    match request.method {
        Method::Get => agent.run(builder.body(())?),
        Method::Post | Method::Put => agent.run(builder.body(request.body.as_slice())?),
    }
}

fn body(response: Response<Body>, limit: usize) -> Result<Vec<u8>, Failed> {
    let mut body = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX);
    let mut reader = response.into_body().into_reader();
    (&mut reader)
        .take(most.saturating_add(1))
        .read_to_end(&mut body)
        .map_err(|why| failed(ureq::Error::from(why)))?;
    if body.len() > limit {
        return Err(Failed::Refused(format!(
            "its answer is longer than {limit} bytes"
        )));
    }
    Ok(body)
}

/// In words for the owner. What ureq says may quote addresses and headers, so little of it is told.
fn failed(error: ureq::Error) -> Failed {
    match error {
        ureq::Error::Timeout(_) => Failed::TimedOut,
        ureq::Error::HostNotFound => Failed::Unreachable("its name is not known".to_owned()),
        ureq::Error::Io(why) if why.kind() == io::ErrorKind::TimedOut => Failed::TimedOut,
        ureq::Error::Io(why) => Failed::Unreachable(why.to_string()),
        ureq::Error::Other(why) => match why.downcast::<Failed>() {
            Ok(failed) => *failed,
            Err(_) => Failed::Broken("its connection failed".to_owned()),
        },
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => Failed::Refused(
            "the address or the token that the settings name is not one that HTTP can send"
                .to_owned(),
        ),
        _ => Failed::Refused("what it answered is not HTTP".to_owned()),
    }
}

/// Looks nothing up: a Unix socket has no address.
#[derive(Debug)]
struct Nowhere;

impl Resolver for Nowhere {
    fn resolve(
        &self,
        _: &Uri,
        _: &Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        Ok(self.empty())
    }
}

/// Makes the connection of one request.
#[derive(Debug)]
struct Caller {
    socket: Option<PathBuf>,
    /// With TLS.
    judge: Option<Arc<Judge>>,
    until: Instant,
}

impl Connector for Caller {
    type Out = Connection;

    fn connect(
        &self,
        details: &ConnectionDetails,
        _: Option<()>,
    ) -> Result<Option<Connection>, ureq::Error> {
        let socket = match &self.socket {
            Some(path) => Socket::Unix(UnixStream::connect(path)?),
            None => Socket::Tcp(tcp(&details.addrs, self.until)?),
        };
        let line = Line {
            socket,
            until: self.until,
        };
        let stream = match &self.judge {
            None => Stream::Plain(line),
            Some(judge) => {
                let host = details.uri.host().unwrap_or_default();
                let secure = secured(line, host, judge).map_err(|why| match why {
                    Failed::TimedOut => ureq::Error::Timeout(details.timeout.reason),
                    why => ureq::Error::Other(Box::new(why)),
                })?;
                Stream::Tls(Box::new(secure))
            }
        };
        Ok(Some(Connection {
            stream,
            buffers: LazyBuffers::new(BUFFER, BUFFER),
        }))
    }
}

/// The first address that answers; each has its share of the time that is left.
fn tcp(addresses: &[SocketAddr], until: Instant) -> io::Result<TcpStream> {
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for (tried, address) in addresses.iter().enumerate() {
        let shares = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        match TcpStream::connect_timeout(address, left(until)? / shares) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(why) => failure = why,
        }
    }
    Err(failure)
}

/// Shakes hands; nothing of the request is sent before the certificate was judged.
fn secured(
    mut line: Line,
    host: &str,
    judge: &Arc<Judge>,
) -> Result<StreamOwned<ClientConnection, Line>, Failed> {
    let host = host.trim_matches(['[', ']']);
    let name = name_in_certificates(host)?;
    let mut connection = ClientConnection::new(Arc::new(judge.client()?), name)
        .map_err(|why| Failed::Broken(why.to_string()))?;
    while connection.is_handshaking() {
        connection.complete_io(&mut line).map_err(|why| {
            let by_tls = why.get_ref().and_then(|why| why.downcast_ref());
            match by_tls {
                Some(rustls::Error::InvalidCertificate(_)) => judge.refusal(),
                Some(why) => Failed::Refused(format!("no TLS with it: {why}")),
                None if why.kind() == io::ErrorKind::TimedOut => Failed::TimedOut,
                None => Failed::Unreachable(format!("no TLS with it: {why}")),
            }
        })?;
    }
    Ok(StreamOwned::new(connection, line))
}

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A socket on which everything together has one deadline, however slowly the other side drips.
struct Line {
    socket: Socket,
    until: Instant,
}

impl Read for Line {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = Some(left(self.until)?);
        let read = match &mut self.socket {
            Socket::Tcp(tcp) => tcp.set_read_timeout(left).and_then(|()| tcp.read(into)),
            Socket::Unix(unix) => unix.set_read_timeout(left).and_then(|()| unix.read(into)),
        };
        read.map_err(in_time)
    }
}

impl Write for Line {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        let left = Some(left(self.until)?);
        let written = match &mut self.socket {
            Socket::Tcp(tcp) => tcp.set_write_timeout(left).and_then(|()| tcp.write(from)),
            Socket::Unix(unix) => unix.set_write_timeout(left).and_then(|()| unix.write(from)),
        };
        written.map_err(in_time)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn left(until: Instant) -> io::Result<Duration> {
    match until.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
        left => Ok(left),
    }
}

/// A socket says "would block" when its time is over.
fn in_time(why: io::Error) -> io::Error {
    match why.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => why,
    }
}

enum Stream {
    Plain(Line),
    Tls(Box<StreamOwned<ClientConnection, Line>>),
}

/// A connection as ureq drives it.
struct Connection {
    stream: Stream,
    buffers: LazyBuffers,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl Transport for Connection {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), ureq::Error> {
        let output = self.buffers.output().get(..amount).unwrap_or_default();
        match &mut self.stream {
            Stream::Plain(line) => line.write_all(output)?,
            Stream::Tls(tls) => {
                tls.write_all(output)?;
                tls.flush()?;
            }
        }
        Ok(())
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, ureq::Error> {
        let input = self.buffers.input_append_buf();
        let read = match &mut self.stream {
            Stream::Plain(line) => line.read(input)?,
            Stream::Tls(tls) => tls.read(input)?,
        };
        self.buffers.input_appended(read);
        Ok(read > 0)
    }

    fn is_open(&mut self) -> bool {
        // Asked before a connection is used again, which none is.
        false
    }

    fn is_tls(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }
}
