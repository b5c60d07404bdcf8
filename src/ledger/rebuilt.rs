//! A ledger made anew in a folder of its own, and put in the place of one that is lost. What was there is kept under another
//! name.

#![expect(
    clippy::disallowed_methods,
    reason = "a rebuilt ledger is renamed into place, the old one aside"
)]

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use redb::{ReadableDatabase, ReadableTable};
use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

use super::error::guarded;
use super::record::decode_asset;
use super::{Ledger, LedgerError, file, journal, tables};

/// The folder in Data where a ledger is rebuilt.
const REBUILDING: &str = "rebuilding";

/// What a look at a ledger's file came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Condition {
    /// Every page and every row of it can be read.
    Whole,
    /// There is none.
    Missing,
    /// It can't be used, and won't be by itself: why.
    Lost(String),
}

impl Ledger {
    /// Looks at every page and every row of the ledger in the Data folder, which nobody may have open.
    ///
    /// Errors: it can't be told: another process has it open, it may not be read, it is of a later version.
    pub fn condition(data: &Path) -> Result<Condition, LedgerError> {
        let path = file::path_in(data);
        if !file::exists(&path)? {
            return Ok(Condition::Missing);
        }
        let looked = file::look_at(&path).and_then(|()| {
            let read = guarded(|| {
                let database = file::open(&path, true)?;
                let txn = database.begin_read()?;
                tables::check_all(&txn)?;
                for entry in txn.open_table(tables::ASSETS)?.iter()? {
                    let (id, bytes) = entry?;
                    decode_asset(tables::number_in(id.value()), bytes.value())?;
                }
                Ok(())
            });
            read.map_err(|trouble| trouble.at(&path, Some("read")))
        });
        match looked {
            Ok(()) => Ok(Condition::Whole),
            Err(
                error @ (LedgerError::Empty { .. }
                | LedgerError::Foreign { .. }
                | LedgerError::Damaged { .. }
                | LedgerError::Record { .. }),
            ) => Ok(Condition::Lost(error.to_string())),
            Err(error) => Err(error),
        }
    }

    /// Opens the ledger that is being rebuilt: one that an interrupted rebuild left, or a new one. What waits in the journal
    /// is in it already; the journal stays where it is until the ledger has its place.
    pub fn rebuilding(data: &Path, now: Timestamp) -> Result<Self, LedgerError> {
        let folder = data.join(REBUILDING);
        let path = file::path_in(&folder);
        let prepared = || -> io::Result<()> {
            fs::create_dir_all(&folder)?;
            File::open(data)?.sync_all()?;
            match fs::copy(data.join(journal::NAME), folder.join(journal::NAME)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            }
        };
        let failed = |source| LedgerError::Create {
            path: path.clone(),
            source,
        };
        prepared().map_err(failed)?;
        match Self::condition(&folder)? {
            Condition::Whole => return Self::open(&folder),
            Condition::Missing => {}
            Condition::Lost(_) => {
                keep(&path, data, now).map_err(failed)?;
            }
        }
        Self::make_anew(&folder)
    }

    /// Puts the rebuilt ledger in its place, durably. What stood there is kept: gives under which name.
    ///
    /// Where the disk can exchange two names there is a ledger at every instant.
    pub fn put_in_place(self, data: &Path, now: Timestamp) -> Result<Option<PathBuf>, LedgerError> {
        let rebuilt = self.path().to_owned();
        let path = file::path_in(data);
        drop(self);
        let placed = || -> io::Result<Option<PathBuf>> {
            File::open(&rebuilt)?.sync_all()?;
            let mut kept = None;
            if fs::symlink_metadata(&path).is_ok() {
                match rustix::fs::renameat_with(CWD, &rebuilt, CWD, &path, RenameFlags::EXCHANGE) {
                    Ok(()) => {
                        File::open(data)?.sync_all()?;
                        kept = keep(&rebuilt, data, now)?;
                    }
                    Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                        kept = keep(&path, data, now)?;
                        fs::rename(&rebuilt, &path)?;
                    }
                    Err(errno) => return Err(errno.into()),
                }
            } else {
                fs::rename(&rebuilt, &path)?;
            }
            // vfat: the renamed entry is durable only once the file is synced again.
            File::open(&path)?.sync_all()?;
            File::open(data)?.sync_all()?;
            file::remember(&path)?;
            tidy(data)?;
            Ok(kept)
        };
        placed().map_err(|source| LedgerError::Create { path, source })
    }

    /// Keeps under another name what a rebuild that was cut short left beside a ledger that is whole: its unfinished work,
    /// or the damaged ledger itself. Gives the name.
    pub fn keep_leftover(data: &Path, now: Timestamp) -> Result<Option<PathBuf>, LedgerError> {
        let path = file::path_in(&data.join(REBUILDING));
        let kept = || -> io::Result<Option<PathBuf>> {
            let kept = match fs::symlink_metadata(&path) {
                Ok(_) => keep(&path, data, now)?,
                Err(_) => None,
            };
            tidy(data)?;
            Ok(kept)
        };
        kept().map_err(|source| LedgerError::Create { path, source })
    }
}

/// Renames `path` to `ledger.redb.damaged-TIME`, or the first free name after it.
fn keep(path: &Path, data: &Path, now: Timestamp) -> io::Result<Option<PathBuf>> {
    let time = now.strftime("%Y%m%dT%H%M%SZ");
    for count in 0_u32.. {
        let name = match count {
            0 => format!("ledger.redb.damaged-{time}"),
            _ => format!("ledger.redb.damaged-{time}-{count}"),
        };
        let kept = data.join(name);
        match rustix::fs::renameat_with(CWD, path, CWD, &kept, RenameFlags::NOREPLACE) {
            Ok(()) => {}
            Err(Errno::EXIST) => continue,
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                if fs::symlink_metadata(&kept).is_ok() {
                    continue;
                }
                fs::rename(path, &kept)?;
            }
            Err(errno) => return Err(errno.into()),
        }
        File::open(data)?.sync_all()?;
        return Ok(Some(kept));
    }
    Ok(None)
}

/// Removes the folder where a ledger was rebuilt, once that is no longer in it.
fn tidy(data: &Path) -> io::Result<()> {
    let folder = data.join(REBUILDING);
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        // The copy of the journal, the note that there is a ledger, a new one that was not finished.
        fs::remove_file(entry?.path())?;
    }
    fs::remove_dir(&folder)
}
