//! A request, as far as the routes look at it.

use std::net::IpAddr;

/// What is asked to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    /// Show it.
    Get,
    /// Show its headers.
    Head,
    /// Do it.
    Post,
}

impl Method {
    /// By its name; `None`: none of ours.
    pub fn of(name: &str) -> Option<Self> {
        match name {
            "GET" => Some(Self::Get),
            "HEAD" => Some(Self::Head),
            "POST" => Some(Self::Post),
            _ => None,
        }
    }
}

/// Where a request came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum From {
    /// Over the socket in the data folder: a command of the owner.
    Socket,
    /// Through the gate.
    Network {
        /// Whose address.
        address: IpAddr,
        /// Whether it was encrypted.
        is_tls: bool,
    },
}

/// A request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request<'a> {
    /// What is to be done.
    pub method: Method,
    /// The path, as it was sent: percent-encoded.
    pub path: &'a str,
    /// What follows the question mark.
    pub query: &'a str,
    /// The `Cookie` header.
    pub cookie: Option<&'a str>,
    /// The `Authorization` header.
    pub authorization: Option<&'a str>,
    /// The `If-None-Match` header.
    pub if_none_match: Option<&'a str>,
    /// Whether the answer may be gzipped.
    pub takes_gzip: bool,
    /// The name the page was called by.
    pub host: &'a str,
    /// The `Origin` header.
    pub origin: Option<&'a str>,
    /// The `Sec-Fetch-Site` header.
    pub fetch_site: Option<&'a str>,
    /// A form's fields, `application/x-www-form-urlencoded`.
    pub body: &'a str,
    /// Where it came from.
    pub from: From,
}

impl<'a> Request<'a> {
    /// A plain `GET` of a target, for commands and tests.
    pub fn get(target: &'a str, from: From) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Self {
            method: Method::Get,
            path,
            query,
            cookie: None,
            authorization: None,
            if_none_match: None,
            takes_gzip: false,
            host: "localhost",
            origin: None,
            fetch_site: None,
            body: "",
            from,
        }
    }

    /// A value of the query, decoded; `None`: not there, empty, or no text.
    pub fn query_value(&self, name: &str) -> Option<String> {
        value_in(self.query, name)
    }

    /// A field of the form.
    pub fn form_value(&self, name: &str) -> Option<String> {
        value_in(self.body, name)
    }

    /// A cookie's value.
    pub fn cookie_value(&self, name: &str) -> Option<&'a str> {
        let mut pairs = self
            .cookie?
            .split(';')
            .map(|pair| pair.trim().split_once('='));
        pairs.find_map(|pair| {
            pair.filter(|(known, _)| *known == name)
                .map(|(_, value)| value)
        })
    }
}

fn value_in(pairs: &str, name: &str) -> Option<String> {
    let mut pairs = pairs.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(known, _)| *known == name)?;
    decoded(value, true).filter(|value| !value.is_empty())
}

/// Percent-decoded; in a form or a query a plus is a space. `None`: malformed, or no text.
pub fn decoded(text: &str, is_form: bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let value = digit(rest.next())? * 16 + digit(rest.next())?;
                u8::try_from(value).ok()?
            }
            b'+' if is_form => b' ',
            byte => byte,
        });
    }
    String::from_utf8(bytes)
        .ok()
        .filter(|text| !text.contains('\0'))
}

/// Percent-encoded: fit for a path's part, a query's value or a form's.
pub fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            byte => {
                const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
                out.push('%');
                out.push(char::from(DIGITS[usize::from(byte >> 4)]));
                out.push(char::from(DIGITS[usize::from(byte & 15)]));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_and_decoded() {
        let request = Request {
            cookie: Some("a=1; session=x; b="),
            ..Request::get("/photos?text=caf%C3%A9+au&x=%zz&day=", From::Socket)
        };
        assert_eq!(request.query_value("text").as_deref(), Some("café au"));
        assert_eq!(request.query_value("x"), None);
        assert_eq!(request.query_value("day"), None);
        assert_eq!(request.cookie_value("session"), Some("x"));
        assert_eq!(request.cookie_value("sess"), None);
        assert_eq!(
            decoded(&encoded("a/b c+ü%"), false).as_deref(),
            Some("a/b c+ü%")
        );
    }
}
