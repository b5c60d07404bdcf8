//! The only room that changes files in Inbox and Storage: hold a file, place it, compare it, clear its inbox name.
//!
//! # Invariants
//!
//! - Nothing in Originals is overwritten: a name is claimed by `link(2)` or by a rename that refuses to replace (P3).
//! - An inbox name is cleared only against a [`Kept`], which only [`Vault::place`] and [`Vault::compare`] make, each after
//!   it saw the durable bytes (P1, P2); and only while a fresh walk to the original still finds the file that was verified.
//! - A file is linked (sharing its inode with the inbox name) only under a read lease: the kernel then promises that nobody
//!   writes it, and makes whoever wants to wait. Where there is no lease (not our file, a network disk) it is copied (P4).
//! - Nothing is written to Storage before its marker was found to be the expected one, and before every placement its
//!   path is found to lead to that disk still (P7).
//! - Paths are walked folder by folder from an opened root without following links (P8).
//!
//! # Assumptions about the media
//!
//! After `fsync` of a file and of its folder both survive a power cut. vfat writes a renamed file's first cluster only with
//! its inode, so a file is synced once more after a rename. A rename out of the inbox is therefore never used to place a
//! photo: on such disks the cut would lose it; it is copied and read back instead.

#![expect(
    clippy::disallowed_methods,
    reason = "this is the room that changes files"
)]

mod clear;
mod compare;
mod hold;
mod keeper;
mod recover;
mod rename;
pub mod space;
mod state;
pub mod storage;
mod temporary;
mod vault;
pub mod watch;

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Advice, AtFlags, CWD, Mode, OFlags, StatFs, Statx, StatxFlags};
use sha2::{Digest, Sha256};

use crate::asset::{FileHash, is_litter, shown};

pub use clear::{Cleared, name_before_aside};
pub use compare::Compared;
pub use hold::{Entry, EntryIs, Held, Hold, Rights, Source, in_order_of_names};
pub use recover::Recovered;
pub use state::{Owner, give_folder, remove_file, replace_file, replace_file_of};
pub use vault::{Kept, Parted, Placing, Restored, Vault};
pub use watch::{Standing, Unusable, Watch};

/// Prefix of every temporary name of ours: a dotfile, so that Syncthing's users and galleries don't see it.
pub const TEMPORARY_PREFIX: &str = ".photo-factory-";

/// Bytes read at once: large enough that the cost of the call vanishes, small enough for many readers on a small board.
const BUFFER: usize = 64 * 1024;

/// A change or a look at the disk that failed: what was tried, where, and what the system said.
#[derive(Debug)]
pub struct DiskError {
    /// What was tried, as in "could not ACTION".
    pub action: &'static str,
    /// Where.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

impl DiskError {
    fn new(action: &'static str, path: &Path) -> impl FnOnce(rustix::io::Errno) -> Self {
        move |errno| Self {
            action,
            path: path.to_owned(),
            source: errno.into(),
        }
    }

    /// A failure of reading or writing `path`.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self {
            action,
            path: path.to_owned(),
            source,
        }
    }

    /// A file that a thread which ended badly took with it.
    pub fn lost(path: &Path) -> Self {
        Self::io("go on with", path)(io::Error::other("the work on it ended unexpectedly"))
    }

    /// Whether it says that the file or folder is not there (any more), or is a link now.
    pub fn is_gone(&self) -> bool {
        let is_link = self.source.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error());
        is_link
            || matches!(
                self.source.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            )
    }

    /// Storage can't be used now: nothing is wrong with this file, it is taken when Storage can be.
    fn unusable(path: &Path, unusable: Unusable) -> Self {
        Self::io("use", path)(io::Error::other(unusable))
    }

    /// Why Storage can't be used now, where that is the error.
    pub fn as_unusable(&self) -> Option<&Unusable> {
        self.source.get_ref()?.downcast_ref()
    }

    /// Whether it says that Storage is not there, is not the disk it was, or can't be written.
    pub fn is_storage_away(&self) -> bool {
        matches!(self.as_unusable(), Some(Unusable::Away(_)))
    }

    /// Whether it says that the disk is full, or as full as it may get.
    pub fn is_full(&self) -> bool {
        matches!(self.as_unusable(), Some(Unusable::Full(_)))
            || matches!(
                self.source.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            )
    }

    /// Whether it is forbidden: that stays so until somebody changes it.
    pub fn is_forbidden(&self) -> bool {
        use rustix::io::Errno;
        let errno = self.source.raw_os_error().map(Errno::from_raw_os_error);
        matches!(errno, Some(Errno::ACCESS | Errno::PERM | Errno::ROFS))
    }

    /// Whether the system lacked memory or descriptors: nothing is wrong with the file or the disk.
    pub fn is_shortage(&self) -> bool {
        use rustix::io::Errno;
        [Errno::MFILE, Errno::NFILE, Errno::NOMEM]
            .iter()
            .any(|errno| self.source.raw_os_error() == Some(errno.raw_os_error()))
    }

    fn advice(&self) -> &'static str {
        use rustix::io::Errno;
        match self.source.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::IO) => {
                return "; the disk answers with errors: check its cable, its power and its health (`dmesg`, `smartctl -H`)";
            }
            Some(Errno::NOTDIR | Errno::LOOP) => {
                return "; there must be a real folder, no link and no file: mount the disk there instead of linking to it";
            }
            Some(Errno::NAMETOOLONG) => {
                return "; this disk can't hold so long a name: give the file a shorter one";
            }
            Some(Errno::FBIG) => {
                return "; this disk can't hold a file of that size (FAT: 4 GiB at most): use a disk with ext4, xfs or exFAT, or shorten the video";
            }
            Some(Errno::NOSYS | Errno::OPNOTSUPP) => {
                return "; this kind of disk can't do that: use one with a Linux file system (ext4, xfs, btrfs)";
            }
            Some(Errno::TXTBSY | Errno::BUSY) => {
                return "; another program is using it: end that program, and it goes on by itself";
            }
            Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM) => {
                return "; the system is short of memory or open files: it goes on by itself when other programs end";
            }
            Some(Errno::NODEV | Errno::NXIO | Errno::STALE | Errno::NOTCONN) => {
                return "; its disk is gone: plug it in or mount it again";
            }
            _ => {}
        }
        match self.source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                "; the disk is full: make room and it goes on by itself"
            }
            io::ErrorKind::PermissionDenied => {
                "; give the user of Photo Factory the right to read and change it"
            }
            io::ErrorKind::ReadOnlyFilesystem => {
                "; the disk is mounted read-only: check it, then mount it for writing"
            }
            _ => "",
        }
    }
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(unusable) = self.as_unusable() {
            return unusable.fmt(f);
        }
        let path = shown(&self.path);
        write!(
            f,
            "could not {} {path}: {}{}",
            self.action,
            self.source,
            self.advice()
        )
    }
}

impl std::error::Error for DiskError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// What tells one state of a file from another. Two equal snapshots of one open file: its content did not change between.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// Device, as major and minor number.
    pub device: (u32, u32),
    /// Inode.
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// Modification time, nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Change time, nanoseconds since 1970: moves with every write, rename, link and change of mode.
    pub ctime_ns: i64,
}

impl Snapshot {
    fn of(stat: &Statx) -> Self {
        Self {
            device: (stat.stx_dev_major, stat.stx_dev_minor),
            inode: stat.stx_ino,
            size: stat.stx_size,
            mtime_ns: nanoseconds(stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec),
            ctime_ns: nanoseconds(stat.stx_ctime.tv_sec, stat.stx_ctime.tv_nsec),
        }
    }

    fn same_inode(&self, other: &Self) -> bool {
        self.device == other.device && self.inode == other.inode
    }

    /// Equal but for the change time, which our own link and chmod move.
    fn same_content(&self, other: &Self) -> bool {
        self.same_inode(other) && self.size == other.size && self.mtime_ns == other.mtime_ns
    }
}

fn nanoseconds(seconds: i64, nanoseconds: u32) -> i64 {
    seconds
        .saturating_mul(1_000_000_000)
        .saturating_add(i64::from(nanoseconds))
}

fn stat_file(file: impl AsFd) -> rustix::io::Result<Statx> {
    rustix::fs::statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)
}

fn stat_name(folder: impl AsFd, name: &OsStr) -> rustix::io::Result<Statx> {
    rustix::fs::statx(
        folder,
        name,
        AtFlags::SYMLINK_NOFOLLOW,
        StatxFlags::BASIC_STATS,
    )
}

/// Opens the folder at `path` (links in it are followed: it is the owner's configuration).
fn open_root(path: &Path) -> Result<OwnedFd, DiskError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty())
        .map_err(DiskError::new("open the folder", path))
}

/// Opens the folder `relative` below `root`, folder by folder, following no link.
fn open_below(root: &OwnedFd, relative: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut folder = None;
    for component in relative.components() {
        let Component::Normal(name) = component else {
            return Err(rustix::io::Errno::INVAL);
        };
        folder = Some(rustix::fs::openat(
            folder.as_ref().unwrap_or(root),
            name,
            flags,
            Mode::empty(),
        )?);
    }
    folder.map_or_else(|| rustix::fs::openat(root, c".", flags, Mode::empty()), Ok)
}

/// Removes a name, if it is there.
fn discard(folder: &OwnedFd, name: &OsStr) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
        Err(rustix::io::Errno::NOENT) => Ok(()),
        done => done,
    }
}

/// SHA-256 of a file's first `size` bytes (all of it, when it did not change), in one sequential pass.
///
/// Errors: what reading says; a file shorter than `size` is an `UnexpectedEof`; once `halt` is set, `Interrupted`.
pub fn hash(file: &File, size: u64, halt: &AtomicBool) -> io::Result<FileHash> {
    hash_at_pace(file, size, halt, &mut |_| {})
}

/// The same, telling `pace` of every piece that was read, which may take its time.
pub fn hash_at_pace(
    file: &File,
    size: u64,
    halt: &AtomicBool,
    pace: &mut dyn FnMut(u64),
) -> io::Result<FileHash> {
    let mut digest = Sha256::new();
    // Only advice: a file system that doesn't know it reads all the same.
    rustix::fs::fadvise(file, 0, None, Advice::Sequential).unwrap_or_default();
    read_through(file, size, halt, |bytes| {
        digest.update(bytes);
        pace(bytes.len() as u64);
        Ok(())
    })?;
    Ok(FileHash(digest.finalize().into()))
}

/// Hands the first `size` bytes of a file to `take`, in order, in pieces of up to [`BUFFER`].
fn read_through(
    file: &File,
    size: u64,
    halt: &AtomicBool,
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    let mut position = 0;
    while position < size {
        if halt.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let wanted = usize::try_from(size - position).map_or(BUFFER, |rest| rest.min(BUFFER));
        match file.read_at(buffer.get_mut(..wanted).unwrap_or_default(), position) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                take(buffer.get(..read).unwrap_or_default())?;
                position += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The first `LENGTH` bytes of a file, or all there are.
pub fn head<const LENGTH: usize>(file: &File) -> io::Result<Vec<u8>> {
    let mut head = vec![0; LENGTH];
    let mut filled = 0;
    while let Some(rest) = head.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    head.truncate(filled);
    Ok(head)
}

/// Lets the kernel forget a file's pages: a photo is read once, and a small board's memory is better spent.
pub fn forget_pages(file: &File) {
    rustix::fs::fadvise(file, 0, None, Advice::DontNeed).unwrap_or_default();
}

/// Bytes free for us and bytes in all on the file system of `path`.
pub fn free_space(path: &Path) -> io::Result<(u64, u64)> {
    let stat = rustix::fs::statvfs(path)?;
    Ok((
        stat.f_bavail.saturating_mul(stat.f_frsize),
        stat.f_blocks.saturating_mul(stat.f_frsize),
    ))
}

/// Whether the file system of `path` is a network one, which sends no events for what other machines do.
pub fn is_network(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|stat| says_network(&stat))
}

/// The same for an open file or folder.
fn is_on_network(file: impl AsFd) -> bool {
    rustix::fs::fstatfs(file).is_ok_and(|stat| says_network(&stat))
}

fn says_network(stat: &StatFs) -> bool {
    // From linux/magic.h: NFS, SMB, CIFS, SMB2, Ceph, AFS, Coda, 9P, FUSE (sshfs, rclone).
    const NETWORK: [u32; 9] = [
        0x6969,
        0x517B,
        0xFF53_4D42,
        0xFE53_4D42,
        0x00C3_6400,
        0x5346_414F,
        0x7375_7245,
        0x0102_1997,
        0x6573_5546,
    ];
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "magic numbers are 32 bit values in a field whose width differs by machine"
    )]
    let magic = stat.f_type as u32;
    NETWORK.contains(&magic)
}

/// Makes a folder of the house and its parents, where they are missing, durably.
pub fn make_folder(path: &Path) -> Result<(), DiskError> {
    let failed = |error| DiskError::io("make the folder", path)(error);
    let missing: Vec<&Path> = path
        .ancestors()
        .take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists())
        .collect();
    std::fs::create_dir_all(path).map_err(failed)?;
    for parent in missing.iter().rev().filter_map(|folder| folder.parent()) {
        // A parent that may be entered but not read can't be synced; its disk does that by itself before long.
        if let Ok(parent) = open_root(parent) {
            rustix::fs::fsync(&parent).map_err(|errno| failed(errno.into()))?;
        }
    }
    Ok(())
}

/// Whether a regular file that is neither ours nor another program's stands anywhere below; looks no further than the
/// first.
pub fn holds_files(folder: &Path) -> bool {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut folders = Vec::new();
    for entry in entries.filter(|entry| !is_litter(&entry.file_name())) {
        match entry.file_type() {
            Ok(kind) if kind.is_file() => {
                let name = entry.file_name();
                if !name
                    .as_encoded_bytes()
                    .starts_with(TEMPORARY_PREFIX.as_bytes())
                {
                    return true;
                }
            }
            Ok(kind) if kind.is_dir() => folders.push(entry.path()),
            _ => {}
        }
    }
    folders.iter().any(|folder| holds_files(folder))
}
