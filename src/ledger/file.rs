//! The ledger's file: how it comes into being, how it is opened, and whether it is still the one that was opened.

#![expect(
    clippy::disallowed_methods,
    reason = "a new ledger is made under a temporary name and renamed into place"
)]

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use redb::{
    Builder, Database, DatabaseError, Durability, ReadOnlyDatabase, ReadTransaction,
    ReadableDatabase,
};
use rustix::fs::{Advice, CWD, RenameFlags};

use super::error::{LedgerError, Trouble};
use super::{tables, upgrade};

/// The ledger's name in the Data folder.
const NAME: &str = "ledger.redb";
/// Made after the ledger: while it stands there was one.
const MADE: &str = "ledger.made";
/// What it says to whom opens it.
const MADE_TEXT: &str = "The ledger, ledger.redb, was made in this folder. While this file stands, Photo Factory makes no new one \
    should it be missing, but says so. `photo-factory rebuild` makes it anew from the photos.\n";
/// What the names of unfinished new ledgers begin with; the process id follows.
const UNFINISHED: &str = ".ledger.redb.new-";
/// redb's default of 1 GiB is more than a small board has; beyond this a look-up gains nothing.
const CACHE_BYTES: usize = 2 << 20;
/// What every redb file begins with.
const MAGIC: [u8; 9] = *b"redb\x1A\x0A\xA9\x0D\x0A";

/// The ledger's file in a Data folder.
pub(super) fn path_in(data: &Path) -> PathBuf {
    data.join(NAME)
}

/// Whether there is anything under that name, were it only a broken link.
pub(super) fn exists(path: &Path) -> Result<bool, LedgerError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(LedgerError::Open {
            path: path.to_owned(),
            source: Box::new(redb::Error::Io(error)),
        }),
    }
}

/// Whether there was a ledger, though none may stand there now.
pub(super) fn was_there(data: &Path) -> bool {
    [MADE, super::journal::NAME]
        .iter()
        .any(|name| data.join(name).exists())
}

/// Remembers that there is a ledger, so that one that goes missing is missed.
pub(super) fn remember(path: &Path) -> io::Result<()> {
    let data = path.parent().unwrap_or(Path::new("."));
    let memory = data.join(MADE);
    if memory.exists() || !path.exists() {
        return Ok(());
    }
    let mut file = File::create(&memory)?;
    io::Write::write_all(&mut file, MADE_TEXT.as_bytes())?;
    file.sync_all()?;
    File::open(data)?.sync_all()
}

/// Whether the first start was cut where the new ledger had its name and not yet its content, as FAT leaves it.
pub(super) fn is_unborn(path: &Path) -> bool {
    let is_empty =
        fs::symlink_metadata(path).is_ok_and(|found| found.is_file() && found.len() == 0);
    is_empty && !was_there(path.parent().unwrap_or(Path::new(".")))
}

/// Removes what an interrupted first start left under the ledger's name.
pub(super) fn remove_unborn(path: &Path) -> Result<(), LedgerError> {
    fs::remove_file(path).map_err(|source| LedgerError::Create {
        path: path.to_owned(),
        source,
    })
}

/// Makes an empty ledger at `path`, where nothing is. A cut on the way leaves nothing under that name.
pub(super) fn create(path: &Path) -> Result<(), LedgerError> {
    let failed = |source| LedgerError::Create {
        path: path.to_owned(),
        source,
    };
    let data = path.parent().unwrap_or(Path::new("."));
    remove_unfinished(data).map_err(failed)?;
    let unfinished = data.join(format!("{UNFINISHED}{}", std::process::id()));
    fill(&unfinished).map_err(|trouble| match trouble {
        Trouble::Redb(error) => match *error {
            redb::Error::Io(source) => failed(source),
            other => failed(io::Error::other(other)),
        },
        other => other.at(path, None),
    })?;
    let placed = put_in_place(&unfinished, path).and_then(|()| {
        // On vfat a rename loses the content unless the file is synced once more.
        File::open(path)?.sync_all()?;
        File::open(data)?.sync_all()?;
        // The Data folder may be as new as the ledger: its own name must last, too.
        match data.canonicalize()?.parent().map(File::open) {
            Some(Ok(root)) => root.sync_all(),
            Some(Err(error)) if error.kind() != io::ErrorKind::PermissionDenied => Err(error),
            _ => Ok(()),
        }
    });
    placed.map_err(failed)
}

fn fill(unfinished: &Path) -> Result<(), Trouble> {
    let database = Builder::new()
        .set_cache_size(CACHE_BYTES)
        .create(unfinished)?;
    let mut txn = database.begin_write()?;
    txn.set_durability(Durability::Immediate)?;
    txn.set_quick_repair(true);
    tables::create_all(&txn)?;
    txn.commit()?;
    database.close()?;
    File::open(unfinished)
        .and_then(|file| file.sync_all())
        .map_err(|error| Trouble::Redb(Box::new(redb::Error::Io(error))))
}

/// A ledger that someone else made meanwhile stays.
fn put_in_place(unfinished: &Path, path: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, unfinished, CWD, path, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::EXIST) => fs::remove_file(unfinished),
        // Some file systems and kernels know no such rename.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::OPNOTSUPP) => {
            fs::rename(unfinished, path)
        }
        Err(error) => Err(error.into()),
    }
}

fn remove_unfinished(data: &Path) -> io::Result<()> {
    for entry in fs::read_dir(data)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Tells an empty or foreign file from a ledger before redb sees it: its words on them help nobody.
pub(super) fn look_at(path: &Path) -> Result<(), LedgerError> {
    let path = path.to_owned();
    let mut magic = [0; MAGIC.len()];
    let read = File::open(&path).and_then(|mut file| {
        let length = file.metadata()?.len();
        if length >= MAGIC.len() as u64 {
            io::Read::read_exact(&mut file, &mut magic)?;
        }
        Ok(length)
    });
    match read {
        Ok(0) => Err(LedgerError::Empty { path }),
        Ok(_) if magic == MAGIC => Ok(()),
        Ok(_) => Err(LedgerError::Foreign { path }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(LedgerError::Missing { path }),
        Err(error) => Err(LedgerError::Open {
            path,
            source: Box::new(redb::Error::Io(error)),
        }),
    }
}

/// Opens the database; with `doubt`, as it is on the disk, with every page checked.
pub(super) fn open(path: &Path, doubt: bool) -> Result<Database, Trouble> {
    let io = |error| Trouble::Redb(Box::new(redb::Error::Io(error)));
    if doubt {
        // After a failed write the page cache may hold what the disk does not.
        let file = File::open(path).map_err(io)?;
        rustix::fs::fadvise(&file, 0, None, Advice::DontNeed).map_err(|error| io(error.into()))?;
    }
    let database = Builder::new()
        .set_cache_size(CACHE_BYTES)
        .set_check_integrity_on_open(doubt)
        .open(path)?;
    Ok(database)
}

/// An open database.
pub(super) enum Opened {
    /// For everything. To open and to close it writes to the file.
    Writing(Database),
    /// For reading: nothing is written to the file.
    Reading(ReadOnlyDatabase),
}

impl Opened {
    pub(super) fn begin_read(&self) -> Result<ReadTransaction, Trouble> {
        Ok(match self {
            Self::Writing(database) => database.begin_read()?,
            Self::Reading(database) => database.begin_read()?,
        })
    }
}

/// Opens the database without changing it. One that was not closed cleanly, or is of an earlier format, must be put right before it
/// can be read, which changes it.
pub(super) fn open_for_reading(path: &Path) -> Result<Opened, Trouble> {
    let opened = Builder::new()
        .set_cache_size(CACHE_BYTES)
        .open_read_only(path);
    match opened {
        Ok(database) => {
            let opened = Opened::Reading(database);
            if upgrade::is_due(&opened)? {
                drop(opened);
                return open_to_put_right(path, Trouble::Older);
            }
            Ok(opened)
        }
        Err(DatabaseError::RepairAborted) => open_to_put_right(path, Trouble::Unclean),
        Err(error) => Err(error.into()),
    }
}

fn open_to_put_right(path: &Path, refused: Trouble) -> Result<Opened, Trouble> {
    match open(path, false) {
        Err(Trouble::Redb(error)) if is_refused(&error) => Err(refused),
        opened => opened.map(Opened::Writing),
    }
}

/// Whether a file may not be written.
fn is_refused(error: &redb::Error) -> bool {
    matches!(error, redb::Error::Io(error) if matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
    ))
}

/// Which file stands at a path: device and inode.
pub(super) type Identity = (u64, u64);

pub(super) fn identity(path: &Path) -> Option<Identity> {
    fs::metadata(path)
        .ok()
        .map(|found| (found.dev(), found.ino()))
}

/// Which file stands at a path, and in what state: its identity, length and times of change.
pub(super) type State = (Identity, u64, [i64; 4]);

pub(super) fn state(path: &Path) -> Option<State> {
    let found = fs::metadata(path).ok()?;
    let times = [
        found.mtime(),
        found.mtime_nsec(),
        found.ctime(),
        found.ctime_nsec(),
    ];
    Some(((found.dev(), found.ino()), found.len(), times))
}
