//! What Syncthing's REST interface tells, as facts.
//!
//! Source: Syncthing's documentation of the REST interface; answers of 1.19, 1.29 and 2.1. A field that a version does not have
//! reads as nothing, never as an error.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::folder::{Folder, Kind, MARKER, resolved};
use super::verdict::Phones;

/// Everything known of a Syncthing that let us in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Facts {
    /// Its version: `v1.19.2`.
    pub version: String,
    /// How long it has been up.
    pub uptime: Duration,
    /// What it complains of in its page, newest last.
    pub errors: Vec<String>,
    /// The devices it knows, without itself.
    pub devices: Vec<Device>,
    /// The folders that concern the inbox.
    pub folders: Vec<InboxFolder>,
    /// Devices that asked to be let in, and wait for the owner.
    pub waiting: Vec<Stranger>,
}

/// A device that Syncthing knows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Device {
    /// Its id.
    pub id: String,
    /// Its name; may be empty.
    pub name: String,
    /// Whether it is connected now.
    pub is_connected: bool,
    /// Whether it was told to rest.
    pub is_paused: bool,
    /// When it was connected last; `None`: never.
    pub last_seen: Option<Timestamp>,
}

/// A device that is not let in yet. It chose its name itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stranger {
    /// Its id.
    pub id: String,
    /// What it calls itself.
    pub name: String,
}

/// A folder that concerns the inbox.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InboxFolder {
    /// Its settings.
    pub folder: Folder,
    /// Whether its marker is there; `None`: can't be seen by us.
    pub has_marker: Option<bool>,
    /// How far it is, as of the last time this was asked; `None` while it is paused.
    pub progress: Option<Progress>,
    /// A file that Syncthing can't take, and why.
    pub file_error: Option<String>,
    /// What the devices that share it show of themselves.
    pub phones: Phones,
}

/// How far a folder is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Progress {
    /// What it does.
    pub state: State,
    /// Why it stopped.
    pub error: Option<String>,
    /// Files that are still to come.
    pub need_files: u64,
    /// Bytes that are still to come.
    pub need_bytes: u64,
    /// Files that left a Receive Only folder and still stand on the phones.
    pub left_here: u64,
    /// Files that can't be taken.
    pub file_errors: u64,
    /// Why changes are noticed by the hourly scan only.
    pub watch_error: Option<String>,
}

/// What a folder does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum State {
    /// All is done.
    Idle,
    /// Looks for changes here.
    Scanning,
    /// Waits for its turn to look.
    ScanWaiting,
    /// Waits for its turn to take.
    SyncWaiting,
    /// Works out what to take.
    SyncPreparing,
    /// Takes what is to come.
    Syncing,
    /// Puts things in order after taking.
    Cleaning,
    /// Waits for its turn to do so.
    CleanWaiting,
    /// Stopped; see [`Progress::error`].
    Error,
    /// Begins.
    Starting,
    /// One that this version of ours does not know.
    Other(String),
}

impl State {
    fn named(name: &str) -> Self {
        match name {
            "idle" => Self::Idle,
            "scanning" => Self::Scanning,
            "scan-waiting" => Self::ScanWaiting,
            "sync-waiting" => Self::SyncWaiting,
            "sync-preparing" => Self::SyncPreparing,
            "syncing" => Self::Syncing,
            "cleaning" => Self::Cleaning,
            "clean-waiting" => Self::CleanWaiting,
            "error" => Self::Error,
            // A folder whose goroutine is not up yet has no state.
            "starting" | "" => Self::Starting,
            other => Self::Other(other.to_owned()),
        }
    }

    /// For people.
    pub fn words(&self) -> &str {
        match self {
            Self::Idle => "up to date",
            Self::Scanning => "looking for changes",
            Self::ScanWaiting => "waiting to look for changes",
            Self::SyncWaiting => "waiting to receive",
            Self::SyncPreparing => "preparing to receive",
            Self::Syncing => "receiving",
            Self::Cleaning => "putting things in order",
            Self::CleanWaiting => "waiting to put things in order",
            Self::Error => "stopped by an error",
            Self::Starting => "starting",
            Self::Other(name) => name,
        }
    }
}

/// What Syncthing says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Itself {
    /// Its own device's id.
    pub(super) id: String,
    /// The home of its user.
    pub(super) home: PathBuf,
    pub(super) uptime: Duration,
}

/// From `/rest/system/status`.
pub(super) fn itself(told: &Value) -> Itself {
    Itself {
        id: text(told, "myID"),
        home: PathBuf::from(text(told, "tilde")),
        uptime: Duration::from_secs(number(told, "uptime")),
    }
}

/// From `/rest/system/error`.
pub(super) fn errors(told: &Value) -> Vec<String> {
    list(&told["errors"])
        .map(|error| text(error, "message"))
        .filter(|message| !message.is_empty())
        .collect()
}

/// From `/rest/config/devices`, `/rest/system/connections` and `/rest/stats/device`.
pub(super) fn devices(known: &Value, connections: &Value, seen: &Value, own: &str) -> Vec<Device> {
    list(known)
        .map(|device| {
            let id = text(device, "deviceID");
            let connection = &connections["connections"][&id];
            // It writes the beginning of time for a device that was never there.
            let last_seen = text(&seen[&id], "lastSeen").parse().ok();
            Device {
                name: text(device, "name"),
                is_connected: flag(connection, "connected"),
                is_paused: flag(device, "paused") || flag(connection, "paused"),
                last_seen: last_seen.filter(|&at: &Timestamp| at > Timestamp::UNIX_EPOCH),
                id,
            }
        })
        .filter(|device| device.id != own)
        .collect()
}

/// From `/rest/config/folders`.
pub(super) fn folders(told: &Value, home: &Path) -> Vec<Folder> {
    let folders = list(told).map(|one| {
        let marker = text(one, "markerName");
        Folder {
            id: text(one, "id"),
            label: text(one, "label"),
            path: resolved(&text(one, "path"), home),
            kind: Kind::named(&text(one, "type")),
            ignores_deletes: flag(one, "ignoreDelete"),
            is_paused: flag(one, "paused"),
            marker: if marker.is_empty() {
                MARKER.to_owned()
            } else {
                marker
            },
            devices: list(&one["devices"])
                .map(|device| text(device, "deviceID"))
                .collect(),
        }
    });
    folders.collect()
}

/// From `/rest/db/status`.
pub(super) fn progress(told: &Value) -> Progress {
    let reason = |name| Some(text(told, name)).filter(|reason| !reason.is_empty());
    Progress {
        state: State::named(&text(told, "state")),
        error: reason("error").or_else(|| reason("invalid")),
        need_files: number(told, "needFiles"),
        need_bytes: number(told, "needBytes"),
        left_here: number(told, "receiveOnlyChangedDeletes"),
        // Of old, only the second name.
        file_errors: number(told, "errors").max(number(told, "pullErrors")),
        watch_error: reason("watchError"),
    }
}

/// From `/rest/folder/errors`: the first file that can't be taken.
pub(super) fn file_error(told: &Value) -> Option<String> {
    let error = list(&told["errors"]).next()?;
    Some(format!("{}: {}", text(error, "path"), text(error, "error")))
}

/// From `/rest/db/completion`: whether a device has everything but the deletes.
pub(super) fn leaves_deletes_undone(told: &Value) -> bool {
    let is_complete = told["completion"]
        .as_f64()
        .is_none_or(|percent| percent >= 100.0);
    !is_complete
        && number(told, "needDeletes") > 0
        && number(told, "needItems") == 0
        && number(told, "needBytes") == 0
}

/// From `/rest/cluster/pending/devices`.
pub(super) fn strangers(told: &Value) -> Vec<Stranger> {
    let waiting = told.as_object().into_iter().flatten();
    waiting
        .map(|(id, device)| Stranger {
            id: id.clone(),
            name: text(device, "name"),
        })
        .collect()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or_default()
}

fn flag(value: &Value, name: &str) -> bool {
    value[name].as_bool().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn devices_are_told_with_when_they_were_seen_and_without_ourselves() {
        let known = json!([
            {"deviceID": "OURS", "name": "nas"},
            {"deviceID": "PHONE", "name": "Anna's phone", "paused": false},
            {"deviceID": "OLD", "name": "", "paused": true},
        ]);
        let connections = json!({"connections": {"PHONE": {"connected": true, "paused": false}}});
        let seen = json!({
            "PHONE": {"lastSeen": "2024-05-06T07:08:09+02:00"},
            "OLD": {"lastSeen": "1970-01-01T00:00:00Z"},
        });
        let devices = devices(&known, &connections, &seen, "OURS");
        let [phone, old] = &devices[..] else {
            panic!("{devices:?}");
        };
        assert_eq!(phone.name, "Anna's phone");
        assert!(phone.is_connected && !phone.is_paused);
        assert_eq!(phone.last_seen, "2024-05-06T05:08:09Z".parse().ok());
        assert!(!old.is_connected && old.is_paused);
        assert_eq!(old.last_seen, None);
    }

    #[test]
    fn every_state_of_a_folder_has_words_of_its_own() {
        let names = [
            "idle",
            "scanning",
            "scan-waiting",
            "sync-waiting",
            "sync-preparing",
            "syncing",
            "cleaning",
            "clean-waiting",
            "error",
            "starting",
        ];
        let mut words: Vec<_> = names
            .iter()
            .map(|name| {
                let state = State::named(name);
                assert!(!matches!(state, State::Other(_)), "{name}");
                state.words().to_owned()
            })
            .collect();
        words.sort();
        words.dedup();
        assert_eq!(words.len(), names.len());
        assert_eq!(State::named("dreaming").words(), "dreaming");
        assert_eq!(State::named(""), State::Starting);
    }

    #[test]
    fn a_folders_progress_is_read_from_old_and_new_versions() {
        let told = json!({
            "state": "syncing", "needFiles": 3, "needBytes": 12_000_000, "pullErrors": 2, "errors": 0,
            "receiveOnlyChangedDeletes": 300, "error": "", "watchError": "no space left on device",
        });
        let progress = progress(&told);
        assert_eq!(progress.state, State::Syncing);
        assert_eq!((progress.need_files, progress.need_bytes), (3, 12_000_000));
        assert_eq!((progress.left_here, progress.file_errors), (300, 2));
        assert_eq!(progress.error, None);
        assert!(progress.watch_error.is_some());
    }

    #[test]
    fn folders_are_read_with_the_home_of_syncthings_user() {
        let told = json!([{
            "id": "abcd", "label": "Camera", "path": "~/in", "type": "receiveonly", "paused": true, "ignoreDelete": true,
            "markerName": "", "devices": [{"deviceID": "OURS"}, {"deviceID": "PHONE"}],
        }]);
        let folders = folders(&told, Path::new("/home/nobody"));
        let folder = &folders[0];
        assert_eq!(folder.path, Path::new("/home/nobody/in"));
        assert_eq!(folder.kind, Kind::ReceiveOnly);
        assert!(folder.is_paused && folder.ignores_deletes);
        assert_eq!((folder.marker.as_str(), folder.devices.len()), (MARKER, 2));
    }

    #[test]
    fn only_a_device_that_lacks_nothing_but_deletes_leaves_them_undone() {
        let told = |percent: u32, items: u32, deletes: u32| json!({"completion": percent, "needItems": items, "needBytes": 0, "needDeletes": deletes});
        assert!(leaves_deletes_undone(&told(95, 0, 12)));
        assert!(!leaves_deletes_undone(&told(95, 3, 12)));
        assert!(!leaves_deletes_undone(&told(100, 0, 0)));
        assert!(!leaves_deletes_undone(&json!({})));
    }

    #[test]
    fn what_a_version_does_not_tell_reads_as_nothing() {
        for nothing in [json!(null), json!({}), json!([]), json!("text"), json!(3)] {
            assert!(errors(&nothing).is_empty());
            assert!(devices(&nothing, &nothing, &nothing, "OURS").is_empty());
            assert!(folders(&nothing, Path::new("/")).is_empty());
            assert!(strangers(&nothing).is_empty());
            assert_eq!(file_error(&nothing), None);
            assert_eq!(progress(&nothing).state, State::Starting);
            assert_eq!(itself(&nothing).uptime, Duration::ZERO);
        }
        let told = json!({"errors": [{"when": "2024-05-06T07:08:09Z", "message": "folder marker missing"}]});
        assert_eq!(errors(&told), ["folder marker missing"]);
        let told = json!({"NEW-ID": {"time": "2024-05-06T07:08:09Z", "name": "phone", "address": "192.0.2.1:22000"}});
        assert_eq!(strangers(&told)[0].name, "phone");
        let told = json!({"errors": [{"path": "a.jpg", "error": "no space"}]});
        assert_eq!(file_error(&told).as_deref(), Some("a.jpg: no space"));
    }
}
