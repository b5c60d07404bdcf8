//! Where Syncthing's page is: what was typed, or what its own settings say, as something that can be called.

use std::net::IpAddr;
use std::path::PathBuf;

/// Syncthing's usual port.
const PORT: u16 = 8384;

/// A place that can be called.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address {
    /// Whether it is called with TLS.
    pub tls: bool,
    /// Host and port, and the path where a proxy has put it below one; Syncthing checks them as the Host header.
    host: String,
    /// The Unix socket that is called in the host's place.
    pub socket: Option<PathBuf>,
}

impl Address {
    /// Takes `HOST:PORT`, `http://…`, `https://…`, `unix:///PATH` and `/PATH`. An address that means every address of this
    /// machine is called on loopback. `tls`: what holds where the address does not say.
    pub fn parse(typed: &str, tls: bool) -> Result<Self, String> {
        let typed = typed.trim();
        let (scheme, rest) = typed.split_once("://").unwrap_or(("", typed));
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "" | "unix" => tls,
            "http" => false,
            "https" | "unixs" => true,
            _ => return Err(wrong(typed)),
        };
        if rest.starts_with('/') && !scheme.to_ascii_lowercase().starts_with("http") {
            return Ok(Self {
                tls,
                host: "localhost".to_owned(),
                socket: Some(PathBuf::from(rest)),
            });
        }
        let is_odd = |c: char| c.is_whitespace() || c.is_control() || "@?#\"\\".contains(c);
        if scheme.to_ascii_lowercase().starts_with("unix") || rest.contains(is_odd) {
            return Err(wrong(typed));
        }
        let rest = rest.trim_end_matches('/');
        let end = rest.find('/').unwrap_or(rest.len());
        let (server, below) = rest.split_at(end);
        let (name, port) = name_and_port(server).ok_or_else(|| wrong(typed))?;
        let port = match (port, scheme) {
            (Some(port), _) => format!(":{port}"),
            (None, "") => format!(":{PORT}"),
            (None, _) => String::new(),
        };
        let name = match name {
            "" | "0.0.0.0" | "[::]" => "127.0.0.1",
            name => name,
        };
        Ok(Self {
            tls,
            host: format!("{name}{port}{below}"),
            socket: None,
        })
    }

    /// Where Syncthing listens when nobody says otherwise.
    pub fn usual() -> Self {
        Self {
            tls: false,
            host: format!("127.0.0.1:{PORT}"),
            socket: None,
        }
    }

    /// The URL of a path on it.
    pub fn url(&self, path: &str) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}{path}", self.host)
    }

    /// It for people.
    pub fn shown(&self) -> String {
        match &self.socket {
            Some(path) => crate::asset::shown(path),
            None => self.url(""),
        }
    }

    /// Whether nothing that is said to it leaves this machine.
    pub fn is_local(&self) -> bool {
        let server = self.host.split('/').next().unwrap_or_default();
        let name = name_and_port(server).map_or("", |(name, _)| name);
        let number = name.trim_start_matches('[').trim_end_matches(']');
        self.socket.is_some()
            || name == "localhost"
            || number.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
    }

    /// It with TLS, where a redirect to `location` asks for just that: the same server over `https`.
    pub fn over_tls(&self, location: &str) -> Option<Self> {
        let (scheme, rest) = location.split_once("://")?;
        let server = |whole: &str| {
            let end = whole.find(['/', '?', '#']).unwrap_or(whole.len());
            whole.split_at(end).0.to_ascii_lowercase()
        };
        let is_same = self.socket.is_some() || server(rest) == server(&self.host);
        let asks = !self.tls && scheme.eq_ignore_ascii_case("https") && is_same;
        asks.then(|| Self {
            tls: true,
            ..self.clone()
        })
    }

    /// Whether both mean the same place, whatever the way to it.
    pub fn is_same_place(&self, other: &Self) -> bool {
        (&self.host, &self.socket) == (&other.host, &other.socket)
    }
}

/// `[::1]:8384`, `name`, `:8384` in their parts.
fn name_and_port(server: &str) -> Option<(&str, Option<u16>)> {
    let colon = match server.rfind(']') {
        Some(end) => server.get(end..)?.find(':').map(|at| end + at),
        None => server.find(':'),
    };
    let Some(colon) = colon else {
        return (!server.is_empty()).then_some((server, None));
    };
    let (name, port) = server.split_at(colon);
    let port = port.trim_start_matches(':').parse().ok()?;
    Some((name, Some(port)))
}

fn wrong(typed: &str) -> String {
    format!(
        "`{}` is no address of Syncthing's page; give url under [syncthing] like \"http://127.0.0.1:8384\", \
         \"https://NAME:8384\", or \"unix:///PATH\"",
        crate::asset::one_line(typed)
    )
}

/// A name as part of a URL's query.
pub(super) fn encoded(name: &str) -> String {
    let parts = name.bytes().map(|byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(typed: &str) -> String {
        Address::parse(typed, false)
            .expect("must be taken")
            .url("/rest")
    }

    #[test]
    fn every_form_of_an_address_is_called_where_it_means() {
        assert_eq!(url("127.0.0.1:8384"), "http://127.0.0.1:8384/rest");
        assert_eq!(url("0.0.0.0:8385"), "http://127.0.0.1:8385/rest");
        assert_eq!(url("[::]:8384"), "http://127.0.0.1:8384/rest");
        assert_eq!(url(":8384"), "http://127.0.0.1:8384/rest");
        assert_eq!(url("[::1]:1"), "http://[::1]:1/rest");
        assert_eq!(url("nas"), "http://nas:8384/rest");
        assert_eq!(url("http://nas/syncthing/"), "http://nas/syncthing/rest");
        assert_eq!(url("https://nas:8384/"), "https://nas:8384/rest");
        let tls = Address::parse("127.0.0.1:8384", true).expect("must be taken");
        assert_eq!(tls.url("/"), "https://127.0.0.1:8384/");
        for typed in ["/run/syncthing", "unix:///run/syncthing"] {
            let socket = Address::parse(typed, false).expect("must be taken");
            assert_eq!(socket.socket.as_deref(), Some("/run/syncthing".as_ref()));
            assert_eq!(socket.url("/rest"), "http://localhost/rest");
            assert!(socket.is_local());
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_examples() {
        for typed in [
            "",
            "ftp://nas",
            "unix://run",
            "nas:port",
            "http://",
            "a b",
            "http://me@nas",
            "nas:99999",
        ] {
            let said = Address::parse(typed, false).expect_err(typed);
            assert!(said.contains("http://127.0.0.1:8384"), "{said}");
        }
    }

    #[test]
    fn what_stays_on_this_machine_is_known() {
        let is_local = |typed| {
            Address::parse(typed, false)
                .expect("must be taken")
                .is_local()
        };
        assert!(is_local("127.0.0.5:1") && is_local("[::1]:1") && is_local("http://localhost/x"));
        assert!(!is_local("nas:8384") && !is_local("192.168.1.2:8384"));
    }

    #[test]
    fn a_redirect_to_tls_on_the_same_server_is_followed_and_no_other() {
        let plain = Address::parse("127.0.0.1:8384", false).expect("must be taken");
        let over = plain.over_tls("https://127.0.0.1:8384/rest/noauth/health");
        assert_eq!(
            over.map(|to| to.url("")),
            Some("https://127.0.0.1:8384".to_owned())
        );
        assert_eq!(plain.over_tls("https://elsewhere:8384/"), None);
        assert_eq!(plain.over_tls("http://127.0.0.1:8384/"), None);
        assert_eq!(plain.over_tls("/login"), None);
    }

    #[test]
    fn a_folders_id_may_hold_anything() {
        assert_eq!(encoded("a b&c=ü"), "a%20b%26c%3D%C3%BC");
        assert_eq!(encoded("abcd-1234"), "abcd-1234");
    }
}
