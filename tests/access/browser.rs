//! A browser as far as these tests need one: sends what it is told, and keeps one cookie.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use photo_factory::dashboard::request::{Method, encoded};
use photo_factory::dashboard::routes::Route;
use rustix::net::{AddressFamily, SocketType};

use crate::factory::{Factory, PATIENCE};

pub(crate) const PASSWORD: &str = "quite a long password";

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.head.lines().filter_map(|line| line.split_once(": "));
        let found = headers.find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value)
    }

    /// The token in the page's form.
    pub(crate) fn form_token(&self) -> String {
        let (_, rest) = self.body.split_once("name=\"token\" value=\"").unwrap();
        rest.split('"').next().unwrap().to_owned()
    }

    /// Whether it asks to sign in.
    pub(crate) fn asks_for_password(&self) -> bool {
        let leads_there = |to: &str| to.starts_with("/sign-in");
        self.status == 401 || self.header("Location").is_some_and(leads_there)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Browser {
    to: SocketAddr,
    from: Ipv4Addr,
    pub(crate) host: String,
    pub(crate) cookie: Option<String>,
    /// More headers, each with its line end.
    pub(crate) more: String,
}

impl Browser {
    pub(crate) fn new(factory: &Factory) -> Self {
        Self {
            to: factory.address().parse().unwrap(),
            from: Ipv4Addr::LOCALHOST,
            host: factory.address().to_owned(),
            cookie: None,
            more: String::new(),
        }
    }

    /// The same at another address of this machine.
    pub(crate) fn at(mut self, from: [u8; 4]) -> Self {
        self.from = from.into();
        self
    }

    pub(crate) fn with(mut self, header: &str) -> Self {
        self.more.push_str(header);
        self.more.push_str("\r\n");
        self
    }

    pub(crate) fn with_cookie(mut self, cookie: &str) -> Self {
        self.cookie = Some(cookie.to_owned());
        self
    }

    pub(crate) fn get(&self, target: &str) -> Answer {
        self.send("GET", target, "")
    }

    pub(crate) fn post(&self, target: &str, fields: &[(&str, &str)]) -> Answer {
        let pairs = fields
            .iter()
            .map(|(name, value)| format!("{name}={}", encoded(value)));
        let body = pairs.collect::<Vec<_>>().join("&");
        let form = format!(
            "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n",
            body.len()
        );
        self.clone()
            .with(form.trim_end())
            .send("POST", target, &body)
    }

    /// Asks for a route by its own method, `{}` standing for `part`.
    pub(crate) fn ask(&self, route: &Route, part: &str, fields: &[(&str, &str)]) -> Answer {
        let path = route.path.replace("{}", part);
        match route.method {
            Method::Post => self.post(&path, fields),
            Method::Get | Method::Head => self.get(&path),
        }
    }

    /// Fills in the form and sends it.
    pub(crate) fn try_password(&self, password: &str) -> Answer {
        let token = self.get("/sign-in").form_token();
        self.post("/sign-in", &[("token", &token), ("password", password)])
    }

    /// Signed in; panics where it is not let in.
    pub(crate) fn signed_in(self) -> Self {
        let answer = self.try_password(PASSWORD);
        assert_eq!(answer.status, 303, "{answer:?}");
        let cookie = answer.header("Set-Cookie").unwrap();
        let cookie = cookie.split(';').next().unwrap().to_owned();
        self.with_cookie(&cookie)
    }

    pub(crate) fn send(&self, method: &str, target: &str, body: &str) -> Answer {
        let cookie = self.cookie.as_ref();
        let cookie = cookie.map_or(String::new(), |cookie| format!("Cookie: {cookie}\r\n"));
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: {}\r\n{cookie}{}\r\n{body}",
            self.host, self.more
        );
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        rustix::net::bind(&socket, &SocketAddr::from((self.from, 0))).unwrap();
        rustix::net::connect(&socket, &self.to).unwrap();
        let mut stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer
            .split_once("\r\n\r\n")
            .unwrap_or_else(|| panic!("{method} {target}: {answer:?}"));
        Answer {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }
}
