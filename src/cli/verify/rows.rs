//! The ledger's rows for `verify`, and whether files without one have got one meanwhile.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::VerifyError;
use crate::asset::{AssetId, Original};
use crate::dashboard::client::{self, Answer, AskError};
use crate::dashboard::export;
use crate::ledger::{Ledger, LedgerError};
use crate::verify::{Finding, row};

/// A busy appliance is asked so often, a second apart.
const ATTEMPTS: u32 = 30;

/// Files asked for together: their paths are one request's target.
pub(super) const AT_ONCE: usize = 64;

/// The rows: from the appliance where it runs, else from the ledger, which is not kept open, so that it can be started.
pub(super) struct Rows<'a> {
    pub(super) data: &'a Path,
}

impl Rows<'_> {
    /// Hands every row to `take`, by id.
    pub(super) fn each(
        &self,
        mut take: impl FnMut(&Original) -> Result<(), VerifyError>,
    ) -> Result<(), VerifyError> {
        let mut from = AssetId(0);
        loop {
            let page = self.ask(&format!("/originals?from={}", from.0), |ledger| {
                export::originals_from(ledger, from)
            })?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            from = AssetId(last.id.0 + 1);
            for original in &page {
                take(original)?;
            }
        }
    }

    /// Those of the strangers that no row names by now. `known`: the digests of the paths that rows named at the beginning,
    /// sorted.
    pub(super) fn still_strangers(
        &self,
        mut found: Vec<Finding>,
        known: &[u64],
    ) -> Result<Vec<Finding>, VerifyError> {
        // What is no file and has a row's name is a stranger all the same.
        let new: Vec<PathBuf> = found
            .iter()
            .filter(|finding| known.binary_search(&digest(&finding.path)).is_err())
            .map(|finding| finding.path.clone())
            .collect();
        let mut filed = HashSet::new();
        for paths in new.chunks(AT_ONCE) {
            let texts: Vec<String> = paths.iter().map(|path| row::path_text(path)).collect();
            let route = format!("/originals?at={}", texts.join("&at="));
            let rows = self.ask(&route, |ledger| export::originals_at(ledger, paths))?;
            filed.extend(rows.into_iter().map(|row| row.final_path));
        }
        found.retain(|finding| !filed.contains(&finding.path));
        Ok(found)
    }

    fn ask(
        &self,
        route: &str,
        read: impl Fn(&Ledger) -> Result<String, LedgerError>,
    ) -> Result<Vec<Original>, VerifyError> {
        for attempt in 1.. {
            let mut answer = Vec::new();
            match client::ask(self.data, route, &mut answer) {
                Ok(Answer::Done) => return lines(&answer),
                Ok(Answer::NotRunning) => {}
                Err(AskError::Refused(status)) if status.contains("503") && attempt < ATTEMPTS => {
                    thread::sleep(Duration::from_secs(1));
                    continue;
                }
                Err(AskError::Refused(status)) if status.contains("500") => {
                    let why = "`photo-factory status` says why";
                    return Err(VerifyError::Down(why.to_owned()));
                }
                Err(error) => return Err(VerifyError::Asking(error)),
            }
            match Ledger::open_existing(self.data) {
                Ok(None) => return Err(VerifyError::NoLedger(self.data.to_owned())),
                Ok(Some(ledger)) => {
                    if let Some(degraded) = ledger.degraded() {
                        return Err(VerifyError::Down(degraded.reason));
                    }
                    let text = read(&ledger).map_err(VerifyError::Reading)?;
                    return lines(text.as_bytes());
                }
                // The appliance is being started or stopped.
                Err(LedgerError::InUse { .. }) if attempt < ATTEMPTS => {
                    thread::sleep(Duration::from_secs(1));
                }
                Err(error) => return Err(VerifyError::Reading(error)),
            }
        }
        Ok(Vec::new())
    }
}

fn lines(text: &[u8]) -> Result<Vec<Original>, VerifyError> {
    let line = |line: &str| {
        row::from_line(line)
            .ok_or_else(|| VerifyError::Asking(AskError::Refused("not a row".to_owned())))
    };
    String::from_utf8_lossy(text).lines().map(line).collect()
}

/// Eight bytes for a path: a million of them are eight megabytes, and two paths with the same are not to be met.
pub(super) fn digest(path: &Path) -> u64 {
    let hash = Sha256::digest(path.as_os_str().as_encoded_bytes());
    hash.iter()
        .take(8)
        .fold(0, |digest, byte| digest << 8 | u64::from(*byte))
}
