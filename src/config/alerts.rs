//! The settings of the alerts: `[alerts.NAME]`, one for each target.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::civil::Time;

use super::section::{Section, Wrong};
use crate::courier::Security;
use crate::courier::message::fingerprint_of;

/// Bytes of a secret at most: longer files are something else.
const SECRET_LIMIT: usize = 4096;

/// Where alerts go, and when.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// The owner's name for it.
    pub name: String,
    /// By what.
    pub way: Way,
    /// When nothing is sent but what is urgent.
    pub quiet_hours: Option<QuietHours>,
    /// Whether what is urgent is sent then.
    pub urgent_in_quiet_hours: bool,
    /// For so long after a message no other is sent; what comes meanwhile goes together in the next.
    pub digest: Duration,
    /// What is over within this time is not sent.
    pub after: Duration,
    /// The fingerprint of the server's certificate, where that alone is to be believed.
    pub certificate: Option<String>,
}

/// By what alerts are sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Way {
    /// To a topic of an ntfy server.
    Ntfy {
        /// The server's address, up to the topic.
        server: String,
        /// The topic.
        topic: String,
        /// Holds the access token.
        token: Option<SecretFile>,
        /// From 1 to 5; `None`: by what is told.
        priority: Option<u8>,
    },
    /// As JSON to an address.
    Webhook {
        /// The address.
        url: String,
        /// Holds the bearer token.
        token: Option<SecretFile>,
    },
    /// By mail.
    Email {
        /// The server that takes it.
        server: String,
        /// Its port.
        port: u16,
        /// How the way there is kept secret.
        security: Security,
        /// Whom to log in as, and what holds the password.
        login: Option<(String, SecretFile)>,
        /// The sender.
        from: String,
        /// The recipients.
        to: Vec<String>,
    },
}

impl Target {
    /// The kind as it is typed.
    pub fn kind(&self) -> &'static str {
        match self.way {
            Way::Ntfy { .. } => "ntfy",
            Way::Webhook { .. } => "webhook",
            Way::Email { .. } => "email",
        }
    }

    /// The file that holds its secret.
    pub fn secret(&self) -> Option<&SecretFile> {
        match &self.way {
            Way::Ntfy { token, .. } | Way::Webhook { token, .. } => token.as_ref(),
            Way::Email { login, .. } => login.as_ref().map(|(_, password)| password),
        }
    }
}

/// Hours of the day by the local clock, from the first to before the second; over midnight where the second is the earlier.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QuietHours {
    /// Begin.
    pub from: Time,
    /// End.
    pub to: Time,
}

/// A file with one secret in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SecretFile(PathBuf);

impl SecretFile {
    /// The secret, without space around it. `Err` says what to do.
    pub fn read(&self) -> Result<String, String> {
        let path = self.0.display();
        let text = std::fs::read_to_string(&self.0).map_err(|why| {
            format!("{path} can't be read: {why}; write the secret into it, and chmod 600 it")
        })?;
        let secret = text.trim();
        if secret.is_empty() || secret.len() > SECRET_LIMIT || secret.contains('\n') {
            return Err(format!("{path} must hold the secret alone, on one line"));
        }
        Ok(secret.to_owned())
    }

    /// That others can read it, and what to do; `None`: they can't, or there is no such file.
    pub fn exposed(&self) -> Option<String> {
        let mode = std::fs::metadata(&self.0).ok()?.mode();
        let path = self.0.display();
        (mode & 0o077 != 0).then(|| format!("others can read {path}: chmod 600 {path}"))
    }
}

#[derive(Debug, Default)]
struct TypedTarget {
    kind: Option<String>,
    url: Option<String>,
    token_file: Option<PathBuf>,
    priority: Option<u8>,
    server: Option<String>,
    port: Option<u16>,
    security: Option<String>,
    user: Option<String>,
    password_file: Option<PathBuf>,
    from: Option<String>,
    to: Option<Vec<String>>,
    quiet_hours: Option<String>,
    urgent_in_quiet_hours: Option<bool>,
    digest_seconds: Option<u32>,
    after_seconds: Option<u32>,
    certificate: Option<String>,
}

/// Reads every `[alerts.NAME]`.
pub(super) fn read(
    root: &Path,
    sections: Vec<(String, Section<'_>)>,
) -> Result<Vec<Target>, Wrong> {
    let targets = sections.into_iter().map(|(name, mut section)| {
        let typed = TypedTarget::read(&mut section)?;
        let target = typed
            .usable(root, &name)
            .map_err(|what| section.wrong(&what))?;
        section.finish()?;
        Ok(target)
    });
    targets.collect()
}

impl TypedTarget {
    fn read(section: &mut Section<'_>) -> Result<Self, Wrong> {
        Ok(Self {
            kind: section.text("kind")?,
            url: section.text("url")?,
            token_file: section.path("token_file")?,
            priority: section.whole("priority")?,
            server: section.text("server")?,
            port: section.whole("port")?,
            security: section.text("security")?,
            user: section.text("user")?,
            password_file: section.path("password_file")?,
            from: section.text("from")?,
            to: Some(section.texts("to")?).filter(|texts| !texts.is_empty()),
            quiet_hours: section.text("quiet_hours")?,
            urgent_in_quiet_hours: section.flag("urgent_in_quiet_hours")?,
            digest_seconds: section.whole("digest_seconds")?,
            after_seconds: section.whole("after_seconds")?,
            certificate: section.text("certificate")?,
        })
    }

    fn usable(mut self, root: &Path, name: &str) -> Result<Target, String> {
        let way = match self.kind.as_deref() {
            Some("ntfy") => self.ntfy(root)?,
            Some("webhook") => self.webhook(root)?,
            Some("email") => self.email(root)?,
            _ => return Err("needs kind = \"ntfy\", \"webhook\" or \"email\"".to_owned()),
        };
        self.nothing_is_left(name)?;
        let seconds = |typed: Option<u32>, default: u32, key: &str| match typed.unwrap_or(default) {
            seconds @ 0..=86_400 => Ok(Duration::from_secs(seconds.into())),
            _ => Err(format!("{key} is a number of seconds, at most 86400")),
        };
        let quiet_hours = self.quiet_hours.as_deref().map(|typed| {
            quiet_hours(typed)
                .ok_or("quiet_hours is a time to another by the local clock: \"22:00-07:00\"")
        });
        let certificate = self.certificate.as_deref().map(|typed| {
            fingerprint_of(typed).ok_or(
                "certificate is the SHA-256 of the server's certificate, 64 hexadecimal digits, \
                 as `openssl x509 -noout -fingerprint -sha256` shows it",
            )
        });
        Ok(Target {
            name: name.to_owned(),
            way,
            quiet_hours: quiet_hours.transpose()?,
            urgent_in_quiet_hours: self.urgent_in_quiet_hours.unwrap_or(true),
            digest: seconds(self.digest_seconds, 300, "digest_seconds")?,
            after: seconds(self.after_seconds, 120, "after_seconds")?,
            certificate: certificate.transpose()?,
        })
    }

    fn ntfy(&mut self, root: &Path) -> Result<Way, String> {
        let url = self.address("https://ntfy.sh/TOPIC")?;
        let is_topic = |topic: &str| {
            let is_letter = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            (1..=64).contains(&topic.len()) && topic.chars().all(is_letter)
        };
        let (server, topic) = url
            .rsplit_once('/')
            .filter(|(server, topic)| !server.ends_with('/') && is_topic(topic))
            .ok_or("url ends with the topic: \"https://ntfy.sh/TOPIC\"")?;
        if self.priority.is_some_and(|typed| !(1..=5).contains(&typed)) {
            return Err("priority is a number from 1 to 5".to_owned());
        }
        Ok(Way::Ntfy {
            server: format!("{server}/"),
            topic: topic.to_owned(),
            token: secret(root, self.token_file.take()),
            priority: self.priority.take(),
        })
    }

    fn webhook(&mut self, root: &Path) -> Result<Way, String> {
        Ok(Way::Webhook {
            url: self.address("https://…")?,
            token: secret(root, self.token_file.take()),
        })
    }

    fn email(&mut self, root: &Path) -> Result<Way, String> {
        let needed = |typed: Option<String>, key: &str| {
            typed
                .filter(|typed| !typed.is_empty())
                .ok_or_else(|| format!("needs {key} = \"…\""))
        };
        let security = match self.security.take().as_deref() {
            None | Some("starttls") => Security::StartTls,
            Some("tls") => Security::Tls,
            Some("none") => Security::None,
            Some(_) => return Err("security is \"starttls\", \"tls\" or \"none\"".to_owned()),
        };
        let password = secret(root, self.password_file.take());
        let login = match (self.user.take(), password) {
            (Some(user), Some(password)) => Some((user, password)),
            (None, None) => None,
            _ => return Err("needs both user and password_file, or none of them".to_owned()),
        };
        let to = self.to.take().unwrap_or_default();
        if to.is_empty() {
            return Err("needs to = [\"ANNA@EXAMPLE.ORG\"]".to_owned());
        }
        Ok(Way::Email {
            server: needed(self.server.take(), "server")?,
            port: self.port.take().unwrap_or(match security {
                Security::Tls => 465,
                Security::StartTls | Security::None => 587,
            }),
            security,
            login,
            from: needed(self.from.take(), "from")?,
            to,
        })
    }

    fn address(&mut self, example: &str) -> Result<String, String> {
        let url = self.url.take().unwrap_or_default();
        if url.starts_with("https://") || url.starts_with("http://") {
            Ok(url)
        } else {
            Err(format!("needs url = \"{example}\""))
        }
    }

    /// What its kind has not taken belongs to another.
    fn nothing_is_left(&self, name: &str) -> Result<(), String> {
        let kind = self.kind.as_deref().unwrap_or(name);
        let left = [
            ("url", self.url.is_some()),
            ("token_file", self.token_file.is_some()),
            ("priority", self.priority.is_some()),
            ("server", self.server.is_some()),
            ("port", self.port.is_some()),
            ("security", self.security.is_some()),
            ("user", self.user.is_some()),
            ("password_file", self.password_file.is_some()),
            ("from", self.from.is_some()),
            ("to", self.to.is_some()),
        ];
        match left.into_iter().find(|(_, is_left)| *is_left) {
            Some((key, _)) => Err(format!("{key} means nothing to {kind}; delete the line")),
            None => Ok(()),
        }
    }
}

fn secret(root: &Path, file: Option<PathBuf>) -> Option<SecretFile> {
    file.map(|file| SecretFile(root.join(file)))
}

/// `"22:00-07:00"`.
fn quiet_hours(typed: &str) -> Option<QuietHours> {
    let time = |typed: &str| {
        let (hour, minute) = typed.trim().split_once(':')?;
        Time::new(hour.parse().ok()?, minute.parse().ok()?, 0, 0).ok()
    };
    let (from, to) = typed.split_once('-')?;
    let (from, to) = (time(from)?, time(to)?);
    (from != to).then_some(QuietHours { from, to })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Result<Target, String> {
        let text = format!("[alerts.phone]\n{text}");
        let table = toml::de::DeTable::parse(&text).expect("must be TOML");
        let sections = Section::root(table.get_ref()).named("alerts");
        let targets = sections.and_then(|sections| read(Path::new("/root"), sections));
        targets
            .map(|mut targets| targets.remove(0))
            .map_err(|wrong| wrong.what)
    }

    #[test]
    fn an_ntfy_address_is_taken_apart_into_server_and_topic() {
        let ntfy =
            target("kind = 'ntfy'\nurl = 'https://ntfy.example/sub/photos'\ntoken_file = 't'");
        let expected = Way::Ntfy {
            server: "https://ntfy.example/sub/".to_owned(),
            topic: "photos".to_owned(),
            token: Some(SecretFile(PathBuf::from("/root/t"))),
            priority: None,
        };
        assert_eq!(ntfy.map(|target| target.way), Ok(expected));
        for url in [
            "https://ntfy.sh",
            "https://ntfy.sh/",
            "https://ntfy.sh/a b",
            "ntfy.sh/a",
        ] {
            let complaint = target(&format!("kind = 'ntfy'\nurl = '{url}'")).expect_err(url);
            assert!(complaint.contains("https://ntfy.sh/TOPIC"), "{complaint}");
        }
    }

    #[test]
    fn mail_goes_by_starttls_on_its_port_where_nothing_else_is_typed() {
        let text = "kind = 'email'\nserver = 'mail.example'\nfrom = 'a@example.org'\nto = ['b@example.org']";
        let Way::Email {
            port,
            security,
            login,
            ..
        } = target(text).expect("must be read").way
        else {
            panic!("must be mail");
        };
        assert_eq!((port, security, login), (587, Security::StartTls, None));
    }

    #[test]
    fn what_is_missing_or_belongs_to_another_kind_is_told() {
        let complaint = |text: &str| target(text).expect_err("must be refused");
        assert!(complaint("").contains("needs kind = \"ntfy\""));
        assert!(complaint("kind = 'ntfy'").contains("needs url"));
        assert!(complaint("kind = 'email'\nto = ['a']").contains("needs server"));
        let mixed = complaint("kind = 'webhook'\nurl = 'https://a/'\nto = ['a']");
        assert_eq!(
            mixed,
            "[alerts.phone] to means nothing to webhook; delete the line"
        );
        let half = complaint("kind = 'email'\nserver = 'm'\nfrom = 'a'\nto = ['a']\nuser = 'a'");
        assert!(half.contains("password_file"), "{half}");
    }

    #[test]
    fn quiet_hours_are_two_times_of_the_day() {
        let hours = |typed| quiet_hours(typed).map(|hours| (hours.from.hour(), hours.to.hour()));
        assert_eq!(hours("22:00-07:00"), Some((22, 7)));
        assert_eq!(hours(" 1:30 - 2:00 "), Some((1, 2)));
        for wrong in ["22-7", "24:00-07:00", "07:00-07:00", "", "22:00"] {
            assert_eq!(hours(wrong), None, "{wrong}");
        }
    }
}
