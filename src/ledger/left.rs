//! The files that stay in the inbox, read in pieces: however many there are, each piece costs the same.

use std::path::Path;

use jiff::Timestamp;
use redb::ReadTransaction;

use super::error::Trouble;
use super::record::decode_left;
use super::tables;
use super::{Ledger, LedgerError};
use crate::asset::Left;

impl Ledger {
    /// Files left in the inbox for a problem, the newest first: at most `limit`, the next ones after the row that has this
    /// time and inbox path (it need not be there any more), or with none from the first on. Those kept on purpose are not among them.
    pub fn problems_after(
        &self,
        after: Option<(Timestamp, &Path)>,
        limit: usize,
    ) -> Result<Vec<Left>, LedgerError> {
        let mut from = Vec::new();
        if let Some((since, inbox_path)) = after {
            from = tables::problem_key(since, inbox_path);
            // The least key behind it.
            from.push(0);
        }
        self.read(|txn| problems(txn, &from, limit))
    }
}

/// Problems from this key on.
pub(super) fn problems(
    txn: &ReadTransaction,
    from: &[u8],
    limit: usize,
) -> Result<Vec<Left>, Trouble> {
    let left = txn.open_table(tables::LEFT)?;
    let mut found = Vec::new();
    for entry in txn.open_table(tables::PROBLEMS)?.range(from..)?.take(limit) {
        let entry = entry?;
        let path = tables::path_in_problem(entry.0.value());
        if let Some(bytes) = left.get(path)? {
            found.push(decode_left(path, bytes.value())?);
        }
    }
    Ok(found)
}
