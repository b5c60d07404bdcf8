//! The head of a request: what of it is understood and let through, and how it is written anew. No sockets.

use std::fmt::Write;
use std::net::IpAddr;

use crate::dashboard::reply::Reply;
use crate::dashboard::request::From;

/// Headers at most.
const HEADER_LIMIT: usize = 64;

/// Bytes of a form at most.
pub const BODY_LIMIT: usize = 16 * 1024;

/// The mark of a request that came through the gate; the socket's own clients do not set it, and no client of the gate can unset it.
pub const VIA: &str = "1.1 photo-factory";

/// The only type of content that is taken: what a page's own form sends.
const FORM: &str = "application/x-www-form-urlencoded";

/// Headers that go on as they are, and those that may be named once only.
const PASSED: [(&str, Times); 7] = [
    ("Host", Times::Once),
    ("Cookie", Times::Once),
    ("Authorization", Times::Once),
    ("Origin", Times::Once),
    ("Sec-Fetch-Site", Times::Once),
    ("If-None-Match", Times::Once),
    ("Accept-Encoding", Times::Gzip),
];

/// How a header is let through.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Times {
    /// As it is; naming it twice is an error, for it could be understood in two ways.
    Once,
    /// As `gzip`, where it has that word.
    Gzip,
}

/// What a request's head says, as far as it is let through.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head {
    method: &'static str,
    target: String,
    /// Of [`PASSED`], by its place.
    values: [Option<String>; PASSED.len()],
    /// Bytes that follow the head.
    body_length: usize,
}

impl Head {
    /// Reads a head (without its blank line). `Err` is the answer to send.
    pub fn parse(head: &[u8], hosts: &[String]) -> Result<Self, Reply> {
        let bad = |why| Reply::refusal(400, why);
        let head = std::str::from_utf8(head).map_err(|_utf8| bad("The request is not text."))?;
        let mut lines = head.split("\r\n");
        let (method, target) = request_line(lines.next().unwrap_or_default())?;
        let mut values = [const { None }; PASSED.len()];
        let (mut length, mut content_type) = (None, None);
        for (count, line) in lines.enumerate() {
            let Some((name, value)) = line.split_once(':') else {
                return Err(bad("A header is malformed."));
            };
            if count >= HEADER_LIMIT || name.is_empty() || !is_graphic(name) {
                return Err(bad("The headers are malformed, or too many."));
            }
            let value = value.trim_matches([' ', '\t']);
            let is = |known: &str| name.eq_ignore_ascii_case(known);
            let slot = PASSED.iter().zip(&mut values);
            let twice = if let Some(((_, times), slot)) =
                slot.into_iter().find(|((known, _), _)| is(known))
            {
                let is_printable = value.bytes().all(|byte| (b' '..0x7f).contains(&byte));
                match times {
                    Times::Once if is_printable => slot.replace(value.to_owned()).is_some(),
                    Times::Gzip if has_gzip(value) => {
                        *slot = Some("gzip".to_owned());
                        false
                    }
                    Times::Once | Times::Gzip => false,
                }
            } else if is("Content-Length") {
                length.replace(value).is_some()
            } else if is("Content-Type") {
                content_type.replace(value).is_some()
            } else if is("Transfer-Encoding") {
                return Err(bad("This page takes no content whose length is not said."));
            } else {
                false
            };
            if twice {
                return Err(bad("A header is named twice."));
            }
        }
        let [host, ..] = &values;
        if !host.as_ref().is_some_and(|host| is_known_host(host, hosts)) {
            return Err(Reply::refusal(
                421,
                "This name is not one of this appliance's. Use its address, its name ending in .local, or add the name to [dashboard] hosts.",
            ));
        }
        let body_length = if method == "POST" {
            form_length(length, content_type)?
        } else if matches!(length, None | Some("0")) {
            0
        } else {
            return Err(bad("A request to read this page carries no content."));
        };
        Ok(Self {
            method,
            target: target.to_owned(),
            values,
            body_length,
        })
    }

    /// Bytes of the form that follows.
    pub fn body_length(&self) -> usize {
        self.body_length
    }

    /// The request that goes on to the socket: nothing but what was let through, in our own spelling, and from whom it came.
    pub fn request(&self, address: IpAddr, is_tls: bool) -> String {
        let proto = if is_tls { "https" } else { "http" };
        let mut request = [self.method, " ", &self.target, " HTTP/1.1\r\n"].concat();
        // Writing to a string can't fail.
        write!(
            request,
            "Via: {VIA}\r\nForwarded: for=\"{}\";proto={proto}\r\nConnection: close\r\n",
            address.to_canonical()
        )
        .unwrap_or_default();
        for ((name, _), value) in PASSED.iter().zip(&self.values) {
            if let Some(value) = value {
                request.extend([name, ": ", value, "\r\n"]);
            }
        }
        if self.method == "POST" {
            let length = self.body_length.to_string();
            request.extend([
                "Content-Type: ",
                FORM,
                "\r\nContent-Length: ",
                &length,
                "\r\n",
            ]);
        }
        request.push_str("\r\n");
        request
    }
}

/// From whom a request came, by the `Forwarded` header that [`Head::request`] wrote. What is not understood is nobody's address.
pub fn sender(forwarded: &str) -> From {
    let address = forwarded.split('"').nth(1);
    From::Network {
        address: address
            .and_then(|address| address.parse().ok())
            .unwrap_or(IpAddr::from([0; 4])),
        is_tls: forwarded.ends_with("proto=https"),
    }
}

/// The method and the target.
fn request_line(line: &str) -> Result<(&'static str, &str), Reply> {
    let mut words = line.split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Reply::refusal(
            400,
            "The request's first line is malformed.",
        ));
    };
    if !matches!(version, "HTTP/1.0" | "HTTP/1.1") {
        return Err(Reply::refusal(
            505,
            "This page is served by HTTP/1.0 and HTTP/1.1.",
        ));
    }
    let method = match method {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        _ => {
            return Err(Reply::refusal(
                405,
                "This page can be read, and its forms can be sent, and nothing else.",
            ));
        }
    };
    if !target.starts_with('/') || !is_graphic(target) {
        return Err(Reply::refusal(400, "The request's target is malformed."));
    }
    Ok((method, target))
}

/// Whether this is what a browser makes of a form's fields (WHATWG URL Standard, 5.2).
pub fn is_form(body: &[u8]) -> bool {
    body.iter().all(u8::is_ascii_graphic)
}

/// The length of a form that is sent.
fn form_length(length: Option<&str>, content_type: Option<&str>) -> Result<usize, Reply> {
    let Some(length) = length else {
        return Err(Reply::refusal(411, "The length of the form is not said."));
    };
    if length.is_empty() || !length.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Reply::refusal(400, "The length of the form is malformed."));
    }
    // Only digits: what can't be parsed is too large.
    let length = length.parse().unwrap_or(usize::MAX);
    if length > BODY_LIMIT {
        return Err(Reply::refusal(413, "The form is too large."));
    }
    let media_type = content_type.and_then(|typed| typed.split(';').next());
    if !media_type.is_some_and(|media_type| media_type.trim().eq_ignore_ascii_case(FORM)) {
        return Err(Reply::refusal(415, "Only a form can be sent to this page."));
    }
    Ok(length)
}

fn is_graphic(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Whether gzip is among the encodings that are taken: named, and not with a weight of 0 (RFC 9110, 12.5.3).
fn has_gzip(value: &str) -> bool {
    value.split(',').any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let zero = weight.trim().trim_end_matches(['0', '.']);
        name.trim().eq_ignore_ascii_case("gzip") && !zero.eq_ignore_ascii_case("q=")
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    const STRANGER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 168, 1, 7));

    fn parse(first: &str, headers: &[&str]) -> Result<Head, u16> {
        let head = [&[first, "Host: nas.local"], headers].concat().join("\r\n");
        Head::parse(head.as_bytes(), &[]).map_err(|refusal| refusal.status)
    }

    fn passed(first: &str, headers: &[&str]) -> String {
        parse(first, headers).unwrap().request(STRANGER, false)
    }

    const POST: &str = "POST /sign-in HTTP/1.1";
    const IS_FORM: &str = "Content-Type: application/x-www-form-urlencoded";

    #[test]
    fn only_known_headers_go_on_and_a_clients_own_marks_do_not() {
        let request = passed(
            "GET /a?b=c HTTP/1.0",
            &[
                "via: 1.0 evil",
                "Forwarded: for=127.0.0.1",
                "X-Forwarded-For: 127.0.0.1",
                "COOKIE:  session=1; refresh=5 ",
                "authorization: Bearer x",
                "Accept-Encoding: br, gzip;q=0.8",
                "If-None-Match: \"1\"",
                "Origin: http://nas.local",
                "Sec-Fetch-Site: same-origin",
                "User-Agent: x",
            ],
        );
        assert_eq!(
            request,
            "GET /a?b=c HTTP/1.1\r\nVia: 1.1 photo-factory\r\nForwarded: for=\"192.168.1.7\";proto=http\r\nConnection: close\r\n\
             Host: nas.local\r\nCookie: session=1; refresh=5\r\nAuthorization: Bearer x\r\nOrigin: http://nas.local\r\n\
             Sec-Fetch-Site: same-origin\r\nIf-None-Match: \"1\"\r\nAccept-Encoding: gzip\r\n\r\n"
        );
        let mapped = parse("GET / HTTP/1.1", &[])
            .unwrap()
            .request("::ffff:10.0.0.1".parse().unwrap(), true);
        let forwarded = "for=\"10.0.0.1\";proto=https";
        assert!(mapped.contains(&format!("\r\nForwarded: {forwarded}\r\n")));
        let address = IpAddr::from([10, 0, 0, 1]);
        let from = From::Network {
            address,
            is_tls: true,
        };
        assert_eq!(sender(forwarded), from);
    }

    #[test]
    fn a_form_needs_its_type_and_a_length_that_is_not_large() {
        let post = |headers: &[&str]| parse(POST, headers).map(|head| head.body_length());
        assert_eq!(post(&[IS_FORM, "Content-Length: 16384"]), Ok(16_384));
        assert_eq!(post(&[IS_FORM, "Content-Length: 0"]), Ok(0));
        let with_charset = "content-type: Application/X-WWW-Form-Urlencoded; charset=UTF-8";
        assert_eq!(post(&[with_charset, "content-length: 1"]), Ok(1));
        for (headers, status) in [
            (&[IS_FORM][..], 411),
            (&[IS_FORM, "Content-Length: 16385"], 413),
            (&[IS_FORM, "Content-Length: 99999999999999"], 413),
            (&[IS_FORM, "Content-Length: 99999999999999999999999"], 413),
            (&[IS_FORM, "Content-Length: +1"], 400),
            (&[IS_FORM, "Content-Length: -1"], 400),
            (&[IS_FORM, "Content-Length:"], 400),
            (&[IS_FORM, "Content-Length: 1", "Content-Length: 1"], 400),
            (
                &[IS_FORM, "Content-Length: 1", "Transfer-Encoding: chunked"],
                400,
            ),
            (&["Content-Length: 1"], 415),
            (&["Content-Length: 1", "Content-Type: text/plain"], 415),
            (
                &["Content-Length: 1", "Content-Type: multipart/form-data"],
                415,
            ),
        ] {
            assert_eq!(post(headers), Err(status), "{headers:?}");
        }
        for first in ["GET / HTTP/1.1", "HEAD / HTTP/1.1"] {
            assert!(parse(first, &["Content-Length: 0"]).is_ok());
            assert_eq!(parse(first, &[IS_FORM, "Content-Length: 1"]), Err(400));
        }
    }

    #[test]
    fn a_header_that_could_be_understood_in_two_ways_is_refused() {
        for twice in [
            "Host: nas.local",
            "Cookie: a=b",
            "Authorization: x",
            "Origin: x",
        ] {
            let twice = [twice, twice];
            assert_eq!(parse("GET / HTTP/1.1", &twice), Err(400), "{twice:?}");
        }
        for broken in ["Cookie : a=b", " folded: x", "Content-Length : 5", "none"] {
            assert_eq!(parse("GET / HTTP/1.1", &[broken]), Err(400), "{broken}");
        }
    }

    #[test]
    fn gzip_is_told_on_only_where_it_is_taken() {
        let is_told = |value: &str| {
            let header = format!("Accept-Encoding: {value}");
            passed("GET / HTTP/1.1", &[&header]).contains("Accept-Encoding: gzip\r\n")
        };
        for value in ["gzip", "br, GZIP", "deflate;q=0.5,gzip;q=0.01", "gzip; q=1"] {
            assert!(is_told(value), "{value}");
        }
        for value in ["", "br", "gzip;q=0", "gzip; q=0.000", "gzipped", "x-gzip"] {
            assert!(!is_told(value), "{value}");
        }
    }
}
