//! Who a visitor is: the owner, one with a token who may read, or a stranger; and whether a form is one of ours.
//!
//! The owner is who came over the socket in the data folder, who typed the password (`sign_in`), and, while no password is
//! set and the page is only served to this machine, everybody on it. [`keys`] holds what is in the data folder.
//!
//! A form counts only with a token that a page of ours gave to this very visitor, and only when the browser does not say
//! that another site sent it: so no other site can make the owner's browser do anything.

pub mod keys;
pub mod password;
pub mod sessions;
pub(super) mod sign_in;
pub mod tries;

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use photo_factory_kernel::memory;
use sha2::{Digest, Sha256};

use super::gate::slots::network;
use super::request::{From, Request};
use crate::config::Config;
use keys::{Keys, Mark, PASSWORD, TOKEN};
use sessions::{Session, Sessions};
use tries::Tries;

/// The cookie that holds a session's id.
const COOKIE: &str = "session";

/// The field of a form that holds its token.
pub const FORM_TOKEN: &str = "token";

/// Who asks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Visitor {
    /// Anybody: may see whether all is well.
    Stranger,
    /// Came with the token: may read.
    Reader,
    /// The owner: may read, and ask for the few actions there are.
    Owner,
}

/// Knows the password, the token and who is signed in.
#[derive(Debug)]
pub struct Access {
    keys: Keys,
    /// Whether nobody but this machine can reach the page.
    is_local: bool,
    /// For the tokens of forms; new with every start. Without it no form is ours.
    secret: Option<[u8; 32]>,
    known: Mutex<Known>,
    /// Held while a password is tried: one at a time, for each takes memory and time.
    trying: Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    sessions: Sessions,
    tries: Tries,
    password: Kept,
    token: Kept,
}

/// What was read of a file of [`Keys`].
#[derive(Debug, Default)]
struct Kept {
    /// Which file it was read from; `None` where there was none.
    mark: Option<Mark>,
    /// Empty where the file could not be read: that fits nothing.
    line: String,
}

/// How a try to sign in ended.
#[derive(Debug)]
enum Tried {
    /// The password is right: the new session's id.
    Right(String),
    /// It is wrong; how long to wait before the next.
    Wrong(Duration),
    /// Not tried: this address has to wait so long.
    Early(Duration),
    /// Not tried: none is set, or it can't be read.
    NoPassword,
    /// Not begun: the kernel has no random bytes.
    NoSession,
}

impl Access {
    /// By the keys in the data folder. Where others can reach the page and no password is set, one is made.
    pub fn new(config: &Config) -> Self {
        let (keys, is_local) = (Keys::new(&config.data), config.listen.ip().is_loopback());
        if !is_local && let Err(error) = keys.make_first() {
            log::error!("{error}. Until then the page tells only whether all is well");
        }
        Self {
            keys,
            is_local,
            secret: password::random().ok(),
            known: Mutex::default(),
            trying: Mutex::default(),
        }
    }

    /// Who asks.
    pub fn visitor(&self, request: &Request<'_>) -> Visitor {
        if request.from == From::Socket {
            return Visitor::Owner;
        }
        let mut known = self.known();
        if known.password.mark.is_none() && self.is_local {
            return Visitor::Owner;
        }
        if session(&mut known, request).is_some() {
            return Visitor::Owner;
        }
        let scheme_and_token = request
            .authorization
            .and_then(|value| value.split_once(' '));
        let is_reader = scheme_and_token.is_some_and(|(scheme, token)| {
            let sum = password::hex(&password::sum(token.trim()));
            scheme.eq_ignore_ascii_case("Bearer")
                && password::is_same(sum.as_bytes(), known.token.line.as_bytes())
        });
        if is_reader {
            Visitor::Reader
        } else {
            Visitor::Stranger
        }
    }

    /// The token for the forms of a page that this visitor gets: theirs alone, by their session, else by their address.
    pub fn form_token(&self, request: &Request<'_>) -> String {
        let Some(secret) = &self.secret else {
            return String::new();
        };
        let mut hash = Sha256::new_with_prefix(secret);
        match (session(&mut self.known(), request), request.from) {
            (Some(session), _) => {
                hash.update(b"session");
                hash.update(session);
            }
            (None, From::Network { address, .. }) => {
                hash.update(b"address");
                hash.update(network(address).to_string());
            }
            (None, From::Socket) => hash.update(b"socket"),
        }
        // Hashed twice, so that a longer text's hash can't be made of this one's.
        password::hex(&Sha256::digest(hash.finalize()))
    }

    /// Whether a form comes from a page of ours that this visitor got. A command's form needs no token: its socket is the proof.
    pub fn is_own_form(&self, request: &Request<'_>) -> bool {
        if request.from == From::Socket {
            return true;
        }
        let is_same_site = match (request.fetch_site, request.origin) {
            (Some(site), _) => matches!(site, "same-origin" | "none"),
            (None, Some(origin)) => origin
                .split_once("://")
                .is_some_and(|(_, host)| host.eq_ignore_ascii_case(request.host)),
            (None, None) => true,
        };
        let token = request.form_value(FORM_TOKEN).unwrap_or_default();
        let ours = self.form_token(request);
        is_same_site && !ours.is_empty() && password::is_same(token.as_bytes(), ours.as_bytes())
    }

    /// Whether this visitor came with a session, and could sign out.
    pub fn is_signed_in(&self, request: &Request<'_>) -> bool {
        session(&mut self.known(), request).is_some()
    }

    /// Tries a password. `None`: another one is being tried.
    fn tried(&self, password: &str, address: IpAddr) -> Option<Tried> {
        let _one_at_a_time = self.trying.try_lock().ok()?;
        if let Some(wait) = self.known().tries.wait(address, Instant::now()) {
            return Some(Tried::Early(wait));
        }
        let line = self.known().password.line.clone();
        if !password::is_hash(&line) {
            return Some(Tried::NoPassword);
        }
        let is_right = password::is_right(password, &line);
        // What trying it took is not needed for long.
        memory::give_back();
        let (mut known, now) = (self.known(), Instant::now());
        // It may have been changed meanwhile: then what was tried is no longer the password.
        if is_right && known.password.line == line {
            known.tries.clear(address);
            return Some(match known.sessions.begin(now) {
                Ok(id) => Tried::Right(id),
                Err(_) => Tried::NoSession,
            });
        }
        let (count, wait) = known.tries.note_wrong(address, now);
        log::warn!("the page: wrong password number {count} from {address}");
        Some(Tried::Wrong(wait))
    }

    fn sign_out(&self, request: &Request<'_>) {
        if let Some(id) = request.cookie_value(COOKIE) {
            self.known().sessions.end(id);
        }
    }

    /// What is known, with the keys as they are now. Another password ends every session.
    fn known(&self) -> MutexGuard<'_, Known> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if renewed(&mut known.password, self.keys.mark(PASSWORD), || {
            self.keys.password()
        }) {
            known.sessions.end_all();
        }
        renewed(&mut known.token, self.keys.mark(TOKEN), || {
            self.keys.token()
        });
        known
    }
}

/// Whether the file is another one now; then it is read.
fn renewed(
    kept: &mut Kept,
    mark: Option<Mark>,
    read: impl Fn() -> Result<Option<String>, keys::KeyError>,
) -> bool {
    let is_other = kept.mark != mark;
    if is_other {
        let line = read().unwrap_or_else(|error| {
            log::error!("{error}");
            None
        });
        *kept = Kept {
            mark,
            line: line.unwrap_or_default(),
        };
    }
    is_other
}

fn session(known: &mut Known, request: &Request<'_>) -> Option<Session> {
    let id = request.cookie_value(COOKIE)?;
    known.sessions.used(id, Instant::now())
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::path::PathBuf;

    use super::*;

    /// A folder that is removed with it.
    struct Root(PathBuf);

    impl Root {
        fn new(name: &str) -> Self {
            let root =
                std::env::temp_dir().join(format!("pf-access-{name}-{}", std::process::id()));
            std::fs::create_dir_all(root.join("Data")).unwrap();
            Self(root)
        }

        fn access(&self, listen: [u8; 4]) -> Access {
            let listen = SocketAddr::from((listen, 8380));
            Access::new(&Config::read(Some(&self.0), None, Some(listen)).unwrap())
        }

        fn keys(&self) -> Keys {
            Keys::new(&self.0.join("Data"))
        }
    }

    impl Drop for Root {
        #[expect(clippy::disallowed_methods, reason = "a test takes its folder away")]
        fn drop(&mut self) {
            drop(std::fs::remove_dir_all(&self.0));
        }
    }

    fn network(address: [u8; 4]) -> From {
        let address = address.into();
        From::Network {
            address,
            is_tls: false,
        }
    }

    #[test]
    fn p9_where_others_can_reach_the_page_a_password_is_made_and_strangers_are_strangers() {
        let root = Root::new("lan");
        let access = root.access([0, 0, 0, 0]);
        let first = root.keys().first().unwrap().unwrap();
        let here = Request::get("/", network([127, 0, 0, 1]));
        assert_eq!(access.visitor(&here), Visitor::Stranger);
        assert_eq!(
            access.visitor(&Request::get("/", From::Socket)),
            Visitor::Owner
        );
        let Some(Tried::Right(id)) = access.tried(&first, [127, 0, 0, 1].into()) else {
            panic!("the first password must be right");
        };
        let cookie = format!("session={id}");
        let signed_in = Request {
            cookie: Some(&cookie),
            ..here
        };
        assert_eq!(access.visitor(&signed_in), Visitor::Owner);
        // By hand or by a mistake: nobody gets in by a password that is not there.
        root.keys().remove_password().unwrap();
        assert_eq!(access.visitor(&signed_in), Visitor::Stranger);
        assert!(matches!(
            access.tried("", [127, 0, 0, 1].into()),
            Some(Tried::NoPassword)
        ));
    }

    #[test]
    fn on_this_machine_alone_no_password_is_needed_until_one_is_set() {
        let root = Root::new("local");
        let access = root.access([127, 0, 0, 1]);
        let here = Request::get("/", network([127, 0, 0, 1]));
        assert_eq!(access.visitor(&here), Visitor::Owner);
        assert!(root.keys().password().unwrap().is_none());
        root.keys().make_password().unwrap();
        assert_eq!(access.visitor(&here), Visitor::Stranger);
    }

    #[test]
    fn a_data_folder_that_is_gone_opens_nothing() {
        let root = Root::new("gone");
        let access = root.access([127, 0, 0, 1]);
        let here = Request::get("/", network([127, 0, 0, 1]));
        assert_eq!(access.visitor(&here), Visitor::Owner);
        root.keys().make_password().unwrap();
        #[expect(clippy::disallowed_methods, reason = "the test takes the folder away")]
        std::fs::rename(root.0.join("Data"), root.0.join("pulled-out")).unwrap();
        assert_eq!(access.visitor(&here), Visitor::Stranger);
        let tried = access.tried("", [127, 0, 0, 1].into());
        assert!(matches!(tried, Some(Tried::NoPassword)));
    }

    #[test]
    fn a_password_file_that_makes_no_sense_lets_nobody_in() {
        let root = Root::new("damaged");
        root.keys().make_password().unwrap();
        #[expect(clippy::disallowed_methods, reason = "the test damages the file")]
        std::fs::write(root.0.join("Data").join(PASSWORD), "").unwrap();
        let access = root.access([127, 0, 0, 1]);
        let here = Request::get("/", network([127, 0, 0, 1]));
        assert_eq!(access.visitor(&here), Visitor::Stranger);
        assert!(matches!(
            access.tried("", [127, 0, 0, 1].into()),
            Some(Tried::NoPassword)
        ));
    }

    #[test]
    fn a_form_is_ours_by_its_token_and_when_no_other_site_sent_it() {
        let root = Root::new("forms");
        let access = root.access([127, 0, 0, 1]);
        let plain = Request {
            host: "nas.local:8380",
            ..Request::get("/", network([10, 0, 0, 1]))
        };
        let body = format!("{FORM_TOKEN}={}", access.form_token(&plain));
        let sent = Request {
            body: &body,
            ..plain
        };
        assert!(access.is_own_form(&sent));
        let ours = Request {
            origin: Some("http://nas.local:8380"),
            ..sent
        };
        assert!(access.is_own_form(&ours));
        let behind_proxy = Request {
            fetch_site: Some("same-origin"),
            origin: Some("https://nas"),
            ..sent
        };
        assert!(access.is_own_form(&behind_proxy));
        for origin in ["http://evil.example", "null", "", "http://nas.local"] {
            let foreign = Request {
                origin: Some(origin),
                ..sent
            };
            assert!(!access.is_own_form(&foreign), "{origin}");
        }
        for site in ["cross-site", "same-site", ""] {
            let foreign = Request {
                fetch_site: Some(site),
                ..ours
            };
            assert!(!access.is_own_form(&foreign), "{site}");
        }
        let others = Request {
            from: network([10, 0, 0, 2]),
            ..sent
        };
        assert!(!access.is_own_form(&others), "another address's token");
        assert!(!access.is_own_form(&Request {
            body: "token=",
            ..plain
        }));
        assert!(!access.is_own_form(&plain));
        let restarted = root.access([127, 0, 0, 1]);
        assert!(!restarted.is_own_form(&sent), "a token of before the start");
    }
}
