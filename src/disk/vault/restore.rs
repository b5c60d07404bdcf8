//! Putting the good copy of an original back: what stands in its place is set aside first, never overwritten (P3).

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::{Snapshot, Vault, claim, discard, hash, stat_name};
use crate::asset::{AssetId, Original};
use crate::disk::keeper::Root;
use crate::disk::rename::{has_no_links, put_aside, with_free_name};
use crate::disk::temporary::discard_all;
use crate::disk::{DiskError, TEMPORARY_PREFIX};

/// Where damaged originals go, in Storage.
const DAMAGED: &str = "Damaged";

/// What follows our prefix in the names of unfinished copies; the row's id follows.
const UNFINISHED: &str = "restore-";

/// What became of an original that was to be put back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Restored {
    /// It stands again, whole and durable; what stood in its place is kept at that path, relative to Storage.
    Restored(Option<PathBuf>),
    /// The copy that was offered has other bytes than the ledger says: nothing was changed.
    NotACopy,
}

/// A damaged original with its second name.
struct Aside {
    /// Relative to Storage.
    path: PathBuf,
    seen: Snapshot,
    /// The original's own name leads to it as well still.
    is_linked: bool,
}

impl Vault {
    /// Puts `good` in the place of `original`, if its bytes are those the ledger says. The copy is whole and durable under
    /// a temporary name before anything is set aside; what is set aside has its new name durably before it loses the old.
    pub fn restore(
        &self,
        good: (&File, &Snapshot),
        original: &Original,
    ) -> Result<Restored, DiskError> {
        let _at_work = self.watch().work(original.size);
        let root = self.keeper.root()?;
        self.restore_in(&root, good, original)
            .map_err(|error| self.keeper.judge(error))
    }

    fn restore_in(
        &self,
        root: &Root,
        good: (&File, &Snapshot),
        original: &Original,
    ) -> Result<Restored, DiskError> {
        let shown = &original.final_path;
        let in_storage = self.path().join(shown);
        let failed = DiskError::io("read the copy of", &in_storage);
        if good.1.size != original.size {
            return Ok(Restored::NotACopy);
        }
        match hash(good.0, original.size, &self.halt) {
            Ok(found) if found == original.file_hash => {}
            Ok(_) => return Ok(Restored::NotACopy),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Ok(Restored::NotACopy);
            }
            Err(error) => return Err(failed(error)),
        }
        let parent = shown.parent().unwrap_or(Path::new(""));
        let folder = self.folder(root, parent)?;
        discard_all(&folder, &prefix(original.id))
            .map_err(self.failed("remove our temporary file for", shown))?;
        let temporary = temporary_name(original.id);
        let restored = self.put_back(root, good, original, (&folder, &temporary));
        if restored.is_err() {
            // Whatever is left under that name has another: the backup's, or the one it was set aside under.
            discard(&folder, &temporary).unwrap_or_default();
        }
        restored.map(Restored::Restored)
    }

    /// Removes a temporary file that an interrupted [`Vault::restore`] left. Its bytes have another name, in the backup or
    /// below `Damaged/`. `false`: it is none of those.
    pub fn discard_unfinished(&self, path: &Path) -> Result<bool, DiskError> {
        let name = path.file_name().unwrap_or_default();
        let unfinished = format!("{TEMPORARY_PREFIX}{UNFINISHED}");
        if !name.as_bytes().starts_with(unfinished.as_bytes()) {
            return Ok(false);
        }
        let root = self.keeper.root()?;
        self.folder(&root, path.parent().unwrap_or(Path::new("")))
            .and_then(|folder| discard(&folder, name).map_err(self.failed("remove", path)))
            .map(|()| true)
    }

    fn put_back(
        &self,
        root: &Root,
        good: (&File, &Snapshot),
        original: &Original,
        (folder, temporary): (&OwnedFd, &OsStr),
    ) -> Result<Option<PathBuf>, DiskError> {
        let shown = &original.final_path;
        let parent = shown.parent().unwrap_or(Path::new(""));
        let name = shown.file_name().unwrap_or_default();
        let promise = self.promise(root, original.size)?;
        let copy = self.write_copy(good, folder, temporary, shown, &self.halt, Some(promise))?;
        let whole = hash(&copy, original.size, &self.halt)
            .map_err(DiskError::io("read back", &self.path().join(shown)))?;
        if whole != original.file_hash {
            let wrong = io::Error::new(
                io::ErrorKind::InvalidData,
                "what was written is not what was read: the disk is failing",
            );
            return Err(DiskError::io("put back", &self.path().join(shown))(wrong));
        }
        let aside = self.set_aside(root, folder, shown)?;
        match &aside {
            Some(aside) if aside.is_linked => self.exchange(folder, temporary, shown, aside)?,
            _ => claim(folder, temporary, name).map_err(self.failed("claim the name", shown))?,
        }
        // vfat: the renamed entry is durable only once the file is synced again.
        rustix::fs::fsync(&copy).map_err(self.failed("sync", shown))?;
        rustix::fs::fsync(folder).map_err(self.failed("sync the folder", parent))?;
        super::forget_pages(&copy);
        Ok(aside.map(|aside| aside.path))
    }

    /// Gives what stands at `shown` a durable name below `Damaged/`. It keeps its own beside it where the disk knows links.
    fn set_aside(
        &self,
        root: &Root,
        folder: &OwnedFd,
        shown: &Path,
    ) -> Result<Option<Aside>, DiskError> {
        let failed = |errno| self.failed("set aside", shown)(errno);
        let name = shown.file_name().unwrap_or_default();
        let seen = match stat_name(folder, name) {
            Ok(stat) => Snapshot::of(&stat),
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(failed(errno)),
        };
        let aside_folder = Path::new(DAMAGED).join(shown.parent().unwrap_or(Path::new("")));
        let keep = self.folder(root, &aside_folder)?;
        let mut taken = OsString::new();
        let mut is_linked = true;
        let is_kept_as = |candidate: &OsStr| {
            stat_name(&keep, candidate).is_ok_and(|stat| Snapshot::of(&stat).same_inode(&seen))
        };
        with_free_name(name, |candidate| {
            candidate.clone_into(&mut taken);
            match rustix::fs::linkat(folder, name, &keep, candidate, AtFlags::empty()) {
                // A repair that was interrupted has set it aside.
                Err(Errno::EXIST) if is_kept_as(candidate) => Ok(()),
                Err(errno) if has_no_links(errno) => {
                    is_linked = false;
                    put_aside(folder, name, &keep, candidate)
                }
                done => done,
            }
        })
        .map_err(failed)?;
        let path = aside_folder.join(&taken);
        if !is_linked {
            // vfat: as above.
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            rustix::fs::openat(&keep, &taken, flags, Mode::empty())
                .and_then(rustix::fs::fsync)
                .map_err(failed)?;
        }
        rustix::fs::fsync(&keep).map_err(self.failed("sync the folder", &aside_folder))?;
        if !is_linked {
            rustix::fs::fsync(folder).map_err(failed)?;
        }
        let stat = stat_name(&keep, &taken).map_err(failed)?;
        let is_same = is_linked && Snapshot::of(&stat).same_inode(&seen);
        if is_linked && !is_same {
            return Err(DiskError::io("set aside", &self.path().join(shown))(
                io::Error::other("it was replaced meanwhile; verify it again"),
            ));
        }
        Ok(Some(Aside {
            path,
            seen,
            is_linked,
        }))
    }

    /// The good copy takes the name in one step; the damaged file, which has another name, gives it up.
    fn exchange(
        &self,
        folder: &OwnedFd,
        temporary: &OsStr,
        shown: &Path,
        aside: &Aside,
    ) -> Result<(), DiskError> {
        let failed = |errno| self.failed("put back", shown)(errno);
        let name = shown.file_name().unwrap_or_default();
        let leads_to = |name: &OsStr| {
            stat_name(folder, name).is_ok_and(|stat| Snapshot::of(&stat).same_inode(&aside.seen))
        };
        let replaced = || {
            DiskError::io("put back", &self.path().join(shown))(io::Error::other(
                "something else took its name meanwhile; verify it again",
            ))
        };
        if !leads_to(name) {
            return Err(replaced());
        }
        let exchanged =
            rustix::fs::renameat_with(folder, temporary, folder, name, RenameFlags::EXCHANGE);
        match exchanged {
            Ok(()) if leads_to(temporary) => discard(folder, temporary).map_err(failed),
            Ok(()) => {
                // In the last moment something else came: it gets its name back.
                rustix::fs::renameat_with(folder, temporary, folder, name, RenameFlags::EXCHANGE)
                    .map_err(failed)?;
                Err(replaced())
            }
            // A network disk with links and without exchange.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                rustix::fs::renameat(folder, temporary, folder, name).map_err(failed)
            }
            Err(errno) => Err(failed(errno)),
        }
    }
}

fn prefix(id: AssetId) -> String {
    format!("{TEMPORARY_PREFIX}{UNFINISHED}{}-", id.0)
}

fn temporary_name(id: AssetId) -> OsString {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{}{}-{count}.part", prefix(id), std::process::id()).into()
}
