//! What runs here: version, licences, paths, and the settings in force. Never a key or a password.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use maud::{Markup, html};
use serde_json::{Value, json};

use super::{Frame, NAME_LIMIT, clock, shortened};
use crate::asset::{lossy, rfc3339};
use crate::config::{Clear, Config, MonitorSettings, Poll};
use crate::dashboard::json::object;
use crate::dashboard::overview::grouped;
use crate::dashboard::reply::Reply;
use crate::dashboard::routes::{Answer, Asked};
use crate::ledger::FORMAT;

/// Characters of a value.
const VALUE_LIMIT: usize = 160;

/// Values shown: settings may name any number of probes and alerts.
const SETTINGS: usize = 80;

/// A setting in force.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Setting {
    /// Its name in the settings file.
    pub name: String,
    /// Its value, in words.
    pub value: String,
    /// Whether it would be the same without the settings file.
    pub is_default: bool,
}

/// Stands for what nobody is told.
const HIDDEN: &str = "set, not shown";

/// What the page shows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AboutView {
    /// Where things are.
    pub paths: Vec<(&'static str, String)>,
    /// The settings.
    pub settings: Vec<Setting>,
    /// Files in the ledger; `None`: it can't be read.
    pub files: Option<u64>,
    /// Since when it runs.
    pub started_at: Option<Timestamp>,
}

impl AboutView {
    fn gather(asked: &Asked<'_>) -> Self {
        let config = &asked.site.config;
        let ledger = asked.site.ledger.upgrade();
        let defaults = Config::defaults(&config.root);
        let defaults = defaults.as_ref().map(settings).unwrap_or_default();
        Self {
            paths: vec![
                ("Root", path(&config.root)),
                ("Inbox", path(&config.inbox)),
                ("Storage", path(&config.storage)),
                ("Data", path(&config.data)),
                ("Logs", path(&config.logs)),
            ],
            settings: settings(config)
                .into_iter()
                .map(|setting| {
                    let is_default = defaults.contains(&setting);
                    let (name, value) = setting;
                    Setting {
                        name,
                        value,
                        is_default,
                    }
                })
                .collect(),
            files: ledger
                .and_then(|ledger| ledger.totals().ok())
                .map(|totals| totals.assets),
            started_at: (asked.site.overview)().activity.started_at,
        }
    }

    /// The same as JSON.
    pub fn json(&self) -> Value {
        let paths = self
            .paths
            .iter()
            .map(|(name, path)| (name.to_lowercase(), json!(path)));
        let settings = self.settings.iter().map(|setting| {
            object(vec![
                ("name", json!(setting.name)),
                ("value", json!(setting.value)),
                ("is_default", json!(setting.is_default)),
            ])
        });
        object(vec![
            ("version", json!(env!("CARGO_PKG_VERSION"))),
            ("licence", json!(env!("CARGO_PKG_LICENSE"))),
            ("paths", Value::Object(paths.collect())),
            ("settings", settings.collect()),
            ("files", json!(self.files)),
            ("ledger_format", json!(FORMAT)),
            ("started_at", json!(self.started_at.map(rfc3339))),
        ])
    }
}

/// Every setting in force, by its name in the settings file, and its value.
pub(in crate::dashboard) fn settings(config: &Config) -> Vec<(String, String)> {
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

/// `/about`.
pub(in crate::dashboard) fn answer(asked: &Asked<'_>) -> Answer {
    Reply::html(200, page(&AboutView::gather(asked), &asked.frame())).into()
}

/// `/api/v1/about`.
pub(in crate::dashboard) fn json_answer(asked: &Asked<'_>) -> Answer {
    Reply::json(&AboutView::gather(asked).json()).into()
}

/// The page.
pub fn page(view: &AboutView, frame: &Frame<'_>) -> Markup {
    let facts = |facts: &[(&str, Markup)]| {
        html! { dl.facts { @for (name, value) in facts { div { dt { (name) } dd { (value) } } } } }
    };
    let paths: Vec<(&str, Markup)> = view
        .paths
        .iter()
        .map(|(name, path)| (*name, html! { bdi { (shortened(path, VALUE_LIMIT)) } }))
        .collect();
    frame.page("", "About", &html! {}, None, &html! {
        section aria-labelledby="h-program" {
            h2 #h-program { "Photo Factory " (env!("CARGO_PKG_VERSION")) }
            (facts(&[
                ("Licence", html! { "GPL-3.0-or-later: free to use, to change and to share, without warranty" }),
                ("Licences of its parts", html! { "MIT, Apache-2.0, BSD and the like; each by " code { "cargo tree -f '{p} {l}'" } " in its source" }),
                ("Files in the ledger", html! { @match view.files { Some(files) => (grouped(files)), None => "the ledger can't be read" } }),
                ("Format of the ledger", html! { (FORMAT) }),
                ("Running since", html! { @if let Some(at) = view.started_at { (clock(frame.zone, at)) } }),
                ("For programs", html! { a href="/api" { "the interface in JSON" } }),
            ]))
        }
        section aria-labelledby="h-paths" { h2 #h-paths { "Where things are" } (facts(&paths)) }
        section aria-labelledby="h-settings" {
            h2 #h-settings { "Settings in force" }
            table.cards role="table" {
                caption { span.vh { "Settings by their name in photo-factory.toml, their values, and whether they were changed" } }
                thead { tr role="row" { th scope="col" { "Setting" } th scope="col" { "Value" } th scope="col" { "Default" } } }
                tbody {
                    @for setting in &view.settings {
                        tr role="row" {
                            th scope="row" role="rowheader" { code { (shortened(&setting.name, NAME_LIMIT)) } }
                            td role="cell" { bdi { (shortened(&setting.value, VALUE_LIMIT)) } }
                            td role="cell" { @if setting.is_default { span.soft { "default" } } @else { "changed" } }
                        }
                    }
                }
            }
        }
    })
}
