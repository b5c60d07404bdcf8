//! Whom to call, and with which key: from our settings, else from Syncthing's own, else where it usually is.

use std::io;
use std::path::Path;

use super::address::Address;
use super::settings_file::Search;
use crate::asset::shown;
use crate::config::SyncthingSettings;

/// A file larger than this holds no key.
const LARGEST_KEY_FILE: u64 = 4096;

/// Whom to call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Target {
    pub(super) address: Address,
    /// The key, where one is known.
    pub(super) key: Option<String>,
    /// What is wrong with the key that the settings name, and what to do.
    pub(super) key_trouble: Option<String>,
    /// Whether nothing says that there is a Syncthing at all.
    pub(super) is_guess: bool,
}

/// Whom to call; the error says what to do. `inbox` is canonical.
pub(super) fn target(
    settings: &SyncthingSettings,
    search: &Search,
    inbox: &Path,
) -> Result<Target, String> {
    let file = search.best(inbox);
    let page = file.and_then(|file| file.page.as_ref());
    let theirs = page.map(|page| Address::parse(&page.address, page.tls));
    let address = match (&settings.url, &theirs, file) {
        (Some(url), ..) => Address::parse(url, false)?,
        (None, Some(address), _) => address.clone()?,
        (None, None, Some(file)) => {
            return Err(format!(
                "Syncthing's page is switched off in {}, so it can't be asked how it is: set enabled=\"true\" in its <gui …>, and \
                 restart Syncthing.",
                shown(&file.path)
            ));
        }
        (None, None, None) => Address::usual(),
    };
    let (named, key_trouble) = match named_key(settings) {
        Ok(key) => (key, None),
        Err(trouble) => (None, Some(trouble)),
    };
    // Their key is for their page: whoever else is called must not learn it.
    let is_theirs = matches!(&theirs, Some(Ok(theirs)) if theirs.is_same_place(&address));
    let found = page
        .filter(|page| is_theirs && !page.key.is_empty())
        .map(|page| page.key.clone());
    Ok(Target {
        address,
        key: named.or_else(|| found.filter(|_| key_trouble.is_none())),
        key_trouble,
        is_guess: settings.url.is_none() && file.is_none(),
    })
}

/// The key that our settings name.
fn named_key(settings: &SyncthingSettings) -> Result<Option<String>, String> {
    if let Some(key) = &settings.api_key {
        return usable(key).map(Some).ok_or_else(|| {
            format!("api_key under [syncthing] is no key of Syncthing's; {WHERE_IT_IS}")
        });
    }
    let Some(path) = &settings.api_key_file else {
        return Ok(None);
    };
    let read = std::fs::metadata(path).and_then(|seen| {
        if !seen.is_file() || seen.len() > LARGEST_KEY_FILE {
            return Err(io::Error::other("it is no small file"));
        }
        std::fs::read_to_string(path)
    });
    let text = read.map_err(|error| {
        format!(
            "The file {} that api_key_file under [syncthing] names can't be read: {error}. Make it, or let this program's user \
             read it; {WHERE_IT_IS}",
            shown(path)
        )
    })?;
    usable(&text).map(Some).ok_or_else(|| {
        format!(
            "The file {} that api_key_file under [syncthing] names holds no key: put the key into it, and nothing else; \
             {WHERE_IT_IS}",
            shown(path)
        )
    })
}

/// Where the owner finds the key.
pub(super) const WHERE_IT_IS: &str =
    "Syncthing's page shows the key under Actions, Settings, General: API Key.";

/// A key without the line's end around it; `None`: it is none, and could not stand in a header.
pub fn usable(typed: &str) -> Option<String> {
    let key = typed.trim();
    let is_one = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic());
    is_one.then(|| key.to_owned())
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a key file is made")]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::monitor::syncthing::settings_file::{Page, SettingsFile};

    const INBOX: &str = "/srv/inbox-of-nobody";

    fn found(page: Option<Page>) -> Search {
        Search {
            found: vec![SettingsFile {
                path: PathBuf::from("/home/nobody/config.xml"),
                folders: Vec::new(),
                page,
            }],
            ..Search::default()
        }
    }

    fn page() -> Page {
        Page {
            address: "0.0.0.0:8385".to_owned(),
            tls: true,
            key: "theirs".to_owned(),
        }
    }

    fn targeted(settings: &SyncthingSettings, search: &Search) -> Target {
        target(settings, search, Path::new(INBOX)).expect("must be one")
    }

    #[test]
    fn syncthings_own_settings_are_enough() {
        let target = targeted(&SyncthingSettings::default(), &found(Some(page())));
        assert_eq!(target.address.url(""), "https://127.0.0.1:8385");
        assert_eq!(target.key.as_deref(), Some("theirs"));
        assert!(!target.is_guess);
    }

    #[test]
    fn their_key_is_not_sent_to_another_address() {
        let elsewhere = SyncthingSettings {
            url: Some("http://192.0.2.1:8385".to_owned()),
            ..SyncthingSettings::default()
        };
        assert_eq!(targeted(&elsewhere, &found(Some(page()))).key, None);
        let same = SyncthingSettings {
            url: Some("http://127.0.0.1:8385".to_owned()),
            ..SyncthingSettings::default()
        };
        let target = targeted(&same, &found(Some(page())));
        assert_eq!(target.key.as_deref(), Some("theirs"));
    }

    #[test]
    fn without_any_settings_the_usual_place_is_a_guess() {
        let target = targeted(&SyncthingSettings::default(), &Search::default());
        assert!(target.is_guess && target.key.is_none());
        assert_eq!(target.address, Address::usual());
    }

    #[test]
    fn a_page_that_is_switched_off_and_a_wrong_address_say_what_to_do() {
        let off = target(
            &SyncthingSettings::default(),
            &found(None),
            Path::new(INBOX),
        );
        assert!(off.expect_err("it is off").contains("switched off"));
        let wrong = SyncthingSettings {
            url: Some("gopher://nas".to_owned()),
            ..SyncthingSettings::default()
        };
        let said = target(&wrong, &found(Some(page())), Path::new(INBOX)).expect_err("it is wrong");
        assert!(said.contains("url under [syncthing]"), "{said}");
    }

    #[test]
    fn a_key_file_is_read_without_its_line_end_and_its_faults_are_told() {
        let folder = std::env::temp_dir().join(format!("syncthing-key-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join("key");
        let settings = SyncthingSettings {
            api_key_file: Some(path.clone()),
            ..SyncthingSettings::default()
        };
        let missing = targeted(&settings, &found(Some(page())));
        assert_eq!(missing.key, None, "the wrong file is not passed over");
        assert!(
            missing
                .key_trouble
                .is_some_and(|said| said.contains("can't be read"))
        );
        std::fs::write(&path, "ours\n").expect("a file");
        assert_eq!(
            targeted(&settings, &found(Some(page()))).key.as_deref(),
            Some("ours")
        );
        std::fs::write(&path, "two\nlines").expect("a file");
        let wrong = targeted(&settings, &found(Some(page())));
        assert!(
            wrong
                .key_trouble
                .is_some_and(|said| said.contains("holds no key"))
        );
        std::fs::remove_dir_all(&folder).expect("its own folder");
    }
}
