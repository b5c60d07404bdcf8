//! What can go wrong with the ledger, and what its owner can do about it.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use crate::asset::AssetId;

/// An error of the ledger. Photos stay in the inbox as long as one lasts.
#[derive(Debug)]
pub enum LedgerError {
    /// A new ledger could not be made.
    Create {
        /// The ledger's file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The ledger is there and could not be opened.
    Open {
        /// The ledger's file.
        path: PathBuf,
        /// Why.
        source: Box<redb::Error>,
    },
    /// Another process has it open.
    InUse {
        /// The ledger's file.
        path: PathBuf,
    },
    /// The file has no content.
    Empty {
        /// The ledger's file.
        path: PathBuf,
    },
    /// The file is something else.
    Foreign {
        /// The ledger's file.
        path: PathBuf,
    },
    /// The file was written by a later version of the program.
    Newer {
        /// The ledger's file.
        path: PathBuf,
        /// The format it says it has.
        format: u64,
        /// The highest format known here.
        known: u64,
    },
    /// The file is damaged.
    Damaged {
        /// The ledger's file.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// The disk is full.
    Full {
        /// The ledger's file.
        path: PathBuf,
    },
    /// Reading or writing failed. After a failed write it is not known whether the changes are recorded.
    Use {
        /// What was being done.
        action: &'static str,
        /// The ledger's file.
        path: PathBuf,
        /// Why it failed.
        source: Box<redb::Error>,
    },
    /// It was not closed cleanly, and may not be put right: it can't be written.
    Unclean {
        /// The ledger's file.
        path: PathBuf,
    },
    /// It is of an earlier format, and may not be brought up to date: it can't be written.
    Older {
        /// The ledger's file.
        path: PathBuf,
    },
    /// The file is no longer where it was opened.
    Replaced {
        /// The ledger's file.
        path: PathBuf,
    },
    /// It was there before and is gone.
    Missing {
        /// The ledger's file.
        path: PathBuf,
    },
    /// It could not be opened a moment ago, and nothing has changed since.
    Unavailable {
        /// What was found then, in words for the owner.
        reason: String,
    },
    /// The ledger can't be used, and the journal that stands in for it can't be either.
    Journal {
        /// The journal's file.
        path: PathBuf,
        /// What was tried with it.
        action: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The journal was written by a later version of the program.
    NewerJournal {
        /// The journal's file.
        path: PathBuf,
    },
    /// It is being opened again after an error: ask later.
    Reopening {
        /// The ledger's file.
        path: PathBuf,
    },
    /// One record cannot be read; the others can.
    Record {
        /// The ledger's file.
        path: PathBuf,
        /// Which record.
        row: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A change names a row that is not there in that state.
    NoSuchRow {
        /// What was being done.
        action: &'static str,
        /// The row named.
        id: AssetId,
    },
    /// All names tried for a file are taken.
    NoFreeName {
        /// The path wished for, relative to Storage.
        wished: PathBuf,
    },
    /// The desk that commits was closed.
    DeskClosed,
}

impl LedgerError {
    /// Whether the ledger as a whole can't be used now; what needs no answer from it can go on.
    pub fn is_outage(&self) -> bool {
        !self.is_about_one_row() && !matches!(self, Self::Reopening { .. } | Self::DeskClosed)
    }

    /// Whether the disk of the ledger, and of the journal that stands in for it, is full.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Full { .. } => true,
            Self::Journal { source, .. } => matches!(
                source.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            ),
            _ => false,
        }
    }

    /// Whether the ledger itself works, and only the change or row asked for is refused.
    pub fn is_about_one_row(&self) -> bool {
        matches!(
            self,
            Self::Record { .. } | Self::NoSuchRow { .. } | Self::NoFreeName { .. }
        )
    }
}

impl fmt::Display for LedgerError {
    #[expect(clippy::too_many_lines, reason = "one sentence for each error")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create { path, source } => write!(
                f,
                "cannot make the ledger {}: {source}; check that its folder exists, is writable and has free space",
                path.display()
            ),
            Self::Open { path, source } => write!(
                f,
                "cannot open the ledger {}: {source}; check the disk and the file's permissions",
                path.display()
            ),
            Self::InUse { path } => write!(
                f,
                "cannot open the ledger {}: another photo-factory has it open at this moment; wait until its \
                 `ingest`, `status` or `export` has ended (or stop it), then try again",
                path.display()
            ),
            Self::Empty { path } => write!(
                f,
                "the ledger {} has no content; put a copy of the ledger back from a backup, or, \
                 if this folder was never used, remove the file to begin a new ledger",
                path.display()
            ),
            Self::Foreign { path } => write!(
                f,
                "{} is no ledger of Photo Factory; move it away, and put the ledger back in its place",
                path.display()
            ),
            Self::Newer {
                path,
                format,
                known,
            } => write!(
                f,
                "the ledger {} has format {format}, this program knows formats up to {known}; install the newer version again",
                path.display()
            ),
            Self::Damaged { path, what } => write!(
                f,
                "the ledger {} is damaged: {what}; nothing was changed: check the disk, then put a copy back from a \
                 backup (the photos in Storage are not touched by this)",
                path.display()
            ),
            Self::Full { path } => write!(
                f,
                "cannot write the ledger {}: the disk is full; free some space, work goes on by itself",
                path.display()
            ),
            Self::Use {
                action,
                path,
                source,
            } => write!(
                f,
                "cannot {action} the ledger {}: {source}; it is opened again at the next use: check the disk if this goes on",
                path.display()
            ),
            Self::Unclean { path } => write!(
                f,
                "the ledger {} was not closed cleanly (by a power cut, or a kill), and can't be read before it is put right, \
                 for which it must be writable: mount its disk writable, or type this as the user it belongs to \
                 (with `sudo -u`); the next start of Photo Factory puts it right as well",
                path.display()
            ),
            Self::Older { path } => write!(
                f,
                "the ledger {} is of an earlier version of Photo Factory, and can't be read before it is brought up to date, \
                 for which it must be writable: start Photo Factory, or type this as the user it belongs to (with `sudo -u`)",
                path.display()
            ),
            Self::Replaced { path } => write!(
                f,
                "the ledger {} was moved, removed or replaced while in use; put it back, or restart photo-factory to use \
                 what is there now",
                path.display()
            ),
            Self::Missing { path } => write!(
                f,
                "the ledger {} is missing; put it back from a backup, or make it anew from the photos with \
                 `photo-factory rebuild` (the photos in Storage are not touched by this)",
                path.display()
            ),
            Self::Unavailable { reason } => f.write_str(reason),
            Self::Journal {
                path,
                action,
                source,
            } => write!(
                f,
                "cannot {action} the journal {}: {source}; photos stay in the inbox until the ledger or the journal can be \
                 written: check the disk, its free space and the permissions",
                path.display()
            ),
            Self::NewerJournal { path } => write!(
                f,
                "the journal {} was written by a later version of the program; install that version again",
                path.display()
            ),
            Self::Reopening { path } => write!(
                f,
                "the ledger {} is being opened again after an error; try again in a moment",
                path.display()
            ),
            Self::Record { path, row, what } => write!(
                f,
                "{row} in the ledger {} cannot be read: {what}; the other rows can: check the disk, and put a copy back \
                 from a backup",
                path.display()
            ),
            Self::NoSuchRow { action, id } => {
                write!(
                    f,
                    "cannot {action} row {}: the ledger has none in that state",
                    id.0
                )
            }
            Self::NoFreeName { wished } => write!(
                f,
                "cannot find a free name for {}: all that were tried are taken; check the folder in Storage",
                wished.display()
            ),
            Self::DeskClosed => {
                write!(
                    f,
                    "the ledger takes no more changes: the program is stopping"
                )
            }
        }
    }
}

impl std::error::Error for LedgerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Create { source, .. } | Self::Journal { source, .. } => Some(source),
            Self::Open { source, .. } | Self::Use { source, .. } => Some(source.as_ref()),
            _ => None,
        }
    }
}

/// What went wrong inside, before the path and the action are known.
#[derive(Debug)]
pub(super) enum Trouble {
    Redb(Box<redb::Error>),
    Panicked(String),
    Record { row: String, what: &'static str },
    NoSuchRow { action: &'static str, id: AssetId },
    NoFreeName { wished: PathBuf },
    Replaced,
    Unclean,
    Older,
    Newer { format: u64, known: u64 },
    Foreign,
    Journal(LedgerError),
}

impl Trouble {
    /// A panic that was caught, put into words.
    fn from_panic(payload: &(dyn std::any::Any + Send)) -> Self {
        let text = payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_default();
        Self::Panicked(text)
    }

    /// Whether the database must be closed and opened again before the next use.
    pub(super) fn breaks_database(&self) -> bool {
        matches!(self, Self::Redb(_) | Self::Panicked(_) | Self::Replaced)
    }

    /// Whether the content of the file is in doubt, and not only the space or the lock.
    pub(super) fn casts_doubt(&self) -> bool {
        matches!(self, Self::Redb(_) | Self::Panicked(_)) && !self.is_full()
    }

    fn is_full(&self) -> bool {
        matches!(self, Self::Redb(error)
            if matches!(error.as_ref(), redb::Error::Io(error) if error.kind() == io::ErrorKind::StorageFull))
    }

    /// The error as others see it; without an action it came from opening.
    pub(super) fn at(self, path: &Path, action: Option<&'static str>) -> LedgerError {
        let path = path.to_owned();
        if self.is_full() {
            return LedgerError::Full { path };
        }
        match self {
            Self::Redb(error) => match *error {
                redb::Error::DatabaseAlreadyOpen => LedgerError::InUse { path },
                redb::Error::Corrupted(what) => LedgerError::Damaged { path, what },
                // A file that is cut short.
                redb::Error::Io(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData
                    ) =>
                {
                    LedgerError::Damaged {
                        path,
                        what: error.to_string(),
                    }
                }
                error => match action {
                    Some(action) => LedgerError::Use {
                        action,
                        path,
                        source: Box::new(error),
                    },
                    None => LedgerError::Open {
                        path,
                        source: Box::new(error),
                    },
                },
            },
            Self::Panicked(what) => LedgerError::Damaged {
                path,
                what: format!("it cannot be read ({what})"),
            },
            Self::Record { row, what } => LedgerError::Record { path, row, what },
            Self::NoSuchRow { action, id } => LedgerError::NoSuchRow { action, id },
            Self::NoFreeName { wished } => LedgerError::NoFreeName { wished },
            Self::Replaced => LedgerError::Replaced { path },
            Self::Unclean => LedgerError::Unclean { path },
            Self::Older => LedgerError::Older { path },
            Self::Newer { format, known } => LedgerError::Newer {
                path,
                format,
                known,
            },
            Self::Foreign => LedgerError::Foreign { path },
            Self::Journal(error) => error,
        }
    }
}

/// A damaged file makes redb panic in places; that must not end the daemon.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, Trouble>) -> Result<T, Trouble> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(Trouble::from_panic(panic.as_ref())))
}

macro_rules! from_redb {
    ($($error:ty),*) => {$(
        impl From<$error> for Trouble {
            fn from(error: $error) -> Self {
                Self::Redb(Box::new(error.into()))
            }
        }
    )*};
}

from_redb!(
    redb::StorageError,
    redb::TableError,
    redb::TransactionError,
    redb::CommitError,
    redb::DatabaseError,
    redb::SetDurabilityError
);
