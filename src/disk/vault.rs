//! The Storage side of the disk: claiming names in Originals, placing by link or copy, comparing with what is kept.

mod restore;

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, Statx, Timespec, Timestamps};
use rustix::io::Errno;

use super::keeper::{Keeper, Root};
use super::rename::claim;
use super::space::Space;
use super::storage::Place;
use super::temporary::{take_back, temporary_name};
use super::watch::{Promise, Unusable, Watch};
use super::{
    DiskError, Held, Snapshot, discard, forget_pages, hash, open_below, stat_file, stat_name,
};
use crate::asset::{Asset, AssetId, FileHash};

pub use restore::Restored;

/// Storage, with `Originals/` in it.
#[derive(Debug)]
pub struct Vault {
    pub(super) keeper: Keeper,
    /// Set when the program stops: long reads and copies end early.
    halt: Arc<AtomicBool>,
    /// Held while an original is made a file of its own: a duplicate met at the same time must not take the copy that is
    /// being written for one that was left behind.
    parting: Mutex<()>,
}

/// The proof that a durable file in Originals has the bytes of the file we hold. Only this room makes one.
#[derive(Clone, Debug)]
pub struct Kept {
    pub(super) final_path: PathBuf,
    pub(super) id: AssetId,
    pub(super) file_hash: FileHash,
    /// The file that was found there.
    pub(super) seen: Snapshot,
    /// The inbox name and the original are two names of one inode: placed by a link, under a lease.
    pub(super) shares_inode: bool,
}

impl Kept {
    /// Whether the original and the file we hold are one inode still: what is written to the one is written to the other.
    pub fn shares_inode(&self) -> bool {
        self.shares_inode
    }
}

/// What became of an original that shared its inode with the file we hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Parted {
    /// It is a file of its own, with the bytes that were read.
    OwnFile,
    /// Somebody wrote to it after the kernel had taken our lease away: it is not what was read any more.
    Overwritten,
}

/// How a file may be placed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Placing {
    /// The inbox name will be cleared: a second name for the same inode is enough where the kernel gives a lease.
    LinkOrCopy,
    /// The file stays where it is: it must be a copy, or a later change to it would change the original.
    Copy,
}

impl Vault {
    /// A vault in this place. Nothing is touched before [`Vault::look`], or before it is used.
    pub fn new(place: Place, halt: Arc<AtomicBool>) -> Self {
        Self {
            keeper: Keeper::new(place),
            halt,
            parting: Mutex::default(),
        }
    }

    pub(super) fn parting(&self) -> MutexGuard<'_, ()> {
        self.parting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of Storage without asking it.
    pub fn watch(&self) -> &Arc<Watch> {
        self.keeper.watch()
    }

    /// Asks Storage whether it is there and what room it has; at the first use it is made. Blocks, on a hung disk for long.
    pub fn look(&self) -> Result<Space, Unusable> {
        self.keeper.look()
    }

    /// Has a thread of its own ask Storage every few seconds, as long as the vault lives: it may hang there, nobody else does.
    pub fn ask_regularly(self: &Arc<Self>) {
        let vault = Arc::downgrade(self);
        let asked = |vault: &Weak<Self>| Some(vault.upgrade()?.keeper.ask_regularly());
        let thread = std::thread::Builder::new()
            .name("storage".to_owned())
            .stack_size(1 << 20)
            .spawn(move || {
                while let Some(pause) = asked(&vault) {
                    std::thread::park_timeout(pause);
                }
            });
        if let Err(error) = thread {
            log::error!(
                "cannot start the thread that watches Storage: {error}; restart Photo Factory"
            );
        }
    }

    /// Storage's path.
    pub fn path(&self) -> &Path {
        &self.keeper.place().storage
    }

    /// Whether nothing is seen to stand at `final_path` (relative to Storage). A disk that fails to answer is met, and
    /// told of, when the file is placed.
    pub fn is_free(&self, final_path: &Path) -> bool {
        !matches!(self.stat(final_path), Ok(Some(_)))
    }

    /// Whether it is certain that nothing stands at `final_path`.
    pub fn is_surely_free(&self, final_path: &Path) -> Result<bool, DiskError> {
        self.stat(final_path).map(|stat| stat.is_none())
    }

    /// Makes a durable, read-only file with the bytes of `held` stand at the asset's final path.
    ///
    /// Errors: `AlreadyExists` when something else took the name; that Storage can't be used; what the disk says otherwise.
    /// After an error the final name is not there by our doing, if the disk let us take it back: [`Vault::is_surely_free`].
    pub fn place(&self, held: &Held, asset: &Asset, placing: Placing) -> Result<Kept, DiskError> {
        let _at_work = self.watch().work(asset.size);
        let root = self.keeper.root()?;
        self.place_in(&root, held, asset, placing)
            .map_err(|error| self.keeper.judge(error))
    }

    fn place_in(
        &self,
        root: &Root,
        held: &Held,
        asset: &Asset,
        placing: Placing,
    ) -> Result<Kept, DiskError> {
        let parent = asset.final_path.parent().unwrap_or(Path::new(""));
        let name = asset.final_path.file_name().unwrap_or_default();
        // A link needs no room but what is kept free.
        drop(self.promise(root, 0)?);
        let folder = self.folder(root, parent)?;
        let linked = placing == Placing::LinkOrCopy
            && held.is_leased()
            && self.link(held, asset, &folder, name)?;
        let seen = if linked {
            *held.seen()
        } else {
            let promise = self.promise(root, asset.size)?;
            self.copy(held, asset, &folder, name, promise)?
        };
        if let Err(errno) = rustix::fs::fsync(&folder) {
            // A name that may not last: the next attempt must find it free, not make it `-1`.
            discard(&folder, name).unwrap_or_default();
            return Err(self.failed("sync the folder", parent)(errno));
        }
        Ok(Kept {
            final_path: asset.final_path.clone(),
            id: asset.id,
            file_hash: asset.file_hash,
            seen,
            shares_inode: linked,
        })
    }

    /// Makes the original a file of its own, where it still shares its inode with the file we hold. Its bytes stay the
    /// same all the while: the copy takes the name in one step.
    pub fn part_from(&self, held: &Held, kept: &mut Kept) -> Result<Parted, DiskError> {
        if !kept.shares_inode {
            return Ok(Parted::OwnFile);
        }
        let _at_work = self.watch().work(held.seen().size);
        let root = self.keeper.root()?;
        self.part_in(&root, held, kept)
            .map_err(|error| self.keeper.judge(error))
    }

    fn part_in(&self, root: &Root, held: &Held, kept: &mut Kept) -> Result<Parted, DiskError> {
        let parent = kept.final_path.parent().unwrap_or(Path::new(""));
        let folder = self.folder(root, parent)?;
        let name = kept.final_path.file_name().unwrap_or_default();
        let is_shared =
            stat_name(&folder, name).is_ok_and(|stat| Snapshot::of(&stat).same_inode(held.seen()));
        if !is_shared {
            return Ok(Parted::OwnFile);
        }
        let replaced = self.replace_by_copy(
            (held.file(), held.seen()),
            &folder,
            kept.id,
            &kept.file_hash,
            &kept.final_path,
        )?;
        let Some(copy) = replaced else {
            return Ok(Parted::Overwritten);
        };
        rustix::fs::fsync(&folder).map_err(self.failed("sync the folder", parent))?;
        kept.seen = copy;
        kept.shares_inode = false;
        Ok(Parted::OwnFile)
    }

    /// Puts a copy of `from` in the place of the name that leads to it, and gives the copy's state. `None`: it has other
    /// bytes by now, and nothing was changed.
    pub(super) fn replace_by_copy(
        &self,
        from: (&File, &Snapshot),
        folder: &OwnedFd,
        id: AssetId,
        file_hash: &FileHash,
        final_path: &Path,
    ) -> Result<Option<Snapshot>, DiskError> {
        let _parting = self.parting();
        let temporary = temporary_name(id);
        let name = final_path.file_name().unwrap_or_default();
        // Once begun, also while the program stops: the inbox name must not be left to a writer before.
        let to_the_end = &AtomicBool::new(false);
        let replaced = self
            .write_copy(from, folder, &temporary, final_path, to_the_end, None)
            .and_then(|copy| {
                let shown = self.path().join(final_path);
                let failed = DiskError::io("part from its inbox name", &shown);
                match hash(&copy, from.1.size, to_the_end) {
                    Ok(found) if found == *file_hash => {}
                    Ok(_) => return Ok(None),
                    Err(error) => return Err(failed(error)),
                }
                rustix::fs::renameat(folder, &temporary, folder, name)
                    .map_err(self.failed("replace our link", final_path))?;
                rustix::fs::fsync(&copy).map_err(self.failed("sync", final_path))?;
                let stat = stat_file(&copy).map_err(self.failed("look at", final_path))?;
                Ok(Some(Snapshot::of(&stat)))
            });
        // A file that became shorter can't be copied whole.
        let replaced = match replaced {
            Err(error) if error.source.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            replaced => replaced,
        };
        if !matches!(replaced, Ok(Some(_))) {
            take_back(folder, &temporary).unwrap_or_default();
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
        take_back(folder, name).map_err(self.failed("take back the name", &asset.final_path))?;
        if undisturbed {
            // A second sync of a file whose first one failed proves nothing: its bytes are written anew.
            return Ok(false);
        }
        Err(self.changed(asset))
    }

    /// Writes a temporary file, reads it back, and renames it to the name, which must be free. Gives the file's state.
    fn copy(
        &self,
        held: &Held,
        asset: &Asset,
        folder: &OwnedFd,
        name: &OsStr,
        promise: Promise,
    ) -> Result<Snapshot, DiskError> {
        let temporary = temporary_name(asset.id);
        let written = self.write_copy((held.file(), held.seen()), folder, &temporary, &asset.final_path, &self.halt, Some(promise)).and_then(|file| {
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
            })?;
            let stat = stat_file(&file).map_err(self.failed("look at", &asset.final_path))?;
            Ok(Snapshot::of(&stat))
        });
        if written.is_err() {
            // The first error is the one to tell; a temporary file that stays is removed by the next attempt.
            take_back(folder, &temporary).unwrap_or_default();
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
        promise: Option<Promise>,
    ) -> Result<File, DiskError> {
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::ROTH;
        let file = rustix::fs::openat(folder, temporary, flags, mode)
            .map_err(self.failed("write", shown))?;
        let file = File::from(file);
        if rustix::fs::ioctl_ficlone(&file, from).is_err() {
            copy_bytes(from, seen.size, &file, halt, promise)
                .map_err(DiskError::io("write", &self.path().join(shown)))?;
        }
        let mtime = timespec(seen.mtime_ns);
        let times = Timestamps {
            last_access: mtime,
            last_modification: mtime,
        };
        // A courtesy to other programs: the ledger knows the time. Network disks and drivers of foreign ones may refuse.
        match rustix::fs::futimens(&file, &times) {
            Ok(()) | Err(Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP | Errno::NOSYS) => {}
            Err(errno) => return Err(self.failed("keep the time of", shown)(errno)),
        }
        self.make_durable(&file, shown)?;
        // Read back from the disk, not from memory.
        forget_pages(&file);
        Ok(file)
    }

    pub(super) fn changed(&self, asset: &Asset) -> DiskError {
        DiskError::io("place", &self.path().join(&asset.final_path))(io::Error::other(
            "it changed while it was being filed",
        ))
    }

    pub(super) fn make_durable(&self, file: &File, shown: &Path) -> Result<(), DiskError> {
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

    pub(super) fn has_hash(&self, file: &File, asset: &Asset) -> Result<bool, DiskError> {
        if !stat_file(file).is_ok_and(|stat| stat.stx_size == asset.size) {
            return Ok(false);
        }
        match hash(file, asset.size, &self.halt) {
            Ok(found) => Ok(found == asset.file_hash),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(DiskError::io(
                "read back",
                &self.path().join(&asset.final_path),
            )(error)),
        }
    }

    pub(super) fn open_original(
        &self,
        root: &Root,
        final_path: &Path,
    ) -> Result<Option<(File, Snapshot)>, DiskError> {
        let failed = |errno| self.failed("open", final_path)(errno);
        let parent = final_path.parent().unwrap_or(Path::new(""));
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = open_below(&root.folder, parent).and_then(|folder| {
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

    /// What stands at a path, or `None`: nothing. Errors: it can't be told.
    pub(super) fn stat(&self, final_path: &Path) -> Result<Option<Statx>, DiskError> {
        let root = self.keeper.root()?;
        match stat_in(&root, final_path) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(self.failed("look at", final_path)(errno)),
        }
    }

    /// Takes a fresh look at the room on the disk, and has so many bytes of it promised to a copy.
    fn promise(&self, root: &Root, bytes: u64) -> Result<Promise, DiskError> {
        let space = root
            .space(self.keeper.place().reserve)
            .map_err(self.failed("look at", Path::new("")))?;
        self.watch()
            .promise(&space, bytes)
            .map_err(|unusable| DiskError::unusable(self.path(), unusable))
    }

    /// Opens the folder `relative`, making it and its parents durably where they are missing.
    pub(super) fn folder(&self, root: &Root, relative: &Path) -> Result<OwnedFd, DiskError> {
        let failed = |errno| self.failed("make the folder", relative)(errno);
        if root.is_known(relative)
            && let Ok(folder) = open_below(&root.folder, relative)
        {
            return Ok(folder);
        }
        let mut folder = open_below(&root.folder, Path::new("")).map_err(failed)?;
        let mut reached = PathBuf::new();
        for component in relative.components() {
            let Component::Normal(name) = component else {
                return Err(failed(Errno::INVAL));
            };
            reached.push(name);
            match rustix::fs::mkdirat(&folder, name, Mode::from_raw_mode(0o755)) {
                // Also where it was there already: a cut may come between an earlier mkdir and its sync.
                Err(Errno::EXIST) if root.is_known(&reached) => {}
                Ok(()) | Err(Errno::EXIST) => rustix::fs::fsync(&folder).map_err(failed)?,
                Err(errno) => return Err(failed(errno)),
            }
            folder = open_below(&folder, Path::new(name)).map_err(failed)?;
            root.note_known(reached.clone());
        }
        Ok(folder)
    }

    /// Lets Storage go, when there is nothing to do: its owner may want to unmount it.
    pub fn rest(&self) {
        self.keeper.let_go();
    }

    pub(super) fn failed(
        &self,
        action: &'static str,
        relative: &Path,
    ) -> impl FnOnce(Errno) -> DiskError {
        let path = self.path().join(relative);
        move |errno| DiskError {
            action,
            path,
            source: errno.into(),
        }
    }
}

pub(super) fn stat_in(root: &Root, final_path: &Path) -> rustix::io::Result<Statx> {
    let folder = open_below(&root.folder, final_path.parent().unwrap_or(Path::new("")))?;
    stat_name(&folder, final_path.file_name().unwrap_or_default())
}

/// Copies the first `size` bytes.
fn copy_bytes(
    from: &File,
    size: u64,
    to: &File,
    halt: &AtomicBool,
    mut promise: Option<Promise>,
) -> io::Result<()> {
    let mut position = 0;
    super::read_through(from, size, halt, |bytes| {
        to.write_all_at(bytes, position)?;
        position += bytes.len() as u64;
        if let Some(promise) = &mut promise {
            promise.written(bytes.len() as u64);
        }
        Ok(())
    })
}

fn timespec(nanoseconds: i64) -> Timespec {
    Timespec {
        tv_sec: nanoseconds.div_euclid(1_000_000_000),
        tv_nsec: nanoseconds.rem_euclid(1_000_000_000),
    }
}
