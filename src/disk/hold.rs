//! The inbox side of the disk: listing folders, holding a file while we work on it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use photo_factory_kernel::lease;
use rustix::fs::{Access, AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{DiskError, Snapshot, is_on_network, open_below, open_root, stat_file, stat_name};

/// What of a folder decides whether its names may be changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rights {
    mode: u16,
    owner: (u32, u32),
    may_write: bool,
}

/// A folder that photos come from: the inbox, or a folder that is copied from.
#[derive(Debug)]
pub struct Source {
    /// `None`: it is not there.
    root: RwLock<Option<Arc<OwnedFd>>>,
    path: PathBuf,
}

/// One name in a folder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The name.
    pub name: OsString,
    /// What it is.
    pub is: EntryIs,
}

/// The entries of a folder, which may be thousands, in the order of their names.
pub fn in_order_of_names(mut entries: Vec<Entry>) -> Vec<Entry> {
    entries.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    entries
}

/// What a name in a folder is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EntryIs {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A link, FIFO, socket or device: never opened.
    Other,
}

/// The answer to [`Source::hold`].
#[derive(Debug)]
pub enum Hold {
    /// It is open, and ours to read.
    Held(Held),
    /// Somebody has it open for writing.
    BeingWritten,
    /// It is gone.
    Gone,
    /// It is no regular file (any more).
    NotAFile,
}

/// A file held while we work on it: open, with the state it was in, and under a read lease where there is one.
#[derive(Debug)]
pub struct Held {
    pub(super) file: File,
    pub(super) seen: Snapshot,
    leased: bool,
    path: PathBuf,
}

impl Source {
    /// Opens the folder.
    pub fn open(path: &Path) -> Result<Self, DiskError> {
        Ok(Self {
            root: RwLock::new(Some(Arc::new(open_root(path)?))),
            path: path.to_owned(),
        })
    }

    /// A folder that may not be there yet: [`Source::reopen_if_replaced`] opens it.
    pub fn open_later(path: &Path) -> Self {
        Self {
            root: RwLock::default(),
            path: path.to_owned(),
        }
    }

    /// The folder's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names in the folder `relative`, in no order. A folder that is gone or became a link is an error.
    pub fn list(&self, relative: &Path) -> Result<Vec<Entry>, DiskError> {
        let failed = |errno| DiskError::new("read the folder", &self.path.join(relative))(errno);
        let folder = self
            .root()
            .and_then(|root| open_below(&root, relative))
            .map_err(failed)?;
        let mut entries = Vec::new();
        for entry in Dir::read_from(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let mut kind = entry.file_type();
            if kind == FileType::Unknown {
                // Some file systems don't say in the listing.
                kind = stat_name(&folder, name).map_or(FileType::Unknown, |stat| {
                    FileType::from_raw_mode(stat.stx_mode.into())
                });
            }
            let is = match kind {
                FileType::RegularFile => EntryIs::File,
                FileType::Directory => EntryIs::Folder,
                _ => EntryIs::Other,
            };
            entries.push(Entry {
                name: name.to_owned(),
                is,
            });
        }
        Ok(entries)
    }

    /// The states of the files `names` in the folder `relative`; `None` for what is gone or no regular file.
    pub fn look(
        &self,
        relative: &Path,
        names: &[&OsStr],
    ) -> Result<Vec<Option<Snapshot>>, DiskError> {
        let folder = self
            .root()
            .and_then(|root| open_below(&root, relative))
            .map_err(|errno| DiskError::new("read the folder", &self.path.join(relative))(errno))?;
        let state = |name: &&OsStr| {
            let stat = stat_name(&folder, name).ok()?;
            let regular = FileType::from_raw_mode(stat.stx_mode.into()) == FileType::RegularFile;
            regular.then(|| Snapshot::of(&stat))
        };
        Ok(names.iter().map(state).collect())
    }

    /// Opens the file `relative` for reading only, and tells its state. `None`: no regular file stands there.
    pub fn open_file(&self, relative: &Path) -> Result<Option<(File, Snapshot)>, DiskError> {
        let failed = |errno| DiskError::new("open", &self.path.join(relative))(errno);
        let Some((folder, name)) = self.parent(relative).or_else(gone).map_err(failed)? else {
            return Ok(None);
        };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&folder, name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => return Ok(None),
            Err(errno) => return Err(failed(errno)),
        };
        let stat = stat_file(&file).map_err(failed)?;
        let regular = FileType::from_raw_mode(stat.stx_mode.into()) == FileType::RegularFile;
        Ok(regular.then(|| (file, Snapshot::of(&stat))))
    }

    /// Opens the file `relative` for reading and, where the kernel gives one, takes a read lease on it.
    pub fn hold(&self, relative: &Path) -> Result<Hold, DiskError> {
        let failed = |errno| DiskError::new("open", &self.path.join(relative))(errno);
        let Some((folder, name)) = self.parent(relative).or_else(gone).map_err(failed)? else {
            return Ok(Hold::Gone);
        };
        let Some(before) = stat_name(&folder, name)
            .map(Some)
            .or_else(gone)
            .map_err(failed)?
        else {
            return Ok(Hold::Gone);
        };
        if FileType::from_raw_mode(before.stx_mode.into()) != FileType::RegularFile {
            return Ok(Hold::NotAFile);
        }
        // NONBLOCK: if it became a FIFO since, opening doesn't wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&folder, name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(Hold::Gone),
            Err(Errno::LOOP | Errno::NXIO) => return Ok(Hold::NotAFile),
            Err(errno) => return Err(failed(errno)),
        };
        let stat = stat_file(&file).map_err(failed)?;
        if FileType::from_raw_mode(stat.stx_mode.into()) != FileType::RegularFile {
            return Ok(Hold::NotAFile);
        }
        // NFS without a delegation and SMB without an oplock refuse a lease as if somebody were writing; and one that is
        // given there says nothing of what other machines do.
        let ask = |file| {
            if is_on_network(file) {
                lease::Asked::Unknown
            } else {
                lease::ask(file)
            }
        };
        let leased = match ask(&file) {
            lease::Asked::BeingWritten => return Ok(Hold::BeingWritten),
            lease::Asked::Unknown => false,
            lease::Asked::Leased(lease) => {
                lease.keep();
                true
            }
        };
        // The state is taken under the lease: what is written from here on makes itself known.
        let seen = Snapshot::of(&stat_file(&file).map_err(failed)?);
        Ok(Hold::Held(Held {
            file,
            seen,
            leased,
            path: relative.to_owned(),
        }))
    }

    /// Whether the folder `relative` lies on a network file system: its times are then those of another machine's clock.
    pub fn is_on_network(&self, relative: &Path) -> bool {
        self.root()
            .and_then(|root| open_below(&root, relative))
            .is_ok_and(is_on_network)
    }

    /// Whether this name leads to the inode of that state.
    pub(super) fn leads_to(&self, relative: &Path, seen: &Snapshot) -> bool {
        let stat = self
            .parent(relative)
            .ok()
            .flatten()
            .and_then(|(folder, name)| stat_name(&folder, name).ok());
        stat.is_some_and(|stat| Snapshot::of(&stat).same_inode(seen))
    }

    /// What of the folder `relative` decides whether its names may be changed; `None`: it can't be looked at.
    pub fn rights(&self, relative: &Path) -> Option<Rights> {
        let folder = open_below(&*self.root().ok()?, relative).ok()?;
        let stat = stat_file(&folder).ok()?;
        let may_write = Access::WRITE_OK | Access::EXEC_OK;
        Some(Rights {
            mode: stat.stx_mode,
            owner: (stat.stx_uid, stat.stx_gid),
            may_write: rustix::fs::accessat(&folder, c".", may_write, AtFlags::empty()).is_ok(),
        })
    }

    /// Makes everything durable that was written to the file systems of these folders.
    pub fn sync_file_systems<'a>(
        &self,
        folders: impl IntoIterator<Item = &'a Path>,
    ) -> Result<(), DiskError> {
        let mut synced = Vec::new();
        for folder in folders {
            let failed = |errno| DiskError::new("sync the disk of", &self.path.join(folder))(errno);
            let opened = self.root().and_then(|root| open_below(&root, folder));
            let opened = opened.map_err(failed)?;
            let device = rustix::fs::fstat(&opened).map_err(failed)?.st_dev;
            if !synced.contains(&device) {
                rustix::fs::syncfs(&opened).map_err(failed)?;
                synced.push(device);
            }
        }
        Ok(())
    }

    /// Whether the folder's path still leads to the folder that was opened; if not, it is opened anew. Where it leads
    /// nowhere nothing is taken any more: a folder that was moved away is another's now.
    pub fn reopen_if_replaced(&self) -> Result<bool, DiskError> {
        let put = |root| *self.root.write().unwrap_or_else(PoisonError::into_inner) = root;
        let opened = match open_root(&self.path) {
            Ok(opened) => opened,
            Err(error) => {
                put(None);
                return Err(error);
            }
        };
        let failed = |errno| DiskError::new("look at", &self.path)(errno);
        let there = Snapshot::of(&stat_file(&opened).map_err(failed)?);
        if let Ok(root) = self.root()
            && there.same_inode(&Snapshot::of(&stat_file(&*root).map_err(failed)?))
        {
            return Ok(false);
        }
        put(Some(Arc::new(opened)));
        Ok(true)
    }

    fn root(&self) -> rustix::io::Result<Arc<OwnedFd>> {
        let root = self.root.read().unwrap_or_else(PoisonError::into_inner);
        root.clone().ok_or(Errno::NOENT)
    }

    pub(super) fn parent<'a>(
        &self,
        relative: &'a Path,
    ) -> rustix::io::Result<Option<(OwnedFd, &'a OsStr)>> {
        let (Some(parent), Some(name)) = (relative.parent(), relative.file_name()) else {
            return Err(Errno::INVAL);
        };
        Ok(Some((open_below(&*self.root()?, parent)?, name)))
    }
}

impl Held {
    /// The open file. Read it by position: several readers share it.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Its state when it was opened.
    pub fn seen(&self) -> &Snapshot {
        &self.seen
    }

    /// Its path, relative to its source.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes its bytes durable.
    pub fn sync(&self) -> Result<(), DiskError> {
        rustix::fs::fsync(&self.file).map_err(|errno| DiskError::new("sync", &self.path)(errno))
    }

    /// Whether the kernel promised that nobody writes it.
    pub fn is_leased(&self) -> bool {
        self.leased
    }

    /// Whether its content is still what it was when it was opened, and nobody waits to change it.
    pub fn is_undisturbed(&self) -> bool {
        let Ok(stat) = stat_file(&self.file) else {
            return false;
        };
        let now = Snapshot::of(&stat);
        // Our links and modes move the change time of a leased file; of another, only somebody else does.
        let unchanged = if self.leased {
            now.same_content(&self.seen)
        } else {
            now == self.seen
        };
        unchanged && !self.lost_its_lease()
    }

    /// Whether it was leased, and somebody waits to write it, or the kernel let them.
    pub(super) fn lost_its_lease(&self) -> bool {
        self.leased && !lease::still_held(&self.file)
    }

    /// Whether more than one name leads to it.
    pub(super) fn has_other_names(&self) -> bool {
        stat_file(&self.file).is_ok_and(|stat| stat.stx_nlink > 1)
    }

    /// Gives the lease back: whoever waits to write goes on.
    pub fn let_go(&mut self) {
        if std::mem::take(&mut self.leased) {
            lease::give_back(&self.file);
        }
    }

    pub(super) fn proc_path(&self) -> String {
        proc_path(&self.file)
    }
}

/// What the hold gives up, it gives up whole: the worker may still have a copy of the descriptor, which would keep the lease.
impl Drop for Held {
    fn drop(&mut self) {
        self.let_go();
        // It was read once and is not read again.
        super::forget_pages(&self.file);
    }
}

pub(super) fn proc_path(file: &File) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

pub(super) fn gone<T>(errno: Errno) -> rustix::io::Result<Option<T>> {
    match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP => Ok(None),
        other => Err(other),
    }
}
