//! The gate: what listens on the network. Takes small, whole, well-formed requests, and hands them on to the socket in the data folder.
//!
//! The HTTP library behind it is not made for strangers: it takes heads of any length, waits for bodies that never come, and
//! ends its accept loop at the first error. So the gate reads the head itself, with limits on size and time, and writes a new
//! one from what it understood; nothing of the original passes but the method, the target and the cookie.

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::Future;
use std::net::{IpAddr, TcpListener};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::TcpStream;
use smol::net::unix::UnixStream;
use smol::{Async, LocalExecutor, Task, Timer};

use super::reply::Reply;

/// Bytes of a request's head at most.
const HEAD_LIMIT: usize = 8 * 1024;

/// Headers at most.
const HEADER_LIMIT: usize = 64;

/// A head that has not come by then never will.
const HEAD_TIME: Duration = Duration::from_secs(5);

/// The page behind answers in milliseconds; this is for a disk that hangs.
const ANSWER_TIME: Duration = Duration::from_secs(15);

/// Taking the answer may take so long.
const WRITE_TIME: Duration = Duration::from_secs(15);

/// Bytes of an answer at most: the JSON of 50 photos and 100 problems is far below.
const ANSWER_LIMIT: u64 = 8 * 1024 * 1024;

/// Connections at a time. When a further one comes, the oldest that still owes its head goes.
const SLOTS: usize = 32;

/// What a request's head says, as far as it is let through.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head {
    method: &'static str,
    target: String,
    cookie: Option<String>,
}

impl Head {
    /// The request that goes on to the socket: nothing but what was let through, in our own spelling.
    pub fn request(&self) -> String {
        let cookie = self.cookie.as_ref();
        let cookie = cookie.map_or(String::new(), |cookie| format!("Cookie: {cookie}\r\n"));
        format!(
            "{} {} HTTP/1.1\r\nHost: localhost\r\nVia: {VIA}\r\nConnection: close\r\n{cookie}\r\n",
            self.method, self.target,
        )
    }
}

/// Reads a head (without its blank line). `Err` is the answer to send.
pub fn parse_head(head: &[u8], hosts: &[String]) -> Result<Head, Reply> {
    let bad = |why| Reply::refusal(400, why);
    let head = std::str::from_utf8(head).map_err(|_utf8| bad("The request is not text."))?;
    let mut lines = head.split("\r\n");
    let request_line = lines.next().unwrap_or_default();
    let mut words = request_line.split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(bad("The request's first line is malformed."));
    };
    if !matches!(version, "HTTP/1.0" | "HTTP/1.1") {
        return Err(Reply::refusal(
            505,
            "This page is served by HTTP/1.0 and HTTP/1.1.",
        ));
    }
    let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    if !target.starts_with('/') || !is_plain(target) {
        return Err(bad("The request's target is malformed."));
    }
    let mut host = None;
    let mut cookie = None;
    for (count, line) in lines.enumerate() {
        let Some((name, value)) = line.split_once(':') else {
            return Err(bad("A header is malformed."));
        };
        if count >= HEADER_LIMIT || name.is_empty() || !is_plain(name) {
            return Err(bad("The headers are malformed, or too many."));
        }
        let value = value.trim_matches([' ', '\t']);
        if name.eq_ignore_ascii_case("host") {
            if host.replace(value).is_some() {
                return Err(bad("The request names two hosts."));
            }
        } else if name.eq_ignore_ascii_case("cookie") {
            cookie = Some(value).filter(|value| value.bytes().all(|b| (b' '..0x7f).contains(&b)));
        } else if name.eq_ignore_ascii_case("transfer-encoding")
            || name.eq_ignore_ascii_case("content-length") && value != "0"
        {
            return Err(method_or(
                method,
                bad("A request to this page carries no content."),
            ));
        }
    }
    if !host.is_some_and(|host| is_known_host(host, hosts)) {
        return Err(Reply::refusal(
            421,
            "This name is not one of this appliance's. Use its address, its name ending in .local, or add the name to [dashboard] hosts.",
        ));
    }
    let method = match method {
        "GET" => "GET",
        "HEAD" => "HEAD",
        _ => return Err(method_or(method, bad("The method is malformed."))),
    };
    Ok(Head {
        method,
        target: target.to_owned(),
        cookie: cookie.map(str::to_owned),
    })
}

/// 405 for a method that is none of ours, else the other reply.
fn method_or(method: &str, other: Reply) -> Reply {
    if matches!(method, "GET" | "HEAD") {
        other
    } else {
        Reply::refusal(405, "This page can be read, and nothing else.")
    }
}

/// Whether a browser may use this name for us. Any other name could be a stranger's site that points at our address (DNS rebinding).
pub fn is_known_host(host: &str, hosts: &[String]) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let inner = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    if inner.unwrap_or(name).parse::<IpAddr>().is_ok() {
        return true;
    }
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost"
        || name
            .strip_suffix(".local")
            .is_some_and(|rest| !rest.is_empty())
        || hosts.iter().any(|known| known.eq_ignore_ascii_case(&name))
}

/// Serves until `stop` says something or is dropped.
pub async fn serve(
    listener: TcpListener,
    socket: &Path,
    hosts: &[String],
    stop: smol::channel::Receiver<()>,
) -> std::io::Result<()> {
    let listener = Async::new(listener)?;
    let executor = LocalExecutor::new();
    let accepting = async {
        let mut slots: VecDeque<(Rc<Cell<bool>>, Task<()>)> = VecDeque::new();
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                // Out of descriptors, or the client is gone already: neither may end the loop.
                Timer::after(Duration::from_millis(100)).await;
                continue;
            };
            slots.retain(|(_, task)| !task.is_finished());
            if slots.len() >= SLOTS {
                let in_head = slots.iter().position(|(has_head, _)| !has_head.get());
                drop(slots.remove(in_head.unwrap_or(0)));
            }
            let has_head = Rc::new(Cell::new(false));
            let connection = connection(stream.into(), socket, hosts, Rc::clone(&has_head));
            slots.push_back((has_head, executor.spawn(connection)));
        }
    };
    let stopped = async {
        // Whether it was told or the channel was closed: it stops.
        match stop.recv().await {
            Ok(()) | Err(_) => Ok(()),
        }
    };
    executor.run(smol::future::or(stopped, accepting)).await
}

async fn connection(
    mut stream: TcpStream,
    socket: &Path,
    hosts: &[String],
    has_head: Rc<Cell<bool>>,
) {
    let reply = match within(HEAD_TIME, read_head(&mut stream)).await {
        Some(Ok(head)) => {
            has_head.set(true);
            match parse_head(&head, hosts) {
                Ok(head) => relayed(&head, socket).await,
                Err(refusal) => written(&refusal),
            }
        }
        Some(Err(Some(refusal))) => written(&refusal),
        // Nothing came, or not all of it: nobody is owed an answer.
        Some(Err(None)) | None => return,
    };
    let sending = async {
        stream.write_all(&reply).await?;
        stream.close().await?;
        // What the client still sends is read before the socket is dropped, lest the reset overtakes the answer.
        let mut rest = [0; 1024];
        while stream.read(&mut rest).await? > 0 {}
        std::io::Result::Ok(())
    };
    // A client that is gone needs no answer.
    drop(within(WRITE_TIME, sending).await);
}

/// Reads up to the blank line, which is left out.
async fn read_head(stream: &mut TcpStream) -> Result<Vec<u8>, Option<Reply>> {
    let mut head = Vec::new();
    let mut piece = [0; 1024];
    loop {
        let count = stream.read(&mut piece).await.map_err(|_gone| None)?;
        if count == 0 {
            return Err(None);
        }
        let seen = head.len().saturating_sub(3);
        head.extend_from_slice(&piece[..count]);
        let end = head[seen..].windows(4).position(|end| end == b"\r\n\r\n");
        if let Some(end) = end {
            head.truncate(seen + end);
            return Ok(head);
        }
        if head.len() > HEAD_LIMIT {
            return Err(Some(Reply::refusal(
                431,
                "The request's headers are too large.",
            )));
        }
    }
}

/// The answer from behind, whole.
async fn relayed(head: &Head, socket: &Path) -> Vec<u8> {
    let asking = async {
        let mut behind = UnixStream::connect(socket).await?;
        behind.write_all(head.request().as_bytes()).await?;
        let mut answer = Vec::new();
        behind.take(ANSWER_LIMIT).read_to_end(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    match within(ANSWER_TIME, asking).await {
        Some(Ok(answer)) if !answer.is_empty() => answer,
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

/// The mark of a request that came through the gate; the socket's own clients do not set it, and no client of the gate can unset it.
pub const VIA: &str = "1.1 photo-factory";

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
