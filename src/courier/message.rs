//! What the daemon and the courier tell each other: one JSON object a line, both ways.
//!
//! Bodies are JSON strings in which each character stands for one byte (U+0000 to U+00FF): most are text, and stay readable.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A courier that is not asked for so long ends by itself.
pub const IDLE: Duration = Duration::from_secs(30);

/// What the daemon asks.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// By HTTP.
    Ask(Request),
    /// By SMTP.
    Send(Mail),
}

/// What the courier replies to one question.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The server answered, whatever the status.
    Answered(Answer),
    /// The mail's server has taken it.
    Sent,
    /// Neither.
    Failed(Failed),
}

/// An HTTP method.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// GET; without a body.
    Get,
    /// POST.
    Post,
    /// PUT.
    Put,
}

/// Whom to believe that it is the server.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// Whom an authority vouches for that this machine knows, under the name that was called.
    Public,
    /// Anyone; the certificate's fingerprint is told. Nothing secret should be sent.
    FirstUse,
    /// The certificate with this fingerprint ([`fingerprint_of`]'s form), and nobody else: a request to any other server, or
    /// to one without TLS, is not sent.
    Pinned(String),
}

/// One HTTP request. Redirects are shown, never followed.
#[derive(Clone, Serialize, Deserialize)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// `http://` or `https://`.
    pub url: String,
    /// The Unix socket to call through, in place of the address in `url`.
    pub socket: Option<PathBuf>,
    /// Header names and values, besides Host and Content-Length.
    pub headers: Vec<(String, String)>,
    /// The body; empty: none.
    #[serde(with = "bytes")]
    pub body: Vec<u8>,
    /// From the look-up of the name to the last byte of the answer.
    pub deadline: Duration,
    /// Bytes of the answer's body at most; a longer one is [`Failed::Refused`].
    pub answer_limit: usize,
    /// Whom to believe.
    pub trust: Trust,
}

impl fmt::Debug for Request {
    /// Without what may be secret: headers, body, and the path in the address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("server", &server_of(&self.url))
            .field("socket", &self.socket)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

/// The server's part of an address: `https://ntfy.example/topic` is `ntfy.example`. The rest may be secret.
pub fn server_of(url: &str) -> &str {
    let after = url.split_once("://").map_or(url, |(_, after)| after);
    let authority = after.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit('@').next().unwrap_or_default()
}

/// What a server answered.
#[derive(Clone, Serialize, Deserialize)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The Content-Type header.
    pub content_type: Option<String>,
    /// The Location header: where a redirect leads.
    pub location: Option<String>,
    /// The body.
    #[serde(with = "bytes")]
    pub body: Vec<u8>,
    /// From the connection's beginning to the last byte.
    pub took: Duration,
    /// The fingerprint of the server's certificate ([`fingerprint_of`]), with TLS.
    pub certificate: Option<String>,
}

impl fmt::Debug for Answer {
    /// Without the body.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.status)
            .field("bytes", &self.body.len())
            .field("took", &self.took)
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

/// How a mail's way to its server is kept secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Security {
    /// TLS from the first byte, usually on port 465.
    Tls,
    /// TLS after STARTTLS, usually on port 587; a server that does not offer it is refused.
    StartTls,
    /// Not at all. A password is sent to this machine only.
    None,
}

/// One mail in plain text.
#[derive(Clone, Serialize, Deserialize)]
pub struct Mail {
    /// The server's name or address.
    pub server: String,
    /// Its port.
    pub port: u16,
    /// How the way there is kept secret.
    pub security: Security,
    /// The user to log in as; `None`: no login.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<String>,
    /// The sender: `anna@example.org` or `Anna <anna@example.org>`.
    pub from: String,
    /// The recipients, in the same form.
    pub to: Vec<String>,
    /// The subject.
    pub subject: String,
    /// The text, of lines that end in `\n`.
    pub text: String,
    /// For all of it.
    pub deadline: Duration,
    /// Whom to believe.
    pub trust: Trust,
}

impl fmt::Debug for Mail {
    /// Without user, password, subject and text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mail")
            .field("server", &self.server)
            .field("port", &self.port)
            .field("security", &self.security)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

/// Why there is no answer. As text, a phrase for the owner that goes on from the server's name; never a header, a password or a
/// body.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failed {
    /// There is no courier; why.
    Absent(String),
    /// No connection; why.
    Unreachable(String),
    /// No answer within the deadline.
    TimedOut,
    /// The server's certificate is not one to believe. Nothing was sent.
    Certificate {
        /// The pinned fingerprint; `None`: any that an authority vouches for.
        wanted: Option<String>,
        /// The server's.
        found: String,
    },
    /// The server, or what it speaks, does not go with the question; what it said.
    Refused(String),
    /// The courier died or talked nonsense.
    Broken(String),
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent(why) => write!(f, "can't be asked: {why}"),
            Self::Unreachable(why) => write!(
                f,
                "can't be reached: {why}; check its address, and that it runs"
            ),
            Self::TimedOut => f.write_str("did not answer in time; check that it runs"),
            Self::Certificate {
                wanted: Some(_),
                found,
            } => write!(
                f,
                "shows another certificate than the settings name; nothing was sent. If it was given a new one, \
                 set certificate = \"{found}\"; if not, someone else may be answering"
            ),
            Self::Certificate {
                wanted: None,
                found,
            } => write!(
                f,
                "shows a certificate that no authority known here vouches for under this name and today; nothing was sent. \
                 If the server is your own, set certificate = \"{found}\""
            ),
            Self::Refused(why) => write!(f, "refuses: {why}"),
            Self::Broken(why) => write!(f, "can't be asked: photo-factory-courier failed: {why}"),
        }
    }
}

impl std::error::Error for Failed {}

/// A fingerprint in the one form that is compared: 64 small hexadecimal digits. Takes colons and large ones as `openssl x509
/// -fingerprint -sha256` writes them; `None`: it is none.
pub fn fingerprint_of(typed: &str) -> Option<String> {
    let digits = typed.chars().filter(|&c| c != ':' && c != ' ');
    let digits: String = digits.map(|c| c.to_ascii_lowercase()).collect();
    let is_one = digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_one.then_some(digits)
}

/// Bytes as a string of characters below U+0100.
mod bytes {
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::Serializer;

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        let text: String = bytes.iter().copied().map(char::from).collect();
        to.serialize_str(&text)
    }

    pub(super) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        text.chars()
            .map(|c| u8::try_from(u32::from(c)))
            .collect::<Result<_, _>>()
            .map_err(Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_of_a_body_comes_through_the_line() {
        let answer = Answer {
            status: 200,
            content_type: None,
            location: None,
            body: (0..=255).collect(),
            took: Duration::ZERO,
            certificate: None,
        };
        let line = serde_json::to_string(&answer).expect("must be written");
        assert!(!line.contains('\n'));
        let read: Answer = serde_json::from_str(&line).expect("must be read");
        assert_eq!(read.body, answer.body);
    }

    #[test]
    fn a_fingerprint_is_taken_as_openssl_writes_it() {
        let plain = "ab".repeat(32);
        assert_eq!(fingerprint_of(&plain), Some(plain.clone()));
        assert_eq!(fingerprint_of(&["AB"; 32].join(":")), Some(plain));
        assert_eq!(fingerprint_of("ab"), None);
        assert_eq!(fingerprint_of(&"xy".repeat(32)), None);
    }

    #[test]
    fn of_an_address_only_the_server_is_told() {
        assert_eq!(
            server_of("https://anna:word@hooks.example:8443/T0/secret"),
            "hooks.example:8443"
        );
        assert_eq!(server_of("http://ntfy.example"), "ntfy.example");
        assert_eq!(server_of("http://h?key=secret"), "h");
    }
}
