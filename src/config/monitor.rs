//! The settings of the monitor: `[monitor]`, `[syncthing]` and `[probes.NAME]`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::section::{Section, Wrong};

/// How the services are watched.
#[derive(Clone, PartialEq, Debug)]
pub struct MonitorSettings {
    /// How often the librarian reports.
    pub librarian_every: Duration,
    /// How often every other service reports, or is asked.
    pub services_every: Duration,
    /// Beats are gathered in memory this long before they are committed: an SD card wears by the commit.
    pub commit_every: Duration,
    /// How long beats are kept.
    pub keep: Duration,
    /// After how many days without a photo a phone is called quiet; `None`: never.
    pub quiet_phone_days: Option<u32>,
    /// Units of systemd to look at.
    pub units: Vec<String>,
    /// Docker's API: the path of its socket, or an `http://` address; `None`: it is not asked.
    pub docker: Option<String>,
    /// The containers to look at; empty: all.
    pub containers: Vec<String>,
    /// Where Syncthing is, as far as that was typed.
    pub syncthing: SyncthingSettings,
    /// What else is asked over HTTP.
    pub probes: Vec<ProbeSettings>,
}

/// Where Syncthing is; what was not typed is found out.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct SyncthingSettings {
    /// Its address.
    pub url: Option<String>,
    /// Its key.
    pub api_key: Option<String>,
    /// The file that holds its key.
    pub api_key_file: Option<PathBuf>,
}

impl std::fmt::Debug for SyncthingSettings {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SyncthingSettings")
            .field("url", &self.url)
            .field("api_key_file", &self.api_key_file)
            .finish_non_exhaustive()
    }
}

/// An address that is to answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProbeSettings {
    /// The owner's name for it.
    pub name: String,
    /// `http://…` or `https://…`.
    pub url: String,
    /// The status code that is expected; `None`: any from 200 to 399.
    pub expect: Option<u16>,
    /// A text that the answer must hold.
    pub contains: Option<String>,
}

/// Where Docker's socket is.
const DOCKER_SOCKET: &str = "/var/run/docker.sock";

impl MonitorSettings {
    /// Reads `[monitor]`, `[syncthing]` and `[probes.NAME]`.
    pub(super) fn read(root: &Path, file: &mut Section<'_>) -> Result<Self, Wrong> {
        let probes = file.named("probes")?.into_iter();
        Ok(Self {
            syncthing: SyncthingSettings::read(root, file.section("syncthing")?)?,
            probes: probes
                .map(|(name, section)| ProbeSettings::read(name, section))
                .collect::<Result<_, _>>()?,
            ..Self::read_monitor(file.section("monitor")?)?
        })
    }

    fn read_monitor(mut section: Section<'_>) -> Result<Self, Wrong> {
        let days = section.whole("history_days")?.unwrap_or(60_u32);
        if !(1..=3660).contains(&days) {
            return Err(section.wrong("history_days is a number of days from 1 to 3660"));
        }
        let settings = Self {
            librarian_every: seconds(&mut section, "librarian_seconds", 60)?,
            services_every: seconds(&mut section, "services_seconds", 300)?,
            commit_every: seconds(&mut section, "commit_seconds", 300)?,
            keep: Duration::from_secs(u64::from(days) * 86_400),
            quiet_phone_days: match section.whole("quiet_phone_days")? {
                None => Some(14),
                Some(0) => None,
                Some(days) => Some(days),
            },
            units: names(&mut section, "units")?,
            docker: docker(&mut section)?,
            containers: names(&mut section, "containers")?,
            syncthing: SyncthingSettings::default(),
            probes: Vec::new(),
        };
        section.finish()?;
        Ok(settings)
    }
}

impl SyncthingSettings {
    fn read(root: &Path, mut section: Section<'_>) -> Result<Self, Wrong> {
        let settings = Self {
            url: section.text("url")?,
            api_key: section.text("api_key")?,
            api_key_file: section.path("api_key_file")?.map(|file| root.join(file)),
        };
        section.finish()?;
        Ok(settings)
    }
}

impl ProbeSettings {
    fn read(name: String, mut section: Section<'_>) -> Result<Self, Wrong> {
        if !is_name(&name) {
            return Err(section.wrong(NAMES));
        }
        let url = section.text("url")?.unwrap_or_default();
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(section.wrong("url begins with http:// or https://"));
        }
        let settings = Self {
            name,
            url,
            expect: section.whole("expect")?,
            contains: section.text("contains")?,
        };
        section.finish()?;
        Ok(settings)
    }
}

fn seconds(section: &mut Section<'_>, key: &'static str, default: u32) -> Result<Duration, Wrong> {
    match section.number(key)?.unwrap_or(f64::from(default)) {
        seconds if (1.0..=86_400.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(section.wrong(&format!("{key} is a number of seconds from 1 to 86400"))),
    }
}

fn docker(section: &mut Section<'_>) -> Result<Option<String>, Wrong> {
    let Some(value) = section.value("docker") else {
        return Ok(None);
    };
    match (value.get_ref().as_bool(), value.get_ref().as_str()) {
        (Some(false), _) => Ok(None),
        (Some(true), _) => Ok(Some(DOCKER_SOCKET.to_owned())),
        (_, Some(at)) if at.starts_with('/') || at.starts_with("http://") => {
            Ok(Some(at.to_owned()))
        }
        _ => Err(section.wrong(
            "docker is true, the path of Docker's socket, or the http:// address of a proxy",
        )),
    }
}

/// What is wrong with a name.
const NAMES: &str = "names of units, containers and probes have letters, digits and - _ . @ :";

fn names(section: &mut Section<'_>, key: &'static str) -> Result<Vec<String>, Wrong> {
    let names = section.texts(key)?;
    if names.iter().all(|name| is_name(name)) {
        return Ok(names);
    }
    Err(section.wrong(&format!("{key}: {NAMES}")))
}

fn is_name(name: &str) -> bool {
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || "-_.@:".contains(letter);
    (1..=64).contains(&name.len()) && !name.starts_with('-') && name.chars().all(is_letter)
}
