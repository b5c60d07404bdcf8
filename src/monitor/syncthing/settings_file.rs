//! Syncthing's own settings, `config.xml`: where they may be, and what in them concerns us.
//!
//! Source: Syncthing's documentation of its configuration; files of 1.19, 1.29 and 2.1.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use roxmltree::{Document, Node};

use super::folder::{Folder, Kind, MARKER, resolved};
use crate::config;

/// Settings larger than this are none.
const LARGEST: u64 = 16 << 20;

/// One settings file that was understood.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SettingsFile {
    /// Where it is.
    pub path: PathBuf,
    /// The folders it shares.
    pub folders: Vec<Folder>,
    /// Its page; `None`: switched off.
    pub page: Option<Page>,
}

/// Where Syncthing's page listens, and the key to its REST interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page {
    /// As Syncthing writes it: `127.0.0.1:8384`, or the path of a socket.
    pub address: String,
    /// Whether it insists on TLS.
    pub tls: bool,
    /// The key; empty: none is set.
    pub key: String,
}

/// What a search for settings came to.
#[derive(Debug, Default)]
pub struct Search {
    /// Those that were understood.
    pub found: Vec<SettingsFile>,
    /// Those that exist and may not be read, or can't.
    pub closed: Vec<(PathBuf, io::Error)>,
    /// Those that make no sense.
    pub broken: Vec<(PathBuf, roxmltree::Error)>,
}

impl Search {
    /// The settings of the Syncthing that delivers into the inbox, else the first that were found.
    pub fn best(&self, inbox: &Path) -> Option<&SettingsFile> {
        let holds = |file: &&SettingsFile| file.folders.iter().any(|one| one.concerns(inbox));
        self.found.iter().find(holds).or_else(|| self.found.first())
    }
}

/// Looks for settings of this user, of the inbox's owner, and of Syncthing's own service. `inbox` is canonical.
pub fn search(inbox: &Path) -> Search {
    let mut search = Search::default();
    for (path, home) in places(inbox) {
        match read(&path) {
            Ok(None) => {}
            Ok(Some(text)) => match parse(&path, &text, &home) {
                Ok(file) => search.found.push(file),
                Err(error) => search.broken.push((path, error)),
            },
            Err(error) => search.closed.push((path, error)),
        }
    }
    search
}

/// Where its settings may be, with the home that a `~` in them means: of this user, of the inbox's owner, of its service.
fn places(inbox: &Path) -> Vec<(PathBuf, PathBuf)> {
    let mut homes: Vec<PathBuf> = config::home().into_iter().collect();
    let owner = std::fs::metadata(inbox).ok().map(|seen| seen.uid());
    homes.extend(owner.and_then(home_of));
    homes.push(PathBuf::from("/var/lib/syncthing"));
    let mut places: Vec<(PathBuf, PathBuf)> = Vec::new();
    let mut add = |folder: PathBuf, home: &Path| {
        let file = folder.join("config.xml");
        if places.iter().all(|(known, _)| *known != file) {
            places.push((file, home.to_owned()));
        }
    };
    let own_home = homes.first().cloned().unwrap_or_default();
    for folder in config::syncthing_folders() {
        add(folder, &own_home);
    }
    for home in &homes {
        for folder in [".local/state/syncthing", ".config/syncthing"] {
            add(home.join(folder), home);
        }
    }
    places
}

fn home_of(id: u32) -> Option<PathBuf> {
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    users.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let is_theirs = fields.get(2)?.parse() == Ok(id);
        is_theirs.then(|| fields.get(5).map(PathBuf::from))?
    })
}

/// The text of a settings file; `None`: there is none.
fn read(path: &Path) -> io::Result<Option<String>> {
    let looked = std::fs::metadata(path).and_then(|seen| {
        if !seen.is_file() || seen.len() > LARGEST {
            return Err(io::ErrorKind::InvalidData.into());
        }
        std::fs::read_to_string(path)
    });
    match looked {
        Ok(text) => Ok(Some(text)),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        // Another user's home is closed to us: whether there is anything in it is not known, and not our business.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && !exists(path) => Ok(None),
        Err(error) => Err(error),
    }
}

fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

fn parse(path: &Path, text: &str, home: &Path) -> Result<SettingsFile, roxmltree::Error> {
    let document = Document::parse(text)?;
    let root = document.root_element();
    let folders = root.children().filter(|node| node.has_tag_name("folder"));
    Ok(SettingsFile {
        path: path.to_owned(),
        folders: folders.map(|node| folder(node, home)).collect(),
        page: root
            .children()
            .find(|node| node.has_tag_name("gui"))
            .and_then(page),
    })
}

fn page(node: Node<'_, '_>) -> Option<Page> {
    if node.attribute("enabled") == Some("false") {
        return None;
    }
    Some(Page {
        address: text_of(node, "address").to_owned(),
        tls: node.attribute("tls") == Some("true"),
        key: text_of(node, "apikey").to_owned(),
    })
}

/// The text of a child; empty where there is none.
fn text_of<'a>(node: Node<'a, '_>, name: &str) -> &'a str {
    let child = node.children().find(|child| child.has_tag_name(name));
    child.and_then(|child| child.text()).unwrap_or("").trim()
}

fn folder(node: Node<'_, '_>, home: &Path) -> Folder {
    let attribute = |name| node.attribute(name).unwrap_or_default();
    let marker = text_of(node, "markerName");
    let devices = node
        .children()
        .filter(|child| child.has_tag_name("device"))
        .map(|child| child.attribute("id").unwrap_or_default().to_owned());
    Folder {
        id: attribute("id").to_owned(),
        label: attribute("label").to_owned(),
        path: resolved(attribute("path"), home),
        kind: Kind::named(attribute("type")),
        ignores_deletes: text_of(node, "ignoreDelete") == "true",
        is_paused: attribute("paused") == "true" || text_of(node, "paused") == "true",
        marker: if marker.is_empty() { MARKER } else { marker }.to_owned(),
        devices: devices.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(path: &str, more: &str) -> String {
        format!(
            r#"<configuration version="37">
    <folder id="abcd-1234" label="Camera &amp; more" path="{path}" type="receiveonly" rescanIntervalS="3600">
        <device id="OURSELVES"></device><device id="PHONE"></device>
        {more}
    </folder>
    <device id="PHONE" name="phone"><address>dynamic</address></device>
    <gui enabled="true" tls="true"><address>127.0.0.1:8384</address><apikey> the-key </apikey></gui>
    <defaults><folder id="" path="~" type="sendreceive"></folder></defaults>
</configuration>"#
        )
    }

    fn parsed(text: &str) -> SettingsFile {
        parse(Path::new("config.xml"), text, Path::new("/home/nobody")).expect("well-formed")
    }

    #[test]
    fn folders_and_the_page_are_read_and_the_defaults_are_no_folder() {
        let file = parsed(&settings("/srv/nowhere", "<paused>true</paused>"));
        let [folder] = &file.folders[..] else {
            panic!("{file:?}");
        };
        assert_eq!(folder.name(), "Camera & more");
        assert_eq!(folder.kind, Kind::ReceiveOnly);
        assert_eq!(folder.devices, ["OURSELVES", "PHONE"]);
        assert_eq!(folder.marker, ".stfolder");
        assert!(folder.is_paused && !folder.ignores_deletes);
        let page = file.page.expect("it is on");
        assert_eq!((page.key.as_str(), page.tls), ("the-key", true));
    }

    #[test]
    fn a_page_that_is_switched_off_is_none() {
        let text =
            settings("/srv/nowhere", "").replace("gui enabled=\"true\"", "gui enabled=\"false\"");
        assert_eq!(parsed(&text).page, None);
    }

    #[test]
    fn a_tilde_is_the_home_of_whose_settings_these_are() {
        let file = parsed(&settings("~/Sync/inbox", "<markerName>.here</markerName>"));
        assert_eq!(file.folders[0].path, Path::new("/home/nobody/Sync/inbox"));
        assert_eq!(file.folders[0].marker, ".here");
        assert!(parse(Path::new("x"), "<configuration>", Path::new("/")).is_err());
    }

    #[test]
    fn the_settings_whose_folder_holds_the_inbox_go_first() {
        let one = |path: &str| parsed(&settings(path, ""));
        let search = Search {
            found: vec![one("/srv/elsewhere"), one("/srv/inbox-of-nobody")],
            ..Search::default()
        };
        let best = |inbox: &str| {
            search
                .best(Path::new(inbox))
                .map(|file| &file.folders[0].path)
        };
        let below = best("/srv/inbox-of-nobody/phone");
        assert_eq!(below, Some(&PathBuf::from("/srv/inbox-of-nobody")));
        assert_eq!(best("/srv/inbox"), Some(&PathBuf::from("/srv/elsewhere")));
    }
}
