//! The settings in force, by their names in the settings file. Never a key, a password, or an address with one in it.

use std::path::Path;
use std::time::Duration;

use super::overview::grouped;
use crate::asset::lossy;
use crate::config::{Clear, Config, MonitorSettings, Poll};
use crate::monitor::Service;

/// Values shown: settings may name any number of probes and alerts.
const SETTINGS: usize = 80;

/// Stands for what nobody is told.
const HIDDEN: &str = "set, not shown";

/// Every setting in force, by its name in the settings file, and its value.
pub(super) fn in_force(config: &Config) -> Vec<(String, String)> {
    let share = f64::from(config.reserve.millionths) / 10_000.0;
    let mut settings = vec![
        ("[inbox] path", path(&config.inbox)),
        ("[inbox] settle_seconds", seconds(config.settle)),
        ("[inbox] rescan_seconds", seconds(config.rescan)),
        (
            "[inbox] clear",
            match config.clear {
                Clear::Always => "always",
                Clear::Safe => "safe",
                Clear::Never => "never",
            }
            .to_owned(),
        ),
        (
            "[inbox] poll",
            match config.poll {
                Poll::Auto => "auto",
                Poll::Set(true) => "true",
                Poll::Set(false) => "false",
            }
            .to_owned(),
        ),
        ("[inbox] ignore", list(&config.ignore)),
        ("[storage] path", path(&config.storage)),
        (
            "[storage] reserve",
            format!("{share} %, at most {} bytes", grouped(config.reserve.most)),
        ),
        (
            "[verify] days",
            or_off(
                config
                    .verify_every
                    .map(|every| (every.as_secs_f64() / 86_400.0).to_string()),
            ),
        ),
        ("[verify] limit", format!("{} MB/s", config.verify_limit)),
        ("[dashboard] listen", config.listen.to_string()),
        ("[dashboard] hosts", list(&config.hosts)),
        (
            "[dashboard] refresh_seconds",
            config.refresh_seconds.to_string(),
        ),
        (
            "[dashboard] tls_cert",
            or_none(config.tls.as_ref().map(|tls| path(&tls.certificate))),
        ),
        (
            "[dashboard] tls_key",
            or_none(config.tls.as_ref().map(|tls| path(&tls.key))),
        ),
    ];
    settings.extend(of_the_monitor(&config.monitor));
    let mut named: Vec<(String, String)> = settings
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    // An address may carry a password: only the name is told.
    named.extend(
        config
            .monitor
            .probes
            .iter()
            .map(|probe| (format!("[probes.{}]", probe.name), HIDDEN.to_owned())),
    );
    named.extend(
        config
            .alerts
            .iter()
            .map(|target| (format!("[alerts.{}]", target.name), HIDDEN.to_owned())),
    );
    named.truncate(SETTINGS);
    named
}

fn path(path: &Path) -> String {
    lossy(path.as_os_str())
}

fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs_f64())
}

fn list(names: &[String]) -> String {
    or_none((!names.is_empty()).then(|| names.join(", ")))
}

fn or_none(value: Option<String>) -> String {
    value.unwrap_or_else(|| "none".to_owned())
}

/// Days, where 0 switches something off.
fn or_off(days: Option<String>) -> String {
    days.unwrap_or_else(|| "0: switched off".to_owned())
}

fn of_the_monitor(monitor: &MonitorSettings) -> Vec<(&'static str, String)> {
    vec![
        (
            "[monitor] librarian_seconds",
            seconds(monitor.librarian_every),
        ),
        (
            "[monitor] services_seconds",
            seconds(monitor.services_every),
        ),
        ("[monitor] commit_seconds", seconds(monitor.commit_every)),
        (
            "[monitor] history_days",
            (monitor.keep.as_secs() / 86_400).to_string(),
        ),
        (
            "[monitor] quiet_phone_days",
            or_off(monitor.quiet_phone_days.map(|days| days.to_string())),
        ),
        ("[monitor] units", list(&monitor.units)),
        (
            "[monitor] docker",
            or_none(monitor.docker.as_deref().map(without_login)),
        ),
        (
            "[monitor] containers",
            match monitor.containers.as_slice() {
                [] => "all".to_owned(),
                names => list(names),
            },
        ),
        (
            "[syncthing] url",
            or_none(monitor.syncthing.url.as_deref().map(without_login)),
        ),
        (
            "[syncthing] api_key_file",
            or_none(monitor.syncthing.api_key_file.as_deref().map(path)),
        ),
        (
            "[syncthing] api_key",
            or_none(
                monitor
                    .syncthing
                    .api_key
                    .as_ref()
                    .map(|_| HIDDEN.to_owned()),
            ),
        ),
    ]
}

/// An address without the name and password that may stand in it.
fn without_login(url: &str) -> String {
    match (url.split_once("//"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}//{host}"),
        _ => url.to_owned(),
    }
}

/// Those that a service follows.
pub(super) fn of_service(config: &Config, service: &Service) -> Vec<(String, String)> {
    let own = format!("[probes.{}]", service.as_str());
    let sections: &[&str] = match service {
        service if *service == Service::LIBRARIAN => &["[inbox]", "[storage]"],
        service if *service == Service::DASHBOARD => &["[dashboard]"],
        service if *service == Service::SERVICE_MONITOR => &["[monitor]", "[alerts"],
        service if *service == Service::FACTORY_DB => &["[storage]", "[verify]"],
        service if *service == Service::SYNCTHING => &["[syncthing]"],
        _ => &[&own],
    };
    let mut settings = in_force(config);
    settings.retain(|(name, _)| sections.iter().any(|section| name.starts_with(section)));
    settings
}
