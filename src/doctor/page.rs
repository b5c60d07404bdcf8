//! Whether strangers are kept out of the page, and its owner is let in.

use super::{Check, typed};
use crate::config::Config;
use crate::dashboard::access::keys::Keys;
use crate::dashboard::access::password;
use crate::dashboard::front;

/// The password, who can reach the page, and the certificate.
pub(super) fn examine(config: &Config) -> Vec<Check> {
    let keys = Keys::new(&config.data);
    let is_local = config.listen.ip().is_loopback();
    let mut checks = vec![key(&keys, is_local)];
    if let Ok(Some(_)) = keys.first() {
        checks.push(
            Check::note(
                "password",
                "the password that was made at the first start was not shown yet",
                "Until then it is kept in Data in clear.",
            )
            .then("photo-factory password"),
        );
    }
    checks.extend(keys.exposed().iter().map(|path| {
        Check::finding(
            "password",
            format!("others can read {}", path.display()),
            "From what is kept of a password it can be guessed, given time.",
        )
        .then(format!("chmod 600 {}", typed(path)))
    }));
    match &config.tls {
        Some(tls) => checks.push(match front::check(config, tls) {
            Ok(()) => Check::well("certificate", format!("{} goes with its key", tls.certificate.display())),
            Err(why) => Check::finding("certificate", why, "Without it Photo Factory does not start: its page is to be served by TLS.")
                .then("do what is said there, or leave out tls_cert and tls_key"),
        }),
        None if !is_local => checks.push(
            Check::note(
                "page",
                "it is served on the network without TLS",
                "Who can listen in on your network can read the password as it is typed. At home that may be nobody.",
            )
            .then("name a certificate: [dashboard] tls_cert and tls_key; the README says how to make one"),
        ),
        None => {}
    }
    checks
}

fn key(keys: &Keys, is_local: bool) -> Check {
    const WHY: &str = "Without the password the page tells only whether all is well.";
    match keys.password() {
        Ok(Some(line)) if password::is_hash(&line) => {
            Check::well("password", "the page asks for one")
        }
        Ok(Some(_)) => Check::finding(
            "password",
            "what is kept of it makes no sense, so nobody can sign in",
            WHY,
        )
        .then("photo-factory password --new"),
        Ok(None) if is_local => Check::well(
            "password",
            "none is set: the page is only served to this machine",
        ),
        Ok(None) => Check::note("password", "none is set yet; the next start makes one", WHY)
            .then("photo-factory password # after that, it shows it"),
        Err(error) => {
            Check::finding("password", error.to_string(), WHY).then("photo-factory password --new")
        }
    }
}
