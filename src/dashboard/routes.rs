//! From a request to an answer: which page, which headers, whom it is for. No sockets.

use std::io::{self, Write};
use std::path::PathBuf;

use maud::Markup;

use super::export::Format;
use super::metrics;
use super::overview::Overview;
use super::pages;
use super::text::text;
use crate::asset::AssetId;
use crate::verify::row;

/// How long a browser remembers the chosen interval: a year, in seconds.
const COOKIE_AGE: u32 = 31_536_000;

/// Where a request came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum From {
    /// Through the gate: a browser.
    Network,
    /// Over the socket in the data folder: a command of the owner.
    Socket,
}

/// A request, as far as the routes look at it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ask<'a> {
    /// `GET`, `HEAD`, …
    pub method: &'a str,
    /// Path and query.
    pub target: &'a str,
    /// The `Cookie` header.
    pub cookie: Option<&'a str>,
    /// Where it came from.
    pub from: From,
}

/// What to do about a request.
#[derive(Debug)]
pub enum Answer {
    /// A whole reply.
    Whole(Reply),
    /// Rows, streamed.
    Rows(Format),
    /// What `verify` needs of some rows.
    Originals(Originals),
}

/// Which rows `verify` asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Originals {
    /// The next ones from this id on.
    From(AssetId),
    /// Those that stand at these paths, or are on their way there.
    At(Vec<PathBuf>),
}

/// A whole reply.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The media type.
    pub content_type: &'static str,
    /// Headers of this reply alone.
    pub extra: Vec<(&'static str, String)>,
    /// The content.
    pub body: Vec<u8>,
}

impl Reply {
    fn new(status: u16, content_type: &'static str, body: String) -> Self {
        Self {
            status,
            content_type,
            extra: Vec::new(),
            body: body.into_bytes(),
        }
    }

    fn html(status: u16, markup: Markup) -> Self {
        Self::new(status, "text/html; charset=utf-8", markup.into_string())
    }

    /// A page that says why there is nothing else.
    pub fn refusal(status: u16, sentence: &str) -> Self {
        let mut reply = Self::html(status, pages::plain_page(reason(status), sentence));
        if status == 405 {
            reply.extra.push(("Allow", "GET, HEAD".to_owned()));
        }
        reply
    }

    /// Writes the reply; for `HEAD` without its content.
    pub fn write_to(&self, out: &mut dyn Write, is_head: bool) -> io::Result<()> {
        let mut head = head(self.status, self.content_type);
        let length = ("Content-Length", self.body.len().to_string());
        for (name, value) in self.extra.iter().chain([&length]) {
            head.extend([*name, ": ", value, "\r\n"]);
        }
        head.push_str("\r\n");
        out.write_all(head.as_bytes())?;
        if !is_head {
            out.write_all(&self.body)?;
        }
        out.flush()
    }
}

/// The status line and the headers that every reply has, without the blank line.
pub fn head(status: u16, content_type: &str) -> String {
    format!(
        "HTTP/1.1 {status} {}\r\n\
         Content-Type: {content_type}\r\n\
         Content-Security-Policy: {}\r\n\
         X-Content-Type-Options: nosniff\r\n\
         X-Frame-Options: DENY\r\n\
         Referrer-Policy: no-referrer\r\n\
         Cross-Origin-Resource-Policy: same-origin\r\n\
         Cache-Control: no-store\r\n\
         Connection: close\r\n",
        reason(status),
        *pages::CONTENT_SECURITY_POLICY,
    )
}

/// Answers a request. `overview` is asked only where the answer needs it.
pub fn answer(ask: &Ask<'_>, overview: &dyn Fn() -> Overview, refresh_default: u32) -> Answer {
    if !matches!(ask.method, "GET" | "HEAD") {
        return Answer::Whole(Reply::refusal(
            405,
            "This page can be read, and nothing else.",
        ));
    }
    let (path, query) = ask.target.split_once('?').unwrap_or((ask.target, ""));
    Answer::Whole(match (path, ask.from) {
        ("/", _) => {
            if let Some(seconds) = chosen_refresh(query) {
                remember(seconds)
            } else {
                let refresh = cookie_refresh(ask.cookie).unwrap_or(refresh_default);
                Reply::html(200, pages::page(&overview(), refresh))
            }
        }
        ("/api/v1/status", _) => Reply::new(
            200,
            "application/json",
            format!("{:#}\n", overview().json()),
        ),
        ("/metrics", _) => Reply::new(200, metrics::CONTENT_TYPE, metrics::metrics(&overview())),
        ("/healthz", _) => Reply::new(200, "text/plain; charset=utf-8", "ok\n".to_owned()),
        ("/status.txt", _) => Reply::new(200, "text/plain; charset=utf-8", text(&overview())),
        ("/export", From::Socket) => return Answer::Rows(Format::JsonLines),
        ("/export.csv", From::Socket) => return Answer::Rows(Format::Csv),
        ("/originals", From::Socket) => match originals(query) {
            Some(originals) => return Answer::Originals(originals),
            None => Reply::refusal(400, "Ask for from=ID or at=PATH&at=PATH…"),
        },
        _ => Reply::refusal(404, "There is no such page."),
    })
}

fn originals(query: &str) -> Option<Originals> {
    if let Some(id) = query.strip_prefix("from=") {
        return Some(Originals::From(AssetId(id.parse().ok()?)));
    }
    let paths = query
        .split('&')
        .map(|path| row::path_of(path.strip_prefix("at=")?));
    Some(Originals::At(paths.collect::<Option<_>>()?))
}

/// The interval in `refresh=…`, if it is one of those offered.
fn chosen_refresh(query: &str) -> Option<u32> {
    query
        .split('&')
        .find_map(|pair| pair.strip_prefix("refresh="))
        .and_then(offered)
}

fn cookie_refresh(cookie: Option<&str>) -> Option<u32> {
    cookie?
        .split(';')
        .find_map(|pair| pair.trim().strip_prefix("refresh="))
        .and_then(offered)
}

fn offered(text: &str) -> Option<u32> {
    let seconds = text.parse().ok()?;
    pages::REFRESH_CHOICES
        .iter()
        .any(|&(choice, _)| choice == seconds)
        .then_some(seconds)
}

/// Sets the cookie and goes back to the page, so that a reload does not set it again.
fn remember(seconds: u32) -> Reply {
    let cookie =
        format!("refresh={seconds}; Path=/; Max-Age={COOKIE_AGE}; SameSite=Strict; HttpOnly");
    let mut reply = Reply::refusal(303, "The interval is set.");
    reply.extra.push(("Location", "/".to_owned()));
    reply.extra.push(("Set-Cookie", cookie));
    reply
}

/// The words for a status code.
pub fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        303 => "See Other",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        421 => "Misdirected Request",
        431 => "Request Header Fields Too Large",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Internal Server Error",
    }
}
