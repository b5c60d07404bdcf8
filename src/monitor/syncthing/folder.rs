//! A folder that Syncthing shares, and whether it is the inbox's.

use std::path::{Path, PathBuf};

use crate::asset::{one_line, shown};

/// The folder marker's name where the settings give none.
pub const MARKER: &str = ".stfolder";

/// What Syncthing does with changes on either side.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Takes what others change, tells nobody what changes here.
    ReceiveOnly,
    /// Both ways: what is deleted here is deleted there.
    SendReceive,
    /// Takes nothing from others.
    SendOnly,
    /// Holds what others encrypted.
    ReceiveEncrypted,
    /// One that this version of ours does not know.
    Other(String),
}

impl Kind {
    /// From the settings; versions before 0.14 wrote `readwrite` and `readonly`, and a missing type is the first one.
    pub fn named(name: &str) -> Self {
        match name.to_ascii_lowercase().as_str() {
            "receiveonly" => Self::ReceiveOnly,
            "sendreceive" | "readwrite" | "" => Self::SendReceive,
            "sendonly" | "readonly" => Self::SendOnly,
            "receiveencrypted" => Self::ReceiveEncrypted,
            other => Self::Other(other.to_owned()),
        }
    }

    /// As Syncthing's page calls it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::ReceiveOnly => "Receive Only",
            Self::SendReceive => "Send & Receive",
            Self::SendOnly => "Send Only",
            Self::ReceiveEncrypted => "Receive Encrypted",
            Self::Other(name) => name,
        }
    }
}

/// A folder as Syncthing's settings have it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Folder {
    /// Its id: the same on every device that shares it.
    pub id: String,
    /// Its name on this device; may be empty.
    pub label: String,
    /// Where it is, canonical where that can be found out.
    pub path: PathBuf,
    /// What it does with changes.
    pub kind: Kind,
    /// Whether deletes of others are ignored here.
    pub ignores_deletes: bool,
    /// Whether it rests.
    pub is_paused: bool,
    /// The name below `path` without which Syncthing stops.
    pub marker: String,
    /// The devices that share it, this one among them.
    pub devices: Vec<String>,
}

impl Folder {
    /// Whether what is cleared from the inbox is cleared from this folder, or may be. `inbox` is canonical.
    pub fn concerns(&self, inbox: &Path) -> bool {
        inbox.starts_with(&self.path) || self.path.starts_with(inbox)
    }

    /// Its name for people: the label, or the id where there is none.
    pub fn name(&self) -> &str {
        [&self.label, &self.id]
            .into_iter()
            .find(|text| !text.is_empty())
            .map_or("?", String::as_str)
    }

    /// It in a sentence, with its place.
    pub fn named(&self) -> String {
        let name = one_line(self.name());
        format!("Syncthing's folder \"{name}\" ({})", shown(&self.path))
    }
}

/// The place of a folder: `~` is the home of Syncthing's user.
pub(super) fn resolved(path: &str, home: &Path) -> PathBuf {
    let path = match path.strip_prefix('~') {
        Some(below) => home.join(below.trim_start_matches('/')),
        None => PathBuf::from(path),
    };
    path.canonicalize().unwrap_or(path)
}
