//! What runs beside us, as parts of the page and of the JSON: Syncthing, and containers.

use maud::{Markup, html};
use serde_json::{Value, json};

use super::json::object;

use super::health::mark;
use super::overview::{Overview, ago, grouped};
use super::pages::{NAME_LIMIT, REASON_LIMIT, shortened};
use crate::asset::{bytes_text, lossy, rfc3339};
use crate::monitor::docker::Container;
use crate::monitor::syncthing::Sight;
use crate::monitor::syncthing::facts::{Device, InboxFolder};
use crate::monitor::syncthing::verdict::{Concern, Keeps};

/// Devices on the page.
const DEVICES_ON_PAGE: usize = 12;

/// Containers on the page.
const CONTAINERS_ON_PAGE: usize = 20;

pub(super) fn syncthing(overview: &Overview) -> Markup {
    let Some(sight) = &overview.seen.syncthing else {
        return html! {};
    };
    let verdict = &sight.verdict;
    let (class, words) = match (verdict.keeps, verdict.concern) {
        (Keeps::Yes, _) => ("well", "✓ the phones keep their copies"),
        (Keeps::No, _) => ("trouble", "✕ the phones may lose their copies"),
        (Keeps::Unknown, Concern::None) => ("idle", "– not known"),
        (Keeps::Unknown, _) => (
            "attention",
            "! not known whether the phones keep their copies",
        ),
    };
    html! {
        section #syncthing aria-labelledby="h-syncthing" {
            h2 #h-syncthing { "Syncthing" }
            p {
                span class={ "mark " (class) } { (words) }
                " " span.sub { (shortened(&verdict.words(), 3 * REASON_LIMIT)) }
            }
            @for notice in &sight.notices { p.soft { (shortened(notice, 2 * REASON_LIMIT)) } }
            @if let Some(facts) = &sight.facts {
                @for folder in &facts.folders { p { (folder_line(folder)) } }
                @if !facts.devices.is_empty() { (devices(overview, &facts.devices)) }
            }
        }
    }
}

fn folder_line(seen: &InboxFolder) -> Markup {
    let folder = &seen.folder;
    html! {
        "Folder " bdi { (shortened(&folder.label, NAME_LIMIT)) } " in " bdi { (shortened(&lossy(folder.path.as_os_str()), NAME_LIMIT)) }
        @if let Some(progress) = &seen.progress {
            ": " (progress.state.words())
            @if progress.need_files > 0 {
                ", " (grouped(progress.need_files)) " files (" (bytes_text(progress.need_bytes)) ") to come"
            }
            @if let Some(error) = &progress.error { " " span.sub { (shortened(error, REASON_LIMIT)) } }
        }
        @if folder.is_paused { ": paused" }
    }
}

fn devices(overview: &Overview, devices: &[Device]) -> Markup {
    html! {
        table {
            caption { span.vh { "The devices that Syncthing knows" } }
            thead { tr { th scope="col" { "Device" } th scope="col" { "Connection" } th scope="col" { "Last seen" } } }
            tbody {
                @for device in devices.iter().take(DEVICES_ON_PAGE) {
                    tr {
                        th scope="row" { bdi { (shortened(name_of(device), NAME_LIMIT)) } }
                        td { (connection(device)) }
                        td {
                            @match device.last_seen {
                                _ if device.is_connected => "now",
                                Some(at) => time datetime=(rfc3339(at)) { (ago(at, overview.generated_at)) },
                                None => "never",
                            }
                        }
                    }
                }
            }
        }
    }
}

fn name_of(device: &Device) -> &str {
    if device.name.is_empty() {
        &device.id
    } else {
        &device.name
    }
}

fn connection(device: &Device) -> &'static str {
    match (device.is_paused, device.is_connected) {
        (true, _) => "paused",
        (_, true) => "connected",
        _ => "not connected",
    }
}

pub(super) fn containers(overview: &Overview) -> Markup {
    let seen = &overview.seen;
    if seen.containers.is_empty() && seen.docker_trouble.is_none() {
        return html! {};
    }
    html! {
        section #containers aria-labelledby="h-containers" {
            h2 #h-containers { "Containers" }
            @if let Some(trouble) = &seen.docker_trouble { p { (shortened(trouble, 2 * REASON_LIMIT)) } }
            @if !seen.containers.is_empty() {
                table {
                    caption { span.vh { "Containers, as Docker tells of them" } }
                    thead { tr { th scope="col" { "Container" } th scope="col" { "State" } th scope="col" { "Restarts" } } }
                    tbody {
                        @for container in seen.containers.iter().take(CONTAINERS_ON_PAGE) {
                            tr {
                                th scope="row" { bdi { (shortened(&container.name, NAME_LIMIT)) } }
                                td {
                                    span class={ "mark " (mark(&container.status).0) } { (container.state) }
                                    @if let Some(reason) = container.status.reason() { " " span.sub { (shortened(reason, REASON_LIMIT)) } }
                                }
                                td { (grouped(container.restarts)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

pub(super) fn syncthing_json(sight: &Sight) -> Value {
    let verdict = &sight.verdict;
    object(vec![
        (
            "phone_copies",
            json!(match verdict.keeps {
                Keeps::Yes => "kept",
                Keeps::No => "in_danger",
                Keeps::Unknown => "unknown",
            }),
        ),
        ("verdict", json!(verdict.words())),
        ("warnings", json!(sight.warnings)),
        ("notices", json!(sight.notices)),
        (
            "version",
            json!(sight.facts.as_ref().map(|facts| &facts.version)),
        ),
        (
            "folders",
            json!(
                sight
                    .facts
                    .as_ref()
                    .map(|facts| { facts.folders.iter().map(folder_json).collect::<Vec<_>>() })
            ),
        ),
        (
            "devices",
            json!(
                sight
                    .facts
                    .as_ref()
                    .map(|facts| { facts.devices.iter().map(device_json).collect::<Vec<_>>() })
            ),
        ),
    ])
}

fn folder_json(seen: &InboxFolder) -> Value {
    let progress = seen.progress.as_ref();
    object(vec![
        ("label", json!(seen.folder.label)),
        ("path", json!(lossy(seen.folder.path.as_os_str()))),
        ("paused", json!(seen.folder.is_paused)),
        (
            "state",
            json!(progress.map(|progress| progress.state.words())),
        ),
        (
            "error",
            json!(progress.and_then(|progress| progress.error.as_deref())),
        ),
        (
            "need_files",
            json!(progress.map(|progress| progress.need_files)),
        ),
        (
            "need_bytes",
            json!(progress.map(|progress| progress.need_bytes)),
        ),
    ])
}

fn device_json(device: &Device) -> Value {
    object(vec![
        ("id", json!(device.id)),
        ("name", json!(device.name)),
        ("connected", json!(device.is_connected)),
        ("paused", json!(device.is_paused)),
        ("last_seen", json!(device.last_seen.map(rfc3339))),
    ])
}

pub(super) fn container_json(container: &Container) -> Value {
    object(vec![
        ("name", json!(container.name)),
        ("state", json!(container.state)),
        ("status", json!(container.status.as_str())),
        ("reason", json!(container.status.reason())),
        ("restarts", json!(container.restarts)),
        ("since", json!(container.since.map(rfc3339))),
    ])
}
