//! `Data/verify.json`: how far the verification in the background has come. Disposable: damaged or gone, it begins anew.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Finding, What, row};
use crate::disk::{self, DiskError};

/// The file's name in the Data folder.
const NAME: &str = "verify.json";
/// What is written now; another version is begun anew.
const VERSION: u32 = 1;
/// Larger is none of ours.
const LARGEST: u64 = 4 << 20;

/// How far the present round is.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub(super) enum Part {
    /// Reading originals.
    #[default]
    Originals,
    /// Looking for files without a row.
    Strangers,
    /// All was looked at: the next round begins when this one's time is over.
    Done,
}

/// What the file holds.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    version: u32,
    pub(super) part: Part,
    /// Time this round has had, by the monotonic clock, over all runs.
    pub(super) elapsed_seconds: f64,
    /// The id that was read last.
    pub(super) cursor: u64,
    /// Files read in this round, and what they weigh.
    pub(super) files: u64,
    pub(super) weight: u64,
    /// The folder that was looked at last, as [`row::path_text`].
    pub(super) folder: String,
    pub(super) last: Option<Last>,
    pub(super) findings: Vec<Kept>,
    /// Findings beyond those kept.
    pub(super) more: u64,
    /// Whether the owner asked for this round: it does not wait for its share of the days.
    #[serde(default)]
    pub(super) is_asked_for: bool,
}

/// The last whole round.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Last {
    /// When it was done, in seconds since 1970: for the page only.
    pub(super) at: i64,
    pub(super) files: u64,
}

/// A finding as it is kept.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Kept {
    path: String,
    what: What,
    /// Since when, in seconds since 1970: for the page only.
    pub(super) since: i64,
    /// The state the file was in: another state wants another look.
    pub(super) state: Option<(u64, u64, i64, i64)>,
}

impl Kept {
    pub(super) fn new(
        finding: &Finding,
        state: Option<(u64, u64, i64, i64)>,
        now: Timestamp,
    ) -> Self {
        Self {
            path: row::path_text(&finding.path),
            what: finding.what.clone(),
            since: now.as_second(),
            state,
        }
    }

    pub(super) fn finding(&self) -> Finding {
        Finding {
            path: row::path_of(&self.path).unwrap_or_default(),
            what: self.what.clone(),
        }
    }
}

impl Record {
    /// What the Data folder remembers; nothing where it remembers nothing that can be used.
    pub(super) fn load(data: &Path) -> Self {
        let path = path_in(data);
        let Ok(about) = std::fs::metadata(&path) else {
            return Self::default();
        };
        let read = || -> Option<Self> {
            if about.len() > LARGEST {
                return None;
            }
            let record: Self = serde_json::from_slice(&std::fs::read(&path).ok()?).ok()?;
            let is_sane = record.version == VERSION && record.elapsed_seconds >= 0.0;
            is_sane.then_some(record)
        };
        read().unwrap_or_else(|| {
            log::warn!(
                "{} cannot be used: the verification in the background begins anew",
                path.display()
            );
            Self::default()
        })
    }

    pub(super) fn save(&self, data: &Path) -> Result<(), DiskError> {
        let record = Self {
            version: VERSION,
            ..self.clone()
        };
        let text = serde_json::to_vec(&record).unwrap_or_default();
        disk::replace_file(&path_in(data), &text)
    }
}

fn path_in(data: &Path) -> PathBuf {
    data.join(NAME)
}
