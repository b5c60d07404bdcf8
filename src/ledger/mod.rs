#![doc = include_str!("FORMAT.md")]

mod adopt;
mod change;
mod commit;
mod desk;
mod error;
mod facets;
mod file;
mod fold;
mod intend;
mod journal;
mod left;
mod lookups;
mod names;
mod photos;
mod promise;
mod rebuilt;
mod record;
mod store;
mod tables;
#[cfg(test)]
mod tests;
mod upgrade;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

pub use change::{Adoption, Change, Draft, Outcome, Pairing, Shot, Totals, Verdict};
pub use desk::{Desk, InFlight};
pub use error::LedgerError;
pub use facets::Facet;
pub use fold::Degraded;
#[doc(hidden)]
pub use journal::restored_line;
pub use names::place_before;
pub use photos::{Cursor, Found, Look, Month, Year};
pub use rebuilt::Condition;
#[doc(hidden)]
pub use record::{restored_asset, restored_left};
pub use tables::FORMAT;

use crate::asset::AssetId;
use file::Opened;
use fold::Standing;
use journal::Journal;
use store::{Opener, Store, lock};

/// The memory of what stands in Originals: one file, open in one process. All calls block.
///
/// While that file can't be used the ledger is degraded: it reads nothing, and [`Ledger::commit`] records in a journal.
pub struct Ledger {
    store: Store,
    /// Held for the whole of every change, so that no two decide at once which of the two is written.
    journal: Mutex<Journal>,
    /// What is said of it; never held while a disk is waited for.
    standing: Mutex<Standing>,
}

impl Ledger {
    /// Opens the ledger in the Data folder; makes one if there never was one. Never replaces anything that is there: a
    /// ledger that is missing or can't be opened is degraded, see [`Ledger::degraded`].
    ///
    /// Errors: a new ledger can't be made.
    pub fn open(data: &Path) -> Result<Self, LedgerError> {
        let path = file::path_in(data);
        if file::is_unborn(&path) {
            file::remove_unborn(&path)?;
        }
        if !file::exists(&path)? && !file::was_there(data) {
            file::create(&path)?;
        }
        if let Err(error) = file::remember(&path) {
            log::warn!("cannot remember that there is a ledger: {error}");
        }
        Self::open_file(path, false)
    }

    /// Opens the ledger in the Data folder for reading, if there is or was one; makes nothing and changes nothing.
    ///
    /// Errors: another process has it open, and does not end soon.
    pub fn open_existing(data: &Path) -> Result<Option<Self>, LedgerError> {
        let path = file::path_in(data);
        if file::exists(&path)? || file::was_there(data) {
            Self::open_file(path, true).map(Some)
        } else {
            Ok(None)
        }
    }

    /// Makes an empty ledger where none stands, though there was one: for who fills it with what stands in Originals.
    pub fn make_anew(data: &Path) -> Result<Self, LedgerError> {
        let path = file::path_in(data);
        file::create(&path)?;
        Self::open_file(path, false)
    }

    fn open_file(path: PathBuf, reading: bool) -> Result<Self, LedgerError> {
        let same = path.clone();
        let opener: Opener = if reading {
            Box::new(move |_| file::open_for_reading(&same))
        } else {
            Box::new(move |doubt| file::open(&same, doubt).map(Opened::Writing))
        };
        Self::open_with(path, opener, reading)
    }

    fn open_with(path: PathBuf, opener: Opener, reading: bool) -> Result<Self, LedgerError> {
        let data = path.parent().unwrap_or(Path::new("."));
        let (journal, why) = match Journal::open(data, reading) {
            Ok(journal) => (journal, None),
            // The ledger itself may be whole.
            Err(error) => (Journal::unusable(data), Some(error.to_string())),
        };
        if let Some(why) = &why {
            log::error!("{why}");
        }
        let ledger = Self {
            store: Store::new(path, opener),
            journal: Mutex::new(journal),
            standing: Mutex::default(),
        };
        lock(&ledger.standing).journal = why;
        ledger.begin(reading)?;
        Ok(ledger)
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        self.store.path()
    }

    /// Closes and opens the file anew, when there is nothing to do: the pages that work had read are given up. Does
    /// nothing while the ledger is in use.
    pub fn rest(&self) {
        self.store.rest();
    }
}

/// Whether an id is the journal's: its row is in no table of the ledger yet, and gets another id there.
pub fn is_journaled(id: AssetId) -> bool {
    id.0 >= journal::FIRST_ID
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger")
            .field("path", &self.path())
            .finish_non_exhaustive()
    }
}
