//! Whether ledger and Originals belong together, and what the verification found.

use super::Check;
use crate::asset::shown;
use crate::config::Config;
use crate::disk::{self, Source};
use crate::ledger::{Ledger, Totals};
use crate::verify::{self, background::Verified};

const REBUILD: &str = "photo-factory rebuild # with Photo Factory stopped";

/// Folders of Originals that can't be read.
pub(super) fn folders(config: &Config) -> Vec<Check> {
    // A Storage that is not there is another check's.
    let Ok(found) = Source::open(&config.storage).and_then(|storage| verify::folders(&storage))
    else {
        return Vec::new();
    };
    let unreadable = found.unreadable.iter().map(|finding| {
        Check::finding(
            "originals",
            format!("{}: {}", shown(&finding.path), finding.what),
            "Nobody can tell whether the photos in it are still whole.",
        )
        .then(finding.what.advice())
    });
    unreadable.collect()
}

/// What the ledger says holds against what stands in Originals; `None`: there is no ledger.
pub(super) fn belong(config: &Config, totals: Option<&Totals>) -> Option<Check> {
    let rows = totals.map_or(0, |totals| totals.assets);
    let stand = disk::holds_files(&config.storage.join(verify::ORIGINALS));
    match (totals, rows, stand) {
        (None, _, true) => Some(
            Check::finding(
                "ledger",
                format!("there is none in {}, and Originals holds files", config.data.display()),
                "Photos that come again with another name would be filed a second time, and nobody could tell whether those that are kept are still whole.",
            )
            .then("put the Data folder back, if you have a copy of it")
            .then(format!("or: {REBUILD}")),
        ),
        (Some(_), 0, true) => Some(
            Check::finding(
                "ledger",
                "it is empty, and Originals holds files that it does not know",
                "Photos that come again with another name would be filed a second time.",
            )
            .then(REBUILD),
        ),
        (Some(_), 1.., false) => Some(
            Check::finding(
                "originals",
                none_stand(config, rows),
                "They may be on a disk that is not mounted; if they are gone, only a backup has them.",
            )
            .then("mount the disk, or correct [storage] path")
            .then("or, from a backup: photo-factory verify --repair --from BACKUP"),
        ),
        _ => None,
    }
}

/// A sentence where the ledger has photos, and none of them stands there.
pub(super) fn none_of(config: &Config) -> Option<String> {
    let ledger = Ledger::open_existing(&config.data).ok()??;
    let rows = ledger.totals().ok()?.assets;
    let stand = disk::holds_files(&config.storage.join(verify::ORIGINALS));
    (rows > 0 && !stand).then(|| {
        format!(
            "But {}: if its disk is not mounted, mount it and type this again.",
            none_stand(config, rows)
        )
    })
}

fn none_stand(config: &Config, rows: u64) -> String {
    format!(
        "the ledger has {rows} files, and none stands in {}",
        config.storage.join(verify::ORIGINALS).display()
    )
}

/// What the verification had found when the appliance was stopped.
pub(super) fn verified(config: &Config, totals: &Totals) -> Option<Check> {
    let notice = Verified::on_disk(config, totals.assets)?.notice()?;
    Some(
        Check::finding(
            "verified",
            notice,
            "An original that is not what was filed is a photo that only a backup has.",
        )
        .then("photo-factory status # names them, with what to do"),
    )
}
