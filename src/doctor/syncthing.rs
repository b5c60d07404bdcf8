//! What Syncthing's own settings mean for the copies on the phones: read from its `config.xml`, where that can be found.
//! The words are the monitor's, which sees more while the appliance runs.

use super::{Check, Level, ourselves, user};
use crate::config::Config;
use crate::monitor::syncthing::settings_file::search;
use crate::monitor::syncthing::verdict::{Concern, Phones, Verdict, judge};

/// Looks for Syncthing's settings and for the folder in them that holds the inbox.
pub(super) fn examine(config: &Config) -> Vec<Check> {
    let inbox = config
        .inbox
        .canonicalize()
        .unwrap_or_else(|_| config.inbox.clone());
    let search = search(&inbox);
    if let Some((path, error)) = search.broken.first() {
        return vec![
            Check::note(
                "syncthing",
                format!("{} can't be understood: {error}", path.display()),
                "What clearing the inbox means for the phones is not known.",
            )
            .then("look at the folder's type in Syncthing's own page"),
        ];
    }
    let folders = search.found.iter().flat_map(|file| &file.folders);
    let checks: Vec<Check> = folders
        .filter(|folder| folder.concerns(&inbox))
        .map(|folder| check(judge(folder, Phones::Silent, config.clear)))
        .collect();
    if !checks.is_empty() {
        return checks;
    }
    if let Some((path, error)) = search.closed.first() {
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
    vec![match search.found.first() {
        Some(file) => Check::note(
            "syncthing",
            format!(
                "Syncthing's settings {} share no folder that holds the inbox {}",
                file.path.display(),
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

fn check(verdict: Verdict) -> Check {
    Check {
        name: "syncthing",
        level: match verdict.concern {
            Concern::None => Level::Well,
            Concern::Note => Level::Note,
            Concern::Finding => Level::Finding,
        },
        what: verdict.what,
        why: verdict.why,
        steps: verdict.steps,
    }
}
