//! What one look at Syncthing came to.

use std::time::{Duration, Instant};

use super::address::Address;
use super::client::{Greeted, Presence, Trouble};
use super::conclude::{Conclusion, nothing_known};
use super::facts::Facts;
use super::target::WHERE_IT_IS;
use super::verdict::{Keeps, Verdict};
use crate::courier::Failed;
use crate::monitor::service::Status;

/// The file in the data folder in which the caller keeps the certificate's fingerprint.
pub const PIN_FILE: &str = "syncthing-certificate";

/// What one look came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sight {
    /// How it is; `None`: there is no Syncthing that we know of.
    pub status: Option<Status>,
    /// How long it took to answer.
    pub response: Option<Duration>,
    /// What it told; `None`: it did not answer, or did not let us in.
    pub facts: Option<Facts>,
    /// What clearing the inbox means for the photos on the phones.
    pub verdict: Verdict,
    /// What is wrong and what to do, in whole sentences, the worst first.
    pub warnings: Vec<String>,
    /// What is good to know, in whole sentences.
    pub notices: Vec<String>,
    /// When it was looked.
    at: Instant,
    /// How long it counts.
    lasts: Duration,
}

impl Sight {
    pub(super) fn new(status: Option<Status>, now: Instant, interval: Duration) -> Self {
        Self {
            status,
            response: None,
            facts: None,
            verdict: nothing_known(),
            warnings: Vec::new(),
            notices: Vec::new(),
            at: now,
            lasts: interval * 2,
        }
    }

    /// Until when it is certain that the phones keep their copies of what is cleared from the inbox: for two intervals after a
    /// running Syncthing told so itself. `None`: it is not.
    pub fn phone_copies_stay_until(&self) -> Option<Instant> {
        (self.facts.is_some() && self.verdict.keeps == Keeps::Yes).then(|| self.at + self.lasts)
    }

    /// What it does, for the row of the service; `None`: nothing is known.
    pub fn task(&self) -> Option<String> {
        let facts = self.facts.as_ref()?;
        let progress = facts.folders.iter().find_map(|seen| seen.progress.as_ref());
        let doing = progress.map_or("no folder of the inbox", |progress| progress.state.words());
        let connected = facts.devices.iter().filter(|device| device.is_connected);
        Some(format!(
            "{}; {doing}; {} of {} devices connected",
            facts.version,
            connected.count(),
            facts.devices.len()
        ))
    }

    /// When it was looked.
    pub(super) fn when(&self) -> Instant {
        self.at
    }

    pub(super) fn warn(mut self, warning: impl Into<String>) -> Self {
        self.warnings.push(warning.into());
        self
    }

    pub(super) fn note(mut self, notice: impl Into<String>) -> Self {
        self.notices.push(notice.into());
        self
    }

    /// With what the facts came to.
    pub(super) fn with(mut self, facts: Facts, conclusion: Conclusion) -> Self {
        if let Some(reason) = conclusion.reasons.into_iter().next() {
            self.status = Some(Status::Degraded(reason));
        }
        self.facts = Some(facts);
        self.verdict = conclusion.verdict;
        self.warnings.extend(conclusion.warnings);
        self.notices.extend(conclusion.notices);
        self
    }
}

/// How it is when no answer came, and what to do about it.
pub(super) fn without_answer(address: &Address, failed: &Failed) -> (Status, String) {
    let place = address.shown();
    match failed {
        Failed::Unreachable(_) | Failed::TimedOut => (
            Status::Down(format!("no answer at {place}")),
            format!(
                "Syncthing at {place} does not answer ({}): no photo arrives until it does. Type `systemctl --user status syncthing` \
                 as its user, or `systemctl status syncthing@USER`, and start it; where it is elsewhere, set url under \
                 [syncthing].",
                match failed {
                    Failed::Unreachable(why) => why.as_str(),
                    _ => "it took too long",
                }
            ),
        ),
        Failed::Certificate { found, .. } => (
            Status::Degraded("another certificate than before".to_owned()),
            format!(
                "Syncthing at {place} shows another certificate than before, so the key was not sent. Syncthing makes a new one when \
                 it is installed anew, and about every two years; if that is so, delete the file Data/{PIN_FILE} and restart \
                 Photo Factory. If not, another program may be in its place. (SHA-256 of the new one: {found}.)"
            ),
        ),
        Failed::Absent(_) | Failed::Refused(_) | Failed::Broken(_) => (
            Status::Unknown("could not be asked".to_owned()),
            format!("Syncthing at {place} {failed}."),
        ),
    }
}

/// How it is by its greeting alone, and what to do where that is not well.
pub(super) fn greeted(greeted: &Greeted) -> (Status, Option<String>) {
    let place = greeted.address.shown();
    match &greeted.presence {
        Presence::Alive | Presence::Migrating => (Status::Up, None),
        Presence::HostRefused => (
            Status::Degraded("it does not answer to this host name".to_owned()),
            Some(format!(
                "Syncthing at {place} does not answer to this host name (\"Host check error\"): set url under [syncthing] to the \
                 address that its page names as GUI Listen Address, such as http://127.0.0.1:8384."
            )),
        ),
        Presence::Other(what) => (
            Status::Down(format!("not Syncthing at {place}")),
            Some(format!(
                "At {place} answers {what}, not Syncthing: set url under [syncthing] to the address of Syncthing's page."
            )),
        ),
    }
}

/// How it is when it answers, and could not be asked more.
pub(super) fn shut_out(address: &Address, trouble: &Trouble) -> (Status, String) {
    let place = address.shown();
    match trouble {
        Trouble::WrongKey => (
            Status::Degraded("it refuses the key".to_owned()),
            format!(
                "Syncthing at {place} refuses the key, so it can't be seen whether the phones keep their photos. {WHERE_IT_IS} Put it \
                 into the file that api_key_file under [syncthing] names."
            ),
        ),
        Trouble::Nonsense(what) => (
            Status::Degraded("its answers make no sense".to_owned()),
            format!(
                "Syncthing at {place} answers {what} in a way that this version of Photo Factory does not understand: bring both up \
                 to date."
            ),
        ),
        Trouble::Failed(Failed::TimedOut) => (
            Status::Degraded("it answers slowly".to_owned()),
            format!(
                "Syncthing at {place} is there, and takes too long to answer: it may be busy with many files, or its disk may be slow."
            ),
        ),
        Trouble::Failed(failed) => without_answer(address, failed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::syncthing::verdict::Concern;

    fn sight(keeps: Keeps, now: Instant) -> Sight {
        let facts = Facts {
            version: "v1.29.5".to_owned(),
            uptime: Duration::ZERO,
            errors: Vec::new(),
            devices: Vec::new(),
            folders: Vec::new(),
            waiting: Vec::new(),
        };
        let conclusion = Conclusion {
            reasons: Vec::new(),
            warnings: Vec::new(),
            notices: Vec::new(),
            verdict: Verdict::new(keeps, Concern::None, "", ""),
        };
        Sight::new(Some(Status::Up), now, Duration::from_secs(300)).with(facts, conclusion)
    }

    #[test]
    fn copies_stay_only_by_a_fresh_and_certain_sight_of_a_running_syncthing() {
        let begin = Instant::now();
        let until = |keeps| sight(keeps, begin).phone_copies_stay_until();
        assert_eq!(until(Keeps::Yes), Some(begin + Duration::from_secs(600)));
        assert_eq!(until(Keeps::Unknown), None);
        assert_eq!(until(Keeps::No), None);
        let from_its_file = Sight {
            facts: None,
            ..sight(Keeps::Yes, begin)
        };
        assert_eq!(from_its_file.phone_copies_stay_until(), None);
    }

    #[test]
    fn what_to_do_goes_with_what_is_wrong() {
        let address = Address::usual();
        let said = |failed| without_answer(&address, &failed);
        let (status, what) = said(Failed::Unreachable("connection refused".to_owned()));
        assert!(matches!(status, Status::Down(_)));
        assert!(what.contains("systemctl --user status syncthing"), "{what}");
        let (status, what) = said(Failed::Certificate {
            wanted: None,
            found: "ab".to_owned(),
        });
        assert!(matches!(status, Status::Degraded(_)));
        assert!(
            what.contains("key was not sent") && what.contains(PIN_FILE),
            "{what}"
        );
        let (status, what) = said(Failed::Absent("not installed".to_owned()));
        assert!(
            matches!(status, Status::Unknown(_)),
            "nothing is known of Syncthing"
        );
        assert!(what.contains("not installed"), "{what}");
        let (_, what) = shut_out(&address, &Trouble::WrongKey);
        assert!(what.contains("api_key_file"), "{what}");
    }
}
