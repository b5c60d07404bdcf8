//! What the verification in the background says to the page.

use std::time::Duration;

use jiff::Timestamp;

use super::Finding;
use super::record::Record;
use crate::config::Config;

/// What the page says of the verification.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Verified {
    /// Days of a round.
    pub days: f64,
    /// When the last whole round was done, and how many files it read.
    pub last: Option<(Timestamp, u64)>,
    /// Files read in the present round.
    pub files: u64,
    /// Files there are.
    pub of: u64,
    /// What was found, and since when, the newest last.
    pub findings: Vec<(Finding, Timestamp)>,
    /// Findings beyond those.
    pub more: u64,
    /// Whether the owner asked for this round: then it is read at once, and not over those days.
    pub at_once: bool,
}

impl Verified {
    /// What a stopped appliance has left in the Data folder; `of`: how many files there are.
    pub fn on_disk(config: &Config, of: u64) -> Option<Self> {
        let every = config.verify_every?;
        Some(Self::of(&Record::load(&config.data), every, of))
    }

    pub(super) fn of(record: &Record, every: Duration, of: u64) -> Self {
        let at = |seconds| Timestamp::from_second(seconds).unwrap_or_default();
        Self {
            days: every.as_secs_f64() / 86_400.0,
            last: record.last.map(|last| (at(last.at), last.files)),
            files: record.files,
            of: of.max(record.files),
            findings: record
                .findings
                .iter()
                .map(|kept| (kept.finding(), at(kept.since)))
                .collect(),
            more: record.more,
            at_once: record.is_asked_for,
        }
    }

    /// How many findings there are.
    pub fn problems(&self) -> u64 {
        self.findings.len() as u64 + self.more
    }

    /// What the top of the page says, where there is anything to say.
    pub fn notice(&self) -> Option<String> {
        match self.problems() {
            0 => None,
            1 => Some(
                "One file in Originals is not as it should be: it is listed under Verified, with what to do.".to_owned(),
            ),
            count => Some(format!(
                "{count} files in Originals are not as they should be: they are listed under Verified, with what to do."
            )),
        }
    }
}
