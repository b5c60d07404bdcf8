//! The Storage side of the disk: claiming names in Originals, placing by link or copy, comparing with what is kept.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, RenameFlags, Timespec, Timestamps};
use rustix::io::Errno;

use super::{
    DiskError, Held, Snapshot, Source, TEMPORARY_PREFIX, forget_pages, hash, open_below, open_root,
    stat_file, stat_name,
};
use crate::asset::{Asset, AssetId, FileHash};

/// Storage, with `Originals/` in it.
#[derive(Debug)]
pub struct Vault {
    root: OwnedFd,
    path: PathBuf,
    /// Folders that were seen and whose entry in their parent is durable.
    known: Mutex<HashSet<PathBuf>>,
    /// Set when the program stops: long reads and copies end early.
    halt: Arc<AtomicBool>,
}

/// The proof that a durable file in Originals has the bytes of the file we hold. Only this room makes one.
#[derive(Debug)]
pub struct Kept {
    final_path: PathBuf,
    id: AssetId,
    file_hash: FileHash,
    /// The inbox name and the original are two names of one inode.
    shares_inode: bool,
}

/// How a file may be placed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Placing {
    /// The inbox name will be cleared: a second name for the same inode is enough where the kernel gives a lease.
    LinkOrCopy,
    /// The file stays where it is: it must be a copy, or a later change to it would change the original.
    Copy,
}

/// What interrupted work had come to.
#[derive(Debug)]
pub enum Recovered {
    /// The original stands, whole and durable.
    Stands,
    /// Nothing stands at the claimed name.
    Nothing,
    /// Something else stands at the claimed name.
    SomethingElse,
}

impl Vault {
    /// Opens Storage and makes `Originals/` in it, where it is missing.
    pub fn open(path: &Path, halt: Arc<AtomicBool>) -> Result<Self, DiskError> {
        super::make_folder(path)?;
        let vault = Self {
            root: open_root(path)?,
            path: path.to_owned(),
            known: Mutex::default(),
            halt,
        };
        vault.folder(Path::new("Originals"))?;
        Ok(vault)
    }

    /// Storage's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether nothing is seen to stand at `final_path` (relative to Storage). A disk that fails to answer is met, and
    /// told of, when the file is placed.
    pub fn is_free(&self, final_path: &Path) -> bool {
        self.stat(final_path).is_err()
    }

    /// Makes a durable, read-only file with the bytes of `held` stand at the asset's final path.
    ///
    /// Errors: `AlreadyExists` when something else took the name; what the disk says otherwise. After an error the final
    /// name is not there by our doing.
    pub fn place(&self, held: &Held, asset: &Asset, placing: Placing) -> Result<Kept, DiskError> {
        let parent = asset.final_path.parent().unwrap_or(Path::new(""));
        let name = asset.final_path.file_name().unwrap_or_default();
        let folder = self.folder(parent)?;
        let linked = placing == Placing::LinkOrCopy
            && held.is_leased()
            && self.link(held, asset, &folder, name)?;
        if !linked {
            self.copy(held, asset, &folder, name)?;
        }
        if let Err(errno) = rustix::fs::fsync(&folder) {
            // A name that may not last: the next attempt must find it free, not make it `-1`.
            discard(&folder, name).unwrap_or_default();
            return Err(self.failed("sync the folder", parent)(errno));
        }
        Ok(Kept {
            final_path: asset.final_path.clone(),
            id: asset.id,
            file_hash: asset.file_hash,
            shares_inode: linked,
        })
    }

    /// Opens the kept original and compares its bytes, now, with those of the file we hold (whose hash is the asset's).
    /// `None`: the original is missing, or has other bytes.
    pub fn compare(&self, held: &Held, asset: &Asset) -> Result<Option<Kept>, DiskError> {
        let Some((file, seen)) = self.open_original(&asset.final_path)? else {
            return Ok(None);
        };
        let shares_inode = seen.same_inode(held.seen());
        if !self.has_hash(&file, asset)? {
            return Ok(None);
        }
        if shares_inode && stat_file(&file).is_ok_and(|stat| stat.stx_nlink < 2) {
            // One name, reached by two ways (a bind mount): to clear it would be to lose the photo.
            return Ok(None);
        }
        rustix::fs::fsync(&file).map_err(self.failed("sync", &asset.final_path))?;
        forget_pages(&file);
        Ok(Some(Kept {
            final_path: asset.final_path.clone(),
            id: asset.id,
            file_hash: asset.file_hash,
            shares_inode,
        }))
    }

    /// Looks at what an interrupted placement of `asset` had come to, and removes its temporary files.
    pub fn recover(&self, asset: &Asset, inbox: &Source) -> Result<Recovered, DiskError> {
        let parent = asset.final_path.parent().unwrap_or(Path::new(""));
        let name = asset.final_path.file_name().unwrap_or_default();
        let Ok(folder) = open_below(&self.root, parent) else {
            return Ok(Recovered::Nothing);
        };
        discard_temporary(&folder, asset.id)
            .map_err(self.failed("remove our temporary file for", &asset.final_path))?;
        let Some((file, seen)) = self.open_original(&asset.final_path)? else {
            return Ok(Recovered::Nothing);
        };
        let has_other_names = || stat_file(&file).is_ok_and(|stat| stat.stx_nlink > 1);
        let in_inbox = || has_other_names() && inbox.leads_to(&asset.inbox_path, &seen);
        if in_inbox() {
            // A link that was never finished, to a file that anybody may have written to since: the claim is taken back,
            // and the file is met in the inbox like any other.
            let temporary = temporary_name(asset.id);
            let failed = |errno| self.failed("take back the name", &asset.final_path)(errno);
            rustix::fs::renameat(&folder, name, &folder, &temporary).map_err(failed)?;
            if in_inbox() {
                discard(&folder, &temporary).map_err(failed)?;
                rustix::fs::fsync(&folder).map_err(failed)?;
                return Ok(Recovered::Nothing);
            }
            claim(&folder, &temporary, name).map_err(failed)?;
        }
        if !self.has_hash(&file, asset)? {
            return Ok(Recovered::SomethingElse);
        }
        if has_other_names() {
            self.replace_by_copy(
                (&file, &seen),
                &folder,
                asset.id,
                &asset.file_hash,
                &asset.final_path,
            )?;
        } else {
            self.make_durable(&file, &asset.final_path)?;
        }
        rustix::fs::fsync(&folder).map_err(self.failed("sync the folder", parent))?;
        Ok(Recovered::Stands)
    }

    /// Makes the original a file of its own, where it still shares its inode with the file we hold. Its bytes stay the
    /// same all the while: the copy takes the name in one step.
    pub fn part_from(&self, held: &Held, kept: &Kept) -> Result<(), DiskError> {
        if !kept.shares_inode {
            return Ok(());
        }
        let parent = kept.final_path.parent().unwrap_or(Path::new(""));
        let folder = self.folder(parent)?;
        let name = kept.final_path.file_name().unwrap_or_default();
        let is_shared =
            stat_name(&folder, name).is_ok_and(|stat| Snapshot::of(&stat).same_inode(held.seen()));
        if !is_shared {
            return Ok(());
        }
        self.replace_by_copy(
            (held.file(), held.seen()),
            &folder,
            kept.id,
            &kept.file_hash,
            &kept.final_path,
        )?;
        rustix::fs::fsync(&folder).map_err(self.failed("sync the folder", parent))
    }

    /// Puts a copy of `from` in the place of the name that leads to it.
    fn replace_by_copy(
        &self,
        from: (&File, &Snapshot),
        folder: &OwnedFd,
        id: AssetId,
        file_hash: &FileHash,
        final_path: &Path,
    ) -> Result<(), DiskError> {
        let temporary = temporary_name(id);
        let name = final_path.file_name().unwrap_or_default();
        // Once begun, also while the program stops: the inbox name must not be left to a writer before.
        let to_the_end = &AtomicBool::new(false);
        let replaced = self
            .write_copy(from, folder, &temporary, final_path, to_the_end)
            .and_then(|copy| {
                let shown = self.path.join(final_path);
                let failed = DiskError::io("part from its inbox name", &shown);
                match hash(&copy, from.1.size, to_the_end) {
                    Ok(found) if found == *file_hash => {}
                    Ok(_) => {
                        return Err(failed(io::Error::other(
                            "it was written to while it was being filed",
                        )));
                    }
                    Err(error) => return Err(failed(error)),
                }
                rustix::fs::renameat(folder, &temporary, folder, name)
                    .map_err(self.failed("replace our link", final_path))?;
                rustix::fs::fsync(&copy).map_err(self.failed("sync", final_path))
            });
        if replaced.is_err() {
            discard(folder, &temporary).unwrap_or_default();
        }
        replaced
    }

    /// Claims the name by a link to the very file we hold. `false`: this disk or this file can't be linked.
    fn link(
        &self,
        held: &Held,
        asset: &Asset,
        folder: &OwnedFd,
        name: &OsStr,
    ) -> Result<bool, DiskError> {
        if !held.is_undisturbed() {
            return Err(self.changed(asset));
        }
        if held.has_other_names() {
            // Somebody keeps another link to it: what is written there later must not reach the original.
            return Ok(false);
        }
        match rustix::fs::linkat(CWD, held.proc_path(), folder, name, AtFlags::SYMLINK_FOLLOW) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                return Err(self.failed("claim the name", &asset.final_path)(
                    Errno::EXIST,
                ));
            }
            // No links on this file system, or not for us.
            Err(_) => return Ok(false),
        }
        let durable = self.make_durable(held.file(), &asset.final_path);
        let undisturbed = held.is_undisturbed();
        if durable.is_ok() && undisturbed {
            return Ok(true);
        }
        // Our own claim, of which the ledger knows only the intent: it is taken back, the inbox name still stands.
        discard(folder, name).map_err(self.failed("take back the name", &asset.final_path))?;
        if undisturbed {
            // A second sync of a file whose first one failed proves nothing: its bytes are written anew.
            return Ok(false);
        }
        Err(self.changed(asset))
    }

    /// Writes a temporary file, reads it back, and renames it to the name, which must be free.
    fn copy(
        &self,
        held: &Held,
        asset: &Asset,
        folder: &OwnedFd,
        name: &OsStr,
    ) -> Result<(), DiskError> {
        let temporary = temporary_name(asset.id);
        let written = self.write_copy((held.file(), held.seen()), folder, &temporary, &asset.final_path, &self.halt).and_then(|file| {
            let whole = self.has_hash(&file, asset)?;
            let failed = DiskError::io("place", &asset.final_path);
            if !whole {
                return Err(failed(io::Error::new(io::ErrorKind::InvalidData, "what was written is not what was read: it changed meanwhile, or the disk is failing")));
            }
            if !held.is_undisturbed() {
                return Err(self.changed(asset));
            }
            claim(folder, &temporary, name).map_err(self.failed("claim the name", &asset.final_path))?;
            // vfat: the renamed entry is durable only once the file is synced again.
            rustix::fs::fsync(&file).map_err(|errno| {
                discard(folder, name).unwrap_or_default();
                self.failed("sync", &asset.final_path)(errno)
            })
        });
        if written.is_err() {
            // The first error is the one to tell; a temporary file that stays is removed by the next attempt.
            discard(folder, &temporary).unwrap_or_default();
        }
        written
    }

    /// Writes the bytes we hold to `temporary`, with their mtime, read-only and synced. Returns it opened for reading.
    fn write_copy(
        &self,
        (from, seen): (&File, &Snapshot),
        folder: &OwnedFd,
        temporary: &OsStr,
        shown: &Path,
        halt: &AtomicBool,
    ) -> Result<File, DiskError> {
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::ROTH;
        let file = rustix::fs::openat(folder, temporary, flags, mode)
            .map_err(self.failed("write", shown))?;
        let file = File::from(file);
        if rustix::fs::ioctl_ficlone(&file, from).is_err() {
            copy_bytes(from, seen.size, &file, halt)
                .map_err(DiskError::io("write", &self.path.join(shown)))?;
        }
        let mtime = timespec(seen.mtime_ns);
        let times = Timestamps {
            last_access: mtime,
            last_modification: mtime,
        };
        rustix::fs::futimens(&file, &times).map_err(self.failed("keep the time of", shown))?;
        self.make_durable(&file, shown)?;
        // Read back from the disk, not from memory.
        forget_pages(&file);
        Ok(file)
    }

    fn changed(&self, asset: &Asset) -> DiskError {
        DiskError::io("place", &self.path.join(&asset.final_path))(io::Error::other(
            "it changed while it was being filed",
        ))
    }

    fn make_durable(&self, file: &File, shown: &Path) -> Result<(), DiskError> {
        let stat = stat_file(file).map_err(self.failed("look at", shown))?;
        let read_only = Mode::from_raw_mode(u32::from(stat.stx_mode) & 0o444 | 0o400);
        // vfat and network disks may refuse: the photo is kept all the same.
        if u32::from(stat.stx_mode) & 0o222 != 0 {
            match rustix::fs::fchmod(file, read_only) {
                Ok(()) | Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS) => {}
                Err(errno) => return Err(self.failed("make read-only", shown)(errno)),
            }
        }
        rustix::fs::fsync(file).map_err(self.failed("sync", shown))
    }

    fn has_hash(&self, file: &File, asset: &Asset) -> Result<bool, DiskError> {
        if !stat_file(file).is_ok_and(|stat| stat.stx_size == asset.size) {
            return Ok(false);
        }
        match hash(file, asset.size, &self.halt) {
            Ok(found) => Ok(found == asset.file_hash),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(DiskError::io(
                "read back",
                &self.path.join(&asset.final_path),
            )(error)),
        }
    }

    fn open_original(&self, final_path: &Path) -> Result<Option<(File, Snapshot)>, DiskError> {
        let failed = |errno| self.failed("open", final_path)(errno);
        let parent = final_path.parent().unwrap_or(Path::new(""));
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = open_below(&self.root, parent).and_then(|folder| {
            rustix::fs::openat(
                folder,
                final_path.file_name().unwrap_or_default(),
                flags,
                Mode::empty(),
            )
        });
        let file = match opened {
            Ok(file) => File::from(file),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
            Err(errno) => return Err(failed(errno)),
        };
        let stat = stat_file(&file).map_err(failed)?;
        Ok(Some((file, Snapshot::of(&stat))))
    }

    fn stat(&self, final_path: &Path) -> rustix::io::Result<()> {
        let folder = open_below(&self.root, final_path.parent().unwrap_or(Path::new("")))?;
        stat_name(&folder, final_path.file_name().unwrap_or_default()).map(drop)
    }

    /// Opens the folder `relative`, making it and its parents durably where they are missing.
    fn folder(&self, relative: &Path) -> Result<OwnedFd, DiskError> {
        let failed = |errno| self.failed("make the folder", relative)(errno);
        if self.is_known(relative)
            && let Ok(folder) = open_below(&self.root, relative)
        {
            return Ok(folder);
        }
        let mut folder = open_below(&self.root, Path::new("")).map_err(failed)?;
        let mut reached = PathBuf::new();
        for component in relative.components() {
            let Component::Normal(name) = component else {
                return Err(failed(Errno::INVAL));
            };
            reached.push(name);
            match rustix::fs::mkdirat(&folder, name, Mode::from_raw_mode(0o755)) {
                // Also where it was there already: a cut may come between an earlier mkdir and its sync.
                Err(Errno::EXIST) if self.is_known(&reached) => {}
                Ok(()) | Err(Errno::EXIST) => rustix::fs::fsync(&folder).map_err(failed)?,
                Err(errno) => return Err(failed(errno)),
            }
            folder = open_below(&folder, Path::new(name)).map_err(failed)?;
            self.known
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(reached.clone());
        }
        Ok(folder)
    }

    /// Forgets which folders are known, when there is nothing to do: of a long pass there may be thousands.
    pub fn rest(&self) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = HashSet::new();
    }

    fn is_known(&self, folder: &Path) -> bool {
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(folder)
    }

    fn failed(&self, action: &'static str, relative: &Path) -> impl FnOnce(Errno) -> DiskError {
        let path = self.path.join(relative);
        move |errno| DiskError {
            action,
            path,
            source: errno.into(),
        }
    }
}

/// The name of the file a copy is written to before it gets its final name: its own for every attempt.
fn temporary_name(id: AssetId) -> OsString {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{}{count}.part", temporary_prefix(id)).into()
}

fn temporary_prefix(id: AssetId) -> String {
    format!("{TEMPORARY_PREFIX}{}-", id.0)
}

/// Removes the temporary files that interrupted attempts at this asset left.
fn discard_temporary(folder: &OwnedFd, id: AssetId) -> rustix::io::Result<()> {
    let prefix = temporary_prefix(id);
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        if entry.file_name().to_bytes().starts_with(prefix.as_bytes()) {
            discard(folder, OsStr::from_bytes(entry.file_name().to_bytes()))?;
        }
    }
    Ok(())
}

fn discard(folder: &OwnedFd, name: &OsStr) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
        Err(Errno::NOENT) => Ok(()),
        done => done,
    }
}

/// Gives `temporary` its final name, refusing to replace.
fn claim(folder: &OwnedFd, temporary: &OsStr, name: &OsStr) -> rustix::io::Result<()> {
    match rustix::fs::renameat_with(folder, temporary, folder, name, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS) => {
            rustix::fs::linkat(folder, temporary, folder, name, AtFlags::empty())?;
            discard(folder, temporary)
        }
        done => done,
    }
}

/// Copies the first `size` bytes.
fn copy_bytes(from: &File, size: u64, to: &File, halt: &AtomicBool) -> io::Result<()> {
    let mut position = 0;
    super::read_through(from, size, halt, |bytes| {
        to.write_all_at(bytes, position)?;
        position += bytes.len() as u64;
        Ok(())
    })
}

fn timespec(nanoseconds: i64) -> Timespec {
    Timespec {
        tv_sec: nanoseconds.div_euclid(1_000_000_000),
        tv_nsec: nanoseconds.rem_euclid(1_000_000_000),
    }
}
