//! Syncthing's REST interface, asked by the courier: first whether it is there, then, with the key, what it knows.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::address::{Address, encoded};
use super::facts::{self, Facts, InboxFolder, Progress};
use super::folder::{Folder, Kind};
use super::verdict::Phones;
use crate::courier::{Answer, Failed, Method, Request, Round, Trust};

/// How long one answer may take.
pub(super) const DEADLINE: Duration = Duration::from_secs(5);
/// How often the state of a folder is asked: Syncthing's documentation calls that expensive.
pub(super) const SPARINGLY: Duration = Duration::from_secs(300);
/// How long all questions of one look may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Whether it is there: asked without the key.
const HEALTH: &str = "/rest/noauth/health";
/// Bytes of an answer at most.
const LARGEST: usize = 4 << 20;

/// Who answered a greeting.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Presence {
    /// Syncthing.
    Alive,
    /// Syncthing 2, which moves its database into a new form first; that may take hours.
    Migrating,
    /// Syncthing, which does not answer to this host name.
    HostRefused,
    /// Something else; what it answered.
    Other(String),
}

/// What a greeting came to.
#[derive(Debug)]
pub(super) struct Greeted {
    /// The address that answered: with TLS, where Syncthing insists on it.
    pub(super) address: Address,
    pub(super) presence: Presence,
    /// The certificate it showed.
    pub(super) certificate: Option<String>,
    pub(super) took: Duration,
}

/// Asks whether it is there, without the key. With a `pin`, only the server with that certificate.
pub(super) fn greet(
    round: &mut Round,
    address: &Address,
    pin: Option<&str>,
) -> Result<Greeted, Failed> {
    let asked = get(round, address, trust(address, pin), HEALTH, None);
    let answer = match asked {
        // While it migrates, Syncthing 2 speaks plain HTTP, whatever its settings say.
        Err(failed @ (Failed::Refused(_) | Failed::Broken(_) | Failed::Unreachable(_)))
            if address.tls =>
        {
            return migrating(round, address).ok_or(failed);
        }
        asked => asked?,
    };
    let location = answer.location.as_deref().unwrap_or_default();
    let over_tls = address.over_tls(location);
    let (address, answer) = match over_tls.filter(|_| (300..400).contains(&answer.status)) {
        Some(address) => {
            let answer = get(round, &address, trust(&address, pin), HEALTH, None)?;
            (address, answer)
        }
        None => (address.clone(), answer),
    };
    Ok(Greeted {
        presence: presence(answer.status, &answer.body),
        address,
        certificate: answer.certificate,
        took: answer.took,
    })
}

/// The greeting of a Syncthing that answers without TLS, and only that it migrates.
fn migrating(round: &mut Round, address: &Address) -> Option<Greeted> {
    let mut address = address.clone();
    address.tls = false;
    let answer = get(round, &address, Trust::Public, HEALTH, None).ok()?;
    let greeted = Greeted {
        presence: presence(answer.status, &answer.body),
        address,
        certificate: None,
        took: answer.took,
    };
    (greeted.presence == Presence::Migrating).then_some(greeted)
}

fn trust(address: &Address, pin: Option<&str>) -> Trust {
    match pin {
        _ if !address.tls => Trust::Public,
        Some(pin) => Trust::Pinned(pin.to_owned()),
        None => Trust::FirstUse,
    }
}

/// Who answers so. Before 1.22.1 the health is behind the login: refusing is a sign of life.
fn presence(status: u16, body: &[u8]) -> Presence {
    let told = serde_json::from_slice::<Value>(body).unwrap_or_default();
    let text = String::from_utf8_lossy(body).to_ascii_lowercase();
    match status {
        200 if told["status"] == "OK" => Presence::Alive,
        200 | 500..600 if told.is_null() && text.contains("migrat") => Presence::Migrating,
        403 if text.contains("host check") => Presence::HostRefused,
        401 | 403 => Presence::Alive,
        200 => Presence::Other("something else than Syncthing".to_owned()),
        _ => Presence::Other(format!("HTTP status {status}")),
    }
}

/// Why it could not be asked.
#[derive(Debug)]
pub(super) enum Trouble {
    /// No answer came.
    Failed(Failed),
    /// It refuses the key.
    WrongKey,
    /// It answers what makes no sense to us; what was asked.
    Nonsense(String),
}

/// A Syncthing that was greeted, with the key.
pub(super) struct Client<'a> {
    pub(super) round: &'a mut Round,
    pub(super) address: &'a Address,
    pub(super) pin: Option<&'a str>,
    pub(super) key: &'a str,
    /// When the first question was asked.
    pub(super) began: Instant,
}

impl Client<'_> {
    /// An answer's JSON; null where this version has no such thing.
    fn ask(&mut self, path: &str) -> Result<Value, Trouble> {
        // A server that is slow at each question would hold up the monitor for minutes.
        if self.began.elapsed() > PATIENCE {
            return Err(Trouble::Failed(Failed::TimedOut));
        }
        let trust = match self.pin {
            // The key goes to the server that was greeted, or to nobody.
            None if self.address.tls => return Err(Trouble::Nonsense(path.to_owned())),
            pin => trust(self.address, pin),
        };
        let answer =
            get(self.round, self.address, trust, path, Some(self.key)).map_err(Trouble::Failed)?;
        match answer.status {
            200 => match serde_json::from_slice(&answer.body) {
                Ok(told) => Ok(told),
                Err(_) => Err(Trouble::Nonsense(path.to_owned())),
            },
            404 => Ok(Value::Null),
            401 | 403 => Err(Trouble::WrongKey),
            status => Err(Trouble::Nonsense(format!("{path} (HTTP status {status})"))),
        }
    }

    /// Everything that concerns us. `inbox` is canonical.
    pub(super) fn facts(
        &mut self,
        inbox: &Path,
        sparing: &mut Sparing,
        now: Instant,
    ) -> Result<Facts, Trouble> {
        let version = self.ask("/rest/system/version")?;
        let itself = facts::itself(&self.ask("/rest/system/status")?);
        let errors = facts::errors(&self.ask("/rest/system/error")?);
        let known = self.ask("/rest/config/devices")?;
        let connections = self.ask("/rest/system/connections")?;
        let seen = self.ask("/rest/stats/device")?;
        let devices = facts::devices(&known, &connections, &seen, &itself.id);
        let folders = facts::folders(&self.ask("/rest/config/folders")?, &itself.home);
        let ours: Vec<Folder> = folders
            .into_iter()
            .filter(|folder| folder.concerns(inbox))
            .collect();
        sparing
            .folders
            .retain(|id, _| ours.iter().any(|folder| folder.id == *id));
        let mut seen_folders = Vec::new();
        for folder in ours {
            let others: Vec<_> = (folder.devices.iter())
                .filter(|id| **id != itself.id)
                .map(|id| {
                    let is_connected =
                        |known: &facts::Device| known.id == *id && known.is_connected;
                    (id.as_str(), devices.iter().any(is_connected))
                })
                .collect();
            let (progress, file_error, phones) = self.folder(&folder, &others, sparing, now)?;
            seen_folders.push(InboxFolder {
                has_marker: has_marker(&folder),
                folder,
                progress,
                file_error,
                phones,
            });
        }
        Ok(Facts {
            version: version["version"].as_str().unwrap_or_default().to_owned(),
            uptime: itself.uptime,
            errors,
            devices,
            folders: seen_folders,
            waiting: facts::strangers(&self.ask("/rest/cluster/pending/devices")?),
        })
    }

    /// What is expensive to ask of a folder; from memory, where it was asked a short while ago. `others` share it, with whether
    /// they are connected.
    fn folder(
        &mut self,
        folder: &Folder,
        others: &[(&str, bool)],
        sparing: &mut Sparing,
        now: Instant,
    ) -> Result<(Option<Progress>, Option<String>, Phones), Trouble> {
        if folder.is_paused {
            sparing.folders.remove(&folder.id);
            return Ok((None, None, Phones::Silent));
        }
        let asked = sparing.folders.get(&folder.id);
        let is_fresh = |asked: &&Asked| now.saturating_duration_since(asked.at) < SPARINGLY;
        if let Some(asked) = asked.filter(is_fresh) {
            let told = (
                asked.progress.clone(),
                asked.file_error.clone(),
                asked.phones(),
            );
            return Ok(told);
        }
        let undone_before = asked.and_then(|asked| asked.undone_since);
        let id = encoded(&folder.id);
        let told = self.ask(&format!("/rest/db/status?folder={id}"))?;
        let progress = (!told.is_null()).then(|| facts::progress(&told));
        let fails = progress
            .as_ref()
            .is_some_and(|progress| progress.file_errors > 0);
        let file_error = if fails {
            let told = self.ask(&format!("/rest/folder/errors?folder={id}&perpage=1"))?;
            facts::file_error(&told)
        } else {
            None
        };
        let is_undone = folder.kind == Kind::SendReceive && self.all_leave_deletes(&id, others)?;
        let asked = Asked {
            at: now,
            progress,
            file_error,
            undone_since: is_undone.then(|| undone_before.unwrap_or(now)),
        };
        let told = (
            asked.progress.clone(),
            asked.file_error.clone(),
            asked.phones(),
        );
        sparing.folders.insert(folder.id.clone(), asked);
        Ok(told)
    }

    /// Whether every other device is connected and leaves deletes undone; one that is away may do anything later.
    fn all_leave_deletes(&mut self, id: &str, others: &[(&str, bool)]) -> Result<bool, Trouble> {
        if others.is_empty() || others.iter().any(|(_, is_connected)| !is_connected) {
            return Ok(false);
        }
        for (device, _) in others {
            let path = format!("/rest/db/completion?folder={id}&device={}", encoded(device));
            if !facts::leaves_deletes_undone(&self.ask(&path)?) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// What is asked sparingly, kept between looks.
#[derive(Default, Debug)]
pub(super) struct Sparing {
    folders: HashMap<String, Asked>,
}

#[derive(Debug)]
struct Asked {
    at: Instant,
    progress: Option<Progress>,
    file_error: Option<String>,
    /// Since when all devices leave deletes undone.
    undone_since: Option<Instant>,
}

impl Asked {
    /// Deletes that were undone once may just have been under way.
    fn phones(&self) -> Phones {
        match self.undone_since {
            Some(since) if self.at.saturating_duration_since(since) >= SPARINGLY => {
                Phones::LeaveDeletesUndone
            }
            _ => Phones::Silent,
        }
    }
}

fn has_marker(folder: &Folder) -> Option<bool> {
    match folder.path.join(&folder.marker).symlink_metadata() {
        Ok(_) => Some(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some(false),
        Err(_) => None,
    }
}

fn get(
    round: &mut Round,
    address: &Address,
    trust: Trust,
    path: &str,
    key: Option<&str>,
) -> Result<Answer, Failed> {
    let key = key.map(|key| ("X-API-Key".to_owned(), key.to_owned()));
    round.ask(&Request {
        method: Method::Get,
        url: address.url(path),
        socket: address.socket.clone(),
        headers: key.into_iter().collect(),
        body: Vec::new(),
        deadline: DEADLINE,
        answer_limit: LARGEST,
        trust,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusing_is_a_sign_of_life_and_a_migration_is_not_down() {
        assert_eq!(presence(200, br#"{"status":"OK"}"#), Presence::Alive);
        assert_eq!(presence(403, b"CSRF Error"), Presence::Alive);
        assert_eq!(presence(401, b"Not Authorized"), Presence::Alive);
        let page = b"*** Database migration in progress ***";
        assert_eq!(presence(200, page), Presence::Migrating);
        assert_eq!(presence(503, b"migrating"), Presence::Migrating);
        assert_eq!(presence(403, b"Host check error"), Presence::HostRefused);
        assert!(matches!(presence(200, b"<html>"), Presence::Other(_)));
        assert!(matches!(presence(502, b""), Presence::Other(_)));
    }

    #[test]
    fn deletes_prove_nothing_before_they_were_undone_for_a_while() {
        let begin = Instant::now();
        let asked = |undone_since| Asked {
            at: begin + SPARINGLY,
            progress: None,
            file_error: None,
            undone_since,
        };
        assert_eq!(asked(None).phones(), Phones::Silent);
        assert_eq!(asked(Some(begin + SPARINGLY)).phones(), Phones::Silent);
        assert_eq!(asked(Some(begin)).phones(), Phones::LeaveDeletesUndone);
    }

    #[test]
    fn the_certificate_is_asked_for_once_and_then_held_to() {
        let address = Address::parse("https://nas:8384", false).expect("must be taken");
        assert_eq!(trust(&address, None), Trust::FirstUse);
        assert_eq!(trust(&address, Some("ab")), Trust::Pinned("ab".to_owned()));
        assert_eq!(trust(&Address::usual(), Some("ab")), Trust::Public);
    }
}
