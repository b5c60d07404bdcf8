//! The gate: what listens on the network. Takes small, whole, well-formed requests, and hands them on to the socket in the data folder.
//!
//! The HTTP library behind it is not made for strangers: it takes heads of any length, waits for bodies that never come, and
//! ends its accept loop at the first error. So the gate reads the request itself, with limits on size and time, and writes a
//! new one from what it understood ([`head`]); and it gives up connections before there are too many ([`slots`]).

pub mod head;
pub mod slots;

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::net::{IpAddr, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::lock::Semaphore;
use smol::net::unix::UnixStream;
use smol::{Async, LocalExecutor, Task, Timer};

use super::reply::Reply;
use head::Head;
use slots::Slots;

/// Bytes of a request's head at most.
const HEAD_LIMIT: usize = 8 * 1024;

/// A head that has not come by then never will.
const HEAD_TIME: Duration = Duration::from_secs(5);

/// The same for a form.
const BODY_TIME: Duration = Duration::from_secs(5);

/// The page behind answers in milliseconds; this is for a disk that hangs.
const ANSWER_TIME: Duration = Duration::from_secs(15);

/// A socket that refuses is being made anew; that takes a fraction of a second.
const REOPENED_WITHIN: Duration = Duration::from_secs(2);

/// Taking the answer may take so long.
const WRITE_TIME: Duration = Duration::from_secs(15);

/// After the answer, what a client still sends is read so long, and so much of it.
const LINGER_TIME: Duration = Duration::from_secs(2);
const LINGER_LIMIT: u64 = 1024 * 1024;

/// Bytes of an answer at most: a hundred photos whose names are as long as names can be, and all to be escaped. Only who may see
/// photos gets an answer of more than a page.
const ANSWER_LIMIT: usize = 8 * 1024 * 1024;

/// Requests handed on at a time; the others wait their turn.
const BEHIND: usize = 8;

/// Descriptors that are left alone for the rest of the process: files of photos, the ledger, requests handed on.
const SPARE_DESCRIPTORS: u64 = 32;

/// The front tells at once whose connection it brings.
const TOLD_WITHIN: Duration = Duration::from_secs(1);

/// Bytes of an address at most.
const ADDRESS_LIMIT: usize = 64;

/// Where connections come from.
#[derive(Debug)]
pub enum Entry {
    /// From clients themselves.
    Plain(TcpListener),
    /// From the process that speaks TLS with them (`front.rs`); its first line is the client's address.
    Fronted(UnixListener),
}

enum Listening {
    Plain(Async<TcpListener>),
    Fronted(Async<UnixListener>),
}

/// What all connections share.
struct Gate<'a> {
    socket: &'a Path,
    hosts: &'a [String],
    executor: LocalExecutor<'a>,
    behind: Arc<Semaphore>,
    slots: RefCell<Slots<Task<()>>>,
}

/// Serves until `stop` says something or is dropped.
pub async fn serve(
    entry: Entry,
    socket: &Path,
    hosts: &[String],
    stop: smol::channel::Receiver<()>,
) -> io::Result<()> {
    let entry = match entry {
        Entry::Plain(listener) => Listening::Plain(Async::new(listener)?),
        Entry::Fronted(listener) => Listening::Fronted(Async::new(listener)?),
    };
    let gate = Rc::new(Gate {
        socket,
        hosts,
        executor: LocalExecutor::new(),
        behind: Arc::new(Semaphore::new(BEHIND)),
        slots: RefCell::default(),
    });
    let accepting = async {
        loop {
            match entry.accepted().await {
                Ok((stream, address)) => gate.take(stream, address, entry.is_tls()),
                Err(error) => gate.make_room(&error).await,
            }
            // The connections get their turn between any two that come, so that no flood of new ones can starve them.
            smol::future::yield_now().await;
        }
    };
    let stopped = async {
        // Whether it was told or the channel was closed: it stops.
        match stop.recv().await {
            Ok(()) | Err(_) => Ok(()),
        }
    };
    let ended = gate
        .executor
        .run(smol::future::or(stopped, accepting))
        .await;
    // The connections hold the gate, and the gate holds them: without this, both would stay.
    gate.slots.borrow_mut().clear(|_| true);
    while gate.executor.try_tick() {}
    ended
}

impl Listening {
    fn is_tls(&self) -> bool {
        matches!(self, Self::Fronted(_))
    }

    /// The next connection and whose it is. Both kinds of streams are handled as one type, for one copy of the code: a connected
    /// stream of bytes is what counts.
    async fn accepted(&self) -> io::Result<(UnixStream, IpAddr)> {
        match self {
            Self::Plain(listener) => {
                let (stream, address) = next(listener, TcpListener::accept).await?;
                let stream = std::os::unix::net::UnixStream::from(OwnedFd::from(stream));
                Ok((UnixStream::try_from(stream)?, address.ip()))
            }
            Self::Fronted(listener) => {
                let (stream, _) = next(listener, UnixListener::accept).await?;
                let mut stream = UnixStream::try_from(stream)?;
                let telling = within(TOLD_WITHIN, told_address(&mut stream)).await;
                let address = telling.ok_or(io::ErrorKind::ConnectionAborted)??;
                Ok((stream, address))
            }
        }
    }
}

/// The next connection. It is waited for only where none is there: in a flood that would be most of the work.
async fn next<L, C>(listener: &Async<L>, accept: impl Fn(&L) -> io::Result<C>) -> io::Result<C> {
    loop {
        match accept(listener.get_ref()) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => listener.readable().await?,
            accepted => return accepted,
        }
    }
}

/// The first line: whose connection it is. Read byte by byte, for what follows is the client's.
async fn told_address(stream: &mut UnixStream) -> io::Result<IpAddr> {
    let mut line = String::new();
    let mut byte = [0];
    while line.len() < ADDRESS_LIMIT {
        stream.read_exact(&mut byte).await?;
        if byte == *b"\n" {
            break;
        }
        line.push(char::from(byte[0]));
    }
    line.parse()
        .map_err(|_address| io::ErrorKind::ConnectionAborted.into())
}

impl Gate<'_> {
    fn take(self: &Rc<Self>, stream: UnixStream, address: IpAddr, is_tls: bool) {
        let owes_request = Arc::new(AtomicBool::new(true));
        // Descriptors are given lowest first: the number of the newest tells how many are left.
        let number = u64::try_from(stream.as_raw_fd()).unwrap_or_default();
        let limit = getrlimit(Resource::Nofile).current;
        let is_short = limit.is_some_and(|limit| number + SPARE_DESCRIPTORS >= limit);
        let connection = Connection {
            gate: Rc::clone(self),
            stream,
            address,
            is_tls,
            owes_request: Arc::clone(&owes_request),
        };
        let mut slots = self.slots.borrow_mut();
        slots.clear(Task::is_finished);
        if is_short {
            drop(slots.shed());
        }
        let task = self.executor.spawn(connection.serve());
        drop(slots.take(address, owes_request, task));
    }

    /// After an error in accept: the client is gone already, or descriptors or memory are short.
    async fn make_room(&self, error: &io::Error) {
        if !matches!(
            error.kind(),
            io::ErrorKind::ConnectionAborted | io::ErrorKind::WouldBlock
        ) {
            let given_up = self.slots.borrow_mut().shed();
            if given_up.is_none() {
                Timer::after(Duration::from_millis(100)).await;
            }
        }
    }

    /// The answer from behind, whole. A client that is given up while it waits for its turn costs nothing. Once begun, the
    /// answer is fetched to its end, whether its client stays or not: it would still be work there, and `BEHIND` would bound
    /// nothing.
    async fn answer(&self, request: Vec<u8>) -> Vec<u8> {
        let turn = self.behind.acquire_arc().await;
        let socket = self.socket;
        let asking = async move {
            let answered = within(ANSWER_TIME, exchange(socket, &request)).await;
            drop(turn);
            answered
        };
        let mut asking = ToTheEnd(Some(self.executor.spawn(asking)));
        let answered = match &mut asking.0 {
            Some(task) => task.await,
            None => None,
        };
        match answered {
            Some(Ok(answer)) if !answer.is_empty() && answer.len() <= ANSWER_LIMIT => answer,
            Some(_) => written(&Reply::refusal(
                502,
                "The page could not be made. Look into the log, or restart Photo Factory.",
            )),
            None => written(&Reply::refusal(
                503,
                "Photo Factory does not answer: a disk may hang. Photos that wait stay where they are.",
            )),
        }
    }
}

/// A task that is not cancelled when nobody waits for it any more.
struct ToTheEnd<T>(Option<Task<T>>);

impl<T> Drop for ToTheEnd<T> {
    fn drop(&mut self) {
        if let Some(task) = self.0.take() {
            task.detach();
        }
    }
}

async fn exchange(socket: &Path, request: &[u8]) -> io::Result<Vec<u8>> {
    let connecting = async {
        loop {
            match UnixStream::connect(socket).await {
                Ok(stream) => return stream,
                Err(_) => Timer::after(Duration::from_millis(50)).await,
            };
        }
    };
    let Some(mut behind) = within(REOPENED_WITHIN, connecting).await else {
        return Err(io::ErrorKind::ConnectionRefused.into());
    };
    behind.write_all(request).await?;
    let mut answer = Vec::new();
    let limit = u64::try_from(ANSWER_LIMIT).unwrap_or(u64::MAX);
    let mut behind = behind.take(limit.saturating_add(1));
    behind.read_to_end(&mut answer).await?;
    Ok(answer)
}

/// One connection, for one request.
struct Connection<'a> {
    gate: Rc<Gate<'a>>,
    stream: UnixStream,
    address: IpAddr,
    is_tls: bool,
    owes_request: Arc<AtomicBool>,
}

/// Why there is no request.
enum NoRequest {
    /// It is not one that is taken; the answer.
    Refused(Reply),
    /// Nothing came, or not all of it: nobody is owed an answer.
    Gone,
}

impl Connection<'_> {
    async fn serve(mut self) {
        let request = self.request().await;
        self.owes_request.store(false, Ordering::Relaxed);
        let answer = match request {
            Ok(request) => self.gate.answer(request).await,
            Err(NoRequest::Refused(refusal)) => written(&refusal),
            Err(NoRequest::Gone) => return,
        };
        let sending = async {
            self.stream.write_all(&answer).await?;
            self.stream.close().await
        };
        if !matches!(within(WRITE_TIME, sending).await, Some(Ok(()))) {
            // A client that is gone needs no answer.
            return;
        }
        drop(answer);
        // What the client still sends is read before the socket is dropped, lest the reset overtakes the answer.
        let mut rest = [0; 1024];
        let mut stream = self.stream.take(LINGER_LIMIT);
        let lingering =
            async { while stream.read(&mut rest).await.is_ok_and(|count| count > 0) {} };
        within(LINGER_TIME, lingering).await;
    }

    /// The request to hand on.
    async fn request(&mut self) -> Result<Vec<u8>, NoRequest> {
        let (head, mut body) = within(HEAD_TIME, read_head(&mut self.stream))
            .await
            .unwrap_or(Err(NoRequest::Gone))?;
        let head = Head::parse(&head, self.gate.hosts).map_err(NoRequest::Refused)?;
        let length = head.body_length();
        let reading = async {
            let come = body.len();
            body.resize(length, 0);
            match body.get_mut(come..) {
                Some(missing) => self.stream.read_exact(missing).await,
                None => Ok(()),
            }
        };
        if !matches!(within(BODY_TIME, reading).await, Some(Ok(()))) {
            return Err(NoRequest::Gone);
        }
        if !head::is_form(&body) {
            let refusal = Reply::refusal(400, "The form is malformed.");
            return Err(NoRequest::Refused(refusal));
        }
        let mut request = head.request(self.address, self.is_tls).into_bytes();
        request.extend_from_slice(&body);
        Ok(request)
    }
}

/// Reads up to the blank line, which is left out; and gives what came after it.
async fn read_head(stream: &mut UnixStream) -> Result<(Vec<u8>, Vec<u8>), NoRequest> {
    let mut head = Vec::new();
    let mut piece = [0; 1024];
    loop {
        let count = stream.read(&mut piece).await.unwrap_or(0);
        if count == 0 {
            return Err(NoRequest::Gone);
        }
        let seen = head.len().saturating_sub(3);
        head.extend_from_slice(piece.get(..count).unwrap_or_default());
        let new = head.get(seen..).unwrap_or_default();
        if let Some(end) = new.windows(4).position(|end| end == b"\r\n\r\n") {
            let rest = head.split_off(seen + end + 4);
            head.truncate(seen + end);
            return Ok((head, rest));
        }
        if head.len() > HEAD_LIMIT {
            return Err(NoRequest::Refused(Reply::refusal(
                431,
                "The request's headers are too large.",
            )));
        }
    }
}

fn written(reply: &Reply) -> Vec<u8> {
    let mut bytes = Vec::new();
    let result = reply.write_to(&mut bytes, false);
    debug_assert!(result.is_ok(), "a Vec takes every write");
    bytes
}

async fn within<T>(time: Duration, work: impl Future<Output = T>) -> Option<T> {
    let late = async {
        Timer::after(time).await;
        None
    };
    smol::future::or(async { Some(work.await) }, late).await
}
