//! What runs here: version, licences, paths, and the settings in force. Never a key or a password.

use jiff::Timestamp;
use maud::{Markup, html};
use serde_json::{Value, json};

use super::{Frame, NAME_LIMIT, clock, shortened};
use crate::asset::{rfc3339, shown};
use crate::config::Config;
use crate::dashboard::json::object;
use crate::dashboard::overview::grouped;
use crate::dashboard::reply::Reply;
use crate::dashboard::routes::{Answer, Asked};
use crate::dashboard::settings;
use crate::ledger::FORMAT;

/// Characters of a value.
const VALUE_LIMIT: usize = 160;

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
        let defaults = defaults
            .as_ref()
            .map(settings::in_force)
            .unwrap_or_default();
        Self {
            paths: vec![
                ("Root", shown(&config.root)),
                ("Inbox", shown(&config.inbox)),
                ("Storage", shown(&config.storage)),
                ("Data", shown(&config.data)),
                ("Logs", shown(&config.logs)),
            ],
            settings: settings::in_force(config)
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
