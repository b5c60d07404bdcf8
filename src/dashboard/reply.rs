//! Answers: a status, a media type, a content, and the headers that every answer has.

use std::io::{self, Write};

use maud::Markup;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::pages;
use super::request::Request;
use crate::asset::crc32;

/// A content shorter than this is sent as it is: its head is as long.
const GZIP_FROM: usize = 1024;

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
    /// A reply of that type.
    pub fn new(status: u16, content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            content_type,
            extra: Vec::new(),
            body: body.into(),
        }
    }

    /// A page.
    pub fn html(status: u16, markup: Markup) -> Self {
        Self::new(status, "text/html; charset=utf-8", markup.into_string())
    }

    /// JSON, for people to read too.
    pub fn json(value: &Value) -> Self {
        Self::new(200, "application/json", format!("{value:#}\n"))
    }

    /// Plain text.
    pub fn text(text: String) -> Self {
        Self::new(200, "text/plain; charset=utf-8", text)
    }

    /// Go there instead, by `GET`.
    pub fn see_other(location: &str) -> Self {
        let mut reply = Self::refusal(303, "The answer is on another page.");
        reply.extra.push(("Location", location.to_owned()));
        reply
    }

    /// A page that says why there is nothing else.
    pub fn refusal(status: u16, sentence: &str) -> Self {
        let mut reply = Self::html(status, pages::plain_page(reason(status), sentence));
        if status == 405 {
            reply.extra.push(("Allow", "GET, HEAD".to_owned()));
        }
        reply
    }

    /// The same, in JSON.
    pub fn json_refusal(status: u16, sentence: &str) -> Self {
        let value = serde_json::json!({ "error": sentence });
        Self {
            status,
            ..Self::json(&value)
        }
    }

    /// With one more header.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.extra.push((name, value.into()));
        self
    }

    /// As this reader takes it: a short 304 where it has the content already, gzip where it pays.
    #[must_use]
    pub fn fitted(mut self, request: &Request<'_>) -> Self {
        if self.status == 200 && !self.content_type.starts_with("text/html") {
            let tag = tag_of(&self.body);
            if request
                .if_none_match
                .is_some_and(|known| names(known, &tag))
            {
                self.status = 304;
                self.body = Vec::new();
            }
            self.extra.push(("ETag", tag));
        }
        self.extra
            .push(("Vary", "Accept-Encoding, Cookie".to_owned()));
        if request.takes_gzip && self.body.len() >= GZIP_FROM {
            self.body = gzipped(&self.body);
            self.extra.push(("Content-Encoding", "gzip".to_owned()));
        }
        self
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

/// Weak, because gzipped or not the content is the same.
fn tag_of(body: &[u8]) -> String {
    let sum: [u8; 32] = Sha256::digest(body).into();
    let sum = sum
        .first_chunk()
        .map_or(0, |first| u128::from_be_bytes(*first));
    format!("W/\"{sum:032x}\"")
}

/// Whether an `If-None-Match` names this tag (RFC 9110, 13.1.2).
fn names(known: &str, tag: &str) -> bool {
    let plain = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    known.trim() == "*" || known.split(',').any(|known| plain(known) == plain(tag))
}

/// RFC 1952.
fn gzipped(body: &[u8]) -> Vec<u8> {
    /// Fast: a page is made for one reader, and the network is near.
    const LEVEL: u8 = 3;
    const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255];
    let mut out = HEAD.to_vec();
    out.extend(miniz_oxide::deflate::compress_to_vec(body, LEVEL));
    out.extend(crc32([body]).to_le_bytes());
    // Modulo 2^32, as the format has it.
    out.extend(
        (body.len() as u64 & 0xffff_ffff)
            .to_le_bytes()
            .iter()
            .take(4),
    );
    out
}

/// The status line and the headers that every reply has, without the blank line. With the policy `no-referrer`, browsers would
/// send our own forms with the origin `null` (Fetch Standard, "append a request Origin header").
pub fn head(status: u16, content_type: &str) -> String {
    format!(
        "HTTP/1.1 {status} {}\r\n\
         Content-Type: {content_type}\r\n\
         Content-Security-Policy: {}\r\n\
         X-Content-Type-Options: nosniff\r\n\
         X-Frame-Options: DENY\r\n\
         Referrer-Policy: same-origin\r\n\
         Cross-Origin-Resource-Policy: same-origin\r\n\
         Cache-Control: no-store\r\n\
         Connection: close\r\n",
        reason(status),
        *pages::CONTENT_SECURITY_POLICY,
    )
}

/// The words for a status code.
pub fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        303 => "See Other",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        411 => "Length Required",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        421 => "Misdirected Request",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Internal Server Error",
    }
}
