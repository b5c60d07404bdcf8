//! The settings file: what differs from what is in force, put into its text, read again, and written whole.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::folders::Folders;
use super::{Key, SetupError, refused};
use crate::config::Config;
use crate::config::edit::edited;
use crate::disk;

/// A setting to be changed: section, key, and its value; `None`: the default.
pub(super) type Change = (&'static str, &'static str, Option<String>);

/// What differs from what is in force.
pub(super) fn changes(
    config: &Config,
    folders: &Folders,
    listen: SocketAddr,
    key: &Key,
    key_file: &Path,
) -> Vec<Change> {
    let mut changes: Vec<Change> = Vec::new();
    if folders.storage != config.storage {
        changes.push(("storage", "path", Some(folders.typed_storage.clone())));
    }
    if folders.inbox != config.inbox {
        changes.push(("inbox", "path", Some(folders.typed_inbox.clone())));
    }
    if listen != config.listen {
        changes.push(("dashboard", "listen", Some(listen.to_string())));
    }
    let set = &config.monitor.syncthing;
    // A key in the settings file goes before one in a file.
    if set.api_key.is_some() && !matches!(key, Key::Stays) {
        changes.push(("syncthing", "api_key", None));
    }
    match key {
        Key::Is(_) if set.api_key_file.as_deref() != Some(key_file) => {
            let path = key_file.to_string_lossy().into_owned();
            changes.push(("syncthing", "api_key_file", Some(path)));
        }
        Key::Found if set.api_key_file.is_some() => {
            changes.push(("syncthing", "api_key_file", None));
        }
        _ => {}
    }
    changes
}

/// The settings file's text with the changes in it, if there are any: read again, and found to say what was asked for.
pub(super) fn changed(
    config: &Config,
    file: &Path,
    folders: &Folders,
    listen: SocketAddr,
    changes: &[Change],
) -> Result<Option<String>, SetupError> {
    if changes.is_empty() {
        return Ok(None);
    }
    let before = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(refused(format!("{}: {error}", file.display()))),
    };
    let mut text = before;
    for (section, key, value) in changes {
        text = edited(&text, section, key, value.as_deref());
    }
    let says = |read: Config| {
        let (now, was) = (&read.monitor.syncthing, &config.monitor.syncthing);
        let is_changed = |key: &str| changes.iter().any(|change| change.1 == key);
        let stays = |key: &str, is_same: bool| is_same || is_changed(key);
        read.storage == folders.storage
            && read.inbox == folders.inbox
            && read.listen == listen
            && stays("api_key", now.api_key == was.api_key)
            && stays("api_key_file", now.api_key_file == was.api_key_file)
            && changes.iter().all(|(_, key, value)| match *key {
                "api_key" => now.api_key.is_none(),
                "api_key_file" => now.api_key_file.as_deref() == value.as_deref().map(Path::new),
                _ => true,
            })
    };
    if Config::of_text(&config.root, &text, file).is_ok_and(says) {
        return Ok(Some(text));
    }
    let mut lines = String::new();
    for (section, key, value) in changes {
        lines.push_str(&edited(
            "",
            section,
            key,
            Some(value.as_deref().unwrap_or_default()),
        ));
    }
    Err(refused(format!(
        "{} is written in a way that can't be changed here; write this into it by hand, and type the same again:\n{lines}",
        file.display()
    )))
}

/// Whole, and with the owner and mode that it has.
pub(super) fn write(path: &Path, text: &str) -> Result<(), SetupError> {
    // A link stays one: what it leads to is replaced.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let (mode, owner) = path.metadata().map_or((0o644, None), |seen| {
        (seen.mode() & 0o7777, Some((seen.uid(), seen.gid())))
    });
    disk::replace_file_of(&path, text.as_bytes(), mode, owner)?;
    say!("Written: {}", path.display());
    Ok(())
}
