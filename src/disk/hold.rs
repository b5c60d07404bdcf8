//! The inbox side of the disk: listing folders, holding a file while we work on it, clearing its name.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use photo_factory_kernel::lease;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::{
    DiskError, Kept, Snapshot, TEMPORARY_PREFIX, Vault, open_below, open_root, stat_file, stat_name,
};

/// Marks a name that was put aside to be cleared; the original name follows.
const ASIDE: &str = "aside-";

/// Makes the names of files put aside different within one run.
static ASIDE_COUNT: AtomicU64 = AtomicU64::new(0);

/// A folder that photos come from: the inbox, or a folder that is copied from.
#[derive(Debug)]
pub struct Source {
    root: RwLock<Arc<OwnedFd>>,
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
    file: File,
    seen: Snapshot,
    leased: bool,
    path: PathBuf,
}

/// What became of an inbox name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cleared {
    /// The name is gone, the photo is kept.
    Cleared,
    /// Something else stands at that name by now: it was left alone.
    Changed,
}

impl Source {
    /// Opens the folder.
    pub fn open(path: &Path) -> Result<Self, DiskError> {
        Ok(Self {
            root: RwLock::new(Arc::new(open_root(path)?)),
            path: path.to_owned(),
        })
    }

    /// The folder's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names in the folder `relative`, in no order. A folder that is gone or became a link is an error.
    pub fn list(&self, relative: &Path) -> Result<Vec<Entry>, DiskError> {
        let failed = |errno| DiskError::new("read the folder", &self.path.join(relative))(errno);
        let folder = open_below(&self.root(), relative).map_err(failed)?;
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
        let folder = open_below(&self.root(), relative)
            .map_err(|errno| DiskError::new("read the folder", &self.path.join(relative))(errno))?;
        let state = |name: &&OsStr| {
            let stat = stat_name(&folder, name).ok()?;
            let regular = FileType::from_raw_mode(stat.stx_mode.into()) == FileType::RegularFile;
            regular.then(|| Snapshot::of(&stat))
        };
        Ok(names.iter().map(state).collect())
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
        let leased = match lease::ask(&file) {
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

    /// Clears the inbox name of `held`, whose bytes are kept as `kept` proves, if the name still means that file.
    ///
    /// The name is first put aside, so that a file that took its place in the last moment is not the one that goes. However
    /// it ends, the original is then a file of its own: no other name leads to its inode (P3, P4).
    pub fn clear(&self, held: &mut Held, kept: &Kept, vault: &Vault) -> Result<Cleared, DiskError> {
        let cleared = self.try_clear(held);
        if !matches!(cleared, Ok(Cleared::Cleared))
            || held.has_other_names()
            || !held.is_undisturbed()
        {
            vault.part_from(held, kept)?;
        }
        held.let_go();
        cleared
    }

    fn try_clear(&self, held: &Held) -> Result<Cleared, DiskError> {
        let failed = |errno| DiskError::new("clear", &self.path.join(&held.path))(errno);
        let Some((folder, name)) = self.parent(&held.path).or_else(gone).map_err(failed)? else {
            return Ok(Cleared::Changed);
        };
        if !held.is_undisturbed() {
            // A writer waits at our door, or wrote where no lease could stop it: the inbox name stays with it.
            return Ok(Cleared::Changed);
        }
        let aside = aside_name(name);
        match rustix::fs::renameat_with(&folder, name, &folder, &aside, RenameFlags::NOREPLACE) {
            Ok(()) => {}
            Err(Errno::NOENT) => return Ok(Cleared::Changed),
            Err(Errno::INVAL | Errno::NOSYS) => {
                // A file system without careful renames (NFS): look, then clear.
                let stat = stat_name(&folder, name).map_err(failed)?;
                if !Snapshot::of(&stat).same_content(&held.seen) {
                    return Ok(Cleared::Changed);
                }
                rustix::fs::unlinkat(&folder, name, AtFlags::empty()).map_err(failed)?;
                return Ok(Cleared::Cleared);
            }
            Err(errno) => return Err(failed(errno)),
        }
        let stat = stat_name(&folder, &aside).map_err(failed)?;
        let is_ours = Snapshot::of(&stat).same_content(&held.seen);
        if !is_ours || (held.leased && !lease::still_held(&held.file)) {
            put_back(&folder, &aside, name).map_err(failed)?;
            return Ok(Cleared::Changed);
        }
        rustix::fs::unlinkat(&folder, &aside, AtFlags::empty()).map_err(failed)?;
        if held.leased && !lease::still_held(&held.file) {
            // A writer had found the file before its name went, and now waits to open it: it gets a name to write under.
            // Where no link is left to make one from, its writing was begun after the file was gone.
            match relink(&held.file, &folder, name) {
                Ok(()) => return Ok(Cleared::Changed),
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(failed(errno)),
            }
        }
        Ok(Cleared::Cleared)
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

    /// Whether the folder's path still leads to the folder that was opened; if not, it is opened anew.
    pub fn reopen_if_replaced(&self) -> Result<bool, DiskError> {
        let opened = open_root(&self.path)?;
        let failed = |errno| DiskError::new("look at", &self.path)(errno);
        let there = Snapshot::of(&stat_file(&opened).map_err(failed)?);
        let ours = Snapshot::of(&stat_file(&*self.root()).map_err(failed)?);
        if there.same_inode(&ours) {
            return Ok(false);
        }
        *self.root.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(opened);
        Ok(true)
    }

    fn root(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.root.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Gives a file that was put aside by an interrupted [`Source::clear`] its name back. Returns whether it was one.
    pub fn restore_aside(&self, relative: &Path) -> Result<bool, DiskError> {
        let failed = |errno| DiskError::new("restore", &self.path.join(relative))(errno);
        let Some((folder, name)) = self.parent(relative).or_else(gone).map_err(failed)? else {
            return Ok(false);
        };
        let Some(original) = name_before_aside(name) else {
            return Ok(false);
        };
        put_back(&folder, name, original).map_err(failed)?;
        Ok(true)
    }

    fn parent<'a>(&self, relative: &'a Path) -> rustix::io::Result<Option<(OwnedFd, &'a OsStr)>> {
        let (Some(parent), Some(name)) = (relative.parent(), relative.file_name()) else {
            return Err(Errno::INVAL);
        };
        Ok(Some((open_below(&self.root(), parent)?, name)))
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
        unchanged && (!self.leased || lease::still_held(&self.file))
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

fn proc_path(file: &File) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

fn gone<T>(errno: Errno) -> rustix::io::Result<Option<T>> {
    match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP => Ok(None),
        other => Err(other),
    }
}

/// The name under which `name` is put aside: it ends with the original name, cut at the front where it would be too long.
fn aside_name(name: &OsStr) -> OsString {
    const NAME_MAX: usize = 255;
    let count = ASIDE_COUNT.fetch_add(1, Ordering::Relaxed);
    let mut aside = OsString::from(format!(
        "{TEMPORARY_PREFIX}{ASIDE}{}-{count}-",
        std::process::id()
    ));
    let room = NAME_MAX - aside.len();
    let bytes = name.as_bytes();
    aside.push(OsStr::from_bytes(
        bytes
            .get(bytes.len().saturating_sub(room)..)
            .unwrap_or(bytes),
    ));
    aside
}

fn name_before_aside(aside: &OsStr) -> Option<&OsStr> {
    let rest = aside
        .as_bytes()
        .strip_prefix(TEMPORARY_PREFIX.as_bytes())?
        .strip_prefix(ASIDE.as_bytes())?;
    let mut parts = rest.splitn(3, |&byte| byte == b'-');
    let (_pid, _count, name) = (parts.next()?, parts.next()?, parts.next()?);
    (!name.is_empty()).then(|| OsStr::from_bytes(name))
}

/// Renames `aside` to `name`, or to the first free `name-N` where something else took the name meanwhile.
fn put_back(folder: &OwnedFd, aside: &OsStr, name: &OsStr) -> rustix::io::Result<()> {
    with_free_name(name, |candidate| {
        rustix::fs::renameat_with(folder, aside, folder, candidate, RenameFlags::NOREPLACE)
    })
}

fn relink(file: &File, folder: &OwnedFd, name: &OsStr) -> rustix::io::Result<()> {
    with_free_name(name, |candidate| {
        rustix::fs::linkat(
            CWD,
            proc_path(file),
            folder,
            candidate,
            AtFlags::SYMLINK_FOLLOW,
        )
    })
}

fn with_free_name(
    name: &OsStr,
    claim: impl Fn(&OsStr) -> rustix::io::Result<()>,
) -> rustix::io::Result<()> {
    let (stem, extension) = crate::asset::split_name(name);
    let mut candidate = name.to_owned();
    for count in 1_u32.. {
        match claim(&candidate) {
            Err(Errno::EXIST) => {}
            done => return done,
        }
        stem.clone_into(&mut candidate);
        candidate.push(format!("-{count}"));
        candidate.push(extension);
    }
    Err(Errno::EXIST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_put_aside_leads_back_to_the_original_name() {
        let aside = aside_name(OsStr::new("a-b-c.jpg"));
        assert_eq!(name_before_aside(&aside), Some(OsStr::new("a-b-c.jpg")));
        let long = "x".repeat(251) + ".jpg";
        let aside = aside_name(OsStr::new(&long));
        assert_eq!(aside.len(), 255);
        assert!(name_before_aside(&aside).is_some_and(|name| name.as_bytes().ends_with(b"x.jpg")));
        assert_eq!(
            name_before_aside(OsStr::new(".photo-factory-12.part")),
            None
        );
    }
}
