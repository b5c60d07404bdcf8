//! The settings of the monitor: `[monitor]`, `[syncthing]` and `[probes.NAME]`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

/// Keys of `[monitor]`.
pub(super) const MONITOR_KEYS: &[&str] = &[
    "librarian_seconds",
    "services_seconds",
    "commit_seconds",
    "history_days",
    "quiet_phone_days",
    "units",
    "docker",
    "containers",
];

/// Keys of `[syncthing]`.
pub(super) const SYNCTHING_KEYS: &[&str] = &["url", "api_key", "api_key_file"];

/// Keys of `[probes.NAME]`.
pub(super) const PROBE_KEYS: &[&str] = &["url", "expect", "contains"];

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

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TypedMonitor {
    librarian_seconds: Option<f64>,
    services_seconds: Option<f64>,
    commit_seconds: Option<f64>,
    history_days: Option<u32>,
    quiet_phone_days: Option<u32>,
    units: Vec<String>,
    docker: Option<TypedDocker>,
    containers: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum TypedDocker {
    Set(bool),
    At(String),
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct TypedSyncthing {
    url: Option<String>,
    api_key: Option<String>,
    api_key_file: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
pub(super) struct TypedProbe {
    url: String,
    expect: Option<u16>,
    contains: Option<String>,
}

/// Where Docker's socket is.
const DOCKER_SOCKET: &str = "/var/run/docker.sock";

impl MonitorSettings {
    /// Makes what was typed usable; `Err` says what is wrong.
    pub(super) fn usable(
        root: &Path,
        typed: TypedMonitor,
        syncthing: TypedSyncthing,
        probes: BTreeMap<String, TypedProbe>,
    ) -> Result<Self, String> {
        let seconds = |typed: Option<f64>, default: u64, key: &str| match typed {
            None => Ok(Duration::from_secs(default)),
            Some(seconds) if (1.0..=86_400.0).contains(&seconds) => {
                Ok(Duration::from_secs_f64(seconds))
            }
            Some(_) => Err(format!(
                "[monitor] {key} is a number of seconds from 1 to 86400"
            )),
        };
        let is_name = |name: &str| {
            let is_letter =
                |letter: char| letter.is_ascii_alphanumeric() || "-_.@:".contains(letter);
            !name.is_empty()
                && name.len() <= 64
                && !name.starts_with('-')
                && name.chars().all(is_letter)
        };
        for name in typed
            .units
            .iter()
            .chain(&typed.containers)
            .chain(probes.keys())
        {
            if !is_name(name) {
                return Err(format!(
                    "`{name}` can't be the name of a unit, a container or a probe: those have letters, digits and - _ . @"
                ));
            }
        }
        let days = typed.history_days.unwrap_or(60);
        if !(1..=3660).contains(&days) {
            return Err("[monitor] history_days is a number of days from 1 to 3660".to_owned());
        }
        let docker = match typed.docker {
            None | Some(TypedDocker::Set(false)) => None,
            Some(TypedDocker::Set(true)) => Some(DOCKER_SOCKET.to_owned()),
            Some(TypedDocker::At(at)) if at.starts_with('/') || at.starts_with("http://") => {
                Some(at)
            }
            Some(TypedDocker::At(_)) => {
                return Err(
                    "[monitor] docker is true, the path of Docker's socket, or the http:// address of a proxy"
                        .to_owned(),
                );
            }
        };
        let probes = probes.into_iter().map(|(name, typed)| {
            if !typed.url.starts_with("http://") && !typed.url.starts_with("https://") {
                return Err(format!(
                    "[probes.{name}] url begins with http:// or https://"
                ));
            }
            Ok(ProbeSettings {
                name,
                url: typed.url,
                expect: typed.expect,
                contains: typed.contains,
            })
        });
        Ok(Self {
            librarian_every: seconds(typed.librarian_seconds, 60, "librarian_seconds")?,
            services_every: seconds(typed.services_seconds, 300, "services_seconds")?,
            commit_every: seconds(typed.commit_seconds, 300, "commit_seconds")?,
            keep: Duration::from_secs(u64::from(days) * 86_400),
            quiet_phone_days: match typed.quiet_phone_days {
                None => Some(14),
                Some(0) => None,
                Some(days) => Some(days),
            },
            units: typed.units,
            docker,
            containers: typed.containers,
            syncthing: SyncthingSettings {
                url: syncthing.url,
                api_key: syncthing.api_key,
                api_key_file: syncthing.api_key_file.map(|file| root.join(file)),
            },
            probes: probes.collect::<Result<_, _>>()?,
        })
    }
}
