//! What the type of Syncthing's folder means for the copies on the phones, in plain words. `doctor` says the same.
//!
//! What Syncthing does when a file leaves the inbox was tried with 1.19 and 1.29, and holds after restarts:
//!
//! | phone | here | the phone's copy |
//! |---|---|---|
//! | Send & Receive | Send & Receive | deleted |
//! | Send Only | Send & Receive | kept |
//! | Send & Receive, with `ignoreDelete` | Send & Receive | kept |
//! | any | Receive Only | kept |
//! | Send Only | Receive Only, with `ignoreDelete` | kept; what is deleted on the phone is filed all the same |
//!
//! The phone's side can't be seen from here, so only Receive Only here makes it certain that copies stay; and only as long as it is
//! left so. Made Send & Receive later, the folder tells the phones of everything that was cleared before, and all but Send Only ones
//! delete it (tried with 1.19).

use super::folder::{Folder, Kind};
use crate::config::Clear;

/// What to set so that the phones keep their copies.
const SET: &str = "in Syncthing's page here: the folder, Edit, Advanced, Folder Type: Receive Only; on the phone: Send Only";

/// Whether the phones keep their copies of what leaves the inbox.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Keeps {
    /// Certainly.
    Yes,
    /// Nothing that could be looked at says so.
    Unknown,
    /// Not unless the phone's own settings, which can't be seen from here, prevent it.
    No,
}

/// How much it asks of the owner.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Concern {
    /// Nothing to do.
    None,
    /// Worth knowing.
    Note,
    /// Something to put right.
    Finding,
}

/// What a folder's settings mean, in words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// Whether the phones keep their copies.
    pub keeps: Keeps,
    /// How much it asks of the owner.
    pub concern: Concern,
    /// What was found, without a full stop.
    pub what: String,
    /// Why it matters, in whole sentences; empty where there is nothing to do.
    pub why: String,
    /// What to type or do, one step each.
    pub steps: Vec<String>,
}

impl Verdict {
    pub(super) fn new(keeps: Keeps, concern: Concern, what: impl Into<String>, why: &str) -> Self {
        Self {
            keeps,
            concern,
            what: what.into(),
            why: why.to_owned(),
            steps: Vec::new(),
        }
    }

    pub(super) fn then(mut self, step: impl Into<String>) -> Self {
        self.steps.push(step.into());
        self
    }

    /// All of it as running text.
    pub fn words(&self) -> String {
        let mut words = format!("{}.", self.what);
        if !self.why.is_empty() {
            words.push(' ');
            words.push_str(&self.why);
        }
        if !self.steps.is_empty() {
            words.push_str(" What to do: ");
            words.push_str(&self.steps.join("; "));
            words.push('.');
        }
        words
    }
}

/// What the phones' side shows of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phones {
    /// Nothing that would tell.
    Silent,
    /// Connected, up to date but for deletes, and it stays so: as a Send Only folder does.
    LeaveDeletesUndone,
}

/// What a folder's settings mean for the phones.
pub fn judge(folder: &Folder, phones: Phones, clear: Clear) -> Verdict {
    let verdict = of_kind(folder, phones, clear);
    if verdict.concern > Concern::None {
        return verdict;
    }
    let named = folder.named();
    if folder.is_paused {
        return Verdict {
            concern: Concern::Note,
            what: format!("{named} is paused"),
            why: format!("Nothing arrives while it is. {}.", verdict.what),
            ..verdict
        }
        .then("resume it in Syncthing's page");
    }
    // It names itself among them.
    if folder.devices.len() < 2 {
        return Verdict {
            concern: Concern::Note,
            what: format!("{named} is shared with no device"),
            why: "Nothing arrives until a phone shares it.".to_owned(),
            ..verdict
        }
        .then("add the phone in Syncthing's page, and share the folder with it");
    }
    verdict
}

fn of_kind(folder: &Folder, phones: Phones, clear: Clear) -> Verdict {
    let named = folder.named();
    match &folder.kind {
        Kind::ReceiveOnly => {
            let deletes = if folder.ignores_deletes {
                " Photos deleted on a phone before they are filed are filed all the same."
            } else {
                ""
            };
            let what = format!(
                "{named} is Receive Only: phones keep their copies when the inbox is cleared.{deletes} Its red \"Revert Local Changes\" button delivers every photo once more; they are recognised, so better leave it. And leave the type: made Send & Receive later, it deletes every photo that was cleared before from the phones"
            );
            Verdict::new(Keeps::Yes, Concern::None, what, "")
        }
        Kind::SendReceive => of_send_and_receive(&named, phones, clear),
        Kind::SendOnly => Verdict::new(
            Keeps::No,
            Concern::Finding,
            format!("{named} is Send Only"),
            "It takes nothing from the phones: no photo ever arrives. And what leaves it is deleted from every phone whose folder takes changes.",
        )
        .then(SET),
        Kind::ReceiveEncrypted => Verdict::new(
            Keeps::Unknown,
            Concern::Finding,
            format!("{named} is Receive Encrypted"),
            "What arrives can't be read by anybody on this machine, so nothing can be filed.",
        )
        .then("share the folder anew without an encryption password, Receive Only"),
        Kind::Other(name) => Verdict::new(
            Keeps::Unknown,
            Concern::Note,
            format!("{named} is of a type unknown to this version: {name}"),
            "What clearing the inbox means for the phones is not known.",
        ),
    }
}

fn of_send_and_receive(named: &str, phones: Phones, clear: Clear) -> Verdict {
    let (keeps, seen) = match phones {
        Phones::Silent => (Keeps::No, ""),
        Phones::LeaveDeletesUndone => (
            Keeps::Unknown,
            " A phone leaves deletes undone, as Send Only does: its copies probably stay, but that can't be seen for certain from here.",
        ),
    };
    let deletes = "Syncthing takes a cleared inbox for a wish: where the phone's folder is Send & Receive too, every filed photo is DELETED FROM THE PHONE. Where the phone's is Send Only, its copies stay, and it shows a red \"Override\" button.";
    match clear {
        Clear::Always => Verdict::new(
            keeps,
            Concern::Finding,
            format!("{named} is Send & Receive, and the inbox is cleared"),
            &format!("{deletes}{seen}"),
        )
        .then(SET)
        .then("or keep every photo in the inbox as well: clear = \"never\" under [inbox] in the settings"),
        Clear::Safe => Verdict::new(
            keeps,
            Concern::Note,
            format!("{named} is Send & Receive, so with clear = \"safe\" photos are filed and stay in the inbox as well"),
            &format!("Clearing it is not safe. {deletes}{seen} Once the folder is Receive Only, the inbox is cleared."),
        )
        .then(SET),
        Clear::Never => Verdict::new(
            keeps,
            Concern::Note,
            format!("{named} is Send & Receive; nothing is cleared from the inbox, so nothing is deleted from the phones"),
            &format!("Who deletes a file in the inbox by hand deletes it from the phone too.{seen}"),
        )
        .then(SET),
    }
}

/// Of several folders that concern the inbox, the one that asks most; `None`: there is none.
pub fn worst(verdicts: impl IntoIterator<Item = Verdict>) -> Option<Verdict> {
    verdicts
        .into_iter()
        .max_by_key(|verdict| (verdict.keeps, verdict.concern))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    const CLEARS: [Clear; 3] = [Clear::Always, Clear::Safe, Clear::Never];

    fn folder(kind: &str) -> Folder {
        Folder {
            id: "abcd-1234".to_owned(),
            label: "Camera".to_owned(),
            path: PathBuf::from("/srv/inbox"),
            kind: Kind::named(kind),
            ignores_deletes: false,
            is_paused: false,
            marker: ".stfolder".to_owned(),
            devices: vec!["OURS".to_owned(), "PHONE".to_owned()],
        }
    }

    fn judged(kind: &str, phones: Phones, clear: Clear) -> Verdict {
        judge(&folder(kind), phones, clear)
    }

    #[test]
    fn only_receive_only_here_makes_it_certain_that_copies_stay() {
        for clear in CLEARS {
            for phones in [Phones::Silent, Phones::LeaveDeletesUndone] {
                for kind in [
                    "sendreceive",
                    "readwrite",
                    "",
                    "sendonly",
                    "receiveencrypted",
                    "new",
                ] {
                    let verdict = judged(kind, phones, clear);
                    assert_ne!(verdict.keeps, Keeps::Yes, "{kind} {clear:?}");
                    assert_ne!(verdict.concern, Concern::None, "{kind} {clear:?}");
                }
                let verdict = judged("receiveonly", phones, clear);
                assert_eq!(verdict.keeps, Keeps::Yes);
                assert_eq!(verdict.concern, Concern::None);
                assert!(verdict.what.contains("Revert"), "{}", verdict.what);
                assert!(verdict.what.contains("leave the type"), "{}", verdict.what);
            }
        }
    }

    #[test]
    fn both_ways_is_the_danger_and_its_words_go_with_how_the_inbox_is_cleared() {
        let always = judged("sendreceive", Phones::Silent, Clear::Always);
        assert_eq!(
            (always.keeps, always.concern),
            (Keeps::No, Concern::Finding)
        );
        assert!(always.words().contains("DELETED FROM THE PHONE"));
        assert!(always.words().contains("Folder Type: Receive Only"));
        let safe = judged("sendreceive", Phones::Silent, Clear::Safe);
        assert_eq!((safe.keeps, safe.concern), (Keeps::No, Concern::Note));
        assert!(safe.what.contains("stay in the inbox"), "{}", safe.what);
        let never = judged("sendreceive", Phones::Silent, Clear::Never);
        assert_eq!((never.keeps, never.concern), (Keeps::No, Concern::Note));
        assert!(never.what.contains("nothing is cleared"), "{}", never.what);
    }

    #[test]
    fn a_phone_that_leaves_deletes_undone_is_told_of_and_proves_nothing() {
        for clear in CLEARS {
            let verdict = judged("sendreceive", Phones::LeaveDeletesUndone, clear);
            assert_eq!(verdict.keeps, Keeps::Unknown);
            assert!(verdict.why.contains("probably stay"), "{}", verdict.why);
        }
    }

    #[test]
    fn ignored_deletes_a_pause_and_a_lonely_folder_are_told() {
        let mut ignoring = folder("receiveonly");
        ignoring.ignores_deletes = true;
        let verdict = judge(&ignoring, Phones::Silent, Clear::Always);
        assert!(
            verdict.what.contains("deleted on a phone"),
            "{}",
            verdict.what
        );
        let mut paused = folder("receiveonly");
        paused.is_paused = true;
        let verdict = judge(&paused, Phones::Silent, Clear::Always);
        assert_eq!(
            (verdict.keeps, verdict.concern),
            (Keeps::Yes, Concern::Note)
        );
        assert!(verdict.what.ends_with("is paused"), "{}", verdict.what);
        let mut lonely = folder("receiveonly");
        lonely.devices.pop();
        let verdict = judge(&lonely, Phones::Silent, Clear::Always);
        assert!(
            verdict.what.contains("shared with no device"),
            "{}",
            verdict.what
        );
    }

    #[test]
    fn of_several_folders_the_dangerous_one_speaks() {
        let kinds = ["receiveonly", "sendreceive", "receiveencrypted"];
        let all = kinds.map(|kind| judged(kind, Phones::Silent, Clear::Safe));
        assert_eq!(worst(all).map(|verdict| verdict.keeps), Some(Keeps::No));
        assert_eq!(worst([]), None);
    }
}
