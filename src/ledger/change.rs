//! What the ledger is asked to remember, and what it answers.

use std::ffi::OsString;
use std::path::PathBuf;

use jiff::Timestamp;

use crate::asset::{Asset, AssetId, CaptureTime, FileHash, Kind, Left, Location, Place, Stage};

/// One change of the ledger; several are committed together.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    /// One shot: what belongs together and is placed under one base name.
    Intend(Shot),
    /// The same, asked by one who was told [`Verdict::Compare`], has done so, and found other bytes.
    IntendBeside(Shot),
    /// Files that stand in Originals already, whole and durable: each becomes an asset without an intent. Harmless when it
    /// is one already.
    Adopt(Adoption),
    /// The file stands in Originals, durable: the intent becomes an asset, and no reason is kept why its
    /// inbox path stays. Harmless when it is one already. It carries what was promised, because an id alone means nothing
    /// in an older copy of the ledger that is put back meanwhile: there the file is adopted, under an id of its own.
    Finish(Box<Asset>),
    /// Nothing was placed: the intent is taken back. Harmless when there is none, and where the id is another file's.
    Withdraw(Box<Asset>),
    /// A file stays in the inbox. Replaces an earlier row of the same path, unless only `since` differs: then that row
    /// stays, and nothing is written.
    Leave(Left),
    /// That inbox path is no longer there, or no longer a problem.
    Forget(PathBuf),
    /// A stage is done, or has failed for good: it leaves the stage's queue.
    StageDone {
        /// The asset it was done for.
        id: AssetId,
        /// Which stage.
        stage: Stage,
        /// When.
        at: Timestamp,
        /// The place that geocoding found.
        place: Option<Place>,
        /// Why it failed, in words for the owner: the stage then counts as not done, and the text joins the asset's errors.
        error: Option<String>,
    },
}

/// Files that belong together: a still, its video, its raw twin, its sidecars.
#[derive(Clone, PartialEq, Debug)]
pub struct Shot {
    /// The folder to place them in, relative to Storage.
    pub folder: PathBuf,
    /// The wished base name, without extension.
    pub stem: OsString,
    /// The files; the first leads.
    pub members: Vec<Draft>,
}

/// Files of one shot that stand in Originals and are to become assets.
#[derive(Clone, PartialEq, Debug)]
pub struct Adoption {
    /// What belongs together. Names are not chosen any more: its folder and stem say nothing here.
    pub shot: Shot,
    /// Where each member stands, relative to Storage, in the order of the members.
    pub paths: Vec<PathBuf>,
    /// When they were filed.
    pub ingested_at: Timestamp,
}

/// One file about to be placed: an [`Asset`] without what the ledger gives it (id, path, time of filing).
#[derive(Clone, PartialEq, Debug)]
pub struct Draft {
    /// SHA-256 of the content.
    pub file_hash: FileHash,
    /// Bytes.
    pub size: u64,
    /// Where it lies, relative to the inbox.
    pub inbox_path: PathBuf,
    /// What it is.
    pub kind: Kind,
    /// When it was taken.
    pub captured: CaptureTime,
    /// Where it was taken.
    pub location: Option<Location>,
    /// Camera maker.
    pub make: Option<String>,
    /// Camera model.
    pub model: Option<String>,
    /// Pixels across.
    pub width: Option<u32>,
    /// Pixels down.
    pub height: Option<u32>,
    /// Apple's `ContentIdentifier`.
    pub content_id: Option<String>,
    /// What is damaged, in words for the owner.
    pub errors: Vec<String>,
    /// The extension it is placed with: with its dot, or empty.
    pub extension: OsString,
    /// The photo it belongs to.
    pub pairing: Pairing,
}

impl Draft {
    /// The row it becomes with what the ledger gives it.
    pub fn to_asset(
        &self,
        id: AssetId,
        paired_with: Option<AssetId>,
        final_path: PathBuf,
        now: Timestamp,
    ) -> Asset {
        Asset {
            id,
            file_hash: self.file_hash,
            size: self.size,
            inbox_path: self.inbox_path.clone(),
            final_path,
            kind: self.kind,
            captured: self.captured,
            location: self.location,
            place: None,
            make: self.make.clone(),
            model: self.model.clone(),
            width: self.width,
            height: self.height,
            content_id: self.content_id.clone(),
            paired_with,
            ingested_at: now,
            stage_done_at: [None; 4],
            errors: self.errors.clone(),
        }
    }
}

/// The photo that a file belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pairing {
    /// To none.
    Alone,
    /// To the first member of its shot.
    Leader,
    /// To one that is known already.
    With(AssetId),
}

/// The ledger's answer to one [`Change`].
#[derive(Clone, PartialEq, Debug)]
pub enum Outcome {
    /// The answer to [`Change::Intend`] and [`Change::Adopt`]: one verdict for each member, in their order. Of an adoption
    /// each is [`Verdict::Known`]: the row that the file became, or the one that stood for its content or its path before.
    Intended(Vec<Verdict>),
    /// The answer to [`Change::Finish`]: the row that holds the file.
    Finished(AssetId),
    /// The answer to every other change.
    Done,
}

/// What the ledger says of one member of a shot.
#[derive(Clone, PartialEq, Debug)]
pub enum Verdict {
    /// The intent is recorded, with the path to place the file at.
    New(Asset),
    /// The same bytes are filed already, as this row: a duplicate.
    Known(Asset),
    /// The same bytes, or the photo it belongs to, are on their way: ask again when that is done.
    InFlight,
    /// A file that no row knows stands under the wished name, as when the ledger is down or an older copy of it was put back:
    /// whether it is the same photo, only its bytes can say. If so it is to be adopted; if not, asked for with [`Change::IntendBeside`].
    Compare,
}

/// What the ledger holds, counted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    /// Rows, sidecars among them.
    pub assets: u64,
    /// Bytes of all of them.
    pub bytes: u64,
    /// Rows that have errors.
    pub with_errors: u64,
    /// Photos and videos whose capture time is a guess.
    pub guessed_dates: u64,
    /// Files that stay in the inbox for a problem; those kept on purpose are not among them.
    pub left: u64,
    /// Files on their way into Originals.
    pub intents: u64,
    /// Rows of each kind, in the order of [`Kind::ALL`], without the kinds that have none.
    pub per_kind: Vec<(Kind, u64)>,
    /// Rows that wait for each stage (index: `Stage as usize`).
    pub waiting: [u64; 4],
}

impl Totals {
    /// Photos and videos: the rows that are no sidecars.
    pub fn photos(&self) -> u64 {
        self.per_kind
            .iter()
            .filter(|(kind, _)| *kind != Kind::Sidecar)
            .map(|(_, count)| count)
            .sum()
    }
}
