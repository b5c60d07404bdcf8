//! What Syncthing's own settings mean for the copies on the phones: read from its `config.xml`, where that can be found.
//!
//! Sources: Syncthing's documentation of folder types and of `ignoreDelete`; its behaviour, tried with 1.19, 1.29 and 2.1.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use roxmltree::{Document, Node};

use super::{Check, ourselves, user};
use crate::config::{self, Clear, Config};

/// Settings larger than this are none.
const LARGEST: u64 = 16 << 20;

/// A folder that Syncthing shares.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Folder {
    label: String,
    path: PathBuf,
    kind: String,
    ignores_deletes: bool,
    is_paused: bool,
    /// With how many other devices.
    devices: usize,
}

/// Looks for Syncthing's settings and for the folder in them that holds the inbox.
pub(super) fn examine(config: &Config) -> Vec<Check> {
    let inbox = config
        .inbox
        .canonicalize()
        .unwrap_or_else(|_| config.inbox.clone());
    let mut found = Vec::new();
    let mut closed = Vec::new();
    for (path, home) in places(&inbox) {
        match read(&path) {
            Ok(None) => {}
            Ok(Some(text)) => match parse(&text, &home) {
                Ok(folders) => found.push((path, folders)),
                Err(error) => {
                    return vec![
                        Check::note(
                            "syncthing",
                            format!("{} can't be understood: {error}", path.display()),
                            "What clearing the inbox means for the phones is not known.",
                        )
                        .then("look at the folder's type in Syncthing's own page"),
                    ];
                }
            },
            Err(error) => closed.push((path, error)),
        }
    }
    let holding: Vec<_> = found
        .iter()
        .flat_map(|(path, folders)| folders.iter().map(move |folder| (path, folder)))
        .filter(|(_, folder)| inbox.starts_with(&folder.path) || folder.path.starts_with(&inbox))
        .collect();
    if !holding.is_empty() {
        return holding
            .into_iter()
            .map(|(path, folder)| judge(path, folder, config.clear))
            .collect();
    }
    if let Some((path, error)) = closed.first() {
        return vec![
            Check::note(
                "syncthing",
                format!(
                    "{} can't be read by {}: {error}",
                    path.display(),
                    user(ourselves())
                ),
                "So what clearing the inbox means for the photos on the phones is not known.",
            )
            .then("sudo photo-factory doctor")
            .then("or look in Syncthing's own page: the inbox's folder should be Receive Only"),
        ];
    }
    vec![match found.first() {
        Some((path, _)) => Check::note(
            "syncthing",
            format!(
                "Syncthing's settings {} share no folder that holds the inbox {}",
                path.display(),
                inbox.display()
            ),
            "Phones that sync with it deliver elsewhere.",
        )
        .then("share the phone's camera folder, and give it the inbox as its path, Receive Only"),
        None => Check::well(
            "syncthing",
            "no settings of Syncthing on this machine: photos come another way",
        ),
    }]
}

/// Where its settings may be, with the home that a `~` in them means: of this user, of the inbox's owner, of its service.
fn places(inbox: &Path) -> Vec<(PathBuf, PathBuf)> {
    let mut homes: Vec<PathBuf> = config::home().into_iter().collect();
    let owner = std::fs::metadata(inbox).ok().map(|seen| seen.uid());
    homes.extend(owner.and_then(home_of));
    homes.push(PathBuf::from("/var/lib/syncthing"));
    let mut seen = BTreeSet::new();
    let mut places = Vec::new();
    let mut add = |folder: PathBuf, home: &Path| {
        let file = folder.join("config.xml");
        if seen.insert(file.clone()) {
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

fn parse(text: &str, home: &Path) -> Result<Vec<Folder>, roxmltree::Error> {
    let document = Document::parse(text)?;
    let folders = document
        .root_element()
        .children()
        .filter(|node| node.has_tag_name("folder"));
    Ok(folders.map(|node| folder(node, home)).collect())
}

fn folder(node: Node<'_, '_>, home: &Path) -> Folder {
    let attribute = |name| node.attribute(name).unwrap_or_default();
    let is_set = |name| {
        let child = node.children().find(|child| child.has_tag_name(name));
        child.and_then(|child| child.text()) == Some("true")
    };
    let path = attribute("path");
    let path = match path.strip_prefix('~') {
        Some(below) => home.join(below.trim_start_matches('/')),
        None => PathBuf::from(path),
    };
    Folder {
        label: [attribute("label"), attribute("id")]
            .into_iter()
            .find(|text| !text.is_empty())
            .unwrap_or("?")
            .to_owned(),
        path: path.canonicalize().unwrap_or(path),
        kind: attribute("type").to_ascii_lowercase(),
        ignores_deletes: is_set("ignoreDelete"),
        is_paused: node.attribute("paused") == Some("true") || is_set("paused"),
        // It names itself among them.
        devices: node
            .children()
            .filter(|child| child.has_tag_name("device"))
            .count()
            .saturating_sub(1),
    }
}

/// What the folder's type means for the phones, in plain words.
fn judge(settings: &Path, folder: &Folder, clear: Clear) -> Check {
    const SET: &str = "in Syncthing's page here: the folder, Edit, Advanced, Folder Type: Receive Only; on the phone: Send Only";
    let named = format!(
        "Syncthing's folder \"{}\" ({})",
        folder.label,
        settings.display()
    );
    let check = match folder.kind.as_str() {
        "receiveonly" => {
            let deletes = if folder.ignores_deletes {
                " Photos deleted on a phone before they are filed are filed all the same."
            } else {
                ""
            };
            let says = format!(
                "{named} is Receive Only: phones keep their copies when the inbox is cleared.{deletes} Its red \"Revert Local Changes\" button delivers every photo once more; they are recognised, so better leave it"
            );
            Check::well("syncthing", says)
        }
        "sendreceive" | "readwrite" | "" if clear == Clear::Always => Check::finding(
            "syncthing",
            format!("{named} is Send & Receive, and the inbox is cleared"),
            "Syncthing takes a cleared inbox for a wish: where the phone's folder is Send & Receive too, every filed photo is DELETED FROM THE PHONE. Where the phone's is Send Only, its copies stay, and it shows a red \"Override\" button.",
        )
        .then(SET)
        .then("or keep every photo in the inbox as well: clear = \"never\" under [inbox] in the settings"),
        "sendreceive" | "readwrite" | "" => Check::note(
            "syncthing",
            format!("{named} is Send & Receive; nothing is cleared from the inbox, so nothing is deleted from the phones"),
            "Who deletes a file in the inbox by hand deletes it from the phone too.",
        )
        .then(SET),
        "sendonly" | "readonly" => Check::finding(
            "syncthing",
            format!("{named} is Send Only"),
            "It takes nothing from the phones: no photo ever arrives.",
        )
        .then(SET),
        "receiveencrypted" => Check::finding(
            "syncthing",
            format!("{named} is Receive Encrypted"),
            "What arrives can't be read by anybody on this machine, so nothing can be filed.",
        )
        .then("share the folder anew without an encryption password, Receive Only"),
        other => Check::note(
            "syncthing",
            format!("{named} is of a type unknown to this version: {other}"),
            "What clearing the inbox means for the phones is not known.",
        ),
    };
    if check.level == super::Level::Well && folder.is_paused {
        return Check::note(
            "syncthing",
            format!("{named} is paused"),
            "Nothing arrives while it is.",
        )
        .then("resume it in Syncthing's page");
    }
    if check.level == super::Level::Well && folder.devices == 0 {
        return Check::note(
            "syncthing",
            format!("{named} is shared with no device"),
            "Nothing arrives until a phone shares it.",
        )
        .then("add the phone in Syncthing's page, and share the folder with it");
    }
    check
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    fn settings(kind: &str, more: &str) -> String {
        format!(
            r#"<configuration version="37">
    <folder id="abcd-1234" label="Camera &amp; more" path="/srv/inbox" type="{kind}" rescanIntervalS="3600">
        <filesystemType>basic</filesystemType>
        <device id="OURSELVES"></device><device id="PHONE"></device>
        {more}
    </folder>
    <device id="PHONE" name="phone"><address>dynamic</address></device>
    <defaults><folder id="" path="~" type="sendreceive"></folder></defaults>
</configuration>"#
        )
    }

    fn judged(kind: &str, more: &str, clear: Clear) -> Check {
        let folders = parse(&settings(kind, more), Path::new("/home/pi")).expect("well-formed");
        assert_eq!(folders.len(), 1, "the defaults are no folder");
        assert_eq!(folders[0].label, "Camera & more");
        judge(Path::new("config.xml"), &folders[0], clear)
    }

    #[test]
    fn each_type_of_folder_is_told_with_what_it_means_for_the_phone() {
        assert_eq!(judged("receiveonly", "", Clear::Always).level, Level::Well);
        let deleting = judged("sendreceive", "", Clear::Always);
        assert_eq!(deleting.level, Level::Finding);
        assert!(deleting.why.contains("DELETED FROM THE PHONE"));
        assert!(!deleting.steps.is_empty());
        assert_eq!(judged("sendreceive", "", Clear::Never).level, Level::Note);
        assert_eq!(judged("sendonly", "", Clear::Always).level, Level::Finding);
        assert_eq!(
            judged("receiveencrypted", "", Clear::Always).level,
            Level::Finding
        );
        let ignoring = judged(
            "receiveonly",
            "<ignoreDelete>true</ignoreDelete>",
            Clear::Always,
        );
        assert!(
            ignoring.what.contains("deleted on a phone"),
            "{}",
            ignoring.what
        );
        assert_eq!(
            judged("receiveonly", "<paused>true</paused>", Clear::Always).level,
            Level::Note
        );
    }

    #[test]
    fn a_tilde_is_the_home_of_whose_settings_these_are() {
        let text = settings("receiveonly", "").replace("/srv/inbox", "~/Sync/inbox");
        let folders = parse(&text, Path::new("/home/nobody-there")).expect("well-formed");
        assert_eq!(folders[0].path, Path::new("/home/nobody-there/Sync/inbox"));
        assert!(parse("<configuration>", Path::new("/")).is_err());
    }
}
