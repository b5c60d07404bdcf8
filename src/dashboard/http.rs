//! The server: a private socket in the data folder for commands, and the gate in front of it for browsers.
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::door::{Door, FRONT_SOCKET, SOCKET};
use super::export::{self, ExportError, Format};
use super::front::Front;
use super::gate::{self, Entry, head};
use super::reply::{self, Reply};
use super::request::{From, Method, Request};
use super::routes::{self, Answer, Originals};
use super::site::Site;

/// Connections that the kernel holds until the gate accepts them. One that finds the queue full tries again after a second,
/// which is what others may wait for the page at most.
const QUEUE: i32 = 1024;

/// Threads that answer requests.
const HANDLERS: usize = 2;

/// Bytes of a thread's stack: half of what it would be otherwise. A board with little memory may be short of addresses too.
const STACK: usize = 1 << 20;

/// Exports at a time; each has a thread of its own, because its reader may be slow.
const EXPORTS: usize = 4;

/// Bytes gathered before a part of an export is sent.
const PART: usize = 64 * 1024;

/// Why the page cannot be served. Filing goes on without it.
#[derive(Debug)]
pub enum ServeError {
    /// The address cannot be listened on.
    Listening(SocketAddr, io::Error),
    /// The socket in the data folder cannot be made.
    Socket(PathBuf, io::Error),
    /// Another instance answers on the socket.
    AlreadyServed(PathBuf),
    /// The page can't be served by TLS: why, and what to do.
    Tls(String),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listening(address, error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
                write!(
                    f,
                    "serving the page on {address}: that is no address of this machine; set [dashboard] listen to 127.0.0.1:{port} \
                     for this machine alone, or to 0.0.0.0:{port} for the whole network",
                    port = address.port()
                )
            }
            Self::Listening(address, error) => write!(
                f,
                "serving the page on {address}: {error}; stop what uses that port, or set another in [dashboard] listen"
            ),
            Self::Socket(path, error) => write!(
                f,
                "making the socket {}: {error}; the data folder must be writable",
                path.display()
            ),
            Self::AlreadyServed(path) => write!(
                f,
                "another Photo Factory answers on {}: stop it first",
                path.display()
            ),
            Self::Tls(why) => write!(f, "serving the page by TLS: {why}"),
        }
    }
}

impl std::error::Error for ServeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Listening(_, error) | Self::Socket(_, error) => Some(error),
            Self::AlreadyServed(_) | Self::Tls(_) => None,
        }
    }
}

/// The running server. Dropping it stops it.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    front: Option<Front>,
    stop_gate: smol::channel::Sender<()>,
    behind: Arc<Behind>,
    threads: Vec<JoinHandle<()>>,
}

/// What the threads behind the gate share.
struct Behind {
    site: Site,
    door: Door,
    stopping: AtomicBool,
    exports: AtomicUsize,
    server: Mutex<Option<Arc<tiny_http::Server>>>,
}

impl fmt::Debug for Behind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Behind")
            .field("site", &self.site)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// Starts serving. When it returns, both the address and the socket answer.
    pub fn start(site: Site) -> Result<Self, ServeError> {
        let listen = site.config.listen;
        let door = Door::new(&site.config.data, SOCKET)?;
        let first = door.open()?;
        let listening = |error| ServeError::Listening(listen, error);
        let listener = TcpListener::bind(listen).map_err(listening)?;
        rustix::net::listen(&listener, QUEUE).map_err(|error| listening(error.into()))?;
        let address = listener.local_addr().map_err(listening)?;
        let (entry, front) = match &site.config.tls {
            None => (Entry::Plain(listener), None),
            Some(tls) => {
                let door = Door::new(&site.config.data, FRONT_SOCKET)?;
                let entry = Entry::Fronted(door.open()?);
                let front = Front::start(&site, tls, listener).map_err(ServeError::Tls)?;
                (entry, Some(front))
            }
        };
        let behind = Arc::new(Behind {
            site,
            door,
            stopping: AtomicBool::new(false),
            exports: AtomicUsize::new(0),
            server: Mutex::new(None),
        });
        let (stop_gate, stopped) = smol::channel::bounded(1);
        let threads = vec![
            spawn("page", listen, {
                let behind = Arc::clone(&behind);
                move || behind.run(first)
            })?,
            spawn("gate", listen, {
                let behind = Arc::clone(&behind);
                move || {
                    let serving = gate::serve(
                        entry,
                        behind.door.path(),
                        &behind.site.config.hosts,
                        stopped,
                    );
                    if let Err(error) = smol::block_on(serving) {
                        log::error!("the page is no longer served: {error}");
                    }
                }
            })?,
        ];
        Ok(Self {
            address,
            front,
            stop_gate,
            behind,
            threads,
        })
    }

    /// Where the page is: what was asked for, with the port that was given where it was 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same as a browser wants it.
    pub fn url(&self) -> String {
        let scheme = if self.front.is_some() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{}/", self.address)
    }

    /// Stops within a second. Exports that run are cut short, and say so to their readers.
    pub fn stop(mut self) {
        self.halt();
    }

    fn halt(&mut self) {
        self.front = None;
        self.stop_gate.close();
        self.behind.halt();
        let deadline = Instant::now() + Duration::from_millis(800);
        for thread in self.threads.drain(..) {
            while !thread.is_finished() && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(2));
            }
            if thread.is_finished() && thread.join().is_err() {
                log::error!("a thread of the page ended in an internal error");
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.halt();
    }
}

fn spawn(
    name: &str,
    listen: SocketAddr,
    work: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, ServeError> {
    thread::Builder::new()
        .name(name.to_owned())
        .stack_size(STACK)
        .spawn(work)
        .map_err(|error| ServeError::Listening(listen, error))
}

impl Behind {
    /// Serves until told to stop. The library gives up at the first error in accept: then it is started anew.
    fn run(self: &Arc<Self>, first: UnixListener) {
        let mut listener = Some(first);
        while !self.is_stopping() {
            let Some(next) = listener.take().or_else(|| self.reopened()) else {
                continue;
            };
            match tiny_http::Server::from_listener(next, None) {
                Ok(server) => self.serve(&Arc::new(server)),
                Err(error) => log::error!("the page's socket cannot be served: {error}"),
            }
        }
    }

    fn reopened(&self) -> Option<UnixListener> {
        thread::sleep(Duration::from_millis(200));
        match self.door.open() {
            Ok(listener) => Some(listener),
            Err(error) => {
                log::error!("{error}");
                None
            }
        }
    }

    fn serve(self: &Arc<Self>, server: &Arc<tiny_http::Server>) {
        *self.server() = Some(Arc::clone(server));
        if !self.is_stopping() {
            thread::scope(|scope| {
                for _ in 0..HANDLERS {
                    let handler = thread::Builder::new().stack_size(STACK);
                    if let Err(error) = handler.spawn_scoped(scope, || self.handle(server)) {
                        log::error!("a thread of the page can't be started: {error}");
                    }
                }
            });
        }
        *self.server() = None;
    }

    /// One handler: a request at a time, each under a guard.
    fn handle(self: &Arc<Self>, server: &tiny_http::Server) {
        while let Ok(request) = server.recv() {
            let guarded = catch_unwind(AssertUnwindSafe(|| self.respond(request)));
            if guarded.is_err() {
                log::error!("a request to the page ended in an internal error");
            }
            if self.is_stopping() {
                break;
            }
        }
        // One handler has seen the end: the other shall see it too.
        server.unblock();
    }

    fn respond(self: &Arc<Self>, mut request: tiny_http::Request) {
        let header = |name: &'static str| {
            let mut headers = request.headers().iter();
            let found = headers.find(|header| header.field.equiv(name));
            found.map(|header| header.value.as_str().to_owned())
        };
        let (cookie, authorization, known) = (
            header("Cookie"),
            header("Authorization"),
            header("If-None-Match"),
        );
        let (host, origin, fetch_site) =
            (header("Host"), header("Origin"), header("Sec-Fetch-Site"));
        let is_network = header("Via").is_some_and(|via| via == head::VIA);
        let takes_gzip = header("Accept-Encoding").is_some_and(|all| all.contains("gzip"));
        let forwarded = header("Forwarded");
        let target = request.url().to_owned();
        let from = if is_network {
            head::sender(&forwarded.unwrap_or_default())
        } else {
            From::Socket
        };
        let method = Method::of(request.method().as_str());
        let mut body = String::new();
        let limit = u64::try_from(head::BODY_LIMIT).unwrap_or(u64::MAX);
        if let Err(error) = request.as_reader().take(limit).read_to_string(&mut body) {
            log::debug!("a form did not come: {error}");
            return;
        }
        let asked = Request {
            method: method.unwrap_or(Method::Get),
            cookie: cookie.as_deref(),
            authorization: authorization.as_deref(),
            if_none_match: known.as_deref(),
            takes_gzip,
            host: &host.unwrap_or_default(),
            origin: origin.as_deref(),
            fetch_site: fetch_site.as_deref(),
            body: &body,
            ..Request::get(&target, from)
        };
        let answer = match method {
            Some(_) => routes::answer(&self.site, &asked),
            None => Answer::Whole(Reply::refusal(
                405,
                "This page can be read, and nothing else.",
            )),
        };
        let is_head = method == Some(Method::Head);
        let mut out = request.into_writer();
        let sent = match answer {
            Answer::Whole(reply) => reply.fitted(&asked).write_to(&mut out, is_head),
            Answer::Rows(format) => self.export(Rows::All(format), is_head, out),
            Answer::Originals(which) => self.export(Rows::Originals(which), is_head, out),
        };
        if let Err(error) = sent {
            log::debug!("an answer was not taken: {error}");
        }
    }

    /// Starts an export on a thread of its own.
    fn export(
        self: &Arc<Self>,
        rows: Rows,
        is_head: bool,
        mut out: Box<dyn Write + Send>,
    ) -> io::Result<()> {
        if self.exports.fetch_add(1, Ordering::SeqCst) >= EXPORTS {
            self.exports.fetch_sub(1, Ordering::SeqCst);
            let busy = Reply::refusal(
                503,
                "Other exports are running: try again when they are done.",
            );
            return busy.write_to(&mut out, is_head);
        }
        let behind = Arc::clone(self);
        let work = move || {
            let streamed = catch_unwind(AssertUnwindSafe(|| {
                behind.stream(&rows, is_head, &mut *out)
            }));
            behind.exports.fetch_sub(1, Ordering::SeqCst);
            match streamed {
                Ok(Ok(())) => {}
                Ok(Err(error)) => log::warn!("{error}"),
                Err(_panic) => log::error!("an export ended in an internal error"),
            }
        };
        let started = thread::Builder::new().name("export".to_owned()).spawn(work);
        if started.is_err() {
            self.exports.fetch_sub(1, Ordering::SeqCst);
        }
        started.map(drop)
    }

    /// Chunked, so that a reader can tell an export that ended early from a whole one: only the whole one has the last chunk.
    fn stream(&self, rows: &Rows, is_head: bool, out: &mut dyn Write) -> Result<(), ExportError> {
        let ledger = || {
            let ledger = self.site.ledger.upgrade();
            ledger
                .filter(|_| !self.is_stopping())
                .ok_or(ExportError::Closed)
        };
        let (format, text) = match rows {
            Rows::All(format) => (*format, None),
            Rows::Originals(which) => {
                let text = match which {
                    Originals::From(id) => export::originals_from(&*ledger()?, *id),
                    Originals::At(paths) => export::originals_at(&*ledger()?, paths),
                };
                if let Err(error) = &text {
                    let refusal = Reply::refusal(500, &error.to_string());
                    refusal
                        .write_to(out, is_head)
                        .map_err(ExportError::Writing)?;
                }
                (Format::JsonLines, Some(text.map_err(ExportError::Reading)?))
            }
        };
        let mut head = reply::head(200, format.content_type());
        head.push_str("Transfer-Encoding: chunked\r\n\r\n");
        out.write_all(head.as_bytes())
            .map_err(ExportError::Writing)?;
        if is_head {
            return out.flush().map_err(ExportError::Writing);
        }
        let mut chunks = Chunks {
            out,
            gathered: Vec::new(),
        };
        if let Some(text) = text {
            chunks
                .write_all(text.as_bytes())
                .map_err(ExportError::Writing)?;
        } else {
            let mut page = |from| export::read_page(&*ledger()?, from);
            export::write_pages(&mut page, format, &mut chunks)?;
        }
        chunks.finish().map_err(ExportError::Writing)
    }

    fn halt(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        if let Some(server) = self.server().take() {
            server.unblock();
        }
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    fn server(&self) -> std::sync::MutexGuard<'_, Option<Arc<tiny_http::Server>>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is streamed.
enum Rows {
    All(Format),
    Originals(Originals),
}

/// RFC 9112 chunks.
struct Chunks<'a> {
    out: &'a mut dyn Write,
    gathered: Vec<u8>,
}

impl Chunks<'_> {
    fn send(&mut self) -> io::Result<()> {
        if !self.gathered.is_empty() {
            write!(self.out, "{:x}\r\n", self.gathered.len())?;
            self.out.write_all(&self.gathered)?;
            self.out.write_all(b"\r\n")?;
            self.gathered.clear();
        }
        self.out.flush()
    }

    fn finish(mut self) -> io::Result<()> {
        self.send()?;
        self.out.write_all(b"0\r\n\r\n")?;
        self.out.flush()
    }
}

impl Write for Chunks<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.gathered.extend_from_slice(bytes);
        if self.gathered.len() >= PART {
            self.send()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}
