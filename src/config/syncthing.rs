//! Where Syncthing's page is and how to be let in: `[syncthing]` in the settings file.

use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;

/// How to reach Syncthing; all empty: as its own settings say, where they can be read.
#[derive(Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct SyncthingSettings {
    /// The address of its page: `http://127.0.0.1:8384`, `https://…`, `HOST:PORT`, `unix:///PATH`, or `/PATH` of a Unix socket.
    pub url: Option<String>,
    /// The key of its REST interface, as its page shows it.
    pub api_key: Option<String>,
    /// A file with that key and nothing else, absolute.
    pub api_key_file: Option<PathBuf>,
}

impl fmt::Debug for SyncthingSettings {
    /// Without the key: this may end in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyncthingSettings")
            .field("url", &self.url)
            .field("has_key", &self.api_key.is_some())
            .field("api_key_file", &self.api_key_file)
            .finish()
    }
}
