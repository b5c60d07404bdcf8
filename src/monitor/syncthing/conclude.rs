//! From facts to what the owner is told: why Syncthing is not well, what to do, and what clearing the inbox means. No I/O.

use std::path::Path;

use super::facts::{Facts, InboxFolder, State, Stranger};
use super::folder::{Folder, Kind};
use super::verdict::{Concern, Keeps, Phones, Verdict, judge, worst};
use crate::asset::{one_line, shown};
use crate::config::Clear;

/// Characters of a text that comes from elsewhere.
const TOLD: usize = 120;

/// What follows from the facts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Conclusion {
    /// Why it is not well, in a few words each, the worst first; without numbers, so that the same trouble reads the same.
    pub(super) reasons: Vec<String>,
    /// What is wrong and what to do, in whole sentences.
    pub(super) warnings: Vec<String>,
    /// What is good to know, in whole sentences.
    pub(super) notices: Vec<String>,
    /// What clearing the inbox means.
    pub(super) verdict: Verdict,
}

impl Conclusion {
    fn wrong(&mut self, reason: &str, sentence: String) {
        self.reasons.push(reason.to_owned());
        self.warnings.push(sentence);
    }
}

/// What follows from the facts. `inbox` is canonical.
pub(super) fn conclude(facts: &Facts, inbox: &Path, clear: Clear) -> Conclusion {
    let verdicts = facts
        .folders
        .iter()
        .map(|one| seen(one, judge(&one.folder, one.phones, clear)));
    let mut conclusion = Conclusion {
        reasons: Vec::new(),
        warnings: Vec::new(),
        notices: Vec::new(),
        verdict: worst(verdicts).unwrap_or_else(|| none_holds(inbox)),
    };
    for one in &facts.folders {
        of_folder(one, facts, clear, &mut conclusion);
    }
    if facts.folders.is_empty() {
        conclusion.notices.push(conclusion.verdict.words());
    }
    if let Some(error) = facts.errors.last() {
        conclusion.warnings.push(format!(
            "Syncthing's page shows an error: \"{}\". Look at it there, and dismiss it once it is put right.",
            told(error)
        ));
    }
    let waiting = facts.waiting.iter().map(waiting);
    conclusion.notices.extend(waiting);
    conclusion
}

/// What the settings of folders mean where a running Syncthing could not be asked; `None`: none of them is the inbox's.
pub(super) fn of_settings(folders: &[Folder], inbox: &Path, clear: Clear) -> Option<Verdict> {
    let ours = folders.iter().filter(|folder| folder.concerns(inbox));
    worst(ours.map(|folder| judge(folder, Phones::Silent, clear)))
}

/// What is meant where nothing is known.
pub(super) fn nothing_known() -> Verdict {
    Verdict::new(
        Keeps::Unknown,
        Concern::None,
        "What clearing the inbox means for the photos on the phones is not known",
        "",
    )
}

fn none_holds(inbox: &Path) -> Verdict {
    Verdict::new(
        Keeps::Unknown,
        Concern::Note,
        format!(
            "Syncthing shares no folder that holds the inbox {}",
            shown(inbox)
        ),
        "Phones that sync with it deliver elsewhere.",
    )
    .then("share the phone's camera folder, and give it the inbox as its path, Receive Only")
}

/// A verdict is certain only of the folder that we see: a Syncthing in a container calls other places by the same path.
fn seen(one: &InboxFolder, verdict: Verdict) -> Verdict {
    if one.has_marker == Some(true) {
        return verdict;
    }
    Verdict {
        keeps: verdict.keeps.max(Keeps::Unknown),
        ..verdict
    }
}

fn of_folder(one: &InboxFolder, facts: &Facts, clear: Clear, conclusion: &mut Conclusion) {
    let (folder, named) = (&one.folder, one.folder.named());
    let verdict = judge(folder, one.phones, clear);
    let reason = match (&folder.kind, verdict.concern) {
        (Kind::SendReceive, Concern::Finding) => {
            Some("clearing the inbox may delete photos from the phones")
        }
        (Kind::SendOnly, _) => Some("the inbox's folder is Send Only: nothing arrives"),
        (Kind::ReceiveEncrypted, _) => Some("the inbox's folder is Receive Encrypted"),
        _ => folder.is_paused.then_some("the inbox's folder is paused"),
    };
    match reason {
        Some(reason) => conclusion.wrong(reason, verdict.words()),
        None => conclusion.notices.push(verdict.words()),
    }
    if folder.is_paused && folder.kind == Kind::SendReceive {
        let sentence =
            format!("{named} is paused: nothing arrives until it is resumed in Syncthing's page.");
        conclusion.wrong("the inbox's folder is paused", sentence);
    }
    if one.has_marker == Some(false) {
        conclusion.wrong(
            "the inbox's folder marker is missing",
            format!(
                "{named} has lost its marker {}, without which Syncthing stops: make sure that this is the right folder with the \
                 right disk below it, then type `mkdir {}` as the user who runs Syncthing. Where Syncthing runs in a container, \
                 give the inbox the same path there as here.",
                folder.marker,
                crate::asset::quoted(&folder.path.join(&folder.marker).to_string_lossy())
            ),
        );
    }
    let Some(progress) = &one.progress else {
        return;
    };
    if progress.state == State::Error || progress.error.is_some() {
        let error = progress.error.as_deref().unwrap_or("it does not say why");
        conclusion.wrong(
            "Syncthing has stopped the inbox's folder",
            format!(
                "{named} is stopped: \"{}\". Nothing arrives until that is put right; Syncthing's page says more.",
                told(error)
            ),
        );
    }
    if progress.file_errors > 0 {
        let which = one.file_error.as_deref().unwrap_or("its page says which");
        conclusion.wrong(
            "Syncthing can't take some files",
            format!(
                "{named} can't take {} of its files: {}. Look into \"Failed Items\" in Syncthing's page; often the disk is full, or \
                 its user may not write there.",
                progress.file_errors,
                told(which)
            ),
        );
    }
    if let Some(error) = &progress.watch_error {
        conclusion.warnings.push(format!(
            "{named} is looked through once an hour only, because Syncthing can't watch it: \"{}\". Type \
             `sudo sysctl fs.inotify.max_user_watches=524288`, and restart Syncthing.",
            told(error)
        ));
    }
    if progress.left_here > 0 && folder.kind == Kind::ReceiveOnly {
        conclusion.notices.push(format!(
            "{named} shows {} local changes in red: photos that left the inbox. That is as it should be; leave \"Revert Local \
             Changes\" alone: it delivers every one of them again.",
            progress.left_here
        ));
    }
    let is_served = facts
        .devices
        .iter()
        .any(|device| device.is_connected && folder.devices.contains(&device.id));
    if progress.need_files > 0 && !is_served {
        conclusion.notices.push(format!(
            "{named} still misses {} files, and none of its devices is connected: open Syncthing on the phone.",
            progress.need_files
        ));
    }
}

fn waiting(stranger: &Stranger) -> String {
    let begin: String = stranger.id.chars().take(7).collect();
    format!(
        "A new device waits to be let in: it calls itself \"{}\" (its id begins with {}). If it is yours, add it in Syncthing's page; \
         if not, dismiss it there.",
        told(&stranger.name),
        one_line(&begin)
    )
}

/// A text of others, on one line and not endless.
fn told(text: &str) -> String {
    let line = one_line(text);
    if line.chars().count() <= TOLD {
        return line;
    }
    let mut short: String = line.chars().take(TOLD - 1).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;
    use crate::monitor::syncthing::facts::{Device, Progress};

    const INBOX: &str = "/srv/inbox";

    fn idle() -> Progress {
        Progress {
            state: State::Idle,
            error: None,
            need_files: 0,
            need_bytes: 0,
            left_here: 0,
            file_errors: 0,
            watch_error: None,
        }
    }

    fn facts(kind: Kind, change: impl FnOnce(&mut InboxFolder)) -> Facts {
        let mut folder = InboxFolder {
            folder: Folder {
                id: "camera".to_owned(),
                label: "Camera".to_owned(),
                path: PathBuf::from(INBOX),
                kind,
                ignores_deletes: false,
                is_paused: false,
                marker: ".stfolder".to_owned(),
                devices: vec!["OURS".to_owned(), "PHONE".to_owned()],
            },
            has_marker: Some(true),
            progress: Some(idle()),
            file_error: None,
            phones: Phones::Silent,
        };
        change(&mut folder);
        Facts {
            version: "v1.29.5".to_owned(),
            uptime: Duration::from_secs(60),
            errors: Vec::new(),
            devices: Vec::new(),
            folders: vec![folder],
            waiting: Vec::new(),
        }
    }

    fn concluded(facts: &Facts, clear: Clear) -> Conclusion {
        conclude(facts, Path::new(INBOX), clear)
    }

    /// The only reason and the only warning.
    fn only_trouble(conclusion: &Conclusion) -> (&str, &str) {
        match (&conclusion.reasons[..], &conclusion.warnings[..]) {
            ([reason], [warning]) => (reason, warning),
            _ => panic!("{conclusion:?}"),
        }
    }

    #[test]
    fn a_receive_only_folder_that_is_idle_is_well_and_keeps_the_copies() {
        let conclusion = concluded(&facts(Kind::ReceiveOnly, |_| {}), Clear::Always);
        assert_eq!(conclusion.reasons, [""; 0]);
        assert_eq!(conclusion.warnings, [""; 0]);
        assert_eq!(conclusion.verdict.keeps, Keeps::Yes);
    }

    #[test]
    fn both_ways_is_a_warning_only_where_the_inbox_is_cleared() {
        let both = facts(Kind::SendReceive, |_| {});
        let conclusion = concluded(&both, Clear::Always);
        let (reason, warning) = only_trouble(&conclusion);
        assert!(reason.contains("delete photos from the phones"), "{reason}");
        assert!(warning.contains("DELETED FROM THE PHONE"), "{warning}");
        for clear in [Clear::Safe, Clear::Never] {
            let conclusion = concluded(&both, clear);
            assert_eq!(conclusion.warnings, [""; 0]);
            assert_eq!(conclusion.verdict.keeps, Keeps::No);
            assert_eq!(conclusion.notices.len(), 1);
        }
    }

    #[test]
    fn folders_that_bring_nothing_are_trouble() {
        for (kind, says) in [
            (Kind::SendOnly, "Send Only"),
            (Kind::ReceiveEncrypted, "Receive Encrypted"),
        ] {
            let conclusion = concluded(&facts(kind, |_| {}), Clear::Never);
            assert!(only_trouble(&conclusion).0.contains(says));
        }
        for kind in [Kind::ReceiveOnly, Kind::SendReceive] {
            let paused = facts(kind, |one| {
                one.folder.is_paused = true;
                one.progress = None;
            });
            let conclusion = concluded(&paused, Clear::Never);
            assert!(
                conclusion
                    .reasons
                    .contains(&"the inbox's folder is paused".to_owned())
            );
        }
    }

    #[test]
    fn without_its_marker_nothing_is_certain() {
        let lost = facts(Kind::ReceiveOnly, |one| one.has_marker = Some(false));
        let conclusion = concluded(&lost, Clear::Always);
        assert!(
            only_trouble(&conclusion)
                .1
                .contains("mkdir /srv/inbox/.stfolder")
        );
        assert_eq!(conclusion.verdict.keeps, Keeps::Unknown);
        let unseen = facts(Kind::ReceiveOnly, |one| one.has_marker = None);
        let conclusion = concluded(&unseen, Clear::Always);
        assert_eq!(conclusion.verdict.keeps, Keeps::Unknown);
    }

    #[test]
    fn a_stopped_folder_and_files_that_fail_are_told_with_syncthings_words() {
        let stopped = facts(Kind::ReceiveOnly, |one| {
            let progress = Progress {
                state: State::Error,
                error: Some("insufficient space\non disk".to_owned()),
                ..idle()
            };
            one.progress = Some(progress);
        });
        let conclusion = concluded(&stopped, Clear::Always);
        assert!(
            only_trouble(&conclusion)
                .1
                .contains("insufficient space\\non disk")
        );
        let failing = facts(Kind::ReceiveOnly, |one| {
            one.progress = Some(Progress {
                file_errors: 2,
                ..idle()
            });
            one.file_error = Some("a.jpg: permission denied".to_owned());
        });
        let conclusion = concluded(&failing, Clear::Always);
        assert!(
            only_trouble(&conclusion)
                .1
                .contains("a.jpg: permission denied")
        );
    }

    #[test]
    fn work_in_progress_is_no_trouble() {
        for state in [
            State::Starting,
            State::Scanning,
            State::Syncing,
            State::CleanWaiting,
        ] {
            let at_work = facts(Kind::ReceiveOnly, |one| {
                one.progress = Some(Progress {
                    state,
                    need_files: 3,
                    left_here: 4,
                    ..idle()
                });
            });
            let conclusion = concluded(&at_work, Clear::Always);
            assert_eq!(conclusion.reasons, [""; 0]);
            let notices = conclusion.notices.join("\n");
            assert!(notices.contains("shows 4 local changes"), "{notices}");
            assert!(notices.contains("still misses 3 files"), "{notices}");
            let mut served = at_work;
            served.devices.push(Device {
                id: "PHONE".to_owned(),
                name: String::new(),
                is_connected: true,
                is_paused: false,
                last_seen: None,
            });
            let notices = concluded(&served, Clear::Always).notices.join("\n");
            assert!(!notices.contains("still misses"), "{notices}");
        }
    }

    #[test]
    fn errors_a_missing_watch_and_new_devices_are_told() {
        let mut facts = facts(Kind::ReceiveOnly, |one| {
            let watch_error = Some("too many open files".to_owned());
            one.progress = Some(Progress {
                watch_error,
                ..idle()
            });
        });
        facts.errors.push("listen: address in use".to_owned());
        facts.waiting.push(Stranger {
            id: "ABCDEFG-HIJKLMN".to_owned(),
            name: "phone\u{1b}[2J".to_owned(),
        });
        let conclusion = concluded(&facts, Clear::Always);
        assert_eq!(conclusion.reasons, [""; 0]);
        let warnings = conclusion.warnings.join("\n");
        assert!(warnings.contains("address in use") && warnings.contains("max_user_watches"));
        let notices = conclusion.notices.join("\n");
        assert!(notices.contains("begins with ABCDEFG"), "{notices}");
        assert!(!notices.contains('\u{1b}'), "{notices}");
    }

    #[test]
    fn where_no_folder_holds_the_inbox_nothing_is_known() {
        let mut facts = facts(Kind::ReceiveOnly, |_| {});
        facts.folders.clear();
        let conclusion = concluded(&facts, Clear::Safe);
        assert_eq!(conclusion.verdict.keeps, Keeps::Unknown);
        assert!(conclusion.notices[0].contains("no folder that holds the inbox"));
    }
}
